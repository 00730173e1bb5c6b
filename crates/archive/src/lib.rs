//! Logs and records of runs in an object store: S3, GCS, Azure or files. `ompipe-core` says what is
//! stored under which name; this crate stores and reads it.
//!
//! ```text
//!  log of a pod ──► LogWriter ──► pages, index ──► ArchivedLog ──► page n, whole log
//!  objects of a run ────────────► run.json ──────► records, newest first
//! ```

mod cache;
mod error;
mod gzip;
mod lists;
mod pipelines;
mod reader;
mod records;
mod retention;
mod writer;

use std::fmt;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetResult, ObjectStore, ObjectStoreExt, PutPayload};
use url::Url;

use cache::Cache;
pub use error::{BadUrl, Error, Result};
pub use lists::Window;
pub use reader::{ArchivedLog, Span};
pub use retention::{Keep, Swept};
pub use writer::LogWriter;

/// Variables of the environment that the clients of the stores read, such as `AWS_ACCESS_KEY_ID`.
const VARIABLES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// Checks a URL as far as that is possible without the environment.
///
/// # Errors
/// It names no archive.
pub fn check_url(url: &str) -> std::result::Result<Url, BadUrl> {
    let parsed = Url::parse(url).map_err(|_| BadUrl::NotAUrl)?;
    if !["s3", "gs", "az", "file"].contains(&parsed.scheme()) {
        return Err(BadUrl::Scheme);
    }
    if parsed.query().is_some() || parsed.password().is_some() || !parsed.username().is_empty() {
        return Err(BadUrl::Extra);
    }
    Ok(parsed)
}

/// The place where logs and records are kept.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// Where that is, for people.
    url: String,
    /// What readers were told, where that may be a moment old.
    cache: Option<Arc<Cache>>,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Archive {
    /// The archive at a URL: `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///directory`. Nothing is
    /// called yet. Credentials, endpoint and region are in `environment`, under the names that these
    /// stores' own tools use.
    ///
    /// # Errors
    /// The URL names no store, or the environment does not fit it.
    pub fn open(
        url: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> std::result::Result<Self, BadUrl> {
        let parsed = check_url(url)?;
        let is_read = |name: &str| VARIABLES.iter().any(|prefix| name.starts_with(prefix));
        let variables = environment.into_iter().filter(|(name, _)| is_read(name));
        let (store, root) = object_store::parse_url_opts(&parsed, variables)?;
        let store: Arc<dyn ObjectStore> = match parsed.scheme() {
            // Directories that are empty would be listed for ever.
            "file" => Arc::new(LocalFileSystem::new().with_automatic_cleanup(true)),
            _ => store.into(),
        };
        Ok(Self { store, root, url: url.to_owned(), cache: None })
    }

    /// As [`Self::open`], with the environment of this process.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_environment(url: &str) -> std::result::Result<Self, BadUrl> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::open(url, variables)
    }

    /// An archive in a store that there is already.
    #[must_use]
    pub fn within(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, root: Path::default(), url: "a store of the caller".to_owned(), cache: None }
    }

    /// The same for many readers: where a log is, and how far, may be a moment old. Then a page is one
    /// request, whoever else reads the log.
    #[must_use]
    pub fn cached(self) -> Self {
        Self { cache: Some(Arc::default()), ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The path of an object or folder, whose parts are separated by `/`.
    fn path(&self, below: &str) -> Path {
        below.split('/').fold(self.root.clone(), Path::join)
    }

    async fn read(&self, path: &Path) -> Result<Option<GetResult>> {
        match self.store.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn write(&self, path: &Path, bytes: Vec<u8>) -> Result<()> {
        self.store.put(path, PutPayload::from(bytes)).await?;
        Ok(())
    }

    /// Removes an object, if it is there.
    async fn remove(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Names of the folders in a folder.
    async fn folders(&self, path: &Path) -> Result<Vec<String>> {
        let listed = self.store.list_with_delimiter(Some(path)).await?;
        let names = listed.common_prefixes.iter().filter_map(|prefix| prefix.parts().next_back());
        Ok(names.map(|name| name.as_ref().to_owned()).collect())
    }
}
