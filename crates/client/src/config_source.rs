//! A configuration that is kept in the cluster, as the Helm chart keeps it for `ompipe serve`.

use std::str::FromStr;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use ompipe_core::config::ClusterAccess;
use secrecy::SecretString;

use crate::cluster::Cluster;
use crate::error::{Error, KubernetesError, Result};

/// Key that the chart uses.
const KEY: &str = "config.yaml";

/// A Secret or `ConfigMap` with a configuration: `secret/NAME` or `secret/NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSource {
    is_secret: bool,
    namespace: Option<String>,
    name: String,
}

impl FromStr for ConfigSource {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        const REMEDY: &str = "must be secret/NAME or configmap/NAME, with the namespace as in \
                              secret/NAMESPACE/NAME where it is not that of the context";
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts[..] {
            [kind, name] => (kind, None, name),
            [kind, namespace, name] if !namespace.is_empty() => (kind, Some(namespace), name),
            _ => return Err(REMEDY),
        };
        if name.is_empty() || !matches!(kind, "secret" | "configmap") {
            return Err(REMEDY);
        }
        let namespace = namespace.map(str::to_owned);
        Ok(Self { is_secret: kind == "secret", namespace, name: name.to_owned() })
    }
}

impl ConfigSource {
    /// The text of the configuration, and the namespace that it is in.
    ///
    /// # Errors
    /// The cluster cannot be reached, there is no such object, or it holds no configuration.
    pub async fn read(&self, access: &ClusterAccess) -> Result<(SecretString, String)> {
        let client = Cluster::connect(access).await?.calls;
        let namespace =
            self.namespace.as_deref().unwrap_or_else(|| client.default_namespace()).to_owned();
        let kind = if self.is_secret { "Secret" } else { "ConfigMap" };
        let doing = || format!("reading {kind} {} in namespace {namespace}", self.name);
        let failed = |error| KubernetesError::new(doing(), error);
        let text = if self.is_secret {
            let found = Api::<Secret>::namespaced(client, &namespace).get(&self.name).await;
            let data = found.map_err(failed)?.data.and_then(|mut data| data.remove(KEY));
            data.and_then(|bytes| String::from_utf8(bytes.0).ok())
        } else {
            let found = Api::<ConfigMap>::namespaced(client, &namespace).get(&self.name).await;
            found.map_err(failed)?.data.and_then(|mut data| data.remove(KEY))
        };
        let text = text.ok_or_else(|| Error::NoConfig(format!("{kind} {}", self.name)))?;
        Ok((text.into(), namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_kind_and_a_name_and_maybe_a_namespace() {
        let read = |text: &str| text.parse::<ConfigSource>();
        let expected = |namespace: Option<&str>| ConfigSource {
            is_secret: true,
            namespace: namespace.map(str::to_owned),
            name: "c".to_owned(),
        };
        assert_eq!(read("secret/c"), Ok(expected(None)));
        assert_eq!(read("secret/om/c"), Ok(expected(Some("om"))));
        assert!(read("configmap/c").is_ok());
        for bad in ["", "c", "secret/", "pod/c", "secret//c", "secret/a/b/c"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
