//! An `OMJob` as the run that it is.

use kube::ResourceExt;
use ompipe_core::job::{Reported, Reporter};
use ompipe_core::labels;
use ompipe_core::omjob::{ConditionKind, Reporting};
use ompipe_core::run::{self, End, EndReporter, Failure, Reason, Workload, WorkloadKind};

use crate::{OMJob, OMJobStatus, Phase};

impl OMJob {
    /// What this object says about its run; `None` when it cannot be a run of a pipeline.
    #[must_use]
    pub fn workload(&self) -> Option<Workload> {
        let variables = self.spec.main_pod_spec.env.as_deref().unwrap_or_default();
        let status = self.status.clone().unwrap_or_default();
        Some(Workload {
            kind: WorkloadKind::OmJob,
            namespace: self.metadata.namespace.clone(),
            name: self.name_any(),
            uid: self.uid()?,
            run_id: run::run_id(self.labels(), self.metadata.uid.as_deref())?,
            scheduled: self.is_scheduled(),
            labels: self.labels().clone(),
            annotations: self.annotations().clone(),
            pipeline_fqn: labels::fqn_in(variables),
            created: self.creation_timestamp().map(|time| time.0),
            deleting: self.metadata.deletion_timestamp.is_some(),
            queued: run::queued(self.labels(), self.spec.suspend),
            // Of an `OMJob` it is the pod that waits.
            waits_in: None,
            started: status.phase == Some(Phase::ExitHandlerRunning),
            backoff_limit: self.spec.limits().backoff_limit,
            end: status.end(),
            reported: status.reported(),
            end_reporter: EndReporter::Operator,
        })
    }

    /// Both operators give every run a label with its id, so only the name of a schedule's run
    /// tells: it ends in the ten digits of its time.
    fn is_scheduled(&self) -> bool {
        let name = self.name_any();
        let time = name.rsplit_once('-').map(|(_, time)| time);
        time.is_some_and(|time| time.len() == 10 && time.bytes().all(|c| c.is_ascii_digit()))
    }
}

impl OMJobStatus {
    /// How the run ended. Upstream's operator calls a run succeeded when its exit handler did, so
    /// the exit code of the main pod decides where there is one.
    pub(crate) fn end(&self) -> Option<End> {
        let phase = self.phase.filter(|phase| phase.is_terminal())?;
        let main_failed = self.mainly_failed(phase);
        let time = self.completion_time.as_ref().map(|time| time.0);
        Some(End { time, failure: main_failed.then(|| self.failure()) })
    }

    /// Who reported the end, as the condition has it.
    fn reported(&self) -> Option<Reported> {
        let (by, message) = match self.recorded().reporting {
            Reporting::NotDue | Reporting::Outstanding { .. } => return None,
            Reporting::ByExitHandler => (Reporter::Run, None),
            Reporting::ByOperator => (Reporter::Operator, None),
            Reporting::GivenUp(why) => (Reporter::Nobody, Some(why)),
        };
        let kind = ConditionKind::Reported.as_str();
        let condition = self.conditions.iter().find(|condition| condition.type_ == kind)?;
        Some(Reported { at: condition.last_transition_time.0, by, state: None, message })
    }

    fn mainly_failed(&self, phase: Phase) -> bool {
        self.main_pod_exit_code.map_or(phase == Phase::Failed, |code| code != 0)
    }

    fn failure(&self) -> Failure {
        let reason = self.main_reason.as_deref().and_then(Reason::named);
        Failure { reason, message: self.message.clone().unwrap_or_default() }
    }
}
