//! HTTP to the server: the token on every call, bounded in time and size, repeated when an answer
//! may come a moment later.

use std::fmt;
use std::fs::{File, metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::TryStreamExt;
use ompipe_core::proxy::{Proxies, Proxy};
use ompipe_core::redaction::{self, Secrets};
use ompipe_core::{CaCertificate, ServerConnection, VerifySsl};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::Error;
use crate::guard::{self, Guarded};

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
/// Largest file of certificate authorities.
const MAX_BUNDLE: u64 = 1 << 20;
/// Most characters of a server's words that a message repeats.
const MAX_SAID: usize = 400;

pub(crate) struct Transport {
    client: Client,
    base: Url,
    /// What else to say of a call that fails: the proxy that it goes through, the file of an
    /// authority that is not here.
    circumstances: String,
    /// `None` asks without a login.
    token: Option<SecretString>,
}

/// What to say of a name that only pods can look up, outside of a cluster.
fn name_of_the_cluster(connection: &ServerConnection, base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    let is_inside = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let is_service = host.split('.').nth(2) == Some("svc");
    if is_inside || !is_service || !connection.is_called_as_by_pods() {
        return String::new();
    }
    let mut labels = host.split('.');
    let (service, namespace) =
        (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
    let port = base.port_or_known_default().unwrap_or_default();
    format!(
        ". Only pods know that name. From here: `kubectl -n {namespace} port-forward svc/{service} \
         {port}`, and --server http://localhost:{port}/api"
    )
}

impl Transport {
    pub(crate) fn new(connection: &ServerConnection, files: Files) -> Result<Self, Error> {
        let token = connection.jwt_token.clone().ok_or(Error::NoToken)?;
        Ok(Self { token: Some(token), ..Self::anonymous(connection, files)? })
    }

    /// Without a token.
    pub(crate) fn anonymous(connection: &ServerConnection, files: Files) -> Result<Self, Error> {
        let endpoint = || Error::Endpoint(connection.endpoint_for_calls().to_owned());
        let mut base = Url::parse(connection.endpoint_for_calls()).map_err(|_| endpoint())?;
        base.path_segments_mut().map_err(|()| endpoint())?.pop_if_empty().push("v1");
        guard::check(&base)?;
        let proxies = Proxies::read(|name| std::env::var(name).ok());
        let proxy = proxies.of_url(base.as_str());
        let authority = Authority::of(connection, files);
        let client = client(connection, &authority, proxy)?;
        let passing =
            proxy.map_or_else(String::new, |proxy| format!(", through the proxy {proxy}"));
        let inside = name_of_the_cluster(connection, &base);
        let circumstances = format!("{passing}{}{inside}", authority.circumstance());
        Ok(Self { client, base, circumstances, token: None })
    }

    /// GETs a path below the API; `None` when OpenMetadata says that there is nothing there (404, or
    /// 204 for a run).
    pub(crate) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Option<Value>, Error> {
        Ok(match self.look_up(path, query).await? {
            Found::Document(document) => Some(document),
            Found::Nothing | Found::Missing => None,
        })
    }

    /// As [`Self::get`]; distinguishes an empty answer (204) from one that does not exist (404).
    pub(crate) async fn look_up(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Found, Error> {
        let url = self.url(path);
        let answer = self.repeated(|| self.client.get(url.clone()).query(query), &url).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(Found::Missing),
            StatusCode::NO_CONTENT => Ok(Found::Nothing),
            _ => answer.document(&url).map(Found::Document),
        }
    }

    /// PUTs a document to a path below the API; false when there is no such place. What is put has
    /// to be safe to put twice: an answer that is lost leads to that.
    pub(crate) async fn put(&self, path: &[&str], document: &Value) -> Result<bool, Error> {
        let url = self.url(path);
        let answer = self.repeated(|| self.client.put(url.clone()).json(document), &url).await?;
        answer.has_taken(&url)
    }

    /// Changes a document below the API by a JSON Patch (RFC 6902), which has to be safe to apply
    /// twice; false when there is no such document.
    pub(crate) async fn patch(&self, path: &[&str], patch: &Value) -> Result<bool, Error> {
        let url = self.url(path);
        let request = || {
            let request = self.client.patch(url.clone());
            request.header(CONTENT_TYPE, "application/json-patch+json").body(patch.to_string())
        };
        self.repeated(request, &url).await?.has_taken(&url)
    }

    /// Asks until there is an answer, or none may come a moment later.
    async fn repeated(
        &self,
        request: impl Fn() -> RequestBuilder,
        url: &Url,
    ) -> Result<Answer, Error> {
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

    /// One call. OpenMetadata's own 404 is an answer too.
    async fn call(&self, request: RequestBuilder, url: &Url) -> Result<Answer, Error> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let response = request.send().await;
        let response = response.map_err(|error| unreachable(url, &self.circumstances, &error))?;
        let location = redirect_target(&response);
        let answer = Answer { status: response.status(), body: read(response, url).await? };
        self.judged(answer, location, url)
    }

    /// Tells answers of OpenMetadata from refusals, and both from what something else says.
    fn judged(&self, answer: Answer, location: Option<String>, url: &Url) -> Result<Answer, Error> {
        let (status, url) = (answer.status, url.to_string());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !answer.is_page() => {
                Err(Error::Unauthorized(status))
            }
            status if status.is_success() => Ok(answer),
            _ => match answer.error_document() {
                Some(_) if status == StatusCode::NOT_FOUND => Ok(answer),
                Some(said) => {
                    Err(Error::Refused { status, url, said: Some(self.fit_to_print(&said)) })
                }
                None if may_pass(status) => Err(Error::Refused { status, url, said: None }),
                None => Err(Error::Foreign { status, url, location }),
            },
        }
    }

    /// The server's words on one line, without the token and whatever else looks like a secret.
    fn fit_to_print(&self, said: &str) -> String {
        let token = self.token.as_ref().map(|token| token.expose_secret().to_owned());
        let secrets: Secrets = token.into_iter().collect();
        let line = redaction::mask_text(&secrets.scrub(said));
        match line.char_indices().nth(MAX_SAID) {
            Some((cut, _)) => format!("{}…", &line[..cut]),
            None => line,
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
fn client(
    connection: &ServerConnection,
    authority: &Authority,
    proxy: Option<&Proxy>,
) -> Result<Client, Error> {
    let builder = Client::builder()
        .no_proxy()
        .user_agent(concat!("ompipe/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Guarded)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .redirect(redirect::Policy::none());
    let builder = match connection.verify_ssl {
        VerifySsl::NoSsl => builder,
        VerifySsl::Ignore => builder.tls_danger_accept_invalid_certs(true),
        VerifySsl::Validate => match authority {
            Authority::Pem(pem) => {
                let ca = Certificate::from_pem_bundle(pem).map_err(Error::Tls)?;
                builder.tls_certs_merge(ca)
            }
            Authority::OfSystem | Authority::NotHere(_) => builder,
        },
    };
    let builder = match proxy {
        Some(proxy) => {
            let proxy = reqwest::Proxy::all(proxy.url_with_credentials());
            builder.proxy(proxy.map_err(|error| Error::Tls(error.without_url()))?)
        }
        None => builder,
    };
    builder.build().map_err(Error::Tls)
}

/// Whether files that a connection names may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// The connection is that of this pod's worker.
    OfThisPod,
    /// The connection comes from elsewhere, and what it says must not open a file here.
    OfOthers,
}

/// Who is trusted to have signed the server's certificate.
enum Authority {
    OfSystem,
    Pem(Vec<u8>),
    /// A file of the worker's container; the system may know the authority all the same.
    NotHere(PathBuf),
}

impl Authority {
    fn of(connection: &ServerConnection, files: Files) -> Self {
        match connection.ca_certificate() {
            None => Self::OfSystem,
            Some(CaCertificate::Pem(pem)) => Self::Pem(pem.as_bytes().to_vec()),
            Some(CaCertificate::File(path)) => match files {
                Files::OfThisPod => {
                    read_bundle(path).map_or_else(|| Self::NotHere(path.into()), Self::Pem)
                }
                Files::OfOthers => Self::NotHere(path.into()),
            },
        }
    }

    fn circumstance(&self) -> String {
        match self {
            Self::NotHere(path) => format!(
                "; the file {}, which sslConfig.caCertificate names, is not here",
                path.display()
            ),
            Self::OfSystem | Self::Pem(_) => String::new(),
        }
    }
}

/// The content of a file of a sensible size. A device or a pipe has no end, or never begins.
fn read_bundle(path: &Path) -> Option<Vec<u8>> {
    metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let mut content = Vec::new();
    File::open(path).ok()?.take(MAX_BUNDLE + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= MAX_BUNDLE).then_some(content)
}

/// What OpenMetadata has at a path.
pub(crate) enum Found {
    /// This.
    Document(Value),
    /// Nothing yet (204).
    Nothing,
    /// No such place (404).
    Missing,
}

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    /// The document of a success. OpenMetadata answers every call that is made here with an object.
    fn document(&self, url: &Url) -> Result<Value, Error> {
        match serde_json::from_slice(&self.body) {
            Ok(document @ Value::Object(_)) => Ok(document),
            _ => Err(Error::Foreign { status: self.status, url: url.to_string(), location: None }),
        }
    }

    /// Whether a write was taken; false when its place does not exist. A page that a login or a proxy
    /// shows with 200 is no such answer.
    fn has_taken(&self, url: &Url) -> Result<bool, Error> {
        const MAY_BE_EMPTY: [StatusCode; 2] = [StatusCode::CREATED, StatusCode::NO_CONTENT];
        if self.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        if self.body.is_empty() && MAY_BE_EMPTY.contains(&self.status) {
            return Ok(true);
        }
        self.document(url).map(|_| true)
    }

    /// The words of OpenMetadata's error document, `{"code": 404, "message": "…"}`; its code is the
    /// status. Jackson's errors have more in `details`.
    fn error_document(&self) -> Option<String> {
        let document: Value = serde_json::from_slice(&self.body).ok()?;
        let code = document.get("code")?.as_u64()?;
        let message = document.get("message")?.as_str()?;
        let details = document.get("details").and_then(Value::as_str);
        let said = details.map_or_else(|| message.to_owned(), |more| format!("{message}: {more}"));
        (code == u64::from(self.status.as_u16())).then_some(said)
    }

    /// True for HTML, as login pages have it.
    fn is_page(&self) -> bool {
        self.body.trim_ascii_start().first() == Some(&b'<')
    }
}

/// True for statuses that say by themselves that a later call may succeed, whether OpenMetadata or
/// something else answers.
fn may_pass(status: StatusCode) -> bool {
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || passing.contains(&status)
}

/// Where a redirect points, without user, password and query.
fn redirect_target(response: &Response) -> Option<String> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut target = response.url().join(location).ok()?;
    target.set_query(None);
    target.set_fragment(None);
    // A URL that cannot have them has none.
    let _ = target.set_username("");
    let _ = target.set_password(None);
    Some(target.to_string().chars().take(MAX_SAID).collect())
}

async fn read(answer: Response, url: &Url) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.try_next().await.map_err(|error| unreachable(url, "", &error))? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ANSWER {
            return Err(Error::Unreadable("of a size that is read"));
        }
    }
    Ok(body)
}

/// The innermost cause says most: `connection refused`, `certificate has expired`.
fn unreachable(url: &Url, circumstances: &str, error: &reqwest::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let reason = if error.is_timeout() { "no answer in time".into() } else { cause.to_string() };
    Error::Unreachable { url: url.to_string(), reason: format!("{reason}{circumstances}") }
}
