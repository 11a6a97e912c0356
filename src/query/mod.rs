//! SQL over raw objects, lake tables and their quarantine, by DataFusion and in Athena's dialect. The only module that names it.

mod athena;
mod catalog;
mod cooperative;
mod depth;
mod errors;
mod fence;
mod filters;
mod fresh;
mod lake;
mod names;
mod narrow;
mod output;
mod parts;
mod quarantine;
mod raw;
#[cfg(feature = "postgres")]
pub mod serve;
mod session;
mod sources;

pub use depth::STACK_BYTES;
pub use names::{ColumnType, SCHEMAS, fields_of, quote_name};
pub use output::{Format, limit_rows, write_results, write_texts};
pub use raw::{RawScan, RawTable};
pub use session::{Bounds, Dialect, SqlSession};
