//! What tells the daemon to stop or to read its policy anew: signals, and a closed standard input.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::dispatch::{EngineHandle, EngineRequest};

/// What tells the daemon to stop or to read its policy anew.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Cancelled when standard input closes, if that was asked for.
    input: CancellationToken,
}

impl Signals {
    pub(super) fn listen(with_stdin: bool) -> std::io::Result<Self> {
        let input = CancellationToken::new();
        if with_stdin {
            let closed = input.clone();
            // A thread, because a read of standard input cannot be cancelled; it ends with the process.
            std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
                let read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                closed.cancel();
                read
            })?;
        }
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            input,
        })
    }

    /// Returns when told to stop; on SIGHUP the policy file is read anew.
    pub(super) async fn stop_or_reload(&mut self, engine: &EngineHandle) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = self.input.cancelled() => return,
                _ = self.hangup.recv() => match engine.ask(EngineRequest::ReloadPolicy).await {
                    Ok(Ok(())) => info!("The policy file was read anew."),
                    Ok(Err(error)) => error!(%error, "The policy file does not hold."),
                    Err(error) => error!(%error, "The policy file was not read."),
                },
            }
        }
    }

    /// Returns when told to stop, while there is no policy to read yet.
    pub(super) async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = self.input.cancelled() => {}
        }
    }

    /// Returns when told to stop once more.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
