//! Functions that take lambdas: <https://trino.io/docs/current/functions/lambda.html>, and `try`, which is one.
//!
//! DataFusion has `array_filter`, `array_transform` and `array_any_match`; these are the others.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, ListArray, MapArray, NullArray, UInt64Array, make_comparator,
    new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, cast, concat, filter, take, take_arrays};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature, HigherOrderUDF,
    HigherOrderUDFImpl, LambdaArgument, LambdaParametersProgress, ValueOrLambda, Volatility,
};

use super::function::{failed, wrong};
use super::maps::new_map;
use super::types::{list_of, map_of};

/// The functions.
pub(super) fn functions() -> Vec<Arc<HigherOrderUDF>> {
    const VALUE: ValueOrLambda<(), ()> = ValueOrLambda::Value(());
    const LAMBDA: ValueOrLambda<(), ()> = ValueOrLambda::Lambda(());
    let function = |kind, name, args: Vec<ValueOrLambda<(), ()>>| {
        let signature = HigherOrderSignature::exact(args, Volatility::Immutable);
        Arc::new(HigherOrderUDF::new_from_impl(LambdaFunction { kind, name, signature }))
    };
    vec![
        function(Kind::Try, "try", vec![LAMBDA]),
        function(Kind::Reduce, "reduce", vec![VALUE, VALUE, LAMBDA, LAMBDA]),
        function(Kind::SortBy, SORT_BY, vec![VALUE, LAMBDA]),
        function(Kind::ZipWith, "zip_with", vec![VALUE, VALUE, LAMBDA]),
        function(Kind::MapZipWith, "map_zip_with", vec![VALUE, VALUE, LAMBDA]),
        function(Kind::MapFilter, "map_filter", vec![VALUE, LAMBDA]),
        function(Kind::TransformKeys, "transform_keys", vec![VALUE, LAMBDA]),
        function(Kind::TransformValues, "transform_values", vec![VALUE, LAMBDA]),
    ]
}

/// `array_sort` by a lambda.
pub(super) const SORT_BY: &str = "__array_sort_by";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Try,
    Reduce,
    SortBy,
    ZipWith,
    MapZipWith,
    MapFilter,
    TransformKeys,
    TransformValues,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LambdaFunction {
    kind: Kind,
    name: &'static str,
    signature: HigherOrderSignature,
}

fn nullable(data_type: &DataType) -> FieldRef {
    Arc::new(Field::new("", data_type.clone(), true))
}

fn item(list: &FieldRef) -> Result<FieldRef> {
    match list.data_type() {
        DataType::List(item) => Ok(nullable(item.data_type())),
        _ => Err(wrong("an array is taken")),
    }
}

/// The types of keys and values.
pub(super) fn entry(map: &DataType) -> Result<(DataType, DataType)> {
    match map {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => Ok((fields[0].data_type().clone(), fields[1].data_type().clone())),
            _ => Err(wrong("a map is taken")),
        },
        _ => Err(wrong("a map is taken")),
    }
}

impl LambdaFunction {
    fn misused(&self) -> DataFusionError {
        wrong(format!("{} is given other arguments than it takes", self.name))
    }
}

impl HigherOrderUDFImpl for LambdaFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    /// What is in a lambda must not be computed outside: `try` would not see that it fails.
    fn short_circuits(&self) -> bool {
        true
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        Some(args.iter().partition(|arg| !matches!(arg, Expr::Lambda(_))))
    }

    fn coerce_value_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let list = |data_type: &DataType| match data_type {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Ok(DataType::List(Arc::clone(item)))
            }
            DataType::Null => Ok(list_of(DataType::Null)),
            _ => Err(wrong(format!("{} takes an array", self.name))),
        };
        match (self.kind, types) {
            (Kind::Try, []) => Ok(Vec::new()),
            (Kind::Reduce, [array, state]) => Ok(vec![list(array)?, state.clone()]),
            (Kind::SortBy, [array]) => Ok(vec![list(array)?]),
            (Kind::ZipWith, [left, right]) => Ok(vec![list(left)?, list(right)?]),
            // Keys of one type are found in one another.
            (Kind::MapZipWith, [left @ DataType::Map(..), right @ DataType::Map(..)]) => {
                Ok(vec![left.clone(), map_of(entry(left)?.0, entry(right)?.1)])
            }
            (Kind::MapZipWith, [_, _]) => Err(wrong("map_zip_with takes two maps")),
            (Kind::MapFilter | Kind::TransformKeys | Kind::TransformValues, [map @ DataType::Map(..)]) => {
                Ok(vec![map.clone()])
            }
            (Kind::MapFilter | Kind::TransformKeys | Kind::TransformValues, [_]) => {
                Err(wrong(format!("{} takes a map", self.name)))
            }
            _ => Err(self.misused()),
        }
    }

    fn lambda_parameters(
        &self,
        _: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        use ValueOrLambda::{Lambda, Value};
        let complete = |parameters| Ok(LambdaParametersProgress::Complete(parameters));
        match (self.kind, fields) {
            (Kind::Try, [Lambda(_)]) => complete(vec![Vec::new()]),
            (Kind::SortBy, [Value(array), Lambda(_)]) => complete(vec![vec![item(array)?, item(array)?]]),
            (Kind::ZipWith, [Value(left), Value(right), Lambda(_)]) => complete(vec![vec![item(left)?, item(right)?]]),
            (Kind::MapZipWith, [Value(left), Value(right), Lambda(_)]) => {
                let ((key, left), (_, right)) = (entry(left.data_type())?, entry(right.data_type())?);
                complete(vec![vec![nullable(&key), nullable(&left), nullable(&right)]])
            }
            (Kind::MapFilter | Kind::TransformKeys | Kind::TransformValues, [Value(map), Lambda(_)]) => {
                let (key, value) = entry(map.data_type())?;
                complete(vec![vec![nullable(&key), nullable(&value)]])
            }
            // The state is of the type that the first lambda gives, to which the first state is cast.
            (Kind::Reduce, [Value(array), Value(first), Lambda(None), Lambda(_)]) => {
                Ok(LambdaParametersProgress::Partial(vec![Some(vec![nullable(first.data_type()), item(array)?]), None]))
            }
            (Kind::Reduce, [Value(array), Value(_), Lambda(Some(state)), Lambda(_)]) => {
                let state = nullable(state.data_type());
                complete(vec![vec![Arc::clone(&state), item(array)?], vec![state]])
            }
            _ => Err(self.misused()),
        }
    }

    fn coerce_values_for_lambdas(&self, fields: &[ValueOrLambda<DataType, DataType>]) -> Result<Option<Vec<DataType>>> {
        use ValueOrLambda::{Lambda, Value};
        match (self.kind, fields) {
            (Kind::Reduce, [Value(array), Value(_), Lambda(state), Lambda(_)]) => {
                Ok(Some(vec![array.clone(), state.clone()]))
            }
            _ => Ok(None),
        }
    }

    fn return_field_from_args(&self, args: HigherOrderReturnFieldArgs<'_>) -> Result<FieldRef> {
        use ValueOrLambda::{Lambda, Value};
        let data_type = match (self.kind, args.arg_fields) {
            (Kind::Try, [Lambda(body)]) => body.data_type().clone(),
            (Kind::Reduce, [_, _, _, Lambda(result)]) => result.data_type().clone(),
            (Kind::ZipWith, [_, _, Lambda(body)]) => list_of(body.data_type().clone()),
            (Kind::SortBy | Kind::MapFilter, [Value(sorted), Lambda(_)]) => sorted.data_type().clone(),
            (Kind::TransformKeys, [Value(map), Lambda(body)]) => {
                map_of(body.data_type().clone(), entry(map.data_type())?.1)
            }
            (Kind::TransformValues, [Value(map), Lambda(body)])
            | (Kind::MapZipWith, [Value(map), Value(_), Lambda(body)]) => {
                map_of(entry(map.data_type())?.0, body.data_type().clone())
            }
            _ => return Err(self.misused()),
        };
        Ok(nullable(&data_type))
    }

    fn invoke_with_args(&self, args: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        use ValueOrLambda::{Lambda, Value};
        let rows = args.number_rows;
        let out = match (self.kind, args.args.as_slice()) {
            (Kind::Try, [Lambda(body)]) => try_rows(body, rows, args.return_type())?,
            (Kind::Reduce, [Value(array), Value(first), Lambda(step), Lambda(last)]) => {
                reduce(&array.to_array(rows)?, first.to_array(rows)?, step, last)?
            }
            (Kind::ZipWith, [Value(left), Value(right), Lambda(body)]) => {
                zip_with(left.to_array(rows)?.as_list(), right.to_array(rows)?.as_list(), body)?
            }
            (Kind::MapZipWith, [Value(left), Value(right), Lambda(body)]) => {
                map_zip_with(left.to_array(rows)?.as_map(), right.to_array(rows)?.as_map(), body, args.return_type())?
            }
            (Kind::SortBy, [Value(array), Lambda(compare)]) => sort_by(array.to_array(rows)?.as_list(), compare)?,
            (_, [Value(map), Lambda(body)]) => {
                self.map_entries(map.to_array(rows)?.as_map(), body, args.return_type())?
            }
            _ => return Err(self.misused()),
        };
        Ok(ColumnarValue::Array(out))
    }
}

/// Evaluates all rows, or one by one when that fails, and makes those null that fail.
fn try_rows(body: &LambdaArgument, rows: usize, data_type: &DataType) -> Result<ArrayRef> {
    let evaluate = |from: usize, count: usize| -> Result<ArrayRef> {
        let rows = || Ok(Arc::new(NullArray::new(count)) as ArrayRef);
        let slices = |captures: &[ArrayRef]| Ok(captures.iter().map(|array| array.slice(from, count)).collect());
        body.evaluate(&[&rows], slices)?.into_array(count)
    };
    match evaluate(0, rows) {
        Err(error) if matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) => Err(error),
        Err(_) => {
            let each: Vec<ArrayRef> =
                (0..rows).map(|row| evaluate(row, 1).unwrap_or_else(|_| new_null_array(data_type, 1))).collect();
            let each: Vec<&dyn arrow::array::Array> = each.iter().map(AsRef::as_ref).collect();
            if each.is_empty() { Ok(new_null_array(data_type, 0)) } else { Ok(concat(&each)?) }
        }
        done => done,
    }
}

/// Takes one element of every list at a time, as long as there are some.
fn reduce(array: &ArrayRef, first: ArrayRef, step: &LambdaArgument, last: &LambdaArgument) -> Result<ArrayRef> {
    let list = array.as_list::<i32>();
    let rows = list.len();
    let length = |row: usize| if list.is_null(row) { 0 } else { list.value_length(row) };
    let mut state = first;
    for place in 0.. {
        let active: UInt64Array = (0..rows).filter(|row| length(*row) > place).map(|row| row as u64).collect();
        if active.is_empty() {
            break;
        }
        let elements: UInt64Array =
            active.values().iter().map(|row| (list.offsets()[*row as usize] + place) as u64).collect();
        let (before, element) = (take(&state, &active, None)?, take(list.values(), &elements, None)?);
        let after = step
            .evaluate(&[&|| Ok(Arc::clone(&before)), &|| Ok(Arc::clone(&element))], |captures| {
                Ok(take_arrays(captures, &active, None)?)
            })?
            .into_array(active.len())?;
        let after = cast(&after, state.data_type())?;
        if active.len() == rows {
            state = after;
            continue;
        }
        let mut next = (rows as u64..).take(active.len());
        let mut is_active = vec![false; rows];
        active.values().iter().for_each(|row| is_active[*row as usize] = true);
        let chosen: UInt64Array =
            (0..rows).map(|row| if is_active[row] { next.next() } else { Some(row as u64) }).collect();
        state = take(&concat(&[&state, &after])?, &chosen, None)?;
    }
    let out = last.evaluate(&[&|| Ok(Arc::clone(&state))], |captures| Ok(captures.to_vec()))?.into_array(rows)?;
    if list.null_count() == 0 {
        return Ok(out);
    }
    // Of no list there is no result.
    let chosen: UInt64Array = (0..rows).map(|row| (!list.is_null(row)).then_some(row as u64)).collect();
    Ok(take(&out, &chosen, None)?)
}

/// The elements of each list in the order that a lambda gives: less than zero where its first argument comes before its second.
///
/// Each element is put, by bisection, among those before it; those of all lists at once, for a lambda is best asked for many.
fn sort_by(list: &ListArray, compare: &LambdaArgument) -> Result<ArrayRef> {
    let first = |row: usize| list.offsets()[row] as u64;
    let length = |row: usize| if list.is_null(row) { 0 } else { list.value_length(row) as usize };
    let mut sorted: Vec<Vec<u64>> = vec![Vec::new(); list.len()];
    for place in 0..(0..list.len()).map(length).max().unwrap_or(0) {
        // Of each list that is so long, between which of its sorted elements this one belongs.
        let mut open: Vec<(usize, usize, usize)> =
            (0..list.len()).filter(|row| length(*row) > place).map(|row| (row, 0, place)).collect();
        loop {
            open.retain(|(row, from, to)| {
                if from == to {
                    sorted[*row].insert(*from, first(*row) + place as u64);
                }
                from < to
            });
            if open.is_empty() {
                break;
            }
            let of = |place: fn(usize, usize) -> usize| -> UInt64Array {
                open.iter().map(|(row, from, to)| sorted[*row][place(*from, *to)]).collect()
            };
            let owners: UInt64Array = open.iter().map(|(row, ..)| *row as u64).collect();
            let news: UInt64Array = open.iter().map(|(row, ..)| first(*row) + place as u64).collect();
            let (new, other) = (take(list.values(), &news, None)?, take(list.values(), &of(usize::midpoint), None)?);
            let order = compare
                .evaluate(&[&|| Ok(Arc::clone(&new)), &|| Ok(Arc::clone(&other))], |captures| {
                    Ok(take_arrays(captures, &owners, None)?)
                })?
                .into_array(open.len())?;
            let order = cast(&order, &DataType::Int64)?;
            let order = order.as_primitive::<arrow::datatypes::Int64Type>();
            if order.null_count() > 0 {
                return Err(failed("the lambda of array_sort must give -1, 0 or 1"));
            }
            for ((_, from, to), order) in open.iter_mut().zip(order.values()) {
                let middle = usize::midpoint(*from, *to);
                if *order < 0 { *to = middle } else { *from = middle + 1 }
            }
        }
    }
    let DataType::List(item) = list.data_type() else { return Err(failed("no list")) };
    let offsets = OffsetBuffer::from_lengths(sorted.iter().map(Vec::len));
    let values = take(list.values(), &UInt64Array::from(sorted.concat()), None)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, list.nulls().cloned())?))
}

fn zip_with(left: &ListArray, right: &ListArray, body: &LambdaArgument) -> Result<ArrayRef> {
    let (mut lefts, mut rights, mut owners, mut lengths) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let nulls = NullBuffer::union(left.nulls(), right.nulls());
    let element = |list: &ListArray, row: usize, place: i32| {
        (place < list.value_length(row)).then(|| (list.offsets()[row] + place) as u64)
    };
    for row in 0..left.len() {
        let is_null = left.is_null(row) || right.is_null(row);
        let length = if is_null { 0 } else { left.value_length(row).max(right.value_length(row)) };
        lengths.push(length as usize);
        for place in 0..length {
            lefts.push(element(left, row, place));
            rights.push(element(right, row, place));
            owners.push(row as u64);
        }
    }
    let lefts = take(left.values(), &UInt64Array::from(lefts), None)?;
    let rights = take(right.values(), &UInt64Array::from(rights), None)?;
    let owners = UInt64Array::from(owners);
    let values = body
        .evaluate(&[&|| Ok(Arc::clone(&lefts)), &|| Ok(Arc::clone(&rights))], |captures| {
            Ok(take_arrays(captures, &owners, None)?)
        })?
        .into_array(owners.len())?;
    let DataType::List(item) = list_of(values.data_type().clone()) else { return Err(failed("no list")) };
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, nulls)?))
}

/// A map of the keys that either has, to what the lambda gives of key and both values.
fn map_zip_with(left: &MapArray, right: &MapArray, body: &LambdaArgument, data_type: &DataType) -> Result<ArrayRef> {
    let nulls = NullBuffer::union(left.nulls(), right.nulls());
    let all_keys = concat(&[left.keys(), right.keys()])?;
    let compare = make_comparator(&all_keys, &all_keys, SortOptions::default())?;
    let (mut keys, mut lefts, mut rights, mut owners) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut lengths = Vec::new();
    let behind = left.keys().len();
    for row in 0..left.len() {
        let before = keys.len();
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            let of = |map: &MapArray| map.offsets()[row] as usize..map.offsets()[row + 1] as usize;
            for place in of(left) {
                let other = of(right).find(|other| compare(place, behind + other).is_eq());
                keys.push(place as u64);
                lefts.push(Some(place as u64));
                rights.push(other.map(|other| other as u64));
            }
            for place in of(right).filter(|place| !of(left).any(|other| compare(behind + place, other).is_eq())) {
                keys.push((behind + place) as u64);
                lefts.push(None);
                rights.push(Some(place as u64));
            }
        }
        lengths.push(keys.len() - before);
        owners.resize(keys.len(), row as u64);
    }
    let keys = take(&all_keys, &UInt64Array::from(keys), None)?;
    let lefts = take(left.values(), &UInt64Array::from(lefts), None)?;
    let rights = take(right.values(), &UInt64Array::from(rights), None)?;
    let owners = UInt64Array::from(owners);
    let values = body
        .evaluate(&[&|| Ok(Arc::clone(&keys)), &|| Ok(Arc::clone(&lefts)), &|| Ok(Arc::clone(&rights))], |captures| {
            Ok(take_arrays(captures, &owners, None)?)
        })?
        .into_array(owners.len())?;
    new_map(data_type, vec![keys, values], lengths, nulls)
}

impl LambdaFunction {
    /// Evaluates a lambda over all entries of maps, and makes maps of what it gives.
    fn map_entries(&self, map: &MapArray, body: &LambdaArgument, data_type: &DataType) -> Result<ArrayRef> {
        let (mut places, mut owners, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..map.len() {
            let length = if map.is_null(row) { 0 } else { map.value_length(row) };
            lengths.push(length as usize);
            places.extend((0..length).map(|place| (map.offsets()[row] + place) as u64));
            owners.extend((0..length).map(|_| row as u64));
        }
        let (places, owners) = (UInt64Array::from(places), UInt64Array::from(owners));
        let keys = take(map.keys(), &places, None)?;
        let values = take(map.values(), &places, None)?;
        let made = body
            .evaluate(&[&|| Ok(Arc::clone(&keys)), &|| Ok(Arc::clone(&values))], |captures| {
                Ok(take_arrays(captures, &owners, None)?)
            })?
            .into_array(owners.len())?;
        let columns = match self.kind {
            Kind::TransformKeys if made.null_count() > 0 => return Err(failed("the key of a map must not be null")),
            Kind::TransformKeys => vec![made, values],
            Kind::TransformValues => vec![keys, made],
            _ => {
                let is_kept = made.as_boolean_opt().ok_or_else(|| self.misused())?;
                let is_kept: BooleanArray = is_kept.iter().map(|is_kept| Some(is_kept == Some(true))).collect();
                lengths.fill(0);
                let kept = owners.values().iter().zip(is_kept.values());
                kept.filter(|(_, is_kept)| *is_kept).for_each(|(row, _)| lengths[*row as usize] += 1);
                vec![filter(&keys, &is_kept)?, filter(&values, &is_kept)?]
            }
        };
        new_map(data_type, columns, lengths, map.nulls().cloned())
    }
}
