//! Killed at any moment, or left behind half done: the next run completes, and no record is lost or doubled.
//!
//! `SILTSTONE_KILLS` says how many runs are killed (default 40).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{Numbers, Roots, files_below, lines, write};

/// Kills in all, unless the environment says otherwise, and in each round.
const KILLS: usize = 40;
const KILLS_IN_ROUND: usize = 6;
/// A lake takes so many rounds; then another is begun, as each round takes longer than the one before.
const ROUNDS: usize = 12;
/// Objects that a round adds.
const OBJECTS: usize = 8;
/// Records of each.
const RECORDS: usize = 50;

/// The records that a round adds: later rounds promote columns, gain fields and partitions.
fn records(round: usize, object: usize) -> Vec<Value> {
    let record = |n: usize| {
        let id = (round * OBJECTS + object) * RECORDS + n;
        let mut record = json!({
            "id": id, "kind": format!("k{}", id % 3), "amount": id, "at": format!("2025-0{}-01T00:00:00Z", round % 9 + 1),
            "nested": {"list": [{"x": id}], "flag": id.is_multiple_of(2)},
        });
        match (round, n) {
            (0, _) => {}
            (1, 10) => record["amount"] = json!(0.5),
            (2, 20) => record["amount"] = json!("none"),
            (3, _) => record["nested"]["new"] = json!({"y": [id]}),
            (4, 30) => record["nested"]["list"] = json!([{"x": "text"}]),
            (5, 40) => record["nested"] = json!("gone"),
            _ => {}
        }
        record
    };
    (0..RECORDS).map(record).collect()
}

#[test]
fn a_run_killed_at_any_moment_loses_and_doubles_nothing() {
    let kills = std::env::var("SILTSTONE_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut numbers = Numbers(20_250_301);
    let (mut killed, mut lakes) = (0, 0);
    while killed < kills {
        killed += kill_in_one_lake(&mut numbers, kills - killed);
        lakes += 1;
        assert!(lakes < kills, "only {killed} runs were killed before they ended");
    }
    eprintln!("{killed} runs were killed, over {lakes} lakes");
}

/// Kills at most `kills` runs, all over the same lake; how many were killed before they ended.
fn kill_in_one_lake(numbers: &mut Numbers, kills: usize) -> usize {
    let roots = Roots::new();
    let mut expected = 0;
    let mut killed = 0;
    let mut rounds = 0;
    while killed < kills && rounds < ROUNDS {
        let round = rounds;
        rounds += 1;
        for object in 0..OBJECTS {
            let text = lines(&records(round, object)) + "malformed\n";
            roots.put(&format!("s/{:02}/{object}.json", 99 - round), text);
        }
        let before = expected;
        expected += OBJECTS * RECORDS;
        // How long a whole run takes here and now, over a copy.
        let copy = Roots::new();
        copy_folder(&roots.raw, &copy.raw);
        if roots.lake.exists() {
            copy_folder(&roots.lake, &copy.lake);
        }
        let began = Instant::now();
        copy.run_here(&["compact", "--partition-by", "month(at), kind"]).ok();
        let whole_us = began.elapsed().as_micros() as u64;
        for _ in 0..KILLS_IN_ROUND.min(kills - killed) {
            let mut command = roots.command_here(&["compact", "--partition-by", "month(at), kind"]);
            command.stdout(std::process::Stdio::null());
            let mut child = command.spawn().unwrap();
            std::thread::sleep(Duration::from_micros(numbers.below(whole_us + 1)));
            child.kill().unwrap();
            let has_ended = child.wait().unwrap().code().is_some();
            // A reader sees the version before or the version after.
            let has_table = roots.lake.join("s/_delta_log/00000000000000000000.json").exists();
            let seen = if has_table { roots.export("s").len() } else { 0 };
            assert!(seen == before || seen == expected, "round {round}: {seen} of {before} or {expected}");
            if has_ended {
                break;
            }
            killed += 1;
        }
        roots.compact_one(&["--partition-by", "month(at), kind"]);
        assert_eq!(roots.exported_ids("s"), (0..expected as i64).collect::<Vec<_>>(), "round {round}");
        let status = roots.status("s");
        assert_eq!(status["rows"], expected);
        assert_eq!(status["objects_consumed"], (round + 1) * OBJECTS);
        assert_eq!(status["quarantined"], (round + 1) * OBJECTS);
        assert_eq!(status["objects_new"], 0);
        assert!(roots.run(&["verify", "--lake", roots.lake.to_str().unwrap()]).ok().ends_with(": nothing wrong\n"));
    }
    assert_eq!(roots.compact_one(&[]).objects, 0);
    // Each value, too: as one undisturbed run gives it, but for the digits that a promotion of stored doubles gives.
    let mut found = roots.export("s");
    found.sort_by_key(|record| record["id"].as_u64());
    for (id, record) in found.iter().enumerate() {
        let raw = &records(id / (OBJECTS * RECORDS), id / RECORDS % OBJECTS)[id % RECORDS];
        for key in ["kind", "at"] {
            assert_eq!(record[key], raw[key], "{id}");
        }
        let amount = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let digits = amount(&record["amount"]);
        assert_eq!(digits.strip_suffix(".0").unwrap_or(&digits), amount(&raw["amount"]), "{id}");
        assert_eq!(record["nested"]["flag"], raw["nested"]["flag"], "{id}");
        assert_eq!(record["nested"]["new"], raw["nested"]["new"], "{id}");
    }
    killed
}

/// The same files, by links.
pub(crate) fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    for path in files_below(from) {
        std::fs::create_dir_all(to.join(&path).parent().unwrap()).unwrap();
        // Links: the identity of a raw file, its inode, stays.
        std::fs::hard_link(from.join(&path), to.join(&path)).unwrap();
    }
}

#[test]
fn what_a_dead_run_left_behind_does_not_matter() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1}"#);
    roots.compact_one(&["--partition-by", "none"]);
    let table = roots.lake.join("s");
    for leftover in [
        // Staged files of the local store.
        "_delta_log/00000000000000000001.json#1",
        "_siltstone/ledger/0000000002000001.json#1",
        "_siltstone/ledger/0000000002000001-0.parquet#2",
        "dead-0-00000.zstd.parquet#1",
        // Of Delta writers that rename.
        "_delta_log/_commit_0d0c1d3e-9c2f-4d6e-8f0a-000000000000.json.tmp",
        "_delta_log/.00000000000000000001.json.crc",
        // Whole objects that no version names.
        "_siltstone/ledger/0000000002abcdef.json",
        "_siltstone/ledger/0000000002abcdef-0.parquet",
        "_siltstone/schema/0000000002abcdef.json",
        "_siltstone/quarantine/dead.parquet",
        "dead-0-00001.zstd.parquet",
        "dead_day=2025-01-01/dead-0-00000.zstd.parquet",
    ] {
        write(&table.join(leftover), "half a");
    }
    assert_eq!(roots.compact_one(&[]).objects, 0);
    roots.put("s/b.json", r#"{"id":"x"}"#);
    let report = roots.compact_one(&[]);
    assert_eq!((report.success_count, report.version), (1, Some(1)));
    assert_eq!(roots.export_lines("s"), [r#"{"id":"1"}"#, r#"{"id":"x"}"#]);
    assert_eq!(roots.sql("select count(*) as n from lake.s"), [json!({"n": 2})]);
    assert_eq!(roots.compact_one(&[]).objects, 0);
}
