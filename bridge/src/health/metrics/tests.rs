use std::collections::BTreeSet;

use super::*;
use crate::health::snapshot::{BridgeStatus, LockSystemStatus, StorageStatus};
use crate::link::{CodecCounts, Meter, Statistics};
use crate::tunnel::TunnelStatus;

fn snapshot() -> Snapshot {
    Snapshot {
        state: State::Degraded,
        since_ms: 1,
        now_ms: 90_500,
        bridge: BridgeStatus { version: "1.2.3", started_ms: 5_250, ..BridgeStatus::default() },
        cloud: TunnelStatus { connected: true, ..TunnelStatus::default() },
        lock_systems: vec![
            LockSystemStatus { name: "a\"b".into(), kind: "salto_space", reachable: Some(false) },
            LockSystemStatus { name: "not asked".into(), kind: "salto_space", reachable: None },
        ],
        lines: vec![line()],
        engine: Some(EngineStatus {
            queued: 7,
            live: [1, 2, 3, 4],
            oldest_doubt_ms: 30_000,
            ..EngineStatus::default()
        }),
        storage: StorageStatus::default(),
        certificate_not_after: 123,
        reasons: vec![],
    }
}

fn line() -> LineStatus {
    let statistics = Statistics::new("front-desk");
    let mut counts = CodecCounts { refusals: 3, retries: 2, ..CodecCounts::default() };
    (counts.line.frames, counts.line.bad_checksums, counts.line.discarded) = (5, 4, 9);
    Meter::new(std::sync::Arc::clone(&statistics)).update(counts);
    statistics.status()
}

fn text() -> String {
    let mut totals = Totals { ended: [("succeeded", 3)].into(), ..Totals::default() };
    totals.latency[2].add(20);
    totals.latency[2].add(21);
    totals.latency[2].add(9_000_000);
    render(&snapshot(), &totals, &Process::look())
}

#[test]
fn what_is_known_stands_in_the_scrape() {
    let text = text();
    for line in [
        "lockbridge_state{state=\"degraded\"} 1",
        "lockbridge_state{state=\"ready\"} 0",
        "lockbridge_line_open{line=\"front-desk\"} 0",
        "lockbridge_line_frames_total{line=\"front-desk\"} 5",
        "lockbridge_line_refusals_total{line=\"front-desk\"} 3",
        "lockbridge_line_checksum_errors_total{line=\"front-desk\"} 4",
        "lockbridge_line_discarded_bytes_total{line=\"front-desk\"} 9",
        "lockbridge_line_retries_total{line=\"front-desk\"} 2",
        "lockbridge_line_reconnects_total{line=\"front-desk\"} 0",
        "lockbridge_commands{state=\"queued\"} 7",
        "lockbridge_commands_live{priority=\"background\"} 4",
        "lockbridge_lock_system_reachable{lock_system=\"a\\\"b\",kind=\"salto_space\"} 0",
        "lockbridge_doubt_oldest_age_seconds 60.5",
        "lockbridge_commands_ended_total{outcome=\"succeeded\"} 3",
        "lockbridge_commands_ended_total{outcome=\"failed\"} 0",
        "lockbridge_command_duration_seconds_bucket{priority=\"convergent\",le=\"0.01\"} 0",
        "lockbridge_command_duration_seconds_bucket{priority=\"convergent\",le=\"0.02\"} 1",
        "lockbridge_command_duration_seconds_bucket{priority=\"convergent\",le=\"0.035\"} 2",
        "lockbridge_command_duration_seconds_bucket{priority=\"convergent\",le=\"3600\"} 2",
        "lockbridge_command_duration_seconds_bucket{priority=\"convergent\",le=\"+Inf\"} 3",
        "lockbridge_command_duration_seconds_sum{priority=\"convergent\"} 9000.041",
        "lockbridge_command_duration_seconds_count{priority=\"convergent\"} 3",
        "process_start_time_seconds 5.25",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("not asked"), "nothing is claimed of a lock system that was not heard:\n{text}");
    let resident = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    assert!(resident.and_then(|bytes| bytes.parse::<u64>().ok()).is_some_and(|bytes| bytes > 100_000));
    for name in ["process_cpu_seconds_total", "process_open_fds", "process_max_fds"] {
        assert!(text.contains(&format!("\n{name} ")), "{name} is not told on this kernel");
    }
}

/// What Prometheus asks of names: one family of a name, a help text with an end, `_total` for counters and nothing else, and
/// samples that belong to the family above them.
#[test]
fn every_family_keeps_the_conventions() {
    let text = text();
    let mut families = BTreeSet::new();
    let (mut name, mut kind) = ("", "");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (family, help) = help.split_once(' ').expect("a help text");
            assert!(families.insert(family.to_owned()), "{family} comes twice");
            assert!(help.ends_with('.'), "{help}");
            name = family;
        } else if let Some(head) = line.strip_prefix("# TYPE ") {
            let (family, of) = head.split_once(' ').expect("a type");
            assert_eq!(family, name);
            kind = of;
            assert_eq!(kind == "counter", family.ends_with("_total"), "{family} is a {kind}");
            assert!(!["_ms", "_milliseconds", "_kib", "_minutes"].iter().any(|unit| family.contains(unit)), "{family}");
        } else {
            let sample = line.split(['{', ' ']).next().expect("a name");
            let part = sample.strip_prefix(name).unwrap_or("another family");
            let of_histogram = kind == "histogram" && ["_bucket", "_sum", "_count"].contains(&part);
            assert!(part.is_empty() || of_histogram, "{sample} stands below {name}");
            let value = line.rsplit(' ').next().expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(families.len() > 20);
}
