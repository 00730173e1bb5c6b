//! What a request asks for: the pipeline and run in its path, its query, its body. What is wrong with
//! them is a problem that names the field.

use std::collections::HashMap;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use ompipe_core::fields::Fields;
use ompipe_core::{PipelineIdentity, Problems, RunId};
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::problem::Problem;
use crate::app::Shared;
use crate::document::Document;

/// The pipeline in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "the shape for the OpenAPI document")]
pub(super) struct PipelinePath {
    /// Fully qualified name of a pipeline, percent-encoded; or its name, where only one has it.
    #[param(example = "shop.nightly")]
    pipeline: String,
}

/// The run in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "the shape for the OpenAPI document")]
pub(super) struct RunPath {
    /// Fully qualified name of a pipeline, percent-encoded; or its name, where only one has it.
    #[param(example = "shop.nightly")]
    pipeline: String,
    /// Id of the run.
    #[param(rename = "runId", format = "uuid")]
    run_id: String,
}

/// The deployed pipeline that the path names, by name or fully qualified name.
pub(super) struct Named(pub(super) PipelineIdentity);

impl FromRequestParts<Shared> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let name = segment(parts, "pipeline").await?;
        Ok(Self(app.client.find(&name).await?))
    }
}

/// The same, or a pipeline that is not deployed any more and whose runs are archived.
pub(super) struct NamedOrArchived(pub(super) PipelineIdentity);

impl FromRequestParts<Shared> for NamedOrArchived {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let name = segment(parts, "pipeline").await?;
        Ok(Self(app.client.find_or_archived(&name).await?))
    }
}

/// A run of a pipeline that the path names; whether there is such a run is not known yet.
pub(super) struct NamedRun {
    pub(super) pipeline: PipelineIdentity,
    pub(super) run: RunId,
}

impl FromRequestParts<Shared> for NamedRun {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        // Before the cluster is asked for anything.
        let run = segment(parts, "runId").await?.parse();
        let run = run.map_err(|remedy| Problem::with("runId", remedy))?;
        let named = NamedOrArchived::from_request_parts(parts, app).await?;
        Ok(Self { pipeline: named.0, run })
    }
}

/// A part of the path, as it was before it was encoded.
pub(super) async fn segment(parts: &mut Parts, name: &str) -> Result<String, Problem> {
    let path = Path::<HashMap<String, String>>::from_request_parts(parts, &()).await;
    let Path(mut path) =
        path.map_err(|_| Problem::with("path", "must be percent-encoded UTF-8"))?;
    Ok(path.remove(name).unwrap_or_default())
}

/// The query of a request.
pub(super) struct Asked(Map<String, Value>);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(pairs) =
            pairs.map_err(|_| Problem::with("query", "must be percent-encoded UTF-8"))?;
        Ok(Self(pairs.into_iter().map(|(key, value)| (key, value.into())).collect()))
    }
}

impl Asked {
    /// Reads the parameters.
    pub(super) fn read<T>(&self, read: impl FnOnce(&mut Fields<'_>) -> T) -> Result<T, Problem> {
        read_all("query", &self.0, read)
    }
}

/// A body that is a JSON object; an absent one is empty.
pub(super) struct Body(Map<String, Value>);

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Document::from_request(request, state).await? {
            Document(Value::Object(map), _) => Ok(Self(map)),
            Document(Value::Null, _) => Ok(Self(Map::new())),
            Document(..) => Err(Problem::with("body", "must be a JSON object")),
        }
    }
}

impl Body {
    /// Reads the fields.
    pub(super) fn read<T>(&self, read: impl FnOnce(&mut Fields<'_>) -> T) -> Result<T, Problem> {
        read_all("body", &self.0, read)
    }

    /// The whole.
    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// Reads fields, and refuses those that `read` did not look at: a misspelt one would do nothing.
fn read_all<T>(
    subject: &'static str,
    map: &Map<String, Value>,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> Result<T, Problem> {
    let mut fields = Fields::new("", map);
    let value = read(&mut fields);
    fields.refuse_unknown();
    match fields.into_problems() {
        list if list.is_empty() => Ok(value),
        list => Err(Problems { subject, list }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(query: &str) -> Asked {
        let request = Request::builder().uri(format!("/x?{query}")).body(()).unwrap();
        Asked::from_request_parts(&mut request.into_parts().0, &()).await.unwrap()
    }

    fn count(asked: &Asked) -> Result<Option<i64>, Problem> {
        asked.read(|fields| fields.integer("count", 1..=9))
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_query_names_the_parameter() {
        assert_eq!(count(&asked("count=7").await).unwrap(), Some(7));
        assert_eq!(count(&asked("").await).unwrap(), None);
        for (query, field) in [("count=70", "count"), ("count=x", "count"), ("coumt=7", "coumt")] {
            let problem = count(&asked(query).await).unwrap_err();
            let shown = serde_json::to_value(&problem).unwrap();
            assert_eq!(shown["problems"][0]["field"], field, "{shown}");
        }
    }
}
