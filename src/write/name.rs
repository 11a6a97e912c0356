//! The names of data files, which tell where their rows came from.
//!
//! ```text
//! <slice>-<number>.zstd.parquet        the number-th file of an attempt at a slice
//! <slice>-<number>-<id>.zstd.parquet   the same rows, written again
//! merged-<id>.zstd.parquet             rows of several such files; where each came from is recorded under the id
//! merged-<id>-<id>.zstd.parquet        the same rows, written again
//! ```
//!
//! Of one slice and partition, the files hold consecutive rows in the order of their numbers.

const SUFFIX: &str = ".zstd.parquet";
/// What the names of merged files begin with.
const MERGED: &str = "merged";
/// The length of the ids of slices and of rewritten files: hexadecimal digits.
const ID_BYTES: usize = 32;

/// Which file of which slice first held the rows of a data file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileOrigin {
    /// The id of the attempt at a slice.
    pub slice: String,
    /// The number of the file among those of the attempt, in the order in which they were begun.
    pub number: u64,
}

impl FileOrigin {
    /// Reads the origin of a data file off its path; `None` when the name is of another form.
    pub fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?.strip_suffix(SUFFIX)?;
        let mut parts = name.split('-');
        let (slice, number, id) = (parts.next()?, parts.next()?, parts.next());
        if !is_id(slice) || !id.is_none_or(is_id) || parts.next().is_some() {
            return None;
        }
        let origin = Self { slice: slice.to_owned(), number: number.parse().ok()? };
        (format!("{:05}", origin.number) == number).then_some(origin)
    }

    /// The name of the file that is written first.
    pub fn name(&self) -> String {
        format!("{}-{:05}{SUFFIX}", self.slice, self.number)
    }

    /// The name of a file that holds the same rows; `id` must be used by no other.
    pub fn name_again(&self, id: &str) -> String {
        format!("{}-{:05}-{id}{SUFFIX}", self.slice, self.number)
    }
}

/// The name of a file of rows that came from several files; `id` must be used by no other, and names the record of them.
pub fn merged_name(id: &str) -> String {
    format!("{MERGED}-{id}{SUFFIX}")
}

/// The id under which it is recorded where the rows of a merged file came from; `None` when the path names no merged file.
pub fn merged_id(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?.strip_suffix(SUFFIX)?;
    let mut parts = name.strip_prefix(MERGED)?.strip_prefix('-')?.split('-');
    let (id, again) = (parts.next()?, parts.next());
    (is_id(id) && again.is_none_or(is_id) && parts.next().is_none()).then_some(id)
}

/// The name of a file that holds the rows of the file at `path`, in their order; `id` must be used by no other.
pub fn same_rows_name(path: &str, id: &str) -> String {
    match (FileOrigin::of(path), merged_id(path)) {
        (Some(origin), _) => origin.name_again(id),
        (None, Some(merged)) => format!("{MERGED}-{merged}-{id}{SUFFIX}"),
        (None, None) => name_without_origin(id),
    }
}

/// The name of a file of rows whose origin is not known; `id` must be used by no other.
pub fn name_without_origin(id: &str) -> String {
    format!("{id}{SUFFIX}")
}

fn is_id(text: &str) -> bool {
    text.len() == ID_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: &str = "019a2b3c4d5e7f8091a2b3c4d5e6f708";
    const AGAIN: &str = "019a2b3c4d5e7f8091a2b3c4d5e6f709";

    #[test]
    fn the_origin_is_read_off_the_name_and_stays_when_a_file_is_written_again() {
        for number in [0, 7, 99_999, 100_000, 1_234_567] {
            let origin = FileOrigin { slice: SLICE.to_owned(), number };
            assert_eq!(FileOrigin::of(&origin.name()).as_ref(), Some(&origin));
            assert_eq!(FileOrigin::of(&format!("a=1/b=2/{}", origin.name_again(AGAIN))), Some(origin));
        }
    }

    #[test]
    fn the_record_of_a_merged_file_is_named_by_it_and_by_what_is_written_again() {
        let merged = format!("a=1/{}", merged_name(SLICE));
        let again = same_rows_name(&merged, AGAIN);
        for path in [merged, format!("a=1/{again}"), same_rows_name(&again, SLICE)] {
            assert_eq!(merged_id(&path), Some(SLICE), "{path}");
            assert_eq!(FileOrigin::of(&path), None, "{path}");
        }
        let first = FileOrigin { slice: SLICE.to_owned(), number: 3 };
        assert_eq!(FileOrigin::of(&same_rows_name(&first.name(), AGAIN)), Some(first.clone()));
        let foreign = same_rows_name("part-00000.parquet", AGAIN);
        for path in [first.name(), foreign, "merged-x.zstd.parquet".to_owned(), format!("merged-{SLICE}.parquet")] {
            assert_eq!(merged_id(&path), None, "{path}");
        }
    }

    #[test]
    fn a_name_of_another_form_has_no_origin() {
        let names = [
            format!("{SLICE}-0.zstd.parquet"),
            format!("{SLICE}-000001.zstd.parquet"),
            format!("{SLICE}-+0001.zstd.parquet"),
            format!("{SLICE}-00000.parquet"),
            format!("{SLICE}-00000-x.zstd.parquet"),
            format!("{SLICE}-00000-{AGAIN}-1.zstd.parquet"),
            format!("{}-00000.zstd.parquet", &SLICE[1..]),
            format!("{}-00000.zstd.parquet", SLICE.to_uppercase()),
            "part-00000-5e7f8091-a2b3-c4d5-e6f7-08c000.zstd.parquet".to_owned(),
            name_without_origin(AGAIN),
        ];
        for name in names {
            assert_eq!(FileOrigin::of(&name), None, "{name}");
        }
    }
}
