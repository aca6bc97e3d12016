//! A lock vendor's key service that speaks FIAS, simulated, over TCP and a pseudo terminal, for a site whose bridge asks it for
//! keys.

use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::FiasSimulator;
use super::pms_server::{Way, hotel_rooms};

/// The key service. Dropping it ends the process.
#[derive(Debug)]
pub struct KeyService {
    /// The process and its control interface.
    pub panel: FiasSimulator,
    line: String,
    place: String,
    encoders: usize,
    _folder: TempDir,
}

impl KeyService {
    /// Starts it with rooms 101 to 112 and 201 to 212, and encoders from 1. Over TCP it dials the bridge, as key systems do.
    pub async fn start(way: Way, encoders: usize, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockbridge-keys-").tempdir().context("a temporary folder")?;
        let text = |path: PathBuf| path.to_str().map(str::to_owned).context("a path that is text");
        let (data, device) = (text(folder.path().join("data"))?, text(folder.path().join("port"))?);
        let rooms = hotel_rooms().map(|room| room.to_string()).collect::<Vec<_>>().join(",");
        let numbers = (1..=encoders).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
        let mut all = vec!["--role", "key-system", "--data", &data, "--rooms", &rooms, "--encoders", &numbers];
        let dial;
        let (place, line) = match way {
            Way::Tcp => {
                // Free a moment ago; whoever takes it meanwhile fails the test loudly.
                let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                dial = format!("127.0.0.1:{port}");
                all.extend(["--dial", &dial]);
                let line = format!("transport = \"listen\"\nlisten = \"{dial}\"\nallow = [\"127.0.0.1\"]");
                (dial.clone(), line)
            }
            Way::Pty => {
                all.extend(["--pty", &device]);
                (device.clone(), format!("transport = \"serial\"\ndevice = \"{device}\""))
            }
        };
        all.extend(arguments);
        let panel = FiasSimulator::start(folder.path(), &all).await?;
        Ok(Self { panel, line, place, encoders, _folder: folder })
    }

    /// The address of ours that it dials, or its serial port.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The table of a bridge's configuration: lock system `hotel`, all rooms and encoders.
    pub fn lock_system(&self, more: &str) -> String {
        let rooms: Vec<String> =
            hotel_rooms().map(|room| format!("{{ name = \"{room}\", display_name = \"Hotel {room}\" }}")).collect();
        let encoders: Vec<String> = (1..=self.encoders)
            .map(|number| format!("{{ name = \"{number}\", display_name = \"Encoder {number}\" }}"))
            .collect();
        format!(
            r#"
[lock_system.hotel]
kind = "fias"
display_name = "Hotel"
time_zone = "Europe/Madrid"
probe_interval_s = 1
{}
rooms = [{}]
encoders = [{}]
{more}
"#,
            self.line,
            rooms.join(", "),
            encoders.join(", ")
        )
    }
}
