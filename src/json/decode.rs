//! From the bytes of one record to its columns.

use std::ops::RangeInclusive;

use super::column::Column;
use super::object::{Key, NO_CHILD, StructData};
use super::scalar::{Number, Time, number, time};
use super::scan::{Fault, FaultAt, Window};
use super::storage::{Bytes, Data, ListData, MapData};
use crate::schema::Kind;

/// The record is no record; the columns hold a part of it. (What is wrong, and where, is told by the check that follows.)
#[derive(Debug, Clone, Copy)]
pub(super) struct Faulty;

impl From<FaultAt> for Faulty {
    fn from(_: FaultAt) -> Self {
        Self
    }
}

/// What an attempt at a batch comes upon, and buffers that its values share.
#[derive(Debug)]
pub(super) struct Attempt {
    /// A column must become wider: what it could not hold was counted but stored as null.
    pub(super) conflicts: bool,
    /// Keys that stood before in the same object.
    pub(super) duplicate_keys: u64,
    /// Rows that the batch has at least, if the window has, and at most.
    pub(super) rows: RangeInclusive<usize>,
    /// The batch is to end before the window.
    pub(super) is_full: bool,
    /// A string with its escapes resolved.
    text: Vec<u8>,
    /// Entries of a dictionary in the order of their keys.
    order: Vec<usize>,
}

impl Attempt {
    pub(super) fn new(rows: RangeInclusive<usize>) -> Self {
        let (text, order) = (Vec::new(), Vec::new());
        Self { conflicts: false, duplicate_keys: 0, rows, is_full: false, text, order }
    }
}

/// Reads values at a position of a window into columns.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) window: Window<'a>,
    pub(super) at: usize,
    pub(super) max_depth: usize,
    pub(super) depth: usize,
    pub(super) attempt: &'a mut Attempt,
}

impl Cursor<'_> {
    /// Reads the object at the position into `row` of the children of `data`.
    pub(super) fn object(&mut self, data: &mut StructData, row: usize) -> Result<(), Faulty> {
        if data.closed { self.members::<true>(data, row) } else { self.members::<false>(data, row) }
    }

    /// `PROJECTED`: some values are skipped, and nothing is kept of them, not even that they were there.
    #[inline]
    fn members<const PROJECTED: bool>(&mut self, data: &mut StructData, row: usize) -> Result<(), Faulty> {
        let mut at = self.enter()?;
        if self.window.byte(at) == b'}' {
            self.leave(at);
            return Ok(());
        }
        let mut previous = 0;
        let mut key_at = at;
        for place in 0.. {
            let predicted = data.after[previous];
            let key = match data.children.get(predicted as usize) {
                Some(child) if self.window.starts_with(at, &child.quoted) => {
                    at += child.quoted.len();
                    Key::Child(predicted)
                }
                _ => {
                    key_at = at;
                    let (key, end) = self.key(data, at)?;
                    at = end;
                    data.after[previous] = if let Key::Child(child) = key { child } else { NO_CHILD };
                    key
                }
            };
            if self.window.byte(at) != b':' {
                at = self.window.skip_space(at);
                if self.window.byte(at) != b':' {
                    return Err(self.window.fault(at).into());
                }
            }
            self.at = self.window.skip_space(at + 1);
            match key {
                Key::Child(index) => {
                    previous = index as usize + 1;
                    if PROJECTED && data.children[index as usize].is_passed_over() {
                        self.skip()?;
                    } else {
                        self.member(data, index, row, place)?;
                    }
                }
                Key::Refused if !self.window.holds_nothing(self.at) => return Err(Faulty),
                Key::Skipped | Key::Refused => self.skip()?,
                Key::Rest => self.rest_member(data, row, key_at)?,
            }
            at = self.window.skip_space(self.at);
            match self.window.byte(at) {
                b',' => at = self.window.skip_space(at + 1),
                b'}' => break,
                _ => return Err(self.window.fault(at).into()),
            }
        }
        self.leave(at);
        Ok(())
    }

    /// Stores the member whose key is at `key_at` and whose value is at the position among those without a column.
    #[cold]
    fn rest_member(&mut self, data: &mut StructData, row: usize, key_at: usize) -> Result<(), Faulty> {
        let (key_end, value) = (self.window.string_end(key_at)?.0, self.at);
        self.skip()?;
        let (window, end) = (self.window, self.at);
        if let Some(rest) = &mut data.rest {
            rest.add(row, |text| {
                text.extend_from_slice(window.slice(key_at, key_end));
                text.push(b':');
                window.minify(value, end, text);
            });
        }
        Ok(())
    }

    #[inline]
    fn member(&mut self, data: &mut StructData, index: u32, row: usize, place: u32) -> Result<(), Faulty> {
        let child = &mut data.children[index as usize];
        child.batch_place = child.batch_place.min(place);
        let column = &mut child.column;
        if column.len > row {
            self.attempt.duplicate_keys += 1;
            column.truncate(row);
        }
        column.pad(row);
        self.value(column)?;
        if child.has_rivals {
            data.meet_rivals(index, row)?;
        }
        Ok(())
    }

    /// What becomes of the key whose opening quote is at `at`, and the position behind it.
    fn key(&mut self, data: &mut StructData, at: usize) -> Result<(Key, usize), Faulty> {
        if self.window.byte(at) != b'"' {
            return Err(self.window.fault(at).into());
        }
        let (end, escaped) = self.window.string_end(at)?;
        if !escaped {
            return Ok((data.child(self.window.slice(at + 1, end - 1)), end));
        }
        self.attempt.text.clear();
        self.window.unescape(at, end, &mut self.attempt.text)?;
        Ok((data.child(&self.attempt.text), end))
    }

    /// Opens the array or object at the position and returns the position of what follows.
    #[inline]
    fn enter(&mut self) -> Result<usize, Faulty> {
        if self.depth >= self.max_depth {
            return Err(FaultAt::new(Fault::TooDeep, self.at).into());
        }
        self.depth += 1;
        Ok(self.window.skip_space(self.at + 1))
    }

    #[inline]
    fn leave(&mut self, bracket: usize) {
        self.depth -= 1;
        self.at = bracket + 1;
    }

    /// Passes over the value at the position.
    pub(super) fn skip(&mut self) -> Result<(), Faulty> {
        self.at = match self.window.byte(self.at) {
            b'"' => self.window.string_end(self.at)?.0,
            _ => self.window.value_end(self.at, self.depth, self.max_depth)?,
        };
        Ok(())
    }

    /// Reads the value at the position as the next row of `column`.
    pub(super) fn value(&mut self, column: &mut Column) -> Result<(), Faulty> {
        if matches!(column.data, Data::Skip) {
            self.skip()?;
            column.finish_value();
            return Ok(());
        }
        match self.window.byte(self.at) {
            b'"' => self.string(column),
            b'-' | b'0'..=b'9' => self.number(column),
            b'{' => self.object_value(column),
            b'[' => self.array_value(column),
            b'n' => {
                self.at = self.window.literal_end(self.at, b"null")?;
                column.count(Kind::Null);
                column.push_nulls(1);
                Ok(())
            }
            b't' => self.boolean(column, true),
            b'f' => self.boolean(column, false),
            _ => Err(self.window.fault(self.at).into()),
        }
    }

    #[inline]
    fn string(&mut self, column: &mut Column) -> Result<(), Faulty> {
        let start = self.at;
        let (end, escaped) = self.window.string_end(start)?;
        self.at = end;
        let token = self.window.slice(start, end);
        let Attempt { conflicts, text: buffer, .. } = &mut *self.attempt;
        let text = if escaped {
            buffer.clear();
            self.window.unescape(start, end, buffer)?;
            buffer.as_slice()
        } else {
            &token[1..token.len() - 1]
        };
        let time = time(text);
        let kind = time.map_or(Kind::String, Time::kind);
        if matches!(column.data, Data::Empty) {
            column.start(kind)?;
        }
        match (&mut column.data, time) {
            (Data::Text(strings), _) => strings.push(text),
            (Data::Timestamp(values), Some(Time::Timestamp { micros, .. })) => values.push(micros),
            (Data::Date(values), Some(Time::Date(days))) => values.push(days),
            (Data::Json(texts), _) => texts.push(token),
            _ => return misfit(column, kind, text, conflicts),
        }
        column.count(kind);
        column.finish_value();
        Ok(())
    }

    #[inline]
    fn number(&mut self, column: &mut Column) -> Result<(), Faulty> {
        let start = self.at;
        let (end, integer) = self.window.number_end(start)?;
        self.at = end;
        let token = self.window.slice(start, end);
        let number = number(token, integer);
        let kind = number.kind();
        if matches!(column.data, Data::Empty) {
            column.start(kind)?;
        }
        match (&mut column.data, number) {
            (Data::Int(values), Number::Int(value)) => {
                values.push(value);
                column.count(kind);
                column.finish_value();
                return Ok(());
            }
            (Data::Double(values), Number::Double(value)) => values.push(value),
            (Data::Double(values), Number::Int(value)) if kind == Kind::Int => values.push(value as f64),
            (Data::Decimal(values), Number::Int(value)) => values.push(i128::from(value)),
            (Data::Decimal(values), Number::Big(value)) => values.push(value),
            (Data::Text(texts) | Data::Json(texts), _) => texts.push(token),
            _ => return misfit(column, kind, token, &mut self.attempt.conflicts),
        }
        if let Number::Int(value) = number {
            column.note_int(value);
        }
        column.count(kind);
        column.finish_value();
        Ok(())
    }

    #[inline]
    fn boolean(&mut self, column: &mut Column, value: bool) -> Result<(), Faulty> {
        let literal: &[u8] = if value { b"true" } else { b"false" };
        self.at = self.window.literal_end(self.at, literal)?;
        if matches!(column.data, Data::Empty) {
            column.start(Kind::Bool)?;
        }
        match &mut column.data {
            Data::Bool(values) => values.push(value),
            Data::Text(texts) | Data::Json(texts) => texts.push(literal),
            _ => return misfit(column, Kind::Bool, literal, &mut self.attempt.conflicts),
        }
        column.count(Kind::Bool);
        column.finish_value();
        Ok(())
    }

    fn object_value(&mut self, column: &mut Column) -> Result<(), Faulty> {
        let empty = self.window.byte(self.window.skip_space(self.at + 1)) == b'}';
        let kind = if empty { Kind::EmptyObject } else { Kind::Object };
        if matches!(column.data, Data::Empty) {
            column.start(kind)?;
        }
        let row = column.len;
        match &mut column.data {
            Data::Struct(data) if !data.is_crowded() => {
                self.object(data, row)?;
                if data.is_crowded() {
                    self.attempt.conflicts = true;
                    column.crowded = true;
                }
            }
            Data::Map(map) => self.dictionary(map)?,
            Data::Json(texts) => json_text(self, texts)?,
            _ => {
                self.skip()?;
                return misfit(column, kind, &[], &mut self.attempt.conflicts);
            }
        }
        column.count(kind);
        column.finish_value();
        Ok(())
    }

    fn array_value(&mut self, column: &mut Column) -> Result<(), Faulty> {
        let empty = self.window.byte(self.window.skip_space(self.at + 1)) == b']';
        let kind = if empty { Kind::EmptyArray } else { Kind::Array };
        if matches!(column.data, Data::Empty) {
            column.start(kind)?;
        }
        match &mut column.data {
            Data::List(list) if empty || !list.closed => self.array(list)?,
            Data::Json(texts) => json_text(self, texts)?,
            _ => {
                self.skip()?;
                return misfit(column, kind, &[], &mut self.attempt.conflicts);
            }
        }
        column.count(kind);
        column.finish_value();
        Ok(())
    }

    fn array(&mut self, list: &mut ListData) -> Result<(), Faulty> {
        let mut at = self.enter()?;
        if self.window.byte(at) != b']' {
            loop {
                self.at = at;
                self.value(&mut list.element)?;
                at = self.window.skip_space(self.at);
                match self.window.byte(at) {
                    b',' => at = self.window.skip_space(at + 1),
                    b']' => break,
                    _ => return Err(self.window.fault(at).into()),
                }
            }
        }
        self.leave(at);
        list.offsets.push(list.element.len as i32);
        Ok(())
    }

    /// Reads the object at the position as one row of map entries; of a key that occurs twice, the last counts.
    fn dictionary(&mut self, map: &mut MapData) -> Result<(), Faulty> {
        let start = self.at;
        let first = map.value.len;
        let mut at = self.enter()?;
        if self.window.byte(at) != b'}' {
            loop {
                let (end, value) = self.window.key_end(at)?;
                self.window.unescape(at, end, &mut map.keys.data)?;
                map.keys.finish_one();
                self.at = value;
                self.value(&mut map.value)?;
                at = self.window.skip_space(self.at);
                match self.window.byte(at) {
                    b',' => at = self.window.skip_space(at + 1),
                    b'}' => break,
                    _ => return Err(self.window.fault(at).into()),
                }
            }
        }
        self.leave(at);
        if let Some(last) = self.last_of_each_key(map, first) {
            self.keep_only(map, start, first, &last)?;
            self.attempt.order = last;
        }
        map.offsets.push(map.value.len as i32);
        Ok(())
    }

    /// The entries from row `first` on whose key does not occur again, in order; `None` when that is all of them.
    fn last_of_each_key(&mut self, map: &MapData, first: usize) -> Option<Vec<usize>> {
        let order = &mut self.attempt.order;
        order.clear();
        order.extend(first..map.value.len);
        order.sort_unstable_by(|a, b| (map.keys.get(*a), *b).cmp(&(map.keys.get(*b), *a)));
        order.dedup_by(|earlier, later| map.keys.get(*earlier) == map.keys.get(*later));
        let dropped = map.value.len - first - order.len();
        if dropped == 0 {
            return None;
        }
        self.attempt.duplicate_keys += dropped as u64;
        self.attempt.order.sort_unstable();
        Some(std::mem::take(&mut self.attempt.order))
    }

    /// Reads the object at `start` again: of its entries, whose rows began at `first`, only those in `rows` (sorted).
    ///
    /// What it counts is taken back: every value was counted before.
    #[cold]
    fn keep_only(&mut self, map: &mut MapData, start: usize, first: usize, rows: &[usize]) -> Result<(), Faulty> {
        let (end, duplicate_keys) = (self.at, self.attempt.duplicate_keys);
        let mut counts = Vec::new();
        map.value.save_counts(&mut counts);
        map.keys.truncate(first);
        map.value.truncate(first);
        let mut at = self.window.skip_space(start + 1);
        let mut rows = rows.iter();
        let mut next = rows.next();
        for entry in first.. {
            let (end, value) = self.window.key_end(at)?;
            if next == Some(&entry) {
                next = rows.next();
                self.window.unescape(at, end, &mut map.keys.data)?;
                map.keys.finish_one();
                self.at = value;
                self.value(&mut map.value)?;
            }
            if next.is_none() {
                break;
            }
            at = self.window.skip_space(self.window.value_end(value, self.depth, self.max_depth)?);
            at = self.window.skip_space(at + 1);
        }
        map.value.restore_counts(&mut counts.iter());
        (self.at, self.attempt.duplicate_keys) = (end, duplicate_keys);
        Ok(())
    }
}

/// Takes a value that `column` cannot hold as it is. `text`: what a string says, or the token of another scalar.
///
/// A column whose type is said may take it all the same; a column that may become wider counts it, so that the next
/// attempt can hold it, and stores a null.
#[cold]
fn misfit(column: &mut Column, kind: Kind, text: &[u8], conflicts: &mut bool) -> Result<(), Faulty> {
    if column.coerce(kind, text) {
        return Ok(());
    }
    if column.refuses() {
        return Err(Faulty);
    }
    *conflicts = true;
    column.count(kind);
    column.push_nulls(1);
    Ok(())
}

/// Stores the value at the position as minified JSON text.
fn json_text(cursor: &mut Cursor<'_>, texts: &mut Bytes) -> Result<(), Faulty> {
    let start = cursor.at;
    cursor.skip()?;
    cursor.window.minify(start, cursor.at, &mut texts.data);
    texts.finish_one();
    Ok(())
}
