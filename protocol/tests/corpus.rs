//! The corpora of the fuzz targets, replayed: whatever was found once holds for ever, without a fuzzer.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "../fuzz/src/lib.rs"]
mod checks;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A corpus is for reading, too.
const FILES: usize = 64;
const FILE_BYTES: usize = 1024;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let stem = |entry: fs::DirEntry| entry.path().file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    entries.map(|entry| stem(entry.expect("an entry")).expect("a name that is text")).collect()
}

#[test]
fn every_target_has_a_check_and_a_corpus_that_is_small() {
    let checks: BTreeSet<String> = checks::CHECKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(checks, names(&folder("fuzz_targets")));
    assert_eq!(checks, names(&folder("corpus")));
}

#[test]
fn every_check_holds_for_its_corpus() {
    for (name, _) in checks::CHECKS {
        let check = checks::check(name);
        // What begins a stream has to hold as well as all of it.
        check(&[]);
        let mut files = 0;
        for entry in fs::read_dir(folder("corpus").join(name)).expect("a corpus") {
            let path = entry.expect("an entry").path();
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(bytes.len() <= FILE_BYTES, "{} is large", path.display());
            let held = std::panic::catch_unwind(|| check(&bytes));
            assert!(held.is_ok(), "{name} does not hold for {}", path.display());
            files += 1;
        }
        assert!((1..=FILES).contains(&files), "{name} has {files} files");
    }
}
