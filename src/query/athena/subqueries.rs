//! Subqueries where the engine takes none, or takes what is not known for false: it joins those in conditions of WHERE, and scalar
//! ones in select lists.
//!
//! What others give is counted: `EXISTS (q)` is `(SELECT count(*) FROM q) > 0`, and `x IN (q)` by three counts, which its three
//! values need. Counts are scalar subqueries, which the engine joins where they are correlated by equations. What an aggregate or
//! a window takes is computed below it.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ExprSchema as _, Spans};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{Exists, InSubquery, WindowFunctionParams};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Sort, SortExpr,
    Subquery, Window, lit, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

/// The name of a subquery whose rows are compared with one outside.
const WITHIN: &str = "__within";
/// The name of a count: there may be others beside it.
const COUNT: &str = "__rows";

/// Before types are settled: those of what is written here are, too.
#[derive(Debug)]
pub(super) struct Subqueries;

impl AnalyzerRule for Subqueries {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(settle).data()
    }

    fn name(&self) -> &'static str {
        "subqueries"
    }
}

fn settle(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut has = false;
    plan.apply_expressions(|expr| {
        has = has || expr.exists(|expr| Ok(is_subquery(expr) || sorts_by_lambda(expr)))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !has {
        return Ok(Transformed::no(plan));
    }
    let names = NamePreserver::new(&plan);
    let key = |expr: Expr| {
        let name = names.save(&expr);
        Ok(expr.transform_down(keyed)?.update_data(|expr| name.restore(expr)))
    };
    let plan = plan.map_expressions(key)?.data;
    match plan {
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let count = |expr: Expr| {
                let name = names.save(&expr);
                Ok(name.restore(expr.transform_down(|expr| counted(expr, input.schema()))?.data))
            };
            let exprs = expr.into_iter().map(count).collect::<Result<_>>()?;
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(exprs, input)?)))
        }
        LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, .. }) => {
            let mut below = Below::new(&input);
            let mut take = |exprs: Vec<Expr>| below.take_all(exprs, &names);
            let (group_expr, aggr_expr) = (take(group_expr)?, take(aggr_expr)?);
            let plan = Aggregate::try_new(below.place(input)?, group_expr, aggr_expr)?;
            Ok(Transformed::yes(LogicalPlan::Aggregate(plan)))
        }
        LogicalPlan::Window(Window { input, window_expr, .. }) => {
            let mut below = Below::new(&input);
            let window_expr = below.take_all(window_expr, &names)?;
            Ok(Transformed::yes(LogicalPlan::Window(Window::try_new(window_expr, below.place(input)?)?)))
        }
        LogicalPlan::Sort(Sort { input, expr, fetch }) => {
            let mut below = Below::new(&input);
            let own = below.exprs.clone();
            let place = |sort: SortExpr| Ok(SortExpr { expr: below.take(sort.expr, &names)?, ..sort });
            let expr = expr.into_iter().map(place).collect::<Result<_>>()?;
            let sorted = LogicalPlan::Sort(Sort { input: below.place(input)?, expr, fetch });
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(own, Arc::new(sorted))?)))
        }
        LogicalPlan::Filter(Filter { predicate, input, .. }) => {
            let predicate = condition(predicate, input.schema(), true)?;
            Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, input)?)))
        }
        // Elsewhere, the engine tells what it does not take.
        plan => Ok(Transformed::no(plan)),
    }
}

/// A condition whose subqueries the engine joins, but for IN where it would take what is not known for false.
///
/// It does not for NOT IN that `must` hold. EXISTS is always known, and where IN is correlated the engine knows more ways.
fn condition(expr: Expr, schema: &DFSchema, must: bool) -> Result<Expr> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let must = must && op == Operator::And;
            let part = |expr: Expr| condition(expr, schema, must).map(Box::new);
            Expr::BinaryExpr(BinaryExpr::new(part(*left)?, op, part(*right)?))
        }
        Expr::Not(inner) if matches!(*inner, Expr::InSubquery(_)) => match *inner {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let expr = Expr::InSubquery(InSubquery { expr, subquery, negated: !negated });
                condition(expr, schema, must)?
            }
            other => Expr::Not(Box::new(other)),
        },
        Expr::InSubquery(expr) if must || !expr.negated => Expr::InSubquery(expr),
        other => {
            let count = |expr: Expr| match &expr {
                Expr::InSubquery(inner) if inner.subquery.outer_ref_columns.is_empty() => counted(expr, schema),
                _ => Ok(Transformed::no(expr)),
            };
            other.transform_down(count)?.data
        }
    })
}

/// A scalar subquery whose own side of each equation with the outside is a column, for the engine joins no others.
fn keyed(expr: Expr) -> Result<Transformed<Expr>> {
    match expr {
        Expr::ScalarSubquery(subquery) if !subquery.outer_ref_columns.is_empty() => {
            let plan = subquery.subquery.as_ref().clone().transform_up(compute_keys)?;
            let (is_changed, plan) = (plan.transformed, Arc::new(plan.data));
            let expr = Expr::ScalarSubquery(Subquery { subquery: plan, ..subquery });
            Ok(Transformed::new(expr, is_changed, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// `f(x) = outside` as an equation of a column that is computed below the filter.
fn compute_keys(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Filter(Filter { predicate, input, .. }) = &plan else { return Ok(Transformed::no(plan)) };
    let is_key = |own: &Expr, other: &Expr| {
        !matches!(own, Expr::Column(_))
            && own.any_column_refs()
            && !own.contains_outer()
            && other.contains_outer()
            && !other.any_column_refs()
    };
    let own: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut computed = own.clone();
    let mut key = |expr: &mut Expr| {
        let alias = format!("__key_{}", computed.len());
        computed.push(std::mem::replace(expr, Expr::Column(Column::new_unqualified(&alias))).alias(alias));
    };
    let mut conditions: Vec<Expr> = split_conjunction(predicate).into_iter().cloned().collect();
    for condition in &mut conditions {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { continue };
        if is_key(left, right) {
            key(left);
        } else if is_key(right, left) {
            key(right);
        }
    }
    if computed.len() == own.len() {
        return Ok(Transformed::no(plan));
    }
    let below = Arc::new(LogicalPlan::Projection(Projection::try_new(computed, Arc::clone(input))?));
    let Some(predicate) = conjunction(conditions) else { return Ok(Transformed::no(plan)) };
    let filter = Arc::new(LogicalPlan::Filter(Filter::try_new(predicate, below)?));
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(own, filter)?)))
}

/// Whether the engine takes it in conditions only. (A scalar subquery that is not correlated, it takes anywhere.)
fn is_subquery(expr: &Expr) -> bool {
    match expr {
        Expr::Exists(_) | Expr::InSubquery(_) => true,
        Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
        _ => false,
    }
}

/// Whether an aggregate or a window sorts by what has a lambda, which the engine does not know again behind the sort.
fn sorts_by_lambda(expr: &Expr) -> bool {
    match expr {
        Expr::AggregateFunction(function) => function.params.order_by.iter().any(|key| has_lambda(&key.expr)),
        Expr::WindowFunction(function) => {
            let WindowFunctionParams { partition_by, order_by, .. } = &function.params;
            partition_by.iter().chain(order_by.iter().map(|key| &key.expr)).any(has_lambda)
        }
        _ => false,
    }
}

fn has_lambda(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(matches!(expr, Expr::HigherOrderFunction(_)))).unwrap_or(false)
}

/// What is computed below an operator, for its expressions.
struct Below {
    schema: DFSchemaRef,
    exprs: Vec<Expr>,
    taken: usize,
}

impl Below {
    fn new(input: &LogicalPlan) -> Self {
        let exprs = input.schema().columns().into_iter().map(Expr::Column).collect();
        Self { schema: Arc::clone(input.schema()), exprs, taken: 0 }
    }

    fn take_all(&mut self, exprs: Vec<Expr>, names: &NamePreserver) -> Result<Vec<Expr>> {
        exprs.into_iter().map(|expr| self.take(expr, names)).collect()
    }

    /// Takes what is to be computed here out of an expression, which gets columns in its place.
    fn take(&mut self, expr: Expr, names: &NamePreserver) -> Result<Expr> {
        if matches!(expr, Expr::GroupingSet(_)) {
            // What is grouped by in several ways is known by its own name.
            return Ok(expr);
        }
        let take = |mut expr: Expr| {
            if is_subquery(&expr) {
                return Ok(Transformed::new(self.compute(expr)?, true, TreeNodeRecursion::Jump));
            }
            if !sorts_by_lambda(&expr) {
                return Ok(Transformed::no(expr));
            }
            let keys: Vec<&mut Expr> = match &mut expr {
                Expr::AggregateFunction(function) => {
                    function.params.order_by.iter_mut().map(|key| &mut key.expr).collect()
                }
                Expr::WindowFunction(function) => {
                    let WindowFunctionParams { partition_by, order_by, .. } = &mut function.params;
                    partition_by.iter_mut().chain(order_by.iter_mut().map(|key| &mut key.expr)).collect()
                }
                _ => Vec::new(),
            };
            for key in keys.into_iter().filter(|key| has_lambda(key)) {
                *key = self.compute(std::mem::take(key))?;
            }
            Ok(Transformed::yes(expr))
        };
        let name = names.save(&expr);
        Ok(name.restore(expr.transform_down(take)?.data))
    }

    /// Has an expression computed here. The column that it is in.
    fn compute(&mut self, expr: Expr) -> Result<Expr> {
        let alias = loop {
            self.taken += 1;
            let alias = format!("__below_{}", self.taken);
            // What was computed for a window passes through the next one.
            if !self.schema.has_column_with_unqualified_name(&alias) {
                break alias;
            }
        };
        self.exprs.push(counted(expr, &self.schema)?.data.alias(alias.as_str()));
        Ok(Expr::Column(Column::new_unqualified(alias)))
    }

    fn place(self, input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(self.exprs, input)?)))
    }
}

/// Writes EXISTS and IN over rows of a schema as counts.
fn counted(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let counted = match expr {
        Expr::Exists(Exists { subquery, negated }) => {
            let rows = count_of(&subquery, None, lit(1_i64))?;
            if negated { rows.eq(lit(0_i64)) } else { rows.gt(lit(0_i64)) }
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let subquery = match subquery.outer_ref_columns.is_empty() {
                // Under a name of its own: the same relation may stand outside.
                true => {
                    let within = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).alias(WITHIN)?.build()?;
                    Subquery { subquery: Arc::new(within), ..subquery }
                }
                false => subquery,
            };
            let column = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
            let same = column.clone().eq(outside(expr.as_ref().clone(), schema)?);
            let found = count_of(&subquery, Some(same), lit(1_i64))?.gt(lit(0_i64));
            let (rows, filled) = (count_of(&subquery, None, lit(1_i64))?, count_of(&subquery, None, column)?);
            // Nothing is in no rows, not even null. Whether null is in others is not known, nor what may be among their nulls.
            when(found, lit(!negated))
                .when(rows.clone().eq(lit(0_i64)), lit(negated))
                .when(expr.is_null().or(filled.lt(rows)), lit(ScalarValue::Boolean(None)))
                .otherwise(lit(negated))?
        }
        other => return Ok(Transformed::no(other)),
    };
    Ok(Transformed::new(counted, true, TreeNodeRecursion::Jump))
}

/// How many rows of a subquery, or of those on which a condition holds, are not null in an expression.
fn count_of(subquery: &Subquery, condition: Option<Expr>, of: Expr) -> Result<Expr> {
    let mut rows = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone());
    if let Some(condition) = condition {
        rows = rows.filter(condition)?;
    }
    let plan = rows.aggregate(Vec::<Expr>::new(), [count(of)])?.build()?;
    let columns = plan.schema().columns().into_iter().map(|column| Expr::Column(column).alias(COUNT));
    let plan = LogicalPlanBuilder::from(plan).project(columns.collect::<Vec<_>>())?.build()?;
    let outer_ref_columns = plan.all_out_ref_exprs();
    Ok(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() }))
}

/// An expression over rows of a schema, as a subquery names it.
fn outside(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let name = |expr: Expr| match expr {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    };
    expr.transform_up(name).data()
}
