//! The way in: TLS from our private CA, and the loop that accepts connections.
//!
//! Owns the only rustls server builders and the accept loop of both listeners. Promises: TLS 1.3 only, a bounded number of
//! handshakes and connections at once, a deadline on each handshake. Never: knows what is asked on a connection.

mod http;
mod listener;
mod tls;

pub use http::serve_router;
pub use listener::{Limits, TlsConnection, accept};
pub use tls::{TlsError, api_config, hub_config};
