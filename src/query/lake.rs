//! The tables of a lake, kept open between the statements of a session: of the log, only what is new is read again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::catalog::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake_core::delta_datafusion::{DeltaScanConfig, DeltaScanNext};

use super::raw::PATH;
use crate::error::{ErrorKind, Result};
use crate::lake::{Head, Hidden, Registry, Table};
use crate::store::Location;

/// The tables below a lake root.
#[derive(Debug)]
pub(super) struct Lake {
    root: Location,
    pub(super) runtime: Arc<RuntimeEnv>,
    tables: Mutex<HashMap<String, Table>>,
    /// The last ledger read of each source.
    ledgers: Mutex<HashMap<String, Ledger>>,
}

/// What belongs to one version of a table.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) hidden: Hidden,
    pub(super) head: Arc<Head>,
    pub(super) registry: Arc<Registry>,
}

impl Lake {
    pub(super) fn new(root: Location, runtime: Arc<RuntimeEnv>) -> Self {
        Self { root, runtime, tables: Mutex::default(), ledgers: Mutex::default() }
    }

    /// The table of a source at its latest version.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub(super) async fn table(&self, source: &str) -> Result<Table> {
        let held = lock(&self.tables).get(source).cloned();
        let table = match held {
            Some(mut table) => {
                table.catch_up().await?;
                table
            }
            None => Table::open(self.root.folder(source)?).await?,
        };
        lock(&self.tables).insert(source.to_owned(), table.clone());
        Ok(table)
    }

    /// The table of a source at its latest version, with what belongs to that; `None` without a table.
    ///
    /// # Errors
    /// When it cannot be read; `Corrupt` when Siltstone did not write it.
    pub(super) async fn opened(&self, source: &str) -> Result<(Table, Option<Ledger>)> {
        let held = lock(&self.tables).contains_key(source);
        let mut table = self.table(source).await?;
        let ledger = match self.ledger(source, &table).await {
            // Another table may have taken its place, with versions of its own.
            Err(_) if held => {
                table.refresh().await?;
                lock(&self.tables).insert(source.to_owned(), table.clone());
                self.ledger(source, &table).await?
            }
            ledger => ledger?,
        };
        Ok((table, ledger))
    }

    async fn ledger(&self, source: &str, table: &Table) -> Result<Option<Ledger>> {
        let Some(id) = table.ledger_head().await? else { return Ok(None) };
        let hidden = Hidden::new(table.location());
        let head: Head = hidden.read_json(&Hidden::head_path(id)).await?;
        let held = lock(&self.ledgers).get(source).filter(|held| *held.head == head).cloned();
        if let Some(held) = held {
            return Ok(Some(held));
        }
        let registry: Registry = hidden.read_json(&head.registry).await?;
        let ledger = Ledger { hidden, head: Arc::new(head), registry: Arc::new(registry) };
        lock(&self.ledgers).insert(source.to_owned(), ledger.clone());
        Ok(Some(ledger))
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
        self.runtime.register_object_store(table.location().url(), Arc::clone(table.location().store()));
        let mut config =
            DeltaScanConfig { schema_force_view_types: false, wrap_partition_values: false, ..DeltaScanConfig::new() };
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
