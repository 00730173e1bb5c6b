//! What can go wrong with a call.

use std::fmt;

use reqwest::StatusCode;
use url::Url;

/// Why a call to OpenMetadata failed. No variant holds a token, and of an answer's body only the
/// message of OpenMetadata's own error document, masked and shortened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is no base of an API.
    #[error(
        "hostPort {0:?} is not the API of an OpenMetadata server, such as http://openmetadata:8585/api"
    )]
    Endpoint(String),
    /// The endpoint is an address that a config must not make ompipe call.
    #[error(
        "hostPort names {0}, a link-local address or the metadata service of a cloud, which ompipe does \
         not call"
    )]
    OffLimits(String),
    /// The connection has no token to sign in with.
    #[error("the server connection has no securityConfig.jwtToken to sign in with")]
    NoToken,
    /// The TLS settings cannot be used.
    #[error("the TLS settings of the server connection cannot be used: {0}")]
    Tls(#[source] reqwest::Error),
    /// No answer.
    #[error("OpenMetadata does not answer at {url}: {reason}")]
    Unreachable {
        /// What was asked, without its query.
        url: String,
        /// Why, as the network layer has it.
        reason: String,
    },
    /// 401 or 403.
    #[error(
        "OpenMetadata refuses the bot's token ({0}): give one that is valid, or redeploy the pipeline from OpenMetadata"
    )]
    Unauthorized(StatusCode),
    /// 404.
    #[error("OpenMetadata has no {what} {name:?}{}", hint_of_slash(name))]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Any other answer that is no success.
    #[error("OpenMetadata answers {status} to {url}{}", Said(said.as_deref()))]
    Refused {
        /// The status.
        status: StatusCode,
        /// What was asked, without its query.
        url: String,
        /// The message of OpenMetadata's error document, masked and shortened; none where a server
        /// in front of it answered.
        said: Option<String>,
    },
    /// An answer that OpenMetadata would not give: of a proxy, a login page, a redirect.
    #[error(
        "what answers {status} to {url} is not OpenMetadata{}; check hostPort, which ends in /api, and \
         the proxy in front of the server",
        Towards(location.as_deref())
    )]
    Foreign {
        /// The status.
        status: StatusCode,
        /// What was asked, without its query.
        url: String,
        /// Where a redirect points, without its query.
        location: Option<String>,
    },
    /// An answer without what was asked for.
    #[error("OpenMetadata's answer is not {0}")]
    Unreadable(&'static str),
    /// A kind of service that no OpenMetadata has.
    #[error(
        "service.type {0:?} is not a kind of service that can be looked up; give the service entity"
    )]
    UnknownServiceKind(String),
}

/// The server's own words behind a colon, if there are any.
struct Said<'s>(Option<&'s str>);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |said| write!(f, ": {said}"))
    }
}

/// Where a redirect points, if that is known.
struct Towards<'s>(Option<&'s str>);

impl fmt::Display for Towards<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |location| write!(f, ", and redirects to {location}"))
    }
}

/// A name with a slash travels as `%2F`, which some proxies decode: then OpenMetadata sees another path.
fn hint_of_slash(name: &str) -> &'static str {
    if name.contains('/') {
        "; if it is there, a proxy in front of OpenMetadata decodes %2F in paths: let it pass them unchanged"
    } else {
        ""
    }
}

impl Error {
    /// The error without anything that came from the other side, for objects that people read who
    /// chose what is called: what a server says, where it redirects to, why a connection failed.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Unreachable { url, .. } => {
                format!("OpenMetadata does not answer at {}", origin(url))
            }
            Self::Refused { status, url, .. } => {
                format!("OpenMetadata answers {status} at {}", origin(url))
            }
            Self::Foreign { url, .. } => format!(
                "what answers at {} is not OpenMetadata; check hostPort, which ends in /api, and the \
                 proxy in front of the server",
                origin(url)
            ),
            other => other.to_string(),
        }
    }

    /// True when OpenMetadata itself refused the call, or the call cannot even be made: a later one
    /// hardly succeeds. False for outages, for answers of something that is not OpenMetadata, for a row
    /// that this version cannot read, and for a token, which the next deployment replaces.
    ///
    /// OpenMetadata may refuse for a moment what it takes later, so callers give up after it has
    /// refused repeatedly, over minutes; see [`Self::is_refusal`].
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Unauthorized(_)
            | Self::Foreign { .. }
            | Self::Unreadable(_) => false,
            Self::Refused { .. } | Self::NotFound { .. } => self.is_refusal(),
            Self::Endpoint(_)
            | Self::OffLimits(_)
            | Self::NoToken
            | Self::Tls(_)
            | Self::UnknownServiceKind(_) => true,
        }
    }

    /// True when OpenMetadata's own error document says that it does not take the call.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        const PASSING: [StatusCode; 3] =
            [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
        match self {
            Self::NotFound { .. } => true,
            Self::Refused { status, said: Some(_), .. } => {
                status.is_client_error() && !PASSING.contains(status)
            }
            _ => false,
        }
    }

    /// What OpenMetadata said when it understood the call and did not take what it says.
    pub(crate) fn bad_request(&self) -> Option<&str> {
        match self {
            Self::Refused { status: StatusCode::BAD_REQUEST, said, .. } => said.as_deref(),
            _ => None,
        }
    }

    /// True when other calls to the server fail now, too: it does not answer, or something else
    /// answers in its place.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        /// Statuses with which a server in front of OpenMetadata refuses a single call.
        const OF_THE_CALL: [StatusCode; 5] = [
            StatusCode::BAD_REQUEST,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::URI_TOO_LONG,
            StatusCode::UNPROCESSABLE_ENTITY,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ];
        match self {
            Self::Foreign { status, .. } => !OF_THE_CALL.contains(status),
            _ => self.is_transient(),
        }
    }

    /// True when the same call may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Endpoint(_)
            | Self::OffLimits(_)
            | Self::NoToken
            | Self::Tls(_)
            | Self::Unauthorized(_)
            | Self::NotFound { .. }
            | Self::Foreign { .. }
            | Self::Unreadable(_)
            | Self::UnknownServiceKind(_) => false,
        }
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> String {
    Url::parse(url).map_or_else(|_| "hostPort".to_owned(), |url| url.origin().ascii_serialization())
}
