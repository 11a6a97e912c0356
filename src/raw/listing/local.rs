//! Files below a folder, in the order of their keys.
//!
//! A folder sorts as its name with a slash behind it: then to walk folder by folder, each in the order of its names, gives
//! the order of whole keys. The names of the folders that lead to one are held, and nothing else of them.

use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, future};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Part;
use crate::error::{Context as _, Error, ErrorKind, Result};

/// Objects that become one batch.
const BATCH_KEYS: usize = 1024;
/// Batches whose files are looked at at once: more than there are cores, as file systems may be far away.
const BATCHES_AT_ONCE: usize = 8;

/// Lists the files below `root`.
pub(super) fn list(root: &Path) -> BoxStream<'static, Result<Part>> {
    let root = root.to_owned();
    let begin = move || {
        let (sender, mut receiver) = mpsc::channel(BATCHES_AT_ONCE);
        let walked = spawn_blocking(move || Walk::run(&root, sender));
        let aborted = || "listing was aborted".to_owned();
        let keys = stream::poll_fn(move |context| receiver.poll_recv(context));
        let parts = keys.map(|keys: Keys| spawn_blocking(move || keys.look_up())).buffered(BATCHES_AT_ONCE);
        // Only the walk itself tells that it has seen all.
        let end = stream::once(walked).filter_map(move |walked| {
            let error = walked.context(aborted).and_then(|walked| walked).err();
            future::ready(error.map(Err))
        });
        parts.map(move |part| part.context(aborted)).chain(end)
    };
    // Threads are taken when the first batch is asked for.
    future::lazy(move |_| begin()).flatten_stream().boxed()
}

pub(super) fn folder_error(folder: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, format!("there is no folder {}", folder.display()))
        }
        std::io::ErrorKind::NotADirectory => {
            Error::new(ErrorKind::NotFound, format!("{} is a file, not a folder", folder.display()))
        }
        _ => Error::failed(format!("cannot list {}", folder.display()), error),
    }
}

/// Whether a folder is a link out of the one it is in.
pub(super) fn leads_out(folder: &Path) -> bool {
    let is_link = std::fs::symlink_metadata(folder).is_ok_and(|data| data.is_symlink());
    let within = folder.parent().and_then(|parent| parent.canonicalize().ok());
    is_link && !within.is_some_and(|parent| folder.canonicalize().is_ok_and(|target| target.starts_with(parent)))
}

/// What stands for the ETag of a local file.
pub(in crate::raw) fn local_etag(metadata: &std::fs::Metadata) -> impl std::fmt::Display {
    let (inode, length) = (metadata.ino(), metadata.len());
    let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    std::fmt::from_fn(move |f| match u64::try_from(modified_ns) {
        Ok(modified_ns) => write!(f, "{inode:x}-{modified_ns:x}-{length:x}"),
        Err(_) => write!(f, "{inode:x}-{modified_ns:x}-{length:x}"),
    })
}

/// The folder of a source.
struct Root {
    path: PathBuf,
    /// The same without links: what links may not lead out of.
    bounds: PathBuf,
}

/// Keys in their order, in one piece.
struct Keys {
    root: Arc<Root>,
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
    skipped: Vec<(String, String)>,
}

impl Keys {
    fn new(root: Arc<Root>) -> Self {
        Self { root, text: String::new(), ends: Vec::with_capacity(BATCH_KEYS), skipped: Vec::new() }
    }

    /// Finds out which are objects. Blocks.
    fn look_up(self) -> Part {
        let mut part = Part { skipped: self.skipped, ..Part::default() };
        let mut start = 0;
        for end in self.ends {
            let key = &self.text[start..end];
            start = end;
            match self.root.metadata(key) {
                Ok(data) => part.objects.push(key, format_args!("{}", local_etag(&data)), data.len()),
                Err(why) => part.skipped.push((key.to_owned(), why)),
            }
        }
        part
    }
}

impl Root {
    /// What there is of the file that a key names; or why it is none.
    fn metadata(&self, key: &str) -> Result<std::fs::Metadata, String> {
        let path = self.path.join(key);
        let found = std::fs::symlink_metadata(&path).map_err(|error| error.to_string())?;
        if found.is_file() {
            return Ok(found);
        }
        if !found.is_symlink() {
            return Err("not a regular file".to_owned());
        }
        let target = path.canonicalize().and_then(|target| Ok((std::fs::metadata(&target)?, target)));
        match target {
            Ok((data, target)) if data.is_file() && target.starts_with(&self.bounds) => Ok(data),
            Ok(_) => Err("a link to a folder or out of the source".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The names in one folder, those of folders with a slash behind them.
#[derive(Default)]
struct Names {
    text: String,
    /// Where each begins and ends, in the order of their bytes.
    ranges: Vec<(usize, usize)>,
}

impl Names {
    /// Reads the names in a folder; those that cannot be keys are told to `skipped`.
    fn read(folder: &Path, mut skipped: impl FnMut(&str, String)) -> Result<Self> {
        let mut names = Self::default();
        for entry in std::fs::read_dir(folder).map_err(|error| folder_error(folder, error))? {
            let entry = entry.context(|| format!("cannot list {}", folder.display()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                skipped(&name.to_string_lossy(), "the name is not UTF-8".to_owned());
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let is_folder = match entry.file_type() {
                Ok(file_type) => file_type.is_dir(),
                Err(error) => {
                    skipped(name, error.to_string());
                    continue;
                }
            };
            let start = names.text.len();
            names.text.push_str(name);
            if is_folder {
                names.text.push('/');
            }
            names.ranges.push((start, names.text.len()));
        }
        let text = names.text.as_bytes();
        names.ranges.sort_unstable_by_key(|(start, end)| &text[*start..*end]);
        Ok(names)
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.ranges.iter().map(|(start, end)| &self.text[*start..*end])
    }
}

/// Goes through folders and hands the keys of all that is no folder on.
struct Walk {
    root: Arc<Root>,
    sender: mpsc::Sender<Keys>,
    /// Those that make the next batch.
    keys: Keys,
}

impl Walk {
    /// Walks until the end, or until nobody takes what is found. Blocks.
    fn run(root: &Path, sender: mpsc::Sender<Keys>) -> Result<()> {
        let bounds = root.canonicalize().map_err(|error| folder_error(root, error))?;
        if leads_out(root) {
            let message = format!("{} is a link out of the raw root, which is not followed", root.display());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let root = Arc::new(Root { path: root.to_owned(), bounds });
        let mut walk = Self { keys: Keys::new(Arc::clone(&root)), root, sender };
        if walk.folder("")?.is_continue() {
            let _ = walk.send();
        }
        Ok(())
    }

    /// `prefix` is empty, or the folder's key with a slash.
    fn folder(&mut self, prefix: &str) -> Result<ControlFlow<()>> {
        let folder = if prefix.is_empty() { self.root.path.clone() } else { self.root.path.join(prefix) };
        let skipped = &mut self.keys.skipped;
        let names = Names::read(&folder, |name, why| skipped.push((format!("{prefix}{name}"), why)))?;
        for name in names.iter() {
            if name.ends_with('/') {
                if self.folder(&format!("{prefix}{name}"))?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                continue;
            }
            self.keys.text.push_str(prefix);
            self.keys.text.push_str(name);
            self.keys.ends.push(self.keys.text.len());
            if self.keys.ends.len() == BATCH_KEYS && self.send().is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Breaks when nobody listens any more.
    fn send(&mut self) -> ControlFlow<()> {
        let keys = std::mem::replace(&mut self.keys, Keys::new(Arc::clone(&self.root)));
        if self.sender.blocking_send(keys).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::list_objects;
    use super::*;
    use crate::raw::RawObject;
    use crate::store::Location;

    /// The objects below a folder, as they are listed.
    fn listed(folder: &Path) -> Vec<RawObject> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let source = Location::parse(folder.to_str().unwrap()).unwrap();
        runtime.block_on(list_objects(&source).unwrap().find(|_| true)).unwrap()
    }

    fn put(folder: &Path, key: &str) -> std::io::Result<()> {
        let path = folder.join(key);
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        std::fs::write(path, key)
    }

    /// A name that sorts before or behind a slash, or is a part of another.
    fn name() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "a",
            "b",
            "A",
            "-",
            ".",
            "/",
            " ",
            "!",
            "0",
            "_",
            "~",
            "é",
            "日",
            "\u{1f600}",
            "\u{ff5e}",
        ]);
        prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_walk_gives_the_keys_in_the_order_of_their_bytes(keys in prop::collection::btree_set(name(), 1..60)) {
            let folder = tempfile::tempdir().unwrap();
            let is_key = |key: &&String| key.split('/').all(|name| !name.is_empty() && !name.starts_with('.'));
            // A name is that of a file or of a folder, whichever comes first.
            let there = keys.iter().filter(is_key).filter(|key| put(folder.path(), key).is_ok());
            let there: BTreeSet<&String> = there.collect();
            let found = listed(folder.path());
            let found: Vec<&String> = found.iter().map(|object| &object.key).collect();
            prop_assert_eq!(found, there.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn keys_come_in_order_and_whole_through_many_batches() {
        let folder = tempfile::tempdir().unwrap();
        let mut keys: Vec<String> = (0..3 * BATCH_KEYS).map(|n| format!("{:02x}/{n}.json", n % 37)).collect();
        keys.iter().for_each(|key| put(folder.path(), key).unwrap());
        keys.sort();
        let found = listed(folder.path());
        assert_eq!(found.iter().map(|object| object.key.clone()).collect::<Vec<_>>(), keys);
        assert!(found.iter().all(|object| object.size_bytes == object.key.len() as u64));
    }

    #[test]
    fn the_etag_of_a_file_is_its_inode_time_and_size() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "a").unwrap();
        let file = std::fs::File::options().write(true).open(folder.path().join("a")).unwrap();
        let inode = file.metadata().unwrap().ino();
        for (modified, text) in [
            (std::time::UNIX_EPOCH + std::time::Duration::from_nanos(0x1_2345_6789), "123456789"),
            (std::time::UNIX_EPOCH - std::time::Duration::from_nanos(1), "ffffffffffffffffffffffffffffffff"),
        ] {
            file.set_modified(modified).unwrap();
            assert_eq!(listed(folder.path())[0].etag, format!("{inode:x}-{text}-1"));
        }
    }

    #[test]
    fn a_listing_that_nobody_reads_to_its_end_stops() {
        let folder = tempfile::tempdir().unwrap();
        (0..20 * BATCH_KEYS).for_each(|n| put(folder.path(), &n.to_string()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let source = Location::parse(folder.path().to_str().unwrap()).unwrap();
        runtime.block_on(async {
            let mut listing = list_objects(&source).unwrap();
            assert_eq!(listing.next().await.unwrap().unwrap().len(), BATCH_KEYS);
        });
        // Waits for the threads: they would never end.
        drop(runtime);
    }
}
