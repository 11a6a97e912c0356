//! A store that fails at each call of a run in turn: whatever fails, the table is as before or as after, and the next
//! run completes it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use siltstone::clock::SystemClock;
use siltstone::compact::{Report, Request, Silent, Status, compact};
use siltstone::config::Config;
use siltstone::lake::{Finding, Table, verify};
use siltstone::query::SqlSession;
use siltstone::store::Location;
use tokio::runtime::Runtime;

/// When the call with a certain number fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// Before it had an effect.
    Refused,
    /// After it had: the reply is lost.
    ReplyLost,
    /// And so do all after it, as if the process had died.
    Dead,
}

/// Which calls are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Calls {
    Writes,
    Reads,
}

/// Fails one call.
#[derive(Debug)]
struct Faulty {
    inner: Arc<InMemory>,
    fault: Fault,
    counted: Calls,
    /// The number of the call that fails, from 0.
    at: usize,
    calls: AtomicUsize,
}

impl Faulty {
    fn is_due(&self, kind: Calls) -> bool {
        if kind != self.counted {
            return false;
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if self.fault == Fault::Dead { call >= self.at } else { call == self.at }
    }
}

fn failure() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "the network is down".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        let is_due = self.is_due(Calls::Writes);
        if is_due && self.fault != Fault::ReplyLost {
            return Err(failure());
        }
        let result = self.inner.put_opts(at, payload, options).await;
        if is_due { Err(failure()) } else { result }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        if self.is_due(Calls::Reads) {
            return Err(failure());
        }
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        if self.is_due(Calls::Reads) {
            return futures::stream::once(async { Err(failure()) }).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        if self.is_due(Calls::Reads) {
            return Err(failure());
        }
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

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
        let request = Request {
            raw: location(Arc::clone(&self.store) as _, "raw"),
            lake: location(lake, "lake"),
            sources: Vec::new(),
            partition_by: Some("kind".parse().unwrap()),
            config: Config::default(),
            threads: 1,
        };
        self.runtime.block_on(compact(&request, &SystemClock, &Silent)).unwrap()
    }

    fn sound(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store) as _
    }

    /// What is wrong with the table, when the lake is reached by `lake`.
    fn findings(&self, lake: Arc<dyn ObjectStore>) -> Vec<Finding> {
        let table = location(lake, "lake").folder("s").unwrap();
        self.runtime.block_on(verify(&table)).unwrap().findings
    }

    /// The rows of the table as `id:v:w`, in the order of ids; none without a table.
    fn rows(&self) -> Vec<String> {
        let table = location(self.sound(), "lake").folder("s").unwrap();
        if self.runtime.block_on(Table::open(table)).unwrap().version().is_none() {
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

const BEFORE: [&str; 2] = ["1:10:1.1", "2:20:"];
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

/// Lets each counted call of a run fail in turn; returns how many there are.
fn fail_each(fault: Fault, counted: Calls) -> usize {
    for at in 0.. {
        let world = begun();
        let calls = AtomicUsize::new(0);
        let faulty = Arc::new(Faulty { inner: Arc::clone(&world.store), fault, counted, at, calls });
        let report = world.compact(Arc::clone(&faulty) as _);
        let rows = world.rows();
        let is_after = rows == AFTER;
        assert!(is_after || rows == BEFORE, "{fault:?} at {at}: {rows:?}");
        assert_eq!(world.findings(world.sound()), [], "{fault:?} at {at}");
        // What is reported is what is there.
        assert_eq!(report.sources[0].status == Status::Failed, !is_after, "{fault:?} at {at}: {report:?}");
        let next = world.compact(world.sound());
        assert_eq!(next.sources[0].objects, if is_after { 0 } else { 2 }, "{fault:?} at {at}: {next:?}");
        assert_eq!(world.rows(), AFTER, "{fault:?} at {at}");
        assert_eq!(world.findings(world.sound()), [], "{fault:?} at {at}");
        if faulty.calls.load(Ordering::SeqCst) <= at {
            return at;
        }
    }
    unreachable!("a run makes a finite number of calls");
}

#[test]
fn a_write_that_fails_leaves_the_table_as_before_or_as_after() {
    for fault in [Fault::Refused, Fault::ReplyLost, Fault::Dead] {
        // Data files, the quarantine, the registry, a segment, the head and the log entry.
        let calls = fail_each(fault, Calls::Writes);
        assert!(calls >= 7, "{fault:?}: {calls} calls");
    }
}

#[test]
fn a_read_that_fails_is_never_taken_for_nothing_there() {
    let calls = fail_each(Fault::Refused, Calls::Reads);
    assert!(calls >= 6, "{calls} calls");
}

#[test]
fn a_check_whose_store_fails_never_says_that_all_is_well() {
    let world = begun();
    world.compact(world.sound());
    for at in 0.. {
        let inner = Arc::clone(&world.store);
        let calls = AtomicUsize::new(0);
        let faulty = Arc::new(Faulty { inner, fault: Fault::Dead, counted: Calls::Reads, at, calls });
        let findings = world.findings(Arc::clone(&faulty) as _);
        let is_whole = faulty.calls.load(Ordering::SeqCst) <= at;
        assert_eq!(findings.is_empty(), is_whole, "at {at}: {findings:?}");
        if is_whole {
            assert!(at > 10, "{at} calls");
            return;
        }
    }
}
