//! Whether a file that was decoded again holds the rows of the file whose place it takes.

use std::slice::from_ref;

use arrow::array::{Array as _, RecordBatch};
use arrow::error::ArrowError;

use super::rewrite::{Affected, shares_key};
use crate::error::{Context as _, Result};
use crate::json::{arrow_schema, convert};
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
            Some(index) => convert(values, &mine.ty, &wanted[index].ty)?.as_ref() == new.column(index).as_ref(),
            None => {
                let columns = wanted.iter().zip(new.columns()).filter(|(theirs, _)| shares_key(mine, theirs));
                let columns: Vec<_> = columns.map(|(_, column)| column).collect();
                let is_null = |row: usize| columns.iter().all(|column| column.is_null(row));
                (0..old.num_rows()).all(|row| values.is_null(row) == is_null(row))
            }
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
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
