//! Which columns are decoded when: those of the filter first, the others for the rows that it leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::utils::reassign_expr_columns;
use datafusion::physical_plan::PhysicalExpr;

use super::{RawScan, RawTable};
use crate::json::{Decoder, FinishError, arrow_schema};
use crate::partition::{Partitioning, partition_columns};
use crate::query::parts::{Part, parts_of};
use crate::raw::RawObject;
use crate::schema::Field;

/// Columns that are decoded together.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// The columns of the records, complete, and the same of which only the parts wanted are there.
    fields: Vec<Field>,
    pub(super) wanted: Vec<Field>,
    decoded: SchemaRef,
    /// How many of them are shown; the others are what partition columns are made of.
    shown: usize,
    partitions: Partitioning,
    has_path: bool,
    /// The columns that are shown.
    pub(super) schema: SchemaRef,
}

/// What a scan does with each window.
#[derive(Debug, Clone)]
pub(super) struct ReadPlan {
    /// All columns at once.
    pub(super) whole: Stage,
    /// The filter over them.
    pub(super) predicate: Option<Arc<dyn PhysicalExpr>>,
    /// The columns of the filter, the filter over them, and the others.
    pub(super) late: Option<(Stage, Arc<dyn PhysicalExpr>, Stage)>,
    /// What is given.
    pub(super) output: SchemaRef,
}

impl Stage {
    /// `columns`: parts of columns by their numbers in the table.
    fn new(table: &RawTable, columns: &BTreeMap<usize, Part>) -> Result<Self> {
        let RawScan { fields: all, partitioning, .. } = &*table.scan;
        let mut parts: Vec<(usize, Part)> =
            columns.range(..all.len()).map(|(index, part)| (*index, part.clone())).collect();
        let shown = parts.len();
        let is_shown = |index: &usize| columns.contains_key(index);
        let partitions: Vec<_> = (0..partitioning.0.len())
            .filter(|at| is_shown(&(all.len() + at)))
            .map(|at| partitioning.0[at].clone())
            .collect();
        for expr in &partitions {
            let Some((first, rest)) = expr.column.split_first() else { continue };
            let Some(index) = all.iter().position(|field| field.name == *first) else { continue };
            match parts.iter_mut().find(|(other, _)| *other == index) {
                Some((_, part)) => part.add(rest, &Part::All),
                None => {
                    let mut part = Part::default();
                    part.add(rest, &Part::All);
                    parts.push((index, part));
                }
            }
        }
        let fields: Vec<Field> = parts.iter().map(|(index, _)| all[*index].clone()).collect();
        let indices: Vec<usize> = columns.keys().copied().collect();
        Ok(Self {
            wanted: parts.iter().map(|(index, part)| part.of(&all[*index])).collect(),
            decoded: arrow_schema(&fields),
            fields,
            shown,
            has_path: is_shown(&(all.len() + partitioning.0.len())),
            partitions: Partitioning(partitions),
            schema: Arc::new(table.schema.project(&indices)?),
        })
    }

    /// A decoder of these columns.
    pub(super) fn decoder(&self, scan: &RawScan) -> Decoder {
        let mut decoder = Decoder::new(&scan.decode, &scan.observed);
        decoder.project(&self.wanted);
        decoder
    }

    /// Takes the columns of the last window. `rows`: how many rows are of which of the `objects`, one behind another.
    pub(super) fn batch(
        &self,
        decoder: &mut Decoder,
        scan: &RawScan,
        objects: &[RawObject],
        rows: impl Iterator<Item = (usize, u64)>,
    ) -> Result<RecordBatch> {
        let decoded = decoder.finish(&self.fields, &self.decoded).map_err(|error| match error {
            FinishError::Redo => DataFusionError::Execution("raw objects changed while they were read".to_owned()),
            FinishError::Arrow(error) => error.into(),
        })?;
        let rows: Vec<(usize, u64)> = rows.collect();
        let mut columns = decoded.columns()[..self.shown].to_vec();
        for (column, field) in columns.iter_mut().zip(&self.fields) {
            if field.is_provenance() {
                *column = paths("", objects, &rows);
            }
        }
        columns.extend(partition_columns(&decoded, &self.fields, &self.partitions, scan.ingested_day));
        if self.has_path {
            columns.push(paths(&scan.base, objects, &rows));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(decoded.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// The keys of the objects that rows are of, behind `base`.
fn paths(base: &str, objects: &[RawObject], rows: &[(usize, u64)]) -> ArrayRef {
    let mut paths = StringBuilder::new();
    for (object, rows) in rows {
        let path = format!("{base}{}", objects.get(*object).map_or("", |object| object.key.as_str()));
        (0..*rows).for_each(|_| paths.append_value(&path));
    }
    Arc::new(paths.finish())
}

impl ReadPlan {
    /// A plan that gives the columns `output` of a table (by their numbers, ascending) of the rows that pass `predicate`.
    pub(super) fn new(table: &RawTable, output: &[usize], predicate: Option<&Arc<dyn PhysicalExpr>>) -> Result<Self> {
        let part = |index: usize| match &table.wanted {
            Some(wanted) => wanted.get(index).cloned().unwrap_or(Part::All),
            None => Part::All,
        };
        let given: BTreeMap<usize, Part> = output.iter().map(|index| (*index, part(*index))).collect();
        let mut filtered = BTreeMap::new();
        if let Some(predicate) = predicate {
            parts_of(predicate, &mut filtered)?;
        }
        let mut all = given.clone();
        for (index, part) in &filtered {
            all.entry(*index).or_default().add(&[], part);
        }
        let whole = Stage::new(table, &all)?;
        let over = |stage: &Stage| {
            predicate.map(|predicate| reassign_expr_columns(Arc::clone(predicate), &stage.schema)).transpose()
        };
        // Records are decoded again on their own: an envelope is not at hand then. Paths and partitions come with the first.
        let is_of_records = |index: usize| table.scan.fields.get(index).is_some_and(|field| !field.is_provenance());
        let (mut first, mut second) = (filtered.clone(), BTreeMap::new());
        for (index, part) in &given {
            let is_there = filtered.get(index).is_some_and(|there| there.covers(part));
            match is_of_records(*index) {
                true if is_there => {}
                true => drop(second.insert(*index, part.clone())),
                false => drop(first.insert(*index, part.clone())),
            }
        }
        let late = if second.is_empty() || predicate.is_none() || !table.scan.decode.envelope_fields.is_empty() {
            None
        } else {
            let (first, second) = (Stage::new(table, &first)?, Stage::new(table, &second)?);
            over(&first)?.map(|predicate| (first, predicate, second))
        };
        let predicate = over(&whole)?;
        Ok(Self { whole, predicate, late, output: Arc::new(table.schema.project(output)?) })
    }

    /// The columns to give, of a batch that has them all, the last of a name first.
    pub(super) fn give(&self, batches: &[&RecordBatch]) -> Result<RecordBatch> {
        let find = |name: &String| batches.iter().rev().find_map(|batch| batch.column_by_name(name).cloned());
        let columns: Option<Vec<ArrayRef>> = self.output.fields().iter().map(|field| find(field.name())).collect();
        let columns = columns.ok_or_else(|| DataFusionError::Internal("a column was not decoded".to_owned()))?;
        let rows = batches.first().map_or(0, |batch| batch.num_rows());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?)
    }
}

/// The rows of a batch that pass a filter.
pub(super) fn passing(predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray> {
    let found = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
    let found = found.as_boolean_opt().ok_or_else(|| DataFusionError::Internal("a filter is no boolean".to_owned()))?;
    Ok(if found.null_count() > 0 { prep_null_mask_filter(found) } else { found.clone() })
}
