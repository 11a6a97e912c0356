//! Vacuum: what no version of a table within the retention needs is deleted.
//!
//! | what | goes when |
//! |---|---|
//! | data files | no version within the retention refers to them |
//! | heads, segments, registries, quarantine files | no head within the retention names them: superseded, or of a run that lost or died |
//! | records of origins | their data file goes |
//! | scratch files, unfinished uploads | they are left over |
//!
//! Whatever it is, nothing goes that was stored within the retention, which is a day at least: it may belong to a writer at
//! work, whose version is yet to come. Nothing else in the table's folder is touched.

use serde::Serialize;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result, describe};
use crate::lake::{Hidden, Retained, Stored, Table};
use crate::store::{Location, Uploads};

/// What was, or would be, deleted of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Vacuumed {
    /// For how long versions stay readable, in hours.
    pub retention_hours: u32,
    /// Nothing was deleted.
    pub dry_run: bool,
    /// Data files.
    pub data_files: u64,
    /// Their bytes.
    pub data_bytes: u64,
    /// Objects of the hidden folder.
    pub hidden_objects: u64,
    /// Their bytes.
    pub hidden_bytes: u64,
    /// Uploads that were never finished.
    pub uploads: u64,
    /// Their bytes; 0 where the store does not tell.
    pub upload_bytes: u64,
    /// Why unfinished uploads were left alone, when they could not be listed or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploads_left: Option<String>,
    /// Objects that no version within the retention needs and that are too young to go.
    pub kept: u64,
    /// The paths below the table's folder.
    pub paths: Vec<String>,
}

/// Deletes what no version of the table that was current in the last `retention_hours` needs. With `dry_run`, only says what.
///
/// # Errors
/// `NotFound` without a table; when log, heads or folders cannot be read, or something cannot be deleted.
pub async fn vacuum(location: &Location, retention_hours: u32, dry_run: bool, clock: &dyn Clock) -> Result<Vacuumed> {
    // Before the log is read: what is stored later is younger.
    let now_ms = clock.now_micros() / 1000;
    let cutoff_ms = now_ms - i64::from(retention_hours) * 3_600_000;
    let table = Table::open(location.clone()).await?;
    if table.version().is_none() {
        let message = format!("there is no table at {}; a log may be lost, so nothing is deleted", location.url());
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    let retained = Retained::of(&table, cutoff_ms).await?;
    let hidden = Hidden::new(location);
    let is_unneeded = |stored: &Stored| match kind(&stored.path) {
        Some(Kind::Data) => !retained.files.contains(&stored.path),
        Some(Kind::Hidden) => !retained.hidden.contains(&stored.path),
        None => false,
    };
    let (gone, young): (Vec<Stored>, Vec<Stored>) =
        hidden.list(None, is_unneeded).await?.into_iter().partition(|stored| stored.modified_ms < cutoff_ms);
    let uploads = hidden.unfinished_uploads(|stored| stored.modified_ms < cutoff_ms)?;

    let mut report = Vacuumed { retention_hours, dry_run, kept: young.len() as u64, ..Vacuumed::default() };
    for stored in &gone {
        let (count, bytes) = match kind(&stored.path) {
            Some(Kind::Data) => (&mut report.data_files, &mut report.data_bytes),
            _ => (&mut report.hidden_objects, &mut report.hidden_bytes),
        };
        *count += 1;
        *bytes += stored.size_bytes;
    }
    report.uploads = uploads.len() as u64;
    report.upload_bytes = uploads.iter().map(|stored| stored.size_bytes).sum();
    report.paths = gone.iter().chain(&uploads).map(|stored| stored.path.clone()).collect();
    if let Some(remote) = location.uploads() {
        match give_up(location, remote, cutoff_ms, dry_run).await {
            Ok(mut paths) => {
                report.uploads += paths.len() as u64;
                report.paths.append(&mut paths);
            }
            // Some stores and many policies do not allow it; all else is deleted all the same.
            Err(error) => report.uploads_left = Some(describe(&error)),
        }
    }
    if !dry_run {
        hidden.delete_all(gone.iter().map(|stored| stored.path.as_str())).await?;
        hidden.delete_uploads(&uploads)?;
    }
    Ok(report)
}

/// Gives up uploads to the table's folder that were begun before `cutoff_ms`; what they were to become.
async fn give_up(location: &Location, uploads: &Uploads, cutoff_ms: i64, dry_run: bool) -> Result<Vec<String>> {
    let folder = format!("{}/", location.prefix()?);
    let mut paths = Vec::new();
    for upload in uploads.list(&folder).await?.into_iter().filter(|upload| upload.begun_ms < cutoff_ms) {
        let Some(path) = upload.key.strip_prefix(&folder) else { continue };
        // What others put into the folder is theirs.
        if kind(path).is_none() {
            continue;
        }
        if !dry_run {
            uploads.abort(&upload).await?;
        }
        paths.push(path.to_owned());
    }
    Ok(paths)
}

/// What vacuum knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Hidden,
}

fn kind(path: &str) -> Option<Kind> {
    if path.starts_with("_siltstone/") {
        return Some(Kind::Hidden);
    }
    // The log, manifests, and whatever others put into hidden folders is theirs.
    let is_hidden = path.split('/').any(|name| name.starts_with(['_', '.']) && !name.contains('='));
    (path.ends_with(".parquet") && !is_hidden).then_some(Kind::Data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parquet_files_of_the_table_and_its_own_hidden_folder_are_known() {
        for path in ["a.zstd.parquet", "_day=2024-01-01/a.parquet", "k=1/l=2/a.parquet"] {
            assert_eq!(kind(path), Some(Kind::Data), "{path}");
        }
        for path in ["_siltstone/ledger/1.json", "_siltstone/scratch/x/piece.parquet"] {
            assert_eq!(kind(path), Some(Kind::Hidden), "{path}");
        }
        let others = [
            "_delta_log/00000000000000000000.json",
            "_delta_log/00000000000000000019.checkpoint.parquet",
            "_change_data/cdc-0.parquet",
            "_symlink_format_manifest/manifest",
            ".hidden/a.parquet",
            "README.md",
        ];
        for path in others {
            assert_eq!(kind(path), None, "{path}");
        }
    }
}
