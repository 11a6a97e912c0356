//! What the commands that answer queries have in common.

use std::time::Duration;

use clap::ValueEnum;

use super::{Roots, available_threads, parse_bytes, parse_threads};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::query::{Bounds, Dialect, SqlSession};

/// What is queried, in which dialect, and what queries may take.
#[derive(Debug, clap::Args)]
pub(super) struct EngineArgs {
    #[command(flatten)]
    roots: Roots,
    /// What statements mean: what they mean on Athena, or what the query engine makes of them.
    #[arg(long, value_enum, default_value_t = SqlDialect::Athena)]
    dialect: SqlDialect,
    /// Give each query up after this time: 90, 90s, 15m, 1h.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    timeout: Option<Duration>,
    /// End each result after this many rows.
    #[arg(long, value_name = "N")]
    max_rows: Option<u64>,
    /// What all queries together may hold in memory: 512MB, 4GB; what does not fit goes to temporary files where it can.
    /// Default: `memory_bytes` of the configuration, or else 1 GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
    /// Threads. Default: one for each core.
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
}

impl EngineArgs {
    /// What each query may take.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { timeout: self.timeout, max_rows: self.max_rows }
    }

    /// What opens a session over the roots.
    ///
    /// # Errors
    /// When there is no root.
    pub(super) fn open(&self, config: Config) -> Result<impl Future<Output = Result<SqlSession>> + use<>> {
        let (raw, lake) = (self.roots.raw(&config)?, self.roots.lake(&config)?);
        if raw.is_none() && lake.is_none() {
            return Err(Error::usage("what is to be queried? give --lake URL, --raw URL or both"));
        }
        let memory_bytes = self.memory_limit.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let memory_bytes = memory_bytes.or(config.defaults.memory_bytes).unwrap_or(1 << 30);
        let threads = self.threads.unwrap_or_else(available_threads);
        let dialect = self.dialect.into();
        Ok(async move { SqlSession::open_in(dialect, raw, lake, &config, threads, memory_bytes).await })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SqlDialect {
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
fn parse_time(text: &str) -> std::result::Result<Duration, String> {
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
