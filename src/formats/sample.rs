//! The records that are measured: some raw objects of a source, decoded once.

use std::collections::HashSet;
use std::ops::ControlFlow;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type, SchemaRef, TimestampMicrosecondType};

use crate::compact::{EVENT_TIME_NAMES, find_records_path, observe};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::json::{DecodeOptions, Decoder, FinishError, arrow_schema};
use crate::raw::{Ended, Feed, Fetcher, RawObject, decode_segments, list_objects};
use crate::schema::{Contract, Field, Observation, Rule, Type, fnv1a, resolve_ruled};
use crate::store::Location;

/// So many values of a column are looked at.
const SAMPLED_VALUES: usize = 50_000;
const MICROS_PER_DAY: f64 = 86_400e6;

/// Records of one source, in memory.
#[derive(Debug)]
pub struct Sample {
    /// The source.
    pub source_id: String,
    /// Tells samples apart: of the raw objects, how much of them is taken, and how they are decoded.
    pub identity: String,
    /// Raw objects that it is of.
    pub objects: usize,
    /// Decompressed bytes of raw JSON.
    pub raw_bytes: u64,
    /// Records.
    pub rows: u64,
    /// Bytes in memory.
    pub memory_bytes: usize,
    /// What was seen of the records.
    pub observed: Observation,
    /// What is said of their columns.
    pub rule: Rule,
    /// The columns.
    pub fields: Vec<Field>,
    /// Their Arrow schema.
    pub schema: SchemaRef,
    /// The records, in the order of the raw objects.
    pub batches: Vec<RecordBatch>,
    /// What the columns are good for.
    pub columns: Columns,
}

/// What columns are good for, going by the values of the sample. All are top-level columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// The time of events.
    pub event_time: Option<String>,
    /// Days from the first to the last of these.
    pub days: f64,
    /// Columns of few distinct values, fewest first.
    pub few_values: Vec<String>,
    /// A column nearly all of whose values are distinct.
    pub key: Option<String>,
}

impl Sample {
    /// Takes about `sample_bytes` of the raw objects in a folder, spread evenly over its listing, and decodes them.
    ///
    /// # Errors
    /// `NotFound`: there is no raw object, or no record in them. `Failed`: one cannot be read.
    pub async fn take(
        source_id: &str,
        folder: &Location,
        settings: &Settings,
        sample_bytes: u64,
        threads: usize,
    ) -> Result<Self> {
        let mut objects = Vec::new();
        let mut listing = list_objects(folder)?;
        while let Some(batch) = listing.next().await? {
            objects.extend(batch.iter().map(RawObject::from));
        }
        if objects.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, format!("there are no raw objects in {}", folder.url())));
        }
        let objects = spread(objects, sample_bytes);
        let fetcher = Fetcher::new(folder, &tokio::runtime::Handle::current())?;
        let decode = || Self::decode(source_id, &fetcher, &objects, settings, sample_bytes, threads);
        let sample = tokio::task::block_in_place(decode)?;
        if sample.rows == 0 {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no record in {}", folder.url())));
        }
        Ok(sample)
    }

    fn decode(
        source_id: &str,
        fetcher: &Fetcher,
        objects: &[RawObject],
        settings: &Settings,
        sample_bytes: u64,
        threads: usize,
    ) -> Result<Self> {
        let limits = &settings.limits;
        let records_path = match &settings.records_path {
            Some(path) => path.clone(),
            None => find_records_path(fetcher, objects, limits)?,
        };
        let decode = DecodeOptions {
            max_depth: settings.max_depth,
            records_path,
            rule: settings.rule.clone(),
            envelope_fields: settings.envelope_fields.clone(),
            max_columns: settings.max_columns,
            max_cells: DecodeOptions::default().max_cells,
            contract: Contract::Evolve,
        };
        let observed = observe(fetcher, objects, &decode, limits, threads)?;
        let fields = resolve_ruled(&observed, &[], &decode.rule);
        let schema = arrow_schema(&fields);
        let mut decoder = Decoder::new(&decode, &observed);
        let (mut batches, mut raw_bytes, mut failed) = (Vec::new(), 0, None);
        let feed = Feed::new(fetcher, objects, limits.clone());
        let ended = decode_segments(feed, &decode, &mut decoder, |decoder, decoded, feed| {
            let held = &feed.segments[..decoded.counts.len()];
            let (last, whole) = held.split_last().map_or((0, held), |(_, whole)| (decoded.used, whole));
            raw_bytes += (whole.iter().map(|part| part.end - part.start).sum::<usize>() + last) as u64;
            if decoded.rows > 0 {
                match decoder.finish(&fields, &schema) {
                    Ok(batch) => batches.push(batch),
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
            }
            if raw_bytes >= sample_bytes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match (failed, ended) {
            (Some(FinishError::Redo), _) => {
                return Err(Error::new(ErrorKind::Failed, "raw objects changed while they were read"));
            }
            (Some(FinishError::Arrow(error)), _) => return Err(Error::failed("cannot build rows", error)),
            (None, Ended::Unreadable { object, error }) => {
                let key = objects.get(object).map_or("", |object| object.key.as_str());
                return Err(Error::failed(format!("{key} could not be read"), error));
            }
            (None, Ended::All | Ended::Stopped) => {}
        }
        // The rule and the objects: what decides the records.
        let identity = format!("{source_id} {sample_bytes} {decode:?} {objects:?} {limits:?}");
        Ok(Self {
            source_id: source_id.to_owned(),
            identity: format!("{:016x}", fnv1a(&identity)),
            objects: objects.len(),
            raw_bytes,
            rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            memory_bytes: batches.iter().map(RecordBatch::get_array_memory_size).sum(),
            columns: Columns::of(&fields, &batches),
            observed,
            rule: decode.rule,
            fields,
            schema,
            batches,
        })
    }
}

/// Objects of about `wanted_bytes` stored bytes, spread evenly.
fn spread(objects: Vec<RawObject>, wanted_bytes: u64) -> Vec<RawObject> {
    let all_bytes: u64 = objects.iter().map(|object| object.size_bytes).sum();
    if all_bytes <= wanted_bytes {
        return objects;
    }
    let share = wanted_bytes as f64 / all_bytes as f64;
    let mut due = 0.0;
    let mut taken: Vec<RawObject> = Vec::new();
    for object in objects {
        due += object.size_bytes as f64 * share;
        if taken.is_empty() || due >= object.size_bytes as f64 {
            due -= object.size_bytes as f64;
            taken.push(object);
        }
    }
    taken
}

/// The first values of a column.
#[derive(Debug, Default)]
struct Seen {
    distinct: HashSet<u64>,
    values: usize,
    nulls: usize,
}

impl Seen {
    /// `None` for columns of no use.
    fn of(arrays: &[&ArrayRef], ty: &Type) -> Option<Self> {
        let mut seen = Self::default();
        for array in arrays {
            match ty {
                Type::Text => array.as_string::<i32>().iter().for_each(|value| seen.see(value.map(fnv1a))),
                Type::Int64 => {
                    array.as_primitive::<Int64Type>().iter().for_each(|value| seen.see(value.map(|v| v as u64)));
                }
                Type::Bool => array.as_boolean().iter().for_each(|value| seen.see(value.map(u64::from))),
                _ => return None,
            }
            if seen.values + seen.nulls >= SAMPLED_VALUES {
                break;
            }
        }
        Some(seen)
    }

    fn see(&mut self, hash: Option<u64>) {
        match hash {
            Some(hash) => {
                self.distinct.insert(hash);
                self.values += 1;
            }
            None => self.nulls += 1,
        }
    }
}

impl Columns {
    fn of(fields: &[Field], batches: &[RecordBatch]) -> Self {
        let arrays = |index: usize| batches.iter().map(|batch| batch.column(index)).collect::<Vec<_>>();
        let mut found = Self::default();
        let mut few = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            let Some(seen) = Seen::of(&arrays(index), &field.ty) else { continue };
            let (distinct, values, nulls) = (seen.distinct.len(), seen.values, seen.nulls);
            let is_dense = values >= 9 * nulls && values > 0;
            if is_dense && distinct > 1 && distinct <= 1_000 && distinct * 20 <= values {
                few.push((distinct, field.name.clone()));
            }
            if is_dense && found.key.is_none() && !matches!(field.ty, Type::Bool) && distinct * 10 >= values * 9 {
                found.key = Some(field.name.clone());
            }
        }
        few.sort();
        found.few_values = few.into_iter().map(|(_, name)| name).collect();
        let times: Vec<(&str, f64)> = fields
            .iter()
            .enumerate()
            .filter_map(|(index, field)| Some((field.name.as_str(), days(&arrays(index), &field.ty)?)))
            .collect();
        let named = EVENT_TIME_NAMES.iter().find_map(|name| times.iter().find(|(time, _)| time == name));
        if let Some((name, days)) = named.or(times.first()) {
            (found.event_time, found.days) = (Some((*name).to_owned()), *days);
        }
        found
    }
}

/// Days from the first to the last time of a column that has no null; `None` when it is no such.
fn days(arrays: &[&ArrayRef], ty: &Type) -> Option<f64> {
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    for array in arrays {
        let mut see = |value: i64| (min, max) = (min.min(value), max.max(value));
        match ty {
            _ if array.null_count() > 0 => return None,
            Type::Timestamp { .. } => {
                array.as_primitive::<TimestampMicrosecondType>().values().iter().copied().for_each(see);
            }
            Type::Date => array
                .as_primitive::<Date32Type>()
                .values()
                .iter()
                .for_each(|day| see(i64::from(*day) * MICROS_PER_DAY as i64)),
            _ => return None,
        }
    }
    (min <= max).then(|| (max - min) as f64 / MICROS_PER_DAY)
}
