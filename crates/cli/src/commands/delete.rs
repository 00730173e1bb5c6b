//! `ompipe delete`.

use ompipe_client::{Deleted, PipelineServiceClient};

use super::target;
use crate::args::{Args, Target};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, target: &Target) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let pipeline = target::identity(&client, target).await?;
    let delete = client.delete_pipeline(&pipeline);
    let deleted = progress::during("deleting", delete).await?;
    output::show(args.output, &deleted, describe)?;
    Ok(Exit::Success)
}

fn describe(deleted: &Deleted) -> String {
    let fqn = &deleted.pipeline.fully_qualified_name;
    let lines = deleted.objects.iter().map(|object| format!("\n{}", output::written(object)));
    format!("pipeline {fqn} is deleted{}", lines.collect::<String>())
}
