//! What is no record is kept with its place and reason and counted, and does not hold up the rest.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use siltstone::compact::Status;

use super::support::{Roots, files_below, gzip, zstd};

/// A row of a quarantine file.
#[derive(Debug, PartialEq)]
struct Kept {
    key: String,
    offset: i64,
    reason: String,
    raw: Vec<u8>,
    continued: bool,
}

/// All that a table keeps in quarantine, by key and offset.
fn kept(roots: &Roots, source: &str) -> Vec<Kept> {
    let table = roots.lake.join(source);
    let mut rows = Vec::new();
    for path in files_below(&table).iter().filter(|path| path.starts_with("_siltstone/quarantine/")) {
        let file = std::fs::File::open(table.join(path)).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            let batch: RecordBatch = batch.unwrap();
            let text = |name: &str, row: usize| batch[name].as_string::<i32>().value(row).to_owned();
            rows.extend((0..batch.num_rows()).map(|row| {
                assert!(!text("etag", row).is_empty() && text("run_id", row).len() == 32);
                Kept {
                    key: text("key", row),
                    offset: batch["byte_offset"].as_primitive::<Int64Type>().value(row),
                    reason: text("reason", row),
                    // The newline that ends a line may belong to it.
                    raw: batch["raw"].as_binary::<i32>().value(row).trim_ascii_end().to_vec(),
                    continued: batch["continued"].as_boolean().value(row),
                }
            }));
        }
    }
    rows.sort_by(|a, b| (&a.key, a.offset).cmp(&(&b.key, b.offset)));
    rows
}

/// Compacts one object and checks what became of it: the ids that are rows, and what is kept.
#[track_caller]
fn check(bytes: impl AsRef<[u8]>, ids: &[i64], rejects: &[(i64, &str, &[u8])]) -> Roots {
    let roots = Roots::new();
    roots.put("s/a.json", bytes);
    let report = roots.compact_one(&[]);
    assert_eq!(report.status, Status::PartialSuccess);
    assert_eq!((report.success_count, report.error_count), (ids.len() as u64, rejects.len() as u64));
    assert_eq!(roots.exported_ids("s"), ids);
    let rows: Vec<_> = kept(&roots, "s").into_iter().filter(|row| !row.continued).collect();
    let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned();
    let found: Vec<_> = rows.iter().map(|row| (row.offset, &*row.reason, shown(&row.raw))).collect();
    let expected: Vec<_> = rejects.iter().map(|(offset, reason, raw)| (*offset, *reason, shown(raw))).collect();
    assert_eq!(found, expected);
    assert!(rows.iter().map(|row| &*row.raw).eq(rejects.iter().map(|(_, _, raw)| *raw)));
    assert!(rows.iter().all(|row| row.key == "a.json"));
    let status = roots.status("s");
    assert_eq!(
        (status["quarantined"].as_u64(), status["rows"].as_u64()),
        (Some(rejects.len() as u64), Some(ids.len() as u64))
    );
    // What was consumed is not read again.
    let second = roots.compact_one(&[]);
    assert_eq!((second.status, second.objects, second.error_count), (Status::Success, 0, 0));
    roots
}

#[test]
fn malformed_lines_are_kept_and_the_lines_around_them_are_rows() {
    check(
        "{\"id\":1}\n{\"id\":2,\n{\"id\":3}\nnot json\n{\"id\":4}\n",
        &[1, 3, 4],
        &[(9, "malformed", b"{\"id\":2,"), (27, "malformed", b"not json")],
    );
}

#[test]
fn a_truncated_gzip_gives_the_records_before_the_cut_and_keeps_what_is_stored() {
    let mut numbers = super::support::Numbers(7);
    let text: String =
        (0..2000).map(|id| json!({"id": id, "noise": numbers.below(u64::MAX)}).to_string() + "\n").collect();
    let stored = gzip(&text);
    let cut = &stored[..stored.len() / 2];
    let roots = Roots::new();
    roots.put("s/a.json.gz", cut);
    roots.put("s/b.json", r#"{"id":5000}"#);
    let report = roots.compact_one(&[]);
    assert_eq!((report.status, report.objects, report.error_count), (Status::PartialSuccess, 2, 1));
    let ids = roots.exported_ids("s");
    let read = report.success_count as i64 - 1;
    assert!(read > 500, "{report:?}");
    assert_eq!(ids, (0..read).chain([5000]).collect::<Vec<_>>());
    let rows = kept(&roots, "s");
    assert_eq!(rows.len(), 1);
    assert_eq!((&*rows[0].reason, &*rows[0].raw), ("corrupt_compression", cut));
    // The offset is that of the first byte that is in no row.
    let rows_end: usize = text.lines().take(read as usize).map(|line| line.len() + 1).sum();
    assert_eq!(rows[0].offset, rows_end as i64);
}

#[test]
fn what_only_begins_like_a_compressed_object_is_kept_as_it_is() {
    for bytes in [b"\x1f\x8bgarbage".as_slice(), b"\x28\xb5\x2f\xfdgarbage", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"] {
        check(bytes, &[], &[(0, "corrupt_compression", bytes)]);
    }
    let cut = &zstd("{\"id\":1}\n".repeat(100))[..20];
    check(cut, &[], &[(0, "corrupt_compression", cut)]);
}

#[test]
fn a_line_that_is_not_utf8_is_kept() {
    check(
        b"{\"id\":1}\n{\"id\":2,\"x\":\"\xff\xfe\"}\n{\"id\":3,\"x\":\"\xc3\xbc\"}\n",
        &[1, 3],
        &[(9, "invalid_utf8", b"{\"id\":2,\"x\":\"\xff\xfe\"}")],
    );
}

#[test]
fn a_lone_surrogate_is_kept_and_a_pair_is_a_character() {
    let roots = check(
        r#"{"id":1,"x":"\ud83d\ude00"}
{"id":2,"x":"\ud800"}
{"id":3,"\udc00":1}
{"id":4}"#,
        &[1, 4],
        &[(28, "lone_surrogate", br#"{"id":2,"x":"\ud800"}"#), (50, "lone_surrogate", br#"{"id":3,"\udc00":1}"#)],
    );
    assert_eq!(roots.export("s")[0]["x"], "😀");
}

#[test]
fn a_hundred_thousand_brackets_are_kept() {
    let brackets = "[".repeat(100_000);
    check(&brackets, &[], &[(0, "too_deep", brackets.as_bytes())]);
    let objects = "{\"a\":".repeat(100_000);
    check(&objects, &[], &[(0, "too_deep", objects.as_bytes())]);
    let line = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    check(format!("{{\"id\":1}}\n{line}\n{{\"id\":2}}\n"), &[1, 2], &[(9, "too_deep", line.as_bytes())]);
}

#[test]
fn values_that_are_no_objects_are_kept() {
    check(
        "42\n\"x\"\nnull\ntrue\n{\"id\":1}\n",
        &[1],
        &[
            (0, "not_an_object", b"42"),
            (3, "not_an_object", b"\"x\""),
            (7, "not_an_object", b"null"),
            (12, "not_an_object", b"true"),
        ],
    );
    check(
        r#"[{"id":1},7,"x",null,[{"id":9}],{"id":2}]"#,
        &[1, 2],
        &[
            (10, "not_an_object", b"7"),
            (12, "not_an_object", b"\"x\""),
            (16, "not_an_object", b"null"),
            (21, "not_an_object", br#"[{"id":9}]"#),
        ],
    );
}

#[test]
fn an_object_that_ends_within_a_record_keeps_its_last_part() {
    check(r#"[{"id":1},{"id":2,"x"#, &[1], &[(10, "truncated", br#"{"id":2,"x"#)]);
    check("{\"id\":1}\n{\"id\":2,\"x", &[1], &[(9, "truncated", b"{\"id\":2,\"x")]);
}

#[test]
fn without_the_place_of_its_records_an_envelope_is_kept() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"items":[{"id":1}],"n":1}"#);
    assert_eq!(roots.compact_one(&[]).success_count, 1);
    roots.put("s/b.json", r#"{"error":"quota exceeded"}"#);
    roots.put("s/c.json", r#"{"items":[]}"#);
    roots.put("s/d.json", r#"{"items":[{"id":2}]}"#);
    roots.put("s/e.json", r#"{"items":{"id":3}}"#);
    let report = roots.compact_one(&[]);
    assert_eq!((report.objects, report.success_count, report.error_count), (4, 1, 2));
    let rows: Vec<_> = kept(&roots, "s").into_iter().map(|row| (row.key, row.offset, row.reason)).collect();
    let missing = |key: &str| (key.to_owned(), 0, "envelope_missing".to_owned());
    assert_eq!(rows, [missing("b.json"), missing("e.json")]);
    assert_eq!(roots.exported_ids("s"), [1, 2]);
}

#[test]
fn limits_of_size_and_depth_are_those_of_the_configuration() {
    let roots = Roots::new();
    let config = "[defaults]\nmax_record_bytes = 1000000\nmax_depth = 4\nmax_object_bytes = 9000000\n";
    std::fs::write(roots.dir.path().join("siltstone.toml"), config).unwrap();
    let deep = format!("{{\"id\":2,\"a\":{}1{}}}", "[".repeat(5), "]".repeat(5));
    roots.put("s/a.json", format!("{{\"id\":1}}\n{deep}\n{{\"id\":3}}\n"));
    roots.put("s/b.json", gzip("{\"id\":4}\n".repeat(2_000_000)));
    let large = format!("{{\"id\":6,\"x\":\"{}\"}}\n", "x".repeat(8_000_000));
    roots.put("s/c.json", format!("{{\"id\":5}}\n{large}{{\"id\":7}}\n"));
    roots.put("s/d.json", r#"{"id":8}"#);
    let report = roots.compact_one(&[]);
    assert_eq!((report.objects, report.error_count), (4, 3));
    let rows: Vec<_> = kept(&roots, "s").into_iter().filter(|row| !row.continued).collect();
    let reasons: Vec<_> = rows.iter().map(|row| (&*row.key, &*row.reason)).collect();
    assert_eq!(reasons, [("a.json", "too_deep"), ("b.json", "object_too_large"), ("c.json", "record_too_large")]);
    // What was read before a limit was passed stays.
    let counts = roots.sql("select id, count(*) as n from lake.s group by id order by id");
    let ids: Vec<_> = counts.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 3, 4, 5, 8]);
    assert!((100_000..1_100_000).contains(&counts[2]["n"].as_u64().unwrap()), "{counts:?}");
}

#[test]
fn an_object_that_inflates_beyond_all_bounds_is_cut_off() {
    let roots = Roots::new();
    // Passes the ratio of 200:1 at 16 MiB.
    let bomb = zstd(" ".repeat(64 << 20) + r#"{"id":1}"#);
    assert!(bomb.len() < 64 << 10);
    roots.put("s/bomb.json", bomb);
    roots.put("s/good.json", r#"{"id":2}"#);
    let report = roots.compact_one(&[]);
    assert_eq!((report.success_count, report.error_count), (1, 1));
    assert!(report.bytes_in < 20 << 20);
    assert_eq!(kept(&roots, "s")[0].reason, "object_too_large");
}

#[test]
fn everything_in_quarantine_is_still_partial_success() {
    let roots = check("no\njson\n", &[], &[(0, "malformed", b"no"), (3, "malformed", b"json")]);
    assert_eq!(roots.sql("select count(*) as n from lake.s"), [json!({"n": 0})]);
}

#[test]
fn exit_code_3_tells_of_quarantine_when_asked_for() {
    let roots = Roots::new();
    roots.put("s/a.json", "{\"id\":1}\nbad\n");
    let first = roots.run_here(&["compact", "--fail-on-quarantine", "--output", "json"]);
    assert_eq!((first.code, &*first.stderr), (3, ""));
    assert!(first.stdout.starts_with("{\"status\":\"PARTIAL_SUCCESS\""));
    assert_eq!(roots.exported_ids("s"), [1]);
    // Nothing new is nothing quarantined.
    roots.run_here(&["compact", "--fail-on-quarantine"]).ok();
}

#[test]
fn sql_over_raw_leaves_out_what_compaction_would_quarantine() {
    let roots = Roots::new();
    roots.put("s/a.json", "{\"id\":1}\nbad\n{\"id\":2}\n7\n");
    roots.put("s/b.json", &gzip("{\"id\":3}\n".repeat(1000))[..40]);
    let raw = roots.sql("select count(*) as n, sum(id) as sum from raw.s");
    roots.compact_one(&[]);
    assert_eq!(roots.sql("select count(*) as n, sum(id) as sum from lake.s"), raw);
    assert_eq!(roots.sql("select count(*) as n, sum(id) as sum from raw.s"), raw);
}

#[test]
fn messages_do_not_show_what_is_in_records() {
    let roots = Roots::new();
    roots.put("s/a.json", "{\"id\":1,\"secret\":\"hunter2\" oops}\n{\"id\":2}\n");
    for args in [&["compact"][..], &["compact", "--output", "json"], &["status"]] {
        let ran = roots.run_here(args);
        assert!(!ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"), "{ran:?}");
    }
}

#[test]
fn rejects_are_kept_once_although_their_slice_is_done_again() {
    let roots = Roots::new();
    for id in 0..60 {
        // Not among the objects that a first look sees.
        let value = if id == 41 { json!("x") } else { json!(id) };
        roots.put(&format!("s/{id:02}.json"), format!("{}\nbad {id}\n", json!({"id": id, "v": value})));
    }
    let report = roots.compact_one(&["--threads", "2"]);
    assert_eq!((report.success_count, report.error_count), (60, 60));
    let rows = kept(&roots, "s");
    let raws: Vec<_> = rows.iter().map(|row| String::from_utf8_lossy(&row.raw).into_owned()).collect();
    assert_eq!(raws, (0..60).map(|id| format!("bad {id}")).collect::<Vec<_>>());
}
