//! The secrets of a run, to mask them in its log.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use ompipe_core::Workload;
use ompipe_core::log_mask::LogMask;
use ompipe_core::report::{Recipient, TOKEN_ENV};
use ompipe_core::run::{ConfigSource, attempts};
use secrecy::SecretString;
use tracing::debug;

use super::K8sPipelineClient;
use crate::error::Result;

impl K8sPipelineClient {
    /// Masks the secrets of a run's config. If the config cannot be read, or the run's object is not known
    /// yet, it masks values that look like secrets.
    pub(super) async fn mask_of(&self, workload: Option<&Workload>, pods: &[Pod]) -> LogMask {
        if !self.masks_logs {
            return LogMask::off();
        }
        let attempts = workload.into_iter().flat_map(|workload| attempts(workload, pods)).rev();
        let mut sources = attempts.filter_map(|pod| ConfigSource::of(pod.spec.as_ref()?));
        let Some(source) = sources.next() else { return LogMask::new(None) };
        let secrets = self.recipient_in(source).await;
        let secrets =
            secrets.inspect_err(|error| debug!(%error, "the secrets of a run are not known"));
        LogMask::new(secrets.ok().flatten().map(Arc::new))
    }

    async fn recipient_in(&self, source: ConfigSource) -> Result<Option<Recipient>> {
        let text = match source {
            ConfigSource::Literal(text) => Some(text),
            ConfigSource::Secret { name, key } => {
                return self.recipient_in_secret(&name, &key).await;
            }
            ConfigSource::ConfigMap { name, key } => {
                let map: Option<ConfigMap> = self.get(&name).await?;
                map.and_then(|map| map.data?.remove(&key))
            }
        };
        Ok(text.and_then(|text| Recipient::read(&text).ok()))
    }

    /// A Secret of ours may also have a token, where the worker's is in a secrets manager.
    async fn recipient_in_secret(&self, name: &str, key: &str) -> Result<Option<Recipient>> {
        let secret: Option<Secret> = self.get(name).await?;
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        let value = |key: &str| str::from_utf8(&data.get(key)?.0).ok();
        let token = value(TOKEN_ENV).map(SecretString::from);
        Ok(value(key).and_then(|text| Recipient::read_with(text, token.as_ref()).ok()))
    }
}
