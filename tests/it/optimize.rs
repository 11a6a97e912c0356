//! Optimize: small files become large ones; rows, time travel, later promotions and other writers are none the worse.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Numbers, Roots, files_below};

/// Merges the small files of `s`: what the summary says.
#[track_caller]
fn optimize(roots: &Roots) -> Value {
    let ran = roots.run(&["optimize", "s", "--output", "json", "--lake", roots.lake.to_str().unwrap()]);
    let report: Value = serde_json::from_str(&ran.ok()).unwrap();
    report["sources"][0].clone()
}

#[track_caller]
fn assert_sound(roots: &Roots) {
    let verified = roots.run(&["verify", "s", "--lake", roots.lake.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
}

/// A record whose columns come and go from run to run; `amount` needs its raw text when it becomes a string.
fn record(run: usize, n: usize) -> Value {
    let mut record = json!({"id": run * 100 + n, "kind": format!("k{}", n % 3), "amount": 1.5, "o": {"a": n}});
    if run.is_multiple_of(2) {
        record["even"] = json!(run);
        record["o"]["even"] = json!([{"x": n}]);
    }
    if run.is_multiple_of(3) {
        record["third"] = json!("2024-01-01T00:00:00+02:00");
        record["l"] = json!([{format!("f{}", run % 4): n}]);
    }
    record
}

/// The raw text of such records, numbers as 1.50.
fn raw_text(run: usize) -> String {
    (0..10).map(|n| format!("{}\n", record(run, n)).replace("1.5", "1.50")).collect()
}

/// A table of ten runs in three partitions.
fn of_ten_runs() -> Roots {
    let roots = Roots::new();
    for run in 0..10 {
        roots.put(&format!("s/{run:02}.json"), raw_text(run));
        roots.compact_one(&["--partition-by", "kind"]);
    }
    roots
}

#[test]
fn small_files_become_one_for_each_partition_with_the_same_rows() {
    let roots = of_ten_runs();
    let (rows, columns) = (roots.export_lines("s"), roots.columns("s"));
    let status = roots.status("s");
    let before = roots.files("s");
    assert_eq!(before.len(), 30);
    let done = optimize(&roots);
    assert_eq!(done["files_merged"], 30);
    assert_eq!(done["files_written"], 3);
    assert_eq!((&done["rows"], &done["commits"], &done["version"]), (&json!(100), &json!(1), &json!(10)));
    assert_eq!((&done["files_before"], &done["files_after"], &done["partitions"]), (&json!(30), &json!(3), &json!(3)));
    let after = roots.files("s");
    assert_eq!(after.len(), 3);
    assert_eq!(after.iter().map(|file| file.size_bytes).sum::<u64>(), done["bytes_written"].as_u64().unwrap());
    assert_eq!((roots.export_lines("s"), roots.columns("s")), (rows.clone(), columns));
    assert_eq!(roots.partition_folders("s"), ["kind_part=k0", "kind_part=k1", "kind_part=k2"]);
    assert_eq!(roots.sql("select count(*) as n from lake.s where kind_part = 'k1'"), [json!({"n": 30})]);
    for same in ["rows", "objects_consumed", "quarantined", "objects_new", "last_run"] {
        assert_eq!(roots.status("s")[same], status[same], "{same}");
    }
    assert_sound(&roots);
    // Of the rows, nothing changed: who follows the table's changes has nothing to do.
    let log = std::fs::read_to_string(roots.lake.join("s/_delta_log/00000000000000000010.json")).unwrap();
    let actions: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for action in ["add", "remove"] {
        let of_kind = actions.iter().filter(|line| !line[action].is_null());
        assert!(of_kind.clone().count() > 0 && of_kind.into_iter().all(|line| line[action]["dataChange"] == false));
    }
    assert!(actions.iter().any(|line| line["commitInfo"]["operation"] == "OPTIMIZE"));
    // Again: all is good.
    let again = optimize(&roots);
    assert_eq!((&again["commits"], &again["files_merged"], &again["files_after"]), (&json!(0), &json!(0), &json!(3)));
    assert_eq!(roots.status("s")["version"], 10);
    // The files of before are there until a vacuum: the version before is as it was.
    assert!(before.iter().all(|file| roots.lake.join("s").join(&file.path).exists()));
    let ran = roots.run(&["optimize", "--lake", roots.lake.to_str().unwrap()]);
    assert_eq!(ran.ok(), "s: nothing to merge, 3 files\n");
    assert_eq!(roots.compact_one(&[]).objects, 0);
}

#[test]
fn a_table_goes_on_after_it_was_optimized() {
    let roots = of_ten_runs();
    optimize(&roots);
    for run in 10..13 {
        roots.put(&format!("s/{run:02}.json"), raw_text(run));
        assert_eq!(roots.compact_one(&[]).success_count, 10);
    }
    let rows = roots.export_lines("s");
    assert_eq!(rows.len(), 130);
    // Merged files are merged again with what came since.
    let done = optimize(&roots);
    assert_eq!((&done["files_merged"], &done["files_written"]), (&json!(12), &json!(3)));
    assert_eq!(roots.export_lines("s"), rows);
    assert_sound(&roots);
}

/// Compacts one more object, which promotes columns, into a table like that of `of_ten_runs` and gives the notes.
fn promote(roots: &Roots) -> String {
    roots.put("s/99.json", r#"{"id":9900,"kind":"k0","amount":"x","third":"y","o":{"a":"z"},"even":"w"}"#);
    let report = roots.compact_one(&[]);
    assert_eq!(report.success_count, 1);
    report.notes.join("\n")
}

/// The rows of such a table in one run.
fn of_one_run(runs: usize) -> Vec<String> {
    let one = Roots::new();
    (0..runs).for_each(|run| one.put(&format!("s/{run:02}.json"), raw_text(run)));
    one.put("s/99.json", r#"{"id":9900,"kind":"k0","amount":"x","third":"y","o":{"a":"z"},"even":"w"}"#);
    one.compact_one(&["--partition-by", "none"]);
    one.export_lines("s")
}

#[test]
fn a_promotion_of_merged_files_is_exact() {
    let roots = of_ten_runs();
    optimize(&roots);
    let notes = promote(&roots);
    assert!(notes.contains("3 files (") && notes.contains("3 of them from their raw objects"), "{notes}");
    assert_eq!(roots.export_lines("s"), of_one_run(10));
    assert!(roots.export_lines("s").iter().any(|line| line.contains(r#""amount":"1.50""#)));
    assert_sound(&roots);
    assert_eq!(files_below(&roots.lake.join("s/_siltstone/scratch")), Vec::<String>::new());
}

#[test]
fn a_promotion_of_files_that_were_merged_again_and_beside_others_is_exact() {
    let roots = of_ten_runs();
    optimize(&roots);
    for run in 10..14 {
        roots.put(&format!("s/{run:02}.json"), raw_text(run));
        roots.compact_one(&[]);
        if run == 12 {
            optimize(&roots);
        }
    }
    let notes = promote(&roots);
    assert!(!notes.contains("stored values"), "{notes}");
    assert_eq!(roots.export_lines("s"), of_one_run(14));
    // What was promoted is merged, and promoted, once more.
    optimize(&roots);
    roots.put("s/zz.json", r#"{"id":9901,"kind":"k1","o":[1]}"#);
    let report = roots.compact_one(&[]);
    assert!(!report.notes.iter().any(|note| note.contains("stored values")), "{report:?}");
    assert!(roots.export_lines("s").iter().any(|line| line.contains(r#""amount":"1.50""#)));
    assert_sound(&roots);
}

#[test]
fn merged_files_whose_raw_objects_are_gone_are_widened_from_what_is_stored() {
    let roots = of_ten_runs();
    optimize(&roots);
    std::fs::remove_file(roots.raw.join("s/04.json")).unwrap();
    let notes = promote(&roots);
    assert!(notes.contains("3 files were widened from stored values") && notes.contains("04.json"), "{notes}");
    assert_eq!(roots.export("s").len(), 101);
    assert_eq!(files_below(&roots.lake.join("s/_siltstone/scratch")), Vec::<String>::new());
    assert_sound(&roots);
}

#[test]
fn a_promotion_without_the_record_of_origins_loses_no_row() {
    let roots = of_ten_runs();
    optimize(&roots);
    std::fs::remove_dir_all(roots.lake.join("s/_siltstone/origins")).unwrap();
    roots.put("s/99.json", r#"{"id":9900,"kind":"k0","amount":"x"}"#);
    let ran = roots.run_here(&["compact", "--output", "json"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("it is not recorded which raw objects their rows came from"), "{}", ran.stdout);
    assert_eq!(roots.export("s").len(), 101);
}

/// The sum of rows by kind.
fn counts(roots: &Roots) -> BTreeMap<String, u64> {
    let rows = roots.sql("select kind, count(*) as n from lake.s group by kind");
    rows.iter().map(|row| (row["kind"].as_str().unwrap().to_owned(), row["n"].as_u64().unwrap())).collect()
}

#[test]
fn a_compact_and_an_optimize_at_once_lose_nothing() {
    let roots = of_ten_runs();
    for round in 0..5 {
        let runs = 10 + round * 2..12 + round * 2;
        runs.clone().for_each(|run| roots.put(&format!("s/{run:02}.json"), raw_text(run)));
        if round == 3 {
            roots.put("s/98.json", r#"{"id":9800,"kind":"k0","amount":"x"}"#);
        }
        std::thread::scope(|scope| {
            let compacting = scope.spawn(|| roots.compact_one(&[]));
            let optimizing = scope.spawn(|| optimize(&roots));
            assert_eq!(compacting.join().unwrap().error_count, 0);
            assert_eq!(optimizing.join().unwrap()["status"], "SUCCESS");
        });
        let extra = u64::from(round >= 3);
        assert_eq!(roots.export("s").len() as u64, (12 + round as u64 * 2) * 10 + extra);
        assert_eq!(counts(&roots).values().sum::<u64>(), (12 + round as u64 * 2) * 10 + extra);
        assert_sound(&roots);
        assert_eq!(roots.compact_one(&[]).objects, 0);
    }
}

#[test]
fn an_optimize_killed_at_any_moment_leaves_a_table_of_the_same_rows() {
    let roots = of_ten_runs();
    let rows = roots.export_lines("s");
    let mut numbers = Numbers(7);
    for _ in 0..20 {
        let mut command = roots.command(&["optimize", "--lake", roots.lake.to_str().unwrap()]);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(numbers.below(150_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let files = roots.files("s").len();
        assert!(files == 30 || files == 3, "{files}");
        assert_eq!(roots.export_lines("s"), rows);
        assert_sound(&roots);
    }
    optimize(&roots);
    assert_eq!((roots.files("s").len(), roots.export_lines("s")), (3, rows));
    let notes = promote(&roots);
    assert!(notes.contains("3 of them from their raw objects"), "{notes}");
    assert_eq!(roots.export_lines("s"), of_one_run(10));
}

#[test]
fn files_that_are_large_enough_are_left_alone() {
    let roots = of_ten_runs();
    let mut numbers = Numbers(3);
    let text = |numbers: &mut Numbers| (0..20).map(|_| format!("{:x}", numbers.below(u64::MAX))).collect::<String>();
    let large: String =
        (0..500).map(|n| format!("{}\n", json!({"id": n, "kind": "k0", "even": text(&mut numbers)}))).collect();
    roots.put("s/80.json", large);
    roots.compact_one(&[]);
    let largest = roots.files("s").into_iter().max_by_key(|file| file.size_bytes).unwrap();
    let target = largest.size_bytes * 3 / 2;
    std::fs::write(roots.dir.path().join("siltstone.toml"), format!("defaults.target_file_bytes = {target}\n"))
        .unwrap();
    assert_eq!(optimize(&roots)["files_merged"], 30);
    assert!(roots.files("s").contains(&largest));
    assert_eq!(optimize(&roots)["files_merged"], 0);
}

#[test]
fn a_table_that_is_not_there_is_said_so() {
    let roots = Roots::new();
    std::fs::create_dir(&roots.lake).unwrap();
    let none = roots.run(&["optimize", "none", "--lake", roots.lake.to_str().unwrap()]);
    assert!(none.failed(1).contains("there is no table none"));
    let nothing = roots.run(&["optimize", "--lake", roots.lake.to_str().unwrap()]);
    assert!(nothing.failed(1).contains("there is no table under"));
    let wrong = roots.run(&["optimize", "_x", "--lake", roots.lake.to_str().unwrap()]);
    wrong.failed(2);
}

#[test]
fn a_run_merges_small_files_where_there_are_many_and_says_so() {
    let (roots, without) = (Roots::new(), Roots::new());
    std::fs::write(without.dir.path().join("siltstone.toml"), "sources.s.auto_optimize = false\n").unwrap();
    for run in 0..33 {
        for roots in [&roots, &without] {
            roots.put(&format!("s/{run:02}.json"), format!("{{\"id\":{run},\"v\":1.50}}\n"));
            let report = roots.compact_one(&["--partition-by", "none"]);
            let Some(done) = &report.optimized else {
                assert!(report.notes.is_empty(), "{report:?}");
                continue;
            };
            assert_eq!((run, done.files_merged, done.files_written), (31, 32, 1));
            assert_eq!(report.version, Some(32));
            assert!(report.notes[0].starts_with("32 small files ("), "{report:?}");
            assert!(report.notes[0].contains("times what it added"), "{report:?}");
        }
    }
    assert_eq!((roots.files("s").len(), without.files("s").len()), (2, 33));
    assert_eq!(roots.exported_ids("s"), without.exported_ids("s"));
    roots.put("s/99.json", r#"{"id":99,"v":"x"}"#);
    roots.compact_one(&[]);
    assert_eq!(roots.export_lines("s").iter().filter(|line| line.contains(r#""v":"1.50""#)).count(), 33);
    assert_sound(&roots);
}

/// The manifests below a table, by path, with the files that they name.
fn manifests(roots: &Roots) -> BTreeMap<String, Vec<String>> {
    let folder = roots.lake.join("s/_symlink_format_manifest");
    let read = |path: String| {
        let text = std::fs::read_to_string(folder.join(&path)).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        (path, lines)
    };
    files_below(&folder).into_iter().map(read).collect()
}

#[test]
fn manifests_name_the_files_of_the_current_version_by_partition() {
    let roots = of_ten_runs();
    let expected = |roots: &Roots| {
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in roots.files("s") {
            let folder = file.path.rsplit_once('/').unwrap().0;
            let url = format!("file://{}/s/{}", roots.lake.canonicalize().unwrap().display(), file.path);
            expected.entry(format!("{folder}/manifest")).or_default().push(url);
        }
        expected
    };
    let told = roots.run(&["manifest", "--lake", roots.lake.to_str().unwrap()]).ok();
    assert_eq!(told, "s: 3 manifests name the 30 files of version 9\n");
    assert_eq!(manifests(&roots), expected(&roots));
    // From now on they follow each commit.
    std::fs::write(roots.dir.path().join("siltstone.toml"), "defaults.manifest = true\n").unwrap();
    optimize(&roots);
    assert_eq!(manifests(&roots), expected(&roots));
    roots.put("s/70.json", r#"{"id":7000,"kind":"a b/c=d"}"#);
    roots.compact_one(&[]);
    assert_eq!(manifests(&roots).len(), 4);
    assert_eq!(manifests(&roots), expected(&roots));
    for (path, files) in manifests(&roots) {
        let exists = |url: &String| std::path::Path::new(url.strip_prefix("file://").unwrap()).exists();
        assert!(files.iter().all(exists), "{path}");
    }
    // Those of partitions that are no more go.
    super::support::write(&roots.lake.join("s/_symlink_format_manifest/kind_part=old/manifest"), "x\n");
    roots.run(&["manifest", "s", "--lake", roots.lake.to_str().unwrap()]).ok();
    assert_eq!(manifests(&roots), expected(&roots));
    let none = roots.run(&["manifest", "t", "--lake", roots.lake.to_str().unwrap()]);
    assert!(none.failed(1).contains("there is no table"));
}

#[test]
fn rows_are_sorted_when_that_is_asked_for_and_promotions_stay_exact() {
    for memory in ["", "defaults.memory_bytes = 20000\n"] {
        let roots = of_ten_runs();
        let rows = roots.export_lines("s");
        let config = format!("{memory}defaults.sort_by = [\"even\", \"id\"]\n");
        std::fs::write(roots.dir.path().join("siltstone.toml"), config).unwrap();
        let done = optimize(&roots);
        assert_eq!(done["files_merged"], 30, "{done}");
        assert_eq!(done["files_written"] == 3, memory.is_empty(), "{done}");
        assert_eq!(roots.export_lines("s"), rows);
        assert_sound(&roots);
        if memory.is_empty() {
            let first = roots.sql("select even, id from lake.s where kind_part = 'k0' limit 60");
            let key = |row: &Value| (row["even"].as_i64().unwrap_or(i64::MAX), row["id"].as_i64());
            assert!(first.len() > 30 && first.is_sorted_by_key(key), "{first:?}");
        }
        // What is sorted is good.
        assert_eq!(optimize(&roots)["files_merged"], 0);
        let notes = promote(&roots);
        assert!(!notes.contains("stored values"), "{notes}");
        assert_eq!(roots.export_lines("s"), of_one_run(10));
        optimize(&roots);
        assert_eq!(roots.export_lines("s"), of_one_run(10));
        assert_sound(&roots);
    }
}

#[test]
fn a_column_that_rows_cannot_be_sorted_by_is_wrong_usage() {
    let roots = of_ten_runs();
    for (column, why) in [("none", "there is no such column"), ("o", "it is nested")] {
        std::fs::write(roots.dir.path().join("siltstone.toml"), format!("defaults.sort_by = [\"{column}\"]\n"))
            .unwrap();
        let ran = roots.run(&["optimize", "--lake", roots.lake.to_str().unwrap()]);
        assert!(ran.code == 1 && ran.stderr.contains(why), "{}", ran.stderr);
    }
}

/// Tables of random sources, in random runs, merged now and then: the rows are those of one run over everything.
#[test]
fn whatever_comes_between_the_rows_are_those_of_one_run() {
    for seed in 0..3 {
        let mut numbers = Numbers(seed);
        let (one, several) = (Roots::new(), Roots::new());
        let values = ["1", "1.50", "\"x\"", "true", "null", "[1.0]", "{\"a\":1.10}", "\"2024-01-01T00:00:00+02:00\""];
        let sort = if seed % 2 == 0 { "" } else { "defaults.sort_by = [\"id\"]\n" };
        std::fs::write(several.dir.path().join("siltstone.toml"), sort).unwrap();
        let mut calm = 0;
        for run in 0..9 {
            for object in 0..1 + numbers.below(3) {
                let text: String = (0..1 + numbers.below(20))
                    .map(|n| {
                        // Most runs are alike; now and then one changes the types of columns.
                        let bound = if calm < 3 { 2 } else { values.len() as u64 };
                        let [v, w] = [0, 1].map(|_| values[numbers.below(bound) as usize]);
                        let id = run * 1000 + object * 100 + n;
                        format!("{{\"id\":{id},\"k\":\"{}\",\"v\":{v},\"o\":{{\"w\":{w}}}}}\n", numbers.below(2))
                    })
                    .collect();
                one.put(&format!("s/{run:02}-{object}.json"), &text);
                several.put(&format!("s/{run:02}-{object}.json"), &text);
            }
            calm = if calm < 3 { calm + 1 } else { 0 };
            let report = several.compact_one(&["--partition-by", "k"]);
            assert!(!report.notes.iter().any(|note| note.contains("stored values")), "seed {seed}: {report:?}");
            if numbers.below(3) == 0 {
                let before = several.export_lines("s");
                optimize(&several);
                assert_eq!(several.export_lines("s"), before, "seed {seed}, run {run}");
            }
        }
        one.compact_one(&["--partition-by", "none"]);
        assert_eq!(several.export_lines("s"), one.export_lines("s"), "seed {seed}");
        assert_sound(&several);
    }
}

/// Several versions of each id, in several runs and partitions; the `at` says which is the last.
fn with_duplicates() -> Roots {
    let roots = Roots::new();
    for run in 0..6 {
        let record = |id: usize| {
            // The last version of an id is not always in the last run.
            let at = format!("2024-01-{:02}T00:00:00Z", 1 + (run * 5 + id) % 6);
            format!("{{\"id\":{id},\"at\":\"{at}\",\"k\":\"{}\",\"v\":1.50,\"run\":{run}}}\n", (run + id) % 2)
        };
        let text: String = (0..7).map(record).collect();
        roots.put(&format!("s/{run}.json"), text + "{\"at\":\"2024-01-01T00:00:00Z\",\"k\":\"0\",\"v\":2.50}\n");
        roots.compact_one(&["--partition-by", "k"]);
    }
    roots
}

const DEDUP: &str = "dedup = { keys = [\"id\"], keep = \"last by at\" }\n";

#[test]
fn of_rows_with_one_key_the_last_stays_when_that_is_asked_for_and_the_books_count_the_others() {
    for memory in ["", "memory_bytes = 2000\n", "sort_by = [\"at\"]\n"] {
        let roots = with_duplicates();
        let is_last = |line: &&String| line.contains("2024-01-06") || !line.contains("\"id\"");
        let expected: Vec<String> = roots.export_lines("s").iter().filter(is_last).cloned().collect();
        assert_eq!(expected.len(), 13);
        std::fs::write(roots.dir.path().join("siltstone.toml"), format!("[sources.s]\n{DEDUP}{memory}")).unwrap();
        // Only when it is asked for.
        optimize(&roots);
        assert_eq!(roots.export("s").len(), 48);
        let args = ["optimize", "s", "--dedup", "--lake", roots.lake.to_str().unwrap()];
        let told = roots.run(&args).ok();
        assert!(told.contains("\n  35 rows had the key of another one and were taken out\n"), "{told}");
        assert_eq!(roots.export_lines("s"), expected);
        assert_sound(&roots);
        let status = roots.status("s");
        assert_eq!((&status["rows"], &status["deduplicated"]), (&json!(13), &json!(35)));
        // Again: nothing is left to do.
        assert!(roots.run(&args).ok().starts_with("s: nothing to merge"));
        // What stays can be decoded again, although its neighbours are gone.
        roots.put("s/9.json", r#"{"id":100,"k":"0","v":"x"}"#);
        let report = roots.compact_one(&[]);
        assert!(!report.notes.iter().any(|note| note.contains("stored values")), "{report:?}");
        let exact = roots.export_lines("s").iter().filter(|line| line.contains(r#".50""#)).count();
        assert_eq!(exact, 13);
        assert_sound(&roots);
        assert_eq!(roots.compact_one(&[]).objects, 0);
    }
}

#[test]
fn a_table_of_which_few_rows_stay_is_whole() {
    let roots = Roots::new();
    for run in 0..5 {
        roots.put(&format!("s/{run}.json"), format!("{{\"id\":1,\"at\":{run},\"v\":1.50}}\n"));
        roots.compact_one(&["--partition-by", "none"]);
    }
    std::fs::write(roots.dir.path().join("siltstone.toml"), format!("[sources.s]\n{DEDUP}")).unwrap();
    roots.run(&["optimize", "--dedup", "--lake", roots.lake.to_str().unwrap()]).ok();
    assert_eq!(roots.export_lines("s"), [r#"{"id":1,"at":4,"v":1.50}"#.replace("1.50", "1.5")]);
    assert_sound(&roots);
    roots.put("s/9.json", r#"{"id":2,"v":"x"}"#);
    roots.compact_one(&[]);
    assert_eq!(roots.export_lines("s"), [r#"{"id":1,"at":4,"v":"1.50"}"#, r#"{"id":2,"v":"x"}"#]);
    assert_sound(&roots);
}

#[test]
fn a_deduplication_that_is_not_or_wrongly_configured_is_refused() {
    let roots = of_ten_runs();
    let run = || roots.run(&["optimize", "s", "--dedup", "--lake", roots.lake.to_str().unwrap()]);
    assert!(run().failed(2).contains("dedup is not configured for source s"));
    for wrong in ["keys = [], keep = \"last by id\"", "keys = [\"id\"]", "keys = [\"id\"], keep = \"any\""] {
        std::fs::write(roots.dir.path().join("siltstone.toml"), format!("defaults.dedup = {{ {wrong} }}\n")).unwrap();
        assert!(run().failed(2).contains("dedup of source s is wrong"));
    }
    std::fs::write(roots.dir.path().join("siltstone.toml"), format!("[defaults]\n{DEDUP}")).unwrap();
    let ran = run();
    assert!(ran.code == 1 && ran.stderr.contains("there is no column at"), "{}", ran.stderr);
}
