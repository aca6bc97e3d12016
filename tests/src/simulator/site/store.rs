//! The site on disk, in one directory.
//!
//! * `snapshot.jsonl`: the whole site, one [`Change`] a line, written at start and when the log has grown.
//! * `changes.jsonl`: one line a request: `{"changes":[...],"effects":[...]}`, appended before the answer is sent.
//! * `effects.jsonl`: one line a physical effect, numbered 1, 2, 3…; never rewritten.
//!
//! A request's line is written whole before it is answered, so a killed process loses nothing it acknowledged. It is synced
//! when it holds an effect, or always with [`Fsync::All`]. Order: line in the change log, sync, line in the effect log, sync.
//! A kill between the two is mended at the next start: effects of the change log that the effect log lacks are added.
//! Applying a change twice is harmless, so a kill between writing a snapshot and emptying the log is too.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::audit::Event;
use super::database::{Change, Site};
use super::effect::{Effect, EffectKind};

/// The log is folded into a new snapshot beyond this many bytes.
const LOG_BYTES: u64 = 256 * 1024 * 1024;
/// Effects kept in memory for the control interface; the file has them all.
const EFFECTS_SHOWN: usize = 10_000;

/// What is synced before an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fsync {
    /// Requests with a physical effect.
    Effects,
    /// Every request that changes something.
    All,
}

/// Why the data directory cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("opening {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("line {line} of {path} is not readable; move the directory away to start anew")]
    Damaged {
        path: PathBuf,
        line: usize,
        #[source]
        source: serde_json::Error,
    },
}

/// Effects counted since the directory was made.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Tally {
    /// All of them.
    pub total: u64,
    /// By kind.
    pub by_kind: BTreeMap<EffectKind, u64>,
    /// By chip serial: kind and count.
    pub by_card: HashMap<String, BTreeMap<EffectKind, u64>>,
    /// By `ExtUserID`: kind and count.
    pub by_user: HashMap<String, BTreeMap<EffectKind, u64>>,
    /// The newest.
    #[serde(skip)]
    pub newest: VecDeque<Effect>,
}

impl Tally {
    fn add(&mut self, effect: Effect) {
        self.total = self.total.max(effect.number);
        *self.by_kind.entry(effect.kind).or_default() += 1;
        for (map, name) in [(&mut self.by_card, &effect.serial), (&mut self.by_user, &effect.user)] {
            if let Some(name) = name {
                *map.entry(name.clone()).or_default().entry(effect.kind).or_default() += 1;
            }
        }
        if self.newest.len() >= EFFECTS_SHOWN {
            self.newest.pop_front();
        }
        self.newest.push_back(effect);
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    changes: Vec<Change>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    effects: Vec<Effect>,
}

/// The open directory.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    log: File,
    log_bytes: u64,
    effects: File,
    fsync: Fsync,
    /// Counts of what was done.
    pub tally: Tally,
}

impl Store {
    /// Reads the directory (made if missing) into a site and begins a new snapshot.
    pub fn open(directory: &Path, zone: TimeZone, fsync: Fsync) -> Result<(Self, Site), StoreError> {
        fs::create_dir_all(directory).map_err(|source| StoreError::Io { path: directory.to_owned(), source })?;
        let mut site = Site::new(zone);
        for change in read_lines::<Change>(&directory.join("snapshot.jsonl"))? {
            site.apply(change);
        }
        let effects_path = directory.join("effects.jsonl");
        let mut tally = Tally::default();
        for effect in read_lines::<Effect>(&effects_path)? {
            tally.add(effect);
        }
        let mut missing = Vec::new();
        for line in read_lines::<Line>(&directory.join("changes.jsonl"))? {
            for change in line.changes {
                site.apply(change);
            }
            missing.extend(line.effects.into_iter().filter(|effect| effect.number > tally.total));
        }
        let io = |source| StoreError::Io { path: effects_path.clone(), source };
        let mut effects = OpenOptions::new().append(true).create(true).open(&effects_path).map_err(io)?;
        append_effects(&mut effects, &missing).map_err(io)?;
        for effect in missing {
            tally.add(effect);
        }
        site.counters.effect = tally.total + 1;
        let path = directory.join("changes.jsonl");
        let io = |source| StoreError::Io { path: path.clone(), source };
        let log = OpenOptions::new().append(true).create(true).open(&path).map_err(io)?;
        let mut store = Self { directory: directory.to_owned(), log, log_bytes: 0, effects, fsync, tally };
        store.snapshot(&site).map_err(io)?;
        Ok((store, site))
    }

    /// Writes what changed to disk and returns the new audit events. Nothing may be answered before this returned.
    pub fn commit(&mut self, site: &mut Site) -> io::Result<Vec<Event>> {
        let (changes, effects) = site.take_changes();
        if changes.is_empty() && effects.is_empty() {
            return Ok(Vec::new());
        }
        let line = Line { changes, effects };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        self.log.write_all(&bytes)?;
        self.log_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.fsync == Fsync::All || !line.effects.is_empty() {
            self.log.sync_data()?;
        }
        append_effects(&mut self.effects, &line.effects)?;
        for effect in line.effects {
            self.tally.add(effect);
        }
        if self.log_bytes > LOG_BYTES {
            self.snapshot(site)?;
        }
        let events = line.changes.into_iter().filter_map(|change| match change {
            Change::Event(event) => Some(event),
            _ => None,
        });
        Ok(events.collect())
    }

    fn snapshot(&mut self, site: &Site) -> io::Result<()> {
        let new = self.directory.join("snapshot.new");
        let mut file = BufWriter::new(File::create(&new)?);
        for change in site.all() {
            serde_json::to_writer(&mut file, &change)?;
            file.write_all(b"\n")?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, self.directory.join("snapshot.jsonl"))?;
        File::open(&self.directory)?.sync_all()?;
        self.log.set_len(0)?;
        self.log.seek(SeekFrom::Start(0))?;
        self.log.sync_all()?;
        self.log_bytes = 0;
        Ok(())
    }
}

fn append_effects(file: &mut File, effects: &[Effect]) -> io::Result<()> {
    if effects.is_empty() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    for effect in effects {
        serde_json::to_writer(&mut bytes, effect)?;
        bytes.push(b'\n');
    }
    file.write_all(&bytes)?;
    file.sync_data()
}

/// All lines of a file; a last line without an end was never acknowledged and is cut off.
pub(crate) fn read_lines<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Vec<T>, StoreError> {
    let io = |source| StoreError::Io { path: path.to_owned(), source };
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(error)),
    };
    let mut reader = BufReader::new(&file);
    let (mut found, mut line, mut good) = (Vec::new(), Vec::new(), 0_u64);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(io)?;
        if line.last() != Some(&b'\n') {
            if read > 0 {
                file.set_len(good).map_err(io)?;
            }
            return Ok(found);
        }
        let number = found.len() + 1;
        let value = serde_json::from_slice(&line);
        found.push(value.map_err(|source| StoreError::Damaged { path: path.to_owned(), line: number, source })?);
        good += u64::try_from(read).unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::super::effect::EffectOf;
    use super::super::seed;
    use super::*;

    fn open(directory: &Path) -> (Store, Site) {
        Store::open(directory, TimeZone::UTC, Fsync::Effects).unwrap()
    }

    #[test]
    fn a_reopened_site_is_the_same_site() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, mut site) = open(directory.path());
        seed::demo(&mut site);
        store.commit(&mut site).unwrap();
        site.remove_group("LEISURE");
        site.remove_user("A1B2C3D4E5F60718293A4B5C6D7E8F90");
        site.effect(EffectKind::DoorOpened, &EffectOf { door: Some("MAIN"), ..EffectOf::default() });
        store.commit(&mut site).unwrap();
        let text = |site: &Site| site.all().map(|change| serde_json::to_string(&change).unwrap()).collect::<Vec<_>>();
        let before = text(&site);
        drop(store);
        // Once from snapshot and log, once from the new snapshot alone.
        for _ in 0..2 {
            let (store, site) = open(directory.path());
            assert_eq!(text(&site), before);
            assert_eq!(store.tally.total, 1);
        }
    }

    #[test]
    fn a_kill_between_the_two_logs_is_mended_and_a_torn_line_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, mut site) = open(directory.path());
        for _ in 0..2 {
            site.effect(EffectKind::DoorOpened, &EffectOf::default());
            store.commit(&mut site).unwrap();
        }
        drop(store);
        let effects = directory.path().join("effects.jsonl");
        let whole = fs::read_to_string(&effects).unwrap();
        let first = whole.split_inclusive('\n').next().unwrap();
        fs::write(&effects, format!("{first}{{\"number\":2,\"ki")).unwrap();
        let (mut store, mut site) = open(directory.path());
        assert_eq!(fs::read_to_string(&effects).unwrap(), whole);
        site.effect(EffectKind::DoorOpened, &EffectOf::default());
        store.commit(&mut site).unwrap();
        assert_eq!(store.tally.total, 3);
        assert_eq!(store.tally.by_kind[&EffectKind::DoorOpened], 3);
    }
}
