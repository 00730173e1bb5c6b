//! Making the runs, at a pace.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::PostParams;
use kube::{Api, Client};
use ompipe_api::OMJob;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::journal::{Happening, Milestone};
use crate::omjob::Wave;

/// Creations under way at once.
const AT_ONCE: usize = 32;

/// How many runs, and how fast.
#[derive(Clone, Debug, Args)]
pub(crate) struct Pace {
    /// How many runs.
    #[arg(long)]
    runs: usize,
    /// Runs per second; all at once, if it is left out.
    #[arg(long)]
    rate: Option<f64>,
    /// Runs that may be unfinished before the next is made; no bound, if it is left out.
    #[arg(long)]
    unfinished: Option<usize>,
}

impl Pace {
    pub(crate) const fn runs(&self) -> usize {
        self.runs
    }

    /// When a run is due. Late answers delay no later run.
    fn due(&self, start: Instant, number: usize) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "nobody makes 2^52 runs")]
        let seconds = self.rate.map_or(0.0, |rate| number as f64 / rate);
        start + Duration::from_secs_f64(seconds)
    }
}

/// Makes all runs, and notes when each was asked for and created.
pub(crate) async fn all(
    client: Client,
    wave: &Wave,
    pace: &Pace,
    unfinished: &watch::Receiver<usize>,
    notes: mpsc::Sender<Happening>,
) -> anyhow::Result<()> {
    let omjobs = Api::namespaced(client, &wave.namespace);
    let start = Instant::now();
    let turns = stream::iter(0..pace.runs).then(async |number| {
        sleep_until(pace.due(start, number)).await;
        await_room(pace, unfinished.clone()).await.map(|()| number)
    });
    let made = turns.map(|turn| {
        let (omjobs, notes) = (&omjobs, &notes);
        async move { make(omjobs, wave, turn?, notes).await }
    });
    made.buffer_unordered(AT_ONCE).try_collect().await
}

async fn await_room(pace: &Pace, mut unfinished: watch::Receiver<usize>) -> anyhow::Result<()> {
    if let Some(bound) = pace.unfinished {
        unfinished.wait_for(|unfinished| *unfinished < bound).await?;
    }
    Ok(())
}

async fn make(
    omjobs: &Api<OMJob>,
    wave: &Wave,
    number: usize,
    notes: &mpsc::Sender<Happening>,
) -> anyhow::Result<()> {
    let omjob = wave.omjob(number)?;
    let run = wave.name(number);
    let note = |milestone| Happening { run: run.clone(), milestone, at: clock::now(), phase: None };
    notes.send(note(Milestone::Asked)).await?;
    let answer = omjobs.create(&PostParams::default(), &omjob).await;
    answer.with_context(|| format!("create OMJob {run}"))?;
    notes.send(note(Milestone::Created)).await?;
    Ok(())
}
