//! `verify --deep`: the raw objects that are still there are decoded again, and must give the rows of the table.
//!
//! ```text
//! data files  --origins--> slice of each row --\
//!                                               sums of fingerprints by slice: equal? --no--> row by row (see `pairs`)
//! raw objects --ledger---> slice of each row --/
//! ```
//!
//! A fingerprint is a number that equal rows share, and a sum of them knows no order: so it does not matter what was merged,
//! sorted or written again, and both sides are read once. Slices whose sums differ, or some of whose objects are gone, are
//! compared row by row, as many at a time as fit into memory. Nothing is written.
//!
//! What is no fault: rows of objects that are gone or changed (they are counted), rows that a deduplication took out, rejects
//! that would be rows today, and canonical text where a promotion could not read the raw text again (it is counted).

mod fingerprint;
mod pairs;
mod raw;

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::PoisonError;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::Serialize;
use tokio::runtime::Handle;

use self::fingerprint::{Texts, fingerprints};
use self::raw::Reread;
use crate::compact::run_all;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result, describe};
use crate::json::{DecodeOptions, arrow_schema};
use crate::lake::{
    ActiveFile, Entry, Finding, FindingKind, Head, Hidden, Merged, Origins, Registry, SLICE_SEPARATOR, StoredFile,
    Table,
};
use crate::raw::Fetcher;
use crate::schema::{Contract, Field, Rule};
use crate::store::Location;

/// Entries of the ledger that are decoded again at a time, and the stored bytes of their objects.
const CHUNK_ENTRIES: usize = 4096;
const CHUNK_BYTES: u64 = 256 << 20;

/// What a deep check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Deep {
    /// Raw objects that were decoded again.
    pub objects: u64,
    /// Raw objects that are gone, changed or cannot be read.
    pub objects_unread: u64,
    /// The rows of these, which were not checked.
    pub rows_unread: u64,
    /// Rows that were compared with their raw objects.
    pub rows: u64,
    /// Rows whose text is canonical and not that of the raw object: a promotion could not read it again.
    pub rows_canonical: u64,
    /// Columns that were not compared, as the configuration leaves their values out now.
    pub columns_left_out: Vec<String>,
    /// What is wrong.
    #[serde(skip)]
    pub findings: Vec<Finding>,
}

/// What is checked, and how.
struct Subject<'a> {
    hidden: Hidden,
    head: Head,
    registry: Registry,
    files: Vec<ActiveFile>,
    fetcher: Fetcher,
    decode: DecodeOptions,
    schema: SchemaRef,
    settings: &'a Settings,
    threads: usize,
    runtime: Handle,
}

/// Rows of one origin: how many, and the sum of their fingerprints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    sum: u64,
}

impl Sum {
    fn add(&mut self, rows: u64, sum: u64) {
        self.rows += rows;
        self.sum = self.sum.wrapping_add(sum);
    }
}

/// What the two sides say of some slices that share rows.
#[derive(Debug, Clone, Default)]
struct Part {
    table: Sum,
    raw: Sum,
    /// Rows that the ledger says were taken in.
    expected: u64,
    /// Rows of objects that could not be read.
    unread: u64,
}

/// Checks the rows of the table in a folder against the raw objects of its source.
///
/// # Errors
/// `NotFound` without a table; when the log, the ledger or the registry cannot be read. What else fails is a finding.
pub async fn verify_deep(raw: &Location, table: &Location, settings: &Settings, threads: usize) -> Result<Deep> {
    let opened = Table::open(table.clone()).await?;
    let Some(id) = opened.ledger_head().await? else {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no table at {}", table.url())));
    };
    let hidden = Hidden::new(table);
    let head: Head = hidden.read_json(&Hidden::head_path(id)).await?;
    let registry: Registry = hidden.read_json(&head.registry).await?;
    let mut decode = DecodeOptions {
        max_depth: settings.max_depth,
        records_path: registry.records_path.clone(),
        rule: settings.rule.clone(),
        envelope_fields: settings.envelope_fields.clone(),
        max_columns: settings.max_columns,
        max_cells: DecodeOptions::default().max_cells,
        contract: if registry.has_columns() { settings.contract } else { Contract::Evolve },
    };
    decode.rule.inherit_types(&registry.rule);
    let subject = Subject {
        files: opened.files()?,
        fetcher: Fetcher::new(raw, &Handle::current())?,
        schema: arrow_schema(&registry.fields),
        runtime: Handle::current(),
        hidden,
        head,
        registry,
        decode,
        settings,
        threads,
    };
    tokio::task::block_in_place(|| subject.check())
}

impl Subject<'_> {
    fn check(&self) -> Result<Deep> {
        let mut deep = Deep::default();
        let left_out = self.registry.fields.iter().filter(|field| !self.is_compared(field));
        deep.columns_left_out = left_out.map(|field| field.name.clone()).collect();
        let mut slices = self.sum_of_files(&mut deep)?;
        let joined = self.sum_of_objects(&mut slices, &mut deep)?;
        let mut parts = joined.parts(slices);
        // Rows whose origin is not known may be of any slice that lacks rows.
        let is_short = |part: &Part| part.table.rows < part.expected;
        if parts.iter().any(|(slices, part)| slices.iter().any(String::is_empty) && part.table.rows > 0) {
            let (some, others): (Vec<_>, Vec<_>) =
                parts.into_iter().partition(|(slices, part)| is_short(part) || slices.iter().any(String::is_empty));
            parts = others;
            parts.push(some.into_iter().fold(Default::default(), |mut all: (Vec<String>, Part), (slices, part)| {
                all.0.extend(slices);
                all.1.table.add(part.table.rows, part.table.sum);
                all.1.raw.add(part.raw.rows, part.raw.sum);
                all.1.expected += part.expected;
                all.1.unread += part.unread;
                all
            }));
        }
        deep.rows = parts.iter().map(|(_, part)| part.table.rows.saturating_sub(part.unread)).sum();
        deep.rows_unread = parts.iter().map(|(_, part)| part.unread).sum();
        // Of what cannot be read at all, there is nothing to compare.
        let is_all_unread = |part: &Part| part.unread > 0 && part.unread == part.expected;
        parts.retain(|(_, part)| !is_all_unread(part) && (part.unread > 0 || part.table != part.raw));
        self.compare_rows(parts, &mut deep)?;
        Ok(deep)
    }

    /// Whether the values of a column follow from the raw objects under the present configuration.
    fn is_compared(&self, field: &Field) -> bool {
        !field.keys.iter().any(|key| self.settings.rule.field(key).is_some_and(leaves_out))
    }

    /// The columns of a batch of `fields` that are compared, with their numbers.
    fn compared<'f>(&self, fields: &'f [Field]) -> impl Iterator<Item = (usize, &'f Field)> {
        fields.iter().enumerate().filter(|(_, field)| self.is_compared(field))
    }

    /// Reads all data files: the sums of their rows by slice; `""`: their origin is not known.
    fn sum_of_files(&self, deep: &mut Deep) -> Result<HashMap<String, Part>> {
        let sums = Mutex::new(HashMap::<String, Part>::new());
        let failed = run_all(self.files.iter().collect(), self.threads, |file| {
            let summed = self.visit_file(file, |batch, fields, slices| {
                let numbers = fingerprints(batch, self.compared(fields), Texts::Exact);
                let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
                let mut numbers = numbers.into_iter();
                for (slice, rows) in slices {
                    let sum = numbers.by_ref().take(*rows as usize).fold(0, u64::wrapping_add);
                    match sums.get_mut(*slice) {
                        Some(part) => part.table.add(*rows, sum),
                        None => sums.entry((*slice).to_owned()).or_default().table.add(*rows, sum),
                    }
                }
            });
            Ok(summed.err().map(|error| (file.path.clone(), describe(&error))))
        })?;
        deep.findings
            .extend(failed.into_iter().flatten().map(|(path, why)| Finding::error(FindingKind::Unreadable, path, why)));
        Ok(sums.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows all batches of a file, their columns, and how many rows of which slice follow one another.
    fn visit_file(&self, file: &ActiveFile, mut see: impl FnMut(&RecordBatch, &[Field], &[(&str, u64)])) -> Result<()> {
        // A record of origins that cannot be read is told of by the check of the hidden folder.
        let origins = self.runtime.block_on(Origins::of(&self.hidden, file)).unwrap_or_default();
        let runs: Vec<(&str, u64)> = match &origins {
            Some(origins) => {
                origins.runs.iter().map(|run| (origins.units[run.unit].origin.slice.as_str(), run.rows)).collect()
            }
            None => vec![("", u64::MAX)],
        };
        let mut runs = runs.into_iter();
        let mut current = ("", 0);
        let opened = StoredFile::open(&self.hidden, &file.path, file.size_bytes, &self.registry.fields);
        let mut stored = self.runtime.block_on(opened)?;
        let fields = stored.fields.clone();
        while let Some(batch) = self.runtime.block_on(stored.next_batch())? {
            let mut slices = Vec::new();
            let mut left = batch.num_rows() as u64;
            while left > 0 {
                while current.1 == 0 {
                    current = runs.next().unwrap_or(("", u64::MAX));
                }
                let rows = left.min(current.1);
                slices.push((current.0, rows));
                current.1 -= rows;
                left -= rows;
            }
            see(&batch, &fields, &slices);
        }
        Ok(())
    }

    /// Decodes all raw objects of the ledger, and adds their sums to those of their slices.
    fn sum_of_objects(&self, slices: &mut HashMap<String, Part>, deep: &mut Deep) -> Result<Joined> {
        let mut joined = Joined::default();
        self.visit_objects(
            |_| true,
            |entries| {
                let mut sums = vec![Sum::default(); entries.len()];
                let mut found = self.decode(entries, |batch, of_objects| {
                    let mut numbers =
                        fingerprints(batch, self.compared(&self.registry.fields), Texts::Exact).into_iter();
                    for (object, rows) in of_objects {
                        sums[*object].add(*rows, numbers.by_ref().take(*rows as usize).fold(0, u64::wrapping_add));
                    }
                    Ok(())
                })?;
                for (found, sum) in found.iter_mut().zip(sums) {
                    found.sum = sum.sum;
                }
                Ok(found)
            },
            |entry, found| {
                let slice = joined.add(&entry.slice);
                let part = slices.entry(slice.to_owned()).or_default();
                part.expected += entry.rows_out;
                if let Some(why) = &found.unread {
                    if found.is_passing {
                        let reason = format!("the raw object could not be read, so its rows were not checked: {why}");
                        deep.findings.push(Finding::error(FindingKind::Unreadable, &*entry.object.key, reason));
                    }
                    deep.objects_unread += 1;
                    part.unread += entry.rows_out;
                    return;
                }
                deep.objects += 1;
                part.raw.add(found.rows, found.sum);
                if let Some(why) = self.fault_of(entry, found) {
                    deep.findings.push(Finding::error(FindingKind::RawObject, &*entry.object.key, why));
                }
            },
        )?;
        Ok(joined)
    }

    /// What an object by itself tells to be wrong.
    fn fault_of(&self, entry: &Entry, found: &Reread) -> Option<String> {
        let (rows, taken) = (found.rows, entry.rows_out);
        if found.is_strange {
            return Some("the raw object holds values that the registry of the table never saw".to_owned());
        }
        // Some of its rejects may be rows under the present configuration.
        (rows < taken || rows > taken + entry.quarantined)
            .then(|| format!("the raw object gives {rows} rows, the ledger says that {taken} were taken in"))
    }

    /// Shows what becomes of the objects of all entries that are `wanted`, in the order of the ledger. `decode` decodes some
    /// that follow one another.
    fn visit_objects<R: Send>(
        &self,
        wanted: impl Fn(&Entry) -> bool,
        decode: impl Fn(&[Entry]) -> Result<Vec<R>> + Sync,
        mut see: impl FnMut(&Entry, &R),
    ) -> Result<()> {
        let mut merged = self.runtime.block_on(Merged::open(&self.hidden, &self.head.segments))?;
        let mut is_end = false;
        while !is_end {
            let mut chunks: Vec<Vec<Entry>> = Vec::new();
            while chunks.len() < self.threads && !is_end {
                let (mut chunk, mut bytes) = (Vec::new(), 0);
                while chunk.len() < CHUNK_ENTRIES && bytes < CHUNK_BYTES {
                    let Some(entry) = self.runtime.block_on(merged.next())? else {
                        is_end = true;
                        break;
                    };
                    // What gave no row may be gone.
                    if entry.rows_out > 0 && wanted(&entry) {
                        bytes += entry.object.size_bytes;
                        chunk.push(entry);
                    }
                }
                chunks.push(chunk);
            }
            let found = run_all(chunks.iter().collect(), self.threads, |chunk: &Vec<Entry>| decode(chunk))?;
            for (entry, found) in chunks.iter().flatten().zip(found.iter().flatten()) {
                see(entry, found);
            }
        }
        Ok(())
    }
}

/// Whether values of a column, or below it, are left out.
fn leaves_out(rule: &Rule) -> bool {
    let below = rule.element.iter().chain(&rule.value);
    rule.drop || rule.fields.values().any(leaves_out) || below.into_iter().any(|rule| leaves_out(rule))
}

/// Slices that share objects, as rejects of one became rows in another.
#[derive(Debug, Default)]
struct Joined {
    /// Of a slice, another one that it belongs to.
    to: BTreeMap<String, String>,
}

impl Joined {
    /// Notes the slices of an entry, and gives the first of them.
    fn add<'e>(&mut self, slices: &'e str) -> &'e str {
        let mut slices = slices.split(SLICE_SEPARATOR);
        let first = slices.next().unwrap_or_default();
        for other in slices {
            let (one, other) = (self.root(first), self.root(other));
            if one != other {
                self.to.insert(other, one);
            }
        }
        first
    }

    fn root(&self, slice: &str) -> String {
        let mut root = slice;
        while let Some(next) = self.to.get(root) {
            root = next;
        }
        root.to_owned()
    }

    /// The slices that belong together, and what is known of all of them.
    fn parts(&self, slices: HashMap<String, Part>) -> Vec<(Vec<String>, Part)> {
        let mut parts: BTreeMap<String, (Vec<String>, Part)> = BTreeMap::new();
        for (slice, part) in slices {
            let (names, all) = parts.entry(self.root(&slice)).or_default();
            names.push(slice);
            all.table.add(part.table.rows, part.table.sum);
            all.raw.add(part.raw.rows, part.raw.sum);
            all.expected += part.expected;
            all.unread += part.unread;
        }
        parts.into_values().collect()
    }
}
