//! `verify`: sound lakes pass, and each kind of damage is found, with the file and the reason.

mod files;
mod ledger;
mod log;

use std::path::PathBuf;

use parquet::basic::Type as Physical;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, Int96};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use siltstone::store::Location;

use self::log::partitioned;
use crate::support::{Numbers, Ran, Roots, files_below};

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

    /// Puts other bytes in the place of the only data file, and their size into the log, without bounds of their values.
    fn replace(&self, bytes: &[u8]) -> String {
        let [path] = &self.data_files()[..] else { panic!("not one data file") };
        std::fs::write(self.table().join(path), bytes).unwrap();
        self.edit_log(0, |action| {
            if action["add"].is_object() {
                let stats: Value = serde_json::from_str(action["add"]["stats"].as_str().unwrap()).unwrap();
                action["add"]["stats"] = json!(json!({"numRecords": stats["numRecords"]}).to_string());
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
