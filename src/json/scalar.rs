//! Numbers, date-times and dates: from text to values, and back.

use crate::schema::Kind;

/// The largest magnitude up to which every integer is exact as a double.
pub const MAX_EXACT_INTEGER: u64 = 1 << 53;

/// A number as its column may store it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Fits 64 bits.
    Int(i64),
    /// At most 38 digits.
    Big(i128),
    /// More than 38 digits.
    Huge,
    /// With fraction or exponent, or `-0`.
    Double(f64),
    /// Beyond the range of a double.
    HugeDouble,
}

impl Number {
    /// The kind of this number.
    #[inline]
    pub fn kind(self) -> Kind {
        match self {
            Self::Int(value) if value.unsigned_abs() <= MAX_EXACT_INTEGER => Kind::Int,
            Self::Int(_) => Kind::WideInt,
            Self::Big(_) => Kind::BigInt,
            Self::Huge => Kind::HugeInt,
            Self::Double(_) => Kind::Double,
            Self::HugeDouble => Kind::HugeDouble,
        }
    }
}

/// Reads a token that the scanner found to be a number; `integer` says that it has neither fraction nor exponent.
#[inline]
pub fn number(token: &[u8], integer: bool) -> Number {
    if !integer {
        return double(token);
    }
    let (negative, digits) = match token {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() <= 18 {
        let magnitude = digits.iter().fold(0_i64, |n, digit| n * 10 + i64::from(digit - b'0'));
        return match (negative, magnitude) {
            (true, 0) => Number::Double(-0.0),
            (true, n) => Number::Int(-n),
            (false, n) => Number::Int(n),
        };
    }
    long_integer(negative, digits)
}

#[cold]
fn long_integer(negative: bool, digits: &[u8]) -> Number {
    if digits.len() > 38 {
        return Number::Huge;
    }
    let magnitude = digits.iter().fold(0_i128, |n, digit| n * 10 + i128::from(digit - b'0'));
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).map_or(Number::Big(value), Number::Int)
}

#[inline]
fn double(token: &[u8]) -> Number {
    match fast_float2::parse::<f64, _>(token) {
        Ok(0.0) if has_nonzero_digit(token) => Number::HugeDouble,
        Ok(value) if value.is_finite() => Number::Double(value),
        _ => Number::HugeDouble,
    }
}

fn has_nonzero_digit(token: &[u8]) -> bool {
    token.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| (b'1'..=b'9').contains(byte))
}

/// The microseconds since the epoch that fall, in UTC, into the years 1 to 9999.
const YEARS_1_TO_9999: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// A string that names a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// Microseconds since 1970-01-01T00:00:00Z; `naive` when the text had no offset.
    Timestamp {
        /// Microseconds since the epoch.
        micros: i64,
        /// The text had no offset and was taken as UTC.
        naive: bool,
    },
    /// Days since 1970-01-01.
    Date(i32),
}

impl Time {
    /// The kind of a string that reads as this.
    #[inline]
    pub fn kind(self) -> Kind {
        match self {
            Self::Timestamp { naive: false, .. } => Kind::Timestamp,
            Self::Timestamp { naive: true, .. } => Kind::NaiveTimestamp,
            Self::Date(_) => Kind::Date,
        }
    }
}

/// Reads RFC 3339 `date-time` (years 1 to 9999, at most six digits of a second, no leap second; `T`, `t` or a blank between date
/// and time; the offset may be missing) and `YYYY-MM-DD`. Anything else is no time.
#[inline]
pub fn time(text: &[u8]) -> Option<Time> {
    // Most strings are told apart here.
    if text.len() < 10 || text.len() > 32 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    parse_time(text)
}

fn parse_time(text: &[u8]) -> Option<Time> {
    let days = civil_days(digits(&text[0..4])?, digits(&text[5..7])?, digits(&text[8..10])?)?;
    if text.len() == 10 {
        return Some(Time::Date(days));
    }
    if text.len() < 19 || !matches!(text[10], b'T' | b't' | b' ') || text[13] != b':' || text[16] != b':' {
        return None;
    }
    let (hour, minute, second) = (digits(&text[11..13])?, digits(&text[14..16])?, digits(&text[17..19])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &text[19..];
    let mut micros = 0;
    if let [b'.', fraction @ ..] = rest {
        let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 || length > 6 {
            return None;
        }
        micros = i64::from(digits(&fraction[..length])?) * 10_i64.pow(6 - length as u32);
        rest = &fraction[length..];
    }
    let offset_minutes = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let minutes = i64::from(hours * 60 + minutes);
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    let seconds = i64::from(days) * 86_400 + i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
    let micros = (seconds - offset_minutes * 60) * 1_000_000 + micros;
    if !YEARS_1_TO_9999.contains(&micros) {
        return None;
    }
    Some(Time::Timestamp { micros, naive: rest.is_empty() })
}

#[inline]
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |n, byte| byte.is_ascii_digit().then(|| n * 10 + u32::from(byte - b'0')))
}

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar, years 1 to 9999
/// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil).
fn civil_days(year: u32, month: u32, day: u32) -> Option<i32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || day == 0 || day > last {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((era * 146_097 + day_of_era) as i32 - 719_468)
}

/// The year, month and day of a number of days since 1970-01-01 (the inverse, civil_from_days).
pub fn civil(days: i32) -> (i32, u32, u32) {
    let z = i64::from(days) + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as i32, month, day)
}

/// `YYYY-MM-DD`
pub fn format_date(days: i32) -> String {
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// RFC 3339 in UTC, with three or six digits of a second only where needed; without the `Z` when `naive`.
pub fn format_timestamp(micros: i64, naive: bool) -> String {
    let days = micros.div_euclid(86_400_000_000);
    let rest = micros.rem_euclid(86_400_000_000);
    let (second, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let mut text =
        format!("{}T{:02}:{:02}:{:02}", format_date(days as i32), second / 3_600, second / 60 % 60, second % 60);
    if fraction % 1_000 != 0 {
        text.push_str(&format!(".{fraction:06}"));
    } else if fraction != 0 {
        text.push_str(&format!(".{:03}", fraction / 1_000));
    }
    if !naive {
        text.push('Z');
    }
    text
}

/// The digits of `value` / 10^`scale`, with all `scale` digits behind the point.
pub fn format_decimal(value: i128, scale: u8) -> String {
    if scale == 0 {
        return value.to_string();
    }
    let (sign, digits) = (if value < 0 { "-" } else { "" }, value.unsigned_abs().to_string());
    let digits = format!("{digits:0>width$}", width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    format!("{sign}{whole}.{fraction}")
}

/// A JSON number as multiple of 10^-`scale`, when it is one of at most `precision` digits.
pub fn decimal(token: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let (mantissa, exponent) = match token.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&token[..at], std::str::from_utf8(&token[at + 1..]).ok()?.parse::<i32>().ok()?),
        None => (token, 0),
    };
    let negative = mantissa.first() == Some(&b'-');
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let behind_point = mantissa.len().saturating_sub(point + 1) as i32;
    let mut shift = exponent.checked_sub(behind_point)?.checked_add(i32::from(scale))?;
    let mut digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).skip_while(|d| *d == b'0').collect();
    while shift < 0 && digits.pop_if(|digit| *digit == b'0').is_some() {
        shift += 1;
    }
    if digits.is_empty() {
        return Some(0);
    }
    let length = i32::try_from(digits.len()).ok()?.checked_add(shift)?;
    if shift < 0 || length > i32::from(precision) {
        return None;
    }
    digits.resize(length as usize, b'0');
    let magnitude = digits.iter().fold(0_i128, |n, digit| n * 10 + i128::from(digit - b'0'));
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Option<i64> {
        match time(text.as_bytes()) {
            Some(Time::Timestamp { micros, .. }) => Some(micros),
            _ => None,
        }
    }

    #[test]
    fn rfc_3339_examples_are_read() {
        // RFC 3339, section 5.8
        assert_eq!(micros("1985-04-12T23:20:50.52Z"), Some(482_196_050_520_000));
        assert_eq!(micros("1996-12-19T16:39:57-08:00"), micros("1996-12-20T00:39:57Z"));
        assert_eq!(micros("1937-01-01T12:00:27.87+00:20"), Some(-1_041_337_172_130_000));
        assert_eq!(micros("1990-12-31T23:59:60Z"), None, "a leap second has no microsecond of its own");
        assert_eq!(micros("1970-01-01T00:00:00"), Some(0));
        assert_eq!(micros("1970-01-01 00:00:00.000001Z"), Some(1));
    }

    #[test]
    fn what_only_looks_like_a_time_is_a_string() {
        for text in [
            "2025-02-29",
            "2025-00-10",
            "2025-13-01",
            "0000-01-01",
            "2025-1-01",
            "2025-01-01T",
            "2025-01-01T00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:00:00.Z",
            "2025-01-01T00:00:00.1234567Z",
            "2025-01-01T00:00:00+0100",
            "2025-01-01T00:00:00Zx",
            "2025-01-01X00:00:00Z",
            "+025-01-01",
        ] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn every_day_formats_back_to_itself() {
        for days in (-719_162..2_932_896).step_by(61) {
            assert_eq!(time(format_date(days).as_bytes()), Some(Time::Date(days)));
        }
    }

    #[test]
    fn timestamps_format_back_to_themselves() {
        for value in [0, 1, -1, 999, 1_000, 1_738_577_445_123_456, -62_135_596_800_000_000, 253_402_300_799_999_999] {
            assert_eq!(micros(&format_timestamp(value, false)), Some(value));
            assert_eq!(micros(&format_timestamp(value, true)), Some(value));
        }
    }

    #[test]
    fn decimals_are_taken_when_nothing_is_cut_off() {
        let read = |text: &str| decimal(text.as_bytes(), 6, 2);
        for (text, value) in [
            ("12.5", 1250),
            ("-0.01", -1),
            ("1e3", 100_000),
            ("1.200e1", 1200),
            ("0.0", 0),
            ("-0", 0),
            ("9999.99", 999_999),
        ] {
            assert_eq!(read(text), Some(value), "{text}");
        }
        for text in ["0.001", "10000", "1e4", "1.2345e1", "1e-3", "1e999999999999"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(decimal(&[b'9'; 38], 38, 0), Some(10_i128.pow(38) - 1));
        assert_eq!(decimal(b"0.000e-2000000000", 6, 2), Some(0));
        for (value, text) in [(1250, "12.50"), (-1, "-0.01"), (0, "0.00"), (7, "0.07")] {
            assert_eq!(format_decimal(value, 2), text);
        }
        assert_eq!(format_decimal(-12, 0), "-12");
    }

    #[test]
    fn numbers_keep_their_value_or_say_that_they_cannot() {
        assert_eq!(number(b"0", true), Number::Int(0));
        assert_eq!(number(b"-9223372036854775808", true), Number::Int(i64::MIN));
        assert_eq!(number(b"9223372036854775808", true), Number::Big(9_223_372_036_854_775_808));
        assert_eq!(number(&[b'9'; 39], true), Number::Huge);
        assert!(matches!(number(b"-0", true), Number::Double(zero) if zero.is_sign_negative()));
        assert_eq!(number(b"1.5e3", false), Number::Double(1500.0));
        assert_eq!(number(b"1e400", false), Number::HugeDouble);
        assert_eq!(number(b"1e-400", false), Number::HugeDouble);
        assert_eq!(number(b"0.0e-400", false), Number::Double(0.0));
        assert_eq!(Number::Int(1 << 53).kind(), Kind::Int);
        assert_eq!(Number::Int((1 << 53) + 1).kind(), Kind::WideInt);
    }
}
