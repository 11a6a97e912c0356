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
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, Union, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, UnaryOperator, Value, ValueWithSpan};

use super::casts::CAST;
use super::meanings;
use super::types::custom_name;

/// Functions whose arguments stay decimals.
const TAKE_DECIMALS: [&str; 19] = [
    "abs", "avg", "ceil", "ceiling", "coalesce", "floor", "greatest", "if", "least", "max", "min", "mod", "nullif",
    "round", "sign", "sum", "trunc", "truncate", "typeof",
];

/// Functions that give one of their arguments.
const GIVE_AN_ARGUMENT: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

/// Makes numbers with a point decimals, where an expression keeps them.
pub(super) fn keep_decimals(expr: &mut ast::Expr) {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    match expr {
        ast::Expr::BinaryOp { left, op: Plus | Minus | Multiply | Divide | Modulo, right } => {
            as_decimal(left);
            as_decimal(right);
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

/// Makes the columns of VALUES decimals whose numbers have a point and no exponent.
pub(super) fn as_decimals(values: &mut ast::Values) {
    let is_exact = |expr: &ast::Expr| match expr {
        ast::Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => !digits.contains(['e', 'E']),
        ast::Expr::Value(ValueWithSpan { value: Value::Null, .. }) => true,
        other => written(other).is_some(),
    };
    let columns = values.rows.iter().map(|row| row.content.len()).min().unwrap_or(0);
    for column in 0..columns {
        if values.rows.iter().all(|row| is_exact(&row.content[column])) {
            values.rows.iter_mut().for_each(|row| as_decimal(&mut row.content[column]));
        }
    }
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

/// The digits of a decimal that is written in the query.
fn digits_of(expr: &Expr) -> Option<&str> {
    let Expr::ScalarFunction(call) = expr else { return None };
    match call.args.as_slice() {
        [Expr::Literal(ScalarValue::Utf8(Some(digits)), _), Expr::Literal(ScalarValue::Utf8(Some(name)), _)]
            if call.func.name() == CAST && name.starts_with("decimal(") =>
        {
            Some(digits)
        }
        _ => None,
    }
}

fn is_exact(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_decimal()
}

/// A decimal as a double.
fn as_double(expr: &mut Expr) {
    let double = digits_of(expr).and_then(|digits| digits.parse::<f64>().ok());
    *expr = match double {
        Some(double) => lit(double),
        None => Expr::Cast(Cast::new(Box::new(std::mem::take(expr)), DataType::Float64)),
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
        exprs.iter().zip(&types).any(|(expr, data_type)| data_type.is_decimal() && digits_of(expr).is_none());
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
        use BinaryOperator::{Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Plus};
        match expr.op {
            Plus | Minus | Multiply | Divide | Modulo => {
                let (left, right) = (digits_of(&expr.left).is_some(), digits_of(&expr.right).is_some());
                let is_double = |of: &Expr| !of.get_type(schema).is_ok_and(|data_type| is_exact(&data_type));
                if left && !right && is_double(&expr.right) {
                    as_double(&mut expr.left);
                } else if right && !left && is_double(&expr.left) {
                    as_double(&mut expr.right);
                }
            }
            Eq | NotEq | Lt | LtEq | Gt | GtEq => {
                settle(&mut [&mut expr.left, &mut expr.right], Use::Compared, schema);
            }
            _ => {}
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
            if let LogicalPlan::Union(union) = plan {
                return settle_union(union);
            }
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
        Expr::ScalarFunction(call) if GIVE_AN_ARGUMENT.contains(&call.func.name()) => {
            settle(&mut call.args.iter_mut().collect::<Vec<_>>(), Use::Given, schema)
        }
        _ => false,
    }
}

/// Columns of a union that are decimals in one of its inputs and floating numbers in another are doubles in all.
fn settle_union(union: Union) -> Result<Transformed<LogicalPlan>> {
    let fields = |input: &Arc<LogicalPlan>| input.schema().fields().clone();
    let columns = union.inputs.first().map_or(0, |input| fields(input).len());
    let is_mixed = |column: usize| {
        let is_any = |is: fn(&DataType) -> bool| {
            let of = |input| fields(input).get(column).is_some_and(|field| is(field.data_type()));
            union.inputs.iter().any(of)
        };
        is_any(DataType::is_decimal) && is_any(DataType::is_floating)
    };
    let mixed: Vec<bool> = (0..columns).map(is_mixed).collect();
    if !mixed.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let settled = |input: Arc<LogicalPlan>| {
        let column = |(column, is_mixed): (Expr, &bool)| {
            let Expr::Column(named) = &column else { return column };
            let named = named.clone();
            match *is_mixed {
                true => Expr::Cast(Cast::new(Box::new(column), DataType::Float64))
                    .alias_qualified(named.relation, named.name),
                false => column,
            }
        };
        let all = input.schema().columns().into_iter().map(Expr::Column);
        let exprs: Vec<Expr> = all.zip(&mixed).map(column).collect();
        LogicalPlanBuilder::from(input).project(exprs)?.build().map(Arc::new)
    };
    let inputs = union.inputs.into_iter().map(settled).collect::<Result<Vec<_>>>()?;
    Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)))
}
