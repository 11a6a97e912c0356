//! What follows from the figures: for an aim, the best value of each setting, put together and measured again.
//!
//! A setting is only changed where that gains more than [`MIN_GAIN`], and only to what all engines are known to read. Times
//! count only where all runs of one cell are faster than all of the other.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cell::{Cell, Spread};
use super::choice::{Choice, Format, word};
use super::costs::{costs, readings};
use super::matrix::Axis;
use super::queries::Query;
use super::sample::Sample;
use crate::config::{BenchConfig, ColumnEncoding, ColumnOptions, Dictionary};
use crate::schema::{Field, Type, fold};

/// A setting must make this share of the score better.
const MIN_GAIN: f64 = 0.02;
/// A column must become smaller by this share of itself, and by that share of the whole.
const MIN_COLUMN_GAIN: f64 = 0.05;
const MIN_COLUMN_SHARE: f64 = 0.002;
/// With fewer runs, times tell nothing.
const MIN_RUNS: usize = 3;
/// So many columns have settings of their own at most.
const MAX_COLUMNS: usize = 20;

/// What the files shall be best for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    /// Size, time to write, and time and cost of queries, all alike.
    Balanced,
    /// What queries cost.
    CheapestQuery,
    /// Size.
    Smallest,
}

impl Aim {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Balanced, Self::CheapestQuery, Self::Smallest];
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&word(self))
    }
}

/// What is advised for an aim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// The aim.
    pub aim: Aim,
    /// The cell.
    pub id: String,
    /// Settings of the source, each with its reason. None: the defaults are best.
    pub settings: Vec<Setting>,
    /// Settings of columns.
    pub columns: Vec<ColumnSetting>,
    /// What changes against the defaults, in percent of these.
    pub changes: Vec<Change>,
}

/// A setting of the source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// The value, as TOML.
    pub value: String,
    /// Why.
    pub reason: String,
}

/// The settings of a column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnSetting {
    /// Its path in the configuration.
    pub path: String,
    /// What is set.
    pub options: ColumnOptions,
    /// Why.
    pub reason: String,
}

/// How a figure changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What it is of.
    pub figure: String,
    /// The change in percent.
    pub percent: f64,
}

/// What advice is drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Figures<'a> {
    /// The records.
    pub sample: &'a Sample,
    /// The queries.
    pub queries: &'a [Query],
    /// What was measured.
    pub cells: &'a [Cell],
    /// Prices.
    pub config: &'a BenchConfig,
}

impl<'a> Figures<'a> {
    fn cell(&self, choice: &Choice) -> Option<&'a Cell> {
        let id = choice.id();
        self.cells.iter().find(|cell| cell.id == id)
    }

    fn names(&self) -> Vec<String> {
        self.queries.iter().map(|query| query.name.clone()).collect()
    }

    /// How good a cell is, relative to the default: less is better.
    pub(super) fn score(&self, aim: Aim, cell: &Cell) -> Option<f64> {
        let default = self.cell(&Choice::default())?;
        let size = |cell: &Cell| Some(cell.stored.as_ref()?.bytes as f64);
        let cost = |cell: &Cell| Some(costs(cell, &self.names(), self.sample.raw_bytes, self.config)?.query);
        let of = |figure: &dyn Fn(&Cell) -> Option<f64>| Some(ratio(figure(cell)?, figure(default)?));
        match aim {
            Aim::Smallest => of(&size),
            Aim::CheapestQuery => of(&cost),
            Aim::Balanced => {
                let write = time_ratio(cell.writes.len(), cell.write_seconds()?, default.write_seconds()?);
                let asked = self.queries.iter().map(|query| {
                    let runs = cell.queries.get(&query.name)?.len();
                    Some(time_ratio(runs, cell.query_seconds(&query.name)?, default.query_seconds(&query.name)?))
                });
                let asked = geometric_mean(asked.collect::<Option<Vec<f64>>>()?.into_iter());
                Some(geometric_mean([of(&size)?, write, asked, of(&cost)?].into_iter()))
            }
        }
    }

    /// The best value of each setting, put together; the default when there is none.
    pub fn compose(&self, aim: Aim) -> Choice {
        let mut composed = Choice::default();
        for axis in Axis::SETTINGS {
            let candidates = self.cells.iter().filter(|cell| cell.setting == axis.name() && cell.error.is_none());
            let scored = candidates.filter_map(|cell| {
                let choice: Choice = cell.id.parse().ok()?;
                let is_readable = readings(&choice).iter().all(|reading| reading.reads == "yes");
                is_readable.then_some((self.score(aim, cell)?, choice))
            });
            if let Some((score, choice)) = scored.min_by(|a, b| a.0.total_cmp(&b.0))
                && score <= 1.0 - MIN_GAIN
            {
                take(axis, &choice, &mut composed);
            }
        }
        // Columns follow from what all of them were measured to take.
        if composed.files.dictionary == Dictionary::Learned {
            for (path, said, _) in self.columns() {
                let column = composed.files.columns.entry(path).or_default();
                (column.encoding, column.dictionary) = (said.encoding, said.dictionary);
            }
        }
        composed
    }

    /// Columns that are smaller when they are not encoded as it is learned: how, and the share of their bytes that is saved.
    fn columns(&self) -> Vec<(String, ColumnOptions, f64)> {
        let Some(default) = self.cell(&Choice::default()).and_then(|cell| cell.stored.as_ref()) else {
            return Vec::new();
        };
        let tried: Vec<_> = ["zstd-3+dict=on", "zstd-3+dict=off+enc=plain", "zstd-3+dict=off+enc=delta"]
            .into_iter()
            .filter_map(|id| {
                let cell = self.cells.iter().find(|cell| cell.id == id)?;
                Some((id, cell.stored.as_ref()?))
            })
            .collect();
        let mut found = Vec::new();
        for leaf in leaves(&self.sample.fields) {
            let Some(before) = default.columns.get(&leaf.stored) else { continue };
            let best = tried
                .iter()
                .filter_map(|(id, stored)| Some((stored.columns.get(&leaf.stored)?.bytes, *id)))
                .min_by_key(|(bytes, _)| *bytes);
            let Some((bytes, id)) = best else { continue };
            let saved = before.bytes.saturating_sub(bytes) as f64;
            if saved < before.bytes as f64 * MIN_COLUMN_GAIN || saved < default.bytes as f64 * MIN_COLUMN_SHARE {
                continue;
            }
            let is_text = matches!(leaf.ty, Type::Text | Type::Json);
            let is_integer = matches!(leaf.ty, Type::Int64 | Type::Timestamp { .. } | Type::Date);
            let said = match id {
                "zstd-3+dict=on" => ColumnOptions { dictionary: Some(true), ..ColumnOptions::default() },
                "zstd-3+dict=off+enc=delta" if is_text || is_integer => {
                    let encoding =
                        if is_text { ColumnEncoding::DeltaLengthByteArray } else { ColumnEncoding::DeltaBinaryPacked };
                    ColumnOptions { encoding: Some(encoding), ..ColumnOptions::default() }
                }
                _ => ColumnOptions { encoding: Some(ColumnEncoding::Plain), ..ColumnOptions::default() },
            };
            found.push((saved, (leaf.said, said, saved / before.bytes as f64)));
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.into_iter().map(|(_, column)| column).take(MAX_COLUMNS).collect()
    }

    /// What is advised for an aim, once what was composed is measured; `None` when that, or the default, is not.
    pub fn advise(&self, aim: Aim) -> Option<Advice> {
        let default = self.cell(&Choice::default())?;
        let composed = self.compose(aim);
        // Together, settings may be worse than one of them alone, or than none.
        let candidates = self.cells.iter().filter(|cell| cell.error.is_none());
        let best = candidates
            .filter_map(|cell| {
                let choice: Choice = cell.id.parse().ok()?;
                let is_fit =
                    choice.format == Format::Parquet && readings(&choice).iter().all(|reading| reading.reads == "yes");
                is_fit.then_some((self.score(aim, cell)?, cell, choice))
            })
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let composed_score = self.cell(&composed).and_then(|cell| Some((self.score(aim, cell)?, cell)));
        let (score, cell, choice) = match (best?, composed_score) {
            // What is a little better for one reason more is not worth more settings, or other ones.
            ((best, ..), Some((score, cell))) if score <= best + MIN_GAIN => (score, cell, composed),
            (best, _) => best,
        };
        let (cell, choice) = if score > 1.0 - MIN_GAIN { (default, Choice::default()) } else { (cell, choice) };
        Some(Advice {
            aim,
            id: cell.id.clone(),
            settings: self.settings(aim, &choice),
            columns: self.column_settings(&choice),
            changes: self.changes(cell, default),
        })
    }

    fn settings(&self, aim: Aim, choice: &Choice) -> Vec<Setting> {
        let default = Choice::default();
        let (files, was) = (&choice.files, &default.files);
        let mut settings = Vec::new();
        let mut add = |axis: Axis, key: &'static str, value: String, differs: bool| {
            if differs {
                let mut alone = Choice::default();
                take(axis, choice, &mut alone);
                settings.push(Setting { key, value, reason: self.reason(aim, axis, &alone) });
            }
        };
        let text = |text: String| format!("{text:?}");
        let list = |names: &[String]| {
            format!("[{}]", names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "))
        };
        add(Axis::Codec, "codec", text(files.codec.to_string()), files.codec != was.codec);
        let group = files.row_group_bytes;
        add(Axis::RowGroup, "row_group_bytes", group.to_string(), group != was.row_group_bytes);
        let rows = files.row_group_rows;
        add(Axis::RowGroup, "row_group_rows", rows.to_string(), rows != was.row_group_rows);
        add(Axis::Page, "page_bytes", files.page_bytes.to_string(), files.page_bytes != was.page_bytes);
        add(Axis::Page, "page_rows", files.page_rows.to_string(), files.page_rows != was.page_rows);
        let version = u8::from(files.page_version).to_string();
        add(Axis::Page, "page_version", version, files.page_version != was.page_version);
        let dictionary_axis = if files.encodings == was.encodings { Axis::Dictionary } else { Axis::Encodings };
        add(dictionary_axis, "dictionary", text(word(files.dictionary)), files.dictionary != was.dictionary);
        add(Axis::Encodings, "encodings", text(word(files.encodings)), files.encodings != was.encodings);
        add(Axis::Sort, "sort_by", list(&choice.sort_by), choice.sort_by != default.sort_by);
        let by = &choice.partition_by;
        add(Axis::Partition, "partition_by", text(by.to_string()), *by != default.partition_by);
        let target = choice.target_file_bytes;
        add(Axis::FileSize, "target_file_bytes", target.to_string(), target != default.target_file_bytes);
        settings
    }

    /// What a setting alone did for the aim.
    fn reason(&self, aim: Aim, axis: Axis, alone: &Choice) -> String {
        let note = match axis {
            Axis::Sort => "; holds for merged files",
            Axis::Partition => "; holds for new tables",
            _ => "",
        };
        let cells = (self.cell(alone), self.cell(&Choice::default()));
        let (Some(cell), Some(default)) = cells else { return format!("part of the best found for {aim}{note}") };
        let figures = ["size", "write time", "query cost", "query time"];
        let changes = self.changes(cell, default);
        let told =
            changes.iter().filter(|change| figures.contains(&change.figure.as_str()) && change.percent.abs() >= 1.0);
        let told: Vec<String> = told.map(|change| format!("{} {:+.0} %", change.figure, change.percent)).collect();
        let told = if told.is_empty() { "less than 1 % of anything".to_owned() } else { told.join(", ") };
        format!("alone: {told}{note}")
    }

    fn column_settings(&self, choice: &Choice) -> Vec<ColumnSetting> {
        let learned = self.columns();
        let setting = |(path, options): (&String, &ColumnOptions)| {
            let saved = learned.iter().find(|(learned, _, _)| learned == path).map(|(_, _, saved)| *saved);
            let reason = match (saved, options.bloom) {
                (Some(saved), _) => format!("{:.0} % smaller than as it is learned", saved * 100.0),
                (None, true) => "point lookups skip row groups".to_owned(),
                (None, false) => "part of the best found".to_owned(),
            };
            ColumnSetting { path: path.clone(), options: *options, reason }
        };
        choice.files.columns.iter().map(setting).collect()
    }

    /// What changes from one cell to another.
    fn changes(&self, cell: &Cell, default: &Cell) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut add = |figure: &str, now: Option<f64>, before: Option<f64>| {
            if let (Some(now), Some(before)) = (now, before) {
                changes.push(Change { figure: figure.to_owned(), percent: (ratio(now, before) - 1.0) * 100.0 });
            }
        };
        let names = self.names();
        let size = |cell: &Cell| Some(cell.stored.as_ref()?.bytes as f64);
        add("size", size(cell), size(default));
        let write = |cell: &Cell| Some(cell.write_seconds()?.median);
        add("write time", write(cell), write(default));
        let cost = |cell: &Cell| Some(costs(cell, &names, self.sample.raw_bytes, self.config)?.query);
        add("query cost", cost(cell), cost(default));
        let times = |cell: &Cell| {
            let medians =
                names.iter().map(|name| Some(cell.query_seconds(name)?.median)).collect::<Option<Vec<_>>>()?;
            Some(geometric_mean(medians.into_iter()))
        };
        add("query time", times(cell), times(default));
        for name in &names {
            let bytes = |cell: &Cell| Some(cell.query(name)?.bytes as f64);
            add(&format!("bytes of {name:?}"), bytes(cell), bytes(default));
        }
        changes
    }
}

/// Takes one setting over from another choice.
fn take(axis: Axis, from: &Choice, to: &mut Choice) {
    match axis {
        Axis::None | Axis::Baseline => {}
        Axis::Codec => to.files.codec = from.files.codec,
        Axis::RowGroup => {
            (to.files.row_group_bytes, to.files.row_group_rows) =
                (from.files.row_group_bytes, from.files.row_group_rows);
        }
        Axis::Page => {
            (to.files.page_bytes, to.files.page_rows) = (from.files.page_bytes, from.files.page_rows);
            to.files.page_version = from.files.page_version;
        }
        Axis::Dictionary => to.files.dictionary = from.files.dictionary,
        Axis::Encodings => {
            (to.files.encodings, to.files.dictionary) = (from.files.encodings, from.files.dictionary);
        }
        Axis::Sort => to.sort_by.clone_from(&from.sort_by),
        Axis::Bloom => {
            for (path, said) in from.files.columns.iter().filter(|(_, said)| said.bloom) {
                to.files.columns.entry(path.clone()).or_default().bloom = said.bloom;
            }
        }
        Axis::Partition => to.partition_by.clone_from(&from.partition_by),
        Axis::FileSize => {
            to.target_file_bytes = from.target_file_bytes;
            to.files.row_group_bytes = to.files.row_group_bytes.min(from.files.row_group_bytes);
        }
    }
}

/// The ratio of two times; 1 when they lie within one another's spread, or too few runs tell.
fn time_ratio(runs: usize, now: Spread, before: Spread) -> f64 {
    let is_apart = now.min > before.max || before.min > now.max;
    if runs >= MIN_RUNS && is_apart { ratio(now.median, before.median) } else { 1.0 }
}

fn ratio(now: f64, before: f64) -> f64 {
    if before > 0.0 { now / before } else { 1.0 }
}

fn geometric_mean(figures: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = figures.len().max(1) as f64;
    (figures.map(|figure| figure.max(1e-9).ln()).sum::<f64>() / count).exp()
}

/// A scalar column.
struct Leaf<'a> {
    /// Its path in Parquet.
    stored: String,
    /// Its path in the configuration.
    said: String,
    ty: &'a Type,
}

fn leaves(fields: &[Field]) -> Vec<Leaf<'_>> {
    fn visit<'a>(ty: &'a Type, stored: String, said: String, found: &mut Vec<Leaf<'a>>) {
        match ty {
            Type::Struct(fields) => below(fields, &format!("{stored}."), &format!("{said}."), found),
            Type::List(element) => visit(element, format!("{stored}.list.element"), format!("{said}[]"), found),
            Type::Map(value) => visit(value, format!("{stored}.key_value.value"), format!("{said}{{}}"), found),
            ty => found.push(Leaf { stored, said, ty }),
        }
    }
    fn below<'a>(fields: &'a [Field], stored: &str, said: &str, found: &mut Vec<Leaf<'a>>) {
        for field in fields {
            let key = field.keys.first().map_or_else(|| field.name.clone(), |key| fold(key));
            visit(&field.ty, format!("{stored}{}", field.name), format!("{said}{key}"), found);
        }
    }
    let mut found = Vec::new();
    below(fields, "", "", &mut found);
    found
}
