//! Maintenance of tables: small files become large ones, what no version needs is deleted, manifests for readers that know
//! no Delta.

mod merge;
mod optimize;
mod pack;

pub use optimize::{OptimizeRequest, Optimized, SourceOptimized, optimize};
