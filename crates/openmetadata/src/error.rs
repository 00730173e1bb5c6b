//! What can go wrong with a call.

use reqwest::StatusCode;

/// Why a call to OpenMetadata failed. No variant holds a token or a body.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is no base of an API.
    #[error(
        "hostPort {0:?} is not the API of an OpenMetadata server, such as http://openmetadata:8585/api"
    )]
    Endpoint(String),
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
    #[error("OpenMetadata has no {what} {name:?}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Any other answer that is no success.
    #[error("OpenMetadata answers {status} to {url}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What was asked, without its query.
        url: String,
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

impl Error {
    /// True when no later call will succeed either, however long one waits: neither an outage, nor a
    /// token that the next deployment replaces.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Unauthorized(_) => false,
            Self::Refused { status, .. } => {
                let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
                status.is_client_error() && !passing.contains(status)
            }
            Self::Endpoint(_)
            | Self::NoToken
            | Self::Tls(_)
            | Self::NotFound { .. }
            | Self::Unreadable(_)
            | Self::UnknownServiceKind(_) => true,
        }
    }

    /// True when the server understood the call and does not take what it says.
    pub(crate) fn is_bad_request(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::BAD_REQUEST, .. })
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
            | Self::NoToken
            | Self::Tls(_)
            | Self::Unauthorized(_)
            | Self::NotFound { .. }
            | Self::Unreadable(_)
            | Self::UnknownServiceKind(_) => false,
        }
    }
}
