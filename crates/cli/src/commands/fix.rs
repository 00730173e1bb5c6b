//! `ompipe doctor --fix`: what is missing and cannot harm. Objects are created where they are absent, and an
//! end is reported that OpenMetadata does not have. Nothing that exists is changed.

use ompipe_client::{Change, K8sPipelineClient};
use ompipe_core::run::EndReporter;

use super::{report, target, wait};
use crate::args::DoctorArgs;
use crate::failure::Failure;
use crate::output;

pub(super) async fn everything(
    client: &K8sPipelineClient,
    doctor: &DoctorArgs,
) -> Result<(), Failure> {
    for object in client.create_absent_account().await? {
        if object.change == Change::Created {
            output::note(output::written(&object).trim_start());
        }
    }
    if let Some(name) = &doctor.pipeline {
        end_of_run(client, doctor, name).await?;
    }
    Ok(())
}

/// Reports the end of the run unless its row has it, or the operator is about to.
async fn end_of_run(
    client: &K8sPipelineClient,
    doctor: &DoctorArgs,
    name: &str,
) -> Result<(), Failure> {
    let pipeline = client.find(name).await?;
    let wanted = target::run(client, &pipeline, doctor.run.as_ref()).await?;
    // A pipeline that never ran has nothing to report, which the findings say.
    let Ok(run) = wait::chosen(client, &pipeline, wanted).await else { return Ok(()) };
    let (stored, _) = client.load(&pipeline).await?;
    let is_ours = run.state.is_terminal() && run.end_reporter != EndReporter::Operator;
    if let Some(connection) = stored.server_connection.filter(|_| is_ours) {
        let connection = client.preparation().callable(connection);
        report::end_of(&connection, &pipeline.fully_qualified_name, &run).await;
    }
    Ok(())
}
