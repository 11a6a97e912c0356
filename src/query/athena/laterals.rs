//! `CROSS JOIN LATERAL (VALUES ('a', t.a), ('b', t.b)) AS x(k, v)` and `LATERAL (SELECT t.a + 1 AS b)`: rows that are made of the
//! columns of the relations before are an array of rows, which UNNEST takes apart. The engine has no such joins.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::sql::sqlparser::ast::{
    Array, Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
    TableWithJoins, Visit, Visitor,
};

use super::aggregates;
use super::rewrite::{call, take};

/// Writes relations that are so made as UNNEST.
pub(super) fn unnest(from: &mut [TableWithJoins]) {
    for tables in from {
        let relations =
            std::iter::once(&mut tables.relation).chain(tables.joins.iter_mut().map(|join| &mut join.relation));
        for relation in relations {
            if let Some(unnested) = unnested(relation) {
                *relation = unnested;
            }
        }
    }
}

fn unnested(relation: &mut TableFactor) -> Option<TableFactor> {
    let TableFactor::Derived { lateral: true, subquery, alias, .. } = relation else { return None };
    let (rows, names) = rows_of(subquery)?;
    let mut alias = alias.take().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::new("lateral"),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        let column = |name: Ident| TableAliasColumnDef { name, data_type: None };
        alias.columns = names.into_iter().map(column).collect();
    }
    let row = |mut row: Vec<Expr>| match row.as_mut_slice() {
        [value] => take(value),
        _ => call("row", row),
    };
    let elem = rows.into_iter().map(row).collect();
    Some(TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs: vec![Expr::Array(Array { elem, named: true })],
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    })
}

/// Finds what is of more than one row, or makes more: aggregates, windows and UNNEST.
struct OfManyRows;

/// Aggregates of Athena that the engine has under other names.
const AGGREGATES: [&str; 12] = [
    "any_value",
    "approx_most_frequent",
    "arbitrary",
    "count_if",
    "every",
    "geometric_mean",
    "listagg",
    "max_by",
    "min_by",
    "reduce_agg",
    "set_agg",
    "unnest",
];

impl Visitor for OfManyRows {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = function.name.to_string().to_lowercase();
        let is_aggregate = || {
            let all =
                all_default_aggregate_functions().into_iter().chain(aggregates::functions().into_iter().map(Arc::new));
            AGGREGATES.contains(&name.as_str())
                || all.into_iter().any(|other| other.name() == name || other.aliases().contains(&name))
        };
        match function.over.is_some() || is_aggregate() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// The rows of a query that reads no relation, and the names of their columns; nothing is taken from another query.
fn rows_of(query: &mut Query) -> Option<(Vec<Vec<Expr>>, Vec<Ident>)> {
    let Query { with: None, order_by: None, limit_clause: None, fetch: None, .. } = query else { return None };
    let unnamed = |index: usize| Ident::new(format!("_col{index}"));
    match &mut *query.body {
        SetExpr::Values(values) => {
            let rows: Vec<Vec<Expr>> = std::mem::take(&mut values.rows).into_iter().map(|row| row.content).collect();
            let names = (0..rows.first()?.len()).map(unnamed).collect();
            Some((rows, names))
        }
        SetExpr::Select(select) => {
            let Select { distinct: None, top: None, into: None, selection: None, having: None, qualify: None, .. } =
                &**select
            else {
                return None;
            };
            let has_groups = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
            if !select.from.is_empty() || has_groups {
                return None;
            }
            if Visit::visit(&select.projection, &mut OfManyRows).is_break() {
                return None;
            }
            let items = select.projection.iter().enumerate().map(|(index, item)| match item {
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some((Expr::Identifier(name.clone()), name.clone())),
                SelectItem::UnnamedExpr(expr @ Expr::CompoundIdentifier(path)) => {
                    Some((expr.clone(), path.last()?.clone()))
                }
                SelectItem::UnnamedExpr(expr) => Some((expr.clone(), unnamed(index))),
                SelectItem::ExprWithAlias { expr, alias } => Some((expr.clone(), alias.clone())),
                _ => None,
            });
            let (row, names) = items.collect::<Option<Vec<_>>>()?.into_iter().unzip();
            Some((vec![row], names))
        }
        _ => None,
    }
}
