//! `siltstone schema SOURCE --history` and `--diff V1 V2`

use serde_json::{Value, json};

use crate::error::{Context as _, Error, Result};
use crate::lake::{ColumnChange, Registry, net_changes};

/// Every version of the columns, with the reasons of its changes.
pub(super) fn history_text(source: &str, registry: &Registry) -> String {
    let mut text = String::new();
    for version in &registry.history {
        let run = &version.run;
        text.push_str(&format!(
            "{source} version {} (table version {}, {}, run {})\n",
            version.version, run.table_version, run.at, run.run_id
        ));
        text.push_str(&lines(&version.changes));
    }
    text
}

pub(super) fn history_document(registry: &Registry) -> Result<Value> {
    serde_json::to_value(&registry.history).context(|| "cannot express the history".to_owned())
}

/// What the versions after `from` up to `to` changed, together.
pub(super) fn difference(source: &str, registry: &Registry, from: u64, to: u64) -> Result<Vec<ColumnChange>> {
    let last = registry.schema_version();
    if from > to || to > last {
        return Err(Error::usage(format!("{source} has versions 0 (no columns) to {last}, earlier one first")));
    }
    let between = registry.history.iter().filter(|version| version.version > from && version.version <= to);
    Ok(net_changes(between.flat_map(|version| &version.changes)))
}

pub(super) fn difference_text(changes: &[ColumnChange]) -> String {
    if changes.is_empty() { "no column changed\n".to_owned() } else { lines(changes) }
}

pub(super) fn difference_document(from: u64, to: u64, changes: &[ColumnChange]) -> Value {
    json!({ "from": from, "to": to, "changes": changes })
}

fn lines(changes: &[ColumnChange]) -> String {
    changes.iter().map(|change| format!("  {change}  ({})\n", change.reason)).collect()
}
