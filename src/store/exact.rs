//! A store to query tables from: bytes that are not there are an error. Readers of Parquet take it for granted that they are given as
//! many as they asked for, and a file that was cut off since it was written has fewer.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Gives all bytes of a range, or none.
#[derive(Debug)]
pub struct Exact(Arc<dyn ObjectStore>);

impl Exact {
    /// The same store for reads of ranges of known lengths.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self(inner)
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn cut_off(at: &Path, asked: &Range<u64>, end: u64) -> Error {
    let why =
        format!("{at} was cut off: it ends at byte {end}, and bytes {} to {} are asked for", asked.start, asked.end);
    Error::Generic { store: "table", source: why.into() }
}

#[async_trait]
impl ObjectStore for Exact {
    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let asked = match &options.range {
            Some(GetRange::Bounded(range)) => Some(range.clone()),
            _ => None,
        };
        let got = self.0.get_opts(at, options).await?;
        match asked {
            Some(asked) if got.range.end < asked.end => Err(cut_off(at, &asked, got.range.end)),
            _ => Ok(got),
        }
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let got = self.0.get_ranges(at, ranges).await?;
        for (asked, bytes) in ranges.iter().zip(&got) {
            let end = asked.start + bytes.len() as u64;
            if end < asked.end {
                return Err(cut_off(at, asked, end));
            }
        }
        Ok(got)
    }

    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(at, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
