//! Threads for work that is handed over.

use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that does `work` with `value`. What it gives is `Some`.
///
/// # Errors
/// Gives the value back when the kernel gives no thread: the caller can do the work.
pub(crate) fn hand_over<T: Send + 'static, R: Send + 'static>(
    name: &str,
    value: T,
    work: impl FnOnce(T) -> R + Send + 'static,
) -> Result<JoinHandle<Option<R>>, T> {
    let (hand, handed) = sync_channel(1);
    match Builder::new().name(name.to_owned()).spawn(move || handed.recv().ok().map(work)) {
        Ok(thread) => match hand.send(value) {
            Ok(()) => Ok(thread),
            Err(unsent) => Err(unsent.0),
        },
        Err(_) => Err(value),
    }
}
