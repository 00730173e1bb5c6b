//! The API described for programs: an `OpenAPI` 3.1 document, made of what stands beside the handlers.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, OpenApi as Document, Ref, RefOr, Response as Described, ResponseBuilder, Server,
};

use super::problem::MEDIA_TYPE;
use super::{PREFIX, changes, follow, health, history, logs, pipelines, runs};
use crate::app::Shared;
use crate::settings::BasePath;

/// Media type of the document.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ompipe",
        version = "1",
        description = "Ingestion pipelines of OpenMetadata on Kubernetes: what is deployed, what runs, and what it says.",
    ),
    paths(
        pipelines::list,
        pipelines::detail,
        pipelines::change,
        pipelines::schedule,
        history::list,
        history::statistics,
        changes::follow,
        runs::list,
        runs::start,
        runs::detail,
        runs::stop,
        history::timeline,
        logs::whole,
        logs::page,
        follow::follow,
        health::show,
        show,
    ),
    components(schemas(follow::LogPiece, follow::Warning, follow::End, changes::Gone)),
    tags(
        (name = "pipelines", description = "What is deployed, and when it runs"),
        (name = "runs", description = "Runs"),
        (name = "logs", description = "Logs of runs"),
        (name = "service", description = "The service itself"),
    ),
    security(("basic" = []), ("token" = [])),
)]
struct Ours;

/// Get this document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getDocument",
    tag = "service",
    responses((status = 200, description = "An OpenAPI document", content_type = "application/json"))
)]
pub(super) async fn show(State(app): State<Shared>) -> Response {
    ([(CONTENT_TYPE, JSON)], app.api.document.clone()).into_response()
}

/// The document, for callers below a base path.
pub(super) fn document(base_path: &BasePath) -> Value {
    let mut document = Ours::openapi();
    document.servers = Some(vec![Server::new(format!("{base_path}{PREFIX}"))]);
    add_logins(&mut document);
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
        operations.into_iter().flatten().for_each(add_problem);
    }
    serde_json::to_value(document).unwrap_or_default()
}

fn add_logins(document: &mut Document) {
    let components = document.components.get_or_insert_default();
    for (name, scheme) in [("basic", HttpAuthScheme::Basic), ("token", HttpAuthScheme::Bearer)] {
        components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
    }
}

/// Every operation may be refused.
fn add_problem(operation: &mut Operation) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem: Described = ResponseBuilder::new()
        .description("Why the request was not done")
        .content(MEDIA_TYPE, content)
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(problem));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document() {
        let document = document(&"/base".parse().unwrap());
        insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
    }
}
