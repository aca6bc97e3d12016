//! Carries bytes between the outside of a line and the machine behind it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use super::noise::{Fate, GLUE, Noise, Rates};
use super::pty::Port;
use super::witness::{KEPT, Way, Witness};

/// Read at once.
const PIECE: usize = 1024;
/// Bytes that a paced line hands on together.
const PACED: usize = 8;
/// Start bit, eight data bits, stop bit.
const BITS: u64 = 10;

/// Where bytes come from.
trait Inlet: Send {
    /// 0: the end.
    fn take(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
}

/// Where bytes go. Shared, because an echo comes from the other direction.
trait Outlet: Send + Sync {
    fn put(&self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

impl Inlet for ReadHalf<DuplexStream> {
    async fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer).await
    }
}

impl Outlet for Mutex<WriteHalf<DuplexStream>> {
    async fn put(&self, bytes: &[u8]) -> io::Result<()> {
        self.lock().await.write_all(bytes).await
    }
}

impl Inlet for OwnedReadHalf {
    async fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer).await
    }
}

impl Outlet for Mutex<OwnedWriteHalf> {
    async fn put(&self, bytes: &[u8]) -> io::Result<()> {
        self.lock().await.write_all(bytes).await
    }
}

/// The port that is plugged in, if one is.
#[derive(Debug, Clone)]
struct Socket {
    port: watch::Sender<Option<Arc<Port>>>,
    path: PathBuf,
}

impl Inlet for Socket {
    async fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut port = self.port.subscribe();
        loop {
            let plugged = port.borrow_and_update().clone();
            let read = tokio::select! {
                read = async { match &plugged { Some(port) => port.read(buffer).await, None => std::future::pending().await } } => read?,
                _ = port.changed() => continue,
            };
            if read > 0 {
                return Ok(read);
            }
            // Closing a port forgets settings, locks and what nobody read; so does a new terminal.
            let new = Port::plug(&self.path)?;
            self.port.send_if_modified(|current| {
                let is_plugged = current.is_some();
                if is_plugged {
                    *current = Some(Arc::new(new));
                }
                is_plugged
            });
        }
    }
}

impl Outlet for Socket {
    async fn put(&self, bytes: &[u8]) -> io::Result<()> {
        let port = self.port.borrow().clone();
        match port {
            Some(port) => port.write(bytes).await,
            None => Ok(()),
        }
    }
}

/// One direction of a line.
struct Direction {
    way: Way,
    shared: Arc<Shared>,
    noise: Noise,
    noise_set: u64,
    character: Option<Duration>,
    /// When the last byte has passed.
    free_at: Instant,
    witness: Option<Witness>,
}

impl Direction {
    fn new(way: Way, shared: Arc<Shared>, baud: Option<u32>) -> Self {
        let character = baud.map(|baud| Duration::from_secs(BITS).checked_div(baud.max(1)).unwrap_or_default());
        let noise = Noise::new(Rates::default(), 0);
        let free_at = Instant::now();
        let mut direction = Self { way, shared, noise, noise_set: u64::MAX, character, free_at, witness: None };
        direction.refresh();
        direction
    }

    fn refresh(&mut self) {
        let set = self.shared.noise_set.load(Ordering::Acquire);
        if set != self.noise_set {
            self.noise_set = set;
            let settings = self.shared.noise.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // Two directions with one seed would suffer alike.
            match self.way {
                Way::ToMachine => self.noise.change(settings.to_machine, settings.seed),
                Way::ToClient => self.noise.change(settings.to_client, settings.seed.rotate_left(32)),
            }
        }
    }

    fn counter(&self) -> &AtomicU64 {
        match self.way {
            Way::ToMachine => &self.shared.to_machine,
            Way::ToClient => &self.shared.to_client,
        }
    }

    /// Before the bytes arrive, so that whoever acts on them can be asked afterwards.
    fn watch(&mut self, fates: &[Fate]) {
        let Some(frames) = self.shared.frames.get() else { return };
        let witness = self.witness.get_or_insert_with(|| Witness::new(self.way, *frames));
        let found = witness.take(fates, Instant::now());
        let mut altered = self.shared.altered.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(altered.len());
        altered.extend(found.into_iter().take(room));
    }

    /// Carries bytes until one side ends.
    async fn run(mut self, mut from: impl Inlet, to: &impl Outlet, back: &impl Outlet) -> io::Result<()> {
        let mut buffer = [0; PIECE];
        loop {
            let read = if self.noise.holds() {
                let Ok(read) = timeout(GLUE, from.take(&mut buffer)).await else {
                    let held = self.noise.release();
                    self.deliver(&held, to).await?;
                    continue;
                };
                read?
            } else {
                from.take(&mut buffer).await?
            };
            if read == 0 {
                return Ok(());
            }
            let piece = buffer.get(..read).unwrap_or_default();
            self.counter().fetch_add(u64::try_from(read).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.shared.passed(self.way, read);
            self.refresh();
            let passed = self.noise.pass(piece);
            self.watch(&passed.fates);
            if !passed.echo.is_empty() {
                back.put(&passed.echo).await?;
            }
            for piece in passed.pieces {
                // Not for no time at all: the timer rounds up to its next step.
                if !piece.wait.is_zero() {
                    sleep(piece.wait).await;
                }
                self.deliver(&piece.bytes, to).await?;
            }
        }
    }

    async fn deliver(&mut self, bytes: &[u8], to: &impl Outlet) -> io::Result<()> {
        let Some(character) = self.character else { return to.put(bytes).await };
        self.free_at = self.free_at.max(Instant::now());
        for piece in bytes.chunks(PACED) {
            let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            self.free_at += character.saturating_mul(length);
            reached(self.free_at).await;
            to.put(piece).await?;
        }
        Ok(())
    }
}

/// Waits to a fraction of a millisecond. The runtime's own timer has steps of one, which is a whole character of 9600 baud: paced
/// by it, a port is slower than it says.
#[expect(
    clippy::disallowed_methods,
    reason = "the system's sleep is the exact one, and this thread is made for waiting"
)]
async fn reached(at: Instant) {
    let wait = at.saturating_duration_since(Instant::now());
    let slept = spawn_blocking(move || std::thread::sleep(wait)).await;
    slept.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
}

/// Serves a connection until one side, the plug or a cut ends it.
pub(super) async fn connection(stream: TcpStream, inside: DuplexStream, shared: Arc<Shared>) {
    let (mut plugged, mut cut) = (shared.plugged.subscribe(), shared.cut.subscribe());
    let (from_client, to_client) = stream.into_split();
    let (from_machine, to_machine) = tokio::io::split(inside);
    let (to_client, to_machine) = (Mutex::new(to_client), Mutex::new(to_machine));
    let inwards = Direction::new(Way::ToMachine, Arc::clone(&shared), None);
    let outwards = Direction::new(Way::ToClient, Arc::clone(&shared), None);
    let ended = tokio::select! {
        ended = inwards.run(from_client, &to_machine, &to_client) => ended,
        ended = outwards.run(from_machine, &to_client, &to_machine) => ended,
        _ = plugged.wait_for(|plugged| !plugged) => Ok(()),
        _ = cut.changed() => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Serves a port until its line is dropped.
pub(super) async fn port(port: Port, path: PathBuf, inside: DuplexStream, shared: Arc<Shared>, baud: Option<u32>) {
    let mut plugged = shared.plugged.subscribe();
    let socket = Socket { port: watch::Sender::new(Some(Arc::new(port))), path };
    let (from_machine, to_machine) = tokio::io::split(inside);
    let to_machine = Mutex::new(to_machine);
    let inwards = Direction::new(Way::ToMachine, Arc::clone(&shared), baud);
    let outwards = Direction::new(Way::ToClient, Arc::clone(&shared), baud);
    let hand = async {
        while plugged.changed().await.is_ok() {
            let port = if *plugged.borrow_and_update() { Some(Arc::new(Port::plug(&socket.path)?)) } else { None };
            socket.port.send_replace(port);
        }
        Ok(())
    };
    let ended: io::Result<()> = tokio::select! {
        ended = inwards.run(socket.clone(), &to_machine, &socket) => ended,
        ended = outwards.run(from_machine, &socket, &to_machine) => ended,
        ended = hand => ended,
    };
    if let Err(error) = ended {
        tracing::error!(%error, path = %socket.path.display(), "a port broke");
    }
}
