//! Long results by the pager: what fits on the screen is written there, what is longer goes to `$PAGER` as it comes.

use std::env;
use std::io::{self, Write};
use std::process::{ChildStdin, Command, Stdio};

use tokio::sync::oneshot;

/// What the pager is told when nothing else is said: chop long lines, show colours, go on with what fits, leave the screen.
const LESS_OPTIONS: &str = "SRFX";

/// Holds a screen of text, and gives it to the pager when there is more.
#[derive(Debug)]
pub(super) struct Paged {
    command: Option<String>,
    rows: usize,
    lines: usize,
    held: Vec<u8>,
    to: To,
    ended: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
enum To {
    Held,
    Screen,
    Pager(ChildStdin),
}

impl Paged {
    /// Output to a terminal with so many rows. The other end hears when a pager has ended, or else that there was none.
    pub(super) fn new(rows: usize) -> (Self, oneshot::Receiver<()>) {
        let (ended, heard) = oneshot::channel();
        // The prompt, the number of rows and the time want lines, too.
        let rows = rows.saturating_sub(4).max(1);
        let paged = Self { command: command(), rows, lines: 0, held: Vec::new(), to: To::Held, ended: Some(ended) };
        (paged, heard)
    }

    /// Writes what is held to where all the rest goes.
    fn begin(&mut self, is_long: bool) -> io::Result<()> {
        let command = self.command.take().filter(|_| is_long);
        let child = command.and_then(|command| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &command]).stdin(Stdio::piped());
            if env::var_os("LESS").is_none() {
                shell.env("LESS", LESS_OPTIONS);
            }
            shell.spawn().ok()
        });
        self.to = To::Screen;
        if let Some(mut child) = child {
            if let Some(pipe) = child.stdin.take() {
                self.to = To::Pager(pipe);
            }
            let ended = self.ended.take();
            std::thread::spawn(move || {
                let _ = child.wait();
                ended.map(|ended| ended.send(()))
            });
        }
        let held = std::mem::take(&mut self.held);
        self.write_all(&held)
    }
}

impl Write for Paged {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            To::Pager(pipe) => return pipe.write(text),
            To::Screen => return io::stdout().write(text),
            To::Held => {}
        }
        self.held.extend_from_slice(text);
        self.lines += memchr::memchr_iter(b'\n', text).count();
        if self.lines > self.rows {
            self.begin(true)?;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Held => Ok(()),
            To::Screen => io::stdout().flush(),
            To::Pager(pipe) => pipe.flush(),
        }
    }
}

impl Drop for Paged {
    /// Shows what was held, also of a query that failed or was given up.
    fn drop(&mut self) {
        if matches!(self.to, To::Held) {
            let _ = self.begin(false);
        }
        let _ = self.flush();
    }
}

/// The pager: `$PAGER`, which may be empty for none, or less where there is one.
fn command() -> Option<String> {
    if let Ok(pager) = env::var("PAGER") {
        return Some(pager).filter(|pager| !pager.trim().is_empty());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).any(|folder| folder.join("less").is_file()).then(|| format!("less -{LESS_OPTIONS}"))
}
