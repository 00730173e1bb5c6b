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
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::time::{Instant, timeout};
use tower::{BoxError, Layer, Service};

use crate::metrics::{Answer, Metrics, Verb};

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the whole answer to a call, as long as the API server itself takes at most for most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no client. Says nothing of what stands in a kubeconfig, which has credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig that was named cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(String),
    /// Neither a kubeconfig nor a pod's service account is there.
    #[error("no cluster: neither by kubeconfig ({kubeconfig}) nor as a pod ({in_cluster})")]
    NoCluster {
        /// What is wrong with the kubeconfig.
        kubeconfig: String,
        /// What is wrong with the service account.
        in_cluster: String,
    },
    /// A client cannot be made of the configuration.
    #[error("no client for the cluster: {0}")]
    Client(#[source] kube::Error),
}

/// A client of the cluster that the kubeconfig names; without one, of the cluster that is found as
/// kubectl finds it, else of the one that this pod runs in.
///
/// # Errors
/// When the configuration cannot be used. Whether the cluster answers is not tried.
pub async fn connect(kubeconfig: Option<&Path>, metrics: &Metrics) -> Result<Client, Error> {
    let mut config = read_config(kubeconfig).await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.disable_compression = true;
    config.default_retry = false;
    let agent = concat!("ompipe-operator/", env!("CARGO_PKG_VERSION"));
    config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
    let builder = ClientBuilder::try_from(config).map_err(Error::Client)?;
    Ok(builder.with_layer(&Measure { metrics: metrics.clone() }).build())
}

async fn read_config(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    let options = KubeConfigOptions::default();
    let Some(file) = kubeconfig else {
        return match Config::from_kubeconfig(&options).await {
            Ok(config) => Ok(config),
            Err(error) => Config::incluster().map_err(|in_cluster| Error::NoCluster {
                kubeconfig: describe(&error),
                in_cluster: in_cluster.to_string(),
            }),
        };
    };
    let unusable = |error| Error::Kubeconfig(describe(&error));
    let kubeconfig = Kubeconfig::read_from(file).map_err(unusable)?;
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)
}

/// The error, unless it quotes the kubeconfig.
fn describe(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(_) => "its text is not that of a kubeconfig".to_owned(),
        error => error.to_string(),
    }
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

/// What a request asks for, as the API server tells it (Kubernetes: *Authorization*).
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
        // Below a namespace stands a kind, and below that an object.
        ["namespaces", _, _, ..] => rest.len() > 3,
        _ => rest.len() != 1,
    }
}
