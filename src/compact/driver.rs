//! The driver: from a listing to one atomic commit for a source.
//!
//! ```text
//! list --diff with ledger--> new objects --cut--> slices --workers--> results
//!   --merge observations--> columns --(what a promotion invalidates: again)--> books --> ledger --> ONE commit
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rayon::ThreadPool;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use super::replace::Old;
use super::report::{Report, SourceReport, Status};
use super::slice::SliceContext;
use crate::clock::Clock;
use crate::config::{Config, OnOverwrite, Settings};
use crate::error::{Context as _, Error, ErrorKind, Result, describe};
use crate::json::Reason;
use crate::lake::{Diff, Found, Head, Hidden, Outcome, Registry, Table};
use crate::partition::Partitioning;
use crate::raw::{Fetcher, RawObject, check_source_id, leads_out, list_objects, list_sources};
use crate::store::Location;
use crate::write::WriteContext;

/// A commit that loses its race is planned again at most so many times.
pub(super) const MAX_PLANS: usize = 8;

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
            let (outside, sources): (Vec<_>, Vec<_>) = sources.into_iter().partition(|id| leads_out(&self.raw, id));
            let passed = |id| format!("the source {id} is a link out of the raw root and was passed over");
            notes.extend(outside.into_iter().map(passed));
            if sources.is_empty() {
                return Err(Error::new(ErrorKind::NotFound, format!("there is no source under {}", self.raw.url())));
            }
            let absent = self.config.sources.keys().filter(|id| !sources.contains(id));
            notes.extend(absent.map(|id| format!("the configuration has settings for {id}, which has no raw objects")));
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
    let mut report = run(request, &sources, Work::Compact, clock, progress).await?;
    if let Some(first) = report.sources.first_mut() {
        first.notes.append(&mut notes);
    }
    Ok(report)
}

/// What a run does with each of its sources.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work<'a> {
    /// New raw objects become rows.
    Compact,
    /// Rejects with one of these reasons (none: all) become rows where they can.
    Replay(&'a [Reason]),
}

/// Does the work for `sources`, one after another. A source that fails does not hold up the others.
pub(super) async fn run(
    request: &Request,
    sources: &[String],
    work: Work<'_>,
    clock: &dyn Clock,
    progress: &dyn Progress,
) -> Result<Report> {
    let driver = Driver::new(request, clock, progress)?;
    let run_id = driver.run_id.clone();
    let mut reports = Vec::new();
    let mut refusal = None;
    for source_id in sources {
        let began = clock.now_micros();
        let done = match work {
            Work::Compact => driver.source(source_id).await,
            Work::Replay(reasons) => driver.replay(source_id, reasons).await,
        };
        let mut report = match done {
            Ok(report) => report,
            Err(error) => {
                let message = Some(describe(&error));
                if error.kind() == ErrorKind::Usage {
                    refusal.get_or_insert(error);
                }
                SourceReport { status: Status::Failed, error: message, ..SourceReport::new(source_id) }
            }
        };
        report.duration_ms = ((clock.now_micros() - began).max(0) / 1000) as u64;
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
    pub request: &'a Request,
    pub clock: &'a dyn Clock,
    pub progress: &'a dyn Progress,
    pub run_id: String,
    /// When it was begun, in microseconds since 1970-01-01T00:00:00Z.
    pub began_micros: i64,
    encoders: Arc<ThreadPool>,
    /// The lake's store was proven, or is vouched for.
    proven: OnceCell<()>,
}

/// What is to be done for a source, and on what it builds.
pub(super) struct Plan {
    pub table: Table,
    pub hidden: Hidden,
    pub head: Option<Head>,
    pub registry: Option<Registry>,
    /// The raw objects to read.
    pub new: Vec<RawObject>,
    /// What is to be told of them.
    pub notes: Vec<String>,
    /// What is there of those that take the place of older versions.
    pub old: Old,
}

impl Plan {
    /// The quarantine files that there are, older runs first.
    pub(super) fn quarantine(&self) -> &[String] {
        self.head.as_ref().map_or(&[], |head| &head.quarantine)
    }
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
        let (run_id, began_micros) = (clock.new_id(), clock.now_micros());
        Ok(Self {
            request,
            clock,
            progress,
            run_id,
            began_micros,
            encoders: Arc::new(encoders),
            proven: OnceCell::new(),
        })
    }

    /// Proves once in a run, before anything is written, that another run at the same time does no harm.
    ///
    /// Once in each run and not once for each table: what a table was made under is no promise for the store it lies in now.
    ///
    /// # Errors
    /// When it would.
    pub(super) async fn prove_store(&self) -> Result<()> {
        let prove = || async {
            match self.request.config.single_writer {
                true => Ok(()),
                false => self.request.lake.require_put_if_absent(self.clock).await,
            }
        };
        self.proven.get_or_try_init(prove).await.map(drop)
    }

    async fn source(&self, source_id: &str) -> Result<SourceReport> {
        let settings = self.request.config.settings(source_id)?;
        let raw = self.request.raw.folder(source_id)?;
        for _ in 0..MAX_PLANS {
            let plan = self.plan(source_id, &raw, settings.on_overwrite).await?;
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

    /// The table as it is.
    pub(super) async fn open(&self, source_id: &str) -> Result<Plan> {
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
        Ok(Plan { table, hidden, head, registry, new: Vec::new(), notes: Vec::new(), old: Old::default() })
    }

    /// Compares the listing of a source with its ledger.
    pub(super) async fn plan(&self, source_id: &str, raw: &Location, on_overwrite: OnOverwrite) -> Result<Plan> {
        let plan = self.open(source_id).await?;
        let added = if on_overwrite == OnOverwrite::Append { "what it holds now is added, " } else { "" };
        let (mut new, mut known, mut notes) = (Vec::new(), 0_u64, Vec::new());
        let mut changed = BTreeSet::new();
        let mut diff = Diff::open(&plan.hidden, plan.head.as_ref()).await?;
        let mut listing = list_objects(raw)?;
        while let Some(batch) = listing.next().await? {
            for object in batch.iter() {
                match diff.look_up(object).await? {
                    Found::New => new.push(RawObject::from(object)),
                    Found::Consumed => known += 1,
                    Found::Filled | Found::Overwritten if on_overwrite == OnOverwrite::Replace => {
                        changed.insert(object.key.to_owned());
                        new.push(RawObject::from(object));
                    }
                    Found::Filled => new.push(RawObject::from(object)),
                    Found::Overwritten => {
                        notes.push(format!("{} changed after it was consumed; {added}its old rows stay", object.key));
                        if on_overwrite == OnOverwrite::Append {
                            new.push(RawObject::from(object));
                        }
                    }
                }
            }
        }
        let passed_over = |(key, why): &(String, String)| format!("{key} was passed over: {why}");
        notes.splice(0..0, listing.skipped.iter().map(passed_over));
        new.sort();
        tracing::info!(source = source_id, new = new.len(), known, "listed");
        drop(diff);
        let mut plan = Plan { new, notes, ..plan };
        if !changed.is_empty() {
            self.find_old(&mut plan, changed).await?;
        }
        Ok(plan)
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
        let options = Arc::new(settings.files.clone());
        let write = WriteContext::new(plan.table.location(), runtime, &self.encoders, &options)?;
        let bytes_read = Arc::new(AtomicU64::new(0));
        let stored_bytes = plan.new.iter().map(|object| object.size_bytes).sum();
        self.progress.source_begins(source_id, plan.new.len() as u64, stored_bytes, Arc::clone(&bytes_read));
        let fetcher = Fetcher::new(raw, runtime)?;
        Ok(SliceContext { fetcher, write, hidden: plan.hidden.clone(), progress: bytes_read })
    }

    /// Reads, writes and commits; `None` when another writer was first.
    async fn carry_out(
        &self,
        mut plan: Plan,
        raw: &Location,
        settings: &Settings,
        mut report: SourceReport,
    ) -> Result<Option<SourceReport>> {
        self.prove_store().await?;
        let source_id = report.source_id.clone();
        let context = self.slice_context(&plan, raw, settings, &source_id, &Handle::current())?;
        // The workers block; they must not do so on the runtime's own threads.
        let made = tokio::task::block_in_place(|| {
            let setup = self.set_up(&plan, &context, settings, &mut report)?;
            let tasks = setup.tasks(std::mem::take(&mut plan.new), &context);
            Ok((self.make(&plan, &context, &setup, tasks)?, setup.workers))
        });
        self.progress.source_ends(&source_id);
        let (made, workers) = match made {
            Ok(made) => made,
            Err(error) => {
                // A full disk, say: what every attempt leaves would fill the next one.
                plan.hidden.discard(&context.write.stored.take()).await;
                return Err(error);
            }
        };
        made.fill(&plan, &mut report);
        let (books, written) = self.books_of_new(&plan, &context, workers, &made).await?;
        let outcome = self.commit(&mut plan, &made, books).await;
        match outcome {
            Ok(Outcome::Committed(version)) => {
                plan.hidden.discard(&made.discarded).await;
                report.version = Some(version);
                report.active_files = plan.table.file_count(version);
                Ok(Some(report))
            }
            Ok(Outcome::Conflict) => {
                plan.hidden.discard(&made.all_files()).await;
                plan.hidden.discard(&written).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
