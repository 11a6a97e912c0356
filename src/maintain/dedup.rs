//! Deduplication: of several rows with the same key, the one with the largest value in a column stays, wherever they lie.
//!
//! ```text
//! keys and that column of all files --in as many passes as memory needs--> rows that go --> their files without them
//! --> a head that counts them --> ONE commit
//! ```
//!
//! A row with null in a column of its key is no duplicate. Of rows that are equal in everything, the last one stays, in the
//! order of the paths of files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, SortField};

use super::merge::Merged;
use super::optimize::{Opened, Optimizer, count};
use super::pack::{Group, has_origins};
use crate::compact::SourceOptimized;
use crate::config::{Dedup, Settings};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::json::{arrow_schema, format_timestamp, reshape};
use crate::lake::{ActiveFile, Change, Head, Hidden, Outcome, StoredFile};
use crate::schema::{Field, Type};

/// A commit that loses its race is planned again at most so many times.
const MAX_PLANS: usize = 8;
/// What a row is reckoned to hold in memory while duplicates are looked for, in bytes.
const ROW_BYTES: u64 = 200;

/// The row of a key that stays so far.
struct Best {
    /// Its value in the column that decides.
    order: Box<[u8]>,
    file: usize,
    row: u64,
}

impl Optimizer<'_> {
    /// Takes rows out of a table of which others have the same key.
    pub(super) async fn dedup(
        &self,
        source_id: &str,
        settings: &Settings,
        dedup: &Dedup,
        report: &mut SourceOptimized,
    ) -> Result<()> {
        for _ in 0..MAX_PLANS {
            let mut opened = Opened::new(self.lake, source_id).await?;
            let columns = columns(&opened.registry.fields, dedup)
                .map_err(|why| Error::usage(format!("dedup of source {source_id}: {why}")))?;
            let mut files = opened.table.files()?;
            files.sort_by(|a, b| a.path.cmp(&b.path));
            let dropped =
                find(&opened.hidden, &files, &opened.registry.fields, &columns, settings.memory_bytes).await?;
            if dropped.is_empty() {
                return Ok(());
            }
            (report.files_before, report.version) = (files.len() as u64, opened.table.version());
            let groups = groups(files, dropped);
            report.partitions =
                groups.iter().map(|group| &group.files[0].partition).collect::<BTreeSet<_>>().len() as u64;
            let write = self.write_context(&opened, settings)?;
            let workers = self.workers(settings);
            let merged = tokio::task::block_in_place(|| self.merge(&opened, &write, settings, workers, groups))?;
            if self.commit_without(&mut opened, &merged, report).await? {
                return Ok(());
            }
            for group in &merged {
                opened.hidden.discard(&group.written()).await;
            }
        }
        Err(Error::new(ErrorKind::Conflict, format!("{source_id}: other writers were first {MAX_PLANS} times")))
    }

    /// Commits files without rows that are counted by a new head; `false` when another writer was first.
    async fn commit_without(
        &self,
        opened: &mut Opened,
        merged: &[Merged],
        report: &mut SourceOptimized,
    ) -> Result<bool> {
        let (run_id, at_micros) = (self.clock.new_id(), self.clock.now_micros());
        let before = &opened.head;
        let id = Head::next_id(Some(before.id), self.clock.random_bits());
        let mut totals = before.totals;
        totals.deduplicated += merged.iter().map(|group| group.dropped).sum::<u64>();
        let head = Head {
            id,
            parent: Some(before.id),
            run_id: run_id.clone(),
            written_at: format_timestamp(at_micros, false),
            replaced: Vec::new(),
            taken_out: None,
            totals,
            ..before.clone()
        };
        match opened.hidden.create_json(&Hidden::head_path(id), &head).await {
            // Another run drew this id, and perhaps died: it is drawn anew.
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(false),
            written => written?,
        }
        let change = Change {
            run_id,
            at_ms: at_micros / 1000,
            fields: None,
            partitioning: opened.registry.partitioning.clone(),
            add: merged.iter().flat_map(|group| group.new.iter().cloned()).collect(),
            remove: merged.iter().flat_map(|group| group.old.iter().cloned()).collect(),
            optimizes_to: None,
            ledger_head: id,
        };
        self.check_still_there(opened, merged).await?;
        match opened.table.commit(change).await? {
            Outcome::Committed(version) => {
                count(report, merged);
                report.version = Some(version);
                Ok(true)
            }
            Outcome::Conflict => Ok(false),
        }
    }
}

/// The columns of the key, then the one that decides.
fn columns(fields: &[Field], dedup: &Dedup) -> Result<Vec<Field>, String> {
    let column = |name: &String| {
        let field = fields.iter().find(|field| field.name == *name);
        match field.map(|field| &field.ty) {
            None => Err(format!("there is no column {name}")),
            Some(Type::Struct(_) | Type::List(_) | Type::Map(_)) => Err(format!("column {name} is nested")),
            Some(_) => Ok(field.cloned()),
        }
    };
    let found = dedup.keys.iter().chain([&dedup.last_by]).map(column).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// The rows that go, by file. Holds about `memory_bytes` at most: keys are looked at in as many passes as that needs.
async fn find(
    hidden: &Hidden,
    files: &[ActiveFile],
    table: &[Field],
    columns: &[Field],
    memory_bytes: usize,
) -> Result<HashMap<usize, Vec<u64>>> {
    let rows: u64 = files.iter().map(|file| file.row_count).sum();
    let passes = (rows * ROW_BYTES).div_ceil(memory_bytes.max(1) as u64 / 2 + 1).max(1);
    let mut dropped: HashMap<usize, Vec<u64>> = HashMap::new();
    for pass in 0..passes {
        let mut best: HashMap<Box<[u8]>, Best> = HashMap::new();
        for (number, file) in files.iter().enumerate() {
            let is_wanted = |name: &str| columns.iter().any(|column| column.name == name);
            let mut stored = StoredFile::open_columns(hidden, &file.path, file.size_bytes, table, is_wanted).await?;
            let mut first = 0;
            while let Some(batch) = stored.next_batch().await? {
                let keyed = keyed(&batch, &stored.fields, columns);
                for (row, key, order) in keyed.context(|| format!("cannot compare the keys of {}", file.path))? {
                    let mut hasher = DefaultHasher::new();
                    key.hash(&mut hasher);
                    if hasher.finish() % passes != pass {
                        continue;
                    }
                    let next = Best { order, file: number, row: first + row };
                    match best.get_mut(&key) {
                        None => drop(best.insert(key, next)),
                        Some(kept) => {
                            let gone = if next.order >= kept.order { std::mem::replace(kept, next) } else { next };
                            dropped.entry(gone.file).or_default().push(gone.row);
                        }
                    }
                }
                first += batch.num_rows() as u64;
            }
        }
    }
    dropped.values_mut().for_each(|rows| rows.sort_unstable());
    Ok(dropped)
}

/// A row of a batch, the bytes of its key, and of the column that decides.
type Keyed = (u64, Box<[u8]>, Box<[u8]>);

/// The rows of a batch whose keys have no null.
fn keyed(batch: &RecordBatch, held: &[Field], columns: &[Field]) -> Result<Vec<Keyed>> {
    let describe = || "cannot express keys".to_owned();
    let shaped = reshape(batch, held, columns, &arrow_schema(columns)).context(describe)?;
    let (order, keys) = shaped.columns().split_last().ok_or_else(|| Error::new(ErrorKind::Failed, describe()))?;
    // Null is before every value.
    let options = SortOptions { descending: false, nulls_first: true };
    let rows = |arrays: &[ArrayRef]| {
        let fields = arrays.iter().map(|array| SortField::new_with_options(array.data_type().clone(), options));
        RowConverter::new(fields.collect())?.convert_columns(arrays)
    };
    let (key_rows, order_rows) = (rows(keys).context(describe)?, rows(std::slice::from_ref(order)).context(describe)?);
    let has_key = |row: &usize| keys.iter().all(|key| !key.is_null(*row));
    let bytes = |row: usize| (row as u64, key_rows.row(row).as_ref().into(), order_rows.row(row).as_ref().into());
    Ok((0..shaped.num_rows()).filter(has_key).map(bytes).collect())
}

/// The files that rows go from, by partition. A file of which no row stays comes with another one, whose record then tells
/// of its rows.
fn groups(files: Vec<ActiveFile>, mut dropped: HashMap<usize, Vec<u64>>) -> Vec<Group> {
    type Numbered = Vec<(usize, ActiveFile)>;
    let mut parts: BTreeMap<_, (Numbered, Numbered)> = BTreeMap::new();
    for (number, file) in files.into_iter().enumerate() {
        let (with, without) = parts.entry((file.partition.clone(), has_origins(&file))).or_default();
        if dropped.contains_key(&number) { with } else { without }.push((number, file));
    }
    let mut groups = Vec::new();
    for ((_, has_origins), (mut with, mut without)) in parts {
        let rows: u64 = with.iter().map(|(_, file)| file.row_count).sum();
        let gone: u64 = with.iter().map(|(number, _)| dropped[number].len() as u64).sum();
        if with.is_empty() {
            continue;
        }
        if rows == gone {
            without.sort_by_key(|(_, file)| file.size_bytes);
            with.extend(without.into_iter().next());
        }
        let of_file = |(number, file): &(usize, ActiveFile)| Some((file.path.clone(), dropped.remove(number)?));
        let dropped = with.iter().filter_map(of_file).collect();
        groups.push(Group { files: with.into_iter().map(|(_, file)| file).collect(), has_origins, dropped });
    }
    groups
}
