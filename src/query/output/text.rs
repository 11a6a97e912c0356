//! Results as text for programs: csv, json, ndjson. They hold one batch.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, Writer, WriterBuilder};

use super::nested::{json_texts, text_keys};
use super::{Sink, describe};
use crate::error::{Context as _, Result};

type Out<'a> = &'a mut (dyn Write + Send);

pub(super) struct Csv<'a> {
    out: Out<'a>,
    text: Vec<u8>,
    has_header: bool,
}

impl<'a> Csv<'a> {
    pub(super) fn new(schema: &SchemaRef, out: Out<'a>) -> Result<Self> {
        let mut csv = Self { out, text: Vec::new(), has_header: false };
        csv.write(&RecordBatch::new_empty(Arc::clone(schema)))?;
        Ok(csv)
    }
}

impl Sink for Csv<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        // Through a buffer: the csv writer would hide that `out` is a closed pipe.
        let mut writer = csv::WriterBuilder::new().with_header(!self.has_header).build(&mut self.text);
        writer.write(&flat(batch)?).context(describe)?;
        drop(writer);
        self.has_header = true;
        self.out.write_all(&self.text).context(describe)?;
        self.text.clear();
        self.out.flush().context(describe)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.out.flush().context(describe)
    }
}

/// Rows as objects: in one array, or a line each.
pub(super) struct Json<'a, F: JsonFormat> {
    writer: Writer<Out<'a>, F>,
    /// What stands behind the last row, besides what the format says.
    end: &'static str,
}

impl<'a> Json<'a, JsonArray> {
    pub(super) fn array(out: Out<'a>) -> Self {
        Self { writer: json_rows().build(out), end: "\n" }
    }
}

impl<'a> Json<'a, LineDelimited> {
    pub(super) fn lines(out: Out<'a>) -> Self {
        Self { writer: json_rows().build(out), end: "" }
    }
}

fn json_rows() -> WriterBuilder {
    WriterBuilder::new().with_explicit_nulls(true)
}

impl<F: JsonFormat + Send> Sink for Json<'_, F> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(&text_keys(batch).context(describe)?).context(describe)?;
        self.writer.get_mut().flush().context(describe)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.writer.finish().context(describe)?;
        let out = self.writer.into_inner();
        out.write_all(self.end.as_bytes()).context(describe)?;
        out.flush().context(describe)
    }
}

/// The batch with nested columns as text, which is all that csv can hold.
fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    let describe = || "cannot write nested columns as text".to_owned();
    if !batch.schema().fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
            continue;
        }
        let texts = json_texts(field, column).context(describe)?;
        fields.push(field.as_ref().clone().with_data_type(DataType::Utf8).with_nullable(true));
        columns.push(Arc::new(texts));
    }
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).context(describe)
}
