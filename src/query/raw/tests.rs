//! Scans give what decoding everything gives, whatever is projected, filtered, split and decoded late.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::MemTable;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::compact::observe;
use crate::query::narrow::NarrowScans;
use crate::schema::resolve;

/// The objects as a table.
fn table(objects: &[Vec<u8>], decode: &DecodeOptions, partitioning: &str) -> RawTable {
    let held: BTreeMap<RawObject, bytes::Bytes> = objects
        .iter()
        .enumerate()
        .map(|(number, bytes)| {
            let (key, etag) = (format!("{number:03}"), "e".to_owned());
            (RawObject { key, etag, size_bytes: bytes.len() as u64 }, bytes.clone().into())
        })
        .collect();
    let listed: Vec<RawObject> = held.keys().cloned().collect();
    let (fetcher, limits) = (Fetcher::of_memory(held), Limits { record_bytes: 3000, ..Limits::default() });
    let observed = observe(&fetcher, &listed, decode, &limits, 1).unwrap();
    let fields = resolve(&observed, &[]);
    let scan = RawScan {
        base: "base/".into(),
        fetcher,
        decode: decode.clone(),
        limits,
        observed,
        fields,
        partitioning: partitioning.parse().unwrap(),
        ingested_day: 0,
    };
    RawTable::new(scan, listed).with_paths()
}

fn session(partitions: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions);
    let state = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_optimizer_rule(Arc::new(NarrowScans))
        .build();
    SessionContext::new_with_state(state)
}

fn rows(runtime: &Runtime, context: &SessionContext, statement: &str) -> Vec<String> {
    let batches: Vec<RecordBatch> =
        runtime.block_on(async { context.sql(statement).await.unwrap().collect().await.unwrap() });
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

/// All rows as one partition decodes them, without a filter.
fn whole(runtime: &Runtime, table: &RawTable) -> Arc<dyn TableProvider> {
    let context = session(1);
    context.register_table("t", Arc::new(table.clone())).unwrap();
    let batches = runtime.block_on(async { context.table("t").await.unwrap().collect().await.unwrap() });
    Arc::new(MemTable::try_new(table.schema(), vec![batches]).unwrap())
}

fn compare(runtime: &Runtime, table: &RawTable, statements: &[&str]) {
    let expected = session(1);
    expected.register_table("t", whole(runtime, table)).unwrap();
    for partitions in [1, 3] {
        let context = session(partitions);
        context.register_table("t", Arc::new(table.clone())).unwrap();
        for statement in statements {
            let (found, expected) = (rows(runtime, &context, statement), rows(runtime, &expected, statement));
            assert_eq!(found, expected, "{statement} over {partitions} partitions");
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A line of a large object: mostly records, and what may stand between them.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        30 => (0..50_i64, "[a-z]{0,60}").prop_map(|(id, text)| format!("{{\"id\":{id},\"s\":{{\"t\":\"{text}\"}}}}\n")),
        2 => Just("{\"id\":1} {\"id\":2}\n".to_owned()),
        1 => Just("{\"id\":1}{\"id\":2}".to_owned()),
        1 => Just("{\"id\":\n3,\n\"s\":null\n}\n".to_owned()),
        1 => Just("{oops}\n".to_owned()),
        1 => Just("{\"id\": \"unclosed\n".to_owned()),
        1 => Just("17\n".to_owned()),
        1 => Just("[{\"id\":7},\n{\"id\":8}]\n".to_owned()),
        1 => Just("\n\n  \n".to_owned()),
        1 => (100..2900_usize).prop_map(|length| format!("{{\"id\":4,\"x\":\"{}\"}}\n", "y".repeat(length))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn parts_of_large_objects_give_what_the_whole_gives(
        lines in prop::collection::vec(line(), 0..600),
        clean in any::<bool>(),
        head in prop::sample::select(vec!["", "\u{feff}", "[", "{\"id\":0,", "\n\n", "{\"id\":0}\n"]),
        chop in 0..40_usize,
    ) {
        let is_clean = |line: &String| line.starts_with("{\"id\":") && line.ends_with("}\n") && line.len() < 200;
        let lines: Vec<String> = lines.into_iter().filter(|line| !clean || is_clean(line)).collect();
        let mut bytes = format!("{head}{}", lines.concat()).into_bytes();
        bytes.truncate(bytes.len().saturating_sub(chop).max(1));
        let (runtime, table) = (runtime(), table(&[bytes], &DecodeOptions::default(), "none"));
        if table.schema.fields().len() > 1 && table.schema.index_of("id").is_ok() {
            compare(&runtime, &table, &[
                "select count(*) from t",
                "select * from t",
                "select id, count(*) from t group by id",
                "select * from t where id = 3",
                "select \"$path\", id from t where id < 40",
            ]);
        }
    }
}

#[test]
fn whatever_is_projected_and_filtered_the_rows_are_the_same() {
    let record = |id: usize| {
        let city = ["Bern", "Rome", "Oslo"][id % 3];
        serde_json::json!({
            "id": id, "name": format!("n\u{e9}\n{}", id % 7), "at": format!("2025-01-{:02}T00:00:00Z", id % 28 + 1),
            "o": {"x": id % 5, "deep": {"er": {"city": city, "n": id}, "z": [id]}, "big": "y".repeat(id % 50)},
            "l": [{"a": id}], "half": id as f64 / 2.0, "maybe": if id.is_multiple_of(4) { serde_json::Value::Null } else { id.into() },
        })
    };
    let records: Vec<_> = (0..400).map(record).collect();
    let ndjson = |records: &[serde_json::Value]| records.iter().map(|record| format!("{record}\n")).collect::<String>();
    let pretty = serde_json::to_vec_pretty(&records[100..200]).unwrap();
    let envelope =
        |records: &[serde_json::Value]| serde_json::json!({"page": 7, "data": records}).to_string().into_bytes();
    let statements = [
        "select count(*) from t",
        "select count(1), count(maybe), count(o) from t",
        "select o['deep']['er']['city'], avg(o['deep']['er']['n']) from t group by 1",
        "select o['x'], o['deep'] from t where o['deep']['er']['city'] = 'Oslo' and id > 350",
        "select o from t where o['x'] = 3",
        "select name, half, l, at from t where id in (3, 77, 399) or maybe is null and id < 30",
        "select * from t where name like 'n%3' and half > 100",
        "select id, l[1]['a'] as a from t where l[1]['a'] between 5 and 9",
        "select a.id, b.o['x'] as x from t a join t b on a.o['deep']['er']['n'] = b.id where a.half > 190",
        "select id from t where at >= timestamp '2025-01-20T00:00:00Z' and \"$path\" like '%1'",
        "select \"$path\", at_day, count(*) from t where at_day <> date '2025-01-03' group by 1, 2",
        "select o_x_part, at_day from t where id = 8",
        "select id, sum(o['x']) over (partition by o['deep']['er']['city'] order by id) as s from t where id < 20",
        "select id from t where o['x'] = (select max(o['x']) from t)",
        "select id from t where id in (select o['deep']['er']['n'] from t where name = 'n\u{e9}\n3')",
        "select id from t a where exists (select 1 from t b where b.o['x'] = a.id)",
        "select id, o['deep']['er']['city'] as c from t order by o['deep']['er']['n'] desc limit 5",
        "select distinct o['x'] from t where id % 2 = 0",
        "select id from t where false",
        "select x['n'] from (select o['deep']['er'] as x, id from t) where id = 5",
        "select u['a'] from (select unnest(l) as u, id from t) where id < 4",
        "select id from t where id / 2 = 4 and o is not null",
    ];
    let runtime = runtime();
    let halves: Vec<Vec<u8>> = vec![ndjson(&records[..100]).into_bytes(), pretty, ndjson(&records[200..]).into_bytes()];
    let plain = table(&halves, &DecodeOptions::default(), "day(at),identity(o.x)");
    compare(&runtime, &plain, &statements);
    let options = DecodeOptions {
        records_path: vec!["data".to_owned()],
        envelope_fields: vec![vec!["page".to_owned()]],
        ..DecodeOptions::default()
    };
    let in_envelopes = [envelope(&records[..150]), envelope(&records[150..])];
    let wrapped = table(&in_envelopes, &options, "day(at),identity(o.x)");
    compare(&runtime, &wrapped, &statements);
    compare(
        &runtime,
        &wrapped,
        &["select id, envelope_page from t where id = 160", "select count(envelope_page) from t"],
    );
    let without_members = DecodeOptions { envelope_fields: Vec::new(), ..options };
    compare(&runtime, &table(&in_envelopes, &without_members, "day(at),identity(o.x)"), &statements);
}

#[test]
fn a_few_objects_are_work_for_all_threads() {
    let objects: Vec<Vec<u8>> = (0..4).map(|id| format!("{{\"id\":{id}}}").into_bytes()).collect();
    let table = table(&objects, &DecodeOptions::default(), "none");
    assert_eq!(table.units(&table.objects, 2).len(), 4);
    assert_eq!(table.units(&[], 2).len(), 0);
}

#[test]
fn a_scan_that_is_stopped_leaves_no_reader_waiting() {
    let bytes: Vec<u8> = (0..2000).flat_map(|id| format!("{{\"id\":{id}}}\n").into_bytes()).collect();
    let (runtime, table) = (runtime(), table(&[bytes], &DecodeOptions::default(), "none"));
    for _ in 0..20 {
        let context = session(4);
        context.register_table("t", Arc::new(table.clone())).unwrap();
        let found = rows(&runtime, &context, "select id from t where id >= 10 limit 3");
        assert_eq!(found.len(), 3 + 4, "{found:?}");
        let found = rows(&runtime, &context, "select count(*) from (select id from t limit 700)");
        assert!(found.iter().any(|row| row.contains("700")), "{found:?}");
    }
    // Reading the parts in any order does not block either.
    let context = session(4);
    context.register_table("t", Arc::new(table)).unwrap();
    let plan = runtime
        .block_on(async { context.sql("select id from t").await.unwrap().create_physical_plan().await.unwrap() });
    let mut total = 0;
    for partition in (0..plan.properties().output_partitioning().partition_count()).rev() {
        let stream = plan.execute(partition, context.task_ctx()).unwrap();
        let batches = runtime.block_on(datafusion::physical_plan::common::collect(stream)).unwrap();
        total += batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    }
    assert_eq!(total, 2000);
}
