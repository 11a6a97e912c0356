//! JSONTestSuite (Nicolas Seriot, "Parsing JSON is a minefield"), and cases of its kind.
//!
//! Its files hold one JSON text each: `y_` must be accepted, `n_` rejected, `i_` may be either. Where it is present is
//! told by `SILTSTONE_REAL_DATA`; without it, the cases below are what is left.

use std::path::{Path, PathBuf};

use super::*;

/// What the suite calls no JSON text, but is fine where values may follow one another, and none need be there.
const FINE_HERE: [&str; 5] = [
    // Nothing, white space, or a byte order mark alone: no record.
    "n_structure_no_data.json",
    "n_single_space.json",
    "n_structure_UTF8_BOM_no_data.json",
    // `[][]`: two arrays without elements.
    "n_structure_double_array.json",
    // `{"a": true} "x"`: a record, and a value that is none.
    "n_structure_object_with_trailing_garbage.json",
];

/// The folder `JSONTestSuite/test_parsing`, at most four levels below what the environment names.
fn suite() -> Option<PathBuf> {
    fn find(folder: &Path, levels: usize) -> Option<PathBuf> {
        let candidate = folder.join("JSONTestSuite/test_parsing");
        if candidate.is_dir() {
            return Some(candidate);
        }
        let mut folders: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
        folders.retain(|path| path.is_dir() && levels > 0);
        folders.iter().find_map(|path| find(path, levels - 1))
    }
    find(Path::new(&std::env::var_os("SILTSTONE_REAL_DATA")?), 4)
}

/// A text as the value of a record's key.
fn within_a_record(text: &[u8]) -> Vec<u8> {
    [b"{\"v\":", text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text), b"}"].concat()
}

/// The rejects other than values that are no records, of one window and of small ones alike.
fn faults(text: &[u8]) -> Vec<Reject> {
    let mut faults: Vec<Reject> = Vec::new();
    for (index, sizes) in [&[usize::MAX][..], &[1000], &[7, 5]].into_iter().enumerate() {
        if text.len() > 10_000 && index == 2 {
            continue;
        }
        let mut rejects = read_with(&DecodeOptions::default(), &[text], sizes).rejects;
        rejects.retain(|reject| reject.reason != Reason::NotAnObject);
        assert!(index == 0 || rejects == faults);
        faults = rejects;
    }
    faults
}

#[test]
fn the_test_suite_is_decided_as_it_asks() {
    let Some(folder) = suite() else { return };
    let mut wrong = Vec::new();
    let mut seen = [0; 3];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read(&path).unwrap();
        let (has_faults, within_has_faults) = (!faults(&text).is_empty(), !faults(&within_a_record(&text)).is_empty());
        let (kind, is_right) = match name.as_bytes()[0] {
            b'y' => (0, !has_faults && !within_has_faults),
            b'n' => (1, has_faults != FINE_HERE.contains(&name.as_str()) && within_has_faults),
            _ => (2, true),
        };
        seen[kind] += 1;
        if !is_right {
            wrong.push(name);
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(seen[0] > 90 && seen[1] > 180 && seen[2] > 30, "{seen:?}");
}

#[test]
fn json_is_accepted_and_nothing_else() {
    let json: [&str; 40] = [
        "0",
        "-0",
        "10",
        "0.0",
        "0e0",
        "0e-0",
        "0E+00",
        "-1.25e+10",
        "123456789012345678901234567890e0",
        "1e-9999",
        "\"\"",
        "\" \"",
        "\"\\u0000\"",
        "\"\\u001f\"",
        "\"\\uFFFF\"",
        "\"\\uD7FF\\uE000\"",
        "\"\\uDBFF\\uDFFF\"",
        "\"\\\\u12\"",
        "\"\\/\"",
        "\"'\"",
        "\"\u{7f}\"",
        "\"\u{80}\"",
        "\"\u{10ffff}\"",
        "\"\u{feff}\"",
        "true",
        "false",
        "null",
        "[]",
        "{}",
        "[ ]",
        "{\t}",
        "[[[[]]]]",
        "[\"]\"]",
        "{\"}\":\"{\"}",
        "{\"\":{\"\":{\"\":0}}}",
        "[1\n,\r\n2\t,3 ]",
        "{\"a\"\n:\t1}",
        "[null,[],{}]",
        "{\"a\":1,\"a\":2}",
        "[0,-1,1.5]",
    ];
    for text in json {
        assert_eq!(faults(text.as_bytes()), [], "{text}");
        let read = read(within_a_record(text.as_bytes()));
        assert_eq!((read.rows.len(), read.rejects.len()), (1, 0), "{text}");
    }
    let other: [&[u8]; 66] = [
        b"+1",
        b"01",
        b"-01",
        b"1.",
        b".5",
        b"-.5",
        b"1.e1",
        b"1e",
        b"1e+",
        b"1E-",
        b"--1",
        b"- 1",
        b"1 .5",
        b"0x10",
        b"1_0",
        b"1,000",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1f",
        b"0b1",
        b"\xef\xbc\x91",
        b"True",
        b"nul",
        b"nulL",
        b"falsey",
        b"undefined",
        b"'a'",
        b"a",
        b"\"",
        b"\"\\\"",
        b"\"\\x41\"",
        b"\"\\u\"",
        b"\"\\u12\"",
        b"\"\\u123g\"",
        b"\"\\U0041\"",
        b"\"\\ud800\"",
        b"\"\\ud800\\u0041\"",
        b"\"\\udc00\\ud800\"",
        b"\"\\ud800\\\"",
        b"\"\n\"",
        b"\"\t\"",
        b"\"\0\"",
        b"\"\x1f\"",
        b"\"\\\xff\"",
        b"\"\x80\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xc0\x80\"",
        b"[",
        b"[1",
        b"[1,",
        b"[1,]",
        b"[,1]",
        b"[1,,2]",
        b"[1 2]",
        b"[1}",
        b"{\"a\"",
        b"{\"a\":",
        b"{\"a\":1,}",
        b"{,}",
        b"{\"a\" 1}",
        b"{1:1}",
        b"{a:1}",
        b"{\"a\":1 \"b\":2}",
        b"/* */ 1",
        b"[1]// x",
    ];
    for text in other {
        let shown = String::from_utf8_lossy(text);
        assert!(!faults(text).is_empty(), "{shown}");
        assert!(!faults(&within_a_record(text)).is_empty(), "{shown} in a record");
        assert!(!faults(&[b"[{\"v\":", text, b"}]"].concat()).is_empty(), "{shown} in a record in an array");
        assert!(!faults(&[b"{\"a\":[{\"b\":", text, b"}]}"].concat()).is_empty(), "{shown} deep in a record");
    }
}
