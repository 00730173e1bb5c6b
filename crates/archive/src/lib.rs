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
mod limit;
mod lists;
mod pipelines;
mod reader;
mod records;
mod retention;
mod store;
mod writer;

use std::fmt;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{
    GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult,
};
use url::Url;

use cache::Cache;
use error::is_missing;
pub use error::{BadUrl, Error, Result};
pub use lists::Window;
pub use reader::{ArchivedLog, Span};
pub use retention::{Keep, Swept};
use store::Kind;
pub use writer::LogWriter;

/// Checks a URL as far as that is possible without the environment.
///
/// # Errors
/// It names no archive.
pub fn check_url(url: &str) -> std::result::Result<Url, BadUrl> {
    let parsed = Url::parse(url).map_err(|_| BadUrl::NotAUrl)?;
    if Kind::of(&parsed).is_none() {
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
    /// What it is; `None` for a store of the caller.
    kind: Option<Kind>,
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
        let kind = Kind::of(&parsed).ok_or(BadUrl::Scheme)?;
        let is_read = |name: &str| kind.variables().is_some_and(|begin| name.starts_with(begin));
        let variables = environment.into_iter().filter(|(name, _)| is_read(name));
        let variables: Vec<(String, String)> = variables.collect();
        let unusable = |source: object_store::Error| {
            let settings = variables.iter().map(|(name, _)| name.clone()).collect();
            BadUrl::Unusable { settings, source }
        };
        let root = Path::from_url_path(parsed.path()).map_err(|error| unusable(error.into()))?;
        let store = kind.client(&parsed, &variables).map_err(unusable)?;
        Ok(Self { store, kind: Some(kind), root, url: url.to_owned(), cache: None })
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
        let (root, url) = (Path::default(), "a store of the caller".to_owned());
        Self { store, kind: None, root, url, cache: None }
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
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// An object as it is now; `None` if there is none.
    async fn bytes(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let Some(found) = self.read(path).await? else { return Ok(None) };
        let bytes = found.bytes().await.map_err(|error| self.failed(error))?;
        Ok(Some(bytes.to_vec()))
    }

    async fn write(&self, path: &Path, bytes: Vec<u8>) -> Result<()> {
        self.put(path, bytes, PutMode::Overwrite)
            .await?
            .map(drop)
            .map_err(|error| self.failed(error))
    }

    /// Stores an object if that is as it should be; the inner error says that it is not, or that the
    /// store cannot tell.
    async fn put(
        &self,
        path: &Path,
        bytes: Vec<u8>,
        mode: PutMode,
    ) -> Result<object_store::Result<PutResult>> {
        use object_store::Error::{AlreadyExists, NotImplemented, Precondition};
        let payload = PutPayload::from(bytes);
        match self.store.put_opts(path, payload, PutOptions::from(mode)).await {
            Err(error @ (AlreadyExists { .. } | NotImplemented { .. } | Precondition { .. })) => {
                Ok(Err(error))
            }
            Err(error) => Err(self.failed(error)),
            Ok(put) => Ok(Ok(put)),
        }
    }

    /// Removes an object, if it is there.
    async fn remove(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Names of the folders in a folder.
    async fn folders(&self, path: &Path) -> Result<Vec<String>> {
        let listed = self.store.list_with_delimiter(Some(path)).await;
        let listed = listed.map_err(|error| self.failed(error))?;
        let names = listed.common_prefixes.iter().filter_map(|prefix| prefix.parts().next_back());
        Ok(names.map(|name| name.as_ref().to_owned()).collect())
    }

    /// The objects below a folder.
    async fn objects(&self, below: &Path) -> Result<Vec<Path>> {
        let objects = self.store.list(Some(below)).map_ok(|object: ObjectMeta| object.location);
        objects.try_collect().await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: object_store::Error) -> Error {
        Error::of(self.kind, error)
    }
}
