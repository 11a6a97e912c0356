//! What other engines may have made of a table that we must not read or write as if they had not:
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#requirements-for-writers>.

use std::collections::BTreeSet;

use deltalake_core::kernel::{DataType, StructField, StructType};
use deltalake_core::table::state::DeltaTableState;

use crate::error::{Error, ErrorKind, Result};
use crate::store::Location;

/// Features that readers may pass over: rows are what files hold by the names of columns.
const READ: [&str; 3] = ["timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"];
/// Features that writers may pass over as long as nothing in the table makes use of them.
const WRITTEN: [&str; 9] = [
    "appendOnly",
    "changeDataFeed",
    "checkConstraints",
    "columnMapping",
    "generatedColumns",
    "identityColumns",
    "invariants",
    "timestampNtz",
    "vacuumProtocolCheck",
];
/// The last writer version without a list of features.
const LAST_VERSION: i32 = 6;

fn refuse(location: &Location, who: &str, what: &[String]) -> Error {
    let message = format!(
        "another engine has given the table {} what siltstone does not {who}: {}",
        location.url(),
        what.join(", ")
    );
    Error::new(ErrorKind::Failed, message)
}

/// Refuses tables whose rows are not those of their files.
///
/// # Errors
/// When it is one.
pub(super) fn check_readable(state: &DeltaTableState, location: &Location) -> Result<()> {
    let protocol = state.protocol();
    let mut unknown: Vec<String> = match protocol.min_reader_version() {
        ..3 => Vec::new(),
        3 => {
            let features = protocol.reader_features().unwrap_or_default().iter().map(ToString::to_string);
            let is_idle = |feature: &str| feature == "columnMapping" && mapping(state).is_none();
            features.filter(|feature| !READ.contains(&feature.as_str()) && !is_idle(feature)).collect()
        }
        version => vec![format!("reader version {version}")],
    };
    unknown.extend(mapping(state).filter(|_| protocol.min_reader_version() == 2));
    if unknown.is_empty() { Ok(()) } else { Err(refuse(location, "read (sql does)", &unknown)) }
}

/// Refuses tables whose writers must do more than we do. `removes`: the change takes files away.
///
/// # Errors
/// When it is one.
pub(super) fn check_writable(state: &DeltaTableState, location: &Location, removes: bool) -> Result<()> {
    check_readable(state, location)?;
    let protocol = state.protocol();
    let version = protocol.min_writer_version();
    let mut unknown = BTreeSet::new();
    if version > LAST_VERSION {
        let features = protocol.writer_features().unwrap_or_default().iter().map(ToString::to_string);
        unknown.extend(features.filter(|feature| !WRITTEN.contains(&feature.as_str())));
    }
    let properties = state.metadata().configuration();
    let is_on = |name: &str| properties.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if removes && is_on("delta.appendOnly") {
        unknown.insert("delta.appendOnly = true".to_owned());
    }
    // Files that only come are read as the changes that they are.
    if removes && is_on("delta.enableChangeDataFeed") {
        unknown.insert("delta.enableChangeDataFeed = true".to_owned());
    }
    unknown.extend(properties.keys().filter(|name| name.starts_with("delta.constraints.")).cloned());
    unknown.extend(mapping(state));
    rules(&state.schema(), &mut unknown);
    if unknown.is_empty() { Ok(()) } else { Err(refuse(location, "write", &unknown.into_iter().collect::<Vec<_>>())) }
}

/// How columns are named in files, if by other names than in the table.
fn mapping(state: &DeltaTableState) -> Option<String> {
    let mode = state.metadata().configuration().get("delta.columnMapping.mode")?;
    (!mode.eq_ignore_ascii_case("none")).then(|| format!("delta.columnMapping.mode = {mode}"))
}

/// What columns say about their values.
fn rules(schema: &StructType, found: &mut BTreeSet<String>) {
    const RULES: [&str; 3] = ["delta.invariants", "delta.generationExpression", "delta.identity.start"];
    let of_field = |field: &StructField, found: &mut BTreeSet<String>| {
        let rules = RULES.iter().filter(|rule| field.metadata().contains_key(**rule));
        found.extend(rules.map(|rule| format!("{rule} of column {}", field.name())));
        rules_within(field.data_type(), found);
    };
    schema.fields().for_each(|field| of_field(field, found));
}

fn rules_within(ty: &DataType, found: &mut BTreeSet<String>) {
    match ty {
        DataType::Struct(fields) => rules(fields, found),
        DataType::Array(list) => rules_within(list.element_type(), found),
        DataType::Map(map) => rules_within(map.value_type(), found),
        _ => {}
    }
}
