//! What other readers see: a plain Delta table of plain Parquet files.

use parquet::basic::{Compression, LogicalType, TimeUnit};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::{Value, json};

use crate::support::{Roots, files_below, write};

fn table() -> Roots {
    let roots = Roots::new();
    let record = |id: u64| json!({"id": id, "t": format!("2025-01-0{id}T01:02:03.000004Z"), "n": {"l": [id], "x": null, "y": "ab"}, "d": 0.5});
    roots.put_lines("s/a.json", &[record(1), record(2), record(3)]);
    roots.compact_one(&["--partition-by", "month(t)"]);
    roots
}

fn actions(roots: &Roots, version: u64) -> Vec<Value> {
    let path = roots.lake.join(format!("s/_delta_log/{version:020}.json"));
    let log = std::fs::read_to_string(path).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn action(actions: &[Value], name: &str) -> Value {
    let found: Vec<&Value> = actions.iter().filter_map(|action| action.get(name)).collect();
    assert_eq!(found.len(), 1, "{name}");
    found[0].clone()
}

#[test]
fn a_table_needs_nothing_but_the_first_version_of_the_protocol() {
    let roots = table();
    let first = actions(&roots, 0);
    assert_eq!(action(&first, "protocol"), json!({"minReaderVersion": 1, "minWriterVersion": 2}));
    let metadata = action(&first, "metaData");
    assert_eq!(metadata["partitionColumns"], json!(["t_month"]));
    let settings = metadata["configuration"].as_object().unwrap();
    assert_eq!(settings.keys().collect::<Vec<_>>(), ["delta.dataSkippingNumIndexedCols"]);
    let schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    let types: Vec<(&str, &Value)> = schema["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| (field["name"].as_str().unwrap(), &field["type"]))
        .collect();
    assert_eq!(types[0], ("id", &json!("long")));
    assert_eq!(types[1], ("t", &json!("timestamp")));
    assert_eq!(types[2].1["type"], "struct");
    assert_eq!(types[2].1["fields"][0]["type"]["elementType"], "long");
    assert_eq!(types[3], ("d", &json!("double")));
    assert_eq!(types[4], ("t_month", &json!("string")));
    // The run and its ledger.
    assert_eq!(action(&first, "commitInfo")["siltstone.runId"].as_str().unwrap().len(), 32);
    let txn = action(&first, "txn");
    assert_eq!(txn["appId"], "siltstone.ledger");
    let head = roots.lake.join(format!("s/_siltstone/ledger/{:016x}.json", txn["version"].as_i64().unwrap()));
    assert!(head.exists());
}

#[test]
fn each_file_is_listed_with_its_size_partition_and_statistics() {
    let roots = table();
    let add = action(&actions(&roots, 0), "add");
    let file = roots.lake.join("s").join(add["path"].as_str().unwrap());
    assert_eq!(add["size"], file.metadata().unwrap().len());
    assert_eq!((&add["partitionValues"], &add["dataChange"]), (&json!({"t_month": "2025-01"}), &json!(true)));
    let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    let expected = json!({
        "numRecords": 3,
        "minValues": {"id": 1, "t": "2025-01-01T01:02:03Z", "n": {"y": "ab"}, "d": 0.5},
        "maxValues": {"id": 3, "t": "2025-01-03T01:02:03.001Z", "n": {"y": "ab"}, "d": 0.5},
        "nullCount": {"id": 0, "t": 0, "n": {"y": 0}, "d": 0}
    });
    assert_eq!(stats, expected);
}

#[test]
fn of_very_many_columns_the_outermost_have_statistics_and_that_of_raw_objects() {
    let roots = Roots::new();
    write(&roots.dir.path().join("siltstone.toml"), "[defaults]\nprovenance = \"came_from\"\n");
    let inner = |range: std::ops::Range<u64>| -> Value { range.map(|n| (format!("k{n:03}"), json!(n))).collect() };
    roots.put_lines("s/a.json", &[json!({"id": 1, "n": inner(0..50)})]);
    roots.compact_one(&["--partition-by", "none"]);
    let settings = |version: u64| action(&actions(&roots, version), "metaData")["configuration"].clone();
    assert_eq!(settings(0), json!({"delta.dataSkippingNumIndexedCols": "-1"}));
    // With that of raw objects 98 outside, so that two inside have room.
    let mut record = json!({"id": 2});
    record.as_object_mut().unwrap().extend(inner(200..295).as_object().unwrap().clone());
    record["1st"] = json!(3);
    record["flag"] = json!(true);
    record["n"] = inner(0..50);
    roots.put_lines("s/b.json", &[record]);
    roots.compact_one(&[]);
    let outside = (200..295).map(|n| format!("k{n}"));
    let columns: Vec<String> = ["came_from", "id"].map(str::to_owned).into_iter().chain(outside).collect();
    let [names, _] = ["delta.dataSkippingStatsColumns", "delta.dataSkippingNumIndexedCols"]
        .map(|name| settings(1)[name].as_str().unwrap().to_owned());
    assert_eq!(names, [&columns[..], &["`1st`", "n.k000", "n.k001"].map(str::to_owned)].concat().join(","));
    let stats: Value = serde_json::from_str(action(&actions(&roots, 1), "add")["stats"].as_str().unwrap()).unwrap();
    for (name, raw_object) in [("minValues", json!("b.json")), ("maxValues", json!("b.json")), ("nullCount", json!(0))]
    {
        let stats = stats[name].as_object().unwrap();
        assert_eq!((stats.len(), &stats["came_from"]), (99, &raw_object), "{name}");
        assert_eq!(stats["n"].as_object().unwrap().keys().collect::<Vec<_>>(), ["k000", "k001"], "{name}");
    }
    // Files are passed over by them, and only by them. Of a column that a file lacks, nothing is known.
    let matched = |filter: &str| {
        let plan = roots.sql(&format!("explain analyze select id, n from lake.s where {filter}"));
        let plan = plan[0]["plan"].as_str().unwrap();
        let files = plan.split("log_files_matched=").nth(1).unwrap_or_default();
        // Of no file, there is no scan.
        assert!(files.is_empty() == plan.contains("EmptyExec"), "{plan}");
        files.chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    let filters = ["\"1st\" = 3", "\"1st\" = 4", "k200 = 201", "n.k001 = 2", "n.k002 = 3"];
    assert_eq!(filters.map(matched), ["2", "1", "1", "", "2"]);
    // With one column of JSON text instead of fifty, all have statistics again.
    roots.put_lines("s/c.json", &[json!({"id": 4, "n": "text"})]);
    roots.compact_one(&[]);
    assert_eq!(settings(2), json!({"delta.dataSkippingNumIndexedCols": "-1"}));
}

#[test]
fn files_are_plain_parquet() {
    let roots = table();
    let files = files_below(&roots.lake.join("s"));
    let path =
        files.iter().find(|path| path.starts_with("t_month=2025-01/") && path.ends_with(".zstd.parquet")).unwrap();
    let reader = SerializedFileReader::new(std::fs::File::open(roots.lake.join("s").join(path)).unwrap()).unwrap();
    let metadata = reader.metadata();
    assert_eq!(metadata.file_metadata().num_rows(), 3);
    let schema = metadata.file_metadata().schema_descr();
    let columns: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
    // Columns without a value (n.x) and the partition column are not in the file; lists have three levels.
    assert_eq!(columns, ["id", "t", "n.l.list.element", "n.y", "d"]);
    let timestamp = schema.column(1);
    assert_eq!(timestamp.physical_type(), parquet::basic::Type::INT64);
    let Some(LogicalType::Timestamp(logical)) = timestamp.logical_type_ref() else { panic!("{timestamp:?}") };
    assert!(logical.is_adjusted_to_u_t_c && logical.unit == TimeUnit::MICROS);
    for column in metadata.row_group(0).columns() {
        assert!(matches!(column.compression(), Compression::ZSTD(_)));
        // What lies in lists has none: nothing could be skipped by them.
        let has_bounds = column.column_descr().max_rep_level() == 0;
        assert_eq!(column.statistics().is_some(), has_bounds);
        // Of one page it would say the same once more.
        assert_eq!(column.column_index_offset(), None);
        assert!(column.offset_index_offset().is_some());
    }
}

#[test]
fn an_index_has_the_bounds_of_pages_where_a_column_has_several() {
    let roots = Roots::new();
    let config = roots.dir.path().join("siltstone.toml");
    write(&config, "[defaults]\npage_rows = 1000\n");
    let records: Vec<Value> = (0..2500).map(|id| json!({"id": id, "tags": ["a", "b"], "n": {"s": "x"}})).collect();
    roots.put_lines("s/a.json", &records);
    roots.compact_one(&["--partition-by", "none"]);
    let [file] = &roots.files("s")[..] else { panic!("one file") };
    let file = std::fs::File::open(roots.lake.join("s").join(&file.path)).unwrap();
    let metadata =
        ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required).parse_and_finish(&file);
    let metadata = metadata.unwrap();
    let schema = metadata.file_metadata().schema_descr();
    let names: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
    assert_eq!(names, ["id", "tags.list.element", "n.s"]);
    let [id, tags, text] = &metadata.column_index().unwrap()[0][..] else { panic!("three columns") };
    let ColumnIndexMetaData::INT64(id) = id else { panic!("{id:?}") };
    let bounds: Vec<_> = id.min_values_iter().zip(id.max_values_iter()).collect();
    assert_eq!(bounds, [(Some(&0), Some(&999)), (Some(&1000), Some(&1999)), (Some(&2000), Some(&2499))]);
    // Nothing could be skipped by what lies in lists.
    assert!(matches!(tags, ColumnIndexMetaData::NONE) && matches!(text, ColumnIndexMetaData::BYTE_ARRAY(_)));
}

#[test]
fn a_promotion_removes_and_adds_files_in_the_commit_that_changes_the_schema() {
    let roots = table();
    let old = action(&actions(&roots, 0), "add");
    roots.put("s/b.json", r#"{"id":"x","t":"2025-02-01T00:00:00Z"}"#);
    roots.compact_one(&[]);
    let second = actions(&roots, 1);
    let remove = action(&second, "remove");
    assert_eq!((&remove["path"], &remove["dataChange"]), (&old["path"], &json!(true)));
    let metadata = action(&second, "metaData");
    assert!(
        metadata["schemaString"]
            .as_str()
            .unwrap()
            .starts_with(r#"{"type":"struct","fields":[{"name":"id","type":"string""#)
    );
    let rows: Vec<Value> = second
        .iter()
        .filter_map(|action| action.get("add"))
        .map(|add| serde_json::from_str::<Value>(add["stats"].as_str().unwrap()).unwrap()["numRecords"].take())
        .collect();
    assert_eq!(rows.iter().map(|rows| rows.as_u64().unwrap()).sum::<u64>(), 4);
    // The old version can still be read: its file is there until a vacuum.
    assert!(roots.lake.join("s").join(old["path"].as_str().unwrap()).exists());
}
