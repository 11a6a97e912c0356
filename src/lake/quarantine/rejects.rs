//! The rejects of a quarantine by raw object; their bytes; and a file's rows without some of its rejects.

use std::collections::BTreeMap;
use std::ops::Range;

use super::read::{Quarantine, Quarantined};
use super::{QuarantineWriter, quarantine_schema};
use crate::error::{Error, ErrorKind, Result};
use crate::json::Reason;
use crate::raw::RawObject;

/// A reject, without its bytes: one row of a quarantine file, and those that continue it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReject {
    /// The number of its file.
    pub file: usize,
    /// Its rows in that file.
    pub rows: Range<u64>,
    /// The name of the [`Reason`] of its first row.
    pub reason: String,
    /// The run that rejected it.
    pub run_id: String,
    /// When that was, in microseconds since 1970-01-01T00:00:00Z.
    pub rejected_at_micros: i64,
    /// Where it begins in the decompressed raw object.
    pub offset: u64,
    /// How many bytes of the decompressed object are kept.
    pub plain_bytes: u64,
    /// How many bytes of the object as it is stored are kept; 0: none.
    pub stored_bytes: u64,
}

impl StoredReject {
    /// The bytes of the decompressed object that it stands for.
    pub fn bytes(&self) -> Range<u64> {
        // What could not be inflated has no known end.
        if self.stored_bytes > 0 { self.offset..u64::MAX } else { self.offset..self.offset + self.plain_bytes }
    }
}

impl Quarantine {
    /// The rejects whose reason `is_wanted`, by raw object, in the order of their offsets.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn rejects(&self, is_wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<RawObject, Vec<StoredReject>>> {
        let mut rejects: BTreeMap<RawObject, Vec<StoredReject>> = BTreeMap::new();
        let mut close = |done: Option<(RawObject, StoredReject)>| {
            if let Some((object, reject)) = done.filter(|(_, reject)| is_wanted(&reject.reason)) {
                rejects.entry(object).or_default().push(reject);
            }
        };
        for file in 0..self.files().len() {
            let mut open: Option<(RawObject, StoredReject)> = None;
            self.visit(file, |at, row| {
                if !row.continued {
                    close(open.take());
                    let reject = StoredReject {
                        file,
                        rows: at..at,
                        reason: row.reason.clone(),
                        run_id: row.run_id,
                        rejected_at_micros: row.rejected_at_micros,
                        offset: row.byte_offset,
                        plain_bytes: 0,
                        stored_bytes: 0,
                    };
                    open = Some((row.object, reject));
                }
                if let Some((_, reject)) = &mut open {
                    reject.rows.end = at + 1;
                    let kept = if is_stored(&row.reason) { &mut reject.stored_bytes } else { &mut reject.plain_bytes };
                    *kept += row.raw.len() as u64;
                }
                Ok(())
            })
            .await?;
            close(open);
        }
        rejects.values_mut().for_each(|rejects| rejects.sort_by_key(|reject| reject.offset));
        Ok(rejects)
    }

    /// The bytes that are kept of rejects of one file, whose rows are given in their order: those of the stored object where
    /// there are such, else those of the decompressed one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn bytes_of(&self, file: usize, rejects: &[&StoredReject]) -> Result<Vec<Vec<u8>>> {
        let mut found = vec![Vec::new(); rejects.len()];
        let mut next = 0;
        self.visit(file, |at, row| {
            while rejects.get(next).is_some_and(|reject| reject.rows.end <= at) {
                next += 1;
            }
            if let Some(reject) = rejects.get(next).filter(|reject| reject.rows.contains(&at))
                && is_stored(&row.reason) == (reject.stored_bytes > 0)
            {
                found[next].extend_from_slice(&row.raw);
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Writes the rows of a file that belong to none of `rejects`, which are in their order, and says how many rejects were
    /// left out.
    ///
    /// # Errors
    /// When the file cannot be read or the rows not be encoded.
    pub async fn copy_without(
        &self,
        file: usize,
        rejects: &[&StoredReject],
        writer: &mut QuarantineWriter,
    ) -> Result<u64> {
        let (mut next, mut left_out) = (0, 0);
        self.visit(file, |at, row| {
            while rejects.get(next).is_some_and(|reject| reject.rows.end <= at) {
                next += 1;
            }
            if rejects.get(next).is_some_and(|reject| reject.rows.contains(&at)) {
                left_out += u64::from(!row.continued);
                return Ok(());
            }
            writer.push_row(row)
        })
        .await?;
        Ok(left_out)
    }

    /// Shows all rows of a file, each with its number.
    async fn visit(&self, file: usize, mut see: impl FnMut(u64, Quarantined) -> Result<()>) -> Result<()> {
        let Some(meta) = self.files().get(file) else {
            return Err(Error::new(ErrorKind::Corrupt, format!("there is no quarantine file number {file}")));
        };
        let mut reader = self.read_files([meta.clone()], quarantine_schema());
        let mut at = 0;
        while let Some(rows) = reader.next_rows().await? {
            for row in rows {
                see(at, row)?;
                at += 1;
            }
        }
        Ok(())
    }
}

/// Whether the bytes of a row are those of the object as it is stored.
fn is_stored(reason: &str) -> bool {
    [Reason::CorruptCompression, Reason::ObjectTooLarge].iter().any(|stored| stored.name() == reason)
}
