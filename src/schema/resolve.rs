//! From what was seen to column types: a pure function of an [`Observation`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::{Class, Kind, KindSet};
use super::names::{distinct, spelling};
use super::observation::Observation;
use super::rules::{Forced, Rule};

/// The type of a column, list element or map value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// boolean
    Bool,
    /// bigint
    Int64,
    /// decimal
    Decimal {
        /// Digits, 1 to 38.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// double
    Double,
    /// timestamp in microseconds, UTC; `naive` when no value had an offset
    Timestamp {
        /// No value had an offset; all were taken as UTC.
        naive: bool,
    },
    /// date
    Date,
    /// string
    Text,
    /// string that holds minified JSON text
    Json,
    /// struct
    Struct(Vec<Field>),
    /// list
    List(Box<Type>),
    /// map with string keys
    Map(Box<Type>),
}

/// A named column, or a field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The column name (see [`crate::schema::fold()`]).
    pub name: String,
    /// The JSON keys, in their original spelling, whose values it holds; sorted. None: it holds, as JSON text of an object,
    /// all keys of the record that have no column of their own; or, as a string, which raw object the record is of.
    pub keys: Vec<String>,
    /// Its type.
    pub ty: Type,
}

impl Field {
    /// The column that tells which raw object each record is of, by its key.
    pub fn provenance(name: &str) -> Self {
        Self { name: name.to_owned(), keys: Vec::new(), ty: Type::Text }
    }

    /// Whether it is that column.
    pub fn is_provenance(&self) -> bool {
        self.keys.is_empty() && self.ty == Type::Text
    }
}

/// Gives the columns of a source whose records were observed at `root`, in the order in which
/// their keys stand in the objects (the earliest place of each; then the keys' byte order).
///
/// `reserved` names (partition columns) are not given to any column.
pub fn resolve(root: &Observation, reserved: &[String]) -> Vec<Field> {
    resolve_ruled(root, reserved, &Rule::default())
}

/// [`resolve`] under what people say of the columns.
pub fn resolve_ruled(root: &Observation, reserved: &[String], rule: &Rule) -> Vec<Field> {
    let mut columns = fields(&[root], reserved, 1, Some(rule));
    if root.overflow {
        let is_free = |name: &String| !reserved.contains(name) && columns.iter().all(|field| field.name != *name);
        let attempts = (0..).map(|attempt| distinct(OVERFLOW, "", attempt));
        let name = std::iter::once(OVERFLOW.to_owned()).chain(attempts).find(is_free).unwrap_or_default();
        columns.push(Field { name, keys: Vec::new(), ty: Type::Json });
    }
    columns
}

/// The name of the column for the keys that have none.
const OVERFLOW: &str = "overflow";

/// The kinds that these observations saw together.
pub(crate) fn kinds(observations: &[&Observation]) -> KindSet {
    observations.iter().fold(KindSet::EMPTY, |kinds, o| kinds.union(o.kinds()))
}

/// The columns of objects observed at `parents`, whose values have `depth` arrays and objects around them.
fn fields(parents: &[&Observation], reserved: &[String], depth: usize, rule: Option<&Rule>) -> Vec<Field> {
    let mut taken: BTreeSet<String> = reserved.iter().cloned().collect();
    let mut fields = Vec::new();
    for (name, members) in columns(parents, &mut taken, rule) {
        let observations: Vec<&Observation> = members.values().flatten().copied().collect();
        let rule = members.keys().next().and_then(|key| rule?.field(key));
        // What a table has of a column that is left out stays.
        let is_left_out = rule.is_some_and(|rule| rule.drop) && observations.iter().all(|seen| seen.column.is_none());
        if is_left_out {
            continue;
        }
        if let Some(ty) = column_type(&observations, depth, rule) {
            let place = observations.iter().filter_map(|seen| seen.place).min();
            fields.push((place, Field { name, keys: members.into_keys().map(str::to_owned).collect(), ty }));
        }
    }
    fields.sort_by(|(a_place, a), (b_place, b)| (a_place, &a.keys).cmp(&(b_place, &b.keys)));
    fields.into_iter().map(|(_, field)| field).collect()
}

pub(crate) type Members<'a> = BTreeMap<&'a str, Vec<&'a Observation>>;

/// Which keys of an object share which column name.
///
/// Keys that fold to one name and are spellings of one word (see [`spelling`]) share it unless one object had two of them, or their
/// kinds only merge to JSON text. Then the key that is spelled like the name (else the first in byte order) keeps it, and the others get a suffix. A name
/// that a committed table gave to a key stays with it. Keys whose type is said share their name whatever their kinds.
pub(crate) fn columns<'a>(
    parents: &[&'a Observation],
    taken: &mut BTreeSet<String>,
    rule: Option<&Rule>,
) -> Vec<(String, Members<'a>)> {
    let mut groups: BTreeMap<String, Members<'a>> = BTreeMap::new();
    for parent in parents {
        for (name, members) in parent.groups() {
            let group = groups.entry(name).or_default();
            for (key, seen) in members {
                group.entry(key).or_default().push(seen);
            }
        }
    }
    let mut named: Vec<(String, Members<'a>)> = Vec::new();
    let mut unnamed: Vec<(String, bool, Members<'a>)> = Vec::new();
    for (name, members) in groups {
        let rule = rule.and_then(|rule| rule.fields.get(&name));
        let mut words: BTreeMap<String, Members<'a>> = BTreeMap::new();
        for (key, seen) in members {
            words.entry(spelling(key)).or_default().insert(key, seen);
        }
        let is_apart = |word: &String, members: &Members<'a>| {
            let were_together = |parent: &&Observation| [word, &name].iter().any(|was| parent.together.contains(*was));
            members.len() > 1
                && (parents.iter().any(were_together)
                    || rule.is_none_or(|rule| rule.ty.is_none())
                        && kinds(&members.values().flatten().copied().collect::<Vec<_>>()).class() == Class::Json)
        };
        let mut parts: Vec<Members<'a>> = Vec::new();
        for (word, members) in words {
            match is_apart(&word, &members) {
                true => parts.extend(members.into_iter().map(|member| Members::from([member]))),
                false => parts.push(members),
            }
        }
        let split = parts.len() > 1;
        let mut fresh = Vec::new();
        let committed: Vec<(&str, &Observation)> =
            parts.iter().flatten().flat_map(|(key, seen)| seen.iter().map(|seen| (*key, *seen))).collect();
        for mut part in parts {
            match part.values().flatten().filter_map(|seen| seen.column.clone()).min() {
                Some(pinned) if taken.insert(pinned.clone()) => {
                    // The column holds rows of all keys that once shared it: its type must hold them.
                    if let Some((key, seen)) = part.iter_mut().next().filter(|_| split) {
                        let others = committed.iter().filter(|(other, _)| other != key);
                        seen.extend(others.map(|(_, seen)| *seen).filter(|seen| seen.column.as_ref() == Some(&pinned)));
                    }
                    named.push((pinned, part));
                }
                _ => fresh.push(part),
            }
        }
        let keeper = fresh.iter().position(|part| part.contains_key(name.as_str())).unwrap_or(0);
        let wanted = rule.and_then(|rule| rule.rename.as_ref()).unwrap_or(&name);
        unnamed.extend(fresh.into_iter().enumerate().map(|(index, part)| (wanted.clone(), index == keeper, part)));
    }
    for (name, keeps, part) in unnamed {
        let key = part.keys().next().copied().unwrap_or_default();
        let mut free = if keeps { name.clone() } else { distinct(&name, key, 0) };
        let mut attempt = u32::from(!keeps);
        while !taken.insert(free.clone()) {
            free = distinct(&name, key, attempt);
            attempt += 1;
        }
        named.push((free, part));
    }
    named
}

fn column_type(seen: &[&Observation], depth: usize, rule: Option<&Rule>) -> Option<Type> {
    let kinds = kinds(seen);
    if let Some(forced) = rule.and_then(|rule| rule.ty) {
        return if kinds.without(Kind::Null).is_empty() { None } else { forced_type(forced, seen, depth, rule) };
    }
    Some(match kinds.class_at(depth) {
        Class::Unresolved => return None,
        Class::Json if kinds.holds_nothing() => return None,
        Class::Bool => Type::Bool,
        Class::Int64 => Type::Int64,
        Class::Decimal => Type::Decimal { precision: 38, scale: 0 },
        Class::Double => Type::Double,
        Class::Timestamp => timestamp(kinds),
        Class::Date => Type::Date,
        Class::Text => Type::Text,
        Class::Json => Type::Json,
        Class::Struct => return object_type(seen, depth + 1, rule),
        Class::List => {
            let elements: Vec<&Observation> = seen.iter().filter_map(|o| o.element.as_deref()).collect();
            // A list of nulls is a value: until its elements have a type, they are null strings.
            let rule = rule.and_then(|rule| rule.element.as_deref());
            match inner_type(&elements, depth + 1, rule) {
                Some(element) => Type::List(Box::new(element)),
                None if kinds.contains(Kind::Array) => Type::List(Box::new(type_of_nulls(depth + 1, rule))),
                None => return None,
            }
        }
    })
}

fn timestamp(kinds: KindSet) -> Type {
    Type::Timestamp { naive: !kinds.contains(Kind::Timestamp) }
}

fn forced_type(forced: Forced, seen: &[&Observation], depth: usize, rule: Option<&Rule>) -> Option<Type> {
    Some(match forced {
        Forced::String => Type::Text,
        Forced::Bigint => Type::Int64,
        Forced::Double => Type::Double,
        Forced::Decimal { precision, scale } => Type::Decimal { precision, scale },
        Forced::Timestamp => timestamp(kinds(seen)),
        Forced::Date => Type::Date,
        Forced::Json => Type::Json,
        Forced::Map => map_type(seen, depth + 1, rule),
    })
}

fn map_type(seen: &[&Observation], depth: usize, rule: Option<&Rule>) -> Type {
    let merged = merged_dictionary(seen);
    let value_rule = rule.and_then(|rule| rule.value.as_deref());
    let value = merged.dictionary.as_deref().map(|value| inner_type(&[value], depth, value_rule));
    // Keys are data here: a dictionary of nulls still has them.
    Type::Map(Box::new(value.flatten().unwrap_or_else(|| type_of_nulls(depth, value_rule))))
}

/// The type of elements or of a map's values. When both `{}` and `[]` are among them, it can only be JSON text.
fn inner_type(seen: &[&Observation], depth: usize, rule: Option<&Rule>) -> Option<Type> {
    let is_json = || kinds(seen).class_at(depth) == Class::Json;
    column_type(seen, depth, rule).or_else(|| is_json().then_some(Type::Json))
}

/// The type of elements or of a map's values as long as all of them are null.
fn type_of_nulls(depth: usize, rule: Option<&Rule>) -> Type {
    let forced = rule.and_then(|rule| rule.ty);
    forced.and_then(|forced| forced_type(forced, &[], depth, rule)).unwrap_or(Type::Text)
}

/// Whether a type follows from what was seen of elements or of a map's values.
pub(crate) fn has_type(seen: &[&Observation], depth: usize, rule: Option<&Rule>) -> bool {
    rule.is_some_and(|rule| rule.ty.is_some()) || inner_type(seen, depth, rule).is_some()
}

fn object_type(seen: &[&Observation], depth: usize, rule: Option<&Rule>) -> Option<Type> {
    if is_dictionary(seen) {
        return Some(map_type(seen, depth, rule));
    }
    match fields(seen, &[], depth, rule) {
        fields if fields.is_empty() => None,
        fields => Some(Type::Struct(fields)),
    }
}

/// These objects observed as one dictionary.
pub(crate) fn merged_dictionary(seen: &[&Observation]) -> Observation {
    let mut merged = Observation::default();
    seen.iter().for_each(|o| merged.merge(o));
    merged.collapse();
    merged
}

/// Whether the keys of these objects are data rather than names: there are more than [`super::MAX_OBJECT_KEYS`] of them.
///
/// The number of distinct keys only grows, so what is a dictionary stays one, and neither the order of records nor how
/// they were cut into runs matters. (How rare keys are, or whether their values are alike, may change with each record.)
pub(crate) fn is_dictionary(seen: &[&Observation]) -> bool {
    if seen.iter().any(|o| o.dictionary.is_some()) {
        return true;
    }
    let keys: BTreeSet<&String> = seen.iter().flat_map(|o| o.fields.keys()).collect();
    keys.len() > super::MAX_OBJECT_KEYS
}

/// The digits that any integer of 64 bits has at most.
const INT64_DIGITS: u8 = 19;

impl Type {
    /// Whether every value stored under this type can be given under `other` with nothing but the stored value known.
    ///
    /// True for equal types, for added struct fields, and for scalars whose stored value determines its JSON text.
    pub fn widens_losslessly_to(&self, other: &Self) -> bool {
        match (self, other) {
            (a, b) if a == b => true,
            (Self::Timestamp { .. }, Self::Timestamp { .. }) => true,
            (Self::Int64, Self::Decimal { precision, scale }) => precision - scale >= INT64_DIGITS,
            (Self::Int64, Self::Double | Self::Text | Self::Json) => true,
            (Self::Decimal { scale: 0, .. }, Self::Text | Self::Json) => true,
            (Self::Bool | Self::Date, Self::Text | Self::Json) => true,
            (Self::Struct(mine), Self::Struct(theirs)) => fields_widen_losslessly(mine, theirs),
            (Self::List(mine), Self::List(theirs)) | (Self::Map(mine), Self::Map(theirs)) => {
                mine.widens_losslessly_to(theirs)
            }
            _ => false,
        }
    }
}

impl Type {
    /// Whether stored values of this type can be given under `other` at all: exactly, or by a canonical text.
    pub fn widens_to(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Json) => true,
            (Self::Double | Self::Timestamp { .. } | Self::Decimal { .. }, Self::Text) => true,
            (Self::Struct(mine), Self::Struct(theirs)) => mine
                .iter()
                .all(|field| theirs.iter().any(|other| other.name == field.name && field.ty.widens_to(&other.ty))),
            (Self::Struct(mine), Self::Map(value)) => mine.iter().all(|field| field.ty.widens_to(value)),
            (Self::List(mine), Self::List(theirs)) | (Self::Map(mine), Self::Map(theirs)) => mine.widens_to(theirs),
            (mine, theirs) => mine.widens_losslessly_to(theirs),
        }
    }
}

/// [`Type::widens_losslessly_to`] for every column of `before`; columns may have been added.
pub fn fields_widen_losslessly(before: &[Field], after: &[Field]) -> bool {
    before.iter().all(|mine| {
        after.iter().find(|theirs| theirs.name == mine.name).is_some_and(|theirs| {
            mine.keys.iter().all(|key| theirs.keys.contains(key)) && mine.ty.widens_losslessly_to(&theirs.ty)
        })
    })
}
