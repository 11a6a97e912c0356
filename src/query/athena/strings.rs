//! Strings: <https://trino.io/docs/current/functions/string.html>.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryArray, BooleanArray, Int64Array, ListBuilder, MapArray, MapBuilder,
    MapFieldNames, StringArray, StringBuilder,
};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;
use unicode_normalization::UnicodeNormalization as _;

use super::arrays::concat_lists;
use super::function::{Arg, Gives, Takes, by_row, failed, function, same_as_first, texts, wrong};
use super::meanings::engine_pattern;
use super::types::{list_of, map_of};

/// Without white space of any kind on both sides, or on one.
pub(super) const TRIM: &str = "__trim";
pub(super) const LTRIM: &str = "__ltrim";
pub(super) const RTRIM: &str = "__rtrim";
/// The pattern of LIKE that the engine takes, of one that is computed and its escape.
pub(super) const LIKE_PATTERN: &str = "__like_pattern";

fn trimmed(name: &'static str, trim: fn(&str) -> &str) -> ScalarUDF {
    function(name, Takes::These(&[Arg::Text], 1), Gives::This(DataType::Utf8), move |args, _| {
        Ok(Arc::new(texts(&args[0]).iter().map(|text| text.map(trim)).collect::<StringArray>()))
    })
}

/// White space as Java has it: no-break spaces are none, separators of files and records are.
fn is_space(c: char) -> bool {
    match c {
        '\u{85}' | '\u{a0}' | '\u{2007}' | '\u{202f}' => false,
        '\u{1c}'..='\u{1f}' => true,
        c => c.is_whitespace(),
    }
}

/// The only one.
fn one(mut letters: impl Iterator<Item = char>) -> Option<char> {
    letters.next().filter(|_| letters.next().is_none())
}

/// Texts with each letter by itself in another case, and each by one letter.
fn by_letter(name: &'static str, ascii: fn(&mut str), letter: fn(char) -> char) -> ScalarUDF {
    function(name, Takes::These(&[Arg::Text], 1), Gives::This(DataType::Utf8), move |args, _| {
        let in_case = |text: &str| match text.is_ascii() {
            true => {
                let mut text = text.to_owned();
                ascii(&mut text);
                text
            }
            false => text.chars().map(letter).collect(),
        };
        Ok(Arc::new(texts(&args[0]).iter().map(|text| text.map(in_case)).collect::<StringArray>()))
    })
}

pub(super) fn functions() -> Vec<ScalarUDF> {
    const TWO: Takes = Takes::These(&[Arg::Text, Arg::Text], 2);
    vec![
        trimmed(TRIM, |text| text.trim_matches(is_space)),
        trimmed(LTRIM, |text| text.trim_start_matches(is_space)),
        trimmed(RTRIM, |text| text.trim_end_matches(is_space)),
        by_letter("upper", str::make_ascii_uppercase, |letter| one(letter.to_uppercase()).unwrap_or(letter)),
        by_letter("lower", str::make_ascii_lowercase, |letter| match letter {
            // Its dot is lost.
            'İ' => 'i',
            letter => one(letter.to_lowercase()).unwrap_or(letter),
        }),
        function(
            "replace",
            Takes::These(&[Arg::Text, Arg::Text, Arg::Text], 2),
            Gives::This(DataType::Utf8),
            |args, _| {
                let (values, sought) = (texts(&args[0]), texts(&args[1]));
                let by = |row| args.get(2).map_or("", |by| texts(by).value(row));
                let out: StringArray =
                    by_row(args, |row| Ok(Some(values.value(row).replace(sought.value(row), by(row)))))?;
                Ok(Arc::new(out))
            },
        ),
        function("concat", Takes::By(concat_types), Gives::By(same_as_first), |args, data_type| {
            concat(args, data_type)
        }),
        function("length", Takes::By(text_or_binary), Gives::This(DataType::Int64), |args, _| Ok(length(&args[0]))),
        function("concat_ws", Takes::By(joined_types), Gives::This(DataType::Utf8), |args, _| Ok(concat_ws(args))),
        function(
            "split",
            Takes::These(&[Arg::Text, Arg::Text, Arg::Int], 2),
            Gives::This(list_of(DataType::Utf8)),
            split,
        ),
        function(
            "split_part",
            Takes::These(&[Arg::Text, Arg::Text, Arg::Int], 3),
            Gives::This(DataType::Utf8),
            split_part,
        ),
        function(
            "split_to_map",
            Takes::These(&[Arg::Text, Arg::Text, Arg::Text], 3),
            Gives::This(map_of(DataType::Utf8, DataType::Utf8)),
            |args, _| split_to_map(args),
        ),
        function(
            "strpos",
            Takes::These(&[Arg::Text, Arg::Text, Arg::Int], 2),
            Gives::This(DataType::Int64),
            |args, _| strpos(args),
        ),
        function(
            "substr",
            Takes::These(&[Arg::Text, Arg::Int, Arg::Int], 2),
            Gives::This(DataType::Utf8),
            |args, _| substr(args),
        ),
        function("hamming_distance", TWO, Gives::This(DataType::Int64), |args, _| hamming_distance(args)),
        function(LIKE_PATTERN, TWO, Gives::This(DataType::Utf8), |args, _| {
            let (patterns, escapes) = (texts(&args[0]), texts(&args[1]));
            let out: StringArray = by_row(args, |row| {
                engine_pattern(patterns.value(row), escapes.value(row).chars().next()).map(Some).map_err(failed)
            })?;
            Ok(Arc::new(out))
        }),
        function("normalize", TWO, Gives::This(DataType::Utf8), |args, _| normalize(args)),
        function("soundex", Takes::These(&[Arg::Text], 1), Gives::This(DataType::Utf8), |args, _| {
            let values = texts(&args[0]);
            let out: StringArray = by_row(args, |row| soundex(values.value(row)).map(Some))?;
            Ok(Arc::new(out))
        }),
        function("luhn_check", Takes::These(&[Arg::Text], 1), Gives::This(DataType::Boolean), |args, _| {
            let values = texts(&args[0]);
            let out: BooleanArray = by_row(args, |row| luhn_check(values.value(row)).map(Some))?;
            Ok(Arc::new(out))
        }),
        function("to_utf8", Takes::These(&[Arg::Text], 1), Gives::This(DataType::Binary), |args, _| {
            let values = texts(&args[0]);
            Ok(Arc::new(values.iter().map(|text| text.map(str::as_bytes)).collect::<BinaryArray>()))
        }),
        function("from_utf8", Takes::By(one_binary), Gives::This(DataType::Utf8), |args, _| {
            let values = args[0].as_binary::<i32>();
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            Ok(Arc::new(values.iter().map(|bytes| bytes.map(text)).collect::<StringArray>()))
        }),
        function("to_hex", Takes::By(one_binary), Gives::This(DataType::Utf8), |args, _| {
            let values = args[0].as_binary::<i32>();
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
            Ok(Arc::new(values.iter().map(|bytes| bytes.map(hex)).collect::<StringArray>()))
        }),
    ]
}

pub(super) fn one_binary(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [data_type] if data_type.is_binary() || data_type.is_null() => Ok(vec![DataType::Binary]),
        _ => Err(wrong("varbinary is taken; to_utf8 makes it of varchar")),
    }
}

/// Texts, or lists of one type.
fn concat_types(types: &[DataType]) -> Result<Vec<DataType>> {
    let is_text = |data_type: &DataType| data_type.is_string() || data_type.is_null();
    if types.iter().all(is_text) && !types.is_empty() {
        return Ok(vec![DataType::Utf8; types.len()]);
    }
    match types.iter().find(|data_type| matches!(data_type, DataType::List(_))) {
        Some(list) if types.iter().all(|other| matches!(other, DataType::List(_)) || other.is_null()) => {
            Ok(vec![list.clone(); types.len()])
        }
        _ => Err(wrong("concat takes texts or arrays; cast other values to varchar")),
    }
}

fn text_or_binary(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [data_type] if data_type.is_binary() => Ok(vec![DataType::Binary]),
        [data_type] if data_type.is_string() || data_type.is_null() => Ok(vec![DataType::Utf8]),
        _ => Err(wrong("length takes varchar or varbinary")),
    }
}

/// Characters of texts, bytes of others.
fn length(values: &ArrayRef) -> ArrayRef {
    let characters = |text: &str| if text.is_ascii() { text.len() } else { text.chars().count() };
    Arc::new(match values.as_binary_opt::<i32>() {
        Some(values) => values.iter().map(|bytes| bytes.map(|bytes| bytes.len() as i64)).collect::<Int64Array>(),
        None => texts(values).iter().map(|text| text.map(|text| characters(text) as i64)).collect(),
    })
}

/// A separator, and texts or arrays of them.
fn joined_types(types: &[DataType]) -> Result<Vec<DataType>> {
    let coerce = |(index, data_type): (usize, &DataType)| match data_type {
        DataType::List(item) if index > 0 && (item.data_type().is_string() || item.data_type().is_null()) => {
            Ok(list_of(DataType::Utf8))
        }
        other if other.is_string() || other.is_null() => Ok(DataType::Utf8),
        _ => Err(wrong("concat_ws takes a separator, and texts or arrays of them; cast other values to varchar")),
    };
    if types.len() < 2 {
        return Err(wrong("concat_ws takes 2 arguments at least"));
    }
    types.iter().enumerate().map(coerce).collect()
}

/// Without what is null; null where the separator is.
fn concat_ws(args: &[ArrayRef]) -> ArrayRef {
    let (separators, values) = (texts(&args[0]), &args[1..]);
    let joined = |row: usize| {
        let mut parts: Vec<String> = Vec::new();
        for value in values {
            match value.as_list_opt::<i32>() {
                Some(list) if list.is_null(row) => {}
                Some(list) => parts.extend(texts(&list.value(row)).iter().flatten().map(str::to_owned)),
                None => parts.extend(texts(value).is_valid(row).then(|| texts(value).value(row).to_owned())),
            }
        }
        separators.is_valid(row).then(|| parts.join(separators.value(row)))
    };
    Arc::new((0..separators.len()).map(joined).collect::<StringArray>())
}

/// Null where an argument is.
fn concat(args: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    if matches!(data_type, DataType::List(_)) {
        return concat_lists(args);
    }
    let all: Vec<&StringArray> = args.iter().map(texts).collect();
    let out: StringArray = by_row(args, |row| Ok(Some(all.iter().map(|text| text.value(row)).collect::<String>())))?;
    Ok(Arc::new(out))
}

fn split(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let (values, delimiters) = (texts(&args[0]), texts(&args[1]));
    let limits = args.get(2).map(arrow::array::AsArray::as_primitive::<Int64Type>);
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..values.len() {
        if args.iter().any(|arg| arg.is_null(row)) {
            builder.append_null();
            continue;
        }
        let limit = match limits.map(|limits| limits.value(row)) {
            None => usize::MAX,
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| *limit > 0)
                .ok_or_else(|| failed("the limit of split must be positive"))?,
        };
        let (value, delimiter) = (values.value(row), delimiters.value(row));
        if delimiter.is_empty() {
            return Err(failed("the delimiter of split must not be empty"));
        }
        value.splitn(limit, delimiter).for_each(|part| builder.values().append_value(part));
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

/// The part at an index from 1; null behind the last.
fn split_part(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let (values, delimiters, indices) = (texts(&args[0]), texts(&args[1]), args[2].as_primitive::<Int64Type>());
    let out: StringArray = by_row(args, |row| {
        let index = usize::try_from(indices.value(row)).ok().and_then(|index| index.checked_sub(1));
        let index = index.ok_or_else(|| failed("the index of split_part must be positive"))?;
        let (value, delimiter) = (values.value(row), delimiters.value(row));
        if delimiter.is_empty() {
            return Ok(value.chars().nth(index).map(String::from));
        }
        Ok(value.split(delimiter).nth(index).map(str::to_owned))
    })?;
    Ok(Arc::new(out))
}

/// Keys and values of a text that has `between` between its entries, and `within` between key and value.
pub(super) fn split_entries<'a>(
    value: &'a str,
    between: &'a str,
    within: &'a str,
    name: &'static str,
) -> impl Iterator<Item = Result<(&'a str, &'a str)>> {
    let lacks = move || failed(format!("{name}: an entry lacks the delimiter of key and value"));
    let entries = value.split(between).filter(|entry| !entry.is_empty());
    entries.map(move |entry| entry.split_once(within).ok_or_else(lacks))
}

fn split_to_map(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, entries, pairs) = (texts(&args[0]), texts(&args[1]), texts(&args[2]));
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in 0..values.len() {
        if args.iter().any(|arg| arg.is_null(row)) {
            builder.append(false)?;
            continue;
        }
        let mut found = HashSet::new();
        for entry in split_entries(values.value(row), entries.value(row), pairs.value(row), "split_to_map") {
            let (key, value) = entry?;
            if !found.insert(key) {
                return Err(failed(format!("split_to_map: the key {key} is there twice")));
            }
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true)?;
    }
    let map: MapArray = builder.finish();
    Ok(Arc::new(map))
}

/// The place of the first, or of the n-th, or of the n-th from the end (negative); 0 when it is not there.
fn strpos(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, sought) = (texts(&args[0]), texts(&args[1]));
    let instances = args.get(2).map(arrow::array::AsArray::as_primitive::<Int64Type>);
    let out: Int64Array = by_row(args, |row| {
        let (value, sought) = (values.value(row), sought.value(row));
        let instance = instances.map_or(1, |instances| instances.value(row));
        if instance == 0 {
            return Err(failed("strpos takes no instance 0"));
        }
        let skipped = usize::try_from(instance.unsigned_abs() - 1).unwrap_or(usize::MAX);
        let found = if instance > 0 {
            value.match_indices(sought).nth(skipped)
        } else {
            value.rmatch_indices(sought).nth(skipped)
        };
        Ok(Some(found.map_or(0, |(at, _)| value[..at].chars().count() as i64 + 1)))
    })?;
    Ok(Arc::new(out))
}

/// From a place that counts from 1, or from the end when it is negative.
fn substr(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, starts) = (texts(&args[0]), args[1].as_primitive::<Int64Type>());
    let lengths = args.get(2).map(arrow::array::AsArray::as_primitive::<Int64Type>);
    let out: StringArray = by_row(args, |row| {
        let value = values.value(row);
        let start = starts.value(row);
        let skipped = if start > 0 {
            usize::try_from(start - 1).unwrap_or(usize::MAX)
        } else {
            let from_end = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
            match value.chars().count().checked_sub(from_end) {
                Some(skipped) if start < 0 => skipped,
                _ => return Ok(Some(String::new())),
            }
        };
        let length = lengths.map_or(usize::MAX, |lengths| usize::try_from(lengths.value(row)).unwrap_or(0));
        Ok(Some(value.chars().skip(skipped).take(length).collect::<String>()))
    })?;
    Ok(Arc::new(out))
}

fn hamming_distance(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right) = (texts(&args[0]), texts(&args[1]));
    let out: Int64Array = by_row(args, |row| {
        let (left, right) = (left.value(row), right.value(row));
        if left.chars().count() != right.chars().count() {
            return Err(failed("hamming_distance takes texts of one length"));
        }
        Ok(Some(left.chars().zip(right.chars()).filter(|(left, right)| left != right).count() as i64))
    })?;
    Ok(Arc::new(out))
}

/// In the normal form that is named.
fn normalize(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, forms) = (texts(&args[0]), texts(&args[1]));
    let out: StringArray = by_row(args, |row| {
        let value = values.value(row).chars();
        Ok(Some(match forms.value(row).to_ascii_uppercase().as_str() {
            "NFC" => value.nfc().collect::<String>(),
            "NFD" => value.nfd().collect(),
            "NFKC" => value.nfkc().collect(),
            "NFKD" => value.nfkd().collect(),
            other => return Err(failed(format!("there is no normal form {other}: NFC, NFD, NFKC and NFKD are"))),
        }))
    })?;
    Ok(Arc::new(out))
}

/// The first letter, and three digits for how the next consonants sound: of neighbours that sound alike one, also over `h` and `w`.
fn soundex(value: &str) -> Result<String> {
    let code = |letter: char| match letter {
        'B' | 'F' | 'P' | 'V' => '1',
        'C' | 'G' | 'J' | 'K' | 'Q' | 'S' | 'X' | 'Z' => '2',
        'D' | 'T' => '3',
        'L' => '4',
        'M' | 'N' => '5',
        'R' => '6',
        _ => '0',
    };
    let mut letters = value.chars().filter(|letter| !letter.is_ascii() || letter.is_ascii_alphabetic());
    let Some(first) = letters.next().map(|letter| letter.to_ascii_uppercase()) else { return Ok(String::new()) };
    let (mut out, mut last) = (String::from(first), code(first));
    let not_ascii = || failed("soundex takes ASCII letters");
    if !first.is_ascii() {
        return Err(not_ascii());
    }
    for letter in letters {
        let letter = letter.to_ascii_uppercase();
        if !letter.is_ascii() {
            return Err(not_ascii());
        }
        if let 'H' | 'W' = letter {
            continue;
        }
        let code = code(letter);
        if code != '0' && code != last && out.len() < 4 {
            out.push(code);
        }
        last = code;
    }
    Ok(format!("{out:0<4}"))
}

/// Whether the last of some digits is the check digit of the others.
fn luhn_check(value: &str) -> Result<bool> {
    let mut sum = 0;
    for (place, digit) in value.chars().rev().enumerate() {
        let digit =
            digit.to_digit(10).ok_or_else(|| failed(format!("luhn_check: {value:?} is not of digits alone")))?;
        let doubled = digit << (place % 2);
        sum += if doubled > 9 { doubled - 9 } else { doubled };
    }
    Ok(!value.is_empty() && sum % 10 == 0)
}
