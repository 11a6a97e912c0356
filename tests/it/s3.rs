//! Raw objects and tables on a real S3 server, named by `SILTSTONE_TEST_S3` (as `http://127.0.0.1:5599`, without
//! authentication, as that of tests/s3/server.py). Without it these tests have nothing to run against and pass, but for the one in memory.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use object_store::ObjectStoreExt as _;
use serde_json::{Value, json};
use siltstone::clock::SystemClock;
use siltstone::compact::{Request, Silent, compact};
use siltstone::config::Config;
use siltstone::json::write_record;
use siltstone::lake::{Head, Hidden, Quarantine, Registry, StoredFile, Table, sql_type, verify};
use siltstone::maintain::{OptimizeRequest, keep, optimize, vacuum};
use siltstone::query::{Format, SqlSession, write_results};
use siltstone::schema::Field;
use siltstone::store::Location;

use crate::bench::assert_counts_agree;
use crate::commit::assert_all_told;
use crate::support::{Ran, Roots, lines};

/// A bucket of its own for one test.
struct Bucket {
    endpoint: String,
    name: String,
    roots: Roots,
}

impl Bucket {
    fn create(name: &str) -> Option<Self> {
        let endpoint = std::env::var("SILTSTONE_TEST_S3").ok()?;
        let bucket = Self { endpoint, name: format!("{name}-{}", std::process::id()), roots: Roots::new() };
        bucket.put_raw("", b"");
        // What a run proves of a store first is tested where several run at once.
        std::fs::write(bucket.config(), "single_writer = true\n").unwrap();
        Some(bucket)
    }

    fn config(&self) -> PathBuf {
        self.roots.dir.path().join("siltstone.toml")
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.put_raw(&format!("/raw/{key}"), bytes);
    }

    /// One PUT whose path is sent as it is: keys that no client library would send.
    fn put_raw(&self, path: &str, bytes: &[u8]) {
        self.ask("PUT", &format!("/{}{path}", self.name), bytes);
    }

    /// What the server answers.
    fn get(&self, path: &str) -> String {
        self.ask("GET", path, b"")
    }

    fn ask(&self, method: &str, path: &str, bytes: &[u8]) -> String {
        let host = self.endpoint.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        let length = bytes.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn run(&self, args: &[&str]) -> Ran {
        let (raw, lake) = (format!("s3://{}/raw", self.name), format!("s3://{}/lake", self.name));
        self.run_bare(&[args, &["--raw", &raw, "--lake", &lake]].concat())
    }

    /// Runs the command without the roots.
    fn run_bare(&self, args: &[&str]) -> Ran {
        let mut command: Command = self.roots.command(args);
        command
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "canary-secret-7f3a")
            .env("AWS_REGION", "us-east-1");
        Ran::of(&mut command)
    }

    fn compact(&self) -> Value {
        let report: Value = serde_json::from_str(&self.run(&["compact", "--output", "json"]).ok()).unwrap();
        report["sources"][0].clone()
    }

    fn count(&self, table: &str) -> String {
        let sql = format!("select count(*), count(distinct id) from {table}");
        self.run(&["sql", "--format", "csv", &sql]).ok().lines().nth(1).unwrap().to_owned()
    }
}

#[test]
fn a_bucket_is_compacted_and_queried_like_a_folder() {
    let Some(bucket) = Bucket::create("like-a-folder") else { return };
    for day in 0..3 {
        let records: Vec<Value> =
            (0..100).map(|n| json!({"id": day * 100 + n, "at": "2025-02-03T04:05:06Z"})).collect();
        bucket.put(&format!("events/2025-02/{day}.json"), lines(&records).as_bytes());
    }
    let first = bucket.compact();
    assert_eq!((&first["objects"], &first["success_count"]), (&json!(3), &json!(300)));
    assert_eq!(bucket.compact()["objects"], 0);
    assert_eq!((bucket.count("lake.events"), bucket.count("raw.events")), ("300,300".to_owned(), "300,300".to_owned()));

    bucket.put("events/2025-03/new.json", br#"{"id": "late", "at": null}"#);
    assert_eq!(bucket.compact()["success_count"], 1);
    assert_eq!(bucket.count("lake.events"), "301,301");
}

#[test]
fn a_large_object_and_a_large_file_go_in_parts() {
    let Some(bucket) = Bucket::create("parts") else { return };
    // Hex digits of a generator: 22 MB that zstd cannot press below two upload parts.
    let mut state = 1_u64;
    let mut text = String::new();
    for id in 0..180_000 {
        text.push_str(&format!("{{\"id\":{id},\"hash\":\""));
        for _ in 0..7 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(&format!("{state:016x}"));
        }
        text.push_str("\"}\n");
    }
    bucket.put("hashes/one.json", text.as_bytes());
    let report = bucket.compact();
    assert_eq!(report["success_count"], 180_000);
    assert!(report["bytes_out"].as_u64().unwrap() > 9_000_000, "{report}");
    assert_eq!(bucket.count("lake.hashes"), "180000,180000");
}

#[test]
fn keys_that_the_client_cannot_express_do_not_hold_up_a_source() {
    let Some(bucket) = Bucket::create("keys") else { return };
    bucket.put("odd//twice.json", br#"{"id": -1}"#);
    bucket.put("odd/a/../up.json", br#"{"id": -2}"#);
    bucket.put("odd/a%20b/%C3%BC%2B%3D%25.json", br#"{"id": 1}"#);
    // The store lists the marker behind the first of these, as a folder; the client drops its slash.
    bucket.put("odd/folder-0.json", br#"{"id": 2000}"#);
    bucket.put("odd/folder/", b"");
    bucket.put("odd/folder/1.json", br#"{"id": 2001}"#);
    for id in 2..1_050 {
        bucket.put(&format!("odd/z{id:05}.json"), format!("{{\"id\": {id}}}").as_bytes());
    }
    let report = bucket.compact();
    assert_eq!([&report["success_count"], &report["objects"]], [1_051, 1_052], "{report}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("/twice.json") && notes.contains("a/../up.json"), "{notes}");
    assert_eq!(bucket.compact()["objects"], 0);
}

/// What commands make of objects of drifting columns and odd keys, round by round. `run` gives what a command prints.
fn behaviour(put: &dyn Fn(&str, &[u8]), run: &dyn Fn(&[&str], Roles) -> String) -> Vec<Value> {
    let both = |args: &[&str]| run(args, Roles::Both);
    let lake = |args: &[&str]| run(args, Roles::Lake);
    let json = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let sorted = |text: String| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        json!(lines)
    };
    let mut seen = Vec::new();
    let keys = ["a b", "ü€😀", "a+b", "100%", "k=v", "%2F", "deep/er", "plain"];
    for round in 0..4 {
        for (n, key) in keys.iter().enumerate() {
            let id = (round * keys.len() + n) as i64;
            let kind = ["even", "odd"][n % 2];
            let mut record = json!({"id": id, "kind": kind, "v": id, "n": {"x": [id]}, "at": "2025-02-03T04:05:06Z"});
            match (round, n) {
                (1, 3) => record["v"] = json!(0.10),
                (2, 4) => record["v"] = json!("text"),
                (3, 5) => record["n"] = json!({"x": [{"y": 1}]}),
                _ => {}
            }
            put(&format!("s/{key}/{round}.json"), format!("{record}\nno json\n").as_bytes());
        }
        let report = json(both(&["compact", "s", "--partition-by", "kind", "--output", "json"]));
        let source = &report["sources"][0];
        seen.push(json!([source["objects"], source["success_count"], source["error_count"], source["schema_changes"]]));
        seen.push(json(both(&["compact", "s", "--output", "json"]))["sources"][0]["objects"].clone());
        if round % 2 == 1 {
            let done = json(lake(&["optimize", "s", "--output", "json"]));
            seen.push(json!([done["sources"][0]["files_merged"], done["sources"][0]["rows"]]));
            let swept = json(lake(&["vacuum", "s", "--retention", "1d", "--output", "json"]));
            seen.push(swept["sources"][0]["data_files"].clone());
        }
        seen.push(sorted(lake(&["export", "s"])));
        let schema = json(lake(&["schema", "s", "--format", "json"]));
        let columns = schema["columns"].as_array().unwrap().iter();
        seen.push(columns.map(|column| json!([column["column"], column["type"]])).collect());
        seen.push(lake(&["quarantine", "list", "s", "--format", "ndjson"]).lines().count().into());
        seen.push(json!(both(&[
            "sql",
            "--format",
            "csv",
            "select kind, count(*), min(v) from lake.s group by kind order by kind"
        ])));
        seen.push(json!(both(&["sql", "--format", "csv", "select count(*), count(distinct id) from raw.s"])));
        assert!(lake(&["verify", "s"]).ends_with(": nothing wrong\n"));
    }
    seen
}

/// The roots that a command is told.
#[derive(Clone, Copy)]
enum Roles {
    Both,
    Lake,
}

/// What they give over folders.
fn over_folders() -> Vec<Value> {
    let roots = Roots::new();
    behaviour(&|key, bytes| roots.put(key, bytes), &|args, roles| match roles {
        Roles::Both => roots.run_here(args).ok(),
        Roles::Lake => roots.run(&[args, &["--lake", roots.lake.to_str().unwrap()]].concat()).ok(),
    })
}

#[test]
fn commands_over_a_bucket_give_what_they_give_over_folders() {
    let Some(bucket) = Bucket::create("behaviour") else { return };
    let lake = format!("s3://{}/lake", bucket.name);
    let remote = behaviour(
        &|key, bytes| {
            let encoded: String = key
                .bytes()
                .map(|byte| match byte {
                    b'/' | b'a'..=b'z' | b'0'..=b'9' | b'.' => char::from(byte).to_string(),
                    byte => format!("%{byte:02X}"),
                })
                .collect();
            bucket.put(&encoded, bytes);
        },
        &|args, roles| match roles {
            Roles::Both => bucket.run(args).ok(),
            Roles::Lake => bucket.run_bare(&[args, &["--lake", &lake]].concat()).ok(),
        },
    );
    assert_alike(&over_folders(), &remote);
}

#[track_caller]
fn assert_alike(some: &[Value], others: &[Value]) {
    assert_eq!(some.len(), others.len());
    some.iter().zip(others).for_each(|(one, other)| assert_eq!(one, other));
}

/// Wants the server of tests/s3, which tells what was read of it.
#[test]
fn what_is_counted_is_what_a_real_server_saw() {
    let Some(bucket) = Bucket::create("counted") else { return };
    let take_reads = || {
        let answer = bucket.get(&format!("/-/reads/{}", bucket.name));
        let (requests, bytes) = answer.split_once(' ').unwrap();
        (requests.parse().unwrap(), bytes.parse().unwrap())
    };
    let run = |args: &[&str]| bucket.run_bare(args);
    assert_counts_agree(&bucket.roots, &bucket.endpoint, &bucket.name, run, take_reads);
}

/// Raw objects and tables in the memory of one process, and the library instead of the commands.
struct InMemory {
    store: Arc<object_store::memory::InMemory>,
    runtime: tokio::runtime::Runtime,
}

impl InMemory {
    fn location(&self, folder: &str) -> Location {
        Location::with_store(url::Url::parse(&format!("memory:///{folder}/")).unwrap(), Arc::clone(&self.store) as _)
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        let path = object_store::path::Path::parse(format!("raw/{key}")).unwrap();
        self.runtime.block_on(self.store.put(&path, bytes.to_vec().into())).unwrap();
    }

    /// What the command of the suite would print.
    fn run(&self, args: &[&str]) -> String {
        self.runtime.block_on(async {
            let (raw, lake, config) = (self.location("raw"), self.location("lake"), Config::default());
            let (sources, threads) = (vec!["s".to_owned()], std::thread::available_parallelism().unwrap().get());
            let table = lake.folder("s").unwrap();
            let opened = Table::open(table.clone()).await.unwrap();
            match args[0] {
                "compact" => {
                    let partition_by = Some("kind".parse().unwrap());
                    let request = Request { raw, lake, sources, partition_by, config, threads };
                    let mut report = compact(&request, &SystemClock, &Silent).await.unwrap();
                    keep(&request, &mut report, &SystemClock).await;
                    json!(report).to_string()
                }
                "optimize" => {
                    let request = OptimizeRequest { lake, sources, config, threads, dedup: false };
                    json!(optimize(&request, &SystemClock).await.unwrap()).to_string()
                }
                "vacuum" => json!({"sources": [vacuum(&table, 24, false, &SystemClock).await.unwrap()]}).to_string(),
                "verify" => {
                    assert_eq!(verify(&table).await.unwrap().findings, []);
                    "s: nothing wrong\n".to_owned()
                }
                "export" => self.rows(&opened).await,
                "schema" => json!({"columns": columns(&registry(&opened).await.1.fields)}).to_string(),
                "quarantine" => {
                    let (head, _) = registry(&opened).await;
                    let quarantine = Quarantine::open(&Hidden::new(opened.location()), &head).await.unwrap();
                    let rejects = quarantine.rejects(|_| true).await.unwrap();
                    "\n".repeat(rejects.into_values().map(|rejects| rejects.len()).sum())
                }
                "sql" => {
                    let session = SqlSession::open(Some(raw), Some(lake), &config, threads, 1 << 28).await.unwrap();
                    let stream = session.query(args.last().unwrap()).await.unwrap();
                    let mut text = Vec::new();
                    write_results(stream, Format::Csv, &mut text).await.unwrap();
                    String::from_utf8(text).unwrap()
                }
                other => panic!("{other}"),
            }
        })
    }

    /// All rows as records.
    async fn rows(&self, table: &Table) -> String {
        let (hidden, (_, registry)) = (Hidden::new(table.location()), registry(table).await);
        let mut text = Vec::new();
        for file in table.files().unwrap() {
            let mut stored = StoredFile::open(&hidden, &file.path, file.size_bytes, &registry.fields).await.unwrap();
            while let Some(batch) = stored.next_batch().await.unwrap() {
                for row in 0..batch.num_rows() {
                    write_record(&batch, &stored.fields, row, &mut text);
                    text.push(b'\n');
                }
            }
        }
        String::from_utf8(text).unwrap()
    }
}

async fn registry(table: &Table) -> (Head, Registry) {
    let hidden = Hidden::new(table.location());
    let id = table.ledger_head().await.unwrap().unwrap();
    let head: Head = hidden.read_json(&Hidden::head_path(id)).await.unwrap();
    let registry = hidden.read_json(&head.registry).await.unwrap();
    (head, registry)
}

/// Columns as `schema` shows them, those of structs left out.
fn columns(fields: &[Field]) -> Vec<Value> {
    fields.iter().map(|field| json!({"column": field.name, "type": sql_type(&field.ty)})).collect()
}

#[test]
fn the_library_over_a_store_in_memory_gives_what_commands_give_over_folders() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let memory = InMemory { store: Arc::default(), runtime };
    let seen = behaviour(&|key, bytes| memory.put(key, bytes), &|args, _| memory.run(args));
    assert_alike(&over_folders(), &seen);
}

#[test]
fn of_eight_runs_at_once_each_object_goes_to_one() {
    let Some(bucket) = Bucket::create("eight") else { return };
    std::fs::remove_file(bucket.config()).unwrap();
    for round in 0..2 {
        for object in round * 40..(round + 1) * 40 {
            let records: Vec<Value> = (0..10).map(|n| json!({"id": object * 10 + n, "v": object})).collect();
            bucket.put(&format!("s/{object:03}.json"), lines(&records).as_bytes());
        }
        let ran: Vec<Ran> = std::thread::scope(|scope| {
            let run = || bucket.run(&["compact", "--threads", "1", "--output", "json"]);
            let runs: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert_all_told(&ran, 40);
        let rows = (round + 1) * 400;
        assert_eq!(bucket.count("lake.s"), format!("{rows},{rows}"));
    }
}

#[test]
fn doctor_accepts_the_server_and_leaves_nothing_behind() {
    let Some(bucket) = Bucket::create("doctor") else { return };
    let url = format!("s3://{}/lake", bucket.name);
    let ran = bucket.run_bare(&["doctor", &url]);
    assert!(ran.stdout.contains("32 writers, 20 rounds, 20 with one winner"), "{ran:?}");
    assert!(ran.ok().contains("nothing is left behind"));
    // There is nothing to list any more.
    let message = bucket.run_bare(&["status", "--lake", &url]).failed(1);
    assert!(message.contains("there is nothing under"), "{message}");
}

#[test]
fn a_bucket_that_is_not_there_is_one_clear_line_without_the_secret() {
    let Some(bucket) = Bucket::create("missing") else { return };
    let gone = Bucket { name: "siltstone-no-such-bucket".to_owned(), ..bucket };
    let message = gone.run(&["compact"]).failed(1);
    assert!(message.contains("NoSuchBucket") && message.trim_end().lines().count() == 1, "{message}");
    assert!(!message.contains("canary-secret"), "{message}");
}
