//! Who may do what: whoever has the credentials, everything; the bearer of a token of Kubernetes, what
//! Kubernetes says.
//!
//! | Request | Right in the namespace of the pipelines |
//! |---|---|
//! | GET of anything below `…/runs` | `get` on `runs.pipelines.openmetadata.org` |
//! | POST of a run, there or on the page | `create` on the same |
//! | DELETE of a run | `delete` on the same |
//! | PATCH of a pipeline | `patch` on `pipelines.pipelines.openmetadata.org` |
//! | GET of anything else | `get` on `pipelines.pipelines.openmetadata.org` |

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use ompipe_client::{Admission, Error, K8sPipelineClient, Right};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::debug;

use super::problem::{NOT_ALLOWED, Problem};
use super::token;
use crate::app::{App, Shared};
use crate::credentials::{BASIC_CHALLENGE, Digests, SecretDigest, presented};
use crate::guesses::WINDOW_SECONDS;

/// The API group of the resources that rights are asked for. They exist for that alone.
const GROUP: &str = "pipelines.openmetadata.org";
/// How long an answer of Kubernetes counts.
const FRESH: Duration = Duration::from_secs(10);
/// Answers of each sort that are kept at most.
const MOST_ANSWERS: usize = 1024;
/// Questions to Kubernetes at the same time: with ompipe's own calls they share what the API server
/// gives one client.
const QUESTIONS: usize = 8;

/// Lets a request pass whose caller may do what it asks.
pub(crate) async fn guard(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let right = right_for(request.method(), route.as_str());
    if !app.may_log_in(request.headers(), peer) {
        return refuse_login(&app, request.headers(), peer).into_response();
    }
    match admission(&app, request.headers(), right).await {
        Ok(Admission::Allowed) => {
            app.logged_in(&request, peer);
            next.run(request).await
        }
        Ok(Admission::Forbidden) => {
            app.logged_in(&request, peer);
            debug!(%peer, %right, "a caller has no right");
            let namespace = &app.client.config().namespace;
            let detail = format!("this needs the right: {right}, in namespace {namespace}");
            Problem::of(&NOT_ALLOWED, &detail).into_response()
        }
        Ok(Admission::Unknown) => refuse_login(&app, request.headers(), peer).into_response(),
        Err(error) => Problem::from(error).into_response(),
    }
}

async fn admission(app: &App, headers: &HeaderMap, right: Right) -> Result<Admission, Error> {
    if app.credentials.get().accept(headers) {
        return Ok(Admission::Allowed);
    }
    match (&app.api.tokens, bearer(headers)) {
        (Some(tokens), Some(token)) => tokens.admission(&app.client, token, right).await,
        _ => Ok(Admission::Unknown),
    }
}

fn right_for(method: &Method, route: &str) -> Right {
    let resource = if route.contains("/runs") { "runs" } else { "pipelines" };
    let verb = match *method {
        // Forms of the page know one method alone.
        Method::POST if route.ends_with("/kill") => "delete",
        Method::POST if route.ends_with("/pause") || route.ends_with("/resume") => "patch",
        Method::POST => "create",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    };
    Right { group: GROUP, resource, verb }
}

/// The token of a request (RFC 6750).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    presented(headers, "Bearer").filter(|token| !token.is_empty())
}

/// Browsers ask for user and password then.
fn refuse_login(app: &App, headers: &HeaderMap, peer: SocketAddr) -> Problem {
    let may_log_in = app.may_log_in(headers, peer);
    if app.login_failed(headers, peer) || !may_log_in {
        let detail = "too many failed logins";
        let problem = Problem::plain(StatusCode::TOO_MANY_REQUESTS, detail);
        return problem.and_retry_after(WINDOW_SECONDS);
    }
    let detail = "user or password, or token, is wrong or missing";
    let problem = Problem::plain(StatusCode::UNAUTHORIZED, detail);
    let problem = problem.and(WWW_AUTHENTICATE, BASIC_CHALLENGE);
    if app.api.tokens.is_none() {
        return problem;
    }
    problem.and(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="ompipe""#))
}

/// What Kubernetes said of tokens a moment ago. No token is kept: only digests are.
pub(super) struct Tokens {
    audience: String,
    digests: Digests,
    known: Known,
    /// Tokens that are nobody's, apart from the others: whoever invents some must not push those out.
    unknown: Known,
    questions: Semaphore,
}

type Known = Mutex<HashMap<SecretDigest, (Instant, Admission)>>;

impl Tokens {
    pub(super) fn new(audience: &str) -> Self {
        Self {
            audience: audience.to_owned(),
            digests: Digests::new(),
            known: Known::default(),
            unknown: Known::default(),
            questions: Semaphore::new(QUESTIONS),
        }
    }

    async fn admission(
        &self,
        client: &K8sPipelineClient,
        token: &str,
        right: Right,
    ) -> Result<Admission, Error> {
        #[expect(clippy::disallowed_methods, reason = "a request is the outermost caller")]
        if !token::may_be_for(&self.audience, token, Timestamp::now()) {
            return Ok(Admission::Unknown);
        }
        let asked = self.digest(token, right);
        if let Some(known) = self.known(&asked) {
            return Ok(known);
        }
        // Nobody closes them.
        let _turn = self.questions.acquire().await;
        let said = client.admission(token, &self.audience, right).await?;
        self.note(asked, said);
        Ok(said)
    }

    fn digest(&self, token: &str, right: Right) -> SecretDigest {
        self.digests.of(&right.to_string(), token.as_bytes())
    }

    fn known(&self, asked: &SecretDigest) -> Option<Admission> {
        [&self.known, &self.unknown].into_iter().find_map(|known| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let (at, said) = known.get(asked)?;
            (at.elapsed() < FRESH).then_some(*said)
        })
    }

    /// Where there is no room, nothing is kept: Kubernetes is then asked again.
    fn note(&self, asked: SecretDigest, said: Admission) {
        let known = if said == Admission::Unknown { &self.unknown } else { &self.known };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_ANSWERS {
            known.retain(|_, (at, _)| at.elapsed() < FRESH);
        }
        if known.len() < MOST_ANSWERS {
            known.insert(asked, (Instant::now(), said));
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Method::GET, "/api/v1/pipelines/{pipeline}", "get pipelines")]
    #[case(Method::GET, "/api/v1/", "get pipelines")]
    #[case(Method::HEAD, "/api/v1/pipelines/{pipeline}/runs/{runId}/logs", "get runs")]
    #[case(Method::POST, "/api/v1/pipelines/{pipeline}/runs", "create runs")]
    #[case(Method::PATCH, "/api/v1/pipelines/{pipeline}", "patch pipelines")]
    #[case(Method::GET, "/api/v1/runs/statistics", "get runs")]
    #[case(Method::POST, "/pipelines/{pipeline}/runs/{runId}/kill", "delete runs")]
    #[case(Method::POST, "/pipelines/{pipeline}/pause", "patch pipelines")]
    #[case(Method::POST, "/pipelines/{pipeline}/runs", "create runs")]
    #[case(Method::DELETE, "/api/v1/pipelines/{pipeline}/runs/{runId}", "delete runs")]
    fn a_request_needs_a_right(
        #[case] method: Method,
        #[case] route: &str,
        #[case] expected: &str,
    ) {
        let right = right_for(&method, route);
        assert_eq!(right.to_string(), format!("{expected}.pipelines.openmetadata.org"));
    }

    #[rstest]
    #[case("Bearer abc.def", Some("abc.def"))]
    #[case("bearer  abc ", Some("abc"))]
    #[case("Bearer", None)]
    #[case("Bearer ", None)]
    #[case("Basic YTpi", None)]
    fn tokens(#[case] value: &str, #[case] expected: Option<&str>) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(bearer(&headers), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_a_moment_and_for_one_right_alone() {
        let (tokens, get) = (Tokens::new("ompipe"), right_for(&Method::GET, "/runs"));
        let asked = tokens.digest("token", get);
        tokens.note(asked, Admission::Allowed);
        assert_eq!(tokens.known(&asked), Some(Admission::Allowed));
        for other in [
            tokens.digest("token", right_for(&Method::POST, "/runs")),
            tokens.digest("token", right_for(&Method::GET, "/")),
            tokens.digest("tokem", get),
        ] {
            assert_eq!(tokens.known(&other), None);
        }
        tokio::time::advance(FRESH).await;
        assert_eq!(tokens.known(&asked), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_answers_are_kept() {
        let (tokens, get) = (Tokens::new("ompipe"), right_for(&Method::GET, "/runs"));
        let note = |n: usize| tokens.note(tokens.digest(&n.to_string(), get), Admission::Forbidden);
        let good = tokens.digest("good", get);
        tokens.note(good, Admission::Allowed);
        let invented =
            |n: usize| tokens.note(tokens.digest(&format!("x{n}"), get), Admission::Unknown);
        (0..2 * MOST_ANSWERS).for_each(invented);
        assert_eq!(tokens.known(&good), Some(Admission::Allowed));
        (0..2 * MOST_ANSWERS).for_each(note);
        assert_eq!(tokens.known.lock().unwrap().len(), MOST_ANSWERS);
        tokio::time::advance(FRESH).await;
        note(0);
        assert_eq!(tokens.known.lock().unwrap().len(), 1);
    }
}
