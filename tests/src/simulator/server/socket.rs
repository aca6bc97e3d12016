//! SHIP over STP: one connection, requests answered in order.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::wire::stp::{Frame, FrameError, read_frame};
use super::answer::{Reply, answer};
use super::{Simulator, life::WRITE_DEADLINE};

/// Serves a connection until the peer or this life of the server ends it.
pub(super) async fn serve(simulator: &Simulator, mut stream: TcpStream, life: &CancellationToken) {
    loop {
        let frame = match life.run_until_cancelled(read_frame(&mut stream)).await {
            Some(Ok(frame)) => frame,
            Some(Err(FrameError::Closed)) | None => return,
            Some(Err(error)) => {
                tracing::debug!(%error, "closing an STP connection");
                return;
            }
        };
        let bytes = match answer(simulator, &frame.body, life).await {
            Reply::Send(body) => Frame::encode(frame.version, body.as_bytes()),
            Reply::SendHalf(body) => {
                let mut bytes = Frame::encode(frame.version, body.as_bytes());
                bytes.truncate(bytes.len() / 2);
                send(&mut stream, &bytes).await;
                return;
            }
            Reply::Close => return,
            Reply::Silence => {
                // Whatever the peer still sends is read and forgotten, until it gives up.
                let mut ignored = [0_u8; 1024];
                while let Some(Ok(1..)) = life.run_until_cancelled(stream.read(&mut ignored)).await {}
                return;
            }
        };
        if life.is_cancelled() || !send(&mut stream, &bytes).await {
            return;
        }
    }
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    matches!(timeout(WRITE_DEADLINE, stream.write_all(bytes)).await, Ok(Ok(())))
}
