//! What a query may take, and what ends it.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use super::{LONG, Server, has_psql, send, told};
use crate::support::{Ran, Roots};

#[test]
fn what_the_client_cancels_stops() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &[]);
    let client = server.at_work(LONG);
    let began = Instant::now();
    send(&client, "-INT");
    let told = told(client);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(told.contains("ERROR:  57014: the query was cancelled"), "{told}");
    server.wait_for_work(false);
    assert_eq!(server.rows("SELECT 'still here'"), "still here\n");
}

#[test]
fn rows_on_their_way_are_cancelled_too() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &[]);
    // Rows without end, which psql gathers before it shows the first.
    let rows = "SELECT l.order_id FROM (SELECT a.order_id FROM raw.orders a, raw.orders b) l, \
                (SELECT c.total FROM raw.orders c, raw.orders d) r";
    let client = server.at_work(rows);
    send(&client, "-INT");
    let told = told(client);
    assert!(told.contains("57014"), "{told}");
    server.wait_for_work(false);
}

#[test]
fn work_for_a_client_that_is_gone_stops() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &[]);
    let mut client = server.at_work(LONG);
    client.kill().unwrap();
    client.wait().unwrap();
    server.wait_for_work(false);
    assert_eq!(server.rows("SELECT 1"), "1\n");
}

#[test]
fn time_is_bounded_by_server_and_client() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &["--timeout", "1"]);
    assert!(server.error(LONG).contains("57014: the query was given up after 1 s"));
    server.wait_for_work(false);
    drop(server);
    let server = Server::start(&roots, &[]);
    let error = server.error(&format!("SET statement_timeout = '500ms'; {LONG}"));
    assert!(error.contains("57014: the query was given up after 0.5 s"), "{error}");
    server.wait_for_work(false);
}

#[test]
fn queries_of_the_catalogue_can_be_given_up() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &["--timeout", "1"]);
    let all = "SELECT max(a.oid + b.oid + c.oid + d.oid) FROM pg_type a, pg_type b, pg_type c, pg_type d";
    assert!(server.error(all).contains("57014: the query was given up after 1 s"));
    server.wait_for_work(false);
}

#[test]
fn rows_are_bounded_and_the_client_is_told() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &["--max-rows", "3"]);
    let ran = Ran::of(&mut server.psql(&["-At", "-c", "SELECT order_id FROM raw.orders"]));
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 3));
    assert!(ran.stderr.contains("more than 3 rows"), "{}", ran.stderr);
    assert_eq!(server.rows("VALUES 1, 2, 3").lines().count(), 3);
    // The catalogue is whole.
    assert!(server.rows("SELECT count(*) FROM pg_catalog.pg_type").trim().parse::<usize>().unwrap() > 100);
}

#[test]
fn memory_is_bounded() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &["--memory-limit", "1MB"]);
    let all = "SELECT array_agg(a.order_id) FROM raw.orders a, raw.orders b, raw.orders c";
    let error = server.error(all);
    assert!(error.contains("ERROR:  53200: "), "{error}");
    let catalogue = "SELECT array_agg(a.typname) FROM pg_catalog.pg_type a, pg_catalog.pg_type b, pg_catalog.pg_type c";
    let error = server.error(catalogue);
    assert!(error.contains("ERROR:  53200: "), "{error}");
    assert_eq!(server.rows("SELECT 1"), "1\n");
}

#[test]
fn a_statement_too_deep_for_the_engine_leaves_the_server_standing() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &[]);
    let chain = |column: &str, count: usize| vec![format!("{column} IS NOT NULL"); count].join(" AND ");
    for (from, column) in [("raw.orders", "order_id"), ("pg_catalog.pg_class", "oid")] {
        let error = server.error(&format!("SELECT count(*) FROM {from} WHERE {}", chain(column, 3000)));
        assert!(error.contains("too deep"), "{error}");
        assert_ne!(server.rows(&format!("SELECT count(*) FROM {from} WHERE {}", chain(column, 600))), "0\n");
    }
}

#[test]
fn a_query_that_computes_without_letting_go_keeps_nobody_waiting() {
    if !has_psql() {
        return;
    }
    let roots = Roots::new();
    let lines: String = (0..60_000).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    roots.put("big/a.json", lines);
    let server = Server::start(&roots, &[]);
    // Seconds for each batch of it.
    let client = server.at_work("SELECT count(*) FROM big a JOIN big b ON a.id + b.id = -1");
    let began = Instant::now();
    assert_eq!(server.rows("SELECT count(*) FROM big"), "60000\n");
    send(&client, "-INT");
    let told = told(client);
    assert!(told.contains("57014"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
