//! JSONTestSuite (Nicolas Seriot, "Parsing JSON is a minefield"), and cases of its kind.
//!
//! Its files hold one JSON text each: `y_` must be accepted, `n_` rejected, `i_` may be either. Where it is present is
//! told by `SILTSTONE_REAL_DATA`; without it, the cases below are what is left.

use std::path::{Path, PathBuf};

use super::exact::{Exact, holds_members};
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

/// Whether a text, alone and as the value of a record's key, is taken as the value that it is: a record as a row, anything
/// else as `not_an_object`.
fn is_taken(text: &[u8]) -> bool {
    let text = std::str::from_utf8(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)).unwrap();
    let value = Exact::of(text);
    let is_row = |read: &Read, value: &Exact| {
        let [row] = read.rows.as_slice() else { return false };
        read.rejects.is_empty() && holds_members(&Exact::of(row), value, &read.fields, None)
    };
    let within = Exact::Object(vec![("v".to_owned(), value.clone())]);
    let alone = read(text);
    let alone_is_right = match &value {
        Exact::Object(_) => is_row(&alone, &value),
        Exact::Array(elements) => alone.rows.len() + alone.rejects.len() == elements.len(),
        _ => alone.rows.is_empty() && alone.rejects.len() == 1,
    };
    alone_is_right && is_row(&read(within_a_record(text.as_bytes())), &within)
}

/// Whether each fault lies within the text or, where something is missing, at its end.
fn faults_are_placed(text: &[u8]) -> bool {
    faults(text).iter().all(|fault| fault.offset <= fault.fault_offset && fault.fault_offset <= text.len() as u64)
}

#[test]
fn the_test_suite_is_decided_as_it_asks() {
    let Some(folder) = suite() else {
        eprintln!("skipped: SILTSTONE_REAL_DATA names no folder with JSONTestSuite in it");
        return;
    };
    let mut wrong = Vec::new();
    let mut seen = [0; 3];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read(&path).unwrap();
        let (has_faults, within_has_faults) = (!faults(&text).is_empty(), !faults(&within_a_record(&text)).is_empty());
        let (kind, is_right) = match name.as_bytes()[0] {
            b'y' => (0, !has_faults && !within_has_faults && is_taken(&text)),
            b'n' => (1, has_faults != FINE_HERE.contains(&name.as_str()) && within_has_faults),
            _ => (2, true),
        };
        seen[kind] += 1;
        if !is_right || !faults_are_placed(&text) {
            wrong.push(name);
        } else if kind == 2 {
            // What docs/json.md says of the cases that may be either.
            let within = read(within_a_record(&text));
            let reasons: Vec<&str> = within.rejects.iter().map(|reject| reject.reason.name()).collect();
            eprintln!("{name}: {} rows, {reasons:?}, {:?}", within.rows.len(), within.ty("v"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(seen, [95, 188, 35]);
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

/// The bytes that a text of `testdata/suite` stands for, and where the fault is marked.
fn bytes_of(text: &str) -> (Vec<u8>, Option<usize>) {
    let (mut bytes, mut fault, mut rest) = (Vec::new(), None, text);
    while let Some((before, after)) = rest.split_once('<') {
        let (code, after) = after.split_once('>').unwrap();
        bytes.extend_from_slice(before.as_bytes());
        match code {
            "!" => fault = Some(bytes.len()),
            code => bytes.push(u8::from_str_radix(code, 16).unwrap()),
        }
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    (bytes, fault)
}

#[test]
fn every_class_of_text_has_the_outcome_that_is_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/suite");
    let (mut cases, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for line in std::fs::read_to_string(&path).unwrap().lines().filter(|line| !line.starts_with('#')) {
            cases += 1;
            let mut parts = line.split('\t');
            let (outcome, text) = (parts.next().unwrap(), parts.next().unwrap());
            let (bytes, fault) = bytes_of(text);
            let expected_row = parts.next().map_or(bytes.clone(), |row| bytes_of(row).0);
            for sizes in [&[usize::MAX][..], &[1], &[3, 5]] {
                let read = read_with(&DecodeOptions::default(), &[&bytes], sizes);
                let rows = read.rows.iter().map(|_| "row");
                let rejects = read.rejects.iter().map(|reject| reject.reason.name());
                let found: Vec<&str> = rows.chain(rejects).collect();
                let found = if found.is_empty() { "nothing".to_owned() } else { found.join("+") };
                let faults: Vec<u64> = read.rejects.iter().map(|reject| reject.fault_offset).collect();
                let fault_is_right = fault.is_none_or(|fault| faults.first() == Some(&(fault as u64)));
                let rows_are_right = read.rows.iter().all(|row| row.as_bytes() == expected_row);
                if found != outcome || !fault_is_right || !rows_are_right {
                    wrong.push(format!(
                        "{name}: {line}: {found}, faults at {faults:?}, rows {:?}, {sizes:?}",
                        read.rows
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases > 200, "{cases}");
}
