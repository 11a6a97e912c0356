//! From raw objects to the windows that the decoder takes: many small objects in one window, large ones in several.

use std::io::{self, Read};

use super::ahead::{Ahead, read_bytes};
use super::fetch::{Fetcher, RawReader, changed, is_store_error};
use super::inflate::{Compression, Limits};
use super::object::RawObject;
use super::whole::{Begun, Whole};
use crate::json::{DecodeOptions, Decoder, Envelope, EnvelopeReader, PADDING, Reason, Segment};

/// How many bytes a window holds, unless one record needs more.
pub const WINDOW_BYTES: usize = 2 << 20;
/// How much is read at once.
pub(super) const READ_BYTES: usize = 256 << 10;
/// Objects of fewer stored bytes are not worth a thread that inflates them.
const AHEAD_FROM_BYTES: u64 = 512 << 10;

/// Reads objects one after another into windows.
///
/// ```text
/// fill -> decode -> used(n) -> fill -> ... until a window has no segments
/// ```
pub struct Feed<'a> {
    fetcher: &'a Fetcher,
    objects: &'a [RawObject],
    readers: Box<dyn Iterator<Item = io::Result<RawReader>> + 'a>,
    whole: Whole,
    /// What an object may take that is inflated whole.
    whole_bytes: usize,
    limits: Limits,
    next: usize,
    open: Option<Open>,
    /// The window: segments with padding behind each; what stands behind the last means nothing.
    pub window: Vec<u8>,
    /// How much of it is in use.
    filled: usize,
    /// The parts of the window, in order.
    pub segments: Vec<Segment>,
    window_bytes: usize,
    /// What the next fill says, as the decoder left something of the window.
    again: Option<Filled>,
    /// The window was decoded in part.
    is_rest: bool,
    /// Decompressed bytes read so far.
    pub bytes_read: u64,
}

impl std::fmt::Debug for Feed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("next", &self.next).finish_non_exhaustive()
    }
}

/// The object that the last window did not end.
struct Open {
    object: usize,
    reader: RawReader,
    inflates: bool,
    /// It is read from what was inflated whole.
    is_whole: bool,
    /// The decompressed offset of the first byte that the decoder did not use.
    offset: u64,
    /// Bytes of it at the end of the window that the decoder did not use.
    carried: usize,
    /// Decompressed bytes read so far.
    read: u64,
}

/// What a fill came upon.
#[derive(Debug)]
pub enum Filled {
    /// The window is ready (without segments: nothing is left).
    Ready,
    /// The object of the last segment cannot be read further: what was decoded of it stays, the rest of it is one
    /// reject for this reason.
    Broken {
        /// Its number.
        object: usize,
        /// Why.
        reason: Reason,
    },
    /// The object could not be opened or read at all: it must be left for another run.
    Unreadable {
        /// Its number.
        object: usize,
        /// Why.
        error: io::Error,
    },
}

impl<'a> Feed<'a> {
    /// A feed of all `objects`, in order. Blocks while it reads; not for threads of the I/O runtime.
    pub fn new(fetcher: &'a Fetcher, objects: &'a [RawObject], limits: Limits) -> Self {
        Self {
            fetcher,
            objects,
            readers: fetcher.open_all(objects),
            whole: Whole::default(),
            whole_bytes: fetcher.whole_bytes,
            limits,
            next: 0,
            open: None,
            window: Vec::new(),
            filled: 0,
            segments: Vec::new(),
            window_bytes: WINDOW_BYTES,
            again: None,
            is_rest: false,
            bytes_read: 0,
        }
    }

    /// A feed with windows of about `window_bytes`.
    #[must_use]
    pub fn with_window_bytes(mut self, window_bytes: usize) -> Self {
        self.window_bytes = window_bytes.max(PADDING);
        self
    }

    /// Takes what the decoder left of the window, which was filled as `filled` says: the next fill gives it. Returns whether
    /// there is any; if not, the decoder is to be told of `filled`, and the feed of what was [`used`](Self::used).
    #[must_use]
    pub fn take_rest(&mut self, rest: Vec<Segment>, filled: &Filled) -> bool {
        if rest.is_empty() {
            return false;
        }
        self.segments = rest;
        self.again = Some(match filled {
            Filled::Broken { object, reason } => Filled::Broken { object: *object, reason: *reason },
            // What could not be read is known by now.
            Filled::Ready | Filled::Unreadable { .. } => Filled::Ready,
        });
        true
    }

    /// Tells how many bytes of the last segment the decoder used. Returns false when an unfinished object has a record
    /// larger than the limit: then the caller must take [`rest`](Self::rest) for rejected, lose it, and say so by
    /// calling `used` with the whole length.
    #[must_use]
    pub fn used(&mut self, used: usize) -> bool {
        let (Some(open), Some(segment)) = (&mut self.open, self.segments.last()) else { return true };
        let left = segment.end - segment.start - used;
        if left > self.limits.record_bytes {
            return false;
        }
        open.offset = segment.offset + used as u64;
        open.carried = left;
        true
    }

    /// Gives `decoder`, which was made with `options`, the members of the envelope of the last segment's object, when it
    /// wants them from behind this window. Blocks.
    ///
    /// # Errors
    /// When the object cannot be read again; its number is given, too.
    pub fn read_envelope(&self, options: &DecodeOptions, decoder: &mut Decoder) -> Result<(), (usize, io::Error)> {
        let mut last = self.segments.last().filter(|_| !self.is_rest);
        if let Some(segment) = last.take_if(|segment| decoder.wants_envelope(segment)) {
            let envelope = self.envelope(segment.object, options).map_err(|error| (segment.object, error))?;
            decoder.set_envelope(envelope);
        }
        Ok(())
    }

    /// Goes through an object for the members of its envelope, as far as it can be inflated.
    fn envelope(&self, object: usize, options: &DecodeOptions) -> io::Result<Envelope> {
        let objects = &self.objects[object..=object];
        let mut feed = Feed::new(self.fetcher, objects, self.limits.clone());
        feed.whole_bytes = 0;
        let mut reader = EnvelopeReader::new(options);
        loop {
            let filled = feed.fill();
            if let Filled::Unreadable { error, .. } = filled {
                return Err(error);
            }
            let Some(segment) = feed.segments.last().copied() else { return Ok(reader.finish()) };
            let used = reader.read(&feed.window[segment.start..segment.end + PADDING], segment.last);
            // What follows a record larger than the limit is not decoded either.
            if segment.last || matches!(filled, Filled::Broken { .. }) || !feed.used(used) {
                return Ok(reader.finish());
            }
        }
    }

    /// What it holds in memory.
    pub fn held_bytes(&self) -> usize {
        self.window.capacity() + self.whole.held_bytes()
    }

    /// The bytes of the last segment from `used` on.
    pub fn rest(&self, used: usize) -> &[u8] {
        self.segments.last().map_or(&[], |segment| &self.window[segment.start + used..segment.end])
    }

    /// Makes the next window, or gives what is left of the last.
    pub fn fill(&mut self) -> Filled {
        self.is_rest = self.again.is_some();
        if let Some(filled) = self.again.take() {
            return filled;
        }
        let carried = self.carry();
        self.segments.clear();
        // A record that filled the last window needs a larger one.
        let target = self.window_bytes.max(2 * carried);
        if self.window.capacity() < target && self.has_much(target) {
            // At once: what grows step by step is copied, and touches new memory, with each.
            self.window.reserve_exact(target + READ_BYTES + PADDING - self.window.len());
        }
        if let Some(mut open) = self.open.take() {
            let start = 0;
            match self.read_on(&mut open, start, target) {
                Ok(last) => {
                    let offset = open.offset;
                    self.push(open.object, start, offset, last);
                    if !last {
                        self.open = Some(open);
                        return Filled::Ready;
                    }
                }
                Err(stop) => return self.stop(&open, start, stop),
            }
        }
        while self.filled < target {
            if self.next == self.objects.len() {
                break;
            }
            let object = self.next;
            self.next += 1;
            let ended = || io::Error::other("the fetching of objects ended early");
            let reader = match self.readers.next().unwrap_or_else(|| Err(ended())) {
                Ok(reader) => reader,
                Err(error) => return Filled::Unreadable { object, error },
            };
            let start = self.filled;
            let mut open = Open { object, reader, inflates: false, is_whole: false, offset: 0, carried: 0, read: 0 };
            match self.begin(&mut open, target).and_then(|()| self.read_on(&mut open, start, target)) {
                Ok(last) => {
                    self.push(object, start, 0, last);
                    if !last {
                        self.open = Some(open);
                        break;
                    }
                }
                Err(stop) => return self.stop(&open, start, stop),
            }
        }
        Filled::Ready
    }

    /// Whether the objects that are left will probably fill a window of `target` bytes.
    fn has_much(&self, target: usize) -> bool {
        let mut bytes = 0;
        self.open.is_some()
            || self.objects[self.next..].iter().any(|object| {
                bytes += object.size_bytes;
                bytes * 4 >= target as u64
            })
    }

    /// Moves what was not used to the start of the window and returns its length.
    fn carry(&mut self) -> usize {
        let carried = self.open.as_ref().map_or(0, |open| open.carried);
        let end = self.segments.last().map_or(0, |segment| segment.end);
        self.window.copy_within(end - carried..end, 0);
        self.filled = carried;
        carried
    }

    fn push(&mut self, object: usize, start: usize, offset: u64, last: bool) {
        let end = self.filled;
        self.segments.push(Segment { object, start, end, offset, last });
        self.room(PADDING).fill(0);
        self.filled += PADDING;
    }

    /// The next `length` bytes of the window.
    fn room(&mut self, length: usize) -> &mut [u8] {
        let end = self.filled + length;
        if self.window.len() < end {
            self.window.resize(end, 0);
        }
        &mut self.window[self.filled..end]
    }

    fn stop(&mut self, open: &Open, start: usize, stop: Stop) -> Filled {
        let object = open.object;
        match stop {
            Stop::Reject(reason) => {
                self.push(object, start, open.offset, false);
                Filled::Broken { object, reason }
            }
            Stop::Io(error) => Filled::Unreadable { object, error },
        }
    }

    /// Reads the first bytes of an object and sets its decompression up.
    fn begin(&mut self, open: &mut Open, target: usize) -> Result<(), Stop> {
        let start = self.filled;
        let size = self.objects[open.object].size_bytes;
        let first = usize::try_from(size).unwrap_or(READ_BYTES).clamp(4, READ_BYTES.min(target));
        while self.filled - start < 4 {
            if self.read_some(open, first)? == 0 {
                break;
            }
        }
        let head = &self.window[start.min(self.window.len())..self.filled];
        let compression = Compression::of(head);
        if compression != Compression::None {
            let mut head = head.to_vec();
            self.filled = start;
            self.bytes_read -= head.len() as u64;
            open.read = 0;
            open.inflates = true;
            let is_ahead = self.fetcher.inflates_ahead && size >= AHEAD_FROM_BYTES;
            if compression == Compression::Gzip && !is_ahead {
                let (limits, room) = (&self.limits, self.whole_bytes);
                let begun = self.whole.begin(head, &mut open.reader, size, room, |bytes| limits.allow(size, bytes));
                match begun.map_err(Stop::Io)? {
                    Begun::Inflated => {
                        open.is_whole = true;
                        return Ok(());
                    }
                    Begun::Stored(stored) => head = stored,
                }
            }
            let stored = std::mem::replace(&mut open.reader, Box::new(io::empty()));
            let inflated = compression.reader(head, stored).map_err(Stop::Io)?;
            open.reader = match is_ahead {
                true => Ahead::new(inflated).map_or_else(|inflated| inflated, |ahead| Box::new(ahead)),
                false => inflated,
            };
        }
        Ok(())
    }

    /// Reads until the object ends (true) or the window is full.
    fn read_on(&mut self, open: &mut Open, start: usize, target: usize) -> Result<bool, Stop> {
        let object = &self.objects[open.object];
        let stored = object.size_bytes;
        loop {
            if !self.limits.allow(stored, open.read) {
                return Err(Stop::Reject(Reason::ObjectTooLarge));
            }
            // A plain object ends where its listed size does; one read more proves it, but costs a call for each.
            if !open.inflates && open.read >= stored {
                return Ok(true);
            }
            if self.filled >= target.max(start + 1) {
                return Ok(false);
            }
            let length = match open.inflates {
                // The same steps wherever the window ends: what is kept of an object that cannot be read to its end follows from
                // the object alone.
                true => read_bytes(open.read),
                false => (stored - open.read).min((target - self.filled).max(1) as u64) as usize,
            };
            if self.read_some(open, length)? == 0 {
                // A plain object that is shorter than it was listed is another one by now.
                return if open.inflates { Ok(true) } else { Err(Stop::Io(changed())) };
            }
        }
    }

    fn read_some(&mut self, open: &mut Open, wish: usize) -> Result<usize, Stop> {
        self.room(wish);
        let room = &mut self.window[self.filled..self.filled + wish];
        let read = loop {
            match if open.is_whole { self.whole.read(room) } else { open.reader.read(room) } {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(read) => {
                self.filled += read;
                open.read += read as u64;
                self.bytes_read += read as u64;
                Ok(read)
            }
            Err(error) if open.inflates && is_corruption(&error) => Err(Stop::Reject(Reason::CorruptCompression)),
            Err(error) => Err(Stop::Io(error)),
        }
    }
}

/// Whether the decompressor, not the store, found a fault.
fn is_corruption(error: &io::Error) -> bool {
    !is_store_error(error) && is_decompressor_error(error)
}

fn is_decompressor_error(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        || error.kind() == io::ErrorKind::Other && error.raw_os_error().is_none()
}

enum Stop {
    Reject(Reason),
    Io(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::fetch::store_error;

    /// A gzip member whose store fails in the middle of it.
    struct Failing<'a>(&'a [u8]);

    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                let source = io::Error::other("connection reset").into();
                return Err(store_error(object_store::Error::Generic { store: "S3", source }));
            }
            self.0.read(buffer)
        }
    }

    fn inflate_error(reader: impl Read + Send + 'static) -> io::Error {
        let mut inflated = Vec::new();
        let reader = Compression::Gzip.reader(Vec::new(), Box::new(reader));
        reader
            .and_then(|mut reader| reader.read_to_end(&mut inflated))
            .err()
            .unwrap_or_else(|| io::Error::other("none"))
    }

    #[test]
    fn a_store_that_fails_within_a_compressed_object_is_not_taken_for_corruption() {
        // The first bytes of a member: header, then the begin of a stored block of 1,000 bytes.
        let head: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0xe8, 0x03, 0x17, 0xfc, b'a', b'b'];
        assert!(is_corruption(&inflate_error(head)), "the member is cut off");
        assert!(!is_corruption(&inflate_error(Failing(head))), "the store failed");
    }

    /// All that a feed reads of one object, and how that ends.
    fn read(fetcher: &Fetcher, object: &RawObject, limits: &Limits) -> (Vec<u8>, Option<Reason>) {
        let objects = std::slice::from_ref(object);
        let mut feed = Feed::new(fetcher, objects, limits.clone());
        let mut bytes = Vec::new();
        loop {
            let filled = feed.fill();
            let Some(segment) = feed.segments.last().copied() else { return (bytes, None) };
            bytes.extend_from_slice(&feed.window[segment.start..segment.end]);
            if let Filled::Broken { reason, .. } = filled {
                return (bytes, Some(reason));
            }
            assert!(feed.used(segment.end - segment.start));
        }
    }

    #[test]
    fn what_is_read_of_an_object_does_not_depend_on_how_it_is_inflated() {
        use std::io::Write as _;
        let text = |length: usize| -> Vec<u8> { (0..length).map(|n| b'a' + (n / 900 % 7) as u8).collect() };
        let gzip = |text: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text).and_then(|()| encoder.finish()).unwrap_or_default()
        };
        let sound = gzip(&text(3 << 20));
        let large = gzip(&text(20 << 20));
        let small = Limits { object_bytes: 1 << 20, ..Limits::default() };
        for (what, object, limits, expected) in [
            ("sound", sound.clone(), Limits::default(), None),
            ("two members", sound.repeat(2), Limits::default(), None),
            ("cut off", sound[..sound.len() / 2].to_vec(), Limits::default(), Some(Reason::CorruptCompression)),
            ("over the bytes of an object", sound, small, Some(Reason::ObjectTooLarge)),
            ("over the ratio", large, Limits::default(), Some(Reason::ObjectTooLarge)),
        ] {
            let key = RawObject { key: "a".to_owned(), etag: "e".to_owned(), size_bytes: object.len() as u64 };
            let fetcher = Fetcher::of_memory([(key.clone(), object.into())].into());
            let streamed = read(&fetcher, &key, &limits);
            let whole = read(&fetcher.inflating_whole(1 << 30), &key, &limits);
            assert_eq!(whole.1, expected, "{what}");
            assert!(whole == streamed && !whole.0.is_empty(), "{what}: {} of {}", whole.0.len(), streamed.0.len());
        }
    }
}
