//! What raw objects hold, without writing anything: the same decoding as that of a run, its rows dropped.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::json::{DecodeOptions, Decoder};
use crate::raw::{Ended, Feed, Fetcher, Limits, RawObject, decode_objects};
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
    observe_known(fetcher, objects, &Observation::default(), options, limits, threads)
}

/// The same, for a table that saw `known`: a contract holds for its columns.
///
/// # Errors
/// As those of [`observe`].
pub fn observe_known(
    fetcher: &Fetcher,
    objects: &[RawObject],
    known: &Observation,
    options: &DecodeOptions,
    limits: &Limits,
    threads: usize,
) -> Result<Observation> {
    let slices = super::make::cut(objects.to_vec(), threads.max(1));
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for slice in &slices {
            scope.spawn(|| {
                let seen = observe_slice(fetcher, slice, known, options, limits);
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
    known: &Observation,
    options: &DecodeOptions,
    limits: &Limits,
) -> Result<Observation> {
    let mut decoder = Decoder::new(options, known);
    let feed = Feed::new(fetcher, objects, limits.clone());
    match decode_objects(feed, options, &mut decoder, |_, _| ControlFlow::Continue(())) {
        Ended::All | Ended::Stopped => Ok(decoder.observe_with_objects(|object| objects[object].key.clone())),
        Ended::Unreadable { object, error } => {
            let key = objects.get(object).map_or("", |object| object.key.as_str());
            Err(Error::failed(format!("{key} could not be read"), error))
        }
    }
}
