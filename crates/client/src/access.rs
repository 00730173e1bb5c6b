//! How the Kubernetes API is found: the kubeconfig, its context, the proxy, and what is said when
//! that fails. Nothing that a kubeconfig says of its users is ever repeated: it has credentials.

use std::fmt;
use std::path::PathBuf;

use kube::Config;
use kube::client::AuthError;
use kube::config::{ExecConfig, KubeConfigOptions, Kubeconfig, KubeconfigError};
use ompipe_core::config::ClusterAccess;
use ompipe_core::proxy::{Proxies, is_loopback};
use secrecy::ExposeSecret;
use tower::BoxError;

/// Why the way to the cluster is not configured right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AccessError(String);

/// What is known of the cluster before it is called.
#[derive(Clone)]
pub struct ClusterConfig {
    /// The configuration of a client.
    pub config: Config,
    /// Where it leads, for messages.
    pub place: Place,
}

/// Where calls go: names for messages, without credentials.
#[derive(Clone, Debug)]
pub struct Place {
    server: String,
    context: Option<String>,
    proxy: Option<String>,
    plugin: Option<Plugin>,
}

/// The program that gives a user of the kubeconfig credentials.
#[derive(Clone, Debug)]
struct Plugin {
    command: String,
    install_hint: Option<String>,
}

impl ClusterConfig {
    /// Reads the kubeconfig, or the service account of this pod.
    ///
    /// # Errors
    /// When there is neither, or the one that is there cannot be used.
    pub async fn read(access: &ClusterAccess) -> Result<Self, AccessError> {
        let (access, context) = match access {
            ClusterAccess::Context(access, context) => (&**access, Some(context)),
            access => (access, None),
        };
        let mut kubeconfig = match access {
            ClusterAccess::InCluster => return in_cluster(),
            ClusterAccess::Context(..) => {
                return Err(AccessError("there is a context of a context".to_owned()));
            }
            ClusterAccess::File(path) => Kubeconfig::read_from(path).map_err(|e| unusable(&e))?,
            // The parser's message may repeat a line of the kubeconfig.
            ClusterAccess::Inline(content) => Kubeconfig::from_yaml(content.expose_secret())
                .map_err(|_| AccessError("kubeConfigContent is not a kubeconfig".to_owned()))?,
            ClusterAccess::Inferred => match inferred()? {
                Some(kubeconfig) => kubeconfig,
                None if context.is_some() => {
                    return Err(AccessError(
                        "there is no kubeconfig to take a context of".to_owned(),
                    ));
                }
                None => return in_cluster(),
            },
        };
        if let Some(context) = context {
            choose(&mut kubeconfig, context)?;
        }
        Self::of_kubeconfig(kubeconfig).await
    }

    async fn of_kubeconfig(kubeconfig: Kubeconfig) -> Result<Self, AccessError> {
        let context = kubeconfig.current_context.clone();
        let own_proxy = proxy_of(&kubeconfig);
        let read = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = read.map_err(|error| unusable(&error))?;
        let server = config.cluster_url.to_string();
        let proxy = match own_proxy {
            Some(_) => config.proxy_url.clone(),
            None => proxy_of_environment(&server)?,
        };
        let shown = proxy.as_ref().and_then(|uri| {
            let authority = uri.authority()?.as_str().rsplit('@').next()?;
            Some(format!("{}://{authority}", uri.scheme_str().unwrap_or("http")))
        });
        config.proxy_url = proxy;
        let plugin = config.auth_info.exec.as_ref().map(Plugin::of);
        let server = server.trim_end_matches('/').to_owned();
        Ok(Self { config, place: Place { server, context, proxy: shown, plugin } })
    }
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConfig").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Makes a context the current one.
fn choose(kubeconfig: &mut Kubeconfig, context: &str) -> Result<(), AccessError> {
    let names = || kubeconfig.contexts.iter().map(|known| known.name.as_str());
    if !names().any(|name| name == context) {
        let known = names().collect::<Vec<_>>().join(", ");
        return Err(AccessError(format!(
            "the kubeconfig has no context {context:?}; it has {known}"
        )));
    }
    kubeconfig.current_context = Some(context.to_owned());
    Ok(())
}

/// The contexts of the kubeconfig that a client would use.
#[must_use]
pub fn contexts(access: &ClusterAccess) -> Vec<String> {
    let kubeconfig = match access {
        ClusterAccess::File(path) => Kubeconfig::read_from(path).ok(),
        ClusterAccess::Context(access, _) => return contexts(access),
        _ => inferred().ok().flatten(),
    };
    let contexts = kubeconfig.map(|found| found.contexts).unwrap_or_default();
    contexts.into_iter().map(|context| context.name).collect()
}

/// kubectl never uses a proxy of the environment for this machine.
fn proxy_of_environment(server: &str) -> Result<Option<http::Uri>, AccessError> {
    let proxies = Proxies::read(|name| std::env::var(name).ok());
    let proxy = proxies.of_url(server).filter(|_| !is_loopback(server));
    let parse = |proxy: &ompipe_core::proxy::Proxy| {
        let refused = |_| AccessError(format!("the proxy {proxy} of HTTPS_PROXY is not a URL"));
        proxy.url_with_credentials().parse().map_err(refused)
    };
    proxy.map(parse).transpose()
}

/// The proxy that the kubeconfig itself names for the current context's cluster.
fn proxy_of(kubeconfig: &Kubeconfig) -> Option<String> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == *current)?;
    let name = &context.context.as_ref()?.cluster;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == *name)?;
    cluster.cluster.as_ref()?.proxy_url.clone().filter(|url| !url.is_empty())
}

fn in_cluster() -> Result<ClusterConfig, AccessError> {
    let config = Config::incluster().map_err(|error| {
        AccessError(format!(
            "there is no kubeconfig, and this is no pod with a service account ({error})"
        ))
    })?;
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    Ok(ClusterConfig { config, place: Place { server, context: None, proxy: None, plugin: None } })
}

/// The kubeconfig files that are there, merged: those of `KUBECONFIG`, else `~/.kube/config`. As with
/// kubectl, a file that is missing is passed over.
fn inferred() -> Result<Option<Kubeconfig>, AccessError> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> =
        std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    let of_home = || std::env::home_dir().map(|home| home.join(".kube/config"));
    let paths = if listed.is_empty() { of_home().into_iter().collect() } else { listed.clone() };
    let found: Vec<&PathBuf> = paths.iter().filter(|path| path.exists()).collect();
    if found.is_empty() && !listed.is_empty() && Config::incluster().is_err() {
        let names: Vec<String> = listed.iter().map(|path| path.display().to_string()).collect();
        return Err(AccessError(format!(
            "KUBECONFIG names no file that exists: {}",
            names.join(", ")
        )));
    }
    let read = |merged: Option<Kubeconfig>, path: &&PathBuf| {
        let next = Kubeconfig::read_from(path)?;
        merged.map_or(Ok(next.clone()), |merged| merged.merge(next)).map(Some)
    };
    found.iter().try_fold(None, read).map_err(|error| unusable(&error))
}

fn unusable(error: &KubeconfigError) -> AccessError {
    AccessError(match error {
        KubeconfigError::Parse(_) => "its text is not that of a kubeconfig".to_owned(),
        KubeconfigError::LoadContext(name) => {
            format!("the kubeconfig has no context {name:?}, which its current-context names")
        }
        KubeconfigError::LoadClusterOfContext(name) => {
            format!("the kubeconfig has no cluster {name:?}, which its current context names")
        }
        KubeconfigError::CurrentContextNotSet => {
            "the kubeconfig has no current-context: kubectl config use-context sets one".to_owned()
        }
        KubeconfigError::ParseProxyUrl(_) => {
            "the proxy of the kubeconfig or of HTTPS_PROXY is not a URL".to_owned()
        }
        error => error.to_string(),
    })
}

impl Plugin {
    fn of(exec: &ExecConfig) -> Self {
        let command = exec.command.clone().unwrap_or_default();
        let hint = exec.install_hint.as_ref().map(|hint| hint.trim().to_owned());
        Self { command, install_hint: hint.filter(|hint| !hint.is_empty()) }
    }
}

impl Place {
    /// An error of a client of this place in one line, without what a kubeconfig says of its user.
    #[must_use]
    pub fn describe(&self, error: &(dyn std::error::Error + 'static)) -> String {
        match auth_error(error) {
            Some(error) => self.describe_auth(error),
            None => format!("{} ({self})", innermost(error)),
        }
    }

    /// The same as an error that ends a call.
    #[must_use]
    pub fn wrap(&self, error: &BoxError) -> BoxError {
        self.describe(error.as_ref()).into()
    }

    fn describe_auth(&self, error: &AuthError) -> String {
        let command = self.plugin.as_ref().map_or("", |plugin| plugin.command.as_str());
        let what = match error {
            AuthError::AuthExecStart(error) => format!("cannot be started: {error}"),
            AuthError::AuthExecRun { out, .. } => match out.status.code() {
                Some(code) => format!("ended with exit code {code}"),
                None => "was ended by a signal".to_owned(),
            },
            AuthError::AuthExecParse(_) => "printed no ExecCredential".to_owned(),
            AuthError::ExecPluginFailed => "printed an ExecCredential without a status".to_owned(),
            AuthError::MissingCommand => "has no command".to_owned(),
            AuthError::AuthExec(_) => "failed".to_owned(),
            error => return format!("the user of the kubeconfig cannot be used: {error} ({self})"),
        };
        let hint = self.plugin.as_ref().and_then(|plugin| plugin.install_hint.as_deref());
        let hint = hint.map_or_else(String::new, |hint| format!(". {hint}"));
        format!("the credential plugin {command:?} of the kubeconfig {what} ({self}){hint}")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server)?;
        if let Some(context) = &self.context {
            write!(f, ", context {context:?}")?;
        }
        self.proxy.as_ref().map_or(Ok(()), |proxy| write!(f, ", through the proxy {proxy}"))
    }
}

fn auth_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e AuthError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<AuthError>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The last cause says most: `Connection refused`, `certificate has expired`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use kube::client::ClientBuilder;

    use super::*;

    fn kubeconfig(user: &str) -> ClusterAccess {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: k\n\
             clusters: [{{ name: c, cluster: {{ server: 'https://127.0.0.1:9' }} }}]\n\
             contexts: [{{ name: k, context: {{ cluster: c, user: u }} }}]\n\
             users: [{{ name: u, user: {user} }}]\n"
        );
        ClusterAccess::Inline(text.into())
    }

    async fn failure(user: &str) -> String {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let found = ClusterConfig::read(&kubeconfig(user)).await.unwrap();
        let error = ClientBuilder::try_from(found.config).err().unwrap();
        found.place.describe(&error)
    }

    #[tokio::test]
    async fn a_plugin_that_fails_is_named_without_its_arguments() {
        let user = "{ exec: { apiVersion: client.authentication.k8s.io/v1, command: 'false', \
            args: ['--secret=hunter2'], env: [{ name: S, value: hunter3 }], \
            installHint: install the thing, interactiveMode: Never } }";
        let told = failure(user).await;
        assert_eq!(
            told,
            "the credential plugin \"false\" of the kubeconfig ended with exit code 1 \
             (https://127.0.0.1:9, context \"k\"). install the thing"
        );
    }

    #[tokio::test]
    async fn a_plugin_that_is_not_there_is_named_with_its_hint() {
        let user = "{ exec: { apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin, \
            args: ['--secret=hunter2'], installHint: install the thing, interactiveMode: Never } }";
        let told = failure(user).await;
        assert!(
            told.contains("\"no-such-plugin\"") && told.ends_with("install the thing"),
            "{told}"
        );
        assert!(told.contains("cannot be started") && !told.contains("hunter2"), "{told}");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_kubeconfig_is_one_sentence() {
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: gone\n";
        let access = ClusterAccess::Inline(text.into());
        let told = ClusterConfig::read(&access).await.unwrap_err().to_string();
        assert_eq!(told, "the kubeconfig has no context \"gone\", which its current-context names");
    }

    #[tokio::test]
    async fn a_context_is_the_one_that_was_asked_for() {
        let of = |name: &str| {
            ClusterAccess::Context(Box::new(kubeconfig("{ token: t }")), name.to_owned())
        };
        let found = ClusterConfig::read(&of("k")).await.unwrap();
        assert_eq!(found.place.to_string(), "https://127.0.0.1:9, context \"k\"");
        let told = ClusterConfig::read(&of("prod")).await.unwrap_err().to_string();
        assert_eq!(told, "the kubeconfig has no context \"prod\"; it has k");
    }

    #[tokio::test]
    async fn a_call_that_fails_names_server_and_context() {
        let found = ClusterConfig::read(&kubeconfig("{ token: hunter2 }")).await.unwrap();
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let told = found.place.describe(&refused);
        assert_eq!(told, "connection refused (https://127.0.0.1:9, context \"k\")");
        assert!(!format!("{found:?}").contains("hunter2"));
    }
}
