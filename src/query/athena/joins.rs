//! The relations of a FROM by their names, and columns that RIGHT and FULL joins have by USING.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectNamePart, Query, Select, SelectItem, TableFactor, TableWithJoins,
    VisitMut, VisitorMut,
};

use super::rewrite::call;

/// The name that columns of a relation can be qualified by.
fn name_of(table: &TableFactor) -> Option<&Ident> {
    let (alias, name) = match table {
        TableFactor::Table { alias, name, .. } => (alias, name.0.last()),
        TableFactor::Derived { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => (alias, None),
        _ => return None,
    };
    match (alias, name) {
        (Some(alias), _) => Some(&alias.name),
        (None, Some(ObjectNamePart::Identifier(name))) => Some(name),
        _ => None,
    }
}

/// Whether a relation of this name is joined, without regard to case.
pub(super) fn has_relation(from: &[TableWithJoins], name: &Ident) -> bool {
    from.iter().any(|tables| {
        let joined = tables.joins.iter().map(|join| &join.relation);
        std::iter::once(&tables.relation).chain(joined).any(|table| match table {
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                has_relation(std::slice::from_ref(table_with_joins), name)
            }
            other => name_of(other).is_some_and(|other| other.value.eq_ignore_ascii_case(&name.value)),
        })
    })
}

/// The column that USING makes of both sides is null on the left where only the right has a row; DataFusion takes the left one.
/// So it is written as what it is: the first of them that is not null.
///
/// # Errors
/// A message for what cannot be written so.
pub(super) fn merge_using(select: &mut Select) -> Result<(), String> {
    let mut merged = Merged { columns: HashMap::new(), depth: 0 };
    for tables in &select.from {
        let mut holders: HashMap<String, Vec<Ident>> = HashMap::new();
        for join in &tables.joins {
            let (constraint, keeps_right) = match &join.join_operator {
                JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint)
                | JoinOperator::FullOuter(constraint) => (constraint, true),
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint) => (constraint, false),
                _ => continue,
            };
            let JoinConstraint::Using(columns) = constraint else { continue };
            for column in columns {
                let Some(ObjectNamePart::Identifier(column)) = column.0.last() else { continue };
                let key = column.value.to_lowercase();
                if merged.columns.contains_key(&key) {
                    return Err(format!(
                        "USING ({column}) behind a RIGHT or FULL JOIN with it is not supported: join ON"
                    ));
                }
                let sides =
                    holders.entry(key.clone()).or_insert_with(|| Vec::from_iter(name_of(&tables.relation).cloned()));
                sides.extend(name_of(&join.relation).cloned());
                if keeps_right {
                    let side = |table: &Ident| Expr::CompoundIdentifier(vec![table.clone(), column.clone()]);
                    merged.columns.insert(key, call("coalesce", sides.iter().map(side).collect()));
                }
            }
        }
    }
    if merged.columns.is_empty() {
        return Ok(());
    }
    for item in &mut select.projection {
        match item {
            SelectItem::Wildcard(_) => {
                return Err("* over a RIGHT or FULL JOIN with USING is not supported: name the columns".to_owned());
            }
            SelectItem::UnnamedExpr(Expr::Identifier(name))
                if merged.columns.contains_key(&name.value.to_lowercase()) =>
            {
                *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(name.clone()), alias: name.clone() };
            }
            _ => {}
        }
    }
    let _ = VisitMut::visit(&mut select.projection, &mut merged);
    let _ = VisitMut::visit(&mut select.selection, &mut merged);
    let _ = VisitMut::visit(&mut select.group_by, &mut merged);
    let _ = VisitMut::visit(&mut select.having, &mut merged);
    Ok(())
}

/// Puts what columns are in their place, but not in subqueries, where they may be others.
struct Merged {
    columns: HashMap<String, Expr>,
    depth: usize,
}

impl VisitorMut for Merged {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(name) = expr
            && self.depth == 0
            && let Some(column) = self.columns.get(&name.value.to_lowercase())
        {
            *expr = column.clone();
        }
        ControlFlow::Continue(())
    }
}
