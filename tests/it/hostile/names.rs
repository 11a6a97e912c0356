//! What raw objects, folders and partitions are called, and links.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::fake_s3::{Condition, FakeS3};
use crate::support::{Roots, lines, write};

#[test]
fn an_object_may_have_any_name_that_a_file_may_have() {
    let roots = Roots::new();
    let long = "n".repeat(255);
    let deep = format!("{}/x.json", vec!["d".repeat(200); 10].join("/"));
    let names = [
        "%2F.json",
        "%.json",
        "a%20b",
        "a=b/c=d.json",
        " ",
        "a b.json",
        "a+b",
        "ü€😀.json",
        "x\ny.json",
        "x\ty",
        "\\",
        "x..",
        "a:b",
        "#",
        "x#1",
        "y#1/y.json",
        "?&'\"*<>|",
        "__HIVE_DEFAULT_PARTITION__",
        "k=__HIVE_DEFAULT_PARTITION__/a.json",
        "_siltstone/a.json",
        "_delta_log/00000000000000000000.json",
        "-rf",
        "\u{202e}gnp",
        "nosuffix",
        &long,
        &deep,
    ];
    for (id, name) in names.iter().enumerate() {
        roots.put(&format!("s/{name}"), json!({"id": id, "v": 1}).to_string());
    }
    let report = roots.compact_one(&["--partition-by", "none"]);
    assert_eq!(report.objects as usize, names.len(), "{:?}", report.notes);
    let ids: Vec<i64> = (0..names.len() as i64).collect();
    assert_eq!(roots.exported_ids("s"), ids);
    let count = [json!({"n": names.len()})];
    assert_eq!(roots.sql("select count(distinct id) as n from raw.s"), count);
    roots.assert_sound();
    assert_eq!(roots.compact_one(&[]).objects, 0);
    // A promotion that reads all of them again: 1.0 is not what a string of the stored double would be.
    roots.put("s/zz.json", r#"{"id":1000,"v":1.5}"#);
    roots.compact_one(&[]);
    roots.put("s/zzz.json", r#"{"id":1001,"v":"x"}"#);
    let report = roots.compact_one(&[]);
    assert!(report.notes[0].ends_with("3 of them from their raw objects") && report.notes.len() == 1, "{report:?}");
    let ones = roots.sql("select count(*) as n from lake.s where v = '1'");
    assert_eq!(ones, count);
    roots.assert_sound();
    // Rejects name them.
    for name in names {
        roots.put(&format!("s/{name}"), "no json");
    }
    roots.configure("[defaults]\non_overwrite = \"append\"\n");
    assert_eq!(roots.compact_one(&[]).error_count as usize, names.len());
    let mut found: Vec<String> = roots.rejects("s").into_iter().map(|(key, _, _)| key).collect();
    found.sort();
    let mut expected = names.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
    roots.assert_sound();
}

#[test]
fn a_name_that_is_no_text_is_passed_over_and_told() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1}"#);
    let name = std::ffi::OsStr::from_bytes(b"bad\xff.json");
    if std::fs::write(roots.raw.join("s").join(name), r#"{"id":2}"#).is_err() {
        // Some file systems have no such names.
        return;
    }
    let report = roots.compact_one(&[]);
    assert_eq!(report.objects, 1);
    assert!(report.notes.iter().any(|note| note.contains("bad") && note.contains("UTF-8")), "{report:?}");
}

#[test]
fn a_key_of_a_store_may_be_anything() {
    let (server, roots) = (FakeS3::start(Condition::Honoured, |_, _, _| None), Roots::new());
    let long = format!("{}.json", "k".repeat(1000));
    let keys = [
        "a b.json",
        "a+b.json",
        "%2F.json",
        "100%.json",
        "a=b/c=d.json",
        "ü€😀.json",
        "__HIVE_DEFAULT_PARTITION__",
        "x#1",
        &long,
    ];
    for (id, key) in keys.iter().enumerate() {
        server.put(&format!("raw/s/{key}"), json!({"id": id}).to_string());
    }
    // These no client can name.
    for key in ["../up.json", "a/../../../up.json", "a//b.json", "./c.json"] {
        server.put(&format!("raw/s/{key}"), r#"{"id":-1}"#);
    }
    server.put("raw/s/folder/", "");
    let roots_of = ["--raw", "s3://bucket/raw", "--lake", "s3://bucket/lake"];
    let compact = || -> Value {
        let text = server
            .run(&roots, &[&["compact", "--output", "json", "--partition-by", "none"], &roots_of[..]].concat())
            .ok();
        serde_json::from_str::<Value>(&text).unwrap()["sources"][0].clone()
    };
    let report = compact();
    assert_eq!(report["success_count"], keys.len(), "{report}");
    let notes = report["notes"].to_string();
    for key in ["../up.json", "a/../../../up.json", "a//b.json", "./c.json"] {
        assert!(notes.contains(&format!("{key} was passed over")), "{key}: {notes}");
    }
    let export = server.run(&roots, &["export", "s", "--lake", "s3://bucket/lake"]).ok();
    assert_eq!(export.lines().count(), keys.len(), "{export}");
    assert_eq!(compact()["objects"], 0);
    // Nothing beside the table.
    let outside = server
        .keys()
        .into_iter()
        .filter(|key| !key.starts_with("/bucket/raw/s/") && !key.starts_with("/bucket/lake/s/"));
    assert_eq!(outside.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn markers_of_folders_and_empty_objects_are_consumed_once_and_never_read() {
    let read: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&read);
    let server = FakeS3::start(Condition::Honoured, move |method, path, _| {
        if path.starts_with("/bucket/raw/") && method != "PUT" && !path.ends_with("/bucket/raw/") {
            seen.lock().unwrap().push(format!("{method} {path}"));
        }
        None
    });
    let roots = Roots::new();
    std::fs::write(roots.dir.path().join("siltstone.toml"), "[defaults]\nprovenance = \"key\"\n").unwrap();
    // With an object of its name, without, in the midst of its folder's names and before them, and those of the roots.
    let markers = ["", "s/", "s/a/", "s/b/", "s/b/c/", "s/late/", "s/name/", "s/.hidden/", "only/", "only/x/"];
    let empty = ["s/e.json", "s/e.json.gz", "s/b/e", "s/name", "only/e.json"];
    let filled = [("s/a/1.json", 1), ("s/b.json", 2), ("s/late-1.json", 3), ("s/late/1.json", 4), ("s/z.json", 5)];
    markers.iter().chain(&empty).for_each(|key| server.put(&format!("raw/{key}"), ""));
    filled.iter().for_each(|(key, id)| server.put(&format!("raw/{key}"), json!({"id": id, "v": 1.10}).to_string()));
    let run = |args: &[&str]| {
        let stores = ["--raw", "s3://bucket/raw", "--lake", "s3://bucket/lake"];
        let ran = server.run(&roots, &[args, &stores].concat()).ok();
        let is_of_object = |line: &String| !line.starts_with("GET /bucket/raw/s/") || empty.contains(&&line[16..]);
        let read = std::mem::take(&mut *read.lock().unwrap());
        assert!(!read.iter().any(|line| is_of_object(line) || line.ends_with('/')), "{args:?}: {read:?}");
        (ran, read.len())
    };
    let compact = || {
        let (text, reads) = run(&["compact", "--output", "json", "--partition-by", "none"]);
        let report: Value = serde_json::from_str(&text).unwrap();
        let source = |name: &str| {
            let found = report["sources"].as_array().unwrap().iter().find(|source| source["source_id"] == name);
            let figure = |figure: &str| found.unwrap()[figure].as_u64().unwrap();
            [figure("objects"), figure("success_count"), figure("error_count")]
        };
        (source("only"), source("s"), reads)
    };
    // The marker of `name` is not told from the empty object beside it, and need not be.
    let (only, s, reads) = compact();
    assert_eq!((only, s[1..].to_vec()), ([2, 0, 0], vec![5, 0]));
    assert!(s[0] == 13 && reads >= 5, "{s:?}, {reads}");
    for _ in 0..2 {
        assert_eq!(compact(), ([0; 3], [0; 3], 0));
    }
    let (status, _) = run(&["status", "s", "only", "--format", "json"]);
    for source in serde_json::from_str::<Value>(&status).unwrap().as_array().unwrap() {
        assert_eq!([&source["objects_new"], &source["objects_overwritten"]], [0, 0], "{source}");
    }
    // They need not be there for what is read again, and give no rows anywhere.
    server.put("raw/s/z2.json", r#"{"id":6,"v":"text"}"#);
    assert_eq!(compact().1, [1, 1, 0]);
    for table in ["lake.s", "raw.s", "s"] {
        let (rows, _) = run(&["sql", "--format", "csv", &format!("select count(*), max(v) from {table}")]);
        assert_eq!(rows.lines().nth(1), Some("6,text"), "{table}");
    }
    run(&["verify", "--deep"]);
    run(&["quarantine", "replay", "s"]);
    run(&["plan"]);
    // A folder gets an object of its name.
    server.put("raw/s/b", r#"{"id":7,"v":"b"}"#);
    assert_eq!((compact().1, compact().1), ([1, 1, 0], [0; 3]));
    run(&["verify", "--deep"]);
}

#[test]
fn a_partition_may_have_any_value_and_stays_apart_from_all_others() {
    let roots = Roots::new();
    let long = "x".repeat(2000);
    let values = [
        json!("../../../etc"),
        json!("..%2F..%2Fetc"),
        json!("%2F"),
        json!("/"),
        json!("a=b"),
        json!("="),
        json!(""),
        json!(" "),
        json!("a "),
        json!("a"),
        json!("A"),
        json!(format!("{long}1")),
        json!(format!("{long}2")),
        json!("ü".repeat(1000)),
        json!("__HIVE_DEFAULT_PARTITION__"),
        json!("__hive_default_partition__"),
        json!(null),
        json!("null"),
        json!("\u{0}"),
        json!("\u{0}\u{0}"),
        json!("\r\n"),
        json!("%"),
        json!("%25"),
        json!("%252F"),
        json!("."),
        json!(".."),
        json!("~"),
        json!("-"),
    ];
    let records: Vec<Value> = values.iter().enumerate().map(|(id, value)| json!({"id": id, "k": value})).collect();
    roots.put("s/a.json", lines(&records));
    roots.compact_one(&["--partition-by", "k"]);
    let check = |rows: i64| {
        assert_eq!(std::fs::read_dir(&roots.lake).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(roots.dir.path()).unwrap().count(), 2);
        for folder in roots.partition_folders("s") {
            assert!(folder.starts_with("k_part=") && !folder.contains('/') && folder.len() <= 255, "{folder}");
        }
        let found = roots.sql("select id, k, k_part from lake.s where id < 1000 order by id");
        assert_eq!(found.len(), values.len());
        for (row, value) in found.iter().zip(&values) {
            let part = if *value == json!("") { &Value::Null } else { value };
            assert_eq!((&row["k"], &row["k_part"]), (value, part));
        }
        assert_eq!(roots.exported_ids("s").len() as i64, rows);
        roots.assert_sound();
    };
    check(values.len() as i64);
    // Each is found by its value, and only it.
    for (id, value) in values.iter().enumerate() {
        let Some(text) = value.as_str().filter(|text| !text.is_empty() && !text.contains('\0')) else { continue };
        assert_eq!(
            roots.sql(&format!("select id from lake.s where k_part = '{text}'")),
            [json!({"id": id})],
            "{text:?}"
        );
    }
    let nulls = roots.sql("select id from lake.s where k_part is null order by id");
    assert_eq!(nulls, [json!({"id": 6}), json!({"id": 16})]);
    // Written again by a promotion, merged by an optimize.
    for id in 1000..1003 {
        let more: Vec<Value> = values.iter().map(|value| json!({"id": id, "k": value, "v": 1})).collect();
        roots.put(&format!("s/{id}.json"), lines(&more));
        roots.compact_one(&[]);
    }
    roots.put("s/z.json", r#"{"id":2000,"k":"a","v":"x"}"#);
    roots.compact_one(&[]);
    check(values.len() as i64 * 4 + 1);
    roots.run(&["optimize", "s", "--lake", roots.lake.to_str().unwrap()]).ok();
    check(values.len() as i64 * 4 + 1);
}

#[test]
fn a_source_that_is_a_link_out_of_the_raw_root_is_not_followed() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1}"#);
    write(&roots.dir.path().join("outside/secret.json"), r#"{"id":666}"#);
    symlink("../outside", roots.raw.join("evil")).unwrap();
    symlink("s", roots.raw.join("alias")).unwrap();
    let ran = roots.run_here(&["compact", "--output", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("the source evil is a link out of the raw root"), "{ran:?}");
    assert!(!roots.lake.join("evil").exists());
    // A link to another source is another name of it.
    assert_eq!((roots.exported_ids("s"), roots.exported_ids("alias")), (vec![1], vec![1]));
    let message = roots.run_here(&["compact", "evil"]).failed(1);
    assert!(message.contains("evil") && message.contains("link"), "{message}");
    let message = roots.run_here(&["sql", "select * from raw.evil"]);
    assert!(message.code != 0 && !message.stdout.contains("666"), "{message:?}");
}
