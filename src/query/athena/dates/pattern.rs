//! Patterns of times: those of MySQL (`%Y-%m-%d`) and of Joda (`yyyy-MM-dd`), printed and parsed.

use std::fmt::Write as _;

use chrono::{
    Datelike as _, Days, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike as _, Weekday,
};
use datafusion::error::Result;

use crate::query::athena::function::failed;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A pattern that was read.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    /// A number, and with how many digits at least it is written.
    Number(Number, usize),
    Name(Name),
    /// Digits behind the decimal point of the second.
    Fraction(usize),
    /// `+0100`, with or without colon.
    Offset(bool),
    /// The name of the zone.
    Zone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Year,
    YearOfCentury,
    Month,
    Day,
    DayOfYear,
    Hour,
    /// 1 to 24.
    HourFrom1,
    /// 1 to 12.
    HalfHour,
    /// 0 to 11.
    HalfHourFrom0,
    Minute,
    Second,
    Week,
    WeekYear,
    Weekday,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Month,
    ShortMonth,
    Weekday,
    ShortWeekday,
    HalfDay,
    /// The day with its English ending.
    Ordinal,
    Era,
}

impl Number {
    /// The most digits that are parsed.
    fn most_digits(self) -> usize {
        match self {
            Self::Year | Self::WeekYear => 4,
            Self::DayOfYear => 3,
            Self::Weekday => 1,
            _ => 2,
        }
    }

    fn of(self, time: NaiveDateTime) -> i64 {
        match self {
            Self::Year => time.year().into(),
            Self::YearOfCentury => time.year().rem_euclid(100).into(),
            Self::Month => time.month().into(),
            Self::Day => time.day().into(),
            Self::DayOfYear => time.ordinal().into(),
            Self::Hour => time.hour().into(),
            Self::HourFrom1 => {
                if time.hour() == 0 {
                    24
                } else {
                    time.hour().into()
                }
            }
            Self::HalfHour => time.hour12().1.into(),
            Self::HalfHourFrom0 => (time.hour() % 12).into(),
            Self::Minute => time.minute().into(),
            Self::Second => time.second().into(),
            Self::Week => time.iso_week().week().into(),
            Self::WeekYear => time.iso_week().year().into(),
            Self::Weekday => time.weekday().number_from_monday().into(),
        }
    }
}

impl Pattern {
    /// Reads a pattern of MySQL.
    pub(super) fn mysql(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                push_literal(&mut parts, c);
                continue;
            }
            let Some(specifier) = chars.next() else { return Err(failed("a format ends with %")) };
            let part = match specifier {
                'a' => Part::Name(Name::ShortWeekday),
                'b' => Part::Name(Name::ShortMonth),
                'c' => Part::Number(Number::Month, 1),
                'D' => Part::Name(Name::Ordinal),
                'd' => Part::Number(Number::Day, 2),
                'e' => Part::Number(Number::Day, 1),
                'f' => Part::Fraction(6),
                'H' => Part::Number(Number::Hour, 2),
                'h' | 'I' => Part::Number(Number::HalfHour, 2),
                'i' => Part::Number(Number::Minute, 2),
                'j' => Part::Number(Number::DayOfYear, 3),
                'k' => Part::Number(Number::Hour, 1),
                'l' => Part::Number(Number::HalfHour, 1),
                'M' => Part::Name(Name::Month),
                'm' => Part::Number(Number::Month, 2),
                'p' => Part::Name(Name::HalfDay),
                'r' => {
                    parts.extend(Self::mysql("%h:%i:%s %p")?.0);
                    continue;
                }
                'S' | 's' => Part::Number(Number::Second, 2),
                'T' => {
                    parts.extend(Self::mysql("%H:%i:%s")?.0);
                    continue;
                }
                'v' => Part::Number(Number::Week, 2),
                'W' => Part::Name(Name::Weekday),
                'x' => Part::Number(Number::WeekYear, 4),
                'Y' => Part::Number(Number::Year, 4),
                'y' => Part::Number(Number::YearOfCentury, 2),
                'U' | 'u' | 'V' | 'w' | 'X' => {
                    return Err(failed(format!("%{specifier} is not supported in formats of times")));
                }
                other => {
                    push_literal(&mut parts, other);
                    continue;
                }
            };
            parts.push(part);
        }
        Ok(Self(parts))
    }

    /// Reads a pattern of Joda.
    pub(super) fn joda(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let end = rest.find(|other| other != c).unwrap_or(rest.len());
            let (run, behind) = rest.split_at(end);
            if c == '\'' {
                // Two apostrophes are one; else text up to the next.
                let quoted = &rest[1..];
                let close = quoted.find('\'').ok_or_else(|| failed("a format has an open apostrophe"))?;
                quoted[..close].chars().for_each(|c| push_literal(&mut parts, c));
                if close == 0 {
                    push_literal(&mut parts, '\'');
                }
                rest = &quoted[close + 1..];
                continue;
            }
            rest = behind;
            if !c.is_ascii_alphabetic() {
                run.chars().for_each(|c| push_literal(&mut parts, c));
                continue;
            }
            let count = run.len();
            parts.push(match (c, count) {
                ('y' | 'Y', 2) => Part::Number(Number::YearOfCentury, 2),
                ('y' | 'Y', _) => Part::Number(Number::Year, count),
                ('x', _) => Part::Number(Number::WeekYear, count),
                ('w', _) => Part::Number(Number::Week, count),
                ('e', _) => Part::Number(Number::Weekday, count),
                ('E', 4..) => Part::Name(Name::Weekday),
                ('E', _) => Part::Name(Name::ShortWeekday),
                ('D', _) => Part::Number(Number::DayOfYear, count),
                ('M', 4..) => Part::Name(Name::Month),
                ('M', 3) => Part::Name(Name::ShortMonth),
                ('M', _) => Part::Number(Number::Month, count),
                ('d', _) => Part::Number(Number::Day, count),
                ('a', _) => Part::Name(Name::HalfDay),
                ('G', _) => Part::Name(Name::Era),
                ('K', _) => Part::Number(Number::HalfHourFrom0, count),
                ('h', _) => Part::Number(Number::HalfHour, count),
                ('H', _) => Part::Number(Number::Hour, count),
                ('k', _) => Part::Number(Number::HourFrom1, count),
                ('m', _) => Part::Number(Number::Minute, count),
                ('s', _) => Part::Number(Number::Second, count),
                ('S', _) => Part::Fraction(count),
                ('Z', 1) => Part::Offset(false),
                ('Z', 2) => Part::Offset(true),
                ('z' | 'Z', _) => Part::Zone,
                _ => return Err(failed(format!("{run} is not supported in formats of times"))),
            });
        }
        Ok(Self(parts))
    }

    /// Writes what a clock shows that is `shift` seconds ahead of UTC.
    pub(super) fn print(&self, time: NaiveDateTime, shift: i64, zone: &str) -> String {
        let mut out = String::new();
        for part in &self.0 {
            // Writing to a string does not fail.
            let _ = match part {
                Part::Literal(text) => out.write_str(text),
                Part::Number(number, digits) => write!(out, "{:0digits$}", number.of(time)),
                Part::Name(name) => out.write_str(&name.of(time)),
                Part::Fraction(digits) => {
                    let nanos = format!("{:09}", time.nanosecond() % 1_000_000_000);
                    write!(out, "{:0<digits$}", &nanos[..(*digits).min(9)])
                }
                Part::Offset(has_colon) => {
                    let (sign, minutes) = (if shift < 0 { '-' } else { '+' }, shift.abs() / 60);
                    let colon = if *has_colon { ":" } else { "" };
                    write!(out, "{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
                }
                Part::Zone => out.write_str(zone),
            };
        }
        out
    }

    /// Reads a text and gives the moment in microseconds; `None` when it is not of the pattern. What is not in it is that
    /// of the first moment of 1970.
    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        let mut read = Read::default();
        let mut rest = text;
        for (index, part) in self.0.iter().enumerate() {
            // Digits that the next number needs are left to it.
            let is_before_number = matches!(self.0.get(index + 1), Some(Part::Number(..) | Part::Fraction(_)));
            rest = read.part(part, rest, is_before_number)?;
        }
        if rest.is_empty() { read.finish() } else { None }
    }
}

fn push_literal(parts: &mut Vec<Part>, c: char) {
    match parts.last_mut() {
        Some(Part::Literal(text)) => text.push(c),
        _ => parts.push(Part::Literal(c.to_string())),
    }
}

impl Name {
    fn of(self, time: NaiveDateTime) -> String {
        let month = MONTHS[time.month0() as usize % 12];
        let weekday = WEEKDAYS[time.weekday().num_days_from_monday() as usize % 7];
        match self {
            Self::Month => month.to_owned(),
            Self::ShortMonth => month[..3].to_owned(),
            Self::Weekday => weekday.to_owned(),
            Self::ShortWeekday => weekday[..3].to_owned(),
            Self::HalfDay => if time.hour() < 12 { "AM" } else { "PM" }.to_owned(),
            Self::Era => if time.year() > 0 { "AD" } else { "BC" }.to_owned(),
            Self::Ordinal => {
                let day = time.day();
                let ending = match (day % 10, day / 10) {
                    (_, 1) => "th",
                    (1, _) => "st",
                    (2, _) => "nd",
                    (3, _) => "rd",
                    _ => "th",
                };
                format!("{day}{ending}")
            }
        }
    }
}

/// What was read of a text so far.
#[derive(Debug, Default)]
struct Read {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    week_year: Option<i32>,
    week: Option<u32>,
    weekday: Option<u32>,
    hour: Option<u32>,
    half_hour: Option<u32>,
    is_afternoon: bool,
    minute: u32,
    second: u32,
    nanos: u32,
    shift_minutes: i64,
}

/// Which of the names the text begins with, and what is behind it.
fn find<'a>(names: &[&str], text: &'a str, length: Option<usize>) -> Option<(u32, &'a str)> {
    names.iter().zip(0..).find_map(|(name, index)| {
        let name = &name[..length.unwrap_or(name.len())];
        let begin = text.get(..name.len())?;
        begin.eq_ignore_ascii_case(name).then(|| (index, &text[name.len()..]))
    })
}

impl Read {
    fn part<'a>(&mut self, part: &Part, text: &'a str, is_before_number: bool) -> Option<&'a str> {
        match part {
            Part::Literal(literal) => text.strip_prefix(literal.as_str()),
            Part::Number(number, least) => {
                let most = if is_before_number { *least } else { number.most_digits().max(*least) };
                let end = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
                self.number(*number, text[..end].parse().ok()?)?;
                Some(&text[end..])
            }
            Part::Fraction(_) => {
                let end = text.bytes().take(9).take_while(u8::is_ascii_digit).count();
                if end == 0 {
                    return None;
                }
                self.nanos = format!("{:0<9}", &text[..end]).parse().ok()?;
                Some(&text[end..])
            }
            Part::Name(name) => self.name(*name, text),
            Part::Offset(_) | Part::Zone => self.zone(text),
        }
    }

    fn number(&mut self, number: Number, value: u32) -> Option<()> {
        let signed = i32::try_from(value).ok()?;
        match number {
            Number::Year => self.year = Some(signed),
            Number::YearOfCentury => self.year = Some(if signed < 70 { 2000 + signed } else { 1900 + signed }),
            Number::Month => self.month = Some(value),
            Number::Day => self.day = Some(value),
            Number::DayOfYear => self.day_of_year = Some(value),
            Number::Hour => self.hour = Some(value),
            Number::HourFrom1 => self.hour = Some((1..=24).contains(&value).then_some(value % 24)?),
            Number::HalfHour => self.half_hour = Some((1..=12).contains(&value).then_some(value % 12)?),
            Number::HalfHourFrom0 => self.half_hour = Some((value < 12).then_some(value)?),
            Number::Minute => self.minute = value,
            Number::Second => self.second = value,
            Number::Week => self.week = Some(value),
            Number::WeekYear => self.week_year = Some(signed),
            Number::Weekday => self.weekday = Some(value),
        }
        Some(())
    }

    fn name<'a>(&mut self, name: Name, text: &'a str) -> Option<&'a str> {
        match name {
            Name::Month | Name::ShortMonth => {
                let (month, rest) = find(&MONTHS, text, None).or_else(|| find(&MONTHS, text, Some(3)))?;
                self.month = Some(month + 1);
                Some(rest)
            }
            Name::Weekday | Name::ShortWeekday => {
                let (weekday, rest) = find(&WEEKDAYS, text, None).or_else(|| find(&WEEKDAYS, text, Some(3)))?;
                self.weekday = Some(weekday + 1);
                Some(rest)
            }
            Name::HalfDay => {
                let (half, rest) = find(&["AM", "PM"], text, None)?;
                self.is_afternoon = half == 1;
                Some(rest)
            }
            Name::Era => find(&["AD"], text, None).map(|(_, rest)| rest),
            Name::Ordinal => None,
        }
    }

    /// `Z`, an offset, or UTC.
    fn zone<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(rest) =
            text.strip_prefix("UTC").or_else(|| text.strip_prefix("GMT")).or_else(|| text.strip_prefix('Z'))
        {
            return Some(rest);
        }
        let sign = match text.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        let hours: i64 = text.get(1..3)?.parse().ok()?;
        let rest = text.get(3..)?;
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        let minutes: i64 = rest.get(..2)?.parse().ok()?;
        self.shift_minutes = sign * (hours * 60 + minutes);
        FixedOffset::east_opt(i32::try_from(self.shift_minutes * 60).ok()?)?;
        Some(&rest[2..])
    }

    fn finish(self) -> Option<i64> {
        let date = if self.week.is_some() || self.week_year.is_some() {
            let weekday = Weekday::try_from(u8::try_from(self.weekday.unwrap_or(1)).ok()?.checked_sub(1)?).ok()?;
            NaiveDate::from_isoywd_opt(self.week_year.or(self.year).unwrap_or(1970), self.week.unwrap_or(1), weekday)?
        } else if let Some(day) = self.day_of_year {
            NaiveDate::from_ymd_opt(self.year.unwrap_or(1970), 1, 1)?
                .checked_add_days(Days::new(day.checked_sub(1)?.into()))?
        } else {
            NaiveDate::from_ymd_opt(self.year.unwrap_or(1970), self.month.unwrap_or(1), self.day.unwrap_or(1))?
        };
        let hour = match (self.hour, self.half_hour) {
            (Some(hour), _) => hour,
            (None, Some(half)) => half + if self.is_afternoon { 12 } else { 0 },
            (None, None) => {
                if self.is_afternoon {
                    12
                } else {
                    0
                }
            }
        };
        // Fractions are of milliseconds.
        let millis = self.nanos / 1_000_000;
        let local = date.and_time(NaiveTime::from_hms_milli_opt(hour, self.minute, self.second, millis)?);
        Some(local.checked_sub_signed(TimeDelta::minutes(self.shift_minutes))?.and_utc().timestamp_micros())
    }
}
