//! Where the worker of a run gets its config from.

use k8s_openapi::api::core::v1::{EnvVar, PodSpec};

use crate::config::CONFIG_FILE_ENV;
use crate::pod::MAIN_CONTAINER;
use crate::workflow::CONFIG_ENV;

/// Where the worker's config comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// The pod's specification itself, which says this.
    Literal(String),
    /// An entry of a Secret.
    Secret {
        /// Its name.
        name: String,
        /// The entry.
        key: String,
    },
    /// An entry of a `ConfigMap`.
    ConfigMap {
        /// Its name.
        name: String,
        /// The entry.
        key: String,
    },
}

impl ConfigSource {
    /// The variable `config`, or the Secret behind the file that `configFile` names.
    #[must_use]
    pub fn of(pod: &PodSpec) -> Option<Self> {
        let variables = variables(pod);
        if let Some(file) = literal(variables, CONFIG_FILE_ENV) {
            return Self::of_file(pod, &file);
        }
        let variable = variables.iter().find(|variable| variable.name == CONFIG_ENV)?;
        let Some(source) = &variable.value_from else {
            return literal(variables, CONFIG_ENV).map(Self::Literal);
        };
        let secret = source.secret_key_ref.as_ref();
        let secret = secret.map(|at| Self::Secret { name: at.name.clone(), key: at.key.clone() });
        let map = source.config_map_key_ref.as_ref();
        secret.or_else(|| {
            map.map(|at| Self::ConfigMap { name: at.name.clone(), key: at.key.clone() })
        })
    }

    fn of_file(pod: &PodSpec, file: &str) -> Option<Self> {
        let (directory, path) = file.rsplit_once('/')?;
        let main = pod.containers.iter().find(|container| container.name == MAIN_CONTAINER)?;
        let mut mounts = main.volume_mounts.iter().flatten();
        let mount = mounts.find(|mount| mount.mount_path.trim_end_matches('/') == directory)?;
        let mut volumes = pod.volumes.iter().flatten();
        let secret = volumes.find(|volume| volume.name == mount.name)?.secret.as_ref()?;
        let mut items = secret.items.iter().flatten();
        let key = items.find(|item| item.path == path).map_or(path, |item| &item.key);
        Some(Self::Secret { name: secret.secret_name.clone()?, key: key.to_owned() })
    }
}

/// The variables of the worker.
#[must_use]
pub fn variables(pod: &PodSpec) -> &[EnvVar] {
    let mut containers = pod.containers.iter();
    let main = containers.find(|container| container.name == MAIN_CONTAINER);
    main.and_then(|main| main.env.as_deref()).unwrap_or_default()
}

/// The value of a variable that the pod itself says.
#[must_use]
pub fn literal(variables: &[EnvVar], name: &str) -> Option<String> {
    let variable = variables.iter().find(|variable| variable.name == name)?;
    variable.value.as_ref().map(|value| value.replace("$$", "$"))
}
