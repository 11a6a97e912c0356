//! `siltstone export`

use std::io::{BufWriter, Write as _};
use std::process::ExitCode;

use super::{Roots, open_table};
use crate::config::Config;
use crate::error::{Context as _, Result};
use crate::json::write_record;
use crate::lake::{Hidden, StoredFile};

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// The source.
    #[arg(value_name = "SOURCE")]
    source: String,
    #[command(flatten)]
    roots: Roots,
}

pub(super) async fn run(args: ExportArgs, config: Config) -> Result<ExitCode> {
    let lake = args.roots.need_lake(&config)?;
    let (table, _, registry) = open_table(&lake, &args.source).await?;
    let hidden = Hidden::new(table.location());
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout());
    let describe = || "cannot write records".to_owned();
    let mut line = Vec::new();
    for file in table.files()? {
        let mut stored = StoredFile::open(&hidden, &file.path, file.size_bytes, &registry.fields).await?;
        let fields = stored.fields.clone();
        while let Some(batch) = stored.next_batch().await? {
            for row in 0..batch.num_rows() {
                line.clear();
                write_record(&batch, &fields, row, &mut line);
                line.push(b'\n');
                out.write_all(&line).context(describe)?;
            }
        }
    }
    out.flush().context(describe)?;
    Ok(ExitCode::SUCCESS)
}
