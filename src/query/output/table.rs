//! A table for people. Columns are as wide as the widest value of the first thousand rows; these, a thousand at a time, are
//! all that is held. Where later rows have wider values, the columns are wider from there on: nothing is ever cut.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::cells::{Cells, harmless, pad, width};
use super::{Sink, describe};
use crate::error::{Context as _, Result};

/// So many rows share the widths of their columns.
const ROWS_AT_ONCE: usize = 1000;
/// Or fewer, when they are this large.
const BYTES_AT_ONCE: usize = 4 << 20;

pub(super) struct Table<'a> {
    out: &'a mut (dyn Write + Send),
    names: Vec<String>,
    widths: Vec<usize>,
    has_header: bool,
    /// The cells of whole rows, one after another.
    gathered: Vec<String>,
    bytes: usize,
}

impl<'a> Table<'a> {
    pub(super) fn new(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> Self {
        let names: Vec<String> = schema.fields().iter().map(|field| harmless(field.name().clone())).collect();
        let widths = names.iter().map(|name| width(name)).collect();
        Self { out, names, widths, has_header: false, gathered: Vec::new(), bytes: 0 }
    }

    /// Writes what is gathered.
    fn flush(&mut self) -> Result<()> {
        let columns = self.names.len().max(1);
        for row in self.gathered.chunks(columns) {
            for (widest, cell) in self.widths.iter_mut().zip(row) {
                *widest = width(cell).max(*widest);
            }
        }
        let mut text = String::new();
        if !self.has_header {
            self.has_header = true;
            border(&mut text, &self.widths);
            lines(&mut text, &self.names, &self.widths);
            border(&mut text, &self.widths);
        }
        for row in self.gathered.chunks(columns) {
            lines(&mut text, row, &self.widths);
            // Short values beside long ones are mostly blanks, which are not gathered as well.
            if text.len() >= BYTES_AT_ONCE {
                self.out.write_all(text.as_bytes()).context(describe)?;
                text.clear();
            }
        }
        self.gathered.clear();
        self.bytes = 0;
        self.out.write_all(text.as_bytes()).context(describe)?;
        self.out.flush().context(describe)
    }
}

impl Sink for Table<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = Cells::new(batch)?;
        for row in 0..batch.num_rows() {
            for cell in cells.of_row(row) {
                self.bytes += size_of::<String>() + cell.len();
                self.gathered.push(cell);
            }
            if self.gathered.len() >= ROWS_AT_ONCE * self.names.len() || self.bytes >= BYTES_AT_ONCE {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.flush()?;
        let mut text = String::new();
        border(&mut text, &self.widths);
        self.out.write_all(text.as_bytes()).context(describe)?;
        self.out.flush().context(describe)
    }
}

fn border(out: &mut String, widths: &[usize]) {
    for width in widths {
        out.push('+');
        out.extend(std::iter::repeat_n('-', width + 2));
    }
    out.push_str("+\n");
}

/// A row, which has as many lines as the cell with most.
fn lines(out: &mut String, row: &[String], widths: &[usize]) {
    let mut cells: Vec<_> = row.iter().map(|cell| cell.split('\n')).collect();
    let count = row.iter().map(|cell| cell.matches('\n').count() + 1).max().unwrap_or(1);
    for _ in 0..count {
        for (cell, width) in cells.iter_mut().zip(widths) {
            out.push_str("| ");
            pad(out, cell.next().unwrap_or_default(), *width);
            out.push(' ');
        }
        out.push_str("|\n");
    }
}
