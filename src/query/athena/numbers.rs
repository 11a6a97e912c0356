//! Numbers with a point, which are decimals on Athena: `100.0 * 1 / 3` is `33.3`, and `0.1 + 0.2` is `0.3`. Beside floating numbers,
//! decimals are floating numbers there. <https://trino.io/docs/current/language/types.html>
//!
//! The engine takes written numbers for doubles, and makes decimals of doubles that meet one. Here, numbers become decimals by
//! their place in the text (arithmetic, results, CASE, VALUES, some functions), and doubles again where they meet anything but
//! decimals and integers, which is known once types are.

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
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, UnaryOperator, Value, ValueWithSpan};

use super::arithmetic::quotient;
use super::casts::CAST;
use super::meanings;
use super::rewrite::{call, take, text};
use super::types::{custom_name, named};

/// Functions whose arguments stay decimals.
const TAKE_DECIMALS: [&str; 19] = [
    "abs", "avg", "ceil", "ceiling", "coalesce", "floor", "greatest", "if", "least", "max", "min", "mod", "nullif",
    "round", "sign", "sum", "trunc", "truncate", "typeof",
];

/// Functions that give their arguments, or one of them.
const GIVE_AN_ARGUMENT: [&str; 5] = ["coalesce", "greatest", "least", "make_array", "nullif"];

/// Makes numbers with a point decimals, where an expression keeps them.
pub(super) fn keep_decimals(expr: &mut ast::Expr) {
    match expr {
        ast::Expr::BinaryOp { left, op, right } if is_arithmetic(op) || *op == BinaryOperator::StringConcat => {
            as_decimal(left);
            as_decimal(right);
        }
        ast::Expr::BinaryOp { left, op, right } if is_comparison(op) => {
            as_decimal_if_long(left);
            as_decimal_if_long(right);
        }
        ast::Expr::Between { low, high, .. } => {
            as_decimal_if_long(low);
            as_decimal_if_long(high);
        }
        ast::Expr::InList { list, .. } => list.iter_mut().for_each(as_decimal_if_long),
        ast::Expr::Array(array) if array.elem.iter().all(is_written_exactly) => {
            array.elem.iter_mut().for_each(as_decimal);
        }
        ast::Expr::Floor { expr, .. } | ast::Expr::Ceil { expr, .. } => as_decimal(expr),
        ast::Expr::Case { conditions, else_result, .. } => {
            conditions.iter_mut().for_each(|when| as_decimal(&mut when.result));
            else_result.iter_mut().for_each(|other| as_decimal(other));
        }
        ast::Expr::Cast { expr, data_type: ast::DataType::Custom(name, _), .. } => {
            let name = custom_name(name).to_ascii_lowercase();
            if ["varchar", "char", "json"].iter().any(|text| name.starts_with(text)) {
                as_decimal(expr);
            }
        }
        ast::Expr::Function(ast::Function { name, args: ast::FunctionArguments::List(list), .. })
            if TAKE_DECIMALS.contains(&name.to_string().to_ascii_lowercase().as_str()) =>
        {
            for arg in &mut list.args {
                if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = arg {
                    as_decimal(expr);
                }
            }
        }
        _ => {}
    }
}

/// Makes a number with a point a decimal.
pub(super) fn as_decimal(expr: &mut ast::Expr) {
    if let Some(decimal) = written(expr).and_then(|digits| meanings::decimal(&digits)) {
        *expr = decimal;
    }
}

/// The same, if a double may not have all of its digits: others are compared as what they meet.
fn as_decimal_if_long(expr: &mut ast::Expr) {
    if written(expr).is_some_and(|digits| digits.len() > f64::DIGITS as usize) {
        as_decimal(expr);
    }
}

/// Makes the columns of VALUES decimals whose numbers have a point and no exponent.
pub(super) fn as_decimals(values: &mut ast::Values) {
    let columns = values.rows.iter().map(|row| row.content.len()).min().unwrap_or(0);
    for column in 0..columns {
        let cells = || values.rows.iter().map(|row| &row.content[column]);
        let make = match cells().all(is_written_exactly) {
            true => as_decimal,
            // Beside others, what is computed of decimals is a double, as they are.
            false if cells().any(is_computed_exactly) => computed_as_double,
            false => continue,
        };
        values.rows.iter_mut().for_each(|row| make(&mut row.content[column]));
    }
}

/// Whether numbers are written in it, without exponents, and nothing else.
fn is_written_exactly(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => !digits.contains(['e', 'E']),
        ast::Expr::Value(ValueWithSpan { value: Value::Null, .. }) => true,
        ast::Expr::Nested(inner)
        | ast::Expr::UnaryOp { op: UnaryOperator::Plus | UnaryOperator::Minus, expr: inner } => {
            is_written_exactly(inner)
        }
        ast::Expr::BinaryOp { left, op, right } => {
            is_arithmetic(op) && is_written_exactly(left) && is_written_exactly(right)
        }
        _ => false,
    }
}

fn is_computed_exactly(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Nested(inner) => is_computed_exactly(inner),
        ast::Expr::BinaryOp { .. } => is_written_exactly(expr),
        _ => false,
    }
}

fn computed_as_double(expr: &mut ast::Expr) {
    if is_computed_exactly(expr) {
        *expr = call(CAST, vec![take(expr), text("double")]);
    }
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(op, Plus | Minus | Multiply | Divide | Modulo)
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// The digits of a number with a point and without an exponent.
fn written(expr: &ast::Expr) -> Option<String> {
    match expr {
        ast::Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
            (digits.contains('.') && !digits.contains(['e', 'E'])).then(|| digits.clone())
        }
        ast::Expr::Nested(inner) | ast::Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => written(inner),
        ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
            let digits = written(inner)?;
            Some(digits.strip_prefix('-').map_or_else(|| format!("-{digits}"), str::to_owned))
        }
        _ => None,
    }
}

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

/// Plans arithmetic and comparisons of numbers, when types are known.
#[derive(Debug)]
pub(super) struct NumberPlanner;

impl ExprPlanner for NumberPlanner {
    fn plan_binary_op(&self, mut expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if is_comparison(&expr.op) {
            settle(&mut [&mut expr.left, &mut expr.right], Use::Compared, schema);
            return Ok(PlannerResult::Original(expr));
        }
        // An array is appended to, or prepended.
        let appends = expr.op == BinaryOperator::StringConcat;
        if !is_arithmetic(&expr.op) && !appends {
            return Ok(PlannerResult::Original(expr));
        }
        let (left, right) = (decimal_of(&expr.left), decimal_of(&expr.right));
        let takes_decimal = |data_type: DataType| match data_type {
            DataType::List(item) if appends => item.data_type().is_decimal(),
            other => !appends && is_exact(&other),
        };
        let is_double = |of: &Expr| !of.get_type(schema).is_ok_and(takes_decimal);
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

/// Has decimals be doubles where they meet floating numbers otherwise: in lists, ranges, CASE, and unions.
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
            if plan.transformed { plan.map_data(LogicalPlan::recompute_schema) } else { Ok(plan) }
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
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::IsDistinctFrom | Operator::IsNotDistinctFrom, right }) => {
            settle(&mut [left, right], Use::Compared, schema)
        }
        Expr::InSubquery(within) => settle_within(within, schema).unwrap_or(false),
        Expr::ScalarFunction(call) if GIVE_AN_ARGUMENT.contains(&call.func.name()) => {
            settle(&mut call.args.iter_mut().collect::<Vec<_>>(), Use::Given, schema)
        }
        _ => false,
    }
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
    if !mixed.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union.inputs.into_iter().map(|input| columns_as_doubles(input, &mixed)).collect::<Result<Vec<_>>>()?;
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
