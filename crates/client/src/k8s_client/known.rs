//! Which of the deployed pipelines OpenMetadata still has. Requests over HTTP name a pipeline without
//! its service, and a server that cannot reach its pipeline service deletes pipelines all the same.

use futures::future;
use ompipe_core::{PipelineIdentity, ServerConnection};
use ompipe_openmetadata::{Error as ServerError, OpenMetadata};
use tracing::debug;

use super::K8sPipelineClient;
use crate::error::{Error, Result};

/// Whether OpenMetadata has a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It has it.
    Yes,
    /// It has neither its name nor its id.
    No,
    /// That cannot be said, and why.
    Unclear(String),
}

impl K8sPipelineClient {
    /// The deployed pipeline with a name or fully qualified name. Where several have the name, those
    /// that OpenMetadata no longer has are left out.
    ///
    /// # Errors
    /// There is none, or OpenMetadata has several of them.
    pub async fn find_known(&self, name: &str) -> Result<PipelineIdentity> {
        let found = self.find(name).await;
        let Err(Error::Ambiguous { .. }) = &found else { return found };
        let namesakes = self.named_and_known(name).await?;
        the_only_one(namesakes).map_or(found, Ok)
    }

    /// The pipelines with a name that OpenMetadata no longer has; none when that is unclear.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn find_gone(&self, name: &str) -> Result<Vec<PipelineIdentity>> {
        let namesakes = self.named_and_known(name).await?;
        let gone = namesakes.into_iter().filter(|(_, known)| *known == Known::No);
        Ok(gone.map(|(identity, _)| identity).collect())
    }

    async fn named_and_known(&self, name: &str) -> Result<Vec<(PipelineIdentity, Known)>> {
        let named = self.named(name).await?;
        let asked = named.into_iter().map(|identity| async {
            let known = self.is_known(&identity).await;
            debug!(pipeline = identity.fully_qualified_name, ?known, "asked OpenMetadata");
            (identity, known)
        });
        Ok(future::join_all(asked).await)
    }

    /// Asks OpenMetadata whether it has a pipeline, as the last deploy of the pipeline connects to it.
    pub async fn is_known(&self, pipeline: &PipelineIdentity) -> Known {
        let stored = self.load(pipeline).await.ok();
        let stored = stored.and_then(|(pipeline, _)| pipeline.server_connection);
        self.is_known_at(pipeline, stored).await
    }

    /// The same, with the connection that the pipeline's Secret has. A token that the server refuses,
    /// such as the name of a secret, leaves the configured one.
    pub(super) async fn is_known_at(
        &self,
        pipeline: &PipelineIdentity,
        stored: Option<ServerConnection>,
    ) -> Known {
        if pipeline.has_derived_id() {
            let why = "it was deployed from a file that has no id of OpenMetadata";
            return Known::Unclear(why.to_owned());
        }
        let mut answer = Known::Unclear("no OpenMetadata server is known".to_owned());
        for connection in stored.into_iter().chain(self.preparation.connection()) {
            match has(&connection, pipeline).await {
                Ok(true) => return Known::Yes,
                Ok(false) => return Known::No,
                Err(refused @ (ServerError::Unauthorized(_) | ServerError::NoToken)) => {
                    answer = Known::Unclear(refused.to_string());
                }
                Err(error) => return Known::Unclear(error.to_string()),
            }
        }
        answer
    }
}

async fn has(
    connection: &ServerConnection,
    pipeline: &PipelineIdentity,
) -> Result<bool, ServerError> {
    let server = OpenMetadata::new(connection)?;
    server.has_pipeline(&pipeline.fully_qualified_name, &pipeline.id.to_string()).await
}

/// The one of several pipelines that OpenMetadata may have, if all others are gone.
fn the_only_one(namesakes: Vec<(PipelineIdentity, Known)>) -> Option<PipelineIdentity> {
    let mut left = namesakes.into_iter().filter(|(_, known)| *known != Known::No);
    match (left.next(), left.next()) {
        (Some((only, _)), None) => Some(only),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn identity(fqn: &str) -> PipelineIdentity {
        let id = "11111111-2222-4333-8444-555555555555".parse().unwrap();
        PipelineIdentity { id, name: "p".to_owned(), fully_qualified_name: fqn.to_owned() }
    }

    fn unclear() -> Known {
        Known::Unclear("no answer".to_owned())
    }

    #[rstest]
    #[case::one_is_gone(Known::Yes, Known::No, Some("a.p"))]
    #[case::the_other_is_gone(Known::No, Known::Yes, Some("b.p"))]
    #[case::both_are_there(Known::Yes, Known::Yes, None)]
    #[case::both_are_gone(Known::No, Known::No, None)]
    #[case::one_is_unclear(Known::Yes, unclear(), None)]
    #[case::unclear_and_gone(unclear(), Known::No, Some("a.p"))]
    #[case::nothing_is_clear(unclear(), unclear(), None)]
    fn a_namesake_that_is_gone_does_not_count(
        #[case] a: Known,
        #[case] b: Known,
        #[case] expected: Option<&str>,
    ) {
        let one = the_only_one(vec![(identity("a.p"), a), (identity("b.p"), b)]);
        assert_eq!(one.map(|one| one.fully_qualified_name).as_deref(), expected);
    }
}
