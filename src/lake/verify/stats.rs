//! The statistics of the log against those of footers: readers pass over files by the first.

use parquet::file::metadata::ParquetMetaData;
use serde_json::{Map, Value};

use super::finding::{Effect, Finding, FindingKind, Findings};
use crate::schema::Field;
use crate::write::delta_stats;

/// Checks what the log says of the values of a file: as many nulls as the footer, and no bounds within those of the footer.
/// (Other engines may cut texts otherwise, and leave bounds out.)
pub(super) fn check_stats(path: &str, logged: &str, footer: &ParquetMetaData, table: &[Field], found: &mut Findings) {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (logged, stored) = (read(logged), read(&delta_stats(footer, table)));
    let mut wrong = Vec::new();
    for (name, is_right) in [
        ("nullCount", (|logged, stored| logged == stored) as fn(&Value, &Value) -> bool),
        ("minValues", |logged, stored| is_within(stored, logged, stored)),
        ("maxValues", |logged, stored| is_within(logged, stored, stored)),
    ] {
        if let (Value::Object(logged), Value::Object(stored)) = (&logged[name], &stored[name]) {
            compare(logged, stored, name, is_right, &mut wrong);
        }
    }
    for (name, column) in wrong {
        let reason = format!("{name} of the log is not what the footer says");
        let effect =
            Effect::new("Spark, Trino, Athena, DataFusion", "pass over the file where it has rows that are asked for");
        found.push(Finding::error(FindingKind::Statistics, path, reason).of_column(&column).with([effect]));
    }
}

/// The columns that both have and that are not right, with `name`.
fn compare(
    logged: &Map<String, Value>,
    stored: &Map<String, Value>,
    name: &'static str,
    is_right: fn(&Value, &Value) -> bool,
    wrong: &mut Vec<(&'static str, String)>,
) {
    for (column, stored) in stored {
        match (logged.get(column), stored) {
            (Some(Value::Object(logged)), Value::Object(stored)) => {
                let first = wrong.len();
                compare(logged, stored, name, is_right, wrong);
                wrong[first..].iter_mut().for_each(|(_, below)| *below = format!("{column}.{below}"));
            }
            (Some(logged), stored) if !is_right(logged, stored) => wrong.push((name, column.clone())),
            _ => {}
        }
    }
}

/// Whether a bound is no larger than the other. `stored` is that of the footer, which may be cut, and is rounded.
fn is_within(larger: &Value, smaller: &Value, stored: &Value) -> bool {
    match (larger, smaller) {
        (Value::Number(larger), Value::Number(smaller)) => match (larger.as_i64(), smaller.as_i64()) {
            (Some(larger), Some(smaller)) => larger >= smaller,
            _ => larger.as_f64() >= smaller.as_f64(),
        },
        (Value::String(larger), Value::String(smaller)) => {
            let time = |text: &str| chrono::DateTime::parse_from_rfc3339(text).ok();
            match (time(larger), time(smaller)) {
                // Other engines cut to milliseconds, as the protocol has it; that of the footer is rounded up to them.
                (Some(larger), Some(smaller)) => larger + chrono::TimeDelta::milliseconds(1) >= smaller,
                _ => {
                    // Up to where the footer's is cut, if it is.
                    let stored = stored.as_str().unwrap_or_default();
                    let kept = stored.trim_end_matches(char::MAX);
                    larger >= smaller || larger.starts_with(kept) && smaller.starts_with(kept)
                }
            }
        }
        // Of other types, nothing is known.
        _ => true,
    }
}
