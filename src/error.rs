//! The one error type of the library.
//!
//! A [`ErrorKind`] exists only where a caller acts on it. Messages are lower case, name object, offset and reason, and
//! never hold row content or credentials.

use std::fmt;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request or configuration is wrong: nothing was done (exit code 2).
    Usage,
    /// The thing named is not there.
    NotFound,
    /// Another writer was first: plan again.
    Conflict,
    /// The lake holds something that contradicts itself.
    Corrupt,
    /// A store, a reader or a writer failed.
    Failed,
}

/// An error: what happened, while doing what, and why.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result with the library's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// A wrong request.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Something else that failed, with its cause.
    pub fn failed(message: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind: ErrorKind::Failed, message: message.into(), source: Some(source.into()) }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// An error with its causes, on one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    // Some errors of libraries bring the way that led to them.
    let told = |error: &dyn std::error::Error| {
        let text = error.to_string();
        ["\n\nbacktrace:", "\n   0: "]
            .iter()
            .fold(text.as_str(), |text, begin| text.split_once(begin).map_or(text, |(told, _)| told))
            .trim_end()
            .to_owned()
    };
    let mut text = told(error);
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = told(inner);
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    without_markup(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A message in which an answer of S3, which is XML, is its code and its message only.
fn without_markup(text: String) -> String {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    };
    let (Some(start), Some(code)) = (text.find("<?xml").or_else(|| text.find("<Error>")), element("Code")) else {
        return text;
    };
    let after = text.rfind("</Error>").map_or("", |end| &text[end + "</Error>".len()..]);
    let mut plain = format!("{}{code}", &text[..start]);
    if let Some(message) = element("Message").filter(|message| !message.is_empty()) {
        plain.push_str(&format!(": {message}"));
    }
    if matches!(code, "SignatureDoesNotMatch" | "InvalidAccessKeyId" | "InvalidToken" | "ExpiredToken") {
        plain.push_str(" (the credentials in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or of the AWS profile, are refused)");
    }
    plain + after
}

/// Says what was being done when something failed.
pub trait Context<T> {
    /// Wraps the error, of kind [`ErrorKind::Failed`].
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::failed(message(), error))
    }
}
