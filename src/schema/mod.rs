//! What a source's records look like: kinds, observations, and the column types and names that follow from them.
//!
//! ```text
//! JSON values --Kind--> Observation --merge--> Observation --resolve--> [Field] --arrow_schema--> Arrow, Delta
//! ```
//!
//! Everything here is pure: no I/O, no clock, no async.

mod arrow_types;
mod kind;
mod limit;
mod names;
mod observation;
mod pin;
mod resolve;
mod rules;

pub use arrow_types::{JSON_TEXT, KEYS, NAIVE, arrow_field, arrow_fields, data_type, described_field, stored_type};
pub(crate) use arrow_types::{element_field, entries_field};
pub use kind::{Class, Kind, KindSet, MAX_COLUMN_DEPTH};
pub use limit::{MEMBER_PREFIX, leaves, limit_columns};
pub use names::{MAX_NAME_BYTES, fold};
pub(crate) use names::{distinct, fnv1a, spelling};
pub use observation::{IntRange, MAX_OBJECT_KEYS, Observation, Tally};
pub use pin::pin;
pub use resolve::{Field, Type, fields_widen_losslessly, resolve, resolve_ruled};
pub(crate) use resolve::{columns, has_type, is_dictionary, kinds, merged_dictionary};
pub use rules::{Contract, Forced, Rule, Step, path_steps};

#[cfg(test)]
mod tests;
