//! What the ledger says of the objects of a listing: one pass over both, neither of which is held.

use std::cmp::Ordering;

use super::merged::Merged;
use super::segment::Columns;
use super::{Head, Segment};
use crate::error::Result;
use crate::lake::hidden::Hidden;
use crate::raw::ObjectRef;

/// What the ledger says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was not consumed.
    New,
    /// It was consumed while it was empty, as a file is that is just being written: there is nothing of it yet.
    Filled,
    /// It was consumed as it is.
    Consumed,
    /// It was consumed as it was before, and has changed since.
    Overwritten,
}

/// A ledger that is compared with a listing.
#[derive(Debug)]
pub struct Diff<'a> {
    hidden: &'a Hidden,
    segments: &'a [Segment],
    /// Entries from the last object's key on.
    entries: Merged,
    /// The last object's key.
    last: Option<String>,
}

impl<'a> Diff<'a> {
    /// Begins a comparison; without a head nothing was consumed.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub async fn open(hidden: &'a Hidden, head: Option<&'a Head>) -> Result<Self> {
        let segments = head.map_or(&[][..], |head| &head.segments);
        let entries = Merged::with_columns(hidden, segments, Columns::Identity).await?;
        Ok(Self { hidden, segments, entries, last: None })
    }

    /// Looks an object up. They come in the order of their keys; one that does not costs another pass.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub async fn look_up(&mut self, object: ObjectRef<'_>) -> Result<Found> {
        let last = self.last.get_or_insert_default();
        if !last.is_empty() && object.key <= last.as_str() {
            self.entries = Merged::with_columns(self.hidden, self.segments, Columns::Identity).await?;
        }
        last.clear();
        last.push_str(object.key);
        let mut found = Found::New;
        while let Some(entry) = self.entries.front() {
            match entry.key.cmp(object.key) {
                Ordering::Less => {}
                Ordering::Equal if entry == object => found = Found::Consumed,
                Ordering::Equal if found == Found::Consumed => {}
                Ordering::Equal if entry.size_bytes > 0 => found = Found::Overwritten,
                Ordering::Equal if found == Found::New => found = Found::Filled,
                Ordering::Equal => {}
                Ordering::Greater => break,
            }
            self.entries.advance().await.map_err(|(error, _)| error)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::tests::head;
    use super::super::{Entry, append};
    use super::*;
    use crate::raw::RawObject;
    use crate::store::Location;

    fn object(key: &str, etag: u8) -> RawObject {
        RawObject { key: key.to_owned(), etag: etag.to_string(), size_bytes: u64::from(etag / 2) }
    }

    fn entry(object: RawObject, slice: String) -> Entry {
        Entry { object, records_in: 1, rows_out: 1, quarantined: 0, slice }
    }

    /// A ledger after these runs.
    async fn ledger(hidden: &Hidden, runs: &[Vec<Entry>]) -> Option<Head> {
        let mut last: Option<Head> = None;
        for entries in runs {
            let id = Head::next_id(last.as_ref().map(|head| head.id), 0);
            last = Some(head(
                id,
                append(hidden, last.as_ref(), id, entries.iter().collect(), &BTreeSet::new()).await.unwrap(),
            ));
        }
        last
    }

    async fn compare(hidden: &Hidden, head: Option<&Head>, listing: &[RawObject]) -> Vec<Found> {
        let mut diff = Diff::open(hidden, head).await.unwrap();
        let mut found = Vec::new();
        for object in listing {
            found.push(diff.look_up(object.by_ref()).await.unwrap());
        }
        found
    }

    fn key() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec!["a", "B", "-", ".", "/", "é", "日"]);
        prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn a_comparison_tells_what_sets_tell(
            runs in prop::collection::vec(prop::collection::btree_set((key(), 0..4_u8), 0..8), 0..80),
            listing in prop::collection::btree_map(key(), 0..4_u8, 0..60),
            shuffled in any::<bool>(),
        ) {
            let of_run = |(run, objects): (usize, &BTreeSet<(String, u8)>)| {
                objects.iter().map(|(key, etag)| entry(object(key, *etag), format!("s{run}"))).collect()
            };
            let runs: Vec<Vec<Entry>> = runs.iter().enumerate().map(of_run).collect();
            let consumed: BTreeSet<&RawObject> = runs.iter().flatten().map(|entry| &entry.object).collect();
            let keys = |is_empty: bool| -> BTreeSet<&String> {
                let objects = consumed.iter().filter(|object| (object.size_bytes == 0) == is_empty);
                objects.map(|object| &object.key).collect()
            };
            let (empty, filled) = (keys(true), keys(false));
            let mut listing: Vec<RawObject> = listing.iter().map(|(key, etag)| object(key, *etag)).collect();
            if shuffled {
                listing.sort_by_key(|object| object.key.bytes().rev().collect::<Vec<_>>());
            }
            let expected = listing.iter().map(|object| match consumed.contains(object) {
                true => Found::Consumed,
                false if filled.contains(&object.key) => Found::Overwritten,
                false if empty.contains(&object.key) => Found::Filled,
                false => Found::New,
            });
            let expected: Vec<Found> = expected.collect();
            // Of several entries for an object, the newest.
            let newest: BTreeMap<&RawObject, &Entry> = runs.iter().flatten().map(|entry| (&entry.object, entry)).collect();
            let newest: Vec<Entry> = newest.into_values().cloned().collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (found, entries) = runtime.block_on(async {
                let hidden = Hidden::new(&Location::parse("memory:///ledger").unwrap());
                let head = ledger(&hidden, &runs).await;
                let mut merged = Merged::open(&hidden, head.as_ref().map_or(&[], |head| &head.segments)).await.unwrap();
                let mut entries = Vec::new();
                while let Some(entry) = merged.next().await.unwrap() {
                    entries.push(entry);
                }
                (compare(&hidden, head.as_ref(), &listing).await, entries)
            });
            prop_assert_eq!(found, expected);
            prop_assert_eq!(entries, newest);
        }
    }

    #[tokio::test]
    async fn a_comparison_goes_through_all_row_groups_of_all_segments() {
        let hidden = Hidden::new(&Location::parse("memory:///ledger").unwrap());
        let objects: Vec<RawObject> = (0..150_000).map(|n| object(&format!("{n:06}"), 1)).collect();
        let of = |remainder: usize| {
            let some = objects.iter().enumerate().filter(|(n, _)| n % 3 == remainder);
            some.map(|(_, object)| entry(object.clone(), String::new())).collect::<Vec<_>>()
        };
        let head = ledger(&hidden, &[of(0), of(1)]).await;
        let found = compare(&hidden, head.as_ref(), &objects).await;
        assert!(found.iter().enumerate().all(|(n, found)| (n % 3 == 2) == (*found == Found::New)));
    }
}
