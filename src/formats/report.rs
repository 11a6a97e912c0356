//! One value that holds every figure, and what is made of it: a table, CSV, a page. JSON is the value itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::advice::{Advice, Aim, Figures};
use super::apply::block;
use super::cell::{Cell, ColumnBytes, Spread};
use super::choice::Choice;
use super::costs::{Costs, Reading, costs, growth, query_usd, ratio, readings};
use super::queries::Query;
use crate::config::BenchConfig;
use crate::error::{Context as _, Result};

/// Every figure of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    /// What measured.
    pub siltstone: &'static str,
    /// Where: system, architecture, cores.
    pub machine: String,
    /// Whether the program was compiled for speed. Else times say nothing.
    pub optimized: bool,
    /// Whether all cells were measured.
    pub complete: bool,
    /// The source.
    pub source: String,
    /// Raw objects of the sample.
    pub objects: usize,
    /// Records of the sample.
    pub records: u64,
    /// Decompressed bytes of raw JSON in the sample.
    pub raw_bytes: u64,
    /// How often each cell was measured.
    pub repetitions: usize,
    /// Prices, and the volume that costs are reckoned for.
    pub bench: BenchConfig,
    /// The queries.
    pub queries: Vec<Query>,
    /// The cells.
    pub cells: Vec<CellReport>,
    /// What is advised for each aim.
    pub advice: Vec<Advice>,
    /// The same as blocks of the configuration.
    pub blocks: BTreeMap<String, String>,
}

/// The figures of a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellReport {
    /// The id.
    pub id: String,
    /// The setting in which it differs from the default.
    pub setting: String,
    /// Why there are no figures.
    pub error: Option<String>,
    /// No other cell is at least as good in size, write time and query time, and better in one.
    pub pareto: bool,
    /// Files.
    pub files: u64,
    /// A file of a larger table has about this many bytes.
    pub target_file_bytes: usize,
    /// Row groups.
    pub row_groups: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// Stored bytes for each record.
    pub bytes_per_record: f64,
    /// Stored bytes for each decompressed byte of raw JSON.
    pub ratio: f64,
    /// Elapsed time of writing.
    pub write_seconds: Option<Spread>,
    /// Decompressed megabytes of raw JSON for each second of writing, by the median.
    pub write_mb_s: Option<f64>,
    /// Time of all cores for writing.
    pub cpu_seconds: Option<Spread>,
    /// Peak memory of writing.
    pub peak_memory_bytes: Option<u64>,
    /// The queries, in their order; those that were not run have no figures.
    pub queries: Vec<QueryReport>,
    /// US dollars.
    pub costs: Option<Costs>,
    /// Who can read it.
    pub readings: Vec<Reading>,
    /// Columns of Parquet.
    pub columns: BTreeMap<String, ColumnBytes>,
}

/// The figures of a query over a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueryReport {
    /// The name.
    pub name: String,
    /// Why there are no figures.
    pub error: Option<String>,
    /// Elapsed time.
    pub seconds: Option<Spread>,
    /// Rows of the result.
    pub rows: Option<u64>,
    /// Bytes of data files that were asked for.
    pub bytes: Option<u64>,
    /// Requests for data files.
    pub requests: Option<u64>,
    /// Requests for the table's log.
    pub log_requests: Option<u64>,
    /// US dollars for the volume.
    pub usd: Option<f64>,
}

impl BenchReport {
    /// Puts the figures together.
    pub fn new(figures: Figures<'_>, repetitions: usize, complete: bool) -> Self {
        let sample = figures.sample;
        let names: Vec<String> = figures.queries.iter().map(|query| query.name.clone()).collect();
        let cells: Vec<CellReport> = figures.cells.iter().map(|cell| figures.cell_report(cell, &names)).collect();
        let advice: Vec<Advice> = Aim::ALL.into_iter().filter_map(|aim| figures.advise(aim)).collect();
        let measured = format!(
            "measured on {} records ({:.1} MB of raw JSON){}",
            sample.rows,
            sample.raw_bytes as f64 / 1e6,
            if cfg!(debug_assertions) { ", by a program that was not compiled for speed" } else { "" }
        );
        let blocks = advice.iter().map(|advice| (advice.aim.to_string(), block(&sample.source_id, advice, &measured)));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut report = Self {
            siltstone: env!("CARGO_PKG_VERSION"),
            machine: format!("{} {}, {cores} cores", std::env::consts::OS, std::env::consts::ARCH),
            optimized: !cfg!(debug_assertions),
            complete,
            source: sample.source_id.clone(),
            objects: sample.objects,
            records: sample.rows,
            raw_bytes: sample.raw_bytes,
            repetitions,
            bench: figures.config.clone(),
            queries: figures.queries.to_vec(),
            cells,
            blocks: blocks.collect(),
            advice,
        };
        report.mark_pareto();
        report
    }

    fn mark_pareto(&mut self) {
        let points: Vec<Option<[f64; 3]>> = self.cells.iter().map(CellReport::point).collect();
        for (index, point) in points.iter().enumerate() {
            let Some(point) = point else { continue };
            let beats = |other: &[f64; 3]| other != point && other.iter().zip(point).all(|(other, own)| other <= own);
            self.cells[index].pareto = !points.iter().flatten().any(beats);
        }
    }
}

impl CellReport {
    /// Size, write time and query time; `None` when one of them was not measured.
    fn point(&self) -> Option<[f64; 3]> {
        let write = self.write_seconds?.median;
        let seconds = self.queries.iter().map(|query| Some(query.seconds?.median)).sum::<Option<f64>>()?;
        Some([self.bytes as f64, write, seconds])
    }
}

impl Figures<'_> {
    fn cell_report(&self, cell: &Cell, names: &[String]) -> CellReport {
        let choice = cell.id.parse::<Choice>().unwrap_or_default();
        let stored = cell.stored.as_ref();
        let bytes = stored.map_or(0, |stored| stored.bytes);
        let grown = growth(cell, self.sample.raw_bytes, self.config);
        let query = |name: &String| {
            let run = cell.query(name);
            QueryReport {
                name: name.clone(),
                error: cell.failed_queries.get(name).cloned(),
                seconds: cell.query_seconds(name),
                rows: run.map(|run| run.rows),
                bytes: run.map(|run| run.bytes),
                requests: run.map(|run| run.requests),
                log_requests: run.map(|run| run.log_requests),
                usd: run.map(|run| query_usd(run.bytes, run.requests, grown, self.config)),
            }
        };
        let write_seconds = cell.write_seconds();
        CellReport {
            id: cell.id.clone(),
            setting: cell.setting.clone(),
            error: cell.error.clone(),
            pareto: false,
            files: stored.map_or(0, |stored| stored.files),
            target_file_bytes: choice.target_file_bytes,
            row_groups: stored.map_or(0, |stored| stored.row_groups),
            bytes,
            bytes_per_record: bytes as f64 / (self.sample.rows as f64).max(1.0),
            ratio: ratio(bytes, self.sample),
            write_seconds,
            write_mb_s: write_seconds.map(|spread| self.sample.raw_bytes as f64 / 1e6 / spread.median.max(1e-9)),
            cpu_seconds: cell.cpu_seconds(),
            peak_memory_bytes: cell.peak_memory_bytes,
            queries: names.iter().map(query).collect(),
            costs: costs(cell, names, self.sample.raw_bytes, self.config),
            readings: readings(&choice),
            columns: stored.map(|stored| stored.columns.clone()).unwrap_or_default(),
        }
    }
}

/// A table for a terminal: the pareto front is marked by `*`.
pub fn to_table(report: &BenchReport) -> String {
    let mut table = Table::new();
    let titles = [
        "",
        "setting",
        "B/record",
        "ratio",
        "write MB/s",
        "spread",
        "CPU s",
        "memory MB",
        "queries s",
        "read MB",
        "requests",
        "$/query",
        "$/month",
        "readers",
        "cell",
    ];
    table.load_preset(NOTHING).set_header(titles);
    for cell in &report.cells {
        let Some(write) = cell.write_seconds else {
            let why = cell.error.clone().unwrap_or_else(|| "not measured yet".to_owned());
            let mut row = vec![String::new(); 15];
            (row[1], row[14]) = (cell.setting.clone(), format!("{}: {why}", cell.id));
            table.add_row(row);
            continue;
        };
        let mb_s = |seconds: f64| report.raw_bytes as f64 / 1e6 / seconds.max(1e-9);
        let sum = |figure: &dyn Fn(&QueryReport) -> Option<f64>| cell.queries.iter().map(figure).sum::<Option<f64>>();
        let shown =
            |figure: Option<f64>, digits: usize| figure.map_or("-".to_owned(), |figure| format!("{figure:.digits$}"));
        table.add_row([
            if cell.pareto { "*".to_owned() } else { String::new() },
            cell.setting.clone(),
            format!("{:.1}", cell.bytes_per_record),
            format!("{:.4}", cell.ratio),
            shown(cell.write_mb_s, 1),
            format!("{:.1} to {:.1}", mb_s(write.max), mb_s(write.min)),
            shown(cell.cpu_seconds.map(|spread| spread.median), 2),
            shown(cell.peak_memory_bytes.map(|bytes| bytes as f64 / 1e6), 0),
            shown(sum(&|query| Some(query.seconds?.median)), 3),
            shown(sum(&|query| Some(query.bytes? as f64 / 1e6)), 2),
            shown(sum(&|query| Some(query.requests? as f64)), 0),
            shown(cell.costs.map(|costs| costs.query), 5),
            shown(cell.costs.map(|costs| costs.month), 2),
            readers(cell),
            cell.id.clone(),
        ]);
    }
    for column in 2..13 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!(
        "{}: {} records of {} objects, {:.1} MB of raw JSON; {} repetitions, {}\n\n{table}\n\n",
        report.source,
        report.records,
        report.objects,
        report.raw_bytes as f64 / 1e6,
        report.repetitions,
        report.machine
    );
    let _ = writeln!(
        text,
        "* no other cell is as good in size, write time and query time, and better in one. Queries: sums over {}.",
        report.queries.iter().map(|query| query.name.as_str()).collect::<Vec<_>>().join(", ")
    );
    let bench = &report.bench;
    let _ = writeln!(
        text,
        "$ for {} GB of raw JSON and {} queries a day, at the prices of {}.",
        bench.volume.raw_gb, bench.volume.queries_per_day, bench.prices.date
    );
    for (holds, note) in [
        (report.complete, "The run was stopped: some cells are not measured. The same command goes on."),
        (report.optimized, "This program was not compiled for speed: its times say little."),
    ] {
        if !holds {
            let _ = writeln!(text, "{note}");
        }
    }
    // Lines end with what they say.
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Engines by their first letters; small when it is not proven, none when they cannot.
fn readers(cell: &CellReport) -> String {
    let shown = cell.readings.iter().filter_map(|reading| match reading.reads {
        "yes" => Some(reading.engine.to_owned()),
        "unproven" => Some(format!("({})", reading.engine)),
        _ => None,
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// One line for each cell, one for each query over it, every figure in a column.
///
/// # Errors
/// Never: it is written to memory.
pub fn to_csv(report: &BenchReport) -> Result<String> {
    let mut text = String::new();
    let mut titles = vec![
        "id",
        "setting",
        "error",
        "pareto",
        "files",
        "row_groups",
        "bytes",
        "bytes_per_record",
        "ratio",
        "write_seconds_median",
        "write_seconds_min",
        "write_seconds_max",
        "write_mb_s",
        "cpu_seconds_median",
        "cpu_seconds_min",
        "cpu_seconds_max",
        "peak_memory_bytes",
        "usd_storage_month",
        "usd_ingest",
        "usd_query",
        "usd_month",
        "readers",
        "query",
        "query_error",
        "query_seconds_median",
        "query_seconds_min",
        "query_seconds_max",
        "query_rows",
        "query_bytes",
        "query_requests",
        "query_log_requests",
        "query_usd",
    ];
    let record = |text: &mut String, values: &mut dyn Iterator<Item = String>| {
        let _ = writeln!(text, "{}", values.map(|value| csv_text(&value)).collect::<Vec<_>>().join(","));
    };
    record(&mut text, &mut titles.drain(..).map(str::to_owned));
    let shown = |figure: Option<f64>| figure.map_or(String::new(), |figure| figure.to_string());
    let whole = |figure: Option<u64>| figure.map_or(String::new(), |figure| figure.to_string());
    let spread =
        |spread: Option<Spread>| [spread.map(|s| s.median), spread.map(|s| s.min), spread.map(|s| s.max)].map(shown);
    for cell in &report.cells {
        let mut of_cell = vec![cell.id.clone(), cell.setting.clone(), cell.error.clone().unwrap_or_default()];
        of_cell.push(cell.pareto.to_string());
        of_cell.extend([cell.files, cell.row_groups, cell.bytes].map(|figure| figure.to_string()));
        of_cell.extend([cell.bytes_per_record, cell.ratio].map(|figure| figure.to_string()));
        of_cell.extend(spread(cell.write_seconds));
        of_cell.push(shown(cell.write_mb_s));
        of_cell.extend(spread(cell.cpu_seconds));
        of_cell.push(whole(cell.peak_memory_bytes));
        let costs = cell.costs;
        of_cell.extend([costs.map(|c| c.storage_month), costs.map(|c| c.ingest)].map(shown));
        of_cell.extend([costs.map(|c| c.query), costs.map(|c| c.month)].map(shown));
        of_cell.push(readers(cell));
        for query in &cell.queries {
            let mut values = of_cell.clone();
            values.extend([query.name.clone(), query.error.clone().unwrap_or_default()]);
            values.extend(spread(query.seconds));
            values.extend([query.rows, query.bytes, query.requests, query.log_requests].map(whole));
            values.push(shown(query.usd));
            record(&mut text, &mut values.into_iter());
        }
    }
    Ok(text)
}

fn csv_text(value: &str) -> String {
    if value.contains([',', '"', '\n']) { format!("\"{}\"", value.replace('"', "\"\"")) } else { value.to_owned() }
}

/// A page that needs nothing beside itself.
///
/// # Errors
/// When the figures cannot be expressed.
pub fn to_html(report: &BenchReport) -> Result<String> {
    const PAGE: &str = include_str!("report.html");
    const CHARTS: &str = include_str!("../../assets/chart.js/chart.umd.min.js");
    let data = serde_json::to_string(report).context(|| "cannot express the report".to_owned())?;
    // A page's script ends where this stands, also within a text.
    let data = data.replace("</", "<\\/").replace("<!--", "<\\!--");
    let (head, rest) = PAGE.split_once("/*CHARTS*/").unwrap_or((PAGE, ""));
    let (middle, tail) = rest.split_once("/*DATA*/null").unwrap_or((rest, ""));
    Ok([head, CHARTS, middle, &data, tail].concat())
}
