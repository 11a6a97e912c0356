//! Decoding only what begins within ranges of an object.

use std::ops::Range;

use super::*;

/// Rows, rejects (without their bytes) and observation of what begins in a range of one object; none: of all of it.
fn decode(
    options: &DecodeOptions,
    text: &[u8],
    sizes: &[usize],
    range: Option<Range<u64>>,
) -> (u64, Vec<(Reason, u64)>, Observation) {
    let mut decoder = Decoder::new(options, &Observation::default());
    decoder.select(range.into_iter().map(|range| Selection::new(std::iter::once(range).collect())).collect());
    let (mut rows, mut rejects) = (0, Vec::new());
    feed(&mut decoder, &[text], sizes, |_, decoded, _| {
        let counts = &decoded.counts;
        for counts in counts {
            assert_eq!(counts.records, counts.rows + counts.rejected);
        }
        assert_eq!(counts.iter().map(|counts| counts.rows).sum::<u64>(), decoded.rows as u64);
        rows += decoded.rows as u64;
        let firsts = decoded.rejects.iter().filter(|reject| !reject.continued);
        rejects.extend(firsts.map(|reject| (reject.reason, reject.offset)));
    });
    let mut observed = decoder.observe();
    clear_places(&mut observed);
    (rows, rejects, observed)
}

/// Where keys stand does not add up.
fn clear_places(observed: &mut Observation) {
    observed.place = None;
    observed.fields.values_mut().for_each(clear_places);
    observed.element.as_deref_mut().into_iter().for_each(clear_places);
}

#[test]
fn what_begins_before_and_behind_any_byte_makes_up_the_whole() {
    let texts: [(&[&str], &[u8]); 7] = [
        (&[], b"{\"a\":1}\n{\"b\":2.5}\nmalformed\n{\"c\":[\"x\"]}\n7\n{\"a\":\"y\"}"),
        (&[], b"[{\"a\":1}, 2, {\"a\":{\"b\":[1]}}, {\"a\":1 x}, {\"a\":3}]"),
        (&[], b"\xef\xbb\xbf{\"a\":1}{\"a\":\"\\ud800\"}\n{\"a\":\"\xff\"}\n{\"a\":[[[[1]]]]}\n{\"d\":1}"),
        (&["items"], b"{\"n\":1,\"items\":[{\"a\":1},{\"a\":2},3],\"m\":2}"),
        (&["items"], b"{\"items\":[{\"a\":1}]}\n{\"n\":1}\n{\"items\":[]}\n{\"items\":[{\"a\":2},{\"a\""),
        (&[], b"{\"a\":1}\n{\"a\":"),
        (&[], b"[{\"a\":1},{\"a\":2}"),
    ];
    for (path, text) in texts {
        let options = DecodeOptions { max_depth: 4, ..at_path(path) };
        for sizes in [&[usize::MAX][..], &[1], &[3, 7]] {
            let whole = decode(&options, text, sizes, None);
            for at in 0..=text.len() as u64 {
                let (rows, mut rejects, mut observed) = decode(&options, text, sizes, Some(0..at));
                let (more, others, seen) = decode(&options, text, sizes, Some(at..u64::MAX));
                rejects.extend(others);
                observed.merge(&seen);
                assert_eq!((rows + more, rejects, observed), whole, "cut at {at}, windows of {sizes:?}");
                // Nothing in between, nothing at all.
                assert_eq!(decode(&options, text, sizes, Some(at..at)).0, 0);
            }
        }
    }
}

#[test]
fn values_that_reach_into_a_range_are_told() {
    let text = b"{\"a\":1}\n{\"a\":2}\nx\n{\"a\":3}\n";
    let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
    decoder.select(vec![Selection::new(vec![18..30, 10..17])]);
    let mut met = Vec::new();
    feed(&mut decoder, &[text], &[5], |_, decoded, _| met.extend(decoded.met.iter().cloned()));
    let met: Vec<_> = met.into_iter().map(|met| (met.bytes, met.fate)).collect();
    assert_eq!(met, [(8..15, Fate::Row), (16..18, Fate::Rejected), (18..25, Fate::Row)]);
}
