//! Which raw objects there are, and what identifies each.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path as FsPath;

use futures::TryStreamExt as _;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _};
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::store::Location;

/// One stored object, identified by key, ETag and size. When it was modified plays no part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RawObject {
    /// The key below the source's folder, as `2025-02/a.json`.
    pub key: String,
    /// The store's ETag; for local files inode, time of modification and size.
    pub etag: String,
    /// Stored bytes.
    pub size_bytes: u64,
}

/// The raw objects of a source, sorted by key.
#[derive(Debug, Default)]
pub struct Listing {
    /// The objects.
    pub objects: Vec<RawObject>,
    /// Keys that were passed over, and why.
    pub skipped: Vec<(String, String)>,
}

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
        let entries = std::fs::read_dir(root).map_err(|error| folder_error(root, error))?;
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

fn folder_error(folder: &FsPath, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, format!("there is no folder {}", folder.display()))
        }
        std::io::ErrorKind::NotADirectory => {
            Error::new(ErrorKind::NotFound, format!("{} is a file, not a folder", folder.display()))
        }
        _ => Error::failed(format!("cannot list {}", folder.display()), error),
    }
}

/// Lists a source's objects at any depth, sorted by key. Names that begin with a dot are passed over.
///
/// # Errors
/// `NotFound` when the source has no folder; `Failed` when it cannot be listed.
pub async fn list_objects(source: &Location) -> Result<Listing> {
    if let Some(root) = source.local() {
        let root = root.to_owned();
        let walked = tokio::task::spawn_blocking(move || {
            let mut listing = Listing::default();
            let bounds = root.canonicalize().map_err(|error| folder_error(&root, error))?;
            walk(&root, &bounds, "", &mut listing).map(|()| listing)
        });
        return walked.await.context(|| "listing was aborted".to_owned())?;
    }
    list_store(source).await
}

/// Adds the files below `folder` in the order of their keys: a folder sorts as its name with a slash.
fn walk(folder: &FsPath, bounds: &FsPath, prefix: &str, listing: &mut Listing) -> Result<()> {
    let mut names: BTreeMap<String, std::fs::Metadata> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|error| folder_error(folder, error))? {
        let entry = entry.context(|| format!("cannot list {}", folder.display()))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            listing.skipped.push((format!("{prefix}{}", name.to_string_lossy()), "the name is not UTF-8".to_owned()));
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let mut metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) => {
                listing.skipped.push((format!("{prefix}{name}"), error.to_string()));
                continue;
            }
        };
        if metadata.is_symlink() {
            let target = entry.path().canonicalize().and_then(|target| Ok((std::fs::metadata(&target)?, target)));
            metadata = match target {
                Ok((target_data, target)) if target_data.is_file() && target.starts_with(bounds) => target_data,
                Ok(_) => {
                    listing
                        .skipped
                        .push((format!("{prefix}{name}"), "a link to a folder or out of the source".to_owned()));
                    continue;
                }
                Err(error) => {
                    listing.skipped.push((format!("{prefix}{name}"), error.to_string()));
                    continue;
                }
            };
        }
        let sort_name = if metadata.is_dir() { format!("{name}/") } else { name.to_owned() };
        names.insert(sort_name, metadata);
    }
    for (name, metadata) in names {
        let key = format!("{prefix}{name}");
        if metadata.is_dir() {
            walk(&folder.join(&name), bounds, &key, listing)?;
        } else if metadata.is_file() {
            listing.objects.push(RawObject { key, etag: local_etag(&metadata), size_bytes: metadata.len() });
        } else {
            listing.skipped.push((key, "not a regular file".to_owned()));
        }
    }
    Ok(())
}

/// What stands for the ETag of a local file.
pub(super) fn local_etag(metadata: &std::fs::Metadata) -> String {
    let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    format!("{:x}-{:x}-{:x}", metadata.ino(), modified_ns, metadata.len())
}

async fn list_store(source: &Location) -> Result<Listing> {
    let prefix = source.prefix()?;
    let mut listing = Listing::default();
    let describe = || format!("cannot list {}", source.url());
    match source.pages() {
        Some(store) => {
            let mut pages =
                Pages { store: store.as_ref(), prefix: format!("{prefix}/"), from: From::Start, max_keys: PAGE_KEYS };
            while let Some(page) = pages.next(&mut listing).await.context(describe)? {
                page.into_iter().for_each(|meta| listing.add(meta, &prefix));
            }
        }
        None => {
            let mut listed = source.store().list(Some(&prefix));
            while let Some(meta) = listed.try_next().await.context(describe)? {
                listing.add(meta, &prefix);
            }
        }
    }
    if listing.objects.is_empty() && listing.skipped.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("there is nothing under {}", source.url())));
    }
    listing.objects.sort();
    // A folder's marker has the key of an object beside it, but for a slash that the store's client drops.
    listing.objects.dedup_by(|other, kept| {
        other.key == kept.key && {
            if kept.size_bytes == 0 {
                std::mem::swap(other, kept);
            }
            true
        }
    });
    Ok(listing)
}

impl Listing {
    fn add(&mut self, meta: ObjectMeta, prefix: &Path) {
        let Some(parts) = meta.location.prefix_match(prefix) else { return };
        let key = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
        if key.is_empty() || key.split('/').any(|name| name.starts_with('.')) {
            return;
        }
        let etag = meta.e_tag.unwrap_or_else(|| meta.last_modified.to_rfc3339());
        self.objects.push(RawObject { key, etag, size_bytes: meta.size });
    }
}

/// How many keys are asked for at once.
const PAGE_KEYS: usize = 1000;

/// The pages of a listing, without the keys that the store's client cannot express (`a//b`, `a/../b`).
///
/// The client refuses a whole page for one such key. Then smaller pages are asked for until the key stands alone, and the
/// listing goes on behind it.
struct Pages<'a> {
    store: &'a dyn PaginatedListStore,
    prefix: String,
    from: From,
    max_keys: usize,
}

/// Where the next page begins.
enum From {
    Start,
    /// Behind a key, as the store spells it.
    Behind(String),
    /// Where the last page ended.
    Token(String),
    End,
}

impl Pages<'_> {
    /// The next page; `None` behind the last. Keys passed over are noted in `listing`.
    async fn next(&mut self, listing: &mut Listing) -> object_store::Result<Option<Vec<ObjectMeta>>> {
        loop {
            let mut options = PaginatedListOptions { max_keys: Some(self.max_keys), ..PaginatedListOptions::default() };
            match &self.from {
                From::Start => {}
                From::Behind(key) => options.offset = Some(key.clone()),
                From::Token(token) => options.page_token = Some(token.clone()),
                From::End => return Ok(None),
            }
            match self.store.list_paginated(Some(&self.prefix), options).await {
                Ok(page) => {
                    self.from = page.page_token.map_or(From::End, From::Token);
                    self.max_keys = (self.max_keys * 2).min(PAGE_KEYS);
                    return Ok(Some(page.result.objects));
                }
                Err(error) => match inexpressible(&error) {
                    Some(_) if self.max_keys > 1 => self.max_keys /= 2,
                    Some(key) => {
                        let below = key.strip_prefix(&self.prefix).unwrap_or(&key).to_owned();
                        listing.skipped.push((below, "the key has an empty or relative segment".to_owned()));
                        self.from = From::Behind(key);
                        self.max_keys = PAGE_KEYS;
                    }
                    None => return Err(error),
                },
            }
        }
    }
}

/// The key that the client could not express, when that is what is wrong.
fn inexpressible(error: &object_store::Error) -> Option<String> {
    use object_store::path::Error as PathError;
    match error {
        object_store::Error::InvalidPath {
            source: PathError::EmptySegment { path } | PathError::BadSegment { path, .. },
        } => Some(path.clone()),
        _ => None,
    }
}
