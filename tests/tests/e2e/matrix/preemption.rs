//! The scheduler takes a run's place for a more important pod.

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use ompipe_tests::matrix::Mode;
use ompipe_tests::standin::PipelineState::{Failed, Success};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::run::{Plan, Run, Truth};
use super::surroundings::UNTIL_TOLD;
use crate::support::{Scene, bed, eventually, from};

/// Name of the pod that takes the place.
const USURPER: &str = "usurper";

/// One place on a node, for which a run and a more important pod contend. Their priorities are below
/// that of every other pod, so that no other test loses one.
struct Place {
    resource: String,
    classes: [String; 2],
}

impl Place {
    fn new() -> Self {
        let id = Uuid::new_v4().simple().to_string();
        let classes = ["low", "high"].map(|name| format!("ompipe-test-{name}-{id}"));
        Self { resource: format!("ompipe.test/place-{id}"), classes }
    }

    /// Parameters of a run that needs the place.
    fn parameters(&self) -> Value {
        let main = json!({ "name": "main", "resources": { "limits": { (&self.resource): "1" } } });
        let spec = json!({ "priorityClassName": self.classes[0], "containers": [main] });
        json!({ "servicePodTemplates": { "shop": { "spec": spec } } })
    }

    async fn offer(&self, scene: &Scene) {
        let classes: Api<PriorityClass> = Api::all(scene.client.clone());
        for (name, value) in self.classes.iter().zip([-10, -5]) {
            let class = from(json!({ "metadata": { "name": name }, "value": value }));
            classes.create(&PostParams::default(), &class).await.unwrap();
        }
        self.set(&scene.client, &json!("1")).await;
    }

    /// The node forgets the resource, the cluster the priorities.
    async fn take_back(&self, client: &Client) {
        let classes: Api<PriorityClass> = Api::all(client.clone());
        for name in &self.classes {
            classes.delete(name, &DeleteParams::default()).await.unwrap();
        }
        self.set(client, &Value::Null).await;
    }

    async fn set(&self, client: &Client, amount: &Value) {
        let nodes: Api<Node> = Api::all(client.clone());
        let node = nodes.list(&ListParams::default()).await.unwrap().items.remove(0).name_any();
        let amounts = json!({ (&self.resource): amount });
        let patch = json!({ "status": { "capacity": amounts, "allocatable": amounts } });
        nodes.patch_status(&node, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// A more important pod takes the place, and goes again once it had it.
    async fn usurp(&self, scene: &Scene) {
        let pods: Api<Pod> = scene.api();
        let usurper = from(json!({
            "metadata": { "name": USURPER },
            "spec": {
                "priorityClassName": self.classes[1], "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "main", "image": bed().worker_image, "command": ["sleep", "600"],
                    "resources": { "limits": { (&self.resource): "1" } },
                }],
            },
        }));
        pods.create(&PostParams::default(), &usurper).await.unwrap();
        eventually("the usurper's node", || async {
            let pod = pods.get(USURPER).await.map_err(|error| error.to_string())?;
            let phase = pod.status.and_then(|status| status.phase).unwrap_or_default();
            if phase == "Running" { Ok(()) } else { Err(phase) }
        })
        .await;
        pods.delete(USURPER, &DeleteParams::default()).await.unwrap();
    }
}

impl Run {
    /// The next attempt ends well.
    async fn goes_on_beside(&self, first: String) {
        let next = self.up_beside(&[first, USURPER.to_owned()]).await;
        self.tell(&next).await;
    }
}

/// The worker did nothing wrong, so the next attempt decides, whatever `backoffLimit` says: it is 0.
#[rstest]
#[tokio::test]
async fn a_pod_that_is_preempted(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let place = Place::new();
    let plan = Plan::new("preemption by a more important pod", mode, UNTIL_TOLD);
    let run = plan.with(&place.parameters()).prepare().await;
    place.offer(&run.scene).await;
    run.start().await;
    let pod = run.up().await;
    place.usurp(&run.scene).await;
    run.goes_on_beside(pod).await;
    let truth = if mode == Mode::Hook { Truth::Is(Failed, "") } else { Truth::Is(Success, "") };
    let client = run.scene.client.clone();
    run.ends(truth).await;
    // The exit handler's pod has the worker's priority, so the class stays until it has ended.
    place.take_back(&client).await;
}
