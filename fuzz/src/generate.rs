//! Records made from fuzz bytes: valid JSON in many spellings, with keys that fold to one name and values whose kinds
//! drift from record to record.

use std::fmt::Write as _;

use arbitrary::{Result, Unstructured};

const KEYS: [&str; 20] = [
    "a", "A", "b", "B", "c d", "c_d", "C-D", "\\u00e9", "é", "è", "_", "", "items", "a_1", "1", "k\\\"", "day", "DAY",
    "\\u0061", "x",
];

const SPACES: [&str; 6] = ["", "", "", " ", "\n", "\t \r\n"];

const SCALARS: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "1.10",
    "-2.5E-3",
    "9007199254740992",
    "9007199254740993",
    "-9223372036854775808",
    "9223372036854775808",
    "-99999999999999999999999999999999999999",
    "123456789012345678901234567890123456789",
    "1e400",
    "1e-400",
    "5e-324",
    "\"\"",
    "\"x\"",
    r#""\u0041\ud83d\ude00\n\/ é""#,
    "\"2025-02-03\"",
    "\"2025-02-03T04:05:06Z\"",
    "\"2025-02-03T04:05:06\"",
    "[]",
];

/// How deep values are made, but for those in a row of brackets.
const MAX_DEPTH: usize = 4;

/// Makes a record.
///
/// # Errors
/// None that matter: bytes that are used up read as zero.
pub fn record(u: &mut Unstructured<'_>) -> Result<String> {
    let mut out = String::new();
    object(u, 0, &mut out)?;
    Ok(out)
}

fn object(u: &mut Unstructured<'_>, depth: usize, out: &mut String) -> Result<()> {
    let count = u.int_in_range(0..=9)?;
    let space = *u.choose(&SPACES)?;
    out.push('{');
    for index in 0..count {
        if index > 0 {
            out.push(',');
        }
        let key = *u.choose(&KEYS)?;
        let _ = write!(out, "{space}\"{key}\"{space}:{space}");
        value(u, depth + 1, out)?;
        out.push_str(space);
    }
    out.push('}');
    Ok(())
}

fn value(u: &mut Unstructured<'_>, depth: usize, out: &mut String) -> Result<()> {
    let choice = u.int_in_range(0..=if depth < MAX_DEPTH { 11 } else { 7 })?;
    match choice {
        0..=2 => out.push_str(u.choose(&SCALARS)?),
        3 => integer(u, out)?,
        4 => fraction(u, out)?,
        5 => {
            let text: String = u.arbitrary()?;
            out.push_str(&serde_json::Value::from(text).to_string());
        }
        6 | 7 => time(u, out)?,
        8 | 9 => object(u, depth, out)?,
        10 => array(u, depth, out)?,
        _ => {
            let levels = u.int_in_range(1..=30)?;
            let (open, close) = *u.choose(&[("[", "]"), ("{\"a\":", "}"), ("[{\"b\":", "}]")])?;
            out.extend(std::iter::repeat_n(open, levels));
            value(u, MAX_DEPTH, out)?;
            out.extend(std::iter::repeat_n(close, levels));
        }
    }
    Ok(())
}

fn array(u: &mut Unstructured<'_>, depth: usize, out: &mut String) -> Result<()> {
    let count = u.int_in_range(0..=4)?;
    let space = *u.choose(&SPACES)?;
    out.push('[');
    for index in 0..count {
        if index > 0 {
            out.push(',');
        }
        out.push_str(space);
        value(u, depth + 1, out)?;
    }
    out.push(']');
    Ok(())
}

fn integer(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    match u.int_in_range(0..=2)? {
        0 => drop(write!(out, "{}", u.arbitrary::<i8>()?)),
        1 => drop(write!(out, "{}", u.arbitrary::<i64>()?)),
        _ => {
            let digits = u.int_in_range(1..=41)?;
            out.push_str(u.choose(&["", "-"])?);
            for place in 0..digits {
                let digit = u.int_in_range(u8::from(place == 0)..=9)?;
                out.push(char::from(b'0' + digit));
            }
        }
    }
    Ok(())
}

fn fraction(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    let number: f64 = u.arbitrary()?;
    if number.is_finite() {
        let _ = if u.arbitrary()? { write!(out, "{number:?}") } else { write!(out, "{number:E}") };
        return Ok(());
    }
    integer(u, out)?;
    let _ = write!(out, ".{:03}", u.int_in_range(0..=999_u32)?);
    if u.arbitrary()? {
        let _ = write!(out, "e{}{}", u.choose(&["", "+", "-"])?, u.int_in_range(0..=400_u32)?);
    }
    Ok(())
}

/// A string that is, or nearly is, a date or a date-time.
fn time(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    let year = *u.choose(&[2025, 2024, 1969, 1, 9999, 1900, 0])?;
    let _ = write!(out, "\"{year:04}-{:02}-{:02}", u.int_in_range(0..=13_u8)?, u.int_in_range(0..=32_u8)?);
    if u.ratio(2, 3_u8)? {
        let (hour, minute, second) = (u.int_in_range(0..=24)?, u.int_in_range(0..=60)?, u.int_in_range(0..=60)?);
        let _ = write!(out, "{}{hour:02}:{minute:02}:{second:02}", u.choose(&["T", "t", " ", "_"])?);
        out.push_str(u.choose(&["", "", ".5", ".123", ".123456", ".000001", ".1234567", "."])?);
        out.push_str(u.choose(&["", "Z", "z", "+00:00", "-00:00", "+01:30", "-23:59", "+24:00", "+0100"])?);
    }
    out.push('"');
    Ok(())
}
