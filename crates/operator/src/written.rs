//! Versions that we wrote and the cache has not seen yet. A decision on an older view would do
//! again what was done, and be refused as a conflict.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kube::{Resource, ResourceExt};

use crate::by_owner::version;

/// The newest version of each object that we wrote, by UID.
#[derive(Debug, Default)]
pub(crate) struct Written {
    versions: Mutex<HashMap<Box<str>, u64>>,
}

impl Written {
    /// Takes in the answer to a write.
    pub(crate) fn note(&self, object: &impl Resource) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.insert(object.uid().unwrap_or_default().into(), version(object));
    }

    /// True while the view is older than our last write; the watch will bring a newer one.
    pub(crate) fn is_ahead_of(&self, view: &impl Resource) -> bool {
        let uid = view.uid().unwrap_or_default();
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(written) = versions.get(uid.as_str()) else { return false };
        if *written > version(view) {
            return true;
        }
        versions.remove(uid.as_str());
        false
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::ObjectMeta;

    use super::*;

    fn pod(version: &str) -> Pod {
        let metadata = ObjectMeta {
            uid: Some("u".to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        Pod { metadata, ..Pod::default() }
    }

    #[test]
    fn an_old_view_waits_for_the_watch() {
        let written = Written::default();
        assert!(!written.is_ahead_of(&pod("9")));
        written.note(&pod("10"));
        assert!(written.is_ahead_of(&pod("9")), "versions are numbers, not texts");
        assert!(!written.is_ahead_of(&pod("10")));
        assert!(!written.is_ahead_of(&pod("9")), "it has caught up once and for all");
    }
}
