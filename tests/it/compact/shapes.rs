//! What a raw object may look like.

use std::str::FromStr as _;

use serde_json::{Value, json};

use crate::support::{Roots, gzip, lines, zstd};

/// Compacts each object as a source of its own and compares the rows.
fn check(objects: &[(&str, Vec<u8>, Vec<Value>)]) {
    let roots = Roots::new();
    for (source, bytes, _) in objects {
        roots.put(&format!("{source}/object"), bytes);
    }
    let report = roots.compact(&[]);
    for source in &report.sources {
        let (_, _, expected) = objects.iter().find(|(name, _, _)| *name == source.source_id).unwrap();
        assert_eq!((source.success_count, source.error_count), (expected.len() as u64, 0), "{source:?}");
        assert_eq!(roots.export(&source.source_id), *expected, "{}", source.source_id);
    }
}

fn records() -> Vec<Value> {
    vec![json!({"id": 1, "s": "ü\n\"x\""}), json!({"id": 2, "o": {"l": [1, 2]}}), json!({"id": 3})]
}

/// In the order of an export, which is that of the text.
fn sorted(mut records: Vec<Value>) -> Vec<Value> {
    records.sort_by_key(Value::to_string);
    records
}

#[test]
fn every_shape_gives_its_records() {
    let records = records();
    let rows = sorted(records.clone());
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap().into_bytes();
    let one = json!({"id": 7, "s": "x"});
    let array = Value::from(records.clone());
    let ndjson = lines(&records);
    check(&[
        ("object", one.to_string().into_bytes(), vec![one.clone()]),
        ("object-pretty", pretty(&one), vec![one.clone()]),
        ("array", array.to_string().into_bytes(), rows.clone()),
        ("array-pretty", pretty(&array), rows.clone()),
        ("array-empty", b"[]".to_vec(), vec![]),
        ("ndjson", ndjson.clone().into_bytes(), rows.clone()),
        ("ndjson-crlf", ndjson.replace('\n', "\r\n").into_bytes(), rows.clone()),
        ("ndjson-no-last-newline", ndjson.trim_end().as_bytes().to_vec(), rows.clone()),
        ("ndjson-blank-lines", ndjson.replace('\n', "\n\n \n").into_bytes(), rows.clone()),
        ("concatenated", ndjson.replace('\n', "").into_bytes(), rows.clone()),
        ("concatenated-pretty", records.iter().flat_map(pretty).collect(), rows.clone()),
        ("concatenated-arrays", format!("{}{}", json!([records[0]]), json!(records[1..])).into_bytes(), rows.clone()),
        ("arrays-and-objects", format!("{} {}\n{}", json!([records[0]]), records[1], records[2]).into_bytes(), rows),
        ("nothing", Vec::new(), vec![]),
        ("nothing-but-space", b" \r\n\t\n".to_vec(), vec![]),
    ]);
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let bom = |text: String| [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat();
    let rows = sorted(records());
    check(&[
        ("object", bom(r#"{"id":1}"#.to_owned()), vec![json!({"id": 1})]),
        ("array", bom(Value::from(records()).to_string()), rows.clone()),
        ("ndjson", bom(lines(&records())), rows.clone()),
        ("envelope", bom(json!({"items": records()}).to_string()), rows),
        ("alone", bom(String::new()), vec![]),
    ]);
}

#[test]
fn compression_is_told_by_the_first_bytes_whatever_the_name() {
    let records = records();
    let rows = sorted(records.clone());
    let ndjson = lines(&records);
    // The members are cut within a record.
    let (front, back) = ndjson.split_at(9);
    let array = Value::from(records).to_string();
    check(&[
        ("gzip", gzip(&ndjson), rows.clone()),
        ("gzip-array", gzip(&array), rows.clone()),
        ("gzip-members", [gzip(front), gzip(back)].concat(), rows.clone()),
        ("gzip-empty-members", [gzip(""), gzip(front), gzip(""), gzip(back), gzip("")].concat(), rows.clone()),
        ("gzip-of-nothing", gzip(""), vec![]),
        ("zstd", zstd(&ndjson), rows.clone()),
        ("zstd-frames", [zstd(front), zstd(back)].concat(), rows.clone()),
        ("zstd-array", zstd(&array), rows),
    ]);
    let roots = Roots::new();
    roots.put("s/plain.json.gz", r#"{"id":1}"#);
    roots.put("s/gzip.json", gzip(r#"{"id":2}"#));
    roots.put("s/zstd.gz", zstd(r#"{"id":3}"#));
    roots.compact(&[]);
    assert_eq!(roots.exported_ids("s"), [1, 2, 3]);
}

#[test]
fn the_records_of_an_envelope_are_found_by_name_one_level_down_or_among_scalars() {
    let records = records();
    let rows = sorted(records.clone());
    let bytes = |value: &Value| value.to_string().into_bytes();
    let mut objects: Vec<(&str, Vec<u8>, Vec<Value>)> = Vec::new();
    for name in siltstone::json::KNOWN_NAMES.iter().filter(|name| **name != "Records" && **name != "Items") {
        objects.push((name, bytes(&json!({"n": 1, "meta": {"a": [1]}, *name: records})), rows.clone()));
    }
    let whole = json!({"one": [{"a": 1}], "two": [{"b": 2}]});
    objects.extend([
        ("Records2", bytes(&json!({"Records": records})), rows.clone()),
        ("Items2", bytes(&json!({"Items": records})), rows.clone()),
        ("below", bytes(&json!({"status": "ok", "data": {"items": records, "n": 2}, "next": null})), rows.clone()),
        ("among-scalars", bytes(&json!({"page": 1, "orders": records, "next": null})), rows),
        ("several", bytes(&whole), vec![whole]),
        (
            "not-alone",
            lines(&[json!({"items": [{"a": 1}]}), json!({"items": [{"a": 2}]})]).into_bytes(),
            vec![json!({"items": [{"a": 1}]}), json!({"items": [{"a": 2}]})],
        ),
    ]);
    check(&objects);
}

#[test]
fn the_place_of_the_records_is_found_once_and_an_empty_array_is_no_error() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"data":{"items":[]},"n":0}"#);
    roots.put("s/b.json", r#"{"data":{"items":[{"id":1},{"id":2}]},"n":2}"#);
    assert_eq!(roots.compact_one(&[]).success_count, 2);
    assert_eq!(roots.schema("s")["records"], "data.items");
    // In a later run a name that would be found first does not matter.
    roots.put("s/c.json", r#"{"items":[{"x":1}],"data":{"items":[{"id":3}]}}"#);
    roots.put("s/d.json", r#"{"data":{"items":[]}}"#);
    let second = roots.compact_one(&[]);
    assert_eq!((second.objects, second.success_count, second.error_count), (2, 1, 0));
    assert_eq!(roots.exported_ids("s"), [1, 2, 3]);
    assert_eq!(roots.sql("select count(*) as n from raw.s"), [json!({"n": 3})]);
}

#[test]
fn objects_larger_than_a_window_are_read_whole() {
    let record = |id: usize| json!({"id": id, "text": "silt".repeat(id % 40), "n": {"half": id as f64 / 2.0}});
    let records: Vec<Value> = (0..40_000).map(record).collect();
    let ndjson = lines(&records);
    assert!(ndjson.len() > 2 * siltstone::raw::WINDOW_BYTES);
    let roots = Roots::new();
    roots.put("array/a.json", Value::from(records.clone()).to_string());
    roots.put("envelope/a.json", json!({"n": 1, "items": records, "next": null}).to_string());
    roots.put("gzip/a.json", gzip(&ndjson));
    roots.put("lines/a.json", &ndjson);
    roots.put("together/a.json", ndjson.replace('\n', ""));
    for source in roots.compact(&[]).sources {
        assert_eq!((source.success_count, source.error_count), (40_000, 0), "{}", source.source_id);
        let sums = format!(
            "select count(distinct id) as ids, sum(id) as sum, sum(n['half']) as half, sum(char_length(text)) as text from lake.{}",
            source.source_id
        );
        let expected = json!({"ids": 40_000, "sum": 799_980_000, "half": 399_990_000.0, "text": 3_120_000});
        assert_eq!(roots.sql(&sums), [expected], "{}", source.source_id);
    }
}

#[test]
fn a_record_larger_than_a_window_is_one_row() {
    let roots = Roots::new();
    let large = "x".repeat(3 * siltstone::raw::WINDOW_BYTES);
    roots.put("s/a.json", format!("{{\"id\":1}}\n{{\"id\":2,\"t\":\"{large}\"}}\n{{\"id\":3}}\n"));
    assert_eq!(roots.compact_one(&[]).success_count, 3);
    let lengths = roots.sql("select id, char_length(t) as n from lake.s order by id");
    assert_eq!(lengths[1], json!({"id": 2, "n": large.len()}));
}

#[test]
fn keys_become_safe_names_and_keep_their_spelling_in_exports() {
    let roots = Roots::new();
    let record = json!({"Order-Id": 1, "a.b": {"C D": "x", "ü": 2}, "l": [{"E": true}], "": 3});
    roots.put("s/a.json", record.to_string());
    roots.compact(&[]);
    assert_eq!(roots.export("s"), [record]);
    let rows = roots.sql("select order_id, a_b['c_d'] as c, a_b['_'] as u, l[1]['e'] as e, _ from lake.s");
    assert_eq!(rows, [json!({"order_id": 1, "c": "x", "u": 2, "e": true, "_": 3})]);
}

#[test]
fn keys_of_other_letters_are_other_columns_and_those_of_other_signs_or_case_are_not() {
    let roots = Roots::new();
    let records = [json!({"id": 1, "имя": "Ann"}), json!({"id": 2, "вес": "5kg"}), json!({"id": 3, "о": {"é": 1}})];
    roots.put_lines("s/a.json", &records);
    roots.compact(&[]);
    let later = [json!({"id": 4, "è": 2.5, "о": {"è": 2}}), json!({"id": 5, "Вес": "6kg"})];
    roots.put_lines("s/b.json", &later);
    roots.compact(&[]);
    let mut rows = roots.export("s");
    rows.sort_by_key(|row| row["id"].as_i64());
    // Those of one column come back under the first of its spellings.
    let records = [records.as_slice(), &later].concat();
    let respelled = |record: &Value| Value::from_str(&record.to_string().replace("вес", "Вес")).unwrap();
    assert_eq!(rows, records.iter().map(respelled).collect::<Vec<_>>());
    roots.run_here(&["verify", "s", "--deep"]).ok();
}

#[test]
fn one_object_that_stands_alone_makes_no_envelopes_of_many_that_do_not() {
    let roots = Roots::new();
    let order = |id: i64| json!({"order_id": id, "customer": "x", "lines": [{"sku": "a"}]});
    roots.put_lines("s/a.json", &[order(2), order(3)]);
    roots.put("s/b.json", order(1).to_string());
    roots.compact(&[]);
    let mut rows = roots.export("s");
    rows.sort_by_key(|row| row["order_id"].as_i64());
    assert_eq!(rows, [order(1), order(2), order(3)]);
}

#[test]
fn of_a_key_that_occurs_twice_the_last_value_is_kept_and_the_summary_says_so() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1,"x":"old","x":"new","o":{"y":1,"y":2}}"#);
    let report = roots.compact_one(&[]);
    assert!(report.notes.iter().any(|note| note.starts_with("2 keys occurred twice")), "{report:?}");
    assert_eq!(roots.export("s"), [json!({"id": 1, "x": "new", "o": {"y": 2}})]);
}
