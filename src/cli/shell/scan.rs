//! Where SQL is code, and where quoted text or a comment: as far as ends of statements and names need it.

/// What stands at a place of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Code.
    #[default]
    Code,
    /// `'text'`; with escapes by a backslash in `E'text'`.
    Text { escapes: bool },
    /// A name in this kind of quotes.
    Name(char),
    /// `$tag$text$tag$`, with the tag.
    Dollar(String),
    /// `-- to the end of the line`
    Line,
    /// `/* so many deep */`
    Block(u32),
}

/// Goes through a text of SQL, which may come in parts that end with lines.
#[derive(Debug, Clone, Default)]
pub(super) struct Scanner {
    state: State,
    /// The characters before, which tell `E'` and `a$b`.
    before: [Option<char>; 2],
}

impl Scanner {
    /// What stands where it is.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Takes the character or sign that `rest` begins with, and returns its length in bytes.
    pub(super) fn step(&mut self, rest: &str) -> usize {
        let Some(c) = rest.chars().next() else { return 0 };
        let (next, taken) = match &self.state {
            State::Code => self.open(rest, c),
            State::Text { escapes: true } if c == '\\' => {
                (None, 1 + rest[1..].chars().next().map_or(0, char::len_utf8))
            }
            // A doubled quote ends the text and begins it again, which is the same.
            State::Text { .. } if c == '\'' => {
                if rest[1..].starts_with('\'') {
                    (None, 2)
                } else {
                    (Some(State::Code), 1)
                }
            }
            State::Name(quote) if c == *quote => (Some(State::Code), c.len_utf8()),
            State::Dollar(tag) if rest.starts_with(tag.as_str()) => (Some(State::Code), tag.len()),
            State::Line if c == '\n' => (Some(State::Code), 1),
            State::Block(depth) if rest.starts_with("*/") => {
                (Some(if *depth > 1 { State::Block(depth - 1) } else { State::Code }), 2)
            }
            State::Block(depth) if rest.starts_with("/*") => (Some(State::Block(depth + 1)), 2),
            _ => (None, c.len_utf8()),
        };
        self.before = [self.before[1], Some(c)];
        if let Some(next) = next {
            self.state = next;
        }
        taken
    }

    /// What begins at `c` in code, and how long its sign is.
    fn open(&self, rest: &str, c: char) -> (Option<State>, usize) {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '@');
        match c {
            '\'' => {
                let escapes = matches!(self.before, [first, Some('e' | 'E')] if !first.is_some_and(is_part));
                (Some(State::Text { escapes }), 1)
            }
            '"' | '`' => (Some(State::Name(c)), 1),
            '-' if rest.starts_with("--") => (Some(State::Line), 2),
            '/' if rest.starts_with("/*") => (Some(State::Block(1)), 2),
            '$' if !self.before[1].is_some_and(is_part) => match dollar_tag(rest) {
                Some(tag) => (Some(State::Dollar(tag.to_owned())), tag.len()),
                None => (None, 1),
            },
            _ => (None, c.len_utf8()),
        }
    }
}

/// The `$tag$` that a text begins with.
fn dollar_tag(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 2;
    let tag = &rest[1..end - 1];
    (tag.chars().all(|c| c.is_alphanumeric() || c == '_') && !tag.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| &rest[..end])
}
