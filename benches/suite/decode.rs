//! Decoding: from windows to Arrow batches, with the columns known, by the shape of the records.

use std::cell::LazyCell;

use criterion::{Criterion, Throughput};

use crate::data::Shape;
use crate::material::Material;

const SIZE_BYTES: usize = 16 << 20;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(SIZE_BYTES as u64));
    for shape in [Shape::Flat, Shape::Nested, Shape::Wide, Shape::Strings, Shape::Numbers] {
        let material = LazyCell::new(|| Material::new(shape, SIZE_BYTES));
        let mut decoder = None;
        group.bench_function(shape.name(), |bencher| {
            let material = &*material;
            let decoder = decoder.get_or_insert_with(|| material.decoder());
            bencher.iter(|| {
                for window in &material.windows {
                    std::hint::black_box(material.batch(decoder, window));
                }
            });
        });
    }
}
