//! `ompipe doctor`.

use ompipe_client::K8sPipelineClient;
use ompipe_core::diagnosis::{Finding, Verdict};

use crate::args::{Args, DoctorArgs};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, doctor: &DoctorArgs) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let findings = progress::during("looking", look(&client, doctor)).await?;
    output::show(args.output, &findings, |findings| describe(findings))?;
    let is_bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if is_bad { Exit::RunFailed } else { Exit::Success })
}

/// Looks at the pipeline, or where that cannot be found at what keeps it from being found.
async fn look(client: &K8sPipelineClient, doctor: &DoctorArgs) -> Result<Vec<Finding>, Failure> {
    let Some(name) = &doctor.pipeline else {
        return Ok(client.diagnose(None, None).await);
    };
    match client.find(name).await {
        Ok(pipeline) => Ok(client.diagnose(Some(&pipeline), doctor.run).await),
        Err(error) if error.is_input() => Err(error.into()),
        Err(_) => Ok(client.diagnose(None, None).await),
    }
}

fn describe(findings: &[Finding]) -> String {
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(finding: &Finding) -> String {
    let mark = match finding.verdict {
        Verdict::Good => "good",
        Verdict::Warning => "look",
        Verdict::Bad => "BAD",
    };
    let remedy = finding.remedy.as_deref().map(|remedy| format!("\n        {remedy}"));
    let Finding { check, detail, .. } = finding;
    format!("{mark:<5} {check}: {detail}{}", remedy.unwrap_or_default())
}
