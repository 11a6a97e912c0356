//! The command line: one file per command. Arguments become a validated request, the library is called, the answer is
//! rendered. stdout is data, stderr is diagnostics.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | success or partial success |
//! | 1 | failure; `verify` found something; `doctor` found a store unfit |
//! | 2 | wrong usage or configuration |
//! | 3 | something was quarantined, with `--fail-on-quarantine` |

mod bench;
mod compact;
mod doctor;
mod engine;
mod export;
mod manifest;
mod optimize;
mod plan;
mod progress;
mod quarantine;
mod schema;
#[cfg(feature = "postgres")]
mod serve;
mod shell;
mod sql;
mod status;
mod threads;
mod vacuum;
mod verify;

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::error::{Context as _, Error, ErrorKind, Result, describe};
use crate::json::format_timestamp;
use crate::lake::{Head, Hidden, Registry, Table};
use crate::query::STACK_BYTES;
use crate::raw::{check_source_id, list_sources};
use crate::store::Location;

/// Raw JSON in a data lake becomes partitioned, compressed Parquet, every record exactly once, with SQL over both sides.
#[derive(Debug, Parser)]
#[command(name = "siltstone", version, max_term_width = 120)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// How diagnostics are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
    /// The configuration; default: siltstone.toml in this folder, when it is there.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take new raw objects into the lake tables.
    Compact(compact::CompactArgs),
    /// Show what compact would do: what is read, added, changed and written again. Nothing is written.
    Plan(plan::PlanArgs),
    /// Merge small files of tables into large ones. The rows stay the same.
    Optimize(optimize::OptimizeArgs),
    /// Delete what no version of the tables within the retention needs.
    Vacuum(vacuum::VacuumArgs),
    /// Write manifests that name the data files, for Hive, Athena and Presto without Delta.
    Manifest(manifest::ManifestArgs),
    /// Answer SQL over lake.<source> (the table), raw.<source> (raw JSON now) and quarantine.<source> (what was rejected).
    Sql(sql::SqlArgs),
    /// Answer SQL over the protocol of PostgreSQL, for psql, drivers and BI tools. Nothing can be written.
    #[cfg(feature = "postgres")]
    Serve(serve::ServeArgs),
    /// Write the records of a table as NDJSON, with their original keys.
    Export(export::ExportArgs),
    /// Show the columns of a table.
    Schema(schema::SchemaArgs),
    /// Show what the tables hold and what they lack.
    Status(status::StatusArgs),
    /// Show what was rejected.
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
    /// Check that log, files, ledger and quarantine agree, and that every reader can read every file.
    Verify(verify::VerifyArgs),
    /// Measure ways to store a source's records (codec, encodings, order, partitions), and advise one.
    Bench(bench::BenchArgs),
    /// Prove that a store honours what tables rely on, also when several runs write at once.
    Doctor(doctor::DoctorArgs),
}

impl Command {
    /// Whether it carries out statements that others write.
    fn takes_statements(&self) -> bool {
        #[cfg(feature = "postgres")]
        if matches!(self, Self::Serve(_)) {
            return true;
        }
        matches!(self, Self::Sql(_) | Self::Bench(_))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object in each line.
    Json,
}

/// Text for people, or one JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl OutputFormat {
    /// Writes a document to stdout, as it is or as the text that `render` makes. `what` names it in errors.
    fn print(self, what: &str, document: &impl Serialize, render: impl FnOnce() -> String) -> Result<()> {
        let text = match self {
            Self::Text => render(),
            Self::Json => {
                let text = serde_json::to_string(document).context(|| format!("cannot express the {what}"))?;
                format!("{text}\n")
            }
        };
        io::stdout().lock().write_all(text.as_bytes()).context(|| format!("cannot write the {what}"))
    }
}

/// Tells on stderr what went wrong with sources: each with its error, if it has one.
fn tell_failures<'a>(sources: impl Iterator<Item = (&'a String, &'a Option<String>)>) {
    for (source_id, error) in sources {
        if let Some(error) = error {
            complain(&format!("{source_id}: {error}"));
        }
    }
}

/// Whether diagnostics are JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Writes what went wrong to stderr, as diagnostics are written.
fn complain(message: &str) {
    let line = if IS_JSON.load(Ordering::Relaxed) {
        let now = format_timestamp(SystemClock.now_micros(), false);
        let fields = serde_json::json!({ "message": message });
        serde_json::json!({ "timestamp": now, "level": "ERROR", "fields": fields, "target": "siltstone" }).to_string()
    } else {
        format!("siltstone: {message}")
    };
    let _ = writeln!(io::stderr(), "{line}");
}

/// Where the raw objects and the tables are.
#[derive(Debug, clap::Args)]
struct Roots {
    /// The raw root: a folder or URL with one folder per source.
    #[arg(long, value_name = "URL")]
    raw: Option<String>,
    /// The lake root: a folder or URL with one table per source.
    #[arg(long, value_name = "URL")]
    lake: Option<String>,
}

impl Roots {
    fn raw(&self, config: &Config) -> Result<Option<Location>> {
        self.raw.as_ref().or(config.raw.as_ref()).map(|text| Location::parse(text)).transpose()
    }

    fn lake(&self, config: &Config) -> Result<Option<Location>> {
        let lake = self.lake.as_ref().or(config.lake.as_ref()).map(|text| Location::parse(text)).transpose()?;
        if let (Some(lake), Some(raw)) = (&lake, self.raw(config)?)
            && lake.overlaps(&raw)
        {
            // Tables would be taken for raw objects, again and again.
            let message = format!("the raw root {} and the lake {} must not lie in each other", raw.url(), lake.url());
            return Err(Error::usage(message));
        }
        Ok(lake)
    }

    fn need_raw(&self, config: &Config) -> Result<Location> {
        self.raw(config)?
            .ok_or_else(|| Error::usage("where are the raw objects? give --raw URL, or raw in siltstone.toml"))
    }

    fn need_lake(&self, config: &Config) -> Result<Location> {
        self.lake(config)?.ok_or_else(|| Error::usage("where is the lake? give --lake URL, or lake in siltstone.toml"))
    }
}

/// Reads the command line. What is wrong with it is told and ends the process.
pub fn parse_args() -> Args {
    // A statement that begins with a comment is no option.
    let args = std::env::args_os().map(|arg| match arg.to_str() {
        Some(text) if is_comment(text) => format!("\n{text}").into(),
        _ => arg,
    });
    Args::parse_from(args)
}

/// Whether `-- text` is no `--option` and no `--option=value`.
fn is_comment(text: &str) -> bool {
    let name = text.strip_prefix("--").and_then(|text| text.split('=').next());
    name.is_some_and(|name| name.contains(char::is_whitespace))
}

/// What is logged unless `RUST_LOG` says otherwise. The Delta kernel logs errors that it also returns.
const DEFAULT_LOG: &str = "warn,buoyant_kernel=off";

/// Sends diagnostics to stderr; `RUST_LOG` says which (default: warnings).
pub fn init_logging(args: &Args) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_LOG.into());
    let is_plain = !io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(!is_plain);
    IS_JSON.store(args.log == LogFormat::Json, Ordering::Relaxed);
    match args.log {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Carries a command out.
pub fn execute(args: Args) -> ExitCode {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_keep_alive(threads::KEPT);
    if args.command.takes_statements() {
        builder.thread_stack_size(STACK_BYTES);
    }
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::failed("cannot start the I/O runtime", error)),
    };
    let config_path = args.config;
    let done = threads::take(&runtime).and_then(|()| load_config(config_path.as_deref())).and_then(|config| {
        runtime.block_on(async {
            match args.command {
                Command::Compact(command) => compact::run(command, config).await,
                Command::Plan(command) => plan::run(command, config).await,
                Command::Optimize(command) => optimize::run(command, config).await,
                Command::Vacuum(command) => vacuum::run(command, config).await,
                Command::Manifest(command) => manifest::run(command, config).await,
                Command::Sql(command) => sql::run(command, config).await,
                #[cfg(feature = "postgres")]
                Command::Serve(command) => serve::run(command, config).await,
                Command::Export(command) => export::run(command, config).await,
                Command::Schema(command) => schema::run(command, config).await,
                Command::Status(command) => status::run(command, config).await,
                Command::Quarantine(command) => quarantine::run(command, config).await,
                Command::Verify(command) => verify::run(command, config).await,
                Command::Bench(command) => bench::run(command, config, config_path.as_deref()).await,
                Command::Doctor(command) => doctor::run(command, config).await,
            }
        })
    });
    // Nothing is left to be waited for, but work on a query that was given up.
    runtime.shutdown_background();
    done.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &Error) -> ExitCode {
    if is_broken_pipe(error) {
        // The reader of our output has seen enough.
        return ExitCode::SUCCESS;
    }
    complain(&describe(error));
    ExitCode::from(if error.kind() == ErrorKind::Usage { 2 } else { 1 })
}

/// Whether whoever read our output has gone. (A connection to a store may break like a pipe, too.)
fn is_broken_pipe(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause.filter(|inner| !inner.is::<object_store::Error>()) {
        if inner.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = inner.source();
    }
    false
}

fn load_config(path: Option<&std::path::Path>) -> Result<Config> {
    let default = std::path::Path::new("siltstone.toml");
    match path {
        Some(path) => Config::load(path),
        None if default.exists() => Config::load(default),
        None => Ok(Config::default()),
    }
}

/// The sources that a command names, or else all folders of the lake.
async fn tables(lake: &Location, sources: Vec<String>) -> Result<Vec<String>> {
    sources.iter().try_for_each(|source| check_source_id(source))?;
    let tables = if sources.is_empty() { list_sources(lake).await?.0 } else { sources };
    if tables.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no table under {}", lake.url())));
    }
    Ok(tables)
}

/// A table that must be there, with its ledger's head and its registry.
async fn open_table(lake: &Location, source_id: &str) -> Result<(Table, Head, Registry)> {
    check_source_id(source_id)?;
    let table = Table::open(lake.folder(source_id)?).await?;
    let hidden = Hidden::new(table.location());
    let Some(id) = table.ledger_head().await? else {
        let message = format!("there is no table {source_id} under {}", lake.url());
        return Err(Error::new(ErrorKind::NotFound, message));
    };
    let head: Head = hidden.read_json(&Hidden::head_path(id)).await?;
    let registry = hidden.read_json(&head.registry).await?;
    Ok((table, head, registry))
}

/// The first of many lines, and how many more `what` there are.
fn shorten<'a>(lines: &'a [String], what: &'a str) -> impl Iterator<Item = String> + 'a {
    const SHOWN: usize = 20;
    let more = lines.len().saturating_sub(SHOWN);
    let rest = (more > 0).then(|| format!("and {more} more {what}"));
    lines.iter().take(SHOWN).cloned().chain(rest)
}

/// How many threads there are to use.
fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The number of threads to work with.
fn parse_threads(text: &str) -> std::result::Result<usize, String> {
    const MOST: usize = 1024;
    let threads = text.parse().ok().filter(|threads| (1..=MOST).contains(threads));
    threads.ok_or_else(|| format!("{text:?} is no number from 1 to {MOST}"))
}

/// Bytes of a text like 64MB or 1.5GB.
fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
    let wrong = || format!("{text:?} is no size: expected bytes, or KB, MB, GB, TB, KiB, MiB, GiB, TiB of them");
    let binary = |power: i32| 1024_f64.powi(power);
    let units = [
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("TB", 1e12),
        ("KiB", binary(1)),
        ("MiB", binary(2)),
        ("GiB", binary(3)),
        ("TiB", binary(4)),
        ("B", 1.0),
    ];
    let (number, unit) =
        units.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes))).unwrap_or((text, 1.0));
    let bytes = number.trim().parse::<f64>().map_err(|_| wrong())? * unit;
    if (1.0..=1e15).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_few() {
        assert_eq!((parse_threads("1"), parse_threads("1024")), (Ok(1), Ok(1024)));
        for text in ["", "0", "-1", "1025", "100000", "two"] {
            assert!(parse_threads(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, bytes) in [
            ("512MB", 512_000_000),
            ("1.5GB", 1_500_000_000),
            ("7", 7),
            ("4KiB", 4096),
            ("9 B", 9),
            ("2GiB", 2 << 30),
            ("1TB", 1_000_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "0", "-1MB", "ten", "NaN"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
