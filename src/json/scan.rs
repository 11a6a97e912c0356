//! The lowest level: finding the end of white space, strings, numbers and whole values in a buffer.
//!
//! A [`Window`] is a slice whose last [`PADDING`] bytes are zero and lie behind the data, so that blocks of bytes can
//! be loaded near its end. A zero byte ends every token, and only then is the position compared with the end.

/// How many zero bytes must follow the data of a window, and each of its segments.
pub const PADDING: usize = 64;

/// Why a value cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The value is not JSON (RFC 8259).
    Malformed,
    /// The data ends within the value.
    Truncated,
    /// Arrays and objects are nested deeper than the limit.
    TooDeep,
    /// A `\u` escape names half of a surrogate pair.
    LoneSurrogate,
    /// The bytes are not UTF-8.
    InvalidUtf8,
}

/// A fault and the position in the window where it was found: one number, so that a result with a position takes two
/// registers. In it, the fault has the lowest bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FaultAt(u64);

impl FaultAt {
    const FAULT_BITS: u32 = 3;

    pub(super) fn new(fault: Fault, at: usize) -> Self {
        Self((at as u64) << Self::FAULT_BITS | fault as u64)
    }

    /// What is wrong.
    pub(super) fn fault(self) -> Fault {
        let all = [Fault::Malformed, Fault::Truncated, Fault::TooDeep, Fault::LoneSurrogate, Fault::InvalidUtf8];
        let number = self.0 & ((1 << Self::FAULT_BITS) - 1);
        all.into_iter().find(|fault| *fault as u64 == number).unwrap_or(Fault::Malformed)
    }

    /// Position in the window.
    pub(super) fn at(self) -> usize {
        (self.0 >> Self::FAULT_BITS) as usize
    }
}

impl std::fmt::Debug for FaultAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {}", self.fault(), self.at())
    }
}

/// Data with [`PADDING`] zero bytes behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    padded: &'a [u8],
    end: usize,
}

impl<'a> Window<'a> {
    /// Takes a slice that ends in [`PADDING`] bytes that are not data; they must be zero.
    ///
    /// # Panics
    /// When the slice is shorter than the padding or the byte behind the data is not zero.
    pub(super) fn new(padded: &'a [u8]) -> Self {
        assert!(padded.len() >= PADDING, "a window needs its padding");
        let end = padded.len() - PADDING;
        assert!(padded[end] == 0, "the padding of a window is zero");
        Self { padded, end }
    }

    /// How many bytes of data there are.
    pub(super) fn len(&self) -> usize {
        self.end
    }

    /// The data.
    pub(super) fn data(&self) -> &'a [u8] {
        &self.padded[..self.end]
    }

    /// The byte at `at`; zero at the end.
    #[inline]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.padded[at]
    }

    /// Eight bytes from `at`, which must not be behind the end.
    #[inline]
    pub(super) fn eight(&self, at: usize) -> u64 {
        match self.padded[at..].first_chunk::<8>() {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => 0,
        }
    }

    #[inline]
    fn sixteen(&self, at: usize) -> [u8; 16] {
        self.padded[at..].first_chunk::<16>().copied().unwrap_or_default()
    }

    /// Whether the bytes from `at` on are `expected`.
    #[inline]
    pub(super) fn starts_with(&self, at: usize, expected: &[u8]) -> bool {
        self.padded.get(at..at + expected.len()).is_some_and(|bytes| equal(bytes, expected))
    }

    /// The bytes of a range.
    #[inline]
    pub(super) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        &self.padded[start..end]
    }

    /// The fault at `at`, or that the data ends there.
    #[cold]
    pub(super) fn fault(&self, at: usize) -> FaultAt {
        if at >= self.end { FaultAt::new(Fault::Truncated, self.end) } else { FaultAt::new(Fault::Malformed, at) }
    }

    /// The position of the first byte from `at` on that is not white space.
    #[inline]
    pub(super) fn skip_space(&self, mut at: usize) -> usize {
        // Compact JSON has none; pretty-printed JSON has a newline and a run of spaces.
        loop {
            match self.padded[at] {
                b' ' | b'\n' | b'\t' | b'\r' => at += 1,
                _ => return at,
            }
            if self.padded[at] == b' ' {
                at = self.skip_blanks(at);
            }
        }
    }

    #[inline]
    fn skip_blanks(&self, mut at: usize) -> usize {
        while at < self.end {
            let other = self.eight(at) ^ 0x2020_2020_2020_2020;
            if other != 0 {
                return at + (other.trailing_zeros() / 8) as usize;
            }
            at += 8;
        }
        at.min(self.end)
    }

    /// The position, from `at` on, of the first byte that ends a plain run of string bytes: a quote, a backslash or a
    /// control character (the zero behind the data is one).
    #[inline]
    pub(super) fn plain_end(&self, mut at: usize) -> usize {
        loop {
            let mask = special_mask(self.sixteen(at));
            if mask != 0 {
                return at + mask.trailing_zeros() as usize;
            }
            at += 16;
            if at >= self.end {
                return self.end;
            }
        }
    }

    /// The end (behind the closing quote) of the string whose opening quote is at `at`, and whether it has escapes.
    #[inline]
    pub(super) fn string_end(&self, at: usize) -> Result<(usize, bool), FaultAt> {
        let stop = self.plain_end(at + 1);
        if self.padded[stop] == b'"' {
            return Ok((stop + 1, false));
        }
        self.escaped_string_end(stop).map(|end| (end, true))
    }

    #[cold]
    fn escaped_string_end(&self, mut at: usize) -> Result<usize, FaultAt> {
        loop {
            match self.padded[at] {
                b'"' => return Ok(at + 1),
                b'\\' => match self.padded[at + 1] {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                    b'u' => at = self.unicode_escape(at)?.1,
                    _ => return Err(self.fault(at + 1)),
                },
                _ => return Err(self.fault(at)),
            }
            at = self.plain_end(at);
        }
    }

    /// The character that the `\u` escape at `at` names (with its low surrogate), and the position behind it.
    pub(super) fn unicode_escape(&self, at: usize) -> Result<(char, usize), FaultAt> {
        let high = self.hex4(at + 2)?;
        let lone = FaultAt::new(Fault::LoneSurrogate, at);
        if let Some(c) = char::from_u32(high) {
            return Ok((c, at + 6));
        }
        if high >= 0xdc00 {
            return Err(lone);
        }
        match (self.padded[at + 6], self.padded[at + 7]) {
            (b'\\', b'u') => {}
            (0, _) | (b'\\', 0) if at + 8 > self.end => return Err(self.fault(self.end)),
            _ => return Err(lone),
        }
        let low = self.hex4(at + 8)?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(lone);
        }
        let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        char::from_u32(code).map(|c| (c, at + 12)).ok_or(lone)
    }

    fn hex4(&self, at: usize) -> Result<u32, FaultAt> {
        let mut value = 0;
        for i in at..at + 4 {
            let digit = char::from(self.padded.get(i).copied().unwrap_or(0)).to_digit(16);
            value = value << 4 | digit.ok_or_else(|| self.fault(i.min(self.end)))?;
        }
        Ok(value)
    }

    /// The end of the number that begins at `at` (a digit or a minus), and whether it is an integer.
    #[inline]
    pub(super) fn number_end(&self, at: usize) -> Result<(usize, bool), FaultAt> {
        let mut end = at + usize::from(self.padded[at] == b'-');
        match self.padded[end] {
            b'0' => end += 1,
            b'1'..=b'9' => end = self.digits_end(end + 1),
            _ => return Err(self.fault(end)),
        }
        let mut integer = true;
        if self.padded[end] == b'.' {
            integer = false;
            end = self.some_digits_end(end + 1)?;
        }
        if matches!(self.padded[end], b'e' | b'E') {
            integer = false;
            end += 1 + usize::from(matches!(self.padded[end + 1], b'+' | b'-'));
            end = self.some_digits_end(end)?;
        }
        Ok((end, integer))
    }

    #[inline]
    pub(super) fn digits_end(&self, mut at: usize) -> usize {
        while self.padded[at].is_ascii_digit() {
            at += 1;
        }
        at
    }

    #[inline]
    fn some_digits_end(&self, at: usize) -> Result<usize, FaultAt> {
        match self.digits_end(at) {
            end if end == at => Err(self.fault(at)),
            end => Ok(end),
        }
    }

    /// The position behind the literal `true`, `false` or `null` at `at`.
    #[inline]
    pub(super) fn literal_end(&self, at: usize, literal: &[u8]) -> Result<usize, FaultAt> {
        if self.starts_with(at, literal) {
            return Ok(at + literal.len());
        }
        let wrong = literal.iter().enumerate().find(|(i, byte)| self.padded[at + i] != **byte);
        Err(self.fault((at + wrong.map_or(0, |(i, _)| i)).min(self.end)))
    }

    /// The end of the value that begins at `at`, which is checked against the grammar but not decoded.
    ///
    /// `depth` counts the arrays and objects around it; `max_depth` is the most there may be.
    ///
    /// # Errors
    /// The first fault. UTF-8 is not checked here.
    pub(super) fn value_end(&self, at: usize, depth: usize, max_depth: usize) -> Result<usize, FaultAt> {
        let mut open = Nesting::default();
        let mut at = at;
        loop {
            // A value begins here.
            match self.padded[at] {
                b'"' => at = self.string_end(at)?.0,
                b't' => at = self.literal_end(at, b"true")?,
                b'f' => at = self.literal_end(at, b"false")?,
                b'n' => at = self.literal_end(at, b"null")?,
                b'-' | b'0'..=b'9' => at = self.number_end(at)?.0,
                bracket @ (b'{' | b'[') => {
                    if depth + open.depth >= max_depth {
                        return Err(FaultAt::new(Fault::TooDeep, at));
                    }
                    let object = bracket == b'{';
                    let inside = self.skip_space(at + 1);
                    if self.padded[inside] == if object { b'}' } else { b']' } {
                        at = inside + 1;
                    } else {
                        open.push(object);
                        at = if object { self.behind_key(inside)? } else { inside };
                        continue;
                    }
                }
                _ => return Err(self.fault(at)),
            }
            // A value ended here: close what ends with it, or go to the next one.
            loop {
                let Some(object) = open.innermost() else { return Ok(at) };
                at = self.skip_space(at);
                match (self.padded[at], object) {
                    (b',', true) => {
                        at = self.behind_key(self.skip_space(at + 1))?;
                        break;
                    }
                    (b',', false) => {
                        at = self.skip_space(at + 1);
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        open.pop();
                        at += 1;
                    }
                    _ => return Err(self.fault(at)),
                }
            }
        }
    }

    /// The end of the value at `start`, which is checked against the grammar and for being UTF-8.
    pub(super) fn check(&self, start: usize, depth: usize, max_depth: usize) -> Result<usize, FaultAt> {
        let end = self.value_end(start, depth, max_depth)?;
        self.utf8(start, end)?;
        Ok(end)
    }

    /// Checks that the bytes between `start` and `end` are UTF-8.
    pub(super) fn utf8(&self, start: usize, end: usize) -> Result<(), FaultAt> {
        simdutf8::compat::from_utf8(self.slice(start, end))
            .map(drop)
            .map_err(|error| FaultAt::new(Fault::InvalidUtf8, start + error.valid_up_to()))
    }

    /// For the key whose opening quote is at `at`: the end of the key, and the start of its value.
    pub(super) fn key_end(&self, at: usize) -> Result<(usize, usize), FaultAt> {
        let end = self.name_end(at)?;
        self.behind_colon(end).map(|value| (end, value))
    }

    /// The start of the value of the key whose opening quote is at `at`.
    #[inline]
    fn behind_key(&self, at: usize) -> Result<usize, FaultAt> {
        self.behind_colon(self.name_end(at)?)
    }

    /// The end of the key whose opening quote is at `at`.
    #[inline]
    fn name_end(&self, at: usize) -> Result<usize, FaultAt> {
        if self.padded[at] != b'"' {
            return Err(self.fault(at));
        }
        Ok(self.string_end(at)?.0)
    }

    /// The start of the value of the key that ends at `end`.
    #[inline]
    fn behind_colon(&self, end: usize) -> Result<usize, FaultAt> {
        let colon = self.skip_space(end);
        if self.padded[colon] != b':' {
            return Err(self.fault(colon));
        }
        Ok(self.skip_space(colon + 1))
    }

    /// Whether the value at `at` is `null`, `{}` or `[]`.
    pub(super) fn holds_nothing(&self, at: usize) -> bool {
        let inside = || self.padded[self.skip_space(at + 1)];
        match self.padded[at] {
            b'n' => true,
            b'{' => inside() == b'}',
            b'[' => inside() == b']',
            _ => false,
        }
    }

    /// Appends the text of the string between `start` and `end` (its quotes), escapes resolved.
    pub(super) fn unescape(&self, start: usize, end: usize, out: &mut Vec<u8>) -> Result<(), FaultAt> {
        let (mut at, end) = (start + 1, end - 1);
        while at < end {
            let stop = self.plain_end(at).min(end);
            out.extend_from_slice(&self.padded[at..stop]);
            at = stop;
            if at >= end {
                break;
            }
            let plain = match self.padded[at + 1] {
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'u' => {
                    let (c, next) = self.unicode_escape(at)?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    at = next;
                    continue;
                }
                other => other,
            };
            out.push(plain);
            at += 2;
        }
        Ok(())
    }

    /// Appends the value between `start` and `end` without the white space between its tokens.
    pub(super) fn minify(&self, start: usize, end: usize, out: &mut Vec<u8>) {
        let mut at = start;
        while at < end {
            match self.padded[at] {
                b' ' | b'\n' | b'\t' | b'\r' => at = self.skip_space(at),
                b'"' => {
                    let stop = self.string_end(at).map_or(end, |(stop, _)| stop);
                    out.extend_from_slice(&self.padded[at..stop]);
                    at = stop;
                }
                byte => {
                    out.push(byte);
                    at += 1;
                }
            }
        }
    }
}

/// The arrays and objects that are open: one bit each, set for an object, the innermost lowest. Allocates past 64.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    inner: u64,
    outer: Vec<u64>,
}

impl Nesting {
    #[inline]
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(object);
        self.depth += 1;
    }

    #[inline]
    fn pop(&mut self) {
        self.depth -= 1;
        self.inner >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or_default();
        }
    }

    /// Whether the innermost is an object; `None` when nothing is open.
    #[inline]
    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.inner & 1 == 1)
    }
}

/// One bit for each byte that is a quote, a backslash or below 0x20.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(
    unsafe_code,
    reason = "raw count(*) over 290 MB of nested NDJSON, one thread: 0.49 s, 0.77 s with the portable loop below"
)]
fn special_mask(block: [u8; 16]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let value = u128::from_le_bytes(block);
    // SAFETY: SSE2 is part of every x86_64 target; the intrinsics work on values, not on memory.
    unsafe {
        let bytes = _mm_set_epi64x((value >> 64) as i64, value as i64);
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        // A byte is below 0x20 when the larger of it and 0x1f is 0x1f.
        let highest = _mm_set1_epi8(0x1f);
        let control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, highest), highest);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)) as u32
    }
}

/// One bit for each byte that is a quote, a backslash or below 0x20.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn special_mask(block: [u8; 16]) -> u32 {
    let mut mask = 0;
    for (i, byte) in block.into_iter().enumerate() {
        mask |= u32::from(byte == b'"' || byte == b'\\' || byte < 0x20) << i;
    }
    mask
}

/// Whether two texts of one length are the same. For keys: they are too short for a call to pay.
#[inline]
fn equal(a: &[u8], b: &[u8]) -> bool {
    debug_assert_eq!(a.len(), b.len());
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        // The last word may overlap the one before.
        (Some(a_last), Some(b_last)) => {
            let (a_words, b_words) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
            a_words.iter().zip(b_words).all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
                && u64::from_ne_bytes(*a_last) == u64::from_ne_bytes(*b_last)
        }
        _ => match (a.last_chunk::<4>(), b.last_chunk::<4>()) {
            (Some(a_last), Some(b_last)) => a.first_chunk::<4>() == b.first_chunk::<4>() && a_last == b_last,
            _ => a.iter().eq(b),
        },
    }
}
