//! The catalogue of PostgreSQL over our tables: pg_catalog from datafusion-pg-catalog, with tables and columns told by us.
//!
//! Its queries are rewritten and planned in a context of their own. No table of a source can be read there, only told of.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{CatalogProvider as _, MemoryCatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::setup_pg_catalog;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

use super::information::{Information, schema};
use super::settings::settings;
use super::tables::{NAMESPACES, Row, Table, Tables, fixed, table_of};
use super::{compatibility, functions};
use crate::error::{Context as _, Error, ErrorKind};
use crate::query::SqlSession;
use crate::query::cooperative::CooperativeJoins;
use crate::query::session::{CATALOG, columns_of};
use crate::query::{depth, fence};

/// Answers queries of the catalogue.
pub(super) struct Catalogue {
    context: SessionContext,
    parser: PostgresCompatibilityParser,
}

impl Catalogue {
    /// The catalogue of the tables of `session`.
    ///
    /// # Errors
    /// When the query engine refuses it.
    pub(super) fn new(session: Arc<SqlSession>) -> crate::error::Result<Self> {
        let describe = || "cannot set up the catalogue".to_owned();
        let config = SessionConfig::new()
            .with_information_schema(false)
            .with_target_partitions(1)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, "public");
        let state = SessionStateBuilder::new_with_default_features()
            .with_config(config)
            .with_runtime_env(session.context.runtime_env())
            .with_physical_optimizer_rules(fence::rules())
            .with_physical_optimizer_rule(Arc::new(CooperativeJoins))
            .build();
        let context = SessionContext::new_with_state(state);
        let catalog = Arc::new(MemoryCatalogProvider::new());
        context.register_catalog(CATALOG, Arc::clone(&catalog) as _);
        setup_pg_catalog(&context, CATALOG, EmptyContextProvider).map_err(|error| *error).context(describe)?;
        functions::register(&context);
        let theirs = catalog.schema("pg_catalog").ok_or_else(|| Error::new(ErrorKind::Failed, describe()))?;
        let tables = Arc::new(Tables::new(session));
        let information = Arc::new(Information { tables: Arc::clone(&tables) });
        let ours = PgCatalog { theirs, information: Arc::clone(&information), tables };
        catalog.register_schema("pg_catalog", Arc::new(ours)).context(describe)?;
        catalog.register_schema("information_schema", information).context(describe)?;
        Ok(Self { context, parser: PostgresCompatibilityParser::new() })
    }

    /// Plans a query.
    ///
    /// # Errors
    /// When the statement is wrong, or asks for what is not there.
    pub(super) async fn plan(&self, sql: &str) -> Result<LogicalPlan> {
        let sql = compatibility::text(sql);
        depth::check_text(&sql)?;
        let statement = self.parser.parse(&sql)?.pop();
        let mut statement = statement.ok_or_else(|| DataFusionError::Plan("No SQL is given".to_owned()))?;
        compatibility::rewrite(&mut statement);
        let statement = Statement::Statement(Box::new(statement));
        depth::check_statement(&statement)?;
        let plan = self.context.state().statement_to_plan(statement).await?;
        depth::check_plan(&plan)?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        Ok(plan)
    }

    /// The columns of the rows that a plan gives.
    ///
    /// # Errors
    /// When its types do not go together.
    pub(super) fn columns(&self, plan: &LogicalPlan) -> Result<SchemaRef> {
        columns_of(&self.context, plan)
    }

    /// Begins what was planned.
    ///
    /// # Errors
    /// When the query engine refuses it.
    pub(super) async fn begin(&self, plan: LogicalPlan) -> Result<SendableRecordBatchStream> {
        self.context.execute_logical_plan(plan).await?.execute_stream().await
    }
}

/// Views that datafusion-pg-catalog does not have, with their columns as those of [`information`](super::information).
pub(super) const MORE: [(&str, &str); 4] = [
    ("pg_user", "usename usesysid# usecreatedb usesuper userepl usebypassrls passwd valuntil useconfig"),
    (
        "pg_stat_activity",
        "datid# datname pid# usesysid# usename application_name client_addr client_hostname client_port# backend_start \
         xact_start query_start state_change wait_event_type wait_event state backend_xid backend_xmin query backend_type",
    ),
    ("pg_locks", "locktype database# relation# pid# mode granted transactionid virtualtransaction"),
    ("pg_cursors", "name statement is_holdable is_binary is_scrollable creation_time"),
];

/// The schema pg_catalog.
#[derive(Debug)]
struct PgCatalog {
    theirs: Arc<dyn SchemaProvider>,
    information: Arc<Information>,
    tables: Arc<Tables>,
}

impl PgCatalog {
    /// All tables, also those of the catalogue itself.
    async fn all(&self) -> Result<Vec<Table>> {
        let mut schemas = Vec::new();
        for name in self.theirs.table_names() {
            if let Some(table) = self.theirs.table(&name).await? {
                schemas.push((name, table.schema()));
            }
        }
        schemas.extend(MORE.iter().map(|(name, columns)| ((*name).to_owned(), schema(columns))));
        let mut all = fixed("pg_catalog", schemas.into_iter());
        all.extend(fixed("information_schema", self.information.schemas()));
        all.extend(self.tables.now().await?.iter().cloned());
        Ok(all)
    }
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        let more = MORE.iter().map(|(name, _)| (*name).to_owned());
        self.theirs.table_names().into_iter().chain(more).collect()
    }

    fn table_exist(&self, name: &str) -> bool {
        self.theirs.table_exist(name) || MORE.iter().any(|(more, _)| *more == name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some((_, columns)) = MORE.iter().find(|(more, _)| *more == name) {
            let user = vec![("usename", CATALOG.into()), ("usesysid", 10.into())];
            let rows = if name == "pg_user" { vec![user] } else { Vec::new() };
            return table_of(schema(columns), &rows).map(Some);
        }
        let Some(table) = self.theirs.table(name).await? else { return Ok(None) };
        let rows: Vec<Row> = match name {
            "pg_namespace" => NAMESPACES
                .iter()
                .map(|namespace| {
                    vec![("oid", namespace.oid.into()), ("nspname", namespace.name.into()), ("nspowner", 10.into())]
                })
                .collect(),
            "pg_class" => self.all().await?.iter().map(class).collect(),
            "pg_attribute" => self.all().await?.iter().flat_map(attributes).collect(),
            "pg_settings" => settings().map(setting).collect(),
            "pg_tables" => self.all().await?.iter().map(listed).collect(),
            // Tables have neither.
            "pg_constraint" | "pg_index" => Vec::new(),
            _ => return Ok(Some(table)),
        };
        table_of(with_lists(name, &table.schema()), &rows).map(Some)
    }
}

/// The columns of a table of the catalogue, with those that are lists.
fn with_lists(name: &str, schema: &SchemaRef) -> SchemaRef {
    let (lists, item): (&[&str], DataType) = match name {
        "pg_class" => (&["relacl", "reloptions"], DataType::Utf8),
        "pg_namespace" => (&["nspacl"], DataType::Utf8),
        "pg_attribute" => (&["attacl", "attoptions"], DataType::Utf8),
        "pg_constraint" => (&["conkey", "confkey"], DataType::Int16),
        "pg_index" => (&["indkey", "indoption", "indclass", "indcollation"], DataType::Int16),
        _ => (&[], DataType::Utf8),
    };
    let list = |name: &str| Field::new_list(name, Field::new_list_field(item.clone(), true), true);
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    for name in lists {
        match fields.iter_mut().find(|field| field.name() == name) {
            Some(field) => *field = list(name),
            None => fields.push(list(name)),
        }
    }
    Arc::new(Schema::new(fields))
}

/// The row of a table in pg_class.
fn class(table: &Table) -> Row {
    vec![
        ("oid", table.oid.into()),
        ("relname", table.name.as_str().into()),
        ("relnamespace", table.namespace.oid.into()),
        ("relowner", 10.into()),
        ("relfilenode", table.oid.into()),
        ("reltuples", (-1.0).into()),
        ("relpersistence", "p".into()),
        ("relkind", if table.namespace.name == "information_schema" { "v" } else { "r" }.into()),
        ("relnatts", (table.columns.len() as i64).into()),
        ("relispopulated", true.into()),
        ("relreplident", "n".into()),
    ]
}

/// The rows of a table's columns in pg_attribute.
fn attributes(table: &Table) -> impl Iterator<Item = Row> {
    (1_i64..).zip(&table.columns).map(|(number, column)| {
        vec![
            ("attrelid", table.oid.into()),
            ("attname", column.name.as_str().into()),
            ("atttypid", ScalarValue::from(i64::from(column.ty.ty.oid()))),
            ("atttypmod", column.ty.modifier.into()),
            ("attlen", column.ty.length().into()),
            ("attnum", number.into()),
            ("attstattarget", (-1).into()),
            ("attcacheoff", (-1).into()),
            ("attnotnull", (!column.is_nullable).into()),
            ("attislocal", true.into()),
            ("attalign", "i".into()),
            ("attstorage", if column.ty.length() < 0 { "x" } else { "p" }.into()),
        ]
    })
}

/// The row of a setting in pg_settings.
fn setting((name, value): (&str, &str)) -> Row {
    vec![("name", name.into()), ("setting", value.into())]
}

/// The row of a table in pg_tables.
fn listed(table: &Table) -> Row {
    vec![
        ("schemaname", table.namespace.name.into()),
        ("tablename", table.name.as_str().into()),
        ("tableowner", "siltstone".into()),
    ]
}
