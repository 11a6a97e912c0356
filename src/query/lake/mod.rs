//! The tables of a lake, kept open between the statements of a session: of the log, only what is new is read again.

mod partial;
mod scan;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::catalog::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake_core::delta_datafusion::{DeltaScanConfig, DeltaScanNext};

use super::raw::PATH;
use crate::error::{ErrorKind, Result};
use crate::lake::{Head, Hidden, Registry, Table};
use crate::store::{Exact, Location};
pub(super) use scan::LakeTable;

/// The tables below a lake root.
#[derive(Debug)]
pub(super) struct Lake {
    root: Location,
    pub(super) runtime: Arc<RuntimeEnv>,
    /// What was opened last of each source.
    opened: Mutex<HashMap<String, (Table, Ledger)>>,
}

/// What belongs to one version of a table.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    version: Option<u64>,
    pub(super) hidden: Hidden,
    pub(super) head: Arc<Head>,
    pub(super) registry: Arc<Registry>,
}

/// How many heads are looked at for the one that was held.
const MAX_HEADS: usize = 16;

impl Ledger {
    /// Whether it is a later state of the ledger `before`, and not that of another table which took the place of the first.
    async fn follows(&self, before: &Self, table: &Table) -> bool {
        if self.head.id == before.head.id {
            return self.head == before.head;
        }
        if self.version == before.version {
            return false;
        }
        let mut head = Head::clone(&self.head);
        for _ in 0..MAX_HEADS {
            match head.parent {
                Some(parent) if parent == before.head.id => return true,
                Some(parent) if parent > before.head.id => {
                    match Hidden::new(table.location()).read_json(&Hidden::head_path(parent)).await {
                        Ok(older) => head = older,
                        Err(_) => return false,
                    }
                }
                _ => return false,
            }
        }
        false
    }
}

/// What belongs to the version of a table that is loaded. The registry may be known from `before`.
async fn read_ledger(table: &Table, before: Option<&Ledger>) -> Result<Option<Ledger>> {
    let Some(id) = table.ledger_head().await? else { return Ok(None) };
    let hidden = Hidden::new(table.location());
    let head: Head = hidden.read_json(&Hidden::head_path(id)).await?;
    let registry = match before.filter(|before| before.head.registry == head.registry) {
        Some(before) => Arc::clone(&before.registry),
        None => Arc::new(hidden.read_json::<Registry>(&head.registry).await?),
    };
    Ok(Some(Ledger { version: table.version(), hidden, head: Arc::new(head), registry }))
}

impl Lake {
    pub(super) fn new(root: Location, runtime: Arc<RuntimeEnv>) -> Self {
        Self { root, runtime, opened: Mutex::default() }
    }

    /// The table of a source at its latest version; also one that another writer made.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub(super) async fn table(&self, source: &str) -> Result<Table> {
        match self.opened(source).await {
            Ok((table, _)) => Ok(table),
            Err(error) if error.kind() == ErrorKind::Corrupt => Table::open(self.root.folder(source)?).await,
            Err(error) => Err(error),
        }
    }

    /// The table of a source at its latest version, with what belongs to that; `None` without a table.
    ///
    /// # Errors
    /// When it cannot be read; `Corrupt` when Siltstone did not write it.
    pub(super) async fn opened(&self, source: &str) -> Result<(Table, Option<Ledger>)> {
        let held = lock(&self.opened).get(source).cloned();
        if let Some((mut table, before)) = held
            && table.catch_up().await.is_ok()
            && let Ok(Some(ledger)) = read_ledger(&table, Some(&before)).await
            && ledger.follows(&before, &table).await
        {
            return Ok((self.hold(source, &table, &ledger), Some(ledger)));
        }
        let table = Table::open(self.root.folder(source)?).await?;
        let ledger = read_ledger(&table, None).await?;
        Ok(match &ledger {
            Some(held) => (self.hold(source, &table, held), ledger),
            None => (table, None),
        })
    }

    fn hold(&self, source: &str, table: &Table, ledger: &Ledger) -> Table {
        lock(&self.opened).insert(source.to_owned(), (table.clone(), ledger.clone()));
        table.clone()
    }

    /// A version of a table, as it is queried; with the files of its rows, when they are to be shown.
    ///
    /// # Errors
    /// When the table needs a feature that is not there.
    pub(super) fn provider(
        &self,
        table: &Table,
        with_paths: bool,
    ) -> datafusion::error::Result<Option<Arc<dyn TableProvider>>> {
        let Some(state) = table.state() else { return Ok(None) };
        let store = Arc::new(Exact::new(Arc::clone(table.location().store())));
        self.runtime.register_object_store(table.location().url(), store);
        if let Some(table) = LakeTable::new(table, with_paths)? {
            return Ok(Some(Arc::new(table)));
        }
        let mut config = delta_config();
        if with_paths {
            config = config.with_file_column_name(PATH);
        }
        Ok(Some(Arc::new(DeltaScanNext::new(state.snapshot().clone(), config)?)))
    }

    /// The latest version of a source's table that was made at `at_ms` or before.
    ///
    /// # Errors
    /// `NotFound` when there was none yet, or it is not known any more.
    pub(super) async fn version_at(&self, source: &str, at_ms: i64) -> Result<u64> {
        let version = self.table(source).await?.version_at(at_ms).await?;
        version.ok_or_else(|| {
            crate::error::Error::new(ErrorKind::NotFound, format!("the table of {source} has no version of that time"))
        })
    }
}

/// How the Delta library gives the columns of a table: as they are.
fn delta_config() -> DeltaScanConfig {
    DeltaScanConfig { schema_force_view_types: false, wrap_partition_values: false, ..DeltaScanConfig::new() }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
