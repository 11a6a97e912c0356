//! The structural scan: every record is found and checked against the grammar, nothing is stored.

use std::cell::LazyCell;

use criterion::{Criterion, Throughput};
use siltstone::json::{DecodeOptions, EnvelopeReader, PADDING};

use crate::data::Shape;
use crate::material::windows;

const SIZE_BYTES: usize = 16 << 20;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Bytes(SIZE_BYTES as u64));
    for shape in [Shape::Flat, Shape::Nested, Shape::Wide, Shape::Strings, Shape::Numbers] {
        let windows = LazyCell::new(|| windows(&shape.ndjson(0, SIZE_BYTES)));
        group.bench_function(shape.name(), |bencher| {
            let windows = &*windows;
            bencher.iter(|| scan(windows));
        });
    }
}

/// Goes through all windows by the code that decoding finds records and skips values with.
pub(crate) fn scan(windows: &[Vec<u8>]) {
    for window in windows {
        let used = EnvelopeReader::new(&DecodeOptions::default()).read(window, true);
        assert_eq!(used, window.len() - PADDING);
    }
}
