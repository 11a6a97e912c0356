//! A whole run beside its floor: the structural scan of the same bytes and the encoding of the same rows, ready in memory,
//! with the same writer into the same folder. Faster than these two no compaction can be that is made of them.
//!
//! The floor is taken at its best: one batch for each partition, and neither reading nor splitting nor a commit.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use criterion::{Criterion, SamplingMode, Throughput};
use siltstone::partition::{PartitionKey, Partitioning, split};
use tokio::runtime::Runtime;

use crate::data::Shape;
use crate::end_to_end::{Source, large};
use crate::lap::Lap;
use crate::material::{Material, Writing};
use crate::scan::scan;

const SIZE_BYTES: usize = 128 << 20;
const PARTITION_BY: &str = "day(created_at)";

pub(crate) fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let ready = LazyCell::new(|| Ready::new(&runtime));
    let mut group = criterion.benchmark_group("floor");
    group.throughput(Throughput::Bytes(SIZE_BYTES as u64));
    group.sampling_mode(SamplingMode::Flat).sample_size(10).measurement_time(Duration::from_secs(8));
    group.bench_function("structural_scan", |bencher| {
        let ready = &*ready;
        bencher.iter(|| scan(&ready.material.windows));
    });
    group.bench_function("encode_ready_batches", |bencher| {
        let ready = &*ready;
        bencher.iter(|| ready.encode(&ready.joined));
    });
    // What the size of batches costs: these are as small as a run makes them.
    group.bench_function("encode_split_batches", |bencher| {
        let ready = &*ready;
        bencher.iter(|| ready.encode(&ready.split));
    });
    group.bench_function("scan_and_encode", |bencher| {
        let ready = &*ready;
        bencher.iter(|| ready.floor());
    });
    let mut laps = Vec::new();
    group.bench_function("end_to_end", |bencher| {
        let ready = &*ready;
        // One floor for each run, so that whatever else the machine does befalls both; the runs alone are reported here.
        let mut run = || {
            let floor = Lap::of(|| ready.floor());
            let run = ready.source.compact(PARTITION_BY, &runtime);
            laps.push((floor, run));
            run.wall
        };
        bencher.iter_custom(|runs| (0..runs).map(|_| run()).sum());
    });
    group.finish();
    tell("time", laps.iter().map(|(floor, run)| (floor.wall, run.wall)).collect());
    tell("time on cores", laps.iter().filter_map(|(floor, run)| floor.cpu.zip(run.cpu)).collect());
}

/// Tells the median times of floors and runs, and their ratio.
fn tell(what: &str, laps: Vec<(Duration, Duration)>) {
    let (floors, runs): (Vec<Duration>, Vec<Duration>) = laps.into_iter().unzip();
    if let (Some(floor), Some(run)) = (median(floors), median(runs)) {
        let percent = 100.0 * floor.as_secs_f64() / run.as_secs_f64();
        let (floor, run) = (floor.as_millis(), run.as_millis());
        let line = format!("floor: {what}: scan and encode {floor} ms, end to end {run} ms: {percent:.0} %\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

fn median(mut laps: Vec<Duration>) -> Option<Duration> {
    laps.sort();
    laps.get(laps.len() / 2).copied()
}

/// The same events as raw objects, as windows and as rows of their partitions.
struct Ready {
    source: Source,
    material: Material,
    /// One batch for each partition.
    joined: Vec<RecordBatch>,
    /// For each window, one batch for each partition.
    split: Vec<RecordBatch>,
    writing: Writing,
}

impl Ready {
    fn new(runtime: &Runtime) -> Self {
        let by: Partitioning = PARTITION_BY.parse().unwrap();
        let objects = large(Shape::Nested, SIZE_BYTES);
        let source = Source::new(&objects);
        let material = Material::of(objects, &by);
        let mut parts: BTreeMap<PartitionKey, Vec<RecordBatch>> = BTreeMap::new();
        let mut all = Vec::new();
        for batch in material.batches() {
            for part in split(&batch, &material.fields, &by, 0).unwrap() {
                all.push(part.batch.clone());
                parts.entry(part.key).or_default().push(part.batch);
            }
        }
        let joined = parts.into_values().map(|batches| concat_batches(&material.schema, &batches).unwrap()).collect();
        let writing = Writing::new(&source.folder("floor"), &by, runtime);
        Self { source, material, joined, split: all, writing }
    }

    fn floor(&self) {
        scan(&self.material.windows);
        self.encode(&self.joined);
    }

    /// Writes batches that have rows of one partition each.
    fn encode(&self, batches: &[RecordBatch]) {
        let files = self.writing.write(&self.material.fields, batches);
        assert_eq!(files.len(), self.joined.len(), "a file for each partition");
    }
}
