//! The slice worker: a function of plain data to plain data. It commits nothing, may run twice, and names its files uniquely.
//!
//! ```text
//! SliceTask (objects, what is known, options) --> windows --> batches --> files --> SliceResult (files, observation, counts)
//! ```
//!
//! When a column turns out wider than what was written allows, the slice begins again, knowing more.

use std::io::Read as _;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::provenance::with_provenance;
use crate::clock::{Clock as _, SystemClock};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::json::{DecodeOptions, Decoded, Decoder, FinishError, Reason, Reject, Selection};
use crate::lake::{Entry, Hidden, QuarantineWriter, Quarantined};
use crate::partition::Partitioning;
use crate::raw::{Feed, Fetcher, Filled, Limits, RawObject};
use crate::schema::{Field, Observation, resolve_ruled};
use crate::write::{DataFile, FanoutWriter, Layout, Sink, Widened, WriteContext};

/// A slice begins again at most so many times for its columns; each time it knows of a wider one.
const MAX_REDOS: usize = 64;
/// How much of an object that cannot be inflated is kept in one row of the quarantine.
const PIECE_BYTES: u64 = 8 << 20;

/// What a slice is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SliceTask {
    /// The run.
    pub run_id: String,
    /// The raw objects, sorted by key.
    pub objects: Vec<RawObject>,
    /// What is wanted of each of them; empty: all of all.
    pub portions: Vec<Portion>,
    /// What is known of the records already.
    pub known: Observation,
    /// The columns, when they are settled; else they follow from what is known and what is seen.
    pub fields: Option<Vec<Field>>,
    /// How to do it.
    pub options: SliceOptions,
}

/// What is wanted of an object that was read before: some of its rejects.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Portion {
    /// The raw object that rows and rejects are counted for. What is read may be a part of it.
    pub object: RawObject,
    /// Where in it (decompressed) begins what is read.
    pub base: u64,
    /// The rejects, in the order of their bytes.
    pub pieces: Vec<Piece>,
}

/// A reject that is decoded again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Piece {
    /// Where it lies in what is read (decompressed).
    pub bytes: Range<u64>,
    /// The run that rejected it.
    pub run_id: String,
    /// When that was, in microseconds since 1970-01-01T00:00:00Z.
    pub rejected_at_micros: i64,
}

impl Portion {
    /// The rejects, for a decoder.
    pub(super) fn selection(&self) -> Selection {
        Selection::new(self.pieces.iter().map(|piece| piece.bytes.clone()).collect())
    }

    /// The row for a reject of what is read; `None` when it is in none of the pieces, and so in quarantine already.
    fn row(&self, mut reject: Reject) -> Option<Quarantined> {
        let next = self.pieces.partition_point(|piece| piece.bytes.end <= reject.offset);
        let piece = self.pieces.get(next).filter(|piece| piece.bytes.start <= reject.offset)?;
        reject.offset += self.base;
        reject.fault_offset += self.base;
        Some(Quarantined::new(piece.run_id.clone(), piece.rejected_at_micros, self.object.clone(), reject))
    }
}

impl SliceTask {
    /// Takes objects out that could not be read.
    pub(super) fn leave_out(&mut self, unreadable: &[(RawObject, String)]) {
        for (object, _) in unreadable {
            if let Some(index) = self.objects.iter().position(|other| other == object) {
                self.remove(index);
            }
        }
    }

    fn remove(&mut self, index: usize) -> RawObject {
        if !self.portions.is_empty() {
            self.portions.remove(index);
        }
        self.objects.remove(index)
    }
}

/// How slices of one run are done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SliceOptions {
    /// Decoding.
    pub decode: DecodeOptions,
    /// What bounds raw objects.
    pub limits: Limits,
    /// The partitions.
    pub partitioning: Partitioning,
    /// The column that names the raw object of each row.
    pub provenance: Option<String>,
    /// A data file is ended at about this many bytes.
    pub target_file_bytes: usize,
    /// Bytes that gathered rows and open writers may hold.
    pub memory_bytes: usize,
    /// When the run is, in microseconds since 1970-01-01T00:00:00Z.
    pub at_micros: i64,
}

/// What became of a slice.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SliceResult {
    /// The files written.
    pub files: Vec<DataFile>,
    /// The quarantine file written.
    pub quarantine: Option<String>,
    /// What the records looked like.
    pub observed: Observation,
    /// The columns that were written.
    pub fields: Vec<Field>,
    /// What became of each object.
    pub entries: Vec<Entry>,
    /// Objects that could not be read, and why: they are left for another run.
    pub unreadable: Vec<(RawObject, String)>,
    /// Decompressed bytes read.
    pub bytes_in: u64,
    /// Keys that stood before in the same object; the last value was kept.
    pub duplicate_keys: u64,
}

impl SliceResult {
    /// The paths of all that was written.
    pub(super) fn paths(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|file| file.path.clone()).chain(self.quarantine.clone())
    }
}

/// What a worker needs beside its task.
#[derive(Debug, Clone)]
pub struct SliceContext {
    /// Reads raw objects.
    pub fetcher: Fetcher,
    /// Writes files.
    pub write: WriteContext,
    /// Writes quarantine files.
    pub hidden: Hidden,
    /// Counts decompressed bytes, for progress.
    pub progress: Arc<AtomicU64>,
}

impl SliceContext {
    /// A new quarantine file, by its path below the table's folder.
    pub(super) fn quarantine_file(&self, id: &str) -> Result<(String, Sink)> {
        let path = Hidden::quarantine_path(id);
        let object = Path::parse(format!("{}/{path}", self.write.table)).context(|| format!("bad path {path}"))?;
        Ok((path, Sink::new(&self.write.store, object, &self.write.runtime)))
    }
}

/// One attempt's end.
enum Attempt {
    Done(Box<SliceResult>),
    /// Again, knowing this too.
    Redo(Box<Observation>),
    /// Again, without this object, of which a part was stored already.
    Without(usize, String),
}

/// Does a slice. Not for threads of the I/O runtime: it blocks.
///
/// # Errors
/// When a file cannot be written, or the slice never settles.
pub fn run_slice(task: &SliceTask, context: &SliceContext) -> Result<SliceResult> {
    let begun = task;
    let mut task = task.clone();
    let mut unreadable = Vec::new();
    let mut redone = 0;
    while redone < MAX_REDOS {
        match Run::new(&task, context)?.run()? {
            Attempt::Done(mut result) => {
                result.unreadable.append(&mut unreadable);
                return Ok(*result);
            }
            Attempt::Redo(seen) => {
                task.known.merge(&seen);
                redone += 1;
            }
            Attempt::Without(object, why) => {
                unreadable.push((task.remove(object), why));
                // What was seen in it no longer counts.
                task.known.clone_from(&begun.known);
                redone = 0;
            }
        }
    }
    let first = task.objects.first().map_or("", |object| object.key.as_str());
    Err(Error::new(ErrorKind::Failed, format!("the columns of the slice that begins with {first} do not settle")))
}

/// One attempt at a slice.
struct Run<'a> {
    task: &'a SliceTask,
    context: &'a SliceContext,
    objects: &'a [RawObject],
    decoder: Decoder,
    writer: FanoutWriter,
    quarantine: QuarantineWriter,
    quarantine_path: String,
    entries: Vec<Entry>,
    /// The last object that was decoded, perhaps not to its end.
    begun: Option<usize>,
    /// Objects of which nothing was decoded, and why.
    unreadable: Vec<(usize, String)>,
    duplicate_keys: u64,
    bytes_in: u64,
    /// Bytes that were added to the progress.
    bytes_shown: u64,
}

impl<'a> Run<'a> {
    fn new(task: &'a SliceTask, context: &'a SliceContext) -> Result<Self> {
        let options = &task.options;
        let layout = Layout {
            target_file_bytes: options.target_file_bytes,
            memory_bytes: options.memory_bytes,
            ingested_day: options.at_micros.div_euclid(86_400_000_000) as i32,
        };
        // Each attempt has names of its own: the same task may run twice at once.
        let prefix = SystemClock.new_id();
        let (quarantine_path, sink) = context.quarantine_file(&prefix)?;
        let entry = |object: &RawObject| Entry {
            object: object.clone(),
            records_in: 0,
            rows_out: 0,
            quarantined: 0,
            slice: prefix.clone(),
        };
        let mut decoder = Decoder::new(&options.decode, &task.known);
        let entries = match &task.portions[..] {
            [] => task.objects.iter().map(entry).collect(),
            portions => {
                decoder.select(portions.iter().map(Portion::selection).collect());
                portions.iter().map(|portion| entry(&portion.object)).collect()
            }
        };
        Ok(Self {
            task,
            context,
            objects: &task.objects,
            decoder,
            writer: FanoutWriter::new(context.write.clone(), options.partitioning.clone(), layout, prefix),
            quarantine: QuarantineWriter::new(task.run_id.clone(), options.at_micros, sink),
            quarantine_path,
            entries,
            begun: None,
            unreadable: Vec::new(),
            duplicate_keys: 0,
            bytes_in: 0,
            bytes_shown: 0,
        })
    }

    fn run(mut self) -> Result<Attempt> {
        match self.read_all() {
            Ok(None) => self.finish(),
            Ok(Some(attempt)) => {
                self.discard();
                Ok(attempt)
            }
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    fn discard(self) {
        self.context.progress.fetch_sub(self.bytes_shown, Ordering::Relaxed);
        let (hidden, runtime) = (self.context.hidden.clone(), self.context.write.runtime.clone());
        let written = self.writer.abort();
        runtime.block_on(hidden.discard(&written));
    }

    /// Reads all objects; `Some` when the attempt must be given up.
    fn read_all(&mut self) -> Result<Option<Attempt>> {
        let mut feed = Feed::new(&self.context.fetcher, self.objects, self.task.options.limits.clone());
        loop {
            let before = feed.bytes_read;
            let filled = feed.fill();
            let more = feed.bytes_read.saturating_sub(before);
            self.context.progress.fetch_add(more, Ordering::Relaxed);
            self.bytes_shown += more;
            self.bytes_in = feed.bytes_read;
            if let Filled::Unreadable { object, error } = &filled {
                if self.begun == Some(*object) {
                    return Ok(Some(Attempt::Without(*object, error.to_string())));
                }
                self.unreadable.push((*object, error.to_string()));
            }
            match (feed.segments.last(), &filled) {
                (Some(last), _) => self.begun = Some(last.object),
                (None, Filled::Unreadable { .. }) => continue,
                (None, _) => return Ok(None),
            }
            if let Err((object, error)) = feed.read_envelope(&self.task.options.decode, &mut self.decoder) {
                return Ok(Some(Attempt::Without(object, error.to_string())));
            }
            let mut decoded = self.decoder.decode(&feed.window, &feed.segments);
            let (used, rest) = (decoded.used, std::mem::take(&mut decoded.rest));
            if let Some(redo) = self.store(&feed, decoded)? {
                return Ok(Some(redo));
            }
            if feed.take_rest(rest, &filled) {
                continue;
            }
            if let Filled::Broken { object, reason } = filled {
                self.break_off(&feed, object, reason, used)?;
            } else if !feed.used(used) {
                self.lose_record(&mut feed, used)?;
            }
        }
    }

    /// Writes the rows and rejects of one batch.
    fn store(&mut self, feed: &Feed<'_>, decoded: Decoded) -> Result<Option<Attempt>> {
        for (segment, counts) in feed.segments.iter().zip(&decoded.counts) {
            let entry = &mut self.entries[segment.object];
            entry.records_in += counts.records;
            entry.rows_out += counts.rows;
            entry.quarantined += counts.rejected;
        }
        self.duplicate_keys += decoded.duplicate_keys;
        for reject in decoded.rejects {
            self.keep(reject)?;
        }
        if decoded.rows == 0 {
            return Ok(None);
        }
        let settled = match &self.task.fields {
            Some(fields) => fields.clone(),
            None if decoded.learned || self.writer.fields().is_empty() => self.resolve(),
            None => self.writer.fields().to_vec(),
        };
        if settled != self.writer.fields() && self.writer.widen(settled)? == Widened::Redo {
            return Ok(Some(Attempt::Redo(Box::new(self.decoder.observe()))));
        }
        match self.decoder.finish(self.writer.fields(), self.writer.schema()) {
            Ok(batch) => {
                let rows = feed.segments.iter().zip(&decoded.counts);
                let rows = rows.map(|(segment, counts)| (self.objects[segment.object].key.as_str(), counts.rows));
                let batch = with_provenance(batch, self.writer.fields(), rows)?;
                self.writer.write(&batch).map(|()| None)
            }
            Err(FinishError::Redo) => Ok(Some(Attempt::Redo(Box::new(self.decoder.observe())))),
            Err(FinishError::Arrow(error)) => Err(Error::failed("cannot build columns", error)),
        }
    }

    fn resolve(&self) -> Vec<Field> {
        let mut seen = self.task.known.clone();
        seen.merge(&self.decoder.observe());
        let options = &self.task.options;
        let provenance = options.provenance.as_deref();
        let reserved: Vec<String> =
            options.partitioning.names().into_iter().chain(provenance.map(str::to_owned)).collect();
        let mut fields = resolve_ruled(&seen, &reserved, &options.decode.rule);
        fields.extend(provenance.map(Field::provenance));
        fields
    }

    /// The rest of an object cannot be read: it is one reject.
    fn break_off(&mut self, feed: &Feed<'_>, object: usize, reason: Reason, used: usize) -> Result<()> {
        let offset = feed.segments.last().map_or(0, |segment| segment.offset + used as u64);
        let mut reject = Reject {
            object,
            reason,
            column: None,
            offset,
            fault_offset: offset,
            continued: self.decoder.is_lost(),
            bytes: feed.rest(used).to_vec(),
        };
        self.decoder.close_object();
        // What does not inflate, or inflates too far, is kept as it is stored, in pieces.
        let Some(Ok(mut stored)) = self.context.fetcher.open_all(&self.objects[object..=object]).next() else {
            return self.reject(reject);
        };
        reject.bytes.clear();
        loop {
            let mut piece = Vec::new();
            let read = stored.by_ref().take(PIECE_BYTES).read_to_end(&mut piece);
            read.context(|| format!("cannot read {} again", self.objects[object].key))?;
            if piece.is_empty() && reject.continued {
                return Ok(());
            }
            self.reject(Reject { bytes: piece, ..reject.clone() })?;
            reject.continued = true;
        }
    }

    /// The record that the last segment begins is too large: it and all that follows it in its object are one reject.
    fn lose_record(&mut self, feed: &mut Feed<'_>, used: usize) -> Result<()> {
        let Some(segment) = feed.segments.last().copied() else { return Ok(()) };
        let offset = segment.offset + used as u64;
        let bytes = feed.rest(used).to_vec();
        self.decoder.lose();
        let (object, reason) = (segment.object, Reason::RecordTooLarge);
        self.reject(Reject { object, reason, offset, fault_offset: offset, column: None, continued: false, bytes })?;
        let all_used = feed.used(segment.end - segment.start);
        debug_assert!(all_used, "nothing is left of a segment that was used whole");
        Ok(())
    }

    fn reject(&mut self, reject: Reject) -> Result<()> {
        let (object, counts) = (reject.object, u64::from(!reject.continued));
        if self.keep(reject)? {
            self.entries[object].records_in += counts;
            self.entries[object].quarantined += counts;
        }
        Ok(())
    }

    /// Quarantines a reject, if it is wanted.
    fn keep(&mut self, reject: Reject) -> Result<bool> {
        let Some(portion) = self.task.portions.get(reject.object) else {
            return self.quarantine.push(&self.objects[reject.object], reject).map(|()| true);
        };
        match portion.row(reject) {
            Some(row) => self.quarantine.push_row(row).map(|()| true),
            None => Ok(false),
        }
    }

    fn finish(self) -> Result<Attempt> {
        let fields = self.writer.fields().to_vec();
        let files = self.writer.close()?;
        self.context.write.stored.add(&self.quarantine_path);
        let quarantine = self.quarantine.finish()?.then_some(self.quarantine_path);
        let is_unreadable =
            |object: &usize| self.unreadable.binary_search_by_key(object, |(object, _)| *object).is_ok();
        let entries = self.entries.into_iter().enumerate().filter(|(object, _)| !is_unreadable(object));
        let unreadable = self.unreadable.iter().map(|(object, why)| (self.objects[*object].clone(), why.clone()));
        Ok(Attempt::Done(Box::new(SliceResult {
            files,
            quarantine,
            observed: self.decoder.observe_with_objects(|object| self.objects[object].key.clone()),
            fields,
            entries: entries.map(|(_, entry)| entry).collect(),
            unreadable: unreadable.collect(),
            bytes_in: self.bytes_in,
            duplicate_keys: self.duplicate_keys,
        })))
    }
}
