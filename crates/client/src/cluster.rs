//! The way to the Kubernetes API.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use ompipe_core::config::ClusterAccess;
use secrecy::ExposeSecret;
use tower::ServiceBuilder;
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;

use crate::error::{Error, Result};
use crate::retry::Repeats;

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the answer to a call.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Calls that may wait for their turn; the one after waits too, outside.
const CALLS_AT_ONCE: usize = 1024;

/// Two clients of one cluster: watches and logs may be silent for long, calls may not.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// For calls that answer at once.
    pub(crate) calls: Client,
    /// For watches and logs.
    pub(crate) streams: Client,
}

impl Cluster {
    pub(crate) async fn connect(access: &ClusterAccess) -> Result<Self> {
        let mut config = read_config(access).await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let streams = client(config.clone())?;
        config.read_timeout = Some(ANSWER_TIMEOUT);
        config.reset_reader_on_write = true;
        Ok(Self { calls: client(config)?, streams })
    }
}

fn client(mut config: Config) -> Result<Client> {
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config);
    let builder = builder.map_err(|error| Error::NoCluster(error.to_string()))?;
    // A retry needs a service that can be cloned, which kube's becomes behind a buffer.
    let repeats = Repeats::new().map_err(|error| Error::NoCluster(error.to_string()))?;
    let layers = ServiceBuilder::new()
        .layer(RetryLayer::new(repeats))
        .layer(BufferLayer::new(CALLS_AT_ONCE));
    Ok(builder.with_layer(&layers).build())
}

async fn read_config(access: &ClusterAccess) -> Result<Config> {
    let unusable = |error: &dyn std::fmt::Display| Error::NoCluster(error.to_string());
    let kubeconfig = match access {
        ClusterAccess::Inferred => return Config::infer().await.map_err(|e| unusable(&e)),
        ClusterAccess::InCluster => return Config::incluster().map_err(|e| unusable(&e)),
        ClusterAccess::File(path) => Kubeconfig::read_from(path).map_err(|e| unusable(&e))?,
        // The parser's message may repeat a line of the kubeconfig, which holds credentials.
        ClusterAccess::Inline(content) => Kubeconfig::from_yaml(content.expose_secret())
            .map_err(|_| unusable(&"kubeConfigContent is not a kubeconfig"))?,
    };
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|e| unusable(&e))
}
