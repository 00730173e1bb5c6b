//! `openMetadataServerConnection`: how the worker reaches OpenMetadata
//! (docs/contracts/openmetadata-http.md#server-connection). It holds the bot's token, so it lives
//! in Secrets only and `Debug` hides it.

use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::fields::Fields;
use crate::version::ReleaseLine;

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
    /// The configured authority, as PEM, for our own calls.
    authority: Option<String>,
    /// Base of the API as this process reaches it, where that is not as pods do.
    caller_endpoint: Option<String>,
}

/// Where pods have the configured certificate authority. A worker takes the name of a file only.
pub const CA_FILE: &str = "/etc/ompipe-ca/ca.crt";
/// Its file's key in `sslConfig`: of workers before [`CA_CERTIFICATE_SINCE`], and since.
const AUTHORITY_KEYS: [&str; 2] = ["certificatePath", "caCertificate"];
const CA_CERTIFICATE_SINCE: ReleaseLine = ReleaseLine::new(1, 4);
/// Longest endpoint, in bytes.
const MAX_ENDPOINT: usize = 2048;
/// Its key in a run's Secret.
pub const CA_KEY: &str = "ca.crt";

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
            authority: None,
            caller_endpoint: None,
        }
    }

    /// The connection that a server returned for its bot. Its token is this one's where the server
    /// hides its own. Where it names another endpoint, this one's and its TLS settings are kept, since pods may
    /// not reach the server under the name that it has for itself.
    #[must_use]
    pub fn over(&self, given: &Value) -> Value {
        let mut merged = given.clone();
        let hidden = |token: &str| token.chars().all(|c| c == '*');
        let token = given.pointer("/securityConfig/jwtToken").and_then(Value::as_str);
        if token.is_none_or(hidden) {
            merged["securityConfig"] = self.security_config();
        }
        let base = |endpoint: &str| endpoint.trim_end_matches('/').to_owned();
        let named = given.get("hostPort").and_then(Value::as_str).map(base);
        let is_same = named.is_some_and(|named| named == base(&self.host_port));
        for key in ["hostPort", "verifySSL", "sslConfig"] {
            let is_kept = is_same && given.get(key).is_some_and(|value| !value.is_null());
            if let Some(own) = self.document.get(key).filter(|_| !is_kept) {
                merged[key] = own.clone();
            }
        }
        merged
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let verify_ssl = fields.parsed("verifySSL").unwrap_or_default();
        let jwt_token = fields.object("securityConfig", |security| security.string("jwtToken"));
        if jwt_token.is_none() {
            fields.missing("securityConfig", "it holds the bot's jwtToken");
        }
        let host_port = fields.string("hostPort");
        if host_port.is_some_and(has_userinfo) {
            // Messages show the endpoint, and a request would carry the password.
            let remedy =
                "must hold no user and password: the token is all that ompipe signs in with";
            return fields.note_secret("hostPort", remedy);
        }
        let is_fit = |endpoint: &str| is_http_url(endpoint) && endpoint.len() <= MAX_ENDPOINT;
        if host_port.is_none_or(|endpoint| !is_fit(endpoint)) {
            let remedy = "must be the server's API such as http://openmetadata:8585/api";
            return fields.note("hostPort", remedy);
        }
        Some(Self {
            host_port: host_port?.to_owned(),
            jwt_token: jwt_token?.map(SecretString::from),
            verify_ssl,
            document: fields.document().clone(),
            authority: None,
            caller_endpoint: None,
        })
    }

    /// The whole connection.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.document.clone())
    }

    /// The whole connection for the config of a worker. The file of an authority has one name for workers up
    /// to 1.3 and another one since, and each refuses the other's. For a worker of an unknown line it
    /// stays as it is.
    #[must_use]
    pub fn for_worker(&self, line: Option<ReleaseLine>) -> Value {
        let mut document = self.to_value();
        let ssl = document.get_mut("sslConfig").and_then(Value::as_object_mut);
        if let Some((ssl, line)) = ssl.zip(line) {
            let [old, new] = AUTHORITY_KEYS;
            let (other, known) = if line < CA_CERTIFICATE_SINCE { (new, old) } else { (old, new) };
            if let Some(file) = ssl.remove(other) {
                ssl.entry(known).or_insert(file);
            }
        }
        document
    }

    /// True when workers of different lines want different documents.
    #[must_use]
    pub fn depends_on_line(&self) -> bool {
        self.authority_named().is_some()
    }

    fn authority_named(&self) -> Option<&str> {
        let ssl = self.document.get("sslConfig")?;
        AUTHORITY_KEYS.iter().find_map(|key| ssl.get(key)?.as_str())
    }

    /// The part with the credentials, for the Secret's key `securityConfig`.
    #[must_use]
    pub fn security_config(&self) -> Value {
        self.document.get("securityConfig").cloned().unwrap_or_default()
    }

    /// The certificate authority to trust in addition to the system's.
    #[must_use]
    pub fn ca_certificate(&self) -> Option<CaCertificate<'_>> {
        if let Some(pem) = &self.authority {
            return Some(CaCertificate::Pem(pem));
        }
        let text = self.authority_named()?;
        Some(match text.trim() {
            "" => return None,
            pem if pem.contains("-----BEGIN") => CaCertificate::Pem(pem),
            path => CaCertificate::File(Path::new(path)),
        })
    }

    /// The connection with the file of an authority, which the worker has.
    #[must_use]
    pub fn with_authority_file(mut self, file: &str) -> Self {
        self.document.insert("sslConfig".to_owned(), json!({ "caCertificate": file }));
        self
    }

    /// The connection with an authority, as PEM, for our own calls. What the worker trusts stays.
    #[must_use]
    pub fn trusting(mut self, pem: &str) -> Self {
        self.authority = Some(pem.to_owned());
        self
    }

    /// The connection whose own calls go to another address of the same server than the worker's.
    #[must_use]
    pub fn called_at(mut self, endpoint: &str) -> Self {
        self.caller_endpoint = Some(endpoint.to_owned());
        self
    }

    /// Where this process calls the server.
    #[must_use]
    pub fn endpoint_for_calls(&self) -> &str {
        self.caller_endpoint.as_deref().unwrap_or(&self.host_port)
    }

    /// True when calls go where the worker's do.
    #[must_use]
    pub const fn is_called_as_by_pods(&self) -> bool {
        self.caller_endpoint.is_none()
    }

    /// The authority that the worker's pod needs as [`CA_FILE`].
    #[must_use]
    pub fn mounted_authority(&self) -> Option<&str> {
        let named = self.authority_named()?;
        self.authority.as_deref().filter(|_| named == CA_FILE)
    }

    /// True when the token is a reference to an entry of a secrets manager
    /// (`docs/contracts/openmetadata-http.md`, *Secrets managers*), and no
    /// other one is known.
    #[must_use]
    pub fn token_is_elsewhere(&self) -> bool {
        self.jwt_token.as_ref().is_some_and(|token| is_reference(token.expose_secret()))
    }

    /// The same connection, whose own calls use `token` where the worker has a reference to an entry
    /// of a secrets manager. The worker keeps its reference, which it resolves itself.
    #[must_use]
    pub fn with_token(&self, token: &SecretString) -> Self {
        let mut connection = self.clone();
        if self.token_is_elsewhere() {
            connection.jwt_token = Some(token.clone());
        }
        connection
    }

    /// The token for reports of ompipe's where the worker's is a reference.
    #[must_use]
    pub fn report_token(&self) -> Option<&SecretString> {
        let of_worker = self.document.get("securityConfig")?.get("jwtToken")?.as_str()?;
        self.jwt_token.as_ref().filter(|_| is_reference(of_worker) && !self.token_is_elsewhere())
    }

    /// True when runs overwrite what the server has, for which the worker needs the service
    /// connection in its config (docs/contracts/ingestion-worker.md#workflow-config).
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

/// True for a reference to an entry of a secrets manager.
fn is_reference(token: &str) -> bool {
    token.starts_with("secret:")
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

/// What is likely wrong with an endpoint that is a URL, but not the base of an OpenMetadata API.
#[must_use]
pub fn endpoint_hint(endpoint: &str) -> Option<String> {
    let base = endpoint.trim_end_matches('/');
    if base.ends_with("/api") {
        return None;
    }
    let without_version = base.strip_suffix("/v1").filter(|base| base.ends_with("/api"));
    let better = without_version.map_or_else(|| format!("{base}/api"), str::to_owned);
    Some(format!(
        "does not end in /api, as the API of an OpenMetadata server does; did you mean {better}?"
    ))
}

/// True for a URL with a user, or a user and a password.
fn has_userinfo(endpoint: &str) -> bool {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    rest.split(['/', '\\', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
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
    #[case("http://user:canary-pw@om:8585/api", "hostPort: must hold no user and password")]
    #[case("https://canary-pw@om/api", "hostPort: must hold no user and password")]
    #[case(&format!("http://om/{}", "a".repeat(MAX_ENDPOINT)), "must be the server's API")]
    fn an_endpoint_has_no_password_and_an_end(#[case] endpoint: &str, #[case] expected: &str) {
        let document = json!({ "hostPort": endpoint, "securityConfig": { "jwtToken": "t" } });
        let (connection, problems) = read(&document);
        assert!(connection.is_none());
        assert!(problems[0].contains(expected), "{problems:?}");
        assert!(!problems[0].contains("canary"), "{problems:?}");
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

    #[rstest]
    #[case("http://om:8585/api", None)]
    #[case("https://om.example.com/sub/api/", None)]
    #[case("http://om:8585", Some("did you mean http://om:8585/api?"))]
    #[case("http://om:8585/", Some("did you mean http://om:8585/api?"))]
    #[case("http://om:8585/api/v1/", Some("did you mean http://om:8585/api?"))]
    fn an_endpoint_ends_in_api(#[case] endpoint: &str, #[case] hint: Option<&str>) {
        let given = endpoint_hint(endpoint);
        assert_eq!(given.is_some(), hint.is_some());
        assert!(given.unwrap_or_default().ends_with(hint.unwrap_or_default()));
    }

    #[test]
    fn a_reference_stays_with_the_worker() {
        let reference = ServerConnection::new("http://om/api", "secret:/om/bot", VerifySsl::NoSsl);
        let connection = reference.with_token(&"own".into());
        assert!(reference.token_is_elsewhere() && !connection.token_is_elsewhere());
        assert!(reference.report_token().is_none());
        assert_eq!(connection.report_token().unwrap().expose_secret(), "own");
        assert_eq!(connection.to_value(), reference.to_value());
        let plain = ServerConnection::new("http://om/api", "t", VerifySsl::NoSsl);
        let plain = plain.with_token(&"own".into());
        assert_eq!(plain.jwt_token.as_ref().unwrap().expose_secret(), "t");
        assert!(plain.report_token().is_none());
    }

    #[test]
    fn a_configured_authority_is_ours_as_text_and_the_workers_as_a_file() {
        let pem = "-----BEGIN CERTIFICATE-----";
        let plain = ServerConnection::new("https://om/api", "t", VerifySsl::Validate);
        let connection = plain.clone().with_authority_file(CA_FILE).trusting(pem);
        assert_eq!(connection.ca_certificate(), Some(CaCertificate::Pem(pem)));
        assert_eq!(connection.mounted_authority(), Some(pem));
        assert_eq!(connection.to_value()["sslConfig"], json!({ "caCertificate": CA_FILE }));
        let of_worker = plain.with_authority_file("/etc/om/ca.pem").trusting(pem);
        assert_eq!(of_worker.mounted_authority(), None);
    }

    #[rstest]
    #[case::old_for_old("certificatePath", Some((1, 3)), "certificatePath")]
    #[case::old_for_new("certificatePath", Some((1, 4)), "caCertificate")]
    #[case::new_for_old("caCertificate", Some((1, 3)), "certificatePath")]
    #[case::new_for_new("caCertificate", Some((2, 0)), "caCertificate")]
    #[case::as_it_is("certificatePath", None, "certificatePath")]
    fn an_authority_is_read_by_either_name_and_written_by_that_of_the_worker(
        #[case] given: &str,
        #[case] line: Option<(u32, u32)>,
        #[case] written: &str,
    ) {
        let mut connection = ServerConnection::new("https://om/api", "t", VerifySsl::Validate);
        assert!(!connection.depends_on_line());
        connection.document.insert("sslConfig".to_owned(), json!({ given: CA_FILE }));
        let document =
            connection.for_worker(line.map(|(major, minor)| ReleaseLine::new(major, minor)));
        assert_eq!(document["sslConfig"], json!({ written: CA_FILE }));
        assert!(connection.depends_on_line());
        let file = CaCertificate::File(Path::new(CA_FILE));
        assert_eq!(connection.ca_certificate(), Some(file));
        assert_eq!(connection.trusting("pem").mounted_authority(), Some("pem"));
    }

    #[test]
    fn debug_hides_the_token() {
        let connection = ServerConnection::new("http://om/api", "t0ps3cret", VerifySsl::NoSsl);
        assert!(!format!("{connection:?}").contains("t0ps3cret"));
    }
}
