//! Time and identity, passed in: the one place that asks the machine for either.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Gives the time and ids that no one else uses.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Microseconds since 1970-01-01T00:00:00Z.
    fn now_micros(&self) -> i64;

    /// 128 bits as text, never given twice; later ones sort later.
    fn new_id(&self) -> String;

    /// Bits that no other process is likely to draw.
    fn random_bits(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_micros(&self) -> i64 {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
    }

    fn new_id(&self) -> String {
        uuid::Uuid::now_v7().simple().to_string()
    }

    fn random_bits(&self) -> u64 {
        uuid::Uuid::now_v7().as_u64_pair().1
    }
}

/// Measures what a piece of work takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    begun: Instant,
    cpu_begun: f64,
}

impl Stopwatch {
    /// Begins.
    pub fn start() -> Self {
        Self { cpu_begun: cpu_seconds(), begun: Instant::now() }
    }

    /// Seconds since the begin.
    pub fn seconds(&self) -> f64 {
        whole_micros(self.begun.elapsed().as_secs_f64())
    }

    /// Seconds that this process had of all cores since the begin; 0 where the system does not tell.
    pub fn cpu_seconds(&self) -> f64 {
        whole_micros(cpu_seconds() - self.cpu_begun)
    }
}

/// Seconds without digits that no clock has: so that they are the same when they are read back from text.
fn whole_micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

#[cfg(unix)]
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(not(unix))]
fn cpu_seconds() -> f64 {
    0.0
}

/// Memory of this process, as Linux tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that are resident now.
    pub resident_bytes: u64,
    /// The most that were resident since [`forget_peak`] was called, or since the process began.
    pub peak_bytes: u64,
}

/// The memory of this process; `None` where the system does not tell.
pub fn memory() -> Option<Memory> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let figure = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    Some(Memory { resident_bytes: figure("VmRSS:")?, peak_bytes: figure("VmHWM:")? })
}

/// Begins anew to note the most memory of this process, where the system can.
pub fn forget_peak() {
    // What a system does not know has no such file.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
