//! `siltstone sql`: output formats, nested columns, what is pushed down, and that it only reads.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{Roots, files_below, lines};

/// Records in both `raw.s` and `lake.s`.
fn both() -> Roots {
    let roots = Roots::new();
    let record = |id: usize| {
        json!({"id": id, "name": format!("n{}", id % 7), "o": {"x": id, "Key": [id, id + 1]},
            "l": [{"a": id}, {"a": null, "b": "q"}], "at": "2025-01-02T03:04:05.678901Z", "half": id as f64 / 2.0})
    };
    for object in 0..4 {
        roots.put_lines(&format!("s/{object}.json"), &(object * 25..object * 25 + 25).map(record).collect::<Vec<_>>());
    }
    roots.compact_one(&["--partition-by", "none"]);
    roots
}

#[test]
fn each_format_shows_scalars_nested_values_and_nulls() {
    let roots = both();
    let statement =
        "select id, name, o, l, null as nothing, at, half, 'a,\"b\"' as q from lake.s where id < 2 order by id";
    let run = |format: &str| roots.run_here(&["sql", "--format", format, statement]).ok();
    insta::assert_snapshot!(run("csv"), @r#"
    id,name,o,l,nothing,at,half,q
    0,n0,"{""x"":0,""key"":[0,1]}","[{""a"":0,""b"":null},{""a"":null,""b"":""q""}]",,2025-01-02T03:04:05.678901Z,0.0,"a,""b"""
    1,n1,"{""x"":1,""key"":[1,2]}","[{""a"":1,""b"":null},{""a"":null,""b"":""q""}]",,2025-01-02T03:04:05.678901Z,0.5,"a,""b"""
    "#);
    insta::assert_snapshot!(run("ndjson"), @r#"
    {"id":0,"name":"n0","o":{"x":0,"key":[0,1]},"l":[{"a":0,"b":null},{"a":null,"b":"q"}],"nothing":null,"at":"2025-01-02T03:04:05.678901Z","half":0.0,"q":"a,\"b\""}
    {"id":1,"name":"n1","o":{"x":1,"key":[1,2]},"l":[{"a":1,"b":null},{"a":null,"b":"q"}],"nothing":null,"at":"2025-01-02T03:04:05.678901Z","half":0.5,"q":"a,\"b\""}
    "#);
    insta::assert_snapshot!(run("table"), @r#"
    +----+------+---------------------+----------------------------+---------+-----------------------------+------+-------+
    | id | name | o                   | l                          | nothing | at                          | half | q     |
    +----+------+---------------------+----------------------------+---------+-----------------------------+------+-------+
    | 0  | n0   | {x: 0, key: [0, 1]} | [{a: 0, b: }, {a: , b: q}] |         | 2025-01-02T03:04:05.678901Z | 0.0  | a,"b" |
    | 1  | n1   | {x: 1, key: [1, 2]} | [{a: 1, b: }, {a: , b: q}] |         | 2025-01-02T03:04:05.678901Z | 0.5  | a,"b" |
    +----+------+---------------------+----------------------------+---------+-----------------------------+------+-------+
    "#);
    let array: Vec<Value> = serde_json::from_str(&run("json")).unwrap();
    let rows: Vec<Value> = run("ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(array, rows);
}

#[test]
fn a_result_without_rows_is_a_header_or_an_empty_array() {
    let roots = both();
    let run = |format: &str| roots.run_here(&["sql", "--format", format, "select id, o from lake.s where id < 0"]).ok();
    assert_eq!(run("csv"), "id,o\n");
    assert_eq!(run("json"), "[]\n");
    assert_eq!(run("ndjson"), "");
    assert_eq!(run("table"), "+----+---+\n| id | o |\n+----+---+\n+----+---+\n");
}

#[test]
fn raw_and_lake_give_the_same_answers() {
    let roots = both();
    for statement in [
        "select count(*) as n from SIDE.s",
        "select count(*) as n, sum(id) as s, min(at) as a, max(half) as h from SIDE.s where name = 'n3'",
        "select id, name, o, l, at, half from SIDE.s order by id",
        "select name, count(*) as n, sum(o['x']) as x, avg(half) as h from SIDE.s group by name order by name",
        "select o['key'][2] as k, l[1]['a'] as a, l[2]['b'] as b from SIDE.s order by k limit 5",
        "select e['a'] as a, e['b'] as b from (select id, unnest(l) as e from SIDE.s) order by id, a limit 9",
        "select a.id, b.name from SIDE.s a join SIDE.s b on a.id = b.o['x'] + 1 where b.name = 'n0' order by 1",
        "select id from SIDE.s where at = timestamp '2025-01-02T03:04:05.678901Z' and id % 50 = 0 order by id",
        "select column_name, data_type from information_schema.columns where table_name = 's' and table_schema = 'SIDE' order by 1",
    ] {
        let lake = roots.sql(&statement.replace("SIDE", "lake"));
        let raw = roots.sql(&statement.replace("SIDE", "raw"));
        assert!(!lake.is_empty(), "{statement}");
        assert_eq!(raw, lake, "{statement}");
    }
}

#[test]
fn columns_are_listed_with_types_as_athena_names_them() {
    let roots = Roots::new();
    roots.put_lines("s/a.json", &[json!({"id": 1, "o": {"k": "x", "at": "2025-01-02T03:04:05Z"}, "l": [1.5]})]);
    roots.compact_one(&["--partition-by", "none"]);
    let statement = "select c.column_name as name, c.data_type as type, c.ordinal_position as place
        from information_schema.columns c where table_schema = 'lake' and table_name = 's' order by place";
    let column = |name: &str, ty: &str, place: u64| json!({"name": name, "type": ty, "place": place});
    assert_eq!(
        roots.sql(statement),
        [
            column("id", "bigint", 1),
            column("o", "row(k varchar, at timestamp(6) with time zone)", 2),
            column("l", "array(double)", 3)
        ]
    );
}

#[test]
fn raw_has_what_is_new_and_lake_what_is_compacted() {
    let roots = both();
    roots.put("s/new.json", r#"{"id":"late","extra":1}"#);
    assert_eq!(roots.sql("select count(*) as n from raw.s"), [json!({"n": 101})]);
    assert_eq!(roots.sql("select count(*) as n from lake.s"), [json!({"n": 100})]);
    assert_eq!(roots.sql("select id, extra from raw.s where extra is not null"), [json!({"id": "late", "extra": 1})]);
    assert_eq!(
        roots.sql("select count(*) as n from raw.s r join lake.s l on r.id = cast(l.id as varchar)"),
        [json!({
            "n": 100
        })]
    );
}

/// The physical plan of a query over `raw.s`.
fn plan(roots: &Roots, statement: &str) -> String {
    let rows = roots.sql(&format!("explain {statement}"));
    rows.iter().find(|row| row["plan_type"] == "physical_plan").unwrap()["plan"].as_str().unwrap().to_owned()
}

#[test]
fn only_the_columns_that_a_query_names_are_decoded() {
    let roots = both();
    assert!(plan(&roots, "select name from raw.s").contains("decoded_columns=[name]"));
    assert!(plan(&roots, "select count(*) from raw.s").contains("decoded_columns=[]"));
    for (statement, decoded, filtered) in [
        ("select sum(half) from raw.s where o['x'] > 3 and name like 'n%'", "half", "name, o.x"),
        ("select o.x, count(*) from raw.s group by 1 order by 2 desc limit 3", "o.x", ""),
        ("select o.key[1] as k, max(name) from raw.s where o.x in (1, 2) group by 1", "name, o.key", "o.x"),
        ("select o from raw.s where o.x = 1", "o", "o.x"),
        ("select count(*) from raw.s where o is null", "", "o"),
        ("select a.o.x from raw.s a join raw.s b on a.o.x = b.id", "o.x", "id"),
        ("with t as (select o as p, id from raw.s) select p.x from t where id > 3", "o.x", "id"),
        ("select sum(n) from (select o.x as n from raw.s union all select id from raw.s)", "o.x", ""),
        ("select x.a from raw.s cross join unnest(l) as x where id = 3", "l", "id"),
    ] {
        let plan = plan(&roots, statement);
        assert_eq!(listed(&plan, "decoded_columns=["), decoded, "{statement}: {plan}");
        assert_eq!(listed(&plan, "filter_columns=["), filtered, "{statement}: {plan}");
        assert!(!plan.contains("FilterExec"), "{statement}: {plan}");
    }
}

/// What the first such list of a plan holds, sorted.
fn listed(plan: &str, begin: &str) -> String {
    let mut names: Vec<&str> = plan.split(begin).nth(1).unwrap_or("]").split(']').next().unwrap().split(", ").collect();
    names.sort_unstable();
    names.join(", ")
}

#[test]
fn objects_are_passed_over_by_their_paths_and_the_scan_tells_what_it_did() {
    let roots = both();
    roots.put("s/bad.json", "{\"id\": 1}\n{oops}\n");
    let analyze = |statement: &str| {
        let rows = roots.sql(&format!("explain analyze {statement}"));
        rows[0]["plan"].as_str().unwrap().to_owned()
    };
    let pruned = analyze(r#"select count(*) from raw.s where "$path" like '%/2.json' and id > 60"#);
    for told in ["objects=1", "objects_pruned=4", "records=25", "rows_filtered=11", "records_rejected=0"] {
        assert!(pruned.contains(told), "{told}: {pruned}");
    }
    let all = analyze("select count(*) from raw.s");
    for told in ["objects=5", "records=102", "records_rejected=1", "bytes_read="] {
        assert!(all.contains(told), "{told}: {all}");
    }
    let late = analyze("select name, half from raw.s where id = 7");
    assert!(late.contains("rows_decoded_late=1"), "{late}");
    let none = r#"select count(*) as n from raw.s where "$path" = 'nowhere'"#;
    assert_eq!(roots.sql(none), [json!({"n": 0})]);
}

#[test]
fn a_limit_stops_the_reading() {
    let roots = both();
    assert_eq!(roots.sql("select id from raw.s limit 3").len(), 3);
    assert_eq!(roots.sql("select id from lake.s limit 3").len(), 3);
    assert_eq!(roots.sql("select id from raw.s limit 0").len(), 0);
    assert_eq!(
        roots.sql("select id from raw.s order by id desc limit 2 offset 1"),
        [json!({"id": 98}), json!({"id": 97})]
    );
    assert!(plan(&roots, "select id from raw.s limit 3").contains("limit=3"));
}

#[test]
fn filters_find_rows_at_the_bounds_of_statistics() {
    let roots = Roots::new();
    let long = |end: &str| format!("{}{end}", "ß".repeat(40));
    for (id, record) in [
        json!({"t": "2025-01-01T00:00:00.000001Z", "w": 9_007_199_254_740_993_i64, "x": long("a"), "d": "1969-12-31", "f": -0.1}),
        json!({"t": "2025-01-01T00:00:00.000999Z", "w": -9_007_199_254_740_993_i64, "x": long("b"), "d": "2025-01-01", "f": 1e300}),
        json!({"t": "1969-12-31T23:59:59.999999Z", "w": i64::MAX, "x": "\u{10ffff}z", "d": "9999-12-31", "f": -1e-300}),
        json!({"t": "9999-12-31T23:59:59.999999Z", "w": i64::MIN, "x": "", "d": "0001-01-01", "f": 0.1}),
    ]
    .iter()
    .enumerate()
    {
        let mut record = record.clone();
        record["id"] = json!(id);
        roots.put(&format!("s/{id}.json"), record.to_string());
        // One file each.
        roots.compact_one(&[]);
        for column in ["t", "w", "x", "d", "f"] {
            let value = match (&record[column], column) {
                (Value::String(text), "t") => format!("arrow_cast('{text}', 'Timestamp(Microsecond, Some(\"UTC\"))')"),
                (Value::String(text), "d") => format!("date '{text}'"),
                (Value::String(text), _) => format!("'{text}'"),
                (number, _) => number.to_string(),
            };
            let value = if value == i64::MIN.to_string() { "(-9223372036854775807 - 1)".to_owned() } else { value };
            for operator in ["=", "<=", ">="] {
                let statement = format!("select id from lake.s where {column} {operator} {value} and id = {id}");
                assert_eq!(roots.sql(&statement), [json!({"id": id})], "{statement}");
            }
        }
    }
}

#[test]
fn a_statement_may_come_from_a_file() {
    let roots = both();
    std::fs::write(roots.dir.path().join("q.sql"), "-- all\nselect count(*) as n\nfrom lake.s;\n").unwrap();
    assert_eq!(roots.run_here(&["sql", "-f", "q.sql", "--format", "csv"]).ok(), "n\n100\n");
    assert!(roots.run_here(&["sql", "-f", "nope.sql"]).failed(2).contains("cannot read nope.sql"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let roots = Roots::new();
    let record = |id: usize| json!({"id": id, "text": "x".repeat(200)});
    roots.put("s/a.json", lines(&(0..20_000).map(record).collect::<Vec<_>>()));
    roots.compact_one(&[]);
    let select = "select id, text from lake.s";
    let lake = roots.lake.to_str().unwrap();
    for args in [
        &["sql", "--format", "csv", select][..],
        &["sql", "--format", "json", select],
        &["sql", "--format", "ndjson", select],
        &["sql", "--format", "table", select],
        &["export", "s"],
    ] {
        let mut command = roots.command(&[args, &["--lake", lake]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        // The pipe closes here, long before all is written.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(!first.is_empty());
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn wrong_statements_are_wrong_usage_and_say_what_is_wrong() {
    let roots = both();
    for (statement, named) in [
        ("selec 1", "selec"),
        ("select nope from lake.s", "nope"),
        ("select nope(id) from lake.s", "nope"),
        ("select id from lake.s where", "Expected"),
        ("", "No SQL"),
        ("select 1; select 2", "single SQL statement"),
        ("select * from elsewhere.s", "elsewhere"),
    ] {
        let message = roots.run_here(&["sql", statement]).failed(2);
        assert!(message.contains(named), "{statement}: {message}");
    }
    assert!(roots.run_here(&["sql", "select id / (id - id) from lake.s"]).failed(1).contains("Divide by zero"));
}

#[test]
fn nothing_but_queries_is_taken() {
    let roots = both();
    let before = files_below(roots.dir.path());
    for statement in [
        "create table x as select 1",
        "create external table x stored as csv location '/etc/passwd'",
        "create view x as select 1",
        "drop table lake.s",
        "drop schema lake cascade",
        "insert into lake.s select * from lake.s",
        "update lake.s set id = 1",
        "delete from lake.s",
        "truncate table lake.s",
        "copy lake.s to 'out.csv'",
        "copy (select 1) to 'out.parquet' stored as parquet",
        "explain copy (select 1) to 'out.csv'",
        "explain analyze insert into lake.s select * from lake.s",
        "set datafusion.execution.batch_size = 1",
        "prepare x as select 1",
        "begin transaction",
    ] {
        let ran = roots.run_here(&["sql", statement]);
        assert!(ran.code == 2, "{statement}: {ran:?}");
        ran.failed(2);
    }
    assert_eq!(files_below(roots.dir.path()), before);
    assert_eq!(roots.sql("select count(*) as n from lake.s"), [json!({"n": 100})]);
}

#[test]
fn no_file_is_read_by_its_path() {
    let roots = both();
    std::fs::write(roots.dir.path().join("x.csv"), "a\n1\n").unwrap();
    for statement in ["select * from 'x.csv'", "select * from \"x.csv\"", "select * from read_csv('x.csv')"] {
        roots.run_here(&["sql", statement]).failed(2);
    }
}

#[test]
fn names_that_are_no_plain_identifiers_are_quoted() {
    let roots = Roots::new();
    roots.put("Web.Hooks-2/a.json", r#"{"Key One":1,"2x":2,"select":3}"#);
    roots.compact_one(&[]);
    for side in ["raw", "lake"] {
        let rows = roots.sql(&format!("select key_one, \"2x\", \"select\" from {side}.\"Web.Hooks-2\""));
        assert_eq!(rows, [json!({"key_one": 1, "2x": 2, "select": 3})], "{side}");
    }
}

#[test]
fn the_catalog_lists_sources_and_columns() {
    let roots = both();
    let tables = roots.sql(
        "select table_schema, table_name from information_schema.tables where table_schema in ('raw', 'lake') order by 1",
    );
    assert_eq!(
        tables,
        [json!({"table_schema": "lake", "table_name": "s"}), json!({"table_schema": "raw", "table_name": "s"})]
    );
    assert!(roots.run_here(&["sql", "describe lake.s"]).ok().contains("| half"));
}

#[test]
fn show_and_describe_tell_what_they_tell_on_athena() {
    let roots = both();
    roots.put_lines("other/a.json", &[json!({"it's": 1})]);
    let run = |statement: &str| roots.run_here(&["sql", "--format", "csv", statement]).ok();
    assert_eq!(run("show schemas"), "database_name\nlake\nmain\nquarantine\nraw\n");
    assert_eq!(run("show databases like 'ra%'"), "database_name\nraw\n");
    assert_eq!(run("show tables"), "tab_name\nother\ns\n");
    assert_eq!(run("show tables in lake"), "tab_name\ns\n");
    assert_eq!(run("show tables in raw 'o*|x'"), "tab_name\nother\n");
    assert_eq!(run("show tables 'z'"), "tab_name\n");
    assert_eq!(run("show columns in lake.s"), "field\nid\nname\no\nl\nat\nhalf\n");
    let described = run("describe lake.s");
    assert!(described.starts_with("col_name,data_type,comment\nid,bigint,\nname,varchar,\n"), "{described}");
    assert!(described.contains("\no,\"row(x bigint, key array(bigint))\",\n"), "{described}");
    assert!(roots.run_here(&["sql", "show tables in nowhere"]).failed(2).contains("no schema nowhere"));
    assert!(roots.run_here(&["sql", "describe nothing"]).failed(2).contains("nothing"));
}

#[test]
fn show_partitions_tells_the_folders_of_a_table() {
    let roots = Roots::new();
    let record =
        |id: u32, kind: &str| json!({"id": id, "kind": kind, "at": format!("2024-01-0{}T00:00:00Z", id % 2 + 1)});
    roots.put_lines("s/a.json", &[record(1, "x"), record(2, "a b"), record(3, "x")]);
    roots.run_here(&["compact", "--partition-by", "day(at), kind"]).ok();
    roots.put_lines("flat/a.json", &[json!({"id": 1})]);
    roots.run_here(&["compact", "flat", "--partition-by", "none"]).ok();
    let told = "partition\nat_day=2024-01-01/kind_part=a%20b\nat_day=2024-01-02/kind_part=x\n";
    for statement in ["SHOW PARTITIONS s", "show partitions lake.s"] {
        assert_eq!(roots.run_here(&["sql", "--format", "csv", statement]).ok(), told);
    }
    let failed = |statement: &str| roots.run_here(&["sql", statement]).failed(2);
    assert!(failed("show partitions flat").contains("not a partitioned table"));
    assert!(failed("show partitions raw.s").contains("no table of a lake"));
    assert!(failed("show partitions nothing").contains("nothing"));
}

#[test]
fn a_statement_may_begin_with_a_comment_and_an_unknown_option_is_told() {
    let roots = both();
    assert_eq!(roots.sql("-- how many = ?\nselect count(*) as n from lake.s"), [json!({"n": 100})]);
    assert_eq!(roots.sql("--\nselect 1 as n;"), [json!({"n": 1})]);
    for args in [&["sql", "--formt", "select 1"][..], &["sql", "--formt=a b", "select 1"]] {
        let ran = roots.run_here(args);
        assert!(ran.code == 2 && ran.stderr.contains("--formt"), "{}", ran.stderr);
    }
}

#[test]
fn columns_of_a_result_may_have_one_name() {
    let roots = both();
    let run = |statement: &str| roots.run_here(&["sql", "--format", "csv", statement]).ok();
    let from = "from (values (1, 2), (3, 4)) as t (a, b)";
    assert_eq!(run(&format!("select a, a, b as a, 5 as A {from} order by a desc")), "a,a,a,a\n3,3,4,5\n1,1,2,5\n");
    assert_eq!(run(&format!("select *, a, t.b {from} order by b limit 1")), "a,b,a,b\n1,2,1,2\n");
    assert_eq!(
        run(&format!("select t.*, u.a from (select a {from}) as t, (values 7) as u (a) order by u.a, t.a limit 1")),
        "a,a\n1,7\n"
    );
    assert_eq!(run(&format!("select a, a, count(*) {from} group by 1, 2 order by 1 limit 1")), "a,a,_col2\n1,1,1\n");
    assert_eq!(run(&format!("select distinct *, b as c {from} order by c desc limit 1")), "a,b,c\n3,4,4\n");
    assert_eq!(run(&format!("select *, a + b as b, b as c {from} order by a, c limit 1")), "a,b,b,c\n1,2,3,2\n");
    assert_eq!(
        run(
            "select r.x.y, q.x.y from (select cast(row(row(1)) as row(x row(y bigint))) as r, cast(row(row(2)) as row(x row(y bigint))) as q)"
        ),
        "y,y\n1,2\n"
    );
    assert_eq!(run("select 1 as x, 2 as x, interval '1' day as x"), "x,x,x\n1,2,1 00:00:00.000\n");
    assert_eq!(run("with w as (select 1 as x) select x, x from w union all select 2, 3 order by 1"), "x,x\n1,1\n2,3\n");
}

#[test]
fn the_other_dialect_is_that_of_the_engine() {
    let roots = both();
    let run =
        |dialect: &str, statement: &str| roots.run_here(&["sql", "--format", "csv", "--dialect", dialect, statement]);
    assert_eq!(run("athena", "select concat('a', null) as x, 1 + 1").ok(), "x,_col1\n,2\n");
    assert_eq!(run("datafusion", "select concat('a', null) as x, 1 + 1 as y").ok(), "x,y\na,2\n");
    assert!(run("datafusion", "select json_parse('1')").failed(2).contains("json_parse"));
}

/// Work for much longer than any test waits.
const ENDLESS: &str = "select count(*) from generate_series(1, 1000000000000000) where value < 0";

#[test]
fn a_query_is_given_up_after_its_time() {
    let roots = both();
    let message = roots.run_here(&["sql", "--timeout", "1s", ENDLESS]).failed(1);
    assert!(message.contains("given up after 1 s"), "{message}");
    assert_eq!(roots.run_here(&["sql", "--timeout", "5m", "--format", "csv", "select 1 as n"]).ok(), "n\n1\n");
    assert_eq!(roots.run_here(&["sql", "--timeout", "soon", "select 1"]).code, 2);
}

#[test]
fn a_result_ends_behind_the_most_rows() {
    let roots = both();
    let run = |most: &str| {
        let statement = "select id from raw.s order by id limit 5";
        roots.run_here(&["sql", "--format", "csv", "--max-rows", most, statement])
    };
    assert_eq!(run("5").ok(), "id\n0\n1\n2\n3\n4\n");
    let cut = run("2");
    assert_eq!((cut.code, cut.stdout.as_str()), (0, "id\n0\n1\n"));
    assert!(cut.stderr.contains("--max-rows"), "{}", cut.stderr);
    assert_eq!(run("0").stdout, "id\n");
}

#[test]
fn a_query_that_needs_too_much_memory_fails() {
    let roots = both();
    let statement = "select array_agg(a.name || b.name) as x from raw.s a, raw.s b, raw.s c";
    let message = roots.run_here(&["sql", "--memory-limit", "1MB", statement]).failed(1);
    assert!(message.to_lowercase().contains("memory") || message.contains("Resources exhausted"), "{message}");
}

#[test]
fn what_is_too_deep_for_the_engine_is_refused_and_what_is_not_is_answered() {
    let roots = both();
    let run = |dialect: &str, statement: &str| {
        std::fs::write(roots.dir.path().join("deep.sql"), statement).unwrap();
        roots.run_here(&["sql", "--dialect", dialect, "--format", "csv", "-f", "deep.sql"])
    };
    let chain = |operators: usize| {
        let conditions: Vec<String> =
            (0..=operators).map(|n| format!("id {}{n}", if n % 2 == 0 { "<>" } else { "> -" })).collect();
        format!("select count(*) as n from raw.s where {}", conditions.join(" and "))
    };
    let ctes = |count: usize| {
        let mut tables = vec!["t0 as (select id from raw.s)".to_owned()];
        tables.extend((1..count).map(|n| format!("t{n} as (select id from t{} order by id limit {n})", n - 1)));
        format!("with {} select count(*) as n from t{}", tables.join(", "), count - 1)
    };
    let relations = |count: usize| format!("select 1 as n from {}", vec!["raw.s"; count].join(", "));
    for dialect in ["athena", "datafusion"] {
        assert_eq!(run(dialect, &chain(1900)).ok(), "n\n50\n");
        assert_eq!(run(dialect, &ctes(200)).ok(), "n\n1\n");
        for (statement, told) in [
            (chain(2100), "2000 operators are chained"),
            (chain(200_000), "2000 operators are chained"),
            (ctes(900), "2500 steps"),
            (ctes(5000), "1000 relations"),
            (relations(5000), "1000 relations"),
        ] {
            let message = run(dialect, &statement).failed(2);
            assert!(message.contains(told), "{message}");
        }
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_a_query() {
    let roots = both();
    let mut command =
        roots.command_here(&["sql", "--format", "ndjson", "select value from generate_series(1, 1000000000000)"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It runs once it has written something.
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("interrupted"), "{message}");
}

#[test]
fn a_query_that_is_terminated_leaves_no_file() {
    let roots = both();
    let statement = "select value from generate_series(1, 1000000000000)";
    let mut command = roots.command_here(&["sql", "-o", "numbers.csv", statement]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(roots.dir.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains(".tmp"))
            .collect()
    };
    // It runs once it has begun a file.
    let begun = Instant::now();
    while names().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("SIGTERM"), "{message}");
    assert_eq!(names(), Vec::<String>::new());
}

#[test]
fn the_path_of_a_row_is_shown_where_a_statement_names_it() {
    let roots = both();
    let (raw, lake) = (roots.raw.to_str().unwrap(), roots.lake.to_str().unwrap());
    let rows =
        roots.sql("select \"$path\" as path, count(*) as n, min(id) as least from raw.s group by 1 order by least");
    assert_eq!(
        rows,
        (0..4)
            .map(|object| json!({"path": format!("file://{raw}/s/{object}.json"), "n": 25, "least": object * 25}))
            .collect::<Vec<_>>()
    );
    let rows = roots.sql("select distinct t.\"$path\" as path from lake.s as t where \"$path\" like '%.parquet'");
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|row| row["path"].as_str().unwrap().starts_with(&format!("file://{lake}/s/"))), "{rows:?}");
    for side in ["raw", "lake"] {
        let row = &roots.sql(&format!("select * from {side}.s where \"$path\" is not null and s.id = 3"))[0];
        let columns: Vec<&String> = row.as_object().unwrap().keys().collect();
        assert_eq!(columns, ["id", "name", "o", "l", "at", "half"], "{side}");
        let row = &roots.sql(&format!("select half, \"$path\", id from {side}.s where id = 3"))[0];
        assert_eq!((&row["half"], &row["id"]), (&json!(1.5), &json!(3)), "{side}");
    }
}

#[test]
fn unnest_and_casts_leave_projection_and_filters_to_the_scans() {
    let roots = both();
    let unnested = plan(&roots, "select x.a from raw.s cross join unnest(l) as x where id = 3");
    assert_eq!(listed(&unnested, "decoded_columns=["), "l", "{unnested}");
    assert_eq!(listed(&unnested, "filter_columns=["), "id", "{unnested}");
    let rows = roots.sql("explain select id from lake.s where cast(id as bigint) = 3 and date(at) = date '2025-01-02'");
    let planned =
        rows.iter().find(|row| row["plan_type"] == "physical_plan").unwrap()["plan"].as_str().unwrap().to_owned();
    assert!(!planned.contains("__cast"), "{planned}");
    assert!(planned.contains("predicate="), "{planned}");
}

#[test]
fn partitions_and_files_of_a_table_are_passed_over_by_values_and_statistics() {
    let roots = Roots::new();
    for day in 1..=4 {
        let record =
            |n: usize| json!({"id": day * 100 + n, "at": format!("2025-01-0{day}T00:00:{n:02}Z"), "o": {"x": day}});
        roots.put_lines(&format!("s/{day}.json"), &(0..20).map(record).collect::<Vec<_>>());
        roots.compact_one(&["--partition-by", "day(at)"]);
    }
    for (condition, files, rows) in [
        ("true", 4, 80),
        ("at_day = date '2025-01-02'", 1, 20),
        ("id between 305 and 310", 1, 6),
        ("o.x > 2", 2, 40),
        ("at >= timestamp '2025-01-03T00:00:10Z' and at < timestamp '2025-01-04T00:00:05Z'", 2, 15),
        ("id > 1000", 0, 0),
    ] {
        let statement = format!("select sum(id), count(*) as n from lake.s where {condition}");
        assert_eq!(roots.sql(&statement)[0]["n"], json!(rows), "{condition}");
        let plan = roots.sql(&format!("explain analyze {statement}"));
        let plan = plan[0]["plan"].as_str().unwrap().to_owned();
        let told = match files {
            0 => "EmptyExec".to_owned(),
            _ => format!("log_files_matched={files}, log_files_pruned={}", 4 - files),
        };
        assert!(plan.contains(&told), "{condition}: {plan}");
    }
}

#[test]
fn columns_of_one_name_on_both_sides_of_a_join_are_told_apart() {
    let roots = Roots::new();
    let record = |id: u32, v: Option<u32>, w: u32| json!({"id": id, "k": 1, "v": v, "w": w});
    roots.put_lines("x/a.json", &[record(1, Some(5), 1), record(2, None, 1), record(3, Some(1), 9)]);
    roots.compact_one(&[]);
    for table in ["lake.x", "raw.x"] {
        let join = |kind: &str, condition: &str| {
            let statement = format!(
                "select l.id a, r.id b from {table} l {kind} join {table} r on l.k = r.k where {condition} order by a, b"
            );
            roots.run_here(&["sql", "--format", "csv", &statement]).ok()
        };
        for kind in ["inner", "left", "right", "full"] {
            assert_eq!(join(kind, "r.w < 0 or r.v > l.v"), "a,b\n3,1\n", "{table} {kind}");
            assert_eq!(join(kind, "coalesce(r.v, 0) > coalesce(l.v, 0)"), "a,b\n2,1\n2,3\n3,1\n", "{table} {kind}");
        }
    }
}

#[test]
fn filters_on_lists_hold_in_files_without_one_of_their_columns() {
    let roots = Roots::new();
    roots.put_lines(
        "x/a.json",
        &[json!({"id": 1, "a": [1], "n": {"a": [1]}}), json!({"id": 2, "a": [2], "n": {"a": [2]}})],
    );
    roots.compact_one(&["--partition-by", "none"]);
    roots.put_lines("x/b.json", &[json!({"id": 3, "a": [1], "f": 1.5, "n": {"a": [1], "z": 1}})]);
    roots.compact_one(&[]);
    for (condition, expected) in [
        ("f is not null or a[1] = 1", "1,3"),
        ("coalesce(f, 0) = 1.5 or a[1] = 1", "1,3"),
        ("coalesce(f, 9) > a[1]", "1,2,3"),
        ("(f is null) = contains(a, 1)", "1"),
        ("contains(a, cast(coalesce(f, 2) as bigint))", "2"),
        ("any_match(a, x -> x = coalesce(f, 2))", "2"),
        ("(n.a[1] = 1) = (n.z is null)", "1"),
        ("not (n.z is null and n.a[1] = 1)", "2,3"),
    ] {
        for table in ["lake.x", "raw.x", "x"] {
            let statement =
                format!("select array_join(array_agg(id order by id), ',') as ids from {table} where {condition}");
            assert_eq!(roots.sql(&statement), [json!({"ids": expected})], "{table}: {condition}");
        }
    }
}

#[test]
fn a_lambda_may_stand_in_what_is_joined_by() {
    let roots = Roots::new();
    roots.put_lines(
        "x/a.json",
        &[json!({"id": 1, "a": [1], "c": 7, "d": 1}), json!({"id": 2, "a": [2], "c": 8, "d": 1})],
    );
    roots.compact_one(&[]);
    for table in ["lake.x", "raw.x"] {
        for statement in [
            "select id from T where d in (select cardinality(filter(a, x -> x > 1)) from T where c < 9) order by id",
            "select r.id as id from T r join T q on r.d = cardinality(filter(q.a, x -> x > 1)) where q.c < 9 order by id",
        ] {
            assert_eq!(roots.sql(&statement.replace('T', table)), [json!({"id": 1}), json!({"id": 2})], "{statement}");
        }
        let both = "select d from T intersect select cardinality(filter(a, x -> x > 1)) from T where c < 9";
        assert_eq!(roots.sql(&both.replace('T', table)), [json!({"d": 1})]);
    }
}
