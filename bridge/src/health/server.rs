//! The loopback server: probes, figures and the status page, each answer bounded in time and number (rule L5).
//!
//! `/livez`, `/readyz`, `/status`, `/metrics`; for the page `/`, `/waiting`, `/commands`, `/history`.
//!
//! GET only, and the `Host` header must name this machine: a browser on site that is tricked into calling us by another
//! name (DNS rebinding) gets nothing. Runs on its own thread, so that a slow caller cannot touch the engine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request, State as AxumState};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::metrics::{self, Process};
use super::snapshot::{Observer, State};
use crate::{limits, page};

/// From accept to the last byte of the answer (rule L5: 2 s to read, and as long to answer).
const CONNECTION: Duration = Duration::from_secs(4);
const HEAD: Duration = Duration::from_secs(2);
/// Its sign of life.
const PULSE: &str = "health server";

/// Binds the address; the caller reports the error with the configuration key.
pub fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until `stop`. Blocks its thread: call it from a thread of its own.
pub fn serve(listener: std::net::TcpListener, observer: Observer, stop: &CancellationToken) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let health = observer.health().clone();
    let pulse = health.pulse(PULSE);
    let served = runtime.block_on(async move {
        let listener = TcpListener::from_std(listener)?;
        let service = TowerToHyperService::new(router(observer));
        let places = Arc::new(Semaphore::new(limits::LOCAL_CONNECTIONS));
        loop {
            pulse.turn();
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                accepted = listener.accept() => accepted,
                () = pulse.rest() => continue,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "Accepting a health connection failed.");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // Too many at once: the connection is closed unanswered, as a busy probe would see a refusal.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let service = service.clone();
            // Owned by this runtime, which ends with the function; bounded by the place and the deadline.
            tokio::spawn(async move {
                let _place = place;
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD)
                    .max_buf_size(16 * 1024)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                match tokio::time::timeout(CONNECTION, connection).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => debug!(%error, "A health connection ended early."),
                    Err(_) => debug!("A health connection took too long."),
                }
            });
        }
    });
    health.retire_pulse(PULSE);
    served
}

/// The routes; split off so that tests can call them without a socket.
fn router(observer: Observer) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics_text))
        .route("/waiting", get(waiting))
        .route("/commands", get(commands))
        .route("/history", get(history))
        .merge(page::router())
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(middleware::from_fn(only_this_machine))
        .with_state(observer)
}

async fn only_this_machine(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !names_this_machine(host) {
        return (StatusCode::MISDIRECTED_REQUEST, "This address answers to localhost only.\n").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::SECURITY_POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // No page from elsewhere may take an answer in as a script, a picture or a frame.
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

fn names_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Whether the tasks of this process live: nothing remote, nothing that a restart does not mend (rules L1, L2).
async fn livez(AxumState(observer): AxumState<Observer>) -> Response {
    let late: Vec<&str> = observer.health().late().into_iter().map(|(name, _)| name).collect();
    if late.is_empty() {
        return (StatusCode::OK, Json(json!({ "live": true }))).into_response();
    }
    let message = format!("{} stands still; a restart is due", late.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "live": false, "late": late, "message": message }))).into_response()
}

async fn readyz(AxumState(observer): AxumState<Observer>) -> Response {
    let snapshot = observer.snapshot().await;
    let status = if snapshot.state == State::Unready { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let cloud = if snapshot.cloud.connected { "connected" } else { "offline" };
    (status, Json(json!({ "state": snapshot.state, "cloud": cloud, "reasons": snapshot.reasons }))).into_response()
}

async fn status(AxumState(observer): AxumState<Observer>) -> Response {
    Json(observer.snapshot().await).into_response()
}

async fn metrics_text(AxumState(observer): AxumState<Observer>) -> Response {
    let text = metrics::render(&observer.snapshot().await, &observer.history().totals(), &Process::look());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn waiting(AxumState(observer): AxumState<Observer>) -> Response {
    Json(observer.waiting().await).into_response()
}

/// What the asker has already.
#[derive(Debug, Deserialize)]
struct Known {
    /// `version` of the last answer; everything without.
    #[serde(default)]
    after: u64,
}

async fn commands(AxumState(observer): AxumState<Observer>, Query(known): Query<Known>) -> Response {
    Json(observer.history().stories(known.after)).into_response()
}

async fn history(AxumState(observer): AxumState<Observer>) -> Response {
    Json(observer.history().day(observer.now_ms())).into_response()
}

#[cfg(test)]
mod tests {
    use super::names_this_machine;

    #[test]
    fn only_loopback_names_are_answered() {
        for good in ["localhost", "localhost:7780", "127.0.0.1:7780", "[::1]:7780", "[::1]"] {
            assert!(names_this_machine(good), "{good}");
        }
        for bad in ["", "evil.example.com", "evil.example.com:7780", "127.0.0.1.example.com", "localhost:", "::1"] {
            assert!(!names_this_machine(bad), "{bad}");
        }
    }
}
