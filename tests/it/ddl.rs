//! `siltstone schema --ddl`: statements for other engines, from the columns and partitions of a table.

use serde_json::json;

use super::support::{Ran, Roots};

const ENGINES: [&str; 5] = ["athena", "hive", "spark", "duckdb", "trino"];

/// A table with a reserved name, JSON text, a big integer and partitions of which one is null and one needs escaping.
fn table() -> Roots {
    let roots = Roots::new();
    roots.put_lines(
        "web-shop.v2/a.json",
        &[
            json!({"id": 1, "order": {"From": "x", "big": 10_000_000_000_000_000_000_000_i128.to_string()}, "kind": "a b"}),
            json!({"id": 2, "order": {"From": "y"}, "any": {"a": 1}, "kind": "c", "at": "2025-02-03T00:00:00Z"}),
            json!({"id": 3, "any": 7, "kind": "c", "at": "2024-12-31T23:59:59Z"}),
        ],
    );
    roots.put("web-shop.v2/b.json", r#"{"id":4,"total":10000000000000000000000}"#);
    roots.compact_one(&["--partition-by", "day(at), kind"]);
    roots
}

fn print(roots: &Roots, args: &[&str]) -> Ran {
    roots.run(&[&["schema", "web-shop.v2", "--lake", roots.lake.to_str().unwrap()], args].concat())
}

#[test]
fn each_engine_gets_statements_over_the_table_as_it_is() {
    let roots = table();
    let lake = roots.lake.canonicalize().unwrap();
    let lake = lake.to_str().unwrap();
    for engine in ENGINES {
        let text = print(&roots, &["--ddl", engine]).ok();
        let folder = if engine == "duckdb" {
            format!("'{lake}/web-shop.v2/at_day=*")
        } else {
            format!("'file://{lake}/web-shop.v2/'")
        };
        assert!(text.contains(&folder), "{text}");
        assert!(text.ends_with('\n') && text.contains("-- It reads every Parquet file"), "{text}");
    }
    let athena = print(&roots, &["--ddl", "athena"]).ok();
    assert!(athena.contains("`order` struct<`from`:string,`big`:string>,"), "{athena}");
    assert!(athena.contains("`any` string COMMENT 'JSON text'"), "{athena}");
    assert!(athena.contains("`total` decimal(38,0)"), "{athena}");
    assert!(athena.contains("'projection.at_day.range' = '2024-12-31,NOW+1DAYS'"), "{athena}");
    let hive = print(&roots, &["--ddl", "hive"]).ok();
    assert!(hive.contains("--   at_day=__HIVE_DEFAULT_PARTITION__/kind_part=a%20b\n"), "{hive}");
}

#[test]
fn an_engine_that_is_not_known_and_a_format_besides_are_wrong_usage() {
    let roots = table();
    for args in [&["--ddl", "oracle"][..], &["--ddl"], &["--ddl", "hive", "--format", "json"]] {
        let ran = print(&roots, args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    }
    let ran = print(&roots, &["--ddl", "oracle"]);
    assert!(ENGINES.iter().all(|engine| ran.stderr.contains(engine)), "{}", ran.stderr);
}
