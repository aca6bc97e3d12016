//! One tar file (ustar, POSIX.1-1988), readable by its owner only. A format of a page, written here rather than bought.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const BLOCK: usize = 512;
/// Longest name in a plain header.
const NAME: usize = 100;

/// An archive that is being written.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    path: PathBuf,
    modified_s: u64,
}

impl Archive {
    /// Makes the file; one that exists is never written over.
    pub(super) fn create(path: &Path, modified_s: u64) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { file, path: path.to_owned(), modified_s })
    }

    /// Adds a file. `name` is a relative path of at most 100 bytes.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let header = header(name, content.len(), self.modified_s)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{name} does not fit an archive")))?;
        self.file.write_all(&header)?;
        self.file.write_all(content)?;
        let rest = content.len().next_multiple_of(BLOCK) - content.len();
        self.file.write_all(&[0; BLOCK][..rest])
    }

    /// Ends it and waits for the disk.
    pub(super) fn finish(mut self) -> io::Result<PathBuf> {
        self.file.write_all(&[0; 2 * BLOCK])?;
        self.file.sync_all()?;
        Ok(self.path)
    }
}

fn header(name: &str, size: usize, modified_s: u64) -> Option<[u8; BLOCK]> {
    if name.len() > NAME || size >= 1 << 33 {
        return None;
    }
    let mut header = [0; BLOCK];
    let fields: [(usize, String); 9] = [
        (0, name.to_owned()),
        (100, "0000600\0".into()),
        (108, "0000000\0".into()),
        (116, "0000000\0".into()),
        (124, format!("{size:011o}\0")),
        (136, format!("{:011o}\0", modified_s & 0o77_777_777_777)),
        (148, " ".repeat(8)),
        (156, "0".into()),
        (257, "ustar\x0000".into()),
    ];
    for (offset, text) in fields {
        header.get_mut(offset..offset + text.len())?.copy_from_slice(text.as_bytes());
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header.get_mut(148..156)?.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(header)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_tar_unpacks_is_what_was_put_in_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bundle.tar");
        let mut archive = Archive::create(&path, 1_795_000_000).expect("is made");
        let files = [("lockbridge/a.txt", "one\n".repeat(128)), ("lockbridge/empty", String::new())];
        for (name, content) in &files {
            archive.add(name, content.as_bytes()).expect("fits");
        }
        assert!(archive.add(&"x".repeat(101), b"").is_err());
        archive.finish().expect("is written");
        let mode = std::fs::metadata(&path).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let unpacked =
            Command::new("tar").arg("-xf").arg(&path).arg("-C").arg(folder.path()).status().expect("tar runs");
        assert!(unpacked.success());
        for (name, content) in files {
            assert_eq!(std::fs::read_to_string(folder.path().join(name)).expect("is there"), content);
        }
        assert!(Archive::create(&path, 0).is_err(), "nothing is written over");
    }
}
