//! Barriers: a process in a pod waits for a file, and the test makes the file once it has seen what
//! it waits for. So no test depends on how fast the machine is.

use std::fs::{self, File};

use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use kube::{Api, ResourceExt};

use super::wait::eventually;

/// Shell text that waits until [`release`] is called for its pod.
pub(crate) const BARRIER: &str = "until [ -e /tmp/end ]; do sleep 0.1; done";
/// A process that prints when it is up, waits at the barrier, and ends at once on SIGTERM.
pub(crate) const UNTIL_TOLD: &str =
    "trap 'exit 143' TERM; echo up; until [ -e /tmp/end ]; do sleep 0.1; done";
/// The file that a process at the barrier waits for.
const FILE: &str = "/tmp/end";

/// Lets the main container of a pod pass its barrier. The container may end before `touch` has
/// reported its result, so that result is ignored.
pub(crate) async fn release(pods: &Api<Pod>, pod: &str) {
    let params = AttachParams::default().container("main").stdout(false).stderr(true);
    let mut process = pods.exec(pod, ["touch", FILE], &params).await.unwrap();
    drop(process.take_status().unwrap().await);
}

/// The same without the API server: makes the file in the file systems of the pod's processes, which
/// run on this machine, and waits until the processes that saw it have ended.
pub(crate) async fn release_on_node(pod: &Pod) {
    let uid = pod.uid().unwrap();
    let all = processes_of(&uid);
    // The pause container has no /tmp, and a `sleep` of the loop may have ended by now.
    let released: Vec<_> = all
        .into_iter()
        .filter(|id| File::create(format!("/proc/{id}/root{FILE}")).is_ok())
        .collect();
    assert!(!released.is_empty(), "no process of pod {uid} is on this machine");
    eventually("the end of the released processes", || async {
        let mut left = processes_of(&uid);
        left.retain(|id| released.contains(id));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

/// Processes of this machine in a pod's control group, the oldest first.
pub(super) fn processes_of(pod_uid: &str) -> Vec<u32> {
    let group = format!("/pod{pod_uid}/");
    let all = fs::read_dir("/proc").unwrap().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // One that has ended meanwhile has no file.
    let is_in = |id: &u32| {
        fs::read_to_string(format!("/proc/{id}/cgroup")).is_ok_and(|text| text.contains(&group))
    };
    let mut ids: Vec<u32> = ids.filter(is_in).collect();
    ids.sort_unstable();
    ids
}
