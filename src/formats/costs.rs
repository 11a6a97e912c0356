//! What a choice costs at stated prices, and who can read it.

use serde::Serialize;

use super::cell::Cell;
use super::choice::{Choice, Format};
use super::sample::Sample;
use super::search::PART_BYTES;
use crate::config::{BenchConfig, Codec, ColumnEncoding, Dictionary, Encodings, PageVersion};

/// What a choice costs for the volume in the configuration, in US dollars.
///
/// What was counted of the sample grows with the volume: bytes in proportion, requests with the number of files, which are
/// filled up to their target size first. So queries that find their rows by statistics seem dearer than they are where a
/// table has many files.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Costs {
    /// Keeping the files for a month.
    pub storage_month: f64,
    /// Writing all of it once: requests and the time of cores.
    pub ingest: f64,
    /// One query, the mean over all kinds, on Athena: bytes read, and requests.
    pub query: f64,
    /// Storage and queries of a month of 30 days.
    pub month: f64,
}

/// What `bytes` read by `requests` cost a query on Athena.
pub(super) fn query_usd(bytes: u64, requests: u64, grown: Growth, config: &BenchConfig) -> f64 {
    let prices = &config.prices;
    let scanned = (bytes as f64 * grown.bytes).max(prices.athena_min_bytes as f64);
    scanned / 1e12 * prices.athena_usd_per_tb + requests as f64 * grown.files / 1e3 * prices.s3_usd_per_1000_gets
}

/// How many times more there is of the volume than of the sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    /// Bytes.
    bytes: f64,
    /// Files, and so requests.
    files: f64,
}

/// How a cell grows to the volume.
pub(super) fn growth(cell: &Cell, sample_raw_bytes: u64, config: &BenchConfig) -> Growth {
    let bytes = config.volume.raw_gb * 1e9 / (sample_raw_bytes as f64).max(1.0);
    let stored = cell.stored.as_ref().map_or((0, 1), |stored| (stored.bytes, stored.files));
    let target = cell.id.parse::<Choice>().unwrap_or_default().target_file_bytes;
    let files = stored.0 as f64 * bytes / target as f64 / (stored.1 as f64).max(1.0);
    Growth { bytes, files: files.max(1.0) }
}

/// The costs of a cell; queries that it was not asked cost as much as reading all of it.
pub(super) fn costs(cell: &Cell, queries: &[String], sample_raw_bytes: u64, config: &BenchConfig) -> Option<Costs> {
    let (stored, cpu) = (cell.stored.as_ref()?, cell.cpu_seconds()?);
    let (prices, grown) = (&config.prices, growth(cell, sample_raw_bytes, config));
    let of_query = |name: &String| match cell.query(name) {
        Some(run) => query_usd(run.bytes, run.requests, grown, config),
        None => query_usd(stored.bytes, stored.files, grown, config),
    };
    let query = queries.iter().map(of_query).sum::<f64>() / queries.len().max(1) as f64;
    let storage_month = stored.bytes as f64 * grown.bytes / 1e9 * prices.s3_usd_per_gb_month;
    let puts = (stored.puts as f64).max(stored.bytes as f64 * grown.bytes / PART_BYTES as f64);
    let cores = cpu.median * grown.bytes / 3600.0 * prices.cpu_usd_per_hour;
    let ingest = puts / 1e3 * prices.s3_usd_per_1000_puts + cores;
    Some(Costs { storage_month, ingest, query, month: storage_month + query * config.volume.queries_per_day * 30.0 })
}

/// Whether an engine reads a choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The engine.
    pub engine: &'static str,
    /// `yes`, `no` or `unproven`.
    pub reads: &'static str,
    /// What it rests on.
    pub why: &'static str,
}

const ENGINES: [&str; 4] = ["Athena", "Trino", "Spark", "DuckDB"];

/// Who can read a choice. Spark and DuckDB are held to it by the reader matrix (docs/readers.md). Athena and Trino were never
/// asked: they are taken to read what has been common Parquet for years, and nothing younger.
pub fn readings(choice: &Choice) -> Vec<Reading> {
    let of = |reads: [&'static str; 4], why: &'static str| {
        ENGINES.iter().zip(reads).map(|(engine, reads)| Reading { engine, reads, why }).collect()
    };
    let (yes, no, unproven) = ("yes", "no", "unproven");
    match choice.format {
        Format::Json | Format::JsonGz => return of([yes; 4], "JSON, without types"),
        Format::Avro => return of([yes, yes, yes, yes], "Avro; in DuckDB and Spark by an extension"),
        Format::Arrow => return of([no, no, no, yes], "Arrow IPC; in DuckDB by an extension"),
        #[cfg(feature = "vortex")]
        Format::Vortex => return of([no, no, unproven, unproven], "Vortex; in DuckDB and Spark by an extension"),
        Format::Parquet => {}
    }
    let files = &choice.files;
    let splits = files.encodings == Encodings::Split
        || files.columns.values().any(|said| said.encoding == Some(ColumnEncoding::ByteStreamSplit));
    let is_default = files.page_version == PageVersion::V1 && matches!(files.codec, Codec::Zstd(_));
    if splits {
        of([unproven, unproven, yes, yes], "BYTE_STREAM_SPLIT of doubles: read by Spark 4 and DuckDB")
    } else if files.codec == Codec::Lz4 {
        of([unproven, unproven, yes, yes], "LZ4_RAW: younger than many readers")
    } else if files.page_version == PageVersion::V2 {
        of([unproven, unproven, yes, yes], "data pages version 2: younger than many readers")
    } else if is_default && files.dictionary == Dictionary::Learned && files.encodings == Encodings::Learned {
        of([yes; 4], "as the reader matrix has it")
    } else {
        of([yes; 4], "plain Parquet")
    }
}

/// The share of the sample's raw bytes that is stored.
pub(super) fn ratio(bytes: u64, sample: &Sample) -> f64 {
    bytes as f64 / (sample.raw_bytes as f64).max(1.0)
}
