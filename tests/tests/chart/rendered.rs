//! What the chart renders to, as objects.

use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::yaml;
use ompipe_server::settings::{ServeArgs, Settings};
use ompipe_tests::helm::{Release, documents};
use serde_json::{Value, json};

/// The objects of one release.
pub(crate) struct Rendered {
    pub(crate) objects: Vec<Value>,
}

/// Values that say no more than they must, with runs in the release's namespace.
pub(crate) fn least() -> Value {
    json!({
        "server": { "credentials": { "username": "openmetadata", "password": "s3cret" } },
        "pipelineServiceClientConfig": { "k8s": { "namespace": "ns" } },
    })
}

/// The least values, and these over them.
pub(crate) fn with(more: Value) -> Value {
    let mut values = least();
    merge(&mut values, more);
    values
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// `charts/values/full.yaml`: everything that can be switched on.
pub(crate) fn full() -> Value {
    yaml::parse(include_str!("../../../charts/values/full.yaml")).unwrap()
}

impl Rendered {
    /// The release `release` in the namespace `ns`.
    #[track_caller]
    pub(crate) fn of(values: &Value) -> Self {
        Self::named("release", "ns", values)
    }

    #[track_caller]
    pub(crate) fn named(release: &str, namespace: &str, values: &Value) -> Self {
        let text = Release::rendered(release, namespace).template(values, &[]).unwrap();
        Self { objects: documents(&text).map(|text| yaml::parse(text).unwrap()).collect() }
    }

    /// Every object of a kind.
    pub(crate) fn all(&self, kind: &str) -> Vec<&Value> {
        self.objects.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// The only object of that kind and name.
    #[track_caller]
    pub(crate) fn one(&self, kind: &str, name: &str) -> &Value {
        let found: Vec<_> =
            self.all(kind).into_iter().filter(|o| o["metadata"]["name"] == name).collect();
        assert_eq!(found.len(), 1, "{kind} {name} in {:?}", self.names());
        found[0]
    }

    /// Kind, namespace and name of every object.
    pub(crate) fn names(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let name = |o: &Value| {
            let metadata = &o["metadata"];
            let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
            format!("{} {namespace}/{name}", text(&o["kind"]))
        };
        self.objects.iter().map(name).collect()
    }

    /// The configuration that the server reads.
    pub(crate) fn config(&self) -> Value {
        let secrets = self.all("Secret");
        let found = secrets.iter().find_map(|o| o["stringData"]["config.yaml"].as_str());
        yaml::parse(found.unwrap()).unwrap()
    }

    /// What the client makes of it in a pod of the namespace `ns`.
    #[track_caller]
    pub(crate) fn checked(&self) -> K8sPipelineClientConfig {
        let server = &self.one("Deployment", "release-ompipe-server")["spec"]["template"]["spec"];
        let env = server["containers"][0]["env"].as_array().unwrap();
        let own = env.iter().find(|entry| entry["name"] == "K8S_NAMESPACE");
        let environment = own.map(|_| ("K8S_NAMESPACE".to_owned(), "ns".to_owned()));
        let document = self.config();
        let checked = K8sPipelineClientConfig::read(&document, &environment.into_iter().collect());
        checked.unwrap_or_else(|problems| panic!("{problems}")).config
    }

    /// What the server makes of it.
    #[track_caller]
    pub(crate) fn checked_server(&self) -> Settings {
        let checked = Settings::read(&self.config(), &ServeArgs::default());
        checked.unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The parameters of the client in it.
    pub(crate) fn parameters(&self) -> Value {
        self.config()["pipelineServiceClientConfiguration"]["parameters"].take()
    }

    /// The specifications of all pods, each with what it is of.
    pub(crate) fn pods(&self) -> Vec<(String, &Value)> {
        let specification = |o: &'_ Value| match o["kind"].as_str() {
            Some("Deployment" | "Job") => Some("/spec/template/spec"),
            Some("Pod") => Some("/spec"),
            _ => None,
        };
        let pods = self.objects.iter().filter_map(|o| {
            let spec = o.pointer(specification(o)?)?;
            Some((o["metadata"]["name"].as_str()?.to_owned(), spec))
        });
        pods.collect()
    }

    /// A variable of the operator; `None` leaves it its default.
    pub(crate) fn operator_variable(&self, name: &str) -> Option<String> {
        let operator = self.one("Deployment", "release-ompipe-operator");
        let env = &operator["spec"]["template"]["spec"]["containers"][0]["env"];
        let found = env.as_array().unwrap().iter().find(|entry| entry["name"] == name);
        Some(found?["value"].as_str().unwrap().to_owned())
    }
}
