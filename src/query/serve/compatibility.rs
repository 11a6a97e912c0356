//! What clients ask the catalogue in PostgreSQL's words, in those that the query engine knows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, VisitMut as _, VisitorMut};

use super::catalogue::MORE;
use crate::query::athena::{call, take, text as literal};

/// What clients send that is not planned, and what is planned in its place.
const INSTEAD: [(&str, &str); 11] = [
    // psql's \d+
    ("c.reloptions || array(select 'toast.' || x from pg_catalog.unnest(tc.reloptions) x)", "c.reloptions"),
    // The JDBC driver, when it asks for primary keys; there are none.
    ("(information_schema._pg_expandarray(i.indkey)).n", "1"),
    ("information_schema._pg_expandarray(i.indkey)", "1"),
    ("(result.KEYS).x", "result.KEYS"),
    // The names of functions are text here.
    ("'pg_catalog.array_in'::regproc", "'array_in'"),
    ("'array_in'::regproc", "'array_in'"),
    // Functions in the place of tables.
    ("FROM current_schema()", "FROM (SELECT current_schema()) AS current_schema"),
    ("from current_schema()", "FROM (SELECT current_schema()) AS current_schema"),
    ("from current_database()", "FROM (SELECT current_database()) AS current_database"),
    ("FROM current_database()", "FROM (SELECT current_database()) AS current_database"),
    // The driver of Arrow, when it loads types.
    ("typreceive != 0 OR typsend != 0", "typreceive <> '' OR typsend <> ''"),
];

/// A statement with what is not planned replaced in its text.
pub(super) fn text(sql: &str) -> String {
    if sql.contains("proc.proname='array_recv'") && sql.contains("elemtypoid") {
        return TYPES_OF_NPGSQL.to_owned();
    }
    let sql = types_of_asyncpg(sql).unwrap_or_else(|| sql.to_owned());
    INSTEAD.iter().fold(sql, |sql, (from, to)| sql.replace(from, to))
}

/// Replaces what is not planned, once it is parsed.
pub(super) fn rewrite(statement: &mut ast::Statement) {
    let _ = statement.visit(&mut Meanings);
}

/// What Npgsql is told of types when it connects, in the place of its query, which finds arrays by the numbers of their functions:
/// arrays stand behind what they are of.
const TYPES_OF_NPGSQL: &str = "SELECT 'pg_catalog' AS nspname, oid, typname, \
    CASE WHEN typreceive = 'array_recv' THEN 'a' ELSE typtype END AS typtype, typnotnull, \
    CASE WHEN typreceive = 'array_recv' THEN typelem END AS elemtypoid \
    FROM pg_catalog.pg_type WHERE typtype = 'b' ORDER BY CASE WHEN typreceive = 'array_recv' THEN 1 ELSE 0 END, oid";

/// The query that asks for some types in the place of the one that asyncpg sends, which follows their elements and fields to any depth:
/// here they are arrays of types that it knows.
fn types_of_asyncpg(sql: &str) -> Option<String> {
    sql.trim_start().starts_with("WITH RECURSIVE typeinfo_tree(").then_some(())?;
    let (_, behind) = sql.split_once("ti.oid = any(")?;
    // A parameter, or its literal, to the end of the line.
    let (numbers, _) = behind.split_once(")\n")?;
    Some(format!(
        "SELECT oid, 'pg_catalog' AS ns, typname AS name, typtype AS kind, CAST(NULL AS int) AS basetype, \
         typelem AS elemtype, ',' AS elemdelim, CAST(NULL AS int) AS range_subtype, \
         CAST(NULL AS text) AS attrtypoids, CAST(NULL AS text) AS attrnames, 0 AS depth, \
         CAST(NULL AS text) AS basetype_name, CAST(NULL AS text) AS elemtype_name, \
         CAST(NULL AS text) AS range_subtype_name \
         FROM pg_catalog.pg_type WHERE oid = ANY({numbers})"
    ))
}

/// What PostgreSQL takes and the query engine does not.
struct Meanings;

impl VisitorMut for Meanings {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &mut ast::ObjectName) -> ControlFlow<()> {
        let is_ours = |name: &ast::Ident| MORE.iter().any(|(more, _)| name.value.eq_ignore_ascii_case(more));
        if let [ast::ObjectNamePart::Identifier(table)] = name.0.as_slice()
            && is_ours(table)
        {
            name.0.insert(0, ast::ObjectNamePart::Identifier(ast::Ident::new("pg_catalog")));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        // What a function gives is called as the function.
        let called: Vec<Option<ast::Ident>> = select.projection.iter().map(function_of).collect();
        let names: Vec<ast::Ident> = select.projection.iter().filter_map(name_of).collect();
        for (index, item) in select.projection.iter_mut().enumerate() {
            let is_only = names.iter().filter(|name| called[index].as_ref() == Some(name)).count() == 1;
            if let (ast::SelectItem::UnnamedExpr(expr), Some(name), true) = (&mut *item, &called[index], is_only) {
                *item = ast::SelectItem::ExprWithAlias { expr: take(expr), alias: name.clone() };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::Like { pattern, escape_char, .. } | ast::Expr::ILike { pattern, escape_char, .. } => {
                // No other escape than the backslash is known.
                let escape = escape_char.as_ref().and_then(|escape| escape.value.clone().into_string());
                if let Some(escape) = escape.filter(|escape| escape.len() == 1 && escape != "\\") {
                    let doubled = call("replace", vec![take(pattern), literal("\\"), literal("\\\\")]);
                    **pattern = call("replace", vec![doubled, literal(&escape), literal("\\")]);
                    *escape_char = None;
                }
            }
            // Columns have no defaults, no collations, and are no identities; the engine does not plan all that is asked of these.
            ast::Expr::Subquery(query) if is_of(query, &["pg_attrdef", "pg_collation", "pg_sequence"]) => {
                *expr = call("nullif", vec![literal(""), literal("")]);
            }
            // One type has a number; the engine wants to see by an aggregate that it is one.
            ast::Expr::Subquery(query) if is_of(query, &["pg_type"]) => {
                if let ast::SetExpr::Select(select) = &mut *query.body
                    && let [ast::SelectItem::UnnamedExpr(one @ ast::Expr::CompoundIdentifier(_))] =
                        select.projection.as_mut_slice()
                {
                    *one = call("min", vec![take(one)]);
                }
            }
            // Of tables without keys and indexes.
            ast::Expr::Function(function) if function.name.to_string().ends_with("generate_subscripts") => {
                if let ast::FunctionArguments::List(list) = &mut function.args {
                    list.args.truncate(1);
                    function.name = ast::ObjectName::from(vec![ast::Ident::new("unnest")]);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The name of a column, as far as it is known.
fn name_of(item: &ast::SelectItem) -> Option<ast::Ident> {
    let name = match item {
        ast::SelectItem::ExprWithAlias { alias, .. } => alias,
        ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(name)) => name,
        ast::SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(path)) => path.last()?,
        _ => return function_of(item),
    };
    Some(ast::Ident::with_quote('"', name.value.to_lowercase()))
}

/// The name of the function that a column is, unless it has another name.
fn function_of(item: &ast::SelectItem) -> Option<ast::Ident> {
    let ast::SelectItem::UnnamedExpr(ast::Expr::Function(function)) = item else { return None };
    let name = function.name.0.last()?.as_ident()?.value.to_lowercase();
    Some(ast::Ident::with_quote('"', name))
}

/// Whether a query is of one of these tables, before all others.
fn is_of(query: &ast::Query, tables: &[&str]) -> bool {
    let ast::SetExpr::Select(select) = &*query.body else { return false };
    let Some(ast::TableFactor::Table { name, .. }) = select.from.first().map(|table| &table.relation) else {
        return false;
    };
    let name = name.0.last().and_then(ast::ObjectNamePart::as_ident);
    name.is_some_and(|name| tables.contains(&name.value.as_str()))
}
