//! Which parts of raw objects are wanted: what begins elsewhere is gone past, and neither counted, stored nor observed.

use std::ops::Range;

use super::decoder::{Counts, Reject, Segment};

/// Ranges of bytes of one decompressed raw object, in order, which do not overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    ranges: Vec<Range<u64>>,
}

/// A value that lies in a wanted range, or at least reaches into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// The caller's number of the raw object.
    pub object: usize,
    /// Where the value lies in it.
    pub bytes: Range<u64>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is a row, when its begin is wanted.
    Row,
    /// It is rejected, when its begin is wanted.
    Rejected,
    /// More of what was rejected before.
    Continued,
}

impl Selection {
    /// A selection of these ranges.
    pub fn new(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.sort_by_key(|range| range.start);
        Self { ranges }
    }

    /// A selection of everything.
    pub fn all() -> Self {
        Self { ranges: std::iter::once(0..u64::MAX).collect() }
    }

    /// The number of the range that holds the byte at `offset`.
    pub fn find(&self, offset: u64) -> Option<usize> {
        let next = self.ranges.partition_point(|range| range.end <= offset);
        self.ranges.get(next).filter(|range| range.start <= offset).map(|_| next)
    }

    /// The ranges that share bytes with `bytes`, with their numbers.
    pub fn touched(&self, bytes: &Range<u64>) -> impl Iterator<Item = (usize, &Range<u64>)> {
        let first = self.ranges.partition_point(|range| range.end <= bytes.start);
        let end = bytes.end;
        self.ranges.iter().enumerate().skip(first).take_while(move |(_, range)| range.start < end)
    }

    /// Takes those of the `rejects` of a segment that are not wanted out of them and of its counts, and notes what became of
    /// all that reach into a range. Returns how many values were taken out.
    pub(super) fn keep(
        &self,
        segment: &Segment,
        first: usize,
        rejects: &mut Vec<Reject>,
        counts: &mut Counts,
        met: &mut Vec<Met>,
    ) -> u64 {
        let mut passed = 0;
        let mut kept = rejects.split_off(first);
        kept.retain(|reject| {
            let bytes = reject.offset..reject.offset + reject.bytes.len() as u64;
            let fate = if reject.continued { Fate::Continued } else { Fate::Rejected };
            self.note(segment.object, bytes, fate, met);
            let is_wanted = self.find(reject.offset).is_some();
            passed += u64::from(!is_wanted && !reject.continued);
            is_wanted
        });
        counts.rejected -= passed;
        rejects.append(&mut kept);
        passed
    }

    /// Notes a value when it reaches into a range.
    pub(super) fn note(&self, object: usize, bytes: Range<u64>, fate: Fate, met: &mut Vec<Met>) {
        if self.touched(&bytes).next().is_some() {
            met.push(Met { object, bytes, fate });
        }
    }
}
