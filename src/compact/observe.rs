//! What raw objects hold, without writing anything: the same decoding as that of a run, its rows dropped.

use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::json::{DecodeOptions, Decoder};
use crate::raw::{Feed, Fetcher, Filled, Limits, RawObject};
use crate::schema::Observation;

/// Observes all records of `objects` on `threads` threads. Blocks. Objects that cannot be inflated are observed as far as
/// they can be.
///
/// # Errors
/// When an object cannot be read.
pub fn observe(
    fetcher: &Fetcher,
    objects: &[RawObject],
    options: &DecodeOptions,
    limits: &Limits,
    threads: usize,
) -> Result<Observation> {
    let slices = super::driver::cut(objects, threads.max(1));
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for slice in &slices {
            scope.spawn(|| {
                let seen = observe_slice(fetcher, slice, options, limits);
                results.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
            });
        }
    });
    let mut observed = Observation::default();
    for seen in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        observed.merge(&seen?);
    }
    Ok(observed)
}

fn observe_slice(
    fetcher: &Fetcher,
    objects: &[RawObject],
    options: &DecodeOptions,
    limits: &Limits,
) -> Result<Observation> {
    let mut decoder = Decoder::new(options, &Observation::default());
    let mut feed = Feed::new(fetcher, objects, limits.clone());
    loop {
        let filled = feed.fill();
        if let Filled::Unreadable { object, error } = filled {
            let key = objects.get(object).map_or("", |object| object.key.as_str());
            return Err(Error::new(ErrorKind::Failed, format!("{key} could not be read: {error}")));
        }
        if feed.segments.is_empty() {
            return Ok(decoder.observe());
        }
        let decoded = decoder.decode(&feed.window, &feed.segments);
        if let Filled::Broken { .. } = filled {
            decoder.close_object();
        } else if !feed.used(decoded.used) {
            decoder.lose();
            let all = feed.segments.last().map_or(0, |segment| segment.end - segment.start);
            let _ = feed.used(all);
        }
    }
}
