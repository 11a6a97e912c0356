//! `siltstone sql`: results in files and in binary formats, scripts from files and stdin.

use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use serde_json::json;

use super::support::{Ran, Roots, files_below};

/// 100 records in `raw.s` and `lake.s`.
fn roots() -> Roots {
    let roots = Roots::new();
    let record = |id: usize| {
        json!({"id": id, "name": format!("n{}", id % 7), "o": {"x": id, "Key": [id, id + 1]}, "half": id as f64 / 2.0,
            "l": [{"a": id}, {"a": null, "b": "q"}], "at": "2025-01-02T03:04:05.678901Z", "day": "2025-01-02"})
    };
    roots.put_lines("s/0.json", &(0..100).map(record).collect::<Vec<_>>());
    roots.compact(&["--partition-by", "none"]);
    roots
}

/// What runs in the folder of the roots give with this on stdin.
fn with_stdin(roots: &Roots, args: &[&str], stdin: &str) -> Ran {
    let mut command = roots.command_here(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn read_parquet(file: File) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn read_arrow(file: File) -> RecordBatch {
    let reader = arrow::ipc::reader::FileReader::try_new(file, None).unwrap();
    let schema = reader.schema();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

const TYPES: &str = "select *, null as nothing, cast(id as decimal(20,3)) as d, date '2025-01-02' as e, true as f, \
    cast(1 as real) as g, timestamp '2025-01-02 03:04:05' as h, map(array['a'], array[id]) as m, x'00ff' as b, \
    arrow_cast(name, 'Dictionary(Int32, Utf8)') as n from lake.s order by id";

#[test]
fn parquet_and_arrow_hold_the_rows_and_types_of_the_result() {
    let roots = roots();
    roots.run_here(&["sql", "-o", "x.parquet", TYPES]).ok();
    roots.run_here(&["sql", "-o", "x.arrow", TYPES]).ok();
    let open = |name: &str| File::open(roots.dir.path().join(name)).unwrap();
    let (parquet, arrow) = (read_parquet(open("x.parquet")), read_arrow(open("x.arrow")));
    assert_eq!(parquet.num_rows(), 100);
    // The same, but for the dictionary, which Arrow files have without.
    let last = parquet.num_columns() - 1;
    let but_last: Vec<usize> = (0..last).collect();
    assert_eq!(parquet.project(&but_last).unwrap().columns(), arrow.project(&but_last).unwrap().columns());
    assert_eq!(parquet.column(1).data_type(), arrow.column(1).data_type());
    let unpacked = arrow::compute::cast(parquet.column(last), arrow.column(last).data_type()).unwrap();
    assert_eq!(&unpacked, arrow.column(last));
    // Both are the result, as it is written elsewhere.
    let mut lines = arrow::json::LineDelimitedWriter::new(Vec::new());
    let simple = parquet.project(&[0, 1, 2, 3]).unwrap();
    lines.write(&simple).unwrap();
    lines.finish().unwrap();
    let columns: Vec<String> = simple.schema().fields().iter().map(|field| format!("\"{}\"", field.name())).collect();
    let select = format!("select {} from lake.s order by id", columns.join(", "));
    let told = roots.run_here(&["sql", "--format", "ndjson", &select]).ok();
    assert_eq!(String::from_utf8(lines.into_inner()).unwrap(), told);

    let metadata = ArrowReaderMetadata::load(&open("x.parquet"), Default::default()).unwrap();
    let column = metadata.metadata().row_group(0).column(0);
    assert!(matches!(column.compression(), Compression::ZSTD(_)), "{:?}", column.compression());
}

#[test]
fn binary_formats_go_through_pipes() {
    let roots = roots();
    let run = |format: &str| {
        let output =
            roots.command_here(&["sql", "--format", format, "select id from lake.s order by id"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = roots.dir.path().join(format);
        std::fs::write(&path, output.stdout).unwrap();
        File::open(path).unwrap()
    };
    assert_eq!(read_parquet(run("parquet")), read_arrow(run("arrow")));
    let empty = roots.run_here(&["sql", "-o", "none.parquet", "select id, o from lake.s where id < 0"]);
    assert_eq!(empty.ok(), "");
    let none =
        ParquetRecordBatchReaderBuilder::try_new(File::open(roots.dir.path().join("none.parquet")).unwrap()).unwrap();
    assert_eq!((none.metadata().file_metadata().num_rows(), none.schema().fields().len()), (0, 2));
}

#[test]
fn nothing_else_goes_where_a_binary_result_goes() {
    let roots = roots();
    let run = |script: &str| {
        std::fs::write(roots.dir.path().join("script.sql"), script).unwrap();
        let output = roots.command_here(&["sql", "-f", "script.sql"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("stdout takes the result of one statement and nothing else"), "{told}");
        output.stdout
    };
    let one = roots.dir.path().join("one.parquet");
    std::fs::write(&one, run("\\format parquet\nselect 1 as a;\n\\d\nselect 2 as a;\n")).unwrap();
    assert_eq!(read_parquet(File::open(one).unwrap()).num_rows(), 1);
    let tables = run("\\d\n\\format parquet\nselect 1 as a;\n");
    assert!(!tables.is_empty() && !tables.windows(4).any(|bytes| bytes == b"PAR1"));
}

#[test]
fn maps_with_any_keys_are_objects_in_json() {
    let roots = roots();
    let select = "select histogram(v) as h, array[map(array[1], array[map(array[true], array['x'])])] as l from (values 1, 1, 2) t(v)";
    for (format, expected) in [
        ("ndjson", "{\"h\":{\"1\":2,\"2\":1},\"l\":[{\"1\":{\"true\":\"x\"}}]}\n"),
        ("csv", "h,l\n\"{\"\"1\"\":2,\"\"2\"\":1}\",\"[{\"\"1\"\":{\"\"true\"\":\"\"x\"\"}}]\"\n"),
    ] {
        assert_eq!(roots.run_here(&["sql", "--format", format, select]).ok(), expected);
    }
}

#[test]
fn a_large_result_has_several_row_groups() {
    let roots = roots();
    let statement = "select value, rpad(cast(value as varchar), 10000, 'x') as t from generate_series(1, 20000)";
    roots.run_here(&["sql", "-o", "x.parquet", statement]).ok();
    let file = File::open(roots.dir.path().join("x.parquet")).unwrap();
    let metadata = ArrowReaderMetadata::load(&file, Default::default()).unwrap();
    assert_eq!(metadata.metadata().file_metadata().num_rows(), 20_000);
    // 200 MB, 64 MiB and a batch at a time.
    assert!(metadata.metadata().num_row_groups() >= 2);
    let read = read_parquet(file);
    assert_eq!(read.columns().iter().map(Array::null_count).sum::<usize>(), 0);
}

#[test]
fn the_name_of_a_file_tells_the_format_unless_one_is_given() {
    let roots = roots();
    let select = "select id from lake.s where id < 2 order by id";
    let read = |name: &str| std::fs::read_to_string(roots.dir.path().join(name)).unwrap();
    for (name, text) in [
        ("x.csv", "id\n0\n1\n"),
        ("x.json", "[{\"id\":0},{\"id\":1}]\n"),
        ("x.ndjson", "{\"id\":0}\n{\"id\":1}\n"),
        ("x.JSONL", "{\"id\":0}\n{\"id\":1}\n"),
        ("x.txt", "+----+\n| id |\n+----+\n| 0  |\n| 1  |\n+----+\n"),
    ] {
        assert_eq!(roots.run_here(&["sql", "-o", name, select]).ok(), "");
        assert_eq!(read(name), text, "{name}");
    }
    roots.run_here(&["sql", "-o", "y.csv", "--format", "ndjson", select]).ok();
    assert_eq!(read("y.csv"), "{\"id\":0}\n{\"id\":1}\n");
    for name in ["x", "x.xlsx", "x.csv.gz"] {
        assert!(roots.run_here(&["sql", "-o", name, select]).failed(2).contains("--format"), "{name}");
    }
}

#[test]
fn a_file_is_replaced_by_a_whole_result_only() {
    let roots = roots();
    let read = || std::fs::read_to_string(roots.dir.path().join("x.csv")).unwrap();
    let before = files_below(roots.dir.path());
    let fails = "select 1 / (id - 50) from lake.s";
    roots.run_here(&["sql", "-o", "x.csv", fails]).failed(1);
    roots.run_here(&["sql", "-o", "x.csv", "select nope from lake.s"]).failed(2);
    roots
        .run_here(&["sql", "-o", "x.csv", "--timeout", "1s", "select value from generate_series(1, 1000000000000)"])
        .failed(1);
    assert_eq!(files_below(roots.dir.path()), before);
    roots.run_here(&["sql", "-o", "x.csv", "select 1 as a"]).ok();
    assert_eq!(read(), "a\n1\n");
    roots.run_here(&["sql", "-o", "x.csv", fails]).failed(1);
    assert_eq!(read(), "a\n1\n");
    roots.run_here(&["sql", "-o", "x.csv", "select 2 as a"]).ok();
    assert_eq!(read(), "a\n2\n");
    assert!(roots.run_here(&["sql", "-o", "no/x.csv", "select 2 as a"]).failed(1).contains("no/x.csv"));
    assert!(roots.run_here(&["sql", "-o", "raw", "--format", "csv", "select 2 as a"]).failed(2).contains("folder"));
}

#[cfg(unix)]
#[test]
fn links_and_permissions_stay_and_pipes_are_written_to() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let roots = roots();
    let path = |name: &str| roots.dir.path().join(name);
    std::fs::write(path("real.csv"), "old").unwrap();
    std::fs::set_permissions(path("real.csv"), std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real.csv", path("link.csv")).unwrap();
    roots.run_here(&["sql", "-o", "link.csv", "select 1 as a"]).ok();
    assert_eq!(std::fs::read_to_string(path("real.csv")).unwrap(), "a\n1\n");
    assert!(path("link.csv").is_symlink());
    assert_eq!(std::fs::metadata(path("real.csv")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(roots.run_here(&["sql", "-o", "/dev/stdout", "--format", "csv", "select 1 as a"]).ok(), "a\n1\n");
}

#[test]
fn scripts_come_from_stdin_and_from_files() {
    let roots = roots();
    let script = "-- two\nselect count(*) as n from lake.s; select ';' as s;\n\\format ndjson\nselect 3 as c";
    let expected = "n\n100\ns\n;\n{\"c\":3}\n";
    assert_eq!(with_stdin(&roots, &["sql", "--format", "csv"], script).ok(), expected);
    std::fs::write(roots.dir.path().join("x.sql"), script).unwrap();
    assert_eq!(roots.run_here(&["sql", "--format", "csv", "-f", "x.sql"]).ok(), expected);

    let ran = with_stdin(&roots, &["sql", "--format", "csv"], "select 1 as a;\nselect nope;\nselect 2 as b;");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, "a\n1\n"));
    assert!(ran.failed(2).contains("stdin:2: "));
    assert!(with_stdin(&roots, &["sql"], "\\dance\n").failed(2).contains("stdin:1: there is no command \\dance"));
    assert_eq!(with_stdin(&roots, &["sql", "--format", "csv"], "select 1 as a;\n\\q\nselect 2;").ok(), "a\n1\n");
    assert!(with_stdin(&roots, &["sql"], " -- nothing\n;").failed(2).contains("No SQL"));
    assert!(with_stdin(&roots, &["sql"], "select 'open").failed(2).contains("stdin:1: "));
}

#[test]
fn one_file_takes_one_result() {
    let roots = roots();
    let two = "select 1 as a;\nselect 2 as a;";
    assert!(
        with_stdin(&roots, &["sql", "-o", "x.parquet"], two)
            .failed(2)
            .contains("stdin:2: x.parquet takes the result of one")
    );
    let each = "\\o a.csv\nselect 1 as a;\n\\o b.csv\nselect 2 as a;\n\\format csv\nselect 3 as a;";
    assert_eq!(with_stdin(&roots, &["sql"], each).ok(), "a\n3\n");
    assert_eq!(std::fs::read_to_string(roots.dir.path().join("b.csv")).unwrap(), "a\n2\n");
    let mut command = roots.command_here(&["sql", "--format", "arrow"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(two.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("one statement"));
}

#[test]
fn tables_are_as_wide_as_the_first_thousand_rows_and_wider_later() {
    let roots = roots();
    let statement =
        "select value as v, if(value = 1500, 'a much wider\ntext', 'x') as t from generate_series(1, 2001) order by 1";
    let table = roots.run_here(&["sql", "--threads", "1", statement]).ok();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[..4], ["+------+---+", "| v    | t |", "+------+---+", "| 1    | x |"]);
    assert_eq!(lines[1002], "| 1000 | x |");
    assert_eq!(lines[1502..1504], ["| 1500 | a much wider |", "|      | text         |"]);
    assert_eq!(lines[2003..], ["| 2000 | x            |", "| 2001 | x            |", "+------+--------------+"]);
}

#[test]
fn orders_to_the_terminal_are_shown_and_not_given() {
    let roots = roots();
    let table = roots.run_here(&["sql", "select '\u{1b}[31mred\ttab' as t"]).ok();
    assert!(table.contains("\\u{1b}[31mred\\ttab"), "{table}");
    assert!(!table.contains('\u{1b}'));
}
