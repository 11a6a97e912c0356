//! `siltstone bench`: every choice reads back equal, all reports say the same, what is counted is what a server sees, runs go
//! on where they ended, and the advice is what `compact` then does.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use serde_json::{Value, json};
use siltstone::config::{BenchConfig, Config};
use siltstone::formats::{Choice, Figures, Format, Matrix, Sample, Search, Watch, usual_queries};
use siltstone::lake::Hidden;
use siltstone::query::SqlSession;
use siltstone::store::{Counting, Location};
use url::Url;

use crate::fake_s3::{Condition, FakeS3};
use crate::support::{Ran, Roots, write};

/// Records of every type there is, with nulls, over some days.
fn put_orders(roots: &Roots, records: u64) {
    let record = |n: u64| {
        let (day, hour) = (1 + n * 20 / records, n % 24);
        json!({
            "id": format!("order-{:08x}", n.wrapping_mul(2_654_435_761) as u32),
            "number": n,
            "created_at": format!("2025-02-{day:02}T{hour:02}:05:06Z"),
            "country": (["de", "fr", "it", "es"][(n % 4) as usize]),
            "paid": n.is_multiple_of(3),
            "total": n as f64 * 1.25,
            "note": if n.is_multiple_of(5) { Value::Null } else { json!(format!("a note, number {n}")) },
            "customer": {"name": format!("name {}", n % 97), "address": {"zip": n % 1000, "city": "x"}},
            "lines": (0..n % 3).map(|line| json!({"sku": format!("sku {line}"), "price": 9.5})).collect::<Vec<_>>(),
            "tags": ["a", "b"],
            "due": "2025-03-01",
        })
    };
    for object in 0..4 {
        let records: Vec<Value> = (object * records / 4..(object + 1) * records / 4).map(record).collect();
        roots.put_lines(&format!("orders/{object}.json"), &records);
    }
}

/// The arguments of a short run.
fn short<'a>(roots: &'a Roots, more: &[&'a str]) -> Vec<&'a str> {
    [&["bench", "orders", "--raw", roots.raw.to_str().unwrap(), "--out", "out", "--repetitions", "1"], more].concat()
}

fn report(roots: &Roots) -> Value {
    serde_json::from_slice(&std::fs::read(roots.dir.path().join("out/report.json")).unwrap()).unwrap()
}

fn matrix(roots: &Roots, text: &str) -> String {
    let path = roots.dir.path().join("matrix.toml");
    write(&path, text);
    path.to_str().unwrap().to_owned()
}

/// A matrix of next to nothing.
const SMALL: &str = "codec = [\"snappy\", \"gzip 6\"]\nrow_group_bytes = []\npage_bytes = []\npage_version = []\ndictionary = [\"on\"]\nencodings = []\nsort_by = []\nbloom = []\npartition_by = []\ntarget_file_bytes = []\nbaselines = [\"json\"]\n";

#[test]
fn all_choices_read_back_equal_and_all_reports_say_the_same() {
    let roots = Roots::new();
    put_orders(&roots, 3_000);
    let stdout = roots.run(&short(&roots, &[])).ok();
    let report = report(&roots);
    assert_eq!((&report["records"], &report["complete"]), (&json!(3_000), &json!(true)));
    let cells = report["cells"].as_array().unwrap();
    for id in ["zstd-3", "none", "snappy", "lz4", "gzip-6", "zstd-12", "zstd-3+v=2", "zstd-3+dict=off+enc=split"] {
        assert!(cells.iter().any(|cell| cell["id"] == id), "{id}");
    }
    assert_eq!(cells.iter().any(|cell| cell["id"] == "vortex"), cfg!(feature = "vortex"));
    for (part, count) in [("sort=", 2), ("part=", 3), ("bloom", 1), ("dict=", 5)] {
        assert!(cells.iter().filter(|cell| cell["id"].as_str().unwrap().contains(part)).count() >= count, "{part}");
    }
    let names: Vec<&Value> = report["queries"].as_array().unwrap().iter().map(|query| &query["name"]).collect();
    assert_eq!(names, ["scan", "one column", "selective range", "point lookup", "group by", "nested leaf"]);
    for cell in cells {
        // An error would say that it differs.
        assert_eq!(cell["error"], Value::Null, "{cell}");
        assert!(cell["bytes"].as_u64().unwrap() > 0 && !cell["write_seconds"].is_null(), "{cell}");
        if !["avro", "arrow", "vortex"].contains(&cell["id"].as_str().unwrap()) {
            let rows: Vec<&Value> = cell["queries"].as_array().unwrap().iter().map(|query| &query["rows"]).collect();
            assert_eq!(rows, [3_000, 1, 1, 1, 4, 1], "{cell}");
        }
    }
    assert_same_figures(&roots, &report, &stdout);
}

/// CSV, page and table hold the figures of the JSON.
fn assert_same_figures(roots: &Roots, report: &Value, stdout: &str) {
    let out = roots.dir.path().join("out");
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    let (_, data) = html.split_once("const report = ").unwrap();
    let (data, _) = data.split_once(";\nconst $ =").unwrap();
    let shown: Value = serde_json::from_str(&data.replace("<\\/", "</").replace("<\\!--", "<!--")).unwrap();
    assert_eq!(&shown, report);
    assert!(!html.contains("src=") && !html.contains("<link"), "the page needs nothing else");
    let csv = std::fs::read_to_string(out.join("report.csv")).unwrap();
    let mut lines = csv.lines();
    let titles: Vec<&str> = lines.next().unwrap().split(',').collect();
    let lines: Vec<Vec<String>> = lines.map(csv_values).collect();
    for cell in report["cells"].as_array().unwrap() {
        for query in cell["queries"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let line = lines.iter().find(|line| line[0] == cell["id"] && line[22] == query["name"]).unwrap();
            assert_eq!(line.len(), titles.len());
            let figure = |name: &str| line[titles.iter().position(|title| *title == name).unwrap()].as_str();
            assert_eq!(figure("bytes"), text(&cell["bytes"]));
            let same = |name: &str, value: &Value| match (figure(name).parse::<f64>().ok(), value.as_f64()) {
                // serde_json reads the last digit of some fractions otherwise.
                (Some(a), Some(b)) => assert!((a - b).abs() <= b.abs() * 1e-12, "{name}: {a}, {b}"),
                (a, b) => assert_eq!(a, b, "{name}"),
            };
            same("ratio", &cell["ratio"]);
            same("write_seconds_median", &cell["write_seconds"]["median"]);
            same("query_seconds_max", &query["seconds"]["max"]);
            same("query_bytes", &query["bytes"]);
            same("query_requests", &query["requests"]);
            same("usd_month", &cell["costs"]["month"]);
        }
        let id = cell["id"].as_str().unwrap();
        let shown = format!("{:.1}", cell["bytes_per_record"].as_f64().unwrap());
        let line = stdout.lines().find(|line| line.split_whitespace().last() == Some(id));
        let line = line.unwrap_or_else(|| panic!("{id} is not in\n{stdout}"));
        assert!(line.split_whitespace().any(|word| word == shown), "{shown} is not in {line}");
        assert_eq!(line.trim_start().starts_with('*'), cell["pareto"] == true, "{line}");
    }
}

fn csv_values(line: &str) -> Vec<String> {
    let (mut values, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => values.push(String::new()),
            c => values.last_mut().unwrap().push(c),
        }
    }
    values
}

#[test]
fn what_is_wrong_with_a_run_is_one_clear_line() {
    let roots = Roots::new();
    put_orders(&roots, 100);
    let path = matrix(&roots, "codec = [\"zstd 3\", \"brotli 4\"]\n");
    let message = roots.run(&short(&roots, &["--matrix", &path])).failed(2);
    assert!(
        message.contains("brotli 4") && message.contains("is no codec") && message.contains("matrix.toml"),
        "{message}"
    );
    let path = matrix(&roots, "sort_by = [[\"colour\"]]\n");
    let message = roots.run(&short(&roots, &["--matrix", &path])).failed(2);
    assert!(message.contains("no column colour"), "{message}");
    let message = roots.run(&short(&roots, &["--cell", "zstd-99"])).failed(2);
    assert!(message.contains("zstd-99"), "{message}");
    let queries = roots.dir.path().join("queries.sql");
    write(&queries, "SELECT nothing FROM lake.orders;");
    let path = matrix(&roots, SMALL);
    let message = roots.run(&short(&roots, &["--matrix", &path, "--queries", queries.to_str().unwrap()])).failed(2);
    assert!(message.contains("query 1") && message.contains("nothing"), "{message}");

    let empty = roots.raw.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let message = roots.run(&["bench", empty.to_str().unwrap(), "--out", "out"]).failed(1);
    assert!(message.contains("no raw objects"), "{message}");
    roots.put("blank/1.json", "[]");
    let message = roots.run(&["bench", "blank", "--raw", roots.raw.to_str().unwrap(), "--out", "out"]).failed(1);
    assert!(message.contains("no record"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_disk_that_fills_is_one_clear_line_and_leaves_no_files() {
    let roots = Roots::new();
    put_orders(&roots, 5_000);
    let path = matrix(&roots, SMALL);
    let args = short(&roots, &["--matrix", &path]);
    let mut command = Command::new("sh");
    // No file may be larger than 64 KiB, and who tries is told so.
    command.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_siltstone")]).args(args);
    let message = Ran::of(command.current_dir(roots.dir.path())).failed(1);
    assert!(message.contains("cannot") && message.contains("large"), "{message}");
    assert_no_files(&roots.dir.path().join("out"));
}

/// What was measured is gone.
fn assert_no_files(out: &Path) {
    let left: Vec<_> = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with("files-")), "{left:?}");
}

#[test]
fn a_finished_run_is_not_measured_again_and_a_cell_can_be_measured_alone() {
    let roots = Roots::new();
    put_orders(&roots, 500);
    let path = matrix(&roots, SMALL);
    roots.run(&short(&roots, &["--matrix", &path])).ok();
    let first = report(&roots);
    roots.run(&short(&roots, &["--matrix", &path])).ok();
    // To the last digit of every time.
    assert_eq!(report(&roots), first);
    assert_no_files(&roots.dir.path().join("out"));

    // More records: another sample, of which nothing is known.
    put_orders(&roots, 600);
    roots.run(&short(&roots, &["--cell", "gzip-6+dict=on"])).ok();
    let alone = report(&roots);
    let ids: Vec<&Value> = alone["cells"].as_array().unwrap().iter().map(|cell| &cell["id"]).collect();
    assert_eq!((&alone["records"], &ids[..2]), (&json!(600), &[&json!("zstd-3"), &json!("gzip-6+dict=on")][..]));
}

#[cfg(unix)]
#[test]
fn a_run_that_is_interrupted_leaves_a_report_and_goes_on_later() {
    let roots = Roots::new();
    put_orders(&roots, 2_000);
    let path = matrix(&roots, SMALL);
    let args = short(&roots, &["--matrix", &path, "--repetitions", "60"]);
    let args: Vec<&str> = args.iter().enumerate().filter(|(at, _)| ![6, 7].contains(at)).map(|(_, arg)| *arg).collect();
    let mut child = roots.command(&args).stdout(Stdio::null()).spawn().unwrap();
    let kept = roots.dir.path().join("out/cells.json");
    let begun = Instant::now();
    let has_runs = || std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("cpu_seconds"));
    while !has_runs() && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let partial = report(&roots);
    assert_eq!(partial["complete"], false);
    let runs = |text: &str| {
        let kept: Value = serde_json::from_str(text).unwrap();
        kept["cells"][0]["writes"].as_array().unwrap().clone()
    };
    let before = runs(&std::fs::read_to_string(&kept).unwrap());
    assert!(!before.is_empty() && before.len() < 60);

    let few = (before.len() + 1).to_string();
    let args: Vec<&str> = args.iter().map(|arg| if *arg == "60" { few.as_str() } else { *arg }).collect();
    roots.run(&args).ok();
    assert_eq!(report(&roots)["complete"], true);
    let after = runs(&std::fs::read_to_string(&kept).unwrap());
    assert_eq!(after[..before.len()], before[..], "what was measured is not measured again");
}

#[test]
fn advice_is_applied_with_all_comments_and_compact_takes_it() {
    let roots = Roots::new();
    put_orders(&roots, 2_000);
    let path = matrix(&roots, &SMALL.replace("\"snappy\", \"gzip 6\"", "\"gzip 9\", \"zstd 12\""));
    let config = roots.dir.path().join("siltstone.toml");
    write(
        &config,
        "# ours\n[sources.orders] # the shop\nzstd_level = 1 # fast\ncontract = \"add-only\"\n\n# the end\n",
    );
    let stdout = roots.run(&short(&roots, &["--matrix", &path, "--aim", "smallest", "--apply"])).ok();
    assert!(stdout.contains("applied: ") && stdout.contains("# siltstone bench, aim smallest"), "{stdout}");
    let text = std::fs::read_to_string(&config).unwrap();
    for kept in ["# ours\n", "# the shop", "contract = \"add-only\"", "# the end"] {
        assert!(text.contains(kept), "{kept} is missing in\n{text}");
    }
    let advised = report(&roots)["advice"].as_array().unwrap().clone();
    let smallest = advised.iter().find(|advice| advice["aim"] == "smallest").unwrap();
    assert!(smallest["changes"][0]["percent"].as_f64().unwrap() <= 0.0, "{smallest}");
    let settings = Config::load(&config).unwrap().settings("orders").unwrap();
    roots.compact_one(&["--partition-by", "none"]);
    for footer in footers(&roots) {
        let codecs: Vec<Compression> =
            footer.row_groups()[0].columns().iter().map(ColumnChunkMetaData::compression).collect();
        match settings.files.codec {
            siltstone::config::Codec::Zstd(_) => assert!(codecs.iter().all(|c| matches!(c, Compression::ZSTD(_)))),
            siltstone::config::Codec::Gzip(_) => assert!(codecs.iter().all(|c| matches!(c, Compression::GZIP(_)))),
            other => panic!("{other} was not tried"),
        }
    }
}

fn footers(roots: &Roots) -> Vec<ParquetMetaData> {
    let read = |path: String| {
        let bytes = bytes::Bytes::from(std::fs::read(roots.lake.join("orders").join(path)).unwrap());
        ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap()
    };
    roots.files("orders").into_iter().map(|file| read(file.path)).collect()
}

#[test]
fn compact_writes_files_as_the_configuration_says() {
    let roots = Roots::new();
    put_orders(&roots, 4_000);
    let config = "[defaults]\nzstd_level = 9\n[sources.orders]\ncodec = \"snappy\"\nrow_group_rows = 1000\npage_version = 2\n\
                  dictionary = \"off\"\nencodings = \"plain\"\n[sources.orders.columns]\nid = { bloom = true }\n\
                  country = { dictionary = true }\n\"customer.address.zip\" = { encoding = \"delta-binary-packed\" }\n\
                  \"lines[].sku\" = { encoding = \"delta-byte-array\" }\nnumber = { encoding = \"delta-byte-array\" }\n";
    write(&roots.dir.path().join("siltstone.toml"), config);
    roots.compact_one(&["--partition-by", "none", "--threads", "1"]);
    let footers = footers(&roots);
    for group in footers.iter().flat_map(ParquetMetaData::row_groups) {
        for column in group.columns() {
            assert_eq!(column.compression(), Compression::SNAPPY);
            let path = column.column_path().string();
            assert_eq!(column.bloom_filter_offset().is_some(), path == "id", "{path}");
            let encodings: Vec<String> = column.encodings().map(|encoding| encoding.to_string()).collect();
            let has = |name: &str| encodings.iter().any(|encoding| encoding == name);
            assert_eq!(has("RLE_DICTIONARY"), path == "country", "{path}: {encodings:?}");
            assert_eq!(has("DELTA_BINARY_PACKED"), path == "customer.address.zip", "{path}: {encodings:?}");
            assert_eq!(has("DELTA_BYTE_ARRAY"), path == "lines.list.element.sku", "{path}: {encodings:?}");
        }
    }
    assert_eq!(roots.export("orders").len(), 4_000);
}

/// Nobody watches.
struct Alone;

impl Watch for Alone {
    fn planned(&self, _: u64) {}
    fn visited(&self, _: &str) {}
    fn wants_to_stop(&self) -> bool {
        false
    }
    fn peak_memory(&self, _: &str) -> Option<u64> {
        None
    }
}

#[test]
fn the_library_searches_without_a_terminal() {
    let roots = Roots::new();
    put_orders(&roots, 300);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let raw = Location::parse(roots.raw.to_str().unwrap()).unwrap().folder("orders").unwrap();
        let config = Config::default();
        let settings = config.settings("orders").unwrap();
        let sample = Sample::take("orders", &raw, &settings, 1 << 20, 2).await.unwrap();
        let (time, key) = (sample.columns.event_time.as_deref(), sample.columns.key.as_deref());
        assert_eq!((time, key), (Some("created_at"), Some("id")));
        let queries = usual_queries(&sample);
        let out = Location::parse(roots.dir.path().join("out").to_str().unwrap()).unwrap();
        let (hidden, scratch) = (Hidden::new(&out), out.folder("scratch").unwrap());
        let mut search = Search::begin(&sample, &queries, 2, (&config, 2), &scratch, &hidden).await.unwrap();
        let cells = Matrix { codec: Some(Vec::new()), ..Matrix::default() }.cells(&sample).unwrap();
        let cells: Vec<_> = cells.into_iter().take(3).collect();
        assert!(search.stage(&cells, &Alone).await.unwrap());
        assert_eq!(search.cells[1].id, Choice::baseline(Format::Json).id());
        assert!(search.cells.iter().all(|cell| cell.error.is_none() && cell.writes.len() == 2));
        let bench = BenchConfig::default();
        let figures = Figures { sample: &sample, queries: &queries, cells: &search.cells, config: &bench };
        assert_eq!(figures.advise(siltstone::formats::Aim::Smallest).unwrap().settings, []);
    });
}

#[test]
fn what_is_counted_is_what_a_server_saw() {
    let roots = Roots::new();
    let server = FakeS3::start(Condition::Honoured, |_, _, _| None);
    assert_counts_agree(&roots, &server.endpoint, "bucket", |args| server.run(&roots, args), || server.take_reads());
}

/// Compacts orders into a bucket, and asks for what the server of the bucket saw of queries. `take_reads`: requests for data
/// files since it was last asked, and the bytes that these were given.
pub(crate) fn assert_counts_agree(
    roots: &Roots,
    endpoint: &str,
    bucket: &str,
    run: impl Fn(&[&str]) -> Ran,
    take_reads: impl Fn() -> (u64, u64),
) {
    put_orders(roots, 20_000);
    let (raw, lake) = (roots.raw.to_str().unwrap(), format!("s3://{bucket}/lake"));
    run(&["compact", "--raw", raw, "--lake", &lake, "--partition-by", "day(created_at)"]).ok();
    let builder = AmazonS3Builder::new().with_bucket_name(bucket).with_region("us-east-1").with_endpoint(endpoint);
    let store =
        builder.with_allow_http(true).with_access_key_id("test").with_secret_access_key("test").build().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for sql in [
        "SELECT * FROM lake.orders",
        "SELECT count(DISTINCT note) FROM lake.orders",
        "SELECT max(total) FROM lake.orders WHERE created_at >= TIMESTAMP '2025-02-20 00:00:00'",
        "SELECT * FROM lake.orders WHERE id = 'order-00000000'",
        "SELECT count(*) FROM lake.orders WHERE number > 100000",
    ] {
        let counting = Arc::new(Counting::new(Arc::new(store.clone())));
        let lake =
            Location::with_store(Url::parse(&format!("s3://{bucket}/lake/")).unwrap(), Arc::clone(&counting) as _);
        take_reads();
        runtime.block_on(async {
            let session = SqlSession::open(None, Some(lake), &Config::default(), 2, 1 << 30).await.unwrap();
            let _: Vec<_> = session.query(sql).await.unwrap().try_collect().await.unwrap();
        });
        let counted = counting.take();
        assert_eq!((counted.requests, counted.bytes), take_reads(), "{sql}");
        assert!(counted.log_requests > 0);
    }
}
