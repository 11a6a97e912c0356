//! Which tables there are and what their columns are, as the catalogue tells it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::Result;
use datafusion::scalar::ScalarValue;
use futures::{FutureExt as _, StreamExt as _, stream};

use super::types::WireType;
use crate::clock::Stopwatch;
use crate::query::SqlSession;
use crate::query::catalog::external;

/// How long what was found is told again. Finding it loads every table.
const SECONDS: f64 = 5.0;
/// How many tables are loaded at a time.
const AT_A_TIME: usize = 8;

/// A schema of the catalogue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namespace {
    pub(super) name: &'static str,
    pub(super) oid: i32,
    /// The number of its first table.
    first: i32,
}

/// All schemas. Numbers of tables tell which schema they are in, 100,000 tables each.
pub(super) const NAMESPACES: [Namespace; 6] = [
    Namespace { name: "pg_catalog", oid: 11, first: 1000 },
    Namespace { name: "information_schema", oid: 13_000, first: 13_001 },
    Namespace { name: "public", oid: 2200, first: 100_000 },
    Namespace { name: "lake", oid: 16_384, first: 200_000 },
    Namespace { name: "raw", oid: 16_385, first: 300_000 },
    Namespace { name: "quarantine", oid: 16_386, first: 400_000 },
];

/// Whether a table is found without its schema.
pub(super) fn is_visible(oid: i64) -> bool {
    oid < 13_000 || (100_000..200_000).contains(&oid)
}

/// A table of the catalogue.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) namespace: Namespace,
    pub(super) name: String,
    pub(super) oid: i32,
    pub(super) columns: Vec<Column>,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: WireType,
    pub(super) is_nullable: bool,
}

/// The tables that there are now.
pub(super) struct Tables {
    session: Arc<SqlSession>,
    seen: tokio::sync::Mutex<Option<(Stopwatch, Arc<Vec<Table>>)>>,
    /// Numbers stay with their tables as long as the server runs.
    numbers: Mutex<HashMap<(&'static str, String), i32>>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

impl Tables {
    pub(super) fn new(session: Arc<SqlSession>) -> Self {
        Self { session, seen: tokio::sync::Mutex::default(), numbers: Mutex::default() }
    }

    /// The tables of sources, as they were at most some seconds ago.
    ///
    /// # Errors
    /// When a root cannot be listed.
    pub(super) async fn now(&self) -> Result<Arc<Vec<Table>>> {
        let mut seen = self.seen.lock().await;
        if let Some((found, tables)) = &*seen
            && found.seconds() < SECONDS
        {
            return Ok(Arc::clone(tables));
        }
        self.session.find_sources(&["main", "public"]).await.map_err(external)?;
        let mut names = Vec::new();
        let catalog = self.session.catalog();
        for namespace in NAMESPACES {
            let Some(schema) = catalog.as_ref().and_then(|catalog| catalog.schema(namespace.name)) else { continue };
            names.extend(schema.table_names().into_iter().map(|name| (namespace, Arc::clone(&schema), name)));
        }
        let loaded: Vec<_> =
            names.into_iter().map(|(namespace, schema, name)| self.load(namespace, schema, name).boxed()).collect();
        let tables: Vec<Option<Table>> = stream::iter(loaded).buffered(AT_A_TIME).collect().await;
        let tables = Arc::new(tables.into_iter().flatten().collect::<Vec<_>>());
        *seen = Some((Stopwatch::start(), Arc::clone(&tables)));
        Ok(tables)
    }

    /// A table with its columns. One that cannot be loaded is there without columns: it shall not hide the others.
    async fn load(&self, namespace: Namespace, schema: Arc<dyn SchemaProvider>, name: String) -> Option<Table> {
        let columns = match schema.table(&name).await {
            Ok(None) => return None,
            Ok(Some(table)) => columns(&table.schema()),
            Err(error) => {
                tracing::warn!("the catalogue shows {}.{name} without columns: {error}", namespace.name);
                Vec::new()
            }
        };
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let next = namespace.first + numbers.keys().filter(|(schema, _)| *schema == namespace.name).count() as i32;
        let oid = *numbers.entry((namespace.name, name.clone())).or_insert(next);
        Some(Table { namespace, name, oid, columns })
    }
}

/// The columns of a schema.
pub(super) fn columns(schema: &Schema) -> Vec<Column> {
    let columns = schema.fields().iter().map(|field| Column {
        name: field.name().clone(),
        ty: WireType::of(field),
        is_nullable: field.is_nullable(),
    });
    columns.collect()
}

/// The tables of a schema that is always the same.
pub(super) fn fixed(namespace: &str, schemas: impl Iterator<Item = (String, SchemaRef)>) -> Vec<Table> {
    let Some(namespace) = NAMESPACES.into_iter().find(|other| other.name == namespace) else { return Vec::new() };
    let tables = (namespace.first..).zip(schemas).map(|(oid, (name, schema))| Table {
        namespace,
        name,
        oid,
        columns: columns(&schema),
    });
    tables.collect()
}

/// A row of a table of the catalogue: what it says of columns by their names.
pub(super) type Row = Vec<(&'static str, ScalarValue)>;

/// A table of rows. What a row does not say is null, or else zero or empty.
///
/// # Errors
/// When a value does not fit its column.
pub(super) fn table_of(schema: SchemaRef, rows: &[Row]) -> Result<Arc<dyn TableProvider>> {
    let columns = schema.fields().iter().map(|field| {
        let values = rows.iter().map(|row| match row.iter().find(|(name, _)| name == field.name()) {
            Some((_, value)) => value.cast_to(field.data_type()),
            None if field.is_nullable() => ScalarValue::try_from(field.data_type()),
            None => ScalarValue::new_default(field.data_type()),
        });
        match rows.is_empty() {
            true => Ok(datafusion::arrow::array::new_empty_array(field.data_type())),
            false => ScalarValue::iter_to_array(values.collect::<Result<Vec<_>>>()?),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}
