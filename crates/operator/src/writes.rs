//! The way to every write: open to the leader only.

use std::fmt;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};

use crate::error::Error;
use crate::lease::Leadership;

/// Writes to the cluster, behind the lease.
///
/// [`Leadership::is_held`] ends well before another replica may begin. A write that was sent in time may
/// still land later, when the API server is slow: what then protects is that it names the resource
/// version that it rests on, or a pod whose name its attempt determines.
#[derive(Clone)]
pub(crate) struct Writes {
    client: Client,
    leadership: Leadership,
}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writes").field("leadership", &self.leadership).finish_non_exhaustive()
    }
}

impl Writes {
    pub(crate) const fn new(client: Client, leadership: Leadership) -> Self {
        Self { client, leadership }
    }

    /// The client, for one write.
    ///
    /// # Errors
    /// When this replica does not lead.
    pub(crate) fn leading(&self) -> Result<&Client, Error> {
        if self.leadership.is_held() { Ok(&self.client) } else { Err(Error::NotLeading) }
    }

    /// Objects of a kind, for one write.
    ///
    /// # Errors
    /// When this replica does not lead.
    pub(crate) fn to<K>(&self, namespace: &str) -> Result<Api<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Ok(Api::namespaced(self.leading()?.clone(), namespace))
    }

    /// Objects of a kind, to read.
    pub(crate) fn read<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) const fn leadership(&self) -> &Leadership {
        &self.leadership
    }
}
