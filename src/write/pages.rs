//! The pages of a column of a row group, compressed as they come.
//!
//! Parquet's writer makes a compressor and a decompressor for each column of each row group. For a small one, that takes longer
//! than compressing it. So where it can be done from outside, its writer is told not to compress, and what keeps its pages does:
//! each thread has one compressor for all its columns. That is so for zstd and pages of version 1, which are compressed whole.

use std::cell::RefCell;
use std::io::{self, Read};
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, Bytes};
use parquet::basic::{Compression, PageType};
use parquet::column::page_store::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaDataBuilder;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr, WriterVersion};
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::{ColumnDescPtr, ColumnPath};
use zstd::bulk::Compressor;

use super::bounds::TextBounds;

/// A thread keeps a buffer for compressed pages of at most so many bytes.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

/// What pages are compressed with: `None`: by Parquet's writer, or not at all.
fn compression(properties: &WriterProperties, path: &ColumnPath) -> Option<Compression> {
    let compression = properties.compression(path);
    let by_pages = properties.writer_version() == WriterVersion::PARQUET_1_0;
    (by_pages && matches!(compression, Compression::ZSTD(_))).then_some(compression)
}

/// The properties for Parquet's writer, which leaves alone what [`compression`] is given for.
pub(super) fn uncompressed(properties: &WriterPropertiesPtr, columns: &[ColumnDescPtr]) -> WriterPropertiesPtr {
    let own = columns.iter().map(|column| column.path()).filter(|path| compression(properties, path).is_some());
    let mut builder = properties.as_ref().clone().into_builder();
    for path in own {
        builder = builder.set_column_compression(path.clone(), Compression::UNCOMPRESSED);
    }
    builder.build().into()
}

/// An encoded column of a row group.
pub(super) struct Chunk {
    pub(super) pages: ChunkPages,
    /// What is to be known of it. Its first page is at 0.
    pub(super) close: ColumnCloseResult,
}

/// The pages of a column in the order of the file, headers and contents apart.
pub(super) struct ChunkPages(Vec<Bytes>);

/// Takes the pages of the columns of a row group, which are compressed as `properties` say.
#[derive(Debug)]
pub(super) struct Collector {
    properties: WriterPropertiesPtr,
    columns: Mutex<Vec<Arc<Mutex<Pages>>>>,
}

/// The pages of a column so far.
#[derive(Debug, Default)]
struct Pages {
    compression: Option<Compression>,
    /// The header of a page whose content comes next.
    header: Option<Header>,
    dictionary: Vec<Bytes>,
    data: Vec<Bytes>,
    /// Stored bytes of each data page, with its header.
    data_sizes: Vec<usize>,
    dictionary_bytes: usize,
    /// What all of it takes, with headers, when it is inflated.
    inflated_bytes: usize,
}

impl Collector {
    pub(super) fn new(properties: &WriterPropertiesPtr) -> Self {
        Self { properties: Arc::clone(properties), columns: Mutex::default() }
    }

    /// The column number `index` of those that were made, once its writer is closed, with `bounds` for its statistics if the
    /// writer has none.
    ///
    /// # Errors
    /// When there is no such column.
    pub(super) fn chunk(
        &self,
        index: usize,
        close: &mut ColumnCloseResult,
        bounds: Option<TextBounds>,
    ) -> Result<Chunk, ParquetError> {
        let pages = lock(&self.columns).get(index).cloned();
        let pages = pages.ok_or_else(|| ParquetError::General(format!("no pages were kept of column {index}")))?;
        let pages = take(&mut *lock(&pages));
        let mut metadata = close.metadata.clone().into_builder();
        if let Some(bounds) = bounds {
            let max_bytes = self.properties.statistics_truncate_length().unwrap_or(usize::MAX);
            metadata = bounds.describe(metadata, max_bytes);
        }
        pages.chunk(close, metadata)
    }
}

impl PageStoreFactory for Collector {
    fn create(&self, args: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>, ParquetError> {
        let compression = compression(&self.properties, args.column_descriptor().path());
        let pages = Arc::new(Mutex::new(Pages { compression, ..Pages::default() }));
        lock(&self.columns).push(Arc::clone(&pages));
        Ok(Box::new(Store(pages)))
    }
}

/// What Parquet's writer sees of [`Pages`].
struct Store(Arc<Mutex<Pages>>);

impl PageStore for Store {
    fn put(&mut self, value: Bytes) -> Result<PageKey, ParquetError> {
        lock(&self.0).keep(value)?;
        Ok(PageKey::new(0))
    }

    fn take(&mut self, _: PageKey) -> Result<Bytes, ParquetError> {
        Err(ParquetError::General("pages are taken as a chunk".to_owned()))
    }

    fn memory_size(&self) -> usize {
        let pages = lock(&self.0);
        pages.dictionary_bytes + pages.data_sizes.iter().sum::<usize>()
    }
}

impl Pages {
    /// Takes the header of a page, or the content that belongs to the last.
    fn keep(&mut self, value: Bytes) -> Result<(), ParquetError> {
        let Some(header) = self.header.take() else {
            self.header = Some(Header::read(value)?);
            return Ok(());
        };
        let is_dictionary = header.page_type == PageType::DICTIONARY_PAGE as u64;
        let inflated_bytes = header.inflated_bytes;
        let (header, content) = match self.compression {
            None => (header.bytes, value),
            Some(compression) => {
                let content = compress(&value, compression)?;
                (header.with_stored_bytes(content.len())?, content)
            }
        };
        self.inflated_bytes += header.len() + inflated_bytes;
        let size = header.len() + content.len();
        if is_dictionary {
            self.dictionary_bytes += size;
            self.dictionary.extend([header, content]);
        } else {
            self.data_sizes.push(size);
            self.data.extend([header, content]);
        }
        Ok(())
    }

    fn chunk(
        self,
        close: &mut ColumnCloseResult,
        mut metadata: ColumnChunkMetaDataBuilder,
    ) -> Result<Chunk, ParquetError> {
        let stored_bytes = self.dictionary_bytes + self.data_sizes.iter().sum::<usize>();
        if let Some(compression) = self.compression {
            metadata = metadata.set_compression(compression);
        }
        metadata = metadata
            .set_total_compressed_size(stored_bytes as i64)
            .set_total_uncompressed_size(self.inflated_bytes as i64)
            .set_dictionary_page_offset((self.dictionary_bytes > 0).then_some(0))
            .set_data_page_offset(self.dictionary_bytes as i64);
        let mut offset_index = close.offset_index.take();
        if let Some(index) = &mut offset_index {
            let mut offset = self.dictionary_bytes;
            for (location, size) in index.page_locations.iter_mut().zip(self.data_sizes) {
                (location.offset, location.compressed_page_size) = (offset as i64, size as i32);
                offset += size;
            }
        }
        let mut pages = self.dictionary;
        pages.extend(self.data);
        let close = ColumnCloseResult {
            bytes_written: stored_bytes as u64,
            rows_written: close.rows_written,
            metadata: metadata.build()?,
            bloom_filter: close.bloom_filter.take(),
            column_index: close.column_index.take(),
            offset_index,
        };
        Ok(Chunk { pages: ChunkPages(pages), close })
    }
}

/// A page's header, in Thrift's compact protocol.
#[derive(Debug)]
struct Header {
    bytes: Bytes,
    /// As Parquet numbers them.
    page_type: u64,
    /// Bytes of the content, inflated.
    inflated_bytes: usize,
    /// Where in the header the stored size of the content begins and ends.
    stored_bytes_at: (usize, usize),
}

impl Header {
    /// Its first three fields are 32-bit integers that every header has: the type of the page, the size of its content, and its
    /// stored size.
    fn read(bytes: Bytes) -> Result<Self, ParquetError> {
        let mut at = 0;
        let mut field = || {
            (bytes.get(at) == Some(&NEXT_I32)).then_some(())?;
            let begin = at + 1;
            at = begin + bytes[begin..].iter().position(|byte| byte & 0x80 == 0)? + 1;
            Some((begin, at, unsigned(&bytes[begin..at])))
        };
        let fields = field().zip(field()).zip(field());
        let Some((((.., page_type), (.., inflated_bytes)), (begin, end, _))) = fields else {
            return Err(ParquetError::General("the header of a page is not as it should be".to_owned()));
        };
        Ok(Self { page_type, inflated_bytes: inflated_bytes as usize, stored_bytes_at: (begin, end), bytes })
    }

    /// The same for a content of so many stored bytes.
    fn with_stored_bytes(&self, stored_bytes: usize) -> Result<Bytes, ParquetError> {
        let too_large = |_| ParquetError::General(format!("a page of {stored_bytes} bytes is too large"));
        let mut left = u64::try_from(i32::try_from(stored_bytes).map_err(too_large)?).unwrap_or_default() << 1;
        let (begin, end) = self.stored_bytes_at;
        let mut bytes = Vec::with_capacity(self.bytes.len() + 4);
        bytes.extend_from_slice(&self.bytes[..begin]);
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes.extend_from_slice(&self.bytes[end..]);
        Ok(bytes.into())
    }
}

/// The begin of a field that has the number after the last one's, and is a 32-bit integer.
const NEXT_I32: u8 = 0x15;

/// A number that is not negative: seven bits a byte, the lowest first; the lowest of all is the sign.
fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f)) >> 1
}

thread_local! {
    static COMPRESSOR: RefCell<Option<ThreadCompressor>> = const { RefCell::new(None) };
}

/// What a thread compresses pages with.
struct ThreadCompressor {
    level: i32,
    compressor: Compressor<'static>,
    buffer: Vec<u8>,
}

fn compress(content: &[u8], compression: Compression) -> Result<Bytes, ParquetError> {
    let Compression::ZSTD(level) = compression else {
        return Err(ParquetError::NYI(format!("pages are not compressed by {compression}")));
    };
    let level = level.compression_level();
    COMPRESSOR.with_borrow_mut(|slot| {
        let own = match slot {
            Some(own) => own,
            none => none.insert(ThreadCompressor { level, compressor: Compressor::new(level)?, buffer: Vec::new() }),
        };
        if own.level != level {
            own.compressor.set_compression_level(level)?;
            own.level = level;
        }
        own.buffer.clear();
        own.buffer.reserve(zstd::zstd_safe::compress_bound(content.len()));
        own.compressor.compress_to_buffer(content, &mut own.buffer)?;
        let compressed = Bytes::copy_from_slice(&own.buffer);
        if own.buffer.capacity() > KEPT_BUFFER_BYTES {
            own.buffer = Vec::new();
        }
        Ok(compressed)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Length for ChunkPages {
    fn len(&self) -> u64 {
        self.0.iter().map(|page| page.len() as u64).sum()
    }
}

impl ChunkReader for ChunkPages {
    type T = PagesReader;

    fn get_read(&self, start: u64) -> Result<PagesReader, ParquetError> {
        if start != 0 {
            return Err(ParquetError::NYI("pages are read from the first on".to_owned()));
        }
        Ok(PagesReader { pages: self.0.clone().into_iter(), page: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads pages one after another.
pub(super) struct PagesReader {
    pages: std::vec::IntoIter<Bytes>,
    page: Bytes,
}

impl Read for PagesReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.page.is_empty() {
            match self.pages.next() {
                Some(page) => self.page = page,
                None => return Ok(0),
            }
        }
        let length = self.page.len().min(buffer.len());
        self.page.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowSchemaConverter;
    use parquet::arrow::arrow_reader::{
        ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
    };
    use parquet::basic::{GzipLevel, ZstdLevel};
    use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData};
    use parquet::file::properties::WriterPropertiesBuilder;
    use parquet::file::writer::SerializedFileWriter;

    use super::super::leaf::{Leaf, LeafProperties};
    use super::*;

    const ROWS: usize = 50_000;

    /// Few distinct strings, many distinct ones, and integers.
    fn batch() -> RecordBatch {
        let few: StringArray = (0..ROWS).map(|row| Some(format!("value {}", row % 700))).collect();
        let many: StringArray = (0..ROWS).map(|row| (row % 7 > 0).then(|| format!("{:x}", row * 7_919))).collect();
        let numbers: Int64Array = (0..ROWS as i64).map(|row| Some(row * row)).collect();
        let columns: [(&str, ArrayRef); 3] =
            [("few", Arc::new(few)), ("many", Arc::new(many)), ("numbers", Arc::new(numbers))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    /// A file of one row group of pages of a few thousand rows.
    fn file(builder: WriterPropertiesBuilder) -> Bytes {
        let batch = batch();
        let properties: WriterPropertiesPtr = builder.set_data_page_row_count_limit(3_000).build().into();
        let schema = ArrowSchemaConverter::new().convert(&batch.schema()).unwrap();
        let mut out = Vec::new();
        let mut file = SerializedFileWriter::new(&mut out, schema.root_schema_ptr(), Arc::clone(&properties)).unwrap();
        let leaf_properties = LeafProperties::new(&properties, schema.columns());
        let mut group = file.next_row_group().unwrap();
        for leaf in Leaf::all(&batch.schema()) {
            let arrays = leaf.of(std::slice::from_ref(&batch)).unwrap();
            for Chunk { pages, close } in leaf.encode(arrays, &leaf_properties, 0).unwrap() {
                group.append_column(&pages, close).unwrap();
            }
        }
        group.close().unwrap();
        file.close().unwrap();
        out.into()
    }

    /// Asserts that all rows, and rows that are found by the index of pages, are as they were; what the footer says.
    fn read_back(file: &Bytes) -> Arc<ParquetMetaData> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let builder = || ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options.clone()).unwrap();
        let metadata = Arc::clone(builder().metadata());
        let rows = |reader| {
            let batches: Vec<RecordBatch> = Result::from_iter(reader).unwrap();
            arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
        };
        let batch = batch();
        assert_eq!(rows(builder().build().unwrap()).columns(), batch.columns());
        let selection = RowSelection::from(vec![RowSelector::skip(31_000), RowSelector::select(2_500)]);
        let selected = rows(builder().with_row_selection(selection).build().unwrap());
        assert_eq!(selected.columns(), batch.slice(31_000, 2_500).columns());
        metadata
    }

    #[test]
    fn pages_of_any_codec_and_version_are_read_back_and_found_by_their_index() {
        let codecs = [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::ZSTD(ZstdLevel::try_new(3).unwrap()),
            Compression::ZSTD(ZstdLevel::try_new(12).unwrap()),
        ];
        for codec in codecs {
            for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                let file = file(WriterProperties::builder().set_compression(codec).set_writer_version(version));
                let metadata = read_back(&file);
                let group = metadata.row_group(0);
                for column in group.columns() {
                    assert_eq!(column.compression_codec(), codec.into(), "{version:?}");
                    let is_smaller = column.compressed_size() < column.uncompressed_size();
                    assert_eq!(is_smaller, codec != Compression::UNCOMPRESSED, "{codec} {version:?}");
                }
                // Columns lie one behind the other, and pages fill them.
                let mut end = 4;
                for (index, column) in group.columns().iter().enumerate() {
                    let (start, length) = column.byte_range();
                    assert_eq!(start, end, "{codec} {version:?}");
                    end = start + length;
                    let pages = metadata.offset_index().unwrap()[0][index].page_locations();
                    assert!(pages.len() > 15);
                    let last = pages.last().unwrap();
                    assert_eq!(last.offset as u64 + last.compressed_page_size as u64, end);
                }
            }
        }
    }

    #[test]
    fn each_column_is_compressed_at_its_own_level() {
        let zstd = |level| Compression::ZSTD(ZstdLevel::try_new(level).unwrap());
        let size = |builder: WriterPropertiesBuilder| {
            let metadata = read_back(&file(builder));
            metadata.row_group(0).columns().iter().map(ColumnChunkMetaData::compressed_size).collect::<Vec<_>>()
        };
        let low = size(WriterProperties::builder().set_compression(zstd(1)));
        let high = size(WriterProperties::builder().set_compression(zstd(19)));
        let mixed = WriterProperties::builder().set_compression(zstd(19));
        let mixed = size(mixed.set_column_compression(ColumnPath::from("many"), zstd(1)));
        assert!(high[1] < low[1]);
        assert_eq!(mixed, [high[0], low[1], high[2]]);
        // A column that is said to be as it is anyway is compressed once.
        let said = WriterProperties::builder().set_compression(zstd(1));
        assert_eq!(size(said.set_column_compression(ColumnPath::from("few"), zstd(1))), low);
    }

    #[test]
    fn a_header_keeps_all_but_the_stored_size() {
        let header = Header::read(Bytes::from_static(&[0x15, 0, 0x15, 0x80, 0x02, 0x15, 0x80, 0x02, 0x2c, 7])).unwrap();
        assert_eq!((header.page_type, header.inflated_bytes), (0, 128));
        assert_eq!(header.with_stored_bytes(3).unwrap()[..], [0x15, 0, 0x15, 0x80, 0x02, 0x15, 6, 0x2c, 7]);
        let longer = [0x15, 0, 0x15, 0x80, 0x02, 0x15, 0x80, 0x80, 0x02, 0x2c, 7];
        assert_eq!(header.with_stored_bytes(1 << 14).unwrap()[..], longer);
        assert!(header.with_stored_bytes(1 << 31).is_err());
        for broken in [&[][..], &[0x15], &[0x15, 0x80], &[0x15, 0, 0x25, 0, 0x15, 0]] {
            assert!(Header::read(Bytes::copy_from_slice(broken)).is_err(), "{broken:?}");
        }
    }
}
