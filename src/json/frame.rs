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

use std::sync::Arc;

use super::scan::{Fault, FaultAt, Window};

/// The state between two records of one raw object.
#[derive(Debug, Clone)]
pub(super) struct Framer {
    state: State,
    path: Arc<[String]>,
    max_depth: usize,
    /// The last record in `Values` stood on a line of its own.
    lines: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a value of its own.
    Values,
    /// In an array of records; `levels` objects of the envelope are open around it.
    Array { levels: usize, after_element: bool },
    /// In the object `levels` deep of an envelope.
    Envelope { levels: usize, after_member: bool, found: bool, start: usize },
    /// Nothing more can be told apart.
    Lost,
}

/// What stands at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// An object that is a record.
    Record(usize),
    /// A value that is no object, from one position to another.
    NotAnObject(usize, usize),
    /// An envelope without the path, from one position to another (the start may lie in an earlier window).
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

impl Framer {
    pub(super) fn new(path: Arc<[String]>, max_depth: usize) -> Self {
        Self { state: State::Values, path, max_depth, lines: false }
    }

    /// Gives up: all that follows belongs to one fault.
    pub(super) fn lose(&mut self) {
        self.state = State::Lost;
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
            if matches!(self.state, State::Lost) {
                return if at < window.len() { Step::Lost(at) } else { Step::End };
            }
            if here >= window.len() {
                return match self.state {
                    State::Values if last => Step::End,
                    _ if last => Step::Faulty(here, FaultAt { fault: Fault::Truncated, at: here }),
                    _ => Step::Incomplete(here),
                };
            }
            let moved = match self.state {
                State::Values | State::Lost => self.in_values(window, here),
                State::Array { levels, after_element } => self.in_array(window, here, levels, after_element),
                State::Envelope { .. } => self.in_envelope(window, here),
            };
            match moved {
                Ok(Moved::To(next)) => at = next,
                Ok(Moved::Found(Step::NotAnObject(_, end))) if end >= window.len() && !last => {
                    // The last digits of a number may still follow.
                    return Step::Incomplete(here);
                }
                Ok(Moved::Found(step)) => return step,
                Err(FaultAt { fault: Fault::Truncated, .. }) if !last => return Step::Incomplete(here),
                Err(fault) => return Step::Faulty(here, fault),
            }
        }
    }

    /// Tells the framer that the record that began at `start` ended at `end`.
    pub(super) fn passed(&mut self, window: &Window<'_>, start: usize, end: usize) {
        match &mut self.state {
            State::Array { after_element, .. } => *after_element = true,
            State::Values if !self.lines => {
                self.lines = window.byte(end) == b'\n' && memchr::memchr(b'\n', window.slice(start, end)).is_none();
            }
            _ => {}
        }
    }

    /// Where to go on behind the faulty value at `start`: behind its line, when this is NDJSON.
    ///
    /// `None`: no boundary can be found again. `Some(None)`: its line is not complete in this window.
    pub(super) fn resume(
        &mut self,
        window: &Window<'_>,
        start: usize,
        fault: FaultAt,
        last: bool,
    ) -> Option<Option<usize>> {
        if self.state != State::Values {
            return None;
        }
        let Some(line) = memchr::memchr(b'\n', &window.data()[start..]).map(|length| start + length) else {
            return Some(last.then_some(window.len()));
        };
        let closed = window.slice(start, line).trim_ascii_end().ends_with(b"}");
        if self.lines || closed || fault.at <= line || self.is_line_of_its_own(window, line + 1) {
            self.lines = true;
            return Some(Some(line + 1));
        }
        None
    }

    fn is_line_of_its_own(&self, window: &Window<'_>, start: usize) -> bool {
        let start = window.skip_space(start);
        window.byte(start) == b'{'
            && window.value_end(start, 0, self.max_depth).is_ok_and(|end| {
                memchr::memchr(b'\n', window.slice(start, end)).is_none()
                    && (end >= window.len() || matches!(window.byte(end), b'\n' | b'\r'))
            })
    }

    fn in_values(&mut self, window: &Window<'_>, at: usize) -> Result<Moved, FaultAt> {
        match window.byte(at) {
            b'{' if self.path.is_empty() => Ok(Moved::Found(Step::Record(at))),
            b'{' => {
                self.state = State::Envelope { levels: 1, after_member: false, found: false, start: at };
                Ok(Moved::To(at + 1))
            }
            b'[' => {
                self.state = State::Array { levels: 0, after_element: false };
                Ok(Moved::To(at + 1))
            }
            _ => self.no_object(window, at),
        }
    }

    fn no_object(&mut self, window: &Window<'_>, at: usize) -> Result<Moved, FaultAt> {
        let end = window.value_end(at, self.depth(), self.max_depth)?;
        Ok(Moved::Found(Step::NotAnObject(at, end)))
    }

    fn in_array(
        &mut self,
        window: &Window<'_>,
        at: usize,
        levels: usize,
        after_element: bool,
    ) -> Result<Moved, FaultAt> {
        match (window.byte(at), after_element) {
            (b']', _) if after_element || self.array_is_empty(window, at) => {
                self.state = match levels {
                    0 => State::Values,
                    levels => State::Envelope { levels, after_member: true, found: true, start: at },
                };
                Ok(Moved::To(at + 1))
            }
            (b',', true) => {
                let next = window.skip_space(at + 1);
                if next >= window.len() {
                    return Err(FaultAt { fault: Fault::Truncated, at: next });
                }
                if window.byte(next) == b'{' {
                    return Ok(Moved::Found(Step::Record(next)));
                }
                self.no_object(window, next)
            }
            (b'{', false) => Ok(Moved::Found(Step::Record(at))),
            (_, false) => self.no_object(window, at),
            _ => Err(window.fault(at)),
        }
    }

    /// Whether the `]` at `at` follows its `[`, not a comma.
    fn array_is_empty(&self, window: &Window<'_>, at: usize) -> bool {
        !window.data()[..at].trim_ascii_end().ends_with(b",")
    }

    fn in_envelope(&mut self, window: &Window<'_>, at: usize) -> Result<Moved, FaultAt> {
        let State::Envelope { levels, after_member, found, start } = self.state else { return Ok(Moved::To(at)) };
        let mut at = at;
        match (window.byte(at), after_member) {
            (b'}', _) => {
                self.state = State::Envelope { levels: levels - 1, after_member: true, found, start };
                if levels > 1 {
                    return Ok(Moved::To(at + 1));
                }
                self.state = State::Values;
                return Ok(if found { Moved::To(at + 1) } else { Moved::Found(Step::EnvelopeMissing(start, at + 1)) });
            }
            (b',', true) => at = window.skip_space(at + 1),
            (_, true) => return Err(window.fault(at)),
            (_, false) => {}
        }
        let (key_end, value) = window.key_end(at)?;
        let is_path = !found && window.slice(at + 1, key_end - 1) == self.path[levels - 1].as_bytes();
        match window.byte(value) {
            b'[' if is_path && levels == self.path.len() => {
                self.state = State::Array { levels, after_element: false };
                Ok(Moved::To(value + 1))
            }
            b'{' if is_path && levels < self.path.len() => {
                self.state = State::Envelope { levels: levels + 1, after_member: false, found, start };
                Ok(Moved::To(value + 1))
            }
            _ => {
                let end = window.value_end(value, levels, self.max_depth)?;
                if end >= window.len() {
                    return Err(FaultAt { fault: Fault::Truncated, at: end });
                }
                self.state = State::Envelope { levels, after_member: true, found, start };
                Ok(Moved::To(end))
            }
        }
    }
}

/// One move of the framer.
enum Moved {
    /// On to a position.
    To(usize),
    /// To something the caller must see.
    Found(Step),
}
