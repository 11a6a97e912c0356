//! The quarantine: the rejected bytes of raw objects, with where they stood and why, in Parquet files of the hidden folder.
//!
//! ```text
//! rejects of a slice --QuarantineWriter--> file --named by--> Head
//! Head --Quarantine::open--> files --QuarantineReader--> batches --rows_of--> Quarantined
//! ```
//!
//! A reject is one row, or a row and the rows right behind it in the same file that are `continued`. The bytes are those of
//! the decompressed object from `byte_offset` on; but for `corrupt_compression` and `object_too_large`, also in a row that
//! continues another reason, they are the stored object from its begin (or, when that could not be read again, the bytes
//! that were at hand).

mod read;
mod rejects;
mod summary;
mod write;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

pub use read::{Quarantine, QuarantineReader, Quarantined, rows_of};
pub use rejects::StoredReject;
pub use summary::{QuarantineSummary, SummarizedFile, Tally};
pub use write::QuarantineWriter;

/// The columns of a quarantine file. Columns that files written before lack are nullable: they read as null.
pub fn quarantine_schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let number = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        text("run_id"),
        Field::new("rejected_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        text("key"),
        text("etag"),
        number("size_bytes"),
        text("reason"),
        Field::new("column_path", DataType::Utf8, true),
        number("byte_offset"),
        number("fault_offset"),
        Field::new("continued", DataType::Boolean, false),
        Field::new("raw", DataType::Binary, false),
    ]))
}
