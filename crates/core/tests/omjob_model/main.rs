//! Model checking of `omjob::decide`: every course of bounded worlds, explored exhaustively.
//!
//! A world is an API server, a kubelet, users and one or two operators (`world.rs`,
//! `operator.rs`). In each state anything may come next that the world's faults allow: an operator
//! does its next write, or crashes before it; a cache catches up, the `OMJob` and the pods each on
//! its own; a pod starts, ends, hangs, is deleted or lost with its node; a creation is refused; a
//! second operator takes over with caches as old as they come; time passes.
//!
//! Two assumptions are made of what is outside of `decide`. The creation of a pod does not land
//! after another operator has read live or written, and who does not lead decides nothing: that is
//! what the Lease is for. Without it the checker finds a main pod beside the exit handler
//! (`mutants.rs`), since Kubernetes knows no conditional creation. And a kubelet that is there ends
//! a deleted pod before five minutes over its grace period have passed.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "every function here is a test's")]

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use ompipe_core::omjob::{
    Action, Bytes, Lasting, Limits, MoreMemory, Phase, Reporting, Stage, decide,
};
use rstest::rstest;
use stateright::{Checker, HasDiscoveries, Model, Property};

use operator::{Answer, Operator, Rules};
use world::{LARGEST, Life, OUT_OF_MEMORY, TICK, UPSTREAM, World};

mod mutants;
mod operator;
mod world;

/// How often each fault may strike in one course.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Faults {
    crashes: u8,
    handovers: u8,
    kills: u8,
    pod_deletions: u8,
    hangs: u8,
    lost_nodes: u8,
    disruptions: u8,
    gates: u8,
    oom_kills: u8,
    refusals: u8,
    refusals_for_good: u8,
    main_failures: u8,
    exit_failures: u8,
    report_failures: u8,
    suspensions: u8,
    ticks: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    world: World,
    operators: Vec<Operator>,
    left: Faults,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Event {
    Pod(usize, PodEvent),
    Kill,
    Suspend(bool),
    Tick,
    SyncOmJob(usize),
    SyncPods(usize),
    Write(usize, Answer),
    Crash(usize),
    HandOver,
}

/// What may happen to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PodEvent {
    Start,
    End(i32),
    /// A queue of the cluster keeps it, or lets it go.
    Gate(bool),
    /// A drain, or a more important pod: deleted with a condition that says so.
    Disrupt,
    /// The kubelet is done with a deleted pod.
    Stop,
    Hang,
    LoseNode,
    Delete,
}

/// One bounded world.
#[derive(Debug)]
struct Bounded {
    limits: Limits,
    faults: Faults,
    upstream: bool,
    rules: Rules,
    /// States from which every fair course is known to end.
    ending: Mutex<HashSet<u64>>,
}

const RULES: Rules = Rules { decide, fenced: true, tracks: true };

impl Bounded {
    fn new(faults: Faults) -> Self {
        let limits = Limits {
            active_deadline: Some(TICK * 2),
            backoff_limit: Some(1),
            more_memory: Some(MoreMemory { factor: 2, limit: Bytes(LARGEST) }),
            exit_deadline: TICK * 2,
            ..Limits::default()
        };
        Self { limits, faults, upstream: false, rules: RULES, ending: Mutex::default() }
    }

    fn pod_events(state: &State, events: &mut Vec<Event>) {
        let left = &state.left;
        for (index, pod) in state.world.pods.iter().enumerate().filter(|(_, pod)| !pod.silent) {
            let alive = pod.is_alive();
            let free = alive && pod.deleted.is_none() && !pod.stuck;
            let failures =
                if pod.stage == Stage::Main { left.main_failures } else { left.exit_failures };
            let mut may = |allowed: bool, event| {
                events.extend(allowed.then_some(Event::Pod(index, event)));
            };
            may(free && pod.life == Life::Made && !pod.gated, PodEvent::Start);
            // A gate is there from the creation on, so that nobody has seen the pod without it.
            let is_seen = |view: &Operator| view.pods.iter().any(|seen| seen.serial == pod.serial);
            let is_new = !state.operators.iter().any(is_seen);
            let gates = pod.stage == Stage::Main && !pod.gated && left.gates > 0 && is_new;
            may(free && pod.life == Life::Made && gates, PodEvent::Gate(true));
            may(free && pod.gated, PodEvent::Gate(false));
            // A worker may end by itself during its grace period.
            let ends = alive && !pod.stuck && pod.life == Life::Running;
            may(ends, PodEvent::End(0));
            may(ends && failures > 0, PodEvent::End(1));
            let oom_kill = pod.stage == Stage::Main && left.oom_kills > 0;
            may(ends && oom_kill, PodEvent::End(OUT_OF_MEMORY));
            let disrupted = pod.stage == Stage::Main && left.disruptions > 0;
            may(pod.deleted.is_none() && alive && disrupted, PodEvent::Disrupt);
            may(alive && pod.deleted.is_some(), PodEvent::Stop);
            may(free && left.hangs > 0, PodEvent::Hang);
            may(alive && left.lost_nodes > 0, PodEvent::LoseNode);
            may(pod.deleted.is_none() && left.pod_deletions > 0, PodEvent::Delete);
        }
    }

    fn operator_events(state: &State, events: &mut Vec<Event>) {
        let State { world, left, operators } = state;
        for (index, operator) in operators.iter().enumerate() {
            let mut may = |allowed: bool, event| events.extend(allowed.then_some(event));
            may(operator.omjob != world.omjob, Event::SyncOmJob(index));
            may(operator.pods != world.pods, Event::SyncPods(index));
            let next = operator.pending.first();
            may(operator.leads || next.is_some(), Event::Write(index, Answer::Takes));
            may(next.is_some() && left.crashes > 0, Event::Crash(index));
            if let Some(Action::CreatePod { .. }) = next {
                let refuses = |lasting| Event::Write(index, Answer::Refuses(lasting));
                may(left.refusals > 0, refuses(Lasting::ForNow));
                may(left.refusals_for_good > 0, refuses(Lasting::ForGood));
            }
            let reports = next == Some(&Action::ReportLastResort);
            may(reports && left.report_failures > 0, Event::Write(index, Answer::ReportFails));
        }
    }

    fn apply(&self, state: &mut State, event: Event) {
        let State { world, operators, left } = state;
        match event {
            Event::Pod(pod, event) => apply_to_pod(world, left, pod, event),
            Event::Kill => {
                left.kills -= 1;
                world.past.killed = true;
                world.delete_omjob();
            }
            Event::Suspend(suspend) => {
                left.suspensions -= 1;
                if let Some(omjob) = &mut world.omjob {
                    omjob.suspend = suspend;
                }
            }
            Event::Tick => {
                left.ticks -= 1;
                world.ticks += 1;
            }
            Event::SyncOmJob(index) => operators[index].omjob.clone_from(&world.omjob),
            Event::SyncPods(index) => operators[index].pods.clone_from(&world.pods),
            Event::Write(index, answer) => {
                match answer {
                    Answer::Takes => {}
                    Answer::Refuses(Lasting::ForNow) => left.refusals -= 1,
                    Answer::Refuses(Lasting::ForGood) => left.refusals_for_good -= 1,
                    Answer::ReportFails => left.report_failures -= 1,
                }
                self.write(world, operators, index, answer);
            }
            Event::Crash(index) => {
                left.crashes -= 1;
                operators[index].pending.clear();
                operators[index].pass = None;
            }
            Event::HandOver => {
                left.handovers -= 1;
                for operator in operators {
                    operator.leads = !operator.leads;
                }
            }
        }
    }

    fn write(&self, world: &mut World, operators: &mut [Operator], index: usize, answer: Answer) {
        let operator = &mut operators[index];
        if operator.pending.is_empty() {
            operator.decide(world, &self.limits, self.rules);
        }
        operator.write(world, &self.limits, self.rules, answer);
        if operator.pending.is_empty() {
            operator.pass = None;
        }
        if std::mem::take(&mut operator.overtakes) {
            for (_, other) in operators.iter_mut().enumerate().filter(|(other, _)| *other != index)
            {
                other.overtaken = !other.pending.is_empty();
            }
        }
    }

    /// Whether the run ends and is cleaned up when no more faults strike: caches catch up, the
    /// leader does what it decides, pods that can end do, and time passes when nothing else does.
    fn ends(&self, state: &State) -> bool {
        let mut course = Vec::new();
        let mut state = state.clone();
        // In a run that ends, everything happens within a few ticks; a day bounds the reports.
        for _ in 0..600 {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            let known = self.ending.lock().unwrap().contains(&hasher.finish());
            if known || state.is_done() {
                self.ending.lock().unwrap().extend(course);
                return true;
            }
            course.push(hasher.finish());
            self.fair_step(&mut state);
        }
        false
    }

    fn fair_step(&self, state: &mut State) {
        let State { world, operators, .. } = state;
        if let Some(omjob) = &mut world.omjob {
            omjob.suspend = false;
        }
        for index in 0..operators.len() {
            if !operators[index].leads {
                operators[index].pending.clear();
                continue;
            }
            let operator = &mut operators[index];
            if operator.pending.is_empty() {
                operator.omjob.clone_from(&world.omjob);
                operator.pods.clone_from(&world.pods);
            }
            operator.overtaken = false;
            let before = (world.clone(), operator.pending.clone());
            self.write(world, operators, index, Answer::Takes);
            if (&before.0, &before.1) != (world, &operators[index].pending) {
                return;
            }
        }
        if !kubelet_step(world) {
            world.ticks = world.ticks.saturating_add(1);
        }
    }
}

fn apply_to_pod(world: &mut World, left: &mut Faults, index: usize, event: PodEvent) {
    let ticks = world.ticks;
    let pod = &mut world.pods[index];
    match event {
        PodEvent::Start => pod.life = Life::Running,
        PodEvent::End(code) => {
            let spent = u8::from(code != 0);
            match pod.stage {
                Stage::Main if code == OUT_OF_MEMORY => left.oom_kills -= 1,
                Stage::Main => left.main_failures -= spent,
                Stage::Exit => left.exit_failures -= spent,
            }
            world.end(index, code);
        }
        PodEvent::Gate(gated) => {
            left.gates -= u8::from(gated);
            pod.gated = gated;
        }
        PodEvent::Disrupt => {
            left.disruptions -= 1;
            (pod.disrupted, pod.deleted) = (true, Some(ticks));
        }
        PodEvent::Stop => world.end(index, 143),
        PodEvent::Hang => {
            left.hangs -= 1;
            pod.stuck = true;
        }
        PodEvent::LoseNode => {
            left.lost_nodes -= 1;
            pod.silent = true;
            // The taint manager deletes it; nobody is left to say that it ended.
            pod.deleted.get_or_insert(ticks);
        }
        PodEvent::Delete => {
            left.pod_deletions -= 1;
            pod.deleted = Some(ticks);
            world.collect();
        }
    }
}

fn kubelet_step(world: &mut World) -> bool {
    for index in 0..world.pods.len() {
        let pod = &mut world.pods[index];
        match (pod.life, pod.deleted) {
            _ if pod.silent => {}
            (Life::Made | Life::Running, Some(_)) => {
                world.end(index, 143);
                return true;
            }
            (Life::Made, None) if pod.gated => {
                pod.gated = false;
                return true;
            }
            (Life::Made, None) if !pod.stuck => {
                pod.life = Life::Running;
                return true;
            }
            (Life::Running, None) if !pod.stuck => {
                world.end(index, 0);
                return true;
            }
            (Life::Made | Life::Running | Life::Ended(_), _) => {}
        }
    }
    false
}

impl State {
    /// The run has its end, and nothing of ours holds any object any more.
    fn is_done(&self) -> bool {
        let over = self.world.omjob.as_ref().is_none_or(|omjob| {
            let reported = !matches!(omjob.status.reporting, Reporting::Outstanding { .. });
            omjob.status.phase.is_terminal() && reported && !omjob.finalizer
        });
        over && self.world.pods.iter().all(|pod| !pod.tracked)
    }
}

impl Model for Bounded {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        let mut world = if self.upstream { World::of_upstream() } else { World::fresh() };
        if self.upstream {
            world.past.attempts_made |= UPSTREAM;
        }
        let second = (self.faults.handovers > 0).then(|| Operator::new(false, &world));
        let operators = [Operator::new(true, &world)].into_iter().chain(second).collect();
        vec![State { world, operators, left: self.faults }]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        let left = &state.left;
        Self::pod_events(state, events);
        Self::operator_events(state, events);
        if let Some(omjob) = &state.world.omjob {
            events.extend((left.kills > 0 && !omjob.deleted).then_some(Event::Kill));
            events.extend((left.suspensions > 0).then_some(Event::Suspend(!omjob.suspend)));
        }
        let may_tick = left.ticks > 0 && !state.world.kubelet_is_due();
        events.extend(may_tick.then_some(Event::Tick));
        events.extend((left.handovers > 0).then_some(Event::HandOver));
    }

    fn next_state(&self, last: &State, event: Event) -> Option<State> {
        let mut state = last.clone();
        self.apply(&mut state, event);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("safe", |_, state: &State| state.world.past.violation.is_none()),
            Property::always("ends", |model: &Self, state: &State| {
                state.world.past.violation.is_some() || model.ends(state)
            }),
            Property::sometimes("some run ends well", |_, state: &State| {
                state
                    .world
                    .omjob
                    .as_ref()
                    .is_some_and(|o| o.status.phase == Phase::Succeeded && !o.finalizer)
            }),
        ]
    }
}

/// Explores a world until it is whole or something goes wrong, and returns what does. One thread,
/// so that the shortest course is found, and the same one each time.
fn explore(name: &str, model: Bounded) -> Result<(), String> {
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{name}: {} states, depth {}", checker.unique_state_count(), checker.max_depth());
    for property in ["safe", "ends"] {
        if let Some(path) = checker.discovery(property) {
            let violation = path.last_state().world.past.violation.unwrap_or("does not end");
            let course: Vec<String> =
                path.into_actions().iter().map(|event| format!("{event:?}")).collect();
            return Err(format!("{violation}: {}", course.join(", ")));
        }
    }
    checker.discovery("some run ends well").map(|_| ()).ok_or_else(|| "no run ends well".to_owned())
}

const NONE: Faults = Faults {
    crashes: 0,
    handovers: 0,
    kills: 0,
    pod_deletions: 0,
    hangs: 0,
    lost_nodes: 0,
    disruptions: 0,
    gates: 0,
    oom_kills: 0,
    refusals: 0,
    refusals_for_good: 0,
    main_failures: 0,
    exit_failures: 0,
    report_failures: 0,
    suspensions: 0,
    ticks: 0,
};

/// Every world whose faults are combined here is explored whole, and nothing goes wrong in it.
#[rstest]
#[case::crashes_and_retries(Faults { crashes: 2, main_failures: 2, exit_failures: 1, ticks: 2, ..NONE })]
#[case::kill(Faults { crashes: 1, kills: 1, main_failures: 1, pod_deletions: 1, ticks: 1, ..NONE })]
#[case::pods_deleted(Faults { crashes: 1, pod_deletions: 3, main_failures: 1, ticks: 2, ..NONE })]
#[case::refused(Faults { crashes: 1, refusals: 2, refusals_for_good: 1, ticks: 2, ..NONE })]
#[case::refused_and_killed(Faults { kills: 1, refusals: 1, refusals_for_good: 2, report_failures: 1, ticks: 2, ..NONE })]
#[case::suspended_and_killed(Faults { suspensions: 1, kills: 1, ticks: 1, ..NONE })]
#[case::hangs(Faults { hangs: 2, crashes: 1, kills: 1, ticks: 3, ..NONE })]
#[case::nodes_lost(Faults { lost_nodes: 2, crashes: 1, ticks: 3, ..NONE })]
#[case::disrupted(Faults { disruptions: 2, crashes: 1, main_failures: 1, ticks: 2, ..NONE })]
#[case::disrupted_and_killed(Faults { disruptions: 1, kills: 1, pod_deletions: 1, ticks: 1, ..NONE })]
#[case::queued(Faults { gates: 2, crashes: 1, disruptions: 1, ticks: 3, ..NONE })]
#[case::queued_and_killed(Faults { gates: 1, kills: 1, crashes: 1, ticks: 3, ..NONE })]
#[case::out_of_memory(Faults { oom_kills: 2, crashes: 1, disruptions: 1, ticks: 2, ..NONE })]
#[case::reports_fail(Faults { exit_failures: 2, report_failures: 2, kills: 1, ticks: 3, ..NONE })]
#[case::suspended(Faults { suspensions: 2, crashes: 1, ticks: 2, ..NONE })]
#[case::two_leaders(Faults { handovers: 1, crashes: 1, main_failures: 1, ..NONE })]
#[case::two_leaders_and_a_kill(Faults { handovers: 1, kills: 1, ..NONE })]
#[case::two_leaders_and_a_deletion(Faults { handovers: 1, pod_deletions: 1, ..NONE })]
#[case::two_leaders_and_a_disruption(Faults { handovers: 1, disruptions: 1, oom_kills: 1, ..NONE })]
#[case::leadership_returns(Faults { handovers: 2, main_failures: 1, ..NONE })]
#[case::refused_in_a_hand_over(Faults { handovers: 1, refusals_for_good: 1, ..NONE })]
fn nothing_goes_wrong(#[case] faults: Faults) {
    explore(&format!("{faults:?}"), Bounded::new(faults)).unwrap();
}

/// A run that upstream's operator began: its main pod is not tracked, so it may vanish unseen.
#[rstest]
#[case::undisturbed(Faults { crashes: 1, main_failures: 1, ticks: 1, ..NONE })]
#[case::pod_deleted(Faults { pod_deletions: 1, main_failures: 1, ticks: 1, ..NONE })]
#[case::killed(Faults { kills: 1, crashes: 1, ..NONE })]
#[case::two_leaders(Faults { handovers: 1, pod_deletions: 1, ..NONE })]
fn a_run_of_upstreams_operator_is_taken_over(#[case] faults: Faults) {
    let model = Bounded { upstream: true, ..Bounded::new(faults) };
    explore(&format!("upstream {faults:?}"), model).unwrap();
}
