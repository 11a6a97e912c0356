//! Commands of the shell: lines that begin with `\`, as psql has them.

use std::path::PathBuf;

use crate::cli::sql::ResultFormat;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Tables,
    Describe(String),
    Expanded(Option<bool>),
    Timing(Option<bool>),
    Format(Option<ResultFormat>),
    Output(Option<PathBuf>),
    Include(PathBuf),
    Pager(Option<bool>),
    Help,
    Quit,
}

/// Each command with what it does.
pub(super) const HELP: [(&str, &str); 10] = [
    ("\\d", "list the tables"),
    ("\\d NAME", "show the columns of a table"),
    ("\\x [on|off]", "show each row as a block, one line for each column"),
    ("\\timing [on|off]", "show how long statements take"),
    ("\\format [NAME]", "table, csv, json, ndjson, parquet or arrow"),
    ("\\o [FILE]", "write the next result to a file (without FILE: not, after all)"),
    ("\\i FILE", "run the statements of a file"),
    ("\\pset pager [on|off]", "show long results by $PAGER"),
    ("\\?", "show this"),
    ("\\q", "quit (also Ctrl-D); Ctrl-C gives up a query"),
];

/// The words that begin commands.
pub(super) const NAMES: [&str; 9] = ["\\d", "\\x", "\\timing", "\\format", "\\o", "\\i", "\\pset", "\\?", "\\q"];

/// Reads a line that begins with `\`.
///
/// # Errors
/// A message of one line.
pub(super) fn parse(line: &str) -> Result<Command, String> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = unquote(rest.trim());
    let command = match (name, argument) {
        ("\\d" | "\\dt" | "\\d+", None) => Command::Tables,
        // Names keep their quotes.
        ("\\d" | "\\dt" | "\\d+", Some(_)) => Command::Describe(rest.trim().to_owned()),
        ("\\x", argument) => Command::Expanded(switch(name, argument)?),
        ("\\timing", argument) => Command::Timing(switch(name, argument)?),
        ("\\pset", Some(argument)) => match argument.split_once(char::is_whitespace).unwrap_or((&argument, "")) {
            ("pager", value) => Command::Pager(switch("\\pset pager", unquote(value.trim()))?),
            (other, _) => return Err(format!("\\pset knows no {other}; there is \\pset pager")),
        },
        ("\\pset", None) => return Err("give \\pset pager on or off".to_owned()),
        ("\\format", None) => Command::Format(None),
        ("\\format", Some(name)) => {
            let format = <ResultFormat as clap::ValueEnum>::from_str(&name, true);
            Command::Format(Some(format.map_err(|_| {
                format!("there is no format {name}; there are table, csv, json, ndjson, parquet and arrow")
            })?))
        }
        ("\\o", argument) => Command::Output(argument.map(PathBuf::from)),
        ("\\i", Some(file)) => Command::Include(PathBuf::from(file)),
        ("\\i", None) => return Err("give \\i a file".to_owned()),
        ("\\?" | "\\h" | "\\help", _) => Command::Help,
        ("\\q" | "\\quit", _) => Command::Quit,
        (name, _) => return Err(format!("there is no command {name}; \\? shows those there are")),
    };
    Ok(command)
}

/// An argument without the quotes around it; `None` when there is none.
fn unquote(text: &str) -> Option<String> {
    let quoted = ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    let text = quoted.unwrap_or(text);
    (!text.is_empty()).then(|| text.to_owned())
}

fn switch(name: &str, argument: Option<String>) -> Result<Option<bool>, String> {
    match argument.map(|argument| argument.to_ascii_lowercase()).as_deref() {
        None => Ok(None),
        Some("on" | "true" | "1") => Ok(Some(true)),
        Some("off" | "false" | "0") => Ok(Some(false)),
        Some(_) => Err(format!("{name} is on or off")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_their_arguments() {
        for (line, command) in [
            ("\\d", Command::Tables),
            ("\\d;", Command::Tables),
            ("  \\d   lake.\"Web.Hooks-2\" ", Command::Describe("lake.\"Web.Hooks-2\"".to_owned())),
            ("\\d events;", Command::Describe("events".to_owned())),
            ("\\x", Command::Expanded(None)),
            ("\\x ON", Command::Expanded(Some(true))),
            ("\\timing off", Command::Timing(Some(false))),
            ("\\format", Command::Format(None)),
            ("\\format Parquet", Command::Format(Some(ResultFormat::Parquet))),
            ("\\o", Command::Output(None)),
            ("\\o 'my file.csv'", Command::Output(Some("my file.csv".into()))),
            ("\\i a b.sql", Command::Include("a b.sql".into())),
            ("\\pset pager", Command::Pager(None)),
            ("\\pset pager off", Command::Pager(Some(false))),
            ("\\?", Command::Help),
            ("\\q", Command::Quit),
        ] {
            assert_eq!(parse(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_told_in_one_line() {
        for (line, named) in [
            ("\\dance", "\\dance"),
            ("\\", "there is no command"),
            ("\\x maybe", "on or off"),
            ("\\format xml", "xml"),
            ("\\pset", "\\pset pager"),
            ("\\pset border 2", "border"),
            ("\\i", "file"),
        ] {
            let message = parse(line).unwrap_err();
            assert!(message.contains(named) && !message.contains('\n'), "{line}: {message}");
        }
    }
}
