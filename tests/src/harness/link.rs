//! The internet between bridge and cloud: a TCP relay that can be cut, black-holed and mended.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
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

/// A relay in front of one address; the task ends with this value.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    target: Arc<watch::Sender<Option<SocketAddr>>>,
    line: Arc<watch::Sender<Line>>,
    task: JoinHandle<()>,
}

impl Link {
    /// Opens a fresh loopback port that leads nowhere until [`lead_to`](Self::lead_to) says where.
    pub async fn open() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("a port for the relay")?;
        let address = listener.local_addr()?;
        let line = Arc::new(watch::Sender::new(Line::Up));
        let target = Arc::new(watch::Sender::new(None));
        let task = tokio::spawn(relay(listener, target.subscribe(), line.subscribe()));
        Ok(Self { address, target, line, task })
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
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(listener: TcpListener, target: watch::Receiver<Option<SocketAddr>>, line: watch::Receiver<Line>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let Some(target) = *target.borrow() else { continue };
        connections.spawn(connection(client, target, line.clone()));
    }
}

async fn connection(mut client: TcpStream, target: SocketAddr, mut line: watch::Receiver<Line>) {
    if *line.borrow_and_update() == Line::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    tokio::select! {
        // Either side closed; nothing is left to relay.
        _ended = copy_bidirectional(&mut client, &mut server) => return,
        _changed = line.wait_for(|line| *line != Line::Up) => {}
    }
    if *line.borrow() == Line::Silent {
        // Hold both ends open until the line is cut or the harness ends.
        let _cut = line.wait_for(|line| *line == Line::Cut).await;
    }
}
