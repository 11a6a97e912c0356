//! Which value of a record its table refuses: one that does not fit a column whose type is said or may not change, or one
//! under a key that a frozen table has no column for.
//!
//! Decoding stops at such a value without saying where: this looks again, at a record that is known to be sound.

use std::collections::BTreeSet;

use super::column::Column;
use super::decoder::Reason;
use super::object::{NewKey, StructData};
use super::scalar::{Time, number, time};
use super::scan::{FaultAt, PADDING, Window};
use super::storage::Data;
use crate::schema::{Contract, Kind};

/// A value that a table refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Where the value begins in the window.
    pub(super) at: usize,
    pub(super) reason: Reason,
    /// The path of its column in the original keys, as `payload.items[].price`.
    pub(super) path: String,
}

/// The first value of the record at `start` that the columns in `data` refuse.
pub(super) fn refusal(window: &Window<'_>, start: usize, data: &StructData) -> Option<Refusal> {
    let mut search = Search { window, path: String::new(), text: Vec::new() };
    match search.object(data, start) {
        Err(Stop::Refused(at, reason)) => Some(Refusal { at, reason, path: search.path }),
        Ok(_) | Err(Stop::Faulty) => None,
    }
}

struct Search<'a> {
    window: &'a Window<'a>,
    /// The path of the value looked at; where a value is refused, that of its column.
    path: String,
    text: Vec<u8>,
}

enum Stop {
    Refused(usize, Reason),
    /// The record is not sound after all.
    Faulty,
}

impl From<FaultAt> for Stop {
    fn from(_: FaultAt) -> Self {
        Self::Faulty
    }
}

impl Search<'_> {
    fn object(&mut self, data: &StructData, at: usize) -> Result<usize, Stop> {
        let mut keys: Vec<String> = Vec::new();
        let mut added: BTreeSet<String> = BTreeSet::new();
        self.members(at, |search, key, at| {
            let end = match data.find(key.as_bytes()) {
                Some(child) => search.value(&child.column, at)?,
                None => match data.new_key(key, added.len() - usize::from(added.contains(key))) {
                    NewKey::Refused if !search.window.holds_nothing(at) => {
                        return Err(Stop::Refused(at, Reason::UnknownColumn));
                    }
                    NewKey::Refused | NewKey::Rest => search.pass(at)?,
                    NewKey::Like(rival) => search.value(&data.children[rival as usize].column, at)?,
                    NewKey::Free => {
                        added.insert(key.to_owned());
                        match data.new_column(key) {
                            Some(column) => search.value(&column, at)?,
                            None => search.pass(at)?,
                        }
                    }
                },
            };
            if data.contract != Contract::Evolve && data.has_column(key) {
                if keys.iter().any(|other| data.refuses_together(key, other)) {
                    return Err(Stop::Refused(at, Reason::UnknownColumn));
                }
                keys.push(key.to_owned());
            }
            Ok(end)
        })
    }

    fn value(&mut self, column: &Column, at: usize) -> Result<usize, Stop> {
        let (kind, end) = self.kind(at)?;
        if column.refuses() && !column.takes(kind) && !column.coerces(kind, &self.text) {
            return Err(Stop::Refused(at, Reason::TypeMismatch));
        }
        match (&column.data, kind) {
            (Data::Struct(data), Kind::Object) => self.object(data, at),
            (Data::List(list), Kind::Array) => self.elements(&list.element, at),
            (Data::Map(map), Kind::Object) => self.below("{}", |search| search.members_of_map(&map.value, at)),
            (Data::Empty, Kind::Object | Kind::Array) => {
                // What is said of the columns below holds from the first value on.
                let mut fresh = column.fresh();
                let is_plain = column.rule().is_none() || fresh.start(kind).is_err();
                if is_plain { Ok(end) } else { self.value(&fresh, at) }
            }
            _ => Ok(end),
        }
    }

    fn elements(&mut self, element: &Column, at: usize) -> Result<usize, Stop> {
        self.below("[]", |search| {
            let mut at = search.window.skip_space(at + 1);
            if search.window.byte(at) == b']' {
                return Ok(at + 1);
            }
            loop {
                at = search.window.skip_space(search.value(element, at)?);
                match search.window.byte(at) {
                    b',' => at = search.window.skip_space(at + 1),
                    _ => return Ok(at + 1),
                }
            }
        })
    }

    fn members_of_map(&mut self, value: &Column, at: usize) -> Result<usize, Stop> {
        let path = self.path.len();
        self.members(at, |search, _, at| {
            // Keys are data here: they do not belong to the path.
            search.path.truncate(path);
            search.value(value, at)
        })
    }

    /// Goes through the members of the object at `at`; `visit` gets the position of each value and returns its end.
    fn members(
        &mut self,
        at: usize,
        mut visit: impl FnMut(&mut Self, &str, usize) -> Result<usize, Stop>,
    ) -> Result<usize, Stop> {
        let path = self.path.len();
        let mut at = self.window.skip_space(at + 1);
        if self.window.byte(at) == b'}' {
            return Ok(at + 1);
        }
        loop {
            let (key_end, value) = self.window.key_end(at)?;
            let mut key = Vec::new();
            self.window.unescape(at, key_end, &mut key)?;
            let key = String::from_utf8(key).map_err(|_| Stop::Faulty)?;
            if path > 0 {
                self.path.push('.');
            }
            self.path.push_str(&key);
            let end = visit(self, &key, value)?;
            self.path.truncate(path);
            at = self.window.skip_space(end);
            match self.window.byte(at) {
                b',' => at = self.window.skip_space(at + 1),
                _ => return Ok(at + 1),
            }
        }
    }

    /// Goes on below the column with `step` added to its path.
    fn below(&mut self, step: &str, visit: impl FnOnce(&mut Self) -> Result<usize, Stop>) -> Result<usize, Stop> {
        let path = self.path.len();
        self.path.push_str(step);
        let end = visit(self)?;
        self.path.truncate(path);
        Ok(end)
    }

    fn pass(&self, at: usize) -> Result<usize, Stop> {
        Ok(self.window.value_end(at, 0, usize::MAX)?)
    }

    /// The kind of the value at `at` and its end. What it says is in `text` then, where it is a string or a number.
    fn kind(&mut self, at: usize) -> Result<(Kind, usize), Stop> {
        Ok(kind_at(self.window, at, &mut self.text)?)
    }
}

fn kind_at(window: &Window<'_>, at: usize, text: &mut Vec<u8>) -> Result<(Kind, usize), FaultAt> {
    text.clear();
    let is_empty = |close: u8| window.byte(window.skip_space(at + 1)) == close;
    let kind = match window.byte(at) {
        b'"' => {
            let (end, _) = window.string_end(at)?;
            window.unescape(at, end, text)?;
            return Ok((time(text).map_or(Kind::String, Time::kind), end));
        }
        b'-' | b'0'..=b'9' => {
            let (end, integer) = window.number_end(at)?;
            text.extend_from_slice(window.slice(at, end));
            return Ok((number(text, integer).kind(), end));
        }
        b'{' if is_empty(b'}') => Kind::EmptyObject,
        b'{' => Kind::Object,
        b'[' if is_empty(b']') => Kind::EmptyArray,
        b'[' => Kind::Array,
        b'n' => Kind::Null,
        _ => Kind::Bool,
    };
    Ok((kind, window.value_end(at, 0, usize::MAX)?))
}

/// The kind of a JSON value, by its text; `None` when it is none.
pub fn kind_of(text: &str) -> Option<Kind> {
    let mut padded = text.as_bytes().to_vec();
    padded.resize(text.len() + PADDING, 0);
    let (kind, end) = kind_at(&Window::new(&padded), 0, &mut Vec::new()).ok()?;
    (end == text.len()).then_some(kind)
}
