//! What is true of a run after all that happened to it.

use std::collections::BTreeSet;
use std::fmt;

use super::plan::{PlannedRun, Worker};
use crate::standin::PipelineState;

/// What reached a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// Its pod was taken away.
    Pod,
    /// A user killed it.
    Kill,
}

/// One run, when all is over.
#[derive(Clone, Debug)]
pub struct Account {
    /// What it was to do.
    pub run: PlannedRun,
    /// What reached it.
    pub touched: BTreeSet<Touch>,
    /// What was written to its row, the worker's own report first.
    pub written: Vec<PipelineState>,
    /// Why, in the words of its row; nothing is judged by them.
    pub reason: String,
    /// Names of what is left of it.
    pub left: Vec<String>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// No end stands.
    NoEnd(Option<PipelineState>),
    /// Another end stands than any that is true.
    Untrue(PipelineState, Vec<PipelineState>),
    /// More than one row was written for the run beside the worker's own.
    Writes(Vec<PipelineState>),
    /// Something is left.
    Left(Vec<String>),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEnd(stands) => write!(f, "no end stands, but {stands:?}"),
            Self::Untrue(stands, true_ones) => {
                write!(f, "{stands} stands, and true are {true_ones:?}")
            }
            Self::Writes(written) => write!(f, "written more than once: {written:?}"),
            Self::Left(names) => write!(f, "left: {}", names.join(", ")),
        }
    }
}

/// One true end, and nothing left: what is not so.
#[must_use]
pub fn judge(account: &Account) -> Vec<Violation> {
    let true_ones = true_ends(&account.run, &account.touched);
    let stands = account.written.last().copied();
    let end = match stands.filter(|state| is_end(*state)) {
        None => Some(Violation::NoEnd(stands)),
        Some(state) => (!true_ones.contains(&state)).then_some(Violation::Untrue(state, true_ones)),
    };
    let writes = account.written.len() > 2;
    let writes = writes.then(|| Violation::Writes(account.written.clone()));
    let left = (!account.left.is_empty()).then(|| Violation::Left(account.left.clone()));
    end.into_iter().chain(writes).chain(left).collect()
}

const fn is_end(state: PipelineState) -> bool {
    !matches!(state, PipelineState::Queued | PipelineState::Running)
}

/// What may be true: its own end, and what each disturbance makes of it, for nobody knows which of
/// them came first. It is said here anew and not taken from the program that is tested.
fn true_ends(run: &PlannedRun, touched: &BTreeSet<Touch>) -> Vec<PipelineState> {
    let mut ends = vec![after(run.says, own_end(run.worker))];
    ends.extend(touched.iter().map(|touch| after(run.says, Cause::of(*touch))));
    ends
}

/// What ended a process.
#[derive(Clone, Copy)]
enum Cause {
    Success,
    Failure,
    Force,
    User,
}

impl Cause {
    const fn of(touch: Touch) -> Self {
        match touch {
            Touch::Pod => Self::Force,
            Touch::Kill => Self::User,
        }
    }
}

const fn own_end(worker: Worker) -> Cause {
    match worker {
        Worker::Succeeds => Cause::Success,
        Worker::Fails => Cause::Failure,
        Worker::Dies => Cause::Force,
    }
}

const fn after(says: PipelineState, cause: Cause) -> PipelineState {
    use PipelineState::{Failed, PartialSuccess, Queued, Running, Stopped, Success};
    match (says, cause) {
        (PartialSuccess | Failed | Stopped, _) => says,
        (_, Cause::Success) => Success,
        (_, Cause::Failure) | (Queued | Running, Cause::Force) => Failed,
        (Success, Cause::Force) => PartialSuccess,
        (_, Cause::User) => Stopped,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use PipelineState::{Failed, PartialSuccess, Running, Stopped, Success};
    use rstest::rstest;

    use super::super::plan::Kind;
    use super::*;

    fn account(worker: Worker, touched: &[Touch], written: &[PipelineState]) -> Account {
        let says = written[0];
        let run = PlannedRun { kind: Kind::OmJob, worker, works: Duration::ZERO, says };
        let (touched, written) = (touched.iter().copied().collect(), written.to_vec());
        Account { run, touched, written, reason: String::new(), left: Vec::new() }
    }

    #[rstest]
    #[case::own_success(Worker::Succeeds, &[], &[Running, Success])]
    #[case::stands(Worker::Succeeds, &[], &[Success])]
    #[case::corrected(Worker::Fails, &[], &[Success, Failed])]
    #[case::died_after_success(Worker::Dies, &[], &[Success, PartialSuccess])]
    #[case::partial_stands(Worker::Dies, &[Touch::Kill], &[PartialSuccess])]
    #[case::killed_too_late(Worker::Fails, &[Touch::Kill], &[Running, Failed])]
    #[case::killed(Worker::Succeeds, &[Touch::Kill], &[Running, Stopped])]
    #[case::taken_away(Worker::Succeeds, &[Touch::Pod], &[Running, Failed])]
    #[case::taken_away_after_success(Worker::Fails, &[Touch::Pod], &[Success, PartialSuccess])]
    fn what_is_true_is_no_violation(
        #[case] worker: Worker,
        #[case] touched: &[Touch],
        #[case] written: &[PipelineState],
    ) {
        assert_eq!(judge(&account(worker, touched, written)), []);
    }

    #[rstest]
    #[case::nobody_reported(Worker::Succeeds, &[], &[Running])]
    #[case::failure_as_success(Worker::Fails, &[], &[Running, Success])]
    #[case::success_of_the_dead(Worker::Dies, &[], &[Success])]
    #[case::nobody_killed_it(Worker::Succeeds, &[], &[Running, Stopped])]
    #[case::nobody_took_it_away(Worker::Succeeds, &[], &[Running, Failed])]
    #[case::partial_was_replaced(Worker::Fails, &[], &[PartialSuccess, Failed])]
    #[case::written_twice(Worker::Fails, &[], &[Running, Failed, Failed])]
    #[case::first_wrong(Worker::Fails, &[], &[Running, Success, Failed])]
    fn what_is_not_true_is_found(
        #[case] worker: Worker,
        #[case] touched: &[Touch],
        #[case] written: &[PipelineState],
    ) {
        assert_eq!(judge(&account(worker, touched, written)).len(), 1);
    }

    #[test]
    fn what_is_left_is_found() {
        let mut account = account(Worker::Succeeds, &[], &[Running, Success]);
        account.left.push("om-job-nightly-1-main".to_owned());
        let found = judge(&account);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "left: om-job-nightly-1-main");
    }
}
