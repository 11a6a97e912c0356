//! Tables that another engine has changed: what it rewrote is read, and what we must not follow is refused.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, StructArray};
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

/// The first action of that name of the first commit.
fn action(roots: &Roots, name: &str) -> Value {
    actions(roots, 0, name).remove(0)
}

/// The actions of that name of a version.
fn actions(roots: &Roots, version: u64, name: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(roots.lake.join(format!("s/_delta_log/{version:020}.json"))).unwrap();
    let actions = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    actions.filter_map(|mut action| action.get_mut(name).map(Value::take)).collect()
}

/// Makes version 1 of these actions, as another engine.
fn commit(roots: &Roots, actions: &[Value]) {
    commit_version(roots, 1, actions);
}

fn commit_version(roots: &Roots, version: u64, actions: &[Value]) {
    let log: Vec<String> = actions.iter().map(Value::to_string).collect();
    let path: PathBuf = roots.lake.join(format!("s/_delta_log/{version:020}.json"));
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

/// The metadata of the first version with a column of that type, and a file of one row that has a value in it.
fn append_with_column(roots: &Roots, name: &str, ty: &str, value: ArrayRef) -> Vec<Value> {
    let mut metadata = action(roots, "metaData");
    let mut schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    schema["fields"].as_array_mut().unwrap().push(json!({"name": name, "type": ty, "nullable": true, "metadata": {}}));
    metadata["schemaString"] = json!(schema.to_string());
    let id: ArrayRef = Arc::new(Int64Array::from(vec![100]));
    let rows = RecordBatch::try_from_iter_with_nullable([("id", id, true), (name, value, true)]).unwrap();
    let path = roots.lake.join("s/part-00000-theirs.parquet");
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let mut add = action(roots, "add");
    add["path"] = json!("part-00000-theirs.parquet");
    add["size"] = json!(path.metadata().unwrap().len());
    add["stats"] = json!("{\"numRecords\":1}");
    vec![json!({"metaData": metadata}), json!({"add": add})]
}

#[test]
fn values_of_a_column_that_another_engine_has_added_stay() {
    let roots = table();
    commit(&roots, &append_with_column(&roots, "theirs", "string", Arc::new(StringArray::from(vec!["q"]))));
    let theirs = |roots: &Roots, table: &str| {
        let rows = roots.sql(&format!("select id, theirs from {table} where id = '100' or id = '3' order by id"));
        rows.iter().map(|row| row["theirs"].clone()).collect::<Vec<_>>()
    };
    // They are none of the records.
    assert_eq!(roots.exported_ids("s"), [1, 2, 100]);
    roots.put_lines("s/b.json", &[json!({"id": 3})]);
    assert_eq!(roots.sql("select id, theirs from s where id = 100"), [json!({"id": 100, "theirs": "q"})]);
    roots.compact_one(&[]);
    // The column of numbers becomes one of text, for which all files are written again.
    roots.put_lines("s/c.json", &[json!({"id": "x"})]);
    roots.compact_one(&[]);
    assert_eq!(theirs(&roots, "lake.s"), [json!("q"), json!(null)]);
    roots.run_here(&["optimize", "s"]);
    assert_eq!(theirs(&roots, "lake.s"), [json!("q"), json!(null)]);
    // Records with values for it are taken into it.
    roots.put_lines("s/d.json", &[json!({"id": "y", "theirs": "r"})]);
    assert_eq!(roots.sql("select theirs from s where theirs is not null order by 1").len(), 2);
    roots.compact_one(&[]);
    assert_eq!(roots.sql("select theirs from lake.s where theirs is not null order by 1").len(), 2);
}

#[test]
fn members_of_a_struct_that_another_engine_has_added_stay_when_files_are_merged() {
    let roots = table();
    let long = |name: &str| json!({"name": name, "type": "long", "nullable": true, "metadata": {}});
    let mut metadata = action(&roots, "metaData");
    let mut schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    let ty = json!({"type": "struct", "fields": [long("a"), long("b")]});
    schema["fields"].as_array_mut().unwrap().push(json!({"name": "st", "type": ty, "nullable": true, "metadata": {}}));
    metadata["schemaString"] = json!(schema.to_string());
    let mut changes = vec![json!({"metaData": metadata})];
    for (id, members) in [(10, vec![("a", 1)]), (11, vec![("a", 2), ("b", 77)]), (12, vec![("b", 78)])] {
        let members = members.into_iter().map(|(name, value)| {
            (Arc::new(Field::new(name, DataType::Int64, true)), Arc::new(Int64Array::from(vec![value])) as ArrayRef)
        });
        let st: ArrayRef = Arc::new(StructArray::from(members.collect::<Vec<_>>()));
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![id]));
        let rows = RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("st", st, true)]).unwrap();
        let path = roots.lake.join(format!("s/part-{}.parquet", 99 - id));
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        let mut add = action(&roots, "add");
        add["path"] = json!(path.file_name().unwrap().to_str().unwrap());
        add["size"] = json!(path.metadata().unwrap().len());
        add["stats"] = json!("{\"numRecords\":1}");
        changes.push(json!({"add": add}));
    }
    commit(&roots, &changes);
    let members = || roots.sql("select id, st.a as a, st.b as b from lake.s where id > 9 order by id");
    let before = members();
    assert_eq!((&before[0]["a"], &before[1]["b"], &before[2]["b"]), (&json!(1), &json!(77), &json!(78)));
    roots.run_here(&["optimize", "s"]).ok();
    assert_eq!(roots.files("s").len(), 2);
    assert_eq!(members(), before);
}

#[test]
fn a_column_of_a_type_that_is_not_written_here_is_named_when_its_file_is_to_be_written_again() {
    let roots = table();
    commit(&roots, &append_with_column(&roots, "theirs", "integer", Arc::new(Int32Array::from(vec![7]))));
    assert_eq!(roots.exported_ids("s"), [1, 2, 100]);
    roots.put_lines("s/b.json", &[json!({"id": 3})]);
    roots.compact_one(&[]);
    roots.put_lines("s/c.json", &[json!({"id": "x"})]);
    for command in ["plan", "compact"] {
        let told = roots.run_here(&[command]).failed(1);
        assert!(told.contains("part-00000-theirs.parquet") && told.contains("column theirs"), "{told}");
    }
    // Nor does the fresh view take one for the other.
    std::fs::write(roots.raw.join("s/c.json"), "{\"id\":4,\"theirs\":\"x\"}").unwrap();
    let told = roots.run_here(&["sql", "select theirs from s"]).failed(2);
    assert!(told.contains("column theirs of another type"), "{told}");
}

#[test]
fn a_table_that_was_restored_to_before_a_promotion_is_told_of_by_all() {
    let roots = table();
    roots.put_lines("s/b.json", &[json!({"id": "x"})]);
    roots.compact_one(&[]);
    let remove = |add: &Value| json!({"remove": {"path": add["path"], "deletionTimestamp": 1, "dataChange": true}});
    let mut restored: Vec<Value> = actions(&roots, 1, "add").iter().map(remove).collect();
    restored.push(json!({"metaData": action(&roots, "metaData")}));
    restored.push(json!({"add": action(&roots, "add")}));
    commit_version(&roots, 2, &restored);
    let told = roots.run_here(&["export", "s"]).failed(1);
    assert!(told.contains("column id") && told.contains("Int64"), "{told}");
    let told = roots.run_here(&["verify", "--deep"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stdout.contains("column id") && !told.stderr.contains("panicked"), "{told:?}");
}

#[test]
fn a_plan_refuses_what_the_commit_of_a_run_would() {
    let roots = table();
    add_column(&roots, "theirs", "string");
    roots.put_lines("s/b.json", &[json!({"id": 3, "theirs": 5})]);
    assert!(roots.run_here(&["plan"]).failed(1).contains("theirs"));
    let roots = table();
    let mut metadata = action(&roots, "metaData");
    metadata["configuration"]["delta.appendOnly"] = json!("true");
    commit(&roots, &[json!({"metaData": metadata})]);
    roots.put_lines("s/b.json", &[json!({"id": "x"})]);
    assert!(roots.run_here(&["plan"]).failed(1).contains("appendOnly"));
    assert!(roots.run_here(&["compact"]).failed(1).contains("appendOnly"));
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
