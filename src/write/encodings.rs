//! How each column is encoded and compressed, by the rows that a slice begins with.
//!
//! | values | encoding | zstd level |
//! |---|---|---|
//! | repeat: at most three in five of them distinct | dictionary, but for integers whose differences take less | as configured |
//! | integers, times and dates whose differences are small | DELTA_BINARY_PACKED | 1 |
//! | strings that begin like the one before | DELTA_BYTE_ARRAY | as it pays |
//! | other strings | DELTA_LENGTH_BYTE_ARRAY | as it pays |
//! | anything else | PLAIN | as it pays |
//!
//! A dictionary of values that seldom repeat costs a hash of every value, is dropped when its page is full, and leaves a
//! larger file. Lengths of strings apart from their bytes leave text that compresses better, and hexadecimal digits, which
//! have nothing to find but their entropy, are done best by the lowest level. All of these encodings are read by Trino and
//! Athena, Spark from 3.3 on, DuckDB, Polars and Arrow; BYTE_STREAM_SPLIT is not, and only written when it is asked for.
//!
//! This is what is learned. [`FileOptions`] may say otherwise, for all columns or for one.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem::{Discriminant, discriminant};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use hashbrown::HashSet;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterPropertiesBuilder, WriterPropertiesPtr};
use parquet::schema::types::ColumnPath;

use super::file::WriteContext;
use crate::config::{Codec, ColumnEncoding, ColumnOptions, Dictionary, Encodings as EncodingRule, FileOptions};
use crate::schema::{Field, Type, fold};

/// So many values are looked at in each column.
const SAMPLED_VALUES: usize = 10_000;
/// With fewer values, a dictionary is small whatever they are.
const MIN_VALUES: usize = 500;
/// A dictionary pays when at most this share of the values is distinct.
const MAX_DISTINCT: f64 = 0.6;
/// Differences pay when they take at most so many bits of 64.
const MAX_DELTA_BITS: f64 = 48.0;
/// They pay before a dictionary when they take at least so many bits less.
const MIN_SAVED_BITS: f64 = 8.0;
/// Prefixes pay when at least this share of the bytes stood in the value before.
const MIN_PREFIX: f64 = 0.2;
/// So many bytes of a column are compressed to see what a level brings.
const SAMPLED_BYTES: usize = 64 << 10;
/// The lowest level is used when the configured one saves less than this share.
const MIN_SAVED: f64 = 0.01;
/// Values in a block and a miniblock of DELTA_BINARY_PACKED.
const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;

/// What was learned of the columns of a slice.
#[derive(Debug, Default)]
pub(super) struct Encodings {
    columns: HashMap<ColumnPath, (Discriminant<Type>, Choice)>,
}

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Choice {
    /// `None`: with a dictionary.
    encoding: Option<Encoding>,
    /// How values are encoded that a dictionary has no room for; `None`: as Parquet has it.
    overflow: Option<Encoding>,
    /// At the lowest level.
    fast: bool,
}

impl Encodings {
    /// `properties` with what fits the columns `fields` of `batches`, and what was learned before.
    pub(super) fn fit(
        &mut self,
        context: &WriteContext,
        batches: &[RecordBatch],
        fields: &[Field],
    ) -> WriterPropertiesPtr {
        let (properties, options) = (&context.properties, &context.options);
        let mut builder = Some(properties.as_ref().clone().into_builder());
        for (index, field) in fields.iter().enumerate() {
            let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(index)).collect();
            let mut at = Leaf { path: vec![field.name.clone()], said: key_of(field), repeated: false };
            visit(&arrays, &field.ty, &mut at, &mut |leaf, arrays, ty| {
                let path = ColumnPath::new(leaf.path.clone());
                let level = match options.codec {
                    Codec::Zstd(level) => level,
                    _ => 1,
                };
                let said = options.columns.get(&leaf.said).copied().unwrap_or_default();
                let choice = self.choose(&path, arrays, ty, level).overruled(options, said, ty);
                builder = builder.take().map(|builder| {
                    let builder = choice.apply(builder, path.clone(), ty, options.codec, leaf.repeated);
                    if said.bloom { with_bloom_filter(builder, path, arrays) } else { builder }
                });
            });
        }
        builder.map_or_else(|| properties.clone(), |builder| builder.build().into())
    }

    fn choose(&mut self, path: &ColumnPath, arrays: &[&ArrayRef], ty: &Type, level: i32) -> Choice {
        if let Some((kind, choice)) = self.columns.get(path)
            && *kind == discriminant(ty)
        {
            return *choice;
        }
        match choice(arrays, ty, level) {
            Some(choice) => {
                self.columns.insert(path.clone(), (discriminant(ty), choice));
                choice
            }
            None => Choice::dictionary(ty),
        }
    }
}

impl Choice {
    /// A dictionary, as far as it goes.
    fn dictionary(ty: &Type) -> Self {
        let overflow = matches!(ty, Type::Text | Type::Json).then_some(Encoding::DELTA_LENGTH_BYTE_ARRAY);
        Self { encoding: None, overflow, fast: false }
    }

    /// What is left of it where the options say otherwise.
    fn overruled(mut self, options: &FileOptions, said: ColumnOptions, ty: &Type) -> Self {
        // What has only two values gains nothing by any of this.
        let Some(wanted) = wanted_encoding(options.encodings, said.encoding, ty) else { return self };
        let dictionary = match (said.dictionary, said.encoding, options.dictionary) {
            (Some(wanted), ..) => wanted,
            // Who names an encoding wants to see it.
            (None, Some(_), _) => false,
            (None, None, Dictionary::On) => true,
            (None, None, Dictionary::Off) => false,
            (None, None, Dictionary::Learned) => self.encoding.is_none(),
        };
        let learned = self.encoding.or(self.overflow);
        if dictionary {
            let overflow = wanted.or(Self::dictionary(ty).overflow);
            return Self { encoding: None, overflow, fast: self.fast && self.encoding.is_none() };
        }
        let encoding = wanted.or(learned).unwrap_or(Encoding::PLAIN);
        // The level was found for the encoding that was found.
        self.fast &= self.encoding == Some(encoding);
        Self { encoding: Some(encoding), overflow: None, ..self }
    }

    fn apply(
        self,
        builder: WriterPropertiesBuilder,
        path: ColumnPath,
        ty: &Type,
        codec: Codec,
        repeated: bool,
    ) -> WriterPropertiesBuilder {
        let mut builder = match (self.encoding, self.overflow) {
            (Some(encoding), _) => {
                builder.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path.clone(), encoding)
            }
            (None, Some(overflow)) => {
                builder.set_column_dictionary_enabled(path.clone(), true).set_column_encoding(path.clone(), overflow)
            }
            (None, None) if matches!(ty, Type::Bool) => builder,
            (None, None) => builder.set_column_dictionary_enabled(path.clone(), true),
        };
        if self.fast
            && matches!(codec, Codec::Zstd(_))
            && let Ok(level) = ZstdLevel::try_new(1)
        {
            builder = builder.set_column_compression(path.clone(), Compression::ZSTD(level));
        }
        // No reader skips rows by the values in their lists and maps, and no Delta statistics tell of them.
        if repeated { builder.set_column_statistics_enabled(path, EnabledStatistics::None) } else { builder }
    }
}

/// How the options want the values of a column encoded: `Some(None)`: as it was learned; `None`: not at all otherwise.
fn wanted_encoding(all: EncodingRule, one: Option<ColumnEncoding>, ty: &Type) -> Option<Option<Encoding>> {
    let is_text = matches!(ty, Type::Text | Type::Json);
    let is_integer = matches!(ty, Type::Int64 | Type::Timestamp { .. } | Type::Date);
    let is_fraction = matches!(ty, Type::Double | Type::Decimal { .. });
    if !(is_text || is_integer || is_fraction) {
        return None;
    }
    let one = match one {
        Some(ColumnEncoding::Plain) => Some(Encoding::PLAIN),
        Some(ColumnEncoding::DeltaBinaryPacked) if is_integer => Some(Encoding::DELTA_BINARY_PACKED),
        Some(ColumnEncoding::DeltaLengthByteArray) if is_text => Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        Some(ColumnEncoding::DeltaByteArray) if is_text => Some(Encoding::DELTA_BYTE_ARRAY),
        // Of integers, neither DuckDB nor Trino reads it.
        Some(ColumnEncoding::ByteStreamSplit) if matches!(ty, Type::Double) => Some(Encoding::BYTE_STREAM_SPLIT),
        _ => None,
    };
    Some(one.or(match all {
        EncodingRule::Plain => Some(Encoding::PLAIN),
        EncodingRule::Delta if is_integer => Some(Encoding::DELTA_BINARY_PACKED),
        EncodingRule::Delta if is_text => Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        EncodingRule::Split if matches!(ty, Type::Double) => Some(Encoding::BYTE_STREAM_SPLIT),
        _ => None,
    }))
}

/// A bloom filter for about as many values as a row group has.
fn with_bloom_filter(
    builder: WriterPropertiesBuilder,
    path: ColumnPath,
    arrays: &[&ArrayRef],
) -> WriterPropertiesBuilder {
    let values: usize = arrays.iter().map(|array| array.len() - array.null_count()).sum();
    builder
        .set_column_bloom_filter_enabled(path.clone(), true)
        .set_column_bloom_filter_max_ndv(path, (values as u64).max(MIN_VALUES as u64))
}

/// What the path of a column begins with, in the configuration.
fn key_of(field: &Field) -> String {
    field.keys.first().map_or_else(|| field.name.clone(), |key| fold(key))
}

/// Where a visit is.
struct Leaf {
    /// The names of the Parquet path.
    path: Vec<String>,
    /// The path in the configuration.
    said: String,
    /// It lies in a list or map.
    repeated: bool,
}

/// Calls `leaf` with the arrays and the type of every leaf.
fn visit(arrays: &[&ArrayRef], ty: &Type, at: &mut Leaf, leaf: &mut impl FnMut(&Leaf, &[&ArrayRef], &Type)) {
    let mut below = |names: &[&str], said: &str, arrays: &[&ArrayRef], ty: &Type, at: &mut Leaf| {
        let (length, said_length, repeated) = (at.path.len(), at.said.len(), at.repeated);
        at.path.extend(names.iter().map(|name| (*name).to_owned()));
        at.said.push_str(said);
        at.repeated |= names.len() > 1;
        visit(arrays, ty, at, leaf);
        at.path.truncate(length);
        at.said.truncate(said_length);
        at.repeated = repeated;
    };
    match ty {
        Type::Struct(fields) => {
            for (index, field) in fields.iter().enumerate() {
                let parts: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_struct().column(index)).collect();
                below(&[&field.name], &format!(".{}", key_of(field)), &parts, &field.ty, at);
            }
        }
        Type::List(element) => {
            let elements: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_list::<i32>().values()).collect();
            below(&["list", "element"], "[]", &elements, element, at);
        }
        Type::Map(value) => {
            let keys: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_map().keys()).collect();
            let values: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_map().values()).collect();
            below(&["key_value", "key"], "{key}", &keys, &Type::Text, at);
            below(&["key_value", "value"], "{}", &values, value, at);
        }
        scalar => leaf(at, arrays, scalar),
    }
}

/// How to write a leaf; `None` with too few values to tell.
fn choice(arrays: &[&ArrayRef], ty: &Type, level: i32) -> Option<Choice> {
    match ty {
        Type::Int64 => integers(&sample::<Int64Type>(arrays), level),
        Type::Timestamp { .. } => integers(&sample::<TimestampMicrosecondType>(arrays), level),
        Type::Date => {
            let values: Vec<i64> = sample::<Date32Type>(arrays).into_iter().map(i64::from).collect();
            integers(&values, level)
        }
        Type::Decimal { .. } => {
            let values = sample::<Decimal128Type>(arrays);
            let bytes = || values.iter().flat_map(|value| value.to_be_bytes());
            Some(dictionary(&values, ty)?.unwrap_or_else(|| Choice::new(Encoding::PLAIN, bytes(), level)))
        }
        Type::Double => {
            let values: Vec<u64> = sample::<Float64Type>(arrays).into_iter().map(f64::to_bits).collect();
            let bytes = || values.iter().flat_map(|value| value.to_le_bytes());
            Some(dictionary(&values, ty)?.unwrap_or_else(|| Choice::new(Encoding::PLAIN, bytes(), level)))
        }
        Type::Text | Type::Json => {
            let values: Vec<&str> = sampled(arrays, |array, row| array.as_string::<i32>().value(row));
            Some(dictionary(&values, ty)?.unwrap_or_else(|| strings(&values, level)))
        }
        Type::Bool | Type::Struct(_) | Type::List(_) | Type::Map(_) => None,
    }
}

fn sample<T: ArrowPrimitiveType>(arrays: &[&ArrayRef]) -> Vec<T::Native> {
    sampled(arrays, |array, row| array.as_primitive::<T>().value(row))
}

/// The first values that are not null. Most columns of wide records are null nearly everywhere, which costs nothing here.
fn sampled<'a, V>(arrays: &[&'a ArrayRef], value: impl Fn(&'a ArrayRef, usize) -> V) -> Vec<V> {
    let mut values = Vec::new();
    for array in arrays {
        let room = SAMPLED_VALUES - values.len();
        match array.nulls() {
            Some(nulls) => values.extend(nulls.valid_indices().take(room).map(|row| value(array, row))),
            None => values.extend((0..array.len()).take(room).map(|row| value(array, row))),
        }
    }
    values
}

/// A dictionary, when it pays; `None` with too few values to tell.
fn dictionary<T: Hash + Eq>(values: &[T], ty: &Type) -> Option<Option<Choice>> {
    Some((distinct(values)? <= MAX_DISTINCT).then_some(Choice::dictionary(ty)))
}

/// The share of values that are distinct; `None` with too few to tell.
fn distinct<T: Hash + Eq>(values: &[T]) -> Option<f64> {
    let distinct = || values.iter().collect::<HashSet<_>>().len();
    (values.len() >= MIN_VALUES).then(|| distinct() as f64 / values.len() as f64)
}

fn integers(values: &[i64], level: i32) -> Option<Choice> {
    let distinct = distinct(values)?;
    // Of a dictionary: its indices, and its own values.
    let dictionary_bits = (distinct * values.len() as f64).log2().ceil() + f64::from(u64::BITS) * distinct;
    let delta_bits = delta_bits(values);
    if distinct <= MAX_DISTINCT && delta_bits + MIN_SAVED_BITS > dictionary_bits {
        return Some(Choice::dictionary(&Type::Int64));
    }
    Some(if delta_bits <= MAX_DELTA_BITS {
        Choice { encoding: Some(Encoding::DELTA_BINARY_PACKED), overflow: None, fast: true }
    } else {
        Choice::new(Encoding::PLAIN, values.iter().flat_map(|value| value.to_le_bytes()), level)
    })
}

/// How many bits a value takes as DELTA_BINARY_PACKED, about.
fn delta_bits(values: &[i64]) -> f64 {
    let deltas: Vec<i64> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let mut bits = 0;
    for block in deltas.chunks(BLOCK) {
        let least = block.iter().min().copied().unwrap_or_default();
        for miniblock in block.chunks(MINIBLOCK) {
            let widest = miniblock.iter().map(|delta| delta.wrapping_sub(least) as u64).max().unwrap_or_default();
            bits += (u64::BITS - widest.leading_zeros()) as usize * miniblock.len();
        }
    }
    bits as f64 / deltas.len().max(1) as f64
}

fn strings(values: &[&str], level: i32) -> Choice {
    let shared = |pair: &[&str]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    let prefixes: usize = values.windows(2).map(shared).sum();
    let all: usize = values.iter().map(|value| value.len()).sum();
    if prefixes as f64 >= MIN_PREFIX * all as f64 {
        // What is left of the values is not what would be compressed here.
        return Choice { encoding: Some(Encoding::DELTA_BYTE_ARRAY), overflow: None, fast: false };
    }
    Choice::new(Encoding::DELTA_LENGTH_BYTE_ARRAY, values.iter().flat_map(|value| value.bytes()), level)
}

impl Choice {
    /// `encoding`, at the lowest level when `level` makes `bytes` hardly smaller.
    fn new(encoding: Encoding, bytes: impl Iterator<Item = u8>, level: i32) -> Self {
        let bytes: Vec<u8> = bytes.take(SAMPLED_BYTES).collect();
        let size = |level: i32| zstd::bulk::compress(&bytes, level).map_or(usize::MAX, |compressed| compressed.len());
        let fast = level > 1 && size(1) as f64 <= size(level) as f64 * (1.0 + MIN_SAVED);
        Self { encoding: Some(encoding), overflow: None, fast }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn is_dictionary(values: &[i64]) -> bool {
        integers(values, 3).unwrap().encoding.is_none()
    }

    /// Any order, the same in each run.
    fn shuffled(n: i64) -> i64 {
        let mixed = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93) as i64
    }

    #[test]
    fn integers_are_written_as_what_takes_less() {
        let times: Vec<i64> = (0..4000).map(|n| 1_420_070_400 * SECOND + n / 2 * SECOND).collect();
        let choice = integers(&times, 3).unwrap();
        assert_eq!(
            (choice.encoding, choice.fast),
            (Some(Encoding::DELTA_BINARY_PACKED), true),
            "times that go on, in pairs"
        );
        let few: Vec<i64> = (0..4000).map(|n| shuffled(n).rem_euclid(100) * 1_000_003).collect();
        assert!(is_dictionary(&few), "a hundred values in any order");
        let in_turn: Vec<i64> = (0..4000).map(|n| n / 400).collect();
        assert!(is_dictionary(&in_turn), "ten values in turn take little either way");
        let any: Vec<i64> = (0..4000).map(shuffled).collect();
        assert_eq!(integers(&any, 3).unwrap().encoding, Some(Encoding::PLAIN), "neither repeats nor differences");
        assert_eq!(integers(&times[..MIN_VALUES - 1], 3), None, "too few to tell");
    }

    #[test]
    fn strings_have_a_dictionary_up_to_three_distinct_in_five() {
        let strings =
            |distinct: i64| -> Vec<String> { (0..1000).map(|n| format!("{:x}", shuffled(n % distinct))).collect() };
        for (count, is_dictionary) in [(600, true), (601, false)] {
            let strings = strings(count);
            let values: Vec<&str> = strings.iter().map(String::as_str).collect();
            assert_eq!(dictionary(&values, &Type::Text).unwrap().is_some(), is_dictionary, "{count}");
        }
    }
}
