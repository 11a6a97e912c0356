//! A version of a table as a DataFusion source: files left by partition values and statistics of the log, and of their columns
//! the leaves that a statement wants.
//!
//! Only for tables of Delta's first reader version, as Siltstone writes them: the rows of a file are those that its Parquet
//! columns give, by their names. Tables that other writers have given deletion vectors or mapped columns are read by the
//! provider of the Delta library.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::conjunction;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::PushedDown;
use datafusion::physical_plan::metrics::MetricBuilder;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use deltalake_core::delta_datafusion::DeltaScanNext;
use object_store::ObjectMeta;
use object_store::path::Path;
use url::Position;

use super::delta_config;
use super::partial::{PartialColumns, partial};
use crate::lake::Table;
use crate::query::catalog::external;
use crate::query::fence::touches_lists;
use crate::query::filters::physical_filters;
use crate::query::narrow::Narrow;
use crate::query::parts::Part;
use crate::query::raw::PATH;

/// Read at once from the end of a file, which holds the footers of most.
const FOOTER_BYTES: usize = 64 << 10;

/// A version of a table.
#[derive(Debug, Clone)]
pub(in crate::query) struct LakeTable {
    table: Table,
    store: ObjectStoreUrl,
    /// The columns of files, then those of partitions, then, where it is asked for, [`PATH`].
    columns: TableSchema,
    /// The parts of the columns that a statement wants; `None`: all.
    wanted: Option<Arc<Vec<Part>>>,
}

impl LakeTable {
    /// The version that is loaded, whose store is registered; `None` when its files are not to be read as they are.
    pub(super) fn new(table: &Table, with_paths: bool) -> Result<Option<Self>> {
        let Some(state) = table.state() else { return Ok(None) };
        let schema = state.snapshot().arrow_schema();
        let partitions = state.metadata().partition_columns();
        let first = schema.fields().len().saturating_sub(partitions.len());
        let are_last = schema.fields()[first..].iter().map(|field| field.name()).eq(partitions);
        if state.protocol().min_reader_version() > 1 || !are_last {
            return Ok(None);
        }
        let store = ObjectStoreUrl::parse(&table.location().url()[..Position::BeforePath])?;
        let mut others: Vec<FieldRef> = schema.fields()[first..].to_vec();
        if with_paths {
            others.push(Arc::new(Field::new(PATH, DataType::Utf8, false)));
        }
        let columns = TableSchema::builder(Arc::new(Schema::new(schema.fields()[..first].to_vec())))
            .with_table_partition_cols(others)
            .build();
        Ok(Some(Self { table: table.clone(), store, columns, wanted: None }))
    }

    /// Where the files lie that may have rows which satisfy `filters`; `None`: all. The Delta library finds them, by partition
    /// values and statistics.
    async fn matched(&self, filters: &[Expr], state: &dyn Session) -> Result<Option<HashSet<Path>>> {
        let has_path = |filter: &&Expr| filter.column_refs().iter().any(|column| column.name == PATH);
        let filters: Vec<Expr> = filters.iter().filter(|filter| !has_path(filter)).cloned().collect();
        let snapshot = self.table.state().map(|state| state.snapshot().clone());
        let can_prune = !filters.is_empty() && !self.columns.file_schema().fields().is_empty();
        let Some(snapshot) = snapshot.filter(|_| can_prune) else { return Ok(None) };
        let plan = DeltaScanNext::new(snapshot, delta_config())?.scan(state, Some(&vec![0]), &filters, None).await?;
        let mut matched = HashSet::new();
        plan.apply(|node| {
            let scan =
                node.downcast_ref::<DataSourceExec>().and_then(|scan| scan.downcast_to_file_source::<ParquetSource>());
            if let Some((scan, _)) = scan {
                matched.extend(scan.file_groups.iter().flat_map(FileGroup::iter).map(|file| file.path().clone()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Some(matched))
    }

    /// These files, and how many there are besides.
    fn files(&self, matched: Option<&HashSet<Path>>) -> Result<(Vec<PartitionedFile>, usize)> {
        let Some(state) = self.table.state() else { return Ok((Vec::new(), 0)) };
        let log = state.log_data();
        let base = self.table.location().url().as_str().trim_end_matches('/');
        let mut files = Vec::new();
        for file in log.iter() {
            let path = file.path();
            let location = self.table.location().child(&path).map_err(external)?;
            if matched.is_some_and(|matched| !matched.contains(&location)) {
                continue;
            }
            let meta = ObjectMeta {
                location,
                last_modified: DateTime::from_timestamp_millis(file.modification_time()).unwrap_or_default(),
                size: u64::try_from(file.size()).unwrap_or_default(),
                e_tag: None,
                version: None,
            };
            let mut values = file.partition_values_map();
            let value = |field: &FieldRef| match values.remove(field.name()).flatten() {
                _ if field.name() == PATH => Ok(ScalarValue::from(format!("{base}/{path}"))),
                None => ScalarValue::try_from(field.data_type()),
                Some(text) => ScalarValue::from(text).cast_to(field.data_type()),
            };
            let values = self.columns.table_partition_cols().iter().map(value).collect::<Result<_>>()?;
            let mut statistics = Statistics::new_unknown(self.columns.file_schema());
            statistics.num_rows = file.num_records().map_or(Precision::Absent, Precision::Exact);
            let file = PartitionedFile::new_from_meta(meta).with_partition_values(values);
            files.push(file.with_statistics(Arc::new(statistics)));
        }
        let others = log.num_files() - files.len();
        Ok((files, others))
    }

    /// The columns at `indices`, each as far as it is wanted; those in `whole` wholly.
    fn projection(&self, indices: &[usize], whole: &HashSet<Column>) -> Result<ProjectionExprs> {
        let schema = self.columns.table_schema();
        let column = |index: &usize| {
            let field = &schema.fields()[*index];
            let column = Column::new(field.name(), *index);
            let expr = match self.wanted.as_ref().and_then(|wanted| wanted.get(*index)) {
                Some(part @ Part::Fields(_)) if is_struct(field) && !whole.contains(&column) => {
                    partial(*index, field, part)?
                }
                _ => Arc::new(column),
            };
            Ok(ProjectionExpr::new(expr, field.name().clone()))
        };
        indices.iter().map(column).collect()
    }
}

fn is_struct(field: &FieldRef) -> bool {
    matches!(field.data_type(), DataType::Struct(_))
}

impl Narrow for LakeTable {
    fn wanted(&self) -> Option<&[Part]> {
        self.wanted.as_ref().map(|wanted| wanted.as_slice())
    }

    fn narrowed(&self, wanted: Vec<Part>) -> Arc<dyn TableProvider> {
        Arc::new(Self { wanted: Some(Arc::new(wanted)), ..self.clone() })
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.columns.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // What the reader cannot evaluate, the scan does behind it.
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let indices = projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect());
        let matched = self.matched(filters, state).await?;
        let (mut files, mut others) = self.files(matched.as_ref())?;
        if matched.is_some_and(|matched| matched.len() != files.len()) {
            // It has other names for them: none is left out.
            (files, others) = self.files(None)?;
        }
        let filters = physical_filters(filters, &schema, state)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(schema.project(&indices)?))));
        }
        let mut statistics = Statistics::new_unknown(&schema);
        statistics.num_rows = files.iter().fold(Precision::Exact(0), |rows, file| {
            let of_file = file.statistics.as_ref().map_or(Precision::Absent, |statistics| statistics.num_rows);
            rows.add(&of_file)
        });
        let mut options = state.config_options().execution.parquet.clone();
        options.pushdown_filters = true;
        let source = ParquetSource::new(self.columns.clone())
            .with_table_parquet_options(TableParquetOptions { global: options, ..TableParquetOptions::default() })
            .with_metadata_size_hint(FOOTER_BYTES);
        MetricBuilder::new(source.metrics()).global_counter("log_files_matched").add(files.len());
        MetricBuilder::new(source.metrics()).global_counter("log_files_pruned").add(others);
        let pushed = source.try_pushdown_filters(filters.clone(), state.config_options())?;
        let source = pushed.updated_node.unwrap_or_else(|| Arc::new(source));
        let left = filters.into_iter().zip(&pushed.filters);
        // The reader leaves a filter on lists out in files without one of its columns.
        let is_left = |(filter, pushed): &(Arc<dyn PhysicalExpr>, &PushedDown)| {
            matches!(pushed, PushedDown::No) || touches_lists(filter, &schema)
        };
        let left: Vec<_> = left.filter(is_left).map(|(filter, _)| filter).collect();
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let scan = |source: Arc<dyn FileSource>, limit: Option<usize>| {
            let config = FileScanConfigBuilder::new(self.store.clone(), source)
                .with_file_groups(groups)
                .with_statistics(statistics)
                .with_expr_adapter(Some(Arc::new(PartialColumns)))
                .with_limit(limit);
            DataSourceExec::from_data_source(config.build())
        };
        // What the reader does not evaluate is evaluated behind it, over columns that may be wanted for nothing else.
        let of_left: HashSet<Column> = left.iter().flat_map(collect_columns).collect();
        let mut read = indices.clone();
        read.extend(of_left.iter().map(Column::index).filter(|index| !indices.contains(index)));
        let columns = self.projection(&read, &of_left)?;
        let source = source.try_pushdown_projection(&columns)?.unwrap_or(source);
        if left.is_empty() {
            return Ok(scan(source, limit));
        }
        let scan = scan(source, None);
        let left = left.into_iter().map(|filter| reassign_expr_columns(filter, &scan.schema()));
        let filter = conjunction(left.collect::<Result<Vec<_>>>()?);
        let filtered: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(filter, scan)?);
        let columns = ProjectionExprs::from_indices(&(0..indices.len()).collect::<Vec<_>>(), &filtered.schema());
        Ok(Arc::new(ProjectionExec::try_new(columns.iter().cloned(), filtered)?))
    }
}
