//! Small files that are replaced whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// No file of an identity is longer: a chain and a CA bundle are a few KiB.
const FILE_BYTES: u64 = 256 * 1024;

/// An operation on a file failed.
#[derive(Debug, Error)]
#[error("{} cannot be {action}", path.display())]
pub struct FileError {
    /// What was attempted.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError { action, path, source }
}

/// Makes a directory that only its owner enters, with its parents; one that is there stays as it is.
pub(super) fn make_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("created", path))?;
    // Its name is durable only with its parent.
    path.parent().map_or(Ok(()), sync_directory)
}

/// Replaces `path` with `content`, mode 0600: temporary file, fsync, rename, fsync of the directory.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let temporary = write_temporary(path, content)?;
    fs::rename(&temporary, path).map_err(failed("replaced", path))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Like [`replace`], but whoever comes second leaves the first one's file: `false`.
pub(super) fn create_once(path: &Path, content: &[u8]) -> Result<bool, FileError> {
    let temporary = write_temporary(path, content)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary).map_err(failed("removed", &temporary))?;
    match linked {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed("created", path)(error)),
    }
}

fn write_temporary(path: &Path, content: &[u8]) -> Result<PathBuf, FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
    written.map_err(failed("written", &temporary))?;
    Ok(temporary)
}

/// The whole of a file; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let mut content = Vec::new();
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("opened", path))?,
    };
    file.take(FILE_BYTES + 1).read_to_end(&mut content).map_err(failed("read", path))?;
    if content.len() as u64 > FILE_BYTES {
        return Err(failed("read", path)(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 256 KiB")));
    }
    Ok(Some(content))
}

/// Removes a file for good; one that is not there is fine.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => {
            removed.map_err(failed("removed", path))?;
            path.parent().map_or(Ok(()), sync_directory)
        }
    }
}

fn sync_directory(path: &Path) -> Result<(), FileError> {
    // The parent of a bare name is the empty path.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("made durable", path))
}
