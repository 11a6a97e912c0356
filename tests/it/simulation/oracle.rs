//! What must be true of the table, whatever happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use siltstone::compact::{Silent, compact};
use siltstone::lake::{Entry, Head, Hidden, Merged, Table, verify};
use siltstone::maintain::verify_deep;
use siltstone::raw::RawObject;

use super::work::Rows;
use super::world::{PROVENANCE, World};

impl World {
    /// Checks everything that must be true after every step.
    pub(super) fn check(&mut self) {
        let (files, heads) = self.replay_log();
        let table =
            self.runtime.block_on(Table::open(self.table())).unwrap_or_else(|e| panic!("{e}, {}", self.place()));
        if files.is_empty() && heads.is_empty() {
            assert_eq!(table.version(), None, "{}", self.place());
            return;
        }
        // What a checkpoint says is what the whole log says.
        let active = table.files().unwrap().into_iter().map(|file| (file.path, file.size_bytes));
        assert_eq!(active.collect::<BTreeMap<_, _>>(), files, "{}", self.place());
        for (path, size) in &files {
            let found = self.runtime.block_on(self.store.head(&self.below_table(path)));
            assert!(found.is_ok_and(|meta: ObjectMeta| meta.size == *size), "{path}, {}", self.place());
        }
        let verified = self.runtime.block_on(verify(&self.table())).unwrap();
        assert_eq!(verified.findings, [], "{}", self.place());

        self.check_time_travel();
        let entries = self.check_ledger(&table, &heads);
        let rows = self.table_rows(&files.keys().map(|path| self.below_table(path)).collect::<Vec<_>>());
        self.check_provenance(&entries, &rows, heads.last().map_or(0, |id| self.heads[id].totals.deduplicated));
        let ids: Vec<i64> = rows.iter().map(|(id, _)| *id).collect();
        let kept: BTreeSet<i64> = ids.iter().copied().collect();
        for id in &self.rows {
            assert!(self.is_replaced(*id) || self.is_accounted(*id, &kept), "row {id} was lost, {}", self.place());
        }
        self.check_told(&ids, &heads);
        (self.rows, self.told) = (ids, (Rows::default(), true));
    }

    /// Checks that what runs told is what happened to rows, now `ids`; a run that could not tell may have done more.
    fn check_told(&mut self, ids: &[i64], heads: &[i64]) {
        let deduplicated = heads.last().map_or(0, |id| self.heads[id].totals.deduplicated);
        let mut done = Rows { added: ids.len() as u64 + deduplicated, replaced: 0 };
        for gone in heads.iter().filter_map(|id| self.heads[id].taken_out) {
            done += Rows { added: gone.rows_out, replaced: gone.rows_out - gone.deduplicated };
        }
        let now = Rows { added: done.added - self.done.added, replaced: done.replaced - self.done.replaced };
        let (told, is_all) = self.told;
        let is_possible = now.added >= told.added && now.replaced >= told.replaced;
        assert!(if is_all { now == told } else { is_possible }, "{now:?}, told {told:?}, {}", self.place());
        self.done = done;
    }

    /// Checks what must be true once a run without faults has ended.
    pub(super) fn check_complete(&self) {
        let (files, _) = self.replay_log();
        let rows = self.table_rows(&files.keys().map(|path| self.below_table(path)).collect::<Vec<_>>());
        let there: BTreeSet<i64> = rows.iter().map(|(id, _)| *id).collect();
        for (key, versions) in &self.stored {
            let is_there = self.read(&Path::from(format!("raw/s/{key}"))).is_some();
            let consumed = self.consumed.get(key);
            assert!(consumed.is_some() || !is_there, "{key} is not in the table, {}", self.place());
            let is_last = consumed == Some(&(versions.len() - 1));
            assert!(is_last || !is_there || !self.is_replacing, "{key} is there as it was, {}", self.place());
        }
        self.check_deep();
        if !self.is_stable {
            return;
        }
        // One undisturbed run over the same objects gives the same rows, to the last digit.
        let mut request = self.request(self.sound());
        request.lake = Self::location(self.sound(), "fresh");
        let report = self.runtime.block_on(compact(&request, &siltstone::clock::SystemClock, &Silent)).unwrap();
        assert_eq!(report.sources[0].error, None);
        let table = Table::open(request.lake.folder("s").unwrap());
        let fresh = self.runtime.block_on(table).unwrap().files().unwrap();
        let paths: Vec<Path> =
            fresh.iter().map(|file| Path::from_url_path(format!("fresh/s/{}", file.path)).unwrap()).collect();
        let mut fresh = self.table_rows(&paths);
        fresh.retain(|(id, _)| there.contains(id));
        for (one, other) in rows.iter().zip(&fresh) {
            assert_eq!(one, other, "{}", self.place());
        }
        assert_eq!(rows.len(), fresh.len(), "{}", self.place());
    }

    /// Checks all rows against the raw objects that are still there.
    fn check_deep(&self) {
        let raw = Self::location(self.sound(), "raw").folder("s").unwrap();
        let settings = self.request(self.sound()).config.settings("s").unwrap();
        let deep = self.runtime.block_on(verify_deep(&raw, &self.table(), &settings, 1)).unwrap();
        assert_eq!(deep.findings, [], "{}", self.place());
        assert!(!self.is_stable || deep.rows_unread == 0, "{deep:?}, {}", self.place());
    }

    fn below_table(&self, path: &str) -> Path {
        Path::parse(format!("lake/s/{path}")).unwrap()
    }

    /// The files and their sizes, and the heads, by the entries of the log from the first on, without any checkpoint.
    fn replay_log(&self) -> (BTreeMap<String, u64>, Vec<i64>) {
        let (mut files, mut heads) = (BTreeMap::new(), Vec::new());
        for actions in self.log_entries() {
            for action in &actions {
                if let Some(remove) = action.get("remove") {
                    let removed = files.remove(&decoded(&remove["path"]));
                    assert!(removed.is_some(), "{remove}, {}", self.place());
                }
            }
            for action in &actions {
                if let Some(add) = action.get("add") {
                    let before = files.insert(decoded(&add["path"]), add["size"].as_u64().unwrap());
                    assert_eq!(before, None, "{add}, {}", self.place());
                }
                if let Some(txn) = action.get("txn") {
                    heads.push(txn["version"].as_i64().unwrap());
                }
            }
        }
        // An optimize names the head that there was.
        heads.dedup();
        (files, heads)
    }

    /// Checks that versions which were current within the retention of every vacuum can still be read.
    fn check_time_travel(&self) {
        let (mut files, mut versions) = (BTreeSet::new(), Vec::new());
        for (version, actions) in self.log_entries().iter().enumerate() {
            let paths = |kind: &str| -> Vec<String> {
                actions.iter().filter_map(|action| action.get(kind)).map(|file| decoded(&file["path"])).collect()
            };
            let removed = paths("remove");
            files.retain(|path| !removed.contains(path));
            files.extend(paths("add"));
            let path = Path::from(format!("lake/s/_delta_log/{version:020}.json"));
            let meta = self.runtime.block_on(self.store.head(&path)).unwrap();
            versions.push((meta.last_modified.timestamp_micros(), files.clone()));
        }
        let since = self.time.load(Ordering::SeqCst) - 24 * 3_600_000_000;
        let ended = versions.iter().skip(1).map(|(at, _)| *at).chain([i64::MAX]);
        let needed: BTreeSet<&String> =
            versions.iter().zip(ended).filter(|(_, ended)| *ended > since).flat_map(|((_, files), _)| files).collect();
        for path in needed {
            let found = self.runtime.block_on(self.store.head(&self.below_table(path)));
            assert!(found.is_ok(), "{path} of a version within the retention, {}", self.place());
        }
    }

    /// Checks after a vacuum that no data file is there but those of the table.
    pub(super) fn check_swept(&self) {
        let (files, _) = self.replay_log();
        let listed = self.store.list(Some(&Path::from("lake/s"))).try_collect::<Vec<_>>();
        for meta in self.runtime.block_on(listed).unwrap() {
            let path = meta.location.as_ref().strip_prefix("lake/s/").unwrap();
            assert!(path.starts_with('_') || files.contains_key(path), "{path} was left, {}", self.place());
        }
    }

    /// The entries of the ledger, which is what the commits say.
    fn check_ledger(&mut self, table: &Table, heads: &[i64]) -> Vec<Entry> {
        let hidden = Hidden::new(&self.table());
        let mut seen = std::mem::take(&mut self.heads);
        let entries = self.runtime.block_on(async {
            assert_eq!(table.ledger_head().await.unwrap(), heads.last().copied(), "{}", self.place());
            let mut parent = None;
            let mut segments = Vec::new();
            let mut objects = 0;
            for id in heads {
                let head = match seen.get(id) {
                    Some(head) => head.clone(),
                    None => hidden.read_json::<Head>(&Hidden::head_path(*id)).await.unwrap(),
                };
                seen.insert(*id, head.clone());
                assert_eq!((head.id, head.parent), (*id, parent), "{}", self.place());
                assert!(head.totals.objects >= objects, "{}", self.place());
                (parent, segments, objects) = (Some(*id), head.segments, head.totals.objects);
            }
            let mut merged = Merged::open(&hidden, &segments).await.unwrap();
            let mut entries = Vec::new();
            while let Some(entry) = merged.next().await.unwrap() {
                entries.push(entry);
            }
            assert_eq!(entries.len() as u64, objects, "{}", self.place());
            entries
        });
        self.heads = seen;
        entries
    }

    /// Whether the row of a record is there, or was taken out for one with the same key that counts more.
    fn is_accounted(&self, id: i64, there: &BTreeSet<i64>) -> bool {
        let is_twin = |other: &i64| self.twins.get(other).is_some_and(|twin| Some(twin) == self.twins.get(&id));
        // That one may be replaced by now.
        let is_outdone = || self.is_replacing && self.twins.range(id + 1..).any(|(other, _)| is_twin(other));
        there.contains(&id) || there.range(id + 1..).any(is_twin) || is_outdone()
    }

    /// Whether a later version of its object was consumed than the one with the record.
    fn is_replaced(&self, id: i64) -> bool {
        self.is_replacing
            && self
                .consumed
                .iter()
                .any(|(key, last)| self.stored[key][..*last].iter().any(|content| content.ids.contains(&id)))
    }

    /// Which version of an object has its ETag.
    fn version_of(&mut self, object: &RawObject) -> usize {
        let versions = self.stored.get_mut(&object.key).unwrap();
        let known = versions.iter().position(|content| content.etags.contains(&object.etag));
        known.unwrap_or_else(|| {
            // While runs go on, objects are only written again as they are.
            let last = versions.len() - 1;
            versions[last].etags.push(object.etag.clone());
            last
        })
    }

    /// Of each consumed object, the rows of the version that the ledger names, each once; of others, none.
    fn check_provenance(&mut self, entries: &[Entry], rows: &[(i64, Value)], deduplicated: u64) {
        for pair in rows.windows(2) {
            assert_ne!(pair[0].0, pair[1].0, "a row is there twice, {}", self.place());
        }
        let there: BTreeSet<i64> = rows.iter().map(|(id, _)| *id).collect();
        let mut expected = BTreeMap::new();
        let mut keys = BTreeSet::new();
        for entry in entries {
            let key = &entry.object.key;
            assert!(keys.insert(key), "{key} was consumed twice, {}", self.place());
            assert!(self.stored.contains_key(key), "{key} was never stored, {}", self.place());
            let version = self.version_of(&entry.object);
            let content = &self.stored[key][version];
            let is_whole = content.ids.iter().all(|id| self.is_accounted(*id, &there));
            assert!(is_whole, "version {version} of {key} is not there, {}", self.place());
            assert_eq!((entry.rows_out, entry.quarantined), (content.ids.len() as u64, content.malformed), "{key}");
            expected.extend(content.ids.iter().map(|id| (*id, key)));
            let before = self.consumed.get(key).copied().unwrap_or(version);
            let is_later = if self.is_replacing { version >= before } else { version == before };
            assert!(is_later, "{key} went from version {before} to {version}, {}", self.place());
            self.consumed.insert(key.clone(), version);
        }
        assert!(self.consumed.keys().all(|key| keys.contains(key)), "an object is forgotten, {}", self.place());
        for (id, row) in rows {
            assert!(expected.contains_key(id), "row {id} is of no consumed object, {}", self.place());
            let named = self.is_replacing.then_some(expected[id].as_str());
            assert_eq!(row[PROVENANCE].as_str(), named, "row {id}, {}", self.place());
        }
        assert_eq!(rows.len() + deduplicated as usize, expected.len(), "{}", self.place());
    }

    /// The rows of data files, by `id`, without nulls.
    fn table_rows(&self, files: &[Path]) -> Vec<(i64, Value)> {
        let mut rows = Vec::new();
        for path in files {
            let bytes = self.read(path).unwrap_or_else(|| panic!("{path} is not there, {}", self.place()));
            for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
                add_rows(&batch.unwrap(), &mut rows);
            }
        }
        rows.sort_by_key(|(id, _)| *id);
        rows
    }
}

/// A path of the log as the store has it.
fn decoded(path: &Value) -> String {
    percent_encoding::percent_decode_str(path.as_str().unwrap()).decode_utf8().unwrap().into_owned()
}

fn add_rows(batch: &RecordBatch, rows: &mut Vec<(i64, Value)>) {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    for line in String::from_utf8(writer.into_inner()).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        rows.push((row["id"].as_i64().unwrap(), row));
    }
}
