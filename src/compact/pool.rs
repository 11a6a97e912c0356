//! Tasks that block, on threads of their own.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::error::Result;

/// Does all tasks on `workers` threads and gives the results in the order of the tasks. After a failure no further task is
/// begun.
///
/// # Errors
/// The first, in the order of the tasks, of those that failed.
pub(crate) fn run_all<T: Send, R: Send>(
    tasks: Vec<T>,
    workers: usize,
    work: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let workers = workers.min(tasks.len());
    let queue = Mutex::new(tasks.into_iter().enumerate().collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((index, task)) = next else { return };
                    let result = work(task);
                    let failed = result.is_err();
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                    if failed {
                        queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
