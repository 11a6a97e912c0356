//! What would become of rejects today: their raw objects are decoded again, and nothing is written.

use std::ops::Range;

use super::begin::Setup;
use super::slice::Portion;
use crate::json::{DecodeOptions, Decoder, Fate, Met, Selection};
use crate::raw::{Feed, Fetcher, Filled, RawObject};

/// What became of one reject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fates {
    /// Rows that begin in it.
    pub rows: u64,
    /// Values that begin in it and are rejected.
    pub rejected: u64,
    /// A value lies in it and beside it: its bytes would be read otherwise than they were, so it cannot be told apart from
    /// what is in the table.
    pub is_crossed: bool,
}

/// Decodes `objects` again as far as their `portions` go. Gives what became of each piece of each, or why the object could not
/// be read. Blocks.
pub(super) fn try_again(
    fetcher: &Fetcher,
    objects: &[RawObject],
    portions: &[Portion],
    decode: &DecodeOptions,
    setup: &Setup,
) -> Vec<Result<Vec<Fates>, String>> {
    let selections: Vec<Selection> = portions.iter().map(Portion::selection).collect();
    let mut fates: Vec<_> = portions.iter().map(|portion| Ok(vec![Fates::default(); portion.pieces.len()])).collect();
    let mut decoder = Decoder::new(decode, &setup.before.observed);
    decoder.select(selections.clone());
    let mut feed = Feed::new(fetcher, objects, setup.options.limits.clone());
    let see = |fates: &mut Vec<Result<Vec<Fates>, String>>, met: Met| {
        if let Some(Ok(fates)) = fates.get_mut(met.object) {
            note(&selections[met.object], fates, &met);
        }
    };
    loop {
        let filled = feed.fill();
        if let Filled::Unreadable { object, error } = &filled {
            fates[*object] = Err(error.to_string());
            if feed.segments.is_empty() {
                decoder.close_object();
                continue;
            }
        }
        let Some(last) = feed.segments.last().copied() else { return fates };
        if let Err((object, error)) = feed.read_envelope(decode, &mut decoder) {
            // What it gives without its envelope counts for nothing.
            fates[object] = Err(error.to_string());
        }
        let decoded = decoder.decode(&feed.window, &feed.segments);
        decoded.met.into_iter().for_each(|met| see(&mut fates, met));
        let rest = |end: u64| {
            let bytes = last.offset + decoded.used as u64..end;
            Met { object: last.object, bytes, fate: Fate::Rejected }
        };
        if feed.take_rest(decoded.rest, &filled) {
            continue;
        }
        if let Filled::Broken { .. } = filled {
            see(&mut fates, rest(u64::MAX));
            decoder.close_object();
        } else if !feed.used(decoded.used) {
            // What follows in the next windows continues it.
            see(&mut fates, rest(last.offset + (last.end - last.start) as u64));
            decoder.lose();
            let _ = feed.used(last.end - last.start);
        }
    }
}

fn note(selection: &Selection, fates: &mut [Fates], met: &Met) {
    for (index, range) in selection.touched(&met.bytes) {
        let fates = &mut fates[index];
        fates.is_crossed |= !holds(range, met);
        match met.fate {
            _ if !range.contains(&met.bytes.start) => {}
            Fate::Row => fates.rows += 1,
            Fate::Rejected => fates.rejected += 1,
            Fate::Continued => {}
        }
    }
}

/// Whether a value lies all in a range; what continues another value must not begin with the range.
fn holds(range: &Range<u64>, met: &Met) -> bool {
    let begins =
        if met.fate == Fate::Continued { range.start < met.bytes.start } else { range.start <= met.bytes.start };
    begins && (met.bytes.end <= range.end)
}
