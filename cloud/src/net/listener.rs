//! The accept loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// From the TCP connection to the end of the TLS handshake (rule G2).
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after the system refused a connection, mostly for want of file descriptors.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// A connection after its handshake.
pub type TlsConnection = TlsStream<TcpStream>;

/// How much of one listener may be in use at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// TLS handshakes; further connections wait in the kernel's queue.
    pub handshakes: usize,
    /// Connections; further ones are closed at once.
    pub connections: usize,
}

/// Accepts until `stop`, and gives every connection that completes its handshake to `serve`, in a task of `tasks`. The
/// owner of `tasks` waits for them.
pub async fn accept<S, F>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    limits: Limits,
    tasks: TaskTracker,
    stop: CancellationToken,
    serve: S,
) where
    S: Fn(TlsConnection, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let acceptor = TlsAcceptor::from(tls);
    let handshakes = Arc::new(Semaphore::new(limits.handshakes));
    let connections = Arc::new(Semaphore::new(limits.connections));
    loop {
        let next = async {
            let handshake = Arc::clone(&handshakes).acquire_owned().await;
            (handshake, listener.accept().await)
        };
        let (handshake, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = next => next,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "Accepting a connection failed.");
                sleep(REFUSED_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&connections).try_acquire_owned() else {
            tracing::warn!(%address, limit = limits.connections, "Too many connections; one was closed.");
            continue;
        };
        let (acceptor, serve) = (acceptor.clone(), serve.clone());
        tasks.spawn(async move {
            let _place = place;
            let done = shake_hands(&acceptor, stream).await;
            drop(handshake);
            match done {
                Ok(connection) => Box::pin(serve(connection, address)).await,
                Err(error) => tracing::info!(%address, %error, "A TLS handshake failed."),
            }
        });
    }
}

async fn shake_hands(acceptor: &TlsAcceptor, stream: TcpStream) -> std::io::Result<TlsConnection> {
    stream.set_nodelay(true)?;
    // Boxed: the handshake's state is gone while the connection lives on for weeks.
    match timeout(HANDSHAKE, Box::pin(acceptor.accept(stream))).await {
        Ok(done) => done,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
