//! What a quarantine holds, by reason.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::Schema;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectMeta;

use super::quarantine_schema;
use super::read::{Quarantine, column, number, text};
use crate::error::{Error, Result};

/// Files that are read at once: most are small, so the time is that of the requests.
const FILES_AT_ONCE: usize = 8;
/// What is read of them.
const COLUMNS: [&str; 6] = ["rejected_at", "key", "etag", "size_bytes", "reason", "continued"];

/// Rejects that have something in common.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How many there are.
    pub rejects: u64,
    /// When the first and the last were rejected, in microseconds since 1970-01-01T00:00:00Z.
    pub span_micros: Option<(i64, i64)>,
    /// Hashes of the raw objects.
    objects: HashSet<u64>,
}

impl Tally {
    /// How many raw objects they are of.
    pub fn objects(&self) -> u64 {
        self.objects.len() as u64
    }

    fn add(&mut self, at_micros: i64, object: u64) {
        self.rejects += 1;
        self.see((at_micros, at_micros));
        self.objects.insert(object);
    }

    fn merge(&mut self, other: Self) {
        self.rejects += other.rejects;
        other.span_micros.into_iter().for_each(|span| self.see(span));
        self.objects.extend(other.objects);
    }

    fn see(&mut self, (first, last): (i64, i64)) {
        let span = self.span_micros.map_or((first, last), |span| (span.0.min(first), span.1.max(last)));
        self.span_micros = Some(span);
    }
}

/// A file with rejects that were asked for.
#[derive(Debug, Clone)]
pub struct SummarizedFile {
    /// The file.
    pub file: ObjectMeta,
    /// When its run was, in microseconds since 1970-01-01T00:00:00Z.
    pub rejected_at_micros: i64,
}

/// What a quarantine holds.
#[derive(Debug, Clone, Default)]
pub struct QuarantineSummary {
    /// All rejects that were asked for.
    pub all: Tally,
    /// The same by the name of their reason.
    pub reasons: BTreeMap<String, Tally>,
    /// The files that hold them: newer runs first, those of one run in their order.
    pub files: Vec<SummarizedFile>,
}

impl Quarantine {
    /// Counts the rejects whose reason `is_wanted`, without reading their bytes.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn summarize(&self, is_wanted: impl Fn(&str) -> bool) -> Result<QuarantineSummary> {
        let schema = quarantine_schema();
        let wanted = schema.fields().iter().filter(|field| COLUMNS.contains(&field.name().as_str()));
        let columns = Arc::new(Schema::new(wanted.cloned().collect::<Vec<_>>()));
        let mut summary = QuarantineSummary::default();
        let mut parts = futures::stream::iter(self.files())
            .map(|file| {
                let mut reader = self.read_files([file.clone()], Arc::clone(&columns));
                let is_wanted = &is_wanted;
                async move {
                    let mut part = QuarantineSummary::default();
                    while let Some(batch) = reader.next_batch().await? {
                        part.add(&batch, is_wanted)?;
                    }
                    Ok::<_, Error>((file, part))
                }
            })
            .buffered(FILES_AT_ONCE);
        while let Some((file, part)) = parts.try_next().await? {
            if let Some((rejected_at_micros, _)) = part.all.span_micros {
                summary.files.push(SummarizedFile { file: file.clone(), rejected_at_micros });
            }
            summary.merge(part);
        }
        summary.files.sort_by_key(|file| Reverse(file.rejected_at_micros));
        Ok(summary)
    }
}

impl QuarantineSummary {
    fn add(&mut self, batch: &RecordBatch, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
        let at = column::<TimestampMicrosecondArray>(batch, "rejected_at")?;
        let (key, etag, size) = (text(batch, "key")?, text(batch, "etag")?, number(batch, "size_bytes")?);
        let (reason, continued) = (text(batch, "reason")?, column::<BooleanArray>(batch, "continued")?);
        for row in 0..batch.num_rows() {
            let reason = reason.value(row);
            if continued.value(row) || !is_wanted(reason) {
                continue;
            }
            let mut hasher = DefaultHasher::new();
            (key.value(row), etag.value(row), size.value(row)).hash(&mut hasher);
            let object = hasher.finish();
            self.all.add(at.value(row), object);
            if !self.reasons.contains_key(reason) {
                self.reasons.insert(reason.to_owned(), Tally::default());
            }
            if let Some(tally) = self.reasons.get_mut(reason) {
                tally.add(at.value(row), object);
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.all.merge(other.all);
        for (reason, tally) in other.reasons {
            self.reasons.entry(reason).or_default().merge(tally);
        }
    }
}
