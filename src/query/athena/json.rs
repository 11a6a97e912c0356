//! JSON: <https://trino.io/docs/current/functions/json.html>. Values of type JSON are minified text.

use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, LargeStringArray, ListArray, MapArray, StringArray,
    StructArray, UInt64Array, new_empty_array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options, concat, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::casts::text_of;
use super::function::{Arg, Gives, Last, Takes, by_row, failed, function, texts};
use super::types::{JSON, type_name};

/// `json_value` before it is cast to the type that it is to return.
pub(super) const JSON_SCALAR: &str = "__json_scalar";

pub(super) fn functions() -> Vec<ScalarUDF> {
    const DOCUMENT: Takes = Takes::These(&[Arg::Text], 1);
    const WITH_PATH: Takes = Takes::These(&[Arg::Text, Arg::Text], 2);
    vec![
        function("json_extract", WITH_PATH, Gives::This(JSON), |args, _| {
            let out: LargeStringArray = by_path(args, |found| Some(minify(found)))?;
            Ok(Arc::new(out))
        }),
        function("json_extract_scalar", WITH_PATH, Gives::This(DataType::Utf8), |args, _| {
            let out: StringArray = by_path(args, raw_scalar)?;
            Ok(Arc::new(out))
        }),
        function("json_value", WITH_PATH, Gives::This(DataType::Utf8), |args, _| {
            let out: StringArray = by_standard_path(args, |found| only(found).and_then(raw_scalar))?;
            Ok(Arc::new(out))
        }),
        function(JSON_SCALAR, WITH_PATH, Gives::This(JSON), |args, _| {
            let is_scalar = |value: &&str| !value.starts_with(['{', '[']);
            let out: LargeStringArray = by_standard_path(args, |found| only(found).filter(is_scalar).map(minify))?;
            Ok(Arc::new(out))
        }),
        function("json_query", WITH_PATH, Gives::This(DataType::Utf8), |args, _| {
            let out: StringArray = by_standard_path(args, |found| only(found).map(minify))?;
            Ok(Arc::new(out))
        }),
        function("json_exists", WITH_PATH, Gives::This(DataType::Boolean), |args, _| {
            let out: BooleanArray = by_standard_path(args, |found| Some(!found.is_empty()))?;
            Ok(Arc::new(out))
        }),
        function("json_parse", DOCUMENT, Gives::This(JSON), |args, _| {
            let documents = texts(&args[0]);
            let out: LargeStringArray = by_row(args, |row| {
                let mut value: Value = serde_json::from_str(documents.value(row))
                    .map_err(|_| failed("json_parse: a value is not JSON"))?;
                value.sort_all_objects();
                Ok(Some(value.to_string()))
            })?;
            Ok(Arc::new(out))
        }),
        function("json_format", DOCUMENT, Gives::This(DataType::Utf8), |args, _| Ok(Arc::clone(&args[0]))),
        function(
            "json_array_length",
            Takes::These(&[Arg::Text, Arg::Text], 1),
            Gives::This(DataType::Int64),
            |args, _| length(args),
        ),
        function(
            "json_array_contains",
            Takes::These(&[Arg::Text, Arg::Any], 2),
            Gives::This(DataType::Boolean),
            |args, _| array_contains(args),
        ),
        function("json_array_get", Takes::These(&[Arg::Text, Arg::Int], 2), Gives::This(JSON), |args, _| {
            array_get(args)
        }),
        function("is_json_scalar", DOCUMENT, Gives::This(DataType::Boolean), |args, _| {
            let documents = texts(&args[0]);
            let out: BooleanArray = by_row(args, |row| {
                let value = parse(documents.value(row)).ok_or_else(|| failed("is_json_scalar: a value is not JSON"))?;
                Ok(Some(!value.is_array() && !value.is_object()))
            })?;
            Ok(Arc::new(out))
        }),
    ]
}

fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// The text of a string, a number or a boolean.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text of a string, a number or a boolean that is written as JSON.
fn raw_scalar(text: &str) -> Option<String> {
    match text.as_bytes().first()? {
        b'"' => unquote(text),
        b'{' | b'[' | b'n' => None,
        _ => Some(text.to_owned()),
    }
}

/// What each document has at a path, made into a result. Null for what is not JSON.
fn by_path<O: FromIterator<Option<String>>>(args: &[ArrayRef], make: impl Fn(&str) -> Option<String>) -> Result<O> {
    let (documents, paths) = (texts(&args[0]), texts(&args[1]));
    let mut last = Last::new();
    by_row(args, |row| {
        let steps = last.get(paths.value(row), read_path)?;
        Ok(find(documents.value(row), steps).and_then(&make))
    })
}

/// What each document has at a path of the SQL standard (`lax $.a[0].b`, or `strict`), made into a result.
fn by_standard_path<T, O: FromIterator<Option<T>>>(
    args: &[ArrayRef],
    make: impl Fn(&[&str]) -> Option<T>,
) -> Result<O> {
    let (documents, paths) = (texts(&args[0]), texts(&args[1]));
    let mut last = Last::new();
    by_row(args, |row| {
        let (steps, is_lax) = last.get(paths.value(row), read_standard_path)?;
        Ok(make(&follow(documents.value(row), steps, *is_lax).unwrap_or_default()))
    })
}

/// The one value among those that were found.
fn only<'a>(found: &[&'a str]) -> Option<&'a str> {
    match found {
        [one] => Some(one),
        _ => None,
    }
}

fn length(args: &[ArrayRef]) -> Result<ArrayRef> {
    let documents = texts(&args[0]);
    let mut last = Last::new();
    let out: Int64Array = by_row(args, |row| {
        let found = match args.get(1) {
            // json_size(json, path)
            Some(paths) => find(documents.value(row), last.get(texts(paths).value(row), read_path)?).and_then(parse),
            None => parse(documents.value(row)),
        };
        Ok(match found {
            Some(Value::Array(items)) => i64::try_from(items.len()).ok(),
            Some(Value::Object(members)) if args.len() > 1 => i64::try_from(members.len()).ok(),
            Some(_) if args.len() > 1 => Some(0),
            _ => None,
        })
    })?;
    Ok(Arc::new(out))
}

fn array_contains(args: &[ArrayRef]) -> Result<ArrayRef> {
    let documents = texts(&args[0]);
    let sought = write(&args[1])?;
    let sought = sought.as_string::<i64>();
    let out: BooleanArray = by_row(args, |row| {
        let Some(Value::Array(items)) = parse(documents.value(row)) else { return Ok(None) };
        let Some(value) = parse(sought.value(row)) else { return Ok(None) };
        Ok(Some(items.iter().any(|item| match (item.as_f64(), value.as_f64()) {
            (Some(item), Some(value)) => item == value,
            _ => *item == value,
        })))
    })?;
    Ok(Arc::new(out))
}

/// The element at an index from 0, or from the end.
fn array_get(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (documents, indices) = (texts(&args[0]), args[1].as_primitive::<Int64Type>());
    let out: LargeStringArray = by_row(args, |row| {
        let Some(Value::Array(items)) = parse(documents.value(row)) else { return Ok(None) };
        let index = indices.value(row);
        let index = if index < 0 { index + items.len() as i64 } else { index };
        Ok(usize::try_from(index).ok().and_then(|index| items.get(index)).map(Value::to_string))
    })?;
    Ok(Arc::new(out))
}

/// A step of a path.
#[derive(Debug)]
enum Step {
    Key(String),
    /// An index, or a key of digits.
    Index(usize),
}

/// Reads `$.store.book[0]["title"]`.
fn read_path(path: &str) -> Result<Vec<Step>> {
    let wrong = || failed(format!("{path} is no JSON path"));
    let mut rest = path.trim();
    let mut steps = Vec::new();
    // The $ may be left out.
    if let Some(behind) = rest.strip_prefix('$') {
        rest = behind;
    } else if !rest.starts_with(['.', '[']) && !rest.is_empty() {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        steps.push(Step::Key(rest[..end].to_owned()));
        rest = &rest[end..];
    }
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix('.') {
            let end = behind.find(['.', '[']).unwrap_or(behind.len());
            if end == 0 || &behind[..end] == "*" {
                return Err(wrong());
            }
            steps.push(Step::Key(behind[..end].to_owned()));
            rest = &behind[end..];
            continue;
        }
        let behind = rest.strip_prefix('[').ok_or_else(wrong)?.trim_start();
        if let Some(quote) = behind.chars().next().filter(|c| ['"', '\''].contains(c)) {
            let mut key = String::new();
            let mut chars = behind[1..].char_indices();
            let end = loop {
                match chars.next().ok_or_else(wrong)? {
                    (_, '\\') => key.push(chars.next().ok_or_else(wrong)?.1),
                    (at, c) if c == quote => break at + 2,
                    (_, c) => key.push(c),
                }
            };
            steps.push(Step::Key(key));
            rest = behind[end..].trim_start().strip_prefix(']').ok_or_else(wrong)?;
        } else {
            let end = behind.find(']').ok_or_else(wrong)?;
            let index = behind[..end].trim();
            steps.push(match index.parse() {
                Ok(index) => Step::Index(index),
                Err(_) if index.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                    Step::Key(index.to_owned())
                }
                Err(_) => return Err(wrong()),
            });
            rest = &behind[end + 1..];
        }
    }
    Ok(steps)
}

/// A step of a path of the SQL standard.
#[derive(Debug)]
enum StandardStep {
    Member(String),
    Element(usize),
    /// `[*]`
    AllElements,
}

/// Reads `lax $.store.book[0]."a title"`, and whether it is of lax mode, as it is when it does not say.
fn read_standard_path(path: &str) -> Result<(Vec<StandardStep>, bool)> {
    let wrong =
        || failed(format!("{path}: of JSON paths, members, elements and [*] are known, as in 'lax $.a[0].\"b c\"[*]'"));
    let (mode, behind) = path.trim().split_at(path.trim().find('$').ok_or_else(wrong)?);
    let is_lax = match mode.trim().to_ascii_lowercase().as_str() {
        "" | "lax" => true,
        "strict" => false,
        _ => return Err(wrong()),
    };
    let mut rest = behind[1..].trim_start();
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix('[') {
            let (index, behind) = behind.split_once(']').ok_or_else(wrong)?;
            steps.push(match index.trim() {
                "*" => StandardStep::AllElements,
                index => StandardStep::Element(index.parse().map_err(|_| wrong())?),
            });
            rest = behind;
        } else {
            let behind = rest.strip_prefix('.').ok_or_else(wrong)?.trim_start();
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let end = if behind.starts_with('"') {
                end_of_value(behind.as_bytes()).ok_or_else(wrong)?
            } else {
                behind.find(|c| !is_part(c)).unwrap_or(behind.len())
            };
            let (name, after) = behind.split_at(end);
            // A method: size(), floor().
            if name.is_empty() || after.trim_start().starts_with('(') {
                return Err(wrong());
            }
            let name = if name.starts_with('"') { unquote(name).ok_or_else(wrong)? } else { name.to_owned() };
            steps.push(StandardStep::Member(name));
            rest = after;
        }
        rest = rest.trim_start();
    }
    Ok((steps, is_lax))
}

/// What a document has at a path of the SQL standard; `None` when the document is not JSON, or not as strict mode wants it.
///
/// In lax mode, members of an array are those of its elements, and what is no array stands for an array of it.
fn follow<'a>(document: &'a str, steps: &[StandardStep], is_lax: bool) -> Option<Vec<&'a str>> {
    serde_json::from_str::<IgnoredAny>(document).ok()?;
    let mut found = vec![document.trim_ascii()];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            let (is_object, is_array) = (value.starts_with('{'), value.starts_with('['));
            let elements = || if is_array { Elements(&value[1..]).collect() } else { vec![value] };
            match step {
                StandardStep::Member(name) if is_object => match member(value, name) {
                    None if !is_lax => return None,
                    member => next.extend(member),
                },
                StandardStep::Member(name) if is_array && is_lax => {
                    let objects = elements().into_iter().filter(|element| element.starts_with('{'));
                    next.extend(objects.filter_map(|object| member(object, name)));
                }
                StandardStep::Member(_) if is_lax => {}
                StandardStep::Element(index) if is_array || is_lax => match elements().get(*index) {
                    None if !is_lax => return None,
                    element => next.extend(element),
                },
                StandardStep::AllElements if is_array || is_lax => next.append(&mut elements()),
                _ => return None,
            }
        }
        found = next;
    }
    Some(found)
}

/// What a document has at a path, as it is written there; `None` when the document is not JSON.
fn find<'a>(document: &'a str, steps: &[Step]) -> Option<&'a str> {
    // Whoever goes along the text below may then rely on its grammar.
    serde_json::from_str::<IgnoredAny>(document).ok()?;
    let mut value = document.trim_ascii();
    for step in steps {
        value = match (value.as_bytes().first()?, step) {
            (b'{', Step::Key(key)) => member(value, key)?,
            (b'{', Step::Index(index)) => member(value, &index.to_string())?,
            (b'[', Step::Index(index)) => Elements(&value[1..]).nth(*index)?,
            (b'[', Step::Key(key)) => Elements(&value[1..]).nth(key.parse().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// The first member of that name.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut elements = Elements(&object[1..]);
    while let Some(key) = elements.next() {
        let value = elements.next()?;
        if unquote(key)? == name {
            return Some(value);
        }
    }
    None
}

fn unquote(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// The elements of an array, or keys and values of an object, in the text behind its bracket.
struct Elements<'a>(&'a str);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start_matches([' ', '\t', '\n', '\r', ',', ':']);
        let end = end_of_value(text.as_bytes())?;
        let (value, rest) = text.split_at_checked(end)?;
        self.0 = rest;
        Some(value)
    }
}

/// Where the value ends that a text begins with; `None` when it begins with a closing bracket.
fn end_of_value(text: &[u8]) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'"' => {
                at += 1;
                while *text.get(at)? != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return None,
            b'}' | b']' => depth -= 1,
            _ if depth > 0 => {}
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b':' | b'}' | b']') || byte.is_ascii_whitespace();
                return Some(at + text[at..].iter().position(ends).unwrap_or(text.len() - at));
            }
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// JSON without the white space between its tokens.
fn minify(text: &str) -> String {
    let mut is_string = false;
    let mut is_escaped = false;
    text.chars()
        .filter(|c| {
            if is_string {
                (is_escaped, is_string) = (*c == '\\' && !is_escaped, *c != '"' || is_escaped);
                return true;
            }
            is_string = *c == '"';
            !c.is_ascii_whitespace()
        })
        .collect()
}

/// Writes values as JSON.
pub(super) fn write(values: &ArrayRef) -> Result<ArrayRef> {
    if values.data_type().is_null() {
        return Ok(new_null_array(&JSON, values.len()));
    }
    let options = EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(RawJson));
    let values = &as_written(values)?;
    let field: FieldRef = Arc::new(Field::new("", values.data_type().clone(), true));
    let mut encoder = make_encoder(&field, values.as_ref(), &options)?;
    let out: LargeStringArray = (0..values.len())
        .map(|row| {
            (!values.is_null(row)).then(|| {
                let mut text = Vec::new();
                encoder.encode(row, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        })
        .collect();
    Ok(Arc::new(out))
}

/// The same values as JSON has them: times as casts to varchar give them, keys of maps as texts, in their order.
fn as_written(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Timestamp(..) => text_of(values)?,
        DataType::Map(field, _) => {
            let map = values.as_map();
            let (keys, inner) = (text_of(map.keys())?, as_written(map.values())?);
            let names = texts(&keys);
            let mut order: Vec<u64> = (0..keys.len() as u64).collect();
            for entries in map.offsets().windows(2) {
                let entries = &mut order[entries[0] as usize..entries[1] as usize];
                entries.sort_by_key(|entry| names.value(*entry as usize));
            }
            let order = UInt64Array::from(order);
            let columns = vec![take(&keys, &order, None)?, take(&inner, &order, None)?];
            let DataType::Struct(fields) = field.data_type() else { return Ok(Arc::clone(values)) };
            let fields = retyped(fields, &columns);
            let entries = StructArray::try_new(fields, columns, None)?;
            let field = Arc::new(field.as_ref().clone().with_data_type(entries.data_type().clone()));
            Arc::new(MapArray::try_new(field, map.offsets().clone(), entries, map.nulls().cloned(), false)?)
        }
        DataType::List(field) => {
            let list = values.as_list::<i32>();
            let items = as_written(list.values())?;
            let field = Arc::new(field.as_ref().clone().with_data_type(items.data_type().clone()));
            Arc::new(ListArray::try_new(field, list.offsets().clone(), items, list.nulls().cloned())?)
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            let rows = values.as_struct();
            let columns: Vec<ArrayRef> = rows.columns().iter().map(as_written).collect::<Result<_>>()?;
            let fields = retyped(fields, &columns);
            Arc::new(StructArray::try_new(fields, columns, rows.nulls().cloned())?)
        }
        _ => Arc::clone(values),
    })
}

/// Fields of the types of these columns.
fn retyped(fields: &Fields, columns: &[ArrayRef]) -> Fields {
    let fields = fields.iter().zip(columns);
    fields.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone())).collect()
}

/// Writes values that are JSON already as they are.
#[derive(Debug)]
struct RawJson;

impl EncoderFactory for RawJson {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn arrow::array::Array,
        _: &'a EncoderOptions,
    ) -> std::result::Result<Option<NullableEncoder<'a>>, ArrowError> {
        let Some(texts) = array.as_string_opt::<i64>() else { return Ok(None) };
        Ok(Some(NullableEncoder::new(Box::new(RawEncoder(texts)), array.nulls().cloned())))
    }
}

struct RawEncoder<'a>(&'a LargeStringArray);

impl Encoder for RawEncoder<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.value(row).as_bytes());
    }
}

/// Reads JSON as values of a type.
pub(super) fn read(documents: &ArrayRef, data_type: &DataType, is_try: bool) -> Result<ArrayRef> {
    let plain = cast_with_options(documents, &DataType::Utf8, &CastOptions::default())?;
    let documents = texts(&plain);
    let parsed: Vec<Option<Value>> = documents
        .iter()
        .map(|text| match text {
            None => Ok(None),
            Some(text) => match parse(text) {
                None if !is_try => {
                    Err(failed(format!("a value is not JSON, as a cast to {} needs", type_name(data_type))))
                }
                parsed => Ok(parsed),
            },
        })
        .collect::<Result<_>>()?;
    let values: Vec<Option<&Value>> = parsed.iter().map(Option::as_ref).collect();
    if !is_try {
        return build(&values, data_type);
    }
    // Row by row, for one that fails makes only itself null.
    let null = build(&[None], data_type)?;
    let rows: Vec<ArrayRef> =
        values.iter().map(|value| build(&[*value], data_type).unwrap_or_else(|_| Arc::clone(&null))).collect();
    if rows.is_empty() {
        return Ok(new_empty_array(data_type));
    }
    let rows: Vec<&dyn arrow::array::Array> = rows.iter().map(AsRef::as_ref).collect();
    Ok(concat(&rows)?)
}

fn build(values: &[Option<&Value>], data_type: &DataType) -> Result<ArrayRef> {
    let values: Vec<Option<&Value>> = values.iter().map(|value| value.filter(|value| !value.is_null())).collect();
    let misfit = || failed(format!("JSON of another kind cannot be cast to {}", type_name(data_type)));
    let nulls = || NullBuffer::from_iter(values.iter().map(Option::is_some));
    match data_type {
        &JSON => Ok(Arc::new(values.iter().map(|value| value.map(Value::to_string)).collect::<LargeStringArray>())),
        DataType::List(item) => {
            let mut items = Vec::new();
            let mut lengths = Vec::new();
            for value in &values {
                let found = match value {
                    None => &[][..],
                    Some(Value::Array(found)) => found,
                    Some(_) => return Err(misfit()),
                };
                items.extend(found.iter().map(Some));
                lengths.push(found.len());
            }
            let items = build(&items, item.data_type())?;
            let offsets = OffsetBuffer::from_lengths(lengths);
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, Some(nulls()))?))
        }
        DataType::Map(entries, is_sorted) => {
            let DataType::Struct(fields) = entries.data_type() else { return Err(misfit()) };
            let (mut keys, mut members, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
            for value in &values {
                match value {
                    None => lengths.push(0),
                    Some(Value::Object(found)) => {
                        keys.extend(found.keys().map(|key| Value::String(key.clone())));
                        members.extend(found.values().map(Some));
                        lengths.push(found.len());
                    }
                    Some(_) => return Err(misfit()),
                }
            }
            let keys: Vec<Option<&Value>> = keys.iter().map(Some).collect();
            let columns = vec![build(&keys, fields[0].data_type())?, build(&members, fields[1].data_type())?];
            let pairs = StructArray::try_new(fields.clone(), columns, None)?;
            let offsets = OffsetBuffer::from_lengths(lengths);
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, Some(nulls()), *is_sorted)?))
        }
        DataType::Struct(fields) => {
            let mut columns = Vec::new();
            for (index, field) in fields.iter().enumerate() {
                let members: Vec<Option<&Value>> = values
                    .iter()
                    .map(|value| match value {
                        None => Ok(None),
                        Some(Value::Object(found)) => Ok(found.get(field.name()).or_else(|| {
                            found.iter().find(|(key, _)| key.to_lowercase() == *field.name()).map(|(_, value)| value)
                        })),
                        Some(Value::Array(found)) => Ok(found.get(index)),
                        Some(_) => Err(misfit()),
                    })
                    .collect::<Result<_>>()?;
                columns.push(build(&members, field.data_type())?);
            }
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, Some(nulls()))?))
        }
        _ => {
            let text = |value: &Value| -> Result<String> {
                let text = scalar_text(value).ok_or_else(misfit)?;
                match value {
                    Value::Number(number) if data_type.is_integer() && !number.is_i64() => {
                        Ok(number.as_f64().map_or(text, |number| format!("{:.0}", number.round())))
                    }
                    Value::Bool(is_true) if data_type.is_numeric() => Ok(i32::from(*is_true).to_string()),
                    _ => Ok(text),
                }
            };
            let texts: Vec<Option<String>> =
                values.iter().map(|value| value.map(text).transpose()).collect::<Result<_>>()?;
            let texts: ArrayRef = Arc::new(StringArray::from(texts));
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(&texts, data_type, &options).map_err(|_| misfit())
        }
    }
}
