//! The lake table of a source: the Delta table, and beside it the ledger, the registry and the quarantine; the check that
//! they agree; and the DDL that makes it a table of another engine.

mod ddl;
mod explain;
mod hidden;
mod history;
mod ledger;
mod origins;
mod protocol;
mod quarantine;
mod ranges;
mod registry;
mod retained;
mod stored;
mod table;
mod verify;

pub use ddl::{Dialect, TableDescription, ddl};
pub use explain::{DatedChange, Explanation, KindSeen, explain};
pub use hidden::{Hidden, Stored};
pub use history::{ColumnChange, RunStamp, SchemaVersion, net_changes, sql_type};
pub use ledger::{
    Diff, Entry, Found, Head, Merged, SLICE_SEPARATOR, Segment, Totals, append, entries_of_keys, find_entries,
};
pub use origins::{OriginRows, OriginRun, Origins, OriginsBuilder, Unit, stretches};
pub use quarantine::{
    Quarantine, QuarantineReader, QuarantineSummary, QuarantineWriter, Quarantined, StoredReject, SummarizedFile,
    Tally, quarantine_schema, rows_of,
};
pub use registry::Registry;
pub use retained::Retained;
pub use stored::StoredFile;
pub use table::{ActiveFile, Change, Outcome, Table, table_schema};
pub use verify::{
    Checked, Effect, Finding, FindingKind, Severity, Verification, check_agreement, check_new_columns, verify,
};
