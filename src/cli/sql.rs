//! `siltstone sql`

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use super::engine::EngineArgs;
use super::shell::{Shell, bounded, read_script};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::query::Format;

#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {
    /// One SELECT statement over <source> (the table and what is new), lake.<source>, raw.<source> and quarantine.<source>.
    /// Without it and -f: a shell on a terminal, else statements from stdin.
    #[arg(value_name = "SQL", conflicts_with = "file")]
    sql: Option<String>,
    /// Read statements from a file; each ends with a semicolon.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How results are written. Default: as the name of the file given by -o tells, else table.
    #[arg(long, value_enum)]
    format: Option<ResultFormat>,
    /// Write the result to a file, which takes its place when it is whole.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
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
    let bounds = args.engine.bounds();
    let session = bounded(bounds.timeout, args.engine.open(config)?).await?;
    let mut shell = Shell::new(session, bounds, format, args.output);
    match input {
        Input::Statement(sql) => shell.answer(sql).await,
        Input::Script(text, path) => shell.run_script(&text, &path).await,
        Input::Terminal => shell.talk(!args.no_history).await,
        Input::Stdin => shell.run_stdin().await,
    }?;
    Ok(ExitCode::SUCCESS)
}
