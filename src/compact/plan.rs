//! What a run would do, without doing it: the same decoding, splitting and encoding, into a store that drops what is written.
//! So every figure is exact; it takes about as long as the run.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::runtime::Handle;

use super::commit::Made;
use super::driver::{Driver, Progress, Request};
use super::report::SourceReport;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result, describe};
use crate::lake::{ColumnChange, check_new_columns};

/// What compacting one source would do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SourcePlan {
    /// The source.
    pub source_id: String,
    /// New raw objects.
    pub objects: u64,
    /// Their stored bytes: to be read.
    pub stored_bytes: u64,
    /// The same, decompressed.
    pub bytes_in: u64,
    /// Rows that would be added.
    pub rows: u64,
    /// Records (or objects) that would be quarantined.
    pub quarantined: u64,
    /// Files that would be added, without those that are written again.
    pub files: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// The partitions that would get rows, and how many; `.` where there are no partitions.
    pub partitions: BTreeMap<String, u64>,
    /// Columns that would be added or become wider.
    pub schema_changes: Vec<ColumnChange>,
    /// Files that hold columns that would become wider, and would be written again.
    pub files_rewritten: u64,
    /// Their bytes.
    pub bytes_rewritten: u64,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// Why the run would fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Tells what [`compact`](super::compact()) would do. Nothing is written.
///
/// # Errors
/// As those of [`compact`](super::compact()).
pub async fn plan(request: &Request, clock: &dyn Clock, progress: &dyn Progress) -> Result<Vec<SourcePlan>> {
    let (sources, mut notes) = request.sources().await?;
    let dry = Request { lake: request.lake.without_writing(), ..request.clone() };
    let driver = Driver::new(&dry, clock, progress)?;
    let mut plans: Vec<SourcePlan> = Vec::new();
    let mut refusal = None;
    for source_id in &sources {
        let mut plan = driver.dry_run(source_id).await.unwrap_or_else(|error| {
            let message = Some(describe(&error));
            if error.kind() == ErrorKind::Usage {
                refusal.get_or_insert(error);
            }
            SourcePlan { error: message, ..SourcePlan::default() }
        });
        plan.source_id.clone_from(source_id);
        plan.notes.append(&mut notes);
        plans.push(plan);
    }
    match refusal {
        // As of a run: it is the request that is wrong.
        Some(error) if plans.iter().all(|plan| plan.error.is_some()) => Err(error),
        _ => Ok(plans),
    }
}

impl Driver<'_> {
    async fn dry_run(&self, source_id: &str) -> Result<SourcePlan> {
        let settings = self.request.config.settings(source_id)?;
        let raw = self.request.raw.folder(source_id)?;
        let mut plan = self.plan(source_id, &raw, settings.on_overwrite).await?;
        let mut report = SourceReport::new(source_id);
        report.notes.clone_from(&plan.notes);
        let mut dry = SourcePlan {
            objects: plan.new.len() as u64,
            stored_bytes: plan.new.iter().map(|object| object.size_bytes).sum(),
            notes: plan.notes.clone(),
            ..SourcePlan::default()
        };
        if plan.new.is_empty() {
            return Ok(dry);
        }
        let context = self.slice_context(&plan, &raw, &settings, source_id, &Handle::current())?;
        let (made, affected) = tokio::task::block_in_place(|| {
            let setup = self.set_up(&plan, &context, &settings, &mut report)?;
            let tasks = setup.tasks(std::mem::take(&mut plan.new), &context);
            let made = self.make_slices(&plan, &setup, tasks)?;
            let affected = match self.promotion(&plan, &made.registry, &context, &setup) {
                Some(promotion) => promotion.affected_files(&plan.table)?,
                None => Vec::new(),
            };
            Ok::<_, Error>((made, affected))
        })?;
        self.progress.source_ends(source_id);
        made.check_books()?;
        // What the commit of a run would refuse.
        check_new_columns(&plan.table, plan.registry.as_ref(), &made.registry)?;
        plan.table.check_writable(!affected.is_empty() || plan.old.has_rows())?;
        report.notes.extend(plan.old.notes());
        made.fill(&plan, &mut report);
        dry.count(&made, &report);
        dry.schema_changes = made.registry.changes_since(plan.registry.as_ref()).to_vec();
        dry.files_rewritten = affected.len() as u64;
        dry.bytes_rewritten = affected.iter().map(|file| file.size_bytes).sum();
        Ok(dry)
    }
}

impl SourcePlan {
    fn count(&mut self, made: &Made, report: &SourceReport) {
        (self.bytes_in, self.rows, self.quarantined) = (report.bytes_in, report.success_count, report.error_count);
        (self.files, self.bytes_out) = (report.files, report.bytes_out);
        self.notes.clone_from(&report.notes);
        for file in made.results.iter().flat_map(|result| &result.files) {
            let folder = file.path.rsplit_once('/').map_or(".", |(folder, _)| folder);
            *self.partitions.entry(folder.to_owned()).or_default() += file.row_count;
        }
    }
}
