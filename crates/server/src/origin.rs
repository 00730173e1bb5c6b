//! Requests that a page of another site makes a browser send. A browser that has logged in once sends
//! user and password along with them, so what changes something is refused.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::refusal::Refusal;

/// Where a browser says that a request comes from.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request pass that no other site has made.
pub(crate) async fn refuse_other_sites(request: Request, next: Next) -> Response {
    if !is_of_other_site(request.method(), request.headers()) {
        return next.run(request).await;
    }
    let words = "a page of another site may not do this in a user's name";
    Refusal::new(StatusCode::FORBIDDEN, words).at(request.uri().path())
}

/// Programs that are no browsers say nothing of where their requests come from. Old browsers, and all
/// of them over plain HTTP, say the origin alone.
fn is_of_other_site(method: &Method, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return false;
    }
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text(SITE), text(ORIGIN)) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_none() || host != text(HOST)
        }
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_program(Method::POST, &[("host", "ompipe:8080")], false)]
    #[case::our_page(Method::POST, &[("host", "ompipe:8080"), ("origin", "http://ompipe:8080")], false)]
    #[case::newer_browser(Method::DELETE, &[("sec-fetch-site", "same-origin")], false)]
    #[case::typed(Method::POST, &[("sec-fetch-site", "none")], false)]
    #[case::other_site(Method::POST, &[("sec-fetch-site", "cross-site")], true)]
    #[case::neighbour(Method::POST, &[("sec-fetch-site", "same-site")], true)]
    #[case::old_browser(Method::DELETE, &[("host", "ompipe:8080"), ("origin", "http://evil")], true)]
    #[case::a_file(Method::POST, &[("host", "ompipe:8080"), ("origin", "null")], true)]
    #[case::only_reads(Method::GET, &[("sec-fetch-site", "cross-site")], false)]
    fn what_another_site_does(
        #[case] method: Method,
        #[case] headers: &[(&str, &str)],
        #[case] refused: bool,
    ) {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        assert_eq!(is_of_other_site(&method, &headers.collect()), refused);
    }
}
