//! Data files read back as columns of their table, one row group at a time.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field as ArrowField, Fields};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData, SortingColumn};

use super::hidden::Hidden;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::schema::{Field, Type, data_type, stored_type};
use crate::write::NO_VALUES;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8192;
/// How much of the end of a file is read to find its footer.
const FOOTER_BYTES: u64 = 64 << 10;

/// The rows of a data file, batch by batch. Holds one row group.
pub struct StoredFile {
    path: String,
    /// The columns it holds: some of the table's, structs with some of their fields; behind them, if they are asked for, those
    /// of other engines.
    pub fields: Vec<Field>,
    /// It holds columns that another engine has added to the table.
    pub has_foreign: bool,
    /// The columns that the rows of each of its row groups are sorted by, ascending, as the footer says.
    pub sorted_by: Vec<String>,
    rows: ParquetRecordBatchStream<Reader>,
}

impl std::fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredFile").field("path", &self.path).field("fields", &self.fields).finish_non_exhaustive()
    }
}

impl StoredFile {
    /// Opens a file of `size` bytes of a table of columns `table`, to read these: its footer is read, and nothing else yet.
    ///
    /// # Errors
    /// `Failed` when it cannot be read; `Corrupt` when it is gone or holds a column as another type.
    pub async fn open(hidden: &Hidden, path: &str, size: u64, table: &[Field]) -> Result<Self> {
        Self::open_columns(hidden, path, size, table, |_| true).await
    }

    /// The same, of which only the columns that are `wanted` are read.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_columns(
        hidden: &Hidden,
        path: &str,
        size: u64,
        table: &[Field],
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        Footer::read(hidden, path, size).await?.rows(table, &[], wanted)
    }

    /// The same, to write all that it holds again: with the columns that other engines have added.
    ///
    /// # Errors
    /// As [`open`](Self::open); `Corrupt` when such a column is of a type that is never written here.
    pub async fn open_whole(hidden: &Hidden, path: &str, size: u64, table: &[Field]) -> Result<Self> {
        let footer = Footer::read(hidden, path, size).await?;
        let foreign = footer.foreign(table)?;
        footer.rows(table, &foreign, |_| true)
    }

    /// The next rows, as the columns `fields`; `None` behind the last.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.rows.try_next().await.context(|| format!("cannot read {}", self.path))
    }
}

/// What the end of a file tells.
struct Footer {
    hidden: Hidden,
    path: String,
    metadata: ArrowReaderMetadata,
}

impl Footer {
    async fn read(hidden: &Hidden, path: &str, size: u64) -> Result<Self> {
        let footer = read_footer(hidden, path, size).await?;
        // Other engines that rewrite files say that their columns are views, dictionaries and more of Arrow's types.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::try_new(Arc::new(footer), options);
        let metadata = metadata.context(|| format!("cannot read {path}"))?;
        Ok(Self { hidden: hidden.clone(), path: path.to_owned(), metadata })
    }

    fn columns(&self) -> impl Iterator<Item = &Arc<ArrowField>> {
        self.metadata.schema().fields().iter().filter(|column| column.name() != NO_VALUES)
    }

    /// The columns that `table` has not.
    fn foreign(&self, table: &[Field]) -> Result<Vec<Field>> {
        let is_foreign = |column: &&Arc<ArrowField>| table.iter().all(|field| field.name != *column.name());
        let field = |column: &Arc<ArrowField>| match stored_type(column.data_type()) {
            Some(ty) => Ok(Field { name: column.name().clone(), keys: Vec::new(), ty }),
            None => Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "{} cannot be written again: another engine has put the column {} into it, of a type that is not written here \
                     ({}); drop that column there, or have it as a bigint, double, varchar or timestamp",
                    self.path,
                    column.name(),
                    column.data_type()
                ),
            )),
        };
        self.columns().filter(is_foreign).map(field).collect()
    }

    /// The rows: of the columns of `table` those that are `wanted`, and all that are `foreign`.
    fn rows(self, table: &[Field], foreign: &[Field], wanted: impl Fn(&str) -> bool) -> Result<StoredFile> {
        let path = self.path.clone();
        let mut fields = Vec::new();
        let mut roots = Vec::new();
        let mut has_foreign = false;
        for (root, column) in self.metadata.schema().fields().iter().enumerate() {
            let name = column.name();
            let field = match table.iter().find(|field| field.name == *name) {
                Some(field) if wanted(name) => {
                    let held = held_type(column, &field.ty).map_err(|why| {
                        let why =
                            format!("{path} does not fit its table: {why}; verify tells what became of the table");
                        Error::new(ErrorKind::Corrupt, why)
                    })?;
                    Field { ty: held, ..field.clone() }
                }
                Some(_) => continue,
                None => {
                    has_foreign |= name != NO_VALUES;
                    let Some(field) = foreign.iter().find(|field| field.name == *name) else { continue };
                    field.clone()
                }
            };
            fields.push(field);
            roots.push(root);
        }
        let sorted_by = sorted_by(self.metadata.metadata());
        let reader = Reader { hidden: self.hidden, path: self.path, metadata: Arc::clone(self.metadata.metadata()) };
        let is_all = roots.len() == self.metadata.schema().fields().len();
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, self.metadata);
        let builder = if is_all {
            builder
        } else {
            let projection = ProjectionMask::roots(builder.parquet_schema(), roots);
            builder.with_projection(projection)
        };
        let rows = builder.with_batch_size(BATCH_ROWS).build().context(|| format!("cannot read {path}"))?;
        Ok(StoredFile { path, fields, has_foreign, sorted_by, rows })
    }
}

/// The columns that all row groups say they are sorted by, ascending and with null last.
fn sorted_by(footer: &ParquetMetaData) -> Vec<String> {
    let columns = footer.file_metadata().schema_descr();
    let of_group = |group: &RowGroupMetaData| -> Vec<String> {
        let sorted = group.sorting_columns().into_iter().flatten();
        let name = |column: &SortingColumn| {
            let index = usize::try_from(column.column_idx).ok().filter(|index| *index < columns.num_columns())?;
            (!column.descending && !column.nulls_first).then(|| columns.column(index).path().string())
        };
        sorted.map_while(name).collect()
    };
    let mut groups = footer.row_groups().iter().map(of_group);
    let first = groups.next().unwrap_or_default();
    if groups.all(|group| group == first) { first } else { Vec::new() }
}

/// The footer of a Parquet file of `size` bytes, which is read by its end.
async fn read_footer(hidden: &Hidden, path: &str, size: u64) -> Result<ParquetMetaData> {
    let describe = || format!("cannot read {path}");
    let mut wanted = FOOTER_BYTES.min(size);
    loop {
        let end = hidden.read_range(path, size - wanted..size).await?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&end, size) {
            Ok(()) => return reader.finish().context(describe),
            Err(ParquetError::NeedMoreData(more)) if more as u64 > wanted && more as u64 <= size => {
                wanted = more as u64;
            }
            Err(error) => return Err(Error::failed(describe(), error)),
        }
    }
}

/// Reads ranges of a file.
struct Reader {
    hidden: Hidden,
    path: String,
    metadata: Arc<ParquetMetaData>,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async { self.hidden.read_range(&self.path, range).await.map_err(|error| ParquetError::External(error.into())) }
            .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let read = self.hidden.read_ranges(&self.path, &ranges).await;
            read.map_err(|error| ParquetError::External(error.into()))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async { Ok(Arc::clone(&self.metadata)) }.boxed()
    }
}

/// The columns of `table` that are among `stored`, in the order stored.
///
/// # Errors
/// Says which column of the file is none of the table's, or of another type.
fn held_fields(stored: &Fields, table: &[Field]) -> Result<Vec<Field>, String> {
    let field = |column: &Arc<ArrowField>| {
        let field = table.iter().find(|field| field.name == *column.name());
        let field = field.ok_or_else(|| format!("its column {} is none of the table's", column.name()))?;
        Ok(Field { ty: held_type(column, &field.ty)?, ..field.clone() })
    };
    stored.iter().map(field).collect()
}

fn held_type(column: &Arc<ArrowField>, ty: &Type) -> Result<Type, String> {
    Ok(match (column.data_type(), ty) {
        (DataType::Struct(stored), Type::Struct(fields)) => Type::Struct(held_fields(stored, fields)?),
        (DataType::List(element), Type::List(ty)) => Type::List(Box::new(held_type(element, ty)?)),
        (DataType::Timestamp(..), Type::Timestamp { .. }) => ty.clone(),
        (DataType::Map(entries, _), Type::Map(value)) => {
            if let DataType::Struct(parts) = entries.data_type()
                && let Some(stored) = parts.get(1)
            {
                held_type(stored, value)?;
            }
            ty.clone()
        }
        (stored, ty) if *stored == data_type(ty) => ty.clone(),
        (stored, ty) => {
            return Err(format!("its column {} holds {stored}, and the table's {}", column.name(), data_type(ty)));
        }
    })
}
