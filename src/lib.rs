//! Siltstone turns the raw JSON that collects in a data lake into partitioned, compressed Parquet.

pub mod json;
pub mod schema;
