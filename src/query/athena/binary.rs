//! Bytes: <https://trino.io/docs/current/functions/binary.html>. Those that are not here are DataFusion's.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, BinaryArray, Int64Array};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;
use sha1::{Digest as _, Sha1};
use xxhash_rust::xxh64::xxh64;

use super::function::{Gives, Takes, by_row, failed, function};
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
        function("from_big_endian_64", Takes::By(one_binary), Gives::This(DataType::Int64), |args, _| {
            let values = args[0].as_binary::<i32>();
            let out: Int64Array = by_row(args, |row| {
                let bytes = values.value(row).try_into();
                Ok(Some(i64::from_be_bytes(bytes.map_err(|_| failed("from_big_endian_64 takes 8 bytes"))?)))
            })?;
            Ok(Arc::new(out))
        }),
    ]
}
