//! The columns that have a value in some rows. Files hold no others: a column of nulls costs space, and its type could
//! stand against a later promotion.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};

use crate::schema::{Field, Type};

/// Those of `fields` (the columns of all `batches`) that have a value in some row, with the struct fields that do.
pub(super) fn fields_with_values(batches: &[&RecordBatch], fields: &[Field]) -> Vec<Field> {
    let columns = |index: usize| batches.iter().map(|batch| batch.column(index)).collect::<Vec<_>>();
    fields
        .iter()
        .enumerate()
        .filter_map(|(index, field)| Some(Field { ty: type_with_values(&columns(index), &field.ty)?, ..field.clone() }))
        .collect()
}

fn type_with_values(arrays: &[&ArrayRef], ty: &Type) -> Option<Type> {
    if arrays.iter().all(|array| array.null_count() == array.len()) {
        return None;
    }
    Some(match ty {
        Type::Struct(fields) => {
            let parts = |index: usize| arrays.iter().map(|array| array.as_struct().column(index)).collect::<Vec<_>>();
            let mut kept: Vec<Field> = fields
                .iter()
                .enumerate()
                .filter_map(|(index, field)| {
                    Some(Field { ty: type_with_values(&parts(index), &field.ty)?, ..field.clone() })
                })
                .collect();
            if kept.is_empty() {
                // Structs without a value in any field, which are not null: Parquet needs a field to say so.
                kept.extend(fields.first().cloned());
            }
            Type::Struct(kept)
        }
        other => other.clone(),
    })
}

/// Whether a file of columns `file` can take rows that have values in the columns `rows`.
pub(super) fn covers(file: &[Field], rows: &[Field]) -> bool {
    rows.iter().all(|row| file.iter().any(|field| field.name == row.name && type_covers(&field.ty, &row.ty)))
}

fn type_covers(file: &Type, row: &Type) -> bool {
    match (file, row) {
        (Type::Struct(file), Type::Struct(row)) => covers(file, row),
        (Type::Timestamp { .. }, Type::Timestamp { .. }) => true,
        (file, row) => file == row,
    }
}
