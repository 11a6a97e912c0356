//! Which choices are measured: a staged search, not the product of all settings.
//!
//! ```text
//! stage 1   the default, and for each setting the default with one other value of it; baselines; cells that are named
//! stage 2   for each aim: the best value of each setting put together (see `advice`)
//! ```
//!
//! All cells of a stage are measured in turns, so they are compared with the default under the same conditions.

use std::path::Path;

use serde::Deserialize;

use super::choice::{Choice, Format};
use super::sample::Sample;
use crate::config::{Codec, ColumnOptions, Dictionary, Encodings, PageVersion};
use crate::error::{Error, Result};
use crate::partition::Partitioning;
use crate::schema::{Field, Type};

/// The values of each setting that are tried; what is not given has values that suit the sample.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Matrix {
    /// Codecs, as `zstd 9`.
    pub codec: Option<Vec<Codec>>,
    /// Bytes of row groups in memory.
    pub row_group_bytes: Option<Vec<usize>>,
    /// Rows of row groups.
    pub row_group_rows: Option<Vec<usize>>,
    /// Bytes of pages.
    pub page_bytes: Option<Vec<usize>>,
    /// Versions of pages.
    pub page_version: Option<Vec<PageVersion>>,
    /// Dictionaries: `off`, `on`, `learned`.
    pub dictionary: Option<Vec<Dictionary>>,
    /// Encodings: `plain`, `delta`, `split`, `learned`.
    pub encodings: Option<Vec<Encodings>>,
    /// Columns to sort by.
    pub sort_by: Option<Vec<Vec<String>>>,
    /// Columns with bloom filters.
    pub bloom: Option<Vec<Vec<String>>>,
    /// Partitions, as `day(at)`.
    pub partition_by: Option<Vec<String>>,
    /// Bytes of files.
    pub target_file_bytes: Option<Vec<usize>>,
    /// What is not Parquet: `json`, `json.gz`, `avro`, `arrow`.
    pub baselines: Option<Vec<String>>,
    /// More cells, by their ids.
    pub cells: Vec<String>,
}

/// A setting whose values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Axis {
    /// The default, and what is named by its id.
    None,
    /// Not Parquet.
    Baseline,
    /// Codec and level.
    Codec,
    /// Size of row groups.
    RowGroup,
    /// Size and version of pages.
    Page,
    /// Dictionaries.
    Dictionary,
    /// Encodings.
    Encodings,
    /// Order of rows.
    Sort,
    /// Bloom filters.
    Bloom,
    /// Partitions.
    Partition,
    /// Size of files.
    FileSize,
}

impl Axis {
    /// All settings that the best values are put together of.
    pub(super) const SETTINGS: [Self; 9] = [
        Self::Codec,
        Self::RowGroup,
        Self::Page,
        Self::Dictionary,
        Self::Encodings,
        Self::Sort,
        Self::Bloom,
        Self::Partition,
        Self::FileSize,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "cell",
            Self::Baseline => "baseline",
            Self::Codec => "codec",
            Self::RowGroup => "row group",
            Self::Page => "page",
            Self::Dictionary => "dictionary",
            Self::Encodings => "encodings",
            Self::Sort => "sort",
            Self::Bloom => "bloom",
            Self::Partition => "partition",
            Self::FileSize => "file size",
        }
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

impl Matrix {
    /// Reads a file.
    ///
    /// # Errors
    /// `Usage`: not there, no TOML, an unknown setting, codec or value.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::usage(format!("cannot read the matrix {}: {error}", path.display())))?;
        toml::from_str(&text).map_err(|error| {
            Error::usage(format!("the matrix {} is wrong: {}", path.display(), error.to_string().trim_end()))
        })
    }

    /// The cells of the first stage, the default first, none twice.
    ///
    /// # Errors
    /// `Usage`: a column that the sample has not, or cannot be sorted or partitioned by; an id that is none.
    pub fn cells(&self, sample: &Sample) -> Result<Vec<(Axis, Choice)>> {
        let mut cells = Cells(vec![(Axis::None, Choice::default())]);
        let baselines: Vec<&str> = Format::BASELINES.iter().map(|(id, _)| *id).collect();
        for name in self.baselines.clone().unwrap_or_else(|| baselines.iter().map(|id| (*id).to_owned()).collect()) {
            let format = Format::BASELINES.iter().find(|(id, _)| *id == name).map(|(_, format)| *format);
            let format = format
                .ok_or_else(|| Error::usage(format!("baselines: {name:?} is none of {}", baselines.join(", "))))?;
            cells.push(Axis::Baseline, Choice::baseline(format));
        }
        for codec in self.codec.clone().unwrap_or_else(default_codecs) {
            cells.vary(Axis::Codec, |choice| choice.files.codec = codec);
        }
        // What is larger than the sample makes the same files.
        let fits = |bytes: &usize| *bytes < sample.memory_bytes;
        let given = |given: &Option<Vec<usize>>, default: &[usize]| match given {
            Some(values) => values.clone(),
            None => default.iter().copied().filter(fits).collect(),
        };
        for bytes in given(&self.row_group_bytes, &[8 * MIB, 32 * MIB, 256 * MIB]) {
            cells.vary(Axis::RowGroup, |choice| choice.files.row_group_bytes = bytes.max(1));
        }
        for rows in self.row_group_rows.iter().flatten() {
            cells.vary(Axis::RowGroup, |choice| choice.files.row_group_rows = (*rows).max(1));
        }
        for bytes in given(&self.page_bytes, &[64 * KIB, 256 * KIB, 8 * MIB]) {
            cells.vary(Axis::Page, |choice| {
                choice.files.page_bytes = bytes.max(1);
                // Else pages of narrow columns would end by their rows all the same.
                choice.files.page_rows = if bytes > MIB { 1 << 20 } else { choice.files.page_rows };
            });
        }
        for version in self.page_version.clone().unwrap_or_else(|| vec![PageVersion::V2]) {
            cells.vary(Axis::Page, |choice| choice.files.page_version = version);
        }
        for dictionary in self.dictionary.clone().unwrap_or_else(|| vec![Dictionary::Off, Dictionary::On]) {
            cells.vary(Axis::Dictionary, |choice| choice.files.dictionary = dictionary);
        }
        let encodings = [Encodings::Plain, Encodings::Delta, Encodings::Split];
        for rule in self.encodings.clone().unwrap_or_else(|| encodings.to_vec()) {
            cells.vary(Axis::Encodings, |choice| {
                choice.files.encodings = rule;
                // A dictionary would hide what they do.
                choice.files.dictionary =
                    if rule == Encodings::Learned { Dictionary::Learned } else { Dictionary::Off };
            });
        }
        self.cells_by_columns(sample, &mut cells)?;
        for bytes in self.target_file_bytes.clone().unwrap_or_else(|| {
            // Stored, a sample is a tenth of what it is in memory, about.
            [4 * MIB, 16 * MIB, 64 * MIB].into_iter().filter(|bytes| fits(&(bytes * 10))).collect()
        }) {
            cells.vary(Axis::FileSize, |choice| {
                choice.target_file_bytes = bytes.max(1);
                // A file ends with a row group.
                choice.files.row_group_bytes = choice.files.row_group_bytes.min(bytes.max(1) * 5);
            });
        }
        for id in &self.cells {
            cells.push(Axis::None, id.parse().map_err(Error::usage)?);
        }
        cells.0.iter().try_for_each(|(_, choice)| check(choice, sample))?;
        Ok(cells.0)
    }

    fn cells_by_columns(&self, sample: &Sample, cells: &mut Cells) -> Result<()> {
        let columns = &sample.columns;
        let sorts = self.sort_by.clone().unwrap_or_else(|| {
            let time = columns.event_time.iter().map(|name| vec![name.clone()]);
            let few: Vec<String> = columns.few_values.iter().take(2).cloned().collect();
            let both = few.iter().cloned().chain(columns.event_time.clone()).collect();
            time.chain((!few.is_empty()).then_some(both)).collect()
        });
        for sort_by in sorts.into_iter().filter(|names| !names.is_empty()) {
            cells.vary(Axis::Sort, |choice| choice.sort_by.clone_from(&sort_by));
        }
        let blooms = self.bloom.clone().unwrap_or_else(|| columns.key.iter().map(|name| vec![name.clone()]).collect());
        for names in blooms.into_iter().filter(|names| !names.is_empty()) {
            cells.vary(Axis::Bloom, |choice| {
                for name in &names {
                    let said = ColumnOptions { bloom: true, ..ColumnOptions::default() };
                    choice.files.columns.insert(name.clone(), said);
                }
            });
        }
        let partitions = self.partition_by.clone().unwrap_or_else(|| {
            let by = |(name, partitions): &(&str, f64), time: &String| {
                // Very many partitions of next to nothing would only say that there were too many.
                (*partitions <= 500.0).then(|| format!("{name}({time})"))
            };
            let days = sample.columns.days.max(1.0);
            let units = [("hour", days * 24.0), ("day", days), ("month", days / 30.0)];
            columns.event_time.iter().flat_map(|time| units.iter().filter_map(move |unit| by(unit, time))).collect()
        });
        for text in partitions {
            let by: Partitioning = text.parse().map_err(|why| Error::usage(format!("partition_by: {why}")))?;
            cells.vary(Axis::Partition, |choice| choice.partition_by = by.clone());
        }
        Ok(())
    }
}

fn default_codecs() -> Vec<Codec> {
    let zstd = [1, 6, 9, 12].map(Codec::Zstd);
    [Codec::None, Codec::Snappy, Codec::Lz4, Codec::Gzip(6)].into_iter().chain(zstd).collect()
}

struct Cells(Vec<(Axis, Choice)>);

impl Cells {
    fn push(&mut self, axis: Axis, choice: Choice) {
        if self.0.iter().all(|(_, other)| *other != choice) {
            self.0.push((axis, choice));
        }
    }

    fn vary(&mut self, axis: Axis, change: impl FnOnce(&mut Choice)) {
        let mut choice = Choice::default();
        change(&mut choice);
        self.push(axis, choice);
    }
}

/// Checks that the sample can be stored so.
///
/// # Errors
/// `Usage`: a column is not there or does not serve.
pub(super) fn check(choice: &Choice, sample: &Sample) -> Result<()> {
    let wrong = |why: String| Error::usage(format!("{}: {why}", choice.id()));
    for name in &choice.sort_by {
        let column = column(&sample.fields, name).ok_or_else(|| wrong(format!("there is no column {name}")))?;
        if matches!(column.ty, Type::Struct(_) | Type::List(_) | Type::Map(_)) {
            return Err(wrong(format!("column {name} is nested and cannot be sorted by")));
        }
    }
    choice.partition_by.0.iter().try_for_each(|expr| expr.check(&sample.fields)).map_err(wrong)?;
    let taken = choice.partition_by.names().into_iter().find(|name| column(&sample.fields, name).is_some());
    taken.map_or(Ok(()), |name| Err(wrong(format!("the partition column {name} is a column of the records, too"))))
}

pub(super) fn column<'a>(fields: &'a [Field], name: &str) -> Option<&'a Field> {
    fields.iter().find(|field| field.name == name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_names_what_is_wrong_with_it() {
        for (text, fault) in [
            ("codec = [\"brotli 11\"]", "is no codec"),
            ("codecs = [\"zstd 3\"]", "codecs"),
            ("dictionary = [\"maybe\"]", "maybe"),
            ("page_version = [3]", "no version"),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let error = Matrix::load(file.path()).unwrap_err().to_string();
            assert!(error.contains(fault) && error.contains("the matrix"), "{error}");
        }
    }
}
