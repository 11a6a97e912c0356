//! The fresh view: the table and the raw objects that it has not consumed, each record once.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::TryStreamExt as _;
use serde_json::{Value, json};
use siltstone::config::Config;
use siltstone::query::SqlSession;
use siltstone::store::Location;

use super::support::{Roots, lines};

fn records(ids: std::ops::Range<i64>) -> Vec<Value> {
    ids.map(|id| json!({"id": id, "o": {"x": id, "y": format!("y{id}")}, "at": "2025-01-02T03:04:05Z"})).collect()
}

#[test]
fn each_record_is_there_once_before_and_after_a_run() {
    let roots = Roots::new();
    roots.put_lines("s/a.json", &records(0..10));
    let count = "select count(*) as n, count(distinct id) as d, sum(o.x) as x from s";
    assert_eq!(roots.sql(count), [json!({"n": 10, "d": 10, "x": 45})]);
    roots.compact_one(&[]);
    assert_eq!(roots.sql(count), [json!({"n": 10, "d": 10, "x": 45})]);
    roots.put_lines("s/b.json", &records(10..20));
    let expected = [json!({"n": 20, "d": 20, "x": 190})];
    assert_eq!(roots.sql(count), expected);
    assert_eq!(roots.sql(&count.replace("from s", "from main.s")), expected);
    assert_eq!(roots.sql("select count(*) as n from lake.s"), [json!({"n": 10})]);
    roots.compact_one(&[]);
    assert_eq!(roots.sql(count), expected);
    // What was consumed may be deleted.
    std::fs::remove_file(roots.raw.join("s/a.json")).unwrap();
    assert_eq!(roots.sql(count), expected);
    assert_eq!(roots.sql("select id from s where o.y = 'y3'"), [json!({"id": 3})]);
}

#[test]
fn types_are_those_that_a_run_would_give() {
    let roots = Roots::new();
    let old = [
        json!({"id": 1, "n": 1, "t": "2025-01-02T03:04:05Z", "b": true, "o": {"k": 7}, "l": [1, 2], "d": 1.5, "j": {"a": 1}}),
        json!({"id": 2, "n": null, "t": "2025-01-02T03:04:06.5+01:00", "b": false, "o": {}, "l": [], "d": 2, "j": null}),
    ];
    let new =
        [json!({"id": 3, "n": "x", "t": "no time", "b": 5, "o": {"k": "z", "m": [{"q": 1}]}, "l": ["s"], "d": "x",
        "j": "text", "Added Later": {"deep": true}})];
    roots.put_lines("s/old.json", &old);
    roots.compact_one(&["--partition-by", "none"]);
    roots.put_lines("s/new.json", &new);
    let columns = "select column_name, data_type from information_schema.columns where table_name = 's' and \
        table_schema = 'SIDE' order by ordinal_position";
    let rows = "select id, n, t, b, o, l, d, j, added_later from SIDE.s order by id";
    let on = |side: &str, statement: &str| roots.sql(&statement.replace("SIDE", side));
    let (fresh_columns, fresh_rows) = (on("main", columns), on("main", rows));
    assert_eq!(fresh_columns, on("raw", columns));
    roots.compact_one(&[]);
    assert_eq!(fresh_columns, on("lake", columns));
    // A run reads the raw text again where it is at hand; the table alone tells values in their canonical form.
    let mut expected = on("lake", rows);
    expected[1]["d"] = json!("2.0");
    expected[1]["t"] = json!("2025-01-02T02:04:06.500Z");
    assert_eq!(fresh_rows, expected);
}

#[test]
fn partition_columns_and_paths_are_there_on_both_sides() {
    let roots = Roots::new();
    roots.put_lines("s/a.json", &records(0..2));
    roots.compact_one(&["--partition-by", "day(at),identity(o.y)"]);
    roots.put("s/b.json", r#"{"id":9,"o":{"x":1,"y":"new"},"at":"2025-03-04T00:00:00Z"}"#);
    let partitions = "select id, at_day, o_y_part from SIDE.s order by id";
    let fresh = roots.sql(&partitions.replace("SIDE", "main"));
    assert_eq!(fresh[2], json!({"id": 9, "at_day": "2025-03-04", "o_y_part": "new"}));
    assert_eq!(roots.sql("select id from s where at_day = date '2025-03-04'"), [json!({"id": 9})]);
    let paths = roots.sql(r#"select id, "$path" as p from s order by id"#);
    assert!(paths[0]["p"].as_str().unwrap().ends_with(".parquet"), "{paths:?}");
    assert!(paths[2]["p"].as_str().unwrap().ends_with("/raw/s/b.json"), "{paths:?}");
    let with = r#"with s as (select 1 as id) select id from s"#;
    assert_eq!(roots.sql(with), [json!({"id": 1})]);
    roots.compact_one(&[]);
    assert_eq!(roots.sql(&partitions.replace("SIDE", "lake")), fresh);
}

#[test]
fn a_contract_holds_for_what_is_new() {
    let roots = Roots::new();
    roots.put_lines("s/a.json", &records(0..3));
    roots.compact_one(&[]);
    roots.put(
        "s/b.json",
        lines(&[json!({"id": "text"}), json!({"id": 3}), json!({"id": 4, "new": 1}), json!({"id": 5, "o": {"z": 1}})]),
    );
    for (contract, expected) in [("freeze", 4), ("add-only", 6), ("evolve", 7)] {
        std::fs::write(roots.dir.path().join("siltstone.toml"), format!("[defaults]\ncontract = \"{contract}\"\n"))
            .unwrap();
        let count = "select count(*) as n from s";
        let ran = roots.run_here(&["sql", "--format", "ndjson", "--config", "siltstone.toml", count]);
        assert_eq!(ran.ok(), format!("{{\"n\":{expected}}}\n"), "{contract}");
    }
}

#[test]
fn objects_that_changed_are_taken_as_a_run_takes_them() {
    let roots = Roots::new();
    roots.put_lines("s/a.json", &records(0..3));
    roots.compact_one(&[]);
    roots.put_lines("s/a.json", &records(10..15));
    assert_eq!(roots.sql("select count(*) as n from s"), [json!({"n": 3})]);
    std::fs::write(roots.dir.path().join("siltstone.toml"), "[defaults]\non_overwrite = \"append\"\n").unwrap();
    let ran =
        roots.run_here(&["sql", "--format", "ndjson", "--config", "siltstone.toml", "select count(*) as n from s"]);
    assert_eq!(ran.ok(), "{\"n\":8}\n");
}

#[test]
fn the_column_of_provenance_is_there_on_both_sides() {
    let roots = Roots::new();
    std::fs::write(roots.dir.path().join("siltstone.toml"), "[defaults]\nprovenance = \"came_from\"\n").unwrap();
    let config = ["--config", "siltstone.toml"];
    roots.put_lines("s/a.json", &records(0..2));
    roots.compact_one(&config);
    roots.put_lines("s/b.json", &records(2..3));
    let select = "select id, came_from from s where id > 0 order by id";
    let ran = roots.run_here(&[&["sql", "--format", "csv", select][..], &config].concat());
    assert_eq!(ran.ok(), "id,came_from\n1,a.json\n2,b.json\n");
}

#[test]
fn sources_of_either_side_alone_have_a_fresh_view() {
    let roots = Roots::new();
    roots.put_lines("old/a.json", &records(0..3));
    roots.compact(&[]);
    roots.put_lines("new/a.json", &records(0..4));
    std::fs::remove_dir_all(roots.raw.join("old")).unwrap();
    assert_eq!(roots.sql("select count(*) as n from old"), [json!({"n": 3})]);
    assert_eq!(roots.sql("select count(*) as n from new"), [json!({"n": 4})]);
    let lake =
        roots.run(&["sql", "--format", "csv", "--lake", roots.lake.to_str().unwrap(), "select count(*) n from old"]);
    assert_eq!(lake.ok(), "n\n3\n");
    let raw =
        roots.run(&["sql", "--format", "csv", "--raw", roots.raw.to_str().unwrap(), "select count(*) n from new"]);
    assert_eq!(raw.ok(), "n\n4\n");
    let tables = roots.sql(
        "select table_name, table_schema from information_schema.tables where table_schema in ('main', 'raw', 'lake') \
         order by 2, 1",
    );
    let names: Vec<String> = tables
        .iter()
        .map(|row| format!("{}.{}", row["table_schema"].as_str().unwrap(), row["table_name"].as_str().unwrap()))
        .collect();
    assert_eq!(names, ["lake.old", "main.new", "main.old", "raw.new"]);
}

#[test]
fn counts_never_dip_and_never_double_while_runs_go_on() {
    let roots = Roots::new();
    roots.put_lines("s/0000.json", &records(0..5));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for object in 1..40_i64 {
                // Under another name first: an object appears whole.
                let hidden = roots.raw.join("s/.part");
                std::fs::write(&hidden, lines(&records(object * 5..object * 5 + 5))).unwrap();
                std::fs::rename(hidden, roots.raw.join(format!("s/{object:04}.json"))).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let compactor = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                roots.compact_one(&[]);
            }
        });
        let mut last = 0;
        let mut asked = 0;
        while !is_over.load(Ordering::Relaxed) || asked < 3 {
            let rows = roots.sql("select count(*) as n, count(distinct id) as d, sum(o.x) as x from s");
            let n = rows[0]["n"].as_i64().unwrap();
            assert!(n >= last && n % 5 == 0, "{n} after {last}");
            assert_eq!(rows[0], json!({"n": n, "d": n, "x": n * (n - 1) / 2}));
            last = n;
            asked += 1;
        }
        writer.join().unwrap();
        compactor.join().unwrap();
    });
    assert_eq!(roots.sql("select count(*) as n from s"), [json!({"n": 200})]);
}

#[test]
fn tables_are_there_as_they_were() {
    let roots = Roots::new();
    roots.put_lines("s/a.json", &records(0..3));
    roots.compact_one(&[]);
    std::thread::sleep(std::time::Duration::from_millis(5));
    let between = chrono::Utc::now().format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string();
    std::thread::sleep(std::time::Duration::from_millis(5));
    roots.put_lines("s/b.json", &records(3..10));
    roots.compact_one(&[]);
    roots.put_lines("s/c.json", &records(10..12));
    let count = |from: &str| roots.sql(&format!("select count(*) as n from {from}"))[0]["n"].as_i64().unwrap();
    assert_eq!(count("lake.s for version as of 0"), 3);
    assert_eq!(count("lake.s FOR VERSION AS OF 1 AS x"), 10);
    assert_eq!(count("s for version as of 0"), 3);
    assert_eq!(count("s"), 12);
    assert_eq!(count(&format!("lake.s for timestamp as of timestamp '{between}'")), 3);
    assert_eq!(count("lake.s for timestamp as of current_timestamp"), 10);
    assert_eq!(count("lake.s for timestamp as of (current_timestamp + interval '1' day)"), 10);
    let both = "select n.id from lake.s for version as of 1 n left join lake.s for version as of 0 o on n.id = o.id \
        where o.id is null order by 1 limit 1";
    assert_eq!(roots.sql(both), [json!({"id": 3})]);
    assert_eq!(roots.sql("select s.id from lake.s for version as of 0 where s.id = 2"), [json!({"id": 2})]);
    let paths = roots.sql(r#"select "$path" as p from lake.s for version as of 0 limit 1"#);
    assert!(paths[0]["p"].as_str().unwrap().ends_with(".parquet"));
    for (from, named) in [
        ("lake.s for version as of 7", "no version 7"),
        ("raw.s for version as of 0", "has no versions"),
        ("lake.s for timestamp as of timestamp '2001-01-01 00:00:00 UTC'", "no version of that time"),
        ("(select 1) for version as of 0", "Expected"),
    ] {
        let ran = roots.run_here(&["sql", &format!("select count(*) from {from}")]);
        assert!(ran.code != 0 && ran.stderr.contains(named), "{from}: {ran:?}");
    }
}

#[test]
fn a_session_sees_new_versions_and_a_table_in_the_place_of_another() {
    let roots = Roots::new();
    roots.put_lines("s/a.json", &records(0..3));
    roots.compact_one(&[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let location = |path: &std::path::Path| Location::parse(path.to_str().unwrap()).unwrap();
    let (raw, lake) = (location(&roots.raw), location(&roots.lake));
    let session = runtime.block_on(SqlSession::open(Some(raw), Some(lake), &Config::default(), 2, 1 << 28)).unwrap();
    let count = |from: &str| {
        let sql = format!("select count(*) from {from}");
        let batches: Vec<_> =
            runtime.block_on(async { session.query(&sql).await.unwrap().try_collect().await.unwrap() });
        let batch: &arrow::array::RecordBatch = &batches[0];
        arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(batch.column(0)).value(0)
    };
    let all = || ["lake.s", "s", "raw.s"].map(count);
    assert_eq!(all(), [3, 3, 3]);
    roots.put_lines("s/b.json", &records(3..5));
    assert_eq!(all(), [3, 5, 5]);
    roots.put_lines("s/c.json", &records(5..6));
    assert_eq!(all(), [3, 6, 6]);
    roots.compact_one(&[]);
    assert_eq!(all(), [6, 6, 6]);
    std::fs::remove_dir_all(roots.lake.join("s")).unwrap();
    std::fs::remove_file(roots.raw.join("s/a.json")).unwrap();
    roots.compact_one(&[]);
    roots.put_lines("s/d.json", &records(6..7));
    roots.compact_one(&[]);
    assert_eq!(count("s"), 4);
    assert_eq!(all(), [4, 4, 4]);
}
