//! Query results as text: table, csv, json, ndjson.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::DataType;
use arrow::json::writer::{EncoderOptions, JsonArray, LineDelimited, WriterBuilder, make_encoder};
use arrow::util::pretty::pretty_format_batches_with_schema;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
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

/// Ends a result behind `most` rows, which also ends the work on it. The flag then tells whether there were more.
pub fn limit_rows(stream: SendableRecordBatchStream, most: u64) -> (SendableRecordBatchStream, Arc<AtomicBool>) {
    let is_cut = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_cut);
    let schema = stream.schema();
    let mut stream = Some(stream);
    let mut room = most;
    let limited = futures::stream::poll_fn(move |context| {
        let Some(inner) = &mut stream else { return Poll::Ready(None) };
        let polled = ready!(inner.poll_next_unpin(context));
        let Some(Ok(batch)) = polled else { return Poll::Ready(polled) };
        let rows = batch.num_rows() as u64;
        if rows <= room {
            room -= rows;
            return Poll::Ready(Some(Ok(batch)));
        }
        flag.store(true, Ordering::Relaxed);
        stream = None;
        let last = batch.slice(0, usize::try_from(room).unwrap_or(usize::MAX));
        Poll::Ready(Some(Ok(last)))
    });
    (Box::pin(RecordBatchStreamAdapter::new(schema, limited)), is_cut)
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
            columns.push(Arc::clone(column));
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
        columns.push(Arc::new(texts));
    }
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).context(describe)
}
