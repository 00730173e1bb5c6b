//! The whole way from the environment to the row.

use std::time::Duration;

use ompipe_openmetadata::{EndedRun, OpenMetadata, Reported};
use tokio::time::{Instant, sleep, timeout_at};

use crate::cluster::Cluster;
use crate::input::{EndedSubject, Input};
use crate::known_end::KnownEnd;
use crate::supervise::Supervised;
use crate::witness::Witness;
use crate::{Error, clock};

/// A preStop hook shares the grace period of 60 s with the end of the container itself.
const DEADLINE: Duration = Duration::from_secs(40);
/// A supervisor whose worker is over has time: it delays only its own pod, and where
/// no other part reports, an outage of minutes should not cost the status.
const SUPERVISORS_DEADLINE: Duration = Duration::from_mins(5);
/// Pause before the first repeat; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: short, so that the end of an outage is noticed at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How long OpenMetadata has to refuse a report itself, and how often, before another try is useless: a
/// server that starts, or a replica that is behind, refuses for a moment.
const REFUSED_FOR: Duration = Duration::from_mins(2);
const REFUSALS_OF_A_REPORT: u32 = 3;
/// How often OpenMetadata may refuse the token of an exit handler, which gets no other: who called it
/// may know one. Without an operator there is no such source.
const REFUSALS: u32 = 2;

/// What the report takes, with the last questions to the cluster: to read the row, to describe the pod, and
/// to write the row.
const REPORT_TAKES: Duration = Duration::from_secs(20);
/// An API server that has not answered for so long cannot be reached from this pod.
const LONGEST_LOOK: Duration = Duration::from_mins(1);

/// Reports the end that the environment describes, unless OpenMetadata has it; returns what was done.
/// Tries until the deadline while OpenMetadata does not answer well.
///
/// # Errors
/// See [`Error`].
pub async fn report(variable: impl Fn(&str) -> Option<String>) -> Result<String, Error> {
    let input = Input::read(&variable, DEADLINE)?;
    report_to_deadline(&input, &variable, None, REFUSALS).await
}

/// Reports an end that this process saw, likewise.
///
/// # Errors
/// See [`Error`].
pub async fn report_supervised(
    variable: impl Fn(&str) -> Option<String>,
    seen: &Supervised,
) -> Result<String, Error> {
    let input = Input::read(&variable, SUPERVISORS_DEADLINE)?;
    report_to_deadline(&input, &variable, Some(seen), u32::MAX).await
}

/// Tries until the deadline, or until OpenMetadata has refused the token so often, or the report for
/// long enough.
async fn report_to_deadline(
    input: &Input,
    variable: &impl Fn(&str) -> Option<String>,
    seen: Option<&Supervised>,
    token_refusals: u32,
) -> Result<String, Error> {
    let now = Instant::now();
    let deadline = now + input.deadline;
    let connect = || Cluster::of_pod(variable, input.namespace.as_deref());
    let witness = &Witness::new(input, &connect, seen, asks_until(now, deadline, seen));
    let Some(known) = witness.end().await? else {
        return Ok("another attempt of the run follows, so its status stays open".to_owned());
    };
    let server = OpenMetadata::in_pod(&input.recipient.connection)?;
    let mut patience = Patience { token_refusals, refused: None };
    let mut last = None;
    let tries = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match try_once(&server, input, &known, witness).await {
                Err(error) if patience.lasts(&error, Instant::now()) => last = Some(error),
                outcome => return outcome,
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    };
    match timeout_at(deadline, tries).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(too_late(input.deadline, last)),
    }
}

/// Until when the cluster is asked: the report needs the rest of the time that there is.
fn asks_until(now: Instant, deadline: Instant, seen: Option<&Supervised>) -> Instant {
    let killed_at = seen.and_then(|seen| seen.killed_at).unwrap_or(deadline);
    let left = killed_at.min(deadline).saturating_duration_since(now);
    now + left.saturating_sub(REPORT_TAKES).min(LONGEST_LOOK)
}

/// What is said at the deadline: a refusal of OpenMetadata itself is one, however short the time was.
fn too_late(deadline: Duration, last: Option<ompipe_openmetadata::Error>) -> Error {
    match last {
        Some(refusal) if refusal.is_refusal() => refusal.into(),
        last => {
            let last = last.map(|error| error.to_string());
            let last = last.unwrap_or_else(|| "OpenMetadata does not answer".to_owned());
            Error::TooLate { deadline, last }
        }
    }
}

/// What is still to be borne before another try is not worth it.
struct Patience {
    token_refusals: u32,
    /// Since when, and how often, OpenMetadata has refused the report.
    refused: Option<(Instant, u32)>,
}

impl Patience {
    /// Whether another try is worth it, after one that failed like this.
    fn lasts(&mut self, error: &ompipe_openmetadata::Error, now: Instant) -> bool {
        if matches!(error, ompipe_openmetadata::Error::Unauthorized(_)) {
            self.token_refusals = self.token_refusals.saturating_sub(1);
            return self.token_refusals > 0;
        }
        if error.is_refusal() {
            let (since, times) = self.refused.get_or_insert((now, 0));
            *times = times.saturating_add(1);
            return *times < REFUSALS_OF_A_REPORT || now.duration_since(*since) < REFUSED_FOR;
        }
        !error.is_final()
    }
}

async fn try_once(
    server: &OpenMetadata,
    input: &Input,
    known: &KnownEnd,
    witness: &Witness<'_>,
) -> Result<String, ompipe_openmetadata::Error> {
    let now = clock::now();
    let (pipeline_fqn, id) = match &input.run {
        EndedSubject::Automation { fqn } => {
            server.fail_automation(fqn, &known.end, now).await?;
            return Ok(format!("automation {fqn} has a result"));
        }
        EndedSubject::Run { pipeline_fqn, id } => (pipeline_fqn, *id),
    };
    let KnownEnd { end, ending } = known;
    let began = witness.began().or(end.finished).unwrap_or(now);
    let service = input.recipient.service.as_deref();
    let run = EndedRun { pipeline_fqn, id, service, began, ending: *ending, end, now };
    let reported =
        server.report(&run, async || Some(witness.diagnostics().await.to_owned())).await?;
    Ok(match reported {
        Reported::Stands(_) => format!("run {id} of {pipeline_fqn}: what OpenMetadata has stands"),
        Reported::Written(state) => format!("run {id} of {pipeline_fqn} reported as {state}"),
    })
}

#[cfg(test)]
mod tests {
    use ompipe_core::omjob::End;
    use ompipe_openmetadata::Error as Failed;
    use rstest::rstest;

    use super::*;

    /// The supervisor's deadline is 5 minutes, and a hook's 40 s.
    #[rstest]
    #[case::of_a_hook(40, None, 20)]
    #[case::of_a_worker_that_ended_by_itself(300, None, 60)]
    #[case::of_a_worker_that_was_stopped(300, Some(45), 25)]
    #[case::of_a_short_grace_period(300, Some(10), 0)]
    fn the_cluster_is_asked_until_the_report_needs_the_time(
        #[case] deadline: u64,
        #[case] killed_in: Option<u64>,
        #[case] expected: u64,
    ) {
        let (now, began) = (Instant::now(), clock::now());
        let end = End::of_process(143, false, None);
        let killed_at = killed_in.map(|seconds| now + Duration::from_secs(seconds));
        let seen = Supervised { began, end, killed_at, code: 143 };
        let until = asks_until(now, now + Duration::from_secs(deadline), Some(&seen));
        assert_eq!(until - now, Duration::from_secs(expected));
    }

    fn missing() -> Failed {
        Failed::NotFound { what: "ingestion pipeline", name: "shop.nightly".to_owned() }
    }

    #[test]
    fn a_report_that_openmetadata_refuses_is_tried_for_minutes() {
        let (mut patience, now) = (Patience { token_refusals: 2, refused: None }, Instant::now());
        let moments = [0, 1, 100, 120].map(|second| now + Duration::from_secs(second));
        let tried = moments.map(|moment| patience.lasts(&missing(), moment));
        assert_eq!(tried, [true, true, true, false]);
    }

    #[test]
    fn what_is_not_openmetadata_is_tried_to_the_deadline() {
        let mut patience = Patience { token_refusals: 2, refused: None };
        let now = Instant::now();
        for hour in 0..100 {
            let error = Failed::Unreadable("the status of the run");
            assert!(patience.lasts(&error, now + Duration::from_hours(hour)));
        }
    }

    #[test]
    fn the_deadline_tells_a_refusal_from_an_outage() {
        assert!(too_late(DEADLINE, Some(missing())).is_refusal());
        assert!(!too_late(DEADLINE, Some(Failed::Unreadable("JSON"))).is_refusal());
        assert!(!too_late(DEADLINE, None).is_refusal());
    }
}
