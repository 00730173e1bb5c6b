//! Which version the service returns to OpenMetadata: the server's own, as it demands
//! (docs/contracts/openmetadata-http.md#version-check).
//!
//! Configured, or asked of the server and kept; where that does not answer, the ingestion image's tag
//! stands in, whose version has to be the server's anyway.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ompipe_core::config::{CertificateAuthority, K8sPipelineClientConfig};
use ompipe_core::kubernetes::Image;
use ompipe_core::{ServerConnection, version};
use ompipe_openmetadata::OpenMetadata;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::settings::ServerVersion;

/// How long an answer counts. Servers are upgraded while we run.
const FRESH: Duration = Duration::from_mins(1);
/// Time for the server's answer: it is waiting for ours meanwhile, and gives up after 5 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the version comes from.
pub(crate) struct VersionSource {
    configured: Option<ServerVersion>,
    /// The configured server, without a token.
    server: Option<ServerConnection>,
    /// The ingestion image, whose tag is a version as a rule.
    image: Image,
    known: Mutex<Known>,
    /// Held while the server is asked, so that one request does so at a time.
    asking: AsyncMutex<()>,
    metrics: Metrics,
}

#[derive(Default)]
struct Known {
    version: Option<ServerVersion>,
    asked: Option<Instant>,
}

impl VersionSource {
    pub(crate) fn new(
        configured: Option<ServerVersion>,
        config: &K8sPipelineClientConfig,
        metrics: Metrics,
    ) -> Self {
        let endpoint = config.metadata_api_endpoint.as_ref();
        let server = endpoint.map(|endpoint| {
            let server = ServerConnection::new(endpoint, "", config.verify_ssl);
            match &config.certificate_authority {
                Some(CertificateAuthority::Pem(pem)) => server.trusting(pem),
                Some(CertificateAuthority::File(_)) | None => server,
            }
        });
        let source = Self {
            configured,
            server,
            image: config.ingestion_image.clone(),
            known: Mutex::default(),
            asking: AsyncMutex::default(),
            metrics,
        };
        if let Some(version) = &source.configured {
            source.compare_with_image(version);
        }
        source
    }

    /// The version to tell.
    ///
    /// # Errors
    /// A sentence, when nothing says which it is.
    pub(crate) async fn get(&self) -> Result<ServerVersion, String> {
        if let Some(version) = &self.configured {
            return Ok(version.clone());
        }
        if self.is_due() {
            self.ask().await;
        }
        let asked = self.known().version.clone();
        asked.or_else(|| self.image_tag()).ok_or_else(|| {
            "the version of the OpenMetadata server is not known: it does not tell it, and the tag \
             of ingestionImage is none; set server.openMetadataVersion"
                .to_owned()
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self) -> bool {
        self.known().asked.is_none_or(|asked| asked.elapsed() >= FRESH)
    }

    /// Asks the server. Whoever comes meanwhile takes what is known, if anything is.
    async fn ask(&self) {
        let Some(server) = &self.server else { return };
        let _asking = match self.asking.try_lock() {
            Ok(asking) => asking,
            Err(_) if self.known().version.is_some() => return,
            Err(_) => self.asking.lock().await,
        };
        if !self.is_due() {
            return;
        }
        let answer = timeout(ANSWER_TIMEOUT, OpenMetadata::version_of(server)).await;
        self.known().asked = Some(Instant::now());
        match answer {
            Ok(Ok(text)) => self.take(&text),
            Ok(Err(error)) => warn!(%error, "the OpenMetadata server gave no version"),
            Err(_) => warn!("the OpenMetadata server gave no version in time"),
        }
    }

    fn take(&self, text: &str) {
        let Ok(version) = text.parse::<ServerVersion>() else {
            warn!(text, "the OpenMetadata server's version has no three numbers");
            return;
        };
        if self.known().version.as_ref() != Some(&version) {
            info!(%version, "read the version of the OpenMetadata server");
            self.compare_with_image(&version);
        }
        self.known().version = Some(version);
    }

    fn image_tag(&self) -> Option<ServerVersion> {
        self.image.tag()?.parse().ok()
    }

    /// Whether the ingestion image works with a server: the framework refuses to with one of another
    /// release line. `None` when the image's tag is no version.
    pub(crate) fn fits(&self, server: &ServerVersion) -> Option<bool> {
        version::are_compatible(self.image_tag()?.as_str(), server.as_str()).ok()
    }

    fn compare_with_image(&self, server: &ServerVersion) {
        let Some(fit) = self.fits(server) else { return };
        self.metrics.version_skew(!fit);
        if !fit {
            let image = &self.image;
            warn!(%server, %image, "ingestionImage is of another release line than the server");
        }
    }
}

impl fmt::Debug for VersionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionSource")
            .field("configured", &self.configured)
            .finish_non_exhaustive()
    }
}
