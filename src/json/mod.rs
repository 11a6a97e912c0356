//! JSON: bytes in, typed columns and observations out, in one pass; and back to JSON text.
//!
//! ```text
//! window of bytes --frame--> records --decode--> columns --finish--> Arrow batch
//!        (scan: tokens; scalar: numbers, times)     \--observe--> schema::Observation
//! ```
//!
//! The same code finds the types and fills the columns. Nothing here does I/O or knows a clock.
//!
//! ```
//! use siltstone::json::{Decoder, DecodeOptions, PADDING, Segment, arrow_schema};
//! use siltstone::schema::{Observation, resolve};
//!
//! let mut window = b"{\"a\": 1}\n{\"a\": 2.5}\n".to_vec();
//! let segment = Segment { object: 0, start: 0, end: window.len(), offset: 0, last: true };
//! window.resize(window.len() + PADDING, 0);
//!
//! let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
//! assert_eq!(decoder.decode(&window, &[segment]).rows, 2);
//! let fields = resolve(&decoder.observe(), &[]);
//! let batch = decoder.finish(&fields, &arrow_schema(&fields)).unwrap();
//! assert_eq!(batch.schema().field(0).data_type(), &arrow::datatypes::DataType::Float64);
//! ```

mod coerce;
mod column;
mod convert;
mod decode;
mod decoder;
mod envelope;
mod finish;
mod frame;
mod members;
mod nulls;
mod object;
mod refuse;
mod scalar;
mod scan;
mod selection;
mod storage;
mod write;

pub use convert::convert;
pub use decoder::{Counts, DecodeOptions, Decoded, Decoder, MAX_COLUMNS, Reason, Reject, Segment};
pub use envelope::{KNOWN_NAMES, Shape, agreed_path, shape};
pub use finish::{FinishError, arrow_schema, conform, reshape};
pub use members::{Envelope, EnvelopeReader};
pub use nulls::Nulls;
pub use refuse::kind_of;
pub use scalar::{
    MAX_EXACT_INTEGER, Number, Time, civil, decimal, format_date, format_decimal, format_timestamp, number, time,
};
pub use scan::{Fault, PADDING};
pub use selection::{Fate, Met, Selection};
pub use write::{write_json, write_record};

/// The JSON text of values that hold nothing: while their column has no type, they are stored as null.
pub const EMPTY_JSON: [&str; 2] = ["{}", "[]"];

#[cfg(test)]
mod tests;
