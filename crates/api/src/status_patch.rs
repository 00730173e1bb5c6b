//! How a status is written: on the condition that the object is still as it was seen.

use kube::ResourceExt;
use kube::core::object::HasStatus;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The JSON merge patch (RFC 7386) for the status subresource that makes of the status in `seen`
/// this `status`: what goes is an explicit null, what stays is left out.
///
/// It carries the resource version of `seen`, so that the API server answers 409 when the object
/// has changed since, even when the patch changes nothing.
///
/// # Errors
/// A time that RFC 3339 cannot say.
pub fn status_patch<K>(seen: &K, status: &K::Status) -> serde_json::Result<Value>
where
    K: HasStatus + ResourceExt,
    K::Status: Serialize,
{
    let known = match seen.status() {
        Some(known) => serde_json::to_value(known)?,
        None => json!({}),
    };
    // Without a version the API server refuses the patch: an empty one is none.
    let version = seen.resource_version().unwrap_or_default();
    let mut patch = json!({ "metadata": { "resourceVersion": version } });
    if let Some(changes) = difference(&known, &serde_json::to_value(status)?) {
        patch["status"] = changes;
    }
    Ok(patch)
}

/// The merge patch that makes `new` of `old`; `None` when they are equal.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return Some(new.clone());
    };
    let gone =
        old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, value)| {
        let change = old.get(key).map_or_else(|| Some(value.clone()), |old| difference(old, value));
        Some((key.clone(), change?))
    });
    Some(Value::Object(gone.chain(changed).collect::<Map<_, _>>()))
}
