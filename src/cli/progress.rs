//! Progress bars on stderr, on a terminal only.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::compact::Progress;

/// One bar for the source at work.
#[derive(Debug)]
pub(super) struct Bars {
    shown: bool,
    current: Mutex<Option<(ProgressBar, Arc<AtomicBool>)>>,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal(), current: Mutex::new(None) }
    }
}

impl Progress for Bars {
    fn source_begins(&self, source_id: &str, objects: u64, stored_bytes: u64, bytes_read: Arc<AtomicU64>) {
        if !self.shown {
            return;
        }
        let bar = ProgressBar::new(stored_bytes);
        let template = "{prefix} [{bar:30}] {bytes} of {total_bytes} stored, {binary_bytes_per_sec}, {elapsed} {msg}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(source_id.to_owned());
        bar.set_message(format!("({objects} objects)"));
        let ended = Arc::new(AtomicBool::new(false));
        let (shown, stop) = (bar.clone(), Arc::clone(&ended));
        // Compressed objects are larger inside than the total says: the bar then waits at its end.
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                shown.set_position(bytes_read.load(Ordering::Relaxed).min(stored_bytes));
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((bar, ended));
    }

    fn source_ends(&self, _source_id: &str) {
        if let Some((bar, ended)) = self.current.lock().unwrap_or_else(PoisonError::into_inner).take() {
            ended.store(true, Ordering::Relaxed);
            bar.finish_and_clear();
        }
    }
}
