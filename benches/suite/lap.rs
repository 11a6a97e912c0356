//! How long one piece of work took.

use std::time::{Duration, Instant};

/// The time that something took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lap {
    pub(crate) wall: Duration,
    /// Time on cores, of all threads together, in steps of 10 ms; where the system tells it.
    pub(crate) cpu: Option<Duration>,
}

impl Lap {
    /// Times `work`.
    pub(crate) fn of(work: impl FnOnce()) -> Self {
        let (cpu, began) = (cpu_time(), Instant::now());
        work();
        let wall = began.elapsed();
        Self { wall, cpu: cpu_time().zip(cpu).map(|(after, before)| after.saturating_sub(before)) }
    }
}

/// What this process has used so far: user and system time as Linux tells them (proc_pid_stat(5), fields 14 and 15, in
/// hundredths of a second).
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name of the program in parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_millis(10 * (user + system)))
}
