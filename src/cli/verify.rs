//! `siltstone verify`

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde::Serialize;

use super::{OutputFormat, Roots, available_threads, parse_threads};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Finding, FindingKind, Severity, Verification, verify};
use crate::maintain::{Deep, verify_deep};
use crate::raw::{check_source_id, list_sources};

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The sources; default: all tables of the lake.
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    #[command(flatten)]
    roots: Roots,
    /// Decode all raw objects again that are still there, and compare them with the rows. Needs the raw root.
    #[arg(long)]
    deep: bool,
    /// Threads; default: as many as there are processors.
    #[arg(long, value_name = "N", requires = "deep", value_parser = parse_threads)]
    threads: Option<usize>,
    /// Text for people, or JSON.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// What the check of one source came to.
#[derive(Debug, Serialize)]
struct SourceVerification {
    source_id: String,
    #[serde(flatten)]
    verification: Verification,
    /// What a comparison with the raw objects came to, when one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    deep: Option<Deep>,
}

pub(super) async fn run(args: VerifyArgs, config: Config) -> Result<ExitCode> {
    let lake = args.roots.need_lake(&config)?;
    let raw = if args.deep { Some(args.roots.need_raw(&config)?) } else { None };
    let mut sources: BTreeSet<String> = args.sources.into_iter().collect();
    sources.iter().try_for_each(|source| check_source_id(source))?;
    let is_named = !sources.is_empty();
    if !is_named {
        sources.extend(list_sources(&lake).await?.0);
    }
    let missing =
        |what: String| Error::new(ErrorKind::NotFound, format!("there is no table {what}under {}", lake.url()));
    if sources.is_empty() {
        return Err(missing(String::new()));
    }
    let mut all = Vec::new();
    for source in sources {
        let mut verification = verify(&lake.folder(&source)?).await?;
        if is_named && verification.findings.iter().any(|finding| finding.kind == FindingKind::NoTable) {
            return Err(missing(format!("{source} ")));
        }
        let mut deep = None;
        if let (Some(raw), Some(_)) = (&raw, verification.version) {
            let settings = config.settings(&source)?;
            let threads = args.threads.unwrap_or_else(available_threads);
            match verify_deep(&raw.folder(&source)?, &lake.folder(&source)?, &settings, threads).await {
                Ok(mut compared) => {
                    verification.findings.append(&mut compared.findings);
                    deep = Some(compared);
                }
                Err(error) => verification.add_failure(&error),
            }
        }
        all.push(SourceVerification { source_id: source, verification, deep });
    }
    args.format.print("findings", &all, || all.iter().map(render).collect())?;
    let is_sound = all.iter().all(|source| source.verification.findings.is_empty());
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn render(source: &SourceVerification) -> String {
    let SourceVerification { source_id, verification, deep } = source;
    let checked = &verification.checked;
    let found = match verification.findings.len() as u64 + verification.findings_left_out {
        0 => "nothing wrong".to_owned(),
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    let mut text = match verification.version {
        None => format!("{source_id}: no version can be read: {found}\n"),
        Some(version) => format!(
            "{source_id}: version {version}, {} rows in {} files ({:.1} MB), {} raw objects in {} segments of the ledger, {} rejects in {} quarantine files, {} heads: {found}\n",
            checked.rows,
            checked.files,
            checked.bytes as f64 / 1e6,
            checked.entries,
            checked.segments,
            checked.rejects,
            checked.quarantine_files,
            checked.heads,
        ),
    };
    if let Some(deep) = deep {
        text.push_str(&render_deep(deep));
    }
    verification.findings.iter().for_each(|finding| text.push_str(&render_finding(finding)));
    if verification.findings_left_out > 0 {
        text.push_str(&format!("  and {} more of these\n", verification.findings_left_out));
    }
    text
}

fn render_deep(deep: &Deep) -> String {
    let mut text = format!("  {} rows were compared with {} raw objects", deep.rows, deep.objects);
    if deep.objects_unread > 0 {
        let (objects, rows) = (deep.objects_unread, deep.rows_unread);
        text.push_str(&format!("; {objects} raw objects of {rows} rows are gone or changed, or cannot be read"));
    }
    if deep.rows_canonical > 0 {
        text.push_str(&format!("; {} rows hold canonical text", deep.rows_canonical));
    }
    if !deep.columns_left_out.is_empty() {
        text.push_str(&format!("; not compared: {}", deep.columns_left_out.join(", ")));
    }
    text.push('\n');
    text
}

fn render_finding(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let column = finding.column.as_ref().map_or_else(String::new, |column| format!(", column {column}"));
    let mut text = format!("  {severity}: {}{column}: {}\n", finding.path, finding.reason);
    for effect in &finding.effects {
        text.push_str(&format!("    {}: {}\n", effect.readers, effect.effect));
    }
    text
}
