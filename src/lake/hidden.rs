//! The hidden folder `_siltstone/` of a table: the one place that knows its paths and reads and writes its objects.
//!
//! ```text
//! _siltstone/ledger/<head id>.json          what a version's ledger consists of
//! _siltstone/ledger/<head id>-<n>.parquet   consumed raw objects, sorted by key
//! _siltstone/schema/<head id>.json          the registry: what was observed, columns, how the table is made
//! _siltstone/quarantine/<file id>.parquet   rejected records
//! _siltstone/origins/<id>.parquet           which files the rows of a merged data file came from
//! _siltstone/scratch/<id>/...               what a run needs while it works
//! ```
//!
//! Objects here are never changed. They count when the head that a committed version names refers to them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ranges::RangedFile;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::store::Location;

/// A run that took half a day looks whether what it wrote is still there.
const LONG_RUN_MICROS: i64 = 12 * 3_600_000_000;
/// So many objects are looked for at a time.
const CHECKS_AHEAD: usize = 16;

/// An object of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// The path below the table's folder.
    pub path: String,
    /// Stored bytes.
    pub size_bytes: u64,
    /// When it was stored, in milliseconds since 1970-01-01T00:00:00Z.
    pub modified_ms: i64,
}

/// The hidden folder of one table.
#[derive(Debug, Clone)]
pub struct Hidden {
    table: Location,
}

impl Hidden {
    /// The hidden folder of the table in a folder.
    pub fn new(table: &Location) -> Self {
        Self { table: table.clone() }
    }

    /// The path of a ledger's head.
    pub fn head_path(id: i64) -> String {
        format!("_siltstone/ledger/{id:016x}.json")
    }

    /// The path of the `n`-th segment written with a head.
    pub fn segment_path(id: i64, n: usize) -> String {
        format!("_siltstone/ledger/{id:016x}-{n}.parquet")
    }

    /// The path of the registry written with a head.
    pub fn registry_path(id: i64) -> String {
        format!("_siltstone/schema/{id:016x}.json")
    }

    /// The folder of quarantine files.
    pub const QUARANTINE: &str = "_siltstone/quarantine";

    /// The path of a quarantine file.
    pub fn quarantine_path(file_id: &str) -> String {
        format!("{}/{file_id}.parquet", Self::QUARANTINE)
    }

    /// The path of the record of where the rows of a merged data file came from.
    pub fn origins_path(id: &str) -> String {
        format!("_siltstone/origins/{id}.parquet")
    }

    /// The folder of what a run needs only while it works.
    pub fn scratch_folder(id: &str) -> String {
        format!("_siltstone/scratch/{id}")
    }

    /// Reads an object of the table, named by its path below the table's folder.
    ///
    /// # Errors
    /// `Corrupt` when it is not there; `Failed` when it cannot be read.
    pub async fn read(&self, path: &str) -> Result<Bytes> {
        let object = self.table.child(path)?;
        let found = async { self.table.store().get(&object).await?.bytes().await };
        found.await.map_err(|error| self.unread(path, error))
    }

    /// Reads a part of an object.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let object = self.table.child(path)?;
        self.table.store().get_range(&object, range).await.map_err(|error| self.unread(path, error))
    }

    /// Reads parts of an object; those that lie close together by one request.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let object = self.table.child(path)?;
        self.table.store().get_ranges(&object, ranges).await.map_err(|error| self.unread(path, error))
    }

    /// Opens a Parquet object, of which only parts will be read.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) async fn open(&self, path: &str) -> Result<RangedFile> {
        let opened = RangedFile::open(self.table.store(), self.table.child(path)?, None).await;
        opened.map_err(|error| self.unread(path, error))
    }

    fn unread(&self, path: &str, error: object_store::Error) -> Error {
        match error {
            object_store::Error::NotFound { .. } => {
                Error::new(ErrorKind::Corrupt, format!("{path} of {} is gone", self.table.url()))
            }
            error => Error::failed(format!("cannot read {path} of {}", self.table.url()), error),
        }
    }

    /// Writes an object that must not be there.
    ///
    /// # Errors
    /// `Conflict` when it is.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<()> {
        let object = self.table.child(path)?;
        let options = PutOptions::from(PutMode::Create);
        match self.table.store().put_opts(&object, bytes.clone().into(), options).await {
            Ok(_) => Ok(()),
            // A reply may have been lost, and the request repeated: what is there is then what was sent.
            Err(object_store::Error::AlreadyExists { .. }) if self.read(path).await? == bytes => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {
                Err(Error::new(ErrorKind::Conflict, format!("{path} of {} is there already", self.table.url())))
            }
            Err(_) if self.read(path).await.is_ok_and(|there| there == bytes) => Ok(()),
            Err(error) => Err(Error::failed(format!("cannot write {path} of {}", self.table.url()), error)),
        }
    }

    /// Where objects lie in the store and how large they are, by one listing of the folder that all of them are in.
    ///
    /// # Errors
    /// `Corrupt` when one is not there; `Failed` when the folder cannot be listed.
    pub async fn find(&self, folder: &str, paths: &[String]) -> Result<Vec<ObjectMeta>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let listed = self.table.store().list(Some(&self.table.child(folder)?));
        let listed: Vec<ObjectMeta> =
            listed.try_collect().await.context(|| format!("cannot list {folder} of {}", self.table.url()))?;
        let mut there: HashMap<Path, ObjectMeta> =
            listed.into_iter().map(|meta| (meta.location.clone(), meta)).collect();
        let find = |path: &String| {
            there
                .remove(&self.table.child(path)?)
                .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("{path} of {} is gone", self.table.url())))
        };
        paths.iter().map(find).collect()
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        self.table.store()
    }

    /// Reads a JSON document.
    ///
    /// # Errors
    /// As [`read`](Self::read); `Corrupt` when it is not of the type.
    pub async fn read_json<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let bytes = self.read(path).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("{path} of {} is damaged: {error}", self.table.url()))
        })
    }

    /// Writes a JSON document that must not be there.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn create_json(&self, path: &str, document: &impl Serialize) -> Result<()> {
        let bytes = serde_json::to_vec(document).context(|| format!("cannot express {path}"))?;
        self.create(path, bytes.into()).await
    }

    /// Writes an object, in the place of one that is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn overwrite(&self, path: &str, bytes: Bytes) -> Result<()> {
        let object = self.table.child(path)?;
        let put = self.table.store().put(&object, bytes.into()).await;
        put.map(drop).context(|| format!("cannot write {path} of {}", self.table.url()))
    }

    /// Whether there is an object.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_there(&self, path: &str) -> Result<bool> {
        match self.table.store().head(&self.table.child(path)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(Error::failed(format!("cannot look for {path} of {}", self.table.url()), error)),
        }
    }

    /// Proves, before a commit names objects, that no vacuum took the first ones of a long run, of `ran_micros`, for those of a
    /// dead one: for a day it spares what no version names.
    ///
    /// # Errors
    /// When one is gone, or the store fails.
    pub async fn check_still_there(&self, paths: impl Iterator<Item = String>, ran_micros: i64) -> Result<()> {
        if ran_micros < LONG_RUN_MICROS {
            return Ok(());
        }
        let checks = futures::stream::iter(paths).map(|path| async move {
            match self.is_there(&path).await? {
                true => Ok(()),
                false => Err(Error::new(ErrorKind::Failed, format!("{path} was deleted while the run was at work"))),
            }
        });
        checks.buffer_unordered(CHECKS_AHEAD).try_collect::<Vec<()>>().await.map(drop)
    }

    /// Those objects of the table, or of a folder of it, that are `wanted`.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub async fn list(&self, folder: Option<&str>, wanted: impl Fn(&Stored) -> bool) -> Result<Vec<Stored>> {
        let describe = || format!("cannot list {} of {}", folder.unwrap_or("the objects"), self.table.url());
        let table = self.table.prefix()?;
        let within = folder.map(|folder| self.table.child(folder)).transpose()?;
        let mut listed = self.table.store().list(Some(within.as_ref().unwrap_or(&table)));
        let mut found = Vec::new();
        while let Some(meta) = listed.try_next().await.context(describe)? {
            let full = meta.location.as_ref();
            let below = full.strip_prefix(table.as_ref()).map(|path| path.trim_start_matches('/'));
            let Some(path) = below.map(str::to_owned) else { continue };
            let stored = Stored { path, size_bytes: meta.size, modified_ms: meta.last_modified.timestamp_millis() };
            if wanted(&stored) {
                found.push(stored);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Uploads to the local file system that were never finished: what a process that was killed leaves beside its files
    /// (`name#1`). Other stores show none; they have rules of their own for them.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn unfinished_uploads(&self, wanted: impl Fn(&Stored) -> bool) -> Result<Vec<Stored>> {
        let Some(local) = self.table.local() else { return Ok(Vec::new()) };
        let describe = || format!("cannot list the files of {}", self.table.url());
        let (mut folders, mut found) = (vec![local.to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).context(describe)? {
                let entry = entry.context(describe)?;
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                let name = entry.file_name();
                let number = name.to_str().and_then(|name| Some(name.rsplit_once('#')?.1));
                let is_upload = number.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()));
                let path = entry.path().strip_prefix(local).ok().and_then(|path| Some(path.to_str()?.to_owned()));
                let Some(path) = path.filter(|_| is_upload) else { continue };
                let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                let modified_ms = modified.map_or(i64::MAX, |since| since.as_millis() as i64);
                let stored = Stored { path, size_bytes: metadata.len(), modified_ms };
                if wanted(&stored) {
                    found.push(stored);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Deletes such uploads.
    ///
    /// # Errors
    /// When one cannot be deleted.
    pub fn delete_uploads(&self, uploads: &[Stored]) -> Result<()> {
        let Some(local) = self.table.local() else { return Ok(()) };
        for upload in uploads {
            match std::fs::remove_file(local.join(&upload.path)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::failed(format!("cannot delete {} of {}", upload.path, self.table.url()), error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes objects, many at once.
    ///
    /// # Errors
    /// When one cannot be deleted; others may be.
    pub async fn delete_all<'p>(&self, paths: impl Iterator<Item = &'p str>) -> Result<()> {
        let paths = paths.map(|path| self.table.child(path)).collect::<Result<Vec<_>>>()?;
        let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut deleted = self.table.store().delete_stream(paths);
        loop {
            match deleted.try_next().await {
                Ok(Some(_)) | Err(object_store::Error::NotFound { .. }) => {}
                Ok(None) => return Ok(()),
                Err(error) => {
                    return Err(Error::failed(format!("cannot delete objects of {}", self.table.url()), error));
                }
            }
        }
    }

    /// Deletes objects that no version refers to, as far as possible.
    pub async fn discard(&self, paths: &[String]) {
        for path in paths {
            let Ok(object) = self.table.child(path) else { continue };
            if let Err(error) = self.table.store().delete(&object).await {
                tracing::debug!(path, %error, "an unused file stays until vacuum");
            }
        }
    }
}
