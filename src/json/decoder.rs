//! The decoder: windows of raw bytes in, column batches and observations out, in one pass.
//!
//! A batch is all records that end in one window, or fewer where they have very many columns. The decoder reads it
//! optimistically and begins it again (the bytes are still there) in two cases, both rare:
//! - columns must become wider: again with the wider columns, when the window was read to its end;
//! - a record is faulty: again at once, now checking each record before its values are stored.
//!
//! So neither a value in a too narrow form nor a part of a rejected record is ever in a batch or in what was observed.

use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::column::Column;
use super::decode::{Attempt, Cursor};
use super::frame::{Framer, Resume, Step};
use super::members::{Envelope, EnvelopeReader};
use super::refuse::{Refusal, refusal};
use super::scan::{Fault, FaultAt, PADDING, Window};
use super::selection::{Fate, Met, Selection};
use super::storage::Data;
use crate::schema::{Contract, Field, Kind, MEMBER_PREFIX, Observation, Rule};

/// Near the end of a window a record is checked for being complete before it is stored. (Tests have small windows.)
const CHECKED_TAIL: usize = if cfg!(any(test, fuzzing)) { 64 } else { 64 << 10 };

/// How many columns the records of a source may have unless it is said otherwise.
pub const MAX_COLUMNS: usize = 2_000;

/// How many cells a batch has, about: at 8 bytes for most.
const MAX_CELLS: usize = 4 << 20;

/// What bounds and shapes decoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecodeOptions {
    /// How deep arrays and objects may be nested, those around the records included. Default 128.
    pub max_depth: usize,
    /// Where the records of an envelope lie, as `["data", "items"]`; empty: every object is a record.
    pub records_path: Vec<String>,
    /// Paths of members of the envelope whose values become columns of its records, under the keys `envelope.<path>`.
    pub envelope_fields: Vec<Vec<String>>,
    /// What is said of the columns.
    pub rule: Rule,
    /// Keys that records may have columns for; past it, the members of all others go into one column of JSON text.
    pub max_columns: usize,
    /// A batch ends when it has about so many cells. There is one for each row and column, also where nothing is.
    pub max_cells: usize,
    /// How those columns of the seed may change that a table has (whose observations bear a column's name).
    pub contract: Contract,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            max_depth: 128,
            records_path: Vec::new(),
            envelope_fields: Vec::new(),
            rule: Rule::default(),
            max_columns: MAX_COLUMNS,
            max_cells: MAX_CELLS,
            contract: Contract::default(),
        }
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
    /// A value that does not fit its column, whose type is said or may not change.
    TypeMismatch,
    /// A value under a key that the table has no column for and may get none.
    UnknownColumn,
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
            Self::TypeMismatch => "type_mismatch",
            Self::UnknownColumn => "unknown_column",
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
    /// The column at fault, by its path of original keys, as `payload.items[].price`, when the table refuses a value.
    pub column: Option<String>,
    /// They continue the reject before them, and count with it.
    pub continued: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What became of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Values found where a record was expected, counted by the framer.
    pub records: u64,
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
    /// For each segment that the batch holds something of, what became of it.
    pub counts: Vec<Counts>,
    /// What the batch left of the window, as it was full: the segments that must be decoded next, of the same window.
    pub rest: Vec<Segment>,
    /// What was rejected.
    pub rejects: Vec<Reject>,
    /// How many bytes of the last of these segments were used. Smaller than its length only when the batch was full, or
    /// when it is not the last of its object: then the rest must stand at the begin of the next window.
    pub used: usize,
    /// Keys that stood before in the same object; the last value was kept. (In JSON text all are kept, and not counted.)
    pub duplicate_keys: u64,
    /// Something was seen for the first time that columns may follow from.
    pub learned: bool,
    /// With a selection: the values that lie in or reach into it, in the order of each object's rows and then its rejects.
    pub met: Vec<Met>,
}

/// Decodes the records of one source.
#[derive(Debug)]
pub struct Decoder {
    root: Column,
    path: Arc<[String]>,
    max_depth: usize,
    max_columns: usize,
    max_cells: usize,
    /// Paths of the envelope's members that records get, and the keys that they get them under.
    members: Arc<[Vec<String>]>,
    member_keys: Vec<String>,
    /// The envelope of the object that the next window begins and does not end.
    next_envelope: Envelope,
    /// The object that the last batch did not end.
    open: Option<Unfinished>,
    largest_record: usize,
    /// The batch was given away.
    taken: bool,
    /// Records of the window (by object and offset) that a column refused although nothing was found in them.
    unexplained: Vec<(usize, u64)>,
    /// What is wanted of each raw object, by the caller's number; empty: all of all.
    selections: Arc<[Selection]>,
    /// No column is wanted, and none may refuse a record.
    skips_records: bool,
}

/// The state within an object that was not decoded to its end.
#[derive(Debug, Clone)]
struct Unfinished {
    framer: Framer,
    /// The JSON texts of its envelope's members, with padding.
    envelope: Envelope,
}

/// Why an attempt at a batch was given up.
enum Again {
    Wider,
    Checked,
}

impl Decoder {
    /// A decoder whose columns can already hold what `seed` saw.
    pub fn new(options: &DecodeOptions, seed: &Observation) -> Self {
        Self {
            root: Column::root(seed, &options.rule, options.contract),
            path: options.records_path.clone().into(),
            max_depth: options.max_depth,
            max_columns: options.max_columns,
            max_cells: options.max_cells,
            members: options.envelope_fields.clone().into(),
            member_keys: options
                .envelope_fields
                .iter()
                .map(|path| format!("{MEMBER_PREFIX}{}", path.join(".")))
                .collect(),
            next_envelope: Envelope::default(),
            open: None,
            largest_record: 0,
            taken: false,
            unexplained: Vec::new(),
            selections: Arc::default(),
            skips_records: false,
        }
    }

    /// Decodes only what begins within the selection of its raw object, which are by the caller's numbers. All else is gone
    /// past: it is neither stored nor observed, rejected nor counted.
    pub fn select(&mut self, selections: Vec<Selection>) {
        self.selections = selections.into();
    }

    /// Decodes only the columns `fields` (whose keys the seed must know), and of structs only the fields that they have there;
    /// all other values are checked and dropped.
    pub fn project(&mut self, fields: &[Field]) {
        if let Data::Struct(data) = &mut self.root.data {
            data.project(fields);
            self.skips_records = data.is_skipped() && self.members.is_empty();
        }
    }

    /// Takes what is decoded next for a part of an object that begins with a line, behind other lines of values.
    pub fn begin_at_line(&mut self) {
        self.open = Some(Unfinished { framer: self.framer().behind_lines(), envelope: Envelope::default() });
    }

    /// Whether what was decoded of the unfinished object ended with a line, all lines of it being values: then the rest can
    /// be decoded from there [by another decoder](Self::begin_at_line).
    pub fn is_at_line(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.framer.is_behind_lines())
    }

    /// What the decoded records looked like; without naming raw objects.
    pub fn observe(&self) -> Observation {
        self.root.observe(&|_| None)
    }

    /// What the decoded records looked like. `key` gives the key of a raw object by the caller's number.
    pub fn observe_with_objects(&self, key: impl Fn(usize) -> String) -> Observation {
        self.root.observe(&|object| Some(key(object as usize)))
    }

    /// The columns of the batch; `None` when they were taken before.
    pub(super) fn take_root(&mut self) -> Option<&mut Column> {
        (!std::mem::replace(&mut self.taken, true)).then_some(&mut self.root)
    }

    /// Decodes all records that end in the window `bytes`, unless there is a [`rest`](Decoded::rest).
    ///
    /// The segments follow one another in it, each with [`PADDING`](super::PADDING) zero bytes behind it. Only the last
    /// may be unfinished, and it goes on in the first segment of the next window.
    ///
    /// # Panics
    /// When a segment or its padding is not within the window, or when the window has 2 GiB or more.
    pub fn decode(&mut self, bytes: &[u8], segments: &[Segment]) -> Decoded {
        self.decode_rows(bytes, segments, usize::MAX)
    }

    /// [`decode`](Self::decode), with the end of the batch behind row `rows` at the latest.
    ///
    /// # Panics
    /// As it does.
    pub fn decode_rows(&mut self, bytes: &[u8], segments: &[Segment], rows: usize) -> Decoded {
        assert!(i32::try_from(bytes.len()).is_ok(), "the offsets of strings and lists have 31 bits");
        let mut checked = !is_utf8(bytes, segments);
        self.taken = false;
        self.unexplained.clear();
        let mut least_rows = 0;
        loop {
            self.root.begin();
            match self.attempt(bytes, segments, least_rows..=rows, checked) {
                Ok((mut decoded, open)) => {
                    let ends: Vec<u64> = decoded
                        .counts
                        .iter()
                        .scan(0, |rows, counts| {
                            *rows += counts.rows;
                            Some(*rows)
                        })
                        .collect();
                    decoded.learned = self.root.commit(&|row| {
                        let segment = ends.partition_point(|end| *end <= row as u64);
                        segments.get(segment).map_or(0, |segment| segment.object as u32)
                    });
                    self.open = open;
                    return decoded;
                }
                Err(Again::Wider) => {
                    // All that the columns follow from from now on must be in the batch.
                    least_rows = least_rows.max(self.root.len);
                    if self.is_too_wide()
                        && let Data::Struct(data) = &mut self.root.data
                    {
                        data.overflow(self.max_columns);
                        self.root.collapsed = true;
                    }
                    self.root.widen();
                }
                Err(Again::Checked) => {
                    self.root.forget();
                    checked = true;
                }
            }
        }
    }

    /// Whether the object that `segment` begins must be gone through before it is decoded, for its envelope's members
    /// (see [`EnvelopeReader`]): what stands behind the records is wanted with the first of them.
    pub fn wants_envelope(&self, segment: &Segment) -> bool {
        !self.members.is_empty() && !self.path.is_empty() && segment.offset == 0 && !segment.last
    }

    /// Says what an [`EnvelopeReader`] found in the object that is decoded next and does not end in its first window.
    pub fn set_envelope(&mut self, envelope: Envelope) {
        self.next_envelope = envelope;
    }

    /// Gives up the object that the last window did not end: what is still to come of it is one reject.
    pub fn lose(&mut self) {
        let unfinished = Unfinished { framer: self.framer(), envelope: Envelope::default() };
        self.open.get_or_insert(unfinished).framer.lose();
    }

    /// Whether what is still to come of the unfinished object was given up.
    pub fn is_lost(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.framer.is_lost())
    }

    /// Forgets the unfinished object.
    pub fn close_object(&mut self) {
        self.open = None;
    }

    fn framer(&self) -> Framer {
        Framer::new(Arc::clone(&self.path), self.max_depth)
    }

    fn attempt(
        &mut self,
        bytes: &[u8],
        segments: &[Segment],
        rows: RangeInclusive<usize>,
        checked: bool,
    ) -> Result<(Decoded, Option<Unfinished>), Again> {
        let mut decoded = Decoded::default();
        let mut open = self.open.clone();
        let mut attempt = Attempt::new(rows);
        for (index, segment) in segments.iter().enumerate() {
            let padded = &bytes[segment.start..segment.end + PADDING];
            let window = Window::new(padded);
            let mut object = open.take().unwrap_or_else(|| self.begin_object(segment, padded));
            let mut cursor = Cursor { window, at: 0, max_depth: self.max_depth, depth: 0, attempt: &mut attempt };
            let counts = self.segment(&mut cursor, &mut object, *segment, checked, &mut decoded)?;
            decoded.counts.push(counts);
            if attempt.is_full || !segment.last {
                open = Some(object);
            }
            if attempt.is_full {
                let (start, offset) = (segment.start + decoded.used, segment.offset + decoded.used as u64);
                decoded.rest.push(Segment { start, offset, ..*segment });
                decoded.rest.extend(&segments[index + 1..]);
                break;
            }
        }
        if attempt.conflicts {
            return Err(Again::Wider);
        }
        decoded.duplicate_keys = attempt.duplicate_keys;
        decoded.rows = self.root.len;
        Ok((decoded, open))
    }

    /// The state before the object that `segment`, whose bytes are `padded`, begins.
    fn begin_object(&self, segment: &Segment, padded: &[u8]) -> Unfinished {
        let envelope = if self.members.is_empty() {
            Envelope::default()
        } else if !segment.last {
            self.next_envelope.clone()
        } else {
            let mut reader = EnvelopeReader { framer: self.framer().with_members(&self.members) };
            reader.read(padded, true);
            reader.finish()
        };
        Unfinished { framer: self.framer(), envelope }
    }

    /// Whether the batch ends with the record that was stored last. Its cells are counted now and then.
    fn is_full(&self, allowed: &RangeInclusive<usize>) -> bool {
        let rows = self.root.len;
        let is_due = rows.is_power_of_two() || rows.is_multiple_of(1024);
        rows >= *allowed.end() || rows >= *allowed.start() && is_due && self.root.cells(rows) > self.max_cells
    }

    fn segment(
        &mut self,
        cursor: &mut Cursor<'_>,
        object: &mut Unfinished,
        segment: Segment,
        checked: bool,
        decoded: &mut Decoded,
    ) -> Result<Counts, Again> {
        let window = cursor.window;
        let Unfinished { framer, envelope } = object;
        let mut counts = Counts::default();
        let values_before = framer.values();
        let selections = Arc::clone(&self.selections);
        let selection = selections.get(segment.object);
        let (first_reject, mut passed) = (decoded.rejects.len(), 0);
        let place_of = |start: usize, stop: usize| segment.offset + start as u64..segment.offset + stop as u64;
        let mut at = if segment.offset == 0 && window.starts_with(0, b"\xef\xbb\xbf") { 3 } else { 0 };
        let reject = |start: usize, end: usize, reason: Reason, found: usize, continued: bool| Reject {
            object: segment.object,
            reason,
            column: None,
            offset: segment.offset + start as u64,
            fault_offset: segment.offset + found as u64,
            continued,
            bytes: window.slice(start, end.max(start)).to_vec(),
        };
        let end = window.len();
        loop {
            let step = framer.next(&window, at, segment.last);
            at = match step {
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
                    let is_wanted = selection.is_none_or(|wanted| wanted.find(place_of(start, start).start).is_some());
                    let checks = checked || tail || !is_wanted;
                    if checks {
                        match window.check(start, framer.depth(), self.max_depth) {
                            Ok(stop) if !is_wanted => {
                                if let Some(selection) = selection {
                                    selection.note(segment.object, place_of(start, stop), Fate::Row, &mut decoded.met);
                                }
                                framer.passed(&window, start, stop);
                                passed += 1;
                                at = stop;
                                continue;
                            }
                            Ok(_) => {}
                            Err(fault) if fault.fault() == Fault::Truncated && !segment.last => {
                                at = start;
                                break;
                            }
                            Err(_) if !checked && is_wanted => return Err(Again::Checked),
                            Err(fault) => {
                                let Some(next) = self.pass_fault(&window, framer, start, fault, segment.last) else {
                                    at = start;
                                    break;
                                };
                                let reason = fault.fault().into();
                                decoded.rejects.push(reject(start, next, reason, fault.at(), false));
                                counts.rejected += 1;
                                at = next;
                                continue;
                            }
                        }
                    }
                    let place = (segment.object, segment.offset + start as u64);
                    if checked && let Some((refusal, stop)) = self.refusal(&window, start, place) {
                        let mut refused = reject(start, stop, refusal.reason, refusal.at, false);
                        refused.column = Some(refusal.path).filter(|path| !path.is_empty());
                        decoded.rejects.push(refused);
                        counts.rejected += 1;
                        framer.passed(&window, start, stop);
                        at = stop;
                        continue;
                    }
                    cursor.at = start;
                    cursor.depth = framer.depth();
                    if let Err(again) = self.record(cursor, envelope) {
                        if checked {
                            self.unexplained.push(place);
                        }
                        return Err(again);
                    }
                    self.largest_record = self.largest_record.max(cursor.at - start);
                    counts.rows += 1;
                    if let Some(selection) = selection {
                        selection.note(segment.object, place_of(start, cursor.at), Fate::Row, &mut decoded.met);
                    }
                    framer.passed(&window, start, cursor.at);
                    if self.is_too_wide() {
                        // At once: columns for all keys of a window may need more memory than there is.
                        return Err(Again::Wider);
                    }
                    if self.is_full(&cursor.attempt.rows) {
                        cursor.attempt.is_full = true;
                        at = cursor.at;
                        break;
                    }
                    cursor.at
                }
                Step::NotAnObject(start, stop) => {
                    decoded.rejects.push(reject(start, stop, Reason::NotAnObject, start, false));
                    counts.rejected += 1;
                    framer.passed(&window, start, stop);
                    stop
                }
                Step::EnvelopeMissing(start, stop) => {
                    decoded.rejects.push(reject(start, stop, Reason::EnvelopeMissing, start, false));
                    counts.rejected += 1;
                    framer.passed(&window, start, stop);
                    stop
                }
                Step::Faulty(start, fault) => {
                    let Some(next) = self.pass_fault(&window, framer, start, fault, segment.last) else {
                        at = start;
                        break;
                    };
                    decoded.rejects.push(reject(start, next, fault.fault().into(), fault.at(), false));
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
        if let Some(selection) = selection {
            passed += selection.keep(&segment, first_reject, &mut decoded.rejects, &mut counts, &mut decoded.met);
        }
        counts.records = framer.values() - values_before - passed;
        Ok(counts)
    }

    /// Where to go on behind a faulty value; `None`: that cannot be told from this window.
    fn pass_fault(
        &self,
        window: &Window<'_>,
        framer: &mut Framer,
        start: usize,
        fault: FaultAt,
        last: bool,
    ) -> Option<usize> {
        match framer.resume(window, start, fault, last) {
            Resume::At(next) => Some(next),
            Resume::Unknown => None,
            Resume::Nowhere => {
                framer.lose();
                Some(window.len())
            }
        }
    }

    /// The value of the sound record at `start` that the table refuses, and the record's end.
    fn refusal(&self, window: &Window<'_>, start: usize, place: (usize, u64)) -> Option<(Refusal, usize)> {
        let Data::Struct(data) = &self.root.data else { return None };
        let unexplained = || {
            let refusal = Refusal { at: start, reason: Reason::TypeMismatch, path: String::new() };
            self.unexplained.contains(&place).then_some(refusal)
        };
        let refusal = refusal(window, start, data).or_else(unexplained)?;
        let end = window.value_end(start, 0, usize::MAX).ok()?;
        Some((refusal, end))
    }

    /// Whether records have more keys than may have columns.
    fn is_too_wide(&self) -> bool {
        matches!(&self.root.data, Data::Struct(data) if data.is_too_wide(self.max_columns))
    }

    /// Stores the record at the cursor as the next row.
    fn record(&mut self, cursor: &mut Cursor<'_>, envelope: &Envelope) -> Result<(), Again> {
        let row = self.root.len;
        let Data::Struct(data) = &mut self.root.data else { return Err(Again::Checked) };
        if self.skips_records {
            cursor.skip().map_err(|_| Again::Checked)?;
            self.root.len += 1;
            return Ok(());
        }
        cursor.object(data, row).map_err(|_| Again::Checked)?;
        if let Some(rest) = &mut data.rest {
            rest.end_record();
        }
        for (index, (key, text)) in self.member_keys.iter().zip(envelope.0.iter()).enumerate() {
            let Some(text) = text else { continue };
            let child = data.add(key) as usize;
            let child = &mut data.children[child];
            // A record's own key of that name comes first.
            if child.column.len <= row {
                child.batch_place = child.batch_place.min(FIRST_MEMBER_PLACE + index as u32);
                child.column.pad(row);
                let mut member = Cursor {
                    window: Window::new(text),
                    at: 0,
                    max_depth: cursor.max_depth,
                    depth: 1,
                    attempt: cursor.attempt,
                };
                member.value(&mut child.column).map_err(|_| Again::Checked)?;
            }
        }
        self.root.count(Kind::Object);
        self.root.len += 1;
        Ok(())
    }
}

/// Columns of envelope members stand behind those of the records' own keys.
const FIRST_MEMBER_PLACE: u32 = 1 << 30;

/// Whether the bytes of all segments are UTF-8, but for a character that the window cuts.
fn is_utf8(bytes: &[u8], segments: &[Segment]) -> bool {
    segments.iter().all(|segment| {
        let data = &bytes[segment.start..segment.end];
        let end = if segment.last { data.len() } else { whole_characters(data) };
        simdutf8::basic::from_utf8(&data[..end]).is_ok()
    })
}

/// The end of the last character that is not cut at the end of `data`.
fn whole_characters(data: &[u8]) -> usize {
    let tail = data.iter().rev().take(3).position(|byte| byte & 0xc0 != 0x80);
    let Some(length) = tail.map(|back| back + 1) else { return data.len() };
    let needed = match data[data.len() - length] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
        _ => 1,
    };
    if needed > length { data.len() - length } else { data.len() }
}
