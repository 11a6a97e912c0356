//! Batches to data files: partitioned, rolled at a target size, encoded on all threads, within a memory budget.

mod bounds;
mod encodings;
mod fanout;
mod file;
mod leaf;
mod name;
mod pages;
mod properties;
mod prune;
mod ranges;
mod sink;
mod stats;

pub use fanout::{FanoutWriter, Layout, Widened, is_part_of, worker_bytes};
pub use file::{DataFile, GatheringWriter, NO_VALUES, Stored, WriteContext, write_file};
pub use name::{FileOrigin, merged_id, merged_name, name_without_origin, same_rows_name};
pub use properties::hidden_file_properties;
pub use ranges::{RangeWriter, RowRange};
pub use sink::Sink;
pub use stats::{delta_stats, leaves_with_stats};
