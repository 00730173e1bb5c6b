//! TLS with a certificate that may be renewed while the server runs.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::reloaded::Reloaded;
use crate::settings::TlsFiles;

/// Takes connections with the certificate that the files hold at that moment.
///
/// # Errors
/// A file cannot be read, or certificate and key do not belong together.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, String> {
    let paths = vec![files.certificate.clone(), files.private_key.clone()];
    let certificate = Current(Reloaded::read(paths, certified)?);
    let builder = ServerConfig::builder().with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Current(Reloaded<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.get()))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn certified(files: &[Vec<u8>]) -> Result<Arc<CertifiedKey>, String> {
    let [chain, key] = files else { return Err("needs a certificate and a key".to_owned()) };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is no PEM: {error}"))?;
    if chain.is_empty() {
        return Err("the certificate's file has none".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("the private key is no PEM: {error}"))?;
    let provider = CryptoProvider::get_default().ok_or("no TLS provider is installed")?;
    let certified = CertifiedKey::from_der(chain, key, provider);
    certified.map(Arc::new).map_err(|error| format!("certificate and key cannot be used: {error}"))
}
