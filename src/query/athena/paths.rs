//! `"$path"`: the object or file that a row is of. It is a column only of statements that name it, and never one of `*`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ExceptSelectItem, Expr, Ident, Select, SelectItem, Statement, TableAlias, TableFactor, Visit, VisitMut, Visitor,
    VisitorMut,
};

use super::versions::{CommonTables, source_name};
use crate::query::catalog::WITH_PATHS;

const PATH: &str = "$path";

/// Has the tables of a statement that names the column show it.
pub(super) fn show(statement: &mut Statement) {
    if Visit::visit(statement, &mut NamesPath).is_break() {
        let common = CommonTables::of(statement);
        let _ = VisitMut::visit(statement, &mut Show(common));
    }
}

struct NamesPath;

impl Visitor for NamesPath {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let name = match expr {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(names) => names.last(),
            _ => None,
        };
        if name.is_some_and(|name| name.value == PATH) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

struct Show(CommonTables);

impl VisitorMut for Show {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut is_shown = false;
        for tables in &mut select.from {
            is_shown |= show_table(&mut tables.relation, &self.0);
            for join in &mut tables.joins {
                is_shown |= show_table(&mut join.relation, &self.0);
            }
        }
        for item in select.projection.iter_mut().filter(|_| is_shown) {
            if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item
                && options.opt_except.is_none()
            {
                let first_element = Ident::with_quote('"', PATH);
                options.opt_except = Some(ExceptSelectItem { first_element, additional_elements: Vec::new() });
            }
        }
        ControlFlow::Continue(())
    }
}

/// Takes the table with the column in place of `x`, `raw.x` or `lake.x`, under the name that it had.
fn show_table(relation: &mut TableFactor, common: &CommonTables) -> bool {
    let TableFactor::Table { name, alias, args: None, .. } = relation else { return false };
    let Some(table) = source_name(name, common) else { return false };
    alias.get_or_insert_with(|| TableAlias { explicit: true, name: table.clone(), columns: Vec::new(), at: None });
    table.value.push_str(WITH_PATHS);
    true
}
