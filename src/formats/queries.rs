//! The queries that are timed: those of a file, or six of the kinds that people ask, made for the columns at hand.

use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};

use super::sample::Sample;
use crate::error::{Error, Result};
use crate::json::{format_date, format_timestamp};
use crate::schema::{Field, Type};

/// A statement with its name. Tables are named `lake.<source>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The name in reports.
    pub name: String,
    /// The statement.
    pub sql: String,
}

impl Query {
    /// The same statement over the raw objects of the source.
    pub(super) fn over_raw(&self, source_id: &str) -> String {
        let quoted = format!("lake.\"{source_id}\"");
        self.sql
            .replace(&quoted, &format!("raw.\"{source_id}\""))
            .replace(&format!("lake.{source_id}"), &format!("raw.{source_id}"))
    }
}

/// Reads a file of statements that end with `;`. A line `-- name: NAME` before one names it.
///
/// # Errors
/// `Usage`: not there, or no statement in it; two of one name.
pub fn load_queries(path: &Path) -> Result<Vec<Query>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("cannot read the queries {}: {error}", path.display())))?;
    let mut queries: Vec<Query> = Vec::new();
    let (mut name, mut sql) = (None, String::new());
    for line in text.lines().chain([";"]) {
        if let Some(said) = line.trim().strip_prefix("-- name:") {
            name = Some(said.trim().to_owned());
            continue;
        }
        let ended = line.trim_end().strip_suffix(';');
        sql.push_str(ended.unwrap_or(line));
        sql.push('\n');
        if ended.is_some() {
            let statement = std::mem::take(&mut sql).trim().to_owned();
            let is_empty = statement.lines().all(|line| line.trim().is_empty() || line.trim().starts_with("--"));
            if !is_empty {
                let name = name.take().unwrap_or_else(|| format!("query {}", queries.len() + 1));
                queries.push(Query { name, sql: statement });
            }
        }
    }
    if queries.is_empty() {
        return Err(Error::usage(format!("there is no statement in {}", path.display())));
    }
    let mut names: Vec<&str> = queries.iter().map(|query| query.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::usage(format!("two queries of {} are named {:?}", path.display(), twice[0])));
    }
    Ok(queries)
}

/// Queries for the columns of a sample: scan, one column, selective range, point lookup, group by, nested leaf. One for
/// which there is no column is left out.
pub fn usual_queries(sample: &Sample) -> Vec<Query> {
    let table = format!("lake.\"{}\"", sample.source_id);
    let mut queries = Vec::new();
    let mut add = |name: &str, sql: Option<String>| {
        if let Some(sql) = sql {
            queries.push(Query { name: name.to_owned(), sql });
        }
    };
    let columns = &sample.columns;
    let is_scalar = |field: &&Field| matches!(field.ty, Type::Text | Type::Int64 | Type::Double);
    let widest = sample.fields.iter().filter(is_scalar).max_by_key(|field| value_bytes(sample, &field.name));
    add("scan", Some(format!("SELECT * FROM {table}")));
    add("one column", widest.map(|field| format!("SELECT count(DISTINCT {}) FROM {table}", quote(&field.name))));
    add("selective range", columns.event_time.as_ref().and_then(|name| range(sample, &table, name)));
    let point = columns.key.as_ref().and_then(|name| Some((name, middle_value(sample, name)?)));
    add("point lookup", point.map(|(name, value)| format!("SELECT * FROM {table} WHERE {} = {value}", quote(name))));
    let group = columns.few_values.iter().find(|name| !is_bool(sample, name)).or(columns.few_values.first());
    add("group by", group.map(quote).map(|name| format!("SELECT {name}, count(*) AS n FROM {table} GROUP BY {name}")));
    add("nested leaf", nested(&sample.fields, &table));
    queries
}

fn quote(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref())
}

fn is_bool(sample: &Sample, name: &str) -> bool {
    super::matrix::column(&sample.fields, name).is_some_and(|field| field.ty == Type::Bool)
}

fn position(sample: &Sample, name: &str) -> Option<usize> {
    sample.fields.iter().position(|field| field.name == name)
}

fn value_bytes(sample: &Sample, name: &str) -> usize {
    let index = position(sample, name).unwrap_or_default();
    sample.batches.iter().map(|batch| batch.column(index).get_array_memory_size()).sum()
}

/// The rows of one hundredth of the values of a time column, from the middle.
fn range(sample: &Sample, table: &str, name: &str) -> Option<String> {
    let index = position(sample, name)?;
    let ty = &sample.fields[index].ty;
    let mut values: Vec<i64> = Vec::new();
    for batch in &sample.batches {
        let array = batch.column(index);
        match ty {
            Type::Timestamp { .. } => values.extend(array.as_primitive::<TimestampMicrosecondType>().iter().flatten()),
            Type::Date => values.extend(array.as_primitive::<Date32Type>().iter().flatten().map(i64::from)),
            _ => return None,
        }
    }
    values.sort_unstable();
    let from = *values.get(values.len() / 2)?;
    let to = *values.get(values.len() / 2 + values.len().div_ceil(100))?;
    let literal = |value: i64| match ty {
        Type::Date => i32::try_from(value).map(|day| format!("DATE '{}'", format_date(day))).ok(),
        _ => Some(format!("TIMESTAMP '{}'", format_timestamp(value, true).replace('T', " "))),
    };
    let name = quote(name);
    Some(format!(
        "SELECT count(*) AS n, min({name}) AS first, max({name}) AS last FROM {table} WHERE {name} >= {} AND {name} < {}",
        literal(from)?,
        literal(to)?
    ))
}

/// The literal of a value from the middle of a column.
fn middle_value(sample: &Sample, name: &str) -> Option<String> {
    let index = position(sample, name)?;
    let batch = sample.batches.get(sample.batches.len() / 2)?;
    let array = batch.column(index);
    let row = (batch.num_rows() / 2..batch.num_rows()).find(|row| array.is_valid(*row))?;
    match sample.fields[index].ty {
        Type::Text => Some(format!("'{}'", array.as_string::<i32>().value(row).replace('\'', "''"))),
        Type::Int64 => Some(array.as_primitive::<Int64Type>().value(row).to_string()),
        _ => None,
    }
}

/// A query over one scalar below a struct, or else below a list of structs.
fn nested(fields: &[Field], table: &str) -> Option<String> {
    fn leaf(fields: &[Field], path: &str) -> Option<String> {
        fields.iter().find_map(|field| {
            let path = format!("{path}.{}", quote(&field.name));
            match &field.ty {
                Type::Struct(fields) => leaf(fields, &path),
                Type::Text | Type::Int64 | Type::Double => Some(path),
                _ => None,
            }
        })
    }
    let in_struct = fields.iter().find_map(|field| match &field.ty {
        Type::Struct(below) => leaf(below, &format!("t.{}", quote(&field.name))),
        _ => None,
    });
    if let Some(path) = in_struct {
        return Some(format!("SELECT count(DISTINCT {path}) FROM {table} AS t"));
    }
    fields.iter().find_map(|field| match &field.ty {
        Type::List(element) => {
            let path = match element.as_ref() {
                Type::Struct(below) => leaf(below, "u.e")?,
                Type::Text | Type::Int64 | Type::Double => "u.e".to_owned(),
                _ => return None,
            };
            let list = quote(&field.name);
            Some(format!("SELECT count(DISTINCT {path}) FROM {table} AS t CROSS JOIN UNNEST(t.{list}) AS u (e)"))
        }
        _ => None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use super::*;

    #[test]
    fn statements_of_a_file_are_told_apart_and_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "-- name: first\nSELECT 1\nFROM lake.a;\n\n-- a remark\nSELECT 2 FROM lake.\"a\"";
        std::fs::write(file.path(), text).unwrap();
        let queries = load_queries(file.path()).unwrap();
        let names: Vec<&str> = queries.iter().map(|query| query.name.as_str()).collect();
        assert_eq!(names, ["first", "query 2"]);
        assert_eq!(queries[0].sql, "SELECT 1\nFROM lake.a");
        assert_eq!(queries[0].over_raw("a"), "SELECT 1\nFROM raw.a");
        assert!(queries[1].over_raw("a").ends_with("raw.\"a\""));
        std::fs::write(file.path(), "-- nothing\n").unwrap();
        assert!(load_queries(file.path()).unwrap_err().to_string().contains("no statement"));
    }
}
