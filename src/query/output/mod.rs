//! Query results as they are written: tables for people, csv, json, ndjson, Parquet, Arrow. Each takes batch after batch,
//! and holds no more of a result than it says.

mod binary;
mod cells;
mod expanded;
mod nested;
mod table;
mod text;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt as _;

#[cfg(feature = "postgres")]
pub(super) use self::nested::json_texts;
use super::errors::plain;
use crate::error::{Context as _, Error, ErrorKind, Result};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table for people.
    Table,
    /// For people: each row as a block, with a line for each column.
    Expanded,
    /// RFC 4180 with a header; nested values as JSON.
    Csv,
    /// One JSON array.
    Json,
    /// One JSON object in each line.
    Ndjson,
    /// A Parquet file, zstd, with the Arrow types in its footer.
    Parquet,
    /// An Arrow IPC file (Feather version 2).
    Arrow,
}

impl Format {
    /// Whether terminals cannot show it.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }

    /// Whether it is meant for people.
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Expanded)
    }

    /// What the name of a file tells by its end.
    pub fn of_file(path: &Path) -> Option<Self> {
        Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "txt" => Self::Table,
            "csv" => Self::Csv,
            "json" => Self::Json,
            "ndjson" | "jsonl" => Self::Ndjson,
            "parquet" => Self::Parquet,
            "arrow" | "feather" => Self::Arrow,
            _ => return None,
        })
    }
}

/// Takes a result, batch after batch. Blocks.
trait Sink: Send {
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    fn finish(self: Box<Self>) -> Result<()>;
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

/// Writes a result as it comes and returns the number of rows. Blocks while `out` does.
///
/// # Errors
/// When the query fails, the format lacks a type of the result, or `out` cannot be written.
pub async fn write_results(
    mut stream: SendableRecordBatchStream,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64> {
    let mut sink = sink(format, &stream.schema(), out)?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch =
            batch.map_err(|error| Error::new(ErrorKind::Failed, format!("the query failed: {}", plain(&error))))?;
        rows += batch.num_rows() as u64;
        sink.write(&batch)?;
        // Whoever gives the query up is heard between two batches.
        tokio::task::yield_now().await;
    }
    // What it holds is not needed while the end is written.
    drop(stream);
    sink.finish()?;
    Ok(rows)
}

/// Writes columns of texts as a result and returns the number of rows. Blocks.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_texts(columns: Vec<(&str, Vec<String>)>, format: Format, out: &mut (dyn Write + Send)) -> Result<u64> {
    let columns = columns.into_iter().map(|(name, texts)| (name, Arc::new(StringArray::from(texts)) as ArrayRef));
    let batch = RecordBatch::try_from_iter(columns).context(describe)?;
    let mut sink = sink(format, batch.schema_ref(), out)?;
    sink.write(&batch)?;
    sink.finish()?;
    Ok(batch.num_rows() as u64)
}

fn sink<'a>(format: Format, schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> Result<Box<dyn Sink + 'a>> {
    Ok(match format {
        Format::Table => Box::new(table::Table::new(schema, out)),
        Format::Expanded => Box::new(expanded::Expanded::new(schema, out)),
        Format::Csv => Box::new(text::Csv::new(schema, out)?),
        Format::Json => Box::new(text::Json::array(out)),
        Format::Ndjson => Box::new(text::Json::lines(out)),
        Format::Parquet => Box::new(binary::Parquet::new(schema, out)?),
        Format::Arrow => Box::new(binary::Arrow::new(schema, out)?),
    })
}

fn describe() -> String {
    "cannot write the result".to_owned()
}
