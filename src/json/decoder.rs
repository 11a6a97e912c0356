//! The decoder: windows of raw bytes in, column batches and observations out, in one pass.
//!
//! A batch is all records that end in one window. The decoder reads it optimistically and begins it again (the bytes are
//! still there) in two cases, both rare:
//! - a column must become wider ([`Stop::Conflict`]): again with the wider columns;
//! - a record is faulty: again, now checking each record before its values are stored.
//!
//! So neither a value in a too narrow form nor a part of a rejected record is ever in a batch or in what was observed.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::column::{Column, Data};
use super::decode::{Cursor, Stop};
use super::frame::{Framer, Step};
use super::scan::{Fault, FaultAt, PADDING, Window};
use crate::schema::{Kind, Observation};

/// Near the end of a window a record is checked for being complete before it is stored.
const CHECKED_TAIL: usize = 64 << 10;

/// What bounds and shapes decoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecodeOptions {
    /// How deep arrays and objects may be nested, those around the records included. Default 128.
    pub max_depth: usize,
    /// Where the records of an envelope lie, as `["data", "items"]`; empty: every object is a record.
    pub records_path: Vec<String>,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { max_depth: 128, records_path: Vec::new() }
    }
}

/// A part of a window that belongs to one raw object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The caller's number of the raw object.
    pub object: usize,
    /// Where its bytes begin in the window.
    pub start: usize,
    /// Where they end.
    pub end: usize,
    /// The offset in the raw object (decompressed) of the first of them.
    pub offset: u64,
    /// The raw object ends here.
    pub last: bool,
}

/// Why records were rejected. The names are stored in the quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not JSON.
    Malformed,
    /// The object ends within a value.
    Truncated,
    /// Nested deeper than the limit.
    TooDeep,
    /// A `\u` escape names half of a surrogate pair.
    LoneSurrogate,
    /// The bytes are not UTF-8.
    InvalidUtf8,
    /// A value where a record was expected.
    NotAnObject,
    /// The object has no array at the pinned records path.
    EnvelopeMissing,
    /// A record larger than the limit.
    RecordTooLarge,
    /// The object cannot be inflated.
    CorruptCompression,
    /// The object inflates beyond the limits of size or ratio.
    ObjectTooLarge,
}

impl Reason {
    /// The name as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Truncated => "truncated",
            Self::TooDeep => "too_deep",
            Self::LoneSurrogate => "lone_surrogate",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NotAnObject => "not_an_object",
            Self::EnvelopeMissing => "envelope_missing",
            Self::RecordTooLarge => "record_too_large",
            Self::CorruptCompression => "corrupt_compression",
            Self::ObjectTooLarge => "object_too_large",
        }
    }
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed => Self::Malformed,
            Fault::Truncated => Self::Truncated,
            Fault::TooDeep => Self::TooDeep,
            Fault::LoneSurrogate => Self::LoneSurrogate,
            Fault::InvalidUtf8 => Self::InvalidUtf8,
        }
    }
}

/// Bytes that did not become a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The caller's number of the raw object.
    pub object: usize,
    /// Why.
    pub reason: Reason,
    /// Where the rejected bytes begin in the raw object (decompressed).
    pub offset: u64,
    /// Where the fault was found in the raw object (decompressed).
    pub fault_offset: u64,
    /// They continue the reject before them, and count with it.
    pub continued: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What became of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Rows stored.
    pub rows: u64,
    /// Rejects that are not continuations.
    pub rejected: u64,
}

/// What became of a window.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Rows in the batch.
    pub rows: usize,
    /// For each segment, what became of it.
    pub counts: Vec<Counts>,
    /// What was rejected.
    pub rejects: Vec<Reject>,
    /// How many bytes of the last segment were used. Smaller than its length only when it is not the last of its
    /// object: the rest must stand at the begin of the next window.
    pub used: usize,
    /// Keys that stood before in the same object; the last value was kept.
    pub duplicate_keys: u64,
}

/// Decodes the records of one source.
#[derive(Debug)]
pub struct Decoder {
    root: Column,
    path: Arc<[String]>,
    max_depth: usize,
    /// The state within the object that the last window did not end.
    open: Option<Framer>,
    largest_record: usize,
}

/// Why an attempt at a batch was given up.
enum Again {
    Wider,
    Checked,
}

impl Decoder {
    /// A decoder whose columns can already hold what `seed` saw.
    pub fn new(options: &DecodeOptions, seed: &Observation) -> Self {
        let mut root = Column::new();
        let mut objects = seed.clone();
        objects.tally.add(Kind::Object);
        root.seed(&[&objects]);
        Self {
            root,
            path: options.records_path.clone().into(),
            max_depth: options.max_depth,
            open: None,
            largest_record: 0,
        }
    }

    /// Decodes only these top-level keys (which the seed must know); the values of all others are checked and dropped.
    pub fn project(&mut self, keys: &BTreeSet<String>) {
        if let Data::Struct(data) = &mut self.root.data {
            data.project(keys);
        }
    }

    /// What the decoded records looked like.
    pub fn observe(&self) -> Observation {
        self.root.observe()
    }

    pub(super) fn root(&mut self) -> &mut Column {
        &mut self.root
    }

    /// Decodes all records that end in the window `bytes`.
    ///
    /// The segments follow one another in it, each with [`PADDING`](super::PADDING) zero bytes behind it. Only the last
    /// may be unfinished, and it goes on in the first segment of the next window.
    ///
    /// # Panics
    /// When a segment or its padding is not within the window.
    pub fn decode(&mut self, bytes: &[u8], segments: &[Segment]) -> Decoded {
        let mut checked = simdutf8::basic::from_utf8(bytes).is_err();
        loop {
            self.root.begin();
            match self.attempt(bytes, segments, checked) {
                Ok((decoded, open)) => {
                    self.root.commit();
                    self.open = open;
                    return decoded;
                }
                Err(Again::Wider) => {}
                Err(Again::Checked) => {
                    self.root.forget_wishes();
                    checked = true;
                }
            }
        }
    }

    /// Gives up the object that the last window did not end: what is still to come of it is one reject.
    pub fn lose(&mut self) {
        self.open.get_or_insert_with(|| Framer::new(Arc::clone(&self.path), self.max_depth)).lose();
    }

    /// Whether what is still to come of the unfinished object was given up.
    pub fn is_lost(&self) -> bool {
        self.open.as_ref().is_some_and(Framer::is_lost)
    }

    /// Forgets the unfinished object.
    pub fn close_object(&mut self) {
        self.open = None;
    }

    fn attempt(
        &mut self,
        bytes: &[u8],
        segments: &[Segment],
        checked: bool,
    ) -> Result<(Decoded, Option<Framer>), Again> {
        let mut decoded = Decoded::default();
        let mut open = self.open.clone();
        let mut duplicate_keys = 0;
        let mut scratch = Vec::new();
        for segment in segments {
            let window = Window::new(&bytes[segment.start..segment.end + PADDING]);
            let mut framer = open.take().unwrap_or_else(|| Framer::new(Arc::clone(&self.path), self.max_depth));
            let mut cursor = Cursor { window, at: 0, max_depth: self.max_depth, depth: 0, duplicate_keys, scratch };
            let counts = self.segment(&mut cursor, &mut framer, *segment, checked, &mut decoded)?;
            decoded.counts.push(counts);
            if !segment.last {
                open = Some(framer);
            }
            (duplicate_keys, scratch) = (cursor.duplicate_keys, cursor.scratch);
        }
        decoded.duplicate_keys = duplicate_keys;
        decoded.rows = self.root.len;
        Ok((decoded, open))
    }

    fn segment(
        &mut self,
        cursor: &mut Cursor<'_>,
        framer: &mut Framer,
        segment: Segment,
        checked: bool,
        decoded: &mut Decoded,
    ) -> Result<Counts, Again> {
        let window = cursor.window;
        let mut counts = Counts::default();
        let mut at = if segment.offset == 0 && window.starts_with(0, b"\xef\xbb\xbf") { 3 } else { 0 };
        let reject = |start: usize, end: usize, reason: Reason, found: usize, continued: bool| Reject {
            object: segment.object,
            reason,
            offset: segment.offset + start as u64,
            fault_offset: segment.offset + found as u64,
            continued,
            bytes: window.slice(start, end.max(start)).to_vec(),
        };
        let end = window.len();
        loop {
            at = match framer.next(&window, at, segment.last) {
                Step::End => {
                    at = end;
                    break;
                }
                Step::Incomplete(from) => {
                    at = from;
                    break;
                }
                Step::Record(start) => {
                    let tail = !segment.last && end - start < CHECKED_TAIL + 2 * self.largest_record;
                    let checks = checked || tail;
                    if checks {
                        match check(&window, start, framer.depth(), self.max_depth) {
                            Ok(_) => {}
                            Err(fault) if fault.fault == Fault::Truncated && !segment.last => {
                                at = start;
                                break;
                            }
                            Err(_) if !checked => return Err(Again::Checked),
                            Err(fault) => {
                                let Some(next) = self.pass_fault(&window, framer, start, fault, segment.last) else {
                                    at = start;
                                    break;
                                };
                                let reason = fault.fault.into();
                                decoded.rejects.push(reject(start, next, reason, fault.at, false));
                                counts.rejected += 1;
                                at = next;
                                continue;
                            }
                        }
                    }
                    cursor.at = start;
                    cursor.depth = framer.depth();
                    self.record(cursor, checks)?;
                    self.largest_record = self.largest_record.max(cursor.at - start);
                    counts.rows += 1;
                    framer.passed(&window, start, cursor.at);
                    cursor.at
                }
                Step::NotAnObject(start, stop) => {
                    decoded.rejects.push(reject(start, stop, Reason::NotAnObject, start, false));
                    counts.rejected += 1;
                    framer.passed(&window, start, stop);
                    stop
                }
                Step::EnvelopeMissing(start, stop) => {
                    let start = if start < stop { start } else { 0 };
                    decoded.rejects.push(reject(start, stop, Reason::EnvelopeMissing, start, false));
                    counts.rejected += 1;
                    stop
                }
                Step::Faulty(start, fault) => {
                    let Some(next) = self.pass_fault(&window, framer, start, fault, segment.last) else {
                        at = start;
                        break;
                    };
                    decoded.rejects.push(reject(start, next, fault.fault.into(), fault.at, false));
                    counts.rejected += 1;
                    next
                }
                Step::Lost(start) => {
                    decoded.rejects.push(reject(start, end, Reason::Malformed, start, true));
                    at = end;
                    break;
                }
            };
        }
        decoded.used = at;
        Ok(counts)
    }

    /// Where to go on behind a faulty value; `None`: the end of its line is not in this window yet.
    fn pass_fault(
        &self,
        window: &Window<'_>,
        framer: &mut Framer,
        start: usize,
        fault: FaultAt,
        last: bool,
    ) -> Option<usize> {
        framer.resume(window, start, fault, last).unwrap_or_else(|| {
            framer.lose();
            Some(window.len())
        })
    }

    /// Stores the record at the cursor as the next row. `checked`: it is known to be JSON.
    fn record(&mut self, cursor: &mut Cursor<'_>, checked: bool) -> Result<(), Again> {
        let start = cursor.at;
        let row = self.root.len;
        let Data::Struct(data) = &mut self.root.data else { return Err(Again::Wider) };
        let depth = cursor.depth;
        match cursor.object(data, row) {
            Ok(()) => {
                self.root.count(Kind::Object);
                self.root.len += 1;
                Ok(())
            }
            Err(Stop::Conflict) if checked || check(&cursor.window, start, depth, self.max_depth).is_ok() => {
                Err(Again::Wider)
            }
            Err(Stop::Conflict | Stop::Fault) => Err(Again::Checked),
        }
    }
}

/// Checks the value at `start` as JSON and as UTF-8 and returns its end.
fn check(window: &Window<'_>, start: usize, depth: usize, max_depth: usize) -> Result<usize, FaultAt> {
    let end = window.value_end(start, depth, max_depth)?;
    match simdutf8::compat::from_utf8(window.slice(start, end)) {
        Ok(_) => Ok(end),
        Err(error) => Err(FaultAt { fault: Fault::InvalidUtf8, at: start + error.valid_up_to() }),
    }
}
