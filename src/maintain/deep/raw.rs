//! What raw objects give today: the same decoding as that of a run, into the columns that the table has.

use arrow::array::RecordBatch;

use super::Subject;
use crate::compact::with_provenance;
use crate::error::{Error, Result};
use crate::json::{Decoder, FinishError};
use crate::lake::Entry;
use crate::raw::{Feed, Filled, RawObject, is_lasting};

/// What became of one raw object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reread {
    /// Rows that it gives.
    pub rows: u64,
    /// The sum of their fingerprints.
    pub sum: u64,
    /// Why it could not be read; then the others mean nothing.
    pub unread: Option<String>,
    /// It may be read another time.
    pub is_passing: bool,
    /// It holds values that no run has seen.
    pub is_strange: bool,
}

impl Subject<'_> {
    /// Decodes the objects of `entries` again. `see` gets each batch, and of which objects (by their numbers) its rows are.
    /// Blocks.
    ///
    /// # Errors
    /// Those of `see`, or when columns cannot be built.
    pub(super) fn decode(
        &self,
        entries: &[Entry],
        mut see: impl FnMut(&RecordBatch, &[(usize, u64)]) -> Result<()>,
    ) -> Result<Vec<Reread>> {
        let objects: Vec<RawObject> = entries.iter().map(|entry| entry.object.clone()).collect();
        let mut found = vec![Reread::default(); objects.len()];
        let mut decoder = Decoder::new(&self.decode, &self.registry.observed);
        let mut feed = Feed::new(&self.fetcher, &objects, self.settings.limits.clone());
        let fields = &self.registry.fields;
        loop {
            let filled = feed.fill();
            if let Filled::Unreadable { object, error } = &filled {
                (found[*object].unread, found[*object].is_passing) = (Some(error.to_string()), !is_lasting(error));
                if feed.segments.is_empty() {
                    // It was begun, or nothing stood before it.
                    decoder.close_object();
                    continue;
                }
            }
            let Some(last) = feed.segments.last().copied() else { return Ok(found) };
            if let Err((object, error)) = feed.read_envelope(&self.decode, &mut decoder) {
                (found[object].unread, found[object].is_passing) = (Some(error.to_string()), !is_lasting(&error));
            }
            let decoded = decoder.decode(&feed.window, &feed.segments);
            if decoded.rows > 0 {
                let of_objects: Vec<(usize, u64)> = feed
                    .segments
                    .iter()
                    .zip(&decoded.counts)
                    .map(|(segment, counts)| (segment.object, counts.rows))
                    .collect();
                of_objects.iter().for_each(|(object, rows)| found[*object].rows += rows);
                match decoder.finish(fields, &self.schema) {
                    Ok(batch) => {
                        let keys = of_objects.iter().map(|(object, rows)| (objects[*object].key.as_str(), *rows));
                        see(&with_provenance(batch, fields, keys)?, &of_objects)?;
                    }
                    Err(FinishError::Redo) => {
                        of_objects.iter().for_each(|(object, _)| found[*object].is_strange = true);
                    }
                    Err(FinishError::Arrow(error)) => return Err(Error::failed("cannot build columns", error)),
                }
            }
            if feed.take_rest(decoded.rest, &filled) {
                continue;
            }
            if let Filled::Broken { .. } = filled {
                decoder.close_object();
            } else if !feed.used(decoded.used) {
                decoder.lose();
                let _ = feed.used(last.end - last.start);
            }
        }
    }
}
