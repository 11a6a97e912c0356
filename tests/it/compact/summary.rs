//! What `compact` prints.

use serde_json::Value;

use crate::support::Roots;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

const SOURCE_KEYS: [&str; 11] = [
    "source_id",
    "status",
    "objects",
    "success_count",
    "error_count",
    "bytes_in",
    "bytes_out",
    "files",
    "version",
    "schema_changes",
    "duration_ms",
];

#[test]
fn the_json_summary_is_one_object_with_the_documented_keys_and_nothing_else() {
    let roots = Roots::new();
    roots.put("s/a.json", "{\"id\":1,\"o\":{\"Key\":[1.5]}}\n");
    let args = ["compact", "--partition-by", "none", "--output", "json"];
    let first = roots.run_here(&args).ok();
    assert_eq!(first.lines().count(), 1);
    assert!(first.ends_with("}\n"));
    let summary: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(keys(&summary), ["status", "run_id", "sources"]);
    assert_eq!(summary["status"], "SUCCESS");
    assert_eq!(summary["run_id"].as_str().unwrap().len(), 32);
    let source = &summary["sources"][0];
    assert_eq!(keys(source), SOURCE_KEYS);
    let bytes_out = source["bytes_out"].as_u64().unwrap();
    let file =
        std::fs::read_dir(roots.lake.join("s")).unwrap().map(Result::unwrap).find(|entry| entry.path().is_file());
    assert_eq!(bytes_out, file.unwrap().metadata().unwrap().len());
    let mut filtered = source.clone();
    for (key, value) in [("bytes_out", 0), ("duration_ms", 0)] {
        assert!(filtered[key].is_u64());
        filtered[key] = value.into();
    }
    insta::assert_snapshot!(filtered.to_string(), @r#"{"source_id":"s","status":"SUCCESS","objects":1,"success_count":1,"error_count":0,"bytes_in":27,"bytes_out":0,"files":1,"version":0,"schema_changes":["+ id bigint","+ o struct<key:array<double>>"],"duration_ms":0}"#);

    // With something to note, with an error: one key more.
    roots.put("s/b.json", "{\"id\":1,\"id\":2}\n");
    let second: Value = serde_json::from_str(&roots.run_here(&["compact", "--output", "json"]).ok()).unwrap();
    assert_eq!(keys(&second["sources"][0]), [&SOURCE_KEYS[..], &["notes"]].concat());
    let missing: Value = serde_json::from_str(&roots.run_here(&["compact", "t", "--output", "json"]).stdout).unwrap();
    assert_eq!(missing["status"], "FAILED");
    assert_eq!(keys(&missing["sources"][0]), [&SOURCE_KEYS[..], &["error"]].concat());
    assert_eq!(missing["sources"][0]["version"], Value::Null);
}

#[test]
fn schema_changes_name_what_was_added_and_what_was_promoted() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1,"o":{"Key":1},"l":[1]}"#);
    let first = roots.compact_one(&[]).schema_changes;
    assert_eq!(first, ["+ id bigint", "+ o struct<key:bigint>", "+ l array<bigint>"]);
    roots.put("s/b.json", r#"{"id":2,"o":{"Key":0.5,"z":true},"l":["x"],"j":{"q":[]}}"#);
    let second = roots.compact_one(&[]).schema_changes;
    assert_eq!(second, ["~ o.key bigint -> double", "+ o.z boolean", "~ l[] bigint -> string"]);
}

#[test]
fn the_text_summary_says_what_became_of_each_source() {
    let roots = Roots::new();
    roots.put("a/x.json", "{\"id\":1}\n{\"id\":2}\nbad\n");
    roots.put("b/x.json", r#"{"items":[{"id":1}]}"#);
    std::fs::create_dir(roots.raw.join("c")).unwrap();
    let text = roots.run_here(&["compact"]).ok();
    insta::with_settings!({filters => vec![(r"\d+ ms", "N ms")]}, {
        insta::assert_snapshot!(text, @r"
        a: 2 records of 1 objects (0.0 MB) in 1 files (0.0 MB), version 0, N ms
          1 records are in quarantine
          partitioned by ingested(): no column is known to hold the time of events
          + id bigint
        b: 1 records of 1 objects (0.0 MB) in 1 files (0.0 MB), version 0, N ms
          partitioned by ingested(): no column is known to hold the time of events
          the records lie at items
          + id bigint
        c: nothing new
        ");
    });
    assert_eq!(roots.run_here(&["compact"]).ok(), "a: nothing new\nb: nothing new\nc: nothing new\n");
}

#[test]
fn status_tells_what_is_in_the_tables_and_what_is_not() {
    let roots = Roots::new();
    roots.put("a/x.json", "{\"id\":1}\n{\"id\":2}\nbad\n");
    let run_id = roots.compact(&["--partition-by", "none"]).run_id;
    roots.put("a/y.json", r#"{"id":3}"#);
    roots.put("b/x.json", r#"{"id":1}"#);
    let text = roots.run_here(&["status"]).ok();
    insta::with_settings!({filters => vec![(&*run_id, "RUN"), (r"\d{4}-\d\d-\S+Z", "TIME")]}, {
        insta::assert_snapshot!(text, @r"
        a: version 0, 2 rows in 1 files (0.0 MB), 1 columns, partitioned by none
          1 raw objects consumed, 1 records in quarantine, last run RUN at TIME
          TIME RUN: 2 rows of 1 objects, 1 quarantined
          1 raw objects (0.0 MB) are new
        b: no table yet
          1 raw objects (0.0 MB) are new
        ");
    });
    let json = roots.status("a");
    assert_eq!(json["rows"], 2);
    assert_eq!(json["objects_consumed"], 1);
    assert_eq!(json["quarantined"], 1);
    assert_eq!((&json["objects_new"], &json["bytes_new"], &json["small_files"]), (&1.into(), &8.into(), &0.into()));
    assert_eq!(json["runs"][0]["rows"], 2);
    assert_eq!(json["last_run"], run_id.as_str());
    assert_eq!(roots.status("b")["version"], Value::Null);
}

#[test]
fn the_schema_shows_keys_columns_and_types_as_a_tree() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"data":{"items":[{"Id":1,"o":{"A b":[{"c":1.5}],"j":7}},{"id":2,"o":{"j":[]}}]}}"#);
    roots.compact_one(&["--partition-by", "none"]);
    let tree = roots.run(&["schema", "s", "--lake", roots.lake.to_str().unwrap()]).ok();
    insta::assert_snapshot!(tree, @r"
    s, partitioned by none
    records at data.items
      Id | id  id   bigint
      o        o    struct
        A b    a_b  array<struct>
          c    c    double
        j      j    string (json)
    ");
    insta::assert_snapshot!(roots.columns("s").to_string(), @r#"[{"path":"Id","keys":["Id","id"],"column":"id","type":"bigint"},{"path":"o","keys":["o"],"column":"o","type":"struct<a_b:array<struct<c:double>>,j:string (json)>","fields":[{"path":"o.A b","keys":["A b"],"column":"a_b","type":"array<struct<c:double>>","fields":[{"path":"o.A b[].c","keys":["c"],"column":"c","type":"double"}]},{"path":"o.j","keys":["j"],"column":"j","type":"string (json)"}]}]"#);
}

#[test]
fn diagnostics_go_to_stderr_and_may_be_json() {
    let roots = Roots::new();
    roots.put("s/a.json", r#"{"id":1}"#);
    let mut command = roots.command_here(&["compact", "--output", "json", "--log", "json"]);
    let ran = crate::support::Ran::of(command.env("RUST_LOG", "siltstone=info"));
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stdout.lines().count(), 1);
    assert!(ran.stderr.lines().count() >= 2, "{}", ran.stderr);
    for line in ran.stderr.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["level"], "INFO");
    }
}
