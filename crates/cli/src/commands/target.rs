//! Which pipeline a command is about.

use ompipe_client::K8sPipelineClient;
use ompipe_core::{IngestionPipeline, PipelineIdentity, Service};

use crate::args::Target;
use crate::failure::Failure;
use crate::inputs;

/// The identity of the pipeline: enough to look at its runs.
pub(super) async fn identity(
    client: &K8sPipelineClient,
    target: &Target,
) -> Result<PipelineIdentity, Failure> {
    match (&target.pipeline, &target.file, &target.fqn) {
        (Some(name), ..) => Ok(client.find(name).await?),
        (None, Some(file), _) => Ok(inputs::pipeline(file)?.identity),
        (None, None, Some(fqn)) => Ok(client.preparation().fetch_pipeline(fqn).await?.identity),
        (None, None, None) => Err(none_given()),
    }
}

/// The pipeline itself, to run it, and its service if the last deploy knew it.
pub(super) async fn pipeline(
    client: &K8sPipelineClient,
    target: &Target,
) -> Result<(IngestionPipeline, Option<Service>), Failure> {
    match (&target.pipeline, &target.file, &target.fqn) {
        (Some(name), ..) => Ok(client.load(&client.find(name).await?).await?),
        (None, Some(file), _) => Ok((inputs::pipeline(file)?, None)),
        (None, None, Some(fqn)) => Ok((client.preparation().fetch_pipeline(fqn).await?, None)),
        (None, None, None) => Err(none_given()),
    }
}

fn none_given() -> Failure {
    Failure::usage("give a pipeline by name, with --file or with --fqn")
}
