//! `lockbridge-sim salto-pms`: its command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use lockbridge_protocol::line::Checksum;

use super::life::{Addresses, Bound, bind};
use super::log::Log;
use super::{Settings, Simulator};
use crate::simulator::line::noise::NoiseSettings;

/// What stands below the help.
pub const CONTROL_HELP: &str = r#"Control interface (HTTP and JSON on the control port):
  GET  /state   /effects?limit=&since=   /rooms   /cards   /cards/SERIAL   /phones   /faults
  POST /rooms               {"room", "out_of_service"?: true|false}
  POST /cards               {"serial"?, "kind"?: "blank"|"staff"|"spare"|"foreign"}
  POST /encoders            {"encoder"}
  POST /encoders/put        {"encoder", "serial"?, "kind"?}
  POST /encoders/lift       {"encoder"}
  POST /encoders/set        {"encoder", "plugged"?, "busy"?, "auto_feed"?}
  POST /doors/present       {"serial", "room"}, {"serial", "authorisation"} or {"phone", "room"}
  POST /licence             {"mobile": true|false}; without it CNM and CCM are answered EG
  POST /faults              {"kind", "request"?: "CN", "encoder"?, "times"?: 1}; kinds:
                            nak, silent_enquiry, delay (+"milliseconds"), refuse (+"code", "text"?), never_answer (+"perform"?),
                            late_answer (+"milliseconds"), stray_answer (+"milliseconds"), damaged_answer, half_answer,
                            close (+"perform"?), encoder_busy, encoder_unplugged, no_card, card_lifted
  POST /faults/clear
  POST /noise               {"seed", "to_machine": RATES, "to_client": RATES}; rates from 0 to 1: drop, flip, duplicate,
                            delay (+"delay_milliseconds"), split, glue, echo
  POST /lines/plug          {"plugged": true|false}
  POST /lines/cut
  GET  /lines/altered       frames that noise altered in a way that the checksum does not show
  POST /clock               {"advance_seconds"}
  POST /shutdown

  curl -s localhost:PORT/encoders/put -H 'content-type: application/json' -d '{"encoder":"1"}'

State and count are DIR/hotel.jsonl: one line a request, synced before its answer."#;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SeedHotel {
    /// 24 rooms, two encoders, a staff card.
    Demo,
    /// Nothing.
    Empty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Check {
    /// A checksum, or 0D in its place.
    Optional,
    /// A checksum and nothing else.
    Required,
    /// As optional; answers carry 0D.
    Off,
}

/// A SALTO server's PMS interface over TCP and over a serial port, with its encoders, cards and doors.
///
/// Prints one JSON line with the bound addresses when it is ready. Runs until SIGTERM, Ctrl-C or POST /shutdown.
#[derive(Debug, Args)]
#[command(after_long_help = CONTROL_HELP)]
pub struct SaltoPms {
    /// Directory of the hotel's state; made if missing.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Address of the PMS interface over TCP; port 0 lets the system choose.
    #[arg(long, value_name = "ADDRESS")]
    tcp: Option<SocketAddr>,
    /// Path of a pseudo terminal that looks like a serial port.
    #[arg(long, value_name = "PATH")]
    pty: Option<PathBuf>,
    /// Speed of the port; without it, as fast as the machine.
    #[arg(long, value_name = "BAUD")]
    baud: Option<u32>,
    /// Address of the control interface; must be a loopback address.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    control: SocketAddr,
    /// What an empty directory begins with.
    #[arg(long, default_value = "demo", value_name = "HOTEL")]
    seed_hotel: SeedHotel,
    /// Time zone of the server.
    #[arg(long, default_value = "Europe/Madrid", value_name = "ZONE")]
    zone: String,
    /// What the server wants behind a frame.
    #[arg(long, default_value = "optional", value_name = "CHECK")]
    checksum: Check,
    /// How long an encoder waits for a card.
    #[arg(long, default_value_t = 20_000, value_name = "MILLISECONDS")]
    card_wait: u64,
    /// How long writing a card takes.
    #[arg(long, default_value_t = 50, value_name = "MILLISECONDS")]
    write_time: u64,
    /// End when standard input is closed, so that no process stays behind when the parent is gone.
    #[arg(long)]
    pub exit_with_stdin: bool,
    /// Log every refusal.
    #[arg(long)]
    pub verbose: bool,
}

impl SaltoPms {
    /// Opens state and lines.
    pub async fn open(&self) -> anyhow::Result<(Arc<Simulator>, Bound)> {
        if !self.control.ip().is_loopback() {
            bail!("--control {} is not a loopback address; the control interface has no login", self.control);
        }
        if self.tcp.is_none() && self.pty.is_none() {
            bail!("give --tcp ADDRESS, --pty PATH or both");
        }
        let zone = TimeZone::get(&self.zone).with_context(|| format!("--zone {:?} is not known", self.zone))?;
        let (log, hotel) =
            Log::open(&self.data).with_context(|| format!("reading the hotel in {}", self.data.display()))?;
        let is_empty = hotel.rooms.is_empty() && hotel.encoders.is_empty();
        let settings = Settings {
            zone,
            card_wait: Duration::from_millis(self.card_wait),
            write_time: Duration::from_millis(self.write_time),
            checksum: match self.checksum {
                Check::Optional => Checksum::CheckedUnlessMarked,
                Check::Required => Checksum::Checked,
                Check::Off => Checksum::Marked,
            },
        };
        let simulator = Simulator::new(log, hotel, settings);
        if is_empty && self.seed_hotel == SeedHotel::Demo && simulator.seed_demo().is_err() {
            bail!("the hotel cannot be written to {}", self.data.display());
        }
        let addresses = Addresses { tcp: self.tcp, pty: self.pty.clone(), baud: self.baud, control: self.control };
        let bound = bind(addresses, &NoiseSettings::default()).await?;
        Ok((Arc::new(simulator), bound))
    }

    /// Directory of the state.
    pub fn data(&self) -> &std::path::Path {
        &self.data
    }
}
