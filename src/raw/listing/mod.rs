//! Which raw objects there are: a stream of batches in the order of their keys, none of which is kept.
//!
//! ```text
//! local:  folder by folder: names, sorted --keys--> stat, many at a time --> batches
//! stores: pages, in the order of the store ------------------------------> batches
//! ```

mod local;
mod store;

use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::object::{ObjectBatch, RawObject};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::store::Location;

pub(super) use local::local_etag;

/// Checks a source id: `[A-Za-z0-9._-]`, not starting with `_` or `.`.
///
/// # Errors
/// `Usage`.
pub fn check_source_id(id: &str) -> Result<()> {
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if plain && !id.is_empty() && id.len() <= 255 && !id.starts_with(['_', '.']) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{id:?} is no source id: letters, digits, '.', '_' and '-' only, not starting with '_' or '.'"
    )))
}

/// The ids of all sources: the folders of the raw root, sorted. Names that are no source id come second.
///
/// # Errors
/// `NotFound` when there is no raw root; `Failed` when it cannot be listed.
pub async fn list_sources(raw: &Location) -> Result<(Vec<String>, Vec<String>)> {
    let mut names = Vec::new();
    if let Some(root) = raw.local() {
        let entries = std::fs::read_dir(root).map_err(|error| local::folder_error(root, error))?;
        for entry in entries {
            let entry = entry.context(|| format!("cannot list {}", root.display()))?;
            if std::fs::metadata(entry.path()).is_ok_and(|data| data.is_dir()) {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    } else {
        let prefix = raw.prefix()?;
        let listed = raw.store().list_with_delimiter(Some(&prefix)).await;
        let listed = listed.context(|| format!("cannot list {}", raw.url()))?;
        names.extend(listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)));
        if names.is_empty() && listed.objects.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, format!("there is nothing under {}", raw.url())));
        }
    }
    names.sort();
    let (good, bad) = names.into_iter().partition(|name| check_source_id(name).is_ok());
    Ok((good, bad))
}

/// Whether a source of a local raw root is a link to a folder outside it: such a link is not followed, as it could make a
/// table of what is nobody's raw data.
pub fn leads_out(raw: &Location, id: &str) -> bool {
    raw.local().is_some_and(|root| local::leads_out(&root.join(id)))
}

/// Lists a source's objects at any depth. Names that begin with a dot are passed over.
///
/// # Errors
/// When the location's path is none that its store can hold. What fails later, [`Listing::next`] tells.
pub fn list_objects(source: &Location) -> Result<Listing> {
    let parts = match source.local() {
        Some(root) => local::list(root),
        None => store::list(source)?,
    };
    Ok(Listing { parts, skipped: Vec::new() })
}

/// The raw objects of a source, batch by batch.
///
/// They come in the order of the bytes of their keys. What a store lists out of that order comes behind all others, in the
/// same order.
pub struct Listing {
    parts: BoxStream<'static, Result<Part>>,
    /// Keys that were passed over so far, and why.
    pub skipped: Vec<(String, String)>,
}

/// A piece of a listing.
#[derive(Debug, Default)]
struct Part {
    objects: ObjectBatch,
    skipped: Vec<(String, String)>,
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("skipped", &self.skipped).finish_non_exhaustive()
    }
}

impl Listing {
    /// The next objects; `None` behind the last.
    ///
    /// # Errors
    /// `NotFound` when the source has no folder; `Failed` when it cannot be listed.
    pub async fn next(&mut self) -> Result<Option<ObjectBatch>> {
        while let Some(part) = self.parts.next().await.transpose()? {
            self.skipped.extend(part.skipped);
            if !part.objects.is_empty() {
                return Ok(Some(part.objects));
            }
        }
        Ok(None)
    }

    /// The objects that are left of which `is_wanted` says so.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn find(mut self, is_wanted: impl Fn(super::ObjectRef<'_>) -> bool) -> Result<Vec<RawObject>> {
        let mut found = Vec::new();
        while let Some(batch) = self.next().await? {
            found.extend(batch.iter().filter(|object| is_wanted(*object)).map(RawObject::from));
        }
        Ok(found)
    }
}
