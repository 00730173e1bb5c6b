//! Whether the bearer of a Kubernetes token may do something, as the API server says: for services
//! that others call with the tokens that they have.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use super::K8sPipelineClient;
use crate::error::{KubernetesError, Result};
use crate::health::Right;

/// What Kubernetes says of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The token is not valid.
    Unknown,
    /// The token is somebody's who does not have the right.
    Forbidden,
    /// Its bearer has the right.
    Allowed,
}

impl K8sPipelineClient {
    /// Asks whose a token is that was made for `audience`, and whether that one has a right in the
    /// namespace of the pipelines. A token for the API server itself is not valid here: a server that takes it
    /// could use it there.
    ///
    /// # Errors
    /// Kubernetes refuses: ompipe's account needs `create` on `tokenreviews` and `subjectaccessreviews`
    /// (`ClusterRole` `system:auth-delegator`).
    pub async fn admission(&self, token: &str, audience: &str, right: Right) -> Result<Admission> {
        let Some(user) = self.user_of(token, audience).await? else {
            return Ok(Admission::Unknown);
        };
        let has = self.user_has(user, right).await?;
        Ok(if has { Admission::Allowed } else { Admission::Forbidden })
    }

    async fn user_of(&self, token: &str, audience: &str) -> Result<Option<UserInfo>> {
        let audiences = Some(vec![audience.to_owned()]);
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.cluster().calls.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|e| KubernetesError::new("reviewing a token", e))?;
        let status = answer.status.unwrap_or_default();
        // A cluster that knows no audiences names none, and means those of the API server.
        let is_for = status.audiences.iter().flatten().any(|named| named == audience);
        Ok(status.user.filter(|_| status.authenticated == Some(true) && is_for))
    }

    async fn user_has(&self, user: UserInfo, right: Right) -> Result<bool> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username,
                uid: user.uid,
                groups: user.groups,
                extra: user.extra,
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(self.config().namespace.to_string()),
                    ..right.attributes()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.cluster().calls.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|e| KubernetesError::new("asking for a caller's rights", e))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}
