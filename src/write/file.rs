//! One Parquet file: batches in, columns encoded in parallel, a [`DataFile`] out.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::ArrowSchemaConverter;
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::encodings::Encodings;
use super::leaf::{Leaf, LeafProperties};
use super::pages::Chunk;
use super::properties::writer_properties;
use super::sink::Sink;
use super::stats::delta_stats;
use crate::config::FileOptions;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::json::{arrow_schema, reshape};
use crate::partition::PartitionKey;
use crate::schema::{Field, data_type};
use crate::store::Location;

/// The only column of a file whose rows have no value in any column: Parquet counts rows by columns. It is always null and
/// belongs to no table, whose column names have no dash.
pub const NO_VALUES: &str = "siltstone-no-values";

/// A finished data file, as plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFile {
    /// The path below the table's folder.
    pub path: String,
    /// The values of the partition columns.
    pub partition: PartitionKey,
    /// Stored bytes.
    pub size_bytes: u64,
    /// Rows.
    pub row_count: u64,
    /// Delta statistics, JSON text.
    pub stats: String,
    /// The columns it holds: those of the table that have a value in it; without any, there is [`NO_VALUES`].
    pub fields: Vec<Field>,
}

/// Where files are written, and with what.
#[derive(Clone)]
pub struct WriteContext {
    /// The store of the table.
    pub store: Arc<dyn ObjectStore>,
    /// The table's folder in it.
    pub table: Path,
    /// Does the I/O.
    pub runtime: Handle,
    /// Encodes columns.
    pub encoders: Arc<ThreadPool>,
    /// How files are written.
    pub options: Arc<FileOptions>,
    /// The same for Parquet, with what was learned of the columns of a file.
    pub(super) properties: WriterPropertiesPtr,
    /// What was stored.
    pub stored: Stored,
}

impl WriteContext {
    /// A context to write into the folder of a table.
    ///
    /// # Errors
    /// `Usage` when the options are none that Parquet has; when the folder's path cannot be expressed in its store.
    pub fn new(
        table: &Location,
        runtime: &Handle,
        encoders: &Arc<ThreadPool>,
        options: &Arc<FileOptions>,
    ) -> Result<Self> {
        let properties = writer_properties(options).map_err(|error| Error::usage(error.to_string()))?;
        Ok(Self {
            store: Arc::clone(table.store()),
            table: table.prefix()?,
            runtime: runtime.clone(),
            encoders: Arc::clone(encoders),
            options: Arc::clone(options),
            properties,
            stored: Stored::default(),
        })
    }
}

/// The paths of all files that were stored, below the table's folder: whoever gives up takes them back by these.
#[derive(Debug, Clone, Default)]
pub struct Stored(Arc<Mutex<Vec<String>>>);

impl Stored {
    /// Notes a file that is about to be stored.
    pub fn add(&self, path: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    }

    /// The paths so far, which are forgotten.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for WriteContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WriteContext({})", self.table)
    }
}

/// An open file.
pub(super) struct FileWriter {
    context: WriteContext,
    path: String,
    partition: PartitionKey,
    fields: Vec<Field>,
    schema: SchemaRef,
    parquet: SerializedFileWriter<Sink>,
    leaves: Vec<Leaf>,
    leaf_properties: LeafProperties,
    row_groups: usize,
}

impl FileWriter {
    pub(super) fn create(
        context: &WriteContext,
        path: String,
        partition: PartitionKey,
        fields: Vec<Field>,
    ) -> Result<Self> {
        let schema = if fields.is_empty() {
            Arc::new(Schema::new(vec![ArrowField::new(NO_VALUES, DataType::Boolean, true)]))
        } else {
            arrow_schema(&fields)
        };
        let object = Path::parse(format!("{}/{path}", context.table)).context(|| format!("bad file path {path}"))?;
        let sink = Sink::new(&context.store, object, &context.runtime);
        let describe = || format!("cannot begin {path}");
        let parquet_schema = ArrowSchemaConverter::new().convert(&schema).context(describe)?;
        let parquet =
            SerializedFileWriter::new(sink, parquet_schema.root_schema_ptr(), Arc::clone(&context.properties))
                .context(describe)?;
        let leaf_properties = LeafProperties::new(&context.properties, parquet_schema.columns());
        let leaves = Leaf::all(&schema);
        Ok(Self {
            context: context.clone(),
            path,
            partition,
            fields,
            schema,
            parquet,
            leaves,
            leaf_properties,
            row_groups: 0,
        })
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Writes batches of the columns `fields`, of which this file may hold fewer, as one row group.
    ///
    /// All of its columns are encoded at once, each from its first row to its last.
    pub(super) fn write(&mut self, batches: Vec<RecordBatch>, fields: &[Field]) -> Result<()> {
        let path = self.path.clone();
        self.try_write(batches, fields).context(|| format!("cannot write {path}"))
    }

    fn try_write(&mut self, batches: Vec<RecordBatch>, fields: &[Field]) -> Result<(), ParquetError> {
        let batches = batches.into_iter().map(|batch| self.reshape(&batch, fields)).collect::<Result<Vec<_>, _>>()?;
        let leaves = self.leaves.iter().map(|leaf| leaf.of(&batches)).collect::<Result<Vec<_>, _>>()?;
        // The arrays go as their leaves are done.
        drop(batches);
        // The largest go first: none of them is to be the last that others wait for.
        let bytes = |arrays: &[ArrayRef]| arrays.iter().map(Array::get_array_memory_size).sum::<usize>();
        let mut work: Vec<_> =
            leaves.into_iter().enumerate().map(|(at, arrays)| (bytes(&arrays), at, arrays)).collect();
        work.sort_unstable_by_key(|(bytes, at, _)| (Reverse(*bytes), *at));
        let encode = |(_, at, arrays): (usize, usize, _)| {
            let chunks = self.leaves[at].encode(arrays, &self.leaf_properties, self.row_groups)?;
            Ok::<_, ParquetError>((at, chunks))
        };
        let encode_all = || work.into_iter().par_bridge().map(encode).collect::<Result<Vec<_>, _>>();
        let mut chunks = self.context.encoders.install(encode_all)?;
        chunks.sort_unstable_by_key(|(at, _)| *at);
        let mut group = self.parquet.next_row_group()?;
        for Chunk { pages, close } in chunks.into_iter().flat_map(|(_, chunks)| chunks) {
            group.append_column(&pages, close)?;
        }
        group.close()?;
        self.row_groups += 1;
        Ok(())
    }

    /// A batch of the columns `fields` as one of this file's.
    fn reshape(&self, batch: &RecordBatch, fields: &[Field]) -> Result<RecordBatch, ParquetError> {
        if self.fields.is_empty() {
            let nulls = new_null_array(&DataType::Boolean, batch.num_rows());
            return Ok(RecordBatch::try_new(Arc::clone(&self.schema), vec![nulls])?);
        }
        Ok(reshape(batch, fields, &self.fields, &self.schema)?)
    }

    /// Bytes held in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.parquet.inner().buffered_bytes()
    }

    /// Bytes the file has so far.
    pub(super) fn written_bytes(&self) -> usize {
        self.parquet.bytes_written()
    }

    /// Ends the file and stores it.
    pub(super) fn close(mut self) -> Result<DataFile> {
        let path = self.path.clone();
        let metadata = self.parquet.finish().context(|| format!("cannot write {path}"))?;
        let size_bytes = self.parquet.bytes_written() as u64;
        self.context.stored.add(&path);
        self.parquet.inner_mut().finish().context(|| format!("cannot store {path}"))?;
        Ok(DataFile {
            path,
            partition: self.partition,
            size_bytes,
            // As readers will count them.
            row_count: metadata.file_metadata().num_rows().max(0) as u64,
            stats: delta_stats(&metadata, &self.fields),
            fields: self.fields,
        })
    }
}

/// A file whose rows come batch by batch.
pub struct GatheringWriter {
    context: WriteContext,
    path: String,
    partition: PartitionKey,
    fields: Vec<Field>,
    rows: Rows,
    writer: Option<FileWriter>,
}

impl std::fmt::Debug for GatheringWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatheringWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl GatheringWriter {
    /// A writer of a file of the columns `fields`, at a path below the table's folder.
    pub fn new(context: &WriteContext, path: String, partition: PartitionKey, fields: &[Field]) -> Self {
        let (context, fields) = (context.clone(), fields.to_vec());
        Self { context, path, partition, fields, rows: Rows::default(), writer: None }
    }

    /// Says, before the first rows, that they come sorted by these of its columns, which are no structs, lists or maps:
    /// ascending, null last.
    pub fn sorted_by(&mut self, names: &[String]) {
        let leaf = |name: &String| {
            let before: Vec<&Field> = self.fields.iter().take_while(|field| field.name != *name).collect();
            let leaves: usize = before.into_iter().map(|field| leaf_count(&data_type(&field.ty))).sum();
            SortingColumn { column_idx: leaves as i32, descending: false, nulls_first: false }
        };
        let columns = names.iter().map(leaf).collect();
        let builder = self.context.properties.as_ref().clone().into_builder();
        self.context.properties = builder.set_sorting_columns(Some(columns)).build().into();
    }

    /// Takes rows of its columns. Blocks.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows.push(batch);
        if self.rows.is_full(&self.context) { self.flush().map(drop) } else { Ok(()) }
    }

    /// Writes what is gathered, each column as the first rows tell.
    fn flush(&mut self) -> Result<&mut FileWriter> {
        let is_empty = self.rows.is_empty();
        let batches = self.rows.take();
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let properties = Encodings::default().fit(&self.context, &batches, &self.fields);
                let context = WriteContext { properties, ..self.context.clone() };
                let (path, partition) = (self.path.clone(), self.partition.clone());
                none.insert(FileWriter::create(&context, path, partition, self.fields.clone())?)
            }
        };
        if !is_empty {
            writer.write(batches, &self.fields)?;
        }
        Ok(writer)
    }

    /// Whether it has any row.
    pub fn has_rows(&self) -> bool {
        self.writer.is_some() || self.rows.count > 0
    }

    /// Bytes the file has so far, without rows that are only gathered.
    pub fn written_bytes(&self) -> usize {
        self.writer.as_ref().map_or(0, FileWriter::written_bytes)
    }

    /// Ends the file and stores it. Blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close(mut self) -> Result<DataFile> {
        self.flush()?;
        match self.writer {
            Some(writer) => writer.close(),
            None => Err(Error::new(ErrorKind::Failed, format!("{} was not begun", self.path))),
        }
    }
}

/// Writes batches of the columns `fields` as one file. Blocks.
///
/// # Errors
/// When it cannot be written.
pub fn write_file(
    context: &WriteContext,
    path: String,
    partition: PartitionKey,
    fields: &[Field],
    batches: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<DataFile> {
    let mut writer = GatheringWriter::new(context, path, partition, fields);
    for batch in batches {
        writer.write(batch?)?;
    }
    writer.close()
}

/// How many Parquet columns a column of this type has.
fn leaf_count(ty: &DataType) -> usize {
    match ty {
        DataType::Struct(fields) => fields.iter().map(|field| leaf_count(field.data_type())).sum(),
        DataType::List(inner) | DataType::Map(inner, _) => leaf_count(inner.data_type()),
        _ => 1,
    }
}

/// What an array holds in memory: nothing, if it is all null, as such arrays share what they hold.
fn memory_bytes(array: &ArrayRef) -> usize {
    match array.as_struct_opt() {
        _ if array.null_count() == array.len() => 0,
        Some(fields) => fields.columns().iter().map(memory_bytes).sum(),
        None => array.get_array_memory_size(),
    }
}

/// Rows that are gathered for a row group.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) batches: Vec<RecordBatch>,
    /// What they hold in memory.
    pub(super) bytes: usize,
    count: usize,
}

impl Rows {
    pub(super) fn push(&mut self, batch: RecordBatch) {
        self.bytes += batch.columns().iter().map(memory_bytes).sum::<usize>();
        self.count += batch.num_rows();
        self.batches.push(batch);
    }

    /// Whether no more belong into one row group.
    pub(super) fn is_full(&self, context: &WriteContext) -> bool {
        self.bytes >= context.options.row_group_bytes || self.count >= context.options.row_group_rows
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn take(&mut self) -> Vec<RecordBatch> {
        std::mem::take(self).batches
    }
}
