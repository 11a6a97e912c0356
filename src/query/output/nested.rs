//! Nested values as JSON.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};

/// The values of a column as JSON texts; null where they are null.
///
/// # Errors
/// When a map has keys that cannot be text.
pub(in crate::query) fn json_texts(field: &FieldRef, column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let field = with_text_keys(field);
    let column = cast(column, field.data_type())?;
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(&field, column.as_ref(), &options)?;
    let texts = (0..column.len()).map(|row| {
        (!column.is_null(row)).then(|| {
            let mut text = Vec::new();
            encoder.encode(row, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    Ok(texts.collect())
}

/// The rows with texts as the keys of maps, which are all that the writer of JSON takes.
///
/// # Errors
/// When keys cannot be text.
pub(super) fn text_keys(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    if !schema.fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let fields: Fields = schema.fields().iter().map(with_text_keys).collect();
    let columns = batch.columns().iter().zip(&fields).map(|(column, field)| cast(column, field.data_type()));
    RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), columns.collect::<Result<_, _>>()?)
}

fn with_text_keys(field: &FieldRef) -> FieldRef {
    let ty = match field.data_type() {
        DataType::List(items) => DataType::List(with_text_keys(items)),
        DataType::LargeList(items) => DataType::LargeList(with_text_keys(items)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(with_text_keys).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(entries_with_text_keys(entries), *is_sorted),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(ty))
}

fn entries_with_text_keys(entries: &FieldRef) -> FieldRef {
    let DataType::Struct(fields) = entries.data_type() else { return Arc::clone(entries) };
    let Some((key, values)) = fields.split_first() else { return Arc::clone(entries) };
    let text = |key: &FieldRef| Arc::new(Field::new(key.name(), DataType::Utf8, key.is_nullable()));
    let fields = std::iter::once(text(key)).chain(values.iter().map(with_text_keys)).collect();
    Arc::new(entries.as_ref().clone().with_data_type(DataType::Struct(fields)))
}
