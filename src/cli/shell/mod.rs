//! Statements from people and from scripts.
//!
//! ```text
//! terminal --line editor (helper, complete, history)--> text --script--> statements and commands --run--> terminal, pager or file
//! ```

mod command;
mod complete;
mod file;
mod helper;
mod history;
mod pager;
mod run;
mod scan;
mod script;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Behavior, CompletionType, Config, Editor};
use tokio::task::block_in_place;

use self::command::{Command, HELP};
use self::helper::ShellHelper;
use self::run::{Question, Shown};
use self::script::{Piece, Script, What};
use super::is_broken_pipe;
use crate::clock::Stopwatch;
use crate::error::{Context as _, Error, ErrorKind, Result, describe};
use crate::query::{Bounds, Format, SqlSession};

pub(super) use self::run::bounded;

const PROMPT: &str = "siltstone> ";
const MAX_HISTORY: usize = 10_000;
/// How deep files may run files.
const MAX_DEPTH: usize = 16;
/// Lines of stdin that are read ahead.
const LINES_AHEAD: usize = 64;

/// A session that statements are given to, and what commands have set.
pub(super) struct Shell {
    session: Arc<SqlSession>,
    bounds: Bounds,
    format: Format,
    is_expanded: bool,
    is_timed: bool,
    is_paged: bool,
    is_interactive: bool,
    /// Where the next result goes and how, when not to stdout.
    file: Option<(PathBuf, Format)>,
    /// The file that all is for: one result.
    only_file: Option<PathBuf>,
    written: Written,
}

/// What went to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Nothing,
    Text,
    /// A file, behind which nothing can stand.
    Binary,
}

/// Whether there is more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Go,
    Quit,
}

impl Shell {
    pub(super) fn new(session: SqlSession, bounds: Bounds, format: Format, file: Option<PathBuf>) -> Self {
        Self {
            session: Arc::new(session),
            bounds,
            format,
            is_expanded: false,
            is_timed: false,
            is_paged: false,
            is_interactive: false,
            only_file: file.clone(),
            file: file.map(|file| (file, format)),
            written: Written::Nothing,
        }
    }

    /// Answers one statement.
    ///
    /// # Errors
    /// When it is wrong, fails or is given up.
    pub(super) async fn answer(&mut self, sql: String) -> Result<()> {
        self.ask(Question::Statement(sql)).await
    }

    /// Runs a script up to its end or its first error, which names the line.
    ///
    /// # Errors
    /// That of a statement; `Usage` when there is none.
    pub(super) async fn run_script(&mut self, text: &str, name: &Path) -> Result<()> {
        let pieces = Script::split(text);
        if pieces.is_empty() {
            return Err(Error::usage(format!("{}: No SQL is given", name.display())));
        }
        self.run_pieces(pieces, name, 0).await.map(drop)
    }

    /// Runs statements as they come on stdin, up to the end or the first error.
    ///
    /// # Errors
    /// That of a statement; `Usage` when there is none.
    pub(super) async fn run_stdin(&mut self) -> Result<()> {
        let (give, mut lines) = tokio::sync::mpsc::channel(LINES_AHEAD);
        // Not on a thread of the runtime: nothing ends a read.
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                if give.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        let mut script = Script::default();
        let mut is_empty = true;
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                Ok(()) = tokio::signal::ctrl_c() => return Err(Error::new(ErrorKind::Failed, "interrupted")),
            };
            let (pieces, is_end) = match line {
                Some(line) => (script.push(&(line.context(|| "cannot read stdin".to_owned())? + "\n")), false),
                None => (std::mem::take(&mut script).finish().into_iter().collect(), true),
            };
            is_empty &= pieces.is_empty();
            if self.run_pieces(pieces, Path::new("stdin"), 0).await? == Next::Quit {
                return Ok(());
            }
            if is_end {
                break;
            }
        }
        if is_empty { Err(Error::usage("No SQL is given: give a statement, a file with -f, or stdin")) } else { Ok(()) }
    }

    async fn run_pieces(&mut self, pieces: Vec<Piece>, name: &Path, depth: usize) -> Result<Next> {
        for Piece { what, line } in pieces {
            match self.obey(what, depth).await {
                Ok(Next::Go) => {}
                Ok(Next::Quit) => return Ok(Next::Quit),
                Err(error) if is_broken_pipe(&error) => return Err(error),
                Err(error) => {
                    let message = format!("{}:{line}: {}", name.display(), describe(&error));
                    return Err(Error::new(error.kind(), message));
                }
            }
        }
        Ok(Next::Go)
    }

    /// Talks with whoever is at the terminal.
    ///
    /// # Errors
    /// When the terminal cannot be used. What is wrong with a statement is told, and the next is waited for.
    pub(super) async fn talk(&mut self, with_history: bool) -> Result<()> {
        (self.is_interactive, self.is_paged) = (true, true);
        let describe_terminal = || "cannot use the terminal".to_owned();
        let config = Config::builder()
            .max_history_size(MAX_HISTORY)
            .context(describe_terminal)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            // What is redirected is data, and no place for a prompt.
            .behavior(if io::stdout().is_terminal() { Behavior::Stdio } else { Behavior::PreferTerm })
            .build();
        let history = FileHistory::with_config(&config);
        let mut editor: Editor<ShellHelper, FileHistory> =
            Editor::with_history(config, history).context(describe_terminal)?;
        editor.set_helper(Some(ShellHelper::new(&self.session)));
        let file = with_history.then(history::file).flatten();
        if let Some(file) = &file {
            // The first time there is none.
            let _ = editor.load_history(file);
        }
        tell(concat!("siltstone ", env!("CARGO_PKG_VERSION"), ": statements end with ; and \\? shows the commands."));
        loop {
            let text = match block_in_place(|| editor.readline(PROMPT)) {
                Ok(text) => text,
                Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => continue,
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(Error::failed(describe_terminal(), error)),
            };
            if !text.trim().is_empty() {
                let _ = editor.add_history_entry(text.trim_end());
                if let Some(file) = &file {
                    // A history that cannot be written is no reason to stop.
                    let _ = editor.append_history(file);
                }
            }
            for piece in Script::split(&text) {
                match self.obey(piece.what, 0).await {
                    Ok(Next::Go) => {}
                    Ok(Next::Quit) => return Ok(()),
                    Err(error) => {
                        // Behind the ^C that the terminal shows.
                        let line = if run::is_interruption(&error) { "\n" } else { "" };
                        tell(&format!("{line}siltstone: {}", describe(&error)));
                        break;
                    }
                }
            }
            if let Some(helper) = editor.helper() {
                helper.forget();
            }
        }
    }

    async fn obey(&mut self, what: What, depth: usize) -> Result<Next> {
        let line = match what {
            What::Statement(sql) => return self.ask(Question::Statement(sql)).await.map(|()| Next::Go),
            What::Command(line) => line,
        };
        match command::parse(&line).map_err(Error::usage)? {
            Command::Tables => self.ask(Question::Tables).await?,
            Command::Describe(name) => self.ask(Question::Columns(name)).await?,
            Command::Expanded(to) => {
                self.is_expanded = to.unwrap_or(!self.is_expanded);
                self.confirm("expanded display", self.is_expanded);
            }
            Command::Timing(to) => {
                self.is_timed = to.unwrap_or(!self.is_timed);
                self.confirm("timing", self.is_timed);
            }
            Command::Pager(to) => {
                self.is_paged = self.is_interactive && to.unwrap_or(!self.is_paged);
                self.confirm("pager", self.is_paged);
            }
            Command::Format(Some(format)) => self.format = format.into(),
            Command::Format(None) => tell(&format!("format is {:?}", self.format).to_lowercase()),
            Command::Output(file) => {
                self.file = file.map(|file| {
                    let format = Format::of_file(&file).unwrap_or(self.format);
                    (file, format)
                });
            }
            Command::Include(file) => {
                if depth == MAX_DEPTH {
                    return Err(Error::usage("files run files too deep"));
                }
                let text = read_script(&file)?;
                return Box::pin(self.run_pieces(Script::split(&text), &file, depth + 1)).await;
            }
            Command::Help => HELP.iter().for_each(|(name, what)| tell(&format!("{name:<22}{what}"))),
            Command::Quit => return Ok(Next::Quit),
        }
        Ok(Next::Go)
    }

    async fn ask(&mut self, question: Question) -> Result<()> {
        let began = Stopwatch::start();
        let is_statement = matches!(question, Question::Statement(_));
        if let Some(file) = self.file.take_if(|_| is_statement) {
            self.ask_into(question, file).await?;
        } else if let Some(file) = self.only_file.as_ref().filter(|_| is_statement) {
            let message = format!("{} takes the result of one statement; \\o FILE names one for each", file.display());
            return Err(Error::usage(message));
        } else {
            let format = match self.format {
                Format::Table if self.is_expanded && is_statement => Format::Expanded,
                format if format.is_binary() && !is_statement => Format::Table,
                format => format,
            };
            let is_spoiled = match self.written {
                Written::Nothing => false,
                Written::Text => format.is_binary(),
                Written::Binary => true,
            };
            if is_spoiled && !io::stdout().is_terminal() {
                return Err(Error::usage("in this format, stdout takes the result of one statement and nothing else"));
            }
            let with_count = self.is_interactive && format.is_for_people();
            let shown = Shown { format, with_count, paged: self.is_paged };
            run::to_stdout(&self.session, question, shown, self.bounds).await?;
            self.written = if format.is_binary() { Written::Binary } else { Written::Text };
        }
        if self.is_timed {
            tell(&format!("time: {:.3} ms", began.seconds() * 1e3));
        }
        Ok(())
    }

    async fn ask_into(&mut self, question: Question, (file, format): (PathBuf, Format)) -> Result<()> {
        match run::to_file(&self.session, question, &file, format, self.bounds).await {
            Ok(rows) => {
                if self.is_interactive {
                    tell(&format!("{}: {rows} row{}", file.display(), if rows == 1 { "" } else { "s" }));
                }
                Ok(())
            }
            Err(error) => {
                // The next statement may do better.
                self.file = Some((file, format));
                Err(error)
            }
        }
    }

    fn confirm(&self, what: &str, is_on: bool) {
        if self.is_interactive {
            tell(&format!("{what} is {}", if is_on { "on" } else { "off" }));
        }
    }
}

/// The text of a file with statements.
///
/// # Errors
/// `Usage` when it cannot be read.
pub(super) fn read_script(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Error::usage(format!("cannot read {}: {error}", path.display())))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Says something that is no data.
fn tell(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}
