//! From stored values back to JSON text, keys in their original spelling.

use std::io::Write as _;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};

use super::scalar::{format_date, format_decimal, format_timestamp};
use crate::schema::{Field, Type};

/// Appends the value in `row` of an array of type `ty` as minified JSON. Null fields of an object are left out.
pub fn write_json(array: &dyn Array, ty: &Type, row: usize, out: &mut Vec<u8>) {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match ty {
        Type::Bool => write_display(array.as_boolean().value(row), out),
        Type::Int64 => write_display(array.as_primitive::<Int64Type>().value(row), out),
        Type::Decimal { scale, .. } => {
            let value = array.as_primitive::<Decimal128Type>().value(row);
            write_display(format_args!("{}", format_decimal(value, *scale)), out);
        }
        // The shortest text that reads as the same double.
        Type::Double => write_display(format_args!("{:?}", array.as_primitive::<Float64Type>().value(row)), out),
        Type::Timestamp { naive } => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            write_string(&format_timestamp(micros, *naive), out);
        }
        Type::Date => write_string(&format_date(array.as_primitive::<Date32Type>().value(row)), out),
        Type::Text => write_string(array.as_string::<i32>().value(row), out),
        Type::Json => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
        Type::Struct(fields) => {
            let parts = array.as_struct();
            write_fields(fields, |index| parts.column(index).as_ref(), row, out);
        }
        Type::List(element) => {
            let values = array.as_list::<i32>().value(row);
            out.push(b'[');
            for index in 0..values.len() {
                if index > 0 {
                    out.push(b',');
                }
                write_json(values.as_ref(), element, index, out);
            }
            out.push(b']');
        }
        Type::Map(value) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1));
            out.push(b'{');
            for index in 0..entries.len() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(keys.value(index), out);
                out.push(b':');
                write_json(values.as_ref(), value, index, out);
            }
            out.push(b'}');
        }
    }
}

/// Appends row `row` of a batch, whose columns are `fields`, as a JSON object, without the column of provenance.
pub fn write_record(batch: &RecordBatch, fields: &[Field], row: usize, out: &mut Vec<u8>) {
    write_fields(fields, |index| batch.column(index).as_ref(), row, out);
}

fn write_fields<'a>(fields: &[Field], column: impl Fn(usize) -> &'a dyn Array, row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    for (index, field) in fields.iter().enumerate() {
        let values = column(index);
        // The record itself has no such member.
        if values.is_null(row) || field.is_provenance() {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        if field.keys.is_empty() && matches!(field.ty, Type::Json) {
            // The members of an object, as they stand between its braces.
            let text = values.as_string::<i32>().value(row);
            out.extend_from_slice(text.trim_start_matches('{').strip_suffix('}').unwrap_or(text).as_bytes());
            continue;
        }
        write_string(field.keys.first().map_or(field.name.as_str(), String::as_str), out);
        out.push(b':');
        write_json(values, &field.ty, row, out);
    }
    out.push(b'}');
}

fn write_display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    // A Vec takes whatever is written to it.
    let _ = write!(out, "{value}");
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(&mut *out, text);
}
