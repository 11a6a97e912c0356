//! The names of SQL: `raw.<source>`, `lake.<source>` and `quarantine.<source>`, loaded when a statement names them.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake_core::delta_datafusion::{DeltaScanConfig, DeltaScanNext};
use tokio::runtime::Handle;
use url::Position;

use super::quarantine::QuarantineTable;
use super::raw::{PATH, RawScan, RawTable};
use crate::compact::{find_records_path, observe};
use crate::config::Config;
use crate::error::{Error, ErrorKind, describe};
use crate::json::DecodeOptions;
use crate::lake::{Diff, Found, Head, Hidden, Quarantine, Registry, Table};
use crate::raw::{Fetcher, RawObject, list_objects};
use crate::schema::{Observation, resolve_ruled};
use crate::store::Location;

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn external(error: Error) -> DataFusionError {
    DataFusionError::Execution(describe(&error))
}

/// The sources under one root, each a table that is loaded when a statement names it.
#[derive(Debug)]
pub(super) struct Sources<T> {
    pub(super) ids: Vec<String>,
    pub(super) tables: T,
}

/// Loads the table of a source that is there.
#[async_trait]
pub(super) trait LoadTable: std::fmt::Debug + Send + Sync {
    /// The table; `None` when the source has none yet.
    async fn load_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>>;

    /// The table with the column `"$path"` behind the others; `None` when there is no such.
    async fn load_with_paths(&self, _: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(None)
    }
}

/// What a name ends with that asks for the column `"$path"`. No source has such a name.
pub(super) const WITH_PATHS: &str = "$path";

#[async_trait]
impl<T: LoadTable + 'static> SchemaProvider for Sources<T> {
    fn table_names(&self) -> Vec<String> {
        self.ids.clone()
    }

    fn table_exist(&self, name: &str) -> bool {
        let name = name.strip_suffix(WITH_PATHS).unwrap_or(name);
        self.ids.iter().any(|source| source == name)
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match name.strip_suffix(WITH_PATHS) {
            _ if !self.table_exist(name) => Ok(None),
            Some(name) => self.tables.load_with_paths(name).await,
            None => self.tables.load_table(name).await,
        }
    }
}

/// The lake tables.
#[derive(Debug)]
pub(super) struct LakeTables {
    pub(super) lake: Location,
    pub(super) runtime: Arc<RuntimeEnv>,
}

#[async_trait]
impl LoadTable for LakeTables {
    async fn load_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.load(name, false).await
    }

    async fn load_with_paths(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.load(name, true).await
    }
}

impl LakeTables {
    async fn load(&self, name: &str, with_paths: bool) -> Result<Option<Arc<dyn TableProvider>>> {
        let location = self.lake.folder(name).map_err(external)?;
        self.runtime.register_object_store(location.url(), Arc::clone(location.store()));
        let table = Table::open(location).await.map_err(external)?;
        let Some(state) = table.state() else { return Ok(None) };
        let mut config =
            DeltaScanConfig { schema_force_view_types: false, wrap_partition_values: false, ..DeltaScanConfig::new() };
        if with_paths {
            config = config.with_file_column_name(PATH);
        }
        let provider = DeltaScanNext::new(state.snapshot().clone(), config)?;
        Ok(Some(Arc::new(provider)))
    }
}

/// What the lake tables keep in quarantine.
#[derive(Debug)]
pub(super) struct QuarantineTables {
    pub(super) lake: Location,
    pub(super) runtime: Arc<RuntimeEnv>,
}

#[async_trait]
impl LoadTable for QuarantineTables {
    async fn load_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let location = self.lake.folder(name).map_err(external)?;
        let store = ObjectStoreUrl::parse(&location.url()[..Position::BeforePath])?;
        self.runtime.register_object_store(store.as_ref(), Arc::clone(location.store()));
        let table = Table::open(location).await.map_err(external)?;
        let id = match table.ledger_head().await {
            Ok(Some(id)) => id,
            Ok(None) => return Ok(None),
            // The table of another writer may be queried, and has no quarantine.
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(None),
            Err(error) => return Err(external(error)),
        };
        let hidden = Hidden::new(table.location());
        let head: Head = hidden.read_json(&Hidden::head_path(id)).await.map_err(external)?;
        let quarantine = Quarantine::open(&hidden, &head).await.map_err(external)?;
        Ok(Some(Arc::new(QuarantineTable { quarantine, store })))
    }
}

/// The raw sources.
#[derive(Debug)]
pub(super) struct RawTables {
    pub(super) raw: Location,
    pub(super) lake: Option<Location>,
    pub(super) config: Config,
    pub(super) threads: usize,
}

#[async_trait]
impl LoadTable for RawTables {
    async fn load_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = self.load(name).await.map_err(external)?;
        Ok(Some(Arc::new(table)))
    }

    async fn load_with_paths(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = self.load(name).await.map_err(external)?;
        let base = self.raw.folder(name).map_err(external)?;
        Ok(Some(Arc::new(table.with_paths(base.url().as_str()))))
    }
}

impl RawTables {
    /// Finds the columns of a source's records: those the registry knows, and those of objects that it has not seen.
    async fn load(&self, source_id: &str) -> crate::error::Result<RawTable> {
        let settings = self.config.settings(source_id)?;
        let location = self.raw.folder(source_id)?;
        let mut observed = Observation::default();
        let mut records_path = settings.records_path.clone();
        let mut rule = settings.rule.clone();
        let mut ledger = None;
        if let Some(lake) = &self.lake {
            let table = Table::open(lake.folder(source_id)?).await?;
            if let Some(id) = table.ledger_head().await? {
                let hidden = Hidden::new(table.location());
                let head: Head = hidden.read_json(&Hidden::head_path(id)).await?;
                let registry: Registry = hidden.read_json(&head.registry).await?;
                records_path = records_path.or(registry.pinned_records_path().map(<[String]>::to_vec));
                rule.inherit_types(&registry.rule);
                observed = registry.observed;
                ledger = Some((hidden, head));
            }
        }
        let (mut objects, mut unseen) = (Vec::new(), Vec::new());
        let mut diff = match &ledger {
            Some((hidden, head)) => Some(Diff::open(hidden, Some(head)).await?),
            None => None,
        };
        let mut listing = list_objects(&location)?;
        while let Some(batch) = listing.next().await? {
            for object in batch.iter() {
                let found = match &mut diff {
                    Some(diff) => diff.look_up(object).await?,
                    None => Found::New,
                };
                if found != Found::Consumed {
                    unseen.push(RawObject::from(object));
                }
                objects.push(RawObject::from(object));
            }
        }
        let fetcher = Fetcher::new(&location, &Handle::current())?;
        let decode = tokio::task::block_in_place(|| {
            let records_path = match records_path {
                Some(path) => path,
                None => find_records_path(&fetcher, &objects, &settings.limits)?,
            };
            let decode = DecodeOptions {
                max_depth: settings.max_depth,
                records_path,
                rule: rule.clone(),
                envelope_fields: settings.envelope_fields.clone(),
                max_columns: settings.max_columns,
                ..DecodeOptions::default()
            };
            observed.merge(&observe(&fetcher, &unseen, &decode, &settings.limits, self.threads)?);
            Ok::<_, Error>(decode)
        })?;
        let fields = resolve_ruled(&observed, &[], &rule);
        let scan = RawScan { fetcher, decode, limits: settings.limits, observed, fields };
        Ok(RawTable::new(scan, objects))
    }
}
