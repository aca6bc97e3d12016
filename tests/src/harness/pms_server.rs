//! A simulated Salto server with a PMS interface, over TCP and a pseudo terminal, for a site whose bridge makes hotel keys.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ApiClient, Process, build, until};

/// How the bridge reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// A TCP connection.
    Tcp,
    /// A pseudo terminal that looks like a serial port.
    Pty,
}

/// Rooms of the simulated hotels.
pub(super) fn hotel_rooms() -> impl Iterator<Item = u16> {
    (101..=112).chain(201..=212)
}

/// The server. Dropping it ends the process.
#[derive(Debug)]
pub struct PmsServer {
    /// The front panel.
    pub control: ApiClient,
    tcp: SocketAddr,
    pty: PathBuf,
    _process: Process,
    _folder: TempDir,
}

impl PmsServer {
    /// Starts it with rooms 101 to 112 and 201 to 212, and encoders 1 and 2.
    pub async fn start(arguments: &[&str]) -> Result<Self> {
        let binaries = tokio::task::spawn_blocking(build).await??;
        let folder = tempfile::Builder::new().prefix("lockbridge-pms-").tempdir().context("a temporary folder")?;
        let text = |path: PathBuf| path.to_str().map(str::to_owned).context("a path that is text");
        let (data, pty) = (text(folder.path().join("hotel"))?, text(folder.path().join("port"))?);
        let mut all = vec!["salto-pms", "--data", &data, "--tcp", "127.0.0.1:0", "--pty", &pty, "--exit-with-stdin"];
        all.extend(arguments);
        let log = folder.path().join("salto-pms.log");
        let mut process = Process::start("the PMS server", &binaries.simulator, &all, &log)?;
        let ready = process.ready().await?;
        let field = |name: &str| ready[name].as_str().with_context(|| format!("no {name} in {ready}"));
        Ok(Self {
            control: ApiClient::plain(field("control")?)?,
            tcp: field("tcp")?.parse()?,
            pty: PathBuf::from(field("pty")?),
            _process: process,
            _folder: folder,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.tcp
    }

    /// Its serial port.
    pub fn device(&self) -> &Path {
        &self.pty
    }

    /// Adds encoders until there are so many.
    pub async fn have_encoders(&self, count: usize) -> Result<()> {
        for number in 1..=count {
            self.control.post("/encoders", json!({ "encoder": number.to_string() })).await?;
        }
        Ok(())
    }

    /// The table of a bridge's configuration: lock system `hotel`, all rooms, gym and garage, encoders 1 and 2.
    pub fn lock_system(&self, way: Way, more: &str) -> String {
        self.lock_system_with(way, 2, more)
    }

    /// The same with encoders from 1 to `encoders`.
    pub fn lock_system_with(&self, way: Way, encoders: usize, more: &str) -> String {
        let line = self.line(way);
        let rooms: Vec<String> =
            hotel_rooms().map(|room| format!("{{ name = \"{room}\", display_name = \"Hotel {room}\" }}")).collect();
        let encoders: Vec<String> = (1..=encoders)
            .map(|number| format!("{{ name = \"{number}\", display_name = \"Encoder {number}\" }}"))
            .collect();
        format!(
            r#"
[lock_system.hotel]
kind = "salto_pms"
display_name = "Hotel"
time_zone = "Europe/Madrid"
probe_interval_s = 1
{line}
rooms = [{}]
authorisations = [{{ number = 1, name = "Hotel gym" }}, {{ number = 10, name = "Hotel garage" }}]
encoders = [{}]
{more}
"#,
            rooms.join(", "),
            encoders.join(", ")
        )
    }

    /// The table that joins this server to SALTO Space as lock system `main`: rooms 101 to 104 of the demo house, a room that
    /// only this server knows, and the gym.
    pub fn joined(&self, way: Way, more: &str) -> String {
        let line = self.line(way);
        let rooms: Vec<String> =
            (101..=104).map(|room| format!("{{ name = \"{room}\", entrance = \"ROOM{room}\" }}")).collect();
        format!(
            r#"
[lock_system.main.pms]
{line}
rooms = [{}, {{ name = "112", display_name = "Annexe 112" }}]
authorisations = [{{ number = 1, name = "Gym", entrance = "GYM" }}]
{more}
"#,
            rooms.join(", ")
        )
    }

    fn line(&self, way: Way) -> String {
        match way {
            Way::Tcp => format!("host = \"{}\"\nport = {}", self.tcp.ip(), self.tcp.port()),
            Way::Pty => format!("transport = \"serial\"\ndevice = \"{}\"", self.pty.display()),
        }
    }

    /// Lays a fresh blank on an encoder; its serial.
    pub async fn put_blank(&self, encoder: &str) -> Result<String> {
        let answer = self.control.post("/encoders/put", json!({ "encoder": encoder })).await?;
        Ok(answer["serial"].as_str().with_context(|| format!("no serial in {answer}"))?.to_owned())
    }

    /// Takes the card off.
    pub async fn lift(&self, encoder: &str) -> Result<()> {
        self.control.post("/encoders/lift", json!({ "encoder": encoder })).await?;
        Ok(())
    }

    /// Holds a card to the lock of a room; whether it opens.
    pub async fn opens(&self, serial: &str, room: &str) -> Result<bool> {
        let answer = self.control.post("/doors/present", json!({ "serial": serial, "room": room })).await?;
        answer["opened"].as_bool().with_context(|| format!("no word whether it opened: {answer}"))
    }

    /// How often something was done, by the server's durable count.
    pub async fn count(&self, kind: &str) -> Result<u64> {
        let effects = self.control.get("/effects?limit=0").await?;
        Ok(effects["by_kind"][kind].as_u64().unwrap_or(0))
    }

    /// All effects.
    pub async fn effects(&self) -> Result<Vec<Value>> {
        let answer = self.control.get("/effects?limit=1000000").await?;
        Ok(answer["effects"].as_array().with_context(|| format!("no effects in {answer}"))?.clone())
    }

    /// Asks for a fault.
    pub async fn fault(&self, fault: Value) -> Result<()> {
        self.control.post("/faults", fault).await?;
        Ok(())
    }

    /// Waits until something was done so often.
    pub async fn until_count(&self, kind: &str, wanted: u64) -> Result<()> {
        until("effects at the PMS server", Duration::from_secs(20), async || match self.count(kind).await {
            Ok(count) if count == wanted => Ok(()),
            other => Err(format!("{kind}: {other:?}, not {wanted}")),
        })
        .await?;
        Ok(())
    }
}
