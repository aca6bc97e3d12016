//! The process: opens its lines and its control port, serves, ends.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Simulator, control, serve};
use crate::simulator::line::noise::NoiseSettings;
use crate::simulator::line::{Frames, Handle, Line, Outside};

/// How long work may go on after the end was asked for.
const SETTLE: Duration = Duration::from_secs(5);

/// Why the server cannot run.
#[derive(Debug, Error)]
pub enum RunError {
    /// A line or the control port.
    #[error("opening {what}")]
    Open {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The log could not be written.
    #[error("writing to the data directory failed")]
    Disk,
}

/// Where the lines lead, or where they do.
#[derive(Debug, Clone, Serialize)]
pub struct Addresses {
    /// The PMS interface over TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<SocketAddr>,
    /// The PMS interface over a serial port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pty: Option<PathBuf>,
    /// Its speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baud: Option<u32>,
    /// The control interface.
    pub control: SocketAddr,
}

/// A server whose lines are open.
#[derive(Debug)]
pub struct Bound {
    /// What was given out.
    pub addresses: Addresses,
    lines: Vec<Line>,
    control: TcpListener,
}

/// Opens lines and control port; a port of 0 is chosen by the system.
pub async fn bind(mut addresses: Addresses, noise: &NoiseSettings) -> Result<Bound, RunError> {
    let fault = |what: String| move |source| RunError::Open { what, source };
    let mut lines = Vec::new();
    if let Some(address) = addresses.tcp {
        let line = Line::open(Outside::Listen(address), noise.clone()).await.map_err(fault(address.to_string()))?;
        addresses.tcp = line.handle().address();
        lines.push(line);
    }
    if let Some(path) = addresses.pty.clone() {
        let what = path.display().to_string();
        let outside = Outside::Pty { path, baud: addresses.baud };
        lines.push(Line::open(outside, noise.clone()).await.map_err(fault(what))?);
    }
    let control = TcpListener::bind(addresses.control).await.map_err(fault(addresses.control.to_string()))?;
    addresses.control = control.local_addr().map_err(fault(addresses.control.to_string()))?;
    Ok(Bound { addresses, lines, control })
}

impl Bound {
    /// Serves until [`Simulator::shutdown`].
    pub async fn run(self, simulator: Arc<Simulator>) -> Result<(), RunError> {
        let handles: Vec<Handle> = self.lines.iter().map(Line::handle).collect();
        for line in &handles {
            line.watch(Frames { checksum: simulator.settings.checksum, silence: serve::SILENCE });
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(control::serve(self.control, Arc::clone(&simulator), self.addresses, handles));
        for line in self.lines {
            tasks.spawn(serve::run(line, Arc::clone(&simulator)));
        }
        simulator.shutdown.cancelled().await;
        simulator.jobs.close();
        let settled = timeout(SETTLE, async {
            while tasks.join_next().await.is_some() {}
            simulator.jobs.wait().await;
        });
        if settled.await.is_err() {
            tracing::warn!("work in hand was cut off at the end");
        }
        if simulator.failed() { Err(RunError::Disk) } else { Ok(()) }
    }
}
