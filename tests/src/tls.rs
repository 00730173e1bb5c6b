//! A TLS listener with a certificate of its own, for what Kubernetes calls only over TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate that signed itself, and its key; both PEM.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds a private key")]
pub struct SelfSigned {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// A certificate for a name or an address.
///
/// # Errors
/// When it cannot be made.
pub fn self_signed(subject: &str) -> anyhow::Result<SelfSigned> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![subject.to_owned()])?;
    Ok(SelfSigned { certificate: cert.pem(), key: signing_key.serialize_pem() })
}

/// Accepts connections of those who trust its certificate.
#[expect(missing_debug_implementations, reason = "the acceptor has none")]
pub struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl TlsListener {
    /// Listens on a free port of `address`; gives the certificate, PEM, beside.
    ///
    /// # Errors
    /// When the certificate cannot be made, or the address not be bound.
    pub async fn bind(address: IpAddr) -> anyhow::Result<(Self, String)> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec![address.to_string()])?;
        let key =
            PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        let tcp = TcpListener::bind((address, 0)).await?;
        Ok((Self { tcp, tls: TlsAcceptor::from(Arc::new(config)) }, cert.pem()))
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, peer)) = self.tcp.accept().await else { continue };
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
