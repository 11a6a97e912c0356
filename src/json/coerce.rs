//! Values of columns whose type is said: a text is taken when it is exactly a value of the type.

use super::scalar::{Number, decimal, number};
use super::scan::{PADDING, Window};
use crate::schema::Kind;

/// Whether a value of `kind` has a text that can be read as another type: numbers and strings do.
pub(super) fn is_scalar_text(kind: Kind) -> bool {
    !matches!(kind, Kind::Null | Kind::Bool | Kind::EmptyObject | Kind::Object | Kind::EmptyArray | Kind::Array)
}

/// The token of a JSON number that a text is as a whole, and whether it is an integer.
fn number_token(text: &[u8]) -> Option<bool> {
    // Texts of numbers are short; what is longer has too many digits for any type.
    const LONGEST: usize = 64;
    if text.len() > LONGEST {
        return None;
    }
    let mut padded = [0; LONGEST + PADDING];
    padded[..text.len()].copy_from_slice(text);
    let window = Window::new(&padded[..text.len() + PADDING]);
    let (end, integer) = window.number_end(0).ok()?;
    (end == text.len()).then_some(integer)
}

pub(super) fn coerced_integer(text: &[u8]) -> Option<i64> {
    let integer = number_token(text)?;
    match number(text, integer) {
        Number::Int(value) => Some(value),
        _ => None,
    }
}

pub(super) fn coerced_double(text: &[u8]) -> Option<f64> {
    let integer = number_token(text)?;
    match number(text, integer) {
        Number::Double(value) => Some(value),
        Number::Int(value) if (value as f64) as i128 == i128::from(value) => Some(value as f64),
        _ => None,
    }
}

pub(super) fn coerced_decimal(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    number_token(text)?;
    decimal(text, precision, scale)
}
