//! What the worker may use: requests and limits of any resource.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource;
use serde_json::Value;

use crate::fields::{Fields, scalar_text};
use crate::{Quantity, yaml};

type Amounts = BTreeMap<String, Quantity>;

/// Reads the requests and limits of a container; what is not given keeps its default.
pub(super) fn resources(
    fields: &mut Fields<'_>,
    key: &'static str,
    default: &str,
) -> ResourceRequirements {
    let defaults = yaml::parse(default).unwrap_or_default();
    let mut requests = default_amounts(&defaults["requests"]);
    let mut limits = default_amounts(&defaults["limits"]);
    fields.object(key, |fields| {
        change_amounts(fields, "requests", &mut requests);
        change_amounts(fields, "limits", &mut limits);
        refuse_requests_over_limits(fields, &requests, &limits);
        fields.refuse_unknown();
    });
    ResourceRequirements {
        requests: Some(to_kubernetes(requests)),
        limits: Some(to_kubernetes(limits)),
        ..ResourceRequirements::default()
    }
}

/// The amounts of the table of parameters.
fn default_amounts(amounts: &Value) -> Amounts {
    let parse = |(name, amount): (&String, &Value)| {
        Some((name.clone(), scalar_text(amount)?.parse().ok()?))
    };
    amounts.as_object().into_iter().flatten().filter_map(parse).collect()
}

/// `requests` or `limits`: amounts of any resource, as text or number; null takes a default away.
fn change_amounts(fields: &mut Fields<'_>, key: &'static str, amounts: &mut Amounts) {
    fields.object(key, |inner| {
        for (name, value) in inner.document() {
            if value.is_null() {
                amounts.remove(name);
                continue;
            }
            match scalar_text(value).unwrap_or_default().parse() {
                Ok(amount) => drop(amounts.insert(name.clone(), amount)),
                Err(remedy) => drop(inner.note::<()>(name, remedy)),
            }
        }
    });
}

/// Either of the two may be a default, so both are named.
fn refuse_requests_over_limits(fields: &mut Fields<'_>, requests: &Amounts, limits: &Amounts) {
    for (name, request) in requests {
        let Some(limit) = limits.get(name).filter(|limit| request.exceeds(limit)) else { continue };
        let is_given = |key: &&str| fields.document().get(*key).is_some_and(|v| !v[name].is_null());
        let key = ["requests", "limits"].into_iter().find(is_given).unwrap_or("requests");
        let (request, limit) = (request.to_kubernetes().0, limit.to_kubernetes().0);
        let remedy = "must keep requests within limits (what is not given has its default)";
        fields.note::<()>(key, format!("{remedy}; {name}: request {request}, limit {limit}"));
    }
}

fn to_kubernetes(amounts: Amounts) -> BTreeMap<String, resource::Quantity> {
    amounts.into_iter().map(|(name, amount)| (name, amount.to_kubernetes())).collect()
}
