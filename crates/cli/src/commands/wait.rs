//! `ompipe wait`: for the end of a run, without its log.

use ompipe_client::{Error, K8sPipelineClient, PipelineServiceClient, RunObserver};
use ompipe_core::{PipelineIdentity, Run, RunId};

use super::{run, target};
use crate::args::{Args, WaitArgs};
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

pub(super) async fn execute(args: &Args, wait: &WaitArgs) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let pipeline = target::identity(&client, &wait.target).await?;
    let wanted = target::run(&client, &pipeline, wait.run.as_ref()).await?;
    let chosen = chosen(&client, &pipeline, wanted).await?;
    if chosen.state.is_terminal() {
        return run::tell_ended(args.output, &chosen, None);
    }
    let mut teller = Teller { last: None };
    let end = client.wait(chosen.kind, &chosen.job, chosen.run_id, &mut teller);
    let ended = match wait.timeout {
        None => end.await,
        Some(limit) => tokio::time::timeout(limit, end).await.map_err(|_| {
            let told = format!("run {} has not ended within {limit:?}; it goes on", chosen.run_id);
            Failure::server(told).coded("timeout")
        })?,
    };
    run::tell_ended(args.output, &ended?, None)
}

/// The run that is wanted, or the latest.
pub(super) async fn chosen(
    client: &K8sPipelineClient,
    pipeline: &PipelineIdentity,
    wanted: Option<RunId>,
) -> Result<Run, Failure> {
    let mut runs = client.pipeline_runs(pipeline).await?.into_iter();
    let chosen = match wanted {
        Some(wanted) => runs.find(|run| run.run_id == wanted),
        None => runs.next(),
    };
    chosen.ok_or_else(|| Error::no_run(pipeline, wanted).into())
}

/// Tells what a run does, and nothing of its log.
struct Teller {
    last: Option<String>,
}

impl RunObserver for Teller {
    fn changed(&mut self, run: &Run) {
        let now = run::describe(run);
        if !run.state.is_terminal() && self.last.as_ref() != Some(&now) {
            output::note(format_args!("run is {now}"));
            self.last = Some(now);
        }
    }

    fn warning(&mut self, message: &str) {
        output::note(format_args!("Kubernetes warns: {message}"));
    }

    fn attempt(&mut self, _: usize, _: &str) {}

    fn log(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}
