//! `OMJob`s of a test, and waiting for what becomes of them.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use ompipe_api::{OMJob, Phase};
use serde_json::{Value, json};

use crate::support::{Breakable, Scene, bed, eventually, from, install_crds};

/// A scene with the custom resources.
pub(crate) struct Stage {
    pub(crate) scene: Scene,
}

impl Stage {
    pub(crate) async fn new(name: &str) -> Self {
        let scene = Scene::new(name).await;
        install_crds(&scene.client).await;
        Self { scene }
    }

    /// The same on a cluster that the test may break.
    pub(crate) async fn on(cluster: &Breakable, name: &str) -> Self {
        Self { scene: cluster.scene(name).await }
    }

    pub(crate) fn jobs(&self) -> Api<OMJob> {
        self.scene.api()
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        self.scene.api()
    }

    /// A stage of a run that is this shell text.
    pub(crate) fn shell(text: &str) -> Value {
        json!({
            "image": bed().worker_image, "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", text],
            "resources": { "requests": { "cpu": "5m", "memory": "16Mi" } },
        })
    }

    /// The same as a container of a plain pod.
    pub(crate) fn container(text: &str) -> Value {
        json!({
            "name": "main", "image": bed().worker_image, "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", text],
        })
    }

    /// Makes an `OMJob` whose main is `main` and whose exit handler says what it was told; `fields`
    /// of the specification override.
    pub(crate) async fn run(&self, name: &str, main: &str, fields: Value) -> OMJob {
        let mut spec = json!({
            "mainPodSpec": Self::shell(main),
            "exitHandlerSpec": Self::shell("echo told: $pipelineStatus"),
        });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let job = from(json!({
            "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob",
            "metadata": { "name": name, "labels": { "app.kubernetes.io/pipeline": "shop" } },
            "spec": spec,
        }));
        self.jobs().create(&PostParams::default(), &job).await.unwrap()
    }

    /// Waits until the `OMJob` passes.
    pub(crate) async fn job(
        &self,
        name: &str,
        what: &str,
        passes: impl Fn(&OMJob) -> bool,
    ) -> OMJob {
        let jobs = self.jobs();
        eventually(what, || async {
            let job = jobs.get(name).await.map_err(|error| error.to_string())?;
            if passes(&job) { Ok(job) } else { Err(format!("{:?}", job.status)) }
        })
        .await
    }

    /// Waits until the `OMJob` is in that phase.
    pub(crate) async fn phase(&self, name: &str, phase: Phase) -> OMJob {
        let is = |job: &OMJob| job.status.as_ref().and_then(|status| status.phase) == Some(phase);
        self.job(name, &format!("phase {phase:?} of {name}"), is).await
    }

    /// Waits until the run is over and let go, whatever came of it.
    pub(crate) async fn over(&self, name: &str) -> OMJob {
        let is_over = |job: &OMJob| {
            let phase = job.status.as_ref().and_then(|status| status.phase);
            phase.is_some_and(Phase::is_terminal) && job.finalizers().is_empty()
        };
        self.job(name, &format!("the end of {name}"), is_over).await
    }

    /// Waits until a pod runs.
    pub(crate) async fn running(&self, name: &str) -> Pod {
        let pods = self.pods();
        eventually(&format!("a running pod {name}"), || async {
            let pod = pods.get(name).await.map_err(|error| error.to_string())?;
            let status = pod.status.clone().unwrap_or_default();
            let mut containers = status.container_statuses.iter().flatten();
            let runs = |state: &k8s_openapi::api::core::v1::ContainerState| state.running.is_some();
            let main = containers.find(|container| container.name == "main");
            if main.and_then(|main| main.state.as_ref()).is_some_and(runs) {
                Ok(pod)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
    }

    /// Waits until the `OMJob` and its pods are gone.
    pub(crate) async fn gone(&self, name: &str) {
        let (jobs, pods) = (self.jobs(), self.pods());
        eventually(&format!("the disappearance of {name}"), || async {
            let job = jobs.get_opt(name).await.map_err(|error| error.to_string())?;
            let left =
                pods.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let ours = left.iter().map(ResourceExt::name_any).filter(|pod| pod.starts_with(name));
            let ours: Vec<_> = ours.collect();
            if job.is_none() && ours.is_empty() { Ok(()) } else { Err(format!("{ours:?}")) }
        })
        .await;
    }

    /// What the exit handler was told, from its log.
    pub(crate) async fn told(&self, pod: &str) -> String {
        self.pods().logs(pod, &kube::api::LogParams::default()).await.unwrap()
    }

    /// The reasons of the events about an `OMJob`.
    pub(crate) async fn events(&self, name: &str) -> Vec<String> {
        let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let events = self.scene.api::<Event>().list(&about).await.unwrap();
        events.items.into_iter().filter_map(|event| event.reason).collect()
    }
}

/// A condition's status and reason, as `True Completed`.
pub(crate) fn condition(job: &OMJob, kind: &str) -> String {
    let mut conditions = job.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.find(|condition| condition.type_ == kind);
    found.map(|found| format!("{} {}", found.status, found.reason)).unwrap_or_default()
}

/// Why main ended.
pub(crate) fn reason(job: &OMJob) -> &str {
    job.status.as_ref().and_then(|status| status.main_reason.as_deref()).unwrap_or_default()
}

/// Exit code of main.
pub(crate) fn exit_code(job: &OMJob) -> Option<i32> {
    job.status.as_ref().and_then(|status| status.main_pod_exit_code)
}

/// The phase.
pub(crate) fn phase(job: &OMJob) -> Option<Phase> {
    job.status.as_ref().and_then(|status| status.phase)
}
