//! What a session knows by name: for people who look around, and for completing what they type.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::sql::sqlparser::keywords::{ALL_KEYWORDS, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS};

use super::SqlSession;
use super::athena;
use super::session::wrong;
use crate::error::{ErrorKind, Result};
use crate::json::arrow_schema;
use crate::lake::quarantine_schema;

/// The schemas, but for `information_schema`. Names without a schema belong to the first.
pub const SCHEMAS: [&str; 4] = ["main", "lake", "raw", "quarantine"];

/// A column as it is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    /// The name.
    pub name: String,
    /// The type, as Athena names it.
    pub ty: String,
}

impl SqlSession {
    /// All tables: the schema and the name of each.
    pub fn tables(&self) -> Vec<(&'static str, String)> {
        let Some(catalog) = self.context.catalog("siltstone") else { return Vec::new() };
        let names = |schema: &'static str| {
            let names = catalog.schema(schema).map(|schema| schema.table_names()).unwrap_or_default();
            names.into_iter().map(move |name| (schema, name))
        };
        SCHEMAS.into_iter().flat_map(names).collect()
    }

    /// The names of all functions, sorted.
    pub fn functions(&self) -> Vec<String> {
        let state = self.context.state();
        let mut names: Vec<String> = state.scalar_functions().keys().cloned().collect();
        names.extend(state.aggregate_functions().keys().cloned());
        names.extend(state.window_functions().keys().cloned());
        names.extend(state.higher_order_functions().keys().cloned());
        names.extend(state.table_functions().keys().cloned());
        names.retain(|name| !name.starts_with('_'));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The columns of a table by its name, as a query finds them.
    ///
    /// # Errors
    /// `Usage` when there is no such table; `Failed` when it cannot be read.
    pub async fn describe(&self, name: &str) -> Result<Vec<ColumnType>> {
        let table = self.context.table_provider(TableReference::from(name)).await.map_err(|error| wrong(&error))?;
        let column =
            |field: &Arc<Field>| ColumnType { name: field.name().clone(), ty: athena::type_name(field.data_type()) };
        Ok(table.schema().fields().iter().map(column).collect())
    }

    /// The columns of a table, where they are known or can be had without going through raw objects.
    pub async fn known_columns(&self, schema: &str, table: &str) -> Option<SchemaRef> {
        if schema == "quarantine" {
            return Some(quarantine_schema());
        }
        let seen = || self.raw.as_ref().and_then(|raw| raw.seen_fields(table)).map(|fields| arrow_schema(&fields));
        let Some(lake) = self.lake.as_ref() else { return seen() };
        let (held, ledger) = match lake.opened(table).await {
            Ok(opened) => opened,
            // The table of another writer.
            Err(error) if error.kind() == ErrorKind::Corrupt => (lake.table(table).await.ok()?, None),
            Err(_) => return seen(),
        };
        match (schema, ledger) {
            ("raw", None) => seen(),
            ("raw", Some(ledger)) => Some(match seen() {
                None => arrow_schema(&ledger.registry.fields),
                Some(seen) => both(&arrow_schema(&ledger.registry.fields), &seen),
            }),
            (_, None) if held.state().is_none() => seen(),
            (_, _) => Some(lake.provider(&held, false).ok()??.schema()),
        }
    }
}

/// The columns of both.
fn both(first: &SchemaRef, second: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = first.fields().iter().cloned().collect();
    let more = second.fields().iter().filter(|field| first.column_with_name(field.name()).is_none());
    fields.extend(more.cloned());
    Arc::new(Schema::new(fields))
}

/// The fields that `value.` may be followed by.
pub fn fields_of(ty: &DataType) -> &[Arc<Field>] {
    match ty {
        DataType::Struct(fields) => fields,
        _ => &[],
    }
}

/// A name as it is written in a statement: in quotes where it needs them.
pub fn quote_name(name: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let upper = name.to_ascii_uppercase();
    let is_reserved = || {
        ALL_KEYWORDS.binary_search(&upper.as_str()).is_ok_and(|at| {
            let keyword = datafusion::sql::sqlparser::keywords::ALL_KEYWORDS_INDEX[at];
            RESERVED_FOR_COLUMN_ALIAS.contains(&keyword) || RESERVED_FOR_TABLE_ALIAS.contains(&keyword)
        })
    };
    if name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && !is_reserved()
    {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("\"{}\"", name.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_a_statement_needs_it() {
        for name in ["events", "a_1", "value", "name", "at"] {
            assert_eq!(quote_name(name), name);
        }
        for (name, quoted) in [
            ("Web.Hooks-2", "\"Web.Hooks-2\""),
            ("2x", "\"2x\""),
            ("select", "\"select\""),
            ("", "\"\""),
            ("a\"b", "\"a\"\"b\""),
        ] {
            assert_eq!(quote_name(name), quoted);
        }
    }
}
