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
use crate::schema::{Field, Type};
use crate::write::NO_VALUES;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8192;
/// How much of the end of a file is read to find its footer.
const FOOTER_BYTES: u64 = 64 << 10;

/// The rows of a data file, batch by batch. Holds one row group.
pub struct StoredFile {
    path: String,
    /// The columns it holds: some of the table's, structs with some of their fields.
    pub fields: Vec<Field>,
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
    /// Opens a file of `size` bytes of a table of columns `table`: its footer is read, and nothing else yet.
    ///
    /// # Errors
    /// `Failed` when it cannot be read; `Corrupt` when it is gone or holds a column that the table has not.
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
        let describe = || format!("cannot read {path}");
        let footer = read_footer(hidden, path, size).await?;
        // Other engines that rewrite files say that their columns are views, dictionaries and more of Arrow's types.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::try_new(Arc::new(footer), options).context(describe)?;
        let reader =
            Reader { hidden: hidden.clone(), path: path.to_owned(), metadata: Arc::clone(metadata.metadata()) };
        let sorted_by = sorted_by(metadata.metadata());
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata);
        let stored: Fields =
            builder.schema().fields().iter().filter(|field| field.name() != NO_VALUES).cloned().collect();
        let fields = held_fields(&stored, table).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("{path} holds columns that its table does not know"))
        })?;
        let roots: Vec<usize> = (0..fields.len()).filter(|index| wanted(&fields[*index].name)).collect();
        let builder = if roots.len() < builder.schema().fields().len() {
            let projection = ProjectionMask::roots(builder.parquet_schema(), roots);
            builder.with_projection(projection)
        } else {
            builder
        };
        let fields: Vec<Field> = fields.into_iter().filter(|field| wanted(&field.name)).collect();
        let rows = builder.with_batch_size(BATCH_ROWS).build().context(describe)?;
        Ok(Self { path: path.to_owned(), fields, sorted_by, rows })
    }

    /// The next rows, as the columns `fields`; `None` behind the last.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.rows.try_next().await.context(|| format!("cannot read {}", self.path))
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
fn held_fields(stored: &Fields, table: &[Field]) -> Option<Vec<Field>> {
    stored
        .iter()
        .map(|column| {
            let field = table.iter().find(|field| field.name == *column.name())?;
            Some(Field { ty: held_type(column, &field.ty)?, ..field.clone() })
        })
        .collect()
}

fn held_type(column: &Arc<ArrowField>, ty: &Type) -> Option<Type> {
    Some(match (column.data_type(), ty) {
        (DataType::Struct(stored), Type::Struct(fields)) => Type::Struct(held_fields(stored, fields)?),
        (DataType::List(element), Type::List(ty)) => Type::List(Box::new(held_type(element, ty)?)),
        (_, ty) => ty.clone(),
    })
}
