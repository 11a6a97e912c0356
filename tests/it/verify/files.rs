//! Data files that are damaged, or are not what the table says.

use serde_json::{Value, json};

use super::{assert_found, assert_sound, effects, findings, parquet_file, small, verify};
use crate::support::Roots;

#[test]
fn data_files_that_are_cut_or_gone_are_found() {
    let roots = small();
    let [path] = &roots.data_files()[..] else { panic!() };
    let bytes = std::fs::read(roots.table().join(path)).unwrap();
    for (left, why) in [(bytes.len() - 1, "footer"), (bytes.len() / 2, "footer"), (3, "footer"), (0, "footer")] {
        std::fs::write(roots.table().join(path), &bytes[..left]).unwrap();
        let size = format!("the file has {left} bytes, the log says {}", bytes.len());
        let found = assert_found(&roots, &[("size", path, "-", &*size), ("footer", path, "-", why)]);
        assert!(effects(&found[1]).contains(&"Spark, Hive: the file is not a Parquet file".to_owned()), "{found:?}");
    }
    std::fs::remove_file(roots.table().join(path)).unwrap();
    let found = assert_found(&roots, &[("missing", path, "-", "the file is gone")]);
    assert!(effects(&found[0])[0].starts_with("Spark, Trino, Athena, Hive, DataFusion: "), "{found:?}");
    // As people see it.
    let ran = verify(&roots, &[]);
    assert_eq!(ran.code, 1);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("s: version 0, 2 rows in 1 files") && lines[0].ends_with(": 1 finding"), "{lines:?}");
    assert_eq!(lines[1], format!("  error: {path}: the file is gone"));
    assert!(lines[2].starts_with("    Spark, Trino, Athena, Hive, DataFusion: "), "{lines:?}");
}

#[test]
fn a_file_that_grew_is_read_at_its_own_end() {
    let roots = small();
    let [path] = &roots.data_files()[..] else { panic!() };
    let bytes = parquet_file("optional int64 id; optional int64 v;");
    let padded = [&bytes[..4], &[0; 200_000], &bytes[4..]].concat();
    std::fs::write(roots.table().join(path), &padded).unwrap();
    let found = assert_found(
        &roots,
        &[("size", path, "-", "the file has 2"), ("column_type", path, "v", "the file holds INT64")],
    );
    assert!(effects(&found[0])[0].contains("look for the footer at the end that the log says"), "{found:?}");
}

#[test]
fn columns_of_another_type_are_found_and_the_readers_are_named() {
    // The columns of a file, the column and reason found, and what readers make of it.
    let cases: [(&str, &str, &str, &[&str]); 19] = [
        (
            "optional int64 id; optional int64 v;",
            "v",
            "the file holds INT64 where the table gives BYTE_ARRAY STRING",
            // Hive makes text of numbers.
            &["Spark: Parquet column cannot be converted", "Trino, Athena: NOT_SUPPORTED, in Athena HIVE_BAD_DATA"],
        ),
        (
            "optional binary id (STRING);",
            "id",
            "the file holds BYTE_ARRAY STRING where the table gives INT64",
            &["Spark: Parquet column cannot", "Trino, Athena: NOT_SUPPORTED", "Hive: ClassCastException"],
        ),
        ("optional double id;", "id", "holds DOUBLE", &["Spark: Parq", "Trino, Athena: NOT", "Hive: Class"]),
        ("optional int32 id;", "id", "holds INT32", &["Spark: Parquet column cannot be converted, before 4.0"]),
        ("optional int64 id (INTEGER(64,false));", "id", "holds INT64 UINT(64)", &["Spark: reads 2^63"]),
        ("optional float x;", "x", "holds FLOAT", &["Spark: Parquet column cannot be converted, before 4.0"]),
        ("optional int64 x;", "x", "holds INT64", &["Spark: Parquet", "Trino, Athena: NOT_SUPPORTED"]),
        (
            "optional int96 t;",
            "t",
            "the file holds INT96 where the table gives INT64 TIMESTAMP(MICROS,UTC)",
            &["Hive: converts to the time zone", "DataFusion, delta-rs: reads nanoseconds of 64 bits"],
        ),
        (
            "optional int64 t (TIMESTAMP(NANOS,true));",
            "t",
            "TIMESTAMP(NANOS,UTC)",
            &["Spark: Parquet column cannot", "Trino, Athena: NOT_SUPPORTED"],
        ),
        ("optional int64 t (TIMESTAMP(MILLIS,true));", "t", "TIMESTAMP(MILLIS,UTC)", &[]),
        ("optional int64 t (TIMESTAMP_MILLIS);", "t", "TIMESTAMP(MILLIS,UTC)", &[]),
        ("optional int64 t (TIMESTAMP(MICROS,false));", "t", "TIMESTAMP(MICROS,local)", &[]),
        ("optional int64 t;", "t", "holds INT64 ", &["Spark: Parq", "Trino, Athena: NOT", "Hive: Class"]),
        (
            "optional int32 d;",
            "d",
            "holds INT32 ",
            &["Spark: takes the bare", "Trino, Athena: takes the bare", "Hive: C"],
        ),
        (
            "optional fixed_len_byte_array(16) big (DECIMAL(38,2));",
            "big",
            "the file holds FIXED_LEN_BYTE_ARRAY(16) DECIMAL(38,2) where the table gives FIXED_LEN_BYTE_ARRAY(16) DECIMAL(38,0)",
            &["Spark: Parquet column cannot", "Hive: makes null of values that do not fit"],
        ),
        ("optional fixed_len_byte_array(9) big (DECIMAL(20,0));", "big", "DECIMAL(20,0)", &[]),
        ("optional binary v;", "v", "holds BYTE_ARRAY where", &[]),
        (
            "optional group o { optional int64 p; optional int64 q; }",
            "o.q",
            "the file holds a single value where the table says a struct",
            &["Spark, Trino, Athena, Hive: ClassCastException"],
        ),
        (
            "optional group ls (LIST) { repeated group list { optional group element { optional double a; } } }",
            "ls[].a",
            "holds DOUBLE",
            &["Spark: Parquet", "Trino, Athena: NOT_SUPPORTED", "Hive: ClassCast"],
        ),
    ];
    let roots = small();
    for (message, column, reason, expected) in cases {
        let path = roots.replace(&parquet_file(message));
        let found = assert_found(&roots, &[("column_type", &path, column, reason)]);
        let effects = effects(&found[0]);
        let is_as_expected = effects.len() == expected.len()
            && effects.iter().zip(expected).all(|(effect, expected)| effect.starts_with(expected));
        assert!(is_as_expected, "{message}: {effects:#?}");
        let severity = if expected.is_empty() { "warning" } else { "error" };
        assert_eq!(found[0]["severity"], severity, "{message}");
    }
    // Other spellings of the same types.
    for message in [
        "optional int64 id (INTEGER(64,true)); optional binary v (UTF8); optional int32 d (DATE);",
        "required int64 id; optional int64 t (TIMESTAMP_MICROS); required boolean b;",
        "optional group ls (LIST) { repeated group list { required group element { required int64 a; } } }",
    ] {
        roots.replace(&parquet_file(message));
        assert_sound(&roots);
    }
}

#[test]
fn lists_that_are_not_in_three_levels_are_found() {
    let cases: [(&str, &str, &str, &[&str]); 6] = [
        (
            "optional group l (LIST) { repeated int64 array; }",
            "l",
            "the list has two levels, not three: the repeated `array` is its element",
            &[],
        ),
        (
            "optional group ls (LIST) { repeated group array { optional int64 a; optional binary b (STRING); } }",
            "ls",
            "the repeated `array` is its element",
            &["Hive: takes the first field of `array` for the element"],
        ),
        (
            "optional group ls (LIST) { repeated group ls_tuple { optional int64 a; } }",
            "ls",
            "the repeated `ls_tuple` is its element",
            &[],
        ),
        (
            "optional group l (LIST) { repeated group bag { optional int64 array_element; } }",
            "l",
            "the levels of the list are named bag.array_element and not list.element",
            &[],
        ),
        ("repeated int64 l;", "l", "the list is a repeated field without LIST", &[]),
        (
            "optional group l (LIST) { optional int64 element; }",
            "l",
            "the LIST group does not hold one repeated field",
            &["Spark: Invalid Parquet schema of a LIST"],
        ),
    ];
    let roots = small();
    for (message, column, reason, expected) in cases {
        let path = roots.replace(&parquet_file(message));
        let found = assert_found(&roots, &[("nested_layout", &path, column, reason)]);
        assert_eq!(effects(&found[0]), expected, "{message}");
    }
    // Of a group of one field nobody can tell whether it is the element: it is not, say the rules.
    let path =
        roots.replace(&parquet_file("optional group ls (LIST) { repeated group element { optional int64 a; } }"));
    assert_found(
        &roots,
        &[
            ("nested_layout", &path, "ls", "named element.a and not list.element"),
            ("column_type", &path, "ls[]", "a single value where the table says a struct"),
        ],
    );
    let path = roots.replace(&parquet_file("repeated int64 id;"));
    assert_found(
        &roots,
        &[("column_type", &path, "id", "the file holds a repeated field where the table says a single")],
    );
    let path = roots.replace(&parquet_file(
        "optional group l (MAP) { repeated group key_value { required binary key (STRING); optional int64 value; } }",
    ));
    assert_found(&roots, &[("column_type", &path, "l", "the file holds a map where the table says a list")]);
}

#[test]
fn maps_that_lack_fields_or_have_another_layout_are_found() {
    let roots = Roots::new();
    let records: Vec<Value> = (0..600).map(|n| json!({"id": n, "m": {format!("k{n}"): {"a": n, "b": "x"}}})).collect();
    roots.put_lines("s/1.json", &records);
    roots.compact_one(&["--partition-by", "none"]);
    assert_eq!(roots.column_type("s", "m"), "map<string,struct<a:bigint,b:string>>");
    let map =
        |key: &str, value: &str| format!("optional group m (MAP) {{ repeated group key_value {{ {key} {value} }} }}");
    let (key, value) =
        ("required binary key (STRING);", "optional group value { optional int64 a; optional binary b (STRING); }");
    let cases: [(String, &str, &str, &str, &[&str]); 5] = [
        (
            map(key, "optional group value { optional int64 a; }"),
            "map_field",
            "m{}.b",
            "the values of the map lack this field",
            &["DataFusion, delta-rs: a map cannot be cast"],
        ),
        (
            map(key, value).replace("(MAP)", "(MAP_KEY_VALUE)").replace("key_value", "map"),
            "nested_layout",
            "m",
            "its levels are named map.{key, value}, it is annotated MAP_KEY_VALUE",
            &[],
        ),
        (map("optional binary key (STRING);", value), "nested_layout", "m", "its keys may be null", &[]),
        (map(key, ""), "nested_layout", "m", "have not a key and a value", &["Trino, Athena: read the column as null"]),
        (
            map("required int64 key;", value),
            "column_type",
            "m{key}",
            "the file holds INT64",
            &["Spark", "Trino, Athena"],
        ),
    ];
    let count = |found: &[Value]| {
        found.iter().filter(|finding| finding["kind"] != "rows" && finding["kind"] != "books").count()
    };
    for (message, kind, column, reason, expected) in cases {
        let path = roots.replace(&parquet_file(&message));
        let found = findings(&roots);
        assert_eq!(count(&found), 1, "{message}: {found:#?}");
        let finding = found.iter().find(|finding| finding["kind"] == kind).unwrap();
        assert_eq!((finding["path"].as_str(), finding["column"].as_str()), (Some(&*path), Some(column)));
        assert!(finding["reason"].as_str().unwrap().contains(reason), "{finding}");
        let effects = effects(finding);
        assert!(effects.len() == expected.len(), "{effects:?}");
        assert!(effects.iter().zip(expected).all(|(effect, expected)| effect.starts_with(expected)), "{effects:?}");
    }
}

#[test]
fn columns_that_the_table_has_not_are_found() {
    let roots = small();
    let path =
        roots.replace(&parquet_file("optional int64 id; optional int64 extra; optional group o { optional int64 z; }"));
    let found = assert_found(
        &roots,
        &[
            ("unknown_column", &path, "extra", "the table has no such column"),
            ("unknown_column", &path, "o.z", "the table has no such column"),
        ],
    );
    assert_eq!(effects(&found[0]), ["Spark, Trino, Athena, Hive, DataFusion: its values are in no query"]);
    // What a file of rows without values has instead of columns.
    roots.replace(&parquet_file("optional boolean siltstone-no-values;"));
    assert_sound(&roots);
    let path = roots.replace(&parquet_file("optional int64 id; optional boolean siltstone-no-values;"));
    assert_found(
        &roots,
        &[
            ("unknown_column", &path, "siltstone-no-values", "no such column"),
            ("column_name", &path, "siltstone-no-values", "not made of a-z, 0-9 and _"),
        ],
    );
}

#[test]
fn names_that_readers_confuse_are_found() {
    let roots = small();
    let path = roots.replace(&parquet_file(
        "optional int64 id; optional binary ID (STRING); optional group o { optional int64 P; optional int64 p; }",
    ));
    let found = assert_found(
        &roots,
        &[
            ("duplicate_column", &path, "id", "the file holds this column 2 times: id, ID"),
            ("duplicate_column", &path, "o.p", "2 times: P, p"),
        ],
    );
    assert_eq!(
        effects(&found[0]),
        [
            "Spark: Found duplicate field(s) \"id\": [id, ID]",
            "Trino, Athena, Hive: take the values of one of them and drop the others",
        ]
    );
    let path = roots.replace(&parquet_file("optional int64 Id; optional int64 größe;"));
    let found = assert_found(
        &roots,
        &[
            ("unknown_column", &path, "Id", "the table has no such column; it has id"),
            ("column_name", &path, "Id", "the name is not made of"),
            ("unknown_column", &path, "größe", "the table has no such column"),
            ("column_name", &path, "größe", "the name is not made of"),
        ],
    );
    assert!(effects(&found[0])[0].starts_with("DataFusion, delta-rs: names are compared with their case"), "{found:?}");
    assert!(effects(&found[1])[0].starts_with("Athena: column names must be lower case"), "{found:?}");
    let long = "n".repeat(256);
    let path = roots.replace(&parquet_file(&format!("optional int64 {long};")));
    let found = findings(&roots);
    assert!(
        found.iter().any(|finding| finding["kind"] == "column_name"
            && finding["path"] == *path
            && finding["reason"] == "the name has 256 bytes, more than 255"),
        "{found:?}"
    );
}
