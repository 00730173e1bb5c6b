//! Automations and applications: what runs besides pipelines.

use kube::ResourceExt;
use ompipe_core::config::{ConfigDelivery, Mode};
use ompipe_core::{Application, AutomationWorkflow, RunId, TaskEntity, WorkloadKind, workflow};

use super::K8sPipelineClient;
use crate::error::{Error, Result};
use crate::object::Object;
use crate::objects::{TaskObjects, owner};
use crate::service_client::Started;
use crate::transaction::Transaction;

impl K8sPipelineClient {
    pub(super) async fn run_automation(
        &self,
        automation: AutomationWorkflow,
        run: RunId,
    ) -> Result<Started> {
        let connect = |given| self.preparation.connect(given);
        let automation = automation.connected(self.preparation.worker(), connect);
        check(automation.entity())?;
        let objects = TaskObjects::of_automation(&self.config, &automation, run);
        self.start_task(automation.entity(), &objects, Mode::Job).await
    }

    pub(super) async fn run_application(
        &self,
        application: Application,
        run: RunId,
    ) -> Result<Started> {
        let connect = |given| self.preparation.connect(given);
        let application = application.connected(self.preparation.worker(), connect);
        check(application.entity())?;
        let objects = TaskObjects::of_application(&self.config, &application, run);
        self.start_task(application.entity(), &objects, self.config.mode).await
    }

    async fn start_task(
        &self,
        entity: &TaskEntity,
        objects: &TaskObjects<'_>,
        mode: Mode,
    ) -> Result<Started> {
        let mut transaction = Transaction::default();
        let created = match mode {
            Mode::Job => self.create_task(&mut transaction, objects, &objects.job()).await,
            Mode::Operator => self.create_task(&mut transaction, objects, &objects.om_job()).await,
        };
        match created {
            Ok(job_name) => Ok(Started {
                pipeline: entity.fully_qualified_name.clone(),
                namespace: self.config.namespace.to_string(),
                run_id: objects.run(),
                kind: match mode {
                    Mode::Job => WorkloadKind::Job,
                    Mode::Operator => WorkloadKind::OmJob,
                },
                job_name,
                queued: false,
            }),
            Err(refused) => Err(transaction.roll_back(refused).await),
        }
    }

    /// The run's object goes first, so that its Secret is never without an owner to go with; the
    /// pod waits for the Secret.
    async fn create_task<K: Object>(
        &self,
        transaction: &mut Transaction,
        objects: &TaskObjects<'_>,
        object: &K,
    ) -> Result<String> {
        let name = object.name_any();
        let created = match transaction.create(&self.api(), object).await? {
            Some(created) => Some(created),
            None => self.get::<K>(&name).await?,
        };
        let owner = created.as_ref().and_then(owner);
        let owner = owner.ok_or_else(|| Error::JobNameTaken { job: name.clone() })?;
        transaction.create(&self.api(), &objects.secret(owner)).await?;
        Ok(name)
    }
}

/// An automation or application reaches its worker in its environment only.
fn check(entity: &TaskEntity) -> Result<()> {
    workflow::check_size(&entity.text(), ConfigDelivery::Env)
        .map_err(|source| Error::Workflow { pipeline: entity.fully_qualified_name.clone(), source })
}
