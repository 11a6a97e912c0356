//! What the stages are given: windows, settled columns, batches, and a place to write to.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use siltstone::config::{Config, Settings};
use siltstone::json::{DecodeOptions, Decoder, PADDING, Segment, arrow_schema};
use siltstone::partition::Partitioning;
use siltstone::raw::WINDOW_BYTES;
use siltstone::schema::{Field, Observation, resolve};
use siltstone::store::Location;
use siltstone::write::{DataFile, FanoutWriter, Layout, Widened, WriteContext};
use tokio::runtime::Runtime;

use crate::data::Shape;

/// What gathered rows and open writers of the only worker of a run may hold, in bytes.
const WORKER_BYTES: usize = 96 << 20;

/// JSON in windows, and the columns that follow from it.
pub(crate) struct Material {
    /// Whole records, each window with its padding.
    pub(crate) windows: Vec<Vec<u8>>,
    /// What the records look like.
    pub(crate) seen: Observation,
    /// Their columns.
    pub(crate) fields: Vec<Field>,
    /// The Arrow schema of these.
    pub(crate) schema: SchemaRef,
}

impl Material {
    /// The material of `size_bytes` of JSON.
    pub(crate) fn new(shape: Shape, size_bytes: usize) -> Self {
        Self::of([shape.ndjson(0, size_bytes)], &Partitioning::default())
    }

    /// The material of NDJSON objects whose rows are partitioned `by`.
    pub(crate) fn of(objects: impl IntoIterator<Item = impl AsRef<[u8]>>, by: &Partitioning) -> Self {
        let windows: Vec<Vec<u8>> = objects.into_iter().flat_map(|json| windows(json.as_ref())).collect();
        let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
        for window in &windows {
            let decoded = decoder.decode(window, &[whole(window)]);
            assert!(decoded.rejects.is_empty(), "the data is all records");
        }
        let seen = decoder.observe();
        let fields = resolve(&seen, &by.names());
        let schema = arrow_schema(&fields);
        Self { windows, seen, fields, schema }
    }

    /// A decoder that knows the columns, as that of a slice does after the first look.
    pub(crate) fn decoder(&self) -> Decoder {
        Decoder::new(&DecodeOptions::default(), &self.seen)
    }

    /// The rows of one window.
    pub(crate) fn batch(&self, decoder: &mut Decoder, window: &[u8]) -> RecordBatch {
        decoder.decode(window, &[whole(window)]);
        decoder.finish(&self.fields, &self.schema).unwrap()
    }

    /// The rows of all windows, a batch for each.
    pub(crate) fn batches(&self) -> Vec<RecordBatch> {
        let mut decoder = self.decoder();
        self.windows.iter().map(|window| self.batch(&mut decoder, window)).collect()
    }
}

/// The only segment of a window.
pub(crate) fn whole(window: &[u8]) -> Segment {
    Segment { object: 0, start: 0, end: window.len() - PADDING, offset: 0, last: true }
}

/// Cuts NDJSON into windows at ends of lines.
pub(crate) fn windows(mut json: &[u8]) -> Vec<Vec<u8>> {
    let mut windows = Vec::new();
    while !json.is_empty() {
        let most = &json[..json.len().min(WINDOW_BYTES)];
        let end = most.iter().rposition(|byte| *byte == b'\n').expect("lines are shorter than windows") + 1;
        let mut window = Vec::with_capacity(end + PADDING);
        window.extend_from_slice(&json[..end]);
        window.resize(end + PADDING, 0);
        windows.push(window);
        json = &json[end..];
    }
    windows
}

/// Writes data files as a run with one thread does.
pub(crate) struct Writing {
    context: WriteContext,
    settings: Settings,
    partitioning: Partitioning,
}

impl Writing {
    /// Into the folder `to`, partitioned `by`.
    pub(crate) fn new(to: &Location, by: &Partitioning, runtime: &Runtime) -> Self {
        let settings = Config::default().settings("events").unwrap();
        let encoders = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let options = Arc::new(settings.files.clone());
        let context = WriteContext::new(to, runtime.handle(), &Arc::new(encoders), &options).unwrap();
        Self { context, settings, partitioning: by.clone() }
    }

    /// Writes batches of the columns `fields`.
    pub(crate) fn write(&self, fields: &[Field], batches: &[RecordBatch]) -> Vec<DataFile> {
        let layout =
            Layout { target_file_bytes: self.settings.target_file_bytes, memory_bytes: WORKER_BYTES, ingested_day: 0 };
        let (context, by) = (self.context.clone(), self.partitioning.clone());
        let mut writer = FanoutWriter::new(context, by, layout, "slice".to_owned());
        assert_eq!(writer.widen(fields.to_vec()).unwrap(), Widened::Yes);
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.close().unwrap()
    }
}
