//! Parameters: what the client sent, as literals of SQL. So a statement with parameters means what it means when they are
//! written into it.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use datafusion::arrow::datatypes::DataType;
use pgwire::api::Type;
use pgwire::api::portal::Portal;
use pgwire::error::PgWireError;
use postgres_types::{FromSqlOwned, Kind};

use super::errors::refuse;

/// The literal of a parameter that a portal was bound with, `index` counting from 0.
///
/// # Errors
/// When it is not of its type, or the type is none that can be written.
pub(super) fn literal<S: Clone>(portal: &Portal<S>, index: usize, ty: &Type) -> Result<String, PgWireError> {
    let Some(Some(bytes)) = portal.parameters.get(index) else { return Ok(null(ty)) };
    let is_binary = portal.parameter_format.is_binary_at(index);
    let Kind::Array(element) = ty.kind() else { return value(bytes, is_binary, index, ty) };
    let elements = if is_binary { binary_elements(bytes) } else { text_elements(bytes) };
    let literals = elements.ok_or_else(|| invalid(index, ty))?.into_iter().map(|bytes| match bytes {
        Some(bytes) => value(&bytes, is_binary, index, element),
        None => Ok(null(element)),
    });
    let literals = literals.collect::<Result<Vec<_>, _>>()?;
    match literals.is_empty() {
        true => Ok(format!("CAST(ARRAY[] AS array({}))", name_of(element).unwrap_or("varchar"))),
        false => Ok(format!("ARRAY[{}]", literals.join(", "))),
    }
}

/// The literal of a value that is no array.
fn value(bytes: &[u8], is_binary: bool, index: usize, ty: &Type) -> Result<String, PgWireError> {
    if is_binary {
        return binary(bytes, index, ty);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| invalid(index, ty))?;
    match *ty {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => {
            text.trim().parse::<i64>().map(|number| parenthesized(number.to_string())).map_err(|_| invalid(index, ty))
        }
        Type::FLOAT4 | Type::FLOAT8 => text.trim().parse().map(double).map_err(|_| invalid(index, ty)),
        Type::NUMERIC => numeric(text.trim()).ok_or_else(|| invalid(index, ty)),
        Type::BOOL => match text.trim().to_lowercase().as_str() {
            "t" | "true" | "1" | "y" | "yes" | "on" => Ok("TRUE".to_owned()),
            "f" | "false" | "0" | "n" | "no" | "off" => Ok("FALSE".to_owned()),
            _ => Err(invalid(index, ty)),
        },
        Type::DATE => day(text).map(date).ok_or_else(|| invalid(index, ty)),
        Type::TIMESTAMP => local(text).map(timestamp).ok_or_else(|| invalid(index, ty)),
        Type::TIMESTAMPTZ => moment(text).map(timestamptz).ok_or_else(|| invalid(index, ty)),
        Type::TIME => {
            let read = |format| NaiveTime::parse_from_str(without_zone(text.trim()), format).ok();
            let time = read("%H:%M:%S%.f").or_else(|| read("%H:%M"));
            time.map(|time| format!("TIME '{time}'")).ok_or_else(|| invalid(index, ty))
        }
        Type::BYTEA => {
            let digits = text.strip_prefix("\\x").filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()));
            digits.map(|digits| format!("X'{digits}'")).ok_or_else(|| invalid(index, ty))
        }
        Type::UUID => {
            uuid::Uuid::parse_str(text.trim()).map(|uuid| quoted(&uuid.to_string())).map_err(|_| invalid(index, ty))
        }
        ref ty if is_text(ty) => Ok(quoted(text)),
        _ => Err(unsupported(index, ty)),
    }
}

fn binary(bytes: &[u8], index: usize, ty: &Type) -> Result<String, PgWireError> {
    fn get<T: FromSqlOwned>(bytes: &[u8], index: usize, ty: &Type) -> Result<T, PgWireError> {
        T::from_sql(ty, bytes).map_err(|_| invalid(index, ty))
    }
    Ok(match *ty {
        Type::INT2 => parenthesized(get::<i16>(bytes, index, ty)?.to_string()),
        Type::INT4 => parenthesized(get::<i32>(bytes, index, ty)?.to_string()),
        Type::INT8 => parenthesized(get::<i64>(bytes, index, ty)?.to_string()),
        Type::OID => get::<u32>(bytes, index, ty)?.to_string(),
        Type::FLOAT4 => double(f64::from(get::<f32>(bytes, index, ty)?)),
        Type::FLOAT8 => double(get(bytes, index, ty)?),
        Type::BOOL => if get(bytes, index, ty)? { "TRUE" } else { "FALSE" }.to_owned(),
        Type::DATE => date(get(bytes, index, ty)?),
        Type::TIME => format!("TIME '{}'", get::<NaiveTime>(bytes, index, ty)?),
        Type::TIMESTAMP => timestamp(get(bytes, index, ty)?),
        Type::TIMESTAMPTZ => timestamptz(get::<DateTime<FixedOffset>>(bytes, index, ty)?.to_utc()),
        Type::NUMERIC => digits(bytes).and_then(|text| numeric(&text)).ok_or_else(|| invalid(index, ty))?,
        Type::BYTEA => format!("X'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Type::UUID => match <[u8; 16]>::try_from(bytes) {
            Ok(bytes) => quoted(&uuid::Uuid::from_bytes(bytes).to_string()),
            Err(_) => return Err(invalid(index, ty)),
        },
        ref ty if is_text(ty) => quoted(std::str::from_utf8(bytes).map_err(|_| invalid(index, ty))?),
        _ => return Err(unsupported(index, ty)),
    })
}

/// The elements of an array of one dimension: their number of dimensions, whether there are nulls, their type; for each dimension
/// its length and its first index; for each element its length, -1 for null, and its bytes.
fn binary_elements(bytes: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let number = |at: usize| Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    match number(0)? {
        0 => return Some(Vec::new()),
        1 => {}
        _ => return None,
    }
    let mut at = 20;
    let mut elements = Vec::new();
    for _ in 0..number(12)? {
        let length = number(at)?;
        at += 4;
        let element = match usize::try_from(length) {
            Ok(length) => Some(bytes.get(at..at.checked_add(length)?)?.to_vec()),
            Err(_) => None,
        };
        at += element.as_ref().map_or(0, Vec::len);
        elements.push(element);
    }
    (at == bytes.len()).then_some(elements)
}

/// The elements of `{1,NULL,"a, \\"b\\""}`.
fn text_elements(bytes: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut rest = bytes.trim_ascii().strip_prefix(b"{")?.strip_suffix(b"}")?.trim_ascii();
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let is_quoted = rest.first() == Some(&b'"');
        let mut element = Vec::new();
        let mut at = usize::from(is_quoted);
        loop {
            match rest.get(at) {
                Some(b'\\') => {
                    element.push(*rest.get(at + 1)?);
                    at += 2;
                }
                Some(b'"') if is_quoted => {
                    at += 1;
                    break;
                }
                Some(b',') | None if !is_quoted => break,
                // Arrays in arrays.
                Some(b'{' | b'}' | b'"') if !is_quoted => return None,
                Some(byte) => {
                    element.push(*byte);
                    at += 1;
                }
                None => return None,
            }
        }
        let is_null = !is_quoted && element.trim_ascii().eq_ignore_ascii_case(b"null");
        elements.push((!is_null).then_some(element));
        rest = rest[at..].trim_ascii_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(b",")?.trim_ascii_start();
            if rest.is_empty() {
                return None;
            }
        }
    }
    Some(elements)
}

/// Whether values are taken as text; also those of which the client does not know the type.
fn is_text(ty: &Type) -> bool {
    [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME, Type::CHAR, Type::UNKNOWN, Type::UUID, Type::JSON]
        .contains(ty)
}

/// The type that a client is told for a parameter which the query engine found to be `ty`.
pub(super) fn inferred(ty: &DataType) -> Type {
    match ty {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Type::INT2,
        DataType::Int32 | DataType::UInt16 => Type::INT4,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Type::INT8,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Type::FLOAT8,
        DataType::Decimal128(..) | DataType::Decimal256(..) => Type::NUMERIC,
        DataType::Date32 | DataType::Date64 => Type::DATE,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Type::BYTEA,
        _ => Type::TEXT,
    }
}

/// The type that a cast names: `int8`, `text[]`.
pub(super) fn named(name: &str) -> Option<Type> {
    let (name, is_array) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
    let (one, array) = match name.to_ascii_lowercase().as_str() {
        "bool" | "boolean" => (Type::BOOL, Type::BOOL_ARRAY),
        "int2" | "smallint" => (Type::INT2, Type::INT2_ARRAY),
        "int4" | "int" | "integer" => (Type::INT4, Type::INT4_ARRAY),
        "int8" | "bigint" => (Type::INT8, Type::INT8_ARRAY),
        "oid" => (Type::OID, Type::OID_ARRAY),
        "float4" | "real" => (Type::FLOAT4, Type::FLOAT4_ARRAY),
        "float8" | "double precision" => (Type::FLOAT8, Type::FLOAT8_ARRAY),
        "numeric" | "decimal" => (Type::NUMERIC, Type::NUMERIC_ARRAY),
        "date" => (Type::DATE, Type::DATE_ARRAY),
        "timestamp" | "timestamp without time zone" => (Type::TIMESTAMP, Type::TIMESTAMP_ARRAY),
        "timestamptz" | "timestamp with time zone" => (Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY),
        "text" => (Type::TEXT, Type::TEXT_ARRAY),
        "varchar" | "character varying" => (Type::VARCHAR, Type::VARCHAR_ARRAY),
        "bytea" => (Type::BYTEA, Type::BYTEA_ARRAY),
        "time" | "time without time zone" => (Type::TIME, Type::TIME_ARRAY),
        "uuid" => (Type::UUID, Type::UUID_ARRAY),
        _ => return None,
    };
    Some(if is_array { array } else { one })
}

/// The name of a type in both dialects; `None`: of no literal in particular.
fn name_of(ty: &Type) -> Option<&'static str> {
    Some(match *ty {
        Type::BOOL => "boolean",
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => "bigint",
        Type::FLOAT4 | Type::FLOAT8 => "double",
        Type::NUMERIC => "decimal(38, 9)",
        Type::DATE => "date",
        Type::TIME => "time",
        Type::TIMESTAMP => "timestamp",
        Type::TIMESTAMPTZ => "timestamp with time zone",
        Type::BYTEA => "varbinary",
        Type::UNKNOWN => return None,
        _ => "varchar",
    })
}

/// No value, of a type.
pub(super) fn null(ty: &Type) -> String {
    match (ty.kind(), name_of(ty)) {
        // The catalogue's dialect has no names of array types.
        (Kind::Array(element), _) => format!("CASE WHEN FALSE THEN ARRAY[{}] END", null(element)),
        (_, Some(name)) => format!("CAST(NULL AS {name})"),
        (_, None) => "NULL".to_owned(),
    }
}

fn invalid(index: usize, ty: &Type) -> PgWireError {
    refuse("22P02", format!("parameter ${} is no {}", index + 1, ty.name()))
}

fn unsupported(index: usize, ty: &Type) -> PgWireError {
    refuse("0A000", format!("parameter ${} is of type {}, which is not supported", index + 1, ty.name()))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Behind a minus, another one would begin a comment.
fn parenthesized(number: String) -> String {
    if number.starts_with('-') { format!("({number})") } else { number }
}

fn double(value: f64) -> String {
    format!("CAST('{value:?}' AS double)")
}

fn date(value: NaiveDate) -> String {
    format!("DATE '{value}'")
}

fn timestamp(value: NaiveDateTime) -> String {
    format!("TIMESTAMP '{}'", value.format("%Y-%m-%d %H:%M:%S%.6f"))
}

fn timestamptz(value: DateTime<Utc>) -> String {
    format!("TIMESTAMP '{} UTC'", value.naive_utc().format("%Y-%m-%d %H:%M:%S%.6f"))
}

/// `10:00:00+02` without the offset, and without `Z`.
fn without_zone(time: &str) -> &str {
    let end = time.find(['+', '-', 'Z']).unwrap_or(time.len());
    time[..end].trim_end()
}

/// The date of `2024-01-01`, `2024-01-01 +00` and `2024-01-01 00:00:00+00`.
fn day(text: &str) -> Option<NaiveDate> {
    let (date, rest) = text.trim().split_at_checked(10)?;
    let is_apart = rest.is_empty() || rest.starts_with([' ', 'T', '+', 'Z']);
    NaiveDate::parse_from_str(date, "%Y-%m-%d").ok().filter(|_| is_apart)
}

/// What the clock shows, whatever the offset behind it.
fn local(text: &str) -> Option<NaiveDateTime> {
    let date = day(text)?;
    let (_, time) = text.trim().split_at_checked(10)?;
    let time = without_zone(time.trim_start_matches([' ', 'T']));
    let read = |format| NaiveTime::parse_from_str(time, format).ok();
    match time {
        "" => date.and_hms_opt(0, 0, 0),
        _ => Some(date.and_time(read("%H:%M:%S%.f").or_else(|| read("%H:%M"))?)),
    }
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    let trimmed = text.trim().replacen('T', " ", 1);
    let trimmed = trimmed.strip_suffix('Z').map_or(trimmed.clone(), |time| format!("{time}+00"));
    let with_offset = |format| DateTime::parse_from_str(&trimmed, format).ok().map(|time| time.to_utc());
    let offsets = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%::z", "%Y-%m-%d %H:%M%#z"];
    let has_offset = trimmed.get(10..).is_some_and(|time| time.contains(['+', '-']));
    let local = || local(text).filter(|_| !has_offset).map(|time| time.and_utc());
    offsets.into_iter().find_map(with_offset).or_else(local)
}

/// `1.5E-3` without its power of ten: `0.0015`.
fn without_power(text: &str) -> Option<String> {
    let Some((number, power)) = text.split_once(['e', 'E']) else { return Some(text.to_owned()) };
    let power = power.parse::<i32>().ok().filter(|power| (-99..=99).contains(power))?;
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    let sign = if number.starts_with('-') { "-" } else { "" };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()? + power;
    Some(match usize::try_from(point) {
        Ok(point) if point < all.len() => format!("{sign}{}.{}", all.get(..point)?, all.get(point..)?),
        Ok(point) => format!("{sign}{all}{}", "0".repeat(point - all.len())),
        Err(_) => format!("{sign}0.{}{all}", "0".repeat(usize::try_from(-point).ok()?)),
    })
}

/// `12.50` as a decimal of its own precision and scale.
fn numeric(text: &str) -> Option<String> {
    let text = without_power(text)?;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if digits.len() < 1 + usize::from(digits.contains('.')) || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let precision = (whole.trim_start_matches('0').len() + fraction.len()).max(1);
    (precision <= 38).then(|| format!("CAST('{text}' AS decimal({precision}, {}))", fraction.len()))
}

/// The digits of a number in groups of four.
fn digits(bytes: &[u8]) -> Option<String> {
    let words: Vec<i16> = bytes.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect();
    let [count, weight, sign, scale, groups @ ..] = words.as_slice() else { return None };
    let scale = usize::try_from(*scale).ok()?;
    if usize::try_from(*count).ok()? != groups.len() || !matches!(*sign, 0 | 0x4000) || scale > 38 || *weight > 10 {
        return None;
    }
    let group = |place: i32| {
        let index = usize::try_from(i32::from(*weight) - place).ok();
        format!("{:04}", index.and_then(|index| groups.get(index)).copied().unwrap_or(0))
    };
    let whole: String = (0..=i32::from(*weight)).rev().map(group).collect();
    let fraction: String = (1..).take(scale.div_ceil(4)).map(|place: i32| group(-place)).collect();
    let sign = if *sign == 0 { "" } else { "-" };
    let whole = whole.trim_start_matches('0');
    let point = if scale > 0 { "." } else { "" };
    Some(format!("{sign}{}{point}{}", if whole.is_empty() { "0" } else { whole }, &fraction[..scale]))
}

/// Whether a parameter came in binary; without a panic when a client names too few formats.
trait IsBinaryAt {
    fn is_binary_at(&self, index: usize) -> bool;
}

impl IsBinaryAt for pgwire::api::portal::Format {
    fn is_binary_at(&self, index: usize) -> bool {
        match self {
            Self::UnifiedText => false,
            Self::UnifiedBinary => true,
            Self::Individual(formats) => formats.get(index) == Some(&1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        for (text, expected) in [
            ("12.50", Some("CAST('12.50' AS decimal(4, 2))")),
            ("-0.001", Some("CAST('-0.001' AS decimal(3, 3))")),
            ("0", Some("CAST('0' AS decimal(1, 0))")),
            ("1e5", Some("CAST('100000' AS decimal(6, 0))")),
            ("-1.25E+1", Some("CAST('-12.5' AS decimal(3, 1))")),
            ("1E-7", Some("CAST('0.0000001' AS decimal(7, 7))")),
            ("e5", None),
            ("1.2.3e5", None),
            ("1e99", None),
            ("1e-2147483648", None),
            ("NaN", None),
            ("'", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(numeric(text).as_deref(), expected, "{text}");
        }
        let bytes = |words: &[i16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        for (words, expected) in [
            (&[2, 0, 0, 2, 12, 5000][..], Some("12.50")),
            (&[1, 1, 0x4000, 0, 1], Some("-10000")),
            (&[1, -2, 0, 8, 1234], Some("0.00001234")),
            (&[0, 0, 0, 0], Some("0")),
            (&[1, 0, -16384, 0, 1], None),
            (&[9, 0, 0, 0, 1], None),
            (&[0], None),
        ] {
            assert_eq!(digits(&bytes(words)).as_deref(), expected, "{words:?}");
        }
    }

    #[test]
    fn arrays_are_taken_in_both_formats() {
        let text = |text: &str| {
            let texts = text_elements(text.as_bytes())?.into_iter();
            Some(texts.map(|bytes| bytes.map(|bytes| String::from_utf8(bytes).unwrap_or_default())).collect::<Vec<_>>())
        };
        let some = |texts: &[&str]| Some(texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>());
        assert_eq!(text("{}"), Some(vec![]));
        assert_eq!(text(" {1, 2,-3} "), some(&["1", "2", "-3"]));
        assert_eq!(text(r#"{"a, b","c\"d",e\,f,"NULL","{}"}"#), some(&["a, b", "c\"d", "e,f", "NULL", "{}"]));
        assert_eq!(text("{a,NULL,null}"), Some(vec![Some("a".to_owned()), None, None]));
        for wrong in ["", "1", "{1", "{1,}", "{{1},{2}}", r#"{"a}"#, r#"{"a"b}"#, "{a\\"] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
        let array = |words: &[i32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let two = array(&[1, 1, 23, 2, 1, 4, 7, -1]);
        assert_eq!(binary_elements(&two), Some(vec![Some(vec![0, 0, 0, 7]), None]));
        assert_eq!(binary_elements(&array(&[0, 0, 23])), Some(vec![]));
        for wrong in [&[2, 0, 23, 1, 1, 1, 1, 4, 7][..], &[1, 0, 23, 1, 1, 4], &[1, 0, 23, 1, 1, 4, 7, 8], &[1], &[]] {
            assert_eq!(binary_elements(&array(wrong)), None, "{wrong:?}");
        }
        assert_eq!(binary_elements(&array(&[1, 0, 23, i32::MAX, 1, i32::MAX])), None);
    }

    #[test]
    fn days_and_clocks_are_taken_with_an_offset_behind_them() {
        for text in ["2024-01-31", " 2024-01-31 ", "2024-01-31 +00", "2024-01-31 00:00:00+00", "2024-01-31T05:00"] {
            assert_eq!(day(text).map(date).as_deref(), Some("DATE '2024-01-31'"), "{text}");
        }
        for text in ["2024-01-31 10:30", "2024-01-31T10:30:00", "2024-01-31 10:30:00+05", "2024-01-31 10:30:00.000Z"] {
            assert_eq!(local(text).map(timestamp).as_deref(), Some("TIMESTAMP '2024-01-31 10:30:00.000000'"), "{text}");
        }
        for text in ["", "2024-01", "2024-01-311", "2024-13-01", "31.01.2024", "2024-01-31 25:00"] {
            assert!(local(text).is_none(), "{text}");
        }
    }

    #[test]
    fn times_are_taken_with_and_without_offset() {
        let expected = "TIMESTAMP '2026-01-02 01:04:05.500000 UTC'";
        for text in [
            "2026-01-02 03:04:05.5+02",
            "2026-01-02T03:04:05.5+02:00",
            "2026-01-02 01:04:05.5Z",
            "2026-01-02 01:04:05.5",
        ] {
            assert_eq!(moment(text).map(timestamptz).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(local("2026-01-02").map(timestamp).as_deref(), Some("TIMESTAMP '2026-01-02 00:00:00.000000'"));
        assert_eq!(local("tomorrow"), None);
    }
}
