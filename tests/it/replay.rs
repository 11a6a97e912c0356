//! Rejects that are valid by now, after a change of the configuration, become rows: each exactly once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use siltstone::compact::{Report, SourceReport, Status};
use siltstone::lake::{Entry, Head, Hidden, Merged, Table, Totals};
use siltstone::store::Location;

use super::support::{Numbers, Ran, Roots, files_below, gzip, lines};

const REPLAY: [&str; 5] = ["quarantine", "replay", "s", "--output", "json"];

/// Roots with a configuration for source `s`, which commands find in the folder they run in.
fn configured(config: &str) -> Roots {
    let roots = Roots::new();
    configure(&roots, config);
    roots
}

fn configure(roots: &Roots, config: &str) {
    std::fs::write(roots.dir.path().join("siltstone.toml"), format!("[sources.s]\n{config}\n")).unwrap();
}

/// Compacts without partitions: (rows, rejects).
fn compact(roots: &Roots) -> (u64, u64) {
    let report = roots.compact_one(&["--partition-by", "none"]);
    (report.success_count, report.error_count)
}

fn report_of(ran: Ran) -> SourceReport {
    let report: Report = serde_json::from_str(&ran.ok()).unwrap();
    report.sources.into_iter().next().unwrap()
}

fn replay_with(roots: &Roots, args: &[&str]) -> SourceReport {
    report_of(roots.run_here(&[&REPLAY, args].concat()))
}

/// Replays: (rows, rejects that stay). Then checks the books.
#[track_caller]
fn replay(roots: &Roots) -> (u64, u64) {
    let report = replay_with(roots, &[]);
    assert_eq!(report.status, if report.error_count > 0 { Status::PartialSuccess } else { Status::Success });
    check_books(roots);
    (report.success_count, report.error_count)
}

/// The ledger's entries and its totals.
fn ledger(roots: &Roots) -> (Vec<Entry>, Totals) {
    let lake = Location::parse(roots.lake.to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let table = Table::open(lake.folder("s").unwrap()).await.unwrap();
        let hidden = Hidden::new(table.location());
        let id = table.ledger_head().await.unwrap().unwrap();
        let head: Head = hidden.read_json(&Hidden::head_path(id)).await.unwrap();
        let mut merged = Merged::open(&hidden, &head.segments).await.unwrap();
        let mut entries = Vec::new();
        while let Some(entry) = merged.next().await.unwrap() {
            entries.push(entry);
        }
        (entries, head.totals)
    })
}

/// Checks that ledger, data files and quarantine files tell the same.
#[track_caller]
fn check_books(roots: &Roots) {
    let (entries, totals) = ledger(roots);
    let mut sums = Totals::default();
    let mut quarantined: BTreeMap<String, u64> = BTreeMap::new();
    for entry in &entries {
        assert_eq!(entry.records_in, entry.rows_out + entry.quarantined, "{entry:?}");
        sums.add(entry);
        *quarantined.entry(entry.object.key.clone()).or_default() += entry.quarantined;
    }
    quarantined.retain(|_, count| *count > 0);
    assert_eq!(sums, totals);
    let files: u64 = roots.files("s").iter().map(|file| file.row_count).sum();
    assert_eq!(files, totals.rows_out);
    assert_eq!(roots.sql("select count(*) as n from lake.s"), [json!({"n": totals.rows_out})]);
    let kept = roots.sql("select key, count(*) as n from quarantine.s where not continued group by key");
    let verified = roots.run(&["verify", "s", "--lake", roots.lake.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{} {}", verified.stdout, verified.stderr);
    let kept = kept.iter().map(|row| (row["key"].as_str().unwrap().to_owned(), row["n"].as_u64().unwrap()));
    assert_eq!(kept.collect::<BTreeMap<_, _>>(), quarantined);
}

/// The rejects, as (key, offset, reason).
fn rejects(roots: &Roots) -> Vec<(String, u64, String)> {
    let rows = roots.sql("select key, byte_offset, reason from quarantine.s where not continued order by 1, 2");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(row, "key"), row["byte_offset"].as_u64().unwrap(), text(row, "reason"))).collect()
}

fn reject(key: &str, offset: u64, reason: &str) -> (String, u64, String) {
    (key.to_owned(), offset, reason.to_owned())
}

/// The runs and times of the rejects.
fn stamps(roots: &Roots) -> Vec<Value> {
    roots.sql("select key, run_id, rejected_at from quarantine.s order by key, byte_offset, continued")
}

/// JSON nested `depth` deep.
fn nested(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

/// Records of a hundred bytes and more.
fn padded(ids: std::ops::Range<u64>) -> Vec<Value> {
    ids.map(|id| json!({"id": id, "pad": format!("{id:0>100}")})).collect()
}

/// A frozen table of `id`, and three rejects in two objects.
fn frozen() -> Roots {
    let roots = configured("contract = \"freeze\"");
    roots.put_lines("s/0", &[json!({"id": 0})]);
    assert_eq!(compact(&roots), (1, 0));
    roots.put_lines("s/1", &[json!({"id": 1}), json!({"id": 2, "new": "x"}), json!({"id": 3})]);
    roots.put("s/2", lines(&[json!({"id": 4, "new": 1}), json!({"id": 5})]) + "malformed\n" + "{\"id\":6}");
    assert_eq!(compact(&roots), (4, 3));
    roots
}

#[test]
fn what_a_loosened_contract_allows_becomes_rows_once() {
    let roots = frozen();
    let stamp = stamps(&roots).into_iter().last().unwrap();
    assert_eq!(replay(&roots), (0, 3), "nothing was changed yet");
    configure(&roots, "");
    let report = replay_with(&roots, &[]);
    assert_eq!((report.success_count, report.error_count, report.objects), (2, 1, 2), "{report:?}");
    assert_eq!((report.status, report.version), (Status::PartialSuccess, Some(2)));
    assert_eq!(report.schema_changes, ["+ new string"]);
    check_books(&roots);
    assert_eq!(
        roots.export_lines("s"),
        [
            r#"{"id":0}"#,
            r#"{"id":1}"#,
            r#"{"id":2,"new":"x"}"#,
            r#"{"id":3}"#,
            r#"{"id":4,"new":"1"}"#,
            r#"{"id":5}"#,
            r#"{"id":6}"#
        ]
    );
    assert_eq!(rejects(&roots), [reject("2", 26, "malformed")]);
    // What stays is as it was.
    assert_eq!(stamps(&roots), [stamp]);
    // Again: nothing is new, and nothing is committed.
    let report = replay_with(&roots, &[]);
    assert_eq!((report.success_count, report.error_count, report.version), (0, 1, Some(2)));
    assert_eq!(compact(&roots), (0, 0));
    check_books(&roots);
}

#[test]
fn the_summary_says_what_became_of_it() {
    let roots = frozen();
    let text = |roots: &Roots, args: &[&str]| roots.run_here(&[&["quarantine", "replay", "s"], args].concat());
    assert_eq!(text(&roots, &[]).ok(), "s: nothing in quarantine became valid\n  3 records stay in quarantine\n");
    configure(&roots, "");
    assert_eq!(text(&roots, &["--reason", "malformed", "--fail-on-quarantine"]).code, 3);
    let told = text(&roots, &[]).ok();
    assert!(told.starts_with("s: 2 records of 2 objects were taken from quarantine, in "), "{told}");
    assert!(told.contains("\n  1 records stay in quarantine\n") && told.contains("\n  + new string\n"), "{told}");
    assert_eq!(text(&roots, &["--reason", "unknown_column"]).ok(), "s: there is nothing to replay\n");
    let none = roots.run_here(&["quarantine", "replay", "none"]);
    assert!(none.failed(1).contains("there is no table none"));
    let wrong = text(&roots, &["--reason", "none"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("unknown_column"), "{wrong:?}");
}

#[test]
fn only_rejects_with_the_reason_asked_for_are_looked_at() {
    let roots = configured("contract = \"freeze\"");
    roots.put_lines("s/0", &[json!({"id": 0})]);
    compact(&roots);
    roots.put_lines("s/1", &[json!({"id": 1, "new": 1}), json!({"id": 1.5}), json!({"id": 2})]);
    assert_eq!(compact(&roots), (1, 2));
    configure(&roots, "");
    let report = replay_with(&roots, &["--reason", "unknown_column"]);
    assert_eq!((report.success_count, report.error_count), (1, 0));
    check_books(&roots);
    assert_eq!(rejects(&roots), [reject("1", 17, "type_mismatch")]);
    assert_eq!(replay(&roots), (1, 0));
    assert_eq!(roots.export("s").len(), 4);
    assert_eq!(roots.status("s")["quarantined"], 0);
}

#[test]
fn values_that_fit_a_wider_type_become_rows() {
    let roots = configured("columns.code.type = \"bigint\"");
    roots.put_lines("s/1", &[json!({"id": 1, "code": 7}), json!({"id": 2, "code": "x7"})]);
    assert_eq!(compact(&roots), (1, 1));
    // The type stays although the configuration no longer says it.
    configure(&roots, "");
    assert_eq!(replay(&roots), (0, 1));
    configure(&roots, "columns.code.type = \"string\"");
    assert_eq!(replay(&roots), (1, 0));
    assert_eq!(roots.export_lines("s"), [r#"{"id":1,"code":"7"}"#, r#"{"id":2,"code":"x7"}"#]);
    // A type that the stored column cannot become is refused.
    roots.put("s/2", "malformed");
    compact(&roots);
    configure(&roots, "columns.code.type = \"bigint\"");
    let refused = roots.run_here(&REPLAY);
    assert!(refused.failed(2).contains("cannot become bigint"));
}

#[test]
fn a_column_that_is_dropped_refuses_nothing() {
    let roots = configured("columns.code.type = \"bigint\"");
    roots.put_lines("s/1", &[json!({"id": 1, "code": 7}), json!({"id": 2, "code": "x7"})]);
    assert_eq!(compact(&roots), (1, 1));
    configure(&roots, "columns.code.drop = true");
    assert_eq!(replay(&roots), (1, 0));
    assert_eq!(roots.export_lines("s"), [r#"{"id":1,"code":7}"#, r#"{"id":2}"#]);
}

#[test]
fn deeper_nesting_is_taken_once_it_is_allowed() {
    let roots = configured("max_depth = 8");
    let deep = format!(r#"{{"id":2,"d":{}}}"#, nested(9));
    roots.put("s/lines", format!("{{\"id\":1}}\n{deep}\n{{\"id\":3}}\n"));
    // In an array the whole rest is one reject.
    let deep = deep.replace("\"id\":2", "\"id\":5");
    roots.put("s/array", format!(r#"[{{"id":4}}, {deep}, {{"id":6}}, 7, {{"id":8}}]"#));
    roots.put("s/envelope", format!("[{{\"id\":9}},\n{}, {{\"id\":11}}, x", deep.replace("\"id\":5", "\"id\":10")));
    assert_eq!(compact(&roots), (4, 3));
    assert_eq!(replay(&roots), (0, 3));
    let stamp = stamps(&roots).into_iter().next().unwrap();
    configure(&roots, "max_depth = 16");
    assert_eq!(replay(&roots), (6, 2));
    assert_eq!(roots.exported_ids("s"), [1, 2, 3, 4, 5, 6, 8, 9, 10, 11]);
    let expected = [reject("array", 55, "not_an_object"), reject("envelope", 57, "malformed")];
    assert_eq!(rejects(&roots), expected);
    // Rejects out of a reject keep its run and time.
    assert_eq!(stamps(&roots)[0], stamp);
    assert_eq!(replay(&roots), (0, 2));
}

#[test]
fn an_object_that_was_too_large_is_taken_from_where_it_was_given_up() {
    let roots = configured("max_object_bytes = 1000000");
    let records = padded(0..20_000);
    roots.put("s/a.gz", gzip(lines(&records)));
    roots.put_lines("s/b", &[json!({"id": 20_000})]);
    let (rows, rejected) = compact(&roots);
    assert!((2..20_000).contains(&rows) && rejected == 1, "{rows}");
    // Not all of it fits yet.
    configure(&roots, "max_object_bytes = 2000000");
    let (more, still) = replay(&roots);
    assert!(more > 0 && rows + more < 20_001 && still == 1, "{more}");
    configure(&roots, "");
    assert_eq!(replay(&roots), (20_001 - rows - more, 0));
    assert_eq!(roots.exported_ids("s"), (0..20_001).collect::<Vec<_>>());
    assert_eq!(rejects(&roots), []);
}

#[test]
fn what_turns_out_to_hold_no_record_leaves_the_quarantine() {
    let roots = configured("max_object_bytes = 1000\nrecords = \"items\"");
    // Found to be too large when it had been read to its end.
    roots.put("s/a.gz", gzip(json!({"items": padded(0..50)}).to_string()));
    roots.put("s/b", r#"{"list":[]}"#);
    roots.put("s/c", r#"{"other":[]}"#);
    assert_eq!(compact(&roots), (50, 3));
    assert_eq!(replay(&roots), (0, 3));
    configure(&roots, "records = \"list\"");
    assert_eq!(replay(&roots), (0, 1), "all that a.gz holds is in the table");
    assert_eq!(rejects(&roots), [reject("c", 0, "envelope_missing")]);
    assert_eq!(roots.export("s").len(), 50);
}

#[test]
fn records_that_were_too_large_are_taken() {
    let roots = configured("max_record_bytes = 3000000");
    let large = |id: u64, bytes: usize| format!("{{\"id\":{id},\"t\":\"{}\"}}\n", "x".repeat(bytes));
    let text = [large(0, 1), large(1, 5_000_000), large(2, 1), large(3, 9_000_000), large(4, 2)].concat();
    roots.put("s/a", text);
    assert_eq!(compact(&roots), (1, 1));
    configure(&roots, "max_record_bytes = 6000000");
    assert_eq!(replay(&roots), (2, 1));
    assert_eq!(rejects(&roots)[0].2, "record_too_large");
    configure(&roots, "");
    assert_eq!(replay(&roots), (2, 0));
    assert_eq!(roots.exported_ids("s"), [0, 1, 2, 3, 4]);
}

#[test]
fn envelopes_are_opened_once_it_is_said_where_their_records_lie() {
    let roots = configured("records = \"items\"");
    let envelope = |name: &str, ids: [u64; 2]| json!({"page": 1, name: ids.map(|id| json!({"id": id}))});
    roots.put("s/1", envelope("items", [1, 2]).to_string());
    roots.put("s/2", envelope("list", [3, 4]).to_string());
    roots.put("s/3", lines(&[envelope("items", [5, 6]), envelope("list", [7, 8])]));
    assert_eq!(compact(&roots), (4, 2));
    configure(&roots, "records = \"list\"");
    // What was taken under the old path stays out of it.
    assert_eq!(replay(&roots), (4, 0));
    assert_eq!(roots.exported_ids("s"), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn members_of_the_envelope_come_with_its_records() {
    let roots = configured("records = \"items\"\nenvelope_fields = [\"page\"]\ncolumns.v.type = \"bigint\"");
    roots.put("s/1", r#"{"items": [{"id": 1, "v": 1}, {"id": 2, "v": "x"}, {"id": 3}], "page": 7}"#);
    roots.put("s/2", r#"{"items": [{"id": 4, "v": 1}, {"id": 5, "v": "y"}], "page": 8}"#);
    assert_eq!(compact(&roots), (3, 2));
    configure(&roots, "records = \"items\"\nenvelope_fields = [\"page\"]\ncolumns.v.type = \"string\"");
    // Without the raw object the envelope is gone.
    std::fs::remove_file(roots.raw.join("s/2")).unwrap();
    assert_eq!(replay(&roots), (1, 1));
    assert_eq!(
        roots.sql("select id, v, envelope_page as p from lake.s where id = 2"),
        [json!({"id": 2, "v": "x", "p": 7})]
    );
}

#[test]
fn rejects_of_objects_that_are_gone_or_changed_are_taken_from_their_bytes() {
    let roots = configured("contract = \"freeze\"\nmax_depth = 8\nrecords = \"items\"\nmax_object_bytes = 100000");
    roots.put("s/0", r#"[{"id":0,"d":[1],"pad":"x"}]"#);
    compact(&roots);
    let deep = |id: u64| format!(r#"{{"id":{id},"d":{}}}"#, nested(9));
    // Records in an envelope; one is in an array of its own name.
    roots.put("s/1", r#"{"items":[{"id":1},{"id":2,"new":1},{"id":1.5,"items":[{"id":99}]},{"id":3}]}"#);
    // The rest of an array: not a value by itself.
    roots.put("s/2", format!(r#"[{{"id":4}},{},{{"id":5}}]"#, deep(50)));
    // An envelope without the array, and one with a fault in it.
    roots.put("s/3", r#"{"list":[{"id":6},{"id":7},8]}"#);
    // As stored, from the begin.
    let zipped = gzip(json!(padded(100..12_000)).to_string());
    roots.put("s/4.gz", &zipped);
    roots.put("s/5", "[{\"id\":8},\nmalformed]");
    roots.put("s/6.gz", &zipped[..zipped.len() / 2]);
    let (rows, rejected) = compact(&roots);
    assert_eq!(rejected, 7);
    for (key, text) in
        [("1", None), ("2", None), ("3", Some("[{\"id\":20}]")), ("4.gz", None), ("5", None), ("6.gz", None)]
    {
        let path = roots.raw.join("s").join(key);
        std::fs::remove_file(&path).unwrap();
        text.into_iter().for_each(|text| roots.put(&format!("s/{key}"), text));
    }
    assert_eq!(replay(&roots), (0, 7));
    configure(&roots, "records = \"list\"");
    let report = replay_with(&roots, &[]);
    check_books(&roots);
    let notes = report.notes.join("\n");
    assert!(notes.contains("rejects stay whose raw objects are gone or changed"), "{notes}");
    let left = rejects(&roots);
    assert_eq!(left.len(), 4, "{left:?}");
    assert_eq!(
        left.iter().map(|(key, _, reason)| (key.as_str(), reason.as_str())).collect::<Vec<_>>(),
        [("2", "too_deep"), ("3", "not_an_object"), ("5", "malformed"), ("6.gz", "corrupt_compression")]
    );
    assert_eq!(report.error_count, 4);
    let ids: Vec<f64> = {
        let mut ids: Vec<f64> =
            roots.sql("select id from lake.s").iter().map(|row| row["id"].as_f64().unwrap()).collect();
        ids.sort_by(f64::total_cmp);
        ids.retain(|id| *id < 100.0);
        ids
    };
    assert_eq!(ids, [0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 7.0, 8.0]);
    let twice = roots.sql("select id from lake.s where id >= 100 group by id having count(*) > 2");
    assert_eq!(twice, Vec::<Value>::new());
    let of_whole = roots.sql("select count(distinct id) as n from lake.s where id >= 100");
    assert_eq!(of_whole, [json!({"n": 11_900})]);
    assert!(report.success_count > 5 && rows > 0);
    assert_eq!(replay(&roots), (0, 4));
}

#[test]
fn bytes_that_mean_something_else_by_themselves_stay() {
    let roots = configured("contract = \"freeze\"");
    roots.put_lines("s/0", &[json!({"id": 0})]);
    compact(&roots);
    // An array in an array is no record; a compressed line or one with a mark at its begin is no JSON; nor is what lacks a
    // comma, although a record may stand behind where it is missing.
    roots.put("s/1", r#"[{"id":1},[{"id":2}]]"#);
    let zipped: Vec<u8> = gzip("{\"id\":3}").into_iter().filter(|byte| *byte != b'\n').collect();
    roots.put("s/2", [b"{\"id\":4}\n", &zipped[..], b"\n{\"id\":5}\n", b"\xef\xbb\xbf{\"id\":6}\n"].concat());
    roots.put("s/3", r#"[{"id":7} {"id":8}"#);
    let (_, rejected) = compact(&roots);
    for key in ["1", "2", "3"] {
        std::fs::remove_file(roots.raw.join("s").join(key)).unwrap();
    }
    configure(&roots, "");
    assert_eq!(replay(&roots), (0, rejected));
}

#[test]
fn a_source_without_raw_objects_is_replayed_from_kept_bytes() {
    let roots = frozen();
    std::fs::remove_dir_all(roots.raw.join("s")).unwrap();
    configure(&roots, "");
    assert_eq!(replay(&roots), (2, 1));
    assert_eq!(roots.exported_ids("s"), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(rejects(&roots), [reject("2", 26, "malformed")]);
}

#[test]
fn a_value_that_would_reach_into_rows_of_the_table_stays() {
    // Three lines by themselves; one value, were it not for the depth.
    let roots = configured("max_depth = 4");
    roots.put("s/1", "{\"id\":0}\n{\"id\":1,\"a\":[[[[\n{\"id\":2}\n]]]]}\n{\"id\":3}\n");
    assert_eq!(compact(&roots), (3, 2));
    configure(&roots, "");
    assert_eq!(replay(&roots), (0, 2));
    assert_eq!(roots.exported_ids("s"), [0, 2, 3]);
}

#[test]
fn a_promotion_behind_a_replay_keeps_all_rows() {
    let roots = frozen();
    configure(&roots, "");
    roots.put_lines("s/3", &[json!({"id": 7, "v": 1.10}), json!({"id": 8, "v": 2})]);
    compact(&roots);
    assert_eq!(replay(&roots), (2, 1));
    roots.put_lines("s/4", &[json!({"id": "x", "v": "y"})]);
    let report = roots.compact_one(&[]);
    assert_eq!(report.schema_changes, ["~ id bigint -> string", "~ v double -> string"]);
    check_books(&roots);
    let mut ids: Vec<String> =
        roots.export("s").iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "x"]);
}

#[test]
fn files_of_replayed_objects_are_not_decoded_again_from_raw() {
    let roots = configured("contract = \"add-only\"");
    roots.put("s/1", "{\"id\":1,\"v\":1.10}\n");
    compact(&roots);
    roots.put("s/2", "{\"id\":2,\"v\":1.10}\n{\"id\":\"x\",\"v\":2.10}\n{\"id\":3,\"v\":3.10}\n");
    assert_eq!(compact(&roots), (2, 1));
    configure(&roots, "");
    assert_eq!(replay(&roots), (1, 0));
    roots.put("s/3", "{\"id\":4,\"v\":\"y\"}\n");
    let report = roots.compact_one(&[]);
    let notes = report.notes.join("\n");
    assert!(notes.contains("some rows of their raw objects were taken from the quarantine later"), "{notes}");
    check_books(&roots);
    let values = roots.sql("select id, v from lake.s order by id");
    let expected = [("1", "1.10"), ("2", "1.1"), ("3", "3.1"), ("4", "y"), ("x", "2.1")];
    assert_eq!(values, expected.map(|(id, v)| json!({"id": id, "v": v})));
}

#[test]
fn replay_and_compact_at_once_take_each_record_once() {
    let roots = configured("contract = \"freeze\"");
    roots.put_lines("s/0", &[json!({"id": -1})]);
    compact(&roots);
    let mut ids = vec![-1];
    for round in 0..4_i64 {
        configure(&roots, "contract = \"freeze\"");
        let first = round * 1000;
        for object in 0..5 {
            let record = |n: i64| {
                let id = first + object * 100 + n;
                let mut record = json!({"id": id});
                record[format!("new{round}")] = json!(id);
                if n % 3 == 0 { record } else { json!({"id": id}) }
            };
            roots.put_lines(&format!("s/{round}-{object}"), &(0..30).map(record).collect::<Vec<_>>());
            ids.extend((0..30).map(|n| first + object * 100 + n));
        }
        assert_eq!(compact(&roots), (100, 50));
        configure(&roots, "");
        roots.put_lines(&format!("s/{round}-9"), &[json!({"id": first + 999, "w": round})]);
        ids.push(first + 999);
        let [one, other, compacted] = std::thread::scope(|scope| {
            let replay = || report_of(Ran::of(&mut roots.command_here(&REPLAY)));
            let compact = || report_of(Ran::of(&mut roots.command_here(&["compact", "--output", "json"])));
            let runs = [scope.spawn(replay), scope.spawn(replay), scope.spawn(compact)];
            runs.map(|run| run.join().unwrap())
        });
        assert_eq!(one.success_count + other.success_count, 50, "{one:?} {other:?}");
        assert_eq!(compacted.success_count, 1);
        check_books(&roots);
    }
    ids.sort_unstable();
    assert_eq!(roots.exported_ids("s"), ids);
    assert_eq!(rejects(&roots), []);
}

#[test]
fn a_replay_killed_at_any_moment_loses_and_doubles_nothing() {
    let mut numbers = Numbers(77);
    let (mut killed, mut round) = (0, 0);
    let roots = configured("contract = \"freeze\"");
    roots.put_lines("s/0", &[json!({"id": 0})]);
    compact(&roots);
    let mut rows = 1;
    let mut whole_us = 200_000;
    while killed < 12 {
        round += 1;
        assert!(round < 40, "only {killed} runs were killed before they ended");
        configure(&roots, "contract = \"freeze\"");
        let key = format!("new{round}");
        let records: Vec<Value> = (rows..rows + 200)
            .map(|id| {
                let mut record = json!({"id": id});
                record[&key] = json!(id);
                if id % 2 == 0 { record } else { json!({"id": id}) }
            })
            .collect();
        roots.put_lines(&format!("s/{round}"), &records);
        assert_eq!(compact(&roots), (100, 100));
        configure(&roots, "");
        let before = (rows + 100) as usize;
        for _ in 0..4 {
            let mut command = roots.command_here(&REPLAY);
            let began = Instant::now();
            let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(numbers.below(whole_us)));
            child.kill().unwrap();
            let has_ended = child.wait().unwrap().code().is_some();
            let seen = roots.export("s").len();
            assert!(seen == before || seen == before + 100, "{seen} of {before}");
            if has_ended {
                whole_us = whole_us.min(began.elapsed().as_micros() as u64);
                break;
            }
            killed += 1;
        }
        replay(&roots);
        rows += 200;
        assert_eq!(roots.exported_ids("s"), (0..rows).collect::<Vec<i64>>());
        assert_eq!(roots.status("s")["quarantined"], 0);
    }
    // Quarantine files that no version names any more hold up nothing.
    assert!(files_below(&roots.lake.join("s")).iter().any(|path| path.starts_with("_siltstone/quarantine/")));
    assert_eq!(replay(&roots), (0, 0));
}
