//! A number for each row that equal rows share, whatever file they lie in: columns and fields that a file lacks count as null,
//! and null counts nothing. An array or object that is empty counts as null: it is stored as one while its column has no type.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use serde_json::Value;

use crate::json::{EMPTY_JSON, Time, time};
use crate::schema::{Field, Type};

/// Which texts are taken for equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texts {
    /// Only those that are.
    Exact,
    /// Also those that spell the same number, time or JSON value: what is left of a text that a promotion could not read again.
    Canonical,
}

/// The fingerprints of the rows of a batch of the columns `fields`.
pub(super) fn fingerprints<'a>(
    batch: &RecordBatch,
    fields: impl Iterator<Item = (usize, &'a Field)>,
    texts: Texts,
) -> Vec<u64> {
    let mut sums = vec![0; batch.num_rows()];
    for (index, field) in fields {
        add(batch.column(index).as_ref(), &field.ty, seed(0, &field.name), texts, &mut sums);
    }
    sums.iter_mut().for_each(|sum| *sum = mix(*sum));
    sums
}

/// What the column or field of a name is mixed with, below another one.
fn seed(parent: u64, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (parent, name).hash(&mut hasher);
    hasher.finish()
}

/// A bijection under which similar numbers have nothing in common (the last step of splitmix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Adds the numbers of the values of an array to `sums`, one for each.
fn add(array: &dyn Array, ty: &Type, seed: u64, texts: Texts, sums: &mut [u64]) {
    if array.null_count() == array.len() {
        return;
    }
    let mut some = |number: &dyn Fn(usize) -> Option<u64>| {
        for (row, sum) in sums.iter_mut().enumerate().filter(|(row, _)| array.is_valid(*row)) {
            if let Some(number) = number(row) {
                *sum = sum.wrapping_add(mix(seed ^ mix(number)));
            }
        }
    };
    let mut each = |number: &dyn Fn(usize) -> u64| some(&|row| Some(number(row)));
    match ty {
        Type::Bool => {
            let values = array.as_boolean();
            each(&|row| u64::from(values.value(row)));
        }
        Type::Int64 => {
            let values = array.as_primitive::<Int64Type>();
            each(&|row| values.value(row) as u64);
        }
        Type::Double => {
            let values = array.as_primitive::<Float64Type>();
            each(&|row| values.value(row).to_bits());
        }
        Type::Timestamp { .. } => {
            let values = array.as_primitive::<TimestampMicrosecondType>();
            each(&|row| values.value(row) as u64);
        }
        Type::Date => {
            let values = array.as_primitive::<Date32Type>();
            each(&|row| values.value(row) as u64);
        }
        Type::Decimal { .. } => {
            let values = array.as_primitive::<Decimal128Type>();
            each(&|row| {
                let value = values.value(row);
                mix(value as u64) ^ (value >> 64) as u64
            });
        }
        Type::Text => {
            let values = array.as_string::<i32>();
            each(&|row| text(values.value(row), texts));
        }
        Type::Json => {
            let values = array.as_string::<i32>();
            some(&|row| {
                Some(values.value(row)).filter(|text| !EMPTY_JSON.contains(text)).map(|value| text(value, texts))
            });
        }
        Type::Struct(fields) => {
            let parts = array.as_struct();
            let mut below = vec![0; parts.len()];
            for (field, part) in fields.iter().zip(parts.columns()) {
                add(part.as_ref(), &field.ty, self::seed(seed, &field.name), texts, &mut below);
            }
            // Nothing was added where it holds nothing.
            some(&|row| Some(below[row]).filter(|sum| *sum != 0));
        }
        Type::List(element) => {
            let list = array.as_list::<i32>();
            let mut elements = vec![0; list.values().len()];
            add(list.values().as_ref(), element, 1, texts, &mut elements);
            some(&|row| in_order(&elements, list.value_offsets(), row));
        }
        Type::Map(value) => {
            let map = array.as_map();
            let mut entries = vec![0; map.keys().len()];
            add(map.keys().as_ref(), &Type::Text, 1, Texts::Exact, &mut entries);
            add(map.values().as_ref(), value, 2, texts, &mut entries);
            some(&|row| in_order(&entries, map.value_offsets(), row));
        }
    }
}

/// The number of the elements of a row, in their order; `None` when there are none.
fn in_order(elements: &[u64], offsets: &[i32], row: usize) -> Option<u64> {
    let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
    let fold = |all: u64, element: &u64| mix(all).wrapping_add(*element);
    (start < end).then(|| elements[start..end].iter().fold((end - start) as u64, fold))
}

fn text(text: &str, texts: Texts) -> u64 {
    match texts {
        Texts::Exact => number(|hasher| hasher.write(text.as_bytes())),
        Texts::Canonical => canonical(text),
    }
}

fn number(write: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    write(&mut hasher);
    hasher.finish()
}

/// The number of what a text spells. A text within JSON text is what it would be by itself: a number became both, in turn.
fn canonical(text: &str) -> u64 {
    match (time(text.as_bytes()), serde_json::from_str::<Value>(text)) {
        (Some(Time::Timestamp { micros, .. }), _) => number(|hasher| micros.hash(hasher)),
        (_, Ok(value)) => value_number(&value),
        _ => number(|hasher| hasher.write(text.as_bytes())),
    }
}

/// The number of a JSON value: members in any order, those that are null left out.
fn value_number(value: &Value) -> u64 {
    if let Value::String(text) = value {
        return canonical(text);
    }
    number(|hasher| match value {
        Value::Null | Value::String(_) => {}
        Value::Bool(value) => value.hash(hasher),
        Value::Number(value) => value.as_f64().unwrap_or_default().to_bits().hash(hasher),
        Value::Array(values) => values.iter().for_each(|value| value_number(value).hash(hasher)),
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let sum = members.map(|(key, value)| mix(seed(value_number(value), key)));
            sum.fold(0_u64, u64::wrapping_add).hash(hasher);
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use super::*;
    use crate::json::{DecodeOptions, Decoder, PADDING, Segment, arrow_schema};
    use crate::schema::{Observation, resolve};

    /// The fingerprints of records that are decoded together.
    fn of(text: &str, texts: Texts) -> Vec<u64> {
        let mut window = text.as_bytes().to_vec();
        let segment = Segment { object: 0, start: 0, end: window.len(), offset: 0, last: true };
        window.resize(window.len() + PADDING, 0);
        let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
        decoder.decode(&window, &[segment]);
        let fields = resolve(&decoder.observe(), &[]);
        let batch = decoder.finish(&fields, &arrow_schema(&fields)).unwrap();
        fingerprints(&batch, fields.iter().enumerate(), texts)
    }

    #[test]
    fn every_value_and_its_place_counts() {
        let records = [
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":1}"#,
            r#"{"a":1}"#,
            r#"{"b":1}"#,
            r#"{"l":[1,2]}"#,
            r#"{"l":[2,1]}"#,
            r#"{"l":[1,2,null]}"#,
            r#"{"o":{"x":1}}"#,
            r#"{"o":{"y":1}}"#,
            r#"{"o":{"z":[{"x":1}]}}"#,
            r#"{"o":{"z":[{"y":1}]}}"#,
            r#"{"s":"1"}"#,
            r#"{"s":"1.0"}"#,
            r#"{"d":0.5}"#,
            r#"{"d":-0.5}"#,
            r#"{"t":true}"#,
            r#"{"t":false}"#,
            r#"{"at":"2025-01-01T00:00:00Z"}"#,
            r#"{"on":"2025-01-01"}"#,
            "{}",
        ];
        let all = of(&records.join("\n"), Texts::Exact);
        let distinct: std::collections::BTreeSet<&u64> = all.iter().collect();
        assert_eq!((all.len(), distinct.len()), (records.len(), records.len()));
    }

    #[test]
    fn what_holds_nothing_is_null() {
        let records = [r#"{"l":[],"o":{},"m":[{"l":[1],"o":{}}],"j":{}}"#, r#"{"m":[{"l":[1]}]}"#, r#"{"l":[{}]}"#];
        // What makes columns of all of them.
        let all = format!(
            "{}\n{{\"l\":[{{\"a\":1}}],\"o\":{{\"a\":1}},\"m\":[{{\"o\":{{\"a\":1}}}}],\"j\":1}}",
            records.join("\n")
        );
        let all = of(&all, Texts::Exact);
        assert_eq!(all[0], all[1]);
        assert_ne!(all[1], all[2]);
    }

    #[test]
    fn a_number_that_became_text_before_it_became_json_is_canonical() {
        let all =
            of("{\"a\":1.10}\n{\"a\":\"1.10\"}\n{\"a\":-1e400}\n{\"a\":\"-1e400\"}\n{\"a\":[1]}", Texts::Canonical);
        assert_eq!((all[0], all[2]), (all[1], all[3]));
        assert_ne!(all[0], all[2]);
    }

    #[test]
    fn columns_that_are_not_there_are_null() {
        let few = of(r#"{"a":1,"o":{"x":1}}"#, Texts::Exact);
        let many = of(
            "{\"n\":null,\"a\":1,\"o\":{\"y\":null,\"x\":1},\"l\":null}\n{\"n\":1,\"o\":{\"y\":2},\"l\":[1]}",
            Texts::Exact,
        );
        assert_eq!(few[0], many[0]);
    }

    #[test]
    fn canonical_text_is_as_good_as_what_it_was_made_of() {
        let pairs = [
            (r#"{"a":"1.10"}"#, r#"{"a":"1.1"}"#),
            (r#"{"a":"2025-01-01T01:00:00+01:00"}"#, r#"{"a":"2025-01-01T00:00:00Z"}"#),
            (r#"{"a":"{\"x\": 1.0, \"y\": null, \"z\": [1]}"}"#, r#"{"a":"{\"z\":[1],\"x\":1}"}"#),
        ];
        for (one, other) in pairs {
            // What makes all of them text.
            let all = format!("{one}\n{other}\n{{\"a\":\"x\"}}");
            let (exact, canonical) = (of(&all, Texts::Exact), of(&all, Texts::Canonical));
            assert!(exact[0] != exact[1] && canonical[0] == canonical[1] && canonical[0] != canonical[2], "{one}");
        }
    }
}
