//! Objects below a prefix of a store, in the order of their keys.
//!
//! Stores list in the order of the bytes of their keys, or say so. What comes out of order is held until the end: the markers
//! of folders, whose slash the store's client drops (`a/` becomes `a` behind `a-b`), and whatever a store lists that has no order.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _};

use super::{ObjectBatch, Part, RawObject};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::store::Location;

/// How many keys are asked for at once.
const PAGE_KEYS: usize = 1000;

/// Lists the objects of a source.
pub(super) fn list(source: &Location) -> Result<BoxStream<'static, Result<Part>>> {
    let prefix = source.prefix()?;
    let pages = match source.pages() {
        Some(store) => {
            let store = Arc::clone(store);
            Pages::Asked(Asked { store, prefix: format!("{prefix}/"), from: From::Start, max_keys: PAGE_KEYS })
        }
        None => Pages::Listed(source.store().list(Some(&prefix))),
    };
    let walk = Walk { source: source.clone(), prefix, pages, order: Order::default(), is_empty: true };
    let parts = stream::try_unfold(Some(walk), |walk| async move {
        let Some(mut walk) = walk else { return Ok(None) };
        match walk.next().await? {
            Some(part) => Ok(Some((part, Some(walk)))),
            None => Ok(Some((walk.end()?, None))),
        }
    });
    Ok(parts.boxed())
}

/// Where a listing is.
struct Walk {
    source: Location,
    prefix: Path,
    pages: Pages,
    order: Order,
    /// Whether nothing was there so far.
    is_empty: bool,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Part>> {
        let mut part = Part::default();
        let page = self.pages.next(&mut part.skipped).await;
        let Some(page) = page.context(|| format!("cannot list {}", self.source.url()))? else { return Ok(None) };
        for meta in page {
            let Some(parts) = meta.location.prefix_match(&self.prefix) else { continue };
            let key = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            if key.is_empty() || key.split('/').any(|name| name.starts_with('.')) {
                continue;
            }
            let etag = meta.e_tag.unwrap_or_else(|| meta.last_modified.to_rfc3339());
            self.order.take(RawObject { key, etag, size_bytes: meta.size }, &mut part.objects);
        }
        self.is_empty &= part.objects.is_empty() && part.skipped.is_empty();
        Ok(Some(part))
    }

    /// What was held until now.
    fn end(self) -> Result<Part> {
        let mut part = Part::default();
        self.order.end(&mut part.objects);
        if self.is_empty && part.objects.is_empty() {
            let message = format!("there is nothing under {}", self.source.url());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        Ok(part)
    }
}

/// Tells what comes in the order of keys from what does not.
#[derive(Debug, Default)]
struct Order {
    /// The last key that came in order.
    last: String,
    /// The lengths of the keys that came in order and that the last one begins with, itself among them.
    prefixes: Vec<usize>,
    /// What came out of order.
    late: Vec<RawObject>,
}

impl Order {
    /// Adds an object to `objects`, or holds it back.
    fn take(&mut self, object: RawObject, objects: &mut ObjectBatch) {
        let is_first = self.prefixes.is_empty();
        if is_first || object.key > self.last {
            let same = self.last.bytes().zip(object.key.bytes()).take_while(|(last, next)| last == next).count();
            while self.prefixes.pop_if(|length| *length > same).is_some() {}
            self.prefixes.push(object.key.len());
            push(objects, &object);
            self.last = object.key;
        } else if object.size_bytes > 0 || !self.came(&object.key) {
            self.late.push(object);
        }
    }

    /// Whether there was an object `key` whose folder's marker may come now: all keys since then begin with it.
    fn came(&self, key: &str) -> bool {
        self.last.starts_with(key) && self.prefixes.contains(&key.len())
    }

    fn end(mut self, objects: &mut ObjectBatch) {
        self.late.sort();
        // A folder's marker has the key of an object beside it. Of the two, the object is the one that is not empty.
        self.late.dedup_by(|other, kept| {
            other.key == kept.key && {
                if kept.size_bytes == 0 {
                    std::mem::swap(other, kept);
                }
                true
            }
        });
        self.late.iter().for_each(|object| push(objects, object));
    }
}

fn push(objects: &mut ObjectBatch, object: &RawObject) {
    objects.push(&object.key, format_args!("{}", object.etag), object.size_bytes);
}

/// The pages of a listing.
enum Pages {
    Asked(Asked),
    Listed(BoxStream<'static, object_store::Result<ObjectMeta>>),
}

impl Pages {
    /// The next page; `None` behind the last. Keys passed over are noted in `skipped`.
    async fn next(&mut self, skipped: &mut Vec<(String, String)>) -> object_store::Result<Option<Vec<ObjectMeta>>> {
        match self {
            Self::Asked(pages) => pages.next(skipped).await,
            Self::Listed(listed) => {
                let page: Vec<ObjectMeta> = listed.take(PAGE_KEYS).try_collect().await?;
                Ok((!page.is_empty()).then_some(page))
            }
        }
    }
}

/// The pages of a listing, without the keys that the store's client cannot express (`a//b`, `a/../b`).
///
/// The client refuses a whole page for one such key. Then smaller pages are asked for until the key stands alone, and the
/// listing goes on behind it.
struct Asked {
    store: Arc<dyn PaginatedListStore>,
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

impl Asked {
    async fn next(&mut self, skipped: &mut Vec<(String, String)>) -> object_store::Result<Option<Vec<ObjectMeta>>> {
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
                        skipped.push((below, "the key has an empty or relative segment".to_owned()));
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use std::collections::BTreeSet;

    use object_store::local::LocalFileSystem;
    use proptest::prelude::*;
    use url::Url;

    use super::super::list_objects;
    use super::*;

    fn object(key: &str, size_bytes: u64) -> RawObject {
        RawObject { key: key.to_owned(), etag: "e".to_owned(), size_bytes }
    }

    /// What comes of objects: those in order, then those behind them.
    fn ordered(objects: &[RawObject]) -> (Vec<RawObject>, Vec<RawObject>) {
        let (mut order, mut now, mut behind) = (Order::default(), ObjectBatch::default(), ObjectBatch::default());
        objects.iter().for_each(|object| order.take(object.clone(), &mut now));
        order.end(&mut behind);
        let owned = |batch: &ObjectBatch| batch.iter().map(RawObject::from).collect();
        (owned(&now), owned(&behind))
    }

    #[test]
    fn the_marker_of_a_folder_counts_where_there_is_no_object_of_its_name() {
        let with_object = [object("a", 1), object("a-b", 1), object("a.c", 1), object("a", 0), object("a/x", 1)];
        let (now, behind) = ordered(&with_object);
        let keys: Vec<&str> = now.iter().map(|object| object.key.as_str()).collect();
        assert_eq!((keys.as_slice(), behind.len()), (&["a", "a-b", "a.c", "a/x"][..], 0));
        let (now, behind) = ordered(&with_object[1..]);
        assert_eq!((now.len(), behind), (3, vec![object("a", 0)]));
        let (now, behind) = ordered(&[object("a", 1), object("a", 0), object("a/x", 1)]);
        assert_eq!((now, behind.len()), (vec![object("a", 1), object("a/x", 1)], 0));
        // Deeper, and behind a key that is no part of it.
        let (now, behind) =
            ordered(&[object("a", 1), object("a-", 1), object("a-b", 1), object("a-", 0), object("a", 0)]);
        assert_eq!((now.len(), behind.len()), (3, 0));
        let (now, behind) = ordered(&[object("a", 1), object("b", 1), object("a", 0)]);
        assert_eq!((now.len(), behind), (2, vec![object("a", 0)]));
    }

    proptest! {
        #[test]
        fn objects_in_any_order_come_in_two_that_are_sorted(keys in Just((0..40_u32).collect::<Vec<_>>()).prop_shuffle()) {
            let objects: Vec<RawObject> = keys.iter().map(|key| object(&format!("{key:02}"), 1)).collect();
            let (now, behind) = ordered(&objects);
            prop_assert!(now.is_sorted() && behind.is_sorted());
            let all: BTreeSet<RawObject> = now.iter().chain(&behind).cloned().collect();
            prop_assert_eq!((all.len(), now.len() + behind.len()), (40, 40));
        }
    }

    #[tokio::test]
    async fn a_store_that_lists_in_any_order_is_listed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let names: BTreeSet<String> = (0..2_500).map(|n| format!("{}.json", n * 7919 % 10_007)).collect();
        names.iter().for_each(|name| std::fs::write(folder.path().join(name), "{}").unwrap());
        let url = Url::from_directory_path(folder.path()).unwrap();
        let source = Location::with_store(url, Arc::new(LocalFileSystem::new()));
        let found = list_objects(&source).unwrap().find(|_| true).await.unwrap();
        assert_eq!(found.len(), names.len());
        assert_eq!(found.into_iter().map(|object| object.key).collect::<BTreeSet<_>>(), names);
    }

    #[tokio::test]
    async fn a_source_without_anything_is_not_found() {
        let source = Location::parse("memory:///raw/s").unwrap();
        let error = list_objects(&source).unwrap().next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
