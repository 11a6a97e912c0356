//! Records stored as a choice says, by the writer of `compact`, and read back.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortColumn, SortOptions, cast, interleave_record_batch, lexsort_to_indices};
use arrow::ipc::CompressionType;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_avro::compression::CompressionCodec;
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::writer::{AvroWriter, WriterBuilder, format::AvroOcfFormat};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use object_store::path::Path;
use rayon::ThreadPool;
use tokio::runtime::Handle;

use super::choice::{Choice, Format};
use super::sample::Sample;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::json::{conform, write_record};
use crate::lake::{Change, Hidden, StoredFile, Table};
use crate::partition::{PartitionKey, split};
use crate::raw::{Ended, Feed, Fetcher, Limits, RawObject, decode_objects};
use crate::store::Location;
use crate::write::{DataFile, FanoutWriter, Layout, Sink, Widened, WriteContext, worker_bytes};

/// Rows that are put in order, or compared, at once.
const BATCH_ROWS: usize = 16 << 10;
/// An NDJSON object has about this many bytes before it is compressed.
const JSON_BYTES: usize = 16 << 20;

/// What writes.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    /// Does the I/O.
    pub runtime: Handle,
    /// Encodes columns.
    pub encoders: Arc<ThreadPool>,
}

/// Stores the records of a sample in the folder `to`. Blocks.
pub(super) fn write(sample: &Sample, choice: &Choice, to: &Location, tools: &Tools) -> Result<Vec<DataFile>> {
    match choice.format {
        Format::Parquet => write_parquet(sample, choice, to, tools),
        Format::Json => write_json(sample, to, tools, Ok, "json"),
        Format::JsonGz => write_json(sample, to, tools, gzip, "json.gz"),
        Format::Avro => write_avro(sample, to, tools),
        Format::Arrow => write_arrow(sample, to, tools),
        #[cfg(feature = "vortex")]
        Format::Vortex => write_vortex(sample, to, tools),
    }
}

fn write_parquet(sample: &Sample, choice: &Choice, to: &Location, tools: &Tools) -> Result<Vec<DataFile>> {
    let options = Arc::new(choice.files.clone());
    let context = WriteContext::new(to, &tools.runtime, &tools.encoders, &options)?;
    // The memory that one worker of a run has, as row groups depend on it.
    let memory_bytes = worker_bytes(&choice.files);
    let layout = Layout { target_file_bytes: choice.target_file_bytes, memory_bytes, ingested_day: 0 };
    let mut writer = FanoutWriter::new(context, choice.partition_by.clone(), layout, "bench".to_owned());
    if writer.widen(sample.fields.clone())? != Widened::Yes {
        return Err(Error::new(ErrorKind::Failed, "the columns of the sample changed"));
    }
    match in_order(sample, &choice.sort_by)? {
        None => sample.batches.iter().try_for_each(|batch| writer.write(batch))?,
        Some(order) => {
            let batches: Vec<&RecordBatch> = sample.batches.iter().collect();
            for rows in order.chunks(BATCH_ROWS) {
                let batch = interleave_record_batch(&batches, rows).context(|| "cannot sort rows".to_owned())?;
                writer.write(&batch)?;
            }
        }
    }
    writer.close()
}

/// The rows of a sample by these columns, ascending, null last, each by its batch and its place in that.
fn in_order(sample: &Sample, sort_by: &[String]) -> Result<Option<Vec<(usize, usize)>>> {
    if sort_by.is_empty() {
        return Ok(None);
    }
    let describe = || "cannot sort rows".to_owned();
    let mut columns = Vec::new();
    for name in sort_by {
        let index = sample.fields.iter().position(|field| field.name == *name);
        let index = index.ok_or_else(|| Error::usage(format!("there is no column {name} to sort by")))?;
        let parts: Vec<&dyn arrow::array::Array> =
            sample.batches.iter().map(|batch| batch.column(index).as_ref()).collect();
        let values = arrow::compute::concat(&parts).context(describe)?;
        columns.push(SortColumn { values, options: Some(SortOptions { descending: false, nulls_first: false }) });
    }
    let places: Vec<(usize, usize)> = sample
        .batches
        .iter()
        .enumerate()
        .flat_map(|(batch, rows)| (0..rows.num_rows()).map(move |row| (batch, row)))
        .collect();
    let order = lexsort_to_indices(&columns, None).context(describe)?;
    Ok(Some(order.values().iter().map(|index| places[*index as usize]).collect()))
}

fn sink(to: &Location, name: &str, tools: &Tools) -> Result<Sink> {
    let path = Path::parse(format!("{}/{name}", to.prefix()?)).context(|| format!("bad file path {name}"))?;
    Ok(Sink::new(to.store(), path, &tools.runtime))
}

fn file(path: String, size_bytes: usize, rows: usize) -> DataFile {
    DataFile {
        path,
        partition: PartitionKey::new(),
        size_bytes: size_bytes as u64,
        row_count: rows as u64,
        stats: String::new(),
        fields: Vec::new(),
    }
}

fn write_json(
    sample: &Sample,
    to: &Location,
    tools: &Tools,
    pack: impl Fn(Vec<u8>) -> io::Result<Vec<u8>>,
    extension: &str,
) -> Result<Vec<DataFile>> {
    let mut files = Vec::new();
    let mut text = Vec::with_capacity(JSON_BYTES + (1 << 20));
    let mut rows = 0;
    let mut store = |text: &mut Vec<u8>, rows: &mut usize| {
        let name = format!("{:05}.{extension}", files.len());
        let describe = || format!("cannot store {name}");
        let mut sink = sink(to, &name, tools)?;
        let packed = pack(std::mem::take(text)).context(describe)?;
        sink.write_all(&packed).and_then(|()| sink.finish()).context(describe)?;
        files.push(file(name.clone(), packed.len(), std::mem::take(rows)));
        Ok::<_, Error>(())
    };
    for batch in &sample.batches {
        for row in 0..batch.num_rows() {
            write_record(batch, &sample.fields, row, &mut text);
            text.push(b'\n');
            rows += 1;
            if text.len() >= JSON_BYTES {
                store(&mut text, &mut rows)?;
            }
        }
    }
    if rows > 0 {
        store(&mut text, &mut rows)?;
    }
    Ok(files)
}

#[expect(clippy::needless_pass_by_value, reason = "as it would be handed on unpacked")]
fn gzip(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::new(6));
    encoder.write_all(&bytes)?;
    encoder.finish()
}

/// Counts what goes through to a sink.
struct Counted {
    sink: Sink,
    bytes: usize,
}

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.bytes += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl Counted {
    fn finish(mut self, name: &str, sample: &Sample) -> Result<Vec<DataFile>> {
        self.sink.finish().context(|| format!("cannot store {name}"))?;
        Ok(vec![file(name.to_owned(), self.bytes, sample.rows as usize)])
    }
}

fn write_avro(sample: &Sample, to: &Location, tools: &Tools) -> Result<Vec<DataFile>> {
    let name = "00000.avro";
    let describe = || format!("cannot write {name}");
    let mut writer: AvroWriter<Counted> = WriterBuilder::new(sample.schema.as_ref().clone())
        .with_compression(Some(CompressionCodec::ZStandard))
        .build::<_, AvroOcfFormat>(Counted { sink: sink(to, name, tools)?, bytes: 0 })
        .context(describe)?;
    for batch in &sample.batches {
        writer.write(batch).context(describe)?;
    }
    writer.finish().context(describe)?;
    writer.into_inner().finish(name, sample)
}

fn write_arrow(sample: &Sample, to: &Location, tools: &Tools) -> Result<Vec<DataFile>> {
    let name = "00000.arrow";
    let describe = || format!("cannot write {name}");
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).context(describe)?;
    let counted = Counted { sink: sink(to, name, tools)?, bytes: 0 };
    let mut writer = FileWriter::try_new_with_options(counted, &sample.schema, options).context(describe)?;
    for batch in &sample.batches {
        writer.write(batch).context(describe)?;
    }
    writer.finish().context(describe)?;
    writer.into_inner().context(describe)?.finish(name, sample)
}

#[cfg(feature = "vortex")]
fn write_vortex(sample: &Sample, to: &Location, tools: &Tools) -> Result<Vec<DataFile>> {
    let name = "00000.vortex";
    let mut counted = Counted { sink: sink(to, name, tools)?, bytes: 0 };
    let threads = tools.encoders.current_num_threads();
    super::vortex::write(&sample.schema, sample.batches.iter(), &mut counted, threads)
        .context(|| format!("cannot write {name}"))?;
    counted.finish(name, sample)
}

/// Makes the files of Parquet in a folder a table, which SQL can name.
pub(super) async fn commit(
    sample: &Sample,
    choice: &Choice,
    folder: &Location,
    files: Vec<DataFile>,
    run_id: &str,
) -> Result<()> {
    let change = Change {
        run_id: run_id.to_owned(),
        at_ms: 0,
        fields: Some(sample.fields.clone()),
        partitioning: choice.partition_by.clone(),
        add: files,
        remove: Vec::new(),
        optimizes_to: None,
        ledger_head: 0,
    };
    Table::open(folder.clone()).await?.commit(change).await.map(drop)
}

/// Reads what was stored back and compares it with the sample, value by value. Blocks.
///
/// # Errors
/// `Corrupt` when it differs; `Failed` when it cannot be read.
pub(super) fn read_back(
    sample: &Sample,
    choice: &Choice,
    from: &Location,
    files: &[DataFile],
    runtime: &Handle,
) -> Result<()> {
    let whole = PartitionKey::new();
    let mut wanted: BTreeMap<PartitionKey, Vec<RecordBatch>> = BTreeMap::new();
    let describe = || "cannot split rows by partition".to_owned();
    match in_order(sample, &choice.sort_by)? {
        None => {
            for batch in &sample.batches {
                for part in split(batch, &sample.fields, &choice.partition_by, 0).context(describe)? {
                    wanted.entry(part.key).or_default().push(part.batch);
                }
            }
        }
        Some(order) => {
            let batches: Vec<&RecordBatch> = sample.batches.iter().collect();
            for rows in order.chunks(BATCH_ROWS) {
                let batch = interleave_record_batch(&batches, rows).context(describe)?;
                for part in split(&batch, &sample.fields, &choice.partition_by, 0).context(describe)? {
                    wanted.entry(part.key).or_default().push(part.batch);
                }
            }
        }
    }
    let mut wanted: BTreeMap<PartitionKey, Rows> =
        wanted.into_iter().map(|(key, batches)| (key, Rows { batches: batches.into(), at: 0 })).collect();
    let hidden = Hidden::new(from);
    let differs = |path: &str| Error::new(ErrorKind::Corrupt, format!("{path} does not read back as it was written"));
    for file in files {
        let rows = wanted.get_mut(if choice.format == Format::Parquet { &file.partition } else { &whole });
        let rows = rows.ok_or_else(|| differs(&file.path))?;
        let mut compare = |batch: &RecordBatch| if rows.begin_with(batch) { Ok(()) } else { Err(differs(&file.path)) };
        let describe = || format!("cannot read {}", file.path);
        match choice.format {
            Format::Parquet => {
                let open = StoredFile::open(&hidden, &file.path, file.size_bytes, &sample.fields);
                let mut stored = runtime.block_on(open)?;
                while let Some(batch) = runtime.block_on(stored.next_batch())? {
                    let batch = conform(&batch, &stored.fields, &sample.fields, &sample.schema);
                    compare(&batch.map_err(|_| differs(&file.path))?)?;
                }
            }
            Format::Json | Format::JsonGz => {
                let bytes = runtime.block_on(hidden.read(&file.path))?;
                read_json(sample, &file.path, bytes, &mut compare)?;
            }
            Format::Avro => {
                let bytes = runtime.block_on(hidden.read(&file.path))?;
                let reader = ReaderBuilder::new().build(io::Cursor::new(bytes)).context(describe)?;
                for batch in reader {
                    compare(&as_sample(&batch.context(describe)?, sample).context(describe)?)?;
                }
            }
            Format::Arrow => {
                let bytes = runtime.block_on(hidden.read(&file.path))?;
                for batch in FileReader::try_new(io::Cursor::new(bytes), None).context(describe)? {
                    compare(&as_sample(&batch.context(describe)?, sample).context(describe)?)?;
                }
            }
            #[cfg(feature = "vortex")]
            Format::Vortex => {
                let bytes = runtime.block_on(hidden.read(&file.path))?;
                for batch in super::vortex::read(&sample.schema, bytes).context(describe)? {
                    compare(&as_sample(&batch, sample).context(describe)?)?;
                }
            }
        }
    }
    match wanted.values().all(Rows::is_empty) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Corrupt, "rows are missing in what was written")),
    }
}

/// A batch with the types of the sample: formats name the elements of lists otherwise.
fn as_sample(batch: &RecordBatch, sample: &Sample) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = batch.columns().iter().zip(sample.schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<Vec<ArrayRef>, _>>();
    RecordBatch::try_new(Arc::clone(&sample.schema), columns?)
}

fn read_json(
    sample: &Sample,
    path: &str,
    bytes: Bytes,
    compare: &mut impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let object = RawObject { key: path.to_owned(), etag: String::new(), size_bytes: bytes.len() as u64 };
    let fetcher = Fetcher::of_memory([(object.clone(), bytes)].into());
    let options = crate::json::DecodeOptions { rule: sample.rule.clone(), ..Default::default() };
    let mut decoder = crate::json::Decoder::new(&options, &sample.observed);
    let limits = Limits { ratio: u64::MAX, object_bytes: u64::MAX, ..Limits::default() };
    let objects = [object];
    let mut outcome = Ok(());
    let ended = decode_objects(Feed::new(&fetcher, &objects, limits), &options, &mut decoder, |decoder, decoded| {
        if decoded.rows > 0 {
            outcome = match decoder.finish(&sample.fields, &sample.schema) {
                Ok(batch) => compare(&batch),
                Err(_) => Err(Error::new(ErrorKind::Corrupt, format!("{path} reads back as other types"))),
            };
        }
        if outcome.is_ok() { std::ops::ControlFlow::Continue(()) } else { std::ops::ControlFlow::Break(()) }
    });
    match ended {
        Ended::Unreadable { error, .. } => Err(Error::failed(format!("cannot read {path}"), error)),
        Ended::All | Ended::Stopped => outcome,
    }
}

/// Rows that are still to come.
struct Rows {
    batches: std::collections::VecDeque<RecordBatch>,
    /// Rows of the first batch that have come.
    at: usize,
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether they begin with the rows of `batch`, which are then taken off.
    fn begin_with(&mut self, batch: &RecordBatch) -> bool {
        let mut compared = 0;
        while compared < batch.num_rows() {
            let Some(first) = self.batches.front() else { return false };
            let count = (first.num_rows() - self.at).min(batch.num_rows() - compared);
            if first.slice(self.at, count).columns() != batch.slice(compared, count).columns() {
                return false;
            }
            (compared, self.at) = (compared + count, self.at + count);
            if self.at == first.num_rows() {
                self.batches.pop_front();
                self.at = 0;
            }
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn batch(values: &[Option<i64>]) -> RecordBatch {
        RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(values.to_vec())) as ArrayRef)]).unwrap()
    }

    #[test]
    fn rows_are_compared_however_they_are_cut() {
        let wanted = || Rows { batches: [batch(&[Some(1), None]), batch(&[Some(3)])].into(), at: 0 };
        let mut rows = wanted();
        assert!(rows.begin_with(&batch(&[Some(1)])) && rows.begin_with(&batch(&[None, Some(3)])) && rows.is_empty());
        assert!(!wanted().begin_with(&batch(&[Some(1), Some(0)])), "null is no value");
        assert!(!wanted().begin_with(&batch(&[Some(1), None, Some(3), Some(4)])), "a row too many");
        assert!(!wanted().begin_with(&batch(&[Some(2)])));
        let mut short = wanted();
        assert!(short.begin_with(&batch(&[Some(1), None])) && !short.is_empty(), "a row is missing");
    }
}
