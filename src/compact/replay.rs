//! Replay: rejects that are valid under the present configuration become rows, each exactly once.
//!
//! ```text
//! quarantine --rejects by raw object--> trial: what would become of each today?
//!   raw object is there as it was --> decoded again, only where its rejects lie
//!   gone or changed               --> decoded from the bytes that are kept, where they are a value by themselves
//! those that are valid --slices--> files --> entries replaced, quarantine files without them --> ONE commit
//! ```
//!
//! What is not valid stays in quarantine as it was. A reject that stands for the rest of an object may give many rows, and
//! rejects again: these keep the run and the time of the first one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::begin::Setup;
use super::commit::{Books, Made};
use super::driver::{Driver, MAX_PLANS, Plan, Progress, Request, Work, run};
use super::make::cut;
use super::pool::run_all;
use super::rejects::Remaining;
use super::report::{Report, SourceReport, Status};
use super::slice::{Piece, Portion, SliceContext, SliceTask};
use super::trial::{Fates, try_again};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::json::{DecodeOptions, Reason};
use crate::lake::{Entry, Outcome, Quarantine, SLICE_SEPARATOR, StoredReject, find_entries};
use crate::raw::{Fetcher, ObjectRef, RawObject, check_source_id, is_compressed, list_objects};
use crate::store::Location;

/// Kept bytes that are decoded at a time to see what they give.
const TRIAL_BYTES: u64 = 64 << 20;

/// Takes what is valid by now out of the quarantine of each source of the request and into its table. `reasons`: only rejects
/// with one of these; none: all.
///
/// # Errors
/// As [`compact`](super::compact()). What fails otherwise is in the report.
pub async fn replay(
    request: &Request,
    reasons: &[Reason],
    clock: &dyn Clock,
    progress: &dyn Progress,
) -> Result<Report> {
    request.sources.iter().try_for_each(|id| check_source_id(id))?;
    run(request, &request.sources, Work::Replay(reasons), clock, progress).await
}

/// How a round ended.
enum Round {
    /// Nothing became valid.
    Nothing(SourceReport),
    /// Committed; with what is kept of gone objects there may be more to take.
    Done(SourceReport, bool),
    /// Another writer was first.
    Conflict,
}

/// Rejects that are read together: those of one raw object, or one of them from its kept bytes.
#[derive(Debug, Clone)]
struct Candidate {
    portion: Portion,
    /// The reject of each piece.
    rejects: Vec<StoredReject>,
}

/// Candidates that are decoded alike, by what is read.
#[derive(Debug)]
struct Group {
    context: SliceContext,
    decode: DecodeOptions,
    candidates: BTreeMap<RawObject, Candidate>,
}

/// What a trial found.
#[derive(Debug, Default)]
struct Found {
    groups: Vec<Group>,
    /// Raw objects that are there but could not be read, and why.
    unreadable: Vec<(RawObject, String)>,
    /// Rejects of gone objects whose bytes cannot be decoded by themselves.
    stuck: u64,
    /// There is more to take from kept bytes than fits into memory at once.
    more: bool,
}

/// What a round wrote.
struct Replayed {
    made: Made,
    /// The rejects that are no longer in quarantine, by their raw object.
    taken: BTreeMap<RawObject, Vec<StoredReject>>,
    /// The quarantine files from now on.
    quarantine: Vec<String>,
    /// Those of them that take the place of others.
    written: Vec<String>,
    /// These others.
    replaced: Vec<String>,
}

impl Driver<'_> {
    /// Replays a source.
    pub(super) async fn replay(&self, source_id: &str, reasons: &[Reason]) -> Result<SourceReport> {
        let settings = self.request.config.settings(source_id)?;
        let raw = self.request.raw.folder(source_id)?;
        let mut total: Option<SourceReport> = None;
        let mut conflicts = 0;
        while conflicts < MAX_PLANS {
            match self.round(source_id, &raw, &settings, reasons).await? {
                Round::Conflict => conflicts += 1,
                Round::Nothing(report) | Round::Done(report, false) => return Ok(sum(total, report)),
                Round::Done(report, true) => total = Some(sum(total, report)),
            }
        }
        let lost = format!("{source_id}: other writers were first {MAX_PLANS} times");
        Err(Error::new(ErrorKind::Conflict, lost))
    }

    async fn round(&self, source_id: &str, raw: &Location, settings: &Settings, reasons: &[Reason]) -> Result<Round> {
        let mut plan = self.open(source_id).await?;
        let Some(head) = plan.head.clone() else {
            let message = format!("there is no table {source_id} under {}", self.request.lake.url());
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        let mut report = SourceReport::new(source_id);
        report.version = plan.table.version();
        let quarantine = Quarantine::open(&plan.hidden, &head).await?;
        let is_wanted = |name: &str| reasons.is_empty() || reasons.iter().any(|reason| reason.name() == name);
        let rejects = quarantine.rejects(is_wanted).await?;
        let looked_at = rejects.values().map(|rejects| rejects.len() as u64).sum();
        if looked_at == 0 {
            return Ok(Round::Nothing(report));
        }
        let wanted: HashSet<ObjectRef<'_>> = rejects.keys().map(RawObject::by_ref).collect();
        let listed = match list_objects(raw)?.find(|object| wanted.contains(&object)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            listed => listed?,
        };
        tracing::info!(source = source_id, rejects = looked_at, objects = listed.len(), "looking at rejects again");
        plan.new = listed;
        let context = self.slice_context(&plan, raw, settings, source_id, &Handle::current())?;
        let replayed = tokio::task::block_in_place(|| {
            let setup = self.set_up(&plan, &context, settings, &mut report)?;
            let found = self.find(&plan, &context, &setup, &quarantine, rejects, settings)?;
            report.notes.extend(found.notes());
            if found.groups.iter().all(|group| group.candidates.is_empty()) {
                return Ok(None);
            }
            let more = found.more;
            self.take(&plan, &context, &setup, &quarantine, found).map(|replayed| Some((replayed, more)))
        });
        self.progress.source_ends(source_id);
        if replayed.is_err() {
            plan.hidden.discard(&context.write.stored.take()).await;
        }
        let Some((replayed, more)) = replayed? else {
            report.error_count = looked_at;
            report.status = Status::PartialSuccess;
            return Ok(Round::Nothing(report));
        };
        let books = self.books(&plan, &replayed).await?;
        replayed.made.fill(&plan, &mut report);
        let taken: u64 = replayed.taken.values().map(|rejects| rejects.len() as u64).sum();
        report.objects = replayed.taken.len() as u64;
        report.error_count += looked_at - taken;
        if report.error_count > 0 {
            report.status = Status::PartialSuccess;
        }
        match self.commit(&mut plan, &replayed.made, books).await? {
            Outcome::Committed(version) => {
                plan.hidden.discard(&replayed.made.discarded).await;
                report.version = Some(version);
                Ok(Round::Done(report, more))
            }
            Outcome::Conflict => {
                plan.hidden.discard(&replayed.made.all_files()).await;
                plan.hidden.discard(&replayed.written).await;
                Ok(Round::Conflict)
            }
        }
    }

    /// Finds out which rejects are valid today. Blocks.
    fn find(
        &self,
        plan: &Plan,
        context: &SliceContext,
        setup: &Setup,
        quarantine: &Quarantine,
        mut rejects: BTreeMap<RawObject, Vec<StoredReject>>,
        settings: &Settings,
    ) -> Result<Found> {
        let mut found = Found::default();
        let whole = |object: &RawObject| Some((object.clone(), Candidate::of_object(object, rejects.remove(object)?)));
        let there: BTreeMap<RawObject, Candidate> = plan.new.iter().filter_map(whole).collect();
        let decode = &setup.options.decode;
        let mut live = Group { context: context.clone(), decode: decode.clone(), candidates: there };
        live.keep_what_is_valid(setup, |object, why| found.unreadable.push((object, why)))?;
        found.groups.push(live);
        self.find_in_kept_bytes(context, setup, quarantine, rejects, settings.memory_bytes as u64 / 4, &mut found)?;
        Ok(found)
    }

    /// The same for the rejects of objects that are gone or changed: by the bytes that are kept, `budget` of them at most.
    fn find_in_kept_bytes(
        &self,
        context: &SliceContext,
        setup: &Setup,
        quarantine: &Quarantine,
        rejects: BTreeMap<RawObject, Vec<StoredReject>>,
        budget: u64,
        found: &mut Found,
    ) -> Result<()> {
        let with_path = &setup.options.decode;
        let without_path = DecodeOptions { records_path: Vec::new(), ..with_path.clone() };
        let mut files: BTreeMap<usize, Vec<(StoredReject, RawObject, Candidate, bool)>> = BTreeMap::new();
        for (object, rejects) in rejects {
            // An object that is kept as it was stored can be decoded as if it were there.
            if let Some(stored) = rejects.iter().find(|reject| reject.stored_bytes == object.size_bytes) {
                let of_file = files.entry(stored.file).or_default();
                of_file.push((stored.clone(), object.clone(), Candidate::of_object(&object, rejects), false));
                continue;
            }
            for reject in rejects {
                let Some(is_record) = stands_alone(&reject, with_path).filter(|_| reject.plain_bytes <= budget) else {
                    found.stuck += 1;
                    continue;
                };
                let (read, candidate) = Candidate::of_bytes(&object, reject.clone());
                files.entry(reject.file).or_default().push((reject, read, candidate, is_record));
            }
        }
        let mut kept = 0;
        for (file, mut wanted) in files {
            wanted.sort_by_key(|(reject, ..)| reject.rows.start);
            let mut wanted = wanted.into_iter().peekable();
            while wanted.peek().is_some() {
                if kept > budget {
                    found.more = true;
                    return Ok(());
                }
                let (mut chunk, mut bytes) = (Vec::new(), 0);
                while let Some(next) = wanted.next_if(|_| bytes < TRIAL_BYTES) {
                    bytes += next.0.plain_bytes.max(next.0.stored_bytes);
                    chunk.push(next);
                }
                let runtime = &context.write.runtime;
                let firsts: Vec<&StoredReject> = chunk.iter().map(|(reject, ..)| reject).collect();
                let texts = runtime.block_on(quarantine.bytes_of(file, &firsts))?;
                let mut groups =
                    [(with_path, BTreeMap::new(), BTreeMap::new()), (&without_path, BTreeMap::new(), BTreeMap::new())];
                for ((_, read, candidate, is_record), bytes) in chunk.into_iter().zip(texts) {
                    let is_part = candidate.portion.object != read;
                    // No JSON, whatever a reader of whole objects would make of it.
                    if is_part && (is_compressed(&bytes) || bytes.starts_with(b"\xef\xbb\xbf")) {
                        found.stuck += 1;
                        continue;
                    }
                    let (_, candidates, held) = &mut groups[usize::from(is_record)];
                    held.insert(read.clone(), Bytes::from(bytes));
                    candidates.insert(read, candidate);
                }
                for (decode, candidates, mut held) in groups {
                    let of_held = |held| SliceContext { fetcher: Fetcher::of_memory(held), ..context.clone() };
                    let before: u64 = candidates.values().map(|candidate| candidate.rejects.len() as u64).sum();
                    let mut group = Group { context: of_held(held.clone()), decode: decode.clone(), candidates };
                    group.keep_what_is_valid(setup, |_, _| {})?;
                    let after: u64 = group.candidates.values().map(|candidate| candidate.rejects.len() as u64).sum();
                    found.stuck += before - after;
                    held.retain(|read, _| group.candidates.contains_key(read));
                    kept += held.values().map(|bytes| bytes.len() as u64).sum::<u64>();
                    if !held.is_empty() {
                        group.context = of_held(held);
                        found.groups.push(group);
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes the rows of what was found, and the quarantine files without it. Blocks.
    fn take(
        &self,
        plan: &Plan,
        context: &SliceContext,
        setup: &Setup,
        quarantine: &Quarantine,
        found: Found,
    ) -> Result<Replayed> {
        let tasks = found.groups.iter().flat_map(|group| group.tasks(setup)).collect();
        let made = self.make(plan, context, setup, tasks)?;
        let unreadable: BTreeSet<&RawObject> = made.unreadable.iter().map(|(object, _)| object).collect();
        let mut taken: BTreeMap<RawObject, Vec<StoredReject>> = BTreeMap::new();
        for (read, candidate) in found.groups.into_iter().flat_map(|group| group.candidates) {
            if !unreadable.contains(&read) {
                taken.entry(candidate.portion.object).or_default().extend(candidate.rejects);
            }
        }
        let rejects = taken.values().flatten();
        let Remaining { files: mut paths, written, replaced } =
            self.leave_out(plan, context, setup.workers, quarantine, rejects)?;
        paths.extend(made.quarantine_files());
        Ok(Replayed { made, taken, quarantine: paths, written, replaced })
    }

    /// The entries of the objects whose rejects were taken, as they are from now on.
    async fn books(&self, plan: &Plan, replayed: &Replayed) -> Result<Books> {
        let objects: BTreeSet<&RawObject> = replayed.taken.keys().collect();
        let mut entries: BTreeMap<RawObject, Entry> = BTreeMap::new();
        if let Some(head) = &plan.head {
            entries = find_entries(&plan.hidden, head, &objects).await?;
        }
        let replaced: Vec<Entry> = entries.values().cloned().collect();
        let unknown = |object: &RawObject| {
            Error::new(ErrorKind::Corrupt, format!("the ledger does not tell of the rejects of {}", object.key))
        };
        for (object, rejects) in &replayed.taken {
            let count = rejects.len() as u64;
            let entry = entries.get_mut(object).filter(|entry| entry.quarantined >= count && entry.records_in >= count);
            let entry = entry.ok_or_else(|| unknown(object))?;
            entry.quarantined -= count;
            entry.records_in -= count;
        }
        for more in replayed.made.entries() {
            let entry = entries.get_mut(&more.object).ok_or_else(|| unknown(&more.object))?;
            entry.records_in += more.records_in;
            entry.rows_out += more.rows_out;
            entry.quarantined += more.quarantined;
            if !entry.slice.split(SLICE_SEPARATOR).any(|slice| slice == more.slice) {
                entry.slice = format!("{}{SLICE_SEPARATOR}{}", entry.slice, more.slice);
            }
        }
        Ok(Books {
            entries: Some(entries.into_values().collect()),
            replaced,
            quarantine: replayed.quarantine.clone(),
            replaced_files: replayed.replaced.clone(),
            taken_out: None,
        })
    }
}

impl Candidate {
    /// All rejects of an object, which is read whole.
    fn of_object(object: &RawObject, rejects: Vec<StoredReject>) -> Self {
        let pieces = rejects.iter().map(|reject| piece(reject, reject.bytes())).collect();
        Self { portion: Portion { object: object.clone(), base: 0, pieces }, rejects }
    }

    /// One reject of an object, of which only its bytes are read. Comes with what stands for them when they are read.
    fn of_bytes(object: &RawObject, reject: StoredReject) -> (RawObject, Self) {
        let etag = format!("{}#{}", object.etag, reject.offset);
        let read = RawObject { key: object.key.clone(), etag, size_bytes: reject.plain_bytes };
        let pieces = vec![piece(&reject, 0..reject.plain_bytes)];
        let portion = Portion { object: object.clone(), base: reject.offset, pieces };
        (read, Self { portion, rejects: vec![reject] })
    }

    /// Drops the rejects that stay in quarantine. Says whether any is left.
    fn keep(&mut self, fates: &[Fates], is_part: bool) -> bool {
        let is_valid = |(reject, fates): (&StoredReject, &Fates)| {
            let is_envelope = reject.reason == Reason::EnvelopeMissing.name();
            match (fates.rows, fates.rejected) {
                _ if fates.is_crossed => false,
                // An envelope of no records, or an object that was given up behind its last one.
                (0, 0) => is_envelope || reject.stored_bytes > 0,
                (0, _) => false,
                // A part of an object that is sound only at its begin is no value by itself.
                (_, rejected) => rejected == 0 || is_envelope || !is_part,
            }
        };
        let kept: Vec<bool> = self.rejects.iter().zip(fates).map(is_valid).collect();
        retain_by(&mut self.rejects, &kept);
        retain_by(&mut self.portion.pieces, &kept);
        !self.rejects.is_empty()
    }
}

fn retain_by<T>(values: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    values.retain(|_| kept.next().is_some_and(|kept| *kept));
}

fn piece(reject: &StoredReject, bytes: std::ops::Range<u64>) -> Piece {
    Piece { bytes, run_id: reject.run_id.clone(), rejected_at_micros: reject.rejected_at_micros }
}

/// Whether a reject's bytes may be one value or several, whatever stood around them; if so, whether they are a record, which
/// is not to be searched for an envelope. What nothing in the configuration can make valid is left alone.
fn stands_alone(reject: &StoredReject, decode: &DecodeOptions) -> Option<bool> {
    let is = |reasons: &[Reason]| reject.stored_bytes == 0 && reasons.iter().any(|one| one.name() == reject.reason);
    if is(&[Reason::TypeMismatch, Reason::UnknownColumn]) {
        // The members of an envelope are gone with it.
        let has_members = !decode.records_path.is_empty() && !decode.envelope_fields.is_empty();
        return (!has_members).then_some(true);
    }
    is(&[Reason::EnvelopeMissing, Reason::TooDeep, Reason::RecordTooLarge]).then_some(false)
}

impl Group {
    /// Tries all candidates and drops what stays in quarantine. `unreadable` hears of objects that could not be read.
    fn keep_what_is_valid(&mut self, setup: &Setup, mut unreadable: impl FnMut(RawObject, String)) -> Result<()> {
        let slices: Vec<(Vec<RawObject>, Vec<Portion>)> = self.slices(setup.workers);
        let fates = run_all(slices.iter().collect(), setup.workers, |(objects, portions)| {
            Ok(try_again(&self.context.fetcher, objects, portions, &self.decode, setup))
        })?;
        for (object, fates) in slices.into_iter().flat_map(|(objects, _)| objects).zip(fates.into_iter().flatten()) {
            let is_kept = match (self.candidates.get_mut(&object), fates) {
                (Some(candidate), Ok(fates)) => {
                    let is_part = candidate.portion.object != object;
                    candidate.keep(&fates, is_part)
                }
                (_, Err(why)) => {
                    unreadable(object.clone(), why);
                    false
                }
                (None, _) => false,
            };
            if !is_kept {
                self.candidates.remove(&object);
            }
        }
        Ok(())
    }

    fn slices(&self, workers: usize) -> Vec<(Vec<RawObject>, Vec<Portion>)> {
        let objects: Vec<RawObject> = self.candidates.keys().cloned().collect();
        let slices = if objects.is_empty() { Vec::new() } else { cut(objects, workers) };
        let portions = |objects: &[RawObject]| {
            objects.iter().filter_map(|object| self.candidates.get(object)).map(|found| found.portion.clone()).collect()
        };
        slices
            .into_iter()
            .map(|objects| (portions(&objects), objects))
            .map(|(portions, objects)| (objects, portions))
            .collect()
    }

    fn tasks(&self, setup: &Setup) -> Vec<(SliceTask, SliceContext)> {
        let task = |(objects, portions): (Vec<RawObject>, Vec<Portion>)| {
            let mut task = SliceTask { portions, ..setup.task(objects) };
            task.options.decode = self.decode.clone();
            (task, self.context.clone())
        };
        self.slices(setup.workers).into_iter().map(task).collect()
    }
}

impl Found {
    fn notes(&self) -> Vec<String> {
        let unread = self.unreadable.iter();
        let mut notes: Vec<String> =
            unread.map(|(object, why)| format!("{} could not be read: {why}; its rejects stay", object.key)).collect();
        if self.stuck > 0 {
            notes.push(format!("{} rejects stay whose raw objects are gone or changed", self.stuck));
        }
        notes
    }
}

/// What two rounds did.
fn sum(before: Option<SourceReport>, after: SourceReport) -> SourceReport {
    let Some(before) = before else { return after };
    SourceReport {
        objects: before.objects + after.objects,
        success_count: before.success_count + after.success_count,
        bytes_in: before.bytes_in + after.bytes_in,
        bytes_out: before.bytes_out + after.bytes_out,
        files: before.files + after.files,
        schema_changes: [before.schema_changes, after.schema_changes].concat(),
        notes: [before.notes, after.notes].concat(),
        ..after
    }
}
