//! `siltstone manifest`

use std::io::Write as _;
use std::process::ExitCode;

use super::{OutputFormat, Roots, tables};
use crate::config::Config;
use crate::error::{Context as _, ErrorKind, Result};
use crate::maintain::write_manifests;

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
    let text = match args.output {
        OutputFormat::Json => {
            let sources: Vec<serde_json::Value> = all
                .iter()
                .map(|(source_id, done)| {
                    serde_json::json!({
                        "source_id": source_id, "version": done.version, "manifests": done.manifests,
                        "files": done.files, "deleted": done.deleted,
                    })
                })
                .collect();
            format!("{}\n", serde_json::json!({ "sources": sources }))
        }
        OutputFormat::Text => all
            .iter()
            .map(|(source_id, done)| {
                let (version, files) = (done.version, done.files);
                format!("{source_id}: {} manifests name the {files} files of version {version}\n", done.manifests)
            })
            .collect(),
    };
    std::io::stdout().lock().write_all(text.as_bytes()).context(|| "cannot write the summary".to_owned())?;
    Ok(ExitCode::SUCCESS)
}
