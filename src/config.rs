//! The configuration file, `siltstone.toml`. Flags override it; credentials never stand in it.
//!
//! ```toml
//! raw = "s3://bucket/raw"
//! lake = "s3://bucket/lake"
//!
//! [defaults]
//! zstd_level = 3
//!
//! [sources.orders]
//! partition_by = "day(created_at)"
//! records = "data.items"
//! contract = "add-only"
//!
//! [sources.orders.columns]
//! "lines[].price" = { type = "decimal(12,2)" }
//! ```

mod bench;
mod files;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

pub use bench::{BenchConfig, Prices, Volume};
pub use files::{Codec, ColumnEncoding, ColumnOptions, Dictionary, Encodings, FileOptions, PageVersion, column_path};

use crate::error::{Error, Result};
use crate::json::MAX_COLUMNS;
use crate::partition::Partitioning;
use crate::raw::Limits;
use crate::schema::{Contract, Forced, Rule, fold, path_steps};

/// The largest record that may be asked for: a window of twice its size must be addressable by 31 bits.
const MAX_RECORD_BYTES: usize = 512 << 20;

/// No retention may be shorter: what is younger may belong to a writer at work.
const MIN_RETENTION_HOURS: u32 = 24;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the raw objects are: a folder with one folder per source. No default.
    pub raw: Option<String>,
    /// Where the tables are: a folder with one table per source. No default.
    pub lake: Option<String>,
    /// Only one run at a time ever writes to the lake: its store need not honour put-if-absent. Default: false.
    pub single_writer: bool,
    /// What `bench` reckons with.
    pub bench: BenchConfig,
    /// What holds for all sources.
    pub defaults: SourceConfig,
    /// What holds for one source; what is unset is taken from `defaults`.
    pub sources: BTreeMap<String, SourceConfig>,
}

/// The settings of a source.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// The partitions of a new table, as `day(created_at)`. Default: chosen by rule and recorded.
    pub partition_by: Option<String>,
    /// Where the records of an envelope lie, as `data.items`; `""`: every object is a record. Default: found in the
    /// first run and recorded.
    pub records: Option<String>,
    /// Members of the envelope whose values become columns of its records, as `["next", "meta.total"]`. Default: none.
    pub envelope_fields: Option<Vec<String>>,
    /// How the columns of a table may change: `evolve`, `add-only` or `freeze`. Default: `evolve`.
    pub contract: Option<Contract>,
    /// What is said of columns, by their paths.
    pub columns: BTreeMap<String, ColumnConfig>,
    /// Columns (leaves) that a table may have. Default 2,000.
    pub max_columns: Option<usize>,
    /// How data files are compressed: `none`, `snappy`, `lz4`, `gzip 6`, `zstd 3`. Default: `zstd` of `zstd_level`.
    pub codec: Option<Codec>,
    /// zstd level of data files, 1 to 22, unless `codec` is given. Default 3.
    pub zstd_level: Option<i32>,
    /// A row group has about this many bytes in memory at most, before it is encoded. Default 128 MiB.
    pub row_group_bytes: Option<usize>,
    /// A row group has about so many rows at most. Default 1,048,576.
    pub row_group_rows: Option<usize>,
    /// A page has about this many bytes at most, before it is compressed. Default 1 MiB.
    pub page_bytes: Option<usize>,
    /// A page has about so many rows at most. Default 131,072.
    pub page_rows: Option<usize>,
    /// The version of data pages, 1 or 2. Default 1, which every reader takes.
    pub page_version: Option<PageVersion>,
    /// Which columns have a dictionary: `off`, `on` or `learned`. Default `learned`.
    pub dictionary: Option<Dictionary>,
    /// How values without a dictionary are encoded: `plain`, `delta`, `split` or `learned`. Default `learned`.
    pub encodings: Option<Encodings>,
    /// A data file is ended at about this many bytes. Default 256 MiB.
    pub target_file_bytes: Option<usize>,
    /// Decompressed bytes of one raw object. Default 1 GiB.
    pub max_object_bytes: Option<u64>,
    /// Decompressed bytes for each stored byte, past 16 MiB. Default 200.
    pub max_ratio: Option<u64>,
    /// Bytes of one record. Default 64 MiB.
    pub max_record_bytes: Option<usize>,
    /// How deep arrays and objects may be nested. Default 128.
    pub max_depth: Option<usize>,
    /// Bytes that a run may hold in memory, about. Default 1 GiB.
    pub memory_bytes: Option<usize>,
    /// Whether `compact` merges small files where there are many of them. Default: yes.
    pub auto_optimize: Option<bool>,
    /// Columns by which the rows of merged files are sorted. Default: none, rows stay in their order.
    pub sort_by: Option<Vec<String>>,
    /// Which rows have the same key, and which of them stays, for `optimize --dedup`. Default: none.
    pub dedup: Option<DedupConfig>,
    /// A column that names the raw object of each row, by its key. Default: none.
    pub provenance: Option<String>,
    /// What becomes of a raw object that changed after it was consumed: `report`, `append` or `replace`. Default: `report`.
    pub on_overwrite: Option<OnOverwrite>,
    /// Whether a manifest for readers of plain Parquet is kept up to date. Default: no.
    pub manifest: Option<bool>,
    /// For how long `vacuum` keeps what versions of the table need, as `7d` or `36h`, at least a day. Default `7d`.
    pub retention: Option<String>,
}

/// Which of several rows with the same key stays.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DedupConfig {
    /// The columns that make the key.
    pub keys: Vec<String>,
    /// `last by COLUMN`: the row with the largest value in the column.
    pub keep: String,
}

/// The same, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedup {
    /// The columns that make the key.
    pub keys: Vec<String>,
    /// The row with the largest value in this column stays.
    pub last_by: String,
}

impl DedupConfig {
    fn read(&self) -> std::result::Result<Dedup, String> {
        let last_by = self.keep.strip_prefix("last by ").map(str::trim).filter(|column| !column.is_empty());
        match last_by {
            None => Err(format!("keep is {:?}, expected \"last by COLUMN\"", self.keep)),
            Some(_) if self.keys.is_empty() => Err("keys names no column".to_owned()),
            Some(column) => Ok(Dedup { keys: self.keys.clone(), last_by: column.to_owned() }),
        }
    }
}

/// What becomes of a raw object that changed after it was consumed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOverwrite {
    /// It is reported; its old rows stay, and what it holds now is not read.
    #[default]
    Report,
    /// What it holds now is added as if it were another object; its old rows stay.
    Append,
    /// What it holds now takes the place of its old rows, which the column of provenance tells.
    Replace,
}

/// What is said of one column.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnConfig {
    /// Its type: string, bigint, double, decimal(p,s), timestamp, date, json or map.
    #[serde(rename = "type")]
    pub ty: Option<Forced>,
    /// Its values are left out.
    pub drop: bool,
    /// Its name in the table.
    pub rename: Option<String>,
    /// Whether it has a dictionary. Default: as `dictionary` says.
    pub dictionary: Option<bool>,
    /// How its values are encoded without one. Default: as `encodings` says.
    pub encoding: Option<ColumnEncoding>,
    /// Whether it has a bloom filter. Default: no.
    pub bloom: bool,
}

/// The settings of a source, complete and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The partitions of a new table, when they are not left to the rule.
    pub partition_by: Option<Partitioning>,
    /// Where the records of an envelope lie, when that is not to be found.
    pub records_path: Option<Vec<String>>,
    /// Paths of members of the envelope whose values become columns.
    pub envelope_fields: Vec<Vec<String>>,
    /// How the columns of a table may change.
    pub contract: Contract,
    /// What is said of columns.
    pub rule: Rule,
    /// Columns (leaves) that a table may have.
    pub max_columns: usize,
    /// How data files are written.
    pub files: FileOptions,
    /// A data file is ended at about this many bytes.
    pub target_file_bytes: usize,
    /// What bounds raw objects.
    pub limits: Limits,
    /// How deep arrays and objects may be nested.
    pub max_depth: usize,
    /// Bytes that a run may hold in memory, about.
    pub memory_bytes: usize,
    /// Whether small files are merged after a run where there are many of them.
    pub auto_optimize: bool,
    /// Columns by which the rows of merged files are sorted.
    pub sort_by: Vec<String>,
    /// Which of several rows with the same key stays, when that is asked for.
    pub dedup: Option<Dedup>,
    /// The column that names the raw object of each row.
    pub provenance: Option<String>,
    /// What becomes of a raw object that changed after it was consumed.
    pub on_overwrite: OnOverwrite,
    /// Whether a manifest for readers of plain Parquet is kept up to date.
    pub manifest: bool,
    /// For how many hours `vacuum` keeps what versions of the table need.
    pub retention_hours: u32,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// `Usage`: not there, no TOML, an unknown key, a wrong value.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::usage(format!("cannot read the configuration {}: {error}", path.display())))?;
        toml::from_str(&text).map_err(|error| {
            // Not the line itself: somebody may have written a secret into it.
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let key =
                text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map_or("", |(key, _)| key.trim());
            let key = if key.is_empty() { String::new() } else { format!(", {key}") };
            let mut message = error.message().trim_end().to_owned();
            if let (Some(start), Some(end)) = (message.find("string \""), message.rfind("\", expected")) {
                message.replace_range(start + "string".len()..=end, "");
            }
            Error::usage(format!("the configuration {} is wrong: line {line}{key}: {message}", path.display()))
        })
    }

    /// Says how many bytes runs may hold in memory, whatever the file says, of all sources.
    pub fn limit_memory(&mut self, bytes: usize) {
        self.defaults.memory_bytes = Some(bytes);
        self.sources.values_mut().for_each(|source| source.memory_bytes = None);
    }

    /// The settings of a source.
    ///
    /// # Errors
    /// `Usage`: a value that no table can have.
    pub fn settings(&self, source_id: &str) -> Result<Settings> {
        let own = self.sources.get(source_id);
        let wrong = |name: &str, why: String| Error::usage(format!("{name} of source {source_id} is wrong: {why}"));
        macro_rules! setting {
            ($name:ident) => {
                own.and_then(|own| own.$name.clone()).or_else(|| self.defaults.$name.clone())
            };
        }
        let partition_by = setting!(partition_by).map(|text| text.parse::<Partitioning>());
        let limits = Limits::default();
        // Of the source's own words, and of the defaults', the codec goes before the level.
        let codec = |config: &SourceConfig| config.codec.or(config.zstd_level.map(Codec::Zstd));
        let codec = own.and_then(codec).or_else(|| codec(&self.defaults)).unwrap_or(Codec::Zstd(3));
        if let Codec::Zstd(level) = codec
            && !(1..=22).contains(&level)
        {
            return Err(wrong("zstd_level", format!("{level} is not within 1 to 22")));
        }
        let record_bytes = setting!(max_record_bytes).unwrap_or(limits.record_bytes);
        if record_bytes > MAX_RECORD_BYTES {
            return Err(wrong("max_record_bytes", format!("{record_bytes} is more than {MAX_RECORD_BYTES}")));
        }
        let zero = [
            ("row_group_bytes", setting!(row_group_bytes) == Some(0)),
            ("row_group_rows", setting!(row_group_rows) == Some(0)),
            ("page_bytes", setting!(page_bytes) == Some(0)),
            ("page_rows", setting!(page_rows) == Some(0)),
            ("target_file_bytes", setting!(target_file_bytes) == Some(0)),
            ("max_columns", setting!(max_columns) == Some(0)),
            ("max_object_bytes", setting!(max_object_bytes) == Some(0)),
            ("max_record_bytes", setting!(max_record_bytes) == Some(0)),
            ("max_ratio", setting!(max_ratio) == Some(0)),
            ("max_depth", setting!(max_depth) == Some(0)),
            ("memory_bytes", setting!(memory_bytes) == Some(0)),
        ];
        if let Some((name, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
            return Err(wrong(name, "it must be more than 0".to_owned()));
        }
        let mut rule = Rule::default();
        let mut columns = BTreeMap::new();
        for (path, column) in self.defaults.columns.iter().chain(own.iter().flat_map(|own| &own.columns)) {
            set_rule(&mut rule, path, column).map_err(|why| wrong("columns", format!("{path}: {why}")))?;
            let said = ColumnOptions { dictionary: column.dictionary, encoding: column.encoding, bloom: column.bloom };
            let path = column_path(path).map_err(|why| wrong("columns", why))?;
            columns.insert(path, said);
        }
        columns.retain(|_, said| *said != ColumnOptions::default());
        let default = FileOptions::default();
        let files = FileOptions {
            codec,
            row_group_bytes: setting!(row_group_bytes).unwrap_or(default.row_group_bytes).max(1),
            row_group_rows: setting!(row_group_rows).unwrap_or(default.row_group_rows).max(1),
            page_bytes: setting!(page_bytes).unwrap_or(default.page_bytes).max(1),
            page_rows: setting!(page_rows).unwrap_or(default.page_rows).max(1),
            page_version: setting!(page_version).unwrap_or(default.page_version),
            dictionary: setting!(dictionary).unwrap_or(default.dictionary),
            encodings: setting!(encodings).unwrap_or(default.encodings),
            columns,
        };
        let provenance = setting!(provenance);
        if let Some(name) = provenance.as_ref().filter(|name| fold(name) != **name) {
            return Err(wrong("provenance", no_name(name)));
        }
        let on_overwrite = setting!(on_overwrite).unwrap_or_default();
        if on_overwrite == OnOverwrite::Replace && provenance.is_none() {
            let why = "to replace the rows of a raw object, they must tell that they are its: set provenance = \"raw_object\", or another name of a column";
            return Err(wrong("on_overwrite", why.to_owned()));
        }
        Ok(Settings {
            envelope_fields: setting!(envelope_fields).iter().flatten().map(|path| split_path(path)).collect(),
            contract: setting!(contract).unwrap_or_default(),
            rule,
            max_columns: setting!(max_columns).unwrap_or(MAX_COLUMNS).max(1),
            partition_by: partition_by.transpose().map_err(|why| wrong("partition_by", why))?,
            records_path: setting!(records).map(|path| split_path(&path)),
            files,
            target_file_bytes: setting!(target_file_bytes).unwrap_or(256 << 20).max(1),
            limits: Limits {
                object_bytes: setting!(max_object_bytes).unwrap_or(limits.object_bytes),
                ratio: setting!(max_ratio).unwrap_or(limits.ratio),
                record_bytes,
            },
            max_depth: setting!(max_depth).unwrap_or(128),
            memory_bytes: setting!(memory_bytes).unwrap_or(1 << 30),
            auto_optimize: setting!(auto_optimize).unwrap_or(true),
            sort_by: setting!(sort_by).unwrap_or_default(),
            dedup: setting!(dedup).map(|dedup| dedup.read().map_err(|why| wrong("dedup", why))).transpose()?,
            provenance,
            on_overwrite,
            manifest: setting!(manifest).unwrap_or(false),
            retention_hours: match setting!(retention) {
                Some(text) => retention_hours(&text).map_err(|why| wrong("retention", why))?,
                None => 7 * 24,
            },
        })
    }
}

/// Hours of a text like `7d` or `36h`.
///
/// # Errors
/// A message when it is no such text, or less than a day.
pub fn retention_hours(text: &str) -> std::result::Result<u32, String> {
    let hours = |number: &str, unit: u32| number.trim().parse::<u32>().ok()?.checked_mul(unit);
    let days = text.strip_suffix('d').and_then(|number| hours(number, 24));
    let Some(hours) = days.or_else(|| text.strip_suffix('h').and_then(|number| hours(number, 1))) else {
        return Err(format!("{text:?} is no time: expected days or hours, as 7d or 36h"));
    };
    if hours < MIN_RETENTION_HOURS {
        return Err(format!("{text} is less than a day: files of a writer at work could be deleted"));
    }
    Ok(hours)
}

fn split_path(path: &str) -> Vec<String> {
    path.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

/// Whether anything but how it is stored is said of a column.
fn says_anything(column: &ColumnConfig) -> bool {
    let is_stored = column.dictionary.is_some() || column.encoding.is_some() || column.bloom;
    column.drop || column.ty.is_some() || column.rename.is_some() || !is_stored
}

fn no_name(name: &str) -> String {
    format!("{name:?} is no name of a column: at most 255 of a-z, 0-9 and _")
}

/// Adds what is said of the column at `path`.
fn set_rule(rule: &mut Rule, path: &str, column: &ColumnConfig) -> std::result::Result<(), String> {
    if !says_anything(column) {
        // Only how it is stored: the values of maps, for one, are told from fields by the data alone.
        return path_steps(path).map(drop);
    }
    let at = rule.at_path(path)?;
    let is_key = !path.ends_with("[]") && !path.ends_with("{}");
    if column.drop && (column.ty.is_some() || column.rename.is_some()) {
        return Err("a column that is dropped has neither type nor name".to_owned());
    }
    if !is_key && (column.drop || column.rename.is_some()) {
        return Err("elements and values have no name and cannot be dropped".to_owned());
    }
    if let Some(name) = column.rename.as_ref().filter(|name| fold(name) != **name) {
        return Err(no_name(name));
    }
    (at.ty, at.drop) = (column.ty, column.drop);
    at.rename.clone_from(&column.rename);
    Ok(())
}
