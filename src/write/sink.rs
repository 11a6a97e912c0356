//! Where the bytes of a data file go: one PUT for a small one, parts of a multipart upload for a large one.

use std::io::{self, Write};
use std::sync::Arc;

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload, PutPayloadMut};
use tokio::runtime::Handle;

/// The size of a part, and of the largest file that is stored by one request.
const PART_BYTES: usize = 8 << 20;

/// What is held is held in pieces of this size: one that grew would be copied, and leave as much again unused.
const PIECE_BYTES: usize = 128 << 10;

/// A blocking writer to an object, which is there only once [`finish`](Self::finish) returned.
///
/// Not for threads of the I/O runtime.
pub struct Sink {
    store: Arc<dyn ObjectStore>,
    path: Path,
    runtime: Handle,
    buffer: PutPayloadMut,
    upload: Option<Box<dyn MultipartUpload>>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sink({})", self.path)
    }
}

impl Sink {
    /// A writer to the object at `path`.
    pub fn new(store: &Arc<dyn ObjectStore>, path: Path, runtime: &Handle) -> Self {
        Self { store: Arc::clone(store), path, runtime: runtime.clone(), buffer: empty(), upload: None }
    }

    /// Bytes held in memory.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffer.content_length()
    }

    /// Stores what is still held and makes the object visible.
    ///
    /// # Errors
    /// When the store fails.
    pub fn finish(&mut self) -> io::Result<()> {
        let rest = self.take();
        let runtime = self.runtime.clone();
        match self.upload.take() {
            None => drop(runtime.block_on(self.store.put(&self.path, rest))?),
            Some(mut upload) => {
                let stored = runtime.block_on(async {
                    upload.put_part(rest).await?;
                    upload.complete().await.map(drop)
                });
                if stored.is_err() {
                    self.upload = Some(upload);
                }
                stored?;
            }
        }
        Ok(())
    }

    /// What is held, which no longer is then.
    fn take(&mut self) -> PutPayload {
        std::mem::replace(&mut self.buffer, empty()).freeze()
    }

    fn put_part(&mut self) -> io::Result<()> {
        let part = self.take();
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            let upload = match &mut self.upload {
                Some(upload) => upload,
                None => self.upload.insert(self.store.put_multipart(&self.path).await?),
            };
            upload.put_part(part).await
        })?;
        Ok(())
    }
}

fn empty() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(PIECE_BYTES)
}

/// What was not finished is taken back as far as possible; parts that stay are swept by the store's own rule.
impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            let _ = self.runtime.block_on(upload.abort());
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.content_length() >= PART_BYTES {
            self.put_part()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::store::faults::{AtCall, Fault, FaultStore, Op, Symptom};

    #[test]
    fn an_upload_that_fails_at_any_call_leaves_a_whole_object_or_none() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bytes: Vec<u8> = (0..2 * PART_BYTES + 1).map(|n| (n % 251) as u8).collect();
        let path = Path::from("a");
        for fault in [Fault::Before(Symptom::TimedOut), Fault::After(Symptom::Reset), Fault::Dead { landed: true }] {
            for at in 0.. {
                let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
                let schedule = Arc::new(AtCall::new(at, fault, Op::writes));
                let store: Arc<dyn ObjectStore> =
                    Arc::new(FaultStore::new(Arc::clone(&inner), Arc::clone(&schedule) as _));
                let mut sink = Sink::new(&store, path.clone(), runtime.handle());
                let ended = bytes.chunks(1 << 20).try_for_each(|chunk| sink.write_all(chunk));
                let ended = ended.and_then(|()| sink.finish());
                drop(sink);
                let stored = runtime.block_on(async { inner.get(&path).await?.bytes().await });
                assert!(stored.as_ref().map_or(true, |stored| *stored == bytes), "{fault:?} at {at}");
                assert!(ended.is_err() || stored.is_ok(), "{fault:?} at {at}");
                if schedule.calls() <= at {
                    // The upload is begun, three parts, and it is completed.
                    assert_eq!((at, ended.is_ok()), (5, true));
                    break;
                }
            }
        }
    }
}
