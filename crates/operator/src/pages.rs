//! Lists come in pages of bytes rather than of objects: a hundred objects may have a hundred kilobytes
//! or a hundred megabytes, and who may create runs decides which. A page that grows too large is given
//! up and asked for again with fewer objects; one after the other, since each is held whole.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body as AnswerBody, Bytes, HttpBody};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::{Method, Request, Response, Uri};
use kube::client::Body;
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, Service};

/// Largest page. One object has at most 2 MiB, which is what etcd takes.
const MOST: usize = 6 << 20;
/// Size that pages should have.
const TARGET: usize = 4 << 20;
/// Most objects of a page.
const MOST_OBJECTS: u32 = 100;

/// Gives lists pages of bytes.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    /// Lists that are read at the same time.
    turns: Arc<Semaphore>,
    /// Objects of the next page of any list.
    objects: Arc<Mutex<u32>>,
}

impl Default for Pages {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(1)), objects: Arc::new(Mutex::new(MOST_OBJECTS)) }
    }
}

impl Pages {
    fn objects(&self) -> u32 {
        *self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, objects: u32) {
        let objects = objects.clamp(1, MOST_OBJECTS);
        *self.objects.lock().unwrap_or_else(PoisonError::into_inner) = objects;
    }
}

impl<S> Layer<S> for Pages {
    type Service = Paged<S>;

    fn layer(&self, inner: S) -> Paged<S> {
        Paged { inner: Arc::new(Mutex::new(inner)), pages: self.clone() }
    }
}

/// See [`Pages`].
#[derive(Debug)]
pub(crate) struct Paged<S> {
    /// Called again for a smaller page; kube's service cannot be cloned.
    inner: Arc<Mutex<S>>,
    pages: Pages,
}

/// Calls a service, or asks whether it is ready.
fn with<S, T>(service: &Mutex<S>, work: impl FnOnce(&mut S) -> T) -> T {
    // Whoever panicked did so between two whole changes.
    work(&mut service.lock().unwrap_or_else(PoisonError::into_inner))
}

impl<S, B> Service<Request<Body>> for Paged<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Send + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<AnswerBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        with(&self.inner, |inner| inner.poll_ready(context))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(list) = List::of(&request) else {
            let answer = with(&self.inner, |inner| inner.call(request));
            return async move { Ok(answer.await?.map(AnswerBody::new)) }.boxed();
        };
        let (inner, pages) = (Arc::clone(&self.inner), self.pages.clone());
        async move {
            // The semaphore is never closed.
            let _turn = pages.turns.acquire().await;
            let mut objects = pages.objects().min(list.limit);
            loop {
                let page = list.request(&request, objects)?;
                std::future::poll_fn(|context| with(&inner, |inner| inner.poll_ready(context)))
                    .await?;
                let answer = with(&inner, |inner| inner.call(page)).await?;
                let (head, body) = answer.into_parts();
                match read(body).await? {
                    Some(bytes) => {
                        let next = next_page(objects, bytes.len());
                        pages.learn(next);
                        return Ok(Response::from_parts(head, AnswerBody::from(bytes)));
                    }
                    None if objects == 1 => return Err("an object is too large to be read".into()),
                    None => objects = (objects / 4).max(1),
                }
            }
        }
        .boxed()
    }
}

/// How many objects the next page should have, after one of so many objects and bytes.
fn next_page(objects: u32, bytes: usize) -> u32 {
    let fitting = (objects as usize).saturating_mul(TARGET) / bytes.max(1);
    u32::try_from(fitting).unwrap_or(u32::MAX).min(objects.saturating_mul(2))
}

/// The whole body; `None` where it is too large.
async fn read<B>(body: B) -> Result<Option<Bytes>, BoxError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut whole, mut pieces) = (Vec::new(), AnswerBody::new(body).into_data_stream());
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if whole.len().saturating_add(piece.len()) > MOST {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole.into()))
}

/// A request for a page of a list.
struct List {
    limit: u32,
}

impl List {
    /// `None` for other requests, and for lists that are asked for whole.
    fn of(request: &Request<Body>) -> Option<Self> {
        let is_watch = |one: &str| one.starts_with("watch=");
        let query = request.uri().query().filter(|_| request.method() == Method::GET)?;
        if query.split('&').any(is_watch) {
            return None;
        }
        let limit = query.split('&').find_map(|one| one.strip_prefix("limit="))?.parse().ok()?;
        Some(Self { limit })
    }

    /// The same request for so many objects.
    fn request(&self, request: &Request<Body>, objects: u32) -> Result<Request<Body>, BoxError> {
        let uri = request.uri();
        let (former, limit) = (format!("limit={}", self.limit), format!("limit={objects}"));
        let parameters = uri.query().unwrap_or_default().split('&');
        let query: Vec<&str> =
            parameters.map(|one| if one == former { limit.as_str() } else { one }).collect();
        let path = format!("{}?{}", uri.path(), query.join("&"));
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(path.parse()?);
        let mut new = Request::builder().method(Method::GET).uri(Uri::from_parts(parts)?);
        if let Some(headers) = new.headers_mut() {
            headers.clone_from(request.headers());
        }
        let mut new = new.body(Body::empty())?;
        *new.extensions_mut() = request.extensions().clone();
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use tower::{ServiceExt, service_fn};

    use super::*;

    const OMJOBS: &str = "/apis/pipelines.openmetadata.org/v1/omjobs";

    fn limit(request: &Request<Body>) -> Option<usize> {
        let query = request.uri().query()?;
        query.split('&').find_map(|one| one.strip_prefix("limit="))?.parse().ok()
    }

    /// Asks a server whose objects have that size; how many objects each call asked for, and how many
    /// bytes came.
    async fn ask(pages: &Pages, size: usize, query: &str) -> (Vec<usize>, Result<usize, String>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let inner = service_fn(move |request: Request<Body>| {
            let objects = limit(&request).unwrap_or(1_000);
            noted.lock().unwrap().push(objects);
            let pieces = (0..objects).map(move |_| Ok::<_, BoxError>(Bytes::from(vec![0; size])));
            let body = AnswerBody::from_stream(futures::stream::iter(pieces));
            async move { Ok::<_, BoxError>(Response::new(body)) }
        });
        let request = Request::get(format!("{OMJOBS}?{query}")).body(Body::empty()).unwrap();
        let answer = pages.layer(inner).oneshot(request).await;
        let came = match answer {
            Ok(answer) => Ok(to_bytes(answer.into_body(), usize::MAX).await.unwrap().len()),
            Err(error) => Err(error.to_string()),
        };
        let asked = asked.lock().unwrap().clone();
        (asked, came)
    }

    #[tokio::test]
    async fn a_page_of_large_objects_has_fewer_and_the_next_one_too() {
        let pages = Pages::default();
        let (asked, came) = ask(&pages, 1_200_000, "labelSelector=a&limit=100&continue=c").await;
        assert_eq!(asked, [100, 25, 6, 1]);
        assert_eq!(came.unwrap(), 1_200_000);
        let (asked, _) = ask(&pages, 300_000, "limit=100").await;
        assert_eq!(asked, [2]);
        assert_eq!(ask(&pages, 300_000, "limit=100").await.0, [4]);
        for _ in 0..10 {
            ask(&pages, 1_000, "limit=100").await.1.unwrap();
        }
        assert_eq!(ask(&pages, 1_000, "limit=100").await.0, [100]);
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_is_an_error() {
        let (asked, came) = ask(&Pages::default(), MOST + 1, "limit=2").await;
        assert_eq!(
            (asked, came),
            (vec![2, 1], Err("an object is too large to be read".to_owned()))
        );
    }

    #[tokio::test]
    async fn other_requests_are_as_they_were() {
        let large = 8_000;
        for query in ["watch=true&limit=5", "fieldSelector=a"] {
            let (asked, came) = ask(&Pages::default(), large, query).await;
            assert_eq!(came.unwrap(), asked[0] * large, "{query}");
        }
    }
}
