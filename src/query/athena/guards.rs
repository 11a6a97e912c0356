//! Conditions that guard what stands behind them.
//!
//! `x <> 0 AND 10 / x > 2` divides by no zero on Athena, where AND ends at the first condition that is not true. DataFusion computes
//! both sides, takes conditions apart, and may turn a CASE of conditions into ANDs and ORs. So what can fail is put behind
//! the conditions before it by a CASE, and a CASE of conditions gives numbers, which stay what they are.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, FunctionArguments, Query, Select, UnaryOperator, Visit, Visitor,
};

use super::rewrite::{case, nested, take};
use super::types::custom_name;

/// Puts conditions of a WHERE over one relation that can fail behind those before them that are on the same columns.
///
/// Over several relations, and where columns may be those of a query around, a condition may be what these are joined by.
pub(super) fn guard(select: &mut Select) {
    let is_alone = matches!(select.from.as_slice(), [tables] if tables.joins.is_empty());
    let Some(condition) = select.selection.as_mut().filter(|_| is_alone) else { return };
    let mut parts = Vec::new();
    split(take(condition), &mut parts);
    let and = |left: Expr, right: Expr| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    };
    // Those that cannot fail. Guards made of those that can would grow with each.
    let mut before: Vec<Expr> = Vec::new();
    let mut guarded = Vec::new();
    for part in parts {
        let is_plain = !has(&part, is_volatile, true);
        let columns = what_can_fail(&part);
        let own = before
            .iter()
            .filter(|_| !columns.is_empty())
            .filter(|other| has(other, |expr| column(expr).is_some_and(|name| columns.contains(&name)), false));
        let own = own.cloned().map(nested).reduce(and).filter(|_| is_plain);
        if is_plain && columns.is_empty() {
            before.push(part.clone());
        }
        guarded.push(nested(match own {
            Some(own) => case(own, part, None),
            None => part,
        }));
    }
    if let Some(whole) = guarded.into_iter().reduce(and) {
        *condition = whole;
    }
}

/// The conditions that AND joins. (Many stand in a row, which is as deep on the left; few in parentheses.)
fn split(mut condition: Expr, parts: &mut Vec<Expr>) {
    let mut behind = Vec::new();
    loop {
        condition = match condition {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                behind.push(*right);
                *left
            }
            Expr::Nested(inner)
                if matches!(&*inner, Expr::BinaryOp { op: BinaryOperator::And, .. } | Expr::Nested(_)) =>
            {
                *inner
            }
            first => {
                parts.push(first);
                break;
            }
        };
    }
    behind.into_iter().rev().for_each(|part| match part {
        Expr::Nested(_) => split(part, parts),
        other => parts.push(other),
    });
}

/// The columns whose values can make an expression fail: those of divisors, and of what is cast to numbers.
fn what_can_fail(expr: &Expr) -> HashSet<String> {
    struct Finder(HashSet<String>);

    impl Visitor for Finder {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let at_fault = match expr {
                Expr::BinaryOp { op: BinaryOperator::Divide | BinaryOperator::Modulo, right, .. } => right,
                Expr::Cast { kind: CastKind::Cast, expr, data_type: DataType::Custom(name, _), .. }
                    if is_number(&custom_name(name)) =>
                {
                    expr
                }
                _ => return ControlFlow::Continue(()),
            };
            let mut columns = Columns(HashSet::new());
            let _ = Visit::visit(at_fault, &mut columns);
            self.0.extend(columns.0);
            ControlFlow::Continue(())
        }
    }

    struct Columns(HashSet<String>);

    impl Visitor for Columns {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0.extend(column(expr));
            ControlFlow::Continue(())
        }
    }

    let mut finder = Finder(HashSet::new());
    let _ = Visit::visit(expr, &mut finder);
    finder.0
}

/// The last name of a column.
fn column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(name.value.to_lowercase()),
        Expr::CompoundIdentifier(names) => names.last().map(|name| name.value.to_lowercase()),
        _ => None,
    }
}

/// What gives another value each time.
fn is_volatile(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let name = function.name.to_string().to_ascii_lowercase();
    ["rand", "random", "uuid", "shuffle"].contains(&name.as_str())
}

fn is_number(type_name: &str) -> bool {
    let name = type_name.to_ascii_lowercase();
    let numbers = ["tinyint", "smallint", "int", "bigint", "real", "float", "double", "decimal", "numeric"];
    numbers.iter().any(|number| name.starts_with(number))
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
