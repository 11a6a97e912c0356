//! `siltstone quarantine replay`

use std::process::ExitCode;

use super::parse_reason;
use crate::cli::compact::{details, tell};
use crate::cli::progress::Bars;
use crate::cli::{OutputFormat, Roots, available_threads};
use crate::clock::SystemClock;
use crate::compact::{Request, SourceReport, Status, replay};
use crate::config::Config;
use crate::error::Result;
use crate::json::Reason;
use crate::maintain::keep;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReplayArgs {
    /// The source.
    #[arg(value_name = "SOURCE")]
    source: String,
    #[command(flatten)]
    roots: Roots,
    /// Only rejects with this reason, as type_mismatch; may be given several times.
    #[arg(long = "reason", value_name = "REASON", value_parser = parse_reason)]
    reasons: Vec<Reason>,
    /// How the summary is written to stdout.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
    /// Exit with 3 when any of the rejects stays in quarantine.
    #[arg(long)]
    fail_on_quarantine: bool,
    /// Workers. Default: one for each core.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(super) async fn run(args: ReplayArgs, config: Config) -> Result<ExitCode> {
    let request = Request {
        raw: args.roots.need_raw(&config)?,
        lake: args.roots.need_lake(&config)?,
        sources: vec![args.source],
        partition_by: None,
        config,
        threads: args.threads.unwrap_or_else(available_threads).max(1),
    };
    let mut report = replay(&request, &args.reasons, &SystemClock, &Bars::new()).await?;
    keep(&request, &mut report, &SystemClock).await;
    tell(&report, args.output, args.fail_on_quarantine, render)
}

fn render(source: &SourceReport) -> String {
    let id = &source.source_id;
    let mut text = match (source.status, source.objects) {
        (Status::Failed, _) => format!("{id}: failed, nothing was committed\n"),
        (Status::Success, 0) => format!("{id}: there is nothing to replay\n"),
        (Status::PartialSuccess, 0) => format!("{id}: nothing in quarantine became valid\n"),
        (_, objects) => format!(
            "{id}: {} records of {objects} objects were taken from quarantine, in {} files ({:.1} MB), version {}, {} ms\n",
            source.success_count,
            source.files,
            source.bytes_out as f64 / 1e6,
            source.version.unwrap_or(0),
            source.duration_ms
        ),
    };
    if source.error_count > 0 {
        text.push_str(&format!("  {} records stay in quarantine\n", source.error_count));
    }
    text.push_str(&details(source));
    text
}
