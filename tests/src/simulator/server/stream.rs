//! The event stream: JSON arrays over UDP, or over TCP with this side as the client.
//!
//! There is no resend: what cannot be sent now is lost, as with the real one. One array per send.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::site::Site;
use super::super::site::audit::Event;
use super::super::wire::time::LocalTime;
use super::lock;

/// Events that may wait for the network.
const WAITING: usize = 1024;
/// Longest wait for a connection or a send.
const DEADLINE: Duration = Duration::from_secs(2);

/// Where events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Udp(SocketAddr),
    Tcp(SocketAddr),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not udp:ADDRESS:PORT or tcp:ADDRESS:PORT");
        let (kind, address) = text.split_once(':').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        match kind {
            "udp" => Ok(Self::Udp(address)),
            "tcp" => Ok(Self::Tcp(address)),
            _ => Err(wrong()),
        }
    }
}

/// The sending side, shared.
#[derive(Debug, Clone)]
pub struct Stream {
    queue: mpsc::Sender<Vec<u8>>,
    receiver: Arc<Mutex<Option<mpsc::Receiver<Vec<u8>>>>>,
    target: watch::Sender<Option<Target>>,
    line_ends: bool,
}

impl Stream {
    /// A stream to `target`; `line_ends` puts CR LF after each array.
    pub fn new(target: Option<Target>, line_ends: bool) -> Self {
        let (queue, receiver) = mpsc::channel(WAITING);
        Self { queue, receiver: Arc::new(Mutex::new(Some(receiver))), target: watch::Sender::new(target), line_ends }
    }

    /// Sends further events elsewhere, or nowhere.
    pub fn aim(&self, target: Option<Target>) {
        self.target.send_replace(target);
    }

    /// Queues an event.
    pub fn send(&self, site: &Site, event: &Event) {
        if self.target.borrow().is_none() {
            return;
        }
        let mut bytes = json!([fields(site, event)]).to_string().into_bytes();
        if self.line_ends {
            bytes.extend_from_slice(b"\r\n");
        }
        if self.queue.try_send(bytes).is_err() {
            tracing::warn!(event = event.id, "the event stream is full; an event is lost");
        }
    }

    /// Sends until the end. Runs once.
    pub async fn run(self, shutdown: CancellationToken) {
        let Some(mut receiver) = lock(&self.receiver).take() else { return };
        let mut connection: Option<(Target, Connection)> = None;
        while let Some(Some(bytes)) = shutdown.run_until_cancelled(receiver.recv()).await {
            let Some(target) = *self.target.borrow() else { continue };
            if connection.as_ref().is_some_and(|(to, _)| *to != target) {
                connection = None;
            }
            if connection.is_none() {
                match timeout(DEADLINE, Connection::open(target)).await {
                    Ok(Ok(opened)) => connection = Some((target, opened)),
                    Ok(Err(error)) => tracing::warn!(%error, ?target, "connecting the event stream; an event is lost"),
                    Err(_) => tracing::warn!(?target, "connecting the event stream takes too long; an event is lost"),
                }
            }
            let Some((_, open)) = &mut connection else { continue };
            if !matches!(timeout(DEADLINE, open.send(&bytes)).await, Ok(Ok(()))) {
                tracing::warn!(?target, "the event stream broke; an event is lost");
                connection = None;
            }
        }
    }
}

enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Connection {
    async fn open(target: Target) -> std::io::Result<Self> {
        match target {
            Target::Tcp(address) => Ok(Self::Tcp(TcpStream::connect(address).await?)),
            Target::Udp(address) => {
                let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(address).await?;
                Ok(Self::Udp(socket))
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(bytes).await.map(|_| ()),
            Self::Tcp(stream) => stream.write_all(bytes).await,
        }
    }
}

fn fields(site: &Site, event: &Event) -> serde_json::Value {
    let local = site.local(event.at).print();
    let utc = LocalTime::at(event.at, &TimeZone::UTC).print();
    let time = |text: &str| text.split_once('T').map(|(_, time)| time.to_owned()).unwrap_or_default();
    let mut value = json!({
        "EventID": event.id.to_string(),
        "EventDateTime": local,
        "EventTime": time(&local),
        "EventDateTimeUTC": format!("{utc}Z"),
        "EventTimeUTC": format!("{}Z", time(&utc)),
        "OperationID": event.operation,
        "OperationDescription": describe(event.operation),
        "IsExit": false,
        "UserType": event.subject.code(),
        "UserName": event.name,
        "DoorName": site.doors.get(&event.door).map_or(event.door.as_str(), |door| door.name.as_str()),
        "DoorExtID": event.door,
    });
    if let Some(map) = value.as_object_mut() {
        if let Some(user) = &event.user {
            map.insert("UserExtID".to_owned(), json!(user));
        }
        if let Some(serial) = &event.serial {
            map.insert("UserCardSerialNumber".to_owned(), json!(serial));
        }
    }
    value
}

fn describe(operation: i32) -> &'static str {
    match operation {
        17 => "Door opened: key",
        28 => "Door opened: online command",
        56 => "Start of forced opening",
        57 => "End of forced opening",
        58 => "Start of forced closing",
        59 => "End of forced closing",
        76 => "Key updated (online)",
        78 => "Key deleted (online)",
        81 => "Opening not allowed: key not yet active",
        82 => "Opening not allowed: key expired",
        83 => "Opening not allowed: key out of date",
        84 => "Opening not allowed: key not allowed at this door",
        85 => "Opening not allowed: outside time window",
        95 => "Opening not allowed: emergency state",
        96 => "Opening not allowed: key cancelled",
        99 => "Key not completely updated",
        107 => "Opening not allowed: data on key manipulated",
        _ => "Other",
    }
}
