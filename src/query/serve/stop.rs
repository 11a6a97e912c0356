//! What ends a query before its end: the client asks for it, its time is over, or the server ends.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pgwire::api::ClientInfo;
use pgwire::api::cancel::CancelHandler;
use pgwire::error::PgWireError;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::SecretKey;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Sleep;

use super::errors::{end, refuse};

/// The connections whose queries can be cancelled, by their number.
#[derive(Debug, Default)]
pub(super) struct Cancels(Mutex<HashMap<i32, (SecretKey, watch::Sender<()>)>>);

impl Cancels {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i32, (SecretKey, watch::Sender<()>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CancelHandler for Cancels {
    async fn on_cancel_request(&self, request: CancelRequest) {
        if let Some((key, cancel)) = self.lock().get(&request.pid)
            && key.eq_value(&request.secret_key)
        {
            cancel.send_replace(());
        }
    }
}

/// A connection, as long as it lasts.
#[derive(Debug)]
pub(super) struct Cancellable {
    cancels: Arc<Cancels>,
    pid: i32,
    cancel: watch::Sender<()>,
}

impl Cancellable {
    pub(super) fn new(cancels: &Arc<Cancels>, client: &impl ClientInfo) -> Self {
        let (pid, key) = client.pid_and_secret_key();
        let cancel = watch::Sender::new(());
        cancels.lock().insert(pid, (key, cancel.clone()));
        Self { cancels: Arc::clone(cancels), pid, cancel }
    }

    /// What ends the query that begins now.
    pub(super) fn stop(&self, ending: &watch::Receiver<bool>, timeout: Option<Duration>, engine: &Handle) -> Stop {
        Stop {
            engine: engine.clone(),
            cancelled: self.cancel.subscribe(),
            ending: ending.clone(),
            timeout: timeout.map(|timeout| (timeout, Box::pin(tokio::time::sleep(timeout)))),
        }
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.cancels.lock().remove(&self.pid);
    }
}

/// Whether an error is of those that [`Stop::wait`] gives.
pub(super) fn is_stop(error: &PgWireError) -> bool {
    matches!(error, PgWireError::UserError(error) if error.code.starts_with("57"))
}

/// Waits for what ends one query.
#[derive(Debug)]
pub(super) struct Stop {
    /// Where queries do their work: what computes for long there keeps no connection from being answered.
    engine: Handle,
    cancelled: watch::Receiver<()>,
    ending: watch::Receiver<bool>,
    timeout: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Stop {
    /// Returns when the query is to end.
    pub(super) async fn wait(&mut self) -> PgWireError {
        // The value that is waited for is a lock, and must not be held.
        let ending = async {
            if self.ending.wait_for(|ending| *ending).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let over = async {
            match &mut self.timeout {
                Some((timeout, sleep)) => {
                    sleep.as_mut().await;
                    *timeout
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = self.cancelled.changed() => refuse("57014", "the query was cancelled, as the client asked"),
            () = ending => end("57P01", "the server is ending"),
            timeout = over => refuse("57014", format!("the query was given up after {} s", timeout.as_secs_f64())),
        }
    }

    /// What `work` gives, unless the query is to end before. It runs among the other queries, for it may block.
    pub(super) async fn unless<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = Result<T, PgWireError>> + Send + 'static,
    ) -> Result<T, PgWireError> {
        // Dropped, it ends its task.
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, &self.engine);
        tokio::select! {
            biased;
            why = self.wait() => Err(why),
            done = tasks.join_next() => match done {
                Some(Ok(done)) => done,
                _ => Err(refuse("XX000", "the query failed: its task ended")),
            },
        }
    }
}
