//! Tables over the whole configuration.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::yaml;

fn read_with(parameters: &Value, environment: &[(&str, &str)]) -> Result<Checked, Problems> {
    let document = json!({ BLOCK: { "parameters": parameters } });
    let environment =
        environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    K8sPipelineClientConfig::read(&document, &environment)
}

fn read(parameters: &Value) -> Result<Checked, Problems> {
    read_with(parameters, &[])
}

fn problems(parameters: &Value) -> Vec<String> {
    let problems = read(parameters).expect_err("must be refused");
    problems.list.iter().map(ToString::to_string).collect()
}

#[test]
fn the_defaults_are_the_seeds() {
    let config = read(&json!({})).unwrap().config;
    insta::assert_debug_snapshot!(config);
}

#[test]
fn every_default_of_the_table_is_what_reading_it_gives() {
    let table: Map<String, Value> = PARAMETERS
        .iter()
        .map(|parameter| (parameter.key.to_owned(), yaml::parse(parameter.default).unwrap()))
        .collect();
    let explicit = read(&table.into()).unwrap().config;
    assert_eq!(format!("{explicit:?}"), format!("{:?}", read(&json!({})).unwrap().config));
}

#[test]
fn the_table_has_exactly_the_keys_that_are_read() {
    let map = Map::new();
    let mut fields = Fields::new("", &map);
    parameters::read(&mut fields, None, VerifySsl::NoSsl, &mut Vec::new()).unwrap();
    let read: Vec<&str> = fields.asked().iter().copied().collect();
    let mut listed: Vec<&str> = PARAMETERS.iter().map(|parameter| parameter.key).collect();
    listed.sort_unstable();
    assert_eq!(read, listed);
}

/// The seed's advanced example, word for word.
const ADVANCED: &str = r#"
pipelineServiceClientConfiguration:
  className: "org.openmetadata.service.clients.pipeline.k8s.K8sPipelineClient"
  metadataApiEndpoint: "http://openmetadata:8585/api"
  parameters:
    namespace: "data-platform-ingestion"
    ingestionImage: "my-registry.com/openmetadata/ingestion:latest"
    imagePullPolicy: "Always"
    imagePullSecrets: "registry-secret"
    serviceAccountName: "data-ingestion-sa"
    resources:
      limits: { cpu: "4", memory: "8Gi" }
      requests: { cpu: "1", memory: "2Gi" }
    ttlSecondsAfterFinished: 3600
    activeDeadlineSeconds: 10800
    backoffLimit: 5
    successfulJobsHistoryLimit: 5
    failedJobsHistoryLimit: 10
    startingDeadlineSeconds: 0
    runAsUser: 1001
    runAsGroup: 1001
    fsGroup: 1001
    runAsNonRoot: true
    nodeSelector: "workload-type=data-processing,zone=us-west1-a"
    podAnnotations: "prometheus.io/scrape=true,prometheus.io/port=8080"
    extraEnvVars:
      - "DATABASE_URL:postgresql://postgres.data.svc.cluster.local:5432/metadata"
      - "LOG_LEVEL:DEBUG"
      - "JAVA_OPTS:-Xmx2g -XX:+UseG1GC"
"#;

#[test]
fn the_seeds_advanced_example_is_read_whole() {
    let document = yaml::parse(ADVANCED).unwrap();
    let checked = K8sPipelineClientConfig::read(&document, &BTreeMap::new()).unwrap();
    insta::assert_debug_snapshot!(checked);
}

#[rstest]
#[case::as_text(json!({ "nodeSelector": "a=b, c/d=e" }))]
#[case::as_map(json!({ "nodeSelector": { "a": "b", "c/d": "e" } }))]
fn a_node_selector(#[case] parameters: Value) {
    let expected = [("a", "b"), ("c/d", "e")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(read(&parameters).unwrap().config.node_selector, expected.into());
}

#[rstest]
#[case::comma_text(json!("A:1,B:x:y"))]
#[case::list(json!(["A:1", " B : x:y "]))]
#[case::map(json!({ "A": 1, "B": "x:y" }))]
#[case::kubernetes(json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "x:y" }]))]
fn extra_variables(#[case] given: Value) {
    let config = read(&json!({ "extraEnvVars": given })).unwrap().config;
    let pairs: Vec<_> = config.extra_env_vars.secret().collect();
    assert_eq!(pairs, [("A", "1"), ("B", "x:y")]);
}

#[test]
fn a_variable_is_kept_apart_unless_it_is_known_to_be_harmless() {
    let given = json!({ "extraEnvVars": [
        "DB_PASSWORD:hunter2", "LOG_LEVEL:DEBUG", "MODE:fast", "HTTP_PROXY:http://u:hunter2@proxy",
        { "name": "OF_THE_CLUSTER", "valueFrom": { "configMapKeyRef": { "name": "a", "key": "b" } } },
    ] });
    let variables = read(&given).unwrap().config.extra_env_vars;
    let secret: Vec<_> = variables.secret().map(|(name, _)| name).collect();
    assert_eq!(secret, ["DB_PASSWORD", "MODE", "HTTP_PROXY"]);
    let plain: Vec<_> = variables.plain().map(|variable| variable.name.as_str()).collect();
    assert_eq!(plain, ["LOG_LEVEL", "OF_THE_CLUSTER"]);
    assert!(!format!("{variables:?}").contains("hunter2"));
}

#[rstest]
#[case(json!("a,b"))]
#[case(json!(["a", "b"]))]
#[case(json!([{ "name": "a" }, { "name": "b" }]))]
fn pull_secrets(#[case] given: Value) {
    let config = read(&json!({ "imagePullSecrets": given })).unwrap().config;
    let names: Vec<&str> = config.image_pull_secrets.iter().map(ObjectName::as_str).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn null_takes_a_default_of_the_resources_away() {
    let given = json!({ "resources": { "limits": { "cpu": null, "gpu": null } } });
    let resources = read(&given).unwrap().config.resources;
    let limits = resources.limits.unwrap();
    assert_eq!(limits.keys().collect::<Vec<_>>(), ["memory"]);
    assert!(resources.requests.unwrap().contains_key("cpu"));
}

#[test]
fn resources_may_be_numbers_and_of_any_kind() {
    let given = json!({ "resources": { "limits": { "cpu": 2, "ephemeral-storage": "1Gi" } } });
    let limits = read(&given).unwrap().config.resources.limits.unwrap();
    let limits: Vec<_> = limits.iter().map(|(k, v)| (k.as_str(), v.0.as_str())).collect();
    assert_eq!(limits, [("cpu", "2"), ("ephemeral-storage", "1Gi"), ("memory", "4Gi")]);
}

#[test]
fn blank_fields_of_a_toleration_are_left_out() {
    let given = json!([{ "key": "spot", "operator": "", "effect": "", "value": null }]);
    let tolerations = read(&json!({ "tolerations": given })).unwrap().config.tolerations;
    assert_eq!(serde_json::to_value(tolerations).unwrap(), json!([{ "key": "spot" }]));
}

#[test]
fn ids_may_be_left_to_the_cluster() {
    let given = json!({ "runAsUser": null, "runAsGroup": null, "fsGroup": null });
    let security = read(&given).unwrap().config.security;
    assert_eq!(
        (security.run_as_user, security.run_as_group, security.fs_group),
        (None, None, None)
    );
}

#[rstest]
#[case(json!(0), 0, 1)]
#[case(json!(1), 10, 1)]
#[case(json!(9), 10, 1)]
#[case(json!(10), 10, 0)]
#[case(json!("300"), 300, 0)]
#[case(Value::Null, 0, 0)]
fn a_starting_deadline_that_never_fires_is_translated(
    #[case] given: Value,
    #[case] seconds: i64,
    #[case] notices: usize,
) {
    let checked = read(&json!({ "startingDeadlineSeconds": given })).unwrap();
    assert_eq!(checked.config.starting_deadline_seconds, seconds);
    assert_eq!(checked.notices.len(), notices);
}

/// One bad value per line: the parameters, and the problem that names field, value and remedy.
#[rstest]
#[case(json!({ "namespace": "Bad_Name" }), r#".namespace = "Bad_Name": must be a DNS label"#)]
#[case(json!({ "namespace": "" }), r#".namespace = "": must be a DNS label"#)]
#[case(json!({ "ingestionImage": "a b" }), r#".ingestionImage = "a b": must be an image reference"#)]
#[case(json!({ "imagePullPolicy": "Sometimes" }), r#".imagePullPolicy = "Sometimes": must be one of"#)]
#[case(json!({ "imagePullSecrets": 7 }), ".imagePullSecrets")]
#[case(json!({ "imagePullSecrets": "A b" }), ".imagePullSecrets: must be a DNS subdomain")]
#[case(json!({ "serviceAccountName": "a/b" }), r#".serviceAccountName = "a/b": must be"#)]
#[case(json!({ "resources": "big" }), r#".resources = "big": must be a map"#)]
#[case(json!({ "resources": { "limits": { "cpu": "two" } } }), r#".resources.limits.cpu = "two": must be a quantity"#)]
#[case(json!({ "resources": { "requests": { "memory": "8Gi" } } }), r#".resources.requests = {"memory":"8Gi"}: must keep requests within limits (what is not given has its default); memory: request 8Gi, limit 4Gi"#)]
#[case(json!({ "resources": { "limits": { "memory": "256Mi" } } }), r#".resources.limits = {"memory":"256Mi"}: must keep requests within limits (what is not given has its default); memory: request 1Gi, limit 256Mi"#)]
#[case(json!({ "resources": { "limit": {} } }), ".resources.limit: is not a known key; did you mean limits?")]
#[case(json!({ "ttlSecondsAfterFinished": -1 }), ".ttlSecondsAfterFinished = -1: must be a whole number from 0")]
#[case(json!({ "activeDeadlineSeconds": 0 }), ".activeDeadlineSeconds = 0: must be a whole number from 1")]
#[case(json!({ "backoffLimit": "three" }), r#".backoffLimit = "three": must be a whole number"#)]
#[case(json!({ "startingDeadlineSeconds": 1.5 }), ".startingDeadlineSeconds = 1.5: must be a whole number")]
#[case(json!({ "successfulJobsHistoryLimit": -3 }), ".successfulJobsHistoryLimit = -3")]
#[case(json!({ "failedJobsHistoryLimit": [] }), ".failedJobsHistoryLimit = []")]
#[case(json!({ "runAsUser": -1 }), ".runAsUser = -1")]
#[case(json!({ "runAsUser": 0 }), ".runAsUser = 0: is root")]
#[case(json!({ "runAsNonRoot": "perhaps" }), r#".runAsNonRoot = "perhaps": must be true or false"#)]
#[case(json!({ "seccompProfileType": "Strict" }), ".seccompProfileType")]
#[case(json!({ "seccompProfileType": "Localhost" }), ".seccompLocalhostProfile: is missing")]
#[case(json!({ "seccompLocalhostProfile": "p.json" }), ".seccompLocalhostProfile")]
#[case(json!({ "nodeSelector": "invalidformat" }), ".nodeSelector = \"invalidformat\": must be a map")]
#[case(json!({ "nodeSelector": { "a": "no spaces" } }), ".nodeSelector")]
#[case(json!({ "podAnnotations": [1] }), ".podAnnotations = [1]: must be a map")]
#[case(json!({ "tolerations": "x" }), ".tolerations = \"x\": must be a list")]
#[case(json!({ "tolerations": [{ "operator": "Equals" }] }), "operator must be one of Exists, Equal")]
#[case(json!({ "tolerations": [{ "keys": "a" }] }), "a toleration has no key \"keys\"")]
#[case(json!({ "extraEnvVars": ["NOCOLON"] }), ".extraEnvVars: an entry has no colon")]
#[case(json!({ "extraEnvVars": ["1A:x"] }), "\"1A\" must be an environment variable name")]
#[case(json!({ "extraEnvVars": ["config:x"] }), "config is set by ompipe")]
#[case(json!({ "extraEnvVars": ["A:1", "A:2"] }), "A is given twice")]
#[case(json!({ "inCluster": true, "kubeconfigPath": "/k" }), ".inCluster = true: contradicts")]
#[case(json!({ "kubeConfigContent": 5 }), ".kubeConfigContent: must be a kubeconfig")]
#[case(json!({ "concurrencyPolicy": "Never" }), ".concurrencyPolicy = \"Never\": must be one of Forbid, Allow, Replace")]
#[case(json!({ "configDelivery": "volume" }), ".configDelivery = \"volume\": must be env or file")]
#[case(json!({ "exitHandlerResources": { "requests": { "memory": "1Gi" } } }), ".exitHandlerResources.requests")]
#[case(json!({ "podLabels": "a b=c" }), ".podLabels = \"a b=c\": must be a label key")]
#[case(json!({ "podLabels": { "team": "a b" } }), ".podLabels = {\"team\":\"a b\"}: must be a label value")]
#[case(json!({ "podLabels": { "app.kubernetes.io/run-id": "x" } }), ".podLabels: app.kubernetes.io/run-id is set by ompipe")]
#[case(json!({ "podAnnotations": { "pipelines.openmetadata.org/slug": "x" } }), ".podAnnotations: pipelines.openmetadata.org/slug is set by ompipe")]
#[case(json!({ "podTemplate": "x" }), ".podTemplate.")]
#[case(json!({ "podTemplate": { "spec": { "priorityClas": "high" } } }), ".podTemplate.spec.priorityClas: is not a field")]
#[case(json!({ "podTemplate": { "spec": { "containers": [{ "name": "main", "imag": "x" }] } } }), ".podTemplate.spec.containers[0].imag: is not a field")]
#[case(json!({ "podTemplate": { "spec": { "activeDeadlineSeconds": "soon" } } }), ".podTemplate.spec.activeDeadlineSeconds: must be as in a Pod")]
#[case(json!({ "podTemplate": { "spec": { "restartPolicy": "Always" } } }), ".podTemplate.spec.restartPolicy: must be Never")]
#[case(json!({ "podTemplate": { "metadata": { "labels": { "app.kubernetes.io/name": "x" } } } }), ".podTemplate.metadata, key app.kubernetes.io/name: is set by ompipe")]
#[case(json!({ "podTemplate": { "spec": { "containers": [{ "name": "main", "env": [{ "name": "config", "value": "x" }] }] } } }), ".podTemplate.spec.containers, main, env config: is set by ompipe")]
#[case(json!({ "podTemplate": { "spec": { "containers": [{ "name": "proxy", "env": [{ "name": "PROXY_PASSWORD", "value": "hunter2" }] }] } } }), ".podTemplate.spec.containers, proxy, env PROXY_PASSWORD: looks like a credential")]
#[case(json!({ "servicePodTemplates": { "shop": { "spec": { "hostNetwrk": true } } } }), ".servicePodTemplates.shop.spec.hostNetwrk: is not a field")]
#[case(json!({ "pipelinePodTemplates": [] }), ".pipelinePodTemplates = []: must be a map")]
#[case(json!({ "namspace": "x" }), ".namspace: is not a known key; did you mean namespace?")]
fn a_bad_value_is_named_with_its_remedy(#[case] parameters: Value, #[case] expected: &str) {
    let problems = problems(&parameters);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains(expected), "{problems:?}");
    assert!(problems[0].starts_with("pipelineServiceClientConfiguration.parameters."));
}

#[test]
fn all_problems_come_at_once() {
    let problems = problems(&json!({
        "namespace": "X", "backoffLimit": "x", "resources": { "limits": { "cpu": "x" } },
        "runAsNonRoot": "x", "typo": 1,
    }));
    assert_eq!(problems.len(), 5, "{problems:?}");
}

#[rstest]
#[case(json!({ "wrong": {} }), "wrong: is not a known key")]
#[case(json!({ "pipelineServiceClientConfiguration": [] }), "must be a map")]
#[case(json!({ "pipelineServiceClientConfiguration": { "className": "x.AirflowRESTClient" } }), "className")]
#[case(json!({ "pipelineServiceClientConfiguration": { "metadataApiEndpoint": "om:8585" } }), "metadataApiEndpoint")]
#[case(json!({ "pipelineServiceClientConfiguration": { "parameters": 1 } }), "parameters = 1: must be a map")]
#[case(json!({ "pipelineServiceClientConfiguration": { "parametres": {} } }), "did you mean parameters?")]
#[case(json!([1]), "must be one map")]
fn a_bad_block_is_refused(#[case] document: Value, #[case] expected: &str) {
    let problems = K8sPipelineClientConfig::read(&document, &BTreeMap::new()).unwrap_err();
    assert!(problems.to_string().contains(expected), "{problems}");
}

#[test]
fn keys_of_the_server_are_accepted_and_said_to_have_no_effect() {
    let document = json!({ BLOCK: { "apiEndpoint": "http://x", "healthCheckInterval": 300 } });
    let checked = K8sPipelineClientConfig::read(&document, &BTreeMap::new()).unwrap();
    let fields: Vec<&str> = checked.notices.iter().map(|notice| notice.field.as_str()).collect();
    assert_eq!(fields, [format!("{BLOCK}.apiEndpoint"), format!("{BLOCK}.healthCheckInterval")]);
}

#[test]
fn what_the_server_asks_of_the_client_is_read() {
    let host = json!({ "enabled": "false", "hostIp": "10.0.0.1", "ingestionIpInfoEnabled": true });
    let checked = K8sPipelineClientConfig::read(&json!({ BLOCK: host }), &BTreeMap::new()).unwrap();
    let expected =
        HostSettings { enabled: false, ip_info_enabled: true, ip: Some("10.0.0.1".to_owned()) };
    assert_eq!(checked.config.host, expected);
}

#[test]
fn the_more_special_pod_template_comes_later() {
    let of = |name: &str| json!({ "spec": { "priorityClassName": name } });
    let given = json!({
        "podTemplate": of("every"),
        "servicePodTemplates": { "shop": of("shop"), "other": of("other") },
        "pipelinePodTemplates": { "shop.nightly": of("nightly") },
    });
    let templates = read(&given).unwrap().config.pod_templates;
    let priorities = |service, pipeline| -> Vec<String> {
        let specs = templates.of(service, pipeline).filter_map(|template| template.spec.as_ref());
        specs.filter_map(|spec| spec.priority_class_name.clone()).collect()
    };
    assert_eq!(priorities(Some("shop"), "shop.nightly"), ["every", "shop", "nightly"]);
    assert_eq!(priorities(None, "shop.hourly"), ["every"]);
}

#[rstest]
#[case("skipInit", json!(true))]
#[case("enableFailureDiagnostics", json!(false))]
#[case("failureDiagnosticsEnabled", json!("false"))]
fn switches_without_effect_are_said_to_have_none(#[case] key: &str, #[case] value: Value) {
    let notices = read(&json!({ key: value })).unwrap().notices;
    assert!(notices.iter().any(|notice| notice.to_string().contains("has no effect")));
}

#[test]
fn the_environment_overrides_the_file() {
    let environment = [
        ("K8S_NAMESPACE", "from-env"),
        ("K8S_LIMITS_CPU", "8"),
        ("K8S_TOLERATIONS", r#"[{"key":"spot","operator":"Exists"}]"#),
        ("K8S_EXTRA_ENV_VARS", r#"["A:1"]"#),
        ("K8S_NODE_SELECTOR", ""),
    ];
    let checked =
        read_with(&json!({ "namespace": "from-file", "nodeSelector": "a=b" }), &environment)
            .unwrap();
    let config = checked.config;
    assert_eq!(config.namespace.as_str(), "from-env");
    assert_eq!(config.resources.limits.unwrap()["cpu"].0, "8");
    assert_eq!(config.tolerations[0].key.as_deref(), Some("spot"));
    assert_eq!(config.extra_env_vars.secret().next(), Some(("A", "1")));
    assert_eq!(config.node_selector["a"], "b", "an empty variable overrides nothing");
    assert_eq!(checked.notices.len(), 4);
}

#[test]
fn a_problem_of_the_environment_names_the_variable() {
    let environment = [("K8S_BACKOFF_LIMIT", "x"), ("K8S_LIMITS_CPU", "y")];
    let problems = read_with(&json!({}), &environment).unwrap_err();
    let fields: Vec<&str> = problems.list.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["K8S_LIMITS_CPU (environment)", "K8S_BACKOFF_LIMIT (environment)"]);
}

#[test]
fn no_message_repeats_a_credential() {
    let given = json!({
        "kubeConfigContent": { "token": "hunter2" },
        "extraEnvVars": ["hunter2", "config:hunter2"],
        "apiToken": "hunter2",
    });
    let problems = problems(&given);
    assert_eq!(problems.len(), 4);
    assert!(problems.iter().all(|problem| !problem.contains("hunter2")), "{problems:?}");
}

#[test]
fn the_documents_list_every_parameter() {
    let documents = include_str!("../../../../docs/configuration.md");
    let row = |p: &Parameter| {
        let env = p.env.map_or_else(String::new, |env| format!("`{env}`"));
        format!("| `{}` | {env} | `{}` | {} |", p.key, p.default, p.meaning)
    };
    let expected: Vec<String> = PARAMETERS.iter().map(row).collect();
    let listed: Vec<&str> = documents.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(listed, expected);
}

/// What a configuration of the environment alone, or with a file without the block, is told.
#[rstest]
#[case(
    "K8S_NAMESPACE",
    "Bad_Name",
    r#"K8S_NAMESPACE (environment) = "Bad_Name": must be a DNS label"#
)]
#[case(
    "K8S_RUN_AS_USER",
    "root",
    r#"K8S_RUN_AS_USER (environment) = "root": must be a whole number"#
)]
#[case("K8S_LIMITS_CPU", "two", r#"K8S_LIMITS_CPU (environment) = "two": must be a quantity"#)]
#[case("K8S_EXTRA_ENV_VARS", "A", "K8S_EXTRA_ENV_VARS (environment): an entry has no colon")]
#[case("K8S_SECCOMP_PROFILE_TYPE", "Strict", "K8S_SECCOMP_PROFILE_TYPE (environment)")]
#[case(
    "SERVER_HOST_API_URL",
    "om:8585",
    r#"SERVER_HOST_API_URL (environment) = "om:8585": must be the server's API"#
)]
#[case(
    "PIPELINE_SERVICE_CLIENT_VERIFY_SSL",
    "maybe",
    "PIPELINE_SERVICE_CLIENT_VERIFY_SSL (environment)"
)]
fn a_wrong_variable_is_named(
    #[case] variable: &str,
    #[case] value: &str,
    #[case] told: &str,
    #[values(json!(null), json!({}), json!({ "server": {} }), json!({ BLOCK: {} }))]
    document: Value,
) {
    let environment = [(variable.to_owned(), value.to_owned())].into();
    let problems = K8sPipelineClientConfig::read(&document, &environment).unwrap_err().list;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].to_string().starts_with(told), "{}", problems[0]);
}

#[test]
fn the_quotes_of_the_charts_secret_are_no_part_of_a_value() {
    let environment = [
        ("K8S_TTL_SECONDS_AFTER_FINISHED", "\"86400\""),
        ("K8S_NODE_SELECTOR", "\"\""),
        ("K8S_POD_ANNOTATIONS", "\"a=b\""),
        ("K8S_IMAGE_PULL_SECRETS", "\"\""),
        ("K8S_TOLERATIONS", r#""[{\"key\":\"spot\",\"operator\":\"Exists\"}]""#),
        ("K8S_RUN_AS_NON_ROOT", "\"true\""),
        ("SERVER_HOST_API_URL", "\"http://om:8585/api\""),
    ];
    let config = read_with(&json!({}), &environment).unwrap().config;
    assert_eq!(config.ttl_seconds_after_finished, 86400);
    assert!(config.node_selector.is_empty() && config.image_pull_secrets.is_empty());
    assert_eq!(config.pod_annotations["a"], "b");
    assert_eq!(config.tolerations[0].key.as_deref(), Some("spot"));
    assert_eq!(config.metadata_api_endpoint.as_deref(), Some("http://om:8585/api"));
}

#[test]
fn null_in_the_environment_leaves_ids_to_the_cluster() {
    let environment = [
        ("K8S_RUN_AS_USER", "null"),
        ("K8S_RUN_AS_GROUP", "null"),
        ("K8S_FS_GROUP", "\"null\""),
        ("K8S_SECCOMP_PROFILE_TYPE", "null"),
    ];
    let security = read_with(&json!({ "runAsUser": 7 }), &environment).unwrap().config.security;
    let ids = (security.run_as_user, security.run_as_group, security.fs_group);
    assert_eq!((ids, security.seccomp), ((None, None, None), None));
}

#[test]
fn a_seccomp_profile_by_the_environment() {
    let environment = [
        ("K8S_SECCOMP_PROFILE_TYPE", "Localhost"),
        ("K8S_SECCOMP_LOCALHOST_PROFILE", "profiles/om.json"),
    ];
    let security = read_with(&json!({}), &environment).unwrap().config.security;
    assert_eq!(security.seccomp, Some(SeccompProfile::Localhost("profiles/om.json".to_owned())));
}

/// The blocks that an OpenMetadata server has in its `openmetadata.yaml`, in short.
const STOCK: &str = r#"
clusterName: ${OPENMETADATA_CLUSTER_NAME:-openmetadata}
server:
  rootPath: '/api/*'
  applicationConnectors:
    - type: http
      port: ${SERVER_PORT:-8585}
database:
  url: jdbc:${DB_SCHEME:-mysql}://${DB_HOST:-localhost}:${DB_PORT:-3306}/${OM_DATABASE:-db}
authorizerConfiguration:
  adminPrincipals: ${AUTHORIZER_ADMIN_PRINCIPALS:-[admin]}
authenticationConfiguration:
  publicKeyUrls: ${AUTHENTICATION_PUBLIC_KEYS:-[http://localhost:8585/api/v1/system/config/jwks]}
aBlockOfALaterRelease: { a: 1 }
pipelineServiceClientConfiguration:
  enabled: ${PIPELINE_SERVICE_CLIENT_ENABLED:-true}
  className: ${PIPELINE_SERVICE_CLIENT_CLASS_NAME:-"org.openmetadata.service.clients.pipeline.airflow.AirflowRESTClient"}
  apiEndpoint: ${PIPELINE_SERVICE_CLIENT_ENDPOINT:-http://localhost:8080}
  metadataApiEndpoint: ${SERVER_HOST_API_URL:-http://localhost:8585/api}
  ingestionIpInfoEnabled: ${PIPELINE_SERVICE_IP_INFO_ENABLED:-false}
  hostIp: ${PIPELINE_SERVICE_CLIENT_HOST_IP:-""}
  healthCheckInterval: ${PIPELINE_SERVICE_CLIENT_HEALTH_CHECK_INTERVAL:-300}
  verifySSL: ${PIPELINE_SERVICE_CLIENT_VERIFY_SSL:-"no-ssl"}
  sslConfig:
    validate:
      certificatePath: ${PIPELINE_SERVICE_CLIENT_SSL_CERT_PATH:-""}
  secretsManagerLoader: ${PIPELINE_SERVICE_CLIENT_SECRETS_MANAGER_LOADER:-"noop"}
  parameters:
    username: ${AIRFLOW_USERNAME:-admin}
    password: ${AIRFLOW_PASSWORD:-hunter2}
    timeout: ${AIRFLOW_TIMEOUT:-10}
    truststorePath: ${AIRFLOW_TRUST_STORE_PATH:-""}
    namespace: ${K8S_NAMESPACE:-"data"}
    ttlSecondsAfterFinished: ${K8S_TTL_SECONDS_AFTER_FINISHED:-86400}
"#;

fn read_stock(text: &str, environment: &[(&str, &str)]) -> Result<Checked, Problems> {
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let document = yaml::parse(&resolve_variables(text, &environment)).unwrap();
    K8sPipelineClientConfig::read(&document, &environment)
}

#[test]
fn a_stock_file_of_the_server_is_read() {
    let Checked { config, notices } = read_stock(STOCK, &[]).unwrap();
    assert_eq!(config.namespace.as_str(), "data");
    assert_eq!(config.ttl_seconds_after_finished, 86400);
    assert_eq!(config.metadata_api_endpoint.as_deref(), Some("http://localhost:8585/api"));
    assert_eq!((config.host.enabled, config.certificate_authority), (true, None));
    let notices: Vec<_> = notices.iter().map(ToString::to_string).collect();
    for key in ["apiEndpoint", "healthCheckInterval", "secretsManagerLoader", "password", "server"]
    {
        assert!(notices.iter().any(|notice| notice.contains(key)), "{key}: {notices:?}");
    }
    assert!(!notices.concat().contains("hunter2"));
}

#[test]
fn the_environment_counts_in_a_stock_file() {
    let environment = [
        ("K8S_NAMESPACE", "\"other\""),
        ("SERVER_HOST_API_URL", "https://om/api"),
        ("PIPELINE_SERVICE_CLIENT_VERIFY_SSL", "validate"),
        ("PIPELINE_SERVICE_CLIENT_SSL_CERT_PATH", "/etc/om/ca.pem"),
    ];
    let config = read_stock(STOCK, &environment).unwrap().config;
    assert_eq!(config.namespace.as_str(), "other");
    assert_eq!(config.metadata_api_endpoint.as_deref(), Some("https://om/api"));
    assert_eq!(config.verify_ssl, VerifySsl::Validate);
    let file = CertificateAuthority::File("/etc/om/ca.pem".into());
    assert_eq!(config.certificate_authority, Some(file));
}

#[rstest]
#[case::misspelt_block(
    "pipelineServiceClientConfig",
    "did you mean pipelineServiceClientConfiguration?"
)]
#[case::misspelt_section("servr", "did you mean server?")]
#[case::parameters_at_the_top("parameters", "is not a known key")]
fn a_block_that_nobody_reads_is_refused(#[case] key: &str, #[case] told: &str) {
    let document = json!({ key: { "namespace": "x" } });
    let problems = K8sPipelineClientConfig::read(&document, &BTreeMap::new()).unwrap_err();
    assert!(problems.to_string().contains(told), "{problems}");
}

#[test]
fn a_misspelt_block_is_refused_in_a_stock_file_too() {
    let text = STOCK.replace(BLOCK, "pipelineServiceClientConfigurations");
    assert!(read_stock(&text, &[]).unwrap_err().to_string().contains("did you mean"));
}

#[rstest]
#[case::ours(json!({ "listen": "0.0.0.0:1" }), true)]
#[case::empty(json!({}), true)]
#[case::no_map(json!(7), true)]
#[case::dropwizards(json!({ "rootPath": "/api/*", "applicationConnectors": [] }), false)]
#[case::with_keys_of_dropwizard_that_are_not_listed(json!({ "adminConnectors": [], "x": 1 }), false)]
#[case::both(json!({ "listen": "0.0.0.0:1", "adminConnectors": [] }), true)]
fn the_servers_own_section_is_not_ours(#[case] section: Value, #[case] is_ours: bool) {
    assert_eq!(server_section(&json!({ SERVER_SECTION: section })).is_some(), is_ours);
}

#[rstest]
#[case(json!({ "caCertificate": "/etc/om/ca.pem" }), Some(CertificateAuthority::File("/etc/om/ca.pem".into())))]
#[case(json!({ "certificatePath": "/a" }), Some(CertificateAuthority::File("/a".into())))]
#[case(json!({ "validate": { "certificatePath": "/a" } }), Some(CertificateAuthority::File("/a".into())))]
#[case(json!({ "caCertificate": "-----BEGIN CERTIFICATE-----\nx" }), Some(CertificateAuthority::Pem("-----BEGIN CERTIFICATE-----\nx".to_owned())))]
#[case(json!({ "caCertificate": "" }), None)]
fn a_certificate_authority(#[case] ssl: Value, #[case] expected: Option<CertificateAuthority>) {
    let document = json!({ BLOCK: { "sslConfig": ssl } });
    let checked = K8sPipelineClientConfig::read(&document, &BTreeMap::new()).unwrap();
    assert_eq!(checked.config.certificate_authority, expected);
}

#[test]
fn an_endpoint_without_api_is_noted() {
    let document = json!({ BLOCK: { "metadataApiEndpoint": "http://om:8585" } });
    let checked = K8sPipelineClientConfig::read(&document, &BTreeMap::new()).unwrap();
    let told = checked.notices[0].to_string();
    assert!(told.contains("did you mean http://om:8585/api?"), "{told}");
}

#[rstest]
#[case("http://u:hunter2@om/api")]
#[case("http://om/api?token=hunter2")]
fn an_endpoint_has_no_user_and_no_query(#[case] endpoint: &str) {
    let document = json!({ BLOCK: { "metadataApiEndpoint": endpoint } });
    let problems = K8sPipelineClientConfig::read(&document, &BTreeMap::new()).unwrap_err();
    let told = problems.to_string();
    assert!(
        told.contains("without user, query and fragment") && !told.contains("hunter2"),
        "{told}"
    );
}

#[test]
fn a_value_with_commas_is_told_to_use_the_list_form() {
    let proxy = "HTTPS_PROXY:http://proxy:3128,NO_PROXY:localhost,.svc,10.0.0.0/8";
    let problems = read_with(&json!({}), &[("K8S_EXTRA_ENV_VARS", proxy)]).unwrap_err();
    assert!(problems.to_string().contains("needs the list form"), "{problems}");
    let list = r#"["HTTPS_PROXY:http://proxy:3128","NO_PROXY:localhost,.svc,10.0.0.0/8"]"#;
    let config = read_with(&json!({}), &[("K8S_EXTRA_ENV_VARS", list)]).unwrap().config;
    assert_eq!(config.extra_env_vars.plain().count() + config.extra_env_vars.secret().count(), 2);
}
