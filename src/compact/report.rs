//! What a run tells: the summary of section "Commands", as one JSON object or as text.

use serde::{Deserialize, Serialize};

/// How a run or a source ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// All that was new is in the table.
    Success,
    /// Something was quarantined or left for another run.
    PartialSuccess,
    /// Nothing was committed.
    Failed,
}

/// The summary of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The worst of the sources, except that a failed source among others makes a partial success.
    pub status: Status,
    /// The run.
    pub run_id: String,
    /// Each source.
    pub sources: Vec<SourceReport>,
}

/// The summary of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// The source.
    pub source_id: String,
    /// How it ended.
    pub status: Status,
    /// New raw objects consumed.
    pub objects: u64,
    /// Rows added.
    pub success_count: u64,
    /// Rows that went, as the raw objects that they were of changed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_replaced: u64,
    /// Records (or objects) quarantined.
    pub error_count: u64,
    /// Decompressed bytes read.
    pub bytes_in: u64,
    /// Bytes of the files added.
    pub bytes_out: u64,
    /// Files added.
    pub files: u64,
    /// The table's version, when there is a table.
    pub version: Option<u64>,
    /// `+ path type` for an added column, `~ path type -> type` for a promoted one.
    pub schema_changes: Vec<String>,
    /// How long it took.
    pub duration_ms: u64,
    /// What else is worth knowing: choices made, objects passed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Small files that were merged after the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimized: Option<SourceOptimized>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Active files of the table at that version, when they are known without reading the log again.
    #[serde(skip)]
    pub active_files: Option<usize>,
}

/// What merging the small files of one source came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOptimized {
    /// The source.
    pub source_id: String,
    /// How it ended.
    pub status: Status,
    /// Active files before.
    pub files_before: u64,
    /// Active files after.
    pub files_after: u64,
    /// Files whose place was taken.
    pub files_merged: u64,
    /// The files that took it.
    pub files_written: u64,
    /// Their partitions.
    pub partitions: u64,
    /// The rows in them.
    pub rows: u64,
    /// Stored bytes read.
    pub bytes_read: u64,
    /// Stored bytes written.
    pub bytes_written: u64,
    /// Rows taken out as another one had the same key.
    #[serde(default)]
    pub rows_deduplicated: u64,
    /// Commits made.
    pub commits: u64,
    /// The table's version.
    pub version: Option<u64>,
    /// How long it took.
    pub duration_ms: u64,
    /// What else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl SourceOptimized {
    /// A report of nothing done.
    pub fn new(source_id: &str) -> Self {
        Self {
            source_id: source_id.to_owned(),
            status: Status::Success,
            files_before: 0,
            files_after: 0,
            files_merged: 0,
            files_written: 0,
            partitions: 0,
            rows: 0,
            bytes_read: 0,
            bytes_written: 0,
            rows_deduplicated: 0,
            commits: 0,
            version: None,
            duration_ms: 0,
            notes: Vec::new(),
            error: None,
        }
    }
}

impl SourceReport {
    /// A report of nothing done.
    pub fn new(source_id: &str) -> Self {
        Self {
            source_id: source_id.to_owned(),
            status: Status::Success,
            objects: 0,
            success_count: 0,
            rows_replaced: 0,
            error_count: 0,
            bytes_in: 0,
            bytes_out: 0,
            files: 0,
            version: None,
            schema_changes: Vec::new(),
            duration_ms: 0,
            notes: Vec::new(),
            optimized: None,
            error: None,
            active_files: None,
        }
    }
}

impl Report {
    /// Sums sources up.
    pub fn new(run_id: String, sources: Vec<SourceReport>) -> Self {
        let failed = sources.iter().filter(|source| source.status == Status::Failed).count();
        let status = if failed > 0 && failed == sources.len() {
            Status::Failed
        } else if sources.iter().any(|source| source.status != Status::Success) {
            Status::PartialSuccess
        } else {
            Status::Success
        };
        Self { status, run_id, sources }
    }
}
