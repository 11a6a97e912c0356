//! Manifests for readers of plain Parquet, in the format of Delta's `symlink_format_manifest`: for each partition a file that
//! names its data files. Hive, Athena and Presto read them with `SymlinkTextInputFormat`, and so see each partition as one
//! version of the table has it, without knowing Delta.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _};
use percent_encoding::percent_decode_str;

use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Hidden, Table};
use crate::store::Location;

/// Where they lie.
const FOLDER: &str = "_symlink_format_manifest";
/// So many are written at once.
const CONCURRENCY: usize = 16;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifests {
    /// The version that they name the files of.
    pub version: u64,
    /// Manifests: one for each partition.
    pub manifests: u64,
    /// Data files in them.
    pub files: u64,
    /// Manifests of partitions that are gone, which were deleted.
    pub deleted: u64,
}

/// Writes the manifests of a table's current version and deletes those of partitions that have no file any more.
///
/// # Errors
/// `NotFound` without a table; when the log cannot be read or a manifest cannot be written.
pub async fn write_manifests(location: &Location) -> Result<Manifests> {
    let table = Table::open(location.clone()).await?;
    let Some(version) = table.version() else {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no table at {}", location.url())));
    };
    let hidden = Hidden::new(location);
    let root = percent_decode_str(location.url().as_str()).decode_utf8_lossy().into_owned();
    let files = table.files()?;
    let mut manifests: BTreeMap<String, String> = BTreeMap::new();
    for file in &files {
        let folder = file.path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let lines = manifests.entry(format!("{FOLDER}/{folder}manifest")).or_default();
        lines.push_str(&format!("{root}{}\n", file.path));
    }
    if manifests.is_empty() && table.state().is_some_and(|state| state.metadata().partition_columns().is_empty()) {
        manifests.insert(format!("{FOLDER}/manifest"), String::new());
    }
    let named: HashSet<&String> = manifests.keys().collect();
    let stale = hidden.list(Some(FOLDER), |stored| !named.contains(&stored.path)).await?;
    let (count, hidden) = (manifests.len() as u64, &hidden);
    let writes = manifests.iter().map(|(path, lines)| hidden.overwrite(path, lines.clone().into()));
    futures::stream::iter(writes).buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await?;
    hidden.delete_all(stale.iter().map(|stored| stored.path.as_str())).await?;
    Ok(Manifests { version, manifests: count, files: files.len() as u64, deleted: stale.len() as u64 })
}
