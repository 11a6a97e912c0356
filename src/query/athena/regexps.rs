//! Regular expressions: <https://trino.io/docs/current/functions/regexp.html>.
//!
//! The expressions are those of the regex crate, which are those of Java but for look-around and back references.

use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, ListBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;
use regex::{Match, Regex};

use super::function::{Arg, Gives, Last, Takes, by_row, failed, function, texts};
use super::types::list_of;

pub(super) fn functions() -> Vec<ScalarUDF> {
    const TWO: Takes = Takes::These(&[Arg::Text, Arg::Text], 2);
    const WITH_GROUP: Takes = Takes::These(&[Arg::Text, Arg::Text, Arg::Int], 2);
    vec![
        function("regexp_like", TWO, Gives::This(DataType::Boolean), |args, _| {
            let (values, patterns) = (texts(&args[0]), texts(&args[1]));
            let mut last = Last::new();
            let out: BooleanArray =
                by_row(args, |row| Ok(Some(last.get(patterns.value(row), read)?.is_match(values.value(row)))))?;
            Ok(Arc::new(out))
        }),
        function("regexp_count", TWO, Gives::This(DataType::Int64), |args, _| {
            let (values, patterns) = (texts(&args[0]), texts(&args[1]));
            let mut last = Last::new();
            let out: Int64Array = by_row(args, |row| {
                Ok(Some(matches(last.get(patterns.value(row), read)?, values.value(row)).count() as i64))
            })?;
            Ok(Arc::new(out))
        }),
        function("regexp_extract", WITH_GROUP, Gives::This(DataType::Utf8), |args, _| extract(args)),
        function("regexp_extract_all", WITH_GROUP, Gives::This(list_of(DataType::Utf8)), |args, _| extract_all(args)),
        function("regexp_split", TWO, Gives::This(list_of(DataType::Utf8)), |args, _| split(args)),
        function(
            "regexp_replace",
            Takes::These(&[Arg::Text, Arg::Text, Arg::Text], 2),
            Gives::This(DataType::Utf8),
            |args, _| replace(args),
        ),
        function(
            "regexp_position",
            Takes::These(&[Arg::Text, Arg::Text, Arg::Int, Arg::Int], 2),
            Gives::This(DataType::Int64),
            |args, _| position(args),
        ),
    ]
}

fn read(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| failed(format!("the regular expression {pattern} is not taken: {error}")))
}

/// The group that the third argument numbers, which the expression must have.
fn group(args: &[ArrayRef], row: usize, regex: &Regex) -> Result<usize> {
    let Some(groups) = args.get(2) else { return Ok(0) };
    let number = groups.as_primitive::<Int64Type>().value(row);
    usize::try_from(number)
        .ok()
        .filter(|group| *group < regex.captures_len())
        .ok_or_else(|| failed(format!("the regular expression has no group {number}")))
}

fn extract(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns) = (texts(&args[0]), texts(&args[1]));
    let mut last = Last::new();
    let out: StringArray = by_row(args, |row| {
        let regex = last.get(patterns.value(row), read)?;
        let group = group(args, row, regex)?;
        let found = regex.captures(values.value(row)).and_then(|captures| captures.get(group));
        Ok(found.map(|found| found.as_str().to_owned()))
    })?;
    Ok(Arc::new(out))
}

fn extract_all(args: &[ArrayRef]) -> Result<ArrayRef> {
    lists_of_parts(args, |row, regex, value, parts| {
        let group = group(args, row, regex)?;
        for found in matches(regex, value) {
            let captures = regex.captures_at(value, found.start()).filter(|_| group > 0);
            let part = captures.map_or(Some(found), |captures| captures.get(group));
            parts.append_option(part.map(|part| part.as_str()));
        }
        Ok(())
    })
}

fn split(args: &[ArrayRef]) -> Result<ArrayRef> {
    lists_of_parts(args, |_, regex, value, parts| {
        regex.split(value).for_each(|part| parts.append_value(part));
        Ok(())
    })
}

/// For each row a list of what `add` finds of its text by its pattern; null where an argument is.
fn lists_of_parts(
    args: &[ArrayRef],
    add: impl Fn(usize, &Regex, &str, &mut StringBuilder) -> Result<()>,
) -> Result<ArrayRef> {
    let (values, patterns) = (texts(&args[0]), texts(&args[1]));
    let mut last = Last::new();
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..values.len() {
        if args.iter().any(|arg| arg.is_null(row)) {
            builder.append_null();
            continue;
        }
        add(row, last.get(patterns.value(row), read)?, values.value(row), builder.values())?;
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

/// All matches as Java finds them: an empty one may stand right behind another.
fn matches<'a>(regex: &'a Regex, text: &'a str) -> impl Iterator<Item = Match<'a>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let found = if next <= text.len() { regex.find_at(text, next)? } else { return None };
        next = found.end();
        if found.is_empty() {
            next += text[next..].chars().next().map_or(1, char::len_utf8);
        }
        Some(found)
    })
}

fn replace(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns) = (texts(&args[0]), texts(&args[1]));
    let replacements = args.get(2).map(texts);
    let mut last = Last::new();
    let mut made: Option<(&str, &str, Vec<Piece>)> = None;
    let out: StringArray = by_row(args, |row| {
        let (pattern, by) = (patterns.value(row), replacements.map_or("", |by| by.value(row)));
        let regex = last.get(pattern, read)?;
        let value = values.value(row);
        let (mut out, mut kept) = (String::new(), 0);
        for found in matches(regex, value) {
            out.push_str(&value[kept..found.start()]);
            kept = found.end();
            // Only what is put in a place is read.
            let known = made.take().filter(|(other, other_by, _)| (pattern, by) == (*other, *other_by));
            let pieces = match known {
                Some((.., pieces)) => pieces,
                None => pieces(by, regex)?,
            };
            let mut captures = None;
            for piece in &pieces {
                match piece {
                    Piece::Text(text) => out.push_str(text),
                    Piece::Group(group) => {
                        let captures = captures.get_or_insert_with(|| regex.captures_at(value, found.start()));
                        let group = captures.as_ref().and_then(|captures| captures.get(*group));
                        out.push_str(group.map_or("", |group| group.as_str()));
                    }
                }
            }
            made = Some((pattern, by, pieces));
        }
        Ok(Some(out + &value[kept..]))
    })?;
    Ok(Arc::new(out))
}

/// A part of what stands in the place of a match.
enum Piece {
    Text(String),
    Group(usize),
}

/// The pieces of a replacement of Java: `$1x`, `${name}`, `\$`. A number has as many digits as there is a group for.
fn pieces(text: &str, regex: &Regex) -> Result<Vec<Piece>> {
    let unknown = |group: &str| failed(format!("the regular expression has no group {group}"));
    let lone = |sign: char| failed(format!("in a replacement, {sign} must stand before what it is for"));
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(chars.next().ok_or_else(|| lone('\\'))?),
            '$' => {
                let group = if chars.next_if_eq(&'{').is_some() {
                    let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                    let place = regex.capture_names().position(|other| other == Some(name.as_str()));
                    place.ok_or_else(|| unknown(&name))?
                } else {
                    let first = chars.next().and_then(|digit| digit.to_digit(10)).ok_or_else(|| lone('$'))?;
                    let mut group = first as usize;
                    if group >= regex.captures_len() {
                        return Err(unknown(&group.to_string()));
                    }
                    while let Some(digit) = chars.peek().and_then(|digit| digit.to_digit(10)) {
                        let longer = group * 10 + digit as usize;
                        if longer >= regex.captures_len() {
                            break;
                        }
                        group = longer;
                        chars.next();
                    }
                    group
                };
                pieces.extend([Piece::Text(std::mem::take(&mut plain)), Piece::Group(group)]);
            }
            other => plain.push(other),
        }
    }
    pieces.push(Piece::Text(plain));
    Ok(pieces)
}

/// The place of the n-th match from a place on, both from 1; -1 when there is none.
fn position(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, patterns) = (texts(&args[0]), texts(&args[1]));
    let number = |index: usize, row: usize| match args.get(index) {
        None => Ok(0),
        Some(numbers) => usize::try_from(numbers.as_primitive::<Int64Type>().value(row))
            .ok()
            .and_then(|number| number.checked_sub(1))
            .ok_or_else(|| failed("regexp_position counts from 1")),
    };
    let mut last = Last::new();
    let out: Int64Array = by_row(args, |row| {
        let regex = last.get(patterns.value(row), read)?;
        let value = values.value(row);
        let (start, occurrence) = (number(2, row)?, number(3, row)?);
        let Some((from, _)) = value.char_indices().nth(start).or((start == 0).then_some((0, ' '))) else {
            return Ok(Some(-1));
        };
        let mut at = from;
        let mut found = None;
        for _ in 0..=occurrence {
            found = if at <= value.len() { regex.find_at(value, at) } else { None };
            let Some(matched) = found else { break };
            at = matched.end().max(matched.start() + 1);
        }
        Ok(Some(found.map_or(-1, |found| value[..found.start()].chars().count() as i64 + 1)))
    })?;
    Ok(Arc::new(out))
}
