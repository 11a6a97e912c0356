//! What `bench` reckons with: prices, and how much there is to store and to ask.

use serde::{Deserialize, Serialize};

/// The section `[bench]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BenchConfig {
    /// What things cost.
    pub prices: Prices,
    /// For how much they are reckoned.
    pub volume: Volume,
}

/// What things cost, in US dollars. The defaults are list prices of AWS, us-east-1, on [`Prices::date`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prices {
    /// The day that the prices are of, shown in reports.
    pub date: String,
    /// 10^12 bytes scanned by Athena.
    pub athena_usd_per_tb: f64,
    /// Bytes that each query is charged for at least.
    pub athena_min_bytes: u64,
    /// 10^9 bytes stored for a month.
    pub s3_usd_per_gb_month: f64,
    /// 1,000 requests that write.
    pub s3_usd_per_1000_puts: f64,
    /// 1,000 requests that read.
    pub s3_usd_per_1000_gets: f64,
    /// An hour of one core, for the time that writing takes.
    pub cpu_usd_per_hour: f64,
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            date: "2025-01-01".to_owned(),
            athena_usd_per_tb: 5.0,
            athena_min_bytes: 10_000_000,
            s3_usd_per_gb_month: 0.023,
            s3_usd_per_1000_puts: 0.005,
            s3_usd_per_1000_gets: 0.0004,
            cpu_usd_per_hour: 0.04,
        }
    }
}

/// For how much costs are reckoned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Volume {
    /// Raw JSON that there is in all, in 10^9 bytes, decompressed. Default 1,000.
    pub raw_gb: f64,
    /// Queries a day, of all kinds alike. Default 100.
    pub queries_per_day: f64,
}

impl Default for Volume {
    fn default() -> Self {
        Self { raw_gb: 1_000.0, queries_per_day: 100.0 }
    }
}
