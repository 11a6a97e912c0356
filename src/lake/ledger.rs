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

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde::{Deserialize, Serialize};

use super::hidden::Hidden;
use super::ranges::lies_within;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::raw::RawObject;
use crate::write::hidden_file_properties;

/// So many segments of one level become one of the next.
const FAN_IN: usize = 8;
/// Entries that are read or written at once.
const BATCH_ROWS: usize = 8192;
/// The last column of a segment, which older ones lack.
const SLICE: &str = "slice";

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

/// What the ledger says of a listing.
#[derive(Debug, Default)]
pub struct Diff {
    /// Objects that were not consumed, sorted by key.
    pub new: Vec<RawObject>,
    /// Objects that were consumed as they were before and have changed since.
    pub overwritten: Vec<RawObject>,
    /// Objects that were consumed as they are.
    pub known: u64,
}

/// Compares a listing, sorted by key, with a ledger: one merging pass over both.
///
/// # Errors
/// When a segment cannot be read.
pub async fn diff(hidden: &Hidden, head: Option<&Head>, listing: Vec<RawObject>) -> Result<Diff> {
    let mut diff = Diff::default();
    let segments = head.map_or(&[][..], |head| &head.segments);
    let mut entries = Merged::open(hidden, segments).await?;
    let mut entry = entries.next()?;
    for object in listing {
        while entry.as_ref().is_some_and(|entry| entry.object.key < object.key) {
            entry = entries.next()?;
        }
        let mut consumed = None;
        while let Some(candidate) = entry.as_ref().filter(|entry| entry.object.key == object.key) {
            consumed = Some(consumed.unwrap_or(false) || candidate.object == object);
            entry = entries.next()?;
        }
        match consumed {
            None => diff.new.push(object),
            Some(true) => diff.known += 1,
            Some(false) => diff.overwritten.push(object),
        }
    }
    Ok(diff)
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
    while let Some(entry) = entries.next()? {
        if objects.contains(&entry.object) {
            found.insert(entry.object.clone(), entry);
        }
    }
    Ok(found)
}

/// Writes the entries of one run (sorted by key here, one for each object) as a segment, merges levels that are full, and
/// gives the segments of the next head.
///
/// # Errors
/// When a segment cannot be read or written.
pub async fn append(hidden: &Hidden, head: Option<&Head>, id: i64, mut entries: Vec<Entry>) -> Result<Vec<Segment>> {
    let mut segments = head.map_or_else(Vec::new, |head| head.segments.clone());
    let mut written = 0;
    if entries.is_empty() {
        return Ok(segments);
    }
    entries.sort();
    let path = Hidden::segment_path(id, 0);
    hidden.create(&path, encode(entries.chunks(BATCH_ROWS).map(<[Entry]>::to_vec))?).await?;
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
        let (mut failure, mut count) = (None, 0);
        let chunks = std::iter::from_fn(|| match merged.chunk() {
            Ok(chunk) => {
                count += chunk.len() as u64;
                (!chunk.is_empty()).then_some(chunk)
            }
            Err(error) => {
                failure = Some(error);
                None
            }
        });
        let bytes = encode(chunks)?;
        if let Some(error) = failure {
            return Err(error);
        }
        hidden.create(&path, bytes).await?;
        written += 1;
        rest.push(Segment { path, level: level + 1, entries: count });
        segments = rest;
    }
    Ok(segments)
}

fn schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("etag", DataType::Utf8, false),
        number("size_bytes"),
        number("records_in"),
        number("rows_out"),
        number("quarantined"),
        Field::new(SLICE, DataType::Utf8, false),
    ]))
}

/// Whether a segment has the columns of this version, or of the one before it, which knew no slices.
fn is_segment(found: &Schema) -> bool {
    let columns = |schema: &Schema| -> Vec<_> {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    let (found, wanted) = (columns(found), columns(&schema()));
    found == wanted || found == wanted[..wanted.len() - 1]
}

fn encode(chunks: impl Iterator<Item = Vec<Entry>>) -> Result<Bytes> {
    let describe = || "cannot write a ledger segment".to_owned();
    let mut out = Vec::new();
    let properties = hidden_file_properties().context(describe)?;
    let mut writer = ArrowWriter::try_new(&mut out, schema(), Some(properties)).context(describe)?;
    for entries in chunks {
        let text =
            |get: fn(&Entry) -> &str| Arc::new(StringArray::from_iter_values(entries.iter().map(get))) as ArrayRef;
        let number = |get: fn(&Entry) -> u64| {
            Arc::new(Int64Array::from_iter_values(entries.iter().map(|entry| get(entry) as i64))) as ArrayRef
        };
        let columns = vec![
            text(|entry| &entry.object.key),
            text(|entry| &entry.object.etag),
            number(|entry| entry.object.size_bytes),
            number(|entry| entry.records_in),
            number(|entry| entry.rows_out),
            number(|entry| entry.quarantined),
            text(|entry| &entry.slice),
        ];
        writer.write(&RecordBatch::try_new(schema(), columns).context(describe)?).context(describe)?;
    }
    writer.close().context(describe)?;
    Ok(out.into())
}

/// The next entry of a segment. In the order of these, entries for one object come newest first: a lower level is newer, and
/// then what was opened later.
type Next = (RawObject, (u32, Reverse<usize>), [u64; 3], String);

/// The entries of segments of one head, sorted by key.
#[derive(Debug, Default)]
pub struct Merged {
    /// The segments with their levels.
    cursors: Vec<(u32, Cursor)>,
    heap: BinaryHeap<Reverse<Next>>,
}

impl Merged {
    /// Opens segments, which are in the order of their head.
    ///
    /// # Errors
    /// When one cannot be read.
    pub async fn open(hidden: &Hidden, segments: &[Segment]) -> Result<Self> {
        let mut merged = Self::default();
        for segment in segments {
            merged.add(hidden, segment).await?;
        }
        Ok(merged)
    }

    /// Opens the next segment of the head, before any entry was taken.
    ///
    /// # Errors
    /// When it cannot be read; the others still can.
    pub async fn add(&mut self, hidden: &Hidden, segment: &Segment) -> Result<()> {
        let cursor = Cursor::open(&segment.path, hidden.read(&segment.path).await?)?;
        self.cursors.push((segment.level, cursor));
        let first = self.advance(self.cursors.len() - 1);
        if first.is_err() {
            self.cursors.pop();
        }
        first
    }

    /// The next entry, one for each object: the newest.
    ///
    /// # Errors
    /// When a segment is damaged.
    #[expect(clippy::should_implement_trait, reason = "fallible; an Iterator of Results would be no shorter to use")]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let Some((entry, _)) = self.next_of().map_err(|(error, _)| error)? else { return Ok(None) };
        while self.heap.peek().is_some_and(|Reverse((object, ..))| *object == entry.object) {
            self.next_of().map_err(|(error, _)| error)?;
        }
        Ok(Some(entry))
    }

    /// The next entry and the number of the segment it is of, in the order in which they were opened. Entries for one object
    /// follow one another, the newest first.
    ///
    /// # Errors
    /// When a segment is damaged, with its number.
    pub(super) fn next_of(&mut self) -> Result<Option<(Entry, usize)>, (Error, usize)> {
        let Some(Reverse((object, (_, Reverse(index)), counts, slice))) = self.heap.pop() else { return Ok(None) };
        self.advance(index).map_err(|error| (error, index))?;
        let [records_in, rows_out, quarantined] = counts;
        Ok(Some((Entry { object, records_in, rows_out, quarantined, slice }, index)))
    }

    fn advance(&mut self, index: usize) -> Result<()> {
        let (level, cursor) = &mut self.cursors[index];
        if let Some(Entry { object, records_in, rows_out, quarantined, slice }) = cursor.next()? {
            let age = (*level, Reverse(index));
            self.heap.push(Reverse((object, age, [records_in, rows_out, quarantined], slice)));
        }
        Ok(())
    }

    fn chunk(&mut self) -> Result<Vec<Entry>> {
        let mut chunk = Vec::new();
        while chunk.len() < BATCH_ROWS {
            match self.next()? {
                Some(entry) => chunk.push(entry),
                None => break,
            }
        }
        Ok(chunk)
    }
}

/// The entries of one segment.
struct Cursor {
    path: String,
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    row: usize,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cursor({})", self.path)
    }
}

impl Cursor {
    fn open(path: &str, bytes: Bytes) -> Result<Self> {
        let describe = || format!("the ledger segment {path} is damaged");
        // The Parquet types say all; the Arrow schema beside them, when damaged, is not always told by an error.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let size_bytes = bytes.len() as u64;
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).context(describe)?;
        if !is_segment(builder.schema()) {
            return Err(Error::new(ErrorKind::Corrupt, format!("the ledger segment {path} has other columns")));
        }
        if !lies_within(builder.metadata(), size_bytes) {
            return Err(Error::new(ErrorKind::Corrupt, describe()));
        }
        let reader = builder.with_batch_size(BATCH_ROWS).build().context(describe)?;
        Ok(Self { path: path.to_owned(), reader, batch: None, row: 0 })
    }

    fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.row < batch.num_rows()) {
                let row = self.row;
                self.row += 1;
                let text = |column: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
                let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row) as u64;
                return Ok(Some(Entry {
                    object: RawObject { key: text(0), etag: text(1), size_bytes: number(2) },
                    records_in: number(3),
                    rows_out: number(4),
                    quarantined: number(5),
                    slice: if batch.num_columns() > 6 { text(6) } else { String::new() },
                }));
            }
            match self.reader.next() {
                None => return Ok(None),
                Some(batch) => {
                    let batch = batch.context(|| format!("the ledger segment {} is damaged", self.path))?;
                    (self.batch, self.row) = (Some(batch), 0);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use super::*;
    use crate::store::Location;

    fn entry(key: &str, slice: &str) -> Entry {
        let object = RawObject { key: key.to_owned(), etag: "e".to_owned(), size_bytes: 7 };
        Entry { object, records_in: 3, rows_out: 2, quarantined: 1, slice: slice.to_owned() }
    }

    fn entries(segment: Bytes) -> Result<Vec<Entry>> {
        let mut cursor = Cursor::open("a segment", segment)?;
        std::iter::from_fn(|| cursor.next().transpose()).collect()
    }

    /// A segment of one row with the first `columns` columns.
    fn segment(columns: usize) -> Bytes {
        let schema = Arc::new(schema().project(&(0..columns).collect::<Vec<_>>()).unwrap());
        let values: Vec<ArrayRef> = schema
            .fields()
            .iter()
            .map(|field| match field.data_type() {
                DataType::Int64 => Arc::new(Int64Array::from(vec![1])) as ArrayRef,
                _ => Arc::new(StringArray::from(vec!["x"])) as ArrayRef,
            })
            .collect();
        let mut out = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut out, Arc::clone(&schema), None).unwrap();
        writer.write(&RecordBatch::try_new(schema, values).unwrap()).unwrap();
        writer.close().unwrap();
        out.into()
    }

    #[test]
    fn entries_come_back_as_they_were_written() {
        let written = vec![entry("a", "s1"), entry("b", ""), entry("c", "s2")];
        assert_eq!(entries(encode([written.clone()].into_iter()).unwrap()).unwrap(), written);
    }

    #[test]
    fn a_segment_from_before_slices_were_recorded_has_none() {
        let found = entries(segment(schema().fields().len() - 1)).unwrap();
        assert_eq!(found.iter().map(|entry| entry.slice.as_str()).collect::<Vec<_>>(), [""]);
        assert_eq!(found[0].quarantined, 1);
    }

    #[test]
    fn a_segment_with_other_columns_is_refused() {
        let message = entries(segment(4)).unwrap_err().to_string();
        assert!(message.contains("a segment has other columns"), "{message}");
    }

    fn counted(key: usize, quarantined: u64) -> Entry {
        let object = RawObject { key: format!("{key:04}"), etag: "e".to_owned(), size_bytes: 1 };
        Entry { object, records_in: 10, rows_out: 10 - quarantined, quarantined, slice: format!("s{quarantined}") }
    }

    fn head(id: i64, segments: Vec<Segment>) -> Head {
        Head {
            id,
            parent: None,
            run_id: String::new(),
            written_at: String::new(),
            segments,
            registry: String::new(),
            quarantine: Vec::new(),
            replaced: Vec::new(),
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
            let entries = replaced.iter().map(|(key, left)| counted(*key, *left)).collect();
            expected.extend(replaced);
            let id = Head::next_id(last.as_ref().map(|head| head.id), 0);
            let next = head(id, append(&hidden, last.as_ref(), id, entries).await.unwrap());
            let mut merged = Merged::open(&hidden, &next.segments).await.unwrap();
            let mut found = Vec::new();
            while let Some(entry) = merged.next().unwrap() {
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
        let segments = append(&hidden, None, 1, vec![counted(1, 4), other.clone()]).await.unwrap();
        let segments = append(&hidden, Some(&head(1, segments)), 2, vec![counted(1, 3)]).await.unwrap();
        let mut merged = Merged::open(&hidden, &segments).await.unwrap();
        assert_eq!([merged.next().unwrap().unwrap(), merged.next().unwrap().unwrap()], [counted(1, 3), other]);
        assert_eq!(merged.next().unwrap(), None);
    }
}
