//! What a check can find wrong, as plain data.

use std::collections::BTreeMap;

use serde::Serialize;

/// So many findings of one kind are kept; further ones are counted.
const MAX_OF_A_KIND: u64 = 1_000;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Not as Siltstone writes it, but no reader known here is misled by it.
    Warning,
    /// Something is lost, contradicts itself, or a reader refuses or misreads it.
    Error,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The folder holds no Delta table.
    NoTable,
    /// The Delta log cannot be read or contradicts itself.
    Log,
    /// The table asks more of readers than reader version 1.
    Protocol,
    /// The partition columns of the log are not those of the registry.
    PartitionColumns,
    /// The Delta schema is not the one that follows from the registry.
    TableSchema,
    /// A partition value of a file is none that its column can have.
    PartitionValue,
    /// A file lies in another folder than its partition values lead to.
    PartitionFolder,
    /// A file that the log or the ledger names is not there.
    Missing,
    /// The store gives no file for another reason.
    Unreadable,
    /// A data file has another size than the log says.
    Size,
    /// A data file has no readable Parquet footer.
    Footer,
    /// The log and a footer do not agree on the number of rows.
    Rows,
    /// Bounds or null counts of the log are not those of the file.
    Statistics,
    /// A data file holds a column that the table has not.
    UnknownColumn,
    /// A column name is not `[a-z0-9_]` of at most 255 bytes.
    ColumnName,
    /// Two columns of one level have the same name but for case.
    DuplicateColumn,
    /// A data file holds a partition column.
    PartitionInFile,
    /// A column is stored under another type than the table's.
    ColumnType,
    /// A list or a map is not stored in three levels under the standard names.
    NestedLayout,
    /// The values of a map lack a struct field of the table.
    MapField,
    /// A head of the ledger is damaged or contradicts itself or its parent.
    Head,
    /// The registry cannot be read.
    Registry,
    /// A segment of the ledger cannot be read, is not sorted, or has another number of entries than the head says.
    Segment,
    /// A raw object is in the ledger twice.
    ConsumedTwice,
    /// Records found are not rows and rejects together, or sums do not agree.
    Books,
    /// A quarantine file is damaged.
    Quarantine,
    /// The record of where the rows of a merged file came from is gone, damaged, or tells what cannot be.
    Origins,
    /// Rows of a data file are others than the raw objects give.
    RawRows,
    /// A raw object gives other rows than were taken in.
    RawObject,
}

/// What some readers make of what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// The readers, as `Trino, Athena`.
    pub readers: &'static str,
    /// What they do.
    pub effect: String,
}

impl Effect {
    /// What `readers` do.
    pub(super) fn new(readers: &'static str, effect: impl Into<String>) -> Self {
        Self { readers, effect: effect.into() }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub kind: FindingKind,
    /// The file or object, below the table's folder.
    pub path: String,
    /// The column, as `a.b[].c` (`[]` for the elements of a list, `{}` for the values of a map).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What is wrong with it.
    pub reason: String,
    /// What readers make of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

impl Finding {
    /// An error without a column.
    pub(crate) fn error(kind: FindingKind, path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            kind,
            path: path.into(),
            column: None,
            reason: reason.into(),
            effects: Vec::new(),
        }
    }

    /// The same as a warning.
    pub(super) fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// The same of a column.
    pub(crate) fn of_column(self, column: impl Into<String>) -> Self {
        Self { column: Some(column.into()), ..self }
    }

    /// The same with what readers make of it.
    pub(super) fn with(self, effects: impl IntoIterator<Item = Effect>) -> Self {
        Self { effects: effects.into_iter().collect(), ..self }
    }
}

/// Findings as they come, bounded for each kind.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) list: Vec<Finding>,
    pub(super) left_out: u64,
    counts: BTreeMap<FindingKind, u64>,
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.kind).or_default();
        *count += 1;
        if *count > MAX_OF_A_KIND {
            self.left_out += 1;
        } else {
            self.list.push(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_findings_of_a_kind_only_the_first_are_kept() {
        let mut found = Findings::default();
        for n in 0..MAX_OF_A_KIND + 5 {
            found.push(Finding::error(FindingKind::Missing, format!("{n}"), "gone"));
        }
        found.push(Finding::error(FindingKind::Size, "x", "grown"));
        assert_eq!((found.list.len() as u64, found.left_out), (MAX_OF_A_KIND + 1, 5));
    }
}
