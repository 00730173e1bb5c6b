//! Seeded bugs: the checker must find each of them, or it proves nothing.

use jiff::{SignedDuration, Timestamp};
use ompipe_core::omjob::{
    Action, Decision, End, Lasting, Observed, Phase, PodState, Reason, Source, Stage, decide,
};
use rstest::rstest;

use crate::operator::{Decide, Rules};
use crate::{Bounded, Faults, NONE, RULES, explore};

fn without(observed: &Observed, now: Timestamp, dropped: fn(&Action) -> bool) -> Decision {
    let mut decision = decide(observed, now);
    decision.actions.retain(|action| !dropped(action));
    decision
}

fn forgets_the_finalizer(observed: &Observed, now: Timestamp) -> Decision {
    let pretended = Observed { finalizer: observed.deleted.is_none(), ..observed.clone() };
    without(&pretended, now, |action| *action == Action::RemoveFinalizer)
}

/// Takes the wish for a pod's deletion for its end.
fn does_not_wait_for_main(observed: &Observed, now: Timestamp) -> Decision {
    let mut hasty = observed.clone();
    for pod in hasty.pods.iter_mut().filter(|pod| pod.deletion.is_some() && pod.is_alive()) {
        let end = End::without_code(Reason::Deleted, "deleted");
        pod.state = PodState::Ended { end, lingers: false };
    }
    decide(&hasty, now)
}

/// Takes a pod that is not there for one that was not made yet.
fn makes_a_missing_pod_again(observed: &Observed, now: Timestamp) -> Decision {
    let mut forgetful = observed.clone();
    if forgetful.pods.is_empty() && forgetful.status.main.end.is_none() {
        forgetful.status.main.pod = None;
        forgetful.status.phase = Phase::Pending;
    }
    let mut decision = decide(&forgetful, now);
    for action in &mut decision.actions {
        if let Action::Record(status) = action {
            status.phase = status.phase.max(observed.status.phase);
        }
    }
    decision
}

fn trusts_its_cache(observed: &Observed, now: Timestamp) -> Decision {
    decide(&Observed { source: Source::Api, ..observed.clone() }, now)
}

/// Makes pods without a write of the `OMJob` that would fail on an old view.
fn makes_pods_unguarded(observed: &Observed, now: Timestamp) -> Decision {
    let mut decision = decide(observed, now);
    let unchanged = |action: &Action| {
        matches!(action, Action::Record(status) if status.main.ended == observed.status.main.ended
            && status.main.end == observed.status.main.end)
    };
    if decision.actions.iter().any(|action| matches!(action, Action::CreatePod { .. })) {
        decision.actions.retain(|action| !unchanged(action));
    }
    decision
}

/// Releases pods before their end is recorded.
fn releases_too_early(observed: &Observed, now: Timestamp) -> Decision {
    let mut decision = decide(observed, now);
    decision.actions.sort_by_key(|action| !matches!(action, Action::ReleasePod { .. }));
    decision
}

/// Lets an API error end the run.
fn gives_up_at_a_refusal(observed: &Observed, now: Timestamp) -> Decision {
    let mut discouraged = observed.clone();
    if let Some(refusal) = &mut discouraged.refusal {
        refusal.lasting = Lasting::ForGood;
    }
    decide(&discouraged, now)
}

/// As upstream's operator: the phase is the exit handler's.
fn takes_the_exit_handlers_word(observed: &Observed, now: Timestamp) -> Decision {
    let mut decision = decide(observed, now);
    for action in &mut decision.actions {
        if let Action::Record(status) = action
            && let Some(end) = &status.exit.end
        {
            status.phase = if end.succeeded() { Phase::Succeeded } else { Phase::Failed };
        }
    }
    decision
}

/// Takes every end of an exit handler for a failure.
fn repeats_the_exit_handler(observed: &Observed, now: Timestamp) -> Decision {
    let mut doubting = observed.clone();
    for pod in doubting.pods.iter_mut().filter(|pod| pod.stage == Stage::Exit) {
        if let PodState::Ended { end, .. } = &mut pod.state {
            end.exit_code = Some(1);
        }
    }
    decide(&doubting, now)
}

/// Takes a pod whose node went silent for one that is gone.
fn retries_beside_a_lost_node(observed: &Observed, now: Timestamp) -> Decision {
    let mut sure = observed.clone();
    let late = |due: Timestamp| due + SignedDuration::from_mins(5) <= now;
    for pod in sure.pods.iter_mut().filter(|pod| pod.is_alive()) {
        if pod.deletion.is_some_and(|deletion| late(deletion.due)) {
            let end = End::without_code(Reason::NodeLost, "lost");
            pod.state = PodState::Ended { end, lingers: false };
        }
    }
    decide(&sure, now)
}

fn lets_the_exit_handler_hang(observed: &Observed, now: Timestamp) -> Decision {
    let mut patient = observed.clone();
    patient.limits.exit_deadline = SignedDuration::MAX;
    decide(&patient, now)
}

fn never_releases(observed: &Observed, now: Timestamp) -> Decision {
    without(observed, now, |action| matches!(action, Action::ReleasePod { .. }))
}

/// Gives a finished run another phase when its last pod comes back into view.
fn revises_the_end(observed: &Observed, now: Timestamp) -> Decision {
    let mut open = observed.clone();
    if open.status.phase.is_terminal() && open.finalizer {
        open.status.phase = Phase::ExitHandlerRunning;
        open.status.exit.end = None;
        open.status.main.end = Some(End::without_code(Reason::Unknown, "unknown"));
    }
    decide(&open, now)
}

/// Takes a disruption for a failure of the worker.
fn counts_disruptions(observed: &Observed, now: Timestamp) -> Decision {
    let mut strict = observed.clone();
    for pod in &mut strict.pods {
        if let PodState::Ended { end, .. } = &mut pod.state
            && end.reason == Reason::Evicted
        {
            end.reason = Reason::Error;
        }
    }
    decide(&strict, now)
}

/// Tries again with the memory that was too little.
fn forgets_the_memory(observed: &Observed, now: Timestamp) -> Decision {
    let mut decision = decide(observed, now);
    for action in &mut decision.actions {
        if let Action::Record(status) = action {
            status.main.memory_limit = None;
        }
    }
    decision
}

/// Raises the limit after every failure.
fn raises_the_memory_always(observed: &Observed, now: Timestamp) -> Decision {
    let mut generous = observed.clone();
    for pod in &mut generous.pods {
        if let PodState::Ended { end, .. } = &mut pod.state
            && end.reason == Reason::Error
        {
            end.reason = Reason::OomKilled;
        }
    }
    decide(&generous, now)
}

/// Takes a queue for anything else that keeps a pod from starting.
fn counts_the_queue(observed: &Observed, now: Timestamp) -> Decision {
    let mut impatient = observed.clone();
    for pod in &mut impatient.pods {
        if let PodState::Waiting(Some(trouble)) = &mut pod.state {
            trouble.reason = Reason::Unschedulable;
        }
    }
    decide(&impatient, now)
}

#[rstest]
#[case(counts_the_queue, "stopped while it waited in a queue", Faults { gates: 1, ticks: 2, ..NONE })]
#[case(counts_disruptions, "a disruption ended the run", Faults { disruptions: 2, ticks: 1, ..NONE })]
#[case(forgets_the_memory, "an attempt after an OOM kill has no more memory", Faults { oom_kills: 1, ticks: 1, ..NONE })]
#[case(raises_the_memory_always, "the memory changed without an OOM kill", Faults { main_failures: 1, ticks: 1, ..NONE })]
#[case(forgets_the_finalizer, "let go before the run's end", Faults { kills: 1, ..NONE })]
#[case(does_not_wait_for_main, "exit handler made while main lives", Faults { kills: 1, ..NONE })]
#[case(makes_pods_unguarded, "one attempt made twice", Faults { crashes: 1, pod_deletions: 2, ..NONE })]
#[case(releases_too_early, "the end of a main pod is lost", Faults { pod_deletions: 1, ..NONE })]
#[case(gives_up_at_a_refusal, "an API error ended the run", Faults { refusals: 1, ..NONE })]
#[case(takes_the_exit_handlers_word, "the phase says something else than main", Faults { main_failures: 2, ticks: 1, ..NONE })]
#[case(repeats_the_exit_handler, "second exit handler after success", Faults { ticks: 1, ..NONE })]
#[case(lets_the_exit_handler_hang, "does not end", Faults { hangs: 1, ..NONE })]
#[case(never_releases, "does not end", NONE)]
#[case(revises_the_end, "a terminal phase changed", Faults { crashes: 1, ..NONE })]
#[case(trusts_its_cache, "exit handler made while main lives", Faults { kills: 1, ..NONE })]
fn a_bug_is_found(#[case] mutant: Decide, #[case] violation: &str, #[case] faults: Faults) {
    let rules = Rules { decide: mutant, ..RULES };
    expect(violation, Bounded { rules, ..Bounded::new(faults) });
}

#[test]
fn a_missing_pod_made_again_is_found() {
    let rules = Rules { decide: makes_a_missing_pod_again, ..RULES };
    let faults = Faults { pod_deletions: 1, ..NONE };
    expect("one attempt made twice", Bounded { rules, upstream: true, ..Bounded::new(faults) });
}

#[test]
fn a_retry_beside_a_lost_node_is_found() {
    let rules = Rules { decide: retries_beside_a_lost_node, ..RULES };
    let faults = Faults { lost_nodes: 1, ticks: 2, ..NONE };
    let mut model = Bounded { rules, ..Bounded::new(faults) };
    model.limits.active_deadline = None;
    expect("two main pods of which one is on a lost node", model);
}

#[test]
fn pods_without_a_finalizer_are_found() {
    let rules = Rules { tracks: false, ..RULES };
    let faults = Faults { pod_deletions: 1, ..NONE };
    expect("second exit handler after success", Bounded { rules, ..Bounded::new(faults) });
}

/// Why the Lease has to be checked before each write: see `main.rs`.
#[test]
fn a_missing_fence_is_found() {
    let rules = Rules { fenced: false, ..RULES };
    let faults = Faults { handovers: 1, kills: 1, ..NONE };
    expect("main made after the exit handler", Bounded { rules, ..Bounded::new(faults) });
}

fn expect(violation: &str, model: Bounded) {
    let found = explore(violation, model).unwrap_err();
    assert!(found.starts_with(violation), "found instead: {found}");
}
