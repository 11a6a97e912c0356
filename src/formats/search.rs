//! Measuring: the cells of a stage in turns, each as often as is asked for.
//!
//! ```text
//! round 0      each cell: stored, read back, compared with the sample, made a table
//! round 1..n   each cell: written once more to nowhere (time), each query once (time, bytes, requests)
//! last         each cell: written once by a process of its own (memory), where there is one
//! ```
//!
//! Each round begins with another cell, so that what slows a machine down for a while slows down different cells.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};
use tokio::runtime::Handle;

use super::cell::{Cell, ColumnBytes, QueryRun, Stored, WriteRun};
use super::choice::{Choice, Format};
use super::lay::{self, Tools};
use super::matrix::{Axis, check};
use super::queries::Query;
use super::sample::Sample;
use crate::clock::{Stopwatch, forget_peak, memory};
use crate::config::Config;
use crate::error::{Context as _, Error, ErrorKind, Result, describe};
use crate::lake::Hidden;
use crate::query::SqlSession;
use crate::schema::fnv1a;
use crate::store::Location;
use crate::write::DataFile;

/// What a query may hold in memory, in bytes.
const QUERY_BYTES: usize = 1 << 30;
/// Stores like S3 take larger files in parts of this size, and two requests more.
pub(super) const PART_BYTES: u64 = 8 << 20;

/// Who is told of a search as it goes on.
pub trait Watch {
    /// So many visits of cells are to come, beside those that were planned before.
    fn planned(&self, visits: u64);

    /// One of them is done.
    fn visited(&self, id: &str);

    /// Whether to stop: what is measured so far is kept.
    fn wants_to_stop(&self) -> bool;

    /// The peak memory of a process that writes one cell; `None` when it cannot be had.
    fn peak_memory(&self, id: &str) -> Option<u64>;
}

/// A search at work.
#[derive(Debug)]
pub struct Search<'a> {
    /// The records.
    pub sample: &'a Sample,
    /// The queries.
    pub queries: &'a [Query],
    /// How often each cell is measured.
    pub repetitions: usize,
    /// The configuration, for queries.
    pub config: &'a Config,
    /// Threads that encode and query.
    pub threads: usize,
    /// Where files are written. Local.
    pub scratch: &'a Location,
    /// Keeps what is measured, for another run.
    pub out: &'a Hidden,
    /// What was measured, in this run or another.
    pub cells: Vec<Cell>,
    tools: Tools,
}

/// The file in which cells are kept between runs.
const CELLS: &str = "cells.json";

/// The cells of a sample.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Kept {
    /// The sample, and the queries and threads by which they were measured.
    identity: String,
    cells: Vec<Cell>,
}

impl<'a> Search<'a> {
    /// A search that builds on what another run of the same sample and queries has left.
    ///
    /// # Errors
    /// When what it left cannot be read.
    pub async fn begin(
        sample: &'a Sample,
        queries: &'a [Query],
        repetitions: usize,
        (config, threads): (&'a Config, usize),
        scratch: &'a Location,
        out: &'a Hidden,
    ) -> Result<Self> {
        let encoders = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let encoders = Arc::new(encoders.context(|| "cannot start threads".to_owned())?);
        let tools = Tools { runtime: Handle::current(), encoders };
        let mut search = Self { sample, queries, repetitions, config, threads, scratch, out, cells: Vec::new(), tools };
        if out.is_there(CELLS).await? {
            let kept: Kept = out.read_json(CELLS).await?;
            // Cells of another sample, or of other queries, say nothing of this one.
            if kept.identity == search.identity() {
                search.cells = kept.cells;
            }
        }
        Ok(search)
    }

    fn identity(&self) -> String {
        let queries = serde_json::to_string(self.queries).unwrap_or_default();
        let version = env!("CARGO_PKG_VERSION");
        format!("{}-{:016x}-{}-{version}", self.sample.identity, fnv1a(&queries), self.threads)
    }

    /// Keeps what is measured.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn save(&self) -> Result<()> {
        let kept = Kept { identity: self.identity(), cells: self.cells.clone() };
        let text = serde_json::to_vec_pretty(&kept).context(|| "cannot express the cells".to_owned())?;
        self.out.overwrite(CELLS, Bytes::from(text)).await
    }

    /// Measures the cells of a stage. Gives whether all of it was done.
    ///
    /// # Errors
    /// When files cannot be stored; what was measured before is kept.
    pub async fn stage(&mut self, stage: &[(Axis, Choice)], watch: &dyn Watch) -> Result<bool> {
        let names: Vec<String> = self.queries.iter().map(|query| query.name.clone()).collect();
        let mut places = Vec::new();
        for (axis, choice) in stage {
            check(choice, self.sample)?;
            let id = choice.id();
            let place = self.cells.iter().position(|cell| cell.id == id).unwrap_or_else(|| {
                self.cells.push(Cell::new(choice, axis.name()));
                self.cells.len() - 1
            });
            if !self.cells[place].is_done(&names, self.repetitions) {
                places.push((place, choice));
            }
        }
        watch.planned((places.len() * (1 + self.repetitions)) as u64);
        for round in 0..=self.repetitions {
            for turn in 0..places.len() {
                if watch.wants_to_stop() {
                    return Ok(false);
                }
                let (place, choice) = places[(turn + round) % places.len()];
                if self.cells[place].error.is_none() {
                    let measured = if round == 0 {
                        self.store(place, choice).await
                    } else {
                        self.measure(place, choice, round).await
                    };
                    if let Err(error) = measured {
                        self.save().await?;
                        return Err(error);
                    }
                }
                watch.visited(&self.cells[place].id);
            }
            self.save().await?;
        }
        for (place, _) in &places {
            let cell = &mut self.cells[*place];
            if !watch.wants_to_stop() && cell.error.is_none() && cell.peak_memory_bytes.is_none() {
                cell.peak_memory_bytes = watch.peak_memory(&cell.id);
            }
        }
        self.save().await?;
        Ok(!watch.wants_to_stop())
    }

    /// The folder of a cell, and that of its files.
    fn folders(&self, choice: &Choice) -> Result<(Location, Location)> {
        let root = self.scratch.folder(&format!("{:016x}", fnv1a(&choice.id())))?;
        let folder = root.folder(&self.sample.source_id)?;
        Ok((root, folder))
    }

    /// Stores a cell and reads it back.
    async fn store(&mut self, place: usize, choice: &Choice) -> Result<()> {
        let (_, folder) = self.folders(choice)?;
        let (sample, tools) = (self.sample, &self.tools);
        let written = tokio::task::block_in_place(|| {
            let files = lay::write(sample, choice, &folder, tools)?;
            lay::read_back(sample, choice, &folder, &files, &tools.runtime)?;
            Ok::<_, Error>(files)
        });
        let files = match written {
            Ok(files) => files,
            // Not every format takes every type; a store that fails would fail all cells.
            Err(error) if error.kind() == ErrorKind::Corrupt || !is_of_store(&error) => {
                self.cells[place].error = Some(describe(&error));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.cells[place].stored = Some(self.look_at(choice, &folder, &files).await?);
        if choice.format == Format::Parquet {
            lay::commit(sample, choice, &folder, files, &self.cells[place].id).await?;
        }
        Ok(())
    }

    async fn look_at(&self, choice: &Choice, folder: &Location, files: &[DataFile]) -> Result<Stored> {
        let bytes = files.iter().map(|file| file.size_bytes).sum();
        let puts = |file: &DataFile| match file.size_bytes {
            0..PART_BYTES => 1,
            large => large.div_ceil(PART_BYTES) + 2,
        };
        let mut stored = Stored {
            files: files.len() as u64,
            bytes,
            puts: files.iter().map(puts).sum(),
            row_groups: 0,
            columns: BTreeMap::new(),
        };
        if choice.format != Format::Parquet {
            return Ok(stored);
        }
        let hidden = Hidden::new(folder);
        for file in files {
            let bytes = hidden.read(&file.path).await?;
            let footer = ParquetMetaDataReader::new().parse_and_finish(&bytes);
            let footer = footer.context(|| format!("cannot read {}", file.path))?;
            for chunk in footer.row_groups().iter().flat_map(RowGroupMetaData::columns) {
                let column: &mut ColumnBytes = stored.columns.entry(chunk.column_path().string()).or_default();
                column.bytes += chunk.compressed_size().max(0) as u64;
                for encoding in chunk.encodings().map(|encoding| encoding.to_string()) {
                    if !column.encodings.contains(&encoding) {
                        column.encodings.push(encoding);
                    }
                }
            }
            stored.row_groups += footer.num_row_groups() as u64;
        }
        Ok(stored)
    }

    /// Measures a cell once more.
    async fn measure(&mut self, place: usize, choice: &Choice, round: usize) -> Result<()> {
        let (root, folder) = self.folders(choice)?;
        if self.cells[place].writes.len() < round {
            let nowhere = folder.without_writing();
            let run = tokio::task::block_in_place(|| {
                let watch = Stopwatch::start();
                lay::write(self.sample, choice, &nowhere, &self.tools)?;
                Ok::<_, Error>(WriteRun { seconds: watch.seconds(), cpu_seconds: watch.cpu_seconds() })
            })?;
            self.cells[place].writes.push(run);
        }
        if !matches!(choice.format, Format::Parquet | Format::Json | Format::JsonGz) {
            let none = |query: &Query| (query.name.clone(), "no query engine here reads it".to_owned());
            self.cells[place].failed_queries = self.queries.iter().map(none).collect();
            return Ok(());
        }
        for query in self.queries {
            let cell = &self.cells[place];
            let runs = cell.queries.get(&query.name).map_or(0, Vec::len);
            if runs >= round || cell.failed_queries.contains_key(&query.name) {
                continue;
            }
            match self.ask(&root, choice, query).await {
                Ok(run) => self.cells[place].queries.entry(query.name.clone()).or_default().push(run),
                // A statement that is wrong is wrong everywhere.
                Err(error) if error.kind() == ErrorKind::Usage && choice.format == Format::Parquet => {
                    return Err(Error::usage(format!("query {:?}: {}", query.name, describe(&error))));
                }
                Err(error) => {
                    self.cells[place].failed_queries.insert(query.name.clone(), describe(&error));
                }
            }
        }
        Ok(())
    }

    /// Runs a query over the files of a cell by a session of its own: nothing is cached, as where queries are rare.
    async fn ask(&self, root: &Location, choice: &Choice, query: &Query) -> Result<QueryRun> {
        let (counted, counting) = root.counted();
        let mut config = self.config.clone();
        let is_table = choice.format == Format::Parquet;
        let (raw, lake, sql) = if is_table {
            (None, Some(counted), query.sql.clone())
        } else {
            let source = config.sources.entry(self.sample.source_id.clone()).or_default();
            (source.records, source.envelope_fields) = (Some(String::new()), None);
            (Some(counted), None, query.over_raw(&self.sample.source_id))
        };
        let watch = Stopwatch::start();
        let session = SqlSession::open(raw, lake, &config, self.threads, QUERY_BYTES).await?;
        let mut stream = session.query(&sql).await?;
        let mut rows = 0;
        while let Some(batch) = stream.try_next().await.context(|| "the query failed".to_owned())? {
            rows += batch.num_rows() as u64;
        }
        let seconds = watch.seconds();
        let read = counting.take();
        Ok(QueryRun { seconds, rows, bytes: read.bytes, requests: read.requests, log_requests: read.log_requests })
    }
}

/// The peak memory of writing a sample so once, less what this process held before; `None` where the system does not tell.
/// Only right in a process that did nothing else with it. Blocks.
///
/// # Errors
/// When it cannot be written so.
pub fn peak_memory(sample: &Sample, choice: &Choice, threads: usize) -> Result<Option<u64>> {
    let encoders = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let encoders = Arc::new(encoders.context(|| "cannot start threads".to_owned())?);
    let tools = Tools { runtime: Handle::current(), encoders };
    let nowhere = Location::parse("memory:///bench")?.without_writing();
    forget_peak();
    let before = memory();
    lay::write(sample, choice, &nowhere, &tools)?;
    Ok(before.zip(memory()).map(|(before, after)| after.peak_bytes.saturating_sub(before.resident_bytes)))
}

/// Whether a store failed, and not a format.
fn is_of_store(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<std::io::Error>() || inner.is::<object_store::Error>() {
            return true;
        }
        cause = inner.source();
    }
    false
}
