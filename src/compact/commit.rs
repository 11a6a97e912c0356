//! The end of a run: the books are checked, the ledger and its head are written, and one commit takes all in.

use std::collections::{BTreeSet, HashSet};

use super::driver::{Driver, MAX_PLANS, Plan};
use super::rejects::Remaining;
use super::replace::Lessened;
use super::report::{SourceReport, Status};
use super::rewrite::Rewritten;
use super::slice::SliceResult;
use crate::error::{Error, ErrorKind, Result};
use crate::json::format_timestamp;
use crate::lake::{Change, Entry, Head, Hidden, Outcome, Registry, Totals, append, check_new_columns};
use crate::raw::RawObject;
use crate::write::DataFile;

/// What the workers made of a plan.
pub(super) struct Made {
    pub results: Vec<SliceResult>,
    pub registry: Registry,
    pub rewritten: Rewritten,
    /// Files that no commit will name.
    pub discarded: Vec<String>,
    /// Objects left for another run, and why.
    pub unreadable: Vec<(RawObject, String)>,
    /// The files that lose rows, as the objects that these are of changed.
    pub lessened: Vec<Lessened>,
    /// The entries of the old versions of these objects.
    pub taken_out: Vec<Entry>,
}

/// What the ledger will say.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// An entry for each object of the run, when they are not those that the slices gave.
    pub entries: Option<Vec<Entry>>,
    /// The entries that they take the place of.
    pub replaced: Vec<Entry>,
    /// All quarantine files.
    pub quarantine: Vec<String>,
    /// The quarantine files that there were and that are not among them.
    pub replaced_files: Vec<String>,
    /// Sums over the entries that go, as their objects changed; `deduplicated`: their rows that were taken out before.
    pub taken_out: Option<Totals>,
}

impl Books {
    /// The books after objects were read for the first time, beside what is there of the quarantine.
    pub(super) fn of_new(made: &Made, remaining: Remaining) -> Self {
        let mut quarantine = remaining.files;
        quarantine.extend(made.quarantine_files());
        Self { quarantine, replaced_files: remaining.replaced, ..Self::default() }
    }
}

impl Driver<'_> {
    /// Proves the books and makes the next version of the table.
    pub(super) async fn commit(&self, plan: &mut Plan, made: &Made, books: Books) -> Result<Outcome> {
        made.check_books()?;
        let entries: Vec<&Entry> = match &books.entries {
            Some(entries) => entries.iter().collect(),
            None => made.entries().collect(),
        };
        entries.iter().copied().try_for_each(check_entry)?;
        if let ([], [(object, why), ..]) = (&entries[..], &made.unreadable[..]) {
            let count = made.unreadable.len();
            let message = format!("none of {count} raw objects could be read; {}: {why}", object.key);
            return Err(Error::new(ErrorKind::Failed, message));
        }
        if let Err(error) = check_new_columns(&plan.table, plan.registry.as_ref(), &made.registry) {
            plan.hidden.discard(&made.all_files()).await;
            return Err(error);
        }
        self.prove_store().await?;
        let at_micros = self.clock.now_micros();
        let id = match self.write_ledger(plan, made, &books, entries, at_micros).await {
            Ok(id) => id,
            // Another run drew this id, and perhaps died: it is drawn anew.
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(Outcome::Conflict),
            Err(error) => {
                // No entry names these files, and none will.
                plan.hidden.discard(&made.all_files()).await;
                return Err(error);
            }
        };
        // Their keys count too: they stand in the table's metadata.
        let before = plan.registry.as_ref().map(|registry| &registry.fields);
        let mut add: Vec<DataFile> = made.results.iter().flat_map(|result| result.files.iter().cloned()).collect();
        let mut remove = Vec::new();
        for (old, new) in &made.rewritten.files {
            remove.push(old.clone());
            add.push(new.clone());
        }
        for Lessened { old, new, .. } in &made.lessened {
            remove.push(old.clone());
            add.extend(new.clone());
        }
        let change = Change {
            run_id: self.run_id.clone(),
            at_ms: at_micros / 1000,
            fields: (before != Some(&made.registry.fields)).then(|| made.registry.fields.clone()),
            partitioning: made.registry.partitioning.clone(),
            add,
            remove,
            optimizes_to: None,
            ledger_head: id,
        };
        let written = change.add.iter().map(|file| file.path.clone()).chain(made.lessened_files());
        let written = written.chain(books.quarantine.iter().cloned());
        plan.hidden.check_still_there(written, at_micros - self.began_micros).await?;
        for _ in 0..MAX_PLANS {
            let outcome = match plan.table.commit(change.clone()).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    if is_surely_without(plan, &change).await {
                        plan.hidden.discard(&made.all_files()).await;
                    }
                    return Err(error);
                }
            };
            if outcome != Outcome::Conflict || !is_still_valid(plan, &change).await? {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Conflict)
    }

    /// Writes the registry, the ledger's segment and its head, which count once a commit names the head; its id.
    async fn write_ledger(
        &self,
        plan: &Plan,
        made: &Made,
        books: &Books,
        entries: Vec<&Entry>,
        at_micros: i64,
    ) -> Result<i64> {
        let parent = plan.head.as_ref();
        let id = Head::next_id(parent.map(|head| head.id), self.clock.random_bits());
        let mut totals = parent.map_or_else(Totals::default, |head| head.totals);
        books.replaced.iter().chain(&made.taken_out).for_each(|entry| totals.subtract(entry));
        totals.deduplicated -= books.taken_out.map_or(0, |gone| gone.deduplicated);
        entries.iter().for_each(|entry| totals.add(entry));
        let registry_path = Hidden::registry_path(id);
        let gone = made.taken_out.iter().map(|entry| &entry.object).collect();
        let ((), segments) = futures::try_join!(
            plan.hidden.create_json(&registry_path, &made.registry),
            append(&plan.hidden, parent, id, entries, &gone),
        )?;
        let head = Head {
            id,
            parent: parent.map(|head| head.id),
            run_id: self.run_id.clone(),
            written_at: format_timestamp(at_micros, false),
            segments,
            registry: registry_path,
            quarantine: books.quarantine.clone(),
            replaced: books.replaced_files.clone(),
            taken_out: books.taken_out,
            totals,
        };
        plan.hidden.create_json(&Hidden::head_path(id), &head).await?;
        Ok(id)
    }
}

/// Loads the version of whoever was first. Whether a change that was made for the version before is still right: its head is
/// still the one that the change follows, as after an optimize, its columns are as they were, and no file it takes away is
/// gone.
async fn is_still_valid(plan: &mut Plan, change: &Change) -> Result<bool> {
    plan.table.refresh().await?;
    let is_same = plan.head.as_ref().map(|head| head.id) == plan.table.ledger_head().await?;
    if !is_same || change.fields.is_some() {
        return Ok(false);
    }
    let files = plan.table.files()?;
    let active: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    Ok(change.remove.iter().all(|file| active.contains(file.path.as_str())))
}

/// Whether a commit that failed did not happen, and will not: a request to another machine may still be under way.
async fn is_surely_without(plan: &mut Plan, change: &Change) -> bool {
    if plan.table.location().local().is_none() || plan.table.refresh().await.is_err() {
        return false;
    }
    let is_named = |path: &str| change.add.iter().any(|file| file.path == path);
    plan.table.version().is_none()
        || plan.table.files().is_ok_and(|files| !files.iter().any(|file| is_named(&file.path)))
}

fn unbalanced(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the books do not balance: {what}"))
}

fn check_entry(entry: &Entry) -> Result<()> {
    if entry.records_in == entry.rows_out + entry.quarantined {
        return Ok(());
    }
    Err(unbalanced(&format!(
        "{}: {} records found, {} rows, {} quarantined",
        entry.object.key, entry.records_in, entry.rows_out, entry.quarantined
    )))
}

impl Made {
    /// What became of each object.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.results.iter().flat_map(|result| &result.entries)
    }

    /// The quarantine files written.
    pub(super) fn quarantine_files(&self) -> impl Iterator<Item = String> {
        self.results.iter().filter_map(|result| result.quarantine.clone())
    }

    /// Every data and quarantine file written for this plan. (The few objects of a ledger that lost its race stay for vacuum.)
    pub(super) fn all_files(&self) -> Vec<String> {
        let files = self
            .results
            .iter()
            .flat_map(|result| result.files.iter().map(|file| file.path.clone()).chain(result.quarantine.clone()));
        let rewritten = self.rewritten.files.iter().map(|(_, new)| new.path.clone());
        files.chain(rewritten).chain(self.lessened_files()).chain(self.discarded.iter().cloned()).collect()
    }

    /// Proves that every record found is a row or in quarantine, and that every row is in a file.
    pub(super) fn check_books(&self) -> Result<()> {
        for result in &self.results {
            result.entries.iter().try_for_each(check_entry)?;
            let rows: u64 = result.entries.iter().map(|entry| entry.rows_out).sum();
            let written: u64 = result.files.iter().map(|file| file.row_count).sum();
            if rows != written {
                return Err(unbalanced(&format!("{rows} rows were decoded and {written} are in files")));
            }
        }
        for (old, new) in &self.rewritten.files {
            if old.row_count != new.row_count {
                return Err(unbalanced(&format!(
                    "{} has {} rows, written again {}",
                    old.path, old.row_count, new.row_count
                )));
            }
        }
        for Lessened { old, new, gone } in &self.lessened {
            let stayed = new.as_ref().map_or(0, |new| new.row_count);
            if old.row_count != stayed + gone {
                let why = format!("of {} rows of {}, {gone} were to go and {stayed} stay", old.row_count, old.path);
                return Err(unbalanced(&why));
            }
        }
        Ok(())
    }

    /// Tells of it in the report.
    pub(super) fn fill(&self, plan: &Plan, report: &mut SourceReport) {
        let entries = || self.entries();
        let files = || self.results.iter().flat_map(|result| &result.files);
        report.objects = entries().count() as u64;
        report.success_count = entries().map(|entry| entry.rows_out).sum();
        report.error_count = entries().map(|entry| entry.quarantined).sum();
        report.bytes_in = self.results.iter().map(|result| result.bytes_in).sum();
        report.bytes_out = files().map(|file| file.size_bytes).sum();
        report.files = files().count() as u64;
        report.rows_replaced = self.rows_gone();
        let changes = self.registry.changes_since(plan.registry.as_ref());
        report.schema_changes = changes.iter().map(ToString::to_string).collect();
        for (object, why) in &self.unreadable {
            report.notes.push(format!("{} could not be read and is left for another run: {why}", object.key));
            report.status = Status::PartialSuccess;
        }
        let replaced: BTreeSet<&String> = self.taken_out.iter().map(|entry| &entry.object.key).collect();
        for key in replaced {
            let rows = plan.old.rows_of(key);
            report.notes.push(format!(
                "{key} changed after it was consumed; what it holds now took the place of its {rows} rows"
            ));
        }
        let duplicates: u64 = self.results.iter().map(|result| result.duplicate_keys).sum();
        if duplicates > 0 {
            report.notes.push(format!("{duplicates} keys occurred twice in an object; the last value was kept"));
        }
        report.notes.extend(self.rewritten.notes());
        if report.error_count > 0 {
            report.status = Status::PartialSuccess;
        }
    }
}
