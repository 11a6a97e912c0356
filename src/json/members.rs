//! The members of an envelope that its records get: found before the records are decoded, as they may stand behind them.

use std::sync::Arc;

use super::decoder::DecodeOptions;
use super::frame::{Framer, Step};
use super::scan::{Fault, PADDING, Window};

/// The values of the wanted members of one object's envelope, each as JSON text with padding.
#[derive(Debug, Clone, Default)]
pub struct Envelope(pub(super) Arc<[Option<Vec<u8>>]>);

/// Goes through a raw object for the members of its envelope, window by window, without decoding its records.
#[derive(Debug)]
pub struct EnvelopeReader {
    pub(super) framer: Framer,
}

impl EnvelopeReader {
    /// A reader of one object.
    pub fn new(options: &DecodeOptions) -> Self {
        let framer = Framer::new(options.records_path.clone().into(), options.max_depth);
        Self { framer: framer.with_members(&options.envelope_fields.clone().into()) }
    }

    /// Goes through the window `bytes`, which end in [`PADDING`] zero bytes; `last`: nothing follows. Returns how many bytes
    /// were used: the rest must stand at the begin of the next window. What is no JSON ends the search.
    ///
    /// # Panics
    /// When the padding is missing.
    pub fn read(&mut self, bytes: &[u8], last: bool) -> usize {
        let window = Window::new(bytes);
        let mut at = if window.starts_with(0, b"\xef\xbb\xbf") { 3 } else { 0 };
        loop {
            let (start, end) = match self.framer.next(&window, at, last) {
                Step::Record(start) => match window.value_end(start, 0, usize::MAX) {
                    Ok(end) => (start, end),
                    Err(fault) if fault.fault() == Fault::Truncated && !last => return start,
                    Err(_) => return self.stop(window.len()),
                },
                Step::NotAnObject(start, end) | Step::EnvelopeMissing(start, end) => (start, end),
                Step::Incomplete(from) => return from,
                Step::End => return window.len(),
                Step::Faulty(..) | Step::Lost(_) => return self.stop(window.len()),
            };
            self.framer.passed(&window, start, end);
            at = end;
        }
    }

    fn stop(&mut self, end: usize) -> usize {
        self.framer.lose();
        end
    }

    /// What was found.
    pub fn finish(self) -> Envelope {
        let pad = |mut text: Vec<u8>| {
            text.resize(text.len() + PADDING, 0);
            text
        };
        Envelope(self.framer.into_members().into_iter().map(|text| text.map(pad)).collect())
    }
}
