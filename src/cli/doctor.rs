//! `siltstone doctor`

use std::process::ExitCode;

use serde::Serialize;

use super::OutputFormat;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::store::{Check, Location, Race};

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// The folder or URL to try. Default: the lake of siltstone.toml.
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Writers that try to create one object at once.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(2..=1000))]
    racers: u64,
    /// How many times they do.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rounds: u64,
    /// Text for people, or JSON.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// What the store was found to be.
#[derive(Debug, Serialize)]
struct Diagnosis {
    url: String,
    /// Whether several runs may write there at once.
    fit: bool,
    checks: Vec<Check>,
    race: Race,
}

pub(super) async fn run(args: DoctorArgs, config: Config) -> Result<ExitCode> {
    let url = args.url.as_ref().or(config.lake.as_ref());
    let url = url.ok_or_else(|| Error::usage("which store? give a URL, or lake in siltstone.toml"))?;
    let location = Location::parse(url)?;
    let (checks, race) = location.examine(args.racers as usize, args.rounds as usize, &SystemClock).await?;
    let fit = checks.iter().all(|check| check.holds);
    let diagnosis = Diagnosis { url: location.url().to_string(), fit, checks, race };
    args.format.print("diagnosis", &diagnosis, || render(&diagnosis))?;
    Ok(if fit { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn render(diagnosis: &Diagnosis) -> String {
    let mut text = format!("{}\n", diagnosis.url);
    for Check { name, holds, detail, duration_ms } in &diagnosis.checks {
        let mark = if *holds { "ok    " } else { "FAILED" };
        text.push_str(&format!("  {mark}  {name}: {detail} ({duration_ms} ms)\n"));
    }
    text.push_str(match diagnosis.fit {
        true => "fit for tables, also when several runs write at once\n",
        false if diagnosis.race.broken > 0 => "not fit: two runs at once would lose records here\n",
        false => "not fit\n",
    });
    text
}
