//! The columns of an object's keys.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::column::Column;
use super::decode::Faulty;
use super::storage::Data;
use crate::schema::{Contract, Field, MAX_OBJECT_KEYS, Observation, Rule, Type, columns, spelling};

/// No child: the prediction that nothing follows.
pub(super) const NO_CHILD: u32 = u32::MAX;

/// The children of an object, found by key.
#[derive(Debug)]
pub(super) struct StructData {
    pub(super) children: Vec<Child>,
    index: HashMap<Box<[u8]>, u32>,
    /// Children by their keys' spelling (see [`spelling`]): where in `rivals` they are.
    groups: HashMap<String, u32>,
    /// Children whose keys are spellings of one.
    rivals: Vec<Vec<u32>>,
    /// `after[i + 1]`: the child whose key followed that of child `i` last time; `after[0]` is the first key.
    pub(super) after: Vec<u32>,
    /// How many arrays and objects are around the values of the children.
    depth: usize,
    /// What is said of the columns of the keys.
    rule: Option<Box<Rule>>,
    /// Keys without a child are skipped, not added.
    pub(super) closed: bool,
    /// Of records: where the members go whose keys have no child.
    pub(super) rest: Option<Box<Rest>>,
    /// What the table allows, when the object is one of its columns.
    pub(super) contract: Contract,
    /// Folded names of which each key has a column of its own in the table, when a contract binds it.
    apart: BTreeSet<String>,
    /// Folded names of the columns that the table has from other spellings of the objects' key alone, likewise.
    foreign: BTreeSet<String>,
    /// Folded names that two keys of one object shared.
    pub(super) together: BTreeSet<String>,
    /// The same of the current batch.
    pub(super) batch_together: BTreeSet<String>,
}

/// The members of records whose keys have no column: one JSON object for each record that has some.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) column: Column,
    /// The object of the present record is begun.
    open: bool,
}

impl Default for Rest {
    fn default() -> Self {
        Self { column: Column::json_text(), open: false }
    }
}

impl Rest {
    /// Appends a member of the record in `row`: `write` gives its key and value as JSON text.
    pub(super) fn add(&mut self, row: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.column.pad(row);
        let Data::Json(texts) = &mut self.column.data else { return };
        texts.data.push(if std::mem::replace(&mut self.open, true) { b',' } else { b'{' });
        write(&mut texts.data);
    }

    /// Ends the record.
    pub(super) fn end_record(&mut self) {
        if std::mem::take(&mut self.open)
            && let Data::Json(texts) = &mut self.column.data
        {
            texts.data.push(b'}');
            texts.finish_one();
            self.column.finish_value();
        }
    }

    /// Begins a batch.
    pub(super) fn begin(&mut self) {
        self.open = false;
        self.column.begin();
    }
}

/// What becomes of the values of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// They go into the column of this child.
    Child(u32),
    /// They go, with the key, into the column of all keys that have none.
    Rest,
    /// They are passed over.
    Skipped,
    /// The table refuses the record, unless there is nothing in the value.
    Refused,
}

/// What a contract says of a key that has no child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewKey {
    /// It may have a column of any type.
    Free,
    /// It shares the column of this child, which is another spelling of it.
    Like(u32),
    /// It goes into the column of all keys that have none.
    Rest,
    /// The table refuses it.
    Refused,
}

/// A key of an object and the column of its values.
#[derive(Debug)]
pub(super) struct Child {
    /// The key between its quotes, as it stands in the JSON text when it needs no escapes.
    pub(super) quoted: Box<[u8]>,
    pub(super) key: String,
    /// Another child's key is a spelling of the same.
    pub(super) has_rivals: bool,
    group: u32,
    /// It took its type from another spelling in a batch that is not finished.
    pub(super) new_spelling: bool,
    /// The earliest place of the key in an object, in the finished batches.
    pub(super) place: Option<u32>,
    /// The same in the current batch; `u32::MAX` when it did not occur.
    pub(super) batch_place: u32,
    pub(super) column: Column,
}

impl Child {
    /// Whether its values are skipped, and it does not matter where they are.
    #[inline]
    pub(super) fn is_passed_over(&self) -> bool {
        matches!(self.column.data, Data::Skip) && !self.has_rivals
    }
}

impl StructData {
    /// An object without keys whose values have `depth` arrays and objects around them.
    pub(super) fn new(depth: usize, rule: Option<&Rule>) -> Self {
        Self {
            children: Vec::new(),
            index: HashMap::new(),
            groups: HashMap::new(),
            rivals: Vec::new(),
            after: vec![NO_CHILD],
            depth,
            rule: rule.filter(|rule| !rule.fields.is_empty()).map(|rule| Box::new(rule.clone())),
            closed: false,
            rest: None,
            contract: Contract::Evolve,
            apart: BTreeSet::new(),
            foreign: BTreeSet::new(),
            together: BTreeSet::new(),
            batch_together: BTreeSet::new(),
        }
    }

    /// Adds the keys that `parents` saw, each with a column that can hold all that its name's column must. `sharing` are
    /// the parents and those under other keys of the same column.
    ///
    /// Each key gets only the keys that were below itself: with those of its rivals too, their number would double with
    /// each level. What the table has columns for is bound by `contract`; a key that it has none for, as only nulls were
    /// seen, is not.
    pub(super) fn seed(&mut self, parents: &[&Observation], sharing: &[&Observation], contract: Contract) {
        let rule = self.rule.clone();
        let mut names: BTreeSet<String> = BTreeSet::new();
        for (_, members) in columns(sharing, &mut BTreeSet::new(), rule.as_deref()) {
            if contract != Contract::Evolve
                && let Some(name) = members.keys().next().map(|key| spelling(key))
                && !names.insert(name.clone())
            {
                self.apart.insert(name);
            }
            let all: Vec<_> = members.values().flatten().copied().collect();
            let committed = all.iter().any(|seed| seed.column.is_some());
            if !committed && contract == Contract::Freeze {
                continue;
            }
            for key in members.keys() {
                let own: Vec<_> = parents.iter().filter_map(|parent| parent.fields.get(*key)).collect();
                if !own.is_empty() {
                    let child = self.add(key);
                    let contract = if committed { contract } else { Contract::Evolve };
                    self.children[child as usize].column.seed(&own, &all, contract);
                } else if committed && contract != Contract::Evolve {
                    self.foreign.insert(spelling(key));
                }
            }
        }
        self.contract = contract;
        if contract != Contract::Evolve {
            self.apart.extend(parents.iter().flat_map(|parent| parent.together.iter().cloned()));
        }
        if parents.iter().any(|parent| parent.overflow) {
            self.rest = Some(Box::default());
        }
    }

    /// Whether the current attempt added keys past the first `keep`, which go into no column of all others yet.
    pub(super) fn is_too_wide(&self, keep: usize) -> bool {
        self.rest.is_none() && self.children.iter().skip(keep).any(|child| child.column.is_new())
    }

    /// Keeps the first `keep` keys and those that were known before; the members of all others go into one column from
    /// now on.
    #[cold]
    pub(super) fn overflow(&mut self, keep: usize) {
        self.keep_children(|index, child| index < keep || !child.column.is_new());
        self.rest = Some(Box::default());
    }

    /// What the table's contract says of a key that has no child. `added`: how many others would have got one before.
    pub(super) fn new_key(&self, key: &str, added: usize) -> NewKey {
        let otherwise = if self.rest.is_some() { NewKey::Rest } else { NewKey::Free };
        if self.contract == Contract::Evolve {
            return otherwise;
        }
        let name = spelling(key);
        let group = self.groups.get(&name).map(|group| self.rivals[*group as usize].as_slice());
        let columns = group.unwrap_or_default().iter().map(|rival| (*rival, &self.children[*rival as usize].column));
        match columns.into_iter().find(|(_, column)| column.locked) {
            Some((rival, column)) if !self.apart.contains(&name) => match &column.data {
                // Values below another spelling would have to be compared field by field: they are not taken.
                Data::Struct(_) | Data::List(_) | Data::Map(_) => return NewKey::Refused,
                // No spellings share JSON text, unless it is said.
                Data::Json(_) if column.rule().is_none_or(|rule| rule.ty.is_none()) => {}
                _ => return NewKey::Like(rival),
            },
            _ => {}
        }
        // One key more would make the struct a map; and the column of another spelling is not known here.
        let is_closed =
            self.foreign.contains(&name) || self.depth > 1 && self.children.len() + added >= MAX_OBJECT_KEYS;
        let is_frozen = self.contract == Contract::Freeze && otherwise == NewKey::Free;
        if is_frozen || is_closed { NewKey::Refused } else { otherwise }
    }

    /// Whether values under a key have a column.
    pub(super) fn has_column(&self, key: &str) -> bool {
        self.find(key.as_bytes()).is_some() || matches!(self.new_key(key, 0), NewKey::Free | NewKey::Like(_))
    }

    /// Whether a record that has values under both keys is refused: they share a column of a table whose contract lets no
    /// key leave it.
    pub(super) fn refuses_together(&self, key: &str, other: &str) -> bool {
        self.contract != Contract::Evolve && key != other && {
            let name = spelling(key);
            name == spelling(other) && !self.apart.contains(&name) && self.is_bound(key) && self.is_bound(other)
        }
    }

    /// Whether values under a key go into a column that a contract binds.
    fn is_bound(&self, key: &str) -> bool {
        match self.find(key.as_bytes()) {
            Some(child) => child.column.locked,
            None => matches!(self.new_key(key, 0), NewKey::Like(_)),
        }
    }

    /// Keeps only the children of `fields`, of objects only the fields that they have there, and those that may refuse a record;
    /// the values of all other keys are skipped.
    pub(super) fn project(&mut self, fields: &[Field]) {
        self.closed = true;
        if fields.iter().all(|field| !field.keys.is_empty() || field.is_provenance()) {
            self.rest = None;
        }
        for child in &mut self.children {
            let wanted = fields.iter().find(|field| field.keys.contains(&child.key));
            match wanted {
                Some(Field { ty: Type::Struct(fields), .. }) => {
                    if let Data::Struct(data) = &mut child.column.data {
                        data.project(fields);
                    }
                }
                None if !child.column.refuses() => child.column = Column::skipped(),
                _ => {}
            }
        }
    }

    /// Whether the values of all keys are skipped.
    pub(super) fn is_skipped(&self) -> bool {
        self.closed
            && self.contract == Contract::Evolve
            && self.rule.is_none()
            && self.rest.is_none()
            && self.children.iter().all(|child| matches!(child.column.data, Data::Skip))
    }

    /// The child of a key (escapes resolved), which is added when there is none and the object is open.
    pub(super) fn child(&mut self, key: &[u8]) -> Key {
        if let Some(child) = self.index.get(key) {
            return Key::Child(*child);
        }
        if self.rest.is_some() && self.contract == Contract::Evolve {
            return Key::Rest;
        }
        // The window is UTF-8, or the record is checked before its values count.
        let key = std::str::from_utf8(key).ok();
        let Some(key) = key.filter(|key| !self.closed || self.new_column(key).is_some_and(|new| new.refuses())) else {
            return Key::Skipped;
        };
        let like = match self.new_key(key, 0) {
            NewKey::Refused => return Key::Refused,
            NewKey::Rest => return Key::Rest,
            NewKey::Like(rival) => Some(rival as usize),
            NewKey::Free => None,
        };
        let child = self.add(key);
        if let Some(like) = like {
            let (before, after) = self.children.split_at_mut(child as usize);
            after[0].column.seed_like(&before[like].column);
            after[0].new_spelling = true;
        }
        Key::Child(child)
    }

    /// The child of a key, when there is one.
    pub(super) fn find(&self, key: &[u8]) -> Option<&Child> {
        self.index.get(key).map(|child| &self.children[*child as usize])
    }

    /// The column that a key would get, when something is said of it.
    pub(super) fn new_column(&self, key: &str) -> Option<Column> {
        Some(Column::new(self.depth, Some(self.rule.as_ref()?.field(key)?)))
    }

    pub(super) fn find_mut(&mut self, key: &str) -> Option<&mut Child> {
        self.index.get(key.as_bytes()).map(|child| &mut self.children[*child as usize])
    }

    /// Whether there are more keys than names may have.
    pub(super) fn is_crowded(&self) -> bool {
        self.children.len() > MAX_OBJECT_KEYS
    }

    /// The child of a key, which is added when there is none.
    pub(super) fn add(&mut self, key: &str) -> u32 {
        if let Some(child) = self.index.get(key.as_bytes()) {
            return *child;
        }
        let child = self.children.len() as u32;
        self.index.insert(key.as_bytes().into(), child);
        let group = *self.groups.entry(spelling(key)).or_insert(self.rivals.len() as u32);
        if group as usize == self.rivals.len() {
            self.rivals.push(Vec::new());
        }
        let rivals = &mut self.rivals[group as usize];
        let has_rivals = !rivals.is_empty();
        rivals.iter().for_each(|rival| self.children[*rival as usize].has_rivals = true);
        rivals.push(child);
        // A key with escapes is never predicted: no text has the byte 0xff.
        let plain = key.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
        let quoted = if plain { format!("\"{key}\"").into_bytes() } else { vec![0xff] }.into_boxed_slice();
        let column = Column::new(self.depth, self.rule.as_ref().and_then(|rule| rule.field(key)));
        let (place, batch_place) = (None, u32::MAX);
        self.children.push(Child {
            quoted,
            key: key.to_owned(),
            has_rivals,
            group,
            new_spelling: false,
            place,
            batch_place,
            column,
        });
        self.after.push(NO_CHILD);
        child
    }

    /// Drops what the current attempt met, and the keys that it added.
    pub(super) fn forget(&mut self) {
        self.children.iter_mut().for_each(|child| child.column.forget());
        let is_new = |child: &Child| child.new_spelling || child.column.is_new();
        if self.closed || !self.children.iter().any(is_new) {
            return;
        }
        self.keep_children(|_, child| !is_new(child));
    }

    fn keep_children(&mut self, keep: impl Fn(usize, &Child) -> bool) {
        let mut kept = Self::new(self.depth, self.rule.as_deref());
        kept.together = std::mem::take(&mut self.together);
        kept.apart = std::mem::take(&mut self.apart);
        kept.foreign = std::mem::take(&mut self.foreign);
        (kept.contract, kept.rest) = (self.contract, self.rest.take());
        for (index, child) in std::mem::take(&mut self.children).into_iter().enumerate() {
            if keep(index, &child) {
                let index = kept.add(&child.key);
                let again = &mut kept.children[index as usize];
                (again.column, again.place, again.new_spelling) = (child.column, child.place, child.new_spelling);
            }
        }
        *self = kept;
    }

    /// Notes whether another key of the object in `row` is a spelling of that of `child`.
    ///
    /// # Errors
    /// When the table refuses that.
    #[cold]
    pub(super) fn meet_rivals(&mut self, child: u32, row: usize) -> Result<(), Faulty> {
        let met = &self.children[child as usize];
        let rivals = &self.rivals[met.group as usize];
        let others = || rivals.iter().filter(|rival| **rival != child).map(|rival| &self.children[*rival as usize]);
        if others().any(|other| other.column.len > row) {
            let name = spelling(&met.key);
            let is_bound = met.column.locked && others().any(|other| other.column.len > row && other.column.locked);
            if is_bound && !self.apart.contains(&name) {
                return Err(Faulty);
            }
            self.batch_together.insert(name);
        }
        Ok(())
    }
}
