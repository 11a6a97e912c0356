//! What each engine is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expects by panicking")]

use super::*;
use crate::schema::Type;

const TODAY: i32 = 20_123; // 2025-02-04

fn field(name: &str, ty: Type) -> Field {
    Field { name: name.to_owned(), keys: vec![name.to_owned()], ty }
}

/// Columns of every type, with names that are reserved or begin with `_` or a digit.
fn columns() -> Vec<Field> {
    let inner = vec![
        field("from", Type::Text),
        field("1st", Type::List(Box::new(Type::Struct(vec![field("_id", Type::Bool), field("raw", Type::Json)])))),
    ];
    vec![
        field("select", Type::Int64),
        field("_total", Type::Decimal { precision: 38, scale: 0 }),
        field("7d", Type::Double),
        field("at", Type::Timestamp { naive: false }),
        field("date", Type::Date),
        field("type", Type::Text),
        field("mixed", Type::Json),
        field("order", Type::Struct(inner)),
        field("by_key", Type::Map(Box::new(Type::List(Box::new(Type::Timestamp { naive: true }))))),
    ]
}

/// The DDL of a table with these partitions; a value `-` is null.
fn script(dialect: Dialect, url: &str, by: &str, partitions: &[&[&str]]) -> String {
    let url = Url::parse(url).unwrap();
    let value = |text: &&str| (*text != "-").then(|| (*text).to_owned());
    let partitions: Vec<PartitionKey> = partitions.iter().map(|key| key.iter().map(value).collect()).collect();
    let table = TableDescription {
        source_id: url.path_segments().unwrap().rev().nth(1).unwrap(),
        url: &url,
        fields: &columns(),
        partitioning: &by.parse().unwrap(),
        partitions: &partitions,
        today: TODAY,
    };
    ddl(&table, dialect)
}

/// The DDL of a table on S3, partitioned by day and by a text.
fn on_s3(dialect: Dialect) -> String {
    let partitions: [&[&str]; 3] = [&["2025-02-03", "a"], &["2024-12-31", "b c"], &["-", "b c"]];
    script(dialect, "s3://bucket/lake/Order-items.v2/", "day(at), type", &partitions)
}

/// The lines of Athena's partition projection and the remarks on it.
fn projected(by: &str, partitions: &[&[&str]]) -> String {
    let text = script(Dialect::Athena, "s3://bucket/lake/orders/", by, partitions);
    let wanted = |line: &&str| line.starts_with("--   ") || line.contains("'projection.") || line.contains("template'");
    text.lines().filter(wanted).map(|line| format!("{line}\n")).collect()
}

#[test]
fn athena_has_the_delta_table_and_plain_parquet_with_projected_partitions() {
    insta::assert_snapshot!(on_s3(Dialect::Athena), @"
    -- The source Order-items.v2 is named order_items_v2 here: names of tables are lower-case letters, digits and _.
    -- Athena takes one statement at a time.

    -- 1. The Delta table. Columns and files come from its log.
    CREATE EXTERNAL TABLE `order_items_v2`
    LOCATION 's3://bucket/lake/Order-items.v2/'
    TBLPROPERTIES ('table_type' = 'DELTA');

    -- 2. The same files as plain Parquet.
    -- It reads every Parquet file in the folders, also those that the Delta log no longer refers to (rewritten, not yet
    -- vacuumed) or never did (left behind by a run that failed): rows may appear twice, and a file that holds a column
    -- under an outdated type may fail a query.
    -- The columns are those of today. Drop it and create it again when they have changed.
    -- Athena computes the partitions (partition projection). Create it again when older ones come. It reads
    --   at_day: 2024-12-31 to NOW+1DAYS, without the folder of null.
    --   type_part: those that the query names, as in WHERE type_part IN ('a', 'b'), without which it fails.
    --     (A projection of type enum would pass over values that come later.) Values are spelled as in
    --     the folders: percent-encoded, and null is __HIVE_DEFAULT_PARTITION__.
    -- To read all folders, leave TBLPROPERTIES out, and run now and after each compact:
    -- MSCK REPAIR TABLE `order_items_v2_parquet`
    CREATE EXTERNAL TABLE `order_items_v2_parquet` (
      `select` bigint,
      `_total` decimal(38,0),
      `7d` double,
      `at` timestamp,
      `date` date,
      `type` string,
      `mixed` string COMMENT 'JSON text',
      `order` struct<`from`:string,`1st`:array<struct<`_id`:boolean,`raw`:string>>>,
      `by_key` map<string,array<timestamp>>
    )
    PARTITIONED BY (
      `at_day` date,
      `type_part` string
    )
    STORED AS PARQUET
    LOCATION 's3://bucket/lake/Order-items.v2/'
    TBLPROPERTIES (
      'projection.enabled' = 'true',
      'projection.at_day.type' = 'date',
      'projection.at_day.format' = 'yyyy-MM-dd',
      'projection.at_day.range' = '2024-12-31,NOW+1DAYS',
      'projection.at_day.interval' = '1',
      'projection.at_day.interval.unit' = 'DAYS',
      'projection.type_part.type' = 'injected',
      'storage.location.template' = 's3://bucket/lake/Order-items.v2/at_day=${at_day}/type_part=${type_part}/'
    );
    ");
}

#[test]
fn hive_has_plain_parquet_and_is_told_of_partitions_that_repair_would_not_find() {
    insta::assert_snapshot!(on_s3(Dialect::Hive), @"
    -- The source Order-items.v2 is named order_items_v2 here: names of tables are lower-case letters, digits and _.
    -- On EMR, write s3:// for s3a://.
    -- The files of the table as plain Parquet.
    -- It reads every Parquet file in the folders, also those that the Delta log no longer refers to (rewritten, not yet
    -- vacuumed) or never did (left behind by a run that failed): rows may appear twice, and a file that holds a column
    -- under an outdated type may fail a query.
    -- The columns are those of today. Drop it and create it again when they have changed.
    -- Timestamps are 64-bit integers in the files, which Hive reads since 4.0.
    CREATE EXTERNAL TABLE `order_items_v2` (
      `select` bigint,
      `_total` decimal(38,0),
      `7d` double,
      `at` timestamp,
      `date` date,
      `type` string,
      `mixed` string COMMENT 'JSON text',
      `order` struct<`from`:string,`1st`:array<struct<`_id`:boolean,`raw`:string>>>,
      `by_key` map<string,array<timestamp>>
    )
    PARTITIONED BY (
      `at_day` date,
      `type_part` string
    )
    STORED AS PARQUET
    LOCATION 's3a://bucket/lake/Order-items.v2/';
    -- Partitions, as there are percent-encoded folders. Print them again after each compact.
    ALTER TABLE `order_items_v2` ADD IF NOT EXISTS
      PARTITION (`at_day`='2024-12-31', `type_part`='b c') LOCATION 's3a://bucket/lake/Order-items.v2/at_day=2024-12-31/type_part=b%20c/';
    -- Hive cannot name partitions with null beside such a value. The table lacks these:
    --   at_day=__HIVE_DEFAULT_PARTITION__/type_part=b%20c
    SET hive.msck.path.validation=skip;
    -- Now and after each compact:
    MSCK REPAIR TABLE `order_items_v2`;
    ");
}

#[test]
fn spark_has_the_delta_table_and_plain_parquet_as_a_comment() {
    insta::assert_snapshot!(on_s3(Dialect::Spark), @"
    -- The source Order-items.v2 is named order_items_v2 here: names of tables are lower-case letters, digits and _.
    -- On EMR, write s3:// for s3a://.
    -- The Delta table, for Spark with Delta Lake (delta-spark). Columns and files come from its log.
    CREATE TABLE `order_items_v2` USING DELTA LOCATION 's3a://bucket/lake/Order-items.v2/';

    -- Without Delta Lake, the same files as plain Parquet.
    -- It reads every Parquet file in the folders, also those that the Delta log no longer refers to (rewritten, not yet
    -- vacuumed) or never did (left behind by a run that failed): rows may appear twice, and a file that holds a column
    -- under an outdated type may fail a query.
    -- The columns are those of today. Drop it and create it again when they have changed.
    -- CREATE TABLE `order_items_v2_parquet` (
    --   `select` bigint,
    --   `_total` decimal(38,0),
    --   `7d` double,
    --   `at` timestamp,
    --   `date` date,
    --   `type` string,
    --   `mixed` string COMMENT 'JSON text',
    --   `order` struct<`from`:string,`1st`:array<struct<`_id`:boolean,`raw`:string>>>,
    --   `by_key` map<string,array<timestamp>>,
    --   `at_day` date,
    --   `type_part` string
    -- )
    -- USING PARQUET
    -- PARTITIONED BY (`at_day`, `type_part`)
    -- LOCATION 's3a://bucket/lake/Order-items.v2/';
    -- -- Partitions, as there are percent-encoded folders. Print them again after each compact.
    -- ALTER TABLE `order_items_v2_parquet` ADD IF NOT EXISTS
    --   PARTITION (`at_day`='2025-02-03', `type_part`='a') LOCATION 's3a://bucket/lake/Order-items.v2/at_day=2025-02-03/type_part=a/'
    --   PARTITION (`at_day`='2024-12-31', `type_part`='b c') LOCATION 's3a://bucket/lake/Order-items.v2/at_day=2024-12-31/type_part=b%20c/'
    --   PARTITION (`at_day`=null, `type_part`='b c') LOCATION 's3a://bucket/lake/Order-items.v2/at_day=__HIVE_DEFAULT_PARTITION__/type_part=b%20c/';
    ");
}

#[test]
fn duckdb_has_views() {
    insta::assert_snapshot!(on_s3(Dialect::DuckDb), @r#"
    -- The Delta table. Columns and files come from its log, as of each query. The extension loads itself.
    -- For credentials: CREATE SECRET (TYPE s3, PROVIDER credential_chain)
    CREATE OR REPLACE VIEW "Order-items.v2" AS SELECT * FROM delta_scan('s3://bucket/lake/Order-items.v2/');

    -- Without that extension, the same files as plain Parquet.
    -- It reads every Parquet file in the folders, also those that the Delta log no longer refers to (rewritten, not yet
    -- vacuumed) or never did (left behind by a run that failed): rows may appear twice, and a file that holds a column
    -- under an outdated type may fail a query.
    -- CREATE OR REPLACE VIEW "Order-items.v2_parquet" AS SELECT * FROM read_parquet(
    --   's3://bucket/lake/Order-items.v2/at_day=*/type_part=*/*.parquet',
    --   union_by_name = true,
    --   hive_partitioning = true, hive_types = {'at_day': date, 'type_part': varchar}
    -- );
    "#);
}

#[test]
fn trino_has_the_registered_table_and_plain_parquet_as_a_comment() {
    insta::assert_snapshot!(on_s3(Dialect::Trino), @r#"
    -- The source Order-items.v2 is named order_items_v2 here: names of tables are lower-case letters, digits and _.
    -- The Delta table. Columns and files come from its log. The catalog delta stands for yours of connector
    -- delta_lake (with delta.register-table-procedure.enabled=true), and the schema default for yours.
    CALL delta.system.register_table(
      schema_name => 'default',
      table_name => 'order_items_v2',
      table_location => 's3://bucket/lake/Order-items.v2/'
    );

    -- Without it, the same files as plain Parquet. The catalog hive stands for yours of the connector hive.
    -- It reads every Parquet file in the folders, also those that the Delta log no longer refers to (rewritten, not yet
    -- vacuumed) or never did (left behind by a run that failed): rows may appear twice, and a file that holds a column
    -- under an outdated type may fail a query.
    -- The columns are those of today. Drop it and create it again when they have changed.
    -- The files hold microseconds. Where hive.timestamp-precision is MICROSECONDS, write timestamp(6).
    -- CREATE TABLE hive."default"."order_items_v2_parquet" (
    --   "select" bigint,
    --   "_total" decimal(38,0),
    --   "7d" double,
    --   "at" timestamp(3),
    --   "date" date,
    --   "type" varchar,
    --   "mixed" varchar COMMENT 'JSON text',
    --   "order" row("from" varchar,"1st" array(row("_id" boolean,"raw" varchar))),
    --   "by_key" map(varchar,array(timestamp(3))),
    --   "at_day" date,
    --   "type_part" varchar
    -- )
    -- WITH (
    --   format = 'PARQUET',
    --   external_location = 's3://bucket/lake/Order-items.v2/',
    --   partitioned_by = ARRAY['at_day', 'type_part']
    -- );
    -- -- Now and after each compact:
    -- CALL hive.system.sync_partition_metadata(schema_name => 'default', table_name => 'order_items_v2_parquet', mode => 'FULL');
    "#);
}

#[test]
fn times_are_projected_from_the_oldest_partition_or_today_to_the_newest_or_tomorrow() {
    insta::assert_snapshot!(projected("day(at)", &[&["-"], &["2025-02-01"], &["2024-02-29"]]), @"
    --   at_day: 2024-02-29 to NOW+1DAYS, without the folder of null.
      'projection.enabled' = 'true',
      'projection.at_day.type' = 'date',
      'projection.at_day.format' = 'yyyy-MM-dd',
      'projection.at_day.range' = '2024-02-29,NOW+1DAYS',
      'projection.at_day.interval' = '1',
      'projection.at_day.interval.unit' = 'DAYS',
      'storage.location.template' = 's3://bucket/lake/orders/at_day=${at_day}/'
    ");
    insta::assert_snapshot!(projected("month(at), ingested()", &[&["2025-04", "2025-02-04"]]), @"
    --   at_month: 2025-02 to NOW+56DAYS, without the folder of null.
    --   ingested_day: 2025-02-04 to NOW+1DAYS, without the folder of null.
      'projection.enabled' = 'true',
      'projection.at_month.type' = 'date',
      'projection.at_month.format' = 'yyyy-MM',
      'projection.at_month.range' = '2025-02,NOW+56DAYS',
      'projection.at_month.interval' = '1',
      'projection.at_month.interval.unit' = 'MONTHS',
      'projection.ingested_day.type' = 'date',
      'projection.ingested_day.format' = 'yyyy-MM-dd',
      'projection.ingested_day.range' = '2025-02-04,NOW+1DAYS',
      'projection.ingested_day.interval' = '1',
      'projection.ingested_day.interval.unit' = 'DAYS',
      'storage.location.template' = 's3://bucket/lake/orders/at_month=${at_month}/ingested_day=${ingested_day}/'
    ");
    insta::assert_snapshot!(projected("hour(at)", &[&["2025-02-06-23"], &["2025-02-06-05"]]), @"
    --   at_hour: 2025-02-04-00 to NOW+3DAYS, without the folder of null.
      'projection.enabled' = 'true',
      'projection.at_hour.type' = 'date',
      'projection.at_hour.format' = 'yyyy-MM-dd-HH',
      'projection.at_hour.range' = '2025-02-04-00,NOW+3DAYS',
      'projection.at_hour.interval' = '1',
      'projection.at_hour.interval.unit' = 'HOURS',
      'storage.location.template' = 's3://bucket/lake/orders/at_hour=${at_hour}/'
    ");
    insta::assert_snapshot!(projected("year(at)", &[&["0999"], &["2031"], &["-"]]), @"
    --   at_year: 0999 to 2041, without the folder of null.
      'projection.enabled' = 'true',
      'projection.at_year.type' = 'integer',
      'projection.at_year.range' = '0999,2041',
      'projection.at_year.digits' = '4',
      'storage.location.template' = 's3://bucket/lake/orders/at_year=${at_year}/'
    ");
}

#[test]
fn without_a_partition_projection_begins_today() {
    let ranges: Vec<String> = ["day(at)", "month(at)", "hour(at)", "year(at)"]
        .iter()
        .flat_map(|by| {
            projected(by, &[]).lines().filter(|line| line.contains(".range")).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    insta::assert_snapshot!(ranges.join("\n"), @"
    'projection.at_day.range' = '2025-02-04,NOW+1DAYS',
    'projection.at_month.range' = '2025-02,NOW+1DAYS',
    'projection.at_hour.range' = '2025-02-04-00,NOW+1DAYS',
    'projection.at_year.range' = '2025,2035',
    ");
}

#[test]
fn an_unpartitioned_table_has_no_partition_clause() {
    for dialect in [Dialect::Athena, Dialect::Hive, Dialect::Spark, Dialect::DuckDb, Dialect::Trino] {
        let text = script(dialect, "s3://bucket/orders/", "none", &[&[]]);
        for word in ["PARTITION", "projection", "partitioned_by", "hive_types", "sync_partition", "MSCK"] {
            assert!(!text.contains(word), "{text}");
        }
    }
    let duckdb = script(Dialect::DuckDb, "s3://bucket/orders/", "none", &[&[]]);
    assert!(
        duckdb.contains("'s3://bucket/orders/*.parquet'") && duckdb.contains("hive_partitioning = false"),
        "{duckdb}"
    );
}

#[test]
fn a_table_without_columns_has_no_plain_parquet_where_columns_must_be_named() {
    let url = Url::parse("s3://bucket/orders/").unwrap();
    let partitioning = "ingested()".parse().unwrap();
    let table = TableDescription {
        source_id: "orders",
        url: &url,
        fields: &[],
        partitioning: &partitioning,
        partitions: &[],
        today: TODAY,
    };
    for dialect in [Dialect::Athena, Dialect::Hive, Dialect::Spark, Dialect::Trino] {
        let text = ddl(&table, dialect);
        assert!(text.ends_with("-- There is no column yet, and so no table of plain Parquet.\n"), "{text}");
        assert!(!text.contains("_parquet") && !text.contains("()"), "{text}");
    }
}

#[test]
fn locations_are_spelled_as_each_engine_takes_them() {
    let located = |dialect, url| {
        let text = script(dialect, url, "none", &[&[]]);
        let lines = text.lines().filter(|line| line.contains("/data/"));
        lines.map(|line| line.trim_start_matches("-- ").trim().to_owned()).collect::<Vec<_>>().join("\n")
    };
    // A space, a quote, a backslash and a star.
    let file = "file:///data/my%20lake's%5C*/s/";
    insta::assert_snapshot!(located(Dialect::Athena, file), @r"
    LOCATION 'file:///data/my lake\'s\\*/s/'
    LOCATION 'file:///data/my lake\'s\\*/s/';
    ");
    insta::assert_snapshot!(located(Dialect::Hive, file), @r"
    LOCATION 'file:///data/my lake\'s\\*/s/';
    ");
    insta::assert_snapshot!(located(Dialect::Spark, file), @r"
    CREATE TABLE `s` USING DELTA LOCATION 'file:///data/my lake\'s\\*/s/';
    LOCATION 'file:///data/my lake\'s\\*/s/';
    ");
    insta::assert_snapshot!(located(Dialect::DuckDb, file), @r#"
    CREATE OR REPLACE VIEW "s" AS SELECT * FROM delta_scan('file:///data/my%20lake''s%5C*/s/');
    '/data/my lake''s\[*]/s/*.parquet',
    "#);
    insta::assert_snapshot!(located(Dialect::Trino, file), @r"
    table_location => 'file:///data/my lake''s\*/s/'
    external_location = 'file:///data/my lake''s\*/s/'
    ");
    for dialect in [Dialect::Athena, Dialect::DuckDb, Dialect::Trino] {
        assert!(!script(dialect, "s3a://b/lake/s/", "none", &[&[]]).contains("s3a"));
    }
    for dialect in [Dialect::Hive, Dialect::Spark] {
        assert!(script(dialect, "s3://b/lake/s/", "none", &[&[]]).contains("LOCATION 's3a://b/lake/s/'"));
    }
}

#[test]
fn values_that_shells_would_split_or_replace_are_escaped() {
    let text = script(Dialect::Hive, "s3://bucket/s/", "type", &[&["it's\\;\n${x}"]]);
    assert!(text.contains(r"PARTITION (`type_part`='it\'s\\\u003b\u000a\u0024{x}') LOCATION"), "{text}");
    assert!(text.contains("/type_part=it%27s%5C%3B%0A%24%7Bx%7D/'"), "{text}");
}

#[test]
fn partitions_whose_folders_spell_their_values_are_left_to_repair() {
    for dialect in [Dialect::Hive, Dialect::Spark] {
        let text = script(dialect, "s3://bucket/s/", "day(at), type", &[&["2025-02-03", "a-b_c.9"], &["-", "-"]]);
        assert!(text.contains("MSCK REPAIR TABLE") && !text.contains("ADD") && !text.contains("SET"), "{text}");
    }
}

#[test]
fn a_statement_is_the_same_when_its_comment_marks_are_taken_off() {
    for dialect in [Dialect::Spark, Dialect::DuckDb, Dialect::Trino] {
        let text = on_s3(dialect);
        let commented = &text[text.find("-- CREATE").unwrap()..];
        assert!(commented.lines().all(|line| line.starts_with("-- ")), "{text}");
        let bare: String = commented.lines().map(|line| format!("{}\n", &line[3..])).collect();
        assert!(bare.starts_with("CREATE ") && bare.ends_with(";\n"), "{bare}");
    }
}
