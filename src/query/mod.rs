//! SQL over raw objects, lake tables and their quarantine, by DataFusion. The only module that names it.

mod catalog;
mod output;
mod quarantine;
mod raw;
mod session;

pub use output::{Format, write_results};
pub use raw::{RawScan, RawTable};
pub use session::SqlSession;
