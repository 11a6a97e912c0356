//! What the line editor asks while people type.

use std::collections::HashMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use tokio::runtime::Handle;

use super::command;
use super::complete::{Names, complete};
use super::script::Script;
use crate::cli::sql::ResultFormat;
use crate::query::SqlSession;

/// So long may who types wait for columns. What comes later is there the next time.
const PATIENCE: Duration = Duration::from_millis(300);
/// More than this nobody looks through.
const MAX_CANDIDATES: usize = 500;

/// Completes names of a session, and tells whether a statement is whole.
pub(super) struct ShellHelper {
    names: SessionNames,
    files: FilenameCompleter,
}

impl ShellHelper {
    pub(super) fn new(session: &Arc<SqlSession>) -> Self {
        let names = SessionNames {
            session: Arc::clone(session),
            runtime: Handle::current(),
            tables: session.tables(),
            functions: session.functions(),
            columns: Arc::default(),
        };
        Self { names, files: FilenameCompleter::new() }
    }

    /// Looks tables up again, as what they are may have changed.
    pub(super) fn forget(&self) {
        lock(&self.names.columns).clear();
    }
}

impl Helper for ShellHelper {}
impl Highlighter for ShellHelper {}

impl Hinter for ShellHelper {
    type Hint = String;
}

impl Validator for ShellHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if Script::is_whole(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for ShellHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..at];
        let (start, mut found) = match typed.split_once(char::is_whitespace) {
            Some(("\\i" | "\\o", _)) => return self.files.complete_path(line, at),
            Some(("\\d", name)) => {
                // As if it were the name of a table.
                let text = format!("from {name}");
                let (start, found) = complete(&text, text.len(), &self.names);
                (at - (text.len() - start), found)
            }
            Some(("\\format", name)) if !name.contains(' ') => {
                let formats = <ResultFormat as clap::ValueEnum>::value_variants().iter();
                let formats = formats.filter_map(clap::ValueEnum::to_possible_value);
                (at - name.len(), begins(name, formats.map(|format| format.get_name().to_owned())))
            }
            Some(("\\x" | "\\timing", value)) => (at - value.len(), begins(value, ["on", "off"].map(str::to_owned))),
            Some(("\\pset", rest)) => (at - rest.len(), begins(rest, ["pager on", "pager off"].map(str::to_owned))),
            None if typed.starts_with('\\') => (0, begins(typed, command::NAMES.map(str::to_owned))),
            _ => complete(line, at, &self.names),
        };
        found.truncate(MAX_CANDIDATES);
        Ok((start, found.into_iter().map(|name| Pair { display: name.clone(), replacement: name }).collect()))
    }
}

fn begins(typed: &str, names: impl IntoIterator<Item = String>) -> Vec<String> {
    names.into_iter().filter(|name| name.starts_with(typed)).collect()
}

type Columns = Arc<Mutex<HashMap<(&'static str, String), Option<SchemaRef>>>>;

struct SessionNames {
    session: Arc<SqlSession>,
    runtime: Handle,
    tables: Vec<(&'static str, String)>,
    functions: Vec<String>,
    /// What was looked up since the last statement; `None` while it is.
    columns: Columns,
}

impl Names for SessionNames {
    fn tables(&self) -> &[(&'static str, String)] {
        &self.tables
    }

    fn functions(&self) -> &[String] {
        &self.functions
    }

    fn columns(&self, schema: &'static str, table: &str) -> Option<SchemaRef> {
        let key = (schema, table.to_owned());
        if let Some(known) = lock(&self.columns).get(&key) {
            return known.clone();
        }
        lock(&self.columns).insert(key.clone(), None);
        let (session, columns) = (Arc::clone(&self.session), Arc::clone(&self.columns));
        let (tell, told) = sync_channel(1);
        self.runtime.spawn(async move {
            let found = session.known_columns(key.0, &key.1).await;
            lock(&columns).insert(key, found.clone());
            let _ = tell.try_send(found);
        });
        told.recv_timeout(PATIENCE).ok().flatten()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
