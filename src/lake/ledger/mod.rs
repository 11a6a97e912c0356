//! The ledger: which raw objects a table consumed, with counts.
//!
//! ```text
//! table version --txn--> head <id>.json --parent--> head ... (like commits)
//!                          |-- segments: Parquet, each sorted by key, merged in levels like an LSM tree
//!                          |-- registry: what was observed, the columns
//!                          '-- quarantine files
//! ```
//!
//! A head and its new segments are written before the commit that names them, and count only if that commit exists.
//!
//! The entry of an object can be replaced: of several for one object (key, ETag and size), that of the newest segment counts.
//! A lower level is newer than a higher one, as a merge takes all segments of a level; within a level, what is later in the
//! head's list is newer.

mod diff;
mod merged;
mod segment;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::hidden::Hidden;
use crate::error::Result;
use crate::raw::RawObject;
use segment::{BATCH_ROWS, SegmentWriter};

pub use diff::{Diff, Found};
pub use merged::Merged;

/// So many segments of one level become one of the next.
const FAN_IN: usize = 8;

/// A consumed raw object and what became of its records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// The object.
    pub object: RawObject,
    /// Records found.
    pub records_in: u64,
    /// Rows in the table.
    pub rows_out: u64,
    /// Records (or objects) in quarantine.
    pub quarantined: u64,
    /// The attempt at a slice that wrote the rows: its id begins the names of their data files. Empty when not recorded;
    /// several, with [`SLICE_SEPARATOR`] between them, when rejects of the object became rows later.
    pub slice: String,
}

/// Stands between the slices that the rows of one object came from.
pub const SLICE_SEPARATOR: char = '+';

impl Entry {
    /// Whether it was made from an older entry for the same object: it names the slices of that one, and more.
    pub fn replaces(&self, older: &Self) -> bool {
        let more = self.slice.strip_prefix(older.slice.as_str());
        self.object == older.object && more.is_some_and(|more| more.starts_with(SLICE_SEPARATOR))
    }
}

/// A file of entries, sorted by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The path below the table's folder.
    pub path: String,
    /// 0 for one run's entries; one more for each merge.
    pub level: u32,
    /// Entries.
    pub entries: u64,
}

/// Sums over all consumed objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Raw objects.
    pub objects: u64,
    /// Records found.
    pub records_in: u64,
    /// Rows in the table.
    pub rows_out: u64,
    /// Records (or objects) in quarantine.
    pub quarantined: u64,
    /// Rows among `rows_out` that were taken out of the table again, as later ones had the same key.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deduplicated: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Totals {
    /// Adds one object.
    pub fn add(&mut self, entry: &Entry) {
        self.objects += 1;
        self.records_in += entry.records_in;
        self.rows_out += entry.rows_out;
        self.quarantined += entry.quarantined;
    }

    /// Takes one object out.
    pub fn subtract(&mut self, entry: &Entry) {
        self.objects -= 1;
        self.records_in -= entry.records_in;
        self.rows_out -= entry.rows_out;
        self.quarantined -= entry.quarantined;
    }
}

/// What the ledger of one table version consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Its id, larger than its parent's.
    pub id: i64,
    /// The head it follows.
    pub parent: Option<i64>,
    /// The run that wrote it.
    pub run_id: String,
    /// When, RFC 3339.
    pub written_at: String,
    /// All segments.
    pub segments: Vec<Segment>,
    /// The registry's path below the table's folder.
    pub registry: String,
    /// All quarantine files' paths below the table's folder.
    pub quarantine: Vec<String>,
    /// Quarantine files of the parent that are not among them: their rejects became rows or lie in other files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<String>,
    /// Sums over the entries of the parent's segments that are not among these: their raw objects changed, and what they hold
    /// now took the place of their rows and rejects. `deduplicated`: those of their rows that were taken out before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_out: Option<Totals>,
    /// Sums over all segments.
    pub totals: Totals,
}

impl Head {
    /// An id for the head that follows `parent`: a number one higher, then 24 bits that tell writers of the same number
    /// apart.
    pub fn next_id(parent: Option<i64>, random_bits: u64) -> i64 {
        let number = parent.map_or(0, |id| id >> 24) + 1;
        number << 24 | (random_bits & 0xff_ffff) as i64
    }
}

/// The entries of `objects`, those that there are.
///
/// # Errors
/// When a segment cannot be read.
pub async fn find_entries(
    hidden: &Hidden,
    head: &Head,
    objects: &BTreeSet<&RawObject>,
) -> Result<BTreeMap<RawObject, Entry>> {
    let mut found = BTreeMap::new();
    let mut entries = Merged::open(hidden, &head.segments).await?;
    for object in objects {
        while entries.front().is_some_and(|front| front < object.by_ref()) {
            entries.advance().await.map_err(|(error, _)| error)?;
        }
        if entries.front().is_some_and(|front| front == object.by_ref())
            && let Some(entry) = entries.next().await?
        {
            found.insert((*object).clone(), entry);
        }
    }
    Ok(found)
}

/// The entries of all versions of the objects under `keys`, those that there are, by key.
///
/// # Errors
/// When a segment cannot be read.
pub async fn entries_of_keys(
    hidden: &Hidden,
    head: &Head,
    keys: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<Entry>>> {
    let mut found: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    let mut entries = Merged::open(hidden, &head.segments).await?;
    for key in keys {
        while entries.front().is_some_and(|front| front.key < key.as_str()) {
            entries.advance().await.map_err(|(error, _)| error)?;
        }
        while entries.front().is_some_and(|front| front.key == key)
            && let Some(entry) = entries.next().await?
        {
            found.entry(key.clone()).or_default().push(entry);
        }
    }
    Ok(found)
}

/// The segments without the entries of the objects `gone`: those that have some are written again under the head `id`, from
/// number `written` on.
async fn without(
    hidden: &Hidden,
    segments: Vec<Segment>,
    gone: &BTreeSet<&RawObject>,
    id: i64,
    written: &mut usize,
) -> Result<Vec<Segment>> {
    let mut kept = Vec::new();
    for segment in segments {
        let of_one = std::slice::from_ref(&segment);
        let mut entries = Merged::open(hidden, of_one).await?;
        let mut writer = SegmentWriter::new()?;
        loop {
            let mut chunk = entries.chunk().await?;
            if chunk.is_empty() {
                break;
            }
            chunk.retain(|entry| !gone.contains(&entry.object));
            writer.write(&chunk)?;
        }
        match writer.entries {
            all if all == segment.entries => kept.push(segment),
            0 => {}
            entries => {
                let path = Hidden::segment_path(id, *written);
                hidden.create(&path, writer.finish()?).await?;
                *written += 1;
                kept.push(Segment { path, level: segment.level, entries });
            }
        }
    }
    Ok(kept)
}

/// Writes the entries of one run (sorted by key here, one for each object) as a segment, merges levels that are full, and
/// gives the segments of the next head, in which there are no entries of the objects `gone`.
///
/// # Errors
/// When a segment cannot be read or written.
pub async fn append(
    hidden: &Hidden,
    head: Option<&Head>,
    id: i64,
    mut entries: Vec<&Entry>,
    gone: &BTreeSet<&RawObject>,
) -> Result<Vec<Segment>> {
    let mut segments = head.map_or_else(Vec::new, |head| head.segments.clone());
    let mut written = 0;
    if !gone.is_empty() {
        segments = without(hidden, segments, gone, id, &mut written).await?;
    }
    if entries.is_empty() {
        return Ok(segments);
    }
    entries.sort();
    let path = Hidden::segment_path(id, written);
    let mut writer = SegmentWriter::new()?;
    entries.chunks(BATCH_ROWS).try_for_each(|entries| writer.write(entries))?;
    hidden.create(&path, writer.finish()?).await?;
    written += 1;
    segments.push(Segment { path, level: 0, entries: entries.len() as u64 });
    for level in 0.. {
        let (full, mut rest): (Vec<_>, Vec<_>) = segments.into_iter().partition(|segment| segment.level == level);
        if full.len() < FAN_IN {
            rest.extend(full);
            segments = rest;
            if segments.iter().all(|segment| segment.level <= level) {
                break;
            }
            continue;
        }
        let path = Hidden::segment_path(id, written);
        let mut merged = Merged::open(hidden, &full).await?;
        let mut writer = SegmentWriter::new()?;
        loop {
            let entries = merged.chunk().await?;
            if entries.is_empty() {
                break;
            }
            writer.write(&entries)?;
        }
        let count = writer.entries;
        hidden.create(&path, writer.finish()?).await?;
        written += 1;
        rest.push(Segment { path, level: level + 1, entries: count });
        segments = rest;
    }
    Ok(segments)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
pub(super) mod tests {
    use super::*;
    use crate::store::Location;

    fn counted(key: usize, quarantined: u64) -> Entry {
        let object = RawObject { key: format!("{key:04}"), etag: "e".to_owned(), size_bytes: 1 };
        Entry { object, records_in: 10, rows_out: 10 - quarantined, quarantined, slice: format!("s{quarantined}") }
    }

    pub(crate) fn head(id: i64, segments: Vec<Segment>) -> Head {
        Head {
            id,
            parent: None,
            run_id: String::new(),
            written_at: String::new(),
            segments,
            registry: String::new(),
            quarantine: Vec::new(),
            replaced: Vec::new(),
            taken_out: None,
            totals: Totals::default(),
        }
    }

    #[tokio::test]
    async fn of_several_entries_for_an_object_the_newest_counts_through_all_merges() {
        let hidden = Hidden::new(&Location::parse("memory:///ledger").unwrap());
        let mut last: Option<Head> = None;
        let mut expected: BTreeMap<usize, u64> = BTreeMap::new();
        for run in 0..200_usize {
            // Each run adds an object and replaces two older ones, near and far.
            let mut replaced: BTreeMap<usize, u64> = BTreeMap::from([(run, 10)]);
            for older in [run / 2, run.saturating_sub(3)] {
                let left = expected.get(&older).map_or(10, |left| left.saturating_sub(1));
                replaced.insert(older, left);
            }
            let entries: Vec<Entry> = replaced.iter().map(|(key, left)| counted(*key, *left)).collect();
            expected.extend(replaced);
            let id = Head::next_id(last.as_ref().map(|head| head.id), 0);
            let next =
                head(id, append(&hidden, last.as_ref(), id, entries.iter().collect(), &BTreeSet::new()).await.unwrap());
            let mut merged = Merged::open(&hidden, &next.segments).await.unwrap();
            let mut found = Vec::new();
            while let Some(entry) = merged.next().await.unwrap() {
                found.push(entry);
            }
            assert_eq!(found, expected.iter().map(|(key, left)| counted(*key, *left)).collect::<Vec<_>>(), "run {run}");
            last = Some(next);
        }
        let last = last.unwrap();
        assert!(last.segments.iter().any(|segment| segment.level == 2), "{:?}", last.segments);
        let wanted = [counted(7, 0).object, counted(9999, 0).object];
        let found = find_entries(&hidden, &last, &wanted.iter().collect()).await.unwrap();
        assert_eq!(found.into_values().collect::<Vec<_>>(), [counted(7, expected[&7])]);
    }

    #[tokio::test]
    async fn another_object_of_the_same_key_has_an_entry_of_its_own() {
        let hidden = Hidden::new(&Location::parse("memory:///ledger").unwrap());
        let other = Entry { object: RawObject { etag: "f".to_owned(), ..counted(1, 0).object }, ..counted(1, 0) };
        let segments = append(&hidden, None, 1, vec![&counted(1, 4), &other], &BTreeSet::new()).await.unwrap();
        let segments =
            append(&hidden, Some(&head(1, segments)), 2, vec![&counted(1, 3)], &BTreeSet::new()).await.unwrap();
        let mut merged = Merged::open(&hidden, &segments).await.unwrap();
        assert_eq!(
            [merged.next().await.unwrap().unwrap(), merged.next().await.unwrap().unwrap()],
            [counted(1, 3), other]
        );
        assert_eq!(merged.next().await.unwrap(), None);
    }
}
