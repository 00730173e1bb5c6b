//! From what the user gives to a pipeline that can run: fills in the server connection, asks the
//! OpenMetadata server for what is missing, builds the workflow config. Needs no cluster.

use std::time::Duration;

use ompipe_core::config::{
    CertificateAuthority, ConfigDelivery, K8sPipelineClientConfig, ScheduleSpread,
};
use ompipe_core::version::ReleaseLine;
use ompipe_core::workflow::{self, WorkflowConfig};
use ompipe_core::{
    CA_FILE, IngestionPipeline, Problems, ServerConnection, Service, ServiceReference, VerifySsl,
    endpoint_hint,
};
use ompipe_openmetadata::OpenMetadata;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::objects::RunnablePipeline;

/// Time to ask the server for its version, without which a deploy can do.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes pipelines runnable.
#[derive(Debug)]
pub struct Preparation {
    endpoint: Option<String>,
    caller_endpoint: Option<String>,
    verify_ssl: VerifySsl,
    authority: Option<CertificateAuthority>,
    token: Option<SecretString>,
    delivery: ConfigDelivery,
    spread: ScheduleSpread,
    /// The release line of the worker's image, if its tag is a version.
    worker: Option<ReleaseLine>,
}

impl Preparation {
    /// With the endpoint of the configuration and the bot's token, for pipelines that come without
    /// a server connection.
    #[must_use]
    pub fn new(config: &K8sPipelineClientConfig, token: Option<SecretString>) -> Self {
        Self {
            endpoint: config.metadata_api_endpoint.clone(),
            caller_endpoint: config.caller_endpoint.clone(),
            verify_ssl: config.verify_ssl,
            authority: config.certificate_authority.clone(),
            token,
            delivery: config.config_delivery,
            spread: config.schedule_spread.clone(),
            worker: config.ingestion_image.tag().and_then(ReleaseLine::in_text),
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
        let line = self.line_of_worker(&pipeline).await;
        let service = match service {
            None if WorkflowConfig::needs_service(line, &pipeline) => {
                fetch_service(&pipeline).await?
            }
            given => given,
        };
        let workflow = WorkflowConfig::build_for(line, &pipeline, service.as_ref())
            .and_then(|workflow| workflow.fitting(self.delivery))
            .map_err(|source| cannot_run(&pipeline, source))?;
        let service = service.map(|service| without_needless_credentials(&pipeline, service));
        let of_service = pipeline.service.as_ref().map(|service| service.name.as_str());
        let window = self.spread.of(of_service, &pipeline.identity.fully_qualified_name);
        Ok(RunnablePipeline { pipeline: pipeline.with_spread(window), service, workflow })
    }

    /// The release line of the worker: that of its image's tag, else the server's. The server is asked
    /// only where a key depends on it.
    async fn line_of_worker(&self, pipeline: &IngestionPipeline) -> Option<ReleaseLine> {
        if self.worker.is_some() || !WorkflowConfig::depends_on_line(pipeline) {
            return self.worker;
        }
        let server = OpenMetadata::new(pipeline.server_connection.as_ref()?).ok()?;
        let version = timeout(VERSION_TIMEOUT, server.version()).await.ok()?.ok()?;
        ReleaseLine::in_text(&version)
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
        let asked = |doing, error| asking(doing, &connection, error);
        let document = OpenMetadata::new(&connection)
            .map_err(|error| asked("signing in to OpenMetadata", error))?
            .pipeline(fqn)
            .await
            .map_err(|error| asked("fetching the pipeline", error))?;
        Ok(self.with_fetched_connection(&document, connection.clone())?)
    }

    /// A server gives a bot the whole connection, with what only it knows: its secrets manager, its
    /// authority, its name. Of ours, the worker needs the endpoint, as pods reach it, and the token
    /// where the server's is hidden.
    fn with_fetched_connection(
        &self,
        document: &Value,
        own: ServerConnection,
    ) -> Result<IngestionPipeline, Problems> {
        const KEY: &str = "openMetadataServerConnection";
        let mut document = document.clone();
        if let Some(given) = document.get(KEY).filter(|given| given.is_object()) {
            document[KEY] = own.over(given);
        }
        let pipeline = IngestionPipeline::read(&document)?;
        Ok(match pipeline.server_connection {
            Some(_) => self.with_connection(pipeline),
            None => pipeline.with_server_connection(own),
        })
    }

    /// A pipeline's own connection is kept; one without gets the configured one, and one whose token is in
    /// a secrets manager is called with ours.
    fn with_connection(&self, mut pipeline: IngestionPipeline) -> IngestionPipeline {
        if let Some(connection) = &mut pipeline.server_connection {
            *connection = self.callable(connection.clone());
            return pipeline;
        }
        match self.connection() {
            Some(connection) => pipeline.with_server_connection(connection),
            None => pipeline,
        }
    }

    /// The same for what runs besides pipelines.
    pub(crate) fn connect(&self, given: Option<ServerConnection>) -> Option<ServerConnection> {
        given.map_or_else(|| self.connection(), |given| Some(self.callable(given)))
    }

    /// The release line of the worker by its image's tag.
    pub(crate) const fn worker(&self) -> Option<ReleaseLine> {
        self.worker
    }

    /// The connection with our token and authority, where its own are not here.
    #[must_use]
    pub fn callable(&self, connection: ServerConnection) -> ServerConnection {
        let connection = match &self.token {
            Some(token) if self.may_have_token(&connection) => connection.with_token(token),
            _ => connection,
        };
        let connection = match &self.caller_endpoint {
            Some(endpoint) if self.may_have_token(&connection) => connection.called_at(endpoint),
            _ => connection,
        };
        match &self.authority {
            Some(CertificateAuthority::Pem(pem)) => connection.trusting(pem),
            Some(CertificateAuthority::File(_)) | None => connection,
        }
    }

    /// Our token goes to the configured server only; where none is configured, nowhere.
    fn may_have_token(&self, connection: &ServerConnection) -> bool {
        let base = |endpoint: &str| endpoint.trim_end_matches('/').to_owned();
        let is_configured = |endpoint: &String| base(endpoint) == base(&connection.host_port);
        self.endpoint.as_ref().is_some_and(is_configured)
    }

    /// The configured server with the bot's token, if both are known.
    #[must_use]
    pub fn connection(&self) -> Option<ServerConnection> {
        self.configured(self.token.as_ref()?.expose_secret())
    }

    /// The configured server, for the questions that it answers without a login.
    pub(crate) fn connection_without_token(&self) -> Option<ServerConnection> {
        self.configured("")
    }

    fn configured(&self, token: &str) -> Option<ServerConnection> {
        let connection = ServerConnection::new(self.endpoint.as_ref()?, token, self.verify_ssl);
        let connection = match &self.caller_endpoint {
            Some(endpoint) => connection.called_at(endpoint),
            None => connection,
        };
        Some(match &self.authority {
            Some(CertificateAuthority::Pem(pem)) => {
                connection.with_authority_file(CA_FILE).trusting(pem)
            }
            Some(CertificateAuthority::File(path)) => {
                connection.with_authority_file(&path.display().to_string())
            }
            None => connection,
        })
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
    if connection.token_is_elsewhere() {
        return Err(cannot_run(pipeline, workflow::Error::TokenElsewhere));
    }
    let document = OpenMetadata::new(connection)
        .map_err(|error| looking_up(reference, connection, error))?
        .service(reference)
        .await
        .map_err(|error| looking_up(reference, connection, error))?;
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

fn looking_up(
    reference: &ServiceReference,
    connection: &ServerConnection,
    source: ompipe_openmetadata::Error,
) -> Error {
    asking(&format!("looking up the type of service {:?}", reference.name), connection, source)
}

/// Where something is not found, the endpoint may be at fault.
fn asking(doing: &str, connection: &ServerConnection, source: ompipe_openmetadata::Error) -> Error {
    use ompipe_openmetadata::Error::{NotFound, Unreadable};
    let hint = endpoint_hint(&connection.host_port)
        .filter(|_| matches!(source, NotFound { .. } | Unreadable(_)))
        .map_or_else(String::new, |hint| {
            format!(" (the endpoint {} {hint})", connection.host_port)
        });
    Error::OpenMetadata { doing: format!("{doing}{hint}"), source }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn preparation(endpoint: &str) -> Preparation {
        Preparation {
            endpoint: Some(endpoint.to_owned()),
            caller_endpoint: None,
            verify_ssl: VerifySsl::NoSsl,
            authority: None,
            token: Some("own".into()),
            delivery: ConfigDelivery::Env,
            spread: ScheduleSpread::default(),
            worker: None,
        }
    }

    fn fetched(connection: &Value) -> Value {
        let document = json!({
            "name": "p", "fullyQualifiedName": "shop.p", "pipelineType": "metadata",
            "service": { "type": "databaseService", "name": "shop" },
            "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
            "airflowConfig": {}, "openMetadataServerConnection": connection,
        });
        let preparation = preparation("http://om:8585/api");
        let own = preparation.connection().unwrap();
        let pipeline = preparation.with_fetched_connection(&document, own).unwrap();
        pipeline.server_connection.unwrap().to_value()
    }

    #[test]
    fn the_connection_that_a_server_returns_is_kept_whole() {
        let given = json!({
            "hostPort": "http://localhost:8585/api", "clusterName": "c", "type": "OpenMetadata",
            "authProvider": "openmetadata", "verifySSL": "no-ssl",
            "secretsManagerProvider": "aws", "secretsManagerLoader": "env", "limitRecords": 1000,
            "securityConfig": { "jwtToken": "secret:/om/bot" },
        });
        let mut expected = given.clone();
        expected["hostPort"] = "http://om:8585/api".into();
        assert_eq!(fetched(&given), expected);
    }

    #[test]
    fn a_connection_to_the_configured_endpoint_keeps_its_tls() {
        let given = json!({
            "hostPort": "http://om:8585/api/", "verifySSL": "validate",
            "sslConfig": { "caCertificate": "/etc/om/ca.pem" },
            "securityConfig": { "jwtToken": "t" },
        });
        assert_eq!(fetched(&given), given);
    }

    #[test]
    fn a_hidden_token_is_replaced_by_ours() {
        for hidden in [json!("*********"), json!(""), json!(null)] {
            let given = json!({
                "hostPort": "http://om:8585/api", "clusterName": "c",
                "securityConfig": { "jwtToken": hidden },
            });
            let kept = fetched(&given);
            assert_eq!(kept["securityConfig"]["jwtToken"], "own");
            assert_eq!(kept["clusterName"], "c");
        }
    }

    #[test]
    fn a_connection_that_is_not_returned_is_ours() {
        assert_eq!(fetched(&Value::Null)["securityConfig"]["jwtToken"], "own");
    }

    #[test]
    fn a_configured_authority_is_put_into_the_workers_connection() {
        let pem = "-----BEGIN CERTIFICATE-----";
        let authority = Some(CertificateAuthority::Pem(pem.to_owned()));
        let preparation = Preparation { authority, ..preparation("https://om/api") };
        let connection = preparation.connection().unwrap();
        assert_eq!(connection.mounted_authority(), Some(pem));
        assert_eq!(connection.to_value()["sslConfig"]["caCertificate"], CA_FILE);
        let sent = ServerConnection::new("https://om/api", "t", VerifySsl::Validate);
        let called = preparation.callable(sent.with_authority_file("/etc/om/ca.pem"));
        assert_eq!(called.to_value()["sslConfig"]["caCertificate"], "/etc/om/ca.pem");
        assert_eq!(called.ca_certificate(), Some(ompipe_core::CaCertificate::Pem(pem)));
    }

    #[test]
    fn our_token_goes_to_the_configured_server_only() {
        let reference = |host: &str| ServerConnection::new(host, "secret:/x", VerifySsl::NoSsl);
        let preparation = preparation("http://om:8585/api");
        assert!(preparation.may_have_token(&reference("http://om:8585/api/")));
        assert!(!preparation.may_have_token(&reference("http://elsewhere/api")));
        let unconfigured = Preparation { endpoint: None, ..preparation };
        assert!(!unconfigured.may_have_token(&reference("http://elsewhere/api")));
    }

    #[test]
    fn what_is_not_found_at_an_endpoint_without_api_names_the_endpoint() {
        let connection = ServerConnection::new("http://om:8585", "t", VerifySsl::NoSsl);
        let missing = ompipe_openmetadata::Error::NotFound { what: "service", name: "shop".into() };
        let told = asking("looking up", &connection, missing).to_string();
        assert!(told.contains("did you mean http://om:8585/api?"), "{told}");
    }
}
