//! The API server, the kubelet and the users, as far as an `OMJob` can tell them apart.

use jiff::{SignedDuration, Timestamp};
use ompipe_core::omjob::{
    Bytes, Deletion, End, Limits, MOST_DISRUPTIONS, Phase, PodSeen, PodState, Reason, Reporting,
    Stage, Status, Trouble, pod_name,
};

pub(crate) const NAME: &str = "run";
/// The largest memory limit, where the model lets it grow from 1 by doubling.
pub(crate) const LARGEST: u64 = 3;
/// Longer than any backoff and than the wait for a lost node, so that one tick passes each.
pub(crate) const TICK: SignedDuration = SignedDuration::from_mins(10);

/// The server's objects, and what the properties must know of the past.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) omjob: Option<OmJob>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) ticks: u8,
    pub(crate) past: Past,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OmJob {
    pub(crate) deleted: bool,
    pub(crate) finalizer: bool,
    pub(crate) suspend: bool,
    pub(crate) status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each may be true with each of the others")]
pub(crate) struct Pod {
    pub(crate) stage: Stage,
    pub(crate) attempt: u32,
    /// Stands for the UID: pods of one name, told apart.
    pub(crate) serial: u8,
    pub(crate) made: u8,
    pub(crate) tracked: bool,
    pub(crate) deleted: Option<u8>,
    /// It makes no progress of its own: no image, or it hangs.
    pub(crate) stuck: bool,
    /// Its node is lost: nothing of it changes any more.
    pub(crate) silent: bool,
    /// It is to make room: a drain, or a more important pod.
    pub(crate) disrupted: bool,
    pub(crate) memory: u64,
    /// It waits in a queue of the cluster.
    pub(crate) gated: bool,
    pub(crate) life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    Made,
    Running,
    Ended(i32),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts of the past, not states of a machine")]
pub(crate) struct Past {
    pub(crate) serials: u8,
    pub(crate) attempts_made: u32,
    pub(crate) exit_made: bool,
    pub(crate) exit_succeeded: bool,
    pub(crate) last_main: Option<i32>,
    /// The last main pod was disrupted, and nothing else ended the run.
    pub(crate) disrupted: bool,
    /// Memory of the last main pod, and whether the kernel killed it for want of it.
    pub(crate) memory: Option<(u64, bool)>,
    pub(crate) refused_for_good: bool,
    pub(crate) killed: bool,
    /// The first thing that must never happen and did.
    pub(crate) violation: Option<&'static str>,
}

impl Pod {
    pub(crate) fn is_alive(&self) -> bool {
        !self.silent && !matches!(self.life, Life::Ended(_))
    }

    pub(crate) fn seen(&self) -> PodSeen {
        PodSeen {
            name: pod_name(NAME, self.stage, self.attempt),
            uid: self.serial.to_string(),
            stage: self.stage,
            attempt: self.attempt,
            created: time(self.made),
            tracked: self.tracked,
            deletion: self.deleted.map(|tick| Deletion { requested: time(tick), due: time(tick) }),
            memory_limit: Some(Bytes(self.memory)),
            state: self.state(),
        }
    }

    fn state(&self) -> PodState {
        match self.life {
            Life::Made if self.stuck => {
                PodState::Waiting(Some(Trouble::new(Reason::ImagePull, "no such image")))
            }
            Life::Made if self.gated => {
                PodState::Waiting(Some(Trouble::new(Reason::Queued, "in a queue")))
            }
            Life::Made => PodState::Waiting(None),
            Life::Running => PodState::Running,
            Life::Ended(code) => {
                let end = end(code, self.disrupted);
                PodState::Ended { end, lingers: false }
            }
        }
    }
}

/// Exit code of a worker that the kernel killed for its memory.
pub(crate) const OUT_OF_MEMORY: i32 = 137;
/// Memory of a pod whose limit nothing has raised.
const MEMORY: u64 = 1;

fn end(code: i32, disrupted: bool) -> End {
    let reason = match code {
        0 => Reason::Completed,
        _ if disrupted => Reason::Evicted,
        OUT_OF_MEMORY => Reason::OomKilled,
        _ => Reason::Error,
    };
    End { exit_code: Some(code), ..End::without_code(reason, "ended") }
}

pub(crate) fn time(ticks: u8) -> Timestamp {
    Timestamp::UNIX_EPOCH + TICK * i32::from(ticks)
}

impl World {
    pub(crate) fn fresh() -> Self {
        let omjob =
            OmJob { deleted: false, finalizer: false, suspend: false, status: Status::default() };
        Self { omjob: Some(omjob), pods: Vec::new(), ticks: 0, past: Past::default() }
    }

    /// What upstream's operator leaves in mid-run: nothing tracked, no finalizer, a bare phase.
    pub(crate) fn of_upstream() -> Self {
        let mut world = Self::fresh();
        world.make(Stage::Main, 0, false);
        if let Some(omjob) = &mut world.omjob {
            omjob.status.phase = Phase::Running;
        }
        world
    }

    pub(crate) fn violate(&mut self, what: &'static str) {
        self.past.violation.get_or_insert(what);
    }

    fn find(&mut self, uid: &str) -> Option<&mut Pod> {
        self.pods.iter_mut().find(|pod| pod.serial.to_string() == uid)
    }

    pub(crate) fn track(&mut self, uid: &str) {
        if let Some(pod) = self.find(uid).filter(|pod| pod.deleted.is_none()) {
            pod.tracked = true;
        }
    }

    pub(crate) fn delete_pod(&mut self, uid: &str) {
        let tick = self.ticks;
        let Some(pod) = self.find(uid) else { return };
        let waits = pod.gated && pod.deleted.is_none();
        pod.deleted.get_or_insert(tick);
        if waits && !self.past.killed {
            self.violate("stopped while it waited in a queue");
        }
        self.collect();
    }

    pub(crate) fn release(&mut self, uid: &str) {
        if let Some(pod) = self.find(uid) {
            pod.tracked = false;
        }
        self.collect();
    }

    pub(crate) fn add_finalizer(&mut self) {
        if let Some(omjob) = &mut self.omjob {
            omjob.finalizer = true;
        }
    }

    /// Creates a pod, unless its name is taken.
    pub(crate) fn make(&mut self, stage: Stage, attempt: u32, tracked: bool) {
        if self.pods.iter().any(|pod| (pod.stage, pod.attempt) == (stage, attempt)) {
            return;
        }
        let memory = self.memory_of(stage);
        self.watch_creation(stage, attempt);
        self.watch_memory(stage, memory);
        let serial = self.past.serials;
        self.past.serials += 1;
        self.pods.push(Pod {
            stage,
            attempt,
            serial,
            made: self.ticks,
            tracked,
            deleted: None,
            stuck: false,
            silent: false,
            disrupted: false,
            memory,
            gated: false,
            life: Life::Made,
        });
    }

    /// The limit that the operator gives the pod, which is the recorded one.
    fn memory_of(&self, stage: Stage) -> u64 {
        let record = self.omjob.as_ref().map(|omjob| omjob.status.stage(stage));
        record.and_then(|record| record.memory_limit).map_or(MEMORY, |limit| limit.0)
    }

    /// Memory grows after an OOM kill, and only then; the largest limit of the model is two steps away.
    fn watch_memory(&mut self, stage: Stage, memory: u64) {
        if stage == Stage::Exit {
            return;
        }
        match self.past.memory {
            Some((before, true)) if before < LARGEST && memory <= before => {
                self.violate("an attempt after an OOM kill has no more memory");
            }
            Some((before, false)) if memory != before => {
                self.violate("the memory changed without an OOM kill");
            }
            _ if memory > LARGEST => self.violate("more memory than the largest limit"),
            _ => {}
        }
        self.past.memory = Some((memory, false));
    }

    fn watch_creation(&mut self, stage: Stage, attempt: u32) {
        let alive = |stage| self.pods.iter().any(|pod| pod.stage == stage && pod.is_alive());
        let (main_lives, exit_lives) = (alive(Stage::Main), alive(Stage::Exit));
        let unsure = self.pods.iter().any(|pod| pod.silent && !matches!(pod.life, Life::Ended(_)));
        match stage {
            Stage::Main if unsure => {
                self.violate("two main pods of which one is on a lost node");
            }
            Stage::Main if main_lives => self.violate("two main pods live"),
            Stage::Main if self.past.exit_made => self.violate("main made after the exit handler"),
            Stage::Main if self.past.attempts_made & (1 << attempt) != 0 => {
                self.violate("one attempt made twice");
            }
            Stage::Main => self.past.attempts_made |= 1 << attempt,
            Stage::Exit if main_lives => self.violate("exit handler made while main lives"),
            Stage::Exit if exit_lives => self.violate("two exit handlers live"),
            Stage::Exit if self.past.exit_succeeded => {
                self.violate("second exit handler after success");
            }
            Stage::Exit => self.past.exit_made = true,
        }
    }

    /// Ends the process of a pod.
    pub(crate) fn end(&mut self, pod: usize, code: i32) {
        self.pods[pod].life = Life::Ended(code);
        match self.pods[pod].stage {
            Stage::Main => {
                self.past.last_main = Some(code);
                self.past.disrupted = self.pods[pod].disrupted && code != 0;
                // A deletion is the better explanation of a signal.
                let is_oom = code == OUT_OF_MEMORY && self.pods[pod].deleted.is_none();
                self.past.memory = Some((self.pods[pod].memory, is_oom));
            }
            Stage::Exit => self.past.exit_succeeded |= code == 0,
        }
        self.collect();
    }

    /// Removes pods that are deleted, ended and held by no finalizer, and orphans.
    pub(crate) fn collect(&mut self) {
        let orphaned = self.omjob.is_none();
        let ended = |pod: &Pod| matches!(pod.life, Life::Ended(_));
        let gone = |pod: &Pod| !pod.tracked && (orphaned || (pod.deleted.is_some() && ended(pod)));
        let unrecorded = self.omjob.as_ref().is_some_and(|omjob| {
            let main = &omjob.status.main;
            let open = |pod: &Pod| pod.stage == Stage::Main && pod.attempt >= main.ended;
            main.end.is_none() && self.pods.iter().any(|pod| gone(pod) && open(pod))
        });
        let upstreams = self.pods.iter().any(|pod| pod.serial == 0 && self.past.upstream());
        if unrecorded && !upstreams {
            self.violate("the end of a main pod is lost");
        }
        self.pods.retain(|pod| !gone(pod));
    }

    pub(crate) fn delete_omjob(&mut self) {
        let Some(omjob) = &mut self.omjob else { return };
        if omjob.finalizer {
            omjob.deleted = true;
        } else {
            self.remove_omjob();
        }
    }

    pub(crate) fn remove_finalizer(&mut self) {
        let Some(omjob) = &mut self.omjob else { return };
        omjob.finalizer = false;
        if omjob.deleted {
            self.remove_omjob();
        }
    }

    /// A kubelet has a deleted pod to end, which it does before long.
    pub(crate) fn kubelet_is_due(&self) -> bool {
        self.pods.iter().any(|pod| pod.is_alive() && pod.deleted.is_some())
    }

    fn remove_omjob(&mut self) {
        let terminal = self.omjob.take().is_some_and(|omjob| omjob.status.phase.is_terminal());
        if !terminal && self.past.attempts_made != 0 && !self.past.upstream() {
            self.violate("let go before the run's end");
        }
        self.collect();
    }

    pub(crate) fn record(&mut self, new: Status, limits: &Limits) {
        let Some(old) = self.omjob.as_ref().map(|omjob| omjob.status.phase) else { return };
        if old.is_terminal() && new.phase != old {
            self.violate("a terminal phase changed");
        } else if new.phase < old {
            self.violate("the phase went back");
        }
        if new.phase.is_terminal() && !old.is_terminal() {
            self.watch_end(&new, limits);
        }
        if let Some(omjob) = &mut self.omjob {
            omjob.status = new;
        }
    }

    fn watch_end(&mut self, new: &Status, limits: &Limits) {
        let silent = self.pods.iter().any(|pod| pod.silent);
        let ended_well = self.past.last_main == Some(0);
        let late = limits.active_deadline.is_some_and(|limit| time(0) + limit <= time(self.ticks));
        let cause = self.past.killed || self.past.refused_for_good || late || silent;
        if self.pods.iter().any(|pod| pod.stage == Stage::Main && pod.is_alive()) {
            self.violate("finished while main lives");
        } else if new.phase == Phase::Succeeded && !ended_well {
            self.violate("the phase says something else than main");
        } else if new.phase == Phase::Failed && ended_well && !silent && !self.past.upstream() {
            // Unless nobody could know: a lost node, or a pod of upstream's, gone without a trace.
            self.violate("the phase says something else than main");
        } else if new.reporting == Reporting::ByExitHandler && !self.past.exit_succeeded {
            self.violate("reported by an exit handler that did not succeed");
        } else if self.past.disrupted && !cause && new.main.disruptions < MOST_DISRUPTIONS {
            self.violate("a disruption ended the run");
        } else if self.past.attempts_made == 0 && !cause {
            self.violate("an API error ended the run");
        }
    }
}

impl Past {
    /// Upstream's main pod was there before anything was decided.
    fn upstream(&self) -> bool {
        self.attempts_made & UPSTREAM != 0
    }
}

/// Marks a world that upstream's operator began, whose first pod nobody tracked.
pub(crate) const UPSTREAM: u32 = 1 << 31;
