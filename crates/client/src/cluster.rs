//! The way to the Kubernetes API.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};
use ompipe_core::config::ClusterAccess;
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::util::MapErrLayer;
use tower::{BoxError, ServiceBuilder};

use crate::access::{ClusterConfig, Place};
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
        let read = ClusterConfig::read(access).await;
        let ClusterConfig { mut config, place } =
            read.map_err(|error| Error::NoCluster(error.to_string()))?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let streams = client(config.clone(), &place)?;
        config.read_timeout = Some(ANSWER_TIMEOUT);
        config.reset_reader_on_write = true;
        Ok(Self { calls: client(config, &place)?, streams })
    }
}

fn client(mut config: Config, place: &Place) -> Result<Client> {
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config);
    let builder = builder.map_err(|error| Error::NoCluster(place.describe(&error)))?;
    // A retry needs a service that can be cloned, which kube's becomes behind a buffer.
    let repeats = Repeats::new().map_err(|error| Error::NoCluster(error.to_string()))?;
    let place = place.clone();
    let layers = ServiceBuilder::new()
        .layer(MapErrLayer::new(move |error: BoxError| place.wrap(&error)))
        .layer(RetryLayer::new(repeats))
        .layer(BufferLayer::new(CALLS_AT_ONCE));
    Ok(builder.with_layer(&layers).build())
}
