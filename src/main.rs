//! The `siltstone` binary: parse, set up, run, exit code.

use std::process::ExitCode;

use siltstone::cli::{execute, init_logging, parse_args};

/// Batches come and go by the thousand: this one keeps their pages for the next ones.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = parse_args();
    init_logging(&args);
    execute(args)
}
