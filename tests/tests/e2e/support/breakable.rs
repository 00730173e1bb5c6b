//! A cluster that tests may break: a sandbox beside that of the other tests, for one test at a time.

use std::env;

use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::{Api, ResourceExt};
use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard};

use super::Scene;
use super::barrier::processes_of;
use super::crds::install;
use super::wait::eventually;

/// The cluster, taken by one test.
pub(crate) struct Breakable {
    sandbox: String,
    dir: String,
    kubeconfig: String,
    _alone: MutexGuard<'static, ()>,
}

impl Breakable {
    /// Waits until no other test has it.
    pub(crate) async fn take() -> Self {
        static TAKEN: Mutex<()> = Mutex::const_new(());
        let alone = TAKEN.lock().await;
        let dir = variable("OMPIPE_TEST_BREAKABLE");
        let kubeconfig = format!("{dir}/kubeconfig");
        Self { sandbox: variable("OMPIPE_TEST_SANDBOX"), dir, kubeconfig, _alone: alone }
    }

    /// A scene on it, with the custom resources.
    pub(crate) async fn scene(&self, name: &str) -> Scene {
        let host = self.output(&["status", "--output", "json"]).await;
        let status: serde_json::Value = serde_json::from_str(&host).unwrap();
        let host = status["hostAddress"].as_str().unwrap().parse().unwrap();
        let scene = Scene::on(&self.kubeconfig, host, name).await;
        install(&scene.client).await;
        scene
    }

    /// Stops a component as a crash does.
    pub(crate) async fn stop(&self, component: &str) {
        self.output(&["stop", "--now", component]).await;
    }

    /// Starts a component again.
    pub(crate) async fn start(&self, component: &str) {
        self.output(&["start", component]).await;
    }

    /// Waits until the API server writes what it is told to, and the node is ready.
    pub(crate) async fn well(&self, scene: &Scene) {
        let nodes: Api<Node> = Api::all(scene.client.clone());
        eventually("a ready node", || async {
            let node = nodes.get("sandbox").await.map_err(|error| error.to_string())?;
            let mut conditions = node.status.into_iter().filter_map(|s| s.conditions).flatten();
            let ready = conditions.any(|c| c.type_ == "Ready" && c.status == "True");
            if ready { Ok(()) } else { Err("not ready".to_owned()) }
        })
        .await;
        // A lookup of something that is not there: the API server reads its store.
        drop(scene.api::<Secret>().get_opt("none").await.unwrap());
    }

    /// Kills every process of a pod, as a machine that dies does.
    pub(crate) async fn kill_containers(&self, pod: &Pod) {
        let uid = pod.uid().unwrap();
        let processes = processes_of(&uid);
        assert!(!processes.is_empty(), "no process of pod {uid} is on this machine");
        let ids = processes.iter().map(u32::to_string);
        // The first process of a container takes the others along, which are not found then.
        drop(Command::new("kill").arg("-KILL").args(ids).output().await.unwrap());
        eventually("the end of all processes of a pod", || async {
            let left = processes_of(&uid);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }

    /// The real kubectl, as an administrator.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        self.output(&[&["kubectl"], args].concat()).await
    }

    async fn output(&self, args: &[&str]) -> String {
        let mut command = Command::new(&self.sandbox);
        command.env("OMPIPE_SANDBOX_DIR", &self.dir).args(args).kill_on_drop(true);
        let output = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "sandbox {args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: tests that break a cluster have one of their own, which \
             `tests/on-cluster` starts; it needs root"
        )
    })
}
