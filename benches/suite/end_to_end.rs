//! Whole runs: from raw objects in a folder to a committed table, as `siltstone compact --threads 1` does them.

use std::cell::LazyCell;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use siltstone::clock::SystemClock;
use siltstone::compact::{Request, Silent, Status, compact};
use siltstone::config::Config;
use siltstone::store::Location;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::data::Shape;
use crate::feed::gzip;
use crate::lap::Lap;

const SIZE_BYTES: usize = 64 << 20;
/// Larger objects are cut into parts of this size.
pub(crate) const OBJECT_BYTES: usize = 16 << 20;

type MakeObjects = fn() -> Vec<Vec<u8>>;

pub(crate) fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("end_to_end");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).measurement_time(Duration::from_secs(8));
    let cases: [(&str, &str, MakeObjects); 4] = [
        ("flat", "day(created_at)", || large(Shape::Flat, SIZE_BYTES)),
        ("nested_gzip", "day(created_at)", || large(Shape::Nested, SIZE_BYTES).iter().map(|json| gzip(json)).collect()),
        ("wide", "none", || large(Shape::Wide, SIZE_BYTES)),
        ("small_objects", "day(created_at)", small),
    ];
    for (name, by, make) in cases {
        let source = LazyCell::new(|| Source::new(&make()));
        let size_bytes = if name == "small_objects" { small_bytes() } else { SIZE_BYTES as u64 };
        group.throughput(Throughput::Bytes(size_bytes));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|runs| (0..runs).map(|_| source.compact(by, &runtime).wall).sum());
        });
    }
}

/// Events in NDJSON objects of [`OBJECT_BYTES`].
pub(crate) fn large(shape: Shape, size_bytes: usize) -> Vec<Vec<u8>> {
    (0..size_bytes / OBJECT_BYTES).map(|object| shape.ndjson(object as u64 * 1_000_000, OBJECT_BYTES)).collect()
}

/// 4,000 answers of an API with four events each.
fn small() -> Vec<Vec<u8>> {
    Shape::Nested.arrays(4000, 4)
}

fn small_bytes() -> u64 {
    small().iter().map(|object| object.len() as u64).sum()
}

/// Raw objects in a temporary folder, which is deleted when this is dropped.
pub(crate) struct Source {
    roots: TempDir,
}

impl Source {
    pub(crate) fn new(objects: &[Vec<u8>]) -> Self {
        let roots = TempDir::new().unwrap();
        let folder = roots.path().join("raw/events");
        std::fs::create_dir_all(&folder).unwrap();
        for (number, object) in objects.iter().enumerate() {
            std::fs::write(folder.join(format!("{number:06}.json")), object).unwrap();
        }
        Self { roots }
    }

    /// A folder beside the raw objects.
    pub(crate) fn folder(&self, name: &str) -> Location {
        location(&self.roots.path().join(name))
    }

    /// Times the compaction of all objects into a new lake, which is then deleted.
    pub(crate) fn compact(&self, partition_by: &str, runtime: &Runtime) -> Lap {
        let lake = self.roots.path().join("lake");
        let request = Request {
            raw: self.folder("raw"),
            lake: location(&lake),
            sources: vec!["events".to_owned()],
            partition_by: Some(partition_by.parse().unwrap()),
            config: Config::default(),
            threads: 1,
        };
        let lap = Lap::of(|| {
            let report = runtime.block_on(compact(&request, &SystemClock, &Silent)).unwrap();
            assert_eq!(report.status, Status::Success, "{report:?}");
        });
        std::fs::remove_dir_all(&lake).unwrap();
        lap
    }
}

fn location(path: &Path) -> Location {
    Location::parse(path.to_str().unwrap()).unwrap()
}
