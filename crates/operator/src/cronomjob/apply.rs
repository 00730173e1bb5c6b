//! Carries a schedule's decision out.

use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::object::HasStatus;
use kube::{Api, Resource, ResourceExt};
use ompipe_api::{CronOMJob, CronOMJobStatus, OMJob, OMJobReference, status_patch};
use ompipe_core::cron::{Missed, ScheduleAction, ScheduleDecision, ScheduleStatus, slot_name};

use super::child;
use crate::context::Context;
use crate::error::{Error, code};
use crate::events::{Kind, Note};
use crate::view::{Child, JobView, ScheduleView};

/// Does what was decided, in order, then writes the status if that changes.
pub(super) async fn apply(
    context: &Context,
    view: &ScheduleView,
    schedule: &CronOMJob,
    children: &[Child],
    decision: &ScheduleDecision,
) -> Result<(), Error> {
    let mut done = Done::default();
    let mut record = view.status().map(CronOMJobStatus::recorded).unwrap_or_default();
    for action in &decision.actions {
        match action {
            ScheduleAction::Create { name, .. } => {
                let whole;
                let template = if view.is_whole {
                    schedule
                } else {
                    whole = read_whole(context, view).await?;
                    &whole
                };
                done = create(context, template, name).await?;
            }
            ScheduleAction::Delete { name } => delete(context, view, children, name).await?,
            ScheduleAction::Record(status) => record = ScheduleStatus::clone(status),
        }
    }
    if let Some((slot, why)) = confirmed(context, view, decision.missed).await? {
        let note = missed(&slot.to_string(), why);
        done.message = Some(note.message.clone());
        context.events.tell(view, &note);
        context.metrics.slot_missed(why);
    }
    write(context, view, schedule, children, (&record, done)).await
}

/// Says that the specification cannot be read.
pub(super) async fn refuse(
    context: &Context,
    view: &ScheduleView,
    problem: &str,
) -> Result<(), Error> {
    let known = view.status().cloned().unwrap_or_default();
    context.events.tell(view, &Note::new(Kind::Warning, "InvalidSpec", problem));
    let message = Some(problem.to_owned());
    let observed_generation = view.meta().generation;
    patch(context, view, &CronOMJobStatus { message, observed_generation, ..known }).await
}

/// What was done, for the status: the caches will know a moment later.
#[derive(Default)]
struct Done {
    message: Option<String>,
    made: Option<OMJobReference>,
}

/// The schedule with what its runs are made of.
async fn read_whole(context: &Context, view: &ScheduleView) -> Result<CronOMJob, Error> {
    let api: Api<CronOMJob> = context.writes.read(&view.namespace().unwrap_or_default());
    let whole = api.get(&view.name_any()).await.map_err(Error::api("read the CronOMJob"))?;
    if whole.uid() != view.uid() || whole.meta().generation != view.meta().generation {
        return Err(Error::Conflict(format!("the CronOMJob {}", view.name_any())));
    }
    Ok(whole)
}

async fn create(context: &Context, schedule: &CronOMJob, name: &str) -> Result<Done, Error> {
    let child = child::build(schedule, name);
    let api: Api<OMJob> = context.writes.to(&schedule.namespace().unwrap_or_default())?;
    match api.create(&PostParams::default(), &child).await {
        Ok(job) => {
            context.metrics.slot_fired();
            let text = format!("made the OMJob {name}");
            context.events.tell(schedule, &Note::new(Kind::Normal, "OMJobCreated", text));
            let made = OMJobReference { name: name.to_owned(), uid: job.uid().unwrap_or_default() };
            Ok(Done { message: Some("Created OMJob".to_owned()), made: Some(made) })
        }
        // Made before a crash, or by an answer that was lost.
        Err(error) if code(&error) == 409 => {
            Ok(Done { message: Some("OMJob already exists".to_owned()), made: None })
        }
        Err(error) => Err(Error::api("create an OMJob")(error)),
    }
}

async fn delete(
    context: &Context,
    view: &ScheduleView,
    children: &[Child],
    name: &str,
) -> Result<(), Error> {
    let api: Api<OMJob> = context.writes.to(&view.namespace().unwrap_or_default())?;
    let found = children.iter().find(|child| child.job.name_any() == name);
    let uid = found.and_then(|child| child.job.uid());
    let preconditions = Preconditions { uid, resource_version: None };
    match api.delete(name, &DeleteParams::background().preconditions(preconditions)).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(code(&error), 404 | 409) => Ok(()),
        Err(error) => Err(Error::api("delete an OMJob")(error)),
    }
}

/// A missed slot, once the API server says that its run does not exist: under load the caches may
/// be far behind, so that neither the run nor the record of its slot is in them yet.
async fn confirmed(
    context: &Context,
    view: &ScheduleView,
    missed: Option<(Timestamp, Missed)>,
) -> Result<Option<(Timestamp, Missed)>, Error> {
    let Some((slot, Missed::TooLate)) = missed else { return Ok(missed) };
    let namespace = view.namespace().unwrap_or_default();
    let schedules: Api<ScheduleView> = context.writes.read(&namespace);
    let live = schedules.get_opt(&view.name_any()).await;
    let live = live.map_err(Error::api("read the CronOMJob"))?;
    let recorded = live.as_ref().and_then(ScheduleView::status).map(CronOMJobStatus::recorded);
    if recorded.and_then(|record| record.last_slot).is_some_and(|last| last >= slot) {
        return Ok(None);
    }
    let runs: Api<JobView> = context.writes.read(&namespace);
    let run = runs.get_opt(&slot_name(&view.name_any(), slot)).await;
    let run = run.map_err(Error::api("read an OMJob"))?;
    Ok(missed.filter(|_| run.is_none()))
}

fn missed(slot: &str, why: Missed) -> Note {
    match why {
        Missed::TooLate => {
            let text = format!("missed {slot}: its starting deadline had passed");
            Note::new(Kind::Warning, "MissedSchedule", text)
        }
        Missed::StillRunning => {
            let text = format!("{slot} is due, but an earlier run has not ended");
            Note::new(Kind::Normal, "AlreadyActive", text)
        }
    }
}

async fn write(
    context: &Context,
    view: &ScheduleView,
    schedule: &CronOMJob,
    children: &[Child],
    (record, done): (&ScheduleStatus, Done),
) -> Result<(), Error> {
    let jobs = children.iter().map(|child| &*child.job);
    let mut status = CronOMJobStatus::of(record, schedule, jobs);
    status.message = done.message.or_else(|| suspended(record.suspended, status.message));
    if let Some(made) = done.made {
        status.last_om_job_name = Some(made.name.clone());
        status.active.push(made);
    }
    if view.status() == Some(&status) {
        return Ok(());
    }
    patch(context, view, &status).await
}

/// Upstream's word for a pause, which goes with it.
fn suspended(now: bool, former: Option<String>) -> Option<String> {
    const SUSPENDED: &str = "Suspended";
    if now { Some(SUSPENDED.to_owned()) } else { former.filter(|text| text != SUSPENDED) }
}

async fn patch(
    context: &Context,
    view: &ScheduleView,
    status: &CronOMJobStatus,
) -> Result<(), Error> {
    let patch = status_patch(view, status).map_err(Error::unwritable)?;
    let api: Api<ScheduleView> = context.writes.to(&view.namespace().unwrap_or_default())?;
    let params = PatchParams::default();
    match api.patch_status(&view.name_any(), &params, &Patch::Merge(patch)).await {
        Ok(written) => {
            context.written.note(&written);
            Ok(())
        }
        Err(error) if code(&error) == 404 => Ok(()),
        Err(error) if code(&error) == 409 => {
            Err(Error::Conflict(format!("the CronOMJob {}", view.name_any())))
        }
        Err(error) => Err(Error::api("write the CronOMJob's status")(error)),
    }
}
