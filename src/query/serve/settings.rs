//! The settings that clients set and show. Few of them mean anything here; those that would change what data is, or who may
//! do what, are refused.

use std::collections::HashMap;
use std::time::Duration;

use pgwire::error::PgWireError;

use super::errors::refuse;
use super::text::{Token, scan};

/// The version of PostgreSQL whose catalogue is spoken.
pub(super) const SERVER_VERSION: &str = concat!("15.0 (Siltstone ", env!("CARGO_PKG_VERSION"), ")");

/// Settings with a value that is always the same.
const FIXED: [(&str, &str); 17] = [
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, YMD"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150000"),
    ("standard_conforming_strings", "on"),
    ("timezone", "UTC"),
    ("transaction_read_only", "on"),
];

/// Settings that are kept as they are given, and mean nothing.
const KEPT: [&str; 17] = [
    "application_name",
    "client_min_messages",
    "default_transaction_deferrable",
    "enable_seqscan",
    "extra_float_digits",
    "geqo",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "jit",
    "lock_timeout",
    "max_parallel_workers_per_gather",
    "plan_cache_mode",
    "row_security",
    "synchronize_seqscans",
    "transaction_deferrable",
    "work_mem",
    "xmloption",
];

/// Ends queries after this time.
const TIMEOUT: &str = "statement_timeout";

/// The settings with a value that is always the same.
pub(super) fn settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    FIXED.into_iter()
}

/// The settings of a connection.
pub(super) type Settings = HashMap<String, String>;

/// Carries out what stands behind SET.
///
/// # Errors
/// When the setting is not known, or has another value than here.
pub(super) fn set(settings: &mut Settings, text: &str) -> Result<(), PgWireError> {
    let tokens: Vec<Token<'_>> = scan(text).into_iter().map(|(token, _)| token).collect();
    let mut tokens = tokens.as_slice();
    if let [first, rest @ ..] = tokens
        && (first.is("SESSION") || first.is("LOCAL"))
        && !rest.first().is_some_and(|next| next.is("AUTHORIZATION") || next.is("CHARACTERISTICS"))
    {
        tokens = rest;
    }
    let (name, values) = match tokens {
        [session, what, ..] if session.is("SESSION") && what.is("AUTHORIZATION") => {
            return Err(refuse("42501", "another user cannot be taken on"));
        }
        [role, value] if role.is("ROLE") && value.is("NONE") => return Ok(()),
        [role, ..] if role.is("ROLE") => return Err(refuse("42501", "another role cannot be taken on")),
        // The isolation of transactions, and whether they may write.
        [first, ..] if first.is("TRANSACTION") || first.is("SESSION") => {
            return match tokens.windows(2).any(|pair| pair[0].is("READ") && pair[1].is("WRITE")) {
                true => Err(read_only()),
                false => Ok(()),
            };
        }
        [time, zone, values @ ..] if time.is("TIME") && zone.is("ZONE") => ("timezone".to_owned(), values),
        [names, values @ ..] if names.is("NAMES") => ("client_encoding".to_owned(), values),
        [Token::Word(name) | Token::Name(name), assign, values @ ..]
            if assign.is("TO") || *assign == Token::Sign('=') =>
        {
            (name.to_lowercase(), values)
        }
        _ => return Err(refuse("42601", "SET takes the name of a setting, = or TO, and a value")),
    };
    if matches!(values, [value] if value.is("DEFAULT")) {
        return forget(settings, &name);
    }
    let value = value(values);
    let given = value.to_lowercase();
    let is_fine = match name.as_str() {
        "default_transaction_read_only" | "transaction_read_only" => {
            if !["on", "true", "1", "yes"].contains(&given.as_str()) {
                return Err(read_only());
            }
            true
        }
        "client_encoding" => ["utf8", "utf-8", "unicode"].contains(&given.as_str()),
        "datestyle" => !["sql", "german", "postgres"].iter().any(|other| given.contains(other)),
        "search_path" => ["", "public", "$user", "pg_catalog"].contains(&given.split(',').next().unwrap_or("").trim()),
        "standard_conforming_strings" => ["on", "true", "1"].contains(&given.as_str()),
        // All times are given in UTC, with their offset.
        "timezone" | "default_transaction_isolation" | "transaction_isolation" => true,
        TIMEOUT => {
            read_time(&given).ok_or_else(|| refuse("22023", format!("{TIMEOUT} is no time: {value}")))?;
            settings.insert(TIMEOUT.to_owned(), given);
            return Ok(());
        }
        name => match FIXED.iter().find(|(fixed, _)| *fixed == name) {
            Some((_, fixed)) => fixed.eq_ignore_ascii_case(&given),
            None if KEPT.contains(&name) => {
                settings.insert(name.to_owned(), value);
                return Ok(());
            }
            None => return Err(refuse("42704", format!("there is no setting {name}"))),
        },
    };
    match is_fine {
        true => Ok(()),
        false if name == "search_path" => {
            let message = "search_path is always public; name other schemas with their tables, as lake.orders";
            Err(refuse("0A000", message))
        }
        false => {
            let only = show(settings, &name).unwrap_or_default();
            Err(refuse("22023", format!("{name} is always {only}")))
        }
    }
}

fn read_only() -> PgWireError {
    refuse("25006", "the server is read-only")
}

/// Values as text, with commas between them.
fn value(tokens: &[Token<'_>]) -> String {
    let texts = tokens.iter().map(|token| match token {
        Token::Word(text) | Token::Name(text) | Token::Text(text) => (*text).to_owned(),
        Token::Parameter(number) => format!("${number}"),
        Token::Sign(',') => ", ".to_owned(),
        Token::Sign(sign) => sign.to_string(),
    });
    texts.collect()
}

/// Forgets one setting.
///
/// # Errors
/// When there is none of that name.
pub(super) fn forget(settings: &mut Settings, name: &str) -> Result<(), PgWireError> {
    let name = name.to_lowercase();
    if show(settings, &name).is_none() {
        return Err(refuse("42704", format!("there is no setting {name}")));
    }
    if name == TIMEOUT || KEPT.contains(&name.as_str()) {
        settings.remove(&name);
    }
    Ok(())
}

/// Forgets all settings.
pub(super) fn reset(settings: &mut Settings) {
    settings.retain(|name, _| name != TIMEOUT && !KEPT.contains(&name.as_str()));
}

/// The value of a setting; none when there is no such setting.
pub(super) fn show(settings: &Settings, name: &str) -> Option<String> {
    let name = name.to_lowercase();
    if name == TIMEOUT {
        return Some(timeout(settings).map_or("0".to_owned(), |time| format!("{}ms", time.as_millis())));
    }
    let fixed = FIXED.iter().find(|(fixed, _)| *fixed == name).map(|(_, value)| (*value).to_owned());
    let kept = || KEPT.contains(&name.as_str()).then(|| settings.get(&name).cloned().unwrap_or_default());
    let isolation = || (name == "transaction_isolation").then(|| "read committed".to_owned());
    fixed.or_else(kept).or_else(isolation)
}

/// After what time the client wants its queries to be given up.
pub(super) fn timeout(settings: &Settings) -> Option<Duration> {
    // It may come with the startup of a connection, too, as it stands.
    read_time(settings.get(TIMEOUT)?.trim()).filter(|time| !time.is_zero())
}

/// `5000`, `5s`, `2min`; without a unit in milliseconds.
fn read_time(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let millis = match text[end..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn state(text: &str) -> String {
        match set(&mut Settings::new(), text) {
            Ok(()) => String::new(),
            Err(PgWireError::UserError(error)) => error.code,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_clients_set_when_they_connect_is_taken() {
        for text in [
            "extra_float_digits = 3",
            "application_name = 'PostgreSQL JDBC Driver'",
            "client_encoding TO 'UTF8'",
            "NAMES 'utf8'",
            "SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "TIME ZONE 'Europe/Berlin'",
            "LOCAL statement_timeout = '5s'",
            "search_path TO \"$user\", public",
            "datestyle = 'ISO, MDY'",
            "default_transaction_read_only = on",
            "ROLE NONE",
        ] {
            assert_eq!(state(text), "", "{text}");
        }
    }

    #[test]
    fn what_would_change_data_or_rights_is_refused() {
        for (text, expected) in [
            ("default_transaction_read_only = off", "25006"),
            ("TRANSACTION READ WRITE", "25006"),
            ("ROLE admin", "42501"),
            ("SESSION AUTHORIZATION admin", "42501"),
            ("client_encoding = 'LATIN1'", "22023"),
            ("search_path = lake", "0A000"),
            ("datafusion.execution.batch_size = 1", "42601"),
            ("nonsense = 1", "42704"),
            ("nonsense TO DEFAULT", "42704"),
            ("statement_timeout = 'soon'", "22023"),
        ] {
            assert_eq!(state(text), expected, "{text}");
        }
    }

    #[test]
    fn timeouts_have_units() {
        let mut settings = Settings::new();
        for (text, millis) in [("1500", Some(1500)), ("'2s'", Some(2000)), ("'1min'", Some(60_000)), ("0", None)] {
            set(&mut settings, &format!("statement_timeout = {text}")).unwrap();
            assert_eq!(timeout(&settings), millis.map(Duration::from_millis), "{text}");
        }
        set(&mut settings, "statement_timeout = 5").unwrap();
        set(&mut settings, "statement_timeout TO DEFAULT").unwrap();
        assert_eq!(timeout(&settings), None);
    }
}
