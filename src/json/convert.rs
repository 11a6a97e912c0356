//! Widening stored values: what a promotion does to a column whose raw text is no longer at hand.
//!
//! | from | to | value |
//! |---|---|---|
//! | bigint | decimal, double | the same number |
//! | bigint, decimal, boolean | string, JSON text | its digits, `true`, `false` |
//! | date | string | `YYYY-MM-DD` |
//! | double | string, JSON text | the shortest text that reads as the same double |
//! | timestamp | string | RFC 3339 in UTC |
//! | string | JSON text | the string between quotes |
//! | struct | map | its fields that are not null, under their original keys |
//! | struct, list, map | JSON text | the JSON text of its values, keys in their original spelling |
//!
//! Of these, the last five rows may differ from the raw text; [`Type::widens_losslessly_to`] excludes them.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, ListArray, MapArray, StringBuilder, StructArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;

use super::finish::string_array;
use super::nulls::Nulls;
use super::scalar::{format_date, format_decimal, format_timestamp};
use super::write::write_json;
use crate::schema::{Field, Type, arrow_fields, data_type, element_field, entries_field};

/// Gives an array of type `from` as type `to`.
///
/// # Errors
/// When `to` is not wider than `from`.
pub fn convert(array: &ArrayRef, from: &Type, to: &Type) -> Result<ArrayRef, ArrowError> {
    convert_sharing(array, from, to, &mut Nulls::default())
}

/// [`convert`], with arrays of nulls out of `none`.
pub(super) fn convert_sharing(
    array: &ArrayRef,
    from: &Type,
    to: &Type,
    none: &mut Nulls,
) -> Result<ArrayRef, ArrowError> {
    let rows = array.len();
    let is_null = |row: usize| array.is_null(row);
    match (from, to) {
        (Type::Timestamp { .. }, Type::Timestamp { .. }) => Ok(Arc::clone(array)),
        (from, to) if from == to => Ok(Arc::clone(array)),
        _ if array.null_count() == rows => none.array(&data_type(to), rows),
        (Type::Int64, Type::Double) => {
            let values = array.as_primitive::<Int64Type>();
            Ok(Arc::new(Float64Array::from_unary(values, |value| value as f64)))
        }
        (Type::Int64, Type::Decimal { precision, scale }) if from.widens_losslessly_to(to) => {
            let values = array.as_primitive::<Int64Type>();
            let unit = 10_i128.pow(u32::from(*scale));
            let wide: Decimal128Array = values.unary(|value| i128::from(value) * unit);
            Ok(Arc::new(wide.with_precision_and_scale(*precision, *scale as i8)?))
        }
        (Type::Int64, Type::Text | Type::Json) => {
            let values = array.as_primitive::<Int64Type>();
            string_array(rows, is_null, |row, out| write!(out, "{}", values.value(row)))
        }
        (Type::Decimal { scale, .. }, Type::Text | Type::Json) => {
            let values = array.as_primitive::<Decimal128Type>();
            string_array(rows, is_null, |row, out| out.write_str(&format_decimal(values.value(row), *scale)))
        }
        (Type::Bool, Type::Text | Type::Json) => {
            let values = array.as_boolean();
            string_array(rows, is_null, |row, out| write!(out, "{}", values.value(row)))
        }
        (Type::Date, Type::Text) => {
            let values = array.as_primitive::<Date32Type>();
            string_array(rows, is_null, |row, out| write!(out, "{}", format_date(values.value(row))))
        }
        (Type::Double, Type::Text) => {
            let values = array.as_primitive::<Float64Type>();
            string_array(rows, is_null, |row, out| write!(out, "{:?}", values.value(row)))
        }
        (Type::Timestamp { naive }, Type::Text) => {
            let values = array.as_primitive::<TimestampMicrosecondType>();
            string_array(rows, is_null, |row, out| out.write_str(&format_timestamp(values.value(row), *naive)))
        }
        (from, Type::Json) => string_array(rows, is_null, |row, out| {
            let mut text = Vec::new();
            write_json(array, from, row, &mut text);
            out.write_str(&String::from_utf8_lossy(&text))
        }),
        (Type::Struct(before), Type::Struct(after)) => {
            let parts = array.as_struct();
            let children: Result<Vec<ArrayRef>, ArrowError> = after
                .iter()
                .map(|field| match before.iter().position(|old| old.name == field.name) {
                    Some(index) => convert_sharing(parts.column(index), &before[index].ty, &field.ty, none),
                    None => none.array(&data_type(&field.ty), rows),
                })
                .collect();
            let array = StructArray::try_new_with_length(arrow_fields(after), children?, parts.nulls().cloned(), rows)?;
            Ok(Arc::new(array))
        }
        (Type::Struct(before), Type::Map(after)) => struct_to_map(array, before, after),
        (Type::List(before), Type::List(after)) => {
            let list = array.as_list::<i32>();
            let values = convert_sharing(list.values(), before, after, none)?;
            let array =
                ListArray::try_new(element_field(after), list.offsets().clone(), values, list.nulls().cloned())?;
            Ok(Arc::new(array))
        }
        (Type::Map(before), Type::Map(after)) => {
            let map = array.as_map();
            let entries = entries_field(after);
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(ArrowError::SchemaError("map entries are a struct".to_owned()));
            };
            let values = convert_sharing(map.values(), before, after, none)?;
            let pairs = StructArray::try_new(fields.clone(), vec![Arc::clone(map.keys()), values], None)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(Arc::new(entries), offsets, pairs, nulls, false)?))
        }
        (from, to) => Err(ArrowError::CastError(format!("a column of type {from:?} does not widen to {to:?}"))),
    }
}

/// The rows of a struct as map entries.
fn struct_to_map(array: &ArrayRef, before: &[Field], after: &Type) -> Result<ArrayRef, ArrowError> {
    let parts = array.as_struct();
    let values: Vec<ArrayRef> = before
        .iter()
        .zip(parts.columns())
        .map(|(field, column)| convert(column, &field.ty, after))
        .collect::<Result<_, _>>()?;
    let mut keys = StringBuilder::new();
    let mut picked = Vec::new();
    let mut offsets = vec![0_i32];
    for row in 0..array.len() {
        for (index, (field, column)) in before.iter().zip(&values).enumerate() {
            if array.is_valid(row) && column.is_valid(row) {
                keys.append_value(field.keys.first().unwrap_or(&field.name));
                picked.push((index, row));
            }
        }
        offsets.push(picked.len() as i32);
    }
    let value_arrays: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    let entries = entries_field(after);
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ArrowError::SchemaError("map entries are a struct".to_owned()));
    };
    let columns: Vec<ArrayRef> = vec![Arc::new(keys.finish()), interleave(&value_arrays, &picked)?];
    let pairs = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(MapArray::try_new(Arc::new(entries), offsets, pairs, parts.nulls().cloned(), false)?))
}
