//! SHOW and DESCRIBE, which Athena leaves to Hive: <https://docs.aws.amazon.com/athena/latest/ug/ddl-reference.html>.
//! They become queries of values.

use std::sync::Arc;

use arrow::array::StringArray;
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ScalarUDF;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, Ident, ObjectName, ShowStatementFilter, ShowStatementFilterPosition, ShowStatementOptions, TableAlias,
    TableFactor,
};

use super::casts::CAST;
use super::function::{Arg, Gives, Takes, function, texts};
use super::syntax;
use super::types::type_name;

/// The name of a type by what the engine calls it.
const TYPE_NAME: &str = "__type_name";

pub(super) fn functions() -> [ScalarUDF; 1] {
    [function(TYPE_NAME, Takes::These(&[Arg::Text], 1), Gives::This(DataType::Utf8), |args, _| {
        let name = |text: &str| text.parse().map_or_else(|_| text.to_owned(), |data_type| type_name(&data_type));
        Ok(Arc::new(texts(&args[0]).iter().map(|text| text.map(name)).collect::<StringArray>()))
    })]
}

/// `information_schema.columns` with types as Athena names them, and places from 1.
pub(super) fn columns_by_name(table: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Table { name, alias, args: None, .. } = table else { return None };
    let parts: Vec<String> =
        name.0.iter().map(|part| part.as_ident().map(|part| part.value.to_lowercase())).collect::<Option<_>>()?;
    if parts != ["information_schema", "columns"] {
        return None;
    }
    let text = format!(
        "SELECT * REPLACE ({TYPE_NAME}(data_type) AS data_type, {CAST}(ordinal_position + 1, 'bigint') AS ordinal_position)
         FROM information_schema.columns"
    );
    let Some(Statement::Statement(statement)) = syntax::parse(&text).ok()?.pop() else { return None };
    let ast::Statement::Query(subquery) = *statement else { return None };
    let alias = alias.clone().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::new("columns"),
        columns: Vec::new(),
        at: None,
    });
    Some(TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None })
}

/// What is asked for, and which of it.
pub(in crate::query) struct Show {
    pub(in crate::query) what: Shown,
    filter: Option<Filter>,
}

pub(in crate::query) enum Shown {
    Schemas,
    /// The tables of a schema, or of the one that names without a schema are of.
    Tables(Option<ObjectName>),
    /// The names of the columns of a table.
    Columns(ObjectName),
    /// With their types.
    Table(ObjectName),
    /// The partitions of a table, as folders.
    Partitions(ObjectName),
}

enum Filter {
    /// As LIKE takes it.
    Like(String),
    /// As Hive takes it: `*` stands for anything, `|` for or, and case does not matter.
    Hive(String),
}

/// What a statement asks to show; `None` when it does something else.
pub(in crate::query) fn asked_to_show(statement: &Statement) -> Option<Show> {
    let Statement::Statement(statement) = statement else { return None };
    let (what, options) = match &**statement {
        ast::Statement::ShowSchemas { show_options, .. } | ast::Statement::ShowDatabases { show_options, .. } => {
            (Shown::Schemas, show_options)
        }
        ast::Statement::ShowTables { show_options, .. } => (Shown::Tables(parent(show_options).cloned()), show_options),
        ast::Statement::ShowColumns { show_options, .. } => {
            (Shown::Columns(parent(show_options)?.clone()), show_options)
        }
        ast::Statement::ExplainTable { table_name, .. } => {
            return Some(Show { what: Shown::Table(table_name.clone()), filter: None });
        }
        ast::Statement::ShowVariable { variable } => {
            let (what, table) = variable.split_first()?;
            let is_asked = what.value.eq_ignore_ascii_case("partitions") && !table.is_empty();
            let what = Shown::Partitions(ObjectName::from(table.to_vec()));
            return is_asked.then_some(Show { what, filter: None });
        }
        _ => return None,
    };
    let filter = match &options.filter_position {
        None => None,
        Some(ShowStatementFilterPosition::Infix(filter) | ShowStatementFilterPosition::Suffix(filter)) => {
            match filter {
                ShowStatementFilter::Like(pattern) if pattern.contains(['*', '|']) => {
                    Some(Filter::Hive(pattern.clone()))
                }
                ShowStatementFilter::Like(pattern) => Some(Filter::Like(pattern.clone())),
                ShowStatementFilter::NoKeyword(pattern) => Some(Filter::Hive(pattern.clone())),
                ShowStatementFilter::ILike(_) | ShowStatementFilter::Where(_) => return None,
            }
        }
    };
    Some(Show { what, filter })
}

fn parent(options: &ShowStatementOptions) -> Option<&ObjectName> {
    options.show_in.as_ref()?.parent_name.as_ref()
}

impl Show {
    /// The statement that gives rows that were found; each has a text for each column.
    ///
    /// # Errors
    /// When it is none.
    pub(in crate::query) fn statement(&self, rows: &[Vec<String>]) -> Result<Statement> {
        let columns: &[&str] = match self.what {
            Shown::Schemas => &["database_name"],
            Shown::Tables(_) => &["tab_name"],
            Shown::Columns(_) => &["field"],
            Shown::Partitions(_) => &["partition"],
            Shown::Table(_) => &["col_name", "data_type", "comment"],
        };
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        // A row that passes no filter gives types where there are no others.
        let none = format!("({})", vec!["''"; columns.len() + 1].join(", "));
        let row = |(at, row): (usize, &Vec<String>)| {
            let texts: Vec<String> = row.iter().map(|text| quoted(text)).collect();
            format!("({}, '{at:09}')", texts.join(", "))
        };
        let values: Vec<String> = std::iter::once(none).chain(rows.iter().enumerate().map(row)).collect();
        let filter = match &self.filter {
            None => String::new(),
            Some(Filter::Like(pattern)) => format!("AND {} LIKE {}", columns[0], quoted(pattern)),
            Some(Filter::Hive(pattern)) => {
                let regexp = |c: char| match c {
                    '*' => ".*".to_owned(),
                    '|' => "|".to_owned(),
                    c if c.is_alphanumeric() || c == '_' => c.to_string(),
                    ' ' => String::new(),
                    c => format!("\\{c}"),
                };
                let any: String = pattern.chars().map(regexp).collect();
                format!("AND regexp_like({}, {})", columns[0], quoted(&format!("(?i)^({any})$")))
            }
        };
        let names = columns.join(", ");
        let sql = format!(
            "SELECT {names} FROM (VALUES {}) AS shown({names}, place) WHERE place <> '' {filter} ORDER BY place",
            values.join(", ")
        );
        super::parse(&sql)?.pop().ok_or_else(|| DataFusionError::Plan("there is nothing to show".to_owned()))
    }
}
