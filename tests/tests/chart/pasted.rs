//! Values of OpenMetadata's own chart, pasted as they are.

use serde_json::{Value, json};

use crate::rendered::{Rendered, with};

/// The seed's *Helm Configuration*.
const SEED: &str = "
omjobOperator:
  enabled: true
openmetadata:
  config:
    pipelineServiceClientConfig:
      type: \"k8s\"
      k8s:
        useOMJobOperator: true
        namespace: \"openmetadata-pipelines\"
        ingestionImage: \"openmetadata/ingestion-base:1.5.0\"
";

/// Every key that upstream's chart has for these (docs/contracts/upstream-operator.md#helm-chart),
/// and some that are not ours.
fn upstream() -> Value {
    ompipe_core::yaml::parse(include_str!("../../../charts/values/upstream.yaml")).unwrap()
}

#[test]
fn the_seeds_example_works_as_it_stands() {
    let rendered = Rendered::of(&with(ompipe_core::yaml::parse(SEED).unwrap()));
    let parameters = rendered.parameters();
    assert_eq!(parameters["useOMJobOperator"], true);
    assert_eq!(parameters["namespace"], "openmetadata-pipelines");
    assert_eq!(parameters["ingestionImage"], "openmetadata/ingestion-base:1.5.0");
    let watched = rendered.operator_variable("WATCH_NAMESPACES");
    assert_eq!(watched.as_deref(), Some("openmetadata-pipelines"));
    let role = |namespace: &str| {
        let names = rendered.names();
        names.contains(&format!("Role {namespace}/release-ompipe-operator"))
    };
    assert!(role("openmetadata-pipelines") && !role("ns"), "{:?}", rendered.names());
}

#[test]
fn every_key_of_upstreams_chart_is_taken() {
    let rendered = Rendered::of(&with(upstream()));
    let config = rendered.config();
    let block = &config["pipelineServiceClientConfiguration"];
    assert_eq!(block["metadataApiEndpoint"], "http://om:8585/api");
    let parameters = rendered.parameters();
    assert_eq!(parameters["runAsUser"], 1001);
    assert_eq!(parameters["serviceAccountName"], "openmetadata-ingestion");
    assert_eq!(rendered.checked().namespace.as_str(), "openmetadata-pipelines");
    rendered.one("ServiceAccount", "openmetadata-ingestion");
    assert_eq!(rendered.operator_variable("RECONCILIATION_THREADS").as_deref(), Some("5"));
}

#[test]
fn what_was_pasted_goes_over_the_rest_also_when_it_switches_off() {
    let rendered = Rendered::of(&with(json!({
        "pipelineServiceClientConfig": { "k8s": { "useOMJobOperator": true, "runAsNonRoot": true } },
        "openmetadata": { "config": { "pipelineServiceClientConfig": { "k8s": {
            "useOMJobOperator": false, "rbac": { "enabled": false },
        }}}},
    })));
    assert_eq!(rendered.parameters()["useOMJobOperator"], false);
    assert!(rendered.all("Role").is_empty(), "{:?}", rendered.names());
}

#[test]
fn upstreams_list_of_namespaces_is_a_text() {
    let watching = |text: &str| {
        let values = with(json!({ "omjobOperator": { "env": { "watchNamespaces": text } } }));
        Rendered::of(&values).operator_variable("WATCH_NAMESPACES")
    };
    assert_eq!(watching("team-b, team-a").as_deref(), Some("team-a,team-b"));
    assert_eq!(watching("ALL").as_deref(), Some("ALL"));
    // Its own.
    assert_eq!(watching(""), None);
}

/// The shape since chart 1.12: the settings of the Airflow client are below `airflow`.
#[test]
fn the_nested_shape_is_read_as_the_flat_one() {
    let settings =
        json!({ "hostIp": "10.0.0.7", "verifySsl": "validate", "ingestionIpInfoEnabled": true });
    let pasted = |block: Value| {
        let openmetadata = json!({ "config": { "pipelineServiceClientConfig": block } });
        Rendered::of(&with(json!({ "openmetadata": openmetadata }))).config()
    };
    let nested = pasted(json!({ "type": "airflow", "airflow": settings }));
    assert_eq!(nested, pasted(settings));
    let block = &nested["pipelineServiceClientConfiguration"];
    assert_eq!(block["hostIp"], "10.0.0.7");
    assert_eq!(block["verifySSL"], "validate");
    assert_eq!(block["ingestionIpInfoEnabled"], true);
}

#[test]
fn what_only_some_of_upstreams_charts_have_is_taken() {
    let rendered = Rendered::of(&with(json!({
        "openmetadata": { "config": { "pipelineServiceClientConfig": {
            "argoWorkflows": { "serviceAccountName": "argo" },
            "k8s": {
                "metadataApiEndpoint": "http://om.data:8585/api",
                "securityContext": {
                    "seccompProfile": { "type": "Localhost", "localhostProfile": "profiles/om.json" },
                },
            },
        }}},
    })));
    let block = &rendered.config()["pipelineServiceClientConfiguration"];
    assert_eq!(block["metadataApiEndpoint"], "http://om.data:8585/api");
    let parameters = rendered.parameters();
    assert_eq!(parameters["seccompProfileType"], "Localhost");
    assert_eq!(parameters["seccompLocalhostProfile"], "profiles/om.json");
    rendered.checked();
}

/// ompipe resolves variables in its configuration file; those in values are meant for the shell.
#[test]
fn variables_in_values_stay_as_they_are() {
    let variables = json!({ "extraEnvVars": ["GREETING:${HOME:-nobody}"] });
    let rendered =
        Rendered::of(&with(json!({ "pipelineServiceClientConfig": { "k8s": variables } })));
    assert_eq!(rendered.parameters()["extraEnvVars"][0], "GREETING:$${HOME:-nobody}");
}
