//! Creates an object, and reads of the answer what the caller needs: a whole Pod or Event costs more
//! to read than the rest of the call.

use k8s_openapi::NamespaceResourceScope;
use kube::api::{PostParams, Request};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Creates `object` in its namespace; the answer as `A`.
///
/// # Errors
/// When the API server refuses it or does not answer.
pub(crate) async fn create<K, A>(client: &Client, object: &K) -> Result<A, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize,
    A: DeserializeOwned,
{
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let url = K::url_path(&(), object.namespace().as_deref());
    let request = Request::new(url).create(&PostParams::default(), body);
    client.request(request.map_err(kube::Error::BuildRequest)?).await
}
