//! What went wrong, as the protocol tells it: a state of five characters and a message.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use pgwire::error::{ErrorInfo, PgWireError};

use super::super::errors::plain;
use crate::error::{Error, ErrorKind, describe};

/// An error that ends a statement, with its SQLSTATE.
pub(super) fn refuse(state: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_owned(), state.to_owned(), message.into())))
}

/// A prepared statement gives other columns than the client was told of.
pub(super) fn changed() -> PgWireError {
    let message = "cached plan must not change result type";
    let mut info = ErrorInfo::new("ERROR".to_owned(), "0A000".to_owned(), message.to_owned());
    info.routine = Some("RevalidateCachedQuery".to_owned());
    PgWireError::UserError(Box::new(info))
}

/// An error that ends the connection.
pub(super) fn end(state: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".to_owned(), state.to_owned(), message.into())))
}

/// An error of the library.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn ours(error: Error) -> PgWireError {
    let state = match error.kind() {
        ErrorKind::Usage => "42000",
        ErrorKind::NotFound => "42P01",
        ErrorKind::Corrupt => "XX001",
        ErrorKind::Conflict | ErrorKind::Failed => "58030",
    };
    refuse(state, describe(&error))
}

/// An error of the query engine.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn engine(error: DataFusionError) -> PgWireError {
    let state = state(error.find_root());
    let text = plain(&error);
    // What was being done, which a rule of the optimizer may be, stands before its cause.
    let text = text.rsplit_once("caused by\n").map_or(text.as_str(), |(_, cause)| cause);
    let prefixes = ["Error during planning: ", "Execution error: ", "Arrow error: ", "Schema error: "];
    refuse(state, prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text))
}

fn state(error: &DataFusionError) -> &'static str {
    match error {
        DataFusionError::SQL(..) => "42601",
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { .. } => "42703",
            SchemaError::AmbiguousReference { .. } => "42702",
            SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. } => "42701",
        },
        DataFusionError::NotImplemented(_) => "0A000",
        DataFusionError::ResourcesExhausted(_) => "53200",
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => "22012",
            ArrowError::ArithmeticOverflow(_) => "22003",
            ArrowError::CastError(_) | ArrowError::ParseError(_) => "22P02",
            _ => "22000",
        },
        DataFusionError::Plan(message) => {
            let message = message.to_lowercase();
            let says = |text: &str| message.contains(text);
            match () {
                () if says("table") && says("not found") || says("no suitable schema provider") => "42P01",
                () if says("failed to resolve schema") => "3F000",
                () if says("no function matches") || says("invalid function") => "42883",
                () if says("no field named") => "42703",
                () => "42000",
            }
        }
        DataFusionError::Execution(message) if message.contains("cannot be cast to") => "22P02",
        DataFusionError::ObjectStore(_) | DataFusionError::ParquetError(_) | DataFusionError::IoError(_) => "58030",
        _ => "XX000",
    }
}
