//! The Delta table: opening it, its files, and the commit.
//!
//! A commit is one put-if-absent of one log entry. Whoever finds the entry there lost the race, unless the entry is its
//! own: a reply that was lost is told from a conflict by reading the entry back.

use std::collections::HashMap;
use std::iter;

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake_core::kernel::transaction::{CommitData, TransactionError};
use deltalake_core::kernel::{
    Action, Add, CommitInfo, MetadataExt as _, Protocol, Remove, StructField, StructType, Transaction, new_metadata,
};
use deltalake_core::logstore::{CommitOrBytes, LogStore as _, LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;

use arrow::datatypes::{DataType, Field as ArrowField, Schema};

use super::protocol;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::partition::{PartitionKey, Partitioning, ValueType};
use crate::schema::{Field, JSON_TEXT, KEYS, NAIVE, described_field};
use crate::store::Location;
use crate::write::{DataFile, NO_VALUES, leaves_with_stats};

/// The `txn` application id whose version names the ledger's head.
pub(super) const LEDGER_APP: &str = "siltstone.ledger";
/// The key under which a commit carries the id of the run that made it.
const RUN_ID: &str = "siltstone.runId";
/// A checkpoint is written every so many versions.
const CHECKPOINT_INTERVAL: u64 = 20;

/// A source's table, as of the version it was loaded at.
#[derive(Clone)]
pub struct Table {
    location: Location,
    log: LogStoreRef,
    state: Option<DeltaTableState>,
    /// What was committed since: the next version, which most have no need to load.
    made: Option<Made>,
}

/// A version that this process made.
#[derive(Debug, Clone, Copy)]
struct Made {
    version: u64,
    file_count: usize,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({}, version {:?})", self.location.url(), self.version())
    }
}

/// A data file that the table's current version refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveFile {
    /// The path below the table's folder.
    pub path: String,
    /// Stored bytes.
    pub size_bytes: u64,
    /// Rows.
    pub row_count: u64,
    /// The values of the partition columns.
    pub partition: PartitionKey,
    /// Delta statistics, JSON text.
    pub stats: String,
}

/// What one commit changes.
#[derive(Debug, Clone)]
pub struct Change {
    /// The id of the run.
    pub run_id: String,
    /// When it is, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: i64,
    /// The columns the table has from now on, when that changes (or the table is new).
    pub fields: Option<Vec<Field>>,
    /// The partition columns; fixed once the table is there.
    pub partitioning: Partitioning,
    /// Files to add.
    pub add: Vec<DataFile>,
    /// Files to remove, whose rows are in `add` again.
    pub remove: Vec<ActiveFile>,
    /// The rows stay the same: they only lie in other files from now on, of about this many bytes.
    pub optimizes_to: Option<usize>,
    /// The ledger's head that belongs to this version.
    pub ledger_head: i64,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The table has this version, and it is ours.
    Committed(u64),
    /// Another writer made the version: load the table and plan again.
    Conflict,
}

impl Table {
    /// Opens the table in a folder, which may hold none yet.
    ///
    /// # Errors
    /// When the log cannot be read or contradicts itself.
    pub async fn open(location: Location) -> Result<Self> {
        let mut table = Self::unloaded(location)?;
        table.refresh().await?;
        Ok(table)
    }

    fn unloaded(location: Location) -> Result<Self> {
        let there = location.local().and_then(|path| path.ancestors().find(|path| path.exists()));
        if let Some(file) = there.filter(|there| !there.is_dir()) {
            return Err(Error::usage(format!("{} is a file, not a folder for tables", file.display())));
        }
        if location.url().path().contains("%25") {
            // The Delta library decodes such paths twice.
            return Err(Error::usage(format!(
                "a table cannot lie in a folder with '%' in its path: {}",
                location.url()
            )));
        }
        let config = StorageConfig::default();
        let describe = || format!("cannot open the table {}", location.url());
        let prefixed =
            config.decorate_store(std::sync::Arc::clone(location.store()), location.url()).context(describe)?;
        let log = default_logstore(prefixed.into(), std::sync::Arc::clone(location.store()), location.url(), &config);
        Ok(Self { location, log, state: None, made: None })
    }

    /// Loads the version `version` of the same table.
    ///
    /// # Errors
    /// `NotFound` when there is no such version, or its log entries are gone.
    pub async fn at_version(&self, version: u64) -> Result<Self> {
        let url = self.location.url();
        if self.version().is_none_or(|last| last < version) {
            return Err(Error::new(ErrorKind::NotFound, format!("the table {url} has no version {version}")));
        }
        let state = DeltaTableState::try_new(self.log.as_ref(), Some(version)).await.map_err(|error| {
            let message = format!("version {version} of the table {url} cannot be read: {error}");
            Error::new(ErrorKind::NotFound, message)
        })?;
        Ok(Self { state: Some(state), made: None, ..self.clone() })
    }

    /// The last version that was made at `at_ms` or before, in milliseconds since 1970-01-01T00:00:00Z; `None` when none was, or
    /// its log entry is gone.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn version_at(&self, at_ms: i64) -> Result<Option<u64>> {
        let describe = || format!("cannot read the log of the table {}", self.location.url());
        // The versions below `from` were made in time, those from `to` on later.
        let (mut from, mut to) = (0, self.version().map_or(0, |last| last + 1));
        let mut found = None;
        while from < to {
            let middle = from + (to - from) / 2;
            let Some(entry) = self.log.read_commit_entry(middle).await.context(describe)? else {
                // The oldest entries were deleted.
                (from, found) = (middle + 1, None);
                continue;
            };
            let stamp = entry.split(|byte| *byte == b'\n').find_map(|line| {
                let action: serde_json::Value = serde_json::from_slice(line).ok()?;
                action["commitInfo"]["timestamp"].as_i64()
            });
            if stamp.is_none_or(|stamp| stamp <= at_ms) {
                (from, found) = (middle + 1, Some(middle));
            } else {
                to = middle;
            }
        }
        Ok(found)
    }

    /// Loads the latest version.
    ///
    /// # Errors
    /// When the log cannot be read or contradicts itself.
    pub async fn refresh(&mut self) -> Result<()> {
        let describe = || format!("cannot read the log of the table {}", self.location.url());
        if !self.log.is_delta_table_location().await.context(describe)? {
            (self.state, self.made) = (None, None);
            return Ok(());
        }
        match DeltaTableState::try_new(self.log.as_ref(), None).await {
            Ok(state) => self.state = Some(state),
            Err(DeltaTableError::NotATable(_)) => self.state = None,
            Err(error) => return Err(Error::failed(describe(), error)),
        }
        self.made = None;
        Ok(())
    }

    /// Loads the latest version; of the log, only what is new is read.
    ///
    /// # Errors
    /// When the log cannot be read or contradicts itself.
    pub async fn catch_up(&mut self) -> Result<()> {
        if let Some(state) = &mut self.state
            && state.update(self.log.as_ref(), None).await.is_ok()
        {
            self.made = None;
            return Ok(());
        }
        self.refresh().await
    }

    /// Loads the version that was committed last, and none that others made since: what is committed next must not take what
    /// they did for known.
    async fn load_made(&mut self) -> Result<()> {
        let Some(Made { version, .. }) = self.made.filter(|made| self.version() != Some(made.version)) else {
            return Ok(());
        };
        let describe = || format!("cannot read version {version} of {} back", self.location.url());
        match &mut self.state {
            Some(state) => state.update(self.log.as_ref(), Some(version)).await.context(describe)?,
            None => {
                self.state = Some(DeltaTableState::try_new(self.log.as_ref(), Some(version)).await.context(describe)?);
            }
        }
        Ok(())
    }

    /// The folder.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The version, when there is a table.
    pub fn version(&self) -> Option<u64> {
        self.state.as_ref().map(DeltaTableState::version)
    }

    /// The table's state, when there is a table.
    pub fn state(&self) -> Option<&DeltaTableState> {
        self.state.as_ref()
    }

    /// The log store.
    pub fn log(&self) -> &LogStoreRef {
        &self.log
    }

    /// The ledger's head that this version names.
    ///
    /// # Errors
    /// When the log cannot be read; `Corrupt` when there is a table that Siltstone did not write.
    pub async fn ledger_head(&self) -> Result<Option<i64>> {
        let Some(state) = &self.state else { return Ok(None) };
        let head = state.transaction_version(self.log.as_ref(), LEDGER_APP).await;
        let head = head.context(|| format!("cannot read the log of the table {}", self.location.url()))?;
        match head {
            Some(head) => Ok(Some(head)),
            None => Err(Error::new(
                ErrorKind::Corrupt,
                format!("the Delta table {} was not written by siltstone: it names no ledger", self.location.url()),
            )),
        }
    }

    /// How many files the version has, when it is the one that was committed last.
    pub fn file_count(&self, version: u64) -> Option<usize> {
        self.made.filter(|made| made.version == version).map(|made| made.file_count)
    }

    /// Whether a version may follow this one, which `removes` files.
    ///
    /// # Errors
    /// `Failed` when another engine has given the table features that its writers must know, and we do not.
    pub fn check_writable(&self, removes: bool) -> Result<()> {
        self.state.as_ref().map_or(Ok(()), |state| protocol::check_writable(state, &self.location, removes))
    }

    /// The files of this version.
    ///
    /// # Errors
    /// `Corrupt` when a file lacks its statistics; `Failed` when files alone do not tell the rows of the table.
    pub fn files(&self) -> Result<Vec<ActiveFile>> {
        let Some(state) = &self.state else { return Ok(Vec::new()) };
        protocol::check_readable(state, &self.location)?;
        let names = state.metadata().partition_columns();
        state
            .log_data()
            .iter()
            .map(|file| {
                let path = file.path().into_owned();
                let stats = file.stats().unwrap_or_default();
                let row_count = logged_rows(file.num_records(), Some(&stats)).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Corrupt,
                        format!("{path} has no numRecords in the log of {}", self.location.url()),
                    )
                })?;
                let mut values = file.partition_values_map();
                let partition = names.iter().map(|name| values.remove(name).flatten()).collect();
                Ok(ActiveFile { row_count, size_bytes: file.size().max(0) as u64, stats, partition, path })
            })
            .collect()
    }

    /// Makes the next version, which is only loaded when it gets a checkpoint. A further commit follows it, whatever is loaded.
    ///
    /// # Errors
    /// When the store fails in a way that leaves no doubt that the version was not made, or the doubt could not be
    /// cleared.
    pub async fn commit(&mut self, change: Change) -> Result<Outcome> {
        self.check_writable(!change.remove.is_empty())?;
        if let Err(error) = self.load_made().await {
            // Who loads the latest version finds out what holds.
            tracing::warn!(table = %self.location.url(), %error, "planning again");
            return Ok(Outcome::Conflict);
        }
        let files_before = self.state.as_ref().map_or(0, |state| state.log_data().num_files());
        let file_count = (files_before + change.add.len()).saturating_sub(change.remove.len());
        let version = self.version().map_or(0, |version| version + 1);
        let describe = || format!("cannot commit version {version} of the table {}", self.location.url());
        let run_id = change.run_id.clone();
        let operation = match change.optimizes_to {
            Some(target_bytes) => DeltaOperation::Optimize { predicate: None, target_size: target_bytes as i64 },
            None => DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: Some(change.partitioning.names()),
                predicate: None,
            },
        };
        let info = HashMap::from([(RUN_ID.to_owned(), serde_json::Value::from(run_id.clone()))]);
        let commit_info = CommitInfo {
            timestamp: Some(change.at_ms),
            engine_info: Some(concat!("siltstone/", env!("CARGO_PKG_VERSION")).to_owned()),
            ..operation.get_commit_info()
        };
        let mut actions = vec![Action::CommitInfo(commit_info)];
        actions.extend(self.actions(change)?);
        let bytes = CommitData::new(actions, operation, info, Vec::new()).get_bytes().context(describe)?;
        let put = self.log.write_commit_entry(version, CommitOrBytes::LogBytes(bytes), uuid::Uuid::nil()).await;
        match put {
            Ok(()) => {}
            Err(TransactionError::VersionAlreadyExists(_)) if !self.is_own(version, &run_id).await? => {
                return Ok(Outcome::Conflict);
            }
            Err(TransactionError::VersionAlreadyExists(_)) => {}
            // The entry may be there although the reply is not.
            Err(error) => match self.is_own(version, &run_id).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return Err(Error::failed(describe(), error)),
            },
        }
        // The version is made, whatever becomes of its checkpoint.
        self.made = Some(Made { version, file_count });
        if version % CHECKPOINT_INTERVAL == CHECKPOINT_INTERVAL - 1
            && let Err(error) = self.checkpoint().await
        {
            tracing::warn!(table = %self.location.url(), version, %error, "no checkpoint was written");
        }
        Ok(Outcome::Committed(version))
    }

    async fn is_own(&self, version: u64, run_id: &str) -> Result<bool> {
        let entry = self.log.read_commit_entry(version).await;
        let entry = entry.context(|| format!("cannot read version {version} of {} back", self.location.url()))?;
        Ok(entry.is_some_and(|bytes| String::from_utf8_lossy(&bytes).contains(run_id)))
    }

    /// Writes a checkpoint. A failure costs later readers time and nothing else.
    async fn checkpoint(&mut self) -> Result<()> {
        self.load_made().await?;
        let mut table = deltalake_core::DeltaTable::new(std::sync::Arc::clone(&self.log));
        table.state.clone_from(&self.state);
        let describe = || format!("cannot write a checkpoint of {}", self.location.url());
        deltalake_core::checkpoints::create_checkpoint(&table, None).await.context(describe)
    }

    fn actions(&self, change: Change) -> Result<Vec<Action>> {
        let names = change.partitioning.names();
        let mut actions = Vec::new();
        match (&self.state, &change.fields) {
            (None, fields) => {
                let protocol: Protocol = serde_json::from_value(serde_json::json!({
                    "minReaderVersion": 1, "minWriterVersion": 2
                }))
                .context(|| "cannot express the Delta protocol".to_owned())?;
                actions.push(protocol.into());
                let schema = delta_schema(fields.as_deref().unwrap_or_default(), &change.partitioning)?;
                // Readers may use all statistics that are written.
                let every = ("delta.dataSkippingNumIndexedCols", "-1".to_owned());
                let settings = iter::once(every).chain(fields.as_deref().and_then(stats_columns));
                let metadata = new_metadata(&schema, names.clone(), settings);
                actions.push(metadata.context(|| "cannot express the table's schema".to_owned())?.into());
            }
            (Some(state), Some(fields)) => {
                let schema = keep_foreign(&delta_schema(fields, &change.partitioning)?, state.schema().as_ref())?;
                let metadata =
                    state.metadata().clone().with_schema(&schema).and_then(|metadata| match stats_columns(fields) {
                        Some((name, columns)) => metadata.add_config_key(name.to_owned(), columns),
                        None => metadata.remove_config_key(STATS_COLUMNS),
                    });
                actions.push(metadata.context(|| "cannot express the table's schema".to_owned())?.into());
            }
            (Some(_), None) => {}
        }
        let data_change = change.optimizes_to.is_none();
        actions.extend(change.remove.iter().map(|file| {
            Action::Remove(Remove {
                path: file.path.clone(),
                data_change,
                deletion_timestamp: Some(change.at_ms),
                extended_file_metadata: Some(true),
                partition_values: Some(partition_values(&names, &file.partition)),
                size: Some(file.size_bytes as i64),
                ..Remove::default()
            })
        }));
        actions.extend(change.add.into_iter().map(|file| {
            Action::Add(Add {
                partition_values: partition_values(&names, &file.partition),
                path: file.path,
                size: file.size_bytes as i64,
                modification_time: change.at_ms,
                data_change,
                stats: Some(file.stats),
                ..Add::default()
            })
        }));
        actions.push(Transaction::new_with_last_update(LEDGER_APP, change.ledger_head, Some(change.at_ms)).into());
        Ok(actions)
    }
}

/// The rows of a file: `parsed` by the Delta library, or else as its statistics `stats` say.
///
/// The Delta library parses those of all files that one log entry added at once, by the columns of today. When those of one
/// of them, which may be removed by now, do not fit, as an object where there is JSON text today, it takes all for lost.
pub(super) fn logged_rows(parsed: Option<usize>, stats: Option<&str>) -> Option<u64> {
    if let Some(rows) = parsed {
        return Some(rows as u64);
    }
    let stats: serde_json::Value = serde_json::from_str(stats?).ok()?;
    stats.get("numRecords")?.as_u64()
}

/// The setting that names the columns that have statistics. It overrules the number of them.
const STATS_COLUMNS: &str = "delta.dataSkippingStatsColumns";

/// That setting and its value, when not all columns have statistics.
fn stats_columns(fields: &[Field]) -> Option<(&'static str, String)> {
    // Names are of letters, digits and underscores; those that begin with a digit could be taken for numbers.
    let quoted =
        |name: &str| if name.starts_with(|c: char| c.is_ascii_digit()) { format!("`{name}`") } else { name.to_owned() };
    let paths =
        leaves_with_stats(fields)?.into_iter().map(|path| path.into_iter().map(quoted).collect::<Vec<_>>().join("."));
    Some((STATS_COLUMNS, paths.collect::<Vec<_>>().join(",")))
}

fn partition_values(names: &[String], key: &PartitionKey) -> HashMap<String, Option<String>> {
    names.iter().cloned().zip(key.iter().cloned()).collect()
}

/// A schema with what another engine has put into that of the log: columns, and what is said of columns.
fn keep_foreign(schema: &StructType, logged: &StructType) -> Result<StructType> {
    let known = schema.fields().map(|field| {
        let said = logged.field(field.name()).map(StructField::metadata).into_iter().flatten();
        let mut metadata = field.metadata().clone();
        for (key, value) in said.filter(|(key, _)| ![KEYS, JSON_TEXT, NAIVE].contains(&key.as_str())) {
            metadata.entry(key.clone()).or_insert_with(|| value.clone());
        }
        field.clone().with_metadata(metadata)
    });
    let is_ours = |name: &str| schema.fields().any(|field| field.name().eq_ignore_ascii_case(name));
    let is_foreign = |field: &&StructField| !is_ours(field.name()) && field.name() != NO_VALUES;
    let foreign = logged.fields().filter(is_foreign).cloned();
    StructType::try_new(known.chain(foreign)).context(|| "cannot express the table's schema".to_owned())
}

/// The Delta schema: the columns, then the partition columns.
pub(super) fn delta_schema(fields: &[Field], partitioning: &Partitioning) -> Result<StructType> {
    (&table_schema(fields, partitioning)).try_into_kernel().context(|| "cannot express the table's schema".to_owned())
}

/// The Arrow schema of a table: the columns, then the partition columns; [`NO_VALUES`] when there are neither (no Delta
/// reader takes a table without columns).
pub fn table_schema(fields: &[Field], partitioning: &Partitioning) -> Schema {
    if fields.is_empty() && partitioning.0.is_empty() {
        return Schema::new(vec![ArrowField::new(NO_VALUES, DataType::Boolean, true)]);
    }
    let columns = fields.iter().map(described_field);
    let partitions = partitioning.0.iter().map(|expr| {
        let data_type = match expr.transform.value_type() {
            ValueType::Integer => DataType::Int32,
            ValueType::Date => DataType::Date32,
            ValueType::String => DataType::Utf8,
        };
        ArrowField::new(expr.name(), data_type, true)
    });
    Schema::new(columns.chain(partitions).collect::<Vec<_>>())
}
