//! `siltstone bench`

use std::cell::RefCell;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Roots, available_threads, parse_bytes, parse_threads};
use crate::config::Config;
use crate::error::{Context as _, Error, Result};
use crate::formats::{
    Aim, Axis, BenchReport, Choice, Figures, Matrix, Query, Sample, Search, Watch, apply, load_queries, peak_memory,
    to_csv, to_html, to_table, usual_queries,
};
use crate::lake::Hidden;
use crate::raw::check_source_id;
use crate::store::Location;

#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {
    /// A source below the raw root, or a folder or URL of raw objects.
    #[arg(value_name = "RAW-or-SOURCE")]
    of: String,
    /// How much raw JSON is measured, as it is stored: 64MB, 512MB, 2GB.
    #[arg(long, value_name = "SIZE", default_value = "512MB", value_parser = parse_bytes)]
    sample: u64,
    /// Statements over lake.<source> that end with `;`; `-- name: NAME` before one names it. Default: six usual kinds.
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// TOML that says which values of each setting are tried, see docs/formats.md.
    #[arg(long, value_name = "FILE")]
    matrix: Option<PathBuf>,
    /// Measure these cells alone, beside the default.
    #[arg(long = "cell", value_name = "ID", conflicts_with = "matrix")]
    cells: Vec<String>,
    /// The folder for reports, for what is kept between runs, and for files while they are measured.
    #[arg(long, value_name = "DIR", default_value = "bench-out")]
    out: PathBuf,
    /// How often each cell is measured.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: u16,
    /// What the files shall be best for.
    #[arg(long, value_enum, default_value_t = AimArg::Balanced)]
    aim: AimArg,
    /// Write the advice for the aim into the configuration; all else in it stays.
    #[arg(long)]
    apply: bool,
    /// Threads. Default: one for each core.
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
    #[command(flatten)]
    roots: Roots,
    /// Write one cell once, and print the peak memory of that.
    #[arg(long, value_name = "ID", hide = true)]
    peak_memory_of: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AimArg {
    /// Size, time to write, time and cost of queries, all alike.
    Balanced,
    /// What queries cost.
    CheapestQuery,
    /// Size.
    Smallest,
}

impl From<AimArg> for Aim {
    fn from(aim: AimArg) -> Self {
        match aim {
            AimArg::Balanced => Self::Balanced,
            AimArg::CheapestQuery => Self::CheapestQuery,
            AimArg::Smallest => Self::Smallest,
        }
    }
}

pub(super) async fn run(args: BenchArgs, config: Config, config_path: Option<&Path>) -> Result<ExitCode> {
    let (source_id, folder) = find_source(&args, &config)?;
    let settings = config.settings(&source_id)?;
    let threads = args.threads.unwrap_or_else(available_threads);
    let matrix = match &args.matrix {
        Some(path) => Matrix::load(path)?,
        None if args.cells.is_empty() => Matrix::default(),
        None => only(&args.cells),
    };
    let given_queries = args.queries.as_deref().map(load_queries).transpose()?;
    let sample = Sample::take(&source_id, &folder, &settings, args.sample, threads).await?;
    if let Some(id) = &args.peak_memory_of {
        let choice: Choice = id.parse().map_err(Error::usage)?;
        let bytes = tokio::task::block_in_place(|| peak_memory(&sample, &choice, threads))?;
        let text = bytes.map_or(String::new(), |bytes| bytes.to_string());
        writeln!(std::io::stdout(), "{text}").context(|| "cannot write the figure".to_owned())?;
        return Ok(ExitCode::SUCCESS);
    }
    let queries = given_queries.unwrap_or_else(|| usual_queries(&sample));
    let cells = matrix.cells(&sample)?;
    let out = Location::parse(&args.out.to_string_lossy())?;
    let out = Hidden::new(&out);
    let scratch = scratch_folder(&args.out)?;
    let scratch_location = Location::parse(&scratch.path().to_string_lossy())?;
    let watch = Watcher::new(&args, &folder, &source_id, config_path, threads);
    let repetitions = usize::from(args.repetitions);
    let mut search = Search::begin(&sample, &queries, repetitions, (&config, threads), &scratch_location, &out).await?;
    let measured = measure(&mut search, &cells, &queries, &config, &watch).await;
    watch.bar.finish_and_clear();
    // What was measured is told whatever ended the run.
    let figures = Figures { sample: &sample, queries: &queries, cells: &search.cells, config: &config.bench };
    let report = BenchReport::new(figures, repetitions, matches!(measured, Ok(true)));
    let written = write_reports(&report, &out, &args, config_path).await;
    measured?;
    written?;
    Ok(ExitCode::SUCCESS)
}

/// Measures both stages. Gives whether all of it was done.
async fn measure(
    search: &mut Search<'_>,
    cells: &[(Axis, Choice)],
    queries: &[Query],
    config: &Config,
    watch: &Watcher,
) -> Result<bool> {
    if !search.stage(cells, watch).await? {
        return Ok(false);
    }
    let figures = Figures { sample: search.sample, queries, cells: &search.cells, config: &config.bench };
    let mut composed: Vec<(Axis, Choice)> = Vec::new();
    for choice in Aim::ALL.map(|aim| figures.compose(aim)) {
        if composed.iter().all(|(_, other)| *other != choice) {
            composed.push((Axis::None, choice));
        }
    }
    search.stage(&composed, watch).await
}

/// A matrix of nothing but these cells.
fn only(cells: &[String]) -> Matrix {
    Matrix {
        codec: Some(Vec::new()),
        row_group_bytes: Some(Vec::new()),
        page_bytes: Some(Vec::new()),
        page_version: Some(Vec::new()),
        dictionary: Some(Vec::new()),
        encodings: Some(Vec::new()),
        sort_by: Some(Vec::new()),
        bloom: Some(Vec::new()),
        partition_by: Some(Vec::new()),
        target_file_bytes: Some(Vec::new()),
        baselines: Some(Vec::new()),
        cells: cells.to_vec(),
        ..Matrix::default()
    }
}

/// The source's name and the folder of its raw objects.
fn find_source(args: &BenchArgs, config: &Config) -> Result<(String, Location)> {
    let is_place = args.of.contains("://") || args.of.contains(['/', '\\']) || args.of.starts_with('.');
    if !is_place {
        check_source_id(&args.of)?;
        return Ok((args.of.clone(), args.roots.need_raw(config)?.folder(&args.of)?));
    }
    let folder = Location::parse(&args.of)?;
    let last = folder.url().path_segments().and_then(|names| names.rev().find(|name| !name.is_empty()));
    let name = last.and_then(|name| percent_encoding::percent_decode_str(name).decode_utf8().ok());
    let source_id = name.map_or_else(|| "source".to_owned(), std::borrow::Cow::into_owned);
    check_source_id(&source_id)?;
    Ok((source_id, folder))
}

fn scratch_folder(out: &Path) -> Result<tempfile::TempDir> {
    let describe = || format!("cannot write to {}", out.display());
    std::fs::create_dir_all(out).context(describe)?;
    // Hidden, and gone at the end: only the reports are of use.
    tempfile::Builder::new().prefix("files-").tempdir_in(out).context(describe)
}

async fn write_reports(report: &BenchReport, out: &Hidden, args: &BenchArgs, config_path: Option<&Path>) -> Result<()> {
    let json = serde_json::to_vec_pretty(report).context(|| "cannot express the report".to_owned())?;
    out.overwrite("report.json", Bytes::from(json)).await?;
    out.overwrite("report.csv", Bytes::from(to_csv(report)?)).await?;
    out.overwrite("report.html", Bytes::from(to_html(report)?)).await?;
    let mut text = to_table(report);
    let aim = Aim::from(args.aim);
    let block = report.blocks.get(&aim.to_string()).map_or("", String::as_str);
    text.push_str(&format!("\n{block}\nreports: {}\n", args.out.join("report.html").display()));
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).context(|| "cannot write the report".to_owned())?;
    let advice = report.advice.iter().find(|advice| advice.aim == aim).filter(|_| args.apply);
    let Some(advice) = advice else { return Ok(()) };
    if !report.complete {
        return Err(Error::usage("nothing is applied: the run was stopped before all cells were measured"));
    }
    let path = config_path.unwrap_or(Path::new("siltstone.toml"));
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::failed(format!("cannot read {}", path.display()), error)),
    };
    let after = apply(&before, &report.source, advice)?;
    let path = std::path::absolute(path).context(|| format!("bad path {}", path.display()))?;
    let (folder, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let folder = Hidden::new(&Location::parse(&folder.to_string_lossy())?);
    folder.overwrite(&name.to_string_lossy(), Bytes::from(after)).await?;
    writeln!(stdout, "applied: {}", path.display()).context(|| "cannot write the report".to_owned())
}

/// A progress bar with the time that is left, and the wish to stop.
struct Watcher {
    bar: ProgressBar,
    stopped: Arc<AtomicBool>,
    /// What measures the memory of a cell, but for its id.
    child: RefCell<Option<Command>>,
}

impl Watcher {
    fn new(args: &BenchArgs, folder: &Location, source_id: &str, config_path: Option<&Path>, threads: usize) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let template = "[{bar:30}] {pos} of {len}, {elapsed} gone, {eta} left, {msg}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        tokio::spawn(async move {
            while asked_to_stop().await {
                if stop.swap(true, Ordering::Relaxed) {
                    // Whoever asks twice does not want to wait.
                    std::process::exit(130);
                }
            }
        });
        let child = std::env::current_exe().ok().map(|program| {
            let mut command = Command::new(program);
            command.arg("bench").arg(&args.of).args(["--sample", &args.sample.to_string()]);
            command.args(["--threads", &threads.to_string()]);
            if let Some(raw) = &args.roots.raw {
                command.args(["--raw", raw]);
            }
            if let Some(path) = config_path {
                command.arg("--config").arg(path);
            }
            command
        });
        tracing::debug!(source = source_id, folder = %folder.url(), "measuring");
        Self { bar, stopped, child: RefCell::new(child) }
    }
}

impl Watch for Watcher {
    fn planned(&self, visits: u64) {
        self.bar.inc_length(visits);
    }

    fn visited(&self, id: &str) {
        self.bar.set_message(id.to_owned());
        self.bar.inc(1);
    }

    fn wants_to_stop(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn peak_memory(&self, id: &str) -> Option<u64> {
        let mut child = self.child.borrow_mut();
        let template = child.as_mut()?;
        let mut command = Command::new(template.get_program());
        command.args(template.get_args()).args(["--peak-memory-of", id]);
        self.bar.set_message(format!("memory of {id}"));
        let output = tokio::task::block_in_place(|| command.output()).ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    }
}

/// Waits for Ctrl-C or, where there is such, the signal by which services are stopped.
async fn asked_to_stop() -> bool {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            stopped = tokio::signal::ctrl_c() => stopped.is_ok(),
            stopped = terminate.recv() => stopped.is_some(),
        };
    }
    tokio::signal::ctrl_c().await.is_ok()
}
