//! Promotions across runs are exact: what earlier runs stored becomes what it would have been had all come at once.

use serde_json::{Value, json};
use siltstone::compact::SourceReport;
use siltstone::write::FileOrigin;

use crate::support::{Roots, files_below, write};

/// What a run says when it could not read raw objects again.
const FROM_STORED: &str = "widened from stored values";

/// A table of `texts` in one run, and one with a run for each, partitioned as said (the first is not: one run may know a
/// column as one that cannot be partitioned by). Both must hold the same rows under the same columns.
fn one_and_several(texts: &[&str], args: &[&str]) -> (Roots, Roots) {
    let (one, several) = (Roots::new(), Roots::new());
    for (run, text) in texts.iter().enumerate() {
        one.put(&format!("s/{run}.json"), text);
        several.put(&format!("s/{run}.json"), text);
        let report = several.compact_one(args);
        assert_eq!((report.objects, report.error_count), (1, 0), "{report:?}");
        assert!(!report.notes.iter().any(|note| note.contains(FROM_STORED)), "{report:?}");
    }
    one.compact_one(&["--partition-by", "none"]);
    assert_eq!(several.columns("s"), one.columns("s"));
    assert_eq!(several.export_lines("s"), one.export_lines("s"));
    (one, several)
}

/// Values of a first run, a value of a second, and the type that follows.
const PROMOTIONS: &[(&[&str], &str, &str)] = &[
    // boolean
    (&["true", "false"], "\"x\"", "string"),
    (&["true"], "1", "string"),
    (&["true"], "{\"a\":1}", "string (json)"),
    // bigint
    (&["12", "-7"], "0.5", "double"),
    (&["12", "9223372036854775807"], "12345678901234567890", "decimal(38,0)"),
    (&["12"], "\"x\"", "string"),
    (&["12"], "[1]", "string (json)"),
    (&["9007199254740993"], "0.5", "string"),
    (&["9007199254740993"], "\"x\"", "string"),
    // decimal
    (&["12345678901234567890", "5"], "1.50", "string"),
    (&["12345678901234567890"], "true", "string"),
    (&["12345678901234567890"], "123456789012345678901234567890123456789012", "string"),
    (&["12345678901234567890"], "{\"a\":1}", "string (json)"),
    // double
    (&["1.10", "1E5", "1e-7", "-0", "-0.0", "0.1e1", "7"], "\"x\"", "string"),
    (&["1.10", "1E5", "-0", "7"], "true", "string"),
    (&["1.10", "100000000000000000000000.0"], "12345678901234567890", "string"),
    (&["1.10", "5E-324"], "1e400", "string"),
    (&["1.10", "1E5", "-0", "7"], "{\"a\":1}", "string (json)"),
    // numbers as text
    (&["123456789012345678901234567890123456789012"], "{\"a\":1}", "string (json)"),
    (&["1e400", "1.10"], "[1]", "string (json)"),
    (&["1.10", "true", "\"true\"", "\"1.10\""], "[1]", "string (json)"),
    // timestamp
    (
        &[
            "\"2024-01-01T00:00:00+02:00\"",
            "\"2024-01-01t00:00:00z\"",
            "\"2024-01-01T00:00:00.120Z\"",
            "\"2024-01-01T00:00:00.000001-11:30\"",
            "\"2024-01-01T00:00:00\"",
        ],
        "\"soon\"",
        "string",
    ),
    (&["\"2024-01-01T00:00:00.50\"", "\"2024-01-01T00:00:00\""], "\"soon\"", "string"),
    (&["\"2024-01-01T00:00:00.50\""], "\"2024-01-01T00:00:00.50+01:00\"", "timestamp"),
    (&["\"2024-01-01T00:00:00+02:00\""], "\"2024-01-01\"", "string"),
    (&["\"2024-01-01T00:00:00+02:00\""], "5", "string"),
    (&["\"2024-01-01T00:00:00+02:00\"", "\"2024-01-01T00:00:00\\u005a\""], "{\"a\":1}", "string (json)"),
    // date
    (&["\"2024-01-01\"", "\"0001-12-31\""], "\"x\"", "string"),
    (&["\"2024-01-01\""], "\"2024-01-01T00:00:00Z\"", "string"),
    (&["\"2024-01-01\""], "5", "string"),
    (&["\"2024-01-01\""], "[1]", "string (json)"),
    // string
    (&["\"x\"", "\"12\"", "\"a \\\"b\\\" \\u00e9\\n\"", "\"\""], "{\"a\":1}", "string (json)"),
    // struct
    (&["{\"b\":1.10,\"a\":\"x\",\"C\":null}", "{ \"a\" : 1, \"b\" : 1E5 }", "{}"], "\"x\"", "string (json)"),
    (&["{\"b\":1.10,\"a\":\"x\"}"], "[1]", "string (json)"),
    (&["{\"b\":1.10,\"a\":{\"c\":-0}}"], "{\"b\":\"x\",\"a\":{\"c\":true}}", "struct<b:string,a:struct<c:string>>"),
    (&["{\"b\":1.10}"], "{\"b\":[1]}", "struct<b:string (json)>"),
    (&["{\"b\":1}"], "{\"b\":2,\"a\":1}", "struct<b:bigint,a:bigint>"),
    // list
    (&["[1, 2.50, null]", "[]", "[ ]", "null"], "\"x\"", "string (json)"),
    (&["[1.10, null]", "[]", "null"], "[\"x\"]", "array<string>"),
    (&["[[1.10],[],null]"], "[[\"x\"]]", "array<array<string>>"),
    (&["[1.10]"], "[[1]]", "array<string (json)>"),
    (&["[{\"a\":1.10,\"b\":1},null,{\"b\":-0}]"], "[{\"a\":\"x\",\"b\":0.5}]", "array<struct<a:string,b:double>>"),
    // lists of nothing so far
    (&["[null]", "[null,null]"], "[1]", "array<bigint>"),
    (&["[null]"], "[{\"a\":1}]", "array<struct<a:bigint>>"),
    (&["[{}]", "[null]", "[]"], "[{\"a\":1}]", "array<struct<a:bigint>>"),
    (&["[[]]"], "[[1.5]]", "array<array<double>>"),
    (&["[{}]"], "[\"x\"]", "array<string (json)>"),
];

/// The same promotions for values that stand as they are, in a struct, in a list, and in structs of a list.
fn promotions(wrap: impl Fn(&str) -> String) -> [String; 2] {
    let record = |id: usize, value: &dyn Fn(usize) -> Option<&'static str>| {
        let fields = (0..PROMOTIONS.len()).map(|column| {
            let value = value(column).map_or_else(|| "null".to_owned(), &wrap);
            format!(",\"c{column:02}\":{value}")
        });
        format!("{{\"id\":{id}{}}}\n", fields.collect::<String>())
    };
    let most = PROMOTIONS.iter().map(|(early, _, _)| early.len()).max().unwrap();
    let early = (0..most).map(|id| record(id, &|column| PROMOTIONS[column].0.get(id).copied()));
    [early.collect(), record(100, &|column| Some(PROMOTIONS[column].1))]
}

#[test]
fn every_promotion_gives_what_one_run_over_everything_gives() {
    let [early, late] = promotions(str::to_owned);
    let (one, _) = one_and_several(&[&early, &late], &[]);
    let columns = one.columns("s");
    for (column, (early, late, ty)) in PROMOTIONS.iter().enumerate() {
        let found = columns.as_array().unwrap().iter().find(|field| field["column"] == format!("c{column:02}"));
        assert_eq!(found.unwrap()["type"], *ty, "{early:?} and {late}");
    }
}

#[test]
fn every_promotion_is_exact_below_structs_and_lists_too() {
    let wraps: [fn(&str) -> String; 4] = [
        |value| format!(r#"{{"n":1,"v":{value}}}"#),
        |value| format!("[{value},null]"),
        |value| format!(r#"[{{"n":1,"v":{value}}}]"#),
        |value| format!(r#"{{"n":1,"o":{{"n":1,"l":[[{value}]]}}}}"#),
    ];
    for wrap in wraps {
        let [early, late] = promotions(wrap);
        one_and_several(&[&early, &late], &[]);
    }
}

#[test]
fn all_promotions_one_after_another_are_exact() {
    let [early, late] = promotions(str::to_owned);
    // Each record a run of its own: columns are promoted again and again, files written again from files written again.
    let records: Vec<&str> = early.lines().chain(late.lines()).collect();
    one_and_several(&records, &[]);
    let backwards: Vec<&str> = records.into_iter().rev().collect();
    one_and_several(&backwards, &[]);
}

/// An object `m` of `keys`, each with that value.
fn keyed(id: usize, keys: std::ops::Range<usize>, value: &str) -> String {
    let fields: Vec<String> = keys.map(|key| format!(r#""k{key}":{value}"#)).collect();
    format!("{{\"id\":{id},\"m\":{{{}}}}}\n", fields.join(","))
}

#[test]
fn structs_that_become_maps_keep_nulls_the_order_of_keys_and_numbers_as_they_are_written() {
    let few = r#"{"id":1,"m":{"k2":1.10,"k1":null,"k0":3}}"#;
    for many in ["2", "\"x\"", "{\"a\":1}"] {
        let late = keyed(2, 0..siltstone::schema::MAX_OBJECT_KEYS + 1, many);
        let (one, several) = one_and_several(&[few, &late], &[]);
        let first = one.export_lines("s").into_iter().find(|line| line.starts_with(r#"{"id":1,"#)).unwrap();
        assert!(first.contains(r#""k1":null"#), "{first}");
        assert_eq!(several.column_type("s", "m"), one.column_type("s", "m"));
    }
}

#[test]
fn values_of_maps_and_maps_themselves_are_promoted_exactly() {
    let keys = siltstone::schema::MAX_OBJECT_KEYS + 1;
    let texts = [
        keyed(1, 0..keys, "1.10"),
        "{\"id\":2,\"m\":{\"k1\":\"x\"}}".to_owned(),
        "{\"id\":3,\"m\":{\"k1\":[1.0]}}".to_owned(),
        "{\"id\":4,\"m\":7}".to_owned(),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for runs in 2..=texts.len() {
        one_and_several(&texts[..runs], &[]);
    }
}

#[test]
fn keys_that_part_take_their_values_from_earlier_runs_along() {
    let texts = [
        "{\"id\":1,\"Org\":1,\"o\":{\"Ab\":1}}\n{\"id\":2,\"org\":2,\"o\":{\"ab\":2}}\n{\"id\":3,\"other\":0.5}\n",
        r#"{"id":4,"Org":3,"org":4,"o":{"Ab":5,"ab":6}}"#,
    ];
    let roots = Roots::new();
    for (run, text) in texts.iter().enumerate() {
        roots.put(&format!("s/{run}.json"), text);
        let report = roots.compact_one(&[]);
        assert!(!report.notes.iter().any(|note| note.contains("no longer share")), "{report:?}");
    }
    let expected = texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(roots.export("s"), expected.collect::<Vec<_>>());
}

#[test]
fn keys_that_part_because_their_values_do_not_merge_take_them_along_too() {
    let texts = ["{\"id\":1,\"Org\":1.10}\n{\"id\":2,\"org\":2.0}\n", r#"{"id":3,"org":{"a":1}}"#];
    let roots = Roots::new();
    for (run, text) in texts.iter().enumerate() {
        roots.put(&format!("s/{run}.json"), text);
        roots.compact_one(&[]);
    }
    assert_eq!(
        roots.export_lines("s"),
        [r#"{"id":1,"Org":1.10}"#, r#"{"id":2,"org":2.0}"#, r#"{"id":3,"org":{"a":1}}"#]
    );
    // No column becomes narrower later.
    let columns = roots.columns("s");
    roots.put("s/9.json", r#"{"id":4}"#);
    roots.compact_one(&[]);
    assert_eq!(roots.columns("s"), columns);
}

#[test]
fn keys_that_part_stay_together_in_old_files_when_the_raw_objects_are_gone() {
    let roots = Roots::new();
    roots.put("s/1.json", "{\"id\":1,\"Org\":1}\n{\"id\":2,\"org\":2}\n");
    roots.compact_one(&[]);
    let before = roots.files("s");
    std::fs::remove_file(roots.raw.join("s/1.json")).unwrap();
    roots.put("s/2.json", r#"{"id":3,"Org":3,"org":4}"#);
    let report = roots.compact_one(&[]);
    let note = "1 files keep values in a column that their keys no longer share: 1.json could not be read again";
    assert!(report.notes.iter().any(|other| other.starts_with(note)), "{report:?}");
    assert!(roots.files("s").contains(&before[0]));
    assert_eq!(roots.exported_ids("s"), [1, 2, 3]);
}

#[test]
fn exactly_the_files_with_values_in_the_column_are_written_again_in_the_commit_of_the_promotion() {
    let roots = Roots::new();
    for (run, text) in
        [r#"{"id":1}"#, r#"{"id":2,"v":1.10,"o":{"a":1}}"#, r#"{"id":3,"v":null}"#, r#"{"id":4,"o":{"a":2.50}}"#]
            .iter()
            .enumerate()
    {
        roots.put(&format!("s/{run}.json"), text);
        roots.compact_one(&[]);
    }
    let before = roots.files("s");
    roots.put("s/4.json", r#"{"id":5,"v":"x"}"#);
    let report = roots.compact_one(&[]);
    assert_eq!(report.schema_changes, ["~ v double -> string"]);
    let note = report.notes.iter().find(|note| note.starts_with("1 files (")).unwrap();
    assert!(note.ends_with("were written again for promoted columns, 1 of them from their raw objects"), "{note}");
    let after = roots.files("s");
    assert_eq!(after.len(), 5);
    let gone: Vec<_> = before.iter().filter(|file| !after.contains(file)).collect();
    let new: Vec<_> = after.iter().filter(|file| !before.contains(file)).collect();
    assert_eq!((gone.len(), new.len()), (1, 2));
    // The name tells the same origin, so that the file can be read again another time.
    let again = new.iter().find(|file| FileOrigin::of(&file.path) == FileOrigin::of(&gone[0].path)).unwrap();
    assert_ne!(again.path, gone[0].path);

    let log = std::fs::read_to_string(roots.lake.join("s/_delta_log/00000000000000000004.json")).unwrap();
    let actions: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let paths = |action: &str| {
        let mut paths: Vec<String> =
            actions.iter().filter_map(|line| Some(line[action]["path"].as_str()?.to_owned())).collect();
        paths.sort();
        paths
    };
    assert!(actions.iter().any(|line| line["metaData"]["schemaString"].is_string()));
    assert_eq!(paths("remove"), [gone[0].path.clone()]);
    assert_eq!(paths("add"), new.iter().map(|file| file.path.clone()).collect::<Vec<_>>());
    let status = roots.status("s");
    assert_eq!((status["rows"].as_u64(), status["files"].as_u64()), (Some(5), Some(5)));
}

#[test]
fn promotions_that_lose_nothing_leave_the_raw_objects_alone() {
    let roots = Roots::new();
    roots.put("s/1.json", r#"{"id":1,"i":1,"b":true,"d":"2024-01-01","w":12345678901234567890,"o":{"x":1},"l":[1]}"#);
    roots.compact_one(&[]);
    std::fs::remove_file(roots.raw.join("s/1.json")).unwrap();
    roots.put("s/2.json", r#"{"id":2,"i":0.5,"b":"x","d":"x","w":"x","o":{"x":"x","y":1},"l":[0.5]}"#);
    let report = roots.compact_one(&[]);
    assert!(report.notes.iter().any(|note| note.ends_with("written again for promoted columns")), "{report:?}");
    assert_eq!(
        roots.export("s")[0],
        json!({"id": 1, "i": 1.0, "b": "true", "d": "2024-01-01", "w": "12345678901234567890", "o": {"x": "1"}, "l": [1.0]})
    );
}

/// A table of two runs with a double and a time each, and an object for a third run that promotes both.
fn with_text_at_stake() -> Roots {
    let roots = Roots::new();
    for id in [1, 2] {
        roots.put(&format!("s/{id}.json"), format!(r#"{{"id":{id},"v":1.10,"t":"2024-01-01T00:00:00+02:00"}}"#));
        roots.compact_one(&[]);
    }
    roots.put("s/3.json", r#"{"id":3,"v":"x","t":"y"}"#);
    roots
}

const AS_WRITTEN: &str = r#""v":"1.10","t":"2024-01-01T00:00:00+02:00"}"#;
const CANONICAL: &str = r#""v":"1.1","t":"2023-12-31T22:00:00Z"}"#;
const LAST: &str = r#"{"id":3,"v":"x","t":"y"}"#;

/// The note of a run about one file that could not be read again.
#[track_caller]
fn assert_one_from_stored(report: &SourceReport, why: &str) {
    let note = format!("1 files were {FROM_STORED}, which gives canonical text: {why}");
    assert!(report.notes.iter().any(|other| other.starts_with(&note)), "{report:?}");
}

#[test]
fn a_raw_object_that_is_gone_leaves_canonical_text_and_says_so() {
    let roots = with_text_at_stake();
    std::fs::remove_file(roots.raw.join("s/1.json")).unwrap();
    assert_one_from_stored(&roots.compact_one(&[]), "1.json could not be read again: ");
    let expected = [format!("{{\"id\":1,{CANONICAL}"), format!("{{\"id\":2,{AS_WRITTEN}"), LAST.to_owned()];
    assert_eq!(roots.export_lines("s"), expected);
}

#[test]
fn a_raw_object_that_changed_leaves_canonical_text_and_says_so() {
    let roots = with_text_at_stake();
    roots.put("s/2.json", r#"{"id":2,"v":1.100,"t":"2024-01-01T00:00:00+02:00"}"#);
    assert_one_from_stored(&roots.compact_one(&[]), "2.json could not be read again: the object changed");
    let expected = [format!("{{\"id\":1,{AS_WRITTEN}"), format!("{{\"id\":2,{CANONICAL}"), LAST.to_owned()];
    assert_eq!(roots.export_lines("s"), expected);
}

#[test]
fn an_object_of_which_nothing_came_need_not_be_there_any_more() {
    let roots = Roots::new();
    roots.put("s/1.json", r#"{"id":1,"v":1.10}"#);
    roots.put("s/2.json", "no JSON");
    roots.put("s/3.json", "{\"id\":3,\"v\":2.0}\n{\"id\":\n{\"id\":4,\"v\":1E5}");
    roots.compact_one(&["--threads", "1"]);
    std::fs::remove_file(roots.raw.join("s/2.json")).unwrap();
    roots.put("s/4.json", r#"{"id":5,"v":"x"}"#);
    let report = roots.compact_one(&[]);
    assert!(!report.notes.iter().any(|note| note.contains(FROM_STORED)), "{report:?}");
    let values: Vec<Value> = roots.export("s").into_iter().map(|mut record| record["v"].take()).collect();
    assert_eq!(values, ["1.10", "2.0", "1E5", "x"]);
}

#[test]
fn a_file_whose_name_tells_no_origin_is_widened_from_what_is_stored() {
    let roots = with_text_at_stake();
    let old = roots.files("s").into_iter().next().unwrap().path;
    let new = old.replace("-00000", "-optimized");
    std::fs::rename(roots.lake.join("s").join(&old), roots.lake.join("s").join(&new)).unwrap();
    for version in 0..2 {
        let entry = roots.lake.join(format!("s/_delta_log/{version:020}.json"));
        let text = std::fs::read_to_string(&entry).unwrap();
        std::fs::write(&entry, text.replace(&old, &new)).unwrap();
    }
    assert_one_from_stored(&roots.compact_one(&[]), "it is not recorded which raw objects");
    let lines = roots.export_lines("s");
    assert_eq!(lines.iter().filter(|line| line.ends_with(CANONICAL)).count(), 1);
    assert_eq!(lines.iter().filter(|line| line.ends_with(AS_WRITTEN)).count(), 1);
}

#[test]
fn rows_that_a_raw_object_gives_no_more_are_widened_from_what_is_stored() {
    // The same number of records, but others.
    let roots = Roots::new();
    roots.put("s/1.json", r#"{"a":[{"id":1,"v":1.10}],"b":[{"id":10,"v":2.20}]}"#);
    let config =
        |path: &str| write(&roots.dir.path().join("siltstone.toml"), format!("[defaults]\nrecords = \"{path}\"\n"));
    config("a");
    roots.compact_one(&[]);
    config("b");
    roots.put("s/2.json", r#"{"b":[{"id":2,"v":"x"}]}"#);
    assert_one_from_stored(&roots.compact_one(&[]), "their raw objects give other rows");
    assert_eq!(roots.export("s"), [json!({"id": 1, "v": "1.1"}), json!({"id": 2, "v": "x"})]);
}

#[test]
fn a_reader_of_an_old_version_goes_on_reading_it() {
    let roots = with_text_at_stake();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let url = url::Url::from_directory_path(roots.lake.canonicalize().unwrap().join("s")).unwrap();
    let before = runtime.block_on(async { deltalake_core::open_table_with_version(url, 1).await.unwrap() });
    let read = || {
        runtime.block_on(async {
            let provider = before.table_provider().await.unwrap();
            let frame = datafusion::prelude::SessionContext::new().read_table(provider).unwrap();
            let batches = frame.collect().await.unwrap();
            arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
        })
    };
    let rows = read();
    assert!(rows.contains("1.1 ") && rows.contains("2023-12-31T22:00:00Z"), "{rows}");
    roots.compact_one(&[]);
    assert_eq!(roots.column_type("s", "v"), "string");
    assert_eq!(read(), rows);
}

#[test]
fn rows_stay_in_their_partitions_when_their_column_is_promoted() {
    let early = "{\"id\":1,\"p\":1.10,\"v\":1.10}\n{\"id\":2,\"p\":1.1,\"v\":2.50}\n{\"id\":3,\"p\":2,\"v\":3.0}\n\
                 {\"id\":4,\"p\":null,\"v\":4.00}\n{\"id\":5,\"p\":1.100,\"v\":5.0}\n";
    for by in ["p", "none", "ingested()", "ingested(), p"] {
        let (_, several) = one_and_several(&[early, r#"{"id":6,"p":"x","v":"y"}"#], &["--partition-by", by]);
        if by == "p" {
            assert_eq!(
                several.partition_folders("s"),
                ["p_part=1.1", "p_part=2.0", "p_part=__HIVE_DEFAULT_PARTITION__", "p_part=x"]
            );
        }
    }
    let early = "{\"id\":1,\"o\":{\"t\":\"2024-01-01T00:00:00+02:00\"},\"v\":1.10}\n{\"id\":2,\"o\":{\"t\":\"0001-01-01t00:00:00z\"},\"v\":2.50}\n\
                 {\"id\":3,\"o\":{\"t\":\"2024-01-01T00:00:00Z\"},\"v\":3.0}\n{\"id\":4,\"o\":{\"t\":null,\"u\":1},\"v\":3.0}\n";
    let lates = [r#"{"t":"soon"}"#, r#"{"t":{"a":1}}"#, r#"{"t":5}"#, "5"];
    for (late, by) in lates.into_iter().zip(["day(o.t)", "month(o.t)", "year(o.t)", "hour(o.t)"]) {
        one_and_several(&[early, &format!(r#"{{"id":5,"o":{late},"v":"y"}}"#)], &["--partition-by", by]);
    }
}

#[test]
fn rows_that_were_assigned_to_partitions_under_types_long_gone_are_found() {
    // Run by run the column is bigint, double, string and JSON text; then another column is promoted.
    let runs = [
        "{\"id\":1,\"p\":1,\"v\":1.10}\n{\"id\":2,\"p\":2,\"v\":2.50}\n",
        "{\"id\":3,\"p\":1,\"v\":1.10}\n{\"id\":4,\"p\":2.50,\"v\":2.50}\n",
        // Integers alone, but doubles by then.
        "{\"id\":5,\"p\":1,\"v\":1.10}\n{\"id\":6,\"p\":2,\"v\":2.50}\n",
        "{\"id\":7,\"p\":\"x\",\"v\":1.10}\n{\"id\":8,\"p\":2.50,\"v\":2.50}\n",
        // Doubles and integers alone, but strings by then.
        "{\"id\":9,\"p\":1.0,\"v\":1.10}\n{\"id\":10,\"p\":2.50,\"v\":2.50}\n{\"id\":11,\"p\":1,\"v\":0.10}\n",
        "{\"id\":12,\"p\":[1],\"v\":1.10}\n{\"id\":13,\"p\":2.50,\"v\":2.50}\n",
        "{\"id\":14,\"p\":1,\"v\":1E5}\n{\"id\":15,\"p\":\"x\",\"v\":2.50}\n",
        "{\"id\":16,\"v\":\"z\"}\n",
    ];
    one_and_several(&runs, &["--partition-by", "p"]);
    let times = [
        "{\"id\":1,\"p\":\"2024-01-01T00:00:00+02:00\",\"v\":1.10}\n{\"id\":2,\"p\":\"2024-01-01T00:00:00Z\",\"v\":2.50}\n",
        "{\"id\":3,\"p\":\"soon\",\"v\":1.10}\n{\"id\":4,\"p\":\"2024-01-01T00:00:00+02:00\",\"v\":2.50}\n",
        "{\"id\":5,\"p\":\"2024-01-01T00:00:00+02:00\",\"v\":1.10}\n",
        "{\"id\":6,\"p\":{\"a\":1},\"v\":1.10}\n{\"id\":7,\"p\":\"2024-01-01T00:00:00+02:00\",\"v\":2.50}\n",
        "{\"id\":8,\"p\":\"2024-01-01T00:00:00+02:00\",\"v\":2.50}\n",
        "{\"id\":9,\"v\":\"z\"}\n",
    ];
    for by in ["p", "day(p)"] {
        one_and_several(&times, &["--partition-by", by]);
    }
}

/// Objects of `megabytes` in all, whose records lie in four partitions, and a record in each of the first two objects that
/// has no value to promote.
fn large(roots: &Roots, megabytes: usize) -> usize {
    let mut id = 0;
    for object in 0..3 {
        let mut text = String::new();
        while text.len() < megabytes * 1_000_000 / 3 {
            let p = ["a", "b", "c/d=%", ""][id % 7 % 4];
            let fill = "x".repeat(300 + id % 50);
            text += &format!("{{\"id\":{id},\"p\":\"{p}\",\"v\":{}.{}0,\"fill\":\"{fill}\"}}\n", id % 90, id % 9 + 1);
            id += 1;
        }
        roots.put(&format!("s/{object}.json"), text);
    }
    id
}

#[test]
fn several_files_of_a_partition_take_their_own_rows_each() {
    let roots = Roots::new();
    // Little memory: a file of each partition is begun and ended with each window.
    write(&roots.dir.path().join("siltstone.toml"), "[defaults]\ntarget_file_bytes = 1\nmemory_bytes = 2000000\n");
    let rows = large(&roots, 7);
    roots.compact_one(&["--partition-by", "p", "--threads", "1"]);
    let before = roots.files("s");
    assert!(before.len() >= 12, "{} files", before.len());
    roots.put("s/9.json", r#"{"id":-1,"p":"a","v":"x","fill":""}"#);
    let report = roots.compact_one(&["--threads", "2"]);
    assert!(!report.notes.iter().any(|note| note.contains(FROM_STORED)), "{report:?}");
    let after = roots.files("s");
    assert_eq!(after.len(), before.len() + 1);
    for old in &before {
        let new = after.iter().find(|new| FileOrigin::of(&new.path) == FileOrigin::of(&old.path)).unwrap();
        assert_eq!((new.row_count, &new.partition), (old.row_count, &old.partition));
    }
    let records = roots.export("s");
    assert_eq!(records.len(), rows + 1);
    for record in records.iter().filter(|record| record["id"] != -1) {
        let id = record["id"].as_u64().unwrap();
        assert_eq!(record["v"], format!("{}.{}0", id % 90, id % 9 + 1), "{id}");
        assert_eq!(record["fill"].as_str().unwrap().len() as u64, 300 + id % 50, "{id}");
    }
}

#[test]
fn a_partition_that_lacks_a_file_is_widened_from_what_is_stored_and_the_others_are_read_again() {
    let roots = Roots::new();
    write(&roots.dir.path().join("siltstone.toml"), "[defaults]\ntarget_file_bytes = 1\nmemory_bytes = 2000000\n");
    large(&roots, 5);
    roots.compact_one(&["--partition-by", "p", "--threads", "1"]);
    // Another writer deletes one of the files of a partition.
    let files = roots.files("s");
    let of = |p: &str| files.iter().filter(|file| file.partition == [Some(p.to_owned())]).collect::<Vec<_>>();
    let (a, b) = (of("a"), of("b"));
    assert!(a.len() >= 2 && b.len() >= 2);
    let remove = json!({"remove": {"path": a[0].path, "deletionTimestamp": 1, "dataChange": true,
        "extendedFileMetadata": true, "partitionValues": {"p_part": "a"}, "size": a[0].size_bytes}});
    let info = json!({"commitInfo": {"timestamp": 1, "operation": "DELETE"}});
    write(&roots.lake.join("s/_delta_log/00000000000000000001.json"), format!("{info}\n{remove}\n"));
    roots.put("s/9.json", r#"{"id":-1,"p":"a","v":"x","fill":""}"#);
    let report = roots.compact_one(&["--threads", "1"]);
    let note = format!("{} files were {FROM_STORED}, which gives canonical text: their raw objects give", a.len() - 1);
    assert!(report.notes.iter().any(|other| other.starts_with(&note)), "{report:?}");
    let texts = |p: &str, digits: &str| {
        let query = format!("select count(*) as n from lake.s where p_part = '{p}' and v like '%.{digits}'");
        roots.sql(&query)[0]["n"].as_u64().unwrap()
    };
    assert_eq!(texts("a", "_0"), 0);
    assert_eq!(texts("b", "_0"), b.iter().map(|file| file.row_count).sum::<u64>());
    // What was discarded is not left behind.
    let stored = files_below(&roots.lake.join("s")).into_iter().filter(|path| path.ends_with(".zstd.parquet")).count();
    assert_eq!(stored, files.len() * 2 - 1 + 1);
}

/// The settings of source `s`.
fn configure(roots: &Roots, config: &str) {
    write(&roots.dir.path().join("siltstone.toml"), format!("[sources.s]\n{config}\n"));
}

/// Compacts; all that was to be read again was.
#[track_caller]
fn compact_exactly(roots: &Roots, args: &[&str]) {
    let report = roots.compact_one(args);
    assert!(!report.notes.iter().any(|note| note.contains(FROM_STORED)), "{report:?}");
}

#[test]
fn a_type_that_the_configuration_gives_later_is_a_promotion_as_exact_as_any() {
    let roots = Roots::new();
    roots.put("s/1.json", r#"{"id":1,"v":1.10,"t":"2024-01-01T00:00:00+02:00","o":{"b":1E5,"a":[]}}"#);
    roots.compact_one(&[]);
    configure(&roots, "columns = { v = { type = \"string\" }, t = { type = \"string\" }, o = { type = \"json\" } }");
    roots.put("s/2.json", r#"{"id":2,"v":2}"#);
    compact_exactly(&roots, &[]);
    let first = r#"{"id":1,"v":"1.10","t":"2024-01-01T00:00:00+02:00","o":{"b":1E5,"a":[]}}"#;
    assert_eq!(roots.export_lines("s"), [first, r#"{"id":2,"v":"2"}"#]);
}

#[test]
fn what_a_column_refused_is_refused_again() {
    let roots = Roots::new();
    configure(&roots, "columns = { price = { type = \"decimal(10,2)\" } }");
    roots.put(
        "s/1.json",
        "{\"id\":1,\"p\":1.0,\"price\":\"7\",\"v\":1.10}\n{\"id\":2,\"p\":1.0,\"price\":\"much\",\"v\":2.20}\n{\"id\":3,\"p\":1.0,\"v\":3.30}\n",
    );
    assert_eq!(roots.compact_one(&["--partition-by", "p"]).error_count, 1);
    roots.put("s/2.json", r#"{"id":4,"p":"x","v":"x"}"#);
    compact_exactly(&roots, &[]);
    let values: Vec<Value> = roots.export("s").into_iter().map(|mut record| record["v"].take()).collect();
    assert_eq!(values, ["1.10", "3.30", "x"]);
}

#[test]
fn keys_beyond_the_most_columns_stay_as_they_are() {
    let roots = Roots::new();
    configure(&roots, "max_columns = 5");
    let record = |id: usize, v: &str| format!("{{\"id\":{id},\"v\":{v},\"k{id}\":1.10}}\n");
    roots.put("s/1.json", (0..20).map(|id| record(id, "1.10")).collect::<String>());
    roots.compact_one(&["--partition-by", "none"]);
    roots.put("s/2.json", record(20, "\"x\""));
    compact_exactly(&roots, &[]);
    // Sorted by text; the key of the overflow stands behind the others.
    let mut expected: Vec<String> = (0..20).map(|id| record(id, "\"1.10\"").trim().to_owned()).collect();
    expected.push(record(20, "\"x\"").trim().to_owned());
    expected.sort();
    let parse =
        |lines: Vec<String>| lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    assert_eq!(parse(roots.export_lines("s")), parse(expected));
}

#[test]
fn members_of_the_envelope_are_promoted_and_partitioned_by_as_columns_are() {
    let roots = Roots::new();
    configure(&roots, "records = \"items\"\nenvelope_fields = [\"rate\", \"at\"]");
    for (run, rate) in ["1.10", "2.0", "\"x\""].iter().enumerate() {
        let at = if run == 2 { "soon" } else { "2024-01-01T00:00:00+02:00" };
        roots
            .put(&format!("s/{run}.json"), format!("{{\"items\":[{{\"id\":{run}}}],\"rate\":{rate},\"at\":\"{at}\"}}"));
        compact_exactly(&roots, &["--partition-by", "envelope_rate, day(envelope_at)"]);
    }
    let rows = roots.sql("select envelope_rate as r, envelope_at as a from lake.s order by id");
    let at = "2024-01-01T00:00:00+02:00";
    assert_eq!(rows, [json!({"r": "1.10", "a": at}), json!({"r": "2.0", "a": at}), json!({"r": "x", "a": "soon"})]);
}
