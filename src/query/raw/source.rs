//! The file source: what it decodes, what EXPLAIN shows of it, and its metrics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool};
use datafusion::physical_expr::conjunction;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::projection::ProjectionExprs;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{DisplayFormatType, PhysicalExpr, apply_expression_roots};
use futures::StreamExt as _;
use object_store::ObjectStore;

use super::RawTable;
use super::plan::ReadPlan;
use super::read::Reading;
use super::split::Split;
use crate::query::parts::{Part, parts_of};
use crate::raw::RawObject;

/// What stands for one "file" of the scan.
#[derive(Debug, Clone)]
pub(super) enum RawUnit {
    /// Objects that are read one after another.
    Group(Arc<Vec<RawObject>>),
    /// A part of a large one.
    Part(Arc<Split>, usize),
}

impl RawUnit {
    /// What it is called in plans.
    pub(super) fn name(&self, index: usize) -> String {
        match self {
            Self::Group(objects) => format!("group-{index} of {} objects", objects.len()),
            Self::Part(split, part) => format!("{} part {part}", split.object.key),
        }
    }
}

/// Decodes raw objects.
#[derive(Debug, Clone)]
pub(super) struct RawSource {
    table: RawTable,
    table_schema: TableSchema,
    projection: SplitProjection,
    predicates: Vec<Arc<dyn PhysicalExpr>>,
    pool: Arc<dyn MemoryPool>,
    /// Objects to be read, and objects that need not be by their paths.
    objects: usize,
    pruned: usize,
    /// There are fewer objects than threads: large ones are inflated ahead.
    has_spare_threads: bool,
    passed: Arc<Passed>,
    metrics: ExecutionPlanMetricsSet,
}

/// How many rows a filter was asked for so far, and how many passed it.
#[derive(Debug, Default)]
pub(super) struct Passed {
    asked: AtomicU64,
    passed: AtomicU64,
}

/// With so many rows it is known how selective a filter is.
const ENOUGH_ROWS: u64 = 1000;
/// Of so many rows, half are forgotten.
const MANY_ROWS: u64 = 1 << 16;
/// Decoding other columns later pays when at most one of so many rows passes.
const FEW: u64 = 4;

impl Passed {
    /// Notes what came of some rows.
    pub(super) fn note(&self, asked: usize, passed: usize) {
        let before = self.asked.fetch_add(asked as u64, Ordering::Relaxed);
        self.passed.fetch_add(passed as u64, Ordering::Relaxed);
        if before > MANY_ROWS {
            // A filter may become narrower while it is used. Two who do this at once do no harm.
            self.asked.store(before / 2, Ordering::Relaxed);
            self.passed.store(self.passed.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
    }

    /// Whether few rows pass.
    pub(super) fn are_few(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked < ENOUGH_ROWS || self.passed.load(Ordering::Relaxed) * FEW <= asked
    }
}

/// What EXPLAIN ANALYZE shows of one partition.
#[derive(Debug, Clone)]
pub(super) struct RawMetrics {
    /// Decompressed bytes.
    pub(super) bytes_read: Count,
    /// Records found.
    pub(super) records: Count,
    /// Of these, records (or objects) that compaction would quarantine.
    pub(super) rejected: Count,
    /// Rows that did not pass the filter.
    pub(super) filtered: Count,
    /// Rows of which some columns were decoded later, once they had passed.
    pub(super) late: Count,
}

impl RawMetrics {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let counter = |name| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            bytes_read: counter("bytes_read"),
            records: counter("records"),
            rejected: counter("records_rejected"),
            filtered: counter("rows_filtered"),
            late: counter("rows_decoded_late"),
        }
    }
}

impl RawSource {
    pub(super) fn new(table: &RawTable, pool: Arc<dyn MemoryPool>, objects: usize, pruned: usize) -> Self {
        let table_schema: TableSchema = Arc::clone(&table.schema).into();
        let projection = SplitProjection::unprojected(&table_schema);
        let metrics = ExecutionPlanMetricsSet::new();
        MetricBuilder::new(&metrics).global_counter("objects").add(objects);
        MetricBuilder::new(&metrics).global_counter("objects_pruned").add(pruned);
        let (table, predicates, passed) = (table.clone(), Vec::new(), Arc::default());
        let has_spare_threads = false;
        Self { table, table_schema, projection, predicates, pool, objects, pruned, has_spare_threads, passed, metrics }
    }

    pub(super) fn with_predicates(mut self, predicates: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        self.predicates = predicates;
        self
    }

    pub(super) fn with_threads(mut self, threads: usize) -> Self {
        self.has_spare_threads = self.objects < threads;
        self
    }

    fn predicate(&self) -> Option<Arc<dyn PhysicalExpr>> {
        (!self.predicates.is_empty()).then(|| conjunction(self.predicates.clone()))
    }
}

impl FileSource for RawSource {
    fn create_file_opener(
        &self,
        _store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let plan = ReadPlan::new(&self.table, &self.projection.file_indices, self.predicate().as_ref())?;
        let fetcher = self.table.scan.fetcher.clone();
        let reading = Reading {
            fetcher: if self.has_spare_threads { fetcher.inflating_ahead() } else { fetcher },
            memory_bytes: match self.pool.memory_limit() {
                MemoryLimit::Finite(bytes) => bytes / config.file_groups.len().max(1),
                MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
            },
            scan: Arc::clone(&self.table.scan),
            plan: Arc::new(plan),
            limit: config.limit,
            passed: Arc::clone(&self.passed),
            metrics: RawMetrics::new(&self.metrics, partition),
        };
        let consumer = MemoryConsumer::new(format!("raw_json[{partition}]"));
        let opener = RawOpener { reading, consumer, pool: Arc::clone(&self.pool) };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), self.table_schema.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, _batch_size: usize) -> Arc<dyn FileSource> {
        // Batches are as large as windows.
        Arc::new(self.clone())
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.predicate()
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let pushed = vec![PushedDown::Yes; filters.len()];
        let mut source = self.clone();
        source.predicates.extend(filters);
        let pushed = FilterPushdownPropagation::with_parent_pushdown_result(pushed);
        Ok(pushed.with_updated_node(Arc::new(source)))
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let mut source = self.clone();
        let merged = self.projection.source.try_merge(projection)?;
        source.projection = SplitProjection::new(self.table_schema.file_schema(), &merged);
        Ok(Some(Arc::new(source)))
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        "raw_json"
    }

    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn apply_expressions(
        &self,
        apply: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.projection.source.iter().map(|e| &e.expr).chain(&self.predicates), apply)
    }

    fn fmt_extra(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |index: &usize| self.table.schema.field(*index).name().as_str();
        let mut decoded = Vec::new();
        for index in &self.projection.file_indices {
            let part = self.table.wanted.as_ref().and_then(|wanted| wanted.get(*index)).unwrap_or(&Part::All);
            part.paths(name(index), &mut decoded);
        }
        write!(f, ", decoded_columns=[{}]", decoded.join(", "))?;
        if let Some(predicate) = self.predicate() {
            let (mut parts, mut filtered) = (std::collections::BTreeMap::new(), Vec::new());
            if parts_of(&predicate, &mut parts).is_ok() {
                parts.iter().for_each(|(index, part)| part.paths(name(index), &mut filtered));
            }
            write!(f, ", filter_columns=[{}], predicate={predicate}", filtered.join(", "))?;
        }
        write!(f, ", objects={}", self.objects)?;
        if self.pruned > 0 {
            write!(f, ", pruned_objects={}", self.pruned)?;
        }
        Ok(())
    }
}

struct RawOpener {
    reading: Reading,
    consumer: MemoryConsumer,
    pool: Arc<dyn MemoryPool>,
}

impl FileOpener for RawOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let unit = file
            .extensions
            .get_arc::<RawUnit>()
            .ok_or_else(|| DataFusionError::Internal("a raw scan without raw objects".to_owned()))?;
        let reading = self.reading.clone();
        let reservation = self.consumer.clone_with_new_id().register(&self.pool);
        Ok(Box::pin(async move {
            let mut builder = RecordBatchReceiverStream::builder(Arc::clone(&reading.plan.output), 2);
            let sender = builder.tx();
            builder.spawn_blocking(move || {
                let is_wanted = || !sender.is_closed();
                reading.read(&unit, reservation, &is_wanted, &mut |batch| sender.blocking_send(batch).is_ok());
                Ok(())
            });
            Ok(builder.build().boxed())
        }))
    }
}
