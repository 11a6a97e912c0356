//! From a decoder's columns to Arrow arrays of given column types.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray, MapArray,
    RecordBatch, RecordBatchOptions, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::column::Column;
use super::convert::convert_sharing;
use super::decoder::Decoder;
use super::nulls::Nulls;
use super::object::StructData;
use super::storage::{Bytes, Data, take};
use crate::schema::{Field, Type, arrow_fields, data_type, element_field, entries_field};

/// The columns of a batch cannot be given the types asked for.
#[derive(Debug)]
pub enum FinishError {
    /// What is stored does not determine the value in the wider type: the records must be decoded again by a decoder
    /// that knows the wider type from the start.
    Redo,
    /// Arrow refused the parts.
    Arrow(ArrowError),
}

impl From<ArrowError> for FinishError {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error)
    }
}

/// The Arrow schema of columns.
pub fn arrow_schema(fields: &[Field]) -> SchemaRef {
    Arc::new(Schema::new(arrow_fields(fields)))
}

impl Decoder {
    /// Takes the batch of the last window as the columns `fields` (of Arrow schema `schema`). In a column of provenance, which
    /// only who knows the objects can fill, there are nulls.
    ///
    /// # Errors
    /// [`FinishError::Redo`] when a column is stored in a form narrower than its type that does not determine the value,
    /// or when the batch was taken before (also in vain).
    pub fn finish(&mut self, fields: &[Field], schema: &SchemaRef) -> Result<RecordBatch, FinishError> {
        let root = self.take_root().ok_or(FinishError::Redo)?;
        let rows = root.len;
        let Data::Struct(data) = &mut root.data else { return Err(FinishError::Redo) };
        let arrays = struct_arrays(data, fields, rows, &mut Nulls::default())?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
    }
}

fn struct_arrays(
    data: &mut StructData,
    fields: &[Field],
    rows: usize,
    none: &mut Nulls,
) -> Result<Vec<ArrayRef>, FinishError> {
    fields.iter().map(|field| field_array(data, field, rows, none)).collect()
}

/// The array of one field: the children of all its keys, of which at most one has a value in each row.
fn field_array(data: &mut StructData, field: &Field, rows: usize, none: &mut Nulls) -> Result<ArrayRef, FinishError> {
    if field.keys.is_empty()
        && !field.is_provenance()
        && let Some(rest) = &mut data.rest
    {
        rest.column.pad(rows);
        return array(&mut rest.column, &field.ty, none);
    }
    let mut joined: Option<ArrayRef> = None;
    for key in &field.keys {
        let Some(child) = data.find_mut(key) else { continue };
        if child.column.nulls.is_empty() {
            continue;
        }
        child.column.pad(rows);
        let array = array(&mut child.column, &field.ty, none)?;
        joined = Some(match joined {
            None => array,
            Some(before) => {
                let has_value = BooleanArray::new(
                    before.nulls().map_or_else(|| arrow::buffer::BooleanBuffer::new_set(rows), |n| n.inner().clone()),
                    None,
                );
                zip(&has_value, &before, &array)?
            }
        });
    }
    Ok(match joined {
        Some(joined) => joined,
        None => none.array(&data_type(&field.ty), rows)?,
    })
}

fn array(column: &mut Column, ty: &Type, none: &mut Nulls) -> Result<ArrayRef, FinishError> {
    let rows = column.len;
    let nulls = column.nulls.finish();
    if nulls.as_ref().is_some_and(|nulls| nulls.null_count() == rows) {
        return Ok(none.array(&data_type(ty), rows)?);
    }
    let holds_nothing = matches!(ty, Type::Text) && column.holds_nothing();
    Ok(match (&mut column.data, ty) {
        (Data::Empty | Data::Skip, ty) => none.array(&data_type(ty), rows)?,
        (Data::Int(values), Type::Int64) => Arc::new(Int64Array::new(take(values).into(), nulls)),
        (Data::Double(values), Type::Double) => Arc::new(Float64Array::new(take(values).into(), nulls)),
        (Data::Bool(values), Type::Bool) => {
            let array = BooleanArray::new(values.as_slice().into(), nulls);
            values.clear();
            Arc::new(array)
        }
        (Data::Decimal(values), Type::Decimal { precision: 38, scale: 0 }) => {
            Arc::new(Decimal128Array::new(take(values).into(), nulls).with_precision_and_scale(38, 0)?)
        }
        (Data::Scaled { values, precision: p, scale: s }, Type::Decimal { precision, scale })
            if p == precision && s == scale =>
        {
            Arc::new(
                Decimal128Array::new(take(values).into(), nulls).with_precision_and_scale(*precision, *scale as i8)?,
            )
        }
        (Data::Timestamp(values), Type::Timestamp { .. }) => {
            Arc::new(TimestampMicrosecondArray::new(take(values).into(), nulls).with_timezone("UTC"))
        }
        (Data::Date(values), Type::Date) => Arc::new(Date32Array::new(take(values).into(), nulls)),
        (Data::Text(text), Type::Text) | (Data::Json(text), Type::Json) => strings(text, nulls)?,
        (Data::Struct(data), Type::Struct(fields)) => {
            let arrays = struct_arrays(data, fields, rows, none)?;
            Arc::new(StructArray::try_new_with_length(arrow_fields(fields), arrays, nulls, rows)?)
        }
        (Data::List(list), Type::List(element)) => {
            let values = array(&mut list.element, element, none)?;
            let offsets = offsets(&mut list.offsets);
            Arc::new(ListArray::try_new(element_field(element), offsets, values, nulls)?)
        }
        (Data::Map(map), Type::Map(value)) => {
            let entries = entries_field(value);
            let keys = strings(&mut map.keys, None)?;
            let values = array(&mut map.value, value, none)?;
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(ArrowError::SchemaError("map entries are a struct".to_owned()).into());
            };
            let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
            Arc::new(MapArray::try_new(Arc::new(entries), offsets(&mut map.offsets), pairs, nulls, false)?)
        }
        // Nothing but null, {} and [] so far: where such values need a type, it is that of null strings.
        (Data::Struct(_) | Data::List(_) | Data::Json(_), Type::Text) if holds_nothing => {
            none.array(&data_type(ty), rows)?
        }
        (data, ty) => {
            // Stored in a narrower form: its own type first, then the conversion that is known to lose nothing.
            let Some(own) = own_scalar_type(data) else { return Err(FinishError::Redo) };
            if !own.widens_losslessly_to(ty) || own == *ty {
                return Err(FinishError::Redo);
            }
            column.nulls = arrow::array::NullBufferBuilder::new(rows);
            match nulls {
                Some(nulls) => column.nulls.append_buffer(&nulls),
                None => column.nulls.append_n_non_nulls(rows),
            }
            let narrow = array(column, &own, none)?;
            convert_sharing(&narrow, &own, ty, none)?
        }
    })
}

fn own_scalar_type(data: &Data) -> Option<Type> {
    Some(match data {
        Data::Bool(_) => Type::Bool,
        Data::Int(_) => Type::Int64,
        Data::Decimal(_) => Type::Decimal { precision: 38, scale: 0 },
        Data::Date(_) => Type::Date,
        _ => return None,
    })
}

fn offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let taken = take(offsets);
    offsets.push(0);
    OffsetBuffer::new(ScalarBuffer::from(taken))
}

fn strings(text: &mut Bytes, nulls: Option<NullBuffer>) -> Result<ArrayRef, FinishError> {
    let Bytes { offsets, data } = text.take();
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(data), nulls)?))
}

/// Gives a batch of the columns `before` the columns `after`: missing ones become null, narrower ones are widened.
///
/// # Errors
/// [`FinishError::Redo`] when a value does not determine what it is in the wider type.
pub fn conform(
    batch: &RecordBatch,
    before: &[Field],
    after: &[Field],
    schema: &SchemaRef,
) -> Result<RecordBatch, FinishError> {
    if !crate::schema::fields_widen_losslessly(before, after) {
        return Err(FinishError::Redo);
    }
    Ok(reshape(batch, before, after, schema)?)
}

/// Gives a batch of the columns `before` the columns `after`, matched by name at every depth: columns that are not
/// in `after` are dropped, missing ones become null, others are widened as [`convert`](super::convert()) does.
///
/// # Errors
/// When a type in `after` is not wider than that in `before`.
pub fn reshape(
    batch: &RecordBatch,
    before: &[Field],
    after: &[Field],
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let (rows, mut none) = (batch.num_rows(), Nulls::default());
    let arrays: Result<Vec<ArrayRef>, ArrowError> = after
        .iter()
        .map(|field| match before.iter().position(|old| old.name == field.name) {
            Some(index) => convert_sharing(batch.column(index), &before[index].ty, &field.ty, &mut none),
            None => none.array(&data_type(&field.ty), rows),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays?, &options)
}

/// An array of strings made by `write`, which is not called for nulls.
pub(super) fn string_array(
    rows: usize,
    is_null: impl Fn(usize) -> bool,
    write: impl Fn(usize, &mut StringBuilder) -> std::fmt::Result,
) -> Result<ArrayRef, ArrowError> {
    let mut builder = StringBuilder::with_capacity(rows, rows * 8);
    for row in 0..rows {
        if is_null(row) {
            builder.append_null();
        } else {
            write(row, &mut builder).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
            builder.append_value("");
        }
    }
    Ok(Arc::new(builder.finish()))
}
