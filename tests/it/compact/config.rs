//! What the configuration says of a source's columns, over several runs.

use serde_json::{Value, json};

use crate::support::{Roots, gzip, lines};

/// Roots with a configuration for source `s`, which commands find in the folder they run in.
fn configured(config: &str) -> Roots {
    let roots = Roots::new();
    configure(&roots, config);
    roots
}

fn configure(roots: &Roots, config: &str) {
    std::fs::write(roots.dir.path().join("siltstone.toml"), format!("[sources.s]\n{config}")).unwrap();
}

/// The rejects, as (reason, column).
fn rejected(roots: &Roots) -> Vec<(String, String)> {
    let rows = roots.sql("select reason, column_path from quarantine.s order by key, byte_offset");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("").to_owned();
    rows.iter().map(|row| (text(row, "reason"), text(row, "column_path"))).collect()
}

fn pair(reason: &str, column: &str) -> (String, String) {
    (reason.to_owned(), column.to_owned())
}

#[test]
fn an_add_only_table_takes_new_columns_and_quarantines_what_would_promote_one() {
    let roots = configured("contract = \"add-only\"");
    roots.put("s/1", lines(&[json!({"id": 1, "v": 1.5}), json!({"id": 2, "v": 2})]));
    assert_eq!(roots.compact_one(&[]).error_count, 0, "the first run makes the columns");
    roots.put("s/2", lines(&[json!({"id": "x"}), json!({"id": 3, "new": {"a": 1}}), json!({"id": 4, "v": "much"})]));
    let report = roots.compact_one(&[]);
    assert_eq!((report.success_count, report.error_count), (1, 2), "{report:?}");
    assert_eq!(report.schema_changes, ["+ new struct<a:bigint>"]);
    assert_eq!(rejected(&roots), [pair("type_mismatch", "id"), pair("type_mismatch", "v")]);
    assert_eq!(roots.exported_ids("s"), [1, 2, 3]);
    // What one run added is bound from the next one on.
    roots.put("s/3", lines(&[json!({"id": 5, "new": 7}), json!({"id": 6, "new": {"a": 2}})]));
    let report = roots.compact_one(&[]);
    assert_eq!((report.success_count, report.error_count), (1, 1), "{report:?}");
    assert_eq!(roots.column_type("s", "id"), "bigint");
}

#[test]
fn a_frozen_table_keeps_its_schema() {
    let roots = configured("contract = \"freeze\"");
    roots.put("s/1", lines(&[json!({"id": 1, "o": {"a": 1}})]));
    roots.compact_one(&[]);
    let before = roots.columns("s");
    roots.put(
        "s/2",
        lines(&[
            json!({"id": 2, "o": {"b": 1}}),
            json!({"id": 3, "new": 1}),
            json!({"id": 1.5}),
            json!({"id": 4, "new": null}),
        ]),
    );
    let report = roots.compact_one(&[]);
    assert_eq!((report.success_count, report.error_count, report.schema_changes.len()), (1, 3, 0), "{report:?}");
    let expected = [pair("unknown_column", "o.b"), pair("unknown_column", "new"), pair("type_mismatch", "id")];
    assert_eq!(rejected(&roots), expected);
    assert_eq!(roots.columns("s"), before);
}

#[test]
fn columns_have_the_types_that_are_asked_for_and_keep_them() {
    let types = "[sources.s.columns]\nprice = { type = \"decimal(10,2)\" }\ncode = { type = \"string\" }\nextra = { type = \"json\" }\nlabels = { type = \"map\" }\n";
    let roots = configured(types);
    let first = r#"{"id":1,"price":12.5,"code":7,"extra":{"a":[1]},"labels":{"x":"y"}}"#;
    roots.put(
        "s/1",
        format!("{first}\n{{\"id\":2,\"price\":\"3.999\"}}\n{{\"id\":3,\"price\":\"0.07\",\"extra\":1}}\n"),
    );
    let report = roots.compact_one(&["--partition-by", "none"]);
    assert_eq!((report.success_count, report.error_count), (2, 1), "{report:?}");
    let types = |roots: &Roots| ["price", "code", "extra", "labels"].map(|column| roots.column_type("s", column));
    let expected = ["decimal(10,2)", "string", "string (json)", "map<string,string>"];
    assert_eq!(types(&roots), expected);
    assert_eq!(rejected(&roots), [pair("type_mismatch", "price")]);
    // The types stay when the configuration no longer speaks of them.
    configure(&roots, "");
    roots.put("s/2", "{\"id\":4,\"price\":1,\"code\":8,\"extra\":\"t\",\"labels\":{}}\n");
    assert_eq!(roots.compact_one(&[]).error_count, 0);
    assert_eq!(types(&roots), expected);
    let sum = "select sum(price) as price, max(code) as code, count(extra) as extra from lake.s where price > 0.05";
    assert_eq!(roots.sql(sum), [json!({"price": 13.57, "code": "8", "extra": 3})]);
    assert_eq!(roots.sql(&sum.replace("lake.s", "raw.s")), roots.sql(sum));
}

#[test]
fn a_type_that_stored_values_cannot_have_is_refused() {
    let roots = configured("");
    roots.put("s/1", lines(&[json!({"id": 1, "v": "text", "n": 5})]));
    roots.compact_one(&[]);
    roots.put("s/2", lines(&[json!({"id": 2})]));
    configure(&roots, "columns = { v = { type = \"bigint\" } }");
    let message = roots.run_here(&["compact"]).failed(2);
    assert!(message.contains("column v of the table is string and cannot become bigint"), "{message}");
    // A wider one is a promotion.
    configure(&roots, "columns = { n = { type = \"string\" } }");
    let report = roots.compact_one(&[]);
    assert_eq!(report.schema_changes, ["~ n bigint -> string"]);
    assert_eq!(roots.sql("select n from lake.s where id = 1"), [json!({"n": "5"})]);
}

#[test]
fn two_spellings_of_a_renamed_key_have_names_made_of_the_new_one_for_good() {
    let roots = configured("columns = { a = { rename = \"zz\" } }");
    roots.put("s/1", lines(&[json!({"id": 1, "a": 1, "A": 2})]));
    assert_eq!(roots.compact_one(&[]).error_count, 0);
    roots.put("s/2", lines(&[json!({"id": 2, "a": 3}), json!({"id": 3, "A": 4})]));
    assert_eq!(roots.compact_one(&[]).success_count, 2);
    let rows = roots.sql("select zz from lake.s order by id");
    assert_eq!(rows.iter().filter(|row| row["zz"].is_number()).count(), 2, "{rows:?}");
    configure(&roots, "columns = { a = { rename = \"other\" } }");
    roots.put("s/3", lines(&[json!({"id": 4, "a": 3})]));
    assert!(roots.run_here(&["compact"]).stderr.contains("cannot be renamed to other"));
}

#[test]
fn columns_are_dropped_and_renamed() {
    let roots =
        configured("[sources.s.columns]\nsecret = { drop = true }\n\"user.Full-Name\" = { rename = \"name\" }\n");
    roots.put("s/1", r#"{"id":1,"secret":{"pin":1},"user":{"Full-Name":"A","secret":2}}"#);
    roots.compact_one(&[]);
    assert_eq!(
        roots.sql("select \"user\"['name'] as name, \"user\"['secret'] as secret from lake.s"),
        [json!({"name": "A", "secret": 2})]
    );
    let names: Vec<String> = roots
        .columns("s")
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["column"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["id", "user"]);
    assert_eq!(roots.export("s"), [json!({"id": 1, "user": {"Full-Name": "A", "secret": 2}})]);
    // A column that a table has is not renamed: readers would lose it.
    roots.put("s/2", r#"{"id":2}"#);
    configure(&roots, "columns = { id = { rename = \"key\" } }");
    let message = roots.run_here(&["compact"]).failed(2);
    assert!(message.contains("key id as column id already"), "{message}");
}

#[test]
fn members_of_the_envelope_come_with_its_records() {
    let roots =
        configured("records = \"data.items\"\nenvelope_fields = [\"requestId\", \"data.total\", \"meta.page.next\"]");
    let object = |id: u32| json!({"requestId": format!("r{id}"), "data": {"items": [{"id": id}, {"id": id + 1}], "total": 2}, "meta": {"page": {"next": id}}});
    roots.put("s/1", object(1).to_string());
    roots.put("s/2", json!({"data": {"items": [{"id": 3}]}}).to_string());
    // Members stand behind the records, beyond the first window and compressed.
    let padding = "x".repeat(1000);
    let items: Vec<Value> = (10..6010).map(|id| json!({"id": id, "p": padding})).collect();
    let large = format!("{{\"data\":{{\"items\":{},\"total\":6000}},\"requestId\":\"large\"}}", Value::from(items));
    roots.put("s/3", gzip(large));
    let report = roots.compact_one(&["--partition-by", "none"]);
    assert_eq!((report.success_count, report.error_count), (6003, 0), "{report:?}");
    let rows = "select envelope_requestid as r, envelope_data_total as t, envelope_meta_page_next as n, count(*) as c
        from TABLE group by 1, 2, 3 order by 4, 1";
    let expected = [
        json!({"r": null, "t": null, "n": null, "c": 1}),
        json!({"r": "r1", "t": 2, "n": 1, "c": 2}),
        json!({"r": "large", "t": 6000, "n": null, "c": 6000}),
    ];
    assert_eq!(roots.sql(&rows.replace("TABLE", "lake.s")), expected);
    assert_eq!(roots.sql(&rows.replace("TABLE", "raw.s")), expected);
}

#[test]
fn a_table_has_no_more_columns_than_it_may() {
    let roots = configured("max_columns = 10");
    let record = |id: u32| json!({"id": id, format!("k{id}"): id, "o": {format!("x{}", id % 4): id}});
    roots.put_lines("s/1", &(0..20).map(record).collect::<Vec<_>>());
    roots.compact_one(&["--partition-by", "none"]);
    let first = roots.columns("s");
    assert!(first.as_array().unwrap().len() <= 10, "{first}");
    roots.put_lines("s/2", &(20..40).map(record).collect::<Vec<_>>());
    roots.compact_one(&[]);
    assert_eq!(roots.columns("s").as_array().unwrap().len(), first.as_array().unwrap().len());
    let mut expected: Vec<Value> = (0..40).map(record).collect();
    let mut exported = roots.export("s");
    for records in [&mut expected, &mut exported] {
        records.sort_by_key(|record| record["id"].as_u64());
    }
    assert_eq!(exported, expected);
    assert_eq!(roots.sql("select count(overflow) > 20 as many from lake.s"), [json!({"many": true})]);
}

#[test]
fn wrong_settings_of_columns_say_what_is_wrong() {
    for (config, expected) in [
        ("contract = \"strict\"", "strict"),
        ("columns = { a = { type = \"int\" } }", "decimal(p,s)"),
        ("columns = { \"a[0]\" = { type = \"date\" } }", "no path"),
        ("columns = { a = { rename = \"No Name\" } }", "no name of a column"),
        ("columns = { a = { drop = true, type = \"date\" } }", "neither type nor name"),
        ("columns = { \"a[]\" = { drop = true } }", "cannot be dropped"),
        ("columns = { a = { colour = 1 } }", "colour"),
    ] {
        let roots = configured(config);
        roots.put("s/1", "{\"a\":1}");
        let message = roots.run_here(&["compact"]).failed(2);
        assert!(message.contains(expected), "{config}: {message}");
    }
}

#[test]
fn members_of_the_envelope_have_their_columns_however_few_there_may_be() {
    let roots = configured("max_columns = 5\nrecords = \"data\"\nenvelope_fields = [\"next\"]");
    let record = json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7});
    roots.put("s/1", json!({"data": [record], "next": "p1"}).to_string());
    roots.compact_one(&["--partition-by", "none"]);
    roots.put("s/2", json!({"data": [record, record], "next": "p2"}).to_string());
    roots.compact_one(&[]);
    let pages = roots.sql("select envelope_next as page, count(*) as n from lake.s group by 1 order by 1");
    assert_eq!(pages, [json!({"page": "p1", "n": 1}), json!({"page": "p2", "n": 2})]);
    let first = roots.export("s").remove(0);
    assert_eq!((&first["a"], &first["g"]), (&json!(1), &json!(7)), "{first}");
    let verified = roots.run_here(&["verify", "--deep", "s"]).ok();
    assert!(verified.contains("nothing wrong"), "{verified}");
}
