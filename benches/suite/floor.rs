//! A whole run beside its floor: the structural scan of the same bytes and the encoding of the same rows, ready in memory,
//! with the same writer into the same folder. Faster than these two no compaction can be that is made of them.
//!
//! The floor is taken at its best: one batch for each partition, and neither reading nor splitting nor a commit.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use criterion::{Bencher, Criterion, SamplingMode, Throughput};
use siltstone::partition::{PartitionKey, Partitioning, split};
use tokio::runtime::Runtime;

use crate::data::Shape;
use crate::end_to_end::{Source, large};
use crate::material::{Material, Writing};
use crate::scan::scan;

const SIZE_BYTES: usize = 128 << 20;
const PARTITION_BY: &str = "day(created_at)";

pub(crate) fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let ready = LazyCell::new(|| Ready::new(&runtime));
    let mut group = criterion.benchmark_group("floor");
    group.throughput(Throughput::Bytes(SIZE_BYTES as u64));
    group.sampling_mode(SamplingMode::Flat).sample_size(10).measurement_time(Duration::from_secs(6));
    group.bench_function("structural_scan", |bencher| {
        let ready = &*ready;
        bencher.iter(|| scan(&ready.material.windows));
    });
    group.bench_function("encode_ready_batches", |bencher| {
        let ready = &*ready;
        bencher.iter_custom(|runs| (0..runs).map(|_| ready.encode()).sum());
    });
    let mut floor = Vec::new();
    group.bench_function("scan_and_encode", |bencher| {
        let ready = &*ready;
        measure(bencher, &mut floor, || {
            let began = Instant::now();
            scan(&ready.material.windows);
            began.elapsed() + ready.encode()
        });
    });
    let mut runs = Vec::new();
    group.bench_function("end_to_end", |bencher| {
        let ready = &*ready;
        measure(bencher, &mut runs, || ready.source.compact(PARTITION_BY, &runtime));
    });
    group.finish();
    if let (Some(floor), Some(run)) = (median(floor), median(runs)) {
        let share = 100.0 * floor.as_secs_f64() / run.as_secs_f64();
        let told =
            format!("floor: scan and encode {floor:.0?}, end to end {run:.0?}: {share:.0} % of the floor's speed\n");
        std::io::stdout().write_all(told.as_bytes()).unwrap();
    }
}

/// Times `work` and keeps each time, those of the warm-up too.
fn measure(bencher: &mut Bencher<'_>, laps: &mut Vec<Duration>, mut work: impl FnMut() -> Duration) {
    bencher.iter_custom(|runs| {
        let new: Vec<Duration> = (0..runs).map(|_| work()).collect();
        laps.extend(&new);
        new.into_iter().sum()
    });
}

fn median(mut laps: Vec<Duration>) -> Option<Duration> {
    laps.sort();
    laps.get(laps.len() / 2).copied()
}

/// The same events as raw objects, as windows and as rows of their partitions.
struct Ready {
    source: Source,
    material: Material,
    partitions: BTreeMap<PartitionKey, RecordBatch>,
    writing: Writing,
}

impl Ready {
    fn new(runtime: &Runtime) -> Self {
        let by: Partitioning = PARTITION_BY.parse().unwrap();
        let objects = large(Shape::Nested, SIZE_BYTES);
        let source = Source::new(&objects);
        let material = Material::of(objects, &by);
        let mut parts: BTreeMap<PartitionKey, Vec<RecordBatch>> = BTreeMap::new();
        for batch in material.batches() {
            for part in split(&batch, &material.fields, &by, 0).unwrap() {
                parts.entry(part.key).or_default().push(part.batch);
            }
        }
        let whole = |batches: Vec<RecordBatch>| concat_batches(&material.schema, &batches).unwrap();
        let partitions = parts.into_iter().map(|(key, batches)| (key, whole(batches))).collect();
        let writing = Writing::new(&source.folder("floor"), runtime);
        Self { source, material, partitions, writing }
    }

    /// Encodes all rows, a file for each partition, and tells how long it took.
    fn encode(&self) -> Duration {
        let began = Instant::now();
        for (number, batch) in self.partitions.values().enumerate() {
            let files = self.writing.write(&format!("{number}"), &self.material.fields, std::slice::from_ref(batch));
            assert_eq!(files.len(), 1);
        }
        began.elapsed()
    }
}
