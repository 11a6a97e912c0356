//! Cursors: results that a client declares by a name, and fetches some rows at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, TryStreamExt as _, stream};
use pgwire::api::portal::Format;
use pgwire::api::results::FieldInfo;
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;
use tokio::sync::Mutex as AsyncMutex;

use super::answer::{Cut, next_batch};
use super::errors::refuse;
use super::rows::Rows;
use super::stop::Stop;
use super::text::{Place, Token};
use super::types;

/// Cursors that a connection may have open: each is a query at work.
pub(super) const MAX_CURSORS: usize = 16;

/// DECLARE ... CURSOR FOR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declare {
    pub(super) name: String,
    /// It outlives its transaction.
    pub(super) is_held: bool,
    pub(super) query: String,
}

impl Declare {
    /// Takes a statement, whose tokens these are.
    ///
    /// # Errors
    /// When it is none, or a cursor that goes back.
    pub(super) fn parse(sql: &str, tokens: &[Place<'_>]) -> PgWireResult<Self> {
        let wrong = || refuse("42601", "a cursor is declared by DECLARE name CURSOR FOR a query");
        let name = tokens.get(1).and_then(|(token, _)| token.name()).ok_or_else(wrong)?;
        let at = tokens.iter().position(|(token, _)| token.is("FOR")).ok_or_else(wrong)?;
        let options: Vec<Token<'_>> = tokens[2..at.max(2)].iter().map(|(token, _)| *token).collect();
        let has = |word: &str| options.iter().any(|token| token.is(word));
        if has("SCROLL") && !has("NO") {
            return Err(refuse("0A000", "a cursor goes forward only: it cannot be declared with SCROLL"));
        }
        let query = tokens.get(at + 1..).unwrap_or_default();
        match query {
            [first, .., last] if has("CURSOR") => {
                Ok(Self { name, is_held: has("HOLD") && has("WITH"), query: sql[first.1.start..last.1.end].to_owned() })
            }
            _ => Err(wrong()),
        }
    }
}

/// FETCH or MOVE: how many rows of which cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) name: String,
    pub(super) rows: usize,
}

impl Fetch {
    /// Takes what stands behind FETCH or MOVE.
    ///
    /// # Errors
    /// When it is none, or goes back.
    pub(super) fn parse(tokens: &[Token<'_>]) -> PgWireResult<Self> {
        let back = || refuse("55000", "a cursor can only scan forward");
        let Some((name, direction)) = tokens.split_last() else {
            return Err(refuse("42601", "FETCH takes how many rows, and the name of a cursor"));
        };
        let name = name.name().ok_or_else(|| refuse("42601", "FETCH takes the name of a cursor"))?;
        let words: Vec<String> = direction
            .iter()
            .filter(|token| !token.is("FROM") && !token.is("IN") && !token.is("FORWARD"))
            .map(|token| token.word().map_or_else(String::new, str::to_uppercase))
            .collect();
        let rows = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] | ["NEXT"] => 1,
            ["ALL"] => usize::MAX,
            [number] => number.parse().ok().filter(|rows| *rows > 0).ok_or_else(back)?,
            _ => return Err(back()),
        };
        Ok(Self { name, rows })
    }
}

/// A result that is fetched by and by.
pub(super) struct Cursor {
    schema: SchemaRef,
    /// What is left of it; none when it failed.
    batches: Option<SendableRecordBatchStream>,
    /// The rows that were taken from it and not given yet.
    waiting: Option<RecordBatch>,
    /// Whether it was cut.
    pub(super) cut: Option<Cut>,
}

impl Cursor {
    pub(super) fn new(schema: SchemaRef, batches: SendableRecordBatchStream, cut: Option<Cut>) -> Self {
        Self { schema, batches: Some(batches), waiting: None, cut }
    }

    /// Its next rows, no more than `most`; none at its end.
    async fn take(&mut self, most: usize, stop: &mut Stop) -> PgWireResult<Option<RecordBatch>> {
        while self.waiting.as_ref().is_none_or(|batch| batch.num_rows() == 0) {
            let gone = || refuse("34000", "the cursor has failed");
            let batches = self.batches.take().ok_or_else(gone)?;
            let (batch, batches) = stop.unless(next_batch(batches)).await?;
            self.batches = Some(batches);
            self.waiting = batch;
            if self.waiting.is_none() {
                return Ok(None);
            }
        }
        let Some(batch) = self.waiting.take() else { return Ok(None) };
        let rows = most.min(batch.num_rows());
        self.waiting = (rows < batch.num_rows()).then(|| batch.slice(rows, batch.num_rows() - rows));
        Ok(Some(batch.slice(0, rows)))
    }
}

/// A cursor that is fetched from by one statement at a time.
pub(super) type Shared = Arc<AsyncMutex<Cursor>>;

/// The columns of a cursor.
pub(super) async fn fields(cursor: &Shared, format: &Format) -> Vec<FieldInfo> {
    types::fields(&cursor.lock().await.schema, format)
}

/// The next rows of a cursor.
pub(super) fn fetch(
    cursor: Shared,
    fields: Arc<Vec<FieldInfo>>,
    rows: usize,
    stop: Stop,
) -> impl Stream<Item = PgWireResult<DataRow>> + Send + 'static {
    let batches = stream::try_unfold((cursor, rows, stop), move |(cursor, left, mut stop)| {
        let fields = Arc::clone(&fields);
        async move {
            if left == 0 {
                return Ok(None);
            }
            let batch = cursor.lock().await.take(left, &mut stop).await?;
            let Some(batch) = batch else { return Ok(None) };
            let left = left - batch.num_rows();
            PgWireResult::Ok(Some((stream::iter(Rows::new(&batch, &fields)?), (cursor, left, stop))))
        }
    });
    batches.try_flatten()
}

/// Passes over the next rows of a cursor; gives how many there were.
pub(super) async fn skip(cursor: &Shared, rows: usize, stop: &mut Stop) -> PgWireResult<usize> {
    let mut left = rows;
    while left > 0 {
        match cursor.lock().await.take(left, stop).await? {
            Some(batch) => left -= batch.num_rows(),
            None => break,
        }
    }
    Ok(rows - left)
}

/// The cursors of a connection, by their names.
#[derive(Default)]
pub(super) struct Cursors(Mutex<HashMap<String, Declared>>);

struct Declared {
    cursor: Shared,
    is_held: bool,
    /// It is held, and its transaction is over.
    is_kept: bool,
}

impl Cursors {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Declared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a cursor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// Whether there is no room for one more.
    pub(super) fn are_many(&self) -> bool {
        self.lock().len() >= MAX_CURSORS
    }

    pub(super) fn add(&self, name: String, cursor: Cursor, is_held: bool, is_in_transaction: bool) {
        let cursor = Arc::new(AsyncMutex::new(cursor));
        self.lock().insert(name, Declared { cursor, is_held, is_kept: is_held && !is_in_transaction });
    }

    /// # Errors
    /// When there is none of this name.
    pub(super) fn get(&self, name: &str) -> PgWireResult<Shared> {
        self.lock().get(name).map(|declared| Arc::clone(&declared.cursor)).ok_or_else(|| unknown(name))
    }

    /// # Errors
    /// When there is none of this name.
    pub(super) fn close(&self, name: &str) -> PgWireResult<()> {
        self.lock().remove(name).map(|_| ()).ok_or_else(|| unknown(name))
    }

    pub(super) fn close_all(&self) {
        self.lock().clear();
    }

    /// Ends a transaction: those that are held stay, if it was carried through.
    pub(super) fn end_transaction(&self, is_carried_through: bool) {
        self.lock().retain(|_, declared| {
            declared.is_kept |= declared.is_held && is_carried_through;
            declared.is_kept
        });
    }
}

fn unknown(name: &str) -> PgWireError {
    refuse("34000", format!("cursor \"{name}\" does not exist"))
}
