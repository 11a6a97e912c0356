//! The statistics of a column of text: its least and its greatest value, and how many are null.
//!
//! Parquet's writer compares every value with both. Here what both begin with is compared once, and then one word, so that few
//! values are compared to their end.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray as _, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use parquet::data_type::ByteArray;
use parquet::file::metadata::ColumnChunkMetaDataBuilder;
use parquet::file::statistics::{Statistics, ValueStatistics};

/// Whether a field is text, or a struct of nothing but such a field.
pub(super) fn is_text(ty: &DataType) -> bool {
    match ty {
        DataType::Struct(fields) => matches!(&**fields, [field] if is_text(field.data_type())),
        ty => *ty == DataType::Utf8,
    }
}

/// What is known of the values so far.
#[derive(Debug, Default)]
pub(super) struct TextBounds {
    bounds: Option<Bounds>,
    nulls: u64,
    /// Bytes of all values.
    bytes: i64,
}

impl TextBounds {
    /// Takes the values of an array of text, or of structs of nothing but text.
    pub(super) fn update(&mut self, array: &ArrayRef) {
        let mut nulls = None;
        let mut array = array;
        while let Some(parts) = array.as_struct_opt() {
            nulls = NullBuffer::union(nulls.as_ref(), parts.nulls());
            array = parts.column(0);
        }
        let Some(values) = array.as_string_opt::<i32>() else { return };
        match NullBuffer::union(nulls.as_ref(), values.nulls()) {
            Some(nulls) => {
                self.nulls += nulls.null_count() as u64;
                self.extend(values, nulls.valid_indices());
            }
            None => self.extend(values, 0..values.len()),
        }
    }

    fn extend(&mut self, values: &StringArray, mut rows: impl Iterator<Item = usize>) {
        let values = Values { offsets: values.value_offsets(), bytes: values.value_data() };
        let bounds = match &mut self.bounds {
            Some(bounds) => bounds,
            none => {
                let Some(first) = rows.next().map(|row| values.range(row)) else { return };
                self.bytes += first.len() as i64;
                none.insert(Bounds::of(&values.bytes[first]))
            }
        };
        for row in rows {
            let range = values.range(row);
            self.bytes += range.len() as i64;
            bounds.take(values.bytes, range);
        }
    }

    /// Tells of them in the metadata of their column, with bounds of at most so many bytes.
    pub(super) fn describe(self, metadata: ColumnChunkMetaDataBuilder, max_bytes: usize) -> ColumnChunkMetaDataBuilder {
        let (min, max) = self.bounds.map(|bounds| (bounds.min, bounds.max)).unzip();
        let min = min.map(|min| cut_min(min, max_bytes));
        let max = max.map(|max| cut_max(max, max_bytes));
        let is_exact = |bound: &Option<(Vec<u8>, bool)>| bound.as_ref().is_none_or(|(_, is_exact)| *is_exact);
        let (min_is_exact, max_is_exact) = (is_exact(&min), is_exact(&max));
        let value = |bound: Option<(Vec<u8>, bool)>| bound.map(|(bytes, _)| ByteArray::from(bytes));
        let statistics = ValueStatistics::new(value(min), value(max), None, Some(self.nulls), false)
            .with_min_is_exact(min_is_exact)
            .with_max_is_exact(max_is_exact);
        metadata.set_statistics(Statistics::ByteArray(statistics)).set_unencoded_byte_array_data_bytes(Some(self.bytes))
    }
}

/// The bytes of an array of strings.
struct Values<'a> {
    offsets: &'a [i32],
    bytes: &'a [u8],
}

impl Values<'_> {
    fn range(&self, row: usize) -> Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }
}

/// Bytes that are compared at once.
const WORD: usize = size_of::<u64>();

/// The least and the greatest of some values.
#[derive(Debug)]
struct Bounds {
    min: Vec<u8>,
    max: Vec<u8>,
    /// So many bytes both begin with.
    common: usize,
    /// The word of each behind these.
    min_word: u64,
    max_word: u64,
}

impl Bounds {
    fn of(value: &[u8]) -> Self {
        let mut bounds = Self { min: value.to_vec(), max: value.to_vec(), common: 0, min_word: 0, max_word: 0 };
        bounds.find_words();
        bounds
    }

    fn find_words(&mut self) {
        self.common = self.min.iter().zip(&self.max).take_while(|(a, b)| a == b).count();
        self.min_word = word(&self.min, self.common..self.min.len());
        self.max_word = word(&self.max, self.common..self.max.len());
    }

    /// Takes the value that lies at `range` of `bytes`.
    #[inline]
    fn take(&mut self, bytes: &[u8], range: Range<usize>) {
        let value = &bytes[range.clone()];
        if value.len() >= self.common && value[..self.common] == self.min[..self.common] {
            let word = word(bytes, range.start + self.common..range.end);
            let is_whole = value.len() - self.common <= WORD;
            let is = |bound: &[u8], bound_word| word == bound_word && is_whole && value.len() == bound.len();
            if word > self.min_word && word < self.max_word
                || is(&self.min, self.min_word)
                || is(&self.max, self.max_word)
            {
                return;
            }
        }
        self.compare(value);
    }

    fn compare(&mut self, value: &[u8]) {
        if value < &self.min[..] {
            self.min = value.to_vec();
        } else if value > &self.max[..] {
            self.max = value.to_vec();
        } else {
            return;
        }
        self.find_words();
    }
}

/// The first eight bytes of those at `range`, as if zeros were behind them; of two such words, the greater is not of the lesser
/// string.
#[inline]
fn word(bytes: &[u8], range: Range<usize>) -> u64 {
    let length = range.len();
    let mut word = [0; WORD];
    if let Some(bytes) = bytes.get(range.start..range.start + WORD) {
        word.copy_from_slice(bytes);
    } else {
        word[..length].copy_from_slice(&bytes[range]);
    }
    let spare_bits = u64::BITS - u8::BITS * length.min(WORD) as u32;
    u64::from_be_bytes(word).checked_shr(spare_bits).map_or(0, |word| word << spare_bits)
}

/// A value that is no greater, of at most so many bytes, and whether it is the same.
fn cut_min(min: Vec<u8>, max_bytes: usize) -> (Vec<u8>, bool) {
    match prefix(&min, max_bytes) {
        Some(prefix) if !prefix.is_empty() => (prefix.as_bytes().to_vec(), false),
        _ => (min, true),
    }
}

/// A value that is no less, of at most so many bytes if there is one, and whether it is the same.
///
/// The last character that can be is made the one behind it, unless that takes more bytes.
fn cut_max(max: Vec<u8>, max_bytes: usize) -> (Vec<u8>, bool) {
    let Some(prefix) = prefix(&max, max_bytes) else { return (max, true) };
    let next = |character: char| {
        let next = char::from_u32(u32::from(character) + 1)?;
        (next.len_utf8() == character.len_utf8()).then_some(next)
    };
    let greater = prefix.char_indices().rev().find_map(|(at, last)| Some(format!("{}{}", &prefix[..at], next(last)?)));
    match greater {
        Some(greater) => (greater.into_bytes(), false),
        None => (max, true),
    }
}

/// The characters that fit in so many bytes; `None` if all do.
fn prefix(value: &[u8], max_bytes: usize) -> Option<&str> {
    let text = str::from_utf8(value).ok().filter(|text| text.len() > max_bytes)?;
    Some(&text[..text.floor_char_boundary(max_bytes)])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use arrow::array::StructArray;
    use arrow::datatypes::{Field, Fields, Schema};
    use parquet::arrow::ArrowSchemaConverter;
    use parquet::file::metadata::ColumnChunkMetaData;
    use proptest::prelude::*;

    use super::*;

    fn statistics_of(arrays: &[ArrayRef], max_bytes: usize) -> Statistics {
        let mut bounds = TextBounds::default();
        arrays.iter().for_each(|array| bounds.update(array));
        let schema = Schema::new(vec![Field::new("a", DataType::Utf8, true)]);
        let columns = ArrowSchemaConverter::new().convert(&schema).unwrap();
        let metadata = bounds.describe(ColumnChunkMetaData::builder(columns.column(0)), max_bytes).build().unwrap();
        metadata.statistics().unwrap().clone()
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    /// Strings that begin alike, and have zeros, the empty string and longer characters among them.
    fn value() -> impl Strategy<Value = Option<String>> {
        let characters = prop::sample::select(vec!['\0', 'a', 'b', '\u{7f}', 'é', '\u{d7ff}', '\u{10ffff}']);
        let text = prop::collection::vec(characters, 0..12).prop_map(String::from_iter);
        prop::option::of(
            (prop::sample::select(vec!["", "https://api.example.com/"]), text).prop_map(|(a, b)| a.to_owned() + &b),
        )
    }

    proptest! {
        #[test]
        fn bounds_are_the_least_and_the_greatest(pieces in prop::collection::vec(prop::collection::vec(value(), 0..20), 0..4)) {
            let arrays: Vec<ArrayRef> = pieces.iter().map(|piece| Arc::new(StringArray::from_iter(piece)) as ArrayRef).collect();
            let values: Vec<&str> = pieces.iter().flatten().flatten().map(String::as_str).collect();
            let found = statistics_of(&arrays, usize::MAX);
            prop_assert_eq!(found.min_bytes_opt(), values.iter().min().map(|min| min.as_bytes()));
            prop_assert_eq!(found.max_bytes_opt(), values.iter().max().map(|max| max.as_bytes()));
            prop_assert_eq!(found.null_count_opt(), Some(pieces.iter().flatten().filter(|value| value.is_none()).count() as u64));
            let cut = statistics_of(&arrays, 5);
            prop_assert!(cut.min_bytes_opt() <= found.min_bytes_opt() && cut.max_bytes_opt() >= found.max_bytes_opt());
            for bound in cut.min_bytes_opt().into_iter().chain(cut.max_bytes_opt()) {
                prop_assert!(str::from_utf8(bound).is_ok());
            }
        }
    }

    #[test]
    fn bounds_are_cut_between_characters() {
        let cut = |text: &str| {
            let found = statistics_of(&[texts(&[Some(text)])], 4);
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            (text(found.min_bytes_opt()), found.min_is_exact(), text(found.max_bytes_opt()), found.max_is_exact())
        };
        let is = |min: &str, min_is_exact, max: &str, max_is_exact| {
            (min.to_owned(), min_is_exact, max.to_owned(), max_is_exact)
        };
        assert_eq!(cut("abcd"), is("abcd", true, "abcd", true));
        assert_eq!(cut("abcde"), is("abcd", false, "abce", false));
        assert_eq!(cut("abcé"), is("abc", false, "abd", false), "no half of a character");
        assert_eq!(
            cut("ab\u{7f}\u{7f}c"),
            is("ab\u{7f}\u{7f}", false, "ac", false),
            "the last that has a next one as long"
        );
        let highest = "\u{10ffff}\u{10ffff}";
        assert_eq!(cut(highest), is("\u{10ffff}", false, highest, true), "none has");
    }

    #[test]
    fn a_null_struct_has_no_text() {
        let fields = Fields::from(vec![Field::new("b", DataType::Utf8, true)]);
        let inner = texts(&[Some("c"), Some("a"), None, Some("b")]);
        let nulls = Some(NullBuffer::from(vec![true, false, true, true]));
        let array: ArrayRef = Arc::new(StructArray::new(fields, vec![inner], nulls));
        assert!(is_text(array.data_type()) && !is_text(&DataType::Int64));
        let found = statistics_of(&[array], 32);
        assert_eq!((found.min_bytes_opt(), found.max_bytes_opt()), (Some(&b"b"[..]), Some(&b"c"[..])));
        assert_eq!(found.null_count_opt(), Some(2));
    }

    #[test]
    fn nulls_have_no_bounds() {
        for arrays in [vec![], vec![texts(&[None, None])]] {
            let found = statistics_of(&arrays, 32);
            assert_eq!((found.min_bytes_opt(), found.max_bytes_opt()), (None, None));
        }
    }
}
