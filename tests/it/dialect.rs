//! Athena's dialect: the scripts of `tests/athena` (examples of Trino's documentation) and of `queries/athena` (over the
//! sample sources, as tables and raw) give what they say.

use std::path::{Path, PathBuf};

use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt as _;
use siltstone::config::Config;
use siltstone::error::{Error, ErrorKind};
use siltstone::query::SqlSession;
use siltstone::store::Location;
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};
use tokio::runtime::Runtime;

use super::support::{Roots, project};

/// A session that answers scripts. `side` takes the place of `lake` in statements.
struct Script<'a> {
    session: SqlSession,
    runtime: &'a Runtime,
    side: &'a str,
}

impl DB for Script<'_> {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let sql = sql.replace("lake.", &format!("{}.", self.side));
        let batches = self.runtime.block_on(async {
            let stream = self.session.query(&sql).await?;
            stream.try_collect::<Vec<_>>().await.map_err(|error| Error::new(ErrorKind::Failed, error.to_string()))
        })?;
        let options = FormatOptions::new()
            .with_null("NULL")
            .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.3f"))
            .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.3f %:z"));
        let mut rows = Vec::new();
        let mut columns = 0;
        for batch in &batches {
            columns = batch.num_columns();
            let cells: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
                .collect();
            rows.extend((0..batch.num_rows()).map(|row| {
                let text = |cell: &ArrayFormatter<'_>| match cell.value(row).to_string() {
                    text if text.is_empty() => "(empty)".to_owned(),
                    text => text,
                };
                cells.iter().map(text).collect::<Vec<String>>()
            }));
        }
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows })
    }
}

fn scripts(folder: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(project().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "slt"));
    found.sort();
    assert!(!found.is_empty(), "{folder}");
    found
}

/// Runs a script to its end and tells everything that is not as it says.
fn run(path: &Path, roots: &Roots, side: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let session = || {
        let (raw, lake) = (roots.raw.to_str().unwrap(), roots.lake.to_str().unwrap());
        let (raw, lake) = (Location::parse(raw).unwrap(), Location::parse(lake).unwrap());
        runtime.block_on(SqlSession::open(Some(raw), Some(lake), &Config::default(), 2, 1 << 28)).unwrap()
    };
    let mut runner = Runner::new(|| async { Ok(Script { session: session(), runtime: &runtime, side }) });
    let records = sqllogictest::parse_file::<DefaultColumnType>(path).unwrap();
    let failures = records.into_iter().filter_map(|record| runner.run(record).err());
    failures.map(|error| format!("{side}: {}", error.display(false))).collect()
}

#[test]
fn functions_give_what_the_documentation_of_trino_says() {
    let roots = Roots::of_testdata();
    let failures: Vec<String> = scripts("tests/athena").iter().flat_map(|path| run(path, &roots, "raw")).collect();
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn queries_of_athena_give_the_same_over_lake_raw_and_both() {
    let (whole, half) = (Roots::of_testdata(), Roots::of_testdata_half_compacted());
    whole.compact(&[]);
    let scripts = scripts("queries/athena");
    let over = |roots, side| scripts.iter().flat_map(|path| run(path, roots, side)).collect::<Vec<String>>();
    let failures = [over(&whole, "lake"), over(&whole, "raw"), over(&half, "main")].concat();
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n\n"));
}
