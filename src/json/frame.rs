//! Where the records of a raw object begin: one object, arrays, an envelope around an array, NDJSON, values one after
//! another.
//!
//! ```text
//!            '{' no path                        '[' (path found)
//!  Values --------------> record     Envelope ------------------> Array
//!    | '{' with a path                  ^  ^                        |
//!    +----------------------------------+  +------------------------+ ']'
//!    | '['                                         ','  record
//!    +------> Array ------------------------------> (or no object)
//!
//!  any of them -- a fault behind which no boundary can be found --> Lost (all that follows is quarantined)
//! ```
//!
//! What is said about some bytes never depends on where a window ends: while it could, the answer is
//! [`Step::Incomplete`]. Two beginnings are therefore looked at as a whole, and must fit in a window: an envelope up to
//! its records, and the first [`FIRST_LINE`] bytes of the line of a `[` that no `{` follows (it may be a line of a log).

use std::sync::Arc;

use super::scan::{Fault, FaultAt, Window};

/// How far a `[` is looked at for whether it is an array.
const FIRST_LINE: usize = 64 << 10;

/// The state between two records of one raw object.
#[derive(Debug, Clone)]
pub(super) struct Framer {
    state: State,
    path: Arc<[String]>,
    max_depth: usize,
    lines: Lines,
    /// Values gone past, faulty ones too.
    values: u64,
    /// Members of the envelope that are wanted.
    members: Option<Members>,
}

/// Values of an envelope's members, by their paths.
#[derive(Debug, Clone)]
pub(super) struct Members {
    paths: Arc<[Vec<String>]>,
    /// The JSON text at each path, when it was met.
    pub(super) found: Vec<Option<Vec<u8>>>,
}

impl Members {
    pub(super) fn new(paths: &Arc<[Vec<String>]>) -> Self {
        Self { paths: Arc::clone(paths), found: vec![None; paths.len()] }
    }

    /// Takes what is wanted of the member at the path `parents` + `key`, whose value lies between `start` and `end`.
    fn meet(&mut self, window: &Window<'_>, parents: &[String], key: &[u8], start: usize, end: usize) {
        for (path, found) in self.paths.iter().zip(&mut self.found) {
            let Some((step, rest)) = path.strip_prefix(parents).and_then(<[String]>::split_first) else { continue };
            if step.as_bytes() == key
                && let Some((start, end)) = value_at(window, start, end, rest)
            {
                *found = Some(window.slice(start, end).to_vec());
            }
        }
    }
}

/// Where the value at `path` within the sound value between `start` and `end` lies.
fn value_at(window: &Window<'_>, start: usize, end: usize, path: &[String]) -> Option<(usize, usize)> {
    let Some((step, rest)) = path.split_first() else { return Some((start, end)) };
    let mut at = window.skip_space(start + 1);
    if window.byte(start) != b'{' || window.byte(at) == b'}' {
        return None;
    }
    loop {
        let (key_end, value) = window.key_end(at).ok()?;
        let value_end = window.value_end(value, 0, usize::MAX).ok()?;
        if is_key(window, at, key_end, step).ok()? {
            return value_at(window, value, value_end, rest);
        }
        at = window.skip_space(value_end);
        if window.byte(at) != b',' {
            return None;
        }
        at = window.skip_space(at + 1);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a value of its own.
    Values,
    /// In an array of records; `levels` objects of the envelope are open around it.
    Array { levels: usize, place: Place },
    /// In the object `levels` deep of an envelope that began at `start`. Once `found`, `start` has no meaning.
    Envelope { levels: usize, place: Place, found: bool, start: usize },
    /// Nothing more can be told apart.
    Lost,
}

/// Where in an array or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind the opening bracket.
    First,
    /// Behind a comma.
    Next,
    /// Behind an element or a member.
    After,
}

/// Whether the values stand on lines of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// Not that it was seen.
    No,
    /// The last value had no newline in it; what follows it was not seen yet.
    Perhaps,
    /// At least one did.
    Yes,
}

/// What stands at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// An object that is a record.
    Record(usize),
    /// A value that is no object, from one position to another.
    NotAnObject(usize, usize),
    /// An envelope without the path, from one position to another.
    EnvelopeMissing(usize, usize),
    /// The data from this position on is not enough to tell.
    Incomplete(usize),
    /// Nothing follows.
    End,
    /// From a position on, a value that is faulty.
    Faulty(usize, FaultAt),
    /// From a position on, everything belongs to what was faulty before.
    Lost(usize),
}

/// Where to go on behind a faulty value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    /// At this position: its line ends there.
    At(usize),
    /// More data is needed to tell.
    Unknown,
    /// No boundary can be found again.
    Nowhere,
}

impl Framer {
    pub(super) fn new(path: Arc<[String]>, max_depth: usize) -> Self {
        Self { state: State::Values, path, max_depth, lines: Lines::No, values: 0, members: None }
    }

    /// Takes the values of the envelope's members at `paths`, too.
    pub(super) fn with_members(mut self, paths: &Arc<[Vec<String>]>) -> Self {
        self.members = Some(Members::new(paths));
        self
    }

    /// The members of the envelope met so far.
    pub(super) fn into_members(self) -> Vec<Option<Vec<u8>>> {
        self.members.map_or_else(Vec::new, |members| members.found)
    }

    /// How many values the framer has gone past, faulty ones too.
    pub(super) fn values(&self) -> u64 {
        self.values
    }

    /// Gives up: all that follows belongs to one fault.
    pub(super) fn lose(&mut self) {
        self.state = State::Lost;
    }

    /// Between two values that have lines of their own.
    pub(super) fn behind_lines(self) -> Self {
        Self { state: State::Values, lines: Lines::Yes, ..self }
    }

    /// Whether it is between two values, all of which so far had lines of their own.
    pub(super) fn is_behind_lines(&self) -> bool {
        self.state == State::Values && self.lines == Lines::Yes && self.path.is_empty()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// How many arrays and objects are open around a record.
    pub(super) fn depth(&self) -> usize {
        match self.state {
            State::Array { levels, .. } => levels + 1,
            State::Envelope { levels, .. } => levels,
            State::Values | State::Lost => 0,
        }
    }

    /// Says what stands at `at`. `last`: no data follows behind this window.
    pub(super) fn next(&mut self, window: &Window<'_>, at: usize, last: bool) -> Step {
        let mut at = at;
        loop {
            let here = window.skip_space(at);
            if self.lines == Lines::Perhaps {
                self.see_line_end(window, at, here);
            }
            let moved = match self.state {
                State::Lost => return if at < window.len() { Step::Lost(at) } else { Step::End },
                State::Values if here >= window.len() => {
                    return if last { Step::End } else { Step::Incomplete(here) };
                }
                _ if here >= window.len() => Err(window.fault(here)),
                State::Values => self.in_values(window, here),
                State::Array { levels, place } => self.in_array(window, here, levels, place),
                State::Envelope { levels, place, found, start } => {
                    self.in_envelope(window, here, levels, place, found, start)
                }
            };
            match moved {
                Ok(Moved::To(next)) => at = next,
                // The last digits of a number may still follow.
                Ok(Moved::Found(Step::NotAnObject(_, end))) if end >= window.len() && !last => {
                    return Step::Incomplete(here);
                }
                Ok(Moved::Found(step)) => return step,
                Err(fault) => {
                    let start = self.leave_envelope().unwrap_or(here);
                    if fault.fault() == Fault::Truncated && !last {
                        return Step::Incomplete(start);
                    }
                    return Step::Faulty(start, fault);
                }
            }
        }
    }

    /// Goes back to where an envelope began whose records were not found yet.
    fn leave_envelope(&mut self) -> Option<usize> {
        let State::Envelope { found: false, start, .. } = self.state else { return None };
        self.state = State::Values;
        Some(start)
    }

    /// Tells the framer that the value that began at `start` ended at `end`.
    pub(super) fn passed(&mut self, window: &Window<'_>, start: usize, end: usize) {
        self.values += 1;
        match &mut self.state {
            State::Array { place, .. } => *place = Place::After,
            State::Values if self.lines == Lines::No && !has_newline(window, start, end) => {
                self.lines = Lines::Perhaps;
            }
            _ => {}
        }
    }

    /// Looks for a newline in the white space between `start` and `end` behind a value.
    fn see_line_end(&mut self, window: &Window<'_>, start: usize, end: usize) {
        if has_newline(window, start, end) {
            self.lines = Lines::Yes;
        } else if end < window.len() {
            self.lines = Lines::No;
        }
    }

    /// Where to go on behind the faulty value at `start`: behind its line, when this is NDJSON.
    pub(super) fn resume(&mut self, window: &Window<'_>, start: usize, fault: FaultAt, last: bool) -> Resume {
        let resume = self.find_line(window, start, fault, last);
        self.values += u64::from(resume != Resume::Unknown);
        resume
    }

    fn find_line(&mut self, window: &Window<'_>, start: usize, fault: FaultAt, last: bool) -> Resume {
        if self.state != State::Values {
            return Resume::Nowhere;
        }
        let Some(line) = memchr::memchr(b'\n', &window.data()[start..]).map(|length| start + length) else {
            return if last { Resume::At(window.len()) } else { Resume::Unknown };
        };
        let closed = window.slice(start, line).trim_ascii_end().ends_with(b"}");
        if self.lines != Lines::Yes && !closed && fault.at() > line {
            match self.is_line_of_its_own(window, line + 1, last) {
                None => return Resume::Unknown,
                Some(false) => return Resume::Nowhere,
                Some(true) => {}
            }
        }
        self.lines = Lines::Yes;
        Resume::At(line + 1)
    }

    /// Whether an object follows that has a line for itself; `None` when more data is needed to tell.
    fn is_line_of_its_own(&self, window: &Window<'_>, start: usize, last: bool) -> Option<bool> {
        let start = window.skip_space(start);
        if start >= window.len() {
            return if last { Some(false) } else { None };
        }
        if window.byte(start) != b'{' {
            return Some(false);
        }
        match window.value_end(start, 0, self.max_depth) {
            Ok(end) if has_newline(window, start, end) => Some(false),
            Ok(end) => {
                let next = window.skip_space(end);
                match has_newline(window, end, next) {
                    true => Some(true),
                    false if next < window.len() => Some(false),
                    false => last.then_some(true),
                }
            }
            Err(fault) if fault.fault() == Fault::Truncated && !last && !has_newline(window, start, fault.at()) => None,
            Err(_) => Some(false),
        }
    }

    fn in_values(&mut self, window: &Window<'_>, at: usize) -> Result<Moved, FaultAt> {
        match window.byte(at) {
            b'{' if self.path.is_empty() => Ok(Moved::Found(Step::Record(at))),
            b'{' => {
                self.state = State::Envelope { levels: 1, place: Place::First, found: false, start: at };
                Ok(Moved::To(at + 1))
            }
            b'[' => {
                let first = window.skip_space(at + 1);
                if window.byte(first) != b'{' {
                    self.expect_array(window, at)?;
                }
                self.state = State::Array { levels: 0, place: Place::First };
                Ok(Moved::To(at + 1))
            }
            byte => {
                let found = self.no_object(window, at)?;
                // `12ab` is neither a number nor two values.
                if let Moved::Found(Step::NotAnObject(_, end)) = found
                    && byte != b'"'
                    && matches!(window.byte(end), b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.' | b'_')
                {
                    return Err(window.fault(end));
                }
                Ok(found)
            }
        }
    }

    /// Refuses the `[` at `at` when what follows on its line, or in its first [`FIRST_LINE`] bytes, is no array.
    fn expect_array(&self, window: &Window<'_>, at: usize) -> Result<(), FaultAt> {
        let look = window.slice(at, window.len().min(at + FIRST_LINE));
        let newline = memchr::memchr(b'\n', look);
        let line_end = at + newline.unwrap_or(look.len());
        match window.value_end(at, 0, self.max_depth) {
            Ok(end) if end <= line_end => window.utf8(at, end),
            Err(fault) if fault.at() < line_end || newline.is_none() && look.len() < FIRST_LINE => Err(fault),
            _ if newline.is_some() => window.utf8(at, line_end),
            _ => Ok(()),
        }
    }

    fn no_object(&mut self, window: &Window<'_>, at: usize) -> Result<Moved, FaultAt> {
        let end = window.check(at, self.depth(), self.max_depth)?;
        Ok(Moved::Found(Step::NotAnObject(at, end)))
    }

    fn in_array(&mut self, window: &Window<'_>, at: usize, levels: usize, place: Place) -> Result<Moved, FaultAt> {
        match (window.byte(at), place) {
            (b']', Place::First | Place::After) => {
                self.state = match levels {
                    0 => State::Values,
                    levels => State::Envelope { levels, place: Place::After, found: true, start: at },
                };
                Ok(Moved::To(at + 1))
            }
            (b',', Place::After) => {
                self.state = State::Array { levels, place: Place::Next };
                Ok(Moved::To(at + 1))
            }
            (_, Place::After) => Err(window.fault(at)),
            (b'{', Place::First | Place::Next) => Ok(Moved::Found(Step::Record(at))),
            (_, Place::First | Place::Next) => self.no_object(window, at),
        }
    }

    fn in_envelope(
        &mut self,
        window: &Window<'_>,
        at: usize,
        levels: usize,
        place: Place,
        found: bool,
        start: usize,
    ) -> Result<Moved, FaultAt> {
        let envelope = |levels, place| State::Envelope { levels, place, found, start };
        match (window.byte(at), place) {
            (b'}', Place::First | Place::After) => {
                let end = at + 1;
                self.state = if levels > 1 { envelope(levels - 1, Place::After) } else { State::Values };
                if levels > 1 || found {
                    return Ok(Moved::To(end));
                }
                return Ok(Moved::Found(Step::EnvelopeMissing(start, end)));
            }
            (b',', Place::After) => {
                self.state = envelope(levels, Place::Next);
                return Ok(Moved::To(at + 1));
            }
            (_, Place::After) => return Err(window.fault(at)),
            (_, Place::First | Place::Next) => {}
        }
        let (key_end, value) = window.key_end(at)?;
        let is_path = is_key(window, at, key_end, &self.path[levels - 1])?;
        match window.byte(value) {
            // Of a key that occurs twice, the records of both arrays are taken: nothing is lost.
            b'[' if is_path && levels == self.path.len() => {
                self.state = State::Array { levels, place: Place::First };
                Ok(Moved::To(value + 1))
            }
            b'{' if is_path && levels < self.path.len() => {
                self.state = envelope(levels + 1, Place::First);
                Ok(Moved::To(value + 1))
            }
            _ => {
                window.utf8(at, key_end)?;
                let end = window.check(value, levels, self.max_depth)?;
                if end >= window.len() {
                    return Err(window.fault(end));
                }
                if let Some(members) = &mut self.members {
                    let mut key = Vec::new();
                    window.unescape(at, key_end, &mut key)?;
                    members.meet(window, &self.path[..levels - 1], &key, value, end);
                }
                self.state = envelope(levels, Place::After);
                Ok(Moved::To(end))
            }
        }
    }
}

fn has_newline(window: &Window<'_>, start: usize, end: usize) -> bool {
    memchr::memchr(b'\n', window.slice(start, end)).is_some()
}

/// Whether the key whose quotes are at `start` and before `end` is `expected`.
fn is_key(window: &Window<'_>, start: usize, end: usize, expected: &str) -> Result<bool, FaultAt> {
    let text = window.slice(start + 1, end - 1);
    if !text.contains(&b'\\') {
        return Ok(text == expected.as_bytes());
    }
    let mut unescaped = Vec::with_capacity(text.len());
    window.unescape(start, end, &mut unescaped)?;
    Ok(unescaped == expected.as_bytes())
}

/// One move of the framer.
enum Moved {
    /// On to a position.
    To(usize),
    /// To something the caller must see.
    Found(Step),
}
