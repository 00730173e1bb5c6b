//! What is going to happen.

use std::time::Duration;

use super::dice::Dice;
use crate::standin::PipelineState;

/// How a run is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An `OMJob` with the exit handler's image.
    OmJob,
    /// A Job whose own pod reports nothing.
    Job,
    /// A Job with the exit handler's image.
    SupervisedJob,
}

/// How a worker ends when nobody disturbs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// With exit code 0.
    Succeeds,
    /// With another exit code.
    Fails,
    /// By SIGKILL.
    Dies,
}

/// One run of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedRun {
    /// What it is.
    pub kind: Kind,
    /// How it ends.
    pub worker: Worker,
    /// How long it works.
    pub works: Duration,
    /// What it has reported before it ends.
    pub says: PipelineState,
}

/// What happens at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// An operator crashes, and another one takes its place: that of the two with this number.
    OperatorCrashes(u64),
    /// Both operators crash, and come back.
    BothCrash,
    /// A pod of the run of this number is deleted.
    PodDeleted(u64),
    /// The same by force.
    PodDeletedByForce(u64),
    /// The same by the eviction API.
    PodEvicted(u64),
    /// A user kills the run of this number.
    Killed(u64),
    /// OpenMetadata has trouble for a while.
    OpenMetadata(Trouble, Duration),
    /// So many calls of operators to the API server have trouble.
    Api(Trouble, u64),
}

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It answers 500.
    Error,
    /// It resets connections.
    Reset,
    /// It does what it is told and does not answer.
    LostAnswer,
    /// It never answers.
    Hang,
}

/// Something that happens, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// After the first run was started.
    pub at: Duration,
    /// What.
    pub what: Happening,
}

/// Everything that is going to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// The runs, all started at once.
    pub runs: Vec<PlannedRun>,
    /// In the order of their times.
    pub events: Vec<Event>,
}

impl Plan {
    /// Draws so many runs, and so many events within that time.
    #[must_use]
    pub fn draw(seed: u64, runs: u64, events: u64, within: Duration) -> Self {
        let mut dice = Dice::new(seed);
        let planned = (0..runs).map(|_| draw_run(&mut dice, within)).collect();
        let mut events: Vec<_> = (0..events).map(|_| draw_event(&mut dice, runs, within)).collect();
        events.sort_by_key(|event| event.at);
        Self { seed, runs: planned, events }
    }
}

fn draw_run(dice: &mut Dice, within: Duration) -> PlannedRun {
    use PipelineState::{PartialSuccess, Running, Success};
    let kinds = [Kind::OmJob, Kind::OmJob, Kind::Job, Kind::SupervisedJob];
    let workers = [Worker::Succeeds, Worker::Succeeds, Worker::Fails, Worker::Dies];
    PlannedRun {
        kind: dice.pick(&kinds).unwrap_or(Kind::OmJob),
        worker: dice.pick(&workers).unwrap_or(Worker::Succeeds),
        works: Duration::from_millis(dice.below(millis(within))),
        says: dice.pick(&[Running, Running, Success, PartialSuccess]).unwrap_or(Running),
    }
}

fn draw_event(dice: &mut Dice, runs: u64, within: Duration) -> Event {
    let at = Duration::from_millis(dice.below(millis(within)));
    let run = dice.below(runs);
    let trouble = [Trouble::Error, Trouble::Reset, Trouble::LostAnswer, Trouble::Hang];
    let trouble = dice.pick(&trouble).unwrap_or(Trouble::Error);
    let what = match dice.below(12) {
        0 | 1 => Happening::OperatorCrashes(dice.below(2)),
        2 => Happening::BothCrash,
        3 | 4 => Happening::PodDeleted(run),
        5 => Happening::PodDeletedByForce(run),
        6 | 7 => Happening::PodEvicted(run),
        8 | 9 => Happening::Killed(run),
        10 => Happening::OpenMetadata(trouble, Duration::from_millis(dice.below(8_000))),
        _ => Happening::Api(trouble, 1 + dice.below(15)),
    };
    Event { at, what }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_seed_is_one_plan() {
        assert_eq!(Plan::draw(7, 50, 30, MINUTE), Plan::draw(7, 50, 30, MINUTE));
        assert_ne!(Plan::draw(7, 50, 30, MINUTE), Plan::draw(8, 50, 30, MINUTE));
    }

    #[test]
    fn a_plan_has_what_was_asked_for_in_order() {
        let plan = Plan::draw(1, 50, 40, MINUTE);
        assert_eq!((plan.runs.len(), plan.events.len()), (50, 40));
        assert!(plan.events.is_sorted_by_key(|event| event.at));
        assert!(plan.events.iter().all(|event| event.at < MINUTE));
    }

    #[test]
    fn everything_is_drawn_sometimes() {
        let plan = Plan::draw(1, 200, 400, MINUTE);
        for kind in [Kind::OmJob, Kind::Job, Kind::SupervisedJob] {
            assert!(plan.runs.iter().any(|run| run.kind == kind), "{kind:?}");
        }
        let hits = |hit: fn(&Happening) -> bool| plan.events.iter().any(|event| hit(&event.what));
        assert!(hits(|what| matches!(what, Happening::OperatorCrashes(1))));
        assert!(hits(|what| *what == Happening::BothCrash));
        assert!(hits(|what| matches!(what, Happening::PodDeletedByForce(_))));
        assert!(hits(|what| matches!(what, Happening::PodEvicted(_))));
        assert!(hits(|what| matches!(what, Happening::Killed(_))));
        assert!(hits(|what| matches!(what, Happening::OpenMetadata(Trouble::Hang, _))));
        assert!(hits(|what| matches!(what, Happening::Api(Trouble::LostAnswer, _))));
    }
}
