//! Rules about the source itself: who may know whom, and under which licences we build.
#![allow(clippy::expect_used, reason = "a test ends where its premise fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("readable");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} holds no source");
    found
}

/// Lines of production code that hold `word`, as `file:line`.
fn uses(folder: &str, word: &str) -> Vec<String> {
    let mut hits = Vec::new();
    for (path, text) in sources(folder) {
        if path.iter().skip(root().iter().count()).any(|part| part.to_string_lossy().contains("test")) {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("#[cfg(test)]") {
                break;
            }
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(word) {
                hits.push(format!("{}:{}", path.display(), index + 1));
            }
        }
    }
    hits
}

#[test]
fn protocol_opens_nothing_waits_for_nothing_and_reads_no_clock() {
    for word in [
        "tokio",
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
        "tracing",
        "Instant::now",
        "SystemTime",
        "Timestamp::now",
    ] {
        assert_eq!(uses("protocol/src", word), Vec::<String>::new(), "protocol must not know {word}");
    }
}

#[test]
fn bridge_and_cloud_know_each_other_only_through_protocol() {
    assert_eq!(uses("bridge/src", "lockbridge_cloud::"), Vec::<String>::new());
    assert_eq!(uses("cloud/src", "lockbridge::"), Vec::<String>::new());
    let manifest = |name: &str| std::fs::read_to_string(root().join(name).join("Cargo.toml")).expect("readable");
    assert!(!manifest("bridge").contains("lockbridge-cloud"));
    assert!(!manifest("cloud").contains("lockbridge.workspace"));
}

#[test]
fn rooms_of_the_bridge_keep_their_distance() {
    // (room, what it must not know): adapters and tunnel meet in the journal, never directly.
    for (room, stranger) in [
        ("bridge/src/system", "crate::tunnel"),
        ("bridge/src/system", "crate::journal"),
        ("bridge/src/system", "crate::dispatch"),
        ("bridge/src/tunnel", "crate::system::salto_space"),
        ("bridge/src/tunnel", "LockSystem>"),
        ("bridge/src/tunnel", "crate::journal"),
        ("bridge/src/journal", "crate::state"),
        ("bridge/src/grant", "protocol::ship"),
        ("bridge/src/command", "crate::journal"),
        ("bridge/src/net", "crate::tunnel"),
        // A line carries bytes and knows neither what they mean nor who waits for them.
        ("bridge/src/link", "protocol::salto_pms"),
        ("bridge/src/link", "protocol::fias"),
        ("bridge/src/link", "crate::system"),
        ("bridge/src/link", "crate::health"),
        ("bridge/src/config", "crate::net"),
        ("bridge/src/dispatch", "salto_space"),
        // History is shown to everybody on the machine: what is sealed stays sealed.
        ("bridge/src/history", "crate::seal"),
        ("bridge/src/history", "crate::dispatch"),
        ("bridge/src/page", "crate::"),
        // The auditor has public keys only, and believes nothing that the daemon concluded.
        ("bridge/src/audit", "crate::seal"),
        ("bridge/src/audit", "crate::state"),
        ("bridge/src/audit", "crate::dispatch"),
    ] {
        assert_eq!(uses(room, stranger), Vec::<String>::new(), "{room} must not know {stranger}");
    }
    assert_eq!(uses("bridge/src", "unbounded_channel"), Vec::<String>::new(), "every queue has a bound");
    assert_eq!(uses("cloud/src", "unbounded_channel"), Vec::<String>::new(), "every queue has a bound");
}

/// Packages under a licence that is not accepted otherwise, each for a reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // What tokio-serial stands on. The licence covers the files of that package and nothing that is linked with them; we use
    // it unchanged from the registry, where its source is.
    ("serialport", "MPL-2.0"),
];

#[test]
fn every_dependency_has_a_licence_that_we_accept() {
    let accepted: BTreeSet<&str> = [
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-1-Clause",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
        "Unicode-3.0",
        "Unlicense",
        "Zlib",
        "blessing",
    ]
    .into();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        // Packages for other systems are not part of ours, and not on a machine that has only built this.
        .args(["--filter-platform", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH)])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100, "the whole tree is looked at");
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let licence = package["license"].as_str().unwrap_or_default().replace('/', " OR ");
        // One accepted alternative is enough; all parts of it must be accepted.
        let fits = licence
            .replace(['(', ')'], "")
            .split(" OR ")
            .any(|alternative| alternative.split(" AND ").all(|part| accepted.contains(part.trim())));
        assert!(fits || EXCEPTIONS.contains(&(name, &licence)), "{name} is under {licence:?}");
        let foreign = package["source"].as_str().is_some_and(|source| !source.starts_with("registry+"));
        assert!(!foreign, "{name} does not come from the registry");
        assert!(!name.starts_with("openssl"), "one TLS library is enough");
    }
}
