//! The tunnel's connections: each shows the certificate that identity chooses, and a session that was welcomed proves it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use url::Url;

use crate::clock::Clock;
use crate::health::ReasonCode;
use crate::identity::Identity;
use crate::net::{Connection, Dialer, TlsTime, chain_text};
use crate::tunnel::{ConnectError, Transport, TunnelStatus};

/// Dials the hub as this bridge.
#[derive(Debug, Clone)]
pub(super) struct BridgeTransport {
    dialer: Dialer,
    identity: Identity,
    time: TlsTime,
    /// SHA-256 of the certificate shown last.
    shown: Arc<Mutex<Option<[u8; 32]>>>,
}

impl BridgeTransport {
    pub(super) fn new(dialer: Dialer, identity: Identity, time: TlsTime) -> Self {
        Self { dialer, identity, time, shown: Arc::default() }
    }

    /// Tells identity of every session that is welcomed, until `stop`.
    pub(super) async fn prove_sessions(
        self,
        mut status: watch::Receiver<TunnelStatus>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) {
        loop {
            let connected = stop.run_until_cancelled(status.wait_for(|status| status.connected)).await;
            let Some(Ok(())) = connected.map(|held| held.map(drop)) else { return };
            let shown = *self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(certificate) = shown {
                let (identity, now_ms) = (self.identity.clone(), clock.wall_ms());
                let proven =
                    tokio::task::spawn_blocking(move || identity.on_session_proven(&certificate, now_ms)).await;
                if let Ok(Err(error)) = proven {
                    warn!(error = %chain_text(&error), "The proof of a certificate was not stored.");
                }
            }
            let lost = stop.run_until_cancelled(status.wait_for(|status| !status.connected)).await;
            let Some(Ok(())) = lost.map(|held| held.map(drop)) else { return };
        }
    }
}

impl Transport for BridgeTransport {
    type Stream = Connection;

    async fn connect(&self) -> Result<Connection, ConnectError> {
        let client = self
            .identity
            .session_client(&self.time)
            .map_err(|error| ConnectError { code: ReasonCode::Identity, message: chain_text(&error) })?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.certificate);
        self.dialer.connect(self.identity.tunnel_url(), client.config).await.map_err(|error| {
            let (code, message) = error.reason();
            ConnectError { code, message }
        })
    }

    fn url(&self) -> &Url {
        self.identity.tunnel_url()
    }
}
