//! `ompipe serve`: file and arguments become settings, signals an orderly end.

use std::io::IsTerminal;

use ompipe_server::settings::{LogFormat, ServeArgs};
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

use super::signals;
use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::inputs::{self, ServeInputs};

pub(crate) fn execute(args: &Args, serve: &ServeArgs) -> Result<Exit, Failure> {
    let inputs = inputs::serve(args, serve)?;
    start_log(args, inputs.settings.log_format);
    for notice in &inputs.notices {
        tracing::warn!("{notice}");
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
    runtime.block_on(run(inputs))?;
    Ok(Exit::Success)
}

/// To stderr, as the other commands do; the kubelet reads both.
fn start_log(args: &Args, format: LogFormat) {
    let filter = args.log.as_deref().unwrap_or("info");
    // The libraries' failed calls repeat what our lines say.
    let filter = format!("kube_runtime=warn,kube_client::client::builder=off,{filter}");
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
        LogFormat::Text => log.init(),
    }
}

/// Runs until a signal comes.
async fn run(inputs: ServeInputs) -> Result<(), Failure> {
    let ServeInputs { settings, config, token, .. } = inputs;
    let client = ompipe_client::K8sPipelineClient::connect(config, token).await?;
    Ok(signals::until_told(|stop| ompipe_server::run(settings, client, stop)).await??)
}
