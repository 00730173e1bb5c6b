//! What one stage of an `OMJob` runs.

use std::collections::BTreeMap;

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, LocalObjectReference, PodSecurityContext, PodSpec,
    PodTemplateSpec, ResourceRequirements, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ompipe_core::run::MAIN_CONTAINER;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{NAME_PLACEHOLDER, RUN_ID_PLACEHOLDER, rules, schema};

type Texts = BTreeMap<String, String>;

/// The pod of one stage: upstream's flat fields, and `podTemplate` for everything that they cannot
/// say. The pod has one container of ours, `main`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StagePodSpec {
    /// Image of the container.
    #[schemars(length(min = 1, max = 4096))]
    pub image: String,
    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [rules::pull_policy_is_known()]))]
    pub image_pull_policy: Option<String>,
    /// Secrets to pull it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pull_secrets")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
    /// Service account of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Command of the container; the image's own when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::command")]
    pub command: Option<Vec<String>>,
    /// Environment of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::env")]
    pub env: Option<Vec<EnvVar>>,
    /// What the container may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceAmounts>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pairs")]
    pub node_selector: Option<Texts>,
    /// Taints that the pod tolerates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Option<Vec<Toleration>>,
    /// Security context of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub security_context: Option<PodSecurityContext>,
    /// Labels of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pairs")]
    pub labels: Option<Texts>,
    /// Annotations of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pairs")]
    pub annotations: Option<Texts>,
    /// A partial `PodTemplateSpec`, merged over the pod as Kubernetes' strategic merge does. What
    /// ompipe's operator knows and upstream's ignores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub pod_template: Option<Box<PodTemplateSpec>>,
}

impl StagePodSpec {
    /// Says a whole pod: in upstream's fields what they can say, the rest in `podTemplate`.
    #[must_use]
    pub fn of_template(template: PodTemplateSpec) -> Self {
        let mut metadata = template.metadata.unwrap_or_default();
        let mut spec = template.spec.unwrap_or_default();
        let mut unsaid = Container::default();
        let main = main_of(&mut spec).unwrap_or(&mut unsaid);
        let resources = main.resources.as_mut();
        let (requests, limits) =
            resources.map(|all| (all.requests.take(), all.limits.take())).unwrap_or_default();
        main.resources =
            main.resources.take().filter(|rest| *rest != ResourceRequirements::default());
        Self {
            image: main.image.take().unwrap_or_default(),
            image_pull_policy: main.image_pull_policy.take(),
            command: main.command.take(),
            env: main.env.take(),
            resources: Some(ResourceAmounts { requests, limits }),
            image_pull_secrets: spec.image_pull_secrets.take(),
            service_account_name: spec.service_account_name.take(),
            node_selector: spec.node_selector.take(),
            tolerations: spec.tolerations.take(),
            security_context: spec.security_context.take(),
            labels: metadata.labels.take(),
            annotations: metadata.annotations.take(),
            pod_template: Some(Box::new(PodTemplateSpec {
                metadata: Some(metadata).filter(|rest| *rest != ObjectMeta::default()),
                spec: Some(spec),
            })),
        }
    }

    /// The pod that an operator makes of this: upstream's fields, with `podTemplate` laid over
    /// them. It never restarts, whatever the template says: retries are the operator's.
    #[must_use]
    pub fn to_template(&self) -> PodTemplateSpec {
        let mut template = PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: self.labels.clone(),
                annotations: self.annotations.clone(),
                ..ObjectMeta::default()
            }),
            spec: Some(self.flat_spec()),
        };
        if let Some(unsaid) = &self.pod_template {
            template.merge_from(PodTemplateSpec::clone(unsaid));
        }
        if let Some(spec) = &mut template.spec {
            spec.restart_policy = Some("Never".to_owned());
        }
        template
    }

    fn flat_spec(&self) -> PodSpec {
        PodSpec {
            image_pull_secrets: self.image_pull_secrets.clone(),
            service_account_name: self.service_account_name.clone(),
            node_selector: self.node_selector.clone(),
            tolerations: self.tolerations.clone(),
            security_context: self.security_context.clone(),
            containers: vec![self.flat_container()],
            ..PodSpec::default()
        }
    }

    fn flat_container(&self) -> Container {
        let amounts = self.resources.clone().map(|amounts| ResourceRequirements {
            requests: amounts.requests,
            limits: amounts.limits,
            ..ResourceRequirements::default()
        });
        Container {
            name: MAIN_CONTAINER.to_owned(),
            image: Some(self.image.clone()),
            image_pull_policy: self.image_pull_policy.clone(),
            command: self.command.clone(),
            env: self.env.as_deref().map(usable_variables),
            resources: amounts,
            ..Container::default()
        }
    }
}

fn main_of(spec: &mut PodSpec) -> Option<&mut Container> {
    spec.containers.iter_mut().find(|container| container.name == MAIN_CONTAINER)
}

/// Variables without the empty `valueFrom` that upstream's client sends and Kubernetes refuses.
fn usable_variables(variables: &[EnvVar]) -> Vec<EnvVar> {
    let usable = |variable: &EnvVar| {
        let mut variable = variable.clone();
        variable.value_from =
            variable.value_from.filter(|source| *source != EnvVarSource::default());
        variable
    };
    variables.iter().map(usable).collect()
}

/// Puts the run's id and the name of its `OMJob` where a variable's whole value is upstream's
/// placeholder ([`RUN_ID_PLACEHOLDER`], [`NAME_PLACEHOLDER`]).
pub fn fill_placeholders(variables: Option<&mut Vec<EnvVar>>, run_id: &str, name: &str) {
    for variable in variables.into_iter().flatten() {
        let value = match variable.value.as_deref() {
            Some(RUN_ID_PLACEHOLDER) => run_id,
            Some(NAME_PLACEHOLDER) => name,
            _ => continue,
        };
        variable.value = Some(value.to_owned());
    }
}

/// Requests and limits of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceAmounts {
    /// What the container is promised.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "read_amounts")]
    #[schemars(schema_with = "schema::amounts")]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// What it may not exceed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "read_amounts")]
    #[schemars(schema_with = "schema::amounts")]
    pub limits: Option<BTreeMap<String, Quantity>>,
}

/// Amounts as text or as whole numbers: people write `cpu: 1`.
fn read_amounts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, Quantity>>, D::Error> {
    let written = Option::<BTreeMap<String, Amount>>::deserialize(deserializer)?;
    let read = |(name, amount): (String, Amount)| (name, amount.into());
    Ok(written.map(|amounts| amounts.into_iter().map(read).collect()))
}

/// One such amount.
pub(crate) fn read_amount<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Quantity, D::Error> {
    Amount::deserialize(deserializer).map(Quantity::from)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Number(i64),
    Text(String),
}

impl From<Amount> for Quantity {
    fn from(amount: Amount) -> Self {
        match amount {
            Amount::Number(number) => Self(number.to_string()),
            Amount::Text(text) => Self(text),
        }
    }
}
