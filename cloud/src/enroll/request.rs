//! Reading what a bridge sends, before anything is believed.

use lockbridge_protocol::limits;
use prost::Message;
use rcgen::{CertificateSigningRequestParams, PublicKey, PublicKeyData};

use super::Refusal;

/// The request format this cloud reads.
pub(super) const VERSION: u32 = 1;

/// Decodes a body of bounded size.
pub(super) fn decode<M: Message + Default>(body: &[u8]) -> Result<M, Refusal> {
    if body.len() > limits::ENROLLMENT_BYTES {
        return Err(Refusal::Request("the body is too large"));
    }
    M::decode(body).map_err(|_| Refusal::Request("the body cannot be decoded"))
}

/// The key of a certificate request, whose own signature was checked. Names and extensions it asks for are ignored: the
/// cloud decides what a bridge is called.
pub(super) fn public_key(certificate_request: &[u8]) -> Result<PublicKey, Refusal> {
    let request = CertificateSigningRequestParams::from_der(&certificate_request.into())
        .map_err(|_| Refusal::Request("the certificate request cannot be read, or its signature does not verify"))?;
    if !is_point(request.public_key.der_bytes()) {
        return Err(Refusal::Request("the certificate request must be for a P-256 key"));
    }
    Ok(request.public_key)
}

/// Whether these bytes have the form of an uncompressed P-256 point.
pub(super) fn is_point(bytes: &[u8]) -> bool {
    bytes.len() == 65 && bytes.first() == Some(&4)
}
