//! The registry: all that a table was observed to hold, how it is made, and which columns follow.

use serde::{Deserialize, Serialize};

use super::history::{ColumnChange, RunStamp, SchemaVersion, changes, sql_type};
use crate::json::DecodeOptions;
use crate::partition::Partitioning;
use crate::schema::{Contract, Field, Kind, Observation, Rule, distinct, limit_columns, pin, resolve_ruled};

/// The schema side of one table version, as plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Every change of the columns, from the first ones on.
    pub history: Vec<SchemaVersion>,
    /// How the table is partitioned; chosen once.
    pub partitioning: Partitioning,
    /// How that was chosen.
    pub partitioning_reason: String,
    /// Where the records of an envelope lie; empty when every object is a record. Chosen once.
    pub records_path: Vec<String>,
    /// The column that names the raw object of each row, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
    /// The types that columns were given by the configuration: they stay.
    #[serde(default)]
    pub rule: Rule,
    /// All records of all runs.
    pub observed: Observation,
    /// The columns.
    pub fields: Vec<Field>,
}

impl Registry {
    /// Where the records of an envelope lie, once any record was seen: before that, nothing was found out.
    pub fn pinned_records_path(&self) -> Option<&[String]> {
        let records = self.observed.tally.count(Kind::Object) + self.observed.tally.count(Kind::EmptyObject);
        (records > 0 || !self.records_path.is_empty()).then_some(&*self.records_path)
    }

    /// How many times the columns changed.
    pub fn schema_version(&self) -> u64 {
        self.history.last().map_or(0, |last| last.version)
    }

    /// Names that no column of the records may have.
    pub fn reserved(&self) -> Vec<String> {
        self.partitioning.names().into_iter().chain(self.provenance.clone()).collect()
    }

    /// Whether records have given the table a column.
    pub fn has_columns(&self) -> bool {
        self.fields.iter().any(|field| !field.is_provenance())
    }

    /// The registry after another run observed `observed`: the names of the columns there are stay.
    #[must_use]
    pub fn advance(&self, observed: &Observation, decode: &DecodeOptions, run: &RunStamp) -> Self {
        let mut next = self.clone();
        let reserved = self.reserved();
        next.observed.merge(observed);
        limit_columns(&mut next.observed, &reserved, &decode.rule, decode.max_columns);
        next.fields = resolve_ruled(&next.observed, &reserved, &decode.rule);
        next.fields.extend(self.provenance.as_deref().map(Field::provenance));
        next.rule = decode.rule.types();
        let changes = changes((&self.observed, &self.fields), (&next.observed, &next.fields));
        if !changes.is_empty() {
            let version = self.schema_version() + 1;
            next.history.push(SchemaVersion { version, run: run.clone(), changes });
        }
        pin(&mut next.observed, &next.fields);
        next
    }

    /// What a decoder must know to decode the run that advanced this registry to `next` again, into columns now settled:
    /// under a contract, only columns that were there before the run are bound by it, as when it was first decoded.
    pub fn known_again(&self, next: &Self, contract: Contract) -> Observation {
        let mut known = next.observed.clone();
        if contract != Contract::Evolve {
            unpin(&mut known, Some(&self.observed));
        }
        known
    }

    /// Checks that the columns there are can follow `rule`.
    ///
    /// # Errors
    /// A message that names the column and what it cannot become.
    pub fn check_rule(&self, rule: &Rule) -> Result<(), String> {
        let wanted = resolve_ruled(&self.observed, &self.reserved(), rule);
        for (old, new) in
            self.fields.iter().filter_map(|old| Some((old, wanted.iter().find(|new| new.name == old.name)?)))
        {
            if !old.ty.widens_to(&new.ty) {
                let (name, before, after) = (&old.name, sql_type(&old.ty), sql_type(&new.ty));
                return Err(format!("column {name} of the table is {before} and cannot become {after}"));
            }
        }
        check_names(&self.observed, rule)
    }

    /// What the advance from `before` changed.
    pub fn changes_since(&self, before: Option<&Self>) -> &[ColumnChange] {
        let known = before.map_or(0, Self::schema_version);
        self.history.last().filter(|last| last.version > known).map_or(&[], |last| &last.changes)
    }
}

/// Leaves only the names of columns that were given `before`.
fn unpin(observed: &mut Observation, before: Option<&Observation>) {
    observed.column = before.and_then(|before| before.column.clone());
    for (key, seen) in &mut observed.fields {
        unpin(seen, before.and_then(|before| before.fields.get(key)));
    }
    if let Some(below) = observed.element.as_deref_mut() {
        unpin(below, before.and_then(|before| before.element.as_deref()));
    }
    if let Some(below) = observed.dictionary.as_deref_mut() {
        unpin(below, before.and_then(|before| before.dictionary.as_deref()));
    }
}

/// Suffixes that are tried for keys that cannot share a column.
const SPELLINGS: u32 = 8;

fn check_names(observed: &Observation, rule: &Rule) -> Result<(), String> {
    for (key, seen) in &observed.fields {
        let Some(rule) = rule.field(key) else { continue };
        if let (Some(column), Some(wanted)) = (&seen.column, &rule.rename)
            && column != wanted
            // Another spelling of the key has it.
            && !(0..SPELLINGS).any(|attempt| *column == distinct(wanted, key, attempt))
        {
            return Err(format!(
                "the table has key {key} as column {column} already, which cannot be renamed to {wanted}"
            ));
        }
        check_names(seen, rule)?;
    }
    match (&observed.element, &rule.element) {
        (Some(seen), Some(rule)) => check_names(seen, rule),
        _ => Ok(()),
    }
}
