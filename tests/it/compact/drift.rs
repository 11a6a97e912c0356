//! Types that change within a run: what was written too narrow is done again from the raw text.

use serde_json::{Value, json};

use crate::support::{Numbers, Roots, lines};

/// Objects enough that a first look at sixteen of them misses most.
const OBJECTS: usize = 60;
/// An object that the first look does not see.
const UNSEEN: usize = 41;

/// Compacts `OBJECTS` objects of `early(id)`, except one of `late`, on each number of threads, and returns the exports.
fn drifted(early: impl Fn(usize) -> String, late: &str) -> Roots {
    let mut first: Option<(Value, Vec<String>)> = None;
    let mut last = None;
    for threads in ["1", "2", "3"] {
        let roots = Roots::new();
        for id in 0..OBJECTS {
            roots.put(&format!("s/{id:03}.json"), if id == UNSEEN { late.to_owned() } else { early(id) });
        }
        assert_eq!(roots.compact_one(&["--threads", threads]).success_count, OBJECTS as u64);
        let outcome = (roots.columns("s"), roots.export_lines("s"));
        assert_eq!(first.get_or_insert_with(|| outcome.clone()), &outcome, "{threads} threads");
        last = Some(roots);
    }
    last.unwrap()
}

/// The exported record of an id.
fn record(roots: &Roots, id: usize) -> Value {
    roots.export("s").into_iter().find(|record| record["id"] == id).unwrap()
}

#[test]
fn integers_become_their_digits_when_a_string_comes_late() {
    let roots = drifted(|id| format!(r#"{{"id":{id},"v":{id}}}"#), r#"{"id":41,"v":"x-41"}"#);
    assert_eq!(roots.column_type("s", "v"), "string");
    assert_eq!(record(&roots, 0), json!({"id": 0, "v": "0"}));
    assert_eq!(record(&roots, 41), json!({"id": 41, "v": "x-41"}));
}

#[test]
fn numbers_keep_their_text_when_a_string_comes_late() {
    let early = |id: usize| format!(r#"{{"id":{id},"d":1.10,"e":1E2,"i":-0,"w":12345678901234567890123}}"#);
    let roots = drifted(early, r#"{"id":41,"d":"s","e":"s","i":"s","w":"s"}"#);
    let expected = json!({"id": 5, "d": "1.10", "e": "1E2", "i": "-0", "w": "12345678901234567890123"});
    assert_eq!(record(&roots, 5), expected);
}

#[test]
fn times_keep_their_text_when_another_string_comes_late() {
    let early = |id: usize| format!(r#"{{"id":{id},"t":"2025-01-02T03:04:05+01:00","d":"2025-01-02"}}"#);
    let roots = drifted(early, r#"{"id":41,"t":"soon","d":"2025-01-02T00:00:00Z"}"#);
    assert_eq!(record(&roots, 5), json!({"id": 5, "t": "2025-01-02T03:04:05+01:00", "d": "2025-01-02"}));
}

#[test]
fn scalars_become_json_text_when_an_object_comes_late() {
    let early = |id: usize| format!(r#"{{"id":{id},"v":{id},"s":"a\"b","f":1.50}}"#);
    let roots = drifted(early, r#"{"id":41,"v":{"a": [1, 2]},"s":[],"f":{}}"#);
    assert_eq!(roots.column_type("s", "v"), "string (json)");
    let text = roots.sql("select v, s, f from lake.s where id in (3, 41) order by id");
    assert_eq!(text[0], json!({"v": "3", "s": "\"a\\\"b\"", "f": "1.50"}));
    assert_eq!(text[1], json!({"v": "{\"a\":[1,2]}", "s": "[]", "f": "{}"}));
    assert_eq!(record(&roots, 41), json!({"id": 41, "v": {"a": [1, 2]}, "s": [], "f": {}}));
}

#[test]
fn integers_become_doubles_or_decimals_only_where_that_is_exact() {
    let early = |id: usize| format!(r#"{{"id":{id},"f":{id},"w":9007199254740993,"b":{id}}}"#);
    let roots = drifted(early, r#"{"id":41,"f":0.5,"w":0.5,"b":12345678901234567890}"#);
    assert_eq!(roots.column_type("s", "f"), "double");
    assert_eq!(roots.column_type("s", "w"), "string");
    assert_eq!(roots.column_type("s", "b"), "decimal(38,0)");
    assert_eq!(record(&roots, 7), json!({"id": 7, "f": 7.0, "w": "9007199254740993", "b": 7}));
}

#[test]
fn drift_below_lists_and_objects_is_drift_too() {
    let early = |id: usize| format!(r#"{{"id":{id},"l":[{{"a":{id}}}],"o":{{"p":{{"q":1.10}}}},"m":[[1],[]]}}"#);
    let roots = drifted(early, r#"{"id":41,"l":[{"a":"x","b":null},{"c":1}],"o":{"p":{"q":true}},"m":[["y"]]}"#);
    let expected = json!({"id": 5, "l": [{"a": "5"}], "o": {"p": {"q": "1.10"}}, "m": [["1"], []]});
    assert_eq!(record(&roots, 5), expected);
    assert_eq!(record(&roots, 41)["l"], json!([{"a": "x"}, {"c": 1}]));
}

#[test]
fn keys_that_fold_together_part_when_one_record_has_both() {
    let early = |id: usize| {
        if id.is_multiple_of(2) {
            format!(r#"{{"id":{id},"Org":{id}}}"#)
        } else {
            format!(r#"{{"id":{id},"org":{id}}}"#)
        }
    };
    let roots = drifted(early, r#"{"id":41,"org":1,"Org":2}"#);
    assert_eq!(record(&roots, 6), json!({"id": 6, "Org": 6}));
    assert_eq!(record(&roots, 7), json!({"id": 7, "org": 7}));
    assert_eq!(record(&roots, 41), json!({"id": 41, "Org": 2, "org": 1}));
}

#[test]
fn columns_that_come_late_are_null_before() {
    let roots = drifted(|id| format!(r#"{{"id":{id}}}"#), r#"{"id":41,"new":{"a":1},"list":[1]}"#);
    assert_eq!(record(&roots, 3), json!({"id": 3}));
    assert_eq!(record(&roots, 41), json!({"id": 41, "new": {"a": 1}, "list": [1]}));
    assert_eq!(roots.sql("select count(*) as n from lake.s where new is null and list is null"), [json!({"n": 59})]);
}

/// A value of any kind, also nested, as a careless API would send it.
fn any_value(numbers: &mut Numbers, depth: u64) -> Value {
    let kinds = if depth < 3 { 12 } else { 9 };
    match numbers.below(kinds) {
        0 => Value::Null,
        1 => json!(numbers.below(2) == 0),
        2 | 3 => json!(numbers.below(1000) as i64 - 500),
        4 => json!(numbers.below(1 << 60)),
        5 => json!(numbers.below(1000) as f64 / 8.0),
        6 => json!(format!("word {}", numbers.below(50))),
        7 => json!(format!("2025-03-{:02}", numbers.below(28) + 1)),
        8 => json!(format!("2025-03-0{}T0{}:00:00Z", numbers.below(9) + 1, numbers.below(9))),
        9 => Value::from((0..numbers.below(3)).map(|_| any_value(numbers, depth + 1)).collect::<Vec<_>>()),
        _ => any_object(numbers, depth + 1),
    }
}

/// An object whose keys mostly keep their kind.
fn any_object(numbers: &mut Numbers, depth: u64) -> Value {
    let mut object = serde_json::Map::new();
    for key in 0..6 {
        let steady = match key {
            0 => json!(numbers.below(100)),
            1 => json!(format!("s{}", numbers.below(100))),
            2 => json!(numbers.below(100) as f64 / 4.0),
            3 => json!([numbers.below(5)]),
            4 => json!({"x": numbers.below(5)}),
            _ => json!(numbers.below(2) == 1),
        };
        if numbers.below(4) > 0 {
            let value = if numbers.below(60) == 0 { any_value(numbers, depth) } else { steady };
            object.insert(format!("k{key}"), value);
        }
    }
    Value::Object(object)
}

fn any_source(seed: u64) -> Vec<(String, String)> {
    let mut numbers = Numbers(seed);
    (0..40)
        .map(|object| {
            let records: Vec<Value> = (0..=numbers.below(30))
                .map(|record| {
                    let mut value = any_object(&mut numbers, 0);
                    value["id"] = json!(object * 1000 + record);
                    let half = numbers.below(200) == 0;
                    value["p"] = if half { json!(0.5) } else { json!(numbers.below(4)) };
                    value
                })
                .collect();
            (format!("{object:02}.json"), lines(&records))
        })
        .collect()
}

#[test]
fn the_result_does_not_depend_on_threads() {
    for seed in [1, 2, 3] {
        let objects = any_source(seed);
        let outcome = |threads: &str| {
            let roots = Roots::new();
            objects.iter().for_each(|(key, bytes)| roots.put(&format!("s/{key}"), bytes));
            roots.compact_one(&["--threads", threads, "--partition-by", "p"]);
            let mut records = roots.export("s");
            records.sort_by_key(|record| record["id"].as_u64());
            (roots.schema("s"), roots.partition_folders("s"), records)
        };
        let one = outcome("1");
        assert_eq!(one, outcome("2"), "seed {seed}");
        assert_eq!(one, outcome("3"), "seed {seed}");
    }
}

/// A value with what a promotion of stored values may change taken away: the digits of doubles, the notation of times,
/// and null, `{}` and `[]` that came before their column had a type.
fn essence(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::String(text) => match (text.parse::<f64>(), chrono::DateTime::parse_from_rfc3339(text)) {
            (Ok(number), _) => json!(number),
            (_, Ok(time)) => json!(time.timestamp_micros()),
            _ => match serde_json::from_str::<Value>(text) {
                Ok(inner) => essence(&inner),
                Err(_) => value.clone(),
            },
        },
        Value::Array(elements) => {
            let elements: Vec<Value> = elements.iter().map(essence).collect();
            if elements.is_empty() { Value::Null } else { elements.into() }
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), essence(value)));
            let fields: serde_json::Map<_, _> = fields.filter(|(_, value)| !value.is_null()).collect();
            if fields.is_empty() { Value::Null } else { fields.into() }
        }
        other => other.clone(),
    }
}

#[test]
fn columns_and_values_do_not_depend_on_how_objects_fell_into_runs() {
    for seed in [4, 5] {
        let objects = any_source(seed);
        let outcome = |per_run: usize| {
            let roots = Roots::new();
            for some in objects.chunks(per_run) {
                some.iter().for_each(|(key, bytes)| roots.put(&format!("s/{key}"), bytes));
                roots.compact_one(&[]);
            }
            let columns = roots.columns("s");
            let columns = columns.as_array().unwrap().iter();
            let mut types: Vec<_> =
                columns.map(|column| (column["column"].to_string(), column["type"].to_string())).collect();
            types.sort();
            let mut records = roots.export("s");
            records.sort_by_key(|record| record["id"].as_u64());
            (types, records.iter().map(essence).collect::<Vec<_>>())
        };
        let one = outcome(usize::MAX);
        let raw: Vec<Value> = objects
            .iter()
            .flat_map(|(_, text)| text.lines())
            .map(|line| essence(&serde_json::from_str(line).unwrap()))
            .collect();
        assert_eq!(one.1, raw, "seed {seed}");
        for per_run in [10, 3] {
            let several = outcome(per_run);
            assert_eq!(several.0, one.0, "seed {seed}, {per_run} objects in each run");
            for (several, raw) in several.1.iter().zip(&raw) {
                assert_eq!(several, raw, "seed {seed}, {per_run} objects in each run");
            }
        }
    }
}
