//! The arguments and variables of `ompipe serve`, which take precedence over the configuration's `server:`.

use serde_json::{Map, Value};

/// Arguments of `ompipe serve`, as they were typed or set. [`super::Settings::read`] checks them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Address for OpenMetadata and our own API. By default 0.0.0.0:8080.
    #[arg(long, value_name = "ADDRESS", env = "OMPIPE_SERVE_LISTEN")]
    pub listen: Option<String>,

    /// Address of /healthz, /readyz and /metrics. By default 0.0.0.0:8081.
    #[arg(long, value_name = "ADDRESS", env = "OMPIPE_SERVE_HEALTH_LISTEN")]
    pub health_listen: Option<String>,

    /// Path below which everything is served, such as /ompipe. By default none.
    #[arg(long, value_name = "PATH", env = "OMPIPE_SERVE_BASE_PATH")]
    pub base_path: Option<String>,

    /// File with one user:password in each line; read again when it changes.
    #[arg(long, value_name = "FILE", env = "OMPIPE_SERVE_CREDENTIALS_FILE")]
    pub credentials_file: Option<String>,

    /// Certificate chain to serve TLS with, PEM; read again when it changes.
    #[arg(long, value_name = "FILE", env = "OMPIPE_SERVE_TLS_CERTIFICATE_FILE")]
    pub tls_certificate_file: Option<String>,

    /// Private key of the certificate, PEM; read again when it changes.
    #[arg(long, value_name = "FILE", env = "OMPIPE_SERVE_TLS_PRIVATE_KEY_FILE")]
    pub tls_private_key_file: Option<String>,

    /// Version of the OpenMetadata server. By default the server is asked.
    #[arg(long, value_name = "VERSION", env = "OMPIPE_SERVE_OPENMETADATA_VERSION")]
    pub openmetadata_version: Option<String>,

    /// How to log: json or text. By default json.
    #[arg(long, value_name = "FORMAT", env = "OMPIPE_SERVE_LOG_FORMAT")]
    pub log_format: Option<String>,
}

impl ServeArgs {
    /// The key of each argument in the section, and its value.
    fn given(&self) -> [(&'static [&'static str], Option<&String>); 8] {
        [
            (&["listen"], self.listen.as_ref()),
            (&["healthListen"], self.health_listen.as_ref()),
            (&["basePath"], self.base_path.as_ref()),
            (&["credentials", "file"], self.credentials_file.as_ref()),
            (&["tls", "certificateFile"], self.tls_certificate_file.as_ref()),
            (&["tls", "privateKeyFile"], self.tls_private_key_file.as_ref()),
            (&["openMetadataVersion"], self.openmetadata_version.as_ref()),
            (&["logFormat"], self.log_format.as_ref()),
        ]
    }

    /// The section with the arguments over it. An empty one counts as not given: charts cannot leave
    /// a variable out.
    pub(super) fn over(&self, mut section: Map<String, Value>) -> Map<String, Value> {
        for (path, value) in self.given() {
            if let Some(text) = value.filter(|text| !text.trim().is_empty()) {
                put(&mut section, path, text);
            }
        }
        section
    }
}

fn put(map: &mut Map<String, Value>, path: &[&str], text: &str) {
    match path {
        [] => {}
        [key] => {
            map.insert((*key).to_owned(), text.into());
        }
        [key, rest @ ..] => {
            let inner = map.entry(*key).or_insert_with(|| Value::Object(Map::new()));
            // What is no map is left for the reader to complain about.
            if let Value::Object(inner) = inner {
                put(inner, rest, text);
            }
        }
    }
}
