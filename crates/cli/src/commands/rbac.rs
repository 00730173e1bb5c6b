//! `ompipe rbac`: the namespace of the runs, and the least rights in it.

use ompipe_core::yaml;

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

/// The manifest, which is a document too.
const MANIFEST: &str = include_str!("../../../../docs/rbac.yaml");
/// That of the operator, which names no namespace.
const OPERATOR_MANIFEST: &str = include_str!("../../../../docs/operator-rbac.yaml");
/// The namespace that it has.
const NAMESPACE: &str = "openmetadata-pipelines";

pub(super) fn execute(args: &Args, operator: bool) -> Result<Exit, Failure> {
    let config = inputs::config(args)?;
    let text = if operator { OPERATOR_MANIFEST } else { MANIFEST };
    let text = text.replace(NAMESPACE, config.namespace.as_str());
    if args.output.is_structured() {
        let documents = yaml::parse_all(&text).map_err(Failure::usage)?;
        output::print_structured(args.output, &documents)?;
    } else {
        output::print(text.trim_end())?;
    }
    Ok(Exit::Success)
}
