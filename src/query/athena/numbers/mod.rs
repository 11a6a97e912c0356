//! Numbers with a point, which are decimals on Athena: `100.0 * 1 / 3` is `33.3`, and `0.1 + 0.2` is `0.3`. Beside floating numbers,
//! decimals are floating numbers there. <https://trino.io/docs/current/language/types.html>
//!
//! The engine takes written numbers for doubles, and makes decimals of doubles that meet one. Here, numbers become decimals by
//! their place in the text (arithmetic, results, CASE, VALUES, some functions), and doubles again where they meet anything but
//! decimals and integers, which is known once types are.

mod written;

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, InList, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Distinct, Expr, ExprSchemable as _, Join, LogicalPlan, LogicalPlanBuilder, Operator, Union, lit,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use written::is_arithmetic;

use super::arithmetic::quotient;
use super::casts::CAST;
use super::types::named;

pub(super) use written::{as_decimal, as_decimals, groups_in_several_ways, is_recursive, keep_decimals};

/// Functions that give their arguments, or one of them.
const GIVE_AN_ARGUMENT: [&str; 5] = ["coalesce", "greatest", "least", "make_array", "nullif"];

/// The decimal that is written in the query.
fn decimal_of(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(decimal @ ScalarValue::Decimal128(..), _) => Some(decimal.clone()),
        Expr::ScalarFunction(call) if call.func.name() == CAST => match call.args.as_slice() {
            [Expr::Literal(ScalarValue::Utf8(Some(digits)), _), Expr::Literal(ScalarValue::Utf8(Some(name)), _)] => {
                let DataType::Decimal128(precision, scale) = named(name).ok()? else { return None };
                let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
                let is_whole = fraction.len() == usize::try_from(scale).ok()?;
                let unscaled = format!("{whole}{fraction}").parse().ok().filter(|_| is_whole)?;
                Some(ScalarValue::Decimal128(Some(unscaled), precision, scale))
            }
            _ => None,
        },
        _ => None,
    }
}

fn is_exact(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_decimal()
}

/// A decimal as a double.
fn as_double(expr: &mut Expr) {
    *expr = match decimal_of(expr) {
        Some(ScalarValue::Decimal128(Some(unscaled), _, scale)) => {
            lit(format!("{unscaled}e{}", -i16::from(scale)).parse::<f64>().unwrap_or(f64::NAN))
        }
        _ => Expr::Cast(Cast::new(Box::new(std::mem::take(expr)), DataType::Float64)),
    };
}

/// A double that is written in the query as a decimal of its digits, if there are not too many.
fn exact(expr: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Float64(Some(value)), _) = expr else { return None };
    let digits = value.to_string();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let precision = u8::try_from(whole.trim_start_matches('-').len() + fraction.len()).ok()?;
    let unscaled = format!("{whole}{fraction}").parse::<i128>().ok()?;
    let scale = i8::try_from(fraction.len()).ok()?;
    (precision <= DECIMAL128_MAX_PRECISION)
        .then(|| Expr::Literal(ScalarValue::Decimal128(Some(unscaled), precision, scale), None))
}

/// What expressions of one type are there for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// They are compared: numbers that are written count as exact.
    Compared,
    /// One of them is given: numbers of which decimals could have been made are decimals already.
    Given,
}

/// Settles expressions that are to be of one type, if there are decimals and floating numbers among them: as decimals, if all
/// floating numbers are written in the query, else as doubles.
fn settle(exprs: &mut [&mut Expr], of: Use, schema: &DFSchema) -> bool {
    let Ok(types) = exprs.iter().map(|expr| expr.get_type(schema)).collect::<Result<Vec<_>>>() else { return false };
    if !(types.iter().any(DataType::is_decimal) && types.iter().any(DataType::is_floating)) {
        return false;
    }
    let has_values =
        exprs.iter().zip(&types).any(|(expr, data_type)| data_type.is_decimal() && decimal_of(expr).is_none());
    let exact = |(expr, data_type): (&&mut Expr, &DataType)| data_type.is_floating().then(|| exact(expr));
    let decimals: Vec<_> = exprs.iter().zip(&types).map(exact).collect();
    let is_decimal = of == Use::Compared
        && has_values
        && !decimals.contains(&Some(None))
        && have_room(&types, decimals.iter().flatten().flatten());
    for ((expr, data_type), decimal) in exprs.iter_mut().zip(&types).zip(decimals) {
        match decimal.flatten() {
            Some(decimal) if is_decimal => **expr = decimal,
            _ if data_type.is_decimal() && !is_decimal => as_double(expr),
            _ => {}
        }
    }
    true
}

/// Whether decimals of these types and these literals have a type in common.
fn have_room<'a>(types: &[DataType], decimals: impl Iterator<Item = &'a Expr>) -> bool {
    let (mut whole, mut behind) = (0, 0);
    let mut add = |precision: u8, scale: i8| {
        whole = whole.max(i16::from(precision) - i16::from(scale));
        behind = behind.max(i16::from(scale));
    };
    for data_type in types {
        match data_type {
            DataType::Decimal128(precision, scale) => add(*precision, *scale),
            _ if data_type.is_integer() => add(20, 0),
            _ => {}
        }
    }
    for decimal in decimals {
        if let Expr::Literal(ScalarValue::Decimal128(_, precision, scale), _) = decimal {
            add(*precision, *scale);
        }
    }
    whole + behind <= i16::from(DECIMAL128_MAX_PRECISION)
}

/// Plans arithmetic of numbers, when types are known.
#[derive(Debug)]
pub(super) struct NumberPlanner;

impl ExprPlanner for NumberPlanner {
    fn plan_binary_op(&self, mut expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if expr.op == BinaryOperator::StringConcat {
            settle_element(&mut expr, schema);
            return Ok(PlannerResult::Original(expr));
        }
        if !is_arithmetic(&expr.op) {
            return Ok(PlannerResult::Original(expr));
        }
        let (left, right) = (decimal_of(&expr.left), decimal_of(&expr.right));
        let is_double = |of: &Expr| !of.get_type(schema).is_ok_and(|data_type| is_exact(&data_type));
        match (left, right) {
            (Some(_), None) if is_double(&expr.right) => as_double(&mut expr.left),
            (None, Some(_)) if is_double(&expr.left) => as_double(&mut expr.right),
            (left, right) => {
                left.into_iter().for_each(|decimal| expr.left = Expr::Literal(decimal, None));
                right.into_iter().for_each(|decimal| expr.right = Expr::Literal(decimal, None));
            }
        }
        // Of the type that it is to have before it is compared with anything.
        if expr.op == BinaryOperator::Divide
            && let (Ok(right), Ok(left)) = (expr.right.get_type(schema), expr.left.get_type(schema))
            && is_exact(&left)
            && is_exact(&right)
            && (left.is_decimal() || right.is_decimal())
        {
            return Ok(PlannerResult::Planned(quotient(expr.left, expr.right)));
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// `array || element`, or the other way round: a decimal is a double for an array of other numbers, and a number that is written a
/// decimal for an array of these.
fn settle_element(expr: &mut RawBinaryExpr, schema: &DFSchema) {
    let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else { return };
    let (item, element, element_type) = match (&left, &right) {
        (DataType::List(item), other) if !other.is_nested() => (item, &mut expr.right, other),
        (other, DataType::List(item)) if !other.is_nested() => (item, &mut expr.left, other),
        _ => return,
    };
    if element_type.is_decimal() && item.data_type().is_numeric() && !item.data_type().is_decimal() {
        as_double(element);
    } else if element_type.is_floating()
        && item.data_type().is_decimal()
        && let Some(decimal) = exact(element)
    {
        *element = decimal;
    }
}

/// Has decimals be doubles where they meet floating numbers otherwise: in comparisons, lists, ranges, CASE, and unions.
#[derive(Debug)]
pub(super) struct MixedNumbers;

impl AnalyzerRule for MixedNumbers {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let plan = match plan {
                LogicalPlan::Union(union) => return settle_union(union),
                LogicalPlan::Join(join) => LogicalPlan::Join(settle_keys(join)),
                other => other,
            };
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            let plan = plan.map_expressions(|expr| {
                if matches!(expr, Expr::GroupingSet(_)) {
                    return Ok(Transformed::no(expr));
                }
                let name = names.save(&expr);
                let settled = expr.transform_up(|mut expr| {
                    let is_changed = settle_parts(&mut expr, &schema);
                    Ok(if is_changed { Transformed::yes(expr) } else { Transformed::no(expr) })
                })?;
                Ok(settled.update_data(|expr| name.restore(expr)))
            })?;
            // What is below may have other types now.
            plan.map_data(LogicalPlan::recompute_schema)
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "mixed_numbers"
    }
}

/// Settles what is compared with each other, or given instead of each other.
fn settle_parts(expr: &mut Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::Between(Between { expr, low, high, .. }) => settle(&mut [expr, low, high], Use::Compared, schema),
        Expr::InList(InList { expr, list, .. }) => {
            let mut all: Vec<&mut Expr> = vec![expr];
            all.extend(list);
            settle(&mut all, Use::Compared, schema)
        }
        Expr::Case(case) => {
            let (mut compared, mut given): (Vec<&mut Expr>, Vec<&mut Expr>) = (Vec::new(), Vec::new());
            let has_base = case.expr.is_some();
            compared.extend(case.expr.as_deref_mut());
            for (when, then) in &mut case.when_then_expr {
                if has_base {
                    compared.push(when);
                }
                given.push(then);
            }
            given.extend(case.else_expr.as_deref_mut());
            let is_changed = settle(&mut compared, Use::Compared, schema);
            settle(&mut given, Use::Given, schema) || is_changed
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
            settle(&mut [left, right], Use::Compared, schema)
        }
        Expr::InSubquery(within) => settle_within(within, schema).unwrap_or(false),
        Expr::ScalarFunction(call) if call.args.len() > 1 && is_of_elements(call.func.name()) => {
            settle_elements(&mut call.args, schema)
        }
        Expr::ScalarFunction(call) if GIVE_AN_ARGUMENT.contains(&call.func.name()) => {
            settle(&mut call.args.iter_mut().collect::<Vec<_>>(), Use::Given, schema)
        }
        _ => false,
    }
}

fn is_of_elements(function: &str) -> bool {
    function == "contains" || function.starts_with("array_")
}

fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// What is looked for in an array of floating numbers, or put into it: a decimal as a double.
fn settle_elements(args: &mut [Expr], schema: &DFSchema) -> bool {
    let types: Vec<_> = args.iter().map(|arg| arg.get_type(schema)).collect();
    let is_of_doubles =
        |data_type: &Result<DataType>| matches!(data_type, Ok(DataType::List(item)) if item.data_type().is_floating());
    if !types.iter().any(is_of_doubles) {
        return false;
    }
    let mut is_changed = false;
    for (arg, data_type) in args.iter_mut().zip(types) {
        if data_type.is_ok_and(|data_type| data_type.is_decimal()) {
            as_double(arg);
            is_changed = true;
        }
    }
    is_changed
}

/// `x IN (query)`, where one of both is a decimal and the other a floating number: in doubles.
fn settle_within(within: &mut InSubquery, schema: &DFSchema) -> Result<bool> {
    let plan = &within.subquery.subquery;
    let (value, column) = (within.expr.get_type(schema)?, plan.schema().field(0).data_type().clone());
    if value.is_decimal() && column.is_floating() {
        as_double(&mut within.expr);
    } else if value.is_floating() && column.is_decimal() {
        within.subquery.subquery = columns_as_doubles(Arc::clone(plan), &[true])?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// The keys of a join that are a decimal and a floating number, as those of USING: in doubles.
fn settle_keys(mut join: Join) -> Join {
    for (left, right) in &mut join.on {
        let types = (left.get_type(join.left.schema()), right.get_type(join.right.schema()));
        match types {
            (Ok(one), Ok(other)) if one.is_decimal() && other.is_floating() => as_double(left),
            (Ok(one), Ok(other)) if one.is_floating() && other.is_decimal() => as_double(right),
            _ => {}
        }
    }
    join
}

/// The types of a column in all that a union puts under one another, which have none in common yet.
fn types_of_column(input: &LogicalPlan, column: usize, types: &mut Vec<DataType>) {
    match input {
        LogicalPlan::Union(union) => union.inputs.iter().for_each(|input| types_of_column(input, column, types)),
        LogicalPlan::Distinct(Distinct::All(input)) => types_of_column(input, column, types),
        other => types.extend(other.schema().fields().get(column).map(|field| field.data_type().clone())),
    }
}

/// Columns of a union that are decimals in one of its inputs and floating numbers in another are doubles in all.
fn settle_union(union: Union) -> Result<Transformed<LogicalPlan>> {
    let columns = union.inputs.first().map_or(0, |input| input.schema().fields().len());
    let is_mixed = |column: usize| {
        let mut types = Vec::new();
        union.inputs.iter().for_each(|input| types_of_column(input, column, &mut types));
        types.iter().any(DataType::is_decimal) && types.iter().any(DataType::is_floating)
    };
    let mixed: Vec<bool> = (0..columns).map(is_mixed).collect();
    let inputs = match mixed.contains(&true) {
        true => union.inputs.into_iter().map(|input| columns_as_doubles(input, &mixed)).collect::<Result<Vec<_>>>()?,
        false => union.inputs,
    };
    Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)))
}

/// The rows of a plan with some of its columns as doubles.
fn columns_as_doubles(input: Arc<LogicalPlan>, which: &[bool]) -> Result<Arc<LogicalPlan>> {
    let column = |(column, as_double): (Column, &bool)| match *as_double {
        true => Expr::Cast(Cast::new(Box::new(Expr::Column(column.clone())), DataType::Float64))
            .alias_qualified(column.relation, column.name),
        false => Expr::Column(column),
    };
    let exprs: Vec<Expr> = input.schema().columns().into_iter().zip(which).map(column).collect();
    LogicalPlanBuilder::from(input).project(exprs)?.build().map(Arc::new)
}
