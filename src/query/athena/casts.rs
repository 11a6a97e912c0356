//! Casts where Athena gives another value than Arrow, and conditions: <https://trino.io/docs/current/functions/conversion.html>.

use std::fmt;
use std::sync::Arc;

use arrow::array::types::{ArrowPrimitiveType, Float32Type, Float64Type};
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Decimal128Array, Float64Array, ListArray, MapArray, PrimitiveArray,
    StringArray, StructArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{Cast, Expr, ScalarUDF, TryCast};

use super::dates::{local_times, parse_zone, print_timestamp};
use super::function::{Arg, Gives, Takes, failed, function, same_as_first, simplified, wrong};
use super::intervals::{self, is_interval};
use super::json;
use super::types::{JSON, named, type_name};

/// `CAST(x AS type)` with the type as text.
pub(super) const CAST: &str = "__cast";
/// The same, null where it fails.
pub(super) const TRY_CAST: &str = "__try_cast";
/// What may be null whatever the planner thinks.
pub(super) const NULLABLE: &str = "__nullable";
/// What approx_distinct counts, which takes no floating numbers.
pub(super) const DISTINCT_KEY: &str = "__distinct_key";

fn distinct_key(types: &[DataType]) -> Result<Vec<DataType>> {
    Ok(types.iter().map(|data_type| if data_type.is_floating() { DataType::Utf8 } else { data_type.clone() }).collect())
}

fn drop_distinct_key(mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
    Ok(args.pop().map_or(ExprSimplifyResult::Original(args), ExprSimplifyResult::Simplified))
}

pub(super) fn functions() -> Vec<ScalarUDF> {
    let both = Takes::These(&[Arg::Any, Arg::Text], 2);
    let try_both = Takes::These(&[Arg::Any, Arg::Text], 2);
    vec![
        simplified(
            CAST,
            both,
            Gives::By(by_name),
            Some(|args, context| simplify(args, context, false)),
            |args, data_type| cast(&args[0], data_type, false),
        ),
        simplified(
            TRY_CAST,
            try_both,
            Gives::By(by_name),
            Some(|args, context| simplify(args, context, true)),
            |args, data_type| cast(&args[0], data_type, true),
        ),
        simplified(
            DISTINCT_KEY,
            Takes::By(distinct_key),
            Gives::By(same_as_first),
            Some(drop_distinct_key),
            |args, _| Ok(Arc::clone(&args[0])),
        ),
        function(NULLABLE, Takes::These(&[Arg::Any], 1), Gives::By(same_as_first), |args, _| Ok(Arc::clone(&args[0]))),
        function("typeof", Takes::These(&[Arg::Any], 1), Gives::This(DataType::Utf8), |args, _| {
            let name = type_name(args[0].data_type());
            Ok(Arc::new(StringArray::from_iter_values((0..args[0].len()).map(|_| &name))))
        }),
    ]
}

/// The type that the second argument names.
fn by_name(types: &[DataType], values: &[Option<&ScalarValue>]) -> Result<DataType> {
    let Some(Some(ScalarValue::Utf8(Some(name)))) = values.get(1) else {
        return Err(wrong("a type must be a literal"));
    };
    Ok(match (named(name)?, types.first()) {
        (to, Some(from)) if is_interval(from) && to != DataType::Utf8 => {
            return Err(wrong(format!("{} cannot be cast to {}", type_name(from), type_name(&to))));
        }
        // A timestamp keeps its zone.
        (DataType::Timestamp(unit, Some(_)), Some(DataType::Timestamp(_, Some(zone)))) => {
            DataType::Timestamp(unit, Some(Arc::clone(zone)))
        }
        (data_type, _) => data_type,
    })
}

/// A plain cast where it gives the same, for the optimizer knows that one.
fn simplify(args: Vec<Expr>, context: &SimplifyContext, is_try: bool) -> Result<ExprSimplifyResult> {
    let [value, Expr::Literal(ScalarValue::Utf8(Some(name)), _)] = args.as_slice() else {
        return Ok(ExprSimplifyResult::Original(args));
    };
    let from = context.get_data_type(value)?;
    let to = named(name)?;
    let is_utc = |zone: &Option<Arc<str>>| zone.as_deref().is_none_or(|zone| zone == "UTC");
    let is_same = match (&from, &to) {
        (DataType::Null, _) => true,
        (&JSON, _) | (_, &JSON) | (_, DataType::Timestamp(_, Some(_))) => false,
        _ if from.is_nested() || to.is_nested() => false,
        (DataType::Utf8, to) if is_read(to) => false,
        (from, DataType::Decimal128(..)) if from.is_floating() => false,
        (DataType::Timestamp(_, zone), DataType::Timestamp(..) | DataType::Date32) => is_utc(zone),
        (DataType::Timestamp(..) | DataType::Float32 | DataType::Float64, DataType::Utf8) => false,
        (from, DataType::Utf8) if is_interval(from) => false,
        (_, DataType::Timestamp(..)) => from == DataType::Date32,
        (DataType::Decimal128(_, scale), _) if to.is_integer() => *scale <= 0,
        _ => !(from.is_floating() && to.is_integer()),
    };
    if !is_same {
        return Ok(ExprSimplifyResult::Original(args));
    }
    let value = Box::new(value.clone());
    Ok(ExprSimplifyResult::Simplified(if is_try {
        Expr::TryCast(TryCast::new(value, to))
    } else {
        Expr::Cast(Cast::new(value, to))
    }))
}

/// Whether texts of values of a type are checked, as Arrow takes others, too.
fn is_read(to: &DataType) -> bool {
    use DataType::{Boolean, Date32, Decimal128, Float32, Float64};
    matches!(to, Date32 | Boolean | Float32 | Float64 | Decimal128(..))
}

/// The text of a value as Arrow reads it, if Athena does.
fn readable(text: &str, to: &DataType) -> Option<String> {
    let untrimmed = text;
    let text = text.trim();
    match to {
        // yyyy-M-d, and nothing behind it.
        DataType::Date32 => {
            let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
            let parts: Vec<&str> = digits.splitn(3, '-').collect();
            let [year, month, day] = parts.as_slice() else { return None };
            let is_number =
                |part: &str, most| (1..=most).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
            let is_date = is_number(year, 9) && is_number(month, 2) && is_number(day, 2);
            is_date.then(|| format!("{sign}{year:0>4}-{month:0>2}-{day:0>2}"))
        }
        DataType::Boolean => {
            let words = ["true", "t", "1", "false", "f", "0"];
            let place = words.iter().position(|word| untrimmed.eq_ignore_ascii_case(word))?;
            Some(if place < 3 { "true" } else { "false" }.to_owned())
        }
        DataType::Float32 | DataType::Float64 => {
            let is_word = ["NaN", "Infinity"].contains(&text.trim_start_matches(['+', '-']));
            // As Java has literals: 1.5d.
            let is_marked = |number: &&str| number.ends_with(|c: char| c.is_ascii_digit() || c == '.');
            let number = text.strip_suffix(['d', 'D', 'f', 'F']).filter(is_marked).unwrap_or(text);
            (is_word || !text.contains(['n', 'N', 'i', 'I'])).then(|| number.to_owned())
        }
        DataType::Decimal128(..) => without_exponent(text),
        DataType::Timestamp(_, zone) => {
            let (time, given) = split_zone(text);
            if given.is_some_and(|zone| parse_zone(zone.trim()).is_err()) {
                return None;
            }
            // Without a zone, it is what the clock of the one that is given shows.
            let behind = if zone.is_some() { &text[time.len()..] } else { "" };
            Some(time_in_full(time)? + behind)
        }
        _ => Some(text.to_owned()),
    }
}

/// `1.5e3` as `1500`.
fn without_exponent(text: &str) -> Option<String> {
    let Some((number, power)) = text.split_once(['e', 'E']) else { return Some(text.to_owned()) };
    // Beyond these, all digits are zeros, or too many.
    let power = power.parse::<i32>().ok()?.clamp(-100, 100);
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let point = i32::try_from(whole.len()).ok()? + power;
    let digits = format!("{}{digits}{}", zeros(1 - point), zeros(point - i32::try_from(digits.len()).ok()?));
    let (whole, fraction) = digits.split_at(usize::try_from(point.max(1)).ok()?);
    // More digits than a decimal can have tell nothing.
    Some(format!("{sign}{whole}.{:.40}", format!("{fraction}0")))
}

/// Whether Arrow and Athena read a text alike, which most are.
fn is_plain(text: &str, to: &DataType) -> bool {
    match to {
        DataType::Date32 => {
            let is_digit = |(at, c): (usize, u8)| if at == 4 || at == 7 { c == b'-' } else { c.is_ascii_digit() };
            text.len() == 10 && text.bytes().enumerate().all(is_digit)
        }
        DataType::Float32 | DataType::Float64 => text.bytes().all(|c| c.is_ascii_digit() || b"+-.eE".contains(&c)),
        DataType::Decimal128(..) => !text.contains(['e', 'E']),
        _ => false,
    }
}

/// Texts as Arrow reads them; what Athena does not take is null, or an error.
fn readable_texts(values: &ArrayRef, to: &DataType, is_try: bool) -> Result<ArrayRef> {
    if values.as_string::<i32>().iter().flatten().all(|text| is_plain(text, to)) {
        return Ok(Arc::clone(values));
    }
    let read = |text: Option<&str>| {
        let Some(text) = text else { return Ok(None) };
        match readable(text, to) {
            None if !is_try => Err(failed(format!("a text cannot be cast to {}", type_name(to)))),
            readable => Ok(readable),
        }
    };
    let texts: StringArray = values.as_string::<i32>().iter().map(read).collect::<Result<_>>()?;
    Ok(Arc::new(texts))
}

/// Values as casts to varchar give them.
pub(super) fn text_of(values: &ArrayRef) -> Result<ArrayRef> {
    cast(values, &DataType::Utf8, false)
}

fn cast(values: &ArrayRef, to: &DataType, is_try: bool) -> Result<ArrayRef> {
    let from = values.data_type();
    let options = CastOptions { safe: is_try, ..CastOptions::default() };
    let plain = |values: &ArrayRef| Ok(cast_with_options(values, to, &options)?);
    match (from, to) {
        // Only JSON can be such a text.
        (&JSON, &JSON) => Ok(Arc::clone(values)),
        (&JSON, _) => json::read(values, to, is_try),
        (DataType::Utf8, _) if to.is_nested() => json::read(values, to, is_try),
        (DataType::List(_) | DataType::Struct(_) | DataType::Map(..), _) if to.is_nested() => {
            nested(values, to, is_try)
        }
        (_, &JSON) => json::write(values),
        (DataType::Timestamp(_, zone), DataType::Utf8) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            print_timestamp(&[cast_with_options(values, &micros, &options)?])
        }
        (_, DataType::Utf8) if is_interval(from) => intervals::print(values),
        // What the clock of the zone showed.
        (DataType::Timestamp(_, zone @ Some(_)), DataType::Timestamp(_, None) | DataType::Date32) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            plain(&local_times(&cast_with_options(values, &micros, &options)?)?)
        }
        (DataType::Float64, DataType::Utf8) => {
            let texts: StringArray =
                values.as_primitive::<Float64Type>().iter().map(|value| value.map(print_double)).collect();
            Ok(Arc::new(texts))
        }
        (DataType::Float32, DataType::Utf8) => {
            let texts: StringArray =
                values.as_primitive::<Float32Type>().iter().map(|value| value.map(print_real)).collect();
            Ok(Arc::new(texts))
        }
        (DataType::Utf8, _) if is_read(to) || matches!(to, DataType::Timestamp(..)) => {
            plain(&readable_texts(values, to, is_try)?)
        }
        (DataType::Float64, DataType::Decimal128(precision, scale)) => {
            let values = values.as_primitive::<Float64Type>();
            match decimals_of(values, *precision, *scale) {
                Some(decimals) => Ok(Arc::new(decimals)),
                None => plain(&texts_of(values)),
            }
        }
        (DataType::Float32, DataType::Decimal128(..)) => plain(&texts_of(values.as_primitive::<Float32Type>())),
        (DataType::Float64, _) if to.is_integer() => {
            let rounded = values.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round);
            plain(&(Arc::new(rounded) as ArrayRef))
        }
        (DataType::Float32, _) if to.is_integer() => {
            let rounded = values.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round);
            plain(&(Arc::new(rounded) as ArrayRef))
        }
        // Arrow rounds between decimals, and cuts off on the way to integers.
        (DataType::Decimal128(precision, scale), _) if to.is_integer() && *scale > 0 => {
            let whole = DataType::Decimal128(*precision, 0);
            plain(&cast_with_options(values, &whole, &options)?)
        }
        _ => plain(values),
    }
}

/// Arrays, rows and maps, whose elements are cast as other values are.
fn nested(values: &ArrayRef, to: &DataType, is_try: bool) -> Result<ArrayRef> {
    Ok(match (values.data_type(), to) {
        (DataType::List(_), DataType::List(item)) => {
            let lists = values.as_list::<i32>();
            let elements = cast(lists.values(), item.data_type(), is_try)?;
            Arc::new(ListArray::try_new(Arc::clone(item), lists.offsets().clone(), elements, lists.nulls().cloned())?)
        }
        (DataType::Struct(from), DataType::Struct(fields)) if from.len() == fields.len() => {
            let rows = values.as_struct();
            let columns =
                rows.columns().iter().zip(fields).map(|(column, field)| cast(column, field.data_type(), is_try));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, rows.nulls().cloned(), rows.len())?)
        }
        (DataType::Map(..), DataType::Map(entries, is_sorted)) => {
            let maps = values.as_map();
            let cast_entries = nested(&(Arc::new(maps.entries().clone()) as ArrayRef), entries.data_type(), is_try)?;
            let (offsets, nulls) = (maps.offsets().clone(), maps.nulls().cloned());
            let cast_entries = cast_entries.as_struct().clone();
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, cast_entries, nulls, *is_sorted)?)
        }
        _ => cast_with_options(values, to, &CastOptions { safe: is_try, ..CastOptions::default() })?,
    })
}

/// Decimals of the digits that values are written with: where none lies near a half, rounding gives these. `None`: texts tell.
fn decimals_of(values: &Float64Array, precision: u8, scale: i8) -> Option<Decimal128Array> {
    // Below, the product is wrong by less than what is taken for near.
    const MOST: f64 = 1e12;
    const NEAR: f64 = 1e-3;
    let factor = 10_f64.powi(scale.into());
    let most = 10_f64.powi(precision.into()).min(MOST);
    let rounded = |value: f64| {
        let product = value * factor;
        let is_clear = product.abs() < most - 1.0 && (product.abs().fract() - 0.5).abs() > NEAR;
        is_clear.then(|| product.round() as i128)
    };
    let decimals = values.iter().map(|value| value.map_or(Some(None), |value| rounded(value).map(Some)));
    decimals.collect::<Option<Decimal128Array>>()?.with_precision_and_scale(precision, scale).ok()
}

/// The shortest texts of values.
fn texts_of<T: ArrowPrimitiveType<Native: fmt::Display>>(values: &PrimitiveArray<T>) -> ArrayRef {
    Arc::new(values.iter().map(|value| value.map(|value| value.to_string())).collect::<StringArray>())
}

/// Writes a double as Athena does: `3.77E1`.
pub(super) fn print_double(value: f64) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0E0" } else { "0E0" }.to_owned();
    }
    let short = format!("{value:e}");
    match short.split_once('e') {
        Some((digits, power)) => {
            let point = if digits.contains('.') { "" } else { ".0" };
            format!("{digits}{point}E{power}")
        }
        None => short.replace("inf", "Infinity"),
    }
}

/// Writes a real of seven digits at most.
pub(super) fn print_real(value: f32) -> String {
    let written = format!("{:.6e}", f64::from(value));
    print_double(written.parse().unwrap_or(f64::from(value)))
}

/// Splits `2020-03-01 00:00:00 UTC` before the zone, if there is one.
pub(super) fn split_zone(text: &str) -> (&str, Option<&str>) {
    let text = text.trim();
    if let Some((time, zone)) = text.rsplit_once(' ')
        && zone.starts_with(|c: char| c.is_ascii_alphabetic() || c == '+' || c == '-')
    {
        return (time.trim_end(), Some(zone));
    }
    // 2020-03-01 00:00:00+01:00
    match text.rfind(['+', '-']) {
        Some(at) if at > 10 => (&text[..at], Some(&text[at..])),
        _ if text.ends_with('Z') => (&text[..text.len() - 1], Some("UTC")),
        _ => (text, None),
    }
}

/// `2020-3-1 10:00` as `2020-03-01 10:00:00`, for so Arrow wants it; other texts as they are.
pub(super) fn in_full(text: &str) -> String {
    time_in_full(text).unwrap_or_else(|| text.to_owned())
}

/// A date and a time as Arrow wants them, if it is what Athena takes.
fn time_in_full(text: &str) -> Option<String> {
    let (date, time) = text.split_once(' ').unwrap_or((text, "0:0:0"));
    let date = readable(date, &DataType::Date32)?;
    let (clock, fraction) = time.trim_start().split_once('.').map_or((time.trim_start(), None), |(c, f)| (c, Some(f)));
    let parts: Vec<&str> = clock.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] if fraction.is_none() => (hour, minute, &"0"),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let below =
        |part: &str, most: u8| (1..=2).contains(&part.len()) && part.parse().is_ok_and(|number: u8| number < most);
    let is_fraction = fraction.is_none_or(|digits| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()));
    let is_time = below(hour, 24) && below(minute, 60) && below(second, 60) && is_fraction;
    let fraction = fraction.map_or(String::new(), |digits| format!(".{digits}"));
    is_time.then(|| format!("{date} {hour:0>2}:{minute:0>2}:{second:0>2}{fraction}"))
}
