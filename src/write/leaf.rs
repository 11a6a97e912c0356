//! One leaf of the columns of a file, which is one column of Parquet: taken out of the batches of a row group, put together,
//! encoded and compressed, all by one thread.
//!
//! So there are no more encoders and compressors at a time than threads, and what one has needed is there for the next.

use std::io;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, ListArray, RecordBatch, StructArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;

use super::bounds::{self, TextBounds};
use super::pages::{Chunk, Collector, uncompressed};

/// Arrays are put together up to so many rows, and bytes: the encoder starts anew with each, which costs it as much as some
/// hundred rows. Larger ones stay as they are.
const PIECE_ROWS: usize = 8192;
const PIECE_BYTES: usize = 4 << 20;

/// How the leaves of a file are written.
pub(super) struct LeafProperties {
    /// How pages are compressed.
    compressed: WriterPropertiesPtr,
    paged: WriterPropertiesPtr,
    /// For a row group where a leaf has but one page: an index of pages would repeat the statistics of the column.
    unpaged: WriterPropertiesPtr,
    /// The same for a leaf whose statistics are [`TextBounds`].
    unstated: WriterPropertiesPtr,
}

impl LeafProperties {
    /// Those of all leaves of a file of the Parquet columns `columns`.
    pub(super) fn new(properties: &WriterPropertiesPtr, columns: &[ColumnDescPtr]) -> Self {
        let paged = uncompressed(properties, columns);
        let with_statistics = |statistics| {
            let builder = paged.as_ref().clone().into_builder();
            Arc::new(builder.set_statistics_enabled(statistics).build())
        };
        let (unpaged, unstated) = (with_statistics(EnabledStatistics::Chunk), with_statistics(EnabledStatistics::None));
        Self { compressed: Arc::clone(properties), paged, unpaged, unstated }
    }

    /// Those of a leaf that has these arrays, and what is to find its statistics, if the writer is not.
    fn of(&self, leaf: &Leaf, arrays: &[ArrayRef]) -> (&WriterPropertiesPtr, Option<TextBounds>) {
        let rows: usize = arrays.iter().map(Array::len).sum();
        let bytes: usize = arrays.iter().map(Array::get_array_memory_size).sum();
        let is_one_page = rows <= self.paged.data_page_row_count_limit() && bytes <= self.paged.data_page_size_limit();
        match (is_one_page, leaf.is_text) {
            (true, true) => (&self.unstated, Some(TextBounds::default())),
            (true, false) => (&self.unpaged, None),
            (false, _) => (&self.paged, None),
        }
    }
}

/// A leaf of the columns of a file. (Keys and values of a map are one leaf: an array has both or none.)
pub(super) struct Leaf {
    /// The place of its column.
    column: usize,
    /// The places of fields from the column down, one for each struct.
    path: Vec<usize>,
    /// The column with nothing but this leaf.
    field: FieldRef,
    /// It is text, and in no list or map.
    is_text: bool,
}

impl Leaf {
    /// All leaves of `schema`, in their order.
    pub(super) fn all(schema: &SchemaRef) -> Vec<Self> {
        let columns = schema.fields().iter().enumerate();
        let leaves = columns.flat_map(|(column, field)| paths(field).into_iter().map(move |leaf| (column, leaf)));
        let leaf = |(column, (path, field)): (usize, (Vec<usize>, Field))| {
            let is_text = bounds::is_text(field.data_type());
            Self { column, path, field: Arc::new(field), is_text }
        };
        leaves.map(leaf).collect()
    }

    /// This leaf of each batch.
    ///
    /// # Errors
    /// When the batches do not have the columns of the file.
    pub(super) fn of(&self, batches: &[RecordBatch]) -> Result<Vec<ArrayRef>, ArrowError> {
        batches.iter().map(|batch| only(batch.column(self.column), &self.path, &self.field)).collect()
    }

    /// Encodes arrays of this leaf as a column of a row group; those of a map, as two or more.
    ///
    /// # Errors
    /// When Parquet cannot hold them.
    pub(super) fn encode(
        &self,
        arrays: Vec<ArrayRef>,
        properties: &LeafProperties,
        row_group: usize,
    ) -> Result<Vec<Chunk>, ParquetError> {
        let collector = Arc::new(Collector::new(&properties.compressed));
        let (own_properties, mut bounds) = properties.of(self, &arrays);
        let mut writers = self.writers(own_properties, &collector, row_group)?;
        let mut piece = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        for array in arrays {
            let (more_rows, more_bytes) = (array.len(), array.get_array_memory_size());
            if !piece.is_empty() && (rows + more_rows > PIECE_ROWS || bytes + more_bytes > PIECE_BYTES) {
                self.write(&mut writers, std::mem::take(&mut piece), &mut bounds)?;
                (rows, bytes) = (0, 0);
            }
            (rows, bytes) = (rows + more_rows, bytes + more_bytes);
            piece.push(array);
        }
        if !piece.is_empty() {
            self.write(&mut writers, piece, &mut bounds)?;
        }
        let chunks = writers.into_iter().enumerate();
        chunks.map(|(index, writer)| collector.chunk(index, writer.close()?.close_mut(), bounds.take())).collect()
    }

    fn writers(
        &self,
        properties: &WriterPropertiesPtr,
        collector: &Arc<Collector>,
        row_group: usize,
    ) -> Result<Vec<ArrowColumnWriter>, ParquetError> {
        let schema = Arc::new(Schema::new(vec![Arc::clone(&self.field)]));
        let parquet_schema = ArrowSchemaConverter::new().convert(&schema)?.root_schema_ptr();
        // Only a file of just this leaf makes writers for it.
        let file = SerializedFileWriter::new(io::sink(), parquet_schema, Arc::clone(properties))?;
        let factory =
            ArrowRowGroupWriterFactory::new(&file, schema).with_page_store_factory(Arc::<Collector>::clone(collector));
        factory.create_column_writers(row_group)
    }

    fn write(
        &self,
        writers: &mut [ArrowColumnWriter],
        arrays: Vec<ArrayRef>,
        bounds: &mut Option<TextBounds>,
    ) -> Result<(), ParquetError> {
        let array = match &*arrays {
            [array] => Arc::clone(array),
            arrays => concat(&arrays.iter().map(|array| &**array).collect::<Vec<_>>())?,
        };
        drop(arrays);
        if let Some(bounds) = bounds {
            bounds.update(&array);
        }
        let levels = compute_leaves(&self.field, &array)?;
        writers.iter_mut().zip(levels).try_for_each(|(writer, levels)| writer.write(&levels))
    }
}

/// The leaves of a field: the way to each, and the field with nothing else in it.
fn paths(field: &Field) -> Vec<(Vec<usize>, Field)> {
    let with_type = |ty| field.clone().with_data_type(ty);
    match field.data_type() {
        DataType::Struct(fields) => {
            let leaves = fields.iter().enumerate().flat_map(|(place, field)| {
                paths(field).into_iter().map(move |(path, leaf)| ([vec![place], path].concat(), leaf))
            });
            leaves.map(|(path, leaf)| (path, with_type(DataType::Struct(vec![leaf].into())))).collect()
        }
        DataType::List(item) => {
            paths(item).into_iter().map(|(path, leaf)| (path, with_type(DataType::List(Arc::new(leaf))))).collect()
        }
        _ => vec![(Vec::new(), field.clone())],
    }
}

/// An array with nothing but the leaf at a path, as `field` is.
fn only(array: &ArrayRef, path: &[usize], field: &Field) -> Result<ArrayRef, ArrowError> {
    match (field.data_type(), array.data_type(), path.split_first()) {
        (DataType::Struct(fields), DataType::Struct(_), Some((place, rest))) => {
            let parts = array.as_struct();
            let child = only(parts.column(*place), rest, &fields[0])?;
            let nulls = parts.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), vec![child], nulls, array.len())?))
        }
        (DataType::List(item), DataType::List(_), _) => {
            let lists = array.as_list::<i32>();
            let values = only(lists.values(), path, item)?;
            let offsets = lists.offsets().clone();
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, lists.nulls().cloned())?))
        }
        _ => Ok(Arc::clone(array)),
    }
}
