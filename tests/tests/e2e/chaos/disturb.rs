//! What a plan makes happen, when its time has come.

use axum::http::Method;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, EvictParams, ListParams};
use ompipe_api::{EXIT_HANDLER, OMJob, POD_TYPE};
use ompipe_tests::api_proxy::{ApiFault, Failure};
use ompipe_tests::chaos::{Happening, Kind, Touch, Trouble};
use ompipe_tests::standin::Fault;

use super::play::Play;

/// How a pod is taken away.
#[derive(Clone, Copy, Debug)]
enum Away {
    Deleted,
    ByForce,
    Evicted,
}

impl Play<'_> {
    /// Everything, one thing after the other.
    pub(super) async fn disturb(&self) {
        for event in &self.plan.events {
            self.until(event.at).await;
            self.make_happen(event.what).await;
        }
    }

    async fn make_happen(&self, what: Happening) {
        let index = |number: u64| usize::try_from(number).unwrap();
        match what {
            Happening::OperatorCrashes(number) => self.crash(index(number)).await,
            Happening::BothCrash => {
                self.crash(0).await;
                self.crash(1).await;
            }
            Happening::PodDeleted(run) => self.take_away(index(run), Away::Deleted).await,
            Happening::PodDeletedByForce(run) => self.take_away(index(run), Away::ByForce).await,
            Happening::PodEvicted(run) => self.take_away(index(run), Away::Evicted).await,
            Happening::Killed(run) => self.kill(index(run)).await,
            Happening::OpenMetadata(trouble, time) => {
                self.scene.standin.inject(openmetadata(trouble).lasting(time));
            }
            Happening::Api(trouble, times) => {
                let times = usize::try_from(times).unwrap();
                for fault in api(trouble) {
                    self.proxy.inject(fault.times(times));
                }
            }
        }
    }

    async fn crash(&self, index: usize) {
        let mut operators = self.operators.lock().await;
        let crashed = std::mem::replace(&mut operators[index], self.new_operator());
        crashed.kill().await;
    }

    /// The worker's pod, if there is one that runs; where an operator has to know of it, one that
    /// it knows of.
    async fn take_away(&self, number: usize, away: Away) {
        let pods = self.scene.api::<Pod>();
        let Some(pod) = self.pod(number).await else { return };
        let gone = match away {
            Away::Deleted => pods.delete(&pod, &DeleteParams::default()).await.is_ok(),
            Away::ByForce => {
                pods.delete(&pod, &DeleteParams::default().grace_period(0)).await.is_ok()
            }
            Away::Evicted => pods.evict(&pod, &EvictParams::default()).await.is_ok(),
        };
        if gone {
            self.touch(number, Touch::Pod);
        }
    }

    async fn pod(&self, number: usize) -> Option<String> {
        let of_run = format!("app.kubernetes.io/run-id={}", self.ids[number]);
        let pods = self.scene.api::<Pod>().list(&ListParams::default().labels(&of_run)).await;
        let is_main = |pod: &&Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            let exit = pod.labels().get(POD_TYPE).is_some_and(|kind| kind == EXIT_HANDLER);
            phase == Some("Running") && !exit && self.is_known(number, pod.finalizers())
        };
        pods.unwrap().items.iter().find(is_main).map(ResourceExt::name_any)
    }

    /// What is deleted before an operator has seen it is beyond what is promised.
    fn is_known(&self, number: usize, finalizers: &[String]) -> bool {
        let supervised = self.plan.runs[number].kind == Kind::SupervisedJob;
        supervised || finalizers.iter().any(|one| one.contains("openmetadata"))
    }

    /// What a kill does: the run's object is deleted.
    async fn kill(&self, number: usize) {
        let of_run = format!("app.kubernetes.io/run-id={}", self.ids[number]);
        let of_run = ListParams::default().labels(&of_run);
        let killed = if self.plan.runs[number].kind == Kind::OmJob {
            let jobs = self.scene.api::<OMJob>();
            let job = jobs.list(&of_run).await.unwrap().items.into_iter().next();
            let job = job.filter(|job| is_held(job.finalizers()));
            let Some(job) = job else { return };
            jobs.delete(&job.name_any(), &DeleteParams::background()).await.is_ok()
        } else {
            let jobs = self.scene.api::<Job>();
            let job = jobs.list(&of_run).await.unwrap().items.into_iter().next();
            let job = job.filter(|job| is_held(job.finalizers()));
            let Some(job) = job else { return };
            jobs.delete(&job.name_any(), &DeleteParams::foreground()).await.is_ok()
        };
        if killed {
            self.touch(number, Touch::Kill);
        }
    }
}

fn is_held(finalizers: &[String]) -> bool {
    finalizers.iter().any(|one| one.contains("openmetadata"))
}

fn openmetadata(trouble: Trouble) -> Fault {
    match trouble {
        Trouble::Error => Fault::status(500),
        Trouble::Reset => Fault::reset(),
        Trouble::LostAnswer => Fault::reset().after_change(),
        Trouble::Hang => Fault::hang(),
    }
}

/// Reads and writes alike; of answers only those to writes can be lost.
fn api(trouble: Trouble) -> Vec<ApiFault> {
    match trouble {
        Trouble::Error => vec![ApiFault::new(Failure::Status(500))],
        Trouble::Reset => vec![ApiFault::new(Failure::Cut)],
        Trouble::LostAnswer => {
            let writes = [Method::POST, Method::PATCH, Method::DELETE];
            writes.map(|method| ApiFault::new(Failure::LostAnswer).on(method, "")).into()
        }
        Trouble::Hang => vec![ApiFault::new(Failure::Hang)],
    }
}
