//! Vacuum deletes what no retained version, head or writer at work needs, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use siltstone::clock::{Clock, SystemClock};
use siltstone::compact::{Progress, Report, Request, Silent, Status, compact};
use siltstone::config::Config;
use siltstone::maintain::{OptimizeRequest, Vacuumed, optimize, vacuum};
use siltstone::store::Location;

use super::fake_s3::{Condition, FakeS3};
use super::support::{Numbers, Roots, files_below, write};

const DAY_MICROS: i64 = 86_400_000_000;

/// A clock that is wrong by so many days.
#[derive(Debug)]
struct Shifted(i64);

impl Clock for Shifted {
    fn now_micros(&self) -> i64 {
        SystemClock.now_micros() + self.0 * DAY_MICROS
    }

    fn new_id(&self) -> String {
        SystemClock.new_id()
    }

    fn random_bits(&self) -> u64 {
        SystemClock.random_bits()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

fn location(path: &Path) -> Location {
    Location::parse(path.to_str().unwrap()).unwrap()
}

/// A vacuum of `s` so many days from now.
fn vacuum_in(roots: &Roots, days: i64, hours: u32, dry_run: bool) -> Vacuumed {
    let table = location(&roots.lake).folder("s").unwrap();
    block_on(vacuum(&table, hours, dry_run, &Shifted(days))).unwrap()
}

/// Compacts by the library.
fn compact_with(roots: &Roots, clock: &dyn Clock, progress: &dyn Progress) -> Report {
    let request = Request {
        raw: location(&roots.raw),
        lake: location(&roots.lake),
        sources: Vec::new(),
        partition_by: None,
        config: Config::default(),
        threads: 2,
    };
    block_on(compact(&request, clock, progress)).unwrap()
}

/// Makes all files of the lake so many days older.
fn age(roots: &Roots, days: u64) {
    for path in files_below(&roots.lake) {
        age_file(&roots.lake.join(path), days);
    }
}

fn age_file(path: &Path, days: u64) {
    let at = SystemTime::now() - Duration::from_secs(days * 86_400);
    std::fs::File::options().append(true).open(path).unwrap().set_modified(at).unwrap();
}

fn tables_files(roots: &Roots) -> BTreeSet<String> {
    files_below(&roots.lake.join("s")).into_iter().collect()
}

fn lake(roots: &Roots) -> &str {
    roots.lake.to_str().unwrap()
}

#[track_caller]
fn assert_sound(roots: &Roots) {
    let verified = roots.run(&["verify", "s", "--lake", lake(roots)]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
}

fn records(run: usize) -> String {
    (0..4)
        .map(|n| format!("{}\n", json!({"id": run * 10 + n, "v": "1.5"})).replace("\"1.5\"", "1.50"))
        .collect::<String>()
        + "malformed\n"
}

/// A table of five runs, merged, promoted, with rejects.
fn with_a_past() -> Roots {
    let roots = Roots::new();
    for run in 0..4 {
        roots.put(&format!("s/{run}.json"), records(run));
        roots.compact_one(&["--partition-by", "none"]);
    }
    roots.run(&["optimize", "--lake", lake(&roots)]).ok();
    roots.put("s/8.json", "{\"id\":80,\"v\":\"x\"}\n");
    roots.compact_one(&[]);
    roots
}

#[test]
fn versions_within_the_retention_keep_all_they_need_and_nothing_is_deleted() {
    let roots = with_a_past();
    let before = tables_files(&roots);
    for hours in [24, 168] {
        let done = vacuum_in(&roots, 0, hours, false);
        assert_eq!((done.data_files, done.hidden_objects, done.uploads), (0, 0, 0), "{done:?}");
    }
    // Seven days less an hour later, too.
    vacuum_in(&roots, 6, 168, false);
    assert_eq!(tables_files(&roots), before);
}

#[test]
fn what_only_older_versions_need_goes_and_the_table_stays_whole() {
    let roots = with_a_past();
    let (rows, rejects) = (roots.export_lines("s"), roots.sql("select * from quarantine.s order by key"));
    let before = tables_files(&roots);
    let dry = vacuum_in(&roots, 8, 168, true);
    assert!(dry.dry_run && dry.data_files == 5 && dry.hidden_objects > 4, "{dry:?}");
    assert_eq!(tables_files(&roots), before, "a dry run deletes nothing");
    let done = vacuum_in(&roots, 8, 168, false);
    assert_eq!(Vacuumed { dry_run: true, ..done.clone() }, dry);
    let after = tables_files(&roots);
    let gone: BTreeSet<String> = before.difference(&after).cloned().collect();
    assert_eq!(gone, done.paths.iter().cloned().collect());
    assert!(after.iter().filter(|path| path.ends_with(".zstd.parquet")).count() == roots.files("s").len());
    assert_eq!(after.iter().filter(|path| path.contains("_siltstone/ledger/") && path.ends_with(".json")).count(), 1);
    assert_eq!(after.iter().filter(|path| path.contains("_siltstone/schema/")).count(), 1);
    assert_eq!((roots.export_lines("s"), roots.sql("select * from quarantine.s order by key")), (rows, rejects));
    assert_sound(&roots);
    assert_eq!(vacuum_in(&roots, 8, 168, false).paths, Vec::<String>::new());
    // The table goes on, and the origins of merged rows are known.
    roots.put("s/9.json", r#"{"id":90,"v":{"a":1}}"#);
    let report = roots.compact_one(&[]);
    assert!(report.notes.iter().any(|note| note.contains("from their raw objects")), "{report:?}");
    let exact = roots.export_lines("s").iter().filter(|line| line.contains(r#""v":1.50"#)).count();
    assert_eq!(exact, 16);
    roots.run(&["optimize", "--lake", lake(&roots)]).ok();
    assert_sound(&roots);
    assert_eq!(roots.export("s").len(), 18);
}

/// The files that each version of the log has, by the entries.
fn files_of_versions(roots: &Roots) -> Vec<BTreeSet<String>> {
    let log = roots.lake.join("s/_delta_log");
    let mut versions: Vec<BTreeSet<String>> = Vec::new();
    for entry in files_below(&log).into_iter().filter(|name| name.len() == 25 && name.ends_with(".json")) {
        let mut files = versions.last().cloned().unwrap_or_default();
        for line in std::fs::read_to_string(log.join(entry)).unwrap().lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            files.extend(action["add"]["path"].as_str().map(str::to_owned));
            files.retain(|path| action["remove"]["path"] != **path);
        }
        versions.push(files);
    }
    versions
}

#[test]
fn the_version_that_was_current_when_the_retention_began_can_still_be_read() {
    let roots = Roots::new();
    // Ten days ago: versions 0 to 3, each of which promotes what was there.
    let values = ["1.50", "\"x\"", "[1]", "true", "{}"];
    for (run, value) in values.iter().enumerate() {
        roots.put(&format!("s/{run}.json"), format!("{{\"id\":{run},\"v\":{value}}}\n"));
        if run < 4 {
            let report = compact_with(&roots, &Shifted(-10), &Silent);
            assert_eq!(report.status, Status::Success);
            age(&roots, 10);
        }
    }
    // Today.
    roots.run(&["optimize", "--lake", lake(&roots)]).ok();
    roots.compact_one(&[]);
    let versions = files_of_versions(&roots);
    assert_eq!(versions.len(), 6);
    let ran = roots.run(&["vacuum", "s", "--lake", lake(&roots)]).ok();
    assert!(ran.starts_with("s: deleted 3 data files"), "{ran}");
    let there = tables_files(&roots);
    for (version, files) in versions.iter().enumerate() {
        // Version 3 has all files of version 2.
        assert_eq!(files.is_subset(&there), version >= 2, "version {version}");
    }
    let heads = there.iter().filter(|path| path.contains("/ledger/") && path.ends_with(".json")).count();
    assert_eq!(heads, 2, "that of version 3, and the last");
    assert_sound(&roots);
    assert_eq!(roots.exported_ids("s"), [0, 1, 2, 3, 4]);
}

#[test]
fn what_dead_runs_left_goes_and_what_is_not_ours_stays() {
    let roots = with_a_past();
    let table = roots.lake.join("s");
    let ours = [
        "_delta_log/00000000000000000099.json#1",
        "_siltstone/ledger/0000000002000001.json#1",
        "dead-0-00000.zstd.parquet#12",
        "_siltstone/ledger/0000000002abcdef.json",
        "_siltstone/ledger/0000000002abcdef-0.parquet",
        "_siltstone/schema/0000000002abcdef.json",
        "_siltstone/quarantine/dead.parquet",
        "_siltstone/origins/dead.parquet",
        "_siltstone/scratch/dead/piece.parquet",
        "dead-0-00001.zstd.parquet",
        "dead_day=2025-01-01/dead-0-00000.zstd.parquet",
    ];
    let others = [
        "README.md",
        "_delta_log/_commit_0d0c.json.tmp",
        "_change_data/a.parquet",
        "_symlink_format_manifest/manifest",
        ".x/y.parquet",
        "z#a",
    ];
    let before = tables_files(&roots);
    for path in ours.iter().chain(&others) {
        write(&table.join(path), "left");
    }
    assert_eq!(vacuum_in(&roots, 0, 24, false).paths, Vec::<String>::new(), "they may be of a writer at work");
    ours.iter().chain(&others).for_each(|path| age_file(&table.join(path), 2));
    let json =
        roots.run(&["vacuum", "s", "--retention", "1d", "--dry-run", "--output", "json", "--lake", lake(&roots)]).ok();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["sources"][0]["uploads"], &json["sources"][0]["hidden_objects"]), (&json!(3), &json!(6)));
    let text = roots.run(&["vacuum", "--retention", "24h", "--dry-run", "--lake", lake(&roots)]).ok();
    assert!(
        text.starts_with("s: would delete 2 data files") && text.contains("\n  dead-0-00001.zstd.parquet\n"),
        "{text}"
    );
    let text = roots.run(&["vacuum", "--retention", "24h", "--lake", lake(&roots)]).ok();
    assert!(text.starts_with("s: deleted 2 data files"), "{text}");
    let mut expected = before;
    expected.extend(others.map(str::to_owned));
    assert_eq!(tables_files(&roots), expected);
    assert_sound(&roots);
}

/// Does something before the commit.
struct Before<F>(F);

impl<F: Fn() + Send + Sync> Progress for Before<F> {
    fn source_begins(&self, _: &str, _: u64, _: u64, _: Arc<AtomicU64>) {}

    fn source_ends(&self, _: &str) {
        (self.0)();
    }
}

#[test]
fn files_of_a_writer_at_work_are_spared() {
    let roots = with_a_past();
    roots.put("s/9.json", records(9));
    let sweep = || drop(roots.run(&["vacuum", "--retention", "24h", "--lake", lake(&roots)]).ok());
    let report = compact_with(&roots, &SystemClock, &Before(sweep));
    assert_eq!(report.sources[0].success_count, 4);
    assert_sound(&roots);
    assert_eq!(roots.export("s").len(), 21);
}

/// A clock that goes on by thirteen hours with each look.
#[derive(Debug)]
struct Slow(AtomicI64);

impl Clock for Slow {
    fn now_micros(&self) -> i64 {
        self.0.fetch_add(13 * 3_600_000_000, Ordering::Relaxed)
    }

    fn new_id(&self) -> String {
        SystemClock.new_id()
    }

    fn random_bits(&self) -> u64 {
        SystemClock.random_bits()
    }
}

#[test]
fn a_run_so_long_that_its_files_were_swept_commits_nothing() {
    let roots = with_a_past();
    let (files, version) = (roots.files("s"), roots.status("s")["version"].clone());
    roots.put("s/9.json", records(9));
    let known: BTreeSet<String> = tables_files(&roots);
    let sweep = || {
        let new: Vec<String> = tables_files(&roots).difference(&known).cloned().collect();
        for path in new.iter().filter(|path| path.ends_with(".zstd.parquet")) {
            std::fs::remove_file(roots.lake.join("s").join(path)).unwrap();
        }
    };
    let slow = Slow(AtomicI64::new(SystemClock.now_micros()));
    let report = compact_with(&roots, &slow, &Before(sweep));
    let error = report.sources[0].error.clone().unwrap();
    assert!(error.contains("was deleted while the run was at work"), "{error}");
    assert_eq!((roots.files("s"), roots.status("s")["version"].clone()), (files, version));
    assert_eq!(roots.compact_one(&[]).success_count, 4);
    assert_sound(&roots);
}

/// A slow clock; with each look at it, what was merged is gone.
#[derive(Debug)]
struct Sweeping(Slow, std::path::PathBuf);

impl Clock for Sweeping {
    fn now_micros(&self) -> i64 {
        for path in files_below(&self.1).into_iter().filter(|path| path.contains("merged-")) {
            std::fs::remove_file(self.1.join(path)).unwrap();
        }
        self.0.now_micros()
    }

    fn new_id(&self) -> String {
        SystemClock.new_id()
    }

    fn random_bits(&self) -> u64 {
        SystemClock.random_bits()
    }
}

#[test]
fn an_optimize_so_long_that_its_files_were_swept_commits_nothing() {
    let roots = Roots::new();
    for run in 0..3 {
        roots.put(&format!("s/{run}.json"), records(run));
        compact_with(&roots, &SystemClock, &Silent);
    }
    let (files, rows) = (roots.files("s"), roots.export_lines("s"));
    let clock = Sweeping(Slow(AtomicI64::new(SystemClock.now_micros())), roots.lake.clone());
    let request = OptimizeRequest {
        lake: Location::parse(lake(&roots)).unwrap(),
        sources: vec!["s".to_owned()],
        config: Config::default(),
        threads: 1,
        dedup: false,
    };
    let done = block_on(optimize(&request, &clock)).unwrap();
    let error = done.sources[0].error.clone().unwrap();
    assert!(error.contains("was deleted while the run was at work"), "{error}");
    assert_eq!((roots.files("s"), roots.export_lines("s")), (files, rows));
    assert_sound(&roots);
}

#[test]
fn killed_at_any_moment_a_vacuum_leaves_a_sound_table() {
    let mut numbers = Numbers(11);
    for _ in 0..8 {
        let roots = Roots::new();
        roots.put("s/0.json", records(0));
        compact_with(&roots, &Shifted(-10), &Silent);
        roots.put("s/1.json", "{\"id\":11,\"v\":\"x\"}\n");
        compact_with(&roots, &Shifted(-10), &Silent);
        age(&roots, 10);
        let mut child =
            roots.command(&["vacuum", "--lake", lake(&roots)]).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(numbers.below(80_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(roots.export("s").len(), 5);
        assert_sound(&roots);
        roots.run(&["vacuum", "--lake", lake(&roots)]).ok();
        let left = tables_files(&roots);
        assert_eq!(left.iter().filter(|path| path.ends_with(".zstd.parquet")).count(), 2);
        assert_sound(&roots);
    }
}

#[test]
fn what_killed_runs_and_optimizes_leave_is_swept() {
    let mut numbers = Numbers(5);
    let roots = Roots::new();
    for run in 0..12 {
        roots.put(&format!("s/{run:02}.json"), records(run));
        for command in [["compact", "--raw", roots.raw.to_str().unwrap()].as_slice(), &["optimize"]] {
            let mut child = roots.command(command);
            let mut child = child
                .args(["--lake", lake(&roots)])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_micros(numbers.below(120_000)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    roots.compact_one(&[]);
    let rows = roots.export_lines("s");
    assert_eq!(rows.len(), 48);
    age(&roots, 9);
    vacuum_in(&roots, 9, 24, false);
    let left = tables_files(&roots);
    let data = left.iter().filter(|path| !path.starts_with('_')).count();
    assert_eq!(data, roots.files("s").len());
    assert!(!left.iter().any(|path| path.contains("/scratch/") || path.contains('#')), "{left:?}");
    assert_eq!(roots.export_lines("s"), rows);
    assert_sound(&roots);
    // What is left is needed: without any of it, something is missed.
    assert!(left.iter().filter(|path| path.starts_with("_siltstone/origins")).count() <= data);
}

#[test]
fn a_retention_of_less_than_a_day_is_refused_and_so_is_a_folder_without_a_table() {
    let roots = with_a_past();
    for wrong in ["23h", "0d", "x", "7", "-1d"] {
        let message = roots.run(&["vacuum", "--retention", wrong, "--lake", lake(&roots)]);
        assert_eq!(message.code, 2, "{wrong}: {}", message.stderr);
    }
    std::fs::write(roots.dir.path().join("siltstone.toml"), "defaults.retention = \"1h\"\n").unwrap();
    assert!(roots.run(&["vacuum", "--lake", lake(&roots)]).failed(2).contains("retention of source s is wrong"));
    std::fs::write(roots.dir.path().join("siltstone.toml"), "defaults.retention = \"2d\"\n").unwrap();
    let done = roots.run(&["vacuum", "--lake", lake(&roots)]).ok();
    assert!(done.ends_with("younger than 48 hours\n"), "{done}");
    write(&roots.lake.join("t/old.zstd.parquet"), "the log is lost");
    age_file(&roots.lake.join("t/old.zstd.parquet"), 100);
    assert!(roots.run(&["vacuum", "t", "--lake", lake(&roots)]).failed(1).contains("nothing is deleted"));
    roots.run(&["vacuum", "--lake", lake(&roots)]).ok();
    assert!(roots.lake.join("t/old.zstd.parquet").exists());
}

#[test]
fn uploads_to_s3_that_were_never_finished_are_given_up() {
    let server = FakeS3::start(Condition::Honoured, |_, _, _| None);
    let roots = Roots::new();
    server.put("raw/s/a.json", "{\"id\":1}");
    server.run(&roots, &["compact", "--raw", "s3://bucket/raw", "--lake", "s3://bucket/lake"]).ok();
    let vacuum = |args: &[&str]| {
        let ran =
            server.run(&roots, &[&["vacuum", "s", "--lake", "s3://bucket/lake", "--output", "json"], args].concat());
        let mut all: Value = serde_json::from_str(&ran.ok()).unwrap();
        all["sources"][0].take()
    };
    // A policy may not allow to list them; all else is done.
    let refused = vacuum(&[]);
    assert!(refused["uploads_left"].as_str().unwrap().contains("403 Forbidden AccessDenied"), "{refused}");
    let text = server.run(&roots, &["vacuum", "s", "--lake", "s3://bucket/lake"]).ok();
    assert!(text.contains("a lifecycle rule AbortIncompleteMultipartUpload ends them"), "{text}");
    let now = chrono::Utc::now();
    let at = |hours: i64| (now - chrono::TimeDelta::hours(hours)).format("%Y-%m-%dT%H:%M:%S.000Z").to_string();
    let (old, young) = (at(25), at(23));
    let uploads = [
        ("lake/s/_delta_log/x.json", "log", &*old),
        ("lake/s/_siltstone/quarantine/b.parquet", "hidden", &old),
        ("lake/s/k=a & b/1.zstd.parquet", "old", &old),
        ("lake/s/k=a & b/1.zstd.parquet", "young", &young),
        ("lake/s/k=a/2.zstd.parquet", "older", &old),
        ("lake/s2/k=a/3.zstd.parquet", "other", &old),
        ("raw/s/b.json", "raw", &old),
    ];
    server.set_uploads(&uploads);
    let dry = vacuum(&["--retention", "1d", "--dry-run"]);
    let paths = ["_siltstone/quarantine/b.parquet", "k=a & b/1.zstd.parquet", "k=a/2.zstd.parquet"];
    assert_eq!((&dry["uploads"], &dry["paths"]), (&json!(3), &json!(paths)));
    assert_eq!(server.uploads().len(), 7);
    assert_eq!(vacuum(&["--retention", "1d"])["uploads"], 3);
    assert_eq!(server.uploads(), ["log", "young", "other", "raw"]);
    assert_eq!(vacuum(&["--retention", "1d"])["uploads"], 0);
}
