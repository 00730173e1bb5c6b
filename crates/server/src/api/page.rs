//! The API described for people: a page made of the `OpenAPI` document, without scripts, and without
//! anything that is fetched from elsewhere.

use std::fmt::{self, Write};

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_SECURITY_POLICY;
use serde_json::Value;

use super::PREFIX;
use crate::app::Shared;
use crate::settings::BasePath;

/// Nothing but the page's own style.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);
const STYLE: &str = include_str!("page.css");

/// The methods of HTTP that the API has.
const METHODS: [&str; 4] = ["get", "post", "patch", "delete"];

pub(super) async fn show(State(app): State<Shared>) -> Response {
    ([(CONTENT_SECURITY_POLICY, POLICY)], Html(app.api.page.clone())).into_response()
}

/// The page of a document, for callers below a base path.
pub(super) fn render(document: &Value, base_path: &BasePath) -> String {
    let mut page = String::new();
    // A `String` takes everything.
    let _written = write_page(&mut page, document, &format!("{base_path}{PREFIX}"));
    page
}

fn write_page(page: &mut String, document: &Value, root: &str) -> fmt::Result {
    let info = &document["info"];
    let (title, version) = (Text(&info["title"]), Text(&info["version"]));
    writeln!(page, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">")?;
    writeln!(page, "<title>{title} API</title>\n<style>\n{STYLE}</style>")?;
    writeln!(page, "<h1>{title} <small>{version}</small></h1>")?;
    writeln!(page, "<p>{}</p>", Text(&info["description"]))?;
    writeln!(page, "<p><a href=\"{root}/openapi.json\">{root}/openapi.json</a></p>")?;
    for tag in document["tags"].as_array().into_iter().flatten() {
        writeln!(page, "<h2>{}</h2>", Text(&tag["description"]))?;
        for (path, item) in map(&document["paths"]) {
            let of_tag = |method: &&str| item[*method]["tags"][0] == tag["name"];
            for method in METHODS.into_iter().filter(of_tag) {
                write_operation(page, (root, path), method, &item[method])?;
            }
        }
    }
    writeln!(page, "<h2>Schemas</h2>")?;
    map(&document["components"]["schemas"])
        .try_for_each(|(name, schema)| write_shape(page, name, schema))
}

fn write_operation(
    page: &mut String,
    (root, path): (&str, &str),
    method: &str,
    operation: &Value,
) -> fmt::Result {
    let name = method.to_uppercase();
    writeln!(page, "<details><summary><b>{name}</b> <code>{}</code>", Escaped(path))?;
    writeln!(page, "{}</summary>", Text(&operation["summary"]))?;
    writeln!(page, "<p>{}</p>", Text(&operation["description"]))?;
    if method == "get" && !path.contains('{') {
        writeln!(page, "<p><a href=\"{root}{path}\">{root}{path}</a></p>")?;
    }
    write_parts(page, operation)?;
    writeln!(page, "</details>")
}

/// What goes in and what comes out.
fn write_parts(page: &mut String, operation: &Value) -> fmt::Result {
    writeln!(page, "<dl>")?;
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let (name, place) = (Text(&parameter["name"]), Text(&parameter["in"]));
        writeln!(page, "<dt><code>{name}</code> <small>{place}</small></dt>")?;
        writeln!(page, "<dd>{}</dd>", Text(&parameter["description"]))?;
    }
    if let Some(shape) = shape(&operation["requestBody"]["content"]) {
        let description = Text(&operation["requestBody"]["description"]);
        writeln!(page, "<dt>Body</dt><dd>{description}: {shape}</dd>")?;
    }
    for (status, response) in map(&operation["responses"]) {
        writeln!(page, "<dt>{}</dt>", Escaped(status))?;
        writeln!(page, "<dd>{}", Text(&response["description"]))?;
        if let Some(shape) = shape(&response["content"]) {
            writeln!(page, ": {shape}")?;
        }
        writeln!(page, "</dd>")?;
    }
    writeln!(page, "</dl>")
}

fn write_shape(page: &mut String, name: &str, schema: &Value) -> fmt::Result {
    let name = Escaped(name);
    writeln!(page, "<details id=\"{name}\"><summary><code>{name}</code>")?;
    writeln!(page, "{}</summary>", Text(&schema["description"]))?;
    let pretty = serde_json::to_string_pretty(schema).unwrap_or_default();
    writeln!(page, "<pre>{}</pre></details>", Escaped(&pretty))
}

/// A link to the shape of a content, or its media type where it has none.
fn shape(content: &Value) -> Option<String> {
    let (media_type, content) = map(content).next()?;
    let schema = &content["schema"];
    let alternatives = schema["oneOf"].as_array().into_iter().flatten();
    let name = std::iter::once(schema).chain(alternatives).find_map(|schema| {
        schema["$ref"].as_str()?.strip_prefix("#/components/schemas/").map(Escaped)
    });
    let media_type = Escaped(media_type);
    Some(match name {
        Some(name) => format!("<a href=\"#{name}\">{name}</a>, <code>{media_type}</code>"),
        None => format!("<code>{media_type}</code>"),
    })
}

fn map(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// A text of the document, whose words between backticks are code; nothing where it has none.
struct Text<'t>(&'t Value);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.as_str().unwrap_or_default();
        text.split('`').enumerate().try_for_each(|(number, part)| match number % 2 {
            0 => Escaped(part).fmt(f),
            _ => write!(f, "<code>{}</code>", Escaped(part)),
        })
    }
}

/// A text that means itself in a page, whatever is in it.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::openapi;
    use super::*;

    #[test]
    fn every_operation_is_on_the_page() {
        let base_path = "/base".parse().unwrap();
        let document = openapi::document(&base_path);
        let page = render(&document, &base_path);
        for (path, item) in map(&document["paths"]) {
            for method in METHODS.iter().filter(|method| item[**method].is_object()) {
                let summary = format!("<b>{}</b> <code>{path}</code>", method.to_uppercase());
                assert!(page.contains(&summary), "{summary}");
            }
        }
        assert!(page.contains("href=\"/base/api/v1/pipelines\""));
        assert!(page.contains("Data of an event <code>gone</code>"), "{page}");
        assert!(!page.contains("://") && !page.contains("<script"), "nothing from elsewhere");
    }

    #[test]
    fn texts_mean_themselves() {
        let document = json!({ "info": { "title": "<b>&\"'" } });
        assert!(render(&document, &BasePath::default()).contains("&lt;b&gt;&amp;&quot;&#39;"));
    }
}
