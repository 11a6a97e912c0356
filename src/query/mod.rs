//! SQL over raw objects, lake tables and their quarantine, by DataFusion and in Athena's dialect. The only module that names it.

mod athena;
mod catalog;
mod fresh;
mod lake;
mod output;
mod quarantine;
mod raw;
#[cfg(feature = "postgres")]
pub mod serve;
mod session;
mod sources;

pub use output::{Format, limit_rows, write_results};
pub use raw::{RawScan, RawTable};
pub use session::{Dialect, SqlSession};
