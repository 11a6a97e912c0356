//! Expressions that DataFusion takes, but for something else than Athena does.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DateTimeField, Expr, Query, SelectItem, SetExpr, SetOperator, SetQuantifier, TableFactor,
    TrimWhereField, Value, ValueWithSpan,
};

use super::casts;
use super::dates::ROUND_TIME;
use super::rewrite::{binary, call, nested, number, take, text};
use super::strings::{LIKE_PATTERN, LTRIM, RTRIM, TRIM};

/// Athena's LIKE knows no escape but the one that is given, DataFusion's only the backslash.
///
/// # Errors
/// A message when the escape is not one character, or stands before what needs none.
pub(super) fn like(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) -> Result<(), String> {
    if let Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }) = pattern {
        // Its type is asked for; its value comes as a literal.
        return Ok(());
    }
    let given = match escape.take().map(|escape| escape.value) {
        None => None,
        Some(Value::SingleQuotedString(text)) if text.chars().count() == 1 => text.chars().next(),
        Some(_) => return Err("the escape of LIKE must be one character".to_owned()),
    };
    *pattern = match &mut *pattern {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(written), .. }) => {
            text(engine_pattern(written, given)?)
        }
        computed => call(LIKE_PATTERN, vec![take(computed), text(given.map_or_else(String::new, String::from))]),
    };
    Ok(())
}

/// A pattern of Athena's LIKE in which backslashes escape, and nothing else does.
///
/// # Errors
/// A message when the escape stands before what needs none.
pub(super) fn engine_pattern(written: &str, escape: Option<char>) -> Result<String, String> {
    let mut out = String::with_capacity(written.len());
    let mut chars = written.chars();
    while let Some(next) = chars.next() {
        if Some(next) == escape {
            match chars.next() {
                Some(special @ ('%' | '_')) => out.extend(['\\', special]),
                Some('\\') if escape == Some('\\') => out.push_str("\\\\"),
                Some(same) if Some(same) == escape => out.push(same),
                _ => return Err("in LIKE, the escape must stand before %, _ or itself".to_owned()),
            }
        } else if next == '\\' {
            out.push_str("\\\\");
        } else {
            out.push(next);
        }
    }
    Ok(out)
}

/// `EXTRACT(dow FROM x)` is `day_of_week(x)`, and so on.
pub(super) fn extract(field: &DateTimeField, from: &mut Expr) -> Option<Expr> {
    let name = match field {
        DateTimeField::Year => "year",
        DateTimeField::Quarter => "quarter",
        DateTimeField::Month => "month",
        DateTimeField::Week(None) => "week",
        DateTimeField::Day => "day",
        DateTimeField::Dow | DateTimeField::DayOfWeek => "day_of_week",
        DateTimeField::Doy | DateTimeField::DayOfYear => "day_of_year",
        DateTimeField::Hour => "hour",
        DateTimeField::Minute => "minute",
        DateTimeField::Second => "second",
        DateTimeField::TimezoneHour => "timezone_hour",
        DateTimeField::TimezoneMinute => "timezone_minute",
        DateTimeField::Custom(name) => match name.value.to_ascii_lowercase().as_str() {
            "day_of_month" => "day",
            "day_of_week" => "day_of_week",
            "day_of_year" => "day_of_year",
            "yow" | "year_of_week" => "year_of_week",
            "timezone_hour" => "timezone_hour",
            "timezone_minute" => "timezone_minute",
            _ => return None,
        },
        _ => return None,
    };
    Some(call(name, vec![take(from)]))
}

/// TRIM of white space of all kinds, where no characters are given.
pub(super) fn trim(side: Option<TrimWhereField>, of: &mut Expr) -> Expr {
    let name = match side {
        Some(TrimWhereField::Leading) => LTRIM,
        Some(TrimWhereField::Trailing) => RTRIM,
        Some(TrimWhereField::Both) | None => TRIM,
    };
    call(name, vec![take(of)])
}

/// `DECIMAL '10.50'` is a decimal(4,2).
pub(super) fn decimal(written: &str) -> Option<Expr> {
    let digits = written.trim().trim_start_matches(['+', '-']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let precision = (whole.trim_start_matches('0').len() + fraction.len()).max(1);
    if !are_digits(whole) || !are_digits(fraction) || digits.is_empty() || precision > 38 {
        return None;
    }
    let name = format!("decimal({precision},{})", fraction.len());
    Some(call(casts::CAST, vec![text(written.trim()), text(name)]))
}

/// A cast to `timestamp(p)` keeps p digits of a second.
pub(super) fn round_time(cast: Expr, type_name: &str) -> Expr {
    let digits: String = type_name.chars().filter(|c| !c.is_whitespace()).collect();
    let digits = digits.to_ascii_lowercase();
    let digits = digits.strip_prefix("timestamp(").and_then(|rest| rest.split_once(')')).map(|(digits, _)| digits);
    match digits.and_then(|digits| digits.parse::<u32>().ok()) {
        Some(digits) if digits < 6 => call(ROUND_TIME, vec![cast, number(&digits.to_string())]),
        _ => cast,
    }
}

/// A cast to `varchar(n)` keeps n characters.
pub(super) fn cut(cast: Expr, type_name: &str) -> Expr {
    let name = type_name.to_ascii_lowercase();
    let length = ["varchar", "char"].iter().find_map(|kind| {
        let inner = name.strip_prefix(kind)?.trim().strip_prefix('(')?.strip_suffix(')')?;
        inner.trim().parse::<i32>().ok()
    });
    match length {
        Some(length) => call("substr", vec![cast, number("1"), number(&length.to_string())]),
        None => cast,
    }
}

/// Whether a scalar subquery may seem to have no null: DataFusion forgets that it may have no row.
pub(super) fn seems_not_null(query: &Query) -> bool {
    let SetExpr::Select(select) = &*query.body else { return true };
    let is_constant = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Function(_))
        }
        _ => true,
    };
    let has_values = |table: &TableFactor| match table {
        TableFactor::Derived { subquery, .. } => matches!(&*subquery.body, SetExpr::Values(_)),
        _ => false,
    };
    select.having.is_some()
        || select.projection.iter().any(is_constant)
        || select.from.iter().any(|tables| has_values(&tables.relation))
}

/// What of a body of a query DataFusion would answer wrongly.
///
/// # Errors
/// A message for EXCEPT ALL and INTERSECT ALL, which it takes for filters.
pub(super) fn refuse(body: &SetExpr) -> Result<(), String> {
    let SetExpr::SetOperation { left, op, set_quantifier, right } = body else { return Ok(()) };
    if *set_quantifier == SetQuantifier::All && matches!(op, SetOperator::Except | SetOperator::Intersect) {
        return Err(format!("{op} ALL is not supported"));
    }
    refuse(left)?;
    refuse(right)
}

/// `to_char`, `to_timestamp` and `to_date` with a pattern of Teradata's (and PostgreSQL's) kind, by those that take Joda's:
/// <https://trino.io/docs/current/functions/teradata.html>.
///
/// # Errors
/// A message when the pattern holds something else.
pub(super) fn teradata(name: &str, args: &mut [Expr]) -> Result<Option<Expr>, String> {
    let [of, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(pattern), .. })] = args else {
        return Ok(None);
    };
    if pattern.contains('%') {
        // The engine's own kind.
        return Ok(None);
    }
    let pattern = text(joda(pattern)?);
    let of = take(of);
    let cast = |expr: Expr, ty: &str| call(casts::CAST, vec![expr, text(ty)]);
    Ok(Some(match name {
        "to_char" => call("format_datetime", vec![of, pattern]),
        "to_timestamp" => cast(call("parse_datetime", vec![of, pattern]), "timestamp"),
        _ => cast(call("parse_datetime", vec![of, pattern]), "date"),
    }))
}

fn joda(pattern: &str) -> Result<String, String> {
    const PARTS: [(&str, &str); 11] = [
        ("yyyy", "yyyy"),
        ("yy", "yy"),
        ("mm", "MM"),
        ("dd", "dd"),
        ("hh24", "HH"),
        ("hh12", "hh"),
        ("hh", "hh"),
        ("mi", "mm"),
        ("ss", "ss"),
        ("ms", "SSS"),
        ("us", "SSSSSS"),
    ];
    let lower = pattern.to_ascii_lowercase();
    let (mut out, mut at) = (String::new(), 0);
    while let Some(next) = lower[at..].chars().next() {
        if let Some((part, other)) = PARTS.iter().find(|(part, _)| lower[at..].starts_with(part)) {
            out.push_str(other);
            at += part.len();
        } else if next.is_alphanumeric() {
            return Err(format!(
                "the pattern {pattern:?} holds {next:?}: yyyy, yy, mm, dd, hh24, hh, mi, ss, ms, us are known"
            ));
        } else {
            out.push(next);
            at += next.len_utf8();
        }
    }
    Ok(out)
}

/// Functions that DataFusion has under another name and with other arguments.
pub(super) fn by_another(name: &str, args: &mut [Expr]) -> Option<Expr> {
    Some(match (name, args) {
        ("bitwise_not", [x]) => binary(number("-1"), BinaryOperator::Minus, nested(take(x))),
        ("md5", [x]) => call("digest", vec![take(x), text("md5")]),
        ("from_hex", [x]) => call("decode", vec![take(x), text("hex")]),
        ("to_base64", [x]) => call("encode", vec![take(x), text("base64pad")]),
        ("from_base64", [x]) => call("decode", vec![take(x), text("base64pad")]),
        ("to_base64url", [x]) => {
            let encoded = call("encode", vec![take(x), text("base64pad")]);
            call("translate", vec![encoded, text("+/"), text("-_")])
        }
        ("from_base64url", [x]) => {
            let encoded = call("translate", vec![take(x), text("-_"), text("+/")]);
            call("decode", vec![encoded, text("base64pad")])
        }
        ("random" | "rand", [below]) => whole_random(number("0"), take(below)),
        ("random" | "rand", [from, below]) => whole_random(take(from), take(below)),
        ("normalize", [x]) => call("normalize", vec![take(x), text("NFC")]),
        ("normalize", [x, Expr::Identifier(form)]) => call("normalize", vec![take(x), text(&form.value)]),
        ("ltrim", [x]) => call(LTRIM, vec![take(x)]),
        ("rtrim", [x]) => call(RTRIM, vec![take(x)]),
        _ => return None,
    })
}

/// A whole number from one on and below another.
fn whole_random(from: Expr, below: Expr) -> Expr {
    let (from, below) = (nested(from), nested(below));
    let range = binary(below, BinaryOperator::Minus, from.clone());
    let any = binary(call("random", Vec::new()), BinaryOperator::Multiply, range);
    let whole = call(casts::CAST, vec![call("floor", vec![any]), text("bigint")]);
    binary(from, BinaryOperator::Plus, whole)
}
