//! The whole way from the environment to the row.

use std::time::Duration;

use ompipe_openmetadata::{EndedRun, OpenMetadata, Reported};
use tokio::time::{Instant, sleep, timeout_at};

use crate::input::{EndedSubject, Input};
use crate::known_end::KnownEnd;
use crate::supervise::Supervised;
use crate::witness::Witness;
use crate::{Error, clock};

/// A preStop hook shares the grace period of 60 s with the end of the container itself.
const DEADLINE: Duration = Duration::from_secs(40);
/// A supervisor whose worker is over has time: it holds back nobody but its own pod, and where
/// nobody else reports, an outage of minutes should not cost the status.
const SUPERVISORS_DEADLINE: Duration = Duration::from_mins(5);
/// Pause before the first repeat; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: short, so that the end of an outage is noticed at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How often OpenMetadata may refuse the token of an exit handler, which gets no other: who called it
/// may know one. Of a run without an operator nobody does.
const REFUSALS: u32 = 2;

/// Reports the end that the environment tells of, unless OpenMetadata has it; says what was done.
/// Tries until the deadline while OpenMetadata does not answer well.
///
/// # Errors
/// See [`Error`].
pub async fn report(variable: impl Fn(&str) -> Option<String>) -> Result<String, Error> {
    let input = Input::read(&variable, DEADLINE)?;
    let witness = Witness::new(&input, &variable, None);
    report_to_deadline(&input, &witness, REFUSALS).await
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
    let witness = Witness::new(&input, &variable, Some(seen));
    report_to_deadline(&input, &witness, u32::MAX).await
}

/// Tries until the deadline, or so many refusals of the token.
async fn report_to_deadline(
    input: &Input,
    witness: &Witness<'_>,
    mut refusals: u32,
) -> Result<String, Error> {
    let deadline = Instant::now() + input.deadline;
    let Some(known) = witness.end().await? else {
        return Ok("another attempt of the run follows, so its status stays open".to_owned());
    };
    let server = OpenMetadata::new(&input.recipient.connection)?;
    let mut last = "OpenMetadata does not answer".to_owned();
    let tries = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match try_once(&server, input, &known, witness).await {
                Err(error) if !error.is_final() && may_pass(&error, &mut refusals) => {
                    last = error.to_string();
                }
                outcome => return outcome,
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    };
    match timeout_at(deadline, tries).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Error::TooLate { deadline: input.deadline, last }),
    }
}

/// Whether another try is worth it, after one that failed like this.
const fn may_pass(error: &ompipe_openmetadata::Error, refusals: &mut u32) -> bool {
    if matches!(error, ompipe_openmetadata::Error::Unauthorized(_)) {
        *refusals = refusals.saturating_sub(1);
    }
    *refusals > 0
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
    let run = EndedRun { pipeline_fqn, id, began, ending: *ending, end, now };
    let reported =
        server.report(&run, async || Some(witness.diagnostics().await.to_owned())).await?;
    Ok(match reported {
        Reported::Stands(_) => format!("run {id} of {pipeline_fqn}: what OpenMetadata has stands"),
        Reported::Written(state) => format!("run {id} of {pipeline_fqn} reported as {state}"),
    })
}
