//! A pseudo terminal under a path of its own, as udev gives one to an adapter.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, ttyname, write};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};

/// Between two looks whether somebody opened the port. A terminal with nobody at its other end is always ready.
const LOOK: Duration = Duration::from_millis(2);
/// What does not fit into the port for this long is lost.
const FULL: Duration = Duration::from_secs(1);

/// Our end of a port. Its path vanishes with it.
#[derive(Debug)]
pub(super) struct Port {
    master: Arc<OwnedFd>,
    /// Made when somebody has opened the port: once a terminal was without a user, it counts as ready for ever.
    waiter: OnceLock<AsyncFd<Arc<OwnedFd>>>,
    terminal: PathBuf,
    path: PathBuf,
    /// Somebody had it open at the last look.
    is_open: AtomicBool,
}

impl Port {
    /// Makes a port that appears at `path`, in the place of an older one.
    pub(super) fn plug(path: &Path) -> io::Result<Self> {
        let pair = openpty(None, None)?;
        // Until its user sets it, a terminal sends back what it is sent.
        let mut settings = tcgetattr(&pair.slave)?;
        cfmakeraw(&mut settings);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &settings)?;
        let terminal = ttyname(&pair.slave)?;
        drop(pair.slave);
        let flags = OFlag::from_bits_truncate(fcntl(&pair.master, FcntlArg::F_GETFL)?);
        fcntl(&pair.master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        // A program started from here would keep the port plugged in.
        fcntl(&pair.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        let next = path.with_extension("next");
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(&terminal, &next)?;
        fs::rename(&next, path)?;
        let master = Arc::new(pair.master);
        let is_open = AtomicBool::new(false);
        Ok(Self { master, waiter: OnceLock::new(), terminal, path: path.to_owned(), is_open })
    }

    /// Bytes from the user of the port; 0: the user closed it.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match read(&self.master, buffer) {
                Ok(bytes) if bytes > 0 => {
                    self.is_open.store(true, Ordering::Relaxed);
                    return Ok(bytes);
                }
                Err(Errno::EAGAIN) => {
                    self.is_open.store(true, Ordering::Relaxed);
                    self.wait().await?;
                }
                Ok(_) | Err(Errno::EIO) => {
                    if self.is_open.swap(false, Ordering::Relaxed) {
                        return Ok(0);
                    }
                    sleep(LOOK).await;
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Until something may have come. Nothing had when this was called.
    async fn wait(&self) -> io::Result<()> {
        if self.waiter.get().is_none() {
            #[expect(deprecated, reason = "the replacement is unsafe; a shared owner of the descriptor is sound here")]
            let made = AsyncFd::new(Arc::clone(&self.master))?;
            // Only one task reads a port; a second waiter would be dropped, and waits on the first.
            self.waiter.get_or_init(|| made);
            return Ok(());
        }
        let Some(waiter) = self.waiter.get() else { return Ok(()) };
        let mut ready = waiter.readable().await?;
        if ready.ready().is_read_closed() {
            sleep(LOOK).await;
        }
        ready.clear_ready();
        Ok(())
    }

    /// Sends to the user of the port. What finds nobody, or no room for a while, is lost.
    pub(super) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + FULL;
        while self.is_open.load(Ordering::Relaxed) && !bytes.is_empty() && Instant::now() < deadline {
            match write(&self.master, bytes) {
                Ok(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
                Err(Errno::EAGAIN) => sleep(LOOK).await,
                Err(Errno::EINTR) => {}
                Err(Errno::EIO) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // A newer port may stand at the path already.
        if fs::read_link(&self.path).is_ok_and(|terminal| terminal == self.terminal)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the path of an unplugged port stays");
        }
    }
}
