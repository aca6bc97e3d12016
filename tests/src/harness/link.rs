//! The network between two processes: a TCP relay that can be cut, black-holed and mended, that can write down what
//! passes and when, and that can kill a process when so many bytes have passed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What the line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Up,
    /// Connections are closed and new ones refused (closed at once).
    Cut,
    /// Connections stay open and nothing passes: a half-open peer.
    Silent,
}

/// Pieces that one recording holds; what passes afterwards is not written down.
const RECORDED_PIECES: usize = 4_096;
/// Bytes read at once: more than any single message that is looked for.
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes that passed together.
#[derive(Debug, Clone)]
pub struct Passed {
    /// When they had arrived at the relay; they go on afterwards.
    pub at: Instant,
    /// From the server to the client.
    pub to_client: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What a recording collects; nothing while there is none.
type Recording = Arc<Mutex<Option<Vec<Passed>>>>;

/// Counts what goes to the server, and the death that waits at some count.
#[derive(Debug, Default)]
struct Meter {
    to_server: u64,
    /// When so many bytes passed, this process dies, and nothing more passes.
    death: Option<(u64, i32)>,
}

impl Meter {
    /// How much of so many bytes passes, and who dies then.
    fn pass(&mut self, bytes: usize) -> (usize, Option<i32>) {
        let through = self.to_server + bytes as u64;
        let (passes, dies) = match self.death {
            Some((at, process)) if through >= at => (at.saturating_sub(self.to_server), Some(process)),
            _ => (bytes as u64, None),
        };
        self.to_server += passes;
        if dies.is_some() {
            self.death = None;
        }
        (usize::try_from(passes).unwrap_or(bytes), dies)
    }
}

/// A relay in front of one address; the task ends with this value.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    target: Arc<watch::Sender<Option<SocketAddr>>>,
    line: Arc<watch::Sender<Line>>,
    recording: Recording,
    meter: Arc<Mutex<Meter>>,
    deaths: Arc<watch::Sender<u64>>,
    task: JoinHandle<()>,
}

/// What every connection of a relay shares.
#[derive(Debug, Clone)]
struct Shared {
    line: watch::Receiver<Line>,
    recording: Recording,
    meter: Arc<Mutex<Meter>>,
    deaths: Arc<watch::Sender<u64>>,
}

impl Link {
    /// Opens a fresh loopback port that leads nowhere until [`lead_to`](Self::lead_to) says where.
    pub async fn open() -> Result<Self> {
        Self::open_at(IpAddr::V4(Ipv4Addr::LOCALHOST)).await
    }

    /// The same on another address of this host.
    pub async fn open_at(address: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind((address, 0)).await.context("a port for the relay")?;
        let address = listener.local_addr()?;
        let line = Arc::new(watch::Sender::new(Line::Up));
        let target = Arc::new(watch::Sender::new(None));
        let recording = Recording::default();
        let meter = Arc::<Mutex<Meter>>::default();
        let deaths = Arc::new(watch::Sender::new(0));
        let shared = Shared {
            line: line.subscribe(),
            recording: Arc::clone(&recording),
            meter: Arc::clone(&meter),
            deaths: Arc::clone(&deaths),
        };
        let task = tokio::spawn(relay(listener, target.subscribe(), shared));
        Ok(Self { address, target, line, recording, meter, deaths, task })
    }

    /// Where new connections go: a server may come back on another port.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and refuses new ones.
    pub fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    /// Keeps connections open and lets nothing pass.
    pub fn silence(&self) {
        self.line.send_replace(Line::Silent);
    }

    /// Normal again; silenced connections stay dead, as behind a middlebox that forgot them.
    pub fn mend(&self) {
        self.line.send_replace(Line::Up);
    }

    /// Bytes that went to the server since the relay was opened, over all connections.
    pub fn passed_to_server(&self) -> u64 {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).to_server
    }

    /// Kills a process when `bytes` more bytes have gone to the server; not one more passes on that connection.
    pub fn kill_after(&self, bytes: u64, process: u32) -> Result<()> {
        let process = i32::try_from(process).context("a process id")?;
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.death = Some((meter.to_server + bytes, process));
        Ok(())
    }

    /// Takes [`kill_after`](Self::kill_after) back.
    pub fn spare(&self) {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).death = None;
    }

    /// Follows how many processes died by [`kill_after`](Self::kill_after).
    pub fn deaths(&self) -> watch::Receiver<u64> {
        self.deaths.subscribe()
    }

    /// Begins to write down what passes, of all connections.
    pub fn record(&self) {
        *self.recording.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// What passed since [`record`](Self::record), in the order it arrived; the recording goes on.
    pub fn recorded(&self) -> Vec<Passed> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(listener: TcpListener, target: watch::Receiver<Option<SocketAddr>>, shared: Shared) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let Some(target) = *target.borrow() else { continue };
        connections.spawn(connection(client, target, shared.clone()));
    }
}

async fn connection(mut client: TcpStream, target: SocketAddr, shared: Shared) {
    let mut line = shared.line.clone();
    if *line.borrow_and_update() == Line::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let (client_reader, client_writer) = client.split();
    let (server_reader, server_writer) = server.split();
    let both = async {
        tokio::try_join!(
            pass_on(client_reader, server_writer, &shared, false),
            pass_on(server_reader, client_writer, &shared, true)
        )
    };
    tokio::select! {
        // Both sides closed, or one was lost; nothing is left to relay.
        _ended = both => return,
        _changed = line.wait_for(|line| *line != Line::Up) => {}
    }
    if *line.borrow() == Line::Silent {
        // Hold both ends open until the line is cut or the harness ends.
        let _cut = line.wait_for(|line| *line == Line::Cut).await;
    }
}

/// Until `from` is closed, which is passed on too.
async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared,
    to_client: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        let at = Instant::now();
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return to.shutdown().await };
        if let Some(pieces) = shared.recording.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            && pieces.len() < RECORDED_PIECES
        {
            pieces.push(Passed { at, to_client, bytes: bytes.to_vec() });
        }
        let (passes, dies) = if to_client {
            (bytes.len(), None)
        } else {
            shared.meter.lock().unwrap_or_else(PoisonError::into_inner).pass(bytes.len())
        };
        to.write_all(&bytes[..passes]).await?;
        if let Some(process) = dies {
            // First the death, then the end of the connection: the process must not see it. One that is gone is what
            // was wanted.
            let _gone = kill(Pid::from_raw(process), Signal::SIGKILL);
            shared.deaths.send_modify(|deaths| *deaths += 1);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_dies_when_exactly_so_many_bytes_have_passed() {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let link = Link::open().await.unwrap();
        link.lead_to(server.local_addr().unwrap());
        let mut victim = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let mut client = TcpStream::connect(link.address()).await.unwrap();
        let (mut peer, _) = server.accept().await.unwrap();
        client.write_all(b"before").await.unwrap();
        peer.read_exact(&mut [0; 6]).await.unwrap();
        link.kill_after(5, victim.id().unwrap()).unwrap();
        client.write_all(b"0123").await.unwrap();
        peer.read_exact(&mut [0; 4]).await.unwrap();
        assert!(victim.try_wait().unwrap().is_none(), "four of five have passed");
        client.write_all(b"456789").await.unwrap();
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"4");
        assert!(!victim.wait().await.unwrap().success());
        assert_eq!((link.passed_to_server(), *link.deaths().borrow()), (11, 1));
    }

    #[tokio::test]
    async fn what_passes_is_written_down_in_both_directions_once_asked_for() {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let link = Link::open().await.unwrap();
        link.lead_to(server.local_addr().unwrap());
        let mut client = TcpStream::connect(link.address()).await.unwrap();
        let (mut peer, _) = server.accept().await.unwrap();
        let mut read = [0; 3];
        client.write_all(b"one").await.unwrap();
        peer.read_exact(&mut read).await.unwrap();
        link.record();
        let begun = Instant::now();
        client.write_all(b"two").await.unwrap();
        peer.read_exact(&mut read).await.unwrap();
        peer.write_all(b"ans").await.unwrap();
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ans");
        drop(client);
        assert_eq!(peer.read(&mut read).await.unwrap(), 0, "the close is passed on");
        let passed = link.recorded();
        let seen: Vec<_> = passed.iter().map(|piece| (piece.to_client, piece.bytes.as_slice())).collect();
        assert!(seen.contains(&(false, b"two".as_slice())) && !seen.contains(&(false, b"one".as_slice())), "{seen:?}");
        assert!(passed.iter().all(|piece| piece.at >= begun));
    }
}
