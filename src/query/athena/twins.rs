//! Columns of a result that have one name: `SELECT a, b AS a`, `SELECT *, a`.
//!
//! DataFusion has no two expressions of one name in a select list. So those behind the first are planned under another name, and
//! called as they were by a projection on top of all, which tells them apart by a qualifier that nobody sees.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{Expr as PlannedExpr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, Visit as _, Visitor};

use super::joins::has_relation;
use super::rewrite::take;

/// Stands in the other name behind the right one. No text of a statement holds it.
const MARK: char = '\u{1f}';

/// Names columns of the result anew that have the name of one before.
pub(super) fn tell_apart(query: &mut Query) {
    let mut ordered = Names(BTreeSet::new());
    if let Some(order) = &query.order_by {
        let _ = order.visit(&mut ordered);
    }
    tell_columns_apart(&mut query.body, &ordered.0);
}

/// The names in an expression, in small letters.
pub(super) fn names_in(expr: &Expr) -> BTreeSet<String> {
    let mut names = Names(BTreeSet::new());
    let _ = expr.visit(&mut names);
    names.0
}

/// The names in some expressions, in small letters.
struct Names(BTreeSet<String>);

impl Visitor for Names {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => drop(self.0.insert(name.value.to_lowercase())),
            Expr::CompoundIdentifier(path) => self.0.extend(path.iter().map(|name| name.value.to_lowercase())),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `ordered`: the names that the result is ordered by.
fn tell_columns_apart(body: &mut SetExpr, ordered: &BTreeSet<String>) {
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::Query(query) => return tell_apart(query),
        SetExpr::SetOperation { left, right, .. } => {
            tell_columns_apart(left, ordered);
            return tell_columns_apart(right, ordered);
        }
        _ => return,
    };
    let is_wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    // What stands beside a wildcard may have the name of one of its columns. What is ordered by must keep its name with DISTINCT.
    let beside_wildcard = select.distinct.is_none() && select.projection.iter().any(is_wildcard);
    let mut before: Vec<(String, Option<String>)> = Vec::new();
    for (index, item) in select.projection.iter_mut().enumerate() {
        // A field of a row is called as it is written last, not by its whole path.
        let is_field = matches!(item, SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path))
            if path.len() == 2 && !has_relation(&select.from, &path[0]));
        let (name, path, is_alias) = match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => (name.clone(), None, false),
            SelectItem::UnnamedExpr(expr @ Expr::CompoundIdentifier(_)) => {
                let path = expr.to_string().to_lowercase();
                let Expr::CompoundIdentifier(names) = expr else { continue };
                let [_, name] = names.as_slice() else { continue };
                (name.clone(), (!is_field).then_some(path), false)
            }
            SelectItem::ExprWithAlias { alias, .. } => (alias.clone(), None, true),
            _ => continue,
        };
        let own = (folded(&name), path);
        // Columns of two tables are told apart by these.
        let is_twin = |(other, path): &(String, Option<String>)| {
            *other == own.0 && (path.is_none() || own.1.is_none() || *path == own.1)
        };
        let may_be_twin = beside_wildcard && !(is_alias && ordered.contains(&own.0));
        if before.iter().any(is_twin) || may_be_twin {
            let alias = Ident::with_quote('"', format!("{}{MARK}{index}", own.0));
            let expr = match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => take(expr),
                _ => continue,
            };
            *item = SelectItem::ExprWithAlias { expr, alias };
            continue;
        }
        if is_field && let SelectItem::UnnamedExpr(expr) = item {
            *item = SelectItem::ExprWithAlias { expr: take(expr), alias: name };
        }
        before.push(own);
    }
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// The columns of a plan with the names that they are to have, each as an expression over the plan.
pub(super) fn columns_again(plan: &LogicalPlan) -> Vec<PlannedExpr> {
    let columns = plan.schema().columns();
    if !columns.iter().any(|column| column.name.contains(MARK)) {
        return columns.into_iter().map(PlannedExpr::Column).collect();
    }
    let again = |(index, column): (usize, Column)| {
        let name = column.name.split(MARK).next().unwrap_or_default().to_owned();
        // Only those of tables have a qualifier, and another name than all others of it.
        let qualifier = column.relation.clone().unwrap_or_else(|| TableReference::bare(format!("_{index}")));
        PlannedExpr::Column(column).alias_qualified(Some(qualifier), name)
    };
    columns.into_iter().enumerate().map(again).collect()
}
