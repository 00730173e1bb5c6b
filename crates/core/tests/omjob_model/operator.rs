//! Operators: each with its own caches, which lag as they like, and a list of writes that a crash
//! may cut anywhere.

use jiff::Timestamp;
use ompipe_core::omjob::{
    Action, Decision, Lasting, Limits, Observed, Reason, Refusal, Report, Source, Trouble,
};

use crate::world::{NAME, OmJob, Pod, World, time};

pub(crate) type Decide = fn(&Observed, Timestamp) -> Decision;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Operator {
    /// It may decide. A former leader may only finish what it began.
    pub(crate) leads: bool,
    pub(crate) omjob: Option<OmJob>,
    pub(crate) pods: Vec<Pod>,
    /// The writes of its last decision that are still to do.
    pub(crate) pending: Vec<Action>,
    /// The `OMJob` as its last write left it: what its next write is conditional on.
    pub(crate) pass: Option<OmJob>,
    /// Another operator wrote or read live since: a creation would come too late (see `main.rs`).
    pub(crate) overtaken: bool,
    /// Its last step was such a write or read.
    pub(crate) overtakes: bool,
}

/// What the server answers to the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Takes,
    Refuses(Lasting),
    ReportFails,
}

/// How operators decide and write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) decide: Decide,
    /// A creation never lands after another operator's write: the lease.
    pub(crate) fenced: bool,
    /// Pods are made with their finalizer.
    pub(crate) tracks: bool,
}

impl Operator {
    pub(crate) fn new(leads: bool, world: &World) -> Self {
        let (omjob, pods) = (world.omjob.clone(), world.pods.clone());
        Self {
            leads,
            omjob,
            pods,
            pending: Vec::new(),
            pass: None,
            overtaken: false,
            overtakes: false,
        }
    }

    fn observe(&self, omjob: &OmJob, limits: &Limits, source: Source) -> Observed {
        Observed {
            name: NAME.to_owned(),
            uid: NAME.to_owned(),
            deleted: omjob.deleted.then_some(Timestamp::UNIX_EPOCH),
            finalizer: omjob.finalizer,
            limits: Limits { suspend: omjob.suspend, ..limits.clone() },
            status: omjob.status.clone(),
            pods: self.pods.iter().map(Pod::seen).collect(),
            source,
            refusal: None,
            outage: false,
            report: None,
        }
    }

    /// Decides anew on the caches, or on a live read where the decision asks for one.
    pub(crate) fn decide(&mut self, world: &World, limits: &Limits, rules: Rules) {
        let Some(omjob) = self.omjob.clone() else { return };
        let observed = self.observe(&omjob, limits, Source::Cache);
        self.pass = Some(omjob);
        self.pending = (rules.decide)(&observed, time(world.ticks)).actions;
        self.read_fresh(world, limits, rules, None);
    }

    fn read_fresh(
        &mut self,
        world: &World,
        limits: &Limits,
        rules: Rules,
        refusal: Option<&Refusal>,
    ) {
        if self.pending.first() != Some(&Action::ReadFresh) {
            return;
        }
        self.overtakes = true;
        self.overtaken = false;
        self.omjob.clone_from(&world.omjob);
        self.pods.clone_from(&world.pods);
        self.pending.clear();
        let Some(omjob) = self.omjob.clone() else { return };
        let mut observed = self.observe(&omjob, limits, Source::Api);
        observed.refusal = refusal.cloned();
        self.pass = Some(omjob);
        self.pending = (rules.decide)(&observed, time(world.ticks)).actions;
    }

    fn decide_on(&mut self, world: &World, limits: &Limits, rules: Rules, told: Told) {
        self.pending.clear();
        if !self.leads {
            return;
        }
        let Some(omjob) = self.pass.clone() else { return };
        let mut observed = self.observe(&omjob, limits, Source::Cache);
        let refusal = match told {
            Told::Refused(refusal) => Some(refusal),
            Told::Reported(report) => {
                observed.report = Some(report);
                None
            }
        };
        observed.refusal.clone_from(&refusal);
        self.pending = (rules.decide)(&observed, time(world.ticks)).actions;
        self.read_fresh(world, limits, rules, refusal.as_ref());
    }

    /// Does the next write.
    pub(crate) fn write(
        &mut self,
        world: &mut World,
        limits: &Limits,
        rules: Rules,
        answer: Answer,
    ) {
        if self.pending.is_empty() {
            return;
        }
        match self.pending.remove(0) {
            Action::CreatePod { stage, attempt } => match answer {
                Answer::Refuses(lasting) => {
                    world.past.refused_for_good |= lasting == Lasting::ForGood;
                    self.decide_on(world, limits, rules, Told::Refused(refusal(lasting)));
                }
                _ if rules.fenced && self.overtaken => self.pending.clear(),
                _ if world.omjob.is_none() => self.pending.clear(),
                _ => world.make(stage, attempt, rules.tracks),
            },
            Action::ReportLastResort => {
                let report = match answer {
                    Answer::ReportFails => Report::Unavailable("down".to_owned()),
                    Answer::Takes | Answer::Refuses(_) => Report::Done,
                };
                self.decide_on(world, limits, rules, Told::Reported(report));
            }
            Action::ReadFresh => {
                self.pending = Vec::from_iter(self.leads.then_some(Action::ReadFresh));
                self.read_fresh(world, limits, rules, None);
            }
            Action::TrackPod { uid, .. } => world.track(&uid),
            Action::DeletePod { uid, .. } => world.delete_pod(&uid),
            Action::ReleasePod { uid, .. } => world.release(&uid),
            conditional if self.pass == world.omjob => {
                write_omjob(world, limits, conditional);
                self.pass.clone_from(&world.omjob);
                (self.overtaken, self.overtakes) = (false, true);
            }
            _ => self.pending.clear(),
        }
    }
}

fn write_omjob(world: &mut World, limits: &Limits, action: Action) {
    match action {
        Action::AddFinalizer => world.add_finalizer(),
        Action::Record(status) => world.record(*status, limits),
        Action::RemoveFinalizer => world.remove_finalizer(),
        Action::DeleteOmJob => world.delete_omjob(),
        other => unreachable!("{other:?} is no write of the OMJob"),
    }
}

/// What a pass learnt that no object shows.
enum Told {
    Refused(Refusal),
    Reported(Report),
}

fn refusal(lasting: Lasting) -> Refusal {
    let reason = match lasting {
        Lasting::ForNow => Reason::Quota,
        Lasting::ForGood => Reason::Admission,
    };
    Refusal { lasting, trouble: Trouble::new(reason, "refused") }
}
