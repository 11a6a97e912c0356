//! Objects whose keys are data: when they become maps, and that nothing seen before is forgotten.

use super::*;
use crate::schema::{Kind, MAX_OBJECT_KEYS};

/// `{"m":{"<first>":VALUE,...}}`, with as many keys as asked for.
fn dictionary(keys: std::ops::Range<usize>, value: impl Fn(usize) -> String) -> String {
    let entries: Vec<String> = keys.map(|key| format!("\"k{key:06}\":{}", value(key))).collect();
    format!("{{\"m\":{{{}}}}}\n", entries.join(","))
}

fn map(value: Type) -> Type {
    Type::Map(Box::new(value))
}

#[test]
fn a_record_itself_never_becomes_a_map() {
    let text: String = (0..600).map(|row| format!("{{\"k{row}\":{row}}}\n")).collect();
    let read = read(&text);
    assert_eq!((read.fields.len(), read.rows.join("\n") + "\n"), (600, text));
}

#[test]
fn more_keys_than_an_object_may_have_make_a_map_whatever_their_values() {
    for split in [1, 4, MAX_OBJECT_KEYS + 1] {
        let count = MAX_OBJECT_KEYS + 1;
        let value = |key: usize| if key == 17 { "\"x\"".to_owned() } else { format!("{key}.50") };
        let text: String =
            (0..split).map(|row| dictionary(row * count / split..(row + 1) * count / split, value)).collect();
        for sizes in [usize::MAX, 50_000] {
            let read = read_with(&DecodeOptions::default(), &[text.as_bytes()], &[sizes]);
            assert_eq!(read.ty("m"), Some(&map(Type::Text)));
            let seen = read.observation.fields["m"].dictionary.as_deref().unwrap();
            assert_eq!(seen.tally.count(Kind::Double), count as u64 - 1, "also what was seen before it was a map");
            assert_eq!(seen.tally.count(Kind::String), 1);
            assert_eq!(read.rows.join("\n").matches(".50").count(), count - 1);
        }
    }
    assert!(matches!(
        read(dictionary(0..MAX_OBJECT_KEYS, |key| key.to_string())).ty("m"),
        Some(Type::Struct(fields)) if fields.len() == MAX_OBJECT_KEYS
    ));
}

#[test]
fn a_map_remembers_what_was_seen_below_its_keys_as_a_struct() {
    let first = dictionary(0..2, |key| format!("{{\"x\":{key},\"l\":[{{\"y\":\"s\"}}],\"o\":{{\"z\":null}}}}"));
    let second = dictionary(2..MAX_OBJECT_KEYS + 1, |_| "{\"x\":0.5}".to_owned());
    let third = dictionary(0..1, |_| "{\"l\":[{\"y\":[true]}]}".to_owned());
    let text = format!("{first}{second}{third}");
    let whole = read(&text);
    let cut = read_with(&DecodeOptions::default(), &[text.as_bytes()], &[first.len(), second.len(), third.len() + 1]);
    assert_eq!(whole.observation, cut.observation);
    assert_eq!((&whole.fields, &whole.rows), (&cut.fields, &cut.rows));
    assert_eq!(
        whole.ty("m"),
        Some(&map(Type::Struct(vec![
            field("l", list(Type::Struct(vec![field("y", Type::Json)]))),
            field("x", Type::Double)
        ])))
    );
    assert_eq!(whole.rows[2], third.trim_end());
}

#[test]
fn that_keys_became_data_is_something_learned() {
    let rows = [0..MAX_OBJECT_KEYS, MAX_OBJECT_KEYS..MAX_OBJECT_KEYS + 1, 7..8, 0..9];
    let texts = rows.map(|keys| dictionary(keys, |_| "1".to_owned()));
    let sizes = texts.each_ref().map(String::len);
    let mut learned = Vec::new();
    let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
    feed(&mut decoder, &[texts.concat().as_bytes()], &sizes, |_, decoded, _| learned.push(decoded.learned));
    assert_eq!(learned[..4], [true, true, false, false]);
}

#[test]
fn a_rejected_record_makes_no_map_and_no_column() {
    let mut crowded = dictionary(0..MAX_OBJECT_KEYS + 1, |_| "1".to_owned());
    crowded.truncate(crowded.len() - 3);
    let text =
        format!("{{\"m\":{{\"a\":1}}}}\n{crowded}\n{{\"m\":{{\"b\":2}},\"n\":{{}}}}\n{{\"p\":{{\"q\":1,\"r\" 2}}}}\n");
    let read = read(&text);
    assert_eq!(read.ty("m"), Some(&Type::Struct(vec![field("a", Type::Int64), field("b", Type::Int64)])));
    assert_eq!(read.rejects.len(), 2);
    assert_eq!(read.observation.fields.keys().collect::<Vec<_>>(), ["m", "n"]);
}

/// An observation that says that the values of `m` are dictionaries, with values like those of `{"v":VALUE}`.
fn seed_map(value: &str) -> Observation {
    let value = read(format!("{{\"v\":{value}}}")).observation.fields["v"].clone();
    let mut m = Observation::default();
    m.tally.add(Kind::Object);
    m.dictionary = Some(Box::new(value));
    let mut seed = Observation::default();
    seed.fields.insert("m".to_owned(), m);
    seed
}

/// Decodes with a decoder for which `m` is a dictionary from the start.
fn read_map(value: &str, text: &str, sizes: &[usize]) -> (Vec<String>, Observation, u64) {
    let mut merged = seed_map(value);
    let mut duplicate_keys = 0;
    let mut decoder = Decoder::new(&DecodeOptions::default(), &merged);
    feed(&mut decoder, &[text.as_bytes()], sizes, |_, decoded, _| duplicate_keys += decoded.duplicate_keys);
    let observed = decoder.observe();
    merged.merge(&observed);
    let (batch, _) = columns_of_seeded(&merged, text, sizes);
    (texts(&batch, &resolve(&merged, &[])), observed, duplicate_keys)
}

fn columns_of_seeded(seed: &Observation, text: &str, sizes: &[usize]) -> (RecordBatch, Observation) {
    columns_of(&DecodeOptions::default(), &[text.as_bytes()], sizes, seed)
}

#[test]
fn in_a_map_the_last_value_of_a_key_is_kept_and_each_value_counted_once() {
    let text = r#"{"m":{"a":1,"b":2,"a":3}}{"m":{"a":4}}{"m":{}}{"m":null}{"m":{"x":5,"x":6,"x":7,"\u0078":8}}"#;
    for sizes in [&[usize::MAX][..], &[1], &[30]] {
        let (rows, observed, duplicate_keys) = read_map("1", text, sizes);
        assert_eq!(rows, [r#"{"m":{"b":2,"a":3}}"#, r#"{"m":{"a":4}}"#, r#"{"m":{}}"#, "{}", r#"{"m":{"x":8}}"#]);
        assert_eq!(duplicate_keys, 4);
        assert_eq!(observed.fields["m"].dictionary.as_ref().unwrap().tally.count(Kind::Int), 8);
    }
}

#[test]
fn a_map_within_a_map_keeps_the_last_values_too() {
    let inner = |text: &str| format!("{{\"m\":{{\"a\":{{\"l\":[1]}},\"b\":{{\"l\":[2,3],\"l\":[4]}},\"a\":{text}}}}}");
    let text = inner(r#"{"l":[5,6],"s":"x","s":"y"}"#);
    let (rows, observed, duplicate_keys) = read_map(r#"{"l":[1],"s":"x"}"#, &text, &[usize::MAX]);
    assert_eq!(rows, [r#"{"m":{"b":{"l":[4]},"a":{"l":[5,6],"s":"y"}}}"#]);
    assert_eq!(duplicate_keys, 3);
    let value = observed.fields["m"].dictionary.as_ref().unwrap();
    assert_eq!((value.tally.total(), value.fields["l"].tally.total(), value.fields["s"].tally.total()), (3, 4, 2));
}

#[test]
fn a_dictionary_of_nothing_keeps_its_keys() {
    for nothing in ["null", "{}", "[]", r#"{"a":[]}"#] {
        let text = format!("{{\"m\":{{\"a\":{nothing},\"b\":null}}}}");
        let (rows, ..) = read_map("null", &text, &[usize::MAX]);
        assert_eq!(rows, [r#"{"m":{"a":null,"b":null}}"#]);
    }
}

#[test]
fn a_map_beside_a_scalar_is_json_text() {
    let (rows, ..) = read_map("1", r#"{"m":{"b":1,"b":2}}{"m":1.10}{"m":[ ]}"#, &[usize::MAX]);
    // Text is kept as it is, duplicate keys too.
    assert_eq!(rows, [r#"{"m":{"b":1,"b":2}}"#, r#"{"m":1.10}"#, r#"{"m":[]}"#]);
}

#[test]
fn many_duplicates_in_a_large_map_take_no_quadratic_time() {
    let entries: Vec<String> = (0..60_000).map(|entry| format!("\"k{}\":{entry}", entry % 30_000)).collect();
    let text = format!("{{\"m\":{{{}}}}}", entries.join(","));
    let (rows, _, duplicate_keys) = read_map("1", &text, &[usize::MAX]);
    assert_eq!(duplicate_keys, 30_000);
    assert!(rows[0].starts_with("{\"m\":{\"k0\":30000,\"k1\":30001,"));
}

#[test]
fn keys_that_fold_to_one_name_at_every_depth_take_no_exponential_time() {
    let nested = |key: &str| format!("{}1{}", format!("{{\"{key}\":").repeat(20), "}".repeat(20));
    let text = format!("{}\n{}\n{}\n", nested("a"), nested("A"), nested("a").replace('1', "2.5"));
    let outcome = read(&text);
    assert_eq!(outcome.fields[0].keys, ["A", "a"]);
    assert_eq!(outcome.values()[1].pointer(&"/A".repeat(20)), Some(&serde_json::json!(1.0)));
}

#[test]
fn a_window_full_of_conflicts_is_read_a_few_times_only() {
    // Each key changes its type at another record; reading anew for each change would take minutes.
    let record = |row: usize| {
        let fields: Vec<String> = (0..300)
            .map(|key| if key == row { format!("\"k{key}\":\"x\"") } else { format!("\"k{key}\":{key}") })
            .collect();
        format!("{{{}}}\n", fields.join(","))
    };
    let text: String = (0..300).map(record).collect();
    let read = read(&text);
    assert!(read.fields.iter().all(|field| field.ty == Type::Text));
    assert_eq!(read.rows.len(), 300);
}

#[test]
fn a_batch_ends_when_it_has_many_cells() {
    let text: String = (0..600).map(|row| format!("{{\"k{row}\":{row}}}\n")).collect();
    let mut window = text.clone().into_bytes();
    window.resize(text.len() + PADDING, 0);
    let options = DecodeOptions { max_cells: 10_000, ..DecodeOptions::default() };
    let mut decoder = Decoder::new(&options, &Observation::default());
    let mut segments = vec![Segment { object: 0, start: 0, end: text.len(), offset: 0, last: true }];
    let mut rows = Vec::new();
    while !segments.is_empty() {
        let decoded = decoder.decode(&window, &segments);
        let keys = decoder.observe().fields.len();
        // They are counted at powers of two.
        assert!(decoded.rows * keys <= 4 * options.max_cells, "{} rows of {keys} columns", decoded.rows);
        rows.push(decoded.rows);
        segments = decoded.rest;
    }
    assert!(rows.len() > 5);
    assert_eq!(rows.iter().sum::<usize>(), 600);
}

#[test]
fn a_window_of_many_keys_is_given_up_as_soon_as_they_are_too_many() {
    // Columns for all 20,000 keys would have 400 million cells.
    let text: String = (0..20_000).map(|row| format!("{{\"k{row}\":{row}}}\n")).collect();
    let mut window = text.clone().into_bytes();
    window.resize(text.len() + PADDING, 0);
    let options = DecodeOptions { max_columns: 10, ..DecodeOptions::default() };
    let mut decoder = Decoder::new(&options, &Observation::default());
    let segments = [Segment { object: 0, start: 0, end: text.len(), offset: 0, last: true }];
    let begun = std::time::Instant::now();
    assert_eq!(decoder.decode(&window, &segments).rows, 20_000);
    assert!(begun.elapsed().as_secs() < 5, "it took {:?}", begun.elapsed());
    let seen = decoder.observe();
    assert_eq!((seen.fields.len(), seen.overflow), (10, true));
}

#[test]
fn members_of_an_envelope_stay_with_its_records_in_whatever_batch_they_are() {
    let options = DecodeOptions { envelope_fields: vec![vec!["n".to_owned()]], max_cells: 0, ..at_path(&["items"]) };
    let objects = [1, 2].map(|n| format!("{{\"items\":[{{\"a\":{n}}},{{\"a\":{n}}},{{\"a\":{n}}}],\"n\":{n}}}"));
    let objects: Vec<&[u8]> = objects.iter().map(String::as_bytes).collect();
    let read = read_with(&options, &objects, &[usize::MAX]);
    assert_eq!(read.rows, [1, 1, 1, 2, 2, 2].map(|n| format!("{{\"a\":{n},\"envelope.n\":{n}}}")));
}

#[test]
fn a_batch_holds_all_that_its_columns_follow_from() {
    // What an attempt met makes the columns of the next: that must not end before.
    let text = "{\"c\":{\"d\":1}}{\"a\":1}{\"b\":2}{\"b\":2}{\"c\":[],\"e\":3}";
    let mut window = text.as_bytes().to_vec();
    window.resize(text.len() + PADDING, 0);
    for max_cells in 0..20 {
        let mut decoder =
            Decoder::new(&DecodeOptions { max_cells, ..DecodeOptions::default() }, &Observation::default());
        let mut segments = vec![Segment { object: 0, start: 0, end: text.len(), offset: 0, last: true }];
        while !segments.is_empty() {
            segments = decoder.decode(&window, &segments).rest;
            let fields = resolve(&decoder.observe(), &[]);
            assert!(fields.iter().any(|field| field.name == "c"), "{max_cells} cells: {fields:?}");
        }
    }
}
