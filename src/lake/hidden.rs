//! The hidden folder `_siltstone/` of a table: the one place that knows its paths and reads and writes its objects.
//!
//! ```text
//! _siltstone/ledger/<head id>.json          what a version's ledger consists of
//! _siltstone/ledger/<head id>-<n>.parquet   consumed raw objects, sorted by key
//! _siltstone/schema/<head id>.json          the registry: what was observed, columns, how the table is made
//! _siltstone/quarantine/<file id>.parquet   rejected records
//! ```
//!
//! Objects here are never changed. They count when the head that a committed version names refers to them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ranges::RangedFile;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::store::Location;

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
