//! Compaction: new raw objects become rows of the lake table, each exactly once. Replay: so do rejects that are valid by now.

mod assemble;
mod begin;
mod commit;
mod compare;
mod driver;
mod make;
mod observe;
mod plan;
mod pool;
mod probe;
mod provenance;
mod rejects;
mod replace;
mod replay;
mod report;
mod reread;
mod rewrite;
mod sample;
mod slice;
mod trial;

pub use driver::{Progress, Request, Silent, compact};
pub use observe::observe;
pub use plan::{SourcePlan, plan};
pub(crate) use pool::run_all;
pub use probe::{EVENT_TIME_NAMES, find_records_path};
pub(crate) use provenance::with_provenance;
pub use replay::replay;
pub use report::{Report, SourceOptimized, SourceReport, Status};
pub use sample::sample_kinds;
pub use slice::{Piece, Portion, SliceContext, SliceOptions, SliceResult, SliceTask, run_slice};
