//! What writers do.

use std::ops::AddAssign;

use siltstone::clock::Clock;
use siltstone::compact::{Report, Request, Silent, Status, compact, replay};
use siltstone::error::Result;
use siltstone::maintain::{OptimizeRequest, keep, optimize, vacuum};

use crate::support::Numbers;

/// What a writer does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Work {
    /// Takes in what is new; then small files are merged where there are many.
    Compact,
    /// Takes what is valid by now out of quarantine: nothing ever is.
    Replay,
    /// Merges small files.
    Optimize,
    /// Takes out all rows but one of each key, and merges small files.
    Dedup,
    /// Deletes what no version of so many hours needs.
    Vacuum { retention_hours: u32 },
}

/// What became of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rows {
    /// So many came.
    pub(super) added: u64,
    /// So many went as what their objects hold by now took their place.
    pub(super) replaced: u64,
}

impl AddAssign for Rows {
    fn add_assign(&mut self, more: Self) {
        self.added += more.added;
        self.replaced += more.replaced;
    }
}

/// What a writer said of what it did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) rows: Rows,
    pub(super) is_failed: bool,
}

impl Work {
    pub(super) fn draw(numbers: &mut Numbers) -> Self {
        match numbers.below(10) {
            0 => Self::Replay,
            1 => Self::Dedup,
            2 | 3 => Self::Optimize,
            4 | 5 => Self::Vacuum { retention_hours: 24 + numbers.below(24) as u32 },
            _ => Self::Compact,
        }
    }

    /// Whether rows may come of it.
    pub(super) fn adds_rows(self) -> bool {
        self == Self::Compact
    }

    pub(super) async fn run(self, request: &Request, clock: &dyn Clock) -> Result<Told> {
        match self {
            Self::Compact => {
                let mut report = compact(request, clock, &Silent).await?;
                keep(request, &mut report, clock).await;
                Ok(Told::of(&report))
            }
            Self::Replay => Ok(Told::of(&replay(request, &[], clock, &Silent).await?)),
            Self::Optimize | Self::Dedup => {
                let request = OptimizeRequest {
                    lake: request.lake.clone(),
                    sources: request.sources.clone(),
                    config: request.config.clone(),
                    threads: request.threads,
                    dedup: self == Self::Dedup,
                };
                let done = optimize(&request, clock).await?;
                let source = &done.sources[0];
                assert_eq!(source.status == Status::Failed, source.error.is_some(), "{done:?}");
                assert!(source.rows_deduplicated == 0 || self == Self::Dedup, "{done:?}");
                Ok(Told { rows: Rows::default(), is_failed: source.status == Status::Failed })
            }
            Self::Vacuum { retention_hours } => {
                vacuum(&request.lake.folder("s")?, retention_hours, false, clock).await?;
                Ok(Told { rows: Rows::default(), is_failed: false })
            }
        }
    }
}

impl Told {
    fn of(report: &Report) -> Self {
        let source = &report.sources[0];
        let is_failed = source.status == Status::Failed;
        assert_eq!(is_failed, source.error.is_some(), "{report:?}");
        let rows = Rows { added: source.success_count, replaced: source.rows_replaced };
        Self { rows: if is_failed { Rows::default() } else { rows }, is_failed }
    }
}
