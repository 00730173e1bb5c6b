//! The watches of the reporter. They are its own: Jobs and their pods have no label in common with
//! those of custom resources, and where the rights for them are missing, only they fail.

use futures::FutureExt;
use kube::ResourceExt;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event};
use ompipe_core::labels;

use super::Reporter;
use super::view::{RunPod, RunView};
use crate::apart::all_of;
use crate::queue::Lane;
use crate::scope::{self, Scope, object_of};

/// Keeps the caches, and triggers; never ends.
pub(super) async fn keep(
    scope: &Scope,
    writer: reflector::store::Writer<RunView>,
    reporter: &Reporter,
) {
    let client = reporter.context.writes.client();
    let jobs = scope::events(scope.api(client), watcher::Config::default().labels(&job_selector()));
    let jobs = kube::runtime::reflector(writer, jobs);
    let pods = watcher::Config::default().labels(&pod_selector());
    let pods = scope::events(scope.api(client), pods);
    all_of([
        scope::follow(jobs, |event| see_job(reporter, &event)).boxed(),
        scope::follow(pods, |event| see_pod(reporter, &event)).boxed(),
        take_over(reporter).boxed(),
    ])
    .await;
}

/// The Jobs of [`ompipe_core::job::is_ours`].
pub(super) fn job_selector() -> String {
    let (name, component) = (labels::NAME, labels::COMPONENT);
    let (product, works) = (labels::NAME_VALUE, [labels::COMPONENT_VALUE, labels::AUTOMATION]);
    format!("{name}={product},{component} in ({})", works.join(","))
}

/// Their pods, as far as their maker labelled them.
pub(super) fn pod_selector() -> String {
    format!("{}={},{}", labels::NAME, labels::NAME_VALUE, labels::JOB_UID)
}

fn see_job(reporter: &Reporter, event: &Event<RunView>) {
    let Some(run) = object_of(event) else { return };
    if let Event::Delete(run) = event {
        reporter.context.written.forget(run.uid());
        reporter.context.servers.forget(run.uid());
    }
    reporter.queue.add(ObjectRef::from_obj(run), Lane::GoesOn);
}

fn see_pod(reporter: &Reporter, event: &Event<RunPod>) {
    reporter.pods.follow(event);
    let Some(pod) = object_of(event) else { return };
    if let (Some(attempt), Some(namespace)) = (&pod.attempt, pod.namespace()) {
        reporter.queue.add(ObjectRef::new(&attempt.object).within(&namespace), Lane::GoesOn);
    }
}

/// Enqueues every Job when this replica becomes leader.
async fn take_over(reporter: &Reporter) {
    let leadership = reporter.context.writes.leadership().clone();
    loop {
        leadership.wait_until_held().await;
        reporter.ready().await;
        for run in reporter.cache.state() {
            reporter.queue.add(ObjectRef::from_obj(&*run), Lane::GoesOn);
        }
        for attempt in reporter.pods.filter(|attempt| attempt.seen.tracked) {
            reporter
                .queue
                .add(ObjectRef::new(&attempt.object).within(&attempt.namespace), Lane::GoesOn);
        }
        leadership.wait_until_lost().await;
    }
}

impl Reporter {
    /// Waits for the first whole lists.
    pub(super) async fn ready(&self) {
        tokio::join!(self.cache_ready.wait(), self.pods.ready());
    }
}
