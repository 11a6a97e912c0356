//! The books: head, ledger, quarantine, and the heads before.

use std::collections::{BTreeSet, HashSet};

use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, FieldRef};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStore as _;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;

use super::finding::{Finding, FindingKind, Findings};
use super::{CONCURRENCY, Checked};
use crate::error::{Context as _, Error, ErrorKind, Result, describe};
use crate::lake::hidden::Hidden;
use crate::lake::ledger::{Entry, Head, Merged, SLICE_SEPARATOR, Totals};
use crate::lake::ranges::RangedFile;
use crate::raw::RawObject;
use crate::store::Location;

/// The head `id`, when it can be read.
pub(super) async fn read_head(hidden: &Hidden, id: i64, found: &mut Findings) -> Option<Head> {
    let path = Hidden::head_path(id);
    match hidden.read_json::<Head>(&path).await {
        Ok(head) => {
            check_head(id, &head, found);
            Some(head)
        }
        Err(error) => {
            found.push(Finding::error(FindingKind::Head, path, describe(&error)));
            None
        }
    }
}

/// Checks that a head agrees with itself.
fn check_head(id: i64, head: &Head, found: &mut Findings) {
    let path = Hidden::head_path(id);
    if head.id != id {
        found.push(Finding::error(FindingKind::Head, &*path, format!("the head says that its id is {}", head.id)));
    }
    let Totals { objects, records_in, rows_out, quarantined, .. } = head.totals;
    if rows_out.checked_add(quarantined) != Some(records_in) {
        let reason = format!("totals: {records_in} records found, {rows_out} rows, {quarantined} quarantined");
        found.push(Finding::error(FindingKind::Books, &*path, reason));
    }
    let entries = head.segments.iter().fold(0_u64, |sum, segment| sum.saturating_add(segment.entries));
    // More of them are there where entries were replaced.
    if entries < objects {
        let reason = format!("totals say {objects} raw objects, the segments of the head have {entries} entries");
        found.push(Finding::error(FindingKind::Books, path, reason));
    }
}

/// What the ledger accounts for.
pub(super) struct Accounted {
    /// Rows.
    pub(super) rows: u64,
    /// The slices that they came from; `None` when some are not recorded, or the ledger cannot be read.
    pub(super) slices: Option<BTreeSet<String>>,
}

/// Reads the ledger and compares it with the head's totals.
pub(super) async fn check_ledger(
    hidden: &Hidden,
    head: &Head,
    checked: &mut Checked,
    found: &mut Findings,
) -> Accounted {
    let path = Hidden::head_path(head.id);
    let mut slices = BTreeSet::new();
    let Some(sums) = read_ledger(hidden, head, checked, &mut slices, found).await else {
        return Accounted { rows: head.totals.rows_out, slices: None };
    };
    let Totals { objects, records_in, rows_out, quarantined, .. } = head.totals;
    for (what, said, sum) in [
        ("raw objects", objects, sums.objects),
        ("records found", records_in, sums.records_in),
        ("rows", rows_out, sums.rows_out),
        ("quarantined", quarantined, sums.quarantined),
    ] {
        if said != sum {
            let reason = format!("totals say {said} {what}, the entries of the ledger sum up to {sum}");
            found.push(Finding::error(FindingKind::Books, &*path, reason));
        }
    }
    let slices = Some(slices).filter(|slices| !slices.contains(""));
    Accounted { rows: sums.rows_out, slices }
}

/// What was read of one segment.
struct Pass<'a> {
    path: &'a str,
    said: u64,
    entries: u64,
    last: Option<RawObject>,
    is_sorted: bool,
}

/// One merging pass over all segments. The sums; `None` when not all entries could be read.
async fn read_ledger(
    hidden: &Hidden,
    head: &Head,
    checked: &mut Checked,
    slices: &mut BTreeSet<String>,
    found: &mut Findings,
) -> Option<Totals> {
    let mut is_whole = true;
    let mut merged = Merged::default();
    let mut passes = Vec::new();
    for segment in &head.segments {
        match merged.add(hidden, segment).await {
            Ok(()) => {
                checked.segments += 1;
                passes.push(Pass {
                    path: &segment.path,
                    said: segment.entries,
                    entries: 0,
                    last: None,
                    is_sorted: true,
                });
            }
            Err(error) => {
                is_whole = false;
                found.push(Finding::error(FindingKind::Segment, &*segment.path, describe(&error)));
            }
        }
    }
    let mut sums = Totals::default();
    let mut newer: Option<(Entry, usize)> = None;
    loop {
        let (entry, index) = match merged.next_of().await {
            Ok(Some(next)) => next,
            Ok(None) => break,
            Err((error, index)) => {
                found.push(Finding::error(FindingKind::Segment, passes[index].path, describe(&error)));
                return None;
            }
        };
        for slice in entry.slice.split(SLICE_SEPARATOR).filter(|slice| !slices.contains(*slice)).collect::<Vec<_>>() {
            slices.insert(slice.to_owned());
        }
        let pass = &mut passes[index];
        pass.entries += 1;
        pass.is_sorted &= pass.last.as_ref().is_none_or(|last| last.key <= entry.object.key);
        pass.last = Some(entry.object.clone());
        match newer.as_ref().filter(|(newer, _)| newer.object == entry.object) {
            // It no longer counts.
            Some((newer, _)) if newer.replaces(&entry) => {
                check_entry(pass.path, &entry, &mut Totals::default(), found);
            }
            Some((_, index_of_newer)) => {
                check_entry(pass.path, &entry, &mut sums, found);
                let reason = format!("the raw object {} was consumed twice", entry.object.key);
                found.push(Finding::error(FindingKind::ConsumedTwice, passes[*index_of_newer].path, reason));
            }
            None => check_entry(pass.path, &entry, &mut sums, found),
        }
        newer = Some((entry, index));
    }
    for pass in passes {
        if !pass.is_sorted {
            found.push(Finding::error(FindingKind::Segment, pass.path, "the entries are not sorted by key"));
        }
        if pass.entries != pass.said {
            let reason = format!("the segment has {} entries, the head says {}", pass.entries, pass.said);
            found.push(Finding::error(FindingKind::Segment, pass.path, reason));
        }
    }
    checked.entries = sums.objects;
    is_whole.then_some(sums)
}

fn check_entry(path: &str, entry: &Entry, sums: &mut Totals, found: &mut Findings) {
    let Entry { object, records_in, rows_out, quarantined, slice: _ } = entry;
    if rows_out.checked_add(*quarantined) != Some(*records_in) {
        let reason = format!("{}: {records_in} records found, {rows_out} rows, {quarantined} quarantined", object.key);
        found.push(Finding::error(FindingKind::Books, path, reason));
    }
    sums.objects += 1;
    sums.records_in = sums.records_in.saturating_add(*records_in);
    sums.rows_out = sums.rows_out.saturating_add(*rows_out);
    sums.quarantined = sums.quarantined.saturating_add(*quarantined);
}

/// Counts the rejects in the quarantine files that a head names.
pub(super) async fn check_quarantine(location: &Location, head: &Head, checked: &mut Checked, found: &mut Findings) {
    let mut counts = futures::stream::iter(&head.quarantine)
        .map(|path| async move { (path, count_rejects(location, path).await) })
        .buffered(CONCURRENCY);
    let mut is_whole = true;
    while let Some((path, count)) = counts.next().await {
        checked.quarantine_files += 1;
        match count {
            Ok(count) => checked.rejects += count,
            Err(error) => {
                is_whole = false;
                let kind = match error.kind() {
                    ErrorKind::NotFound => FindingKind::Missing,
                    _ => FindingKind::Quarantine,
                };
                found.push(Finding::error(kind, path, describe(&error)));
            }
        }
    }
    if is_whole && checked.rejects != head.totals.quarantined {
        let reason = format!(
            "totals say {} quarantined, the quarantine files hold {} rejects",
            head.totals.quarantined, checked.rejects
        );
        found.push(Finding::error(FindingKind::Books, Hidden::head_path(head.id), reason));
    }
}

/// The rejects in a quarantine file; the later pieces of one are not counted.
async fn count_rejects(location: &Location, path: &str) -> Result<u64> {
    let describe = || "the quarantine file cannot be read".to_owned();
    let file = match RangedFile::open(location.store(), location.child(path)?, None).await {
        Err(object_store::Error::NotFound { .. }) => {
            return Err(Error::new(ErrorKind::NotFound, "the quarantine file is gone"));
        }
        opened => opened.context(describe)?,
    };
    // As for the ledger: the Parquet types say all.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(file, options).await.context(describe)?;
    let is_flag = |field: &FieldRef| field.name() == "continued" && *field.data_type() == DataType::Boolean;
    let Some(column) = builder.schema().fields().iter().position(is_flag) else {
        return Err(Error::new(ErrorKind::Corrupt, "the quarantine file has no column `continued`"));
    };
    let flag = ProjectionMask::roots(builder.parquet_schema(), [column]);
    let mut batches = builder.with_projection(flag).build().context(describe)?;
    let mut count = 0;
    while let Some(batch) = batches.try_next().await.context(describe)? {
        let continued = batch.column(0).as_boolean();
        count += (continued.len() - continued.true_count()) as u64;
    }
    Ok(count)
}

/// Checks the heads before `head` that are still there, each against the one that follows it.
pub(super) async fn check_ancestors(location: &Location, head: &Head, checked: &mut Checked, found: &mut Findings) {
    let ids = match list_heads(location, head.id).await {
        Ok(ids) => ids,
        Err(error) => {
            found.push(Finding::error(FindingKind::Head, "_siltstone/ledger", describe(&error)));
            return;
        }
    };
    let hidden = &Hidden::new(location);
    // Newest first. Among them are heads of runs that lost their race: nobody's parents.
    let mut heads = futures::stream::iter(ids)
        .map(|id| async move { (id, hidden.read_json::<Head>(&Hidden::head_path(id)).await) })
        .buffered(CONCURRENCY);
    let mut child = head.clone();
    while let Some(parent) = child.parent {
        if parent >= child.id {
            let reason = format!("the parent {} is not older", Hidden::head_path(parent));
            found.push(Finding::error(FindingKind::Head, Hidden::head_path(child.id), reason));
            return;
        }
        let read = loop {
            match heads.next().await {
                Some((id, _)) if id > parent => {}
                Some((id, read)) if id == parent => break read,
                // It is gone, as ancestors may be.
                _ => return,
            }
        };
        checked.heads += 1;
        match read {
            Ok(before) => {
                check_head(parent, &before, found);
                if before.id != parent {
                    // Another head is in its place: it tells nothing of the parent.
                    return;
                }
                check_growth(&before, &child, found);
                child = before;
            }
            Err(error) => {
                found.push(Finding::error(FindingKind::Head, Hidden::head_path(parent), describe(&error)));
                return;
            }
        }
    }
}

/// Checks that `child` only adds to its parent, but for rejects that became rows, and raw objects that were replaced.
fn check_growth(parent: &Head, child: &Head, found: &mut Findings) {
    let (before, after) = (parent.totals, child.totals);
    let replays = !child.replaced.is_empty();
    let gone = child.taken_out.unwrap_or_default();
    let is_kept = |before: u64, after: u64, gone: u64| before <= after.saturating_add(gone);
    let grows = is_kept(before.objects, after.objects, gone.objects)
        && is_kept(before.deduplicated, after.deduplicated, gone.deduplicated)
        && is_kept(before.rows_out, after.rows_out, gone.rows_out)
        && (replays
            || is_kept(before.records_in, after.records_in, gone.records_in)
                && is_kept(before.quarantined, after.quarantined, gone.quarantined));
    if !grows {
        let reason = format!("its totals are more than those of {}, which follows it", Hidden::head_path(child.id));
        found.push(Finding::error(FindingKind::Head, Hidden::head_path(parent.id), reason));
    }
    let replaced: HashSet<&String> = child.replaced.iter().collect();
    let stays: Vec<&String> = parent.quarantine.iter().filter(|path| !replaced.contains(path)).collect();
    let is_kept = if replays {
        let named: HashSet<&String> = child.quarantine.iter().collect();
        parent.quarantine.len() == stays.len() + replaced.len() && stays.iter().all(|path| named.contains(path))
    } else {
        child.quarantine.starts_with(&parent.quarantine)
    };
    if !is_kept {
        let reason =
            format!("it names quarantine files that {}, which follows it, does not", Hidden::head_path(child.id));
        found.push(Finding::error(FindingKind::Head, Hidden::head_path(parent.id), reason));
    }
}

/// The ids of the heads before `head` that are there, newest first.
async fn list_heads(location: &Location, head: i64) -> Result<Vec<i64>> {
    let folder = location.child("_siltstone/ledger")?;
    let mut listed = location.store().list(Some(&folder));
    let mut ids = Vec::new();
    while let Some(object) = listed.try_next().await.context(|| "cannot list the heads of the ledger".to_owned())? {
        let name = object.location.filename().and_then(|name| name.strip_suffix(".json"));
        let id = name.filter(|name| name.len() == 16).and_then(|name| i64::from_str_radix(name, 16).ok());
        ids.extend(id.filter(|id| *id < head));
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    Ok(ids)
}
