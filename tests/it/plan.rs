//! `siltstone plan`: it says what the run will do, and does nothing.

use serde_json::{Value, json};

use crate::support::{Roots, files_below, lines};

fn plan(roots: &Roots, args: &[&str]) -> Value {
    let text = roots.run_here(&[&["plan", "--output", "json"], args].concat()).ok();
    serde_json::from_str::<Value>(&text).unwrap()["sources"][0].take()
}

#[test]
fn a_plan_says_what_the_run_then_does() {
    let roots = Roots::new();
    let day =
        |id: u32, v: Value| json!({"id": id, "created_at": format!("2025-01-{:02}T00:00:00Z", id % 28 + 1), "v": v});
    roots.put("s/1", lines(&(0..50).map(|id| day(id, json!(id))).collect::<Vec<_>>()));
    let by_day = ["--partition-by", "day(created_at)"];
    for (round, object) in [
        String::new(),
        lines(&[day(3, json!("x")), json!({"id": 99, "created_at": null}), day(4, json!(1))]) + "broken\n",
        lines(&[json!({"id": 1.5, "created_at": "2025-01-01T00:00:00Z", "new": {"a": [1]}})]),
    ]
    .iter()
    .enumerate()
    {
        if round > 0 {
            roots.put(&format!("s/{}", round + 1), object);
        }
        let before = if roots.lake.exists() { files_below(&roots.lake) } else { Vec::new() };
        let planned = plan(&roots, &by_day);
        let after = if roots.lake.exists() { files_below(&roots.lake) } else { Vec::new() };
        assert_eq!(before, after, "a plan writes nothing");
        let report = roots.compact_one(&by_day);
        let number = |name: &str| planned[name].as_u64().unwrap();
        assert_eq!(
            (number("objects"), number("rows"), number("quarantined"), number("files"), number("bytes_in")),
            (report.objects, report.success_count, report.error_count, report.files, report.bytes_in)
        );
        assert_eq!(number("bytes_out"), report.bytes_out);
        let changes: Vec<String> = planned["schema_changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| match change["before"].as_str() {
                None => format!("+ {} {}", change["path"].as_str().unwrap(), change["after"].as_str().unwrap()),
                Some(before) => {
                    format!("~ {} {before} -> {}", change["path"].as_str().unwrap(), change["after"].as_str().unwrap())
                }
            })
            .collect();
        assert_eq!(changes, report.schema_changes);
        let rewritten = report.notes.iter().find_map(|note| note.split_once(" files (")?.0.parse().ok()).unwrap_or(0);
        assert_eq!(number("files_rewritten"), rewritten, "{:?}", report.notes);
        let rows: u64 = planned["partitions"].as_object().unwrap().values().map(|rows| rows.as_u64().unwrap()).sum();
        assert_eq!(rows, report.success_count);
    }
    let nothing = plan(&roots, &[]);
    assert_eq!((&nothing["objects"], &nothing["partitions"]), (&json!(0), &json!({})));
    assert_eq!(roots.run_here(&["plan"]).ok(), "s: nothing new\n");
}

#[test]
fn a_plan_refuses_what_a_run_refuses() {
    let roots = Roots::new();
    roots.put("s/1", lines(&[json!({"id": 1})]));
    for command in ["plan", "compact"] {
        let message = roots.run_here(&[command, "--partition-by", "day(nowhere)"]).failed(2);
        assert!(message.contains("nowhere"), "{command}: {message}");
    }
    // Of two sources, it tells of both.
    roots.put("t/1", lines(&[json!({"nowhere": "2024-01-01"})]));
    let text = roots.run_here(&["plan", "--partition-by", "day(nowhere)"]).failed(1);
    assert!(text.contains("nowhere"), "{text}");
}

#[test]
fn a_plan_for_people_names_reasons_and_partitions() {
    let roots = Roots::new();
    roots.put("s/1", lines(&[json!({"id": 1, "kind": "a"}), json!({"id": 2, "kind": "b c"})]));
    roots.run_here(&["compact", "--partition-by", "kind"]);
    roots.put("s/2", lines(&[json!({"id": "x", "kind": "b c"})]));
    let text = roots.run_here(&["plan"]).ok();
    for expected in [
        "read 1 objects",
        "add 1 rows in 1 files",
        "write 2 files",
        "~ id bigint -> string  (also string (1, first in 2))",
        "kind_part=b%20c: 1 rows",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}

#[test]
fn a_plan_that_cannot_be_carried_out_says_why() {
    let roots = Roots::new();
    roots.put("s/1", "{\"id\":1}");
    roots.compact_one(&["--partition-by", "none"]);
    roots.put("s/2", "{\"id\":2}");
    let message = roots.run_here(&["plan", "--partition-by", "day(t)"]).failed(2);
    assert!(message.contains("cannot be partitioned by day(t)"), "{message}");
    assert!(roots.run_here(&["plan", "nowhere"]).failed(1).contains("nowhere"));
}
