//! Encoding: from Arrow batches to Parquet files, by the type of the columns. What is written is dropped.

use std::cell::LazyCell;

use criterion::{Criterion, SamplingMode, Throughput};
use siltstone::partition::Partitioning;
use siltstone::store::Location;
use tokio::runtime::Runtime;

use crate::data::Shape;
use crate::material::{Material, Writing};

const SIZE_BYTES: usize = 16 << 20;

pub(crate) fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let nowhere = Location::parse("memory:///lake").unwrap().without_writing();
    let writing = Writing::new(&nowhere, &Partitioning::default(), &runtime);
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Bytes(SIZE_BYTES as u64)).sampling_mode(SamplingMode::Flat);
    let shapes = [
        Shape::Integers,
        Shape::Doubles,
        Shape::Timestamps,
        Shape::FewStrings,
        Shape::UniqueStrings,
        Shape::Nested,
        Shape::Wide,
    ];
    for shape in shapes {
        let ready = LazyCell::new(|| {
            let material = Material::new(shape, SIZE_BYTES);
            (material.batches(), material.fields)
        });
        group.bench_function(shape.name(), |bencher| {
            let (batches, fields) = &*ready;
            bencher.iter(|| writing.write(fields, batches));
        });
    }
}
