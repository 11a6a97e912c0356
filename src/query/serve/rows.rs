//! Rows of a result, written one after another as they come.

use std::error::Error;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions as DisplayOptions};
use arrow_pg::encoder::encode_value;
use bytes::{BufMut, BytesMut};
use pgwire::api::results::{DataRowEncoder, FieldInfo};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;
use pgwire::types::ToSqlText;
use pgwire::types::format::FormatOptions;
use postgres_types::{IsNull, ToSql, Type, to_sql_checked};

use super::types::{Encoding, WireType};
use crate::query::output::json_texts;

/// The rows of one batch.
pub(super) struct Rows {
    columns: Vec<(Arc<Field>, ArrayRef, Encoding)>,
    infos: Arc<Vec<FieldInfo>>,
    encoder: DataRowEncoder,
    row: usize,
    rows: usize,
}

impl Rows {
    /// The rows of `batch`, whose columns the client was told of as `infos`.
    ///
    /// # Errors
    /// When a column cannot be written as JSON.
    pub(super) fn new(batch: &RecordBatch, infos: &Arc<Vec<FieldInfo>>) -> PgWireResult<Self> {
        let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| {
            let encoding = WireType::of(field).encoding;
            let column = match encoding {
                // There are no numbers of one byte on the wire.
                Encoding::Plain if *column.data_type() == DataType::Int8 => {
                    cast(column, &DataType::Int16).map_err(wrong)?
                }
                Encoding::Plain if *column.data_type() == DataType::UInt64 => {
                    cast(column, &DataType::Int64).map_err(wrong)?
                }
                Encoding::Plain => Arc::clone(column),
                Encoding::Json => Arc::new(json_texts(field, column).map_err(wrong)?),
                Encoding::Numeric | Encoding::Text => text(column).map_err(wrong)?,
            };
            let field = match encoding {
                Encoding::Plain => Arc::new(Field::new(field.name(), column.data_type().clone(), true)),
                _ => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
            };
            Ok((field, column, encoding))
        });
        Ok(Self {
            columns: columns.collect::<PgWireResult<_>>()?,
            infos: Arc::clone(infos),
            encoder: DataRowEncoder::new(Arc::clone(infos)),
            row: 0,
            rows: batch.num_rows(),
        })
    }

    fn encode(&mut self) -> PgWireResult<DataRow> {
        for ((field, column, encoding), info) in self.columns.iter().zip(self.infos.iter()) {
            if column.is_null(self.row) {
                self.encoder.encode_field(&None::<i8>)?;
            } else if *encoding == Encoding::Numeric {
                self.encoder.encode_field(&Numeric(column.as_string::<i32>().value(self.row)))?;
            } else {
                encode_value(&mut self.encoder, column, self.row, field, info)?;
            }
        }
        Ok(self.encoder.take_row())
    }
}

impl Iterator for Rows {
    type Item = PgWireResult<DataRow>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.row == self.rows {
            return None;
        }
        let row = self.encode();
        self.row += 1;
        Some(row)
    }
}

fn wrong(error: ArrowError) -> PgWireError {
    PgWireError::ApiError(Box::new(error))
}

fn text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = DisplayOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let texts =
        (0..column.len()).map(|row| (!column.is_null(row)).then(|| formatter.value(row).try_to_string()).transpose());
    Ok(Arc::new(texts.collect::<Result<StringArray, _>>()?))
}

/// A number as its digits.
#[derive(Debug)]
struct Numeric<'a>(&'a str);

impl ToSqlText for Numeric<'_> {
    fn to_sql_text(
        &self,
        _: &Type,
        out: &mut BytesMut,
        _: &FormatOptions,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

impl ToSql for Numeric<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let (is_negative, digits) = self.0.strip_prefix('-').map_or((false, self.0), |digits| (true, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        // Groups of four digits, the point between two of them.
        let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
        let padded = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
        let mut weight = i16::try_from(whole.len() / 4)? - 1;
        let digits = whole + &padded;
        let groups =
            digits.as_bytes().chunks(4).map(|group| group.iter().fold(0, |sum, c| sum * 10 + i16::from(c - b'0')));
        let mut groups: Vec<i16> = groups.collect();
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let zeros = groups.iter().take_while(|group| **group == 0).count();
        groups.drain(..zeros);
        weight -= i16::try_from(zeros)?;
        out.put_i16(i16::try_from(groups.len())?);
        out.put_i16(if groups.is_empty() { 0 } else { weight });
        out.put_u16(if is_negative && !groups.is_empty() { 0x4000 } else { 0 });
        out.put_i16(i16::try_from(fraction.len())?);
        groups.into_iter().for_each(|group| out.put_i16(group));
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::NUMERIC
    }

    to_sql_checked!();
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_groups_of_four_digits() {
        for (digits, expected) in [
            ("0", vec![0, 0, 0, 0]),
            ("0.00", vec![0, 0, 0, 2]),
            ("12.50", vec![2, 0, 0, 2, 12, 5000]),
            ("-10000", vec![1, 1, 0x4000, 0, 1]),
            ("0.00001234", vec![1, -2, 0, 8, 1234]),
            ("123456789.1", vec![4, 2, 0, 1, 1, 2345, 6789, 1000]),
        ] {
            let mut out = BytesMut::new();
            Numeric(digits).to_sql(&Type::NUMERIC, &mut out).unwrap();
            let words: Vec<i16> = out.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect();
            assert_eq!(words, expected, "{digits}");
        }
    }
}
