//! Several data files of one partition become one, or a few: the same rows in the same order, or sorted, their origins
//! recorded.
//!
//! Rows are sorted in memory, as many at a time as fit; each such part becomes a file.

use std::collections::{HashMap, VecDeque};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{SortOptions, filter_record_batch, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use futures::{StreamExt as _, TryStreamExt as _};

use super::pack::Group;
use crate::clock::Clock;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::json::{arrow_schema, reshape};
use crate::lake::{ActiveFile, Hidden, OriginRows, Origins, OriginsBuilder, Registry, StoredFile, Unit, stretches};
use crate::schema::{Field, Type};
use crate::write::{DataFile, GatheringWriter, WriteContext, merged_id, merged_name, name_without_origin};

/// So many files are read at a time ...
const FILES_AHEAD: usize = 8;
/// ... their rows, too, when they have at most so many bytes.
const SMALL_BYTES: u64 = 1 << 20;

/// Rows that are written at a time when they are sorted.
const BATCH_ROWS: usize = 8192;

/// Reads, writes, and knows the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merger<'a> {
    pub write: &'a WriteContext,
    pub hidden: &'a Hidden,
    pub registry: &'a Registry,
    /// A file is ended at about this many bytes.
    pub target_bytes: usize,
    /// The columns that rows are sorted by; none: they stay in their order.
    pub sort_by: &'a [String],
    /// What rows may hold in memory while they are sorted.
    pub sort_bytes: usize,
    pub clock: &'a dyn Clock,
}

/// What became of a group.
#[derive(Debug)]
pub(super) struct Merged {
    /// The files whose place is taken.
    pub old: Vec<ActiveFile>,
    /// The files that take it.
    pub new: Vec<DataFile>,
    /// Rows that are not in them.
    pub dropped: u64,
}

impl Merged {
    /// What is to be deleted when no version will name the new files.
    pub(super) fn written(&self) -> Vec<String> {
        let records = self.new.iter().filter_map(|file| merged_id(&file.path).map(Hidden::origins_path));
        self.new.iter().map(|file| file.path.clone()).chain(records).collect()
    }
}

/// A file being read.
struct Source {
    file: ActiveFile,
    stored: StoredFile,
    origins: Option<Origins>,
    ahead: VecDeque<RecordBatch>,
}

/// A file being written.
struct Open {
    id: String,
    writer: GatheringWriter,
    origins: OriginsBuilder,
}

impl Merger<'_> {
    /// Merges a group. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read or written, or rows would be lost.
    pub(super) fn merge(&self, group: &Group) -> Result<Merged> {
        let mut merged = Merged { old: group.files.clone(), new: Vec::new(), dropped: 0 };
        let done = self.write_all(group, &mut merged.new);
        if matches!(done, Ok(false)) {
            merged.old.clear();
        }
        merged.dropped = group.dropped.values().map(|rows| rows.len() as u64).sum();
        let (before, after): (u64, u64) =
            (merged.old.iter().map(|file| file.row_count).sum(), merged.new.iter().map(|file| file.row_count).sum());
        let dropped = merged.dropped;
        let done = done.and_then(|_| match before == after + dropped {
            true => Ok(()),
            false => {
                let message = format!(
                    "the books do not balance: {before} rows were to be merged, {after} were written and {dropped} left out"
                );
                Err(Error::new(ErrorKind::Corrupt, message))
            }
        });
        if let Err(error) = done {
            self.write.runtime.block_on(self.hidden.discard(&merged.written()));
            return Err(error);
        }
        Ok(merged)
    }

    /// Writes the files; none, and gives `false`, when those that there are are as good.
    fn write_all(&self, group: &Group, new: &mut Vec<DataFile>) -> Result<bool> {
        let runtime = &self.write.runtime;
        let held = runtime.block_on(self.held(&group.files))?;
        let schema = arrow_schema(&held.fields);
        let keys: Vec<String> = self.sort_by.iter().filter(|name| has(&held.fields, name)).cloned().collect();
        if !keys.is_empty() && held.are_sorted && group.dropped.is_empty() {
            // Merging them would only sort again what is sorted.
            return Ok(false);
        }
        let mut sources = std::pin::pin!(
            futures::stream::iter(group.files.clone())
                .map(|file| self.open(file, group.has_origins))
                .buffered(FILES_AHEAD)
        );
        let mut open: Option<Open> = None;
        let mut unsorted = Unsorted::default();
        while let Some(mut source) = runtime.block_on(sources.try_next())? {
            let mut rows = source.origins.take().map(OriginRows::new);
            let mut dropped = group.dropped.get(&source.file.path).map(|rows| Dropped { rows, next_row: 0 });
            while let Some(batch) = runtime.block_on(source.next())? {
                let mut batch = conform(&batch, &source, &held.fields, &schema)?;
                let mut stretches = vec![(batch.num_rows() as u64, true)];
                if let Some(dropped) = &mut dropped {
                    (batch, stretches) = dropped.take_out_of(&batch)?;
                }
                if keys.is_empty() {
                    let target = open.get_or_insert_with(|| self.begin(&source.file, group.has_origins, &held.fields));
                    let origins = &mut target.origins;
                    let mut add = |unit: &Unit, first, rows| origins.push(unit, first, rows);
                    rows.iter_mut().for_each(|rows| rows.take_stretches(&stretches, &mut add));
                    target.writer.write(batch)?;
                    continue;
                }
                if unsorted.bytes >= self.sort_bytes && unsorted.row_count > 0 {
                    new.push(self.write_sorted(&std::mem::take(&mut unsorted), group, &held.fields, &keys)?);
                }
                let mut add = |unit: &Unit, first, rows| unsorted.add(unit, first, rows);
                rows.iter_mut().for_each(|rows| rows.take_stretches(&stretches, &mut add));
                unsorted.push(batch);
            }
            if let Some(full) = open.take_if(|open| open.writer.written_bytes() >= self.target_bytes) {
                new.push(self.end(full, group.has_origins)?);
            }
        }
        if unsorted.row_count > 0 {
            new.push(self.write_sorted(&unsorted, group, &held.fields, &keys)?);
        }
        if let Some(open) = open.filter(|open| open.writer.has_rows()) {
            new.push(self.end(open, group.has_origins)?);
        }
        Ok(true)
    }

    /// Writes rows in the order of the columns `keys`, equal ones in the order in which they came.
    fn write_sorted(&self, unsorted: &Unsorted, group: &Group, fields: &[Field], keys: &[String]) -> Result<DataFile> {
        let mut target = self.begin(&group.files[0], group.has_origins, fields);
        target.writer.sorted_by(keys);
        if !group.dropped.is_empty() {
            unsorted.units.iter().for_each(|unit| target.origins.push(unit, 0, 0));
        }
        let batches: Vec<&RecordBatch> = unsorted.batches.iter().collect();
        let order = order(&batches, keys).context(|| "cannot sort rows".to_owned())?;
        let starts: Vec<usize> =
            batches.iter().scan(0, |next, batch| Some(std::mem::replace(next, *next + batch.num_rows()))).collect();
        for indices in order.chunks(BATCH_ROWS) {
            if group.has_origins {
                for (batch, row) in indices {
                    let (unit, row) = unsorted.rows[starts[*batch] + row];
                    target.origins.push(&unsorted.units[unit as usize], row, 1);
                }
            }
            let batch = interleave_record_batch(&batches, indices).context(|| "cannot sort rows".to_owned())?;
            target.writer.write(batch)?;
        }
        self.end(target, group.has_origins)
    }

    fn begin(&self, first: &ActiveFile, has_origins: bool, fields: &[Field]) -> Open {
        let id = self.clock.new_id();
        let name = if has_origins { merged_name(&id) } else { name_without_origin(&id) };
        let path = match self.registry.partitioning.hive_path(&first.partition) {
            folder if folder.is_empty() => name,
            folder => format!("{folder}/{name}"),
        };
        let writer = GatheringWriter::new(self.write, path, first.partition.clone(), fields);
        Open { id, writer, origins: OriginsBuilder::default() }
    }

    fn end(&self, open: Open, has_origins: bool) -> Result<DataFile> {
        let file = open.writer.close()?;
        if has_origins {
            let origins = open.origins.finish();
            if origins.row_count() != file.row_count {
                let (told, there) = (origins.row_count(), file.row_count);
                let message =
                    format!("the books do not balance: {there} rows were written, the origins tell of {told}");
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            self.write.runtime.block_on(origins.create(self.hidden, &open.id))?;
        }
        Ok(file)
    }

    /// Opens a file and reads ahead what is small.
    async fn open(&self, file: ActiveFile, has_origins: bool) -> Result<Source> {
        let mut stored =
            StoredFile::open_whole(self.hidden, &file.path, file.size_bytes, &self.registry.fields).await?;
        let origins = if has_origins { Origins::of(self.hidden, &file).await? } else { None };
        let mut ahead = VecDeque::new();
        if file.size_bytes <= SMALL_BYTES {
            while let Some(batch) = stored.next_batch().await? {
                ahead.push_back(batch);
            }
        }
        Ok(Source { file, stored, origins, ahead })
    }

    /// What the files hold. Only footers are read.
    async fn held(&self, files: &[ActiveFile]) -> Result<Held> {
        let table = &self.registry.fields;
        let held = futures::stream::iter(files.to_vec()).map(|file| async move {
            let stored = StoredFile::open_whole(self.hidden, &file.path, file.size_bytes, table).await?;
            Ok::<_, Error>((stored.fields, stored.sorted_by))
        });
        let mut held = std::pin::pin!(held.buffered(2 * FILES_AHEAD));
        let mut all = Held { fields: Vec::new(), are_sorted: true };
        while let Some((fields, sorted_by)) = held.try_next().await? {
            let keys = self.sort_by.iter().filter(|name| has(&fields, name));
            all.are_sorted &= keys.eq(sorted_by.iter());
            // What other engines have added is behind the columns of the table.
            let foreign = foreign(table, &all.fields, &fields).map_err(|why| {
                let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
                Error::new(ErrorKind::Corrupt, format!("{} cannot be merged: {why}", paths.join(", ")))
            })?;
            all.fields = united(&[table.as_slice(), &foreign].concat(), &all.fields, &fields);
        }
        Ok(all)
    }
}

/// What files hold.
struct Held {
    /// The columns that any of them holds, as the table has them.
    fields: Vec<Field>,
    /// The rows of each of them are sorted as they should be.
    are_sorted: bool,
}

/// Rows that are left out of a file.
struct Dropped<'a> {
    /// They, sorted.
    rows: &'a [u64],
    /// The number of the next row of the file.
    next_row: u64,
}

impl Dropped<'_> {
    /// The rows of the next batch that stay, and how many stay, or do not, one after another.
    fn take_out_of(&mut self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<(u64, bool)>)> {
        let end = self.next_row + batch.num_rows() as u64;
        let (here, later) = self.rows.split_at(self.rows.partition_point(|row| *row < end));
        let mut stays = vec![true; batch.num_rows()];
        here.iter().for_each(|row| stays[(row - self.next_row) as usize] = false);
        let stretches = stretches(&stays);
        (self.rows, self.next_row) = (later, end);
        let left =
            filter_record_batch(batch, &BooleanArray::from(stays)).context(|| "cannot leave rows out".to_owned())?;
        Ok((left, stretches))
    }
}

/// Rows that are to be sorted.
#[derive(Default)]
struct Unsorted {
    batches: Vec<RecordBatch>,
    bytes: usize,
    row_count: usize,
    units: Vec<Unit>,
    numbers: HashMap<Unit, u32>,
    /// Of each row, the number of its unit and its number in it.
    rows: Vec<(u32, u64)>,
}

impl Unsorted {
    fn push(&mut self, batch: RecordBatch) {
        self.bytes += batch.get_array_memory_size() + batch.num_rows() * size_of::<(u32, u64)>();
        self.row_count += batch.num_rows();
        self.batches.push(batch);
    }

    fn add(&mut self, unit: &Unit, first: u64, rows: u64) {
        let number = match self.numbers.get(unit) {
            Some(number) => *number,
            None => {
                let number = self.units.len() as u32;
                self.units.push(unit.clone());
                self.numbers.insert(unit.clone(), number);
                number
            }
        };
        self.rows.extend((first..first + rows).map(|row| (number, row)));
    }
}

/// All rows of batches, as (batch, row), sorted by the columns `keys`: ascending, null last.
fn order(batches: &[&RecordBatch], keys: &[String]) -> Result<Vec<(usize, usize)>, ArrowError> {
    let columns = |batch: &RecordBatch| -> Vec<ArrayRef> {
        keys.iter().filter_map(|name| batch.column_by_name(name).cloned()).collect()
    };
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let options = SortOptions { descending: false, nulls_first: false };
    let field = |column: &ArrayRef| SortField::new_with_options(column.data_type().clone(), options);
    let converter = RowConverter::new(columns(first).iter().map(field).collect())?;
    let rows = batches.iter().map(|batch| converter.convert_columns(&columns(batch)));
    let rows: Vec<Rows> = rows.collect::<Result<_, _>>()?;
    let mut order: Vec<(usize, usize)> =
        rows.iter().enumerate().flat_map(|(batch, rows)| (0..rows.num_rows()).map(move |row| (batch, row))).collect();
    order.sort_by(|(a, i), (b, j)| rows[*a].row(*i).cmp(&rows[*b].row(*j)));
    Ok(order)
}

fn has(fields: &[Field], name: &str) -> bool {
    fields.iter().any(|field| field.name == name)
}

impl Source {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self.ahead.pop_front() {
            Some(batch) => Ok(Some(batch)),
            None => self.stored.next_batch().await,
        }
    }
}

fn conform(batch: &RecordBatch, source: &Source, fields: &[Field], schema: &SchemaRef) -> Result<RecordBatch> {
    let shaped = reshape(batch, &source.stored.fields, fields, schema);
    shaped.context(|| format!("cannot give the rows of {} other columns", source.file.path))
}

/// Those of `table` that are among `one` or `other`, structs with the fields that either has.
fn united(table: &[Field], one: &[Field], other: &[Field]) -> Vec<Field> {
    let find =
        |fields: &[Field], name: &str| fields.iter().find(|field| field.name == name).map(|field| field.ty.clone());
    table
        .iter()
        .filter_map(|theirs| {
            let ty = match (find(one, &theirs.name), find(other, &theirs.name)) {
                (Some(one), Some(other)) => united_type(&theirs.ty, &one, &other),
                (one, other) => united_type(&theirs.ty, &one.clone().or(other.clone())?, &one.or(other)?),
            };
            Some(Field { ty, ..theirs.clone() })
        })
        .collect()
}

/// The columns of either file that `table` has not, structs with the members of both.
///
/// # Errors
/// Says which of them both hold as types that have none in common.
fn foreign(table: &[Field], one: &[Field], other: &[Field]) -> Result<Vec<Field>, String> {
    let own = |fields: &[Field]| fields.iter().filter(|field| !has(table, &field.name)).cloned().collect::<Vec<_>>();
    joined(&own(one), &own(other))
}

fn joined(one: &[Field], other: &[Field]) -> Result<Vec<Field>, String> {
    let mut all = one.to_vec();
    for field in other {
        match all.iter_mut().find(|known| known.name == field.name) {
            Some(known) => known.ty = joined_type(&field.name, &known.ty, &field.ty)?,
            None => all.push(field.clone()),
        }
    }
    Ok(all)
}

fn joined_type(name: &str, one: &Type, other: &Type) -> Result<Type, String> {
    Ok(match (one, other) {
        (Type::Struct(one), Type::Struct(other)) => Type::Struct(joined(one, other)?),
        (Type::List(one), Type::List(other)) => Type::List(Box::new(joined_type(name, one, other)?)),
        (Type::Map(one), Type::Map(other)) => Type::Map(Box::new(joined_type(name, one, other)?)),
        (one, other) if one == other => one.clone(),
        _ => return Err(format!("another engine has given them the column {name} in different types")),
    })
}

fn united_type(table: &Type, one: &Type, other: &Type) -> Type {
    match (table, one, other) {
        (Type::Struct(table), Type::Struct(one), Type::Struct(other)) => Type::Struct(united(table, one, other)),
        (Type::List(table), Type::List(one), Type::List(other)) => Type::List(Box::new(united_type(table, one, other))),
        (table, _, _) => table.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, ty: Type) -> Field {
        Field { name: name.to_owned(), keys: vec![name.to_owned()], ty }
    }

    #[test]
    fn columns_of_either_file_come_in_the_order_of_the_table() {
        let list = |fields| Type::List(Box::new(Type::Struct(fields)));
        let [a, b, c] = ["a", "b", "c"].map(|name| field(name, Type::Int64));
        let table = [c.clone(), field("l", list(vec![a.clone(), b.clone(), c.clone()])), a.clone(), b.clone()];
        let one = [a.clone(), field("l", list(vec![c.clone()]))];
        let other = [field("l", list(vec![a.clone()])), c.clone()];
        let expected = [c.clone(), field("l", list(vec![a.clone(), c.clone()])), a.clone()];
        assert_eq!(united(&table, &one, &other), expected);
        assert_eq!(united(&table, &[], &one), [field("l", list(vec![c])), a]);
    }
}
