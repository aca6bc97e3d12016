//! How long does the disk take to make a small write durable? Every command waits for that twice.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use super::{Check, Context, Verdict};
use crate::journal::{Disk, RealDisk};

/// Flushes measured; the middle one counts.
const FLUSHES: usize = 20;
/// A small commit of the journal.
const WRITE_BYTES: usize = 4096;
/// Two flushes of this length are what a person at the desk begins to notice.
const SLOW: Duration = Duration::from_millis(20);

pub(super) const CHECK: Check = Check {
    id: "disk_flush",
    description: "The disk of the state directory makes small writes durable quickly.",
    look: |context| look(context).map(|verdict| vec![verdict]).boxed(),
};

async fn look(context: &Context) -> Verdict {
    let folder = context.config.state_directory.clone();
    let shown = folder.display().to_string();
    match tokio::task::spawn_blocking(move || measure(&folder))
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
    {
        Ok(median) => judge(median, &shown),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Verdict::skipped(format!("this user cannot write to {shown}: {error}"))
        }
        Err(error) => {
            Verdict::failed(format!("writing to {shown} fails: {error}"), "Look at the disk and its free space.")
        }
    }
}

fn judge(median: Duration, folder: &str) -> Verdict {
    let evidence = format!("{FLUSHES} small writes in {folder} took {:.1} ms each", median.as_secs_f64() * 1000.0);
    if median > SLOW {
        Verdict::warning(
            evidence,
            "Put the state directory on a local disk (SSD): each command waits for two such writes.",
        )
    } else {
        Verdict::ok(evidence)
    }
}

fn measure(folder: &Path) -> io::Result<Duration> {
    let path = folder.join(format!(".flush-check-{}", std::process::id()));
    let measured = RealDisk.create(&path).and_then(|file| {
        let mut times = Vec::with_capacity(FLUSHES);
        let mut offset = 0;
        for _ in 0..FLUSHES {
            let begun = Instant::now();
            file.write_at(&[0; WRITE_BYTES], offset)?;
            file.sync_data()?;
            times.push(begun.elapsed());
            offset += WRITE_BYTES as u64;
        }
        times.sort_unstable();
        Ok(times.get(FLUSHES / 2).copied().unwrap_or_default())
    });
    let removed = std::fs::remove_file(&path);
    measured.and_then(|median| removed.map(|()| median))
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn leaves_nothing_behind_and_knows_where_it_may_not_write() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(measure(folder.path()).expect("measures") > Duration::ZERO);
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0);
        let missing = measure(&folder.path().join("missing")).expect_err("nothing there");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_slow_disk_is_told() {
        assert_eq!(judge(SLOW, "x").outcome, Outcome::Ok);
        assert_eq!(judge(SLOW + Duration::from_micros(1), "x").outcome, Outcome::Warning);
    }
}
