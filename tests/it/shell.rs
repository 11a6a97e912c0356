//! The shell of `siltstone sql` in a real terminal.

use serde_json::json;

use super::support::Roots;
use super::terminal::{Terminal, there_are};

/// Work for much longer than any test waits.
const ENDLESS: &str = "select count(*) from generate_series(1, 1000000000000000) where value < 0;";

/// 100 records in `raw.s` and `lake.s`.
fn roots() -> Roots {
    let roots = Roots::new();
    let record = |id: usize| json!({"id": id, "name": format!("n{}", id % 7), "o": {"key": id, "kind": "x", "other": {"deep": 1}}});
    roots.put_lines("s/0.json", &(0..100).map(record).collect::<Vec<_>>());
    roots.put("Web.Hooks-2/0.json", r#"{"id": 1}"#);
    roots.compact(&["--partition-by", "none"]);
    roots
}

/// A shell at its first prompt; `None` where there is no tmux.
fn shell(roots: &Roots, args: &[&str], environment: &[&str]) -> Option<Terminal> {
    if !there_are(&["tmux"]) {
        return None;
    }
    let terminal = Terminal::open(roots, &[&["sql"], args].concat(), environment);
    terminal.prompts();
    Some(terminal)
}

#[test]
fn a_statement_goes_over_lines_up_to_its_semicolon() {
    let roots = roots();
    let Some(terminal) = shell(&roots, &[], &[]) else { return };
    assert!(terminal.screen().contains("\\? shows the commands"));
    terminal.enter("select count(*) as how_many,");
    terminal.enter("  ';' as text -- not yet;");
    terminal.enter("from lake.s");
    terminal.enter(";");
    let screen = terminal.shows("(1 row)");
    assert!(screen.contains("| how_many | text |") && screen.contains("| 100      | ;    |"), "{screen}");
    terminal.prompts();
    terminal.enter("select 1 as one; select 2 as two;");
    let screen = terminal.shows("| two |");
    assert!(screen.contains("| one |"), "{screen}");
    terminal.prompts();
    terminal.press("C-d");
    terminal.shows("ended with 0");
}

#[test]
fn an_error_ends_a_statement_and_not_the_shell() {
    let roots = roots();
    let Some(terminal) = shell(&roots, &["--max-rows", "3", "--timeout", "2s"], &[]) else { return };
    terminal.enter("select nope from lake.s;");
    terminal.shows("siltstone: ");
    terminal.prompts();
    terminal.enter("drop table lake.s;");
    terminal.wait("a refusal", |screen| screen.matches("siltstone: ").count() == 2);
    terminal.enter("\\dance");
    terminal.shows("there is no command \\dance; \\? shows those there are");
    // The bounds hold for each statement.
    terminal.enter(ENDLESS);
    terminal.shows("given up after 2 s");
    terminal.clear();
    terminal.enter("select id from lake.s;");
    let screen = terminal.shows("--max-rows");
    assert!(screen.contains("(3 rows)"), "{screen}");
    terminal.enter("\\q");
    terminal.shows("ended with 0");
}

#[test]
fn history_outlives_a_session_and_is_private() {
    let roots = roots();
    let Some(first) = shell(&roots, &[], &[]) else { return };
    first.enter("select 40 +");
    first.enter("2 as answer;");
    first.shows("(1 row)");
    first.prompts();
    first.enter(" select 'not to be kept';");
    first.wait("both results", |screen| screen.matches("(1 row)").count() == 2);
    first.prompts();
    first.enter("select 3 as three;");
    first.shows("| three |");
    first.prompts();
    first.press("C-d");
    first.shows("ended with 0");

    let file = roots.dir.path().join(".local/state/siltstone/history");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains("answer") && !kept.contains("not to be kept"), "{kept}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    let second = shell(&roots, &[], &[]).unwrap();
    second.press("Up");
    second.shows("siltstone> select 3 as three;");
    second.press("C-c");
    second.wait("a new prompt", |screen| screen.matches("siltstone>").count() == 2);
    // Searched for, and run again as a whole.
    second.press("C-r");
    second.type_text("ans");
    second.shows("2 as answer;");
    second.press("Enter");
    assert!(second.shows("(1 row)").contains("| 42     |"));

    let none = shell(&roots, &["--no-history"], &[]).unwrap();
    none.press("Up");
    none.enter("select 5 as five;");
    none.shows("| five |");
    assert!(!std::fs::read_to_string(&file).unwrap().contains("five"));
}

#[test]
fn without_a_home_there_is_no_history() {
    let roots = roots();
    let Some(terminal) = shell(&roots, &[], &["HOME=/dev/null/nowhere"]) else { return };
    terminal.enter("select 5 as five;");
    terminal.shows("(1 row)");
}

#[test]
fn tab_completes_keywords_tables_columns_and_their_fields() {
    let roots = roots();
    let Some(terminal) = shell(&roots, &[], &[]) else { return };
    terminal.type_text("sel");
    terminal.press("Tab");
    terminal.shows("siltstone> select");
    terminal.type_text(" cou");
    terminal.press("Tab");
    terminal.shows("count");
    terminal.press("C-u");
    terminal.type_text("select * from lake.W");
    terminal.press("Tab");
    terminal.shows("from lake.\"Web.Hooks-2\"");
    terminal.press("C-u");
    terminal.type_text("select * from lake.s t where nam");
    terminal.press("Tab");
    terminal.shows("where name");
    terminal.type_text(" = 'n3' and o.k");
    terminal.press("Tab");
    // Both begin with it, and are listed.
    let screen = terminal.shows("kind");
    assert!(screen.contains("key"), "{screen}");
    terminal.type_text("e");
    terminal.press("Tab");
    terminal.shows("o.key");
    terminal.type_text(" = 3 and t.o.other.d");
    terminal.press("Tab");
    terminal.shows("t.o.other.deep");
    terminal.enter(" = 1;");
    terminal.shows("(1 row)");
    // Columns of raw objects come from the table, or from what was read.
    terminal.type_text("select o.kin from raw.s;");
    (0.." from raw.s;".len()).for_each(|_| terminal.press("Left"));
    terminal.press("Tab");
    terminal.shows("select o.kind from raw.s;");
}

#[test]
fn commands_show_tables_columns_and_time() {
    let roots = roots();
    let Some(terminal) = shell(&roots, &[], &[]) else { return };
    terminal.enter("\\d");
    let screen = terminal.shows("(8 rows)");
    for row in ["| lake       | s           |", "| main       | Web.Hooks-2 |", "| quarantine | s"] {
        assert!(screen.contains(row), "{row}: {screen}");
    }
    terminal.clear();
    terminal.enter("\\d lake.s");
    let screen = terminal.shows("(3 rows)");
    for row in [
        "| id     | bigint",
        "| name   | varchar",
        "| o      | row(key bigint, kind varchar, other row(deep bigint)) |",
    ] {
        assert!(screen.contains(row), "{row}: {screen}");
    }
    terminal.enter("\\d lake.\"Web.Hooks-2\"");
    terminal.shows("(1 row)");
    terminal.enter("\\d lake.nope");
    terminal.shows("siltstone: ");
    terminal.clear();
    terminal.enter("\\timing");
    terminal.shows("timing is on");
    terminal.enter("select 1 as one;");
    terminal.wait("a time", |screen| screen.lines().any(|line| line.starts_with("time: ") && line.ends_with(" ms")));
    terminal.enter("\\timing off");
    terminal.shows("timing is off");
    terminal.clear();
    terminal.enter("\\x");
    terminal.shows("expanded display is on");
    terminal.enter("select id, name, 'a\nb' as lines from lake.s where id in (3, 4) order by id;");
    let screen = terminal.shows("(2 rows)");
    let block = "-[ RECORD 1 ]----\nid    | 3\nname  | n3\nlines | a\n      | b\n-[ RECORD 2 ]----\nid    | 4\n";
    assert!(screen.contains(block), "{screen}");
    terminal.enter("\\?");
    terminal.shows("\\pset pager [on|off]");
}

#[test]
fn control_c_gives_up_a_query_and_clears_a_line() {
    let roots = roots();
    let Some(terminal) = shell(&roots, &[], &[]) else { return };
    // One that works without a word: whether it has begun cannot be seen.
    terminal.enter(ENDLESS);
    terminal.wait("an interruption", |screen| {
        let is_interrupted = screen.contains("siltstone: the query was interrupted");
        if !is_interrupted {
            terminal.press("C-c");
        }
        is_interrupted
    });
    terminal.prompts();
    // One that writes.
    terminal.enter("\\format ndjson");
    terminal.enter("\\pset pager off");
    terminal.shows("pager is off");
    terminal.clear();
    terminal.enter("select value as endless from generate_series(1, 1000000000000000);");
    terminal.shows("{\"endless\":");
    terminal.press("C-c");
    terminal.shows("siltstone: the query was interrupted");
    terminal.prompts();
    terminal.enter("\\format table");
    terminal.enter("select 6 * 7 as answer;");
    assert!(terminal.shows("(1 row)").contains("| 42     |"));
    terminal.clear();
    terminal.enter("select 'never");
    terminal.type_text("finished");
    terminal.press("C-c");
    terminal.prompts();
    terminal.enter("select 2 as two;");
    assert!(terminal.shows("(1 row)").contains("| two |"));
}

#[test]
fn long_results_go_to_the_pager_and_leaving_it_ends_the_query() {
    let roots = roots();
    if !there_are(&["less"]) {
        return;
    }
    let Some(terminal) = shell(&roots, &["--threads", "1"], &[]) else { return };
    terminal.enter("select id from lake.s order by id;");
    // The pager waits at its first page.
    let screen = terminal.wait("a page", |screen| screen.contains("| 20 ") && screen.trim_end().ends_with(':'));
    assert!(!screen.contains("| 99 "), "{screen}");
    terminal.type_text("G");
    terminal.shows("(100 rows)");
    terminal.type_text("q");
    terminal.prompts();
    // What has no end is shown as it comes, and ends with its pager.
    terminal.enter("select value as endless from generate_series(1, 1000000000000000);");
    terminal.wait("a page", |screen| screen.contains("| endless") && screen.trim_end().ends_with(':'));
    terminal.type_text("q");
    let screen = terminal.prompts();
    assert!(!screen.contains("siltstone: "), "{screen}");
    terminal.clear();
    terminal.enter("select 1 as one;");
    terminal.shows("(1 row)");
    terminal.enter("\\pset pager off");
    terminal.shows("pager is off");
    terminal.enter("select id from lake.s order by id;");
    terminal.shows("(100 rows)");
    terminal.prompts();
}

#[test]
fn results_go_to_files_and_statements_come_from_files() {
    let roots = roots();
    let Some(terminal) = shell(&roots, &[], &[]) else { return };
    terminal.enter("\\o out.csv");
    terminal.prompts();
    terminal.enter("select nope from lake.s;");
    terminal.shows("siltstone: ");
    terminal.enter("select id from lake.s where id < 2 order by id;");
    terminal.shows("out.csv: 2 rows");
    assert_eq!(std::fs::read_to_string(roots.dir.path().join("out.csv")).unwrap(), "id\n0\n1\n");
    // Only that one.
    terminal.enter("select 7 as seven;");
    terminal.shows("| seven |");
    terminal.clear();
    terminal.enter("\\format parquet");
    terminal.prompts();
    terminal.enter("select 1 as one;");
    terminal.shows("a terminal cannot show this format");
    terminal.enter("\\format csv");
    std::fs::write(roots.dir.path().join("x.sql"), "select 11 as a;\n\\format ndjson\nselect 12 as a").unwrap();
    terminal.enter("\\i x.sql");
    let screen = terminal.shows("{\"a\":12}");
    assert!(screen.contains("a\n11\n"), "{screen}");
    std::fs::write(roots.dir.path().join("y.sql"), "select 13 as a;\n\nselect nope;\nselect 14 as a;").unwrap();
    terminal.enter("\\i y.sql");
    let screen = terminal.shows("siltstone: y.sql:3: ");
    assert!(!screen.contains("14"), "{screen}");
}
