//! Threads under a limit of address space (`ulimit -v`). The I/O runtime begins threads as it needs them, and waits for ever
//! where the kernel gives it none; so those that it will need are taken at the start, or the command is refused.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::error::{Error, ErrorKind, Result};

/// So many are taken. Each has address space for its stack: two megabytes, or more where it carries out statements.
const THREADS: usize = 16;
/// How long one may take to begin.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the runtime keeps them, unused.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Has the runtime begin the threads that it will need, where their number may be limited.
///
/// # Errors
/// When the kernel does not give them.
pub(super) fn take(runtime: &Runtime) -> Result<()> {
    if !is_address_space_limited() {
        return Ok(());
    }
    let gate = Arc::new(Mutex::new(()));
    let (tell, told) = channel();
    let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..THREADS {
        let (gate, tell) = (Arc::clone(&gate), tell.clone());
        runtime.spawn_blocking(move || {
            let _ = tell.send(());
            drop(gate.lock());
        });
    }
    let begun = (0..THREADS).take_while(|_| told.recv_timeout(PATIENCE).is_ok()).count();
    drop(closed);
    if begun == THREADS {
        return Ok(());
    }
    let message =
        format!("only {begun} of {THREADS} threads can be begun: the limit of address space (ulimit -v) is too low");
    Err(Error::new(ErrorKind::Failed, message))
}

/// Whether the kernel says so; it does on Linux.
fn is_address_space_limited() -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space"));
    limit.is_some_and(|limit| limit.split_whitespace().next() != Some("unlimited"))
}
