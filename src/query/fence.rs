//! Fences for the rule of the engine that pushes filters down through a physical plan: it knows columns by their names, and takes
//! it that what a scan said it evaluates, it evaluates in each file. Where that is not so, rows would be lost or invented:
//!
//! | below | what would go wrong |
//! |---|---|
//! | an input with two columns of one name (a join) | a filter on one becomes one on the other |
//! | a filter on lists or maps | the Parquet reader drops it in files without one of its columns |
//! | expressions with lambdas | their variables are found by their place, which is another in the scan |
//!
//! What can be pushed there was pushed before, by the rules over logical plans.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::LambdaVariable;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
    ReplaceChildrenOptions, replace_children_if_necessary,
};

/// The rules of the engine for physical plans, with fences where they are wanted.
pub(super) fn rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let fenced = |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| match rule.name().starts_with("FilterPushdown") {
        true => Arc::new(Fenced(rule)) as _,
        false => rule,
    };
    let rules = PhysicalOptimizer::new().rules.into_iter().map(fenced);
    rules.chain([Arc::new(VariablesBehindColumns) as _]).collect()
}

/// Puts the variables of lambdas behind the columns of the input, where they are looked for: the engine makes one of two
/// projections, the second of which may have fewer columns below it than the first.
#[derive(Debug)]
struct VariablesBehindColumns;

impl PhysicalOptimizerRule for VariablesBehindColumns {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let projected = |node: Arc<dyn ExecutionPlan>| {
            let Some(projection) = node.downcast_ref::<ProjectionExec>() else { return Ok(Transformed::no(node)) };
            let columns = projection.input().schema().fields().len();
            let mut is_changed = false;
            let mut exprs = projection.expr().to_vec();
            for expr in &mut exprs {
                let moved = behind_columns(&expr.expr, columns)?;
                is_changed |= moved.transformed;
                expr.expr = moved.data;
            }
            if !is_changed {
                return Ok(Transformed::no(node));
            }
            Ok(Transformed::yes(Arc::new(ProjectionExec::try_new(exprs, Arc::clone(projection.input()))?) as _))
        };
        plan.transform_up(projected).data()
    }

    fn name(&self) -> &'static str {
        "variables_behind_columns"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// An expression whose variables have places from `columns` on.
fn behind_columns(expr: &Arc<dyn PhysicalExpr>, columns: usize) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    let mut first = usize::MAX;
    expr.apply(|part| {
        if let Some(variable) = part.downcast_ref::<LambdaVariable>() {
            first = first.min(variable.index());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if first >= columns {
        return Ok(Transformed::no(Arc::clone(expr)));
    }
    Arc::clone(expr).transform_up(|part| {
        let Some(variable) = part.downcast_ref::<LambdaVariable>() else { return Ok(Transformed::no(part)) };
        let moved = LambdaVariable::new(variable.index() + columns - first, Arc::clone(variable.field()));
        Ok(Transformed::yes(Arc::new(moved) as _))
    })
}

/// A rule that sees fences.
struct Fenced(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl fmt::Debug for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fenced").field(&self.0.name()).finish()
    }
}

impl PhysicalOptimizerRule for Fenced {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = plan.transform_up(fence_below).data()?;
        // A join finds the least and the greatest of its keys for a filter, and fails where rows and lists have none.
        let plan = match joins_nested(&plan)? {
            true => {
                let mut config = config.clone();
                config.optimizer.enable_join_dynamic_filter_pushdown = false;
                self.0.optimize(plan, &config)?
            }
            false => self.0.optimize(plan, config)?,
        };
        let open = |node: Arc<dyn ExecutionPlan>| match node.downcast_ref::<Fence>() {
            Some(fence) => Ok(Transformed::yes(Arc::clone(&fence.0))),
            None => Ok(Transformed::no(node)),
        };
        plan.transform_up(open).data()
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

/// Whether a join is by rows, lists or maps.
fn joins_nested(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    plan.exists(|node| {
        let Some(join) = node.downcast_ref::<HashJoinExec>() else { return Ok(false) };
        let schema = join.left().schema();
        let is_nested = |(key, _): &(Arc<dyn PhysicalExpr>, _)| Ok(key.data_type(&schema)?.is_nested());
        join.on().iter().map(is_nested).find(|is| !matches!(is, Ok(false))).unwrap_or(Ok(false))
    })
}

/// Puts fences between a node and those of its inputs that filters must not reach.
fn fence_below(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let children = node.children();
    if children.is_empty() || node.downcast_ref::<Fence>().is_some() {
        return Ok(Transformed::no(node));
    }
    let mut has_lambda = false;
    node.apply_expressions(&mut |expr| {
        has_lambda = has_lambda || some(expr, &|expr| expr.downcast_ref::<LambdaVariable>().is_some());
        Ok(TreeNodeRecursion::Continue)
    })?;
    let is_of_lists = node
        .downcast_ref::<FilterExec>()
        .is_some_and(|filter| touches_lists(filter.predicate(), &filter.input().schema()));
    let is_fenced = |child: &Arc<dyn ExecutionPlan>| has_lambda || is_of_lists || has_twins(&child.schema());
    if !children.iter().any(|child| is_fenced(child)) {
        return Ok(Transformed::no(node));
    }
    let fenced = children.into_iter().map(|child| match is_fenced(child) {
        true => Arc::new(Fence(Arc::clone(child))) as Arc<dyn ExecutionPlan>,
        false => Arc::clone(child),
    });
    let fenced = fenced.collect();
    Ok(Transformed::yes(replace_children_if_necessary(node, fenced)?))
}

/// Whether two columns have one name.
fn has_twins(schema: &Schema) -> bool {
    let mut names = HashSet::new();
    !schema.fields().iter().all(|field| names.insert(field.name()))
}

/// Whether part of an expression over columns of `schema` is a list or a map.
pub(super) fn touches_lists(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    some(expr, &|expr| {
        matches!(
            expr.data_type(schema),
            Ok(DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Map(..))
        )
    })
}

fn some(expr: &Arc<dyn PhysicalExpr>, is_so: &dyn Fn(&Arc<dyn PhysicalExpr>) -> bool) -> bool {
    is_so(expr) || expr.children().into_iter().any(|child| some(child, is_so))
}

/// Its input, beyond which no filter goes. It is there while a rule is at work.
#[derive(Debug)]
struct Fence(Arc<dyn ExecutionPlan>);

impl DisplayAs for Fence {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fence")
    }
}

impl ExecutionPlan for Fence {
    fn name(&self) -> &'static str {
        "Fence"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let child =
            children.pop().ok_or_else(|| DataFusionError::Internal("a fence is around something".to_owned()))?;
        Ok(Arc::new(Self(child)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.0.execute(partition, context)
    }
}
