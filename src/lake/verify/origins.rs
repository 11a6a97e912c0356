//! The records of where the rows of merged files came from: that they are there, can be read, and tell what can be.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;

use super::CONCURRENCY;
use super::files::LoggedFile;
use super::finding::{Effect, Finding, FindingKind, Findings};
use crate::error::{Error, describe};
use crate::lake::hidden::Hidden;
use crate::lake::origins::{Origins, Unit};
use crate::lake::table::ActiveFile;
use crate::write::{FileOrigin, merged_id};

/// What the table is said to have of a file that a slice wrote.
#[derive(Debug, Default)]
struct Claims {
    /// How many rows the file had, as those say that tell of it.
    row_counts: BTreeSet<u64>,
    /// How many of them there are.
    rows: u64,
    /// What told first.
    path: String,
}

/// Checks the records of all merged files. `slices`: those that the ledger knows, when it knows all.
pub(super) async fn check_origins(
    hidden: &Hidden,
    files: &[LoggedFile],
    slices: Option<&BTreeSet<String>>,
    found: &mut Findings,
) {
    let mut claims: BTreeMap<FileOrigin, Claims> = BTreeMap::new();
    let named = files.iter().filter_map(|file| Some((file, file.row_count?)));
    let read = named.map(|(file, row_count)| async move {
        let file = ActiveFile {
            path: file.path.clone(),
            size_bytes: file.size_bytes,
            row_count,
            partition: Vec::new(),
            stats: String::new(),
        };
        let origins = Origins::of(hidden, &file).await;
        (file, origins)
    });
    let mut read = futures::stream::iter(read.collect::<Vec<_>>()).buffered(CONCURRENCY);
    while let Some((file, origins)) = read.next().await {
        // What is told of is the record, or else the file whose name tells.
        let path = merged_id(&file.path).map_or_else(|| file.path.clone(), Hidden::origins_path);
        let origins = match origins {
            Ok(Some(origins)) => origins,
            Ok(None) => continue,
            Err(error) => {
                found.push(unusable(path, unread(&error, &file)));
                continue;
            }
        };
        let mut rows = vec![0; origins.units.len()];
        origins.runs.iter().for_each(|run| rows[run.unit] += run.rows);
        for (Unit { origin, row_count }, rows) in origins.units.into_iter().zip(rows) {
            let is_known = slices.is_none_or(|slices| slices.contains(&origin.slice));
            if rows > 0 && !is_known && merged_id(&file.path).is_some() {
                let reason =
                    format!("it tells of rows of the slice {}, of which the ledger knows nothing", origin.slice);
                found.push(unusable(path.clone(), reason));
            }
            let claims = claims.entry(origin).or_default();
            claims.row_counts.insert(row_count);
            claims.rows += rows;
            if claims.path.is_empty() {
                claims.path.clone_from(&path);
            }
        }
    }
    for (origin, Claims { row_counts, rows, path }) in claims {
        let name = origin.name();
        if row_counts.len() > 1 {
            let counts: Vec<String> = row_counts.iter().map(u64::to_string).collect();
            let reason = format!("{name} had {} rows, as this one and others tell", counts.join(" or "));
            found.push(unusable(path, reason));
        } else if row_counts.first().is_some_and(|count| rows > *count) {
            let count = row_counts.first().copied().unwrap_or_default();
            found.push(unusable(path, format!("{rows} rows are said to be of {name}, which had {count}")));
        }
    }
}

fn unread(error: &Error, file: &ActiveFile) -> String {
    format!("the record of the origins of {} cannot be used: {}", file.path, describe(error))
}

fn unusable(path: String, reason: String) -> Finding {
    let effect = Effect::new(
        "compact",
        "gives canonical text where it promotes a column of these rows: their raw objects are not read again",
    );
    Finding::error(FindingKind::Origins, path, reason).with([effect])
}
