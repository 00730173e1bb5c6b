//! `ompipe diff`: what a deploy would change.

use ompipe_client::{Change, K8sPipelineClient, PlannedChange, PlannedDeploy, Written};
use ompipe_core::{IngestionPipeline, Service, yaml};
use serde_json::Value;
use similar::TextDiff;

use super::each::each;
use crate::args::{Args, DeploySource};
use crate::failure::{Exit, Failure};
use crate::output::{self, Painted, Tone};
use crate::{inputs, progress};

pub(super) async fn execute(args: &Args, source: &DeploySource) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let sources = inputs::sources(source, client.preparation()).await?;
    let changes = std::cell::Cell::new(false);
    let done = each(args, sources, named, differences, async |pipeline, service| {
        let plan = plan(&client, pipeline, service).await?;
        let is_change = |object: &PlannedChange| object.change != Change::Unchanged;
        changes.set(changes.get() || plan.objects.iter().any(is_change));
        Ok(plan)
    });
    match done.await? {
        // As of `kubectl diff`.
        Exit::Success if changes.get() => Ok(Exit::RunFailed),
        exit => Ok(exit),
    }
}

pub(super) async fn plan(
    client: &K8sPipelineClient,
    pipeline: IngestionPipeline,
    service: Option<Service>,
) -> Result<PlannedDeploy, Failure> {
    let plan = client.plan_deploy(pipeline, service);
    Ok(progress::during("asking the API server", plan).await?)
}

pub(super) fn named(plan: &PlannedDeploy) -> String {
    plan.pipeline.fully_qualified_name.clone()
}

/// What a deploy would do, as a deploy tells it.
pub(super) fn describe(plan: &PlannedDeploy) -> String {
    let fqn = &plan.pipeline.fully_qualified_name;
    let mut lines =
        vec![format!("pipeline {fqn} would be deployed in namespace {}", plan.namespace)];
    lines.extend(plan.objects.iter().map(|object| {
        let PlannedChange { kind, name, change, .. } = object.clone();
        output::written(&Written { kind, name, change })
    }));
    lines.extend(plan.schedule_change.clone());
    lines.push("nothing was changed (dry run)".to_owned());
    lines.join("\n")
}

fn differences(plan: &PlannedDeploy) -> Painted {
    let changed = plan.objects.iter().filter(|object| object.change != Change::Unchanged);
    let texts = changed.map(difference).collect::<Vec<_>>();
    if texts.is_empty() {
        let fqn = &plan.pipeline.fully_qualified_name;
        return format!("pipeline {fqn} is deployed as it is").into();
    }
    texts.into_iter().collect::<Painted>().without_last_newline()
}

fn difference(object: &PlannedChange) -> Painted {
    let text = |side: &Option<Value>| {
        side.as_ref().and_then(|value| yaml::render_readable(value).ok()).unwrap_or_default()
    };
    let (before, after) = (text(&object.before), text(&object.after));
    let name = format!("{}/{}", object.kind, object.name);
    if before == after {
        return format!("{name}: what is masked changes, and nothing else\n").into();
    }
    let diff = TextDiff::from_lines(&before, &after);
    let mut unified = diff.unified_diff();
    let sides = (format!("deployed {name}"), format!("new {name}"));
    let unified = unified.context_radius(2).header(&sides.0, &sides.1).to_string();
    unified.split_inclusive('\n').map(coloured).collect()
}

fn coloured(line: &str) -> Painted {
    let tone = match line.chars().next() {
        Some('+') => Tone::Good,
        Some('-') => Tone::Bad,
        _ => return Painted::plain(line),
    };
    [output::paint(line.trim_end_matches('\n'), tone), Painted::plain("\n")].into_iter().collect()
}
