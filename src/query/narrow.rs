//! Finds which parts of the columns of tables a statement is made of, and tells the tables.
//!
//! The plan is gone through from its result down. What is wanted of each column of a node follows from what is wanted of the
//! columns of the node above, and from the expressions there. The plan stays as it is: a field that nobody wants is null.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::lake::LakeTable;
use super::parts::{Part, field_path};
use super::raw::RawTable;

/// A table that reads no more of its columns than is wanted.
pub(super) trait Narrow: TableProvider {
    /// The parts of its columns that a statement wants, where it was told; else all.
    fn wanted(&self) -> Option<&[Part]>;

    /// The same table, of which these parts of its columns are wanted. The other fields of structs are null.
    fn narrowed(&self, wanted: Vec<Part>) -> Arc<dyn TableProvider>;
}

/// The rule of the optimizer, which must be its last.
#[derive(Debug)]
pub(super) struct NarrowScans;

impl OptimizerRule for NarrowScans {
    fn name(&self) -> &'static str {
        "narrow_scans"
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !has_narrow_scan(&plan)? {
            return Ok(Transformed::no(plan));
        }
        let wanted = vec![Part::All; plan.schema().fields().len()];
        narrow(plan, &wanted)
    }
}

fn has_narrow_scan(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| match node {
        LogicalPlan::TableScan(scan) => {
            Ok(source_as_provider(&scan.source).is_ok_and(|table| as_narrow(&*table).is_some()))
        }
        _ => Ok(false),
    })
}

fn as_narrow(table: &dyn TableProvider) -> Option<&dyn Narrow> {
    let raw = table.downcast_ref::<RawTable>().map(|table| table as &dyn Narrow);
    raw.or_else(|| table.downcast_ref::<LakeTable>().map(|table| table as &dyn Narrow))
}

/// Adds what an expression over a node is made of to what is wanted of its columns. `part`: what is wanted of the value.
fn add(expr: &Expr, part: &Part, schema: &DFSchema, wanted: &mut [Part]) -> Result<()> {
    let mut add_column = |column: &Column, path: &[String], part: &Part| {
        match schema.maybe_index_of_column(column) {
            Some(index) => wanted[index].add(path, part),
            // Nobody knows whose it is.
            None => wanted.iter_mut().for_each(|wanted| *wanted = Part::All),
        }
    };
    match expr {
        Expr::Alias(alias) => return add(&alias.expr, part, schema, wanted),
        Expr::Column(column) => {
            add_column(column, &[], part);
            return Ok(());
        }
        _ => {}
    }
    let mut is_unclear = false;
    expr.apply(|expr| {
        if let Some((Expr::Column(column), path)) = field_path(expr) {
            add_column(column, &path, &Part::All);
            return Ok(TreeNodeRecursion::Jump);
        }
        match expr {
            Expr::Column(column) => add_column(column, &[], &Part::All),
            Expr::OuterReferenceColumn(..) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
                is_unclear = true;
            }
            // One that stands for itself is planned on its own.
            Expr::ScalarSubquery(subquery) => is_unclear |= !subquery.outer_ref_columns.is_empty(),
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if is_unclear {
        wanted.iter_mut().for_each(|wanted| *wanted = Part::All);
    }
    Ok(())
}

fn narrow(plan: LogicalPlan, wanted: &[Part]) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::TableScan(scan) = plan {
        return narrow_scan(scan, wanted);
    }
    let inputs = plan.inputs();
    let mut below: Vec<Vec<Part>> =
        inputs.iter().map(|input| vec![Part::default(); input.schema().fields().len()]).collect();
    let all = |below: &mut Vec<Vec<Part>>| below.iter_mut().flatten().for_each(|part| *part = Part::All);
    match &plan {
        LogicalPlan::Projection(projection) => {
            for (expr, part) in projection.expr.iter().zip(wanted) {
                add(expr, part, projection.input.schema(), &mut below[0])?;
            }
        }
        LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_) => {
            below[0].clone_from_slice(wanted);
            for expr in plan.expressions() {
                add(&expr, &Part::All, plan.inputs()[0].schema(), &mut below[0])?;
            }
        }
        LogicalPlan::Aggregate(_) => {
            for expr in plan.expressions() {
                add(&expr, &Part::All, plan.inputs()[0].schema(), &mut below[0])?;
            }
        }
        LogicalPlan::Window(window) => {
            // The columns of the input come first.
            for (part, wanted) in below[0].iter_mut().zip(wanted) {
                part.clone_from(wanted);
            }
            for expr in &window.window_expr {
                add(expr, &Part::All, window.input.schema(), &mut below[0])?;
            }
        }
        LogicalPlan::Union(_) => below.iter_mut().for_each(|below| below.clone_from_slice(wanted)),
        LogicalPlan::Join(join) => {
            let left = below[0].len();
            let is_both = join.schema.fields().len() == left + below[1].len();
            if is_both {
                below[0].clone_from_slice(&wanted[..left]);
                below[1].clone_from_slice(&wanted[left..]);
            } else {
                // Semi, anti and mark joins give the columns of one side.
                all(&mut below);
            }
            for expr in plan.expressions() {
                for (input, below) in plan.inputs().iter().zip(&mut below) {
                    add_own(&expr, input.schema(), below)?;
                }
            }
        }
        _ => all(&mut below),
    }
    let mut below = below.into_iter();
    plan.map_children(|child| {
        let wanted = below.next().unwrap_or_else(|| vec![Part::All; child.schema().fields().len()]);
        narrow(child, &wanted)
    })
}

/// Adds what an expression over several nodes is made of, as far as it is of this one.
fn add_own(expr: &Expr, schema: &DFSchema, wanted: &mut [Part]) -> Result<()> {
    let mut own = |column: &Column, path: &[String]| {
        if let Some(index) = schema.maybe_index_of_column(column) {
            wanted[index].add(path, &Part::All);
        }
    };
    expr.apply(|expr| {
        if let Some((Expr::Column(column), path)) = field_path(expr) {
            own(column, &path);
            return Ok(TreeNodeRecursion::Jump);
        }
        if let Expr::Column(column) = expr {
            own(column, &[]);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn narrow_scan(mut scan: TableScan, wanted: &[Part]) -> Result<Transformed<LogicalPlan>> {
    let provider = source_as_provider(&scan.source).ok();
    let Some(table) = provider.as_deref().and_then(as_narrow) else {
        return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
    };
    let mut parts = vec![Part::default(); table.schema().fields().len()];
    match &scan.projection {
        Some(projection) => {
            projection.iter().zip(wanted).for_each(|(index, part)| parts[*index].add(&[], part));
        }
        None => parts.iter_mut().zip(wanted).for_each(|(all, part)| all.add(&[], part)),
    }
    // What the filters of the scan are made of, the scan finds itself.
    if table.wanted().is_some_and(|before| *before == parts) {
        return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
    }
    scan.source = provider_as_source(table.narrowed(parts));
    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
}
