//! A part of a large raw object of lines: windows of the values whose lines begin in a range of its bytes.
//!
//! ```text
//!  ...}\n{...}\n{.. | ..}\n{...}\n{...}\n{. | ..}\n{...
//!                   a '------ this part ------b--'
//! ```
//!
//! Where lines do not hold values, the parts are no parts: whoever reads the first of them finds that, and reads on to the end.

use std::io;
use std::ops::Range;

use super::feed::WINDOW_BYTES;
use super::fetch::{Fetcher, RawReader, changed};
use super::inflate::is_compressed;
use super::object::RawObject;
use crate::json::{PADDING, Segment};

/// How much is read at once to find a line.
const LOOK_BYTES: usize = 64 << 10;

/// Reads one part of an object into windows.
///
/// ```text
/// fill -> decode -> used(n) -> fill -> ... until it gives none; read_on: what is behind the part, too
/// ```
pub struct Lines {
    reader: RawReader,
    /// Stored bytes of the object.
    size: u64,
    /// The part ends with the line that reaches to this byte; `None`: with the object.
    end: Option<u64>,
    /// The offset of the first byte of the window.
    offset: u64,
    /// The window, with padding behind it.
    pub window: Vec<u8>,
    /// The bytes in use.
    filled: usize,
    /// What was read behind the part.
    behind: Vec<u8>,
    /// All of the part was read.
    ended: bool,
    window_bytes: usize,
    /// Bytes read so far.
    pub bytes_read: u64,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("offset", &self.offset).field("end", &self.end).finish_non_exhaustive()
    }
}

/// Whether an object is plain and begins with an object: it may be lines of values. Blocks.
///
/// # Errors
/// When it cannot be read.
pub fn may_be_lines(fetcher: &Fetcher, object: &RawObject) -> io::Result<bool> {
    let mut head = [0; 256];
    let mut reader = fetcher.open_range(object, 0..object.size_bytes.min(head.len() as u64))?;
    let mut length = 0;
    while length < head.len() {
        match reader.read(&mut head[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let head = &head[..length];
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    Ok(!is_compressed(head) && text.trim_ascii_start().starts_with(b"{"))
}

impl Lines {
    /// The lines of a plain object that begin in `range` of its bytes; `None` when none is found there. Blocks.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(fetcher: &Fetcher, object: &RawObject, range: Range<u64>) -> io::Result<Option<Self>> {
        // The byte before tells whether a line begins right there.
        let first = range.start.saturating_sub(1);
        let mut lines = Self {
            reader: fetcher.open_range(object, first..object.size_bytes)?,
            size: object.size_bytes,
            end: (range.end < object.size_bytes).then_some(range.end),
            offset: first,
            window: Vec::new(),
            filled: 0,
            behind: Vec::new(),
            ended: false,
            window_bytes: WINDOW_BYTES,
            bytes_read: 0,
        };
        if range.start == 0 {
            return Ok(Some(lines));
        }
        let mut looked = 0;
        while lines.offset + (looked as u64) < range.end {
            if lines.read_some(LOOK_BYTES)? == 0 {
                return Ok(None);
            }
            if let Some(at) = memchr::memchr(b'\n', &lines.window[looked..lines.filled]) {
                lines.used(looked + at + 1);
                // The next line may belong to the part behind.
                return Ok((lines.offset < range.end).then_some(lines));
            }
            looked = lines.filled;
        }
        Ok(None)
    }

    /// Has windows of about so many bytes.
    #[must_use]
    pub fn with_window_bytes(mut self, window_bytes: usize) -> Self {
        self.window_bytes = window_bytes.max(1);
        self
    }

    /// Makes the next window, of one segment; `None` behind the last.
    ///
    /// # Errors
    /// When the object cannot be read.
    pub fn fill(&mut self) -> io::Result<Option<Segment>> {
        if self.ended {
            return Ok(None);
        }
        // A record that filled the last window needs a larger one.
        let target = self.window_bytes.max(2 * self.filled);
        loop {
            if let Some(end) = self.find_end() {
                self.behind = self.window[end..self.filled].to_vec();
                (self.filled, self.ended) = (end, true);
                break;
            }
            let read_to = self.offset + self.filled as u64;
            if read_to >= self.size {
                self.ended = true;
                break;
            }
            if self.filled >= target {
                break;
            }
            let to_end = self.end.map_or(self.size, |end| end.saturating_sub(read_to).max(LOOK_BYTES as u64));
            let left = usize::try_from(to_end.min(self.size - read_to)).unwrap_or(usize::MAX);
            if self.read_some((target - self.filled).min(left))? == 0 {
                return Err(changed());
            }
        }
        self.window.resize(self.window.len().max(self.filled + PADDING), 0);
        self.window[self.filled..self.filled + PADDING].fill(0);
        let last = self.offset + self.filled as u64 >= self.size;
        Ok(Some(Segment { object: 0, start: 0, end: self.filled, offset: self.offset, last }))
    }

    /// Where the part ends in the window, when that was read.
    fn find_end(&self) -> Option<usize> {
        let end = self.end?;
        if self.offset + (self.filled as u64) < end {
            return None;
        }
        // A line that begins at the end belongs to the next part.
        let from = usize::try_from(end.saturating_sub(1).max(self.offset) - self.offset).ok()?;
        memchr::memchr(b'\n', &self.window[from..self.filled]).map(|line| from + line + 1)
    }

    /// Whether the last window ended the part.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Tells how many bytes of the window the decoder used. The others stand at the begin of the next; returns their number.
    pub fn used(&mut self, used: usize) -> usize {
        self.window.copy_within(used..self.filled, 0);
        self.filled -= used;
        self.offset += used as u64;
        self.filled
    }

    /// Has what is behind the part read, too.
    pub fn read_on(&mut self) {
        self.end = None;
        self.ended = false;
        self.window.truncate(self.filled);
        self.window.append(&mut self.behind);
        self.filled = self.window.len();
    }

    fn read_some(&mut self, wish: usize) -> io::Result<usize> {
        let end = self.filled + wish;
        self.window.resize(self.window.len().max(end), 0);
        let read = loop {
            match self.reader.read(&mut self.window[self.filled..end]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.filled += read;
        self.bytes_read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use std::collections::BTreeMap;

    use object_store::ObjectStoreExt as _;
    use proptest::prelude::*;

    use super::*;
    use crate::store::Location;

    #[test]
    fn parts_of_objects_of_a_store_are_read_by_their_ranges() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let source = Location::parse("memory:///raw/s").unwrap();
        let text: String = (0..50_000).map(|id| format!("{{\"id\":{id}}}\n")).collect();
        let path = source.child("a.json").unwrap();
        let put = runtime.block_on(source.store().put(&path, text.clone().into())).unwrap();
        let (key, etag) = ("a.json".to_owned(), put.e_tag.unwrap());
        let object = RawObject { key, etag, size_bytes: text.len() as u64 };
        let fetcher = Fetcher::new(&source, runtime.handle()).unwrap();
        assert!(may_be_lines(&fetcher, &object).unwrap());
        let (mut read, middle) = (String::new(), object.size_bytes / 2);
        for range in [0..middle, middle..object.size_bytes] {
            let mut lines = Lines::open(&fetcher, &object, range).unwrap().unwrap();
            while let Some(segment) = lines.fill().unwrap() {
                read.push_str(std::str::from_utf8(&lines.window[..segment.end]).unwrap());
                lines.used(segment.end);
            }
        }
        assert_eq!(read, text);
        let other = RawObject { etag: "other".to_owned(), ..object };
        let error = may_be_lines(&fetcher, &other).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StaleNetworkFileHandle);
    }

    proptest! {
        #[test]
        fn each_line_is_in_one_part(
            text in "[ab\n]{1,60}",
            cuts in prop::collection::vec(0..60_u64, 0..4),
            window_bytes in 1..20_usize,
        ) {
            let size = text.len() as u64;
            let object = RawObject { key: "k".to_owned(), etag: "e".to_owned(), size_bytes: size };
            let held = BTreeMap::from([(object.clone(), text.clone().into_bytes().into())]);
            let fetcher = Fetcher::of_memory(held);
            let mut cuts: Vec<u64> = cuts.into_iter().filter(|cut| *cut < size).chain([0, size]).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let mut read = Vec::new();
            for pair in cuts.windows(2) {
                let Some(lines) = Lines::open(&fetcher, &object, pair[0]..pair[1]).unwrap() else { continue };
                let mut lines = lines.with_window_bytes(window_bytes);
                prop_assert_eq!(lines.offset, read.len() as u64);
                while let Some(segment) = lines.fill().unwrap() {
                    prop_assert_eq!(segment.offset, read.len() as u64);
                    prop_assert!(lines.window[segment.end..segment.end + PADDING].iter().all(|byte| *byte == 0));
                    // As a decoder that leaves the begun line for the next window.
                    let whole = lines.window[..segment.end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                    let used = if segment.last { segment.end } else { whole };
                    read.extend_from_slice(&lines.window[..used]);
                    lines.used(used);
                }
                let ends_with_line = read.last() == Some(&b'\n') || read.len() == text.len();
                prop_assert!(ends_with_line);
            }
            prop_assert_eq!(read, text.clone().into_bytes());
            // Reading on from the first part gives all.
            let mut lines = Lines::open(&fetcher, &object, cuts[0]..cuts[1]).unwrap().unwrap();
            let mut read = Vec::new();
            loop {
                while let Some(segment) = lines.fill().unwrap() {
                    read.extend_from_slice(&lines.window[..segment.end]);
                    lines.used(segment.end);
                }
                if lines.end.is_none() {
                    break;
                }
                lines.read_on();
            }
            prop_assert_eq!(read, text.into_bytes());
        }
    }
}
