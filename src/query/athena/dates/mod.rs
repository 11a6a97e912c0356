//! Dates and times: <https://trino.io/docs/current/functions/datetime.html>.
//!
//! Timestamps have microseconds here. Fields of a timestamp with time zone are those of its zone.

mod iso;
mod pattern;

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Date32Array, Float64Array, Int64Array, PrimitiveArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{
    DateTime, Datelike as _, Days, LocalResult, Months, NaiveDate, NaiveDateTime, Offset as _, TimeDelta,
    TimeZone as _, Timelike as _,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::function::{Arg, Gives, Last, Takes, by_row, failed, function, invertible, same_as_first, texts, wrong};
use super::types::zoned;
use pattern::Pattern;

pub(super) use iso::print_timestamp;

pub(super) const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A timestamp to so many digits of a second.
pub(super) const ROUND_TIME: &str = "__round_time";

/// The microseconds of the last of so many digits of a second.
fn unit_of(digits: i64) -> i64 {
    10_i64.pow(6 - u32::try_from(digits).unwrap_or(6).min(6))
}

/// The timestamps that are rounded to one: half a unit before it is the first, half a unit behind it the first that is not.
fn rounded_from(args: &[Expr], rounded: &ScalarValue) -> Option<(ScalarValue, ScalarValue)> {
    let [_, Expr::Literal(ScalarValue::Int64(Some(digits)), _)] = args else { return None };
    let ScalarValue::TimestampMicrosecond(Some(micros), zone) = rounded else { return None };
    let unit = unit_of(*digits);
    let at = |micros: i64| ScalarValue::TimestampMicrosecond(Some(micros), zone.clone());
    let (begin, end) = (micros.checked_sub(unit / 2)?, micros.checked_add(unit / 2)?);
    (unit > 1 && micros.rem_euclid(unit) == 0).then(|| (at(begin), at(end)))
}

/// The functions.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let mut all = vec![
        function("date_add", Takes::These(&[Arg::Text, Arg::Int, Arg::Time], 3), Gives::By(type_of_third), date_add),
        function("date_diff", Takes::By(diff_types), Gives::This(DataType::Int64), date_diff),
        function("date_trunc", Takes::These(&[Arg::Text, Arg::Time], 2), Gives::By(type_of_second), date_trunc),
        function(
            "last_day_of_month",
            Takes::These(&[Arg::Moment], 1),
            Gives::This(DataType::Date32),
            last_day_of_month,
        ),
        function("from_unixtime", Takes::These(&[Arg::Double, Arg::Text], 1), Gives::By(zone_of_second), from_unixtime),
        function("to_unixtime", Takes::These(&[Arg::Moment], 1), Gives::This(DataType::Float64), to_unixtime),
        function("at_timezone", Takes::These(&[Arg::Moment, Arg::Text], 2), Gives::By(zone_of_second), at_timezone),
        function("with_timezone", Takes::These(&[Arg::Moment, Arg::Text], 2), Gives::By(zone_of_second), with_timezone),
        function("date_format", Takes::These(&[Arg::Moment, Arg::Text], 2), Gives::This(DataType::Utf8), |args, _| {
            print(args, Pattern::mysql)
        }),
        function(
            "format_datetime",
            Takes::These(&[Arg::Moment, Arg::Text], 2),
            Gives::This(DataType::Utf8),
            |args, _| print(args, Pattern::joda),
        ),
        function("date_parse", Takes::These(&[Arg::Text, Arg::Text], 2), Gives::This(timestamp()), |args, _| {
            Ok(Arc::new(parse(args, Pattern::mysql, "date_parse")?))
        }),
        function("parse_datetime", Takes::These(&[Arg::Text, Arg::Text], 2), Gives::This(zoned("UTC")), |args, _| {
            Ok(Arc::new(parse(args, Pattern::joda, "parse_datetime")?.with_timezone("UTC")))
        }),
    ];
    let takes = Takes::These(&[Arg::Moment, Arg::Int], 2);
    all.push(invertible(ROUND_TIME, takes, Gives::By(same_as_first), rounded_from, |args, _| {
        let (micros, digits) =
            (args[0].as_primitive::<TimestampMicrosecondType>(), args[1].as_primitive::<Int64Type>());
        let out: TimestampMicrosecondArray = by_row(args, |row| {
            let unit = unit_of(digits.value(row));
            let (whole, rest) = (micros.value(row).div_euclid(unit), micros.value(row).rem_euclid(unit));
            Ok((whole + i64::from(rest * 2 >= unit)).checked_mul(unit))
        })?;
        Ok(Arc::new(out.with_timezone_opt(micros.timezone())))
    }));
    all.extend(iso::functions());
    all.extend(OFFSETS.map(|(name, part)| {
        function(name, Takes::These(&[Arg::Moment], 1), Gives::This(DataType::Int64), move |args, _| {
            let moments = Moments::new(&args[0])?;
            let out: Int64Array = by_row(args, |row| {
                let (local, utc) = (moments.local(row), to_local(moments.micros.value(row), None));
                Ok(local.zip(utc).map(|(local, utc)| part((local - utc).num_minutes())))
            })?;
            Ok(Arc::new(out))
        })
    }));
    all.push(function("from_unixtime_nanos", Takes::These(&[Arg::Int], 1), Gives::This(zoned("UTC")), |args, _| {
        let nanos = args[0].as_primitive::<Int64Type>();
        let micros = nanos.unary::<_, TimestampMicrosecondType>(|nanos| nanos.div_euclid(1000));
        Ok(Arc::new(micros.with_timezone("UTC")))
    }));
    all.push(function(
        "human_readable_seconds",
        Takes::These(&[Arg::Double], 1),
        Gives::This(DataType::Utf8),
        |args, _| {
            let seconds = args[0].as_primitive::<Float64Type>();
            let out: StringArray = by_row(args, |row| human_readable(seconds.value(row)).map(Some))?;
            Ok(Arc::new(out))
        },
    ));
    all.extend(FIELDS.map(|(name, field)| {
        function(name, Takes::These(&[Arg::Moment], 1), Gives::This(DataType::Int64), move |args, _| {
            let moments = Moments::new(&args[0])?;
            let out: Int64Array = by_row(args, |row| Ok(moments.local(row).map(field)))?;
            Ok(Arc::new(out))
        })
    }));
    all
}

type Field = fn(NaiveDateTime) -> i64;

/// The functions that give a field.
const FIELDS: [(&str, Field); 15] = [
    ("year", |time| time.year().into()),
    ("quarter", |time| time.month0() as i64 / 3 + 1),
    ("month", |time| time.month().into()),
    ("week", |time| time.iso_week().week().into()),
    ("year_of_week", |time| time.iso_week().year().into()),
    ("day", |time| time.day().into()),
    ("day_of_month", |time| time.day().into()),
    ("day_of_week", |time| time.weekday().number_from_monday().into()),
    ("day_of_year", |time| time.ordinal().into()),
    ("hour", |time| time.hour().into()),
    ("minute", |time| time.minute().into()),
    ("second", |time| time.second().into()),
    ("millisecond", |time| i64::from(time.nanosecond()) / 1_000_000),
    ("microsecond", |time| i64::from(time.nanosecond()) / 1000),
    ("era", |time| (time.year() > 0).into()),
];

type Part = fn(i64) -> i64;

/// The functions that give a part of what a zone is ahead of UTC, in minutes.
const OFFSETS: [(&str, Part); 2] =
    [("timezone_hour", |minutes| minutes / 60), ("timezone_minute", |minutes| minutes % 60)];

/// `1 day, 2 hours, 1 second`
fn human_readable(seconds: f64) -> Result<String> {
    const UNITS: [(&str, u64); 5] = [("week", 604_800), ("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)];
    let rounded = seconds.abs().round();
    if !rounded.is_finite() || rounded >= u64::MAX as f64 {
        return Err(failed("human_readable_seconds takes a number of seconds"));
    }
    let mut left = rounded as u64;
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        let count = left / length;
        left %= length;
        if count > 0 || (length == 1 && parts.is_empty()) {
            parts.push(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }));
        }
    }
    Ok(parts.join(", "))
}

/// Timestamps with the clock of their zone.
struct Moments<'a> {
    micros: &'a TimestampMicrosecondArray,
    zone: Option<Tz>,
}

impl<'a> Moments<'a> {
    fn new(arg: &'a ArrayRef) -> Result<Self> {
        let micros = arg.as_primitive::<TimestampMicrosecondType>();
        let zone = micros.timezone().map(parse_zone).transpose()?;
        Ok(Self { micros, zone })
    }

    /// What the clock shows.
    fn local(&self, row: usize) -> Option<NaiveDateTime> {
        to_local(self.micros.value(row), self.zone)
    }
}

/// What the clocks of a zone showed, as timestamps without zone.
pub(super) fn local_times(times: &ArrayRef) -> Result<ArrayRef> {
    let moments = Moments::new(times)?;
    let out: TimestampMicrosecondArray = by_row(std::slice::from_ref(times), |row| {
        Ok(moments.local(row).map(|local| local.and_utc().timestamp_micros()))
    })?;
    Ok(Arc::new(out))
}

pub(super) fn parse_zone(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| wrong(format!("there is no time zone {name}")))
}

fn to_local(micros: i64, zone: Option<Tz>) -> Option<NaiveDateTime> {
    let utc = DateTime::from_timestamp_micros(micros)?.naive_utc();
    match zone {
        None => Some(utc),
        Some(zone) => utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix()),
    }
}

/// The moment when the clock shows `local`: the first of two; behind a gap, what the clock had shown without it.
fn from_local(local: NaiveDateTime, zone: Option<Tz>) -> Option<i64> {
    let Some(zone) = zone else { return Some(local.and_utc().timestamp_micros()) };
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Some(time.timestamp_micros()),
        LocalResult::None => {
            let before = local.checked_sub_signed(TimeDelta::hours(3))?;
            let offset = zone.offset_from_local_datetime(&before).earliest()?.fix();
            Some(local.checked_sub_offset(offset)?.and_utc().timestamp_micros())
        }
    }
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn type_of_second(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    same_as_first(types.get(1..).unwrap_or_default(), &[])
}

fn type_of_third(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    same_as_first(types.get(2..).unwrap_or_default(), &[])
}

/// Timestamps in the zone that the second argument names; UTC without one.
fn zone_of_second(types: &[DataType], values: &[Option<&ScalarValue>]) -> Result<DataType> {
    if types.len() < 2 {
        return Ok(zoned("UTC"));
    }
    match values.get(1) {
        Some(Some(ScalarValue::Utf8(Some(zone)))) => {
            parse_zone(zone)?;
            Ok(zoned(zone))
        }
        _ => Err(wrong("the time zone must be a literal")),
    }
}

/// Two dates, or two timestamps, of which one may be in a time zone.
fn diff_types(types: &[DataType]) -> Result<Vec<DataType>> {
    let takes = || wrong("date_diff takes a unit and two dates or timestamps");
    let [_, from, to] = types else { return Err(takes()) };
    let zone = match (from, to) {
        (DataType::Timestamp(_, zone @ Some(_)), _) | (_, DataType::Timestamp(_, zone)) => zone.clone(),
        _ => None,
    };
    let is_time = |data_type: &DataType| {
        matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Null)
    };
    if !is_time(from) || !is_time(to) {
        return Err(takes());
    }
    let both = DataType::Timestamp(TimeUnit::Microsecond, zone);
    Ok(vec![DataType::Utf8, both.clone(), both])
}

/// The units of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// So many microseconds, whatever the calendar says.
    Micros(i64),
    Days(i64),
    Months(i64),
}

impl Unit {
    fn parse(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "microsecond" => Self::Micros(1),
            "millisecond" => Self::Micros(1000),
            "second" => Self::Micros(1_000_000),
            "minute" => Self::Micros(60_000_000),
            "hour" => Self::Micros(3_600_000_000),
            "day" => Self::Days(1),
            "week" => Self::Days(7),
            "month" => Self::Months(1),
            "quarter" => Self::Months(3),
            "year" => Self::Months(12),
            other => return Err(failed(format!("there is no unit of time {other}"))),
        })
    }
}

/// Gives dates and timestamps as microseconds, and makes such an array of microseconds.
fn map_times(
    args: &[ArrayRef],
    times: &ArrayRef,
    mut each: impl FnMut(usize, i64, Option<Tz>) -> Result<Option<i64>>,
) -> Result<ArrayRef> {
    if let Some(days) = times.as_primitive_opt::<Date32Type>() {
        let out: Date32Array = by_row(args, |row| {
            let micros = each(row, i64::from(days.value(row)) * MICROS_PER_DAY, None)?;
            Ok(micros.and_then(|micros| i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()))
        })?;
        return Ok(Arc::new(out));
    }
    let moments = Moments::new(times)?;
    let out: TimestampMicrosecondArray = by_row(args, |row| each(row, moments.micros.value(row), moments.zone))?;
    Ok(Arc::new(out.with_timezone_opt(moments.micros.timezone())))
}

fn out_of_range() -> datafusion::error::DataFusionError {
    failed("a time is out of range")
}

fn date_add(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let (units, values) = (texts(&args[0]), args[1].as_primitive::<Int64Type>());
    let is_date = *args[2].data_type() == DataType::Date32;
    let mut unit = Last::new();
    map_times(args, &args[2], |row, micros, zone| {
        let unit = *unit.get(units.value(row), Unit::parse)?;
        let value = values.value(row);
        let moved = match unit {
            Unit::Micros(_) if is_date => return Err(failed(format!("a date has no {}s", units.value(row)))),
            Unit::Micros(factor) => value.checked_mul(factor).and_then(|value| micros.checked_add(value)),
            // Days and months keep what the clock shows.
            _ => to_local(micros, zone)
                .and_then(|local| add_local(local, unit, value))
                .and_then(|local| from_local(local, zone)),
        };
        moved.map(Some).ok_or_else(out_of_range)
    })
}

fn add_local(local: NaiveDateTime, unit: Unit, value: i64) -> Option<NaiveDateTime> {
    match unit {
        Unit::Micros(_) => None,
        Unit::Days(factor) => {
            let days = value.checked_mul(factor)?;
            let size = Days::new(days.unsigned_abs());
            if days < 0 { local.checked_sub_days(size) } else { local.checked_add_days(size) }
        }
        Unit::Months(factor) => {
            let months = value.checked_mul(factor)?;
            let size = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
            if months < 0 { local.checked_sub_months(size) } else { local.checked_add_months(size) }
        }
    }
}

/// Whole units between two times, towards zero.
fn date_diff(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let units = texts(&args[0]);
    let (from, to) = (Moments::new(&args[1])?, Moments::new(&args[2])?);
    let mut unit = Last::new();
    let out: Int64Array = by_row(args, |row| {
        let (start, end) = (from.micros.value(row), to.micros.value(row));
        let local = || Some((from.local(row)?, to.local(row)?));
        let found = match *unit.get(units.value(row), Unit::parse)? {
            Unit::Micros(factor) => end.checked_sub(start).map(|micros| micros / factor),
            Unit::Days(factor) => {
                local().map(|(start, end)| (end - start).num_microseconds().unwrap_or(0) / (factor * MICROS_PER_DAY))
            }
            Unit::Months(factor) => local().map(|(start, end)| months_between(start, end) / factor),
        };
        found.map(Some).ok_or_else(out_of_range)
    })?;
    Ok(Arc::new(out))
}

/// Whole months. From a longer month's end to a shorter one's is a whole month.
fn months_between(start: NaiveDateTime, end: NaiveDateTime) -> i64 {
    if end < start {
        return -months_between(end, start);
    }
    let months = i64::from(end.year() - start.year()) * 12 + i64::from(end.month()) - i64::from(start.month());
    let is_whole = u32::try_from(months)
        .ok()
        .and_then(|months| start.checked_add_months(Months::new(months)))
        .is_some_and(|reached| reached <= end);
    if is_whole { months } else { months - 1 }
}

fn date_trunc(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let units = texts(&args[0]);
    map_times(args, &args[1], |row, micros, zone| {
        let unit = units.value(row);
        let local = to_local(micros, zone).ok_or_else(out_of_range)?;
        let day = local.date();
        let first_of = |month: u32| NaiveDate::from_ymd_opt(day.year(), month, 1);
        let date = match Unit::parse(unit)? {
            Unit::Micros(factor) => {
                // By what the clock shows: zones may be half an hour off.
                let shown = local.and_utc().timestamp_micros();
                return Ok(Some(micros - shown.rem_euclid(factor)));
            }
            Unit::Days(1) => Some(day),
            Unit::Days(_) => day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into())),
            Unit::Months(1) => first_of(day.month()),
            Unit::Months(3) => first_of(day.month0() / 3 * 3 + 1),
            Unit::Months(_) => first_of(1),
        };
        let midnight = date.and_then(|date| from_local(date.into(), zone));
        midnight.map(Some).ok_or_else(out_of_range)
    })
}

fn last_day_of_month(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let moments = Moments::new(&args[0])?;
    let out: Date32Array = by_row(args, |row| {
        let last = moments.local(row).and_then(|local| {
            let first = local.date().with_day(1)?;
            first.checked_add_months(Months::new(1))?.pred_opt()
        });
        Ok(last.map(Date32Type::from_naive_date))
    })?;
    Ok(Arc::new(out))
}

fn from_unixtime(args: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let seconds = args[0].as_primitive::<Float64Type>();
    let out: TimestampMicrosecondArray = by_row(args, |row| {
        // The result is of milliseconds.
        let millis = (seconds.value(row) * 1000.0).round();
        if millis.abs() > 9e15 {
            return Err(out_of_range());
        }
        Ok(Some(millis as i64 * 1000))
    })?;
    in_zone(out, data_type)
}

fn in_zone(times: TimestampMicrosecondArray, data_type: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(_, zone) = data_type else { return Err(wrong("the time zone must be a literal")) };
    Ok(Arc::new(times.with_timezone_opt(zone.clone())))
}

fn to_unixtime(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let micros = args[0].as_primitive::<TimestampMicrosecondType>();
    let out: Float64Array = micros.unary(|micros| micros as f64 / 1e6);
    Ok(Arc::new(out))
}

/// The same moment in another zone; a timestamp without zone is of UTC.
fn at_timezone(args: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let micros: &PrimitiveArray<TimestampMicrosecondType> = args[0].as_primitive();
    in_zone(micros.clone(), data_type)
}

/// The moment when the clock of the zone shows the time.
fn with_timezone(args: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(_, Some(zone)) = data_type else { return Err(wrong("the time zone must be a literal")) };
    let zone = parse_zone(zone)?;
    let moments = Moments::new(&args[0])?;
    let out: TimestampMicrosecondArray = by_row(args, |row| {
        let moment = moments.local(row).and_then(|local| from_local(local, Some(zone)));
        moment.map(Some).ok_or_else(out_of_range)
    })?;
    in_zone(out, data_type)
}

fn print(args: &[ArrayRef], read: fn(&str) -> Result<Pattern>) -> Result<ArrayRef> {
    let (moments, patterns) = (Moments::new(&args[0])?, texts(&args[1]));
    let zone = moments.micros.timezone().unwrap_or("UTC");
    let mut last = Last::new();
    let out: StringArray = by_row(args, |row| {
        let pattern = last.get(patterns.value(row), read)?;
        let local = moments.local(row).ok_or_else(out_of_range)?;
        let shift = local.and_utc().timestamp() - moments.micros.value(row).div_euclid(1_000_000);
        Ok(Some(pattern.print(local, shift, zone)))
    })?;
    Ok(Arc::new(out))
}

fn parse(args: &[ArrayRef], read: fn(&str) -> Result<Pattern>, name: &str) -> Result<TimestampMicrosecondArray> {
    let (values, patterns) = (texts(&args[0]), texts(&args[1]));
    let mut last = Last::new();
    by_row(args, |row| {
        let text = patterns.value(row);
        let pattern = last.get(text, read)?;
        let parsed = pattern.parse(values.value(row));
        parsed.map(Some).ok_or_else(|| failed(format!("{name}: a value is not of the format {text}")))
    })
}
