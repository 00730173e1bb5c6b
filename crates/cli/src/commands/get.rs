//! `ompipe get`: what is deployed of a pipeline.

use ompipe_client::PipelineDetail;
use ompipe_core::{Schedule, yaml};

use super::target::{self, Shown};
use crate::args::{Args, Targets};
use crate::failure::{Exit, Failure};
use crate::inputs;

pub(super) async fn execute(args: &Args, targets: &Targets) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let name = |detail: &PipelineDetail| detail.pipeline.identity.fully_qualified_name.clone();
    let shown = Shown { name, describe };
    target::each(args, &client, targets, shown, async |pipeline| {
        Ok(client.detail(&pipeline).await?)
    })
    .await
}

fn describe(detail: &PipelineDetail) -> String {
    let PipelineDetail { pipeline, service, schedule_object, image, revision, .. } = detail;
    let schedule = match (&pipeline.schedule, pipeline.suspended) {
        (Some(schedule), false) => schedule.clone(),
        (Some(schedule), true) => format!("{schedule} (paused)"),
        (None, _) => "on demand".to_owned(),
    };
    let unspread = pipeline.timetable.as_ref().and_then(Schedule::unspread);
    let unspread = unspread.map(|given| format!("{given}, moved by scheduleSpread"));
    let last = pipeline.last_run.as_ref();
    let last = last.map(|run| format!("{} {}", run.run_id, run.state_in_words()));
    let fields = [
        ("Name", Some(pipeline.identity.fully_qualified_name.clone())),
        ("Id", Some(pipeline.identity.id.to_string())),
        ("Namespace", Some(pipeline.namespace.clone())),
        ("Type", Some(pipeline.pipeline_type.clone())),
        ("Service", service.clone()),
        ("Schedule", Some(schedule)),
        ("Given as", unspread),
        ("Next run", pipeline.next_run.map(|next| next.to_string())),
        ("Last run", last),
        ("Object", schedule_object.clone()),
        ("Image", Some(image.clone())),
        ("Revision", revision.clone()),
    ];
    let lines = fields
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{:<11} {}", format!("{name}:"), value?)));
    lines.chain(detail.config.as_ref().map(config)).collect::<Vec<_>>().join("\n")
}

/// The config, indented.
fn config(config: &serde_json::Value) -> String {
    let text = yaml::render_readable(config).unwrap_or_default();
    let lines = text.trim_end().lines().map(|line| format!("\n  {line}"));
    format!("Config:{}", lines.collect::<String>())
}
