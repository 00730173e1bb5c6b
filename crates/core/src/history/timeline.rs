//! Where the time of a run went.

use jiff::Timestamp;

use crate::archive::{AttemptRecord, RunRecord};

/// What a run did for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waited for its turn, or for its pod to be made.
    Queued,
    /// Its pod waited for a node.
    Scheduling,
    /// Its pod's image was pulled, and its containers were started.
    Starting,
    /// Its process ran.
    Running,
    /// It waited for its next attempt.
    Retrying,
    /// Its process had ended, and its end was reported to OpenMetadata.
    Reporting,
}

impl Phase {
    /// The phase in a word, as the API has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Scheduling => "scheduling",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Reporting => "reporting",
        }
    }
}

/// A part of a run's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// What the run did.
    pub phase: Phase,
    /// Number of the attempt, from 1; `None` where it is about none.
    pub attempt: Option<usize>,
    /// When it began.
    pub from: Timestamp,
    /// When it ended; `None` while it goes on.
    pub to: Option<Timestamp>,
}

/// The parts of a run's time, in order: each begins where the one before ended. A part whose end is not
/// known any more is one with the part that follows it.
#[must_use]
pub fn timeline(run: &RunRecord) -> Vec<Span> {
    let mut marks = Vec::new();
    marks.extend(run.created.map(|at| (at, Phase::Queued, None)));
    for (index, attempt) in run.attempts.iter().enumerate() {
        let follows = index + 1 < run.attempts.len() || !run.state.is_terminal();
        marks.extend(marks_of(attempt, index + 1, follows));
    }
    spans(marks, end_of(run))
}

type Mark = (Timestamp, Phase, Option<usize>);

/// When the phases of an attempt began.
fn marks_of(attempt: &AttemptRecord, number: usize, another_follows: bool) -> Vec<Mark> {
    let after = if another_follows { Phase::Retrying } else { Phase::Reporting };
    let marks = [
        (attempt.created, Phase::Scheduling),
        (attempt.scheduled, Phase::Starting),
        (attempt.started, Phase::Running),
        (attempt.finished, after),
    ];
    marks.into_iter().filter_map(|(at, phase)| Some((at?, phase, Some(number)))).collect()
}

/// The last that is known of a run that ended.
fn end_of(run: &RunRecord) -> Option<Timestamp> {
    let end = run.finished.filter(|_| run.state.is_terminal())?;
    Some(run.reported_at.map_or(end, |reported| reported.max(end)))
}

/// Clocks of several machines made the marks: one that is earlier than the mark before counts as that.
fn spans(marks: Vec<Mark>, end: Option<Timestamp>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::with_capacity(marks.len());
    for (at, phase, attempt) in marks {
        let at = spans.last().map_or(at, |before| at.max(before.from));
        if let Some(before) = spans.last_mut() {
            before.to = Some(at);
        }
        spans.push(Span { phase, attempt, from: at, to: None });
    }
    if let Some(last) = spans.last_mut() {
        last.to = end.map(|end| end.max(last.from));
    }
    spans
}
