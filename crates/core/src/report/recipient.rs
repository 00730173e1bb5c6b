//! Who gets the report of a run: read off the worker's config, of which as little as possible has
//! to be right, since a config that broke the ingestion must not break the report too.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::fields::Fields;
use crate::redaction::Secrets;
use crate::{ServerConnection, redaction, yaml};

/// Why nothing can be reported with a config. No variant holds a value of it.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// No document at all.
    #[error("the config is {0}")]
    Syntax(#[from] yaml::Error),
    /// The server is not in it.
    #[error(
        "the config says no hostPort of OpenMetadata at workflowConfig.openMetadataServerConfig"
    )]
    NoServer,
    /// The token is elsewhere.
    #[error(
        "the config's securityConfig.jwtToken names an entry of a secrets manager, which ompipe does \
         not read: give a token by OPENMETADATA_JWT_TOKEN or --token-file where the pipeline is \
         deployed, and deploy it again"
    )]
    TokenElsewhere,
}

/// The server that a report goes to, and what it is about.
#[derive(Clone)]
pub struct Recipient {
    /// How OpenMetadata is reached.
    pub connection: ServerConnection,
    /// What runs, if the config says so.
    pub subject: Option<Subject>,
    /// Name of the service whose entities the run reads, if the config says so.
    pub service: Option<String>,
    secrets: Secrets,
}

/// What runs, by its fully qualified name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An ingestion pipeline, each run of which has a row.
    Pipeline(String),
    /// An automation, which keeps its result itself.
    Automation(String),
}

impl Recipient {
    /// Reads the text of a worker's config: of an ingestion, an application, or an automation.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn read(config: &str) -> Result<Self, Unusable> {
        Self::read_with(config, None)
    }

    /// The same, with a token that refers to a secrets manager.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn read_with(config: &str, token: Option<&SecretString>) -> Result<Self, Unusable> {
        let document = yaml::parse_leniently(config)?;
        let connection = connection(&document).ok_or(Unusable::NoServer)?;
        let connection = match token {
            Some(token) => connection.with_token(token),
            None => connection,
        };
        if connection.token_is_elsewhere() {
            return Err(Unusable::TokenElsewhere);
        }
        let mut secrets = redaction::secrets_of(&document);
        secrets.extend(token.map(|token| token.expose_secret().to_owned()));
        let service = document.pointer("/source/serviceName").and_then(Value::as_str);
        let service = service.map(str::to_owned);
        Ok(Self { connection, subject: subject(&document), service, secrets })
    }

    /// `text`, which comes from elsewhere, without the secrets of the config.
    #[must_use]
    pub fn scrub(&self, text: &str) -> String {
        self.secrets.scrub(text)
    }

    /// Where a text can be cut without cutting a secret or a character: `at`, or before it.
    #[must_use]
    pub fn border(&self, text: &[u8], at: usize) -> usize {
        let mut at = at.min(text.len());
        while let Some(begins) = self.secrets.iter().find_map(|one| begin_across(text, one, at)) {
            at = begins;
        }
        let is_continuation = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
        let within = text[at..].iter().take(3).take_while(|byte| is_continuation(byte)).count();
        if within == 0 {
            at
        } else {
            text[..at].utf8_chunks().last().map_or(at, |last| at - last.invalid().len())
        }
    }
}

/// Where a secret begins that covers both sides of `at`.
fn begin_across(text: &[u8], secret: &str, at: usize) -> Option<usize> {
    let length = secret.len();
    let first = (at + 1).saturating_sub(length);
    let around = text.get(first..(at + length.saturating_sub(1)).min(text.len()))?;
    let found = around.windows(length.max(1)).position(|one| one == secret.as_bytes())?;
    Some(first + found).filter(|begins| *begins < at)
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipient")
            .field("connection", &self.connection)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

fn connection(document: &Value) -> Option<ServerConnection> {
    let of_workflow = || document.pointer("/workflowConfig/openMetadataServerConfig");
    let of_entity = || document.get("openMetadataServerConnection");
    let map = of_workflow().or_else(of_entity)?.as_object()?;
    // Whatever else is wrong with it shows when the server is called.
    ServerConnection::read(&mut Fields::new("", map))
}

fn subject(document: &Value) -> Option<Subject> {
    let text = |key: &str| document.get(key)?.as_str().filter(|text| !text.is_empty());
    let automation = || {
        text("workflowType")?;
        text("fullyQualifiedName").or_else(|| text("name"))
    };
    let pipeline = text("ingestionPipelineFQN").map(|fqn| Subject::Pipeline(fqn.to_owned()));
    pipeline.or_else(|| automation().map(|fqn| Subject::Automation(fqn.to_owned())))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TOKEN: &str = "eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl";

    fn config(extra: &str) -> String {
        format!(
            "workflowConfig:\n  openMetadataServerConfig:\n    hostPort: http://om:8585/api\n    \
             securityConfig: {{ jwtToken: {TOKEN} }}\n{extra}"
        )
    }

    #[rstest]
    #[case::alone("")]
    #[case::unknown_keys("nonsense: [1]\nsource: { type: 5 }\n")]
    #[case::keys_twice("source: { a: 1 }\nsource: { b: 2 }\n")]
    #[case::as_python_writes_it("source: { password: 'x', port: 0o17, since: 2020-01-01 }\n")]
    fn a_config_that_breaks_the_ingestion_does_not_break_the_report(#[case] extra: &str) {
        let text = config(&format!("ingestionPipelineFQN: shop.nightly\n{extra}"));
        let recipient = Recipient::read(&text).unwrap();
        assert_eq!(recipient.connection.host_port, "http://om:8585/api");
        assert_eq!(recipient.subject, Some(Subject::Pipeline("shop.nightly".to_owned())));
    }

    #[rstest]
    #[case::automation(r#""workflowType": "TEST_CONNECTION","#, Some(Subject::Automation("test".to_owned())))]
    #[case::application("", None)]
    fn an_entity_says_what_it_is(#[case] kind: &str, #[case] expected: Option<Subject>) {
        let text = format!(
            r#"{{"name": "test", {kind} "openMetadataServerConnection": {{
                "hostPort": "http://om:8585/api", "securityConfig": {{ "jwtToken": "t" }} }}}}"#
        );
        assert_eq!(Recipient::read(&text).unwrap().subject, expected);
    }

    #[rstest]
    #[case::no_document("a: [")]
    #[case::no_map("- 1")]
    #[case::no_server("workflowConfig: {}")]
    #[case::no_endpoint("workflowConfig: { openMetadataServerConfig: { verifySSL: no-ssl } }")]
    fn without_a_server_nothing_can_be_reported(#[case] text: &str) {
        assert!(Recipient::read(text).is_err());
    }

    #[test]
    fn a_token_in_a_secrets_manager_is_told() {
        let text = config("").replace(TOKEN, "secret:/my/token");
        let error = Recipient::read(&text).unwrap_err();
        assert!(
            error.to_string().contains("secrets manager") && !error.to_string().contains("/my")
        );
    }

    #[test]
    fn a_token_of_our_own_stands_for_one_in_a_secrets_manager() {
        let text = config("").replace(TOKEN, "secret:/my/token");
        let recipient = Recipient::read_with(&text, Some(&"a-token-of-our-own".into())).unwrap();
        let token = recipient.connection.jwt_token.as_ref().unwrap();
        assert_eq!(token.expose_secret(), "a-token-of-our-own");
        assert_eq!(recipient.scrub("with a-token-of-our-own"), "with <from-secret>");
    }

    #[test]
    fn secrets_of_the_config_are_scrubbed_and_not_shown() {
        let recipient = Recipient::read(&config("source: { password: correct-horse }")).unwrap();
        let scrubbed = recipient.scrub(&format!("failed with {TOKEN} and correct-horse"));
        assert_eq!(scrubbed, "failed with <from-secret> and <from-secret>");
        assert!(!format!("{recipient:?}").contains(TOKEN));
    }
}
