//! ISO 8601, and timestamps as text.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::types::{Date32Type, TimestampMicrosecondType};
use arrow::array::{ArrayRef, AsArray as _, Date32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike as _, Weekday};
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;

use super::Moments;
use crate::query::athena::function::{Arg, Gives, Takes, by_row, failed, function, texts, wrong};
use crate::query::athena::types::zoned;

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![
        function("from_iso8601_timestamp", Takes::By(text_or_moment), Gives::This(zoned("UTC")), |args, _| {
            if let Some(moments) = args[0].as_primitive_opt::<TimestampMicrosecondType>() {
                return Ok(Arc::new(moments.unary::<_, TimestampMicrosecondType>(to_millis).with_timezone("UTC")));
            }
            let values = texts(&args[0]);
            let out: TimestampMicrosecondArray = by_row(args, |row| {
                let parsed = timestamp(values.value(row));
                parsed
                    .map(|micros| Some(to_millis(micros)))
                    .ok_or_else(|| failed("from_iso8601_timestamp: a value is not of ISO 8601"))
            })?;
            Ok(Arc::new(out.with_timezone("UTC")))
        }),
        function("from_iso8601_date", Takes::These(&[Arg::Text], 1), Gives::This(DataType::Date32), |args, _| {
            let values = texts(&args[0]);
            let out: Date32Array = by_row(args, |row| match date(values.value(row)) {
                Some((date, "")) => Ok(Some(Date32Type::from_naive_date(date))),
                _ => Err(failed("from_iso8601_date: a value is not of ISO 8601")),
            })?;
            Ok(Arc::new(out))
        }),
        function("to_iso8601", Takes::These(&[Arg::Time], 1), Gives::This(DataType::Utf8), |args, _| to_iso8601(args)),
    ]
}

/// Finer than milliseconds they are not.
fn to_millis(micros: i64) -> i64 {
    micros - micros.rem_euclid(1000)
}

/// What was found to be a moment is taken as it is: texts of a column that are all moments are such.
fn text_or_moment(types: &[DataType]) -> Result<Vec<DataType>> {
    Ok(match types {
        [DataType::Timestamp(_, Some(_))] => vec![zoned("UTC")],
        [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null] => vec![DataType::Utf8],
        _ => return Err(wrong("from_iso8601_timestamp takes a varchar")),
    })
}

fn to_iso8601(args: &[ArrayRef]) -> Result<ArrayRef> {
    let out: StringArray = if let Some(days) = args[0].as_primitive_opt::<Date32Type>() {
        by_row(args, |row| Ok(days.value_as_date(row).map(|date| date.to_string())))?
    } else {
        let moments = Moments::new(&args[0])?;
        by_row(args, |row| {
            let Some(local) = moments.local(row) else { return Ok(None) };
            let mut text = print(local, 'T');
            if moments.zone.is_some() {
                let shift = local.and_utc().timestamp_micros() - moments.micros.value(row);
                match shift / 60_000_000 {
                    0 => text.push('Z'),
                    minutes => {
                        let sign = if minutes < 0 { '-' } else { '+' };
                        let _ = write!(text, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60);
                    }
                }
            }
            Ok(Some(text))
        })?
    };
    Ok(Arc::new(out))
}

/// Milliseconds, and microseconds where there are some.
fn print(local: NaiveDateTime, between: char) -> String {
    let micros = local.nanosecond() / 1000;
    let mut text = format!("{}{between}{}", local.date(), local.time().format("%H:%M:%S"));
    let _ =
        if micros.is_multiple_of(1000) { write!(text, ".{:03}", micros / 1000) } else { write!(text, ".{micros:06}") };
    text
}

/// Timestamps as casts to varchar write them: `2020-05-11 11:15:05.000`, with the zone behind.
pub(in crate::query::athena) fn print_timestamp(args: &[ArrayRef]) -> Result<ArrayRef> {
    let moments = Moments::new(&args[0])?;
    let zone = args[0].as_primitive::<TimestampMicrosecondType>().timezone().map(|zone| format!(" {zone}"));
    let out: StringArray = by_row(args, |row| {
        let text = moments.local(row).map(|local| print(local, ' ') + zone.as_deref().unwrap_or_default());
        Ok(text)
    })?;
    Ok(Arc::new(out))
}

/// Takes `count` digits.
fn digits(text: &str, count: usize) -> Option<(u32, &str)> {
    let number = text.get(..count)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok()?, &text[count..]))
}

/// A calendar date, a week date or a day of a year, and what is behind.
fn date(text: &str) -> Option<(NaiveDate, &str)> {
    let (year, rest) = digits(text, 4)?;
    let year = i32::try_from(year).ok()?;
    let Some(rest) = rest.strip_prefix('-') else { return Some((NaiveDate::from_ymd_opt(year, 1, 1)?, rest)) };
    if let Some(rest) = rest.strip_prefix('W') {
        let (week, rest) = digits(rest, 2)?;
        let (day, rest) = rest.strip_prefix('-').and_then(|rest| digits(rest, 1)).unwrap_or((1, rest));
        let day = Weekday::try_from(u8::try_from(day).ok()?.checked_sub(1)?).ok()?;
        return Some((NaiveDate::from_isoywd_opt(year, week, day)?, rest));
    }
    if let Some((day, rest)) = digits(rest, 3) {
        return Some((NaiveDate::from_yo_opt(year, day)?, rest));
    }
    let (month, rest) = digits(rest, 2)?;
    let (day, rest) = match rest.strip_prefix('-') {
        Some(rest) => digits(rest, 2)?,
        None => (1, rest),
    };
    Some((NaiveDate::from_ymd_opt(year, month, day)?, rest))
}

/// The moment in microseconds; without a zone, of UTC.
fn timestamp(text: &str) -> Option<i64> {
    let (date, rest) = date(text)?;
    let Some(rest) = rest.strip_prefix('T') else {
        return rest.is_empty().then(|| date.and_time(NaiveTime::MIN).and_utc().timestamp_micros());
    };
    let (hour, mut rest) = if rest.is_empty() { (0, rest) } else { digits(rest, 2)? };
    let (mut minute, mut second, mut micros) = (0, 0, 0);
    if let Some(after) = rest.strip_prefix(':') {
        (minute, rest) = digits(after, 2)?;
        if let Some(after) = rest.strip_prefix(':') {
            (second, rest) = digits(after, 2)?;
            if let Some(after) = rest.strip_prefix(['.', ',']) {
                let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
                micros = format!("{:0<6}", after.get(..end.min(6))?).parse().ok()?;
                rest = &after[end..];
            }
        }
    }
    let local = date.and_time(NaiveTime::from_hms_micro_opt(hour, minute, second, micros)?);
    let shift = match rest {
        "" | "Z" => 0,
        _ => {
            let (sign, rest) =
                if let Some(rest) = rest.strip_prefix('+') { (1, rest) } else { (-1, rest.strip_prefix('-')?) };
            let (hours, rest) = digits(rest, 2)?;
            let (minutes, rest) =
                if rest.is_empty() { (0, rest) } else { digits(rest.strip_prefix(':').unwrap_or(rest), 2)? };
            if !rest.is_empty() {
                return None;
            }
            sign * (i64::from(hours) * 60 + i64::from(minutes))
        }
    };
    Some(local.checked_sub_signed(TimeDelta::minutes(shift))?.and_utc().timestamp_micros())
}
