//! Where raw objects and lake tables lie: the one place that turns a URL or a path into a store.

mod counting;
mod discard;
mod durable;
mod exact;
#[cfg(feature = "faults")]
pub mod faults;
mod profile;
mod proof;
mod throttle;
mod uploads;

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::list::PaginatedListStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use url::{Position, Url};

pub use counting::{Counted, Counting};
use discard::Discarding;
use durable::Durable;
pub use exact::Exact;
use profile::Profile;
pub use proof::{Check, Race};
#[cfg(any(feature = "gcp", feature = "azure"))]
use throttle::Throttling;
use uploads::Kept;
pub use uploads::{Upload, Uploads};

use crate::error::{Context, Error, Result};

/// A folder in a store.
#[derive(Clone)]
pub struct Location {
    url: Url,
    store: Arc<dyn ObjectStore>,
    /// The same store, listing page by page; stores over HTTP can.
    pages: Option<Arc<dyn PaginatedListStore>>,
    /// Its unfinished uploads; S3 can tell of them.
    uploads: Option<Arc<Uploads>>,
    local: Option<PathBuf>,
}

impl std::fmt::Debug for Location {
    // The store's own Debug may print credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Location({})", self.url)
    }
}

/// A path without links, as far as it is there.
fn canonical(path: &FsPath) -> Option<PathBuf> {
    path.ancestors().find_map(|there| {
        let (known, rest) = (there.canonicalize().ok()?, path.strip_prefix(there).ok()?);
        // Joined to nothing, it would end with a slash.
        Some(if rest.as_os_str().is_empty() { known } else { known.join(rest) })
    })
}

impl Location {
    /// Opens a local path or a `file://`, `s3://` or `memory://` URL (`gs://`, `az://` with their features).
    ///
    /// Credentials and endpoints come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...), or from the AWS
    /// profile that it names.
    ///
    /// # Errors
    /// `Usage` when the text names no store this build knows, or the profile cannot be used.
    pub fn parse(text: &str) -> Result<Self> {
        if !text.contains("://") {
            return Self::from_path(FsPath::new(text));
        }
        let mut url = Url::parse(text).map_err(|error| Error::usage(format!("that is no URL: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(Error::usage("a URL must hold no credentials and no query: they belong into the environment"));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        match url.scheme() {
            "file" => {
                let path = url.to_file_path().map_err(|()| Error::usage(format!("{text:?} names no local path")))?;
                Self::from_path(&path)
            }
            "memory" => Ok(Self { url, store: Arc::new(InMemory::new()), pages: None, uploads: None, local: None }),
            "s3" | "s3a" => {
                let bucket = url.host_str().ok_or_else(|| Error::usage(format!("{text:?} names no bucket")))?;
                let kept = Kept::default();
                let mut builder = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .with_retry(retries())
                    .with_http_connector(kept.clone());
                for (name, value) in std::env::vars_os() {
                    let is_broken = value.to_str().is_some_and(|value| value.contains(char::is_control));
                    if let Some(name) = name.to_str().filter(|name| name.starts_with("AWS_") && is_broken) {
                        // The client takes it for a header, and aborts.
                        return Err(Error::usage(format!("{name} holds a line break or another control character")));
                    }
                }
                let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                let profile = match is_set("AWS_ACCESS_KEY_ID") {
                    true => Profile::default(),
                    false => Profile::from_env()?,
                };
                if let Some((key_id, secret)) = profile.keys {
                    builder = builder.with_access_key_id(key_id).with_secret_access_key(secret);
                    if let Some(token) = profile.session_token {
                        builder = builder.with_token(token);
                    }
                }
                if let Some(region) = profile.region.filter(|_| !is_set("AWS_REGION") && !is_set("AWS_DEFAULT_REGION"))
                {
                    builder = builder.with_region(region);
                }
                let endpoint = std::env::var("AWS_ENDPOINT_URL_S3").or_else(|_| std::env::var("AWS_ENDPOINT_URL"));
                if let Some(endpoint) = endpoint.ok().or(profile.endpoint_url) {
                    // The client takes it for one, and aborts.
                    if !Url::parse(&endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
                        return Err(Error::usage("AWS_ENDPOINT_URL is no URL that begins with http:// or https://"));
                    }
                    if Url::parse(&endpoint).is_ok_and(|url| !url.username().is_empty() || url.password().is_some()) {
                        return Err(Error::usage(
                            "AWS_ENDPOINT_URL must hold no credentials: they have variables of their own",
                        ));
                    }
                    builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
                }
                let store = builder.build().map_err(|error| Error::usage(format!("cannot open {url}: {error}")))?;
                let store = Arc::new(store);
                let uploads = kept.uploads(&store).map(Arc::new);
                Ok(Self { uploads, ..Self::over_http(url, store) })
            }
            #[cfg(feature = "gcp")]
            "gs" => {
                let builder = object_store::gcp::GoogleCloudStorageBuilder::from_env()
                    .with_url(url.as_str())
                    .with_retry(retries())
                    .with_http_connector(Throttling);
                let store = builder.build().map_err(|error| Error::usage(format!("cannot open {url}: {error}")))?;
                Ok(Self::over_http(url, Arc::new(store)))
            }
            #[cfg(feature = "azure")]
            "az" | "abfs" | "abfss" => {
                let builder = object_store::azure::MicrosoftAzureBuilder::from_env()
                    .with_url(url.as_str())
                    .with_retry(retries())
                    .with_http_connector(Throttling);
                let store = builder.build().map_err(|error| Error::usage(format!("cannot open {url}: {error}")))?;
                Ok(Self::over_http(url, Arc::new(store)))
            }
            scheme => Err(Error::usage(format!("no store for {scheme}:// in this build ({text})"))),
        }
    }

    fn from_path(path: &FsPath) -> Result<Self> {
        let absolute =
            std::path::absolute(path).map_err(|error| Error::usage(format!("bad path {path:?}: {error}")))?;
        // Links are followed for the folder itself, so that it has one name; it may not exist yet.
        let absolute = canonical(&absolute).unwrap_or(absolute);
        let url = Url::from_directory_path(&absolute)
            .map_err(|()| Error::usage(format!("{} is no absolute path", absolute.display())))?;
        Ok(Self { url, store: Arc::new(Durable::default()), pages: None, uploads: None, local: Some(absolute) })
    }

    fn over_http(url: Url, store: Arc<impl ObjectStore + PaginatedListStore>) -> Self {
        Self { url, store: Arc::clone(&store) as _, pages: Some(store), uploads: None, local: None }
    }

    /// A folder in a store that is at hand. `url` must end with a slash.
    pub fn with_store(url: Url, store: Arc<dyn ObjectStore>) -> Self {
        Self { url, store, pages: None, uploads: None, local: None }
    }

    /// Whether one of these folders lies in the other, or is it.
    pub fn overlaps(&self, other: &Self) -> bool {
        let place = |location: &Self| location.url[..Position::BeforePath].to_owned();
        let (mine, theirs) = (self.url.path(), other.url.path());
        place(self) == place(other)
            && self.url.scheme() != "memory"
            && (mine.starts_with(theirs) || theirs.starts_with(mine))
    }

    /// The same folder, where writing and deleting only seem to happen.
    #[must_use]
    pub fn without_writing(&self) -> Self {
        Self { store: Arc::new(Discarding(Arc::clone(&self.store))), ..self.clone() }
    }

    /// The same folder, where what is read is counted.
    #[must_use]
    pub fn counted(&self) -> (Self, Arc<Counting>) {
        let counting = Arc::new(Counting::new(Arc::clone(&self.store)));
        (Self::with_store(self.url.clone(), Arc::clone(&counting) as _), counting)
    }

    /// The folder's URL, ending with a slash.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The store; its paths begin at the bucket or file system root.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The store as one that lists page by page, when it can.
    pub fn pages(&self) -> Option<&Arc<dyn PaginatedListStore>> {
        self.pages.as_ref()
    }

    /// The unfinished uploads of the store, when it can tell of them.
    pub fn uploads(&self) -> Option<&Uploads> {
        self.uploads.as_deref()
    }

    /// The folder in the local file system, when it is there.
    pub fn local(&self) -> Option<&FsPath> {
        self.local.as_deref()
    }

    /// The folder's path in the store.
    ///
    /// # Errors
    /// When the URL's path is none that the store can hold.
    pub fn prefix(&self) -> Result<Path> {
        match &self.local {
            Some(local) => Path::from_absolute_path(local).context(|| format!("bad path {}", local.display())),
            None => Path::from_url_path(self.url.path()).context(|| format!("bad path in {}", self.url)),
        }
    }

    /// A folder or object below this one.
    pub fn child(&self, name: &str) -> Result<Path> {
        let prefix = self.prefix()?;
        let joined = if prefix.as_ref().is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        // Not Path::join, which would encode a name that is encoded already.
        Path::parse(&joined).context(|| format!("bad path {name:?} below {}", self.url))
    }

    /// The folder `name` below this one.
    pub fn folder(&self, name: &str) -> Result<Self> {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .map_err(|()| Error::usage(format!("{} cannot have folders", self.url)))?
            .pop_if_empty()
            .push(name)
            .push("");
        let local = self.local.as_ref().map(|local| local.join(name));
        Ok(Self {
            url,
            store: Arc::clone(&self.store),
            pages: self.pages.clone(),
            uploads: self.uploads.clone(),
            local,
        })
    }
}

/// How often, and for how long, a request is made again: the one place of the project that says so. The stores' clients do
/// it, as they know which requests may be made twice; they wait longer each time, by draws, up to 15 seconds.
///
/// `AWS_MAX_ATTEMPTS` sets how often a request is made at most, as in other tools.
fn retries() -> RetryConfig {
    let default = RetryConfig::default();
    let attempts = std::env::var("AWS_MAX_ATTEMPTS").ok().and_then(|text| text.parse::<usize>().ok());
    // The next wait is drawn from 100 ms to so many times the last one. By twice, the default, waits would hardly grow, and ten
    // retries end within seconds: before a server has started again.
    let backoff = BackoffConfig { base: 4.0, ..default.backoff.clone() };
    let max_retries = attempts.map_or(default.max_retries, |attempts| attempts.saturating_sub(1));
    RetryConfig { max_retries, backoff, ..default }
}
