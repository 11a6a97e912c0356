//! What a promotion invalidates: files of earlier runs that hold a column under a narrower type are written again.
//!
//! ```text
//! footers --> files that hold a promoted column
//!               |-- what is stored determines the new value (1 -> "1") --> from Parquet
//!               '-- it does not (1.1 or 1.10?) --> the raw objects, decoded again (see `reread`)
//!                                                    '-- gone or changed --> from Parquet, in canonical text
//! ```

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::pool::run_all;
use super::reread::Lost;
use super::slice::{SliceContext, SliceOptions};
use crate::clock::Clock;
use crate::error::{Context as _, Result};
use crate::json::{arrow_schema, reshape};
use crate::lake::{ActiveFile, Entry, Registry, Segment, StoredFile, Table};
use crate::schema::{Field, Type, fields_widen_losslessly};
use crate::write::{DataFile, is_part_of, same_rows_name, write_file};

/// How many footers are fetched at a time.
const FOOTERS_AHEAD: usize = 16;

/// The columns of a table change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promotion<'a> {
    /// The registry so far.
    pub before: &'a Registry,
    /// The registry from now on.
    pub after: &'a Registry,
    /// Reads and writes.
    pub context: &'a SliceContext,
    /// How the slices of this run are done.
    pub options: &'a SliceOptions,
    /// Threads.
    pub workers: usize,
    /// Gives names to files.
    pub clock: &'a dyn Clock,
}

/// What was written again.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// The old files, each with the one that takes its place.
    pub files: Vec<(ActiveFile, DataFile)>,
    /// How many of them came from raw objects.
    from_raw: usize,
    /// Why others did not although they should have, whether they came from what is stored, and how many they are.
    lost: Vec<(Lost, bool, usize)>,
}

/// A file that holds a column of another type, or of other keys, than the table will have.
#[derive(Debug, Clone)]
pub(super) struct Affected {
    pub file: ActiveFile,
    /// The columns of the table that it holds, as the table had them.
    pub held: Vec<Field>,
    /// It holds columns of another engine, which no raw object has.
    pub has_foreign: bool,
}

impl Promotion<'_> {
    /// Writes those of `files`, all that the table has, again that need it. `ledger` are the segments that say where their rows
    /// came from; the rows of entries in `taken_out` are in none of the files any more. Blocks.
    ///
    /// # Errors
    /// When a data file or the ledger cannot be read, or a file cannot be written.
    pub(super) fn run(&self, files: &[ActiveFile], ledger: &[Segment], taken_out: &[Entry]) -> Result<Rewritten> {
        let mut rewritten = Rewritten::default();
        if is_part_of(&self.before.fields, &self.after.fields) {
            return Ok(rewritten);
        }
        let affected = self.affected(files)?;
        let after = &self.after.fields;
        let (from_stored, others): (Vec<_>, Vec<_>) =
            affected.into_iter().partition(|file| fields_widen_losslessly(&file.held, after));
        let mut from_stored: Vec<Arc<Affected>> = from_stored.into_iter().map(Arc::new).collect();
        let (foreign, from_raw): (Vec<_>, Vec<_>) = others.into_iter().partition(|file| file.has_foreign);
        for file in foreign {
            let widens = file.widens(after);
            rewritten.lose(Lost::Foreign, widens);
            from_stored.extend(widens.then(|| Arc::new(file)));
        }
        let gone = taken_out.iter().map(|entry| &entry.object).collect();
        for (file, outcome) in self.reread(files, from_raw, ledger, &gone)? {
            match outcome {
                Ok(again) => {
                    rewritten.files.push((file.file.clone(), again));
                    rewritten.from_raw += 1;
                }
                Err(why) => {
                    let widens = file.widens(after);
                    rewritten.lose(why, widens);
                    from_stored.extend(widens.then_some(file));
                }
            }
        }
        rewritten.files.extend(run_all(from_stored, self.workers, |file| self.widen(&file))?);
        tracing::info!(
            files = rewritten.files.len(),
            from_raw = rewritten.from_raw,
            "files with promoted columns were written again"
        );
        Ok(rewritten)
    }

    /// The files of `table` that would be written again. Only footers are read. Blocks.
    ///
    /// # Errors
    /// When a footer cannot be read.
    pub(super) fn affected_files(&self, table: &Table) -> Result<Vec<ActiveFile>> {
        if is_part_of(&self.before.fields, &self.after.fields) {
            return Ok(Vec::new());
        }
        Ok(self.affected(&table.files()?)?.into_iter().map(|affected| affected.file).collect())
    }

    /// Those of `files` that do not fit the columns from now on. Only footers are read.
    fn affected(&self, files: &[ActiveFile]) -> Result<Vec<Affected>> {
        let open = |file: ActiveFile| async move {
            let stored =
                StoredFile::open(&self.context.hidden, &file.path, file.size_bytes, &self.before.fields).await?;
            let fits = is_part_of(&stored.fields, &self.after.fields);
            let has_foreign = stored.has_foreign;
            if has_foreign && !fits {
                // What cannot be written again is told of before anything is.
                StoredFile::open_whole(&self.context.hidden, &file.path, file.size_bytes, &self.before.fields).await?;
            }
            Ok((!fits).then_some(Affected { file, held: stored.fields, has_foreign }))
        };
        let affected = futures::stream::iter(files.to_vec()).map(open).buffered(FOOTERS_AHEAD);
        self.context.write.runtime.block_on(affected.try_filter_map(|file| async { Ok(file) }).try_collect())
    }

    /// Writes a file again from what is stored in it.
    fn widen(&self, affected: &Affected) -> Result<(ActiveFile, DataFile)> {
        let file = &affected.file;
        let runtime = &self.context.write.runtime;
        let mut stored = runtime.block_on(StoredFile::open_whole(
            &self.context.hidden,
            &file.path,
            file.size_bytes,
            &self.before.fields,
        ))?;
        let held = stored.fields.clone();
        let mut wanted = matching(&held, &self.after.fields, false);
        // What other engines have added stays, but where records bring it now.
        let is_foreign = |field: &&Field| {
            [&self.before.fields, &self.after.fields].iter().all(|own| own.iter().all(|own| own.name != field.name))
        };
        wanted.extend(held.iter().filter(is_foreign).cloned());
        let schema = arrow_schema(&wanted);
        let widen = |batch| {
            reshape(&batch, &held, &wanted, &schema).context(|| format!("cannot widen the columns of {}", file.path))
        };
        let batches = std::iter::from_fn(|| runtime.block_on(stored.next_batch()).transpose());
        let wide = batches.map(|batch| batch.and_then(widen));
        let again = write_file(&self.context.write, self.new_path(file), file.partition.clone(), &wanted, wide)?;
        Ok((file.clone(), again))
    }

    /// Where the file lies that takes the place of `file`: beside it, under a name that tells the same origin.
    pub(super) fn new_path(&self, file: &ActiveFile) -> String {
        let name = same_rows_name(&file.path, &self.clock.new_id());
        match self.after.partitioning.hive_path(&file.partition) {
            folder if folder.is_empty() => name,
            folder => format!("{folder}/{name}"),
        }
    }
}

impl Affected {
    /// Whether the columns from now on are others than those that it holds, but for their keys.
    fn widens(&self, after: &[Field]) -> bool {
        !is_part_of(&without_keys(&self.held), &without_keys(after))
    }
}

impl Rewritten {
    /// What is to be told of it.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.files.is_empty() {
            let bytes: u64 = self.files.iter().map(|(_, again)| again.size_bytes).sum();
            let files = self.files.len();
            let from_raw = match self.from_raw {
                0 => String::new(),
                count => format!(", {count} of them from their raw objects"),
            };
            notes.push(format!("{files} files ({bytes} bytes) were written again for promoted columns{from_raw}"));
        }
        notes.extend(self.lost.iter().map(|(why, widened, count)| match widened {
            true => format!("{count} files were widened from stored values, which gives canonical text: {why}"),
            false => format!("{count} files keep values in a column that their keys no longer share: {why}"),
        }));
        notes
    }

    /// Counts a file that was not decoded again. Of each reason, the first stands for all.
    fn lose(&mut self, why: Lost, widened: bool) {
        let is_like = |other: &Lost| std::mem::discriminant(other) == std::mem::discriminant(&why);
        match self.lost.iter_mut().find(|(other, done, _)| is_like(other) && *done == widened) {
            Some((_, _, count)) => *count += 1,
            None => self.lost.push((why, widened, 1)),
        }
    }
}

/// What the columns `held` become in a table of columns `after`, in the order of the table. With `parted`, columns that took
/// over some of their keys come too.
pub(super) fn matching(held: &[Field], after: &[Field], parted: bool) -> Vec<Field> {
    after
        .iter()
        .filter_map(|theirs| {
            if let Some(mine) = held.iter().find(|mine| mine.name == theirs.name) {
                return Some(Field { ty: matching_type(&mine.ty, &theirs.ty, parted), ..theirs.clone() });
            }
            (parted && held.iter().any(|mine| shares_key(mine, theirs))).then(|| theirs.clone())
        })
        .collect()
}

fn matching_type(held: &Type, after: &Type, parted: bool) -> Type {
    match (held, after) {
        (Type::Struct(held), Type::Struct(after)) => Type::Struct(matching(held, after, parted)),
        (Type::List(held), Type::List(after)) => Type::List(Box::new(matching_type(held, after, parted))),
        (_, after) => after.clone(),
    }
}

/// Whether the values of some key are in both columns.
pub(super) fn shares_key(one: &Field, other: &Field) -> bool {
    one.keys.iter().any(|key| other.keys.contains(key))
}

fn without_keys(fields: &[Field]) -> Vec<Field> {
    fields.iter().map(|field| Field { keys: Vec::new(), ty: without_keys_below(&field.ty), ..field.clone() }).collect()
}

fn without_keys_below(ty: &Type) -> Type {
    match ty {
        Type::Struct(fields) => Type::Struct(without_keys(fields)),
        Type::List(element) => Type::List(Box::new(without_keys_below(element))),
        Type::Map(value) => Type::Map(Box::new(without_keys_below(value))),
        other => other.clone(),
    }
}
