//! Raw objects: listing them, telling them apart, reading and inflating them.
//!
//! ```text
//! list_sources, list_objects --[RawObject]--> Fetcher --bytes--> Feed --windows--> json::Decoder
//! ```

mod ahead;
mod decode;
mod feed;
mod fetch;
mod inflate;
mod lines;
mod listing;
mod object;
mod whole;

pub use decode::{Ended, decode_objects, decode_segments};
pub use feed::{Feed, Filled, WINDOW_BYTES};
pub use fetch::{Fetcher, RawReader, is_lasting};
pub use inflate::{Limits, is_compressed};
pub use lines::{Lines, may_be_lines};
pub use listing::{Listing, check_source_id, leads_out, list_objects, list_sources};
pub use object::{ObjectBatch, ObjectRef, RawObject};
