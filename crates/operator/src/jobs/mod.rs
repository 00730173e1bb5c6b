//! The reporter of plain Jobs: fetch · validate · decide · apply · report.
//!
//! ```text
//!  Jobs ──watch──► RunView ─┐                ┌─► Job: finalizer, record, reported
//!                           ├─► job::decide ─┼─► pods: track, delete, release
//!  Pods ──watch──► RunPod ──┘     (pure)     └─► OpenMetadata: last resort
//! ```
//!
//! Kubernetes runs these Jobs; this makes sure that their end is reported. What must hold is in
//! [`ompipe_core::job`]. It is separate from the controllers of custom resources: where its rights are
//! missing, it says so and those work on.

mod apply;
mod drain;
mod gone;
mod observe;
mod view;
mod watches;

use std::sync::Arc;

use futures::{FutureExt, Stream, StreamExt, future};
use kube::runtime::controller::{self, Action, applier};
use kube::runtime::reflector::{self, ObjectRef, Store};
use ompipe_core::job::decide;
use ompipe_core::omjob::Source;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::apart::{apart, first_of};
use crate::by_owner::ByOwner;
use crate::clock;
use crate::context::Context;
use crate::error::{Error, result_of};
use crate::metrics::Controller;
use crate::queue::{Failures, Lane, Places, Queue, Taken};
use crate::ready::Ready;
use crate::retry::after_failure;
use crate::scope::Scope;
use crate::settings::Settings;
use crate::tracking::Pods;
use apply::{Outcome, Pass};
pub(crate) use drain::{let_go_of, require_rights};
use view::{RunPod, RunView};

/// Decisions that may follow each other in one pass; more would be a defect of `decide`.
const DECISIONS: usize = 8;

/// Jobs that are dealt with at once. Most of them wait for OpenMetadata: more than the places of a
/// few servers that hang.
const PLACES: usize = 128;

/// What the reporter of a scope keeps.
#[derive(Debug)]
pub(crate) struct Reporter {
    context: Arc<Context>,
    cache: Store<RunView>,
    cache_ready: Ready,
    /// Pods by the UID of their Job.
    pods: ByOwner<RunPod>,
    queue: Queue<RunView>,
    /// Reconciles in a row that failed.
    failures: Failures<ObjectRef<RunView>>,
    /// Reports in a row that OpenMetadata refused.
    refused_reports: Failures<ObjectRef<RunView>>,
}

impl Reporter {
    /// The reporter, and what keeps and triggers it.
    pub(crate) fn new(
        context: Arc<Context>,
        settings: &Settings,
    ) -> (Arc<Self>, Feed<impl Stream<Item = ObjectRef<RunView>> + use<>>) {
        let (cache, writer) = reflector::store();
        let (queue, triggers) = Queue::new(Places::going_on(PLACES));
        let longest = settings.requeue_delay.get();
        let (failures, refused_reports) = (Failures::new(longest), Failures::new(longest));
        let pods = ByOwner::default();
        let cache_ready = Ready::of(&cache);
        let reporter = Self { context, cache, cache_ready, pods, queue, failures, refused_reports };
        (Arc::new(reporter), Feed { cache: writer, triggers })
    }

    /// The pods of Jobs, to be written.
    pub(crate) fn attempts(&self) -> Pods<'_, RunPod> {
        let archiver = self.context.archiver.as_deref();
        Pods { writes: &self.context.writes, cache: &self.pods, archiver }
    }

    /// The pods that the caches know.
    pub(crate) const fn pods(&self) -> &ByOwner<RunPod> {
        &self.pods
    }

    /// Has a Job looked at again.
    pub(crate) fn look_at(&self, job: &str, namespace: &str) {
        self.queue.add(ObjectRef::new(job).within(namespace), Lane::GoesOn);
    }

    /// Jobs that wait to be dealt with.
    pub(crate) fn depth(&self) -> usize {
        self.queue.depth()
    }

    /// Since when the oldest end is not known to OpenMetadata.
    pub(crate) fn unreported_since(&self) -> Option<jiff::Timestamp> {
        self.cache.state().iter().filter_map(|run| run.seen().unreported_since()).min()
    }

    /// Forgets a Job that is gone.
    fn forget(&self, key: &ObjectRef<RunView>) {
        self.queue.take(key);
        self.failures.clear(key);
        self.refused_reports.clear(key);
    }
}

/// Where the watch of the Jobs writes, and the end of the queue.
pub(crate) struct Feed<T> {
    cache: reflector::store::Writer<RunView>,
    triggers: T,
}

/// Watches and reports until cancelled; what has begun then is brought to its end.
pub(crate) async fn run(
    scope: Scope,
    reporter: Arc<Reporter>,
    feed: Feed<impl Stream<Item = ObjectRef<RunView>> + Send>,
    cancel: CancellationToken,
) {
    let triggers = feed.triggers.take_until(cancel.cancelled());
    let mut work = vec![
        watches::keep(&scope, feed.cache, &reporter).boxed(),
        control(&reporter, triggers).boxed(),
        cancelled_early(&reporter, &cancel).boxed(),
    ];
    if reporter.context.draining {
        work.push(drain::drain(&reporter).boxed());
    }
    first_of(work).await;
}

/// A cancellation before the caches were ready, which they never are without the rights: there is
/// nothing to finish.
async fn cancelled_early(reporter: &Reporter, cancel: &CancellationToken) {
    tokio::select! {
        () = reporter.ready() => future::pending().await,
        () = cancel.cancelled() => {}
    }
}

/// Reconciles what the queue brings, until it ends.
async fn control(
    reporter: &Arc<Reporter>,
    triggers: impl Stream<Item = ObjectRef<RunView>> + Send,
) {
    // The applier waits for its cache too, which wakes only one waiter.
    reporter.ready().await;
    let triggers = triggers.map(Ok::<_, std::convert::Infallible>);
    // How many go on at once is the queue's to say, and for reports each server's.
    let config = controller::Config::default();
    let reconcile = |run, reporter| Box::pin(apart(reconcile(run, reporter)));
    let cache = reporter.cache.clone();
    applier(reconcile, error_policy, Arc::clone(reporter), cache, Box::pin(triggers), config)
        .for_each_concurrent(None, |result| gone::release_if_gone(Arc::clone(reporter), result))
        .await;
}

/// One pass, measured.
async fn reconcile(run: Arc<RunView>, reporter: Arc<Reporter>) -> Result<Action, Error> {
    let (key, context) = (ObjectRef::from_obj(&*run), &reporter.context);
    // It keeps its place until this ends, or until it waits for OpenMetadata.
    let taken = reporter.queue.take(&key);
    taken.as_ref().inspect(|one| context.metrics.dequeued(Controller::Job, one.waited));
    let idle = context.draining || !context.writes.leadership().is_held();
    if idle || context.written.is_ahead_of(&*run) {
        // The next leader does it, or the watch brings what we wrote.
        return Ok(Action::await_change());
    }
    let begin = Instant::now();
    let result = pass(&run, &reporter, taken).await;
    context.metrics.reconciled(Controller::Job, result_of(&result), begin.elapsed());
    result.inspect(|_| reporter.failures.clear(&key))
}

/// Decides and applies until nothing is left to do now.
async fn pass(
    run: &Arc<RunView>,
    reporter: &Reporter,
    place: Option<Taken>,
) -> Result<Action, Error> {
    let mut observed = run.observed(reporter.attempts_of(run), Source::Cache);
    observed.outage = reporter.context.servers.is_down_for(run.uid());
    let look = reporter.explain(run, &mut observed).await;
    let mut pass = Pass::new(reporter, Arc::clone(run), place);
    for _ in 0..DECISIONS {
        let decision = decide(&observed, clock::now());
        match pass.apply(&decision, &observed).await? {
            Outcome::Again(again) => observed = *again,
            Outcome::Gone => return Ok(Action::await_change()),
            Outcome::Done if observed.report.is_some() => {
                return Ok(reporter.after_report(run, decision.next_look));
            }
            Outcome::Done => {
                let look = decision.next_look.into_iter().chain(look).min().map(clock::until);
                return Ok(look.map_or_else(Action::await_change, Action::requeue));
            }
        }
    }
    tracing::error!(job = %ObjectRef::from_obj(&**run), "the reconcile did not converge: this is a defect of the operator");
    Ok(Action::await_change())
}

impl Reporter {
    /// When to report again, if that is to be. An outage is looked after all the time, which costs
    /// nothing; a refusal is not.
    fn after_report(&self, run: &RunView, next_look: Option<jiff::Timestamp>) -> Action {
        let key = ObjectRef::from_obj(run);
        let Some(time) = next_look else {
            self.refused_reports.clear(&key);
            return Action::await_change();
        };
        let wait = clock::until(time);
        if self.context.servers.is_down_for(run.uid()) {
            return Action::requeue(wait);
        }
        Action::requeue(self.refused_reports.add(key).max(wait))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is the applier's")]
fn error_policy(run: Arc<RunView>, error: &Error, reporter: Arc<Reporter>) -> Action {
    after_failure(&*run, error, &reporter.failures, &reporter.context.events)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Request, Response};
    use k8s_openapi::api::batch::v1::Job;
    use kube::Client;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;
    use crate::events::Events;
    use crate::lease::Leadership;
    use crate::metrics::Metrics;
    use crate::servers::Servers;
    use crate::settings::OperatorArgs;
    use crate::writes::Writes;

    fn job() -> Value {
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1" },
        })
    }

    /// A reporter whose API server fails the first request and answers the others with the Job.
    fn reporter() -> Arc<Reporter> {
        let mut codes = [500].into_iter();
        let client = Client::new(
            service_fn(move |_: Request<Body>| {
                let code = codes.next().unwrap_or(200);
                let answer = Response::builder().status(code);
                std::future::ready(answer.body(Body::from(job().to_string().into_bytes())))
            }),
            "n",
        );
        let settings = Settings::read(&OperatorArgs::default()).unwrap().settings;
        let (events, _write) = Events::new(client.clone());
        let writes = Writes::new(client, Leadership::without_election());
        let (metrics, servers) = (Metrics::new(), Servers::default());
        let (context, _) = Context::new(writes, events, metrics, servers, None, &settings);
        Reporter::new(Arc::new(context), &settings).0
    }

    #[tokio::test]
    async fn a_reconcile_that_succeeds_clears_the_failures_before_it() {
        let reporter = reporter();
        let run = Arc::new(RunView::from(serde_json::from_value::<Job>(job()).unwrap()));
        let error = reconcile(Arc::clone(&run), Arc::clone(&reporter)).await.unwrap_err();
        error_policy(Arc::clone(&run), &error, Arc::clone(&reporter));
        reconcile(Arc::clone(&run), Arc::clone(&reporter)).await.unwrap();
        let next = reporter.failures.add(ObjectRef::from_obj(&*run));
        assert_eq!(next, Duration::from_millis(250));
    }
}
