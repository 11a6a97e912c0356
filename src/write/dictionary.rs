//! Which columns a dictionary pays for, by the rows that a file begins with.
//!
//! A dictionary of values that seldom repeat costs a hash of every value, is dropped when its page is full, and leaves a
//! larger file. So a column gets none when most of its first values are distinct.

use std::hash::Hash;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use hashbrown::HashSet;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::schema::types::ColumnPath;

use crate::schema::{Field, Type};

/// So many values are looked at in each column.
pub(super) const SAMPLED_VALUES: usize = 10_000;
/// With fewer values, a dictionary is small whatever they are.
const MIN_VALUES: usize = 500;
/// A dictionary pays when at most this share of the values is distinct.
const MAX_DISTINCT: f64 = 0.5;

/// `properties` without a dictionary for the columns of `batches` whose values are mostly distinct.
pub(super) fn fit_dictionaries(
    properties: &WriterPropertiesPtr,
    batches: &[RecordBatch],
    fields: &[Field],
) -> WriterPropertiesPtr {
    let mut builder = properties.as_ref().clone().into_builder();
    for (index, field) in fields.iter().enumerate() {
        let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(index)).collect();
        visit(&arrays, &field.ty, &mut vec![field.name.clone()], &mut |path| {
            builder = std::mem::take(&mut builder).set_column_dictionary_enabled(ColumnPath::new(path.to_vec()), false);
        });
    }
    builder.build().into()
}

/// Calls `distinct` with the Parquet path of every leaf whose values are mostly distinct.
fn visit(arrays: &[&ArrayRef], ty: &Type, path: &mut Vec<String>, distinct: &mut impl FnMut(&[String])) {
    let mut below = |names: &[&str], arrays: &[&ArrayRef], ty: &Type, path: &mut Vec<String>| {
        path.extend(names.iter().map(|name| (*name).to_owned()));
        visit(arrays, ty, path, distinct);
        path.truncate(path.len() - names.len());
    };
    match ty {
        Type::Struct(fields) => {
            for (index, field) in fields.iter().enumerate() {
                let parts: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_struct().column(index)).collect();
                below(&[&field.name], &parts, &field.ty, path);
            }
        }
        Type::List(element) => {
            let elements: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_list::<i32>().values()).collect();
            below(&["list", "element"], &elements, element, path);
        }
        Type::Map(value) => {
            let keys: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_map().keys()).collect();
            let values: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_map().values()).collect();
            below(&["key_value", "key"], &keys, &Type::Text, path);
            below(&["key_value", "value"], &values, value, path);
        }
        scalar => {
            if mostly_distinct(arrays, scalar) {
                distinct(path);
            }
        }
    }
}

fn mostly_distinct(arrays: &[&ArrayRef], ty: &Type) -> bool {
    match ty {
        Type::Int64 => exceeds(arrays.iter().flat_map(|array| array.as_primitive::<Int64Type>().iter())),
        Type::Timestamp { .. } => {
            exceeds(arrays.iter().flat_map(|array| array.as_primitive::<TimestampMicrosecondType>().iter()))
        }
        Type::Date => exceeds(arrays.iter().flat_map(|array| array.as_primitive::<Date32Type>().iter())),
        Type::Decimal { .. } => exceeds(arrays.iter().flat_map(|array| array.as_primitive::<Decimal128Type>().iter())),
        Type::Double => exceeds(
            arrays.iter().flat_map(|array| array.as_primitive::<Float64Type>().iter()).map(|v| v.map(f64::to_bits)),
        ),
        Type::Text | Type::Json => exceeds(arrays.iter().flat_map(|array| array.as_string::<i32>().iter())),
        Type::Bool | Type::Struct(_) | Type::List(_) | Type::Map(_) => false,
    }
}

fn exceeds<T: Hash + Eq>(values: impl Iterator<Item = Option<T>>) -> bool {
    let mut seen = HashSet::new();
    let mut count = 0;
    for value in values.flatten().take(SAMPLED_VALUES) {
        seen.insert(value);
        count += 1;
    }
    count >= MIN_VALUES && seen.len() as f64 > MAX_DISTINCT * count as f64
}
