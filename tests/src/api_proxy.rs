//! A proxy in front of a real API server that fails on demand, and keeps a record of every call.
//! What it does not fail it passes on, with the rights of the client that it was given.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kube::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Duration;

use crate::connection::{CutSwitch, Listener};
use crate::late_event::LateEvent;

/// Longest request that is passed on.
const MAX_REQUEST: usize = 4 << 20;

/// A proxy that listens on loopback until it is dropped.
pub struct ApiProxy {
    url: String,
    shared: Arc<Shared>,
    _server: JoinSet<std::io::Result<()>>,
}

struct Shared {
    client: Client,
    faults: Mutex<Vec<ApiFault>>,
    calls: Mutex<Vec<ApiCall>>,
    answers: Mutex<Vec<(ApiCall, u16)>>,
    /// The write at which everything stops.
    stop: Mutex<Option<StopAt>>,
    stopped: watch::Sender<bool>,
    /// Lists are answered as of this resource version.
    stale: Mutex<Option<String>>,
    late: Mutex<Option<LateEvent>>,
}

/// Where everything stops, as seen from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Before the write is done.
    Before,
    /// After it is done, before it is answered.
    After,
}

/// A write at which everything stops.
struct StopAt {
    stop: Stop,
    /// Which writes count.
    counts: fn(&ApiCall) -> bool,
    /// How many of them come before it.
    passing: usize,
}

/// A call that reached the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCall {
    /// Its method.
    pub method: Method,
    /// Its path, without the query.
    pub path: String,
    /// Its query.
    pub query: String,
}

impl ApiCall {
    /// True when it asks for a change.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    /// True when it asks for a list: the path ends with the kind.
    #[must_use]
    pub fn is_list_of(&self, plural: &str) -> bool {
        self.method == Method::GET && self.path.ends_with(&format!("/{plural}"))
    }

    /// True when it changes an `OMJob` or a pod.
    fn changes_a_run(&self) -> bool {
        let kinds = ["/omjobs", "/pods"];
        self.is_write() && kinds.iter().any(|kind| self.path.contains(kind))
    }

    /// True when it changes an object of a namespace; reviews of rights and dry runs change none.
    fn changes_an_object(&self) -> bool {
        self.is_write() && self.path.contains("/namespaces/") && !self.query.contains("dryRun")
    }

    fn is_watch(&self) -> bool {
        self.query.contains("watch=")
    }
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is answered with this code, and nothing is done.
    Status(u16),
    /// It is answered with 429 and the wish to wait a second.
    TooMany,
    /// Its connection breaks before anything is done.
    Cut,
    /// It is carried out, and its connection breaks before the answer.
    LostAnswer,
    /// Nothing is done, and nothing is ever said.
    Hang,
}

/// Which calls fail, and how.
#[derive(Clone, Debug)]
pub struct ApiFault {
    failure: Failure,
    method: Option<Method>,
    path: String,
    /// How many calls that match pass before it strikes.
    passing: usize,
    /// How often it strikes; `None` for ever.
    times: Option<usize>,
}

impl ApiFault {
    /// Every call fails, for ever.
    #[must_use]
    pub const fn new(failure: Failure) -> Self {
        Self { failure, method: None, path: String::new(), passing: 0, times: None }
    }

    /// Only calls of this method to a path that ends so.
    #[must_use]
    pub fn on(self, method: Method, path: &str) -> Self {
        Self { method: Some(method), path: path.to_owned(), ..self }
    }

    /// Only calls to a path that ends so.
    #[must_use]
    pub fn on_path(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// Only after so many of them.
    #[must_use]
    pub fn after(self, passing: usize) -> Self {
        Self { passing, ..self }
    }

    /// Only so often.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Whether it strikes at a call, which it then has.
    fn strikes(&mut self, call: &ApiCall) -> bool {
        let is_other = self.method.as_ref().is_some_and(|method| *method != call.method);
        if self.times == Some(0) || is_other || !call.path.ends_with(&self.path) {
            return false;
        }
        if self.passing > 0 {
            self.passing -= 1;
            return false;
        }
        self.times = self.times.map(|times| times - 1);
        true
    }
}

impl ApiProxy {
    /// Starts a proxy for what `client` reaches.
    ///
    /// # Errors
    /// When it cannot listen on loopback.
    pub async fn start(client: Client) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            client,
            faults: Mutex::default(),
            calls: Mutex::default(),
            answers: Mutex::default(),
            stop: Mutex::default(),
            stopped: watch::Sender::new(false),
            stale: Mutex::default(),
            late: Mutex::default(),
        });
        let app = Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let app = app.into_make_service_with_connect_info::<CutSwitch>();
            axum::serve(Listener(listener), app).await
        });
        Ok(Self { url, shared, _server: server })
    }

    /// A kubeconfig whose cluster is this proxy.
    #[must_use]
    pub fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{ "name": "proxy", "cluster": { "server": self.url } }],
            "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "nobody" } }],
            "users": [{ "name": "nobody", "user": {} }],
        })
    }

    /// From now on calls fail.
    pub fn inject(&self, fault: ApiFault) {
        lock(&self.shared.faults).push(fault);
    }

    /// Stops everything at the next write of an `OMJob` or a pod after so many: no call is answered
    /// any more, as if the client had crashed there.
    pub fn stop_at_write(&self, stop: Stop, passing: usize) {
        let counts = ApiCall::changes_a_run;
        *lock(&self.shared.stop) = Some(StopAt { stop, counts, passing });
    }

    /// The same at the next write of any object of a namespace after so many.
    pub fn stop_at_object_write(&self, stop: Stop, passing: usize) {
        let counts = ApiCall::changes_an_object;
        *lock(&self.shared.stop) = Some(StopAt { stop, counts, passing });
    }

    /// Waits until everything has stopped.
    pub async fn stopped(&self) {
        // The sender is in `self`.
        drop(self.shared.stopped.subscribe().wait_for(|stopped| *stopped).await);
    }

    /// Answers lists as they were at that resource version; watches tell what came after it.
    pub fn show_the_past(&self, version: &str) {
        *lock(&self.shared.stale) = Some(version.to_owned());
    }

    /// Holds the event of that number back in watches of a kind, until its object has a newer one
    /// or the time is over: what a slow watch may do.
    pub fn delay_event(&self, plural: &str, number: usize, time: Duration) {
        *lock(&self.shared.late) = Some(LateEvent::new(plural, number, time));
    }

    /// From now on calls fail no more.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Every call since the last look, oldest first.
    #[must_use]
    pub fn take_calls(&self) -> Vec<ApiCall> {
        std::mem::take(&mut lock(&self.shared.calls))
    }

    /// Every call that was passed on, and the code of the API server's answer, in the order of the
    /// answers.
    #[must_use]
    pub fn answers(&self) -> Vec<(ApiCall, u16)> {
        lock(&self.shared.answers).clone()
    }
}

impl std::fmt::Debug for ApiProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiProxy").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Shared {
    /// What the next fault that matches does, if there is one.
    fn failure_of(&self, call: &ApiCall) -> Option<Failure> {
        let mut faults = lock(&self.faults);
        let fault = faults.iter_mut().find_map(|fault| fault.strikes(call).then_some(fault));
        fault.map(|fault| fault.failure)
    }

    /// Where everything stops, if it does at this call.
    fn stop_of(&self, call: &ApiCall) -> Option<Stop> {
        let mut stop = lock(&self.stop);
        let at = stop.as_mut().filter(|at| (at.counts)(call))?;
        if at.passing > 0 {
            at.passing -= 1;
            return None;
        }
        Some(at.stop)
    }

    async fn wait_if_stopped(&self) {
        if *self.stopped.borrow() {
            std::future::pending::<()>().await;
        }
    }

    /// The call as it would have been answered in the past, if it is a list and the past is shown.
    fn backdated(&self, call: &ApiCall, mut request: Request) -> Request {
        let stale = lock(&self.stale);
        let is_list =
            call.method == Method::GET && !call.is_watch() && call.query.contains("limit=");
        if let Some(version) =
            stale.as_ref().filter(|_| is_list && !call.query.contains("continue"))
        {
            let exact = format!("resourceVersion={version}&resourceVersionMatch=Exact");
            let uri = format!("{}?{}&{exact}", call.path, call.query);
            *request.uri_mut() = uri.parse().unwrap_or_default();
        }
        request
    }

    /// The answer as it is shown: the events of a watch may be late.
    fn show(&self, call: &ApiCall, answer: Response) -> Response {
        let late = lock(&self.late).clone();
        match late.filter(|late| call.is_watch() && late.is_of(&call.path)) {
            Some(late) => {
                answer.map(|body| Body::from_stream(late.hold_back(body.into_data_stream())))
            }
            None => answer,
        }
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<CutSwitch>,
    request: Request,
) -> Response {
    let call = ApiCall {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
    };
    shared.wait_if_stopped().await;
    let failure = shared.failure_of(&call);
    let stop = shared.stop_of(&call);
    lock(&shared.calls).push(call.clone());
    if let Some(stop) = stop {
        if stop == Stop::After {
            drop(pass_on(&shared, &call, request).await);
        }
        shared.stopped.send_replace(true);
        return std::future::pending().await;
    }
    match failure {
        None => {
            let request = shared.backdated(&call, request);
            shared.show(&call, pass_on(&shared, &call, request).await)
        }
        Some(Failure::Status(code)) => refusal(code),
        Some(Failure::TooMany) => ([(header::RETRY_AFTER, "1")], refusal(429)).into_response(),
        Some(Failure::Cut) => cut(&switch),
        Some(Failure::Hang) => std::future::pending().await,
        Some(Failure::LostAnswer) => {
            drop(pass_on(&shared, &call, request).await);
            cut(&switch)
        }
    }
}

/// What is answered here is never written.
fn cut(switch: &CutSwitch) -> Response {
    switch.cut();
    StatusCode::OK.into_response()
}

/// An answer as the API server words it.
fn refusal(code: u16) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
        "reason": "Test", "message": format!("the proxy says {code}"),
    });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn pass_on(shared: &Shared, call: &ApiCall, request: Request) -> Response {
    match try_pass_on(&shared.client, request).await {
        Ok(answer) => {
            lock(&shared.answers).push((call.clone(), answer.status().as_u16()));
            answer
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn try_pass_on(client: &Client, request: Request) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(header::HOST);
    let body = to_bytes(body, MAX_REQUEST).await?;
    let request = axum::http::Request::from_parts(parts, body.to_vec().into());
    Ok(client.send(request).await?.map(Body::new))
}

/// A panic elsewhere does not make the record unusable.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
