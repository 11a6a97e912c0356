//! Partitions: expressions, folders, the rule when none are asked for.

use serde_json::{Value, json};

use crate::support::{Roots, lines};

/// Records of one column `t`, with ids from 0.
fn times(values: &[Value]) -> String {
    lines(&values.iter().enumerate().map(|(id, value)| json!({"id": id, "t": value})).collect::<Vec<_>>())
}

/// Compacts these values of `t` and returns the folders.
fn folders(values: &[Value], by: &str) -> Vec<String> {
    let roots = Roots::new();
    roots.put("s/a.json", times(values));
    assert_eq!(roots.compact_one(&["--partition-by", by]).success_count, values.len() as u64);
    assert_eq!(roots.exported_ids("s"), (0..values.len() as i64).collect::<Vec<_>>());
    assert_eq!(roots.sql("select count(*) as n from lake.s"), [json!({"n": values.len()})]);
    roots.partition_folders("s")
}

#[test]
fn times_are_partitioned_by_year_month_day_and_hour_in_utc() {
    let values =
        [json!("2025-02-03T23:30:00-01:00"), json!("1969-12-31T23:59:59.999999Z"), json!("2024-02-29T05:00:00Z")];
    assert_eq!(folders(&values, "year(t)"), ["t_year=1969", "t_year=2024", "t_year=2025"]);
    assert_eq!(folders(&values, "month(t)"), ["t_month=1969-12", "t_month=2024-02", "t_month=2025-02"]);
    assert_eq!(folders(&values, "day(t)"), ["t_day=1969-12-31", "t_day=2024-02-29", "t_day=2025-02-04"]);
    assert_eq!(folders(&values, "hour(t)"), ["t_hour=1969-12-31-23", "t_hour=2024-02-29-05", "t_hour=2025-02-04-00"]);
}

#[test]
fn dates_and_strings_that_read_as_times_are_partitioned_too_and_what_does_not_is_the_null_partition() {
    let values = [json!("2025-02-03"), json!("2025-02-04")];
    assert_eq!(folders(&values, "day(t)"), ["t_day=2025-02-03", "t_day=2025-02-04"]);
    let null = "t_day=__HIVE_DEFAULT_PARTITION__";
    let mixed =
        [json!("2025-02-03"), json!("2025-02-03T10:00:00Z"), json!("yesterday"), json!(null), json!(""), json!(7)];
    assert_eq!(folders(&mixed, "day(t)"), ["t_day=2025-02-03", null]);
    assert_eq!(folders(&[json!(null), json!("2025-02-03T10:00:00Z")], "day(t)"), ["t_day=2025-02-03", null]);
}

#[test]
fn scalars_of_each_kind_are_partitioned_by_identity() {
    assert_eq!(folders(&[json!(true), json!(false)], "t"), ["t_part=false", "t_part=true"]);
    assert_eq!(folders(&[json!(1), json!(-20)], "identity(t)"), ["t_part=-20", "t_part=1"]);
    assert_eq!(folders(&[json!(1.5), json!(2)], "t"), ["t_part=1.5", "t_part=2.0"]);
    assert_eq!(folders(&[json!("2025-02-03")], "t"), ["t_part=2025-02-03"]);
    assert_eq!(
        folders(&[json!("a"), json!(null), json!("b")], "t"),
        ["t_part=__HIVE_DEFAULT_PARTITION__", "t_part=a", "t_part=b"]
    );
}

#[test]
fn hostile_values_stay_in_the_folder_of_the_table() {
    let roots = Roots::new();
    let hostile = [
        "../x",
        "..",
        ".",
        "/",
        "/etc/passwd",
        "a/b",
        "a=b",
        "%2F",
        "a%20b",
        "a b",
        "",
        "ü€😀",
        "x\ny",
        "\u{0}",
        "\\",
        "a:b",
        "#?&'\"*<>|",
        "__HIVE_DEFAULT_PARTITION__",
        "A",
        "a",
        "_siltstone",
        "_delta_log",
    ];
    let long = "x".repeat(1000);
    let values: Vec<Value> = hostile.iter().copied().chain([&*long]).map(Value::from).collect();
    roots.put("s/a.json", times(&values));
    roots.compact_one(&["--partition-by", "t"]);
    // Nothing beside the table, and one folder level within it.
    assert_eq!(std::fs::read_dir(&roots.lake).unwrap().count(), 1);
    for folder in roots.partition_folders("s") {
        assert!(folder.starts_with("t_part=") && !folder.contains('/') && folder.len() <= 255, "{folder}");
    }
    // Each value reads back, as a value and as a partition.
    let rows = roots.sql("select id, t, t_part from lake.s order by id");
    for (id, value) in values.iter().enumerate() {
        let part = if *value == json!("") { &Value::Null } else { value };
        assert_eq!(rows[id], json!({"id": id, "t": value, "t_part": part}));
    }
    assert_eq!(roots.sql("select id from lake.s where t_part = 'a/b'"), [json!({"id": 5})]);
    assert_eq!(roots.sql("select id from lake.s where t_part = '%2F'"), [json!({"id": 7})]);
    assert_eq!(roots.export("s").len(), values.len());
    // And a promotion, which reads and writes all of these paths again.
    roots.put("s/b.json", r#"{"id":"x","t":"a"}"#);
    roots.compact_one(&[]);
    assert_eq!(roots.export("s").len(), values.len() + 1);
    assert_eq!(roots.sql("select count(*) as n from lake.s where t_part = '../x'"), [json!({"n": 1})]);
}

#[test]
fn several_partitions_nest_in_the_order_given() {
    let roots = Roots::new();
    let record = |id: u64, kind: &str, at: &str| json!({"id": id, "kind": kind, "event": {"At": at}});
    roots.put_lines(
        "s/a.json",
        &[
            record(1, "x", "2025-01-01T00:00:00Z"),
            record(2, "y", "2025-01-01T00:00:00Z"),
            record(3, "x", "2025-02-01T00:00:00Z"),
        ],
    );
    // The names of columns or the original keys.
    roots.compact_one(&["--partition-by", "month(event.At), kind"]);
    assert_eq!(
        roots.partition_folders("s"),
        [
            "event_at_month=2025-01/kind_part=x",
            "event_at_month=2025-01/kind_part=y",
            "event_at_month=2025-02/kind_part=x"
        ]
    );
    let rows = roots.sql("select id from lake.s where event_at_month = '2025-01' and kind_part = 'x'");
    assert_eq!(rows, [json!({"id": 1})]);
    assert_eq!(roots.schema("s")["partition_by"], "month(event.at), identity(kind)");
}

#[test]
fn none_leaves_the_table_unpartitioned() {
    assert_eq!(folders(&[json!("2025-02-03T10:00:00Z"), json!(null)], "none"), ["."]);
}

#[test]
fn without_a_time_of_events_the_day_of_ingestion_partitions() {
    let roots = Roots::new();
    // `ts` is missing once, `at` is no name for the time of an event, `time` is no time.
    roots.put_lines(
        "s/a.json",
        &[
            json!({"id": 1, "ts": "2025-01-01T00:00:00Z", "at": "2025-01-01T00:00:00Z", "time": "noon"}),
            json!({"id": 2, "at": "2025-01-02T00:00:00Z", "time": "midnight"}),
        ],
    );
    let before = chrono::Utc::now().date_naive();
    let report = roots.compact_one(&[]);
    let after = chrono::Utc::now().date_naive();
    let folders = roots.partition_folders("s");
    let days = [before, after].map(|day| format!("ingested_day={day}"));
    assert!(folders.len() == 1 && days.contains(&folders[0]), "{folders:?}");
    assert_eq!(report.notes, ["partitioned by ingested(): no column is known to hold the time of events"]);
    assert_eq!(roots.schema("s")["partition_by"], "ingested()");
}

#[test]
fn the_time_of_events_is_chosen_by_name_and_recorded() {
    let roots = Roots::new();
    roots.put_lines(
        "s/a.json",
        &[
            json!({"id": 1, "updated_at": "2024-01-01T00:00:00Z", "createdAt": "2025-01-01T00:00:00Z"}),
            json!({"id": 2, "updated_at": "2024-01-01T00:00:00Z", "createdAt": "2025-12-01T00:00:00Z"}),
        ],
    );
    let report = roots.compact_one(&[]);
    assert_eq!(roots.partition_folders("s"), ["createdat_year=2025"]);
    assert!(report.notes[0].starts_with("partitioned by year(createdat): "), "{report:?}");
    // Later records do not change it.
    roots.put("s/b.json", r#"{"id":3,"created_at":"2020-01-01T00:00:00Z"}"#);
    assert!(roots.compact_one(&[]).notes.is_empty());
    assert_eq!(roots.partition_folders("s"), ["createdat_year=2025", "createdat_year=__HIVE_DEFAULT_PARTITION__"]);
}

#[test]
fn a_key_named_like_the_partition_column_becomes_another_column() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1,"t":"2025-01-01T00:00:00Z","t_day":"mine"}"#);
    roots.compact_one(&["--partition-by", "day(t)"]);
    roots.put("s/b.json", r#"{"id":2,"t":"2025-01-02T00:00:00Z","t_day":"mine too"}"#);
    roots.compact_one(&[]);
    assert_eq!(roots.partition_folders("s"), ["t_day=2025-01-01", "t_day=2025-01-02"]);
    assert_eq!(roots.export("s")[1]["t_day"], "mine too");
    assert_eq!(roots.sql("select id from lake.s where t_day = date '2025-01-02'"), [json!({"id": 2})]);
}

#[test]
fn files_are_rolled_at_the_target_size() {
    let roots = Roots::new();
    let mut numbers = crate::support::Numbers(1);
    let record = |id: u64| json!({"id": id, "noise": numbers.below(1 << 62), "text": "x".repeat(100)});
    let records: Vec<Value> = (0..60_000).map(record).collect();
    roots.put("s/a.json", lines(&records));
    let config = "[defaults]\ntarget_file_bytes = 100000\nmemory_bytes = 3000000\n";
    std::fs::write(roots.dir.path().join("siltstone.toml"), config).unwrap();
    let report = roots.compact_one(&["--partition-by", "none", "--threads", "1"]);
    assert!(report.files >= 3, "{report:?}");
    assert_eq!(roots.sql("select count(distinct id) as n from lake.s"), [json!({"n": 60_000})]);
}

#[test]
fn many_partitions_keep_within_a_small_budget() {
    let roots = Roots::new();
    let records: Vec<Value> =
        (0..8_000).map(|id| json!({"id": id, "p": id % 400, "text": "x".repeat(id % 50)})).collect();
    roots.put("s/a.json", lines(&records));
    std::fs::write(roots.dir.path().join("siltstone.toml"), "[defaults]\nmemory_bytes = 400000\n").unwrap();
    roots.compact_one(&["--partition-by", "p"]);
    assert_eq!(roots.partition_folders("s").len(), 400);
    // Queries may have more.
    std::fs::remove_file(roots.dir.path().join("siltstone.toml")).unwrap();
    assert_eq!(
        roots.sql("select count(distinct id) as n from lake.s where p_part = cast(p as varchar)"),
        [json!({
            "n": 8_000
        })]
    );
}

#[test]
fn a_column_that_few_objects_have_may_partition() {
    let roots = Roots::new();
    for id in 0..60 {
        let record = if id == 41 { json!({"id": id, "gone_at": "2025-01-02"}) } else { json!({"id": id}) };
        roots.put(&format!("s/{id:02}.json"), record.to_string());
    }
    roots.compact_one(&["--partition-by", "day(gone_at)"]);
    assert_eq!(roots.partition_folders("s"), ["gone_at_day=2025-01-02", "gone_at_day=__HIVE_DEFAULT_PARTITION__"]);
}

#[test]
fn a_wrong_partition_column_is_refused_however_many_objects_there_are() {
    let roots = Roots::new();
    (0..60).for_each(|id| roots.put(&format!("s/{id:02}.json"), json!({"id": id}).to_string()));
    let message = roots.run_here(&["compact", "--partition-by", "day(gone_at)"]).failed(2);
    assert!(message.contains("there is no column gone_at"), "{message}");
}

#[test]
fn a_value_has_one_partition_however_late_its_column_becomes_wider() {
    // One object of several windows: the first of them know integers only.
    let record = |id: u64| json!({"id": id, "t": id % 3, "text": "x".repeat(100)}).to_string() + "\n";
    let early: String = (0..45_000).map(record).collect();
    assert!(early.len() > 2 * siltstone::raw::WINDOW_BYTES);
    for (late, expected) in [
        (json!(0.5), vec!["t_part=0.0", "t_part=0.5", "t_part=1.0", "t_part=2.0"]),
        (json!("x"), vec!["t_part=0", "t_part=1", "t_part=2", "t_part=x"]),
        (json!([]), vec!["t_part=__HIVE_DEFAULT_PARTITION__"]),
    ] {
        let roots = Roots::new();
        roots.put("s/a.json", format!("{early}{}\n", json!({"id": 45_000, "t": late})));
        roots.compact_one(&["--partition-by", "t"]);
        assert_eq!(roots.partition_folders("s"), expected);
        assert_eq!(roots.sql("select count(distinct id) as n from lake.s"), [json!({"n": 45_001})]);
    }
}
