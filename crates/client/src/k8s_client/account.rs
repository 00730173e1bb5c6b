//! The service account of the runs and its rights: made where they are absent, for `doctor --fix`.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{ObjectMeta, PostParams};
use ompipe_core::labels::OMPIPE;

use super::K8sPipelineClient;
use super::diagnose::rights_of_runs;
use crate::error::{KubernetesError, Result};
use crate::health::Right;
use crate::object::Object;
use crate::transaction::{Change, Written};

impl K8sPipelineClient {
    /// Creates the service account of the runs, and a Role and a binding of its name with the rights that
    /// exit handlers need. What is there already stays as it is.
    ///
    /// # Errors
    /// The namespace is not there, or the caller may not create them.
    pub async fn create_absent_account(&self) -> Result<Vec<Written>> {
        let (account, role, binding) = self.account();
        Ok(vec![
            self.create_absent(account).await?,
            self.create_absent(role).await?,
            self.create_absent(binding).await?,
        ])
    }

    fn account(&self) -> (ServiceAccount, Role, RoleBinding) {
        let (name, namespace) =
            (self.config().service_account_name.to_string(), self.config().namespace.to_string());
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        };
        let account = ServiceAccount { metadata: metadata.clone(), ..ServiceAccount::default() };
        let rules = rights_of_runs(self.config().mode).map(rule).collect();
        let role = Role { metadata: metadata.clone(), rules: Some(rules) };
        let role_ref = RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: name.clone(),
        };
        let kind = "ServiceAccount".to_owned();
        let subject = Subject { kind, name, namespace: Some(namespace), api_group: None };
        let binding = RoleBinding { metadata, role_ref, subjects: Some(vec![subject]) };
        (account, role, binding)
    }

    async fn create_absent<K: Object>(&self, object: K) -> Result<Written> {
        let params = PostParams { field_manager: Some(OMPIPE.to_owned()), ..PostParams::default() };
        match self.api::<K>().create(&params, &object).await {
            Ok(_) => Ok(Written::new(&object, Change::Created)),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                Ok(Written::new(&object, Change::Unchanged))
            }
            Err(error) => {
                let doing =
                    format!("creating {} {}", K::kind(&()), kube::ResourceExt::name_any(&object));
                Err(KubernetesError::new(doing, error).into())
            }
        }
    }
}

fn rule(right: Right) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![right.group.to_owned()]),
        resources: Some(vec![right.resource.to_owned()]),
        verbs: vec![right.verb.to_owned()],
        ..PolicyRule::default()
    }
}
