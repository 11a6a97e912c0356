//! Arrow's types as those of PostgreSQL. What has no counterpart goes over as JSON (rows, maps, arrays of these) or as text.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow_pg::datatypes::field_into_pg_type;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldFormat, FieldInfo};

/// How the values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// By arrow-pg.
    Plain,
    /// Digits, of which there may be more than arrow-pg takes.
    Numeric,
    /// JSON, as `siltstone sql --format csv` writes it.
    Json,
    /// As text for people.
    Text,
}

/// A type of PostgreSQL.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WireType {
    pub(super) ty: Type,
    /// Precision and scale of numbers; -1: none.
    pub(super) modifier: i32,
    pub(super) encoding: Encoding,
}

impl WireType {
    /// The type that values of a column go over as.
    pub(super) fn of(field: &Arc<Field>) -> Self {
        let plain = |ty, encoding| Self { ty, modifier: -1, encoding };
        match field.data_type() {
            DataType::Null => plain(Type::TEXT, Encoding::Plain),
            // Numbers and counts of rows; arrow-pg has them as numeric.
            DataType::UInt64 => plain(Type::INT8, Encoding::Plain),
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                let modifier = (i32::from(*precision) << 16 | (i32::from(*scale) & 0x7ff)) + 4;
                Self { ty: Type::NUMERIC, modifier, encoding: Encoding::Numeric }
            }
            DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => plain(Type::JSON, Encoding::Json),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
                if item.data_type().is_nested() || item.data_type().is_decimal() =>
            {
                plain(Type::JSON, Encoding::Json)
            }
            _ => match field_into_pg_type(field) {
                Ok(ty) => plain(ty, Encoding::Plain),
                Err(_) => plain(Type::TEXT, Encoding::Text),
            },
        }
    }

    /// Bytes of a value; -1: as many as it takes.
    pub(super) fn length(&self) -> i16 {
        match self.ty {
            Type::BOOL | Type::CHAR => 1,
            Type::INT2 => 2,
            Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID => 4,
            Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
            Type::INTERVAL => 16,
            _ => -1,
        }
    }
}

/// The columns of a result, as the client is told of them.
pub(super) fn fields(schema: &Schema, format: &Format) -> Vec<FieldInfo> {
    let fields = schema.fields().iter().enumerate().map(|(index, field)| {
        let wire = WireType::of(field);
        let length = wire.length();
        FieldInfo::new(field.name().clone(), None, None, wire.ty, format_of(format, index))
            .with_type_size(length)
            .with_type_modifier(wire.modifier)
    });
    fields.collect()
}

/// The format that the client wants a column in; text when it does not say.
fn format_of(format: &Format, index: usize) -> FieldFormat {
    match format {
        Format::UnifiedText => FieldFormat::Text,
        Format::UnifiedBinary => FieldFormat::Binary,
        Format::Individual(formats) => FieldFormat::from(formats.get(index).copied().unwrap_or(0)),
    }
}
