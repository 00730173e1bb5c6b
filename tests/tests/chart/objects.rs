//! The objects that the values ask for.

use std::collections::BTreeSet;
use std::path::Path;

use ompipe_tests::helm::Release;
use rstest::rstest;
use serde_json::{Value, json};

use crate::rendered::{Rendered, full, least, with};

#[test]
fn the_defaults_make_these_objects() {
    let mut names = Rendered::of(&least()).names();
    names.sort();
    let expected = [
        "Deployment ns/release-ompipe-operator",
        "Deployment ns/release-ompipe-server",
        "Job ns/release-ompipe-drain",
        "Lease ns/release-ompipe-operator",
        "NetworkPolicy ns/release-ompipe-operator",
        "NetworkPolicy ns/release-ompipe-runs",
        "NetworkPolicy ns/release-ompipe-server",
        "Pod ns/release-ompipe-test",
        "PodDisruptionBudget ns/release-ompipe-operator",
        "PodDisruptionBudget ns/release-ompipe-server",
        "Role ns/release-ompipe-ingestion",
        "Role ns/release-ompipe-operator",
        "Role ns/release-ompipe-operator-lease",
        "Role ns/release-ompipe-server",
        "RoleBinding ns/release-ompipe-ingestion",
        "RoleBinding ns/release-ompipe-operator",
        "RoleBinding ns/release-ompipe-operator-lease",
        "RoleBinding ns/release-ompipe-server",
        "Secret ns/release-ompipe-config",
        "Secret ns/release-ompipe-server-credentials",
        "Service ns/release-ompipe-operator",
        "Service ns/release-ompipe-server",
        "Service ns/release-ompipe-server-metrics",
        "ServiceAccount ns/release-ompipe-ingestion",
        "ServiceAccount ns/release-ompipe-operator",
        "ServiceAccount ns/release-ompipe-server",
    ];
    assert_eq!(names, expected);
}

#[rstest]
#[case::server(json!({ "omjobOperator": { "enabled": false } }), "operator")]
#[case::operator(json!({ "server": { "enabled": false } }), "server")]
fn each_half_stands_alone(#[case] values: Value, #[case] absent: &str) {
    let names = Rendered::of(&with(values)).names();
    assert!(names.len() > 8, "{names:?}");
    assert!(!names.iter().any(|name| name.contains(absent)), "{names:?}");
}

/// Variables of the only container of a Deployment, by name, as far as they are given as they are.
fn environment(rendered: &Rendered, name: &str) -> serde_json::Map<String, Value> {
    let container = &rendered.one("Deployment", name)["spec"]["template"]["spec"]["containers"][0];
    let variables = container["env"].as_array().unwrap().iter();
    variables.map(|one| (one["name"].as_str().unwrap().to_owned(), one["value"].clone())).collect()
}

#[test]
fn both_halves_know_the_archive_and_only_the_operator_how_long() {
    let archive = json!({
        "url": "s3://logs/ompipe", "env": { "AWS_REGION": "eu-central-1" },
        "credentialsSecret": "archive", "logsRetentionDays": 7, "maxGiB": 100,
    });
    let rendered = Rendered::of(&with(json!({ "logs": { "archive": archive } })));
    for name in ["release-ompipe-operator", "release-ompipe-server"] {
        let variables = environment(&rendered, name);
        assert_eq!(variables["LOGS_ARCHIVE_URL"], "s3://logs/ompipe", "{name}");
        assert_eq!(variables["AWS_REGION"], "eu-central-1", "{name}");
        let pod = &rendered.one("Deployment", name)["spec"]["template"]["spec"];
        let secrets = &pod["containers"][0]["envFrom"];
        assert_eq!(secrets, &json!([{ "secretRef": { "name": "archive" } }]), "{name}");
    }
    let operator = environment(&rendered, "release-ompipe-operator");
    assert_eq!(
        (&operator["LOGS_RETENTION_DAYS"], &operator["LOGS_REDACT"]),
        (&json!("7"), &json!("true"))
    );
    assert_eq!(
        (&operator["LOGS_MAX_MIB_PER_RUN"], &operator["LOGS_MAX_GIB"]),
        (&json!("16384"), &json!("100"))
    );
    let server = environment(&rendered, "release-ompipe-server");
    assert!(!server.contains_key("LOGS_RETENTION_DAYS") && !server.contains_key("LOGS_REDACT"));
    let plain = Rendered::of(&with(json!({ "logs": { "redact": false } })));
    assert_eq!(environment(&plain, "release-ompipe-server")["LOGS_REDACT"], "false");
    let drain = rendered.one("Job", "release-ompipe-drain").to_string();
    assert!(!drain.contains("LOGS_ARCHIVE_URL"), "a drain archives nothing: {drain}");
}

#[test]
fn an_archive_on_a_volume_is_mounted_and_the_server_only_reads_it() {
    let archive = json!({ "url": "file:///var/lib/ompipe/archive", "volumeClaim": "logs" });
    let rendered = Rendered::of(&with(json!({ "logs": { "archive": archive } })));
    let mount = |name: &str| {
        let pod = &rendered.one("Deployment", name)["spec"]["template"]["spec"];
        let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
        mounts.iter().find(|mount| mount["name"] == "archive").unwrap().clone()
    };
    let path = "/var/lib/ompipe/archive";
    let operator = json!({ "name": "archive", "mountPath": path });
    assert_eq!(mount("release-ompipe-operator"), operator);
    let server = json!({ "name": "archive", "mountPath": path, "readOnly": true });
    assert_eq!(mount("release-ompipe-server"), server);
}

/// What the server reads is what the program itself takes for right.
#[test]
fn the_configuration_is_one_that_the_program_takes() {
    let rendered = Rendered::of(&least());
    assert_eq!(rendered.checked().namespace.as_str(), "ns");
    let server = rendered.checked_server();
    assert_eq!(server.credentials_file, Path::new("/etc/ompipe/credentials/credentials"));
    assert!(server.tls.is_none() && !server.kubernetes_authentication);
    let rendered = Rendered::of(&full());
    assert_eq!(rendered.checked().namespace.as_str(), "team-a");
    let server = rendered.checked_server();
    assert_eq!(server.tls.unwrap().certificate, Path::new("/etc/ompipe/tls/tls.crt"));
    assert_eq!(server.limits.requests, 512);
    assert!(server.kubernetes_authentication && server.open_metadata_version.is_some());
}

#[test]
fn every_pod_fits_pod_security_restricted_and_cannot_write_its_root() {
    let rendered = Rendered::of(&full());
    let pods = rendered.pods();
    assert_eq!(pods.len(), 4, "server, operator, drain, test");
    for (name, pod) in pods {
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{name}");
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        for container in pod["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{name}");
            assert!(container["resources"]["requests"]["memory"].is_string(), "{name}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
        }
    }
}

#[test]
fn ids_may_be_left_to_openshift() {
    let none = json!({ "runAsUser": "", "runAsGroup": "", "fsGroup": "" });
    let rendered = Rendered::of(&with(json!({
        "server": { "podSecurityContext": none }, "omjobOperator": { "podSecurityContext": none },
        "pipelineServiceClientConfig": { "k8s": none },
    })));
    for (name, pod) in rendered.pods() {
        let security = pod["securityContext"].as_object().unwrap();
        let keys: Vec<&str> = security.keys().map(String::as_str).collect();
        assert_eq!(keys, ["runAsNonRoot", "seccompProfile"], "{name}");
    }
    let parameters = rendered.parameters();
    assert_eq!((&parameters["runAsUser"], &parameters["fsGroup"]), (&Value::Null, &Value::Null));
    assert!(parameters.as_object().unwrap().contains_key("runAsUser"), "{parameters}");
}

#[test]
fn the_operator_reports_to_the_configured_server_and_makes_no_pod_as_ompipe() {
    let rendered = Rendered::of(&least());
    let value = |name: &str| rendered.operator_variable(name);
    let parameters = rendered.config();
    let endpoint = &parameters["pipelineServiceClientConfiguration"]["metadataApiEndpoint"];
    assert_eq!(value("ALLOWED_SERVERS").as_deref(), endpoint.as_str());
    assert_eq!(value("POD_POLICY").as_deref(), Some("baseline"));
    let reserved = value("RESERVED_SERVICE_ACCOUNTS").unwrap();
    for component in ["operator", "server"] {
        let account = format!("$(POD_NAMESPACE)/release-ompipe-{component}");
        assert!(reserved.split(',').any(|one| one == account), "{reserved}");
    }
    assert_eq!(value("ALLOWED_SERVICE_ACCOUNTS"), None);
    let given = json!({
        "reporting": { "allowedServers": ["https://a.example.com", "http://b:8585/api"] },
        "podPolicy": { "level": "privileged", "allowedServiceAccounts": ["runs", "others"] },
    });
    let rendered = Rendered::of(&with(json!({ "omjobOperator": given })));
    let value = |name: &str| rendered.operator_variable(name);
    assert_eq!(
        value("ALLOWED_SERVERS").as_deref(),
        Some("https://a.example.com,http://b:8585/api")
    );
    assert_eq!(value("POD_POLICY").as_deref(), Some("privileged"));
    assert_eq!(value("ALLOWED_SERVICE_ACCOUNTS").as_deref(), Some("runs,others"));
    // Without a server nobody has said which OpenMetadata there is.
    let alone = Rendered::of(&with(json!({ "server": { "enabled": false } })));
    assert_eq!(alone.operator_variable("ALLOWED_SERVERS"), None);
}

#[test]
fn replicas_are_two_spread_and_protected_and_one_is_not_protected() {
    let rendered = Rendered::of(&least());
    for name in ["release-ompipe-server", "release-ompipe-operator"] {
        let spec = &rendered.one("Deployment", name)["spec"];
        assert_eq!(spec["replicas"], 2);
        let spread = &spec["template"]["spec"]["topologySpreadConstraints"][0];
        assert_eq!(spread["labelSelector"], spec["selector"], "{name}");
        let budget = &rendered.one("PodDisruptionBudget", name)["spec"];
        assert_eq!(budget["selector"], spec["selector"], "{name}");
        assert_eq!(budget["maxUnavailable"], 1);
        let pod = &spec["template"]["spec"]["containers"][0];
        assert_eq!(pod["readinessProbe"]["httpGet"]["path"], "/readyz", "{name}");
        assert_eq!(pod["livenessProbe"]["httpGet"]["path"], "/healthz", "{name}");
    }
    let single = json!({ "server": { "replicas": 1 }, "omjobOperator": { "replicas": 1 } });
    assert!(Rendered::of(&with(single)).all("PodDisruptionBudget").is_empty());
}

#[test]
fn images_go_by_tag_or_digest_and_their_default_is_the_version_of_the_chart() {
    let image = |values: &Value| {
        let rendered = Rendered::of(values);
        let server = rendered.one("Deployment", "release-ompipe-server").clone();
        let server = server["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        (server, rendered.parameters()["exitHandlerImage"].clone())
    };
    let version = env!("CARGO_PKG_VERSION");
    let (server, exit_handler) = image(&least());
    assert_eq!(server, format!("ghcr.io/ompipe/ompipe:{version}"));
    assert_eq!(exit_handler, format!("ghcr.io/ompipe/exit-handler:{version}"));
    let digest = format!("sha256:{}", "0a".repeat(32));
    let given = json!({
        "image": { "repository": "reg:5000/ompipe", "tag": "v2" },
        "exitHandler": { "image": { "repository": "reg:5000/exit", "digest": digest } },
    });
    let (server, exit_handler) = image(&with(given));
    assert_eq!(
        (server, exit_handler),
        ("reg:5000/ompipe:v2".into(), format!("reg:5000/exit@{digest}").into())
    );
    let (_, exit_handler) = image(&with(json!({ "exitHandler": { "enabled": false } })));
    assert_eq!(exit_handler, Value::Null);
}

#[test]
fn credentials_are_in_secrets_only() {
    let values = with(json!({ "pipelineServiceClientConfig": { "k8s": {
        "extraEnvVars": ["PASSWORD:canary-variable"],
    }}}));
    for object in Rendered::of(&values).objects {
        let text = object.to_string();
        let has = text.contains("s3cret") || text.contains("canary-variable");
        assert!(!has || object["kind"] == "Secret", "{object}");
    }
}

#[test]
fn a_secret_of_yours_is_mounted_and_none_is_made() {
    let rendered = Rendered::of(
        &json!({ "server": { "credentials": { "existingSecret": "mine", "key": "users" } } }),
    );
    assert_eq!(rendered.all("Secret").len(), 1, "the configuration alone");
    assert_eq!(rendered.config()["server"]["credentials"]["file"], "/etc/ompipe/credentials/users");
    let server = rendered.one("Deployment", "release-ompipe-server");
    let volumes = server["spec"]["template"]["spec"]["volumes"].to_string();
    assert!(volumes.contains(r#""secretName":"mine""#), "{volumes}");
}

#[test]
fn a_change_of_the_configuration_starts_the_server_anew_and_the_operator_not() {
    let template = |rendered: &Rendered, name: &str| {
        rendered.one("Deployment", name)["spec"]["template"].clone()
    };
    let changed = with(json!({ "pipelineServiceClientConfig": { "k8s": { "backoffLimit": 7 } } }));
    let (before, after) = (Rendered::of(&least()), Rendered::of(&changed));
    let [server, operator] = ["release-ompipe-server", "release-ompipe-operator"];
    assert_ne!(template(&before, server), template(&after, server));
    assert_eq!(template(&before, operator), template(&after, operator));
}

#[test]
fn the_custom_resources_are_those_of_the_program_and_no_part_of_the_release() {
    for file in ["omjobs.yaml", "cronomjobs.yaml"] {
        let read = |directory: &str| {
            std::fs::read_to_string(ompipe_tests::helm::repository(&format!("{directory}/{file}")))
        };
        assert_eq!(read("crds").unwrap(), read("charts/ompipe/crds").unwrap(), "run `make crds`");
    }
    assert!(Rendered::of(&full()).all("CustomResourceDefinition").is_empty());
}

#[test]
fn it_renders_for_every_kubernetes_that_it_supports_and_no_older_one() {
    let render = |version: &str| {
        Release::rendered("release", "ns").template(&full(), &["--kube-version", version])
    };
    for minor in 27..=34 {
        render(&format!("1.{minor}.0")).unwrap();
    }
    let error = render("1.26.3").unwrap_err().to_string();
    assert!(error.contains("kubeVersion: >=1.27.0-0"), "{error}");
}

#[test]
fn policies_and_monitors_are_made_when_asked_for() {
    let rendered = Rendered::of(&full());
    assert_eq!(rendered.all("NetworkPolicy").len(), 3);
    assert_eq!(rendered.all("ServiceMonitor").len(), 2);
    for monitor in rendered.all("ServiceMonitor") {
        let name = monitor["metadata"]["name"].as_str().unwrap();
        let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
        let is_meant = |service: &&Value| {
            wanted.iter().all(|(label, value)| &service["metadata"]["labels"][label] == value)
        };
        let services = rendered.all("Service");
        let ports = services.iter().filter(|service| is_meant(&&***service));
        let ports = ports.flat_map(|service| service["spec"]["ports"].as_array().unwrap());
        assert_eq!(ports.filter(|port| port["name"] == "metrics").count(), 1, "{name}");
    }
}

/// Numbers of the ports that a Service leads to, that a network policy lets through, and that probes ask.
struct Ports {
    service: BTreeSet<u64>,
    policy: BTreeSet<u64>,
    probes: BTreeSet<u64>,
    container: BTreeSet<u64>,
}

impl Ports {
    fn of(rendered: &Rendered, name: &str) -> Self {
        let pod = &rendered.one("Deployment", name)["spec"]["template"];
        let container = &pod["spec"]["containers"][0];
        let open = container["ports"].as_array().unwrap();
        let number = |port: &Value| match port.as_str() {
            Some(name) => {
                open.iter().find(|o| o["name"] == name).unwrap()["containerPort"].as_u64()
            }
            None => port.as_u64(),
        };
        let numbers = |ports: Vec<&Value>| ports.into_iter().map(|p| number(p).unwrap()).collect();
        let list = |value: &'_ Value, key: &str| -> Vec<Value> {
            value.as_array().unwrap().iter().map(|item| item[key].clone()).collect()
        };
        let policy = rendered.one("NetworkPolicy", name);
        let selected = &policy["spec"]["podSelector"]["matchLabels"];
        for (label, value) in selected.as_object().unwrap() {
            assert_eq!(&pod["metadata"]["labels"][label], value, "{name}");
        }
        let services = rendered.all("Service");
        let of_it = services
            .iter()
            .filter(|service| service["metadata"]["name"].as_str().unwrap().starts_with(name));
        let targets: Vec<Value> =
            of_it.flat_map(|service| list(&service["spec"]["ports"], "targetPort")).collect();
        let rules = list(&policy["spec"]["ingress"], "ports");
        let allowed: Vec<Value> = rules.iter().flat_map(|ports| list(ports, "port")).collect();
        let probes = ["readinessProbe", "livenessProbe"].map(|p| &container[p]["httpGet"]["port"]);
        Self {
            service: numbers(targets.iter().collect()),
            policy: numbers(allowed.iter().collect()),
            probes: numbers(probes.to_vec()),
            container: numbers(open.iter().map(|port| &port["containerPort"]).collect()),
        }
    }
}

/// Probes come from the pod's node, which no policy stops; everybody else comes by a Service.
#[rstest]
#[case::defaults(json!({}))]
#[case::others(json!({
    "server": { "service": { "port": 80 } },
    "omjobOperator": { "env": { "metricsPort": 9001, "healthCheckPort": 9002 } },
}))]
#[case::one_for_both(json!({
    "omjobOperator": { "env": { "metricsPort": 9001, "healthCheckPort": 9001 } },
}))]
fn a_policy_lets_through_what_the_services_lead_to_and_nothing_else(#[case] values: Value) {
    let rendered = Rendered::of(&with(values));
    for name in ["release-ompipe-server", "release-ompipe-operator"] {
        let ports = Ports::of(&rendered, name);
        assert_eq!(ports.policy, ports.service, "{name}");
        let used: BTreeSet<u64> = ports.service.union(&ports.probes).copied().collect();
        assert_eq!(ports.container, used, "{name}");
    }
}

/// A new release makes a namespace for its runs, and keeps it when it goes.
#[test]
fn runs_have_a_namespace_of_their_own() {
    let values = json!({ "server": { "credentials": { "username": "u", "password": "s3cret" } } });
    let rendered = Rendered::of(&values);
    let namespace = &rendered.one("Namespace", "openmetadata-pipelines")["metadata"];
    assert_eq!(namespace["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    assert_eq!(namespace["annotations"]["helm.sh/resource-policy"], "keep");
    let parameters = &rendered.config()["pipelineServiceClientConfiguration"]["parameters"];
    assert_eq!(parameters["namespace"], "openmetadata-pipelines");
    // The default endpoint is a Service beside the release.
    let searches = &parameters["podTemplate"]["spec"]["dnsConfig"]["searches"];
    assert_eq!(*searches, json!(["ns.svc.cluster.local"]));
    let given = with(json!({ "pipelineServiceClientConfig": { "k8s": { "namespace": "runs" } } }));
    assert!(Rendered::of(&given).all("Namespace").is_empty(), "one that is named has to exist");
}

/// OpenMetadata's namespace is known by its endpoint, if that is a Service.
#[rstest]
#[case::beside("http://openmetadata:8585/api", &["ns"])]
#[case::elsewhere("http://openmetadata.om:8585/api", &["ns", "om"])]
#[case::in_full("https://openmetadata.om.svc.cluster.local:8586/api", &["ns", "om"])]
#[case::outside("https://metadata.company.example/api", &[])]
fn the_server_is_called_by_openmetadata_alone(#[case] endpoint: &str, #[case] expected: &[&str]) {
    let block = json!({ "pipelineServiceClientConfig": { "metadataApiEndpoint": endpoint } });
    let rendered = Rendered::of(&with(block));
    let policy = rendered.one("NetworkPolicy", "release-ompipe-server");
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["ports"][0]["port"] == 8080).unwrap();
    let peers = rule["from"].as_array().cloned().unwrap_or_default();
    let label = |peer: &Value| {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(peers.iter().filter_map(label).collect::<Vec<_>>(), expected);
    let runs = rendered.one("NetworkPolicy", "release-ompipe-runs");
    assert_eq!(runs["spec"]["policyTypes"], json!(["Ingress"]));
    assert!(runs["spec"]["ingress"].is_null(), "somebody may call workers");
}

/// The manifests for people without Helm are what the chart renders.
#[test]
fn the_plain_manifests_are_up_to_date() {
    let check = std::process::Command::new(ompipe_tests::helm::repository("charts/manifests"))
        .arg("--check")
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}
