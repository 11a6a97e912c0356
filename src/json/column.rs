//! Typed column storage that grows as values are decoded, one tree of columns per decoder.
//!
//! A column stores one [`Class`] at a time. A value that the class cannot hold is counted but not stored, and the decoder
//! begins the batch again with the wider class. So a batch never holds a value in a form that lost something. Rows a
//! column did not see are filled with nulls when it is next touched.

use arrow::array::NullBufferBuilder;

use super::coerce::{coerced_decimal, coerced_double, coerced_integer, is_scalar_text};
use super::decode::Faulty;
use super::object::StructData;
use super::storage::{Data, ListData, MapData};
use crate::schema::{
    Class, Contract, Forced, IntRange, Kind, KindSet, Observation, Rule, Tally, has_type, is_dictionary, kinds,
    merged_dictionary,
};

/// The values of one path in the current batch, and what was seen of it before.
#[derive(Debug)]
pub(super) struct Column {
    /// How many arrays and objects are around the values, the record itself among them.
    depth: usize,
    /// What is said of the column.
    rule: Option<Box<Rule>>,
    /// The values must be objects, or arrays, for what is said of the columns below.
    shape: Option<Class>,
    /// The column is one of a table whose contract allows no promotion.
    pub(super) locked: bool,
    /// Every kind this column must be able to hold: from the seed and from all batches so far.
    known: KindSet,
    /// Kinds that other keys of the same column had before.
    shared: KindSet,
    /// The keys of the objects here are data: they are stored as a map.
    dictionary: bool,
    /// The current attempt met more keys than an object may have.
    pub(super) crowded: bool,
    /// The objects became a dictionary (or records of too many keys) since the last finished batch.
    pub(super) collapsed: bool,
    /// What the finished batches held.
    total: Tally,
    total_ints: Option<IntRange>,
    /// For each kind, the first raw object (by its number) with a value of it, in the finished batches.
    first: [Option<u32>; Kind::COUNT],
    /// The last raw object with a value other than null.
    last: Option<u32>,
    /// What the current batch holds.
    seen: [u32; Kind::COUNT],
    /// For each kind of it, the row of the first value.
    first_rows: [u32; Kind::COUNT],
    ints: Option<IntRange>,
    pub(super) data: Data,
    pub(super) nulls: NullBufferBuilder,
    /// Rows so far.
    pub(super) len: usize,
}

fn elements<'a>(lists: &[&'a Observation]) -> Vec<&'a Observation> {
    lists.iter().filter_map(|list| list.element.as_deref()).collect()
}

impl Column {
    /// A column without rows. `depth`: how many arrays and objects are around its values.
    pub(super) fn new(depth: usize, rule: Option<&Rule>) -> Self {
        let shape =
            rule.and_then(Rule::shape).filter(|_| KindSet::EMPTY.with(Kind::Object).class_at(depth) != Class::Json);
        let data = match rule {
            Some(Rule { drop: true, .. }) => Data::Skip,
            Some(Rule { ty: Some(forced), .. }) => Data::forced(*forced, depth, rule),
            _ => shape.map_or(Data::Empty, |class| Data::new(class, false, depth, rule, 0)),
        };
        Self {
            depth,
            rule: rule.map(|rule| Box::new(rule.clone())),
            shape,
            locked: false,
            known: KindSet::EMPTY,
            shared: KindSet::EMPTY,
            dictionary: false,
            crowded: false,
            collapsed: false,
            total: Tally::default(),
            total_ints: None,
            first: [None; Kind::COUNT],
            last: None,
            seen: [0; Kind::COUNT],
            first_rows: [0; Kind::COUNT],
            ints: None,
            data,
            nulls: NullBufferBuilder::new(0),
            len: 0,
        }
    }

    /// The column of the records themselves, whose columns can hold all that `seed` saw.
    ///
    /// The keys of records are names, however many there are.
    pub(super) fn root(seed: &Observation, rule: &Rule, contract: Contract) -> Self {
        let mut fields = StructData::new(1, Some(rule));
        // A table without columns has nothing to keep yet.
        let committed = seed.fields.values().any(|field| field.column.is_some());
        fields.seed(&[seed], &[seed], if committed { contract } else { Contract::Evolve });
        let known = KindSet::EMPTY.with(Kind::Object);
        Self { known, data: Data::Struct(Box::new(fields)), ..Self::new(0, Some(rule)) }
    }

    /// A column of JSON text, whatever comes.
    pub(super) fn json_text() -> Self {
        Self::new(1, Some(&Rule { ty: Some(Forced::Json), ..Rule::default() }))
    }

    /// A column whose values are skipped.
    pub(super) fn skipped() -> Self {
        Self { data: Data::Skip, ..Self::new(1, None) }
    }

    /// A column like this one before its first value.
    pub(super) fn fresh(&self) -> Self {
        Self::new(self.depth, self.rule())
    }

    /// What is said of the column.
    pub(super) fn rule(&self) -> Option<&Rule> {
        self.rule.as_deref()
    }

    fn forced(&self) -> Option<Forced> {
        self.rule.as_ref().and_then(|rule| rule.ty)
    }

    /// The class that holds every kind known, also those of other keys, unless that makes it JSON text: then keys part.
    fn class(&self) -> Class {
        let all = self.known.union(self.shared);
        let parts = all.class() == Class::Json && self.known.class() != Class::Json && self.forced().is_none();
        if parts { self.known } else { all }.class_at(self.depth)
    }

    /// Whether the storage is what was said, always.
    fn is_said(&self) -> bool {
        self.forced().is_some() || self.shape.is_some()
    }

    fn storage(&self, class: Class, rows: usize) -> Data {
        Data::new(class, self.dictionary, self.depth, self.rule.as_deref(), rows)
    }

    /// Makes the column, before its first batch, able to hold all that `sharing` saw, with the keys that `seeds` saw, and no
    /// more than `contract` allows.
    pub(super) fn seed(&mut self, seeds: &[&Observation], sharing: &[&Observation], contract: Contract) {
        if matches!(self.data, Data::Skip) {
            return;
        }
        self.locked = contract != Contract::Evolve;
        let all = kinds(sharing);
        // What is JSON text at this point is so for good.
        let is_text = all.class() == Class::Json;
        self.known = self.known.union(if is_text { all } else { kinds(seeds) });
        self.shared = if is_text { KindSet::EMPTY } else { all };
        let class = self.class();
        // What a table already stores otherwise goes on so.
        self.shape = self.shape.filter(|shape| class == *shape || class == Class::Unresolved);
        if self.forced().is_none() && (self.shape.is_none() || class != Class::Unresolved) {
            self.dictionary = class == Class::Struct && is_dictionary(sharing);
            self.data = self.storage(class, 0);
        }
        match &mut self.data {
            Data::Struct(data) => data.seed(seeds, sharing, contract),
            Data::List(list) => list.element.seed_inner(&elements(seeds), &elements(sharing), contract),
            Data::Map(map) => {
                let merged = merged_dictionary(sharing);
                let values: Vec<_> = merged.dictionary.as_deref().into_iter().collect();
                map.value.seed_inner(&values, &values, contract);
            }
            _ => {}
        }
    }

    /// [`seed`](Self::seed) for elements or a map's values. Where the table has only nulls of them, and thus null strings,
    /// no contract lets them become anything else.
    fn seed_inner(&mut self, seeds: &[&Observation], sharing: &[&Observation], contract: Contract) {
        let closed = contract != Contract::Evolve && !has_type(sharing, self.depth, self.rule());
        self.seed(seeds, sharing, if closed { Contract::Freeze } else { contract });
        if let Data::List(list) = &mut self.data {
            list.closed = closed;
        }
    }

    /// Makes a column that has not begun yet like `other`, which stores values of the same column under another key.
    pub(super) fn seed_like(&mut self, other: &Self) {
        (self.known, self.shared, self.locked) = (other.known, other.shared, other.locked);
        if !self.is_said() && !matches!(self.data, Data::Skip) {
            self.data = self.storage(self.class(), 0);
        }
    }

    /// Begins a batch, or begins it again: no rows, and room for all that is known.
    pub(super) fn begin(&mut self) {
        self.seen = [0; Kind::COUNT];
        self.ints = None;
        self.nulls = NullBufferBuilder::new(0);
        self.len = 0;
        if matches!(self.data, Data::Skip) {
            return;
        }
        let class = self.class();
        if self.dictionary && matches!(self.data, Data::Struct(_)) && class == Class::Struct {
            self.become_dictionary();
        } else if !self.is_said() && self.data.class() != class {
            self.data = self.storage(class, 0);
        }
        match &mut self.data {
            Data::Empty | Data::Skip => {}
            Data::Scaled { values, .. } => values.clear(),
            Data::Bool(values) => values.clear(),
            Data::Int(values) | Data::Timestamp(values) => values.clear(),
            Data::Decimal(values) => values.clear(),
            Data::Double(values) => values.clear(),
            Data::Date(values) => values.clear(),
            Data::Text(text) | Data::Json(text) => text.truncate(0),
            Data::Struct(data) => {
                data.batch_together.clear();
                data.rest.iter_mut().for_each(|rest| rest.begin());
                for child in &mut data.children {
                    child.batch_place = u32::MAX;
                    child.column.begin();
                }
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

    /// Stores the objects as a map from now on. What was seen below any of their keys is taken as seen below one.
    #[cold]
    fn become_dictionary(&mut self) {
        // Observations name raw objects: here by their numbers, in digits that sort like them.
        let seen = merged_dictionary(&[&self.observe(&|object| Some(format!("{object:010}")))]);
        self.data = self.storage(Class::Struct, 0);
        self.collapsed = true;
        self.adopt_below(&seen);
    }

    /// Takes what was seen elsewhere as seen here.
    fn adopt(&mut self, seen: &Observation) {
        self.known = self.known.union(seen.kinds());
        self.dictionary |= seen.dictionary.is_some();
        self.total.merge(&seen.tally);
        self.total_ints = IntRange::union(self.total_ints, seen.ints);
        for (kind, object) in &seen.first {
            self.first[*kind as usize] = object.parse().ok();
        }
        self.last = seen.last.as_ref().and_then(|object| object.parse().ok());
        if !self.is_said() {
            self.data = self.storage(self.class(), 0);
        }
        self.adopt_below(seen);
    }

    fn adopt_below(&mut self, seen: &Observation) {
        match &mut self.data {
            Data::Struct(data) => {
                data.together.extend(seen.together.iter().cloned());
                for (key, below) in &seen.fields {
                    let index = data.add(key);
                    let child = &mut data.children[index as usize];
                    child.place = below.place;
                    child.column.adopt(below);
                }
            }
            Data::List(list) => seen.element.iter().for_each(|below| list.element.adopt(below)),
            Data::Map(map) => seen.dictionary.iter().for_each(|below| map.value.adopt(below)),
            _ => {}
        }
    }

    /// Learns what the current attempt met, all of which came from sound records.
    pub(super) fn widen(&mut self) {
        self.known = self.known.union(self.seen_kinds());
        self.dictionary |= std::mem::take(&mut self.crowded);
        match &mut self.data {
            Data::Struct(data) => data.children.iter_mut().for_each(|child| child.column.widen()),
            Data::List(list) => list.element.widen(),
            Data::Map(map) => map.value.widen(),
            _ => {}
        }
    }

    /// Drops what the current attempt met: some of it came from a record that is no record.
    pub(super) fn forget(&mut self) {
        self.crowded = false;
        match &mut self.data {
            Data::Struct(data) => data.forget(),
            Data::List(list) => list.element.forget(),
            Data::Map(map) => map.value.forget(),
            _ => {}
        }
    }

    /// Whether no kind of value is known yet.
    pub(super) fn is_new(&self) -> bool {
        self.known.union(self.shared).is_empty()
    }

    fn seen_kinds(&self) -> KindSet {
        Kind::ALL.into_iter().filter(|kind| self.seen[*kind as usize] > 0).collect()
    }

    /// Whether this batch has no values here but null, `{}`, `[]` and objects of such.
    pub(super) fn holds_nothing(&self) -> bool {
        let empty = [Kind::Null, Kind::EmptyObject, Kind::Object, Kind::EmptyArray];
        empty.into_iter().fold(self.seen_kinds(), KindSet::without).is_empty()
            && match &self.data {
                Data::Struct(data) => data.children.iter().all(|child| child.column.holds_nothing()),
                Data::Map(map) => map.value.len == 0,
                _ => true,
            }
    }

    /// Appends the counts of the current batch, here and below.
    #[cold]
    pub(super) fn save_counts(&self, out: &mut Vec<[u32; Kind::COUNT]>) {
        out.push(self.seen);
        match &self.data {
            Data::Struct(data) => data.children.iter().for_each(|child| child.column.save_counts(out)),
            Data::List(list) => list.element.save_counts(out),
            Data::Map(map) => map.value.save_counts(out),
            _ => {}
        }
    }

    /// Takes back the counts saved before, since when no key was added.
    #[cold]
    pub(super) fn restore_counts(&mut self, saved: &mut std::slice::Iter<'_, [u32; Kind::COUNT]>) {
        self.seen = saved.next().copied().unwrap_or(self.seen);
        match &mut self.data {
            Data::Struct(data) => data.children.iter_mut().for_each(|child| child.column.restore_counts(saved)),
            Data::List(list) => list.element.restore_counts(saved),
            Data::Map(map) => map.value.restore_counts(saved),
            _ => {}
        }
    }

    /// How many cells the arrays of `rows` rows have, here and below.
    pub(super) fn cells(&self, rows: usize) -> usize {
        match &self.data {
            Data::Empty | Data::Skip => 0,
            Data::Struct(data) => data.children.iter().map(|child| child.column.cells(rows)).sum(),
            Data::List(list) => rows + list.element.cells(list.element.len),
            Data::Map(map) => rows + map.value.len + map.value.cells(map.value.len),
            _ => rows,
        }
    }

    /// Adds what the current batch saw to the totals, at its end. Says whether a kind, a key, a meeting of rivals or a
    /// dictionary was seen for the first time. `object_of` gives the number of the raw object that a row came from.
    pub(super) fn commit(&mut self, object_of: &dyn Fn(usize) -> u32) -> bool {
        let mut learned = std::mem::take(&mut self.collapsed);
        if let Some(row) = self.last_value() {
            self.last = self.last.max(Some(object_of(row)));
        }
        for kind in Kind::ALL {
            let count = self.seen[kind as usize];
            if count > 0 {
                learned |= self.total.count(kind) == 0;
                let first = object_of(self.first_rows[kind as usize] as usize);
                self.first[kind as usize] = Some(self.first[kind as usize].map_or(first, |before| before.min(first)));
                self.known = self.known.with(kind);
                self.total.add_many(kind, u64::from(count));
            }
        }
        let ints = match &self.data {
            Data::Int(values) => self.range(values, 0),
            _ => None,
        };
        self.total_ints = [self.ints, ints].into_iter().fold(self.total_ints, IntRange::union);
        match &mut self.data {
            Data::Struct(data) => {
                let known = data.together.len();
                data.together.append(&mut data.batch_together);
                learned |= data.together.len() > known;
                for child in &mut data.children {
                    child.new_spelling = false;
                    if child.batch_place < u32::MAX {
                        child.place = Some(child.place.map_or(child.batch_place, |place| place.min(child.batch_place)));
                    }
                    learned |= child.column.commit(object_of);
                }
            }
            Data::List(list) => {
                let ListData { offsets, element, .. } = &mut **list;
                learned |= element.commit(&|entry| object_of(row_of(offsets, entry)));
            }
            Data::Map(map) => {
                let MapData { offsets, value, .. } = &mut **map;
                learned |= value.commit(&|entry| object_of(row_of(offsets, entry)));
            }
            _ => {}
        }
        learned
    }

    /// The range of `values`, which begin at row `first`.
    fn range(&self, values: &[i64], first: usize) -> Option<IntRange> {
        let is_valid = |row: &usize| self.nulls.is_valid(first + row);
        let mut valid = values.iter().enumerate().filter(|(row, _)| is_valid(row)).map(|(_, value)| *value);
        let first = valid.next()?;
        Some(valid.fold(IntRange { min: first, max: first }, |range, value| IntRange {
            min: range.min.min(value),
            max: range.max.max(value),
        }))
    }

    /// The last row of the current batch that is not null.
    fn last_value(&self) -> Option<usize> {
        match self.nulls.as_slice() {
            // No null so far.
            None => self.len.checked_sub(1),
            Some(bytes) => {
                let byte = bytes.iter().rposition(|byte| *byte != 0)?;
                Some(byte * 8 + 7 - bytes[byte].leading_zeros() as usize)
            }
        }
    }

    /// What the finished batches held. `name` gives the key of a raw object by its number, when it is wanted.
    pub(super) fn observe(&self, name: &dyn Fn(u32) -> Option<String>) -> Observation {
        let first = Kind::ALL.into_iter().filter_map(|kind| Some((kind, name(self.first[kind as usize]?)?))).collect();
        let last = self.last.and_then(name);
        let mut seen = Observation { tally: self.total, ints: self.total_ints, first, last, ..Observation::default() };
        if seen.kinds().class_at(self.depth) == Class::Json {
            return seen;
        }
        match &self.data {
            Data::Struct(data) => {
                seen.together.clone_from(&data.together);
                seen.overflow = data.rest.is_some();
                for child in &data.children {
                    if child.column.total.total() > 0 {
                        let below = Observation { place: child.place, ..child.column.observe(name) };
                        seen.fields.insert(child.key.clone(), below);
                    }
                }
            }
            Data::List(list) if list.element.total.total() > 0 => {
                seen.element = Some(Box::new(list.element.observe(name)));
            }
            Data::Map(map) if self.total.total() > 0 => seen.dictionary = Some(Box::new(map.value.observe(name))),
            _ => {}
        }
        seen
    }

    /// Counts a value of the current batch.
    #[inline]
    pub(super) fn count(&mut self, kind: Kind) {
        let seen = &mut self.seen[kind as usize];
        if *seen == 0 {
            self.first_rows[kind as usize] = self.len as u32;
        }
        *seen += 1;
    }

    /// Notes an integer that is not stored as one.
    #[inline]
    pub(super) fn note_int(&mut self, value: i64) {
        self.ints = IntRange::union(self.ints, Some(IntRange { min: value, max: value }));
    }

    /// Gives an empty column the storage of a value of `kind`.
    ///
    /// # Errors
    /// When the table holds only nulls here and refuses anything else.
    #[cold]
    pub(super) fn start(&mut self, kind: Kind) -> Result<(), Faulty> {
        if self.locked {
            return Err(Faulty);
        }
        self.data = self.storage(KindSet::EMPTY.with(kind).class_at(self.depth), self.len);
        Ok(())
    }

    /// Whether the storage takes values of `kind` as they are.
    pub(super) fn takes(&self, kind: Kind) -> bool {
        match (&self.data, kind) {
            (Data::Skip | Data::Json(_), _) | (_, Kind::Null) => true,
            (Data::Empty, _) => !self.locked,
            (Data::Bool(_), kind) => kind == Kind::Bool,
            (Data::Int(_), kind) => matches!(kind, Kind::Int | Kind::WideInt),
            (Data::Decimal(_), kind) => matches!(kind, Kind::Int | Kind::WideInt | Kind::BigInt),
            (Data::Scaled { .. }, _) => false,
            (Data::Double(_), kind) => matches!(kind, Kind::Int | Kind::Double),
            (Data::Timestamp(_), kind) => matches!(kind, Kind::Timestamp | Kind::NaiveTimestamp),
            (Data::Date(_), kind) => kind == Kind::Date,
            (Data::Text(_), kind) => !matches!(kind, Kind::EmptyObject | Kind::Object | Kind::EmptyArray | Kind::Array),
            (Data::Struct(_) | Data::Map(_), kind) => matches!(kind, Kind::EmptyObject | Kind::Object),
            (Data::List(list), kind) => kind == Kind::EmptyArray || kind == Kind::Array && !list.closed,
        }
    }

    /// Stores a value of `kind` that the storage does not take as it is, when its type is said and `text` (that of a
    /// number, or what a string says) is exactly a value of the type. Says whether it did.
    pub(super) fn coerce(&mut self, kind: Kind, text: &[u8]) -> bool {
        if self.forced().is_none() || !is_scalar_text(kind) {
            return false;
        }
        match &mut self.data {
            Data::Int(values) => match coerced_integer(text) {
                Some(value) => values.push(value),
                None => return false,
            },
            Data::Double(values) => match coerced_double(text) {
                Some(value) => values.push(value),
                None => return false,
            },
            Data::Scaled { values, precision, scale } => match coerced_decimal(text, *precision, *scale) {
                Some(value) => values.push(value),
                None => return false,
            },
            _ => return false,
        }
        self.count(kind);
        self.finish_value();
        true
    }

    /// Whether [`coerce`](Self::coerce) would store the value.
    pub(super) fn coerces(&self, kind: Kind, text: &[u8]) -> bool {
        self.forced().is_some()
            && is_scalar_text(kind)
            && match &self.data {
                Data::Int(_) => coerced_integer(text).is_some(),
                Data::Double(_) => coerced_double(text).is_some(),
                Data::Scaled { precision, scale, .. } => coerced_decimal(text, *precision, *scale).is_some(),
                _ => false,
            }
    }

    /// Whether a value that does not fit makes its record one that the table refuses.
    pub(super) fn refuses(&self) -> bool {
        self.locked || self.is_said()
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
            Data::Scaled { values, .. } => values.resize(len, 0),
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
        if let Data::Int(values) = &self.data {
            // The range at the end of the batch will not find them.
            self.ints = IntRange::union(self.ints, self.range(&values[len..], len));
        }
        self.len = len;
        self.nulls.truncate(len);
        match &mut self.data {
            Data::Empty | Data::Skip => {}
            Data::Scaled { values, .. } => values.truncate(len),
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

/// The row that holds entry `entry` of a list or map.
fn row_of(offsets: &[i32], entry: usize) -> usize {
    offsets.partition_point(|start| *start as usize <= entry).saturating_sub(1)
}
