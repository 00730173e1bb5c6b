//! What changes about runs, as Server-Sent Events: for a list that keeps itself up to date.
//!
//! Each event comes from comparing a [`Snapshot`] with the one before, which all callers share. The id of
//! an event is a time, so that any replica can take a stream up again.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, future, stream};
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use ompipe_core::RunId;
use ompipe_core::archive::RunRecord;
use ompipe_core::history::RunFilter;
use ompipe_core::shares::{Share, Shares};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tracing::debug;
use utoipa::ToSchema;

use super::asked::Asked;
use super::follow::{ALIVE_EVERY, BUFFERING, LAST_EVENT_ID};
use super::history::RecordedRun;
use super::problem::Problem;
use crate::app::Shared;
use crate::board::Snapshot;

/// Streams at the same time.
const SUBSCRIBERS: usize = 128;
/// Those of one peer, which may be a proxy for many.
const OF_A_PEER: usize = SUBSCRIBERS / 4;
/// Time between two comparisons.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Maximum age of a listing: callers that ask at the same time share one.
const MAX_AGE: Duration = Duration::from_secs(1);
/// How long a stream lasts. Its caller comes back, and the login is checked again.
const LONGEST: Duration = Duration::from_hours(1);
/// Clocks of nodes, of the cluster and of this host may differ by so much.
const MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// Data of an event `gone`: a run that had not ended is no longer there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gone {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    run_id: RunId,
}

/// Places for those who follow changes.
pub(super) struct Subscribers {
    all: Arc<Semaphore>,
    of_peers: Arc<Shares<IpAddr>>,
}

/// A place; it is free again when this is dropped.
type Place = (OwnedSemaphorePermit, Share<IpAddr>);

impl Subscribers {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(SUBSCRIBERS)), of_peers: Shares::new(OF_A_PEER) }
    }

    fn place(&self, peer: IpAddr) -> Result<Place, Problem> {
        let place = Arc::clone(&self.all).try_acquire_owned().ok();
        place.zip(self.of_peers.take(&peer)).ok_or_else(|| {
            let detail = "too many callers follow changes at the same time";
            Problem::plain(StatusCode::SERVICE_UNAVAILABLE, detail).and_retry_after(5)
        })
    }
}

/// Follow what changes.
///
/// Events: `run` with a run that began, changed or ended (a recorded run), `gone` with the id of one that
/// was deleted before it ended. The first events are the runs that wait or go on. A stream that breaks
/// off is taken up again with `Last-Event-ID`, as browsers do of themselves; then a run may come
/// twice, but none is left out. A stream ends after an hour, and is taken up again likewise.
#[utoipa::path(
    get,
    path = "/runs/changes",
    operation_id = "followChanges",
    tag = "runs",
    params(
        ("pipeline" = Option<String>, Query, description = "Only runs of the pipeline with that fully qualified name"),
        ("service" = Option<String>, Query, description = "Only runs of pipelines of that service"),
        ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that came"),
    ),
    responses((status = 200, description = "The events", body = String, content_type = "text/event-stream"))
)]
pub(super) async fn follow(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Response, Problem> {
    let filter = asked.read(|fields| RunFilter {
        pipeline: fields.string("pipeline").map(str::to_owned),
        service: fields.string("service").map(str::to_owned),
        ..RunFilter::default()
    })?;
    let place = app.api.subscribers.place(peer.ip())?;
    let had = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse().ok());
    let had = had.and_then(|id| Timestamp::from_millisecond(id).ok());
    let snapshot = app.board.snapshot(&app.client, MAX_AGE).await?;
    let mut changes = Changes::new(filter, had.unwrap_or(snapshot.now));
    let waiting = changes.since_then(&snapshot);
    // Another replica takes it up when this one is about to end.
    let stop = app.stop.clone().cancelled_owned();
    let follower = Follower { app, changes, waiting, _place: place };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let end = future::select(Box::pin(stop), Box::pin(sleep(LONGEST)));
    let events = Sse::new(events.take_until(end));
    let events = events.keep_alive(KeepAlive::new().interval(ALIVE_EVERY));
    Ok(([(BUFFERING, "no")], events).into_response())
}

struct Follower {
    app: Shared,
    changes: Changes,
    /// Events that the caller has not read yet; nothing is compared before it has.
    waiting: VecDeque<Event>,
    _place: Place,
}

impl Follower {
    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            sleep(LOOK_EVERY).await;
            match self.app.board.snapshot(&self.app.client, MAX_AGE).await {
                Ok(snapshot) => self.waiting = self.changes.since_then(&snapshot),
                Err(error) => debug!(%error, "changes are not known at the moment"),
            }
        }
    }
}

/// What one caller was told.
struct Changes {
    filter: RunFilter,
    /// Until when it was told everything.
    until: Timestamp,
    /// What it was told of runs that may change, or changed a moment ago.
    told: HashMap<RunId, Told>,
}

struct Told {
    digest: u64,
    has_ended: bool,
}

impl Changes {
    fn new(filter: RunFilter, until: Timestamp) -> Self {
        Self { filter, until, told: HashMap::new() }
    }

    /// The events since the last call, the oldest first. Only the last has an id: who comes back after a
    /// part of them gets them all again.
    fn since_then(&mut self, snapshot: &Snapshot) -> VecDeque<Event> {
        let news = self.news(snapshot);
        let last = news.len().saturating_sub(1);
        let id = self.until.as_millisecond().to_string();
        let number = |(number, event): (usize, News)| {
            let event = event.event()?;
            Some(if number == last { event.id(id.clone()) } else { event })
        };
        news.into_iter().enumerate().filter_map(number).collect()
    }

    fn news(&mut self, snapshot: &Snapshot) -> Vec<News> {
        let since = self.until.checked_sub(MARGIN).unwrap_or(Timestamp::MIN);
        let mut fresh: Vec<&RunRecord> = snapshot
            .runs
            .iter()
            .filter(|run| !run.state.is_terminal() || changed_at(run) >= Some(since))
            .filter(|run| self.filter.accepts(run))
            .collect();
        fresh.sort_by_key(|run| changed_at(run));
        let mut told = HashMap::new();
        let mut news = Vec::new();
        for run in fresh {
            let now = Told { digest: digest(run), has_ended: run.state.is_terminal() };
            if self.told.get(&run.run_id).is_none_or(|before| before.digest != now.digest) {
                news.push(News::Run(Box::new(run.clone())));
            }
            told.insert(run.run_id, now);
        }
        let before = std::mem::replace(&mut self.told, told).into_iter();
        let gone = before.filter(|(id, was)| !was.has_ended && !self.told.contains_key(id));
        news.extend(gone.map(|(id, _)| News::Gone(id)));
        self.until = snapshot.now;
        news
    }
}

#[derive(Debug)]
enum News {
    Run(Box<RunRecord>),
    Gone(RunId),
}

impl News {
    fn event(self) -> Option<Event> {
        let event = match self {
            Self::Run(run) => Event::default().event("run").json_data(RecordedRun::from(*run)),
            Self::Gone(run_id) => Event::default().event("gone").json_data(Gone { run_id }),
        };
        event.inspect_err(|error| debug!(%error, "an event could not be written")).ok()
    }
}

/// When something of a run last changed, as far as it has times.
fn changed_at(run: &RunRecord) -> Option<Timestamp> {
    let of_attempts = run.attempts.iter().flat_map(|attempt| {
        [attempt.created, attempt.scheduled, attempt.started, attempt.finished]
    });
    of_attempts.chain([run.created, run.finished, run.reported_at]).flatten().max()
}

/// Names what a run says; when it was looked at is no part of that.
fn digest(run: &RunRecord) -> u64 {
    let mut hasher = DefaultHasher::new();
    let RunRecord { state, reason, message, finished, reported_at, attempts, .. } = run;
    (state.as_str(), reason, message, finished, reported_at).hash(&mut hasher);
    (attempts.len(), changed_at(run)).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::board::tests::{at, record};

    /// Runs by number and state, each created at 1000.
    fn snapshot(now: i64, runs: &[(u128, &str)]) -> Snapshot {
        let runs = runs.iter().map(|(number, state)| {
            let finished = (*state == "success").then(|| at(now));
            let fields = json!({ "state": state, "created": at(1000), "finished": finished });
            record(*number, if *number < 9 { "shop.a" } else { "crm.b" }, &fields)
        });
        Snapshot::new(at(now), Vec::new(), runs.collect())
    }

    fn changes(until: i64) -> Changes {
        Changes::new(RunFilter::default(), at(until))
    }

    /// What events say, such as `1 running` or `1 gone`.
    fn told(changes: &mut Changes, snapshot: &Snapshot) -> Vec<String> {
        let number = |id: RunId| id.to_string().trim_start_matches(['0', '-']).to_owned();
        let words = |news: News| match news {
            News::Run(run) => format!("{} {}", number(run.run_id), run.state.as_str()),
            News::Gone(id) => format!("{} gone", number(id)),
        };
        changes.news(snapshot).into_iter().map(words).collect()
    }

    #[test]
    fn a_caller_hears_of_each_change_once() {
        let mut changes = changes(1000);
        let before = snapshot(1000, &[(1, "running"), (2, "queued")]);
        assert_eq!(told(&mut changes, &before), ["1 running", "2 queued"]);
        assert_eq!(told(&mut changes, &before), [""; 0]);
        let after = snapshot(1010, &[(1, "running"), (2, "running"), (3, "queued")]);
        assert_eq!(told(&mut changes, &after), ["2 running", "3 queued"]);
        let ended = snapshot(1020, &[(1, "success"), (2, "running")]);
        assert_eq!(told(&mut changes, &ended), ["1 success", "3 gone"]);
        // Ended runs are forgotten, and do not come back.
        let runs = ended.runs.clone();
        let later = Snapshot::new(at(5000), Vec::new(), runs);
        assert_eq!(told(&mut changes, &later), [""; 0]);
        assert_eq!(told(&mut changes, &later), [""; 0]);
        assert_eq!(changes.told.len(), 1);
    }

    #[test]
    fn who_comes_back_hears_of_what_ended_meanwhile_from_whichever_replica() {
        let ended = snapshot(2000, &[(1, "success"), (2, "running")]);
        assert_eq!(told(&mut changes(1900), &ended), ["2 running", "1 success"]);
        let later = Snapshot::new(at(9000), Vec::new(), ended.runs.clone());
        assert_eq!(told(&mut changes(2500), &later), ["2 running"]);
    }

    #[test]
    fn only_the_last_event_has_an_id() {
        let mut changes = changes(1000);
        let events = changes.since_then(&snapshot(1000, &[(1, "running"), (2, "running")]));
        let texts: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
        assert_eq!(texts.len(), 2);
        let has_id = |text: &String| text.contains("1000000");
        assert_eq!(texts.iter().map(has_id).collect::<Vec<_>>(), [false, true], "{texts:?}");
    }

    #[test]
    fn a_filter_leaves_out_what_is_not_meant() {
        let filter = RunFilter { service: Some("crm".to_owned()), ..RunFilter::default() };
        let mut changes = Changes::new(filter, at(1000));
        let found = snapshot(1000, &[(1, "running"), (9, "running")]);
        assert_eq!(told(&mut changes, &found), ["9 running"]);
    }

    #[test]
    fn a_peer_has_a_part_of_the_places() {
        let subscribers = Subscribers::new();
        let peer = |last: u8| IpAddr::from([10, 0, 0, last]);
        let places: Vec<_> =
            std::iter::from_fn(|| subscribers.place(peer(1)).ok()).take(SUBSCRIBERS).collect();
        assert_eq!(places.len(), OF_A_PEER);
        assert!(subscribers.place(peer(2)).is_ok());
        drop(places);
        assert!(subscribers.place(peer(1)).is_ok());
    }
}
