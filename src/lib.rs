//! Siltstone turns the raw JSON that collects in a data lake into partitioned, compressed Parquet: incrementally, every
//! record exactly once, under a schema that evolves without ever breaking a reader; and it answers SQL over both sides.
//!
//! ```text
//! raw objects --raw--> windows of bytes --json--> batches + observation --partition, write--> Parquet files
//!                                                      |
//!                                        schema: column types        compact: slices, driver --lake--> ONE commit
//! query: SQL over the lake table, and over raw objects through the same decoder
//! ```
//!
//! The modules below stand in the order of the data's way; each uses only those before it. `schema`, `json` and
//! `partition` are pure: no I/O, no async, no clock. See `docs/architecture.md` for the decisions.

// The order of dependence: error, clock, store, schema, json, raw, partition, config, write, lake, compact, maintain, query, formats, cli.
pub mod cli;
pub mod clock;
pub mod compact;
pub mod config;
pub mod error;
pub mod formats;
pub mod json;
pub mod lake;
pub mod maintain;
pub mod partition;
pub mod query;
pub mod raw;
pub mod schema;
pub mod store;
mod threads;
pub mod write;
