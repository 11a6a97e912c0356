//! The two protocols of queries: a text at once, and statements that are prepared, bound and carried out.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Sink, SinkExt as _, StreamExt as _};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_describe_response, send_query_response, send_ready_for_query,
};
use pgwire::api::results::{
    DescribePortalResponse, DescribeResponse as _, DescribeStatementResponse, FieldInfo, QueryResponse, Response, Tag,
};
use pgwire::api::stmt::StoredStatement;
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyData, CopyDone, CopyOutResponse};
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Describe, Execute, PortalSuspended, Sync as SyncMessage, TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::answer::{Answer, Conversation, setting};
use super::catalogue::Catalogue;
use super::copy::CopyOut;
use super::errors::refuse;
use super::prepared::{Parser, Prepared};
use super::statement::Kind;
use super::stop::{Cancels, Stop};
use super::{parameters, text};
use crate::query::{Bounds, SqlSession};

/// Rows that are taken from a result before they are sent.
const ROWS: usize = 256;

/// Answers the queries of all connections.
pub(super) struct Handler {
    pub(super) session: Arc<SqlSession>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) bounds: Bounds,
    pub(super) cancels: Arc<Cancels>,
    /// The runtime that queries do their work on.
    pub(super) engine: Handle,
    /// Becomes true when the server ends.
    pub(super) ending: watch::Receiver<bool>,
}

impl Handler {
    /// Carries a statement out and sends what comes of it.
    async fn respond<C>(&self, client: &mut C, statement: &str) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let prepared = Prepared::new(statement)?;
        if prepared.parameters > 0 {
            return Err(refuse("42P02", "there is no parameter $1: a text takes none"));
        }
        match self.answer(client, &prepared, &[], &Format::UnifiedText).await? {
            Answer::Rows(rows) => {
                send_query_response(client, rows, true).await?;
                self.tell_of_cut(client).await
            }
            Answer::Copy(copy, rows) => self.send_copy(client, &copy, rows).await,
            Answer::Done(tag) => send_tag(client, tag).await,
        }
    }

    /// Sends rows as a copy.
    async fn send_copy<C>(&self, client: &mut C, copy: &CopyOut, mut rows: QueryResponse) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let columns: Vec<String> = rows.row_schema.iter().map(|field| field.name().to_owned()).collect();
        let count = i16::try_from(columns.len()).map_err(|_| refuse("54011", "a copy has 32,767 columns at most"))?;
        let begun = CopyOutResponse::new(copy.code(), count, vec![i16::from(copy.code()); columns.len()]);
        client.feed(PgWireBackendMessage::CopyOutResponse(begun)).await?;
        let mut writer = copy.writer(columns);
        let mut sent = 0;
        while let Some(row) = rows.data_rows().next().await {
            client.feed(PgWireBackendMessage::CopyData(CopyData::new(writer.row(&row?)))).await?;
            sent += 1;
        }
        let end = writer.end();
        if !end.is_empty() {
            client.feed(PgWireBackendMessage::CopyData(CopyData::new(end))).await?;
        }
        client.feed(PgWireBackendMessage::CopyDone(CopyDone::new())).await?;
        self.tell_of_cut(client).await?;
        send_tag(client, Tag::new("COPY").with_rows(sent)).await
    }

    /// Tells the client when its result was cut.
    async fn tell_of_cut<C>(&self, client: &mut C) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let notice = Conversation::of(client, &self.cancels).take_notice();
        if let Some(notice) = notice {
            client.feed(PgWireBackendMessage::NoticeResponse(notice.into())).await?;
        }
        Ok(())
    }

    /// The columns of a statement's rows, where it has any.
    async fn fields(
        &self,
        conversation: &Conversation,
        stop: &mut Stop,
        prepared: &Prepared,
        literals: &[String],
        format: &Format,
    ) -> PgWireResult<Option<Vec<FieldInfo>>> {
        match &prepared.kind {
            Kind::Query | Kind::Catalogue => {
                self.describe(conversation, stop, prepared, literals, format).await.map(Some)
            }
            Kind::Show(name) => Ok(Some(setting(name))),
            Kind::Fetch(fetch) => conversation.cursor_fields(&fetch.name, format).await.map(Some),
            _ => Ok(None),
        }
    }

    /// The literals that a portal was bound with.
    async fn literals(&self, stop: &mut Stop, portal: &Portal<Prepared>) -> PgWireResult<Vec<String>> {
        let prepared = &portal.statement.statement;
        if portal.parameter_len() != prepared.parameters {
            let (given, wanted) = (portal.parameter_len(), prepared.parameters);
            return Err(refuse("08P01", format!("{given} parameters are bound, and the statement has {wanted}")));
        }
        let types = self.types(stop, &portal.statement).await?;
        types.iter().enumerate().map(|(index, ty)| parameters::literal(portal, index, ty)).collect()
    }

    /// The types of a statement's parameters: those that the client gave, else those that the query engine finds.
    async fn types(&self, stop: &mut Stop, statement: &StoredStatement<Prepared>) -> PgWireResult<Vec<Type>> {
        let prepared = &statement.statement;
        let given = |index: usize| statement.parameter_types.get(index).cloned().flatten();
        let is_given = |index| given(index).is_some_and(|ty| ty != Type::UNKNOWN);
        let found = match (0..prepared.parameters).all(is_given) {
            true => &Vec::new(),
            false => prepared.types.get_or_try_init(|| self.infer(stop, prepared)).await?,
        };
        let types = (0..prepared.parameters).map(|index| match given(index).filter(|ty| *ty != Type::UNKNOWN) {
            Some(ty) => ty,
            None => found.get(index).cloned().unwrap_or(Type::UNKNOWN),
        });
        Ok(types.collect())
    }
}

async fn send_tag<C>(client: &mut C, tag: Tag) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    Ok(client.feed(PgWireBackendMessage::CommandComplete(CommandComplete::from(tag))).await?)
}

#[async_trait]
impl SimpleQueryHandler for Handler {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        client.set_state(PgWireConnectionState::QueryInProgress);
        let statements = text::statements(&query.query);
        if statements.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for statement in statements {
            self.respond(client, statement).await?;
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    /// Not called: texts are answered one statement after another, by `on_query`.
    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Ok(Vec::new())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Handler {
    type Statement = Prepared;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        Arc::new(Parser)
    }

    async fn on_sync<C>(&self, client: &mut C, _: SyncMessage) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        // Results end with the transaction that they are of.
        match status {
            TransactionStatus::Idle => client.portal_store().clear_portals(),
            _ => client.portal_store().rm_portal(DEFAULT_NAME),
        }
        send_ready_for_query(client, status).await
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                return Ok(client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?);
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        let is_new = matches!(*portal.state().lock().await, PortalExecutionState::Initial);
        if is_new {
            let conversation = Conversation::of(client, &self.cancels);
            let literals = self.literals(&mut self.stop(&conversation, client), &portal).await?;
            match self.answer(client, &portal.statement.statement, &literals, &portal.result_column_format).await? {
                Answer::Rows(rows) => portal.start(rows).await,
                Answer::Copy(copy, rows) => return self.send_copy(client, &copy, rows).await,
                Answer::Done(tag) => return send_tag(client, tag).await,
            }
        }
        // No more is taken from the result than is about to be sent.
        let most = match usize::try_from(message.max_rows) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(most) => most,
        };
        let mut sent = 0;
        loop {
            let fetched = portal.fetch(ROWS.min(most - sent)).await?;
            let mut rows = fetched.response;
            while let Some(row) = rows.data_rows().next().await {
                client.feed(PgWireBackendMessage::DataRow(row?)).await?;
                sent += 1;
            }
            if !fetched.suspended {
                self.tell_of_cut(client).await?;
                return send_tag(client, Tag::new(rows.command_tag()).with_rows(sent)).await;
            }
            if sent == most {
                return Ok(client.feed(PgWireBackendMessage::PortalSuspended(PortalSuspended::new())).await?);
            }
        }
    }

    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let conversation = Conversation::of(client, &self.cancels);
        // A cursor is a portal, too.
        match &message.name {
            Some(name) if message.target_type == TARGET_TYPE_BYTE_PORTAL && conversation.has_cursor(name) => {
                let fields = conversation.cursor_fields(name, &Format::UnifiedText).await?;
                send_describe_response(client, &DescribePortalResponse::new(fields)).await
            }
            _ => {
                let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
                let statement = match message.target_type {
                    TARGET_TYPE_BYTE_STATEMENT => client.portal_store().get_statement(name),
                    _ => None,
                };
                match statement {
                    Some(Entry::Value(statement)) if statement.statement.gives_no_rows() => {
                        let types = self.types(&mut self.stop(&conversation, client), &statement).await?;
                        let oid = |ty: &Type| if *ty == Type::UNKNOWN { Type::TEXT.oid() } else { ty.oid() };
                        let told = ParameterDescription::new(types.iter().map(oid).collect());
                        client.feed(PgWireBackendMessage::ParameterDescription(told)).await?;
                        Ok(client.feed(PgWireBackendMessage::NoData(NoData::new())).await?)
                    }
                    _ => self._on_describe(client, message).await,
                }
            }
        }
    }

    async fn do_describe_statement<C>(
        &self,
        client: &mut C,
        target: &StoredStatement<Prepared>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let conversation = Conversation::of(client, &self.cancels);
        let prepared = &target.statement;
        let mut stop = self.stop(&conversation, client);
        let types = self.types(&mut stop, target).await?;
        let nulls: Vec<String> = types.iter().map(parameters::null).collect();
        let told = types.into_iter().map(|ty| if ty == Type::UNKNOWN { Type::TEXT } else { ty }).collect();
        let fields = self.fields(&conversation, &mut stop, prepared, &nulls, &Format::UnifiedText).await?;
        Ok(DescribeStatementResponse::new(told, fields.unwrap_or_default()))
    }

    async fn do_describe_portal<C>(
        &self,
        client: &mut C,
        portal: &Portal<Prepared>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let conversation = Conversation::of(client, &self.cancels);
        let prepared = &portal.statement.statement;
        let mut stop = self.stop(&conversation, client);
        let literals = self.literals(&mut stop, portal).await?;
        let fields = self.fields(&conversation, &mut stop, prepared, &literals, &portal.result_column_format).await?;
        Ok(fields.map_or_else(DescribePortalResponse::no_data, DescribePortalResponse::new))
    }

    /// Not called: `on_execute` answers.
    async fn do_query<C>(&self, _: &mut C, _: &Portal<Prepared>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Ok(Response::EmptyQuery)
    }
}
