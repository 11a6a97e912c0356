//! Properties: of any cut of any input, of what is written back, and of any bytes at all.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;

use super::exact::{Exact, holds_members};
use super::*;

/// Scalars of every kind, as JSON text.
const SCALARS: [&str; 34] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-7",
    "1.10",
    "1e5",
    "-2.5E-3",
    "9007199254740993",
    "-9223372036854775808",
    "9223372036854775808",
    "123456789012345678901234567890123456789",
    "1e400",
    "\"\"",
    "\"x\"",
    "\"a longer string, of more than sixteen bytes\"",
    "\"2025-02-03\"",
    "\"2025-02-30\"",
    "\"2025-02-03T04:05:06Z\"",
    "\"2025-02-03T04:05:06.123456+01:00\"",
    "\"2025-02-03 04:05:06\"",
    r#""\u00e9\ud83d\ude00""#,
    r#""\" \\ \/ \b\f\n\r\t""#,
    "\"é€😀\"",
    "\"{[,:]}\"",
    "[]",
    "{}",
    "[null]",
    "[ ]",
    "{ }",
    "[{}]",
    "[[]]",
];

/// What no document should hold, and may.
const JUNK: [&[u8]; 26] = [
    b"x",
    b"word",
    b"[ERROR] x",
    b"[2025-02-03] x",
    b"{\"a\":",
    b"{\"a\":1",
    b"{\"a\":[1,",
    b"{\"a\" 1}",
    b"{a:1}",
    b"}",
    b"]",
    b"[",
    b"{",
    b",",
    b"\"",
    b"\"abc",
    b"tru",
    b"truex",
    b"12ab",
    b"-",
    b"\xff",
    b"{\"a\":\"\xff\"}",
    b"{\"a\":\"\\ud800\"}",
    b"\0",
    b"{\"a\":{\"b\":1,}}",
    b"\xef\xbb\xbf",
];

pub(super) fn space() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", "", " ", "\n", "\r\n", "\t ", "\n        "])
}

/// A value, as JSON text with white space, keys that occur twice and keys that fold to one name.
fn value() -> impl Strategy<Value = String> {
    let leaf = select(SCALARS.to_vec()).prop_map(str::to_owned);
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            object(inner.clone()),
            (vec(inner, 0..4), space())
                .prop_map(|(elements, space)| { format!("[{space}{}{space}]", elements.join(&format!("{space},"))) })
        ]
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = select(vec!["a", "b", "c", "A", "\\u0061", "c d", "é", "", "items"]);
    (vec((key, value), 0..4), space(), space()).prop_map(|(members, before, after)| {
        let members: Vec<String> =
            members.into_iter().map(|(key, value)| format!("\"{key}\"{before}:{after}{value}")).collect();
        format!("{{{before}{}{after}}}", members.join(&format!("{after},{before}")))
    })
}

fn record() -> impl Strategy<Value = String> {
    object(value())
}

/// A record on one line whose values are of the kinds of all [`SCALARS`], or of two of them, so that some columns stay narrow.
fn drifting() -> impl Strategy<Value = String> {
    let alike = |scalars: Vec<&'static str>| object(select(scalars).prop_map(str::to_owned));
    let record = prop_oneof![
        2 => record(),
        2 => alike(vec!["1", "-7"]),
        1 => alike(vec!["1.10", "1e5"]),
        1 => alike(vec!["9007199254740993", "9223372036854775808"]),
        1 => alike(vec!["\"2025-02-03T04:05:06Z\"", "null"]),
    ];
    record.prop_map(|text| text.replace(['\n', '\r'], " "))
}

/// A raw object of one of the shapes that there are, mostly without faults.
fn document() -> impl Strategy<Value = Vec<u8>> {
    let lines = (
        vec(prop_oneof![6 => record().prop_map(|text| text.replace(['\n', '\r'], "").into_bytes()), 1 => junk()], 0..6),
        select(vec!["\n", "\r\n", "\n\n", " ", ""]),
    )
        .prop_map(|(lines, end)| {
            lines.into_iter().flat_map(|line| [line, end.as_bytes().to_vec()].concat()).collect::<Vec<u8>>()
        });
    let values = (vec(prop_oneof![4 => record(), 1 => value()], 0..5), space())
        .prop_map(|(values, space)| values.join(space).into_bytes());
    let array = || {
        (vec(prop_oneof![5 => record(), 1 => value()], 0..5), space(), space())
            .prop_map(|(values, a, b)| format!("{a}[{b}{}{a}]{b}", values.join(&format!("{a},{b}"))))
    };
    let envelope = (
        array(),
        vec((select(vec!["n", "items", "data", "it\\u0065ms", "z"]), value()), 0..3),
        vec((select(vec!["m", "items", "data"]), value()), 0..3),
        any::<bool>(),
    )
        .prop_map(|(array, before, after, deep)| {
            let member = |(key, value): (&str, String)| format!("\"{key}\":{value}");
            let mut members: Vec<String> = before.into_iter().map(member).collect();
            members.push(format!("\"items\":{array}"));
            members.extend(after.into_iter().map(member));
            let envelope = format!("{{{}}}", members.join(","));
            if deep { format!("{{\"k\":[1],\"data\" : {envelope} , \"l\":null}}\n") } else { envelope + "\n" }
        });
    let whole = prop_oneof![
        3 => lines,
        2 => values,
        2 => array().prop_map(String::into_bytes),
        2 => vec(envelope, 1..3).prop_map(|envelopes| envelopes.concat().into_bytes()),
    ];
    (whole, vec((any::<Index>(), fault()), 0..2), any::<bool>()).prop_map(|(mut text, faults, mark)| {
        if mark && text.len() % 5 == 0 {
            text.splice(0..0, *b"\xef\xbb\xbf");
        }
        for (index, fault) in faults {
            let at = index.index(text.len() + 1);
            match fault {
                Fault::Nothing => {}
                Fault::Cut => text.truncate(at),
                Fault::Insert(junk) => drop(text.splice(at..at, junk)),
                Fault::Remove => drop(text.splice(at..(at + 1).min(text.len()), [])),
            }
        }
        text
    })
}

/// Lines that are no record, alone or with others.
const BAD_LINES: [&str; 10] = [
    "x",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":{\"b\":1,",
    "12ab",
    "[ERROR] x",
    "\"x",
    "{\"\\ud800\":1}",
    "{\"a\":1 {",
    "{\"a\":tru}",
];

/// A record on one line, or junk that opens no array.
fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => record().prop_map(|text| text.replace(['\n', '\r'], "").into_bytes()),
        1 => junk().prop_filter("no array", |junk| !junk.contains(&b'[')),
    ]
}

fn junk() -> impl Strategy<Value = Vec<u8>> {
    select(JUNK.to_vec()).prop_map(<[u8]>::to_vec)
}

#[derive(Debug, Clone)]
enum Fault {
    Nothing,
    Cut,
    Insert(Vec<u8>),
    Remove,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => Just(Fault::Nothing),
        1 => Just(Fault::Cut),
        1 => junk().prop_map(Fault::Insert),
        1 => Just(Fault::Remove)
    ]
}

fn path() -> impl Strategy<Value = &'static [&'static str]> {
    select(vec![&[][..], &[], &["items"], &["data", "items"]])
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![vec(1..4_usize, 1..4), vec(1..80_usize, 1..5), vec(60..600_usize, 1..3)]
}

fn slices(objects: &[Vec<u8>]) -> Vec<&[u8]> {
    objects.iter().map(Vec::as_slice).collect()
}

/// Bytes as they are common in JSON.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let likely = b"{}[]\"\":,,  \n\\u0123456789abcdeftrnulsEx-+.\r\t/".to_vec();
    vec(prop_oneof![12 => select(likely), 1 => any::<u8>()], 0..60)
}

/// How often each property is tried, unless `PROPTEST_CASES` says more.
pub(super) fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 200 };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn how_the_input_is_cut_changes_nothing(
        objects in vec(document(), 1..4), sizes in sizes(), path in path(), max_depth in 1..6_usize,
        max_cells in prop_oneof![Just(usize::MAX), 0..16_usize]
    ) {
        let options = DecodeOptions { max_depth: if max_depth < 3 { 128 } else { max_depth }, ..at_path(path) };
        let whole = read_with(&options, &slices(&objects), &[usize::MAX]);
        let cut = read_with(&DecodeOptions { max_cells, ..options }, &slices(&objects), &sizes);
        prop_assert_eq!(&whole.rejects, &cut.rejects);
        prop_assert_eq!(&whole.counts, &cut.counts);
        prop_assert_eq!(&whole.observation, &cut.observation);
        prop_assert_eq!(&whole.fields, &cut.fields);
        prop_assert_eq!(&whole.rows, &cut.rows);
        if !format!("{:?}", whole.fields).contains("Json") {
            prop_assert_eq!(whole.duplicate_keys, cut.duplicate_keys);
        }
    }

    #[test]
    fn any_bytes_are_rows_or_rejects(objects in vec(bytes(), 1..3), sizes in sizes(), path in path()) {
        let whole = read_with(&at_path(path), &slices(&objects), &[usize::MAX]);
        let cut = read_with(&at_path(path), &slices(&objects), &sizes);
        prop_assert_eq!(whole.rejects, cut.rejects);
        prop_assert_eq!(whole.rows, cut.rows);
    }

    #[test]
    fn what_another_parser_takes_is_taken(text in document()) {
        let read = read(&text);
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(text).into_iter().collect();
        let faults = read.rejects.iter().filter(|reject| reject.reason != Reason::NotAnObject).count();
        match values {
            Ok(values) => {
                let (mut rows, mut others) = (0, 0);
                for value in values.iter().flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)) {
                    if value.is_object() { rows += 1 } else { others += 1 }
                }
                prop_assert_eq!((read.rows.len(), read.rejects.len(), faults), (rows, others, 0));
            }
            // It reads no number beyond a double's range.
            Err(error) => prop_assert!(faults > 0 || error.to_string().contains("out of range"), "{}", error),
        }
    }

    #[test]
    fn records_are_where_the_shape_says(text in document(), cut in any::<Index>()) {
        let shape_of = |length: usize, complete| {
            let mut window = text[..length].to_vec();
            window.resize(length + PADDING, 0);
            shape(&window, complete)
        };
        if let Shape::Envelope(found) = shape_of(text.len(), true) {
            let options = DecodeOptions { records_path: found, ..DecodeOptions::default() };
            let read = read_with(&options, &[&text], &[usize::MAX]);
            prop_assert!(read.rejects.iter().all(|reject| reject.reason != Reason::EnvelopeMissing), "{:?}", read.rejected());
        }
        shape_of(cut.index(text.len() + 1), false);
    }

    #[test]
    fn what_is_not_rejected_is_records(lines in vec(line(), 0..8), end in select(vec!["\n", " ", "\r\n"])) {
        let mut text = lines.join(end.as_bytes());
        let first = read(&text);
        for reject in &first.rejects {
            text[reject.offset as usize..][..reject.bytes.len()].fill(b' ');
        }
        let again = read(&text);
        prop_assert_eq!(again.rejects, vec![]);
        prop_assert_eq!(again.rows, first.rows);
    }

    #[test]
    fn good_lines_among_bad_ones_are_rows(lines in vec(prop_oneof![Just(None), select(BAD_LINES.to_vec()).prop_map(Some)], 0..8), sizes in sizes()) {
        // One good line first, so that it is known that each line is a record.
        let mut text = "{\"n\":-1}\n".to_owned();
        let (mut rows, mut rejects) = (vec!["{\"n\":-1}".to_owned()], Vec::new());
        for (index, bad) in lines.iter().enumerate() {
            match bad {
                None => {
                    rows.push(format!("{{\"n\":{index}}}"));
                    text.push_str(&rows[rows.len() - 1]);
                }
                Some(bad) => {
                    rejects.push((text.len() as u64, bad.len() + 1));
                    text.push_str(bad);
                }
            }
            text.push('\n');
        }
        let read = read_with(&DecodeOptions::default(), &[text.as_bytes()], &sizes);
        prop_assert_eq!(read.rows, rows);
        let found: Vec<_> = read.rejects.iter().map(|reject| (reject.offset, reject.bytes.len())).collect();
        prop_assert_eq!(found, rejects);
    }

    #[test]
    fn every_double_is_stored_bit_for_bit(numbers in vec(any::<f64>().prop_filter("JSON has no others", |n| n.is_finite()), 1..20)) {
        let text: String = numbers.iter().map(|number| format!("{{\"v\":{number:?}}}\n{{\"v\":{number:e}}}\n")).collect();
        let read = read(text);
        for (number, row) in numbers.iter().flat_map(|number| [number, number]).zip(&read.rows) {
            let stored: f64 = row.trim_matches(|c| "{\"v:}".contains(c)).parse().unwrap();
            prop_assert!(stored.to_bits() == number.to_bits() || *number == stored && read.ty("v") == Some(&Type::Text), "{}", row);
        }
    }

    /// Batches (windows) whose types drift: the columns in the end hold every record's values, numbers by value and to the
    /// last digit where the column is text.
    #[test]
    fn every_value_is_in_the_columns_that_all_batches_lead_to(records in vec(drifting(), 1..12), sizes in sizes()) {
        let text = records.join("\n");
        let read = read_with(&DecodeOptions::default(), &[text.as_bytes()], &sizes);
        prop_assert_eq!(&read.rejects, &vec![]);
        prop_assert_eq!(read.rows.len(), records.len());
        for (row, record) in read.rows.iter().zip(&records) {
            let is_held = holds_members(&Exact::of(row), &Exact::of(record), &read.fields, None);
            prop_assert!(is_held, "{} became {} in {:?}", record, row, &read.fields);
        }
    }

    #[test]
    fn the_order_of_records_changes_neither_columns_nor_rows(
        (records, shuffled) in vec(drifting(), 1..8).prop_flat_map(|records| (Just(records.clone()), Just(records).prop_shuffle())),
        sizes in sizes()
    ) {
        let [mut one, mut other] = [records, shuffled]
            .map(|records| read_with(&DecodeOptions::default(), &[records.join("\n").as_bytes()], &sizes));
        one.rows.sort();
        other.rows.sort();
        prop_assert_eq!(&one.observation, &other.observation);
        prop_assert_eq!(&one.fields, &other.fields);
        prop_assert_eq!(&one.rows, &other.rows);
    }

    #[test]
    fn slices_decoded_apart_merge_to_the_whole(parts in vec(vec(record(), 0..4), 1..4)) {
        let texts_of: Vec<String> = parts.iter().map(|part| part.join("\n")).collect();
        let whole = read(texts_of.join("\n"));
        let reads: Vec<Read> = texts_of.iter().map(read).collect();
        let mut merged = Observation::default();
        reads.iter().rev().for_each(|read| merged.merge(&read.observation));
        prop_assert_eq!(&merged, &whole.observation);
        let schema = arrow_schema(&whole.fields);
        let mut rows = Vec::new();
        for (text, read) in texts_of.iter().zip(&reads) {
            let all = [text.as_bytes()];
            let (batch, _) = columns_of(&DecodeOptions::default(), &all, &[usize::MAX], &merged);
            // What was stored under the types of its slice alone may be given under those of the whole.
            let (narrow, _) = columns_of(&DecodeOptions::default(), &all, &[usize::MAX], &read.observation);
            match conform(&narrow, &read.fields, &whole.fields, &schema) {
                Ok(conformed) => {
                    for (a, b) in texts(&conformed, &whole.fields).iter().zip(&texts(&batch, &whole.fields)) {
                        // serde_json reads no number beyond a double's range.
                        let [a, b] = [a, b].map(|text| serde_json::from_str(&text.replace("1e400", "4e100")).unwrap());
                        prop_assert_eq!(prune(&a), prune(&b));
                    }
                }
                Err(FinishError::Redo) => {}
                Err(FinishError::Arrow(error)) => panic!("{error}"),
            }
            rows.extend(texts(&batch, &whole.fields));
        }
        prop_assert_eq!(rows, whole.rows);
    }

    #[test]
    fn a_committed_batch_takes_the_columns_of_a_later_schema(
        before in vec(record(), 0..5), later in vec(record(), 0..4), rivals in any::<bool>()
    ) {
        let [before, later] = [before, later].map(|records| {
            let text = records.join("\n");
            if rivals { text } else { text.replace("\"A\"", "\"D\"").replace("\"é\"", "\"e\"") }
        });
        let committed = read(&before);
        let mut registry = committed.observation.clone();
        pin(&mut registry, &committed.fields);
        prop_assert_eq!(&resolve(&registry, &[]), &committed.fields);
        registry.merge(&read(&later).observation);
        let fields = resolve(&registry, &[]);
        prop_assert!(committed.fields.iter().all(|old| fields.iter().any(|new| new.name == old.name)));
        let columns = |text: &str, seed| columns_of(&DecodeOptions::default(), &[text.as_bytes()], &[usize::MAX], seed).0;
        columns(&later, &registry);
        let stored = columns(&before, &committed.observation);
        let reshaped = reshape(&stored, &committed.fields, &fields, &arrow_schema(&fields));
        let reshaped = texts(&reshaped.unwrap(), &fields);
        for (old, new) in texts(&stored, &committed.fields).iter().zip(&reshaped) {
            let [before, after] = [old, new].map(|text| leaves(&serde_json::from_str(&text.replace("1e400", "4e100")).unwrap()));
            prop_assert_eq!(before, after, "{} became {}", old, new);
        }
        for (old, new) in reshaped.iter().zip(texts(&columns(&before, &registry), &fields)).filter(|_| !rivals) {
            let [old, new] = [old, &new].map(|text| prune(&serde_json::from_str(&text.replace("1e400", "4e100")).unwrap()));
            prop_assert!(is_alike(&old, &new), "{} {}", old, new);
        }
    }

    #[test]
    fn projected_columns_are_those_of_the_whole(text in document(), sizes in sizes(), keep in any::<u8>()) {
        let whole = read(&text);
        let kept: Vec<usize> = (0..whole.fields.len()).filter(|index| keep >> (index % 8) & 1 == 1).collect();
        let fields: Vec<Field> = kept.iter().map(|index| whole.fields[*index].clone()).collect();
        let (batch, _) = columns_of(&DecodeOptions::default(), &[&text], &[usize::MAX], &whole.observation);
        let expected = texts(&batch.project(&kept).unwrap(), &fields);
        let mut decoder = Decoder::new(&DecodeOptions::default(), &whole.observation);
        decoder.project(&fields);
        let (mut rows, mut rejects) = (Vec::new(), 0);
        feed(&mut decoder, &[&text], &sizes, |decoder, decoded, _| {
            rejects += decoded.rejects.iter().filter(|reject| !reject.continued).count();
            rows.extend(texts(&decoder.finish(&fields, &arrow_schema(&fields)).unwrap(), &fields));
        });
        prop_assert_eq!((rows, rejects), (expected, whole.rejects.len()));
    }

    #[test]
    fn what_is_written_back_is_what_was_read(records in vec(tree(), 1..8)) {
        let text: String = records.iter().map(|record| record.to_string() + "\n").collect();
        let read = read(&text);
        prop_assert_eq!(&read.rejects, &vec![]);
        for (before, after) in records.iter().zip(read.values()) {
            prop_assert!(is_same(before, &after), "{} became {}", before, after);
        }
        // What was written back reads as the same again.
        let again = super::read(read.rows.join("\n"));
        prop_assert_eq!(again.values(), read.values());
    }
}

/// A record of values whose kinds drift from record to record.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..3_i64).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-4..4_i32).prop_map(|n| json!(f64::from(n) / 4.0)),
        any::<f64>().prop_filter("JSON has no others", |n| n.is_finite()).prop_map(|n| json!(n)),
        "[ -~]{0,6}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(vec!["2025-02-03", "1969-12-31", "2025-02-03T04:05:06Z", "2025-02-03T04:05:06.5", "1.10", "true"])
            .prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(select(vec!["a", "b", "c d", "é"]), inner, 0..4).prop_map(|members| json!(members)),
        ]
    });
    btree_map(select(vec!["p", "q", "Q r", "\"s\\", "t"]), value, 0..5).prop_map(|members| json!(members))
}

/// Whether the value read back is the value that was written, but for what columns do not tell apart.
fn is_same(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (before, Value::Null) => is_nothing(before),
        (Value::Object(before), Value::Object(after)) => {
            before.iter().all(|(key, value)| is_same(value, after.get(key).unwrap_or(&Value::Null)))
                && after.keys().all(|key| before.contains_key(key))
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(before, after)| is_same(before, after))
        }
        (Value::Number(a), Value::Number(b)) => {
            let [Some(x), Some(y)] = [a, b].map(serde_json::Number::as_f64) else { return false };
            a == b || a.is_f64() && is_near(x, y) || x == y && x.abs() <= 2_f64.powi(53)
        }
        (Value::Number(_) | Value::Bool(_), Value::String(text)) => format!("{before}") == *text,
        (Value::String(a), Value::String(b)) => a == b || same_time(a, b),
        _ => before == after,
    }
}

/// Gives the keys of an observation the names of the columns that a table committed.
fn pin(seen: &mut Observation, fields: &[Field]) {
    fn pin_type(seen: &mut Observation, ty: &Type) {
        match ty {
            Type::Struct(fields) => pin(seen, fields),
            Type::List(element) => seen.element.iter_mut().for_each(|below| pin_type(below, element)),
            _ => {}
        }
    }
    for field in fields {
        for key in &field.keys {
            if let Some(below) = seen.fields.get_mut(key) {
                below.column = Some(field.name.clone());
                pin_type(below, &field.ty);
            }
        }
    }
}

/// Whether a value made of a stored one is that of the raw text, but for how numbers and times are spelled.
fn is_alike(stored: &Value, raw: &Value) -> bool {
    match (stored, raw) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| is_alike(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_alike(a, b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| is_near(a, b)),
        (Value::String(a), Value::String(b)) => {
            a == b || same_time(a, b) || matches!((a.parse(), b.parse()), (Ok(a), Ok(b)) if is_near(a, b))
        }
        // A scalar that was stored as text cannot tell that it was no string.
        (Value::String(text), raw @ (Value::Number(_) | Value::Bool(_))) => {
            format!("{raw}") == *text || raw.as_f64().zip(text.parse().ok()).is_some_and(|(a, b)| is_near(a, b))
        }
        (a, b) => a == b,
    }
}

/// How many scalars a value holds.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Object(members) => members.values().map(leaves).sum(),
        Value::Array(elements) => elements.iter().map(leaves).sum(),
        _ => 1,
    }
}

/// serde_json reads doubles only nearly.
fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() <= a.abs() * 1e-14
}

/// The value without members that a column need not hold.
fn prune(value: &Value) -> Value {
    match value {
        value if is_nothing(value) => Value::Null,
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !is_nothing(value));
            members.map(|(key, value)| (key.clone(), prune(value))).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(elements) => elements.iter().map(prune).collect(),
        other => other.clone(),
    }
}

/// Whether a column need not hold it: null, {} and [], and what is made of these.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().all(is_nothing),
        Value::Array(elements) => elements.is_empty(),
        _ => false,
    }
}

fn same_time(a: &str, b: &str) -> bool {
    match (time(a.as_bytes()), time(b.as_bytes())) {
        (Some(Time::Timestamp { micros: a, .. }), Some(Time::Timestamp { micros: b, .. })) => a == b,
        _ => false,
    }
}
