//! A self-made certificate for SHIP over HTTPS, kept in the data directory.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::RunError;

/// The acceptor; the certificate is `https-certificate.pem` for clients that want to pin it.
pub(super) fn acceptor(directory: &Path) -> Result<TlsAcceptor, RunError> {
    let (certificate, key) = (directory.join("https-certificate.pem"), directory.join("https-key.pem"));
    if !certificate.exists() || !key.exists() {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).map_err(|error| RunError::Tls(error.to_string()))?;
        let write = |path: &Path, text: String| {
            fs::write(path, text).map_err(|error| RunError::Tls(format!("writing {}: {error}", path.display())))
        };
        write(&key, made.signing_key.serialize_pem())?;
        write(&certificate, made.cert.pem())?;
    }
    let wrong = |error: rustls::pki_types::pem::Error| RunError::Tls(error.to_string());
    let chain = CertificateDer::from_pem_file(&certificate).map_err(wrong)?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(wrong)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![chain], key))
        .map_err(|error| RunError::Tls(error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
