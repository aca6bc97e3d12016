//! Packages and units as files: what can be judged without installing anything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where its premise fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}")).unwrap()
}

/// Runs a tool that may not be installed; says so loudly, and gives nothing then.
#[expect(clippy::print_stderr, reason = "a test that does not run must say so to whoever reads its output")]
fn tool(program: &str, package: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).current_dir(root()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: {program} {}: {error}; apt-get install {package}", arguments.join(" "));
            None
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Source and destination of everything in a package, from both tables of a manifest.
fn assets(folder: &str) -> [Vec<(String, String)>; 2] {
    let text = read(&format!("{folder}/Cargo.toml"));
    let [mut deb, mut rpm] = [Vec::new(), Vec::new()];
    for line in text.lines().map(|line| line.trim().trim_end_matches(',')) {
        if let Ok([source, to, _]) = serde_json::from_str::<[String; 3]>(line) {
            let name = source.rsplit('/').next().unwrap();
            let file = if to.ends_with('/') { format!("/{to}{name}") } else { format!("/{to}") };
            deb.push((source.trim_start_matches("../").to_owned(), file));
        } else if line.starts_with("{ source = ") {
            let value =
                |key: &str| line.split_once(&format!("{key} = \"")).unwrap().1.split('"').next().unwrap().to_owned();
            let (source, to) = (value("source"), value("dest"));
            let name = source.rsplit('/').next().unwrap();
            let file = if to.ends_with('/') { format!("{to}{name}") } else { to };
            rpm.push((source, file));
        }
    }
    [deb, rpm]
}

#[test]
fn both_kinds_of_package_hold_the_same_files_and_every_source_is_there() {
    for folder in ["bridge", "cloud"] {
        let [deb, rpm] = assets(folder);
        assert!(deb.len() > 8, "{folder}: {deb:?}");
        // The two families keep zsh's completions in different folders.
        let alike = |list: &[(String, String)]| -> BTreeSet<(String, String)> {
            list.iter().map(|(from, to)| (from.clone(), to.replace("vendor-completions", "site-functions"))).collect()
        };
        assert_eq!(alike(&deb), alike(&rpm), "{folder}");
        for (source, _) in deb.iter().filter(|(source, _)| !source.starts_with("target/")) {
            assert!(root().join(source).is_file(), "{source} is in the package and not in the sources");
        }
    }
}

#[test]
fn the_manual_names_every_installed_path() {
    let manual = read("packaging/README.md");
    for (_, to) in assets("bridge")[0].iter().chain(&assets("cloud")[0]) {
        let folder = Path::new(to).parent().unwrap().to_str().unwrap();
        let named = manual.contains(&format!("`{to}`"))
            || manual.contains(&format!("`{folder}/`"))
            || ["man1", "completion", "bridge.d", "policy.toml", "lockbridge-cloud"]
                .iter()
                .any(|part| to.contains(part));
        assert!(named, "{to} is not in packaging/README.md");
    }
}

#[test]
fn units_are_closed_as_far_as_promised() {
    // Tenths of systemd's exposure level; what each remaining one buys stands in packaging/README.md.
    for (unit, threshold) in [("lockbridge", 12), ("lockbridge-cloud", 11)] {
        let file = format!("systemd/{unit}.service");
        let threshold = format!("--threshold={threshold}");
        let arguments = ["security", "--offline=true", "--no-pager", &threshold, &file];
        let Some(output) = tool("systemd-analyze", "systemd", &arguments) else { return };
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn units_are_free_of_mistakes() {
    for unit in ["lockbridge", "lockbridge-cloud"] {
        // Programs and pages are not installed here; everything else is as shipped.
        let text = read(&format!("systemd/{unit}.service"));
        let program = |line: &str| -> String {
            match line.split_once("=/usr/bin/lockbridge") {
                Some((key, _)) if key.starts_with("Exec") => format!("{key}=/bin/true"),
                _ if line.starts_with("Documentation=") => String::new(),
                _ => line.to_owned(),
            }
        };
        let text: Vec<String> = text.lines().map(program).collect();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(format!("{unit}.service"));
        fs::write(&file, text.join("\n")).unwrap();
        let Some(output) = tool("systemd-analyze", "systemd", &["verify", file.to_str().unwrap()]) else { return };
        assert!(output.status.success() && said(&output).trim().is_empty(), "{}", said(&output));
    }
}

#[test]
fn the_unit_keeps_its_promises_to_the_daemon() {
    let unit = read("systemd/lockbridge.service");
    let holds = |line: &str| unit.lines().any(|found| found == line);
    for line in [
        "Type=notify",
        "Restart=always",
        "RestartSec=2s",
        "StartLimitIntervalSec=0",
        "RestartPreventExitStatus=2 78",
        "WatchdogSec=30s",
        "TimeoutStopSec=45s",
        "UMask=0077",
        "MemoryMax=256M",
        "TasksMax=64",
        "LimitCORE=0",
        "DevicePolicy=closed",
        // By number: the names of classes are unknown to systemd until a driver is there.
        "DeviceAllow=char-188 rw",
        "DeviceAllow=char-166 rw",
        // /proc shows only processes, so the boot id comes from here.
        "Environment=LOCKBRIDGE_KERNEL_BOOT_ID=%b",
    ] {
        assert!(holds(line), "{line} is gone from the unit");
    }
    assert!(!unit.lines().any(|line| line.starts_with("ExecStartPre")), "its exit status would not stop restarts");
    assert_eq!(lockbridge::cli::exit::CONFIG, 78);
}

#[test]
fn scripts_are_sound() {
    let mut scripts = Vec::new();
    for folder in [
        "packaging/deb/bridge",
        "packaging/deb/cloud",
        "packaging/rpm/bridge",
        "packaging/rpm/cloud",
        "packaging/scripts",
    ] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            scripts.push(entry.unwrap().path().to_str().unwrap().to_owned());
        }
    }
    assert!(scripts.len() >= 13, "{scripts:?}");
    let arguments: Vec<&str> = ["--shell=sh"].into_iter().chain(scripts.iter().map(String::as_str)).collect();
    let Some(output) = tool("shellcheck", "shellcheck", &arguments) else { return };
    assert!(output.status.success(), "{}", said(&output));
}
