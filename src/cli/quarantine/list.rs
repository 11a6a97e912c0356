//! `siltstone quarantine list`

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::parse_reason;
use crate::cli::{Roots, open_table};
use crate::config::Config;
use crate::error::{Context as _, Result};
use crate::json::{Reason, format_timestamp};
use crate::lake::{Hidden, Quarantine, QuarantineReader, QuarantineSummary, Quarantined, Tally, quarantine_schema};

/// Rejects that are shown unless `--limit` says otherwise; NDJSON has all of them.
const DEFAULT_LIMIT: u64 = 100;
/// Bytes of a reject that `--show-raw` shows.
const SHOWN_BYTES: usize = 200;
/// Rows of a text table that are aligned together.
const BLOCK_ROWS: usize = 1000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ListArgs {
    /// The source.
    #[arg(value_name = "SOURCE")]
    source: String,
    #[command(flatten)]
    roots: Roots,
    /// Text for people, one JSON document, or one JSON object in each line for each reject.
    #[arg(long, value_enum, default_value_t = ListFormat::Text)]
    format: ListFormat,
    /// Only rejects with this reason, as malformed; may be given several times.
    #[arg(long = "reason", value_name = "REASON", value_parser = parse_reason)]
    reasons: Vec<Reason>,
    /// Show at most this many rejects, 0 for the summary alone. Default: 100, and all of them with ndjson.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Show the first 200 bytes of each reject: what stood in the raw object.
    #[arg(long)]
    show_raw: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    Text,
    Json,
    Ndjson,
}

pub(super) async fn run(args: ListArgs, config: Config) -> Result<ExitCode> {
    let lake = args.roots.need_lake(&config)?;
    let (table, head, _) = open_table(&lake, &args.source).await?;
    let quarantine = Quarantine::open(&Hidden::new(table.location()), &head).await?;
    let reasons: Vec<&str> = args.reasons.iter().map(|reason| reason.name()).collect();
    let summary = quarantine.summarize(|reason| is_wanted(&reasons, reason)).await?;
    let limit = args.limit.unwrap_or(if args.format == ListFormat::Ndjson { u64::MAX } else { DEFAULT_LIMIT });
    let files = summary.files.iter().map(|file| file.file.clone());
    let rejects = Rejects {
        reader: quarantine.read_files(files, quarantine_schema()),
        rows: Vec::new().into_iter(),
        next: None,
        reasons: &reasons,
        left: limit.min(summary.all.rejects),
        show_raw: args.show_raw,
    };
    let more = summary.all.rejects - rejects.left;
    let mut out = BufWriter::new(io::stdout());
    match args.format {
        ListFormat::Text => write_text(&args.source, &summary, rejects, more, &mut out).await?,
        ListFormat::Json => {
            let version = table.version();
            write_json(&args.source, version, &summary, rejects, more, &mut out).await?;
        }
        ListFormat::Ndjson => write_ndjson(rejects, &mut out).await?,
    }
    out.flush().context(cannot_write)?;
    Ok(ExitCode::SUCCESS)
}

fn is_wanted(reasons: &[&str], reason: &str) -> bool {
    reasons.is_empty() || reasons.contains(&reason)
}

fn cannot_write() -> String {
    "cannot write the rejects".to_owned()
}

/// A reject as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    run_id: String,
    rejected_at: String,
    key: String,
    etag: String,
    size_bytes: u64,
    reason: String,
    column_path: Option<String>,
    byte_offset: u64,
    fault_offset: u64,
    /// How many bytes are kept of it.
    bytes: u64,
    /// The first of them, when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
}

/// The rejects, each with the rows that continue it.
struct Rejects<'a> {
    reader: QuarantineReader,
    rows: std::vec::IntoIter<Quarantined>,
    /// The reject that the next rows may continue; the inner one is empty when it is not wanted.
    next: Option<Option<Shown>>,
    reasons: &'a [&'a str],
    /// How many are still to be given.
    left: u64,
    show_raw: bool,
}

impl Rejects<'_> {
    async fn next(&mut self) -> Result<Option<Shown>> {
        while self.left > 0 {
            let Some(row) = self.rows.next() else {
                match self.reader.next_rows().await? {
                    Some(rows) => self.rows = rows.into_iter(),
                    None => {
                        self.left = 0;
                        return Ok(self.next.take().flatten());
                    }
                }
                continue;
            };
            if row.continued
                && let Some(reject) = &mut self.next
            {
                if let Some(reject) = reject {
                    reject.bytes += row.raw.len() as u64;
                }
                continue;
            }
            let next = is_wanted(self.reasons, &row.reason).then(|| self.shown(row));
            if let Some(reject) = self.next.replace(next).flatten() {
                self.left -= 1;
                return Ok(Some(reject));
            }
        }
        Ok(None)
    }

    fn shown(&self, row: Quarantined) -> Shown {
        Shown {
            raw: self.show_raw.then(|| beginning(&row.raw)),
            run_id: row.run_id,
            rejected_at: format_timestamp(row.rejected_at_micros, false),
            key: row.object.key,
            etag: row.object.etag,
            size_bytes: row.object.size_bytes,
            reason: row.reason,
            column_path: row.column_path,
            byte_offset: row.byte_offset,
            fault_offset: row.fault_offset,
            bytes: row.raw.len() as u64,
        }
    }
}

/// The first bytes as text, without a character that they end in.
fn beginning(raw: &[u8]) -> String {
    let mut end = raw.len().min(SHOWN_BYTES);
    while end < raw.len() && SHOWN_BYTES - end < 3 && raw[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    String::from_utf8_lossy(raw[..end].trim_ascii_end()).into_owned()
}

/// The text without characters that a terminal would act on.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Beside control characters, those that turn the direction of what is shown and those that end lines.
        if c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The reasons, the most frequent first.
fn by_count(summary: &QuarantineSummary) -> Vec<(&String, &Tally)> {
    let mut reasons: Vec<_> = summary.reasons.iter().collect();
    reasons.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.rejects));
    reasons
}

/// When the first and the last were rejected.
fn span(tally: &Tally) -> (String, String) {
    let (first, last) = tally.span_micros.unwrap_or_default();
    (format_timestamp(first, false), format_timestamp(last, false))
}

async fn write_text(
    source: &str,
    summary: &QuarantineSummary,
    mut rejects: Rejects<'_>,
    more: u64,
    out: &mut impl Write,
) -> Result<()> {
    let all = &summary.all;
    if all.rejects == 0 {
        let with = match rejects.reasons {
            [] => String::new(),
            reasons => format!(" with the reason {}", reasons.join(" or ")),
        };
        return writeln!(out, "{source}: nothing is in quarantine{with}").context(cannot_write);
    }
    writeln!(out, "{source}: {} rejects of {} raw objects", all.rejects, all.objects()).context(cannot_write)?;
    let mut table =
        Aligned::new([("reason", false), ("rejects", true), ("objects", true), ("first", false), ("last", false)]);
    let rows = by_count(summary).into_iter().map(|(reason, tally)| {
        let (first, last) = span(tally);
        ([reason.clone(), tally.rejects.to_string(), tally.objects().to_string(), first, last], None)
    });
    table.write(out, rows.collect()).context(cannot_write)?;
    let mut table = Aligned::new([
        ("time", false),
        ("key", false),
        ("offset", true),
        ("fault", true),
        ("reason", false),
        ("column", false),
        ("bytes", true),
    ]);
    let mut block = Vec::new();
    loop {
        let reject = rejects.next().await?;
        let is_end = reject.is_none();
        block.extend(reject.map(text_row));
        if !block.is_empty() && (is_end || block.len() == BLOCK_ROWS) {
            if !table.has_begun {
                writeln!(out).context(cannot_write)?;
            }
            table.write(out, std::mem::take(&mut block)).context(cannot_write)?;
        }
        if is_end {
            break;
        }
    }
    if more > 0 {
        writeln!(out, "  and {more} more: --limit {} shows all", all.rejects).context(cannot_write)?;
    }
    Ok(())
}

fn text_row(reject: Shown) -> ([String; 7], Option<String>) {
    let below = reject.raw.map(|raw| {
        let cut = if reject.bytes > SHOWN_BYTES as u64 { " ..." } else { "" };
        format!("    {}{cut}", printable(&raw))
    });
    let cells = [
        reject.rejected_at,
        printable(&reject.key),
        reject.byte_offset.to_string(),
        reject.fault_offset.to_string(),
        reject.reason,
        reject.column_path.as_deref().map_or_else(|| "-".to_owned(), printable),
        reject.bytes.to_string(),
    ];
    (cells, below)
}

/// Rows of aligned cells below a heading, each perhaps with a line below it.
struct Aligned<const N: usize> {
    names: [&'static str; N],
    is_number: [bool; N],
    widths: [usize; N],
    has_begun: bool,
}

impl<const N: usize> Aligned<N> {
    fn new(columns: [(&'static str, bool); N]) -> Self {
        let names = columns.map(|(name, _)| name);
        Self {
            names,
            is_number: columns.map(|(_, is_number)| is_number),
            widths: names.map(str::len),
            has_begun: false,
        }
    }

    /// Writes rows, after the first call below those before; columns become wider where they must.
    fn write(&mut self, out: &mut impl Write, rows: Vec<([String; N], Option<String>)>) -> io::Result<()> {
        for (cells, _) in &rows {
            for (width, cell) in self.widths.iter_mut().zip(cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        if !self.has_begun {
            self.has_begun = true;
            self.line(out, &self.names.map(str::to_owned))?;
        }
        for (cells, below) in rows {
            self.line(out, &cells)?;
            if let Some(below) = below {
                writeln!(out, "{below}")?;
            }
        }
        Ok(())
    }

    fn line(&self, out: &mut impl Write, cells: &[String; N]) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, width), is_number) in cells.iter().zip(self.widths).zip(self.is_number) {
            line.push_str(&if is_number { format!("  {cell:>width$}") } else { format!("  {cell:width$}") });
        }
        writeln!(out, "{}", line.trim_end())
    }
}

async fn write_json(
    source: &str,
    version: Option<u64>,
    summary: &QuarantineSummary,
    mut rejects: Rejects<'_>,
    more: u64,
    out: &mut impl Write,
) -> Result<()> {
    let reasons = by_count(summary).into_iter().map(|(reason, tally)| {
        let (first, last) = span(tally);
        json!({"reason": reason, "rejects": tally.rejects, "objects": tally.objects(), "first": first, "last": last})
    });
    let summary: Value = reasons.collect();
    let source = json!(source);
    let version = json!(version);
    write!(out, r#"{{"source_id":{source},"version":{version},"summary":{summary},"rejects":["#)
        .context(cannot_write)?;
    let mut separator = "";
    while let Some(reject) = rejects.next().await? {
        write!(out, "{separator}{}", to_json(&reject)?).context(cannot_write)?;
        separator = ",";
    }
    writeln!(out, r#"],"more":{more}}}"#).context(cannot_write)
}

async fn write_ndjson(mut rejects: Rejects<'_>, out: &mut impl Write) -> Result<()> {
    while let Some(reject) = rejects.next().await? {
        writeln!(out, "{}", to_json(&reject)?).context(cannot_write)?;
    }
    Ok(())
}

fn to_json(reject: &Shown) -> Result<String> {
    serde_json::to_string(reject).context(|| "cannot express a reject".to_owned())
}
