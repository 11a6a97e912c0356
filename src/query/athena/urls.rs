//! URLs: <https://trino.io/docs/current/functions/url.html>. What is no URL to `java.net.URI`, which Athena reads them with, gives
//! null: RFC 2396 with characters beyond ASCII. A URL may be relative.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::function::{Arg, Gives, Takes, by_row, failed, function, texts};

/// What url_encode leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'*').remove(b'_').remove(b' ');

type Part = fn(&str) -> Result<Option<String>>;

const PARTS: [(&str, Part); 7] = [
    ("url_extract_protocol", |url| Ok(parse(url).map(|url| url.scheme.to_owned()))),
    ("url_extract_host", |url| Ok(parse(url).map(|url| url.host().map_or("", |(host, _)| host).to_owned()))),
    ("url_extract_path", |url| Ok(parse(url).map(|url| decode(url.path)))),
    ("url_extract_query", |url| Ok(parse(url).map(|url| decode(url.query.unwrap_or_default())))),
    ("url_extract_fragment", |url| Ok(parse(url).map(|url| decode(url.fragment)))),
    // A + is a space.
    ("url_encode", |text| Ok(Some(utf8_percent_encode(text, ENCODED).to_string().replace(' ', "+")))),
    ("url_decode", |text| match is_escaped(text) {
        true => Ok(Some(decode_form(text))),
        false => Err(failed("url_decode: behind a % stand two hexadecimal digits")),
    }),
];

pub(super) fn functions() -> Vec<ScalarUDF> {
    let mut all: Vec<ScalarUDF> = PARTS
        .map(|(name, part)| {
            function(name, Takes::These(&[Arg::Text], 1), Gives::This(DataType::Utf8), move |args, _| {
                let urls = texts(&args[0]);
                let out: StringArray = by_row(args, |row| part(urls.value(row)))?;
                Ok(Arc::new(out))
            })
        })
        .into();
    all.push(function("url_extract_port", Takes::These(&[Arg::Text], 1), Gives::This(DataType::Int64), |args, _| {
        let urls = texts(&args[0]);
        let out: Int64Array = by_row(args, |row| Ok(parse(urls.value(row)).and_then(|url| url.host()?.1)))?;
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

/// A URL in its parts, as they are written; empty where they are absent.
#[derive(Debug, Default)]
struct Url<'a> {
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    fragment: &'a str,
}

/// Whether all characters may stand in a part that takes these besides letters, digits and `_-!.~'()*`.
fn is_of(part: &str, more: &str) -> bool {
    let is_legal = |c: char| match c {
        '%' => true,
        c if c.is_ascii() => c.is_ascii_alphanumeric() || "_-!.~'()*".contains(c) || more.contains(c),
        c => !c.is_control() && !c.is_whitespace(),
    };
    is_escaped(part) && part.chars().all(is_legal)
}

/// Whether two hexadecimal digits stand behind each %.
fn is_escaped(text: &str) -> bool {
    let is_hex = |digit: Option<&u8>| digit.is_some_and(u8::is_ascii_hexdigit);
    text.split('%').skip(1).all(|behind| is_hex(behind.as_bytes().first()) && is_hex(behind.as_bytes().get(1)))
}

fn parse(text: &str) -> Option<Url<'_>> {
    const ANY: &str = ";/?:@&=+$,[]";
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (scheme, rest) = match rest.find([':', '/', '?']) {
        Some(end) if rest[end..].starts_with(':') => (&rest[..end], &rest[end + 1..]),
        _ => ("", rest),
    };
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let has_scheme = rest.len() < text.len() && text[scheme.len()..].starts_with(':');
    if has_scheme && (!is_scheme(scheme) || rest.is_empty()) || !is_of(fragment, ANY) {
        return None;
    }
    if has_scheme && !rest.starts_with('/') {
        // Opaque: mailto:somebody@example.com
        return is_of(rest, ANY).then(|| Url { scheme, fragment, ..Url::default() });
    }
    let (hierarchy, query) = match rest.split_once('?') {
        Some((hierarchy, query)) => (hierarchy, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = match hierarchy.strip_prefix("//") {
        Some(behind) => behind.split_at(behind.find('/').unwrap_or(behind.len())),
        None => ("", hierarchy),
    };
    if hierarchy == "//" && query.is_none() {
        return None;
    }
    let is_legal = is_of(authority, ";:@&=+$,[]") && is_of(path, "/:@&=+$,;") && is_of(query.unwrap_or_default(), ANY);
    let url = Url { scheme, authority, path, query, fragment };
    // Brackets stand around addresses of hosts.
    let has_brackets = authority.contains(['[', ']']);
    (is_legal && (!has_brackets || url.host().is_some())).then_some(url)
}

impl<'a> Url<'a> {
    /// The host and the port as they are written; none where the authority is none of a server.
    fn host(&self) -> Option<(&'a str, Option<i64>)> {
        let server = self.authority.rsplit_once('@').map_or(self.authority, |(_, server)| server);
        let end = server.find(']').map_or(0, |end| end + 1);
        let (host, port) = match server[end..].find(':') {
            Some(colon) => (&server[..end + colon], &server[end + colon + 1..]),
            None => (server, ""),
        };
        let is_number = port.bytes().all(|c| c.is_ascii_digit());
        let port = if port.is_empty() { None } else { Some(port.parse::<u32>().ok().filter(|_| is_number)?.into()) };
        (is_name(host) || is_address(host)).then_some((host, port))
    }
}

/// Labels of letters, digits and dashes, the last of which begins with a letter.
fn is_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
    };
    host.split('.').all(is_label)
        && host.rsplit('.').next().is_some_and(|top| top.starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn is_address(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

/// The first parameter of a name, decoded.
fn parameter(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (urls, names) = (texts(&args[0]), texts(&args[1]));
    let out: StringArray = by_row(args, |row| {
        let Some(query) = parse(urls.value(row)).and_then(|url| url.query) else { return Ok(None) };
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let found = pairs.find(|(name, _)| decode_form(name) == names.value(row));
        Ok(found.map(|(_, value)| decode_form(value)))
    })?;
    Ok(Arc::new(out))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Decodes what a form encodes.
fn decode_form(text: &str) -> String {
    decode(&text.replace('+', " "))
}
