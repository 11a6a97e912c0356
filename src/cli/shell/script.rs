//! Text to statements: what ends with `;`, and commands, which are lines that begin with `\`.

use super::scan::{Scanner, State};

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// What.
    pub(super) what: What,
    /// The line that it begins in, from 1.
    pub(super) line: usize,
}

/// A statement without its `;`, or a line that begins with `\`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Statement(String),
    Command(String),
}

/// Takes a text line by line.
#[derive(Debug, Default)]
pub(super) struct Script {
    scanner: Scanner,
    /// The statement so far, with the comments before it.
    text: String,
    /// The line in which its code begins, once there is any.
    begins: Option<usize>,
    lines: usize,
}

impl Script {
    /// All of a text.
    pub(super) fn split(text: &str) -> Vec<Piece> {
        let mut script = Self::default();
        let mut pieces = script.push(text);
        pieces.extend(script.finish());
        pieces
    }

    /// Whether a text is whole: every statement in it has its end.
    pub(super) fn is_whole(text: &str) -> bool {
        let mut script = Self::default();
        script.push(text);
        script.begins.is_none() && !matches!(script.scanner.state(), State::Block(_))
    }

    /// Takes more lines, and gives what they end.
    pub(super) fn push(&mut self, text: &str) -> Vec<Piece> {
        text.split_inclusive('\n').flat_map(|line| self.push_line(line)).collect()
    }

    fn push_line(&mut self, line: &str) -> Vec<Piece> {
        self.lines += 1;
        let mut pieces = Vec::new();
        if self.begins.is_none() && *self.scanner.state() == State::Code && line.trim_start().starts_with('\\') {
            self.text.clear();
            pieces.push(Piece { what: What::Command(line.trim().to_owned()), line: self.lines });
            return pieces;
        }
        let mut at = 0;
        while at < line.len() {
            let rest = &line[at..];
            let was_code = *self.scanner.state() == State::Code;
            if was_code && rest.starts_with(';') {
                at += 1;
                self.scanner = Scanner::default();
                let text = std::mem::take(&mut self.text);
                if let Some(line) = self.begins.take() {
                    pieces.push(Piece { what: What::Statement(text), line });
                }
                continue;
            }
            let taken = self.scanner.step(rest);
            let is_comment = matches!(self.scanner.state(), State::Line | State::Block(_));
            if was_code && !is_comment && !rest.starts_with(char::is_whitespace) {
                self.begins.get_or_insert(self.lines);
            }
            self.text.push_str(&rest[..taken]);
            at += taken;
        }
        pieces
    }

    /// Gives what has no end, at the end of the text.
    pub(super) fn finish(self) -> Option<Piece> {
        self.begins.map(|line| Piece { what: What::Statement(self.text), line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<String> {
        let statement = |piece: Piece| match piece.what {
            What::Statement(text) => text.trim().to_owned(),
            What::Command(text) => format!("command {text}"),
        };
        Script::split(text).into_iter().map(statement).collect()
    }

    #[test]
    fn statements_end_with_a_semicolon_or_the_text() {
        assert_eq!(statements("select 1; select\n2;select 3"), ["select 1", "select\n2", "select 3"]);
        assert_eq!(statements(" ;; \n;"), [""; 0]);
        assert_eq!(statements(""), [""; 0]);
    }

    #[test]
    fn a_semicolon_in_text_names_and_comments_ends_nothing() {
        for whole in [
            "select ';'",
            "select 'it''s; so'",
            "select '\\', 1",
            "select E'a\\';b', e';'",
            "select \";\" from t",
            "select 1 -- one; two\n, 2",
            "select 1 /* a; /* b; */ c; */ + 2",
            "select $$a;b$$, $x$ $$; $x$",
            "select '-- ;' || '/* ;'",
            "select `;`",
        ] {
            assert_eq!(statements(&format!("{whole};select 9")), [whole, "select 9"]);
        }
        // A type that ends with e is no prefix, and a dollar within a name begins nothing.
        assert_eq!(statements("select date'\\'; select a$b$;c$b$"), ["select date'\\'", "select a$b$", "c$b$"]);
    }

    #[test]
    fn comments_alone_are_no_statement() {
        assert_eq!(statements("-- nothing\n/* and nothing */"), [""; 0]);
        assert_eq!(statements("-- one\nselect 1;-- two"), ["-- one\nselect 1"]);
    }

    #[test]
    fn commands_are_lines_outside_of_statements() {
        assert_eq!(
            statements("\\d lake.s\nselect 1;\n  \\x\n-- c\n\\timing on\nselect '\n\\x\n'"),
            ["command \\d lake.s", "select 1", "command \\x", "command \\timing on", "select '\n\\x\n'"]
        );
    }

    #[test]
    fn each_piece_has_the_line_that_its_code_begins_in() {
        let lines: Vec<usize> = Script::split("-- c\n\nselect 1\n;\n\\x\n/*\n*/ select 2; select 3")
            .iter()
            .map(|piece| piece.line)
            .collect();
        assert_eq!(lines, [3, 5, 7, 7]);
    }

    #[test]
    fn a_text_is_whole_when_nothing_waits_for_its_end() {
        for whole in ["", "  ", "select 1;", "select ';';  -- done", "\\d", "-- only this", "select 1; select 2;"] {
            assert!(Script::is_whole(whole), "{whole}");
        }
        for open in ["select 1", "select ';", "select 1; select", "/* not yet", "select 1 -- ;"] {
            assert!(!Script::is_whole(open), "{open}");
        }
    }
}
