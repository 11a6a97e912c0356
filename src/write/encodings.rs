//! How each column is encoded and compressed, by the rows that a slice begins with.
//!
//! | values | encoding | zstd level |
//! |---|---|---|
//! | repeat: at most half of them distinct | dictionary | as configured |
//! | integers, times and dates whose differences are small | DELTA_BINARY_PACKED | 1 |
//! | strings that begin like the one before | DELTA_BYTE_ARRAY | as it pays |
//! | other strings | DELTA_LENGTH_BYTE_ARRAY | as it pays |
//! | anything else | PLAIN | as it pays |
//!
//! A dictionary of values that seldom repeat costs a hash of every value, is dropped when its page is full, and leaves a
//! larger file. Lengths of strings apart from their bytes leave text that compresses better, and hexadecimal digits, which
//! have nothing to find but their entropy, are done best by the lowest level. All of these encodings are read by Trino and
//! Athena, Spark from 3.3 on, DuckDB, Polars and Arrow; BYTE_STREAM_SPLIT is not, and not written.

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

use crate::schema::{Field, Type};

/// So many values are looked at in each column.
const SAMPLED_VALUES: usize = 10_000;
/// With fewer values, a dictionary is small whatever they are.
const MIN_VALUES: usize = 500;
/// A dictionary pays when at most this share of the values is distinct.
const MAX_DISTINCT: f64 = 0.5;
/// Differences pay when they take at most so many bits of 64.
const MAX_DELTA_BITS: f64 = 48.0;
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
    /// At the lowest level.
    fast: bool,
}

impl Encodings {
    /// `properties` with what fits the columns `fields` of `batches`, and what was learned before.
    pub(super) fn fit(
        &mut self,
        properties: &WriterPropertiesPtr,
        batches: &[RecordBatch],
        fields: &[Field],
    ) -> WriterPropertiesPtr {
        let mut builder = Some(properties.as_ref().clone().into_builder());
        for (index, field) in fields.iter().enumerate() {
            let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(index)).collect();
            let mut at = Leaf { path: vec![field.name.clone()], repeated: false };
            visit(&arrays, &field.ty, &mut at, &mut |leaf, arrays, ty| {
                let path = ColumnPath::new(leaf.path.clone());
                let level = match properties.compression(&path) {
                    Compression::ZSTD(level) => level.compression_level(),
                    _ => 1,
                };
                let choice = self.choose(&path, arrays, ty, level);
                builder = builder.take().map(|builder| choice.apply(builder, path, ty, leaf.repeated));
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
            None => Choice { encoding: None, fast: false },
        }
    }
}

impl Choice {
    fn apply(
        self,
        builder: WriterPropertiesBuilder,
        path: ColumnPath,
        ty: &Type,
        repeated: bool,
    ) -> WriterPropertiesBuilder {
        let mut builder = match (self.encoding, ty) {
            (Some(encoding), _) => {
                builder.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path.clone(), encoding)
            }
            // What does not fit into the dictionary.
            (None, Type::Text | Type::Json) => {
                builder.set_column_encoding(path.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY)
            }
            (None, _) => builder,
        };
        if self.fast
            && let Ok(level) = ZstdLevel::try_new(1)
        {
            builder = builder.set_column_compression(path.clone(), Compression::ZSTD(level));
        }
        // No reader skips rows by the values in their lists and maps, and no Delta statistics tell of them.
        if repeated { builder.set_column_statistics_enabled(path, EnabledStatistics::None) } else { builder }
    }
}

/// Where a visit is.
struct Leaf {
    /// The names of the Parquet path.
    path: Vec<String>,
    /// It lies in a list or map.
    repeated: bool,
}

/// Calls `leaf` with the arrays and the type of every leaf.
fn visit(arrays: &[&ArrayRef], ty: &Type, at: &mut Leaf, leaf: &mut impl FnMut(&Leaf, &[&ArrayRef], &Type)) {
    let mut below = |names: &[&str], arrays: &[&ArrayRef], ty: &Type, at: &mut Leaf| {
        let (length, repeated) = (at.path.len(), at.repeated);
        at.path.extend(names.iter().map(|name| (*name).to_owned()));
        at.repeated |= names.len() > 1;
        visit(arrays, ty, at, leaf);
        at.path.truncate(length);
        at.repeated = repeated;
    };
    match ty {
        Type::Struct(fields) => {
            for (index, field) in fields.iter().enumerate() {
                let parts: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_struct().column(index)).collect();
                below(&[&field.name], &parts, &field.ty, at);
            }
        }
        Type::List(element) => {
            let elements: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_list::<i32>().values()).collect();
            below(&["list", "element"], &elements, element, at);
        }
        Type::Map(value) => {
            let keys: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_map().keys()).collect();
            let values: Vec<&ArrayRef> = arrays.iter().map(|array| array.as_map().values()).collect();
            below(&["key_value", "key"], &keys, &Type::Text, at);
            below(&["key_value", "value"], &values, value, at);
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
            Some(dictionary(&values)?.unwrap_or_else(|| Choice::new(Encoding::PLAIN, bytes(), level)))
        }
        Type::Double => {
            let values: Vec<u64> = sample::<Float64Type>(arrays).into_iter().map(f64::to_bits).collect();
            let bytes = || values.iter().flat_map(|value| value.to_le_bytes());
            Some(dictionary(&values)?.unwrap_or_else(|| Choice::new(Encoding::PLAIN, bytes(), level)))
        }
        Type::Text | Type::Json => {
            let values = arrays.iter().flat_map(|array| array.as_string::<i32>().iter()).flatten();
            let values: Vec<&str> = values.take(SAMPLED_VALUES).collect();
            Some(dictionary(&values)?.unwrap_or_else(|| strings(&values, level)))
        }
        Type::Bool | Type::Struct(_) | Type::List(_) | Type::Map(_) => None,
    }
}

fn sample<T: ArrowPrimitiveType>(arrays: &[&ArrayRef]) -> Vec<T::Native> {
    arrays.iter().flat_map(|array| array.as_primitive::<T>().iter()).flatten().take(SAMPLED_VALUES).collect()
}

/// A dictionary, when it pays; `None` with too few values to tell.
fn dictionary<T: Hash + Eq>(values: &[T]) -> Option<Option<Choice>> {
    if values.len() < MIN_VALUES {
        return None;
    }
    let distinct = values.iter().collect::<HashSet<_>>().len();
    let pays = distinct as f64 <= MAX_DISTINCT * values.len() as f64;
    Some(pays.then_some(Choice { encoding: None, fast: false }))
}

fn integers(values: &[i64], level: i32) -> Option<Choice> {
    Some(dictionary(values)?.unwrap_or_else(|| {
        if delta_bits(values) <= MAX_DELTA_BITS {
            Choice { encoding: Some(Encoding::DELTA_BINARY_PACKED), fast: true }
        } else {
            Choice::new(Encoding::PLAIN, values.iter().flat_map(|value| value.to_le_bytes()), level)
        }
    }))
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
        return Choice { encoding: Some(Encoding::DELTA_BYTE_ARRAY), fast: false };
    }
    Choice::new(Encoding::DELTA_LENGTH_BYTE_ARRAY, values.iter().flat_map(|value| value.bytes()), level)
}

impl Choice {
    /// `encoding`, at the lowest level when `level` makes `bytes` hardly smaller.
    fn new(encoding: Encoding, bytes: impl Iterator<Item = u8>, level: i32) -> Self {
        let bytes: Vec<u8> = bytes.take(SAMPLED_BYTES).collect();
        let size = |level: i32| zstd::bulk::compress(&bytes, level).map_or(usize::MAX, |compressed| compressed.len());
        let fast = level > 1 && size(1) as f64 <= size(level) as f64 * (1.0 + MIN_SAVED);
        Self { encoding: Some(encoding), fast }
    }
}
