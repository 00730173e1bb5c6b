//! Places for an archive, one of each kind.

use std::net::SocketAddr;

use ompipe_archive::{Archive, BadUrl};
use tempfile::TempDir;

use crate::server::{AZURE_ACCOUNT, AZURE_KEY, BUCKET, S3_KEY_ID, S3_SECRET, Server};

/// Kinds of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Files,
    S3,
    /// S3 as older servers speak it: without conditional writes.
    S3Unconditional,
    Gcs,
    Azure,
}

/// A place, and the variables that a client needs for it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) server: Option<Server>,
    _directory: Option<TempDir>,
}

impl Place {
    pub(crate) async fn new(kind: Kind) -> Self {
        match kind {
            Kind::Files => {
                let directory = tempfile::tempdir().unwrap();
                let url = format!("file://{}/a%20prefix", directory.path().display());
                Self { url, variables: Vec::new(), server: None, _directory: Some(directory) }
            }
            Kind::S3 => Self::s3(Server::s3().await),
            Kind::S3Unconditional => {
                Self::s3(Server::s3().await).with("AWS_CONDITIONAL_PUT", "disabled")
            }
            Kind::Gcs => {
                let server = Server::gcs().await;
                let endpoint = format!("http://{}", server.address());
                // As the client's documentation has it for an emulator, which asks for no token.
                let account = serde_json::json!({
                    "gcs_base_url": endpoint, "disable_oauth": true,
                    "client_email": "", "private_key": "", "private_key_id": "",
                });
                let account = account.to_string();
                let variables = [
                    ("GOOGLE_SERVICE_ACCOUNT_KEY", account.as_str()),
                    ("GOOGLE_ALLOW_HTTP", "true"),
                ];
                Self::of("gs", server, &variables)
            }
            Kind::Azure => Self::azure(Server::azure().await),
        }
    }

    pub(crate) fn s3(server: Server) -> Self {
        let endpoint = format!("http://{}", server.address());
        let variables = [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", S3_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", S3_SECRET),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        Self::of("s3", server, &variables)
    }

    fn azure(server: Server) -> Self {
        let endpoint = format!("http://{}/{AZURE_ACCOUNT}", server.address());
        let variables = [
            ("AZURE_STORAGE_ENDPOINT", endpoint.as_str()),
            ("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY),
            ("AZURE_ALLOW_HTTP", "true"),
        ];
        Self::of("az", server, &variables)
    }

    fn of(scheme: &str, server: Server, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Self {
            url: format!("{scheme}://{BUCKET}/a%20prefix"),
            variables: variables.collect(),
            server: Some(server),
            _directory: None,
        }
    }

    /// The same with another value of a variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same store, by way of another address.
    pub(crate) fn by_way_of(self, address: SocketAddr) -> Self {
        self.with("AWS_ENDPOINT", &format!("http://{address}"))
    }

    pub(crate) fn archive(&self) -> Archive {
        self.open().unwrap()
    }

    pub(crate) fn open(&self) -> Result<Archive, BadUrl> {
        Archive::open(&self.url, self.variables.clone())
    }

    pub(crate) fn server(&mut self) -> &mut Server {
        self.server.as_mut().unwrap()
    }
}
