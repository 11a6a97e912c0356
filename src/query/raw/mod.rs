//! Raw JSON as a DataFusion source: the decoder of compaction, told which leaves are wanted.
//!
//! ```text
//! RawTable --scan--> DataSourceExec over FileScanConfig; each "file" is a group of raw objects, or a part of a large one
//!                      '-- source: RawSource --> read: windows -> filter columns -> predicate -> other columns -> batches
//! ```
//!
//! | file | what is there |
//! |---|---|
//! | `plan` | which columns are decoded first, for the filter, and which only for the rows that it leaves |
//! | `source` | the source, its metrics and what EXPLAIN shows |
//! | `read` | from groups of objects and parts of large ones to batches |
//! | `split` | whether the parts of a large object are parts |
//!
//! Columns stand in this order: those of the records, those of the table's partitions, and, with paths, `"$path"`: the raw object
//! that the record is of. Records that compaction would quarantine are left out.

mod plan;
mod read;
mod source;
mod split;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::conjunction;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::filters::physical_filters;
use super::narrow::Narrow;
use super::parts::Part;
use crate::json::{DecodeOptions, arrow_schema};
use crate::lake::table_schema;
use crate::partition::Partitioning;
use crate::raw::{Fetcher, Limits, RawObject};
use crate::schema::{Field, Observation};

use source::{RawSource, RawUnit};
use split::Split;

/// Objects are grouped up to this many stored bytes.
const GROUP_BYTES: u64 = 8 << 20;
/// Or fewer, so that each thread gets several groups.
const GROUPS_EACH: u64 = 4;
/// What opening an object costs, in stored bytes.
const OPENING_BYTES: u64 = 4096;
/// Objects of this many stored bytes are read in parts, of half as many. (Tests have small objects.)
const SPLIT_BYTES: u64 = if cfg!(test) { 2 << 10 } else { 16 << 20 };

/// The column that tells the object that a row is of.
pub(super) const PATH: &str = "$path";

/// The raw objects of a source as a table.
#[derive(Debug, Clone)]
pub struct RawTable {
    schema: SchemaRef,
    scan: Arc<RawScan>,
    objects: Arc<Vec<RawObject>>,
    /// The parts of the columns of records that a statement wants; `None`: all.
    wanted: Option<Arc<Vec<Part>>>,
}

/// What every reader of a raw table needs.
#[derive(Debug)]
pub struct RawScan {
    /// What stands before the keys of objects in their paths.
    pub base: Arc<str>,
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
    /// The partition columns, behind these.
    pub partitioning: Partitioning,
    /// The day that rows would be ingested on, in days since 1970-01-01.
    pub ingested_day: i32,
}

impl RawTable {
    /// A table of these objects.
    pub fn new(scan: RawScan, objects: Vec<RawObject>) -> Self {
        let mut fields: Vec<_> = arrow_schema(&scan.fields).fields().iter().cloned().collect();
        if !scan.partitioning.0.is_empty() {
            let all = table_schema(&scan.fields, &scan.partitioning);
            fields.extend(all.fields().iter().skip(scan.fields.len()).cloned());
        }
        Self { schema: Arc::new(Schema::new(fields)), scan: Arc::new(scan), objects: Arc::new(objects), wanted: None }
    }

    /// The table with the column of paths.
    #[must_use]
    pub fn with_paths(mut self) -> Self {
        let fields = self.schema.fields().iter().cloned();
        let path = Arc::new(arrow::datatypes::Field::new(PATH, DataType::Utf8, false));
        self.schema = Arc::new(Schema::new(fields.chain([path]).collect::<Vec<_>>()));
        self
    }

    /// The objects whose path satisfies those of `filters` that ask for nothing else.
    fn prune(&self, filters: &[Expr], state: &dyn Session) -> Result<Arc<Vec<RawObject>>> {
        let is_of_path = |filter: &&Expr| {
            !filter.column_refs().is_empty() && filter.column_refs().iter().all(|column| column.name == PATH)
        };
        let filters: Vec<Expr> = filters.iter().filter(is_of_path).cloned().collect();
        let Ok(index) = self.schema.index_of(PATH) else { return Ok(Arc::clone(&self.objects)) };
        if filters.is_empty() {
            return Ok(Arc::clone(&self.objects));
        }
        let schema = Arc::new(self.schema.project(&[index])?);
        let predicate = conjunction(physical_filters(&filters, &schema, state)?);
        let mut left = Vec::new();
        for objects in self.objects.chunks(8192) {
            let paths = objects.iter().map(|object| Some(format!("{}{}", self.scan.base, object.key)));
            let paths = Arc::new(paths.collect::<StringArray>());
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![paths])?;
            let kept = predicate.evaluate(&batch)?.into_array(objects.len())?;
            let kept = kept.as_boolean();
            let is_kept = |row: &usize| kept.is_valid(*row) && kept.value(*row);
            left.extend((0..objects.len()).filter(is_kept).map(|row| objects[row].clone()));
        }
        Ok(Arc::new(left))
    }

    /// The units of work: groups of objects, and parts of large ones.
    fn units(&self, objects: &[RawObject], partitions: usize) -> Vec<(RawUnit, u64)> {
        let mut units = Vec::new();
        let mut groups: Vec<(Vec<RawObject>, u64)> = Vec::new();
        let mut room = 0;
        let bytes: u64 = objects.iter().map(|object| object.size_bytes + OPENING_BYTES).sum();
        let group_bytes = (bytes / (partitions.max(1) as u64 * GROUPS_EACH)).min(GROUP_BYTES);
        let has_lines = self.scan.decode.records_path.is_empty() && self.scan.decode.envelope_fields.is_empty();
        for object in objects {
            let size = object.size_bytes;
            if has_lines && partitions > 1 && (SPLIT_BYTES..=self.scan.limits.object_bytes).contains(&size) {
                let split = Arc::new(Split::new(object.clone(), SPLIT_BYTES / 2));
                units.extend((0..split.len()).map(|part| (RawUnit::Part(Arc::clone(&split), part), SPLIT_BYTES / 2)));
                continue;
            }
            let bytes = size + OPENING_BYTES;
            match groups.last_mut() {
                Some((group, total)) if bytes <= room => {
                    group.push(object.clone());
                    *total += bytes;
                }
                _ => {
                    groups.push((vec![object.clone()], bytes));
                    room = group_bytes;
                }
            }
            room = room.saturating_sub(bytes);
        }
        units.extend(groups.into_iter().map(|(group, bytes)| (RawUnit::Group(Arc::new(group)), bytes)));
        units
    }
}

impl Narrow for RawTable {
    fn wanted(&self) -> Option<&[Part]> {
        self.wanted.as_ref().map(|wanted| wanted.as_slice())
    }

    fn narrowed(&self, wanted: Vec<Part>) -> Arc<dyn TableProvider> {
        Arc::new(Self { wanted: Some(Arc::new(wanted)), ..self.clone() })
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

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Any expression over the columns of a row is evaluated as soon as these are decoded.
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let objects = self.prune(filters, state)?;
        if objects.is_empty() {
            let schema = datafusion::physical_plan::project_schema(&self.schema, projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let predicates = physical_filters(filters, &self.schema, state)?;
        let threads = state.config().target_partitions();
        let units = self.units(&objects, threads);
        let partitions = threads.clamp(1, units.len());
        let mut files: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions];
        for (index, (unit, bytes)) in units.into_iter().enumerate() {
            let meta = ObjectMeta {
                location: Path::from(unit.name(index)),
                last_modified: DateTime::UNIX_EPOCH,
                size: bytes,
                e_tag: None,
                version: None,
            };
            let mut file = PartitionedFile::new_from_meta(meta);
            file.extensions.insert_arc(Arc::new(unit));
            files[index % partitions].push(file);
        }
        let pruned = self.objects.len() - objects.len();
        let pool = Arc::clone(&state.runtime_env().memory_pool);
        let source = RawSource::new(self, pool, objects.len(), pruned);
        let source = source.with_predicates(predicates).with_threads(threads);
        // The store is not used: objects are opened by their fetcher.
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(files.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
