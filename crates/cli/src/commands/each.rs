//! Does one thing for each pipeline of a command line.

use ompipe_core::{IngestionPipeline, Service};
use serde::Serialize;

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::output;

/// Does something with each pipeline. One that fails keeps no other from its turn; the exit code is
/// that of the first failure.
pub(super) async fn each<T: Serialize, D: Into<output::Painted>>(
    args: &Args,
    sources: Vec<(IngestionPipeline, Option<Service>)>,
    name: fn(&T) -> String,
    describe: fn(&T) -> D,
    work: impl AsyncFn(IngestionPipeline, Option<Service>) -> Result<T, Failure>,
) -> Result<Exit, Failure> {
    let (mut done, mut exit, is_one) = (Vec::new(), Exit::Success, sources.len() == 1);
    for (pipeline, service) in sources {
        let fqn = pipeline.identity.fully_qualified_name.clone();
        match work(pipeline, service).await {
            Ok(result) if args.output.is_structured() && !is_one => done.push(result),
            Ok(result) => output::show_named(args.output, &result, name, describe)?,
            Err(failure) if is_one => return Err(failure),
            Err(failure) => {
                exit = if exit == Exit::Success { failure.exit() } else { exit };
                failure.about(&fqn).tell(args.output);
            }
        }
    }
    if args.output.is_structured() && !is_one {
        output::print_structured(args.output, &done)?;
    }
    Ok(exit)
}
