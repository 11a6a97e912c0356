//! What may name what: modules only those before them, pure modules no I/O, and one place for each kind of I/O.

use std::collections::BTreeMap;

use super::support::{files_below, project};

/// The modules of the crate in the order of dependence: each names only those before it.
const ORDER: [&str; 16] = [
    "error",
    "clock",
    "threads",
    "store",
    "schema",
    "json",
    "raw",
    "partition",
    "config",
    "write",
    "lake",
    "compact",
    "maintain",
    "query",
    "formats",
    "cli",
];

/// Modules without I/O, async and clock, and what they must not name.
const PURE: [&str; 3] = ["schema", "json", "partition"];
const IMPURE: [&str; 13] = [
    "object_store",
    "tokio",
    "datafusion",
    "deltalake_core",
    "futures",
    "async_trait",
    "rayon",
    "std::fs",
    "std::io::Read",
    "std::net",
    "std::time",
    "std::thread",
    "tracing",
];

/// The code of each source file by its path below `src`: without comments, and without tests.
fn sources() -> BTreeMap<String, String> {
    let src = project().join("src");
    let is_test = |path: &str| path.contains("/tests/") || path.ends_with("/tests.rs");
    files_below(&src)
        .into_iter()
        .filter(|path| path.ends_with(".rs") && !is_test(path))
        .map(|path| {
            let text = std::fs::read_to_string(src.join(&path)).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            (path, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

/// The module that a file belongs to; none for lib.rs and what only the binary has.
fn module_of(path: &str) -> Option<&str> {
    let first = path.split('/').next().unwrap().trim_end_matches(".rs");
    (!["lib", "main", "allocator"].contains(&first)).then_some(first)
}

/// Whether `code` names the path `name` (as `tokio` or `std::fs`).
fn names(code: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].trim_start();
        // A path begins here, and not behind another segment (but behind `use` or a brace).
        !before.is_some_and(|c| is_word(c) || c == ':' || c == '.' || c == '"')
            && (after.starts_with("::") || after.starts_with(';') || after.starts_with("as "))
    })
}

/// The modules of this crate that `code` names by `crate::module` or `crate::{module, ...}`.
fn crate_modules(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => found.push(first_word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut is_start = true;
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => is_start = true,
                        c if is_start && !c.is_whitespace() => {
                            found.push(first_word(&list[at..]));
                            is_start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

#[test]
fn what_code_names_is_found_in_every_notation() {
    let code = "use crate::lake::{Head, Table};\nuse crate::{error::{A, B}, raw, write::c};\nlet x: crate::json::X;";
    assert_eq!(crate_modules(code), ["lake", "error", "raw", "write", "json"]);
    for code in ["use tokio::sync::mpsc;", "use tokio;", "let x = tokio::spawn(y);", "use tokio as t;", "{tokio::x, y}"]
    {
        assert!(names(code, "tokio"), "{code}");
    }
    for code in ["use my_tokio::x;", "use a::tokio::x;", "\"tokio::x\"", "fn tokio() {}"] {
        assert!(!names(code, "tokio"), "{code}");
    }
}

#[test]
fn the_order_names_every_module() {
    let mut found: Vec<String> = sources().keys().filter_map(|path| module_of(path)).map(str::to_owned).collect();
    found.dedup();
    found.sort();
    found.dedup();
    let mut order = ORDER.map(str::to_owned);
    order.sort();
    assert_eq!(found, order);
}

#[test]
fn modules_use_only_those_before_them() {
    let place = |name: &str| ORDER.iter().position(|module| *module == name);
    for (path, code) in sources() {
        let Some(own) = module_of(&path) else { continue };
        for named in crate_modules(&code) {
            let named_place = place(named).unwrap_or_else(|| panic!("{path} names crate::{named}, which is no module"));
            assert!(named_place <= place(own).unwrap(), "{path} uses {named}, which comes after {own}");
        }
    }
}

#[test]
fn pure_modules_name_no_io_no_async_and_no_clock() {
    for (path, code) in sources() {
        let is_pure = module_of(&path).is_some_and(|module| PURE.contains(&module)) || path.starts_with("lake/ddl/");
        if !is_pure {
            continue;
        }
        for name in IMPURE {
            assert!(!names(&code, name), "{path} names {name}");
        }
        for word in ["async fn", "SystemTime", "Instant::", "crate::clock", "crate::store"] {
            assert!(!code.contains(word), "{path} says {word}");
        }
    }
}

#[test]
fn datafusion_is_named_by_queries_alone() {
    for (path, code) in sources() {
        if module_of(&path) != Some("query") {
            assert!(!names(&code, "datafusion") && !code.contains("delta_datafusion"), "{path} names datafusion");
        }
    }
}

#[test]
fn one_file_asks_the_machine_for_time_and_ids() {
    for (path, code) in sources() {
        if path != "clock.rs" {
            for word in ["SystemTime", "Instant::now", "Utc::now", "Local::now", "Uuid::new", "Uuid::now"] {
                assert!(!code.contains(word), "{path} says {word}");
            }
        }
    }
}

#[test]
fn two_files_write_objects_and_one_deletes_them() {
    let writes =
        ["PutMode", "PutOptions", ".put(", ".put_opts(", ".put_multipart(", "fs::write", "File::create", "OpenOptions"];
    let deletes = [".delete(", ".delete_stream(", "remove_file", "remove_dir", ".rename(", ".copy("];
    // Stores are what is written to; and what proves them cleans up behind itself.
    for (path, code) in sources().into_iter().filter(|(path, _)| !path.starts_with("store/")) {
        // The trait by which Vortex files are read has one of the words in its name.
        let code = code.replace("OpenOptionsSessionExt", "");
        for word in writes {
            let may = ["lake/hidden.rs", "write/sink.rs"].contains(&&*path);
            // Linux is told to forget how much memory there was: no object is written.
            let may = may || (path == "clock.rs" && word == "fs::write");
            // A result goes to the file that whoever asks has named.
            let may = may || (path == "cli/shell/file.rs" && word == "OpenOptions");
            assert!(may || !code.contains(word), "{path} says {word}");
        }
        for word in deletes {
            assert!(path == "lake/hidden.rs" || !code.contains(word), "{path} says {word}");
        }
    }
}
