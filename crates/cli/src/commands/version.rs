//! `ompipe version`: of this program, and of what it talks to.

use ompipe_openmetadata::OpenMetadata;
use serde::Serialize;
use tokio::time::timeout;

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

/// What a server's version is worth waiting for.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

#[derive(Serialize)]
struct Versions {
    client: Client,
    #[serde(skip_serializing_if = "Option::is_none")]
    kubernetes: Option<Known>,
    #[serde(skip_serializing_if = "Option::is_none")]
    openmetadata: Option<Known>,
}

#[derive(Serialize)]
struct Client {
    version: &'static str,
    commit: &'static str,
    target: String,
}

/// A version, or why it is not known.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Known {
    Version(String),
    Error(String),
}

pub(super) async fn execute(args: &Args, client_only: bool) -> Result<Exit, Failure> {
    let mut versions = Versions { client: client(), kubernetes: None, openmetadata: None };
    if !client_only {
        let (kubernetes, openmetadata) = tokio::join!(kubernetes(args), openmetadata(args));
        (versions.kubernetes, versions.openmetadata) = (Some(kubernetes), Some(openmetadata));
    }
    output::show(args.output, &versions, describe)?;
    Ok(Exit::Success)
}

fn client() -> Client {
    let target = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    Client { version: env!("CARGO_PKG_VERSION"), commit: env!("OMPIPE_COMMIT"), target }
}

async fn kubernetes(args: &Args) -> Known {
    let asked = async {
        let client = inputs::client_quietly(args).await?;
        Ok::<_, Failure>(client.kubernetes_version().await?)
    };
    known(timeout(PATIENCE, asked).await)
}

/// The version of the configured server, which it tells everybody.
async fn openmetadata(args: &Args) -> Known {
    let asked = async {
        let config = inputs::config_quietly(args)?;
        let known = config.caller_endpoint.as_ref().or(config.metadata_api_endpoint.as_ref());
        let Some(endpoint) = known else {
            return Err(Failure::usage("metadataApiEndpoint is not configured"));
        };
        let connection = ompipe_core::ServerConnection::new(endpoint, "", config.verify_ssl);
        OpenMetadata::version_of(&connection).await.map_err(Failure::server)
    };
    known(timeout(PATIENCE, asked).await)
}

fn known(answer: Result<Result<String, Failure>, tokio::time::error::Elapsed>) -> Known {
    match answer {
        Ok(Ok(version)) => Known::Version(version),
        Ok(Err(failure)) => Known::Error(failure.to_string()),
        Err(_) => Known::Error("no answer in time".to_owned()),
    }
}

fn describe(versions: &Versions) -> String {
    let Versions { client, kubernetes, openmetadata } = versions;
    let line = |name: &str, known: &Known| match known {
        Known::Version(version) => format!("\n{name:<13} {version}"),
        Known::Error(error) => format!("\n{name:<13} unknown ({error})"),
    };
    format!(
        "{:<13} {} (commit {}, {}){}{}",
        "ompipe",
        client.version,
        client.commit,
        client.target,
        kubernetes.as_ref().map(|known| line("Kubernetes", known)).unwrap_or_default(),
        openmetadata.as_ref().map(|known| line("OpenMetadata", known)).unwrap_or_default()
    )
}
