//! Arrays: <https://trino.io/docs/current/functions/array.html>.

use std::sync::Arc;

use arrow::array::types::{Date32Type, Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType};
use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, Date32Array, Int64Array, ListArray, TimestampMicrosecondArray,
    UInt64Array, make_comparator,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use chrono::{DateTime, Days, Months, NaiveDateTime, TimeDelta};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::addresses::is_in_network;
use super::function::{Arg, Gives, Takes, by_row, failed, function, same_as_first, wrong};
use super::types::{list_of, type_name};

/// How many elements a sequence may have, as in Trino.
const MAX_SEQUENCE: i64 = 10_000;

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![
        function("cardinality", Takes::By(array_or_map), Gives::This(DataType::Int64), |args, _| cardinality(&args[0])),
        element_at(),
        function("contains", Takes::By(list_or_network), Gives::This(DataType::Boolean), |args, data_type| {
            if args[0].data_type().is_string() { is_in_network(args) } else { contains(args, data_type) }
        }),
        function("array_position", Takes::By(list_and_element), Gives::This(DataType::Int64), array_position),
        function("array_max", Takes::These(&[Arg::List], 1), Gives::By(element_type), |args, _| {
            extreme(&args[0], true)
        }),
        function("array_min", Takes::These(&[Arg::List], 1), Gives::By(element_type), |args, _| {
            extreme(&args[0], false)
        }),
        function("array_sort", Takes::These(&[Arg::List], 1), Gives::By(same_as_first), |args, _| sort(&args[0])),
        function("arrays_overlap", Takes::By(two_lists), Gives::This(DataType::Boolean), |args, _| {
            arrays_overlap(args)
        }),
        function("slice", Takes::These(&[Arg::List, Arg::Int, Arg::Int], 3), Gives::By(same_as_first), slice),
        function("trim_array", Takes::These(&[Arg::List, Arg::Int], 2), Gives::By(same_as_first), trim_array),
        function("sequence", Takes::By(sequence_types), Gives::By(sequence_type), |args, _| sequence(args)),
        function("repeat", Takes::These(&[Arg::Any, Arg::Int], 2), Gives::By(list_of_first), repeat),
        function("reverse", Takes::By(text_or_list), Gives::By(same_as_first), |args, _| reverse(&args[0])),
        function("array_first", Takes::These(&[Arg::List], 1), Gives::By(element_type), |args, _| nth(&args[0], |_| 1)),
        function("array_last", Takes::These(&[Arg::List], 1), Gives::By(element_type), |args, _| nth(&args[0], |_| -1)),
        ordinals_function(),
    ]
}

fn ordinals_function() -> ScalarUDF {
    function("__ordinals", Takes::By(|types| Ok(types.to_vec())), Gives::This(list_of(DataType::Int64)), |args, _| {
        let lengths: Vec<Int64Array> =
            args.iter().map(|arg| Ok(cardinality(arg)?.as_primitive().clone())).collect::<Result<_>>()?;
        let longest = |row: usize| {
            lengths.iter().map(|lengths| if lengths.is_null(row) { 0 } else { lengths.value(row) }).max().unwrap_or(0)
        };
        let rows = args.first().map_or(0, arrow::array::Array::len);
        let values: Int64Array = (0..rows).flat_map(|row| 1..=longest(row)).collect();
        let offsets = OffsetBuffer::from_lengths((0..rows).map(|row| longest(row) as usize));
        list_array(Arc::new(values), offsets, None)
    })
}

/// The list from 1 to the length of the longest of the lists.
pub(super) fn ordinals(lists: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ordinals_function()), lists))
}

fn list_array(values: ArrayRef, offsets: OffsetBuffer<i32>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let DataType::List(item) = list_of(values.data_type().clone()) else { return Err(failed("no list")) };
    Ok(Arc::new(ListArray::try_new(item, offsets, values, nulls)?))
}

/// Takes elements of a list's values by index into lists.
fn take_lists(
    list: &ListArray,
    indices: Vec<Option<u64>>,
    lengths: Vec<usize>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let DataType::List(item) = list.data_type() else { return Err(failed("no list")) };
    let values = take(list.values(), &UInt64Array::from(indices), None)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), values, nulls)?))
}

/// The same list for lists of all kinds.
pub(super) fn as_list(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(DataType::List(Arc::clone(item)))
        }
        DataType::Null => Some(list_of(DataType::Null)),
        _ => None,
    }
}

pub(super) fn item_type(list: &DataType) -> Option<DataType> {
    match list {
        DataType::List(item) => Some(item.data_type().clone()),
        _ => None,
    }
}

fn array_or_map(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [map @ DataType::Map(..)] => Ok(vec![map.clone()]),
        [list] if as_list(list).is_some() => Ok(as_list(list).into_iter().collect()),
        _ => Err(wrong("cardinality takes an array or a map")),
    }
}

fn text_or_list(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text] if text.is_string() || text.is_null() => Ok(vec![DataType::Utf8]),
        [list] if as_list(list).is_some() => Ok(as_list(list).into_iter().collect()),
        _ => Err(wrong("reverse takes a text or an array")),
    }
}

fn reverse(values: &ArrayRef) -> Result<ArrayRef> {
    if let Some(texts) = values.as_string_opt::<i32>() {
        let reversed = texts.iter().map(|text| text.map(|text| text.chars().rev().collect::<String>()));
        return Ok(Arc::new(reversed.collect::<arrow::array::StringArray>()));
    }
    let list = values.as_list::<i32>();
    let rows = 0..list.len();
    let indices = rows.flat_map(|row| (list.offsets()[row] as u64..list.offsets()[row + 1] as u64).rev().map(Some));
    take_lists(list, indices.collect(), list.offsets().lengths().collect(), list.nulls().cloned())
}

fn container_and_key(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [map @ DataType::Map(entries, _), _] => match entries.data_type() {
            DataType::Struct(fields) => Ok(vec![map.clone(), fields[0].data_type().clone()]),
            _ => Err(wrong("element_at takes a map and a key")),
        },
        [list, index] if index.is_integer() || index.is_null() => match as_list(list) {
            Some(list) => Ok(vec![list, DataType::Int64]),
            None => Err(wrong("element_at takes an array and an index, or a map and a key")),
        },
        _ => Err(wrong("element_at takes an array and an index, or a map and a key")),
    }
}

fn element_type(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    match types.first() {
        Some(DataType::List(item)) => Ok(item.data_type().clone()),
        Some(DataType::Map(entries, _)) => match entries.data_type() {
            DataType::Struct(fields) => Ok(fields[1].data_type().clone()),
            _ => Err(wrong("a map without values")),
        },
        _ => Err(wrong("elements of what is no array or map")),
    }
}

fn list_of_first(types: &[DataType], values: &[Option<&ScalarValue>]) -> Result<DataType> {
    same_as_first(types, values).map(list_of)
}

/// A list and a value of the type of its elements.
fn list_and_element(types: &[DataType]) -> Result<Vec<DataType>> {
    let takes = || wrong("an array and a value that its elements can be compared with are taken");
    let [list, element] = types else { return Err(takes()) };
    let item = as_list(list).as_ref().and_then(item_type).ok_or_else(takes)?;
    let common = common(&item, element).ok_or_else(takes)?;
    Ok(vec![list_of(common.clone()), common])
}

pub(super) fn two_lists(types: &[DataType]) -> Result<Vec<DataType>> {
    let takes = || wrong("two arrays of elements that can be compared are taken");
    let [left, right] = types else { return Err(takes()) };
    let item = |list| as_list(list).as_ref().and_then(item_type).ok_or_else(takes);
    let common = list_of(common(&item(left)?, &item(right)?).ok_or_else(takes)?);
    Ok(vec![common.clone(), common])
}

fn common(left: &DataType, right: &DataType) -> Option<DataType> {
    match (left, right) {
        (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
        _ if left == right => Some(left.clone()),
        _ => comparison_coercion(left, right),
    }
}

pub(super) fn cardinality(arg: &ArrayRef) -> Result<ArrayRef> {
    let count = |offsets: &OffsetBuffer<i32>, nulls: Option<&NullBuffer>| {
        let lengths: Vec<i64> = offsets.lengths().map(|length| length as i64).collect();
        Arc::new(Int64Array::new(lengths.into(), nulls.cloned())) as ArrayRef
    };
    if let Some(list) = arg.as_list_opt::<i32>() {
        return Ok(count(list.offsets(), list.nulls()));
    }
    if let Some(map) = arg.as_map_opt() {
        return Ok(count(map.offsets(), map.nulls()));
    }
    if let Some(list) = arg.as_list_opt::<i64>() {
        let lengths: Vec<i64> = list.offsets().lengths().map(|length| length as i64).collect();
        return Ok(Arc::new(Int64Array::new(lengths.into(), list.nulls().cloned())));
    }
    if let Some(list) = arg.as_fixed_size_list_opt() {
        let lengths = vec![i64::from(list.value_length()); list.len()];
        return Ok(Arc::new(Int64Array::new(lengths.into(), list.nulls().cloned())));
    }
    Err(failed(format!("{} has no cardinality", type_name(arg.data_type()))))
}

/// The element of an array at a place, or the value of a key of a map; null if there is none.
pub(super) fn element_at() -> ScalarUDF {
    function("element_at", Takes::By(container_and_key), Gives::By(element_type), elements_at)
}

fn elements_at(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let Some(map) = args[0].as_map_opt() else {
        let indices = args[1].as_primitive::<Int64Type>();
        if indices.iter().flatten().any(|index| index == 0) {
            return Err(failed("arrays are indexed from 1"));
        }
        return nth(&args[0], |row| if indices.is_null(row) { 0 } else { indices.value(row) });
    };
    let keys = &args[1];
    let compare = make_comparator(map.keys().as_ref(), keys.as_ref(), SortOptions::default())?;
    let find = |row: usize| {
        let mut entries = map.offsets()[row] as usize..map.offsets()[row + 1] as usize;
        if map.is_null(row) || keys.is_null(row) { None } else { entries.find(|entry| compare(*entry, row).is_eq()) }
    };
    let found: UInt64Array = (0..map.len()).map(|row| find(row).map(|entry| entry as u64)).collect();
    Ok(take(map.values(), &found, None)?)
}

/// The element at an index from 1, or from the end; null where there is none.
fn nth(list: &ArrayRef, index: impl Fn(usize) -> i64) -> Result<ArrayRef> {
    let list = list.as_list::<i32>();
    let indices: UInt64Array = (0..list.len())
        .map(|row| {
            let (start, end) = (i64::from(list.offsets()[row]), i64::from(list.offsets()[row + 1]));
            let at = match index(row) {
                0 => return None,
                index if index > 0 => start.checked_add(index - 1)?,
                index => end.checked_add(index)?,
            };
            (!list.is_null(row) && (start..end).contains(&at)).then_some(at as u64)
        })
        .collect();
    Ok(take(list.values(), &indices, None)?)
}

/// An array and an element, or a network and an address.
fn list_or_network(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [network, address] if network.is_string() && (address.is_string() || address.is_null()) => {
            Ok(vec![DataType::Utf8; 2])
        }
        _ => list_and_element(types),
    }
}

/// True when found; else null when an element is.
fn contains(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let (list, sought) = (args[0].as_list::<i32>(), &args[1]);
    let compare = make_comparator(list.values().as_ref(), sought.as_ref(), SortOptions::default())?;
    let out: BooleanArray = by_row(args, |row| {
        let entries = list.offsets()[row] as usize..list.offsets()[row + 1] as usize;
        let mut has_null = false;
        for entry in entries {
            if list.values().is_null(entry) {
                has_null = true;
            } else if compare(entry, row).is_eq() {
                return Ok(Some(true));
            }
        }
        Ok((!has_null).then_some(false))
    })?;
    Ok(Arc::new(out))
}

fn array_position(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let (list, sought) = (args[0].as_list::<i32>(), &args[1]);
    let compare = make_comparator(list.values().as_ref(), sought.as_ref(), SortOptions::default())?;
    let out: Int64Array = by_row(args, |row| {
        let mut entries = list.offsets()[row] as usize..list.offsets()[row + 1] as usize;
        let found = entries.position(|entry| !list.values().is_null(entry) && compare(entry, row).is_eq());
        Ok(Some(found.map_or(0, |position| position as i64 + 1)))
    })?;
    Ok(Arc::new(out))
}

/// The largest or the smallest element; null when an element is.
fn extreme(list: &ArrayRef, is_max: bool) -> Result<ArrayRef> {
    let list = list.as_list::<i32>();
    let compare = make_comparator(list.values().as_ref(), list.values().as_ref(), SortOptions::default())?;
    let indices: UInt64Array = (0..list.len())
        .map(|row| {
            let mut entries = list.offsets()[row] as usize..list.offsets()[row + 1] as usize;
            if list.is_null(row) || entries.clone().any(|entry| list.values().is_null(entry)) {
                return None;
            }
            let first = entries.next()?;
            let best = entries.fold(first, |best, entry| {
                let order = compare(entry, best);
                if if is_max { order.is_gt() } else { order.is_lt() } { entry } else { best }
            });
            Some(best as u64)
        })
        .collect();
    Ok(take(list.values(), &indices, None)?)
}

/// Ascending, nulls last.
fn sort(list: &ArrayRef) -> Result<ArrayRef> {
    let list = list.as_list::<i32>();
    let options = SortOptions { descending: false, nulls_first: false };
    let compare = make_comparator(list.values().as_ref(), list.values().as_ref(), options)?;
    let mut indices = Vec::new();
    for row in 0..list.len() {
        let mut entries: Vec<usize> = (list.offsets()[row] as usize..list.offsets()[row + 1] as usize).collect();
        entries.sort_by(|left, right| compare(*left, *right));
        indices.extend(entries.into_iter().map(|entry| Some(entry as u64)));
    }
    take_lists(list, indices, list.offsets().lengths().collect(), list.nulls().cloned())
}

fn arrays_overlap(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right) = (args[0].as_list::<i32>(), args[1].as_list::<i32>());
    let compare = make_comparator(left.values().as_ref(), right.values().as_ref(), SortOptions::default())?;
    let out: BooleanArray = by_row(args, |row| {
        let range = |list: &ListArray| list.offsets()[row] as usize..list.offsets()[row + 1] as usize;
        let is_in_both = range(left).any(|entry| {
            let is_equal = |other| !right.values().is_null(other) && compare(entry, other).is_eq();
            !left.values().is_null(entry) && range(right).any(is_equal)
        });
        let has_null = || {
            range(left).any(|entry| left.values().is_null(entry))
                || range(right).any(|entry| right.values().is_null(entry))
        };
        Ok(if is_in_both { Some(true) } else { (!has_null()).then_some(false) })
    })?;
    Ok(Arc::new(out))
}

/// Takes a part of each list: given its length, from where to where.
fn part(args: &[ArrayRef], range: impl Fn(usize, i64) -> Result<(i64, i64)>) -> Result<ArrayRef> {
    let list = args[0].as_list::<i32>();
    let (mut indices, mut lengths, mut is_valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..list.len() {
        is_valid.push(args.iter().all(|arg| !arg.is_null(row)));
        if !is_valid[row] {
            lengths.push(0);
            continue;
        }
        let start = i64::from(list.offsets()[row]);
        let (from, to) = range(row, i64::from(list.value_length(row)))?;
        indices.extend((from..to).map(|index| u64::try_from(start + index).ok()));
        lengths.push(usize::try_from(to - from).unwrap_or(0));
    }
    take_lists(list, indices, lengths, Some(NullBuffer::from(is_valid)))
}

fn slice(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let (starts, lengths) = (args[1].as_primitive::<Int64Type>(), args[2].as_primitive::<Int64Type>());
    part(args, |row, length| {
        let (start, count) = (starts.value(row), lengths.value(row));
        if start == 0 {
            return Err(failed("arrays are indexed from 1"));
        }
        if count < 0 {
            return Err(failed("slice takes no negative length"));
        }
        let from = if start > 0 { start - 1 } else { start.saturating_add(length) };
        if !(0..length).contains(&from) {
            return Ok((0, 0));
        }
        Ok((from, from.saturating_add(count).min(length)))
    })
}

fn trim_array(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let counts = args[1].as_primitive::<Int64Type>();
    part(args, |row, length| match counts.value(row) {
        count if (0..=length).contains(&count) => Ok((0, length - count)),
        _ => Err(failed("trim_array takes no more elements than there are")),
    })
}

fn repeat(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let counts = args[1].as_primitive::<Int64Type>();
    let (mut indices, mut lengths) = (Vec::new(), Vec::new());
    for row in 0..counts.len() {
        let count = if counts.is_null(row) { 0 } else { counts.value(row) };
        if !(0..=MAX_SEQUENCE).contains(&count) {
            return Err(failed(format!("repeat makes 0 to {MAX_SEQUENCE} elements")));
        }
        lengths.push(count as usize);
        indices.extend((0..count).map(|_| row as u64));
    }
    let values = take(&args[0], &UInt64Array::from(indices), None)?;
    list_array(values, OffsetBuffer::from_lengths(lengths), counts.nulls().cloned())
}

fn sequence_types(types: &[DataType]) -> Result<Vec<DataType>> {
    let takes = || wrong("sequence takes two integers, dates or timestamps, and a step");
    let (start, stop) = match types {
        [start, stop] | [start, stop, _] => (start, stop),
        _ => return Err(takes()),
    };
    let is_integer = |data_type: &DataType| data_type.is_integer() || data_type.is_null();
    let (both, step) = match (start, stop) {
        (DataType::Date32, DataType::Date32) => (DataType::Date32, DataType::Interval(IntervalUnit::MonthDayNano)),
        (DataType::Timestamp(_, zone), DataType::Timestamp(..) | DataType::Date32) => {
            (DataType::Timestamp(TimeUnit::Microsecond, zone.clone()), DataType::Interval(IntervalUnit::MonthDayNano))
        }
        _ if is_integer(start) && is_integer(stop) => (DataType::Int64, DataType::Int64),
        _ => return Err(takes()),
    };
    if types.len() == 2 && matches!(both, DataType::Timestamp(..)) {
        return Err(takes());
    }
    Ok([both.clone(), both, step].into_iter().take(types.len()).collect())
}

fn sequence_type(types: &[DataType], values: &[Option<&ScalarValue>]) -> Result<DataType> {
    list_of_first(types, values)
}

fn sequence(args: &[ArrayRef]) -> Result<ArrayRef> {
    let rows = args[0].len();
    let is_valid: Vec<bool> = (0..rows).map(|row| args.iter().all(|arg| !arg.is_null(row))).collect();
    let mut lengths = Vec::with_capacity(rows);
    let mut out: Vec<i64> = Vec::new();
    for (row, is_valid) in is_valid.iter().enumerate() {
        let before = out.len();
        if *is_valid {
            sequence_of(args, row, &mut out)?;
        }
        lengths.push(out.len() - before);
    }
    let values: ArrayRef = match args[0].data_type() {
        DataType::Date32 => Arc::new(Date32Array::from_iter_values(out.into_iter().map(|day| day as i32))),
        DataType::Timestamp(_, zone) => Arc::new(TimestampMicrosecondArray::from(out).with_timezone_opt(zone.clone())),
        _ => Arc::new(Int64Array::from(out)),
    };
    list_array(values, OffsetBuffer::from_lengths(lengths), Some(NullBuffer::from(is_valid)))
}

fn sequence_of(args: &[ArrayRef], row: usize, out: &mut Vec<i64>) -> Result<()> {
    let too_long = || failed(format!("a sequence has at most {MAX_SEQUENCE} elements"));
    let no_step = || failed("the step of a sequence leads away from its end");
    let number = |arg: &ArrayRef| match arg.data_type() {
        DataType::Date32 => arg.as_primitive::<Date32Type>().value(row).into(),
        DataType::Timestamp(..) => arg.as_primitive::<TimestampMicrosecondType>().value(row),
        _ => arg.as_primitive::<Int64Type>().value(row),
    };
    let (start, stop) = (number(&args[0]), number(&args[1]));
    let interval = args.get(2).and_then(|step| step.as_primitive_opt::<IntervalMonthDayNanoType>());
    let Some(steps) = interval else {
        let step = match args.get(2) {
            Some(step) => step.as_primitive::<Int64Type>().value(row),
            None if start <= stop => 1,
            None => -1,
        };
        if step == 0 || (step > 0) != (start <= stop) && start != stop {
            return Err(no_step());
        }
        let count = (i128::from(stop) - i128::from(start)) / i128::from(step) + 1;
        if count > i128::from(MAX_SEQUENCE) {
            return Err(too_long());
        }
        out.extend((0..count as i64).map(|index| start + index * step));
        return Ok(());
    };
    let step = steps.value(row);
    let micros_of_unit = if *args[0].data_type() == DataType::Date32 { 86_400_000_000 } else { 1 };
    let first = DateTime::from_timestamp_micros(start * micros_of_unit).ok_or_else(too_long)?.naive_utc();
    let last = DateTime::from_timestamp_micros(stop * micros_of_unit).ok_or_else(too_long)?.naive_utc();
    let is_forward = (step.months, step.days, step.nanoseconds) > (0, 0, 0);
    if step.months == 0 && step.days == 0 && step.nanoseconds == 0 || is_forward != (first <= last) && first != last {
        return Err(no_step());
    }
    for index in 0.. {
        let next = add(first, step.months, step.days, step.nanoseconds, index).ok_or_else(too_long)?;
        if if is_forward { next > last } else { next < last } {
            break;
        }
        if index >= MAX_SEQUENCE {
            return Err(too_long());
        }
        out.push(next.and_utc().timestamp_micros() / micros_of_unit);
    }
    Ok(())
}

/// Adds an interval `times` times.
fn add(time: NaiveDateTime, months: i32, days: i32, nanos: i64, times: i64) -> Option<NaiveDateTime> {
    let months = i64::from(months).checked_mul(times)?;
    let size = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    let time = if months < 0 { time.checked_sub_months(size) } else { time.checked_add_months(size) }?;
    let days = i64::from(days).checked_mul(times)?;
    let size = Days::new(days.unsigned_abs());
    let time = if days < 0 { time.checked_sub_days(size) } else { time.checked_add_days(size) }?;
    time.checked_add_signed(TimeDelta::nanoseconds(nanos.checked_mul(times)?))
}

/// Lists one behind another, null where one is.
pub(super) fn concat_lists(args: &[ArrayRef]) -> Result<ArrayRef> {
    let lists: Vec<&ListArray> = args.iter().map(arrow::array::AsArray::as_list::<i32>).collect();
    let values: Vec<&dyn Array> = lists.iter().map(|list| list.values().as_ref()).collect();
    let all = concat(&values)?;
    let rows = args.first().map_or(0, arrow::array::Array::len);
    let (mut indices, mut lengths, mut is_valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        let before = indices.len();
        is_valid.push(lists.iter().all(|list| !list.is_null(row)));
        let mut base = 0;
        for list in &lists {
            if is_valid[row] {
                let (from, to) = (list.offsets()[row] as u64, list.offsets()[row + 1] as u64);
                indices.extend(base + from..base + to);
            }
            base += list.values().len() as u64;
        }
        lengths.push(indices.len() - before);
    }
    let values = take(&all, &UInt64Array::from(indices), None)?;
    list_array(values, OffsetBuffer::from_lengths(lengths), Some(NullBuffer::from(is_valid)))
}
