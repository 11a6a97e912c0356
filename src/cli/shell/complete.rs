//! What a statement may go on with: keywords, schemas, tables, columns and their fields, functions.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};

use super::scan::{Scanner, State};
use crate::query::{SCHEMAS, fields_of, quote_name};

/// What there is to name.
pub(super) trait Names {
    /// The schema and the name of each table.
    fn tables(&self) -> &[(&'static str, String)];
    /// The names of functions.
    fn functions(&self) -> &[String];
    /// The columns of a table, when they are known or quickly told.
    fn columns(&self, schema: &'static str, table: &str) -> Option<SchemaRef>;
}

/// What statements begin with.
const FIRST: [&str; 6] = ["SELECT", "WITH", "EXPLAIN", "SHOW TABLES", "DESCRIBE", "VALUES"];

/// The other words of queries.
const KEYWORDS: [&str; 93] = [
    "ALL",
    "ANALYZE",
    "AND",
    "ARRAY",
    "AS",
    "ASC",
    "AT TIME ZONE",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "BY",
    "CASE",
    "CAST",
    "CROSS JOIN",
    "CUBE",
    "CURRENT",
    "CURRENT_DATE",
    "CURRENT_TIMESTAMP",
    "DATE",
    "DECIMAL",
    "DESC",
    "DISTINCT",
    "DOUBLE",
    "ELSE",
    "END",
    "ESCAPE",
    "EXCEPT",
    "EXISTS",
    "EXTRACT",
    "FALSE",
    "FETCH FIRST",
    "FILTER",
    "FIRST",
    "FOLLOWING",
    "FOR TIMESTAMP AS OF",
    "FOR VERSION AS OF",
    "FROM",
    "FULL JOIN",
    "GROUP BY",
    "GROUPING SETS",
    "HAVING",
    "IN",
    "INNER JOIN",
    "INTEGER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "JSON",
    "LAST",
    "LATERAL",
    "LEFT JOIN",
    "LIKE",
    "LIMIT",
    "MAP",
    "NATURAL",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER BY",
    "ORDINALITY",
    "OUTER",
    "OVER",
    "PARTITION BY",
    "PRECEDING",
    "RANGE",
    "RECURSIVE",
    "RIGHT JOIN",
    "ROLLUP",
    "ROW",
    "ROWS",
    "ROWS ONLY",
    "SELECT",
    "SOME",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "TRUE",
    "TRY_CAST",
    "UNBOUNDED",
    "UNION",
    "UNION ALL",
    "UNNEST",
    "USING",
    "VALUES",
    "VARBINARY",
    "VARCHAR",
    "WHEN",
    "WHERE",
    "WITH",
];

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A word or a quoted name, as a name: without quotes, or in lower case.
    Name {
        name: String,
        start: usize,
        end: usize,
        is_quoted: bool,
    },
    Dot,
    Sign(char),
}

/// Where in `text` what could stand at `at` begins, and what could stand there.
pub(super) fn complete(text: &str, at: usize, names: &dyn Names) -> (usize, Vec<String>) {
    let nothing = (at, Vec::new());
    let Some((mut before, is_open_name)) = tokens(text, at) else { return nothing };
    // The path at the cursor: `a.b.` and what is begun of its last name.
    let mut start = at;
    let mut partial = String::new();
    if let Some(Token::Name { name, start: begins, end, is_quoted }) = before.last().cloned()
        && end == at
        && (!is_quoted || is_open_name)
    {
        (start, partial) = (begins, name);
        before.pop();
    }
    let mut path = Vec::new();
    while let [.., Token::Name { name, .. }, Token::Dot] = before.as_slice() {
        path.insert(0, name.clone());
        before.truncate(before.len() - 2);
    }
    let is_lower = text[start..at].starts_with(|c: char| c.is_ascii_lowercase());
    let mut found = Found { partial: &partial, is_lower, is_quoted: is_open_name, all: BTreeSet::new() };
    let all = whole_statement(text, at, &before);
    let named = named_tables(&all, names);
    if !path.is_empty() {
        dotted(&path, &named, names, &mut found);
        return (start, found.all.into_iter().collect());
    }
    let last = match before.last() {
        Some(Token::Name { name, is_quoted: false, .. }) => name.as_str(),
        _ => "",
    };
    if matches!(last, "from" | "join" | "describe" | "table") {
        tables("", names, &mut found);
        return (start, found.all.into_iter().collect());
    }
    for table in &named {
        if let Some(alias) = &table.alias {
            found.add_name(alias, "");
        }
        for column in columns_of(table, names).iter().flat_map(|schema| schema.fields()) {
            found.add_name(column.name(), "");
        }
    }
    if before.is_empty() {
        FIRST.iter().for_each(|word| found.add_keyword(word));
    } else if !partial.is_empty() && !is_open_name {
        KEYWORDS.iter().for_each(|word| found.add_keyword(word));
        names.functions().iter().for_each(|name| found.add_name(name, "("));
        tables("", names, &mut found);
    }
    (start, found.all.into_iter().collect())
}

/// Candidates, by what is begun of them.
struct Found<'a> {
    partial: &'a str,
    /// It is written in lower case.
    is_lower: bool,
    is_quoted: bool,
    all: BTreeSet<String>,
}

impl Found<'_> {
    fn begins(&self, name: &str) -> bool {
        name.get(..self.partial.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(self.partial))
    }

    fn add_name(&mut self, name: &str, behind: &str) {
        if self.begins(name) {
            let quoted = quote_name(name);
            let is_plain = self.is_quoted && !quoted.starts_with('"');
            self.all.insert(if is_plain { format!("\"{name}\"{behind}") } else { format!("{quoted}{behind}") });
        }
    }

    /// Keywords are written as what is begun of them.
    fn add_keyword(&mut self, word: &str) {
        if self.begins(word) {
            self.all.insert(if self.is_lower { word.to_ascii_lowercase() } else { word.to_owned() });
        }
    }
}

/// The tokens of the statement that `at` is in, up to there, and whether a quoted name is open; `None` within text and comments.
fn tokens(text: &str, at: usize) -> Option<(Vec<Token>, bool)> {
    let mut scanner = Scanner::default();
    let mut tokens: Vec<Token> = Vec::new();
    let mut place = 0;
    let text = &text[..at];
    while place < at {
        let rest = &text[place..];
        let Some(c) = rest.chars().next() else { break };
        let before = scanner.state().clone();
        let end = place + scanner.step(rest);
        match (&before, scanner.state()) {
            (State::Code, State::Code) if c == ';' => tokens.clear(),
            (State::Code, State::Code) if c == '.' => tokens.push(Token::Dot),
            (State::Code, State::Code) if c.is_alphanumeric() || matches!(c, '_' | '$') => match tokens.last_mut() {
                Some(Token::Name { name, end: last, is_quoted: false, .. }) if *last == place => {
                    name.extend(c.to_lowercase());
                    *last = end;
                }
                _ => tokens.push(Token::Name { name: c.to_lowercase().collect(), start: place, end, is_quoted: false }),
            },
            (State::Code, State::Name(_)) => {
                tokens.push(Token::Name { name: String::new(), start: place, end, is_quoted: true });
            }
            (State::Name(_), now) => {
                if let Some(Token::Name { name, end: last, .. }) = tokens.last_mut() {
                    if matches!(now, State::Name(_)) {
                        name.push(c);
                    }
                    *last = end;
                }
            }
            (State::Code, State::Code) if !c.is_whitespace() => tokens.push(Token::Sign(c)),
            (State::Code, State::Text { .. } | State::Dollar(_)) => tokens.push(Token::Sign('\'')),
            _ => {}
        }
        place = end;
    }
    match scanner.state() {
        State::Code => Some((tokens, false)),
        State::Name(_) => Some((tokens, true)),
        _ => None,
    }
}

/// The tokens of a statement without the path at the cursor: those `before`, and those behind it.
fn whole_statement(text: &str, at: usize, before: &[Token]) -> Vec<Token> {
    let mut all = before.to_vec();
    all.push(Token::Sign(' '));
    // The end of a word that the cursor is in names nothing.
    let rest = text[at..].trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '"'));
    let rest = &rest[..rest.find(';').unwrap_or(rest.len())];
    all.extend(tokens(rest, rest.len()).map(|(tokens, _)| tokens).unwrap_or_default());
    all
}

/// A table that a statement names.
struct Named {
    schema: &'static str,
    table: String,
    alias: Option<String>,
}

/// The tables that are named: whatever path is that of a table.
fn named_tables(tokens: &[Token], names: &dyn Names) -> Vec<Named> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut path: Vec<&str> = Vec::new();
        while let Some(Token::Name { name, .. }) = tokens.get(at) {
            path.push(name);
            at += 1;
            if tokens.get(at) != Some(&Token::Dot) {
                break;
            }
            at += 1;
        }
        if path.is_empty() {
            at += 1;
            continue;
        }
        if let Some((schema, table)) = find_table(&path, names) {
            let word = |at: usize| match tokens.get(at) {
                Some(Token::Name { name, is_quoted, .. }) => Some((name.as_str(), *is_quoted)),
                _ => None,
            };
            let alias = match word(at) {
                Some(("as", false)) => word(at + 1).map(|(name, _)| name),
                Some((name, is_quoted)) if is_quoted || !is_keyword(name) => Some(name),
                _ => None,
            };
            found.push(Named { schema, table: table.to_owned(), alias: alias.map(str::to_owned) });
        }
    }
    found
}

fn is_keyword(name: &str) -> bool {
    let mut words = KEYWORDS.iter().flat_map(|words| words.split(' '));
    words.any(|word| word.eq_ignore_ascii_case(name))
}

/// The table that a path names.
fn find_table<'a>(path: &[&'a str], names: &dyn Names) -> Option<(&'static str, &'a str)> {
    let (schema, table) = match path {
        [table] => (SCHEMAS[0], *table),
        [schema, table] | ["siltstone", schema, table] => (*SCHEMAS.iter().find(|known| *known == schema)?, *table),
        _ => return None,
    };
    names.tables().iter().any(|(known, name)| *known == schema && name == table).then_some((schema, table))
}

fn columns_of(table: &Named, names: &dyn Names) -> Option<SchemaRef> {
    names.columns(table.schema, &table.table)
}

/// Adds the tables of a schema; without one, the schemas and the tables that need none.
fn tables(schema: &str, names: &dyn Names, found: &mut Found<'_>) {
    let wanted = if schema.is_empty() { SCHEMAS[0] } else { schema };
    for (_, name) in names.tables().iter().filter(|(known, _)| *known == wanted) {
        found.add_name(name, "");
    }
    if schema.is_empty() {
        for schema in SCHEMAS.iter().skip(1).filter(|schema| names.tables().iter().any(|(known, _)| known == *schema)) {
            found.add_name(schema, ".");
        }
    }
}

/// Adds what may stand behind `path.`.
fn dotted(path: &[String], named: &[Named], names: &dyn Names, found: &mut Found<'_>) {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    if let [schema] = path.as_slice() {
        tables(schema, names, found);
    }
    let mut add = |schema: Option<SchemaRef>, below: &[&str]| {
        let Some(schema) = schema else { return };
        let mut fields: &[Arc<Field>] = schema.fields();
        for name in below {
            let Some(field) = fields.iter().find(|field| field.name() == name) else { return };
            fields = fields_of(field.data_type());
        }
        fields.iter().for_each(|field| found.add_name(field.name(), ""));
    };
    for long in 1..=path.len().min(3) {
        if let Some((schema, table)) = find_table(&path[..long], names) {
            add(names.columns(schema, table), &path[long..]);
        }
    }
    for table in named {
        if table.alias.as_deref() == path.first().copied() {
            add(columns_of(table, names), &path[1..]);
        }
        add(columns_of(table, names), &path);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#[path = "complete_tests.rs"]
mod tests;
