//! Bytes: <https://trino.io/docs/current/functions/binary.html>. Those that are not here are DataFusion's.

use std::sync::Arc;

use arrow::array::types::{ArrowPrimitiveType, Float32Type, Float64Type, Int32Type, Int64Type};
use arrow::array::{Array as _, AsArray as _, BinaryArray, Int64Array, PrimitiveArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;
use sha1::{Digest as _, Sha1};
use xxhash_rust::xxh64::xxh64;

use super::function::{Arg, Gives, Takes, failed, function};
use super::strings::one_binary;

pub(super) fn functions() -> Vec<ScalarUDF> {
    let hash = |name, hash: fn(&[u8]) -> Vec<u8>| {
        function(name, Takes::By(one_binary), Gives::This(DataType::Binary), move |args, _| {
            let values = args[0].as_binary::<i32>();
            let hashes = (0..values.len()).map(|row| values.is_valid(row).then(|| hash(values.value(row))));
            Ok(Arc::new(hashes.collect::<BinaryArray>()))
        })
    };
    vec![
        hash("sha1", |bytes| Sha1::digest(bytes).to_vec()),
        hash("xxhash64", |bytes| xxh64(bytes, 0).to_be_bytes().to_vec()),
        function("crc32", Takes::By(one_binary), Gives::This(DataType::Int64), |args, _| {
            let values = args[0].as_binary::<i32>();
            let sums = values.iter().map(|bytes| bytes.map(|bytes| i64::from(crc32fast::hash(bytes))));
            Ok(Arc::new(sums.collect::<Int64Array>()))
        }),
        to_bytes::<Int32Type, 4>("to_big_endian_32", Takes::These(&[Arg::Int], 1), i32::to_be_bytes),
        to_bytes::<Int64Type, 8>("to_big_endian_64", Takes::These(&[Arg::Int], 1), i64::to_be_bytes),
        to_bytes::<Float32Type, 4>("to_ieee754_32", Takes::These(&[Arg::Double], 1), f32::to_be_bytes),
        to_bytes::<Float64Type, 8>("to_ieee754_64", Takes::These(&[Arg::Double], 1), f64::to_be_bytes),
        from_bytes::<Int32Type, 4>("from_big_endian_32", i32::from_be_bytes),
        from_bytes::<Int64Type, 8>("from_big_endian_64", i64::from_be_bytes),
        from_bytes::<Float32Type, 4>("from_ieee754_32", f32::from_be_bytes),
        from_bytes::<Float64Type, 8>("from_ieee754_64", f64::from_be_bytes),
    ]
}

/// The bytes of a number, which is taken as the widest of its kind.
fn to_bytes<T: ArrowPrimitiveType, const N: usize>(
    name: &'static str,
    takes: Takes,
    bytes: fn(T::Native) -> [u8; N],
) -> ScalarUDF {
    function(name, takes, Gives::This(DataType::Binary), move |args, _| {
        let numbers =
            cast_with_options(&args[0], &T::DATA_TYPE, &CastOptions { safe: false, ..CastOptions::default() })?;
        let numbers = numbers.as_primitive::<T>();
        Ok(Arc::new(numbers.iter().map(|number| number.map(bytes)).collect::<BinaryArray>()))
    })
}

/// The number of so many bytes.
fn from_bytes<T: ArrowPrimitiveType, const N: usize>(
    name: &'static str,
    number: fn([u8; N]) -> T::Native,
) -> ScalarUDF {
    function(name, Takes::By(one_binary), Gives::This(T::DATA_TYPE), move |args, _| {
        let values = args[0].as_binary::<i32>();
        let out: PrimitiveArray<T> = values
            .iter()
            .map(|bytes| {
                let Some(bytes) = bytes else { return Ok(None) };
                let bytes = bytes.try_into().map_err(|_| failed(format!("{name} takes {N} bytes")))?;
                Ok(Some(number(bytes)))
            })
            .collect::<Result<_>>()?;
        Ok(Arc::new(out))
    })
}
