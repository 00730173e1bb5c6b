//! A store in memory that fails from a call on: its caller has died there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

#[derive(Clone, Debug)]
pub(crate) struct Failing {
    store: Arc<InMemory>,
    calls: Arc<AtomicUsize>,
}

impl Default for Failing {
    fn default() -> Self {
        Self { store: Arc::default(), calls: Arc::new(AtomicUsize::new(usize::MAX)) }
    }
}

impl Failing {
    pub(crate) fn fail_after(&self, calls: usize) {
        self.calls.store(calls, Ordering::Relaxed);
    }

    fn call(&self) -> Result<()> {
        let left = self.calls.load(Ordering::Relaxed);
        self.calls.store(left.saturating_sub(usize::from(left < usize::MAX)), Ordering::Relaxed);
        if left > 0 { Ok(()) } else { Err(dead()) }
    }
}

fn dead() -> Error {
    Error::Generic { store: "failing", source: "the caller has died".into() }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failing")
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, at: &Path, what: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.call()?;
        let put = self.store.put_opts(at, what, how).await;
        // The last call takes effect, and its answer is lost.
        if self.calls.load(Ordering::Relaxed) == 0 { Err(dead()) } else { put }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.call()?;
        self.store.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match self.call() {
            Ok(()) => self.store.delete_stream(paths),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list(&self, below: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(below)
    }

    async fn list_with_delimiter(&self, below: Option<&Path>) -> Result<ListResult> {
        self.call()?;
        self.store.list_with_delimiter(below).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, how).await
    }
}
