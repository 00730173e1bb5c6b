//! `ompipe orphans`.

use ompipe_client::{Census, K8sPipelineClient, Orphan};

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, delete: bool) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let census = progress::during("asking OpenMetadata", client.census()).await?;
    if delete {
        progress::during("deleting", remove(&client, &census.orphans)).await?;
    }
    output::show(args.output, &census, |census| describe(census, delete))?;
    Ok(Exit::Success)
}

async fn remove(client: &K8sPipelineClient, orphans: &[Orphan]) -> ompipe_client::Result<()> {
    for orphan in orphans {
        client.remove_orphan(orphan).await?;
    }
    Ok(())
}

fn describe(census: &Census, deleted: bool) -> String {
    let orphans = census.orphans.iter().map(|orphan| {
        let (fqn, reason) = (&orphan.pipeline.fully_qualified_name, orphan.reason.as_str());
        let done = if deleted { " (deleted)" } else { "" };
        format!("{fqn}: {reason}{done}")
    });
    let unclear = census.unclear.iter().map(|(fqn, why)| format!("{fqn}: unclear: {why}"));
    let lines: Vec<String> = orphans.chain(unclear).collect();
    if lines.is_empty() {
        return "every deployed pipeline is in OpenMetadata, and nothing is left of others"
            .to_owned();
    }
    lines.join("\n")
}
