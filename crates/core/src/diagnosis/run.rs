//! What the run as a whole says.

use super::{Finding, Subject};
use crate::{PipelineState, Reason, Run};

/// The run's state, and what to do when it waits or failed.
pub(super) fn state(subject: &Subject<'_>) -> Finding {
    const CHECK: &str = "run";
    let Run { run_id, state, message, .. } = subject.run;
    let message = message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
    let Some(reason) = subject.run.reason else {
        return Finding::good(CHECK, format!("run {run_id} is {state}{message}"));
    };
    let detail = format!("run {run_id} is {state} ({}){message}", reason.as_str());
    match reason {
        Reason::Killed => Finding::good(CHECK, detail),
        _ => Finding::bad(CHECK, detail, remedy(reason)),
    }
}

/// What to do about a run that ended or waits for this reason.
pub(crate) const fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::Unschedulable => {
            "give the cluster a node that fits, or change resources.requests, nodeSelector, tolerations"
        }
        Reason::ImagePull => {
            "correct ingestionImage, or name its registry's Secret in imagePullSecrets"
        }
        Reason::ContainerConfig => {
            "a Secret or volume of the pod is missing: deploy the pipeline again and start a new run"
        }
        Reason::Queued => {
            "wait, or see why the queue admits nothing: kubectl describe workloads,localqueues"
        }
        Reason::Quota => "raise the namespace's ResourceQuota, or lower resources",
        Reason::Admission => {
            "change what the message names: resources, exitHandlerResources, podTemplate or the \
             security parameters"
        }
        Reason::InitContainer => {
            "read the log of the init container that the message names: kubectl logs POD -c NAME"
        }
        Reason::Sidecar => {
            "read the log of the sidecar that the message names: kubectl logs POD -c NAME --previous"
        }
        Reason::Mount => "create the Secret, ConfigMap or volume that the message names",
        Reason::Sandbox => "see why the node cannot set up pods, its network plugin for instance",
        Reason::Rejected => "see why the node turned the pod away; another node may take it",
        Reason::BadConfig => {
            "correct the pipeline's config or the worker's command, deploy it and start a new run"
        }
        Reason::SourceAuth => {
            "correct the credentials of the service's connection, and what they may do"
        }
        Reason::SourceUnreachable => {
            "see whether pods of the namespace reach the host and port of the service's connection"
        }
        Reason::OpenMetadataUnreachable => {
            "see whether pods reach metadataApiEndpoint, and whether the bot's token is valid"
        }
        Reason::OomKilled => "raise resources.limits.memory; the framework alone takes 390 MiB",
        Reason::Evicted => {
            "see why the node was drained or short; resources.requests protect a pod"
        }
        Reason::NodeLost => "the node went away; start the run again",
        Reason::Deleted => "its pod was deleted; start the run again",
        Reason::DeadlineExceeded => {
            "raise activeDeadlineSeconds, or narrow what the pipeline reads"
        }
        Reason::Killed => "start it again when it is wanted",
        Reason::Suspended => "set spec.suspend of its OMJob to false when it is wanted",
        Reason::Completed | Reason::Error | Reason::Signal | Reason::Unknown => {
            "read its log: ompipe logs"
        }
        Reason::ApiUnavailable => "see why the API server, or a webhook of it, does not answer",
        Reason::NamespaceTerminating => "the namespace is being deleted; run it in another",
        Reason::NotStarted => "see the events of its pod: kubectl describe pod",
        Reason::NotConfigured => "give its OMJob an exitHandlerSpec",
        Reason::JobFailed => "see the events of the Job: kubectl describe job",
    }
}

/// What to do about a run whose end OpenMetadata does not know.
const UNREPORTED: &str = "no process reported its end; `ompipe doctor PIPELINE --fix` reports it now. The \
                          operator and exitHandlerImage report every end";

fn no_row(state: PipelineState) -> String {
    format!("OpenMetadata has no row of the run, the cluster says {state}")
}

/// OpenMetadata's row, where it says something else than the cluster.
pub(super) fn row(subject: &Subject<'_>) -> Option<Finding> {
    const CHECK: &str = "status in OpenMetadata";
    let state = subject.run.state;
    let Some(row) = subject.row? else {
        return state.is_terminal().then(|| Finding::bad(CHECK, no_row(state), UNREPORTED));
    };
    let is_stuck = state.is_terminal() && !row.is_terminal();
    let contradicts = state == PipelineState::Failed && row == PipelineState::Success;
    let is_worse = state == PipelineState::Success
        && matches!(row, PipelineState::Failed | PipelineState::Stopped);
    let detail = format!("OpenMetadata has {row}, the cluster says {state}");
    Some(if is_stuck {
        Finding::bad(CHECK, detail, UNREPORTED)
    } else if contradicts {
        let remedy = "the worker failed after it had reported: its last entities were not stored";
        Finding::warning(CHECK, detail, remedy)
    } else if is_worse {
        let remedy = "the worker ended well, and something reported another end: see who writes the \
                      row, such as an exit_handler.py that podTemplate or a custom image brings";
        Finding::bad(CHECK, detail, remedy)
    } else {
        Finding::good(CHECK, detail)
    })
}
