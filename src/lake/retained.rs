//! What the versions of a table that must still be readable refer to.
//!
//! ```text
//! active files  +  files that entries since the cutoff removed       --> data files, and the records of their origins
//! the last head +  heads before it that were current since the cutoff --> segments, registries, quarantine files
//! ```

use std::collections::HashSet;

use object_store::ObjectStoreExt as _;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::hidden::Hidden;
use super::ledger::Head;
use super::table::{LEDGER_APP, Table};
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
        let last = retained.add_entries(table, cutoff_ms - MARGIN_MS, last).await?;
        retained.add_heads(&hidden, last, cutoff_ms - MARGIN_MS).await?;
        let records = retained.files.iter().filter_map(|path| merged_id(path).map(Hidden::origins_path));
        retained.hidden.extend(records);
        Ok(retained)
    }

    /// Adds the files that entries since `cutoff_ms` name; the ledger's head in the last entry that names one, unless it is
    /// `last`.
    ///
    /// Entries are asked for by name, and so are those behind the version that was loaded: a listing that is late must not
    /// cost files.
    async fn add_entries(&mut self, table: &Table, cutoff_ms: i64, mut last: i64) -> Result<i64> {
        let Some(loaded) = table.version() else { return Ok(last) };
        let mut version = loaded + 1;
        while let Some(entry) = LogEntry::read(table, version).await? {
            self.files.extend(entry.files);
            last = entry.head.unwrap_or(last);
            version += 1;
        }
        for version in (0..=loaded).rev() {
            let Some(entry) = LogEntry::read(table, version).await? else {
                let message = format!(
                    "version {version} of {} is gone from the log: it is not known which files versions within the retention need",
                    table.location().url()
                );
                return Err(Error::new(ErrorKind::Corrupt, message));
            };
            if entry.at_ms < cutoff_ms {
                // What it removed was no longer needed then.
                break;
            }
            self.files.extend(entry.files);
        }
        Ok(last)
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

/// An entry of the log.
#[derive(Debug)]
struct LogEntry {
    /// When it was written, or a little later.
    at_ms: i64,
    /// The files that it adds or removes.
    files: Vec<String>,
    /// The ledger's head.
    head: Option<i64>,
}

impl LogEntry {
    /// Reads the entry of a version, if there is one.
    async fn read(table: &Table, version: u64) -> Result<Option<Self>> {
        let describe = || format!("cannot read version {version} of the log of {}", table.location().url());
        let path = table.location().child(&format!("{LOG}/{version:020}.json"))?;
        let found = match table.location().store().get(&path).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.context(describe)?,
        };
        let mut entry = Self { at_ms: found.meta.last_modified.timestamp_millis(), files: Vec::new(), head: None };
        let bytes = found.bytes().await.context(describe)?;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action: Value = serde_json::from_slice(line).map_err(|error| {
                Error::new(ErrorKind::Corrupt, format!("version {version} of the log is damaged: {error}"))
            })?;
            entry.at_ms = action["commitInfo"]["timestamp"].as_i64().map_or(entry.at_ms, |at| at.max(entry.at_ms));
            let paths = ["add", "remove"].into_iter().filter_map(|kind| action[kind]["path"].as_str());
            entry.files.extend(paths.map(|path| percent_decode_str(path).decode_utf8_lossy().into_owned()));
            if action["txn"]["appId"] == LEDGER_APP {
                entry.head = action["txn"]["version"].as_i64().or(entry.head);
            }
        }
        Ok(Some(entry))
    }
}

fn written_at_ms(head: &Head) -> Option<i64> {
    match time(head.written_at.as_bytes()) {
        Some(Time::Timestamp { micros, .. }) => Some(micros / 1000),
        _ => None,
    }
}
