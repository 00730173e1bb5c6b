//! `ompipe crds`: what operator mode needs in the cluster.

use ompipe_core::yaml;

use crate::args::Output;
use crate::failure::{Exit, Failure};
use crate::output;

pub(super) fn execute(output: Output) -> Result<Exit, Failure> {
    let definitions = ompipe_api::crds();
    if output == Output::Json {
        output::print_structured(output, &definitions)?;
        return Ok(Exit::Success);
    }
    for definition in &definitions {
        let document = serde_json::to_value(definition).map_err(std::io::Error::from)?;
        let text = yaml::render_readable(&document).map_err(Failure::usage)?;
        output::print(format_args!("---\n{}", text.trim_end()))?;
    }
    Ok(Exit::Success)
}
