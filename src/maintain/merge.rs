//! Several data files of one partition become one, or a few: the same rows in the same order, their origins recorded.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::{StreamExt as _, TryStreamExt as _};

use super::pack::Group;
use crate::clock::Clock;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::json::{arrow_schema, reshape};
use crate::lake::{ActiveFile, Hidden, Origins, OriginsBuilder, Registry, StoredFile};
use crate::schema::{Field, Type};
use crate::write::{DataFile, SampledWriter, WriteContext, merged_id, merged_name, name_without_origin};

/// So many files are read at a time ...
const FILES_AHEAD: usize = 8;
/// ... their rows, too, when they have at most so many bytes.
const SMALL_BYTES: u64 = 1 << 20;

/// Reads, writes, and knows the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merger<'a> {
    pub write: &'a WriteContext,
    pub hidden: &'a Hidden,
    pub registry: &'a Registry,
    /// A file is ended at about this many bytes.
    pub target_bytes: usize,
    pub clock: &'a dyn Clock,
}

/// What became of a group.
#[derive(Debug)]
pub(super) struct Merged {
    /// The files whose place is taken.
    pub old: Vec<ActiveFile>,
    /// The files that take it.
    pub new: Vec<DataFile>,
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
    writer: SampledWriter,
    origins: OriginsBuilder,
}

impl Merger<'_> {
    /// Merges a group. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read or written, or rows would be lost.
    pub(super) fn merge(&self, group: Group) -> Result<Merged> {
        let mut merged = Merged { old: group.files.clone(), new: Vec::new() };
        let done = self.write_all(&group, &mut merged.new);
        let (before, after): (u64, u64) =
            (merged.old.iter().map(|file| file.row_count).sum(), merged.new.iter().map(|file| file.row_count).sum());
        let done = done.and_then(|()| match before == after {
            true => Ok(merged.old.len()),
            false => {
                let message =
                    format!("the books do not balance: {before} rows were to be merged, {after} were written");
                Err(Error::new(ErrorKind::Corrupt, message))
            }
        });
        if let Err(error) = done {
            self.write.runtime.block_on(self.hidden.discard(&merged.written()));
            return Err(error);
        }
        Ok(merged)
    }

    fn write_all(&self, group: &Group, new: &mut Vec<DataFile>) -> Result<()> {
        let runtime = &self.write.runtime;
        let fields = runtime.block_on(self.united_fields(&group.files))?;
        let schema = arrow_schema(&fields);
        let mut sources = std::pin::pin!(
            futures::stream::iter(group.files.clone())
                .map(|file| self.open(file, group.has_origins))
                .buffered(FILES_AHEAD)
        );
        let mut open: Option<Open> = None;
        while let Some(mut source) = runtime.block_on(sources.try_next())? {
            let mut target = match open.take() {
                Some(open) => open,
                None => self.begin(&source.file, group.has_origins, &fields),
            };
            if let Some(origins) = &source.origins {
                origins.runs.iter().for_each(|run| target.origins.push(&origins.units[run.unit], run.first, run.rows));
            }
            while let Some(batch) = runtime.block_on(source.next())? {
                target.writer.write(conform(&batch, &source, &fields, &schema)?)?;
            }
            if target.writer.written_bytes() < self.target_bytes {
                open = Some(target);
            } else {
                new.push(self.end(target, group.has_origins)?);
            }
        }
        if let Some(open) = open {
            new.push(self.end(open, group.has_origins)?);
        }
        Ok(())
    }

    fn begin(&self, first: &ActiveFile, has_origins: bool, fields: &[Field]) -> Open {
        let id = self.clock.new_id();
        let name = if has_origins { merged_name(&id) } else { name_without_origin(&id) };
        let path = match self.registry.partitioning.hive_path(&first.partition) {
            folder if folder.is_empty() => name,
            folder => format!("{folder}/{name}"),
        };
        let writer = SampledWriter::new(self.write, path, first.partition.clone(), fields);
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
        let mut stored = StoredFile::open(self.hidden, &file.path, file.size_bytes, &self.registry.fields).await?;
        let origins = if has_origins { Origins::of(self.hidden, &file).await? } else { None };
        let mut ahead = VecDeque::new();
        if file.size_bytes <= SMALL_BYTES {
            while let Some(batch) = stored.next_batch().await? {
                ahead.push_back(batch);
            }
        }
        Ok(Source { file, stored, origins, ahead })
    }

    /// The columns that any of the files holds, as the table has them. Only footers are read.
    async fn united_fields(&self, files: &[ActiveFile]) -> Result<Vec<Field>> {
        let table = &self.registry.fields;
        let held = futures::stream::iter(files.to_vec()).map(|file| async move {
            StoredFile::open(self.hidden, &file.path, file.size_bytes, table).await.map(|stored| stored.fields)
        });
        let mut held = std::pin::pin!(held.buffered(2 * FILES_AHEAD));
        let mut all = Vec::new();
        while let Some(fields) = held.try_next().await? {
            all = united(table, &all, &fields);
        }
        Ok(all)
    }
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
