//! Reading: from stored bytes to windows, inflated where they are compressed.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::io::Write as _;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use siltstone::raw::{Feed, Fetcher, Limits, RawObject};

use crate::data::Shape;

const SIZE_BYTES: usize = 16 << 20;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("feed");
    group.throughput(Throughput::Bytes(SIZE_BYTES as u64));
    for (name, store) in [("plain", plain as fn(&[u8]) -> Vec<u8>), ("gzip", gzip), ("zstd", zstd)] {
        let object = LazyCell::new(|| object(&store(&Shape::Nested.ndjson(0, SIZE_BYTES))));
        group.bench_function(name, |bencher| {
            let (object, fetcher) = &*object;
            bencher.iter(|| assert_eq!(read(object, fetcher), SIZE_BYTES as u64));
        });
    }
}

/// An object in memory.
fn object(stored: &[u8]) -> (RawObject, Fetcher) {
    let object = RawObject { key: "a.json".to_owned(), etag: String::new(), size_bytes: stored.len() as u64 };
    let held = BTreeMap::from([(object.clone(), Bytes::copy_from_slice(stored))]);
    (object, Fetcher::of_memory(held))
}

/// Reads the object to its end and gives its decompressed bytes.
fn read(object: &RawObject, fetcher: &Fetcher) -> u64 {
    let mut feed = Feed::new(fetcher, std::slice::from_ref(object), Limits::default());
    loop {
        feed.fill();
        let Some(segment) = feed.segments.last() else { return feed.bytes_read };
        let length = segment.end - segment.start;
        assert!(feed.used(length));
    }
}

fn plain(json: &[u8]) -> Vec<u8> {
    json.to_vec()
}

/// As gzip does without options.
pub(crate) fn gzip(json: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(json).unwrap();
    encoder.finish().unwrap()
}

fn zstd(json: &[u8]) -> Vec<u8> {
    zstd::encode_all(json, 3).unwrap()
}
