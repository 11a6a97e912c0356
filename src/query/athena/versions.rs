//! `FOR VERSION AS OF n` and `FOR TIMESTAMP AS OF t`: tables as they were.
//!
//! A table whose version is asked for gets a name that says which: the catalog knows it. Which version a time stands for is
//! found out before.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, ObjectName, ObjectNamePart, Query, TableAlias, TableFactor, TableVersion, Value, Visit,
    VisitMut, Visitor, VisitorMut,
};

use crate::query::catalog::AT_VERSION;

/// The schemas whose tables are sources.
const SCHEMAS: [&str; 3] = ["main", "raw", "lake"];

/// Which version of a source is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::query) enum AsOf {
    /// The version.
    Version(u64),
    /// The version of this time.
    Time(Box<Expr>),
}

/// The names of common table expressions, which hide sources of the same name.
#[derive(Debug, Default)]
pub(super) struct CommonTables(BTreeSet<String>);

impl CommonTables {
    /// Those of a statement.
    pub(super) fn of(statement: &ast::Statement) -> Self {
        let mut found = Self::default();
        let _ = Visit::visit(statement, &mut found);
        found
    }
}

impl Visitor for CommonTables {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0.extend(tables.map(|table| folded(&table.alias.name)));
        ControlFlow::Continue(())
    }
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// The name of the source that a relation names as `x`, `raw.x`, `lake.x` or with the catalog before them, quoted from now on.
pub(super) fn source_name<'a>(name: &'a mut ObjectName, common: &CommonTables) -> Option<&'a mut Ident> {
    let is_source = match name.0.as_slice() {
        [ObjectNamePart::Identifier(table)] => !common.0.contains(&folded(table)),
        [.., ObjectNamePart::Identifier(schema), _] => SCHEMAS.contains(&schema.value.to_lowercase().as_str()),
        _ => false,
    };
    let Some(ObjectNamePart::Identifier(table)) = name.0.last_mut().filter(|_| is_source) else { return None };
    if table.quote_style.is_none() {
        *table = Ident::with_quote('"', table.value.to_lowercase());
    }
    Some(table)
}

/// What versions a statement asks for, with the names of the sources, in order.
///
/// # Errors
/// A message when a version is no number.
pub(in crate::query) fn asked_for(statement: &Statement) -> Result<Vec<(String, AsOf)>, String> {
    let mut statement = match statement {
        Statement::Statement(statement) => statement.clone(),
        Statement::Explain(explain) => return asked_for(&explain.statement),
        _ => return Ok(Vec::new()),
    };
    let mut finder = Versions { found: Vec::new(), common: CommonTables::of(&statement), versions: None };
    match VisitMut::visit(&mut *statement, &mut finder) {
        ControlFlow::Continue(()) => Ok(finder.found),
        ControlFlow::Break(message) => Err(message),
    }
}

/// Names the tables by their `versions`, which are those that [`asked_for`] told of.
pub(in crate::query) fn name_versions(statement: &mut Statement, versions: Vec<u64>) {
    match statement {
        Statement::Statement(statement) => {
            let common = CommonTables::of(statement);
            let mut namer = Versions { found: Vec::new(), common, versions: Some(versions.into_iter()) };
            let _ = VisitMut::visit(&mut **statement, &mut namer);
        }
        Statement::Explain(explain) => name_versions(&mut explain.statement, versions),
        _ => {}
    }
}

struct Versions {
    found: Vec<(String, AsOf)>,
    common: CommonTables,
    versions: Option<std::vec::IntoIter<u64>>,
}

impl VisitorMut for Versions {
    type Break = String;

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<String> {
        let TableFactor::Table { name, alias, version: version @ Some(_), .. } = table else {
            return ControlFlow::Continue(());
        };
        let wrong = |name: &ObjectName| ControlFlow::Break(format!("{name} has no versions"));
        let as_of = match version.take() {
            Some(TableVersion::VersionAsOf(Expr::Value(value))) => match value.value {
                Value::Number(digits, _) => match digits.parse() {
                    Ok(number) => AsOf::Version(number),
                    Err(_) => return ControlFlow::Break(format!("{digits} is no version")),
                },
                _ => return wrong(name),
            },
            Some(TableVersion::TimestampAsOf(time)) => AsOf::Time(Box::new(time)),
            _ => return wrong(name),
        };
        let text = name.to_string();
        let Some(source) = source_name(name, &self.common) else {
            return ControlFlow::Break(format!("{text} has no versions"));
        };
        self.found.push((source.value.clone(), as_of));
        if let Some(version) = self.versions.as_mut().and_then(Iterator::next) {
            alias.get_or_insert_with(|| TableAlias {
                explicit: true,
                name: source.clone(),
                columns: Vec::new(),
                at: None,
            });
            source.value.push_str(&format!("{AT_VERSION}{version}"));
        }
        ControlFlow::Continue(())
    }
}
