//! The table's metadata: protocol, partition columns, and the Delta schema against the one that follows from the registry.

use std::collections::HashSet;

use arrow::datatypes::Schema;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoArrow as _;
use deltalake_core::kernel::{DataType, Protocol, StructField, StructType};
use parquet::arrow::ArrowSchemaConverter;
use parquet::schema::types::TypePtr;

use super::columns::{below, is_plain, name_finding};
use super::finding::{Effect, Finding, FindingKind, Findings, Severity};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::lake::registry::Registry;
use crate::lake::table::{Table, delta_schema};
use crate::schema::{JSON_TEXT, KEYS, NAIVE};
use crate::write::NO_VALUES;

/// Where the log lies.
pub(super) const LOG: &str = "_delta_log";
/// The reader version of tables that every reader takes.
const READER_VERSION: i32 = 1;

pub(super) fn check_protocol(protocol: &Protocol, found: &mut Findings) {
    let version = protocol.min_reader_version();
    if version != READER_VERSION {
        let reason = format!("the table asks for reader version {version}, not {READER_VERSION}");
        let effect = Effect::new("readers of reader version 1", "must refuse the table, by the Delta protocol");
        found.push(Finding::error(FindingKind::Protocol, LOG, reason).with([effect]));
    }
}

/// Checks the partition columns of the log. Whether they are the registry's.
pub(super) fn check_partition_columns(logged: &[String], registry: &Registry, found: &mut Findings) -> bool {
    let names = registry.partitioning.names();
    if logged == names {
        return true;
    }
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let reason = format!("the partition columns of the log are {}, of the registry {}", list(logged), list(&names));
    found.push(Finding::error(FindingKind::PartitionColumns, LOG, reason));
    false
}

/// Checks the names of a Delta schema at every level.
pub(super) fn check_names(schema: &StructType, found: &mut Findings) {
    names_of(schema, "", found);
}

fn names_of(schema: &StructType, parent: &str, found: &mut Findings) {
    for field in schema.fields() {
        let column = below(parent, field.name());
        // What stands in for the columns of a table that has none yet.
        if !is_plain(field.name()) && field.name() != NO_VALUES {
            found.push(name_finding(LOG, &column, field.name()));
        }
        names_within(field.data_type(), &column, found);
    }
}

fn names_within(ty: &DataType, column: &str, found: &mut Findings) {
    match ty {
        DataType::Struct(fields) => names_of(fields, column, found),
        DataType::Array(list) => names_within(list.element_type(), &format!("{column}[]"), found),
        DataType::Map(map) => names_within(map.value_type(), &format!("{column}{{}}"), found),
        _ => {}
    }
}

/// Checks that the Delta schema is the one that follows from the registry.
///
/// # Errors
/// When the registry's columns cannot be expressed.
pub(super) fn check_schema(schema: &StructType, registry: &Registry, found: &mut Findings) -> Result<()> {
    let wanted = delta_schema(&registry.fields, &registry.partitioning)?;
    compare(schema, &wanted, "", found);
    Ok(())
}

/// Refuses a table whose log gives a column another type than the registry: new files would contradict one of them. (Columns
/// that the log has besides are another engine's matter, but for members of structs.)
///
/// # Errors
/// When there is one.
pub fn check_agreement(table: &Table, registry: &Registry) -> Result<()> {
    let Some(state) = table.state() else { return Ok(()) };
    let wanted = delta_schema(&registry.fields, &registry.partitioning)?;
    let known = state.schema();
    let known = known.fields().filter(|field| wanted.field(field.name()).is_some()).cloned();
    let known = StructType::try_new(known).context(|| "cannot compare the columns of the log".to_owned())?;
    let mut found = Findings::default();
    compare(&known, &wanted, "", &mut found);
    let Some(finding) = found.list.iter().find(|finding| finding.severity == Severity::Error) else { return Ok(()) };
    let message = format!(
        "another engine has changed the table {}: of column {}, {}; restore the version before that change",
        table.location().url(),
        finding.column.as_deref().unwrap_or_default(),
        finding.reason
    );
    Err(Error::new(ErrorKind::Corrupt, message))
}

/// Refuses columns of a run that another engine has added with another type: one of both could not be read.
///
/// # Errors
/// When there is one.
pub fn check_new_columns(table: &Table, before: Option<&Registry>, after: &Registry) -> Result<()> {
    let (Some(state), Some(before)) = (table.state(), before) else { return Ok(()) };
    let (known, wanted) =
        (delta_schema(&before.fields, &before.partitioning)?, delta_schema(&after.fields, &after.partitioning)?);
    let logged = state.schema();
    for foreign in logged.fields().filter(|field| known.field(field.name()).is_none()) {
        // JSON text is of the same type as text that need not be JSON.
        let is_other = |ours: &&StructField| {
            ours.data_type() != foreign.data_type()
                || ours.metadata().contains_key(JSON_TEXT)
                || ours.name() != foreign.name()
        };
        // Of two columns that differ in case alone, the log takes one.
        let ours = wanted.fields().find(|ours| ours.name().eq_ignore_ascii_case(foreign.name()));
        let Some(ours) = ours.filter(is_other) else { continue };
        let kind = if ours.metadata().contains_key(JSON_TEXT) { "JSON text" } else { &ours.data_type().to_string() };
        let message = format!(
            "another engine has given the table {} a column {} of type {}, and records have {kind} for it; give it another name \
             (columns.\"{}\" = {{ rename = ... }}), or restore the version before that change",
            table.location().url(),
            foreign.name(),
            foreign.data_type(),
            foreign.name(),
        );
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    Ok(())
}

fn compare(logged: &StructType, wanted: &StructType, parent: &str, found: &mut Findings) {
    let mut push = |column: &str, reason: String| {
        found.push(Finding::error(FindingKind::TableSchema, LOG, reason).of_column(column));
    };
    for field in logged.fields().filter(|field| wanted.field(field.name()).is_none()) {
        push(&below(parent, field.name()), format!("the log has {}, the registry no such column", field.data_type()));
    }
    for field in wanted.fields().filter(|field| logged.field(field.name()).is_none()) {
        push(&below(parent, field.name()), format!("the registry has {}, the log no such column", field.data_type()));
    }
    for field in wanted.fields() {
        let Some(mine) = logged.field(field.name()) else { continue };
        let column = below(parent, field.name());
        if mine.is_nullable() != field.is_nullable() {
            let reason = "the log says that the column is never null; the registry knows no such columns".to_owned();
            found.push(Finding::error(FindingKind::TableSchema, LOG, reason).of_column(&column));
        }
        if [KEYS, JSON_TEXT, NAIVE].iter().any(|key| note(mine, key) != note(field, key)) {
            let reason = "the log describes the original keys of the column otherwise than the registry";
            found.push(Finding::error(FindingKind::TableSchema, LOG, reason).of_column(&column).warning());
        }
        compare_types(mine.data_type(), field.data_type(), &column, found);
    }
    let names = |schema: &StructType| schema.field_names().cloned().collect::<Vec<_>>();
    let (mine, theirs) = (names(logged), names(wanted));
    if mine != theirs && mine.iter().collect::<HashSet<_>>() == theirs.iter().collect::<HashSet<_>>() {
        let reason = "the columns of the log stand in another order than those of the registry";
        let finding = Finding::error(FindingKind::TableSchema, LOG, reason).warning();
        found.push(if parent.is_empty() { finding } else { finding.of_column(parent) });
    }
}

fn compare_types(logged: &DataType, wanted: &DataType, column: &str, found: &mut Findings) {
    match (logged, wanted) {
        (DataType::Struct(mine), DataType::Struct(theirs)) => compare(mine, theirs, column, found),
        (DataType::Array(mine), DataType::Array(theirs)) => {
            compare_types(mine.element_type(), theirs.element_type(), &format!("{column}[]"), found);
        }
        (DataType::Map(mine), DataType::Map(theirs)) => {
            compare_types(mine.key_type(), theirs.key_type(), &format!("{column}{{key}}"), found);
            compare_types(mine.value_type(), theirs.value_type(), &format!("{column}{{}}"), found);
        }
        (mine, theirs) if mine == theirs => {}
        (mine, theirs) => {
            let reason = format!("the log says {mine}, the registry {theirs}");
            found.push(Finding::error(FindingKind::TableSchema, LOG, reason).of_column(column));
        }
    }
}

/// What the metadata of a column says under `key`.
fn note(field: &StructField, key: &str) -> Option<String> {
    field.metadata().get(key).map(ToString::to_string)
}

/// How the columns of a Delta schema are to be stored: without the partition columns, as Siltstone would write them.
///
/// # Errors
/// When a type cannot be expressed in Parquet.
pub(super) fn stored_columns(schema: &StructType, partitions: &[String]) -> Result<TypePtr> {
    let describe = || "cannot express the table's schema in Parquet".to_owned();
    let columns: Schema = schema.try_into_arrow().context(describe)?;
    let fields = columns.fields().iter().filter(|field| !partitions.contains(field.name()));
    let columns = Schema::new(fields.cloned().collect::<Vec<_>>());
    Ok(ArrowSchemaConverter::new().convert(&columns).context(describe)?.root_schema_ptr())
}
