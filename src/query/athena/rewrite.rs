//! What Athena writes and DataFusion does not plan as meant, written as DataFusion plans it.
//!
//! Only what follows from the text is done here: `if(c, a, b)` becomes CASE, `count_if(c)` a count. What depends on types is
//! left to functions: casts become functions that know the types of both sides.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::error::{DataFusionError, Result};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, BinaryOperator, CaseWhen, CastKind, Expr, Fetch, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, LimitClause, ObjectName, OrderBy, OrderByKind, Query, Select,
    SelectItem, SetExpr, Subscript, TableFactor, TableWithJoins, TypedString, Value, ValueWithSpan, VisitMut as _,
    VisitorMut, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::types::custom_name;
use super::{
    addresses, calls, casts, guards, intervals, joins, laterals, meanings, numbers, paths, show, twins, unnest, windows,
};

/// Rewrites a statement in place.
///
/// # Errors
/// When a function is given arguments that it does not take.
pub(super) fn rewrite(statement: &mut Statement) -> Result<()> {
    let mut rewriter = Rewriter { parameters: Vec::new(), subqueries: 0, doubles: Vec::new() };
    let flow = match statement {
        Statement::Statement(statement) => {
            paths::show(statement);
            let flow = statement.visit(&mut rewriter);
            if let ast::Statement::Query(query) = &mut **statement {
                twins::tell_apart(query);
            }
            flow
        }
        Statement::Explain(explain) => return rewrite(&mut explain.statement),
        _ => ControlFlow::Continue(()),
    };
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(message) => Err(DataFusionError::Plan(message)),
    }
}

struct Rewriter {
    /// The parameters of the lambdas around.
    parameters: Vec<Vec<String>>,
    /// How many expressions are subqueries around.
    subqueries: usize,
    /// Of the queries and selects around, whether numbers with a point are doubles in them.
    doubles: Vec<bool>,
}

impl VisitorMut for Rewriter {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        if let Err(message) = meanings::refuse(&query.body) {
            return ControlFlow::Break(message);
        }
        if let Err(message) = joins::merge_order(query) {
            return ControlFlow::Break(message);
        }
        if let Err(message) = windows::write_out_of_query(query) {
            return ControlFlow::Break(message);
        }
        order_by_place(query);
        self.doubles.push(numbers::is_recursive(query));
        if let SetExpr::Values(values) = &mut *query.body
            && !self.has_doubles()
        {
            numbers::as_decimals(values);
        }
        if let Some(Fetch { with_ties: false, percent: false, quantity }) = &query.fetch {
            let quantity = quantity.clone().unwrap_or_else(|| number("1"));
            match &mut query.limit_clause {
                None => {
                    let limit = Some(quantity);
                    query.limit_clause = Some(LimitClause::LimitOffset { limit, offset: None, limit_by: Vec::new() });
                    query.fetch = None;
                }
                Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => {
                    *limit = Some(quantity);
                    query.fetch = None;
                }
                Some(_) => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<String> {
        match table {
            // The planner would pass over it.
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                ControlFlow::Break("TABLESAMPLE is not supported".to_owned())
            }
            // What the console of Athena writes before the names of schemas.
            TableFactor::Table { name, .. } if name.0.len() == 3 => {
                let catalog = name.0[0].as_ident().map(|name| name.value.to_lowercase());
                if catalog.as_deref() == Some("awsdatacatalog") {
                    name.0.remove(0);
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<String> {
        // What is put in its place is not visited.
        if let Some(columns) = show::columns_by_name(table) {
            *table = columns;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<String> {
        match &mut value.value {
            Value::UnicodeStringLiteral(text) => value.value = Value::SingleQuotedString(std::mem::take(text)),
            Value::Number(digits, _) => digits.retain(|digit| digit != '_'),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        if let Err(message) = windows::write_out(select) {
            return ControlFlow::Break(message);
        }
        self.doubles.push(numbers::groups_in_several_ways(select));
        if let Err(message) = joins::merge_using(select) {
            return ControlFlow::Break(message);
        }
        if self.subqueries == 0 {
            guards::guard(select);
        }
        let Select { projection, from, .. } = select;
        let names = names_of(projection);
        for (index, item) in projection.iter_mut().enumerate() {
            name_item(index, item, from, &names);
            if let SelectItem::ExprWithAlias { expr, .. } = item
                && !self.has_doubles()
            {
                numbers::as_decimal(expr);
            }
        }
        laterals::unnest(from);
        unnest::nest(from);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<String> {
        self.doubles.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<String> {
        self.doubles.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let one_of = match expr {
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => one_of(left, right, false),
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => one_of(left, right, true),
            _ => None,
        };
        if let Some(one_of) = one_of {
            *expr = one_of;
        }
        match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => self.subqueries += 1,
            Expr::Function(Function { over: Some(WindowType::WindowSpec(window)), .. }) => {
                if let Some(name) = &window.window_name {
                    return ControlFlow::Break(windows::no_window(&name.value));
                }
                intervals::keep_frame(&mut window.window_frame);
            }
            Expr::Lambda(lambda) => {
                self.parameters.push(lambda.params.iter().map(|param| param.name.value.to_lowercase()).collect());
            }
            // x.a of a lambda's parameter x.
            Expr::CompoundIdentifier(names) if self.is_parameter(&names[0]) => {
                let root = Box::new(Expr::Identifier(names.remove(0)));
                let access_chain = std::mem::take(names).into_iter().map(member).collect();
                *expr = Expr::CompoundFieldAccess { root, access_chain };
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                // DataFusion takes a.b.c at the front for a column, and names after that only in brackets.
                let mut is_column = matches!(&**root, Expr::Identifier(name) if !self.is_parameter(name));
                for access in access_chain {
                    match access {
                        AccessExpr::Dot(Expr::Identifier(_)) if is_column => {}
                        AccessExpr::Dot(Expr::Identifier(name)) => *access = member(name.clone()),
                        _ => is_column = false,
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        if let Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } = expr {
            self.subqueries -= 1;
        }
        if self.parameters.is_empty() && !self.has_doubles() {
            numbers::keep_decimals(expr);
        }
        let rewritten = match expr {
            Expr::Lambda(_) => {
                self.parameters.pop();
                Ok(None)
            }
            Expr::Cast { data_type: ast::DataType::Interval { .. }, expr: inner, .. } => Ok(match &**inner {
                Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => intervals::in_words(text),
                _ => None,
            }),
            Expr::Cast { .. } => Ok(rewrite_cast(expr)),
            Expr::TypedString(TypedString { data_type, value, .. }) => Ok(rewrite_literal(data_type, &value.value)),
            Expr::AtTimeZone { timestamp, time_zone } => {
                Ok(Some(call("at_timezone", vec![take(timestamp), take(time_zone)])))
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let from = substring_from.as_mut().map_or_else(|| number("1"), |from| take(from));
                let mut args = vec![take(expr), from];
                args.extend(substring_for.as_mut().map(|length| take(length)));
                Ok(Some(call("substr", args)))
            }
            Expr::Function(function) => calls::rewrite(function),
            Expr::Like { any: false, pattern, escape_char, .. } => meanings::like(pattern, escape_char).map(|()| None),
            Expr::Extract { field, expr, .. } => Ok(meanings::extract(field, expr)),
            Expr::Trim { trim_where, trim_what: None, expr, trim_characters: None } => {
                Ok(Some(meanings::trim(*trim_where, expr)))
            }
            Expr::Subquery(query) if meanings::seems_not_null(query) => {
                Ok(Some(call(casts::NULLABLE, vec![take(expr)])))
            }
            // The engine makes another aggregate of an element of this one, which does not go with others.
            Expr::CompoundFieldAccess { root, .. } if is_array_agg(root) => {
                **root = call(casts::NULLABLE, vec![take(root)]);
                Ok(None)
            }
            Expr::Case { .. } => Ok(Some(guards::settle(take(expr)))),
            Expr::Interval(interval) => Ok(intervals::literal(interval)),
            Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } if intervals::is_written(expr) => {
                Ok(Some(binary(take(expr), BinaryOperator::Multiply, number("-1"))))
            }
            Expr::UnaryOp { op: ast::UnaryOperator::Plus, expr } if intervals::is_written(expr) => Ok(Some(take(expr))),
            // The planner of array literals does not know parameters.
            Expr::Array(array) if !self.parameters.is_empty() => {
                Ok(Some(call("make_array", take_all(&mut array.elem))))
            }
            _ => Ok(None),
        };
        match rewritten {
            Ok(Some(new)) => *expr = new,
            Ok(None) => {}
            Err(message) => return ControlFlow::Break(message),
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter {
    fn has_doubles(&self) -> bool {
        self.doubles.contains(&true)
    }

    fn is_parameter(&self, name: &Ident) -> bool {
        let name = name.value.to_lowercase();
        self.parameters.iter().any(|parameters| parameters.contains(&name))
    }
}

/// Has DISTINCT ordered by the place of a column where the expression is given again: the column gets another name.
fn order_by_place(query: &mut Query) {
    let SetExpr::Select(select) = &*query.body else { return };
    let Some(OrderBy { kind: OrderByKind::Expressions(orders), .. }) = &mut query.order_by else { return };
    if select.distinct.is_none() {
        return;
    }
    let names: BTreeSet<String> = select
        .projection
        .iter()
        .filter_map(|item| {
            if let SelectItem::ExprWithAlias { alias, .. } = item { Some(alias.value.to_lowercase()) } else { None }
        })
        .collect();
    for order in orders {
        // A name is that of a column of the result first.
        let has_alias = !twins::names_in(&order.expr).is_disjoint(&names);
        let is_same = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(expr) => *expr == order.expr,
            SelectItem::ExprWithAlias { expr, .. } => *expr == order.expr && !has_alias,
            _ => false,
        };
        let has_no_wildcard = !select
            .projection
            .iter()
            .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
        if let (Some(place), true) = (select.projection.iter().position(is_same), has_no_wildcard) {
            order.expr = number(&(place + 1).to_string());
        }
    }
}

/// Names a column of a result as Athena does: by the last name of a path, else by its place.
///
/// `names` are the last names of all columns; `None`: there are more than are written.
fn name_item(index: usize, item: &mut SelectItem, from: &[TableWithJoins], names: &Option<Vec<String>>) {
    let SelectItem::UnnamedExpr(expr) = item else { return };
    let alias = match &*expr {
        Expr::Identifier(_) => return,
        // A column keeps its table, which ORDER BY may name; a field of a column is named by itself.
        Expr::CompoundIdentifier(path) if path.len() < 3 && joins::has_relation(from, &path[0]) => return,
        // Two columns of one name are not to be had: it goes by its whole path.
        Expr::CompoundIdentifier(path)
            if path.len() < 3
                && names.as_ref().is_none_or(|names| {
                    let own = path.last().map(|name| name.value.to_lowercase());
                    names.iter().filter(|name| Some(*name) == own.as_ref()).count() > 1
                }) =>
        {
            return;
        }
        Expr::CompoundIdentifier(names) => names.last().cloned(),
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(name))) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    };
    let alias = alias.unwrap_or_else(|| Ident::new(format!("_col{index}")));
    *item = SelectItem::ExprWithAlias { expr: take(expr), alias };
}

/// The last names of columns in small letters; `None` where there is a wildcard.
fn names_of(items: &[SelectItem]) -> Option<Vec<String>> {
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.to_lowercase()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.to_lowercase()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last().map(|name| name.value.to_lowercase()),
        SelectItem::UnnamedExpr(_) => Some(String::new()),
        _ => None,
    };
    items.iter().map(name).collect()
}

fn take_all(exprs: &mut [Expr]) -> Vec<Expr> {
    exprs.iter_mut().map(take).collect()
}

pub(in crate::query) fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.into()))
}

fn member(name: Ident) -> AccessExpr {
    let name = if name.quote_style.is_some() { name.value } else { name.value.to_lowercase() };
    AccessExpr::Subscript(Subscript::Index { index: text(name) })
}

pub(in crate::query) fn text(value: impl Into<String>) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.into()).into())
}

pub(super) fn number(value: &str) -> Expr {
    Expr::Value(Value::Number(value.to_owned(), false).into())
}

pub(super) fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

pub(in crate::query) fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list(args)),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

pub(super) fn list(args: Vec<Expr>) -> FunctionArgumentList {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }
}

pub(super) fn case(condition: Expr, result: Expr, other: Option<Expr>) -> Expr {
    Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: other.map(Box::new),
    }
}

pub(super) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let operation = Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
    Expr::Nested(Box::new(operation))
}

/// Whether one of several conditions is true, of which there is one at least; as deep as their number has binary digits.
pub(super) fn any(mut conditions: Vec<Expr>) -> Expr {
    let behind = conditions.split_off(conditions.len() / 2);
    match conditions.len() {
        0 => behind.into_iter().next().unwrap_or_else(null),
        _ => binary(any(conditions), BinaryOperator::Or, any(behind)),
    }
}

/// The function that casts knows the types of both sides.
fn rewrite_cast(expr: &mut Expr) -> Option<Expr> {
    let Expr::Cast { kind, expr: inner, data_type: ast::DataType::Custom(name, _), .. } = expr else { return None };
    let function = if *kind == CastKind::TryCast { casts::TRY_CAST } else { casts::CAST };
    let name = custom_name(name);
    if name.eq_ignore_ascii_case("ipaddress") {
        let function = if *kind == CastKind::TryCast { addresses::TRY_ADDRESS } else { addresses::ADDRESS };
        return Some(call(function, vec![take(inner)]));
    }
    let cast = call(function, vec![take(inner), text(&name)]);
    Some(meanings::round_time(meanings::cut(cast, &name), &name))
}

/// `timestamp '2020-03-01 00:00:00 UTC'` is of a time zone, `json '{}'` is parsed.
fn rewrite_literal(data_type: &ast::DataType, value: &Value) -> Option<Expr> {
    let Value::SingleQuotedString(written) = value else { return None };
    match data_type {
        ast::DataType::JSON => Some(call("json_parse", vec![text(written)])),
        ast::DataType::Decimal(_) => meanings::decimal(written),
        ast::DataType::Timestamp(_, ast::TimezoneInfo::None) => {
            let (time, zone) = casts::split_zone(written);
            let time = Expr::TypedString(TypedString {
                data_type: ast::DataType::Timestamp(None, ast::TimezoneInfo::WithoutTimeZone),
                value: Value::SingleQuotedString(casts::in_full(time)).with_span(Span::empty()),
                uses_odbc_syntax: false,
            });
            Some(match zone {
                Some(zone) => call("with_timezone", vec![time, text(zone)]),
                None => time,
            })
        }
        _ => None,
    }
}

/// `x = ANY (query)` and `x <> ALL (query)` as `x IN (query)` and `x NOT IN (query)`.
fn one_of(value: &mut Expr, values: &mut Expr, negated: bool) -> Option<Expr> {
    let Expr::Subquery(_) = values else { return None };
    let Expr::Subquery(subquery) = take(values) else { return None };
    Some(Expr::InSubquery { expr: Box::new(take(value)), subquery, negated })
}

fn is_array_agg(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(Function { name, .. }) if name.to_string().eq_ignore_ascii_case("array_agg"))
}

pub(super) fn nested(expr: Expr) -> Expr {
    match expr {
        simple @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Nested(_) | Expr::Function(_)) => simple,
        other => Expr::Nested(Box::new(other)),
    }
}
