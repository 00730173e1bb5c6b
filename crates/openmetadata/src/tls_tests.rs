//! Calls over TLS to a server whose certificate an authority of its own signed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use ompipe_core::VerifySsl;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rstest::rstest;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// Accepts those who take the certificate.
struct Listener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Starts a server for 127.0.0.1; gives its address and its authority's certificate.
async fn serve() -> (SocketAddr, String) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let own = own.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let version =
        Router::new().route("/api/v1/system/version", get(async || r#"{"version":"1.12.14"}"#));
    let listener = Listener { tcp, tls: TlsAcceptor::from(Arc::new(config)) };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, version).await });
    std::mem::forget(tasks);
    (address, pem)
}

/// What the connection says of the authority.
#[derive(Clone, Copy, Debug)]
enum Authority {
    Absent,
    Pem,
    File,
    MissingFile,
}

#[rstest]
#[case::pem(VerifySsl::Validate, Authority::Pem, true)]
#[case::file(VerifySsl::Validate, Authority::File, true)]
#[case::file_of_the_worker(VerifySsl::Validate, Authority::MissingFile, false)]
#[case::unknown(VerifySsl::Validate, Authority::Absent, false)]
#[case::unknown_too(VerifySsl::NoSsl, Authority::Pem, false)]
#[case::unchecked(VerifySsl::Ignore, Authority::Absent, true)]
#[tokio::test]
async fn a_certificate_is_checked_as_the_connection_says(
    #[case] verify: VerifySsl,
    #[case] authority: Authority,
    #[case] is_taken: bool,
) {
    drop(aws_lc_rs::default_provider().install_default());
    let (address, pem) = serve().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &pem).unwrap();
    let authority = match authority {
        Authority::Absent => String::new(),
        Authority::Pem => pem,
        Authority::File => file.path().display().to_string(),
        Authority::MissingFile => "/no/such/file".to_owned(),
    };
    let config = json!({ "workflowConfig": { "openMetadataServerConfig": {
        "hostPort": format!("https://{address}/api"), "verifySSL": verify.as_str(),
        "securityConfig": { "jwtToken": "t0ps3cret" }, "sslConfig": { "caCertificate": authority },
    }}});
    let connection = ompipe_core::report::Recipient::read(&config.to_string()).unwrap().connection;
    let outcome = OpenMetadata::in_pod(&connection).unwrap().version().await;
    match outcome {
        Ok(version) => assert!(is_taken, "took {version}"),
        Err(error) => {
            assert!(!is_taken && error.to_string().contains("certificate"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_file_that_a_connection_names_is_not_opened_for_others() {
    drop(aws_lc_rs::default_provider().install_default());
    let (address, pem) = serve().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &pem).unwrap();
    let path = file.path().display().to_string();
    let config = json!({ "workflowConfig": { "openMetadataServerConfig": {
        "hostPort": format!("https://{address}/api"), "verifySSL": "validate",
        "securityConfig": { "jwtToken": "t" }, "sslConfig": { "caCertificate": path },
    }}});
    let connection = ompipe_core::report::Recipient::read(&config.to_string()).unwrap().connection;
    let told = OpenMetadata::new(&connection).unwrap().version().await.unwrap_err().to_string();
    assert!(
        told.contains(&format!("the file {path}, which sslConfig.caCertificate names")),
        "{told}"
    );
}

#[rstest]
#[case::endless("/dev/zero")]
#[case::directory("/dev")]
#[case::process("/proc/self/mem")]
#[tokio::test]
async fn what_is_no_file_is_not_read(#[case] path: &str) {
    drop(aws_lc_rs::default_provider().install_default());
    let config = json!({ "workflowConfig": { "openMetadataServerConfig": {
        "hostPort": "https://127.0.0.1:1/api", "verifySSL": "validate",
        "securityConfig": { "jwtToken": "t" }, "sslConfig": { "caCertificate": path },
    }}});
    let connection = ompipe_core::report::Recipient::read(&config.to_string()).unwrap().connection;
    for server in [OpenMetadata::new(&connection), OpenMetadata::in_pod(&connection)] {
        let told = server.unwrap().version().await.unwrap_err().to_string();
        assert!(told.contains("is not here"), "{told}");
    }
}
