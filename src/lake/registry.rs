//! The registry: all that a table was observed to hold, how it is made, and which columns follow.

use serde::{Deserialize, Serialize};

use crate::partition::Partitioning;
use crate::schema::{Field, Kind, Observation, Type, data_type, pin, resolve};

/// The schema side of one table version, as plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// How many times the columns changed.
    pub schema_version: u64,
    /// What the last change was, as shown to people.
    pub changes: Vec<String>,
    /// How the table is partitioned; chosen once.
    pub partitioning: Partitioning,
    /// How that was chosen.
    pub partitioning_reason: String,
    /// Where the records of an envelope lie; empty when every object is a record. Chosen once.
    pub records_path: Vec<String>,
    /// All records of all runs.
    pub observed: Observation,
    /// The columns.
    pub fields: Vec<Field>,
}

impl Registry {
    /// Where the records of an envelope lie, once any record was seen: before that, nothing was found out.
    pub fn pinned_records_path(&self) -> Option<&[String]> {
        let records = self.observed.tally.count(Kind::Object) + self.observed.tally.count(Kind::EmptyObject);
        (records > 0 || !self.records_path.is_empty()).then_some(&*self.records_path)
    }

    /// The registry after another run observed `observed`: the names of the columns there are stay.
    #[must_use]
    pub fn advance(&self, observed: &Observation) -> Self {
        let mut next = self.clone();
        next.observed.merge(observed);
        next.fields = resolve(&next.observed, &self.partitioning.names());
        next.changes = changes(&self.fields, &next.fields);
        next.schema_version += u64::from(!next.changes.is_empty());
        pin(&mut next.observed, &next.fields);
        next
    }
}

/// What differs between two lists of columns, one line each: `+ path type` for an added column or struct field,
/// `~ path type -> type` for a promoted one.
pub fn changes(before: &[Field], after: &[Field]) -> Vec<String> {
    let mut lines = Vec::new();
    compare(before, after, "", &mut lines);
    lines
}

fn compare(before: &[Field], after: &[Field], prefix: &str, lines: &mut Vec<String>) {
    for field in after {
        let path = format!("{prefix}{}", field.name);
        match before.iter().find(|old| old.name == field.name) {
            None => lines.push(format!("+ {path} {}", sql_type(&field.ty))),
            Some(old) => compare_types(&old.ty, &field.ty, &path, lines),
        }
    }
}

fn compare_types(before: &Type, after: &Type, path: &str, lines: &mut Vec<String>) {
    match (before, after) {
        (Type::Struct(before), Type::Struct(after)) => compare(before, after, &format!("{path}."), lines),
        (Type::List(before), Type::List(after)) => compare_types(before, after, &format!("{path}[]"), lines),
        (Type::Map(before), Type::Map(after)) => compare_types(before, after, &format!("{path}{{}}"), lines),
        (before, after) if data_type(before) == data_type(after) && is_json(before) == is_json(after) => {}
        (before, after) => lines.push(format!("~ {path} {} -> {}", sql_type(before), sql_type(after))),
    }
}

fn is_json(ty: &Type) -> bool {
    matches!(ty, Type::Json)
}

/// The SQL type, as Athena writes it; JSON text is `string (json)`.
pub fn sql_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "boolean".to_owned(),
        Type::Int64 => "bigint".to_owned(),
        Type::Decimal => "decimal(38,0)".to_owned(),
        Type::Double => "double".to_owned(),
        Type::Timestamp { .. } => "timestamp".to_owned(),
        Type::Date => "date".to_owned(),
        Type::Text => "string".to_owned(),
        Type::Json => "string (json)".to_owned(),
        Type::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{}:{}", field.name, sql_type(&field.ty)));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(","))
        }
        Type::List(element) => format!("array<{}>", sql_type(element)),
        Type::Map(value) => format!("map<string,{}>", sql_type(value)),
    }
}
