//! Which pipelines and runs a command is about.

use std::path::Path;

use ompipe_client::{Error, K8sPipelineClient, PipelineFilter};
use ompipe_core::{IngestionPipeline, PipelineIdentity, RunId, Service};
use serde::Serialize;

use crate::args::{Args, LogsTarget, RunRef, Target, Targets};
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

/// Runs of the archive among which the digits of one are looked for.
const ARCHIVED: usize = 1000;

/// One pipeline, as a command names it.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pipeline: Option<&'a str>,
    file: Option<&'a Path>,
    fqn: Option<&'a str>,
}

impl<'a> From<&'a Target> for Named<'a> {
    fn from(target: &'a Target) -> Self {
        let Target { pipeline, file, fqn } = target;
        Self { pipeline: pipeline.as_deref(), file: file.as_deref(), fqn: fqn.as_deref() }
    }
}

impl<'a> From<&'a LogsTarget> for Named<'a> {
    fn from(target: &'a LogsTarget) -> Self {
        let LogsTarget { pipeline, file, fqn } = target;
        Self { pipeline: pipeline.as_deref(), file: file.as_deref(), fqn: fqn.as_deref() }
    }
}

/// The identity of the pipeline: enough to look at its runs.
pub(super) async fn identity(
    client: &K8sPipelineClient,
    target: impl Into<Named<'_>>,
) -> Result<PipelineIdentity, Failure> {
    let Named { pipeline, file, fqn } = target.into();
    match (pipeline, file, fqn) {
        (Some(name), ..) => find(client, name).await,
        (None, Some(file), _) => Ok(inputs::pipeline(file)?.identity),
        (None, None, Some(fqn)) => Ok(client.preparation().fetch_pipeline(fqn).await?.identity),
        (None, None, None) => Err(none_given()),
    }
}

/// As [`identity`], also of a pipeline that is not deployed any more.
pub(super) async fn identity_or_archived(
    client: &K8sPipelineClient,
    target: impl Into<Named<'_>>,
) -> Result<PipelineIdentity, Failure> {
    let target = target.into();
    match identity(client, target).await {
        Err(failure) => match target.pipeline {
            Some(name) => client.find_or_archived(name).await.map_err(|_| failure),
            None => Err(failure),
        },
        found => found,
    }
}

/// The pipeline itself, to run it, and its service if the last deploy knew it.
pub(super) async fn pipeline(
    client: &K8sPipelineClient,
    target: impl Into<Named<'_>>,
) -> Result<(IngestionPipeline, Option<Service>), Failure> {
    let Named { pipeline, file, fqn } = target.into();
    match (pipeline, file, fqn) {
        (Some(name), ..) => Ok(client.load(&find(client, name).await?).await?),
        (None, Some(file), _) => Ok((inputs::pipeline(file)?, None)),
        (None, None, Some(fqn)) => Ok((client.preparation().fetch_pipeline(fqn).await?, None)),
        (None, None, None) => Err(none_given()),
    }
}

/// The deployed pipeline with a name. Where a file has that name, it may be what is meant.
async fn find(client: &K8sPipelineClient, name: &str) -> Result<PipelineIdentity, Failure> {
    client.find(name).await.map_err(|error| {
        let is_file = matches!(error, Error::NotDeployed { .. }) && Path::new(name).is_file();
        let failure = Failure::from(error);
        if is_file { failure.hinting("For the pipeline in a file, use --file") } else { failure }
    })
}

/// The id of the run that is meant, if one is.
pub(super) async fn run(
    client: &K8sPipelineClient,
    pipeline: &PipelineIdentity,
    wanted: Option<&RunRef>,
) -> Result<Option<RunId>, Failure> {
    let digits = match wanted {
        None => return Ok(None),
        Some(RunRef::Id(id)) => return Ok(Some(*id)),
        Some(RunRef::Prefix(digits)) => digits,
    };
    let runs = client.runs_with_archived(pipeline, ARCHIVED).await?.into_iter();
    let runs = runs.map(|run| run.run_id);
    let found = runs.filter(|run| run.to_string().starts_with(digits)).collect::<Vec<_>>();
    only(digits, &format!("pipeline {}", pipeline.fully_qualified_name), found).map(Some)
}

/// The only one of what begins with those digits.
pub(super) fn only<T>(digits: &str, owner: &str, mut found: Vec<T>) -> Result<T, Failure> {
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (Some(_), others) => Err(Failure::usage(format_args!(
            "{} runs of {owner} begin with {digits}: give more digits",
            others + 1
        ))),
        (None, _) => Err(Failure::server(format_args!(
            "{owner} has no run that begins with {digits}; finished runs are kept for \
             ttlSecondsAfterFinished"
        ))
        .coded("no-such-run")),
    }
}

/// How a result is shown.
pub(super) struct Shown<T> {
    pub(super) name: fn(&T) -> String,
    pub(super) describe: fn(&T) -> String,
}

/// Does something with each of several pipelines. One that fails keeps no other from its turn; the
/// exit code is that of the first failure.
pub(super) async fn each<T: Serialize>(
    args: &Args,
    client: &K8sPipelineClient,
    targets: &Targets,
    shown: Shown<T>,
    work: impl AsyncFn(PipelineIdentity) -> Result<T, Failure>,
) -> Result<Exit, Failure> {
    let (mut done, mut exit) = (Vec::new(), Exit::Success);
    let chosen = chosen(client, targets).await?;
    let is_one = chosen.len() == 1 && !targets.all && targets.selector.is_none();
    for one in chosen {
        let result = async {
            let pipeline = match one {
                Chosen::Name(name) => find(client, name).await?,
                Chosen::Known(identity) => identity,
            };
            work(pipeline).await
        };
        match result.await {
            Ok(result) if args.output.is_structured() && !is_one => done.push(result),
            Ok(result) => output::show_named(args.output, &result, shown.name, shown.describe)?,
            Err(failure) if is_one => return Err(failure),
            Err(failure) => {
                failure.tell(args.output);
                exit = if exit == Exit::Success { failure.exit() } else { exit };
            }
        }
    }
    if args.output.is_structured() && !is_one {
        output::print_structured(args.output, &done)?;
    }
    Ok(exit)
}

enum Chosen<'a> {
    Name(&'a str),
    Known(PipelineIdentity),
}

async fn chosen<'a>(
    client: &K8sPipelineClient,
    targets: &'a Targets,
) -> Result<Vec<Chosen<'a>>, Failure> {
    let Targets { pipelines, all, selector, file, fqn } = targets;
    if *all || selector.is_some() {
        let filter = PipelineFilter { selector: selector.clone(), ..PipelineFilter::default() };
        let found = client.deployed_identities(&filter).await?;
        if found.is_empty() {
            output::note(nothing(client, selector.as_deref()));
        }
        return Ok(found.into_iter().map(Chosen::Known).collect());
    }
    if let Some(file) = file {
        let read = inputs::pipelines(file)?;
        return Ok(read.into_iter().map(|pipeline| Chosen::Known(pipeline.identity)).collect());
    }
    if let Some(fqn) = fqn {
        let fetched = client.preparation().fetch_pipeline(fqn).await?;
        return Ok(vec![Chosen::Known(fetched.identity)]);
    }
    Ok(pipelines.iter().map(|name| Chosen::Name(name)).collect())
}

/// That nothing is deployed, and where that was looked for.
pub(super) fn nothing(client: &K8sPipelineClient, selector: Option<&str>) -> String {
    let namespace = &client.config().namespace;
    let with = selector.map(|selector| format!(" with labels {selector}")).unwrap_or_default();
    format!("no pipeline{with} is deployed in namespace {namespace}")
}

fn none_given() -> Failure {
    Failure::usage("give a pipeline by name, with --file or with --fqn")
}
