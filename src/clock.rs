//! Time and identity, passed in: the one place that asks the machine for either.

use std::time::{SystemTime, UNIX_EPOCH};

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
