//! Tests of the decoder as its callers see it: windows of bytes in, rows, rejects and observations out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expects by panicking")]

mod contracts;
mod exact;
mod finishing;
mod framing;
mod many_keys;
mod properties;
mod rules;
mod selection;
mod suite;
mod types;

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use serde_json::Value;

use super::*;
use crate::schema::{Field, Observation, Type, resolve};

/// What came of decoding raw objects window by window.
#[derive(Debug, Clone)]
struct Read {
    observation: Observation,
    fields: Vec<Field>,
    /// The rows, as JSON text.
    rows: Vec<String>,
    /// The rejects, continued ones joined to the first.
    rejects: Vec<Reject>,
    /// Rows and rejects of each object.
    counts: BTreeMap<usize, (u64, u64)>,
    duplicate_keys: u64,
}

impl Read {
    /// The rejects as (reason, text).
    fn rejected(&self) -> Vec<(Reason, String)> {
        self.rejects.iter().map(|reject| (reject.reason, String::from_utf8_lossy(&reject.bytes).into_owned())).collect()
    }

    /// The type of a top-level column.
    fn ty(&self, column: &str) -> Option<&Type> {
        self.fields.iter().find(|field| field.name == column).map(|field| &field.ty)
    }

    fn values(&self) -> Vec<Value> {
        self.rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
    }
}

/// Feeds objects to a decoder as the caller in `raw` does: `sizes` are how many new bytes each window gets (in turn). The
/// end of an object is seen only by a read that finds nothing, so it may come in a window of its own.
fn feed(
    decoder: &mut Decoder,
    objects: &[&[u8]],
    sizes: &[usize],
    mut each: impl FnMut(&mut Decoder, &Decoded, &[Segment]),
) {
    let mut sizes = sizes.iter().copied().cycle();
    let (mut object, mut read, mut carried) = (0, 0, Vec::new());
    while object < objects.len() {
        let mut room = sizes.next().unwrap().max(1);
        let (mut window, mut segments): (Vec<u8>, Vec<Segment>) = Default::default();
        while object < objects.len() {
            let bytes = objects[object];
            let (start, offset) = (window.len(), (read - carried.len()) as u64);
            let take = room.min(bytes.len() - read);
            window.append(&mut carried);
            window.extend_from_slice(&bytes[read..read + take]);
            (read, room) = (read + take, room - take);
            let end = window.len();
            let last = read == bytes.len() && room > 0;
            window.resize(end + PADDING, 0);
            segments.push(Segment { object, start, end, offset, last });
            if !last {
                break;
            }
            (object, read) = (object + 1, 0);
        }
        let decoded = loop {
            let decoded = decoder.decode(&window, &segments);
            if decoded.rest.is_empty() {
                break decoded;
            }
            each(decoder, &decoded, &segments);
            segments = decoded.rest;
        };
        let tail = segments.last().unwrap();
        if tail.last {
            assert_eq!(decoded.used, tail.end - tail.start, "all of a finished object is used");
        } else {
            carried = window[tail.start + decoded.used..tail.end].to_vec();
        }
        each(decoder, &decoded, &segments);
    }
}

/// Decodes objects in windows of these sizes, finds the types, and decodes them again into columns of these types.
fn read_with(options: &DecodeOptions, objects: &[&[u8]], sizes: &[usize]) -> Read {
    let mut read = Read {
        observation: Observation::default(),
        fields: Vec::new(),
        rows: Vec::new(),
        rejects: Vec::new(),
        counts: BTreeMap::new(),
        duplicate_keys: 0,
    };
    let mut decoder = Decoder::new(options, &Observation::default());
    feed(&mut decoder, objects, sizes, |_, decoded, segments| {
        assert_eq!(decoded.counts.len() + decoded.rest.len(), segments.len() + usize::from(!decoded.rest.is_empty()));
        for (segment, counts) in segments.iter().zip(&decoded.counts) {
            assert_eq!(counts.records, counts.rows + counts.rejected, "every value is a row or a reject");
            let (rows, rejected) = read.counts.entry(segment.object).or_default();
            (*rows, *rejected) = (*rows + counts.rows, *rejected + counts.rejected);
        }
        read.duplicate_keys += decoded.duplicate_keys;
        for reject in &decoded.rejects {
            assert_eq!(
                objects[reject.object].get(reject.offset as usize..).map(|rest| &rest[..reject.bytes.len()]),
                Some(reject.bytes.as_slice()),
                "a reject holds the bytes at its offset"
            );
            if reject.continued {
                let first = read.rejects.last_mut().expect("a continued reject has one before it");
                assert_eq!((first.object, first.offset + first.bytes.len() as u64), (reject.object, reject.offset));
                first.bytes.extend_from_slice(&reject.bytes);
            } else {
                read.rejects.push(reject.clone());
            }
        }
    });
    read.observation = decoder.observe();
    read.fields = resolve(&read.observation, &[]);
    let (batch, observed_again) = columns_of(options, objects, sizes, &read.observation);
    assert_eq!(resolve(&observed_again, &[]), read.fields, "a seeded decoder finds the same types");
    if !shares_columns(&read.fields) {
        assert_eq!(observed_again, read.observation, "and counts the same");
    }
    read.rows = texts(&batch, &read.fields);
    assert_eq!(read.rows.len() as u64, read.counts.values().map(|(rows, _)| rows).sum::<u64>());
    assert_eq!(read.rejects.len() as u64, read.counts.values().map(|(_, rejected)| rejected).sum::<u64>());
    read
}

/// Whether keys share a column, or are data: then less is told apart below them once that is known.
fn shares_columns(fields: &[Field]) -> bool {
    fn is_shared(ty: &Type) -> bool {
        match ty {
            Type::Struct(fields) => shares_columns(fields),
            Type::List(element) => is_shared(element),
            Type::Map(_) => true,
            _ => false,
        }
    }
    fields.iter().any(|field| field.keys.len() > 1 || is_shared(&field.ty))
}

/// Decodes objects with a decoder that knows `seed` from the start, into the columns that follow from it, and checks
/// that a decoder without a seed either gives the same arrays or asks for one.
fn columns_of(
    options: &DecodeOptions,
    objects: &[&[u8]],
    sizes: &[usize],
    seed: &Observation,
) -> (RecordBatch, Observation) {
    let fields = resolve(seed, &[]);
    let schema = arrow_schema(&fields);
    let mut batches = Vec::new();
    let mut seeded = Decoder::new(options, seed);
    feed(&mut seeded, objects, sizes, |decoder, _, _| {
        batches.push(decoder.finish(&fields, &schema).expect("a seeded decoder has all columns in their final form"));
    });
    let batch = concat_batches(&schema, &batches).unwrap();
    let mut unseeded = Decoder::new(options, &Observation::default());
    let mut row = 0;
    feed(&mut unseeded, objects, sizes, |decoder, decoded, _| {
        match decoder.finish(&fields, &schema) {
            Ok(part) => assert_eq!(part, batch.slice(row, decoded.rows)),
            Err(FinishError::Redo) => {}
            Err(FinishError::Arrow(error)) => panic!("{error}"),
        }
        row += decoded.rows;
    });
    batch.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
    (batch, seeded.observe())
}

/// One object in one window.
fn read(text: impl AsRef<[u8]>) -> Read {
    read_with(&DecodeOptions::default(), &[text.as_ref()], &[usize::MAX])
}

fn at_path(path: &[&str]) -> DecodeOptions {
    DecodeOptions { records_path: path.iter().map(|key| (*key).to_owned()).collect(), ..DecodeOptions::default() }
}

/// Each row as JSON text.
fn texts(batch: &RecordBatch, fields: &[Field]) -> Vec<String> {
    (0..batch.num_rows())
        .map(|row| {
            let mut text = Vec::new();
            write_record(batch, fields, row, &mut text);
            String::from_utf8(text).unwrap()
        })
        .collect()
}

/// A field whose only key is its name.
fn field(name: &str, ty: Type) -> Field {
    Field { name: name.to_owned(), keys: vec![name.to_owned()], ty }
}

fn list(element: Type) -> Type {
    Type::List(Box::new(element))
}
