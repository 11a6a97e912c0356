//! The messages of one client, one after another.
//!
//! pgwire has a loop of its own for this. It goes on behind errors that end a connection, those of a login among them, and
//! takes messages of a gigabyte from anyone.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt as _;
use pgwire::api::{ClientInfo as _, NoopHandler, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::PgWireFrontendMessage;
use pgwire::messages::extendedquery::{Close, Parse, TARGET_TYPE_BYTE_STATEMENT};
use pgwire::tokio::TlsAcceptor;
use pgwire::tokio::server::{MaybeTls, PgWireMessageServerCodec, negotiate_tls, process_error, process_message};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::codec::{Framed, FramedParts};

use super::answer::Conversation;
use super::auth::Startup;
use super::handler::Handler;
use super::prepared::Prepared;

/// How long a client may take to say who it is.
const LOGIN: Duration = Duration::from_secs(60);
/// What a client may send before it is known, for each message.
const UNKNOWN_BYTES: usize = 64 << 10;
/// What it may send then: statements, and values for their parameters.
const KNOWN_BYTES: usize = 16 << 20;

type Client = Framed<Bounded, PgWireMessageServerCodec<Prepared>>;

/// Answers a client until it goes, or an error ends the connection.
///
/// # Errors
/// When the connection fails, or the client sends what is no message, or too long a one.
pub(super) async fn converse(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    startup: Arc<Startup>,
    handler: Arc<Handler>,
) -> io::Result<()> {
    let mut late = pin!(sleep(LOGIN));
    let negotiated = tokio::select! {
        () = &mut late => return Ok(()),
        negotiated = negotiate_tls(socket, tls) => negotiated?,
    };
    let Some(client) = negotiated else { return Ok(()) };
    if client.is_secure() && !client.read_buffer().is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes came before the encryption that was asked for"));
    }
    let mut client = bounded(client);
    loop {
        let is_known = !matches!(
            client.state(),
            PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AuthenticationInProgress
        );
        client.get_mut().room = if is_known { KNOWN_BYTES } else { UNKNOWN_BYTES };
        let message = tokio::select! {
            () = &mut late, if !is_known => return Ok(()),
            message = client.next() => message,
        };
        let message = match message {
            None | Some(Ok(PgWireFrontendMessage::Terminate(_))) => return Ok(()),
            Some(message) => message.map_err(io::Error::from)?,
        };
        let until_sync = message.is_extended_query();
        // Behind an error, messages up to the next Sync are dropped.
        let change =
            if matches!(client.state(), PgWireConnectionState::AwaitingSync) { None } else { Change::of(&message) };
        let (simple, extended) = (Arc::clone(&handler), Arc::clone(&handler));
        let (copy, cancel) = (Arc::new(NoopHandler), Arc::clone(&handler.cancels));
        let done = process_message(message, &mut client, Arc::clone(&startup), simple, extended, copy, cancel).await;
        if let Some(change) = change.filter(|_| done.is_ok()) {
            change.note(&Conversation::of(&client, &handler.cancels));
        }
        if let Err(error) = done {
            let error = ErrorInfo::from(error);
            let is_end = !is_known || error.is_fatal();
            // At an end, nothing says that the next statement is awaited.
            process_error(&mut client, PgWireError::UserError(Box::new(error)), until_sync || is_end).await?;
            if is_end {
                return Ok(());
            }
        }
    }
}

/// What a message does to the statements that are prepared.
enum Change {
    Prepared(String),
    Closed(String),
}

impl Change {
    fn of(message: &PgWireFrontendMessage) -> Option<Self> {
        match message {
            PgWireFrontendMessage::Parse(Parse { name: Some(name), .. }) => Some(Self::Prepared(name.clone())),
            PgWireFrontendMessage::Close(Close {
                target_type: TARGET_TYPE_BYTE_STATEMENT, name: Some(name), ..
            }) => Some(Self::Closed(name.clone())),
            _ => None,
        }
    }

    fn note(self, conversation: &Conversation) {
        match self {
            Self::Prepared(name) => conversation.add_statement(name),
            Self::Closed(name) => conversation.remove_statement(&name),
        }
    }
}

/// The same connection, bounded in what it reads.
fn bounded(client: Framed<MaybeTls, PgWireMessageServerCodec<Prepared>>) -> Client {
    let parts = client.into_parts();
    let mut bounded = FramedParts::new(Bounded { socket: parts.io, room: UNKNOWN_BYTES }, parts.codec);
    bounded.read_buf = parts.read_buf;
    bounded.write_buf = parts.write_buf;
    Framed::from_parts(bounded)
}

/// A socket from which so many more bytes are read.
struct Bounded {
    socket: MaybeTls,
    room: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.room == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the client sent too long a message")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.socket).poll_read(context, buf);
        this.room = this.room.saturating_sub(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
