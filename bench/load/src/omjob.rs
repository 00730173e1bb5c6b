//! The `OMJob`s that are made: as OpenMetadata's own client sends them, on KWOK's fake nodes.

use clap::Args;
use ompipe_api::OMJob;
use serde_json::{Value, json};

/// Label of everything that belongs to one wave.
pub(crate) const WAVE: &str = "ompipe.bench/wave";
/// What a pod is told about its end; see the sandbox's stages.
const END: &str = "pod-complete.stage.kwok.x-k8s.io";

/// What the runs are.
#[derive(Clone, Debug, Args)]
pub(crate) struct Wave {
    /// Namespace of the runs.
    #[arg(long)]
    pub(crate) namespace: String,
    /// Beginning of the runs' names, and the value of their label.
    #[arg(long = "wave", value_name = "NAME")]
    pub(crate) label: String,
    /// Milliseconds that the main container runs.
    #[arg(long, default_value_t = 1000)]
    main: u64,
    /// Milliseconds that the exit handler runs.
    #[arg(long, default_value_t = 500)]
    exit: u64,
    /// Of a hundred runs, those whose main container ends with exit code 1.
    #[arg(long, default_value_t = 5)]
    failed: usize,
    /// Of a hundred runs, those whose main container is killed for its memory.
    #[arg(long, default_value_t = 1)]
    oom_killed: usize,
    /// Seconds that a finished run stays; for ever, if it is left out.
    #[arg(long)]
    ttl: Option<u32>,
}

impl Wave {
    /// The name of a run.
    pub(crate) fn name(&self, number: usize) -> String {
        format!("om-job-{}-{number:05}", self.label)
    }

    /// One run.
    ///
    /// # Errors
    /// None: it fits the schema of the resource.
    pub(crate) fn omjob(&self, number: usize) -> serde_json::Result<OMJob> {
        let name = self.name(number);
        let mut spec = json!({
            "mainPodSpec": self.stage(&name, "main.py", &self.main_end(number)),
            "exitHandlerSpec": self.stage(&name, "exit_handler.py", &end(self.exit, "0", None)),
        });
        if let Some(ttl) = self.ttl {
            spec["ttlSecondsAfterFinished"] = ttl.into();
        }
        serde_json::from_value(json!({
            "apiVersion": "pipelines.openmetadata.org/v1",
            "kind": "OMJob",
            "metadata": { "name": name, "namespace": self.namespace, "labels": self.labels() },
            "spec": spec,
        }))
    }

    fn main_end(&self, number: usize) -> Value {
        match number % 100 {
            failed if failed < self.failed => end(self.main, "1", None),
            killed if killed < self.failed + self.oom_killed => {
                end(self.main, "137", Some("OOMKilled"))
            }
            _ => end(self.main, "0", None),
        }
    }

    fn labels(&self) -> Value {
        json!({
            WAVE: self.label,
            "app.kubernetes.io/name": "openmetadata",
            "app.kubernetes.io/component": "ingestion",
            "app.kubernetes.io/managed-by": "openmetadata",
            "app.kubernetes.io/pipeline": "shop-metadata",
            "app.kubernetes.io/pipeline-type": "metadata",
        })
    }

    fn stage(&self, name: &str, program: &str, annotations: &Value) -> Value {
        json!({
            "image": "docker.getcollate.io/openmetadata/ingestion:1.13.1",
            "imagePullPolicy": "IfNotPresent",
            "serviceAccountName": "default",
            "command": ["python", program],
            "env": [
                { "name": "config", "valueFrom": { "secretKeyRef": { "name": "om-secret-shop-metadata", "key": "config" } } },
                { "name": "pipelineType", "value": "metadata" },
                { "name": "pipelineRunId", "value": "a1b2c3d4-e5f6-7890-abcd-ef1234567890" },
                { "name": "ingestionPipelineFQN", "value": "shop.metadata" },
                { "name": "jobName", "value": name },
                { "name": "namespace", "value": self.namespace },
            ],
            "resources": { "requests": { "cpu": "100m", "memory": "256Mi" }, "limits": { "cpu": "2", "memory": "4Gi" } },
            "nodeSelector": { "type": "kwok" },
            "tolerations": [{ "key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule" }],
            "securityContext": { "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "runAsNonRoot": true },
            "labels": self.labels(),
            "annotations": annotations,
        })
    }
}

fn end(milliseconds: u64, exit_code: &str, reason: Option<&str>) -> Value {
    let mut annotations = json!({
        format!("{END}/delay"): format!("{milliseconds}ms"),
        format!("{END}/exit-code"): exit_code,
    });
    if let Some(reason) = reason {
        annotations[format!("{END}/reason")] = reason.into();
    }
    annotations
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "1")]
    #[case(105, "137")]
    #[case(6, "0")]
    fn a_share_of_the_runs_fails(#[case] number: usize, #[case] exit_code: &str) {
        let wave = Wave {
            namespace: "bench".to_owned(),
            label: "w".to_owned(),
            main: 10,
            exit: 10,
            failed: 5,
            oom_killed: 1,
            ttl: Some(5),
        };
        let omjob = wave.omjob(number).unwrap();
        let annotations = omjob.spec.main_pod_spec.annotations.unwrap();
        assert_eq!(annotations["pod-complete.stage.kwok.x-k8s.io/exit-code"], exit_code);
        assert_eq!(omjob.spec.ttl_seconds_after_finished, Some(5));
    }
}
