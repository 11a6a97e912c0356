//! `siltstone sql`

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use super::shell::{Bounds, Shell, bounded, read_script};
use super::{Roots, available_threads};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::query::{Dialect, Format, SqlSession};

#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {
    /// One SELECT statement over <source> (the table and what is new), lake.<source>, raw.<source> and quarantine.<source>.
    /// Without it and -f: a shell on a terminal, else statements from stdin.
    #[arg(value_name = "SQL", conflicts_with = "file")]
    sql: Option<String>,
    /// Read statements from a file; each ends with a semicolon.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    roots: Roots,
    /// How results are written. Default: as the name of the file given by -o tells, else table.
    #[arg(long, value_enum)]
    format: Option<ResultFormat>,
    /// Write the result to a file, which takes its place when it is whole.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What statements mean: what they mean on Athena, or what the query engine makes of them.
    #[arg(long, value_enum, default_value_t = SqlDialect::Athena)]
    dialect: SqlDialect,
    /// Give a query up after this time: 90, 90s, 15m, 1h.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    timeout: Option<Duration>,
    /// End each result after this many rows.
    #[arg(long, value_name = "N")]
    max_rows: Option<u64>,
    /// Bytes that a query may hold in memory; what does not fit goes to temporary files where it can. Default 1 GiB.
    #[arg(long, value_name = "N")]
    memory_bytes: Option<usize>,
    /// Threads. Default: one for each core.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The shell neither reads nor writes its history.
    #[arg(long)]
    no_history: bool,
}

/// The formats by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ResultFormat {
    Table,
    Csv,
    Json,
    Ndjson,
    Parquet,
    Arrow,
}

impl From<ResultFormat> for Format {
    fn from(format: ResultFormat) -> Self {
        match format {
            ResultFormat::Table => Self::Table,
            ResultFormat::Csv => Self::Csv,
            ResultFormat::Json => Self::Json,
            ResultFormat::Ndjson => Self::Ndjson,
            ResultFormat::Parquet => Self::Parquet,
            ResultFormat::Arrow => Self::Arrow,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SqlDialect {
    Athena,
    Datafusion,
}

impl From<SqlDialect> for Dialect {
    fn from(dialect: SqlDialect) -> Self {
        match dialect {
            SqlDialect::Athena => Self::Athena,
            SqlDialect::Datafusion => Self::Datafusion,
        }
    }
}

/// Reads a number of seconds, minutes or hours.
pub(super) fn parse_time(text: &str) -> std::result::Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match &text[end..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("give seconds, or a number with s, m or h".to_owned()),
    };
    let number: u64 = text[..end].parse().map_err(|_| "give seconds, or a number with s, m or h".to_owned())?;
    Ok(Duration::from_secs(number.saturating_mul(factor)))
}

/// The format that is asked for, or else the one that the name of the file tells.
fn choose_format(asked: Option<ResultFormat>, file: Option<&Path>) -> Result<Format> {
    match (asked, file) {
        (Some(format), _) => Ok(format.into()),
        (None, None) => Ok(Format::Table),
        (None, Some(file)) => Format::of_file(file).ok_or_else(|| {
            Error::usage(format!("the name of {} tells no format: give --format as well", file.display()))
        }),
    }
}

/// Where statements come from.
enum Input {
    Statement(String),
    Script(String, PathBuf),
    Terminal,
    Stdin,
}

pub(super) async fn run(args: SqlArgs, config: Config) -> Result<ExitCode> {
    let input = match (args.sql, args.file) {
        (Some(sql), _) => Input::Statement(sql),
        (None, Some(path)) => Input::Script(read_script(&path)?, path),
        (None, None) if io::stdin().is_terminal() => Input::Terminal,
        (None, None) => Input::Stdin,
    };
    if matches!(input, Input::Terminal) && args.output.is_some() {
        return Err(Error::usage("-o takes the result of a statement: give one (in the shell: \\o FILE)"));
    }
    let format = choose_format(args.format, args.output.as_deref())?;
    let (raw, lake) = (args.roots.raw(&config)?, args.roots.lake(&config)?);
    if raw.is_none() && lake.is_none() {
        return Err(Error::usage("what is to be queried? give --lake URL, --raw URL or both"));
    }
    let dialect = args.dialect.into();
    let threads = args.threads.unwrap_or_else(available_threads);
    let memory_bytes = args.memory_bytes.or(config.defaults.memory_bytes).unwrap_or(1 << 30);
    let bounds = Bounds { timeout: args.timeout, max_rows: args.max_rows };
    let open = async move { SqlSession::open_in(dialect, raw, lake, &config, threads, memory_bytes).await };
    let session = bounded(args.timeout, open).await?;
    let mut shell = Shell::new(session, bounds, format, args.output);
    match input {
        Input::Statement(sql) => shell.answer(sql).await,
        Input::Script(text, path) => shell.run_script(&text, &path).await,
        Input::Terminal => shell.talk(!args.no_history).await,
        Input::Stdin => shell.run_stdin().await,
    }?;
    Ok(ExitCode::SUCCESS)
}
