//! What was seen apart merges, in any order, to what was seen together; and under the columns of that, every record
//! keeps its values.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use arrow::array::RecordBatch;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use siltstone_fuzz::columns::{assert_named, assert_same, rows};
use siltstone_fuzz::json::{DecodeOptions, Decoder, FinishError, arrow_schema, conform, reshape};
use siltstone_fuzz::schema::{Field, Observation, pin, resolve};
use siltstone_fuzz::windows::{Cut, feed};
use siltstone_fuzz::{generate, oracle};

/// Two or three raw objects of up to three records, and names that columns must not have.
#[derive(Debug)]
struct Input {
    parts: Vec<Vec<String>>,
    reserved: Vec<String>,
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let reserved = if u.arbitrary()? { vec!["day".to_owned(), "a".to_owned()] } else { Vec::new() };
        let mut parts = Vec::new();
        for _ in 0..u.int_in_range(2..=3)? {
            let mut part = Vec::new();
            for _ in 0..u.int_in_range(1..=3)? {
                part.push(generate::record(u)?);
            }
            parts.push(part);
        }
        Ok(Self { parts, reserved })
    }
}

fuzz_target!(|input: Input| {
    let Input { parts, reserved } = input;
    let texts: Vec<String> = parts.iter().map(|part| part.join("\n")).collect();
    let records: Vec<Vec<Value>> =
        parts.iter().map(|part| part.iter().map(|record| oracle::value(record.as_bytes())).collect()).collect();
    let seen: Vec<Observation> = texts.iter().map(|text| observe(&[text])).collect();

    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    let merged = observe(&all);
    assert_eq!(observe(&[&all.join("\n")]), merged, "objects and windows do not matter");
    assert_merge(&seen, &merged);
    let fields = resolve(&merged, &reserved);
    assert_named(&fields, &reserved);
    assert_stored(&merged, &fields);
    let mut twice = merged.clone();
    twice.merge(&merged);
    assert_eq!(resolve(&twice, &reserved), fields, "counts do not matter");

    let schema = arrow_schema(&fields);
    for ((text, records), seen) in texts.iter().zip(&records).zip(&seen) {
        let (batch, again) = decode(text, &merged, &fields);
        assert_same(records, &fields, &rows(&batch, &fields), false);
        let mut known = merged.clone();
        known.merge(&again);
        assert_eq!(resolve(&known, &reserved), fields, "a seeded decoder sees nothing new");
        // What knew only its own part is given the columns of all, or is asked for again.
        let own = resolve(seen, &reserved);
        let (narrow, _) = decode(text, seen, &own);
        assert_same(records, &own, &rows(&narrow, &own), false);
        let unseeded = finish(text, &Observation::default(), &fields);
        for given in [unseeded.0, conform(&narrow, &own, &fields, &schema)] {
            match given {
                Ok(batch) => assert_same(records, &fields, &rows(&batch, &fields), true),
                Err(FinishError::Redo) => {}
                Err(FinishError::Arrow(error)) => panic!("{error}"),
            }
        }
    }
    committed(&texts, &records, &seen, &reserved);
});

fn observe(texts: &[&str]) -> Observation {
    let objects: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
    // A window for each object.
    let cut = Cut { sizes: objects.iter().map(|object| object.len()).collect(), known_length: true, ..Cut::none() };
    let outcome = feed(&mut decoder, &objects, &cut, |_, _| {});
    assert_eq!(outcome.rejects, []);
    decoder.observe()
}

/// Decodes one object in one window.
fn finish(text: &str, known: &Observation, fields: &[Field]) -> (Result<RecordBatch, FinishError>, Observation) {
    let mut decoder = Decoder::new(&DecodeOptions::default(), known);
    let mut batch = Err(FinishError::Redo);
    feed(&mut decoder, &[text.as_bytes()], &Cut::none(), |decoder, _| {
        batch = decoder.finish(fields, &arrow_schema(fields));
    });
    (batch, decoder.observe())
}

fn decode(text: &str, known: &Observation, fields: &[Field]) -> (RecordBatch, Observation) {
    let (batch, seen) = finish(text, known, fields);
    (batch.expect("columns known from the start"), seen)
}

/// Checks that every order and grouping of merging gives the same.
fn assert_merge(seen: &[Observation], expected: &Observation) {
    let merge = |a: &Observation, b: &Observation| {
        let mut merged = a.clone();
        merged.merge(b);
        merged
    };
    let nothing = Observation::default();
    let (a, b, c) = (&seen[0], &seen[1], seen.get(2).unwrap_or(&nothing));
    for [a, b, c] in [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
        assert_eq!(&merge(&merge(a, b), c), expected);
        assert_eq!(&merge(a, &merge(b, c)), expected);
    }
}

/// Checks that what is stored of a table reads as the same.
fn assert_stored(seen: &Observation, fields: &[Field]) {
    let text = serde_json::to_vec(&(seen, fields)).expect("plain data");
    let (seen_again, fields_again): (Observation, Vec<Field>) = serde_json::from_slice(&text).expect("plain data");
    assert_eq!((&seen_again, fields_again.as_slice()), (seen, fields));
}

/// Commits one object after another to a table: names stay, and what is there takes the later columns.
fn committed(texts: &[String], records: &[Vec<Value>], seen: &[Observation], reserved: &[String]) {
    let mut registry = Observation::default();
    let mut before: Vec<Field> = Vec::new();
    let mut stored: Vec<RecordBatch> = Vec::new();
    for (run, observed) in seen.iter().enumerate() {
        registry.merge(observed);
        let fields = resolve(&registry, reserved);
        assert_named(&fields, reserved);
        let stays = |old: &Field| fields.iter().any(|new| new.name == old.name);
        assert!(before.iter().all(stays), "a column that was committed is gone: {before:?} {fields:?}");
        pin(&mut registry, &fields);
        assert_eq!(resolve(&registry, reserved), fields, "a name once given stays");
        assert_stored(&registry, &fields);
        let schema = arrow_schema(&fields);
        for batch in &mut stored {
            let values = |batch: &RecordBatch, fields: &[Field]| -> Vec<usize> {
                rows(batch, fields).iter().map(oracle::scalars).collect()
            };
            let held = values(batch, &before);
            *batch = reshape(batch, &before, &fields, &schema).expect("columns only widen");
            assert_eq!(values(batch, &fields), held, "{before:?} became {fields:?}");
        }
        for (text, records) in texts[..=run].iter().zip(records) {
            let (batch, _) = decode(text, &registry, &fields);
            assert_same(records, &fields, &rows(&batch, &fields), false);
        }
        stored.push(decode(&texts[run], &registry, &fields).0);
        before = fields;
    }
}
