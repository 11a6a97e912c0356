//! The `siltstone` binary: parse, set up, run, exit code.

#[cfg(not(target_env = "msvc"))]
mod allocator;

use std::process::ExitCode;

use siltstone::cli::{execute, init_logging, parse_args};

fn main() -> ExitCode {
    let args = parse_args();
    init_logging(&args);
    execute(args)
}
