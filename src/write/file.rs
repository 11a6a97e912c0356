//! One Parquet file: batches in, columns encoded in parallel, a [`DataFile`] out.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowLeafColumn, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::dictionary::{SAMPLED_VALUES, fit_dictionaries};
use super::sink::Sink;
use super::stats::delta_stats;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::json::{arrow_schema, reshape};
use crate::partition::PartitionKey;
use crate::schema::Field;

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
    /// How Parquet is written.
    pub properties: WriterPropertiesPtr,
    /// A row group is closed at this many rows ...
    pub row_group_rows: usize,
    /// ... or encoded bytes.
    pub row_group_bytes: usize,
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
    factory: ArrowRowGroupWriterFactory,
    columns: Vec<ArrowColumnWriter>,
    row_groups: usize,
    rows_in_group: usize,
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
        let factory = ArrowRowGroupWriterFactory::new(&parquet, Arc::clone(&schema));
        Ok(Self {
            context: context.clone(),
            path,
            partition,
            fields,
            schema,
            parquet,
            factory,
            columns: Vec::new(),
            row_groups: 0,
            rows_in_group: 0,
        })
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Writes batches of the columns `fields`, of which this file may hold fewer.
    pub(super) fn write(&mut self, batches: &[RecordBatch], fields: &[Field]) -> Result<()> {
        let path = self.path.clone();
        self.try_write(batches, fields).context(|| format!("cannot write {path}"))
    }

    fn try_write(&mut self, batches: &[RecordBatch], fields: &[Field]) -> Result<(), ParquetError> {
        if self.columns.is_empty() {
            self.columns = self.factory.create_column_writers(self.row_groups)?;
        }
        let mut leaves: Vec<Vec<ArrowLeafColumn>> = (0..self.columns.len()).map(|_| Vec::new()).collect();
        for batch in batches {
            let batch = if self.fields.is_empty() {
                let nulls = new_null_array(&DataType::Boolean, batch.num_rows());
                RecordBatch::try_new(Arc::clone(&self.schema), vec![nulls])?
            } else {
                reshape(batch, fields, &self.fields, &self.schema)?
            };
            let parts = self.schema.fields().iter().zip(batch.columns());
            let mut next = leaves.iter_mut();
            for (field, array) in parts {
                for leaf in compute_leaves(field, array)? {
                    next.next().ok_or_else(|| ParquetError::General("more leaves than columns".to_owned()))?.push(leaf);
                }
            }
            self.rows_in_group += batch.num_rows();
        }
        let encode = |(column, leaves): (&mut ArrowColumnWriter, &Vec<ArrowLeafColumn>)| {
            leaves.iter().try_for_each(|leaf| column.write(leaf))
        };
        let columns = &mut self.columns;
        self.context.encoders.install(|| columns.par_iter_mut().zip(&leaves).try_for_each(encode))?;
        drop(leaves);
        let encoded: usize = self.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
        if self.rows_in_group >= self.context.row_group_rows || encoded >= self.context.row_group_bytes {
            self.end_row_group()?;
        }
        Ok(())
    }

    fn end_row_group(&mut self) -> Result<(), ParquetError> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let columns = std::mem::take(&mut self.columns);
        let chunks: Vec<_> = self
            .context
            .encoders
            .install(|| columns.into_par_iter().map(ArrowColumnWriter::close).collect::<Result<_, ParquetError>>())?;
        let mut group = self.parquet.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.row_groups += 1;
        self.rows_in_group = 0;
        Ok(())
    }

    /// Ends the row group, so that what it holds in memory can be stored.
    pub(super) fn shrink(&mut self) -> Result<()> {
        let path = self.path.clone();
        self.end_row_group().context(|| format!("cannot write {path}"))
    }

    /// Bytes held in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let encoded: usize = self.columns.iter().map(ArrowColumnWriter::memory_size).sum();
        encoded + self.parquet.inner().buffered_bytes()
    }

    /// Bytes the file has so far, about.
    pub(super) fn written_bytes(&self) -> usize {
        let encoded: usize = self.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
        encoded + self.parquet.bytes_written()
    }

    /// Ends the file and stores it.
    pub(super) fn close(mut self) -> Result<DataFile> {
        let path = self.path.clone();
        let metadata = self.end_row_group().and_then(|()| self.parquet.finish());
        let metadata = metadata.context(|| format!("cannot write {path}"))?;
        let size_bytes = self.parquet.bytes_written() as u64;
        self.parquet.inner_mut().finish().context(|| format!("cannot store {path}"))?;
        Ok(DataFile {
            path,
            partition: self.partition,
            size_bytes,
            // As readers will count them.
            row_count: metadata.file_metadata().num_rows().max(0) as u64,
            stats: delta_stats(&metadata),
            fields: self.fields,
        })
    }
}

/// A file of which the first rows are looked at before it is begun: they tell which columns a dictionary pays for.
pub struct SampledWriter {
    context: WriteContext,
    path: String,
    partition: PartitionKey,
    fields: Vec<Field>,
    first: Vec<RecordBatch>,
    first_rows: usize,
    writer: Option<FileWriter>,
}

impl std::fmt::Debug for SampledWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SampledWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SampledWriter {
    /// A writer of a file of the columns `fields`, at a path below the table's folder.
    pub fn new(context: &WriteContext, path: String, partition: PartitionKey, fields: &[Field]) -> Self {
        let (context, fields) = (context.clone(), fields.to_vec());
        Self { context, path, partition, fields, first: Vec::new(), first_rows: 0, writer: None }
    }

    /// Takes rows of its columns. Blocks.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if let Some(writer) = &mut self.writer {
            return writer.write(&[batch], &self.fields);
        }
        self.first_rows += batch.num_rows();
        self.first.push(batch);
        if self.first_rows >= SAMPLED_VALUES { self.begin() } else { Ok(()) }
    }

    fn begin(&mut self) -> Result<()> {
        let first = std::mem::take(&mut self.first);
        let properties = fit_dictionaries(&self.context.properties, &first, &self.fields);
        let context = WriteContext { properties, ..self.context.clone() };
        let mut writer = FileWriter::create(&context, self.path.clone(), self.partition.clone(), self.fields.clone())?;
        writer.write(&first, &self.fields)?;
        self.writer = Some(writer);
        Ok(())
    }

    /// Bytes the file has so far, about; 0 while rows are only gathered.
    pub fn written_bytes(&self) -> usize {
        self.writer.as_ref().map_or(0, FileWriter::written_bytes)
    }

    /// Ends the file and stores it. Blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close(mut self) -> Result<DataFile> {
        if self.writer.is_none() {
            self.begin()?;
        }
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
    let mut writer = SampledWriter::new(context, path, partition, fields);
    for batch in batches {
        writer.write(batch?)?;
    }
    writer.close()
}
