//! `siltstone vacuum`

use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::{OutputFormat, Roots, tables, tell_failures};
use crate::clock::SystemClock;
use crate::config::{Config, retention_hours};
use crate::error::{Error, ErrorKind, Result, describe};
use crate::maintain::{Vacuumed, vacuum};

#[derive(Debug, clap::Args)]
pub(super) struct VacuumArgs {
    /// The sources; default: all tables.
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    #[command(flatten)]
    roots: Roots,
    /// For how long versions stay readable, as 7d or 36h, at least a day. Default: 7d, or retention in siltstone.toml.
    #[arg(long, value_name = "TIME")]
    retention: Option<String>,
    /// Delete nothing; list what would be deleted.
    #[arg(long)]
    dry_run: bool,
    /// How the summary is written to stdout.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// What became of one source.
#[derive(Debug, Serialize)]
struct SourceVacuumed {
    source_id: String,
    #[serde(flatten)]
    vacuumed: Option<Vacuumed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn run(args: VacuumArgs, config: Config) -> Result<ExitCode> {
    let lake = args.roots.need_lake(&config)?;
    let asked = args.retention.as_deref().map(retention_hours).transpose();
    let asked = asked.map_err(|why| Error::usage(format!("--retention: {why}")))?;
    let is_named = !args.sources.is_empty();
    let mut all = Vec::new();
    for source_id in tables(&lake, args.sources).await? {
        let hours = asked.unwrap_or(config.settings(&source_id)?.retention_hours);
        let (vacuumed, error) = match vacuum(&lake.folder(&source_id)?, hours, args.dry_run, &SystemClock).await {
            Ok(vacuumed) => (Some(vacuumed), None),
            // A folder that is no table.
            Err(error) if error.kind() == ErrorKind::NotFound && !is_named => continue,
            Err(error) => (None, Some(describe(&error))),
        };
        all.push(SourceVacuumed { source_id, vacuumed, error });
    }
    args.output.print("summary", &json!({ "sources": all }), || all.iter().map(render).collect())?;
    tell_failures(all.iter().map(|source| (&source.source_id, &source.error)));
    Ok(if all.iter().any(|source| source.error.is_some()) { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn render(source: &SourceVacuumed) -> String {
    let Some(vacuumed) = &source.vacuumed else {
        return format!("{}: failed\n", source.source_id);
    };
    let mut text = format!(
        "{}: {} {} data files ({:.1} MB), {} objects of the hidden folder ({:.1} MB), {} unfinished uploads ({:.1} MB); {} unneeded ones are younger than {} hours\n",
        source.source_id,
        if vacuumed.dry_run { "would delete" } else { "deleted" },
        vacuumed.data_files,
        vacuumed.data_bytes as f64 / 1e6,
        vacuumed.hidden_objects,
        vacuumed.hidden_bytes as f64 / 1e6,
        vacuumed.uploads,
        vacuumed.upload_bytes as f64 / 1e6,
        vacuumed.kept,
        vacuumed.retention_hours,
    );
    if let Some(why) = &vacuumed.uploads_left {
        text.push_str(&format!(
            "  unfinished uploads were left alone: {why}; a lifecycle rule AbortIncompleteMultipartUpload ends them\n"
        ));
    }
    if vacuumed.dry_run {
        vacuumed.paths.iter().for_each(|path| text.push_str(&format!("  {path}\n")));
    }
    text
}
