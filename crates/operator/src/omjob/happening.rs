//! What a step of a run tells the world: an event on its `OMJob`, and metrics.

use ompipe_core::omjob::{End, Phase, Refusal, Reporting, Stage, Status};

use crate::events::{Kind, Note};

/// What the change of a record tells.
pub(super) fn of_record(before: &Status, after: &Status) -> Vec<Note> {
    let notes = [
        main_ended(before, after),
        main_retried(before, after),
        suspension(before, after),
        exit_failed(before, after),
        run_ended(before, after),
        reported(before, after),
    ];
    notes.into_iter().flatten().collect()
}

/// That a pod was made.
pub(super) fn pod_created(stage: Stage, pod: &str) -> Note {
    match stage {
        Stage::Main => Note::new(Kind::Normal, "MainPodCreated", format!("made the pod {pod}")),
        Stage::Exit => Note::new(Kind::Normal, "ExitHandlerCreated", format!("made the pod {pod}")),
    }
}

/// That the API server refused a pod.
pub(super) fn pod_refused(stage: Stage, refusal: &Refusal) -> Note {
    let reason = match stage {
        Stage::Main => "MainPodRefused",
        Stage::Exit => "ExitHandlerRefused",
    };
    Note::new(Kind::Warning, reason, refusal.trouble.message.clone())
}

fn main_ended(before: &Status, after: &Status) -> Option<Note> {
    let end = after.main.end.as_ref().filter(|_| before.main.end.is_none())?;
    Some(Note::new(kind_of(end), "MainPodCompleted", sentence(end)))
}

fn main_retried(before: &Status, after: &Status) -> Option<Note> {
    let retried = after.main.ended > before.main.ended && after.main.end.is_none();
    retried.then(|| {
        let attempt = after.main.ended;
        let raised =
            after.main.memory_limit.filter(|_| after.main.memory_limit != before.main.memory_limit);
        let memory = raised
            .map(|limit| format!(" with a memory limit of {limit}, since it used up its own"));
        let memory = memory.unwrap_or_default();
        let text = format!("attempt {attempt} of the main pod ended; another one follows{memory}");
        Note::new(Kind::Warning, "MainPodRetried", text)
    })
}

fn suspension(before: &Status, after: &Status) -> Option<Note> {
    match (before.suspended, after.suspended) {
        (false, true) => Some(Note::new(Kind::Normal, "Suspended", "spec.suspend is true")),
        (true, false) if after.main.end.is_none() => {
            Some(Note::new(Kind::Normal, "Resumed", "spec.suspend is false"))
        }
        _ => None,
    }
}

fn exit_failed(before: &Status, after: &Status) -> Option<Note> {
    let end = after.exit.end.as_ref().filter(|_| before.exit.end.is_none())?;
    (!end.succeeded()).then(|| Note::new(Kind::Warning, "ExitHandlerFailed", sentence(end)))
}

fn run_ended(before: &Status, after: &Status) -> Option<Note> {
    let ended = after.phase.is_terminal() && !before.phase.is_terminal();
    let text = after.message().unwrap_or_default();
    match after.phase {
        Phase::Succeeded if ended => Some(Note::new(Kind::Normal, "OMJobCompleted", text)),
        Phase::Failed if ended => Some(Note::new(Kind::Warning, "OMJobFailed", text)),
        _ => None,
    }
}

fn reported(before: &Status, after: &Status) -> Option<Note> {
    if before.reporting == after.reporting {
        return None;
    }
    match &after.reporting {
        Reporting::ByOperator => {
            let text = "the operator reported the result because the exit handler could not";
            Some(Note::new(Kind::Normal, "Reported", text))
        }
        Reporting::GivenUp(why) => Some(Note::new(Kind::Warning, "NotReported", why.clone())),
        Reporting::Outstanding { message: Some(why), .. } => {
            Some(Note::new(Kind::Warning, "ReportOutstanding", why.clone()))
        }
        Reporting::NotDue | Reporting::ByExitHandler | Reporting::Outstanding { .. } => None,
    }
}

const fn kind_of(end: &End) -> Kind {
    if end.succeeded() { Kind::Normal } else { Kind::Warning }
}

fn sentence(end: &End) -> String {
    format!("{}: {}", end.reason, end.message)
}
