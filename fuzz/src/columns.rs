//! Columns and rows, as the modules behind the decoder use them.

use std::collections::BTreeSet;

use arrow::array::{Array as _, RecordBatch};
use serde_json::Value;

use crate::json::write_record;
use crate::oracle;
use crate::schema::{Field, MAX_NAME_BYTES, Type};

/// The rows of a sound batch, written back and read by another parser.
///
/// # Panics
/// When the batch is not sound, or a row is no JSON.
pub fn rows(batch: &RecordBatch, fields: &[Field]) -> Vec<Value> {
    for column in batch.columns() {
        column.to_data().validate_full().expect("a sound array");
    }
    let row = |row| {
        let mut text = Vec::new();
        write_record(batch, fields, row, &mut text);
        oracle::value(&text)
    };
    (0..batch.num_rows()).map(row).collect()
}

/// Checks that rows are the records they come from. `late`: some columns had no type yet when the rows were stored.
///
/// # Panics
/// When one is not.
pub fn assert_same(records: &[Value], fields: &[Field], rows: &[Value], late: bool) {
    assert_eq!(records.len(), rows.len());
    for (record, row) in records.iter().zip(rows) {
        let is_same = oracle::Comparison { late }.record(record, fields, row);
        assert!(is_same, "{record} became {row} in {fields:?}");
    }
}

/// Checks the names of columns at every depth.
///
/// # Panics
/// When names are not distinct, not safe or reserved, or a key has two columns.
pub fn assert_named(fields: &[Field], reserved: &[String]) {
    let mut names: BTreeSet<&str> = reserved.iter().map(String::as_str).collect();
    let mut keys = BTreeSet::new();
    for field in fields {
        let is_safe = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        assert!(!field.name.is_empty() && field.name.len() <= MAX_NAME_BYTES && field.name.bytes().all(is_safe));
        assert!(names.insert(&field.name), "two columns are named {}", field.name);
        assert!(!field.keys.is_empty() && field.keys.is_sorted());
        assert!(field.keys.iter().all(|key| keys.insert(key)), "a key of {} has two columns", field.name);
        let mut ty = &field.ty;
        while let Type::List(inner) | Type::Map(inner) = ty {
            ty = inner;
        }
        if let Type::Struct(fields) = ty {
            assert_named(fields, &[]);
        }
    }
}

/// The columns, ordered by name at every depth.
pub fn sorted(fields: &[Field]) -> Vec<Field> {
    let mut sorted: Vec<Field> =
        fields.iter().map(|field| Field { ty: sorted_type(&field.ty), ..field.clone() }).collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    sorted
}

fn sorted_type(ty: &Type) -> Type {
    match ty {
        Type::Struct(fields) => Type::Struct(sorted(fields)),
        Type::List(element) => Type::List(Box::new(sorted_type(element))),
        Type::Map(value) => Type::Map(Box::new(sorted_type(value))),
        other => other.clone(),
    }
}
