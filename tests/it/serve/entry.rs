//! Who gets in: passwords, addresses, TLS, the number of connections; and how the server ends.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{LONG, Server, has_psql, send, told};
use crate::support::{Ran, Roots};

const PASSWORD: &str = "öpen sesame\\'; --";

/// What a client gets that comes with this password.
fn try_password(server: &Server, password: Option<&str>) -> Ran {
    let mut command = server.psql(&["-At", "-c", "SELECT 1"]);
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    Ran::of(&mut command)
}

#[track_caller]
fn assert_guarded(server: &Server) {
    assert_eq!(try_password(server, Some(PASSWORD)).ok(), "1\n");
    let wrong = try_password(server, Some("guess"));
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.to_lowercase().contains("password authentication failed"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("sesame") && !wrong.stderr.contains("guess"), "{}", wrong.stderr);
    let missing = try_password(server, None);
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("no password supplied"), "{}", missing.stderr);
}

#[test]
fn a_password_from_the_environment_or_a_file_must_be_known() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    assert_guarded(&Server::start_with(&roots, &[], &[("SILTSTONE_PASSWORD", PASSWORD)]));
    std::fs::write(roots.dir.path().join("secret"), format!("{PASSWORD}\n")).unwrap();
    let variables = [("SILTSTONE_PASSWORD", "another")];
    assert_guarded(&Server::start_with(&roots, &["--password-file", "secret"], &variables));
}

#[test]
fn other_machines_need_a_password() {
    let roots = Roots::of_testdata();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let mut command = roots.command_here(&["serve", "--listen", address]);
        let message = Ran::of(command.env_remove("SILTSTONE_PASSWORD")).failed(2);
        assert!(message.contains("needs a password") && message.contains("SILTSTONE_PASSWORD"), "{message}");
    }
    let mut command = roots.command_here(&["serve", "--listen", "0.0.0.0:0"]);
    let message = Ran::of(command.env("SILTSTONE_PASSWORD", "")).failed(2);
    assert!(message.contains("the password in SILTSTONE_PASSWORD is empty"), "{message}");
    let mut command = roots.command_here(&["serve", "--listen", "127.0.0.1:0", "--password-file", "nope"]);
    assert!(Ran::of(&mut command).failed(2).contains("cannot read nope"));
}

#[test]
fn what_cannot_be_served_is_told() {
    let roots = Roots::of_testdata();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let message = roots.run_here(&["serve", "--listen", &address]).failed(2);
    assert!(message.contains(&format!("cannot listen at {address}")), "{message}");
    assert!(roots.run(&["serve", "--listen", "127.0.0.1:0"]).failed(2).contains("what is to be queried?"));
    let message = roots.run_here(&["serve", "--listen", "127.0.0.1:0", "--tls-cert", "a", "--tls-key", "b"]).failed(2);
    assert!(message.contains("a: "), "{message}");
}

#[test]
fn clients_that_ask_for_tls_get_it() {
    let roots = Roots::of_testdata();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"]).current_dir(roots.dir.path());
    if !has_psql() || !openssl.output().is_ok_and(|output| output.status.success()) {
        eprintln!("not tested: psql or openssl is not there");
        return;
    }
    let args = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let server = Server::start_with(&roots, &args, &[("SILTSTONE_PASSWORD", PASSWORD)]);
    for mode in ["require", "disable"] {
        let mut command = server.psql(&["-At", "-c", "\\conninfo", "-c", "SELECT 1"]);
        let answer = Ran::of(command.env("PGSSLMODE", mode).env("PGPASSWORD", PASSWORD)).ok();
        assert!(answer.ends_with("1\n"), "{answer}");
        assert_eq!(answer.contains("protocol: TLSv1.3"), mode == "require", "{answer}");
    }
    // Without a certificate there is none.
    let server = Server::start(&roots, &[]);
    let ran = Ran::of(server.psql(&["-c", "SELECT 1"]).env("PGSSLMODE", "require"));
    assert!(ran.code == 2 && ran.stderr.contains("does not support SSL"), "{}", ran.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn two_clients_at_once_are_served_and_a_third_is_told_that_there_is_no_room() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &["--max-connections", "2"]);
    let mut long = server.at_work(LONG);
    assert_eq!(server.rows("SELECT count(*) FROM raw.orders WHERE order_id IS NULL"), "0\n");
    let mut other = server.at_work(LONG);
    let refused = Ran::of(&mut server.psql(&["-At", "-c", "SELECT 1"]));
    assert!(refused.stderr.contains("as many connections as the server takes"), "{}", refused.stderr);
    // There is always room to cancel.
    send(&other, "-INT");
    assert_eq!(other.wait().unwrap().code(), Some(1));
    long.kill().unwrap();
    long.wait().unwrap();
    server.wait_for_work(false);
    assert_eq!(server.rows("SELECT 1"), "1\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_the_server_and_tells_its_clients() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start(&roots, &[]);
        let client = server.at_work(LONG);
        let began = Instant::now();
        server.signal(signal);
        assert_eq!(server.wait(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let message = told(client);
        assert!(message.contains("57P01: the server is ending"), "{message}");
    }
}
