//! Writing quarantine files.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use parquet::arrow::ArrowWriter;

use super::{Quarantined, quarantine_schema};
use crate::error::{Context as _, Result};
use crate::json::Reject;
use crate::raw::RawObject;
use crate::write::{Sink, hidden_file_properties};

/// Gathered bytes are encoded when there are this many.
const BATCH_BYTES: usize = 8 << 20;

/// Writes one quarantine file, which begins with the first row.
#[derive(Debug)]
pub struct QuarantineWriter {
    run_id: String,
    at_micros: i64,
    rows: Vec<Quarantined>,
    bytes: usize,
    parquet: Option<ArrowWriter<Sink>>,
    sink: Option<Sink>,
}

impl QuarantineWriter {
    /// A writer for the rejects of one run.
    pub fn new(run_id: String, at_micros: i64, sink: Sink) -> Self {
        Self { run_id, at_micros, rows: Vec::new(), bytes: 0, parquet: None, sink: Some(sink) }
    }

    /// Adds a reject of `object`.
    ///
    /// # Errors
    /// When rows cannot be encoded.
    pub fn push(&mut self, object: &RawObject, reject: Reject) -> Result<()> {
        self.push_row(Quarantined::new(self.run_id.clone(), self.at_micros, object.clone(), reject))
    }

    /// Adds a row as it is, perhaps of another run.
    ///
    /// # Errors
    /// When rows cannot be encoded.
    pub fn push_row(&mut self, row: Quarantined) -> Result<()> {
        self.bytes += row.raw.len() + row.object.key.len() + 100;
        self.rows.push(row);
        if self.bytes > BATCH_BYTES { self.encode() } else { Ok(()) }
    }

    /// Ends and stores the file. Says whether there is one: whether anything was rejected.
    ///
    /// # Errors
    /// When rows cannot be encoded or stored.
    pub fn finish(mut self) -> Result<bool> {
        if !self.rows.is_empty() {
            self.encode()?;
        }
        let describe = || "cannot write a quarantine file".to_owned();
        let Some(mut writer) = self.parquet else { return Ok(false) };
        writer.finish().context(describe)?;
        writer.inner_mut().finish().context(describe)?;
        Ok(true)
    }

    fn encode(&mut self) -> Result<()> {
        let describe = || "cannot write a quarantine file".to_owned();
        let schema = quarantine_schema();
        let mut run_id = StringBuilder::new();
        let mut at = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        let (mut key, mut etag) = (StringBuilder::new(), StringBuilder::new());
        let (mut reason, mut column) = (StringBuilder::new(), StringBuilder::new());
        let (mut size, mut offset, mut fault) = (Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
        let (mut continued, mut raw) = (BooleanBuilder::new(), BinaryBuilder::new());
        for row in self.rows.drain(..) {
            run_id.append_value(&row.run_id);
            at.append_value(row.rejected_at_micros);
            key.append_value(&row.object.key);
            etag.append_value(&row.object.etag);
            size.append_value(row.object.size_bytes as i64);
            reason.append_value(&row.reason);
            column.append_option(row.column_path);
            offset.append_value(row.byte_offset as i64);
            fault.append_value(row.fault_offset as i64);
            continued.append_value(row.continued);
            raw.append_value(&row.raw);
        }
        self.bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(run_id.finish()),
            Arc::new(at.finish()),
            Arc::new(key.finish()),
            Arc::new(etag.finish()),
            Arc::new(size.finish()),
            Arc::new(reason.finish()),
            Arc::new(column.finish()),
            Arc::new(offset.finish()),
            Arc::new(fault.finish()),
            Arc::new(continued.finish()),
            Arc::new(raw.finish()),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).context(describe)?;
        if let Some(sink) = self.sink.take() {
            let properties = hidden_file_properties().context(describe)?;
            self.parquet = Some(ArrowWriter::try_new(sink, schema, Some(properties)).context(describe)?);
        }
        if let Some(writer) = &mut self.parquet {
            writer.write(&batch).context(describe)?;
            // A row group for each batch: what was rejected does not gather in memory.
            writer.flush().context(describe)?;
        }
        Ok(())
    }
}
