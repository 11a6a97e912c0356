//! Choosing how records are stored by numbers, on the records at hand.
//!
//! ```text
//! raw objects --Sample--> records --Matrix--> choices --Search--> cells --advice--> settings
//!                                                           '-----report--> table, JSON, CSV, HTML
//! ```
//!
//! | file | what is there |
//! |---|---|
//! | `choice` | one way to store records, and its id |
//! | `matrix` | which choices are measured |
//! | `sample` | the records |
//! | `lay`, `vortex` | records stored so, and read back |
//! | `queries` | what is asked |
//! | `search`, `cell` | measuring; what was measured |
//! | `costs` | prices; who can read a choice |
//! | `advice`, `apply` | what follows, and writing it into the configuration |
//! | `report` | one value from which all reports are made |
//!
//! docs/formats.md says what the figures mean.

mod advice;
mod apply;
mod cell;
mod choice;
mod costs;
mod lay;
mod matrix;
mod queries;
mod report;
mod sample;
mod search;
#[cfg(feature = "vortex")]
mod vortex;

pub use advice::{Advice, Aim, Change, ColumnSetting, Figures, Setting};
pub use apply::{apply, block};
pub use cell::{Cell, ColumnBytes, QueryRun, Spread, Stored, WriteRun};
pub use choice::{Choice, Format};
pub use costs::{Costs, Reading, readings};
pub use matrix::{Axis, Matrix};
pub use queries::{Query, load_queries, usual_queries};
pub use report::{BenchReport, CellReport, to_csv, to_html, to_table};
pub use sample::{Columns, Sample};
pub use search::{Search, Watch, peak_memory};
