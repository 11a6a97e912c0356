//! `format`: <https://trino.io/docs/current/functions/conversion.html#formatting>, by the rules of Java's
//! <https://docs.oracle.com/en/java/javase/23/docs/api/java.base/java/util/Formatter.html>.

use std::sync::Arc;

use arrow::array::types::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{NaiveDateTime, Timelike as _};
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;

use super::casts;
use super::dates::local_times;
use super::function::{Gives, Last, Takes, failed, function, texts, wrong};
use super::types::{JSON, type_name};

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![function("format", Takes::By(types), Gives::This(DataType::Utf8), |args, _| format(args))]
}

/// A pattern, and values of any kind.
fn types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [pattern, values @ ..] if (pattern.is_string() || pattern.is_null()) && !values.is_empty() => {
            Ok([&[DataType::Utf8], values].concat())
        }
        _ => Err(wrong("format takes a pattern and values")),
    }
}

/// A value in the ways that patterns ask for it, for all rows.
struct Values {
    data_type: DataType,
    /// As it is shown by itself.
    texts: ArrayRef,
    integers: Option<ArrayRef>,
    /// The digits of doubles and decimals.
    fractions: Option<ArrayRef>,
    /// What a clock shows.
    times: Option<ArrayRef>,
    /// It shows the time of a zone that may be another than UTC.
    is_zoned: bool,
}

/// Floating numbers as Java writes them: `0.001`, `12.5`, `1.0E7`.
fn java_texts(values: &ArrayRef) -> Result<ArrayRef> {
    let is_plain = |value: f64| value == 0.0 || (1e-3..1e7).contains(&value.abs());
    let double = |value: f64| if is_plain(value) { format!("{value:?}") } else { casts::print_double(value) };
    let real = |value: f32| if is_plain(value.into()) { format!("{value:?}") } else { casts::print_real(value) };
    let texts: StringArray = match values.as_primitive_opt::<Float64Type>() {
        Some(doubles) => doubles.iter().map(|value| value.map(double)).collect(),
        None => {
            let reals = cast(values, &DataType::Float32)?;
            reals.as_primitive::<Float32Type>().iter().map(|value| value.map(real)).collect()
        }
    };
    Ok(Arc::new(texts))
}

impl Values {
    fn new(values: &ArrayRef) -> Result<Self> {
        let data_type = values.data_type().clone();
        let micros = |zone| DataType::Timestamp(TimeUnit::Microsecond, zone);
        let times = match &data_type {
            DataType::Date32 | DataType::Date64 => Some(cast(values, &micros(None))?),
            DataType::Timestamp(_, zone) => Some(local_times(&cast(values, &micros(zone.clone()))?)?),
            _ => None,
        };
        let integers = data_type.is_integer().then(|| cast(values, &DataType::Int64)).transpose()?;
        let texts = match (&data_type, &times) {
            (&JSON, _) => cast(values, &DataType::Utf8)?,
            (DataType::Timestamp(_, None), Some(times)) => iso_texts(times),
            _ if data_type.is_floating() => java_texts(values)?,
            _ => casts::text_of(values)?,
        };
        let fractions = match data_type {
            // The digits that a real has as a double.
            DataType::Float16 | DataType::Float32 => Some(java_texts(&cast(values, &DataType::Float64)?)?),
            _ => (data_type.is_floating() || data_type.is_decimal()).then(|| Arc::clone(&texts)),
        };
        let is_zoned = matches!(data_type, DataType::Timestamp(_, Some(_)));
        Ok(Self { texts, data_type, integers, fractions, times, is_zoned })
    }

    fn text(&self, row: usize) -> Option<&str> {
        self.texts.is_valid(row).then(|| texts(&self.texts).value(row))
    }

    fn fraction(&self, row: usize) -> Option<&str> {
        self.fractions.as_ref().map(|fractions| texts(fractions).value(row))
    }

    fn integer(&self, row: usize) -> Option<i64> {
        self.integers.as_ref().map(|integers| integers.as_primitive::<Int64Type>().value(row))
    }

    fn time(&self, row: usize) -> Option<NaiveDateTime> {
        self.times.as_ref()?.as_primitive::<TimestampMicrosecondType>().value_as_datetime(row)
    }
}

/// Timestamps without a zone as Java prints them: `2020-05-11T11:15`, with seconds and a fraction where there are any.
fn iso_texts(times: &ArrayRef) -> ArrayRef {
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let text = |row: usize| {
        let time = times.value_as_datetime(row).filter(|_| times.is_valid(row))?;
        let pattern = match (time.second(), time.nanosecond()) {
            (0, 0) => "%Y-%m-%dT%H:%M",
            (_, 0) => "%Y-%m-%dT%H:%M:%S",
            (_, nanos) if nanos % 1_000_000 == 0 => "%Y-%m-%dT%H:%M:%S%.3f",
            _ => "%Y-%m-%dT%H:%M:%S%.6f",
        };
        Some(time.format(pattern).to_string())
    };
    Arc::new((0..times.len()).map(text).collect::<StringArray>())
}

fn format(args: &[ArrayRef]) -> Result<ArrayRef> {
    let patterns = texts(&args[0]);
    let values: Vec<Values> = args[1..].iter().map(Values::new).collect::<Result<_>>()?;
    let mut last = Last::new();
    let row = |row: usize| {
        if patterns.is_null(row) {
            return Ok(None);
        }
        let mut out = String::new();
        for part in last.get(patterns.value(row), parse)? {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(spec) => spec.write(&values, row, &mut out)?,
            }
        }
        Ok(Some(out))
    };
    Ok(Arc::new((0..patterns.len()).map(row).collect::<Result<StringArray>>()?))
}

enum Part {
    Text(String),
    Value(Spec),
}

/// `%[argument$][flags][width][.precision]conversion`
struct Spec {
    written: String,
    argument: usize,
    flags: String,
    width: usize,
    precision: Option<usize>,
    /// In small letters, unless it is `t` with what follows.
    conversion: char,
    /// Of `t`: which part of a time.
    part: char,
    is_upper: bool,
}

/// No text is padded to more.
const MAX_WIDTH: usize = 10_000;

fn parse(pattern: &str) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let (mut rest, mut next_argument, mut last_argument) = (pattern, 0, None);
    while let Some((before, behind)) = rest.split_once('%') {
        text.push_str(before);
        let bad = || failed(format!("format: %{behind} is no format specifier"));
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number <= MAX_WIDTH).ok_or_else(bad);
        let mut spec = behind;
        let mut given = None;
        let index_digits = digits(spec);
        if let Some(after) = spec[index_digits..].strip_prefix('$').filter(|_| index_digits > 0) {
            given = Some(number(&spec[..index_digits])?.checked_sub(1).ok_or_else(bad)?);
            spec = after;
        } else if let Some(after) = spec.strip_prefix('<') {
            given = Some(last_argument.ok_or_else(bad)?);
            spec = after;
        }
        let flags = &spec[..spec.len() - spec.trim_start_matches(['-', '#', '+', ' ', '0', ',', '(']).len()];
        spec = &spec[flags.len()..];
        let width_digits = digits(spec);
        let width = if width_digits > 0 { number(&spec[..width_digits])? } else { 0 };
        spec = &spec[width_digits..];
        let mut precision = None;
        if let Some(after) = spec.strip_prefix('.') {
            precision = Some(number(&after[..digits(after)])?);
            spec = &after[digits(after)..];
        }
        let mut letters = spec.chars();
        let letter = letters.next().ok_or_else(bad)?;
        rest = letters.as_str();
        if let '%' | 'n' = letter {
            text.push(if letter == '%' { '%' } else { '\n' });
            continue;
        }
        let conversion = letter.to_ascii_lowercase();
        if !"bsdoxeft".contains(conversion) || "DOF".contains(letter) {
            return Err(bad());
        }
        let mut part = ' ';
        if conversion == 't' {
            part = letters.next().ok_or_else(bad)?;
            rest = letters.as_str();
        }
        let argument = given.unwrap_or_else(|| {
            next_argument += 1;
            next_argument - 1
        });
        last_argument = Some(argument);
        parts.push(Part::Text(std::mem::take(&mut text)));
        let written = format!("%{}", &behind[..behind.len() - rest.len()]);
        let (flags, is_upper) = (flags.to_owned(), letter.is_ascii_uppercase());
        parts.push(Part::Value(Spec { written, argument, flags, width, precision, conversion, part, is_upper }));
    }
    text.push_str(rest);
    parts.push(Part::Text(text));
    Ok(parts)
}

impl Spec {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    fn write(&self, values: &[Values], row: usize, out: &mut String) -> Result<()> {
        let values = values
            .get(self.argument)
            .ok_or_else(|| failed(format!("format: there is no value for {}", self.written)))?;
        let mut text = match values.text(row) {
            None if self.conversion == 'b' => "false".to_owned(),
            None => "null".to_owned(),
            Some(text) => self.convert(values, row, text)?,
        };
        if let ('b' | 's', Some(precision)) = (self.conversion, self.precision) {
            text = text.chars().take(precision).collect();
        }
        if self.is_upper {
            text = text.to_uppercase();
        }
        let missing = self.width.saturating_sub(text.chars().count());
        let spaces = " ".repeat(missing);
        if self.has('-') {
            out.push_str(&text);
            out.push_str(&spaces);
        } else {
            out.push_str(&spaces);
            out.push_str(&text);
        }
        Ok(())
    }

    fn convert(&self, values: &Values, row: usize, text: &str) -> Result<String> {
        let misfit = || failed(format!("format: {} does not take {}", self.written, type_name(&values.data_type)));
        let data_type = &values.data_type;
        Ok(match self.conversion {
            'b' if *data_type == DataType::Boolean => text.to_owned(),
            'b' => "true".to_owned(),
            's' => text.to_owned(),
            'd' => self.number(&values.integer(row).ok_or_else(misfit)?.to_string(), ""),
            // Negative ones as their two's complement, of 64 bits whatever their type is.
            'o' | 'x' => {
                let number = values.integer(row).ok_or_else(misfit)?;
                let digits = if self.conversion == 'x' { format!("{number:x}") } else { format!("{number:o}") };
                let prefix = match (self.has('#'), self.conversion) {
                    (true, 'x') => "0x",
                    (true, _) => "0",
                    _ => "",
                };
                let zeros = if self.has('0') { self.width.saturating_sub(digits.len() + prefix.len()) } else { 0 };
                format!("{prefix}{}{digits}", "0".repeat(zeros))
            }
            'e' | 'f' => self.fraction(values.fraction(row).ok_or_else(misfit)?),
            't' => {
                let time = values.time(row).ok_or_else(misfit)?;
                time_part(time, self.part, values.is_zoned).ok_or_else(misfit)?
            }
            _ => return Err(misfit()),
        })
    }

    /// A number, from the text of a double or a decimal.
    fn fraction(&self, text: &str) -> String {
        let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
        let Some((digits, point)) = decimal_digits(digits) else {
            return if text == "Infinity" && self.has('+') { "+Infinity".to_owned() } else { text.to_owned() };
        };
        let precision = self.precision.unwrap_or(6);
        if self.conversion == 'f' {
            // One digit at least stands before the point: 0.001 is 0001 with its point behind the first.
            let zeros = usize::try_from(1 - point).unwrap_or(0);
            let (digits, point) = (format!("{}{digits}", "0".repeat(zeros)), point.max(1) as usize);
            let (digits, carry) = round(digits, point + precision);
            let (whole, fraction) = digits.split_at(point + carry);
            let fraction = if precision == 0 { String::new() } else { format!(".{fraction}") };
            return self.number(&format!("{sign}{whole}"), &fraction);
        }
        let is_zero = digits.bytes().all(|digit| digit == b'0');
        let (digits, carry) = round(digits, precision + 1);
        let exponent = if is_zero { 0 } else { point - 1 + carry as i64 };
        let (first, fraction) = digits.split_at(1);
        let fraction = if precision == 0 { String::new() } else { format!(".{}", &fraction[..precision]) };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        let fraction = format!("{fraction}e{exponent_sign}{:02}", exponent.unsigned_abs());
        self.number(&format!("{sign}{first}"), &fraction)
    }

    /// With what flags ask for: groups of three digits, a sign, zeros.
    fn number(&self, whole: &str, fraction: &str) -> String {
        let (is_negative, digits) = whole.strip_prefix('-').map_or((false, whole), |digits| (true, digits));
        let mut digits = digits.to_owned();
        if self.has(',') {
            for place in (1..digits.len()).rev().filter(|place| (digits.len() - place) % 3 == 0).collect::<Vec<_>>() {
                digits.insert(place, ',');
            }
        }
        let (before, behind) = match is_negative {
            true if self.has('(') => ("(", ")"),
            true => ("-", ""),
            false if self.has('+') => ("+", ""),
            false if self.has(' ') => (" ", ""),
            false => ("", ""),
        };
        let length = before.len() + digits.len() + fraction.len() + behind.len();
        let zeros = if self.has('0') { self.width.saturating_sub(length) } else { 0 };
        format!("{before}{}{digits}{fraction}{behind}", "0".repeat(zeros))
    }
}

/// The digits of `1.5`, `1.0E7`, and how many of them stand before the point; `None` of what is no number.
fn decimal_digits(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = match text.split_once('E') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    digits.bytes().all(|digit| digit.is_ascii_digit()).then_some(())?;
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    let point = whole.len() as i64 + exponent - zeros as i64;
    let digits = digits[zeros..].to_owned();
    Some(if digits.is_empty() { ("0".to_owned(), 1) } else { (digits, point) })
}

/// So many of the digits, half up, with zeros where there are none; and 1 where that is one digit more, before the first.
fn round(digits: String, keep: usize) -> (String, usize) {
    let mut bytes = digits.into_bytes();
    let rounds_up = bytes.get(keep).is_some_and(|digit| *digit >= b'5');
    bytes.resize(keep, b'0');
    let mut carry = 0;
    if rounds_up {
        let nines = bytes.iter().rev().take_while(|digit| **digit == b'9').count();
        let at = keep - nines;
        bytes[at..].fill(b'0');
        match at.checked_sub(1) {
            Some(last) => bytes[last] += 1,
            None => {
                bytes.insert(0, b'1');
                carry = 1;
            }
        }
    }
    (bytes.into_iter().map(char::from).collect(), carry)
}

/// A part of a time, as `%t` and a letter ask for it; `None` when there is no such part, or the time is of a zone that it depends on.
fn time_part(time: NaiveDateTime, part: char, is_zoned: bool) -> Option<String> {
    let pattern = match part {
        'H' => "%H",
        'I' => "%I",
        'k' => "%-H",
        'l' => "%-I",
        'M' => "%M",
        'S' => "%S",
        'L' => "%3f",
        'N' => "%9f",
        'p' => "%P",
        'B' => "%B",
        'b' | 'h' => "%b",
        'A' => "%A",
        'a' => "%a",
        'Y' => "%Y",
        'y' => "%y",
        'C' => "%C",
        'j' => "%j",
        'm' => "%m",
        'd' => "%d",
        'e' => "%-d",
        'R' => "%H:%M",
        'T' => "%H:%M:%S",
        'r' => "%I:%M:%S %p",
        'D' => "%m/%d/%y",
        'F' => "%Y-%m-%d",
        'z' | 'Z' | 's' | 'Q' if is_zoned => return None,
        'z' => return Some("+0000".to_owned()),
        'Z' => return Some("UTC".to_owned()),
        's' => return Some(time.and_utc().timestamp().to_string()),
        'Q' => return Some((time.and_utc().timestamp() * 1000 + i64::from(time.nanosecond()) / 1_000_000).to_string()),
        _ => return None,
    };
    Some(time.format(pattern).to_string())
}
