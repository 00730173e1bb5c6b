//! Deletes that may be repeated.

use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};

use crate::object::Object;

/// Deletes the object that `as_seen` describes. False when there is no such object any more: it is
/// gone, or has changed in what `as_seen` says, or another one has its name.
pub(crate) async fn delete<K: Object>(
    api: &Api<K>,
    name: &str,
    as_seen: Preconditions,
    how: DeleteParams,
) -> kube::Result<bool> {
    let params = DeleteParams { preconditions: Some(as_seen), ..how };
    match api.delete(name, &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The object with a UID, whatever has changed in it.
pub(crate) fn of_uid(uid: Option<String>) -> Preconditions {
    Preconditions { uid, resource_version: None }
}

/// The object exactly as it was read.
pub(crate) fn unchanged<K: Object>(object: &K) -> Preconditions {
    Preconditions { uid: object.uid(), resource_version: object.resource_version() }
}
