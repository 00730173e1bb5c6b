//! `ompipe delete`.

use ompipe_client::{Deleted, PipelineServiceClient};

use super::target::{self, Shown};
use crate::args::{Args, Targets};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, targets: &Targets) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let shown = Shown { name: |deleted: &Deleted| fqn(deleted).to_owned(), describe };
    target::each(args, &client, targets, shown, async |pipeline| {
        Ok(progress::during("deleting", client.delete_pipeline(&pipeline)).await?)
    })
    .await
}

fn fqn(deleted: &Deleted) -> &str {
    &deleted.pipeline.fully_qualified_name
}

fn describe(deleted: &Deleted) -> String {
    let lines = deleted.objects.iter().map(|object| format!("\n{}", output::written(object)));
    format!("pipeline {} is deleted{}", fqn(deleted), lines.collect::<String>())
}
