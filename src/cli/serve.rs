//! `siltstone serve`

use std::io::Write as _;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use tokio::net::{TcpListener, lookup_host};

use super::available_threads;
use super::engine::EngineArgs;
use crate::config::Config;
use crate::error::{Context as _, Error, Result};
use crate::query::STACK_BYTES;
use crate::query::serve::{Door, Secret, read_tls, serve};

/// The variable that the password may stand in.
const PASSWORD: &str = "SILTSTONE_PASSWORD";

/// Threads of queries for each core: the kernel gives each its share, also beside one that computes for long.
const WORKERS: usize = 4;

#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// The address to listen at; port 0 takes any that is free.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5432")]
    listen: String,
    /// A file with the password that clients must know; else it is taken from SILTSTONE_PASSWORD. Without either, only this
    /// machine may be listened to (127.0.0.1, ::1).
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A certificate in PEM, for clients that ask for TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Connections at a time.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_connections: u32,
}

pub(super) async fn run(args: ServeArgs, config: Config) -> Result<ExitCode> {
    let session = args.engine.open(config)?;
    let secret = password(&args)?.map(|password| Secret::new(&password));
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(read_tls(certificate, key)?),
        _ => None,
    };
    let listener = listen(&args.listen, secret.is_some()).await?;
    let address = listener.local_addr().context(|| format!("cannot listen at {}", args.listen))?;
    if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!("results go over the network as they are: give --tls-cert and --tls-key");
    }
    // From here on, signals are ours.
    let mut end = pin!(asked_to_end());
    let _ = futures::poll!(&mut end);
    let session = tokio::select! {
        session = session => session?,
        () = &mut end => return Ok(ExitCode::SUCCESS),
    };
    let door = Door { secret, tls, max_connections: usize::try_from(args.max_connections).unwrap_or(usize::MAX) };
    let engine = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("query")
        .thread_stack_size(STACK_BYTES)
        .worker_threads(WORKERS * available_threads())
        .build()
        .context(|| "cannot start the runtime of queries".to_owned())?;
    let _ = writeln!(std::io::stderr(), "siltstone: listening on {address}");
    let served = serve(session, listener, door, args.engine.bounds(), engine.handle().clone(), end).await;
    // Nobody waits for what queries still compute.
    engine.shutdown_background();
    served?;
    Ok(ExitCode::SUCCESS)
}

/// The password from the file or from the environment.
fn password(args: &ServeArgs) -> Result<Option<String>> {
    let (password, from) = match (&args.password_file, std::env::var(PASSWORD)) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Error::usage(format!("cannot read {}: {error}", path.display())))?;
            (text.trim_end_matches(['\r', '\n']).to_owned(), path.display().to_string())
        }
        (None, Ok(password)) => (password, PASSWORD.to_owned()),
        (None, Err(std::env::VarError::NotPresent)) => return Ok(None),
        (None, Err(_)) => return Err(Error::usage(format!("{PASSWORD} is no UTF-8"))),
    };
    if password.is_empty() {
        return Err(Error::usage(format!("the password in {from} is empty")));
    }
    Ok(Some(password))
}

/// Listens at an address; without a password, at those of this machine alone.
async fn listen(listen: &str, has_password: bool) -> Result<TcpListener> {
    let wrong = |why: &dyn std::fmt::Display| Error::usage(format!("cannot listen at {listen}: {why}"));
    let addresses: Vec<_> = lookup_host(listen).await.map_err(|error| wrong(&error))?.collect();
    if !has_password && !addresses.iter().all(|address| address.ip().is_loopback()) {
        let message = format!(
            "{listen} can be reached from other machines, which needs a password: put one into {PASSWORD}, or into a file \
             for --password-file"
        );
        return Err(Error::usage(message));
    }
    TcpListener::bind(addresses.as_slice()).await.map_err(|error| wrong(&error))
}

/// Waits for Ctrl-C, or SIGTERM.
async fn asked_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
