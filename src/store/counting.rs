//! A store that counts what is read through it: requests and bytes, as a store over HTTP would see them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// Counts, and leaves the rest to another store.
///
/// Ranges that are asked for together are joined where they lie close, as clients of stores over HTTP do; so what is
/// counted over local files is what would be asked of such a store.
#[derive(Debug)]
pub struct Counting {
    inner: Arc<dyn ObjectStore>,
    data: Counter,
    log: Counter,
}

#[derive(Debug, Default)]
struct Counter {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests for data: GET and HEAD.
    pub requests: u64,
    /// Bytes of data that these asked for.
    pub bytes: u64,
    /// Requests for the table's log and what else lies beside the data, listings among them.
    pub log_requests: u64,
    /// Bytes of these.
    pub log_bytes: u64,
}

impl Counting {
    /// Counts what is read of `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, data: Counter::default(), log: Counter::default() }
    }

    /// What was read since it was last asked.
    pub fn take(&self) -> Counted {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Counted {
            requests: take(&self.data.requests),
            bytes: take(&self.data.bytes),
            log_requests: take(&self.log.requests),
            log_bytes: take(&self.log.bytes),
        }
    }

    fn count(&self, at: Option<&Path>, bytes: u64) {
        let is_hidden = |part: &str| part == "_delta_log" || part == "_siltstone";
        let is_log = at.is_none_or(|at| at.parts().any(|part| is_hidden(part.as_ref())));
        let counter = if is_log { &self.log } else { &self.data };
        counter.requests.fetch_add(1, Ordering::Relaxed);
        counter.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, counted", self.inner)
    }
}

// Not `get_ranges`: as it is given, it joins ranges and then calls `get_opts`.
#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let result = self.inner.get_opts(at, options).await;
        let bytes = result.as_ref().map_or(0, |got| if is_head { 0 } else { got.range.end - got.range.start });
        self.count(Some(at), bytes);
        result
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count(None, 0);
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count(None, 0);
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.count(None, 0);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
