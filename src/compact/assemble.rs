//! A merged file decoded again: its rows came from several slices, each of which gives pieces, and the pieces become a file
//! of the same rows in the same order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use super::compare::{Rows, same_rows};
use super::reread::Lost;
use super::rewrite::{Affected, Promotion, matching};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::json::arrow_schema;
use crate::lake::StoredFile;
use crate::schema::Field;
use crate::write::{DataFile, write_file};

/// Rows that are gathered at once.
const BATCH_ROWS: usize = 8192;

/// Consecutive rows of a slice within one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The slice.
    pub slice: String,
    /// The rows, numbered within slice and partition.
    pub rows: Range<u64>,
}

/// A merged file that is to be decoded again.
#[derive(Debug)]
pub(super) struct Assembly {
    old: Arc<Affected>,
    /// Its rows, in their order: the number of a piece, and rows of it.
    runs: Vec<(usize, Range<u64>)>,
    pieces: Vec<Piece>,
    lost: Option<Lost>,
}

/// Rows of one slice that are decoded together.
#[derive(Debug)]
struct Piece {
    stretch: Stretch,
    file: Option<DataFile>,
}

impl Assembly {
    /// A file whose rows are `stretches`.
    pub(super) fn new(old: Arc<Affected>, stretches: &[Stretch]) -> Self {
        let mut by_slice: BTreeMap<&str, Vec<&Range<u64>>> = BTreeMap::new();
        stretches.iter().for_each(|stretch| by_slice.entry(&stretch.slice).or_default().push(&stretch.rows));
        let mut pieces: Vec<Piece> = Vec::new();
        for (slice, mut ranges) in by_slice {
            ranges.sort_by_key(|rows| rows.start);
            let first = pieces.len();
            for rows in ranges {
                match pieces[first..].last_mut().filter(|last| rows.start <= last.stretch.rows.end) {
                    Some(last) => last.stretch.rows.end = last.stretch.rows.end.max(rows.end),
                    None => {
                        let stretch = Stretch { slice: slice.to_owned(), rows: rows.clone() };
                        pieces.push(Piece { stretch, file: None });
                    }
                }
            }
        }
        // The pieces are sorted by slice and row.
        let place = |stretch: &Stretch| {
            let is_before =
                |piece: &Piece| (&piece.stretch.slice, piece.stretch.rows.end) <= (&stretch.slice, stretch.rows.start);
            let number = pieces.partition_point(is_before);
            let start = pieces[number].stretch.rows.start;
            (number, stretch.rows.start - start..stretch.rows.end - start)
        };
        let runs = stretches.iter().map(place).collect();
        Self { old, runs, pieces, lost: None }
    }

    /// The slices and rows that are wanted. None of them overlap.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (&str, &Range<u64>)> {
        self.pieces.iter().map(|piece| (piece.stretch.slice.as_str(), &piece.stretch.rows))
    }

    /// Takes what became of a piece.
    pub(super) fn take(&mut self, slice: &str, rows: &Range<u64>, outcome: Result<DataFile, Lost>) {
        let is_meant = |piece: &&mut Piece| piece.stretch.slice == slice && piece.stretch.rows == *rows;
        match (self.pieces.iter_mut().find(is_meant), outcome) {
            (Some(piece), Ok(file)) => piece.file = Some(file),
            (_, Err(why)) => self.lost = Some(why),
            (None, Ok(_)) => {}
        }
    }

    /// Whether each piece is read once, from its begin to its end.
    fn is_in_order(&self) -> bool {
        let mut read = vec![0; self.pieces.len()];
        self.runs.iter().all(|(piece, rows)| {
            let follows = rows.start == read[*piece];
            read[*piece] = rows.end;
            follows
        })
    }
}

impl Promotion<'_> {
    /// Makes a file of its pieces, and deletes these. Blocks.
    pub(super) fn assemble(&self, assembly: Assembly) -> Result<(Arc<Affected>, Result<DataFile, Lost>)> {
        let runtime = &self.context.write.runtime;
        let made = match &assembly.lost {
            Some(why) => Ok(Err(why.clone())),
            None => self.join(&assembly),
        };
        let written: Vec<String> = assembly.pieces.into_iter().filter_map(|piece| Some(piece.file?.path)).collect();
        runtime.block_on(self.context.hidden.discard(&written));
        Ok((assembly.old, made?))
    }

    fn join(&self, assembly: &Assembly) -> Result<Result<DataFile, Lost>> {
        let Assembly { old, .. } = assembly;
        let wanted = matching(&old.held, &self.after.fields, true);
        let pieces: Option<Vec<&DataFile>> = assembly.pieces.iter().map(|piece| piece.file.as_ref()).collect();
        let Some(pieces) = pieces else { return Ok(Err(Lost::OtherRows)) };
        let path = self.new_path(&old.file);
        let (context, partition) = (&self.context.write, old.file.partition.clone());
        let file = if assembly.is_in_order() {
            let batches = self.in_order(assembly, &pieces, &wanted);
            write_file(context, path, partition, &wanted, batches)?
        } else {
            let pieces = pieces.iter().map(|piece| self.read_whole(piece, &wanted)).collect::<Result<Vec<_>>>()?;
            write_file(context, path, partition, &wanted, interleaved(assembly, &pieces))?
        };
        let same = same_rows(&self.context.hidden, old, &self.before.fields, &file);
        if context.runtime.block_on(same)? {
            return Ok(Ok(file));
        }
        context.runtime.block_on(self.context.hidden.discard(&[file.path]));
        Ok(Err(Lost::OtherRows))
    }

    /// The rows of pieces that are read one after another, or a part of one and then a part of another.
    fn in_order<'a>(
        &'a self,
        assembly: &'a Assembly,
        pieces: &'a [&DataFile],
        wanted: &'a [Field],
    ) -> impl Iterator<Item = Result<RecordBatch>> + 'a {
        let hidden = &self.context.hidden;
        let runtime = &self.context.write.runtime;
        let mut open: BTreeMap<usize, Rows> = BTreeMap::new();
        let mut runs = assembly.runs.iter().cloned();
        let mut current: Option<(usize, Range<u64>)> = None;
        std::iter::from_fn(move || {
            let (piece, wanted_rows) = match current.take() {
                Some(current) => current,
                None => runs.next()?,
            };
            let mut next = || {
                let file = pieces[piece];
                let mut rows = match open.remove(&piece) {
                    Some(rows) => rows,
                    None => runtime.block_on(Rows::open(hidden, &file.path, file.size_bytes, wanted))?,
                };
                let at_hand = runtime.block_on(rows.left())?;
                if at_hand == 0 {
                    return Err(Error::new(
                        ErrorKind::Corrupt,
                        format!("{} has fewer rows than were written", file.path),
                    ));
                }
                let taken = at_hand.min(usize::try_from(wanted_rows.end - wanted_rows.start).unwrap_or(usize::MAX));
                let batch = rows.take(taken);
                let left = wanted_rows.start + taken as u64..wanted_rows.end;
                if left.start < file.row_count {
                    open.insert(piece, rows);
                }
                current = (!left.is_empty()).then_some((piece, left));
                Ok(batch)
            };
            Some(next())
        })
    }

    fn read_whole(&self, piece: &DataFile, wanted: &[Field]) -> Result<RecordBatch> {
        let runtime = &self.context.write.runtime;
        let mut stored =
            runtime.block_on(StoredFile::open(&self.context.hidden, &piece.path, piece.size_bytes, wanted))?;
        let batches = std::iter::from_fn(|| runtime.block_on(stored.next_batch()).transpose());
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let schema = batches.first().map_or_else(|| arrow_schema(wanted), RecordBatch::schema);
        arrow::compute::concat_batches(&schema, &batches).context(|| format!("cannot read {}", piece.path))
    }
}

/// The rows of pieces that are read here and there.
fn interleaved<'a>(
    assembly: &'a Assembly,
    pieces: &'a [RecordBatch],
) -> impl Iterator<Item = Result<RecordBatch>> + 'a {
    let batches: Vec<&RecordBatch> = pieces.iter().collect();
    let mut rows = assembly.runs.iter().flat_map(|(piece, rows)| rows.clone().map(|row| (*piece, row as usize)));
    std::iter::from_fn(move || {
        let indices: Vec<(usize, usize)> = rows.by_ref().take(BATCH_ROWS).collect();
        let gather = || interleave_record_batch(&batches, &indices).context(|| "cannot put rows in order".to_owned());
        (!indices.is_empty()).then(gather)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::ActiveFile;

    fn stretch(slice: &str, rows: Range<u64>) -> Stretch {
        Stretch { slice: slice.to_owned(), rows }
    }

    fn assembly(stretches: &[(&str, Range<u64>)]) -> Assembly {
        let (path, stats) = (String::new(), String::new());
        let file = ActiveFile { path, size_bytes: 0, row_count: 0, partition: Vec::new(), stats };
        let stretches: Vec<Stretch> = stretches.iter().map(|(slice, rows)| stretch(slice, rows.clone())).collect();
        Assembly::new(Arc::new(Affected { file, held: Vec::new(), has_foreign: false }), &stretches)
    }

    #[test]
    fn stretches_that_touch_are_decoded_as_one_piece() {
        let merged = assembly(&[("b", 0..5), ("a", 3..4), ("b", 5..9), ("a", 0..2), ("b", 20..21)]);
        let pieces: Vec<_> = merged.pieces().map(|(slice, rows)| (slice, rows.clone())).collect();
        assert_eq!(pieces, [("a", 0..2), ("a", 3..4), ("b", 0..9), ("b", 20..21)]);
        assert_eq!(merged.runs, [(2, 0..5), (1, 0..1), (2, 5..9), (0, 0..2), (3, 0..1)]);
        assert!(merged.is_in_order());
    }

    #[test]
    fn rows_out_of_their_order_are_told_from_rows_in_it() {
        let merged = assembly(&[("a", 1..2), ("a", 0..1), ("a", 2..3)]);
        assert_eq!(merged.pieces().count(), 1);
        assert_eq!(merged.runs, [(0, 1..2), (0, 0..1), (0, 2..3)]);
        assert!(!merged.is_in_order());
    }
}
