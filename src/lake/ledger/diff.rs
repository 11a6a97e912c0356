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
                Ordering::Equal if found == Found::New => found = Found::Overwritten,
                Ordering::Equal => {}
                Ordering::Greater => break,
            }
            self.entries.advance().await.map_err(|(error, _)| error)?;
        }
        Ok(found)
    }
}
