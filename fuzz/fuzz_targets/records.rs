//! Any bytes become rows or rejects: the same ones wherever windows are cut, with the values that another parser reads.

#![no_main]

use arrow::array::RecordBatch;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use siltstone_fuzz::columns::{assert_named, assert_same, rows, sorted};
use siltstone_fuzz::json::{
    DecodeOptions, Decoded, Decoder, FinishError, PADDING, Shape, arrow_schema, conform, shape,
};
use siltstone_fuzz::oracle;
use siltstone_fuzz::schema::{Contract, Field, Forced, MAX_OBJECT_KEYS, Observation, Rule, limit_columns, pin, resolve_ruled};
use siltstone_fuzz::windows::{Cut, Outcome, feed};

fuzz_target!(|data: &[u8]| {
    let Some((head, bytes)) = data.split_first_chunk::<10>() else { return };
    // serde_json's own mark of a number.
    if bytes.windows(11).any(|text| text == b"$serde_json") {
        return;
    }
    let middle = bytes.len() * usize::from(head[3]) / 256;
    let objects = if head[3] == 0 { vec![bytes] } else { vec![&bytes[..middle], &bytes[middle..]] };
    let options = DecodeOptions {
        max_depth: if head[1] < 128 { 128 } else { usize::from(head[1] % 8) + 1 },
        records_path: records_path(head[0], bytes),
        envelope_fields: envelope_fields(head[0] >> 3 & 3),
        // What is said of a column that goes into the overflow does not bind.
        rule: if head[8] & 4 > 0 { Rule::default() } else { rule(head[9]) },
        max_columns: if head[8] & 4 > 0 { usize::from(head[8] >> 3 & 7) + 1 } else { DecodeOptions::default().max_columns },
        max_cells: if head[8] & 64 > 0 { usize::from(head[8] >> 3) } else { DecodeOptions::default().max_cells },
        contract: match head[8] & 3 {
            0 | 1 => Contract::Evolve,
            2 => Contract::AddOnly,
            _ => Contract::Freeze,
        },
    };
    let sizes = head[4..8].iter().map(|byte| usize::from(*byte)).map(|size| if size < 192 { size } else { (size - 191) * 32 });
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
    let whole = feed(&mut decoder, &options, &objects, &one, |_, _| {});
    let seen = decoder.observe();
    let mut known = seed.clone();
    known.merge(&seen);
    limit_columns(&mut known, &[], &options.rule, options.max_columns);
    let fields = resolve_ruled(&known, &[], &options.rule);
    assert_named(&fields, &[]);

    // Which keys a struct takes that a contract binds depends, once it has as many as it may, on which came first.
    if options.contract != Contract::Evolve && known.fields.values().any(has_full_object) {
        return;
    }

    // Knowing all that: the values.
    let (again, batches) = decode(&options, &known, &objects, &one, &fields);
    assert_eq!(again.rejects, whole.rejects);
    let records = read(&objects, &options, &whole);
    let whole_rows: Vec<_> = batches.iter().flat_map(|batch| rows(batch, &fields)).collect();
    let checks_values = options.envelope_fields.is_empty();
    if checks_values {
        assert_same(&records, &fields, &whole_rows, &options.rule, false);
    }

    let (parts, batches) = decode(&options, &known, &objects, &cut, &fields);
    let part_rows: Vec<_> = batches.iter().flat_map(|batch| rows(batch, &fields)).collect();
    if head[2] & 4 > 0 {
        // Which records are too large depends on how much of them a window shows.
        let records = read(&objects, &options, &parts);
        if checks_values {
            assert_same(&records, &fields, &part_rows, &options.rule, false);
        }
        return;
    }
    assert_eq!((&parts.rejects, &parts.counts), (&whole.rejects, &whole.counts));
    assert_eq!(part_rows, whole_rows);

    // As a slice is done: the columns follow what is seen.
    let before = resolve_ruled(&seed, &[], &options.rule);
    let mut slice = Slice { seed: &seed, rule: &options.rule, fields: before, batches: Vec::new() };
    let mut decoder = Decoder::new(&options, &seed);
    let done = feed(&mut decoder, &options, &objects, &cut, |decoder, decoded| slice.window(decoder, decoded));
    assert_eq!((&done.rejects, &done.counts), (&whole.rejects, &whole.counts));
    assert_eq!(decoder.observe(), seen, "what was seen does not depend on the windows");
    if head[8] & 4 == 0 {
        assert_eq!(sorted(&slice.fields), sorted(&fields));
    }
    if checks_values {
        slice.check(&fields, &records);
    }
    if !format!("{fields:?}").contains("Json") {
        assert_eq!(done.duplicate_keys, whole.duplicate_keys);
    }

    // (What reads raw objects by columns knows no contract.)
    if options.contract == Contract::Evolve {
        project(head[2] >> 5, &options, &objects, &cut, &known, &fields, &whole, &whole_rows);
    }
});

/// Whether some object has as many keys as names may be.
fn has_full_object(seen: &Observation) -> bool {
    let below = seen.fields.values().chain(seen.element.as_deref()).chain(seen.dictionary.as_deref());
    seen.dictionary.is_some() || seen.fields.len() >= MAX_OBJECT_KEYS || below.into_iter().any(has_full_object)
}

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

/// Members of the envelope that records get.
fn envelope_fields(choice: u8) -> Vec<Vec<String>> {
    let path = |path: &[&str]| path.iter().map(|key| (*key).to_owned()).collect();
    match choice {
        0 | 1 => Vec::new(),
        2 => vec![path(&["n"])],
        _ => vec![path(&["data", "n"]), path(&["a"]), path(&["m"])],
    }
}

/// What is said of columns.
fn rule(choice: u8) -> Rule {
    let said: &[(&str, &str)] = match choice % 16 {
        8 => &[("a", "string"), ("b", "json"), ("m", "map")],
        9 => &[("a", "bigint"), ("b", "double"), ("c", "date")],
        10 => &[("a", "decimal(5,2)"), ("b[]", "decimal(38,0)"), ("m{}", "double")],
        11 => &[("a.b", "date"), ("c", "timestamp"), ("l[].a", "bigint")],
        12 => &[("a", "drop"), ("b.c", "drop"), ("l[]", "string")],
        13 => &[("a{}", "timestamp"), ("b[][]", "decimal(3,3)"), ("e", "string")],
        14 => &[("a", "named"), ("c_d", "named"), ("b.a", "named")],
        15 => &[("a[].b.c", "double"), ("m{}.x", "string")],
        _ => &[],
    };
    let mut rule = Rule::default();
    for (path, word) in said {
        let at = rule.at_path(path).expect("a path");
        match *word {
            "drop" => at.drop = true,
            "named" => at.rename = Some("b".to_owned()),
            ty => at.ty = Some(ty.parse::<Forced>().expect("a type")),
        }
    }
    rule
}

/// What was known before.
fn seed(choice: u8, options: &DecodeOptions, objects: &[&[u8]]) -> Observation {
    let observe = |objects: &[&[u8]]| {
        let mut decoder = Decoder::new(options, &Observation::default());
        feed(&mut decoder, options, objects, &Cut::none(), |_, _| {});
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
            limit_columns(&mut seen, &[], &options.rule, options.max_columns);
            let fields = resolve_ruled(&seen, &[], &options.rule);
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
    let outcome = feed(&mut decoder, options, objects, cut, |decoder, decoded| {
        if decoded.rows > 0 {
            batches.push(decoder.finish(fields, &schema).expect("columns known from the start"));
        }
    });
    (outcome, batches)
}

/// What a slice worker keeps.
struct Slice<'a> {
    seed: &'a Observation,
    rule: &'a Rule,
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
        let fields = resolve_ruled(&known, &[], self.rule);
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
                Ok(conformed) => assert_same(records, fields, &rows(&conformed, fields), self.rule, true),
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
    let mut decoder = Decoder::new(options, known);
    decoder.project(&kept);
    let schema = arrow_schema(&kept);
    let mut found = Vec::new();
    let outcome = feed(&mut decoder, options, objects, cut, |decoder, decoded| {
        if decoded.rows > 0 {
            found.extend(rows(&decoder.finish(&kept, &schema).expect("columns known from the start"), &kept));
        }
    });
    assert_eq!((&outcome.rejects, &outcome.counts), (&whole.rejects, &whole.counts));
    let mut expected = whole_rows.to_vec();
    for row in expected.iter_mut().filter_map(Value::as_object_mut) {
        row.retain(|key, _| {
            let holds = |field: &&Field| field.keys.first() == Some(key);
            let field = fields.iter().find(holds).or_else(|| fields.iter().find(|field| field.keys.is_empty()));
            field.is_some_and(|field| kept.contains(field))
        });
    }
    assert_eq!(found, expected);
}
