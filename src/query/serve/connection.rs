//! Connections: taken one by one, ended when the client is gone or the server ends.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pgwire::tokio::TlsAcceptor;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::auth::{Secret, Startup};
use super::catalogue::Catalogue;
use super::handler::Handler;
use super::stop::Cancels;
use super::wire::converse;
use crate::error::Result;
use crate::query::{Bounds, SqlSession};

/// How many connections there may be besides, that only cancel a query or are told that there is no room.
const BESIDES: usize = 32;
/// How often a connection is looked at whose query runs.
const LOOK: Duration = Duration::from_millis(200);
/// After how long without a word a client is asked whether it is there.
const IDLE: Duration = Duration::from_secs(60);
/// How long clients are given to read that the server ends.
const FAREWELL: Duration = Duration::from_millis(500);

/// Who is let in, and how.
#[derive(Default)]
pub struct Door {
    /// The password; without one, anyone is let in.
    pub secret: Option<Secret>,
    /// TLS, for clients that ask for it.
    pub tls: Option<TlsAcceptor>,
    /// Connections at a time.
    pub max_connections: usize,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("max_connections", &self.max_connections).finish_non_exhaustive()
    }
}

/// Answers the clients that connect to `listener`, until `end` is there. Queries that run then are ended. They do their work on
/// `engine`: a query that computes for long keeps nobody from being answered, and can be given up.
///
/// # Errors
/// When the catalogue cannot be set up.
pub async fn serve(
    session: SqlSession,
    listener: TcpListener,
    door: Door,
    bounds: Bounds,
    engine: Handle,
    end: impl Future<Output = ()>,
) -> Result<()> {
    let session = Arc::new(session);
    let (ends, ending) = watch::channel(false);
    let catalogue = Arc::new(Catalogue::new(Arc::clone(&session))?);
    let cancels = Arc::new(Cancels::default());
    let handler = Arc::new(Handler { session, catalogue, bounds, cancels, engine, ending });
    let room = Arc::new(Semaphore::new(door.max_connections));
    let besides = Arc::new(Semaphore::new(BESIDES));
    let mut connections = JoinSet::new();
    let mut end = std::pin::pin!(end);
    loop {
        let accepted = tokio::select! {
            () = &mut end => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot take a connection: {error}");
                tokio::time::sleep(LOOK).await;
                continue;
            }
        };
        // A client that is gone without a word is missed in the end.
        let alive = SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE));
        if let Err(error) = alive {
            tracing::info!("{peer}: {error}");
        }
        let (startup, permit) = match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => (Startup::new(door.secret.as_ref()), permit),
            Err(_) => match Arc::clone(&besides).try_acquire_owned() {
                Ok(permit) => (Startup::Full, permit),
                Err(_) => continue,
            },
        };
        let (handler, tls) = (Arc::clone(&handler), door.tls.clone());
        connections.spawn(async move {
            let _permit = permit;
            tracing::info!("{peer} connected");
            attend(socket, peer, tls, startup, handler).await;
            tracing::info!("{peer} is gone");
        });
    }
    drop(listener);
    ends.send_replace(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Answers one client, as long as it is there.
async fn attend(
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    startup: Startup,
    handler: Arc<Handler>,
) {
    let log = |error: &dyn Display| tracing::info!("{peer}: {error}");
    let (socket, seen) = match twice(socket) {
        Ok(sockets) => sockets,
        Err(error) => return log(&error),
    };
    let mut ending = handler.ending.clone();
    let ended = async {
        let _ = ending.wait_for(|ending| *ending).await;
        tokio::time::sleep(FAREWELL).await;
    };
    // What is dropped here ends: the query, and the work for it.
    tokio::select! {
        done = converse(socket, tls, Arc::new(startup), handler) => {
            if let Err(error) = done {
                log(&error);
            }
        }
        () = gone(&seen) => log(&"the client went while it was served"),
        () = ended => {}
    }
}

/// The same socket, once to talk and once to see whether the other side is still there.
fn twice(socket: TcpStream) -> io::Result<(TcpStream, TcpStream)> {
    let socket = socket.into_std()?;
    let seen = socket.try_clone()?;
    Ok((TcpStream::from_std(socket)?, TcpStream::from_std(seen)?))
}

/// Returns when the client has closed its side. Nothing reads from a socket while a query runs, so nothing else would tell.
async fn gone(socket: &TcpStream) {
    loop {
        match socket.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => tokio::time::sleep(LOOK).await,
            // What the client sent before it went is still answered, when that takes no time.
            _ => return tokio::time::sleep(LOOK).await,
        }
    }
}
