//! Books that are damaged or do not balance: heads, segments, quarantine, registry, records of origins.

use serde_json::{Value, json};

use super::{assert_found, assert_sound, effects, findings, log, parquet_file, small, three_runs};
use crate::support::{Roots, write};

#[test]
fn rows_that_no_raw_object_accounts_for_are_found() {
    let roots = small();
    let table = parquet_file("optional int64 id;");
    roots.replace(&table);
    assert_sound(&roots);
    // The same file once more.
    write(&roots.table().join("more.parquet"), &table);
    roots.edit(&log(0), |text| {
        let add = text.lines().find(|line| line.starts_with("{\"add\"")).unwrap();
        let mut add: Value = serde_json::from_str(add).unwrap();
        add["add"]["path"] = json!("more.parquet");
        format!("{text}{add}\n")
    });
    let head = &roots.table_files("_siltstone/ledger/", ".json")[0];
    assert_found(&roots, &[("books", head, "-", "the ledger accounts for 2 rows, the active files hold 4")]);
}

#[test]
fn segments_of_the_ledger_that_are_gone_or_damaged_are_found() {
    let roots = three_runs();
    let segments = roots.table_files("_siltstone/ledger/", ".parquet");
    let head = &roots.table_files("_siltstone/ledger/", ".json")[2];
    let path = |n: usize| roots.table().join(&segments[n]);
    let bytes = std::fs::read(path(1)).unwrap();

    std::fs::remove_file(path(1)).unwrap();
    assert_found(&roots, &[("segment", &segments[1], "-", "is gone")]);
    std::fs::write(path(1), &bytes[..bytes.len() / 2]).unwrap();
    assert_found(&roots, &[("segment", &segments[1], "-", "is damaged")]);
    std::fs::write(path(1), parquet_file("optional int64 key;")).unwrap();
    assert_found(&roots, &[("segment", &segments[1], "-", "has other columns")]);
    // Its data pages.
    let mut damaged = bytes.clone();
    damaged[4..60].fill(0xff);
    std::fs::write(path(1), damaged).unwrap();
    assert_found(&roots, &[("segment", &segments[1], "-", "is damaged")]);
    // Another segment in its place.
    std::fs::copy(path(0), path(1)).unwrap();
    assert_found(&roots, &[("consumed_twice", &segments[1], "-", "the raw object 0.json was consumed twice")]);
    std::fs::write(path(1), &bytes).unwrap();
    assert_sound(&roots);
    // A head that says otherwise. (A ledger may have more entries than objects: entries are replaced.)
    roots.edit(head, |text| text.replacen("\"entries\":1", "\"entries\":2", 1));
    assert_found(&roots, &[("segment", &segments[0], "-", "the segment has 1 entries, the head says 2")]);
    roots.edit(head, |text| text.replacen("\"entries\":2", "\"entries\":0", 1));
    assert_found(
        &roots,
        &[
            ("books", head, "-", "totals say 3 raw objects, the segments of the head have 2 entries"),
            ("segment", &segments[0], "-", "the segment has 1 entries, the head says 0"),
        ],
    );
}

#[test]
fn entries_of_the_ledger_that_are_wrong_are_found() {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;
    let roots = three_runs();
    let segments = roots.table_files("_siltstone/ledger/", ".parquet");
    let text = |values: [&str; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let number = |values: [i64; 2]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let columns = [
        ("key", text(["b.json", "a.json"])),
        ("etag", text(["x", "y"])),
        ("size_bytes", number([1, 1])),
        ("records_in", number([2, 3])),
        ("rows_out", number([1, 1])),
        ("quarantined", number([1, 1])),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(roots.table().join(&segments[2])).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let head = &roots.table_files("_siltstone/ledger/", ".json")[2];
    assert_found(
        &roots,
        &[
            ("books", &segments[2], "-", "a.json: 3 records found, 1 rows, 1 quarantined"),
            ("segment", &segments[2], "-", "the entries are not sorted by key"),
            ("segment", &segments[2], "-", "the segment has 2 entries, the head says 1"),
            ("books", head, "-", "totals say 3 raw objects, the entries of the ledger sum up to 4"),
            ("books", head, "-", "totals say 6 records found, the entries of the ledger sum up to 9"),
            ("books", head, "-", "totals say 3 rows, the entries of the ledger sum up to 4"),
            ("books", head, "-", "totals say 3 quarantined, the entries of the ledger sum up to 4"),
            ("books", head, "-", "the ledger accounts for 4 rows, the active files hold 3"),
        ],
    );
}

#[test]
fn totals_that_were_changed_are_found() {
    let roots = three_runs();
    let heads = roots.table_files("_siltstone/ledger/", ".json");
    let with = |head: &str, totals: Value| {
        roots.edit(head, |text| {
            let mut head: Value = serde_json::from_str(text).unwrap();
            head["totals"] = totals.clone();
            head.to_string()
        });
    };
    with(&heads[2], json!({"objects": 3, "records_in": 6, "rows_out": 4, "quarantined": 2}));
    assert_found(
        &roots,
        &[
            ("books", &heads[2], "-", "totals say 4 rows, the entries of the ledger sum up to 3"),
            ("books", &heads[2], "-", "totals say 2 quarantined, the entries of the ledger sum up to 3"),
            ("books", &heads[2], "-", "totals say 2 quarantined, the quarantine files hold 3 rejects"),
        ],
    );
    with(&heads[2], json!({"objects": 3, "records_in": 6, "rows_out": 3, "quarantined": 3}));
    assert_sound(&roots);
    // A head of the past.
    with(&heads[0], json!({"objects": 1, "records_in": 9, "rows_out": 8, "quarantined": 2}));
    assert_found(
        &roots,
        &[
            ("books", &heads[0], "-", "totals: 9 records found, 8 rows, 2 quarantined"),
            ("head", &heads[0], "-", "its totals are more than those of _siltstone/ledger/"),
        ],
    );
}

#[test]
fn heads_that_are_gone_or_damaged_are_found() {
    let roots = three_runs();
    let heads = roots.table_files("_siltstone/ledger/", ".json");
    let path = |n: usize| roots.table().join(&heads[n]);
    let bytes = std::fs::read(path(1)).unwrap();
    std::fs::write(path(1), "{\"id\":").unwrap();
    assert_found(&roots, &[("head", &heads[1], "-", "is damaged")]);
    // Another head in its place.
    std::fs::copy(path(2), path(1)).unwrap();
    assert_found(&roots, &[("head", &heads[1], "-", "the head says that its id is ")]);
    // Ancestors may be gone.
    std::fs::remove_file(path(1)).unwrap();
    assert_eq!(assert_sound(&roots)["checked"]["heads"], 1);
    std::fs::write(path(1), &bytes).unwrap();
    // One that names what its child does not.
    roots.edit(&heads[0], |text| text.replace("_siltstone/quarantine/", "_siltstone/quarantine/x"));
    assert_found(&roots, &[("head", &heads[0], "-", "it names quarantine files that ")]);
    // The current one: the files are checked nevertheless.
    std::fs::remove_file(path(2)).unwrap();
    std::fs::remove_file(roots.table().join(&roots.data_files()[0])).unwrap();
    let lost = roots.data_files().len();
    let found = findings(&roots);
    assert!(lost == 2 && found.len() == 2, "{found:?}");
    assert_eq!((&found[0]["kind"], &found[0]["path"]), (&json!("head"), &json!(heads[2])));
    assert_eq!(found[1]["kind"], "missing");
}

#[test]
fn quarantine_files_that_are_gone_or_damaged_are_found() {
    let roots = three_runs();
    let heads = roots.table_files("_siltstone/ledger/", ".json");
    let files = roots.table_files("_siltstone/quarantine/", ".parquet");
    let path = roots.table().join(&files[1]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_found(&roots, &[("missing", &files[1], "-", "the quarantine file is gone")]);
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_found(&roots, &[("quarantine", &files[1], "-", "the quarantine file cannot be read")]);
    std::fs::write(&path, parquet_file("optional int64 continued;")).unwrap();
    assert_found(&roots, &[("quarantine", &files[1], "-", "the quarantine file has no column `continued`")]);
    // One with other rejects: `true` is not counted.
    std::fs::write(&path, parquet_file("required boolean continued;")).unwrap();
    assert_found(&roots, &[("books", &heads[2], "-", "totals say 3 quarantined, the quarantine files hold 2 rejects")]);
}

#[test]
fn a_registry_that_is_gone_or_damaged_is_found() {
    let roots = three_runs();
    let registries = roots.table_files("_siltstone/schema/", ".json");
    let path = roots.table().join(&registries[2]);
    std::fs::write(&path, "{}").unwrap();
    assert_found(&roots, &[("registry", &registries[2], "-", "is damaged")]);
    std::fs::remove_file(&path).unwrap();
    assert_found(&roots, &[("registry", &registries[2], "-", "is gone")]);
}

/// A table of three runs whose files were merged into one, and the path of its record of origins.
fn merged() -> (Roots, String) {
    let roots = Roots::new();
    for run in 0..3 {
        roots.put_lines(&format!("s/{run}.json"), &[json!({"id": 2 * run}), json!({"id": 2 * run + 1})]);
        roots.compact_one(&["--partition-by", "none"]);
    }
    roots.run(&["optimize", "s", "--lake", roots.lake.to_str().unwrap()]).ok();
    let [record] = &roots.table_files("_siltstone/origins/", "")[..] else { panic!("not one record") };
    let record = record.clone();
    assert_sound(&roots);
    (roots, record)
}

/// Writes a record of origins: slice, number, rows of the file, first row, rows.
fn write_origins(roots: &Roots, path: &str, runs: &[(&str, i64, i64, i64, i64)]) {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;
    let number = |get: fn(&(&str, i64, i64, i64, i64)) -> i64| {
        Arc::new(Int64Array::from_iter_values(runs.iter().map(get))) as ArrayRef
    };
    let slices = Arc::new(StringArray::from_iter_values(runs.iter().map(|run| run.0))) as ArrayRef;
    let columns = [
        ("slice", slices),
        ("number", number(|run| run.1)),
        ("file_rows", number(|run| run.2)),
        ("first", number(|run| run.3)),
        ("rows", number(|run| run.4)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(roots.table().join(path)).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn records_of_origins_that_are_gone_or_damaged_or_tell_what_cannot_be_are_found() {
    let (roots, record) = merged();
    let found = |reason: &str| assert_found(&roots, &[("origins", &*record, "-", reason)]);
    let path = roots.table().join(&record);
    let whole = std::fs::read(&path).unwrap();
    let slice = {
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(whole.clone()));
        let batch = reader.unwrap().build().unwrap().next().unwrap().unwrap();
        arrow::array::AsArray::as_string::<i32>(batch.column(0)).value(0).to_owned()
    };

    std::fs::remove_file(&path).unwrap();
    let effects = effects(&found("is gone")[0]);
    assert!(effects[0].contains("canonical text"), "{effects:?}");
    for damage in [&b"PAR1"[..], &whole[..whole.len() / 2], &[]] {
        std::fs::write(&path, damage).unwrap();
        found("cannot be used");
    }
    // More rows than the file, rows of a file that had fewer, a slice that nothing was taken in by.
    write_origins(&roots, &record, &[(&slice, 0, 7, 0, 7)]);
    found("tells of 7 rows");
    write_origins(&roots, &record, &[(&slice, 0, 2, 1, 6)]);
    found("damaged");
    write_origins(&roots, &record, &[(&slice, 0, 4, 0, 4), (&slice, 0, 4, 2, 2)]);
    found("6 rows are said to be of");
    write_origins(&roots, &record, &[(&slice, 0, 2, 0, 2), (&slice, 0, 4, 0, 4)]);
    found("had 2 or 4 rows");
    write_origins(&roots, &record, &[("0123456789abcdef0123456789abcdef", 0, 6, 0, 6)]);
    found("of which the ledger knows nothing");
    std::fs::write(&path, whole).unwrap();
    assert_sound(&roots);
}
