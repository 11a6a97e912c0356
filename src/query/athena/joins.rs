//! The relations of a FROM by their names, and columns that RIGHT and FULL joins have by USING.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectNamePart, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, TableWithJoins, VisitMut, VisitorMut,
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
    let mut merged = Merged::of(select)?;
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

/// The same for what a query is ordered by, but for names of its result.
///
/// # Errors
/// As [`merge_using`].
pub(super) fn merge_order(query: &mut Query) -> Result<(), String> {
    let (SetExpr::Select(select), Some(order)) = (&*query.body, &mut query.order_by) else { return Ok(()) };
    let OrderByKind::Expressions(orders) = &mut order.kind else { return Ok(()) };
    let mut merged = Merged::of(select)?;
    let is_result = |name: &Ident| {
        select.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(Expr::Identifier(own)) | SelectItem::ExprWithAlias { alias: own, .. } => {
                own.value.eq_ignore_ascii_case(&name.value)
            }
            _ => false,
        })
    };
    for order in orders {
        match &order.expr {
            Expr::Identifier(name) if is_result(name) => {}
            _ => drop(VisitMut::visit(&mut order.expr, &mut merged)),
        }
    }
    Ok(())
}

/// Puts what columns are in their place, but not in subqueries, where they may be others.
struct Merged {
    columns: HashMap<String, Expr>,
    /// Subqueries around.
    depth: usize,
    /// Parameters of the lambdas around.
    parameters: Vec<Vec<String>>,
}

impl Merged {
    /// What USING makes of the columns of a FROM that a RIGHT or FULL JOIN has.
    fn of(select: &Select) -> Result<Self, String> {
        let mut columns = HashMap::new();
        for tables in &select.from {
            // The relations that have a column which is joined by from the first join on.
            let mut holders: HashMap<String, Vec<Ident>> = HashMap::new();
            for (index, join) in tables.joins.iter().enumerate() {
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
                let JoinConstraint::Using(names) = constraint else { continue };
                for name in names {
                    let Some(ObjectNamePart::Identifier(name)) = name.0.last() else { continue };
                    let key = name.value.to_lowercase();
                    let unclear =
                        || format!("USING ({name}) in or behind this RIGHT or FULL JOIN is not supported: join ON");
                    if columns.contains_key(&key) {
                        return Err(unclear());
                    }
                    if let (0, Some(left)) = (index, name_of(&tables.relation)) {
                        holders.insert(key.clone(), vec![left.clone()]);
                    }
                    match (holders.get_mut(&key), name_of(&join.relation)) {
                        (Some(sides), Some(right)) => {
                            sides.push(right.clone());
                            if keeps_right {
                                let side = |table: &Ident| Expr::CompoundIdentifier(vec![table.clone(), name.clone()]);
                                columns.insert(key, call("coalesce", sides.iter().map(side).collect()));
                            }
                        }
                        _ if keeps_right => return Err(unclear()),
                        _ => drop(holders.remove(&key)),
                    }
                }
            }
        }
        Ok(Self { columns, depth: 0, parameters: Vec::new() })
    }
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

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Lambda(lambda) = expr {
            self.parameters.push(lambda.params.iter().map(|param| param.name.value.to_lowercase()).collect());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Lambda(_) => drop(self.parameters.pop()),
            Expr::Identifier(name) if self.depth == 0 => {
                let key = name.value.to_lowercase();
                let is_parameter = self.parameters.iter().any(|parameters| parameters.contains(&key));
                if let Some(column) = self.columns.get(&key).filter(|_| !is_parameter) {
                    *expr = column.clone();
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
