//! `siltstone status`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::{OutputFormat, Roots, open_table};
use crate::config::Config;
use crate::error::{Context as _, ErrorKind, Result};
use crate::lake::{Diff, Found, Head, Hidden};
use crate::raw::{check_source_id, list_objects, list_sources};
use crate::store::Location;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// The sources; default: all.
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    #[command(flatten)]
    roots: Roots,
    /// Text for people, or JSON.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// What is known of one source.
#[derive(Debug, Default, Serialize)]
struct SourceStatus {
    source_id: String,
    version: Option<u64>,
    partition_by: Option<String>,
    columns: usize,
    files: usize,
    bytes: u64,
    rows: u64,
    objects_consumed: u64,
    quarantined: u64,
    last_run: Option<String>,
    last_run_at: Option<String>,
    /// Raw objects that are not in the table yet; absent without a raw root.
    objects_new: Option<u64>,
    objects_overwritten: Option<u64>,
}

pub(super) async fn run(args: StatusArgs, config: Config) -> Result<ExitCode> {
    let lake = args.roots.need_lake(&config)?;
    let raw = args.roots.raw(&config)?;
    let mut sources: BTreeSet<String> = args.sources.into_iter().collect();
    sources.iter().try_for_each(|source| check_source_id(source))?;
    if sources.is_empty() {
        if let Some(raw) = &raw {
            sources.extend(list_sources(raw).await?.0);
        }
        match list_sources(&lake).await {
            Ok((found, _)) => sources.extend(found),
            Err(error) if error.kind() == ErrorKind::NotFound && raw.is_some() => {}
            Err(error) => return Err(error),
        }
    }
    let mut all = Vec::new();
    for source in &sources {
        all.push(status(source, &lake, raw.as_ref()).await?);
    }
    let text = match args.format {
        OutputFormat::Json => {
            let text = serde_json::to_string(&all).context(|| "cannot express the status".to_owned())?;
            format!("{text}\n")
        }
        OutputFormat::Text => all.iter().map(render).collect(),
    };
    std::io::stdout().lock().write_all(text.as_bytes()).context(|| "cannot write the status".to_owned())?;
    Ok(ExitCode::SUCCESS)
}

async fn status(source: &str, lake: &Location, raw: Option<&Location>) -> Result<SourceStatus> {
    let mut status = SourceStatus { source_id: source.to_owned(), ..SourceStatus::default() };
    let opened = match open_table(lake, source).await {
        Ok(opened) => Some(opened),
        Err(error) if error.kind() == ErrorKind::NotFound && raw.is_some() => None,
        Err(error) => return Err(error),
    };
    if let Some((table, head, registry)) = &opened {
        let files = table.files()?;
        status.version = table.version();
        status.partition_by = Some(registry.partitioning.to_string());
        status.columns = registry.fields.len();
        status.files = files.len();
        status.bytes = files.iter().map(|file| file.size_bytes).sum();
        status.rows = files.iter().map(|file| file.row_count).sum();
        status.objects_consumed = head.totals.objects;
        status.quarantined = head.totals.quarantined;
        status.last_run = Some(head.run_id.clone());
        status.last_run_at = Some(head.written_at.clone());
    }
    if let Some(raw) = raw {
        let hidden = Hidden::new(&lake.folder(source)?);
        let head = opened.as_ref().map(|(_, head, _)| head);
        let (new, overwritten) = match count(&raw.folder(source)?, &hidden, head).await {
            Err(error) if error.kind() == ErrorKind::NotFound && opened.is_some() => (0, 0),
            counted => counted?,
        };
        (status.objects_new, status.objects_overwritten) = (Some(new), Some(overwritten));
    }
    Ok(status)
}

/// How many raw objects are new, and how many changed after they were consumed.
async fn count(raw: &Location, hidden: &Hidden, head: Option<&Head>) -> Result<(u64, u64)> {
    let (mut new, mut overwritten) = (0, 0);
    let mut diff = Diff::open(hidden, head).await?;
    let mut listing = list_objects(raw)?;
    while let Some(batch) = listing.next().await? {
        for object in batch.iter() {
            match diff.look_up(object).await? {
                Found::New => new += 1,
                Found::Overwritten => overwritten += 1,
                Found::Consumed => {}
            }
        }
    }
    Ok((new, overwritten))
}

fn render(status: &SourceStatus) -> String {
    let mut text = match status.version {
        None => format!("{}: no table yet\n", status.source_id),
        Some(version) => format!(
            "{}: version {version}, {} rows in {} files ({:.1} MB), {} columns, partitioned by {}\n  {} raw objects consumed, {} records in quarantine, last run {} at {}\n",
            status.source_id,
            status.rows,
            status.files,
            status.bytes as f64 / 1e6,
            status.columns,
            status.partition_by.as_deref().unwrap_or("none"),
            status.objects_consumed,
            status.quarantined,
            status.last_run.as_deref().unwrap_or("-"),
            status.last_run_at.as_deref().unwrap_or("-"),
        ),
    };
    if let Some(new) = status.objects_new {
        text.push_str(&format!("  {new} raw objects are new"));
        let overwritten = status.objects_overwritten.unwrap_or(0);
        if overwritten > 0 {
            text.push_str(&format!(", {overwritten} changed after they were consumed"));
        }
        text.push('\n');
    }
    text
}
