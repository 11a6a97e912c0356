//! Raw JSON as a DataFusion source: the decoder of compaction, with the projection of top-level columns pushed into it.
//!
//! ```text
//! RawTable --scan--> DataSourceExec over FileScanConfig; each "file" is a group of raw objects
//!                      '-- RawSource --RawOpener--> Feed -> Decoder (projected) -> batches
//! ```
//!
//! With paths, the table has one more column behind the others, `"$path"`: the raw object that the record is of.
//!
//! What is pushed down: the projection of top-level columns (others are checked and dropped), and the limit (reading
//! stops). Records that compaction would quarantine are left out.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileOpenFuture, FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource,
};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::projection::ProjectionExprs;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan, PhysicalExpr, apply_expression_roots};
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::json::{DecodeOptions, Decoder, FinishError, arrow_schema};
use crate::raw::{Ended, Feed, Fetcher, Limits, RawObject, decode_segments};
use crate::schema::{Field, Observation};

/// Objects are grouped up to this many stored bytes.
const GROUP_BYTES: u64 = 8 << 20;

/// The column that tells the object that a row is of.
pub(super) const PATH: &str = "$path";

/// The raw objects of a source as a table.
#[derive(Debug)]
pub struct RawTable {
    schema: SchemaRef,
    /// What stands before the keys of objects, when paths are to be shown.
    base: Option<Arc<str>>,
    scan: Arc<RawScan>,
    groups: Vec<Arc<Vec<RawObject>>>,
}

/// What every reader of a raw table needs.
#[derive(Debug)]
pub struct RawScan {
    /// Opens the objects.
    pub fetcher: Fetcher,
    /// How records are decoded.
    pub decode: DecodeOptions,
    /// What bounds raw objects.
    pub limits: Limits,
    /// What is known of all their records.
    pub observed: Observation,
    /// The columns that follow.
    pub fields: Vec<Field>,
}

impl RawTable {
    /// A table of these objects.
    pub fn new(scan: RawScan, objects: Vec<RawObject>) -> Self {
        let mut groups: Vec<Vec<RawObject>> = Vec::new();
        let mut room = 0;
        for object in objects {
            let bytes = object.size_bytes + 4096;
            match groups.last_mut() {
                Some(group) if bytes <= room => group.push(object),
                _ => {
                    groups.push(vec![object]);
                    room = GROUP_BYTES;
                }
            }
            room = room.saturating_sub(bytes);
        }
        Self {
            schema: arrow_schema(&scan.fields),
            base: None,
            scan: Arc::new(scan),
            groups: groups.into_iter().map(Arc::new).collect(),
        }
    }

    /// The table with the column of paths, which are `base` and the key.
    #[must_use]
    pub fn with_paths(mut self, base: &str) -> Self {
        let fields = self.schema.fields().iter().cloned();
        let path = Arc::new(arrow::datatypes::Field::new(PATH, DataType::Utf8, false));
        self.schema = Arc::new(Schema::new(fields.chain([path]).collect::<Vec<_>>()));
        self.base = Some(base.into());
        self
    }
}

#[async_trait]
impl TableProvider for RawTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.groups.is_empty() {
            let schema = datafusion::physical_plan::project_schema(&self.schema, projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let partitions = state.config().target_partitions().clamp(1, self.groups.len());
        let mut files: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions];
        for (index, group) in self.groups.iter().enumerate() {
            let meta = ObjectMeta {
                location: Path::from(format!("group-{index}")),
                last_modified: DateTime::UNIX_EPOCH,
                size: group.iter().map(|object| object.size_bytes).sum(),
                e_tag: None,
                version: None,
            };
            let mut file = PartitionedFile::new_from_meta(meta);
            file.extensions.insert_arc(Arc::new(RawGroup(Arc::clone(group))));
            files[index % partitions].push(file);
        }
        let source = RawSource::new(Arc::clone(&self.scan), self.base.clone(), Arc::clone(&self.schema));
        // The store is not used: objects are opened by their fetcher.
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(files.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// The raw objects behind one "file" of the scan.
#[derive(Debug)]
struct RawGroup(Arc<Vec<RawObject>>);

/// Decodes groups of raw objects.
#[derive(Debug, Clone)]
struct RawSource {
    scan: Arc<RawScan>,
    base: Option<Arc<str>>,
    table_schema: TableSchema,
    projection: SplitProjection,
    metrics: ExecutionPlanMetricsSet,
}

impl RawSource {
    fn new(scan: Arc<RawScan>, base: Option<Arc<str>>, schema: SchemaRef) -> Self {
        let table_schema: TableSchema = schema.into();
        let projection = SplitProjection::unprojected(&table_schema);
        Self { scan, base, table_schema, projection, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl FileSource for RawSource {
    fn create_file_opener(
        &self,
        _store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let indices = &self.projection.file_indices;
        let fields = indices.iter().filter_map(|index| self.scan.fields.get(*index).cloned()).collect();
        // The column of paths is behind those of the records.
        let path_at = indices.iter().position(|index| *index == self.scan.fields.len());
        let paths = path_at.zip(self.base.clone());
        let opener = RawOpener { scan: Arc::clone(&self.scan), fields, paths, limit: config.limit };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), self.table_schema.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, _batch_size: usize) -> Arc<dyn FileSource> {
        // Batches are as large as windows.
        Arc::new(self.clone())
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
        apply_expression_roots(self.projection.source.iter(), apply)
    }

    fn fmt_extra(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.projection.file_indices.iter();
        let columns = columns.map(|index| self.scan.fields.get(*index).map_or(PATH, |field| field.name.as_str()));
        write!(f, ", decoded_columns=[{}]", columns.collect::<Vec<_>>().join(", "))
    }
}

struct RawOpener {
    scan: Arc<RawScan>,
    fields: Vec<Field>,
    /// Where the column of paths is, and what stands before the keys.
    paths: Option<(usize, Arc<str>)>,
    limit: Option<usize>,
}

impl FileOpener for RawOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let group = file
            .extensions
            .get_arc::<RawGroup>()
            .ok_or_else(|| DataFusionError::Internal("a raw scan without raw objects".to_owned()))?;
        let (scan, fields, paths, limit) =
            (Arc::clone(&self.scan), self.fields.clone(), self.paths.clone(), self.limit);
        let schema = match &paths {
            Some((at, _)) => with_path(&arrow_schema(&fields), *at),
            None => arrow_schema(&fields),
        };
        Ok(Box::pin(async move {
            let mut builder = RecordBatchReceiverStream::builder(Arc::clone(&schema), 2);
            let sender = builder.tx();
            builder.spawn_blocking(move || {
                read_group(&scan, &group.0, &fields, limit, |batch, rows| {
                    let batch = match &paths {
                        Some((at, base)) => {
                            batch.and_then(|batch| add_paths(&batch, &schema, *at, base, &group.0, &rows))
                        }
                        None => batch,
                    };
                    sender.blocking_send(batch).is_ok()
                });
                Ok(())
            });
            Ok(builder.build().boxed())
        }))
    }
}

fn with_path(schema: &SchemaRef, at: usize) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.insert(at.min(fields.len()), Arc::new(arrow::datatypes::Field::new(PATH, DataType::Utf8, false)));
    Arc::new(Schema::new(fields))
}

/// Adds the column of paths, for so many rows of each object, one behind another.
fn add_paths(
    batch: &RecordBatch,
    schema: &SchemaRef,
    at: usize,
    base: &str,
    objects: &[RawObject],
    rows: &[(usize, u64)],
) -> Result<RecordBatch> {
    let mut paths = StringBuilder::new();
    for (object, rows) in rows {
        let path = format!("{base}{}", objects.get(*object).map_or("", |object| object.key.as_str()));
        (0..*rows).for_each(|_| paths.append_value(&path));
    }
    let mut columns = batch.columns().to_vec();
    columns.insert(at.min(columns.len()), Arc::new(paths.finish()));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Decodes all records of a group and hands the batches on, with how many rows are of which object, until `send` says
/// stop.
fn read_group(
    scan: &RawScan,
    objects: &[RawObject],
    fields: &[Field],
    limit: Option<usize>,
    mut send: impl FnMut(Result<RecordBatch>, Vec<(usize, u64)>) -> bool,
) {
    let schema = arrow_schema(fields);
    let mut decoder = Decoder::new(&scan.decode, &scan.observed);
    decoder.project(fields);
    let feed = Feed::new(&scan.fetcher, objects, scan.limits.clone());
    let mut rows = 0;
    let ended = decode_segments(feed, &scan.decode, &mut decoder, |decoder, decoded, segments| {
        if decoded.rows > 0 {
            let batch = decoder.finish(fields, &schema).map_err(|error| match error {
                FinishError::Redo => DataFusionError::Execution("raw objects changed while they were read".to_owned()),
                FinishError::Arrow(error) => error.into(),
            });
            let origins = segments.iter().zip(&decoded.counts).map(|(segment, counts)| (segment.object, counts.rows));
            if !send(batch, origins.collect()) {
                return ControlFlow::Break(());
            }
        }
        rows += decoded.rows;
        if limit.is_some_and(|limit| rows >= limit) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Ended::Unreadable { object, error } = ended {
        let key = objects.get(object).map_or("", |object| object.key.as_str());
        send(Err(DataFusionError::Execution(format!("raw object {key} could not be read: {error}"))), Vec::new());
    }
}
