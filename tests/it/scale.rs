//! Runs over very many raw objects: what was consumed before costs its listing and no memory.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use siltstone::raw::list_objects;
use siltstone::store::Location;

use super::support::{Roots, measured, write};

/// Stores objects of one record, one for each number, `in_folder` to a folder, which lie in folders of a hundred.
fn put_objects(roots: &Roots, numbers: impl Iterator<Item = usize>, in_folder: usize) {
    let mut last = None;
    for n in numbers {
        let folder = n / in_folder;
        let path = roots.raw.join(format!("s/{:04}/{folder:06}", folder / 100));
        if last.replace(folder) != Some(folder) {
            std::fs::create_dir_all(&path).unwrap();
        }
        let record = format!(r#"{{"id":{n},"name":"n{}","value":{}.5}}"#, n % 97, n / 3);
        std::fs::write(path.join(format!("request-{n:07}.json")), record).unwrap();
    }
}

fn first_source(report: &str) -> Value {
    serde_json::from_str::<Value>(report).unwrap()["sources"][0].clone()
}

#[test]
fn a_run_finds_what_is_new_among_many_objects_that_were_consumed() {
    let roots = Roots::new();
    put_objects(&roots, 0..20_000, 500);
    let plan = || first_source(&roots.run_here(&["plan", "--output", "json"]).ok());
    assert_eq!(roots.compact_one(&["--partition-by", "none"]).objects, 20_000);
    assert_eq!(roots.compact_one(&[]).objects, 0);
    assert_eq!(plan()["objects"], 0);
    // Between, before and behind them.
    for (id, key) in [(-1, "0000/000003/request-0001700+.json"), (-2, "!.json"), (-3, "zz/a.json"), (-4, "0000.json")] {
        roots.put(&format!("s/{key}"), format!(r#"{{"id":{id}}}"#));
    }
    write(&roots.raw.join("s/0000/000007/request-0003777.json"), r#"{"id":-5}"#);
    std::fs::remove_file(roots.raw.join("s/0000/000009/request-0004501.json")).unwrap();
    let status = roots.status("s");
    assert_eq!([&status["objects_new"], &status["objects_overwritten"]], [4, 1]);
    assert_eq!(plan()["objects"], 4);
    let report = roots.compact_one(&[]);
    assert_eq!(report.objects, 4);
    let changed = "0000/000007/request-0003777.json changed after it was consumed; its old rows stay";
    assert_eq!(report.notes, [changed]);
    assert_eq!(
        roots.sql("SELECT count(*) AS n, min(id) AS low FROM lake.s")[0],
        serde_json::json!({"n": 20_004, "low": -4})
    );
    assert_eq!(roots.status("s")["objects_new"], 0);
}

/// Lists a source as a run does, and does nothing with what it finds. How many objects, and how long it took.
fn list(source: &Path) -> (usize, Duration) {
    let source = Location::parse(source.to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let began = Instant::now();
    let count = runtime.block_on(async {
        let mut listing = list_objects(&source).unwrap();
        let mut count = 0;
        while let Some(batch) = listing.next().await.unwrap() {
            count += batch.len();
        }
        count
    });
    (count, began.elapsed())
}

/// Compacts a million objects in `runs` runs, then runs again. Prints what it measured and checks it against the limits.
fn measure_a_run_without_news(in_folder: usize, runs: usize) {
    const COUNT: usize = 1_000_000;
    let roots = Roots::new();
    let compact = || measured(roots.command_here(&["compact", "--partition-by", "none", "--output", "json"]));
    let (mut first, mut first_mib) = (Duration::ZERO, 0);
    for run in 0..runs {
        // Those of one run lie between those of the others.
        put_objects(&roots, (run..COUNT).step_by(runs), in_folder);
        let (ran, took, mib) = compact();
        assert_eq!(first_source(&ran.ok())["objects"], COUNT / runs);
        (first, first_mib) = (first + took, mib.max(first_mib));
    }
    let (mut listing, mut run, mut run_mib) = (Duration::MAX, Duration::MAX, 0);
    // The shortest of several: other work of the machine only makes them longer.
    for _ in 0..5 {
        let (listed, took) = list(&roots.raw.join("s"));
        assert_eq!(listed, COUNT);
        listing = listing.min(took);
        let (ran, took, mib) = compact();
        assert_eq!(first_source(&ran.ok())["objects"], 0);
        run = run.min(took);
        run_mib = run_mib.max(mib);
    }
    let ratio = run.as_secs_f64() / listing.as_secs_f64();
    let text = format!(
        "{COUNT} objects, {in_folder} to a folder: consumed by {runs} runs in {first:.1?} with {first_mib} MiB; \
         nothing new: {run:.2?} with {run_mib} MiB, listing {listing:.2?}, ratio {ratio:.2}"
    );
    eprintln!("{text}");
    assert!(ratio <= 1.5 && run_mib <= 256, "{text}");
}

#[test]
#[ignore = "a million files, minutes; for release builds"]
fn a_million_consumed_objects_in_one_folder_cost_their_listing() {
    measure_a_run_without_news(1_000_000, 1);
}

#[test]
#[ignore = "a million files, minutes; for release builds"]
fn a_million_consumed_objects_in_many_folders_cost_their_listing() {
    measure_a_run_without_news(20, 1);
}

#[test]
#[ignore = "a million files, minutes; for release builds"]
fn a_million_objects_consumed_by_many_runs_cost_their_listing() {
    // Eight of the segments become one; it and the others are read together.
    measure_a_run_without_news(1_000, 20);
}
