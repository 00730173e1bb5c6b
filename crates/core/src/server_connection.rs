//! `openMetadataServerConnection`: how the worker reaches OpenMetadata (contract §7.3). It holds
//! the bot's token, so it lives in Secrets only and `Debug` hides it.

use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::fields::Fields;

/// The connection, passed through untouched; ompipe itself uses the endpoint, token and TLS.
#[derive(Clone)]
pub struct ServerConnection {
    /// Base of the API, which ends in `/api`.
    pub host_port: String,
    /// The bot's token; absent with other ways to sign in.
    pub jwt_token: Option<SecretString>,
    /// How the server's certificate is checked.
    pub verify_ssl: VerifySsl,
    document: Map<String, Value>,
}

impl ServerConnection {
    /// The connection that a stock server would send, for pipelines that come without one.
    #[must_use]
    pub fn new(host_port: &str, jwt_token: &str, verify_ssl: VerifySsl) -> Self {
        let document = json!({
            "type": "OpenMetadata",
            "hostPort": host_port,
            "authProvider": "openmetadata",
            "securityConfig": { "jwtToken": jwt_token },
            "verifySSL": verify_ssl.as_str(),
        });
        Self {
            host_port: host_port.to_owned(),
            jwt_token: Some(jwt_token.into()),
            verify_ssl,
            document: document.as_object().cloned().unwrap_or_default(),
        }
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let verify_ssl = fields.parsed("verifySSL").unwrap_or_default();
        let jwt_token = fields.object("securityConfig", |security| security.string("jwtToken"));
        if jwt_token.is_none() {
            fields.missing("securityConfig", "it holds the bot's jwtToken");
        }
        let host_port = fields.string("hostPort");
        if host_port.is_none_or(|endpoint| !is_http_url(endpoint)) {
            let remedy = "must be the server's API such as http://openmetadata:8585/api";
            return fields.note("hostPort", remedy);
        }
        Some(Self {
            host_port: host_port?.to_owned(),
            jwt_token: jwt_token?.map(SecretString::from),
            verify_ssl,
            document: fields.document().clone(),
        })
    }

    /// The whole connection, for the workflow config.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.document.clone())
    }

    /// The part with the credentials, for the Secret's key `securityConfig`.
    #[must_use]
    pub fn security_config(&self) -> Value {
        self.document.get("securityConfig").cloned().unwrap_or_default()
    }

    /// The certificate authority to trust beside the system's.
    #[must_use]
    pub fn ca_certificate(&self) -> Option<CaCertificate<'_>> {
        let text = self.document.get("sslConfig")?.get("caCertificate")?.as_str()?;
        Some(match text.trim() {
            "" => return None,
            pem if pem.contains("-----BEGIN") => CaCertificate::Pem(pem),
            path => CaCertificate::File(Path::new(path)),
        })
    }

    /// True when the token is a reference to an entry of a secrets manager (contract §8.5).
    #[must_use]
    pub fn token_is_elsewhere(&self) -> bool {
        self.jwt_token.as_ref().is_some_and(|token| token.expose_secret().starts_with("secret:"))
    }

    /// True when runs overwrite what the server has, for which the worker needs the service
    /// connection in its config (`ingestion.md` §5).
    #[must_use]
    pub fn forces_overwriting(&self) -> bool {
        self.document.get("forceEntityOverwriting").and_then(Value::as_bool) == Some(true)
    }
}

impl fmt::Debug for ServerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConnection")
            .field("host_port", &self.host_port)
            .finish_non_exhaustive()
    }
}

/// Where a certificate authority is: what the server calls `caCertificate` may be either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaCertificate<'c> {
    /// Here.
    Pem(&'c str),
    /// In a file of the worker's container.
    File(&'c Path),
}

/// How a client checks the OpenMetadata server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifySsl {
    /// The endpoint is plain HTTP.
    #[default]
    NoSsl,
    /// TLS without a check of the certificate.
    Ignore,
    /// TLS, certificate checked.
    Validate,
}

impl VerifySsl {
    const ALL: [Self; 3] = [Self::NoSsl, Self::Ignore, Self::Validate];

    /// The name in OpenMetadata's schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSsl => "no-ssl",
            Self::Ignore => "ignore",
            Self::Validate => "validate",
        }
    }
}

impl std::str::FromStr for VerifySsl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        known.ok_or("must be one of no-ssl, ignore, validate")
    }
}

/// True for an absolute http or https URL with a host.
pub(crate) fn is_http_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    !host.is_empty() && !host.starts_with(':') && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(document: &Value) -> (Option<ServerConnection>, Vec<String>) {
        let mut fields = Fields::new("connection", document.as_object().unwrap());
        let connection = ServerConnection::read(&mut fields);
        (connection, fields.into_problems().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn everything_passes_through() {
        let document = json!({
            "hostPort": "https://om:8585/api", "securityConfig": { "jwtToken": "t" },
            "verifySSL": "validate", "fieldOfTheFuture": 1,
        });
        let (connection, problems) = read(&document);
        let connection = connection.unwrap();
        assert!(problems.is_empty());
        assert_eq!(connection.to_value(), document);
        assert_eq!(connection.security_config(), json!({ "jwtToken": "t" }));
        assert_eq!(connection.verify_ssl, VerifySsl::Validate);
    }

    #[test]
    fn says_what_is_missing_without_the_token() {
        let (_, problems) = read(&json!({ "hostPort": "om:8585", "verifySSL": "maybe" }));
        assert_eq!(
            problems,
            [
                r#"connection.verifySSL = "maybe": must be one of no-ssl, ignore, validate"#,
                "connection.securityConfig: is missing; it holds the bot's jwtToken",
                r#"connection.hostPort = "om:8585": must be the server's API such as http://openmetadata:8585/api"#,
            ]
        );
    }

    #[rstest]
    #[case("/etc/om/ca.pem", Some(CaCertificate::File(Path::new("/etc/om/ca.pem"))))]
    #[case("-----BEGIN CERTIFICATE-----", Some(CaCertificate::Pem("-----BEGIN CERTIFICATE-----")))]
    #[case("", None)]
    fn an_authority_is_a_text_or_a_file(
        #[case] text: &str,
        #[case] expected: Option<CaCertificate<'_>>,
    ) {
        let (connection, _) = read(&json!({
            "hostPort": "https://om/api", "securityConfig": { "jwtToken": "t" },
            "sslConfig": { "caCertificate": text },
        }));
        assert_eq!(connection.unwrap().ca_certificate(), expected);
    }

    #[test]
    fn debug_hides_the_token() {
        let connection = ServerConnection::new("http://om/api", "t0ps3cret", VerifySsl::NoSsl);
        assert!(!format!("{connection:?}").contains("t0ps3cret"));
    }
}
