//! The way to the Kubernetes API: a client that measures every request and bounds every call.
//!
//! - Nothing is repeated here: the controllers repeat, with what they know by then.
//! - A call has a time limit for its whole answer; a watch or a log may be silent for long.
//! - HTTP/1.1 with a pool: as many connections as requests are under way.

use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body as AnswerBody, Bytes, HttpBody, to_bytes};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::USER_AGENT;
use http::{HeaderValue, Method, Request, Response, Uri};
use kube::Client;
use kube::client::{Body, ClientBuilder};
use ompipe_client::{AccessError, ClusterConfig};
use ompipe_core::config::ClusterAccess;
use tokio::time::{Instant, timeout};
use tower::util::MapErrLayer;
use tower::{BoxError, Layer, Service, ServiceBuilder};

use crate::metrics::{Answer, Metrics, Verb};
use crate::pages::Pages;

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the whole answer to a call, as long as the API server itself takes at most for most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no client. Contains nothing of the kubeconfig, which has credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig that was named cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(AccessError),
    /// Neither a kubeconfig nor a pod's service account can be used.
    #[error("no cluster: {0}")]
    NoCluster(AccessError),
    /// A client cannot be made of the configuration.
    #[error("no client for the cluster: {0}")]
    Client(String),
}

/// A client of the cluster that the kubeconfig names; without one, of the cluster that is found as
/// kubectl finds it, else of the one that this pod runs in.
///
/// # Errors
/// When the configuration cannot be used. Whether the cluster answers is not tried.
pub async fn connect(kubeconfig: Option<&Path>, metrics: &Metrics) -> Result<Client, Error> {
    let ClusterConfig { mut config, place } = match kubeconfig {
        Some(file) => {
            let access = ClusterAccess::File(file.display().to_string());
            ClusterConfig::read(&access).await.map_err(Error::Kubeconfig)?
        }
        None => ClusterConfig::read(&ClusterAccess::Inferred).await.map_err(Error::NoCluster)?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.disable_compression = true;
    config.default_retry = false;
    let agent = concat!("ompipe-operator/", env!("CARGO_PKG_VERSION"));
    config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
    let builder =
        ClientBuilder::try_from(config).map_err(|error| Error::Client(place.describe(&error)))?;
    let measure = Measure { metrics: metrics.clone() };
    let describe = MapErrLayer::new(move |error: BoxError| place.wrap(&error));
    let layers = ServiceBuilder::new().layer(describe).layer(measure).layer(Pages::default());
    Ok(builder.with_layer(&layers).build())
}

/// Measures and bounds every request.
struct Measure {
    metrics: Metrics,
}

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner, metrics: self.metrics.clone() }
    }
}

struct Measured<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, B> Service<Request<Body>> for Measured<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<AnswerBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (metrics, started) = (self.metrics.clone(), Instant::now());
        let verb = verb_of(request.method(), request.uri());
        let is_stream = verb == Verb::Watch || request.uri().path().ends_with("/log");
        let answer = self.inner.call(request);
        async move {
            let answer = if is_stream { answer.await.map(stream) } else { in_time(answer).await };
            let code = answer.as_ref().map_or(Answer::Error, |a| Answer::Code(a.status().as_u16()));
            metrics.api_answered(verb, code, started.elapsed());
            answer
        }
        .boxed()
    }
}

fn stream<B>(answer: Response<B>) -> Response<AnswerBody>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    answer.map(AnswerBody::new)
}

/// The answer with its body, within the time limit.
async fn in_time<B>(
    answer: impl Future<Output = Result<Response<B>, BoxError>>,
) -> Result<Response<AnswerBody>, BoxError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let whole = async {
        let (head, body) = answer.await?.into_parts();
        let bytes = to_bytes(AnswerBody::new(body), usize::MAX).await?;
        Ok(Response::from_parts(head, AnswerBody::from(bytes)))
    };
    timeout(ANSWER_TIMEOUT, whole).await.unwrap_or_else(|_| {
        Err(format!("the API server gave no answer in {} seconds", ANSWER_TIMEOUT.as_secs()).into())
    })
}

/// What a request asks for, as the API server reads it (Kubernetes: *Authorization*).
fn verb_of(method: &Method, uri: &Uri) -> Verb {
    let is_watch = || uri.query().is_some_and(|query| query.split('&').any(is_watch_parameter));
    match (method, names_an_object(uri.path())) {
        (&Method::POST, _) => Verb::Create,
        (&Method::PUT, _) => Verb::Update,
        (&Method::PATCH, _) => Verb::Patch,
        (&Method::DELETE, true) => Verb::Delete,
        (&Method::DELETE, false) => Verb::DeleteCollection,
        _ if is_watch() => Verb::Watch,
        (_, true) => Verb::Get,
        (_, false) => Verb::List,
    }
}

fn is_watch_parameter(parameter: &str) -> bool {
    matches!(parameter, "watch=true" | "watch=1")
}

/// True for the path of one object, and of what is no resource at all.
fn names_an_object(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let group_parts = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return true,
    };
    let rest: Vec<&str> = parts.skip(group_parts).collect();
    match rest[..] {
        // A namespace is followed by a kind, and that by an object.
        ["namespaces", _, _, ..] => rest.len() > 3,
        _ => rest.len() != 1,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::{StreamExt, stream};
    use rstest::rstest;
    use tower::{ServiceExt, service_fn};

    use super::*;

    #[rstest]
    #[case("GET", "/api/v1/namespaces/a/pods", Verb::List)]
    #[case("GET", "/api/v1/pods?limit=500", Verb::List)]
    #[case("GET", "/apis/pipelines.openmetadata.org/v1/omjobs", Verb::List)]
    #[case("GET", "/api/v1/namespaces", Verb::List)]
    #[case("GET", "/apis/batch/v1/namespaces/a/jobs?watch=true&resourceVersion=1", Verb::Watch)]
    #[case("GET", "/api/v1/pods?allowWatchBookmarks=true&watch=1", Verb::Watch)]
    #[case("GET", "/api/v1/pods?labelSelector=watch", Verb::List)]
    #[case("GET", "/api/v1/namespaces/a/pods/p", Verb::Get)]
    #[case("GET", "/api/v1/namespaces/a/pods/p/log?follow=true", Verb::Get)]
    #[case("GET", "/api/v1/namespaces/a", Verb::Get)]
    #[case("GET", "/api/v1/nodes/n", Verb::Get)]
    #[case("GET", "/version", Verb::Get)]
    #[case("GET", "/apis", Verb::Get)]
    #[case("GET", "/api/v1", Verb::Get)]
    #[case("POST", "/api/v1/namespaces/a/pods", Verb::Create)]
    #[case("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/l", Verb::Update)]
    #[case(
        "PATCH",
        "/apis/pipelines.openmetadata.org/v1/namespaces/a/omjobs/o/status",
        Verb::Patch
    )]
    #[case("DELETE", "/api/v1/namespaces/a/pods/p", Verb::Delete)]
    #[case("DELETE", "/api/v1/namespaces/a/pods?labelSelector=x", Verb::DeleteCollection)]
    fn verbs(#[case] method: &str, #[case] uri: &str, #[case] verb: Verb) {
        assert_eq!(verb_of(&method.parse().unwrap(), &uri.parse().unwrap()), verb);
    }

    type Given = Result<Response<AnswerBody>, BoxError>;

    /// What becomes of a request that the API server answers like this, and what is counted.
    async fn ask<F>(uri: &str, answer: F) -> (Given, String)
    where
        F: Future<Output = Given> + Send + 'static,
    {
        let metrics = Metrics::new();
        let mut answer = Some(answer);
        let inner = service_fn(move |_: Request<Body>| answer.take().unwrap());
        let service = Measure { metrics: metrics.clone() }.layer(inner);
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let given = service.oneshot(request).await;
        (given, metrics.encode().unwrap())
    }

    fn answer(code: u16, body: AnswerBody) -> Response<AnswerBody> {
        Response::builder().status(code).body(body).unwrap()
    }

    /// A body that says something and then nothing for ever.
    fn unfinished() -> AnswerBody {
        let said = stream::iter([Ok::<_, BoxError>("{")]);
        AnswerBody::from_stream(said.chain(stream::pending()))
    }

    const PODS: &str = "/api/v1/namespaces/a/pods";

    #[rstest]
    #[case(200)]
    #[case(409)]
    #[case(503)]
    #[tokio::test]
    async fn an_answer_is_counted_by_its_code_and_passed_on(#[case] code: u16) {
        let (given, text) = ask(PODS, async move { Ok(answer(code, "done".into())) }).await;
        let given = given.unwrap();
        assert_eq!(given.status(), code);
        assert_eq!(to_bytes(given.into_body(), 10).await.unwrap(), "done");
        let counted =
            format!("ompipe_operator_api_requests_total{{verb=\"list\",code=\"{code}\"}} 1\n");
        assert!(text.contains(&counted), "{text}");
        assert!(text.contains("ompipe_operator_api_request_seconds_count{verb=\"list\"} 1\n"));
    }

    #[tokio::test]
    async fn a_broken_connection_is_counted_as_an_error() {
        let (given, text) = ask(PODS, async { Err("reset".into()) }).await;
        assert_eq!(given.unwrap_err().to_string(), "reset");
        assert!(text.contains("api_requests_total{verb=\"list\",code=\"error\"} 1\n"), "{text}");
    }

    #[rstest]
    #[case::no_answer(pending().boxed())]
    #[case::no_end(async { Ok(answer(200, unfinished())) }.boxed())]
    #[tokio::test(start_paused = true)]
    async fn a_call_is_bounded(#[case] hanging: BoxFuture<'static, Given>) {
        let start = Instant::now();
        let (given, text) = ask(PODS, hanging).await;
        let message = given.unwrap_err().to_string();
        assert_eq!(message, "the API server gave no answer in 30 seconds");
        assert_eq!(start.elapsed(), ANSWER_TIMEOUT);
        assert!(text.contains("code=\"error\"} 1\n"), "{text}");
    }

    #[rstest]
    #[case("/api/v1/pods?watch=true")]
    #[case("/api/v1/namespaces/a/pods/p/log?follow=true")]
    #[tokio::test(start_paused = true)]
    async fn a_stream_may_be_silent(#[case] uri: &str) {
        let (given, text) = ask(uri, async { Ok(answer(200, unfinished())) }).await;
        let mut body = given.unwrap().into_body().into_data_stream();
        assert_eq!(body.next().await.unwrap().unwrap(), "{");
        assert!(timeout(60 * ANSWER_TIMEOUT, body.next()).await.is_err());
        assert!(text.contains("code=\"200\"} 1\n"), "{text}");
    }

    #[tokio::test]
    async fn a_kubeconfig_is_never_quoted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "users:\n- user: { token: canary-token, : }\n").unwrap();
        let error = connect(Some(file.path()), &Metrics::new()).await.err().unwrap().to_string();
        assert_eq!(error, "the kubeconfig cannot be used: its text is not that of a kubeconfig");
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_named() {
        let error = connect(Some(Path::new("/no/such")), &Metrics::new()).await.err().unwrap();
        assert!(error.to_string().contains("/no/such"), "{error}");
    }
}
