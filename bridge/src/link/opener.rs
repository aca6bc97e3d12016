//! Makes a line, and makes it anew after it ended, at a bounded pace.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::endpoint::{Endpoint, Limits};
use super::error::LineError;
use super::line::{Line, Medium};
use super::statistics::Statistics;
use super::{serial, tcp};

/// Between two looks whether a device that was missing is back.
const LOOK: Duration = Duration::from_millis(50);

/// Opens one line, again and again. A port must be dropped before it is opened anew.
#[derive(Debug)]
pub struct Opener {
    endpoint: Endpoint,
    limits: Limits,
    statistics: Arc<Statistics>,
    listener: Option<TcpListener>,
    /// Attempts since the last line on which something was heard.
    attempts: u32,
    /// Bytes heard when the last attempt began.
    heard: u64,
    next_at: Instant,
}

impl Opener {
    /// Nothing is opened yet.
    pub fn new(endpoint: Endpoint, limits: Limits, statistics: Arc<Statistics>) -> Self {
        Self { endpoint, limits, statistics, listener: None, attempts: 0, heard: 0, next_at: Instant::now() }
    }

    /// Where the line leads.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// One attempt. Waits first until the pause since the last one is over: the owner may call it in a loop. The pause
    /// doubles with each line on which nothing was heard; a serial device that comes back is opened at once. Dropping the
    /// future is safe.
    ///
    /// A listener waits for its peer without pause and without limit, and cuts off strangers. The owner may wait for the next
    /// connection while it uses a line: a peer that was switched off and came back has not ended its old one.
    pub async fn open(&mut self) -> Result<Line, LineError> {
        self.pause().await;
        let opened = self.attempt().await;
        if opened.is_err() {
            self.statistics.open_failed();
        }
        opened
    }

    /// Where a listener listens; it begins to if it has not yet. `None` for other endpoints.
    pub async fn listen(&mut self) -> Result<Option<SocketAddr>, LineError> {
        let Endpoint::Listen { address, .. } = &self.endpoint else { return Ok(None) };
        let address = *address;
        let fault = |source| LineError::Listen { address, source };
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind(address).await.map_err(fault)?,
        };
        let bound = listener.local_addr().map_err(fault)?;
        self.listener = Some(listener);
        Ok(Some(bound))
    }

    async fn pause(&mut self) {
        let heard = self.statistics.received_bytes();
        if heard > self.heard {
            self.attempts = 0;
        }
        self.heard = heard;
        match &self.endpoint {
            Endpoint::Serial(settings) => device_or(&settings.device, self.next_at).await,
            Endpoint::Listen { .. } => return,
            Endpoint::Dial { .. } | Endpoint::DialTls { .. } => sleep_until(self.next_at).await,
        }
        let (first, longest) = self.limits.backoff;
        let pause = first.saturating_mul(1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX)).min(longest);
        self.attempts = self.attempts.saturating_add(1);
        self.next_at = Instant::now() + pause;
    }

    async fn attempt(&mut self) -> Result<Line, LineError> {
        let place = self.endpoint.to_string();
        let (limits, statistics) = (self.limits, Arc::clone(&self.statistics));
        if matches!(self.endpoint, Endpoint::Listen { .. }) {
            self.listen().await?;
        }
        let opening = async {
            match &self.endpoint {
                Endpoint::Dial { host, port } => Ok(Box::new(tcp::dial(host, *port).await?) as Box<_>),
                Endpoint::DialTls { host, port, trust } => {
                    Ok(Box::new(tcp::dial_tls(host, *port, trust).await?) as Box<_>)
                }
                Endpoint::Serial(settings) => Ok(Box::new(serial::open(settings).await?) as Box<_>),
                Endpoint::Listen { .. } => Err(LineError::Ended { place: place.clone() }),
            }
        };
        let (stream, place, medium) = match (&self.endpoint, &self.listener) {
            (Endpoint::Listen { address, allow }, Some(listener)) => {
                let (stream, peer) = tcp::accept(listener, *address, allow, &statistics).await?;
                (Box::new(stream) as Box<_>, peer.to_string(), Medium::Network)
            }
            (endpoint, _) => {
                let timed_out = LineError::OpenTimedOut { place: place.clone(), seconds: limits.open.as_secs() };
                let stream = timeout(limits.open, opening).await.unwrap_or(Err(timed_out))?;
                let medium = match endpoint {
                    Endpoint::Serial(settings) => Medium::Serial { character: settings.character_time() },
                    _ => Medium::Network,
                };
                (stream, place, medium)
            }
        };
        Ok(Line::new(stream, place, medium, limits, statistics))
    }
}

/// Waits until `next_at`. When the device is missing, its coming back ends the wait.
async fn device_or(device: &Path, next_at: Instant) {
    let is_there = || device.exists();
    if is_there() {
        sleep_until(next_at).await;
        return;
    }
    while Instant::now() < next_at && !is_there() {
        sleep(LOOK.min(next_at.saturating_duration_since(Instant::now()))).await;
    }
}
