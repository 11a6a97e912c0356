//! Rows as blocks, with a line for each column: for rows that are wider than the terminal. Holds one row.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::cells::{Cells, harmless, pad, width};
use super::{Sink, describe};
use crate::error::{Context as _, Result};

pub(super) struct Expanded<'a> {
    out: &'a mut (dyn Write + Send),
    names: Vec<String>,
    width: usize,
    rows: u64,
}

impl<'a> Expanded<'a> {
    pub(super) fn new(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> Self {
        // A name is one line.
        let names: Vec<String> =
            schema.fields().iter().map(|field| harmless(field.name().replace('\n', "\\n"))).collect();
        let width = names.iter().map(|name| width(name)).max().unwrap_or(0);
        Self { out, names, width, rows: 0 }
    }
}

impl Sink for Expanded<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = Cells::new(batch)?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            self.rows += 1;
            let title = format!("-[ RECORD {} ]", self.rows);
            text.push_str(&title);
            text.extend(std::iter::repeat_n('-', (self.width + 12).saturating_sub(title.len())));
            text.push('\n');
            for (name, value) in self.names.iter().zip(cells.of_row(row)) {
                for (index, line) in value.split('\n').enumerate() {
                    pad(&mut text, if index == 0 { name } else { "" }, self.width);
                    text.push_str(" | ");
                    text.push_str(line);
                    text.push('\n');
                }
            }
            self.out.write_all(text.as_bytes()).context(describe)?;
            text.clear();
        }
        self.out.flush().context(describe)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.out.flush().context(describe)
    }
}
