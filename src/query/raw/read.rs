//! From groups of raw objects, and parts of large ones, to batches of the rows that pass a filter.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, filter_record_batch};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::PhysicalExpr;

use super::RawScan;
use super::plan::{ReadPlan, Stage, passing};
use super::source::{Passed, RawMetrics, RawUnit};
use super::split::{Ending, Split};
use crate::json::{DecodeOptions, Decoded, Decoder, Fate, PADDING, Segment, Selection};
use crate::raw::{Ended, Feed, Fetcher, Lines, RawObject, WINDOW_BYTES, decode_segments};

/// Windows of scans that end after a few rows.
const SMALL_WINDOW_BYTES: usize = 128 << 10;
/// How many rows are a few.
const FEW_ROWS: usize = 1000;
/// Batches that are on their way, besides the one in the making.
const BATCHES_AHEAD: usize = 3;

/// What the readers of one partition do.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) scan: Arc<RawScan>,
    pub(super) fetcher: Fetcher,
    /// What a reader has.
    pub(super) memory_bytes: usize,
    pub(super) plan: Arc<ReadPlan>,
    pub(super) limit: Option<usize>,
    pub(super) passed: Arc<Passed>,
    pub(super) metrics: RawMetrics,
}

/// Takes batches; says whether more are wanted.
pub(super) type Send<'a> = &'a mut dyn FnMut(Result<RecordBatch>) -> bool;

impl Reading {
    /// Reads a unit of work, until all of it was read or `send` says stop.
    pub(super) fn read(&self, unit: &RawUnit, memory: MemoryReservation, is_wanted: &dyn Fn() -> bool, send: Send<'_>) {
        match unit {
            RawUnit::Group(objects) => self.read_objects(objects, memory, send),
            RawUnit::Part(split, part) => self.read_part(split, *part, memory, is_wanted, send),
        }
    }

    fn window_bytes(&self) -> usize {
        let is_short = self.plan.predicate.is_none() && self.limit.is_some_and(|limit| limit <= FEW_ROWS);
        if is_short { SMALL_WINDOW_BYTES } else { WINDOW_BYTES }
    }

    fn rows<'a>(&'a self, objects: &'a [RawObject], memory: MemoryReservation) -> (Rows<'a>, Decoder) {
        let late = self.plan.late.as_ref().filter(|_| self.passed.are_few());
        let late = late.map(|(first, predicate, others)| Late::new(self, first, predicate, others));
        let mut decoder = late.as_ref().map_or(&self.plan.whole, |late| late.first).decoder(&self.scan);
        if late.is_some() {
            // All is wanted, and where it lies.
            decoder.select(vec![Selection::all(); objects.len()]);
        }
        (Rows { reading: self, objects, late, left: self.limit, memory }, decoder)
    }

    fn read_objects(&self, objects: &[RawObject], memory: MemoryReservation, send: Send<'_>) {
        let (mut rows, mut decoder) = self.rows(objects, memory);
        let window_bytes = self.window_bytes();
        let fetcher = match window_bytes {
            WINDOW_BYTES => self.fetcher.clone().inflating_whole(self.memory_bytes),
            _ => self.fetcher.clone(),
        };
        let feed = Feed::new(&fetcher, objects, self.scan.limits.clone()).with_window_bytes(window_bytes);
        let mut bytes_read = 0;
        let ended = decode_segments(feed, &self.scan.decode, &mut decoder, |decoder, decoded, feed| {
            self.metrics.bytes_read.add((feed.bytes_read - bytes_read) as usize);
            bytes_read = feed.bytes_read;
            match rows.take(decoder, decoded, &feed.window, &feed.segments, feed.held_bytes()) {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(batch)) => match send(Ok(batch)) && !rows.is_done() {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                },
                Err(error) => {
                    send(Err(error));
                    ControlFlow::Break(())
                }
            }
        });
        if let Ended::Unreadable { object, error } = ended {
            let key = objects.get(object).map_or("", |object| object.key.as_str());
            send(Err(unreadable(key, &error)));
        }
    }

    /// Reads a part of a large object.
    fn read_part(
        &self,
        split: &Split,
        part: usize,
        memory: MemoryReservation,
        is_wanted: &dyn Fn() -> bool,
        send: Send<'_>,
    ) {
        let objects = std::slice::from_ref(&split.object);
        match split.has_lines(&self.scan.fetcher) {
            Ok(true) => {}
            Ok(false) if part == 0 => return self.read_objects(objects, memory, send),
            Ok(false) => return,
            Err(error) => {
                send(Err(unreadable(&split.object.key, &error)));
                return;
            }
        }
        let (rows, decoder) = self.rows(objects, memory);
        let mut reader = PartReader { split, part, rows, decoder, waiting: Vec::new(), send };
        let error = match reader.read(is_wanted) {
            Ok(()) | Err(Stop::Enough) => return,
            Err(Stop::Unreadable(error)) => unreadable(&split.object.key, &error),
            Err(Stop::Failed(error)) => error,
        };
        (reader.send)(Err(error));
    }
}

fn unreadable(key: &str, error: &io::Error) -> DataFusionError {
    DataFusionError::Execution(format!("raw object {key} could not be read: {error}"))
}

/// Why a reader stops.
enum Stop {
    Enough,
    Unreadable(io::Error),
    Failed(DataFusionError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<DataFusionError> for Stop {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(error)
    }
}

/// Reads a part of a large object, and what is behind it when it does not end with a line.
struct PartReader<'a, 'b> {
    split: &'a Split,
    part: usize,
    rows: Rows<'a>,
    decoder: Decoder,
    /// Batches of which it is not known yet whether the part began with a line.
    waiting: Vec<RecordBatch>,
    send: Send<'b>,
}

impl PartReader<'_, '_> {
    fn read(&mut self, is_wanted: &dyn Fn() -> bool) -> Result<(), Stop> {
        let (split, part) = (self.split, self.part);
        if split.begins_with_line(part) == Some(false) {
            return Ok(());
        }
        let reading = self.rows.reading;
        let seeker = split.seek(part);
        let Some(lines) = Lines::open(&reading.scan.fetcher, &split.object, split.range(part))? else {
            seeker.found(Ending::Line);
            return Ok(());
        };
        let mut lines = lines.with_window_bytes(reading.window_bytes());
        if part > 0 {
            self.decoder.begin_at_line();
        }
        let ending = self.read_lines(&mut lines)?;
        seeker.found(ending);
        let find = |part| find_ending(&reading.scan, split, part);
        if !split.wait_for_begin(part, find, is_wanted)? {
            return Ok(());
        }
        self.send_waiting()?;
        if ending == Ending::Other && !self.decoder.is_lost() {
            lines.read_on();
            self.read_lines(&mut lines)?;
            self.send_waiting()?;
        }
        Ok(())
    }

    fn read_lines(&mut self, lines: &mut Lines) -> Result<Ending, Stop> {
        let mut bytes_read = lines.bytes_read;
        let metrics = &self.rows.reading.metrics;
        metrics.bytes_read.add(bytes_read as usize);
        while let Some(segment) = lines.fill()? {
            metrics.bytes_read.add((lines.bytes_read - bytes_read) as usize);
            bytes_read = lines.bytes_read;
            let mut next = Some(segment);
            let mut used = 0;
            while let Some(segment) = next {
                let decoded = self.decoder.decode(&lines.window, &[segment]);
                let rows = &mut self.rows;
                if let Some(batch) =
                    rows.take(&mut self.decoder, &decoded, &lines.window, &[segment], lines.window.len())?
                {
                    self.waiting.push(batch);
                    let waiting: usize = self.waiting.iter().map(RecordBatch::get_array_memory_size).sum();
                    self.rows.memory.try_grow(waiting)?;
                }
                if self.split.begins_with_line(self.part) == Some(true) {
                    self.send_waiting()?;
                }
                used = segment.start + decoded.used;
                next = decoded.rest.first().copied();
            }
            let left = lines.used(used);
            if left > self.rows.reading.scan.limits.record_bytes {
                // A record larger than the limit: the rest of the object is passed over.
                self.decoder.lose();
                return Ok(Ending::Other);
            }
            if lines.is_ended() && !segment.last && !(left == 0 && self.decoder.is_at_line()) {
                return Ok(Ending::Other);
            }
        }
        Ok(Ending::Line)
    }

    fn send_waiting(&mut self) -> Result<(), Stop> {
        for batch in self.waiting.drain(..) {
            if !(self.send)(Ok(batch)) {
                return Err(Stop::Enough);
            }
        }
        if self.rows.is_done() { Err(Stop::Enough) } else { Ok(()) }
    }
}

/// Goes through a part to find how it ends.
fn find_ending(scan: &RawScan, split: &Split, part: usize) -> io::Result<Ending> {
    let Some(mut lines) = Lines::open(&scan.fetcher, &split.object, split.range(part))? else {
        return Ok(Ending::Line);
    };
    let mut decoder = Decoder::new(&scan.decode, &scan.observed);
    decoder.project(&[]);
    if part > 0 {
        decoder.begin_at_line();
    }
    while let Some(segment) = lines.fill()? {
        let mut next = Some(segment);
        let mut used = 0;
        while let Some(segment) = next {
            let decoded = decoder.decode(&lines.window, &[segment]);
            used = segment.start + decoded.used;
            next = decoded.rest.first().copied();
        }
        let left = lines.used(used);
        if left > scan.limits.record_bytes || lines.is_ended() && !segment.last && !(left == 0 && decoder.is_at_line())
        {
            return Ok(Ending::Other);
        }
    }
    Ok(Ending::Line)
}

/// Makes batches of decoded windows.
struct Rows<'a> {
    reading: &'a Reading,
    objects: &'a [RawObject],
    late: Option<Late<'a>>,
    /// How many rows are wanted still.
    left: Option<usize>,
    memory: MemoryReservation,
}

impl Rows<'_> {
    fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// The rows of a window that pass the filter, in the columns to give. `held_bytes`: what who reads the windows holds in memory.
    fn take(
        &mut self,
        decoder: &mut Decoder,
        decoded: &Decoded,
        window: &[u8],
        segments: &[Segment],
        held_bytes: usize,
    ) -> Result<Option<RecordBatch>> {
        let Reading { scan, plan, metrics, passed, .. } = self.reading;
        for counts in &decoded.counts {
            metrics.records.add(counts.records as usize);
            metrics.rejected.add(counts.rejected as usize);
        }
        if decoded.rows == 0 {
            return Ok(None);
        }
        let rows = segments.iter().zip(&decoded.counts).map(|(segment, counts)| (segment.object, counts.rows));
        let stage = self.late.as_ref().map_or(&plan.whole, |late| late.first);
        let batch = stage.batch(decoder, scan, self.objects, rows)?;
        let predicate = self.late.as_ref().map(|late| late.predicate).or(plan.predicate.as_ref());
        let batch = match predicate {
            None => batch,
            Some(predicate) => {
                let found = passing(predicate, &batch)?;
                passed.note(decoded.rows, found.true_count());
                metrics.filtered.add(decoded.rows - found.true_count());
                if found.true_count() == 0 {
                    return Ok(None);
                }
                let first =
                    if found.true_count() == decoded.rows { batch } else { filter_record_batch(&batch, &found)? };
                match &mut self.late {
                    None => first,
                    Some(late) => {
                        metrics.late.add(first.num_rows());
                        let others = late.others(scan, &found, decoded, window, segments)?;
                        return self.finish(plan.give(&[&first, &others])?, held_bytes);
                    }
                }
            }
        };
        self.finish(plan.give(&[&batch])?, held_bytes)
    }

    fn finish(&mut self, batch: RecordBatch, held_bytes: usize) -> Result<Option<RecordBatch>> {
        self.memory.try_resize(held_bytes + (1 + BATCHES_AHEAD) * batch.get_array_memory_size())?;
        Ok(Some(match &mut self.left {
            Some(left) => {
                let rows = batch.num_rows().min(*left);
                *left -= rows;
                batch.slice(0, rows)
            }
            None => batch,
        }))
    }
}

/// Decodes other columns of the rows that passed the filter.
struct Late<'a> {
    first: &'a Stage,
    predicate: &'a Arc<dyn PhysicalExpr>,
    others: &'a Stage,
    decoder: Decoder,
    /// The records, one behind another, with padding.
    records: Vec<u8>,
}

impl<'a> Late<'a> {
    fn new(reading: &Reading, first: &'a Stage, predicate: &'a Arc<dyn PhysicalExpr>, others: &'a Stage) -> Self {
        let scan = &reading.scan;
        // Each is taken on its own, whatever it lies in.
        let options = DecodeOptions { records_path: Vec::new(), ..scan.decode.clone() };
        let mut decoder = Decoder::new(&options, &scan.observed);
        decoder.project(&others.wanted);
        Self { first, predicate, others, decoder, records: Vec::new() }
    }

    fn others(
        &mut self,
        scan: &RawScan,
        passed: &arrow::array::BooleanArray,
        decoded: &Decoded,
        window: &[u8],
        segments: &[Segment],
    ) -> Result<RecordBatch> {
        self.records.clear();
        let mut segments = segments.iter().peekable();
        let rows = decoded.met.iter().filter(|met| met.fate == Fate::Row);
        for (_, met) in rows.enumerate().filter(|(row, _)| passed.value(*row)) {
            while segments.next_if(|segment| segment.object != met.object).is_some() {}
            let Some(segment) = segments.peek() else { break };
            let at = |offset: u64| segment.start + (offset - segment.offset) as usize;
            self.records.extend_from_slice(&window[at(met.bytes.start)..at(met.bytes.end)]);
            self.records.push(b'\n');
        }
        let end = self.records.len();
        self.records.resize(end + PADDING, 0);
        let mut next = Some(Segment { object: 0, start: 0, end, offset: 0, last: true });
        let (mut batches, mut rows) = (Vec::new(), 0);
        while let Some(segment) = next {
            let found = self.decoder.decode(&self.records, &[segment]);
            if found.rows > 0 {
                batches.push(self.others.batch(&mut self.decoder, scan, &[], std::iter::empty())?);
            }
            rows += found.rows;
            next = found.rest.first().copied();
        }
        if rows != passed.true_count() {
            return Err(DataFusionError::Internal("records were not found again".to_owned()));
        }
        Ok(concat_batches(&self.others.schema, &batches)?)
    }
}
