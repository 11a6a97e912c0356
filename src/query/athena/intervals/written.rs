//! Intervals as they are written in statements.

use datafusion::sql::sqlparser::ast;

use super::OF_MICROS;
use crate::query::athena::rewrite::{call, number, text};

/// Has the bounds of a window's frame left as they are written.
pub(in crate::query::athena) fn keep_frame(frame: &mut Option<ast::WindowFrame>) {
    let Some(frame) = frame else { return };
    for bound in [Some(&mut frame.start_bound), frame.end_bound.as_mut()].into_iter().flatten() {
        if let ast::WindowFrameBound::Preceding(Some(expr)) | ast::WindowFrameBound::Following(Some(expr)) = bound
            && let ast::Expr::Interval(interval) = &mut **expr
        {
            interval.leading_precision = KEPT;
        }
    }
}

/// Marks an interval that is left as it is written.
const KEPT: Option<u64> = Some(u64::MAX);

/// An interval of days to seconds as a duration: `INTERVAL '1' DAY`, `INTERVAL '1 02:03:04.5' DAY TO SECOND`; one of years to months in
/// months.
pub(in crate::query::athena) fn literal(interval: &mut ast::Interval) -> Option<ast::Expr> {
    use ast::DateTimeField::{
        Day, Days, Hour, Hours, Millisecond, Milliseconds, Minute, Minutes, Month, Second, Seconds, Week, Weeks, Year,
    };
    const SECOND: i128 = 1_000_000;
    if interval.leading_precision == KEPT {
        interval.leading_precision = None;
        return None;
    }
    let ast::Expr::Value(value) = &*interval.value else { return None };
    if let (None, ast::Value::SingleQuotedString(written)) = (&interval.leading_field, &value.value) {
        return in_words(written);
    }
    let written = match &value.value {
        ast::Value::SingleQuotedString(text) => text.trim(),
        ast::Value::Number(digits, _) => digits,
        _ => return None,
    };
    let (sign, digits) = match written.strip_prefix(['-', '+']) {
        Some(digits) => (if written.starts_with('-') { -1 } else { 1 }, digits),
        None => (1, written),
    };
    // How many parts, of which the last may have a fraction, and how long each is.
    let (separators, units): (&[char], &[i128]) = match (interval.leading_field.as_ref()?, interval.last_field.as_ref())
    {
        (Year, Some(Month)) => {
            let (years, months) = digits.split_once('-')?;
            let months = years.parse::<i64>().ok()?.checked_mul(12)?.checked_add(months.parse::<i64>().ok()?)?;
            *interval.value = text(format!("{}", sign as i64 * months));
            (interval.leading_field, interval.last_field) = (Some(Month), None);
            return None;
        }
        (Week(None) | Weeks, None) => (&[], &[604_800 * SECOND]),
        (Day | Days, None) => (&[], &[86_400 * SECOND]),
        (Hour | Hours, None) => (&[], &[3600 * SECOND]),
        (Minute | Minutes, None) => (&[], &[60 * SECOND]),
        (Second | Seconds, None) => (&[], &[SECOND]),
        (Millisecond | Milliseconds, None) => (&[], &[1000]),
        (Day, Some(Hour)) => (&[' '], &[86_400 * SECOND, 3600 * SECOND]),
        (Day, Some(Minute)) => (&[' ', ':'], &[86_400 * SECOND, 3600 * SECOND, 60 * SECOND]),
        (Day, Some(Second)) => (&[' ', ':', ':'], &[86_400 * SECOND, 3600 * SECOND, 60 * SECOND, SECOND]),
        (Hour, Some(Minute)) => (&[':'], &[3600 * SECOND, 60 * SECOND]),
        (Hour, Some(Second)) => (&[':', ':'], &[3600 * SECOND, 60 * SECOND, SECOND]),
        (Minute, Some(Second)) => (&[':'], &[60 * SECOND, SECOND]),
        _ => return None,
    };
    let mut rest = digits;
    let mut micros = 0;
    for (place, unit) in units.iter().enumerate() {
        let part = match separators.get(place) {
            Some(separator) => {
                let (part, behind) = rest.split_once(*separator)?;
                rest = behind;
                part
            }
            None => rest,
        };
        let (whole, fraction) = part.split_once('.').filter(|_| place + 1 == units.len()).unwrap_or((part, ""));
        let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 18 || fraction.len() > 9 || !are_digits(whole) || !are_digits(fraction) {
            return None;
        }
        let number = format!("{whole}{fraction}").parse::<i128>().ok()?;
        micros += number * unit / 10_i128.pow(fraction.len() as u32);
    }
    let micros = i64::try_from(sign * micros).ok()?;
    Some(of_micros(micros))
}

/// `1 day`, `2 days 3.5 hours`, as durations; what has months is left to the engine.
pub(in crate::query::athena) fn in_words(written: &str) -> Option<ast::Expr> {
    let words: Vec<&str> = written.split_whitespace().collect();
    let pairs = words.chunks(2).map(|pair| {
        let [count, unit] = pair else { return None };
        let seconds = match unit.to_ascii_lowercase().trim_end_matches('s') {
            "week" => 604_800.0,
            "day" => 86_400.0,
            "hour" => 3600.0,
            "minute" | "min" => 60.0,
            "second" | "sec" => 1.0,
            _ => return None,
        };
        let micros = count.parse::<f64>().ok()? * seconds * 1e6;
        (micros.abs() < 9e15).then_some(micros.round() as i64)
    });
    let micros = pairs.collect::<Option<Vec<i64>>>()?;
    (!micros.is_empty()).then(|| of_micros(micros.into_iter().sum()))
}

fn of_micros(micros: i64) -> ast::Expr {
    call(OF_MICROS, vec![number(&micros.to_string())])
}

/// Whether an expression is an interval that was written.
pub(in crate::query::athena) fn is_written(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Nested(inner) => is_written(inner),
        ast::Expr::Function(function) => function.name.to_string() == OF_MICROS,
        _ => false,
    }
}
