//! How the columns of a table changed, version by version, and why.

use serde::{Deserialize, Serialize};

use crate::schema::{Field, Kind, MAX_OBJECT_KEYS, Observation, Type, data_type, kinds};

/// One version of a table's columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaVersion {
    /// 1 for the first columns.
    pub version: u64,
    /// The run that made it.
    pub run: RunStamp,
    /// What changed.
    pub changes: Vec<ColumnChange>,
}

/// Which run did something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunStamp {
    /// Its id.
    pub run_id: String,
    /// When, RFC 3339.
    pub at: String,
    /// The version of the Delta table that it made.
    pub table_version: u64,
}

/// A column or struct field that was added or whose type became wider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnChange {
    /// Its path of column names, as `payload.items[].price`.
    pub path: String,
    /// The SQL type it had; `None`: it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The SQL type it has.
    pub after: String,
    /// Why.
    pub reason: String,
}

impl std::fmt::Display for ColumnChange {
    /// `+ path type` for what is new, `~ path type -> type` for what became wider.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.before {
            None => write!(f, "+ {} {}", self.path, self.after),
            Some(before) => write!(f, "~ {} {before} -> {}", self.path, self.after),
        }
    }
}

/// What differs between the columns of two observations, the second of which goes on from the first.
pub(super) fn changes(before: (&Observation, &[Field]), after: (&Observation, &[Field])) -> Vec<ColumnChange> {
    let mut changes = Vec::new();
    compare_fields((&[before.0], before.1), (&[after.0], after.1), "", &mut changes);
    changes
}

/// What many changes, in their order, come to: each path once.
pub fn net_changes<'a>(changes: impl IntoIterator<Item = &'a ColumnChange>) -> Vec<ColumnChange> {
    let mut net: Vec<ColumnChange> = Vec::new();
    for change in changes {
        match net.iter_mut().find(|earlier| earlier.path == change.path) {
            Some(earlier) => {
                earlier.after.clone_from(&change.after);
                earlier.reason.clone_from(&change.reason);
            }
            None => net.push(change.clone()),
        }
    }
    net
}

type Seen<'a> = &'a [&'a Observation];

fn compare_fields(
    before: (Seen<'_>, &[Field]),
    after: (Seen<'_>, &[Field]),
    prefix: &str,
    out: &mut Vec<ColumnChange>,
) {
    for field in after.1 {
        let path = format!("{prefix}{}", field.name);
        let seen_after = below(after.0, &field.keys);
        match before.1.iter().find(|old| old.name == field.name) {
            None => {
                let first = seen_after.iter().filter_map(|seen| seen.first_object()).min();
                let reason = match first {
                    Some(key) => format!("first in {key}"),
                    None if field.is_provenance() => "the configuration asks for the raw object of each row".to_owned(),
                    None if field.keys.is_empty() => "more columns than the table may have".to_owned(),
                    None => "first seen".to_owned(),
                };
                out.push(ColumnChange { path, before: None, after: sql_type(&field.ty), reason });
            }
            Some(old) => {
                let seen_before = below(before.0, &old.keys);
                compare_types((&seen_before, &old.ty), (&seen_after, &field.ty), &path, out);
            }
        }
    }
}

fn compare_types(before: (Seen<'_>, &Type), after: (Seen<'_>, &Type), path: &str, out: &mut Vec<ColumnChange>) {
    match (before.1, after.1) {
        (Type::Struct(old), Type::Struct(new)) => {
            compare_fields((before.0, old), (after.0, new), &format!("{path}."), out);
        }
        (Type::List(old), Type::List(new)) => {
            let (seen_before, seen_after) = (elements(before.0), elements(after.0));
            compare_types((&seen_before, old), (&seen_after, new), &format!("{path}[]"), out);
        }
        (Type::Map(old), Type::Map(new)) => {
            let (seen_before, seen_after) = (values(before.0), values(after.0));
            compare_types((&seen_before, old), (&seen_after, new), &format!("{path}{{}}"), out);
        }
        (old, new) if data_type(old) == data_type(new) && is_json(old) == is_json(new) => {}
        (old, new) => out.push(ColumnChange {
            path: path.to_owned(),
            before: Some(sql_type(old)),
            after: sql_type(new),
            reason: promotion_reason(before, after),
        }),
    }
}

/// The kinds of values that were new, with the first raw object of each.
fn promotion_reason(before: (Seen<'_>, &Type), after: (Seen<'_>, &Type)) -> String {
    let known = kinds(before.0);
    let new: Vec<String> = Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Null && !known.contains(*kind))
        .filter_map(|kind| {
            let count: u64 = after.0.iter().map(|seen| seen.tally.count(kind)).sum();
            let first = after.0.iter().filter_map(|seen| seen.first.get(&kind)).min();
            let first = first.map_or_else(String::new, |key| format!(", first in {key}"));
            (count > 0).then(|| format!("{} ({count}{first})", kind.name()))
        })
        .collect();
    match (before.1, after.1) {
        (Type::Struct(_), Type::Map(_)) => {
            format!("its keys are data: more than {MAX_OBJECT_KEYS} of them, or more columns than the table may have")
        }
        _ if !new.is_empty() => format!("also {}", new.join(", ")),
        _ => "the configuration says so".to_owned(),
    }
}

fn below<'a>(parents: &[&'a Observation], keys: &[String]) -> Vec<&'a Observation> {
    parents.iter().flat_map(|parent| keys.iter().filter_map(|key| parent.fields.get(key))).collect()
}

fn elements<'a>(parents: &[&'a Observation]) -> Vec<&'a Observation> {
    parents.iter().filter_map(|parent| parent.element.as_deref()).collect()
}

fn values<'a>(parents: &[&'a Observation]) -> Vec<&'a Observation> {
    parents.iter().filter_map(|parent| parent.dictionary.as_deref()).collect()
}

fn is_json(ty: &Type) -> bool {
    matches!(ty, Type::Json)
}

/// The SQL type, as Athena writes it; JSON text is `string (json)`.
pub fn sql_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "boolean".to_owned(),
        Type::Int64 => "bigint".to_owned(),
        Type::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
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
