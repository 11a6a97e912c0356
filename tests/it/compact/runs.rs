//! One run after another: each takes what is new, and nothing else.

use serde_json::json;
use siltstone::compact::Status;

use crate::support::Roots;

#[test]
fn a_second_run_finds_nothing_and_makes_no_version() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1}"#);
    assert_eq!(roots.compact_one(&[]).version, Some(0));
    let second = roots.compact_one(&[]);
    assert_eq!((second.status, second.version), (Status::Success, Some(0)));
    assert_eq!((second.objects, second.success_count, second.error_count, second.files), (0, 0, 0, 0));
    assert_eq!(roots.exported_ids("s"), [1]);
}

#[test]
fn a_run_takes_only_objects_that_are_new() {
    let roots = Roots::new();
    roots.put("s/2025-02/b.json", r#"{"id":1}"#);
    roots.compact_one(&[]);
    // Before, between and behind the consumed key; a folder sorts as its name with a slash.
    for (id, key) in ["s/2025-02.json", "s/2025-02/a.json", "s/2025-02/b/c.json", "s/2025-03.json"].iter().enumerate() {
        roots.put(key, json!({"id": id + 2}).to_string());
    }
    let second = roots.compact_one(&[]);
    assert_eq!((second.objects, second.success_count, second.version), (4, 4, Some(1)));
    assert_eq!(roots.exported_ids("s"), [1, 2, 3, 4, 5]);
    assert_eq!(roots.compact_one(&[]).objects, 0);
}

#[test]
fn objects_are_found_at_any_depth_under_any_name() {
    let roots = Roots::new();
    let keys =
        ["a", "b c", "ü/ß", "d%2Fe", "f#g?h", "x/y/z/w/v.json", "i&j=k+l", "m:n", "'o\"p'", "q\\r", "~s", "1=2/3"];
    for (id, key) in keys.iter().enumerate() {
        roots.put(&format!("s/{key}"), json!({"id": id}).to_string());
    }
    assert_eq!(roots.compact_one(&[]).objects, keys.len() as u64);
    assert_eq!(roots.exported_ids("s"), (0..keys.len() as i64).collect::<Vec<_>>());
    assert_eq!(roots.compact_one(&[]).objects, 0);
}

#[test]
fn names_that_begin_with_a_dot_are_no_objects_and_odd_folders_no_sources() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1}"#);
    roots.put("s/.b.json", r#"{"id":2}"#);
    roots.put("s/.tmp/c.json", r#"{"id":3}"#);
    roots.put("_private/d.json", r#"{"id":4}"#);
    roots.put("a b/e.json", r#"{"id":5}"#);
    roots.put("loose.json", r#"{"id":6}"#);
    let report = roots.compact_one(&[]);
    assert_eq!(roots.exported_ids("s"), [1]);
    assert!(report.notes.iter().any(|note| note.contains("\"a b\"") && note.contains("passed over")), "{report:?}");
}

#[test]
fn only_the_sources_that_are_named_are_compacted() {
    let roots = Roots::new();
    for source in ["a", "b", "c.d-e_f"] {
        roots.put(&format!("{source}/x.json"), r#"{"id":1}"#);
    }
    let named: Vec<String> =
        roots.compact(&["c.d-e_f", "a"]).sources.into_iter().map(|source| source.source_id).collect();
    assert_eq!(named, ["c.d-e_f", "a"]);
    assert!(!roots.lake.join("b").exists());
    assert_eq!(roots.compact(&[]).sources.iter().map(|source| source.objects).sum::<u64>(), 1);
    assert_eq!(roots.exported_ids("c.d-e_f"), [1]);
}

#[test]
fn an_object_that_changed_after_it_was_consumed_is_reported_and_its_old_rows_stay() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1}"#);
    roots.put("s/b.json", r#"{"id":2}"#);
    roots.compact_one(&[]);
    roots.put("s/a.json", r#"{"id":1000}"#);
    for _ in 0..2 {
        let report = roots.compact_one(&[]);
        assert_eq!(report.objects, 0);
        assert!(report.notes.iter().any(|note| note.starts_with("a.json changed after it was consumed")), "{report:?}");
    }
    assert_eq!(roots.exported_ids("s"), [1, 2]);
    assert_eq!(roots.status("s")["objects_overwritten"], 1);
}

#[test]
fn an_object_that_changed_is_added_once_more_when_that_is_asked_for() {
    let roots = Roots::new();
    std::fs::write(roots.dir.path().join("siltstone.toml"), "sources.s.on_overwrite = \"append\"\n").unwrap();
    roots.put("s/a.json", r#"{"id":1}"#);
    roots.put("s/b.json", r#"{"id":2}"#);
    roots.compact_one(&[]);
    for id in [1000, 2000] {
        roots.put("s/a.json", format!("{{\"id\":{id}}}"));
        roots.put("s/0.json", format!("{{\"id\":{}}}", id + 1));
        let report = roots.compact_one(&[]);
        assert_eq!((report.objects, report.success_count), (2, 2), "{report:?}");
        assert!(report.notes.iter().any(|note| note.contains("what it holds now is added")), "{report:?}");
        assert_eq!(roots.compact_one(&[]).objects, 0);
    }
    assert_eq!(roots.exported_ids("s"), [1, 2, 1000, 1001, 2000, 2001]);
    assert_eq!(roots.status("s")["objects_consumed"], 6);
    let verified = roots.run(&["verify", "--lake", roots.lake.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{}", verified.stdout);
}

#[test]
fn a_consumed_object_may_be_deleted() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1}"#);
    roots.compact_one(&[]);
    std::fs::remove_file(roots.raw.join("s/a.json")).unwrap();
    roots.put("s/b.json", r#"{"id":2}"#);
    assert_eq!(roots.compact_one(&[]).objects, 1);
    assert_eq!(roots.exported_ids("s"), [1, 2]);
}

#[test]
fn roots_may_be_relative_have_odd_names_or_be_urls() {
    let roots = Roots::new();
    roots.put("../ra w ü#/s/a.json", r#"{"id":1}"#);
    let lake = "la ke/dé#ep";
    let compact = || roots.run(&["compact", "--raw", "ra w ü#", "--lake", lake, "--output", "json"]).ok();
    assert!(compact().contains("\"success_count\":1"));
    assert!(compact().contains("\"success_count\":0"));
    let url = url::Url::from_directory_path(roots.dir.path().join(lake)).unwrap();
    for lake in [lake, url.as_str(), url.as_str().trim_end_matches('/')] {
        assert_eq!(roots.run(&["export", "s", "--lake", lake]).ok(), "{\"id\":1}\n");
        let ran = roots.run(&["sql", "--lake", lake, "--format", "csv", "select id from lake.s"]);
        assert_eq!(ran.ok(), "id\n1\n");
    }
}

#[test]
fn the_configuration_gives_roots_and_settings_and_flags_override_it() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"page":1,"things":[{"id":1,"t":"2025-02-03"}],"more":[{"x":1}]}"#);
    roots.put("t/a.json", r#"{"id":9}"#);
    let config = r#"
        raw = "raw"
        lake = "lake"
        [defaults]
        partition_by = "none"
        [sources.s]
        partition_by = "day(t)"
        records = "things"
    "#;
    std::fs::write(roots.dir.path().join("siltstone.toml"), config).unwrap();
    roots.run(&["compact"]).ok();
    assert_eq!(roots.partition_folders("s"), ["t_day=2025-02-03"]);
    assert_eq!(roots.partition_folders("t"), ["."]);
    assert_eq!(roots.exported_ids("s"), [1]);

    roots.run(&["compact", "--lake", "other", "--partition-by", "ingested()"]).ok();
    assert!(roots.dir.path().join("other/t/_delta_log").exists());
    let schema = roots.run(&["schema", "t", "--lake", "other"]).ok();
    assert!(schema.contains("partitioned by ingested()"), "{schema}");
}

#[test]
fn records_without_any_value_are_rows() {
    let roots = Roots::new();
    roots.put("s/a.json", "{}\n{\"a\":null}\n{\"a\":[],\"b\":{}}\n");
    assert_eq!(roots.compact_one(&[]).success_count, 3);
    let count = "select count(*) as n from lake.s";
    assert_eq!(roots.sql(count), [json!({"n": 3})]);
    assert_eq!(roots.export_lines("s"), ["{}", "{}", "{}"]);

    // Columns come later; a partition of rows without values beside others.
    roots.put("s/b.json", "{\"a\":[1],\"b\":{\"c\":\"x\"}}\n{}\n");
    assert_eq!(roots.compact_one(&[]).success_count, 2);
    assert_eq!(roots.sql(count), [json!({"n": 5})]);
    assert_eq!(roots.sql("select count(*) as n from lake.s where b['c'] is null"), [json!({"n": 4})]);
    assert_eq!(roots.export_lines("s"), [r#"{"a":[1],"b":{"c":"x"}}"#, "{}", "{}", "{}", "{}"]);

    // And a promotion, which reads the files again.
    roots.put("s/c.json", "{\"a\":[\"y\"]}");
    roots.compact_one(&[]);
    assert_eq!(roots.sql(count), [json!({"n": 6})]);
    assert_eq!(roots.status("s")["rows"], 6);
}

#[test]
fn the_place_of_the_records_is_looked_for_until_there_is_a_record() {
    let roots = Roots::new();
    roots.put("s/1.json", "");
    assert_eq!(roots.compact_one(&[]).success_count, 0);
    roots.put("s/2.json", "gateway timeout\n");
    assert_eq!(roots.compact_one(&[]).error_count, 1);
    roots.put("s/3.json", r#"{"items":[{"id":1},{"id":2}]}"#);
    assert_eq!(roots.sql("select count(*) as n from raw.s"), [json!({"n": 2})]);
    assert_eq!(roots.compact_one(&[]).success_count, 2);
    assert_eq!(roots.schema("s")["records"], "items");
    assert_eq!(roots.exported_ids("s"), [1, 2]);
}
