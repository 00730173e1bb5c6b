//! One watched namespace, or the whole cluster: its caches and its two controllers.
//!
//! The caches are kept by followers too, so that a new leader begins at once. Controllers run on
//! every replica and leave everything to do to the leader.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt, future};
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector as reflect};
use kube::{Api, Client, Resource, ResourceExt};
use ompipe_api::POD_TYPE;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::apart::{all_of, first_of};
use crate::context::Context;
use crate::queue::Lane;
use crate::ready::Ready;
use crate::settings::{Settings, WatchNamespaces};
use crate::view::{JobView, PodView, ScheduleView};
use crate::{cronomjob, drain, omjob};

/// Objects in one answer of an initial list: a larger page costs memory that never comes back.
const PAGE: u32 = 100;
/// Longest time between two tries to watch.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The whole cluster.
    Cluster,
    /// One namespace.
    Namespace(String),
}

impl Scope {
    /// What the settings ask for.
    pub(crate) fn all(settings: &Settings, client: &Client) -> Vec<Self> {
        match &settings.watch_namespaces {
            WatchNamespaces::All => vec![Self::Cluster],
            WatchNamespaces::Own => {
                vec![Self::Namespace(settings.own_namespace(client).to_owned())]
            }
            WatchNamespaces::Listed(names) => {
                names.iter().map(|name| Self::Namespace(name.to_string())).collect()
            }
        }
    }

    pub(crate) fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::Cluster => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// Watches and reconciles until cancelled; what has begun then is brought to its end.
pub(crate) async fn run(
    scope: Scope,
    context: Arc<Context>,
    triggers: Triggers<
        impl Stream<Item = ObjectRef<JobView>> + Send,
        impl Stream<Item = ObjectRef<ScheduleView>> + Send,
    >,
    synced: impl FnOnce() + Send,
    cancel: CancellationToken,
) {
    let client = context.writes.client().clone();
    let (schedules, schedules_writer) = reflector::store();
    let caches = Caches::new(context.job_cache.clone(), schedules);
    let controllers = async {
        // Their appliers wait for the caches too, which wake only one waiter.
        caches.ready(&context).await;
        synced();
        let of_jobs = triggers.jobs.take_until(cancel.cancelled());
        let of_schedules = triggers.schedules.take_until(cancel.cancelled());
        all_of([
            omjob::control(Arc::clone(&context), caches.jobs.clone(), of_jobs).boxed(),
            cronomjob::control(Arc::clone(&context), caches.schedules.clone(), of_schedules)
                .boxed(),
        ])
        .await;
    };
    // The watches never end by themselves; they go on while the controllers finish.
    let mut work = vec![
        watch_jobs(scope.api(&client), triggers.job_cache, &context).boxed(),
        watch_pods(scope.api(&client), &context).boxed(),
        watch_schedules(scope.api(&client), schedules_writer, &context).boxed(),
        take_over(&context, &caches).boxed(),
        controllers.boxed(),
        cancelled_early(&context, &caches, &cancel).boxed(),
    ];
    if context.draining {
        work.push(drained(&context, &caches).boxed());
    }
    first_of(work).await;
}

async fn drained(context: &Context, caches: &Caches) {
    caches.ready(context).await;
    drain::drain(context, &caches.jobs, context.drain_limit).await;
}

/// The ends of the two queues.
pub(crate) struct Triggers<J, S> {
    /// Where the watch of the `OMJob`s writes.
    pub(crate) job_cache: reflector::store::Writer<JobView>,
    pub(crate) jobs: J,
    pub(crate) schedules: S,
}

/// What the controllers watch, besides the pods.
struct Caches {
    jobs: Store<JobView>,
    schedules: Store<ScheduleView>,
    all_ready: [Ready; 2],
}

impl Caches {
    fn new(jobs: Store<JobView>, schedules: Store<ScheduleView>) -> Self {
        let all_ready = [Ready::of(&jobs), Ready::of(&schedules)];
        Self { jobs, schedules, all_ready }
    }

    /// Waits for the first whole lists, those of the pods too.
    async fn ready(&self, context: &Context) {
        let [jobs, schedules] = &self.all_ready;
        tokio::join!(jobs.wait(), schedules.wait(), context.pods.ready());
    }
}

/// A cancellation before the caches were ready: there is nothing to finish.
async fn cancelled_early(context: &Context, caches: &Caches, cancel: &CancellationToken) {
    tokio::select! {
        () = caches.ready(context) => future::pending().await,
        () = cancel.cancelled() => {}
    }
}

async fn watch_jobs(
    api: Api<JobView>,
    writer: reflector::store::Writer<JobView>,
    context: &Context,
) {
    let stream = reflect::reflector(writer, events(api, watcher::Config::default()));
    follow(stream, |event| {
        context.children.follow(&event);
        let Some(job) = object_of(&event) else { return };
        if let Event::Delete(job) = &event {
            context.written.forget(job.uid());
            context.servers.forget(job.uid());
        }
        if let (Some(schedule), Some(namespace)) = (job.schedule(), job.namespace()) {
            context.schedules.add(ObjectRef::new(&schedule.name).within(&namespace), Lane::GoesOn);
        }
        context.jobs.add(ObjectRef::from_obj(job), job.lane());
        context.changes.send_modify(|count| *count += 1);
    })
    .await;
}

async fn watch_pods(api: Api<PodView>, context: &Context) {
    // Both operators set this label, and no server overrides it.
    let config = watcher::Config::default().labels(POD_TYPE);
    follow(events(api, config), |event| {
        context.pods.follow(&event);
        let Some(pod) = object_of(&event) else { return };
        if let (Some(attempt), Some(namespace)) = (&pod.attempt, pod.namespace()) {
            context.jobs.add(ObjectRef::new(&attempt.object).within(&namespace), Lane::GoesOn);
        }
    })
    .await;
}

async fn watch_schedules(
    api: Api<ScheduleView>,
    writer: reflector::store::Writer<ScheduleView>,
    context: &Context,
) {
    let stream = reflect::reflector(writer, events(api, watcher::Config::default()));
    follow(stream, |event| {
        if let Some(schedule) = object_of(&event) {
            context.schedules.add(ObjectRef::from_obj(schedule), Lane::GoesOn);
        }
    })
    .await;
}

/// Enqueues every object when this replica becomes leader.
async fn take_over(context: &Context, caches: &Caches) {
    let leadership = context.writes.leadership().clone();
    loop {
        leadership.wait_until_held().await;
        caches.ready(context).await;
        for job in caches.jobs.state() {
            context.jobs.add(ObjectRef::from_obj(&*job), job.lane());
        }
        for schedule in caches.schedules.state() {
            context.schedules.add(ObjectRef::from_obj(&*schedule), Lane::GoesOn);
        }
        leadership.wait_until_lost().await;
    }
}

/// The usual waits of a watch that fails, but none so long that the end of an outage is seen late:
/// runs have ended meanwhile.
#[derive(Default)]
struct Patience(watcher::DefaultBackoff);

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|wait| wait.min(LONGEST_WAIT))
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// The changes of a kind, for ever.
pub(crate) fn events<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let kind = K::kind(&()).into_owned();
    watcher(api, config.page_size(PAGE)).backoff(Patience::default()).inspect(move |event| {
        if let Err(error) = event {
            tracing::warn!(kind, %error, "a watch failed, and begins again");
        }
    })
}

/// Takes every change in.
pub(crate) async fn follow<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    mut take: impl FnMut(Event<K>),
) {
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        if let Ok(event) = event {
            take(event);
        }
    }
}

/// The object that changed, if one did.
pub(crate) fn object_of<K>(event: &Event<K>) -> Option<&K> {
    match event {
        Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => Some(object),
        Event::Init | Event::InitDone => None,
    }
}
