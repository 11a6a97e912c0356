//! Wrong requests and broken surroundings: the exit code, one clear message, nothing half done.

use serde_json::json;
use siltstone::compact::Status;

use super::support::{Ran, Roots, files_below, write};

fn one_record() -> Roots {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1,"t":"2025-01-01"}"#);
    roots
}

#[test]
fn a_raw_root_that_is_not_there_is_a_failure() {
    let roots = one_record();
    for command in [&["compact"][..], &["status"], &["sql", "select 1"]] {
        let ran = roots.run(&[command, &["--raw", "nope", "--lake", "lake"]].concat());
        assert!(ran.failed(1).contains("there is no folder"), "{command:?}");
    }
    std::fs::write(roots.dir.path().join("file"), "x").unwrap();
    let message = roots.run(&["compact", "--raw", "file", "--lake", "lake"]).failed(1);
    assert!(message.contains("file is a file, not a folder"), "{message}");
    assert!(!roots.lake.exists());
}

#[test]
fn roots_that_lie_in_each_other_are_wrong_usage() {
    let roots = one_record();
    let link = roots.dir.path().join("link");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&roots.raw, &link).unwrap();
    for (raw, lake) in
        [("raw", "raw"), ("raw", "raw/lake"), ("raw/s", "raw"), ("raw", "link/lake"), ("raw", "./raw/s/")]
    {
        for command in [&["compact"][..], &["plan"], &["status"], &["sql", "select 1"]] {
            let message = roots.run(&[command, &["--raw", raw, "--lake", lake]].concat()).failed(2);
            assert!(message.contains("must not lie in each other"), "{command:?} {raw} {lake}: {message}");
        }
    }
    // A name that only begins alike is another folder.
    roots.run(&["compact", "--raw", "raw", "--lake", "raw-lake"]).ok();
}

#[test]
fn a_folder_that_is_no_table_hides_no_other() {
    let roots = one_record();
    roots.compact_one(&[]);
    std::fs::create_dir(roots.lake.join("notes")).unwrap();
    let lake = roots.lake.to_str().unwrap();
    for command in ["status", "optimize", "vacuum", "manifest"] {
        let ran = roots.run(&[command, "--lake", lake]);
        assert!(ran.code == 0 && ran.stdout.starts_with('s'), "{command}: {ran:?}");
    }
    assert!(roots.run(&["status", "notes", "--lake", lake]).failed(1).contains("there is no table notes"));
    std::fs::write(roots.lake.join("s/_delta_log/00000000000000000000.json"), "damaged").unwrap();
    roots.put("t/a.json", "{\"id\":1}");
    roots.run_here(&["compact", "t"]).ok();
    let ran = roots.run(&["status", "--lake", lake]);
    assert!(ran.code == 1 && ran.stdout.contains("t ") && !ran.stderr.contains("::error::"), "{ran:?}");
}

#[test]
fn messages_show_no_line_of_the_configuration_and_are_json_when_asked_for() {
    let roots = one_record();
    std::fs::write(roots.dir.path().join("siltstone.toml"), "raw = \"raw\"\naws_secret_access_key = \"wJalr\"\n")
        .unwrap();
    let message = roots.run_here(&["compact"]).failed(2);
    assert!(
        message.contains("line 2, aws_secret_access_key: unknown field") && !message.contains("wJalr"),
        "{message}"
    );
    let ran = roots.run_here(&["--log", "json", "compact"]);
    let line: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert!(line["fields"]["message"].as_str().unwrap().contains("line 2"), "{line}");
    std::fs::write(roots.dir.path().join("siltstone.toml"), "[defaults]\nmax_depth = \"hunter2\"\n").unwrap();
    let message = roots.run_here(&["compact"]).failed(2);
    assert!(
        message.contains("line 2, max_depth: invalid type: string, expected") && !message.contains("hunter"),
        "{message}"
    );
    std::fs::write(roots.dir.path().join("siltstone.toml"), "[defaults]\nmax_depth = 0\n").unwrap();
    assert!(roots.run_here(&["compact"]).stderr.contains("max_depth"));
}

#[test]
fn what_the_environment_may_not_hold_is_told_by_the_name_of_the_variable() {
    let roots = Roots::new();
    for (name, value) in [
        ("AWS_SESSION_TOKEN", "token\n"),
        ("AWS_REGION", "us-east-1\r"),
        ("AWS_ENDPOINT_URL", "http://user:PWSECRET@127.0.0.1:9"),
    ] {
        let mut command = roots.command(&["status", "--lake", "s3://bucket/lake"]);
        command.envs([("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK")]).env(name, value);
        let message = Ran::of(&mut command).failed(2);
        assert!(message.contains(name) && !message.contains("PWSECRET") && !message.contains("token"), "{message}");
    }
}

#[test]
fn a_run_that_fails_as_a_whole_writes_its_summary_all_the_same() {
    let roots = Roots::new();
    let ran = roots.run(&["compact", "--raw", "nope", "--lake", "lake", "--output", "json"]);
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &summary["status"]), (1, &json!("FAILED")));
    assert!(summary["error"].as_str().unwrap().contains("there is no folder"), "{summary}");
}

#[test]
fn a_raw_root_without_sources_is_a_failure() {
    let roots = Roots::new();
    assert!(roots.run_here(&["compact"]).failed(1).contains("there is no source under"));
}

#[test]
fn a_source_without_objects_is_nothing_new_and_makes_no_table() {
    let roots = Roots::new();
    std::fs::create_dir(roots.raw.join("s")).unwrap();
    let report = roots.compact_one(&[]);
    assert_eq!((report.status, report.objects, report.version), (Status::Success, 0, None));
    assert!(!roots.lake.exists());
    assert_eq!(roots.sql("select count(*) as n from raw.s"), [json!({"n": 0})]);
}

#[test]
fn a_source_that_is_not_there_fails_and_does_not_hold_up_the_others() {
    let roots = one_record();
    let message = roots.run_here(&["compact", "nope"]).failed(1);
    assert!(message.contains("nope: there is no folder"), "{message}");
    let ran = roots.run_here(&["compact", "nope", "s", "--output", "json"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.starts_with(r#"{"status":"PARTIAL_SUCCESS""#), "{}", ran.stdout);
    assert_eq!(roots.exported_ids("s"), [1]);
}

#[test]
fn a_source_id_that_leaves_the_root_is_wrong_usage() {
    let roots = one_record();
    for id in ["../s", "..", ".", "", "a/b", "/etc", "_siltstone", ".git", "a b", "ü", "a\\b"] {
        for command in ["compact", "export", "schema", "status", "verify"] {
            let message = roots.run_over(command, id).failed(2);
            assert!(message.contains("is no source id"), "{command} {id}: {message}");
        }
    }
    assert!(!roots.lake.exists());
}

#[test]
fn a_dangling_link_and_a_link_out_of_the_source_are_passed_over_and_reported() {
    let roots = one_record();
    write(&roots.dir.path().join("outside.json"), r#"{"id":666}"#);
    std::os::unix::fs::symlink("gone.json", roots.raw.join("s/b.json")).unwrap();
    std::os::unix::fs::symlink("../../outside.json", roots.raw.join("s/c.json")).unwrap();
    std::os::unix::fs::symlink("..", roots.raw.join("s/d")).unwrap();
    std::os::unix::fs::symlink("a.json", roots.raw.join("s/e.json")).unwrap();
    let report = roots.compact_one(&[]);
    assert_eq!(report.success_count, 2);
    for key in ["b.json", "c.json", "d"] {
        let passed_over = report.notes.iter().any(|note| note.starts_with(&format!("{key} was passed over: ")));
        assert!(passed_over, "{key}: {report:?}");
    }
    assert_eq!(roots.exported_ids("s"), [1, 1]);
}

#[test]
fn settings_for_a_source_that_is_not_there_are_noted() {
    let roots = one_record();
    std::fs::write(roots.dir.path().join("siltstone.toml"), "[sources.S]\nzstd_level = 9\n[sources.s]\n").unwrap();
    let ran = roots.run_here(&["compact"]).ok();
    assert_eq!(ran.matches("the configuration has settings for S, which has no raw objects").count(), 1, "{ran}");
}

#[test]
fn an_object_without_permission_is_left_for_another_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let roots = one_record();
    roots.put("s/b.json", r#"{"id":2}"#);
    let path = roots.raw.join("s/b.json");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&path).is_ok() {
        // Nothing is unreadable for root. See `commit` for objects that vanish.
        return;
    }
    let report = roots.compact_one(&[]);
    assert_eq!((report.status, report.objects), (Status::PartialSuccess, 1));
    assert!(report.notes.iter().any(|note| note.starts_with("b.json could not be read")), "{report:?}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(roots.compact_one(&[]).objects, 1);
    assert_eq!(roots.exported_ids("s"), [1, 2]);
}

#[test]
fn a_lake_that_is_a_file_is_wrong_usage() {
    let roots = one_record();
    write(&roots.dir.path().join("file"), "x");
    write(&roots.dir.path().join("folder/s"), "x");
    for (lake, named) in [("file", "file"), ("file/below", "file"), ("folder", "folder/s")] {
        for command in [&["compact"][..], &["export", "s"], &["schema", "s"], &["status", "s"], &["verify", "s"]] {
            let mut args = [command, &["--lake", lake]].concat();
            if command[0] == "compact" {
                args.extend(["--raw", "raw"]);
            }
            let message = roots.run(&args).failed(2);
            assert!(message.contains(&format!("{named} is a file, not a folder")), "{command:?}: {message}");
        }
    }
    assert_eq!(std::fs::read(roots.dir.path().join("file")).unwrap(), b"x");
}

#[test]
fn wrong_partitions_are_wrong_usage_and_nothing_is_written() {
    let roots = one_record();
    for (by, why) in [
        ("day(nope)", "there is no column nope to partition by; columns are: id, t"),
        ("nope", "there is no column nope"),
        ("day(id)", "day() needs a timestamp, a date or a string; id is none"),
        ("week(t)", "unknown partition transform \"week\": expected day(c), month(c)"),
        ("day(t", "lacks a ')'"),
        ("day()", "names no column"),
        ("", "names no column"),
        ("day(t), day(t)", "names a partition twice"),
        ("t,", "names no column"),
    ] {
        let message = roots.run_here(&["compact", "--partition-by", by]).failed(2);
        assert!(message.contains(why), "{by}: {message}");
        assert!(!roots.lake.exists(), "{by}");
    }
}

#[test]
fn partitions_that_are_wrong_for_one_source_do_not_hold_up_the_others() {
    let roots = one_record();
    roots.put("a/a.json", r#"{"id":1}"#);
    roots.put("z/a.json", r#"{"id":1,"t":"2025-01-02"}"#);
    let ran = roots.run_here(&["compact", "--partition-by", "day(t)"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("siltstone: a: there is no column t to partition by"), "{}", ran.stderr);
    assert_eq!(roots.partition_folders("s"), ["t_day=2025-01-01"]);
    assert_eq!(roots.partition_folders("z"), ["t_day=2025-01-02"]);
    assert!(!roots.lake.join("a").exists());
    // Settings are checked before anything is begun.
    roots.put("s/b.json", r#"{"id":2,"t":"2025-01-02"}"#);
    std::fs::write(roots.dir.path().join("siltstone.toml"), "[sources.z]\nzstd_level = 99\n").unwrap();
    assert!(roots.run_here(&["compact"]).failed(2).contains("zstd_level of source z"));
    assert_eq!(roots.exported_ids("s"), [1]);
}

#[test]
fn a_lake_whose_path_the_delta_library_misreads_is_refused() {
    let roots = one_record();
    let message = roots.run(&["compact", "--raw", "raw", "--lake", "la%20ke"]).failed(2);
    assert!(message.contains("'%'"), "{message}");
    assert!(!roots.dir.path().join("la%20ke").exists() && !roots.dir.path().join("la ke").exists());
}

#[test]
fn a_table_cannot_be_partitioned_otherwise_later() {
    let roots = one_record();
    roots.compact_one(&["--partition-by", "day(t)"]);
    roots.put("s/b.json", r#"{"id":2}"#);
    let message = roots.run_here(&["compact", "--partition-by", "none"]).failed(2);
    assert!(message.contains("the table of s is partitioned by day(t) and cannot be partitioned by none"), "{message}");
    assert_eq!(roots.compact_one(&["--partition-by", "day(t)"]).objects, 1);
}

#[test]
fn a_wrong_configuration_is_wrong_usage_and_names_the_key() {
    let roots = one_record();
    let path = roots.dir.path().join("siltstone.toml");
    for (text, named) in [
        ("zstd_levl = 3", "zstd_levl"),
        ("[defaults]\npartition_bye = \"none\"", "partition_bye"),
        ("[sources.s]\nrecord = \"items\"", "record"),
        ("[source.s]\nrecords = \"items\"", "source"),
        ("[defaults]\nzstd_level = \"high\"", "zstd_level"),
        ("[defaults]\nzstd_level = 23", "zstd_level"),
        ("[sources.s]\npartition_by = \"week(t)\"", "partition_by of source s"),
        ("[defaults\n", "line 1"),
    ] {
        std::fs::write(&path, text).unwrap();
        let ran = roots.run_here(&["compact"]);
        let message = if ran.code == 1 { ran.stderr } else { ran.failed(2) };
        assert!(message.contains(named), "{text}: {message}");
        assert!(!roots.lake.exists(), "{text}");
    }
    let message = roots.run_here(&["--config", "other.toml", "compact"]).failed(2);
    assert!(message.contains("cannot read the configuration other.toml"), "{message}");
}

#[test]
fn roots_must_be_given_and_be_such_as_this_build_knows() {
    let roots = one_record();
    assert!(roots.run(&["compact", "--lake", "lake"]).failed(2).contains("--raw"));
    assert!(roots.run(&["compact", "--raw", "raw"]).failed(2).contains("--lake"));
    assert!(roots.run(&["export", "s"]).failed(2).contains("--lake"));
    assert!(roots.run(&["sql", "select 1"]).failed(2).contains("--lake"));
    assert!(roots.run(&["compact", "--raw", "raw", "--lake", "ftp://h/x"]).failed(2).contains("ftp://"));
}

#[test]
fn a_table_that_is_not_there_is_a_failure() {
    let roots = one_record();
    for command in ["export", "schema"] {
        assert!(roots.run_over(command, "nope").failed(1).contains("there is no table nope"), "{command}");
    }
    assert_eq!(roots.run_here(&["status", "nope"]).failed(1).matches("nope").count(), 1);
    let message = roots.run_here(&["sql", "select * from lake.nope"]).failed(2);
    assert!(message.contains("lake.nope' not found"), "{message}");
    assert!(roots.run_here(&["sql", "select * from raw.nope"]).failed(2).contains("raw.nope' not found"));
}

#[test]
fn unknown_flags_commands_and_missing_arguments_are_wrong_usage() {
    let roots = one_record();
    for args in [
        &["compact", "--bogus"][..],
        &["compress"],
        &["compact", "--output", "xml"],
        &["compact", "--threads", "many"],
        &["sql", "select 1", "-f", "x.sql"],
        &["export"],
        &[],
    ] {
        let ran = roots.run(args);
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{args:?}");
        assert!(ran.stderr.contains("--help"), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(roots.run(&["--help"]).code, 0);
    assert_eq!(roots.run(&["--version"]).ok(), concat!("siltstone ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_delta_table_of_another_writer_is_refused_and_untouched() {
    let roots = one_record();
    let schema =
        r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}"#;
    let log = format!(
        "{}\n{}\n",
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
        format_args!(
            r#"{{"metaData":{{"id":"a","format":{{"provider":"parquet","options":{{}}}},"schemaString":"{schema}","partitionColumns":[],"configuration":{{}},"createdTime":0}}}}"#
        )
    );
    write(&roots.lake.join("s/_delta_log/00000000000000000000.json"), &log);
    for command in ["compact", "export", "schema", "status"] {
        let message = roots.run_over(command, "s").failed(1);
        assert!(message.contains("was not written by siltstone"), "{command}: {message}");
    }
    assert_eq!(files_below(&roots.lake), ["s/_delta_log/00000000000000000000.json"]);
    assert_eq!(std::fs::read_to_string(roots.lake.join("s/_delta_log/00000000000000000000.json")).unwrap(), log);
    // Its rows may be read.
    assert_eq!(roots.sql("select count(*) as n from lake.s"), [json!({"n": 0})]);
}

#[test]
fn a_table_whose_ledger_is_lost_or_damaged_is_not_taken_for_an_empty_one() {
    for damage in ["gone", "cut", "other"] {
        let roots = one_record();
        roots.compact_one(&[]);
        let ledger = roots.lake.join("s/_siltstone/ledger");
        let head = files_below(&ledger).into_iter().find(|name| name.ends_with(".json")).unwrap();
        match damage {
            "gone" => std::fs::remove_file(ledger.join(&head)).unwrap(),
            "cut" => std::fs::write(ledger.join(&head), "{\"id\":").unwrap(),
            _ => std::fs::write(ledger.join(&head), "{\"id\":1}").unwrap(),
        }
        roots.put("s/b.json", r#"{"id":2}"#);
        let message = roots.run_here(&["compact"]).failed(1);
        assert!(message.contains(&head), "{damage}: {message}");
        assert_eq!(roots.sql("select id from lake.s"), [json!({"id": 1})]);
    }
}

#[test]
fn a_lake_in_which_nothing_can_be_written_is_a_failure_that_names_the_path() {
    let roots = one_record();
    // A file stands where a folder of the table must be.
    write(&roots.lake.join("s/ingested_day=x"), "");
    write(&roots.lake.join("s/_siltstone"), "");
    let message = roots.run_here(&["compact", "--partition-by", "none"]).failed(1);
    assert!(message.contains("_siltstone"), "{message}");
    assert!(!roots.lake.join("s/_delta_log").exists());
    std::fs::remove_file(roots.lake.join("s/_siltstone")).unwrap();
    assert_eq!(roots.compact_one(&["--partition-by", "none"]).success_count, 1);
    assert_eq!(roots.exported_ids("s"), [1]);
}

impl Roots {
    /// Runs a command over one source with the roots that it takes.
    fn run_over(&self, command: &str, source: &str) -> Ran {
        let (raw, lake) = (self.raw.to_str().unwrap(), self.lake.to_str().unwrap());
        match command {
            "compact" => self.run(&[command, "--raw", raw, "--lake", lake, "--", source]),
            _ => self.run(&[command, "--lake", lake, "--", source]),
        }
    }
}
