//! Column types as Arrow sees them: plain types that every reader of Parquet and Delta knows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Fields, TimeUnit};

use super::{Field, Type};

/// Column metadata: the original JSON keys of the column and of all fields below it, a JSON object from paths (`""` for
/// the column itself, `a.b[].c` below it) to arrays of keys. Paths whose only key is the name are left out.
pub const KEYS: &str = "siltstone.keys";
/// Column metadata: the paths that hold JSON text, a JSON array.
pub const JSON_TEXT: &str = "siltstone.json";
/// Column metadata: the paths of timestamps of which no value had an offset (all were taken as UTC), a JSON array.
pub const NAIVE: &str = "siltstone.naive";

/// The Arrow type that stores `ty`. Lists have elements named `element`, maps entries `key_value` of `key` and `value`,
/// as the Parquet format specification recommends. Nothing within it has metadata, so that types compare by structure.
pub fn data_type(ty: &Type) -> DataType {
    match ty {
        Type::Bool => DataType::Boolean,
        Type::Int64 => DataType::Int64,
        Type::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
        Type::Double => DataType::Float64,
        Type::Timestamp { .. } => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::Date => DataType::Date32,
        Type::Text | Type::Json => DataType::Utf8,
        Type::Struct(fields) => DataType::Struct(arrow_fields(fields)),
        Type::List(element) => DataType::List(element_field(element)),
        Type::Map(value) => DataType::Map(Arc::new(entries_field(value)), false),
    }
}

/// The type that is stored as `stored`, if any is; elements of lists, and entries of maps, may have other names.
pub fn stored_type(stored: &DataType) -> Option<Type> {
    Some(match stored {
        DataType::Boolean => Type::Bool,
        DataType::Int64 => Type::Int64,
        DataType::Decimal128(precision, scale) => {
            Type::Decimal { precision: *precision, scale: u8::try_from(*scale).ok()? }
        }
        DataType::Float64 => Type::Double,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Type::Timestamp { naive: false },
        DataType::Date32 => Type::Date,
        DataType::Utf8 => Type::Text,
        DataType::Struct(fields) => Type::Struct(stored_fields(fields)?),
        DataType::List(element) => Type::List(Box::new(stored_type(element.data_type())?)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(parts) if *parts.first()?.data_type() == DataType::Utf8 => {
                Type::Map(Box::new(stored_type(parts.get(1)?.data_type())?))
            }
            _ => return None,
        },
        _ => return None,
    })
}

fn stored_fields(fields: &Fields) -> Option<Vec<Field>> {
    let field = |stored: &FieldRef| {
        Some(Field { name: stored.name().clone(), keys: Vec::new(), ty: stored_type(stored.data_type())? })
    };
    fields.iter().map(field).collect()
}

/// The Arrow field of a column: nullable, without metadata.
pub fn arrow_field(field: &Field) -> ArrowField {
    ArrowField::new(&field.name, data_type(&field.ty), true)
}

/// The Arrow fields of several columns.
pub fn arrow_fields(fields: &[Field]) -> Fields {
    fields.iter().map(arrow_field).collect()
}

/// The Arrow field of a column with its original keys and remarks as metadata, as a table's schema holds it.
pub fn described_field(field: &Field) -> ArrowField {
    let mut notes = Notes::default();
    notes.field(field, "");
    let mut metadata = HashMap::new();
    if !notes.keys.is_empty() {
        metadata.insert(KEYS.to_owned(), serde_json::json!(notes.keys).to_string());
    }
    for (name, paths) in [(JSON_TEXT, notes.json), (NAIVE, notes.naive)] {
        if !paths.is_empty() {
            metadata.insert(name.to_owned(), serde_json::json!(paths).to_string());
        }
    }
    arrow_field(field).with_metadata(metadata)
}

/// What is remarked of a column, by path.
#[derive(Default)]
struct Notes {
    keys: BTreeMap<String, Vec<String>>,
    json: Vec<String>,
    naive: Vec<String>,
}

impl Notes {
    fn field(&mut self, field: &Field, path: &str) {
        if field.keys.len() != 1 || field.keys[0] != field.name {
            self.keys.insert(path.to_owned(), field.keys.clone());
        }
        self.ty(&field.ty, path);
    }

    fn ty(&mut self, ty: &Type, path: &str) {
        match ty {
            Type::Json => self.json.push(path.to_owned()),
            Type::Timestamp { naive: true } => self.naive.push(path.to_owned()),
            Type::Struct(fields) => {
                for field in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    self.field(field, &format!("{path}{dot}{}", field.name));
                }
            }
            Type::List(element) => self.ty(element, &format!("{path}[]")),
            Type::Map(value) => self.ty(value, &format!("{path}{{}}")),
            _ => {}
        }
    }
}

/// The Arrow field of a list's elements.
pub(crate) fn element_field(element: &Type) -> FieldRef {
    Arc::new(ArrowField::new("element", data_type(element), true))
}

/// The Arrow field of a map's entries.
pub(crate) fn entries_field(value: &Type) -> ArrowField {
    let key = ArrowField::new("key", DataType::Utf8, false);
    let value = ArrowField::new("value", data_type(value), true);
    ArrowField::new("key_value", DataType::Struct(Fields::from(vec![key, value])), false)
}
