//! A stored Parquet file of which only the ranges that are asked for are read.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

/// The end of a file is read by one request, with the hope that the footer is within it.
const TAIL_BYTES: u64 = 64 << 10;

/// A file whose size is known and whose end is at hand.
#[derive(Debug)]
pub(super) struct RangedFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// Stored bytes.
    pub(super) size_bytes: u64,
    tail: Bytes,
}

impl RangedFile {
    /// Opens a file that should have `expected_bytes`: if it has, by one request.
    ///
    /// # Errors
    /// `NotFound` when it is not there; another when the store fails.
    pub(super) async fn open(
        store: &Arc<dyn ObjectStore>,
        path: Path,
        expected_bytes: Option<u64>,
    ) -> object_store::Result<Self> {
        let mut file = Self { store: Arc::clone(store), path, size_bytes: 0, tail: Bytes::new() };
        let guessed = match expected_bytes.filter(|bytes| *bytes > 0) {
            // A range that begins behind the end is refused: then it is another file than expected.
            Some(bytes) => file.read_tail(bytes).await.ok().filter(|read| *read == bytes),
            None => None,
        };
        if guessed.is_none() {
            let bytes = file.store.head(&file.path).await?.size;
            file.size_bytes = bytes;
            if bytes > 0 {
                file.read_tail(bytes).await?;
            }
        }
        Ok(file)
    }

    /// Reads the end of a file of `bytes` bytes. The size that it has.
    async fn read_tail(&mut self, bytes: u64) -> object_store::Result<u64> {
        let range = Some(GetRange::Bounded(bytes.saturating_sub(TAIL_BYTES)..bytes));
        let got = self.store.get_opts(&self.path, GetOptions { range, ..GetOptions::default() }).await?;
        self.size_bytes = got.meta.size;
        self.tail = got.bytes().await?;
        Ok(self.size_bytes)
    }

    /// What was read already.
    fn at_hand(&self, range: &Range<u64>) -> Option<Bytes> {
        let begin = self.size_bytes - self.tail.len() as u64;
        let is_within = range.start >= begin && range.start <= range.end && range.end <= self.size_bytes;
        is_within.then(|| self.tail.slice((range.start - begin) as usize..(range.end - begin) as usize))
    }

    /// The footer.
    ///
    /// # Errors
    /// When there is none, or it is damaged, or the store fails.
    pub(super) async fn footer(&mut self) -> Result<ParquetMetaData> {
        let (size, tail) = (self.size_bytes, self.tail.len());
        let footer = ParquetMetaDataReader::new().with_prefetch_hint(Some(tail)).load_and_finish(self, size).await?;
        if lies_within(&footer, size) {
            Ok(footer)
        } else {
            Err(ParquetError::General("columns do not lie within the file".to_owned()))
        }
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Whether all columns of a file of `size_bytes` lie within it. Readers of Parquet rely on that.
pub(super) fn lies_within(footer: &ParquetMetaData, size_bytes: u64) -> bool {
    let columns = footer.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let mut ranges = columns.map(|column| {
        (column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset()), column.compressed_size())
    });
    ranges.all(|(begin, length)| {
        let end = u64::try_from(begin).ok().zip(u64::try_from(length).ok()).and_then(|(a, b)| a.checked_add(b));
        end.is_some_and(|end| end <= size_bytes)
    })
}

impl AsyncFileReader for RangedFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            match self.at_hand(&range) {
                Some(bytes) => Ok(bytes),
                None => self.store.get_range(&self.path, range).await.map_err(external),
            }
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            match ranges.iter().map(|range| self.at_hand(range)).collect() {
                Some(bytes) => Ok(bytes),
                None => self.store.get_ranges(&self.path, &ranges).await.map_err(external),
            }
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        self.footer().map(|footer| footer.map(Arc::new)).boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use object_store::memory::InMemory;
    use parquet::arrow::ArrowWriter;

    use super::*;

    /// A Parquet file of `columns` columns and one row.
    fn file(columns: usize) -> Bytes {
        let fields: Vec<Field> =
            (0..columns).map(|n| Field::new(format!("column_{n:05}"), DataType::Int64, true)).collect();
        let arrays = (0..columns).map(|n| Arc::new(Int64Array::from(vec![n as i64])) as _).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let mut out = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        out.into()
    }

    async fn columns(bytes: Bytes, expected: Option<u64>) -> (u64, Result<usize>) {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        store.put(&Path::from("f"), bytes.into()).await.unwrap();
        let mut file = RangedFile::open(&store, Path::from("f"), expected).await.unwrap();
        let footer = file.footer().await.map(|footer| footer.file_metadata().schema_descr().num_columns());
        (file.size_bytes, footer)
    }

    #[tokio::test]
    async fn a_footer_is_read_whatever_size_was_expected() {
        for count in [1, 2_000] {
            let bytes = file(count);
            let size = bytes.len() as u64;
            assert_eq!(size > TAIL_BYTES, count > 1, "one footer is within the tail, the other is not");
            for expected in
                [None, Some(0), Some(1), Some(size - 1), Some(size), Some(size + 1), Some(size + TAIL_BYTES * 2)]
            {
                let (found, read) = columns(bytes.clone(), expected).await;
                assert_eq!((found, read.unwrap()), (size, count), "{expected:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_parquet_file_is_an_error_and_no_panic() {
        let whole = file(3);
        for cut in 0..whole.len() {
            let (size, read) = columns(whole.slice(..cut), Some(whole.len() as u64)).await;
            assert!(size == cut as u64 && read.is_err(), "{cut}");
        }
        for at in whole.len() - 8..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 0xff;
            let size = bytes.len() as u64;
            let _ = columns(bytes.into(), Some(size)).await;
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_told_from_one_that_cannot_be_read() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for expected in [None, Some(10)] {
            let opened = RangedFile::open(&store, Path::from("f"), expected).await;
            assert!(matches!(opened, Err(object_store::Error::NotFound { .. })));
        }
    }
}
