//! Why the Delta log cannot be read: the library says what, but not where. So the entries are read one by one as JSON.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use object_store::ObjectStore as _;
use serde_json::Value;

use super::finding::{Effect, Finding, FindingKind, Findings};
use super::schema::LOG;
use crate::error::{Context as _, Error, Result, describe};
use crate::lake::hidden::Hidden;
use crate::partition::Transform;
use crate::store::Location;

/// Looks for what makes the library fail with `error`. There is at least one finding.
pub(super) async fn diagnose(location: &Location, error: &Error, found: &mut Findings) {
    let before = found.list.len();
    if let Err(error) = look(location, found).await {
        found.push(Finding::error(FindingKind::Log, LOG, describe(&error)));
    }
    if found.list.len() == before {
        found.push(Finding::error(FindingKind::Log, LOG, describe(error)));
    }
}

/// What entries say, as far as it is needed here.
#[derive(Default)]
struct State {
    /// The types of the partition columns by name, as Delta writes them.
    partitions: BTreeMap<String, String>,
    /// The partition values of active files by path.
    files: BTreeMap<String, Value>,
}

async fn look(location: &Location, found: &mut Findings) -> Result<()> {
    let hidden = Hidden::new(location);
    let (versions, has_checkpoint) = list_versions(location).await?;
    if !has_checkpoint && let Some(first) = versions.first().filter(|first| **first > 0) {
        let reason = format!("versions before {first} are gone, and there is no checkpoint");
        found.push(Finding::error(FindingKind::Log, LOG, reason));
    }
    for pair in versions.windows(2).filter(|pair| pair[0] + 1 < pair[1]) {
        let reason = format!("versions {} to {} are gone", pair[0] + 1, pair[1] - 1);
        found.push(Finding::error(FindingKind::Log, LOG, reason));
    }
    let mut state = State::default();
    for version in versions {
        let path = format!("{LOG}/{version:020}.json");
        let bytes = hidden.read(&path).await?;
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            match serde_json::from_slice::<Value>(line) {
                Ok(action) => state.apply(&action),
                Err(error) => {
                    let reason = format!("line {} is no JSON: {error}", number + 1);
                    found.push(Finding::error(FindingKind::Log, &*path, reason));
                }
            }
        }
    }
    state.check(found);
    Ok(())
}

impl State {
    fn apply(&mut self, action: &Value) {
        if let Some(schema) = action["metaData"]["schemaString"].as_str() {
            let schema: Value = serde_json::from_str(schema).unwrap_or_default();
            let types = schema["fields"].as_array().into_iter().flatten();
            let types: BTreeMap<_, _> =
                types.filter_map(|field| Some((field["name"].as_str()?, field["type"].as_str()?))).collect();
            let columns = action["metaData"]["partitionColumns"].as_array().into_iter().flatten();
            self.partitions = columns
                .filter_map(Value::as_str)
                .filter_map(|name| Some((name.to_owned(), (*types.get(name)?).to_owned())))
                .collect();
        }
        if let Some(path) = action["remove"]["path"].as_str() {
            self.files.remove(path);
        }
        if let Some(path) = action["add"]["path"].as_str() {
            self.files.insert(path.to_owned(), action["add"]["partitionValues"].clone());
        }
    }

    fn check(&self, found: &mut Findings) {
        for (path, values) in &self.files {
            for (column, ty) in &self.partitions {
                let Some(value) = values[column].as_str().filter(|value| !value.is_empty()) else { continue };
                let is_one = match &**ty {
                    "integer" => value.parse::<i32>().is_ok(),
                    "date" => Transform::Day.makes(value),
                    _ => true,
                };
                if !is_one {
                    let reason = format!("the partition value in the log is no {ty}");
                    let effects = [
                        Effect::new("Trino, Athena", format!("Unable to parse value from column {column}")),
                        Effect::new("DataFusion, delta-rs, siltstone", "refuse the whole table"),
                    ];
                    // The log has the path in URI encoding.
                    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
                    let finding = Finding::error(FindingKind::PartitionValue, path, reason);
                    found.push(finding.of_column(column).with(effects));
                }
            }
        }
    }
}

/// The versions that have an entry, sorted, and whether there is a checkpoint.
async fn list_versions(location: &Location) -> Result<(Vec<u64>, bool)> {
    let folder = location.child(LOG)?;
    let mut listed = location.store().list(Some(&folder));
    let (mut versions, mut has_checkpoint) = (Vec::new(), false);
    while let Some(object) = listed.try_next().await.context(|| "cannot list the Delta log".to_owned())? {
        let Some(name) = object.location.filename() else { continue };
        has_checkpoint |= name.contains(".checkpoint.");
        let version = name.strip_suffix(".json").filter(|version| version.len() == 20);
        versions.extend(version.and_then(|version| version.parse::<u64>().ok()));
    }
    versions.sort_unstable();
    Ok((versions, has_checkpoint))
}
