//! `siltstone quarantine`

mod list;
mod replay;

use std::process::ExitCode;

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as UnknownName;

use crate::config::Config;
use crate::error::Result;
use crate::json::Reason;

#[derive(Debug, clap::Subcommand)]
pub(super) enum QuarantineCommand {
    /// Show what was rejected, where it stood and why: first by reason, then one by one, newer runs first.
    List(list::ListArgs),
    /// Take what is valid by now, after a change of the configuration, into the table.
    Replay(replay::ReplayArgs),
}

pub(super) async fn run(command: QuarantineCommand, config: Config) -> Result<ExitCode> {
    match command {
        QuarantineCommand::List(args) => list::run(args, config).await,
        QuarantineCommand::Replay(args) => replay::run(args, config).await,
    }
}

fn parse_reason(name: &str) -> Result<Reason, String> {
    let parsed = Reason::deserialize(name.into_deserializer());
    parsed.map_err(|error: UnknownName| {
        let text = error.to_string();
        // "unknown variant `x`, expected one of ...": clap says the first half in other words.
        text.split_once(", ").map_or_else(|| text.clone(), |(_, expected)| expected.to_owned())
    })
}
