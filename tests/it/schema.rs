//! `siltstone schema --history`, `--explain` and `--diff`.

use serde_json::{Value, json};

use crate::support::{Roots, gzip};

/// A table of three versions.
fn evolved() -> Roots {
    let roots = Roots::new();
    roots.put("s/2025-01/a.json", r#"[{"id":1,"price":1.50,"lines":[{"Unit-Price":2}],"empty":null}]"#);
    roots.compact_one(&["--partition-by", "none"]);
    roots.put(
        "s/2025-02/b.json",
        gzip(r#"[{"id":2,"price":"n/a"},{"id":12345678901234567890,"lines":[{"Unit-Price":0.5}]}]"#),
    );
    roots.compact_one(&[]);
    roots.put("s/2025-03/c.json", r#"{"id":3,"note":"x"}"#);
    roots.compact_one(&[]);
    roots
}

fn schema(roots: &Roots, args: &[&str]) -> Value {
    let text = roots.run_here(&[&["schema", "s", "--format", "json"], args].concat()).ok();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_history_tells_each_change_with_its_reason() {
    let roots = evolved();
    let history = schema(&roots, &["--history"]);
    let versions = history.as_array().unwrap();
    assert_eq!(versions.len(), 3);
    for (index, version) in versions.iter().enumerate() {
        assert_eq!((&version["version"], &version["run"]["table_version"]), (&json!(index + 1), &json!(index)));
    }
    assert_eq!(
        versions[1]["changes"],
        json!([
            {"path": "id", "before": "bigint", "after": "decimal(38,0)", "reason": "also integer_over_64_bits (1, first in 2025-02/b.json)"},
            {"path": "lines[].unit_price", "before": "bigint", "after": "double", "reason": "also number (1, first in 2025-02/b.json)"},
            {"path": "price", "before": "double", "after": "string", "reason": "also string (1, first in 2025-02/b.json)"}
        ])
    );
    assert_eq!(
        versions[2]["changes"],
        json!([{"path": "note", "after": "string", "reason": "first in 2025-03/c.json"}])
    );
    let text = roots.run_here(&["schema", "s", "--history"]).ok();
    assert!(text.contains("~ price double -> string  (also string (1, first in 2025-02/b.json))"), "{text}");
}

#[test]
fn an_explanation_gives_kinds_objects_samples_and_the_reason() {
    let roots = evolved();
    let price = schema(&roots, &["--explain", "price"]);
    assert_eq!((&price["sql_type"], &price["path"]), (&json!("string"), &json!("price")));
    assert_eq!(
        price["kinds"],
        json!([
            {"kind": "number", "count": 1, "first_object": "2025-01/a.json"},
            {"kind": "string", "count": 1, "first_object": "2025-02/b.json"}
        ])
    );
    assert_eq!(price["samples"], json!({"number": "1.50", "string": "\"n/a\""}));
    assert_eq!((&price["first_object"], &price["last_object"]), (&json!("2025-01/a.json"), &json!("2025-02/b.json")));
    assert_eq!(price["changes"].as_array().unwrap().len(), 2);
    // By key or by column name, brackets or not.
    let unit = schema(&roots, &["--explain", "lines[].unit_price"]);
    for path in ["lines.Unit-Price", "lines.unit_price", "Lines[].\"Unit-Price\""] {
        assert_eq!(schema(&roots, &["--explain", path]), unit, "{path}");
    }
    assert_eq!((&unit["keys"], &unit["integers"]), (&json!(["Unit-Price"]), &json!({"min": 2, "max": 2})));
    let empty = schema(&roots, &["--explain", "empty"]);
    assert_eq!((&empty["sql_type"], &empty["why"]), (&Value::Null, &json!("nothing but null, {} or [] was seen")));
    // Without a raw root there are no samples, and no row content.
    let lake = roots.lake.to_str().unwrap();
    let text = roots.run(&["schema", "s", "--explain", "price", "--lake", lake]).ok();
    assert!(text.contains("1 string, first in 2025-02/b.json\n") && !text.contains("n/a"), "{text}");
    let message = roots.run_here(&["schema", "s", "--explain", "lines[].none"]).failed(2);
    assert!(message.contains("nothing was seen at lines[].none"), "{message}");
}

#[test]
fn a_difference_sums_versions_up() {
    let roots = evolved();
    let paths = |from: &str, to: &str| -> Vec<String> {
        let changes = schema(&roots, &["--diff", from, to])["changes"].take();
        changes
            .as_array()
            .unwrap()
            .iter()
            .map(|change| format!("{} {}", change["path"].as_str().unwrap(), change["after"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(paths("2", "3"), ["note string"]);
    assert_eq!(paths("1", "3"), ["id decimal(38,0)", "lines[].unit_price double", "price string", "note string"]);
    assert_eq!(paths("1", "1"), Vec::<String>::new());
    assert!(paths("0", "3").contains(&"price string".to_owned()));
    assert!(roots.run_here(&["schema", "s", "--diff", "1", "4"]).failed(2).contains("0 (no columns) to 3"));
}

#[test]
fn what_is_known_of_columns_does_not_depend_on_the_cut_into_runs() {
    let objects: Vec<String> = (0..12_u32)
        .map(|id| match id % 4 {
            0 => format!("{{\"id\":{id},\"v\":{id}}}"),
            1 => format!("{{\"id\":{id},\"v\":\"{id}\",\"w\":null}}"),
            2 => format!("{{\"id\":{id}.5,\"l\":[{{\"x\":{id}}},{{}}]}}"),
            _ => format!("{{\"l\":[{{\"x\":\"2025-01-{:02}\"}}],\"w\":[]}}", id + 1),
        })
        .collect();
    let explain = |order: &[Vec<usize>]| {
        let roots = Roots::new();
        for run in order {
            run.iter().for_each(|object| roots.put(&format!("s/{object:02}"), &objects[*object]));
            roots.compact_one(&["--partition-by", "none"]);
        }
        ["id", "v", "l[].x", "w"].map(|path| {
            let mut explained = schema(&roots, &["--explain", path]);
            explained["changes"].take();
            explained
        })
    };
    let at_once = explain(&[(0..12).collect()]);
    assert_eq!(explain(&[vec![3, 7], vec![0, 11], vec![1, 2, 4, 5, 6], vec![8, 9, 10]]), at_once);
    assert_eq!(explain(&(0..12).rev().map(|object| vec![object]).collect::<Vec<_>>()), at_once);
}
