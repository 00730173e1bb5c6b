//! The Roles: those of the documents, in the namespaces that they are for, and not more.

use std::collections::BTreeSet;

use ompipe_client::{rights_needed, rights_of_doctor};
use ompipe_core::config::Mode;
use ompipe_tests::rights::{Right, names};
use rstest::rstest;
use serde_json::{Value, json};

use crate::rendered::{Rendered, least, with};

/// The names of the rights of rules.
fn rights(rules: &Value) -> BTreeSet<String> {
    names(&Right::of_rules(rules))
}

/// The rules of a Role in a document of YAML.
fn documented(text: &str, name: &str) -> BTreeSet<String> {
    let mut objects = text.split("\n---\n").map(|text| ompipe_core::yaml::parse(text).unwrap());
    let role = objects.find(|o| o["kind"] == "Role" && o["metadata"]["name"] == name);
    rights(&role.unwrap()["rules"])
}

fn in_mode(operator: bool) -> Rendered {
    Rendered::of(&with(
        json!({ "pipelineServiceClientConfig": { "k8s": { "useOMJobOperator": operator } } }),
    ))
}

#[rstest]
#[case::job(false, Mode::Job)]
#[case::operator(true, Mode::Operator)]
fn the_server_has_what_its_operations_need(#[case] operator: bool, #[case] mode: Mode) {
    let rendered = in_mode(operator);
    let role = rendered.one("Role", "release-ompipe-server");
    let needed = rights_needed(mode).chain(rights_of_doctor());
    let needed: BTreeSet<String> = needed.map(|right| right.to_string()).collect();
    assert_eq!(rights(&role["rules"]), needed);
}

/// `e2e::operator::rights` shows that the operator uses each of them and no other.
#[test]
fn the_operator_has_what_the_documents_say() {
    let rendered = in_mode(true);
    let mut given = rights(&rendered.one("Role", "release-ompipe-operator")["rules"]);
    given.extend(rights(&rendered.one("Role", "release-ompipe-operator-lease")["rules"]));
    let documents = include_str!("../../../docs/operator-rbac.yaml");
    assert_eq!(given, documented(documents, "ompipe-operator"));
}

#[test]
fn pods_of_runs_may_only_read_and_only_what_describes_a_failure() {
    let of =
        |rendered: &Rendered| rights(&rendered.one("Role", "release-ompipe-ingestion")["rules"]);
    let documents = include_str!("../../../docs/rbac.yaml");
    assert_eq!(of(&in_mode(false)), documented(documents, "openmetadata-ingestion"));
    let least = ["get pods/log", "list events", "list pods"];
    assert_eq!(of(&in_mode(true)).iter().map(String::as_str).collect::<Vec<_>>(), least);
    let none = Rendered::of(&with(json!({ "rbac": { "ingestion": false } })));
    assert!(!none.names().iter().any(|name| name.contains("Role ns/release-ompipe-ingestion")));
}

#[test]
fn nothing_of_the_cluster_is_asked_for_unless_it_is_wanted() {
    let of_cluster = |values: &Value| -> Vec<String> {
        let names = Rendered::of(values).names().into_iter();
        names.filter(|name| name.starts_with("Cluster")).collect()
    };
    assert_eq!(of_cluster(&least()), Vec::<String>::new());
    let tokens = with(json!({ "server": { "kubernetesAuthentication": true } }));
    assert_eq!(
        of_cluster(&tokens),
        ["ClusterRole -/ns-release-ompipe-server", "ClusterRoleBinding -/ns-release-ompipe-server"]
    );
    let everywhere = with(json!({ "omjobOperator": { "watchNamespaces": ["ALL"] } }));
    assert_eq!(
        of_cluster(&everywhere),
        [
            "ClusterRole -/ns-release-ompipe-operator",
            "ClusterRoleBinding -/ns-release-ompipe-operator"
        ]
    );
}

#[test]
fn each_watched_namespace_has_a_role_and_the_lease_one_at_home() {
    let rendered = Rendered::of(&with(json!({
        "omjobOperator": { "watchNamespaces": ["team-b", "team-a"] },
        "pipelineServiceClientConfig": { "k8s": { "namespace": "team-a" } },
    })));
    let mut roles: Vec<String> =
        rendered.names().into_iter().filter(|name| name.starts_with("Role ")).collect();
    roles.sort();
    assert_eq!(
        roles,
        [
            "Role ns/release-ompipe-operator-lease",
            "Role team-a/release-ompipe-ingestion",
            "Role team-a/release-ompipe-operator",
            "Role team-a/release-ompipe-server",
            "Role team-b/release-ompipe-operator",
        ]
    );
    for binding in rendered.all("RoleBinding") {
        let subject = &binding["subjects"][0];
        let is_of_runs = subject["name"] == "release-ompipe-ingestion";
        assert_eq!(subject["namespace"], if is_of_runs { "team-a" } else { "ns" }, "{binding}");
    }
}

#[test]
fn without_rights_and_with_accounts_of_your_own() {
    let account = |name: &str| json!({ "create": false, "name": name });
    let rendered = Rendered::of(&with(json!({
        "rbac": { "create": false },
        "serviceAccount": { "server": account("s"), "operator": account("o"), "ingestion": account("i") },
    })));
    let names = rendered.names();
    assert!(
        !names.iter().any(|name| name.contains("Role") || name.contains("ServiceAccount")),
        "{names:?}"
    );
    let accounts: BTreeSet<&str> = rendered
        .pods()
        .iter()
        .map(|(_, pod)| pod["serviceAccountName"].as_str().unwrap())
        .collect();
    assert_eq!(accounts, BTreeSet::from(["o", "s"]));
    assert_eq!(rendered.parameters()["serviceAccountName"], "i");
}
