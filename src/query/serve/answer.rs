//! What a statement gives: rows, as they come, or that it is done.

use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{ErrorInfo, PgWireResult};
use pgwire::messages::data::DataRow;
use pgwire::messages::response::TransactionStatus;

use super::copy::CopyOut;
use super::cursors::{self, Cursor, Cursors, MAX_CURSORS};
use super::errors::{engine, ours, refuse};
use super::handler::Handler;
use super::prepared::{Prepared, ends_transaction};
use super::rows::Rows;
use super::settings::{forget, reset, set, show, timeout};
use super::statement::Kind;
use super::stop::{Cancellable, Cancels, Stop, is_stop};
use super::{parameters, text, types};
use crate::clock::Stopwatch;
use crate::query::limit_rows;

/// For how many seconds a plan is used that was made to describe a result: as long as the table counts as just looked at.
const SECONDS: f64 = 1.0;

/// What a statement gives.
pub(super) enum Answer {
    Rows(QueryResponse),
    Copy(CopyOut, QueryResponse),
    Done(Tag),
}

/// How many rows a result was to have at most, and whether it would have had more.
pub(super) type Cut = (u64, Arc<AtomicBool>);

/// A result that has begun.
struct Begun {
    schema: SchemaRef,
    batches: SendableRecordBatchStream,
    cut: Option<Cut>,
}

/// A plan, and the columns of its rows.
type Planned = (LogicalPlan, SchemaRef);

/// What is known of a connection.
pub(super) struct Conversation {
    cancellable: Cancellable,
    /// The plan made last, by the statement with its literals.
    planned: Mutex<Option<(String, Stopwatch, Planned)>>,
    /// Whether the result that is on its way was cut.
    is_cut: Mutex<Option<Cut>>,
    cursors: Cursors,
    /// The names of prepared statements: their store gives none of them.
    statements: Mutex<BTreeSet<String>>,
}

impl Conversation {
    /// What is known of a client's connection.
    pub(super) fn of(client: &impl ClientInfo, cancels: &Arc<Cancels>) -> Arc<Self> {
        client.session_extensions().get_or_insert_with(|| Self {
            cancellable: Cancellable::new(cancels, client),
            planned: Mutex::default(),
            is_cut: Mutex::default(),
            cursors: Cursors::default(),
            statements: Mutex::default(),
        })
    }

    /// Notes the name of a statement that was prepared.
    pub(super) fn add_statement(&self, name: String) {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    /// Notes the name of a statement that is there no more.
    pub(super) fn remove_statement(&self, name: &str) {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn take_statements(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.statements.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note_cut(&self, cut: Option<Cut>) {
        *self.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = cut;
    }

    /// The columns of a cursor.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(super) async fn cursor_fields(&self, name: &str, format: &Format) -> PgWireResult<Vec<FieldInfo>> {
        Ok(cursors::fields(&self.cursors.get(name)?, format).await)
    }

    /// Whether there is a cursor of this name.
    pub(super) fn has_cursor(&self, name: &str) -> bool {
        self.cursors.has(name)
    }

    /// What is to be told about the result that has ended.
    pub(super) fn take_notice(&self) -> Option<ErrorInfo> {
        let cut = self.is_cut.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Of a cursor it is told once.
        let (most, _) = cut.filter(|(_, is_cut)| is_cut.swap(false, Ordering::Relaxed))?;
        let message =
            format!("the result has more than {most} rows, which the server gives at most; the others are left out");
        Some(ErrorInfo::new("WARNING".to_owned(), "01004".to_owned(), message))
    }

    fn hold(&self, sql: String, plan: Planned) {
        *self.planned.lock().unwrap_or_else(PoisonError::into_inner) = Some((sql, Stopwatch::start(), plan));
    }

    /// The plan that was made for a statement just now.
    fn take(&self, sql: &str) -> Option<Planned> {
        let held = self.planned.lock().unwrap_or_else(PoisonError::into_inner).take();
        held.filter(|(held, made, _)| held == sql && made.seconds() < SECONDS).map(|(_, _, plan)| plan)
    }
}

impl Handler {
    /// Carries a statement out, its parameters being `literals`.
    pub(super) async fn answer<C>(
        &self,
        client: &mut C,
        prepared: &Prepared,
        literals: &[String],
        format: &Format,
    ) -> PgWireResult<Answer>
    where
        C: ClientInfo + ClientPortalStore + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
    {
        let status = client.transaction_status();
        ends_transaction(&prepared.kind, status)?;
        let done = |name: &str| Ok(Answer::Done(Tag::new(name)));
        let conversation = Conversation::of(client, &self.cancels);
        let mut stop = self.stop(&conversation, client);
        match &prepared.kind {
            Kind::Query | Kind::Catalogue => {
                self.rows(&conversation, prepared, literals, format, stop).await.map(Answer::Rows)
            }
            Kind::Copy(copy) => {
                let rows = self.rows(&conversation, prepared, literals, &copy.format(), stop).await?;
                Ok(Answer::Copy((**copy).clone(), rows))
            }
            Kind::Declare(declare) => {
                let is_in_transaction = status != TransactionStatus::Idle;
                if !is_in_transaction && !declare.is_held {
                    return Err(refuse("25P01", "DECLARE CURSOR can only be used in transaction blocks"));
                }
                if conversation.has_cursor(&declare.name) {
                    return Err(refuse("42P03", format!("cursor \"{}\" already exists", declare.name)));
                }
                if conversation.cursors.are_many() {
                    return Err(refuse("54000", format!("a connection has {MAX_CURSORS} cursors at most: close some")));
                }
                let Begun { schema, batches, cut } =
                    self.begin(&conversation, prepared, literals, &mut stop, |_| Ok(())).await?;
                let cursor = Cursor::new(schema, batches, cut);
                conversation.cursors.add(declare.name.clone(), cursor, declare.is_held, is_in_transaction);
                done("DECLARE CURSOR")
            }
            Kind::Fetch(fetch) => {
                let cursor = conversation.cursors.get(&fetch.name)?;
                let fields = Arc::new(cursors::fields(&cursor, format).await);
                conversation.note_cut(cursor.lock().await.cut.clone());
                let rows = cursors::fetch(cursor, Arc::clone(&fields), fetch.rows, stop);
                let mut response = QueryResponse::new(fields, rows);
                response.set_command_tag("FETCH");
                Ok(Answer::Rows(response))
            }
            Kind::Move(fetch) => {
                let cursor = conversation.cursors.get(&fetch.name)?;
                let rows = cursors::skip(&cursor, fetch.rows, &mut stop).await?;
                Ok(Answer::Done(Tag::new("MOVE").with_rows(rows)))
            }
            Kind::Close(name) => {
                match name {
                    Some(name) => conversation.cursors.close(name)?,
                    None => conversation.cursors.close_all(),
                }
                done("CLOSE CURSOR")
            }
            Kind::Begin => {
                client.set_transaction_status(TransactionStatus::Transaction);
                done("BEGIN")
            }
            Kind::Commit | Kind::Rollback => {
                client.set_transaction_status(TransactionStatus::Idle);
                client.portal_store().clear_portals();
                let is_kept = prepared.kind == Kind::Commit && status != TransactionStatus::Error;
                conversation.cursors.end_transaction(is_kept);
                done(if is_kept { "COMMIT" } else { "ROLLBACK" })
            }
            Kind::RollbackTo => {
                if status == TransactionStatus::Error {
                    client.set_transaction_status(TransactionStatus::Transaction);
                }
                done("ROLLBACK")
            }
            Kind::Set(text) => {
                set(client.metadata_mut(), &text::bind(text, literals))?;
                done("SET")
            }
            Kind::Show(name) => {
                let value = show(client.metadata(), name);
                shown(name, value.ok_or_else(|| refuse("42704", format!("there is no setting {name}")))?)
            }
            Kind::Forget(name) => {
                forget(client.metadata_mut(), name)?;
                done("RESET")
            }
            Kind::Reset => {
                reset(client.metadata_mut());
                done("RESET")
            }
            Kind::Discard => {
                reset(client.metadata_mut());
                conversation.cursors.close_all();
                self.forget_statements(client);
                done("DISCARD ALL")
            }
            Kind::Deallocate(Some(name)) => {
                if client.portal_store().get_statement(name).is_none() {
                    return Err(refuse("26000", format!("there is no prepared statement {name}")));
                }
                client.portal_store().rm_statement(name);
                conversation.remove_statement(name);
                done("DEALLOCATE")
            }
            Kind::Deallocate(None) => {
                self.forget_statements(client);
                done("DEALLOCATE ALL")
            }
            Kind::Nothing(name) => done(name),
        }
    }

    fn forget_statements<C>(&self, client: &C)
    where
        C: ClientInfo + ClientPortalStore,
        C::PortalStore: PortalStore,
    {
        for name in Conversation::of(client, &self.cancels).take_statements() {
            client.portal_store().rm_statement(&name);
        }
    }

    /// The columns that a query gives, its parameters being `literals`.
    pub(super) async fn describe(
        &self,
        conversation: &Conversation,
        stop: &mut Stop,
        prepared: &Prepared,
        literals: &[String],
        format: &Format,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let (sql, is_catalogue) = bound(prepared, literals)?;
        let planned = stop.unless(self.plan_typed(is_catalogue, sql.clone())).await?;
        let fields = types::fields(&planned.1, format);
        prepared.tell(&fields);
        conversation.hold(sql, planned);
        Ok(fields)
    }

    /// The types that the query engine finds for a statement's parameters.
    pub(super) async fn infer(&self, stop: &mut Stop, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        let Some(query) = &prepared.query else { return Ok(Vec::new()) };
        let planned = stop.unless(self.plan(query.is_catalogue, query.text.to_string())).await;
        // Where it cannot plan with parameters, they are text; what is wrong beyond that shows with their values.
        let found = match planned {
            Ok(plan) => plan.get_parameter_types().unwrap_or_default(),
            Err(error) if is_stop(&error) => return Err(error),
            Err(_) => HashMap::new(),
        };
        let (limits, casts) = (text::limits(&query.text), text::casts(&query.text));
        let arrays = text::arrays(&query.text);
        let found = (1..=prepared.parameters).map(|number| {
            let cast = casts.get(&number).and_then(|name| parameters::named(name));
            match (cast, found.get(&format!("${number}"))) {
                (Some(ty), _) => ty,
                _ if arrays.contains(&number) => Type::TEXT_ARRAY,
                (None, Some(Some(ty))) => parameters::inferred(ty),
                _ if limits.contains(&number) => Type::INT8,
                _ => Type::UNKNOWN,
            }
        });
        Ok(found.collect())
    }

    /// What ends the work for a message.
    pub(super) fn stop(&self, conversation: &Conversation, client: &impl ClientInfo) -> Stop {
        let wanted = timeout(client.metadata());
        let timeout = self.bounds.timeout.into_iter().chain(wanted).min();
        conversation.cancellable.stop(&self.ending, timeout, &self.engine)
    }

    fn plan(
        &self,
        is_catalogue: bool,
        sql: String,
    ) -> impl Future<Output = PgWireResult<LogicalPlan>> + Send + 'static {
        let (session, catalogue) = (Arc::clone(&self.session), Arc::clone(&self.catalogue));
        async move {
            if is_catalogue {
                return catalogue.plan(&sql).await.map_err(engine);
            }
            session.find_sources(&["main", "public"]).await.map_err(ours)?;
            session.plan(&sql).await.map_err(engine)
        }
    }

    /// The same with the columns of the rows.
    fn plan_typed(
        &self,
        is_catalogue: bool,
        sql: String,
    ) -> impl Future<Output = PgWireResult<Planned>> + Send + 'static {
        let (session, catalogue) = (Arc::clone(&self.session), Arc::clone(&self.catalogue));
        let plan = self.plan(is_catalogue, sql);
        async move {
            let plan = plan.await?;
            let schema = if is_catalogue { catalogue.columns(&plan) } else { session.columns(&plan) };
            Ok((plan, schema.map_err(engine)?))
        }
    }

    /// Begins a query, if `check` has nothing against its columns.
    async fn begin(
        &self,
        conversation: &Conversation,
        prepared: &Prepared,
        literals: &[String],
        stop: &mut Stop,
        check: impl FnOnce(&Schema) -> PgWireResult<()>,
    ) -> PgWireResult<Begun> {
        let (sql, is_catalogue) = bound(prepared, literals)?;
        let (plan, schema) = match conversation.take(&sql) {
            Some(planned) => planned,
            None => stop.unless(self.plan_typed(is_catalogue, sql)).await?,
        };
        check(&schema)?;
        let (session, catalogue) = (Arc::clone(&self.session), Arc::clone(&self.catalogue));
        let begin = async move {
            let begun = if is_catalogue { catalogue.begin(plan).await } else { session.begin(plan).await };
            begun.map_err(engine)
        };
        let batches = stop.unless(begin).await?;
        Ok(match self.bounds.max_rows.filter(|_| !is_catalogue) {
            Some(most) => {
                let (batches, flag) = limit_rows(batches, most);
                Begun { schema, batches, cut: Some((most, flag)) }
            }
            None => Begun { schema, batches, cut: None },
        })
    }

    async fn rows(
        &self,
        conversation: &Conversation,
        prepared: &Prepared,
        literals: &[String],
        format: &Format,
        mut stop: Stop,
    ) -> PgWireResult<QueryResponse> {
        let check = |schema: &Schema| prepared.check(&types::fields(schema, format));
        let Begun { schema, batches, cut } = self.begin(conversation, prepared, literals, &mut stop, check).await?;
        conversation.note_cut(cut);
        let fields = Arc::new(types::fields(&schema, format));
        Ok(QueryResponse::new(Arc::clone(&fields), encoded(batches, fields, stop)))
    }
}

/// The query of a statement with its parameters, and whether it is one of the catalogue.
fn bound(prepared: &Prepared, literals: &[String]) -> PgWireResult<(String, bool)> {
    let query = prepared.query.as_ref().ok_or_else(|| refuse("XX000", "the statement has no query: this is a bug"))?;
    Ok((text::bind(&query.text, literals), query.is_catalogue))
}

/// The next batch of a result, and what is left of it.
pub(super) async fn next_batch(
    mut batches: SendableRecordBatchStream,
) -> PgWireResult<(Option<RecordBatch>, SendableRecordBatchStream)> {
    // A connection outlives a bug that one query runs into.
    let batch = AssertUnwindSafe(batches.next()).catch_unwind().await;
    let batch = batch.map_err(|_| refuse("XX000", "the query engine failed: this is a bug"))?;
    Ok((batch.transpose().map_err(engine)?, batches))
}

/// The rows of a result, until it or something else ends it.
fn encoded(
    batches: SendableRecordBatchStream,
    fields: Arc<Vec<FieldInfo>>,
    stop: Stop,
) -> impl Stream<Item = PgWireResult<DataRow>> + Send + 'static {
    let rows = stream::try_unfold((batches, stop), move |(batches, mut stop): (SendableRecordBatchStream, Stop)| {
        let fields = Arc::clone(&fields);
        async move {
            let (batch, batches) = stop.unless(next_batch(batches)).await?;
            let rows = batch.map(|batch| Rows::new(&batch, &fields)).transpose()?;
            PgWireResult::Ok(rows.map(|rows| (stream::iter(rows), (batches, stop))))
        }
    });
    rows.try_flatten()
}

/// The one column of SHOW.
pub(super) fn setting(name: &str) -> Vec<FieldInfo> {
    vec![FieldInfo::new(name.to_lowercase(), None, None, Type::TEXT, FieldFormat::Text)]
}

/// The one row of SHOW.
fn shown(name: &str, value: String) -> PgWireResult<Answer> {
    let fields = Arc::new(setting(name));
    let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
    encoder.encode_field(&Some(value))?;
    let row = encoder.take_row();
    let mut rows = QueryResponse::new(fields, stream::once(async move { Ok(row) }));
    rows.set_command_tag("SHOW");
    Ok(Answer::Rows(rows))
}
