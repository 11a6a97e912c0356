//! Any bytes become rows or rejects: the same ones wherever windows are cut, with the values that another parser reads.

#![no_main]

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use siltstone_fuzz::columns::{assert_named, assert_same, rows, sorted};
use siltstone_fuzz::json::{
    DecodeOptions, Decoded, Decoder, FinishError, PADDING, Shape, arrow_schema, conform, shape,
};
use siltstone_fuzz::oracle;
use siltstone_fuzz::schema::{Field, Observation, pin, resolve};
use siltstone_fuzz::windows::{Cut, Outcome, feed};

fuzz_target!(|data: &[u8]| {
    let Some((head, bytes)) = data.split_first_chunk::<8>() else { return };
    // serde_json's own mark of a number.
    if bytes.windows(11).any(|text| text == b"$serde_json") {
        return;
    }
    let middle = bytes.len() * usize::from(head[3]) / 256;
    let objects = if head[3] == 0 { vec![bytes] } else { vec![&bytes[..middle], &bytes[middle..]] };
    let options = DecodeOptions {
        max_depth: if head[1] < 128 { 128 } else { usize::from(head[1] % 8) + 1 },
        records_path: records_path(head[0], bytes),
    };
    let sizes = head[4..].iter().map(|byte| usize::from(*byte)).map(|size| if size < 192 { size } else { (size - 191) * 32 });
    let cut = Cut {
        sizes: sizes.collect(),
        known_length: head[2] & 1 > 0,
        broken: head[2] & 2 > 0,
        record_limit: if head[2] & 4 > 0 { 40 } else { usize::MAX },
    };
    let seed = seed(head[2] >> 3 & 3, &options, &objects);

    // All at once: what there is.
    let one = Cut { broken: cut.broken, ..Cut::none() };
    let mut decoder = Decoder::new(&options, &seed);
    let whole = feed(&mut decoder, &objects, &one, |_, _| {});
    let seen = decoder.observe();
    let mut known = seed.clone();
    known.merge(&seen);
    let fields = resolve(&known, &[]);
    assert_named(&fields, &[]);

    // Knowing all that: the values.
    let (again, batches) = decode(&options, &known, &objects, &one, &fields);
    assert_eq!(again.rejects, whole.rejects);
    let records = read(&objects, &options, &whole);
    let whole_rows: Vec<_> = batches.iter().flat_map(|batch| rows(batch, &fields)).collect();
    assert_same(&records, &fields, &whole_rows, false);

    let (parts, batches) = decode(&options, &known, &objects, &cut, &fields);
    let part_rows: Vec<_> = batches.iter().flat_map(|batch| rows(batch, &fields)).collect();
    if head[2] & 4 > 0 {
        // Which records are too large depends on how much of them a window shows.
        assert_same(&read(&objects, &options, &parts), &fields, &part_rows, false);
        return;
    }
    assert_eq!((&parts.rejects, &parts.counts), (&whole.rejects, &whole.counts));
    assert_eq!(part_rows, whole_rows);

    // As a slice is done: the columns follow what is seen.
    let mut slice = Slice { seed: &seed, fields: resolve(&seed, &[]), batches: Vec::new() };
    let mut decoder = Decoder::new(&options, &seed);
    let done = feed(&mut decoder, &objects, &cut, |decoder, decoded| slice.window(decoder, decoded));
    assert_eq!((&done.rejects, &done.counts), (&whole.rejects, &whole.counts));
    assert_eq!(decoder.observe(), seen, "what was seen does not depend on the windows");
    assert_eq!(sorted(&slice.fields), sorted(&fields));
    slice.check(&fields, &records);
    if !format!("{fields:?}").contains("Json") {
        assert_eq!(done.duplicate_keys, whole.duplicate_keys);
    }

    project(head[2] >> 5, &options, &objects, &cut, &known, &fields, &whole, &whole_rows);
});

/// One of several paths, or what the bytes themselves suggest.
fn records_path(choice: u8, bytes: &[u8]) -> Vec<String> {
    let mut window = bytes.to_vec();
    window.resize(bytes.len() + PADDING, 0);
    let found = match shape(&window, choice & 4 == 0) {
        Shape::Envelope(path) => path,
        Shape::Record | Shape::Other => Vec::new(),
    };
    match choice % 4 {
        0 => Vec::new(),
        1 => vec!["items".to_owned()],
        2 => vec!["data".to_owned(), "items".to_owned()],
        _ => found,
    }
}

/// What was known before.
fn seed(choice: u8, options: &DecodeOptions, objects: &[&[u8]]) -> Observation {
    let observe = |objects: &[&[u8]]| {
        let mut decoder = Decoder::new(options, &Observation::default());
        feed(&mut decoder, objects, &Cut::none(), |_, _| {});
        decoder.observe()
    };
    match choice {
        0 => Observation::default(),
        1 => {
            let mut seen = observe(&[br#"{"a":1,"b":{"a":1,"b":"2025-02-03","c":[0.5]},"c":[{"a":null}],"A":"x"}"#]);
            seen.fields.values_mut().filter(|seen| !seen.fields.is_empty()).for_each(Observation::collapse);
            seen
        }
        // The objects before the last, as a run before committed them.
        2 => {
            let mut seen = observe(&objects[..objects.len() - 1]);
            let fields = resolve(&seen, &[]);
            pin(&mut seen, &fields);
            seen
        }
        _ => observe(objects),
    }
}

/// The records of the objects, as another parser reads them.
fn read(objects: &[&[u8]], options: &DecodeOptions, outcome: &Outcome) -> Vec<Value> {
    let mut records = Vec::new();
    for (object, bytes) in objects.iter().enumerate() {
        let rejects: Vec<_> = outcome.rejects.iter().filter(|reject| reject.object == object).collect();
        let found = oracle::records(bytes, &options.records_path, options.max_depth, &rejects);
        assert_eq!(found.len() as u64, outcome.counts[object].0);
        records.extend(found);
    }
    records
}

/// Decodes into columns that are known from the start.
fn decode(
    options: &DecodeOptions,
    known: &Observation,
    objects: &[&[u8]],
    cut: &Cut,
    fields: &[Field],
) -> (Outcome, Vec<RecordBatch>) {
    let schema = arrow_schema(fields);
    let mut batches = Vec::new();
    let mut decoder = Decoder::new(options, known);
    let outcome = feed(&mut decoder, objects, cut, |decoder, decoded| {
        if decoded.rows > 0 {
            batches.push(decoder.finish(fields, &schema).expect("columns known from the start"));
        }
    });
    (outcome, batches)
}

/// What a slice worker keeps.
struct Slice<'a> {
    seed: &'a Observation,
    fields: Vec<Field>,
    /// The batches with the columns of their time; `None`: the slice begins again.
    batches: Vec<Option<(RecordBatch, Vec<Field>)>>,
}

impl Slice<'_> {
    fn window(&mut self, decoder: &mut Decoder, decoded: &Decoded) {
        if decoded.rows == 0 {
            assert!(!decoded.learned, "nothing is learned from nothing");
            return;
        }
        let mut known = self.seed.clone();
        known.merge(&decoder.observe());
        let fields = resolve(&known, &[]);
        // But for their order, which follows the places of keys.
        assert!(decoded.learned || sorted(&fields) == sorted(&self.fields), "columns change only when something was learned");
        let batch = match decoder.finish(&fields, &arrow_schema(&fields)) {
            Ok(batch) => Some((batch, fields.clone())),
            Err(FinishError::Redo) => None,
            Err(FinishError::Arrow(error)) => panic!("{error}"),
        };
        self.batches.push(batch);
        self.fields = fields;
    }

    /// Gives what was written early the final columns, where that is possible.
    fn check(&self, fields: &[Field], records: &[Value]) {
        let schema = arrow_schema(fields);
        let mut at = 0;
        for batch in &self.batches {
            let Some((batch, before)) = batch else { return };
            let records = &records[at..at + batch.num_rows()];
            at += records.len();
            match conform(batch, before, fields, &schema) {
                Ok(conformed) => assert_same(records, fields, &rows(&conformed, fields), true),
                Err(FinishError::Redo) => {}
                Err(FinishError::Arrow(error)) => panic!("{error}"),
            }
        }
    }
}

/// Only some of the columns: the same rejects, and the same values.
#[expect(clippy::too_many_arguments, reason = "all that is known by then")]
fn project(
    choice: u8,
    options: &DecodeOptions,
    objects: &[&[u8]],
    cut: &Cut,
    known: &Observation,
    fields: &[Field],
    whole: &Outcome,
    whole_rows: &[Value],
) {
    let kept: Vec<Field> =
        fields.iter().enumerate().filter(|(index, _)| choice >> (index % 3) & 1 == 1).map(|(_, f)| f.clone()).collect();
    let keys: BTreeSet<String> = kept.iter().flat_map(|field| field.keys.iter().cloned()).collect();
    let mut decoder = Decoder::new(options, known);
    decoder.project(&keys);
    let schema = arrow_schema(&kept);
    let mut found = Vec::new();
    let outcome = feed(&mut decoder, objects, cut, |decoder, decoded| {
        if decoded.rows > 0 {
            found.extend(rows(&decoder.finish(&kept, &schema).expect("columns known from the start"), &kept));
        }
    });
    assert_eq!((&outcome.rejects, &outcome.counts), (&whole.rejects, &whole.counts));
    let mut expected = whole_rows.to_vec();
    for row in expected.iter_mut().filter_map(Value::as_object_mut) {
        row.retain(|key, _| kept.iter().any(|field| field.keys[0] == *key));
    }
    assert_eq!(found, expected);
}
