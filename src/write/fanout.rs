//! From batches to data files: split by partition, gathered, and written by one open writer per live partition.
//!
//! ```text
//! batch --split--> pending rows per partition --(budget)--> a row group of its file --(target size, new columns)--> DataFile
//! ```
//!
//! Rows are gathered before a file is begun, so that its columns are those that have values and few files are begun
//! before a column is first seen. A partition has one open file at most, and its rows stay in their order: the files of
//! one partition, by their numbers, hold consecutive rows. Memory: what open files have not stored yet takes up to half of the
//! budget; past that, the file with the most is ended. Pending rows take what files leave, up to three quarters; past that, the
//! partition with the most becomes a row group. With several threads, further rows are taken while it is encoded: it counts as
//! pending until the next one is begun, and where it is most of what is held, an eighth of the budget more is taken beside it.

use std::collections::{BTreeMap, VecDeque};
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::encodings::Encodings;
use super::file::{DataFile, FileWriter, Rows, WriteContext};
use super::name::FileOrigin;
use super::prune::{covers, fields_with_values};
use crate::config::FileOptions;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::json::{FinishError, arrow_schema, conform};
use crate::partition::{PartitionKey, Partitioning, find, split};
use crate::schema::{Field, Type, data_type};
use crate::threads::hand_over;

/// More files than this are never open at once.
const MAX_OPEN_FILES: usize = 128;

/// So many row groups are encoded at a time when all files are ended: the pages of one are put into its file while the columns
/// of the next are encoded.
const ENDED_AT_ONCE: usize = 2;

/// What gathered rows and open writers of one worker may hold at most, unless larger row groups are asked for.
const MAX_WORKER_BYTES: usize = 50 << 20;

/// Bytes that gathered rows and open writers of one worker of a run may hold at most. With the default row groups are
/// smaller than they may be; those that were asked for are given room.
pub fn worker_bytes(options: &FileOptions) -> usize {
    if options.row_group_bytes == FileOptions::default().row_group_bytes {
        MAX_WORKER_BYTES
    } else {
        MAX_WORKER_BYTES.max(options.row_group_bytes.saturating_mul(2))
    }
}

/// How files are laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// A file is ended when it has about this many bytes.
    pub target_file_bytes: usize,
    /// Bytes that pending rows and open writers may hold.
    pub memory_bytes: usize,
    /// The day of the run, in days since 1970-01-01.
    pub ingested_day: i32,
}

/// Writes batches, whose columns may be added to and widened as they come, into partitioned files.
#[derive(Debug)]
pub struct FanoutWriter {
    context: WriteContext,
    partitioning: Partitioning,
    layout: Layout,
    /// The slice and the number of the next file.
    next_file: FileOrigin,
    fields: Vec<Field>,
    schema: SchemaRef,
    pending: BTreeMap<PartitionKey, Rows>,
    pending_bytes: usize,
    writers: BTreeMap<PartitionKey, FileWriter>,
    /// In the order in which they were begun.
    encoding: VecDeque<Encoding>,
    done: Vec<DataFile>,
    encodings: Encodings,
}

/// A row group that is on its way into its file, which is not among the open ones meanwhile.
#[derive(Debug)]
struct Encoding {
    key: PartitionKey,
    /// What its rows hold in memory.
    bytes: usize,
    /// What its file has not stored yet.
    file_bytes: usize,
    thread: Option<thread::JoinHandle<Option<Result<FileWriter>>>>,
}

impl Encoding {
    fn wait(mut self) -> Result<FileWriter> {
        let died = || Error::new(ErrorKind::Failed, "a thread that encodes rows has died".to_owned());
        let done = self.thread.take().and_then(|thread| thread.join().ok().flatten());
        done.ok_or_else(died)?
    }
}

/// It is waited for: whoever takes back what was stored must find all of it.
impl Drop for Encoding {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter").finish_non_exhaustive()
    }
}

/// What a writer made of the columns it was given.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Widened {
    /// They are as wide as before or wider.
    Yes,
    /// What was written under the narrower columns cannot be widened: all of it must be decoded again.
    Redo,
}

impl FanoutWriter {
    /// A writer for the slice of that id, which no other writer may use: the names of its files begin with it.
    pub fn new(context: WriteContext, partitioning: Partitioning, layout: Layout, slice: String) -> Self {
        Self {
            context,
            partitioning,
            layout,
            next_file: FileOrigin { slice, number: 0 },
            fields: Vec::new(),
            schema: arrow_schema(&[]),
            pending: BTreeMap::new(),
            pending_bytes: 0,
            writers: BTreeMap::new(),
            encoding: VecDeque::new(),
            done: Vec::new(),
            encodings: Encodings::default(),
        }
    }

    /// The columns that batches have now.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The Arrow schema of these columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Says that batches have these columns from now on.
    ///
    /// # Errors
    /// When pending rows cannot be given the new columns for another reason than that they must be decoded again.
    pub fn widen(&mut self, fields: Vec<Field>) -> Result<Widened> {
        self.settle(0)?;
        if self.is_rekeyed_by(&fields) {
            return Ok(Widened::Redo);
        }
        let schema = arrow_schema(&fields);
        for batch in self.pending.values_mut().flat_map(|rows| &mut rows.batches) {
            match conform(batch, &self.fields, &fields, &schema) {
                Ok(wide) => *batch = wide,
                Err(FinishError::Redo) => return Ok(Widened::Redo),
                Err(FinishError::Arrow(error)) => return Err(Error::failed("cannot widen rows", error)),
            }
        }
        let written = self.writers.values().map(FileWriter::fields).chain(self.done.iter().map(|file| &*file.fields));
        for file in written {
            // Files that hold a narrower type would have to be written again.
            if !is_part_of(file, &fields) {
                return Ok(Widened::Redo);
            }
        }
        (self.fields, self.schema) = (fields, schema);
        Ok(Widened::Yes)
    }

    /// Whether rows were assigned to partitions by a column that has another type in `fields`, and so other keys.
    fn is_rekeyed_by(&self, fields: &[Field]) -> bool {
        let is_used = !(self.pending.is_empty() && self.writers.is_empty() && self.done.is_empty());
        let mut exprs = self.partitioning.0.iter();
        is_used
            && exprs.any(|expr| match (find(&self.fields, &expr.column), find(fields, &expr.column)) {
                // No value so far: all rows are in the null partition.
                (None, _) | (Some(Type::Timestamp { .. }), Some(Type::Timestamp { .. })) => false,
                (before, after) => before != after,
            })
    }

    /// Takes a batch of the columns [`fields`](Self::fields).
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let parts = split(batch, &self.fields, &self.partitioning, self.layout.ingested_day);
        for part in parts.context(|| "cannot split rows by partition".to_owned())? {
            let rows = self.pending.entry(part.key.clone()).or_default();
            let before = rows.bytes;
            rows.push(part.batch);
            self.pending_bytes += rows.bytes - before;
            if rows.is_full(&self.context) {
                self.flush(&part.key, 1)?;
            }
        }
        loop {
            let encoding: usize = self.encoding.iter().map(|encoding| encoding.bytes).sum();
            let held = self.pending_bytes + encoding;
            let largest = self.pending.iter().max_by_key(|(_, rows)| rows.bytes);
            let Some((key, rows)) = largest.filter(|_| held > self.room()) else { break };
            if rows.bytes >= encoding / 2 {
                let key = key.clone();
                self.flush(&key, 1)?;
            } else if held > self.room() + self.layout.memory_bytes / 8 {
                // What is being encoded takes the room, not these rows: they would be a small row group.
                self.settle(0)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Ends all files.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn close(mut self) -> Result<Vec<DataFile>> {
        let mut storing = Storing::new(&self.context);
        while let Some(key) = self.pending.keys().next().cloned() {
            self.flush(&key, ENDED_AT_ONCE)?;
            self.store_ended(&mut storing)?;
        }
        while !self.encoding.is_empty() {
            self.settle(self.encoding.len() - 1)?;
            self.store_ended(&mut storing)?;
        }
        self.store_ended(&mut storing)?;
        self.done.append(&mut storing.finish()?);
        Ok(self.done)
    }

    /// Stores files that get no further rows.
    fn store_ended(&mut self, storing: &mut Storing) -> Result<()> {
        while let Some(key) = self.writers.keys().find(|key| !self.pending.contains_key(*key)).cloned() {
            if let Some(writer) = self.writers.remove(&key) {
                storing.add(writer)?;
            }
        }
        Ok(())
    }

    /// Drops what is not finished and returns the paths of the files that are.
    pub fn abort(self) -> Vec<String> {
        self.done.into_iter().map(|file| file.path).collect()
    }

    /// Makes the pending rows of a partition a row group, which is encoded while the caller goes on, if there are threads for it:
    /// one of `at_once` at most.
    fn flush(&mut self, key: &PartitionKey, at_once: usize) -> Result<()> {
        self.settle(at_once.saturating_sub(1))?;
        while self.encoding.iter().any(|encoding| encoding.key == *key) {
            self.settle(self.encoding.len() - 1)?;
        }
        let Some(rows) = self.pending.remove(key) else { return Ok(()) };
        self.pending_bytes -= rows.bytes;
        let (bytes, batches) = (rows.bytes, rows.batches);
        let with_values = fields_with_values(&batches.iter().collect::<Vec<_>>(), &self.fields);
        if self.writers.get(key).is_some_and(|writer| !covers(writer.fields(), &with_values)) {
            self.end_file(key)?;
        }
        let mut writer = match self.writers.remove(key) {
            Some(writer) => writer,
            None => {
                let path = self.next_path(key);
                let properties = self.encodings.fit(&self.context, &batches, &self.fields);
                let context = WriteContext { properties, ..self.context.clone() };
                FileWriter::create(&context, path, key.clone(), with_values)?
            }
        };
        if self.context.encoders.current_num_threads() == 1 {
            writer.write(batches, &self.fields)?;
            return self.put_back(key, writer);
        }
        let (file_bytes, work) = (writer.memory_bytes(), (writer, batches, self.fields.clone()));
        let encode = |(mut writer, batches, fields): (FileWriter, _, Vec<Field>)| {
            writer.write(batches, &fields).map(|()| writer)
        };
        match hand_over("row group", work, encode) {
            Ok(thread) => {
                self.encoding.push_back(Encoding { key: key.clone(), bytes, file_bytes, thread: Some(thread) });
                Ok(())
            }
            Err(work) => self.put_back(key, encode(work)?),
        }
    }

    /// Waits for row groups that are being encoded, until no more than `left` of them are.
    fn settle(&mut self, left: usize) -> Result<()> {
        while self.encoding.len() > left {
            let Some(encoding) = self.encoding.pop_front() else { break };
            let key = encoding.key.clone();
            self.put_back(&key, encoding.wait()?)?;
        }
        Ok(())
    }

    /// Takes a file back that has got a row group.
    fn put_back(&mut self, key: &PartitionKey, writer: FileWriter) -> Result<()> {
        let is_full = writer.written_bytes() >= self.layout.target_file_bytes;
        self.writers.insert(key.clone(), writer);
        if is_full {
            self.end_file(key)?;
        }
        self.keep_within_budget()
    }

    /// Bytes that pending rows may hold.
    fn room(&self) -> usize {
        let budget = self.layout.memory_bytes;
        let files: usize = self.writers.values().map(FileWriter::memory_bytes).sum();
        let files = files + self.encoding.iter().map(|encoding| encoding.file_bytes).sum::<usize>();
        budget - files.clamp(budget / 4, budget / 2)
    }

    fn keep_within_budget(&mut self) -> Result<()> {
        loop {
            let sizes = self.writers.iter().map(|(key, writer)| (writer.memory_bytes(), key));
            let used: usize = sizes.clone().map(|(bytes, _)| bytes).sum();
            let is_much = used > self.layout.memory_bytes / 2 || self.writers.len() > MAX_OPEN_FILES;
            let Some((_, key)) = sizes.max().filter(|_| is_much) else { return Ok(()) };
            let key = key.clone();
            self.end_file(&key)?;
        }
    }

    fn end_file(&mut self, key: &PartitionKey) -> Result<()> {
        if let Some(writer) = self.writers.remove(key) {
            self.done.push(writer.close()?);
        }
        Ok(())
    }

    fn next_path(&mut self, key: &PartitionKey) -> String {
        let name = self.next_file.name();
        self.next_file.number += 1;
        match self.partitioning.hive_path(key) {
            folder if folder.is_empty() => name,
            folder => format!("{folder}/{name}"),
        }
    }
}

/// Files that are ended, and stored while the next ones are encoded. Stores as many at a time as there are encoders, so a
/// single one keeps the order of what is stored.
struct Storing {
    runtime: Handle,
    most: usize,
    tasks: VecDeque<JoinHandle<Result<DataFile>>>,
    done: Vec<DataFile>,
}

impl Storing {
    fn new(context: &WriteContext) -> Self {
        let most = context.encoders.current_num_threads().max(1);
        Self { runtime: context.runtime.clone(), most, tasks: VecDeque::new(), done: Vec::new() }
    }

    fn add(&mut self, writer: FileWriter) -> Result<()> {
        while self.tasks.len() >= self.most {
            self.wait()?;
        }
        self.tasks.push_back(self.runtime.spawn_blocking(|| writer.close()));
        Ok(())
    }

    /// Waits for the first of those that are under way.
    fn wait(&mut self) -> Result<()> {
        let Some(task) = self.tasks.pop_front() else { return Ok(()) };
        let stored = self.runtime.block_on(task).context(|| "cannot store a file".to_owned())??;
        self.done.push(stored);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<DataFile>> {
        while !self.tasks.is_empty() {
            self.wait()?;
        }
        Ok(std::mem::take(&mut self.done))
    }
}

/// What is under way is waited for: whoever takes back what was stored must find all of it.
impl Drop for Storing {
    fn drop(&mut self) {
        for task in self.tasks.drain(..) {
            let _ = self.runtime.block_on(task);
        }
    }
}

/// Whether a file of the columns `file` reads correctly in a table of the columns `table`: each of its columns is there
/// under the same name, keys and type; fields of structs may be missing in the file, except in maps.
pub fn is_part_of(file: &[Field], table: &[Field]) -> bool {
    fn same(file: &Type, table: &Type) -> bool {
        match (file, table) {
            (Type::Struct(file), Type::Struct(table)) => is_part_of(file, table),
            (Type::List(file), Type::List(table)) => same(file, table),
            // Readers take no map whose values lack fields.
            (Type::Map(file), Type::Map(table)) => same(file, table) && data_type(file) == data_type(table),
            (Type::Timestamp { .. }, Type::Timestamp { .. }) => true,
            (file, table) => file == table,
        }
    }
    file.iter().all(|mine| {
        table.iter().any(|theirs| {
            theirs.name == mine.name
                && same(&mine.ty, &theirs.ty)
                && mine.keys.iter().all(|key| theirs.keys.contains(key))
        })
    })
}
