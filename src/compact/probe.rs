//! A first look at a few raw objects: it finds the envelope of a new source, chooses its partitions, and tells the workers
//! which columns to begin with, so that slices seldom begin again. No type rests on it: all records are observed.

use crate::error::Result;
use crate::json::{DecodeOptions, Decoder, PADDING, agreed_path, arrow_schema, shape};
use crate::partition::{Expr, Partitioning, Transform};
use crate::raw::{Feed, Fetcher, Filled, Limits, RawObject};
use crate::schema::{Kind, Observation, Rule, Type, resolve_ruled};

/// How many objects are looked at, spread evenly over the listing.
const PROBED_OBJECTS: usize = 16;
/// How many bytes of each.
const PROBED_BYTES: usize = 128 << 10;

/// Column names that stand for the time of an event, best first.
pub const EVENT_TIME_NAMES: [&str; 18] = [
    "created_at",
    "createdat",
    "event_time",
    "eventtime",
    "event_timestamp",
    "eventtimestamp",
    "timestamp",
    "occurred_at",
    "occurredat",
    "ts",
    "time",
    "datetime",
    "date_time",
    "published_at",
    "publishedat",
    "date",
    "updated_at",
    "updatedat",
];

/// Raw bytes (as stored) that a partition should have at least.
const MIN_PARTITION_BYTES: f64 = 32e6;

/// What a first look gave.
#[derive(Debug)]
pub(super) struct Probed {
    /// Where the records of an envelope lie; empty: every object is a record.
    pub records_path: Vec<String>,
    /// What the records looked like.
    pub observed: Observation,
    /// The partitions that the rule chooses, and why.
    pub partitioning: (Partitioning, String),
}

/// Looks at some of `objects`. `records_path`, when it is settled, is not looked for; that in `decode` does not count. Blocks.
///
/// # Errors
/// When rows cannot be built.
pub(super) fn probe(
    fetcher: &Fetcher,
    objects: &[RawObject],
    records_path: Option<&[String]>,
    decode: &DecodeOptions,
    limits: &Limits,
) -> Result<Probed> {
    let step = objects.len().div_ceil(PROBED_OBJECTS).max(1);
    let sample: Vec<RawObject> = objects.iter().step_by(step).cloned().collect();
    let mut windows = Vec::new();
    for object in &sample {
        let mut feed = Feed::new(fetcher, std::slice::from_ref(object), limits.clone()).with_window_bytes(PROBED_BYTES);
        // What cannot be read will be told when it is due.
        if matches!(feed.fill(), Filled::Ready) && !feed.segments.is_empty() {
            windows.push((std::mem::take(&mut feed.window), std::mem::take(&mut feed.segments)));
        }
    }
    let records_path = match records_path {
        Some(path) => path.to_vec(),
        None => {
            let shapes = windows.iter().flat_map(|(window, segments)| {
                let part = segments.last()?;
                Some(shape(&window[part.start..part.end + PADDING], part.last))
            });
            agreed_path(&shapes.collect::<Vec<_>>())
        }
    };
    let options = DecodeOptions { records_path: records_path.clone(), ..decode.clone() };
    let mut decoder = Decoder::new(&options, &Observation::default());
    let mut times: Vec<(String, i64, i64)> = Vec::new();
    for (window, segments) in &windows {
        // Of very wide records, those in the first batch are enough.
        let decoded = decoder.decode(window, segments);
        if decoded.rows > 0 {
            note_times(&mut decoder, &options.rule, &mut times)?;
        }
        decoder.close_object();
    }
    let observed = decoder.observe();
    let bytes: u64 = objects.iter().map(|object| object.size_bytes).sum();
    let partitioning = choose_partitions(&observed, &options.rule, &times, bytes);
    Ok(Probed { records_path, observed, partitioning })
}

/// Looks at some of `objects` for the place of the records in their envelopes; empty: every object is a record. Blocks.
///
/// # Errors
/// As those of a run's first look.
pub fn find_records_path(fetcher: &Fetcher, objects: &[RawObject], limits: &Limits) -> Result<Vec<String>> {
    Ok(probe(fetcher, objects, None, &DecodeOptions::default(), limits)?.records_path)
}

/// Widens the time ranges of the columns that have an event-time name, with those of the decoder's batch.
fn note_times(decoder: &mut Decoder, rule: &Rule, times: &mut Vec<(String, i64, i64)>) -> Result<()> {
    let fields: Vec<_> = resolve_ruled(&decoder.observe(), &[], rule)
        .into_iter()
        .filter(|field| EVENT_TIME_NAMES.contains(&field.name.as_str()))
        .filter(|field| matches!(field.ty, Type::Timestamp { .. } | Type::Date))
        .collect();
    let Ok(batch) = decoder.finish(&fields, &arrow_schema(&fields)) else { return Ok(()) };
    for (field, array) in fields.iter().zip(batch.columns()) {
        let Some((min, max)) = crate::partition::time_range(array, &field.ty) else { continue };
        match times.iter_mut().find(|(name, _, _)| *name == field.name) {
            Some((_, low, high)) => (*low, *high) = (min.min(*low), max.max(*high)),
            None => times.push((field.name.clone(), min, max)),
        }
    }
    Ok(())
}

/// The rule for partitions that nobody asked for.
///
/// The event time is the first of [`EVENT_TIME_NAMES`] that is a top-level timestamp or date column with a value in every
/// probed record. Its partitions are days, months or years: the finest that hold 32 MB of raw objects each, going by the
/// range of times in the probed records. Without such a column: the day of ingestion.
fn choose_partitions(
    observed: &Observation,
    rule: &Rule,
    times: &[(String, i64, i64)],
    bytes: u64,
) -> (Partitioning, String) {
    let fields = resolve_ruled(observed, &[], rule);
    let records = observed.tally.count(Kind::Object);
    let event_time = EVENT_TIME_NAMES.iter().find_map(|name| {
        let field = fields.iter().find(|field| field.name == *name)?;
        let values: u64 = field
            .keys
            .iter()
            .filter_map(|key| observed.fields.get(key))
            .map(|seen| seen.tally.total() - seen.tally.count(Kind::Null))
            .sum();
        let is_time = matches!(field.ty, Type::Timestamp { .. } | Type::Date);
        if is_time && values == records { times.iter().find(|(time, _, _)| time == name) } else { None }
    });
    let Some((name, min, max)) = event_time else {
        let ingested = Expr { transform: Transform::IngestedDay, column: Vec::new() };
        return (Partitioning(vec![ingested]), "no column is known to hold the time of events".to_owned());
    };
    let days = ((max - min) as f64 / 86_400e6).max(1.0);
    let bytes_per_day = bytes as f64 / days;
    let (transform, period) = if bytes_per_day >= MIN_PARTITION_BYTES {
        (Transform::Day, "day")
    } else if bytes_per_day * 30.0 >= MIN_PARTITION_BYTES {
        (Transform::Month, "month")
    } else {
        (Transform::Year, "year")
    };
    let reason = format!(
        "{name} holds the time of events, and about {:.1} MB of raw objects come with each day of it: partitions by {period}",
        bytes_per_day / 1e6
    );
    (Partitioning(vec![Expr { transform, column: vec![name.clone()] }]), reason)
}
