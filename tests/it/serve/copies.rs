//! Results that clients take as a copy or from a cursor.

use super::{Server, has_psql};
use crate::support::{Ran, Roots};

#[test]
fn a_copy_has_the_rows_of_its_query() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata_half_compacted();
    let server = Server::start(&roots, &[]);
    let query = "SELECT order_id, status, coupon, total, createdat, customer, lines FROM orders ORDER BY order_id";
    let csv = Ran::of(&mut server.psql(&["--csv", "-c", query])).ok();
    assert_eq!(server.rows(&format!("COPY ({query}) TO STDOUT WITH (FORMAT csv, HEADER)")), csv);
    let file = roots.lake.with_file_name("copy.csv");
    let copied = format!("\\copy ({query}) to '{}' csv header", file.display());
    assert_eq!(server.rows(&copied), format!("COPY {}\n", csv.lines().count() - 1));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), csv);
    assert_eq!(
        server.rows("COPY (VALUES (1, 'a\tb', NULL), (2, '', 'c\\d')) TO STDOUT"),
        "1\ta\\tb\t\\N\n2\t\tc\\\\d\n"
    );
    let all = server.rows("COPY lake.orders TO STDOUT CSV");
    assert_eq!(all.lines().count(), server.rows("SELECT * FROM lake.orders").lines().count());
    assert_eq!(
        server.rows("COPY lake.orders (order_id, total) TO STDOUT").lines().next().unwrap().matches('\t').count(),
        1
    );
    assert_eq!(server.rows("COPY (SELECT count(*) > 100 FROM pg_catalog.pg_type) TO STDOUT"), "t\n");
    for (statement, state) in [
        ("COPY (SELECT nope FROM orders) TO STDOUT", "42703"),
        ("COPY nope TO STDOUT", "42P01"),
        ("COPY orders FROM STDIN", "25006"),
        ("COPY (SELECT 1/0 FROM orders) TO STDOUT", "22012"),
    ] {
        let error = server.error(statement);
        assert!(error.contains(&format!("ERROR:  {state}: ")), "{statement}: {error}");
    }
}

#[test]
fn a_cursor_gives_some_rows_at_a_time() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &["--max-rows", "40"]);
    let numbers = "SELECT n FROM UNNEST(sequence(1, 30)) AS t(n) ORDER BY n";
    let run = |script: &str| {
        let script = script.replace("NUMBERS", numbers);
        let mut psql = server.psql(&["-At", "-v", "VERBOSITY=sqlstate"]);
        for statement in script.split("; ") {
            psql.args(["-c", statement]);
        }
        let ran = Ran::of(&mut psql);
        (ran.stdout.lines().collect::<Vec<_>>().join(" "), ran.stderr.lines().collect::<Vec<_>>().join(" "))
    };
    let told = run("BEGIN; DECLARE c NO SCROLL CURSOR FOR NUMBERS; FETCH c; FETCH FORWARD 2 FROM c; MOVE 24 IN c; \
                    FETCH ALL c; FETCH 5 c; CLOSE c; COMMIT");
    assert_eq!(told.0, "BEGIN DECLARE CURSOR 1 2 3 MOVE 24 28 29 30 CLOSE CURSOR COMMIT");
    assert_eq!(told.1, "");
    // With its transaction a cursor is over, unless it is held, and the transaction is not undone.
    let told = run(
        "BEGIN; DECLARE a CURSOR FOR NUMBERS; DECLARE \"B\" CURSOR WITH HOLD FOR NUMBERS; FETCH 2 \"B\"; COMMIT; \
                    FETCH a; FETCH \"B\"; BEGIN; DECLARE d CURSOR WITH HOLD FOR NUMBERS; ROLLBACK; FETCH d; FETCH \"B\"; CLOSE ALL; \
                    FETCH \"B\"; DECLARE e CURSOR FOR NUMBERS",
    );
    assert_eq!(told.0, "BEGIN DECLARE CURSOR DECLARE CURSOR 1 2 COMMIT 3 BEGIN DECLARE CURSOR ROLLBACK 4 CLOSE CURSOR");
    assert_eq!(told.1, "ERROR:  34000 ERROR:  34000 ERROR:  34000 ERROR:  25P01");
    let told = run("BEGIN; DECLARE a CURSOR FOR NUMBERS; DECLARE a CURSOR FOR NUMBERS; ROLLBACK; BEGIN; \
                    DECLARE b CURSOR FOR SELECT nope FROM orders; ROLLBACK");
    assert_eq!(told.1, "ERROR:  42P03 ERROR:  42703");
    let declared: Vec<String> = (0..17).map(|n| format!("DECLARE c{n} CURSOR FOR {numbers}")).collect();
    assert_eq!(run(&format!("BEGIN; {}", declared.join("; "))).1, "ERROR:  54000");
    // A result is bounded however it is fetched.
    let many = "SELECT 1 FROM UNNEST(sequence(1, 100)) AS t(n)";
    let ran = Ran::of(&mut server.psql(&["-At", "-v", "FETCH_COUNT=30", "-c", many]));
    assert_eq!(ran.stdout.lines().count(), 40);
    let begin = format!("BEGIN; DECLARE c CURSOR FOR {many}");
    let mut psql = server.psql(&["-At", "-c", &begin, "-c", "FETCH 30 c", "-c", "FETCH 30 c", "-c", "COMMIT"]);
    let ran = Ran::of(&mut psql);
    assert_eq!(ran.stdout.lines().filter(|line| *line == "1").count(), 40);
    assert_eq!(ran.stderr.matches("more than 40 rows").count(), 1, "{}", ran.stderr);
}
