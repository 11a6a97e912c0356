//! Types as Athena names them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast;

/// The type of JSON. No table has columns of this type, so that it tells JSON from other text.
pub(super) const JSON: DataType = DataType::LargeUtf8;

/// Knows the types that casts and typed literals name.
#[derive(Debug)]
pub(super) struct AthenaTypes;

impl TypePlanner for AthenaTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        let data_type = match sql_type {
            ast::DataType::Custom(name, _) => named(&custom_name(name))?,
            ast::DataType::Timestamp(_, ast::TimezoneInfo::WithTimeZone | ast::TimezoneInfo::Tz) => zoned("UTC"),
            ast::DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, None),
            ast::DataType::JSON => JSON,
            // As its text, which `uuid()` gives.
            ast::DataType::Uuid => DataType::Utf8,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

/// The name of a custom type as it was quoted.
pub(super) fn custom_name(name: &ast::ObjectName) -> String {
    match name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(ident)] => ident.value.clone(),
        _ => name.to_string(),
    }
}

/// Timestamps in a time zone.
pub(super) fn zoned(zone: &str) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()))
}

/// Reads the name of a type: `array(row(a bigint, b varchar(10)))`.
pub(super) fn named(text: &str) -> Result<DataType> {
    let mut words = Words { rest: text, text };
    let found = words.data_type()?;
    if words.peek().is_some() { Err(words.unknown()) } else { Ok(found) }
}

/// The name of a type as `typeof` tells it.
pub(in crate::query) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "unknown".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            "bigint".to_owned()
        }
        DataType::Float16 | DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("decimal({precision},{scale})"),
        &JSON => "json".to_owned(),
        DataType::Utf8 | DataType::Utf8View => "varchar".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "varbinary".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time(6)".to_owned(),
        DataType::Timestamp(unit, zone) => {
            let digits = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            format!("timestamp({digits}){}", if zone.is_some() { " with time zone" } else { "" })
        }
        // All others are durations.
        DataType::Interval(_) => "interval year to month".to_owned(),
        DataType::Duration(_) => "interval day to second".to_owned(),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("array({})", type_name(item.data_type()))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                let names: Vec<String> = fields.iter().map(|field| type_name(field.data_type())).collect();
                format!("map({})", names.join(", "))
            }
            other => type_name(other),
        },
        DataType::Struct(fields) => {
            let names: Vec<String> =
                fields.iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type()))).collect();
            format!("row({})", names.join(", "))
        }
        DataType::Dictionary(_, values) => type_name(values),
        other => other.to_string(),
    }
}

/// The type of a map.
pub(super) fn map_of(key: DataType, value: DataType) -> DataType {
    let fields = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields), false)), false)
}

/// The type of an array.
pub(super) fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The words and signs of a type's name.
struct Words<'a> {
    rest: &'a str,
    text: &'a str,
}

impl<'a> Words<'a> {
    fn unknown(&self) -> DataFusionError {
        DataFusionError::Plan(format!("there is no type {}", self.text))
    }

    fn split(&self) -> Option<(&'a str, &'a str)> {
        let rest = self.rest.trim_start();
        let first = rest.chars().next()?;
        let end = if first == '"' {
            rest[1..].find('"').map_or(rest.len(), |end| end + 2)
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        Some(rest.split_at(end))
    }

    fn peek(&self) -> Option<&'a str> {
        self.split().map(|(word, _)| word)
    }

    fn next(&mut self) -> Result<&'a str> {
        let (word, rest) = self.split().ok_or_else(|| self.unknown())?;
        self.rest = rest;
        Ok(word)
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.peek().is_some_and(|next| next.eq_ignore_ascii_case(word));
        if is_next && let Some((_, rest)) = self.split() {
            self.rest = rest;
        }
        is_next
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.take(word) { Ok(()) } else { Err(self.unknown()) }
    }

    /// The numbers behind a name: `(10, 2)`.
    fn numbers(&mut self) -> Result<Vec<u8>> {
        let mut found = Vec::new();
        if self.take("(") {
            loop {
                // Lengths of varchar are larger, and mean nothing here.
                found.push(self.next()?.parse::<u64>().map_err(|_| self.unknown())?.try_into().unwrap_or(u8::MAX));
                if !self.take(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        Ok(found)
    }

    fn data_type(&mut self) -> Result<DataType> {
        Ok(match self.next()?.to_ascii_lowercase().as_str() {
            "json" => JSON,
            "jsonb" => JSON,
            "boolean" | "bool" => DataType::Boolean,
            "tinyint" => DataType::Int8,
            // The names of PostgreSQL, too, which clients of `serve` write.
            "smallint" | "int2" => DataType::Int16,
            "integer" | "int" | "int4" => DataType::Int32,
            "bigint" | "int8" => DataType::Int64,
            "real" | "float" | "float4" => DataType::Float32,
            "float8" => DataType::Float64,
            "double" => {
                self.take("precision");
                DataType::Float64
            }
            "decimal" | "numeric" => match *self.numbers()?.as_slice() {
                [] => DataType::Decimal128(38, 0),
                [precision @ 1..=38] => DataType::Decimal128(precision, 0),
                [precision @ 1..=38, scale] if scale <= precision => {
                    DataType::Decimal128(precision, i8::try_from(scale).map_err(|_| self.unknown())?)
                }
                _ => return Err(self.unknown()),
            },
            "uuid" => DataType::Utf8,
            "varchar" | "char" | "string" | "text" | "bpchar" => {
                self.numbers()?;
                DataType::Utf8
            }
            "character" => {
                self.take("varying");
                self.numbers()?;
                DataType::Utf8
            }
            "timestamptz" => zoned("UTC"),
            "varbinary" | "binary" | "bytea" => DataType::Binary,
            "date" => DataType::Date32,
            "time" => {
                self.numbers()?;
                DataType::Time64(TimeUnit::Microsecond)
            }
            "timestamp" => {
                self.numbers()?;
                if self.take("with") {
                    self.expect("time")?;
                    self.expect("zone")?;
                    zoned("UTC")
                } else {
                    if self.take("without") {
                        self.expect("time")?;
                        self.expect("zone")?;
                    }
                    DataType::Timestamp(TimeUnit::Microsecond, None)
                }
            }
            "array" => {
                let close = if self.take("<") { ">" } else { self.expect("(").map(|()| ")")? };
                let item = self.data_type()?;
                self.expect(close)?;
                list_of(item)
            }
            "map" => {
                let close = if self.take("<") { ">" } else { self.expect("(").map(|()| ")")? };
                let key = self.data_type()?;
                self.expect(",")?;
                let value = self.data_type()?;
                self.expect(close)?;
                map_of(key, value)
            }
            "row" => {
                self.expect("(")?;
                let mut fields = Vec::new();
                loop {
                    fields.push(self.row_field(fields.len())?);
                    if !self.take(",") {
                        break;
                    }
                }
                self.expect(")")?;
                DataType::Struct(Fields::from(fields))
            }
            _ => return Err(self.unknown()),
        })
    }

    /// A field with a name, or only a type: `row(bigint, varchar)`.
    fn row_field(&mut self, index: usize) -> Result<Field> {
        let start = self.rest;
        let word = self.next()?;
        let is_type_alone = matches!(self.peek(), Some("," | ")" | "("));
        let name = if is_type_alone {
            self.rest = start;
            format!("field{index}")
        } else {
            word.trim_matches('"').to_lowercase()
        };
        Ok(Field::new(name, self.data_type()?, true))
    }
}
