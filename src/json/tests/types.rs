//! Each row of the type table (design, section 5), wherever the values stand.

use super::*;

/// Where the values of a case stand in a record.
const PLACES: [(&str, &str); 5] = [
    ("at top level", r#"{"v":@}"#),
    ("in a struct", r#"{"o":{"v":@}}"#),
    ("in a list", r#"{"l":[@]}"#),
    ("in a struct in a list", r#"{"l":[{"w":0,"v":@}]}"#),
    ("in a list in a list", r#"{"l":[[@],[0]]}"#),
];

/// The type at each place, below what is around it.
fn innermost(place: usize, read: &Read) -> Option<Type> {
    fn below(ty: Option<&Type>, step: &str) -> Option<Type> {
        match ty? {
            Type::Struct(fields) => fields.iter().find(|field| field.name == step).map(|field| field.ty.clone()),
            Type::List(element) if step == "[]" => Some(element.as_ref().clone()),
            _ => None,
        }
    }
    let (column, steps): (&str, &[&str]) =
        [("v", &[][..]), ("o", &["v"]), ("l", &["[]"]), ("l", &["[]", "v"]), ("l", &["[]", "[]"])][place];
    steps.iter().fold(read.ty(column).cloned(), |ty, step| below(ty.as_ref(), step))
}

/// Decodes records with each of `values` at all places but the last, expects the type and what is stored of each value.
fn check(values: &[&str], ty: &Type, stored: &[&str]) {
    for (place, (name, template)) in PLACES.iter().enumerate().take(4) {
        let text: String = values.iter().map(|value| template.replace('@', value) + "\n").collect();
        for sizes in [&[usize::MAX][..], &[7, 3, 19]] {
            let read = read_with(&DecodeOptions::default(), &[text.as_bytes()], sizes);
            assert_eq!(innermost(place, &read).as_ref(), Some(ty), "{values:?} {name}");
            let expected: Vec<String> = stored
                .iter()
                .map(|value| match (*value, place) {
                    ("null", 0) => "{}".to_owned(),
                    ("null", 1) => r#"{"o":{}}"#.to_owned(),
                    ("null", 3) => r#"{"l":[{"w":0}]}"#.to_owned(),
                    (value, _) => template.replace('@', value),
                })
                .collect();
            assert_eq!(read.rows, expected, "{values:?} {name}");
            assert_eq!(read.rejects, []);
        }
    }
}

#[test]
fn booleans_are_boolean() {
    check(&["true", "null", "false"], &Type::Bool, &["true", "null", "false"]);
}

#[test]
fn integers_within_64_bits_are_bigint() {
    let values = ["0", "-1", "null", "9223372036854775807", "-9223372036854775808"];
    check(&values, &Type::Int64, &values);
}

#[test]
fn integers_of_at_most_38_digits_are_decimal() {
    let values =
        ["9223372036854775808", "1", "null", "-9223372036854775809", "-99999999999999999999999999999999999999"];
    check(&values, &Type::Decimal { precision: 38, scale: 0 }, &values);
}

#[test]
fn an_integer_of_39_digits_makes_a_string_of_the_digits() {
    check(
        &["1", "null", "100000000000000000000000000000000000000"],
        &Type::Text,
        &["\"1\"", "null", "\"100000000000000000000000000000000000000\""],
    );
    check(
        &["-99999999999999999999999999999999999999", "-999999999999999999999999999999999999999"],
        &Type::Text,
        &["\"-99999999999999999999999999999999999999\"", "\"-999999999999999999999999999999999999999\""],
    );
}

#[test]
fn fractions_and_exponents_are_double() {
    check(&["1.5", "-2.5e-3", "null", "1E2", "1e+2"], &Type::Double, &["1.5", "-0.0025", "null", "100.0", "100.0"]);
    check(&["1e308", "5e-324"], &Type::Double, &["1e308", "5e-324"]);
}

#[test]
fn minus_zero_keeps_its_sign() {
    check(&["-0", "1"], &Type::Double, &["-0.0", "1.0"]);
    check(&["-0", "-0.0", "-0e5"], &Type::Double, &["-0.0", "-0.0", "-0.0"]);
    check(&["-0", "9007199254740993"], &Type::Text, &["\"-0\"", "\"9007199254740993\""]);
}

#[test]
fn a_number_beyond_double_makes_a_string_of_the_texts() {
    check(&["1.50", "1e400", "null"], &Type::Text, &["\"1.50\"", "\"1e400\"", "null"]);
    check(&["1e-400", "2"], &Type::Text, &["\"1e-400\"", "\"2\""]);
    check(&["-1E+999"], &Type::Text, &["\"-1E+999\""]);
}

#[test]
fn integers_within_53_bits_merge_with_fractions_to_double() {
    check(
        &["1", "9007199254740992", "0.5", "-9007199254740992"],
        &Type::Double,
        &["1.0", "9007199254740992.0", "0.5", "-9007199254740992.0"],
    );
}

#[test]
fn integers_beyond_53_bits_merge_with_fractions_to_text() {
    check(&["9007199254740993", "1.50"], &Type::Text, &["\"9007199254740993\"", "\"1.50\""]);
    check(&["1.50", "-9007199254740993", "2"], &Type::Text, &["\"1.50\"", "\"-9007199254740993\"", "\"2\""]);
    check(&["9223372036854775808", "1.50"], &Type::Text, &["\"9223372036854775808\"", "\"1.50\""]);
}

#[test]
fn date_times_are_timestamps_in_utc() {
    check(
        &["\"2025-02-03T04:05:06Z\"", "\"2025-02-03T04:05:06.5+01:00\"", "null", "\"2025-02-03t04:05:06.000001z\""],
        &Type::Timestamp { naive: false },
        &["\"2025-02-03T04:05:06Z\"", "\"2025-02-03T03:05:06.500Z\"", "null", "\"2025-02-03T04:05:06.000001Z\""],
    );
}

#[test]
fn date_times_without_offset_are_naive_timestamps() {
    let values = ["\"2025-02-03T04:05:06\"", "\"1969-12-31T23:59:59.999\""];
    check(&values, &Type::Timestamp { naive: true }, &values);
}

#[test]
fn date_times_with_and_without_offset_are_one_timestamp() {
    check(
        &["\"2025-02-03T04:05:06\"", "\"2025-02-03T04:05:06+00:30\""],
        &Type::Timestamp { naive: false },
        &["\"2025-02-03T04:05:06Z\"", "\"2025-02-03T03:35:06Z\""],
    );
}

#[test]
fn a_date_time_finer_than_a_microsecond_makes_text() {
    let values = ["\"2025-02-03T04:05:06.1234567Z\"", "\"2025-02-03T04:05:06Z\""];
    check(&values, &Type::Text, &values);
}

#[test]
fn dates_are_date_and_merge_with_other_strings_to_text() {
    let dates = ["\"2025-02-03\"", "null", "\"0001-01-01\"", "\"9999-12-31\""];
    check(&dates, &Type::Date, &dates);
    for other in ["\"2025-02-03T04:05:06Z\"", "\"2025-02-30\"", "\"\""] {
        check(&["\"2025-02-03\"", other], &Type::Text, &["\"2025-02-03\"", other]);
        check(&[other, "\"2025-02-03\""], &Type::Text, &[other, "\"2025-02-03\""]);
    }
}

#[test]
fn an_escaped_date_is_a_date() {
    check(&[r#""2025\u002d02-03""#], &Type::Date, &["\"2025-02-03\""]);
}

#[test]
fn strings_keep_every_character() {
    check(
        &[r#""\u00e9 \ud83d\ude00 \/ \b\f\n\r\t \" \\ é 😀 \u0000""#, "\"\"", "\"\u{7f}\u{2028}\""],
        &Type::Text,
        &[r#""é 😀 / \b\f\n\r\t \" \\ é 😀 \u0000""#, "\"\"", "\"\u{7f}\u{2028}\""],
    );
}

#[test]
fn numbers_beside_strings_keep_their_text() {
    check(
        &["1.10", "\"x\"", "1e5", "-0", "007".trim_start_matches('0'), "123456789012345678901234567890.0", "null"],
        &Type::Text,
        &["\"1.10\"", "\"x\"", "\"1e5\"", "\"-0\"", "\"7\"", "\"123456789012345678901234567890.0\"", "null"],
    );
    check(&["\"2025-02-03\"", "1.10"], &Type::Text, &["\"2025-02-03\"", "\"1.10\""]);
}

#[test]
fn booleans_beside_other_scalars_keep_their_text() {
    check(&["true", "1", "0.50"], &Type::Text, &["\"true\"", "\"1\"", "\"0.50\""]);
    check(&["\"true\"", "false"], &Type::Text, &["\"true\"", "\"false\""]);
    check(&["\"2025-02-03T04:05:06+01:00\"", "false"], &Type::Text, &["\"2025-02-03T04:05:06+01:00\"", "\"false\""]);
}

#[test]
fn scalars_beside_objects_or_arrays_are_json_text() {
    check(
        &[r#"{ "a" : [ 1 , 2.50 ] }"#, "\"x y\"", "1.10", "null", "true", "[ ]", "{ }"],
        &Type::Json,
        &[r#"{"a":[1,2.50]}"#, "\"x y\"", "1.10", "null", "true", "[]", "{}"],
    );
    check(&["1.10", "[ 1 , \"a b\" ]"], &Type::Json, &["1.10", "[1,\"a b\"]"]);
}

#[test]
fn objects_beside_arrays_are_json_text() {
    check(&[r#"{"a":{"b": 1}}"#, "[ {} , [ ] ]"], &Type::Json, &[r#"{"a":{"b":1}}"#, "[{},[]]"]);
    // PHP writes an empty object as an empty array.
    check(&["[]", r#"{"a": 1}"#], &Type::Json, &["[]", r#"{"a":1}"#]);
}

#[test]
fn json_text_keeps_escapes_and_numbers_as_they_are() {
    check(
        &["\t{\"k\\u0041 \":\n\"\\ud83d\\ude00 \\\" { \", \"n\" : 1.50e+3 , \"n\":-0}\r", "\"\\u0041\"", "7"],
        &Type::Json,
        &[r#"{"k\u0041 ":"\ud83d\ude00 \" { ","n":1.50e+3,"n":-0}"#, r#""\u0041""#, "7"],
    );
}

#[test]
fn objects_are_structs_merged_field_by_field() {
    check(
        &[r#"{"a":1}"#, "null", r#"{"b":[{"c":true}]}"#, r#"{"a":0.5,"b":[{"d":"x"},null]}"#],
        &Type::Struct(vec![
            field("a", Type::Double),
            field("b", list(Type::Struct(vec![field("c", Type::Bool), field("d", Type::Text)]))),
        ]),
        &[r#"{"a":1.0}"#, "null", r#"{"b":[{"c":true}]}"#, r#"{"a":0.5,"b":[{"d":"x"},null]}"#],
    );
}

#[test]
fn an_object_without_keys_is_kept_once_the_column_is_a_struct() {
    check(&["{}", r#"{"a":1}"#], &Type::Struct(vec![field("a", Type::Int64)]), &["{}", r#"{"a":1}"#]);
}

#[test]
fn arrays_are_lists_of_the_merged_element_type() {
    check(&["[1]", "[]", "null", "[null,2.5]"], &list(Type::Double), &["[1.0]", "[]", "null", "[null,2.5]"]);
    check(&["[true,1.10]"], &list(Type::Text), &["[\"true\",\"1.10\"]"]);
    check(&["[[1],[]]", "[null]"], &list(list(Type::Int64)), &["[[1],[]]", "[null]"]);
    check(
        &["[{\"a\":1}]", "[{\"a\":null}]"],
        &list(Type::Struct(vec![field("a", Type::Int64)])),
        &["[{\"a\":1}]", "[{}]"],
    );
    check(&["[1]", "[{\"a\":1}]"], &list(Type::Json), &["[1]", "[{\"a\":1}]"]);
}

#[test]
fn a_list_of_nothing_is_a_list_of_null_strings() {
    check(&["[null]", "[]"], &list(Type::Text), &["[null]", "[]"]);
    for nothing in ["{}", "[]", r#"{"a":null}"#, r#"{"a":[],"b":{"c":{}}}"#] {
        check(&[&format!("[{nothing}]"), "[null,null]"], &list(Type::Text), &["[null]", "[null,null]"]);
    }
    // Both of these can only become JSON text.
    check(&["[{},[]]", "[[]]"], &list(Type::Json), &["[{},[]]", "[[]]"]);
    check(&["[[null]]"], &list(list(Type::Text)), &["[[null]]"]);
}

#[test]
fn only_null_and_empty_objects_and_arrays_give_no_column() {
    for values in [
        &["null"][..],
        &["{}"],
        &["[]"],
        &["null", "{}"],
        &["[]", "{}", "null"],
        &[r#"{"a":null}"#, r#"{"b":[],"c":{}}"#],
    ] {
        let text: String = values.iter().map(|value| PLACES[0].1.replace('@', value)).collect();
        let top = read(&text);
        assert_eq!((top.fields, top.rows), (vec![], vec!["{}".to_owned(); values.len()]), "{values:?}");
        assert!(!top.observation.fields["v"].kinds().is_empty(), "unresolved, but observed");
        let text: String = values.iter().map(|value| PLACES[1].1.replace('@', value)).collect();
        assert_eq!(read(&text).fields, vec![], "{values:?}");
        let text: String = values.iter().map(|value| PLACES[3].1.replace('@', value)).collect();
        assert_eq!(read(&text).ty("l"), Some(&list(Type::Struct(vec![field("w", Type::Int64)]))), "{values:?}");
    }
}

#[test]
fn a_type_found_late_holds_the_values_that_came_before() {
    // Every pair of kinds, in both orders, in one window and in one window for each record.
    let values = [
        ("null", ""),
        ("true", "true"),
        ("1", "1"),
        ("9007199254740993", "9007199254740993"),
        ("9223372036854775808", "9223372036854775808"),
        ("1.50", "1.50"),
        ("1e999", "1e999"),
        ("\"x\"", "x"),
        ("\"2025-02-03\"", "2025-02-03"),
        ("\"2025-02-03T04:05:06Z\"", "2025-02-03T04:05:06Z"),
        ("{}", "{}"),
        ("{\"a\":1}", "{\"a\":1}"),
        ("[]", "[]"),
        ("[1]", "[1]"),
    ];
    for (place, template) in PLACES {
        for (a, _) in values {
            for (b, _) in values {
                let text = format!("{}\n{}\n", template.replace('@', a), template.replace('@', b));
                let whole = read(&text);
                let cut = read_with(&DecodeOptions::default(), &[text.as_bytes()], &[text.find('\n').unwrap() + 1]);
                assert_eq!((whole.fields, whole.rows), (cut.fields, cut.rows), "{a} and {b} {place}");
                assert_eq!(whole.observation, cut.observation, "{a} and {b} {place}");
            }
        }
    }
}

#[test]
fn of_a_key_that_occurs_twice_the_last_value_is_kept() {
    let outcome = read(r#"{"a":1,"b":0,"a":2}{"a":3,"\u0061":null}{"a":[1,2],"a":[3]}"#);
    assert_eq!(outcome.rows, [r#"{"a":2,"b":0}"#, "{}", r#"{"a":[3]}"#]);
    assert_eq!(outcome.duplicate_keys, 3);
}

#[test]
fn of_a_key_that_occurs_twice_both_values_count_for_the_type() {
    let outcome = read(r#"{"a":1,"a":"x"}{"a":1.10}"#);
    assert_eq!(outcome.rows, [r#"{"a":"x"}"#, r#"{"a":"1.10"}"#]);
    let outcome = read(r#"{"a":5,"a":7}"#);
    assert_eq!(outcome.observation.fields["a"].ints.map(|range| (range.min, range.max)), Some((5, 7)));
}

#[test]
fn duplicate_keys_are_counted_at_every_depth() {
    let outcome = read(r#"{"o":{"x":{"y":1},"x":{"z":2}},"l":[{"k":1,"k":2,"k":3},{"k":4}],"o":{"x":{"z":5}}}"#);
    assert_eq!(outcome.rows, [r#"{"o":{"x":{"z":5}},"l":[{"k":3},{"k":4}]}"#]);
    assert_eq!(outcome.duplicate_keys, 4);
    let outcome = read(r#"{"o":{"l":[1,2]},"o":{"l":[3],"m":{"n":[true]}},"o":null}{"o":{"m":{"n":[false]}}}"#);
    assert_eq!(outcome.rows, ["{}", r#"{"o":{"m":{"n":[false]}}}"#]);
    assert_eq!(outcome.duplicate_keys, 2);
}

#[test]
fn keys_are_compared_by_what_they_spell() {
    let outcome = read("{\"a\\\"b\":1}{\"a\\u0022b\":2}{\"\\u00e9\":3}{\"é\":4}{\"\":5}");
    assert_eq!(
        outcome.fields,
        [
            Field { name: "_".to_owned(), keys: vec![String::new()], ty: Type::Int64 },
            Field { name: "a_b".to_owned(), keys: vec!["a\"b".to_owned()], ty: Type::Int64 },
            Field { name: "__bdda0906".to_owned(), keys: vec!["é".to_owned()], ty: Type::Int64 },
        ]
    );
    assert_eq!(outcome.rows[..2], [r#"{"a\"b":1}"#, r#"{"a\"b":2}"#]);
}

#[test]
fn keys_that_fold_to_one_name_share_a_column_unless_a_record_has_both() {
    let shared = read(r#"{"userId":1}{"UserID":2.5}{"userid":null}"#);
    assert_eq!(
        shared.fields,
        [Field {
            name: "userid".to_owned(),
            keys: vec!["UserID".to_owned(), "userId".to_owned(), "userid".to_owned()],
            ty: Type::Double
        }]
    );
    assert_eq!(shared.rows, [r#"{"UserID":1.0}"#, r#"{"UserID":2.5}"#, "{}"]);

    let split = read(r#"{"userId":1}{"UserID":2.5,"userId":3}"#);
    assert_eq!(split.fields.len(), 2);
    assert_eq!(split.values(), read(r#"{"userId":1}{"userId":3,"UserID":2.5}"#).values());
    assert_eq!(split.values()[1], serde_json::json!({"userId": 3, "UserID": 2.5}));

    let unmergeable = read(r#"{"tag":1}{"Tag":{"a":1}}{"tag":2}"#);
    assert_eq!(unmergeable.rows, [r#"{"tag":1}"#, r#"{"Tag":{"a":1}}"#, r#"{"tag":2}"#]);
}

#[test]
fn structs_under_keys_that_fold_to_one_name_merge_their_fields() {
    let outcome = read(r#"{"Obj":{"X":1}}{"obj":{"x":2.5,"y":"s"}}{"obj":{"Y":[]}}{"OBJ":null}"#);
    assert_eq!(outcome.fields.len(), 1);
    let Type::Struct(fields) = &outcome.fields[0].ty else { panic!("{:?}", outcome.fields) };
    // A string and an array would only merge to JSON text: `Y` is a column of its own, and has no type yet.
    let keys: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.keys.join(" "))).collect();
    assert_eq!(keys, [("x", "X x".to_owned()), ("y", "y".to_owned())]);
    assert_eq!(outcome.rows[1], r#"{"OBJ":{"X":2.5,"y":"s"}}"#);
}

#[test]
fn a_null_beside_its_rival_splits_the_column_too() {
    // One record has both keys, whatever their values.
    assert_eq!(read(r#"{"a":1,"A":2}"#).fields.len(), 2);
    let outcome = read(r#"{"a":1,"A":null}{"A":2}"#);
    assert_eq!(outcome.values(), [serde_json::json!({"a": 1}), serde_json::json!({"A": 2})]);
}

#[test]
fn values_deeper_than_columns_go_are_json_text() {
    use crate::schema::MAX_COLUMN_DEPTH;
    for (open, close) in [("{\"k\":", "}"), ("[", "]"), ("{\"k\":[", "]}")] {
        let brackets = if open.len() > 1 && close.len() > 1 { 2 } else { 1 };
        let nested = |levels: usize| format!("{}{}{}", open.repeat(levels), "1", close.repeat(levels));
        for depth in [MAX_COLUMN_DEPTH - 1, MAX_COLUMN_DEPTH, MAX_COLUMN_DEPTH + 1, 127] {
            let text = format!("{{\"v\":{}}}", nested((depth - 1) / brackets));
            let outcome = read(&text);
            assert_eq!(outcome.rows, [text.as_str()]);
            let has_json = format!("{:?}", outcome.fields).contains("Json");
            assert_eq!(has_json, (depth - 1) / brackets * brackets + 1 > MAX_COLUMN_DEPTH, "{depth} of {open}");
            let stored = serde_json::to_string(&(&outcome.observation, &outcome.fields)).unwrap();
            let again: (Observation, Vec<Field>) = serde_json::from_str(&stored).unwrap();
            assert_eq!(again, (outcome.observation, outcome.fields));
        }
    }
}
