//! Raw objects that changed after they were consumed: what they hold now takes the place of their rows, and of no others.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use serde_json::{Value, json};
use siltstone::clock::SystemClock;
use siltstone::compact::{Request, Silent, SourceReport, Status, compact};
use siltstone::config::Config;
use siltstone::lake::{StoredFile, Table, verify};
use siltstone::store::Location;
use siltstone::store::faults::{AtCall, Fault, FaultStore, Op, Symptom};

use super::support::{Numbers, Roots, lines};

const REPLACE: &str = "provenance = \"raw_object\"\non_overwrite = \"replace\"";

fn configure(roots: &Roots, config: &str) {
    std::fs::write(roots.dir.path().join("siltstone.toml"), format!("[sources.s]\n{config}\n")).unwrap();
}

fn configured(config: &str) -> Roots {
    let roots = Roots::new();
    configure(&roots, config);
    roots
}

/// The ids in the table, by the raw object that the rows name.
fn ids(roots: &Roots) -> BTreeMap<String, Vec<i64>> {
    let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in roots.sql("select raw_object, id from lake.s order by id") {
        let key = row["raw_object"].as_str().unwrap_or("-").to_owned();
        found.entry(key).or_default().push(row["id"].as_i64().unwrap());
    }
    found
}

fn expected(objects: &[(&str, &[i64])]) -> BTreeMap<String, Vec<i64>> {
    objects.iter().map(|(key, ids)| ((*key).to_owned(), ids.to_vec())).collect()
}

#[track_caller]
fn assert_sound(roots: &Roots) {
    let verified = roots.run_here(&["verify", "s"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
}

#[track_caller]
fn optimize(roots: &Roots, args: &[&str]) -> Value {
    let lake = roots.lake.to_str().unwrap();
    let ran = roots.run(&[&["optimize", "s", "--output", "json", "--lake", lake], args].concat());
    let report: Value = serde_json::from_str(&ran.ok()).unwrap();
    report["sources"][0].clone()
}

/// How many rows agree with their raw objects, how many of them in canonical text, and how many could not be looked at.
#[track_caller]
fn deep(roots: &Roots) -> [u64; 3] {
    let report: Value =
        serde_json::from_str(&roots.run_here(&["verify", "s", "--deep", "--format", "json"]).ok()).unwrap();
    let deep = &report[0]["deep"];
    ["rows", "rows_canonical", "rows_unread"].map(|figure| deep[figure].as_u64().unwrap())
}

/// Records of these ids, in two partitions.
fn records(ids: &[i64]) -> String {
    lines(&ids.iter().map(|id| json!({"id": id, "kind": format!("k{}", id % 2)})).collect::<Vec<_>>())
}

/// Three objects of one run.
fn three() -> Roots {
    let roots = configured(REPLACE);
    for (key, ids) in [("a", [1, 2, 3]), ("b", [11, 12, 13]), ("c", [21, 22, 23])] {
        roots.put(&format!("s/{key}.json"), records(&ids));
    }
    roots.compact_one(&["--partition-by", "kind"]);
    roots
}

#[test]
fn what_an_object_holds_now_takes_the_place_of_its_rows_in_one_commit() {
    let roots = three();
    let version = roots.status("s")["version"].as_u64().unwrap();
    roots.put("s/b.json", records(&[12, 14, 15, 16]));
    let report = roots.compact_one(&[]);
    assert_eq!((report.objects, report.success_count, report.rows_replaced), (1, 4, 3), "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("took the place of its 3 rows")), "{report:?}");
    assert_eq!(report.version, Some(version + 1));
    let after = expected(&[("a.json", &[1, 2, 3]), ("b.json", &[12, 14, 15, 16]), ("c.json", &[21, 22, 23])]);
    assert_eq!(ids(&roots), after);
    let status = roots.status("s");
    assert_eq!((&status["rows"], &status["objects_consumed"]), (&json!(10), &json!(3)));
    assert_eq!((&status["objects_new"], &status["objects_overwritten"]), (&json!(0), &json!(0)));
    assert_sound(&roots);
    // It is consumed now.
    assert_eq!(roots.compact_one(&[]).objects, 0);
    // Who follows the changes of the table is told of rows that went.
    let log = roots.lake.join(format!("s/_delta_log/{:020}.json", version + 1));
    let log = std::fs::read_to_string(log).unwrap();
    let actions: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let removed: Vec<&Value> = actions.iter().map(|line| &line["remove"]).filter(|remove| remove.is_object()).collect();
    assert_eq!(removed.len(), 2);
    assert!(removed.iter().all(|remove| remove["dataChange"] == true));
}

#[test]
fn an_object_may_change_again_and_back_and_to_nothing() {
    let roots = three();
    for ids_now in [&[14][..], &[11, 12, 13], &[], &[15, 16], &[], &[17]] {
        roots.put("s/b.json", records(ids_now));
        let report = roots.compact_one(&[]);
        assert_eq!((report.objects, report.success_count), (1, ids_now.len() as u64), "{report:?}");
        let all = ids(&roots);
        assert_eq!(all.get("b.json").map_or(&[][..], Vec::as_slice), ids_now);
        assert_eq!(all.values().map(Vec::len).sum::<usize>(), 6 + ids_now.len());
        assert_eq!(roots.status("s")["objects_consumed"], 3);
        assert_sound(&roots);
    }
}

#[test]
fn rows_are_found_in_merged_and_in_sorted_files_too() {
    for sort_by in ["", "\nsort_by = [\"id\"]"] {
        let roots = configured(&format!("{REPLACE}{sort_by}"));
        for run in 0..6 {
            let objects = (0..3).map(|n| (format!("s/{run}-{n}.json"), run * 100 + n * 10));
            objects.for_each(|(key, id)| {
                roots.put(
                    &key,
                    format!("{{\"id\":{id},\"kind\":\"k\",\"d\":1.50}}\n{{\"id\":{},\"kind\":\"k\"}}\n", 999 - id),
                );
            });
            roots.compact_one(&["--partition-by", "kind", "--threads", "1"]);
        }
        assert_eq!(optimize(&roots, &[])["files_merged"], 6);
        for key in ["2-1", "4-0"] {
            roots.put(&format!("s/{key}.json"), r#"{"id":5000,"kind":"k"}"#);
        }
        let report = roots.compact_one(&[]);
        assert_eq!((report.success_count, report.rows_replaced), (2, 4), "{report:?}");
        let after = ids(&roots);
        assert_eq!((after.len(), &after["2-1.json"], &after["4-0.json"]), (18, &vec![5000], &vec![5000]));
        assert_eq!(after["2-2.json"], [220, 779]);
        assert_sound(&roots);
        // What is left is merged again, and columns can be promoted.
        optimize(&roots, &[]);
        roots.put("s/7.json", r#"{"id":7000,"kind":"k","d":"text"}"#);
        roots.compact_one(&[]);
        let texts = roots.sql("select raw_object, d from lake.s where d is not null order by raw_object");
        for row in &texts {
            let expected = if row["raw_object"] == "7.json" { "text" } else { "1.50" };
            assert_eq!(row["d"], expected, "{row}");
        }
        assert_eq!(texts.len(), 17);
        assert_eq!(deep(&roots), [35, 0, 0]);
    }
}

#[test]
fn columns_may_be_promoted_in_the_same_commit() {
    let roots = configured(REPLACE);
    roots.put("s/a.json", "{\"id\":1,\"v\":1.10}\n{\"id\":2,\"v\":1}");
    roots.put("s/b.json", "{\"id\":3,\"v\":3}");
    roots.compact_one(&["--partition-by", "none", "--threads", "1"]);
    roots.put("s/c.json", "{\"id\":4,\"v\":4.10}");
    roots.compact_one(&[]);
    roots.put("s/b.json", "{\"id\":3,\"v\":\"x\"}");
    let report = roots.compact_one(&[]);
    assert_eq!((report.success_count, report.rows_replaced), (1, 1), "{report:?}");
    let rows = roots.sql("select id, v, raw_object from lake.s order by id");
    let texts: Vec<(&str, &str)> =
        rows.iter().map(|row| (row["v"].as_str().unwrap(), row["raw_object"].as_str().unwrap())).collect();
    assert_eq!(texts, [("1.10", "a.json"), ("1", "a.json"), ("x", "b.json"), ("4.10", "c.json")]);
    assert_eq!(deep(&roots), [4, 0, 0]);
}

/// Objects of one run and slice: `rows` rows of fractions each, in two partitions.
fn fractions(roots: &Roots, keys: &str, rows: usize) {
    for (n, key) in keys.chars().enumerate() {
        let record = |row: usize| format!("{{\"id\":{},\"kind\":\"k{}\",\"v\":{n}.{row}0}}\n", n * 100 + row, row % 2);
        roots.put(&format!("s/{key}.json"), (0..rows).map(record).collect::<String>());
    }
    roots.compact_one(&["--partition-by", "kind", "--threads", "1"]);
}

#[test]
fn values_of_other_objects_of_a_slice_are_read_as_they_are_written_whichever_of_it_were_replaced() {
    for replaced in ["a", "c", "e", "ac", "bd", "abde", "abcd"] {
        for in_one_commit in [false, true] {
            let roots = configured(&format!("{REPLACE}\ntarget_file_bytes = 1024"));
            fractions(&roots, "abcde", 5);
            for key in replaced.chars() {
                roots.put(&format!("s/{key}.json"), r#"{"id":1000,"kind":"k0","v":9.90}"#);
                if !in_one_commit {
                    roots.compact_one(&["--threads", "1"]);
                }
            }
            roots.put("s/x.json", r#"{"id":2000,"kind":"k1","v":"text"}"#);
            let report = roots.compact_one(&["--threads", "1"]);
            assert!(!report.notes.iter().any(|note| note.contains("canonical text")), "{replaced}: {report:?}");
            let rows = (5 * (5 - replaced.len()) + replaced.len() + 1) as u64;
            assert_eq!(deep(&roots), [rows, 0, 0], "{replaced}");
        }
    }
}

#[test]
fn a_slice_that_lost_rows_to_a_replacement_and_to_a_deduplication_gives_canonical_text() {
    let roots = configured(&format!("{REPLACE}\ndedup = {{ keys = [\"twin\"], keep = \"last by id\" }}"));
    for (key, ids) in [("a", [1, 2]), ("b", [3, 4]), ("c", [5, 6])] {
        let record = |id: &i64| format!("{{\"id\":{id},\"twin\":\"{}\",\"v\":{id}.50}}\n", id.max(&2));
        roots.put(&format!("s/{key}.json"), ids.iter().map(record).collect::<String>());
    }
    roots.compact_one(&["--partition-by", "none", "--threads", "1"]);
    assert_eq!(optimize(&roots, &["--dedup"])["rows_deduplicated"], 1);
    roots.put("s/b.json", r#"{"id":7,"twin":"7","v":7.50}"#);
    roots.compact_one(&[]);
    roots.put("s/x.json", r#"{"id":8,"v":"text"}"#);
    let report = roots.compact_one(&[]);
    assert!(report.notes.iter().any(|note| note.contains("canonical text")), "{report:?}");
    let values = roots.sql("select id, v from lake.s order by id");
    let values: Vec<&str> = values.iter().map(|row| row["v"].as_str().unwrap()).collect();
    assert_eq!(values, ["2.5", "5.5", "6.5", "7.50", "text"]);
    assert_eq!(deep(&roots)[1..], [3, 0]);
}

#[test]
fn rejects_of_the_old_version_leave_the_quarantine() {
    let roots = configured(REPLACE);
    roots.put("s/a.json", "{\"id\":1}\nmalformed\n");
    roots.put("s/b.json", "malformed\n{\"id\":2}\nalso malformed\n");
    roots.compact_one(&["--partition-by", "none"]);
    assert_eq!(roots.status("s")["quarantined"], 3);
    roots.put("s/b.json", "{\"id\":3}\nwrong\n");
    let report = roots.compact_one(&[]);
    assert_eq!((report.success_count, report.error_count, report.rows_replaced), (1, 1, 1), "{report:?}");
    assert_eq!(roots.status("s")["quarantined"], 2);
    let kept = roots.sql("select key, byte_offset from quarantine.s order by key, byte_offset");
    assert_eq!(kept, [json!({"key": "a.json", "byte_offset": 9}), json!({"key": "b.json", "byte_offset": 9})]);
    assert_sound(&roots);
    // A version of rejects alone.
    roots.put("s/b.json", "wrong");
    roots.compact_one(&[]);
    assert_eq!(ids(&roots), expected(&[("a.json", &[1])]));
    assert_sound(&roots);
}

#[test]
fn all_versions_that_were_appended_give_way() {
    let roots = configured("provenance = \"raw_object\"\non_overwrite = \"append\"");
    for id in [1, 2] {
        roots.put("s/a.json", format!("{{\"id\":{id},\"v\":\"{}\"}}", "x".repeat(id)));
        roots.compact_one(&["--partition-by", "none"]);
    }
    assert_eq!(roots.status("s")["objects_consumed"], 2);
    configure(&roots, REPLACE);
    roots.put("s/a.json", "{\"id\":3,\"v\":\"xxx\"}");
    let report = roots.compact_one(&[]);
    assert_eq!((report.success_count, report.rows_replaced), (1, 2), "{report:?}");
    assert_eq!(ids(&roots), expected(&[("a.json", &[3])]));
    assert_eq!(roots.status("s")["objects_consumed"], 1);
    assert_sound(&roots);
}

#[test]
fn rows_that_a_deduplication_took_out_are_not_missed() {
    let roots = configured(&format!("{REPLACE}\ndedup = {{ keys = [\"id\"], keep = \"last by at\" }}"));
    roots.put("s/a.json", "{\"id\":1,\"at\":1}\n{\"id\":2,\"at\":1}\n");
    roots.put("s/b.json", "{\"id\":1,\"at\":2}\n{\"id\":3,\"at\":1}\n");
    roots.compact_one(&["--partition-by", "none"]);
    assert_eq!(optimize(&roots, &["--dedup"])["rows_deduplicated"], 1);
    assert_sound(&roots);
    roots.put("s/a.json", "{\"id\":4,\"at\":1}\n");
    let report = roots.compact_one(&[]);
    assert_eq!((report.success_count, report.rows_replaced), (1, 1), "{report:?}");
    assert_eq!(ids(&roots), expected(&[("a.json", &[4]), ("b.json", &[1, 3])]));
    assert_eq!(roots.status("s")["deduplicated"], 0);
    assert_sound(&roots);
}

#[test]
fn rows_from_before_the_column_was_there_stay_and_the_report_says_so() {
    let roots = Roots::new();
    roots.put("s/a.json", records(&[1]));
    roots.put("s/b.json", records(&[2]));
    roots.compact_one(&["--partition-by", "none"]);
    configure(&roots, REPLACE);
    roots.put("s/c.json", records(&[3]));
    roots.compact_one(&[]);
    roots.put("s/a.json", records(&[10, 11]));
    roots.put("s/c.json", records(&[30]));
    let report = roots.compact_one(&[]);
    assert_eq!((report.success_count, report.rows_replaced), (1, 1), "{report:?}");
    let is_told = |note: &String| note.starts_with("a.json changed after it was consumed; its old rows stay");
    assert!(report.notes.iter().any(is_told), "{report:?}");
    assert_eq!(ids(&roots), expected(&[("-", &[1, 2]), ("c.json", &[30])]));
    assert_eq!(roots.status("s")["objects_overwritten"], 1);
    assert_sound(&roots);
}

#[test]
fn the_column_of_provenance_is_the_tables_and_not_the_records() {
    let roots = configured("provenance = \"raw_object\"");
    roots.put("s/a/b c.json", "{\"id\":1,\"raw_object\":\"mine\"}\n{\"id\":2}\n{}\n");
    roots.put("s/none.json", "{}");
    roots.compact_one(&["--partition-by", "none"]);
    // The records' own key of that name has another one.
    let columns = roots.columns("s");
    let names: Vec<&str> =
        columns.as_array().unwrap().iter().map(|column| column["column"].as_str().unwrap()).collect();
    assert_eq!((names[0], names[2]), ("id", "raw_object"));
    assert!(names[1].starts_with("raw_object_"), "{names:?}");
    let rows = roots.sql(&format!("select id, {}, raw_object from lake.s order by id, raw_object", names[1]));
    let objects: Vec<&str> = rows.iter().map(|row| row["raw_object"].as_str().unwrap()).collect();
    assert_eq!(objects, ["a/b c.json", "a/b c.json", "a/b c.json", "none.json"]);
    assert_eq!(rows[0][names[1]], "mine");
    assert_eq!(roots.export("s"), [json!({"id": 1, "raw_object": "mine"}), json!({"id": 2}), json!({}), json!({})]);
    let ddl = roots.run_here(&["schema", "s", "--ddl", "athena"]).ok();
    assert!(ddl.contains("`raw_object` string"), "{ddl}");
    assert_sound(&roots);
    // It stays when the configuration no longer speaks of it, and has no other name.
    configure(&roots, "");
    roots.put("s/c.json", "{\"id\":3}");
    roots.compact_one(&[]);
    assert_eq!(roots.sql("select raw_object from lake.s where id = 3"), [json!({"raw_object": "c.json"})]);
    configure(&roots, "provenance = \"other\"");
    roots.put("s/d.json", "{\"id\":4}");
    let message = roots.run_here(&["compact", "s"]).failed(2);
    assert!(message.contains("the table has the column raw_object for it"), "{message}");
}

#[test]
fn a_name_that_the_table_has_already_is_refused() {
    let roots = Roots::new();
    roots.put("s/a.json", "{\"id\":1,\"k\":\"x\"}");
    roots.compact_one(&["--partition-by", "k"]);
    roots.put("s/b.json", "{\"id\":2}");
    for name in ["id", "k_part"] {
        configure(&roots, &format!("provenance = \"{name}\""));
        let message = roots.run_here(&["compact", "s"]).failed(2);
        assert!(message.contains(&format!("the table has another column {name} already")), "{message}");
    }
    for (config, wanted) in [
        ("on_overwrite = \"replace\"", "on_overwrite of source s is wrong: to replace the rows of a raw object"),
        ("provenance = \"Raw Object\"", "provenance of source s is wrong: \"Raw Object\" is no name of a column"),
        ("on_overwrite = \"forget\"", "expected one of `report`, `append`, `replace`"),
    ] {
        configure(&roots, config);
        let message = roots.run_here(&["compact", "s"]).failed(2);
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn a_contract_binds_no_table_for_its_column_of_provenance() {
    let roots = configured("provenance = \"raw_object\"\ncontract = \"freeze\"");
    roots.put("s/a.json", "[]");
    roots.compact_one(&["--partition-by", "none"]);
    roots.put("s/b.json", "{\"id\":1}");
    assert_eq!(roots.compact_one(&[]).success_count, 1);
    roots.put("s/c.json", "{\"id\":2,\"more\":1}\n{\"id\":3}");
    let report = roots.compact_one(&[]);
    assert_eq!((report.success_count, report.error_count), (1, 1));
    assert_eq!(ids(&roots), expected(&[("b.json", &[1]), ("c.json", &[3])]));
    assert_sound(&roots);
}

#[test]
fn a_dry_run_says_which_rows_would_go() {
    let roots = three();
    roots.put("s/b.json", records(&[12]));
    let plan = roots.run_here(&["plan", "s"]).ok();
    assert!(
        plan.contains("b.json changed after it was consumed; what it holds now is to take the place of its 3 rows"),
        "{plan}"
    );
    assert_eq!(ids(&roots)["b.json"], [11, 12, 13]);
}

#[test]
fn whatever_changes_in_whatever_order_the_table_is_what_the_raw_objects_hold() {
    for seed in 0..3 {
        let mut numbers = Numbers(seed);
        let sort_by = if seed == 1 { "\nsort_by = [\"id\"]" } else { "" };
        let roots = configured(&format!("{REPLACE}{sort_by}"));
        let mut held: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        let mut next = 0;
        for step in 0..8 {
            for _ in 0..=numbers.below(3) {
                let key = format!("{}.json", numbers.below(6));
                let mut text = String::new();
                let mut own = Vec::new();
                for _ in 0..numbers.below(5) {
                    next += 1;
                    own.push(next);
                    let value = if numbers.below(12) == 0 { "\"text\"" } else { "1.50" };
                    text.push_str(&format!("{{\"id\":{next},\"kind\":\"k{}\",\"v\":{value}}}\n", numbers.below(2)));
                    if numbers.below(6) == 0 {
                        text.push_str("malformed\n");
                    }
                }
                roots.put(&format!("s/{key}"), text);
                held.insert(key, own);
            }
            roots.compact_one(&["--partition-by", "kind"]);
            if numbers.below(3) == 0 {
                optimize(&roots, &[]);
            }
            let expected: BTreeMap<String, Vec<i64>> =
                held.clone().into_iter().filter(|(_, ids)| !ids.is_empty()).collect();
            if !expected.is_empty() {
                assert_eq!(ids(&roots), expected, "seed {seed}, step {step}");
            }
            assert_eq!(deep(&roots)[1..], [0, 0], "seed {seed}, step {step}");
        }
        assert_eq!(roots.status("s")["objects_consumed"], held.len());
    }
}

#[test]
fn an_object_that_was_empty_is_taken_in_once_it_holds_something_whatever_the_policy() {
    for policy in ["report", "append", "replace"] {
        let roots = configured(&format!("provenance = \"raw_object\"\non_overwrite = \"{policy}\""));
        roots.put("s/a.json", "");
        roots.put("s/b.json", "{\"id\":1}");
        roots.compact_one(&["--partition-by", "none"]);
        assert_eq!(roots.compact_one(&[]).objects, 0, "{policy}");
        roots.put("s/a.json", "{\"id\":2}");
        let status = roots.status("s");
        let is_known = u64::from(policy == "replace");
        assert_eq!((&status["objects_new"], &status["objects_overwritten"]), (&json!(1), &json!(0)), "{policy}");
        let fresh = roots.sql("select id from s order by id");
        assert_eq!(fresh, [json!({"id": 1}), json!({"id": 2})], "{policy}");
        let report = roots.compact_one(&[]);
        assert_eq!((report.objects, report.success_count, report.rows_replaced), (1, 1, 0), "{policy}: {report:?}");
        assert_eq!(ids(&roots), expected(&[("a.json", &[2]), ("b.json", &[1])]), "{policy}");
        assert_eq!(roots.compact_one(&[]).objects, 0, "{policy}");
        // The empty version gives way only where all old ones do.
        assert_eq!(roots.status("s")["objects_consumed"], 3 - is_known, "{policy}");
        assert_sound(&roots);
        // Now it has rows.
        roots.put("s/a.json", "{\"id\":3}");
        assert_eq!(roots.compact_one(&[]).objects, u64::from(policy != "report"), "{policy}");
        assert_sound(&roots);
    }
}

/// Raw objects and a lake in one store.
struct World {
    store: Arc<InMemory>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// A table of two runs, of whose objects one changed; rows of it and rejects are in files with those of others.
    fn begun() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let world = Self { store: Arc::new(InMemory::new()), runtime };
        world.put("1.json", "{\"id\":1,\"k\":\"a\"}\n{\"id\":2,\"k\":\"b\"}\nmalformed\n");
        world.put("2.json", "{\"id\":3,\"k\":\"a\"}\n{\"id\":4,\"k\":\"b\"}\nmalformed\n");
        assert_eq!(world.compact(Arc::clone(&world.store) as _).success_count, 4);
        world.put("1.json", "{\"id\":5,\"k\":\"a\"}\nwrong\n");
        world.put("3.json", "{\"id\":6,\"k\":\"c\"}\n");
        world
    }

    fn put(&self, key: &str, text: &str) {
        let path = Path::from(format!("raw/s/{key}"));
        self.runtime.block_on(self.store.put(&path, text.as_bytes().to_vec().into())).unwrap();
    }

    fn location(store: Arc<dyn ObjectStore>, folder: &str) -> Location {
        Location::with_store(url::Url::parse(&format!("memory:///{folder}/")).unwrap(), store)
    }

    fn compact(&self, lake: Arc<dyn ObjectStore>) -> SourceReport {
        let config: Config = toml::from_str(&format!("[defaults]\n{REPLACE}")).unwrap();
        let request = Request {
            raw: Self::location(Arc::clone(&self.store) as _, "raw"),
            lake: Self::location(lake, "lake"),
            sources: Vec::new(),
            partition_by: Some("k".parse().unwrap()),
            config,
            threads: 1,
        };
        let report = self.runtime.block_on(compact(&request, &SystemClock, &Silent)).unwrap();
        report.sources.into_iter().next().unwrap()
    }

    /// The rows as `object:id`, sorted, once the table is found sound.
    fn rows(&self) -> Vec<String> {
        self.runtime.block_on(async {
            let folder = Self::location(Arc::clone(&self.store) as _, "lake").folder("s").unwrap();
            assert_eq!(verify(&folder).await.unwrap().findings, []);
            let table = Table::open(folder).await.unwrap();
            let hidden = siltstone::lake::Hidden::new(table.location());
            let id = table.ledger_head().await.unwrap().unwrap();
            let head: siltstone::lake::Head = hidden.read_json(&siltstone::lake::Hidden::head_path(id)).await.unwrap();
            let registry: siltstone::lake::Registry = hidden.read_json(&head.registry).await.unwrap();
            let mut rows = Vec::new();
            for file in table.files().unwrap() {
                let mut stored =
                    StoredFile::open(&hidden, &file.path, file.size_bytes, &registry.fields).await.unwrap();
                while let Some(batch) = stored.next_batch().await.unwrap() {
                    let objects = arrow::array::AsArray::as_string::<i32>(batch.column_by_name("raw_object").unwrap());
                    let ids = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(
                        batch.column_by_name("id").unwrap(),
                    );
                    rows.extend(objects.iter().zip(ids).map(|(key, id)| format!("{}:{}", key.unwrap(), id.unwrap())));
                }
            }
            rows.sort();
            rows
        })
    }
}

#[test]
fn whatever_call_fails_or_kills_old_rows_and_new_ones_change_places_at_once() {
    const BEFORE: [&str; 4] = ["1.json:1", "1.json:2", "2.json:3", "2.json:4"];
    const AFTER: [&str; 4] = ["1.json:5", "2.json:3", "2.json:4", "3.json:6"];
    let faults =
        [Fault::After(Symptom::TimedOut), Fault::Torn, Fault::Dead { landed: false }, Fault::Dead { landed: true }];
    for fault in faults {
        for at in 0.. {
            let world = World::begun();
            assert_eq!(world.rows(), BEFORE);
            let counted: fn(Op) -> bool = if fault == Fault::Torn { |op| op == Op::Get } else { Op::writes };
            let schedule = Arc::new(AtCall::new(at, fault, counted));
            let store = Arc::new(FaultStore::new(Arc::clone(&world.store) as _, Arc::clone(&schedule) as _));
            let report = world.compact(Arc::clone(&store) as _);
            let rows = world.rows();
            let is_after = rows == AFTER;
            assert!(is_after || rows == BEFORE, "{fault:?} at {at}: {rows:?}");
            assert!(store.is_dead() || is_after == (report.status != Status::Failed), "{fault:?} at {at}: {report:?}");
            let next = world.compact(Arc::clone(&world.store) as _);
            assert_eq!((next.objects, world.rows()), (if is_after { 0 } else { 2 }, AFTER.map(str::to_owned).to_vec()));
            if schedule.calls() <= at {
                assert!(at > 10, "{at} calls");
                break;
            }
        }
    }
}

#[test]
fn of_two_runs_at_once_one_replaces_and_the_other_follows() {
    for _ in 0..10 {
        let world = World::begun();
        let reports: Vec<SourceReport> = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| world.compact(Arc::clone(&world.store) as _))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert!(reports.iter().all(|report| report.status != Status::Failed), "{reports:?}");
        assert_eq!(reports.iter().map(|report| report.rows_replaced).sum::<u64>(), 2);
        assert_eq!(world.rows(), ["1.json:5", "2.json:3", "2.json:4", "3.json:6"]);
    }
}
