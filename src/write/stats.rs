//! Delta statistics of a data file, from its Parquet footer.
//!
//! Leaves of structs have minimum, maximum and null count; what lies in lists and maps has none, and of a table of very many
//! columns only some have. Text is cut as the Delta kernel cuts it: a minimum to a prefix, a maximum to a prefix with the
//! highest character behind it.

use std::collections::HashSet;
use std::fmt::Write as _;

use parquet::basic::LogicalType;
use parquet::data_type::AsBytes as _;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;

use super::file::NO_VALUES;
use crate::json::{format_decimal, format_timestamp};
use crate::schema::{Field, Type};

/// So many leaves have statistics at most. Each query reads those of all files: with 600 leaves that took a fifth of its time.
/// Delta's own default is 32.
const MAX_LEAVES: usize = 100;

/// Text in statistics is cut to this many characters.
const PREFIX_CHARS: usize = 32;

/// The statistics of one leaf, as JSON text.
struct Leaf {
    path: Vec<String>,
    min: Option<String>,
    max: Option<String>,
    nulls: Option<u64>,
}

/// Of a table of the columns `fields`, the paths of the leaves that have statistics; `None`: all have.
///
/// They are the column of raw objects, by whose bounds the files of an object are found, and those with the fewest structs
/// around them, in the order of the columns; no booleans.
pub fn leaves_with_stats(fields: &[Field]) -> Option<Vec<Vec<&str>>> {
    fn visit<'a>(fields: &'a [Field], around: &[&'a str], leaves: &mut Vec<(bool, Vec<&'a str>)>) {
        for field in fields {
            let path = [around, &[field.name.as_str()]].concat();
            match &field.ty {
                Type::Struct(fields) => visit(fields, &path, leaves),
                // Spark changes no table that names a boolean as a column with statistics.
                Type::List(_) | Type::Map(_) | Type::Bool => {}
                _ => leaves.push((!(around.is_empty() && field.is_provenance()), path)),
            }
        }
    }
    let mut leaves = Vec::new();
    visit(fields, &[], &mut leaves);
    if leaves.len() <= MAX_LEAVES {
        return None;
    }
    leaves.sort_by_key(|(is_other, path)| (*is_other, path.len()));
    Some(leaves.into_iter().take(MAX_LEAVES).map(|(_, path)| path).collect())
}

/// The `stats` of a Delta `add` action for a file of the columns `fields` with this footer.
pub fn delta_stats(metadata: &ParquetMetaData, fields: &[Field]) -> String {
    let with_stats = leaves_with_stats(fields).map(HashSet::<Vec<&str>>::from_iter);
    let has_stats = |column: &ColumnDescriptor| {
        let path: Vec<&str> = column.path().parts().iter().map(String::as_str).collect();
        with_stats.as_ref().is_none_or(|with_stats| with_stats.contains(&path))
    };
    let rows: i64 = metadata.row_groups().iter().map(RowGroupMetaData::num_rows).sum();
    let schema = metadata.file_metadata().schema_descr();
    let leaves: Vec<Leaf> = schema
        .columns()
        .iter()
        .enumerate()
        .filter(|(_, column)| column.max_rep_level() == 0 && column.name() != NO_VALUES && has_stats(column))
        .map(|(index, column)| leaf(metadata, index, column))
        .collect();
    let mut out = format!("{{\"numRecords\":{rows}");
    write_tree(&mut out, "minValues", &leaves, |leaf| leaf.min.clone());
    write_tree(&mut out, "maxValues", &leaves, |leaf| leaf.max.clone());
    write_tree(&mut out, "nullCount", &leaves, |leaf| leaf.nulls.map(|nulls| nulls.to_string()));
    out.push('}');
    out
}

fn leaf(metadata: &ParquetMetaData, index: usize, column: &ColumnDescriptor) -> Leaf {
    let path = column.path().parts().to_vec();
    let mut merged = Leaf { path, min: None, max: None, nulls: Some(0) };
    let mut bounds: Option<Bounds> = None;
    let mut bounded = true;
    for group in metadata.row_groups() {
        let chunk = group.column(index);
        let Some(statistics) = chunk.statistics() else {
            return Leaf { nulls: None, ..merged };
        };
        let nulls = statistics.null_count_opt();
        merged.nulls = merged.nulls.zip(nulls).map(|(a, b)| a + b);
        if nulls == Some(chunk.num_values() as u64) {
            continue;
        }
        match Bounds::of(statistics, column) {
            Some(next) => bounds = Some(bounds.map_or(next.clone(), |before| before.union(next))),
            None => bounded = false,
        }
    }
    if let Some(bounds) = bounds.filter(|_| bounded) {
        // Readers take a bound that is missing beside the other for one that nothing is within.
        if let (Some(min), Some(max)) = bounds.into_json() {
            (merged.min, merged.max) = (Some(min), Some(max));
        }
    }
    merged
}

/// 10000-01-01T00:00:00Z in microseconds since the epoch.
const YEAR_10_000: i64 = 253_402_300_800_000_000;

/// Smallest and largest value of a leaf.
#[derive(Debug, Clone)]
enum Bounds {
    Bool(bool, bool),
    Int(i64, i64),
    Decimal(i128, i128, u8),
    Double(f64, f64),
    Timestamp(i64, i64),
    Date(i32, i32),
    Text(String, String),
}

impl Bounds {
    fn of(statistics: &Statistics, column: &ColumnDescriptor) -> Option<Self> {
        let logical = column.logical_type_ref();
        let scale = u8::try_from(column.type_scale()).ok();
        Some(match statistics {
            Statistics::Boolean(s) => Self::Bool(*s.min_opt()?, *s.max_opt()?),
            Statistics::Int32(s) => match logical {
                Some(LogicalType::Date) => Self::Date(*s.min_opt()?, *s.max_opt()?),
                Some(LogicalType::Decimal { .. }) => {
                    Self::Decimal(i128::from(*s.min_opt()?), i128::from(*s.max_opt()?), scale?)
                }
                _ => Self::Int(i64::from(*s.min_opt()?), i64::from(*s.max_opt()?)),
            },
            Statistics::Int64(s) => match logical {
                Some(LogicalType::Timestamp { .. }) => Self::Timestamp(*s.min_opt()?, *s.max_opt()?),
                Some(LogicalType::Decimal { .. }) => {
                    Self::Decimal(i128::from(*s.min_opt()?), i128::from(*s.max_opt()?), scale?)
                }
                _ => Self::Int(*s.min_opt()?, *s.max_opt()?),
            },
            Statistics::Double(s) => Self::Double(*s.min_opt()?, *s.max_opt()?),
            Statistics::FixedLenByteArray(s) => {
                let number = |bytes: &[u8]| {
                    let mut wide = [if bytes.first()? & 0x80 == 0 { 0 } else { 0xff }; 16];
                    wide[16_usize.checked_sub(bytes.len())?..].copy_from_slice(bytes);
                    Some(i128::from_be_bytes(wide))
                };
                Self::Decimal(number(s.min_opt()?.as_bytes())?, number(s.max_opt()?.as_bytes())?, scale?)
            }
            Statistics::ByteArray(s) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
                Self::Text(text(s.min_opt()?.as_bytes())?, text(s.max_opt()?.as_bytes())?)
            }
            _ => return None,
        })
    }

    fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bool(a, b), Self::Bool(c, d)) => Self::Bool(a.min(c), b.max(d)),
            (Self::Int(a, b), Self::Int(c, d)) => Self::Int(a.min(c), b.max(d)),
            (Self::Decimal(a, b, scale), Self::Decimal(c, d, _)) => Self::Decimal(a.min(c), b.max(d), scale),
            (Self::Double(a, b), Self::Double(c, d)) => Self::Double(a.min(c), b.max(d)),
            (Self::Timestamp(a, b), Self::Timestamp(c, d)) => Self::Timestamp(a.min(c), b.max(d)),
            (Self::Date(a, b), Self::Date(c, d)) => Self::Date(a.min(c), b.max(d)),
            (Self::Text(a, b), Self::Text(c, d)) => Self::Text(a.min(c), b.max(d)),
            (same, _) => same,
        }
    }

    fn into_json(self) -> (Option<String>, Option<String>) {
        let quote = |text: String| serde_json::to_string(&text).ok();
        match self {
            Self::Bool(min, max) => (Some(min.to_string()), Some(max.to_string())),
            Self::Int(min, max) => (Some(min.to_string()), Some(max.to_string())),
            Self::Decimal(min, max, scale) => (Some(format_decimal(min, scale)), Some(format_decimal(max, scale))),
            Self::Double(min, max) => (Some(format!("{min:?}")), Some(format!("{max:?}"))),
            // Milliseconds, rounded outwards: what every Delta reader takes; but the year 10,000 has no text.
            Self::Timestamp(min, max) => {
                let up = (max + 999).div_euclid(1_000) * 1_000;
                let max = if up < YEAR_10_000 { up } else { max };
                let min = min.div_euclid(1_000) * 1_000;
                (quote(format_timestamp(min, false)), quote(format_timestamp(max, false)))
            }
            Self::Date(min, max) => (quote(crate::json::format_date(min)), quote(crate::json::format_date(max))),
            Self::Text(min, max) => (quote(min.chars().take(PREFIX_CHARS).collect()), quote(text_maximum(max))),
        }
    }
}

/// A text not less than any that begins like `max`; a footer may have cut and raised it already.
fn text_maximum(max: String) -> String {
    // Behind a cut, the greatest character there is must be greater than what was cut off.
    if max.chars().nth(PREFIX_CHARS).is_none_or(|next| next == char::MAX) {
        return max;
    }
    max.chars().take(PREFIX_CHARS).chain([char::MAX]).collect()
}

/// Writes `,"name":{...}` with the leaves nested by their paths; leaves without a value are left out.
fn write_tree(out: &mut String, name: &str, leaves: &[Leaf], value: impl Fn(&Leaf) -> Option<String>) {
    let mut tree = serde_json::Map::new();
    for leaf in leaves {
        // Numbers keep their digits: a JSON number in text, put in after the tree is written.
        let Some(text) = value(leaf) else { continue };
        let Some((last, parents)) = leaf.path.split_last() else { continue };
        let mut level = &mut tree;
        for parent in parents {
            let entry =
                level.entry(parent.clone()).or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
            let serde_json::Value::Object(next) = entry else { return };
            level = next;
        }
        level.insert(last.clone(), serde_json::Value::String(text));
    }
    let _ = write!(out, ",\"{name}\":");
    write_object(out, &tree);
}

fn write_object(out: &mut String, tree: &serde_json::Map<String, serde_json::Value>) {
    out.push('{');
    for (index, (key, value)) in tree.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        // Column names are [a-z0-9_].
        let _ = write!(out, "\"{key}\":");
        match value {
            serde_json::Value::Object(below) => write_object(out, below),
            serde_json::Value::String(text) => out.push_str(text),
            _ => out.push_str("null"),
        }
    }
    out.push('}');
}
