//! Whether the parts of a large object are parts. Each is decoded as if a line of values began in it; that is so when each part
//! before it ended with a line. What is found out about an object holds for good: it is kept for all executions of a plan.
//!
//! The reader of a part whose end is no end of a line reads on to the end of the object, and those behind it give nothing.

use std::io;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::raw::{Fetcher, RawObject, may_be_lines};

/// How long a reader waits before it looks whether it is still wanted.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often it waits for one part before it finds the end itself: its reader may be held up by those who wait for this one.
const MAX_WAITS: u32 = 20;

/// How a part ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Not known, and nobody is about to find out.
    Unknown,
    /// Somebody is about to find out.
    Sought,
    /// With a line, all lines of it being values.
    Line,
    /// Otherwise.
    Other,
}

/// A large object in parts.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) object: RawObject,
    ranges: Vec<Range<u64>>,
    /// Whether it looks like lines at all.
    has_lines: OnceLock<bool>,
    endings: Mutex<Vec<Ending>>,
    found: Condvar,
}

impl Split {
    /// An object in parts of about `part_bytes`.
    pub(super) fn new(object: RawObject, part_bytes: u64) -> Self {
        let count = (object.size_bytes / part_bytes).max(1);
        let bound = |part: u64| if part == count { object.size_bytes } else { part * part_bytes };
        let ranges: Vec<_> = (0..count).map(|part| bound(part)..bound(part + 1)).collect();
        let endings = Mutex::new(vec![Ending::Unknown; ranges.len()]);
        Self { object, ranges, has_lines: OnceLock::new(), endings, found: Condvar::new() }
    }

    /// How many parts there are.
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The bytes of a part.
    pub(super) fn range(&self, part: usize) -> Range<u64> {
        self.ranges[part].clone()
    }

    /// Whether the object looks like lines of values. Blocks.
    pub(super) fn has_lines(&self, fetcher: &Fetcher) -> io::Result<bool> {
        match self.has_lines.get() {
            Some(known) => Ok(*known),
            None => {
                let found = may_be_lines(fetcher, &self.object)?;
                Ok(*self.has_lines.get_or_init(|| found))
            }
        }
    }

    fn endings(&self) -> MutexGuard<'_, Vec<Ending>> {
        self.endings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the end of a part is sought from now on.
    pub(super) fn seek(&self, part: usize) -> Seeker<'_> {
        let mut endings = self.endings();
        if endings[part] == Ending::Unknown {
            endings[part] = Ending::Sought;
        }
        Seeker { split: self, part }
    }

    /// Whether all parts before this one end with a line, as far as that is known.
    pub(super) fn begins_with_line(&self, part: usize) -> Option<bool> {
        self.endings()[..part]
            .iter()
            .find_map(|ending| match ending {
                Ending::Line => None,
                Ending::Other => Some(Some(false)),
                Ending::Unknown | Ending::Sought => Some(None),
            })
            .unwrap_or(Some(true))
    }

    /// The same, once it is known. `find` finds the end of a part that nobody seeks; `is_wanted` says whether to wait on.
    /// Blocks.
    pub(super) fn wait_for_begin(
        &self,
        part: usize,
        find: impl Fn(usize) -> io::Result<Ending>,
        is_wanted: impl Fn() -> bool,
    ) -> io::Result<bool> {
        let mut waits = 0;
        loop {
            let mut endings = self.endings();
            let open = endings[..part].iter().position(|ending| *ending != Ending::Line);
            let Some(open) = open else { return Ok(true) };
            match endings[open] {
                Ending::Other => return Ok(false),
                Ending::Sought if !is_wanted() => return Ok(false),
                Ending::Sought if waits < MAX_WAITS => {
                    waits += 1;
                    drop(self.found.wait_timeout(endings, PATIENCE));
                }
                _ => {
                    waits = 0;
                    endings[open] = Ending::Sought;
                    drop(endings);
                    let seeker = Seeker { split: self, part: open };
                    seeker.found(find(open)?);
                }
            }
        }
    }
}

/// Somebody who seeks the end of a part. Gives it up when dropped.
#[derive(Debug)]
pub(super) struct Seeker<'a> {
    split: &'a Split,
    part: usize,
}

impl Seeker<'_> {
    /// Tells how the part ends.
    pub(super) fn found(&self, ending: Ending) {
        self.split.endings()[self.part] = ending;
        self.split.found.notify_all();
    }
}

impl Drop for Seeker<'_> {
    fn drop(&mut self) {
        let mut endings = self.split.endings();
        if endings[self.part] == Ending::Sought {
            endings[self.part] = Ending::Unknown;
            self.split.found.notify_all();
        }
    }
}
