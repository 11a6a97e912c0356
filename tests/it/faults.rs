//! A store that fails at each call of a run in turn: whatever fails, the table is as before or as after, and the next
//! run completes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use siltstone::clock::{Clock, SystemClock};
use siltstone::compact::{Report, Request, Silent, Status, compact, replay};
use siltstone::config::Config;
use siltstone::lake::{Finding, Head, Hidden, Quarantine, Table, verify};
use siltstone::query::SqlSession;
use siltstone::store::Location;
use siltstone::store::faults::{AtCall, Fault, FaultStore, Op, Symptom};
use tokio::runtime::Runtime;

fn location(store: Arc<dyn ObjectStore>, folder: &str) -> Location {
    Location::with_store(url::Url::parse(&format!("memory:///{folder}/")).unwrap(), store)
}

/// A raw root and a lake root in one store.
struct World {
    store: Arc<InMemory>,
    runtime: Runtime,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { store: Arc::new(InMemory::new()), runtime }
    }

    fn put(&self, key: &str, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.runtime.block_on(self.store.put(&Path::from(format!("raw/{key}")), bytes.into())).unwrap();
    }

    /// Compacts into a lake that is reached by `lake`.
    fn compact(&self, lake: Arc<dyn ObjectStore>) -> Report {
        self.compact_from(self.sound(), lake)
    }

    /// Compacts raw objects that are reached by `raw` into a lake that is reached by `lake`.
    fn compact_from(&self, raw: Arc<dyn ObjectStore>, lake: Arc<dyn ObjectStore>) -> Report {
        self.runtime.block_on(compact(&self.request(raw, lake), &SystemClock, &Silent)).unwrap()
    }

    fn request(&self, raw: Arc<dyn ObjectStore>, lake: Arc<dyn ObjectStore>) -> Request {
        Request {
            raw: location(raw, "raw"),
            lake: location(lake, "lake"),
            sources: Vec::new(),
            partition_by: Some("kind".parse().unwrap()),
            config: Config::default(),
            threads: 1,
        }
    }

    fn sound(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store) as _
    }

    /// What is wrong with the table, when the lake is reached by `lake`.
    fn findings(&self, lake: Arc<dyn ObjectStore>) -> Vec<Finding> {
        let table = location(lake, "lake").folder("s").unwrap();
        self.runtime.block_on(verify(&table)).unwrap().findings
    }

    fn has_table(&self) -> bool {
        let table = location(self.sound(), "lake").folder("s").unwrap();
        self.runtime.block_on(Table::open(table)).unwrap().version().is_some()
    }

    /// The rows of the table as `id:v:w`, in the order of ids; none without a table.
    fn rows(&self) -> Vec<String> {
        if !self.has_table() {
            return Vec::new();
        }
        let config = Config::default();
        let batches = self.runtime.block_on(async {
            let lake = Some(location(self.sound(), "lake"));
            let session = SqlSession::open(None, lake, &config, 1, 1 << 28).await.unwrap();
            let sql = "select concat(cast(id as varchar), ':', coalesce(cast(v as varchar), ''), ':',
                coalesce(cast(w as varchar), '')) as row from lake.s order by id";
            let stream = session.query(sql).await.unwrap();
            futures::TryStreamExt::try_collect::<Vec<_>>(stream).await.unwrap()
        });
        let texts = batches.iter().flat_map(|batch| {
            let texts = arrow::array::AsArray::as_string::<i32>(batch.column(0));
            texts.iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>()
        });
        texts.collect()
    }
}

/// A table of one run, and objects for a second that adds a partition, quarantines a line and promotes two columns,
/// one of which needs its raw text.
fn begun() -> World {
    let world = World::new();
    world.put("s/1.json", "{\"id\":1,\"kind\":\"a\",\"v\":10,\"w\":1.10}\n{\"id\":2,\"kind\":\"b\",\"v\":20}\n");
    assert_eq!(world.compact(world.sound()).status, Status::Success);
    world.put("s/2.json", "{\"id\":3,\"kind\":\"c\",\"v\":\"x\",\"w\":\"y\"}\nmalformed\n");
    world.put("s/3.json", "{\"id\":4,\"kind\":\"a\",\"v\":null}\n");
    world
}

const BEFORE: [&str; 2] = ["1:10:1.1E0", "2:20:"];
const AFTER: [&str; 4] = ["1:10:1.10", "2:20:", "3:x:y", "4::"];

#[test]
fn a_run_over_objects_in_a_store_is_as_one_over_files() {
    let world = begun();
    assert_eq!(world.rows(), BEFORE);
    let report = world.compact(world.sound());
    assert_eq!(report.status, Status::PartialSuccess);
    assert_eq!((report.sources[0].success_count, report.sources[0].error_count), (2, 1));
    assert_eq!(world.rows(), AFTER);
    assert_eq!(world.compact(world.sound()).sources[0].objects, 0);
}

/// The store of a world, with one fault.
fn faulty(world: &World, at: u64, fault: Fault, counted: fn(Op) -> bool) -> (Arc<AtCall>, Arc<FaultStore>) {
    let schedule = Arc::new(AtCall::new(at, fault, counted));
    (Arc::clone(&schedule), Arc::new(FaultStore::new(world.sound(), schedule)))
}

fn reads(op: Op) -> bool {
    !op.writes()
}

/// Lets each counted call of a run fail in turn; returns how many there are.
fn fail_each(fault: Fault, counted: fn(Op) -> bool) -> u64 {
    for at in 0.. {
        let world = begun();
        let (schedule, store) = faulty(&world, at, fault, counted);
        let report = world.compact(Arc::clone(&store) as _);
        let rows = world.rows();
        let is_after = rows == AFTER;
        assert!(is_after || rows == BEFORE, "{fault:?} at {at}: {rows:?}");
        assert_eq!(world.findings(world.sound()), [], "{fault:?} at {at}");
        // What is reported is what is there; but who dies reports nothing.
        let is_failed = report.sources[0].status == Status::Failed;
        assert!(store.is_dead() || is_failed != is_after, "{fault:?} at {at}: {report:?}");
        assert_eq!(is_failed, report.sources[0].error.is_some(), "{fault:?} at {at}: {report:?}");
        let next = world.compact(world.sound());
        assert_eq!(next.sources[0].objects, if is_after { 0 } else { 2 }, "{fault:?} at {at}: {next:?}");
        assert_eq!(world.rows(), AFTER, "{fault:?} at {at}");
        assert_eq!(world.findings(world.sound()), [], "{fault:?} at {at}");
        if schedule.calls() <= at {
            return at;
        }
    }
    unreachable!("a run makes a finite number of calls");
}

#[test]
fn a_write_that_fails_leaves_the_table_as_before_or_as_after() {
    // Data files, the quarantine, the registry, a segment, the head and the log entry.
    for symptom in [Symptom::Reset, Symptom::SlowDown, Symptom::TimedOut] {
        for fault in [Fault::Before(symptom), Fault::After(symptom)] {
            let calls = fail_each(fault, Op::writes);
            assert!(calls >= 7, "{fault:?}: {calls} calls");
        }
    }
}

#[test]
fn a_write_that_the_client_makes_again_is_no_conflict() {
    for at in 0.. {
        let world = begun();
        let (schedule, store) = faulty(&world, at, Fault::Repeated, Op::writes);
        let report = world.compact(store);
        assert_ne!(report.status, Status::Failed, "at {at}: {report:?}");
        assert_eq!((report.sources[0].objects, world.rows()), (2, AFTER.map(str::to_owned).to_vec()), "at {at}");
        assert_eq!(world.findings(world.sound()), [], "at {at}");
        if schedule.calls() <= at {
            break;
        }
    }
}

#[test]
fn a_run_that_dies_before_or_after_any_call_leaves_the_table_as_before_or_as_after() {
    for landed in [false, true] {
        let calls = fail_each(Fault::Dead { landed }, |_| true);
        assert!(calls >= 20, "{calls} calls");
    }
}

#[test]
fn a_read_that_fails_or_breaks_off_is_never_taken_for_nothing_there() {
    for fault in [Fault::Before(Symptom::Reset), Fault::Torn] {
        let calls = fail_each(fault, reads);
        assert!(calls >= 6, "{fault:?}: {calls} calls");
    }
}

/// Two objects of one column, which only both together make JSON text.
fn mixed() -> World {
    let world = World::new();
    world.put("s/1.json", "{\"id\":1,\"kind\":\"a\",\"v\":1,\"w\":{\"x\":1.10}}\n");
    world.put("s/2.json", "{\"id\":2,\"kind\":\"a\",\"v\":1,\"w\":[2]}\n");
    world
}

#[test]
fn a_raw_object_that_cannot_be_read_for_once_costs_no_value() {
    for is_mixed in [false, true] {
        let begin = if is_mixed { mixed } else { begun };
        let expected = if is_mixed { &["1:1:{\"x\":1.10}", "2:1:[2]"][..] } else { &AFTER };
        for fault in [Fault::Before(Symptom::Reset), Fault::Torn] {
            for at in 0.. {
                let world = begin();
                let (schedule, raw) = faulty(&world, at, fault, |op| op == Op::Get);
                let report = world.compact_from(raw, world.sound());
                assert_eq!(world.findings(world.sound()).is_empty(), world.has_table(), "{report:?}");
                let next = world.compact(world.sound());
                assert_eq!(world.rows(), expected, "{fault:?} at {at}: {report:?}, then {next:?}");
                assert_eq!(world.findings(world.sound()), [], "{fault:?} at {at}");
                if schedule.calls() <= at {
                    assert!(at >= 3, "{at} calls");
                    break;
                }
            }
        }
    }
}

#[test]
fn an_id_that_a_dead_run_took_is_drawn_anew() {
    #[derive(Debug)]
    struct FewBits(AtomicU64);
    impl Clock for FewBits {
        fn now_micros(&self) -> i64 {
            SystemClock.now_micros()
        }
        fn new_id(&self) -> String {
            SystemClock.new_id()
        }
        fn random_bits(&self) -> u64 {
            self.0.fetch_add(1, Ordering::SeqCst) % 3
        }
    }
    for at in 0..12 {
        let world = begun();
        // The second run draws what the first, which dies, had drawn.
        for (at, fault) in [(at, Fault::Dead { landed: true }), (u64::MAX, Fault::Nothing)] {
            let (_, store) = faulty(&world, at, fault, |op| op == Op::Put);
            let request = world.request(world.sound(), store);
            let report = world.runtime.block_on(compact(&request, &FewBits(AtomicU64::new(0)), &Silent)).unwrap();
            assert!(report.status != Status::Failed || at < 12, "{report:?}");
        }
        assert_eq!(world.rows(), AFTER, "at {at}");
        assert_eq!(world.findings(world.sound()), [], "at {at}");
    }
}

#[test]
fn a_commit_whose_small_objects_lose_their_replies_is_made_all_the_same() {
    // Whatever has a name of its own is read back: the registry, the segment, the head, the log entry.
    let mut made = 0;
    for at in 0.. {
        let world = begun();
        let (schedule, store) = faulty(&world, at, Fault::After(Symptom::TimedOut), |op| op == Op::Put);
        made += usize::from(world.compact(store).status != Status::Failed);
        if schedule.calls() <= at {
            break;
        }
    }
    // And the one without a fault.
    assert!(made >= 5, "{made}");
}

#[test]
fn a_check_whose_store_fails_never_says_that_all_is_well() {
    let world = begun();
    world.compact(world.sound());
    for at in 0.. {
        let (schedule, store) = faulty(&world, at, Fault::Dead { landed: false }, reads);
        let findings = world.findings(store);
        let is_whole = schedule.calls() <= at;
        assert_eq!(findings.is_empty(), is_whole, "at {at}: {findings:?}");
        if is_whole {
            assert!(at > 10, "{at} calls");
            return;
        }
    }
}

/// The rejects of the table, as keys and bytes, and how many files they are in.
fn rejects(world: &World) -> (Vec<(String, Vec<u8>)>, usize) {
    world.runtime.block_on(async {
        let table = Table::open(location(world.sound(), "lake").folder("s").unwrap()).await.unwrap();
        let hidden = Hidden::new(table.location());
        let id = table.ledger_head().await.unwrap().unwrap();
        let head: Head = hidden.read_json(&Hidden::head_path(id)).await.unwrap();
        let quarantine = Quarantine::open(&hidden, &head).await.unwrap();
        let mut reader = quarantine.read();
        let mut found = Vec::new();
        while let Some(rows) = reader.next_rows().await.unwrap() {
            found.extend(rows.into_iter().map(|row| (row.object.key, row.raw.trim_ascii_end().to_vec())));
        }
        (found, quarantine.files().len())
    })
}

#[test]
fn quarantine_files_that_became_many_are_made_one_or_stay_whatever_fails() {
    let world = World::new();
    let mut expected = Vec::new();
    for run in 0..32 {
        world.put(&format!("s/{run:02}.json"), &format!("{{\"id\":{run},\"kind\":\"a\"}}\nmalformed {run}\n"));
        assert_eq!(world.compact(world.sound()).sources[0].error_count, 1);
        expected.push((format!("{run:02}.json"), format!("malformed {run}").into_bytes()));
    }
    assert!(rejects(&world) == (expected.clone(), 32));
    world.put("s/32.json", "malformed 32");
    let before = expected.clone();
    expected.push(("32.json".to_owned(), b"malformed 32".to_vec()));
    let (mut merged, mut kept) = (0, 0);
    for fault in [Fault::After(Symptom::TimedOut), Fault::Torn, Fault::Dead { landed: true }] {
        // Many reads are alike.
        let (counted, step): (fn(Op) -> bool, _) = if fault == Fault::Torn { (reads, 3) } else { (Op::writes, 1) };
        for at in (0..).step_by(step) {
            let world = World { store: Arc::new(world.store.fork()), ..World::new() };
            let (schedule, store) = faulty(&world, at, fault, counted);
            let report = world.compact(Arc::clone(&store) as _);
            assert_eq!(world.findings(world.sound()), [], "{fault:?} at {at}");
            let (found, files) = rejects(&world);
            if found == before {
                assert!(files == 32 && (store.is_dead() || report.status == Status::Failed), "{fault:?} at {at}");
            } else {
                assert!(found == expected, "{fault:?} at {at}");
                assert!(files == 2 || files == 33, "{fault:?} at {at}: {files} files");
                if files == 2 { merged += 1 } else { kept += 1 }
            }
            world.compact(world.sound());
            assert!(rejects(&world).0 == expected, "{fault:?} at {at}");
            assert_eq!(world.findings(world.sound()), [], "{fault:?} at {at}");
            if schedule.calls() <= at {
                break;
            }
        }
    }
    // A file that cannot be read or written for once does not fail a run.
    assert!(merged > 3 && kept > 3, "{merged} and {kept}");
    // What is one file is replayed like others.
    world.compact(world.sound());
    let request = Request { sources: vec!["s".to_owned()], ..world.request(world.sound(), world.sound()) };
    let report = world.runtime.block_on(replay(&request, &[], &SystemClock, &Silent)).unwrap();
    assert_eq!(report.sources[0].error_count, 33);
}
