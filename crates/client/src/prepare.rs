//! From what the user gives to a pipeline that can run: fills in the server connection, asks the
//! OpenMetadata server for what is missing, builds the workflow config. Needs no cluster.

use ompipe_core::config::{ConfigDelivery, K8sPipelineClientConfig};
use ompipe_core::workflow::{self, WorkflowConfig};
use ompipe_core::{IngestionPipeline, ServerConnection, Service, ServiceReference, VerifySsl};
use ompipe_openmetadata::OpenMetadata;
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, Result};
use crate::objects::RunnablePipeline;

/// Makes pipelines runnable.
#[derive(Debug)]
pub struct Preparation {
    endpoint: Option<String>,
    verify_ssl: VerifySsl,
    token: Option<SecretString>,
    delivery: ConfigDelivery,
}

impl Preparation {
    /// With the endpoint of the configuration and the bot's token, for pipelines that come without
    /// a server connection.
    #[must_use]
    pub fn new(config: &K8sPipelineClientConfig, token: Option<SecretString>) -> Self {
        Self {
            endpoint: config.metadata_api_endpoint.clone(),
            verify_ssl: config.verify_ssl,
            token,
            delivery: config.config_delivery,
        }
    }

    /// Checks a pipeline and builds the config of its workflow.
    ///
    /// # Errors
    /// The pipeline cannot run, or its service cannot be looked up.
    pub async fn prepare(
        &self,
        pipeline: IngestionPipeline,
        service: Option<Service>,
    ) -> Result<RunnablePipeline> {
        let pipeline = self.with_connection(pipeline);
        let service = match service {
            None if pipeline.pipeline_type.needs_service_type() => fetch_service(&pipeline).await?,
            given => given,
        };
        let workflow = WorkflowConfig::build(&pipeline, service.as_ref())
            .and_then(|workflow| workflow.fitting(self.delivery))
            .map_err(|source| cannot_run(&pipeline, source))?;
        let service = service.map(|service| without_needless_credentials(&pipeline, service));
        Ok(RunnablePipeline { pipeline, service, workflow })
    }

    /// The pipeline that the OpenMetadata server has under an FQN.
    ///
    /// # Errors
    /// The server has none, does not answer, or the configuration names no server.
    pub async fn fetch_pipeline(&self, fqn: &str) -> Result<IngestionPipeline> {
        let connection = self.connection().ok_or_else(|| Error::Workflow {
            pipeline: fqn.to_owned(),
            source: workflow::Error::NoServerConnection,
        })?;
        let document = OpenMetadata::new(&connection)
            .map_err(|error| asking("signing in to OpenMetadata", error))?
            .pipeline(fqn)
            .await
            .map_err(|error| asking("fetching the pipeline", error))?;
        Ok(IngestionPipeline::read(&document)?.with_server_connection(connection))
    }

    /// A pipeline's connection stands; one without gets the configured one.
    fn with_connection(&self, pipeline: IngestionPipeline) -> IngestionPipeline {
        match self.connection() {
            Some(connection) if pipeline.server_connection.is_none() => {
                pipeline.with_server_connection(connection)
            }
            _ => pipeline,
        }
    }

    /// The configured server with the bot's token, if both are known.
    #[must_use]
    pub fn connection(&self) -> Option<ServerConnection> {
        let (endpoint, token) = (self.endpoint.as_ref()?, self.token.as_ref()?);
        Some(ServerConnection::new(endpoint, token.expose_secret(), self.verify_ssl))
    }
}

async fn fetch_service(pipeline: &IngestionPipeline) -> Result<Option<Service>> {
    let connection = pipeline
        .server_connection
        .as_ref()
        .ok_or_else(|| cannot_run(pipeline, workflow::Error::NoServerConnection))?;
    let Some(reference) = &pipeline.service else {
        return Ok(None);
    };
    let document = OpenMetadata::new(connection)
        .map_err(|error| looking_up(reference, error))?
        .service(reference)
        .await
        .map_err(|error| looking_up(reference, error))?;
    Ok(Some(Service::read(&document)?))
}

/// Only a worker that overwrites entities needs the service's connection from us; otherwise it is
/// nothing that should lie in our Secrets.
fn without_needless_credentials(pipeline: &IngestionPipeline, mut service: Service) -> Service {
    let connection = pipeline.server_connection.as_ref();
    if !connection.is_some_and(ServerConnection::forces_overwriting) {
        service.connection = None;
    }
    service
}

fn cannot_run(pipeline: &IngestionPipeline, source: workflow::Error) -> Error {
    Error::Workflow { pipeline: pipeline.identity.fully_qualified_name.clone(), source }
}

fn looking_up(reference: &ServiceReference, source: ompipe_openmetadata::Error) -> Error {
    asking(&format!("looking up the type of service {:?}", reference.name), source)
}

fn asking(doing: &str, source: ompipe_openmetadata::Error) -> Error {
    Error::OpenMetadata { doing: doing.to_owned(), source }
}
