//! `siltstone compact`

use std::collections::HashSet;
use std::process::ExitCode;

use serde_json::json;

use super::progress::Bars;
use super::{OutputFormat, Roots, available_threads, parse_bytes, parse_threads, shorten, tell_failures};
use crate::clock::SystemClock;
use crate::compact::{Report, Request, SourceReport, Status, compact};
use crate::config::Config;
use crate::error::{Error, Result, describe};
use crate::maintain::keep;

/// What is to be compacted, and how.
#[derive(Debug, clap::Args)]
pub(super) struct RequestArgs {
    /// The sources; default: all folders of the raw root.
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    #[command(flatten)]
    roots: Roots,
    /// The partitions of new tables: day(c), month(c), year(c), hour(c), identity(c), ingested(), several with commas, or
    /// none. Default: by the time of events, chosen once.
    #[arg(long, value_name = "EXPR")]
    partition_by: Option<String>,
    /// Workers. Default: one for each core.
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
    /// What the run may hold in memory, all in all: 256MB, 2GB. The program itself takes about 100 MB of it. Default:
    /// `memory_bytes` of the configuration, or else 1 GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
}

impl RequestArgs {
    pub(super) fn request(self, mut config: Config) -> Result<Request> {
        if let Some(bytes) = self.memory_limit {
            config.limit_memory(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        let mut sources = self.sources;
        let mut named = HashSet::new();
        sources.retain(|source| named.insert(source.clone()));
        let partition_by = self.partition_by.map(|text| text.parse()).transpose();
        Ok(Request {
            raw: self.roots.need_raw(&config)?,
            lake: self.roots.need_lake(&config)?,
            sources,
            partition_by: partition_by.map_err(|why: String| Error::usage(format!("--partition-by: {why}")))?,
            config,
            threads: self.threads.unwrap_or_else(available_threads),
        })
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct CompactArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// How the summary is written to stdout.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
    /// Exit with 3 when anything was quarantined.
    #[arg(long)]
    fail_on_quarantine: bool,
}

pub(super) async fn run(args: CompactArgs, config: Config) -> Result<ExitCode> {
    let request = args.request.request(config)?;
    let bars = Bars::new();
    let mut report = match compact(&request, &SystemClock, &bars).await {
        Ok(report) => report,
        Err(error) => {
            if args.output == OutputFormat::Json {
                let failed =
                    json!({ "status": Status::Failed, "run_id": null, "sources": [], "error": describe(&error) });
                args.output.print("summary", &failed, String::new)?;
            }
            return Err(error);
        }
    };
    keep(&request, &mut report, &SystemClock).await;
    tell(&report, args.output, args.fail_on_quarantine, render_source)
}

/// Writes the summary of a run, each source as `render` has it, and gives the exit code.
pub(super) fn tell(
    report: &Report,
    output: OutputFormat,
    fail_on_quarantine: bool,
    render: impl Fn(&SourceReport) -> String,
) -> Result<ExitCode> {
    let quarantined = report.sources.iter().any(|source| source.error_count > 0);
    output.print("summary", report, || report.sources.iter().map(render).collect())?;
    tell_failures(report.sources.iter().map(|source| (&source.source_id, &source.error)));
    Ok(match report.status {
        Status::Failed => ExitCode::from(1),
        _ if quarantined && fail_on_quarantine => ExitCode::from(3),
        _ => ExitCode::SUCCESS,
    })
}

fn render_source(source: &SourceReport) -> String {
    let mut text = match (source.status, source.objects) {
        (Status::Failed, _) => format!("{}: failed, nothing was committed\n", source.source_id),
        (_, 0) => format!("{}: nothing new\n", source.source_id),
        _ => format!(
            "{}: {} records of {} objects ({:.1} MB) in {} files ({:.1} MB), version {}, {} ms\n",
            source.source_id,
            source.success_count,
            source.objects,
            source.bytes_in as f64 / 1e6,
            source.files,
            source.bytes_out as f64 / 1e6,
            source.version.unwrap_or(0),
            source.duration_ms
        ),
    };
    if source.error_count > 0 {
        text.push_str(&format!("  {} records are in quarantine\n", source.error_count));
    }
    text.push_str(&details(source));
    text
}

/// Notes and changes of columns.
pub(super) fn details(source: &SourceReport) -> String {
    let mut text = String::new();
    for note in &source.notes {
        text.push_str(&format!("  {note}\n"));
    }
    for change in shorten(&source.schema_changes, "changes of columns") {
        text.push_str(&format!("  {change}\n"));
    }
    text
}
