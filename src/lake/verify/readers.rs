//! What Spark, Trino and Hive make of a Parquet column whose type is not the table's.
//!
//! From their sources: Spark's `ParquetVectorUpdaterFactory`, Trino's `ColumnReaderFactory` (for a Delta table, where a
//! timestamp is `timestamp(3) with time zone`), Hive's `ETypeConverter` and `ParquetStringInspector`; Athena is Trino under
//! its own error names.

use std::fmt;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::schema::types::Type;

use super::finding::Effect;

/// A Parquet leaf: its physical type and what its annotation makes of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf {
    physical: Physical,
    /// The length of a FIXED_LEN_BYTE_ARRAY; 0 for any other.
    length: i32,
    note: Note,
}

/// The annotation of a leaf, logical or converted. Signed integers of the physical type's own width have none.
#[derive(Debug, Clone, PartialEq)]
enum Note {
    None,
    Text,
    Date,
    Decimal { precision: i32, scale: i32 },
    Timestamp { unit: &'static str, is_utc: bool },
    Integer { bits: i8, is_signed: bool },
    Other(String),
}

impl Leaf {
    /// The leaf that a primitive type describes.
    pub(super) fn of(ty: &Type) -> Self {
        let physical = ty.get_physical_type();
        let length = match ty {
            Type::PrimitiveType { type_length, .. } if physical == Physical::FIXED_LEN_BYTE_ARRAY => *type_length,
            _ => 0,
        };
        let note = match Note::of(ty) {
            Note::Integer { bits: 64, is_signed: true } if physical == Physical::INT64 => Note::None,
            Note::Integer { bits: 32, is_signed: true } if physical == Physical::INT32 => Note::None,
            note => note,
        };
        Self { physical, length, note }
    }

    fn is_decimal(&self) -> bool {
        matches!(self.note, Note::Decimal { .. })
    }

    /// Whether every decimal that this leaf holds is one of `table`.
    fn fits_decimal(&self, table: &Self) -> bool {
        match (&self.note, &table.note) {
            (Note::Decimal { precision, scale }, Note::Decimal { precision: wanted, scale: wanted_scale }) => {
                scale == wanted_scale && precision <= wanted
            }
            _ => false,
        }
    }

    /// The SQL type that the leaf of a table stores.
    fn sql(&self) -> String {
        match (self.physical, &self.note) {
            (Physical::BOOLEAN, _) => "boolean".to_owned(),
            (Physical::INT64, Note::None) => "bigint".to_owned(),
            (Physical::DOUBLE, _) => "double".to_owned(),
            (_, Note::Timestamp { .. }) => "timestamp".to_owned(),
            (_, Note::Date) => "date".to_owned(),
            (_, Note::Decimal { precision, scale }) => format!("decimal({precision},{scale})"),
            (_, Note::Text) => "string".to_owned(),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.physical)?;
        if self.length > 0 {
            write!(f, "({})", self.length)?;
        }
        match &self.note {
            Note::None => Ok(()),
            Note::Text => f.write_str(" STRING"),
            Note::Date => f.write_str(" DATE"),
            Note::Decimal { precision, scale } => write!(f, " DECIMAL({precision},{scale})"),
            Note::Timestamp { unit, is_utc } => {
                write!(f, " TIMESTAMP({unit},{})", if *is_utc { "UTC" } else { "local" })
            }
            Note::Integer { bits, is_signed } => write!(f, " {}INT({bits})", if *is_signed { "" } else { "U" }),
            Note::Other(name) => write!(f, " {name}"),
        }
    }
}

impl Note {
    fn of(ty: &Type) -> Self {
        let info = ty.get_basic_info();
        match info.logical_type_ref() {
            Some(LogicalType::String) => Self::Text,
            Some(LogicalType::Date) => Self::Date,
            Some(LogicalType::Decimal(of)) => Self::Decimal { precision: of.precision, scale: of.scale },
            Some(LogicalType::Timestamp(of)) => {
                let unit = match of.unit {
                    TimeUnit::MILLIS => "MILLIS",
                    TimeUnit::MICROS => "MICROS",
                    TimeUnit::NANOS => "NANOS",
                };
                Self::Timestamp { unit, is_utc: of.is_adjusted_to_u_t_c }
            }
            Some(LogicalType::Integer(of)) => Self::Integer { bits: of.bit_width, is_signed: of.is_signed },
            Some(LogicalType::Time(_)) => Self::Other("TIME".to_owned()),
            Some(other) => Self::Other(format!("{other:?}").to_uppercase()),
            None => match info.converted_type() {
                ConvertedType::NONE => Self::None,
                ConvertedType::UTF8 => Self::Text,
                ConvertedType::DATE => Self::Date,
                ConvertedType::DECIMAL => Self::Decimal { precision: ty.get_precision(), scale: ty.get_scale() },
                ConvertedType::TIMESTAMP_MILLIS => Self::Timestamp { unit: "MILLIS", is_utc: true },
                ConvertedType::TIMESTAMP_MICROS => Self::Timestamp { unit: "MICROS", is_utc: true },
                ConvertedType::INT_8 => Self::Integer { bits: 8, is_signed: true },
                ConvertedType::INT_16 => Self::Integer { bits: 16, is_signed: true },
                ConvertedType::INT_32 => Self::Integer { bits: 32, is_signed: true },
                ConvertedType::INT_64 => Self::Integer { bits: 64, is_signed: true },
                ConvertedType::UINT_8 => Self::Integer { bits: 8, is_signed: false },
                ConvertedType::UINT_16 => Self::Integer { bits: 16, is_signed: false },
                ConvertedType::UINT_32 => Self::Integer { bits: 32, is_signed: false },
                ConvertedType::UINT_64 => Self::Integer { bits: 64, is_signed: false },
                other => Self::Other(other.to_string()),
            },
        }
    }
}

/// What a reader does with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Reads its values.
    Right,
    /// Reads something else.
    Wrong(&'static str),
    /// Refuses it.
    Refused,
    /// Refuses it before a version that reads it.
    RefusedBefore(&'static str),
}

const BARE: &str = "takes the bare number for the value";
const BYTES: &str = "takes the number's bytes for text";

/// What readers make of a file that holds `held` where the table says `table`. Empty: all of them read it.
pub(super) fn effects_of_type(held: &Leaf, table: &Leaf) -> Vec<Effect> {
    let types = format!("the file holds {held} where the table says {}", table.sql());
    let mut effects = Vec::new();
    match spark(held, table) {
        Reading::Right => {}
        Reading::Wrong(what) => effects.push(Effect::new("Spark", what)),
        Reading::Refused => effects.push(Effect::new("Spark", format!("Parquet column cannot be converted: {types}"))),
        Reading::RefusedBefore(version) => {
            let what = format!("Parquet column cannot be converted, before {version}: {types}");
            effects.push(Effect::new("Spark", what));
        }
    }
    match trino(held, table) {
        Reading::Right => {}
        Reading::Wrong(what) => effects.push(Effect::new("Trino, Athena", what)),
        Reading::Refused | Reading::RefusedBefore(_) => {
            effects.push(Effect::new("Trino, Athena", format!("NOT_SUPPORTED, in Athena HIVE_BAD_DATA: {types}")));
        }
    }
    match hive(held, table) {
        Reading::Right => {}
        Reading::Wrong(what) => effects.push(Effect::new("Hive", what)),
        Reading::Refused | Reading::RefusedBefore(_) => {
            effects.push(Effect::new("Hive", format!("ClassCastException or the like: {types}")));
        }
    }
    if held.physical == Physical::INT96 && table.sql() == "timestamp" {
        let what = "reads nanoseconds of 64 bits: times outside of 1677 to 2262 come out wrong";
        effects.push(Effect::new("DataFusion, delta-rs", what));
    }
    effects
}

fn spark(held: &Leaf, table: &Leaf) -> Reading {
    use Physical::{BOOLEAN, BYTE_ARRAY, DOUBLE, FLOAT, INT32, INT64, INT96};
    let is_integer = matches!(held.note, Note::None | Note::Integer { .. });
    match (&*table.sql(), held.physical, &held.note) {
        ("boolean", BOOLEAN, _) | ("double", DOUBLE, _) | ("timestamp", INT96, _) => Reading::Right,
        ("bigint", INT64, Note::Integer { is_signed: false, .. }) => Reading::Wrong("reads 2^63 and more as negative"),
        ("bigint", INT64, _) if is_integer => Reading::Right,
        ("bigint", INT64, _) => Reading::Wrong(BARE),
        ("bigint", INT32, _) if is_integer => Reading::RefusedBefore("4.0"),
        ("bigint", INT32, _) => Reading::Wrong(BARE),
        ("double", FLOAT, _) => Reading::RefusedBefore("4.0"),
        ("double", INT32, _) if is_integer => Reading::RefusedBefore("4.0"),
        ("timestamp", INT64, Note::Timestamp { unit: "MILLIS" | "MICROS", .. }) => Reading::Right,
        ("date", INT32, Note::Date) => Reading::Right,
        ("date", INT32, _) => Reading::Wrong(BARE),
        ("string", BYTE_ARRAY, Note::Decimal { .. }) => Reading::Wrong(BYTES),
        ("string", BYTE_ARRAY, _) => Reading::Right,
        (_, _, Note::Decimal { .. }) if held.fits_decimal(table) => Reading::Right,
        (_, INT32 | INT64, _) if is_integer && table.is_decimal() => Reading::RefusedBefore("4.0"),
        _ => Reading::Refused,
    }
}

fn trino(held: &Leaf, table: &Leaf) -> Reading {
    use Physical::{BOOLEAN, BYTE_ARRAY, DOUBLE, FIXED_LEN_BYTE_ARRAY, FLOAT, INT32, INT64, INT96};
    match (&*table.sql(), held.physical, &held.note) {
        ("boolean", BOOLEAN, _) | ("double", DOUBLE | FLOAT, _) | ("timestamp", INT96, _) => Reading::Right,
        ("bigint", INT32 | INT64, Note::None | Note::Integer { .. }) => Reading::Right,
        ("bigint", INT64, Note::Timestamp { .. }) => Reading::Wrong(BARE),
        ("bigint", _, Note::Decimal { precision: ..=18, scale: 0 }) => Reading::Right,
        ("timestamp", INT64, Note::Timestamp { unit: "MILLIS" | "MICROS", .. }) => Reading::Right,
        ("date", INT32, Note::Date) => Reading::Right,
        ("date", INT32, Note::None) => Reading::Wrong(BARE),
        ("string", BYTE_ARRAY, Note::Decimal { .. }) => Reading::Wrong(BYTES),
        ("string", BYTE_ARRAY, _) => Reading::Right,
        ("string", FIXED_LEN_BYTE_ARRAY, _) => Reading::Wrong("takes the bytes for text"),
        (_, _, Note::Decimal { .. }) if table.is_decimal() => Reading::Right,
        _ => Reading::Refused,
    }
}

fn hive(held: &Leaf, table: &Leaf) -> Reading {
    use Physical::{BOOLEAN, DOUBLE, FLOAT, INT32, INT64, INT96};
    let is_integer = matches!(held.note, Note::None | Note::Integer { .. });
    match (&*table.sql(), held.physical, &held.note) {
        ("timestamp", INT96, _) => Reading::Wrong(
            "converts to the time zone of the reader, unless hive.parquet.timestamp.skip.conversion is set",
        ),
        ("string", INT64, Note::Timestamp { .. }) => Reading::Wrong("takes the bare number for the text"),
        ("string", _, Note::Date) => Reading::Refused,
        ("boolean", BOOLEAN, _) | ("string", _, _) => Reading::Right,
        ("bigint" | "double", _, Note::Decimal { .. }) => Reading::Right,
        ("bigint" | "double", INT64, Note::Timestamp { .. }) => Reading::Wrong(BARE),
        ("bigint", INT96, _) => Reading::Wrong("takes a part of the value for a number"),
        ("bigint" | "double", INT32 | INT64, _) if is_integer => Reading::Right,
        ("double", DOUBLE | FLOAT, _) => Reading::Right,
        ("timestamp", INT64, Note::Timestamp { .. }) | ("date", INT32, Note::Date) => Reading::Right,
        (_, _, Note::Decimal { .. }) if held.fits_decimal(table) => Reading::Right,
        (_, _, Note::Decimal { .. }) if table.is_decimal() => Reading::Wrong("makes null of values that do not fit"),
        (_, INT32 | INT64, _) if is_integer && table.is_decimal() => Reading::Right,
        _ => Reading::Refused,
    }
}
