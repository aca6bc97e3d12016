//! The listener for the event stream of Space. It says that something happened; the audit trail says what.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use lockbridge_protocol::ship::limits::STREAM_MESSAGE_BYTES;
use lockbridge_protocol::ship::stream::{StreamError, StreamMessage, StreamReader, parse_message};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::sleep;

use crate::config::EventStreamConfig;

/// After a failure of the socket itself, which would else repeat at once.
const PAUSE: Duration = Duration::from_secs(1);
/// After each message, so that a flood of them does not become a flood of requests.
const GATHER: Duration = Duration::from_millis(200);

/// Waits for pushed events from one peer.
#[derive(Debug)]
pub(super) struct StreamListener {
    socket: Socket,
    from: Option<IpAddr>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Socket {
    None,
    Udp(UdpSocket),
    /// Space is the client; one connection at a time, for there is one Space.
    Tcp(TcpListener, Option<(TcpStream, StreamReader)>),
}

impl StreamListener {
    /// Never reports anything.
    pub(super) fn none() -> Self {
        Self { socket: Socket::None, from: None, buffer: Vec::new() }
    }

    pub(super) async fn open(config: &EventStreamConfig) -> io::Result<Self> {
        let socket = if config.udp {
            Socket::Udp(UdpSocket::bind(config.listen).await?)
        } else {
            Socket::Tcp(TcpListener::bind(config.listen).await?, None)
        };
        Ok(Self { socket, from: Some(config.from), buffer: vec![0; STREAM_MESSAGE_BYTES] })
    }

    #[cfg(test)]
    pub(super) fn local_address(&self) -> Option<std::net::SocketAddr> {
        match &self.socket {
            Socket::None => None,
            Socket::Udp(socket) => socket.local_addr().ok(),
            Socket::Tcp(listener, _) => listener.local_addr().ok(),
        }
    }

    /// Returns when the peer pushed at least one event. Safe to drop at any time.
    pub(super) async fn event(&mut self) {
        loop {
            let heard = match &mut self.socket {
                Socket::None => std::future::pending().await,
                Socket::Udp(socket) => datagram(socket, &mut self.buffer, self.from).await,
                Socket::Tcp(listener, connection) => stream(listener, connection, &mut self.buffer, self.from).await,
            };
            if heard {
                sleep(GATHER).await;
                return;
            }
        }
    }
}

fn is_news(message: Result<StreamMessage, StreamError>) -> bool {
    match message {
        Ok(message) => !message.events.is_empty(),
        Err(error) => {
            tracing::debug!(%error, "a message of the event stream was not understood");
            false
        }
    }
}

async fn datagram(socket: &UdpSocket, buffer: &mut [u8], from: Option<IpAddr>) -> bool {
    match socket.recv_from(buffer).await {
        Ok((length, peer)) if from == Some(peer.ip().to_canonical()) => {
            is_news(parse_message(buffer.get(..length).unwrap_or_default()))
        }
        Ok(_) => false,
        Err(_) => {
            sleep(PAUSE).await;
            false
        }
    }
}

async fn stream(
    listener: &TcpListener,
    connection: &mut Option<(TcpStream, StreamReader)>,
    buffer: &mut [u8],
    from: Option<IpAddr>,
) -> bool {
    let accepted = match connection {
        None => listener.accept().await,
        Some((stream, reader)) => {
            // A new connection replaces the old one: Space restarted, and the old one may never say so.
            tokio::select! {
                accepted = listener.accept() => accepted,
                read = stream.read(buffer) => {
                    let input = read.ok().and_then(|count| buffer.get(..count)).unwrap_or_default();
                    let (news, lost) = read_messages(reader, input);
                    if input.is_empty() || lost {
                        *connection = None;
                    }
                    return news;
                }
            }
        }
    };
    match accepted {
        Ok((stream, peer)) if from == Some(peer.ip().to_canonical()) => {
            *connection = Some((stream, StreamReader::new()));
        }
        Ok(_) => {}
        Err(_) => sleep(PAUSE).await,
    }
    false
}

/// Whether there were events, and whether the place in the stream is lost.
fn read_messages(reader: &mut StreamReader, mut input: &[u8]) -> (bool, bool) {
    let mut news = false;
    while !input.is_empty() {
        match reader.read(&mut input).transpose() {
            Some(Err(error @ (StreamError::TooLarge | StreamError::TooDeep))) => {
                is_news(Err(error));
                return (news, true);
            }
            Some(message) => news |= is_news(message),
            None => {}
        }
    }
    (news, false)
}
