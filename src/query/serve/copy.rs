//! COPY of a query or a table to the client: as text, CSV or in binary form, as PostgreSQL writes them.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use pgwire::api::portal::Format;
use pgwire::error::PgWireError;
use pgwire::messages::data::DataRow;

use super::errors::refuse;
use super::statement::read_only;
use super::text::{Place, Token};

/// What begins a copy in binary form: a signature, no flags, no extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What ends it: no row has so many fields.
const BINARY_END: i16 = -1;

/// COPY ... TO STDOUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyOut {
    /// What gives the rows.
    pub(super) query: String,
    form: Form,
    /// The first line has the names of the columns.
    has_header: bool,
    delimiter: u8,
    null: String,
    quote: u8,
    escape: u8,
    quoted: Quoted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Csv,
    Binary,
}

/// Columns whose values stand in quotes, always.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Quoted {
    All,
    These(Vec<String>),
}

impl CopyOut {
    /// Takes a statement, whose tokens these are.
    ///
    /// # Errors
    /// When it is none, or not one to the client.
    pub(super) fn parse(sql: &str, tokens: &[Place<'_>]) -> Result<Self, PgWireError> {
        let is = |at: usize, word: &str| tokens.get(at).is_some_and(|(token, _)| token.is(word));
        let from = if is(1, "BINARY") { 2 } else { 1 };
        let mut depth = 0;
        let to = (from..tokens.len()).find(|at| {
            match tokens[*at].0 {
                Token::Sign('(') => depth += 1,
                Token::Sign(')') => depth -= 1,
                _ => {}
            }
            depth == 0 && (is(*at, "TO") || is(*at, "FROM"))
        });
        let Some(to) = to.filter(|to| *to > from) else {
            return Err(refuse("42601", "COPY takes a table, or a query in brackets, and TO STDOUT"));
        };
        if is(to, "FROM") {
            return Err(read_only("COPY FROM"));
        }
        if !is(to + 1, "STDOUT") {
            return Err(read_only("COPY to where the server is"));
        }
        let mut copy = Self {
            query: query(sql, &tokens[from..to])?,
            form: if from == 2 { Form::Binary } else { Form::Text },
            has_header: false,
            delimiter: 0,
            null: String::new(),
            quote: b'"',
            escape: 0,
            quoted: Quoted::These(Vec::new()),
        };
        copy.take_options(Options { tokens: tokens[to + 2..].iter().map(|(token, _)| *token).collect(), at: 0 })?;
        Ok(copy)
    }

    /// Both ways to write options: in brackets, and one behind another.
    fn take_options(&mut self, mut options: Options<'_>) -> Result<(), PgWireError> {
        let (mut null, mut is_of_csv) = (None, None);
        while let Some(token) = options.next() {
            let Some(name) = token.word().map(str::to_uppercase) else {
                match token {
                    Token::Sign('(' | ')' | ',') => continue,
                    _ => return Err(wrong("COPY does not take such an option")),
                }
            };
            match name.as_str() {
                "WITH" | "USING" => {}
                "FORMAT" => {
                    let form = options.text()?.to_lowercase();
                    self.form = match form.as_str() {
                        "text" => Form::Text,
                        "csv" => Form::Csv,
                        "binary" => Form::Binary,
                        _ => return Err(refuse("22023", format!("COPY knows no format {form}"))),
                    };
                }
                "BINARY" => self.form = Form::Binary,
                "CSV" => self.form = Form::Csv,
                "HEADER" => self.has_header = options.flag(),
                "DELIMITER" | "DELIMITERS" => self.delimiter = options.byte("delimiter")?,
                "NULL" => null = Some(options.text()?),
                "QUOTE" => (self.quote, is_of_csv) = (options.byte("quote")?, Some("quote")),
                "ESCAPE" => (self.escape, is_of_csv) = (options.byte("escape")?, Some("escape")),
                "FORCE" if options.is_next("QUOTE") => {
                    options.at += 1;
                    (self.quoted, is_of_csv) = (options.columns()?, Some("FORCE QUOTE"));
                }
                "FORCE_QUOTE" => (self.quoted, is_of_csv) = (options.columns()?, Some("FORCE_QUOTE")),
                "ENCODING" => {
                    let encoding = options.text()?;
                    if !["utf8", "utf-8", "unicode"].contains(&&*encoding.to_lowercase()) {
                        return Err(refuse("0A000", format!("texts are UTF-8 here, not {encoding}")));
                    }
                }
                _ => return Err(wrong(&format!("COPY to the client has no option {name}"))),
            }
        }
        if self.delimiter == 0 {
            self.delimiter = if self.form == Form::Csv { b',' } else { b'\t' };
        } else if self.form == Form::Binary {
            return Err(wrong("a delimiter is not for binary form"));
        }
        if self.escape == 0 {
            self.escape = self.quote;
        }
        if let Some(option) = is_of_csv.filter(|_| self.form != Form::Csv) {
            return Err(refuse("0A000", format!("the option {option} of COPY is for CSV")));
        }
        if self.has_header && self.form == Form::Binary {
            return Err(wrong("a header is not for binary form"));
        }
        self.null = null.unwrap_or_else(|| if self.form == Form::Csv { String::new() } else { "\\N".to_owned() });
        // What could not be read again.
        let is_in_null = |byte: u8| self.null.as_bytes().contains(&byte);
        let is_ambiguous = match self.form {
            Form::Text => {
                is_in_null(self.delimiter) || b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&self.delimiter)
            }
            Form::Csv => is_in_null(self.delimiter) || is_in_null(self.quote) || self.delimiter == self.quote,
            Form::Binary => false,
        };
        if is_ambiguous || self.null.contains(['\r', '\n']) {
            return Err(refuse("22023", "delimiter, quote and null of COPY cannot be told apart"));
        }
        Ok(())
    }

    /// The format of rows that it is made of.
    pub(super) fn format(&self) -> Format {
        if self.form == Form::Binary { Format::UnifiedBinary } else { Format::UnifiedText }
    }

    /// What tells the client of it.
    pub(super) fn code(&self) -> i8 {
        i8::from(self.form == Form::Binary)
    }

    /// A writer of the rows of these columns.
    pub(super) fn writer(&self, columns: Vec<String>) -> Writer<'_> {
        let quoted = columns.iter().map(|column| match &self.quoted {
            Quoted::All => true,
            Quoted::These(names) => names.contains(column),
        });
        Writer { copy: self, quoted: quoted.collect(), columns, has_begun: false }
    }
}

/// The query that a copy is of: what stands in brackets, or all of a table, or some columns of it.
fn query(sql: &str, tokens: &[Place<'_>]) -> Result<String, PgWireError> {
    let text = |tokens: &[Place<'_>]| match tokens {
        [] => String::new(),
        [first, .., last] | [first @ last] => sql[first.1.start..last.1.end].to_owned(),
    };
    match tokens {
        [(Token::Sign('('), _), inner @ .., (Token::Sign(')'), _)] if !inner.is_empty() => Ok(text(inner)),
        _ => {
            let columns = tokens.iter().position(|(token, _)| *token == Token::Sign('('));
            let (table, columns) = tokens.split_at(columns.unwrap_or(tokens.len()));
            match (table, columns) {
                ([], _) => Err(wrong("COPY takes a table, or a query in brackets")),
                (_, []) => Ok(format!("SELECT * FROM {}", text(table))),
                (_, [_, names @ .., (Token::Sign(')'), _)]) => {
                    Ok(format!("SELECT {} FROM {}", text(names), text(table)))
                }
                _ => Err(wrong("the columns of COPY stand in brackets")),
            }
        }
    }
}

fn wrong(what: &str) -> PgWireError {
    refuse("42601", what)
}

/// The tokens of options.
struct Options<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Options<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn is_next(&self, word: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.is(word))
    }

    /// A value, before which AS may stand.
    fn text(&mut self) -> Result<String, PgWireError> {
        if self.is_next("AS") {
            self.at += 1;
        }
        let is_escaped = self.is_next("E") && matches!(self.tokens.get(self.at + 1), Some(Token::Text(_)));
        self.at += usize::from(is_escaped);
        match self.next() {
            Some(Token::Text(text)) => {
                let text = text.replace("''", "'");
                Ok(match is_escaped {
                    true => text.replace("\\t", "\t").replace("\\n", "\n").replace("\\\\", "\\"),
                    false => text,
                })
            }
            Some(Token::Word(text) | Token::Name(text)) => Ok(text.to_owned()),
            _ => Err(wrong("an option of COPY has no value")),
        }
    }

    fn byte(&mut self, what: &str) -> Result<u8, PgWireError> {
        match self.text()?.as_bytes() {
            [byte] if byte.is_ascii() && !b"\r\n".contains(byte) => Ok(*byte),
            _ => Err(refuse("0A000", format!("the {what} of COPY is one character of one byte"))),
        }
    }

    /// Whether an option is on; alone it is.
    fn flag(&mut self) -> bool {
        let words = ["true", "on", "1", "match", "false", "off", "0"];
        let Some(Token::Word(text) | Token::Text(text)) = self.tokens.get(self.at) else { return true };
        let Some(place) = words.iter().position(|word| text.eq_ignore_ascii_case(word)) else { return true };
        self.at += 1;
        place < 4
    }

    /// Some columns, or all.
    fn columns(&mut self) -> Result<Quoted, PgWireError> {
        let mut names = Vec::new();
        let is_in_brackets = self.tokens.get(self.at) == Some(&Token::Sign('('));
        self.at += usize::from(is_in_brackets);
        loop {
            match self.next() {
                Some(Token::Sign('*')) => return Ok(Quoted::All),
                token => {
                    let name = token.and_then(Token::name);
                    names.push(name.ok_or_else(|| wrong("FORCE_QUOTE takes names of columns, or *"))?);
                }
            }
            match self.tokens.get(self.at) {
                Some(Token::Sign(',')) => self.at += 1,
                Some(Token::Sign(')')) if is_in_brackets => {
                    self.at += 1;
                    return Ok(Quoted::These(names));
                }
                _ => return Ok(Quoted::These(names)),
            }
        }
    }
}

/// Writes rows.
pub(super) struct Writer<'a> {
    copy: &'a CopyOut,
    columns: Vec<String>,
    quoted: Vec<bool>,
    has_begun: bool,
}

impl Writer<'_> {
    /// A row, and before the first what begins the copy.
    pub(super) fn row(&mut self, row: &DataRow) -> Bytes {
        let mut out = self.begin();
        if self.copy.form == Form::Binary {
            out.put_i16(row.field_count);
            out.put_slice(&row.data);
            return out.freeze();
        }
        let mut rest = &row.data[..];
        let mut fields = Vec::with_capacity(self.columns.len());
        while rest.len() >= 4 {
            let length = usize::try_from(rest.get_i32()).ok();
            fields.push(length.map(|length| rest.split_at(length.min(rest.len()))).map(|(field, behind)| {
                rest = behind;
                field
            }));
        }
        self.line(&mut out, &fields, false);
        out.freeze()
    }

    /// What ends the copy, if anything does.
    pub(super) fn end(&mut self) -> Bytes {
        let mut out = self.begin();
        if self.copy.form == Form::Binary {
            out.put_i16(BINARY_END);
        }
        out.freeze()
    }

    /// What stands before all rows: who reads it wants it in one message with the first.
    fn begin(&mut self) -> BytesMut {
        let mut out = BytesMut::new();
        if !std::mem::replace(&mut self.has_begun, true) {
            if self.copy.form == Form::Binary {
                out.put_slice(BINARY_HEADER);
            } else if self.copy.has_header {
                let names: Vec<Option<&[u8]>> = self.columns.iter().map(|name| Some(name.as_bytes())).collect();
                self.line(&mut out, &names, true);
            }
        }
        out
    }

    fn line(&self, out: &mut BytesMut, fields: &[Option<&[u8]>], is_header: bool) {
        let copy = self.copy;
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                out.put_u8(copy.delimiter);
            }
            match (field, copy.form) {
                (None, _) => out.put_slice(copy.null.as_bytes()),
                (Some(field), Form::Csv) => {
                    let is_quoted = !is_header && self.quoted.get(index).copied().unwrap_or_default();
                    copy.put_csv(out, field, is_quoted, fields.len() == 1);
                }
                (Some(field), _) => copy.put_text(out, field),
            }
        }
        out.put_u8(b'\n');
    }
}

impl CopyOut {
    fn put_csv(&self, out: &mut BytesMut, field: &[u8], is_quoted: bool, is_alone: bool) {
        let is_special = |byte: &u8| [self.delimiter, self.quote, b'\n', b'\r'].contains(byte);
        // A line of nothing but \. ends what is read.
        let is_end = is_alone && field == b"\\.";
        if !is_quoted && !is_end && field != self.null.as_bytes() && !field.iter().any(is_special) {
            return out.put_slice(field);
        }
        out.put_u8(self.quote);
        for byte in field {
            if [self.quote, self.escape].contains(byte) {
                out.put_u8(self.escape);
            }
            out.put_u8(*byte);
        }
        out.put_u8(self.quote);
    }

    fn put_text(&self, out: &mut BytesMut, field: &[u8]) {
        for byte in field {
            let escaped = match byte {
                b'\\' => b'\\',
                0x08 => b'b',
                0x0c => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x0b => b'v',
                byte if *byte == self.delimiter => *byte,
                byte => {
                    out.put_u8(*byte);
                    continue;
                }
            };
            out.put_u8(b'\\');
            out.put_u8(escaped);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::super::text::scan;
    use super::*;

    fn copy(sql: &str) -> Result<CopyOut, PgWireError> {
        CopyOut::parse(sql, &scan(sql))
    }

    fn written(sql: &str, columns: &[&str], rows: &[&[Option<&str>]]) -> Vec<u8> {
        let copy = copy(sql).unwrap();
        let mut writer = copy.writer(columns.iter().map(|&name| name.to_owned()).collect());
        let mut out = Vec::new();
        for fields in rows {
            let mut data = BytesMut::new();
            for field in *fields {
                data.put_i32(field.map_or(-1, |field| field.len() as i32));
                data.put_slice(field.unwrap_or_default().as_bytes());
            }
            out.extend_from_slice(&writer.row(&DataRow::new(data, fields.len() as i16)));
        }
        out.extend_from_slice(&writer.end());
        out
    }

    #[test]
    fn what_is_copied_is_a_query_or_a_table() {
        for (sql, query) in [
            ("COPY (SELECT a FROM t WHERE b = 'TO' AND (c)) TO STDOUT", "SELECT a FROM t WHERE b = 'TO' AND (c)"),
            ("copy lake.\"My T\" to stdout with csv header", "SELECT * FROM lake.\"My T\""),
            ("COPY t (a, \"B\") TO STDOUT (FORMAT \"binary\")", "SELECT a, \"B\" FROM t"),
            ("COPY BINARY t TO STDOUT", "SELECT * FROM t"),
        ] {
            assert_eq!(copy(sql).unwrap().query, query, "{sql}");
        }
        for (sql, state) in [
            ("COPY t FROM STDIN", "25006"),
            ("COPY t TO 't.csv'", "25006"),
            ("COPY (SELECT 1) TO PROGRAM 'sh'", "25006"),
            ("COPY", "42601"),
            ("COPY () TO STDOUT", "42601"),
            ("COPY t TO STDOUT (FORMAT parquet)", "22023"),
            ("COPY t TO STDOUT (DELIMITER '||')", "0A000"),
            ("COPY t TO STDOUT (QUOTE '''')", "0A000"),
            ("COPY t TO STDOUT (FORMAT binary, HEADER)", "42601"),
            ("COPY t TO STDOUT (FREEZE)", "42601"),
            ("COPY t TO STDOUT (FORMAT csv, ENCODING 'LATIN1')", "0A000"),
            ("COPY t TO STDOUT (DELIMITER 'N')", "22023"),
            ("COPY t TO STDOUT (DELIMITER '\\')", "22023"),
            ("COPY t TO STDOUT (FORMAT csv, DELIMITER '\"')", "22023"),
        ] {
            let PgWireError::UserError(error) = copy(sql).unwrap_err() else { unreachable!("{sql}") };
            assert_eq!(error.code, state, "{sql}");
        }
    }

    #[test]
    fn text_has_what_divides_it_escaped() {
        let row: &[Option<&str>] = &[Some("a\tb\\N"), None, Some("c\nd"), Some("")];
        assert_eq!(written("COPY t TO STDOUT", &["w", "x", "y", "z"], &[row]), b"a\\tb\\\\N\t\\N\tc\\nd\t\n");
        let sql = "COPY t TO STDOUT WITH DELIMITER AS '|' NULL AS ''";
        assert_eq!(written(sql, &["x", "y"], &[&[Some("a|b"), None]]), b"a\\|b|\n");
    }

    #[test]
    fn csv_has_quotes_where_they_are_needed() {
        let row: &[Option<&str>] = &[Some("a,b"), None, Some(""), Some("say \"x\""), Some("c\nd"), Some("e")];
        let names = ["a", "b", "c", "d", "E,", "f"];
        let sql = "COPY t TO STDOUT WITH (FORMAT csv, HEADER true)";
        assert_eq!(written(sql, &names, &[row]), b"a,b,c,d,\"E,\",f\n\"a,b\",,\"\",\"say \"\"x\"\"\",\"c\nd\",e\n");
        let sql = "COPY t TO STDOUT CSV HEADER FORCE QUOTE f, a DELIMITER ';' NULL 'NA' ESCAPE '\\'";
        let expected = b"a;b;c;d;E,;f\n\"a,b\";NA;;\"say \\\"x\\\"\";\"c\nd\";\"e\"\n";
        assert_eq!(written(sql, &names, &[row]), expected);
        let sql = "COPY t TO STDOUT (FORMAT csv, FORCE_QUOTE *, NULL '-')";
        assert_eq!(written(sql, &["a", "b"], &[&[Some("1"), None]]), b"\"1\",-\n");
        let sql = "COPY t TO STDOUT (FORMAT csv, FORCE_QUOTE (\"b\"\"c\"), NULL E'\\\\N', DELIMITER E'\\t')";
        let rows: [&[Option<&str>]; 2] = [&[Some("1"), Some("2")], &[None, None]];
        assert_eq!(written(sql, &["a", "b\"c"], &rows), b"1\t\"2\"\n\\N\t\\N\n");
        assert_eq!(written("COPY t TO STDOUT CSV", &["a"], &[&[Some("\\.")]]), b"\"\\.\"\n");
    }

    #[test]
    fn binary_form_begins_in_the_message_of_the_first_row() {
        let sql = "COPY t TO STDOUT WITH BINARY";
        assert_eq!(written(sql, &["a"], &[]), [BINARY_HEADER, b"\xff\xff"].concat());
        let copy = copy(sql).unwrap();
        let mut writer = copy.writer(vec!["a".to_owned()]);
        let row = DataRow::new(BytesMut::from(&b"\0\0\0\x01x"[..]), 1);
        assert_eq!(writer.row(&row), [BINARY_HEADER, b"\0\x01\0\0\0\x01x"].concat());
        assert_eq!(writer.row(&row), &b"\0\x01\0\0\0\x01x"[..]);
        assert_eq!(writer.end(), &b"\xff\xff"[..]);
    }
}
