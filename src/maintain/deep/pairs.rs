//! Slices whose sums do not agree, row by row: for each row of the table a record that gives it, and the other way round.
//!
//! As many slices at a time as fit into memory; of one that does not, only the rows of some fingerprints at a time. A row
//! without a record is compared with the records without a row: the nearest one tells the columns at fault.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array as _, AsArray as _, RecordBatch};

use super::fingerprint::{Texts, fingerprints};
use super::raw::Reread;
use super::{Deep, Part, Subject};
use crate::compact::run_all;
use crate::error::Result;
use crate::lake::{Entry, Finding, FindingKind, SLICE_SEPARATOR};
use crate::schema::Field;

/// What a row is reckoned to hold in memory, in bytes.
const ROW_BYTES: u64 = 128;
/// So many records without a row are kept with all of their columns.
const KEPT_RECORDS: usize = 256;
/// Of so many rows of a file without a record the columns at fault are looked for.
const NAMED_ROWS: usize = 16;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    part: u32,
    exact: u64,
    canonical: u64,
    /// What stands for the raw object that it names.
    object: u64,
    file: u32,
    /// Its number in the file.
    row: u64,
    /// Of equal rows, the first says how many have a record.
    taken: u32,
}

/// A record without a row.
#[derive(Debug)]
struct Record {
    part: u32,
    canonical: u64,
    /// The key of its raw object.
    key: String,
    /// The fingerprints of its columns by name, of the first of such records.
    columns: Option<BTreeMap<String, u64>>,
}

/// What is left of the parts of one batch.
#[derive(Debug, Default)]
struct Left {
    rows: Vec<Row>,
    records: Vec<Record>,
    /// Keys of objects that could not be read.
    unread: HashSet<String>,
    /// By part: records that were rejects when they were taken in.
    were_rejects: HashMap<u32, u64>,
}

impl Subject<'_> {
    /// Compares parts row by row.
    pub(super) fn compare_rows(&self, parts: Vec<(Vec<String>, Part)>, deep: &mut Deep) -> Result<()> {
        let most = (self.settings.memory_bytes as u64 / 2 / ROW_BYTES).max(1);
        let mut deduplicated = self.head.totals.deduplicated;
        let mut batch: Vec<(Vec<String>, Part)> = Vec::new();
        let mut rows = 0;
        for part in parts {
            let more = part.1.table.rows;
            if !batch.is_empty() && rows + more > most {
                self.compare_batch(&std::mem::take(&mut batch), rows.div_ceil(most), &mut deduplicated, deep)?;
                rows = 0;
            }
            rows += more;
            batch.push(part);
        }
        if batch.is_empty() { Ok(()) } else { self.compare_batch(&batch, rows.div_ceil(most), &mut deduplicated, deep) }
    }

    fn compare_batch(
        &self,
        parts: &[(Vec<String>, Part)],
        passes: u64,
        deduplicated: &mut u64,
        deep: &mut Deep,
    ) -> Result<()> {
        let mut slices: HashMap<&str, u32> = HashMap::new();
        for (number, (names, _)) in parts.iter().enumerate() {
            slices.extend(names.iter().map(|name| (name.as_str(), number as u32)));
        }
        let mut left = Left::default();
        for pass in 0..passes.max(1) {
            let is_in_pass = |canonical: u64| canonical % passes.max(1) == pass;
            let rows = self.rows_of(&slices, is_in_pass)?;
            self.match_records(&slices, is_in_pass, rows, pass == 0, &mut left, deep)?;
        }
        // Who is unread gave some records perhaps, before it failed.
        let unread = std::mem::take(&mut left.unread);
        left.records.retain(|record| !unread.contains(&record.key));
        let names_objects = self.registry.provenance.is_some();
        let unread: HashSet<u64> = unread.iter().map(|key| object_number(key)).collect();
        if names_objects {
            left.rows.retain(|row| !unread.contains(&row.object));
        }
        for (number, (_, part)) in parts.iter().enumerate() {
            let number = number as u32;
            let rows: Vec<Row> = left.rows.iter().filter(|row| row.part == number).copied().collect();
            let records: Vec<&Record> = left.records.iter().filter(|record| record.part == number).collect();
            // Without the column of provenance, it is not known which rows are those of unread objects; only how many.
            let spared = if names_objects { 0 } else { part.unread };
            let off = (rows.len() as u64).saturating_sub(spared);
            if off > 0 {
                self.tell_rows(&rows, off, &records, deep)?;
            }
            let were_rejects = left.were_rejects.get(&number).copied().unwrap_or_default();
            let missing = (records.len() as u64).saturating_sub(were_rejects);
            let gone = missing.min(*deduplicated);
            *deduplicated -= gone;
            if missing > gone {
                let mut by_key: BTreeMap<&str, u64> = BTreeMap::new();
                records.iter().for_each(|record| *by_key.entry(&record.key).or_default() += 1);
                for (key, count) in by_key {
                    let reason = format!("{count} records of the raw object are not in the table as it gives them");
                    deep.findings.push(Finding::error(FindingKind::RawObject, key, reason));
                }
            }
        }
        Ok(())
    }

    /// The rows of slices, by part and fingerprint.
    fn rows_of(&self, slices: &HashMap<&str, u32>, is_wanted: impl Fn(u64) -> bool + Sync) -> Result<Vec<Row>> {
        let rows = Mutex::new(Vec::new());
        run_all(self.files.iter().enumerate().collect(), self.threads, |(file, active)| {
            let mut next = 0;
            let visited = self.visit_file(active, |batch, fields, of_slices| {
                let first = next;
                next += batch.num_rows() as u64;
                if of_slices.iter().all(|(slice, _)| !slices.contains_key(slice)) {
                    return;
                }
                let exact = fingerprints(batch, self.compared(fields), Texts::Exact);
                let canonical = fingerprints(batch, self.compared(fields), Texts::Canonical);
                let objects =
                    fields.iter().position(Field::is_provenance).map(|at| batch.column(at).as_string::<i32>());
                let mut found = Vec::new();
                let mut at = 0;
                for (slice, count) in of_slices {
                    let range = at..at + *count as usize;
                    at = range.end;
                    let Some(part) = slices.get(slice) else { continue };
                    for row in range.filter(|row| is_wanted(canonical[*row])) {
                        let object =
                            objects.filter(|keys| keys.is_valid(row)).map_or(0, |keys| object_number(keys.value(row)));
                        found.push(Row {
                            part: *part,
                            exact: exact[row],
                            canonical: canonical[row],
                            object,
                            file: file as u32,
                            row: first + row as u64,
                            taken: 0,
                        });
                    }
                }
                rows.lock().unwrap_or_else(PoisonError::into_inner).append(&mut found);
            });
            // What cannot be read was told of when the sums were taken.
            if let Err(error) = visited {
                tracing::debug!(file = active.path, %error, "not read");
            }
            Ok(())
        })?;
        let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
        rows.sort_unstable_by_key(|row| (row.part, row.exact, row.file, row.row));
        Ok(rows)
    }

    /// Finds a row for each record of slices, and notes what has none.
    fn match_records(
        &self,
        slices: &HashMap<&str, u32>,
        is_wanted: impl Fn(u64) -> bool + Sync,
        rows: Vec<Row>,
        is_first: bool,
        left: &mut Left,
        deep: &mut Deep,
    ) -> Result<()> {
        let part_of = |entry: &Entry| slices.get(entry.slice.split(SLICE_SEPARATOR).next().unwrap_or_default());
        let open = Mutex::new((rows, Vec::<Record>::new()));
        let fields = &self.registry.fields;
        let decode = |entries: &[Entry]| -> Result<Vec<Reread>> {
            self.decode(entries, |batch, of_objects| {
                let exact = fingerprints(batch, self.compared(fields), Texts::Exact);
                let canonical = fingerprints(batch, self.compared(fields), Texts::Canonical);
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                let (rows, records) = &mut *open;
                let mut at = 0;
                for (object, count) in of_objects {
                    let range = at..at + *count as usize;
                    at = range.end;
                    let Some(part) = part_of(&entries[*object]).copied() else { continue };
                    for row in range.filter(|row| is_wanted(canonical[*row])) {
                        if take(rows, (part, exact[row])) {
                            continue;
                        }
                        let is_kept = records.len() < KEPT_RECORDS;
                        records.push(Record {
                            part,
                            canonical: canonical[row],
                            key: entries[*object].object.key.clone(),
                            columns: is_kept.then(|| self.columns_of(batch, fields, row)),
                        });
                    }
                }
                Ok(())
            })
        };
        self.visit_objects(
            |entry| part_of(entry).is_some(),
            decode,
            |entry, found| {
                if found.unread.is_some() {
                    left.unread.insert(entry.object.key.clone());
                } else if is_first && let Some(part) = part_of(entry) {
                    let more = found.rows.saturating_sub(entry.rows_out).min(entry.quarantined);
                    *left.were_rejects.entry(*part).or_default() += more;
                }
            },
        )?;
        let (rows, records) = open.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut others: HashMap<(u32, u64), Vec<Row>> = HashMap::new();
        for group in rows.chunk_by(|one, other| (one.part, one.exact) == (other.part, other.exact)) {
            for row in &group[group[0].taken as usize..] {
                others.entry((row.part, row.canonical)).or_default().push(*row);
            }
        }
        for record in records {
            match others.get_mut(&(record.part, record.canonical)).and_then(Vec::pop) {
                Some(_) => deep.rows_canonical += 1,
                None => left.records.push(record),
            }
        }
        left.rows.extend(others.into_values().flatten());
        Ok(())
    }

    /// Tells of rows that no record gives, file by file. `off`: how many of them are at fault.
    fn tell_rows(&self, rows: &[Row], off: u64, records: &[&Record], deep: &mut Deep) -> Result<()> {
        let mut by_file: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        rows.iter().for_each(|row| by_file.entry(row.file).or_default().push(row.row));
        for (file, mut numbers) in by_file {
            numbers.sort_unstable();
            let file = &self.files[file as usize];
            let (count, first) = (numbers.len(), numbers[0]);
            let at_fault = if off < rows.len() as u64 { format!("{off} of {}", rows.len()) } else { count.to_string() };
            let reason = format!("{at_fault} rows are others than the raw objects give; the first is row {first}");
            numbers.truncate(NAMED_ROWS);
            let columns = self.columns_at_fault(file, &numbers, records)?;
            let finding = Finding::error(FindingKind::RawRows, &*file.path, reason);
            deep.findings.push(if columns.is_empty() { finding } else { finding.of_column(columns.join(", ")) });
        }
        Ok(())
    }

    /// The columns in which rows of a file differ from the records that are most like them.
    fn columns_at_fault(
        &self,
        file: &crate::lake::ActiveFile,
        numbers: &[u64],
        records: &[&Record],
    ) -> Result<Vec<String>> {
        let mut columns: Vec<String> = Vec::new();
        let mut next = 0;
        self.visit_file(file, |batch, fields, _| {
            let first = next;
            next += batch.num_rows() as u64;
            for number in numbers.iter().filter(|number| (first..next).contains(*number)) {
                let row = self.columns_of(batch, fields, (number - first) as usize);
                let all = records.iter().filter_map(|record| record.columns.as_ref());
                let nearest = all.map(|record| different(&row, record)).min_by_key(Vec::len);
                // One that has next to nothing in common is another record.
                let names = nearest.filter(|names| 2 * names.len() <= row.len()).unwrap_or_default();
                for name in names {
                    if !columns.contains(&name) {
                        columns.push(name);
                    }
                }
            }
        })?;
        columns.sort();
        Ok(columns)
    }

    /// The fingerprints of the columns of one row that are not null.
    fn columns_of(&self, batch: &RecordBatch, fields: &[Field], row: usize) -> BTreeMap<String, u64> {
        let one = batch.slice(row, 1);
        let of_column = |(at, field): (usize, &Field)| {
            let number = fingerprints(&one, std::iter::once((at, field)), Texts::Exact)[0];
            one.column(at).is_valid(0).then(|| (field.name.clone(), number))
        };
        self.compared(fields).filter_map(of_column).collect()
    }
}

/// Takes one of the rows of a part with a fingerprint; `false` when there is none left.
fn take(rows: &mut [Row], wanted: (u32, u64)) -> bool {
    let first = rows.partition_point(|row| (row.part, row.exact) < wanted);
    let is_same = |row: Option<&Row>| row.is_some_and(|row| (row.part, row.exact) == wanted);
    if !is_same(rows.get(first)) || !is_same(rows.get(first + rows[first].taken as usize)) {
        return false;
    }
    rows[first].taken += 1;
    true
}

fn different(one: &BTreeMap<String, u64>, other: &BTreeMap<String, u64>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

fn object_number(key: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
