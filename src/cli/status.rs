//! `siltstone status`

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use serde::Serialize;

use super::{OutputFormat, Roots, open_table, tell_failures};
use crate::config::{Config, Settings};
use crate::error::{ErrorKind, Result, describe};
use crate::lake::{Diff, Found, Head, Hidden, Totals};
use crate::maintain::is_small;
use crate::partition::PartitionKey;
use crate::raw::{check_source_id, leads_out, list_objects, list_sources};
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
    /// Rows that were taken out as others had the same key.
    deduplicated: u64,
    /// Files with less than half of the bytes that they should have, in partitions that have more than one of them:
    /// `optimize` would merge them.
    small_files: usize,
    small_bytes: u64,
    last_run: Option<String>,
    last_run_at: Option<String>,
    /// The last runs that took something in, newest first.
    runs: Vec<RunStatus>,
    /// Raw objects that are not in the table yet; absent without a raw root.
    objects_new: Option<u64>,
    /// Their stored bytes.
    bytes_new: Option<u64>,
    objects_overwritten: Option<u64>,
}

/// What one run took in.
#[derive(Debug, Serialize)]
struct RunStatus {
    run_id: String,
    at: String,
    objects: u64,
    rows: u64,
    quarantined: u64,
}

/// So many runs are shown.
const RUNS: usize = 5;

pub(super) async fn run(args: StatusArgs, config: Config) -> Result<ExitCode> {
    let lake = args.roots.need_lake(&config)?;
    let raw = args.roots.raw(&config)?;
    let mut sources: BTreeSet<String> = args.sources.into_iter().collect();
    sources.iter().try_for_each(|source| check_source_id(source))?;
    let is_named = !sources.is_empty();
    if sources.is_empty() {
        if let Some(raw) = &raw {
            sources.extend(list_sources(raw).await?.0.into_iter().filter(|id| !leads_out(raw, id)));
        }
        match list_sources(&lake).await {
            Ok((found, _)) => sources.extend(found),
            Err(error) if error.kind() == ErrorKind::NotFound && raw.is_some() => {}
            Err(error) => return Err(error),
        }
    }
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for source in &sources {
        match status(source, &lake, raw.as_ref(), &config.settings(source)?).await {
            Ok(status) => all.push(status),
            // A folder that is no table yet: a first run that did not come to its end leaves one.
            Err(error) if error.kind() == ErrorKind::NotFound && !is_named => {
                tracing::warn!("{}", describe(&error));
            }
            Err(error) if is_named || error.kind() == ErrorKind::Usage => return Err(error),
            Err(error) => failed.push((source, Some(describe(&error)))),
        }
    }
    args.format.print("status", &all, || all.iter().map(render).collect())?;
    tell_failures(failed.iter().map(|(source, error)| (*source, error)));
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn status(source: &str, lake: &Location, raw: Option<&Location>, settings: &Settings) -> Result<SourceStatus> {
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
        status.deduplicated = head.totals.deduplicated;
        status.last_run = Some(head.run_id.clone());
        status.last_run_at = Some(head.written_at.clone());
        let mut small: BTreeMap<&PartitionKey, Vec<u64>> = BTreeMap::new();
        for file in files.iter().filter(|file| is_small(file, settings.target_file_bytes as u64)) {
            small.entry(&file.partition).or_default().push(file.size_bytes);
        }
        for sizes in small.into_values().filter(|sizes| sizes.len() > 1) {
            status.small_files += sizes.len();
            status.small_bytes += sizes.iter().sum::<u64>();
        }
        status.runs = last_runs(&Hidden::new(table.location()), head).await;
    }
    if let Some(raw) = raw {
        let hidden = Hidden::new(&lake.folder(source)?);
        let head = opened.as_ref().map(|(_, head, _)| head);
        let (new, bytes, overwritten) = match count(&raw.folder(source)?, &hidden, head).await {
            Err(error) if error.kind() == ErrorKind::NotFound && opened.is_some() => (0, 0, 0),
            counted => counted?,
        };
        status.objects_new = Some(new);
        status.bytes_new = Some(bytes);
        status.objects_overwritten = Some(overwritten);
    }
    Ok(status)
}

/// How many raw objects are new, their stored bytes, and how many changed after they were consumed.
async fn count(raw: &Location, hidden: &Hidden, head: Option<&Head>) -> Result<(u64, u64, u64)> {
    let (mut new, mut bytes, mut overwritten) = (0, 0, 0);
    let mut diff = Diff::open(hidden, head).await?;
    let mut listing = list_objects(raw)?;
    while let Some(batch) = listing.next().await? {
        for object in batch.iter() {
            match diff.look_up(object).await? {
                Found::New | Found::Filled => {
                    new += 1;
                    bytes += object.size_bytes;
                }
                Found::Overwritten => overwritten += 1,
                Found::Consumed => {}
            }
        }
    }
    Ok((new, bytes, overwritten))
}

/// What each of the last runs added, by the heads that are there still.
async fn last_runs(hidden: &Hidden, last: &Head) -> Vec<RunStatus> {
    let mut runs = Vec::new();
    let mut head = last.clone();
    while runs.len() < RUNS {
        let parent = match head.parent {
            Some(parent) => hidden.read_json::<Head>(&Hidden::head_path(parent)).await.ok(),
            None => None,
        };
        let before = match (&parent, head.parent) {
            (Some(parent), _) => parent.totals,
            (None, None) => Totals::default(),
            // A vacuum took the head before: what this one added is not known.
            (None, Some(_)) => return runs,
        };
        runs.push(RunStatus {
            run_id: head.run_id,
            at: head.written_at,
            objects: head.totals.objects.saturating_sub(before.objects),
            rows: head.totals.rows_out.saturating_sub(before.rows_out),
            quarantined: head.totals.quarantined.saturating_sub(before.quarantined),
        });
        match parent {
            Some(parent) => head = parent,
            None => return runs,
        }
    }
    runs
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
    if status.small_files > 0 {
        let (files, megabytes) = (status.small_files, status.small_bytes as f64 / 1e6);
        text.push_str(&format!("  {files} small files ({megabytes:.1} MB) could be merged\n"));
    }
    if status.deduplicated > 0 {
        text.push_str(&format!("  {} rows were taken out as others had the same key\n", status.deduplicated));
    }
    for run in &status.runs {
        let RunStatus { run_id, at, objects, rows, quarantined } = run;
        text.push_str(&format!("  {at} {run_id}: {rows} rows of {objects} objects, {quarantined} quarantined\n"));
    }
    if let Some(new) = status.objects_new {
        let megabytes = status.bytes_new.unwrap_or(0) as f64 / 1e6;
        text.push_str(&format!("  {new} raw objects ({megabytes:.1} MB) are new"));
        let overwritten = status.objects_overwritten.unwrap_or(0);
        if overwritten > 0 {
            text.push_str(&format!(", {overwritten} changed after they were consumed"));
        }
        text.push('\n');
    }
    text
}
