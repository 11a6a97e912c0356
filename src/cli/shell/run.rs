//! One statement at a time: bounded by time and rows, given up by Ctrl-C, its result on the terminal or in a file.

use std::future::pending;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::FusedFuture as _;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::file::{ResultFile, binary_to_terminal};
use super::pager::Paged;
use crate::cli::is_broken_pipe;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::query::{Bounds, Format, SqlSession, limit_rows, write_results, write_texts};

/// How long a query that was given up may take to end. What blocks for longer ends behind the prompt.
const GRACE: Duration = Duration::from_secs(1);
/// The height of a terminal that does not tell it.
const DEFAULT_ROWS: usize = 24;

/// What is said of a query that Ctrl-C gave up.
const INTERRUPTED: &str = "the query was interrupted";

/// Whether Ctrl-C is why.
pub(super) fn is_interruption(error: &Error) -> bool {
    error.to_string() == INTERRUPTED
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    Statement(String),
    Tables,
    Columns(String),
}

/// How a result is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) format: Format,
    /// With the number of rows below.
    pub(super) with_count: bool,
    /// Long results on a terminal go to the pager.
    pub(super) paged: bool,
}

type Out = Box<dyn Write + Send>;

/// Does the work of a statement; an interrupt or the end of its time give it up.
///
/// # Errors
/// When it fails or is given up.
pub(in crate::cli) async fn bounded<T: Send + 'static>(
    timeout: Option<Duration>,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let done = bounded_while(timeout, work, pending()).await?;
    done.ok_or_else(|| Error::new(ErrorKind::Failed, "the query was given up"))
}

/// The same, as long as somebody reads the result: `None` when not.
async fn bounded_while<T: Send + 'static>(
    timeout: Option<Duration>,
    work: impl Future<Output = Result<T>> + Send + 'static,
    unread: impl Future<Output = ()>,
) -> Result<Option<T>> {
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    // From here on an interrupt is ours.
    let _ = futures::poll!(&mut interrupt);
    // A thread of its own: planning blocks it, and whoever reads the result slowly.
    let (give_up, given_up) = oneshot::channel::<()>();
    let runtime = Handle::current();
    let mut work: JoinHandle<Option<Result<T>>> = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                done = work => Some(done),
                _ = given_up => None,
            }
        })
    });
    let too_long = async {
        match timeout {
            Some(timeout) => {
                tokio::time::sleep(timeout).await;
                format!("the query was given up after {} s", timeout.as_secs())
            }
            None => pending().await,
        }
    };
    let message = tokio::select! {
        done = &mut work => {
            return done.map_err(|error| Error::failed("the query failed", error))?.transpose();
        }
        message = too_long => Some(message),
        Ok(()) = interrupt => Some(INTERRUPTED.to_owned()),
        () = terminated() => Some("the query was ended by SIGTERM".to_owned()),
        () = unread => None,
    };
    drop(give_up);
    let _ = tokio::time::timeout(GRACE, work).await;
    message.map_or(Ok(None), |message| Err(Error::new(ErrorKind::Failed, message)))
}

/// Waits for SIGTERM, which gives up a query as Ctrl-C does, so that its files are gone; soon after it, the process ends
/// whatever it does.
async fn terminated() {
    static ASKED: OnceLock<watch::Receiver<bool>> = OnceLock::new();
    let (ask, asked) = watch::channel(false);
    let mut asked = ASKED
        .get_or_init(|| {
            #[cfg(unix)]
            if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                tokio::spawn(async move {
                    terminate.recv().await;
                    let _ = ask.send(true);
                    tokio::time::sleep(2 * GRACE).await;
                    std::process::exit(143);
                });
            }
            asked
        })
        .clone();
    if asked.wait_for(|asked| *asked).await.is_err() {
        pending::<()>().await;
    }
}

/// Answers to stdout.
///
/// # Errors
/// When it fails or is given up; `Usage` for a terminal that cannot show the format.
pub(super) async fn to_stdout(
    session: &Arc<SqlSession>,
    question: Question,
    shown: Shown,
    bounds: Bounds,
) -> Result<()> {
    let is_terminal = io::stdout().is_terminal();
    if shown.format.is_binary() && is_terminal {
        return Err(binary_to_terminal());
    }
    if !(shown.paged && is_terminal) {
        let out = Box::new(BufWriter::new(io::stdout()));
        let work = answer(Arc::clone(session), question, shown, bounds.max_rows, out);
        return bounded(bounds.timeout, work).await.map(Answer::warn);
    }
    let rows = terminal_size::terminal_size().map_or(DEFAULT_ROWS, |(_, rows)| usize::from(rows.0));
    let (out, ended) = Paged::new(rows);
    let mut ended = ended.fuse();
    let unread = async {
        if (&mut ended).await.is_err() {
            // There is no pager.
            pending::<()>().await;
        }
    };
    let work = answer(Arc::clone(session), question, shown, bounds.max_rows, Box::new(out));
    let done = bounded_while(bounds.timeout, work, unread).await;
    if !ended.is_terminated() {
        // The pager shows the end for as long as it is wanted.
        let _ = ended.await;
    }
    match done {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        done => done.map(|answer| answer.into_iter().for_each(Answer::warn)),
    }
}

/// Answers to a file, which takes its place when it is whole. Returns the number of rows.
///
/// # Errors
/// When it fails or is given up, and then there is no file.
pub(super) async fn to_file(
    session: &Arc<SqlSession>,
    question: Question,
    path: &Path,
    format: Format,
    bounds: Bounds,
) -> Result<u64> {
    // It belongs to who waits: what was given up may end later than this process.
    let (result, file) = ResultFile::begin(path, format)?;
    let shown = Shown { format, with_count: false, paged: false };
    let out = Box::new(BufWriter::with_capacity(1 << 20, file));
    let work = answer(Arc::clone(session), question, shown, bounds.max_rows, out);
    let answer = bounded(bounds.timeout, work).await?;
    result.keep()?;
    answer.warn();
    Ok(answer.rows)
}

/// What was written.
#[derive(Debug, Clone, Copy)]
struct Answer {
    rows: u64,
    /// There were more.
    is_cut: bool,
}

impl Answer {
    fn warn(self) {
        if self.is_cut {
            tracing::warn!("the result has more rows than --max-rows; the others are left out");
        }
    }
}

async fn answer(
    session: Arc<SqlSession>,
    question: Question,
    shown: Shown,
    max_rows: Option<u64>,
    mut out: Out,
) -> Result<Answer> {
    let Shown { format, with_count, .. } = shown;
    let mut is_cut = None;
    let rows = match question {
        Question::Statement(sql) => {
            let mut stream = session.query(&sql).await?;
            if let Some(most) = max_rows {
                let (limited, flag) = limit_rows(stream, most);
                (stream, is_cut) = (limited, Some(flag));
            }
            write_results(stream, format, &mut out).await?
        }
        Question::Tables => {
            let (schemas, names) = session.tables().into_iter().map(|(schema, name)| (schema.to_owned(), name)).unzip();
            write_texts(vec![("schema", schemas), ("table", names)], format, &mut out)?
        }
        Question::Columns(name) => {
            let columns = session.describe(&name).await?;
            let (names, types) = columns.into_iter().map(|column| (column.name, column.ty)).unzip();
            write_texts(vec![("column", names), ("type", types)], format, &mut out)?
        }
    };
    let describe = || "cannot write the result".to_owned();
    if with_count {
        writeln!(out, "({rows} row{})", if rows == 1 { "" } else { "s" }).context(describe)?;
    }
    out.flush().context(describe)?;
    Ok(Answer { rows, is_cut: is_cut.is_some_and(|flag| flag.load(Ordering::Relaxed)) })
}
