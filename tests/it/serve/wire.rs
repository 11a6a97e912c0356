//! What a client may send that no driver sends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::{LONG, Server};
use crate::support::Roots;

/// A client that speaks the protocol by itself.
struct Client(TcpStream);

impl Client {
    /// One that has said who it is.
    fn greet(server: &Server) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self(stream);
        client.send(b"", b"\0\x03\0\0user\0tester\0database\0siltstone\0\0");
        client
    }

    /// Sends a message: its kind, its length and its content.
    fn send(&mut self, kind: &[u8], content: &[u8]) {
        let length = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
        // A server that has gone refuses what is sent to it.
        let _ = self.0.write_all(&[kind, &length, content].concat());
    }

    /// The next message: its kind and its content.
    fn receive(&mut self) -> (char, Vec<u8>) {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut content = vec![0; usize::try_from(length).unwrap() - 4];
        self.0.read_exact(&mut content).unwrap();
        (char::from(head[0]), content)
    }

    /// What is told of the next error.
    fn error(&mut self) -> String {
        loop {
            if let ('E', content) = self.receive() {
                return String::from_utf8_lossy(&content).into_owned();
            }
        }
    }

    /// Waits until the server awaits the next statement.
    fn ready(&mut self) {
        while self.receive().0 != 'Z' {}
    }

    /// Sends a statement by itself.
    fn query(&mut self, sql: &str) {
        self.send(b"Q", &[sql.as_bytes(), b"\0"].concat());
    }

    /// Ends a row of messages of the extended protocol.
    fn sync(&mut self) {
        self.send(b"S", b"");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn who_is_not_let_in_can_ask_nothing() {
    let roots = Roots::of_testdata();
    let guarded = Server::start_with(&roots, &[], &[("SILTSTONE_PASSWORD", "sesame")]);
    let mut stranger = Client::greet(&guarded);
    assert_eq!(stranger.receive().0, 'R');
    stranger.send(b"p", b"x\0\0\0\0\0");
    assert!(stranger.error().contains("FATAL"));
    stranger.query(LONG);
    guarded.wait_for_work(false);

    let full = Server::start(&roots, &["--max-connections", "1"]);
    let mut first = Client::greet(&full);
    first.ready();
    let mut second = Client::greet(&full);
    assert!(second.error().contains("as many connections as the server takes"));
    second.query(LONG);
    full.wait_for_work(false);
    // Those that were sent away hold no place, even when they stay.
    let mut others = Vec::new();
    for _ in 0..40 {
        let mut other = Client::greet(&full);
        assert!(other.error().contains("as many connections as the server takes"));
        others.push(other);
    }
}

#[test]
fn messages_are_bounded() {
    let roots = Roots::of_testdata();
    let server = Server::start_with(&roots, &[], &[("SILTSTONE_PASSWORD", "sesame")]);
    let mut stranger = Client::greet(&server);
    assert_eq!(stranger.receive().0, 'R');
    let chunk = vec![b'x'; 1 << 20];
    let mut went = 0;
    let _ = stranger.0.write_all(b"Q\x3f\xff\xff\xfd");
    while went < 64 && stranger.0.write_all(&chunk).is_ok() {
        went += 1;
    }
    assert!(went < 64, "the server took {went} MiB");

    let server = Server::start(&roots, &[]);
    let mut client = Client::greet(&server);
    client.ready();
    // A long statement is one all the same.
    client.query(&format!("SELECT '{}'", "x".repeat(4 << 20)));
    client.ready();
    let _ = client.0.write_all(b"Q\x3f\xff\xff\xfd");
    let mut went = 0;
    while went < 128 && client.0.write_all(&chunk).is_ok() {
        went += 1;
    }
    assert!(went < 128, "the server took {went} MiB");
}

#[test]
fn a_parameter_of_any_number_ends_no_server() {
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &[]);
    let mut client = Client::greet(&server);
    client.ready();
    client.send(b"P", b"s\0SELECT $99999999999\0\0\0");
    client.send(b"D", b"Ss\0");
    client.sync();
    assert!(client.error().contains("54000"));
    client.ready();
    client.send(b"P", b"t\0SELECT $65535\0\0\0");
    client.send(b"D", b"St\0");
    client.sync();
    client.ready();
}

#[test]
fn prepared_statements_are_forgotten_one_by_one_or_all() {
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &[]);
    let mut client = Client::greet(&server);
    client.ready();
    let prepare = |client: &mut Client| {
        for name in ["a", "b", "c"] {
            client.send(b"P", format!("{name}\0SELECT 1\0\0\0").as_bytes());
        }
        client.sync();
        client.ready();
    };
    // Whether a statement of that name is there; no result is asked for.
    let is_there = |client: &mut Client, name: &str| {
        client.send(b"B", format!("\0{name}\0\0\0\0\0\0\0").as_bytes());
        client.sync();
        let is_bound = client.receive().0 == '2';
        client.ready();
        is_bound
    };
    let there = |client: &mut Client| ["a", "b", "c"].map(|name| is_there(client, name));
    prepare(&mut client);
    assert_eq!(there(&mut client), [true; 3]);
    for malformed in ["DEALLOCATE", "DEALLOCATE 'a'", "DEALLOCATE $1"] {
        client.query(malformed);
        assert!(client.error().contains("42601"), "{malformed}");
        client.ready();
    }
    client.query("DEALLOCATE B");
    client.ready();
    assert_eq!(there(&mut client), [true, false, true]);
    client.query("DEALLOCATE b");
    assert!(client.error().contains("26000"));
    client.ready();
    client.send(b"C", b"Sc\0");
    // Behind an error nothing is done up to the next Sync.
    client.send(b"B", b"\0missing\0\0\0\0\0\0\0");
    client.send(b"C", b"Sa\0");
    client.sync();
    client.ready();
    assert_eq!(there(&mut client), [true, false, false]);
    client.query("DEALLOCATE ALL");
    client.ready();
    assert_eq!(there(&mut client), [false; 3]);
    prepare(&mut client);
    client.query("DISCARD ALL");
    client.ready();
    assert_eq!(there(&mut client), [false; 3]);
}

#[test]
fn a_statement_whose_columns_have_changed_is_to_be_prepared_again() {
    let roots = Roots::new();
    roots.put("we/a.json", r#"{"a": 1, "b": 2}"#);
    let server = Server::start(&roots, &[]);
    let mut client = Client::greet(&server);
    client.ready();
    // As drivers do that keep statements: told of the columns once, and given binary values from then on.
    client.send(b"P", b"s\0SELECT a, b FROM we\0\0\0");
    client.send(b"D", b"Ss\0");
    client.sync();
    client.ready();
    let mut run = |expected: char| {
        client.send(b"B", b"\0s\0\0\0\0\0\0\x01\0\x01");
        client.send(b"E", b"\0\0\0\0\0");
        client.sync();
        assert_eq!(client.receive().0, '2');
        let (kind, content) = client.receive();
        assert_eq!(kind, expected, "{}", String::from_utf8_lossy(&content));
        client.ready();
        String::from_utf8_lossy(&content).into_owned()
    };
    run('D');
    roots.put("we/b.json", r#"{"a": 1.5, "b": 3}"#);
    std::thread::sleep(Duration::from_millis(1500));
    let error = run('E');
    assert!(error.contains("C0A000\0Mcached plan must not change result type\0"), "{error}");
    assert!(error.contains("RRevalidateCachedQuery\0"), "{error}");
}

#[test]
fn a_statement_told_of_with_nulls_is_carried_out_with_values() {
    let roots = Roots::of_testdata();
    for dialect in ["athena", "datafusion"] {
        let server = Server::start(&roots, &["--dialect", dialect]);
        let mut client = Client::greet(&server);
        client.ready();
        for sql in [
            "SELECT 1 + $1",
            "SELECT $1",
            "SELECT coalesce(order_id, $1) FROM raw.orders LIMIT 1",
            "SELECT oid = $1 FROM pg_class LIMIT 1",
        ] {
            client.send(b"P", format!("s\0{sql}\0\0\0").as_bytes());
            client.send(b"D", b"Ss\0");
            client.send(b"B", b"\0s\0\0\0\0\x01\0\0\0\x017\0\0");
            client.send(b"E", b"\0\0\0\0\0");
            client.send(b"C", b"Ss\0");
            client.sync();
            loop {
                match client.receive() {
                    ('E', content) => panic!("{dialect}: {sql}: {}", String::from_utf8_lossy(&content)),
                    ('Z', _) => break,
                    _ => {}
                }
            }
        }
    }
}
