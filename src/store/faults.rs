//! A store that fails on purpose, for tests (feature `faults`): a [`Schedule`] says what goes wrong with which call.
//!
//! ```text
//! caller --call--> FaultStore --asks--> Schedule: nothing | fail before | fail after | die | stale | torn | ...
//!                      '--------------> the store below, or not
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Writes an object by one request.
    Put,
    /// Begins a multipart upload.
    BeginUpload,
    /// Uploads a part.
    PutPart,
    /// Makes the object of an upload visible.
    CompleteUpload,
    /// Drops the parts of an upload.
    AbortUpload,
    /// Reads an object, or its metadata.
    Get,
    /// Lists objects.
    List,
    /// Deletes an object.
    Delete,
    /// Copies an object.
    Copy,
}

impl Op {
    /// Whether the call changes what is stored.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::List)
    }
}

/// A call that the store was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What it does.
    pub op: Op,
    /// To which object, or below which folder.
    pub path: &'a Path,
}

/// How a failure shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symptom {
    /// The connection broke.
    Reset,
    /// Status 503, `SlowDown`.
    SlowDown,
    /// No answer came in time.
    TimedOut,
}

impl Symptom {
    fn error(self) -> Error {
        let text = match self {
            Self::Reset => "the connection was reset",
            Self::SlowDown => "Server returned non-2xx status code: 503 Service Unavailable: SlowDown",
            Self::TimedOut => "the request timed out",
        };
        Error::Generic { store: "faulty", source: text.into() }
    }
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Nothing,
    /// It fails before it had an effect.
    Before(Symptom),
    /// It has its effect, and the reply is lost. As `Before` for calls that only read.
    After(Symptom),
    /// It has its effect, the reply is lost, and the store's client makes it again: the second reply counts. Nothing, for
    /// calls other than writing an object by one request.
    Repeated,
    /// The caller dies at this call, `landed` telling whether it still had its effect. All calls after it fail.
    Dead {
        /// Whether the call had its effect.
        landed: bool,
    },
    /// It takes so long, and is well.
    Late(Duration),
    /// A listing does not show so many of the newest objects. Nothing, for other calls.
    Stale(usize),
    /// A listing or the body of an object breaks off half way. Nothing, for other calls.
    Torn,
    /// The object is written again, with the same bytes and another ETag, just before it is read.
    Changed,
    /// The object is deleted just before it is read.
    Gone,
}

/// Says what goes wrong with which call. It may block, to let others go first.
pub trait Schedule: Send + Sync + fmt::Debug {
    /// What goes wrong with a call.
    fn fault(&self, call: Call<'_>) -> Fault;
}

/// Another store, with faults.
#[derive(Debug)]
pub struct FaultStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Arc<dyn ObjectStore>,
    schedule: Arc<dyn Schedule>,
    is_dead: AtomicBool,
}

/// What is left of a fault before the call is made.
enum Way {
    /// The call is made; then the reply is lost, when there is a symptom.
    Make(Option<Symptom>),
    /// A listing without so many objects, or half of it.
    Less(Fault),
    /// The call is made twice.
    Twice,
}

impl FaultStore {
    /// A store that does what `inner` does, but for the faults of `schedule`.
    pub fn new(inner: Arc<dyn ObjectStore>, schedule: Arc<dyn Schedule>) -> Self {
        Self { shared: Arc::new(Shared { inner, schedule, is_dead: AtomicBool::new(false) }) }
    }

    /// Whether the caller died.
    pub fn is_dead(&self) -> bool {
        self.shared.is_dead.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Lets a call have its fault.
    async fn meet(&self, op: Op, path: &Path) -> Result<Way> {
        if self.is_dead.load(Ordering::SeqCst) {
            return Err(Symptom::Reset.error());
        }
        let fault = self.schedule.fault(Call { op, path });
        if self.is_dead.load(Ordering::SeqCst) {
            // It died by another call while this one was held up.
            return Err(Symptom::Reset.error());
        }
        match fault {
            Fault::Nothing => Ok(Way::Make(None)),
            Fault::Before(symptom) => Err(symptom.error()),
            Fault::After(symptom) => Ok(Way::Make(Some(symptom))),
            Fault::Repeated => Ok(Way::Twice),
            Fault::Dead { landed } => {
                self.is_dead.store(true, Ordering::SeqCst);
                if landed { Ok(Way::Make(Some(Symptom::Reset))) } else { Err(Symptom::Reset.error()) }
            }
            Fault::Late(by) => {
                tokio::time::sleep(by).await;
                Ok(Way::Make(None))
            }
            Fault::Stale(_) | Fault::Torn => Ok(Way::Less(fault)),
            Fault::Changed => {
                if let Ok(found) = self.inner.get(path).await {
                    self.inner.put(path, found.bytes().await?.into()).await?;
                }
                Ok(Way::Make(None))
            }
            Fault::Gone => {
                match self.inner.delete(path).await {
                    Ok(()) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
                Ok(Way::Make(None))
            }
        }
    }
}

impl Way {
    fn reply<T>(self, reply: Result<T>) -> Result<T> {
        match self {
            Self::Make(Some(symptom)) => Err(symptom.error()),
            _ => reply,
        }
    }

    fn list(self, mut listed: Vec<ObjectMeta>) -> Vec<Result<ObjectMeta>> {
        match self {
            Self::Make(None) | Self::Less(_) if listed.is_empty() => Vec::new(),
            Self::Make(Some(symptom)) => vec![Err(symptom.error())],
            Self::Less(Fault::Stale(newest)) => {
                let mut times: Vec<_> = listed.iter().map(|meta| meta.last_modified).collect();
                times.sort();
                let seen = times.len().saturating_sub(newest);
                let until = times[..seen].last().copied();
                listed.retain(|meta| Some(meta.last_modified) <= until);
                listed.into_iter().map(Ok).collect()
            }
            Self::Less(_) => {
                listed.truncate(listed.len() / 2);
                listed.into_iter().map(Ok).chain([Err(Symptom::Reset.error())]).collect()
            }
            Self::Make(None) | Self::Twice => listed.into_iter().map(Ok).collect(),
        }
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with faults", self.shared.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let way = self.shared.meet(Op::Put, at).await?;
        if matches!(way, Way::Twice) {
            let _ = self.shared.inner.put_opts(at, payload.clone(), options.clone()).await;
        }
        way.reply(self.shared.inner.put_opts(at, payload, options).await)
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let way = self.shared.meet(Op::BeginUpload, at).await?;
        let upload = way.reply(self.shared.inner.put_multipart_opts(at, options).await)?;
        Ok(Box::new(FaultUpload { shared: Arc::clone(&self.shared), upload, path: at.clone() }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let way = self.shared.meet(Op::Get, at).await?;
        let found = self.shared.inner.get_opts(at, options).await;
        if let (Way::Less(Fault::Torn), Ok(found)) = (&way, &found) {
            let range = found.range.clone();
            let found = self.shared.inner.get_range(at, range.start..range.start + (range.end - range.start) / 2).await;
            let body = futures::stream::iter([found, Err(Symptom::Reset.error())]).boxed();
            let meta = self.shared.inner.head(at).await?;
            let attributes = object_store::Attributes::default();
            return Ok(GetResult { payload: GetResultPayload::Stream(body), meta, range, attributes });
        }
        way.reply(found)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let shared = Arc::clone(&self.shared);
        let delete = move |path: Result<Path>| {
            let shared = Arc::clone(&shared);
            async move {
                let path = path?;
                let way = shared.meet(Op::Delete, &path).await?;
                way.reply(shared.inner.delete(&path).await.map(|()| path))
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, Some(offset.clone()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let way = self.shared.meet(Op::List, prefix.unwrap_or(&Path::ROOT)).await?;
        if let Way::Less(Fault::Torn) = way {
            return Err(Symptom::Reset.error());
        }
        let listed = self.shared.inner.list_with_delimiter(prefix).await?;
        let common_prefixes = listed.common_prefixes;
        let objects = way.list(listed.objects).into_iter().collect::<Result<_>>()?;
        Ok(ListResult { common_prefixes, objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let way = self.shared.meet(Op::Copy, to).await?;
        way.reply(self.shared.inner.copy_opts(from, to, options).await)
    }
}

impl FaultStore {
    /// A listing, which is read whole first.
    fn listing(&self, prefix: Option<&Path>, offset: Option<Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (shared, prefix) = (Arc::clone(&self.shared), prefix.cloned());
        let listed = async move {
            let way = match shared.meet(Op::List, prefix.as_ref().unwrap_or(&Path::ROOT)).await {
                Ok(way) => way,
                Err(error) => return vec![Err(error)],
            };
            let listed = match &offset {
                Some(offset) => shared.inner.list_with_offset(prefix.as_ref(), offset),
                None => shared.inner.list(prefix.as_ref()),
            };
            match listed.try_collect().await {
                Ok(listed) => way.list(listed),
                Err(error) => vec![Err(error)],
            }
        };
        futures::stream::once(listed).flat_map(futures::stream::iter).boxed()
    }
}

/// An upload with faults.
#[derive(Debug)]
struct FaultUpload {
    shared: Arc<Shared>,
    upload: Box<dyn MultipartUpload>,
    path: Path,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (shared, path) = (Arc::clone(&self.shared), self.path.clone());
        let part = self.upload.put_part(data);
        Box::pin(async move {
            let way = shared.meet(Op::PutPart, &path).await?;
            way.reply(part.await)
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let way = self.shared.meet(Op::CompleteUpload, &self.path).await?;
        way.reply(self.upload.complete().await)
    }

    async fn abort(&mut self) -> Result<()> {
        let way = self.shared.meet(Op::AbortUpload, &self.path).await?;
        way.reply(self.upload.abort().await)
    }
}

/// One fault at the call with a certain number, of those that are counted.
#[derive(Debug)]
pub struct AtCall {
    at: u64,
    fault: Fault,
    counted: fn(Op) -> bool,
    calls: AtomicU64,
}

impl AtCall {
    /// `fault` at the call with the number `at`, from 0, of those that `counted` picks.
    pub fn new(at: u64, fault: Fault, counted: fn(Op) -> bool) -> Self {
        Self { at, fault, counted, calls: AtomicU64::new(0) }
    }

    /// How many calls were counted.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Schedule for AtCall {
    fn fault(&self, call: Call<'_>) -> Fault {
        let is_due = (self.counted)(call.op) && self.calls.fetch_add(1, Ordering::SeqCst) == self.at;
        if is_due { self.fault } else { Fault::Nothing }
    }
}

/// How often, of 10,000 calls that can have it, each fault comes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// [`Fault::Before`], of all calls.
    pub before: u64,
    /// [`Fault::After`], of calls that write.
    pub after: u64,
    /// [`Fault::Repeated`], of objects written by one request.
    pub repeated: u64,
    /// [`Fault::Dead`], of calls that write; before and after alike.
    pub dead: u64,
    /// [`Fault::Stale`] by 1 to 3 objects, of listings.
    pub stale: u64,
    /// [`Fault::Torn`], of listings and reads.
    pub torn: u64,
    /// [`Fault::Changed`], of reads below `unstable`.
    pub changed: u64,
    /// [`Fault::Gone`], of reads below `unstable`.
    pub gone: u64,
    /// [`Fault::Late`], up to 2 ms, of all calls.
    pub late: u64,
}

/// Faults drawn by a seed.
///
/// A draw depends on the seed, the call and how many like it there were, and on nothing else: calls that are made at once
/// may come in any order. Ids of 32 hexadecimal digits in paths play no part.
#[derive(Debug)]
pub struct Seeded {
    seed: u64,
    rates: Rates,
    /// Where objects may change.
    unstable: Path,
    seen: Mutex<HashMap<(Op, String), u64>>,
}

impl Seeded {
    /// Faults at such rates. Objects below `unstable` may change or vanish.
    pub fn new(seed: u64, rates: Rates, unstable: Path) -> Self {
        Self { seed, rates, unstable, seen: Mutex::default() }
    }
}

impl Schedule for Seeded {
    fn fault(&self, call: Call<'_>) -> Fault {
        let shape = shape(call.path.as_ref());
        let nth = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let count = seen.entry((call.op, shape.clone())).or_default();
            *count += 1;
            *count
        };
        let mut state = shape.bytes().fold(self.seed ^ (nth << 32) ^ call.op as u64, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut draw = |bound: u64| {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ mixed >> 31) % bound
        };
        let symptom = [Symptom::Reset, Symptom::SlowDown, Symptom::TimedOut][draw(3) as usize];
        let (landed, newest, late) = (draw(2) == 0, draw(3) as usize + 1, Duration::from_micros(draw(2000)));
        let is_read = call.op == Op::Get;
        let is_unstable = is_read && call.path.prefix_matches(&self.unstable);
        let rates = &self.rates;
        let possible = [
            (true, rates.before, Fault::Before(symptom)),
            (call.op.writes(), rates.after, Fault::After(symptom)),
            (call.op == Op::Put, rates.repeated, Fault::Repeated),
            (call.op.writes(), rates.dead, Fault::Dead { landed }),
            (call.op == Op::List, rates.stale, Fault::Stale(newest)),
            (call.op == Op::List || is_read, rates.torn, Fault::Torn),
            (is_unstable, rates.changed, Fault::Changed),
            (is_unstable, rates.gone, Fault::Gone),
            (true, rates.late, Fault::Late(late)),
        ];
        let mut drawn = draw(10_000);
        for (can, rate, fault) in possible {
            let rate = if can { rate } else { 0 };
            if drawn < rate {
                return fault;
            }
            drawn -= rate;
        }
        Fault::Nothing
    }
}

/// A path without the ids in it.
fn shape(path: &str) -> String {
    let is_id = |part: &str| part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let named = |name: &str| {
        let parts = name.split('-').map(|part| {
            let (stem, suffix) = part.split_at(part.find('.').unwrap_or(part.len()));
            if is_id(stem) { format!("*{suffix}") } else { part.to_owned() }
        });
        parts.collect::<Vec<_>>().join("-")
    };
    path.split('/').map(named).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_play_no_part_in_a_draw() {
        let id = "019a2b3c4d5e7f8091a2b3c4d5e6f708";
        assert_eq!(
            shape(&format!("lake/s/kind_part=a/{id}-00000-{id}.zstd.parquet")),
            "lake/s/kind_part=a/*-00000-*.zstd.parquet"
        );
        assert_eq!(shape(&format!("q/{id}.parquet")), "q/*.parquet");
        assert_eq!(
            shape("lake/s/_siltstone/ledger/0000000001abcdef-0.parquet"),
            "lake/s/_siltstone/ledger/0000000001abcdef-0.parquet"
        );
    }

    #[test]
    fn a_seed_gives_the_same_faults_in_any_order_of_calls() {
        let rates = Rates { before: 3000, after: 3000, ..Rates::default() };
        let paths: Vec<Path> = (0..50).map(|n| Path::from(format!("a/{n}"))).collect();
        let faults = |seed: u64, order: Vec<&Path>| {
            let schedule = Seeded::new(seed, rates, Path::ROOT);
            let mut faults: Vec<String> =
                order.iter().map(|path| format!("{path} {:?}", schedule.fault(Call { op: Op::Put, path }))).collect();
            faults.sort();
            faults
        };
        let forward = faults(1, paths.iter().collect());
        assert_eq!(forward, faults(1, paths.iter().rev().collect()));
        assert_ne!(forward, faults(2, paths.iter().collect()));
        assert!(
            forward.iter().any(|fault| fault.contains("After"))
                && forward.iter().any(|fault| fault.contains("Nothing"))
        );
    }
}
