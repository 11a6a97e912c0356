//! The entries of several segments in one order. Of each segment one row group is held, whatever the number of entries.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::segment::{BATCH_ROWS, Columns, Rows, SegmentReader};
use super::{Entry, Segment};
use crate::error::{Error, Result};
use crate::lake::hidden::Hidden;
use crate::raw::ObjectRef;

/// Segments that are opened at once.
const OPENED_AT_ONCE: usize = 8;

/// The entries of segments of one head, sorted by key.
#[derive(Debug, Default)]
pub struct Merged {
    /// The segments with their levels.
    readers: Vec<(u32, SegmentReader)>,
    /// The next entry of each, the smallest first.
    fronts: BinaryHeap<Front>,
}

/// Rows of a segment, of which those before `row` were taken.
#[derive(Debug)]
struct Front {
    rows: Box<Rows>,
    row: usize,
    level: u32,
    /// The number of the segment.
    index: usize,
}

impl Front {
    fn object(&self) -> ObjectRef<'_> {
        self.rows.object(self.row)
    }
}

/// The greatest is the next. Entries for one object come newest first: a lower level is newer, and then what was opened later.
impl Ord for Front {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_object = || other.object().cmp(&self.object());
        by_object().then_with(|| (other.level, Reverse(other.index)).cmp(&(self.level, Reverse(self.index))))
    }
}

impl PartialOrd for Front {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Front {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Front {}

impl Merged {
    /// Opens segments, which are in the order of their head.
    ///
    /// # Errors
    /// When one cannot be read.
    pub async fn open(hidden: &Hidden, segments: &[Segment]) -> Result<Self> {
        Self::with_columns(hidden, segments, Columns::All).await
    }

    pub(super) async fn with_columns(hidden: &Hidden, segments: &[Segment], columns: Columns) -> Result<Self> {
        let loads: Vec<_> = segments.iter().map(|segment| load(hidden, segment, columns)).collect();
        let mut loaded = stream::iter(loads).buffered(OPENED_AT_ONCE);
        let mut merged = Self::default();
        while let Some(loaded) = loaded.try_next().await? {
            merged.push(loaded);
        }
        Ok(merged)
    }

    /// Opens the next segment of the head, before any entry was taken.
    ///
    /// # Errors
    /// When it cannot be read; the others still can.
    pub async fn add(&mut self, hidden: &Hidden, segment: &Segment) -> Result<()> {
        self.push(load(hidden, segment, Columns::All).await?);
        Ok(())
    }

    fn push(&mut self, (level, reader, first): Loaded) {
        let index = self.readers.len();
        self.readers.push((level, reader));
        self.fronts.extend(first.map(|rows| Front { rows: Box::new(rows), row: 0, level, index }));
    }

    /// The object of the next entry.
    pub(super) fn front(&self) -> Option<ObjectRef<'_>> {
        self.fronts.peek().map(Front::object)
    }

    /// The next entry, one for each object: the newest.
    ///
    /// # Errors
    /// When a segment cannot be read or is damaged.
    pub async fn next(&mut self) -> Result<Option<Entry>> {
        let Some((entry, _)) = self.next_of().await.map_err(|(error, _)| error)? else { return Ok(None) };
        while self.front().is_some_and(|front| front == entry.object.by_ref()) {
            self.advance().await.map_err(|(error, _)| error)?;
        }
        Ok(Some(entry))
    }

    /// The next entry and the number of the segment it is of, in the order in which they were opened. Entries for one object
    /// follow one another, the newest first.
    ///
    /// # Errors
    /// When a segment cannot be read or is damaged, with its number.
    pub(in crate::lake) async fn next_of(&mut self) -> Result<Option<(Entry, usize)>, (Error, usize)> {
        let Some(front) = self.fronts.peek() else { return Ok(None) };
        let next = (front.rows.entry(front.row), front.index);
        self.advance().await?;
        Ok(Some(next))
    }

    /// Goes on to the next entry.
    ///
    /// # Errors
    /// When a segment cannot be read or is damaged, with its number.
    pub(super) async fn advance(&mut self) -> Result<(), (Error, usize)> {
        let Some(mut front) = self.fronts.peek_mut() else { return Ok(()) };
        if front.row + 1 < front.rows.len() {
            front.row += 1;
            return Ok(());
        }
        let Front { level, index, .. } = PeekMut::pop(front);
        let next = self.readers[index].1.next().await.map_err(|error| (error, index))?;
        self.fronts.extend(next.map(|rows| Front { rows: Box::new(rows), row: 0, level, index }));
        Ok(())
    }

    /// Some of the next entries; none: it was the end.
    pub(super) async fn chunk(&mut self) -> Result<Vec<Entry>> {
        let mut chunk = Vec::new();
        while chunk.len() < BATCH_ROWS {
            match self.next().await? {
                Some(entry) => chunk.push(entry),
                None => break,
            }
        }
        Ok(chunk)
    }
}

/// A segment's level, the segment and its first rows.
type Loaded = (u32, SegmentReader, Option<Rows>);

async fn load(hidden: &Hidden, segment: &Segment, columns: Columns) -> Result<Loaded> {
    let mut reader = SegmentReader::open(hidden, &segment.path, columns).await?;
    let first = reader.next().await?;
    Ok((segment.level, reader, first))
}
