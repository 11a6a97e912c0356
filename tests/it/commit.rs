//! The commit: races of two runs, commits of others in between, objects that change under the run, long ledgers.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde_json::{Value, json};
use siltstone::clock::SystemClock;
use siltstone::compact::{Progress, Report, Request, SourceReport, Status, compact};
use siltstone::config::Config;
use siltstone::lake::{Change, Outcome, Table};
use siltstone::partition::Partitioning;
use siltstone::store::Location;

use super::support::{Ran, Roots, files_below, write};

/// Does something to the world at two moments of a run.
struct Meddler<B, E> {
    /// After the objects were listed, before they are read.
    begins: B,
    /// After the files were written, before the commit. It is given the number of the attempt, from 0.
    ends: E,
    attempts: AtomicUsize,
}

impl<B: Fn() + Send + Sync, E: Fn(usize) + Send + Sync> Progress for Meddler<B, E> {
    fn source_begins(&self, _: &str, _: u64, _: u64, _: Arc<AtomicU64>) {
        (self.begins)();
    }

    fn source_ends(&self, _: &str) {
        (self.ends)(self.attempts.fetch_add(1, Ordering::Relaxed));
    }
}

/// Compacts by the library, meddled with.
fn meddled(roots: &Roots, begins: impl Fn() + Send + Sync, ends: impl Fn(usize) + Send + Sync) -> Report {
    let location = |path: &PathBuf| Location::parse(path.to_str().unwrap()).unwrap();
    let request = Request {
        raw: location(&roots.raw),
        lake: location(&roots.lake),
        sources: Vec::new(),
        partition_by: None,
        config: Config::default(),
        threads: 2,
    };
    let meddler = Meddler { begins, ends, attempts: AtomicUsize::new(0) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(compact(&request, &SystemClock, &meddler)).unwrap()
}

fn only_source(report: Report) -> SourceReport {
    report.sources.into_iter().next().unwrap()
}

/// Puts `count` objects of ten records each, the first being number `first`.
fn put_objects(roots: &Roots, first: u64, count: u64) {
    for object in first..first + count {
        let records: Vec<Value> = (0..10).map(|n| json!({"id": object * 10 + n, "v": object})).collect();
        roots.put_lines(&format!("s/{object:03}.json"), &records);
    }
}

/// Asserts that the table holds each of the ids from 0 once, and that the disk holds no data file beside its files.
fn assert_each_once(roots: &Roots, ids: u64) {
    assert_eq!(roots.exported_ids("s"), (0..ids as i64).collect::<Vec<_>>());
    let status = roots.status("s");
    assert_eq!((status["rows"].as_u64(), status["objects_new"].as_u64()), (Some(ids), Some(0)));
    let data_files = files_below(&roots.lake.join("s")).into_iter().filter(|path| !path.starts_with('_')).count();
    assert_eq!(status["files"], data_files);
}

#[test]
fn of_two_runs_at_once_each_object_goes_to_one() {
    let roots = Roots::new();
    let mut both_worked = 0;
    for round in 0..6 {
        put_objects(&roots, round * 20, 20);
        let reports: Vec<SourceReport> = std::thread::scope(|scope| {
            let run = || Ran::of(&mut roots.command_here(&["compact", "--output", "json"]));
            let runs = [scope.spawn(run), scope.spawn(run)];
            runs.map(|run| only_source(serde_json::from_str(&run.join().unwrap().ok()).unwrap())).into()
        });
        assert_eq!(reports.iter().map(|report| report.success_count).sum::<u64>(), 200, "{reports:?}");
        assert_eq!(reports.iter().map(|report| report.objects).sum::<u64>(), 20);
        both_worked += usize::from(reports.iter().all(|report| report.objects > 0));
        assert_each_once(&roots, (round + 1) * 200);
    }
    // One wins and takes all, or each took what was new when it looked.
    assert!(both_worked <= 6);
}

#[test]
fn of_eight_runs_at_once_each_object_goes_to_one_and_none_fails_silently() {
    let roots = Roots::new();
    for round in 0..3 {
        put_objects(&roots, round * 40, 40);
        let ran: Vec<Ran> = std::thread::scope(|scope| {
            let run = || Ran::of(&mut roots.command_here(&["compact", "--threads", "1", "--output", "json"]));
            let runs: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert_all_told(&ran, 40);
        assert_each_once(&roots, (round + 1) * 400);
        assert!(roots.run(&["verify", "--lake", roots.lake.to_str().unwrap()]).ok().ends_with(": nothing wrong\n"));
    }
}

/// Asserts of runs at once that they took `objects` of ten records, each once, and that whoever failed said why.
pub(crate) fn assert_all_told(ran: &[Ran], objects: u64) {
    let mut taken = 0;
    for ran in ran {
        let report: Report = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
        let source = only_source(report);
        assert_eq!(ran.code == 0, source.error.is_none(), "{ran:?}");
        if let Some(error) = &source.error {
            assert!(error.contains("other writers were first") && ran.stderr.contains(error.as_str()), "{ran:?}");
        }
        assert_eq!(source.success_count, source.objects * 10, "{ran:?}");
        taken += source.objects;
    }
    assert_eq!(taken, objects, "{ran:?}");
}

#[test]
fn a_run_that_lost_the_race_plans_again_and_takes_only_what_is_left() {
    let roots = Roots::new();
    put_objects(&roots, 0, 4);
    let report = only_source(meddled(
        &roots,
        || {},
        |attempt| {
            if attempt == 0 {
                // Another run takes all, and then something new comes.
                assert_eq!(roots.compact_one(&[]).success_count, 40);
                put_objects(&roots, 4, 1);
            }
        },
    ));
    assert_eq!((report.status, report.objects, report.success_count), (Status::Success, 1, 10));
    assert_eq!(report.version, Some(1));
    assert_each_once(&roots, 50);
}

#[test]
fn a_run_that_lost_the_race_for_everything_has_nothing_to_do() {
    let roots = Roots::new();
    put_objects(&roots, 0, 4);
    let report = only_source(meddled(&roots, || {}, |_| drop(roots.compact_one(&[]))));
    assert_eq!((report.status, report.objects, report.version), (Status::Success, 0, Some(0)));
    assert_each_once(&roots, 40);
}

#[test]
fn a_run_that_lost_the_race_to_a_promotion_takes_the_wider_columns() {
    let roots = Roots::new();
    put_objects(&roots, 0, 1);
    roots.compact_one(&[]);
    put_objects(&roots, 1, 1);
    let wide = r#"{"id":20,"v":"x"}"#;
    let report = only_source(meddled(
        &roots,
        || {},
        |attempt| {
            if attempt == 0 {
                // Out of the first run's sight, which listed before.
                let other = Roots::new();
                other.put("s/wide.json", wide);
                let ran = roots.run(&[
                    "compact",
                    "--output",
                    "json",
                    "--lake",
                    roots.lake.to_str().unwrap(),
                    "--raw",
                    other.raw.to_str().unwrap(),
                ]);
                assert!(ran.ok().contains("~ v bigint -> string"));
            }
        },
    ));
    assert_eq!((report.success_count, report.version), (10, Some(2)));
    let values: Vec<Value> = roots.export("s").into_iter().map(|mut record| record["v"].take()).collect();
    assert_eq!(values.iter().filter(|value| value.is_string()).count(), 21);
    assert_eq!(roots.exported_ids("s"), (0..21).collect::<Vec<_>>());
}

#[test]
fn a_commit_of_another_writer_in_between_is_kept_and_the_run_follows_it() {
    for meddle_at in ["before", "between"] {
        let roots = Roots::new();
        put_objects(&roots, 0, 3);
        roots.compact_one(&[]);
        put_objects(&roots, 3, 2);
        let foreign =
            r#"{"commitInfo":{"timestamp":1700000000000,"operation":"OPTIMIZE","engineInfo":"someone else"}}"#;
        let commit = || write(&roots.lake.join("s/_delta_log/00000000000000000001.json"), format!("{foreign}\n"));
        if meddle_at == "before" {
            commit();
        }
        let report = only_source(meddled(
            &roots,
            || {},
            |attempt| {
                if attempt == 0 && meddle_at == "between" {
                    commit();
                }
            },
        ));
        assert_eq!((report.success_count, report.version), (20, Some(2)), "{meddle_at}");
        assert_each_once(&roots, 50);
        let kept = std::fs::read_to_string(roots.lake.join("s/_delta_log/00000000000000000001.json")).unwrap();
        assert!(kept.contains("someone else"));
    }
}

#[test]
fn an_object_that_vanishes_or_changes_under_the_run_is_left_for_another() {
    let roots = Roots::new();
    put_objects(&roots, 0, 6);
    let report = only_source(meddled(
        &roots,
        || {
            std::fs::remove_file(roots.raw.join("s/001.json")).unwrap();
            std::fs::remove_file(roots.raw.join("s/005.json")).unwrap();
            std::fs::create_dir(roots.raw.join("s/005.json")).unwrap();
            roots.put("s/003.json", r#"{"id":30}"#);
        },
        |_| {},
    ));
    assert_eq!((report.status, report.objects, report.success_count), (Status::PartialSuccess, 3, 30));
    for key in ["001.json", "003.json", "005.json"] {
        let told = report.notes.iter().any(|note| note.starts_with(&format!("{key} could not be read")));
        assert!(told, "{key}: {report:?}");
    }
    let left = roots.compact_one(&[]);
    assert_eq!((left.status, left.objects, left.success_count), (Status::Success, 1, 1));
    assert_eq!(roots.exported_ids("s").len(), 31);
}

#[test]
fn many_objects_may_vanish_under_the_run() {
    let roots = Roots::new();
    put_objects(&roots, 0, 150);
    let vanish = || {
        (0..150).filter(|n| n % 3 > 0).for_each(|n| {
            std::fs::remove_file(roots.raw.join(format!("s/{n:03}.json"))).unwrap();
        });
    };
    let report = only_source(meddled(&roots, vanish, |_| {}));
    assert_eq!((report.status, report.objects, report.success_count), (Status::PartialSuccess, 50, 500));
    assert_eq!(report.notes.iter().filter(|note| note.contains("could not be read")).count(), 100);
}

#[test]
fn objects_that_vanish_are_told_of_although_their_slice_is_done_again() {
    let roots = Roots::new();
    put_objects(&roots, 0, 60);
    // Not among those that a first look sees.
    roots.put("s/041.json", r#"{"id":410,"v":"x"}"#);
    let vanish = || std::fs::remove_file(roots.raw.join("s/002.json")).unwrap();
    let report = only_source(meddled(&roots, vanish, |_| {}));
    assert_eq!((report.status, report.objects), (Status::PartialSuccess, 59));
    assert!(report.notes.iter().any(|note| note.starts_with("002.json could not be read")), "{report:?}");
    assert_eq!(roots.exported_ids("s").len(), 581);
}

#[test]
fn when_no_object_can_be_read_the_run_failed_and_there_is_no_version() {
    let roots = Roots::new();
    put_objects(&roots, 0, 2);
    let vanish =
        || ["000", "001"].iter().for_each(|n| std::fs::remove_file(roots.raw.join(format!("s/{n}.json"))).unwrap());
    let report = meddled(&roots, vanish, |_| {});
    assert_eq!(report.status, Status::Failed);
    let source = only_source(report);
    assert_eq!(source.version, None);
    assert!(source.error.unwrap().contains("none of 2 raw objects could be read; 000.json: "));
    assert!(!roots.lake.join("s/_delta_log").exists());
}

#[test]
fn a_ledger_of_many_runs_is_merged_and_stays_exact() {
    const RUNS: u64 = 30;
    let roots = Roots::new();
    for run in 0..RUNS {
        // Later keys sort before and between earlier ones.
        roots.put(&format!("s/{}.json", (run * 7) % RUNS), json!({"id": run}).to_string());
        let report = roots.compact_one(&[]);
        assert_eq!((report.objects, report.version), (1, Some(run)));
    }
    assert_eq!(roots.compact_one(&[]).objects, 0);
    assert_eq!(roots.exported_ids("s"), (0..RUNS as i64).collect::<Vec<_>>());
    let status = roots.status("s");
    assert_eq!((status["objects_consumed"].as_u64(), status["rows"].as_u64()), (Some(RUNS), Some(RUNS)));
    assert_eq!(status["objects_new"], 0);

    let ledger = roots.lake.join("s/_siltstone/ledger");
    let heads = files_below(&ledger).into_iter().filter(|name| name.ends_with(".json"));
    let heads: Vec<Value> =
        heads.map(|name| serde_json::from_str(&std::fs::read_to_string(ledger.join(name)).unwrap()).unwrap()).collect();
    assert_eq!(heads.len() as u64, RUNS);
    let last = heads.last().unwrap();
    let segments = last["segments"].as_array().unwrap();
    assert!(segments.len() < 16, "{} segments after {RUNS} runs", segments.len());
    assert!(segments.iter().any(|segment| segment["level"] == 1));
    let entries: u64 = segments.iter().map(|segment| segment["entries"].as_u64().unwrap()).sum();
    assert_eq!(entries, RUNS);
    assert_eq!(last["totals"], json!({"objects": RUNS, "records_in": RUNS, "rows_out": RUNS, "quarantined": 0}));
    // A list of heads, like commits with parents.
    for pair in heads.windows(2) {
        assert_eq!(pair[1]["parent"], pair[0]["id"]);
    }
    assert!(roots.lake.join("s/_delta_log/00000000000000000019.checkpoint.parquet").exists());
}

/// A commit that only names a ledger's head.
fn change(ledger_head: i64) -> Change {
    Change {
        run_id: format!("run-{ledger_head}"),
        at_ms: 0,
        fields: None,
        partitioning: Partitioning(Vec::new()),
        add: Vec::new(),
        remove: Vec::new(),
        optimizes_to: None,
        ledger_head,
    }
}

#[test]
fn a_second_commit_follows_the_first_and_takes_no_commit_of_another_writer_in_between_for_known() {
    let roots = Roots::new();
    let folder = Location::parse(roots.lake.join("t").to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut ours = Table::open(folder.clone()).await.unwrap();
        assert_eq!(ours.commit(change(1)).await.unwrap(), Outcome::Committed(0));
        assert_eq!(ours.commit(change(2)).await.unwrap(), Outcome::Committed(1));
        assert_eq!(ours.file_count(1), Some(0));

        let mut other = Table::open(folder).await.unwrap();
        assert_eq!(other.commit(change(3)).await.unwrap(), Outcome::Committed(2));
        assert_eq!(ours.commit(change(4)).await.unwrap(), Outcome::Conflict);
        ours.refresh().await.unwrap();
        assert_eq!(ours.ledger_head().await.unwrap(), Some(3));
        assert_eq!(ours.commit(change(4)).await.unwrap(), Outcome::Committed(3));
    });
}

#[test]
fn checkpoints_are_written_on_the_way_of_many_commits() {
    let roots = Roots::new();
    let folder = Location::parse(roots.lake.join("t").to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut table = Table::open(folder.clone()).await.unwrap();
        for version in 0..42 {
            assert_eq!(table.commit(change(version + 1)).await.unwrap(), Outcome::Committed(version as u64));
        }
        let opened = Table::open(folder).await.unwrap();
        assert_eq!((opened.version(), opened.ledger_head().await.unwrap()), (Some(41), Some(42)));
    });
    let names = files_below(&roots.lake.join("t/_delta_log"));
    let checkpoints = names.iter().filter(|name| name.contains("checkpoint.parquet")).count();
    assert_eq!(checkpoints, 2, "{names:?}");
}
