//! What a statement is to the server: a query of tables, a query of the catalogue, something about the session, or refused.

use datafusion_pg_catalog::pg_catalog::PG_CATALOG_TABLES;
use pgwire::error::PgWireError;

use super::catalogue::MORE;
use super::copy::CopyOut;
use super::cursors::{Declare, Fetch};
use super::errors::refuse;
use super::text::{Token, scan};

/// A statement by what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A query of tables: what `siltstone sql` takes.
    Query,
    /// A query of pg_catalog, information_schema, or functions that tell of the server.
    Catalogue,
    Begin,
    Commit,
    Rollback,
    /// To a savepoint. There is nothing to be undone, so it needs no name.
    RollbackTo,
    /// What stands behind SET.
    Set(String),
    /// The name of one setting.
    Show(String),
    /// The setting of this name goes back to what it was.
    Forget(String),
    /// Settings go back to what they were.
    Reset,
    /// They do, and all prepared statements are forgotten.
    Discard,
    /// The prepared statement of this name is forgotten; without a name, all are.
    Deallocate(Option<String>),
    /// A query whose rows go to the client as text, CSV or in binary form.
    Copy(Box<CopyOut>),
    Declare(Declare),
    Fetch(Fetch),
    /// The cursor passes over rows.
    Move(Fetch),
    /// The cursor of this name is closed; without a name, all are.
    Close(Option<String>),
    /// Nothing is to be done; the command's name.
    Nothing(&'static str),
}

/// What tells of the server where no table is named.
const ABOUT: [&str; 23] = [
    "version",
    "current_schema",
    "current_schemas",
    "current_database",
    "current_catalog",
    "current_user",
    "current_role",
    "session_user",
    "current_setting",
    "set_config",
    "regclass",
    "regtype",
    "regproc",
    "regnamespace",
    "format_type",
    "obj_description",
    "col_description",
    "has_table_privilege",
    "has_schema_privilege",
    "has_database_privilege",
    "inet_server_addr",
    "inet_server_port",
    "pg_advisory_unlock_all",
];

const WRITES: [&str; 25] = [
    "ALTER",
    "ANALYZE",
    "CALL",
    "CHECKPOINT",
    "CLUSTER",
    "COMMENT",
    "CREATE",
    "DELETE",
    "DO",
    "DROP",
    "GRANT",
    "IMPORT",
    "INSERT",
    "LOAD",
    "LOCK",
    "MERGE",
    "NOTIFY",
    "REASSIGN",
    "REFRESH",
    "REINDEX",
    "REPLACE",
    "REVOKE",
    "SECURITY",
    "TRUNCATE",
    "UPDATE",
];

const NOT_THERE: [&str; 4] = ["EXECUTE", "LISTEN", "PREPARE", "USE"];

/// Settings whose names are several words.
const SHOWN: [(&[&str], &str); 2] =
    [(&["TIME", "ZONE"], "timezone"), (&["TRANSACTION", "ISOLATION", "LEVEL"], "transaction_isolation")];

/// Tells what a statement is.
///
/// # Errors
/// When it is one that the server does not carry out.
pub(super) fn kind(sql: &str) -> Result<Kind, PgWireError> {
    let scanned = scan(sql);
    let tokens: Vec<Token<'_>> = scanned.iter().map(|(token, _)| *token).collect();
    let [first, rest @ ..] = tokens.as_slice() else { return Ok(Kind::Query) };
    let Token::Word(command) = *first else { return Ok(query(&tokens)) };
    let command = command.to_uppercase();
    let behind = || scanned.get(1).map_or("", |(_, at)| &sql[at.start..]).to_owned();
    Ok(match command.as_str() {
        "BEGIN" | "START" => match rest.windows(2).any(|pair| pair[0].is("READ") && pair[1].is("WRITE")) {
            true => return Err(read_only("a transaction that writes")),
            false => Kind::Begin,
        },
        "COMMIT" | "END" => Kind::Commit,
        "ROLLBACK" if rest.iter().any(|token| token.is("TO")) => Kind::RollbackTo,
        "SAVEPOINT" => Kind::Nothing("SAVEPOINT"),
        "RELEASE" => Kind::Nothing("RELEASE"),
        "UNLISTEN" => Kind::Nothing("UNLISTEN"),
        "ROLLBACK" | "ABORT" => Kind::Rollback,
        "SET" => Kind::Set(behind()),
        "RESET" => match rest {
            [Token::Word(name) | Token::Name(name)] if !rest[0].is("ALL") => Kind::Forget((*name).to_owned()),
            _ => Kind::Reset,
        },
        "DISCARD" => match rest {
            [all] if all.is("ALL") => Kind::Discard,
            _ => Kind::Nothing("DISCARD"),
        },
        "DEALLOCATE" => match rest {
            [name] => deallocate(*name)?,
            [prepare, name] if prepare.is("PREPARE") => deallocate(*name)?,
            _ => return Err(refuse("42601", UNNAMED)),
        },
        "CLOSE" => match rest {
            [all] if all.is("ALL") => Kind::Close(None),
            [name] => Kind::Close(name.name()),
            _ => return Err(refuse("42601", "CLOSE takes the name of a cursor, or ALL")),
        },
        "COPY" => Kind::Copy(Box::new(CopyOut::parse(sql, &scanned)?)),
        "DECLARE" => Kind::Declare(Declare::parse(sql, &scanned)?),
        "FETCH" => Kind::Fetch(Fetch::parse(rest)?),
        "MOVE" => Kind::Move(Fetch::parse(rest)?),
        "VACUUM" => return Err(read_only("VACUUM")),
        "SHOW" => shown(rest).map_or(Kind::Query, Kind::Show),
        command if WRITES.contains(&command) => return Err(read_only(command)),
        command if NOT_THERE.contains(&command) => return Err(not_there(command)),
        _ => match rest.iter().any(|token| token.is("INTO")) && !rest.iter().any(|token| token.is("EXPLAIN")) {
            true => return Err(read_only("SELECT INTO")),
            false => query(&tokens),
        },
    })
}

const UNNAMED: &str = "DEALLOCATE takes the name of a prepared statement, or ALL";

/// DEALLOCATE of a name, or ALL.
fn deallocate(name: Token<'_>) -> Result<Kind, PgWireError> {
    if name.is("ALL") {
        return Ok(Kind::Deallocate(None));
    }
    name.name().map(|name| Kind::Deallocate(Some(name))).ok_or_else(|| refuse("42601", UNNAMED))
}

/// A write that is refused, whatever it is about.
pub(super) fn read_only(what: &str) -> PgWireError {
    refuse("25006", format!("{what} is refused: the server is read-only"))
}

fn not_there(what: &str) -> PgWireError {
    refuse("0A000", format!("{what} is not supported"))
}

/// The setting that SHOW names; none when it shows tables, columns or functions.
fn shown(rest: &[Token<'_>]) -> Option<String> {
    for (words, name) in SHOWN {
        if rest.len() == words.len() && rest.iter().zip(words).all(|(token, word)| token.is(word)) {
            return Some(name.to_owned());
        }
    }
    match rest {
        [Token::Word(name)]
            if !["TABLES", "COLUMNS", "FUNCTIONS", "SCHEMAS", "DATABASES"].contains(&&*name.to_uppercase()) =>
        {
            Some((*name).to_owned())
        }
        [Token::Name(name)] => Some((*name).to_owned()),
        _ => None,
    }
}

impl Kind {
    /// The query that a statement is, or has in it, and whether it is one of the catalogue. `sql`: the statement.
    pub(super) fn query<'a>(&'a self, sql: &'a str) -> Option<(&'a str, bool)> {
        let inner = |sql: &'a str| {
            let tokens: Vec<Token<'_>> = scan(sql).into_iter().map(|(token, _)| token).collect();
            (sql, query(&tokens) == Self::Catalogue)
        };
        match self {
            Self::Query => Some((sql, false)),
            Self::Catalogue => Some((sql, true)),
            Self::Copy(copy) => Some(inner(&copy.query)),
            Self::Declare(declare) => Some(inner(&declare.query)),
            _ => None,
        }
    }
}

/// Whether a query is one of the catalogue.
fn query(tokens: &[Token<'_>]) -> Kind {
    let word = |at: usize| match tokens.get(at) {
        Some(Token::Word(word) | Token::Name(word)) => word.to_lowercase(),
        _ => String::new(),
    };
    let is_qualifier = |at: usize| tokens.get(at + 1) == Some(&Token::Sign('.'));
    let is_qualified = |at: usize| at > 0 && tokens[at - 1] == Token::Sign('.');
    let names_schema =
        |at: usize| ["pg_catalog", "information_schema"].contains(&word(at).as_str()) && is_qualifier(at);
    // A table of the catalogue may be named without its schema.
    let is_relation = |at: usize| {
        let follows =
            at > 0 && (tokens[at - 1].is("FROM") || tokens[at - 1].is("JOIN") || tokens[at - 1] == Token::Sign(','));
        let is_there = |word: &str| PG_CATALOG_TABLES.contains(&word) || MORE.iter().any(|(name, _)| *name == word);
        follows && !is_qualified(at) && is_there(&word(at))
    };
    let has_from = tokens.iter().any(|token| token.is("FROM"));
    let is_about = |at: usize| {
        let word = word(at);
        !has_from && !is_qualified(at) && (word.starts_with("pg_") || ABOUT.contains(&word.as_str()))
    };
    // A function in the place of a table.
    let is_called = |at: usize| {
        at > 0
            && tokens[at - 1].is("FROM")
            && tokens.get(at + 1) == Some(&Token::Sign('('))
            && ABOUT.contains(&word(at).as_str())
    };
    match (0..tokens.len()).any(|at| names_schema(at) || is_relation(at) || is_about(at) || is_called(at)) {
        true => Kind::Catalogue,
        false => Kind::Query,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn refused(sql: &str) -> String {
        match kind(sql) {
            Err(PgWireError::UserError(error)) => error.code,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn queries_go_to_tables_or_to_the_catalogue() {
        for sql in [
            "SELECT * FROM orders",
            "/* pg_catalog. */ SELECT 'pg_catalog.pg_class' FROM lake.orders",
            "SELECT version, current_user FROM orders",
            "(VALUES 1, 2)",
            "SELECT pg_size FROM raw.orders, lake.events",
            "SELECT id, pg_size, extract(day FROM pg_ts) FROM pg_events",
            "EXPLAIN SELECT 1",
            "WITH t AS (SELECT 1) SELECT * FROM t",
            "SHOW TABLES",
            "SHOW COLUMNS FROM orders",
            "SELECT 1",
        ] {
            assert_eq!(kind(sql).unwrap(), Kind::Query, "{sql}");
        }
        for sql in [
            "SELECT * FROM pg_catalog.pg_class",
            "select oid from pg_type t",
            "SELECT * FROM \"information_schema\".tables",
            "SELECT version()",
            "SELECT current_schema(), session_user",
            "SELECT 'orders'::regclass::oid",
            "SELECT pg_catalog.set_config('search_path', '', false)",
            "SELECT pg_backend_pid()",
            "SELECT * FROM current_schema()",
        ] {
            assert_eq!(kind(sql).unwrap(), Kind::Catalogue, "{sql}");
        }
    }

    #[test]
    fn writes_are_refused_and_sessions_are_served() {
        for sql in [
            "INSERT INTO orders VALUES (1)",
            "-- read\nDELETE FROM orders",
            "CREATE TABLE t (a int)",
            "COPY orders TO '/etc/passwd'",
            "SELECT * INTO t FROM orders",
            "WITH t AS (SELECT 1) INSERT INTO orders SELECT * FROM t",
            "BEGIN READ WRITE",
            "VACUUM",
            "TRUNCATE orders",
        ] {
            assert_eq!(refused(sql), "25006", "{sql}");
        }
        for (sql, state) in [
            ("PREPARE p AS SELECT 1", "0A000"),
            ("DECLARE c SCROLL CURSOR FOR SELECT 1", "0A000"),
            ("DECLARE c CURSOR", "42601"),
            ("FETCH PRIOR FROM c", "55000"),
            ("FETCH BACKWARD 10 c", "55000"),
            ("FETCH -1 c", "55000"),
            ("FETCH ABSOLUTE 3 c", "55000"),
        ] {
            assert_eq!(refused(sql), state, "{sql}");
        }
        for (sql, rows) in [
            ("FETCH c", 1),
            ("FETCH NEXT FROM c", 1),
            ("fetch 100 in \"c\"", 100),
            ("FETCH FORWARD 100 FROM c", 100),
            ("FETCH FORWARD ALL IN c", usize::MAX),
            ("FETCH ALL C", usize::MAX),
        ] {
            assert_eq!(kind(sql).unwrap(), Kind::Fetch(Fetch { name: "c".to_owned(), rows }), "{sql}");
        }
        for (sql, is_held) in [
            ("DECLARE \"c\" NO SCROLL CURSOR FOR SELECT a FOR b", false),
            ("declare c binary insensitive cursor without hold for SELECT a FOR b", false),
            ("DECLARE c CURSOR WITH HOLD FOR SELECT a FOR b", true),
        ] {
            let expected = Declare { name: "c".to_owned(), is_held, query: "SELECT a FOR b".to_owned() };
            assert_eq!(kind(sql).unwrap(), Kind::Declare(expected), "{sql}");
        }
        for (sql, expected) in [
            ("BEGIN", Kind::Begin),
            ("start transaction read only", Kind::Begin),
            ("COMMIT", Kind::Commit),
            ("ABORT", Kind::Rollback),
            ("SAVEPOINT a", Kind::Nothing("SAVEPOINT")),
            ("release savepoint a", Kind::Nothing("RELEASE")),
            ("ROLLBACK TO SAVEPOINT a", Kind::RollbackTo),
            ("SET a = 'b'", Kind::Set("a = 'b'".to_owned())),
            ("SHOW server_version", Kind::Show("server_version".to_owned())),
            ("SHOW TRANSACTION ISOLATION LEVEL", Kind::Show("transaction_isolation".to_owned())),
            ("DISCARD ALL", Kind::Discard),
            ("RESET ALL", Kind::Reset),
            ("RESET statement_timeout", Kind::Forget("statement_timeout".to_owned())),
            ("DEALLOCATE ALL", Kind::Deallocate(None)),
            ("DEALLOCATE PREPARE \"S1\"", Kind::Deallocate(Some("S1".to_owned()))),
            ("DEALLOCATE PREPARE ALL", Kind::Deallocate(None)),
            ("DEALLOCATE \"ALL\"", Kind::Deallocate(Some("ALL".to_owned()))),
            ("DEALLOCATE S1", Kind::Deallocate(Some("s1".to_owned()))),
        ] {
            assert_eq!(kind(sql).unwrap(), expected, "{sql}");
        }
    }
}
