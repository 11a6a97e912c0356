//! Decompression by first bytes, bounded in size and ratio.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::fetch::RawReader;

/// What bounds a raw object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Decompressed bytes of an object. Default 1 GiB.
    pub object_bytes: u64,
    /// Decompressed bytes for each stored byte, past 16 MiB. Default 200.
    pub ratio: u64,
    /// Bytes of one record. Default 64 MiB.
    pub record_bytes: usize,
}

/// The ratio is not looked at below this many decompressed bytes.
const RATIO_FLOOR_BYTES: u64 = 16 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self { object_bytes: 1 << 30, ratio: 200, record_bytes: 64 << 20 }
    }
}

/// Whether an object that begins with `head` is inflated.
pub fn is_compressed(head: &[u8]) -> bool {
    Compression::of(head) != Compression::None
}

/// How an object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Tells it by the first bytes of the object.
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The decompressed bytes of an object whose first bytes `head` were read from `rest` already.
    pub(super) fn reader(self, head: Vec<u8>, rest: RawReader) -> io::Result<RawReader> {
        let stored = BufReader::with_capacity(256 << 10, Cursor::new(head).chain(rest));
        Ok(match self {
            Self::None => Box::new(stored),
            Self::Gzip => Box::new(MultiGzDecoder::new(stored)),
            Self::Zstd => Box::new(zstd::Decoder::with_buffer(stored)?),
        })
    }
}

impl Limits {
    /// Whether an object of `stored` bytes may inflate to `inflated`.
    pub(super) fn allow(&self, stored: u64, inflated: u64) -> bool {
        inflated <= self.object_bytes
            && (inflated <= RATIO_FLOOR_BYTES || inflated <= stored.max(1).saturating_mul(self.ratio))
    }
}
