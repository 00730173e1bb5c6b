//! `ompipe serve`: file and arguments become settings, signals an orderly end.

use ompipe_archive::Archive;
use ompipe_server::settings::{LogFormat, ServeArgs};

use super::long_running;
use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::inputs::{self, ServeInputs};

/// Threads of the service: its work is waiting for others.
const THREADS: usize = 2;

pub(crate) fn execute(args: &Args, serve: &ServeArgs) -> Result<Exit, Failure> {
    if args.config_from.is_some() {
        return Err(Failure::usage(
            "--config-from is not for serve: mount the object, and use --config",
        ));
    }
    let inputs = inputs::serve(args, serve)?;
    let archive = inputs::archive(args)?.map(Archive::cached);
    let masks_logs = inputs::masks_logs(args)?;
    let as_json = inputs.settings.log_format == LogFormat::Json;
    long_running::start_log(args.log.as_deref().unwrap_or("info"), as_json);
    for notice in &inputs.notices {
        tracing::warn!("{notice}");
    }
    long_running::block_on(THREADS, run(inputs, archive, masks_logs))?;
    Ok(Exit::Success)
}

/// Runs until a signal comes.
async fn run(
    inputs: ServeInputs,
    archive: Option<Archive>,
    masks_logs: bool,
) -> Result<(), Failure> {
    let ServeInputs { settings, config, token, .. } = inputs;
    let client = ompipe_client::K8sPipelineClient::connect(config, token).await?;
    let client = client.with_archive(archive).with_masked_logs(masks_logs);
    Ok(long_running::until_told(|stop| ompipe_server::run(settings, client, stop)).await??)
}
