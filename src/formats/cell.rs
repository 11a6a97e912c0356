//! What was measured of one choice: plain data, kept in `cells.json` between runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::choice::Choice;

/// One choice and what was measured of it so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The id, which says the choice.
    pub id: String,
    /// The setting in which it differs from the default.
    pub setting: String,
    /// Why it could not be stored or did not read back equal.
    pub error: Option<String>,
    /// What lies in the store.
    pub stored: Option<Stored>,
    /// Each time it was written.
    pub writes: Vec<WriteRun>,
    /// Each time each query was run.
    pub queries: BTreeMap<String, Vec<QueryRun>>,
    /// Queries that failed, and why.
    pub failed_queries: BTreeMap<String, String>,
    /// Peak memory of a process that writes it once, less what that process held just before.
    pub peak_memory_bytes: Option<u64>,
}

/// What lies in the store. It was read back and is equal to the sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Requests that a store like S3 is asked to store them.
    pub puts: u64,
    /// Row groups; 0 for other formats.
    pub row_groups: u64,
    /// Columns of Parquet, by their paths.
    pub columns: BTreeMap<String, ColumnBytes>,
}

/// What a column takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnBytes {
    /// Compressed bytes, with dictionaries.
    pub bytes: u64,
    /// The encodings of its pages, by their names in Parquet.
    pub encodings: Vec<String>,
}

/// One time it was written, to a store that drops what it is given: the time of sorting, encoding and compressing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WriteRun {
    /// Elapsed time.
    pub seconds: f64,
    /// Time of all cores together.
    pub cpu_seconds: f64,
}

/// One time a query was run, by a session that knew nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QueryRun {
    /// Elapsed time, with opening the table.
    pub seconds: f64,
    /// Rows of the result.
    pub rows: u64,
    /// Bytes of data files asked for.
    pub bytes: u64,
    /// Requests for data files.
    pub requests: u64,
    /// Requests for the table's log.
    pub log_requests: u64,
}

/// The median of some runs, the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// That of some figures; `None` of none.
    pub fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, min, max })
    }
}

impl Cell {
    pub(super) fn new(choice: &Choice, setting: &str) -> Self {
        Self {
            id: choice.id(),
            setting: setting.to_owned(),
            error: None,
            stored: None,
            writes: Vec::new(),
            queries: BTreeMap::new(),
            failed_queries: BTreeMap::new(),
            peak_memory_bytes: None,
        }
    }

    /// Whether there is nothing left to measure.
    pub(super) fn is_done(&self, queries: &[String], repetitions: usize) -> bool {
        let is_asked = |name: &String| {
            self.failed_queries.contains_key(name)
                || self.queries.get(name).is_some_and(|runs| runs.len() >= repetitions)
        };
        self.error.is_some()
            || self.stored.is_some() && self.writes.len() >= repetitions && queries.iter().all(is_asked)
    }

    /// Elapsed time of writing.
    pub fn write_seconds(&self) -> Option<Spread> {
        Spread::of(self.writes.iter().map(|run| run.seconds))
    }

    /// Time of all cores for writing.
    pub fn cpu_seconds(&self) -> Option<Spread> {
        Spread::of(self.writes.iter().map(|run| run.cpu_seconds))
    }

    /// Elapsed time of a query.
    pub fn query_seconds(&self, name: &str) -> Option<Spread> {
        Spread::of(self.queries.get(name)?.iter().map(|run| run.seconds))
    }

    /// The first run of a query: bytes, requests and rows are the same in all.
    pub fn query(&self, name: &str) -> Option<&QueryRun> {
        self.queries.get(name)?.first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(spread(&[]), None);
    }
}
