//! An axum router behind a TLS listener.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::{Limits, TlsConnection, accept};

/// Reading the head of a request, and the longest an idle connection is kept.
const HEAD: Duration = Duration::from_secs(60);
/// For requests in hand when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves `router` until `stop`; requests in hand are finished, within a limit, before this returns.
pub async fn serve_router(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    limits: Limits,
    router: Router,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let ending = stop.clone();
    let serve = move |connection: TlsConnection, address: SocketAddr| {
        let (router, stop) = (router.clone(), ending.clone());
        async move {
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(connection), TowerToHyperService::new(router));
            let mut serving = pin!(serving);
            let done = tokio::select! {
                done = serving.as_mut() => done,
                () = stop.cancelled() => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            };
            if let Err(error) = done {
                tracing::debug!(%address, %error, "An API connection failed.");
            }
        }
    };
    accept(listener, tls, limits, tasks.clone(), stop, serve).await;
    tasks.close();
    if timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "API requests did not end in time; they are dropped.");
    }
}
