//! `ompipe retry`: a run as an earlier one was.

use ompipe_client::RunRequest;
use ompipe_core::RunId;

use super::{run, target};
use crate::args::{Args, RetryArgs};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, retry: &RetryArgs) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let digits = retry.run.digits();
    let owner = format!("namespace {}", client.config().namespace);
    let (pipeline, earlier) = target::only(&digits, &owner, client.find_runs(&digits).await?)?;
    let request = RunRequest { only_deployed: true, ..RunId::random().into() };
    let start = client.retry_run(&pipeline, earlier, request);
    let started = progress::during("starting the run", start).await?;
    output::note(format_args!("with the config of run {earlier}"));
    let (stored, _) = client.load(&pipeline).await?;
    run::finish(args, &client, &started, stored.server_connection.as_ref(), retry.follow).await
}
