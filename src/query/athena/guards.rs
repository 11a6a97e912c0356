//! Conditions that guard what stands behind them.
//!
//! `x <> 0 AND 10 / x > 2` divides by no zero on Athena, where AND ends at the first condition that is not true. DataFusion computes
//! both sides, takes conditions apart, and may turn a CASE of conditions into ANDs and ORs. So what can fail is put behind
//! the conditions before it by a CASE, and a CASE of conditions gives numbers, which stay what they are.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, FunctionArguments, Query, UnaryOperator, Visit, Visitor,
};

use super::rewrite::{case, nested, take};
use super::types::custom_name;

/// Puts conditions of a WHERE that can fail behind those before them.
pub(super) fn guard(condition: &mut Expr) {
    let mut parts = Vec::new();
    split(take(condition), &mut parts);
    // Those that cannot fail. Guards made of those that can would grow with each.
    let mut before: Option<Expr> = None;
    let mut whole: Option<Expr> = None;
    let and = |left: Option<Expr>, right: Expr| match left {
        Some(left) => Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) },
        None => right,
    };
    for part in parts {
        let has_query = has(&part, |_| false, true);
        let part = match &before {
            Some(before) if !has_query && can_fail(&part) => case(nested(before.clone()), part, None),
            _ => {
                if !has_query && !can_fail(&part) {
                    before = Some(and(before, nested(part.clone())));
                }
                part
            }
        };
        whole = Some(and(whole, nested(part)));
    }
    if let Some(whole) = whole {
        *condition = whole;
    }
}

/// The conditions that AND joins.
fn split(condition: Expr, parts: &mut Vec<Expr>) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(*left, parts);
            split(*right, parts);
        }
        Expr::Nested(inner) if matches!(&*inner, Expr::BinaryOp { op: BinaryOperator::And, .. } | Expr::Nested(_)) => {
            split(*inner, parts);
        }
        other => parts.push(other),
    }
}

/// Whether values of a row can make an expression fail: divisors, and what is cast to numbers. (Other casts seldom fail, and
/// those of times let partitions be passed over, which a guard would not.)
fn can_fail(expr: &Expr) -> bool {
    has(
        expr,
        |expr| match expr {
            Expr::BinaryOp { op: BinaryOperator::Divide | BinaryOperator::Modulo, right, .. } => has_column(right),
            Expr::Cast { kind: CastKind::Cast, expr, data_type: DataType::Custom(name, _), .. } => {
                is_number(&custom_name(name)) && has_column(expr)
            }
            _ => false,
        },
        false,
    )
}

fn is_number(type_name: &str) -> bool {
    let name = type_name.to_ascii_lowercase();
    let numbers = ["tinyint", "smallint", "int", "bigint", "real", "float", "double", "decimal", "numeric"];
    numbers.iter().any(|number| name.starts_with(number))
}

fn has_column(expr: &Expr) -> bool {
    has(expr, |expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)), false)
}

/// Whether a part of an expression is so, or, where it is asked for, a subquery.
fn has(expr: &Expr, is_so: impl Fn(&Expr) -> bool, or_query: bool) -> bool {
    struct Finder<F>(F, bool);

    impl<F: Fn(&Expr) -> bool> Visitor for Finder<F> {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            if self.1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if self.0(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    Visit::visit(expr, &mut Finder(is_so, or_query)).is_break()
}

/// A CASE as it is, or of numbers where it is one of conditions.
pub(super) fn settle(mut expr: Expr) -> Expr {
    let Expr::Case { conditions, else_result, .. } = &mut expr else { return expr };
    let is_of_conditions = conditions.iter().map(|when| &when.result).chain(else_result.as_deref()).any(is_condition);
    if !is_of_conditions {
        return expr;
    }
    let results = conditions.iter_mut().map(|when| &mut when.result).chain(else_result.as_deref_mut());
    results.for_each(|result| *result = cast(take(result), DataType::TinyInt(None)));
    cast(expr, DataType::Boolean)
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(nested(expr)), data_type, array: false, format: None }
}

/// Whether it follows from the text that an expression is a condition.
fn is_condition(expr: &Expr) -> bool {
    use BinaryOperator as Op;
    match expr {
        Expr::Nested(inner) => is_condition(inner),
        Expr::BinaryOp { op, .. } => {
            matches!(op, Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq | Op::And | Op::Or)
        }
        Expr::UnaryOp { op: UnaryOperator::Not, .. } => true,
        Expr::Function(function) => {
            // What is left to fail within a function that tells whether something is so.
            matches!(function.args, FunctionArguments::List(_)) && function.name.to_string().ends_with("_like")
        }
        Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::InList { .. }
        | Expr::Between { .. }
        | Expr::Like { .. } => true,
        _ => false,
    }
}
