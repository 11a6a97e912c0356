//! Raw objects that changed after they were consumed, and whose old rows and rejects what they hold now takes the place of.
//!
//! ```text
//! ledger --key--> entries of the old versions: how many rows they gave, how many rejects
//! statistics, column of provenance --> the files that hold these rows, and how many: are they all?
//!   |-- no: the object is told of, and left as it is
//!   '-- yes: files without them, quarantine files without the rejects, segments without the entries --> the run's ONE commit
//! ```
//!
//! Rows that a deduplication took out before are found no more. They are missed only where every row of the table names its
//! object: so none of those that are missed is in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use futures::{StreamExt as _, TryStreamExt as _};

use super::commit::{Books, Made};
use super::driver::{Driver, Plan};
use super::pool::run_all;
use super::rejects::Remaining;
use super::slice::SliceContext;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::lake::{
    ActiveFile, Entry, Hidden, OriginRows, Origins, OriginsBuilder, Quarantine, Registry, StoredFile, StoredReject,
    Totals, entries_of_keys, stretches,
};
use crate::raw::RawObject;
use crate::write::{DataFile, GatheringWriter, merged_id, merged_name, name_without_origin};

/// How many files are read at a time.
const FILES_AHEAD: usize = 16;

/// What is there of objects that changed.
#[derive(Debug, Default)]
pub(super) struct Old {
    /// The entries of their old versions, by key.
    pub entries: BTreeMap<String, Vec<Entry>>,
    /// How many rows of each are in files; a deduplication took the others out.
    rows: BTreeMap<String, u64>,
    /// The files that hold rows of them.
    files: Vec<Holding>,
}

/// A file and how many of its rows are of which object that changed.
#[derive(Debug)]
struct Holding {
    file: ActiveFile,
    rows: BTreeMap<String, u64>,
}

/// A file that lost rows.
#[derive(Debug)]
pub(super) struct Lessened {
    pub old: ActiveFile,
    /// What takes its place; `None`: all of its rows went.
    pub new: Option<DataFile>,
    /// How many rows went.
    pub gone: u64,
}

impl Old {
    /// What would be told of them before they are read.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        let note = |(key, rows): (&String, &u64)| {
            format!("{key} changed after it was consumed; what it holds now is to take the place of its {rows} rows")
        };
        self.rows.iter().map(note)
    }

    /// Whether files hold rows of them.
    pub(super) fn has_rows(&self) -> bool {
        !self.files.is_empty()
    }

    /// How many rows of the object of that key are in files.
    pub(super) fn rows_of(&self, key: &str) -> u64 {
        self.rows.get(key).copied().unwrap_or_default()
    }
}

impl Driver<'_> {
    /// Finds what is there of objects that changed, which are among the new ones of the plan. Those whose rows cannot be told
    /// from others are left out of them, with a note.
    pub(super) async fn find_old(&self, plan: &mut Plan, changed: BTreeSet<String>) -> Result<()> {
        let (Some(head), Some(registry)) = (&plan.head, &plan.registry) else { return Ok(()) };
        let mut entries = entries_of_keys(&plan.hidden, head, &changed).await?;
        let files = plan.table.files()?;
        let column = registry.provenance.as_deref();
        let is_named_throughout = column.is_some_and(|column| files.iter().all(|file| has_no_null(file, column)));
        let mut holding = match column {
            Some(column) => find_rows(&plan.hidden, registry, column, files, &changed).await?,
            None => Vec::new(),
        };
        let mut rows: BTreeMap<String, u64> = changed.iter().map(|key| (key.clone(), 0)).collect();
        for (key, more) in holding.iter().flat_map(|holding| &holding.rows) {
            rows.entry(key.clone()).and_modify(|rows| *rows += more);
        }
        let mut missing_allowed = if is_named_throughout { head.totals.deduplicated } else { 0 };
        for key in changed {
            let expected: u64 = entries.get(&key).into_iter().flatten().map(|entry| entry.rows_out).sum();
            let found = rows.get(&key).copied().unwrap_or_default();
            if let Some(missing) = expected.checked_sub(found).filter(|missing| *missing <= missing_allowed) {
                missing_allowed -= missing;
                continue;
            }
            plan.notes.push(format!(
                "{key} changed after it was consumed; its old rows stay, as only {found} of {expected} are known to be its: \
                 the others were written before the column of provenance was there"
            ));
            plan.new.retain(|object| object.key != key);
            entries.remove(&key);
            rows.remove(&key);
            for holding in &mut holding {
                holding.rows.remove(&key);
            }
        }
        holding.retain(|holding| !holding.rows.is_empty());
        plan.old = Old { entries, rows, files: holding };
        Ok(())
    }

    /// Writes the files of the table again without the rows of those changed objects that were read. Blocks.
    pub(super) fn take_out(
        &self,
        plan: &Plan,
        context: &SliceContext,
        workers: usize,
        made: &mut Made,
    ) -> Result<Vec<ActiveFile>> {
        let mut files = plan.table.files()?;
        let Some(registry) = plan.registry.as_ref().filter(|_| !plan.old.entries.is_empty()) else { return Ok(files) };
        let read: BTreeSet<&str> = made
            .entries()
            .map(|entry| entry.object.key.as_str())
            .filter(|key| plan.old.entries.contains_key(*key))
            .collect();
        let holds = |holding: &&Holding| holding.rows.keys().any(|key| read.contains(key.as_str()));
        let holding: Vec<&Holding> = plan.old.files.iter().filter(holds).collect();
        let lessened = run_all(holding, workers, |holding| self.lessen(registry, context, holding, &read))?;
        made.taken_out = plan
            .old
            .entries
            .iter()
            .filter(|(key, _)| read.contains(key.as_str()))
            .flat_map(|(_, entries)| entries.iter().cloned())
            .collect();
        for Lessened { old, new, .. } in &lessened {
            let Some(at) = files.iter().position(|file| file.path == old.path) else { continue };
            match new {
                Some(new) => {
                    files[at] = ActiveFile {
                        path: new.path.clone(),
                        size_bytes: new.size_bytes,
                        row_count: new.row_count,
                        partition: new.partition.clone(),
                        stats: new.stats.clone(),
                    }
                }
                None => drop(files.swap_remove(at)),
            }
        }
        made.lessened = lessened;
        Ok(files)
    }

    /// Writes a file again without the rows of the objects `gone`.
    fn lessen(
        &self,
        registry: &Registry,
        context: &SliceContext,
        holding: &Holding,
        gone: &BTreeSet<&str>,
    ) -> Result<Lessened> {
        let (file, hidden, runtime) = (&holding.file, &context.hidden, &context.write.runtime);
        let expected: u64 =
            holding.rows.iter().filter(|(key, _)| gone.contains(key.as_str())).map(|(_, rows)| rows).sum();
        if expected == file.row_count {
            return Ok(Lessened { old: file.clone(), new: None, gone: expected });
        }
        let mut stored =
            runtime.block_on(StoredFile::open_whole(hidden, &file.path, file.size_bytes, &registry.fields))?;
        let mut origins = runtime.block_on(Origins::of(hidden, file))?.map(OriginRows::new);
        let has_origins = origins.is_some();
        let id = self.clock.new_id();
        let name = if has_origins { merged_name(&id) } else { name_without_origin(&id) };
        let path = match registry.partitioning.hive_path(&file.partition) {
            folder if folder.is_empty() => name,
            folder => format!("{folder}/{name}"),
        };
        let mut writer = GatheringWriter::new(&context.write, path, file.partition.clone(), &stored.fields);
        if !stored.sorted_by.is_empty() {
            writer.sorted_by(&stored.sorted_by);
        }
        let describe = || format!("cannot leave rows out of {}", file.path);
        let column = stored.fields.iter().position(|field| Some(&field.name) == registry.provenance.as_ref());
        let column = column.ok_or_else(|| Error::new(ErrorKind::Corrupt, describe()))?;
        let mut kept_origins = OriginsBuilder::default();
        while let Some(batch) = runtime.block_on(stored.next_batch())? {
            let stays: Vec<bool> = batch
                .column(column)
                .as_string::<i32>()
                .iter()
                .map(|key| key.is_none_or(|key| !gone.contains(key)))
                .collect();
            if let Some(rows) = &mut origins {
                rows.take_stretches(&stretches(&stays), &mut |unit, first, rows| kept_origins.push(unit, first, rows));
            }
            let left: RecordBatch = filter_record_batch(&batch, &BooleanArray::from(stays)).context(describe)?;
            if left.num_rows() > 0 {
                writer.write(left)?;
            }
        }
        let new = writer.close()?;
        let kept_origins = kept_origins.finish();
        let told = if has_origins { kept_origins.row_count() } else { new.row_count };
        if new.row_count + expected != file.row_count || told != new.row_count {
            runtime.block_on(hidden.discard(std::slice::from_ref(&new.path)));
            let message = format!(
                "the books do not balance: of {} rows of {} {expected} were to go, {} stayed, the origins tell of {told}",
                file.row_count, file.path, new.row_count
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        if has_origins {
            runtime.block_on(kept_origins.create(hidden, &id))?;
        }
        Ok(Lessened { old: file.clone(), new: Some(new), gone: expected })
    }

    /// The quarantine that a run adds to: some of its files as one, when they are many. Without harm they stay as they are.
    fn remaining(&self, plan: &Plan, context: &SliceContext, made: &Made) -> Remaining {
        let as_it_is = || Remaining { files: plan.quarantine().to_vec(), ..Remaining::default() };
        if made.quarantine_files().next().is_none() {
            return as_it_is();
        }
        tokio::task::block_in_place(|| self.merge_rejects(plan, context)).unwrap_or_else(|error| {
            tracing::warn!(%error, "quarantine files could not be made one");
            as_it_is()
        })
    }

    /// The books after objects were read, some of them in the place of older versions. What is written for them comes, too.
    pub(super) async fn books_of_new(
        &self,
        plan: &Plan,
        context: &SliceContext,
        workers: usize,
        made: &Made,
    ) -> Result<(Books, Vec<String>)> {
        let mut taken_out = Totals::default();
        made.taken_out.iter().for_each(|entry| taken_out.add(entry));
        taken_out.deduplicated = taken_out.rows_out - made.rows_gone();
        let Some(head) = plan.head.as_ref().filter(|_| taken_out.quarantined > 0) else {
            let remaining = self.remaining(plan, context, made);
            let written = remaining.written.clone();
            let mut books = Books::of_new(made, remaining);
            books.taken_out = (!made.taken_out.is_empty()).then_some(taken_out);
            return Ok((books, written));
        };
        let quarantine = Quarantine::open(&plan.hidden, head).await?;
        let mut rejects = quarantine.rejects(|_| true).await?;
        let gone: BTreeSet<&RawObject> = made.taken_out.iter().map(|entry| &entry.object).collect();
        rejects.retain(|object, _| gone.contains(object));
        let count: u64 = rejects.values().map(|rejects| rejects.len() as u64).sum();
        if count != taken_out.quarantined {
            let message = format!(
                "the books do not balance: {} rejects of raw objects that changed were to go, {count} are in quarantine",
                taken_out.quarantined
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let rejects: Vec<StoredReject> = rejects.into_values().flatten().collect();
        let remaining =
            tokio::task::block_in_place(|| self.leave_out(plan, context, workers, &quarantine, rejects.iter()))?;
        let written = remaining.written.clone();
        Ok((Books { taken_out: Some(taken_out), ..Books::of_new(made, remaining) }, written))
    }
}

/// Whether every row of a file has a value in a column, as its statistics say.
fn has_no_null(file: &ActiveFile, column: &str) -> bool {
    let stats: serde_json::Value = serde_json::from_str(&file.stats).unwrap_or_default();
    file.row_count == 0 || stats["nullCount"][column].as_u64() == Some(0)
}

/// Whether a file may hold rows of one of the objects, as its statistics say.
fn may_hold(file: &ActiveFile, column: &str, keys: &BTreeSet<String>) -> bool {
    let stats: serde_json::Value = serde_json::from_str(&file.stats).unwrap_or_default();
    match (stats["minValues"][column].as_str(), stats["maxValues"][column].as_str()) {
        (Some(min), Some(max)) => keys.range(min.to_owned()..).next().is_some_and(|key| key.as_str() <= max),
        _ => true,
    }
}

/// The files that hold rows of objects, and how many of each. Of files that may, only the column that tells is read.
async fn find_rows(
    hidden: &Hidden,
    registry: &Registry,
    column: &str,
    files: Vec<ActiveFile>,
    keys: &BTreeSet<String>,
) -> Result<Vec<Holding>> {
    let keys = &Arc::new(keys.clone());
    let candidates = files.into_iter().filter(|file| may_hold(file, column, keys));
    let count = |file: ActiveFile| async move {
        let is_wanted = |name: &str| name == column;
        let mut stored =
            StoredFile::open_columns(hidden, &file.path, file.size_bytes, &registry.fields, is_wanted).await?;
        let mut rows: BTreeMap<String, u64> = BTreeMap::new();
        if stored.fields.is_empty() {
            return Ok::<_, Error>(Holding { file, rows });
        }
        while let Some(batch) = stored.next_batch().await? {
            for (key, count) in runs(batch.column(0).as_string::<i32>()).filter(|(key, _)| keys.contains(*key)) {
                *rows.entry(key.to_owned()).or_default() += count;
            }
        }
        Ok(Holding { file, rows })
    };
    let found = futures::stream::iter(candidates.collect::<Vec<_>>()).map(count).buffered(FILES_AHEAD);
    found.try_filter(|holding| std::future::ready(!holding.rows.is_empty())).try_collect().await
}

/// Equal values that follow one another, and how many they are; without nulls.
fn runs(values: &StringArray) -> impl Iterator<Item = (&str, u64)> {
    let mut row = 0;
    std::iter::from_fn(move || {
        while row < values.len() && values.is_null(row) {
            row += 1;
        }
        let (first, value) = (row, (row < values.len()).then(|| values.value(row))?);
        while row < values.len() && values.is_valid(row) && values.value(row) == value {
            row += 1;
        }
        Some((value, (row - first) as u64))
    })
}

impl Made {
    /// How many rows go, as what their objects hold now takes their place.
    pub(super) fn rows_gone(&self) -> u64 {
        self.lessened.iter().map(|file| file.gone).sum()
    }

    /// Follows files that lost rows and were then written again for promoted columns, too.
    pub(super) fn join_lessened(&mut self) {
        for lessened in &mut self.lessened {
            let Some(new) = &mut lessened.new else { continue };
            let again = self.rewritten.files.iter().position(|(old, _)| old.path == new.path);
            if let Some(again) = again {
                let (between, after) = self.rewritten.files.swap_remove(again);
                *new = after;
                self.discarded.push(between.path);
            }
        }
    }

    /// What was written for objects that changed.
    pub(super) fn lessened_files(&self) -> impl Iterator<Item = String> {
        let files = self.lessened.iter().filter_map(|file| file.new.as_ref());
        files.flat_map(|file| std::iter::once(file.path.clone()).chain(merged_id(&file.path).map(Hidden::origins_path)))
    }
}
