//! Maintenance of tables: small files become large ones, what no version needs is deleted, manifests for readers that know
//! no Delta.

mod dedup;
mod deep;
mod keep;
mod manifest;
mod merge;
mod optimize;
mod pack;
mod vacuum;

pub use deep::{Deep, verify_deep};
pub use keep::keep;
pub use manifest::{Manifests, write_manifests};
pub use optimize::{OptimizeRequest, Optimized, optimize};
pub use pack::is_small;
pub use vacuum::{Vacuumed, vacuum};
