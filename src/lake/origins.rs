//! Where the rows of a merged data file came from: which rows of which file of which slice, in their order.
//!
//! The name of a file that a slice wrote tells the origin of its rows. A file that was merged of several has a record of
//! it, a small Parquet file in the hidden folder, one row for each run of rows that stay together.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::hidden::Hidden;
use super::ranges::lies_within;
use super::table::ActiveFile;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::write::{FileOrigin, hidden_file_properties, merged_id};

/// Runs that are written at once.
const BATCH_ROWS: usize = 8192;

/// A file that a slice wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// Its name tells.
    pub origin: FileOrigin,
    /// How many rows it had.
    pub row_count: u64,
}

/// Consecutive rows of a unit that lie together in a merged file, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginRun {
    /// The number of the unit.
    pub unit: usize,
    /// The first of the rows in it.
    pub first: u64,
    /// How many they are; 0 for a unit of which no row is left.
    pub rows: u64,
}

/// Where the rows of a data file came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// The files that slices wrote.
    pub units: Vec<Unit>,
    /// Their rows, in the order of the data file.
    pub runs: Vec<OriginRun>,
}

impl Origins {
    /// Those of a data file; `None` when nothing tells.
    ///
    /// # Errors
    /// When the record of a merged file cannot be read or tells of another number of rows.
    pub async fn of(hidden: &Hidden, file: &ActiveFile) -> Result<Option<Self>> {
        if let Some(origin) = FileOrigin::of(&file.path) {
            let row_count = file.row_count;
            let runs = vec![OriginRun { unit: 0, first: 0, rows: row_count }];
            return Ok(Some(Self { units: vec![Unit { origin, row_count }], runs }));
        }
        let Some(id) = merged_id(&file.path) else { return Ok(None) };
        let path = Hidden::origins_path(id);
        let origins = Self::decode(&path, hidden.read(&path).await?)?;
        if origins.row_count() != file.row_count {
            let (told, there) = (origins.row_count(), file.row_count);
            let message = format!("{path} tells of {told} rows, {} has {there}", file.path);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok(Some(origins))
    }

    /// The rows that it tells of.
    pub fn row_count(&self) -> u64 {
        self.runs.iter().map(|run| run.rows).sum()
    }

    /// Writes the record under an id that no other has.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn create(&self, hidden: &Hidden, id: &str) -> Result<()> {
        hidden.create(&Hidden::origins_path(id), self.encode()?).await
    }

    fn encode(&self) -> Result<Bytes> {
        let describe = || "cannot write the origins of rows".to_owned();
        let mut out = Vec::new();
        let properties = hidden_file_properties().context(describe)?;
        let mut writer = ArrowWriter::try_new(&mut out, schema(), Some(properties)).context(describe)?;
        for runs in self.runs.chunks(BATCH_ROWS) {
            let number = |get: &dyn Fn(&OriginRun) -> u64| {
                Arc::new(Int64Array::from_iter_values(runs.iter().map(|run| get(run) as i64))) as ArrayRef
            };
            let slices = runs.iter().map(|run| self.units[run.unit].origin.slice.as_str());
            let columns = vec![
                Arc::new(StringArray::from_iter_values(slices)) as ArrayRef,
                number(&|run| self.units[run.unit].origin.number),
                number(&|run| self.units[run.unit].row_count),
                number(&|run| run.first),
                number(&|run| run.rows),
            ];
            writer.write(&RecordBatch::try_new(schema(), columns).context(describe)?).context(describe)?;
        }
        writer.close().context(describe)?;
        Ok(out.into())
    }

    fn decode(path: &str, bytes: Bytes) -> Result<Self> {
        let describe = || format!("the origins of rows in {path} are damaged");
        let damaged = || Error::new(ErrorKind::Corrupt, describe());
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let size_bytes = bytes.len() as u64;
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).context(describe)?;
        let columns = |schema: &Schema| -> Vec<_> {
            schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
        };
        if columns(builder.schema()) != columns(&schema()) || !lies_within(builder.metadata(), size_bytes) {
            return Err(damaged());
        }
        let mut origins = OriginsBuilder::default();
        for batch in builder.with_batch_size(BATCH_ROWS).build().context(describe)? {
            let batch = batch.context(describe)?;
            let slices = batch.column(0).as_string::<i32>();
            let number = |column: usize, row: usize| {
                u64::try_from(batch.column(column).as_primitive::<Int64Type>().value(row)).map_err(|_| damaged())
            };
            for row in 0..batch.num_rows() {
                let origin = FileOrigin { slice: slices.value(row).to_owned(), number: number(1, row)? };
                let unit = Unit { origin, row_count: number(2, row)? };
                let (first, rows) = (number(3, row)?, number(4, row)?);
                if first.checked_add(rows).is_none_or(|end| end > unit.row_count) {
                    return Err(damaged());
                }
                origins.push(&unit, first, rows);
            }
        }
        Ok(origins.finish())
    }
}

/// Gathers runs.
#[derive(Debug, Default)]
pub struct OriginsBuilder {
    origins: Origins,
    numbers: HashMap<Unit, usize>,
}

impl OriginsBuilder {
    /// Adds rows of a unit behind those that came so far; no rows: says that there is such a unit.
    pub fn push(&mut self, unit: &Unit, first: u64, rows: u64) {
        let number = match self.numbers.get(unit) {
            Some(_) if rows == 0 => return,
            Some(number) => *number,
            None => {
                self.origins.units.push(unit.clone());
                self.numbers.insert(unit.clone(), self.origins.units.len() - 1);
                self.origins.units.len() - 1
            }
        };
        match self.origins.runs.last_mut() {
            Some(last) if rows > 0 && last.rows > 0 && last.unit == number && last.first + last.rows == first => {
                last.rows += rows;
            }
            _ => self.origins.runs.push(OriginRun { unit: number, first, rows }),
        }
    }

    /// What was gathered.
    pub fn finish(self) -> Origins {
        self.origins
    }
}

/// The origins of the rows of a file, one after another.
#[derive(Debug)]
pub struct OriginRows {
    origins: Origins,
    /// The next run, and how many of its rows were taken.
    next: usize,
    taken: u64,
}

impl OriginRows {
    /// Those that `origins` tell.
    pub fn new(origins: Origins) -> Self {
        Self { origins, next: 0, taken: 0 }
    }

    /// Gives those of the next rows that stay to `to`; of the others, that there are such units. `stretches`: how many rows
    /// stay, or do not, one after another.
    pub fn take_stretches(&mut self, stretches: &[(u64, bool)], to: &mut impl FnMut(&Unit, u64, u64)) {
        for (count, stays) in stretches {
            self.take(*count, |unit, first, rows| if *stays { to(unit, first, rows) } else { to(unit, 0, 0) });
        }
    }

    /// Gives those of the next `count` rows to `to`, as a unit and rows of it.
    fn take(&mut self, count: u64, mut to: impl FnMut(&Unit, u64, u64)) {
        let mut left = count;
        while let Some(run) = self.origins.runs.get(self.next).filter(|run| left > 0 || run.rows == self.taken) {
            let rows = left.min(run.rows - self.taken);
            to(&self.origins.units[run.unit], run.first + self.taken, rows);
            self.taken += rows;
            left -= rows;
            if self.taken == run.rows {
                (self.next, self.taken) = (self.next + 1, 0);
            }
        }
    }
}

/// How many rows stay, or do not, one after another.
pub fn stretches(stays: &[bool]) -> Vec<(u64, bool)> {
    let mut stretches: Vec<(u64, bool)> = Vec::new();
    for row in stays {
        match stretches.last_mut().filter(|(_, last)| last == row) {
            Some((count, _)) => *count += 1,
            None => stretches.push((1, *row)),
        }
    }
    stretches
}

fn schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        Field::new("slice", DataType::Utf8, false),
        number("number"),
        number("file_rows"),
        number("first"),
        number("rows"),
    ]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use super::*;

    fn unit(slice: &str, number: u64, row_count: u64) -> Unit {
        Unit { origin: FileOrigin { slice: slice.to_owned(), number }, row_count }
    }

    #[test]
    fn origins_come_back_as_they_were_written() {
        let mut builder = OriginsBuilder::default();
        builder.push(&unit("a", 0, 10), 0, 10);
        builder.push(&unit("b", 7, 3), 1, 1);
        builder.push(&unit("a", 1, 5), 0, 0);
        builder.push(&unit("b", 7, 3), 2, 1);
        builder.push(&unit("b", 7, 3), 0, 1);
        let origins = builder.finish();
        // Rows that follow one another are one run.
        assert_eq!((origins.units.len(), origins.runs.len(), origins.row_count()), (3, 5, 13));
        assert_eq!(Origins::decode("x", origins.encode().unwrap()).unwrap(), origins);
    }

    #[test]
    fn rows_that_follow_one_another_are_one_run() {
        let mut builder = OriginsBuilder::default();
        for row in 0..100 {
            builder.push(&unit("a", 0, 100), row, 1);
        }
        assert_eq!(builder.finish().runs, [OriginRun { unit: 0, first: 0, rows: 100 }]);
    }

    #[test]
    fn what_is_no_record_of_origins_is_an_error() {
        let mut wrong = OriginsBuilder::default();
        wrong.push(&unit("a", 0, 10), 5, 6);
        assert!(Origins::decode("x", wrong.finish().encode().unwrap()).is_err());
        assert!(Origins::decode("x", Bytes::from_static(b"PAR1")).is_err());
    }
}
