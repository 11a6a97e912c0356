//! `siltstone sql`

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::{Roots, available_threads};
use crate::config::Config;
use crate::error::{Context as _, Error, Result};
use crate::query::{Format, SqlSession, write_results};

#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {
    /// One SELECT statement over lake.<source>, raw.<source> and quarantine.<source>.
    #[arg(value_name = "SQL", required_unless_present = "file", conflicts_with = "file")]
    sql: Option<String>,
    /// Read the statement from a file.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    roots: Roots,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t = ResultFormat::Table)]
    format: ResultFormat,
    /// Threads. Default: one for each core.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ResultFormat {
    Table,
    Csv,
    Json,
    Ndjson,
}

pub(super) async fn run(args: SqlArgs, config: Config) -> Result<ExitCode> {
    let sql = match (args.sql, &args.file) {
        (Some(sql), _) => sql,
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|error| Error::usage(format!("cannot read {}: {error}", path.display())))?,
        (None, None) => return Err(Error::usage("give a statement, or a file with -f")),
    };
    let (raw, lake) = (args.roots.raw(&config)?, args.roots.lake(&config)?);
    if raw.is_none() && lake.is_none() {
        return Err(Error::usage("what is to be queried? give --lake URL, --raw URL or both"));
    }
    let threads = args.threads.unwrap_or_else(available_threads);
    let memory_bytes = config.defaults.memory_bytes.unwrap_or(1 << 30);
    let session = SqlSession::open(raw, lake, &config, threads, memory_bytes).await?;
    let stream = session.query(&sql).await?;
    let format = match args.format {
        ResultFormat::Table => Format::Table,
        ResultFormat::Csv => Format::Csv,
        ResultFormat::Json => Format::Json,
        ResultFormat::Ndjson => Format::Ndjson,
    };
    let mut out = BufWriter::new(std::io::stdout());
    write_results(stream, format, &mut out).await?;
    out.flush().context(|| "cannot write the result".to_owned())?;
    Ok(ExitCode::SUCCESS)
}
