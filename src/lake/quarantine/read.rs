//! Reading quarantine files: one row group at a time, each column as the current schema has it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, BinaryArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{Field, SchemaRef};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::quarantine_schema;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::json::Reject;
use crate::lake::{Head, Hidden};
use crate::raw::RawObject;

/// Rows that are given at once, at most.
const BATCH_ROWS: usize = 8192;
/// Files up to this size are read by one request.
const WHOLE_BYTES: u64 = 1 << 20;
/// How much of the end of a larger file is read at first.
const FOOTER_BYTES: usize = 64 << 10;

/// A row of a quarantine file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The run that rejected it.
    pub run_id: String,
    /// When that was, in microseconds since 1970-01-01T00:00:00Z.
    pub rejected_at_micros: i64,
    /// The raw object.
    pub object: RawObject,
    /// The name of the [`Reason`](crate::json::Reason).
    pub reason: String,
    /// The column at fault, when there is one and the file tells it.
    pub column_path: Option<String>,
    /// Where the rejected bytes begin in the raw object (decompressed).
    pub byte_offset: u64,
    /// Where the fault was found in the raw object (decompressed).
    pub fault_offset: u64,
    /// The row continues the reject before it, and counts with it.
    pub continued: bool,
    /// The rejected bytes.
    pub raw: Vec<u8>,
}

impl Quarantined {
    /// A row for a reject of `object`.
    pub fn new(run_id: String, rejected_at_micros: i64, object: RawObject, reject: Reject) -> Self {
        Self {
            run_id,
            rejected_at_micros,
            object,
            reason: reject.reason.name().to_owned(),
            column_path: reject.column,
            byte_offset: reject.offset,
            fault_offset: reject.fault_offset,
            continued: reject.continued,
            raw: reject.bytes,
        }
    }
}

/// The quarantine files of one table version.
#[derive(Debug, Clone)]
pub struct Quarantine {
    hidden: Hidden,
    files: Vec<ObjectMeta>,
}

impl Quarantine {
    /// Finds the files that a head refers to.
    ///
    /// # Errors
    /// `Corrupt` when one is gone; `Failed` when they cannot be listed.
    pub async fn open(hidden: &Hidden, head: &Head) -> Result<Self> {
        let files = hidden.find(Hidden::QUARANTINE, &head.quarantine).await?;
        Ok(Self { hidden: hidden.clone(), files })
    }

    /// The files, in the order of the head: older runs first.
    pub fn files(&self) -> &[ObjectMeta] {
        &self.files
    }

    /// Reads all rows of all files in their order.
    pub fn read(&self) -> QuarantineReader {
        self.read_files(self.files.iter().cloned(), quarantine_schema())
    }

    /// Reads rows of these files one after another. `columns` are some of [`quarantine_schema`]; no others are fetched.
    pub fn read_files(&self, files: impl IntoIterator<Item = ObjectMeta>, columns: SchemaRef) -> QuarantineReader {
        let store = Arc::clone(self.hidden.store());
        QuarantineReader { store, files: files.into_iter().collect(), columns, open: None }
    }
}

/// Rows of quarantine files, batch by batch. Holds one row group, which is 8 MiB of rejects or one that is larger.
pub struct QuarantineReader {
    store: Arc<dyn ObjectStore>,
    files: VecDeque<ObjectMeta>,
    columns: SchemaRef,
    open: Option<(ObjectMeta, ParquetRecordBatchStream<FileReader>)>,
}

impl std::fmt::Debug for QuarantineReader {
    // The store's own Debug may print credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuarantineReader").field("files", &self.files).finish_non_exhaustive()
    }
}

impl QuarantineReader {
    /// The next rows, as columns.
    ///
    /// # Errors
    /// When a file cannot be read; `Corrupt` when it lacks a column or holds another type.
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some((file, rows)) = &mut self.open else {
                let Some(file) = self.files.pop_front() else { return Ok(None) };
                let rows = open(&self.store, &file, &self.columns).await?;
                self.open = Some((file, rows));
                continue;
            };
            match rows.try_next().await.context(|| cannot_read(file))? {
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => return conform(&batch, file, &self.columns).map(Some),
                None => self.open = None,
            }
        }
    }

    /// The next rows, as plain data. Needs a reader of all columns.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub async fn next_rows(&mut self) -> Result<Option<Vec<Quarantined>>> {
        self.next_batch().await?.map(|batch| rows_of(&batch)).transpose()
    }
}

/// The rows of a batch of all columns.
///
/// # Errors
/// `Corrupt` when one is missing or of another type.
pub fn rows_of(batch: &RecordBatch) -> Result<Vec<Quarantined>> {
    let (run_id, at) = (text(batch, "run_id")?, column::<TimestampMicrosecondArray>(batch, "rejected_at")?);
    let (key, etag, size) = (text(batch, "key")?, text(batch, "etag")?, number(batch, "size_bytes")?);
    let (reason, path) = (text(batch, "reason")?, text(batch, "column_path")?);
    let (offset, fault) = (number(batch, "byte_offset")?, number(batch, "fault_offset")?);
    let continued = column::<BooleanArray>(batch, "continued")?;
    let raw = column::<BinaryArray>(batch, "raw")?;
    let row = |row: usize| Quarantined {
        run_id: run_id.value(row).to_owned(),
        rejected_at_micros: at.value(row),
        object: RawObject {
            key: key.value(row).to_owned(),
            etag: etag.value(row).to_owned(),
            size_bytes: size.value(row) as u64,
        },
        reason: reason.value(row).to_owned(),
        column_path: path.is_valid(row).then(|| path.value(row).to_owned()),
        byte_offset: offset.value(row) as u64,
        fault_offset: fault.value(row) as u64,
        continued: continued.value(row),
        raw: raw.value(row).to_vec(),
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

pub(super) fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    column(batch, name)
}

pub(super) fn number<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array> {
    column(batch, name)
}

pub(super) fn column<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T> {
    let found = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    found.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("rows of the quarantine lack the column {name}")))
}

fn cannot_read(file: &ObjectMeta) -> String {
    format!("cannot read the quarantine file {}", file.location)
}

async fn open(
    store: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
    columns: &SchemaRef,
) -> Result<ParquetRecordBatchStream<FileReader>> {
    let whole = if file.size <= WHOLE_BYTES {
        let bytes = store.get_range(&file.location, 0..file.size).await;
        Some(bytes.context(|| cannot_read(file))?)
    } else {
        None
    };
    let reader = FileReader { store: Arc::clone(store), file: file.clone(), whole };
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.context(|| cannot_read(file))?;
    let stored = builder.schema().fields();
    let held = columns.fields().iter().filter_map(|field| stored.find(field.name()).map(|(root, _)| root));
    let mask = ProjectionMask::roots(builder.parquet_schema(), held);
    builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().context(|| cannot_read(file))
}

/// The batch with exactly `columns`.
fn conform(batch: &RecordBatch, file: &ObjectMeta, columns: &SchemaRef) -> Result<RecordBatch> {
    let conform = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
        _ => {
            let message = format!("the quarantine file {} has no column {} as it must be", file.location, field.name());
            Err(Error::new(ErrorKind::Corrupt, message))
        }
    };
    let arrays = columns.fields().iter().map(conform).collect::<Result<_>>()?;
    RecordBatch::try_new(Arc::clone(columns), arrays).context(|| cannot_read(file))
}

/// What the Parquet library reads a file by.
struct FileReader {
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
    /// All of it, when it is small.
    whole: Option<Bytes>,
}

impl FileReader {
    fn slice(whole: &Bytes, range: &Range<u64>) -> Result<Bytes, ParquetError> {
        let range = range.start as usize..range.end as usize;
        if range.start > range.end || range.end > whole.len() {
            return Err(ParquetError::EOF("the file ends before what its footer names".to_owned()));
        }
        Ok(whole.slice(range))
    }
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            match &self.whole {
                Some(whole) => Self::slice(whole, &range),
                None => self.store.get_range(&self.file.location, range).await.map_err(external),
            }
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            match &self.whole {
                Some(whole) => ranges.iter().map(|range| Self::slice(whole, range)).collect(),
                None => self.store.get_ranges(&self.file.location, &ranges).await.map_err(external),
            }
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.file.size;
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES));
            reader.load_and_finish(self, size).await.map(Arc::new)
        }
        .boxed()
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
