//! What identifies a raw object, owned or as a part of a batch of many.

use serde::{Deserialize, Serialize};

/// One stored object, identified by key, ETag and size. When it was modified plays no part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RawObject {
    /// The key below the source's folder, as `2025-02/a.json`.
    pub key: String,
    /// The store's ETag; for local files inode, time of modification and size.
    pub etag: String,
    /// Stored bytes.
    pub size_bytes: u64,
}

/// A [`RawObject`] whose texts lie elsewhere. Has the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef<'a> {
    /// The key below the source's folder.
    pub key: &'a str,
    /// The ETag.
    pub etag: &'a str,
    /// Stored bytes.
    pub size_bytes: u64,
}

impl RawObject {
    /// The same without its texts.
    pub fn by_ref(&self) -> ObjectRef<'_> {
        ObjectRef { key: &self.key, etag: &self.etag, size_bytes: self.size_bytes }
    }
}

impl From<ObjectRef<'_>> for RawObject {
    fn from(object: ObjectRef<'_>) -> Self {
        Self { key: object.key.to_owned(), etag: object.etag.to_owned(), size_bytes: object.size_bytes }
    }
}

/// Objects that were listed together. Their texts lie in one piece: listings are long.
#[derive(Debug, Clone, Default)]
pub struct ObjectBatch {
    /// Key and ETag of each object, one behind the other.
    text: String,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    /// Where the key ends in the text.
    key_end: usize,
    /// Where the ETag ends.
    etag_end: usize,
    size_bytes: u64,
}

impl ObjectBatch {
    /// Adds an object. `etag` is put together from parts.
    pub(super) fn push(&mut self, key: &str, etag: std::fmt::Arguments<'_>, size_bytes: u64) {
        self.text.push_str(key);
        let key_end = self.text.len();
        // A String takes whatever is written.
        let _ = std::fmt::Write::write_fmt(&mut self.text, etag);
        self.rows.push(Row { key_end, etag_end: self.text.len(), size_bytes });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The objects, in their order.
    pub fn iter(&self) -> impl Iterator<Item = ObjectRef<'_>> {
        let mut start = 0;
        self.rows.iter().map(move |row| {
            let (key, etag) = (&self.text[start..row.key_end], &self.text[row.key_end..row.etag_end]);
            start = row.etag_end;
            ObjectRef { key, etag, size_bytes: row.size_bytes }
        })
    }
}
