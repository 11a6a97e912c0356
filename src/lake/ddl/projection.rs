//! Athena's partition projection: properties of a table from which Athena computes the partitions and their folders,
//! instead of looking them up in a catalog that someone must keep up to date.
//!
//! | partition | projection | why |
//! |---|---|---|
//! | `day`, `month`, `hour`, `ingested` | `date`, from the oldest there is to tomorrow or the newest | moves on with time |
//! | `year` | `integer`, from the oldest there is on | `date` needs a month |
//! | `identity` | `injected`: each query names its values | `enum` would pass over values that come later, silently |

use super::TableDescription;
use crate::json::{Time, civil, format_date, time};
use crate::partition::{Expr, NULL_PARTITION, Transform};

/// Years that are projected beyond the present one; empty folders cost Athena a listing each.
const YEARS_AHEAD: i32 = 10;

/// The properties that project all partition columns; none for an unpartitioned table. `location` ends with a slash.
pub(super) fn properties(table: &TableDescription<'_>, location: &str) -> Vec<(String, String)> {
    let exprs = &table.partitioning.0;
    if exprs.is_empty() {
        return Vec::new();
    }
    let mut properties = vec![("projection.enabled".to_owned(), "true".to_owned())];
    for (index, expr) in exprs.iter().enumerate() {
        let name = expr.name();
        for (key, value) in column(table, index, expr) {
            properties.push((format!("projection.{name}.{key}"), value));
        }
    }
    let folders: String = exprs.iter().map(|expr| format!("{0}=${{{0}}}/", expr.name())).collect();
    properties.push(("storage.location.template".to_owned(), format!("{location}{folders}")));
    properties
}

/// Comment lines: which folders the projection of each column covers.
pub(super) fn remarks(table: &TableDescription<'_>) -> String {
    let exprs = table.partitioning.0.iter().enumerate();
    exprs
        .map(|(index, expr)| match (expr.name(), range(table, index, expr)) {
            (name, Some((from, to))) => format!("--   {name}: {from} to {to}, without the folder of null.\n"),
            (name, None) => format!(
                "--   {name}: those that the query names, as in WHERE {name} IN ('a', 'b'), without which it fails.\n\
                 --     (A projection of type enum would pass over values that come later.) Values are spelled as in\n\
                 --     the folders: percent-encoded, and null is {NULL_PARTITION}.\n"
            ),
        })
        .collect()
}

fn column(table: &TableDescription<'_>, index: usize, expr: &Expr) -> Vec<(&'static str, String)> {
    let own = |text: &str| text.to_owned();
    let range = range(table, index, expr).map(|(from, to)| format!("{from},{to}")).unwrap_or_default();
    let (format, unit) = match expr.transform {
        Transform::Identity => return vec![("type", own("injected"))],
        Transform::Year => return vec![("type", own("integer")), ("range", range), ("digits", own("4"))],
        Transform::Month => ("yyyy-MM", "MONTHS"),
        Transform::Day | Transform::IngestedDay => ("yyyy-MM-dd", "DAYS"),
        Transform::Hour => ("yyyy-MM-dd-HH", "HOURS"),
    };
    vec![
        ("type", own("date")),
        ("format", own(format)),
        ("range", range),
        ("interval", own("1")),
        ("interval.unit", own(unit)),
    ]
}

/// The first and last value of a partition column that is projected by a range: from the oldest there is, or today, to
/// the newest there is, or tomorrow.
fn range(table: &TableDescription<'_>, index: usize, expr: &Expr) -> Option<(String, String)> {
    let today = format_date(table.today);
    let now = match expr.transform {
        Transform::Identity => return None,
        Transform::Year => today[..4].to_owned(),
        Transform::Month => today[..7].to_owned(),
        Transform::Day | Transform::IngestedDay => today,
        Transform::Hour => format!("{today}-00"),
    };
    let there = table.partitions.iter().filter_map(|key| key.get(index)?.as_deref());
    let mut values: Vec<(i32, &str)> =
        there.chain([&*now]).filter_map(|value| Some((first_day(expr.transform, value)?, value))).collect();
    values.sort_unstable();
    let (first, last) = (values.first()?, values.last()?);
    let to = match expr.transform {
        Transform::Year => (civil(last.0).0 + YEARS_AHEAD).to_string(),
        // Relative to the time of the query, so that the range moves on; a day more reaches the last hour of the day.
        Transform::Hour => format!("NOW+{}DAYS", last.0 - table.today + 1),
        _ => format!("NOW+{}DAYS", (last.0 - table.today).max(1)),
    };
    Some((first.1.to_owned(), to))
}

/// The first day of the period that a partition value names, in days since 1970-01-01.
fn first_day(transform: Transform, value: &str) -> Option<i32> {
    let day = match transform {
        Transform::Year => format!("{value}-01-01"),
        Transform::Month => format!("{value}-01"),
        _ => value.get(..10)?.to_owned(),
    };
    match time(day.as_bytes())? {
        Time::Date(days) => Some(days),
        Time::Timestamp { .. } => None,
    }
}
