//! Every query of `queries/` gives the answer beside it: over the lake tables, over the raw objects, and over both as one.

use std::path::{Path, PathBuf};

use siltstone::compact::Status;

use super::support::{Roots, project};

fn sample_queries() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for source in ["feed", "orders", "readings"] {
        for entry in std::fs::read_dir(project().join("queries").join(source)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 15, "{} sample queries", found.len());
    found
}

/// A file with the query over the raw sources instead of the tables.
fn over_raw(roots: &Roots, query: &Path) -> String {
    over(roots, query, "raw.")
}

/// A file with the query over what `side` stands before.
fn over(roots: &Roots, query: &Path, side: &str) -> String {
    let path = roots.dir.path().join("over.sql");
    std::fs::write(&path, std::fs::read_to_string(query).unwrap().replace("lake.", side)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_test_data_is_compacted_as_its_readme_says() {
    let roots = Roots::of_testdata();
    let report = roots.compact(&[]);
    assert_eq!(report.status, Status::PartialSuccess);
    let counts: Vec<_> = report
        .sources
        .iter()
        .map(|source| (&*source.source_id, source.objects, source.success_count, source.error_count, source.status))
        .collect();
    assert_eq!(
        counts,
        [
            ("feed", 10, 181, 0, Status::Success),
            ("orders", 12, 282, 0, Status::Success),
            ("readings", 6, 384, 2, Status::PartialSuccess)
        ]
    );
    for source in ["feed", "orders", "readings"] {
        let counts = roots.sql(&format!(
            "select (select count(*) from lake.{source}) as lake, (select count(*) from raw.{source}) as raw"
        ));
        assert_eq!(counts[0]["lake"], counts[0]["raw"], "{source}");
    }
}

#[test]
fn sample_queries_give_the_same_answer_over_lake_and_raw() {
    let roots = Roots::of_testdata();
    roots.compact(&[]);
    for path in sample_queries() {
        let expected = std::fs::read_to_string(path.with_extension("csv")).unwrap();
        let over_lake = roots.run_here(&["sql", "--format", "csv", "-f", path.to_str().unwrap()]).ok();
        assert_eq!(over_lake, expected, "{}", path.display());
        let answer = roots.run_here(&["sql", "--format", "csv", "-f", &over_raw(&roots, &path)]).ok();
        assert_eq!(answer, expected, "{} over raw", path.display());
    }
}

#[test]
fn sample_queries_give_the_same_answer_over_the_fresh_view() {
    let roots = Roots::of_testdata_half_compacted();
    for path in sample_queries() {
        let expected = std::fs::read_to_string(path.with_extension("csv")).unwrap();
        let answer = roots.run_here(&["sql", "--format", "csv", "-f", &over(&roots, &path, "")]).ok();
        assert_eq!(answer, expected, "{} over the fresh view", path.display());
    }
}

#[test]
fn raw_sources_answer_before_there_is_a_lake() {
    let roots = Roots::of_testdata();
    let path = project().join("queries/orders/top_skus.sql");
    let sql = over_raw(&roots, &path);
    let ran = roots.run(&["sql", "--format", "csv", "--raw", roots.raw.to_str().unwrap(), "-f", &sql]);
    assert_eq!(ran.ok(), std::fs::read_to_string(path.with_extension("csv")).unwrap());
}
