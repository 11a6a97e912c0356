//! What the tests share: a raw root and a lake root in a temporary folder, and the binary run over them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use siltstone::compact::{Report, SourceReport};
use siltstone::lake::{ActiveFile, Table};
use siltstone::store::Location;
use tempfile::TempDir;

/// A raw root and a lake root. The folder is deleted when this is dropped.
pub(crate) struct Roots {
    pub(crate) dir: TempDir,
    pub(crate) raw: PathBuf,
    pub(crate) lake: PathBuf,
}

/// What a process gave back.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Roots {
    /// An empty raw root; the lake is not there yet.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let (raw, lake) = (dir.path().join("raw"), dir.path().join("lake"));
        std::fs::create_dir(&raw).unwrap();
        Self { dir, raw, lake }
    }

    /// The raw root that is part of the repository.
    pub(crate) fn of_testdata() -> Self {
        Self { raw: project().join("testdata/raw"), ..Self::new() }
    }

    /// Stores a raw object, `key` being `source/name`.
    pub(crate) fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        write(&self.raw.join(key), bytes);
    }

    /// Stores values one to a line.
    pub(crate) fn put_lines(&self, key: &str, values: &[Value]) {
        self.put(key, lines(values));
    }

    /// The command with these arguments, run in the temporary folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_siltstone"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        // A backtrace that a message drags along shall be seen.
        command.env("RUST_BACKTRACE", "1").env_remove("RUST_LOG");
        command
    }

    /// The command with these arguments and both roots.
    pub(crate) fn command_here(&self, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.arg("--raw").arg(&self.raw).arg("--lake").arg(&self.lake);
        command
    }

    /// Runs the command as it is.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args))
    }

    /// Runs the command with both roots.
    pub(crate) fn run_here(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command_here(args))
    }

    /// Compacts all sources, which must succeed.
    pub(crate) fn compact(&self, args: &[&str]) -> Report {
        let ran = self.run_here(&[&["compact", "--output", "json"], args].concat());
        serde_json::from_str(&ran.ok()).unwrap()
    }

    /// Compacts the only source there is, which must succeed.
    pub(crate) fn compact_one(&self, args: &[&str]) -> SourceReport {
        let mut report = self.compact(args);
        assert_eq!(report.sources.len(), 1);
        report.sources.remove(0)
    }

    /// The lines of an export, sorted.
    pub(crate) fn export_lines(&self, source: &str) -> Vec<String> {
        let ran = self.run(&["export", source, "--lake", self.lake.to_str().unwrap()]);
        let mut lines: Vec<String> = ran.ok().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// The records of an export, in the order of their text.
    pub(crate) fn export(&self, source: &str) -> Vec<Value> {
        self.export_lines(source).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The numbers under `id` of an export, sorted.
    pub(crate) fn exported_ids(&self, source: &str) -> Vec<i64> {
        let mut ids: Vec<i64> = self.export(source).iter().map(|record| record["id"].as_i64().unwrap()).collect();
        ids.sort_unstable();
        ids
    }

    /// The rows of a query.
    pub(crate) fn sql(&self, statement: &str) -> Vec<Value> {
        let ran = self.run_here(&["sql", "--format", "ndjson", statement]);
        ran.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The columns that `schema --format json` shows.
    pub(crate) fn columns(&self, source: &str) -> Value {
        self.schema(source)["columns"].take()
    }

    /// What `schema --format json` shows.
    pub(crate) fn schema(&self, source: &str) -> Value {
        let ran = self.run(&["schema", source, "--format", "json", "--lake", self.lake.to_str().unwrap()]);
        serde_json::from_str(&ran.ok()).unwrap()
    }

    /// The type of a top-level column.
    pub(crate) fn column_type(&self, source: &str, column: &str) -> String {
        let columns = self.columns(source);
        let found = columns.as_array().unwrap().iter().find(|field| field["column"] == column);
        found.unwrap_or_else(|| panic!("no column {column} in {columns}"))["type"].as_str().unwrap().to_owned()
    }

    /// What `status --format json` says of a source.
    pub(crate) fn status(&self, source: &str) -> Value {
        let all: Value = serde_json::from_str(&self.run_here(&["status", source, "--format", "json"]).ok()).unwrap();
        all[0].clone()
    }

    /// The data files of the table's latest version, in the order of their paths.
    pub(crate) fn files(&self, source: &str) -> Vec<ActiveFile> {
        let lake = Location::parse(self.lake.to_str().unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let table = runtime.block_on(Table::open(lake.folder(source).unwrap())).unwrap();
        let mut files = table.files().unwrap();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    /// The folders that directly hold data files, relative to the table, sorted; `.` for the table itself.
    pub(crate) fn partition_folders(&self, source: &str) -> Vec<String> {
        let table = self.lake.join(source);
        let mut folders: Vec<String> = files_below(&table)
            .into_iter()
            .filter(|path| !path.starts_with('_'))
            .map(|path| path.rsplit_once('/').map_or(".", |(folder, _)| folder).to_owned())
            .collect();
        folders.sort();
        folders.dedup();
        folders
    }
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// stdout of a command that succeeded and had nothing to say on stderr.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.code == 0 && self.stderr.is_empty(), "exit code {}: {}", self.code, self.stderr);
        self.stdout
    }

    /// The message of a command that failed with `code`: one message of ours, no panic, no backtrace.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("siltstone: "), "{}", self.stderr);
        let messages = self.stderr.lines().filter(|line| line.starts_with("siltstone: ")).count();
        assert_eq!(messages, 1, "{}", self.stderr);
        for trace in ["panicked", "backtrace", "RUST_", "Some(", "Error {"] {
            assert!(!self.stderr.contains(trace), "{}", self.stderr);
        }
        self.stderr
    }
}

/// Runs a command; what it gave, how long it took, and the most memory that it held, in MiB.
pub(crate) fn measured(mut command: Command) -> (Ran, Duration, u64) {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let took = loop {
        let ended = child.try_wait().unwrap().is_some();
        let took = began.elapsed();
        if ended {
            break took;
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak_kib = peak.unwrap_or(peak_kib).max(peak_kib);
        std::thread::sleep(Duration::from_millis(5));
    };
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or(-1);
    (Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) }, took, peak_kib / 1024)
}

/// The folder of the crate.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// All files below a folder, relative to it, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Values one to a line.
pub(crate) fn lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

/// One gzip member.
pub(crate) fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// One zstd frame.
pub(crate) fn zstd(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(bytes.as_ref(), 3).unwrap()
}

/// Numbers that look random and are the same in every run (splitmix64).
#[derive(Debug)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// The next number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }
}
