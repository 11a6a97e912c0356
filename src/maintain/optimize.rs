//! Optimize: small files of a partition become large ones. The rows stay the same, and so do the ledger and the schema.
//!
//! ```text
//! active files --small, by partition--> groups --merged on all threads--> new files, records of origins --> ONE commit
//! ```
//!
//! Up to 16 GiB are merged for one commit. What is good is skipped, so a run that was killed is continued by another one
//! from its last commit on. A commit that loses its race is made again at once, without the groups that the other writer
//! has changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::ThreadPool;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::manifest::write_manifests;
use super::merge::{Merged, Merger};
use super::pack::{Group, all_groups, groups_of_many};
use crate::clock::Clock;
use crate::compact::{SourceOptimized, Status, run_all};
use crate::config::{Config, Settings};
use crate::error::{Context as _, Error, ErrorKind, Result, describe};
use crate::lake::{ActiveFile, Change, Head, Hidden, Outcome, Registry, Table};
use crate::raw::check_source_id;
use crate::schema::Type;
use crate::store::Location;
use crate::write::{WriteContext, is_part_of};

/// So many bytes are merged for one commit.
const COMMIT_BYTES: u64 = 16 << 30;
/// A commit that loses its race is made again at most so many times.
const MAX_TRIES: usize = 32;
/// With less memory than this for each, there are fewer workers.
const WORKER_BYTES: usize = 256 << 20;

/// What to optimize, and how.
#[derive(Debug, Clone)]
pub struct OptimizeRequest {
    /// The lake root.
    pub lake: Location,
    /// The sources.
    pub sources: Vec<String>,
    /// The configuration.
    pub config: Config,
    /// Workers, and threads that encode columns.
    pub threads: usize,
    /// Rows of which others have the same key are taken out before, as the configuration says.
    pub dedup: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Optimized {
    /// The worst of the sources, except that a failed source among others makes a partial success.
    pub status: Status,
    /// Each source.
    pub sources: Vec<SourceOptimized>,
}

/// Which files are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All that are small.
    All,
    /// Those of partitions with many small ones, at most about so many bytes.
    Many { budget_bytes: u64 },
}

/// Merges the small files of tables, one table after another. A table that fails does not hold up the others.
///
/// # Errors
/// When nothing could be begun: a wrong source id, wrong settings, no threads. What fails otherwise is in the report.
pub async fn optimize(request: &OptimizeRequest, clock: &dyn Clock) -> Result<Optimized> {
    let mut settings = Vec::new();
    for source_id in &request.sources {
        check_source_id(source_id)?;
        let own = request.config.settings(source_id)?;
        if request.dedup && own.dedup.is_none() {
            return Err(Error::usage(format!("dedup is not configured for source {source_id}")));
        }
        settings.push(own);
    }
    if !request.config.single_writer {
        request.lake.require_put_if_absent(clock).await?;
    }
    let optimizer = Optimizer::new(&request.lake, request.threads, clock)?;
    let mut sources = Vec::new();
    for (source_id, settings) in request.sources.iter().zip(&settings) {
        let mut report = SourceOptimized::new(source_id);
        let began = clock.now_micros();
        let done = async {
            if let Some(dedup) = settings.dedup.as_ref().filter(|_| request.dedup) {
                optimizer.dedup(source_id, settings, dedup, &mut report).await?;
            }
            optimizer.source(source_id, settings, Scope::All, &mut report).await
        };
        if let Err(error) = done.await {
            report.status = Status::Failed;
            report.error = Some(describe(&error));
        }
        if settings.manifest && report.commits > 0 {
            let written = async { write_manifests(&request.lake.folder(source_id)?).await };
            if let Err(error) = written.await {
                report.notes.push(format!("the manifests could not be written: {}", describe(&error)));
            }
        }
        report.duration_ms = ((clock.now_micros() - began).max(0) / 1000) as u64;
        sources.push(report);
    }
    let failed = sources.iter().filter(|source| source.status == Status::Failed).count();
    let status = match failed {
        0 => Status::Success,
        all if all == sources.len() => Status::Failed,
        _ => Status::PartialSuccess,
    };
    Ok(Optimized { status, sources })
}

/// What carries it out.
pub(super) struct Optimizer<'a> {
    pub lake: &'a Location,
    pub threads: usize,
    pub clock: &'a dyn Clock,
    /// When it was begun, in microseconds since 1970-01-01T00:00:00Z.
    began_micros: i64,
    encoders: Arc<ThreadPool>,
}

/// A table as it is.
pub(super) struct Opened {
    pub table: Table,
    pub hidden: Hidden,
    pub head: Head,
    pub registry: Registry,
}

impl Opened {
    pub(super) async fn new(lake: &Location, source_id: &str) -> Result<Self> {
        let table = Table::open(lake.folder(source_id)?).await?;
        let hidden = Hidden::new(table.location());
        match Self::read(&table, &hidden).await? {
            Some((head, registry)) => Ok(Self { table, hidden, head, registry }),
            None => {
                let message = format!("there is no table {source_id} under {}", lake.url());
                Err(Error::new(ErrorKind::NotFound, message))
            }
        }
    }

    async fn read(table: &Table, hidden: &Hidden) -> Result<Option<(Head, Registry)>> {
        let Some(id) = table.ledger_head().await? else { return Ok(None) };
        let head: Head = hidden.read_json(&Hidden::head_path(id)).await?;
        let registry = hidden.read_json(&head.registry).await?;
        Ok(Some((head, registry)))
    }

    /// Loads the latest version.
    async fn refresh(&mut self) -> Result<()> {
        self.table.refresh().await?;
        let gone = || Error::new(ErrorKind::Corrupt, format!("the table {} is gone", self.table.location().url()));
        (self.head, self.registry) = Self::read(&self.table, &self.hidden).await?.ok_or_else(gone)?;
        Ok(())
    }
}

impl<'a> Optimizer<'a> {
    pub(super) fn new(lake: &'a Location, threads: usize, clock: &'a dyn Clock) -> Result<Self> {
        let encoders = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|n| format!("encode-{n}"))
            .build()
            .context(|| "cannot start threads".to_owned())?;
        Ok(Self { lake, threads, clock, began_micros: clock.now_micros(), encoders: Arc::new(encoders) })
    }

    /// Optimizes one table. What was done before a failure is in the report, too.
    pub(super) async fn source(
        &self,
        source_id: &str,
        settings: &Settings,
        scope: Scope,
        report: &mut SourceOptimized,
    ) -> Result<()> {
        let mut opened = Opened::new(self.lake, source_id).await?;
        let target_bytes = settings.target_file_bytes;
        let files = opened.table.files()?;
        report.version = opened.table.version();
        report.files_after = files.len() as u64;
        report.files_before = report.files_after + report.files_merged - report.files_written;
        let mut groups = match scope {
            Scope::All => all_groups(files, target_bytes as u64),
            Scope::Many { budget_bytes } => groups_of_many(files, target_bytes as u64, budget_bytes),
        };
        // Where there is nothing to merge, nothing is sorted either.
        for name in settings.sort_by.iter().filter(|_| !groups.is_empty()) {
            let column = opened.registry.fields.iter().find(|field| field.name == *name);
            let why = match column.map(|field| &field.ty) {
                None => "there is no such column",
                Some(Type::Struct(_) | Type::List(_) | Type::Map(_)) => "it is nested",
                Some(_) => continue,
            };
            return Err(Error::usage(format!("the rows of {source_id} cannot be sorted by {name}: {why}")));
        }
        let partitions: BTreeSet<_> = groups.iter().map(|group| group.files[0].partition.clone()).collect();
        report.partitions = report.partitions.max(partitions.len() as u64);
        let write = self.write_context(&opened, settings)?;
        let workers = self.workers(settings);
        while !groups.is_empty() {
            let rest = groups.split_off(first_commit(&groups));
            let merged = tokio::task::block_in_place(|| self.merge(&opened, &write, settings, workers, groups))?;
            self.commit(&mut opened, merged, target_bytes, report).await?;
            groups = rest;
        }
        Ok(())
    }

    /// Where and how files are written.
    pub(super) fn write_context(&self, opened: &Opened, settings: &Settings) -> Result<WriteContext> {
        let options = Arc::new(settings.files.clone());
        WriteContext::new(opened.table.location(), &Handle::current(), &self.encoders, &options)
    }

    /// How many groups are merged at a time.
    pub(super) fn workers(&self, settings: &Settings) -> usize {
        self.threads.min(settings.memory_bytes / WORKER_BYTES).max(1)
    }

    /// Merges groups; all of them, or none when one fails. Blocks.
    pub(super) fn merge(
        &self,
        opened: &Opened,
        write: &WriteContext,
        settings: &Settings,
        workers: usize,
        groups: Vec<Group>,
    ) -> Result<Vec<Merged>> {
        let (hidden, registry, clock) = (&opened.hidden, &opened.registry, self.clock);
        let (target_bytes, sort_by) = (settings.target_file_bytes, &settings.sort_by[..]);
        // Rows, their keys, and what is being written.
        let sort_bytes = settings.memory_bytes / workers / 4;
        let merger = Merger { write, hidden, registry, target_bytes, sort_by, sort_bytes, clock };
        let done = run_all(groups, workers, |group| Ok(merger.merge(&group)))?;
        let (mut merged, mut failure) = (Vec::new(), None);
        for group in done {
            match group {
                Ok(group) if group.old.is_empty() => {}
                Ok(group) => merged.push(group),
                Err(error) => failure = Some(failure.unwrap_or(error)),
            }
        }
        match failure {
            None => Ok(merged),
            Some(error) => {
                merged.iter().for_each(|group| write.runtime.block_on(hidden.discard(&group.written())));
                Err(error)
            }
        }
    }

    /// Proves that no vacuum took what was merged in a long run for what a dead one left.
    pub(super) async fn check_still_there(&self, opened: &Opened, merged: &[Merged]) -> Result<()> {
        let ran_micros = self.clock.now_micros() - self.began_micros;
        opened.hidden.check_still_there(merged.iter().flat_map(Merged::written), ran_micros).await
    }

    /// Makes the next version.
    async fn commit(
        &self,
        opened: &mut Opened,
        mut merged: Vec<Merged>,
        target_bytes: usize,
        report: &mut SourceOptimized,
    ) -> Result<()> {
        let run_id = self.clock.new_id();
        for _ in 0..MAX_TRIES {
            if merged.is_empty() {
                return Ok(());
            }
            self.check_still_there(opened, &merged).await?;
            let change = Change {
                run_id: run_id.clone(),
                at_ms: self.clock.now_micros() / 1000,
                fields: None,
                partitioning: opened.registry.partitioning.clone(),
                add: merged.iter().flat_map(|group| group.new.iter().cloned()).collect(),
                remove: merged.iter().flat_map(|group| group.old.iter().cloned()).collect(),
                optimizes_to: Some(target_bytes),
                ledger_head: opened.head.id,
            };
            match opened.table.commit(change).await? {
                Outcome::Committed(version) => {
                    count(report, &merged);
                    report.version = Some(version);
                    return Ok(());
                }
                Outcome::Conflict => {
                    opened.refresh().await?;
                    merged = self.keep_valid(opened, merged, report).await?;
                }
            }
        }
        for group in &merged {
            opened.hidden.discard(&group.written()).await;
        }
        let lost = format!("{}: other writers were first {MAX_TRIES} times", report.source_id);
        Err(Error::new(ErrorKind::Conflict, lost))
    }

    /// Those of the groups whose files are all still there, and fit the columns that the table has by now.
    async fn keep_valid(
        &self,
        opened: &Opened,
        merged: Vec<Merged>,
        report: &mut SourceOptimized,
    ) -> Result<Vec<Merged>> {
        let files: Vec<ActiveFile> = opened.table.files()?;
        let active: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let (mut kept, mut given_up) = (Vec::new(), 0);
        for group in merged {
            let is_there = group.old.iter().all(|file| active.contains(file.path.as_str()));
            let fits = group.new.iter().all(|file| is_part_of(&file.fields, &opened.registry.fields));
            if is_there && fits {
                kept.push(group);
            } else {
                given_up += group.old.len();
                opened.hidden.discard(&group.written()).await;
            }
        }
        if given_up > 0 {
            report
                .notes
                .push(format!("{given_up} files are left for another time: another writer changed them meanwhile"));
        }
        report.files_before = files.len() as u64 + report.files_merged - report.files_written;
        report.files_after = files.len() as u64;
        Ok(kept)
    }
}

/// Counts what was committed.
pub(super) fn count(report: &mut SourceOptimized, merged: &[Merged]) {
    let (old, new) = (merged.iter().flat_map(|group| &group.old), merged.iter().flat_map(|group| &group.new));
    for file in old {
        report.files_merged += 1;
        report.bytes_read += file.size_bytes;
        report.rows += file.row_count;
    }
    for file in new {
        report.files_written += 1;
        report.bytes_written += file.size_bytes;
    }
    report.rows_deduplicated += merged.iter().map(|group| group.dropped).sum::<u64>();
    report.files_after = report.files_before + report.files_written - report.files_merged;
    report.commits += 1;
}

/// How many of the groups go into one commit.
fn first_commit(groups: &[Group]) -> usize {
    let mut bytes = 0;
    let fits = groups.iter().take_while(|group| {
        bytes += group.bytes();
        bytes <= COMMIT_BYTES
    });
    fits.count().max(1)
}
