//! Proves a table from what is stored: the log, footers, ledger, registry and quarantine must agree with each other, and
//! every reader must be able to read every file.
//!
//! ```text
//! log ---- partition columns and values, folders -----.
//!  |  '--- Delta schema == registry                    |--> findings, each with the file, the column, the reason, and
//!  |--- data files: size, footer, rows, columns        |    what Spark, Trino, Athena, Hive, DataFusion make of it
//!  '--- head: ledger, totals, quarantine, ancestors --'
//! ```
//!
//! Nothing is changed. Of data files only footers are read; what lies within pages is compared with the raw objects when that
//! is asked for (see `maintain`).

mod books;
mod columns;
mod files;
mod finding;
mod log;
mod origins;
mod readers;
mod schema;
mod stats;

use serde::Serialize;

pub use finding::{Effect, Finding, FindingKind, Severity};
pub use schema::{check_agreement, check_new_columns};

use self::books::Accounted;
use self::files::LoggedFile;
use self::finding::Findings;
use self::schema::LOG;
use super::hidden::Hidden;
use super::ledger::Head;
use super::registry::Registry;
use super::table::{Table, logged_rows};
use crate::error::{Error, ErrorKind, Result, describe};
use crate::store::Location;

/// So many files are read at once.
const CONCURRENCY: usize = 16;

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Checked {
    /// Active data files.
    pub files: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Rows in them.
    pub rows: u64,
    /// Heads of the ledger.
    pub heads: u64,
    /// Segments of the ledger.
    pub segments: u64,
    /// Entries in them: consumed raw objects.
    pub entries: u64,
    /// Quarantine files.
    pub quarantine_files: u64,
    /// Rejects in them.
    pub rejects: u64,
}

/// What a check of one table version came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The version; none when the log could not be read.
    pub version: Option<u64>,
    /// What was looked at.
    pub checked: Checked,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Further findings of a kind that there are very many of.
    pub findings_left_out: u64,
}

impl Verification {
    /// Notes that a further check could not be made.
    pub fn add_failure(&mut self, error: &Error) {
        self.findings.push(Finding::error(FindingKind::Unreadable, LOG, describe(error)));
    }
}

/// Checks the current version of the table in a folder.
///
/// # Errors
/// `Usage` when no table can lie there. Everything else is a finding.
pub async fn verify(location: &Location) -> Result<Verification> {
    let mut checked = Checked::default();
    let mut found = Findings::default();
    let version = match Table::open(location.clone()).await {
        Ok(table) => {
            check_table(&table, &mut checked, &mut found).await;
            table.version()
        }
        Err(error) if error.kind() == ErrorKind::Usage => return Err(error),
        Err(error) => {
            log::diagnose(location, &error, &mut found).await;
            None
        }
    };
    Ok(Verification { version, checked, findings: found.list, findings_left_out: found.left_out })
}

async fn check_table(table: &Table, checked: &mut Checked, found: &mut Findings) {
    let location = table.location();
    let Some(state) = table.state() else {
        let reason = "there is no Delta table: its log is lost, or its first run ended before the commit";
        return found.push(Finding::error(FindingKind::NoTable, LOG, reason).warning());
    };
    let hidden = Hidden::new(location);
    let head = read_head(table, &hidden, checked, found).await;
    let registry = match &head {
        Some(head) => read_registry(&hidden, head, found).await,
        None => None,
    };

    let (logged, partitions) = (state.schema(), state.metadata().partition_columns());
    schema::check_protocol(state.protocol(), found);
    schema::check_names(&logged, found);
    let files: Vec<LoggedFile> = state
        .log_data()
        .iter()
        .map(|file| LoggedFile {
            path: file.path().into_owned(),
            size_bytes: file.size().max(0) as u64,
            stats: file.stats().unwrap_or_default().to_string(),
            row_count: logged_rows(file.num_records(), file.stats().as_deref()),
            partition: file.partition_values_map(),
        })
        .collect();
    if let Some(registry) = &registry {
        if let Err(error) = schema::check_schema(&logged, registry, found) {
            found.push(Finding::error(FindingKind::TableSchema, LOG, describe(&error)));
        }
        if schema::check_partition_columns(partitions, registry, found) {
            files::check_partitions(&files, &registry.partitioning, found);
        }
    }
    let rows = match schema::stored_columns(&logged, partitions) {
        Ok(columns) => {
            let fields = registry.as_ref().map(|registry| registry.fields.as_slice());
            files::check_files(location, &files, &columns, fields, partitions, checked, found).await
        }
        Err(error) => {
            found.push(Finding::error(FindingKind::TableSchema, LOG, describe(&error)));
            None
        }
    };

    let Some(head) = head else { return };
    let Accounted { rows: accounted, slices } = books::check_ledger(&hidden, &head, checked, found).await;
    let accounted = accounted.saturating_sub(head.totals.deduplicated);
    origins::check_origins(&hidden, &files, slices.as_ref(), found).await;
    if let Some(rows) = rows.filter(|rows| *rows != accounted) {
        let reason = format!("the ledger accounts for {accounted} rows, the active files hold {rows}");
        found.push(Finding::error(FindingKind::Books, Hidden::head_path(head.id), reason));
    }
    books::check_quarantine(location, &head, checked, found).await;
    books::check_ancestors(location, &head, checked, found).await;
}

async fn read_head(table: &Table, hidden: &Hidden, checked: &mut Checked, found: &mut Findings) -> Option<Head> {
    match table.ledger_head().await {
        Ok(id) => {
            let head = books::read_head(hidden, id?, found).await?;
            checked.heads += 1;
            Some(head)
        }
        Err(error) => {
            found.push(Finding::error(FindingKind::Head, LOG, describe(&error)));
            None
        }
    }
}

async fn read_registry(hidden: &Hidden, head: &Head, found: &mut Findings) -> Option<Registry> {
    match hidden.read_json(&head.registry).await {
        Ok(registry) => Some(registry),
        Err(error) => {
            found.push(Finding::error(FindingKind::Registry, &*head.registry, describe(&error)));
            None
        }
    }
}
