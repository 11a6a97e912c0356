//! Whether a file that was decoded again holds the rows of the file whose place it takes.

use std::slice::from_ref;

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::rewrite::{Affected, shares_key};
use crate::error::{Context as _, Result};
use crate::json::{EMPTY_JSON, arrow_schema, convert};
use crate::lake::{Hidden, StoredFile};
use crate::schema::{Field, fields_widen_losslessly};
use crate::write::DataFile;

/// Compares row by row. Values that the old file determines must be equal; where it does not, both have one or none.
///
/// `before` are the columns of the table of the old file.
///
/// # Errors
/// When a file cannot be read.
pub(super) async fn same_rows(hidden: &Hidden, old: &Affected, before: &[Field], new: &DataFile) -> Result<bool> {
    let describe = || format!("cannot compare {} with {}", new.path, old.file.path);
    let mut old_rows = Rows::open(hidden, &old.file.path, old.file.size_bytes, before).await?;
    let mut new_rows = Rows::open(hidden, &new.path, new.size_bytes, &new.fields).await?;
    loop {
        let (old_left, new_left) = (old_rows.left().await?, new_rows.left().await?);
        let rows = old_left.min(new_left);
        if rows == 0 {
            return Ok(old_left == new_left);
        }
        let (old_batch, new_batch) = (old_rows.take(rows), new_rows.take(rows));
        let (held, wanted) = (&old_rows.file.fields, &new_rows.file.fields);
        if !is_same(&old_batch, held, &new_batch, wanted).context(describe)? {
            return Ok(false);
        }
    }
}

fn is_same(old: &RecordBatch, held: &[Field], new: &RecordBatch, wanted: &[Field]) -> Result<bool, ArrowError> {
    for (mine, values) in held.iter().zip(old.columns()) {
        let same = wanted.iter().position(|theirs| theirs.name == mine.name);
        let determined = same.filter(|index| fields_widen_losslessly(from_ref(mine), from_ref(&wanted[*index])));
        let equal = match determined {
            Some(index) => {
                let values = convert(values, &mine.ty, &wanted[index].ty)?;
                let column = new.column(index);
                values.as_ref() == column.as_ref()
                    || (0..values.len()).all(|row| is_same_value(values.as_ref(), column.as_ref(), row, row))
            }
            None => {
                let columns = wanted.iter().zip(new.columns()).filter(|(theirs, _)| shares_key(mine, theirs));
                let columns: Vec<_> = columns.map(|(_, column)| column).collect();
                let is_null = |row: usize| columns.iter().all(|column| column.is_null(row));
                let is_nothing = |row: usize| columns.iter().all(|column| holds_nothing(column.as_ref(), row));
                (0..old.num_rows()).all(|row| if values.is_null(row) { is_nothing(row) } else { !is_null(row) })
            }
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether two arrays of one type have the same value in these rows. Where the old one has null, the new one may hold nothing: an
/// empty array or object is stored as null as long as its column has no type.
fn is_same_value(old: &dyn Array, new: &dyn Array, old_row: usize, new_row: usize) -> bool {
    match (old.is_null(old_row), new.is_null(new_row)) {
        (true, _) => return holds_nothing(new, new_row),
        (false, true) => return false,
        (false, false) => {}
    }
    match old.data_type() {
        DataType::Struct(_) => {
            let (old, new) = (old.as_struct(), new.as_struct());
            let mut parts = old.columns().iter().zip(new.columns());
            parts.all(|(old, new)| is_same_value(old.as_ref(), new.as_ref(), old_row, new_row))
        }
        DataType::List(_) => {
            let (old, new) = (old.as_list::<i32>().value(old_row), new.as_list::<i32>().value(new_row));
            old.len() == new.len() && (0..old.len()).all(|at| is_same_value(old.as_ref(), new.as_ref(), at, at))
        }
        DataType::Map(..) => {
            let (old, new) = (old.as_map().value(old_row), new.as_map().value(new_row));
            let values = |at| is_same_value(old.column(1).as_ref(), new.column(1).as_ref(), at, at);
            old.len() == new.len() && old.column(0) == new.column(0) && (0..old.len()).all(values)
        }
        _ => old.slice(old_row, 1).as_ref() == new.slice(new_row, 1).as_ref(),
    }
}

/// Whether a value is null, or an array or object that is empty, also as JSON text, or an object of such values alone.
fn holds_nothing(array: &dyn Array, row: usize) -> bool {
    array.is_null(row)
        || match array.data_type() {
            DataType::Struct(_) => array.as_struct().columns().iter().all(|part| holds_nothing(part.as_ref(), row)),
            DataType::List(_) => array.as_list::<i32>().value_length(row) == 0,
            DataType::Map(..) => array.as_map().value_length(row) == 0,
            DataType::Utf8 => EMPTY_JSON.contains(&array.as_string::<i32>().value(row)),
            _ => false,
        }
}

/// The rows of a file, any number at a time.
pub(super) struct Rows {
    file: StoredFile,
    at_hand: RecordBatch,
}

impl Rows {
    /// Those of a file of `size_bytes` of a table of columns `table`.
    pub(super) async fn open(hidden: &Hidden, path: &str, size_bytes: u64, table: &[Field]) -> Result<Self> {
        let file = StoredFile::open(hidden, path, size_bytes, table).await?;
        Ok(Self { file, at_hand: RecordBatch::new_empty(arrow_schema(&[])) })
    }

    /// How many rows are at hand; 0 behind the last.
    pub(super) async fn left(&mut self) -> Result<usize> {
        while self.at_hand.num_rows() == 0 {
            match self.file.next_batch().await? {
                Some(batch) => self.at_hand = batch,
                None => return Ok(0),
            }
        }
        Ok(self.at_hand.num_rows())
    }

    /// The next `rows` of those at hand.
    pub(super) fn take(&mut self, rows: usize) -> RecordBatch {
        let taken = self.at_hand.slice(0, rows);
        self.at_hand = self.at_hand.slice(rows, self.at_hand.num_rows() - rows);
        taken
    }
}
