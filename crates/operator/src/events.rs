//! Events on `OMJob`s and `CronOMJob`s: what `kubectl describe` shows.
//!
//! They are written in the background and may be lost; nothing waits for them. An event that repeats is
//! one object with a count: its name is a digest of what it says, so that nothing has to remember.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::IgnoredAny;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::clock;
use crate::create::create;
use crate::error::code;

/// Source of the events; upstream's.
const COMPONENT: &str = "omjob-operator";
/// Events that may wait; more are dropped, so that a slow API server does not cost memory.
const WAITING: usize = 4096;
/// Events that are written at once.
const AT_ONCE: usize = 8;
/// The API server's limit for a message.
const MESSAGE: usize = 1024;

/// Whether an event is good or bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As it should be.
    Normal,
    /// Somebody may want to look.
    Warning,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) kind: Kind,
    /// A word for scripts.
    pub(crate) reason: &'static str,
    /// A sentence for people.
    pub(crate) message: String,
}

impl Note {
    pub(crate) fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into() }
    }
}

/// The sender of events.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    queue: mpsc::Sender<Event>,
}

impl Events {
    /// The events, and the work of writing them, which ends when the last sender is dropped.
    pub(crate) fn new(client: Client) -> (Self, impl Future<Output = ()>) {
        let (queue, mut waiting) = mpsc::channel(WAITING);
        let work = async move {
            let limit = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
            let mut writes = tokio::task::JoinSet::new();
            while let Some(event) = waiting.recv().await {
                let Ok(permit) = Arc::clone(&limit).acquire_owned().await else { return };
                let client = client.clone();
                writes.spawn(async move {
                    write(&client, &event).await;
                    drop(permit);
                });
                while writes.try_join_next().is_some() {}
            }
            while writes.join_next().await.is_some() {}
        };
        (Self { queue }, work)
    }

    /// Tells an event about an object.
    pub(crate) fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, note: &Note) {
        if self.queue.try_send(event(object, note, clock::now())).is_err() {
            tracing::debug!(reason = note.reason, "dropped an event: too many wait");
        }
    }
}

fn event<K: Resource<DynamicType = ()>>(object: &K, note: &Note, now: Timestamp) -> Event {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    let message: String = note.message.chars().take(MESSAGE / 4).collect();
    let digest = hex::encode(Sha256::digest(format!("{uid}\n{}\n{message}", note.reason)));
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{}", &digest[..16])),
            namespace: object.namespace(),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            namespace: object.namespace(),
            name: Some(name),
            uid: Some(uid),
            ..ObjectReference::default()
        },
        type_: Some(if note.kind == Kind::Normal { "Normal" } else { "Warning" }.to_owned()),
        reason: Some(note.reason.to_owned()),
        message: Some(message),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: None }),
        reporting_component: Some(COMPONENT.to_owned()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}

async fn write(client: &Client, event: &Event) {
    let namespace = event.namespace().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let written = match create::<_, IgnoredAny>(client, event).await {
        Err(error) if code(&error) == 409 => count_again(&api, event).await,
        other => other.map(drop),
    };
    if let Err(error) = written {
        tracing::debug!(%error, reason = event.reason, "could not write an event");
    }
}

async fn count_again(api: &Api<Event>, event: &Event) -> Result<(), kube::Error> {
    let name = event.name_any();
    let count = api.get(&name).await?.count.unwrap_or(1).saturating_add(1);
    let patch = json!({ "count": count, "lastTimestamp": event.last_timestamp });
    api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}
