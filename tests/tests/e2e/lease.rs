//! Leader election on a real API server: one leads, a leader that leaves or falls silent is
//! succeeded, and it knows that before its successor starts.

use std::future::ready;
use std::path::Path;

use axum::http::Method;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use kube::api::{DeleteParams, Patch, PatchParams};
use ompipe_operator::access;
use ompipe_operator::lease::{Leadership, Lease, LeaseSettings, Purpose, RETIRED};
use ompipe_operator::metrics::Metrics;
use ompipe_tests::api_proxy::{ApiCall, ApiFault, ApiProxy, Failure};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::{Scene, eventually};

const LEASE: &str = "ompipe-operator";
/// Long enough for a slow machine to renew in time, short enough to be waited for.
const DURATION: Duration = Duration::from_secs(6);
/// A leader that falls silent stops two seconds before its successor starts, at two thirds of the
/// duration; half a second is for a slow machine to look at the clock.
const STOPS_BEFORE: Duration = Duration::from_millis(1_500);

/// A candidate that reaches the API server through a proxy of its own.
struct Candidate {
    leadership: Leadership,
    proxy: ApiProxy,
    leave: CancellationToken,
    task: JoinSet<()>,
}

impl Candidate {
    async fn new(scene: &Scene, identity: &str) -> Self {
        Self::with(scene, identity, &scene.namespace, DURATION).await
    }

    async fn with(scene: &Scene, identity: &str, namespace: &str, duration: Duration) -> Self {
        Self::start(scene, identity, namespace, duration, Purpose::Lead).await
    }

    /// One that ends the work, at the usual duration.
    async fn retiring(scene: &Scene, identity: &str) -> Self {
        Self::start(scene, identity, &scene.namespace, DURATION, Purpose::Retire).await
    }

    async fn start(
        scene: &Scene,
        identity: &str,
        namespace: &str,
        duration: Duration,
        purpose: Purpose,
    ) -> Self {
        let proxy = ApiProxy::start(scene.client.clone()).await.unwrap();
        let kubeconfig = scene.file(&format!("{identity}.kubeconfig"), &proxy.kubeconfig());
        let metrics = Metrics::new();
        let client = access::connect(Some(Path::new(&kubeconfig)), &metrics).await.unwrap();
        let settings = LeaseSettings {
            namespace: namespace.to_owned(),
            name: LEASE.to_owned(),
            identity: identity.to_owned(),
            duration,
            purpose,
        };
        let lease = Lease::new(client, settings);
        let (leadership, leave) = (lease.leadership(), CancellationToken::new());
        let mut task = JoinSet::new();
        task.spawn(lease.run(leave.clone()));
        Self { leadership, proxy, leave, task }
    }

    async fn leads(&self) -> Instant {
        self.leadership.wait_until_held().await;
        Instant::now()
    }

    async fn lost(&self) -> Instant {
        self.leadership.wait_until_lost().await;
        Instant::now()
    }

    /// Waits until it knows what stands in the Lease: it looks again only after that.
    async fn has_looked(&self) {
        self.has_made(2, |call| !call.is_write()).await;
    }

    /// Waits until so many further calls of a kind came.
    async fn has_made(&self, count: usize, is_meant: impl Fn(&ApiCall) -> bool) {
        let mut made = 0;
        eventually("another call", || {
            made += self.proxy.take_calls().iter().filter(|call| is_meant(call)).count();
            ready(if made < count { Err(format!("{made} calls")) } else { Ok(()) })
        })
        .await;
    }

    /// Ends in an orderly way.
    async fn leave(self) {
        self.leave.cancel();
        self.task.join_all().await;
    }
}

/// Two candidates, of which the first leads.
async fn leader_and_follower(scene: &Scene) -> (Candidate, Candidate) {
    let leader = Candidate::new(scene, "leader").await;
    leader.leads().await;
    (leader, Candidate::new(scene, "follower").await)
}

async fn spec(scene: &Scene) -> LeaseSpec {
    scene.api::<LeaseObject>().get(LEASE).await.unwrap().spec.unwrap()
}

/// Waits until the Lease is renewed so often from now on.
async fn renewed(scene: &Scene, times: usize) {
    for _ in 0..times {
        let before = spec(scene).await.renew_time;
        eventually("a renewal", async || match spec(scene).await.renew_time {
            time if time != before => Ok(()),
            time => Err(format!("{time:?}")),
        })
        .await;
    }
}

/// Whoever does the other thing first, it is not the one who should not.
async fn before<T>(what: &str, wanted: impl Future<Output = T>, unwanted: impl Future) -> T {
    tokio::select! {
        done = wanted => done,
        _ = unwanted => panic!("{what}"),
    }
}

async fn patch(scene: &Scene, change: &Value) {
    let api = scene.api::<LeaseObject>();
    api.patch(LEASE, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
}

#[tokio::test]
async fn of_two_candidates_one_leads_for_as_long_as_it_renews() {
    let scene = Scene::new("lease").await;
    let (leader, follower) = leader_and_follower(&scene).await;
    let unwanted = async { tokio::join!(follower.leads(), leader.lost()) };
    before("both led", renewed(&scene, 6), unwanted).await;
    assert!(leader.leadership.is_held() && !follower.leadership.is_held());
    let spec = spec(&scene).await;
    assert_eq!(spec.holder_identity.as_deref(), Some("leader"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(6), Some(0)));
    // A follower only looks; a leader only writes.
    assert!(follower.proxy.take_calls().iter().all(|call| !call.is_write()));
    let reads = leader.proxy.take_calls().iter().filter(|call| !call.is_write()).count();
    assert_eq!(reads, 1, "a renewal needs no look");
    scene.end().await;
}

#[tokio::test]
async fn a_leader_that_leaves_is_succeeded_at_once() {
    let scene = Scene::new("lease").await;
    let long = Duration::from_mins(5);
    let leader = Candidate::with(&scene, "leader", &scene.namespace, long).await;
    leader.leads().await;
    let follower = Candidate::with(&scene, "follower", &scene.namespace, long).await;
    let (start, leadership) = (Instant::now(), leader.leadership.clone());
    leader.leave().await;
    assert!(!leadership.is_held());
    follower.leads().await;
    // A look comes every second; the rest is for a slow machine.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(spec(&scene).await.lease_transitions, Some(1));
    follower.leave().await;
    assert_eq!(spec(&scene).await.holder_identity, None);
    scene.end().await;
}

#[rstest]
#[case::refused(Failure::Status(503))]
#[case::cut(Failure::Cut)]
#[case::hanging(Failure::Hang)]
#[tokio::test]
async fn a_leader_that_cannot_renew_stops_before_its_successor_starts(#[case] failure: Failure) {
    let scene = Scene::new("lease").await;
    let (leader, follower) = leader_and_follower(&scene).await;
    leader.proxy.inject(ApiFault::new(failure));
    let (lost, succeeded) = tokio::join!(leader.lost(), follower.leads());
    assert!(succeeded - lost > STOPS_BEFORE, "{:?}", succeeded - lost);
    assert!(!leader.leadership.is_held());
    scene.end().await;
}

#[tokio::test]
async fn a_leader_whose_task_died_stops_before_its_successor_starts() {
    let scene = Scene::new("lease").await;
    let (mut leader, follower) = leader_and_follower(&scene).await;
    leader.task.shutdown().await;
    let (lost, succeeded) = tokio::join!(leader.lost(), follower.leads());
    assert!(succeeded - lost > STOPS_BEFORE, "{:?}", succeeded - lost);
    scene.end().await;
}

#[tokio::test]
async fn a_restarted_container_need_not_wait_for_itself() {
    let scene = Scene::new("lease").await;
    let long = Duration::from_mins(5);
    let mut killed = Candidate::with(&scene, "pod-a", &scene.namespace, long).await;
    killed.leads().await;
    killed.task.shutdown().await;
    let restarted = Candidate::with(&scene, "pod-a", &scene.namespace, long).await;
    timeout(Duration::from_secs(30), restarted.leads()).await.unwrap();
    assert_eq!(spec(&scene).await.lease_transitions, Some(0));
    scene.end().await;
}

#[tokio::test]
async fn a_stranger_s_change_is_kept_and_costs_nothing() {
    let scene = Scene::new("lease").await;
    let (leader, follower) = leader_and_follower(&scene).await;
    patch(&scene, &json!({ "metadata": { "annotations": { "note": "hands off" } } })).await;
    let unwanted = async {
        tokio::select! { _ = leader.lost() => {}, _ = follower.leads() => {} }
    };
    before("the leader was deposed", renewed(&scene, 2), unwanted).await;
    let lease = scene.api::<LeaseObject>().get(LEASE).await.unwrap();
    assert_eq!(lease.metadata.annotations.unwrap()["note"], "hands off");
    scene.end().await;
}

#[tokio::test]
async fn a_leader_whose_lease_was_taken_stops_at_its_next_renewal() {
    let scene = Scene::new("lease").await;
    let duration = Duration::from_secs(30);
    let leader = Candidate::with(&scene, "leader", &scene.namespace, duration).await;
    let start = leader.leads().await;
    let usurped = json!({ "holderIdentity": "usurper", "leaseDurationSeconds": 3600 });
    patch(&scene, &json!({ "spec": usurped })).await;
    let lost = leader.lost().await;
    // It renews after 6 seconds; its deadline alone would tell it after 20.
    assert!(lost - start < duration / 2, "{:?}", lost - start);
    assert_eq!(spec(&scene).await.holder_identity.as_deref(), Some("usurper"));
    scene.end().await;
}

#[tokio::test]
async fn who_ends_the_work_takes_the_lease_and_starts_when_the_leader_has_stopped() {
    let scene = Scene::new("lease").await;
    let (leader, follower) = leader_and_follower(&scene).await;
    let retiring = Candidate::retiring(&scene, "drain").await;
    let (lost, started) = tokio::join!(leader.lost(), retiring.leads());
    assert!(started > lost, "it started while the leader led");
    let unwanted = async { tokio::join!(leader.leads(), follower.leads()) };
    before("the work was taken up again", renewed(&scene, 2), unwanted).await;
    retiring.leave().await;
    let left = spec(&scene).await;
    assert_eq!(left.holder_identity.as_deref(), Some(RETIRED));
    assert_eq!(left.lease_duration_seconds, Some(60));
    scene.end().await;
}

#[tokio::test]
async fn who_ends_the_work_does_not_wait_for_a_leader_that_hangs_longer_than_it_may_act() {
    let scene = Scene::new("lease").await;
    let (leader, _follower) = leader_and_follower(&scene).await;
    leader.proxy.inject(ApiFault::new(Failure::Hang));
    let retiring = Candidate::retiring(&scene, "drain").await;
    let (lost, started) = tokio::join!(leader.lost(), retiring.leads());
    assert!(started > lost, "it started while the leader led");
    retiring.leave().await;
    // Another one need not wait for those who are gone.
    let again = Candidate::retiring(&scene, "drain-again").await;
    timeout(DURATION / 2, again.leads()).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn a_deleted_lease_comes_back_with_the_same_leader() {
    let scene = Scene::new("lease").await;
    let (leader, follower) = leader_and_follower(&scene).await;
    follower.has_looked().await;
    scene.api::<LeaseObject>().delete(LEASE, &DeleteParams::default()).await.unwrap();
    let back = eventually("the Lease", async || {
        let found = scene.api::<LeaseObject>().get_opt(LEASE).await.unwrap();
        found.and_then(|lease| lease.spec).ok_or_else(|| "none".to_owned())
    });
    let back = before("the follower took it", back, follower.leads()).await;
    assert_eq!(back.holder_identity.as_deref(), Some("leader"));
    assert!(leader.leadership.is_held());
    scene.end().await;
}

#[tokio::test]
async fn a_deleted_lease_is_not_taken_from_a_leader_that_cannot_know() {
    let scene = Scene::new("lease").await;
    let (leader, follower) = leader_and_follower(&scene).await;
    follower.has_looked().await;
    leader.proxy.inject(ApiFault::new(Failure::Hang));
    scene.api::<LeaseObject>().delete(LEASE, &DeleteParams::default()).await.unwrap();
    let (lost, succeeded) = tokio::join!(leader.lost(), follower.leads());
    assert!(succeeded - lost > STOPS_BEFORE, "{:?}", succeeded - lost);
    scene.end().await;
}

#[tokio::test]
async fn after_an_outage_there_is_one_leader_again() {
    let scene = Scene::new("lease").await;
    let (leader, follower) = leader_and_follower(&scene).await;
    for proxy in [&leader.proxy, &follower.proxy] {
        proxy.inject(ApiFault::new(Failure::Status(500)));
    }
    leader.lost().await;
    assert!(!follower.leadership.is_held());
    for proxy in [&leader.proxy, &follower.proxy] {
        proxy.heal();
    }
    tokio::select! { _ = leader.leads() => {}, _ = follower.leads() => {} }
    renewed(&scene, 3).await;
    assert_ne!(leader.leadership.is_held(), follower.leadership.is_held());
    scene.end().await;
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_is_one() {
    let scene = Scene::new("lease").await;
    let leader = Candidate::new(&scene, "leader").await;
    leader.leads().await;
    leader.proxy.inject(ApiFault::new(Failure::LostAnswer).on(Method::PUT, LEASE).times(1));
    before("the leader was deposed", renewed(&scene, 3), leader.lost()).await;
    scene.end().await;
}

#[tokio::test]
async fn what_is_refused_is_tried_again_in_peace() {
    let scene = Scene::new("lease").await;
    let start = Instant::now();
    let candidate = Candidate::with(&scene, "leader", "no-such-namespace", DURATION).await;
    candidate.has_made(3, ApiCall::is_write).await;
    // A second between each two.
    assert!(start.elapsed() > Duration::from_millis(1_900), "{:?}", start.elapsed());
    assert!(!candidate.leadership.is_held());
    scene.end().await;
}
