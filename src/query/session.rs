//! The SQL session: read-only, bounded in memory, over `raw`, `lake`, `quarantine`, and the fresh view of each source.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::catalog::MemoryCatalogProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::Expr;

use super::athena::{self, AsOf, Shown};
use super::catalog::{LakeTables, QuarantineTables, RawTables, Sources, external};
use super::cooperative::CooperativeJoins;
use super::depth;
use super::errors::plain;
use super::fence;
use super::fresh::FreshTables;
use super::lake::Lake;
use super::narrow::NarrowScans;
use super::sources::RawSources;
use crate::config::Config;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::raw::list_sources;
use crate::store::Location;

/// What a statement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// What it means on Athena.
    #[default]
    Athena,
    /// What DataFusion makes of it.
    Datafusion,
}

/// What a statement may take; the session leaves it to whoever reads its results.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// After what time it is given up.
    pub timeout: Option<Duration>,
    /// After how many rows its result ends.
    pub max_rows: Option<u64>,
}

/// A session over a raw root, a lake root, or both.
pub struct SqlSession {
    pub(super) context: SessionContext,
    dialect: Dialect,
    roots: (Option<Location>, Option<Location>),
    pub(super) lake: Option<Arc<Lake>>,
    pub(super) raw: Option<Arc<RawSources>>,
}

/// The catalog that all schemas are in.
pub(super) const CATALOG: &str = "siltstone";

impl std::fmt::Debug for SqlSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlSession").finish_non_exhaustive()
    }
}

impl SqlSession {
    /// Opens a session in Athena's dialect. Sources are looked up when they are named.
    ///
    /// # Errors
    /// When a root that is given cannot be listed.
    pub async fn open(
        raw: Option<Location>,
        lake: Option<Location>,
        config: &Config,
        threads: usize,
        memory_bytes: usize,
    ) -> Result<Self> {
        Self::open_in(Dialect::Athena, raw, lake, config, threads, memory_bytes).await
    }

    /// Opens a session in a dialect.
    ///
    /// # Errors
    /// When a root that is given cannot be listed.
    pub async fn open_in(
        dialect: Dialect,
        raw: Option<Location>,
        lake: Option<Location>,
        config: &Config,
        threads: usize,
        memory_bytes: usize,
    ) -> Result<Self> {
        let mut session = SessionConfig::new()
            .with_target_partitions(threads.max(1))
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, "main");
        let options = session.options_mut();
        options.execution.parquet.schema_force_view_types = false;
        options.execution.parquet.pushdown_filters = true;
        // Fails where both sides of a union disagree on whether a column may be null.
        options.execution.skip_physical_aggregate_schema_check = true;
        // Fails on joins by an expression over a struct's field, and our scans gain nothing by it.
        options.optimizer.enable_leaf_expression_pushdown = false;
        options.sql_parser.map_string_types_to_utf8view = false;
        if dialect == Dialect::Athena {
            // In whichever direction.
            options.sql_parser.default_null_ordering = "nulls_last".to_owned();
            options.execution.time_zone = Some("UTC".to_owned());
        }
        let pool = TrackConsumersPool::new(FairSpillPool::new(memory_bytes), NonZeroUsize::MIN);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .build_arc()
            .context(|| "cannot start the query engine".to_owned())?;
        let describe_dialect = || "cannot set up the dialect".to_owned();
        let sources = raw.clone().map(|raw| Arc::new(RawSources::new(raw, config.clone(), threads)));
        let tables = lake.clone().map(|lake| Arc::new(Lake::new(lake, Arc::clone(&runtime))));
        let builder = SessionStateBuilder::new_with_default_features()
            .with_config(session)
            .with_runtime_env(runtime)
            .with_optimizer_rule(Arc::new(NarrowScans))
            .with_physical_optimizer_rules(fence::rules())
            .with_physical_optimizer_rule(Arc::new(CooperativeJoins));
        let context = match dialect {
            Dialect::Athena => athena::register(builder).context(describe_dialect)?,
            Dialect::Datafusion => SessionContext::new_with_state(builder.build()),
        };
        context.register_catalog(CATALOG, Arc::new(MemoryCatalogProvider::new()));
        let session = Self { context, dialect, roots: (raw, lake), raw: sources, lake: tables };
        session.find_sources(&["main"]).await?;
        Ok(session)
    }

    /// Looks again which sources there are. The fresh views are in each of the schemas `main`.
    ///
    /// # Errors
    /// When a root cannot be listed.
    pub(super) async fn find_sources(&self, main: &[&str]) -> Result<()> {
        let describe = || "cannot set up the catalog".to_owned();
        let catalog = self.context.catalog(CATALOG).ok_or_else(|| Error::new(ErrorKind::Failed, describe()))?;
        let mut all = BTreeSet::new();
        if let (Some(lake), (raw, Some(root))) = (&self.lake, &self.roots) {
            let ids = match list_sources(root).await {
                Ok((ids, _)) => ids,
                Err(error) if error.kind() == ErrorKind::NotFound && raw.is_some() => Vec::new(),
                Err(error) => return Err(error),
            };
            all.extend(ids.iter().cloned());
            let tables = LakeTables(Arc::clone(lake));
            catalog.register_schema("lake", Arc::new(Sources { ids: ids.clone(), tables })).context(describe)?;
            let tables = QuarantineTables(Arc::clone(lake));
            catalog.register_schema("quarantine", Arc::new(Sources { ids, tables })).context(describe)?;
        }
        if let (Some(raw), (Some(root), _)) = (&self.raw, &self.roots) {
            let (ids, _) = list_sources(root).await?;
            all.extend(ids.iter().cloned());
            let tables = RawTables { raw: Arc::clone(raw), lake: self.lake.clone() };
            catalog.register_schema("raw", Arc::new(Sources { ids, tables })).context(describe)?;
        }
        let ids: Vec<String> = all.into_iter().collect();
        for name in main {
            let tables = FreshTables { raw: self.raw.clone(), lake: self.lake.clone() };
            catalog.register_schema(name, Arc::new(Sources { ids: ids.clone(), tables })).context(describe)?;
        }
        Ok(())
    }

    /// Begins a query. Only queries are taken: nothing here changes data.
    ///
    /// # Errors
    /// `Usage` when the statement is wrong; `Failed` when a table cannot be read.
    pub async fn query(&self, sql: &str) -> Result<SendableRecordBatchStream> {
        let begin = async { self.begin(self.plan(sql).await?).await };
        begin.await.map_err(|error| wrong(&error))
    }

    /// Plans a query.
    ///
    /// # Errors
    /// When the statement is wrong, is no query, or a table cannot be read.
    pub(super) async fn plan(&self, sql: &str) -> datafusion::error::Result<LogicalPlan> {
        depth::check_text(sql)?;
        let mut statements = match self.dialect {
            Dialect::Athena => athena::parse(sql)?,
            Dialect::Datafusion => DFParserBuilder::new(sql).build()?.parse_statements()?.into(),
        };
        let mut statement = statements.pop().ok_or_else(|| DataFusionError::Plan("No SQL is given".to_owned()))?;
        if !statements.is_empty() {
            return Err(DataFusionError::Plan("a single SQL statement is taken".to_owned()));
        }
        depth::check_statement(&statement)?;
        if self.dialect == Dialect::Athena {
            if let Some(show) = athena::asked_to_show(&statement) {
                statement = show.statement(&self.shown(&show.what).await?)?;
            }
            self.settle_versions(&mut statement).await?;
            athena::rewrite(&mut statement)?;
        }
        let plan = self.context.state().statement_to_plan(statement).await?;
        depth::check_plan(&plan)?;
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        options.verify_plan(&plan)?;
        match self.dialect {
            Dialect::Athena => athena::finish(plan),
            Dialect::Datafusion => Ok(plan),
        }
    }

    /// Begins what was planned.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub(super) async fn begin(&self, plan: LogicalPlan) -> datafusion::error::Result<SendableRecordBatchStream> {
        self.context.execute_logical_plan(plan).await?.execute_stream().await
    }

    /// The columns of the rows that a plan gives.
    ///
    /// # Errors
    /// When its types do not go together.
    #[cfg(feature = "postgres")]
    pub(super) fn columns(&self, plan: &LogicalPlan) -> datafusion::error::Result<arrow::datatypes::SchemaRef> {
        columns_of(&self.context, plan)
    }

    /// The rows that a SHOW asks for.
    async fn shown(&self, what: &Shown) -> datafusion::error::Result<Vec<Vec<String>>> {
        let catalog = self.context.catalog(CATALOG);
        let one = |mut names: Vec<String>| {
            names.sort();
            Ok(names.into_iter().map(|name| vec![name]).collect())
        };
        match what {
            Shown::Schemas => one(catalog.map_or_else(Vec::new, |catalog| catalog.schema_names())),
            Shown::Tables(schema) => {
                let name = match schema.as_ref().and_then(|name| name.0.last()?.as_ident()) {
                    Some(name) if name.quote_style.is_none() => name.value.to_lowercase(),
                    Some(name) => name.value.clone(),
                    None => self.context.state().config_options().catalog.default_schema.clone(),
                };
                let schema = catalog.and_then(|catalog| catalog.schema(&name));
                one(schema.ok_or_else(|| DataFusionError::Plan(format!("there is no schema {name}")))?.table_names())
            }
            Shown::Columns(table) | Shown::Table(table) => {
                let table = self.context.table_provider(object_name_to_table_reference(table.clone(), true)?).await?;
                let schema = table.schema();
                let fields = schema.fields().iter();
                let row = |name: &str, data_type| match what {
                    Shown::Table(_) => vec![name.to_owned(), athena::type_name(data_type), String::new()],
                    _ => vec![name.to_owned()],
                };
                Ok(fields.map(|field| row(field.name(), field.data_type())).collect())
            }
            Shown::Partitions(table) => {
                let name = object_name_to_table_reference(table.clone(), true)?;
                let ledger = match &self.lake {
                    Some(lake) if name.schema() != Some("raw") => lake.opened(name.table()).await.map_err(external)?,
                    _ => return Err(DataFusionError::Plan(format!("{name} is no table of a lake"))),
                };
                let (table, Some(ledger)) = ledger else {
                    return Err(DataFusionError::Plan(format!("there is no table {name}")));
                };
                let partitioning = &ledger.registry.partitioning;
                if partitioning.0.is_empty() {
                    return Err(DataFusionError::Plan(format!("{name} is not a partitioned table")));
                }
                let files = table.files().map_err(external)?;
                let partitions: BTreeSet<String> =
                    files.iter().map(|file| partitioning.hive_path(&file.partition)).collect();
                one(partitions.into_iter().collect())
            }
        }
    }

    /// The schemas with their tables.
    #[cfg(feature = "postgres")]
    pub(super) fn catalog(&self) -> Option<Arc<dyn datafusion::catalog::CatalogProvider>> {
        self.context.catalog(CATALOG)
    }

    /// Finds the versions that a statement asks for, and names its tables by them.
    async fn settle_versions(&self, statement: &mut Statement) -> datafusion::error::Result<()> {
        let asked = athena::asked_for(statement).map_err(DataFusionError::Plan)?;
        if asked.is_empty() {
            return Ok(());
        }
        let mut versions = Vec::new();
        for (source, as_of) in asked {
            versions.push(match (as_of, &self.lake) {
                (AsOf::Version(version), _) => version,
                (AsOf::Time(_), None) => return Err(DataFusionError::Plan(format!("{source} has no versions"))),
                (AsOf::Time(time), Some(lake)) => {
                    let at_ms = self.time(&time).await?;
                    lake.version_at(&source, at_ms).await.map_err(external)?
                }
            });
        }
        athena::name_versions(statement, versions);
        Ok(())
    }

    /// The time that an expression stands for, in milliseconds since 1970-01-01T00:00:00Z.
    async fn time(&self, expr: &Expr) -> datafusion::error::Result<i64> {
        let sql = format!("SELECT CAST({expr} AS TIMESTAMP(6))");
        let mut statements = athena::parse(&sql)?;
        let mut statement = statements.pop().ok_or_else(|| DataFusionError::Plan("No time is given".to_owned()))?;
        athena::rewrite(&mut statement)?;
        let plan = self.context.state().statement_to_plan(statement).await?;
        let batches = self.context.execute_logical_plan(plan).await?.collect().await?;
        let time = batches.first().filter(|batch| batch.num_rows() == 1).map(|batch| batch.column(0));
        let micros = time.and_then(|time| time.as_primitive_opt::<TimestampMicrosecondType>());
        let micros = micros.filter(|micros| micros.is_valid(0)).map(|micros| micros.value(0));
        micros.map(|micros| micros.div_euclid(1000)).ok_or_else(|| DataFusionError::Plan(format!("{expr} is no time")))
    }
}

pub(super) fn wrong(error: &DataFusionError) -> Error {
    let kind = match error.find_root() {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_) => ErrorKind::Usage,
        _ => ErrorKind::Failed,
    };
    Error::new(kind, plain(error))
}

/// The columns of the rows that a plan gives: under the names of the plan, of the types that the branches of an expression, or of
/// a union, are brought to when it is analyzed.
#[cfg(feature = "postgres")]
pub(super) fn columns_of(
    context: &SessionContext,
    plan: &LogicalPlan,
) -> datafusion::error::Result<arrow::datatypes::SchemaRef> {
    let state = context.state();
    let analyzed = state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {})?;
    let named = plan.schema().fields().iter().zip(analyzed.schema().fields());
    let fields = named.map(|(field, typed)| typed.as_ref().clone().with_name(field.name()));
    Ok(Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>())))
}
