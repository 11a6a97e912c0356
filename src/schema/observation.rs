//! What inference saw: counts of kinds for every path of a source's records.
//!
//! An [`Observation`] is plain data with a commutative, associative and idempotent-by-shape merge: counts add up, key
//! sets unite. The column types are a function of it ([`crate::schema::resolve()`]), so slices may be observed in any
//! order, on any number of threads, and merged in any grouping.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::{Class, Kind, KindSet};
use super::names::fold;

/// An object below the record with more distinct keys than this is a dictionary: its keys are data.
pub const MAX_OBJECT_KEYS: usize = if cfg!(fuzzing) { 6 } else { 512 };

/// How often each [`Kind`] was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally([u64; Kind::COUNT]);

impl Tally {
    /// Counts one more value of `kind`.
    #[inline]
    pub fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// Counts `count` more values of `kind`.
    pub fn add_many(&mut self, kind: Kind, count: u64) {
        self.0[kind as usize] += count;
    }

    /// How many values of `kind` were counted.
    #[inline]
    pub fn count(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// How many values were counted, nulls too.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The kinds that were counted at least once.
    #[inline]
    pub fn kinds(&self) -> KindSet {
        Kind::ALL.into_iter().filter(|kind| self.count(*kind) > 0).collect()
    }

    /// Adds another tally to this one.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

impl Serialize for Tally {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Kind::ALL.into_iter().filter(|k| self.count(*k) > 0).map(|k| (k.name(), self.count(k))))
    }
}

impl<'de> Deserialize<'de> for Tally {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tally = Self::default();
        for (kind, count) in BTreeMap::<Kind, u64>::deserialize(deserializer)? {
            tally.0[kind as usize] += count;
        }
        Ok(tally)
    }
}

/// Smallest and largest integer (within 64 bits) seen at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntRange {
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

impl IntRange {
    /// The range that covers both.
    pub fn union(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(Self { min: a.min.min(b.min), max: a.max.max(b.max) }),
            (a, b) => a.or(b),
        }
    }
}

/// What was seen at one path: kinds with counts, and what lies below.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// How often each kind was seen.
    #[serde(default)]
    pub tally: Tally,
    /// For each kind, the first raw object (by key) that has a value of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub first: BTreeMap<Kind, String>,
    /// The last raw object (by key) that has a value here other than null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// The integers' range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ints: Option<IntRange>,
    /// The values below each key (original spelling) of the objects seen here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Observation>,
    /// The elements of the arrays seen here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<Box<Observation>>,
    /// The values of the objects seen here, when their keys are data (a dictionary). Then `fields` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dictionary: Option<Box<Observation>>,
    /// What spellings of a key have in common (see `names::spelling`) of which one object had two.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub together: BTreeSet<String>,
    /// Of records: the keys that are not in `fields` have no columns of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overflow: bool,
    /// The column name that a committed table gave to this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The earliest place (from 0) that this key had among the keys of its object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
}

impl Observation {
    /// The kinds seen here.
    pub fn kinds(&self) -> KindSet {
        self.tally.kinds()
    }

    /// The first raw object (by key) that has a value here other than null.
    pub fn first_object(&self) -> Option<&str> {
        self.first.iter().filter(|(kind, _)| **kind != Kind::Null).map(|(_, key)| key.as_str()).min()
    }

    /// Adds all that `other` saw.
    ///
    /// Below this path, an object of more than [`MAX_OBJECT_KEYS`] distinct keys becomes a dictionary.
    pub fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        for (kind, theirs) in &other.first {
            match self.first.get_mut(kind) {
                Some(mine) if *mine <= *theirs => {}
                Some(mine) => mine.clone_from(theirs),
                None => drop(self.first.insert(*kind, theirs.clone())),
            }
        }
        if self.last < other.last {
            self.last.clone_from(&other.last);
        }
        self.overflow |= other.overflow;
        self.ints = IntRange::union(self.ints, other.ints);
        self.together.extend(other.together.iter().cloned());
        self.column = match (self.column.take(), &other.column) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs.clone())),
            (mine, theirs) => mine.or_else(|| theirs.clone()),
        };
        self.place = match (self.place, other.place) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        for (key, theirs) in &other.fields {
            match self.fields.get_mut(key) {
                Some(mine) => mine.merge_below(theirs),
                None => drop(self.fields.insert(key.clone(), theirs.clone())),
            }
        }
        merge_box(&mut self.element, other.element.as_deref());
        merge_box(&mut self.dictionary, other.dictionary.as_deref());
    }

    pub(super) fn merge_below(&mut self, other: &Self) {
        self.merge(other);
        if self.kinds().class() == Class::Json {
            // The values are kept as text: what is in them has no bearing on any column.
            self.fields.clear();
            self.together.clear();
            (self.element, self.dictionary) = (None, None);
        } else if self.dictionary.is_some() || self.fields.len() > MAX_OBJECT_KEYS {
            self.collapse();
        }
    }

    /// Turns the object seen here into a dictionary: all keys' values are observed as one.
    pub fn collapse(&mut self) {
        let mut value = self.dictionary.take().map(|boxed| *boxed).unwrap_or_default();
        for (_, mut field) in std::mem::take(&mut self.fields) {
            (field.column, field.place) = (None, None);
            value.merge_below(&field);
        }
        self.together.clear();
        self.dictionary = Some(Box::new(value));
    }

    /// The observations below the keys that fold to each name, in the order of names.
    pub(crate) fn groups(&self) -> BTreeMap<String, Vec<(&str, &Self)>> {
        let mut groups: BTreeMap<String, Vec<(&str, &Self)>> = BTreeMap::new();
        for (key, field) in &self.fields {
            groups.entry(fold(key)).or_default().push((key, field));
        }
        groups
    }
}

fn merge_box(mine: &mut Option<Box<Observation>>, theirs: Option<&Observation>) {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => mine.merge_below(theirs),
        (mine @ None, Some(theirs)) => *mine = Some(Box::new(theirs.clone())),
        (_, None) => {}
    }
}
