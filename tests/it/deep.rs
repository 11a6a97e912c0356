//! `verify --deep`: what only a comparison of the rows with their raw objects can find, and what it takes for no fault.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::support::{Roots, lines};

fn configure(roots: &Roots, config: &str) {
    std::fs::write(roots.dir.path().join("siltstone.toml"), format!("[sources.s]\n{config}\n")).unwrap();
}

/// What `verify --deep` says of `s`: exit code, findings, and what was compared.
fn deep(roots: &Roots) -> (i32, Vec<Value>, Value) {
    let ran = roots.run_here(&["verify", "s", "--deep", "--format", "json"]);
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    let mut all: Value = serde_json::from_str(&ran.stdout).unwrap();
    let findings = all[0]["findings"].as_array().unwrap().clone();
    (ran.code, findings, all[0]["deep"].take())
}

/// Asserts that nothing is wrong and gives how many rows were compared, were of objects that are gone, and hold canonical text.
#[track_caller]
fn assert_sound(roots: &Roots) -> (u64, u64, u64) {
    let (code, findings, deep) = deep(roots);
    assert_eq!((code, &findings[..]), (0, &[][..]), "{deep}");
    let count = |name: &str| deep[name].as_u64().unwrap();
    (count("rows"), count("rows_unread"), count("rows_canonical"))
}

/// Asserts that only the deep check finds fault, and gives the kinds, columns and reasons of what it finds.
#[track_caller]
fn assert_found(roots: &Roots) -> Vec<(String, String, String)> {
    let shallow = roots.run_here(&["verify", "s"]);
    assert_eq!(shallow.code, 0, "{}", shallow.stdout);
    let (code, findings, _) = deep(roots);
    assert_eq!(code, 1);
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or("-").to_owned();
    findings.iter().map(|finding| (text(finding, "kind"), text(finding, "column"), text(finding, "reason"))).collect()
}

/// Writes the data file that holds `id` again with other rows; the log is told of its size.
fn damage(roots: &Roots, id: i64, change: impl Fn(&RecordBatch) -> RecordBatch) {
    for file in roots.files("s") {
        let path = roots.lake.join("s").join(&file.path);
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        let schema = Arc::clone(reader.schema());
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        let rows = concat_batches(&schema, &batches).unwrap();
        if !ids(&rows).contains(&id) {
            continue;
        }
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), schema, None).unwrap();
        writer.write(&change(&rows)).unwrap();
        writer.close().unwrap();
        let size = path.metadata().unwrap().len();
        let log = roots.lake.join("s/_delta_log");
        for entry in std::fs::read_dir(log).unwrap() {
            let entry = entry.unwrap().path();
            let text = std::fs::read_to_string(&entry).unwrap_or_default();
            let edited = text.lines().map(|line| {
                let mut action: Value = serde_json::from_str(line).unwrap();
                if action["add"]["path"] == file.path.as_str() {
                    action["add"]["size"] = json!(size);
                }
                format!("{action}\n")
            });
            let edited: String = edited.collect();
            std::fs::write(entry, edited).unwrap();
        }
        return;
    }
    panic!("{id} is in no file");
}

fn ids(rows: &RecordBatch) -> Vec<i64> {
    rows.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// The rows with other values in a column of integers.
fn with_column(rows: &RecordBatch, name: &str, change: impl Fn(&mut Vec<Option<i64>>)) -> RecordBatch {
    let at = rows.schema().index_of(name).unwrap();
    let mut values: Vec<Option<i64>> = rows.column(at).as_primitive::<Int64Type>().iter().collect();
    change(&mut values);
    let mut columns = rows.columns().to_vec();
    columns[at] = Arc::new(Int64Array::from(values)) as ArrayRef;
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

fn set(row_of: i64, name: &'static str, value: i64) -> impl Fn(&RecordBatch) -> RecordBatch {
    move |rows| {
        let row = ids(rows).iter().position(|id| *id == row_of).unwrap();
        with_column(rows, name, |values| values[row] = Some(value))
    }
}

/// A table of four runs.
fn of_runs(config: &str) -> Roots {
    let roots = Roots::new();
    configure(&roots, config);
    for run in 0..4 {
        for object in 0..3 {
            let record = |n: i64| {
                let id = run * 100 + object * 10 + n;
                json!({"id": id, "v": n * n, "kind": format!("k{}", n % 2), "text": format!("text {n}"), "l": [n, {"x": id}],
                    "at": "2025-01-02T03:04:05Z", "o": {"p": 1.5, "q": {"r": n}}})
            };
            let records: Vec<Value> = (0..10).map(record).collect();
            roots.put(&format!("s/{run}-{object}.json"), format!("{}malformed\n", lines(&records)));
        }
        roots.compact_one(&["--partition-by", "kind"]);
    }
    roots
}

fn optimize(roots: &Roots, args: &[&str]) {
    roots.run(&[&["optimize", "s", "--lake", roots.lake.to_str().unwrap()], args].concat()).ok();
}

#[test]
fn the_rows_of_the_test_data_are_those_of_its_raw_objects() {
    let roots = Roots::of_testdata();
    roots.compact(&[]);
    let ran = roots.run_here(&["verify", "--deep"]);
    let text = ran.ok();
    for line in ["  181 rows were compared with ", "  282 rows were compared with ", "  384 rows were compared with "] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_changed_value_is_found_with_its_file_and_column() {
    let roots = of_runs("");
    assert_eq!(assert_sound(&roots), (120, 0, 0));
    // Neither the least nor the greatest: no statistics tell.
    damage(&roots, 214, set(214, "v", 17));
    let found = assert_found(&roots);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((&*found[0].0, &*found[0].1), ("raw_rows", "v"));
    assert!(found[0].2.starts_with("1 rows are others than the raw objects give"), "{found:?}");
    assert_eq!(
        (&*found[1].0, &*found[1].2),
        ("raw_object", "1 records of the raw object are not in the table as it gives them")
    );
    let text = roots.run_here(&["verify", "s", "--deep"]).stdout;
    assert!(text.contains("error: 2-1.json: 1 records of the raw object"), "{text}");
}

#[test]
fn values_that_changed_rows_and_rows_that_changed_places_are_told_apart() {
    let roots = of_runs("");
    // The same values, but in other rows.
    damage(&roots, 112, |rows| {
        let (one, other) =
            (ids(rows).iter().position(|id| *id == 112).unwrap(), ids(rows).iter().position(|id| *id == 114).unwrap());
        with_column(rows, "v", |values| values.swap(one, other))
    });
    let found = assert_found(&roots);
    assert!(found[0].1 == "v" && found[0].2.starts_with("2 rows"), "{found:?}");
    // Rows in another order are the same rows.
    let roots = of_runs("");
    damage(&roots, 112, |rows| {
        let back = Int64Array::from_iter_values((0..rows.num_rows() as i64).rev());
        arrow::compute::take_record_batch(rows, &back).unwrap()
    });
    assert_eq!(assert_sound(&roots).0, 120);
}

#[test]
fn a_row_that_is_there_twice_in_the_place_of_another_is_found() {
    let roots = of_runs("");
    damage(&roots, 12, |rows| {
        let twice = ids(rows).iter().position(|id| *id == 12).unwrap() as i64;
        let rows_now = Int64Array::from_iter_values(
            (0..rows.num_rows() as i64).map(|row| if row == twice + 1 { twice } else { row }),
        );
        arrow::compute::take_record_batch(rows, &rows_now).unwrap()
    });
    let found = assert_found(&roots);
    assert_eq!(found.iter().map(|found| found.0.as_str()).collect::<Vec<_>>(), ["raw_rows", "raw_object"]);
}

#[test]
fn merged_and_sorted_files_and_small_memory_are_no_hindrance() {
    for config in ["", "sort_by = [\"text\", \"id\"]", "memory_bytes = 2000", "provenance = \"raw_object\""] {
        let roots = of_runs(config);
        optimize(&roots, &[]);
        assert_eq!(assert_sound(&roots), (120, 0, 0), "{config}");
        damage(&roots, 125, set(125, "v", 26));
        let found = assert_found(&roots);
        assert_eq!((&*found[0].0, &*found[0].1), ("raw_rows", "v"), "{config}: {found:?}");
        assert_eq!(found.len(), 2, "{config}: {found:?}");
    }
}

#[test]
fn rows_of_objects_that_are_gone_are_counted_and_others_still_checked() {
    for config in ["", "provenance = \"raw_object\""] {
        let roots = of_runs(config);
        optimize(&roots, &[]);
        std::fs::remove_file(roots.raw.join("s/0-1.json")).unwrap();
        roots.put("s/3-2.json", "{\"id\":1000}");
        assert_eq!(assert_sound(&roots), (100, 20, 0));
        damage(&roots, 5, set(5, "v", 24));
        let found = assert_found(&roots);
        let is_told = |kind: &str| found.iter().any(|found| found.0 == kind);
        assert!(is_told("raw_rows") && is_told("raw_object"), "{found:?}");
        // Where rows name their objects, only the one at fault is told of.
        if !config.is_empty() {
            assert!(found.len() == 2 && found[0].1 == "v" && found[0].2.starts_with("1 rows"), "{found:?}");
        }
    }
    // All of them.
    let roots = of_runs("");
    std::fs::remove_dir_all(roots.raw.join("s")).unwrap();
    std::fs::create_dir(roots.raw.join("s")).unwrap();
    assert_eq!(assert_sound(&roots), (0, 120, 0));
}

#[test]
fn deduplicated_and_replaced_rows_are_no_fault() {
    let roots = of_runs(
        "dedup = { keys = [\"text\"], keep = \"last by id\" }\nprovenance = \"raw_object\"\non_overwrite = \"replace\"",
    );
    roots.put("s/0-0.json", "{\"id\":7,\"v\":50}\n{\"id\":8,\"v\":60}\n{\"id\":9,\"v\":70}");
    assert_eq!(roots.compact_one(&[]).rows_replaced, 10);
    assert_eq!(assert_sound(&roots), (113, 0, 0));
    optimize(&roots, &["--dedup"]);
    assert_eq!(assert_sound(&roots), (13, 0, 0));
    damage(&roots, 8, set(8, "v", 61));
    let found = assert_found(&roots);
    assert_eq!(found.iter().map(|found| found.0.as_str()).collect::<Vec<_>>(), ["raw_rows", "raw_object"]);
}

#[test]
fn canonical_text_is_counted_and_replayed_rows_are_known() {
    let roots = Roots::new();
    configure(&roots, "columns.id.type = \"bigint\"");
    roots.put("s/a.json", "{\"id\":1,\"d\":1.10}\n{\"id\":\"x\",\"d\":2.10}\n");
    roots.put("s/b.json", "{\"id\":3,\"d\":3.10}\n");
    assert_eq!(roots.compact_one(&["--partition-by", "none", "--threads", "1"]).error_count, 1);
    assert_eq!(assert_sound(&roots), (2, 0, 0));
    configure(&roots, "columns.id.type = \"string\"");
    roots.run_here(&["quarantine", "replay", "s"]).ok();
    assert_eq!(assert_sound(&roots), (3, 0, 0));
    // Of objects whose rejects became rows later, raw texts are not read again.
    roots.put("s/c.json", "{\"id\":4,\"d\":\"text\"}");
    roots.compact_one(&[]);
    assert_eq!(assert_sound(&roots), (4, 0, 3));
}

#[test]
fn what_holds_nothing_is_null_where_it_had_no_column_and_costs_no_text() {
    let roots = Roots::new();
    configure(&roots, "auto_optimize = false");
    for (run, record) in [
        "{\"id\":1,\"s\":[],\"o\":{},\"n\":{\"l\":[]},\"m\":[{\"k\":[]}],\"b\":1.10}",
        "{\"id\":2,\"s\":[\"x\"],\"o\":{\"p\":1},\"n\":{\"l\":[1]},\"m\":[{\"k\":[1]}],\"b\":2.50}",
        "{\"id\":3,\"s\":[],\"o\":{},\"n\":{\"l\":[]},\"m\":[],\"b\":3.0}",
    ]
    .iter()
    .enumerate()
    {
        roots.put(&format!("s/{run}.json"), record);
        roots.compact_one(&["--partition-by", "none"]);
        assert_eq!(assert_sound(&roots), (run as u64 + 1, 0, 0));
    }
    optimize(&roots, &[]);
    roots.put("s/9.json", "{\"id\":4,\"b\":\"x\",\"o\":\"text\"}");
    roots.compact_one(&[]);
    assert_eq!(assert_sound(&roots), (4, 0, 0));
    let texts: Vec<Value> =
        roots.sql("select b from lake.s order by id").into_iter().map(|mut row| row["b"].take()).collect();
    assert_eq!(texts, ["1.10", "2.50", "3.0", "x"]);
}

#[test]
fn what_went_into_the_overflow_column_goes_there_for_good() {
    let roots = Roots::new();
    configure(&roots, "max_columns = 3");
    let records = [
        "{\"id\":1,\"x\":1.10,\"m\":{\"p\":1,\"q\":1,\"r\":1}}",
        "{\"id\":2,\"x\":2.50}",
        "{\"id\":3,\"x\":\"s\",\"new\":1}",
    ];
    for (run, record) in records.iter().enumerate() {
        roots.put(&format!("s/{run}.json"), record);
        roots.compact_one(&["--partition-by", "none"]);
        assert_eq!(assert_sound(&roots), (run as u64 + 1, 0, 0));
        optimize(&roots, &[]);
    }
    let rows = roots.sql("select id, overflow from lake.s order by id");
    let overflow: Vec<&Value> = rows.iter().map(|row| &row["overflow"]).collect();
    assert_eq!(overflow[1..], ["{\"x\":2.50}", "{\"x\":\"s\",\"new\":1}"]);
}

#[test]
fn a_number_that_became_text_and_then_json_is_canonical() {
    let roots = Roots::new();
    roots.put("s/1.json", "{\"id\":1,\"a\":1.10}");
    roots.put("s/2.json", "{\"id\":2,\"a\":\"x\"}");
    roots.compact_one(&["--partition-by", "none", "--threads", "1"]);
    std::fs::remove_file(roots.raw.join("s/2.json")).unwrap();
    roots.put("s/3.json", "{\"id\":3,\"a\":[1]}");
    roots.compact_one(&[]);
    assert_eq!(assert_sound(&roots).2, 1);
}

#[test]
fn a_column_that_is_left_out_by_now_is_not_compared() {
    let roots = of_runs("");
    configure(&roots, "columns.v.drop = true");
    let (code, findings, deep) = deep(&roots);
    assert_eq!((code, &findings[..], &deep["columns_left_out"]), (0, &[][..], &json!(["v"])));
    damage(&roots, 125, set(125, "v", 26));
    assert_eq!(assert_sound(&roots).0, 120);
}

#[test]
fn rejects_that_would_be_rows_today_are_no_fault() {
    let roots = Roots::new();
    configure(&roots, "contract = \"freeze\"");
    roots.put("s/a.json", "{\"id\":1}\n{\"id\":2}");
    roots.compact_one(&["--partition-by", "none"]);
    roots.put("s/b.json", "{\"id\":3}\n{\"id\":4,\"more\":1}");
    assert_eq!(roots.compact_one(&[]).error_count, 1);
    assert_eq!(assert_sound(&roots), (3, 0, 0));
    roots.put("s/c.json", "{\"id\":5,\"deep\":[[[1]]]}");
    configure(&roots, "max_depth = 2");
    roots.compact_one(&[]);
    configure(&roots, "");
    // What was refused then has columns that the registry never saw, or is a row too many.
    let (_, findings, _) = deep(&roots);
    assert!(findings.iter().all(|finding| finding["path"] != "a.json"), "{findings:?}");
}

#[test]
fn the_deep_check_needs_the_raw_root() {
    let roots = of_runs("");
    let message = roots.run(&["verify", "s", "--deep", "--lake", roots.lake.to_str().unwrap()]).failed(2);
    assert!(message.contains("raw"), "{message}");
}

#[test]
fn of_an_object_that_cannot_be_read_to_its_end_a_run_and_a_check_keep_the_same_rows() {
    let roots = Roots::new();
    configure(&roots, "max_object_bytes = 3000001");
    let mut number = 7_u64;
    let mut text = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{number:x}")
    };
    // They inflate to five megabytes and compress to more than two: a run of one slice and two threads inflates them ahead.
    for object in ["too-large", "damaged"] {
        let records: Vec<Value> =
            (0..60_000).map(|id| json!({"id": id, "a": text(), "b": text(), "c": text()})).collect();
        let mut gzipped = super::support::gzip(lines(&records));
        assert!(gzipped.len() > 1 << 20);
        if object == "damaged" {
            let middle = gzipped.len() / 4;
            gzipped[middle..middle + 64].fill(0xff);
        }
        roots.put(&format!("s/{object}.json.gz"), gzipped);
        roots.run_here(&["compact", "--threads", "3"]).ok();
        let (rows, unread, _) = assert_sound(&roots);
        assert!(rows > 1_000 && unread == 0, "{rows} rows of {object}");
    }
    // In windows that begin with another object, and by one thread, the same rows are kept.
    let again = Roots::new();
    configure(&again, "max_object_bytes = 3000001");
    again.put("s/a.json", lines(&[json!({"id": -1, "a": "x", "b": "y", "c": "z"})]));
    for object in ["too-large", "damaged"] {
        let bytes = std::fs::read(roots.raw.join(format!("s/{object}.json.gz"))).unwrap();
        again.put(&format!("s/{object}.json.gz"), bytes);
    }
    again.run_here(&["compact", "--threads", "1"]).ok();
    let (rows, ..) = assert_sound(&again);
    assert_eq!(rows, assert_sound(&roots).0 + 1);
}
