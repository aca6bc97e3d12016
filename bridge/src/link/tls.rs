//! What makes the certificate of a machine on the site acceptable: a CA file or one pinned certificate, never the public CAs.

use std::path::Path;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::TlsTrust;

/// A TLS client with this trust, offering `protocols` (ALPN). Old servers of Windows sites speak TLS 1.2 only, so both versions
/// are offered. The error is for people.
pub fn client(trust: &TlsTrust, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = match trust {
        TlsTrust::CaFile(path) => builder.with_root_certificates(read_roots(path)?).with_no_client_auth(),
        TlsTrust::Pin(hash) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinnedCertificate { hash: *hash, provider }))
            .with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let fault = |error: &dyn std::fmt::Display| format!("CA file {} cannot be used: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| fault(&error))? {
        let certificate = certificate.map_err(|error| fault(&error))?;
        roots.add(certificate).map_err(|error| fault(&error))?;
    }
    if roots.is_empty() {
        return Err(fault(&"it holds no certificate"));
    }
    Ok(roots)
}

/// Accepts exactly one certificate, whoever signed it and whatever names it carries: servers that signed their own often
/// name a machine that was renamed since. Signatures of the handshake are still checked, so the key must be there too.
#[derive(Debug)]
struct PinnedCertificate {
    hash: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = digest(&SHA256, end_entity);
        // Hashes of public certificates are no secret: nothing is lost to a comparison whose time varies.
        if found.as_ref() == self.hash {
            return Ok(ServerCertVerified::assertion());
        }
        let found = data_encoding::HEXLOWER.encode(found.as_ref());
        Err(rustls::Error::General(format!("the server's certificate is not the pinned one; its SHA-256 is {found}")))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
