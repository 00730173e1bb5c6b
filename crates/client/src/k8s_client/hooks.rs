//! PreStop hooks of runs that failed: without its hook a run that is stopped may not report its end.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;

use super::K8sPipelineClient;
use crate::error::{KubernetesError, Result};

/// Selects the events that say so.
pub(super) const FAILED_HOOKS: &str = "involvedObject.kind=Pod,reason=FailedPreStopHook";
/// Events that are read at most.
const MOST: u32 = 500;
/// What names of our pods begin with.
const PREFIX: &str = "om-";

impl K8sPipelineClient {
    /// Counts the pods of runs whose preStop hook failed. Kubernetes keeps these events for an hour by
    /// default.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn failed_pre_stop_hooks(&self) -> Result<usize> {
        let params = ListParams::default().fields(FAILED_HOOKS).limit(MOST);
        let doing = || format!("listing events in namespace {}", self.config.namespace);
        let listed = self.api::<Event>().list(&params).await;
        let listed = listed.map_err(|error| KubernetesError::new(doing(), error))?;
        Ok(own_pods(&listed.items).len())
    }
}

/// A pod counts once, however many of its containers have a hook.
fn own_pods(events: &[Event]) -> BTreeSet<&str> {
    let names = events.iter().filter_map(|event| event.involved_object.name.as_deref());
    names.filter(|name| name.starts_with(PREFIX)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_pod_of_a_run_counts_once() {
        let event = |pod: &str| {
            let event = json!({ "metadata": {}, "involvedObject": { "name": pod } });
            serde_json::from_value(event).unwrap()
        };
        let events = ["om-job-a-1", "om-job-a-1", "om-job-b-1", "web-1"].map(event);
        assert_eq!(own_pods(&events).len(), 2);
    }
}
