//! The line in front of a simulated machine: TCP or a pseudo terminal that looks like a serial port, with noise on demand.
//!
//! * `noise`: what a bad line does to bytes, from a seed. `pty`: the port. `pump`: carries bytes through the noise, at
//!   the speed of the port. `witness`: what the noise altered unseen. This module: the line as the machine behind it sees it.
//!
//! Promises: nothing happens to a byte unless the noise was asked for; what happens is decided byte by byte from the seed, so
//! that reading in other pieces changes nothing; a port survives closing and opening; what is sent to a port that nobody has
//! open is lost, as on a cable. Never: knows what the bytes mean, beyond where frames begin and end.

pub mod noise;
mod pty;
mod pump;
#[cfg(test)]
mod tests;
mod witness;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use noise::NoiseSettings;
pub use witness::{Altered, Frames, Way};

/// What may lie between the pump and the machine.
const INSIDE_BYTES: usize = 4096;
/// Between two attempts to reach a peer that we dial.
const DIAL_PAUSE: Duration = Duration::from_millis(100);

/// Where a line leads outside.
#[derive(Debug, Clone)]
pub enum Outside {
    /// We listen.
    Listen(SocketAddr),
    /// We connect, again and again.
    Dial(SocketAddr),
    /// A pseudo terminal under this path.
    Pty {
        /// Where the port appears; a link that is made, and removed while it is unplugged.
        path: PathBuf,
        /// Its speed; `None`: as fast as the machine.
        baud: Option<u32>,
    },
}

/// Bytes on the line so far, before noise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// From the client to the machine.
    pub to_machine: u64,
    /// From the machine to the client.
    pub to_client: u64,
}

/// Bytes that came together, before noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// When they came, before they were carried.
    pub at: Instant,
    /// Which way.
    pub way: Way,
    /// How many.
    pub bytes: usize,
}

/// Passages that one recording holds; what passes afterwards is not written down.
const RECORDED_PASSAGES: usize = 100_000;

#[derive(Debug)]
struct Shared {
    noise: Mutex<NoiseSettings>,
    /// Raised when the noise is set: seeds start anew.
    noise_set: AtomicU64,
    plugged: watch::Sender<bool>,
    cut: watch::Sender<u64>,
    to_machine: AtomicU64,
    to_client: AtomicU64,
    /// How frames look, where altered ones are looked for.
    frames: OnceLock<Frames>,
    altered: Mutex<Vec<Altered>>,
    recording: Mutex<Option<Vec<Passage>>>,
}

impl Shared {
    fn passed(&self, way: Way, bytes: usize) {
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(passages) = recording.as_mut()
            && passages.len() < RECORDED_PASSAGES
        {
            passages.push(Passage { at: Instant::now(), way, bytes });
        }
    }
}

/// The hand on a line: noise, plug, and what it carried. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
    path: Option<PathBuf>,
}

impl Handle {
    /// Where a listener listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where the port appears.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Sets the noise for what comes from now on.
    pub fn set_noise(&self, noise: NoiseSettings) {
        *self.shared.noise.lock().unwrap_or_else(PoisonError::into_inner) = noise;
        self.shared.noise_set.fetch_add(1, Ordering::Release);
    }

    /// The noise that is set.
    pub fn noise(&self) -> NoiseSettings {
        self.shared.noise.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for frames that the noise alters in a way that their checksum does not show. From the next connection on; of a
    /// port, when this is called before the first byte.
    pub fn watch(&self, frames: Frames) {
        // Once, at the start: frames do not change their looks.
        let _already = self.shared.frames.set(frames);
    }

    /// Frames that arrived with a checksum that fits, and were not those that were sent; as many as are kept.
    pub fn altered(&self) -> Vec<Altered> {
        self.shared.altered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes down what passes from now on, and forgets what passed before.
    pub fn record(&self) {
        *self.shared.recording.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// What passed since [`Self::record`].
    pub fn recorded(&self) -> Vec<Passage> {
        self.shared.recording.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// Takes the cable away, or puts it back. A port vanishes; connections are cut and new ones end at once.
    pub fn plug(&self, plugged: bool) {
        self.shared.plugged.send_replace(plugged);
    }

    /// Whether the cable is in.
    pub fn is_plugged(&self) -> bool {
        *self.shared.plugged.borrow()
    }

    /// Cuts the connections that are there; new ones are taken. A port has none.
    pub fn cut(&self) {
        self.shared.cut.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What was carried so far.
    pub fn carried(&self) -> Carried {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Carried { to_machine: read(&self.shared.to_machine), to_client: read(&self.shared.to_client) }
    }
}

/// A line as the machine behind it has it.
#[derive(Debug)]
pub struct Line {
    handle: Handle,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Listener(TcpListener),
    /// A listener that is closed: the system refuses connections.
    Shut(SocketAddr),
    Dialler(SocketAddr),
    /// The one stream of a port, until it is taken.
    Port(Option<Connection>),
}

/// Bytes to and from a client. A port has one for ever; TCP has one for each connection, and it ends with it.
#[derive(Debug)]
pub struct Connection {
    /// Behind the noise.
    pub stream: DuplexStream,
    /// Who it is, for logs.
    pub peer: String,
    pump: AbortOnDropHandle<()>,
}

impl Connection {
    /// The stream, and what has to live as long as it.
    pub fn into_parts(self) -> (DuplexStream, impl Send + 'static) {
        (self.stream, self.pump)
    }
}

impl Line {
    /// Opens the line. A port is there when this returns.
    pub async fn open(outside: Outside, noise: NoiseSettings) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            noise: Mutex::new(noise),
            noise_set: AtomicU64::new(0),
            plugged: watch::Sender::new(true),
            cut: watch::Sender::new(0),
            to_machine: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            frames: OnceLock::new(),
            altered: Mutex::default(),
            recording: Mutex::default(),
        });
        let mut handle = Handle { shared, address: None, path: None };
        let source = match outside {
            Outside::Listen(address) => {
                let listener = TcpListener::bind(address).await?;
                handle.address = Some(listener.local_addr()?);
                Source::Listener(listener)
            }
            Outside::Dial(address) => Source::Dialler(address),
            Outside::Pty { path, baud } => {
                let port = pty::Port::plug(&path)?;
                let peer = path.display().to_string();
                handle.path = Some(path.clone());
                let (inside, stream) = tokio::io::duplex(INSIDE_BYTES);
                let task = tokio::spawn(pump::port(port, path, inside, Arc::clone(&handle.shared), baud));
                Source::Port(Some(Connection { stream, peer, pump: AbortOnDropHandle::new(task) }))
            }
        };
        Ok(Self { handle, source })
    }

    /// The hand on this line.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Closes the port that is listened on: connections are refused. Nothing else is changed.
    pub fn shut(&mut self) {
        if let (Source::Listener(_), Some(address)) = (&self.source, self.handle.address) {
            self.source = Source::Shut(address);
        }
    }

    /// Listens again on the same port.
    pub async fn open_again(&mut self) -> io::Result<()> {
        if let Source::Shut(address) = &self.source {
            self.source = Source::Listener(TcpListener::bind(*address).await?);
        }
        Ok(())
    }

    /// The next client. A port has one client, and a second call waits for ever.
    pub async fn next(&mut self) -> io::Result<Connection> {
        loop {
            let (stream, peer) = match &mut self.source {
                Source::Port(port) => match port.take() {
                    Some(port) => return Ok(port),
                    None => std::future::pending().await,
                },
                Source::Listener(listener) => listener.accept().await?,
                Source::Shut(_) => std::future::pending().await,
                Source::Dialler(address) => {
                    let Ok(stream) = TcpStream::connect(*address).await else {
                        sleep(DIAL_PAUSE).await;
                        continue;
                    };
                    (stream, *address)
                }
            };
            if !self.handle.is_plugged() {
                sleep(DIAL_PAUSE).await;
                continue;
            }
            stream.set_nodelay(true)?;
            let (inside, outside) = tokio::io::duplex(INSIDE_BYTES);
            let task = tokio::spawn(pump::connection(stream, inside, Arc::clone(&self.handle.shared)));
            return Ok(Connection { stream: outside, peer: peer.to_string(), pump: AbortOnDropHandle::new(task) });
        }
    }
}
