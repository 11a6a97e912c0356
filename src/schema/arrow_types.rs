//! Column types as Arrow sees them: plain types that every reader of Parquet and Delta knows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Fields, TimeUnit};

use super::{Field, Type};

/// Metadata key: the original JSON keys of a column, a JSON array of strings. Absent when the only key is the name.
pub const KEYS: &str = "siltstone.keys";
/// Metadata key, value `true`: the column holds JSON text.
pub const JSON_TEXT: &str = "siltstone.json";
/// Metadata key, value `true`: no value of the timestamp column had an offset; all were taken as UTC.
pub const NAIVE: &str = "siltstone.naive";

/// The Arrow type that stores `ty`. Lists have elements named `element`, maps entries `key_value` of `key` and `value`,
/// as the Parquet format specification recommends.
pub fn data_type(ty: &Type) -> DataType {
    match ty {
        Type::Bool => DataType::Boolean,
        Type::Int64 => DataType::Int64,
        Type::Decimal => DataType::Decimal128(38, 0),
        Type::Double => DataType::Float64,
        Type::Timestamp { .. } => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::Date => DataType::Date32,
        Type::Text | Type::Json => DataType::Utf8,
        Type::Struct(fields) => DataType::Struct(arrow_fields(fields)),
        Type::List(element) => DataType::List(element_field(element)),
        Type::Map(value) => DataType::Map(Arc::new(entries_field(value)), false),
    }
}

/// The Arrow field of a column, nullable, with the original keys and remarks in its metadata.
pub fn arrow_field(field: &Field) -> ArrowField {
    let mut metadata = remarks(&field.ty);
    if field.keys.len() != 1 || field.keys[0] != field.name {
        metadata.insert(KEYS.to_owned(), serde_json::Value::from(field.keys.clone()).to_string());
    }
    ArrowField::new(&field.name, data_type(&field.ty), true).with_metadata(metadata)
}

/// The Arrow fields of several columns.
pub fn arrow_fields(fields: &[Field]) -> Fields {
    fields.iter().map(arrow_field).collect()
}

/// The Arrow field of a list's elements.
pub(crate) fn element_field(element: &Type) -> FieldRef {
    Arc::new(ArrowField::new("element", data_type(element), true).with_metadata(remarks(element)))
}

/// The Arrow field of a map's entries.
pub(crate) fn entries_field(value: &Type) -> ArrowField {
    let key = ArrowField::new("key", DataType::Utf8, false);
    let value = ArrowField::new("value", data_type(value), true).with_metadata(remarks(value));
    ArrowField::new("key_value", DataType::Struct(Fields::from(vec![key, value])), false)
}

fn remarks(ty: &Type) -> HashMap<String, String> {
    match ty {
        Type::Json => HashMap::from([(JSON_TEXT.to_owned(), "true".to_owned())]),
        Type::Timestamp { naive: true } => HashMap::from([(NAIVE.to_owned(), "true".to_owned())]),
        _ => HashMap::new(),
    }
}
