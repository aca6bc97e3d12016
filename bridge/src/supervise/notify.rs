//! The notification socket of the service manager: one datagram of `KEY=value` lines a message (`sd_notify(3)`).

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

/// Where the messages go; nowhere when no service manager listens. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    to: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the service manager said in the environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub fn from_environment() -> Self {
        let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|process| process == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| ours).map(Duration::from_micros);
        Self::to(&socket, watchdog).unwrap_or_else(|error| {
            warn!(%error, ?socket, "The service manager cannot be told anything.");
            Self::default()
        })
    }

    /// Tells `socket`, a path or, after `@`, an abstract name; it expects a sign of life within each `watchdog`.
    pub fn to(socket: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match socket.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(socket)?,
        };
        let from = UnixDatagram::unbound()?;
        // A service manager that does not read must not hold up the daemon; the next message says more anyway.
        from.set_nonblocking(true)?;
        Ok(Self { to: Some(Arc::new((from, address))), watchdog })
    }

    /// Running and buffering; says nothing of the cloud.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// One sentence for `systemctl status`.
    pub fn status(&self, sentence: &str) {
        self.send(&format!("STATUS={}", sentence.replace(['\n', '\r'], " ")));
    }

    /// No new work from here on.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// A sign of life.
    pub(super) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// Longest time between two signs of life; `None`: nobody waits for them.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Whether anybody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    fn send(&self, message: &str) {
        let Some((from, address)) = self.to.as_deref() else { return };
        if let Err(error) = from.send_to_addr(message.as_bytes(), address) {
            debug!(%error, message, "The service manager was not told.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_lines_at_paths_and_abstract_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("@lockbridge-test-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let abstractly =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.trim_start_matches('@')).unwrap()).unwrap();
        for (listener, address) in [(at_path, path.as_os_str()), (abstractly, OsStr::new(&name))] {
            listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let notifier = Notifier::to(address, None).unwrap();
            notifier.ready();
            notifier.status("one\nline");
            notifier.stopping();
            for expected in ["READY=1", "STATUS=one line", "STOPPING=1"] {
                let mut bytes = [0; 256];
                let length = listener.recv(&mut bytes).unwrap();
                assert_eq!(std::str::from_utf8(&bytes[..length]), Ok(expected));
            }
        }
        Notifier::to(path.as_os_str(), None).unwrap().ready();
        drop(folder);
        Notifier::to(path.as_os_str(), None).unwrap().ready();
        assert!(Notifier::to(OsStr::new(&"x".repeat(200)), None).is_err(), "no socket has so long a path");
        assert!(!Notifier::default().is_heard());
    }
}
