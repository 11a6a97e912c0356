//! What the query engine says of errors, for people who ask this program and not the engine: without the values of rows, which
//! belong into no log, and without advice that cannot be followed here.

use datafusion::error::DataFusionError;

/// What stands before and behind a value in messages of Arrow; nothing behind it: the line ends with it.
const VALUES: [(&str, &str); 9] = [
    ("Cannot cast string '", "' to value of"),
    ("Cannot cast value '", "' to value of"),
    ("Can't cast value ", " to type"),
    ("Error parsing timestamp from '", "': "),
    ("Failed to parse '", "' as"),
    ("Failed to parse ", " as interval"),
    ("Overflow happened on: ", ""),
    (". Overflowing on ", ""),
    ("Cannot cast Date64 value ", " to Date32"),
];

/// Advice of the engine, and what is said instead.
const ADVICE: [(&str, &str, &str); 7] = [
    (".\nThis issue was likely caused by a bug", "datafusion/issues", ""),
    (
        "\nColumn names are case sensitive. You can use double quotes to refer to the ",
        "enable_ident_normalization configuration.",
        " Names in double quotes keep their case.",
    ),
    (
        " Consider increasing the memory limit config",
        "sort_spill_reservation_bytes'.",
        " Give more with --memory-limit.",
    ),
    ("Optimizer rule '", "' failed\ncaused by\n", ""),
    ("Execution error: Function '", "' user-defined coercion failed with: Error during planning: ", ""),
    (". No function matches the given name", "", "."),
    (" failed to match any signature, errors: ", "", " takes no such arguments"),
];

/// The message of an error.
pub(super) fn plain(error: &DataFusionError) -> String {
    // Of what fails before a query runs, the values are those of the statement.
    let is_planned = matches!(error, DataFusionError::Context(what, _) if what.starts_with("Optimizer rule"));
    let mut text = match error.find_root() {
        // The engine shows the parts of its own error.
        DataFusionError::SQL(error, _) => {
            error.to_string().replacen("sql parser error: ", "the SQL cannot be parsed: ", 1)
        }
        _ => error.strip_backtrace(),
    };
    for (begin, end, instead) in ADVICE {
        cut(&mut text, begin, end, instead, true);
    }
    text = text.replace("Internal error: Function '", "Function '");
    // Names that are ours alone.
    cut(&mut text, "\nDid you mean '__", "'?", "", true);
    for (begin, end) in VALUES {
        if !is_planned {
            cut(&mut text, begin, end, "…", false);
        }
    }
    text
}

/// Puts `instead` in the place of what stands between, with what it stands between or without.
fn cut(text: &mut String, begin: &str, end: &str, instead: &str, with_both: bool) {
    let Some(at) = text.find(begin) else { return };
    let inner = at + begin.len();
    // A value may hold anything: the last end counts.
    let until = if end.is_empty() { Some(text.len()) } else { text.rfind(end).filter(|until| *until >= inner) };
    let Some(until) = until else { return };
    let range = if with_both { at..until + end.len() } else { inner..until };
    text.replace_range(range, instead);
}

#[cfg(test)]
mod tests {
    use arrow::error::ArrowError;

    use super::*;

    #[test]
    fn messages_tell_no_values_of_rows() {
        let cast = |message: &str| DataFusionError::from(ArrowError::CastError(message.to_owned()));
        let error = cast("Cannot cast string 'it's a secret' to value of Int64 type");
        assert_eq!(plain(&error), "Arrow error: Cast error: Cannot cast string '…' to value of Int64 type");
        assert_eq!(
            plain(&cast("Can't cast value 4711 to type Int16")),
            "Arrow error: Cast error: Can't cast value … to type Int16"
        );
        let overflow =
            DataFusionError::from(ArrowError::ArithmeticOverflow("Overflow happened on: 4711 + 1".to_owned()));
        assert_eq!(plain(&overflow), "Arrow error: Arithmetic overflow: Overflow happened on: …");
        // What is planned has nothing but the statement's own values.
        let planned = cast("Cannot cast string 'x' to value of Int64 type")
            .context("Optimizer rule 'simplify_expressions' failed");
        assert_eq!(plain(&planned), "Arrow error: Cast error: Cannot cast string 'x' to value of Int64 type");
    }

    #[test]
    fn what_a_function_does_not_take_is_told_once() {
        let coerced = "Function 'f' user-defined coercion failed with: Error during planning: f takes varchar. No function matches the given name and argument types 'f(Int64)'.\n\tCandidate functions:\n\tf(UserDefined)";
        let coerced = DataFusionError::Plan(format!("Execution error: {coerced}"));
        assert_eq!(plain(&coerced), "Error during planning: f takes varchar.");
        let matched = "Internal error: Function 'sum' failed to match any signature, errors: Error during planning: Function 'sum' requires Decimal,Error";
        let matched = plain(&DataFusionError::Plan(matched.to_owned()));
        assert_eq!(matched, "Error during planning: Function 'sum' takes no such arguments");
    }

    #[test]
    fn advice_is_what_can_be_done_here() {
        let internal = plain(&DataFusionError::Internal("a hole".to_owned()));
        assert!(internal.contains("a hole") && !internal.contains("DataFusion's code"), "{internal}");
        let memory = "Not enough. Consider increasing the memory limit config: 'datafusion.runtime.memory_limit', or decreasing the config: 'datafusion.execution.sort_spill_reservation_bytes'.";
        let memory = plain(&DataFusionError::ResourcesExhausted(memory.to_owned()));
        assert_eq!(memory, "Resources exhausted: Not enough. Give more with --memory-limit.");
    }
}
