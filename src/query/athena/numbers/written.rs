//! Numbers with a point as they stand in a statement: decimals by their place alone.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, UnaryOperator, Value, ValueWithSpan};

use super::super::casts::CAST;
use super::super::meanings;
use super::super::rewrite::{call, take, text};
use super::super::types::custom_name;

/// Functions whose arguments stay decimals.
const TAKE_DECIMALS: [&str; 19] = [
    "abs", "avg", "ceil", "ceiling", "coalesce", "floor", "greatest", "if", "least", "max", "min", "mod", "nullif",
    "round", "sign", "sum", "trunc", "truncate", "typeof",
];

/// Makes numbers with a point decimals, where an expression keeps them.
pub(in crate::query::athena) fn keep_decimals(expr: &mut ast::Expr) {
    match expr {
        ast::Expr::BinaryOp { left, op, right } if is_arithmetic(op) => {
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
        ast::Expr::Floor { expr, .. } | ast::Expr::Ceil { expr, .. } => as_decimal(expr),
        // What a parameter is to be cannot be told by a decimal, which would round it.
        ast::Expr::Case { conditions, else_result, .. }
            if !(conditions.iter().any(|when| is_parameter(&when.result))
                || else_result.iter().any(|other| is_parameter(other))) =>
        {
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
            if TAKE_DECIMALS.contains(&name.to_string().to_ascii_lowercase().as_str())
                && !list.args.iter().any(takes_parameter) =>
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

/// Whether a query has WITH RECURSIVE: all steps are of the types of the first, and decimals would be rounded to it.
pub(in crate::query::athena) fn is_recursive(query: &ast::Query) -> bool {
    query.with.as_ref().is_some_and(|with| with.recursive)
}

/// Whether rows are grouped in several ways by what may be of mixed numbers: by its name, which its type must not change.
pub(in crate::query::athena) fn groups_in_several_ways(select: &ast::Select) -> bool {
    let ast::GroupByExpr::Expressions(groups, _) = &select.group_by else { return false };
    groups.iter().any(|group| match group {
        ast::Expr::Rollup(sets) | ast::Expr::Cube(sets) | ast::Expr::GroupingSets(sets) => {
            sets.iter().flatten().any(|expr| !is_plain(expr))
        }
        _ => false,
    })
}

/// A column, a number, or what is computed of these.
fn is_plain(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) | ast::Expr::Value(_) => true,
        ast::Expr::Nested(inner) => is_plain(inner),
        ast::Expr::BinaryOp { left, op, right } => is_arithmetic(op) && is_plain(left) && is_plain(right),
        _ => false,
    }
}

fn is_parameter(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }))
}

fn takes_parameter(arg: &ast::FunctionArg) -> bool {
    matches!(arg, ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) if is_parameter(expr))
}

/// Makes a number with a point a decimal.
pub(in crate::query::athena) fn as_decimal(expr: &mut ast::Expr) {
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
pub(in crate::query::athena) fn as_decimals(values: &mut ast::Values) {
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

pub(super) fn is_arithmetic(op: &BinaryOperator) -> bool {
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
