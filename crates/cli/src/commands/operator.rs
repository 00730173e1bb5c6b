//! `ompipe operator`: arguments become settings, signals an orderly end.

use std::io::IsTerminal;

use ompipe_core::{Problem, Problems};
use ompipe_operator::settings::{Checked, LogFormat, OperatorArgs, Settings};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

use super::signals;
use crate::args::Args;
use crate::failure::{Exit, Failure};

pub(crate) fn execute(args: &Args, operator: &OperatorArgs) -> Result<Exit, Failure> {
    let Checked { settings, notices } = read_settings(args, operator)?;
    start_log(&settings);
    for notice in notices {
        tracing::warn!("{notice}");
    }
    let runtime = runtime(&settings).map_err(|e| Failure::usage(format!("cannot start: {e}")))?;
    runtime.block_on(run(settings))?;
    Ok(Exit::Success)
}

fn read_settings(args: &Args, operator: &OperatorArgs) -> Result<Checked, Failure> {
    if let Some(namespace) = &args.namespace {
        let remedy = "the operator has --watch-namespaces and --operator-namespace instead";
        let problem = Problem::new("--namespace", &namespace.as_str().into(), remedy);
        return Err(Problems::one("arguments", problem).into());
    }
    let mut operator = operator.clone();
    operator.log_level = operator.log_level.or_else(|| args.log.clone());
    Ok(Settings::read(&operator)?)
}

/// To stderr, as the other commands do; the kubelet reads both.
fn start_log(settings: &Settings) {
    // The libraries' spans and failed calls repeat what our lines say, and cost a tenth of the time.
    let filter = settings.log_level.as_filter();
    let filter = format!("kube_runtime=warn,kube_client::client::builder=off,{filter}");
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
        LogFormat::Text => log.init(),
    }
}

fn runtime(settings: &Settings) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(settings.worker_threads.get()).enable_all().build()
}

/// Runs until a signal comes.
async fn run(settings: Settings) -> Result<(), Failure> {
    Ok(signals::until_told(|shutdown| ompipe_operator::run(settings, shutdown)).await??)
}
