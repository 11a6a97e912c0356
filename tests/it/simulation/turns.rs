//! Who makes the next call: one writer at a time goes on, from one call that writes or lists to its next, drawn by a seed.

use std::sync::{Arc, Condvar, Mutex};

use siltstone::store::faults::{Call, Fault, Op, Schedule, Seeded};

use crate::support::Numbers;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Computes, or has made its call.
    Goes,
    Waits,
    Ended,
}

/// The writers of one step.
#[derive(Debug)]
pub(super) struct Turns {
    writers: Mutex<(Vec<State>, Numbers)>,
    changed: Condvar,
}

impl Turns {
    pub(super) fn new(writers: usize, seed: u64) -> Arc<Self> {
        let states = (vec![State::Goes; writers], Numbers(seed));
        Arc::new(Self { writers: Mutex::new(states), changed: Condvar::new() })
    }

    /// Blocks until it is the turn of writer `me`.
    pub(super) fn wait(&self, me: usize) {
        let mut writers = self.leave(me, State::Waits);
        while writers.0[me] == State::Waits {
            writers = self.changed.wait(writers).unwrap();
        }
    }

    /// Writer `me` makes no more calls.
    pub(super) fn end(&self, me: usize) {
        drop(self.leave(me, State::Ended));
    }

    fn leave(&self, me: usize, state: State) -> std::sync::MutexGuard<'_, (Vec<State>, Numbers)> {
        let mut writers = self.writers.lock().unwrap();
        writers.0[me] = state;
        if !writers.0.contains(&State::Goes) {
            let waiting: Vec<usize> = (0..writers.0.len()).filter(|n| writers.0[*n] == State::Waits).collect();
            if !waiting.is_empty() {
                let next = waiting[writers.1.below(waiting.len() as u64) as usize];
                writers.0[next] = State::Goes;
                self.changed.notify_all();
            }
        }
        writers
    }
}

/// The faults of one writer, which waits for its turns.
#[derive(Debug)]
pub(super) struct InTurn {
    pub(super) turns: Arc<Turns>,
    pub(super) me: usize,
    pub(super) faults: Seeded,
}

impl Schedule for InTurn {
    fn fault(&self, call: Call<'_>) -> Fault {
        if call.op.writes() || call.op == Op::List {
            self.turns.wait(self.me);
        }
        self.faults.fault(call)
    }
}

/// Ends the turns of a writer, also when it panics.
pub(super) struct Ends<'a>(pub(super) &'a Turns, pub(super) usize);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}
