//! Statistics, distances, and quantities that are read from text or written for people: parts of
//! <https://trino.io/docs/current/functions/math.html>, <https://trino.io/docs/current/functions/datetime.html> and
//! <https://trino.io/docs/current/functions/conversion.html>.

use std::f64::consts::SQRT_2;
use std::sync::Arc;

use arrow::array::types::{Float64Type, Int64Type};
use arrow::array::{
    Array as _, AsArray as _, Decimal128Array, DurationMicrosecondArray, Float64Array, MapArray, StringArray,
};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;

use super::function::{Arg, Gives, Takes, by_row, failed, function, texts, wrong};
use super::types::map_of;

pub(super) fn functions() -> Vec<ScalarUDF> {
    const MANY: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);
    const TEXT: Takes = Takes::These(&[Arg::Text], 1);
    let data_size = |name: &'static str| {
        function(name, TEXT, Gives::This(MANY), move |args, _| {
            let out: Decimal128Array = by_row(args, |row| data_size(name, texts(&args[0]).value(row)).map(Some))?;
            Ok(Arc::new(out.with_data_type(MANY)))
        })
    };
    vec![
        of_doubles("normal_cdf", Takes::These(&[Arg::Double; 3], 3), |[mean, deviation, value]| {
            positive("normal_cdf", deviation)?;
            Ok(0.5 * libm::erfc((mean - value) / (deviation * SQRT_2)))
        }),
        of_doubles("inverse_normal_cdf", Takes::These(&[Arg::Double; 3], 3), |[mean, deviation, share]| {
            positive("inverse_normal_cdf", deviation)?;
            if !(0.0 < share && share < 1.0) {
                return Err(failed("inverse_normal_cdf takes a probability between 0 and 1"));
            }
            Ok(mean + deviation * normal_quantile(share))
        }),
        of_doubles("great_circle_distance", Takes::These(&[Arg::Double; 4], 4), great_circle),
        wilson("wilson_interval_lower", -1.0),
        wilson("wilson_interval_upper", 1.0),
        function("cosine_similarity", Takes::By(two_vectors), Gives::This(DataType::Float64), |args, _| {
            Ok(Arc::new(cosine_similarity(args[0].as_map(), args[1].as_map())))
        }),
        function("format_number", Takes::These(&[Arg::Double], 1), Gives::This(DataType::Utf8), |args, _| {
            let numbers = args[0].as_primitive::<Float64Type>();
            Ok(Arc::new(numbers.iter().map(|number| number.map(short_number)).collect::<StringArray>()))
        }),
        function("parse_duration", TEXT, Gives::This(DataType::Duration(TimeUnit::Microsecond)), |args, _| {
            let out: DurationMicrosecondArray = by_row(args, |row| duration(texts(&args[0]).value(row)).map(Some))?;
            Ok(Arc::new(out))
        }),
        data_size("parse_data_size"),
        data_size("parse_presto_data_size"),
    ]
}

fn of_doubles<const N: usize>(
    name: &'static str,
    takes: Takes,
    result: impl Fn([f64; N]) -> Result<f64> + Send + Sync + 'static,
) -> ScalarUDF {
    function(name, takes, Gives::This(DataType::Float64), move |args, _| {
        let value = |index: usize, row| args[index].as_primitive::<Float64Type>().value(row);
        let out: Float64Array = by_row(args, |row| result(std::array::from_fn(|index| value(index, row))).map(Some))?;
        Ok(Arc::new(out))
    })
}

fn positive(name: &str, deviation: f64) -> Result<()> {
    if deviation > 0.0 { Ok(()) } else { Err(failed(format!("{name} takes a standard deviation above 0"))) }
}

/// The value that a share of a standard normal distribution lies below.
///
/// Acklam's rational approximation, whose relative error is below 1.15e-9, and a step of Halley's method.
fn normal_quantile(share: f64) -> f64 {
    const LOW: f64 = 0.024_25;
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416, 1.0];
    let polynomial = |factors: &[f64], x: f64| factors.iter().fold(0.0, |sum, factor| sum * x + factor);
    let tail = |share: f64| {
        let q = (-2.0 * share.ln()).sqrt();
        polynomial(&C, q) / polynomial(&D, q)
    };
    let guess = if share < LOW {
        tail(share)
    } else if share > 1.0 - LOW {
        -tail(1.0 - share)
    } else {
        let q = share - 0.5;
        q * polynomial(&A, q * q) / polynomial(&B, q * q)
    };
    let error = 0.5 * libm::erfc(-guess / SQRT_2) - share;
    let step = error * (2.0 * std::f64::consts::PI).sqrt() * (guess * guess / 2.0).exp();
    // Far out, the step is beyond what a double can be.
    let refined = guess - step / (1.0 + guess * step / 2.0);
    if refined.is_finite() { refined } else { guess }
}

/// Kilometres between two places on a sphere, in degrees of latitude and longitude.
fn great_circle([latitude, longitude, other_latitude, other_longitude]: [f64; 4]) -> Result<f64> {
    const EARTH_RADIUS_KM: f64 = 6371.01;
    if [latitude, other_latitude].iter().any(|degrees| degrees.abs() > 90.0 || degrees.is_nan()) {
        return Err(failed("great_circle_distance takes latitudes from -90 to 90"));
    }
    if [longitude, other_longitude].iter().any(|degrees| degrees.abs() > 180.0 || degrees.is_nan()) {
        return Err(failed("great_circle_distance takes longitudes from -180 to 180"));
    }
    let (sin, cos) = latitude.to_radians().sin_cos();
    let (other_sin, other_cos) = other_latitude.to_radians().sin_cos();
    let (between_sin, between_cos) = (longitude - other_longitude).to_radians().sin_cos();
    let across = (other_cos * between_sin).hypot(cos * other_sin - sin * other_cos * between_cos);
    Ok(across.atan2(sin * other_sin + cos * other_cos * between_cos) * EARTH_RADIUS_KM)
}

/// A bound of the Wilson score interval.
fn wilson(name: &'static str, side: f64) -> ScalarUDF {
    let takes = Takes::These(&[Arg::Int, Arg::Int, Arg::Double], 3);
    function(name, takes, Gives::This(DataType::Float64), move |args, _| {
        let whole = |index: usize, row| args[index].as_primitive::<Int64Type>().value(row);
        let out: Float64Array = by_row(args, |row| {
            let (successes, trials) = (whole(0, row), whole(1, row));
            let z = args[2].as_primitive::<Float64Type>().value(row);
            if successes < 0 || trials <= 0 || successes > trials || z.is_nan() || z < 0.0 {
                return Err(failed(format!("{name} takes 0 to n successes of n trials, and a z-score not below 0")));
            }
            let (n, share) = (trials as f64, successes as f64 / trials as f64);
            let spread = (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
            Ok(Some((share + z * z / (2.0 * n) + side * z * spread) / (1.0 + z * z / n)))
        })?;
        Ok(Arc::new(out))
    })
}

/// Maps of names to numbers.
fn two_vectors(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Map(..), DataType::Map(..)] => Ok(vec![map_of(DataType::Utf8, DataType::Float64); 2]),
        _ => Err(wrong("cosine_similarity takes two maps of texts to numbers")),
    }
}

/// Null where a value is null, or a vector has no length.
fn cosine_similarity(left: &MapArray, right: &MapArray) -> Float64Array {
    let vector = |map: &MapArray, row: usize| -> Option<Vec<(String, f64)>> {
        let entries = map.is_valid(row).then(|| map.value(row))?;
        let (keys, values) = (texts(entries.column(0)), entries.column(1).as_primitive::<Float64Type>());
        (values.null_count() == 0)
            .then(|| keys.iter().flatten().map(str::to_owned).zip(values.values().iter().copied()).collect())
    };
    let length = |vector: &[(String, f64)]| vector.iter().map(|(_, value)| value * value).sum::<f64>().sqrt();
    let similarity = |row| {
        let (left, right) = (vector(left, row)?, vector(right, row)?);
        let lengths = length(&left) * length(&right);
        let of = |name: &str| right.iter().find_map(|(other, value)| (other == name).then_some(*value));
        let product: f64 = left.iter().filter_map(|(name, value)| Some(value * of(name)?)).sum();
        (lengths > 0.0).then(|| product / lengths)
    };
    (0..left.len()).map(similarity).collect()
}

/// `123K`, `1.5M`: three digits at most.
fn short_number(number: f64) -> String {
    const UNITS: [&str; 6] = ["", "K", "M", "B", "T", "Q"];
    let (mut number, mut unit) = (number, 0);
    while number.abs() >= 1000.0 && unit + 1 < UNITS.len() {
        number /= 1000.0;
        unit += 1;
    }
    let places = match number.abs() {
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    let digits = format!("{number:.places$}");
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{}", UNITS[unit])
}

/// A number and its unit.
fn quantity(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    (!whole.is_empty() && !fraction.is_empty() && !fraction.contains('.')).then(|| (number, unit.trim_start()))
}

/// Microseconds of `42.8ms`, to the millisecond.
fn duration(text: &str) -> Result<i64> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-6), ("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4), ("h", 3.6e6), ("d", 8.64e7)];
    let millis = quantity(text).and_then(|(number, unit)| {
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let millis = (number.parse::<f64>().ok()? * factor).round();
        (millis < i64::MAX as f64 / 1000.0).then_some(millis as i64)
    });
    millis
        .map(|millis| millis * 1000)
        .ok_or_else(|| failed(format!("parse_duration takes 2s, 3.5h, ..., not {text:?}")))
}

/// Bytes of `2.3MB`, without a fraction.
fn data_size(name: &str, text: &str) -> Result<i128> {
    const UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
    let bytes = quantity(text).and_then(|(number, unit)| {
        let power = UNITS.iter().position(|name| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let parts = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let bytes = digits.checked_mul(1 << (10 * power))? / parts;
        (bytes < 10_i128.pow(DECIMAL128_MAX_PRECISION.into())).then_some(bytes)
    });
    bytes.ok_or_else(|| failed(format!("{name} takes 1B, 2.3MB, ..., not {text:?}")))
}
