//! `siltstone quarantine`

mod list;

use std::process::ExitCode;

use crate::config::Config;
use crate::error::Result;

#[derive(Debug, clap::Subcommand)]
pub(super) enum QuarantineCommand {
    /// Show what was rejected, where it stood and why: first by reason, then one by one, newer runs first.
    List(list::ListArgs),
}

pub(super) async fn run(command: QuarantineCommand, config: Config) -> Result<ExitCode> {
    match command {
        QuarantineCommand::List(args) => list::run(args, config).await,
    }
}
