//! Data files read back as columns of their table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field as ArrowField, Fields};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::schema::{Field, Type};
use crate::write::NO_VALUES;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8192;

/// The rows of a data file, batch by batch.
#[derive(Debug)]
pub struct StoredFile {
    path: String,
    /// The columns it holds: some of the table's, structs with some of their fields.
    pub fields: Vec<Field>,
    reader: ParquetRecordBatchReader,
}

impl StoredFile {
    /// Opens a file of a table of columns `table`.
    ///
    /// # Errors
    /// When it is damaged; `Corrupt` when it holds a column that the table has not.
    pub fn open(path: &str, bytes: Bytes, table: &[Field]) -> Result<Self> {
        let describe = || format!("cannot read {path}");
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).context(describe)?;
        let stored: Fields =
            builder.schema().fields().iter().filter(|field| field.name() != NO_VALUES).cloned().collect();
        let fields = held_fields(&stored, table).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("{path} holds columns that its table does not know"))
        })?;
        let builder = if fields.is_empty() {
            let nothing = ProjectionMask::roots(builder.parquet_schema(), []);
            builder.with_projection(nothing)
        } else {
            builder
        };
        let reader = builder.with_batch_size(BATCH_ROWS).build().context(describe)?;
        Ok(Self { path: path.to_owned(), fields, reader })
    }
}

impl Iterator for StoredFile {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.reader.next()?.context(|| format!("cannot read {}", self.path)))
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
