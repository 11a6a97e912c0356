//! Compaction: new raw objects become rows of the lake table, each exactly once.

mod compare;
mod driver;
mod observe;
mod plan;
mod pool;
mod probe;
mod report;
mod reread;
mod rewrite;
mod sample;
mod slice;

pub use driver::{Progress, Request, Silent, compact};
pub use observe::observe;
pub use plan::{SourcePlan, plan};
pub use probe::{EVENT_TIME_NAMES, find_records_path};
pub use report::{Report, SourceReport, Status};
pub use sample::sample_kinds;
pub use slice::{SliceContext, SliceOptions, SliceResult, SliceTask, run_slice};
