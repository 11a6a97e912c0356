//! Results as files for programs: Parquet and Arrow. A row group, or one batch, is all that is held.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::{Sink, describe};
use crate::error::{Context as _, Result};

type Out<'a> = &'a mut (dyn Write + Send);

/// What the writer may hold of a row group before that is written.
const ROW_GROUP_MEMORY_BYTES: usize = 64 << 20;
/// The most rows of a row group.
const ROW_GROUP_ROWS: usize = 1 << 20;

pub(super) struct Parquet<'a> {
    writer: ArrowWriter<Out<'a>>,
    schema: SchemaRef,
}

impl<'a> Parquet<'a> {
    pub(super) fn new(schema: &SchemaRef, out: Out<'a>) -> Result<Self> {
        let properties = properties().context(describe)?;
        let writer = ArrowWriter::try_new(out, Arc::clone(schema), Some(properties)).context(describe)?;
        Ok(Self { writer, schema: Arc::clone(schema) })
    }
}

fn properties() -> Result<WriterProperties, ParquetError> {
    Ok(WriterProperties::builder()
        .set_created_by(concat!("siltstone ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build())
}

impl Sink for Parquet<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(&as_said(batch, &self.schema)?).context(describe)?;
        if self.writer.memory_size() >= ROW_GROUP_MEMORY_BYTES {
            self.writer.flush().context(describe)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
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
