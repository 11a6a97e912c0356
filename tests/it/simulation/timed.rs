//! A store in memory under a clock that is made up: what is written gets the time that it is in the history.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::DateTime;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// The store.
#[derive(Debug)]
pub(super) struct Timed {
    inner: InMemory,
    times: Arc<Times>,
}

/// When objects were written, in microseconds since 1970.
#[derive(Debug)]
struct Times {
    now: Arc<AtomicI64>,
    written: Mutex<HashMap<Path, i64>>,
}

impl Times {
    /// Notes that an object is written now. No two objects have the same time.
    fn note(&self, path: &Path) {
        let now = self.now.fetch_add(1_000, Ordering::SeqCst);
        self.written.lock().unwrap().insert(path.clone(), now);
    }

    fn set(&self, meta: &mut ObjectMeta) {
        if let Some(micros) = self.written.lock().unwrap().get(&meta.location) {
            meta.last_modified = DateTime::from_timestamp_micros(*micros).unwrap();
        }
    }
}

impl Timed {
    /// An empty store whose time is `now`, in microseconds since 1970.
    pub(super) fn new(now: Arc<AtomicI64>) -> Self {
        Self { inner: InMemory::new(), times: Arc::new(Times { now, written: Mutex::default() }) }
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Timed {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(at, payload, options).await?;
        self.times.note(at);
        Ok(put)
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(at, options).await?;
        Ok(Box::new(TimedUpload { upload, times: Arc::clone(&self.times), path: at.clone() }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let mut found = self.inner.get_opts(at, options).await?;
        self.times.set(&mut found.meta);
        Ok(found)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let times = Arc::clone(&self.times);
        self.inner
            .list(prefix)
            .map_ok(move |mut meta| {
                times.set(&mut meta);
                meta
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects.iter_mut().for_each(|meta| self.times.set(meta));
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.times.note(to);
        Ok(())
    }
}

/// An upload, whose object is written when it is complete.
#[derive(Debug)]
struct TimedUpload {
    upload: Box<dyn MultipartUpload>,
    times: Arc<Times>,
    path: Path,
}

#[async_trait]
impl MultipartUpload for TimedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.upload.complete().await?;
        self.times.note(&self.path);
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
