//! What a run's newest pod says: the hook, its time, its variables, its end.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, EnvVar, Event, Pod};

use super::{Finding, Subject};
use crate::WorkloadKind;
use crate::config::{CONFIG_FILE_ENV, RESERVED_ENV};
use crate::labels::JOB_NAME;
use crate::run::MAIN_CONTAINER;
use crate::workflow::CONFIG_ENV;

/// The hook's command (docs/contracts/upstream-java-client.md#prestop-hook).
const HOOK: [&str; 2] = ["python", "exit_handler.py"];
/// The grace period that OpenMetadata's documentation asks for, and the least in which a Python
/// exit handler ends.
const GRACE: i64 = 60;
const LEAST_GRACE: i64 = 30;
/// How long after its grace period a pod counts as stuck: a busy kubelet is late.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

pub(super) fn of_pod(subject: &Subject<'_>, pod: &Pod) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(main) = main_container(pod) {
        if subject.workload.kind == WorkloadKind::Job {
            findings.push(hook(main));
        }
        findings.push(grace(pod));
        findings.push(variables(main));
        findings.push(job_name(subject, main));
    }
    findings.push(hook_events(subject.events));
    findings.push(termination(pod, subject.now));
    findings
}

fn main_container(pod: &Pod) -> Option<&Container> {
    pod.spec.as_ref()?.containers.iter().find(|container| container.name == MAIN_CONTAINER)
}

fn hook(main: &Container) -> Finding {
    const CHECK: &str = "preStop hook";
    if is_supervised(main) {
        return Finding::good(CHECK, "none: the supervisor gets the signal itself and reports");
    }
    let hook = main.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    let command = hook.and_then(|hook| hook.exec.as_ref()?.command.clone()).unwrap_or_default();
    if command == HOOK {
        return Finding::good(CHECK, command.join(" "));
    }
    let detail = if command.is_empty() {
        "the container has no preStop command".to_owned()
    } else {
        format!("the command is {:?}", command.join(" "))
    };
    let remedy = format!("it should be {:?}; see what podTemplate changes", HOOK.join(" "));
    Finding::bad(CHECK, detail, remedy)
}

/// Whether `ompipe-exit supervise` is the container's first process.
fn is_supervised(main: &Container) -> bool {
    let command = main.command.as_deref().unwrap_or_default();
    let is_program = |path: &String| path.rsplit('/').next() == Some("ompipe-exit");
    command.first().is_some_and(is_program)
        && command.get(1).is_some_and(|verb| verb == "supervise")
}

fn grace(pod: &Pod) -> Finding {
    const CHECK: &str = "grace period";
    let seconds = grace_seconds(pod);
    let detail = format!("terminationGracePeriodSeconds is {seconds}");
    match seconds {
        GRACE.. => Finding::good(CHECK, detail),
        LEAST_GRACE.. => {
            Finding::warning(CHECK, detail, "OpenMetadata asks for 60: see podTemplate")
        }
        _ => Finding::bad(CHECK, detail, "too short for an exit handler; set 60 in podTemplate"),
    }
}

fn grace_seconds(pod: &Pod) -> i64 {
    const KUBERNETES_DEFAULT: i64 = 30;
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(KUBERNETES_DEFAULT)
}

fn variables(main: &Container) -> Finding {
    const CHECK: &str = "variables";
    let names: BTreeSet<&str> =
        main.env.iter().flatten().map(|variable| variable.name.as_str()).collect();
    let is_there = |name: &str| {
        names.contains(name) || (name == CONFIG_ENV && names.contains(CONFIG_FILE_ENV))
    };
    let missing: Vec<&str> = RESERVED_ENV.into_iter().filter(|name| !is_there(name)).collect();
    if missing.is_empty() {
        return Finding::good(CHECK, format!("all {} are set", RESERVED_ENV.len()));
    }
    let detail = format!("missing: {}", missing.join(", "));
    Finding::bad(CHECK, detail, "deploy the pipeline with this version and start a new run")
}

/// The exit handler finds its pod by the Job's real name, not by one with the whole run id.
fn job_name(subject: &Subject<'_>, main: &Container) -> Finding {
    const CHECK: &str = "job name";
    let name = &subject.workload.name;
    let mut variables = main.env.iter().flatten();
    let variable = variables.find(|variable| variable.name == "jobName");
    match variable.map(|variable| said_name(variable, name)) {
        Some(said) if said == *name => Finding::good(CHECK, said),
        Some(said) => Finding::bad(
            CHECK,
            format!("jobName is {said:?}, the object is called {name:?}"),
            "the exit handler will not find the pod: deploy again and start a new run",
        ),
        None => Finding::bad(CHECK, "jobName is not set", "deploy again and start a new run"),
    }
}

/// The name that a variable will have in the container.
fn said_name(variable: &EnvVar, name: &str) -> String {
    let field = variable.value_from.as_ref().and_then(|source| source.field_ref.as_ref());
    match field {
        Some(field) if field.field_path == format!("metadata.labels['{JOB_NAME}']") => {
            name.to_owned()
        }
        Some(field) => field.field_path.clone(),
        None => variable.value.clone().unwrap_or_default(),
    }
}

pub(super) fn hook_events(events: &[Event]) -> Finding {
    const CHECK: &str = "hook events";
    let failed = |event: &&Event| event.reason.as_deref() == Some("FailedPreStopHook");
    let newest = events.iter().filter(failed).max_by_key(|event| event.last_timestamp.clone());
    match newest {
        None => Finding::good(CHECK, "no FailedPreStopHook"),
        Some(event) => Finding::bad(
            CHECK,
            format!("FailedPreStopHook: {}", event.message.as_deref().unwrap_or_default()),
            "is exit_handler.py in the image, does OpenMetadata answer from the pod, and may its \
             service account get and list pods? See ompipe logs for what it printed",
        ),
    }
}

/// Whether the pod ends in its grace period, or how long it took.
fn termination(pod: &Pod, now: Timestamp) -> Finding {
    const CHECK: &str = "termination";
    let Some(due) = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0) else {
        return Finding::good(CHECK, "the pod was not stopped from outside");
    };
    let late = now.duration_since(due);
    if late > PATIENCE {
        let detail = format!("the pod is Terminating {} s after its grace period", late.as_secs());
        let remedy = "its node may be gone, or a finalizer holds it: kubectl describe pod";
        return Finding::bad(CHECK, detail, remedy);
    }
    let grace = SignedDuration::from_secs(
        pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| grace_seconds(pod)),
    );
    let since = now.duration_since(due) + grace;
    Finding::good(CHECK, format!("the pod is ending since {} s", since.as_secs().max(0)))
}
