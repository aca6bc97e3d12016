//! Why a line is not there or ended: what, where, and the next step for a person.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::net::DialError;

/// A line could not be opened, or ended.
#[derive(Debug, Error)]
pub enum LineError {
    /// Nothing at the path.
    #[error("the serial device {} is not there", device.display())]
    Missing {
        /// Configured path.
        device: PathBuf,
    },
    /// The file system or the sandbox of the service says no.
    #[error("this process may not open the serial device {} (group {group}, mode {mode:03o})", device.display())]
    Permission {
        /// Configured path.
        device: PathBuf,
        /// The group that owns it, by name if it has one.
        group: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Another program has it.
    #[error("the serial device {} is in use by {}", device.display(), holder.as_deref().unwrap_or("another program"))]
    Busy {
        /// Configured path.
        device: PathBuf,
        /// Who has it, as far as this user may see.
        holder: Option<String>,
    },
    /// Something else than a port.
    #[error("{} is no serial device", device.display())]
    NotSerial {
        /// Configured path.
        device: PathBuf,
    },
    /// The driver or the hardware refuses.
    #[error("the serial device {} cannot be opened with {format}: {problem}", device.display())]
    Device {
        /// Configured path.
        device: PathBuf,
        /// Speed and format asked for.
        format: String,
        /// The driver's answer.
        problem: String,
    },
    /// It was there and is gone.
    #[error("the serial device {place} was unplugged, or its driver gave up")]
    Unplugged {
        /// Configured path.
        place: String,
    },
    /// The other machine is there and nobody listens.
    #[error("{place} refuses connections")]
    Refused {
        /// Host and port.
        place: String,
    },
    /// Any other failure to connect: name, route, silence.
    #[error("no connection to {place}")]
    Unreachable {
        /// Host and port.
        place: String,
        /// What failed.
        #[source]
        source: DialError,
    },
    /// TLS did not come about.
    #[error("no TLS with {place}: {problem}")]
    Tls {
        /// Host and port.
        place: String,
        /// What failed.
        problem: String,
    },
    /// Our own address cannot be used.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Opening took too long.
    #[error("{place} did not open within {seconds} s")]
    OpenTimedOut {
        /// Device, or host and port.
        place: String,
        /// The limit.
        seconds: u64,
    },
    /// The other side ended the connection in order.
    #[error("{place} closed the connection")]
    Closed {
        /// Host and port.
        place: String,
    },
    /// The connection broke.
    #[error("the connection to {place} was lost")]
    Lost {
        /// Host and port.
        place: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nothing was heard for too long.
    #[error("nothing was heard from {place} for {seconds} s")]
    Silent {
        /// Device, or host and port.
        place: String,
        /// The limit.
        seconds: u64,
    },
    /// A write did not end in time.
    #[error("{place} took no more bytes for {seconds} s")]
    WriteTimedOut {
        /// Device, or host and port.
        place: String,
        /// The limit.
        seconds: u64,
    },
    /// A write failed.
    #[error("{unsent} of {total} bytes were not sent")]
    Write {
        /// Bytes of this write that certainly went nowhere, counted from its end.
        unsent: usize,
        /// Bytes of this write.
        total: usize,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// The line failed before, or its owner gave up in the middle of a frame.
    #[error("the line to {place} has ended; it has to be opened again")]
    Ended {
        /// Device, or host and port.
        place: String,
    },
}

impl LineError {
    /// How many bytes of a failed write certainly went nowhere; 0 for every other error, because nothing is certain then.
    pub fn unsent(&self) -> usize {
        match self {
            Self::Write { unsent, .. } => *unsent,
            _ => 0,
        }
    }

    /// The next step, for people.
    pub fn remedy(&self) -> String {
        match self {
            Self::Missing { .. } => "Plug the adapter in, and compare the configured path with the names in \
                                     /dev/lockbridge and /dev/serial/by-id; prefer those to ttyUSB names, which change."
                .to_owned(),
            Self::Permission { group, .. } => format!(
                "Let the user of the service read and write it: put the user into the group `{group}` (or give the device to \
                 `lockbridge-serial` by a udev rule) and restart the service. A device that is neither ttyUSB, ttyACM nor \
                 ttyS also needs `DeviceAllow=` in the unit."
            ),
            Self::Busy { .. } => {
                "Stop the other program (`fuser -v` on the device names it); a serial line has one user.".to_owned()
            }
            Self::NotSerial { .. } => "Configure the path of a serial port.".to_owned(),
            Self::Device { .. } => {
                "Check speed and format, and look at `dmesg` for what the adapter and its driver say.".to_owned()
            }
            Self::Unplugged { .. } => {
                "Plug it in again; the line goes on by itself. If it comes and goes, change cable or \
                                       adapter."
                    .to_owned()
            }
            Self::Refused { .. } => {
                "Check the port, and that the interface is switched on and its service runs on the other machine."
                    .to_owned()
            }
            Self::Unreachable { .. } | Self::OpenTimedOut { .. } => {
                "Check name, port, cable and firewall between this machine and the other one.".to_owned()
            }
            Self::Tls { .. } => {
                "Check that the port speaks TLS, and the configured CA file or certificate hash.".to_owned()
            }
            Self::Listen { .. } => {
                "Configure an address of this machine, and a port that no other program uses.".to_owned()
            }
            Self::Closed { .. } | Self::Lost { .. } | Self::Silent { .. } | Self::Ended { .. } => {
                "The line is opened again by itself; if this repeats, look at the other machine and the network."
                    .to_owned()
            }
            Self::WriteTimedOut { .. } => {
                "Check the cable and the flow control: the other side says that it is not ready, or is not there."
                    .to_owned()
            }
            Self::Write { source, .. } => source.remedy(),
        }
    }
}
