//! One way to store records, and its id.
//!
//! An id says all that is not the default, so a cell can be measured again from its id alone:
//!
//! ```text
//! zstd-3                                  what tables get unasked
//! zstd-9+dict=off+rg=33554432             Parquet, zstd 9, no dictionaries, row groups of 32 MiB
//! zstd-3+sort=country,at+part=day(at)     sorted, partitioned
//! zstd-3+col.id=bloom,plain               one column: bloom filter, plain
//! json, json.gz, avro, arrow, vortex      not Parquet
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::{ColumnEncoding, ColumnOptions, Dictionary, Encodings, FileOptions, PageVersion, column_path};
use crate::partition::Partitioning;

/// A data file is ended at about this many bytes, unless it is said otherwise.
pub(super) const TARGET_FILE_BYTES: usize = 256 << 20;

/// The file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Parquet.
    Parquet,
    /// NDJSON.
    Json,
    /// NDJSON in gzip, level 6.
    JsonGz,
    /// Avro object container files with zstd blocks.
    Avro,
    /// Arrow IPC files with zstd buffers.
    Arrow,
    /// Vortex files, as its own compressor has them.
    #[cfg(feature = "vortex")]
    Vortex,
}

impl Format {
    /// What is not Parquet, by the ids.
    pub const BASELINES: &[(&'static str, Self)] = &[
        ("json", Self::Json),
        ("json.gz", Self::JsonGz),
        ("avro", Self::Avro),
        ("arrow", Self::Arrow),
        #[cfg(feature = "vortex")]
        ("vortex", Self::Vortex),
    ];
}

/// One way to store records.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The file format. The rest matters for Parquet only.
    pub format: Format,
    /// How files are written.
    pub files: FileOptions,
    /// Columns by which rows are sorted; none: as they came.
    pub sort_by: Vec<String>,
    /// The partitions.
    pub partition_by: Partitioning,
    /// A data file is ended at about this many bytes.
    pub target_file_bytes: usize,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            format: Format::Parquet,
            files: FileOptions::default(),
            sort_by: Vec::new(),
            partition_by: Partitioning::default(),
            target_file_bytes: TARGET_FILE_BYTES,
        }
    }
}

impl Choice {
    /// A format that is not Parquet.
    pub fn baseline(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// The id.
    pub fn id(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = Format::BASELINES.iter().find(|(_, format)| *format == self.format) {
            return f.write_str(name);
        }
        let (files, default) = (&self.files, FileOptions::default());
        f.write_str(&files.codec.to_string().replace(' ', "-"))?;
        let mut number = |name: &str, value: usize, default: usize| {
            if value == default { Ok(()) } else { write!(f, "+{name}={value}") }
        };
        number("rg", files.row_group_bytes, default.row_group_bytes)?;
        number("rows", files.row_group_rows, default.row_group_rows)?;
        number("page", files.page_bytes, default.page_bytes)?;
        number("pagerows", files.page_rows, default.page_rows)?;
        number("v", u8::from(files.page_version).into(), 1)?;
        number("file", self.target_file_bytes, TARGET_FILE_BYTES)?;
        if files.dictionary != default.dictionary {
            write!(f, "+dict={}", word(files.dictionary))?;
        }
        if files.encodings != default.encodings {
            write!(f, "+enc={}", word(files.encodings))?;
        }
        if !self.sort_by.is_empty() {
            write!(f, "+sort={}", self.sort_by.join(","))?;
        }
        if !self.partition_by.0.is_empty() {
            write!(f, "+part={}", self.partition_by)?;
        }
        for (path, said) in &files.columns {
            let dictionary = said.dictionary.map(|on| if on { "dict" } else { "nodict" }.to_owned());
            let words = [said.bloom.then(|| "bloom".to_owned()), dictionary, said.encoding.map(word)];
            write!(f, "+col.{path}={}", words.into_iter().flatten().collect::<Vec<_>>().join(","))?;
        }
        Ok(())
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, String> {
        if let Some((_, format)) = Format::BASELINES.iter().find(|(name, _)| *name == id) {
            return Ok(Self::baseline(*format));
        }
        let mut parts = id.split('+');
        let wrong = |why: String| format!("{id:?} is no id of a cell: {why}");
        let mut choice = Self::default();
        choice.files.codec = parts.next().unwrap_or_default().parse().map_err(wrong)?;
        for part in parts {
            choice.set(part).map_err(wrong)?;
        }
        Ok(choice)
    }
}

impl Choice {
    fn set(&mut self, part: &str) -> Result<(), String> {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} has no value"))?;
        let number = || value.parse::<usize>().ok().filter(|number| *number > 0).ok_or(format!("{part:?}: no number"));
        match name {
            "rg" => self.files.row_group_bytes = number()?,
            "rows" => self.files.row_group_rows = number()?,
            "page" => self.files.page_bytes = number()?,
            "pagerows" => self.files.page_rows = number()?,
            "file" => self.target_file_bytes = number()?,
            "v" => {
                let version = value.parse::<u8>().map_err(|_| format!("{part:?}: no number"))?;
                self.files.page_version = PageVersion::try_from(version)?;
            }
            "dict" => self.files.dictionary = read_word::<Dictionary>(value)?,
            "enc" => self.files.encodings = read_word::<Encodings>(value)?,
            "sort" => self.sort_by = value.split(',').map(str::to_owned).collect(),
            "part" => self.partition_by = value.parse()?,
            _ => {
                let path = name.strip_prefix("col.").ok_or_else(|| format!("there is no setting {name:?}"))?;
                let mut said = ColumnOptions::default();
                for word in value.split(',') {
                    match word {
                        "bloom" => said.bloom = true,
                        "dict" => said.dictionary = Some(true),
                        "nodict" => said.dictionary = Some(false),
                        encoding => said.encoding = Some(read_word::<ColumnEncoding>(encoding)?),
                    }
                }
                self.files.columns.insert(column_path(path)?, said);
            }
        }
        Ok(())
    }
}

/// The word that the configuration has for a value.
pub(super) fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

fn read_word<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_all_of_a_choice() {
        for id in [
            "zstd-3",
            "none",
            "gzip-6",
            "json.gz",
            "arrow",
            "lz4+rg=33554432+rows=1000+page=65536+pagerows=500+v=2+file=1048576+dict=off+enc=plain",
            "zstd-9+sort=country,at+part=day(at)",
            "zstd-3+dict=on+enc=delta+col.id=bloom,nodict,plain+col.lines[].price=byte-stream-split",
        ] {
            assert_eq!(id.parse::<Choice>().unwrap().id(), id);
        }
        assert_eq!(Choice::default().id(), "zstd-3");
    }

    #[test]
    fn what_is_no_id_is_refused_with_its_fault() {
        for (id, fault) in [
            ("brotli", "no codec"),
            ("zstd-3+dict=maybe", "maybe"),
            ("zstd-3+rg=0", "no number"),
            ("zstd-3+v=3", "no version"),
            ("zstd-3+colour=red", "no setting"),
        ] {
            assert!(id.parse::<Choice>().unwrap_err().contains(fault), "{id}");
        }
    }
}
