//! However objects fall into runs, the table is the same: the same columns, and the same rows to the byte.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use proptest::collection::vec;
use proptest::prelude::*;
use siltstone::clock::SystemClock;
use siltstone::compact::{Report, Request, Silent, Status, compact};
use siltstone::config::Config;
use siltstone::json::write_record;
use siltstone::lake::{Head, Hidden, Registry, StoredFile, Table};
use siltstone::schema::{Contract, Field};
use siltstone::store::Location;
use tokio::runtime::Runtime;

/// Values of every kind, in more than one notation. (Not `{}` and `[]`: alone they make no column, and are null in its files.)
const VALUES: [&str; 30] = [
    "1",
    "-7",
    "1.10",
    "1E5",
    "-0",
    "9007199254740993",
    "12345678901234567890",
    "123456789012345678901234567890123456789012",
    "1e400",
    "true",
    "\"x\"",
    "\"\"",
    "\"12\"",
    "\"a \\\"b\\\" \\u00e9\"",
    "\"2024-01-01\"",
    "\"2024-01-01T00:00:00Z\"",
    "\"2024-01-01T00:00:00+02:00\"",
    "\"2024-01-01t00:00:00.120z\"",
    "\"2024-01-01T00:00:00.5\"",
    "null",
    "{\"b\":1.10,\"a\":2}",
    "{\"b\":3,\"a\":null}",
    "{\"b\":\"x\",\"a\":1E5}",
    "{ \"b\" : [1.0], \"a\" : -0 }",
    "[1,2.50]",
    "[null]",
    "[\"x\",null]",
    "[{\"b\":1.0}]",
    "[{\"b\":\"y\"},null]",
    "[[1.10]]",
];
/// How many of these are scalars.
const SCALARS: usize = 19;
/// The columns: `p`, and one at the top, one in a struct, one in structs of a list.
const COLUMNS: usize = 4;

/// A source, and how it is compacted.
#[derive(Debug, Clone)]
struct Source {
    /// For each column, the values that it has; later objects have later ones, too.
    palettes: Vec<Vec<usize>>,
    /// For each object and record, which of them each column has.
    objects: Vec<Vec<[u8; COLUMNS]>>,
    /// The run that each object falls into.
    runs: Vec<u8>,
    threads: usize,
    partition: u8,
}

fn sources() -> impl Strategy<Value = Source> {
    let palettes = (vec(0..SCALARS, 4), vec(vec(0..VALUES.len(), 4), COLUMNS - 1));
    let record = proptest::array::uniform::<_, COLUMNS>(any::<u8>());
    let objects = vec((vec(record, 1..5), 0..4_u8), 3..9);
    (palettes, objects, 1..4_usize, 0..4_u8).prop_map(|((p, mut palettes), objects, threads, partition)| {
        palettes.insert(0, p);
        let (objects, runs) = objects.into_iter().unzip();
        Source { palettes, objects, runs, threads, partition }
    })
}

impl Source {
    fn text(&self, object: usize) -> String {
        let room = 1 + object * 4 / self.objects.len();
        let value = |column: usize, choice: u8| VALUES[self.palettes[column][choice as usize % room]];
        let line = |(record, choices): (usize, &[u8; COLUMNS])| {
            let [p, a, b, c] = std::array::from_fn(|column| value(column, choices[column]));
            let id = object * 100 + record;
            format!("{{\"id\":{id},\"p\":{p},\"a\":{a},\"s\":{{\"n\":1,\"v\":{b}}},\"l\":[{{\"n\":1,\"v\":{c}}}]}}\n")
        };
        self.objects[object].iter().enumerate().map(line).collect()
    }

    fn partition_by(&self) -> &'static str {
        let is_text = self.palettes[0].iter().all(|value| VALUES[*value].starts_with('"'));
        match self.partition {
            0 => "none",
            1 => "ingested()",
            2 if is_text => "day(p)",
            _ => "p",
        }
    }
}

/// A raw root and a lake root in memory.
struct World {
    store: Arc<InMemory>,
    runtime: Runtime,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { store: Arc::new(InMemory::new()), runtime }
    }

    fn location(&self, folder: &str) -> Location {
        let store: Arc<dyn ObjectStore> = Arc::clone(&self.store) as _;
        Location::with_store(url::Url::parse(&format!("memory:///{folder}/")).unwrap(), store)
    }

    /// Stores these objects and compacts them.
    fn run(&self, source: &Source, objects: impl Iterator<Item = usize>, partition_by: &str) {
        let report = self.run_under(Contract::Evolve, source, objects, partition_by);
        assert_eq!(report.status, Status::Success, "{report:?}");
        let from_stored = |note: &String| note.contains("stored values") || note.contains("no longer share");
        assert!(!report.sources[0].notes.iter().any(from_stored), "{report:?}");
    }

    /// Stores these objects and compacts them under a contract.
    fn run_under(
        &self,
        contract: Contract,
        source: &Source,
        objects: impl Iterator<Item = usize>,
        partition_by: &str,
    ) -> Report {
        for object in objects {
            let (key, text) = (Path::from(format!("raw/s/{object}.json")), Bytes::from(source.text(object)));
            self.runtime.block_on(self.store.put(&key, text.into())).unwrap();
        }
        let mut config = Config::default();
        config.defaults.contract = Some(contract);
        let request = Request {
            raw: self.location("raw"),
            lake: self.location("lake"),
            sources: vec!["s".to_owned()],
            partition_by: Some(partition_by.parse().unwrap()),
            config,
            threads: source.threads,
        };
        self.runtime.block_on(compact(&request, &SystemClock, &Silent)).unwrap()
    }

    /// The columns of the table, and its rows as `export` gives them, sorted.
    fn table(&self) -> (Vec<Field>, Vec<String>) {
        let (registry, rows) = self.registry_and_rows();
        (registry.fields, rows)
    }

    fn registry_and_rows(&self) -> (Registry, Vec<String>) {
        self.runtime.block_on(async {
            let table = Table::open(self.location("lake").folder("s").unwrap()).await.unwrap();
            let hidden = Hidden::new(table.location());
            let head = table.ledger_head().await.unwrap().unwrap();
            let head: Head = hidden.read_json(&Hidden::head_path(head)).await.unwrap();
            let registry: Registry = hidden.read_json(&head.registry).await.unwrap();
            let mut rows = Vec::new();
            for file in table.files().unwrap() {
                let mut stored =
                    StoredFile::open(&hidden, &file.path, file.size_bytes, &registry.fields).await.unwrap();
                let fields = stored.fields.clone();
                while let Some(batch) = stored.next_batch().await.unwrap() {
                    for row in 0..batch.num_rows() {
                        let mut line = Vec::new();
                        write_record(&batch, &fields, row, &mut line);
                        rows.push(String::from_utf8(line).unwrap());
                    }
                }
            }
            rows.sort();
            (registry, rows)
        })
    }
}

/// A column of times without a zone is told as one of UTC once one of its times has a zone.
fn without_zone(row: &str) -> String {
    row.replace("Z\"", "\"")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn the_table_does_not_depend_on_how_objects_fell_into_runs(source in sources()) {
        let (one, several) = (World::new(), World::new());
        one.run(&source, 0..source.objects.len(), "none");
        for run in 0..4 {
            let objects: Vec<usize> = (0..source.objects.len()).filter(|object| source.runs[*object] == run).collect();
            if !objects.is_empty() {
                several.run(&source, objects.into_iter(), source.partition_by());
            }
        }
        prop_assert_eq!(several.table(), one.table());
    }
    #[test]
    fn a_table_under_contract_keeps_its_columns_and_its_rows(source in sources(), freeze in any::<bool>()) {
        let contract = if freeze { Contract::Freeze } else { Contract::AddOnly };
        let world = World::new();
        let runs = (0..4).map(|run| (0..source.objects.len()).filter(move |object| object % 4 == run));
        let mut before: Option<(Registry, Vec<String>)> = None;
        let mut expected = 0;
        for objects in runs {
            let objects: Vec<usize> = objects.collect();
            let records = objects.iter().map(|object| source.objects[*object].len()).sum::<usize>();
            if records == 0 {
                continue;
            }
            let report = world.run_under(contract, &source, objects.into_iter(), source.partition_by());
            let taken = &report.sources[0];
            prop_assert_eq!((taken.success_count + taken.error_count) as usize, records, "{:?}", report);
            expected += taken.success_count as usize;
            let (registry, rows) = world.registry_and_rows();
            prop_assert_eq!(rows.len(), expected);
            if let Some((old, old_rows)) = &before {
                let changes = registry.changes_since(Some(old));
                prop_assert!(changes.iter().all(|change| change.before.is_none()), "{:?}", changes);
                prop_assert!(!freeze || changes.is_empty(), "{:?}", changes);
                let rows: BTreeSet<String> = rows.iter().map(|row| without_zone(row)).collect();
                prop_assert!(old_rows.iter().all(|row| rows.contains(&without_zone(row))), "{:?} {:?}", old_rows, rows);
            }
            before = Some((registry, rows));
        }
    }
}
