//! Uploads in parts to S3 that were begun and never finished: their parts are stored and paid for, and no listing of objects
//! shows them. The client of the store can give one up, but not list them; so that one request is made here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::DateTime;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody};
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::signer::Signer as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::throttle::Throttling;
use crate::error::{Context as _, Error, ErrorKind, Result};

/// What stands as it is in the query of a request.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// So many uploads are listed at a time.
const PAGE: usize = 1000;

/// An upload that was not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The object that it was to become.
    pub key: String,
    /// What the store calls it.
    pub id: String,
    /// When it was begun, in milliseconds since 1970-01-01T00:00:00Z.
    pub begun_ms: i64,
}

/// The unfinished uploads of a bucket.
pub struct Uploads {
    store: Arc<AmazonS3>,
    client: HttpClient,
}

impl std::fmt::Debug for Uploads {
    // The store's own Debug may print credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Uploads")
    }
}

/// Makes clients, and keeps the last one: that of the store itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Option<HttpClient>>>);

impl HttpConnector for Kept {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = Throttling.connect(options)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }
}

impl Kept {
    /// The uploads to a store whose client was made here.
    pub(super) fn uploads(&self, store: &Arc<AmazonS3>) -> Option<Uploads> {
        let client = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Uploads { store: Arc::clone(store), client })
    }
}

impl Uploads {
    /// Those to objects whose keys begin with `prefix`.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Upload>> {
        let mut found = Vec::new();
        let mut behind = None;
        loop {
            let page = self.page(prefix, behind.as_ref()).await?;
            let is_whole = text_of(&page, "IsTruncated").is_none_or(|text| text != "true");
            for upload in page.split("<Upload>").skip(1).filter_map(|text| text.split("</Upload>").next()) {
                found.push(read(upload).ok_or_else(|| refused("its answer is none that is known"))?);
            }
            let next = text_of(&page, "NextKeyMarker").zip(text_of(&page, "NextUploadIdMarker"));
            match next.filter(|next| !is_whole && behind.as_ref() != Some(next)) {
                Some(next) => behind = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// Gives an upload up: its parts are deleted.
    ///
    /// # Errors
    /// When that fails.
    pub async fn abort(&self, upload: &Upload) -> Result<()> {
        let describe = || format!("cannot give up the unfinished upload of {}", upload.key);
        let path = Path::parse(&upload.key).context(describe)?;
        match self.store.abort_multipart(&path, &upload.id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::failed(describe(), error)),
        }
    }

    async fn page(&self, prefix: &str, behind: Option<&(String, String)>) -> Result<String> {
        let describe = || "cannot list unfinished uploads".to_owned();
        let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
        let mut query = format!("uploads=&max-uploads={PAGE}&prefix={}", encode(prefix));
        if let Some((key, id)) = behind {
            query.push_str(&format!("&key-marker={}&upload-id-marker={}", encode(key), encode(id)));
        }
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        let (mut url, region) = self.bucket(&request).await?;
        url.set_query(Some(&query));
        *request.uri_mut() = url.as_str().parse().context(describe)?;
        let credential = self.store.credentials().get_credential().await.context(describe)?;
        AwsAuthorizer::new(&credential, "s3", &region).authorize(&mut request, None);
        let answer = self.client.execute(request).await.context(describe)?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.context(describe)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        if !status.is_success() {
            let code = text_of(&body, "Code").unwrap_or_default();
            return Err(refused(&format!("{status} {code}")));
        }
        Ok(body)
    }

    /// The URL of the bucket, and its region: both stand in a signed URL.
    async fn bucket(&self, request: &HttpRequest) -> Result<(Url, String)> {
        let signed = self.store.signed_url(request.method().clone(), &Path::default(), Duration::from_secs(60)).await;
        let mut url = signed.context(|| "cannot list unfinished uploads".to_owned())?;
        let scope = url.query_pairs().find(|(name, _)| name == "X-Amz-Credential");
        let region = scope.and_then(|(_, scope)| scope.rsplit('/').nth(2).map(str::to_owned));
        url.set_query(None);
        Ok((url, region.ok_or_else(|| refused("its region is not known"))?))
    }
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Failed, format!("the store does not list unfinished uploads: {why}"))
}

fn read(upload: &str) -> Option<Upload> {
    let begun = DateTime::parse_from_rfc3339(&text_of(upload, "Initiated")?).ok()?;
    Some(Upload { key: text_of(upload, "Key")?, id: text_of(upload, "UploadId")?, begun_ms: begun.timestamp_millis() })
}

/// The text of the first element of that name.
fn text_of(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(unescape(text))
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let Some((name, behind)) = after.split_once(';') else {
            rest = &rest[before.len()..];
            break;
        };
        let number = |text: &str, radix| u32::from_str_radix(text, radix).ok().and_then(char::from_u32);
        let one = match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => name.strip_prefix('#').and_then(|digits| match digits.strip_prefix('x') {
                Some(digits) => number(digits, 16),
                None => number(digits, 10),
            }),
        };
        plain.extend(one);
        rest = behind;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_read_whatever_its_key() {
        let xml = "<Key>a/b=1/x &amp; &#x79;&#228;&lt;&gt;&quot;&apos;.parquet</Key><UploadId>id/1+2</UploadId>\
                   <Initiated>2025-02-04T05:06:07.000Z</Initiated>";
        let expected = Upload {
            key: "a/b=1/x & yä<>\"'.parquet".to_owned(),
            id: "id/1+2".to_owned(),
            begun_ms: 1_738_645_567_000,
        };
        assert_eq!(read(xml), Some(expected));
        assert_eq!(read("<Key>a</Key><UploadId>1</UploadId>"), None);
        assert_eq!(unescape("a&b"), "a&b");
    }
}
