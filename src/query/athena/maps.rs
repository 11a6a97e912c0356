//! Maps: <https://trino.io/docs/current/functions/map.html>.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{
    Array, ArrayRef, AsArray as _, Int64Array, ListArray, MapArray, StringArray, StructArray, UInt64Array,
    make_comparator,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::DataType;
use arrow::row::{Row, RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;

use super::function::{Arg, Gives, Takes, failed, function, same_as_first, texts, wrong};
use super::strings::split_entries;
use super::types::{list_of, map_of};

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![
        function("map_concat", Takes::By(maps), Gives::By(same_as_first), |args, _| map_concat(args)),
        function("map_from_entries", Takes::These(&[Arg::List], 1), Gives::By(map_of_entries), from_entries),
        function("multimap_from_entries", Takes::These(&[Arg::List], 1), Gives::By(multimap_of_entries), |args, to| {
            let list = args[0].as_list::<i32>();
            let pairs = entries_of(list)?;
            multimap(pairs.column(0), pairs.column(1), &lengths_of(list), list.nulls().cloned(), to)
        }),
        function("split_to_multimap", THREE_TEXTS, Gives::This(texts_by_text()), split_to_multimap),
        function("array_histogram", Takes::These(&[Arg::List], 1), Gives::By(counts_by_element), array_histogram),
        function(MOST_FREQUENT, Takes::By(counts), Gives::By(same_as_first), most_frequent),
    ]
}

/// The entries of a histogram with the highest counts.
pub(super) const MOST_FREQUENT: &str = "__most_frequent";

const THREE_TEXTS: Takes = Takes::These(&[Arg::Text, Arg::Text, Arg::Text], 3);

fn texts_by_text() -> DataType {
    map_of(DataType::Utf8, list_of(DataType::Utf8))
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

/// The types of keys and values of an array of entries.
fn entry_types(types: &[DataType]) -> Result<(DataType, DataType)> {
    if let Some(DataType::List(item)) = types.first()
        && let DataType::Struct(fields) = item.data_type()
        && let [key, value] = &fields[..]
    {
        return Ok((key.data_type().clone(), value.data_type().clone()));
    }
    Err(wrong("an array of rows of a key and a value is taken"))
}

fn map_of_entries(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    entry_types(types).map(|(key, value)| map_of(key, value))
}

fn multimap_of_entries(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    entry_types(types).map(|(key, value)| map_of(key, list_of(value)))
}

fn counts_by_element(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    match types {
        [DataType::List(item)] => Ok(map_of(item.data_type().clone(), DataType::Int64)),
        _ => Err(wrong("array_histogram takes an array")),
    }
}

/// A map of counts, and how many of its entries are wanted.
fn counts(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [map @ DataType::Map(..), number] if number.is_integer() => Ok(vec![map.clone(), DataType::Int64]),
        _ => Err(wrong("approx_most_frequent takes how many values are wanted, values, and a capacity")),
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

/// The lengths of lists; those of nulls are 0.
fn lengths_of(list: &ListArray) -> Vec<usize> {
    (0..list.len()).map(|row| if list.is_null(row) { 0 } else { list.value_length(row) as usize }).collect()
}

/// The elements of all lists that are not null, which are entries with a key.
fn entries_of(list: &ListArray) -> Result<StructArray> {
    let pairs = elements_of(list)?;
    let pairs = pairs.as_struct();
    if pairs.null_count() > 0 || pairs.column(0).null_count() > 0 {
        return Err(failed("the key of a map must not be null"));
    }
    Ok(pairs.clone())
}

fn elements_of(list: &ListArray) -> Result<ArrayRef> {
    let places: UInt64Array = (0..list.len())
        .filter(|row| !list.is_null(*row))
        .flat_map(|row| list.offsets()[row] as u64..list.offsets()[row + 1] as u64)
        .collect();
    Ok(take(list.values(), &places, None)?)
}

fn from_entries(args: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let list = args[0].as_list::<i32>();
    let (pairs, lengths) = (entries_of(list)?, lengths_of(list));
    let distinct: usize = Distinct::of(pairs.column(0), &lengths)?.lengths.iter().sum();
    if distinct < pairs.len() {
        return Err(failed("the keys of a map must be distinct"));
    }
    new_map(data_type, pairs.columns().to_vec(), lengths, list.nulls().cloned())
}

/// The distinct values of each row.
struct Distinct {
    /// Where each is first found, row after row.
    first: Vec<u64>,
    /// How many each row has.
    lengths: Vec<usize>,
    /// The places of all that are the same, in the order of `first`.
    same: Vec<Vec<u64>>,
}

impl Distinct {
    /// Those of values of which the rows have so many, one row after another.
    fn of(values: &ArrayRef, lengths: &[usize]) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())])?;
        let rows = converter.convert_columns(&[Arc::clone(values)])?;
        let mut distinct = Self { first: Vec::new(), lengths: Vec::new(), same: Vec::new() };
        let mut begin = 0;
        for length in lengths {
            let mut found: HashMap<Row<'_>, usize> = HashMap::new();
            let before = distinct.first.len();
            for place in begin..begin + length {
                let index = *found.entry(rows.row(place)).or_insert_with(|| {
                    distinct.first.push(place as u64);
                    distinct.same.push(Vec::new());
                    distinct.first.len() - 1
                });
                distinct.same[index].push(place as u64);
            }
            distinct.lengths.push(distinct.first.len() - before);
            begin += length;
        }
        Ok(distinct)
    }
}

/// Maps of each key to all of its values, of entries of which the rows have so many.
fn multimap(
    keys: &ArrayRef,
    values: &ArrayRef,
    lengths: &[usize],
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let Distinct { first, lengths, same } = Distinct::of(keys, lengths)?;
    let DataType::List(item) = list_of(values.data_type().clone()) else { return Err(failed("no list")) };
    let offsets = OffsetBuffer::from_lengths(same.iter().map(Vec::len));
    let values = take(values, &UInt64Array::from(same.concat()), None)?;
    let lists = ListArray::try_new(item, offsets, values, None)?;
    let keys = take(keys, &UInt64Array::from(first), None)?;
    new_map(data_type, vec![keys, Arc::new(lists)], lengths, nulls)
}

fn split_to_multimap(args: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let [values, between, within] = [&args[0], &args[1], &args[2]].map(texts);
    let (mut keys, mut parts, mut lengths, mut is_valid) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in 0..values.len() {
        is_valid.push(args.iter().all(|arg| arg.is_valid(row)));
        let before = keys.len();
        if is_valid[row] {
            for entry in split_entries(values.value(row), between.value(row), within.value(row), "split_to_multimap") {
                let (key, part) = entry?;
                keys.push(key);
                parts.push(part);
            }
        }
        lengths.push(keys.len() - before);
    }
    let [keys, parts] = [keys, parts].map(|all| Arc::new(StringArray::from(all)) as ArrayRef);
    multimap(&keys, &parts, &lengths, Some(is_valid.into()), data_type)
}

/// How often each element is there; nulls are not counted.
fn array_histogram(args: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let list = args[0].as_list::<i32>();
    let elements = elements_of(list)?;
    let mut distinct = Distinct::of(&elements, &lengths_of(list))?;
    let (mut first, mut counts) = (Vec::new(), Vec::new());
    let mut index = 0;
    for length in &mut distinct.lengths {
        for _ in 0..*length {
            let place = distinct.first[index];
            if elements.is_null(place as usize) {
                *length -= 1;
            } else {
                first.push(place);
                counts.push(distinct.same[index].len() as i64);
            }
            index += 1;
        }
    }
    let keys = take(&elements, &UInt64Array::from(first), None)?;
    let counts: ArrayRef = Arc::new(Int64Array::from(counts));
    new_map(data_type, vec![keys, counts], distinct.lengths, list.nulls().cloned())
}

/// The entries of a histogram with the highest counts, these first.
fn most_frequent(args: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let (maps, wanted) = (args[0].as_map(), args[1].as_primitive::<Int64Type>());
    let counts = maps.values().as_primitive::<Int64Type>();
    let (mut places, mut lengths) = (Vec::new(), Vec::new());
    let nulls = NullBuffer::union(maps.nulls(), wanted.nulls());
    for row in 0..maps.len() {
        let mut entries = Vec::new();
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            let wanted = usize::try_from(wanted.value(row)).ok().filter(|wanted| *wanted > 0);
            let wanted = wanted.ok_or_else(|| failed("approx_most_frequent gives one value at least"))?;
            entries.extend(maps.offsets()[row] as u64..maps.offsets()[row + 1] as u64);
            entries.sort_by_key(|place| Reverse(counts.value(*place as usize)));
            entries.truncate(wanted);
        }
        lengths.push(entries.len());
        places.extend(entries);
    }
    let places = UInt64Array::from(places);
    let columns = vec![take(maps.keys(), &places, None)?, take(maps.values(), &places, None)?];
    new_map(data_type, columns, lengths, nulls)
}

/// Maps of columns of keys and values, of which the rows have so many.
pub(super) fn new_map(
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
