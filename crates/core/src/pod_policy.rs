//! Which pods the operator makes. Whoever may create an `OMJob` has the operator make any pod that the
//! `OMJob` describes, with the operator's rights to do so. This policy keeps such a pod from reaching
//! its node, and from running as ompipe itself.
//!
//! The rules on the pod are those of the level *baseline* of Kubernetes' Pod Security Standards.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, HTTPGetAction, Lifecycle, LifecycleHandler, Pod,
    PodSecurityContext, PodSpec, Probe, SELinuxOptions, SecurityContext, TCPSocketAction,
};

use crate::kubernetes::{Namespace, ObjectName};

/// Capabilities that a container may add.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Kernel parameters that concern the pod alone.
const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
];
/// `SELinux` types of containers.
const SELINUX_TYPES: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
/// How annotations begin that name an `AppArmor` profile, as Kubernetes had them before 1.30.
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// The account of a pod that names none.
const DEFAULT_ACCOUNT: &str = "default";

/// How much a pod may reach of its node, in the words of the Pod Security Standards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Nothing that leads out of the pod.
    #[default]
    Baseline,
    /// Everything that the cluster's own admission lets pass.
    Privileged,
}

impl std::str::FromStr for Level {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "baseline" => Ok(Self::Baseline),
            "privileged" => Ok(Self::Privileged),
            _ => Err("must be baseline or privileged"),
        }
    }
}

/// A service account, `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    namespace: Namespace,
    name: ObjectName,
}

impl std::str::FromStr for Account {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const REMEDY: &str = "must be service accounts as NAMESPACE/NAME, separated by commas";
        let (namespace, name) = text.split_once('/').ok_or(REMEDY)?;
        let namespace = namespace.parse().map_err(|_| REMEDY)?;
        Ok(Self { namespace, name: name.parse().map_err(|_| REMEDY)? })
    }
}

/// What the pods of runs may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodPolicy {
    /// What they may reach of their node.
    pub level: Level,
    /// Accounts that none of them may have: ompipe's own.
    pub reserved_accounts: BTreeSet<Account>,
    /// Names of the accounts that they may have; empty is any that is not reserved.
    pub allowed_accounts: BTreeSet<ObjectName>,
}

impl PodPolicy {
    /// What is wrong with a pod that is to be made in a namespace: each a field and what it must not
    /// be. Empty for a pod that may be made.
    #[must_use]
    pub fn violations(&self, namespace: &str, pod: &Pod) -> Vec<String> {
        let nothing = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&nothing);
        let mut found = Violations::default();
        self.check_account(&mut found, namespace, spec);
        if self.level == Level::Baseline {
            check_host(&mut found, spec);
            check_pod_context(&mut found, spec.security_context.as_ref());
            check_annotations(&mut found, pod.metadata.annotations.as_ref());
            for (list, containers) in container_lists(spec) {
                for container in containers {
                    check_container(&mut found, list, container);
                }
            }
        }
        found.0
    }

    /// A pod that has both fields has the account of the newer one; the older one alone counts too.
    fn check_account(&self, found: &mut Violations, namespace: &str, spec: &PodSpec) {
        let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        let names = [named(&spec.service_account_name), named(&spec.service_account)];
        let mut names: Vec<String> = names.into_iter().flatten().collect();
        if names.is_empty() {
            names.push(DEFAULT_ACCOUNT.to_owned());
        }
        for name in names {
            let is_reserved = self.reserved_accounts.iter().any(|account| {
                account.namespace.as_str() == namespace && account.name.as_str() == name
            });
            let is_allowed = self.allowed_accounts.is_empty()
                || self.allowed_accounts.iter().any(|allowed| allowed.as_str() == name);
            found.when(is_reserved, || format!("serviceAccountName {name} is ompipe's own"));
            found.when(!is_reserved && !is_allowed, || {
                format!("serviceAccountName {name} is not one that runs may have")
            });
        }
    }
}

#[derive(Default)]
struct Violations(Vec<String>);

impl Violations {
    fn when(&mut self, is_wrong: bool, what: impl FnOnce() -> String) {
        if is_wrong {
            self.0.push(what());
        }
    }
}

/// Containers that are in the pod from its beginning. The API server takes no ephemeral ones then.
fn container_lists(spec: &PodSpec) -> [(&'static str, &[Container]); 2] {
    [
        ("containers", &spec.containers),
        ("initContainers", spec.init_containers.as_deref().unwrap_or_default()),
    ]
}

fn check_host(found: &mut Violations, spec: &PodSpec) {
    let shared = [
        ("hostNetwork", spec.host_network),
        ("hostPID", spec.host_pid),
        ("hostIPC", spec.host_ipc),
    ];
    for (field, value) in shared {
        found.when(value == Some(true), || format!("{field} must not be true"));
    }
    for volume in spec.volumes.iter().flatten() {
        found.when(volume.host_path.is_some(), || {
            format!("volumes[{}].hostPath must not be set", volume.name)
        });
    }
    let ephemeral = spec.ephemeral_containers.iter().flatten().next();
    found.when(ephemeral.is_some(), || "ephemeralContainers must not be set".to_owned());
}

fn check_pod_context(found: &mut Violations, context: Option<&PodSecurityContext>) {
    const AT: &str = "securityContext";
    let Some(context) = context else {
        return;
    };
    let windows = context.windows_options.as_ref().and_then(|windows| windows.host_process);
    found.when(windows == Some(true), || {
        format!("{AT}.windowsOptions.hostProcess must not be true")
    });
    let seccomp = context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str());
    check_profile(found, AT, "seccompProfile", seccomp);
    let apparmor = context.app_armor_profile.as_ref().map(|profile| profile.type_.as_str());
    check_profile(found, AT, "appArmorProfile", apparmor);
    check_selinux(found, AT, context.se_linux_options.as_ref());
    for sysctl in context.sysctls.iter().flatten() {
        found.when(!SYSCTLS.contains(&sysctl.name.as_str()), || {
            format!("{AT}.sysctls {} concerns the node", sysctl.name)
        });
    }
}

fn check_annotations(found: &mut Violations, annotations: Option<&BTreeMap<String, String>>) {
    for (key, value) in annotations.into_iter().flatten() {
        let is_fit = value == "runtime/default" || value.starts_with("localhost/");
        found.when(key.starts_with(APPARMOR) && !is_fit, || {
            format!("the annotation {key} must be runtime/default or localhost/…")
        });
    }
}

fn check_container(found: &mut Violations, list: &str, container: &Container) {
    let at = format!("{list}[{}]", container.name);
    if let Some(context) = &container.security_context {
        check_container_context(found, &format!("{at}.securityContext"), context);
    }
    let on_host = |port: &ContainerPort| port.host_port.is_some_and(|port| port != 0);
    let has_host_port = container.ports.iter().flatten().any(on_host);
    found.when(has_host_port, || format!("{at}.ports.hostPort must not be set"));
    let calls_elsewhere = handlers(container).any(|(http, tcp)| {
        let hosts =
            [http.and_then(|http| http.host.as_ref()), tcp.and_then(|tcp| tcp.host.as_ref())];
        hosts.into_iter().flatten().any(|host| !host.is_empty())
    });
    found.when(calls_elsewhere, || format!("{at}: probes and hooks must name no host"));
}

type Called<'c> = (Option<&'c HTTPGetAction>, Option<&'c TCPSocketAction>);

/// What the kubelet calls for a container, from the node's network.
fn handlers(container: &Container) -> impl Iterator<Item = Called<'_>> {
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    let hooks = container.lifecycle.iter().flat_map(hooks_of).flatten();
    probes.into_iter().flatten().map(of_probe).chain(hooks.map(of_hook))
}

fn hooks_of(lifecycle: &Lifecycle) -> [Option<&LifecycleHandler>; 2] {
    [lifecycle.post_start.as_ref(), lifecycle.pre_stop.as_ref()]
}

fn of_probe(probe: &Probe) -> Called<'_> {
    (probe.http_get.as_ref(), probe.tcp_socket.as_ref())
}

fn of_hook(hook: &LifecycleHandler) -> Called<'_> {
    (hook.http_get.as_ref(), hook.tcp_socket.as_ref())
}

fn check_container_context(found: &mut Violations, at: &str, context: &SecurityContext) {
    found.when(context.privileged == Some(true), || format!("{at}.privileged must not be true"));
    let windows = context.windows_options.as_ref().and_then(|windows| windows.host_process);
    found.when(windows == Some(true), || {
        format!("{at}.windowsOptions.hostProcess must not be true")
    });
    let added =
        context.capabilities.iter().flat_map(|capabilities: &Capabilities| &capabilities.add);
    for capability in added.flatten() {
        found.when(!CAPABILITIES.contains(&capability.as_str()), || {
            format!("{at}.capabilities.add must not have {capability}")
        });
    }
    let proc_mount = context.proc_mount.as_deref();
    found.when(proc_mount.is_some_and(|mount| mount != "Default"), || {
        format!("{at}.procMount must be Default")
    });
    let seccomp = context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str());
    check_profile(found, at, "seccompProfile", seccomp);
    let apparmor = context.app_armor_profile.as_ref().map(|profile| profile.type_.as_str());
    check_profile(found, at, "appArmorProfile", apparmor);
    check_selinux(found, at, context.se_linux_options.as_ref());
}

fn check_profile(found: &mut Violations, at: &str, field: &str, kind: Option<&str>) {
    found.when(kind == Some("Unconfined"), || format!("{at}.{field} must not be Unconfined"));
}

fn check_selinux(found: &mut Violations, at: &str, options: Option<&SELinuxOptions>) {
    let Some(options) = options else {
        return;
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let is_fit = SELINUX_TYPES.contains(&text(&options.type_).as_str())
        && text(&options.user).is_empty()
        && text(&options.role).is_empty();
    found.when(!is_fit, || {
        format!("{at}.seLinuxOptions must have a container's type, and neither user nor role")
    });
}

#[cfg(test)]
mod tests;
