//! Query results as text: table, csv, json, ndjson.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::DataType;
use arrow::json::writer::{EncoderOptions, JsonArray, LineDelimited, WriterBuilder, make_encoder};
use arrow::util::pretty::pretty_format_batches_with_schema;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;

use crate::error::{Context as _, Error, Result};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table for people; gathers all rows first.
    Table,
    /// RFC 4180 with a header; nested values as JSON.
    Csv,
    /// One JSON array.
    Json,
    /// One JSON object in each line.
    Ndjson,
}

/// Writes a result as it comes and returns the number of rows.
///
/// # Errors
/// When the query fails or `out` cannot be written.
pub async fn write_results(
    mut stream: SendableRecordBatchStream,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64> {
    let schema = stream.schema();
    let describe = || "cannot write the result".to_owned();
    let mut rows = 0;
    let mut next = async || -> Result<Option<RecordBatch>> {
        match stream.next().await {
            None => Ok(None),
            Some(Ok(batch)) => {
                rows += batch.num_rows() as u64;
                Ok(Some(batch))
            }
            Some(Err(error)) => Err(Error::failed("the query failed", error)),
        }
    };
    match format {
        Format::Table => {
            let mut batches = Vec::new();
            while let Some(batch) = next().await? {
                batches.push(batch);
            }
            let table = pretty_format_batches_with_schema(schema, &batches).context(describe)?;
            writeln!(out, "{table}").context(describe)?;
        }
        Format::Csv => {
            // Through a buffer: the csv writer would hide that `out` is a closed pipe.
            let mut text = Vec::new();
            let mut batch = Some(RecordBatch::new_empty(schema));
            let mut has_header = true;
            while let Some(rows) = batch {
                let mut writer = csv::WriterBuilder::new().with_header(has_header).build(&mut text);
                writer.write(&flat(&rows)?).context(describe)?;
                drop(writer);
                out.write_all(&text).context(describe)?;
                text.clear();
                has_header = false;
                batch = next().await?;
            }
        }
        Format::Json => {
            let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(&mut *out);
            while let Some(batch) = next().await? {
                writer.write(&batch).context(describe)?;
            }
            writer.finish().context(describe)?;
            drop(writer);
            writeln!(out).context(describe)?;
        }
        Format::Ndjson => {
            let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(out);
            while let Some(batch) = next().await? {
                writer.write(&batch).context(describe)?;
            }
            writer.finish().context(describe)?;
        }
    }
    Ok(rows)
}

/// The batch with nested columns as text, which is all that csv can hold.
fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    let describe = || "cannot write nested columns as text".to_owned();
    if !batch.schema().fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() {
            fields.push(field.as_ref().clone());
            columns.push(std::sync::Arc::clone(column));
            continue;
        }
        let mut encoder = make_encoder(field, column.as_ref(), &options).context(describe)?;
        let texts = (0..column.len()).map(|row| {
            (!column.is_null(row)).then(|| {
                let mut text = Vec::new();
                encoder.encode(row, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let texts: arrow::array::StringArray = texts.collect();
        fields.push(field.as_ref().clone().with_data_type(DataType::Utf8).with_nullable(true));
        columns.push(std::sync::Arc::new(texts));
    }
    RecordBatch::try_new(std::sync::Arc::new(arrow::datatypes::Schema::new(fields)), columns).context(describe)
}
