//! The benchmark suite: each stage of the way from JSON to Parquet, and all of it, in JSON bytes per second.
//!
//! ```text
//! cargo bench                        all of it, about four minutes
//! cargo bench -- decode              what has "decode" in its name
//! cargo bench -- floor               a whole run beside its floor, and the ratio of the two
//! cargo bench -- --save-baseline x   keep the figures; later: -- --baseline x
//! ```
//!
//! Everything runs on one thread, on data that [`data`] makes. docs/performance.md says what the stages are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on has failed")]

#[cfg(not(target_env = "msvc"))]
#[path = "../../src/allocator.rs"]
mod allocator;
mod data;
mod decode;
mod encode;
mod end_to_end;
mod feed;
mod floor;
mod lap;
mod material;
mod observe;
mod scan;
mod split;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    feed::bench(&mut criterion);
    scan::bench(&mut criterion);
    decode::bench(&mut criterion);
    observe::bench(&mut criterion);
    split::bench(&mut criterion);
    encode::bench(&mut criterion);
    end_to_end::bench(&mut criterion);
    floor::bench(&mut criterion);
    criterion.final_summary();
}
