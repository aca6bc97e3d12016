//! The way out: one dialer and one builder of TLS clients, for everything that goes to the cloud.
//!
//! Owns: name resolution, TCP, the HTTP CONNECT proxy, TLS 1.3 under the private CA, and one bounded HTTP request. Promises:
//! each step has its own limit and its own error, an error knows its health reason, and a certificate that our CA did not
//! sign is named by its issuer. Never: retries, accepts a public CA, falls back to a lower TLS version, keeps a connection.

mod certificate;
mod connection;
mod dial;
mod error;
mod http;
mod proxy;
mod tcp;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
mod tls;

pub use certificate::CertificateFault;
pub(crate) use certificate::key_hash as ca_key_hash;
pub use connection::Connection;
pub use dial::{Dialer, FirstHop};
pub use error::DialError;
pub(crate) use error::chain_text;
pub use http::{HttpAnswer, HttpError, get, post};
pub use proxy::ProxyError;
pub use tcp::connect_to as connect;
pub use tls::{TlsConfigError, TlsTime, anonymous_client, enrollment_client, mutual_client};
