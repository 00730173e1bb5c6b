//! HTTP to the server: the token on every call, bounded in time and size, repeated when an answer
//! may come a moment later.

use std::fmt;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::TryStreamExt;
use ompipe_core::{CaCertificate, ServerConnection, VerifySsl};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::Error;

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for one whole call.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Repeats of a call that may succeed a moment later.
const REPEATS: usize = 3;
/// Pause before the first repeat; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest answer that is read.
const MAX_ANSWER: usize = 16 << 20;

pub(crate) struct Transport {
    client: Client,
    base: Url,
    /// `None` asks what a server tells everybody.
    token: Option<SecretString>,
}

impl Transport {
    pub(crate) fn new(connection: &ServerConnection) -> Result<Self, Error> {
        let token = connection.jwt_token.clone().ok_or(Error::NoToken)?;
        Ok(Self { token: Some(token), ..Self::anonymous(connection)? })
    }

    /// Without a token.
    pub(crate) fn anonymous(connection: &ServerConnection) -> Result<Self, Error> {
        let endpoint = || Error::Endpoint(connection.host_port.clone());
        let mut base = Url::parse(&connection.host_port).map_err(|_| endpoint())?;
        base.path_segments_mut().map_err(|()| endpoint())?.pop_if_empty().push("v1");
        Ok(Self { client: client(connection)?, base, token: None })
    }

    /// GETs a path below the API; `None` when there is nothing there (404, or 204 for a run).
    pub(crate) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Option<Value>, Error> {
        let url = self.url(path);
        let answer = self.repeated(|| self.client.get(url.clone()).query(query), &url).await?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::NO_CONTENT => Ok(None),
            _ => read(answer, &url).await.map(Some),
        }
    }

    /// PUTs a document to a path below the API; false when there is no such place. What is put has
    /// to be safe to put twice: an answer that is lost leads to that.
    pub(crate) async fn put(&self, path: &[&str], document: &Value) -> Result<bool, Error> {
        let url = self.url(path);
        let answer = self.repeated(|| self.client.put(url.clone()).json(document), &url).await?;
        Ok(answer.status() != StatusCode::NOT_FOUND)
    }

    /// Changes a document below the API by a JSON Patch (RFC 6902), which has to be safe to apply
    /// twice; false when there is no such document.
    pub(crate) async fn patch(&self, path: &[&str], patch: &Value) -> Result<bool, Error> {
        let url = self.url(path);
        let request = || {
            let request = self.client.patch(url.clone());
            request.header(CONTENT_TYPE, "application/json-patch+json").body(patch.to_string())
        };
        let answer = self.repeated(request, &url).await?;
        Ok(answer.status() != StatusCode::NOT_FOUND)
    }

    /// Asks until there is an answer, or none may come a moment later.
    async fn repeated(
        &self,
        request: impl Fn() -> RequestBuilder,
        url: &Url,
    ) -> Result<Response, Error> {
        (|| self.call(request(), url))
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(FIRST_PAUSE)
                    .with_jitter()
                    .with_max_times(REPEATS),
            )
            .when(Error::is_transient)
            .await
    }

    /// One call; 404 is an answer too.
    async fn call(&self, request: RequestBuilder, url: &Url) -> Result<Response, Error> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let answer = request.send().await.map_err(|error| unreachable(url, &error))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(answer),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(Error::Unauthorized(status))
            }
            status if !status.is_success() => Err(Error::Refused { status, url: url.to_string() }),
            _ => Ok(answer),
        }
    }

    /// Joins segments that are percent-encoded already.
    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{}", self.base.path(), path.join("/")));
        url
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Redirects are not followed: they would carry the token elsewhere.
fn client(connection: &ServerConnection) -> Result<Client, Error> {
    let builder = Client::builder()
        .user_agent(concat!("ompipe/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .redirect(redirect::Policy::none());
    let builder = match connection.verify_ssl {
        VerifySsl::NoSsl => builder,
        VerifySsl::Ignore => builder.tls_danger_accept_invalid_certs(true),
        VerifySsl::Validate => match authority(connection) {
            Some(pem) => {
                let ca = Certificate::from_pem_bundle(&pem).map_err(Error::Tls)?;
                builder.tls_certs_merge(ca)
            }
            None => builder,
        },
    };
    builder.build().map_err(Error::Tls)
}

/// A file of the worker's container is not there for the operator, whose system may know the
/// authority all the same.
fn authority(connection: &ServerConnection) -> Option<Vec<u8>> {
    match connection.ca_certificate()? {
        CaCertificate::Pem(pem) => Some(pem.as_bytes().to_vec()),
        CaCertificate::File(path) => std::fs::read(path).ok(),
    }
}

async fn read(answer: Response, url: &Url) -> Result<Value, Error> {
    let mut body = Vec::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.try_next().await.map_err(|error| unreachable(url, &error))? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ANSWER {
            return Err(Error::Unreadable("of a size that is read"));
        }
    }
    serde_json::from_slice(&body).map_err(|_| Error::Unreadable("JSON"))
}

/// The innermost cause says most: `connection refused`, `certificate has expired`.
fn unreachable(url: &Url, error: &reqwest::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let reason = if error.is_timeout() { "no answer in time".into() } else { cause.to_string() };
    Error::Unreachable { url: url.to_string(), reason }
}
