//! Vortex files, with the feature `vortex`: written and read by the crate of that name, as it does by itself.

use std::io::Write;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use bytes::Bytes;
use vortex::VortexSessionDefault as _;
use vortex::array::VortexSessionExecute as _;
use vortex::arrow::ArrowSessionExt as _;
use vortex::error::VortexResult;
use vortex::file::{OpenOptionsSessionExt as _, WriteOptionsSessionExt as _};
use vortex::io::runtime::BlockingRuntime as _;
use vortex::io::runtime::current::CurrentThreadRuntime;
use vortex::io::session::RuntimeSessionExt as _;
use vortex::session::VortexSession;

/// Writes batches of one schema as a file, on so many threads, this one among them. Blocks.
///
/// # Errors
/// When the format has no such type, or `out` fails.
pub(super) fn write<'a>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = &'a RecordBatch>,
    out: impl Write + Unpin + Send,
    threads: usize,
) -> VortexResult<()> {
    let runtime = CurrentThreadRuntime::new();
    let others = runtime.new_pool();
    others.set_workers(threads.saturating_sub(1));
    let session = VortexSession::default().with_handle(runtime.handle());
    let types = session.arrow().from_arrow_schema(schema)?;
    let mut writer = session.write_options().blocking(&runtime).writer(out, types);
    for batch in batches {
        writer.push(session.arrow().from_arrow_record_batch(batch.clone(), schema)?)?;
    }
    writer.finish().map(drop)
}

/// Reads a file of that schema. Blocks.
///
/// # Errors
/// When it is no such file.
pub(super) fn read(schema: &SchemaRef, bytes: Bytes) -> VortexResult<Vec<RecordBatch>> {
    let runtime = CurrentThreadRuntime::new();
    let session = VortexSession::default().with_handle(runtime.handle());
    let file = session.open_options().open_buffer(bytes)?;
    let rows = Field::new("", DataType::Struct(schema.fields().clone()), false);
    let arrays = file.scan()?.into_array_iter(&runtime)?;
    let batch = |array| {
        let array = session.arrow().execute_arrow(array, Some(&rows), &mut session.create_execution_ctx())?;
        Ok(RecordBatch::from(array.as_struct()))
    };
    arrays.map(|array| batch(array?)).collect()
}
