//! Partitions: expressions over columns, the split of a batch by their values, and hive paths.
//!
//! | expression | partition column | value |
//! |---|---|---|
//! | `year(c)` | `c_year` | integer, `2025` |
//! | `month(c)` | `c_month` | string, `2025-02` |
//! | `day(c)` | `c_day` | date, `2025-02-03` |
//! | `hour(c)` | `c_hour` | string, `2025-02-03-17` |
//! | `c` or `identity(c)` | `c_part` | string, the value's text |
//! | `ingested()` | `ingested_day` | date of the run, UTC |
//!
//! Times are taken from timestamp and date columns, and from strings that read as one; anything else, and null, is the
//! null partition. An identity partition stands beside its column and not in its place: a Delta partition value cannot
//! tell an empty string from null, and a column whose type is promoted later must not change the partitions.

mod split;

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::json::{Time, time};
use crate::schema::{Field, MAX_NAME_BYTES, Type, fnv1a, fold};

pub(crate) use split::time_range;
pub use split::{Part, PartitionKey, partition_columns, split};

/// What hive calls the partition of null.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// How a value becomes a partition value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// The year of a time.
    Year,
    /// The month of a time.
    Month,
    /// The day of a time.
    Day,
    /// The hour of a time.
    Hour,
    /// The value itself.
    Identity,
    /// The day of the run.
    IngestedDay,
}

impl Transform {
    fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Identity => "identity",
            Self::IngestedDay => "ingested",
        }
    }

    /// Whether a partition value that is not null reads as one that this makes.
    pub fn makes(self, value: &str) -> bool {
        let is_day = |day: &str| matches!(time(day.as_bytes()), Some(Time::Date(_)));
        match self {
            Self::Year => is_day(&format!("{value}-01-01")),
            Self::Month => is_day(&format!("{value}-01")),
            Self::Day | Self::IngestedDay => is_day(value),
            Self::Hour => value.rsplit_once('-').is_some_and(|(day, hour)| {
                let is_hour = hour.len() == 2 && hour.parse::<u8>().is_ok_and(|hour| hour < 24);
                is_day(day) && is_hour && !hour.starts_with('+')
            }),
            Self::Identity => !value.is_empty(),
        }
    }

    /// Whether its partition column is a date, an integer, or a string.
    pub fn value_type(self) -> ValueType {
        match self {
            Self::Year => ValueType::Integer,
            Self::Day | Self::IngestedDay => ValueType::Date,
            Self::Month | Self::Hour | Self::Identity => ValueType::String,
        }
    }
}

/// The type of a partition column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// integer, 32 bits
    Integer,
    /// date
    Date,
    /// string
    String,
}

/// One partition column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expr {
    /// How the value is made.
    pub transform: Transform,
    /// The column it is made of: names from the root down. Empty for `ingested()`.
    pub column: Vec<String>,
}

impl Expr {
    /// The name of the partition column.
    pub fn name(&self) -> String {
        let suffix = match self.transform {
            Transform::Identity => "part",
            Transform::IngestedDay => return "ingested_day".to_owned(),
            other => other.name(),
        };
        let mut name = self.column.join("_");
        name.truncate(MAX_NAME_BYTES - suffix.len() - 1);
        format!("{name}_{suffix}")
    }

    /// Checks that a table of these columns can be partitioned so. A column that is not there yet is null.
    ///
    /// # Errors
    /// A message that names the column and what is wrong with it.
    pub fn check(&self, fields: &[Field]) -> Result<(), String> {
        if self.transform == Transform::IngestedDay {
            return Ok(());
        }
        let path = self.column.join(".");
        let Some(ty) = find(fields, &self.column) else {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            return Err(format!("there is no column {path} to partition by; columns are: {}", names.join(", ")));
        };
        match (self.transform, ty) {
            (_, Type::Struct(_) | Type::List(_) | Type::Map(_) | Type::Json) => {
                Err(format!("column {path} is nested and cannot be partitioned by"))
            }
            (Transform::Identity, _) | (_, Type::Timestamp { .. } | Type::Date | Type::Text) => Ok(()),
            (transform, _) => {
                Err(format!("{}() needs a timestamp, a date or a string; {path} is none", transform.name()))
            }
        }
    }
}

/// The type of the column or struct field at a path of names.
pub(crate) fn find<'a>(fields: &'a [Field], path: &[String]) -> Option<&'a Type> {
    let (first, rest) = path.split_first()?;
    let field = fields.iter().find(|field| field.name == *first)?;
    match (&field.ty, rest) {
        (ty, []) => Some(ty),
        (Type::Struct(fields), rest) => find(fields, rest),
        _ => None,
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.transform.name(), self.column.join("."))
    }
}

/// The partition columns of a table, outermost first; none for an unpartitioned table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Partitioning(pub Vec<Expr>);

impl Partitioning {
    /// The names of the partition columns.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(Expr::name).collect()
    }

    /// The hive folders of a key, as `a_day=2025-02-03/b_part=x`, without a slash at either end; empty when unpartitioned.
    pub fn hive_path(&self, key: &PartitionKey) -> String {
        let folders = self.0.iter().zip(key).map(|(expr, value)| {
            let value = value.as_deref().filter(|value| !value.is_empty()).unwrap_or(NULL_PARTITION);
            shortened(format!("{}={}", expr.name(), utf8_percent_encode(value, UNSAFE_IN_PATHS)))
        });
        folders.collect::<Vec<_>>().join("/")
    }
}

/// What may stand in a folder's name neither on every store nor in every reader's parser.
const UNSAFE_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The longest name of a folder, in bytes: what file systems take.
const MAX_FOLDER_BYTES: usize = 255;

/// A folder's name, cut when it is too long and made distinct by the 64-bit FNV-1a hash of all of it. Readers take
/// partition values from the log and not from folders.
fn shortened(mut folder: String) -> String {
    if folder.len() <= MAX_FOLDER_BYTES {
        return folder;
    }
    let hash = fnv1a(&folder);
    folder.truncate(MAX_FOLDER_BYTES - 17);
    // Neither within an escape nor within a character of several.
    while let Some(percent) = folder.rfind('%').filter(|percent| !is_whole(&folder, *percent)) {
        folder.truncate(percent);
    }
    format!("{folder}_{hash:016x}")
}

/// Whether the last escape of a folder's name, at `percent`, is complete and ends a character.
fn is_whole(folder: &str, percent: usize) -> bool {
    percent + 3 <= folder.len() && percent_decode_str(folder).decode_utf8().is_ok()
}

impl FromStr for Partitioning {
    type Err = String;

    /// Reads `none` or expressions separated by commas, as `day(created_at), type`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self::default());
        }
        let exprs: Vec<Expr> = text.split(',').map(parse_expr).collect::<Result<_, _>>()?;
        let mut names: Vec<String> = exprs.iter().map(Expr::name).collect();
        names.sort();
        names.dedup();
        if names.len() < exprs.len() {
            return Err(format!("{text:?} names a partition twice"));
        }
        Ok(Self(exprs))
    }
}

impl fmt::Display for Partitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.0.iter().map(Expr::to_string).collect::<Vec<_>>().join(", "))
    }
}

fn parse_expr(text: &str) -> Result<Expr, String> {
    let text = text.trim();
    let hint = "expected day(c), month(c), year(c), hour(c), identity(c), ingested(), a column or none";
    let (transform, column) = match text.split_once('(') {
        None => (Transform::Identity, text),
        Some((name, rest)) => {
            let column = rest.strip_suffix(')').ok_or_else(|| format!("{text:?} lacks a ')': {hint}"))?;
            let all = [Transform::Year, Transform::Month, Transform::Day, Transform::Hour, Transform::Identity];
            let wanted = name.trim();
            if wanted == Transform::IngestedDay.name() && column.trim().is_empty() {
                return Ok(Expr { transform: Transform::IngestedDay, column: Vec::new() });
            }
            let transform = all.into_iter().find(|transform| transform.name() == wanted);
            (transform.ok_or_else(|| format!("unknown partition transform {wanted:?}: {hint}"))?, column.trim())
        }
    };
    if column.is_empty() || column.split('.').any(|name| name.trim().is_empty()) || column.contains(['(', ')']) {
        return Err(format!("{text:?} names no column: {hint}"));
    }
    Ok(Expr { transform, column: column.split('.').map(|name| fold(name.trim())).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_read_and_print_the_same() {
        for text in ["none", "day(created_at)", "month(payload.created), identity(type)", "ingested()"] {
            assert_eq!(text.parse::<Partitioning>().map(|p| p.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("createdAt".parse::<Partitioning>().map(|p| p.names()), Ok(vec!["createdat_part".to_owned()]));
    }

    #[test]
    fn wrong_expressions_say_what_was_expected() {
        for text in ["", "week(a)", "day()", "day(a", "day(a), day(a)", "day(a.)"] {
            assert!(text.parse::<Partitioning>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_of_a_transform_are_told_from_others() {
        let cases = [
            (Transform::Year, &["2025", "0001", "9999"][..], &["25", "0000", "10000", "year", "-025", "2025-01"][..]),
            (Transform::Month, &["2025-02", "0001-12"], &["2025", "2025-13", "2025-00", "2025-2", "2025-02-03"]),
            (Transform::Day, &["2024-02-29"], &["2025-02-29", "2025-02", "2025-02-03T00:00:00", "today"]),
            (Transform::IngestedDay, &["2025-02-03"], &["20250203"]),
            (Transform::Hour, &["2025-02-03-00", "2025-02-03-23"], &["2025-02-03-24", "2025-02-03-+1", "2025-02-03"]),
            (Transform::Identity, &["x", " ", "__HIVE_DEFAULT_PARTITION__"], &[""]),
        ];
        for (transform, good, bad) in cases {
            good.iter().for_each(|value| assert!(transform.makes(value), "{transform:?} {value}"));
            bad.iter().for_each(|value| assert!(!transform.makes(value), "{transform:?} {value}"));
        }
    }

    #[test]
    fn no_partition_value_leaves_its_folder() {
        let by = Partitioning(vec![Expr { transform: Transform::Identity, column: vec!["a".to_owned()] }]);
        let path = |value: Option<&str>| by.hive_path(&vec![value.map(str::to_owned)]);
        assert_eq!(path(Some("../../x")), "a_part=..%2F..%2Fx");
        assert_eq!(path(Some("b=c%2F")), "a_part=b%3Dc%252F");
        assert_eq!(path(None), "a_part=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(path(Some("")), "a_part=__HIVE_DEFAULT_PARTITION__");
    }

    #[test]
    fn no_folder_has_a_name_too_long_for_a_file_system() {
        let by = Partitioning(vec![Expr { transform: Transform::Identity, column: vec!["a".to_owned()] }]);
        let path = |value: &str| by.hive_path(&vec![Some(value.to_owned())]);
        for length in 70..90 {
            let (one, other) = (path(&"ü".repeat(length)), path(&("ü".repeat(length) + "x")));
            assert!(one.len() <= 255 && other.len() <= 255, "{one}");
            assert_ne!(one, other);
            assert!(one.replace("%C3%BC", "").find('%').is_none(), "{one} ends within an escape");
        }
    }
}
