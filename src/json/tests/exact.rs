//! JSON values without any loss, and whether a stored value is that of the raw text. (serde_json's `Value` rounds numbers.)

use super::*;
use crate::schema::Rule;

/// A JSON value, its numbers as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exact {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Exact>),
    /// All members in their order, keys that occur twice, too.
    Object(Vec<(String, Exact)>),
}

impl Exact {
    /// The value that `text` is.
    pub(super) fn of(text: &str) -> Self {
        let mut rest = text.trim_start();
        let value = value(&mut rest);
        assert_eq!(rest, "", "{text}");
        value
    }

    /// The members that count: of a key that occurs twice, the last.
    fn last_members(&self) -> BTreeMap<&str, &Self> {
        match self {
            Self::Object(members) => members.iter().map(|(key, value)| (key.as_str(), value)).collect(),
            _ => BTreeMap::new(),
        }
    }

    /// Whether a column may have no place for it: null, `{}`, `[]`, objects of such, and what is said to be left out.
    fn is_nothing(&self, rule: Option<&Rule>) -> bool {
        match self {
            _ if rule.is_some_and(|rule| rule.drop) => true,
            Self::Null => true,
            Self::Array(elements) => elements.is_empty(),
            Self::Object(_) => {
                let mut members = self.last_members().into_iter();
                members.all(|(key, value)| value.is_nothing(rule.and_then(|rule| rule.field(key))))
            }
            _ => false,
        }
    }

    /// What a string says, or the token of another scalar.
    fn scalar_text(&self) -> Option<String> {
        match self {
            Self::Number(text) | Self::Text(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }
}

fn value(rest: &mut &str) -> Exact {
    let value = match rest.as_bytes()[0] {
        b'{' => {
            let member = |rest: &mut &str| {
                let Exact::Text(key) = value(rest) else { panic!("no key before {rest}") };
                assert!(pass(rest, ':'));
                (key, value(rest))
            };
            Exact::Object(sequence(rest, '}', member))
        }
        b'[' => Exact::Array(sequence(rest, ']', value)),
        b'"' => {
            let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let text = texts.next().unwrap().unwrap();
            *rest = &rest[texts.byte_offset()..];
            Exact::Text(text)
        }
        _ => {
            let end = rest.find([',', ':', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
            let token = &rest[..end];
            *rest = &rest[end..];
            match token {
                "null" => Exact::Null,
                "true" | "false" => Exact::Bool(token == "true"),
                number => Exact::Number(number.to_owned()),
            }
        }
    };
    *rest = rest.trim_start();
    value
}

/// What stands between the bracket at the begin of `rest` and `close`.
fn sequence<T>(rest: &mut &str, close: char, item: impl Fn(&mut &str) -> T) -> Vec<T> {
    *rest = rest[1..].trim_start();
    let mut items = Vec::new();
    while !pass(rest, close) {
        assert!(items.is_empty() || pass(rest, ','));
        items.push(item(rest));
    }
    items
}

/// Passes over `expected` and the white space behind it, if it is next.
fn pass(rest: &mut &str, expected: char) -> bool {
    let Some(after) = rest.strip_prefix(expected) else { return false };
    *rest = after.trim_start();
    true
}

/// Whether `stored`, the value of a column of type `ty` as it is written back, is the value `raw`. Nothing may have become
/// null but what holds nothing, and what is said to be left out.
pub(super) fn holds(stored: &Exact, raw: &Exact, ty: &Type, rule: Option<&Rule>) -> bool {
    match (raw, ty) {
        (Exact::Null, _) => *stored == Exact::Null,
        (_, Type::Json) => stored == raw,
        (Exact::Object(_), Type::Struct(fields)) => holds_members(stored, raw, fields, rule),
        (Exact::Array(raw), Type::List(element)) => {
            let rule = rule.and_then(|rule| rule.element.as_deref());
            let Exact::Array(stored) = stored else { return false };
            stored.len() == raw.len() && stored.iter().zip(raw).all(|(stored, raw)| holds(stored, raw, element, rule))
        }
        (Exact::Object(_), Type::Map(value)) => {
            let rule = rule.and_then(|rule| rule.value.as_deref());
            let (entries, members) = (stored.last_members(), raw.last_members());
            matches!(stored, Exact::Object(_))
                && entries.keys().eq(members.keys())
                && members.iter().all(|(key, raw)| holds(entries[key], raw, value, rule))
        }
        (Exact::Bool(_), Type::Bool) => stored == raw,
        (raw, ty) => match (raw.scalar_text(), stored.scalar_text()) {
            (Some(raw), Some(stored)) => holds_scalar(&stored, &raw, ty),
            // A list of which only empty elements were seen holds null strings.
            (None, None) => *stored == Exact::Null && raw.is_nothing(rule),
            _ => false,
        },
    }
}

/// [`holds`] for the members of an object, or of a record, whose columns are `fields`.
pub(super) fn holds_members(stored: &Exact, raw: &Exact, fields: &[Field], rule: Option<&Rule>) -> bool {
    let (entries, members) = (stored.last_members(), raw.last_members());
    let mut found = 0;
    let kept = members.iter().all(|(key, raw)| {
        let rule = rule.and_then(|rule| rule.field(key));
        let field = fields.iter().find(|field| field.keys.iter().any(|other| other == key));
        let stored = field.and_then(|field| entries.get(field.keys[0].as_str()).copied());
        found += usize::from(stored.is_some());
        match (field, stored) {
            _ if rule.is_some_and(|rule| rule.drop) => stored.is_none(),
            (Some(field), stored) => holds(stored.unwrap_or(&Exact::Null), raw, &field.ty, rule),
            (None, _) => raw.is_nothing(rule),
        }
    });
    // And nothing else is there.
    kept && found == entries.len() && matches!(stored, Exact::Object(_))
}

/// Whether the text of a stored scalar is a value that is equal to the scalar whose text is `raw`, under type `ty`.
fn holds_scalar(stored: &str, raw: &str, ty: &Type) -> bool {
    let parsed = |text: &str| time(text.as_bytes());
    match ty {
        Type::Text | Type::Date | Type::Int64 | Type::Decimal { scale: 0, .. } if stored == raw => true,
        Type::Int64 | Type::Decimal { .. } => decimal_value(raw).is_some_and(|raw| decimal_value(stored) == Some(raw)),
        Type::Double => {
            let is_integer = decimal_value(raw).is_some_and(|(_, exponent)| exponent >= 0);
            let exact = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
            exact(raw).is_some_and(|raw| exact(stored).is_some_and(|stored| stored.to_bits() == raw.to_bits()))
                && (!is_integer || raw.contains(['e', 'E', '.']) || integer_value(stored) == raw.parse().ok())
        }
        Type::Timestamp { .. } => match (parsed(stored), parsed(raw)) {
            (Some(Time::Timestamp { micros: a, .. }), Some(Time::Timestamp { micros: b, .. })) => a == b,
            _ => false,
        },
        _ => false,
    }
}

/// The integer that a double written as `text` is.
fn integer_value(text: &str) -> Option<i128> {
    text.parse::<f64>().ok().map(|number| number as i128)
}

/// A decimal number as digits without zeros at their ends (and a sign), and the exponent of ten of the last of them.
pub(super) fn decimal_value(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let kept = digits.trim_end_matches('0');
    if kept.is_empty() {
        return Some((String::new(), 0));
    }
    let zeros = (digits.len() - kept.len()) as i64;
    Some((format!("{sign}{kept}"), exponent.parse::<i64>().ok()? - fraction.len() as i64 + zeros))
}
