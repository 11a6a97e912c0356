//! The raw objects of one history, and what is done to them and to the table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use serde_json::{Value, json};
use siltstone::clock::Clock;
use siltstone::compact::{Request, Silent, Status, compact};
use siltstone::config::{Config, DedupConfig, OnOverwrite};
use siltstone::lake::Head;
use siltstone::maintain::vacuum;
use siltstone::store::Location;
use siltstone::store::faults::{FaultStore, Rates, Seeded};

use super::timed::Timed;
use super::turns::{Ends, InTurn, Turns};
use super::work::{Rows, Told, Work};
use crate::support::Numbers;

/// What one version of a raw object holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// What the store tells it from others by; each time it is written again, as it is, there is another.
    pub(super) etags: Vec<String>,
    /// The `id` of each record.
    pub(super) ids: Vec<i64>,
    /// Lines that are no records.
    pub(super) malformed: u64,
}

/// The column that names the raw object of each row, where there is one.
pub(super) const PROVENANCE: &str = "raw_object";
const HOUR_MICROS: i64 = 3_600_000_000;
/// Time that may pass between two calls of a writer.
const LONGEST_PAUSE_MICROS: u64 = 10 * HOUR_MICROS as u64;
/// Time that may pass so in one step: no run may last longer than what a vacuum spares.
const PAUSES_MICROS: i64 = 20 * HOUR_MICROS;

/// One history.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) store: Arc<Timed>,
    pub(super) runtime: tokio::runtime::Runtime,
    numbers: Numbers,
    /// Microseconds since 1970.
    pub(super) time: Arc<AtomicI64>,
    /// So many microseconds may still pass at once in this step.
    pauses: Arc<AtomicI64>,
    /// Whether rows of merged files are sorted.
    is_sorted: bool,
    runs: u64,
    /// Whether raw objects stay as they are once they are stored. Then all values follow from them.
    pub(super) is_stable: bool,
    /// Whether what an object holds now takes the place of the rows it had; if not, these stay.
    pub(super) is_replacing: bool,
    /// All that was ever stored, by key.
    pub(super) stored: BTreeMap<String, Vec<Content>>,
    next_id: i64,
    story: Vec<String>,
    /// The records that have others with the same key, by id: their keys. Only in some histories.
    pub(super) twins: BTreeMap<i64, u64>,
    has_twins: bool,
    /// The ids in the table at the last check.
    pub(super) rows: Vec<i64>,
    /// What the runs of the last step said they did to rows, and whether each of them is to be believed to the row.
    pub(super) told: (Rows, bool),
    /// What runs did to rows until the last check, by the heads.
    pub(super) done: Rows,
    /// Which version of an object was consumed last, by its key: its place among those that were stored.
    pub(super) consumed: BTreeMap<String, usize>,
    /// The heads that were in the ledger at a check, by id: older ones go with a vacuum.
    pub(super) heads: BTreeMap<i64, Head>,
}

/// Time that passes by draws, and ids that tell the run.
#[derive(Debug)]
struct MadeUp {
    time: Arc<AtomicI64>,
    pauses: Arc<AtomicI64>,
    run: u64,
    ids: AtomicU64,
    /// How many different bits there are: few, so that two writers draw the same.
    random: u64,
    seed: u64,
}

impl Clock for MadeUp {
    fn now_micros(&self) -> i64 {
        let nth = self.ids.fetch_add(1, Ordering::SeqCst);
        let mut numbers = Numbers(self.seed ^ self.run << 20 ^ nth << 40);
        let pause = if numbers.below(20) == 0 { numbers.below(LONGEST_PAUSE_MICROS) as i64 } else { 0 };
        let passed = if self.pauses.fetch_sub(pause, Ordering::SeqCst) < pause { 0 } else { pause };
        self.time.fetch_add(1_000 + passed, Ordering::SeqCst)
    }

    fn new_id(&self) -> String {
        let id = self.ids.fetch_add(1, Ordering::SeqCst);
        format!("{:016x}{id:016x}", self.run)
    }

    fn random_bits(&self) -> u64 {
        let nth = self.ids.fetch_add(1, Ordering::SeqCst);
        Numbers(self.seed ^ self.run << 20 ^ nth).below(self.random)
    }
}

/// What became of one writer.
struct Ended {
    work: Work,
    dead: bool,
    outcome: Result<Told, String>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut numbers = Numbers(seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let has_twins = seed % 4 == 1;
        let is_replacing = matches!(seed % 5, 2 | 3);
        // Histories with twins are long enough without more versions of objects, unless these are what is played.
        let is_stable = (has_twins || numbers.below(2) == 0) && !is_replacing;
        let is_sorted = numbers.below(3) == 0;
        let time = Arc::new(AtomicI64::new(1_760_000_000_000_000));
        let mut world = Self {
            seed,
            store: Arc::new(Timed::new(Arc::clone(&time))),
            runtime,
            numbers,
            time,
            pauses: Arc::default(),
            is_sorted,
            runs: 0,
            is_stable,
            is_replacing,
            stored: BTreeMap::new(),
            twins: BTreeMap::new(),
            has_twins,
            next_id: 0,
            story: Vec::new(),
            rows: Vec::new(),
            told: (Rows::default(), true),
            done: Rows::default(),
            consumed: BTreeMap::new(),
            heads: BTreeMap::new(),
        };
        // An old object, so that there is a source whatever vanishes.
        world.put_object("anchor.json", false);
        world
    }

    pub(super) fn steps(&mut self) -> u64 {
        4 + self.numbers.below(10)
    }

    pub(super) fn story(self) -> Vec<String> {
        self.story
    }

    /// Where the oracle says that something is wrong.
    pub(super) fn place(&self) -> String {
        format!("seed {}: {:#?}", self.seed, self.story)
    }

    pub(super) fn location(store: Arc<dyn ObjectStore>, folder: &str) -> Location {
        Location::with_store(url::Url::parse(&format!("memory:///{folder}/")).unwrap(), store)
    }

    pub(super) fn sound(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store) as _
    }

    pub(super) fn table(&self) -> Location {
        Self::location(self.sound(), "lake").folder("s").unwrap()
    }

    /// Something happens to the raw objects; then writers go to work.
    pub(super) fn step(&mut self) {
        // Hours, and now and then days.
        let hours = if self.numbers.below(3) == 0 { 60 } else { 8 };
        self.time.fetch_add(self.numbers.below(hours * HOUR_MICROS as u64) as i64, Ordering::SeqCst);
        self.pauses.store(PAUSES_MICROS, Ordering::SeqCst);
        for _ in 0..self.numbers.below(4) {
            let wide = self.numbers.below(3) == 0;
            // Of fewer objects more are overwritten.
            let key = format!("{}.json", self.numbers.below(if self.is_replacing { 8 } else { 30 }));
            if !self.stored.contains_key(&key) {
                self.put_object(&key, wide);
            } else if !self.is_stable {
                if self.numbers.below(3) == 0 {
                    self.delete_object(&key);
                } else {
                    self.put_object(&key, wide);
                }
            }
        }
        match self.numbers.below(8) {
            0 => self.other_writer(),
            _ => {
                let writers = [1, 1, 2, 2, 3][self.numbers.below(5) as usize];
                self.write(writers);
            }
        }
    }

    /// The same source without any faults: all that is new is taken in, and then nothing is new.
    pub(super) fn settle(&mut self) {
        let request = self.request(self.sound());
        for is_first in [true, false] {
            let clock = self.clock();
            let report = self.runtime.block_on(compact(&request, &clock, &Silent)).unwrap();
            assert_ne!(report.status, Status::Failed, "{report:?}, {}", self.place());
            let source = &report.sources[0];
            assert!(is_first || source.objects == 0, "{report:?}, {}", self.place());
            if is_first {
                self.told = (Rows { added: source.success_count, replaced: source.rows_replaced }, true);
            }
            self.story.push(format!("settled: {} objects, version {:?}", source.objects, source.version));
        }
        self.check();
        self.check_complete();
    }

    /// A vacuum long after all: what is left is what the table needs.
    pub(super) fn sweep(&mut self) {
        self.time.fetch_add(30 * 24 * HOUR_MICROS, Ordering::SeqCst);
        let clock = self.clock();
        let retention_hours = 24;
        let swept = self.runtime.block_on(vacuum(&self.table(), retention_hours, false, &clock)).unwrap();
        self.story.push(format!("swept: {} data files", swept.data_files));
        self.check_swept();
    }

    fn clock(&mut self) -> MadeUp {
        self.runs += 1;
        let random = if self.seed.is_multiple_of(3) { 8 } else { 1 << 24 };
        let (time, pauses) = (Arc::clone(&self.time), Arc::clone(&self.pauses));
        MadeUp { time, pauses, run: self.runs, ids: AtomicU64::new(0), random, seed: self.seed }
    }

    pub(super) fn request(&self, store: Arc<dyn ObjectStore>) -> Request {
        let mut config = Config::default();
        config.defaults.sort_by = self.is_sorted.then(|| vec!["id".to_owned()]);
        if self.is_replacing {
            config.defaults.provenance = Some(PROVENANCE.to_owned());
            config.defaults.on_overwrite = Some(OnOverwrite::Replace);
        }
        config.defaults.dedup = Some(DedupConfig { keys: vec!["twin".to_owned()], keep: "last by id".to_owned() });
        Request {
            raw: Self::location(Arc::clone(&store), "raw"),
            lake: Self::location(store, "lake"),
            sources: vec!["s".to_owned()],
            partition_by: Some("kind".parse().unwrap()),
            config,
            threads: 1,
        }
    }

    /// So many writers at once, each with faults of its own.
    fn write(&mut self, writers: usize) {
        let rate = [0, 10, 50, 50, 200, 600][self.numbers.below(6) as usize];
        // Two writers that change raw objects at once would do so in no order.
        let unstable = if self.is_stable || writers > 1 { 0 } else { rate };
        let rates = Rates {
            before: rate,
            after: rate,
            repeated: 2 * rate,
            dead: rate,
            stale: 4 * rate,
            torn: rate,
            changed: unstable,
            gone: 0,
            late: 20,
        };
        let gone = Rates { gone: unstable, ..rates };
        let turns = Turns::new(writers, self.numbers.below(u64::MAX));
        let players: Vec<_> = (0..writers)
            .map(|me| {
                let seed = self.numbers.below(u64::MAX);
                // Rows of an object that is gone need not follow from it.
                let rates = if self.numbers.below(3) == 0 { gone } else { rates };
                let faults = Seeded::new(seed, rates, Path::from("raw"));
                let schedule = Arc::new(InTurn { turns: Arc::clone(&turns), me, faults });
                let store = Arc::new(FaultStore::new(self.sound(), schedule));
                let request = self.request(Arc::clone(&store) as _);
                let work = Work::draw(&mut self.numbers);
                (me, work, self.clock(), store, request)
            })
            .collect();
        let play = |me: usize, work: Work, clock: &MadeUp, store: &FaultStore, request: &Request| {
            let _ends = Ends(&turns, me);
            turns.wait(me);
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let outcome = runtime.block_on(work.run(request, clock)).map_err(|error| error.to_string());
            Ended { work, dead: store.is_dead(), outcome }
        };
        let ended: Vec<Ended> = std::thread::scope(|scope| {
            let players = players
                .iter()
                .map(|(me, work, clock, store, request)| scope.spawn(move || play(*me, *work, clock, store, request)));
            players.collect::<Vec<_>>().into_iter().map(|player| player.join().unwrap()).collect()
        });
        self.told = (Rows::default(), true);
        for Ended { work, dead, outcome } in ended {
            let told = match &outcome {
                Ok(told) => {
                    self.told.0 += told.rows;
                    let Rows { added, replaced } = told.rows;
                    format!("{}: {added} rows for {replaced}", if told.is_failed { "failed" } else { "ended" })
                }
                Err(_) => "could not begin".to_owned(),
            };
            // Who died, or could not tell, may have committed.
            let is_whole = !dead && outcome.is_ok_and(|told| !told.is_failed);
            self.told.1 &= is_whole || !work.adds_rows();
            self.story.push(format!("{work:?} of {writers} writers at rate {rate}, dead {dead}: {told}"));
        }
        // What a listing that is late or a reply that is lost hides is not the raw objects' fault.
        let there: Vec<String> = self.runtime.block_on(async {
            let mut there = Vec::new();
            for key in self.stored.keys() {
                if self.store.head(&Path::from(format!("raw/s/{key}"))).await.is_ok() {
                    there.push(key.clone());
                }
            }
            there
        });
        self.story.push(format!("{} raw objects", there.len()));
    }

    /// Another engine makes some versions that change nothing.
    fn other_writer(&mut self) {
        let log = Path::from("lake/s/_delta_log");
        let entries = self.log_entries();
        let count = if entries.is_empty() { 0 } else { 1 + self.numbers.below(12) };
        for version in entries.len() as u64..entries.len() as u64 + count {
            let at_ms = self.time.load(Ordering::SeqCst) / 1000;
            let entry = json!({"commitInfo": {"timestamp": at_ms, "operation": "OTHER", "engineInfo": "another"}});
            let path = Path::from(format!("{log}/{version:020}.json"));
            self.runtime.block_on(self.store.put(&path, format!("{entry}\n").into_bytes().into())).unwrap();
        }
        self.told = (Rows::default(), true);
        self.story.push(format!("{count} versions of another writer"));
    }

    /// The entries of the table's log, which must have no gap.
    pub(super) fn log_entries(&self) -> Vec<Vec<Value>> {
        let mut entries = Vec::new();
        loop {
            let path = Path::from(format!("lake/s/_delta_log/{:020}.json", entries.len()));
            let Some(bytes) = self.read(&path) else { return entries };
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            entries.push(lines.map(|line| serde_json::from_slice(line).unwrap()).collect());
        }
    }

    pub(super) fn read(&self, path: &Path) -> Option<Bytes> {
        self.runtime.block_on(async { self.store.get(path).await.ok()?.bytes().await.ok() })
    }

    /// Stores an object of a few records, which may need wider columns than those before.
    fn put_object(&mut self, key: &str, wide: bool) {
        let mut content = Content::default();
        let mut text = String::new();
        for _ in 0..=self.numbers.below(4) {
            let id = self.next_id;
            self.next_id += 1;
            content.ids.push(id);
            let kind = ["a", "b", "c"][self.numbers.below(3) as usize];
            let mut record = json!({"id": id, "kind": kind, "key": key, "v": self.numbers.below(100)});
            if self.has_twins && self.numbers.below(3) == 0 {
                let twin = self.numbers.below(4);
                record["twin"] = json!(format!("twin {twin}"));
                self.twins.insert(id, twin);
            } else if id == 0 {
                // So that there is the column.
                record["twin"] = json!("none");
            }
            if wide {
                match self.numbers.below(6) {
                    0 => record["v"] = json!("text"),
                    1 => record["w"] = json!({"x": id}),
                    2 => record["w"] = json!([id]),
                    3 => record["n"] = json!({"deep": {"x": id, "s": "1"}}),
                    4 => record["n"] = json!({"deep": {"x": "wide"}}),
                    _ => record["at"] = json!("2025-01-01T00:00:00+01:00"),
                }
            }
            let mut line = record.to_string();
            if self.numbers.below(3) == 0 {
                // Digits that a double does not keep.
                line.insert_str(
                    line.len() - 1,
                    &format!(",\"d\":{}.{}0", self.numbers.below(9), self.numbers.below(9)),
                );
            } else if wide && self.numbers.below(2) == 0 {
                line.insert_str(line.len() - 1, ",\"d\":\"none\"");
            }
            text.push_str(&line);
            text.push('\n');
        }
        if self.numbers.below(4) == 0 {
            content.malformed += 1;
            text.push_str("malformed\n");
        }
        let path = Path::from(format!("raw/s/{key}"));
        let put = self.runtime.block_on(self.store.put(&path, text.into_bytes().into())).unwrap();
        content.etags.push(put.e_tag.unwrap());
        self.stored.entry(key.to_owned()).or_default().push(content);
    }

    fn delete_object(&mut self, key: &str) {
        let deleted = self.runtime.block_on(self.store.delete(&Path::from(format!("raw/s/{key}"))));
        assert!(
            key != "anchor.json" && (deleted.is_ok() || matches!(deleted, Err(object_store::Error::NotFound { .. })))
        );
    }
}
