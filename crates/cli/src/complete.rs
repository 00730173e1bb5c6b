//! Completion of what only the cluster or the kubeconfig knows: pipelines, runs, namespaces, contexts.
//! The script of `ompipe completions` calls this program for it.

use std::ffi::OsStr;
use std::time::Duration;

use clap::Parser;
use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;
use ompipe_client::{K8sPipelineClient, PipelineFilter};
use ompipe_core::{PipelineIdentity, printable};

use crate::args::{self, Args};
use crate::failure::Failure;
use crate::inputs;

/// The variable by which the script asks.
pub(crate) const VARIABLE: &str = "OMPIPE_COMPLETE";
/// Longest wait after a press of the tab key.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers the shell and ends, if it is the shell that asks.
pub(crate) fn answer() {
    CompleteEnv::with_factory(args::command).var(VARIABLE).complete();
}

/// Names of the deployed pipelines.
pub(crate) fn pipelines(current: &OsStr) -> Vec<CompletionCandidate> {
    ask(current, async |client| {
        let all = client.deployed_identities(&PipelineFilter::default()).await?;
        Ok(all.into_iter().map(|identity| (identity.fully_qualified_name, None)).collect())
    })
}

/// Short ids of runs: those of the pipeline that was typed, else of all.
pub(crate) fn runs(current: &OsStr) -> Vec<CompletionCandidate> {
    ask(current, async |client| {
        let all = PipelineFilter::default();
        let (found, deployed) =
            tokio::try_join!(client.find_runs(""), client.deployed_identities(&all))?;
        let typed: Vec<String> = words();
        let is_typed = |pipeline: &PipelineIdentity| {
            let names = [&pipeline.fully_qualified_name, &pipeline.name];
            typed.iter().any(|word| names.contains(&word))
        };
        let has_pipeline = deployed.iter().any(is_typed);
        let meant = found.into_iter().filter(|(pipeline, _)| !has_pipeline || is_typed(pipeline));
        Ok(meant.map(|(p, run)| (run.short(), Some(p.fully_qualified_name))).collect())
    })
}

/// Names of the namespaces that the user may see.
pub(crate) fn namespaces(current: &OsStr) -> Vec<CompletionCandidate> {
    ask(current, async |client| {
        Ok(client.namespaces().await?.into_iter().map(|name| (name, None)).collect())
    })
}

/// Contexts of the kubeconfig.
pub(crate) fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    let known = global_args().and_then(|args| inputs::config_quietly(&args).ok());
    let known = known.map(|config| ompipe_client::contexts(&config.cluster)).unwrap_or_default();
    candidates(current, known.into_iter().map(|name| (name, None)).collect())
}

type Found = Vec<(String, Option<String>)>;

/// What the cluster answers; nothing when it does not, or not soon.
fn ask(
    current: &OsStr,
    question: impl AsyncFnOnce(&K8sPipelineClient) -> Result<Found, Failure>,
) -> Vec<CompletionCandidate> {
    let Some(args) = global_args() else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let question = async {
        inputs::fetch_config(&args).await?;
        question(&inputs::client_quietly(&args).await?).await
    };
    // A timer can only be made inside the runtime.
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, question).await });
    candidates(current, answer.ok().and_then(Result::ok).unwrap_or_default())
}

fn candidates(current: &OsStr, found: Found) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    // The shell types a candidate, and may obey characters that are no letters.
    let is_text = |value: &str| !value.chars().any(printable::is_active);
    let fitting =
        found.into_iter().filter(|(value, _)| value.starts_with(&*typed) && is_text(value));
    fitting
        .map(|(value, help)| CompletionCandidate::new(value).help(help.map(Into::into)))
        .collect()
}

/// The words of the command line so far, without this program's own name.
fn words() -> Vec<String> {
    let typed = std::env::args().skip_while(|word| word != "--").skip(2);
    typed.collect()
}

/// The options so far that say which cluster is meant.
fn global_args() -> Option<Args> {
    const WANTED: [&str; 7] =
        ["-c", "--config", "-n", "--namespace", "--kubeconfig", "--context", "--config-from"];
    let words = words();
    let mut meant = vec!["ompipe".to_owned()];
    // The last word is the one that is being typed.
    for pair in words.get(..words.len().saturating_sub(1)).unwrap_or_default().windows(2) {
        if WANTED.contains(&pair[0].as_str()) {
            meant.extend(pair.iter().cloned());
        }
    }
    let equal = words
        .iter()
        .filter(|word| word.split_once('=').is_some_and(|(option, _)| WANTED.contains(&option)));
    meant.extend(equal.cloned());
    meant.push("list".to_owned());
    Args::try_parse_from(meant).ok().map(Args::without_empty_paths)
}
