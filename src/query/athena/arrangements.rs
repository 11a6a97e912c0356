//! Arrays of rows and of arrays that are made of the elements of others:
//! <https://trino.io/docs/current/functions/array.html>.

use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, ListArray, StringArray, StructArray, UInt64Array, make_comparator,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;

use super::arrays::{as_list, item_type, two_lists};
use super::casts::text_of;
use super::function::{Arg, Gives, Takes, by_row, failed, function, texts, wrong};
use super::types::list_of;

/// As in Trino.
const MAX_COMBINATION: i64 = 5;
const MAX_COMBINATIONS: usize = 100_000;
/// What is made of one batch of rows has so many elements at most.
const MAX_ELEMENTS: usize = 10_000_000;

pub(super) fn functions() -> Vec<ScalarUDF> {
    const LIST_AND_NUMBER: Takes = Takes::These(&[Arg::List, Arg::Int], 2);
    vec![
        function("zip", Takes::By(lists), Gives::By(list_of_rows), zip),
        function("combinations", LIST_AND_NUMBER, Gives::By(list_of_lists), |args, data_type| {
            arrange(args, data_type, |length, size| {
                let size = usize::try_from(size).ok().filter(|_| size <= MAX_COMBINATION);
                let size =
                    size.ok_or_else(|| failed(format!("combinations are of 0 to {MAX_COMBINATION} elements")))?;
                combinations(length, size)
            })
        }),
        function("ngrams", LIST_AND_NUMBER, Gives::By(list_of_lists), |args, data_type| {
            arrange(args, data_type, |length, size| {
                let size = usize::try_from(size).ok().filter(|size| *size > 0);
                let size = size.ok_or_else(|| failed("ngrams are of one element at least"))?.min(length);
                if (length - size + 1) * size > MAX_ELEMENTS {
                    return Err(failed(format!("ngrams have more than {MAX_ELEMENTS} elements")));
                }
                Ok((0..=length - size).map(|first| (first..first + size).collect()).collect())
            })
        }),
        function("array_join", Takes::By(joined), Gives::This(DataType::Utf8), |args, _| array_join(args)),
        function("contains_sequence", Takes::By(two_lists), Gives::This(DataType::Boolean), |args, _| {
            contains_sequence(args)
        }),
    ]
}

/// An array, what stands between its elements, and what stands for nulls.
fn joined(types: &[DataType]) -> Result<Vec<DataType>> {
    let takes = || wrong("array_join takes an array, what stands between its elements, and what stands for nulls");
    let [list, rest @ ..] = types else { return Err(takes()) };
    match (as_list(list), rest.len()) {
        (Some(list), 1 | 2) => Ok([vec![list], vec![DataType::Utf8; rest.len()]].concat()),
        _ => Err(takes()),
    }
}

/// The elements as casts to varchar give them; nulls are left out, unless something stands for them.
fn array_join(args: &[ArrayRef]) -> Result<ArrayRef> {
    let list = args[0].as_list::<i32>();
    let elements = text_of(list.values())?;
    let (elements, between) = (texts(&elements), texts(&args[1]));
    let null = args.get(2).map(texts);
    let out: StringArray = by_row(args, |row| {
        let entries = list.offsets()[row] as usize..list.offsets()[row + 1] as usize;
        let words = entries.filter_map(|entry| match elements.is_null(entry) {
            true => null.map(|null| null.value(row)),
            false => Some(elements.value(entry)),
        });
        Ok(Some(words.collect::<Vec<_>>().join(between.value(row))))
    })?;
    Ok(Arc::new(out))
}

fn lists(types: &[DataType]) -> Result<Vec<DataType>> {
    let takes = || wrong("zip takes 2 to 5 arrays");
    if !(2..=5).contains(&types.len()) {
        return Err(takes());
    }
    types.iter().map(|list| as_list(list).ok_or_else(takes)).collect()
}

fn list_of_rows(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    let field = |(index, list)| Some(Field::new(format!("c{index}"), item_type(list)?, true));
    let fields: Option<Fields> = types.iter().enumerate().map(field).collect();
    Ok(list_of(DataType::Struct(fields.ok_or_else(|| wrong("zip takes arrays"))?)))
}

fn list_of_lists(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    let item = types.first().and_then(item_type).ok_or_else(|| wrong("an array is taken"))?;
    Ok(list_of(list_of(item)))
}

/// The elements of the rows of a list array; none where it is null.
fn elements(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    if list.is_null(row) { 0..0 } else { list.offsets()[row] as usize..list.offsets()[row + 1] as usize }
}

fn item_of(list: &DataType) -> Result<&Arc<Field>> {
    match list {
        DataType::List(item) => Ok(item),
        _ => Err(failed("no list")),
    }
}

/// Rows of the elements at one place, as long as the longest array: null where there is none.
fn zip(args: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let lists: Vec<&ListArray> = args.iter().map(arrow::array::AsArray::as_list).collect();
    let nulls = lists.iter().fold(None, |nulls, list| NullBuffer::union(nulls.as_ref(), list.nulls()));
    let rows = nulls.as_ref().map_or_else(|| args[0].len(), NullBuffer::len);
    let length = |row: usize| {
        let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        lists.iter().map(|list| if is_null { 0 } else { elements(list, row).len() }).max().unwrap_or(0)
    };
    let lengths: Vec<usize> = (0..rows).map(length).collect();
    let item = item_of(data_type)?;
    let DataType::Struct(fields) = item.data_type() else { return Err(failed("no rows")) };
    let column = |list: &&ListArray| {
        let places = (0..rows).flat_map(|row| {
            let own = elements(list, row);
            (0..lengths[row]).map(move |place| (place < own.len()).then_some((own.start + place) as u64))
        });
        take(list.values(), &places.collect::<UInt64Array>(), None)
    };
    let columns = lists.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let values = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::new(values), nulls)?))
}

/// Arrays of the elements at the places that `places` gives for the length of an array and the second argument.
fn arrange(
    args: &[ArrayRef],
    data_type: &DataType,
    places: impl Fn(usize, i64) -> Result<Vec<Vec<usize>>>,
) -> Result<ArrayRef> {
    let (list, sizes) = (args[0].as_list::<i32>(), args[1].as_primitive::<Int64Type>());
    let nulls = NullBuffer::union(list.nulls(), sizes.nulls());
    let (mut taken, mut inner_lengths, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..list.len() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            lengths.push(0);
            continue;
        }
        let own = elements(list, row);
        let arrays = places(own.len(), sizes.value(row))?;
        lengths.push(arrays.len());
        for array in arrays {
            inner_lengths.push(array.len());
            taken.extend(array.into_iter().map(|place| (own.start + place) as u64));
        }
        if taken.len() > MAX_ELEMENTS {
            return Err(failed(format!("the arrays of some thousand rows have more than {MAX_ELEMENTS} elements")));
        }
    }
    let values = take(list.values(), &UInt64Array::from(taken), None)?;
    let outer = item_of(data_type)?;
    let item = Arc::clone(item_of(outer.data_type())?);
    let inner = ListArray::try_new(item, OffsetBuffer::from_lengths(inner_lengths), values, None)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(outer), OffsetBuffer::from_lengths(lengths), Arc::new(inner), nulls)?))
}

/// All sets of so many places, those of the first elements first, in the order in which Trino gives them: the last element of a
/// set changes last.
fn combinations(length: usize, size: usize) -> Result<Vec<Vec<usize>>> {
    if size > length {
        return Ok(Vec::new());
    }
    let mut all = vec![(0..size).collect::<Vec<usize>>()];
    loop {
        let mut next: Vec<usize> = all.last().cloned().unwrap_or_default();
        let limit = |place: usize| next.get(place + 1).copied().unwrap_or(length);
        let Some(place) = (0..size).find(|place| next[*place] + 1 < limit(*place)) else { return Ok(all) };
        next[place] += 1;
        (0..place).for_each(|before| next[before] = before);
        all.push(next);
        if all.len() > MAX_COMBINATIONS {
            return Err(failed(format!("there are more than {MAX_COMBINATIONS} combinations")));
        }
    }
}

/// Whether the second array stands in the first.
fn contains_sequence(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (list, sought) = (args[0].as_list::<i32>(), args[1].as_list::<i32>());
    let compare = make_comparator(list.values(), sought.values(), SortOptions::default())?;
    let out: BooleanArray = by_row(args, |row| {
        let (own, sought) = (elements(list, row), elements(sought, row));
        let begins_at =
            |first: usize| sought.clone().enumerate().all(|(place, other)| compare(first + place, other).is_eq());
        let last = own.len().checked_sub(sought.len());
        Ok(Some(last.is_some_and(|last| (own.start..=own.start + last).any(begins_at))))
    })?;
    Ok(Arc::new(out))
}
