//! Types that change from run to run: files that hold the narrower type are written again, and everything still reads.

use serde_json::{Value, json};

use crate::support::{Roots, lines};

/// Compacts each text in a run of its own, then checks that lake and raw agree on the number of rows.
fn runs(texts: &[&str]) -> Roots {
    let roots = Roots::new();
    for (run, text) in texts.iter().enumerate() {
        roots.put(&format!("s/{run}.json"), text);
        let report = roots.compact_one(&[]);
        assert_eq!((report.objects, report.error_count, report.version), (1, 0, Some(run as u64)), "{report:?}");
    }
    let counts = roots.sql("select (select count(*) from lake.s) as lake, (select count(*) from raw.s) as raw");
    assert_eq!(counts[0]["lake"], counts[0]["raw"]);
    roots
}

#[test]
fn old_integers_become_their_digits() {
    let roots = runs(&["{\"id\":1,\"v\":12}\n{\"id\":2}\n", r#"{"id":3,"v":"x"}"#]);
    assert_eq!(roots.export("s"), [json!({"id": 1, "v": "12"}), json!({"id": 2}), json!({"id": 3, "v": "x"})]);
    assert_eq!(roots.sql("select id from lake.s where v = '12'"), [json!({"id": 1})]);
    assert_eq!(roots.column_type("s", "v"), "string");
    assert_eq!(roots.schema("s")["schema_version"], 2);
}

#[test]
fn each_scalar_keeps_its_value_when_it_becomes_wider() {
    let roots = runs(&[
        r#"{"id":1,"i":12,"w":13,"t":"2025-01-02T03:04:05.678Z","d":"2025-01-02","b":true,"f":0.25,"n":"2025-01-02T03:04:05"}"#,
        r#"{"id":2,"i":0.5,"w":12345678901234567890,"t":"soon","d":"x","b":"y","f":"z","n":"2025-01-02T03:04:05+01:00"}"#,
    ]);
    let rows = roots.sql("select * from lake.s order by id");
    let old = json!({"i": 12.0, "w": 13, "t": "2025-01-02T03:04:05.678Z", "d": "2025-01-02", "b": "true", "f": "0.25",
        "n": "2025-01-02T03:04:05Z"});
    for (column, value) in old.as_object().unwrap() {
        assert_eq!(rows[0][column], *value, "{column}");
    }
    assert_eq!(rows[1]["n"], "2025-01-02T02:04:05Z");
    assert_eq!(rows[1]["w"].to_string(), "12345678901234567890");
    let types = [("i", "double"), ("w", "decimal(38,0)"), ("t", "string"), ("d", "string"), ("n", "timestamp")];
    for (column, ty) in types {
        assert_eq!(roots.column_type("s", column), ty, "{column}");
    }
}

#[test]
fn scalars_and_structures_become_json_text() {
    let roots = runs(&[
        r#"{"id":1,"a":5,"b":"x","c":[1,2],"d":{"Key":{"x":1}},"e":1.5,"f":"2025-01-02"}"#,
        r#"{"id":2,"a":{"z":1},"b":[true],"c":{"y":0},"d":3,"e":[],"f":{}}"#,
    ]);
    let first = json!({"id": 1, "a": 5, "b": "x", "c": [1, 2], "d": {"Key": {"x": 1}}, "e": 1.5, "f": "2025-01-02"});
    let second = json!({"id": 2, "a": {"z": 1}, "b": [true], "c": {"y": 0}, "d": 3, "e": [], "f": {}});
    assert_eq!(roots.export("s"), [first, second]);
    let texts = roots.sql("select a, b, c, d from lake.s order by id");
    assert_eq!(texts[0], json!({"a": "5", "b": "\"x\"", "c": "[1,2]", "d": "{\"Key\":{\"x\":1}}"}));
    for column in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(roots.column_type("s", column), "string (json)", "{column}");
    }
}

#[test]
fn new_columns_and_struct_fields_rewrite_nothing() {
    let roots = Roots::new();
    roots.put("s/1.json", r#"{"id":1,"o":{"x":1},"l":[{"a":1}],"ll":[[{"a":1}]]}"#);
    roots.compact_one(&[]);
    let before: Vec<String> = roots.partition_folders("s");
    roots.put("s/2.json", r#"{"id":2,"o":{"x":2,"y":{"z":"w"}},"l":[{"a":2,"b":3}],"ll":[[{"b":1}]],"new":true}"#);
    let report = roots.compact_one(&[]);
    let expected = ["+ o.y struct<z:string>", "+ l[].b bigint", "+ ll[][].b bigint", "+ new boolean"];
    assert_eq!(report.schema_changes, expected);
    assert!(report.notes.is_empty(), "{report:?}");
    assert_eq!(roots.partition_folders("s"), before);
    assert_eq!(roots.status("s")["files"], 2);
    assert_eq!(
        roots.sql("select id, o, l, ll, new from lake.s order by id"),
        [
            json!({"id": 1, "o": {"x": 1, "y": null}, "l": [{"a": 1, "b": null}], "ll": [[{"a": 1, "b": null}]], "new": null}),
            json!({"id": 2, "o": {"x": 2, "y": {"z": "w"}}, "l": [{"a": 2, "b": 3}], "ll": [[{"a": null, "b": 1}]], "new": true}),
        ]
    );
    // Filters on what old files lack.
    assert_eq!(roots.sql("select id from lake.s where o['y']['z'] = 'w'"), [json!({"id": 2})]);
    assert_eq!(roots.sql("select id from lake.s where o['y'] is null"), [json!({"id": 1})]);
    assert_eq!(roots.sql("select id from lake.s where new"), [json!({"id": 2})]);
    assert_eq!(roots.sql("select id from lake.s where new is null"), [json!({"id": 1})]);
}

#[test]
fn elements_of_lists_and_fields_of_structs_are_promoted() {
    let roots = runs(&[
        r#"{"id":1,"l":[1,2],"o":{"p":{"q":3}},"m":[[{"r":4}]]}"#,
        r#"{"id":2,"l":["x"],"o":{"p":{"q":0.5}},"m":[[{"r":"y"}]]}"#,
    ]);
    let rows = roots.sql("select l, o['p']['q'] as q, m from lake.s order by id");
    assert_eq!(rows[0], json!({"l": ["1", "2"], "q": 3.0, "m": [[{"r": "4"}]]}));
    assert_eq!(rows[1], json!({"l": ["x"], "q": 0.5, "m": [[{"r": "y"}]]}));
}

#[test]
fn only_files_that_hold_the_column_are_written_again() {
    let roots = Roots::new();
    for (run, text) in [r#"{"id":1}"#, r#"{"id":2,"v":7}"#, r#"{"id":3,"v":null}"#].iter().enumerate() {
        roots.put(&format!("s/{run}.json"), text);
        roots.compact_one(&[]);
    }
    roots.put("s/4.json", r#"{"id":4,"v":"x"}"#);
    let report = roots.compact_one(&[]);
    assert!(report.notes.iter().any(|note| note.starts_with("1 files (")), "{report:?}");
    assert_eq!(report.schema_changes, ["~ v bigint -> string"]);
    assert_eq!(roots.status("s")["files"], 4);
    assert_eq!(roots.export("s")[1], json!({"id": 2, "v": "7"}));
}

#[test]
fn a_column_may_be_promoted_again_and_again() {
    let roots = runs(&[
        r#"{"id":1,"v":7}"#,
        r#"{"id":2,"v":0.5}"#,
        r#"{"id":3,"v":"x"}"#,
        r#"{"id":4,"v":{"y":1}}"#,
        r#"{"id":5,"v":[1]}"#,
    ]);
    let values: Vec<Value> = roots.export("s").into_iter().map(|mut record| record["v"].take()).collect();
    assert_eq!(values, [json!(7), json!(0.5), json!("x"), json!({"y": 1}), json!([1])]);
}

#[test]
fn partitions_stay_when_their_column_is_promoted() {
    let roots = Roots::new();
    roots
        .put("s/1.json", "{\"id\":1,\"t\":\"2025-01-02T23:30:00Z\"}\n{\"id\":2,\"t\":\"2025-01-03T00:00:00+01:00\"}\n");
    roots.compact_one(&["--partition-by", "day(t)"]);
    assert_eq!(roots.partition_folders("s"), ["t_day=2025-01-02"]);
    roots.put(
        "s/2.json",
        "{\"id\":3,\"t\":\"unknown\"}\n{\"id\":4,\"t\":\"2025-01-04T00:00:00Z\"}\n{\"id\":5,\"t\":17}\n",
    );
    roots.compact_one(&[]);
    assert_eq!(roots.column_type("s", "t"), "string");
    let days = "select id, cast(t_day as varchar) as day from lake.s order by id";
    let day = |id: u64, day: Option<&str>| json!({"id": id, "day": day});
    let expected = [
        day(1, Some("2025-01-02")),
        day(2, Some("2025-01-02")),
        day(3, None),
        day(4, Some("2025-01-04")),
        day(5, None),
    ];
    assert_eq!(roots.sql(days), expected);
    assert_eq!(roots.sql("select id from lake.s where t_day = date '2025-01-04'"), [json!({"id": 4})]);
}

/// `count` records whose object `m` has one key each.
fn dictionary(from: usize, to: usize, value: impl Fn(usize) -> Value) -> String {
    lines(&(from..to).map(|id| json!({"id": id, "m": {format!("k{id}"): value(id)}})).collect::<Vec<_>>())
}

#[test]
fn values_of_a_dictionary_may_gain_fields_and_be_promoted() {
    let roots = runs(&[
        &dictionary(0, 600, |id| json!({"a": id})),
        &dictionary(600, 610, |id| json!({"a": id, "b": "x"})),
        &dictionary(610, 620, |_| json!({"a": "y"})),
    ]);
    assert_eq!(roots.column_type("s", "m"), "map<string,struct<a:string,b:string>>");
    let records = roots.export("s");
    assert_eq!(records.len(), 620);
    for (id, value) in [(7, json!({"a": "7"})), (605, json!({"a": "605", "b": "x"})), (615, json!({"a": "y"}))] {
        let record = records.iter().find(|record| record["id"] == id).unwrap();
        assert_eq!(record["m"], json!({format!("k{id}"): value}));
    }
    assert_eq!(roots.sql("select count(*) as n from lake.s where cardinality(m) = 1"), [json!({"n": 620})]);
}

#[test]
fn a_struct_becomes_a_map_when_it_has_more_keys_than_a_struct_may() {
    let keys = siltstone::schema::MAX_OBJECT_KEYS;
    let few = dictionary(0, 10, |id| json!(id));
    let many: serde_json::Map<String, Value> = (100..keys + 101).map(|key| (format!("k{key}"), json!(0.5))).collect();
    let roots = runs(&[&few, &json!({"id": 99, "m": many}).to_string()]);
    assert_eq!(roots.column_type("s", "m"), "map<string,double>");
    let records = roots.export("s");
    let record = |id: u64| records.iter().find(|record| record["id"] == id).unwrap();
    assert_eq!(record(7)["m"], json!({"k7": 7.0}));
    assert_eq!(record(99)["m"].as_object().unwrap().len(), keys + 1);
    assert_eq!(roots.sql("select sum(cardinality(m)) as n from lake.s"), [json!({"n": keys + 11})]);
}

#[test]
fn keys_that_come_to_share_a_column_are_added_to_the_metadata_of_the_table() {
    let roots = runs(&[r#"{"id":1,"Org":7}"#, r#"{"id":2,"org":8}"#]);
    assert_eq!(roots.sql("select org from lake.s order by id"), [json!({"org": 7}), json!({"org": 8})]);
    let log = std::fs::read_to_string(roots.lake.join("s/_delta_log/00000000000000000001.json")).unwrap();
    let actions = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let metadata = actions.into_iter().find(|action| !action["metaData"].is_null()).unwrap();
    let schema: Value = serde_json::from_str(metadata["metaData"]["schemaString"].as_str().unwrap()).unwrap();
    let keys: Value =
        serde_json::from_str(schema["fields"][1]["metadata"]["siltstone.keys"].as_str().unwrap()).unwrap();
    assert_eq!(keys, json!({"": ["Org", "org"]}));
}

#[test]
fn files_beside_one_that_was_promoted_from_a_struct_keep_their_statistics() {
    let roots = Roots::new();
    roots.put("s/1.json", "{\"id\":1,\"p\":\"a\",\"o\":{\"x\":1}}\n{\"id\":2,\"p\":\"b\"}\n");
    roots.compact_one(&["--partition-by", "p"]);
    // One file of the first commit is written again, the other stays.
    roots.put("s/2.json", r#"{"id":3,"p":"a","o":"x"}"#);
    roots.compact_one(&[]);
    assert_eq!(roots.exported_ids("s"), [1, 2, 3]);
    // They survive the checkpoint, too.
    for run in 3..25 {
        roots.put(&format!("s/{run}.json"), json!({"id": run + 1, "p": "b"}).to_string());
        roots.compact_one(&[]);
    }
    assert_eq!(roots.exported_ids("s"), (1..=25).collect::<Vec<_>>());
    assert_eq!(roots.sql("select id from lake.s where id = 2"), [json!({"id": 2})]);
    let status = roots.status("s");
    assert_eq!((status["rows"].as_u64(), status["version"].as_u64()), (Some(25), Some(23)));
}
