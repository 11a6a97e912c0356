//! Compaction: new raw objects become rows of the lake table, each exactly once.

mod begin;
mod commit;
mod compare;
mod driver;
mod make;
mod observe;
mod pool;
mod probe;
mod report;
mod reread;
mod rewrite;
mod slice;

pub use driver::{Progress, Request, Silent, compact, describe};
pub use observe::observe;
pub use probe::{EVENT_TIME_NAMES, find_records_path};
pub use report::{Report, SourceReport, Status};
pub use slice::{SliceContext, SliceOptions, SliceResult, SliceTask, run_slice};
