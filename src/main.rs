//! The `siltstone` binary: parse, set up, run, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use siltstone::cli::{Args, execute, init_logging};

fn main() -> ExitCode {
    let args = Args::parse();
    init_logging(&args);
    execute(args)
}
