//! Siltstone turns the raw JSON that collects in a data lake into partitioned, compressed Parquet.

pub mod error;
pub mod json;
pub mod partition;
pub mod raw;
pub mod schema;
pub mod store;
pub mod write;
