//! The column that names the raw object of each row.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringBuilder};

use crate::error::{Context as _, Result};
use crate::schema::Field;

/// Fills the column of provenance of a batch of the columns `fields`, when it has one. `objects`: the keys of raw objects, and
/// how many rows of each follow one another.
///
/// # Errors
/// When these are not the rows of the batch.
pub(crate) fn with_provenance<'k>(
    batch: RecordBatch,
    fields: &[Field],
    objects: impl Iterator<Item = (&'k str, u64)> + Clone,
) -> Result<RecordBatch> {
    let Some(at) = fields.iter().position(Field::is_provenance) else { return Ok(batch) };
    let bytes = objects.clone().map(|(key, rows)| key.len() * rows as usize).sum();
    let mut keys = StringBuilder::with_capacity(batch.num_rows(), bytes);
    for (key, rows) in objects {
        (0..rows).for_each(|_| keys.append_value(key));
    }
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(keys.finish());
    RecordBatch::try_new(batch.schema(), columns).context(|| "cannot name the raw objects of rows".to_owned())
}
