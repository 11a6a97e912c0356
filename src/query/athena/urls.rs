//! URLs: <https://trino.io/docs/current/functions/url.html>. What is no URL gives null.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::function::{Arg, Gives, Takes, by_row, function, texts};

/// What url_encode leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'*').remove(b'_').remove(b' ');

type Part = fn(&str) -> Option<String>;

const PARTS: [(&str, Part); 7] = [
    ("url_extract_protocol", |url| parse(url).map(|url| url.scheme().to_owned())),
    ("url_extract_host", |url| parse(url)?.host_str().map(str::to_owned)),
    ("url_extract_path", |text| parse(text).map(|url| path(text, &url))),
    ("url_extract_query", |url| parse(url).map(|url| url.query().unwrap_or_default().to_owned())),
    ("url_extract_fragment", |url| parse(url).map(|url| url.fragment().unwrap_or_default().to_owned())),
    // A + is a space.
    ("url_encode", |text| Some(utf8_percent_encode(text, ENCODED).to_string().replace(' ', "+"))),
    ("url_decode", |text| Some(decode(text))),
];

pub(super) fn functions() -> Vec<ScalarUDF> {
    let mut all: Vec<ScalarUDF> = PARTS
        .map(|(name, part)| {
            function(name, Takes::These(&[Arg::Text], 1), Gives::This(DataType::Utf8), move |args, _| {
                let urls = texts(&args[0]);
                let out: StringArray = by_row(args, |row| Ok(part(urls.value(row))))?;
                Ok(Arc::new(out))
            })
        })
        .into();
    all.push(function("url_extract_port", Takes::These(&[Arg::Text], 1), Gives::This(DataType::Int64), |args, _| {
        let urls = texts(&args[0]);
        let out: Int64Array = by_row(args, |row| Ok(port(urls.value(row))))?;
        Ok(Arc::new(out))
    }));
    all.push(function(
        "url_extract_parameter",
        Takes::These(&[Arg::Text, Arg::Text], 2),
        Gives::This(DataType::Utf8),
        |args, _| parameter(args),
    ));
    all
}

fn parse(url: &str) -> Option<Url> {
    Url::parse(url).ok()
}

/// The path, decoded; empty when the text has none, where the library makes it a slash.
fn path(text: &str, url: &Url) -> String {
    let after = text.split_once("://").map_or("", |(_, after)| after);
    let end = after.find(['?', '#']).unwrap_or(after.len());
    if !after.is_empty() && !after[..end].contains('/') {
        return String::new();
    }
    percent_decode_str(url.path()).decode_utf8_lossy().into_owned()
}

/// The port as it is written.
fn port(text: &str) -> Option<i64> {
    let url = parse(text)?;
    if let Some(port) = url.port() {
        return Some(port.into());
    }
    // The library drops the port that the protocol has anyway.
    let known = url.port_or_known_default()?;
    let host = text.split_once("://")?.1.split(['/', '?', '#']).next()?;
    host.ends_with(&format!(":{known}")).then(|| known.into())
}

/// The first parameter of a name, decoded.
fn parameter(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (urls, names) = (texts(&args[0]), texts(&args[1]));
    let out: StringArray = by_row(args, |row| {
        let Some(url) = parse(urls.value(row)) else { return Ok(None) };
        let name = names.value(row);
        Ok(url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()))
    })?;
    Ok(Arc::new(out))
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
