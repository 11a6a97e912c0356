//! What the versions of a table that must still be readable refer to.
//!
//! ```text
//! active files  +  files that entries since the cutoff removed       --> data files, and the records of their origins
//! the last head +  heads before it that were current since the cutoff --> segments, registries, quarantine files
//! ```

use std::collections::HashSet;

use futures::TryStreamExt as _;
use object_store::ObjectStore as _;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::hidden::Hidden;
use super::ledger::Head;
use super::table::Table;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::json::{Time, time};
use crate::write::merged_id;

/// The folder of the log.
const LOG: &str = "_delta_log";
/// Heads and entries say when they were written, which is a little before they could be read.
const MARGIN_MS: i64 = 3_600_000;

/// What must stay, by path below the table's folder.
#[derive(Debug, Default)]
pub struct Retained {
    /// Data files.
    pub files: HashSet<String>,
    /// Objects of the hidden folder.
    pub hidden: HashSet<String>,
}

impl Retained {
    /// What the current version refers to, and all that were current at `cutoff_ms` (since 1970-01-01T00:00:00Z) or later.
    ///
    /// # Errors
    /// When the log or a head cannot be read; `Corrupt` when a version since then is gone from the log.
    pub async fn of(table: &Table, cutoff_ms: i64) -> Result<Self> {
        let mut retained = Self::default();
        let Some(last) = table.ledger_head().await? else { return Ok(retained) };
        let hidden = Hidden::new(table.location());
        retained.files.extend(table.files()?.into_iter().map(|file| file.path));
        retained.add_entries(table, &hidden, cutoff_ms - MARGIN_MS).await?;
        retained.add_heads(&hidden, last, cutoff_ms - MARGIN_MS).await?;
        let records = retained.files.iter().filter_map(|path| merged_id(path).map(Hidden::origins_path));
        retained.hidden.extend(records);
        Ok(retained)
    }

    /// Adds the files that entries since `cutoff_ms` name.
    async fn add_entries(&mut self, table: &Table, hidden: &Hidden, cutoff_ms: i64) -> Result<()> {
        let describe = || format!("cannot list the log of the table {}", table.location().url());
        let mut listed = table.location().store().list(Some(&table.location().child(LOG)?));
        let mut entries = Vec::new();
        while let Some(object) = listed.try_next().await.context(describe)? {
            let version = object.location.filename().and_then(|name| name.strip_suffix(".json"));
            let version = version.filter(|version| version.len() == 20).and_then(|version| version.parse::<u64>().ok());
            // Versions that came since the table was loaded only add.
            let version = version.filter(|version| Some(*version) <= table.version());
            entries.extend(version.map(|version| (version, object.last_modified.timestamp_millis())));
        }
        entries.sort_unstable();
        let mut expected = table.version();
        for (version, stored_at_ms) in entries.into_iter().rev() {
            if expected != Some(version) {
                break;
            }
            expected = version.checked_sub(1);
            let bytes = hidden.read(&format!("{LOG}/{version:020}.json")).await?;
            let mut at_ms = stored_at_ms;
            let mut named = Vec::new();
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let action: Value = serde_json::from_slice(line).map_err(|error| {
                    Error::new(ErrorKind::Corrupt, format!("version {version} of the log is damaged: {error}"))
                })?;
                let stamp = action["commitInfo"]["timestamp"].as_i64();
                at_ms = at_ms.max(stamp.unwrap_or(at_ms));
                let paths = ["add", "remove"].into_iter().filter_map(|kind| action[kind]["path"].as_str());
                named.extend(paths.map(|path| percent_decode_str(path).decode_utf8_lossy().into_owned()));
            }
            if at_ms < cutoff_ms {
                // What it removed was no longer needed then.
                return Ok(());
            }
            self.files.extend(named);
        }
        match expected {
            None => Ok(()),
            Some(version) => {
                let message = format!(
                    "version {version} of {} is gone from the log: it is not known which files versions within the retention need",
                    table.location().url()
                );
                Err(Error::new(ErrorKind::Corrupt, message))
            }
        }
    }

    /// Adds what heads name that were current since `cutoff_ms`.
    async fn add_heads(&mut self, hidden: &Hidden, last: i64, cutoff_ms: i64) -> Result<()> {
        let mut id = last;
        loop {
            let path = Hidden::head_path(id);
            let head: Head = match hidden.read_json(&path).await {
                Ok(head) => head,
                // It went with an earlier vacuum, as ancestors may.
                Err(_) if id != last && !hidden.is_there(&path).await? => return Ok(()),
                Err(error) => return Err(error),
            };
            let was_written_before = written_at_ms(&head).is_some_and(|at_ms| at_ms < cutoff_ms);
            self.hidden.insert(path);
            self.hidden.insert(head.registry);
            self.hidden.extend(head.quarantine);
            self.hidden.extend(head.segments.into_iter().map(|segment| segment.path));
            match head.parent.filter(|parent| !was_written_before && *parent < id) {
                Some(parent) => id = parent,
                None => return Ok(()),
            }
        }
    }
}

fn written_at_ms(head: &Head) -> Option<i64> {
    match time(head.written_at.as_bytes()) {
        Some(Time::Timestamp { micros, .. }) => Some(micros / 1000),
        _ => None,
    }
}
