//! `ompipe operator`: arguments become settings, signals an orderly end.

use ompipe_core::{Problem, Problems};
use ompipe_operator::settings::{Checked, LogFormat, OperatorArgs, Settings};

use super::long_running;
use crate::args::Args;
use crate::failure::{Exit, Failure};

pub(crate) fn execute(args: &Args, operator: &OperatorArgs) -> Result<Exit, Failure> {
    let Checked { settings, notices } = read_settings(args, operator)?;
    let as_json = settings.log_format == LogFormat::Json;
    long_running::start_log(settings.log_level.as_filter(), as_json);
    for notice in notices {
        tracing::warn!("{notice}");
    }
    long_running::block_on(settings.worker_threads.get(), run(settings))?;
    Ok(Exit::Success)
}

fn read_settings(args: &Args, operator: &OperatorArgs) -> Result<Checked, Failure> {
    if let Some(namespace) = &args.namespace {
        let remedy = "the operator has --watch-namespaces and --operator-namespace instead";
        let problem = Problem::new("--namespace", &namespace.as_str().into(), remedy);
        return Err(Problems::one("arguments", problem).into());
    }
    let mut operator = operator.clone();
    operator.logs_archive_url.clone_from(&args.logs_archive_url);
    operator.logs_redact.clone_from(&args.logs_redact);
    operator.log_level = operator.log_level.or_else(|| args.log.clone());
    Ok(Settings::read(&operator)?)
}

/// Runs until a signal comes.
async fn run(settings: Settings) -> Result<(), Failure> {
    Ok(long_running::until_told(|shutdown| ompipe_operator::run(settings, shutdown)).await??)
}
