//! Which files of a table are merged with which. Pure.
//!
//! A file is small when it has less than half of the bytes that files should have. Small files of one partition become one
//! group, or several of at most four times those bytes. Rows whose origin is known are not mixed with rows whose origin is not.

use std::collections::{BTreeMap, HashMap};

use crate::lake::ActiveFile;
use crate::partition::PartitionKey;
use crate::write::{FileOrigin, merged_id};

/// A group has at most so many files.
const MAX_GROUP_FILES: usize = 10_000;
/// A partition with so many small files has many of them.
pub(super) const MANY_FILES: usize = 32;

/// Files of one partition that are merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// They, in the order of their paths.
    pub files: Vec<ActiveFile>,
    /// Whether it is known where their rows came from.
    pub has_origins: bool,
    /// By path: rows that are left out, sorted.
    pub dropped: HashMap<String, Vec<u64>>,
}

impl Group {
    /// Stored bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

/// Whether a file has less bytes than a file of a table of `target_bytes` should.
pub fn is_small(file: &ActiveFile, target_bytes: u64) -> bool {
    file.size_bytes < target_bytes.div_ceil(2)
}

/// Whether it is known where the rows of a file came from.
pub(super) fn has_origins(file: &ActiveFile) -> bool {
    FileOrigin::of(&file.path).is_some() || merged_id(&file.path).is_some()
}

/// Groups of all small files.
pub(super) fn all_groups(files: Vec<ActiveFile>, target_bytes: u64) -> Vec<Group> {
    let parts = partitions(files, target_bytes);
    parts.into_iter().flat_map(|((_, has_origins), files)| cut(files, has_origins, target_bytes)).collect()
}

/// Groups of the small files of partitions that have many of them; at most about `budget_bytes`, most files first.
///
/// A file is taken along only when all smaller ones together have at least its bytes: so with each time that rows are
/// written again, their file becomes at least twice as large.
pub(super) fn groups_of_many(files: Vec<ActiveFile>, target_bytes: u64, budget_bytes: u64) -> Vec<Group> {
    let mut parts: Vec<(bool, Vec<ActiveFile>)> = partitions(files, target_bytes)
        .into_iter()
        .map(|((_, has_origins), files)| (has_origins, without_large(files)))
        .filter(|(_, files)| files.len() >= MANY_FILES)
        .collect();
    parts.sort_by_key(|(_, files)| std::cmp::Reverse(files.len()));
    let mut left = budget_bytes;
    let groups = parts.into_iter().flat_map(|(has_origins, files)| cut(files, has_origins, target_bytes));
    let within = |group: &Group| {
        let is_within = group.bytes() <= left;
        left = left.saturating_sub(if is_within { group.bytes() } else { 0 });
        is_within
    };
    groups.filter(within).collect()
}

fn partitions(files: Vec<ActiveFile>, target_bytes: u64) -> BTreeMap<(PartitionKey, bool), Vec<ActiveFile>> {
    let mut parts: BTreeMap<(PartitionKey, bool), Vec<ActiveFile>> = BTreeMap::new();
    for file in files.into_iter().filter(|file| is_small(file, target_bytes)) {
        parts.entry((file.partition.clone(), has_origins(&file))).or_default().push(file);
    }
    parts
}

/// The most files of which the largest has no more bytes than all others together.
fn without_large(mut files: Vec<ActiveFile>) -> Vec<ActiveFile> {
    files.sort_by_key(|file| file.size_bytes);
    let mut smaller = 0;
    let mut count = 0;
    for (index, file) in files.iter().enumerate() {
        if file.size_bytes <= smaller {
            count = index + 1;
        }
        smaller += file.size_bytes;
    }
    files.truncate(count);
    files
}

fn cut(mut files: Vec<ActiveFile>, has_origins: bool, target_bytes: u64) -> Vec<Group> {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut groups: Vec<Group> = Vec::new();
    let mut bytes = 0;
    for file in files {
        bytes += file.size_bytes;
        let fits = |group: &&mut Group| bytes <= 4 * target_bytes && group.files.len() < MAX_GROUP_FILES;
        match groups.last_mut().filter(fits) {
            Some(group) => group.files.push(file),
            None => {
                bytes = file.size_bytes;
                groups.push(Group { files: vec![file], has_origins, dropped: HashMap::new() });
            }
        }
    }
    groups.retain(|group| group.files.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, partition: &str, size_bytes: u64) -> ActiveFile {
        let (path, partition) = (name.to_owned(), vec![Some(partition.to_owned())]);
        ActiveFile { path, size_bytes, row_count: 1, partition, stats: String::new() }
    }

    fn files(sizes: &[u64]) -> Vec<ActiveFile> {
        sizes.iter().enumerate().map(|(n, size)| file(&format!("{n:03}"), "p", *size)).collect()
    }

    fn sizes(groups: &[Group]) -> Vec<Vec<u64>> {
        groups.iter().map(|group| group.files.iter().map(|file| file.size_bytes).collect()).collect()
    }

    #[test]
    fn small_files_of_a_partition_are_grouped_and_others_are_left_alone() {
        let mut all = files(&[10, 100, 49, 50, 20]);
        all.push(file("z", "q", 1));
        assert_eq!(sizes(&all_groups(all, 100)), [vec![10, 49, 20]]);
        assert_eq!(sizes(&all_groups(files(&[30; 20]), 100)), [vec![30; 13], vec![30; 7]]);
        assert_eq!(sizes(&all_groups(files(&[3]), 100)), Vec::<Vec<u64>>::new());
    }

    #[test]
    fn rows_of_unknown_origin_stay_among_themselves() {
        let slice = "019a2b3c4d5e7f8091a2b3c4d5e6f708";
        let known = |n| file(&format!("{slice}-{n:05}.zstd.parquet"), "p", 1);
        let all = [vec![known(0), known(1)], files(&[1, 1])].concat();
        let groups = all_groups(all, 100);
        assert_eq!(groups.iter().map(|group| group.has_origins).collect::<Vec<_>>(), [false, true]);
        assert_eq!(sizes(&groups), [[1, 1], [1, 1]]);
    }

    #[test]
    fn without_being_asked_only_many_files_are_merged_and_none_that_outweighs_the_others() {
        let few = files(&vec![1; MANY_FILES - 1]);
        assert_eq!(groups_of_many(few, 1000, 1000), []);
        let mut many = files(&[1; MANY_FILES]);
        assert_eq!(groups_of_many(many.clone(), 1000, 1000)[0].files.len(), MANY_FILES);
        many.push(file("large", "p", MANY_FILES as u64 + 1));
        assert_eq!(groups_of_many(many.clone(), 1000, 1000)[0].files.len(), MANY_FILES);
        many.push(file("one more", "p", 1));
        assert_eq!(groups_of_many(many, 1000, 1000)[0].files.len(), MANY_FILES + 2);
    }

    #[test]
    fn what_is_merged_without_being_asked_stays_within_its_budget() {
        let mut all = files(&[2; MANY_FILES]);
        all.extend((0..=MANY_FILES).map(|n| file(&format!("q{n}"), "q", 2)));
        let groups = groups_of_many(all, 1000, 2 * MANY_FILES as u64 + 2);
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].files.len(), MANY_FILES + 1, "the partition with the most files first");
    }

    /// Files come one by one and are merged as the rule says: how often each byte is written.
    #[test]
    fn a_byte_is_written_again_a_few_times_only() {
        let (mut present, mut written, mut added) = (Vec::new(), 0, 0);
        for n in 0..20_000 {
            present.push(file(&format!("{n:06}"), "p", 10));
            added += 10;
            for group in groups_of_many(present.clone(), 1 << 20, u64::MAX) {
                let bytes = group.bytes();
                written += bytes;
                present.retain(|file| !group.files.contains(file));
                present.push(file(&format!("m{n:06}"), "p", bytes));
            }
        }
        assert!(written <= 6 * added, "{written} of {added}");
        assert!(present.len() < 3 * MANY_FILES, "{}", present.len());
    }
}
