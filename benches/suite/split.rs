//! Splitting batches of events by partition.

use std::cell::LazyCell;

use arrow::array::RecordBatch;
use criterion::{Criterion, Throughput};
use siltstone::partition::{Partitioning, split};
use siltstone::schema::Field;

use crate::data::Shape;
use crate::material::Material;

const SIZE_BYTES: usize = 16 << 20;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("split");
    group.throughput(Throughput::Bytes(SIZE_BYTES as u64));
    let ready = LazyCell::new(|| {
        let material = Material::new(Shape::Nested, SIZE_BYTES);
        (material.batches(), material.fields)
    });
    let cases =
        [("four_types", "identity(type)"), ("seven_days", "day(created_at)"), ("168_hours", "hour(created_at)")];
    for (name, by) in cases {
        let by: Partitioning = by.parse().unwrap();
        group.bench_function(name, |bencher| {
            let (batches, fields): &(Vec<RecordBatch>, Vec<Field>) = &ready;
            bencher
                .iter(|| batches.iter().map(|batch| split(batch, fields, &by, 20_000).unwrap().len()).sum::<usize>());
        });
    }
}
