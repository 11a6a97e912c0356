//! A real terminal: a program in tmux, keys to it, and what is on the screen.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::support::Roots;

/// How long a screen may take to show something, on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(120);

/// Whether these programs are there; says which is missing.
pub(crate) fn there_are(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing =
        programs.iter().find(|program| !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if let Some(missing) = missing {
        eprintln!("skipped: {missing} is not installed");
    }
    missing.is_none()
}

/// A terminal of 120 columns and 30 rows, in which the binary runs. It ends when this is dropped.
pub(crate) struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Runs `siltstone` with these arguments and both roots. Environment: the user's state lies in the temporary folder.
    pub(crate) fn open(roots: &Roots, args: &[&str], environment: &[&str]) -> Self {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let terminal = Self { socket: roots.dir.path().join(format!("tmux-{number}")) };
        let quoted = |text: &str| format!("'{text}'");
        let mut words = vec!["env -u PAGER -u LESS -u XDG_STATE_HOME".to_owned()];
        words.push(quoted(&format!("HOME={}", roots.dir.path().display())));
        words.extend(environment.iter().map(|text| quoted(text)));
        words.push(quoted(env!("CARGO_BIN_EXE_siltstone")));
        words.extend(args.iter().map(|arg| quoted(arg)));
        for (name, root) in [("--raw", &roots.raw), ("--lake", &roots.lake)] {
            words.extend([name.to_owned(), quoted(root.to_str().unwrap())]);
        }
        let command = format!("{}; echo ended with $?; exec cat", words.join(" "));
        let folder = roots.dir.path().to_str().unwrap();
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "30", "-c", folder, &command]);
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types a text as it is.
    pub(crate) fn type_text(&self, text: &str) {
        // To tmux, a semicolon at the end is its own.
        let text = text.strip_suffix(';').map_or_else(|| text.to_owned(), |text| format!("{text}\\;"));
        self.tmux(&["send-keys", "-l", "--", &text]);
    }

    /// Presses a key, by its name in tmux: Enter, Tab, Up, C-c.
    pub(crate) fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Types a line and presses Enter.
    pub(crate) fn enter(&self, text: &str) {
        self.type_text(text);
        self.press("Enter");
    }

    /// What is on the screen, without what is scrolled away.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Empties the screen, at the prompt.
    pub(crate) fn clear(&self) {
        self.press("C-l");
        self.wait("an empty screen", |screen| screen.trim() == "siltstone>");
    }

    /// Waits until the screen has this text, and returns it.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Waits for a prompt with nothing behind it, at the end of the screen.
    #[track_caller]
    pub(crate) fn prompts(&self) -> String {
        self.wait("a prompt", |screen| screen.trim_end().ends_with("\nsiltstone>") || screen.trim_end() == "siltstone>")
    }

    /// Waits until the screen is as wanted, and returns it.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let screen = self.screen();
            if is_wanted(&screen) {
                return screen;
            }
            assert!(began.elapsed() < DEADLINE, "no {what} on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Its own server, which nothing else runs in.
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}
