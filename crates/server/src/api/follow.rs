//! A run that is followed: its log as it grows, its states, its end, as Server-Sent Events.

use std::convert::Infallible;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::channel::mpsc;
use futures::{FutureExt, SinkExt, StreamExt, future, stream};
use http::{HeaderMap, HeaderName};
use ompipe_client::{Error, RunObserver};
use serde::Serialize;
use tracing::debug;
use utoipa::ToSchema;

use super::asked::{NamedRun, RunPath};
use super::problem::Problem;
use super::run::Run;
use super::runs;
use crate::app::Shared;

/// Where a caller whose connection broke goes on.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells proxies of nginx's kind not to hold events back.
pub(super) const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Pause in which a sign of life is sent: less than what proxies take for a dead connection.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Data of an event `log`: a piece of the log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogPiece {
    /// Of which attempt, from 1.
    attempt: usize,
    /// Of which pod.
    pod: String,
    /// The text that follows on the piece before.
    text: String,
}

/// Data of an event `warning`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Warning {
    /// What Kubernetes warns of.
    message: String,
}

/// Data of the event `end`: one of both.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum End {
    /// The run, which has ended.
    Run(Box<Run>),
    /// Why it could not be followed to its end.
    Problem(Box<Problem>),
}

/// Follow a run.
///
/// Events: `state` whenever the run's state or what it waits for changes (a run), `warning` when
/// Kubernetes warns of it, `log` with a piece of the log of the attempt that goes on, `end` when
/// nothing follows. A stream that breaks off without `end` is taken up again with `Last-Event-ID`,
/// as browsers do of themselves: what of the log was had already is not sent again.
#[utoipa::path(
    get,
    path = "/pipelines/{pipeline}/runs/{runId}/logs/follow",
    operation_id = "followRun",
    tag = "logs",
    params(
        RunPath,
        ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that came"),
    ),
    responses((status = 200, description = "The events", body = String, content_type = "text/event-stream"))
)]
pub(super) async fn follow(
    State(app): State<Shared>,
    named: NamedRun,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = app.api.place()?;
    let run = runs::known(&app, &named).await?;
    let had = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse().ok());
    let (tell, told) = mpsc::channel(1);
    // Another replica takes it up when this one is about to end.
    let stop = app.stop.clone().cancelled_owned();
    let telling = async move {
        let mut listener = Listener::new(tell, had.unwrap_or_default());
        let end = app.client.follow(run.kind, &run.job, run.run_id, &mut listener).await;
        listener.end(end).await;
        drop(place);
    };
    // The stream drives the telling: it ends with the caller's connection.
    let telling = telling.into_stream().map(|()| None);
    let events = stream::select(told.map(Some), telling).filter_map(future::ready);
    let events = Sse::new(events.take_until(stop).map(Ok::<_, Infallible>));
    let events = events.keep_alive(KeepAlive::new().interval(ALIVE_EVERY));
    Ok(([(BUFFERING, "no")], events).into_response())
}

/// How far the log of a run was told: the id of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    attempt: usize,
    /// Bytes of that attempt.
    bytes: usize,
}

impl FromStr for Position {
    type Err = ();

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let (attempt, bytes) = id.split_once('.').ok_or(())?;
        let number = |text: &str| text.parse().map_err(|_| ());
        Ok(Self { attempt: number(attempt)?, bytes: number(bytes)? })
    }
}

/// Makes events of what a run does.
struct Listener {
    tell: mpsc::Sender<Event>,
    /// Events that were not told yet.
    waiting: Vec<Event>,
    /// What the caller has.
    had: Position,
    at: Position,
    pod: String,
    text: Text,
}

impl Listener {
    fn new(tell: mpsc::Sender<Event>, had: Position) -> Self {
        let at = Position::default();
        Self { tell, waiting: Vec::new(), had, at, pod: String::new(), text: Text::default() }
    }

    fn add(&mut self, event: Event, data: &impl Serialize) {
        match event.json_data(data) {
            Ok(event) => self.waiting.push(event),
            Err(error) => debug!(%error, "an event could not be written"),
        }
    }

    /// Skips what the caller has of a piece of the log.
    fn news<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        let had = match self.at.attempt.cmp(&self.had.attempt) {
            std::cmp::Ordering::Less => piece.len(),
            std::cmp::Ordering::Equal => {
                self.had.bytes.saturating_sub(self.at.bytes).min(piece.len())
            }
            std::cmp::Ordering::Greater => 0,
        };
        self.at.bytes += piece.len();
        &piece[had..]
    }

    fn add_text(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        // What is kept back was not told.
        let Position { attempt, bytes } = self.at;
        let event = Event::default().event("log");
        let event = event.id(format!("{attempt}.{}", bytes.saturating_sub(self.text.kept())));
        self.add(event, &LogPiece { attempt, pod: self.pod.clone(), text });
    }

    async fn end(mut self, end: Result<ompipe_core::Run, Error>) {
        let rest = self.text.finish();
        self.add_text(rest);
        let end = match end {
            // Nobody is there to hear it.
            Err(Error::LogSink(_)) => return,
            Ok(run) => End::Run(Box::new(run.into())),
            Err(error) => End::Problem(Box::new(error.into())),
        };
        self.add(Event::default().event("end"), &end);
        if self.settle().await.is_err() {
            debug!("the caller left before the end");
        }
    }
}

impl RunObserver for Listener {
    fn changed(&mut self, run: &ompipe_core::Run) {
        self.add(Event::default().event("state"), &Run::from(run.clone()));
    }

    fn warning(&mut self, message: &str) {
        let message = message.to_owned();
        self.add(Event::default().event("warning"), &Warning { message });
    }

    fn attempt(&mut self, attempt: usize, pod: &str) {
        let rest = self.text.finish();
        self.add_text(rest);
        self.at = Position { attempt, bytes: 0 };
        pod.clone_into(&mut self.pod);
    }

    fn log(&mut self, piece: &[u8]) -> io::Result<()> {
        let piece = self.news(piece);
        let text = self.text.push(piece);
        self.add_text(text);
        Ok(())
    }

    async fn settle(&mut self) -> io::Result<()> {
        for event in std::mem::take(&mut self.waiting) {
            self.tell.send(event).await.map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// Text of bytes that come in pieces, which may end within a character.
#[derive(Debug, Default)]
struct Text {
    rest: Vec<u8>,
}

impl Text {
    /// The text that is whole; the beginning of a character is kept for the next piece.
    fn push(&mut self, piece: &[u8]) -> String {
        self.rest.extend_from_slice(piece);
        let kept = self.rest.split_off(self.rest.len() - unfinished(&self.rest));
        let whole = std::mem::replace(&mut self.rest, kept);
        String::from_utf8_lossy(&whole).into_owned()
    }

    /// What was kept and will not be finished.
    fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }

    fn kept(&self) -> usize {
        self.rest.len()
    }
}

/// How many of the last bytes begin a character without ending it.
fn unfinished(bytes: &[u8]) -> usize {
    let Some(chunk) = bytes.utf8_chunks().last() else { return 0 };
    match std::str::from_utf8(chunk.invalid()) {
        Err(error) if error.error_len().is_none() => chunk.invalid().len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listener(had: Position) -> Listener {
        Listener::new(mpsc::channel(1).0, had)
    }

    /// The text that a caller gets who has some of it, and the last event's id.
    fn heard(attempts: &[&[u8]], piece: usize, had: Position) -> (String, Position) {
        let (mut listener, mut text) = (listener(had), String::new());
        for (number, log) in (1..).zip(attempts) {
            listener.attempt(number, "pod");
            for piece in log.chunks(piece) {
                let news = listener.news(piece).to_vec();
                text.push_str(&listener.text.push(&news));
            }
        }
        let end = Position { bytes: listener.at.bytes - listener.text.kept(), ..listener.at };
        (text, end)
    }

    proptest! {
        #[test]
        fn who_comes_again_misses_nothing_and_hears_nothing_twice(
            first in "[a-zä€😀]{0,30}", second in "[a-zä€😀]{0,30}",
            piece in 1usize..9, until in 0usize..90,
        ) {
            let until = until.min(second.len());
            let (before, had) = heard(&[first.as_bytes(), &second.as_bytes()[..until]], piece, Position::default());
            let (after, _) = heard(&[first.as_bytes(), second.as_bytes()], piece, had);
            prop_assert_eq!(before + &after, first + &second);
        }
    }

    #[test]
    fn what_is_no_text_is_shown_as_such() {
        let mut text = Text::default();
        assert_eq!(text.push(b"a\xff\xe2\x82"), "a\u{fffd}");
        assert_eq!(text.push(b"b"), "\u{fffd}b");
        assert_eq!(text.push(b"\xe2\x82"), "");
        assert_eq!(text.finish(), "\u{fffd}");
    }

    #[test]
    fn an_id_is_a_position() {
        assert_eq!("2.17".parse(), Ok(Position { attempt: 2, bytes: 17 }));
        for nonsense in ["", "2", "2.", "a.b", "2.-1"] {
            assert!(nonsense.parse::<Position>().is_err(), "{nonsense}");
        }
    }
}
