//! Where records begin and end, what is rejected, and at which offsets.

use super::Reason::{EnvelopeMissing, InvalidUtf8, LoneSurrogate, Malformed, NotAnObject, TooDeep, Truncated};
use super::*;

/// Reads `text` at `path` in one window and in small ones, expects the rows and the rejects as
/// (reason, offset, fault offset, text).
#[track_caller]
fn expect_at(path: &[&str], text: impl AsRef<[u8]>, rows: &[&str], rejects: &[(Reason, u64, u64, &[u8])]) {
    let text = text.as_ref();
    for sizes in [&[usize::MAX][..], &[1], &[2, 3], &[text.len().max(1)], &[64]] {
        let read = read_with(&at_path(path), &[text], sizes);
        assert_eq!(read.rows, rows, "windows of {sizes:?}");
        let found: Vec<_> = read
            .rejects
            .iter()
            .map(|reject| (reject.reason, reject.offset, reject.fault_offset, reject.bytes.as_slice()))
            .collect();
        assert_eq!(found, rejects, "windows of {sizes:?}");
    }
}

#[track_caller]
fn expect(text: impl AsRef<[u8]>, rows: &[&str], rejects: &[(Reason, u64, u64, &[u8])]) {
    expect_at(&[], text, rows, rejects);
}

const A1: &str = r#"{"a":1}"#;
const A2: &str = r#"{"a":2}"#;

#[test]
fn no_value_is_no_record() {
    for text in ["", " ", "\n\n", "\u{feff}", "\u{feff} \r\n\t"] {
        expect(text, &[], &[]);
        expect_at(&["items"], text, &[], &[]);
    }
}

#[test]
fn one_object_is_one_record() {
    for text in [r#"{"a":1}"#, " \n{ \"a\" : 1 }\n ", "\u{feff}{\"a\":1}", "{\r\n\t\"a\":\n1\n}"] {
        expect(text, &[A1], &[]);
    }
    expect("{}", &["{}"], &[]);
}

#[test]
fn a_byte_order_mark_is_no_mark_elsewhere() {
    expect("{\"a\":1}\n\u{feff}{\"a\":2}\n", &[A1], &[(Malformed, 8, 8, "\u{feff}{\"a\":2}\n".as_bytes())]);
    expect("\u{feff}\u{feff}{\"a\":1}", &[], &[(Malformed, 3, 3, "\u{feff}{\"a\":1}".as_bytes())]);
    expect([0xef, 0xbb], &[], &[(Malformed, 0, 0, &[0xef, 0xbb])]);
}

#[test]
fn objects_follow_one_another_with_or_without_space() {
    for text in [
        r#"{"a":1}{"a":2}"#,
        "{\"a\":1}\n{\"a\":2}",
        "{\"a\":1}\r\n\r\n{\"a\":2}\r\n",
        "{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n",
        "[{\"a\":1}][{\"a\":2}]",
        "[{\"a\":1}]\n[]{\"a\":2}",
    ] {
        expect(text, &[A1, A2], &[]);
    }
}

#[test]
fn an_array_holds_records() {
    for text in [r#"[{"a":1},{"a":2}]"#, "[\n  {\"a\": 1},\n  {\"a\": 2}\n]\n", "\u{feff}[ {\"a\":1} , {\"a\":2} ]"] {
        expect(text, &[A1, A2], &[]);
    }
    expect("[]", &[], &[]);
    expect(" [ ] ", &[], &[]);
}

#[test]
fn elements_that_are_no_objects_are_rejected_one_by_one() {
    expect(
        r#"[{"a":1}, 2,"x" ,null,[{"a":3}],{"a":2}]"#,
        &[A1, A2],
        &[
            (NotAnObject, 10, 10, b"2"),
            (NotAnObject, 12, 12, b"\"x\""),
            (NotAnObject, 17, 17, b"null"),
            (NotAnObject, 22, 22, br#"[{"a":3}]"#),
        ],
    );
    expect("[1,\n2.5, {\"a\":1}]", &[A1], &[(NotAnObject, 1, 1, b"1"), (NotAnObject, 4, 4, b"2.5")]);
    expect("[[]]", &[], &[(NotAnObject, 1, 1, b"[]")]);
}

#[test]
fn scalars_at_top_level_are_rejected_one_by_one() {
    for text in ["1", "-0.5e3", "true", "null", "\"x\"", "\"\\u0041\""] {
        expect(text, &[], &[(NotAnObject, 0, 0, text.as_bytes())]);
    }
    expect(
        "1 {\"a\":1}\"x\"\n12\n",
        &[A1],
        &[(NotAnObject, 0, 0, b"1"), (NotAnObject, 9, 9, b"\"x\""), (NotAnObject, 13, 13, b"12")],
    );
}

#[test]
fn what_only_begins_like_a_scalar_is_malformed() {
    for text in ["12ab", "012", "truely", "nullnull", "1.2.3", "0x1F", "1_000", "2025-02-03"] {
        let fault = text.find(|c: char| !"0123456789".contains(c)).unwrap_or(1) as u64;
        let fault = match text {
            "truely" | "nullnull" => 4,
            "1.2.3" => 3,
            _ => fault,
        };
        expect(text, &[], &[(Malformed, 0, fault, text.as_bytes())]);
    }
}

#[test]
fn a_bad_line_is_rejected_alone() {
    for bad in [
        "word",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\" 1}",
        "}",
        "]",
        ",",
        "{a:1}",
        "{'a':1}",
        "\"",
        "{\"a\":1,}",
        "{\"a\":[1,",
    ] {
        for (text, offset) in [
            (format!("{bad}\n{A1}\n{A2}\n"), 0),
            (format!("{A1}\n{bad}\n{A2}\n"), 8),
            (format!("{A1}\n{A2}\n{bad}\n"), 16),
            (format!("{A1}\n{A2}\n{bad}"), 16),
            (format!("{A1}\r\n{bad}\r\n{A2}\r\n"), 9),
        ] {
            for sizes in [&[usize::MAX][..], &[1], &[5]] {
                let read = read_with(&DecodeOptions::default(), &[text.as_bytes()], sizes);
                assert_eq!(read.rows, [A1, A2], "{text:?}");
                assert_eq!(read.rejects.len(), 1, "{text:?}");
                let reject = &read.rejects[0];
                assert_eq!(reject.offset, offset, "{text:?}");
                assert_eq!(reject.bytes.trim_ascii_end(), bad.as_bytes(), "{text:?}");
            }
        }
    }
}

#[test]
fn the_rest_of_a_line_behind_a_record_is_rejected_alone() {
    expect("{\"a\":1}}\n{\"a\":2}\n", &[A1, A2], &[(Malformed, 7, 7, b"}\n")]);
    expect("{\"a\":1} # a remark\n{\"a\":2}", &[A1, A2], &[(Malformed, 8, 8, b"# a remark\n")]);
    expect("{\"a\":1},\n{\"a\":2},\n", &[A1, A2], &[(Malformed, 7, 7, b",\n"), (Malformed, 16, 16, b",\n")]);
}

#[test]
fn a_truncated_record_does_not_take_the_next_line_with_it() {
    expect("{\"a\":1}\n{\"b\":{\"c\":[1,\n{\"a\":2}\n", &[A1, A2], &[(Truncated, 8, 30, b"{\"b\":{\"c\":[1,\n")]);
    // Nothing has shown yet that each line is a record; the next line does.
    expect("{\"b\":{\"c\":[1,\n{\"a\":2}\n{\"a\":1}\n", &[A2, A1], &[(Malformed, 0, 22, b"{\"b\":{\"c\":[1,\n")]);
    expect("{\"b\":\n{\"a\":2}", &[A2], &[(Truncated, 0, 13, b"{\"b\":\n")]);
}

#[test]
fn lines_of_a_log_between_records_are_rejected_alone() {
    for line in [
        "[ERROR] x",
        "[2025-02-03 04:05:06] x",
        "2025-02-03T04:05:06Z INFO x",
        "INFO {\"a\":3}",
        "[\"a\" \"b\"]",
        "[[[}",
    ] {
        for text in [format!("{A1}\n{line}\n{A2}\n"), format!("{line}\n{A1}\n{A2}\n"), format!("{A1}\n{A2}\n{line}")] {
            for sizes in [&[usize::MAX][..], &[1], &[6]] {
                let read = read_with(&DecodeOptions::default(), &[text.as_bytes()], sizes);
                assert_eq!(read.rows, [A1, A2], "{text:?} in windows of {sizes:?}");
                assert_eq!(read.rejects.len(), 1, "{text:?}: {:?}", read.rejected());
                assert_eq!(read.rejects[0].bytes.trim_ascii_end(), line.trim_end().as_bytes(), "{text:?}");
            }
        }
    }
}

#[test]
fn an_array_that_begins_with_no_object_may_go_on_in_other_windows() {
    // Its first line is JSON as far as it goes.
    expect("[1,\n{\"a\":1},\n2]", &[A1], &[(NotAnObject, 1, 1, b"1"), (NotAnObject, 13, 13, b"2")]);
    expect("[1,\n{\"a\":1} x", &[A1], &[(NotAnObject, 1, 1, b"1"), (Malformed, 12, 12, b"x")]);
    let elements = "1,".repeat(50_000);
    let text = format!("[{elements}{{\"a\":1}},x]");
    for sizes in [&[usize::MAX][..], &[40_000], &[70_000]] {
        let read = read_with(&DecodeOptions::default(), &[text.as_bytes()], sizes);
        assert_eq!((read.rows.len(), read.rejects.len()), (1, 50_001));
        assert_eq!(read.rejects[50_000].offset, 100_009);
    }
}

#[test]
fn a_fault_in_an_array_rejects_all_that_follows() {
    expect(r#"[{"a":1},{"a":},{"a":2}]"#, &[A1], &[(Malformed, 9, 14, br#"{"a":},{"a":2}]"#)]);
    expect(r#"[{"a":1} {"a":2}]"#, &[A1], &[(Malformed, 9, 9, br#"{"a":2}]"#)]);
    expect("[{\"a\":1},\n{\"a\":2},]\n{\"a\":3}\n", &[A1, A2], &[(Malformed, 18, 18, b"]\n{\"a\":3}\n")]);
    expect(r#"[{"a":1},,{"a":2}]"#, &[A1], &[(Malformed, 9, 9, br#",{"a":2}]"#)]);
    expect("[{\"a\":1}}", &[A1], &[(Malformed, 8, 8, b"}")]);
}

#[test]
fn an_array_that_never_was_one_is_one_reject() {
    expect("[,]", &[], &[(Malformed, 0, 1, b"[,]")]);
    expect("[1,]", &[], &[(Malformed, 0, 3, b"[1,]")]);
    expect("[1 2]", &[], &[(Malformed, 0, 3, b"[1 2]")]);
    expect("[", &[], &[(Truncated, 0, 1, b"[")]);
    expect("[ tru", &[], &[(Truncated, 0, 5, b"[ tru")]);
}

#[test]
fn a_fault_in_pretty_printed_values_rejects_all_that_follows() {
    expect(
        "{\n\"a\":1\n}\n{\n\"a\":x\n}\n{\n\"a\":2\n}\n",
        &[A1],
        &[(Malformed, 10, 16, b"{\n\"a\":x\n}\n{\n\"a\":2\n}\n")],
    );
}

#[test]
fn an_object_that_ends_early_is_truncated() {
    expect("{\"a\":1}{\"a\":", &[A1], &[(Truncated, 7, 12, b"{\"a\":")]);
    expect("{\"a\":1}{\"a\":12", &[A1], &[(Truncated, 7, 14, b"{\"a\":12")]);
    expect("{\"a\":\"\\ud83d", &[], &[(Truncated, 0, 12, b"{\"a\":\"\\ud83d")]);
    expect("[{\"a\":1}", &[A1], &[(Truncated, 8, 8, b"")]);
    expect("[{\"a\":1}, \n", &[A1], &[(Truncated, 11, 11, b"")]);
    expect("[{\"a\":1},{", &[A1], &[(Truncated, 9, 10, b"{")]);
    expect("tru", &[], &[(Truncated, 0, 3, b"tru")]);
    expect("\"abc", &[], &[(Truncated, 0, 4, b"\"abc")]);
    expect("-", &[], &[(Truncated, 0, 1, b"-")]);
}

#[test]
fn lone_surrogates_are_rejected() {
    for bad in [r"\ud83d", r"\ude00", r"\ud83d\ud83d", r"\ud83dx", r"\ud83d\n", r"\ud83dA", r"\uDFFF"] {
        let line = format!("{{\"s\":\"{bad}\"}}\n");
        let text = format!("{line}{A1}\n");
        expect(&text, &[A1], &[(LoneSurrogate, 0, 6, line.as_bytes())]);
        // Also in a key, in a value that is skipped, and in one that becomes JSON text.
        let read = read(format!("{{\"{bad}\":1}}\n{{\"s\":{{\"{bad}\":1}}}}\n{{\"s\":1}}\n"));
        assert_eq!((read.rows.len(), read.rejects.len()), (1, 2), "{bad}");
    }
    expect(r#"{"s":"\ud83d\ude00\uD834\uDD1E"}"#, &["{\"s\":\"😀𝄞\"}"], &[]);
}

#[test]
fn invalid_utf8_is_rejected_where_it_stands() {
    for bad in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82"] {
        let line = [b"{\"s\":\"x", bad, b"\"}\n"].concat();
        let text = [b"{\"a\":1}\n", line.as_slice(), b"{\"a\":2}\n"].concat();
        expect(&text, &[A1, A2], &[(InvalidUtf8, 8, 15, &line)]);
        let key = [b"{\"x", bad, b"\":[]}\n"].concat();
        let text = [b"{\"a\":1}\n", key.as_slice(), b"{\"a\":2}\n"].concat();
        expect(&text, &[A1, A2], &[(InvalidUtf8, 8, 11, &key)]);
    }
    expect(b"\"\xff\"\n{\"a\":1}", &[A1], &[(InvalidUtf8, 0, 1, b"\"\xff\"\n")]);
    expect(b"[{\"a\":1},\"\xff\",{\"a\":2}]", &[A1], &[(InvalidUtf8, 9, 10, b"\"\xff\",{\"a\":2}]")]);
    expect(b"[\"\xff\"]\n{\"a\":1}", &[A1], &[(InvalidUtf8, 0, 2, b"[\"\xff\"]\n")]);
    expect(b"{\"a\":1}\xff", &[A1], &[(Malformed, 7, 7, b"\xff")]);
    expect(b"{\"a\":1}\n\xff\xff\n{\"a\":2}", &[A1, A2], &[(Malformed, 8, 8, b"\xff\xff\n")]);
}

#[test]
fn characters_may_be_cut_by_windows() {
    let text = "{\"é\":\"€𝄞😀\"}\n".repeat(4);
    for size in 1..text.len() {
        let read = read_with(&DecodeOptions::default(), &[text.as_bytes()], &[size]);
        assert_eq!((read.rows, read.rejects), (vec!["{\"é\":\"€𝄞😀\"}".to_owned(); 4], vec![]));
    }
}

#[test]
fn control_characters_and_zero_bytes_are_malformed() {
    expect("{\"a\":\"\u{1}\"}", &[], &[(Malformed, 0, 6, b"{\"a\":\"\x01\"}")]);
    expect("{\"a\":\"x\ty\"}", &[], &[(Malformed, 0, 7, b"{\"a\":\"x\ty\"}")]);
    expect("{\"a\":1}\0", &[A1], &[(Malformed, 7, 7, b"\0")]);
    expect("\0\n{\"a\":1}", &[A1], &[(Malformed, 0, 0, b"\0\n")]);
    expect("{\"a\":\0}", &[], &[(Malformed, 0, 5, b"{\"a\":\0}")]);
    expect("{\"a\":\"\0\"}", &[], &[(Malformed, 0, 6, b"{\"a\":\"\0\"}")]);
    expect("{\"a\":\"\\\0\"}", &[], &[(Malformed, 0, 7, b"{\"a\":\"\\\0\"}")]);
    // Form feed, non-breaking space and the like are no white space of JSON.
    expect("{\"a\":1}\u{c}", &[A1], &[(Malformed, 7, 7, b"\x0c")]);
}

#[test]
fn records_deeper_than_the_limit_are_rejected() {
    let nested = |levels: usize| format!("{}{}", "{\"a\":".repeat(levels - 1) + "{", "}".repeat(levels));
    let options = DecodeOptions { max_depth: 5, ..DecodeOptions::default() };
    for (around, left) in [(["", ""], 5), (["[", "]"], 4)] {
        for levels in 1..8 {
            let text = format!("{}{}{}", around[0], nested(levels), around[1]);
            for sizes in [&[usize::MAX][..], &[1]] {
                let read = read_with(&options, &[text.as_bytes()], sizes);
                let is_fine = levels <= left;
                assert_eq!((read.rows.len(), read.rejects.len()), (usize::from(is_fine), usize::from(!is_fine)));
                assert!(read.rejects.iter().all(|reject| reject.reason == TooDeep));
            }
        }
    }
    let array = format!("{{\"a\":{}{}}}", "[".repeat(127), "]".repeat(127));
    assert_eq!(read(&array).rows.len(), 1);
    let array = format!("{{\"a\":{}{}}}", "[".repeat(128), "]".repeat(128));
    assert_eq!(read(&array).rejects[0].fault_offset, 5 + 127);
}

#[test]
fn a_hundred_thousand_brackets_are_one_reject() {
    for text in ["[".repeat(100_000), "{\"a\":".repeat(100_000), "[{\"a\":".repeat(100_000)] {
        for sizes in [usize::MAX, 5000] {
            let read = read_with(&DecodeOptions::default(), &[text.as_bytes()], &[sizes]);
            assert_eq!((read.rows.len(), read.rejects.len()), (0, 1));
            assert_eq!(read.rejects[0].reason, TooDeep);
            assert_eq!(read.rejects[0].offset + read.rejects[0].bytes.len() as u64, text.len() as u64);
        }
    }
}

#[test]
fn the_records_of_an_envelope_lie_at_its_path() {
    let path = &["items"];
    for text in [
        r#"{"items":[{"a":1},{"a":2}]}"#,
        r#"{"n":2,"next":{"items":[{"a":9}]},"items":[{"a":1},{"a":2}],"more":[{"a":7}],"o":{}}"#,
        "{\n  \"n\": [1, {\"x\": \"]}\"}],\n  \"items\": [\n    {\"a\": 1},\n    {\"a\": 2}\n  ]\n}\n",
        r#"{"items":[{"a":1}]}{"items":[]} {"items":[{"a":2}]}"#,
        "{\"items\":[{\"a\":1}]}\n{\"items\":[{\"a\":2}],\"n\":1}\n",
        r#"{"items":{"items":[{"a":9}]},"items":[{"a":1},{"a":2}]}"#,
        r#"{"it\u0065ms":[{"a":1},{"a":2}]}"#,
        // Of a key that occurs twice, no record is lost.
        r#"{"items":[{"a":1}],"items":[{"a":2}]}"#,
        // An array at top level holds records, not envelopes.
        r#"[{"a":1},{"a":2}]"#,
    ] {
        expect_at(path, text, &[A1, A2], &[]);
    }
    expect_at(path, r#"{"items":[]}"#, &[], &[]);
    expect_at(path, r#"{"items" : [ ] , "n":null}"#, &[], &[]);
    expect_at(path, r#"{"items":[{"a":1},7]}"#, &[A1], &[(NotAnObject, 18, 18, b"7")]);
}

#[test]
fn a_path_of_two_keys_leads_through_an_object() {
    let path = &["data", "items"];
    for text in [
        r#"{"data":{"items":[{"a":1},{"a":2}]}}"#,
        r#"{"items":[{"a":9}],"x":{"data":{"items":[{"a":9}]}},"data":{"n":{"items":[]},"items":[{"a":1},{"a":2}],"m":0},"y":1}"#,
        r#"{"data":{"items":{"items":[]},"data":{"items":[{"a":9}]},"items":[{"a":1}]},"data":{"items":[{"a":2}]}}"#,
        r#"{"data":{"items":[]},"data":{},"data":{"items":[{"a":1},{"a":2}]}}"#,
    ] {
        expect_at(path, text, &[A1, A2], &[]);
    }
    for text in [
        r#"{"data":{"item":[{"a":1}]}}"#,
        r#"{"items":[{"a":1}]}"#,
        r#"{"data":[{"items":[]}]}"#,
        "{\"data\":{}}",
        "{}",
    ] {
        expect_at(path, text, &[], &[(EnvelopeMissing, 0, 0, text.as_bytes())]);
    }
}

#[test]
fn an_envelope_without_its_path_is_rejected_whole() {
    let path = &["items"];
    for text in [
        r#"{"n":1,"item":[{"a":1}]}"#,
        r#"{"items":null}"#,
        r#"{"items":{"a":1}}"#,
        r#"{"items":"x","n":{"items":[{"a":1}]}}"#,
        "{ }",
    ] {
        expect_at(path, text, &[], &[(EnvelopeMissing, 0, 0, text.as_bytes())]);
        let twice = format!(" {text}\n{{\"items\":[{{\"a\":1}}]}}");
        expect_at(path, &twice, &[A1], &[(EnvelopeMissing, 1, 1, text.as_bytes())]);
    }
}

#[test]
fn a_faulty_envelope_is_rejected_from_where_it_is_faulty() {
    let path = &["items"];
    let text = "{\"n\":x,\"items\":[{\"a\":9}]}\n{\"items\":[{\"a\":1}]}\n";
    expect_at(path, text, &[A1], &[(Malformed, 0, 5, &text.as_bytes()[..26])]);
    expect_at(path, r#"{"n":1,"items":[{"a":1},{"a":]}"#, &[A1], &[(Malformed, 24, 29, br#"{"a":]}"#)]);
    expect_at(path, r#"{"items":[{"a":1}],"n":}"#, &[A1], &[(Malformed, 19, 23, br#""n":}"#)]);
    expect_at(path, r#"{"items":[{"a":1}]"#, &[A1], &[(Truncated, 18, 18, b"")]);
    expect_at(path, r#"{"n":12"#, &[], &[(Truncated, 0, 7, br#"{"n":12"#)]);
    expect_at(path, r#"{"n":1,}"#, &[], &[(Malformed, 0, 7, br#"{"n":1,}"#)]);
    expect_at(path, r#"{,"items":[]}"#, &[], &[(Malformed, 0, 1, br#"{,"items":[]}"#)]);
    expect_at(path, r#"{"items":[],}"#, &[], &[(Malformed, 12, 12, b"}")]);
    expect_at(path, b"{\"n\":\"\xff\",\"items\":[]}", &[], &[(InvalidUtf8, 0, 6, b"{\"n\":\"\xff\",\"items\":[]}")]);
    expect_at(path, b"{\"\xff\":1,\"items\":[]}", &[], &[(InvalidUtf8, 0, 2, b"{\"\xff\":1,\"items\":[]}")]);
}

#[test]
fn several_objects_in_a_window_keep_to_themselves() {
    let objects: [&[u8]; 7] = [b"{\"a\":1}", b"", b"[{\"a\":2}", b"{\"a\":3}\n{\"a\":", b"\xff", b"[]", b"{\"a\":4}\n"];
    for sizes in [&[usize::MAX][..], &[1], &[9], &[7, 100]] {
        let read = read_with(&DecodeOptions::default(), &objects, sizes);
        assert_eq!(read.rows, [A1, A2, r#"{"a":3}"#, r#"{"a":4}"#]);
        let found: Vec<_> = read.rejects.iter().map(|reject| (reject.object, reject.reason, reject.offset)).collect();
        assert_eq!(found, [(2, Truncated, 8), (3, Truncated, 8), (4, Malformed, 0)]);
        let counts: Vec<_> = (0..7).map(|object| read.counts[&object]).collect();
        assert_eq!(counts, [(1, 0), (0, 0), (1, 1), (1, 1), (0, 1), (0, 0), (1, 0)]);
    }
}

#[test]
fn a_record_longer_than_what_is_checked_near_the_end_is_awaited() {
    // Small records first, so that the long one begins far from the end of its window and is not checked beforehand.
    let long = format!("{{\"s\":\"{}\",\"a\":[{{\"b\":2.5}}]}}", "x".repeat(300_000));
    let text = format!("{A1}\n{A1}\n{long}\n{A2}\n{{\"a\":\"{}\n{A1}\n", "y".repeat(100_000));
    let whole = read(&text);
    assert_eq!((whole.rows.len(), whole.rejects.len()), (5, 1));
    for sizes in [&[200_000][..], &[150_000], &[70_000, 200_000]] {
        let cut = read_with(&DecodeOptions::default(), &[text.as_bytes()], sizes);
        assert_eq!((&cut.rows, &cut.rejects), (&whole.rows, &whole.rejects));
        assert_eq!(cut.observation, whole.observation);
    }
}

#[test]
fn what_follows_in_a_lost_object_belongs_to_one_reject() {
    let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
    let window = |text: &str| {
        let mut window = text.as_bytes().to_vec();
        window.resize(text.len() + PADDING, 0);
        window
    };
    let segment = |start, end, offset, last| Segment { object: 0, start, end, offset, last };
    let decoded = decoder.decode(&window("{\"a\":1}{\"a"), &[segment(0, 10, 0, false)]);
    assert_eq!((decoded.rows, decoded.used), (1, 7));
    assert!(!decoder.is_lost());
    decoder.lose();
    assert!(decoder.is_lost());
    let decoded = decoder.decode(&window("\":2}{\"a\":3}"), &[segment(0, 11, 10, false)]);
    assert_eq!((decoded.rows, decoded.used, decoded.counts[0]), (0, 11, Counts::default()));
    assert!(decoded.rejects[0].continued);
    let decoded = decoder.decode(&window(""), &[segment(0, 0, 21, true)]);
    assert_eq!((decoded.rejects.len(), decoder.is_lost()), (0, false));
    let decoded = decoder.decode(&window(A1), &[segment(0, 7, 0, true)]);
    assert_eq!(decoded.rows, 1, "the next object is read as usual");
}

#[test]
fn members_of_an_envelope_stay_with_its_records_where_a_window_holds_two_objects() {
    let options = DecodeOptions { envelope_fields: vec![vec!["n".to_owned()]], ..at_path(&["items"]) };
    let objects = [1, 2].map(|n| format!("{{\"items\":[{{\"a\":{n}}},{{\"a\":{n}}}],\"n\":{n}}}"));
    let (cut, end) = (objects[0].find(",{").unwrap(), objects[0].len());
    let member = Field { name: "n".to_owned(), keys: vec!["envelope.n".to_owned()], ty: Type::Int64 };
    let fields = [field("a", Type::Int64), member];
    let mut decoder = Decoder::new(&options, &Observation::default());
    let mut rows = Vec::new();
    for parts in [vec![(0, 0..cut)], vec![(0, cut..end), (1, 0..cut)], vec![(1, cut..end)]] {
        let (mut window, mut segments): (Vec<u8>, Vec<Segment>) = Default::default();
        for (object, part) in parts {
            let start = window.len();
            window.extend_from_slice(&objects[object].as_bytes()[part.clone()]);
            let (offset, last) = (part.start as u64, part.end == end);
            segments.push(Segment { object, start, end: window.len(), offset, last });
            window.resize(window.len() + PADDING, 0);
        }
        if let Some(begun) = segments.last().filter(|segment| decoder.wants_envelope(segment)) {
            let mut whole = objects[begun.object].clone().into_bytes();
            whole.resize(whole.len() + PADDING, 0);
            let mut reader = EnvelopeReader::new(&options);
            reader.read(&whole, true);
            decoder.set_envelope(reader.finish());
        }
        decoder.decode(&window, &segments);
        rows.extend(texts(&decoder.finish(&fields, &arrow_schema(&fields)).unwrap(), &fields));
    }
    assert_eq!(rows, [1, 1, 2, 2].map(|n| format!("{{\"a\":{n},\"envelope.n\":{n}}}")));
}
