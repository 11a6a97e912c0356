//! The DDL that makes a table queryable in another engine: the Delta table where the engine reads Delta, and its
//! Parquet files as a plain partitioned table with all columns.
//!
//! Every identifier is quoted, also in struct types: all five engines accept that everywhere, while their lists of
//! reserved words differ, also by version. Comments stand before statements and never within: not every engine takes
//! them there.

mod projection;
mod statements;
#[cfg(test)]
mod tests;
mod words;

use url::Url;

use crate::partition::{PartitionKey, Partitioning};
use crate::schema::Field;

/// An engine, and the SQL it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Amazon Athena, engine 3.
    Athena,
    /// Apache Hive.
    Hive,
    /// Apache Spark SQL.
    Spark,
    /// DuckDB.
    DuckDb,
    /// Trino.
    Trino,
}

/// A table as its DDL needs it.
#[derive(Debug, Clone, Copy)]
pub struct TableDescription<'a> {
    /// The source.
    pub source_id: &'a str,
    /// The table's folder; ends with a slash.
    pub url: &'a Url,
    /// The columns.
    pub fields: &'a [Field],
    /// The partition columns.
    pub partitioning: &'a Partitioning,
    /// The partitions that there are.
    pub partitions: &'a [PartitionKey],
    /// The day, in days since 1970-01-01.
    pub today: i32,
}

/// The DDL of a table: a script of statements and comments for people, which ends with a newline.
pub fn ddl(table: &TableDescription<'_>, dialect: Dialect) -> String {
    let script = Script { table, dialect };
    match dialect {
        Dialect::Athena => script.athena(),
        Dialect::Hive => script.hive(),
        Dialect::Spark => script.spark(),
        Dialect::DuckDb => script.duckdb(),
        Dialect::Trino => script.trino(),
    }
}

/// The script of one table for one engine.
struct Script<'a> {
    table: &'a TableDescription<'a>,
    dialect: Dialect,
}
