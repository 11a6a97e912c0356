//! Inflating in a thread of its own, ahead of who decodes.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::fetch::RawReader;

/// How much is inflated at a time, and how often before any of it was read.
const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_AHEAD: usize = 8;

/// Reads what a thread inflates. The thread ends with it.
pub(super) struct Ahead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    /// Chunks that were read, to be filled again.
    spare: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    read: usize,
}

impl Ahead {
    /// Starts a thread that reads `inflated`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn new(mut inflated: RawReader) -> io::Result<Self> {
        let (sender, chunks) = sync_channel(CHUNKS_AHEAD);
        let (spare, spares) = sync_channel::<Vec<u8>>(CHUNKS_AHEAD);
        thread::Builder::new().name("inflate".to_owned()).spawn(move || {
            loop {
                let chunk = fill(&mut inflated, spares.try_recv().unwrap_or_default());
                let is_last = chunk.as_ref().map_or(true, Vec::is_empty);
                if sender.send(chunk).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self { chunks, spare, chunk: Vec::new(), read: 0 })
    }
}

/// The next bytes of `inflated`, in `chunk`; none at the end.
fn fill(inflated: &mut RawReader, mut chunk: Vec<u8>) -> io::Result<Vec<u8>> {
    chunk.resize(CHUNK_BYTES, 0);
    loop {
        match inflated.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(length) => {
                chunk.truncate(length);
                return Ok(chunk);
            }
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.chunk.len() {
            // A thread that is gone has said why, or that it has come to the end.
            let Ok(chunk) = self.chunks.recv() else { return Ok(0) };
            let done = std::mem::replace(&mut self.chunk, chunk?);
            let _ = self.spare.try_send(done);
            self.read = 0;
        }
        let length = buffer.len().min(self.chunk.len() - self.read);
        buffer[..length].copy_from_slice(&self.chunk[self.read..self.read + length]);
        self.read += length;
        Ok(length)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;

    /// Bytes that come in pieces of odd lengths, then an error, if there is one.
    struct Pieces(Vec<u8>, Option<io::ErrorKind>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return self.1.map_or(Ok(0), |kind| Err(kind.into()));
            }
            let length = buffer.len().min(self.0.len()).min(77_777);
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0.drain(..length);
            Ok(length)
        }
    }

    #[test]
    fn all_bytes_come_in_their_order_and_then_the_error() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
        for kind in [None, Some(io::ErrorKind::InvalidData)] {
            let mut ahead = Ahead::new(Box::new(Pieces(bytes.clone(), kind))).unwrap();
            let mut read = Vec::new();
            let end = ahead.read_to_end(&mut read);
            assert_eq!(end.map_err(|error| error.kind()).err(), kind);
            assert!(read == bytes, "{} bytes", read.len());
        }
    }

    #[test]
    fn who_stops_reading_stops_the_thread() {
        struct Endless {
            _alive: Arc<()>,
        }
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
        }
        let alive = Arc::new(());
        let mut ahead = Ahead::new(Box::new(Endless { _alive: Arc::clone(&alive) })).unwrap();
        assert_eq!(ahead.read(&mut [0; 10]).unwrap(), 10);
        drop(ahead);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Arc::strong_count(&alive) > 1 {
            assert!(Instant::now() < deadline, "the thread is still there");
            thread::yield_now();
        }
    }
}
