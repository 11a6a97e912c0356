//! Real data: however the objects of a source fall into runs, its table has the same columns and the same rows.
//!
//! `SILTSTONE_REAL_DATA` names a raw root of such data; without it nothing is done here, and a line says so. Of a source of
//! more than a few megabytes, objects are taken at even distances, unless `SILTSTONE_REAL_DATA_ALL=1` asks for all of them.
//! `SILTSTONE_KILLS` says how many runs are killed in all (default 12).
//! `SILTSTONE_BIN` names another binary than the one of this build, best one that is built for release:
//!
//! ```sh
//! SILTSTONE_REAL_DATA=raw SILTSTONE_REAL_DATA_ALL=1 SILTSTONE_BIN=target/release/siltstone cargo test --test it real_data
//! ```

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::kill::copy_folder;
use super::support::{Numbers, Ran, Roots, files_below, write};

/// Stored bytes of a source that are taken unless all are asked for.
const SAMPLE_BYTES: u64 = 8 << 20;
/// The parts that a source is split into.
const PARTS: usize = 5;

/// A source of real data.
struct Source {
    name: String,
    folder: PathBuf,
    /// The objects that are taken, relative to the folder, sorted.
    objects: Vec<String>,
}

/// The sources there are; none, and a line that says so, where no real data is named.
fn sources() -> Vec<Source> {
    let Some(root) = std::env::var_os("SILTSTONE_REAL_DATA").map(PathBuf::from) else {
        eprintln!("skipped: SILTSTONE_REAL_DATA names no raw root");
        return Vec::new();
    };
    let mut names: Vec<OsString> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.retain(|name| root.join(name).is_dir() && name != "JSONTestSuite");
    names.sort();
    names.iter().map(|name| source(&root.join(name))).collect()
}

fn source(folder: &Path) -> Source {
    let all = files_below(folder);
    let bytes: u64 = all.iter().map(|object| folder.join(object).metadata().unwrap().len()).sum();
    // Each object of a few bytes costs about as much as a few thousand bytes.
    let weight = bytes.max(all.len() as u64 * 16_384);
    let wants_all = std::env::var_os("SILTSTONE_REAL_DATA_ALL").is_some_and(|value| value == "1");
    let step = if wants_all { 1 } else { weight.div_ceil(SAMPLE_BYTES).max(1) as usize };
    let objects: Vec<String> = all.into_iter().step_by(step).collect();
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    eprintln!("{name}: {} objects, every {step}. of {bytes} bytes", objects.len());
    Source { name, folder: folder.to_owned(), objects }
}

impl Source {
    /// Partitions that are not found by looking at the first objects.
    fn partition_by(&self) -> &'static str {
        match self.name.as_str() {
            "gharchive" => "day(created_at), type",
            "wikiticker" => "hour(time)",
            "cloudtrail" => "day(eventTime)",
            _ => "none",
        }
    }

    /// The bytes of an object, inflated.
    fn bytes(&self, object: &str) -> Vec<u8> {
        let stored = std::fs::read(self.folder.join(object)).unwrap();
        if !stored.starts_with(b"\x1f\x8b") {
            return stored;
        }
        let mut bytes = Vec::new();
        MultiGzDecoder::new(stored.as_slice()).read_to_end(&mut bytes).unwrap();
        bytes
    }
}

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Work {
    Compact,
    Optimize,
}

/// A lake that takes a source part by part.
struct World<'a> {
    roots: Roots,
    source: &'a Source,
}

impl<'a> World<'a> {
    fn new(source: &'a Source) -> Self {
        Self { roots: Roots::new(), source }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.roots.command(args);
        if let Some(binary) = std::env::var_os("SILTSTONE_BIN") {
            command = Command::new(std::path::absolute(binary).unwrap());
            command.args(args).current_dir(self.roots.dir.path()).stdin(Stdio::null());
        }
        command
    }

    /// Stores these objects of the source and compacts them.
    fn add<'o>(&self, objects: impl IntoIterator<Item = &'o String>) {
        self.store(objects);
        self.compact();
    }

    /// Stores these objects of the source.
    fn store<'o>(&self, objects: impl IntoIterator<Item = &'o String>) {
        for object in objects {
            let (from, to) = (self.source.folder.join(object), self.path(object));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            if std::fs::hard_link(&from, &to).is_err() {
                std::fs::copy(&from, &to).unwrap();
            }
        }
    }

    fn command_of(&self, work: Work) -> Command {
        let lake = self.roots.lake.to_str().unwrap();
        match work {
            Work::Compact => {
                let raw = self.roots.raw.to_str().unwrap();
                let by = self.source.partition_by();
                self.command(&["compact", "--output", "json", "--partition-by", by, "--raw", raw, "--lake", lake])
            }
            Work::Optimize => self.command(&["optimize", &self.source.name, "--output", "json", "--lake", lake]),
        }
    }

    /// Kills a command at random moments, so many times at most, and lets another one complete; how many were killed before
    /// they ended.
    fn kill(&self, work: Work, times: usize, numbers: &mut Numbers) -> usize {
        // How long it takes as a whole, here and now.
        let copy = World::new(self.source);
        copy_folder(&self.roots.raw, &copy.roots.raw);
        if self.roots.lake.exists() {
            copy_folder(&self.roots.lake, &copy.roots.lake);
        }
        let began = Instant::now();
        assert_eq!(Ran::of(&mut copy.command_of(work)).code, 0);
        let whole_us = began.elapsed().as_micros() as u64;
        let mut killed = 0;
        for _ in 0..times {
            let mut child = self.command_of(work).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(numbers.below(whole_us + 1)));
            child.kill().unwrap();
            if child.wait().unwrap().code().is_some() {
                break;
            }
            killed += 1;
        }
        let ran = Ran::of(&mut self.command_of(work));
        assert_eq!(ran.code, 0, "{ran:?}");
        let text = Ran::of(&mut self.command(&["verify", "--lake", self.roots.lake.to_str().unwrap()])).ok();
        assert!(text.ends_with(": nothing wrong\n"), "{text}");
        killed
    }

    /// Where an object of the source is stored.
    fn path(&self, object: &str) -> PathBuf {
        self.roots.raw.join(&self.source.name).join(object)
    }

    fn compact(&self) {
        let mut command = self.command(&["compact", "--output", "json", "--partition-by", self.source.partition_by()]);
        let ran = Ran::of(command.arg("--raw").arg(&self.roots.raw).arg("--lake").arg(&self.roots.lake));
        let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
        assert_eq!((ran.code, report["status"].as_str()), (0, Some("SUCCESS")), "{report:#} {}", ran.stderr);
    }

    /// The columns, as `schema` shows them.
    fn columns(&self) -> Value {
        let mut command = self.command(&["schema", &self.source.name, "--format", "json"]);
        let shown: Value = serde_json::from_str(&Ran::of(command.arg("--lake").arg(&self.roots.lake)).ok()).unwrap();
        shown["columns"].clone()
    }

    /// Calls `visit` with a hash of each row, and its text.
    fn each_row(&self, mut visit: impl FnMut(u64, &[u8])) {
        let mut command = self.command(&["export", &self.source.name, "--lake"]);
        let mut child = command.arg(&self.roots.lake).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::with_capacity(1 << 20, child.stdout.take().unwrap());
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).unwrap() > 0 {
            remove_empty(&mut line);
            let mut hasher = DefaultHasher::new();
            line.hash(&mut hasher);
            visit(hasher.finish(), &line);
            line.clear();
        }
        assert!(child.wait().unwrap().success());
    }

    /// Hashes of all rows, sorted.
    fn rows(&self) -> Vec<u64> {
        let mut rows = Vec::new();
        self.each_row(|row, _| rows.push(row));
        rows.sort_unstable();
        rows
    }

    /// Some rows that the other table does not have.
    fn differing(&self, theirs: &[u64]) -> Vec<String> {
        let mut rows = Vec::new();
        self.each_row(|row, text| {
            if rows.len() < 3 && theirs.binary_search(&row).is_err() {
                rows.push(String::from_utf8_lossy(text).into_owned());
            }
        });
        rows
    }

    #[track_caller]
    fn assert_same(&self, at_once: &World<'_>) {
        let name = &self.source.name;
        assert_eq!(self.columns(), at_once.columns(), "the columns of {name}");
        let (mine, theirs) = (self.rows(), at_once.rows());
        eprintln!("{name}: {} rows", mine.len());
        assert!(!mine.is_empty(), "{name} has no rows");
        if mine != theirs {
            let (here, there) = (self.differing(&theirs), at_once.differing(&mine));
            panic!("{name}: {} and {} rows; only here: {here:#?} only there: {there:#?}", mine.len(), theirs.len());
        }
    }
}

/// Removes members `{}` and `[]` from minified JSON text, and what is empty then. As long as a key has no other values it has
/// no column, and they are null in the files: in which files, that depends on the runs.
fn remove_empty(text: &mut Vec<u8>) {
    let is_quote = |text: &[u8], at: usize| {
        text[at] == b'"' && text[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
    };
    let mut at = 0;
    while at + 4 <= text.len() {
        if !matches!(&text[at..at + 4], b"\":{}" | b"\":[]") || !is_quote(text, at) {
            at += 1;
            continue;
        }
        let start = (0..at).rev().find(|start| is_quote(text, *start)).unwrap();
        let (start, end) = match (text[start - 1], text[at + 4]) {
            (b',', _) => (start - 1, at + 4),
            (_, b',') => (start, at + 5),
            _ => (start, at + 4),
        };
        text.drain(start..end);
        // What was around it may be empty now.
        at = start.saturating_sub(4);
    }
}

#[test]
fn empty_members_are_removed_and_nothing_else() {
    for (text, expected) in [
        (r#"{"a":{},"b":1,"c":[]}"#, r#"{"b":1}"#),
        (r#"{"b":{"a":[]},"c":"\":{}"}"#, r#"{"c":"\":{}"}"#),
        (r#"{"a":[{"b\"":{},"c":[{}]}],"d\\":[]}"#, r#"{"a":[{"c":[{}]}]}"#),
        (r#"{"a":{"b":{"c":{}}}}"#, "{}"),
    ] {
        let mut text = text.as_bytes().to_vec();
        remove_empty(&mut text);
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}

#[test]
fn a_source_split_at_random_into_runs_makes_the_table_of_one_run() {
    for source in sources() {
        let at_once = World::new(&source);
        at_once.add(&source.objects);
        let by_parts = World::new(&source);
        let mut numbers = Numbers(source.objects.len() as u64);
        if source.objects.len() >= 2 * PARTS {
            let mut parts = vec![Vec::new(); PARTS];
            source.objects.iter().for_each(|object| parts[numbers.below(PARTS as u64) as usize].push(object));
            parts.into_iter().for_each(|part| by_parts.add(part));
        } else {
            // Few large objects of one record a line: their lines are split.
            let mut parts = vec![Vec::new(); PARTS];
            for object in &source.objects {
                for line in source.bytes(object).split_inclusive(|byte| *byte == b'\n') {
                    parts[numbers.below(PARTS as u64) as usize].extend_from_slice(line);
                }
            }
            for (part, lines) in parts.iter().enumerate() {
                write(&by_parts.path(&format!("{part}.json")), lines);
                by_parts.compact();
            }
        }
        by_parts.assert_same(&at_once);
    }
}

#[test]
fn killed_at_random_moments_runs_and_optimizes_make_the_table_of_one_run() {
    let sources = sources();
    let asked: Option<usize> = std::env::var("SILTSTONE_KILLS").ok().map(|text| text.parse().unwrap());
    // So many parts of a source, and kills of one command.
    let (kills, parts, at_most) = asked.map_or((12, 3, 4), |kills| (kills, 2 * PARTS, 12));
    let mut numbers = Numbers(20_261_121);
    let (mut all_killed, mut lakes) = (0, 0);
    for (n, source) in sources.iter().enumerate() {
        let at_once = World::new(source);
        at_once.add(&source.objects);
        // Those of the sources before, and this one's share.
        let quota = kills * (n + 1) / sources.len();
        while all_killed < quota {
            let killed = World::new(source);
            let parts = parts.min(source.objects.len());
            for (part, objects) in source.objects.chunks(source.objects.len().div_ceil(parts)).enumerate() {
                killed.store(objects);
                let works = if part % 3 == 2 { &[Work::Compact, Work::Optimize][..] } else { &[Work::Compact] };
                for work in works {
                    let times = at_most.min(quota.saturating_sub(all_killed));
                    all_killed += killed.kill(*work, times, &mut numbers);
                }
                eprintln!("{}: {all_killed} runs were killed so far", source.name);
            }
            killed.assert_same(&at_once);
            lakes += 1;
        }
    }
    eprintln!("{all_killed} runs were killed, over {lakes} lakes");
}

#[test]
fn a_source_taken_month_by_month_makes_the_table_of_one_run() {
    for source in sources() {
        // Objects of one month lie in one folder, whose name sorts by time.
        let month = |object: &String| object.split_once('/').map(|(folder, _)| folder.to_owned());
        let is_month = |folder: &str| folder.len() == "2024-02".len() && folder.starts_with("20");
        if !source.objects.iter().all(|object| month(object).is_some_and(|folder| is_month(&folder))) {
            continue;
        }
        let at_once = World::new(&source);
        at_once.add(&source.objects);
        let by_months = World::new(&source);
        source.objects.chunk_by(|a, b| month(a) == month(b)).for_each(|objects| by_months.add(objects));
        by_months.assert_same(&at_once);
    }
}
