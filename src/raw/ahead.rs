//! Inflating in a thread of its own, ahead of who decodes.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::feed::READ_BYTES;
use super::fetch::RawReader;
use crate::threads::hand_over;

/// How often [`READ_BYTES`] are inflated before any of it was read.
const CHUNKS_AHEAD: usize = 8;

/// Reads what a thread inflates. The thread ends with it.
pub(super) struct Ahead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    /// Chunks that were read, to be filled again.
    spare: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    read: usize,
    has_ended: bool,
}

impl Ahead {
    /// Starts a thread that reads `inflated`.
    ///
    /// # Errors
    /// Gives it back when there is no thread for it.
    pub(super) fn new(inflated: RawReader) -> Result<Self, RawReader> {
        let (sender, chunks) = sync_channel(CHUNKS_AHEAD);
        let (spare, spares) = sync_channel::<Vec<u8>>(CHUNKS_AHEAD);
        hand_over("inflate", inflated, move |mut inflated| {
            let mut before = 0;
            loop {
                let chunk = fill(&mut inflated, spares.try_recv().unwrap_or_default(), read_bytes(before));
                before += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                let is_last = chunk.as_ref().map_or(true, Vec::is_empty);
                if sender.send(chunk).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self { chunks, spare, chunk: Vec::new(), read: 0, has_ended: false })
    }
}

/// How much to inflate at once behind the first `before` bytes. Of a stream that is damaged, what comes before the fault depends
/// on how it is read; so all read alike.
pub(super) fn read_bytes(before: u64) -> usize {
    READ_BYTES - (before % READ_BYTES as u64) as usize
}

/// The next bytes of `inflated`, at most `length`, in `chunk`; none at the end.
fn fill(inflated: &mut RawReader, mut chunk: Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    chunk.resize(length, 0);
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
        if self.read == self.chunk.len() && !self.has_ended {
            // No fault of the object: it can be read another time.
            let died = |_| io::Error::new(io::ErrorKind::ConnectionAborted, "the thread that inflates has died");
            let chunk = self.chunks.recv().map_err(died)??;
            self.has_ended = chunk.is_empty();
            let done = std::mem::replace(&mut self.chunk, chunk);
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
            let mut ahead = Ahead::new(Box::new(Pieces(bytes.clone(), kind))).ok().unwrap();
            let mut read = Vec::new();
            let end = ahead.read_to_end(&mut read);
            assert_eq!(end.map_err(|error| error.kind()).err(), kind);
            assert!(read == bytes, "{} bytes", read.len());
        }
    }

    #[test]
    fn a_thread_that_dies_is_not_taken_for_the_end() {
        struct Dying;
        impl Read for Dying {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                std::panic::resume_unwind(Box::new("dying"))
            }
        }
        let mut ahead = Ahead::new(Box::new(Dying)).ok().unwrap();
        assert_eq!(ahead.read(&mut [0; 10]).unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
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
        let mut ahead = Ahead::new(Box::new(Endless { _alive: Arc::clone(&alive) })).ok().unwrap();
        assert_eq!(ahead.read(&mut [0; 10]).unwrap(), 10);
        drop(ahead);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Arc::strong_count(&alive) > 1 {
            assert!(Instant::now() < deadline, "the thread is still there");
            std::thread::yield_now();
        }
    }
}
