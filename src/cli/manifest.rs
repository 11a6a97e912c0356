//! `siltstone manifest`

use std::process::ExitCode;

use serde_json::json;

use super::{OutputFormat, Roots, tables};
use crate::config::Config;
use crate::error::{ErrorKind, Result};
use crate::maintain::{Manifests, write_manifests};

#[derive(Debug, clap::Args)]
pub(super) struct ManifestArgs {
    /// The sources; default: all tables.
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    #[command(flatten)]
    roots: Roots,
    /// How the summary is written to stdout.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

pub(super) async fn run(args: ManifestArgs, config: Config) -> Result<ExitCode> {
    let lake = args.roots.need_lake(&config)?;
    let is_named = !args.sources.is_empty();
    let mut all = Vec::new();
    for source_id in tables(&lake, args.sources).await? {
        match write_manifests(&lake.folder(&source_id)?).await {
            Ok(written) => all.push((source_id, written)),
            Err(error) if error.kind() == ErrorKind::NotFound && !is_named => {}
            Err(error) => return Err(error),
        }
    }
    let document = |(source_id, done): &(String, Manifests)| {
        json!({
            "source_id": source_id, "version": done.version, "manifests": done.manifests, "files": done.files,
            "deleted": done.deleted,
        })
    };
    let document = json!({ "sources": all.iter().map(document).collect::<Vec<_>>() });
    args.output.print("summary", &document, || all.iter().map(render).collect())?;
    Ok(ExitCode::SUCCESS)
}

fn render((source_id, done): &(String, Manifests)) -> String {
    let Manifests { version, manifests, files, .. } = done;
    format!("{source_id}: {manifests} manifests name the {files} files of version {version}\n")
}
