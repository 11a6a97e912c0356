//! Observing: the first window of an unknown source, whose columns are found while it is decoded; and the merge of what
//! many windows, slices or runs saw.

use std::cell::LazyCell;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use siltstone::json::{DecodeOptions, Decoder};
use siltstone::raw::WINDOW_BYTES;
use siltstone::schema::{Observation, resolve};

use crate::data::Shape;
use crate::material::{whole, windows};

/// JSON that one observation stands for in a merge.
const PART_BYTES: usize = 256 << 10;
const PARTS: usize = 64;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("observe");
    for shape in [Shape::Nested, Shape::Wide] {
        group.throughput(Throughput::Bytes(WINDOW_BYTES as u64));
        let window = LazyCell::new(|| windows(&shape.ndjson(0, WINDOW_BYTES)).remove(0));
        group.bench_function(format!("first_window/{}", shape.name()), |bencher| {
            let window = &*window;
            bencher.iter(|| resolve(&observe(window), &[]));
        });
        group.throughput(Throughput::Bytes((PARTS * PART_BYTES) as u64));
        let parts = LazyCell::new(|| {
            let part = |part| windows(&shape.ndjson(part as u64 * 100_000, PART_BYTES)).remove(0);
            (0..PARTS).map(|number| observe(&part(number))).collect::<Vec<_>>()
        });
        group.bench_function(format!("merge/{}", shape.name()), |bencher| {
            let parts = &*parts;
            bencher.iter(|| {
                let mut all = Observation::default();
                parts.iter().for_each(|part| all.merge(part));
                black_box(all)
            });
        });
    }
}

/// What the records of a window look like, to a decoder that knows nothing yet.
fn observe(window: &[u8]) -> Observation {
    let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
    decoder.decode(window, &[whole(window)]);
    decoder.observe()
}
