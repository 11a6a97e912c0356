//! Statements that were prepared.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::api::stmt::QueryParser;
use pgwire::api::{ClientInfo, Type};
use pgwire::error::PgWireResult;
use pgwire::messages::response::TransactionStatus;
use tokio::sync::OnceCell;

use super::errors::{changed, refuse};
use super::statement::{Kind, kind};
use super::text;

/// The protocol counts them in two bytes.
const MAX_PARAMETERS: usize = 65_535;

/// The columns of a result, by name and type.
type Columns = Vec<(String, Type)>;

/// A query that is a statement, or stands in one.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) text: Arc<str>,
    /// It is one of the catalogue.
    pub(super) is_catalogue: bool,
}

/// A statement that was prepared.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) kind: Kind,
    pub(super) query: Option<Query>,
    pub(super) parameters: usize,
    /// The types of its parameters, once they are asked for; `UNKNOWN` where the query engine cannot tell.
    pub(super) types: Arc<OnceCell<Vec<Type>>>,
    /// The columns that the client was told of last: it reads what it gets by these.
    told: Arc<Mutex<Option<Columns>>>,
}

impl Prepared {
    pub(super) fn new(text: &str) -> PgWireResult<Self> {
        let parameters = text::parameters(text);
        if parameters > MAX_PARAMETERS {
            return Err(refuse(
                "54000",
                format!("there is no parameter ${parameters}: a statement has {MAX_PARAMETERS} at most"),
            ));
        }
        let kind = kind(text)?;
        let query = kind.query(text).map(|(text, is_catalogue)| Query { text: text.into(), is_catalogue });
        Ok(Self { kind, query, parameters, types: Arc::default(), told: Arc::default() })
    }

    /// Whether it has no rows to tell of.
    pub(super) fn gives_no_rows(&self) -> bool {
        !matches!(self.kind, Kind::Query | Kind::Catalogue | Kind::Show(_) | Kind::Fetch(_))
    }

    /// Notes the columns that the client is told of.
    pub(super) fn tell(&self, fields: &[FieldInfo]) {
        let columns = fields.iter().map(|field| (field.name().to_owned(), field.datatype().clone())).collect();
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(columns);
    }

    /// Whether the statement gives the columns that the client was told of. (With parameters, that was with nulls in their places:
    /// columns may have other names then, and other types, which as text are read all the same.)
    ///
    /// # Errors
    /// As PostgreSQL has it, which drivers know: they prepare the statement again.
    pub(super) fn check(&self, fields: &[FieldInfo]) -> PgWireResult<()> {
        let before = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = &*before else { return Ok(()) };
        let is_same = |(field, (name, ty)): (&FieldInfo, &(String, Type))| {
            let has_values = self.parameters > 0;
            let is_text = field.format() == FieldFormat::Text;
            (field.name() == name || has_values) && (field.datatype() == ty || has_values && is_text)
        };
        match before.len() == fields.len() && fields.iter().zip(before).all(is_same) {
            true => Ok(()),
            false => Err(changed()),
        }
    }
}

/// Prepares statements.
#[derive(Debug)]
pub(super) struct Parser;

#[async_trait]
impl QueryParser for Parser {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _: &C, sql: &str, _: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        match text::statements(sql).as_slice() {
            [] => Ok(None),
            [statement] => Prepared::new(statement).map(Some),
            _ => Err(refuse("42601", "a single statement is prepared at a time")),
        }
    }

    fn get_parameter_types(&self, _: &Prepared) -> PgWireResult<Vec<Type>> {
        Ok(Vec::new())
    }

    fn get_result_schema(&self, _: &Prepared, _: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        Ok(Vec::new())
    }
}

/// Whether a statement may be carried out in a transaction that failed.
pub(super) fn ends_transaction(kind: &Kind, status: TransactionStatus) -> PgWireResult<()> {
    match (status, kind) {
        (TransactionStatus::Error, Kind::Commit | Kind::Rollback | Kind::RollbackTo) => Ok(()),
        (TransactionStatus::Error, _) => {
            Err(refuse("25P02", "the transaction has failed: statements are ignored until it ends"))
        }
        _ => Ok(()),
    }
}
