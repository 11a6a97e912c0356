//! What is in quarantine can be looked at: `siltstone quarantine list`, and SQL over `quarantine.<source>`.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use futures::TryStreamExt as _;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use siltstone::clock::SystemClock;
use siltstone::compact::{Request, Silent, Status, compact};
use siltstone::config::Config;
use siltstone::lake::{Head, Hidden, Quarantine, Table, quarantine_schema};
use siltstone::query::SqlSession;
use siltstone::store::Location;

use super::support::{Ran, Roots, files_below, gzip, write};

impl Roots {
    fn run_list(&self, args: &[&str]) -> Ran {
        self.run(&[&["quarantine", "list", "--lake", self.lake.to_str().unwrap()], args].concat())
    }

    /// The document of `quarantine list s --format json`.
    fn listed(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run_list(&[&["s", "--format", "json"], args].concat()).ok()).unwrap()
    }

    /// The quarantine files, older runs first.
    fn quarantine_files(&self) -> Vec<PathBuf> {
        let table = self.lake.join("s");
        let files = files_below(&table).into_iter().filter(|path| path.starts_with("_siltstone/quarantine/"));
        files.map(|path| table.join(path)).collect()
    }
}

/// Two runs whose rejects have five reasons: of records, of a whole object, of bytes that do not inflate.
fn two_runs() -> Roots {
    let roots = Roots::new();
    roots.put("s/a.json", "{\"id\":1}\n{\"id\":2,\n7\nnot json\n{\"id\":3}\n");
    roots.put("s/b.json.gz", &gzip("{\"id\":4}\n".repeat(1000))[..40]);
    assert_eq!(roots.compact_one(&["--threads", "1"]).error_count, 4);
    roots.put("s/c.json", "{\"id\":5}\nnull\n");
    roots.put("s/2025/d.json", "[{\"id\":6},{\"id\":7,\"x");
    assert_eq!(roots.compact_one(&["--threads", "1"]).error_count, 2);
    roots
}

/// Rejects as `key reason offset`.
fn places(rejects: &Value) -> Vec<String> {
    let text = |reject: &Value, name: &str| reject[name].as_str().unwrap().to_owned();
    let place =
        |reject: &Value| format!("{} {} {}", text(reject, "key"), text(reject, "reason"), reject["byte_offset"]);
    rejects.as_array().unwrap().iter().map(place).collect()
}

/// Writes the rows of a Parquet file anew, with other columns.
fn rewrite(path: &PathBuf, change: impl Fn(&RecordBatch) -> RecordBatch) {
    let file = std::fs::File::open(path).unwrap();
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = batches.map(|batch| change(&batch.unwrap())).collect();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batches[0].schema(), None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
    std::fs::write(path, out).unwrap();
}

/// The batch as it was written before there was a column `column_path`.
fn without_column_path(batch: &RecordBatch) -> RecordBatch {
    let kept: Vec<usize> =
        (0..batch.num_columns()).filter(|index| batch.schema().field(*index).name() != "column_path").collect();
    assert_eq!(kept.len(), batch.num_columns() - 1);
    batch.project(&kept).unwrap()
}

/// The batch with this column at fault in every row.
fn with_column_path(batch: &RecordBatch, path: &str) -> RecordBatch {
    let index = batch.schema().index_of("column_path").unwrap();
    let mut columns = batch.columns().to_vec();
    columns[index] = Arc::new(StringArray::from(vec![path; batch.num_rows()])) as ArrayRef;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

#[test]
fn a_list_shows_reasons_and_then_the_rejects_of_newer_runs_first() {
    let roots = two_runs();
    let filters = vec![
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z +", "TIME  "),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
        ("time +key", "time  key"),
        ("first +last", "first  last"),
    ];
    insta::with_settings!({filters => filters}, {
        insta::assert_snapshot!(roots.run_list(&["s"]).ok(), @r"
        s: 6 rejects of 4 raw objects
          reason               rejects  objects  first  last
          malformed                  2        1  TIME  TIME
          not_an_object              2        2  TIME  TIME
          corrupt_compression        1        1  TIME  TIME
          truncated                  1        1  TIME  TIME

          time  key          offset  fault  reason               column  bytes
          TIME  2025/d.json      10     20  truncated            -          10
          TIME  c.json            9      9  not_an_object        -           4
          TIME  a.json            9     18  malformed            -           9
          TIME  a.json           18     18  not_an_object        -           1
          TIME  a.json           20     21  malformed            -           9
          TIME  b.json.gz         0      0  corrupt_compression  -          40
        ");
        let args = ["s", "--limit", "1", "--reason", "malformed", "--reason", "truncated", "--show-raw"];
        insta::assert_snapshot!(roots.run_list(&args).ok(), @r#"
        s: 3 rejects of 2 raw objects
          reason     rejects  objects  first  last
          malformed        2        1  TIME  TIME
          truncated        1        1  TIME  TIME

          time  key          offset  fault  reason     column  bytes
          TIME  2025/d.json      10     20  truncated  -          10
            {"id":7,"x
          and 2 more: --limit 3 shows all
        "#);
    });
}

#[test]
fn the_text_says_how_many_rejects_it_does_not_show() {
    let roots = Roots::new();
    roots.put("s/a.json", "bad\n".repeat(250));
    roots.compact_one(&[]);
    let rows = |args: &[&str]| {
        let text = roots.run_list(&[&["s"], args].concat()).ok();
        (text.matches(" a.json ").count(), text.lines().last().unwrap().to_owned())
    };
    assert_eq!(rows(&[]), (100, "  and 150 more: --limit 250 shows all".to_owned()));
    assert_eq!(rows(&["--limit", "249"]), (249, "  and 1 more: --limit 250 shows all".to_owned()));
    let (count, last) = rows(&["--limit", "250"]);
    assert!(count == 250 && last.contains(" a.json "), "{last}");
    let (count, last) = rows(&["--limit", "0"]);
    assert!(count == 0 && last.contains("and 250 more"), "{last}");
    assert_eq!(roots.listed(&[])["more"], 150);
    assert_eq!(roots.listed(&["--limit", "0"])["rejects"], json!([]));
    // NDJSON has no place to say it: it holds all.
    assert_eq!(roots.run_list(&["s", "--format", "ndjson"]).ok().lines().count(), 250);
    assert_eq!(roots.run_list(&["s", "--format", "ndjson", "--limit", "7"]).ok().lines().count(), 7);
}

#[test]
fn json_holds_each_fact_of_a_reject() {
    let roots = two_runs();
    let document = roots.listed(&[]);
    assert_eq!((&document["source_id"], &document["version"], &document["more"]), (&json!("s"), &json!(1), &json!(0)));
    let summary: Vec<_> = document["summary"].as_array().unwrap().iter().collect();
    let counts: Vec<_> = summary.iter().map(|row| json!([row["reason"], row["rejects"], row["objects"]])).collect();
    let expected = [
        json!(["malformed", 2, 1]),
        json!(["not_an_object", 2, 2]),
        json!(["corrupt_compression", 1, 1]),
        json!(["truncated", 1, 1]),
    ];
    assert_eq!(counts, expected);
    assert!(summary[1]["first"].as_str().unwrap() < summary[1]["last"].as_str().unwrap());
    let rejects = &document["rejects"];
    assert_eq!(
        places(rejects)[..5],
        [
            "2025/d.json truncated 10",
            "c.json not_an_object 9",
            "a.json malformed 9",
            "a.json not_an_object 18",
            "a.json malformed 20"
        ]
    );
    let mut first = rejects[0].clone();
    for (name, length) in [("run_id", 32), ("rejected_at", 20), ("etag", 5)] {
        assert!(first[name].take().as_str().unwrap().len() >= length, "{name}");
    }
    let expected = json!({"run_id": null, "rejected_at": null, "key": "2025/d.json", "etag": null, "size_bytes": 20,
        "reason": "truncated", "column_path": null, "byte_offset": 10, "fault_offset": 20, "bytes": 10});
    assert_eq!(first, expected);
    let lines = roots.run_list(&["s", "--format", "ndjson"]).ok();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(&Value::from(lines), rejects);
}

#[test]
fn a_reason_can_be_asked_for() {
    let roots = two_runs();
    let document = roots.listed(&["--reason", "not_an_object", "--limit", "1"]);
    assert_eq!(places(&document["rejects"]), ["c.json not_an_object 9"]);
    assert_eq!((&document["summary"][0]["rejects"], &document["more"]), (&json!(2), &json!(1)));
    assert_eq!(document["summary"].as_array().unwrap().len(), 1);
    let both = roots.listed(&["--reason", "truncated", "--reason", "malformed"]);
    assert_eq!(places(&both["rejects"]), ["2025/d.json truncated 10", "a.json malformed 9", "a.json malformed 20"]);
    let none = roots.run_list(&["s", "--reason", "too_deep", "--reason", "type_mismatch"]).ok();
    assert_eq!(none, "s: nothing is in quarantine with the reason too_deep or type_mismatch\n");
    let wrong = roots.run_list(&["s", "--reason", "mad"]);
    assert!(
        wrong.code == 2 && wrong.stderr.contains("'mad'") && wrong.stderr.contains("`lone_surrogate`"),
        "{wrong:?}"
    );
}

#[test]
fn the_pieces_of_a_reject_are_one() {
    let roots = Roots::new();
    // Behind a fault in an array nothing is trusted: several windows of 2 MiB are one reject.
    let lost = format!("nope,{}", "{\"id\":2},".repeat(1_000_000));
    roots.put("s/a.json", format!("[{{\"id\":1}},{lost}"));
    let mut numbers = super::support::Numbers(1);
    let noise: Vec<u8> = (0..20 << 20).map(|_| numbers.below(256) as u8).collect();
    let broken = [b"\x1f\x8b", &noise[..]].concat();
    roots.put("s/b.json", &broken);
    roots.put("s/c.json", "bad\n");
    assert_eq!(roots.compact_one(&[]).error_count, 3);
    let document = roots.listed(&["--show-raw"]);
    assert_eq!(
        places(&document["rejects"]),
        ["a.json malformed 10", "b.json corrupt_compression 0", "c.json malformed 0"]
    );
    let bytes: Vec<_> = (0..3).map(|index| document["rejects"][index]["bytes"].as_u64().unwrap()).collect();
    assert_eq!(bytes, [lost.len() as u64, broken.len() as u64, 4]);
    assert!(document["rejects"][0]["raw"].as_str().unwrap().starts_with("nope,{"));
    let malformed = roots.listed(&["--reason", "corrupt_compression"]);
    assert_eq!(malformed["rejects"][0]["bytes"], broken.len() as u64);
    let counts = roots.sql("select count(*) as n, count(*) filter (where not continued) as rejects from quarantine.s");
    assert!(counts[0]["n"].as_u64().unwrap() > 6 && counts[0]["rejects"] == 3, "{counts:?}");
}

#[test]
fn what_was_rejected_is_shown_on_request_only_and_cannot_act_on_a_terminal() {
    let roots = Roots::new();
    let long = format!("x{}", "ü".repeat(200));
    roots.put("s/a.json", format!("{{\"hunter2\":\u{1b}[2J\u{7}\u{9b}\u{202e}\\n}}\n{long}\n"));
    roots.put("s/b.json", b"{\"a\":\"\xff\"}\n");
    roots.put("s/c\u{1b}[31m.json", "c");
    roots.compact_one(&[]);
    for args in [&["s"][..], &["s", "--format", "json"], &["s", "--format", "ndjson"]] {
        let text = roots.run_list(args).ok();
        assert!(!text.contains("hunter2") && !text.contains('ü') && text.contains("a.json"), "{text}");
    }
    let text = roots.run_list(&["s", "--show-raw"]).ok();
    assert!(text.contains("    {\"hunter2\":\\u{1b}[2J\\u{7}\\u{9b}\\u{202e}\\n}\n"), "{text}");
    // 200 bytes are one and 99 letters of two bytes, and one byte of the next.
    assert!(text.contains(&format!("    x{} ...\n", "ü".repeat(99))), "{text}");
    assert!(text.contains("    {\"a\":\"\u{fffd}\"}\n"), "{text}");
    assert!(text.contains("  c\\u{1b}[31m.json  "), "{text}");
    assert!(!text.contains('\u{1b}'));
    let document = roots.listed(&["--show-raw"]);
    assert_eq!(document["rejects"][0]["raw"], "{\"hunter2\":\u{1b}[2J\u{7}\u{9b}\u{202e}\\n}");
    assert_eq!(document["rejects"][1]["raw"], format!("x{}", "ü".repeat(99)));
}

#[test]
fn an_object_without_the_records_path_is_listed_as_a_whole() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"items":[{"id":1}],"n":1}"#);
    roots.compact_one(&[]);
    roots.put("s/b.json", r#"{"error":"quota exceeded"}"#);
    roots.compact_one(&[]);
    let document = roots.listed(&["--show-raw"]);
    assert_eq!(places(&document["rejects"]), ["b.json envelope_missing 0"]);
    assert_eq!(document["rejects"][0]["raw"], r#"{"error":"quota exceeded"}"#);
}

#[test]
fn a_source_that_rejected_nothing_has_an_empty_list_and_an_empty_table() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1}"#);
    roots.compact_one(&[]);
    assert_eq!(roots.run_list(&["s"]).ok(), "s: nothing is in quarantine\n");
    let document = roots.listed(&[]);
    assert_eq!(document, json!({"source_id": "s", "version": 0, "summary": [], "rejects": [], "more": 0}));
    assert_eq!(roots.run_list(&["s", "--format", "ndjson"]).ok(), "");
    assert_eq!(roots.sql("select count(*) as n from quarantine.s"), [json!({"n": 0})]);
    let header = roots.run_here(&["sql", "--format", "csv", "select * from quarantine.s"]).ok();
    let names: Vec<String> = quarantine_schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(header, format!("{}\n", names.join(",")));
    assert_eq!(roots.sql("select reason from quarantine.s where column_path is null limit 3"), [] as [Value; 0]);
}

#[test]
fn a_source_that_is_not_there_is_named() {
    let roots = two_runs();
    assert!(roots.run_list(&["nope"]).failed(1).contains("there is no table nope"));
    assert!(roots.run_list(&["../s"]).failed(2).contains("is no source id"));
    assert!(roots.run(&["quarantine", "list", "s"]).failed(2).contains("--lake"));
    assert!(roots.run(&["quarantine", "list", "s", "--lake", "nope"]).failed(1).contains("there is no table s"));
    let message = roots.run_here(&["sql", "select * from quarantine.nope"]).failed(2);
    assert!(message.contains("quarantine.nope' not found"), "{message}");
    // Without a lake there is no quarantine.
    let raw = roots.raw.to_str().unwrap();
    roots.run(&["sql", "select * from quarantine.s", "--raw", raw]).failed(2);
    let ran = roots.run(&["quarantine"]);
    assert!(ran.code == 2 && ran.stderr.contains("list"), "{ran:?}");
}

#[test]
fn a_table_of_another_writer_has_no_quarantine_and_does_not_disturb_the_catalog() {
    let roots = two_runs();
    let log = concat!(
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
        "\n",
        r#"{"metaData":{"id":"a","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{},"createdTime":0}}"#,
    );
    write(&roots.lake.join("other/_delta_log/00000000000000000000.json"), log);
    let lake = roots.lake.to_str().unwrap();
    let run = |statement| roots.run(&["sql", statement, "--lake", lake, "--format", "ndjson"]);
    let tables =
        run("select table_name from information_schema.tables where table_schema = 'quarantine' order by 1").ok();
    assert_eq!(tables, "{\"table_name\":\"other\"}\n{\"table_name\":\"s\"}\n");
    let columns =
        "select table_name, count(*) as n from information_schema.columns where table_schema = 'quarantine' group by 1";
    assert_eq!(run(columns).ok(), "{\"table_name\":\"s\",\"n\":11}\n");
    assert!(run("select * from quarantine.other").failed(2).contains("quarantine.other' not found"));
    assert!(roots.run_list(&["other"]).failed(1).contains("was not written by siltstone"));
}

#[test]
fn sql_counts_and_filters_rejects() {
    let roots = two_runs();
    let statement =
        "select reason, count(*) as n, count(distinct key) as objects from quarantine.s group by 1 order by 2 desc, 1";
    let expected = [
        json!({"reason": "malformed", "n": 2, "objects": 1}),
        json!({"reason": "not_an_object", "n": 2, "objects": 2}),
        json!({"reason": "corrupt_compression", "n": 1, "objects": 1}),
        json!({"reason": "truncated", "n": 1, "objects": 1}),
    ];
    assert_eq!(roots.sql(statement), expected);
    assert_eq!(
        roots.sql("select count(*) as n from quarantine.s where rejected_at > now() - interval '1 hour'"),
        [json!({"n": 6})]
    );
    assert_eq!(roots.sql("select key from quarantine.s limit 2").len(), 2);
    assert_eq!(
        roots.sql("select key, byte_offset as o from quarantine.s where fault_offset > byte_offset order by 1, 2"),
        [json!({"key": "2025/d.json", "o": 10}), json!({"key": "a.json", "o": 9}), json!({"key": "a.json", "o": 20})]
    );
    // What was good of the objects that hold rejects.
    let joined = "select count(distinct q.run_id) as runs, max(l.id) as id from quarantine.s q, lake.s l";
    assert_eq!(roots.sql(joined), [json!({"runs": 2, "id": 6})]);
    for statement in
        ["delete from quarantine.s", "drop table quarantine.s", "insert into quarantine.s select * from quarantine.s"]
    {
        roots.run_here(&["sql", statement]).failed(2);
    }
}

#[test]
fn sql_shows_rejected_bytes_as_text_where_they_are_text() {
    let roots = two_runs();
    let texts =
        roots.sql("select trim(try_cast(raw as varchar), E' \\n') as text from quarantine.s order by key, byte_offset");
    let expected = [Some("{\"id\":7,\"x"), Some("{\"id\":2,"), Some("7"), Some("not json"), None, Some("null")];
    assert_eq!(texts, expected.map(|text| json!({"text": text})));
    let text =
        roots.sql("select cast(raw as varchar) as text from quarantine.s where reason = 'not_an_object' order by 1");
    assert_eq!(text, [json!({"text": "7"}), json!({"text": "null"})]);
    // A plain cast fails on bytes that are no text, and does not show them.
    let message = roots.run_here(&["sql", "select cast(raw as varchar) from quarantine.s"]).failed(1);
    assert!(message.contains("non UTF-8"), "{message}");
    let bytes = "select encode(raw, 'hex') as hex, octet_length(encode(raw, 'hex')) / 2 as n from quarantine.s where key like '%.gz'";
    let bytes = roots.sql(bytes);
    assert!(bytes[0]["hex"].as_str().unwrap().starts_with("1f8b08") && bytes[0]["n"] == 40, "{bytes:?}");
}

#[test]
fn sql_reads_the_rejected_bytes_only_where_a_query_names_them() {
    let roots = Roots::new();
    let mut numbers = super::support::Numbers(3);
    let noise: String = (0..2 << 20).map(|_| char::from(b'a' + numbers.below(26) as u8)).collect();
    roots.put("s/a.json", noise);
    roots.put("s/b.json", "7");
    roots.compact_one(&["--threads", "1"]);
    let scanned = |statement: &str| {
        let rows = roots.sql(&format!("explain analyze {statement}"));
        let plan = rows[0]["plan"].as_str().unwrap();
        let scan = plan.lines().find(|line| line.contains("DataSourceExec")).unwrap();
        let text = scan.split("bytes_scanned=").nth(1).unwrap().split([',', ']']).next().unwrap();
        // As `1.26 M` or `512`.
        let (number, unit) = text.trim().split_once(' ').unwrap_or((text, ""));
        let factor = match unit.trim() {
            "" | "B" => 1.0,
            "K" | "KB" => 1e3,
            "M" | "MB" => 1e6,
            other => panic!("{other} in {scan}"),
        };
        (number.trim().parse::<f64>().unwrap() * factor, scan.to_owned())
    };
    let (without, scan) = scanned("select reason, count(*) from quarantine.s group by 1");
    assert!(without < 200e3 && scan.contains("projection=[reason]"), "{scan}");
    let (with, scan) = scanned("select count(*) from quarantine.s where octet_length(try_cast(raw as varchar)) > 5");
    assert!(with > 1e6, "{scan}");
}

#[test]
fn files_without_the_column_at_fault_read_as_null() {
    let roots = two_runs();
    let files = roots.quarantine_files();
    assert_eq!(files.len(), 2);
    rewrite(&files[0], without_column_path);
    rewrite(&files[1], |batch| with_column_path(batch, "payload.amount"));
    let count = "select count(*) as n, count(column_path) as paths from quarantine.s";
    assert_eq!(roots.sql(count), [json!({"n": 6, "paths": 2})]);
    let null =
        "select reason, column_path from quarantine.s where column_path is null and reason = 'malformed' limit 1";
    assert_eq!(roots.sql(null), [json!({"reason": "malformed", "column_path": null})]);
    let named = "select key from quarantine.s where column_path like 'payload.%' order by 1";
    assert_eq!(roots.sql(named), [json!({"key": "2025/d.json"}), json!({"key": "c.json"})]);
    let document = roots.listed(&[]);
    let paths: Vec<_> = document["rejects"].as_array().unwrap().iter().map(|reject| &reject["column_path"]).collect();
    let path = json!("payload.amount");
    assert_eq!(paths, [&path, &path, &Value::Null, &Value::Null, &Value::Null, &Value::Null]);
    let text = roots.run_list(&["s"]).ok();
    assert!(text.contains("  payload.amount  ") && text.contains("  -  "), "{text}");
    // The same when all files are old.
    rewrite(&files[1], without_column_path);
    assert_eq!(roots.sql(count), [json!({"n": 6, "paths": 0})]);
    assert!(!roots.run_list(&["s"]).ok().contains("payload"));
    // More is kept beside them.
    roots.put("s/e.json", "bad");
    assert_eq!(roots.compact_one(&[]).error_count, 1);
    assert_eq!(roots.sql(count), [json!({"n": 7, "paths": 0})]);
}

#[test]
fn a_file_that_is_gone_or_damaged_is_named() {
    let roots = two_runs();
    let files = roots.quarantine_files();
    let name = files[0].file_name().unwrap().to_str().unwrap().to_owned();
    let bytes = std::fs::read(&files[0]).unwrap();
    let tail = bytes.len() - 20;
    for damage in ["gone", "cut", "empty", "other columns"] {
        match damage {
            "gone" => std::fs::remove_file(&files[0]).unwrap(),
            "cut" => std::fs::write(&files[0], &bytes[..tail]).unwrap(),
            "empty" => std::fs::write(&files[0], "").unwrap(),
            _ => {
                std::fs::write(&files[0], &bytes).unwrap();
                rewrite(&files[0], |batch| batch.project(&[0, 1, 2]).unwrap());
            }
        }
        let message = roots.run_list(&["s"]).failed(1);
        assert!(message.contains(&name), "{damage}: {message}");
        if damage == "gone" {
            let message = roots.run_here(&["sql", "select key from quarantine.s"]).failed(1);
            assert!(message.contains(&name), "{message}");
        } else {
            roots.run_here(&["sql", "select reason from quarantine.s"]).failed(1);
        }
        assert_eq!(roots.sql("select count(*) as n from lake.s"), [json!({"n": 4})], "{damage}");
    }
}

#[test]
fn files_that_no_version_names_do_not_count() {
    let roots = two_runs();
    let files = roots.quarantine_files();
    std::fs::copy(&files[0], files[0].with_file_name("0000.parquet")).unwrap();
    assert_eq!(roots.sql("select count(*) as n from quarantine.s"), [json!({"n": 6})]);
    assert_eq!(roots.listed(&[])["rejects"].as_array().unwrap().len(), 6);
}

#[test]
fn a_lake_whose_folder_has_a_strange_name_is_read_too() {
    let mut roots = two_runs();
    let lake = roots.dir.path().join("a lake #1 ü");
    std::fs::rename(&roots.lake, &lake).unwrap();
    roots.lake = lake;
    assert_eq!(roots.listed(&[])["rejects"].as_array().unwrap().len(), 6);
    assert_eq!(roots.sql("select count(*) as n from quarantine.s"), [json!({"n": 6})]);
}

#[test]
fn a_reader_gives_rows_and_columns_of_any_store_a_row_group_at_a_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let roots = Roots::new();
    let line = |id: usize| format!("{{\"id\":{id},{}", "x".repeat(1000));
    let lines: Vec<String> = (0..30_000).map(line).collect();
    roots.put("s/a.json", lines.join("\n"));
    let lake = Location::parse("memory:///lake").unwrap();
    let request = Request {
        raw: Location::parse(roots.raw.to_str().unwrap()).unwrap(),
        lake: lake.clone(),
        sources: Vec::new(),
        partition_by: None,
        config: Config::default(),
        threads: 1,
    };
    runtime.block_on(async {
        let report = compact(&request, &SystemClock, &Silent).await.unwrap();
        assert_eq!((report.status, report.sources[0].error_count), (Status::PartialSuccess, 30_000));
        let table = Table::open(lake.folder("s").unwrap()).await.unwrap();
        let hidden = Hidden::new(table.location());
        let id = table.ledger_head().await.unwrap().unwrap();
        let head: Head = hidden.read_json(&Hidden::head_path(id)).await.unwrap();
        let quarantine = Quarantine::open(&hidden, &head).await.unwrap();
        let mut reader = quarantine.read();
        let (mut count, mut offset) = (0, 0);
        while let Some(rows) = reader.next_rows().await.unwrap() {
            let bytes: usize = rows.iter().map(|row| row.raw.len()).sum();
            assert!(bytes < 10 << 20, "{bytes} bytes at once");
            for row in rows {
                assert_eq!(row.raw.trim_ascii_end(), lines[count].as_bytes());
                assert_eq!(
                    (row.object.key.as_str(), row.reason.as_str(), row.continued),
                    ("a.json", "malformed", false)
                );
                assert_eq!((row.byte_offset as usize, row.column_path), (offset, None));
                offset += lines[count].len() + 1;
                count += 1;
            }
        }
        assert_eq!(count, 30_000);
        let mut reader = quarantine.read();
        while let Some(batch) = reader.next_batch().await.unwrap() {
            assert_eq!(batch.schema(), quarantine_schema());
        }
        let narrow = Arc::new(Schema::new(vec![quarantine_schema().field_with_name("column_path").unwrap().clone()]));
        let mut reader = quarantine.read_files(quarantine.files().to_vec(), Arc::clone(&narrow));
        let mut rows = 0;
        while let Some(batch) = reader.next_batch().await.unwrap() {
            assert_eq!(batch.schema(), narrow);
            rows += batch.num_rows();
        }
        assert_eq!(rows, 30_000);
        let session = SqlSession::open(None, Some(lake), &Config::default(), 2, 1 << 30).await.unwrap();
        let stream = session.query("select count(*), sum(byte_offset) from quarantine.s").await.unwrap();
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        assert_eq!(batches[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0), 30_000);
    });
}
