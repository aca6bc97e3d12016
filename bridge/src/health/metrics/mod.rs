//! The snapshot and the counters of history as Prometheus text: base units, few series, labels bounded by configuration.
//!
//! Never: a label that grows with guests, doors or commands.

mod exposition;
mod process;

use exposition::{Exposition, seconds};
pub use process::Process;

use super::snapshot::{Snapshot, State};
use crate::dispatch::EngineStatus;
use crate::history::Totals;
use crate::link::LineStatus;

/// Content type of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Names of the priorities P0..P3 as labels.
const PRIORITIES: [&str; 4] = ["safety", "interactive", "convergent", "background"];
/// States in which commands end.
const OUTCOMES: [&str; 7] = ["succeeded", "failed", "rejected", "expired", "superseded", "cancelled", "abandoned"];

/// Renders one scrape.
pub fn render(snapshot: &Snapshot, totals: &Totals, process: &Process) -> String {
    let mut text = Exposition::default();
    bridge(&mut text, snapshot);
    hops(&mut text, snapshot);
    if let Some(engine) = &snapshot.engine {
        work(&mut text, engine, snapshot.now_ms);
    }
    ended(&mut text, totals);
    lines(&mut text, &snapshot.lines);
    storage(&mut text, snapshot);
    this_process(&mut text, snapshot, process);
    text.into_text()
}

fn bridge(text: &mut Exposition, snapshot: &Snapshot) {
    text.gauge("lockbridge_build_info", "Version of the running program.");
    text.sample("lockbridge_build_info", &[("version", snapshot.bridge.version)], 1);
    text.gauge("lockbridge_state", "1 for the state that holds: ready, degraded or unready.");
    for (name, state) in [("ready", State::Ready), ("degraded", State::Degraded), ("unready", State::Unready)] {
        text.sample("lockbridge_state", &[("state", name)], u8::from(snapshot.state == state));
    }
    text.gauge("lockbridge_reason", "1 for every reason that holds; absent when it does not.");
    for reason in &snapshot.reasons {
        text.sample("lockbridge_reason", &[("scope", &reason.scope), ("code", reason.code)], 1);
    }
}

fn hops(text: &mut Exposition, snapshot: &Snapshot) {
    let connected = u8::from(snapshot.cloud.connected);
    text.value("lockbridge_cloud_connected", "1 while a session with the cloud is open.", connected);
    text.gauge(
        "lockbridge_lock_system_reachable",
        "1 while the lock server answers and accepts us; absent until it was asked.",
    );
    for system in &snapshot.lock_systems {
        let labels = [("lock_system", system.name.as_str()), ("kind", system.kind)];
        if let Some(reachable) = system.reachable {
            text.sample("lockbridge_lock_system_reachable", &labels, u8::from(reachable));
        }
    }
    let help = "When the certificate in use ends, seconds since the epoch.";
    text.value("lockbridge_certificate_expiry_timestamp_seconds", help, snapshot.certificate_not_after);
}

fn work(text: &mut Exposition, engine: &EngineStatus, now_ms: i64) {
    text.gauge("lockbridge_commands", "Commands not ended, by state.");
    for (state, count) in [("queued", engine.queued), ("executing", engine.executing), ("in_doubt", engine.in_doubt)] {
        text.sample("lockbridge_commands", &[("state", state)], count);
    }
    text.gauge("lockbridge_commands_live", "Commands not ended, by priority.");
    for (priority, count) in PRIORITIES.iter().zip(engine.live) {
        text.sample("lockbridge_commands_live", &[("priority", priority)], count);
    }
    text.gauge("lockbridge_commands_room", "How many more commands may come, by priority.");
    for (priority, count) in PRIORITIES.iter().zip(engine.room) {
        text.sample("lockbridge_commands_room", &[("priority", priority)], count);
    }
    let help = "1 while the cloud is given no more credit than for safety commands.";
    text.value("lockbridge_intake_held_back", help, u8::from(!engine.held_back.is_empty()));
    let age_ms = if engine.oldest_doubt_ms == 0 { 0 } else { now_ms.saturating_sub(engine.oldest_doubt_ms) };
    let age = seconds(u64::try_from(age_ms).unwrap_or(0));
    text.value("lockbridge_doubt_oldest_age_seconds", "Age of the oldest open doubt; 0 without one.", age);
    text.value("lockbridge_outbox_reports", "Reports the cloud has not acknowledged.", engine.outbox);
    text.value("lockbridge_brake", "1 while the local brake is on.", u8::from(engine.brake));
    let quarantine = u8::from(engine.quarantine.is_some());
    text.value("lockbridge_quarantine", "1 while the bridge is in quarantine.", quarantine);
    let help = "Highest durable journal sequence; goes on over restarts.";
    text.total("lockbridge_journal_entries_total", help, engine.journal_sequence);
}

fn ended(text: &mut Exposition, totals: &Totals) {
    text.counter("lockbridge_commands_ended_total", "Commands that ended since the process began, by outcome.");
    for outcome in OUTCOMES {
        let count = totals.ended.get(outcome).copied().unwrap_or_default();
        text.sample("lockbridge_commands_ended_total", &[("outcome", outcome)], count);
    }
    text.total("lockbridge_command_doubts_total", "Attempts whose effect was not known at their end.", totals.doubts);
    text.total("lockbridge_command_retries_total", "Attempts put back to be tried again.", totals.requeued);
    let name = "lockbridge_command_duration_seconds";
    text.histogram(name, "From receipt to outcome of commands that succeeded or failed.");
    for (priority, latencies) in PRIORITIES.iter().zip(&totals.latency) {
        text.latencies(name, ("priority", priority), latencies);
    }
}

/// Families without samples where there is no line, so that rules and dashboards find them.
fn lines(text: &mut Exposition, lines: &[LineStatus]) {
    type Figure = fn(&LineStatus) -> u64;
    text.gauge("lockbridge_line_open", "1 while a byte line is open.");
    for line in lines {
        text.sample("lockbridge_line_open", &[("line", &line.name)], u8::from(line.open));
    }
    let counters: [(&str, &str, Figure); 9] = [
        ("lockbridge_line_received_bytes_total", "Bytes read from a line.", |line| line.received_bytes),
        ("lockbridge_line_sent_bytes_total", "Bytes written to a line.", |line| line.sent_bytes),
        ("lockbridge_line_frames_total", "Good frames read from a line.", |line| line.frames),
        ("lockbridge_line_refusals_total", "NAKs on a line, both ways.", |line| line.refusals),
        ("lockbridge_line_checksum_errors_total", "Frames whose checksum did not fit.", |line| line.checksum_errors),
        ("lockbridge_line_discarded_bytes_total", "Bytes that belonged to no good frame.", |line| line.discarded_bytes),
        ("lockbridge_line_retries_total", "Frames and questions sent again.", |line| line.retries),
        ("lockbridge_line_reconnects_total", "Times a line was opened after the first.", |line| line.reconnects),
        ("lockbridge_line_failed_opens_total", "Attempts to open a line that failed.", |line| line.failed_opens),
    ];
    for (name, help, figure) in counters {
        text.counter(name, help);
        for line in lines {
            text.sample(name, &[("line", &line.name)], figure(line));
        }
    }
}

fn storage(text: &mut Exposition, snapshot: &Snapshot) {
    let storage = &snapshot.storage;
    let help = "Free on the file system of the state directory.";
    text.value("lockbridge_disk_free_bytes", help, storage.disk_free_bytes);
    text.gauge("lockbridge_journal_prepared_bytes", "Journal space prepared ahead, by what may use it.");
    for (kind, bytes) in [("any", storage.ordinary_bytes), ("safety", storage.reserve_bytes)] {
        text.sample("lockbridge_journal_prepared_bytes", &[("for", kind)], bytes);
    }
    let journal = &storage.journal;
    let help = "Bytes that commits of this process wrote.";
    text.total("lockbridge_journal_written_bytes_total", help, journal.committed_bytes);
    text.total("lockbridge_journal_commits_total", "Commits of this process.", journal.commits);
    text.total("lockbridge_journal_flushes_total", "Flushes of the disk by those commits.", journal.flushes);
}

fn this_process(text: &mut Exposition, snapshot: &Snapshot, process: &Process) {
    let started = seconds(u64::try_from(snapshot.bridge.started_ms).unwrap_or(0));
    text.value("process_start_time_seconds", "Start of the process, seconds since the epoch.", started);
    if let Some(bytes) = process.resident_bytes {
        text.value("process_resident_memory_bytes", "Resident memory.", bytes);
    }
    if let Some(cpu) = process.cpu {
        let spent = seconds(u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX));
        text.total("process_cpu_seconds_total", "User and system time spent.", spent);
    }
    if let Some(count) = process.open_files {
        text.value("process_open_fds", "Open file descriptors.", count);
    }
    if let Some(bound) = process.files_bound {
        text.value("process_max_fds", "Most file descriptors that may be open.", bound);
    }
}

#[cfg(test)]
mod tests;
