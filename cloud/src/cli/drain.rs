//! What ends a server: SIGTERM, SIGINT, or the end of stdin when it was asked to watch it.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the server is to stop, with the reason.
pub(super) async fn requested(watch_stdin: bool) -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stdin = async {
        if watch_stdin {
            // A failed watch is as good as the end: nobody is watched any more.
            tokio::task::spawn_blocking(read_to_end).await.ok();
        } else {
            std::future::pending::<()>().await;
        }
    };
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = stdin => "stdin closed",
    })
}

/// Whatever is written there is ignored; an error is as good as the end.
fn read_to_end() {
    let mut stdin = std::io::stdin().lock();
    let mut ignored = [0; 64];
    while matches!(stdin.read(&mut ignored), Ok(read) if read > 0) {}
}
