//! Typed column storage that grows as values are decoded, one tree of columns per decoder.
//!
//! A column stores one [`Class`] at a time. A value that the class cannot hold is not stored: the column notes it as a
//! wish, and the decoder begins the batch again with the wider class. So a batch never holds a value in a form that
//! lost something. Rows a column did not see are filled with nulls when it is next touched.

use std::collections::BTreeSet;

use arrow::array::NullBufferBuilder;
use hashbrown::HashMap;

use crate::schema::{
    Class, IntRange, Kind, KindSet, MAX_OBJECT_KEYS, Observation, Tally, class, fold, is_dictionary, merged_dictionary,
};

/// No child: the prediction that nothing follows.
pub(super) const NO_CHILD: u32 = u32::MAX;

/// The values of one path in the current batch, and what was seen of it before.
#[derive(Debug)]
pub(super) struct Column {
    /// Every kind this column must be able to hold: from the seed and from all batches begun so far.
    known: KindSet,
    /// Kinds met in the current attempt that `data` cannot hold.
    wish: KindSet,
    /// The keys of the objects here are data: they are stored as a map.
    dictionary: bool,
    wish_dictionary: bool,
    /// What the finished batches held.
    total: Tally,
    total_ints: Option<IntRange>,
    /// What the current batch holds.
    seen: [u32; Kind::COUNT],
    ints: Option<IntRange>,
    pub(super) data: Data,
    pub(super) nulls: NullBufferBuilder,
    /// Rows so far.
    pub(super) len: usize,
}

/// The storage of each class.
#[derive(Debug)]
pub(super) enum Data {
    /// Nothing but nulls so far.
    Empty,
    /// Values are checked and dropped: the column is not projected.
    Skip,
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Decimal(Vec<i128>),
    Double(Vec<f64>),
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
    Text(Bytes),
    Json(Bytes),
    Struct(Box<StructData>),
    List(Box<ListData>),
    Map(Box<MapData>),
}

/// Strings one behind another; `ends[i]` is where the `i`-th ends.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    pub(super) offsets: Vec<i32>,
    pub(super) data: Vec<u8>,
}

/// The children of an object, found by key.
#[derive(Debug)]
pub(super) struct StructData {
    pub(super) children: Vec<Child>,
    index: HashMap<Box<[u8]>, u32>,
    /// Children by folded name.
    groups: HashMap<String, Vec<u32>>,
    /// `after[i + 1]`: the child whose key followed that of child `i` last time; `after[0]` is the first key.
    pub(super) after: Vec<u32>,
    /// Keys without a child are skipped, not added.
    closed: bool,
    /// Folded names that two keys of one object shared.
    together: BTreeSet<String>,
    batch_together: BTreeSet<String>,
}

/// A key of an object and the column of its values.
#[derive(Debug)]
pub(super) struct Child {
    /// The key between its quotes, as it stands in the JSON text when it needs no escapes.
    pub(super) quoted: Box<[u8]>,
    pub(super) key: String,
    /// Another child's key folds to the same name.
    pub(super) has_rivals: bool,
    pub(super) column: Column,
}

/// The elements of arrays; row `i` holds the elements `offsets[i]..offsets[i + 1]`.
#[derive(Debug)]
pub(super) struct ListData {
    pub(super) offsets: Vec<i32>,
    pub(super) element: Column,
}

/// The entries of dictionaries.
#[derive(Debug)]
pub(super) struct MapData {
    pub(super) offsets: Vec<i32>,
    pub(super) keys: Bytes,
    pub(super) value: Column,
}

impl Bytes {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, data: Vec::with_capacity(bytes) }
    }

    #[inline]
    pub(super) fn push(&mut self, text: &[u8]) {
        self.data.extend_from_slice(text);
        self.offsets.push(self.data.len() as i32);
    }

    /// Ends a string that was appended to `data`.
    #[inline]
    pub(super) fn finish_one(&mut self) {
        self.offsets.push(self.data.len() as i32);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.data.truncate(self.offsets.last().map_or(0, |end| *end as usize));
    }

    pub(super) fn get(&self, row: usize) -> &[u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// The strings, leaving room for as many again.
    pub(super) fn take(&mut self) -> Self {
        let fresh = Self::with_capacity(self.offsets.len(), self.data.len());
        std::mem::replace(self, fresh)
    }
}

impl Data {
    fn new(class: Class, dictionary: bool, rows: usize) -> Self {
        match class {
            Class::Unresolved => Self::Empty,
            Class::Bool => Self::Bool(vec![false; rows]),
            Class::Int64 => Self::Int(vec![0; rows]),
            Class::Decimal => Self::Decimal(vec![0; rows]),
            Class::Double => Self::Double(vec![0.0; rows]),
            Class::Timestamp => Self::Timestamp(vec![0; rows]),
            Class::Date => Self::Date(vec![0; rows]),
            Class::Text => Self::Text(Bytes { offsets: vec![0; rows + 1], data: Vec::new() }),
            Class::Json => Self::Json(Bytes { offsets: vec![0; rows + 1], data: Vec::new() }),
            Class::List => Self::List(Box::new(ListData { offsets: vec![0; rows + 1], element: Column::new() })),
            Class::Struct if dictionary => Self::Map(Box::new(MapData {
                offsets: vec![0; rows + 1],
                keys: Bytes::with_capacity(0, 0),
                value: Column::new(),
            })),
            Class::Struct => Self::Struct(Box::new(StructData::new())),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Empty | Self::Skip => Class::Unresolved,
            Self::Bool(_) => Class::Bool,
            Self::Int(_) => Class::Int64,
            Self::Decimal(_) => Class::Decimal,
            Self::Double(_) => Class::Double,
            Self::Timestamp(_) => Class::Timestamp,
            Self::Date(_) => Class::Date,
            Self::Text(_) => Class::Text,
            Self::Json(_) => Class::Json,
            Self::Struct(_) | Self::Map(_) => Class::Struct,
            Self::List(_) => Class::List,
        }
    }
}

impl Column {
    pub(super) fn new() -> Self {
        Self {
            known: KindSet::EMPTY,
            wish: KindSet::EMPTY,
            dictionary: false,
            wish_dictionary: false,
            total: Tally::default(),
            total_ints: None,
            seen: [0; Kind::COUNT],
            ints: None,
            data: Data::Empty,
            nulls: NullBufferBuilder::new(0),
            len: 0,
        }
    }

    /// A column whose values are skipped.
    pub(super) fn skipped() -> Self {
        Self { data: Data::Skip, ..Self::new() }
    }

    /// Makes the column, before its first batch, able to hold all that `seeds` saw.
    pub(super) fn seed(&mut self, seeds: &[&Observation]) {
        self.known = seeds.iter().fold(self.known, |known, seed| known.union(seed.kinds()));
        let class = class(seeds);
        self.dictionary = class == Class::Struct && is_dictionary(seeds);
        self.data = Data::new(class, self.dictionary, 0);
        match &mut self.data {
            Data::Struct(data) => data.seed(seeds),
            Data::List(list) => {
                let elements: Vec<_> = seeds.iter().filter_map(|seed| seed.element.as_deref()).collect();
                list.element.seed(&elements);
            }
            Data::Map(map) => {
                let merged = merged_dictionary(seeds);
                let values: Vec<_> = merged.dictionary.as_deref().into_iter().collect();
                map.value.seed(&values);
            }
            _ => {}
        }
    }

    /// Begins a batch, or begins it again: no rows, and room for all that is known or was wished for.
    pub(super) fn begin(&mut self) {
        self.known = self.known.union(std::mem::take(&mut self.wish));
        self.dictionary |= std::mem::take(&mut self.wish_dictionary);
        self.seen = [0; Kind::COUNT];
        self.ints = None;
        self.nulls = NullBufferBuilder::new(0);
        self.len = 0;
        if matches!(self.data, Data::Skip) {
            return;
        }
        let class = self.known.class();
        if self.data.class() != class || matches!(self.data, Data::Struct(_)) && self.dictionary {
            self.data = Data::new(class, self.dictionary && class == Class::Struct, 0);
        }
        match &mut self.data {
            Data::Empty | Data::Skip => {}
            Data::Bool(values) => values.clear(),
            Data::Int(values) | Data::Timestamp(values) => values.clear(),
            Data::Decimal(values) => values.clear(),
            Data::Double(values) => values.clear(),
            Data::Date(values) => values.clear(),
            Data::Text(text) | Data::Json(text) => text.truncate(0),
            Data::Struct(data) => {
                data.batch_together.clear();
                data.children.iter_mut().for_each(|child| child.column.begin());
            }
            Data::List(list) => {
                list.offsets.truncate(1);
                list.element.begin();
            }
            Data::Map(map) => {
                map.offsets.truncate(1);
                map.keys.truncate(0);
                map.value.begin();
            }
        }
    }

    /// Drops what the current attempt wished for: it came from a record that is no record.
    pub(super) fn forget_wishes(&mut self) {
        self.wish = KindSet::EMPTY;
        self.wish_dictionary = false;
        match &mut self.data {
            Data::Struct(data) => data.children.iter_mut().for_each(|child| child.column.forget_wishes()),
            Data::List(list) => list.element.forget_wishes(),
            Data::Map(map) => map.value.forget_wishes(),
            _ => {}
        }
    }

    /// Adds what the current batch saw to the totals, at its end.
    pub(super) fn commit(&mut self) {
        for kind in Kind::ALL {
            let count = self.seen[kind as usize];
            if count > 0 {
                self.known = self.known.with(kind);
                self.total.add_many(kind, u64::from(count));
            }
        }
        let ints = match &self.data {
            Data::Int(values) => self.range(values),
            _ => self.ints,
        };
        self.total_ints = IntRange::union(self.total_ints, ints);
        match &mut self.data {
            Data::Struct(data) => {
                data.together.append(&mut data.batch_together);
                data.children.iter_mut().for_each(|child| child.column.commit());
            }
            Data::List(list) => list.element.commit(),
            Data::Map(map) => map.value.commit(),
            _ => {}
        }
    }

    fn range(&self, values: &[i64]) -> Option<IntRange> {
        let mut valid = values.iter().enumerate().filter(|(row, _)| self.nulls.is_valid(*row)).map(|(_, value)| *value);
        let first = valid.next()?;
        Some(valid.fold(IntRange { min: first, max: first }, |range, value| IntRange {
            min: range.min.min(value),
            max: range.max.max(value),
        }))
    }

    /// What the finished batches held.
    pub(super) fn observe(&self) -> Observation {
        let mut seen = Observation { tally: self.total, ints: self.total_ints, ..Observation::default() };
        if seen.kinds().class() == Class::Json {
            return seen;
        }
        match &self.data {
            Data::Struct(data) => {
                seen.together.clone_from(&data.together);
                for child in &data.children {
                    if child.column.total.total() > 0 {
                        seen.fields.insert(child.key.clone(), child.column.observe());
                    }
                }
            }
            Data::List(list) if list.element.total.total() > 0 => seen.element = Some(Box::new(list.element.observe())),
            Data::Map(map) if self.total.total() > 0 => seen.dictionary = Some(Box::new(map.value.observe())),
            _ => {}
        }
        seen
    }

    /// Counts a value of the current batch.
    #[inline]
    pub(super) fn count(&mut self, kind: Kind) {
        self.seen[kind as usize] += 1;
    }

    /// Notes an integer that is not stored as one.
    #[inline]
    pub(super) fn note_int(&mut self, value: i64) {
        self.ints = IntRange::union(self.ints, Some(IntRange { min: value, max: value }));
    }

    /// Notes that `kind` must fit too.
    #[cold]
    pub(super) fn wish(&mut self, kind: Kind) {
        self.wish = self.wish.with(kind);
    }

    /// Notes that the objects here are dictionaries.
    #[cold]
    pub(super) fn wish_dictionary(&mut self) {
        self.wish_dictionary = true;
    }

    /// Gives an empty column the storage of a value of `kind`.
    #[cold]
    pub(super) fn start(&mut self, kind: Kind) {
        self.data = Data::new(KindSet::EMPTY.with(kind).class(), false, self.len);
    }

    /// Ends a row with a value.
    #[inline]
    pub(super) fn finish_value(&mut self) {
        self.nulls.append_non_null();
        self.len += 1;
    }

    /// Fills rows with nulls up to `row`.
    #[inline]
    pub(super) fn pad(&mut self, row: usize) {
        if self.len < row {
            self.push_nulls(row - self.len);
        }
    }

    pub(super) fn push_nulls(&mut self, count: usize) {
        self.nulls.append_n_nulls(count);
        self.len += count;
        let len = self.len;
        match &mut self.data {
            Data::Empty | Data::Skip => {}
            Data::Bool(values) => values.resize(len, false),
            Data::Int(values) | Data::Timestamp(values) => values.resize(len, 0),
            Data::Decimal(values) => values.resize(len, 0),
            Data::Double(values) => values.resize(len, 0.0),
            Data::Date(values) => values.resize(len, 0),
            Data::Text(text) | Data::Json(text) => text.offsets.resize(len + 1, text.data.len() as i32),
            // The children are padded when they are next touched.
            Data::Struct(_) => {}
            Data::List(list) => list.offsets.resize(len + 1, list.element.len as i32),
            Data::Map(map) => map.offsets.resize(len + 1, map.value.len as i32),
        }
    }

    /// Takes back all rows from `len` on (an earlier value of a key that occurs twice). Counts stay.
    #[cold]
    pub(super) fn truncate(&mut self, len: usize) {
        if self.len <= len {
            return;
        }
        self.len = len;
        self.nulls.truncate(len);
        match &mut self.data {
            Data::Empty | Data::Skip => {}
            Data::Bool(values) => values.truncate(len),
            Data::Int(values) | Data::Timestamp(values) => values.truncate(len),
            Data::Decimal(values) => values.truncate(len),
            Data::Double(values) => values.truncate(len),
            Data::Date(values) => values.truncate(len),
            Data::Text(text) | Data::Json(text) => text.truncate(len),
            Data::Struct(data) => data.children.iter_mut().for_each(|child| child.column.truncate(len)),
            Data::List(list) => {
                list.offsets.truncate(len + 1);
                list.element.truncate(list.offsets.last().map_or(0, |end| *end as usize));
            }
            Data::Map(map) => {
                map.offsets.truncate(len + 1);
                let entries = map.offsets.last().map_or(0, |end| *end as usize);
                map.keys.truncate(entries);
                map.value.truncate(entries);
            }
        }
    }
}

impl StructData {
    fn new() -> Self {
        Self {
            children: Vec::new(),
            index: HashMap::new(),
            groups: HashMap::new(),
            after: vec![NO_CHILD],
            closed: false,
            together: BTreeSet::new(),
            batch_together: BTreeSet::new(),
        }
    }

    fn seed(&mut self, parents: &[&Observation]) {
        for (_, members) in crate::schema::columns(parents, &mut BTreeSet::new()) {
            let seeds: Vec<_> = members.values().flatten().copied().collect();
            for key in members.keys() {
                let child = self.add(key);
                self.children[child as usize].column.seed(&seeds);
            }
        }
    }

    /// Keeps only the children that `keep` names; the values of all other keys are skipped.
    pub(super) fn project(&mut self, keep: &BTreeSet<String>) {
        self.closed = true;
        for child in &mut self.children {
            if !keep.contains(&child.key) {
                child.column = Column::skipped();
            }
        }
    }

    /// The child of a key (escapes resolved), which is added when there is none and the object is open.
    pub(super) fn child(&mut self, key: &[u8]) -> Option<u32> {
        if let Some(child) = self.index.get(key) {
            return Some(*child);
        }
        // The window is UTF-8, or the record is checked before its values count.
        let key = std::str::from_utf8(key).ok()?;
        (!self.closed).then(|| self.add(key))
    }

    pub(super) fn find_mut(&mut self, key: &str) -> Option<&mut Child> {
        self.index.get(key.as_bytes()).map(|child| &mut self.children[*child as usize])
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.children.len() > MAX_OBJECT_KEYS
    }

    fn add(&mut self, key: &str) -> u32 {
        if let Some(child) = self.index.get(key.as_bytes()) {
            return *child;
        }
        let child = self.children.len() as u32;
        self.index.insert(key.as_bytes().into(), child);
        let group = self.groups.entry(fold(key)).or_default();
        group.push(child);
        let has_rivals = group.len() > 1;
        for rival in group.iter().filter(|rival| has_rivals && **rival != child) {
            self.children[*rival as usize].has_rivals = true;
        }
        // A key with escapes is never predicted: no text has the byte 0xff.
        let plain = key.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
        let quoted = if plain { format!("\"{key}\"").into_bytes() } else { vec![0xff] }.into_boxed_slice();
        self.children.push(Child { quoted, key: key.to_owned(), has_rivals, column: Column::new() });
        self.after.push(NO_CHILD);
        child
    }

    /// Notes whether another key of the object in `row` folds to the same name as that of `child`.
    #[cold]
    pub(super) fn meet_rivals(&mut self, child: u32, row: usize) {
        let name = fold(&self.children[child as usize].key);
        let rivals = self.groups.get(&name).map(Vec::as_slice).unwrap_or_default();
        if rivals.iter().any(|rival| *rival != child && self.children[*rival as usize].column.len > row) {
            self.batch_together.insert(name);
        }
    }
}
