//! The memory of an attempt that follows an OOM kill.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use ompipe_core::omjob::Bytes;

const MEMORY: &str = "memory";

/// Gives a container the raised limit. Its request grows in proportion, so that the scheduler looks for a
/// node that has the memory, and a pod whose request is its limit stays one.
pub(super) fn raise(container: &mut Container, limit: Option<Bytes>) {
    let Some(limit) = limit else { return };
    let resources = container.resources.get_or_insert_default();
    let limits = resources.limits.get_or_insert_default();
    let before = bytes_in(limits);
    limits.insert(MEMORY.to_owned(), Quantity(limit.to_string()));
    let Some(requests) = &mut resources.requests else { return };
    if let Some((request, before)) = bytes_in(requests).zip(before) {
        let request = in_proportion(request, before, limit);
        requests.insert(MEMORY.to_owned(), Quantity(request.to_string()));
    }
}

fn bytes_in(amounts: &BTreeMap<String, Quantity>) -> Option<Bytes> {
    amounts.get(MEMORY)?.0.parse::<ompipe_core::Quantity>().ok()?.bytes()
}

fn in_proportion(request: Bytes, before: Bytes, limit: Bytes) -> Bytes {
    let grown = u128::from(request.0) * u128::from(limit.0) / u128::from(before.0.max(1));
    Bytes(u64::try_from(grown).unwrap_or(u64::MAX)).clamp(request.min(limit), limit)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::in_proportion(
        json!({ "requests": { "memory": "1Gi", "cpu": "1" }, "limits": { "memory": "4Gi" } }),
        json!({ "requests": { "memory": "2Gi", "cpu": "1" }, "limits": { "memory": "8Gi" } })
    )]
    #[case::guaranteed(
        json!({ "requests": { "memory": "3Gi" }, "limits": { "memory": "3Gi" } }),
        json!({ "requests": { "memory": "8Gi" }, "limits": { "memory": "8Gi" } })
    )]
    #[case::no_request(
        json!({ "limits": { "memory": "4Gi", "cpu": "2" } }),
        json!({ "limits": { "memory": "8Gi", "cpu": "2" } })
    )]
    #[case::limit_of_the_namespace(
        json!({ "requests": { "memory": "1Gi" } }),
        json!({ "requests": { "memory": "1Gi" }, "limits": { "memory": "8Gi" } })
    )]
    fn limit_and_request_grow(#[case] before: Value, #[case] after: Value) {
        let container = |resources: &Value| -> Container {
            serde_json::from_value(json!({ "name": "main", "resources": resources })).unwrap()
        };
        let mut main = container(&before);
        raise(&mut main, None);
        assert_eq!(main, container(&before));
        raise(&mut main, Some(Bytes(8 << 30)));
        assert_eq!(main, container(&after));
    }
}
