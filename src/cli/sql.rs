//! `siltstone sql`

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::ValueEnum;

use super::{Roots, available_threads};
use crate::config::Config;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::query::{Dialect, Format, SqlSession, limit_rows, write_results};
use crate::store::Location;

#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {
    /// One SELECT statement over <source> (the table and what is new), lake.<source>, raw.<source> and quarantine.<source>.
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
    /// What statements mean: what they mean on Athena, or what the query engine makes of them.
    #[arg(long, value_enum, default_value_t = SqlDialect::Athena)]
    dialect: SqlDialect,
    /// Give the query up after this time: 90, 90s, 15m, 1h.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    timeout: Option<Duration>,
    /// End the result after this many rows.
    #[arg(long, value_name = "N")]
    max_rows: Option<u64>,
    /// Bytes that the query may hold in memory; what does not fit goes to temporary files where it can. Default 1 GiB.
    #[arg(long, value_name = "N")]
    memory_bytes: Option<usize>,
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

/// One query and how its result is written.
struct Request {
    sql: String,
    raw: Option<Location>,
    lake: Option<Location>,
    dialect: Dialect,
    format: Format,
    threads: usize,
    memory_bytes: usize,
    max_rows: Option<u64>,
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
    let request = Request {
        sql,
        raw,
        lake,
        dialect: args.dialect.into(),
        format: match args.format {
            ResultFormat::Table => Format::Table,
            ResultFormat::Csv => Format::Csv,
            ResultFormat::Json => Format::Json,
            ResultFormat::Ndjson => Format::Ndjson,
        },
        threads: args.threads.unwrap_or_else(available_threads),
        memory_bytes: args.memory_bytes.or(config.defaults.memory_bytes).unwrap_or(1 << 30),
        max_rows: args.max_rows,
    };
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    // From here on an interrupt is ours.
    let _ = futures::poll!(&mut interrupt);
    // A task of its own, for planning may block the one that waits here.
    let mut work = tokio::spawn(async move { answer(request, config).await });
    let given_up = async {
        match args.timeout {
            Some(timeout) => {
                tokio::time::sleep(timeout).await;
                format!("the query was given up after {} s", timeout.as_secs())
            }
            None => std::future::pending().await,
        }
    };
    let message = tokio::select! {
        done = &mut work => {
            return done.map_err(|error| Error::failed("the query failed", error))?.map(|()| ExitCode::SUCCESS);
        }
        message = given_up => message,
        Ok(()) = interrupt => "the query was interrupted".to_owned(),
    };
    work.abort();
    Err(Error::new(ErrorKind::Failed, message))
}

async fn answer(request: Request, config: Config) -> Result<()> {
    let Request { sql, raw, lake, dialect, format, threads, memory_bytes, max_rows } = request;
    let session = SqlSession::open_in(dialect, raw, lake, &config, threads, memory_bytes).await?;
    let mut stream = session.query(&sql).await?;
    let mut is_cut = None;
    if let Some(most) = max_rows {
        let (limited, flag) = limit_rows(stream, most);
        (stream, is_cut) = (limited, Some(flag));
    }
    let mut out = BufWriter::new(std::io::stdout());
    write_results(stream, format, &mut out).await?;
    out.flush().context(|| "cannot write the result".to_owned())?;
    if is_cut.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
        tracing::warn!("the result has more rows than --max-rows; the others are left out");
    }
    Ok(())
}
