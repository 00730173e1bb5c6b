//! The decision itself: first which state an `OMJob` is in, then what that state asks for.

use jiff::{SignedDuration, Timestamp};

use crate::report::HOPELESS;

use super::backoff::Backoff;
use super::retry::Retry;
use super::{
    Action, Decision, Deletion, End, Lasting, Observed, Phase, PodRef, PodSeen, PodState, Reason,
    Refusal, Report, Reporting, Source, Stage, StageStatus, Status, Trouble, pod_name,
};

/// How long after its grace period a deleted pod that nobody calls ended counts as lost: longer
/// than a kubelet takes to restart, so that only a lost node gets here.
const LOST_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// How long main may take to start where `activeDeadlineSeconds` does not say.
const START_LIMIT: SignedDuration = SignedDuration::from_hours(24);
/// How long main may wait in a queue of the cluster, whose time the deadline does not count.
const QUEUE_LIMIT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long something may keep the exit handler from starting: what it would tell, the operator can
/// tell as well.
const EXIT_START_LIMIT: SignedDuration = SignedDuration::from_secs(30);
/// The same where no process of main left anything to look at: it never started, or is lost. What
/// kept it from starting often keeps the exit handler too.
const EXIT_START_LIMIT_OF_NOTHING: SignedDuration = SignedDuration::from_secs(3);
/// How often the exit handler may try: what it cannot do then, the operator does.
const EXIT_ATTEMPTS: u32 = 3;
/// How long the operator goes on reporting where no longer TTL says.
const REPORT_LIMIT: SignedDuration = SignedDuration::from_mins(10);
/// How long for an `OMJob` without a TTL.
const REPORT_LIMIT_WITHOUT_TTL: SignedDuration = SignedDuration::from_hours(7 * 24);

/// First and longest wait between two attempts of the exit handler, for which people wait.
const EXIT_RETRY: Backoff = Backoff { first: 2, most: 4 };
/// First and longest wait after a refused creation.
const REFUSED: Backoff = Backoff { first: 1, most: 60 };
/// First and longest wait after a report that OpenMetadata refused.
const REPORT: Backoff = Backoff { first: 2, most: 30 };
/// Time between two tries to report while OpenMetadata does not answer: short, so that the end of an
/// outage is noticed at once. While one is known, a try costs nothing.
pub(crate) const REPORT_EVERY: SignedDuration = SignedDuration::from_secs(3);

/// Where an `OMJob` stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State<'o> {
    /// It is being deleted without our finalizer: no exit handler could outlive it.
    LetGo,
    /// Its phase is terminal; what remains are the last resort, leftovers and the TTL.
    Finished,
    /// The pod of the attempt under way lives; its end, or a reason to stop it, comes next.
    Alive(Stage, &'o PodSeen),
    /// The pod of the attempt under way ended, which is not recorded yet.
    Ended(Stage, Ending<'o>),
    /// A pod lives that should not: nothing is made until it is gone.
    Stray,
    /// The pod of the attempt under way ran, and is not in view.
    Missing(Stage),
    /// The stage has no pod and gets none any more.
    Over(Stage, End),
    /// `suspend` keeps main from starting.
    Suspended,
    /// The API server refused the pod just now, for the time being.
    Refused(Stage, &'o Refusal),
    /// The next pod is due at a later time.
    Waiting(Stage, Timestamp),
    /// The next pod is due.
    Due(Stage),
}

/// How an attempt ended, as far as one can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending<'o> {
    /// The pod, if it is still there.
    pub pod: Option<&'o PodSeen>,
    /// How.
    pub end: End,
    /// Somebody saw it end. Where nobody did, the process may live on behind a broken network, so
    /// that no other attempt may follow.
    pub certain: bool,
}

/// What to do about an `OMJob` that looks like this at this time.
#[must_use]
pub fn decide(observed: &Observed, now: Timestamp) -> Decision {
    let mut step = Step::new(observed, now);
    match step.state() {
        State::LetGo => return step.let_go(),
        State::Finished => step.finish(),
        State::Alive(stage, pod) => step.attend(stage, pod),
        // That nothing is heard of a pod may be the cache's fault.
        State::Ended(_, Ending { certain: false, .. }) if observed.source == Source::Cache => {
            step.then.push(Action::ReadFresh);
        }
        State::Ended(Stage::Main, ending) => step.end_main_attempt(ending),
        State::Ended(Stage::Exit, ending) => step.end_exit_attempt(ending),
        State::Stray => {}
        State::Missing(stage) => step.confirm_loss(stage),
        State::Over(stage, end) => step.confirm_over(stage, end),
        State::Suspended => step.suspend(),
        State::Refused(stage, refusal) => step.back_off(stage, refusal),
        State::Waiting(stage, until) => step.wait(stage, until),
        State::Due(stage) => step.make_pod(stage),
    }
    step.decision()
}

/// A decision in the making.
struct Step<'o> {
    observed: &'o Observed,
    now: Timestamp,
    /// What was recorded, in our words.
    recorded: Status,
    /// What will be.
    status: Status,
    /// A write of the `OMJob` has to come first, although nothing else changes.
    guarded: bool,
    /// What follows the record.
    then: Vec<Action>,
    /// What comes last.
    last: Vec<Action>,
    looks: Vec<Timestamp>,
}

impl<'o> Step<'o> {
    fn new(observed: &'o Observed, now: Timestamp) -> Self {
        let mut step = Self {
            observed,
            now,
            status: observed.status.clone(),
            recorded: Status::default(),
            guarded: false,
            then: Vec::new(),
            last: Vec::new(),
            looks: Vec::new(),
        };
        step.adopt();
        step.recorded.clone_from(&step.status);
        step
    }

    /// Infers what upstream's operator leaves unsaid.
    fn adopt(&mut self) {
        match self.status.phase {
            Phase::Running if self.status.main.ended == 0 && self.status.main.pod.is_none() => {
                // A phase of upstream's: its pod exists, or existed.
                let name = pod_name(&self.observed.name, Stage::Main, 0);
                self.status.main.pod = Some(PodRef { attempt: 0, name });
            }
            Phase::ExitHandlerRunning => {
                if self.status.main.end.is_none() {
                    let end = self.end_of_main().unwrap_or_else(|| End::adopted(None));
                    self.status.main.end = Some(end);
                }
                self.status.exit.started.get_or_insert(self.now);
            }
            Phase::Pending | Phase::Running | Phase::Succeeded | Phase::Failed => {}
        }
    }

    fn end_of_main(&self) -> Option<End> {
        let mut pods = self.observed.pods.iter().filter(|pod| pod.stage == Stage::Main);
        let ending = pods.find_map(|pod| self.ending(Stage::Main, pod).filter(|end| end.certain));
        ending.map(|ending| ending.end)
    }

    fn state(&self) -> State<'o> {
        if self.status.phase.is_terminal() {
            return State::Finished;
        }
        if self.observed.deleted.is_some() && !self.observed.finalizer {
            return State::LetGo;
        }
        let stage = if self.status.main.end.is_none() { Stage::Main } else { Stage::Exit };
        match self.pod_under_way(stage) {
            Some(pod) => match self.ending(stage, pod) {
                Some(ending) => State::Ended(stage, ending),
                None => State::Alive(stage, pod),
            },
            None => self.state_without_pod(stage),
        }
    }

    fn state_without_pod(&self, stage: Stage) -> State<'o> {
        let record = self.status.stage(stage);
        if record.pod.as_ref().is_some_and(|pod| pod.attempt == record.ended) {
            return State::Missing(stage);
        }
        if self.has_stray() {
            return State::Stray;
        }
        if let Some(end) = self.over_without_pod(stage) {
            return State::Over(stage, end);
        }
        if stage == Stage::Main && self.observed.limits.suspend {
            return State::Suspended;
        }
        if let Some(refusal) = &self.observed.refusal {
            return State::Refused(stage, refusal);
        }
        match record.not_before.filter(|time| *time > self.now) {
            Some(until) => State::Waiting(stage, until),
            None => State::Due(stage),
        }
    }

    fn pod_under_way(&self, stage: Stage) -> Option<&'o PodSeen> {
        let attempt = self.status.stage(stage).ended;
        self.observed.pods.iter().find(|pod| pod.stage == stage && pod.attempt == attempt)
    }

    fn ending(&self, stage: Stage, pod: &'o PodSeen) -> Option<Ending<'o>> {
        let PodState::Ended { end, .. } = &pod.state else {
            return self.is_lost(pod).then(|| {
                let message = "deleted, and its node never said that it ended";
                let end = End::without_code(Reason::NodeLost, message);
                Ending { pod: Some(pod), end, certain: false }
            });
        };
        let end = match stage {
            Stage::Main => {
                let deletion = pod.deletion.map(|deletion| self.wanted(deletion));
                let stop = deletion.and_then(|deletion| self.stop(deletion));
                end.clone().explained(deletion, stop)
            }
            Stage::Exit => end.clone(),
        };
        Some(Ending { pod: Some(pod), end, certain: true })
    }

    fn is_lost(&self, pod: &PodSeen) -> bool {
        pod.is_alive()
            && pod.deletion.is_some_and(|deletion| after(deletion.due, LOST_AFTER) <= self.now)
    }

    /// The deletion of main's pod, since when the `OMJob` wanted it if it did.
    fn wanted(&self, deletion: Deletion) -> Deletion {
        let since = self.observed.deleted.or_else(|| self.deadline(Stage::Main));
        since.map_or(deletion, |since| deletion.wanted_since(since))
    }

    /// Why main's pod is stopped, if it is the `OMJob` that wants it.
    fn stop(&self, deletion: Deletion) -> Option<Trouble> {
        let late = self.deadline(Stage::Main).is_some_and(|time| time <= deletion.requested);
        if self.observed.deleted.is_some() {
            Some(Trouble::new(Reason::Killed, "stopped because the OMJob was deleted"))
        } else if late {
            let End { reason, message, .. } = self.too_late(Stage::Main);
            Some(Trouble::new(reason, message))
        } else {
            let suspended =
                || Trouble::new(Reason::Suspended, "stopped because spec.suspend is true");
            self.observed.limits.suspend.then(suspended)
        }
    }

    /// How a stage without a pod ends, if it does.
    fn over_without_pod(&self, stage: Stage) -> Option<End> {
        if stage == Stage::Exit && !self.observed.limits.exit_handler {
            let message = "the OMJob has no exitHandlerSpec";
            return Some(End::without_code(Reason::NotConfigured, message));
        }
        if stage == Stage::Main && self.observed.deleted.is_some() {
            let message = "the OMJob was deleted before its worker started";
            return Some(End::without_code(Reason::Killed, message));
        }
        let refused = self.observed.refusal.as_ref();
        if let Some(refusal) = refused.filter(|refusal| refusal.lasting == Lasting::ForGood) {
            return Some(End::of_trouble(&refusal.trouble));
        }
        self.is_late(stage).then(|| self.too_late(stage))
    }

    /// The end at a deadline: what kept the stage from starting, or that it took too long.
    fn too_late(&self, stage: Stage) -> End {
        match &self.status.stage(stage).trouble {
            Some(Trouble { reason, message }) => {
                End::without_code(*reason, format!("{message} (given up at the deadline)"))
            }
            None => End::without_code(Reason::DeadlineExceeded, "took longer than its deadline"),
        }
    }

    fn deadline(&self, stage: Stage) -> Option<Timestamp> {
        let limits = &self.observed.limits;
        let started = self.started(stage)?;
        let limit = match stage {
            Stage::Main if is_queued(&self.status.main) => Some(QUEUE_LIMIT),
            Stage::Main if self.status.phase == Phase::Pending => {
                Some(limits.active_deadline.unwrap_or(START_LIMIT))
            }
            Stage::Main => limits.active_deadline,
            Stage::Exit if self.status.exit.trouble.is_some() => {
                Some(limits.exit_deadline.min(self.exit_start_limit()))
            }
            Stage::Exit => Some(limits.exit_deadline),
        };
        limit.map(|limit| after(started, limit))
    }

    /// How long something may keep the exit handler from starting.
    fn exit_start_limit(&self) -> SignedDuration {
        let end = self.status.main.end.as_ref();
        let has_ended = end.is_some_and(|end| end.exit_code.is_some());
        if has_ended { EXIT_START_LIMIT } else { EXIT_START_LIMIT_OF_NOTHING }
    }

    /// When a stage began; that a first pod was made need not have been recorded.
    fn started(&self, stage: Stage) -> Option<Timestamp> {
        let record = self.status.stage(stage);
        record.started.or_else(|| self.pod_under_way(stage).map(|pod| pod.created))
    }

    fn is_late(&self, stage: Stage) -> bool {
        self.deadline(stage).is_some_and(|deadline| deadline <= self.now)
    }

    /// A pod that lives beside the attempt under way: its creation was on its way when another
    /// operator took over, or the view of it is old.
    fn has_stray(&self) -> bool {
        self.observed.pods.iter().any(|pod| {
            let early = pod.attempt > self.status.stage(pod.stage).ended;
            let stray = early || is_recorded(&self.status, pod);
            stray && pod.is_alive() && !self.is_lost(pod)
        })
    }
}

/// What each state asks for.
impl Step<'_> {
    fn let_go(self) -> Decision {
        if self.observed.source == Source::Cache {
            return Decision { actions: vec![Action::ReadFresh], next_look: None };
        }
        let tracked = self.observed.pods.iter().filter(|pod| pod.tracked);
        Decision { actions: tracked.map(release).collect(), next_look: None }
    }

    fn attend(&mut self, stage: Stage, pod: &PodSeen) {
        self.note(stage, pod);
        if !pod.tracked && pod.deletion.is_none() {
            let (name, uid) = (pod.name.clone(), pod.uid.clone());
            self.then.push(Action::TrackPod { name, uid });
        }
        match pod.deletion {
            Some(deletion) => self.looks.push(after(deletion.due, LOST_AFTER)),
            None if self.must_stop(stage) => self.then.push(delete(pod)),
            None => self.looks.extend(self.deadline(stage)),
        }
    }

    fn must_stop(&self, stage: Stage) -> bool {
        let asked = self.observed.deleted.is_some() || self.observed.limits.suspend;
        self.is_late(stage) || (stage == Stage::Main && asked)
    }

    /// Records what a living pod tells. That the exit handler runs is worth no write.
    fn note(&mut self, stage: Stage, pod: &PodSeen) {
        let waits_for = match &pod.state {
            PodState::Waiting(trouble) => trouble.as_ref(),
            PodState::Running | PodState::Ended { .. } => None,
        };
        let runs = pod.state == PodState::Running;
        let now = self.now;
        let record = self.status.stage_mut(stage);
        let known = record.trouble.as_ref().map(|known| known.reason);
        if known == Some(Reason::Queued) && waits_for.is_none_or(|new| new.reason != Reason::Queued)
        {
            // As for a Job that is resumed: what it waited for others is not its own time.
            record.started = Some(now);
        }
        // The kubelet forgets between two tries, and when the pod is deleted, what keeps it from
        // starting. That it keeps it will be the reason of its end.
        let forgets = pod.deletion.is_some() || known.is_some_and(Reason::is_of_container);
        let keeps = waits_for.is_none() && !runs && forgets;
        // The words of one reason change often; only another reason is worth a write.
        if !keeps && known != waits_for.map(|new| new.reason) {
            record.trouble = waits_for.cloned();
        }
        if stage == Stage::Main && runs {
            record.started.get_or_insert(pod.created);
            record.refusals = 0;
            record.not_before = None;
            record.pod = Some(PodRef { attempt: pod.attempt, name: pod.name.clone() });
            self.status.phase = Phase::Running;
        }
    }

    fn end_main_attempt(&mut self, ending: Ending<'_>) {
        let started = self.started(Stage::Main);
        let Ending { pod, end, certain } = ending;
        let main = &mut self.status.main;
        main.started = started;
        count(main, pod, &end);
        if end.exit_code.is_some() {
            self.status.phase = Phase::Running;
        }
        if certain && end.reason == Reason::Suspended && self.observed.deleted.is_none() {
            return self.suspend();
        }
        let memory_limit = pod.and_then(|pod| pod.memory_limit);
        let (main, Observed { uid, limits, .. }) = (self.status.main.clone(), self.observed);
        let retry = Retry { uid, limits, main: &main, end: &end, memory_limit };
        match self.next_main_attempt(&retry).filter(|_| certain) {
            Some(time) => {
                self.status.main.not_before = Some(time);
                self.status.main.memory_limit = retry.next_memory_limit();
                self.looks.push(time);
            }
            None => self.end_main(retry.conclusion()),
        }
    }

    /// When another attempt follows, if one does.
    fn next_main_attempt(&self, retry: &Retry<'_>) -> Option<Timestamp> {
        let stopped = self.observed.deleted.is_some() || self.is_late(Stage::Main);
        if stopped || !retry.is_allowed() {
            return None;
        }
        let time = after(self.now, retry.wait());
        let in_time = self.deadline(Stage::Main).is_none_or(|deadline| time < deadline);
        in_time.then_some(time)
    }

    /// Main is over: the exit handler's turn, in the same breath.
    fn end_main(&mut self, end: End) {
        let main = &mut self.status.main;
        main.end = Some(end);
        main.not_before = None;
        main.trouble = None;
        self.status.suspended = false;
        self.status.phase = Phase::ExitHandlerRunning;
        self.status.exit.started = Some(self.now);
        if !self.observed.limits.exit_handler {
            let message = "the OMJob has no exitHandlerSpec";
            return self.end_run(End::without_code(Reason::NotConfigured, message));
        }
        if !self.has_stray() {
            self.make_pod(Stage::Exit);
        }
    }

    fn end_exit_attempt(&mut self, ending: Ending<'_>) {
        let Ending { pod, end, certain } = ending;
        // Asked before what kept it from starting is forgotten.
        let late = self.is_late(Stage::Exit);
        let exit = &mut self.status.exit;
        count(exit, pod, &end);
        let spent = exit.ended >= EXIT_ATTEMPTS;
        let hopeless = end.exit_code == Some(HOPELESS.into());
        let next = after(self.now, EXIT_RETRY.wait(exit.ended.saturating_sub(1)));
        let in_time = self.deadline(Stage::Exit).is_none_or(|deadline| next < deadline);
        if end.succeeded() || !certain || late || spent || hopeless || !in_time {
            return self.end_run(end);
        }
        self.status.exit.not_before = Some(next);
        self.looks.push(next);
    }

    /// The exit handler is over too: the phase says what main said.
    fn end_run(&mut self, exit: End) {
        let reported = exit.succeeded();
        let succeeded = self.status.main.end.as_ref().is_some_and(End::succeeded);
        self.status.phase = if succeeded { Phase::Succeeded } else { Phase::Failed };
        self.status.completed = Some(self.now);
        self.status.exit.not_before = None;
        self.status.exit.trouble = None;
        self.status.exit.end = Some(exit);
        if reported {
            self.status.reporting = Reporting::ByExitHandler;
        } else {
            self.status.reporting =
                Reporting::Outstanding { tries: 0, not_before: None, message: None };
            self.last.push(Action::ReportLastResort);
        }
        self.leave();
    }

    fn confirm_loss(&mut self, stage: Stage) {
        if self.observed.source == Source::Cache {
            return self.then.push(Action::ReadFresh);
        }
        let (reason, message) = if self.observed.deleted.is_some() && stage == Stage::Main {
            (Reason::Killed, "the OMJob was deleted")
        } else {
            (Reason::Deleted, "its pod is gone, and nothing of it is left")
        };
        let end = End::without_code(reason, message);
        let ending = Ending { pod: None, end, certain: false };
        match stage {
            Stage::Main => self.end_main_attempt(ending),
            Stage::Exit => self.end_exit_attempt(ending),
        }
    }

    fn confirm_over(&mut self, stage: Stage, end: End) {
        if self.observed.source == Source::Cache {
            return self.then.push(Action::ReadFresh);
        }
        match stage {
            Stage::Main => self.end_main(end),
            Stage::Exit => self.end_run(end),
        }
    }

    /// Main's deadline starts anew at the resume, as for a Job.
    fn suspend(&mut self) {
        self.status.suspended = true;
        self.status.main.started = None;
        self.status.main.not_before = None;
        self.status.main.trouble = None;
    }

    fn back_off(&mut self, stage: Stage, refusal: &Refusal) {
        let now = self.now;
        let record = self.status.stage_mut(stage);
        let time = after(now, REFUSED.wait(record.refusals));
        record.started.get_or_insert(now);
        record.refusals = record.refusals.saturating_add(1);
        record.not_before = Some(time);
        record.trouble = Some(refusal.trouble.clone());
        self.wait(stage, time);
    }

    fn wait(&mut self, stage: Stage, until: Timestamp) {
        self.looks.push(until);
        self.looks.extend(self.deadline(stage));
    }

    fn make_pod(&mut self, stage: Stage) {
        self.guarded = true;
        if self.observed.finalizer {
            // Otherwise the finalizer is the guard, and the pod's own age will do.
            let now = self.now;
            self.status.stage_mut(stage).started.get_or_insert(now);
        }
        if stage == Stage::Main {
            self.status.suspended = false;
        }
        let attempt = self.status.stage(stage).ended;
        self.then.push(Action::CreatePod { stage, attempt });
        self.looks.extend(self.deadline(stage));
    }

    fn finish(&mut self) {
        let now = self.now;
        self.status.completed.get_or_insert(now);
        if let Reporting::Outstanding { tries, not_before, .. } = self.status.reporting {
            self.go_on_reporting(tries, not_before);
        }
        self.leave();
    }

    fn go_on_reporting(&mut self, tries: u32, not_before: Option<Timestamp>) {
        let limit = self.report_limit();
        let soon = after(self.now, REPORT_EVERY);
        let outage = self.observed.outage;
        match &self.observed.report {
            Some(Report::Done) => self.status.reporting = Reporting::ByOperator,
            Some(Report::Impossible(why)) => {
                self.status.reporting = Reporting::GivenUp(why.clone());
            }
            Some(Report::Unavailable(why)) => {
                let time = if outage { soon } else { after(self.now, REPORT.wait(tries)) };
                self.status.reporting = if time < limit {
                    let (tries, message) = (tries.saturating_add(1), Some(why.clone()));
                    Reporting::Outstanding { tries, not_before: Some(time), message }
                } else {
                    Reporting::GivenUp(why.clone())
                };
                self.looks.push(time);
            }
            None => match not_before.filter(|time| *time > self.now) {
                Some(time) => self.looks.push(time),
                None if outage && soon < limit => self.looks.push(soon),
                None => self.last.push(Action::ReportLastResort),
            },
        }
    }

    /// Until when the operator reports. A deletion does not wait for the TTL, and a namespace that
    /// is being deleted for nothing at all.
    fn report_limit(&self) -> Timestamp {
        let exit = self.status.exit.end.as_ref();
        if exit.is_some_and(|end| end.reason == Reason::NamespaceTerminating) {
            return self.now;
        }
        let limit = match self.observed.limits.ttl {
            _ if self.observed.deleted.is_some() => REPORT_LIMIT,
            Some(ttl) => ttl.max(REPORT_LIMIT),
            None => REPORT_LIMIT_WITHOUT_TTL,
        };
        after(self.status.completed.unwrap_or(self.now), limit)
    }

    /// Lets go of a finished `OMJob`, and deletes it when its TTL is over.
    fn leave(&mut self) {
        if matches!(self.status.reporting, Reporting::Outstanding { .. }) {
            return;
        }
        if self.observed.finalizer {
            if self.observed.source == Source::Cache && !self.sees_every_attempt() {
                // A tracked pod out of view would never be released once the OMJob is gone.
                return self.last.push(Action::ReadFresh);
            }
            self.last.push(Action::RemoveFinalizer);
        }
        let Some(ttl) = self.observed.limits.ttl.filter(|_| self.observed.deleted.is_none()) else {
            return;
        };
        let over = after(self.status.completed.unwrap_or(self.now), ttl);
        if over <= self.now {
            self.last.push(Action::DeleteOmJob);
        } else {
            self.looks.push(over);
        }
    }

    fn sees_every_attempt(&self) -> bool {
        let count = |stage| self.observed.pods.iter().filter(|pod| pod.stage == stage).count();
        let sees = |stage| count(stage) >= self.status.stage(stage).ended as usize;
        sees(Stage::Main) && sees(Stage::Exit)
    }

    /// Everything in its order: what was left to do, the record, what it allows, the leftovers
    /// that it makes, and the letting go.
    fn decision(mut self) -> Decision {
        let adopts = !self.observed.finalizer && !self.recorded.phase.is_terminal();
        let mut actions: Vec<Action> = adopts.then_some(Action::AddFinalizer).into_iter().collect();
        actions.extend(self.tidy(&self.recorded));
        if self.status != self.observed.status || (self.guarded && !adopts) {
            actions.push(Action::Record(Box::new(self.status.clone())));
        }
        actions.append(&mut self.then);
        let leftovers = self.tidy(&self.status);
        let new = leftovers.into_iter().filter(|action| !actions.contains(action));
        actions.extend(new.collect::<Vec<_>>());
        actions.append(&mut self.last);
        if self.has_stray() && self.observed.source == Source::Cache {
            actions.push(Action::ReadFresh);
        }
        Decision { actions, next_look: self.looks.into_iter().min() }
    }

    /// Releases pods whose end that status holds, and deletes what still runs in them.
    fn tidy(&self, status: &Status) -> Vec<Action> {
        let pods = self.observed.pods.iter().filter(|pod| is_recorded(status, pod));
        let actions = pods.flat_map(|pod| {
            let known = !pod.is_alive() || self.observed.source == Source::Api;
            let unwanted = known && pod.deletion.is_none() && is_unwanted(status, pod);
            let delete = unwanted.then(|| delete(pod));
            delete.into_iter().chain(pod.tracked.then(|| release(pod)))
        });
        actions.collect()
    }
}

/// True while a queue of the cluster keeps the stage's pod from a node.
fn is_queued(record: &StageStatus) -> bool {
    record.trouble.as_ref().is_some_and(|trouble| trouble.reason == Reason::Queued)
}

/// Counts an attempt that ended.
fn count(record: &mut StageStatus, pod: Option<&PodSeen>, end: &End) {
    record.ended += 1;
    record.failures += u32::from(!end.succeeded() && !end.reason.is_disruption());
    record.disruptions += u32::from(end.reason.took_the_worker_away());
    record.trouble = None;
    record.refusals = 0;
    if let Some(PodSeen { attempt, name, .. }) = pod {
        record.pod = Some(PodRef { attempt: *attempt, name: name.clone() });
    }
}

/// True when nothing more is to be learnt from a pod.
fn is_recorded(status: &Status, pod: &PodSeen) -> bool {
    let record = status.stage(pod.stage);
    pod.attempt < record.ended || record.end.is_some() || status.phase.is_terminal()
}

/// True for a recorded pod that must not run on: one whose main container should be over, or whose
/// sidecar holds its node. Main's last pod stays until the exit handler has read its log.
fn is_unwanted(status: &Status, pod: &PodSeen) -> bool {
    let read = status.phase.is_terminal() || pod.stage == Stage::Exit || status.main.end.is_none();
    match pod.state {
        PodState::Ended { lingers, .. } => lingers && read,
        PodState::Waiting(_) | PodState::Running => true,
    }
}

fn delete(pod: &PodSeen) -> Action {
    Action::DeletePod { name: pod.name.clone(), uid: pod.uid.clone() }
}

fn release(pod: &PodSeen) -> Action {
    Action::ReleasePod { name: pod.name.clone(), uid: pod.uid.clone() }
}

fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
