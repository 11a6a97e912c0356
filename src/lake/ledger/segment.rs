//! A segment: Parquet, sorted by key, written and read a few thousand entries at a time.

use std::borrow::Borrow;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use futures::TryStreamExt as _;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::ParquetRecordBatchStream;
use parquet::arrow::{ArrowWriter, ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;

use super::Entry;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::lake::hidden::Hidden;
use crate::lake::ranges::RangedFile;
use crate::raw::{ObjectRef, RawObject};
use crate::write::hidden_file_properties;

/// Entries that are decoded or written at once.
pub(super) const BATCH_ROWS: usize = 8192;
/// Entries of a row group: of each segment that is read, one is held as it is stored.
const ROW_GROUP_ROWS: usize = 4 * BATCH_ROWS;
/// The first columns: those that identify an object.
const IDENTITY: [usize; 3] = [0, 1, 2];
/// The last column of a segment, which older ones lack.
const SLICE: &str = "slice";

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

/// Makes a segment.
pub(super) struct SegmentWriter {
    writer: ArrowWriter<Vec<u8>>,
    /// Entries written.
    pub entries: u64,
}

fn cannot_write() -> String {
    "cannot write a ledger segment".to_owned()
}

impl SegmentWriter {
    pub(super) fn new() -> Result<Self> {
        let properties = hidden_file_properties().context(cannot_write)?.into_builder();
        let properties = properties
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            // No two are equal.
            .set_column_dictionary_enabled("key".into(), false)
            .set_column_dictionary_enabled("etag".into(), false);
        let writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties.build())).context(cannot_write)?;
        Ok(Self { writer, entries: 0 })
    }

    /// Adds entries, which come in order.
    pub(super) fn write(&mut self, entries: &[impl Borrow<Entry>]) -> Result<()> {
        let all = || entries.iter().map(Borrow::borrow);
        let text = |get: fn(&Entry) -> &str| Arc::new(StringArray::from_iter_values(all().map(get))) as ArrayRef;
        let number = |get: fn(&Entry) -> u64| {
            Arc::new(Int64Array::from_iter_values(all().map(|entry| get(entry) as i64))) as ArrayRef
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
        let batch = RecordBatch::try_new(schema(), columns).context(cannot_write)?;
        self.entries += entries.len() as u64;
        self.writer.write(&batch).context(cannot_write)
    }

    /// The segment's bytes.
    pub(super) fn finish(self) -> Result<Bytes> {
        self.writer.into_inner().context(cannot_write).map(Bytes::from)
    }
}

/// Which columns of segments are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// Those that identify the object.
    Identity,
    /// All.
    All,
}

/// Entries of a segment, as columns.
#[derive(Debug)]
pub(super) struct Rows {
    keys: StringArray,
    etags: StringArray,
    sizes: Int64Array,
    /// Records found, rows, and those in quarantine, when they were read.
    counts: Option<[Int64Array; 3]>,
    slices: Option<StringArray>,
}

impl Rows {
    fn of(batch: &RecordBatch) -> Self {
        let text = |column: usize| batch.column(column).as_string::<i32>().clone();
        let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().clone();
        let columns = batch.num_columns();
        Self {
            keys: text(0),
            etags: text(1),
            sizes: number(2),
            counts: (columns > 5).then(|| [number(3), number(4), number(5)]),
            slices: (columns > 6).then(|| text(6)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn object(&self, row: usize) -> ObjectRef<'_> {
        let size_bytes = self.sizes.value(row) as u64;
        ObjectRef { key: self.keys.value(row), etag: self.etags.value(row), size_bytes }
    }

    /// The entry, with zeros for what was not read.
    pub(super) fn entry(&self, row: usize) -> Entry {
        let counts = self.counts.as_ref().map(|counts| counts.each_ref().map(|count| count.value(row) as u64));
        let [records_in, rows_out, quarantined] = counts.unwrap_or_default();
        let slice = self.slices.as_ref().map_or("", |slices| slices.value(row)).to_owned();
        Entry { object: RawObject::from(self.object(row)), records_in, rows_out, quarantined, slice }
    }
}

/// Reads a segment from its begin to its end, one row group after another.
pub(super) struct SegmentReader {
    path: String,
    batches: ParquetRecordBatchStream<RangedFile>,
}

impl std::fmt::Debug for SegmentReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SegmentReader({})", self.path)
    }
}

/// What a failure to read a segment means.
fn unread(path: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(error) => Error::failed(format!("cannot read the ledger segment {path}"), error),
        error => Error::failed(format!("the ledger segment {path} is damaged"), error),
    }
}

impl SegmentReader {
    pub(super) async fn open(hidden: &Hidden, path: &str, columns: Columns) -> Result<Self> {
        let file = hidden.open(path).await?;
        // The Parquet types say all; the Arrow schema beside them, when damaged, is not always told by an error.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(file, options).await;
        let builder = builder.map_err(|error| unread(path, error))?;
        if !is_segment(builder.schema()) {
            return Err(Error::new(ErrorKind::Corrupt, format!("the ledger segment {path} has other columns")));
        }
        let mask = match columns {
            Columns::Identity => ProjectionMask::roots(builder.parquet_schema(), IDENTITY),
            Columns::All => ProjectionMask::all(),
        };
        let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        Ok(Self { path: path.to_owned(), batches: batches.map_err(|error| unread(path, error))? })
    }

    /// The next entries, at least one; `None` behind the last.
    pub(super) async fn next(&mut self) -> Result<Option<Rows>> {
        while let Some(batch) = self.batches.try_next().await.map_err(|error| unread(&self.path, error))? {
            if batch.num_rows() > 0 {
                return Ok(Some(Rows::of(&batch)));
            }
        }
        Ok(None)
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

    async fn entries(segment: Bytes) -> Result<Vec<Entry>> {
        let hidden = Hidden::new(&Location::parse("memory:///ledger").unwrap());
        hidden.create("segment", segment).await.unwrap();
        let mut reader = SegmentReader::open(&hidden, "segment", Columns::All).await?;
        let mut entries = Vec::new();
        while let Some(rows) = reader.next().await? {
            entries.extend((0..rows.len()).map(|row| rows.entry(row)));
        }
        Ok(entries)
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

    fn encode(chunks: &[Vec<Entry>]) -> Bytes {
        let mut writer = SegmentWriter::new().unwrap();
        chunks.iter().for_each(|chunk| writer.write(chunk).unwrap());
        writer.finish().unwrap()
    }

    #[tokio::test]
    async fn entries_come_back_as_they_were_written() {
        let written = vec![entry("a", "s1"), entry("b", ""), entry("c", "s2")];
        assert_eq!(entries(encode(std::slice::from_ref(&written))).await.unwrap(), written);
    }

    #[tokio::test]
    async fn entries_come_back_through_several_row_groups() {
        let key = |n: usize| entry(&format!("{n:06}"), "s");
        let chunks: Vec<Vec<Entry>> = (0..3).map(|n| (n * 30_000..(n + 1) * 30_000).map(key).collect()).collect();
        assert_eq!(entries(encode(&chunks)).await.unwrap(), chunks.concat());
    }

    #[tokio::test]
    async fn a_segment_from_before_slices_were_recorded_has_none() {
        let found = entries(segment(schema().fields().len() - 1)).await.unwrap();
        assert_eq!(found.iter().map(|entry| entry.slice.as_str()).collect::<Vec<_>>(), [""]);
        assert_eq!(found[0].quarantined, 1);
    }

    #[tokio::test]
    async fn a_segment_with_other_columns_is_refused() {
        let message = entries(segment(4)).await.unwrap_err().to_string();
        assert!(message.contains("the ledger segment segment has other columns"), "{message}");
    }
}
