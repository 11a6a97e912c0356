//! `siltstone serve`, with real clients: psql, and psycopg in the Python that `SILTSTONE_TEST_PSYCOPG` names. Where a client is
//! not there, its tests have nothing to run and pass.

mod bounds;
mod catalogue;
mod copies;
mod entry;
mod queries;
mod wire;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Ran, Roots};

/// A server over the roots of a test. It ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(super) port: u16,
}

impl Server {
    /// Serves both roots on a free port.
    pub(crate) fn start(roots: &Roots, args: &[&str]) -> Self {
        Self::start_with(roots, args, &[])
    }

    /// The same with variables of the environment.
    pub(crate) fn start_with(roots: &Roots, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = roots.command_here(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(args).env_remove("SILTSTONE_PASSWORD").envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("siltstone: listening on 127.0.0.1:").map(|port| port.parse().unwrap());
        let port = port.unwrap_or_else(|| panic!("no address: {line}"));
        // What it says later on is to be seen, and not to fill the pipe.
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| eprintln!("server: {line}")));
        Self { child, port }
    }

    /// psql with these arguments, without a password.
    pub(crate) fn psql(&self, args: &[&str]) -> Command {
        let mut command = Command::new("psql");
        command.args(["-X", "-w"]).args(args).stdin(Stdio::null());
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string());
        command.env("PGUSER", "tester").env("PGDATABASE", "siltstone").env_remove("PGPASSWORD");
        command
    }

    /// What psql prints for a statement, rows without decoration.
    #[track_caller]
    pub(crate) fn rows(&self, statement: &str) -> String {
        Ran::of(&mut self.psql(&["-At", "-c", statement])).ok()
    }

    /// The state and the message of a statement that fails.
    #[track_caller]
    pub(crate) fn error(&self, statement: &str) -> String {
        let ran = Ran::of(&mut self.psql(&["-At", "-v", "VERBOSITY=verbose", "-c", statement]));
        assert_eq!(ran.code, 1, "{statement}: {} {}", ran.stdout, ran.stderr);
        ran.stderr
    }

    /// psql with a query that takes longer than any test, connected and at work.
    #[cfg(target_os = "linux")]
    pub(crate) fn at_work(&self, query: &str) -> Child {
        let began = Instant::now();
        loop {
            let mut command = self.psql(&["-At", "-v", "VERBOSITY=verbose", "-c", "SELECT 'connected'", "-c", query]);
            let mut client = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut stdout = BufReader::new(client.stdout.take().unwrap());
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            if line == "connected\n" {
                client.stdout = Some(stdout.into_inner());
                self.wait_for_work(true);
                return client;
            }
            // The place of a client that has just gone may not be free yet.
            let told = client.wait_with_output().unwrap().stderr;
            assert!(began.elapsed() < Duration::from_secs(20), "{}", String::from_utf8_lossy(&told));
        }
    }

    /// Seconds that the server has worked so far.
    #[cfg(target_os = "linux")]
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// Waits until the server is at work, or until it is not.
    #[cfg(target_os = "linux")]
    pub(crate) fn wait_for_work(&self, is_working: bool) {
        let began = Instant::now();
        let mut times = 0;
        loop {
            let before = self.cpu_seconds();
            std::thread::sleep(Duration::from_millis(300));
            let worked = self.cpu_seconds() - before;
            // It also works when it starts, and when it plans, but not for long.
            times = if if is_working { worked > 0.06 } else { worked < 0.04 } { times + 1 } else { 0 };
            if times == 3 {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{worked} s of work in 0.3 s");
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        send(&self.child, signal);
    }

    /// The exit code, once it has ended by itself.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub(crate) fn send(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// What the client was told on its standard error, once it has ended.
pub(crate) fn told(client: Child) -> String {
    String::from_utf8(client.wait_with_output().unwrap().stderr).unwrap()
}

/// A query that takes longer than any test, and little memory.
pub(crate) const LONG: &str = "SELECT max(l.x + r.y) \
                               FROM (SELECT a.total + b.total AS x FROM raw.orders a, raw.orders b) l, \
                               (SELECT c.total + d.total AS y FROM raw.orders c, raw.orders d) r";

/// Whether psql is there; says so when it is not.
pub(crate) fn has_psql() -> bool {
    let is_there = Command::new("psql").arg("--version").output().is_ok();
    if !is_there {
        eprintln!("not tested: psql is not there");
    }
    is_there
}
