//! The lake table of a source: the Delta table, and beside it the ledger, the registry and the quarantine; and the check
//! that they agree.

mod hidden;
mod ledger;
mod quarantine;
mod ranges;
mod registry;
mod stored;
mod table;
mod verify;

pub use hidden::Hidden;
pub use ledger::{Diff, Entry, Head, Merged, Segment, Totals, append, diff};
pub use quarantine::{QuarantineWriter, quarantine_schema};
pub use registry::{Registry, changes, sql_type};
pub use stored::StoredFile;
pub use table::{ActiveFile, Change, Outcome, Table, table_schema};
pub use verify::{Checked, Effect, Finding, FindingKind, Severity, Verification, verify};
