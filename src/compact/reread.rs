//! Files written again from the raw objects that their rows came from.
//!
//! ```text
//! name of a file --slice, number--> which rows of its slice and partition it holds
//! ledger --slice--> raw objects --decoded again, in order--> rows --partition, place--> the file that takes its place
//! ```
//!
//! A merged file holds rows of several slices: each gives a piece, and the pieces become the file (see `assemble`).
//!
//! Nothing is taken on trust: each raw object must give as many rows as before, each partition as many as its files have,
//! and each new file must agree with the old one in every value that the old one determines. Otherwise the old file is
//! widened from what is stored in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::StreamExt as _;

use super::assemble::{Assembly, Stretch};
use super::compare::same_rows;
use super::pool::run_all;
use super::provenance::with_provenance;
use super::rewrite::{Affected, Promotion, matching};
use crate::error::{Context as _, Error, Result};
use crate::json::{DecodeOptions, Decoder, FinishError, arrow_schema};
use crate::lake::{ActiveFile, Hidden, Merged, OriginRun, Origins, SLICE_SEPARATOR, Segment, Unit};
use crate::partition::{Part, PartitionKey, Partitioning, Transform, find, split};
use crate::raw::{Ended, Feed, Filled, RawObject, decode_objects, is_lasting};
use crate::schema::{Contract, Field, Kind, Observation, Type, resolve_ruled};
use crate::write::{DataFile, FileOrigin, RangeWriter, RowRange};

/// So many partitions are written at a time at most; for more, the raw objects are read once more.
const MAX_OPEN_FILES: usize = 128;
/// So many records of the origins of rows are read at a time.
const RECORDS_AHEAD: usize = 16;
/// What an open file holds of what it has not stored yet, at most.
const MAX_OPEN_BYTES: u64 = 8 << 20;

/// Why rows could not be decoded again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lost {
    /// The file's name or the ledger does not tell the raw objects.
    Unknown,
    /// A raw object is gone, is another by now, or is forbidden: its key, and why.
    Unreadable(String, String),
    /// The raw objects give other rows than those of the file.
    OtherRows,
    /// Rows of one of the raw objects came out of the quarantine, into files of another slice.
    Replayed,
    /// Another engine has put values of its own beside them.
    Foreign,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("it is not recorded which raw objects their rows came from"),
            Self::Unreadable(key, why) => write!(f, "{key} could not be read again: {why}"),
            Self::OtherRows => f.write_str("their raw objects give other rows than they hold"),
            Self::Foreign => f.write_str("another engine has given them columns of its own"),
            Self::Replayed => f.write_str("some rows of their raw objects were taken from the quarantine later"),
        }
    }
}

/// What an object that could not be read means for the rows that came from it.
///
/// # Errors
/// When it may be read another time: another run then gives the values that this one would lose.
fn lost(object: &RawObject, error: std::io::Error) -> Result<Lost> {
    if is_lasting(&error) {
        return Ok(Lost::Unreadable(object.key.clone(), error.to_string()));
    }
    Err(Error::failed(format!("cannot read {} again, whose text a promoted column needs", object.key), error))
}

/// What an attempt at a slice read, and what is to be made of it.
#[derive(Debug, Default)]
struct Slice {
    /// The objects that gave rows, in the order of their keys.
    objects: Vec<RawObject>,
    /// How many rows each gave.
    rows: Vec<u64>,
    /// Other rows of one of the objects are in files of another slice: which are whose is not recorded.
    is_mixed: bool,
    targets: Vec<Target>,
}

/// A file whose rows are wanted.
#[derive(Debug)]
struct Target {
    old: Arc<Affected>,
    /// Which of the merged files it is a piece of.
    merged: Option<usize>,
    /// Its partition, as [`Promotion::key`] has it.
    key: PartitionKey,
    /// Its rows among those of its slice and partition.
    rows: Range<u64>,
    /// How many those are.
    total: u64,
}

/// The types of the columns that rows are assigned to partitions by.
///
/// They are those of the time when the rows were written. They are not recorded; a wrong guess shows in the number of rows.
#[derive(Debug, Clone, Copy)]
enum Guess {
    /// Those that the table has so far.
    Table,
    /// Those that follow from the slice alone, and perhaps a kind of value in other slices.
    Slice(Option<Kind>),
}

/// A slice alone may have integers where the table had doubles, and either where it had strings.
const GUESSES: [Guess; 4] =
    [Guess::Table, Guess::Slice(None), Guess::Slice(Some(Kind::Double)), Guess::Slice(Some(Kind::String))];

/// A decoder for the columns that rows are assigned to partitions by.
struct Keys {
    decoder: Decoder,
    fields: Vec<Field>,
    schema: SchemaRef,
}

/// What became of a file whose rows were wanted.
type Outcome = (Arc<Affected>, Result<DataFile, Lost>);

/// The files that a slice wrote into one partition.
#[derive(Debug, Default)]
struct Place {
    /// By number: the first of their rows among those of the slice and partition, and how many they are.
    units: BTreeMap<u64, (u64, u64)>,
    /// The rows of all of them.
    total: u64,
    /// How many of these are in files.
    there: u64,
    /// Where the rows that are decoded again lie among them, each stretch with the number that its first row then has; empty:
    /// all of them are.
    left: Vec<(u64, u64)>,
    /// Two files tell different things.
    is_disputed: bool,
}

impl Place {
    /// The number of a row that is there, among those that are decoded again.
    fn number(&self, row: u64) -> u64 {
        match self.left[..self.left.partition_point(|(start, _)| *start <= row)].last() {
            Some((start, number)) => number + (row - start),
            None => row,
        }
    }
}

/// Where the rows of files lie, by slice and partition.
type Places = HashMap<(String, PartitionKey), Place>;

impl Promotion<'_> {
    /// Writes files again from raw objects. `files` are all that the table has, `gone` the objects of the ledger that have no
    /// rows in them any more. Blocks.
    ///
    /// # Errors
    /// When the ledger or a data file cannot be read, or a file cannot be written.
    pub(super) fn reread(
        &self,
        files: &[ActiveFile],
        affected: Vec<Affected>,
        ledger: &[Segment],
        gone: &BTreeSet<&RawObject>,
    ) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        if affected.is_empty() {
            return Ok(outcomes);
        }
        let mut merged: Vec<Assembly> = Vec::new();
        let origins = self.origins(files)?;
        let mut places = self.places(files, &origins);
        let units = affected.iter().filter_map(|old| origins.get(&old.file.path)).flat_map(|origins| &origins.units);
        let mut slices: BTreeMap<String, Slice> =
            units.map(|unit| (unit.origin.slice.clone(), Slice::default())).collect();
        if !slices.is_empty() {
            self.find_objects(ledger, gone, &mut slices)?;
            self.close_gaps(files, &origins, &slices, &mut places);
        }
        for old in affected.into_iter().map(Arc::new) {
            let key = self.key(&old.file.partition);
            let stretches = origins.get(&old.file.path).and_then(|origins| stretches(origins, &key, &places));
            let Some(stretches) = stretches else {
                outcomes.push((old, Err(Lost::Unknown)));
                continue;
            };
            let is_whole = FileOrigin::of(&old.file.path).is_some();
            let number = merged.len();
            let mut want = |slice: &str, rows: Range<u64>| {
                let total = places.get(&(slice.to_owned(), key.clone())).map_or(0, |place| place.total);
                let merged = (!is_whole).then_some(number);
                let target = Target { old: Arc::clone(&old), merged, key: key.clone(), rows, total };
                slices.entry(slice.to_owned()).or_default().targets.push(target);
            };
            if is_whole {
                stretches.into_iter().for_each(|stretch| want(&stretch.slice, stretch.rows));
                continue;
            }
            let assembly = Assembly::new(Arc::clone(&old), &stretches);
            assembly.pieces().for_each(|(slice, rows)| want(slice, rows.clone()));
            merged.push(assembly);
        }
        slices.retain(|_, slice| !slice.targets.is_empty());
        let done = run_all(slices.into_iter().collect(), self.workers, |(id, slice)| {
            Ok(self.redo(slice)?.into_iter().map(move |outcome| (id.clone(), outcome)).collect::<Vec<_>>())
        })?;
        for (slice, (target, outcome)) in done.into_iter().flatten() {
            match target.merged {
                None => outcomes.push((target.old, outcome)),
                Some(number) => merged[number].take(&slice, &target.rows, outcome),
            }
        }
        outcomes.extend(run_all(merged, self.workers, |assembly| self.assemble(assembly))?);
        Ok(outcomes)
    }

    /// Where the rows of each file came from, by its path, where something tells.
    fn origins(&self, files: &[ActiveFile]) -> Result<HashMap<String, Origins>> {
        let hidden = &self.context.hidden;
        let read = |file: ActiveFile| async move {
            // What cannot be read tells nothing; the file is then widened from what is stored.
            let origins = Origins::of(hidden, &file).await;
            let origins = origins.unwrap_or_else(|error| {
                tracing::warn!(file = file.path, %error, "its origins are not known");
                None
            });
            Some((file.path, origins?))
        };
        let found = futures::stream::iter(files.to_vec()).map(read).buffered(RECORDS_AHEAD);
        Ok(self.context.write.runtime.block_on(found.filter_map(std::future::ready).collect()))
    }

    /// Where the rows of files lie.
    fn places(&self, files: &[ActiveFile], origins: &HashMap<String, Origins>) -> Places {
        let mut found: HashMap<(String, PartitionKey), BTreeMap<u64, (u64, bool)>> = HashMap::new();
        let mut places = Places::new();
        for file in files {
            let is_whole = FileOrigin::of(&file.path).is_some();
            for unit in origins.get(&file.path).into_iter().flat_map(|origins| &origins.units) {
                let part = self.part(unit, file);
                let before =
                    found.entry(part.clone()).or_default().insert(unit.origin.number, (unit.row_count, is_whole));
                // Rows of one unit may lie in several merged files.
                if before.is_some_and(|(rows, was_whole)| was_whole || is_whole || rows != unit.row_count) {
                    places.entry(part).or_default().is_disputed = true;
                }
            }
        }
        for (file, run, unit) in runs(files, origins) {
            places.entry(self.part(unit, file)).or_default().there += run.rows;
        }
        for (part, units) in found {
            let place = places.entry(part).or_default();
            for (number, (rows, _)) in units {
                place.units.insert(number, (place.total, rows));
                place.total += rows;
            }
        }
        places
    }

    /// The slice and partition of the rows of a unit that are in a file.
    fn part(&self, unit: &Unit, file: &ActiveFile) -> (String, PartitionKey) {
        (unit.origin.slice.clone(), self.key(&file.partition))
    }

    /// Numbers the rows of slices anew that lost those of raw objects that changed, and no others: what is left is what their
    /// other objects gave.
    ///
    /// That is so when as many rows are there as these objects gave: whatever else takes rows out leaves fewer.
    fn close_gaps(
        &self,
        files: &[ActiveFile],
        origins: &HashMap<String, Origins>,
        slices: &BTreeMap<String, Slice>,
        places: &mut Places,
    ) {
        let mut rows: HashMap<&str, (u64, u64)> = HashMap::new();
        for ((slice, _), place) in &*places {
            let (there, total) = rows.entry(slice).or_default();
            (*there, *total) = (*there + place.there, *total + place.total);
        }
        let lost_objects = |(id, slice): &(&String, &Slice)| {
            let of_objects = slice.rows.iter().sum::<u64>();
            rows.get(id.as_str()).is_some_and(|(there, total)| there < total && *there == of_objects)
        };
        let lessened: BTreeSet<&String> = slices.iter().filter(lost_objects).map(|(id, _)| id).collect();
        let mut left: HashMap<(String, PartitionKey), Vec<Range<u64>>> = HashMap::new();
        let is_left = |run: &OriginRun, unit: &Unit| run.rows > 0 && lessened.contains(&unit.origin.slice);
        for (file, run, unit) in runs(files, origins).filter(|(_, run, unit)| is_left(run, unit)) {
            let part = self.part(unit, file);
            let start = places.get(&part).and_then(|place| place.units.get(&unit.origin.number));
            let first = start.map_or(0, |(start, _)| *start) + run.first;
            left.entry(part).or_default().push(first..first + run.rows);
        }
        for (part, mut ranges) in left {
            let Some(place) = places.get_mut(&part) else { continue };
            ranges.sort_by_key(|rows| rows.start);
            let (mut number, mut end) = (0, None);
            for rows in ranges {
                if end != Some(rows.start) {
                    place.left.push((rows.start, number));
                }
                number += rows.end - rows.start;
                end = Some(rows.end);
            }
            place.total = number;
        }
    }

    /// Reads off the ledger what each slice read, but for what is `gone`.
    fn find_objects(
        &self,
        ledger: &[Segment],
        gone: &BTreeSet<&RawObject>,
        slices: &mut BTreeMap<String, Slice>,
    ) -> Result<()> {
        let runtime = &self.context.write.runtime;
        let mut entries = runtime.block_on(Merged::open(&self.context.hidden, ledger))?;
        while let Some(entry) = runtime.block_on(entries.next())? {
            if entry.slice.contains(SLICE_SEPARATOR) {
                for id in entry.slice.split(SLICE_SEPARATOR) {
                    slices.get_mut(id).into_iter().for_each(|slice| slice.is_mixed = true);
                }
                continue;
            }
            // What gave no row need not be there any more.
            let is_needed = entry.rows_out > 0 && !gone.contains(&entry.object);
            if let Some(slice) = slices.get_mut(&entry.slice).filter(|_| is_needed) {
                slice.objects.push(entry.object);
                slice.rows.push(entry.rows_out);
            }
        }
        Ok(())
    }

    /// Decodes a slice again, as often as it takes.
    fn redo(&self, mut slice: Slice) -> Result<Vec<(Target, Result<DataFile, Lost>)>> {
        let mut left = std::mem::take(&mut slice.targets);
        let mut outcomes = Vec::new();
        let is_known = !slice.objects.is_empty() && !slice.is_mixed;
        let mut lost = match (slice.is_mixed, is_known) {
            (true, _) => Lost::Replayed,
            (false, true) => Lost::OtherRows,
            (false, false) => Lost::Unknown,
        };
        let mut tried = Vec::new();
        let mut own = None;
        let guesses = match (is_known, self.column_exprs().0.is_empty()) {
            (false, _) => &[][..],
            (true, true) => &GUESSES[..1],
            (true, false) => &GUESSES[..],
        };
        'all: for guess in guesses {
            if left.is_empty() {
                break;
            }
            let (observed, fields) = match self.guess(*guess, &slice, &mut own)? {
                Ok(guessed) => guessed,
                Err(why) => {
                    lost = why;
                    break;
                }
            };
            let types = self.key_types(&fields);
            if tried.contains(&types) {
                continue;
            }
            tried.push(types);
            let mut passes = self.passes(std::mem::take(&mut left)).into_iter();
            while let Some(targets) = passes.next() {
                match self.pass(&slice, &targets, &observed, &fields)? {
                    Ok(files) => {
                        for (target, file) in targets.into_iter().zip(files) {
                            match file {
                                Some(file) => outcomes.push((target, Ok(file))),
                                None => left.push(target),
                            }
                        }
                    }
                    Err(why) => {
                        lost = why;
                        left.extend(targets.into_iter().chain(passes.flatten()));
                        break 'all;
                    }
                }
            }
        }
        outcomes.extend(left.into_iter().map(|target| (target, Err(lost.clone()))));
        Ok(outcomes)
    }

    /// Cuts targets into those that may be written at a time.
    fn passes(&self, targets: Vec<Target>) -> Vec<Vec<Target>> {
        let mut keys: BTreeMap<PartitionKey, Vec<Target>> = BTreeMap::new();
        targets.into_iter().for_each(|target| keys.entry(target.key.clone()).or_default().push(target));
        let mut passes: Vec<Vec<Target>> = Vec::new();
        let (mut open_files, mut open_bytes) = (0, 0);
        for targets in keys.into_values() {
            // Of each partition one file is open at a time. Wider text takes more space.
            let sizes = targets.iter().map(|target| (2 * target.old.file.size_bytes).min(MAX_OPEN_BYTES));
            let bytes = sizes.max().unwrap_or(0);
            let is_full = open_files == MAX_OPEN_FILES || open_bytes + bytes > self.options.memory_bytes as u64 / 2;
            match passes.last_mut().filter(|_| !is_full) {
                Some(pass) => pass.extend(targets),
                None => {
                    (open_files, open_bytes) = (0, 0);
                    passes.push(targets);
                }
            }
            open_files += 1;
            open_bytes += bytes;
        }
        passes
    }

    /// Decodes a slice once and writes the files that take the targets' places; none where the rows are not the same.
    fn pass(
        &self,
        slice: &Slice,
        targets: &[Target],
        observed: &Observation,
        key_fields: &[Field],
    ) -> Result<Result<Vec<Option<DataFile>>, Lost>> {
        let runtime = &self.context.write.runtime;
        let after = &self.after.fields;
        let wanted: Vec<Vec<Field>> = targets.iter().map(|target| matching(&target.old.held, after, true)).collect();
        let for_keys = self.key_fields(after);
        let is_wanted = |field: &&Field| wanted.iter().flatten().chain(&for_keys).any(|other| other.name == field.name);
        let fields: Vec<Field> = after.iter().filter(is_wanted).cloned().collect();
        let ranges = targets.iter().zip(wanted).map(|(target, fields)| RowRange {
            path: match target.merged {
                None => self.new_path(&target.old.file),
                Some(_) => format!("{}/piece.parquet", Hidden::scratch_folder(&self.clock.new_id())),
            },
            partition: target.old.file.partition.clone(),
            key: target.key.clone(),
            rows: target.rows.clone(),
            fields,
        });
        let (context, memory_bytes) = (self.context.write.clone(), self.options.memory_bytes);
        let mut writer = RangeWriter::new(context, memory_bytes, fields.clone(), ranges.collect());
        let keys = self.keys(observed, key_fields);
        let ended = self.decode(slice, &fields, keys, &mut writer);
        let came: Vec<u64> = targets.iter().map(|target| writer.rows(&target.key)).collect();
        let mut files = writer.close();
        let mut refused = Vec::new();
        if !matches!(ended, Ok(Ok(()))) {
            refused.extend(files.drain(..).flatten());
        }
        for ((target, came), file) in targets.iter().zip(came).zip(&mut files) {
            let Some(new) = file.take_if(|_| came != target.total) else { continue };
            refused.push(new);
        }
        for (target, file) in targets.iter().zip(&mut files) {
            // A piece is compared when the file that it is a part of is whole again.
            let Some(new) = file.as_ref().filter(|_| target.merged.is_none()) else { continue };
            let same = same_rows(&self.context.hidden, &target.old, &self.before.fields, new);
            if !runtime.block_on(same)? {
                refused.extend(file.take());
            }
        }
        let refused: Vec<String> = refused.into_iter().map(|file| file.path).collect();
        runtime.block_on(self.context.hidden.discard(&refused));
        Ok(ended?.map(|()| files))
    }

    /// Hands all rows of a slice to `writer`, as the columns `fields`, each under the key of its partition.
    fn decode(
        &self,
        slice: &Slice,
        fields: &[Field],
        mut keys: Option<Keys>,
        writer: &mut RangeWriter,
    ) -> Result<Result<(), Lost>> {
        let schema = arrow_schema(fields);
        let by = self.column_exprs();
        let mut decoder = Decoder::new(&self.options.decode, &self.after.observed);
        let mut rows = vec![0; slice.objects.len()];
        let mut feed = self.feed(slice);
        loop {
            let filled = feed.fill();
            if let Filled::Unreadable { object, error } = filled {
                return lost(&slice.objects[object], error).map(Err);
            }
            let Some(last) = feed.segments.last().copied() else { break };
            let mut decoders = std::iter::once(&mut decoder).chain(keys.iter_mut().map(|keys| &mut keys.decoder));
            let enveloped = decoders.try_for_each(|decoder| feed.read_envelope(&self.options.decode, decoder));
            if let Err((object, error)) = enveloped {
                return lost(&slice.objects[object], error).map(Err);
            }
            let decoded = decoder.decode(&feed.window, &feed.segments);
            let most_rows = if decoded.rest.is_empty() { usize::MAX } else { decoded.rows };
            let keyed = keys.as_mut().map(|keys| keys.decoder.decode_rows(&feed.window, &feed.segments, most_rows));
            if keyed.is_some_and(|keyed| (keyed.rows, keyed.used) != (decoded.rows, decoded.used)) {
                return Ok(Err(Lost::OtherRows));
            }
            for (segment, counts) in feed.segments.iter().zip(&decoded.counts) {
                rows[segment.object] += counts.rows;
            }
            if decoded.rows > 0 {
                let batch = decoder.finish(fields, &schema);
                let key_batch = keys.as_mut().map(|keys| keys.decoder.finish(&keys.fields, &keys.schema)).transpose();
                let (batch, key_batch) = match (batch, key_batch) {
                    (Ok(batch), Ok(key_batch)) => (batch, key_batch),
                    (Err(FinishError::Arrow(error)), _) | (_, Err(FinishError::Arrow(error))) => {
                        return Err(Error::failed("cannot build columns", error));
                    }
                    // Something was seen that was not there when the columns were settled.
                    (Err(FinishError::Redo), _) | (_, Err(FinishError::Redo)) => return Ok(Err(Lost::OtherRows)),
                };
                let of_objects = feed.segments.iter().zip(&decoded.counts);
                let of_objects =
                    of_objects.map(|(segment, counts)| (slice.objects[segment.object].key.as_str(), counts.rows));
                let batch = with_provenance(batch, fields, of_objects)?;
                let parts = match (&keys, key_batch) {
                    (Some(keys), Some(key_batch)) => split_beside(&batch, fields, &key_batch, &keys.fields, &by),
                    _ => split(&batch, fields, &by, 0),
                };
                for part in parts.context(|| "cannot split rows by partition".to_owned())? {
                    writer.write(&part.key, &part.batch)?;
                }
            }
            if feed.take_rest(decoded.rest, &filled) {
                continue;
            }
            if let Filled::Broken { .. } = filled {
                decoder.close_object();
                keys.iter_mut().for_each(|keys| keys.decoder.close_object());
            } else if !feed.used(decoded.used) {
                decoder.lose();
                keys.iter_mut().for_each(|keys| keys.decoder.lose());
                let _ = feed.used(last.end - last.start);
            }
        }
        Ok(if rows == slice.rows { Ok(()) } else { Err(Lost::OtherRows) })
    }

    /// What the columns that rows are assigned to partitions by may have been, as an observation and the columns that follow.
    /// `own` is kept: what the slice's objects alone were observed to hold.
    fn guess(
        &self,
        guess: Guess,
        slice: &Slice,
        own: &mut Option<Observation>,
    ) -> Result<Result<(Observation, Vec<Field>), Lost>> {
        let Guess::Slice(kind) = guess else {
            return Ok(Ok((self.before.observed.clone(), self.before.fields.clone())));
        };
        let observed = match own {
            Some(observed) => observed,
            none => match self.observe(slice)? {
                Ok(observed) => none.insert(observed),
                Err(why) => return Ok(Err(why)),
            },
        };
        let mut observed = observed.clone();
        for expr in self.column_exprs().0 {
            kind.into_iter().for_each(|kind| add_kind(&mut observed, &self.before.fields, &expr.column, kind));
        }
        let fields = resolve_ruled(&observed, &self.after.reserved(), &self.options.decode.rule);
        Ok(Ok((observed, fields)))
    }

    /// Observes a slice, its columns under the names that the table has for them.
    fn observe(&self, slice: &Slice) -> Result<Result<Observation, Lost>> {
        let mut observed = names_of(&self.before.observed);
        let options = DecodeOptions { contract: Contract::Evolve, ..self.options.decode.clone() };
        let mut decoder = Decoder::new(&options, &observed);
        match decode_objects(self.feed(slice), &options, &mut decoder, |_, _| ControlFlow::Continue(())) {
            Ended::All | Ended::Stopped => {}
            Ended::Unreadable { object, error } => {
                return lost(&slice.objects[object], error).map(Err);
            }
        }
        observed.merge(&decoder.observe());
        Ok(Ok(observed))
    }

    /// A decoder for the keys of rows; none where the columns of the table from now on give the same keys.
    fn keys(&self, observed: &Observation, fields: &[Field]) -> Option<Keys> {
        if self.key_types(fields) == self.key_types(&self.after.fields) {
            return None;
        }
        let fields = self.key_fields(fields);
        // Not only of these columns: what others refuse must be refused here, too.
        // And its batches must have the same rows.
        let options = DecodeOptions { max_cells: usize::MAX, ..self.options.decode.clone() };
        let decoder = Decoder::new(&options, observed);
        Some(Keys { decoder, schema: arrow_schema(&fields), fields })
    }

    fn feed<'s>(&'s self, slice: &'s Slice) -> Feed<'s> {
        Feed::new(&self.context.fetcher, &slice.objects, self.options.limits.clone())
    }

    /// The partition expressions that are made of columns.
    fn column_exprs(&self) -> Partitioning {
        let exprs = self.after.partitioning.0.iter();
        Partitioning(exprs.filter(|expr| expr.transform != Transform::IngestedDay).cloned().collect())
    }

    /// The part of a partition's key that is made of columns. (All rows of a slice have one day of ingestion.)
    fn key(&self, partition: &PartitionKey) -> PartitionKey {
        let exprs = self.after.partitioning.0.iter().zip(partition);
        exprs.filter(|(expr, _)| expr.transform != Transform::IngestedDay).map(|(_, value)| value.clone()).collect()
    }

    /// The types that the keys of rows are made of, if the columns are `fields`.
    fn key_types(&self, fields: &[Field]) -> Vec<Option<Type>> {
        let ty = |path: &[String]| match find(fields, path)? {
            Type::Timestamp { .. } => Some(Type::Timestamp { naive: false }),
            other => Some(other.clone()),
        };
        self.column_exprs().0.iter().map(|expr| ty(&expr.column)).collect()
    }

    /// Those of `fields` that the keys of rows are made of.
    fn key_fields(&self, fields: &[Field]) -> Vec<Field> {
        let exprs = self.column_exprs().0;
        let is_used = |field: &&Field| exprs.iter().any(|expr| expr.column.first() == Some(&field.name));
        fields.iter().filter(is_used).cloned().collect()
    }
}

/// The runs of rows of files, each with its file and its unit.
fn runs<'a>(
    files: &'a [ActiveFile],
    origins: &'a HashMap<String, Origins>,
) -> impl Iterator<Item = (&'a ActiveFile, &'a OriginRun, &'a Unit)> {
    let known = files.iter().filter_map(|file| Some((file, origins.get(&file.path)?)));
    known.flat_map(|(file, origins)| origins.runs.iter().map(move |run| (file, run, &origins.units[run.unit])))
}

/// The rows of a file as places among those of their slices and its partition, whose key is `key`; `None` when not all are
/// known.
fn stretches(origins: &Origins, key: &PartitionKey, places: &Places) -> Option<Vec<Stretch>> {
    let place = |number: usize| {
        let unit = &origins.units[number];
        let place = places.get(&(unit.origin.slice.clone(), key.clone())).filter(|place| !place.is_disputed)?;
        Some((unit.origin.slice.clone(), place, place.units.get(&unit.origin.number)?.0))
    };
    let starts: Vec<(String, &Place, u64)> = (0..origins.units.len()).map(place).collect::<Option<_>>()?;
    let runs = origins.runs.iter().filter(|run| run.rows > 0);
    let stretch = |run: &OriginRun| {
        let (slice, place, start) = &starts[run.unit];
        let first = place.number(start + run.first);
        Stretch { slice: slice.clone(), rows: first..first + run.rows }
    };
    Some(runs.map(stretch).collect())
}

/// Splits a batch by the values of another one that has the same rows.
fn split_beside(
    batch: &RecordBatch,
    fields: &[Field],
    key_batch: &RecordBatch,
    key_fields: &[Field],
    by: &Partitioning,
) -> Result<Vec<Part>, ArrowError> {
    // Of two columns of one name, the first is found.
    let both_fields = [key_fields, fields].concat();
    let columns = key_batch.columns().iter().chain(batch.columns()).cloned().collect();
    let both = RecordBatch::try_new(arrow_schema(&both_fields), columns)?;
    let own: Vec<usize> = (key_fields.len()..both_fields.len()).collect();
    let parts = split(&both, &both_fields, by, 0)?.into_iter();
    parts.map(|Part { key, batch }| Ok(Part { key, batch: batch.project(&own)? })).collect()
}

/// The keys and the names of columns of an observation, as if no value had been seen.
fn names_of(observed: &Observation) -> Observation {
    Observation {
        fields: observed.fields.iter().map(|(key, below)| (key.clone(), names_of(below))).collect(),
        element: observed.element.as_deref().map(|below| Box::new(names_of(below))),
        column: observed.column.clone(),
        ..Observation::default()
    }
}

/// Counts a value of `kind` in the column at a path of names.
fn add_kind(observed: &mut Observation, fields: &[Field], path: &[String], kind: Kind) {
    let Some((name, rest)) = path.split_first() else { return };
    let Some(field) = fields.iter().find(|field| field.name == *name) else { return };
    for key in &field.keys {
        let Some(below) = observed.fields.get_mut(key) else { continue };
        match &field.ty {
            Type::Struct(fields) if !rest.is_empty() => add_kind(below, fields, rest, kind),
            _ if rest.is_empty() => below.tally.add(kind),
            _ => {}
        }
    }
}
