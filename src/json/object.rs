//! The columns of an object's keys.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::column::Column;
use crate::schema::{MAX_OBJECT_KEYS, Observation, columns, fold};

/// No child: the prediction that nothing follows.
pub(super) const NO_CHILD: u32 = u32::MAX;

/// The children of an object, found by key.
#[derive(Debug)]
pub(super) struct StructData {
    pub(super) children: Vec<Child>,
    index: HashMap<Box<[u8]>, u32>,
    /// Children by folded name: where in `rivals` they are.
    groups: HashMap<String, u32>,
    /// Children that fold to one name.
    rivals: Vec<Vec<u32>>,
    /// `after[i + 1]`: the child whose key followed that of child `i` last time; `after[0]` is the first key.
    pub(super) after: Vec<u32>,
    /// How many arrays and objects are around the values of the children.
    depth: usize,
    /// Keys without a child are skipped, not added.
    closed: bool,
    /// Folded names that two keys of one object shared.
    pub(super) together: BTreeSet<String>,
    /// The same of the current batch.
    pub(super) batch_together: BTreeSet<String>,
}

/// A key of an object and the column of its values.
#[derive(Debug)]
pub(super) struct Child {
    /// The key between its quotes, as it stands in the JSON text when it needs no escapes.
    pub(super) quoted: Box<[u8]>,
    pub(super) key: String,
    /// Another child's key folds to the same name.
    pub(super) has_rivals: bool,
    group: u32,
    /// The earliest place of the key in an object, in the finished batches.
    pub(super) place: Option<u32>,
    /// The same in the current batch; `u32::MAX` when it did not occur.
    pub(super) batch_place: u32,
    pub(super) column: Column,
}

impl StructData {
    /// An object without keys whose values have `depth` arrays and objects around them.
    pub(super) fn new(depth: usize) -> Self {
        Self {
            children: Vec::new(),
            index: HashMap::new(),
            groups: HashMap::new(),
            rivals: Vec::new(),
            after: vec![NO_CHILD],
            depth,
            closed: false,
            together: BTreeSet::new(),
            batch_together: BTreeSet::new(),
        }
    }

    /// Adds the keys that `parents` saw, each with a column that can hold all that its name's column must. `sharing` are
    /// the parents and those under other keys of the same column.
    ///
    /// Each key gets only the keys that were below itself: with those of its rivals too, their number would double with
    /// each level.
    pub(super) fn seed(&mut self, parents: &[&Observation], sharing: &[&Observation]) {
        for (_, members) in columns(sharing, &mut BTreeSet::new()) {
            let all: Vec<_> = members.values().flatten().copied().collect();
            for key in members.keys() {
                let own: Vec<_> = parents.iter().filter_map(|parent| parent.fields.get(*key)).collect();
                if !own.is_empty() {
                    let child = self.add(key);
                    self.children[child as usize].column.seed(&own, &all);
                }
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
        let group = *self.groups.entry(fold(key)).or_insert(self.rivals.len() as u32);
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
        let column = Column::new(self.depth);
        let (place, batch_place) = (None, u32::MAX);
        self.children.push(Child { quoted, key: key.to_owned(), has_rivals, group, place, batch_place, column });
        self.after.push(NO_CHILD);
        child
    }

    /// Drops what the current attempt met, and the keys that it added.
    pub(super) fn forget(&mut self) {
        self.children.iter_mut().for_each(|child| child.column.forget());
        if self.closed || !self.children.iter().any(|child| child.column.is_new()) {
            return;
        }
        let mut kept = Self::new(self.depth);
        kept.together = std::mem::take(&mut self.together);
        for child in std::mem::take(&mut self.children) {
            if !child.column.is_new() {
                let index = kept.add(&child.key);
                let again = &mut kept.children[index as usize];
                (again.column, again.place) = (child.column, child.place);
            }
        }
        *self = kept;
    }

    /// Notes whether another key of the object in `row` folds to the same name as that of `child`.
    #[cold]
    pub(super) fn meet_rivals(&mut self, child: u32, row: usize) {
        let met = &self.children[child as usize];
        let rivals = &self.rivals[met.group as usize];
        if rivals.iter().any(|rival| *rival != child && self.children[*rival as usize].column.len > row) {
            let name = fold(&met.key);
            self.batch_together.insert(name);
        }
    }
}
