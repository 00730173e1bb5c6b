//! How `ompipe serve` serves: the section `server:` of the configuration file, with the arguments
//! and variables over it. Every problem is reported at once.
//!
//! ```yaml
//! server:
//!   listen: 0.0.0.0:8080
//!   healthListen: 0.0.0.0:8081
//!   basePath: /ompipe
//!   credentials: { file: /etc/ompipe/credentials }
//!   tls: { certificateFile: /etc/tls/tls.crt, privateKeyFile: /etc/tls/tls.key }
//!   openMetadataVersion: 1.12.14
//!   limits: { connections: 1024, requests: 256, failedLoginsPerMinute: 60, headerTimeoutSeconds: 30 }
//!   pipelineMetrics: true
//!   ui: { enabled: true, actions: false }
//!   shutdown: { drainSeconds: 5, graceSeconds: 30 }
//! ```

mod args;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ompipe_core::config::{SERVER_SECTION, server_section};
use ompipe_core::fields::Fields;
use ompipe_core::{Problem, Problems};
use serde_json::{Map, Value};

pub use args::ServeArgs;
pub use values::{BasePath, LogFormat, ServerVersion};

/// What is being read, in messages.
const SUBJECT: &str = "server's settings";

/// All settings of the server, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where OpenMetadata and our own API are served.
    pub listen: SocketAddr,
    /// Where health and metrics are served.
    pub health_listen: SocketAddr,
    /// Below which path everything is served.
    pub base_path: BasePath,
    /// Who may call: a file with one `user:password` in each line.
    pub credentials_file: PathBuf,
    /// Certificate and key; `None` serves plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The OpenMetadata server's version; `None` asks the server.
    pub open_metadata_version: Option<ServerVersion>,
    /// Whether our own API takes tokens of Kubernetes too (`TokenReview`).
    pub kubernetes_authentication: bool,
    /// Whom those tokens have to be for.
    pub token_audience: String,
    /// How much at once.
    pub limits: Limits,
    /// How it ends.
    pub shutdown: Shutdown,
    /// How it logs.
    pub log_format: LogFormat,
    /// The page for people.
    pub ui: Ui,
    /// Whether there are metrics about pipelines and their runs.
    pub pipeline_metrics: bool,
}

/// The page for people, at `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ui {
    /// Whether there is one.
    pub enabled: bool,
    /// Whether runs are started and stopped there, and schedules switched.
    pub actions: bool,
}

impl Default for Ui {
    fn default() -> Self {
        Self { enabled: true, actions: false }
    }
}

impl Ui {
    fn read(fields: &mut Fields<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            enabled: fields.boolean("enabled").unwrap_or(default.enabled),
            actions: fields.boolean("actions").unwrap_or(default.actions),
        };
        fields.refuse_unknown();
        read
    }
}

/// What TLS is served with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Chain of certificates, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub private_key: PathBuf,
}

/// Bounds that keep one caller from starving the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at the same time. One address has a quarter of them; when there is no place,
    /// a connection that only waits is closed for the new one.
    pub connections: usize,
    /// Requests under way at the same time; one more is answered 503.
    pub requests: usize,
    /// Failed logins of one address in a minute; one more is answered 429.
    pub failed_logins_per_minute: u32,
    /// Time from the begin of a connection until its first request is there, and from the first byte
    /// of each later one until its header is complete; a connection that takes longer is closed. The
    /// time between two requests does not count.
    pub header_timeout: Duration,
}

/// How the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long it answers with `Connection: close` before it stops listening, so that callers and
    /// the Service of Kubernetes turn to another replica first.
    pub drain: Duration,
    /// How long requests under way may take after that.
    pub grace: Duration,
}

impl Settings {
    /// Reads the section of a whole configuration document, and the arguments.
    ///
    /// # Errors
    /// Every problem at once, each with its key and what is allowed.
    pub fn read(document: &Value, args: &ServeArgs) -> Result<Self, Problems> {
        let refused = |list| Problems { subject: SUBJECT, list };
        let section = match server_section(document) {
            None => Map::new(),
            Some(Value::Object(section)) => section.clone(),
            Some(_) => {
                return Err(refused(vec![Problem::without_value(SERVER_SECTION, "must be a map")]));
            }
        };
        let section = args.over(section);
        let mut fields = Fields::new(SERVER_SECTION, &section);
        let read = Self::read_fields(&mut fields);
        fields.refuse_unknown();
        match (read, fields.into_problems()) {
            (Some(settings), list) if list.is_empty() => Ok(settings),
            (_, list) => Err(refused(list)),
        }
    }

    /// `None` when there is no file of credentials; that is noted, as every other problem is.
    fn read_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let listen = fields.parsed("listen").unwrap_or_else(|| any_address(8080));
        let health_listen = fields.parsed("healthListen").unwrap_or_else(|| any_address(8081));
        if listen == health_listen && listen.port() != 0 {
            fields.note::<()>("healthListen", "must differ from listen");
        }
        let file = fields.object("credentials", read_credentials).flatten();
        if file.is_none() {
            let remedy = "name a file with one user:password in each line (--credentials-file)";
            fields.missing("credentials", remedy);
        }
        let settings = Self {
            listen,
            health_listen,
            base_path: fields.parsed("basePath").unwrap_or_default(),
            credentials_file: file.clone().unwrap_or_default(),
            tls: fields.object("tls", TlsFiles::read).flatten(),
            open_metadata_version: fields.parsed("openMetadataVersion"),
            kubernetes_authentication: fields.boolean("kubernetesAuthentication").unwrap_or(false),
            token_audience: read_audience(fields),
            limits: fields.object("limits", Limits::read).unwrap_or_default(),
            shutdown: fields.object("shutdown", Shutdown::read).unwrap_or_default(),
            log_format: fields.parsed("logFormat").unwrap_or_default(),
            pipeline_metrics: fields.boolean("pipelineMetrics").unwrap_or(true),
            ui: fields.object("ui", Ui::read).unwrap_or_default(),
        };
        file.map(|_| settings)
    }
}

fn read_audience(fields: &mut Fields<'_>) -> String {
    const KEY: &str = "tokenAudience";
    match fields.string(KEY) {
        None => "ompipe".to_owned(),
        Some("") => fields.note(KEY, "must not be empty").unwrap_or_default(),
        Some(audience) => audience.to_owned(),
    }
}

fn read_credentials(fields: &mut Fields<'_>) -> Option<PathBuf> {
    let file = fields.string("file").map(PathBuf::from);
    fields.refuse_unknown();
    file
}

fn any_address(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

impl TlsFiles {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let certificate = fields.string("certificateFile").map(PathBuf::from);
        let private_key = fields.string("privateKeyFile").map(PathBuf::from);
        if certificate.is_none() {
            fields.missing("certificateFile", "TLS needs a certificate and its key");
        }
        if private_key.is_none() {
            fields.missing("privateKeyFile", "TLS needs a certificate and its key");
        }
        fields.refuse_unknown();
        Some(Self { certificate: certificate?, private_key: private_key? })
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            requests: 256,
            failed_logins_per_minute: 60,
            header_timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Those of the connections.
    pub(crate) const fn of_connections(self) -> ompipe_listener::Limits {
        let Self { connections, header_timeout, .. } = self;
        ompipe_listener::Limits { connections, header_timeout }
    }

    fn read(fields: &mut Fields<'_>) -> Self {
        let Self { connections, requests, failed_logins_per_minute, header_timeout } =
            Self::default();
        let read = Self {
            connections: count(fields, "connections", connections),
            requests: count(fields, "requests", requests),
            failed_logins_per_minute: count(
                fields,
                "failedLoginsPerMinute",
                failed_logins_per_minute,
            ),
            header_timeout: seconds(fields, "headerTimeoutSeconds", 1, header_timeout),
        };
        fields.refuse_unknown();
        read
    }
}

/// A number of things that there may be at most, at least 1.
fn count<T: TryFrom<i64>>(fields: &mut Fields<'_>, key: &'static str, default: T) -> T {
    const MOST: i64 = 100_000;
    fields.integer(key, 1..=MOST).and_then(|count| T::try_from(count).ok()).unwrap_or(default)
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain: Duration::from_secs(5), grace: Duration::from_secs(30) }
    }
}

impl Shutdown {
    /// The same for the port.
    pub(crate) const fn of_port(self) -> ompipe_listener::Shutdown {
        let Self { drain, grace } = self;
        ompipe_listener::Shutdown { drain, grace }
    }

    fn read(fields: &mut Fields<'_>) -> Self {
        let Self { drain, grace } = Self::default();
        let read = Self {
            drain: seconds(fields, "drainSeconds", 0, drain),
            grace: seconds(fields, "graceSeconds", 0, grace),
        };
        fields.refuse_unknown();
        read
    }
}

fn seconds(fields: &mut Fields<'_>, key: &'static str, least: i64, default: Duration) -> Duration {
    const MOST: i64 = 600;
    let read = fields.integer(key, least..=MOST).and_then(|seconds| u64::try_from(seconds).ok());
    read.map_or(default, Duration::from_secs)
}

#[cfg(test)]
mod tests;
