//! Queries over the wire mean what they mean to `siltstone sql`.

use std::process::Command;

use serde_json::json;

use super::{Server, has_psql};
use crate::support::{Ran, Roots, files_below, project};

#[test]
fn answers_are_those_of_sql() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata_half_compacted();
    let server = Server::start(&roots, &[]);
    for statement in [
        "SELECT status, count(*), count(coupon) FROM orders GROUP BY status ORDER BY status",
        "SELECT count(*) AS n FROM public.orders",
        "SELECT count(*) FROM lake.orders FOR VERSION AS OF 0",
        "SELECT order_id, customer.address.city FROM raw.orders ORDER BY order_id LIMIT 5",
        "SELECT o.order_id, t.a FROM lake.orders o CROSS JOIN UNNEST(o.lines) AS t(a, b, c) ORDER BY 1, 2 LIMIT 5",
        "SELECT element_at(split(order_id, '-'), 2), date_add('day', 1, shippedon) FROM orders ORDER BY 1 LIMIT 3",
        "SELECT customer, lines FROM orders ORDER BY order_id LIMIT 3",
        "SELECT count(DISTINCT \"$path\") FROM raw.orders",
        "SELECT count(*) FROM quarantine.orders",
        "VALUES 1, 2",
    ] {
        let expected = roots.run_here(&["sql", "--format", "csv", &statement.replace("public.", "main.")]).ok();
        let answer = Ran::of(&mut server.psql(&["--csv", "-c", statement])).ok();
        assert_eq!(answer, expected, "{statement}");
    }
}

#[test]
fn the_sample_queries_run() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata_half_compacted();
    let server = Server::start(&roots, &[]);
    let folder = project().join("queries");
    let files = files_below(&folder);
    let mut ran = 0;
    for file in files.iter().filter(|file| file.ends_with(".sql") && !file.starts_with("athena/")) {
        let path = folder.join(file);
        let expected = roots.run_here(&["sql", "--format", "csv", "-f", path.to_str().unwrap()]).ok();
        let answer = Ran::of(&mut server.psql(&["--csv", "-f", path.to_str().unwrap()])).ok();
        assert_eq!(answer.lines().count(), expected.lines().count(), "{file}");
        assert_eq!(answer.lines().next(), expected.lines().next(), "{file}");
        ran += 1;
    }
    assert!(ran > 2, "{ran}");
}

#[test]
fn each_query_sees_the_sources_as_they_are() {
    if !has_psql() {
        return;
    }
    let roots = Roots::new();
    roots.put_lines("s/1.json", &[json!({"id": 1}), json!({"id": 2})]);
    let server = Server::start(&roots, &[]);
    assert_eq!(server.rows("SELECT count(*) FROM s"), "2\n");
    assert!(server.error("SELECT count(*) FROM lake.s").contains("42P01"));
    roots.compact(&[]);
    assert_eq!(server.rows("SELECT count(*) FROM s; SELECT count(*) FROM lake.s"), "2\n2\n");
    roots.put_lines("s/2.json", &[json!({"id": 3, "new": "x"})]);
    assert_eq!(server.rows("SELECT count(*), max(new) FROM s; SELECT count(*) FROM lake.s"), "3|x\n2\n");
    roots.compact(&[]);
    assert_eq!(server.rows("SELECT count(*), max(new) FROM s; SELECT count(*) FROM lake.s"), "3|x\n3\n");
    roots.put_lines("t/1.json", &[json!({"id": 1})]);
    assert_eq!(server.rows("SELECT count(*) FROM t"), "1\n");
}

#[test]
fn counts_neither_dip_nor_double_while_runs_go_on() {
    if !has_psql() {
        return;
    }
    let roots = Roots::new();
    roots.put_lines("s/0.json", &[json!({"id": 0})]);
    let server = Server::start(&roots, &[]);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for object in 1..6 {
                roots.put_lines(&format!("s/{object}.json"), &[json!({"id": object})]);
                roots.compact(&[]);
            }
            is_done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut last = 1;
        while !is_done.load(std::sync::atomic::Ordering::SeqCst) {
            let rows = server.rows("SELECT count(*), count(DISTINCT id) FROM s");
            let (count, distinct) = rows.trim().split_once('|').unwrap();
            assert_eq!(count, distinct);
            let count: usize = count.parse().unwrap();
            assert!(count >= last, "{count} after {last}");
            last = count;
        }
    });
    assert_eq!(server.rows("SELECT count(*) FROM s"), "6\n");
}

#[test]
fn errors_have_a_state_and_the_connection_goes_on() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata_half_compacted();
    let server = Server::start(&roots, &[]);
    for (statement, state, message) in [
        ("SELEC 1", "42601", "found: SELEC"),
        ("SELECT nope FROM orders", "42703", "nope"),
        ("SELECT * FROM nope", "42P01", "nope"),
        ("SELECT * FROM nope.nope", "42P01", "nope"),
        ("SELECT nope(1)", "42883", "nope"),
        ("SELECT 1 / (count(*) - count(*)) FROM orders", "22012", "ivide by zero"),
        ("SELECT CAST(order_id AS bigint) FROM orders", "22P02", ""),
        ("SELECT * FROM orders TABLESAMPLE BERNOULLI (10)", "42000", "TABLESAMPLE"),
    ] {
        let error = server.error(statement);
        assert!(error.contains(&format!("ERROR:  {state}: ")) && error.contains(message), "{statement}: {error}");
    }
    let ran = Ran::of(&mut server.psql(&[
        "-At",
        "-c",
        "SELECT nope",
        "-c",
        "SELECT 1",
        "-c",
        "BEGIN; SELECT nope",
        "-c",
        "SELECT 1",
    ]));
    assert_eq!(ran.stdout, "1\nBEGIN\n", "{}", ran.stderr);
    assert!(ran.stderr.contains("the transaction has failed"), "{}", ran.stderr);
}

#[test]
fn writes_are_refused() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata_half_compacted();
    let server = Server::start(&roots, &[]);
    let before = files_below(&roots.lake);
    for statement in [
        "INSERT INTO lake.orders VALUES (1)",
        "DELETE FROM lake.orders",
        "CREATE TABLE t (a int)",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "DROP TABLE lake.orders",
        "COPY lake.orders TO 'orders.csv'",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "COPY lake.orders FROM STDIN",
        "TRUNCATE lake.orders",
        "SELECT * INTO t FROM orders",
        "SET default_transaction_read_only = off",
        "BEGIN READ WRITE",
    ] {
        let error = server.error(statement);
        assert!(error.contains("ERROR:  25006: "), "{statement}: {error}");
    }
    assert!(server.error("SELECT * FROM '/etc/passwd'").contains("ERROR:  42"));
    assert!(server.error("SET datafusion.execution.batch_size = 1").contains("ERROR:  42601"));
    assert!(server.error("SET ROLE admin").contains("ERROR:  42501"));
    assert!(server.error("EXPLAIN ANALYZE INSERT INTO lake.orders VALUES (1)").contains("ERROR:  25006"));
    assert_eq!(files_below(&roots.lake), before);
}

#[test]
fn columns_are_told_of_the_types_that_their_values_have() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &[]);
    let file = roots.lake.with_file_name("types.sql");
    for (statement, types) in [
        ("SELECT 1 AS a UNION ALL SELECT 1.5", "a|numeric(21,1)"),
        (
            "SELECT CASE WHEN total > 5 THEN 0 ELSE total END AS a, if(total > 5, 1, 1.5) AS b FROM orders",
            "a|double precision\nb|numeric(21,1)",
        ),
        ("SELECT sum(CASE WHEN total > 5 THEN 0 ELSE total END) AS a FROM orders", "a|double precision"),
        ("SELECT NULL AS a UNION ALL SELECT date '2024-01-01'", "a|date"),
        ("SELECT CAST(1 AS integer) AS a UNION ALL SELECT 3000000000", "a|bigint"),
        (
            "SELECT row_number() OVER () AS a, approx_distinct(status) AS b FROM orders GROUP BY status",
            "a|bigint\nb|bigint",
        ),
    ] {
        std::fs::write(&file, format!("{statement} \\gdesc\n")).unwrap();
        let told = Ran::of(&mut server.psql(&["-At", "-f", file.to_str().unwrap()])).ok();
        assert_eq!(told.trim_end(), types, "{statement}");
        let copy = server.psql(&["-c", &format!("COPY ({statement}) TO STDOUT BINARY")]).output().unwrap();
        assert!(copy.status.success() && copy.stdout.starts_with(b"PGCOPY\n"), "{statement}: {copy:?}");
    }
    assert_eq!(server.rows("SELECT 1 AS a UNION ALL SELECT 1.5 ORDER BY a"), "1.0\n1.5\n");
    let named = Ran::of(&mut server.psql(&["--csv", "-c", "SELECT current_schema(), pg_backend_pid()"])).ok();
    assert_eq!(named.lines().next(), Some("current_schema,pg_backend_pid"));
    let named = Ran::of(&mut server.psql(&["--csv", "-c", "SELECT * FROM current_schema()"])).ok();
    assert_eq!(named, "current_schema\npublic\n");
    let twice = "SELECT upper(nspname), nspname AS upper FROM pg_namespace WHERE nspname = 'public'";
    assert_eq!(server.rows(twice), "PUBLIC|public\n");
    let rights = "SELECT has_table_privilege('orders', 'SELECT'), has_table_privilege('x', 'orders', 'INSERT')";
    assert_eq!(server.rows(rights), "t|f\n");
}

#[test]
fn psycopg_sends_parameters_and_gets_values_of_their_types() {
    let Ok(python) = std::env::var("SILTSTONE_TEST_PSYCOPG") else {
        eprintln!("not tested: SILTSTONE_TEST_PSYCOPG names no Python with psycopg");
        return;
    };
    let roots = Roots::of_testdata_half_compacted();
    let server = Server::start_with(&roots, &[], &[("SILTSTONE_PASSWORD", "opensesame")]);
    let script = project().join("tests/serve/client.py");
    let ran = Ran::of(Command::new(python).arg(script).arg(server.port.to_string()).env("PGPASSWORD", "opensesame"));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "fine\n"), "{}", ran.stderr);
}

#[test]
fn savepoints_and_what_pools_send_are_taken() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &[]);
    let script = "BEGIN; SAVEPOINT a; SELECT nope; ROLLBACK TO SAVEPOINT a; SELECT 'still here'; RELEASE a; COMMIT; \
                  SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL; SELECT 'and after'";
    let mut psql = server.psql(&["-At"]);
    for statement in script.split("; ") {
        psql.args(["-c", statement]);
    }
    let ran = Ran::of(&mut psql);
    assert!(ran.stdout.contains("still here\n") && ran.stdout.ends_with("and after\n"), "{ran:?}");
    assert_eq!(ran.stderr.matches("ERROR").count(), 1, "{}", ran.stderr);
    assert_eq!(server.rows("SELECT CAST(order_id AS TEXT) || CAST(1 AS int8)::text FROM raw.orders LIMIT 0"), "");
    assert_eq!(server.rows("SELECT setting FROM pg_settings WHERE name = 'max_index_keys'"), "32\n");
    let schemas = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname NOT LIKE 'pg/_%' ESCAPE '/' ORDER BY 1";
    assert!(server.rows(schemas).contains("raw\n"));
}
