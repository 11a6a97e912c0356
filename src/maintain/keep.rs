//! What follows a run without being asked: small files are merged where there are many, and manifests are kept up to date.

use super::manifest::write_manifests;
use super::optimize::{Optimizer, Scope};
use super::pack::MANY_FILES;
use crate::clock::Clock;
use crate::compact::{Report, Request, SourceOptimized, SourceReport, Status};
use crate::config::Settings;
use crate::error::{Result, describe};

/// A run may write again so many times the bytes that it added ...
const AMPLIFICATION: u64 = 4;
/// ... or so many bytes, if that is more.
const FREE_BYTES: u64 = 256 << 20;

/// Tends the tables that a run of `request` added to, as their configuration says, and tells of it in the report. What fails
/// here is told, too, and makes no run fail: its rows are in the table.
pub async fn keep(request: &Request, report: &mut Report, clock: &dyn Clock) {
    for source in &mut report.sources {
        if source.status == Status::Failed || source.version.is_none() || source.objects == 0 {
            continue;
        }
        let Ok(settings) = request.config.settings(&source.source_id) else { continue };
        // Most runs leave few files, of whatever size.
        let may_have_many = source.active_files.is_none_or(|files| files >= MANY_FILES);
        if settings.auto_optimize
            && may_have_many
            && let Err(error) = optimize_many(request, source, &settings, clock).await
        {
            source.notes.push(format!("small files could not be merged: {}", describe(&error)));
        }
        if settings.manifest {
            let written = async { write_manifests(&request.lake.folder(&source.source_id)?).await };
            if let Err(error) = written.await {
                source.notes.push(format!("the manifests could not be written: {}", describe(&error)));
            }
        }
    }
}

async fn optimize_many(
    request: &Request,
    source: &mut SourceReport,
    settings: &Settings,
    clock: &dyn Clock,
) -> Result<()> {
    let optimizer = Optimizer::new(&request.lake, request.threads, clock)?;
    let mut done = SourceOptimized::new(&source.source_id);
    let budget_bytes = FREE_BYTES.max(AMPLIFICATION * source.bytes_out);
    let outcome = optimizer.source(&source.source_id, settings, Scope::Many { budget_bytes }, &mut done).await;
    if done.commits > 0 {
        source.version = done.version.or(source.version);
        let amplification = (source.bytes_out + done.bytes_written) as f64 / source.bytes_out.max(1) as f64;
        source.notes.push(format!(
            "{} small files ({} bytes) of {} partitions were merged into {} ({} bytes); the run wrote {amplification:.1} times what it added",
            done.files_merged, done.bytes_read, done.partitions, done.files_written, done.bytes_written,
        ));
        source.optimized = Some(done);
    }
    outcome
}
