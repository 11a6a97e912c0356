//! The active data files against the log: that they are there, their sizes, footers, rows, columns and folders.

use std::collections::HashMap;

use futures::StreamExt as _;
use object_store::Error as StoreError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::Type;

use super::columns::check_columns;
use super::finding::{Effect, Finding, FindingKind, Findings};
use super::stats::check_stats;
use super::{CONCURRENCY, Checked};
use crate::error::describe;
use crate::lake::ranges::RangedFile;
use crate::partition::Partitioning;
use crate::schema::Field;
use crate::store::Location;

/// A file as the log describes it.
#[derive(Debug)]
pub(super) struct LoggedFile {
    /// The path below the table's folder.
    pub(super) path: String,
    /// Stored bytes.
    pub(super) size_bytes: u64,
    /// Rows, when the log has them.
    pub(super) row_count: Option<u64>,
    /// Bounds and counts of values, as JSON text.
    pub(super) stats: String,
    /// The values of partition columns by name.
    pub(super) partition: HashMap<String, Option<String>>,
}

/// What there is of a file.
enum Stored {
    Missing,
    Unreadable(String),
    File { size_bytes: u64, footer: Result<ParquetMetaData, String> },
}

/// Checks all `files` of a table of the columns `table`, which are `fields` where the registry is known. The rows in them; `None` when the rows of some are not known.
pub(super) async fn check_files(
    location: &Location,
    files: &[LoggedFile],
    table: &Type,
    fields: Option<&[Field]>,
    partitions: &[String],
    checked: &mut Checked,
    found: &mut Findings,
) -> Option<u64> {
    let mut stored = futures::stream::iter(files)
        .map(|file| async move { (file, read(location, file).await) })
        .buffered(CONCURRENCY);
    let mut rows = Some(0);
    while let Some((file, stored)) = stored.next().await {
        checked.files += 1;
        let in_file = check_file(file, &stored, table, partitions, found);
        if let Stored::File { size_bytes, footer } = &stored {
            checked.bytes += size_bytes;
            // Of another file, that it is another is told.
            if let (Ok(footer), Some(fields), true) = (footer, fields, *size_bytes == file.size_bytes) {
                check_stats(&file.path, &file.stats, footer, fields, found);
            }
        }
        rows = rows.zip(in_file).map(|(sum, more): (u64, u64)| sum.saturating_add(more));
    }
    checked.rows = rows.unwrap_or_default();
    rows
}

async fn read(location: &Location, file: &LoggedFile) -> Stored {
    let path = match location.child(&file.path) {
        Ok(path) => path,
        Err(error) => return Stored::Unreadable(describe(&error)),
    };
    match RangedFile::open(location.store(), path, Some(file.size_bytes)).await {
        Ok(mut ranged) => {
            let footer = ranged.footer().await.map_err(|error| describe(&error));
            Stored::File { size_bytes: ranged.size_bytes, footer }
        }
        Err(StoreError::NotFound { .. }) => Stored::Missing,
        Err(error) => Stored::Unreadable(describe(&error)),
    }
}

/// Checks one file. The rows in it, by its footer or else by the log.
fn check_file(
    file: &LoggedFile,
    stored: &Stored,
    table: &Type,
    partitions: &[String],
    found: &mut Findings,
) -> Option<u64> {
    let path = &*file.path;
    if file.row_count.is_none() {
        let reason = "the log has no numRecords for the file: compact, export and status refuse the table";
        found.push(Finding::error(FindingKind::Rows, path, reason));
    }
    let (size_bytes, footer) = match stored {
        Stored::Missing => {
            let effect = Effect::new("Spark, Trino, Athena, Hive, DataFusion", "queries that need the file fail");
            found.push(Finding::error(FindingKind::Missing, path, "the file is gone").with([effect]));
            return file.row_count;
        }
        Stored::Unreadable(why) => {
            found.push(Finding::error(FindingKind::Unreadable, path, format!("the file cannot be read: {why}")));
            return file.row_count;
        }
        Stored::File { size_bytes, footer } => (*size_bytes, footer),
    };
    if size_bytes != file.size_bytes {
        let reason = format!("the file has {size_bytes} bytes, the log says {}", file.size_bytes);
        let effect = Effect::new(
            "Spark, Trino, Athena, DataFusion",
            "look for the footer at the end that the log says, and find no Parquet file",
        );
        found.push(Finding::error(FindingKind::Size, path, reason).with([effect]));
    }
    let footer = match footer {
        Ok(footer) => footer,
        Err(why) => {
            let effects = [
                Effect::new("Spark, Hive", "the file is not a Parquet file"),
                Effect::new("Trino, Athena", "the file is malformed, in Athena HIVE_BAD_DATA"),
            ];
            let reason = format!("the file has no readable Parquet footer: {why}");
            found.push(Finding::error(FindingKind::Footer, path, reason).with(effects));
            return file.row_count;
        }
    };
    let rows = footer.file_metadata().num_rows();
    let in_groups: i64 = footer.row_groups().iter().map(RowGroupMetaData::num_rows).sum();
    if rows != in_groups {
        let reason = format!("the footer says {rows} rows, its row groups hold {in_groups}");
        found.push(Finding::error(FindingKind::Footer, path, reason));
    }
    let rows = rows.max(0) as u64;
    if let Some(logged) = file.row_count.filter(|logged| *logged != rows) {
        let reason = format!("the file holds {rows} rows, numRecords of the log says {logged}");
        let effect = Effect::new("Spark, DataFusion", "answer count(*) from the log, and so wrongly");
        found.push(Finding::error(FindingKind::Rows, path, reason).with([effect]));
    }
    check_columns(path, footer.file_metadata().schema_descr().root_schema(), table, partitions, found);
    Some(rows)
}

/// Checks the partition values of `files` and the folders that they lie in.
pub(super) fn check_partitions(files: &[LoggedFile], partitioning: &Partitioning, found: &mut Findings) {
    for file in files {
        let mut is_sound = true;
        let mut key = Vec::new();
        for expr in &partitioning.0 {
            let name = expr.name();
            // Delta takes an empty value for null.
            let value = file.partition.get(&name).cloned().flatten().filter(|value| !value.is_empty());
            if let Some(value) = &value
                && !expr.transform.makes(value)
            {
                is_sound = false;
                let reason = format!("the partition value in the log is none that {expr} makes");
                let effect = Effect::new("Spark, Trino, Athena", "filters on the partition pass the file over");
                let finding = Finding::error(FindingKind::PartitionValue, &*file.path, reason);
                found.push(finding.of_column(&name).with([effect]));
            }
            key.push(value);
        }
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if is_sound && folder != partitioning.hive_path(&key) {
            let reason = "the partition values in the log lead to another folder than the file lies in";
            let effects = [
                Effect::new("Spark, Trino, Athena, DataFusion", "take the values of the log"),
                Effect::new("Hive, and whatever reads the folder without the log", "take the values of the folder"),
            ];
            found.push(Finding::error(FindingKind::PartitionFolder, &*file.path, reason).with(effects));
        }
    }
}
