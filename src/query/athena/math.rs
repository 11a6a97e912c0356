//! Numbers: <https://trino.io/docs/current/functions/math.html> and <https://trino.io/docs/current/functions/bitwise.html>.
//! Those that are not here are DataFusion's.

use std::sync::Arc;

use arrow::array::types::{Decimal128Type, Float32Type, Float64Type, Int64Type};
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Decimal128Array, Float32Array, Float64Array, Int64Array, StringArray,
};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions::math::expr_fn::{ceil, floor};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::function::{Arg, Gives, Takes, by_row, failed, function, simplified, texts, wrong};
use super::types::list_of;

pub(super) fn functions() -> Vec<ScalarUDF> {
    const TWO: Takes = Takes::These(&[Arg::Int, Arg::Int], 2);
    let shift = |name, shift: fn(i64, u32) -> Option<i64>| {
        function(name, TWO, Gives::This(DataType::Int64), move |args, _| {
            let [values, by] = [&args[0], &args[1]].map(integers);
            let out: Int64Array = by_row(args, |row| {
                let by = u32::try_from(by.value(row)).map_err(|_| failed(format!("{name} takes no such shift")))?;
                Ok(Some(shift(values.value(row), by).unwrap_or_default()))
            })?;
            Ok(Arc::new(out))
        })
    };
    vec![
        shift("bitwise_left_shift", i64::checked_shl),
        shift("bitwise_right_shift", |value, by| Some((value as u64).checked_shr(by)? as i64)),
        shift("bitwise_right_shift_arithmetic", |value, by| Some(value >> by.min(63))),
        function("bit_count", TWO, Gives::This(DataType::Int64), |args, _| bit_count(args)),
        function("to_base", TWO, Gives::This(DataType::Utf8), |args, _| to_base(args)),
        function("from_base", Takes::These(&[Arg::Text, Arg::Int], 2), Gives::This(DataType::Int64), |args, _| {
            from_base(args)
        }),
        function("width_bucket", Takes::By(bucket_types), Gives::This(DataType::Int64), |args, _| width_bucket(args)),
        simplified(
            "floor",
            Takes::By(rounded),
            Gives::By(rounded_type),
            Some(|args, context| of_engine(args, context, floor)),
            |args, data_type| round_off(&args[0], data_type, f64::floor, i128::div_euclid),
        ),
        simplified(
            "ceil",
            Takes::By(rounded),
            Gives::By(rounded_type),
            Some(|args, context| of_engine(args, context, ceil)),
            |args, data_type| round_off(&args[0], data_type, f64::ceil, |value, by| -(-value).div_euclid(by)),
        ),
        function("round", Takes::By(rounded_to), Gives::By(rounded_to_type), |args, data_type| {
            let nearest = |value: i128, by| {
                value.signum() * (value.abs() / by + i128::from(value.abs() % by >= by - value.abs() % by))
            };
            to_digits(args, data_type, f64::round, nearest)
        }),
        function("trunc", Takes::By(rounded_to), Gives::By(rounded_to_type), |args, data_type| {
            to_digits(args, data_type, f64::trunc, |value, by| value / by)
        }),
        // The engine fails on negative numbers.
        function("sqrt", Takes::These(&[Arg::Double], 1), Gives::This(DataType::Float64), |args, _| {
            Ok(Arc::new(doubles(&args[0]).unary::<_, Float64Type>(f64::sqrt)))
        }),
        function("sign", Takes::By(rounded), Gives::By(sign_type), |args, data_type| sign(&args[0], data_type)),
    ]
}

fn integers(arg: &ArrayRef) -> &Int64Array {
    arg.as_primitive()
}

fn doubles(arg: &ArrayRef) -> &Float64Array {
    arg.as_primitive()
}

fn number(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [data_type] if data_type.is_integer() || data_type.is_null() => Ok(vec![DataType::Int64]),
        [data_type] if data_type.is_numeric() => Ok(vec![DataType::Float64]),
        _ => Err(wrong("sign, floor, ceil, round and truncate take a number")),
    }
}

/// Integers and decimals stay what they are.
fn rounded(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [decimal @ DataType::Decimal128(_, 0..)] => Ok(vec![decimal.clone()]),
        [DataType::Decimal256(..)] => Ok(vec![DataType::Float64]),
        [real @ DataType::Float32] => Ok(vec![real.clone()]),
        _ => number(types),
    }
}

fn rounded_type(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    Ok(match types {
        [DataType::Decimal128(precision, scale @ 1..)] => {
            let whole = precision.saturating_sub(scale.unsigned_abs());
            DataType::Decimal128((whole + 1).min(DECIMAL128_MAX_PRECISION), 0)
        }
        _ => rounded(types)?[0].clone(),
    })
}

/// A number, and to how many digits behind the point.
fn rounded_to(types: &[DataType]) -> Result<Vec<DataType>> {
    let (value, digits) = match types {
        [value] => (value, None),
        [value, digits] if digits.is_integer() || digits.is_null() => (value, Some(DataType::Int64)),
        _ => return Err(wrong("round and truncate take a number, and how many digits stay behind the point")),
    };
    Ok(rounded(std::slice::from_ref(value))?.into_iter().chain(digits).collect())
}

fn rounded_to_type(types: &[DataType], values: &[Option<&ScalarValue>]) -> Result<DataType> {
    Ok(match types {
        [value] => rounded_type(std::slice::from_ref(value), values)?,
        [DataType::Decimal128(precision, scale), _] => {
            DataType::Decimal128((precision + 1).min(DECIMAL128_MAX_PRECISION), *scale)
        }
        _ => rounded(&types[..1])?[0].clone(),
    })
}

/// Numbers rounded by `double` and `whole`, to so many digits behind the point, or, with fewer than none, before it.
fn to_digits(
    args: &[ArrayRef],
    data_type: &DataType,
    double: fn(f64) -> f64,
    whole: fn(i128, i128) -> i128,
) -> Result<ArrayRef> {
    let [values, digits] = args else { return round_off(&args[0], data_type, double, whole) };
    let digits = integers(digits);
    let rounded = |row: usize, value: f64| {
        let factor = 10_f64.powi(i32::try_from(digits.value(row)).unwrap_or(i32::MAX));
        let scaled = value * factor;
        match scaled.is_finite() {
            true if factor > 0.0 => double(scaled) / factor,
            true => 0.0,
            // It has no more digits than these.
            false => value,
        }
    };
    if let Some(doubles) = values.as_primitive_opt::<Float64Type>() {
        let out: Float64Array = by_row(args, |row| Ok(Some(rounded(row, doubles.value(row)))))?;
        return Ok(Arc::new(out));
    }
    if let Some(reals) = values.as_primitive_opt::<Float32Type>() {
        let out: Float32Array = by_row(args, |row| Ok(Some(rounded(row, reals.value(row).into()) as f32)))?;
        return Ok(Arc::new(out));
    }
    // To this many places before the last digit.
    let to = |value: i128, places: i128| match u32::try_from(places).map(|places| 10_i128.checked_pow(places)) {
        // There are not so many digits behind the point.
        Err(_) if places < 0 => value,
        Err(_) | Ok(None) => 0,
        Ok(Some(by)) => whole(value, by) * by,
    };
    if let Some(decimals) = values.as_primitive_opt::<Decimal128Type>() {
        let scale = i128::from(decimals.scale());
        let places = |row| scale - i128::from(digits.value(row));
        let out: Decimal128Array = by_row(args, |row| Ok(Some(to(decimals.value(row), places(row)))))?;
        let most = 10_i128.pow(DECIMAL128_MAX_PRECISION.into());
        if out.iter().flatten().any(|value| value.abs() >= most) {
            return Err(failed("decimal overflow: a result has more than 38 digits"));
        }
        return Ok(Arc::new(out.with_data_type(data_type.clone())));
    }
    let integers = integers(values);
    let out: Int64Array = by_row(args, |row| {
        let rounded = to(integers.value(row).into(), -i128::from(digits.value(row)));
        i64::try_from(rounded).map(Some).map_err(|_| failed("bigint out of range: a rounded number"))
    })?;
    Ok(Arc::new(out))
}

/// The engine's for floating numbers: it knows what values pass `floor(x) = 5`.
fn of_engine(mut args: Vec<Expr>, context: &SimplifyContext, engine: fn(Expr) -> Expr) -> Result<ExprSimplifyResult> {
    if args.len() == 1 && context.get_data_type(&args[0])?.is_floating() {
        return Ok(ExprSimplifyResult::Simplified(engine(args.remove(0))));
    }
    Ok(ExprSimplifyResult::Original(args))
}

/// `whole`: a number divided by another, to the integer wanted.
fn round_off(
    values: &ArrayRef,
    data_type: &DataType,
    double: fn(f64) -> f64,
    whole: fn(i128, i128) -> i128,
) -> Result<ArrayRef> {
    if let Some(doubles) = values.as_primitive_opt::<Float64Type>() {
        return Ok(Arc::new(doubles.unary::<_, Float64Type>(double)));
    }
    if let Some(reals) = values.as_primitive_opt::<Float32Type>() {
        let rounded = reals.unary::<_, Float32Type>(|value| double(value.into()) as f32);
        return Ok(Arc::new(rounded));
    }
    let DataType::Decimal128(_, scale @ 1..) = values.data_type() else { return Ok(Arc::clone(values)) };
    let by = 10_i128.pow(scale.unsigned_abs().into());
    let rounded = values.as_primitive::<Decimal128Type>().unary::<_, Decimal128Type>(|value| whole(value, by));
    Ok(Arc::new(rounded.with_data_type(data_type.clone())))
}

fn sign_type(types: &[DataType], _: &[Option<&ScalarValue>]) -> Result<DataType> {
    Ok(match rounded(types)?.remove(0) {
        DataType::Decimal128(..) => DataType::Decimal128(1, 0),
        other => other,
    })
}

fn sign(values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    // Of zero, zero.
    let sign = |value: f64| if value == 0.0 || value.is_nan() { value } else { value.signum() };
    if let Some(integers) = values.as_primitive_opt::<Int64Type>() {
        return Ok(Arc::new(integers.unary::<_, Int64Type>(i64::signum)));
    }
    if let Some(decimals) = values.as_primitive_opt::<Decimal128Type>() {
        let signs = decimals.unary::<_, Decimal128Type>(i128::signum);
        return Ok(Arc::new(signs.with_data_type(data_type.clone())));
    }
    if let Some(reals) = values.as_primitive_opt::<Float32Type>() {
        return Ok(Arc::new(reals.unary::<_, Float32Type>(|value| sign(value.into()) as f32)));
    }
    Ok(Arc::new(doubles(values).unary::<_, Float64Type>(sign)))
}

/// How many bits are set in the two's complement of so many bits.
fn bit_count(args: &[ArrayRef]) -> Result<ArrayRef> {
    let [values, bits] = [&args[0], &args[1]].map(integers);
    let out: Int64Array = by_row(args, |row| {
        let (value, bits) = (values.value(row), bits.value(row));
        if !(2..=64).contains(&bits) {
            return Err(failed("bit_count takes 2 to 64 bits"));
        }
        let unused = 64 - bits as u32;
        if value << unused >> unused != value {
            return Err(failed(format!("bit_count: {value} does not fit in {bits} bits")));
        }
        Ok(Some(((value as u64) << unused).count_ones().into()))
    })?;
    Ok(Arc::new(out))
}

fn radix(radix: i64) -> Result<u32> {
    let radix = u32::try_from(radix).ok().filter(|radix| (2..=36).contains(radix));
    radix.ok_or_else(|| failed("a radix is between 2 and 36"))
}

fn to_base(args: &[ArrayRef]) -> Result<ArrayRef> {
    let [values, bases] = [&args[0], &args[1]].map(integers);
    let out: StringArray = by_row(args, |row| {
        let (value, radix) = (values.value(row), radix(bases.value(row))?);
        let (mut left, mut digits) = (value.unsigned_abs(), Vec::new());
        loop {
            digits.extend(char::from_digit((left % u64::from(radix)) as u32, radix));
            left /= u64::from(radix);
            if left == 0 {
                break;
            }
        }
        digits.extend((value < 0).then_some('-'));
        Ok(Some(digits.into_iter().rev().collect::<String>()))
    })?;
    Ok(Arc::new(out))
}

fn from_base(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, bases) = (texts(&args[0]), args[1].as_primitive::<Int64Type>());
    let out: Int64Array = by_row(args, |row| {
        let (value, radix) = (values.value(row), radix(bases.value(row))?);
        let number = i64::from_str_radix(value, radix);
        Ok(Some(number.map_err(|_| failed(format!("from_base: {value:?} is no number of radix {radix}")))?))
    })?;
    Ok(Arc::new(out))
}

/// A number, and two bounds and a number of buckets, or all bounds.
fn bucket_types(types: &[DataType]) -> Result<Vec<DataType>> {
    let is_number = |data_type: &DataType| data_type.is_numeric() || data_type.is_null();
    match types {
        [value, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)] if is_number(value) => {
            Ok(vec![DataType::Float64, list_of(DataType::Float64)])
        }
        [value, low, high, count] if [value, low, high, count].into_iter().all(is_number) => {
            Ok(vec![DataType::Float64, DataType::Float64, DataType::Float64, DataType::Int64])
        }
        _ => Err(wrong(
            "width_bucket takes a number, two bounds and a number of buckets, or a number and an array of bounds",
        )),
    }
}

fn width_bucket(args: &[ArrayRef]) -> Result<ArrayRef> {
    let values = args[0].as_primitive::<Float64Type>();
    let out: Int64Array = if let Some(bounds) = args[1].as_list_opt::<i32>() {
        by_row(args, |row| {
            let bounds = bounds.value(row);
            let bounds: &Float64Array = bounds.as_primitive();
            let is_number = !values.value(row).is_nan();
            if bounds.is_empty() || bounds.null_count() > 0 || !bounds.values().is_sorted() || !is_number {
                return Err(failed("width_bucket takes numbers, and bounds that ascend"));
            }
            Ok(Some(bounds.values().partition_point(|bound| *bound <= values.value(row)) as i64))
        })?
    } else {
        let [low, high] = [&args[1], &args[2]].map(doubles);
        let counts = args[3].as_primitive::<Int64Type>();
        by_row(args, |row| {
            let (value, low, high, count) = (values.value(row), low.value(row), high.value(row), counts.value(row));
            if count <= 0 || value.is_nan() || !low.is_finite() || !high.is_finite() || low == high {
                return Err(failed("width_bucket takes numbers, two bounds that differ, and one bucket at least"));
            }
            let (from, to) = (low.min(high), low.max(high));
            let behind = i128::from(count) + 1;
            let ascending = if value < from {
                0
            } else if value >= to {
                behind
            } else {
                (count as f64 * (value - from) / (to - from)) as i128 + 1
            };
            let bucket = i64::try_from(if low > high { behind - ascending } else { ascending });
            Ok(Some(bucket.map_err(|_| failed("width_bucket: bigint overflow"))?))
        })?
    };
    Ok(Arc::new(out))
}
