//! Tables that another engine has changed: what it rewrote is read, and what we must not follow is refused.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::support::Roots;

fn table() -> Roots {
    let roots = Roots::new();
    roots.put_lines("s/a.json", &[json!({"id": 1, "s": "x"}), json!({"id": 2, "s": "y"})]);
    roots.compact_one(&["--partition-by", "none"]);
    roots
}

/// The actions of the first commit by their names.
fn action(roots: &Roots, name: &str) -> Value {
    let log = std::fs::read_to_string(roots.lake.join("s/_delta_log/00000000000000000000.json")).unwrap();
    let actions = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    actions.filter_map(|mut action| action.get_mut(name).map(Value::take)).next().unwrap()
}

/// Makes version 1 of these actions, as another engine.
fn commit(roots: &Roots, actions: &[Value]) {
    let log: Vec<String> = actions.iter().map(Value::to_string).collect();
    let path: PathBuf = roots.lake.join("s/_delta_log/00000000000000000001.json");
    std::fs::write(path, log.join("\n") + "\n").unwrap();
}

#[test]
fn features_that_writers_must_know_are_refused() {
    let with_property = |roots: &Roots, name: &str, value: &str| {
        let mut metadata = action(roots, "metaData");
        metadata["configuration"][name] = json!(value);
        json!({"metaData": metadata})
    };
    let writer = |features: &[&str]| json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": features}});
    type Actions<'a> = &'a dyn Fn(&Roots) -> Vec<Value>;
    let cases: [(Actions<'_>, &str); 5] = [
        (&|_| vec![writer(&["appendOnly", "rowTracking", "domainMetadata"])], "domainMetadata, rowTracking"),
        (
            &|_| {
                vec![json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}})]
            },
            "deletionVectors",
        ),
        (
            &|roots| vec![writer(&["checkConstraints"]), with_property(roots, "delta.constraints.c", "id < 5")],
            "delta.constraints.c",
        ),
        (&|roots| vec![with_property(roots, "delta.columnMapping.mode", "name")], "columnMapping"),
        (
            &|_| vec![json!({"protocol": {"minReaderVersion": 4, "minWriterVersion": 7, "writerFeatures": []}})],
            "reader version 4",
        ),
    ];
    for (actions, told) in cases {
        let roots = table();
        commit(&roots, &actions(&roots));
        roots.put_lines("s/b.json", &[json!({"id": 40})]);
        let ran = roots.run_here(&["compact"]);
        assert_eq!(ran.code, 1, "{told}: {ran:?}");
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
        assert!(!roots.lake.join("s/_delta_log/00000000000000000002.json").exists(), "{told}");
    }
    // What nothing makes use of may be there.
    let roots = table();
    commit(&roots, &[writer(&["appendOnly", "invariants", "checkConstraints", "changeDataFeed"])]);
    roots.put_lines("s/b.json", &[json!({"id": 40})]);
    roots.compact_one(&[]);
    assert_eq!(roots.exported_ids("s"), [1, 2, 40]);
}

#[test]
fn a_table_that_was_set_back_is_not_written_on() {
    let roots = table();
    let mut metadata = action(&roots, "metaData");
    let schema = metadata["schemaString"].as_str().unwrap().replacen("\"long\"", "\"string\"", 1);
    metadata["schemaString"] = json!(schema);
    commit(&roots, &[json!({"metaData": metadata})]);
    roots.put_lines("s/b.json", &[json!({"id": 3})]);
    let ran = roots.run_here(&["compact"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("column id") && ran.stderr.contains("string") && ran.stderr.contains("long"),
        "{ran:?}"
    );
}

#[test]
fn files_that_another_engine_wrote_with_other_arrow_types_are_read() {
    let roots = table();
    let add = action(&roots, "add");
    let path = roots.lake.join("s").join(add["path"].as_str().unwrap());
    let rows = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap().build().unwrap();
    let rows: Vec<RecordBatch> = rows.map(Result::unwrap).collect();
    let views = |batch: &RecordBatch| {
        let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| {
            let ty = match field.data_type() {
                DataType::Utf8 => DataType::Utf8View,
                other => other.clone(),
            };
            (Field::new(field.name(), ty.clone(), true), cast(column, &ty).unwrap())
        });
        let (fields, columns): (Vec<Field>, Vec<_>) = columns.unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    };
    let other = path.with_file_name("other.parquet");
    let rows: Vec<RecordBatch> = rows.iter().map(views).collect();
    let mut writer = ArrowWriter::try_new(File::create(&other).unwrap(), rows[0].schema(), None).unwrap();
    rows.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
    let mut new = add.clone();
    new["path"] = json!("other.parquet");
    new["size"] = json!(other.metadata().unwrap().len());
    let remove = json!({"path": add["path"], "deletionTimestamp": 1, "dataChange": true});
    commit(&roots, &[json!({"remove": remove}), json!({"add": new})]);
    assert_eq!(roots.exported_ids("s"), [1, 2]);
    // A promotion goes through its values, too.
    roots.put_lines("s/b.json", &[json!({"id": 4, "s": {"x": 1}})]);
    roots.compact_one(&[]);
    let exported = roots.export("s");
    assert_eq!(exported.len(), 3);
    assert!(exported.contains(&json!({"id": 1, "s": "x"})), "{exported:?}");
}

/// Commits a column of that type, and a comment of the column `id`, to the log.
fn add_column(roots: &Roots, name: &str, ty: &str) {
    let mut metadata = action(roots, "metaData");
    let mut schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields[0]["metadata"]["comment"] = json!("the number of it");
    fields.push(json!({"name": name, "type": ty, "nullable": true, "metadata": {}}));
    metadata["schemaString"] = json!(schema.to_string());
    commit(roots, &[json!({"metaData": metadata})]);
}

/// The columns that a version's metadata has, with their types, and the comment of the first.
fn logged_columns(roots: &Roots, version: u64) -> (Vec<(String, Value)>, Value) {
    let log = std::fs::read_to_string(roots.lake.join(format!("s/_delta_log/{version:020}.json"))).unwrap();
    let actions = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let metadata = actions.filter_map(|mut action| action.get_mut("metaData").map(Value::take)).next().unwrap();
    let schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    let fields = schema["fields"].as_array().unwrap();
    let columns = fields.iter().map(|field| (field["name"].as_str().unwrap().to_owned(), field["type"].clone()));
    (columns.collect(), fields[0]["metadata"]["comment"].clone())
}

#[test]
fn columns_and_comments_that_another_engine_has_added_stay() {
    let roots = table();
    add_column(&roots, "theirs", "string");
    roots.put_lines("s/b.json", &[json!({"id": 3, "ours": 1.5})]);
    roots.compact_one(&[]);
    let (columns, comment) = logged_columns(&roots, 2);
    let mut names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["id", "ours", "s", "theirs"]);
    assert_eq!(comment, json!("the number of it"));
    // Records of the same type are taken into it.
    roots.put_lines("s/c.json", &[json!({"id": 4, "theirs": "text"})]);
    roots.compact_one(&[]);
    assert_eq!(roots.exported_ids("s"), [1, 2, 3, 4]);
}

#[test]
fn a_column_that_another_engine_has_added_with_another_type_is_refused() {
    for (ty, value, told) in
        [("string", json!(5), "long"), ("long", json!("x"), "string"), ("string", json!({"x": [[1], "y"]}), "theirs")]
    {
        let roots = table();
        add_column(&roots, "theirs", ty);
        roots.put_lines("s/b.json", &[json!({"id": 3, "theirs": value})]);
        let ran = roots.run_here(&["compact"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("theirs") && ran.stderr.contains(told), "{ran:?}");
        assert!(!roots.lake.join("s/_delta_log/00000000000000000002.json").exists(), "{ty}");
        assert_eq!(roots.exported_ids("s"), [1, 2], "{ty}");
    }
    // Nor one whose name differs in case alone.
    let roots = table();
    add_column(&roots, "Theirs", "long");
    roots.put_lines("s/b.json", &[json!({"id": 3, "theirs": 5})]);
    let ran = roots.run_here(&["compact"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("column Theirs"), "{ran:?}");
}
