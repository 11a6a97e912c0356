//! `verify`: sound lakes pass, and each kind of damage is found, with the file and the reason.

use std::path::PathBuf;

use parquet::basic::Type as Physical;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, Int96};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use siltstone::store::Location;

use super::support::{Numbers, Ran, Roots, files_below, write};

/// `verify` over the lake.
fn verify(roots: &Roots, args: &[&str]) -> Ran {
    roots.run(&[&["verify", "--lake", roots.lake.to_str().unwrap()], args].concat())
}

/// Asserts that all tables are sound and gives what was checked of the only one.
#[track_caller]
fn assert_sound(roots: &Roots) -> Value {
    let ran = verify(roots, &["--format", "json"]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{}", ran.stdout);
    let mut all: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(all.as_array().unwrap().iter().all(|source| source["findings"] == json!([])), "{all}");
    all[0].take()
}

/// The findings of a lake that is not sound.
#[track_caller]
fn findings(roots: &Roots) -> Vec<Value> {
    let ran = verify(roots, &["--format", "json"]);
    assert_eq!((ran.code, &*ran.stderr), (1, ""), "{}", ran.stdout);
    let all: Value = serde_json::from_str(&ran.stdout).unwrap();
    all.as_array().unwrap().iter().flat_map(|source| source["findings"].as_array().unwrap().clone()).collect()
}

/// Asserts that the findings are of these kinds, paths and columns (`-` for none), and that their reasons contain these
/// texts.
#[track_caller]
fn assert_found(roots: &Roots, expected: &[(&str, &str, &str, &str)]) -> Vec<Value> {
    let found = findings(roots);
    let short: Vec<_> = found
        .iter()
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap_or("-").to_owned();
            (text("kind"), text("path"), text("column"), text("reason"))
        })
        .collect();
    let is_as_expected = short.len() == expected.len()
        && short.iter().zip(expected).all(|(found, expected)| {
            (&*found.0, &*found.1, &*found.2) == (expected.0, expected.1, expected.2) && found.3.contains(expected.3)
        });
    assert!(is_as_expected, "{short:#?}\nexpected {expected:#?}");
    found
}

/// What readers make of a finding, one `readers: effect` each.
fn effects(finding: &Value) -> Vec<String> {
    let effects = finding["effects"].as_array().into_iter().flatten();
    effects.map(|of| format!("{}: {}", of["readers"].as_str().unwrap(), of["effect"].as_str().unwrap())).collect()
}

impl Roots {
    /// The table's folder.
    fn table(&self) -> PathBuf {
        self.lake.join("s")
    }

    /// The paths below the table's folder that begin and end so.
    fn table_files(&self, begin: &str, end: &str) -> Vec<String> {
        let all = files_below(&self.table()).into_iter();
        all.filter(|path| path.starts_with(begin) && path.ends_with(end)).collect()
    }

    /// The data files.
    fn data_files(&self) -> Vec<String> {
        files_below(&self.table()).into_iter().filter(|path| !path.starts_with('_')).collect()
    }

    /// Rewrites a file of the table as text.
    fn edit(&self, path: &str, change: impl Fn(&str) -> String) {
        let path = self.table().join(path);
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, change(&before)).unwrap();
    }

    /// Rewrites the actions of a log entry.
    fn edit_log(&self, version: u64, change: impl Fn(&mut Value)) {
        self.edit(&log(version), |text| {
            let actions = text.lines().map(|line| {
                let mut action: Value = serde_json::from_str(line).unwrap();
                change(&mut action);
                format!("{action}\n")
            });
            actions.collect()
        });
    }

    /// Rewrites the schema in a log entry.
    fn edit_schema(&self, version: u64, change: impl Fn(&mut Value)) {
        self.edit_log(version, |action| {
            if let Some(text) = action["metaData"]["schemaString"].as_str() {
                let mut schema: Value = serde_json::from_str(text).unwrap();
                change(&mut schema);
                action["metaData"]["schemaString"] = json!(schema.to_string());
            }
        });
    }

    /// Puts other bytes in the place of the only data file, and their size into the log.
    fn replace(&self, bytes: &[u8]) -> String {
        let [path] = &self.data_files()[..] else { panic!("not one data file") };
        std::fs::write(self.table().join(path), bytes).unwrap();
        self.edit_log(0, |action| {
            if action["add"].is_object() {
                action["add"]["size"] = json!(bytes.len());
            }
        });
        path.clone()
    }
}

fn log(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}

/// A table without partitions of two records in one file.
fn small() -> Roots {
    let roots = Roots::new();
    let records = [
        json!({"id": 1, "t": "2025-01-02T03:04:05Z", "d": "2025-01-02", "x": 0.5, "v": "a", "b": true,
            "big": 12_345_678_901_234_567_890_u64, "l": [1], "ls": [{"a": 1, "b": "c"}], "o": {"p": 1, "q": {"r": "s"}}}),
        json!({"id": 2, "v": "b"}),
    ];
    roots.put_lines("s/1.json", &records);
    roots.compact_one(&["--partition-by", "none"]);
    roots
}

/// A Parquet file of two rows under a schema, each value being the same.
fn parquet_file(message: &str) -> Vec<u8> {
    const ROWS: usize = 2;
    let schema = parse_message_type(&format!("message m {{ {message} }}")).unwrap();
    let mut out = Vec::new();
    let properties = WriterProperties::builder().build().into();
    let mut writer = SerializedFileWriter::new(&mut out, schema.into(), properties).unwrap();
    let columns = writer.schema_descr().columns().to_vec();
    let mut group = writer.next_row_group().unwrap();
    for column in columns {
        let mut next = group.next_column().unwrap().unwrap();
        let levels = (vec![column.max_def_level(); ROWS], vec![0; ROWS]);
        let (definitions, repetitions) = (Some(&levels.0[..]), Some(&levels.1[..]));
        macro_rules! write {
            ($writer:expr, $value:expr) => {
                assert_eq!($writer.write_batch(&[$value, $value], definitions, repetitions).unwrap(), ROWS)
            };
        }
        match next.untyped() {
            ColumnWriter::BoolColumnWriter(writer) => write!(writer, true),
            ColumnWriter::Int32ColumnWriter(writer) => write!(writer, 7),
            ColumnWriter::Int64ColumnWriter(writer) => write!(writer, 7),
            ColumnWriter::Int96ColumnWriter(writer) => write!(writer, Int96::from(vec![0, 0, 2_460_000])),
            ColumnWriter::FloatColumnWriter(writer) => write!(writer, 0.5),
            ColumnWriter::DoubleColumnWriter(writer) => write!(writer, 0.5),
            ColumnWriter::ByteArrayColumnWriter(writer) => write!(writer, ByteArray::from("seven")),
            ColumnWriter::FixedLenByteArrayColumnWriter(writer) => {
                assert_eq!(column.physical_type(), Physical::FIXED_LEN_BYTE_ARRAY);
                write!(writer, ByteArray::from(vec![0; column.type_length() as usize]).into());
            }
        }
        next.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    out
}

#[test]
fn the_test_data_is_sound() {
    let roots = Roots::of_testdata();
    roots.compact(&[]);
    let ran = verify(&roots, &[]);
    let stdout = ran.ok();
    for line in [
        "feed: version 0, 181 rows in ",
        "orders: version 0, 282 rows in ",
        "readings: version 0, 384 rows in ",
        " 6 raw objects in 1 segments of the ledger, 2 rejects in 1 quarantine files, 1 heads: nothing wrong\n",
    ] {
        assert!(stdout.contains(line), "{stdout}");
    }
    assert_eq!(stdout.matches(": nothing wrong\n").count(), 3);
    // One of them.
    let one = verify(&roots, &["orders"]).ok();
    assert!(one.starts_with("orders: ") && one.lines().count() == 1, "{one}");
    assert_sound(&roots);
}

#[test]
fn a_lake_with_a_history_is_sound() {
    let roots = Roots::new();
    let wide = |n: u64| json!({"id": n, "m": {format!("k{n}"): {"a": n}}, "at": "2024-12-31T23:59:59Z", "kind": 7});
    let runs: [Vec<Value>; 8] = [
        (0..300).map(wide).collect(),
        // New columns, and fields in the values of a map.
        vec![json!({"id": 1, "m": {"k1": {"a": 1, "b": "x"}}, "at": "2025-01-02T03:04:05Z", "l": [[{"a": 1}]]})],
        // Promotions at every depth, and partition columns among them.
        vec![json!({"id": 0.5, "m": {"k1": {"a": "y"}}, "at": "soon", "l": [[{"a": "z", "b": 1}]]})],
        vec![json!({"id": "x", "Kind": "a b/c=%2F", "nothing": null, "empty": {}})],
        vec![json!({}), json!({}), json!({"nothing": null})],
        vec![json!({"id": {"now": "json"}, "kind": "", "d": "2025-02-03", "big": 12_345_678_901_234_567_890_u64})],
        vec![json!({"kind": "x".repeat(300), "ünï cödé": 1, "UPPER": {"Lower": [true, null]}})],
        vec![],
    ];
    for (run, records) in runs.iter().enumerate() {
        roots.put_lines(&format!("s/{run}.json"), records);
        roots.compact_one(&["--partition-by", "month(at), hour(at), year(at), kind, ingested()"]);
        assert_sound(&roots);
    }
    // Ledger segments are merged, and the log has a checkpoint.
    for run in 0..20 {
        roots.put(&format!("s/{}.json", 100 - run), format!("{{\"id\":{run}}}\nmalformed\n"));
        roots.compact_one(&[]);
    }
    let checked = &assert_sound(&roots)["checked"];
    assert_eq!((&checked["heads"], &checked["entries"]), (&json!(28), &json!(28)), "{checked}");
    assert_eq!((&checked["quarantine_files"], &checked["rejects"]), (&json!(20), &json!(20)), "{checked}");
    // Heads, segments and files of the past may go.
    let heads = roots.table_files("_siltstone/ledger/", ".json");
    std::fs::remove_file(roots.table().join(&heads[3])).unwrap();
    assert_eq!(assert_sound(&roots)["checked"]["heads"], 24);
}

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

/// A table of one partition column of each kind.
fn partitioned() -> Roots {
    let roots = Roots::new();
    let record = |id: u64, at: &str, kind: &str| json!({"id": id, "at": at, "kind": kind});
    roots.put_lines("s/1.json", &[record(1, "2025-01-02T03:04:05Z", "a"), record(2, "2025-01-02T03:05:05Z", "a")]);
    roots.compact_one(&["--partition-by", "year(at), month(at), day(at), hour(at), kind"]);
    assert_sound(&roots);
    roots
}

#[test]
fn a_partition_column_in_a_file_is_found() {
    let roots = partitioned();
    let path = roots.replace(&parquet_file("optional int64 id; optional int32 at_day (DATE);"));
    let found = assert_found(&roots, &[("partition_in_file", &path, "at_day", "the file holds a partition column")]);
    assert_eq!(effects(&found[0]).len(), 2, "{found:?}");
}

#[test]
fn partition_values_of_the_log_that_are_wrong_are_found() {
    let roots = partitioned();
    let [path] = &roots.data_files()[..] else { panic!() };
    let entry = std::fs::read_to_string(roots.table().join(log(0))).unwrap();
    let with = |column: &str, value: Value| {
        write(&roots.table().join(log(0)), &entry);
        roots.edit_log(0, |action| {
            if action["add"].is_object() {
                action["add"]["partitionValues"][column] = value.clone();
            }
        });
    };
    // Values that could be: the folder says otherwise.
    for (column, value) in [
        ("at_year", json!("2024")),
        ("at_month", json!("2025-02")),
        ("at_day", json!("2025-01-03")),
        ("at_hour", json!("2025-01-02-04")),
        ("kind_part", json!("b")),
        ("kind_part", json!("")),
        ("at_day", Value::Null),
    ] {
        with(column, value);
        let found = assert_found(&roots, &[("partition_folder", path, "-", "another folder than the file lies in")]);
        assert!(effects(&found[0])[0].ends_with("DataFusion: take the values of the log"), "{found:?}");
    }
    // Values that no row can have: strings as such, other types keep the log from being read at all.
    for (column, value, reason) in [
        ("at_month", "2025-13", "none that month(at) makes"),
        ("at_month", "January", "none that month(at) makes"),
        ("at_hour", "2025-01-02-24", "none that hour(at) makes"),
        ("at_year", "twenty", "the partition value in the log is no integer"),
        ("at_day", "2025-02-30", "the partition value in the log is no date"),
        ("at_day", "20250102", "the partition value in the log is no date"),
    ] {
        with(column, json!(value));
        let found = assert_found(&roots, &[("partition_value", path, column, reason)]);
        assert!(!effects(&found[0]).is_empty(), "{found:?}");
        assert!(!found[0].to_string().contains(value), "values are content: {found:?}");
    }
}

#[test]
fn rows_that_the_log_miscounts_are_found() {
    let roots = small();
    let [path] = &roots.data_files()[..] else { panic!() };
    roots.edit(&log(0), |text| text.replace(r#"\"numRecords\":2"#, r#"\"numRecords\":3"#));
    let found = assert_found(&roots, &[("rows", path, "-", "the file holds 2 rows, numRecords of the log says 3")]);
    assert_eq!(effects(&found[0]), ["Spark, DataFusion: answer count(*) from the log, and so wrongly"]);
    roots.edit(&log(0), |text| text.replace(r#"\"numRecords\":3,"#, ""));
    assert_found(&roots, &[("rows", path, "-", "the log has no numRecords for the file")]);
}

#[test]
fn rows_that_no_raw_object_accounts_for_are_found() {
    let roots = small();
    let table = parquet_file("optional int64 id;");
    roots.replace(&table);
    assert_sound(&roots);
    // The same file once more.
    write(&roots.table().join("more.parquet"), &table);
    roots.edit(&log(0), |text| {
        let add = text.lines().find(|line| line.starts_with("{\"add\"")).unwrap();
        let mut add: Value = serde_json::from_str(add).unwrap();
        add["add"]["path"] = json!("more.parquet");
        format!("{text}{add}\n")
    });
    let head = &roots.table_files("_siltstone/ledger/", ".json")[0];
    assert_found(&roots, &[("books", head, "-", "the ledger accounts for 2 rows, the active files hold 4")]);
}

/// A table of three runs of one raw object each.
fn three_runs() -> Roots {
    let roots = Roots::new();
    for run in 0..3 {
        roots.put(&format!("s/{run}.json"), format!("{{\"id\":{run}}}\nmalformed\n"));
        roots.compact_one(&["--partition-by", "none"]);
    }
    let checked = &assert_sound(&roots)["checked"];
    assert_eq!(checked["heads"], 3);
    roots
}

#[test]
fn segments_of_the_ledger_that_are_gone_or_damaged_are_found() {
    let roots = three_runs();
    let segments = roots.table_files("_siltstone/ledger/", ".parquet");
    let head = &roots.table_files("_siltstone/ledger/", ".json")[2];
    let path = |n: usize| roots.table().join(&segments[n]);
    let bytes = std::fs::read(path(1)).unwrap();

    std::fs::remove_file(path(1)).unwrap();
    assert_found(&roots, &[("segment", &segments[1], "-", "is gone")]);
    std::fs::write(path(1), &bytes[..bytes.len() / 2]).unwrap();
    assert_found(&roots, &[("segment", &segments[1], "-", "is damaged")]);
    std::fs::write(path(1), parquet_file("optional int64 key;")).unwrap();
    assert_found(&roots, &[("segment", &segments[1], "-", "has other columns")]);
    // Its data pages.
    let mut damaged = bytes.clone();
    damaged[4..60].fill(0xff);
    std::fs::write(path(1), damaged).unwrap();
    assert_found(&roots, &[("segment", &segments[1], "-", "is damaged")]);
    // Another segment in its place.
    std::fs::copy(path(0), path(1)).unwrap();
    assert_found(&roots, &[("consumed_twice", &segments[1], "-", "the raw object 0.json was consumed twice")]);
    std::fs::write(path(1), &bytes).unwrap();
    assert_sound(&roots);
    // A head that says otherwise. (A ledger may have more entries than objects: entries are replaced.)
    roots.edit(head, |text| text.replacen("\"entries\":1", "\"entries\":2", 1));
    assert_found(&roots, &[("segment", &segments[0], "-", "the segment has 1 entries, the head says 2")]);
    roots.edit(head, |text| text.replacen("\"entries\":2", "\"entries\":0", 1));
    assert_found(
        &roots,
        &[
            ("books", head, "-", "totals say 3 raw objects, the segments of the head have 2 entries"),
            ("segment", &segments[0], "-", "the segment has 1 entries, the head says 0"),
        ],
    );
}

#[test]
fn entries_of_the_ledger_that_are_wrong_are_found() {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;
    let roots = three_runs();
    let segments = roots.table_files("_siltstone/ledger/", ".parquet");
    let text = |values: [&str; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let number = |values: [i64; 2]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let columns = [
        ("key", text(["b.json", "a.json"])),
        ("etag", text(["x", "y"])),
        ("size_bytes", number([1, 1])),
        ("records_in", number([2, 3])),
        ("rows_out", number([1, 1])),
        ("quarantined", number([1, 1])),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(roots.table().join(&segments[2])).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let head = &roots.table_files("_siltstone/ledger/", ".json")[2];
    assert_found(
        &roots,
        &[
            ("books", &segments[2], "-", "a.json: 3 records found, 1 rows, 1 quarantined"),
            ("segment", &segments[2], "-", "the entries are not sorted by key"),
            ("segment", &segments[2], "-", "the segment has 2 entries, the head says 1"),
            ("books", head, "-", "totals say 3 raw objects, the entries of the ledger sum up to 4"),
            ("books", head, "-", "totals say 6 records found, the entries of the ledger sum up to 9"),
            ("books", head, "-", "totals say 3 rows, the entries of the ledger sum up to 4"),
            ("books", head, "-", "totals say 3 quarantined, the entries of the ledger sum up to 4"),
            ("books", head, "-", "the ledger accounts for 4 rows, the active files hold 3"),
        ],
    );
}

#[test]
fn totals_that_were_changed_are_found() {
    let roots = three_runs();
    let heads = roots.table_files("_siltstone/ledger/", ".json");
    let with = |head: &str, totals: Value| {
        roots.edit(head, |text| {
            let mut head: Value = serde_json::from_str(text).unwrap();
            head["totals"] = totals.clone();
            head.to_string()
        });
    };
    with(&heads[2], json!({"objects": 3, "records_in": 6, "rows_out": 4, "quarantined": 2}));
    assert_found(
        &roots,
        &[
            ("books", &heads[2], "-", "totals say 4 rows, the entries of the ledger sum up to 3"),
            ("books", &heads[2], "-", "totals say 2 quarantined, the entries of the ledger sum up to 3"),
            ("books", &heads[2], "-", "totals say 2 quarantined, the quarantine files hold 3 rejects"),
        ],
    );
    with(&heads[2], json!({"objects": 3, "records_in": 6, "rows_out": 3, "quarantined": 3}));
    assert_sound(&roots);
    // A head of the past.
    with(&heads[0], json!({"objects": 1, "records_in": 9, "rows_out": 8, "quarantined": 2}));
    assert_found(
        &roots,
        &[
            ("books", &heads[0], "-", "totals: 9 records found, 8 rows, 2 quarantined"),
            ("head", &heads[0], "-", "its totals are more than those of _siltstone/ledger/"),
        ],
    );
}

#[test]
fn heads_that_are_gone_or_damaged_are_found() {
    let roots = three_runs();
    let heads = roots.table_files("_siltstone/ledger/", ".json");
    let path = |n: usize| roots.table().join(&heads[n]);
    let bytes = std::fs::read(path(1)).unwrap();
    std::fs::write(path(1), "{\"id\":").unwrap();
    assert_found(&roots, &[("head", &heads[1], "-", "is damaged")]);
    // Another head in its place.
    std::fs::copy(path(2), path(1)).unwrap();
    assert_found(&roots, &[("head", &heads[1], "-", "the head says that its id is ")]);
    // Ancestors may be gone.
    std::fs::remove_file(path(1)).unwrap();
    assert_eq!(assert_sound(&roots)["checked"]["heads"], 1);
    std::fs::write(path(1), &bytes).unwrap();
    // One that names what its child does not.
    roots.edit(&heads[0], |text| text.replace("_siltstone/quarantine/", "_siltstone/quarantine/x"));
    assert_found(&roots, &[("head", &heads[0], "-", "it names quarantine files that ")]);
    // The current one: the files are checked nevertheless.
    std::fs::remove_file(path(2)).unwrap();
    std::fs::remove_file(roots.table().join(&roots.data_files()[0])).unwrap();
    let lost = roots.data_files().len();
    let found = findings(&roots);
    assert!(lost == 2 && found.len() == 2, "{found:?}");
    assert_eq!((&found[0]["kind"], &found[0]["path"]), (&json!("head"), &json!(heads[2])));
    assert_eq!(found[1]["kind"], "missing");
}

#[test]
fn quarantine_files_that_are_gone_or_damaged_are_found() {
    let roots = three_runs();
    let heads = roots.table_files("_siltstone/ledger/", ".json");
    let files = roots.table_files("_siltstone/quarantine/", ".parquet");
    let path = roots.table().join(&files[1]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_found(&roots, &[("missing", &files[1], "-", "the quarantine file is gone")]);
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_found(&roots, &[("quarantine", &files[1], "-", "the quarantine file cannot be read")]);
    std::fs::write(&path, parquet_file("optional int64 continued;")).unwrap();
    assert_found(&roots, &[("quarantine", &files[1], "-", "the quarantine file has no column `continued`")]);
    // One with other rejects: `true` is not counted.
    std::fs::write(&path, parquet_file("required boolean continued;")).unwrap();
    assert_found(&roots, &[("books", &heads[2], "-", "totals say 3 quarantined, the quarantine files hold 2 rejects")]);
}

#[test]
fn a_registry_that_is_gone_or_damaged_is_found() {
    let roots = three_runs();
    let registries = roots.table_files("_siltstone/schema/", ".json");
    let path = roots.table().join(&registries[2]);
    std::fs::write(&path, "{}").unwrap();
    assert_found(&roots, &[("registry", &registries[2], "-", "is damaged")]);
    std::fs::remove_file(&path).unwrap();
    assert_found(&roots, &[("registry", &registries[2], "-", "is gone")]);
}

#[test]
fn a_delta_schema_that_the_registry_does_not_give_is_found() {
    let roots = small();
    let entry = std::fs::read_to_string(roots.table().join(log(0))).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        write(&roots.table().join(log(0)), &entry);
        roots.edit_schema(0, change);
    };
    let [path] = &roots.data_files()[..] else { panic!() };
    with(&|schema| schema["fields"][0]["type"] = json!("string"));
    assert_found(
        &roots,
        &[
            ("table_schema", "_delta_log", "id", "the log says string, the registry long"),
            ("column_type", path, "id", "the file holds INT64 where the table gives BYTE_ARRAY STRING"),
        ],
    );
    with(&|schema| schema["fields"][9]["type"]["fields"][1]["type"]["fields"][0]["name"] = json!("R"));
    assert_found(
        &roots,
        &[
            ("column_name", "_delta_log", "o.q.R", "not made of a-z"),
            ("table_schema", "_delta_log", "o.q.R", "the log has string, the registry no such column"),
            ("table_schema", "_delta_log", "o.q.r", "the registry has string, the log no such column"),
            ("unknown_column", path, "o.q.r", "the table has no such column; it has R"),
        ],
    );
    with(&|schema| schema["fields"].as_array_mut().unwrap().swap(0, 1));
    let found = assert_found(&roots, &[("table_schema", "_delta_log", "-", "stand in another order")]);
    assert_eq!(found[0]["severity"], "warning");
    with(&|schema| schema["fields"][0]["metadata"]["siltstone.keys"] = json!("{\"\":[\"ID\"]}"));
    assert_found(&roots, &[("table_schema", "_delta_log", "id", "describes the original keys")]);
    // What others remark of columns is theirs.
    with(&|schema| schema["fields"][0]["metadata"]["comment"] = json!("the number of the order"));
    assert_sound(&roots);
}

#[test]
fn partition_columns_and_protocols_that_are_not_ours_are_found() {
    let roots = small();
    let entry = std::fs::read_to_string(roots.table().join(log(0))).unwrap();
    roots.edit(&log(0), |text| text.replace("\"minReaderVersion\":1", "\"minReaderVersion\":2"));
    let found = assert_found(&roots, &[("protocol", "_delta_log", "-", "the table asks for reader version 2, not 1")]);
    assert_eq!(effects(&found[0]), ["readers of reader version 1: must refuse the table, by the Delta protocol"]);
    write(&roots.table().join(log(0)), &entry);
    roots.edit_log(0, |action| {
        if action["metaData"].is_object() {
            action["metaData"]["partitionColumns"] = json!(["v"]);
        }
    });
    let found = findings(&roots);
    assert_eq!(found[0]["kind"], "partition_columns");
    assert_eq!(found[0]["reason"], "the partition columns of the log are v, of the registry none");
    assert!(found.iter().any(|finding| finding["kind"] == "partition_in_file"), "{found:?}");
}

#[test]
fn a_log_that_cannot_be_read_is_found_with_the_entry_and_the_line() {
    let roots = three_runs();
    let entry = std::fs::read_to_string(roots.table().join(log(1))).unwrap();
    roots.edit(&log(1), |text| text.replacen("{\"add\"", "{\"add", 1));
    let line = 1 + entry.lines().position(|line| line.starts_with("{\"add\"")).unwrap();
    assert_found(&roots, &[("log", &log(1), "-", &format!("line {line} is no JSON: "))]);
    std::fs::remove_file(roots.table().join(log(1))).unwrap();
    assert_found(&roots, &[("log", "_delta_log", "-", "versions 1 to 1 are gone")]);
    write(&roots.table().join(log(1)), &entry);
    std::fs::rename(roots.table().join(log(0)), roots.dir.path().join("0.json")).unwrap();
    assert_found(&roots, &[("log", "_delta_log", "-", "versions before 1 are gone, and there is no checkpoint")]);
}

#[test]
fn a_folder_without_a_table_is_found_and_a_table_that_is_named_must_be_there() {
    let roots = small();
    roots.put("z/1.json", r#"{"id":1}"#);
    roots.compact(&["z"]);
    std::fs::remove_dir_all(roots.table().join("_delta_log")).unwrap();
    let found =
        assert_found(&roots, &[("no_table", "_delta_log", "-", "its log is lost, or its first run ended before")]);
    assert_eq!(found[0]["severity"], "warning");
    assert!(verify(&roots, &["z"]).ok().starts_with("z: version 0, 1 rows"));
    assert!(verify(&roots, &["s"]).failed(1).contains("there is no table s under"));
    assert!(verify(&roots, &["nope", "z"]).failed(1).contains("there is no table nope under"));
    assert!(verify(&roots, &["../s"]).failed(2).contains("is no source id"));
    let empty = Roots::new();
    assert!(verify(&empty, &[]).failed(1).contains("there is no folder"));
    std::fs::create_dir(&empty.lake).unwrap();
    assert!(verify(&empty, &[]).failed(1).contains("there is no table under"));
    assert!(empty.run(&["verify"]).failed(2).contains("--lake"));
}

#[test]
fn a_delta_table_of_another_writer_names_no_ledger() {
    let roots = small();
    roots.edit(&log(0), |text| text.replace("siltstone.ledger", "other.ledger"));
    assert_found(&roots, &[("head", "_delta_log", "-", "was not written by siltstone: it names no ledger")]);
}

#[test]
fn one_damaged_table_does_not_hide_the_others_and_many_findings_are_counted() {
    let roots = Roots::of_testdata();
    roots.compact(&[]);
    for source in ["feed", "orders"] {
        let table = roots.lake.join(source);
        let data = files_below(&table).into_iter().filter(|path| !path.starts_with('_'));
        data.for_each(|path| std::fs::remove_file(table.join(path)).unwrap());
    }
    let ran = verify(&roots, &[]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stdout.matches("  error: createdat_year=").count(), 2, "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("  error: created_at_year=").count(), 2, "{}", ran.stdout);
    assert_eq!(ran.stdout.matches(": nothing wrong\n").count(), 1, "{}", ran.stdout);
}

#[test]
fn whatever_bytes_are_damaged_the_check_ends_with_an_answer() {
    let roots = partitioned();
    roots.put(
        "s/2.json",
        "{\"id\":\"x\",\"l\":[{\"a\":1}],\"at\":\"2025-01-02T03:04:05Z\",\"kind\":\"a\"}\nmalformed\n",
    );
    roots.compact_one(&[]);
    assert_sound(&roots);
    let location = Location::parse(roots.table().to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut numbers = Numbers(7);
    for path in files_below(&roots.table()) {
        let path = roots.table().join(path);
        let sound = std::fs::read(&path).unwrap();
        for round in 0..9 {
            let mut damaged = sound.clone();
            match round % 3 {
                0 => damaged.truncate(numbers.below(sound.len() as u64) as usize),
                1 => damaged[numbers.below(sound.len() as u64) as usize] ^= 1 << numbers.below(8),
                _ => {
                    // Where footers are.
                    let at = sound.len() - 1 - numbers.below(sound.len().min(400) as u64) as usize;
                    damaged[at] = numbers.below(256) as u8;
                }
            }
            std::fs::write(&path, &damaged).unwrap();
            // Pages and many a number may be changed unseen: what counts is that there is an answer.
            runtime.block_on(siltstone::lake::verify(&location)).unwrap();
        }
        std::fs::write(&path, sound).unwrap();
    }
    assert_sound(&roots);
}

/// A table of three runs whose files were merged into one, and the path of its record of origins.
fn merged() -> (Roots, String) {
    let roots = Roots::new();
    for run in 0..3 {
        roots.put_lines(&format!("s/{run}.json"), &[json!({"id": 2 * run}), json!({"id": 2 * run + 1})]);
        roots.compact_one(&["--partition-by", "none"]);
    }
    roots.run(&["optimize", "s", "--lake", roots.lake.to_str().unwrap()]).ok();
    let [record] = &roots.table_files("_siltstone/origins/", "")[..] else { panic!("not one record") };
    let record = record.clone();
    assert_sound(&roots);
    (roots, record)
}

/// Writes a record of origins: slice, number, rows of the file, first row, rows.
fn write_origins(roots: &Roots, path: &str, runs: &[(&str, i64, i64, i64, i64)]) {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;
    let number = |get: fn(&(&str, i64, i64, i64, i64)) -> i64| {
        Arc::new(Int64Array::from_iter_values(runs.iter().map(get))) as ArrayRef
    };
    let slices = Arc::new(StringArray::from_iter_values(runs.iter().map(|run| run.0))) as ArrayRef;
    let columns = [
        ("slice", slices),
        ("number", number(|run| run.1)),
        ("file_rows", number(|run| run.2)),
        ("first", number(|run| run.3)),
        ("rows", number(|run| run.4)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(roots.table().join(path)).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn records_of_origins_that_are_gone_or_damaged_or_tell_what_cannot_be_are_found() {
    let (roots, record) = merged();
    let found = |reason: &str| assert_found(&roots, &[("origins", &*record, "-", reason)]);
    let path = roots.table().join(&record);
    let whole = std::fs::read(&path).unwrap();
    let slice = {
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(whole.clone()));
        let batch = reader.unwrap().build().unwrap().next().unwrap().unwrap();
        arrow::array::AsArray::as_string::<i32>(batch.column(0)).value(0).to_owned()
    };

    std::fs::remove_file(&path).unwrap();
    let effects = effects(&found("is gone")[0]);
    assert!(effects[0].contains("canonical text"), "{effects:?}");
    for damage in [&b"PAR1"[..], &whole[..whole.len() / 2], &[]] {
        std::fs::write(&path, damage).unwrap();
        found("cannot be used");
    }
    // More rows than the file, rows of a file that had fewer, a slice that nothing was taken in by.
    write_origins(&roots, &record, &[(&slice, 0, 7, 0, 7)]);
    found("tells of 7 rows");
    write_origins(&roots, &record, &[(&slice, 0, 2, 1, 6)]);
    found("damaged");
    write_origins(&roots, &record, &[(&slice, 0, 4, 0, 4), (&slice, 0, 4, 2, 2)]);
    found("6 rows are said to be of");
    write_origins(&roots, &record, &[(&slice, 0, 2, 0, 2), (&slice, 0, 4, 0, 4)]);
    found("had 2 or 4 rows");
    write_origins(&roots, &record, &[("0123456789abcdef0123456789abcdef", 0, 6, 0, 6)]);
    found("of which the ledger knows nothing");
    std::fs::write(&path, whole).unwrap();
    assert_sound(&roots);
}
