//! Where a line leads, how the port is set, and how long anything may take.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::TlsTrust;

/// The other end of a line.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// We connect.
    Dial {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// We connect, with TLS.
    DialTls {
        /// Name or address; the name is checked against the certificate.
        host: String,
        /// TCP port.
        port: u16,
        /// What to accept as the certificate of the other side.
        trust: TlsTrust,
    },
    /// The other side connects; one at a time, further ones wait.
    Listen {
        /// Our address; port 0 lets the system choose.
        address: SocketAddr,
        /// Who may connect. Others are cut off; empty: nobody may.
        allow: Vec<IpAddr>,
    },
    /// A port of this machine.
    Serial(SerialSettings),
}

/// How a serial port is set. Nothing on the line tells it: both ends must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialSettings {
    /// The stable path of udev, `/dev/lockbridge/...` or `/dev/serial/by-id/...`: `ttyUSB0` is another adapter after a restart.
    pub device: PathBuf,
    /// Symbols a second.
    pub baud: u32,
    /// Bits of a character.
    pub data_bits: DataBits,
    /// Parity bit behind them.
    pub parity: Parity,
    /// Stop bits behind it.
    pub stop_bits: StopBits,
    /// Who says when to wait.
    pub flow_control: FlowControl,
}

/// Bits of a character.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DataBits {
    /// 7: letters beyond ASCII and separators above 7F do not pass.
    Seven,
    /// 8.
    #[default]
    Eight,
}

/// The parity bit. The driver hands a character whose parity is wrong on as 00, so that the checksum finds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Parity {
    /// No such bit.
    #[default]
    None,
    /// Makes the number of ones odd.
    Odd,
    /// Makes it even.
    Even,
}

/// Stop bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StopBits {
    /// 1.
    #[default]
    One,
    /// 2.
    Two,
}

/// Who says when the sender has to wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FlowControl {
    /// Nobody.
    #[default]
    None,
    /// RTS and CTS.
    Hardware,
    /// XON and XOFF. A checksum may be the byte 11 or 13 and is then swallowed: only for lines without checksums.
    Software,
}

impl SerialSettings {
    /// The port with the usual settings: 9600 8N1, no flow control.
    pub fn new(device: PathBuf) -> Self {
        Self {
            device,
            baud: 9600,
            data_bits: DataBits::default(),
            parity: Parity::default(),
            stop_bits: StopBits::default(),
            flow_control: FlowControl::default(),
        }
    }

    /// How long one character is on the wire.
    pub fn character_time(&self) -> Duration {
        let data = match self.data_bits {
            DataBits::Seven => 7_u32,
            DataBits::Eight => 8,
        };
        let parity = u32::from(self.parity != Parity::None);
        let stop = match self.stop_bits {
            StopBits::One => 1,
            StopBits::Two => 2,
        };
        let bits = data.saturating_add(parity).saturating_add(stop).saturating_add(1);
        Duration::from_secs(u64::from(bits)).checked_div(self.baud.max(1)).unwrap_or_default()
    }

    /// Speed and format as people write them: `9600 8N1`.
    pub fn format(&self) -> String {
        let data = match self.data_bits {
            DataBits::Seven => 7,
            DataBits::Eight => 8,
        };
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Odd => 'O',
            Parity::Even => 'E',
        };
        let stop = match self.stop_bits {
            StopBits::One => 1,
            StopBits::Two => 2,
        };
        format!("{} {data}{parity}{stop}", self.baud)
    }
}

/// For messages and logs.
impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial { host, port } => write!(formatter, "{host} port {port}"),
            Self::DialTls { host, port, .. } => write!(formatter, "{host} port {port} (TLS)"),
            Self::Listen { address, .. } => write!(formatter, "our address {address}"),
            Self::Serial(settings) => write!(formatter, "{}", settings.device.display()),
        }
    }
}

/// How long anything may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Opening: device, or connection and TLS. A listener waits for its peer as long as it takes.
    pub open: Duration,
    /// One write, from the moment its pause is over.
    pub write: Duration,
    /// Silence of the other side that ends the line. `None`: the protocol above watches that itself.
    pub silence: Option<Duration>,
    /// Pause between two frames, counted from the moment the first one has left the port.
    pub pause: Duration,
    /// Pauses between attempts to open: the first, doubled up to the last.
    pub backoff: (Duration, Duration),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open: Duration::from_secs(10),
            write: Duration::from_secs(10),
            silence: None,
            pause: Duration::ZERO,
            backoff: (Duration::from_millis(250), Duration::from_secs(15)),
        }
    }
}
