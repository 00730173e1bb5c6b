//! What keeps a run from working, read off its pods and events
//! (docs/contracts/upstream-java-client.md#checks-of-the-hook).

mod pod;
mod run;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};

use crate::{PipelineState, Run, Workload};

pub(crate) use run::remedy;

/// What to do about a run that waits or failed for a reason, in the words of the record.
#[must_use]
pub fn remedy_of(reason: &str) -> Option<&'static str> {
    crate::Reason::ALL.iter().find(|one| one.as_str() == reason).map(|one| remedy(*one))
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth a look; runs may work all the same.
    Warning,
    /// Something does not work.
    Bad,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen.
    pub detail: String,
    /// What to do, unless all is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// All is as it should be.
    pub fn good(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, detail: detail.into(), remedy: None }
    }

    /// Something is worth a look.
    pub fn warning(
        check: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (detail, remedy) = (detail.into(), Some(remedy.into()));
        Self { check, verdict: Verdict::Warning, detail, remedy }
    }

    /// Something does not work.
    pub fn bad(check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, ..Self::warning(check, detail, remedy) }
    }
}

/// A run and everything that the cluster says about it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'s> {
    /// Its object.
    pub workload: &'s Workload,
    /// The current state of the run.
    pub run: &'s Run,
    /// Its pods.
    pub pods: &'s [Pod],
    /// Events about its object and its pods.
    pub events: &'s [Event],
    /// What OpenMetadata has of it, if it was asked and answered; `Some(None)` where it has no row.
    pub row: Option<Option<PipelineState>>,
    /// The time.
    pub now: Timestamp,
}

/// Everything that can be said about a run.
#[must_use]
pub fn of_run(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = vec![run::state(subject)];
    findings.extend(run::row(subject));
    let newest = crate::run::attempts(subject.workload, subject.pods).last().copied();
    if let Some(pod) = newest {
        findings.extend(pod::of_pod(subject, pod));
        return findings;
    }
    findings.push(Finding::warning(
        "pod",
        "the run has no pod",
        "a finished run keeps its pods for ttlSecondsAfterFinished; start another run to inspect",
    ));
    // Events outlive their pod by an hour.
    findings.push(pod::hook_events(subject.events));
    findings
}

#[cfg(test)]
mod tests;
