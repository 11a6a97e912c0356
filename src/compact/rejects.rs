//! Rejects that leave the quarantine: the files that hold them are written again without them.

use std::collections::BTreeMap;

use super::driver::{Driver, Plan};
use super::pool::run_all;
use super::slice::SliceContext;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Quarantine, QuarantineWriter, StoredReject};

/// The quarantine without some of its rejects.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    /// The quarantine files from now on.
    pub files: Vec<String>,
    /// Those of them that take the place of others.
    pub written: Vec<String>,
    /// These others.
    pub replaced: Vec<String>,
}

impl Driver<'_> {
    /// Writes the quarantine files of `plan` that hold some of `rejects` again without them. Blocks.
    pub(super) fn leave_out<'r>(
        &self,
        plan: &Plan,
        context: &SliceContext,
        workers: usize,
        quarantine: &Quarantine,
        rejects: impl Iterator<Item = &'r StoredReject>,
    ) -> Result<Remaining> {
        let mut files: BTreeMap<usize, Vec<&StoredReject>> = BTreeMap::new();
        rejects.for_each(|reject| files.entry(reject.file).or_default().push(reject));
        files.values_mut().for_each(|rejects| rejects.sort_by_key(|reject| reject.rows.start));
        let at_micros = self.clock.now_micros();
        let copies = run_all(files.iter().collect(), workers, |(file, rejects)| {
            let (path, sink) = context.quarantine_file(&self.clock.new_id())?;
            let mut writer = QuarantineWriter::new(self.run_id.clone(), at_micros, sink);
            let copied = quarantine.copy_without(*file, rejects, &mut writer);
            let left_out = context.write.runtime.block_on(copied)?;
            if left_out != rejects.len() as u64 {
                let expected = rejects.len();
                let message = format!("the books do not balance: {left_out} rejects were found again of {expected}");
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            Ok(writer.finish()?.then_some(path))
        })?;
        let written: Vec<String> = copies.iter().flatten().cloned().collect();
        let mut copies: BTreeMap<usize, Option<String>> = files.into_keys().zip(copies).collect();
        let before = plan.head.as_ref().map_or(&[][..], |head| &head.quarantine);
        let replaced = copies.keys().filter_map(|file| before.get(*file).cloned()).collect();
        let kept = before.iter().enumerate();
        let files =
            kept.filter_map(|(file, path)| copies.remove(&file).unwrap_or_else(|| Some(path.clone()))).collect();
        Ok(Remaining { files, written, replaced })
    }
}
