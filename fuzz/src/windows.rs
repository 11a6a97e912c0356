//! Raw objects in windows, as the slice worker feeds them to its decoder, and the books of that.

use crate::json::{DecodeOptions, Decoded, Decoder, EnvelopeReader, PADDING, Reason, Reject, Segment};

/// How objects are cut into windows, and how they end.
#[derive(Debug, Clone)]
pub struct Cut {
    /// How many new bytes each window gets, in turn.
    pub sizes: Vec<usize>,
    /// The end of an object is known with its last byte, and not only when nothing more can be read.
    pub known_length: bool,
    /// The last object cannot be read to its end.
    pub broken: bool,
    /// More bytes of an unfinished record than this make it lost.
    pub record_limit: usize,
}

impl Cut {
    /// All in one window.
    pub fn none() -> Self {
        Self { sizes: vec![usize::MAX], known_length: false, broken: false, record_limit: usize::MAX }
    }
}

/// What became of raw objects.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The rejects, continued ones joined to the first.
    pub rejects: Vec<Reject>,
    /// Rows and rejects of each object.
    pub counts: Vec<(u64, u64)>,
    /// Keys that stood before in the same object.
    pub duplicate_keys: u64,
}

impl Outcome {
    fn reject(&mut self, objects: &[&[u8]], reject: &Reject) {
        let object = objects[reject.object];
        let found = object.get(reject.offset as usize..).and_then(|rest| rest.get(..reject.bytes.len()));
        assert_eq!(found, Some(reject.bytes.as_slice()), "a reject holds the bytes at its offset");
        let range = reject.offset..=object.len() as u64;
        assert!(range.contains(&reject.fault_offset), "{} is not behind {range:?}", reject.fault_offset);
        if reject.continued {
            let first = self.rejects.last_mut().expect("a continued reject has one before it");
            assert_eq!((first.object, first.offset + first.bytes.len() as u64), (reject.object, reject.offset));
            first.bytes.extend_from_slice(&reject.bytes);
        } else {
            self.rejects.push(reject.clone());
        }
    }
}

/// Decodes `objects` window by window and shows each batch to `each`.
pub fn feed(
    decoder: &mut Decoder,
    options: &DecodeOptions,
    objects: &[&[u8]],
    cut: &Cut,
    mut each: impl FnMut(&mut Decoder, &Decoded),
) -> Outcome {
    let mut outcome = Outcome { counts: vec![(0, 0); objects.len()], ..Outcome::default() };
    let mut sizes = cut.sizes.iter().copied().cycle();
    let (mut object, mut read, mut carried) = (0, 0, Vec::new());
    while object < objects.len() {
        let mut room = sizes.next().unwrap_or(1).max(1);
        let (mut window, mut segments): (Vec<u8>, Vec<Segment>) = Default::default();
        let mut broken = false;
        while object < objects.len() && !broken {
            let bytes = objects[object];
            let (start, offset) = (window.len(), (read - carried.len()) as u64);
            let take = room.min(bytes.len() - read);
            window.append(&mut carried);
            window.extend_from_slice(&bytes[read..read + take]);
            (read, room) = (read + take, room - take);
            let end = window.len();
            let ended = read == bytes.len() && (room > 0 || cut.known_length);
            broken = ended && cut.broken && object + 1 == objects.len();
            let last = ended && !broken;
            window.resize(end + PADDING, 0);
            segments.push(Segment { object, start, end, offset, last });
            if !last {
                break;
            }
            (object, read) = (object + 1, 0);
        }
        if let Some(segment) = segments.last().filter(|segment| decoder.wants_envelope(segment)) {
            // From any cut of the object, as the decoder gets it.
            let mut reader = EnvelopeReader::new(options);
            read_envelope(&mut reader, objects[segment.object], cut);
            decoder.set_envelope(reader.finish());
        }
        let decoded = loop {
            let decoded = decoder.decode(&window, &segments);
            take_down(&mut outcome, objects, &decoded, &segments);
            each(decoder, &decoded);
            if decoded.rest.is_empty() {
                break decoded;
            }
            segments = decoded.rest;
        };
        let tail = segments[segments.len() - 1];
        let rest = &window[tail.start + decoded.used..tail.end];
        let reject = |reason, continued| {
            let offset = tail.offset + decoded.used as u64;
            let bytes = rest.to_vec();
            Reject { object: tail.object, reason, column: None, offset, fault_offset: offset, continued, bytes }
        };
        if tail.last {
            assert!(rest.is_empty(), "all of a finished object is used");
        } else if broken {
            let reject = reject(Reason::CorruptCompression, decoder.is_lost());
            outcome.counts[object].1 += u64::from(!reject.continued);
            outcome.reject(objects, &reject);
            decoder.close_object();
            object += 1;
        } else if rest.len() > cut.record_limit {
            outcome.counts[object].1 += 1;
            outcome.reject(objects, &reject(Reason::RecordTooLarge, false));
            decoder.lose();
        } else {
            carried = rest.to_vec();
        }
    }
    for (object, (_, rejected)) in outcome.counts.iter().enumerate() {
        let found = outcome.rejects.iter().filter(|reject| reject.object == object).count();
        assert_eq!(found as u64, *rejected, "what is counted as rejected is rejected");
    }
    outcome
}

/// Goes through an object for the members of its envelope.
fn read_envelope(reader: &mut EnvelopeReader, bytes: &[u8], cut: &Cut) {
    let (mut from, mut to) = (0, 0_usize);
    for size in cut.sizes.iter().cycle() {
        to = bytes.len().min(to.saturating_add((*size).max(1)));
        let last = to == bytes.len() && !cut.broken;
        let mut window = bytes[from..to].to_vec();
        window.resize(to - from + PADDING, 0);
        let used = reader.read(&window, last);
        if to == bytes.len() || to - from - used > cut.record_limit {
            return;
        }
        from += used;
    }
}

/// Adds what became of one window to the books.
fn take_down(outcome: &mut Outcome, objects: &[&[u8]], decoded: &Decoded, segments: &[Segment]) {
    assert_eq!(decoded.counts.len() + decoded.rest.len(), segments.len() + usize::from(!decoded.rest.is_empty()));
    for (segment, counts) in segments.iter().zip(&decoded.counts) {
        assert_eq!(counts.records, counts.rows + counts.rejected, "every value found is a row or a reject");
        let (rows, rejected) = &mut outcome.counts[segment.object];
        (*rows, *rejected) = (*rows + counts.rows, *rejected + counts.rejected);
    }
    assert_eq!(decoded.rows as u64, decoded.counts.iter().map(|counts| counts.rows).sum::<u64>());
    outcome.duplicate_keys += decoded.duplicate_keys;
    decoded.rejects.iter().for_each(|reject| outcome.reject(objects, reject));
}
