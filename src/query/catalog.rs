//! The names of SQL: `<source>`, `raw.<source>`, `lake.<source>` and `quarantine.<source>`, loaded when a statement names
//! them.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use url::Position;

use super::lake::Lake;
use super::quarantine::QuarantineTable;
use super::sources::RawSources;
use crate::error::{Error, ErrorKind, describe};
use crate::lake::{Head, Hidden, Quarantine};
use crate::store::Exact;

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn external(error: Error) -> DataFusionError {
    match error.kind() {
        ErrorKind::Usage => DataFusionError::Plan(describe(&error)),
        _ => DataFusionError::Execution(describe(&error)),
    }
}

/// The sources under one root, each a table that is loaded when a statement names it.
#[derive(Debug)]
pub(super) struct Sources<T> {
    pub(super) ids: Vec<String>,
    pub(super) tables: T,
}

/// What a statement asks of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    pub(super) source: &'a str,
    /// The version of the table; `None`: the latest.
    pub(super) version: Option<u64>,
    /// With the column `"$path"` behind the others.
    pub(super) paths: bool,
}

/// What a name ends with that asks for the column `"$path"`. No source has such a name.
pub(super) const WITH_PATHS: &str = "$path";
/// What stands before the number of a version in a name, before [`WITH_PATHS`].
pub(super) const AT_VERSION: &str = "$version=";

impl<'a> Wanted<'a> {
    fn parse(name: &'a str) -> Self {
        let (name, paths) = name.strip_suffix(WITH_PATHS).map_or((name, false), |name| (name, true));
        let versioned = name.rsplit_once(AT_VERSION);
        match versioned.and_then(|(source, version)| Some((source, version.parse().ok()?))) {
            Some((source, version)) => Self { source, version: Some(version), paths },
            None => Self { source: name, version: None, paths },
        }
    }

    /// Refuses versions, for what is no table.
    pub(super) fn without_version(self, what: &str) -> Result<Self> {
        match self.version {
            None => Ok(self),
            Some(_) => Err(DataFusionError::Plan(format!("{what}.{} has no versions", self.source))),
        }
    }
}

/// Loads the table of a source that is there.
#[async_trait]
pub(super) trait LoadTable: std::fmt::Debug + Send + Sync {
    /// The table; `None` when the source has none yet.
    async fn load(&self, wanted: Wanted<'_>) -> Result<Option<Arc<dyn TableProvider>>>;
}

#[async_trait]
impl<T: LoadTable + 'static> SchemaProvider for Sources<T> {
    fn table_names(&self) -> Vec<String> {
        self.ids.clone()
    }

    fn table_exist(&self, name: &str) -> bool {
        let wanted = Wanted::parse(name);
        self.ids.iter().any(|source| source == wanted.source)
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if self.table_exist(name) { self.tables.load(Wanted::parse(name)).await } else { Ok(None) }
    }
}

/// The lake tables.
#[derive(Debug)]
pub(super) struct LakeTables(pub(super) Arc<Lake>);

#[async_trait]
impl LoadTable for LakeTables {
    async fn load(&self, wanted: Wanted<'_>) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = self.0.table(wanted.source).await.map_err(external)?;
        let table = match wanted.version {
            Some(version) => table.at_version(version).await.map_err(external)?,
            None => table,
        };
        self.0.provider(&table, wanted.paths)
    }
}

/// What the lake tables keep in quarantine.
#[derive(Debug)]
pub(super) struct QuarantineTables(pub(super) Arc<Lake>);

#[async_trait]
impl LoadTable for QuarantineTables {
    async fn load(&self, wanted: Wanted<'_>) -> Result<Option<Arc<dyn TableProvider>>> {
        let wanted = wanted.without_version("quarantine")?;
        let table = self.0.table(wanted.source).await.map_err(external)?;
        let store = ObjectStoreUrl::parse(&table.location().url()[..Position::BeforePath])?;
        let id = match table.ledger_head().await {
            Ok(Some(id)) if !wanted.paths => id,
            Ok(_) => return Ok(None),
            // The table of another writer may be queried, and has no quarantine.
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(None),
            Err(error) => return Err(external(error)),
        };
        let files = Arc::new(Exact::new(Arc::clone(table.location().store())));
        self.0.runtime.register_object_store(store.as_ref(), files);
        let hidden = Hidden::new(table.location());
        let head: Head = hidden.read_json(&Hidden::head_path(id)).await.map_err(external)?;
        let quarantine = Quarantine::open(&hidden, &head).await.map_err(external)?;
        Ok(Some(Arc::new(QuarantineTable { quarantine, store })))
    }
}

/// The raw sources.
#[derive(Debug)]
pub(super) struct RawTables {
    pub(super) raw: Arc<RawSources>,
    pub(super) lake: Option<Arc<Lake>>,
}

#[async_trait]
impl LoadTable for RawTables {
    async fn load(&self, wanted: Wanted<'_>) -> Result<Option<Arc<dyn TableProvider>>> {
        let wanted = wanted.without_version("raw")?;
        let ledger = match &self.lake {
            Some(lake) => lake.opened(wanted.source).await.map_err(external)?.1,
            None => None,
        };
        let table = self.raw.all(wanted.source, ledger.as_ref()).await.map_err(external)?;
        Ok(Some(Arc::new(if wanted.paths { table.with_paths() } else { table })))
    }
}
