//! Results as files for programs: Parquet and Arrow. A row group, or one batch, is all that is held.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::writer::FileWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;

use super::{Sink, describe};
use crate::error::{Context as _, Result};

type Out<'a> = &'a mut (dyn Write + Send);

/// What rows hold in memory that are gathered for a row group.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// The most rows of a row group, but for the last batch.
const ROW_GROUP_ROWS: usize = 1 << 20;

/// Gathers the rows of a row group, and encodes it one column after another: an encoder and a compressor for each of a
/// thousand columns would hold more than the rows.
pub(super) struct Parquet<'a> {
    writer: SerializedFileWriter<Out<'a>>,
    schema: SchemaRef,
    columns: Vec<ArrowRowGroupWriterFactory>,
    row_groups: usize,
    gathered: Vec<RecordBatch>,
    bytes: usize,
    rows: usize,
}

impl<'a> Parquet<'a> {
    pub(super) fn new(schema: &SchemaRef, out: Out<'a>) -> Result<Self> {
        Self::try_new(schema, out).context(describe)
    }

    fn try_new(schema: &SchemaRef, out: Out<'a>) -> Result<Self, ParquetError> {
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("siltstone ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .build();
        add_encoded_arrow_schema_to_metadata(schema, &mut properties);
        let properties = Arc::new(properties);
        let columns = (0..schema.fields().len()).map(|index| column(&schema.project(&[index])?, &properties));
        let columns = columns.collect::<Result<_, _>>()?;
        let root = ArrowSchemaConverter::new().convert(schema)?.root_schema_ptr();
        let writer = SerializedFileWriter::new(out, root, properties)?;
        let schema = Arc::clone(schema);
        Ok(Self { writer, schema, columns, row_groups: 0, gathered: Vec::new(), bytes: 0, rows: 0 })
    }

    /// Writes what is gathered as a row group.
    fn flush(&mut self) -> Result<(), ParquetError> {
        let mut chunks: Vec<ArrowColumnChunk> = Vec::new();
        for (index, factory) in self.columns.iter().enumerate() {
            let mut writers = factory.create_column_writers(self.row_groups)?;
            for batch in &self.gathered {
                let leaves = compute_leaves(self.schema.field(index), batch.column(index))?;
                writers.iter_mut().zip(leaves).try_for_each(|(writer, leaf)| writer.write(&leaf))?;
            }
            for writer in writers {
                chunks.push(writer.close()?);
            }
        }
        self.gathered.clear();
        (self.bytes, self.rows) = (0, 0);
        let mut group = self.writer.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.row_groups += 1;
        Ok(())
    }
}

/// What encodes a column: only a file of just this column has that for it.
fn column(schema: &Schema, properties: &WriterPropertiesPtr) -> Result<ArrowRowGroupWriterFactory, ParquetError> {
    let root = ArrowSchemaConverter::new().convert(schema)?.root_schema_ptr();
    let file = SerializedFileWriter::new(io::sink(), root, Arc::clone(properties))?;
    Ok(ArrowRowGroupWriterFactory::new(&file, Arc::new(schema.clone())))
}

/// What the rows of an array hold in memory; of arrays that share buffers, each its part.
fn memory_bytes(array: &ArrayRef) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}

impl Sink for Parquet<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = as_said(batch, &self.schema)?;
        self.bytes += batch.columns().iter().map(memory_bytes).sum::<usize>();
        self.rows += batch.num_rows();
        self.gathered.push(batch);
        if self.bytes >= ROW_GROUP_BYTES || self.rows >= ROW_GROUP_ROWS {
            self.flush().context(describe)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.rows > 0 {
            self.flush().context(describe)?;
        }
        self.writer.finish().context(describe)?;
        self.writer.inner_mut().flush().context(describe)
    }
}

pub(super) struct Arrow<'a> {
    writer: FileWriter<Out<'a>>,
    schema: SchemaRef,
}

impl<'a> Arrow<'a> {
    pub(super) fn new(schema: &SchemaRef, out: Out<'a>) -> Result<Self> {
        let schema = without_dictionaries(schema);
        let writer = FileWriter::try_new(out, &schema).context(describe)?;
        Ok(Self { writer, schema })
    }
}

impl Sink for Arrow<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(&as_said(batch, &self.schema)?).context(describe)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.writer.finish().context(describe)?;
        self.writer.get_mut().flush().context(describe)
    }
}

/// Such a file has one dictionary for a column, and batches may come with several.
fn without_dictionaries(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Dictionary(_, values) => Arc::new(field.as_ref().clone().with_data_type(values.as_ref().clone())),
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// The batch with the schema that the result began with.
fn as_said(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let columns = columns.collect::<Result<_, _>>().context(describe)?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).context(describe)
}
