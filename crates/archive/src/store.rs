//! Clients of the stores: which settings they take, and how long they try.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ObjectStore, Result, RetryConfig};
use tokio::time::Duration;
use url::Url;

/// Kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// S3, and what speaks it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// A directory.
    Files,
}

impl Kind {
    /// The kind of store that a URL is of.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        match url.scheme() {
            "s3" => Some(Self::S3),
            "gs" => Some(Self::Gcs),
            "az" => Some(Self::Azure),
            "file" => Some(Self::Files),
            _ => None,
        }
    }

    /// How the variables begin that its client reads.
    pub(crate) const fn variables(self) -> Option<&'static str> {
        match self {
            Self::S3 => Some("AWS_"),
            Self::Gcs => Some("GOOGLE_"),
            Self::Azure => Some("AZURE_"),
            Self::Files => None,
        }
    }

    /// The settings that say who asks, for people.
    pub(crate) const fn credentials(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role",
            Self::Gcs => "GOOGLE_SERVICE_ACCOUNT or GOOGLE_SERVICE_ACCOUNT_KEY",
            Self::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
            Self::Files => "the permissions of the directory",
        }
    }

    /// The client of a store, with the variables that it reads.
    pub(crate) fn client(
        self,
        url: &Url,
        variables: &[(String, String)],
    ) -> Result<Arc<dyn ObjectStore>> {
        /// Variables that a client does not know are of other programs.
        macro_rules! configured {
            ($builder:ty) => {
                variables.iter().fold(
                    <$builder>::new().with_url(url.as_str()).with_retry(retries()),
                    |builder, (name, value)| match name.to_ascii_lowercase().parse() {
                        Ok(key) => builder.with_config(key, value),
                        Err(_) => builder,
                    },
                )
            };
        }
        Ok(match self {
            Self::S3 => Arc::new(configured!(AmazonS3Builder).build()?),
            Self::Gcs => Arc::new(configured!(GoogleCloudStorageBuilder).build()?),
            Self::Azure => Arc::new(configured!(MicrosoftAzureBuilder).build()?),
            // Directories that are empty would be listed for ever.
            Self::Files => Arc::new(LocalFileSystem::new().with_automatic_cleanup(true)),
        })
    }
}

/// A client tries again for a moment only: the operator tries for as long as it takes, and a reader goes
/// on to the pod.
fn retries() -> RetryConfig {
    let max_backoff = Duration::from_secs(2);
    RetryConfig {
        max_retries: 3,
        retry_timeout: Duration::from_secs(15),
        backoff: BackoffConfig { max_backoff, ..BackoffConfig::default() },
    }
}
