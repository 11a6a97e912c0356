//! Maps: <https://trino.io/docs/current/functions/map.html>.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, MapArray, StructArray, UInt64Array, make_comparator};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;

use super::function::{Arg, Gives, Takes, failed, function, same_as_first, wrong};
use super::types::map_of;

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![
        function("map_concat", Takes::By(maps), Gives::By(same_as_first), |args, _| map_concat(args)),
        function("map_from_entries", Takes::These(&[Arg::List], 1), Gives::By(map_of_entries), from_entries),
    ]
}

/// Maps of one type.
fn maps(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [first @ DataType::Map(..), others @ ..]
            if others.iter().all(|other| matches!(other, DataType::Map(..)) || other.is_null()) =>
        {
            Ok(vec![first.clone(); types.len()])
        }
        _ => Err(wrong("map_concat takes maps")),
    }
}

fn map_of_entries(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    match types.first() {
        Some(DataType::List(item)) => match item.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                Ok(map_of(fields[0].data_type().clone(), fields[1].data_type().clone()))
            }
            _ => Err(wrong("map_from_entries takes an array of rows of a key and a value")),
        },
        _ => Err(wrong("map_from_entries takes an array of rows of a key and a value")),
    }
}

/// All entries, of a key that several have the last.
fn map_concat(args: &[ArrayRef]) -> Result<ArrayRef> {
    let maps: Vec<&MapArray> = args.iter().map(arrow::array::AsArray::as_map).collect();
    let keys: Vec<&dyn Array> = maps.iter().map(|map| map.keys().as_ref()).collect();
    let values: Vec<&dyn Array> = maps.iter().map(|map| map.values().as_ref()).collect();
    let (keys, values) = (concat(&keys)?, concat(&values)?);
    let compare = make_comparator(keys.as_ref(), keys.as_ref(), SortOptions::default())?;
    let rows = args.first().map_or(0, arrow::array::Array::len);
    let (mut places, mut lengths, mut is_valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        is_valid.push(maps.iter().all(|map| !map.is_null(row)));
        let mut found: Vec<usize> = Vec::new();
        let mut base = 0;
        for map in &maps {
            if is_valid[row] {
                for place in map.offsets()[row] as usize..map.offsets()[row + 1] as usize {
                    match found.iter_mut().find(|other| compare(**other, base + place).is_eq()) {
                        Some(other) => *other = base + place,
                        None => found.push(base + place),
                    }
                }
            }
            base += map.entries().len();
        }
        lengths.push(found.len());
        places.extend(found.into_iter().map(|place| place as u64));
    }
    let places = UInt64Array::from(places);
    let columns = vec![take(&keys, &places, None)?, take(&values, &places, None)?];
    new_map(args[0].data_type(), columns, lengths, Some(NullBuffer::from(is_valid)))
}

fn from_entries(args: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let list = args[0].as_list::<i32>();
    let places: UInt64Array = (0..list.len())
        .filter(|row| !list.is_null(*row))
        .flat_map(|row| list.offsets()[row] as u64..list.offsets()[row + 1] as u64)
        .collect();
    let lengths =
        (0..list.len()).map(|row| if list.is_null(row) { 0 } else { list.value_length(row) as usize }).collect();
    let pairs = take(list.values(), &places, None)?;
    let pairs = pairs.as_struct();
    if pairs.null_count() > 0 || pairs.column(0).null_count() > 0 {
        return Err(failed("the key of a map must not be null"));
    }
    new_map(data_type, pairs.columns().to_vec(), lengths, list.nulls().cloned())
}

fn new_map(
    data_type: &DataType,
    columns: Vec<ArrayRef>,
    lengths: Vec<usize>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let DataType::Map(entries, is_sorted) = data_type else { return Err(failed("no map")) };
    let DataType::Struct(fields) = entries.data_type() else { return Err(failed("no map")) };
    let pairs = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), OffsetBuffer::from_lengths(lengths), pairs, nulls, *is_sorted)?))
}
