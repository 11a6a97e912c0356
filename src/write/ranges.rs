//! Rows that come once more, in their old order, into new files: each takes a range of the rows of its partition.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::RecordBatch;

use super::encodings::Encodings;
use super::file::{DataFile, FileWriter, Rows, WriteContext};
use crate::error::Result;
use crate::partition::PartitionKey;
use crate::schema::Field;

/// A file to write, and which rows go into it.
#[derive(Debug, Clone)]
pub struct RowRange {
    /// The path below the table's folder.
    pub path: String,
    /// The values of the partition columns.
    pub partition: PartitionKey,
    /// The key under which its rows come.
    pub key: PartitionKey,
    /// Its rows among those of the key, from 0.
    pub rows: Range<u64>,
    /// Its columns: some of those that come, structs perhaps with some of their fields.
    pub fields: Vec<Field>,
}

/// Writes ranges of rows into one file each. Rows of no range are passed over.
///
/// Of each key one file is open at a time. Memory: pending rows up to half of the budget, past which the most of one file
/// become a row group; beside it, what open files have not stored yet (8 MiB each at most).
#[derive(Debug)]
pub struct RangeWriter {
    context: WriteContext,
    memory_bytes: usize,
    fields: Vec<Field>,
    files: Vec<OpenRange>,
    keys: HashMap<PartitionKey, Position>,
    pending_bytes: usize,
    encodings: Encodings,
}

#[derive(Debug)]
struct OpenRange {
    range: RowRange,
    pending: Rows,
    writer: Option<FileWriter>,
    done: Option<DataFile>,
}

/// How far the rows of a key are.
#[derive(Debug, Default)]
struct Position {
    /// Rows that came.
    rows: u64,
    /// Files that are not done, the next one last.
    files: Vec<usize>,
}

impl RangeWriter {
    /// A writer for batches of the columns `fields`. The ranges of one key must not overlap.
    pub fn new(context: WriteContext, memory_bytes: usize, fields: Vec<Field>, ranges: Vec<RowRange>) -> Self {
        let mut keys: HashMap<PartitionKey, Position> = HashMap::new();
        for (index, range) in ranges.iter().enumerate() {
            keys.entry(range.key.clone()).or_default().files.push(index);
        }
        for position in keys.values_mut() {
            position.files.sort_by_key(|index| std::cmp::Reverse(ranges[*index].rows.start));
        }
        let open = |range| OpenRange { range, pending: Rows::default(), writer: None, done: None };
        let files = ranges.into_iter().map(open).collect();
        Self { context, memory_bytes, fields, files, keys, pending_bytes: 0, encodings: Encodings::default() }
    }

    /// Takes the next rows of a key.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&mut self, key: &PartitionKey, batch: &RecordBatch) -> Result<()> {
        let Some(position) = self.keys.get_mut(key) else { return Ok(()) };
        let came = position.rows..position.rows + batch.num_rows() as u64;
        position.rows = came.end;
        while let Some(index) = position.files.last().copied() {
            let file = &mut self.files[index];
            let (first, end) = (came.start.max(file.range.rows.start), came.end.min(file.range.rows.end));
            if first < end {
                let rows = batch.slice((first - came.start) as usize, (end - first) as usize);
                let before = file.pending.bytes;
                file.pending.push(rows);
                self.pending_bytes += file.pending.bytes - before;
                if file.pending.is_full(&self.context) {
                    self.pending_bytes -= file.pending.bytes;
                    file.flush(&self.context, &self.fields, &mut self.encodings)?;
                }
            }
            if came.end < file.range.rows.end {
                break;
            }
            position.files.pop();
            self.pending_bytes -= file.pending.bytes;
            file.flush(&self.context, &self.fields, &mut self.encodings)?;
            file.done = file.writer.take().map(FileWriter::close).transpose()?;
        }
        while self.pending_bytes > self.memory_bytes / 2 {
            let Some(largest) = self.files.iter_mut().max_by_key(|file| file.pending.bytes) else { break };
            self.pending_bytes -= largest.pending.bytes;
            largest.flush(&self.context, &self.fields, &mut self.encodings)?;
        }
        Ok(())
    }

    /// How many rows of a key came.
    pub fn rows(&self, key: &PartitionKey) -> u64 {
        self.keys.get(key).map_or(0, |position| position.rows)
    }

    /// The files, in the order of their ranges; none where not all rows of a range came.
    pub fn close(self) -> Vec<Option<DataFile>> {
        self.files.into_iter().map(|file| file.done).collect()
    }
}

impl OpenRange {
    /// Writes what is pending.
    fn flush(&mut self, context: &WriteContext, fields: &[Field], encodings: &mut Encodings) -> Result<()> {
        let batches = self.pending.take();
        if batches.is_empty() {
            return Ok(());
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let properties = encodings.fit(context, &batches, fields);
                let context = WriteContext { properties, ..context.clone() };
                let RowRange { path, partition, fields, .. } = &self.range;
                none.insert(FileWriter::create(&context, path.clone(), partition.clone(), fields.clone())?)
            }
        };
        writer.write(batches, fields)
    }
}
