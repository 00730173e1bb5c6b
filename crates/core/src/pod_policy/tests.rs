use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn policy() -> PodPolicy {
    PodPolicy {
        reserved_accounts: ["om/ompipe-operator", "om/ompipe-server"]
            .iter()
            .map(|account| account.parse().unwrap())
            .collect(),
        ..PodPolicy::default()
    }
}

/// A pod with a worker, and these fields over its specification.
fn pod(fields: &Value) -> Pod {
    let mut spec = json!({ "containers": [{ "name": "main", "image": "i" }] });
    for (key, value) in fields.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec })).unwrap()
}

/// A pod with this in a container of a list.
fn in_container(list: &str, fields: &Value) -> Pod {
    let mut container = json!({ "name": "c", "image": "i" });
    for (key, value) in fields.as_object().unwrap() {
        container[key] = value.clone();
    }
    let mut spec = json!({ "containers": [{ "name": "main", "image": "i" }] });
    match list {
        "containers" => spec["containers"].as_array_mut().unwrap().push(container),
        other => spec[other] = json!([container]),
    }
    serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec })).unwrap()
}

#[rstest]
#[case::network(json!({ "hostNetwork": true }), "hostNetwork")]
#[case::processes(json!({ "hostPID": true }), "hostPID")]
#[case::memory(json!({ "hostIPC": true }), "hostIPC")]
#[case::disk(json!({ "volumes": [{ "name": "h", "hostPath": { "path": "/" } }] }), "hostPath")]
#[case::one_of_several(
    json!({ "volumes": [{ "name": "e", "emptyDir": {} }, { "name": "h", "hostPath": { "path": "/" } }] }),
    "volumes[h].hostPath"
)]
#[case::windows(json!({ "securityContext": { "windowsOptions": { "hostProcess": true } } }), "hostProcess")]
#[case::seccomp(json!({ "securityContext": { "seccompProfile": { "type": "Unconfined" } } }), "seccompProfile")]
#[case::apparmor(json!({ "securityContext": { "appArmorProfile": { "type": "Unconfined" } } }), "appArmorProfile")]
#[case::selinux(json!({ "securityContext": { "seLinuxOptions": { "type": "spc_t" } } }), "seLinuxOptions")]
#[case::kernel(json!({ "securityContext": { "sysctls": [{ "name": "kernel.msgmax", "value": "1" }] } }), "kernel.msgmax")]
#[case::ephemeral(json!({ "ephemeralContainers": [{ "name": "e", "image": "i" }] }), "ephemeralContainers")]
#[case::operator(json!({ "serviceAccountName": "ompipe-operator" }), "ompipe's own")]
#[case::server(json!({ "serviceAccountName": "ompipe-server" }), "ompipe's own")]
#[case::by_the_older_field(json!({ "serviceAccount": "ompipe-operator" }), "ompipe's own")]
#[case::behind_another(
    json!({ "serviceAccountName": "runs", "serviceAccount": "ompipe-operator" }),
    "ompipe's own"
)]
#[case::with_a_projected_token(
    json!({ "serviceAccountName": "ompipe-operator", "automountServiceAccountToken": false,
        "volumes": [{ "name": "t", "projected": { "sources": [
            { "serviceAccountToken": { "path": "token" } } ] } }] }),
    "ompipe's own"
)]
fn a_pod_that_reaches_its_node_or_is_ompipe_is_not_made(
    #[case] fields: Value,
    #[case] expected: &str,
) {
    let found = policy().violations("om", &pod(&fields));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(expected), "{found:?}");
}

#[rstest]
#[case::privileged(json!({ "securityContext": { "privileged": true } }))]
#[case::capability(json!({ "securityContext": { "capabilities": { "add": ["SYS_ADMIN"] } } }))]
#[case::all_capabilities(json!({ "securityContext": { "capabilities": { "add": ["ALL"] } } }))]
#[case::second_capability(
    json!({ "securityContext": { "capabilities": { "add": ["CHOWN", "NET_RAW"] } } })
)]
#[case::proc(json!({ "securityContext": { "procMount": "Unmasked" } }))]
#[case::seccomp(json!({ "securityContext": { "seccompProfile": { "type": "Unconfined" } } }))]
#[case::apparmor(json!({ "securityContext": { "appArmorProfile": { "type": "Unconfined" } } }))]
#[case::selinux(json!({ "securityContext": { "seLinuxOptions": { "user": "system_u" } } }))]
#[case::windows(json!({ "securityContext": { "windowsOptions": { "hostProcess": true } } }))]
#[case::host_port(json!({ "ports": [{ "containerPort": 80, "hostPort": 80 }] }))]
#[case::probe(json!({ "livenessProbe": { "httpGet": { "host": "169.254.169.254", "port": 80 } } }))]
#[case::hook(json!({ "lifecycle": { "postStart": { "tcpSocket": { "host": "10.0.0.1", "port": 1 } } } }))]
fn every_list_of_containers_is_looked_at(
    #[case] fields: Value,
    #[values("containers", "initContainers")] list: &str,
) {
    let found = policy().violations("om", &in_container(list, &fields));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("{list}[c]")), "{found:?}");
}

#[test]
fn a_profile_in_an_annotation_counts_too() {
    let mut pod = pod(&json!({}));
    let key = format!("{APPARMOR}main");
    pod.metadata.annotations = Some([(key.clone(), "unconfined".to_owned())].into());
    assert_eq!(policy().violations("om", &pod).len(), 1);
    pod.metadata.annotations = Some([(key, "runtime/default".to_owned())].into());
    assert_eq!(policy().violations("om", &pod), Vec::<String>::new());
}

#[rstest]
#[case::plain(json!({}))]
#[case::restricted(json!({ "securityContext": {
    "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" },
    "sysctls": [{ "name": "net.ipv4.tcp_syncookies", "value": "1" }],
    "seLinuxOptions": { "type": "container_t", "level": "s0:c1" },
}}))]
#[case::own_account(json!({ "serviceAccountName": "runs", "hostNetwork": false }))]
#[case::own_token(json!({ "volumes": [{ "name": "t", "projected": { "sources": [
    { "serviceAccountToken": { "path": "token", "audience": "vault" } } ] } }] }))]
fn ordinary_pods_are_made(#[case] fields: Value) {
    assert_eq!(policy().violations("om", &pod(&fields)), Vec::<String>::new());
}

#[test]
fn an_account_is_reserved_in_its_own_namespace_only() {
    let pod = pod(&json!({ "serviceAccountName": "ompipe-operator" }));
    assert_eq!(policy().violations("elsewhere", &pod), Vec::<String>::new());
}

#[rstest]
#[case(json!({ "serviceAccountName": "runs" }), true)]
#[case(json!({ "serviceAccountName": "admin" }), false)]
#[case(json!({ "serviceAccount": "admin" }), false)]
#[case::default_account(json!({}), false)]
fn where_accounts_are_listed_no_other_is_allowed(#[case] fields: Value, #[case] is_made: bool) {
    let allowed = PodPolicy { allowed_accounts: ["runs".parse().unwrap()].into(), ..policy() };
    assert_eq!(allowed.violations("om", &pod(&fields)).is_empty(), is_made);
}

#[test]
fn privileged_leaves_the_node_to_the_clusters_admission_and_keeps_the_accounts() {
    let policy = PodPolicy { level: Level::Privileged, ..policy() };
    assert_eq!(policy.violations("om", &pod(&json!({ "hostPID": true }))), Vec::<String>::new());
    let thief = pod(&json!({ "serviceAccountName": "ompipe-operator" }));
    assert_eq!(policy.violations("om", &thief).len(), 1);
}
