//! Splitting a batch by partition values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Int32Array, ListArray, MapArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;

use super::{Expr, Partitioning, Transform, ValueType, find};
use crate::json::{Time, civil, format_date, format_decimal, format_timestamp, time};
use crate::schema::{Field, Type};

/// The values of the partition columns, in their order; `None` for null.
pub type PartitionKey = Vec<Option<String>>;

/// The rows of a batch that belong to one partition.
#[derive(Debug, Clone)]
pub struct Part {
    /// The partition.
    pub key: PartitionKey,
    /// Its rows, in their order.
    pub batch: RecordBatch,
}

/// A partition value before it is text; null is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Code {
    Null,
    Number(i64),
}

const MICROS_PER_DAY: i64 = 86_400_000_000;
const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// Splits a batch of columns `fields` into its partitions, in the order in which they first appear.
///
/// `ingested_day` is the day of the run, in days since 1970-01-01.
///
/// # Errors
/// When Arrow cannot take the rows.
pub fn split(
    batch: &RecordBatch,
    fields: &[Field],
    by: &Partitioning,
    ingested_day: i32,
) -> Result<Vec<Part>, ArrowError> {
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let columns: Vec<Codes> = by.0.iter().map(|expr| Codes::new(batch, fields, expr, ingested_day)).collect();
    if columns.iter().all(Codes::is_constant) {
        let key = columns.iter().map(|column| column.text(column.codes[0])).collect();
        return Ok(vec![Part { key, batch: batch.clone() }]);
    }
    let mut groups: HashMap<Vec<Code>, usize> = HashMap::new();
    let mut rows: Vec<(Vec<Code>, Vec<u32>)> = Vec::new();
    let mut last: Option<usize> = None;
    for row in 0..batch.num_rows() {
        let is_last =
            |group: &usize| columns.iter().zip(&rows[*group].0).all(|(column, code)| column.codes[row] == *code);
        let group = match last.filter(is_last) {
            Some(group) => group,
            None => {
                let key: Vec<Code> = columns.iter().map(|column| column.codes[row]).collect();
                *groups.entry(key.clone()).or_insert_with(|| {
                    rows.push((key, Vec::new()));
                    rows.len() - 1
                })
            }
        };
        rows[group].1.push(row as u32);
        last = Some(group);
    }
    rows.into_iter()
        .map(|(codes, rows)| {
            let key = columns.iter().zip(&codes).map(|(column, code)| column.text(*code)).collect();
            Ok(Part { key, batch: take_rows(batch, &UInt32Array::from(rows))? })
        })
        .collect()
}

/// The partition columns of a batch of columns `fields`, as readers of the table see them.
///
/// `ingested_day` is the day of the run, in days since 1970-01-01.
pub fn partition_columns(batch: &RecordBatch, fields: &[Field], by: &Partitioning, ingested_day: i32) -> Vec<ArrayRef> {
    let array = |expr: &Expr| -> ArrayRef {
        let codes = Codes::new(batch, fields, expr, ingested_day);
        let numbers = codes.codes.iter().map(|code| match code {
            Code::Null => None,
            Code::Number(number) => i32::try_from(*number).ok(),
        });
        match expr.transform.value_type() {
            ValueType::Integer => Arc::new(numbers.collect::<Int32Array>()),
            ValueType::Date => Arc::new(numbers.collect::<Date32Array>()),
            ValueType::String => Arc::new(codes.codes.iter().map(|code| codes.text(*code)).collect::<StringArray>()),
        }
    };
    by.0.iter().map(array).collect()
}

/// These rows of a batch.
fn take_rows(batch: &RecordBatch, rows: &UInt32Array) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|column| take_values(column, rows)).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

/// These rows of an array. Columns without a value, and fields of structs, go on sharing their nulls.
fn take_values(array: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef, ArrowError> {
    if array.null_count() == array.len() {
        return Ok(array.slice(0, rows.len()));
    }
    if let Some(parts) = array.as_struct_opt() {
        let children = parts.columns().iter().map(|child| take_values(child, rows)).collect::<Result<Vec<_>, _>>()?;
        let validity = take_validity(parts.nulls(), rows)?;
        let fields = parts.fields().clone();
        return Ok(Arc::new(StructArray::try_new_with_length(fields, children, validity, rows.len())?));
    }
    if let (Some(list), DataType::List(item)) = (array.as_list_opt::<i32>(), array.data_type()) {
        let (offsets, values) = take_lists(list.offsets(), list.nulls(), list.values(), rows)?;
        let validity = take_validity(list.nulls(), rows)?;
        return Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, validity)?));
    }
    if let (Some(map), DataType::Map(entry, is_sorted)) = (array.as_map_opt(), array.data_type()) {
        let entries: ArrayRef = Arc::new(map.entries().clone());
        let (offsets, entries) = take_lists(map.offsets(), map.nulls(), &entries, rows)?;
        let validity = take_validity(map.nulls(), rows)?;
        let entries = entries.as_struct().clone();
        return Ok(Arc::new(MapArray::try_new(Arc::clone(entry), offsets, entries, validity, *is_sorted)?));
    }
    take(array, rows, None)
}

/// The lists of these rows: Arrow's own goes through them value by value.
fn take_lists(
    offsets: &OffsetBuffer<i32>,
    validity: Option<&NullBuffer>,
    values: &ArrayRef,
    rows: &UInt32Array,
) -> Result<(OffsetBuffer<i32>, ArrayRef), ArrowError> {
    let mut taken: Vec<u32> = Vec::new();
    let mut lengths = Vec::with_capacity(rows.len());
    for row in rows.values().iter().map(|row| *row as usize) {
        let (first, end) = match validity {
            Some(validity) if validity.is_null(row) => (0, 0),
            _ => (offsets[row], offsets[row + 1]),
        };
        taken.extend(first as u32..end as u32);
        lengths.push((end - first) as usize);
    }
    Ok((OffsetBuffer::from_lengths(lengths), take_values(values, &UInt32Array::from(taken))?))
}

fn take_validity(validity: Option<&NullBuffer>, rows: &UInt32Array) -> Result<Option<NullBuffer>, ArrowError> {
    let Some(validity) = validity else { return Ok(None) };
    let valid = take(&BooleanArray::new(validity.inner().clone(), None), rows, None)?;
    Ok(Some(NullBuffer::new(valid.as_boolean().values().clone())))
}

/// The partition values of one expression for each row.
struct Codes {
    transform: Transform,
    codes: Vec<Code>,
    /// The texts that the codes of an identity partition number.
    texts: Vec<String>,
}

impl Codes {
    fn new(batch: &RecordBatch, fields: &[Field], expr: &Expr, ingested_day: i32) -> Self {
        let rows = batch.num_rows();
        let column = column(batch, fields, &expr.column);
        let mut texts = Vec::new();
        let codes = match (expr.transform, column) {
            (Transform::IngestedDay, _) => vec![Code::Number(i64::from(ingested_day)); rows],
            (_, None) => vec![Code::Null; rows],
            (Transform::Identity, Some((array, ty))) => identities(&array, ty, &mut texts),
            (transform, Some((array, ty))) => (0..rows)
                .map(|row| match micros(&array, ty, row) {
                    Some(micros) => Code::Number(period(transform, micros)),
                    None => Code::Null,
                })
                .collect(),
        };
        Self { transform: expr.transform, codes, texts }
    }

    fn is_constant(&self) -> bool {
        self.codes.iter().all(|code| *code == self.codes[0])
    }

    fn text(&self, code: Code) -> Option<String> {
        let Code::Number(number) = code else { return None };
        Some(match self.transform {
            Transform::Year => format!("{number:04}"),
            Transform::Month => format!("{:04}-{:02}", number.div_euclid(12), number.rem_euclid(12) + 1),
            Transform::Day | Transform::IngestedDay => format_date(number as i32),
            Transform::Hour => format!("{}-{:02}", format_date(number.div_euclid(24) as i32), number.rem_euclid(24)),
            Transform::Identity => return self.texts.get(number as usize).cloned(),
        })
    }
}

/// The number of the period that a time lies in.
fn period(transform: Transform, micros: i64) -> i64 {
    match transform {
        Transform::Hour => micros.div_euclid(MICROS_PER_HOUR),
        Transform::Year | Transform::Month => {
            let (year, month, _) = civil(micros.div_euclid(MICROS_PER_DAY) as i32);
            let year = i64::from(year);
            if transform == Transform::Year { year } else { year * 12 + i64::from(month) - 1 }
        }
        Transform::Day | Transform::Identity | Transform::IngestedDay => micros.div_euclid(MICROS_PER_DAY),
    }
}

/// The column or struct field at a path; a field of a null struct is null.
fn column<'a>(batch: &RecordBatch, fields: &'a [Field], path: &[String]) -> Option<(ArrayRef, &'a Type)> {
    let ty = find(fields, path)?;
    let (first, rest) = path.split_first()?;
    let mut array = Arc::clone(batch.column(fields.iter().position(|field| field.name == *first)?));
    for name in rest {
        let next = Arc::clone(array.as_struct_opt()?.column_by_name(name)?);
        array = next;
    }
    Some((array, ty))
}

fn micros(array: &ArrayRef, ty: &Type, row: usize) -> Option<i64> {
    if array.is_null(row) {
        return None;
    }
    match ty {
        Type::Timestamp { .. } => Some(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        Type::Date => Some(i64::from(array.as_primitive::<Date32Type>().value(row)) * MICROS_PER_DAY),
        Type::Text => match time(array.as_string::<i32>().value(row).as_bytes())? {
            Time::Timestamp { micros, .. } => Some(micros),
            Time::Date(days) => Some(i64::from(days) * MICROS_PER_DAY),
        },
        _ => None,
    }
}

/// The smallest and largest time of an array, in microseconds since 1970-01-01T00:00:00Z.
pub(crate) fn time_range(array: &ArrayRef, ty: &Type) -> Option<(i64, i64)> {
    (0..array.len()).filter_map(|row| micros(array, ty, row)).fold(None, |range, micros| match range {
        None => Some((micros, micros)),
        Some((min, max)) => Some((micros.min(min), micros.max(max))),
    })
}

fn identities(array: &ArrayRef, ty: &Type, texts: &mut Vec<String>) -> Vec<Code> {
    let mut numbers: HashMap<String, i64> = HashMap::new();
    (0..array.len())
        .map(|row| match identity(array, ty, row) {
            None => Code::Null,
            Some(text) => Code::Number(*numbers.entry(text).or_insert_with_key(|text| {
                texts.push(text.clone());
                texts.len() as i64 - 1
            })),
        })
        .collect()
}

/// The text of a scalar; an empty string counts as null, which is what Delta makes of it.
fn identity(array: &ArrayRef, ty: &Type, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    let text = match ty {
        Type::Bool => array.as_boolean().value(row).to_string(),
        Type::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        Type::Decimal { scale, .. } => format_decimal(array.as_primitive::<Decimal128Type>().value(row), *scale),
        Type::Double => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        Type::Timestamp { .. } => format_timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row), false),
        Type::Date => format_date(array.as_primitive::<Date32Type>().value(row)),
        Type::Text => array.as_string::<i32>().value(row).to_owned(),
        Type::Json | Type::Struct(_) | Type::List(_) | Type::Map(_) => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use arrow::array::{Int64Array, new_null_array};
    use arrow::datatypes::{DataType, Field as ArrowField, Fields};

    use super::*;

    /// Rows of lists and maps of structs, one of which is null and one empty.
    #[test]
    fn rows_of_lists_and_maps_are_those_that_were_asked_for() {
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c", "d", "e"]));
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4), Some(5)]));
        let none = new_null_array(&DataType::Utf8, 5);
        let key = Arc::new(ArrowField::new("key", DataType::Utf8, false));
        let value = Arc::new(ArrowField::new("value", DataType::Int64, true));
        let never = Arc::new(ArrowField::new("never", DataType::Utf8, true));
        let offsets = OffsetBuffer::from_lengths([2, 0, 1, 2]);
        // The null row has an item that nobody sees.
        let validity = Some(NullBuffer::from(vec![true, true, false, true]));
        let entry = StructArray::new(vec![key, value.clone()].into(), vec![keys.clone(), values.clone()], None);
        let entry_field = Arc::new(ArrowField::new("entries", entry.data_type().clone(), false));
        let map = MapArray::new(entry_field, offsets.clone(), entry, validity.clone(), false);
        let item = StructArray::new(vec![value, never].into(), vec![values, none], None);
        let item_field = Arc::new(ArrowField::new("item", item.data_type().clone(), true));
        let list = ListArray::new(item_field, offsets, Arc::new(item), validity);
        for array in [Arc::new(map) as ArrayRef, Arc::new(list) as ArrayRef] {
            for rows in [vec![3, 0], vec![0, 1, 2, 3], vec![2, 1], vec![2], vec![]] {
                let rows = UInt32Array::from(rows);
                let taken = take_values(&array, &rows).unwrap();
                taken.to_data().validate_full().unwrap();
                assert_eq!(&taken, &take(&array, &rows, None).unwrap());
            }
        }
    }

    #[test]
    fn rows_of_structs_with_and_without_values_are_those_that_were_asked_for() {
        let inner: Fields =
            vec![ArrowField::new("a", DataType::Int64, true), ArrowField::new("none", DataType::Utf8, true)].into();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)])), new_null_array(&DataType::Utf8, 4)];
        for validity in [None, Some(NullBuffer::from(vec![true, true, false, true]))] {
            let array: ArrayRef = Arc::new(StructArray::new(inner.clone(), columns.clone(), validity));
            let outer: Fields = vec![ArrowField::new("inner", array.data_type().clone(), true)].into();
            let array: ArrayRef = Arc::new(StructArray::new(outer, vec![array], None));
            for rows in [vec![3, 1], vec![0, 1, 2, 3], vec![2], vec![]] {
                let rows = UInt32Array::from(rows);
                let taken = take_values(&array, &rows).unwrap();
                taken.to_data().validate_full().unwrap();
                assert_eq!(&taken, &take(&array, &rows, None).unwrap());
            }
        }
    }
}
