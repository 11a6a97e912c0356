//! Reading raw objects: plain blocking readers over any store, fetched ahead where a store is far away.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::listing::local_etag;
use super::object::RawObject;
use super::whole::WHOLE_OBJECT_BYTES;
use crate::error::Result;
use crate::store::Location;

/// Objects up to this size are fetched whole.
const FETCHED_WHOLE_BYTES: u64 = 4 << 20;
/// How many objects up to that size are fetched ahead of the reader.
const AHEAD: usize = 16;
/// One part in so many of a reader's memory may be an object that is inflated whole.
const WHOLE_SHARE: usize = 8;

/// The bytes of one raw object as they are stored.
pub type RawReader = Box<dyn Read + Send>;

/// Opens raw objects, one after another.
#[derive(Debug, Clone)]
pub struct Fetcher {
    kind: Kind,
    /// Large objects are inflated by threads of their own.
    pub(super) inflates_ahead: bool,
    /// Objects of gzip that take no more than this stored and inflated are inflated whole.
    pub(super) whole_bytes: usize,
}

#[derive(Clone)]
enum Kind {
    Local(PathBuf),
    Remote { store: Arc<dyn ObjectStore>, prefix: Path, runtime: Handle },
    Memory(Arc<BTreeMap<RawObject, Bytes>>),
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(root) => write!(f, "Local({})", root.display()),
            Self::Remote { prefix, .. } => write!(f, "Remote({prefix})"),
            Self::Memory(objects) => write!(f, "Memory({} objects)", objects.len()),
        }
    }
}

impl Fetcher {
    /// A fetcher for the objects of a source. `runtime` does the I/O of stores that are not local.
    ///
    /// # Errors
    /// When the location's path cannot be expressed in its store.
    pub fn new(source: &Location, runtime: &Handle) -> Result<Self> {
        let kind = match source.local() {
            Some(root) => Kind::Local(root.to_owned()),
            None => {
                Kind::Remote { store: Arc::clone(source.store()), prefix: source.prefix()?, runtime: runtime.clone() }
            }
        };
        Ok(Self { kind, inflates_ahead: false, whole_bytes: 0 })
    }

    /// A fetcher for objects that are at hand.
    pub fn of_memory(objects: BTreeMap<RawObject, Bytes>) -> Self {
        Self { kind: Kind::Memory(Arc::new(objects)), inflates_ahead: false, whole_bytes: 0 }
    }

    /// The same for who has more threads than work for them: large objects are inflated ahead, each by a thread of its own.
    #[must_use]
    pub fn inflating_ahead(self) -> Self {
        Self { inflates_ahead: true, ..self }
    }

    /// The same for who reads objects to their end, one after another, and has `memory_bytes` for all that it does: objects of gzip that
    /// take a small part of it are inflated whole.
    #[must_use]
    pub fn inflating_whole(self, memory_bytes: usize) -> Self {
        Self { whole_bytes: (memory_bytes / WHOLE_SHARE).min(WHOLE_OBJECT_BYTES), ..self }
    }

    /// Opens the objects in order. The reader fails with [`io::ErrorKind::StaleNetworkFileHandle`] when the object is
    /// no longer the one that was listed.
    ///
    /// Must not be called on a thread of the runtime.
    pub fn open_all<'a>(&self, objects: &'a [RawObject]) -> Box<dyn Iterator<Item = io::Result<RawReader>> + 'a> {
        match &self.kind {
            Kind::Local(root) => {
                let root = root.clone();
                Box::new(objects.iter().map(move |object| open_local(&root, object)))
            }
            Kind::Memory(held) => {
                let held = Arc::clone(held);
                Box::new(objects.iter().map(move |object| {
                    let bytes = held.get(object).cloned().ok_or(io::ErrorKind::NotFound)?;
                    Ok(Box::new(Cursor::new(bytes)) as RawReader)
                }))
            }
            Kind::Remote { store, prefix, runtime } => {
                let (sender, mut receiver) = mpsc::channel(1);
                let (ahead_store, ahead_prefix, owned) = (Arc::clone(store), prefix.clone(), objects.to_vec());
                runtime.spawn(async move {
                    let mut opened = futures::stream::iter(owned)
                        .map(|object| fetch_ahead(Arc::clone(&ahead_store), ahead_prefix.clone(), object))
                        .buffered(AHEAD);
                    while let Some(fetched) = opened.next().await {
                        if sender.send(fetched).await.is_err() {
                            return;
                        }
                    }
                });
                let (store, prefix, runtime) = (Arc::clone(store), prefix.clone(), runtime.clone());
                let mut objects = objects.iter();
                Box::new(std::iter::from_fn(move || {
                    let object = objects.next()?;
                    match receiver.blocking_recv()? {
                        Ok(Some(bytes)) => Some(Ok(Box::new(Cursor::new(bytes)) as RawReader)),
                        // A large one is opened when its turn has come: an open body that nobody reads times out.
                        Ok(None) => Some(runtime.block_on(open_stream(&store, &prefix, object, None))),
                        Err(error) => Some(Err(error)),
                    }
                }))
            }
        }
    }
}

impl Fetcher {
    /// Opens a range of an object's stored bytes. The reader fails as those of [`open_all`](Self::open_all) do.
    ///
    /// # Errors
    /// When the object cannot be opened. Must not be called on a thread of the runtime.
    pub fn open_range(&self, object: &RawObject, range: Range<u64>) -> io::Result<RawReader> {
        let length = range.end.saturating_sub(range.start);
        match &self.kind {
            Kind::Local(root) => {
                let mut file = open_file(root, object)?;
                file.seek(SeekFrom::Start(range.start))?;
                Ok(Box::new(file.take(length)))
            }
            Kind::Memory(held) => {
                let mut bytes = Cursor::new(held.get(object).cloned().ok_or(io::ErrorKind::NotFound)?);
                bytes.set_position(range.start);
                Ok(Box::new(bytes.take(length)))
            }
            Kind::Remote { .. } if length == 0 => Ok(Box::new(io::empty())),
            Kind::Remote { store, prefix, runtime } => {
                runtime.block_on(open_stream(store, prefix, object, Some(range)))
            }
        }
    }
}

/// An error of the store, which no decompressor may be blamed for.
#[derive(Debug)]
pub(super) struct StoreError(object_store::Error);

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for StoreError {}

pub(super) fn store_error(error: object_store::Error) -> io::Error {
    match error {
        object_store::Error::Precondition { .. } => changed(),
        error => io::Error::other(StoreError(error)),
    }
}

/// Whether an error came from the store and not from what was read.
pub(super) fn is_store_error(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>()).is_some()
}

/// Whether an object will not be read another time either: it is gone, is another by now, or is forbidden. Everything else
/// may pass: a store that fails, a broken connection.
pub fn is_lasting(error: &io::Error) -> bool {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    if let Some(StoreError(error)) = error.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>()) {
        return matches!(error, NotFound { .. } | PermissionDenied { .. } | Unauthenticated { .. });
    }
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::StaleNetworkFileHandle
    )
}

pub(super) fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::StaleNetworkFileHandle, "the object changed after it was listed")
}

fn open_local(root: &std::path::Path, object: &RawObject) -> io::Result<RawReader> {
    Ok(Box::new(open_file(root, object)?))
}

fn open_file(root: &std::path::Path, object: &RawObject) -> io::Result<File> {
    let file = File::open(root.join(&object.key))?;
    if local_etag(&file.metadata()?).to_string() != object.etag {
        return Err(changed());
    }
    Ok(file)
}

async fn get(
    store: &Arc<dyn ObjectStore>,
    prefix: &Path,
    object: &RawObject,
    range: Option<Range<u64>>,
) -> io::Result<GetResult> {
    let path = Path::parse(format!("{prefix}/{}", object.key)).map_err(io::Error::other)?;
    let range = range.map(GetRange::Bounded);
    let options = GetOptions { if_match: Some(object.etag.clone()), range, ..GetOptions::default() };
    store.get_opts(&path, options).await.map_err(store_error)
}

/// The bytes of a small object; `None` for a large one.
async fn fetch_ahead(store: Arc<dyn ObjectStore>, prefix: Path, object: RawObject) -> io::Result<Option<Bytes>> {
    if object.size_bytes > FETCHED_WHOLE_BYTES {
        return Ok(None);
    }
    if object.size_bytes == 0 {
        // Also the markers that consoles put for folders, which have a slash that the listing does not tell.
        return Ok(Some(Bytes::new()));
    }
    let found = get(&store, &prefix, &object, None).await?;
    found.bytes().await.map(Some).map_err(store_error)
}

async fn open_stream(
    store: &Arc<dyn ObjectStore>,
    prefix: &Path,
    object: &RawObject,
    range: Option<Range<u64>>,
) -> io::Result<RawReader> {
    let mut stream = get(store, prefix, object, range).await?.into_stream();
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Some(chunk) = stream.next().await {
            if sender.send(chunk.map_err(store_error)).await.is_err() {
                return;
            }
        }
    });
    Ok(Box::new(ChunkReader { receiver, chunk: Bytes::new() }))
}

/// Reads the chunks that a task receives.
struct ChunkReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}
