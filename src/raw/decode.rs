//! Decoding whole raw objects where only their good records matter: what compaction would quarantine is left out.

use std::io;
use std::ops::ControlFlow;

use super::feed::{Feed, Filled};
use crate::json::{DecodeOptions, Decoded, Decoder, Segment};

/// How [`decode_objects`] ended.
#[derive(Debug)]
pub enum Ended {
    /// All objects were decoded, as far as they can be.
    All,
    /// The visitor had seen enough.
    Stopped,
    /// An object could not be read.
    Unreadable {
        /// Its number.
        object: usize,
        /// Why.
        error: io::Error,
    },
}

/// Decodes batch after batch, with a decoder that was made with `options`, and shows each batch to `visit`.
pub fn decode_objects(
    feed: Feed<'_>,
    options: &DecodeOptions,
    decoder: &mut Decoder,
    mut visit: impl FnMut(&mut Decoder, &Decoded) -> ControlFlow<()>,
) -> Ended {
    decode_segments(feed, options, decoder, |decoder, decoded, _| visit(decoder, decoded))
}

/// The same, and shows which objects each batch is of.
pub fn decode_segments(
    mut feed: Feed<'_>,
    options: &DecodeOptions,
    decoder: &mut Decoder,
    mut visit: impl FnMut(&mut Decoder, &Decoded, &[Segment]) -> ControlFlow<()>,
) -> Ended {
    loop {
        let filled = feed.fill();
        if let Filled::Unreadable { object, error } = filled {
            return Ended::Unreadable { object, error };
        }
        if feed.segments.is_empty() {
            return Ended::All;
        }
        if let Err((object, error)) = feed.read_envelope(options, decoder) {
            return Ended::Unreadable { object, error };
        }
        let mut decoded = decoder.decode(&feed.window, &feed.segments);
        if visit(decoder, &decoded, &feed.segments).is_break() {
            return Ended::Stopped;
        }
        if feed.take_rest(std::mem::take(&mut decoded.rest), &filled) {
            continue;
        }
        if let Filled::Broken { .. } = filled {
            decoder.close_object();
        } else if !feed.used(decoded.used) {
            // A record larger than the limit: the rest of its object is passed over.
            decoder.lose();
            let all = feed.segments.last().map_or(0, |segment| segment.end - segment.start);
            let _ = feed.used(all);
        }
    }
}
