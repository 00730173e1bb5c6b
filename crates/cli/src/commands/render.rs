//! `ompipe render`: what deploy, or a run, would apply. Needs no cluster.

use ompipe_client::{Manifests, Objects, Preparation, Visibility};
use ompipe_core::Slug;

use crate::args::{Args, DeploySource, Output, RenderArgs};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, render: &RenderArgs) -> Result<Exit, Failure> {
    let config = inputs::config(args)?;
    let preparation = Preparation::new(&config, inputs::token(args)?);
    let (pipeline, service) = inputs::source(&render.source, &preparation).await?;
    let prepare = preparation.prepare(pipeline, service);
    let runnable = progress::during("asking OpenMetadata", prepare).await?;
    let identity = &runnable.pipeline.identity;
    let mut names = Slug::candidates(&identity.name, &identity.fully_qualified_name);
    let slug = names.next().ok_or_else(|| Failure::usage("the pipeline has no name"))?;
    let objects = Objects::new(&config, &runnable, &slug);
    let manifests = match render.run {
        Some(run) => Manifests::of_run(&objects, run),
        None => Manifests::of_deploy(&objects),
    };
    let manifests =
        manifests.map_err(|error| Failure::usage(format_args!("cannot render: {error}")))?;
    print(args.output, &manifests, visibility(render))?;
    Ok(Exit::Success)
}

/// What `deploy --dry-run=client` prints: the objects, secrets masked.
pub(super) async fn deployments(args: &Args, source: &DeploySource) -> Result<Exit, Failure> {
    let config = inputs::config(args)?;
    let preparation = Preparation::new(&config, inputs::token(args)?);
    for (pipeline, service) in inputs::sources(source, &preparation).await? {
        let prepare = preparation.prepare(pipeline, service);
        let runnable = progress::during("asking OpenMetadata", prepare).await?;
        let identity = &runnable.pipeline.identity;
        let mut names = Slug::candidates(&identity.name, &identity.fully_qualified_name);
        let slug = names.next().ok_or_else(|| Failure::usage("the pipeline has no name"))?;
        let manifests = Manifests::of_deploy(&Objects::new(&config, &runnable, &slug));
        let manifests = manifests.map_err(Failure::usage)?;
        print(args.output, &manifests, Visibility::Masked)?;
    }
    Ok(Exit::Success)
}

const fn visibility(render: &RenderArgs) -> Visibility {
    if render.show_secrets { Visibility::ShowSecrets } else { Visibility::Masked }
}

fn print(output: Output, manifests: &Manifests, visibility: Visibility) -> Result<(), Failure> {
    match output {
        Output::Json => output::print_structured(output, &manifests.to_values(visibility)),
        _ => output::print(manifests.to_yaml(visibility).trim_end()),
    }
}
