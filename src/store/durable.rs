//! Local files that outlast a power failure: whatever is written is on the disk before it has its name, and its name is on
//! the disk before the write is said to be done.
//!
//! `LocalFileSystem` does neither. After a power failure a log entry could be there and empty, which is worse than absent: no
//! reader could read the table any more.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path as FsPath, PathBuf};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// The local file system, with every write flushed.
#[derive(Debug, Default)]
pub(super) struct Durable(LocalFileSystem);

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Durable {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let is_new = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.0.put_opts(at, payload, options).await,
        };
        let path = self.0.path_to_filesystem(at)?;
        blocking(move || match put(&path, &payload, is_new) {
            Ok(()) => Ok(()),
            Err(source) if is_new && source.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists { path: path.display().to_string(), source: source.into() })
            }
            Err(source) => Err(failed("write", &path, &source)),
        })
        .await?;
        let e_tag = self.0.head(at).await.ok().and_then(|meta| meta.e_tag);
        Ok(PutResult { e_tag, version: None })
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let path = self.0.path_to_filesystem(at)?;
        Ok(Box::new(Upload { inner: self.0.put_multipart_opts(at, options).await?, path }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(at, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// An upload that is on the disk when it is complete. No commit names its object before.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.inner.complete().await?;
        let path = self.path.clone();
        blocking(move || {
            let flushed = File::open(&path).and_then(|file| file.sync_all()).and_then(|()| flush_folders(&path, None));
            flushed.map_err(|source| failed("flush", &path, &source))
        })
        .await?;
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn failed(what: &str, path: &FsPath, source: &io::Error) -> Error {
    let text = format!("cannot {what} {}: {source}", path.display());
    Error::Generic { store: "LocalFileSystem", source: Box::new(io::Error::new(source.kind(), text)) }
}

/// Writes a file under another name, flushes it, and then gives it its name: only if that is free, with `is_new`.
fn put(path: &FsPath, payload: &PutPayload, is_new: bool) -> io::Result<()> {
    let mut made = None;
    let (mut file, staged) = loop {
        match stage(path) {
            Ok(staged) => break staged,
            Err(error) if error.kind() == io::ErrorKind::NotFound && made.is_none() => {
                let parent = path.parent().unwrap_or(path);
                // The lowest folder that is there already: its entry for the next one is to be flushed, too.
                made = Some(parent.ancestors().find(|folder| folder.exists()).unwrap_or(parent).to_owned());
                std::fs::create_dir_all(parent)?;
            }
            Err(error) => return Err(error),
        }
    };
    let stored = payload.iter().try_for_each(|bytes| file.write_all(bytes)).and_then(|()| file.sync_all());
    drop(file);
    let named = stored.and_then(|()| match is_new {
        true => std::fs::hard_link(&staged, path),
        false => std::fs::rename(&staged, path),
    });
    if is_new || named.is_err() {
        // What stays is hidden from listings by its name.
        let _ = std::fs::remove_file(&staged);
    }
    named?;
    flush_folders(path, made.as_deref())
}

/// A new file beside `path`, under a name that listings do not show.
fn stage(path: &FsPath) -> io::Result<(File, PathBuf)> {
    for n in 1_u64.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("#{n}"));
        let staged = PathBuf::from(name);
        match File::options().write(true).create_new(true).open(&staged) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((opened?, staged)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Flushes the folder of `path`, and those above it as far as `up_to`.
fn flush_folders(path: &FsPath, up_to: Option<&FsPath>) -> io::Result<()> {
    for folder in path.ancestors().skip(1) {
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            // Some file systems know no flushing of folders.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
            flushed => flushed?,
        }
        if up_to.is_none_or(|up_to| folder == up_to) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn objects_are_written_read_replaced_and_never_created_twice() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Durable::default();
        let at = Path::from_absolute_path(folder.path().join("a/b/c.json")).unwrap();
        let create = || PutOptions::from(PutMode::Create);
        store.put_opts(&at, "one".into(), create()).await.unwrap();
        let again = store.put_opts(&at, "two".into(), create()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), "one");
        let put = store.put(&at, "three".into()).await.unwrap();
        assert_eq!(put.e_tag, store.head(&at).await.unwrap().e_tag);
        assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), "three");
        let mut upload = store.put_multipart(&at).await.unwrap();
        upload.put_part("fo".into()).await.unwrap();
        upload.put_part("ur".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), "four");
        assert_eq!(std::fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn of_many_that_create_one_object_one_wins_and_it_is_whole() {
        let folder = tempfile::TempDir::new().unwrap();
        for round in 0..10 {
            let at = Path::from_absolute_path(folder.path().join(format!("{round}/x"))).unwrap();
            let racers = (0..16_u8).map(|n| {
                let at = at.clone();
                tokio::spawn(async move {
                    let payload = vec![n; 10_000];
                    Durable::default().put_opts(&at, payload.into(), PutOptions::from(PutMode::Create)).await.map(|_| n)
                })
            });
            let ended = futures::future::join_all(racers).await;
            let won: Vec<u8> = ended.into_iter().filter_map(|ended| ended.unwrap().ok()).collect();
            let [winner] = won[..] else { panic!("{won:?} won") };
            assert_eq!(std::fs::read(folder.path().join(format!("{round}/x"))).unwrap(), vec![winner; 10_000]);
        }
    }
}
