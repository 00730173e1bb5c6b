//! `ompipe doctor`.

use ompipe_client::K8sPipelineClient;
use ompipe_core::diagnosis::{Finding, Verdict};

use super::{fix, target};
use crate::args::{Args, DoctorArgs};
use crate::failure::{Exit, Failure};
use crate::output::{self, Painted, Tone};
use crate::{inputs, progress};

pub(super) async fn execute(args: &Args, doctor: &DoctorArgs) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    if doctor.fix {
        fix::everything(&client, doctor).await?;
    }
    let findings = progress::during("checking", look(&client, doctor)).await?;
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
        Ok(pipeline) => {
            let run = target::run(client, &pipeline, doctor.run.as_ref()).await?;
            Ok(client.diagnose(Some(&pipeline), run).await)
        }
        Err(error) if error.is_input() => Err(error.into()),
        Err(_) => Ok(client.diagnose(None, None).await),
    }
}

fn describe(findings: &[Finding]) -> Painted {
    findings.iter().flat_map(line).collect::<Painted>().without_last_newline()
}

fn line(finding: &Finding) -> [Painted; 2] {
    let (mark, tone) = match finding.verdict {
        Verdict::Good => ("ok", Tone::Good),
        Verdict::Warning => ("warn", Tone::Warning),
        Verdict::Bad => ("FAIL", Tone::Bad),
    };
    let remedy = finding.remedy.as_deref().map(|remedy| format!("\n       {remedy}"));
    let Finding { check, detail, .. } = finding;
    let mark = output::paint(&format!("{mark:<4}"), tone);
    let rest = format!("   {check}: {detail}{}\n", remedy.unwrap_or_default());
    [mark, Painted::plain(&rest)]
}
