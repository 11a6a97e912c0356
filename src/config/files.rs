//! How data files are written: what the configuration says of codec, row groups, pages and encodings, and the defaults.
//!
//! `compact`, `optimize` and `bench` write by these options alone, so what was measured is what a table gets.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::schema::{Step, fold, path_steps};

/// How a data file is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileOptions {
    /// How pages are compressed.
    pub codec: Codec,
    /// A row group has about this many bytes in memory at most, before it is encoded.
    pub row_group_bytes: usize,
    /// A row group has so many rows, and one batch more, at most.
    pub row_group_rows: usize,
    /// A page has about this many bytes at most, before it is compressed.
    pub page_bytes: usize,
    /// A page has about so many rows at most.
    pub page_rows: usize,
    /// The version of data pages.
    pub page_version: PageVersion,
    /// Which columns have a dictionary.
    pub dictionary: Dictionary,
    /// How values without a dictionary are encoded.
    pub encodings: Encodings,
    /// What is said of single columns, by their paths (see [`column_path`]).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnOptions>,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            codec: Codec::Zstd(3),
            row_group_bytes: 128 << 20,
            row_group_rows: 1 << 20,
            page_bytes: 1 << 20,
            page_rows: 131_072,
            page_version: PageVersion::V1,
            dictionary: Dictionary::Learned,
            encodings: Encodings::Learned,
            columns: BTreeMap::new(),
        }
    }
}

/// How one column is written, where that is not left to what is learned of its values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnOptions {
    /// Whether it has a dictionary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dictionary: Option<bool>,
    /// How its values are encoded without one. One that does not fit the column's type is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<ColumnEncoding>,
    /// Whether it has a bloom filter.
    pub bloom: bool,
}

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Codec {
    /// Not at all.
    None,
    /// Snappy.
    Snappy,
    /// LZ4, as `LZ4_RAW`.
    Lz4,
    /// Gzip of a level, 0 to 9.
    Gzip(u32),
    /// Zstandard of a level, 1 to 22.
    Zstd(i32),
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Snappy => f.write_str("snappy"),
            Self::Lz4 => f.write_str("lz4"),
            Self::Gzip(level) => write!(f, "gzip {level}"),
            Self::Zstd(level) => write!(f, "zstd {level}"),
        }
    }
}

impl FromStr for Codec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, level) = text.trim().split_once([' ', '-']).unwrap_or((text.trim(), ""));
        let codec = match (name, level.trim()) {
            ("none", "") => Some(Self::None),
            ("snappy", "") => Some(Self::Snappy),
            ("lz4", "") => Some(Self::Lz4),
            ("gzip", "") => Some(Self::Gzip(6)),
            ("zstd", "") => Some(Self::Zstd(3)),
            ("gzip", level) => level.parse().ok().filter(|level| *level <= 9).map(Self::Gzip),
            ("zstd", level) => level.parse().ok().filter(|level| (1..=22).contains(level)).map(Self::Zstd),
            _ => None,
        };
        codec.ok_or_else(|| format!("{text:?} is no codec: none, snappy, lz4, gzip 0 to 9, zstd 1 to 22"))
    }
}

impl From<Codec> for String {
    fn from(codec: Codec) -> Self {
        codec.to_string()
    }
}

impl TryFrom<String> for Codec {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The version of data pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum PageVersion {
    /// Levels and values are compressed together.
    V1,
    /// Levels are not compressed.
    V2,
}

impl From<PageVersion> for u8 {
    fn from(version: PageVersion) -> Self {
        match version {
            PageVersion::V1 => 1,
            PageVersion::V2 => 2,
        }
    }
}

impl TryFrom<u8> for PageVersion {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            other => Err(format!("{other} is no version of pages: 1 or 2")),
        }
    }
}

/// Which columns have a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dictionary {
    /// None.
    Off,
    /// All but booleans.
    On,
    /// Those whose first values repeat.
    Learned,
}

/// How values without a dictionary are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encodings {
    /// As they stand.
    Plain,
    /// Integers and times as differences, strings with their lengths apart.
    Delta,
    /// The bytes of doubles and decimals apart by their place, other values as learned.
    Split,
    /// As the first values of a column tell.
    Learned,
}

/// How the values of a column are encoded, by its name in Parquet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnEncoding {
    /// As they stand.
    Plain,
    /// Integers and times: differences.
    DeltaBinaryPacked,
    /// Strings: lengths as differences, apart from the bytes.
    DeltaLengthByteArray,
    /// Strings: what they share with the one before is left out.
    DeltaByteArray,
    /// Doubles: bytes apart by their place.
    ByteStreamSplit,
}

/// A path to a column, its keys folded to names: what [`FileOptions::columns`] is looked up by.
///
/// ```
/// assert_eq!(siltstone::config::column_path("Payload.Items[].\"unit.price\"").as_deref(), Ok("payload.items[].unit_price"));
/// ```
///
/// # Errors
/// A message that shows what is no path.
pub fn column_path(path: &str) -> Result<String, String> {
    let mut folded = String::new();
    for step in path_steps(path)? {
        match step {
            Step::Key(key) => {
                if !folded.is_empty() {
                    folded.push('.');
                }
                folded.push_str(&fold(&key));
            }
            Step::Element => folded.push_str("[]"),
            Step::Value => folded.push_str("{}"),
        }
    }
    Ok(folded)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_read_as_they_are_shown() {
        for text in ["none", "snappy", "lz4", "gzip 0", "gzip 6", "zstd 1", "zstd 22"] {
            assert_eq!(text.parse::<Codec>().unwrap().to_string(), text);
        }
        assert_eq!("zstd-9".parse(), Ok(Codec::Zstd(9)));
        assert_eq!(("zstd".parse(), "gzip".parse()), (Ok(Codec::Zstd(3)), Ok(Codec::Gzip(6))));
        for text in ["", "brotli", "zstd 0", "zstd 23", "gzip 10", "snappy 1", "zstd x"] {
            assert!(text.parse::<Codec>().unwrap_err().contains("is no codec"), "{text}");
        }
    }
}
