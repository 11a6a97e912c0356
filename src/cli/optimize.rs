//! `siltstone optimize`

use std::process::ExitCode;

use super::{OutputFormat, Roots, available_threads, open_table, parse_threads, tables, tell_failures};
use crate::clock::SystemClock;
use crate::compact::{SourceOptimized, Status};
use crate::config::Config;
use crate::error::{ErrorKind, Result, describe};
use crate::maintain::{OptimizeRequest, optimize};

#[derive(Debug, clap::Args)]
pub(super) struct OptimizeArgs {
    /// The sources; default: all tables.
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    #[command(flatten)]
    roots: Roots,
    /// Workers. Default: one for each core.
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
    /// Take out rows of which others have the same key, as dedup in siltstone.toml says. Their number stays in the books.
    #[arg(long)]
    dedup: bool,
    /// How the summary is written to stdout.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

pub(super) async fn run(args: OptimizeArgs, config: Config) -> Result<ExitCode> {
    let lake = args.roots.need_lake(&config)?;
    let is_named = !args.sources.is_empty();
    let mut sources = tables(&lake, args.sources).await?;
    if !is_named {
        let mut found = Vec::new();
        for source in sources {
            match open_table(&lake, &source).await {
                // A folder that is no table yet.
                Err(error) if error.kind() == ErrorKind::NotFound => tracing::warn!("{}", describe(&error)),
                _ => found.push(source),
            }
        }
        sources = found;
    }
    let threads = args.threads.unwrap_or_else(available_threads);
    let done = optimize(&OptimizeRequest { lake, sources, config, threads, dedup: args.dedup }, &SystemClock).await?;
    args.output.print("summary", &done, || done.sources.iter().map(render).collect())?;
    tell_failures(done.sources.iter().map(|source| (&source.source_id, &source.error)));
    Ok(if done.status == Status::Failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn render(source: &SourceOptimized) -> String {
    let mut text = match (source.status, source.commits) {
        (Status::Failed, 0) => format!("{}: failed, nothing was committed\n", source.source_id),
        (_, 0) => format!("{}: nothing to merge, {} files\n", source.source_id, source.files_after),
        _ => format!(
            "{}: {} files ({:.1} MB) of {} partitions became {} ({:.1} MB), {} rows; {} files in all, version {}, {} ms\n",
            source.source_id,
            source.files_merged,
            source.bytes_read as f64 / 1e6,
            source.partitions,
            source.files_written,
            source.bytes_written as f64 / 1e6,
            source.rows,
            source.files_after,
            source.version.unwrap_or(0),
            source.duration_ms
        ),
    };
    if source.rows_deduplicated > 0 {
        text.push_str(&format!("  {} rows had the key of another one and were taken out\n", source.rows_deduplicated));
    }
    source.notes.iter().for_each(|note| text.push_str(&format!("  {note}\n")));
    text
}
