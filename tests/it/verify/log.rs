//! A log, a Delta schema and partitions that are damaged, or do not fit the files.

use serde_json::{Value, json};

use super::{assert_found, assert_sound, effects, findings, log, parquet_file, small, three_runs};
use crate::support::{Roots, write};

/// A table of one partition column of each kind.
pub(super) fn partitioned() -> Roots {
    let roots = Roots::new();
    let record = |id: u64, at: &str, kind: &str| json!({"id": id, "at": at, "kind": kind});
    roots.put_lines("s/1.json", &[record(1, "2025-01-02T03:04:05Z", "a"), record(2, "2025-01-02T03:05:05Z", "a")]);
    roots.compact_one(&["--partition-by", "year(at), month(at), day(at), hour(at), kind"]);
    assert_sound(&roots);
    roots
}

#[test]
fn a_partition_column_in_a_file_is_found() {
    let roots = partitioned();
    let path = roots.replace(&parquet_file("optional int64 id; optional int32 at_day (DATE);"));
    let found = assert_found(&roots, &[("partition_in_file", &path, "at_day", "the file holds a partition column")]);
    assert_eq!(effects(&found[0]).len(), 2, "{found:?}");
}

#[test]
fn partition_values_of_the_log_that_are_wrong_are_found() {
    let roots = partitioned();
    let [path] = &roots.data_files()[..] else { panic!() };
    let entry = std::fs::read_to_string(roots.table().join(log(0))).unwrap();
    let with = |column: &str, value: Value| {
        write(&roots.table().join(log(0)), &entry);
        roots.edit_log(0, |action| {
            if action["add"].is_object() {
                action["add"]["partitionValues"][column] = value.clone();
            }
        });
    };
    // Values that could be: the folder says otherwise.
    for (column, value) in [
        ("at_year", json!("2024")),
        ("at_month", json!("2025-02")),
        ("at_day", json!("2025-01-03")),
        ("at_hour", json!("2025-01-02-04")),
        ("kind_part", json!("b")),
        ("kind_part", json!("")),
        ("at_day", Value::Null),
    ] {
        with(column, value);
        let found = assert_found(&roots, &[("partition_folder", path, "-", "another folder than the file lies in")]);
        assert!(effects(&found[0])[0].ends_with("DataFusion: take the values of the log"), "{found:?}");
    }
    // Values that no row can have: strings as such, other types keep the log from being read at all.
    for (column, value, reason) in [
        ("at_month", "2025-13", "none that month(at) makes"),
        ("at_month", "January", "none that month(at) makes"),
        ("at_hour", "2025-01-02-24", "none that hour(at) makes"),
        ("at_year", "twenty", "the partition value in the log is no integer"),
        ("at_day", "2025-02-30", "the partition value in the log is no date"),
        ("at_day", "20250102", "the partition value in the log is no date"),
    ] {
        with(column, json!(value));
        let found = assert_found(&roots, &[("partition_value", path, column, reason)]);
        assert!(!effects(&found[0]).is_empty(), "{found:?}");
        assert!(!found[0].to_string().contains(value), "values are content: {found:?}");
    }
}

#[test]
fn rows_that_the_log_miscounts_are_found() {
    let roots = small();
    let [path] = &roots.data_files()[..] else { panic!() };
    roots.edit(&log(0), |text| text.replace(r#"\"numRecords\":2"#, r#"\"numRecords\":3"#));
    let found = assert_found(&roots, &[("rows", path, "-", "the file holds 2 rows, numRecords of the log says 3")]);
    assert_eq!(effects(&found[0]), ["Spark, DataFusion: answer count(*) from the log, and so wrongly"]);
    roots.edit(&log(0), |text| text.replace(r#"\"numRecords\":3,"#, ""));
    assert_found(&roots, &[("rows", path, "-", "the log has no numRecords for the file")]);
}

#[test]
fn statistics_that_hide_rows_are_found() {
    let roots = small();
    let [path] = &roots.data_files()[..] else { panic!() };
    let entry = std::fs::read_to_string(roots.table().join(log(0))).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let lines = entry.lines().map(|line| {
            let mut action: Value = serde_json::from_str(line).unwrap();
            if let Some(text) = action["add"]["stats"].as_str() {
                let mut stats: Value = serde_json::from_str(text).unwrap();
                change(&mut stats);
                action["add"]["stats"] = json!(stats.to_string());
            }
            action.to_string() + "\n"
        });
        std::fs::write(roots.table().join(log(0)), lines.collect::<String>()).unwrap();
    };
    let cases: [(&str, &str, Value); 7] = [
        ("/minValues/id", "id", json!(2)),
        ("/maxValues/id", "id", json!(1)),
        ("/nullCount/x", "x", json!(0)),
        ("/minValues/v", "v", json!("b")),
        ("/maxValues/v", "v", json!("a")),
        ("/maxValues/t", "t", json!("2025-01-02T03:04:04Z")),
        ("/minValues/o/q/r", "o.q.r", json!("t")),
    ];
    for (place, column, value) in cases {
        with(&|stats| *stats.pointer_mut(place).unwrap() = value.clone());
        let reason = format!("{} of the log", place.split('/').nth(1).unwrap());
        let found = assert_found(&roots, &[("statistics", path, column, &reason)]);
        assert!(effects(&found[0])[0].contains("pass over the file"), "{found:?}");
    }
    // Wider bounds, texts that are cut, and none at all hide nothing.
    for (place, value) in [
        ("/minValues/id", json!(-7)),
        ("/maxValues/v", json!("bcd")),
        ("/minValues/t", json!("2025-01-02T03:04:05.000Z")),
        ("/minValues/t", json!("1999-01-02T03:04:05Z")),
        ("/minValues", json!({})),
    ] {
        with(&|stats| *stats.pointer_mut(place).unwrap() = value.clone());
        assert_sound(&roots);
    }
}

#[test]
fn a_delta_schema_that_the_registry_does_not_give_is_found() {
    let roots = small();
    let entry = std::fs::read_to_string(roots.table().join(log(0))).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        write(&roots.table().join(log(0)), &entry);
        roots.edit_schema(0, change);
    };
    let [path] = &roots.data_files()[..] else { panic!() };
    with(&|schema| schema["fields"][0]["type"] = json!("string"));
    assert_found(
        &roots,
        &[
            ("table_schema", "_delta_log", "id", "the log says string, the registry long"),
            ("column_type", path, "id", "the file holds INT64 where the table gives BYTE_ARRAY STRING"),
        ],
    );
    with(&|schema| schema["fields"][9]["type"]["fields"][1]["type"]["fields"][0]["name"] = json!("R"));
    assert_found(
        &roots,
        &[
            ("column_name", "_delta_log", "o.q.R", "not made of a-z"),
            ("table_schema", "_delta_log", "o.q.R", "the log has string, the registry no such column"),
            ("table_schema", "_delta_log", "o.q.r", "the registry has string, the log no such column"),
            ("unknown_column", path, "o.q.r", "the table has no such column; it has R"),
        ],
    );
    with(&|schema| schema["fields"].as_array_mut().unwrap().swap(0, 1));
    let found = assert_found(&roots, &[("table_schema", "_delta_log", "-", "stand in another order")]);
    assert_eq!(found[0]["severity"], "warning");
    with(&|schema| schema["fields"][0]["metadata"]["siltstone.keys"] = json!("{\"\":[\"ID\"]}"));
    assert_found(&roots, &[("table_schema", "_delta_log", "id", "describes the original keys")]);
    // What others remark of columns is theirs.
    with(&|schema| schema["fields"][0]["metadata"]["comment"] = json!("the number of the order"));
    assert_sound(&roots);
}

#[test]
fn partition_columns_and_protocols_that_are_not_ours_are_found() {
    let roots = small();
    let entry = std::fs::read_to_string(roots.table().join(log(0))).unwrap();
    roots.edit(&log(0), |text| text.replace("\"minReaderVersion\":1", "\"minReaderVersion\":2"));
    let found = assert_found(&roots, &[("protocol", "_delta_log", "-", "the table asks for reader version 2, not 1")]);
    assert_eq!(effects(&found[0]), ["readers of reader version 1: must refuse the table, by the Delta protocol"]);
    write(&roots.table().join(log(0)), &entry);
    roots.edit_log(0, |action| {
        if action["metaData"].is_object() {
            action["metaData"]["partitionColumns"] = json!(["v"]);
        }
    });
    let found = findings(&roots);
    assert_eq!(found[0]["kind"], "partition_columns");
    assert_eq!(found[0]["reason"], "the partition columns of the log are v, of the registry none");
    assert!(found.iter().any(|finding| finding["kind"] == "partition_in_file"), "{found:?}");
}

#[test]
fn a_log_that_cannot_be_read_is_found_with_the_entry_and_the_line() {
    let roots = three_runs();
    let entry = std::fs::read_to_string(roots.table().join(log(1))).unwrap();
    roots.edit(&log(1), |text| text.replacen("{\"add\"", "{\"add", 1));
    let line = 1 + entry.lines().position(|line| line.starts_with("{\"add\"")).unwrap();
    assert_found(&roots, &[("log", &log(1), "-", &format!("line {line} is no JSON: "))]);
    std::fs::remove_file(roots.table().join(log(1))).unwrap();
    assert_found(&roots, &[("log", "_delta_log", "-", "versions 1 to 1 are gone")]);
    write(&roots.table().join(log(1)), &entry);
    std::fs::rename(roots.table().join(log(0)), roots.dir.path().join("0.json")).unwrap();
    assert_found(&roots, &[("log", "_delta_log", "-", "versions before 1 are gone, and there is no checkpoint")]);
}

#[test]
fn a_table_of_empty_records_is_sound_before_and_after_its_first_column() {
    let roots = Roots::new();
    roots.put_lines("s/a.json", &[json!({}), json!({})]);
    roots.compact_one(&["--partition-by", "none"]);
    assert_sound(&roots);
    roots.put_lines("s/b.json", &[json!({"id": 1})]);
    roots.compact_one(&[]);
    assert_sound(&roots);
    assert_eq!(roots.sql("select count(*) as n, count(id) as ids from lake.s"), [json!({"n": 3, "ids": 1})]);
}
