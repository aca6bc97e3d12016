//! Who is at the other end of a mutual TLS connection.

use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The identity in a client certificate that TLS has verified against our CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Subject common name: the bridge's UUID.
    pub bridge_id: String,
    /// The certificate's serial number.
    pub serial: Vec<u8>,
}

impl Peer {
    /// Reads the leaf; `None` when it is not a bridge's certificate.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
        let bridge_id = uuid::Uuid::try_parse(name).ok()?.to_string();
        Some(Self { bridge_id, serial: unpadded(certificate.raw_serial()).to_vec() })
    }
}

/// DER puts a zero before a number whose top bit is set; the database keeps numbers without it.
pub(super) fn unpadded(serial: &[u8]) -> &[u8] {
    match serial {
        [0, rest @ ..] if !rest.is_empty() => rest,
        whole => whole,
    }
}
