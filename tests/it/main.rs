//! The integration tests, one binary: each module runs the real binary (or the library's `compact`) over real folders.
//!
//! | module | what it holds the project to |
//! |---|---|
//! | `compact` | raw shapes, runs, drift, promotions, partitions, the summary |
//! | `quarantine` | what is no record is kept, counted and never read again |
//! | `quarantine_table` | the quarantine can be listed and queried |
//! | `replay` | what is valid by now leaves the quarantine, exactly once |
//! | `bench` | every choice of format reads back equal, figures agree, runs go on where they ended |
//! | `commit`, `faults`, `kill`, `simulation` | every record exactly once: races, failing stores, kill -9, and all of it by seeds |
//! | `hostile` | raw objects, names and surroundings that are out to do harm: bounded, told, nothing lost |
//! | `optimize` | merged files hold the same rows, whatever comes before, between and after |
//! | `overwrite` | what a changed raw object holds now takes the place of its rows |
//! | `queries`, `sql` | SQL over both sides, the sample queries |
//! | `output` | results in files, Parquet, Arrow; scripts |
//! | `shell` | the shell, in a real terminal (`terminal`) |
//! | `dialect` | statements give what they give on Athena |
//! | `serve` | SQL over the protocol of PostgreSQL: real clients, passwords, bounds, the catalogue |
//! | `plan` | what a run would do, without doing it |
//! | `scale` | what was consumed costs its listing, and no memory |
//! | `schema` | history, explanations and differences of columns |
//! | `ddl` | the statements for other engines |
//! | `doctor` | stores are proven before they are relied on; a store over HTTP that misbehaves (`fake_s3`) |
//! | `verify` | sound lakes pass, every damage is found |
//! | `deep` | rows that are not those of their raw objects are found |
//! | `vacuum` | what is needed stays, what is not goes |
//! | `real_data` | real sources, in any number of runs, when they are named |
//! | `s3` | the same on a real S3 server, when one is named |
//! | `errors` | exit codes and messages |
//! | `structure` | which module may name which |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod bench;
mod commit;
mod compact;
mod ddl;
mod deep;
mod dialect;
mod doctor;
mod errors;
mod fake_s3;
mod faults;
mod fresh;
mod hostile;
mod kill;
mod lake_scan;
mod optimize;
mod others;
mod output;
mod overwrite;
mod plan;
mod quarantine;
mod quarantine_table;
mod queries;
mod real_data;
mod replay;
mod s3;
mod scale;
mod schema;
#[cfg(feature = "postgres")]
mod serve;
mod shell;
mod simulation;
mod sql;
mod structure;
mod support;
mod terminal;
mod vacuum;
mod verify;
