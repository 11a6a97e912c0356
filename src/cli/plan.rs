//! `siltstone plan`

use std::process::ExitCode;

use serde_json::json;

use super::compact::RequestArgs;
use super::progress::Bars;
use super::{OutputFormat, shorten, tell_failures};
use crate::clock::SystemClock;
use crate::compact::{SourcePlan, plan};
use crate::config::Config;
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// How the plan is written to stdout.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

pub(super) async fn run(args: PlanArgs, config: Config) -> Result<ExitCode> {
    let request = args.request.request(config)?;
    let plans = plan(&request, &SystemClock, &Bars::new()).await?;
    args.output.print("plan", &json!({ "sources": plans }), || plans.iter().map(render).collect())?;
    tell_failures(plans.iter().map(|plan| (&plan.source_id, &plan.error)));
    Ok(if plans.iter().any(|plan| plan.error.is_some()) { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn render(plan: &SourcePlan) -> String {
    let mut lines = match (&plan.error, plan.objects) {
        (Some(_), _) => vec![format!("{}: would fail", plan.source_id)],
        (None, 0) => vec![format!("{}: nothing new", plan.source_id)],
        (None, _) => vec![
            format!(
                "{}: read {} objects, {:.1} MB stored, {:.1} MB decompressed",
                plan.source_id,
                plan.objects,
                megabytes(plan.stored_bytes),
                megabytes(plan.bytes_in)
            ),
            format!("  add {} rows in {} files ({:.1} MB)", plan.rows, plan.files, megabytes(plan.bytes_out)),
        ],
    };
    if plan.quarantined > 0 {
        lines.push(format!("  quarantine {} records", plan.quarantined));
    }
    if plan.files_rewritten > 0 {
        let megabytes = megabytes(plan.bytes_rewritten);
        lines.push(format!("  write {} files ({megabytes:.1} MB) again for promoted columns", plan.files_rewritten));
    }
    lines.extend(shorten(&plan.notes, "notes").map(|note| format!("  {note}")));
    let changes: Vec<String> =
        plan.schema_changes.iter().map(|change| format!("{change}  ({})", change.reason)).collect();
    lines.extend(shorten(&changes, "changes of columns").map(|change| format!("  {change}")));
    let partitions: Vec<String> = plan
        .partitions
        .iter()
        .filter(|(path, _)| *path != ".")
        .map(|(path, rows)| format!("{path}: {rows} rows"))
        .collect();
    lines.extend(shorten(&partitions, "partitions").map(|partition| format!("  {partition}")));
    lines.join("\n") + "\n"
}
