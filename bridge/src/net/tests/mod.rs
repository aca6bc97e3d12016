//! Connections against servers that a test stands up: TLS servers with an authority of their own, and both ways to trust one.

mod addresses;
mod answers;
mod certificates;
mod proxies;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::test_support::{TestCa, listen, time_at};
use super::*;
use crate::health::ReasonCode;

const LABEL: &[u8] = b"EXPORTER-test";

/// Handshakes, then writes the exporter of its side so that a test sees both ends agree.
async fn tls_server(config: ServerConfig) -> (SocketAddr, AbortOnDropHandle<()>) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let bytes = stream.get_ref().1.export_keying_material([0; 32], LABEL, None).expect("exports");
            if stream.write_all(&bytes).await.is_ok() {
                stream.shutdown().await.ok();
            }
        }
    })
    .await
}

async fn dial(address: SocketAddr, tls: Arc<ClientConfig>) -> Result<Connection, DialError> {
    let url = Url::parse(&format!("wss://{address}/v1/tunnel")).expect("a URL");
    Dialer::new(None).connect(&url, tls).await
}

fn by_hash(ca: &TestCa, now: &str) -> Arc<ClientConfig> {
    enrollment_client(ca.key_hash(), &time_at(now)).expect("a client")
}

fn by_bundle(ca: &TestCa, now: &str) -> Arc<ClientConfig> {
    let (chain, key) = ca.server(&["bridge.example.com"]);
    mutual_client(std::slice::from_ref(&ca.certificate), chain, key, &time_at(now)).expect("a client")
}

/// Both ways to trust a CA: everything about certificates has to hold for each.
fn both(ca: &TestCa, now: &str) -> [Arc<ClientConfig>; 2] {
    [by_hash(ca, now), by_bundle(ca, now)]
}

fn fault(result: Result<Connection, DialError>) -> (CertificateFault, ReasonCode, String) {
    let error = result.expect_err("refused");
    let (code, text) = error.reason();
    match error {
        DialError::Certificate { source, .. } => (source, code, text),
        other => panic!("not about the certificate: {other:?}"),
    }
}
