//! The driver: from a listing to one atomic commit for a source.
//!
//! ```text
//! list --diff with ledger--> new objects --cut--> slices --workers--> results
//!   --merge observations--> columns --(what a promotion invalidates: again)--> books --> ledger --> ONE commit
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rayon::ThreadPool;
use tokio::runtime::Handle;

use super::observe::observe;
use super::pool::run_all;
use super::probe::{Probed, probe};
use super::report::{Report, SourceReport, Status};
use super::rewrite::{Promotion, Rewritten};
use super::slice::{SliceContext, SliceOptions, SliceResult, SliceTask, run_slice};
use crate::clock::Clock;
use crate::config::{Config, Settings};
use crate::error::{Context as _, Error, ErrorKind, Result, describe};
use crate::json::{DecodeOptions, format_timestamp};
use crate::lake::{Change, Entry, Head, Hidden, Outcome, Registry, RunStamp, Table, Totals, append, diff};
use crate::partition::Partitioning;
use crate::raw::{Fetcher, RawObject, check_source_id, list_objects, list_sources};
use crate::schema::{Contract, Field, Observation, Rule, resolve_ruled};
use crate::store::Location;
use crate::write::{DataFile, ROW_GROUP_BYTES, ROW_GROUP_ROWS, WriteContext, is_part_of, writer_properties};

/// A commit that loses its race is planned again at most so many times.
const MAX_PLANS: usize = 8;
/// A slice has about this many stored bytes at most.
const MAX_SLICE_BYTES: u64 = 512 << 20;
/// With less memory than this for each, there are fewer workers.
const MIN_WORKER_BYTES: usize = 48 << 20;
/// What gathered rows and open writers of one worker may hold at most.
const MAX_WORKER_BYTES: usize = 96 << 20;

/// What to compact, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The raw root.
    pub raw: Location,
    /// The lake root.
    pub lake: Location,
    /// The sources; none: all there are.
    pub sources: Vec<String>,
    /// The partitions of new tables, over what the configuration says.
    pub partition_by: Option<Partitioning>,
    /// The configuration.
    pub config: Config,
    /// Workers, and threads that encode columns.
    pub threads: usize,
}

impl Request {
    /// The sources, and notes on what was passed over, once all that can be checked without reading is.
    pub(super) async fn sources(&self) -> Result<(Vec<String>, Vec<String>)> {
        let mut notes = Vec::new();
        let sources = if self.sources.is_empty() {
            let (sources, others) = list_sources(&self.raw).await?;
            let passed = |name| format!("the folder {name:?} is no source id and was passed over");
            notes.extend(others.into_iter().map(passed));
            if sources.is_empty() {
                return Err(Error::new(ErrorKind::NotFound, format!("there is no source under {}", self.raw.url())));
            }
            sources
        } else {
            self.sources.iter().try_for_each(|id| check_source_id(id))?;
            self.sources.clone()
        };
        sources.iter().try_for_each(|id| self.config.settings(id).map(drop))?;
        Ok((sources, notes))
    }
}

/// Hears how far a run is.
pub trait Progress: Send + Sync {
    /// A source is begun: so many new objects and stored bytes. `bytes_read` counts decompressed bytes from now on.
    fn source_begins(&self, source_id: &str, objects: u64, stored_bytes: u64, bytes_read: Arc<AtomicU64>);

    /// The source is done.
    fn source_ends(&self, source_id: &str);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn source_begins(&self, _: &str, _: u64, _: u64, _: Arc<AtomicU64>) {}
    fn source_ends(&self, _: &str) {}
}

/// Compacts sources, one after another. A source that fails does not hold up the others.
///
/// # Errors
/// When nothing could be begun: a wrong source id, no raw root, wrong settings, or a request that is wrong for every source.
/// What fails otherwise is in the report.
pub async fn compact(request: &Request, clock: &dyn Clock, progress: &dyn Progress) -> Result<Report> {
    let (sources, mut notes) = request.sources().await?;
    let driver = Driver::new(request, clock, progress)?;
    let run_id = driver.run_id.clone();
    let mut reports = Vec::new();
    let mut refusal = None;
    for source_id in sources {
        let began = clock.now_micros();
        let mut report = match driver.source(&source_id).await {
            Ok(report) => report,
            Err(error) => {
                let message = Some(describe(&error));
                if error.kind() == ErrorKind::Usage {
                    refusal.get_or_insert(error);
                }
                SourceReport { status: Status::Failed, error: message, ..SourceReport::new(&source_id) }
            }
        };
        report.duration_ms = ((clock.now_micros() - began).max(0) / 1000) as u64;
        report.notes.append(&mut notes);
        reports.push(report);
    }
    let report = Report::new(run_id, reports);
    match refusal {
        // The request could be carried out for no source: it is the request that is wrong.
        Some(error) if report.status == Status::Failed => Err(error),
        _ => Ok(report),
    }
}

/// What carries a request out.
pub(super) struct Driver<'a> {
    pub(super) request: &'a Request,
    clock: &'a dyn Clock,
    pub(super) progress: &'a dyn Progress,
    run_id: String,
    encoders: Arc<ThreadPool>,
}

/// What is to be done for a source, and on what it builds.
pub(super) struct Plan {
    pub(super) table: Table,
    hidden: Hidden,
    head: Option<Head>,
    pub(super) registry: Option<Registry>,
    pub(super) new: Vec<RawObject>,
    pub(super) notes: Vec<String>,
}

/// What a run begins with.
struct Begun {
    /// The registry that it builds on.
    registry: Registry,
    /// What a first look at the new objects gave.
    observed: Observation,
    decode: DecodeOptions,
    window_bytes: usize,
}

/// What the workers made of a plan.
pub(super) struct Made {
    pub(super) results: Vec<SliceResult>,
    pub(super) registry: Registry,
    rewritten: Rewritten,
    discarded: Vec<String>,
    /// Objects left for another run, and why.
    unreadable: Vec<(RawObject, String)>,
}

impl<'a> Driver<'a> {
    /// A driver with threads of its own.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub(super) fn new(request: &'a Request, clock: &'a dyn Clock, progress: &'a dyn Progress) -> Result<Self> {
        let encoders = rayon::ThreadPoolBuilder::new()
            .num_threads(request.threads.max(1))
            .thread_name(|n| format!("encode-{n}"))
            .build()
            .context(|| "cannot start threads".to_owned())?;
        Ok(Self { request, clock, progress, run_id: clock.new_id(), encoders: Arc::new(encoders) })
    }

    async fn source(&self, source_id: &str) -> Result<SourceReport> {
        let settings = self.request.config.settings(source_id)?;
        let raw = self.request.raw.folder(source_id)?;
        for _ in 0..MAX_PLANS {
            let plan = self.plan(source_id, &raw).await?;
            let mut report = SourceReport::new(source_id);
            report.version = plan.table.version();
            report.notes.clone_from(&plan.notes);
            if plan.new.is_empty() {
                return Ok(report);
            }
            if let Some(report) = self.carry_out(plan, &raw, &settings, report).await? {
                return Ok(report);
            }
        }
        let lost = format!("{source_id}: other writers were first {MAX_PLANS} times");
        Err(Error::new(ErrorKind::Conflict, lost))
    }

    /// Compares the listing of a source with its ledger.
    pub(super) async fn plan(&self, source_id: &str, raw: &Location) -> Result<Plan> {
        let table = Table::open(self.request.lake.folder(source_id)?).await?;
        let hidden = Hidden::new(table.location());
        let head: Option<Head> = match table.ledger_head().await? {
            Some(id) => Some(hidden.read_json(&Hidden::head_path(id)).await?),
            None => None,
        };
        let registry: Option<Registry> = match &head {
            Some(head) => Some(hidden.read_json(&head.registry).await?),
            None => None,
        };
        let listing = list_objects(raw).await?;
        let mut notes: Vec<String> =
            listing.skipped.iter().map(|(key, why)| format!("{key} was passed over: {why}")).collect();
        let found = diff(&hidden, head.as_ref(), listing.objects).await?;
        for object in &found.overwritten {
            notes.push(format!("{} changed after it was consumed; its old rows stay", object.key));
        }
        tracing::info!(source = source_id, new = found.new.len(), known = found.known, "listed");
        Ok(Plan { table, hidden, head, registry, new: found.new, notes })
    }

    /// Reads, writes and commits; `None` when another writer was first.
    async fn carry_out(
        &self,
        mut plan: Plan,
        raw: &Location,
        settings: &Settings,
        mut report: SourceReport,
    ) -> Result<Option<SourceReport>> {
        let source_id = report.source_id.clone();
        let context = self.slice_context(&plan, raw, settings, &source_id, &Handle::current())?;
        // The workers block; they must not do so on the runtime's own threads.
        let made = tokio::task::block_in_place(|| self.make(&plan, &context, settings, &mut report));
        self.progress.source_ends(&source_id);
        let made = made?;
        let outcome = self.commit(&mut plan, &made, &mut report).await;
        match outcome {
            Ok(Outcome::Committed(version)) => {
                plan.hidden.discard(&made.discarded).await;
                report.version = Some(version);
                Ok(Some(report))
            }
            Ok(Outcome::Conflict) => {
                plan.hidden.discard(&made.all_files()).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What the workers need, once a source is begun.
    pub(super) fn slice_context(
        &self,
        plan: &Plan,
        raw: &Location,
        settings: &Settings,
        source_id: &str,
        runtime: &Handle,
    ) -> Result<SliceContext> {
        let write = WriteContext {
            store: Arc::clone(plan.table.location().store()),
            table: plan.table.location().prefix()?,
            runtime: runtime.clone(),
            encoders: Arc::clone(&self.encoders),
            properties: writer_properties(settings.zstd_level)
                .map_err(|error| Error::usage(format!("zstd_level of source {source_id}: {error}")))?,
            row_group_rows: ROW_GROUP_ROWS,
            row_group_bytes: ROW_GROUP_BYTES,
        };
        let bytes_read = Arc::new(AtomicU64::new(0));
        let stored_bytes = plan.new.iter().map(|object| object.size_bytes).sum();
        self.progress.source_begins(source_id, plan.new.len() as u64, stored_bytes, Arc::clone(&bytes_read));
        let fetcher = Fetcher::new(raw, runtime)?;
        Ok(SliceContext { fetcher, write, hidden: plan.hidden.clone(), progress: bytes_read })
    }

    /// Runs the workers, then writes files of earlier runs again whose columns became wider.
    fn make(
        &self,
        plan: &Plan,
        context: &SliceContext,
        settings: &Settings,
        report: &mut SourceReport,
    ) -> Result<Made> {
        let (mut made, options, workers) = self.make_slices(plan, context, settings, report)?;
        if let (Some(promotion), Some(head)) =
            (self.promotion(plan, &made.registry, context, &options, workers), &plan.head)
        {
            made.rewritten = promotion.run(&plan.table, &head.segments)?;
        }
        Ok(made)
    }

    /// Runs the workers until their results fit one set of columns. Tells how they ran, too.
    pub(super) fn make_slices(
        &self,
        plan: &Plan,
        context: &SliceContext,
        settings: &Settings,
        report: &mut SourceReport,
    ) -> Result<(Made, SliceOptions, usize)> {
        let Begun { registry: before, observed: probed, decode, window_bytes } =
            self.begin_registry(plan, context, settings, report)?;
        let at_micros = self.clock.now_micros();
        let workers = self.request.threads.min(settings.memory_bytes / 2 / MIN_WORKER_BYTES).max(1);
        let options = SliceOptions {
            decode: decode.clone(),
            window_bytes,
            limits: settings.limits.clone(),
            partitioning: before.partitioning.clone(),
            target_file_bytes: settings.target_file_bytes,
            memory_bytes: (settings.memory_bytes / 2 / workers).min(MAX_WORKER_BYTES),
            at_micros,
        };
        let mut known = before.observed.clone();
        if decode.contract == Contract::Evolve {
            known.merge(&probed);
        }
        let task = |objects: Vec<RawObject>, known: &Observation, fields: Option<Vec<Field>>| SliceTask {
            run_id: self.run_id.clone(),
            objects,
            known: known.clone(),
            fields,
            options: options.clone(),
        };
        let slices = cut(&plan.new, workers);
        let tasks = slices.into_iter().map(|objects| task(objects, &known, None)).collect();
        let mut results = run_all(tasks, workers, |task| run_slice(&task, context))?;
        let mut observed = Observation::default();
        results.iter().for_each(|result| observed.merge(&result.observed));
        let run = RunStamp {
            run_id: self.run_id.clone(),
            at: format_timestamp(at_micros, false),
            table_version: plan.table.version().map_or(0, |version| version + 1),
        };
        let registry = before.advance(&observed, &decode, &run);
        let mut unreadable: Vec<_> =
            results.iter_mut().flat_map(|result| std::mem::take(&mut result.unreadable)).collect();
        // What was written under other columns than the table will have is done again, now that they are settled.
        let mut discarded = Vec::new();
        let mut again = Vec::new();
        results.retain(|result| {
            let fits = result.files.iter().all(|file| is_part_of(&file.fields, &registry.fields));
            if !fits {
                discarded.extend(result.files.iter().map(|file| file.path.clone()).chain(result.quarantine.clone()));
                let objects = result.entries.iter().map(|entry| entry.object.clone()).collect();
                let known = before.known_again(&registry, decode.contract);
                again.push(task(objects, &known, Some(registry.fields.clone())));
            }
            fits
        });
        tracing::info!(slices = results.len() + again.len(), again = again.len(), "slices are done");
        results.extend(run_all(again, workers, |task| run_slice(&task, context))?);
        unreadable.extend(results.iter_mut().flat_map(|result| std::mem::take(&mut result.unreadable)));
        let made = Made { results, registry, rewritten: Rewritten::default(), discarded, unreadable };
        Ok((made, options, workers))
    }

    /// The registry that this run builds on, and what a first look at the new objects gave.
    fn begin_registry(
        &self,
        plan: &Plan,
        context: &SliceContext,
        settings: &Settings,
        report: &mut SourceReport,
    ) -> Result<Begun> {
        let pinned = plan.registry.as_ref().and_then(Registry::pinned_records_path);
        let wanted_path = settings.records_path.as_deref().or(pinned);
        let mut decode = DecodeOptions {
            max_depth: settings.max_depth,
            records_path: Vec::new(),
            rule: settings.rule.clone(),
            envelope_fields: settings.envelope_fields.clone(),
            max_columns: settings.max_columns,
            // A table without columns has nothing to keep yet.
            contract: if plan.registry.as_ref().is_some_and(|registry| !registry.fields.is_empty()) {
                settings.contract
            } else {
                Contract::Evolve
            },
        };
        if let Some(registry) = &plan.registry {
            decode.rule.inherit_types(&registry.rule);
            registry.check_rule(&decode.rule).map_err(|why| Error::usage(format!("{}: {why}", report.source_id)))?;
        }
        let probed = probe(&context.fetcher, &plan.new, wanted_path, &decode, &settings.limits)?;
        decode.records_path.clone_from(&probed.records_path);
        let wanted = self.request.partition_by.as_ref().or(settings.partition_by.as_ref());
        if let Some(registry) = &plan.registry {
            if let Some(wanted) = wanted.filter(|wanted| **wanted != registry.partitioning) {
                return Err(Error::usage(format!(
                    "the table of {} is partitioned by {} and cannot be partitioned by {wanted}",
                    report.source_id, registry.partitioning
                )));
            }
            let mut registry = registry.clone();
            registry.records_path = probed.records_path;
            return Ok(Begun { registry, observed: probed.observed, decode, window_bytes: probed.window_bytes });
        }
        let Probed { records_path, observed, window_bytes, partitioning: chosen } = probed;
        let (partitioning, reason) = match wanted {
            Some(wanted) => {
                let check = |observed: &Observation| {
                    let fields = resolve_ruled(observed, &[], &decode.rule);
                    let mut exprs = if fields.is_empty() { [].iter() } else { wanted.0.iter() };
                    exprs.try_for_each(|expr| expr.check(&fields)).map_err(Error::usage)
                };
                if check(&observed).is_err() {
                    // The first look may have missed the column.
                    let threads = self.request.threads;
                    check(&observe(&context.fetcher, &plan.new, &decode, &settings.limits, threads)?)?;
                }
                (wanted.clone(), "asked for".to_owned())
            }
            None => {
                report.notes.push(format!("partitioned by {}: {}", chosen.0, chosen.1));
                chosen
            }
        };
        if !records_path.is_empty() && settings.records_path.is_none() {
            report.notes.push(format!("the records lie at {}", records_path.join(".")));
        }
        let registry = Registry {
            history: Vec::new(),
            partitioning,
            partitioning_reason: reason,
            records_path,
            rule: Rule::default(),
            observed: Observation::default(),
            fields: Vec::new(),
        };
        Ok(Begun { registry, observed, decode, window_bytes })
    }

    /// The change of the columns of a table that is there.
    pub(super) fn promotion<'p>(
        &'p self,
        plan: &'p Plan,
        after: &'p Registry,
        context: &'p SliceContext,
        options: &'p SliceOptions,
        workers: usize,
    ) -> Option<Promotion<'p>> {
        let before = plan.registry.as_ref()?;
        Some(Promotion { before, after, context, options, workers, clock: self.clock })
    }

    async fn commit(&self, plan: &mut Plan, made: &Made, report: &mut SourceReport) -> Result<Outcome> {
        made.check_books()?;
        made.fill(plan, report);
        let entries: Vec<Entry> = made.results.iter().flat_map(|result| result.entries.iter().cloned()).collect();
        if let ([], [(object, why), ..]) = (&entries[..], &made.unreadable[..]) {
            let count = made.unreadable.len();
            let message = format!("none of {count} raw objects could be read; {}: {why}", object.key);
            return Err(Error::new(ErrorKind::Failed, message));
        }
        let parent = plan.head.as_ref();
        let id = Head::next_id(parent.map(|head| head.id), self.clock.random_bits());
        let at_micros = self.clock.now_micros();
        let mut totals = parent.map_or_else(Totals::default, |head| head.totals);
        entries.iter().for_each(|entry| totals.add(entry));
        let registry_path = Hidden::registry_path(id);
        plan.hidden.create_json(&registry_path, &made.registry).await?;
        let segments = append(&plan.hidden, parent, id, entries).await?;
        let mut quarantine = parent.map_or_else(Vec::new, |head| head.quarantine.clone());
        quarantine.extend(made.results.iter().filter_map(|result| result.quarantine.clone()));
        let head = Head {
            id,
            parent: parent.map(|head| head.id),
            run_id: self.run_id.clone(),
            written_at: format_timestamp(at_micros, false),
            segments,
            registry: registry_path,
            quarantine,
            totals,
        };
        plan.hidden.create_json(&Hidden::head_path(id), &head).await?;
        // Their keys count too: they stand in the table's metadata.
        let before = plan.registry.as_ref().map(|registry| &registry.fields);
        let mut add: Vec<DataFile> = made.results.iter().flat_map(|result| result.files.iter().cloned()).collect();
        let mut remove = Vec::new();
        for (old, new) in &made.rewritten.files {
            remove.push(old.clone());
            add.push(new.clone());
        }
        let change = Change {
            run_id: self.run_id.clone(),
            at_ms: at_micros / 1000,
            fields: (before != Some(&made.registry.fields)).then(|| made.registry.fields.clone()),
            partitioning: made.registry.partitioning.clone(),
            add,
            remove,
            ledger_head: id,
        };
        plan.table.commit(change).await
    }
}

impl Made {
    /// Every data and quarantine file written for this plan. (The few objects of a ledger that lost its race stay for vacuum.)
    fn all_files(&self) -> Vec<String> {
        let files = self
            .results
            .iter()
            .flat_map(|result| result.files.iter().map(|file| file.path.clone()).chain(result.quarantine.clone()));
        let rewritten = self.rewritten.files.iter().map(|(_, new)| new.path.clone());
        files.chain(rewritten).chain(self.discarded.iter().cloned()).collect()
    }

    /// Proves that every record found is a row or in quarantine, and that every row is in a file.
    pub(super) fn check_books(&self) -> Result<()> {
        let unbalanced =
            |what: String| Err(Error::new(ErrorKind::Corrupt, format!("the books do not balance: {what}")));
        for result in &self.results {
            for entry in &result.entries {
                if entry.records_in != entry.rows_out + entry.quarantined {
                    return unbalanced(format!(
                        "{}: {} records found, {} rows, {} quarantined",
                        entry.object.key, entry.records_in, entry.rows_out, entry.quarantined
                    ));
                }
            }
            let rows: u64 = result.entries.iter().map(|entry| entry.rows_out).sum();
            let written: u64 = result.files.iter().map(|file| file.row_count).sum();
            if rows != written {
                return unbalanced(format!("{rows} rows were decoded and {written} are in files"));
            }
        }
        for (old, new) in &self.rewritten.files {
            if old.row_count != new.row_count {
                return unbalanced(format!("{} has {} rows, written again {}", old.path, old.row_count, new.row_count));
            }
        }
        Ok(())
    }

    pub(super) fn fill(&self, plan: &Plan, report: &mut SourceReport) {
        let entries = || self.results.iter().flat_map(|result| &result.entries);
        let files = || self.results.iter().flat_map(|result| &result.files);
        report.objects = entries().count() as u64;
        report.success_count = entries().map(|entry| entry.rows_out).sum();
        report.error_count = entries().map(|entry| entry.quarantined).sum();
        report.bytes_in = self.results.iter().map(|result| result.bytes_in).sum();
        report.bytes_out = files().map(|file| file.size_bytes).sum();
        report.files = files().count() as u64;
        let changes = self.registry.changes_since(plan.registry.as_ref());
        report.schema_changes = changes.iter().map(ToString::to_string).collect();
        for (object, why) in &self.unreadable {
            report.notes.push(format!("{} could not be read and is left for another run: {why}", object.key));
            report.status = Status::PartialSuccess;
        }
        let duplicates: u64 = self.results.iter().map(|result| result.duplicate_keys).sum();
        if duplicates > 0 {
            report.notes.push(format!("{duplicates} keys occurred twice in an object; the last value was kept"));
        }
        report.notes.extend(self.rewritten.notes());
        if report.error_count > 0 {
            report.status = Status::PartialSuccess;
        }
    }
}

/// Cuts objects, in the order of their keys, into slices of about equal stored bytes: as many as there are workers, or more
/// when they would be too large.
pub(super) fn cut(objects: &[RawObject], workers: usize) -> Vec<Vec<RawObject>> {
    // An object costs about as much as a few kilobytes, whatever its size.
    let weight = |object: &RawObject| object.size_bytes + 4096;
    let total: u64 = objects.iter().map(weight).sum();
    let count = (workers as u64) * total.div_ceil(MAX_SLICE_BYTES * workers as u64).max(1);
    let share = total.div_ceil(count).max(1);
    let mut slices: Vec<Vec<RawObject>> = Vec::new();
    let mut before = 0;
    for object in objects {
        let slice = ((before + weight(object) / 2) / share).min(count - 1) as usize;
        while slices.len() <= slice {
            slices.push(Vec::new());
        }
        slices[slice].push(object.clone());
        before += weight(object);
    }
    slices.retain(|slice| !slice.is_empty());
    slices
}
