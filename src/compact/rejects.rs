//! Rejects that leave the quarantine: the files that hold them are written again without them. And quarantine files that
//! became many: they are written again as one, so that heads stay small, which name them all.

use std::collections::BTreeMap;
use std::ops::Range;

use super::driver::{Driver, Plan};
use super::pool::run_all;
use super::slice::SliceContext;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Quarantine, QuarantineWriter, StoredReject};

/// So many files become one, when each has less than the first of these bytes. With less than the next ones, it takes so many
/// more; what is larger stays. So each reject is written again a few times in its life.
const MERGED_FILES: usize = 32;
const MERGED_BYTES: [u64; 3] = [64 << 10, 2 << 20, 64 << 20];

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
        let before = plan.quarantine();
        let replaced = copies.keys().filter_map(|file| before.get(*file).cloned()).collect();
        let kept = before.iter().enumerate();
        let files =
            kept.filter_map(|(file, path)| copies.remove(&file).unwrap_or_else(|| Some(path.clone()))).collect();
        Ok(Remaining { files, written, replaced })
    }

    /// Writes quarantine files of `plan` again as one, when many small ones follow one another. Blocks.
    ///
    /// # Errors
    /// When they cannot be read, or the new one not be written. The quarantine is then as it was.
    pub(super) fn merge_rejects(&self, plan: &Plan, context: &SliceContext) -> Result<Remaining> {
        let Some(head) = plan.head.as_ref().filter(|head| head.quarantine.len() >= MERGED_FILES) else {
            return Ok(Remaining { files: plan.quarantine().to_vec(), ..Remaining::default() });
        };
        let runtime = &context.write.runtime;
        let quarantine = runtime.block_on(Quarantine::open(&plan.hidden, head))?;
        let sizes: Vec<u64> = quarantine.files().iter().map(|file| file.size).collect();
        let merged = to_merge(&sizes);
        let mut files = head.quarantine.clone();
        if merged.is_empty() {
            return Ok(Remaining { files, ..Remaining::default() });
        }
        let (path, sink) = context.quarantine_file(&self.clock.new_id())?;
        let mut writer = QuarantineWriter::new(self.run_id.clone(), self.clock.now_micros(), sink);
        for file in merged.clone() {
            runtime.block_on(quarantine.copy_without(file, &[], &mut writer))?;
        }
        let written: Vec<String> = writer.finish()?.then_some(path).into_iter().collect();
        let replaced = files.splice(merged, written.clone()).collect();
        Ok(Remaining { files, written, replaced })
    }
}

/// Which files, by their sizes in bytes, become one: the last ones, if there are enough of about a size; else none.
fn to_merge(sizes: &[u64]) -> Range<usize> {
    let counts = (1..).map(|level| level * MERGED_FILES);
    let mut levels = MERGED_BYTES.iter().zip(counts).map(|(bound, count)| {
        let small = sizes.iter().rev().take_while(|size| *size < bound).count();
        (small, count)
    });
    let small = levels.find(|(small, count)| small >= count).map_or(0, |(small, _)| small);
    sizes.len() - small..sizes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_few_and_are_written_again_seldom() {
        for (typical, is_mixed) in [(2_000, false), (50_000, true), (1_000_000, true), (30_000_000, false)] {
            let (mut sizes, mut came, mut written): (Vec<u64>, u64, u64) = (Vec::new(), 0, 0);
            for run in 0..20_000_u64 {
                let merged = to_merge(&sizes);
                let bytes: u64 = sizes[merged.clone()].iter().sum();
                written += bytes;
                sizes.splice(merged.clone(), (!merged.is_empty()).then_some(bytes));
                let size = if is_mixed && run % 7 == 0 { typical * 20 } else { typical };
                came += size;
                sizes.push(size);
                assert!(sizes.len() as u64 <= 128 + came / (16 << 20), "{typical}: {} files", sizes.len());
            }
            assert!(written <= 6 * came, "{typical}: {written} bytes were written again of {came}");
        }
    }
}
