//! Another reading of the same bytes: `serde_json` for values, `chrono` for times, and a walk that has every byte be
//! structure, a record, or rejected.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::json::{Reason, Reject};
use crate::schema::{Field, Type};

/// Rejects with more brackets than this are not read again: `serde_json` recurses.
const MAX_BRACKETS: usize = 400;

/// The records of a raw object of which `rejects` were rejected, in order.
///
/// # Panics
/// When a byte is neither structure nor in a record nor rejected; when a record is none; when something was rejected
/// for a reason that does not hold.
pub fn records(bytes: &[u8], path: &[String], max_depth: usize, rejects: &[&Reject]) -> Vec<Value> {
    let mut walk = Walk { bytes, at: 0, path, max_depth, rejects: rejects.iter(), found: false, lost: false, records: Vec::new() };
    if bytes.starts_with(b"\xef\xbb\xbf") {
        walk.at = 3;
    }
    walk.values();
    assert_eq!(walk.rejects.next(), None, "rejected, but not met");
    walk.records
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a [String],
    max_depth: usize,
    rejects: std::slice::Iter<'a, &'a Reject>,
    /// The envelope has its path.
    found: bool,
    /// A reject took all that follows.
    lost: bool,
    records: Vec<Value>,
}

/// What may come next in an array or object.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    First,
    Element,
    Comma,
}

impl Walk<'_> {
    fn values(&mut self) {
        loop {
            self.space();
            if self.reject(true).is_some() {
                continue;
            }
            match self.bytes.get(self.at) {
                None => return,
                Some(b'{') if self.path.is_empty() => self.record(0),
                Some(b'{') => {
                    self.found = false;
                    self.envelope(0);
                    assert!(self.found || self.lost, "an envelope without its path was not rejected");
                }
                Some(b'[') => self.array(0),
                Some(_) => self.wrong(),
            }
        }
    }

    fn array(&mut self, depth: usize) {
        self.at += 1;
        let mut next = Next::First;
        loop {
            self.space();
            if let Some(reason) = self.reject(next != Next::Comma) {
                if reason != Reason::NotAnObject {
                    return self.lose();
                }
                assert!(next != Next::Comma, "an element behind an element");
                next = Next::Comma;
                continue;
            }
            match (self.bytes.get(self.at), next) {
                (Some(b']'), Next::First | Next::Comma) => break,
                (Some(b','), Next::Comma) => {
                    self.at += 1;
                    next = Next::Element;
                }
                (Some(b'{'), Next::First | Next::Element) => {
                    self.record(depth + 1);
                    next = Next::Comma;
                }
                _ => self.wrong(),
            }
        }
        self.at += 1;
    }

    fn envelope(&mut self, level: usize) {
        self.at += 1;
        let mut next = Next::First;
        loop {
            self.space();
            if self.lost || self.reject(false).is_some() {
                return self.lose();
            }
            match (self.bytes.get(self.at), next) {
                (Some(b'}'), Next::First | Next::Comma) => break,
                (Some(b','), Next::Comma) => {
                    self.at += 1;
                    next = Next::Element;
                }
                (Some(b'"'), Next::First | Next::Element) => {
                    let Value::String(key) = self.value() else { self.wrong() };
                    self.space();
                    assert_eq!(self.bytes.get(self.at), Some(&b':'));
                    self.at += 1;
                    self.space();
                    let is_path = self.path.get(level).is_some_and(|name| *name == key);
                    let is_last = level + 1 == self.path.len();
                    match self.bytes.get(self.at) {
                        Some(b'[') if is_path && is_last => {
                            self.found = true;
                            self.array(level + 1);
                        }
                        Some(b'{') if is_path && !is_last => self.envelope(level + 1),
                        _ => drop(self.value()),
                    }
                    next = Next::Comma;
                }
                _ => self.wrong(),
            }
        }
        self.at += 1;
    }

    fn record(&mut self, around: usize) {
        let record = self.value();
        assert!(record.is_object() && around + depth(&record) <= self.max_depth);
        self.records.push(record);
    }

    /// Reads the value at the position, which ends before the next reject.
    fn value(&mut self) -> Value {
        let end = self.rejects.as_slice().first().map_or(self.bytes.len(), |reject| reject.offset as usize);
        let (value, length) =
            parse(&self.bytes[self.at..end]).unwrap_or_else(|error| panic!("at {}: {error}", self.at));
        self.at += length;
        value
    }

    /// Passes over what was rejected at the position, and says why. `value`: one may begin here.
    fn reject(&mut self, value: bool) -> Option<Reason> {
        let reject = *self.rejects.as_slice().first()?;
        if reject.offset != self.at as u64 {
            return None;
        }
        self.rejects.next();
        let rest = &self.bytes[self.at..];
        self.at += reject.bytes.len();
        assert!(!reject.bytes.is_empty() || self.at == self.bytes.len(), "a reject of nothing within the object");
        let is_faulty = match reject.reason {
            Reason::Malformed | Reason::Truncated | Reason::LoneSurrogate | Reason::InvalidUtf8 => true,
            Reason::NotAnObject => {
                let (value, length) = parse(&reject.bytes).expect("a value");
                assert!(!value.is_object() && length == reject.bytes.len());
                false
            }
            Reason::TooDeep => {
                let beyond = &rest[(reject.fault_offset - reject.offset) as usize..];
                assert!(matches!(beyond.first(), Some(b'{' | b'[')), "nothing opens where it is too deep");
                false
            }
            _ => false,
        };
        let brackets = rest.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
        if is_faulty && value && rest.first() == Some(&b'{') && brackets <= MAX_BRACKETS {
            assert!(parse(rest).is_err(), "another parser takes what is rejected as {:?}", reject.reason);
        }
        Some(reject.reason)
    }

    /// Has all that follows be a part of the last reject.
    fn lose(&mut self) {
        assert_eq!(self.at, self.bytes.len(), "no boundary can be trusted behind a fault");
        self.lost = true;
    }

    fn space(&mut self) {
        self.at += self.bytes[self.at..].iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    }

    fn wrong(&self) -> ! {
        panic!("at {}: {:?} is neither structure nor record nor rejected", self.at, self.bytes.get(self.at))
    }
}

/// The value that `bytes` begin with, its numbers as they are spelled, and its length.
fn parse(bytes: &[u8]) -> serde_json::Result<(Value, usize)> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    deserializer.disable_recursion_limit();
    let mut values = deserializer.into_iter::<Value>();
    values.next().unwrap_or_else(|| Err(serde::de::Error::custom("nothing")))?;
    let length = values.byte_offset();
    Ok((spelled(serde_json::from_slice(&bytes[..length])?)?, length))
}

/// `serde_json` gives every number its own spelling, but not that of raw values.
fn spelled(raw: &RawValue) -> serde_json::Result<Value> {
    let text = raw.get();
    match text.as_bytes()[0] {
        b'{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            members.into_iter().map(|(key, value)| Ok((key, spelled(value)?))).collect()
        }
        b'[' => serde_json::from_str::<Vec<&RawValue>>(text)?.into_iter().map(spelled).collect(),
        b'-' | b'0'..=b'9' => Ok(Value::Number(Number::from_string_unchecked(text.to_owned()))),
        _ => serde_json::from_str(text),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Reads one JSON text whole.
///
/// # Panics
/// When it is none.
pub fn value(text: &[u8]) -> Value {
    let (value, length) = parse(text).unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(text)));
    assert_eq!(length, text.len());
    value
}

/// How raw values are compared with what was written back of them: numbers by value, times by instant, all else to the
/// letter.
#[derive(Debug, Clone, Copy)]
pub struct Comparison {
    /// The rows were stored before some columns had a type: there, `{}` and `[]` became null.
    pub late: bool,
}

impl Comparison {
    /// Whether the record `raw` is what was written of its row in the columns `fields`.
    pub fn record(self, raw: &Value, fields: &[Field], written: &Value) -> bool {
        raw.as_object().zip(written.as_object()).is_some_and(|(raw, written)| self.object(raw, fields, written))
    }

    fn object(self, raw: &Map<String, Value>, fields: &[Field], written: &Map<String, Value>) -> bool {
        let mut met = 0;
        for field in fields {
            let mut members = field.keys.iter().filter_map(|key| raw.get(key));
            let member = members.next().unwrap_or(&Value::Null);
            // Keys that one object has together share no column.
            if members.next().is_some() {
                return false;
            }
            let cell = written.get(&field.keys[0]);
            met += usize::from(cell.is_some());
            if !self.value(member, &field.ty, cell.unwrap_or(&Value::Null)) {
                return false;
            }
        }
        let has_column = |key: &String| fields.iter().any(|field| field.keys.contains(key));
        met == written.len() && raw.iter().all(|(key, value)| has_column(key) || is_nothing(value))
    }

    fn value(self, raw: &Value, ty: &Type, written: &Value) -> bool {
        match (ty, raw, written) {
            (_, Value::Null, written) => written.is_null(),
            (_, raw, Value::Null) if self.late => is_nothing(raw),
            (Type::Bool, Value::Bool(a), Value::Bool(b)) => a == b,
            (Type::Int64 | Type::Decimal, Value::Number(a), Value::Number(b)) => a.as_str() == b.as_str(),
            (Type::Double, Value::Number(a), Value::Number(b)) => {
                let [a, b] = [a, b].map(|number| number.as_str().parse::<f64>().map(f64::to_bits));
                a.is_ok() && a == b
            }
            (Type::Timestamp { naive }, Value::String(a), Value::String(b)) => {
                instant(a).is_some() && instant(a) == instant(b) && b.ends_with('Z') != *naive
            }
            (Type::Date | Type::Text, Value::String(a), Value::String(b)) => a == b,
            (Type::Text, Value::Number(a), Value::String(b)) => a.as_str() == b,
            (Type::Text, Value::Bool(a), Value::String(b)) => a.to_string() == *b,
            // Elements of a list and values of a map that has nothing but such.
            (Type::Text, raw @ (Value::Array(_) | Value::Object(_)), Value::Null) => is_nothing(raw),
            (Type::Json, raw, written) => raw == written,
            (Type::Struct(fields), Value::Object(raw), Value::Object(written)) => self.object(raw, fields, written),
            (Type::List(element), Value::Array(raw), Value::Array(written)) => {
                raw.len() == written.len()
                    && raw.iter().zip(written).all(|(raw, written)| self.value(raw, element, written))
            }
            (Type::Map(value), Value::Object(raw), Value::Object(written)) => {
                raw.len() == written.len()
                    && raw.iter().all(|(key, raw)| written.get(key).is_some_and(|cell| self.value(raw, value, cell)))
            }
            _ => false,
        }
    }
}

/// Whether a column need not hold it: null, {} and [], and objects of such.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().all(is_nothing),
        Value::Array(elements) => elements.is_empty(),
        _ => false,
    }
}

/// How many scalars a value holds.
pub fn scalars(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Object(members) => members.values().map(scalars).sum(),
        Value::Array(elements) => elements.iter().map(scalars).sum(),
        _ => 1,
    }
}

/// The microseconds since the epoch that a date-time names; one without offset is in UTC.
fn instant(text: &str) -> Option<i64> {
    let mut text = text.to_ascii_uppercase().replace(' ', "T");
    if !text.ends_with('Z') && !text.get(19..)?.contains(['+', '-']) {
        text.push('Z');
    }
    DateTime::parse_from_rfc3339(&text).ok().map(|time| time.timestamp_micros())
}
