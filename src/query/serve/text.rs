//! Statements as text, before any dialect parses them: where they end, where parameters stand, what they begin with.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A piece of a statement. Comments and white space are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword, a name without quotes, a number.
    Word(&'a str),
    /// What stands between double quotes, or backticks.
    Name(&'a str),
    /// What stands between single quotes, or dollars.
    Text(&'a str),
    /// `$1` is 1.
    Parameter(usize),
    /// Any other character.
    Sign(char),
}

/// A token and where it is.
pub(super) type Place<'a> = (Token<'a>, Range<usize>);

impl<'a> Token<'a> {
    /// A keyword, or a name without quotes.
    pub(super) fn word(self) -> Option<&'a str> {
        if let Token::Word(word) = self { Some(word) } else { None }
    }

    /// The name that it is: without quotes, one in small letters.
    pub(super) fn name(self) -> Option<String> {
        match self {
            Token::Name(name) => Some(name.replace("\"\"", "\"")),
            Token::Word(name) => Some(name.to_lowercase()),
            _ => None,
        }
    }

    /// Whether it is this keyword, in any case.
    pub(super) fn is(self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }
}

/// The tokens of SQL and where they are.
pub(super) fn scan(sql: &str) -> Vec<Place<'_>> {
    let bytes = sql.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = sql[at..].chars().next() {
        let start = at;
        let token = match c {
            '-' if bytes.get(at + 1) == Some(&b'-') => {
                at = sql[at..].find('\n').map_or(sql.len(), |end| at + end);
                continue;
            }
            '/' if bytes.get(at + 1) == Some(&b'*') => {
                at = end_of_comment(bytes, at);
                continue;
            }
            '\'' => {
                let is_escaped =
                    matches!(tokens.last(), Some((Token::Word("e" | "E"), before)) if before_ends(before, at));
                at = end_of_quoted(bytes, at, b'\'', is_escaped);
                Token::Text(inner(sql, start, at))
            }
            '"' | '`' => {
                at = end_of_quoted(bytes, at, bytes[at], false);
                Token::Name(inner(sql, start, at))
            }
            '$' => match parameter(sql, at).or_else(|| dollar_quoted(sql, at)) {
                Some((token, end)) => {
                    at = end;
                    token
                }
                None => {
                    at += 1;
                    Token::Sign('$')
                }
            },
            c if is_word(c) => {
                at = sql[at..].find(|c| !is_word(c) && c != '$').map_or(sql.len(), |end| at + end);
                Token::Word(&sql[start..at])
            }
            c => {
                at += c.len_utf8();
                if c.is_whitespace() {
                    continue;
                }
                Token::Sign(c)
            }
        };
        tokens.push((token, start..at));
    }
    tokens
}

fn before_ends(before: &Range<usize>, at: usize) -> bool {
    before.end == at
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What is between the quotes at both ends; the last one may be missing.
fn inner(sql: &str, start: usize, end: usize) -> &str {
    let text = &sql[start + 1..end];
    if end - start > 1 { text.strip_suffix(['\'', '"', '`']).unwrap_or(text) } else { text }
}

fn end_of_comment(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

/// Two quotes stand for one.
fn end_of_quoted(bytes: &[u8], start: usize, quote: u8, is_escaped: bool) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        if is_escaped && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at] != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    bytes.len()
}

/// `$12`
fn parameter(sql: &str, at: usize) -> Option<(Token<'_>, usize)> {
    let digits = &sql[at + 1..];
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    Some((Token::Parameter(digits[..end].parse().ok()?), at + 1 + end))
}

/// `$tag$ ... $tag$`
fn dollar_quoted(sql: &str, at: usize) -> Option<(Token<'_>, usize)> {
    let end = sql[at + 1..].find(|c| !is_word(c)).map(|end| at + 1 + end)?;
    if !sql[end..].starts_with('$') {
        return None;
    }
    let tag = &sql[at..=end];
    let length = sql[end + 1..].find(tag)?;
    Some((Token::Text(&sql[end + 1..end + 1 + length]), end + 1 + length + tag.len()))
}

/// The statements between semicolons; none is empty.
pub(super) fn statements(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut place: Option<Range<usize>> = None;
    for (token, at) in scan(sql) {
        if token == Token::Sign(';') {
            statements.extend(place.take().map(|place| &sql[place]));
        } else {
            let start = place.map_or(at.start, |place| place.start);
            place = Some(start..at.end);
        }
    }
    statements.extend(place.map(|place| &sql[place]));
    statements
}

/// How many parameters a statement has: the highest number behind a dollar.
pub(super) fn parameters(sql: &str) -> usize {
    let number = |(token, _)| if let Token::Parameter(number) = token { Some(number) } else { None };
    scan(sql).into_iter().filter_map(number).max().unwrap_or(0)
}

/// The parameters behind LIMIT and OFFSET: numbers, of which the query engine does not tell.
pub(super) fn limits(sql: &str) -> BTreeSet<usize> {
    let limit = |pair: &[Place<'_>]| match pair[1].0 {
        Token::Parameter(number) if pair[0].0.is("LIMIT") || pair[0].0.is("OFFSET") => Some(number),
        _ => None,
    };
    scan(sql).windows(2).filter_map(limit).collect()
}

/// The parameters that values are compared with all elements of: `ANY($1)`.
pub(super) fn arrays(sql: &str) -> BTreeSet<usize> {
    let array = |three: &[Place<'_>]| match (three[0].0, three[1].0, three[2].0) {
        (word, Token::Sign('('), Token::Parameter(number)) => {
            ["ANY", "ALL", "SOME"].iter().any(|keyword| word.is(keyword)).then_some(number)
        }
        _ => None,
    };
    scan(sql).windows(3).filter_map(array).collect()
}

/// The types that parameters are cast to, in small letters, by their numbers: `$1::int`, `$2::text[]`. The first of several counts.
pub(super) fn casts(sql: &str) -> BTreeMap<usize, String> {
    let tokens = scan(sql);
    let mut found = BTreeMap::new();
    for (at, (token, _)) in tokens.iter().enumerate() {
        if let (Token::Parameter(number), Some((name, is_array, _))) = (token, cast_behind(&tokens[at + 1..])) {
            found.entry(*number).or_insert(if is_array { format!("{name}[]") } else { name });
        }
    }
    found
}

/// The type behind a parameter, whether it is an array of it, and where it ends.
fn cast_behind(tokens: &[Place<'_>]) -> Option<(String, bool, usize)> {
    /// Names of several words, by what follows their first.
    const LONG: [&[&str]; 4] = [&["with", "time", "zone"], &["without", "time", "zone"], &["precision"], &["varying"]];
    let token = |at: usize| tokens.get(at).map(|(token, _)| *token);
    let (Some(Token::Sign(':')), Some(Token::Sign(':')), Some(Token::Word(first))) = (token(0), token(1), token(2))
    else {
        return None;
    };
    let follows = |words: &&&[&str]| words.iter().zip(3..).all(|(word, at)| token(at).is_some_and(|it| it.is(word)));
    let rest = LONG.iter().find(follows).copied().unwrap_or_default();
    let name = [&[first], rest].concat().join(" ").to_lowercase();
    let end = 3 + rest.len();
    let is_array = (token(end), token(end + 1)) == (Some(Token::Sign('[')), Some(Token::Sign(']')));
    Some((name, is_array, tokens[if is_array { end + 1 } else { end - 1 }].1.end))
}

/// A statement with literals in the places of its parameters. A parameter without a literal stays. A cast to an array behind one
/// goes: the literal is of its type, and the dialect has no such cast.
pub(super) fn bind(sql: &str, literals: &[String]) -> String {
    let mut bound = String::with_capacity(sql.len());
    let mut done = 0;
    let tokens = scan(sql);
    for (place, (token, at)) in tokens.iter().enumerate() {
        let Token::Parameter(number) = token else { continue };
        let Some(literal) = number.checked_sub(1).and_then(|index| literals.get(index)) else { continue };
        bound.push_str(&sql[done..at.start]);
        bound.push_str(literal);
        done = match cast_behind(&tokens[place + 1..]) {
            Some((_, true, end)) => end,
            _ => at.end,
        };
    }
    bound.push_str(&sql[done..]);
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_with_semicolons_that_are_not_quoted() {
        let sql = "SELECT ';', \"a;b\"; /* ; /* ; */ */ -- ;\n ;; SELECT E'\\';', 'it''s;' ;SELECT $$;$$, $a$;$$;$a$";
        let expected = ["SELECT ';', \"a;b\"", "SELECT E'\\';', 'it''s;'", "SELECT $$;$$, $a$;$$;$a$"];
        assert_eq!(statements(sql), expected);
        for sql in ["", " ; ;", "-- nothing", "/* nothing"] {
            assert!(statements(sql).is_empty(), "{sql}");
        }
        assert_eq!(statements("SELECT 'open; "), ["SELECT 'open; "]);
        assert_eq!(statements("SELECT `a;'b` FROM t; SELECT 1"), ["SELECT `a;'b` FROM t", "SELECT 1"]);
    }

    #[test]
    fn parameters_are_replaced_outside_of_quotes() {
        let sql = "SELECT $1, '$1', \"$path\", $2x, a$1 -- $1\n WHERE x = $10 AND y = $1";
        assert_eq!(parameters(sql), 10);
        let literals = ["'it''s'".to_owned(), "(-5)".to_owned()];
        let expected = "SELECT 'it''s', '$1', \"$path\", (-5)x, a$1 -- $1\n WHERE x = $10 AND y = 'it''s'";
        assert_eq!(bind(sql, &literals), expected);
        let sql = "SELECT $1 FROM t LIMIT $2 OFFSET $3";
        assert_eq!(limits(sql), BTreeSet::from([2, 3]));
    }

    #[test]
    fn casts_of_parameters_are_known_and_those_to_arrays_go() {
        let sql = "SELECT $1::int, $2 :: text[], $3, '$4::int', $5::timestamp WITH time zone, $1::text WHERE a = ANY($2::text[])";
        let found: Vec<(usize, String)> = casts(sql).into_iter().collect();
        let expected = [(1, "int"), (2, "text[]"), (5, "timestamp with time zone")];
        assert_eq!(found, expected.map(|(number, name)| (number, name.to_owned())));
        assert_eq!(arrays("$1 = any( $2 ) OR $3 > ALL($4::int[]) OR many($5)"), BTreeSet::from([2, 4]));
        let literals = ["1", "ARRAY['a']", "3", "4", "5"].map(str::to_owned);
        let bound =
            "SELECT 1::int, ARRAY['a'], 3, '$4::int', 5::timestamp WITH time zone, 1::text WHERE a = ANY(ARRAY['a'])";
        assert_eq!(bind(sql, &literals), bound);
    }

    #[test]
    fn what_is_cut_off_ends_somewhere() {
        for sql in ["'", "\"", "E'\\", "$", "$$", "$a$", "/*", "é'ü", "$99999999999999999999999"] {
            scan(sql);
        }
        assert_eq!(scan("x'1'"), [(Token::Word("x"), 0..1), (Token::Text("1"), 1..4)]);
    }
}
