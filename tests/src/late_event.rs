//! A watch event that comes late, or never because its object has changed again: what a watch that
//! lags does to a controller.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use futures::{Stream, StreamExt};
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep_until};

/// Which event comes late, and how late at most.
#[derive(Clone, Debug)]
pub(crate) struct LateEvent {
    plural: String,
    number: usize,
    time: Duration,
    /// Events of the kind so far, in all watches.
    seen: Arc<AtomicUsize>,
}

/// A watch on its way through.
struct Passage<S> {
    late: LateEvent,
    body: S,
    /// Bytes of a line that is not whole yet.
    rest: Vec<u8>,
    ready: VecDeque<Vec<u8>>,
    held: Option<(Vec<u8>, Instant)>,
}

impl LateEvent {
    pub(crate) fn new(plural: &str, number: usize, time: Duration) -> Self {
        Self { plural: plural.to_owned(), number, time, seen: Arc::default() }
    }

    pub(crate) fn is_of(&self, path: &str) -> bool {
        path.ends_with(&format!("/{}", self.plural))
    }

    /// The watch with the event held back.
    pub(crate) fn hold_back<S, E>(self, body: S) -> impl Stream<Item = Result<Bytes, E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        let passage =
            Passage { late: self, body, rest: Vec::new(), ready: VecDeque::new(), held: None };
        futures::stream::unfold(passage, |mut passage| async move {
            Some((passage.next().await?, passage))
        })
    }
}

impl<S, E> Passage<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    async fn next(&mut self) -> Option<Result<Bytes, E>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line.into()));
            }
            let end = self.held.as_ref().map(|(_, end)| *end);
            tokio::select! {
                chunk = self.body.next() => match chunk? {
                    Ok(chunk) => self.take(&chunk),
                    Err(error) => return Some(Err(error)),
                },
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => {
                    self.ready.extend(self.held.take().map(|(line, _)| line));
                }
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        self.rest.extend_from_slice(chunk);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line = self.rest.drain(..=end).collect();
            self.sort(line);
        }
    }

    fn sort(&mut self, line: Vec<u8>) {
        let number = self.late.seen.fetch_add(1, Ordering::Relaxed);
        if self.held.as_ref().is_some_and(|(held, _)| object_of(held) == object_of(&line)) {
            self.held = None;
        }
        if number == self.late.number {
            self.held = Some((line, Instant::now() + self.late.time));
        } else {
            self.ready.push_back(line);
        }
    }
}

fn object_of(line: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(line).ok()?;
    Some(event.get("object")?.get("metadata")?.get("uid")?.as_str()?.to_owned())
}
